//! What the standard MIBs tell of a device: each family is a pure function of the tables that were read.

pub mod addresses;
pub mod bridge;
pub(crate) mod cdp;
pub(crate) mod entity;
pub(crate) mod entity_sensors;
pub(crate) mod host;
pub(crate) mod if_type;
pub mod interfaces;
pub(crate) mod lldp;
pub(crate) mod poe;
pub(crate) mod printer;
pub(crate) mod ups;
pub(crate) mod volumes;

use super::mib::Name;
use crate::{
    device::Findings,
    profile::model::Standard,
    snmp::{Wanted, tables::Tables},
};
use interfaces::Known;

/// Everything that is read of any device, but the stations that bridges have seen.
pub(crate) fn wanted() -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = ups::scalars().map(scalar).collect();
    for family in [&bridge::SCALARS[..], &addresses::SCALARS, &host::SCALARS, &volumes::SCALARS] {
        wanted.extend(family.iter().copied().map(scalar));
    }
    wanted.extend(ups::columns().map(column));
    for family in [
        &interfaces::COLUMNS[..],
        &bridge::COLUMNS,
        &addresses::COLUMNS,
        &entity::COLUMNS,
        &entity_sensors::COLUMNS,
        &host::COLUMNS,
        &volumes::COLUMNS,
        &lldp::COLUMNS,
        &cdp::COLUMNS,
        &poe::COLUMNS,
        &printer::COLUMNS,
    ] {
        wanted.extend(family.iter().copied().map(column));
    }
    wanted
}

pub(crate) fn scalar(name: Name) -> Wanted {
    Wanted::Scalar(name.arcs().into())
}

pub(crate) fn column(name: Name) -> Wanted {
    Wanted::Column(name.arcs().into())
}

/// What the standard MIBs tell: the readings that `reads` lets through.
pub(crate) fn findings(
    tables: &Tables,
    known: &Known<'_>,
    reads: &dyn Fn(Standard) -> bool,
) -> Findings {
    let mut found = Findings::default();
    let (memory, storage) = volumes::host(tables);
    if reads(Standard::HostProcessors) {
        found.processors = host::processors(tables);
    }
    if reads(Standard::HostMemory) {
        found.memory = memory;
    }
    if reads(Standard::HostStorage) {
        found.storage = storage;
    }
    if found.memory.is_empty() && reads(Standard::UcdMemory) {
        found.memory = volumes::ucd_memory(tables);
    }
    if found.storage.is_empty() && reads(Standard::HostStorage) {
        found.storage = volumes::ucd_disks(tables);
    }
    if reads(Standard::Entity) {
        found.parts = entity::parts(tables);
    }
    if reads(Standard::EntitySensors) {
        found.sensors.extend(entity_sensors::sensors(tables, known));
    }
    if reads(Standard::Ups) {
        found.sensors.extend(ups::sensors(tables));
    }
    if reads(Standard::Printer) {
        found.supplies = printer::supplies(tables);
        found.sensors.extend(printer::sensors(tables));
    }
    if reads(Standard::Poe) {
        found.sensors.extend(poe::sensors(tables));
        found.poe = poe::ports(tables, known);
    }
    if reads(Standard::Lldp) {
        found.neighbours.extend(lldp::neighbours(tables, known));
    }
    if reads(Standard::Cdp) {
        found.neighbours.extend(cdp::neighbours(tables));
    }
    if reads(Standard::BridgeVlans) {
        found.vlans = bridge::vlans(tables);
    }
    found
}
