//! Supplies, physical parts, VLANs, neighbours, ports.

use std::{collections::BTreeMap, net::IpAddr};

use super::{MAX_FOUND, Scope, is_percent, tidy, whole};
use crate::{
    device::{self, InterfaceNames, Part},
    profile::{
        compiled::IF_DESCR,
        model::{Interfaces, Inventory, Neighbour, Poe, Supply, Text, Vlan},
        reference,
        syntax::{Arcs, Piece, Reference, Row, dotted},
        text,
    },
    snmp::tables::Value,
};

/// Numbers of VLANs (IEEE 802.1Q).
const VLAN_IDS: std::ops::RangeInclusive<u16> = 1..=4094;

pub(super) fn supplies(scope: &Scope<'_>, rules: &[Supply]) -> Vec<device::Supply> {
    let mut found = Vec::new();
    for rule in rules {
        for index in scope.rows(rule) {
            let number = |reference: Option<&String>| {
                scope.number(reference, &index, &rule.skip, rule.pattern.as_ref())
            };
            let level = number(rule.level.as_ref()).and_then(whole);
            let capacity = number(rule.capacity.as_ref()).and_then(whole);
            let percent = number(rule.percent.as_ref()).filter(|percent| is_percent(*percent));
            if level.is_none() && percent.is_none() {
                continue;
            }
            found.push(device::Supply {
                index: named(scope, rule.index.as_ref(), &index),
                kind: scope.wording(rule.kind.as_ref(), &index),
                descr: scope.wording(rule.descr.as_ref(), &index),
                level,
                capacity,
                level_percent: percent.or_else(|| share(level?, capacity?)),
            });
        }
    }
    found.truncate(MAX_FOUND);
    found
}

/// Of a level that is a quantity: -1, -2 and -3 are none (RFC 3805).
fn share(level: i64, capacity: i64) -> Option<f64> {
    let known = capacity > 0 && (0..=capacity).contains(&level);
    known.then(|| tidy(level as f64 * 100.0 / capacity as f64))
}

/// A text, or else the row's index.
fn named(scope: &Scope<'_>, text: Option<&Text>, index: &[u32]) -> String {
    scope.text(text, index).unwrap_or_else(|| text::shown(dotted(index)))
}

pub(super) fn parts(scope: &Scope<'_>, rules: &[Inventory]) -> Vec<Part> {
    let mut found = Vec::new();
    for rule in rules {
        for index in scope.rows(rule) {
            let word = |text: &Option<Text>| scope.wording(text.as_ref(), &index);
            let part = Part {
                index: named(scope, rule.index.as_ref(), &index),
                class: word(&rule.class),
                name: word(&rule.name),
                descr: word(&rule.descr),
                model: word(&rule.model),
                serial: word(&rule.serial),
                hardware: word(&rule.hardware),
                firmware: word(&rule.firmware),
                software: word(&rule.software),
                vendor: word(&rule.vendor),
                contained_in: word(&rule.contained_in),
                if_index: None,
            };
            // A name alone is what every empty slot has too.
            let told = [&part.serial, &part.model, &part.descr];
            if told.iter().any(|text| !text.is_empty()) {
                found.push(part);
            }
        }
    }
    found.truncate(MAX_FOUND);
    found
}

pub(super) fn vlans(scope: &Scope<'_>, rules: &[Vlan]) -> Vec<device::Vlan> {
    let mut found = BTreeMap::new();
    for rule in rules {
        for index in scope.rows(rule) {
            let id = named(scope, rule.id.as_ref(), &index).parse().ok();
            let Some(id) = id.filter(|id| VLAN_IDS.contains(id)) else { continue };
            let name = scope.wording(rule.name.as_ref(), &index);
            found.entry(id).or_insert(device::Vlan { id, name });
        }
    }
    found.into_values().collect()
}

pub(super) fn neighbours(scope: &Scope<'_>, rules: &[Neighbour]) -> Vec<device::Neighbour> {
    let mut found = Vec::new();
    for rule in rules {
        for index in scope.rows(rule) {
            let word = |text: &Option<Text>| scope.wording(text.as_ref(), &index);
            let neighbour = device::Neighbour {
                protocol: text::shown(rule.protocol.clone()),
                local_if_index: interface(scope, rule.local_if_index.as_ref(), &index),
                local_name: word(&rule.local_name),
                name: word(&rule.name),
                port: word(&rule.port),
                port_id: word(&rule.port_id),
                platform: word(&rule.platform),
                version: word(&rule.version),
                address: address(scope, rule.address.as_ref(), &index),
            };
            let told = [&neighbour.name, &neighbour.port, &neighbour.platform];
            if told.iter().any(|text| !text.is_empty()) || neighbour.address.is_some() {
                found.push(neighbour);
            }
        }
    }
    found.truncate(MAX_FOUND);
    found
}

/// An ifIndex that a text says.
fn interface(scope: &Scope<'_>, text: Option<&Text>, index: &[u32]) -> Option<u32> {
    scope.text(text, index)?.parse().ok().filter(|number| *number > 0)
}

/// An address, also where the device gives its bytes.
pub(super) fn address(scope: &Scope<'_>, text: Option<&Text>, index: &[u32]) -> Option<IpAddr> {
    let Text(texts) = text?;
    texts.iter().find_map(|text| match scope.pieces(text) {
        [Piece::Value { reference, map: None }] => {
            text::address(&*reference::value(reference, scope.tables, index)?)
        }
        pieces => scope.composed(pieces, index)?.parse().ok(),
    })
}

pub(super) fn poe(scope: &Scope<'_>, rules: &[Poe]) -> Vec<device::Poe> {
    let mut found = Vec::new();
    for rule in rules {
        for index in scope.rows(rule) {
            let watts = || {
                let raw = scope.number(rule.power.as_ref(), &index, &rule.skip, None)?;
                let watts = tidy(raw * scope.factor(rule.scale.as_ref(), &index)?);
                (watts.is_finite() && watts >= 0.0).then_some(watts)
            };
            let port = device::Poe {
                if_index: named(scope, rule.interface.as_ref(), &index).parse().ok(),
                power_w: watts(),
                status: scope.wording(rule.status.as_ref(), &index),
            };
            if port.power_w.is_some() || !port.status.is_empty() {
                found.push(port);
            }
        }
    }
    found.truncate(MAX_FOUND);
    found
}

/// By ifIndex.
pub(super) fn interfaces(scope: &Scope<'_>, rules: &Interfaces) -> BTreeMap<u32, InterfaceNames> {
    let mut found: BTreeMap<u32, InterfaceNames> = BTreeMap::new();
    let mut keep = |references: &[String], slot: fn(&mut InterfaceNames) -> &mut Option<String>| {
        for (interface, name) in references.iter().flat_map(|text| named_interfaces(scope, text)) {
            if found.len() < MAX_FOUND || found.contains_key(&interface) {
                slot(found.entry(interface).or_default()).get_or_insert(name);
            }
        }
    };
    keep(&rules.alias, |names| &mut names.alias);
    keep(&rules.name, |names| &mut names.name);
    found
}

fn named_interfaces(scope: &Scope<'_>, text: &str) -> Vec<(u32, String)> {
    let Some(reference) = scope.reference(text) else { return Vec::new() };
    let rows = match reference {
        Reference::Column(_, Row::Same) => scope.indexes(reference),
        Reference::Column(..) | Reference::Index(_) | Reference::IndexText(_) => {
            scope.indexes(&Reference::Column(IF_DESCR.into(), Row::Same))
        }
    };
    let name = |index: Arcs| {
        let [interface] = *index else { return None };
        let value: &Value = &*reference::value(reference, scope.tables, &index)?;
        Some((interface, text::shown(text::text(value)?)))
    };
    rows.into_iter().filter_map(name).collect()
}
