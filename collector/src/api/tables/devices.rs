//! Equipment and topology.

use super::{Cell, Table, Time, plain};
use crate::query::devices::{Devices, RoundLine, Topology};

/// What a table about a site's equipment speaks for.
fn coverage(round: Option<&RoundLine>) -> String {
    let Some(round) = round else { return "never searched".to_owned() };
    let RoundLine { asked, answered, identified, complete, .. } = round;
    let cut = if *complete { "" } else { ", cut short" };
    format!("{answered} of {asked} addresses answered, {identified} by SNMP{cut}")
}

impl Table for Devices {
    const HEADER: &'static [&'static str] = &[
        "no",
        "state",
        "class",
        "name",
        "address",
        "vendor",
        "model",
        "serial",
        "version",
        "location",
        "snmp",
        "interfaces",
        "first_seen",
        "last_seen",
        "missing_since",
        "confirmed_at",
    ];

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        coverage(self.round.as_ref())
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        let row = |device: &crate::query::devices::DeviceLine| {
            vec![
                plain(device.no),
                plain(device.state),
                Cell::plain(device.class),
                Cell::text(Some(&device.name)),
                plain(&device.address),
                Cell::text(Some(&device.vendor)),
                Cell::text(Some(&device.model)),
                Cell::text(Some(&device.serial)),
                Cell::text(Some(&device.version)),
                Cell::text(Some(&device.location)),
                Cell::plain(device.snmp),
                plain(device.interfaces),
                plain(device.first_seen),
                plain(device.last_seen),
                Cell::plain(device.missing_since),
                Cell::plain(device.confirmed_at),
            ]
        };
        self.items.iter().map(row).collect()
    }
}

/// Rows are the devices of the tree, then those without a place.
impl Table for Topology {
    const HEADER: &'static [&'static str] = &[
        "no",
        "name",
        "class",
        "model",
        "depth",
        "parent",
        "parent_ports",
        "ports",
        "source",
        "confidence",
    ];

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        let (placed, unplaced) = (self.items.len(), self.unplaced.len());
        format!(
            "{placed} of {} devices placed; {}",
            placed + unplaced,
            coverage(self.round.as_ref())
        )
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        let ports = |ports: &[String]| Cell::text(Some(ports.join(", ")).as_deref());
        let placed = self.items.iter().map(|node| {
            vec![
                plain(node.no),
                Cell::text(Some(&node.name)),
                Cell::plain(node.class),
                Cell::text(Some(&node.model)),
                plain(node.depth),
                Cell::plain(node.parent),
                ports(&node.parent_ports),
                ports(&node.ports),
                Cell::plain(node.source),
                Cell::plain(node.confidence),
            ]
        });
        let unplaced = self.unplaced.iter().map(|device| {
            let mut row = vec![plain(device.no), Cell::text(Some(&device.name))];
            row.resize_with(Self::HEADER.len(), || Cell::Empty);
            row
        });
        placed.chain(unplaced).collect()
    }
}
