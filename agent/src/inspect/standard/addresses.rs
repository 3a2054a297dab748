//! The device's own addresses: IP-MIB (RFC 4293) and its forerunner's table, and how many stations it has
//! resolved at each interface. The stations' addresses stay in the tables that were read.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::super::mib::{Name, Read};
use crate::snmp::tables::Tables;

/// Most addresses of one device.
const MAX_ADDRESSES: usize = 4096;

const IP: Name = Name::new(&[1, 3, 6, 1, 2, 1, 4]);
const OLD_IF_INDEX: Name = IP.child(20).child(1).child(2);
const OLD_MASK: Name = IP.child(20).child(1).child(3);
const IF_INDEX: Name = IP.child(34).child(1).child(3);
const PREFIX: Name = IP.child(34).child(1).child(5);
/// `ipNetToMediaType`: its index says which stations there are, without their hardware addresses.
const NEIGHBOUR_TYPE: Name = IP.child(22).child(1).child(4);
const FORWARDING: Name = IP.child(1);

/// What is read of addresses.
pub(crate) const COLUMNS: [Name; 5] = [OLD_IF_INDEX, OLD_MASK, IF_INDEX, PREFIX, NEIGHBOUR_TYPE];
pub(crate) const SCALARS: [Name; 1] = [FORWARDING];

/// `ipNetToMediaType` `invalid`.
const INVALID: i64 = 2;
/// `ipForwarding` `forwarding`.
const IS_ROUTER: u32 = 1;

/// An address that the device answers at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address, without a zone.
    pub address: IpAddr,
    /// Bits of its network.
    pub prefix_len: Option<u8>,
    /// Where it is.
    pub if_index: Option<u32>,
}

/// True for a device that forwards packets between its interfaces.
pub(crate) fn is_router(tables: &Tables) -> bool {
    tables.code(FORWARDING, &[0]) == Some(IS_ROUTER)
}

/// The device's addresses, ascending.
pub(crate) fn addresses(tables: &Tables) -> Vec<Address> {
    let mut found = BTreeMap::<IpAddr, Address>::new();
    for index in tables.indexes(&[OLD_IF_INDEX, OLD_MASK]).iter().take(MAX_ADDRESSES) {
        let Some(address) = ipv4(index) else { continue };
        let mask = tables.address(OLD_MASK, index).map(u32::from);
        let prefix_len = mask.filter(|mask| mask.leading_ones() == mask.count_ones());
        let prefix_len = prefix_len.and_then(|mask| u8::try_from(mask.count_ones()).ok());
        let if_index = tables.code(OLD_IF_INDEX, index);
        found.insert(address.into(), Address { address: address.into(), prefix_len, if_index });
    }
    for index in tables.indexes(&[IF_INDEX, PREFIX]).iter().take(MAX_ADDRESSES) {
        let Some(address) = inet(index) else { continue };
        // The prefix' row ends with its length.
        let prefix_len = tables.oid(PREFIX, index).and_then(|row| row.last()).copied();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = prefix_len.filter(|len| (1..=most).contains(len));
        let prefix_len = prefix_len.and_then(|len| u8::try_from(len).ok());
        let if_index = tables.code(IF_INDEX, index);
        let place = found.entry(address).or_insert(Address { address, prefix_len, if_index });
        place.prefix_len = place.prefix_len.or(prefix_len);
        place.if_index = place.if_index.or(if_index);
    }
    let unspecified = |of: &Address| of.address.is_unspecified();
    found.into_values().filter(|of| !unspecified(of)).take(MAX_ADDRESSES).collect()
}

/// How many stations the device has resolved at each interface.
pub(crate) fn resolved(tables: &Tables) -> BTreeMap<u32, u64> {
    let mut stations = BTreeSet::new();
    for index in tables.indexes(&[NEIGHBOUR_TYPE]) {
        if tables.integer(NEIGHBOUR_TYPE, &index) != Some(INVALID)
            && let Some((interface, address)) = index.split_first()
            && let Some(address) = ipv4(address)
        {
            stations.insert((*interface, address));
        }
    }
    let mut counts = BTreeMap::new();
    for (interface, _) in stations {
        *counts.entry(interface).or_default() += 1;
    }
    counts
}

fn ipv4(arcs: &[u32]) -> Option<Ipv4Addr> {
    bytes::<4>(arcs).map(Ipv4Addr::from)
}

fn bytes<const N: usize>(arcs: &[u32]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if arcs.len() != N {
        return None;
    }
    for (byte, arc) in bytes.iter_mut().zip(arcs) {
        *byte = u8::try_from(*arc).ok()?;
    }
    Some(bytes)
}

/// `InetAddressType`, a length, the bytes; the types with a zone have four bytes more.
fn inet(index: &[u32]) -> Option<IpAddr> {
    match index {
        [1 | 3, 4 | 8, rest @ ..] => ipv4(rest.get(..4)?).map(IpAddr::from),
        [2 | 4, 16 | 20, rest @ ..] => {
            bytes::<16>(rest.get(..16)?).map(|of| Ipv6Addr::from(of).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    #[test]
    fn an_address_of_both_tables_is_told_once() {
        let prefix = [1_u32, 3, 6, 1, 2, 1, 4, 32, 1, 5, 3, 1, 4, 10, 0, 0, 0, 24];
        let made = Made::default()
            .with(OLD_IF_INDEX, &[10, 0, 0, 1], 3_i64)
            .with(OLD_MASK, &[10, 0, 0, 1], Ipv4Addr::new(255, 255, 255, 0))
            .with(OLD_IF_INDEX, &[0, 0, 0, 0], 9_i64)
            .with(OLD_IF_INDEX, &[10, 0, 0], 9_i64)
            .with(IF_INDEX, &[1, 4, 10, 0, 0, 1], 3_i64)
            .with(IF_INDEX, &[1, 4, 10, 1, 0, 1], 4_i64)
            .with(PREFIX, &[1, 4, 10, 1, 0, 1], &prefix[..]);
        let ten = |third, if_index| Address {
            address: [10, third, 0, 1].into(),
            prefix_len: Some(24),
            if_index: Some(if_index),
        };
        assert_eq!(addresses(&made.0), [ten(0, 3), ten(1, 4)]);
    }

    #[test]
    fn an_address_of_a_zone_is_told_without_it() {
        let mut index = vec![4, 20, 0xfe, 0x80];
        index.extend([0; 13]);
        index.push(1);
        index.extend([0, 0, 0, 7]);
        let made = Made::default().with(IF_INDEX, &index, 7_i64);
        let found = addresses(&made.0);
        assert_eq!(found[0].address.to_string(), "fe80::1");
        assert_eq!(found[0].prefix_len, None);
    }

    #[test]
    fn resolved_stations_are_counted() {
        let made = Made::default()
            .with(NEIGHBOUR_TYPE, &[3, 10, 0, 0, 7], 3_i64)
            .with(NEIGHBOUR_TYPE, &[3, 10, 0, 0, 8], 3_i64)
            .with(NEIGHBOUR_TYPE, &[3, 10, 0, 0, 9], INVALID)
            .with(NEIGHBOUR_TYPE, &[4], 3_i64);
        assert_eq!(resolved(&made.0), BTreeMap::from([(3, 2)]));
    }
}
