//! Physical parts: ENTITY-MIB (RFC 6933).

use std::collections::HashMap;

use super::super::mib::{Name, Read, index_text};
use crate::{device::Part, snmp::tables::Tables};

/// Most parts of one device; a chassis with its optics has some hundreds.
const MAX_PARTS: usize = 8192;

const ENTRY: Name = Name::new(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1]);
const DESCR: Name = ENTRY.child(2);
const CONTAINED_IN: Name = ENTRY.child(4);
const CLASS: Name = ENTRY.child(5);
const NAME: Name = ENTRY.child(7);
const HARDWARE: Name = ENTRY.child(8);
const FIRMWARE: Name = ENTRY.child(9);
const SOFTWARE: Name = ENTRY.child(10);
const SERIAL: Name = ENTRY.child(11);
const VENDOR: Name = ENTRY.child(12);
const MODEL: Name = ENTRY.child(13);
/// `entAliasMappingIdentifier`, by part and logical entity.
const ALIAS: Name = Name::new(&[1, 3, 6, 1, 2, 1, 47, 1, 3, 2, 1, 2]);
/// An interface, as `entAliasMappingIdentifier` names it: the row's ifIndex follows.
const IF_INDEX: [u32; 10] = [1, 3, 6, 1, 2, 1, 2, 2, 1, 1];

/// What is read of parts.
pub(crate) const COLUMNS: [Name; 11] =
    [DESCR, CONTAINED_IN, CLASS, NAME, HARDWARE, FIRMWARE, SOFTWARE, SERIAL, VENDOR, MODEL, ALIAS];

/// The parts by entPhysicalIndex.
pub(crate) fn parts(tables: &Tables) -> Vec<Part> {
    let interfaces = interfaces(tables);
    let rows = tables.indexes(&[DESCR, CLASS, NAME, SERIAL, MODEL]);
    let rows = rows.iter().filter(|index| index.len() == 1).take(MAX_PARTS);
    rows.map(|index| {
        let text = |column| tables.text_or_empty(column, index);
        Part {
            index: index_text(index),
            class: tables.code(CLASS, index).and_then(class_name).unwrap_or_default().to_owned(),
            name: text(NAME),
            descr: text(DESCR),
            model: text(MODEL),
            serial: text(SERIAL),
            hardware: text(HARDWARE),
            firmware: text(FIRMWARE),
            software: text(SOFTWARE),
            vendor: text(VENDOR),
            contained_in: tables
                .count(CONTAINED_IN, index)
                .map(|part| part.to_string())
                .unwrap_or_default(),
            if_index: index.first().and_then(|part| interfaces.get(part)).copied(),
        }
    })
    .collect()
}

/// ifIndex by entPhysicalIndex.
pub(super) fn interfaces(tables: &Tables) -> HashMap<u32, u32> {
    let rows = tables.indexes(&[ALIAS]);
    let pairs = rows.iter().filter_map(|index| {
        let interface = tables.oid(ALIAS, index)?.strip_prefix(&IF_INDEX[..])?;
        match (&**index, interface) {
            ([part, ..], [interface]) => Some((*part, *interface)),
            _ => None,
        }
    });
    pairs.collect()
}

/// The part that holds each part.
pub(super) fn container(tables: &Tables, part: u32) -> Option<u32> {
    tables.code(CONTAINED_IN, &[part]).filter(|holder| *holder != 0 && *holder != part)
}

/// A part's name, else its description.
pub(super) fn label(tables: &Tables, part: u32) -> Option<String> {
    tables.text(NAME, &[part]).or_else(|| tables.text(DESCR, &[part]))
}

/// Name of an `IANAPhysicalClass`.
fn class_name(class: u32) -> Option<&'static str> {
    Some(match class {
        1 => "other",
        2 => "unknown",
        3 => "chassis",
        4 => "backplane",
        5 => "container",
        6 => "powerSupply",
        7 => "fan",
        8 => "sensor",
        9 => "module",
        10 => "port",
        11 => "stack",
        12 => "cpu",
        13 => "energyObject",
        14 => "battery",
        15 => "storageDrive",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    #[test]
    fn members_of_a_stack_are_parts_of_their_own() {
        let made = Made::default()
            .with(CLASS, &[1], 11_i64)
            .with(CLASS, &[1001], 3_i64)
            .with(CONTAINED_IN, &[1001], 1_i64)
            .with(SERIAL, &[1001], "S1 ")
            .with(CLASS, &[2001], 3_i64)
            .with(CONTAINED_IN, &[2001], 1_i64)
            .with(SERIAL, &[2001], "S2\0")
            .with(CLASS, &[3001], 99_i64);
        let found = parts(&made.0);
        let found: Vec<_> = found
            .iter()
            .map(|of| (of.index.as_str(), of.class.as_str(), of.serial.as_str()))
            .collect();
        let expected = [
            ("1", "stack", ""),
            ("1001", "chassis", "S1"),
            ("2001", "chassis", "S2"),
            ("3001", "", ""),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_port_leads_to_its_interface() {
        let interface = [1_u32, 3, 6, 1, 2, 1, 2, 2, 1, 1, 10_101];
        let other = [1_u32, 3, 6, 1, 4, 1, 9, 9, 1];
        let made = Made::default()
            .with(CLASS, &[5], 10_i64)
            .with(ALIAS, &[5, 0], &interface[..])
            .with(CLASS, &[6], 10_i64)
            .with(ALIAS, &[6, 0], &other[..]);
        let found: Vec<_> = parts(&made.0).iter().map(|of| of.if_index).collect();
        assert_eq!(found, [Some(10_101), None]);
    }
}
