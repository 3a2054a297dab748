//! Neighbours by LLDP: LLDP-MIB (IEEE 802.1AB-2005) and LLDP-V2-MIB (802.1AB-2009).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    super::mib::{Name, Read, clean, hex, mac},
    bridge,
    interfaces::Known,
};
use crate::{device::Neighbour, snmp::tables::Tables};

/// Most neighbours of one device.
const MAX_NEIGHBOURS: usize = 4096;

const LLDP: Name = Name::new(&[1, 0, 8802, 1, 1, 2, 1]);
const LOCAL_PORT: Name = LLDP.child(3).child(7).child(1);
const LOCAL_SUBTYPE: Name = LOCAL_PORT.child(2);
const LOCAL_ID: Name = LOCAL_PORT.child(3);
const LOCAL_DESCR: Name = LOCAL_PORT.child(4);
const REMOTE: Name = LLDP.child(4).child(1).child(1);
const ADDRESS: Name = LLDP.child(4).child(2).child(1).child(3);
const LLDP_V2: Name = Name::new(&[1, 3, 111, 2, 802, 1, 1, 13, 1]);
const REMOTE_V2: Name = LLDP_V2.child(4).child(1).child(1);

/// Objects of a neighbour, in both MIBs; the second numbers them one higher.
const CHASSIS_SUBTYPE: u32 = 4;
const CHASSIS_ID: u32 = 5;
const PORT_SUBTYPE: u32 = 6;
const PORT_ID: u32 = 7;
const PORT_DESCR: u32 = 8;
const SYS_NAME: u32 = 9;
const SYS_DESCR: u32 = 10;

/// What is read of LLDP.
pub(crate) const COLUMNS: [Name; 18] = [
    LOCAL_SUBTYPE,
    LOCAL_ID,
    LOCAL_DESCR,
    REMOTE.child(CHASSIS_SUBTYPE),
    REMOTE.child(CHASSIS_ID),
    REMOTE.child(PORT_SUBTYPE),
    REMOTE.child(PORT_ID),
    REMOTE.child(PORT_DESCR),
    REMOTE.child(SYS_NAME),
    REMOTE.child(SYS_DESCR),
    ADDRESS,
    REMOTE_V2.child(CHASSIS_SUBTYPE + 1),
    REMOTE_V2.child(CHASSIS_ID + 1),
    REMOTE_V2.child(PORT_SUBTYPE + 1),
    REMOTE_V2.child(PORT_ID + 1),
    REMOTE_V2.child(PORT_DESCR + 1),
    REMOTE_V2.child(SYS_NAME + 1),
    REMOTE_V2.child(SYS_DESCR + 1),
];

/// Subtypes of port ids (`LldpPortIdSubtype`).
const INTERFACE_ALIAS: u32 = 1;
const MAC_ADDRESS: u32 = 3;
const NETWORK_ADDRESS: u32 = 4;
/// Subtypes of chassis ids (`LldpChassisIdSubtype`) whose bytes are no text.
const CHASSIS_MAC: u32 = 4;
const CHASSIS_NETWORK: u32 = 5;

/// Neighbours that LLDP heard.
pub(crate) fn neighbours(tables: &Tables, known: &Known<'_>) -> Vec<Neighbour> {
    let ports = bridge::Ports::read(tables);
    let addresses = addresses(tables);
    let mut found = Vec::new();
    // Index: a time mark, the local port, the neighbour's number.
    for index in rows(tables, REMOTE, 0) {
        let [_, port, number] = *index else { continue };
        let local_if_index = local_interface(tables, known, &ports, port);
        let address = addresses.get(&(port, number)).copied();
        let local_name = match local_if_index {
            Some(_) => String::new(),
            None => port_text(tables, LOCAL_SUBTYPE, LOCAL_ID, &[port]),
        };
        found.push(Neighbour {
            local_if_index,
            local_name,
            address,
            ..neighbour(tables, REMOTE, 0, &index)
        });
    }
    // Index: a time mark, the ifIndex, the group address, the neighbour's number.
    for index in rows(tables, REMOTE_V2, 1) {
        let [_, interface, _, _] = *index else { continue };
        let is_known = known.has(interface);
        let heard = neighbour(tables, REMOTE_V2, 1, &index);
        let is_same = |of: &Neighbour| {
            of.local_if_index == Some(interface)
                && of.name == heard.name
                && of.port_id == heard.port_id
        };
        if !found.iter().any(is_same) {
            found.push(Neighbour { local_if_index: is_known.then_some(interface), ..heard });
        }
    }
    found.retain(says_something);
    found.truncate(MAX_NEIGHBOURS);
    found
}

/// A station that tells nothing but its hardware address is somebody's telephone or computer: it is counted
/// with the others that the bridge sees, and not named.
fn says_something(of: &Neighbour) -> bool {
    !(of.name.is_empty() && of.version.is_empty() && of.address.is_none())
}

fn rows(tables: &Tables, entry: Name, shift: u32) -> impl Iterator<Item = Box<[u32]>> {
    let columns = [CHASSIS_ID, PORT_ID, SYS_NAME].map(|column| entry.child(column + shift));
    tables.indexes(&columns).into_iter().take(MAX_NEIGHBOURS)
}

/// What the neighbour says of itself.
fn neighbour(tables: &Tables, entry: Name, shift: u32, index: &[u32]) -> Neighbour {
    let column = |number: u32| entry.child(number + shift);
    let port_id = port_text(tables, column(PORT_SUBTYPE), column(PORT_ID), index);
    let name = tables.text(column(SYS_NAME), index).unwrap_or_else(|| {
        // A station that tells no name is told by its kind of id only where that is a name.
        let is_name = !matches!(
            tables.code(column(CHASSIS_SUBTYPE), index),
            Some(CHASSIS_MAC | CHASSIS_NETWORK) | None
        );
        if is_name { tables.text_or_empty(column(CHASSIS_ID), index) } else { String::new() }
    });
    Neighbour {
        protocol: "lldp".to_owned(),
        name,
        port: tables.text(column(PORT_DESCR), index).unwrap_or_else(|| port_id.clone()),
        port_id,
        version: tables.text_or_empty(column(SYS_DESCR), index),
        ..Neighbour::default()
    }
}

/// A port's id as text, by its subtype.
fn port_text(tables: &Tables, subtype: Name, id: Name, index: &[u32]) -> String {
    let Some(bytes) = tables.bytes(id, index) else { return String::new() };
    match tables.code(subtype, index) {
        Some(MAC_ADDRESS) => mac(bytes).map_or_else(|| readable(bytes), |mac| hex(&mac)),
        Some(NETWORK_ADDRESS) => {
            network(bytes).map_or_else(|| readable(bytes), |of| of.to_string())
        }
        Some(_) | None => readable(bytes),
    }
}

/// Text where it is text, digits where it is not.
fn readable(bytes: &[u8]) -> String {
    let is_text =
        bytes.iter().all(|byte| *byte >= 0x20 || matches!(byte, 0 | b'\t' | b'\r' | b'\n'));
    if is_text { clean(bytes) } else { hex(bytes) }
}

/// An address after its family (IANA address family numbers: 1 is IPv4, 2 is IPv6).
fn network(bytes: &[u8]) -> Option<IpAddr> {
    match bytes {
        [1, rest @ ..] => <[u8; 4]>::try_from(rest).ok().map(|of| Ipv4Addr::from(of).into()),
        [2, rest @ ..] => <[u8; 16]>::try_from(rest).ok().map(|of| Ipv6Addr::from(of).into()),
        _ => None,
    }
}

/// The interface behind a port number of LLDP. Its numbers are the device's own: in turn, what the port's
/// id says by its subtype, its description, the bridge's ports, and the number itself.
fn local_interface(
    tables: &Tables,
    known: &Known<'_>,
    ports: &bridge::Ports,
    port: u32,
) -> Option<u32> {
    let row = &[port][..];
    let id = tables.bytes(LOCAL_ID, row);
    let by_id = id.and_then(|id| match tables.code(LOCAL_SUBTYPE, row) {
        Some(MAC_ADDRESS) => mac(id).and_then(|address| known.by_address(address)),
        Some(INTERFACE_ALIAS) => {
            let words = readable(id);
            known.by_alias(&words).or_else(|| known.by_words(&words))
        }
        Some(_) | None => {
            let words = readable(id);
            known.by_words(&words).or_else(|| {
                // "local" is whatever the maker took: often the ifIndex in digits.
                words.parse().ok().filter(|index| known.has(*index))
            })
        }
    });
    let described = || tables.text(LOCAL_DESCR, row).and_then(|words| known.by_words(&words));
    let bridged = || ports.told(port).filter(|index| known.has(*index));
    by_id.or_else(described).or_else(bridged).or_else(|| known.has(port).then_some(port))
}

/// Management addresses by local port and neighbour's number, IPv4 before IPv6. Index: a time mark, the
/// port, the number, the family, the address' length, its bytes.
fn addresses(tables: &Tables) -> HashMap<(u32, u32), IpAddr> {
    let mut found = HashMap::<(u32, u32), IpAddr>::new();
    for (index, _) in tables.rows(ADDRESS.arcs()) {
        let [_, port, number, family, rest @ ..] = index else { continue };
        // Some devices leave the length out.
        let rest = match (family, rest) {
            (1, [4, rest @ ..]) if rest.len() == 4 => rest,
            (2, [16, rest @ ..]) if rest.len() == 16 => rest,
            (_, rest) => rest,
        };
        let bytes: Option<Vec<u8>> = rest.iter().map(|arc| u8::try_from(*arc).ok()).collect();
        let Some(bytes) = bytes else { continue };
        let family = u8::try_from(*family).unwrap_or_default();
        let Some(address) = network(&[&[family][..], &bytes].concat()) else { continue };
        let place = found.entry((*port, *number)).or_insert(address);
        if place.is_ipv6() && address.is_ipv4() {
            *place = address;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::mib::tests::Made, interfaces::Interface},
        *,
    };

    fn interfaces() -> Vec<Interface> {
        let interface = |index, name: &str, descr: &str, alias: &str, last| Interface {
            index,
            name: name.into(),
            descr: descr.into(),
            alias: alias.into(),
            address: Some([0, 1, 2, 3, 4, last]),
            ..Interface::default()
        };
        vec![
            interface(1, "p1", "Port 1", "", 1),
            interface(2, "p2", "Port 2", "uplink", 2),
            interface(101, "1/1", "Slot 1 port 1", "", 3),
            interface(1003, "1/3", "Slot 1 port 3", "", 3),
        ]
    }

    fn heard(made: Made, port: u32) -> Made {
        made.with(REMOTE.child(SYS_NAME), &[0, port, 1], "other")
            .with(REMOTE.child(PORT_ID), &[0, port, 1], "23")
            .with(REMOTE.child(PORT_SUBTYPE), &[0, port, 1], 7_i64)
    }

    #[test]
    fn every_way_of_naming_a_local_port_leads_to_its_interface() {
        let interfaces = interfaces();
        let check = |subtype: i64, id: &[u8], descr: &str, port: u32, expected: Option<u32>| {
            let made = heard(Made::default(), port)
                .with(LOCAL_SUBTYPE, &[port], subtype)
                .with(LOCAL_ID, &[port], id)
                .with(LOCAL_DESCR, &[port], descr)
                .with(bridge::BASE_PORT_IF_INDEX, &[40], 101_i64);
            let found = neighbours(&made.0, &Known(&interfaces));
            assert_eq!(found[0].local_if_index, expected, "{subtype} {id:?} {descr}");
        };
        check(5, b"1/1", "", 7, Some(101)); // interfaceName
        check(5, b"Slot 1 port 1", "", 7, Some(101)); // … with ifDescr in it
        check(7, b"1003", "", 3, Some(1003)); // local: an ifIndex
        check(7, b"1/3", "", 3, Some(1003)); // local: a name
        check(3, &[0, 1, 2, 3, 4, 2], "", 7, Some(2)); // macAddress
        check(3, b"00:01:02:03:04:02", "", 7, Some(2)); // … as text
        check(3, &[0, 1, 2, 3, 4, 3], "1/1", 7, Some(101)); // … of two interfaces
        check(1, b"uplink", "", 7, Some(2)); // interfaceAlias
        check(7, b"?", "Port 2", 7, Some(2)); // by description
        check(7, b"?", "", 40, Some(101)); // by bridge port
        check(7, b"?", "", 1, Some(1)); // by its number
        check(7, b"?", "", 7, None);
    }

    #[test]
    fn a_neighbour_is_told_by_what_it_says() {
        let address = [5, 2, 1, 1, 4, 10, 0, 0, 9];
        let made = heard(Made::default(), 2)
            .with(REMOTE.child(SYS_NAME), &[5, 2, 1], "sw-cdi")
            .with(REMOTE.child(PORT_DESCR), &[5, 2, 1], "Port 24")
            .with(REMOTE.child(PORT_ID), &[5, 2, 1], &[0_u8, 0x1a, 2, 3, 4, 5][..])
            .with(REMOTE.child(PORT_SUBTYPE), &[5, 2, 1], 3_i64)
            .with(ADDRESS, &address, 2_i64)
            .with(ADDRESS, &[5, 2, 1, 6, 6, 1, 2, 3, 4, 5, 6], 2_i64);
        let found = neighbours(&made.0, &Known(&interfaces()));
        let told = found.iter().find(|of| of.name == "sw-cdi").expect("heard");
        assert_eq!((told.port.as_str(), told.port_id.as_str()), ("Port 24", "001a02030405"));
        assert_eq!(told.address, Some(IpAddr::from([10, 0, 0, 9])));
    }

    #[test]
    fn a_station_without_a_name_keeps_its_hardware_address_to_itself() {
        let made = Made::default()
            .with(REMOTE.child(CHASSIS_ID), &[0, 1, 1], &[0_u8, 0x1a, 2, 3, 4, 5][..])
            .with(REMOTE.child(CHASSIS_SUBTYPE), &[0, 1, 1], 4_i64)
            .with(REMOTE.child(CHASSIS_ID), &[0, 2, 1], "PHONE-7")
            .with(REMOTE.child(CHASSIS_SUBTYPE), &[0, 2, 1], 7_i64);
        let names: Vec<_> =
            neighbours(&made.0, &Known(&interfaces())).into_iter().map(|of| of.name).collect();
        assert_eq!(names, ["PHONE-7"]);
    }

    #[test]
    fn both_versions_of_the_mib_tell_a_neighbour_once() {
        let v2 = |number: u32| REMOTE_V2.child(number + 1);
        let made = heard(Made::default(), 1)
            .with(v2(SYS_NAME), &[0, 1, 1, 1], "other")
            .with(v2(PORT_ID), &[0, 1, 1, 1], "23")
            .with(v2(SYS_NAME), &[0, 2, 1, 1], "third");
        let found = neighbours(&made.0, &Known(&interfaces()));
        let told: Vec<_> = found.iter().map(|of| (of.local_if_index, of.name.as_str())).collect();
        assert_eq!(told, [(Some(1), "other"), (Some(2), "third")]);
    }
}
