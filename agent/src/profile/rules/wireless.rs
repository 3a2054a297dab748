//! Wireless networks: totals, radios, names, access points.

use super::{MAX_FOUND, Scope, is_percent, numbered, tidy, unsigned};
use crate::{
    device,
    profile::{
        model::{AccessPoint, Profile, Radio, Ssid, Total},
        syntax::{Reference, Row},
    },
    snmp::tables::Extent,
};

/// Noise floors that a radio can have, in dBm.
const NOISE_DBM: std::ops::RangeInclusive<f64> = -130.0..=-1.0;

pub(super) fn wireless(scope: &Scope<'_>, rules: &Profile) -> device::Wireless {
    let radios = radios(scope, &rules.radio);
    let ssids = ssids(scope, &rules.ssid);
    let access_points = access_points(scope, &rules.access_point);
    let totals = &rules.wireless;
    let first = |totals: &[Total]| totals.iter().find_map(|total| counted(scope, total));
    device::Wireless {
        clients: first(&totals.clients)
            .or_else(|| sum(ssids.iter().map(|ssid| ssid.clients)))
            .or_else(|| sum(radios.iter().map(|radio| radio.clients)))
            .or_else(|| sum(access_points.iter().map(|point| point.clients))),
        aps: first(&totals.aps).or_else(|| sum(access_points.iter().map(|_| Some(1)))),
        aps_connected: first(&totals.aps_connected)
            .or_else(|| sum(access_points.iter().map(|point| point.up.map(u64::from)))),
        radios,
        ssids,
        access_points,
    }
}

/// `None` where one is not known, or there is nothing to add up.
fn sum(parts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let mut total = None;
    for part in parts {
        total = Some(total.unwrap_or(0_u64).checked_add(part?)?);
    }
    total
}

fn counted(scope: &Scope<'_>, total: &Total) -> Option<u64> {
    if let Some(from) = &total.from {
        let index = scope.rows_of(from).into_iter().next()?;
        return scope.count(Some(from), &index, &[]);
    }
    let column = total.sum.as_ref().or(total.rows.as_ref())?;
    let Reference::Column(arcs, Row::Same) = scope.reference(column)? else { return None };
    // What was cut off would be missing in the total. Of a column without any row nothing is known: it
    // may be one that the device does not have.
    let whole_column = scope.tables.extent(arcs) == Some(Extent::Whole);
    let rows = scope.rows_of(column);
    if !whole_column || rows.is_empty() || rows.len() >= super::MAX_ROWS {
        return None;
    }
    let kept = rows
        .iter()
        .filter(|index| scope.selects(&total.r#where, &total.where_not, &total.r#match, index));
    match total.sum {
        Some(_) => {
            let mut sum = 0_u64;
            for index in kept {
                sum = sum.checked_add(scope.count(Some(column), index, &[])?)?;
            }
            Some(sum)
        }
        None => u64::try_from(kept.count()).ok(),
    }
}

fn radios(scope: &Scope<'_>, rules: &[Radio]) -> Vec<device::Radio> {
    let mut found = Vec::new();
    for rule in rules {
        for index in scope.rows(rule) {
            let number =
                |reference: Option<&String>| scope.number(reference, &index, &rule.skip, None);
            let radio = device::Radio {
                name: scope
                    .text(rule.name.as_ref(), &index)
                    .unwrap_or_else(|| numbered("Radio", &index)),
                clients: scope.count(rule.clients.as_ref(), &index, &rule.skip),
                channel: number(rule.channel.as_ref())
                    .and_then(unsigned)
                    .filter(|channel| *channel > 0),
                utilisation_percent: number(rule.utilisation.as_ref())
                    .filter(|percent| is_percent(*percent))
                    .map(tidy),
                noise_dbm: number(rule.noise.as_ref()).filter(|dbm| NOISE_DBM.contains(dbm)),
            };
            let told = radio.clients.is_some()
                || radio.channel.is_some()
                || radio.utilisation_percent.is_some()
                || radio.noise_dbm.is_some();
            if told {
                found.push(radio);
            }
        }
    }
    found.truncate(MAX_FOUND);
    found
}

fn ssids(scope: &Scope<'_>, rules: &[Ssid]) -> Vec<device::Ssid> {
    let mut found = Vec::new();
    for rule in rules {
        for index in scope.rows(rule) {
            // A name that nobody gave is a slot that is not in use.
            if let Some(name) = scope.text(rule.name.as_ref(), &index) {
                let clients = scope.count(rule.clients.as_ref(), &index, &rule.skip);
                found.push(device::Ssid { name, clients });
            }
        }
    }
    found.truncate(MAX_FOUND);
    found
}

fn access_points(scope: &Scope<'_>, rules: &[AccessPoint]) -> Vec<device::AccessPoint> {
    let mut found = Vec::new();
    for rule in rules {
        for index in scope.rows(rule) {
            let address = super::parts::address(scope, rule.address.as_ref(), &index);
            found.push(device::AccessPoint {
                name: scope
                    .text(rule.name.as_ref(), &index)
                    .unwrap_or_else(|| numbered("AP", &index)),
                model: scope.wording(rule.model.as_ref(), &index),
                serial: scope.wording(rule.serial.as_ref(), &index),
                address: address.map(|address| address.to_string()).unwrap_or_default(),
                clients: scope.count(rule.clients.as_ref(), &index, &rule.skip),
                up: if rule.up.is_empty() { None } else { scope.is_each(&rule.up, &index) },
            });
        }
    }
    found.truncate(MAX_FOUND);
    found
}
