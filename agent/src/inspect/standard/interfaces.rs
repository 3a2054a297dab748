//! Interfaces: IF-MIB (RFC 2863), `EtherLike-MIB` (RFC 3635) and the ports' VLAN of Q-BRIDGE-MIB.

use super::{
    super::mib::{Name, Read, mac},
    bridge,
};
use crate::snmp::tables::Tables;

/// Most interfaces of one device; a chassis with every slot full has some thousands.
const MAX_INTERFACES: usize = 8192;

const IF_ENTRY: Name = Name::new(&[1, 3, 6, 1, 2, 1, 2, 2, 1]);
const IF_DESCR: Name = IF_ENTRY.child(2);
const IF_TYPE: Name = IF_ENTRY.child(3);
const IF_MTU: Name = IF_ENTRY.child(4);
const IF_SPEED: Name = IF_ENTRY.child(5);
const IF_PHYS_ADDRESS: Name = IF_ENTRY.child(6);
const IF_ADMIN_STATUS: Name = IF_ENTRY.child(7);
const IF_OPER_STATUS: Name = IF_ENTRY.child(8);
const IF_IN_OCTETS: Name = IF_ENTRY.child(10);
const IF_IN_UCAST_PKTS: Name = IF_ENTRY.child(11);
const IF_IN_DISCARDS: Name = IF_ENTRY.child(13);
const IF_IN_ERRORS: Name = IF_ENTRY.child(14);
const IF_OUT_OCTETS: Name = IF_ENTRY.child(16);
const IF_OUT_UCAST_PKTS: Name = IF_ENTRY.child(17);
const IF_OUT_DISCARDS: Name = IF_ENTRY.child(19);
const IF_OUT_ERRORS: Name = IF_ENTRY.child(20);
const IF_X_ENTRY: Name = Name::new(&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1]);
const IF_NAME: Name = IF_X_ENTRY.child(1);
const IF_HC_IN_OCTETS: Name = IF_X_ENTRY.child(6);
const IF_HC_IN_UCAST_PKTS: Name = IF_X_ENTRY.child(7);
const IF_HC_OUT_OCTETS: Name = IF_X_ENTRY.child(10);
const IF_HC_OUT_UCAST_PKTS: Name = IF_X_ENTRY.child(11);
const IF_HIGH_SPEED: Name = IF_X_ENTRY.child(15);
const IF_ALIAS: Name = IF_X_ENTRY.child(18);
const DOT3_DUPLEX_STATUS: Name = Name::new(&[1, 3, 6, 1, 2, 1, 10, 7, 2, 1, 19]);

/// What is read of interfaces.
pub(crate) const COLUMNS: [Name; 23] = [
    IF_DESCR,
    IF_TYPE,
    IF_MTU,
    IF_SPEED,
    IF_PHYS_ADDRESS,
    IF_ADMIN_STATUS,
    IF_OPER_STATUS,
    IF_IN_OCTETS,
    IF_IN_UCAST_PKTS,
    IF_IN_DISCARDS,
    IF_IN_ERRORS,
    IF_OUT_OCTETS,
    IF_OUT_UCAST_PKTS,
    IF_OUT_DISCARDS,
    IF_OUT_ERRORS,
    IF_NAME,
    IF_HC_IN_OCTETS,
    IF_HC_IN_UCAST_PKTS,
    IF_HC_OUT_OCTETS,
    IF_HC_OUT_UCAST_PKTS,
    IF_HIGH_SPEED,
    IF_ALIAS,
    DOT3_DUPLEX_STATUS,
];

/// How both ends may talk (`EtherLike-MIB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplex {
    /// The device does not know.
    Unknown,
    /// In turn.
    Half,
    /// At once.
    Full,
}

/// Since the interface came up; `None` is unknown. The widest counter that the device has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes, framing included.
    pub octets: Option<u64>,
    /// Packets to one receiver.
    pub unicast_packets: Option<u64>,
    /// Packets with errors, which were dropped.
    pub errors: Option<u64>,
    /// Packets without errors that were dropped.
    pub discards: Option<u64>,
}

/// A row of ifTable, of ifXTable, or of both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// ifIndex.
    pub index: u32,
    /// ifName; empty where there is none, as the next two.
    pub name: String,
    /// ifDescr.
    pub descr: String,
    /// ifAlias: what an administrator calls it.
    pub alias: String,
    /// ifType, an `IANAifType`.
    pub kind: Option<u32>,
    /// Bytes.
    pub mtu: Option<u64>,
    /// Bits per second; of a link that is down, what the device says for it.
    pub speed_bps: Option<u64>,
    /// As in the MIB, in millions of bits per second.
    pub high_speed_mbps: Option<u64>,
    /// Its own hardware address.
    pub address: Option<[u8; 6]>,
    /// ifAdminStatus: 1 up, 2 down, 3 testing.
    pub admin_status: Option<u32>,
    /// ifOperStatus: 1 up to 7 lowerLayerDown.
    pub oper_status: Option<u32>,
    /// How both ends talk.
    pub duplex: Option<Duplex>,
    /// Of untagged frames that come in (Q-BRIDGE-MIB).
    pub vlan: Option<u16>,
    /// Received.
    pub input: Counters,
    /// Sent.
    pub output: Counters,
}

/// All interfaces by ifIndex. A row that stands in one of the tables only is an interface too.
pub(crate) fn interfaces(tables: &Tables) -> Vec<Interface> {
    let ports = bridge::Ports::read(tables);
    // What a row must have: a bare counter is a hole that the device left.
    let rows = tables.indexes(&[IF_DESCR, IF_TYPE, IF_ADMIN_STATUS, IF_OPER_STATUS, IF_NAME]);
    let indexes = rows.iter().filter_map(|index| match **index {
        [index] => Some(index),
        _ => None,
    });
    indexes.take(MAX_INTERFACES).map(|index| interface(tables, &ports, index)).collect()
}

fn interface(tables: &Tables, ports: &bridge::Ports, index: u32) -> Interface {
    let row = &[index][..];
    let count =
        |wide: Name, narrow: Name| tables.count(wide, row).or_else(|| tables.count(narrow, row));
    let high_speed = tables.count(IF_HIGH_SPEED, row);
    // 0 stands for less than half a megabit, or for a device that leaves it out; the largest value of
    // 32 bits stands for more than that (RFC 2863).
    let speed_bps = match high_speed {
        Some(megabits @ 1..) => megabits.checked_mul(1_000_000),
        Some(0) | None => tables.count(IF_SPEED, row).filter(|bits| *bits != u64::from(u32::MAX)),
    };
    Interface {
        index,
        name: tables.text_or_empty(IF_NAME, row),
        descr: tables.text_or_empty(IF_DESCR, row),
        alias: tables.text_or_empty(IF_ALIAS, row),
        kind: tables.code(IF_TYPE, row),
        mtu: tables.count(IF_MTU, row),
        speed_bps,
        high_speed_mbps: high_speed,
        address: tables.bytes(IF_PHYS_ADDRESS, row).and_then(mac),
        admin_status: tables.code(IF_ADMIN_STATUS, row),
        oper_status: tables.code(IF_OPER_STATUS, row),
        duplex: match tables.code(DOT3_DUPLEX_STATUS, row) {
            Some(2) => Some(Duplex::Half),
            Some(3) => Some(Duplex::Full),
            Some(_) => Some(Duplex::Unknown),
            None => None,
        },
        vlan: ports.vlan(index),
        input: Counters {
            octets: count(IF_HC_IN_OCTETS, IF_IN_OCTETS),
            unicast_packets: count(IF_HC_IN_UCAST_PKTS, IF_IN_UCAST_PKTS),
            errors: tables.count(IF_IN_ERRORS, row),
            discards: tables.count(IF_IN_DISCARDS, row),
        },
        output: Counters {
            octets: count(IF_HC_OUT_OCTETS, IF_OUT_OCTETS),
            unicast_packets: count(IF_HC_OUT_UCAST_PKTS, IF_OUT_UCAST_PKTS),
            errors: tables.count(IF_OUT_ERRORS, row),
            discards: tables.count(IF_OUT_DISCARDS, row),
        },
    }
}

/// Name of an ifAdminStatus or ifOperStatus.
pub(crate) fn status_name(status: u32) -> Option<&'static str> {
    Some(match status {
        1 => "up",
        2 => "down",
        3 => "testing",
        4 => "unknown",
        5 => "dormant",
        6 => "notPresent",
        7 => "lowerLayerDown",
        _ => return None,
    })
}

/// Finds interfaces by the words that other tables use for them.
pub(crate) struct Known<'a>(pub(crate) &'a [Interface]);

impl Known<'_> {
    pub(crate) fn has(&self, index: u32) -> bool {
        self.0.binary_search_by_key(&index, |interface| interface.index).is_ok()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Interface> {
        let at = self.0.binary_search_by_key(&index, |interface| interface.index).ok()?;
        self.0.get(at)
    }

    /// The one interface that has this name, else this description, else this alias.
    pub(crate) fn by_words(&self, words: &str) -> Option<u32> {
        if words.is_empty() {
            return None;
        }
        self.only(|of| of.name == words)
            .or_else(|| self.only(|of| of.descr == words))
            .or_else(|| self.only(|of| of.name.eq_ignore_ascii_case(words)))
            .or_else(|| self.only(|of| of.descr.eq_ignore_ascii_case(words)))
            .or_else(|| self.by_alias(words))
    }

    pub(crate) fn by_alias(&self, words: &str) -> Option<u32> {
        self.only(|of| !words.is_empty() && of.alias == words)
    }

    pub(crate) fn by_address(&self, address: [u8; 6]) -> Option<u32> {
        self.only(|of| of.address == Some(address))
    }

    /// Several answers are none: a wrong edge is worse than a missing one.
    fn only(&self, is: impl Fn(&Interface) -> bool) -> Option<u32> {
        let mut found = self.0.iter().filter(|interface| is(interface));
        let first = found.next()?;
        found.next().is_none().then_some(first.index)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    #[test]
    fn a_row_of_either_table_is_an_interface() {
        let made = Made::default()
            .with(IF_DESCR, &[1], "Port 1")
            .with(IF_NAME, &[2], "p2")
            .with(IF_IN_OCTETS, &[3], 7_u64)
            .with(IF_DESCR, &[4, 1], "no ifIndex");
        let found = interfaces(&made.0);
        let words: Vec<_> =
            found.iter().map(|of| (of.index, of.name.as_str(), of.descr.as_str())).collect();
        assert_eq!(words, [(1, "", "Port 1"), (2, "p2", "")]);
        assert_eq!(found[0].admin_status, None);
        assert_eq!(found[0].input, Counters::default());
    }

    #[test]
    fn the_wide_counter_and_the_fast_speed_win_where_they_are() {
        let made = Made::default()
            .with(IF_NAME, &[1], "a")
            .with(IF_IN_OCTETS, &[1], 7_u64)
            .with(IF_HC_IN_OCTETS, &[1], 1_u64 << 40)
            .with(IF_OUT_OCTETS, &[1], 9_u64)
            .with(IF_SPEED, &[1], u64::from(u32::MAX))
            .with(IF_HIGH_SPEED, &[1], 10_000_u64)
            .with(IF_NAME, &[2], "b")
            .with(IF_SPEED, &[2], 128_000_u64)
            .with(IF_HIGH_SPEED, &[2], 0_u64)
            .with(IF_NAME, &[3], "c")
            .with(IF_SPEED, &[3], u64::from(u32::MAX));
        let found = interfaces(&made.0);
        assert_eq!(found[0].input.octets, Some(1 << 40));
        assert_eq!(found[0].output.octets, Some(9));
        let speeds: Vec<_> = found.iter().map(|of| of.speed_bps).collect();
        assert_eq!(speeds, [Some(10_000_000_000), Some(128_000), None]);
    }

    #[test]
    fn the_vlan_of_a_port_is_found_through_its_bridge_port() {
        let made = Made::default()
            .with(IF_NAME, &[101], "a")
            .with(bridge::BASE_PORT_IF_INDEX, &[1], 101_i64)
            .with(bridge::PVID, &[1], 30_u64)
            .with(DOT3_DUPLEX_STATUS, &[101], 3_i64);
        let found = interfaces(&made.0);
        assert_eq!(found[0].vlan, Some(30));
        assert_eq!(found[0].duplex, Some(Duplex::Full));
    }

    #[test]
    fn words_that_two_interfaces_share_find_neither() {
        let interface = |index, name: &str, descr: &str| Interface {
            index,
            name: name.into(),
            descr: descr.into(),
            ..Interface::default()
        };
        let all =
            [interface(1, "g1", "Port"), interface(2, "g2", "Port"), interface(9, "G3", "g1")];
        let known = Known(&all);
        assert_eq!(known.by_words("g1"), Some(1));
        assert_eq!(known.by_words("Port"), None);
        assert_eq!(known.by_words("g3"), Some(9));
        assert_eq!(known.by_words(""), None);
        assert!(known.has(9) && !known.has(3));
    }
}
