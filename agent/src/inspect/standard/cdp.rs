//! Neighbours by Cisco's protocol: CISCO-CDP-MIB, which other makes serve too.

use std::net::{IpAddr, Ipv4Addr};

use super::super::mib::{Name, Read};
use crate::{device::Neighbour, snmp::tables::Tables};

/// Most neighbours of one device.
const MAX_NEIGHBOURS: usize = 4096;

const CACHE: Name = Name::new(&[1, 3, 6, 1, 4, 1, 9, 9, 23, 1, 2, 1, 1]);
const ADDRESS: Name = CACHE.child(4);
const VERSION: Name = CACHE.child(5);
const DEVICE_ID: Name = CACHE.child(6);
const DEVICE_PORT: Name = CACHE.child(7);
const PLATFORM: Name = CACHE.child(8);

/// What is read of CDP.
pub(crate) const COLUMNS: [Name; 5] = [ADDRESS, VERSION, DEVICE_ID, DEVICE_PORT, PLATFORM];

/// Neighbours that CDP heard. Index: the ifIndex, the neighbour's number.
pub(crate) fn neighbours(tables: &Tables) -> Vec<Neighbour> {
    let rows = tables.indexes(&[DEVICE_ID, DEVICE_PORT]);
    let heard = rows.iter().filter_map(|index| {
        let [interface, _] = **index else { return None };
        let port = tables.text_or_empty(DEVICE_PORT, index);
        let address =
            tables.bytes(ADDRESS, index).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        Some(Neighbour {
            protocol: "cdp".to_owned(),
            local_if_index: Some(interface),
            name: device_name(tables.text_or_empty(DEVICE_ID, index)),
            port_id: port.clone(),
            port,
            platform: tables.text_or_empty(PLATFORM, index),
            version: tables.text_or_empty(VERSION, index),
            address: address.map(|address| IpAddr::from(Ipv4Addr::from(address))),
            ..Neighbour::default()
        })
    });
    heard.take(MAX_NEIGHBOURS).collect()
}

/// Older switches write their serial number behind their name, as in `switch(FOC123)`.
fn device_name(id: String) -> String {
    match id.split_once('(') {
        Some((name, rest)) if rest.ends_with(')') && !name.is_empty() => name.to_owned(),
        Some(_) | None => id,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    #[test]
    fn a_neighbour_is_told_at_its_interface() {
        let made = Made::default()
            .with(DEVICE_ID, &[10_103, 4], "ap-cdi.example(FOC1)")
            .with(DEVICE_PORT, &[10_103, 4], "GigabitEthernet0")
            .with(ADDRESS, &[10_103, 4], &[10_u8, 0, 0, 7][..])
            .with(DEVICE_ID, &[7], "short index");
        let found = neighbours(&made.0);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].local_if_index, found[0].name.as_str()),
            (Some(10_103), "ap-cdi.example")
        );
        assert_eq!(found[0].address, Some(IpAddr::from([10, 0, 0, 7])));
    }

    #[test]
    fn a_name_that_is_only_brackets_stays() {
        assert_eq!(device_name("(x)".into()), "(x)");
        assert_eq!(device_name("a (b".into()), "a (b");
    }
}
