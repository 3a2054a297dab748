//! Bridges: BRIDGE-MIB (RFC 4188) and Q-BRIDGE-MIB (RFC 4363): base ports, VLANs, spanning tree, and how
//! many stations stand behind each port. The stations' addresses stay in the tables that were read.

use std::collections::{BTreeMap, HashMap};

use super::super::mib::{Name, Read, mac};
use crate::{
    device::Vlan,
    snmp::tables::{Tables, Value},
};

const DOT1D_BRIDGE: Name = Name::new(&[1, 3, 6, 1, 2, 1, 17]);
const BASE_ADDRESS: Name = DOT1D_BRIDGE.child(1).child(1);
pub(super) const BASE_PORT_IF_INDEX: Name = DOT1D_BRIDGE.child(1).child(4).child(1).child(2);
const STP: Name = DOT1D_BRIDGE.child(2);
const STP_PROTOCOL: Name = STP.child(1);
const STP_PRIORITY: Name = STP.child(2);
const STP_ROOT: Name = STP.child(5);
const STP_ROOT_PORT: Name = STP.child(7);
const STP_PORT_STATE: Name = STP.child(15).child(1).child(3);
const Q_BRIDGE: Name = DOT1D_BRIDGE.child(7).child(1);
const CURRENT_STATUS: Name = Q_BRIDGE.child(4).child(2).child(1).child(6);
const STATIC_NAME: Name = Q_BRIDGE.child(4).child(3).child(1).child(1);
const STATIC_ROW_STATUS: Name = Q_BRIDGE.child(4).child(3).child(1).child(5);
pub(super) const PVID: Name = Q_BRIDGE.child(4).child(5).child(1).child(1);

/// What is read of bridges beside the stations.
pub(crate) const COLUMNS: [Name; 6] =
    [BASE_PORT_IF_INDEX, STP_PORT_STATE, CURRENT_STATUS, STATIC_NAME, STATIC_ROW_STATUS, PVID];
pub(crate) const SCALARS: [Name; 5] =
    [BASE_ADDRESS, STP_PROTOCOL, STP_PRIORITY, STP_ROOT, STP_ROOT_PORT];

/// dot1qTpFdbPort: the stations by VLAN.
pub(crate) const STATIONS_BY_VLAN: Name = Q_BRIDGE.child(2).child(2).child(1).child(2);
/// dot1dTpFdbPort: the stations, of bridges that have no table by VLAN.
pub(crate) const STATIONS: Name = DOT1D_BRIDGE.child(4).child(3).child(1).child(2);

/// `RowStatus` `destroy` and `notInService` rows are no VLANs.
const ROW_ACTIVE: u32 = 1;

/// Ports of the bridge: their interfaces and VLANs.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    interface_of: BTreeMap<u32, u32>,
    vlan_of: HashMap<u32, u16>,
}

impl Ports {
    pub(crate) fn read(tables: &Tables) -> Self {
        let mut ports = Self::default();
        for (index, value) in tables.rows(BASE_PORT_IF_INDEX.arcs()) {
            if let ([port], Some(interface @ 1..)) = (index, number(value)) {
                ports.interface_of.insert(*port, interface);
            }
        }
        for (index, value) in tables.rows(PVID.arcs()) {
            let vlan = number(value).and_then(|vlan| u16::try_from(vlan).ok());
            if let ([port], Some(vlan @ 1..=4094)) = (index, vlan) {
                ports.vlan_of.insert(ports.interface(*port), vlan);
            }
        }
        ports
    }

    /// The ifIndex of a bridge port: the port's own number where the bridge tells no other.
    pub(crate) fn interface(&self, port: u32) -> u32 {
        self.interface_of.get(&port).copied().unwrap_or(port)
    }

    /// The ifIndex that the bridge tells of a port.
    pub(crate) fn told(&self, port: u32) -> Option<u32> {
        self.interface_of.get(&port).copied()
    }

    pub(crate) fn vlan(&self, interface: u32) -> Option<u16> {
        self.vlan_of.get(&interface).copied()
    }

    /// How many interfaces are bridged.
    pub(crate) fn len(&self) -> usize {
        self.interface_of.len()
    }
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        Value::Unsigned(number) => u32::try_from(*number).ok(),
        Value::Bytes(_) | Value::Oid(_) | Value::Address(_) | Value::Float(_) => None,
    }
}

/// VLANs that are configured or in use, by number.
pub(crate) fn vlans(tables: &Tables) -> Vec<Vlan> {
    let mut vlans = BTreeMap::<u16, String>::new();
    for index in tables.indexes(&[STATIC_NAME, STATIC_ROW_STATUS]) {
        let active = tables.code(STATIC_ROW_STATUS, &index).is_none_or(|row| row == ROW_ACTIVE);
        if let (Some(id), true) = (vlan_id(&index), active) {
            vlans.insert(id, tables.text_or_empty(STATIC_NAME, &index));
        }
    }
    // Index: a time filter, then the VLAN.
    for (index, _) in tables.rows(CURRENT_STATUS.arcs()) {
        if let Some(id) = vlan_id(index) {
            vlans.entry(id).or_default();
        }
    }
    vlans.into_iter().map(|(id, name)| Vlan { id, name }).collect()
}

/// Numbers past 4094 are a bridge's own.
fn vlan_id(index: &[u32]) -> Option<u16> {
    index.last().and_then(|id| u16::try_from(*id).ok()).filter(|id| (1..=4094).contains(id))
}

/// State of a port in the spanning tree, as dot1dStpPortState names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePort {
    /// The port's interface.
    pub if_index: u32,
    /// `disabled`, `blocking`, `listening`, `learning`, `forwarding`, `broken`.
    pub state: &'static str,
}

/// The bridge in its spanning tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Its own address.
    pub bridge: Option<[u8; 6]>,
    /// Its own; the lowest becomes the root.
    pub priority: Option<u32>,
    /// The root's address.
    pub root: Option<[u8; 6]>,
    /// ifIndex of the port towards the root; `None` at the root itself.
    pub root_if_index: Option<u32>,
    /// By bridge port.
    pub ports: Vec<TreePort>,
}

impl Tree {
    pub(crate) fn is_root(&self) -> bool {
        self.root.is_some() && self.root == self.bridge
    }
}

/// The spanning tree as this bridge sees it; `None` when it takes part in none.
pub(crate) fn tree(tables: &Tables) -> Option<Tree> {
    let ports = Ports::read(tables);
    let scalar = &[0][..];
    // Eight bytes: a priority, then the address.
    let root = tables.bytes(STP_ROOT, scalar).and_then(|id| id.get(2..)).and_then(mac);
    tables.code(STP_PROTOCOL, scalar).or(root.map(|_| 0))?;
    let tree = Tree {
        bridge: tables.bytes(BASE_ADDRESS, scalar).and_then(mac),
        priority: tables.code(STP_PRIORITY, scalar),
        root: root.filter(|root| *root != [0; 6]),
        root_if_index: tables
            .code(STP_ROOT_PORT, scalar)
            .filter(|port| *port > 0)
            .map(|port| ports.interface(port)),
        ports: tables
            .rows(STP_PORT_STATE.arcs())
            .filter_map(|(index, value)| match (index, number(value).and_then(state_name)) {
                ([port], Some(state)) => Some(TreePort { if_index: ports.interface(*port), state }),
                _ => None,
            })
            .collect(),
    };
    (tree.root.is_some() || !tree.ports.is_empty()).then_some(tree)
}

fn state_name(state: u32) -> Option<&'static str> {
    Some(match state {
        1 => "disabled",
        2 => "blocking",
        3 => "listening",
        4 => "learning",
        5 => "forwarding",
        6 => "broken",
        _ => return None,
    })
}

/// How many stations the bridge has seen behind each interface.
pub(crate) fn stations(tables: &Tables) -> BTreeMap<u32, u64> {
    let ports = Ports::read(tables);
    let by_vlan = tables.rows(STATIONS_BY_VLAN.arcs()).next().is_some();
    let column = if by_vlan { STATIONS_BY_VLAN } else { STATIONS };
    let mut counts = BTreeMap::new();
    for (_, value) in tables.rows(column.arcs()) {
        // Port 0: learnt, but not where.
        if let Some(port @ 1..) = number(value) {
            *counts.entry(ports.interface(port)).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    #[test]
    fn configured_and_current_vlans_are_told_once() {
        let made = Made::default()
            .with(STATIC_NAME, &[10], "Péda")
            .with(STATIC_ROW_STATUS, &[10], 1_i64)
            .with(STATIC_NAME, &[20], "gone")
            .with(STATIC_ROW_STATUS, &[20], 2_i64)
            .with(STATIC_NAME, &[4095], "internal")
            .with(CURRENT_STATUS, &[0, 10], 2_i64)
            .with(CURRENT_STATUS, &[0, 30], 3_i64);
        let found = vlans(&made.0);
        let found: Vec<_> = found.iter().map(|of| (of.id, of.name.as_str())).collect();
        assert_eq!(found, [(10, "Péda"), (30, "")]);
    }

    #[test]
    fn stations_are_counted_by_interface_and_only_once() {
        let made = Made::default()
            .with(BASE_PORT_IF_INDEX, &[1], 101_i64)
            .with(STATIONS_BY_VLAN, &[10, 0, 0, 0, 0, 0, 1], 1_i64)
            .with(STATIONS_BY_VLAN, &[10, 0, 0, 0, 0, 0, 2], 1_i64)
            .with(STATIONS_BY_VLAN, &[10, 0, 0, 0, 0, 0, 3], 2_i64)
            .with(STATIONS_BY_VLAN, &[10, 0, 0, 0, 0, 0, 4], 0_i64)
            .with(STATIONS, &[0, 0, 0, 0, 0, 1], 1_i64);
        assert_eq!(stations(&made.0), BTreeMap::from([(101, 2), (2, 1)]));
    }

    #[test]
    fn the_root_of_the_tree_and_the_way_to_it_are_told() {
        let made = Made::default()
            .with(STP_PROTOCOL, &[0], 3_i64)
            .with(STP_PRIORITY, &[0], 32_768_i64)
            .with(STP_ROOT, &[0], &[0x80_u8, 0, 0, 1, 2, 3, 4, 5][..])
            .with(STP_ROOT_PORT, &[0], 24_i64)
            .with(BASE_ADDRESS, &[0], &[0_u8, 9, 9, 9, 9, 9][..])
            .with(BASE_PORT_IF_INDEX, &[24], 124_i64)
            .with(STP_PORT_STATE, &[24], 5_i64)
            .with(STP_PORT_STATE, &[25], 99_i64);
        let tree = tree(&made.0).expect("a tree");
        assert_eq!(tree.root, Some([0, 1, 2, 3, 4, 5]));
        assert_eq!(tree.root_if_index, Some(124));
        assert_eq!(tree.ports, [TreePort { if_index: 124, state: "forwarding" }]);
        assert!(!tree.is_root());
    }

    #[test]
    fn without_a_spanning_tree_there_is_none() {
        assert_eq!(tree(&Tables::default()), None);
        let made = Made::default().with(STP_PROTOCOL, &[0], 1_i64);
        assert_eq!(tree(&made.0), None);
    }
}
