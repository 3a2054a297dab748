//! What discovery found: a noun of its own.

use std::net::IpAddr;

use async_trait::async_trait;
use domain::{
    id::SiteId,
    inventory::{Device, Sighting},
    topology::DeviceId,
};
use jiff::Timestamp;

use crate::Result;

/// Devices that a site keeps, the missing ones included.
pub const MAX_DEVICES: usize = 1_000;
/// Parts of a device that are kept.
pub const MAX_PARTS: usize = 256;
/// Edges of a round that are kept.
pub const MAX_EDGES: usize = 8_000;
/// Ports of a round whose stations are kept.
pub const MAX_PORTS: usize = 8_000;

/// Something that a device told of where another one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge<D> {
    /// Who told.
    pub device: D,
    /// At which of its interfaces, when that is known.
    pub if_index: Option<u32>,
    /// That interface's name.
    pub port: String,
    /// Of whom.
    pub other: D,
    /// Through which interface of the other, when that is known.
    pub other_if_index: Option<u32>,
    /// That interface's name.
    pub other_port: String,
    /// lldp, cdp …, or `bridge`.
    pub source: String,
}

/// How many addresses a bridge had learnt at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stations<D> {
    /// The bridge.
    pub device: D,
    /// Its interface.
    pub if_index: u32,
    /// How many.
    pub count: u32,
}

/// A round of discovery that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The request that it answers.
    pub request: u64,
    /// Addresses that were asked.
    pub asked: u32,
    /// Of them, those that answered anything.
    pub answered: u32,
    /// Of them, those that answered SNMP.
    pub identified: u32,
    /// Networks that were not searched.
    pub refused: Vec<String>,
    /// False when it was cut short: what it did not see may still be there.
    pub complete: bool,
}

/// What a site has, and how it hangs together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// By number.
    pub devices: Vec<Device>,
    /// As the last round told them.
    pub edges: Vec<Edge<DeviceId>>,
    /// As the last round counted them.
    pub stations: Vec<Stations<DeviceId>>,
    /// The last round; `None` before the first.
    pub round: Option<Round>,
}

/// The equipment of sites.
#[async_trait]
pub trait InventoryStore: Send + Sync {
    /// Keeps a device that was seen: as the known one that it is (`domain::inventory::recognise`), or as
    /// a new one. One that something newer is known of keeps it. [`crate::StoreError::Limit`] when the
    /// site has [`MAX_DEVICES`].
    async fn keep_sighting(
        &self,
        site: SiteId,
        seen_at: Timestamp,
        sighting: Sighting,
    ) -> Result<DeviceId>;
    /// Ends a round: devices that a complete one did not see are missing from then on; edges and
    /// stations, by the address where a device answered, replace those of the round before. Those of
    /// devices that are not known are left out. An older round than the last changes nothing.
    async fn end_round(
        &self,
        site: SiteId,
        round: Round,
        edges: Vec<Edge<IpAddr>>,
        stations: Vec<Stations<IpAddr>>,
    ) -> Result<()>;
    /// Everything that is known of a site's equipment.
    async fn inventory(&self, site: SiteId) -> Result<Inventory>;
    /// Confirms that a device belongs to the site; [`crate::StoreError::NotFound`] when there is none of
    /// this number. Confirmed again, it keeps its time.
    async fn confirm_device(&self, site: SiteId, device: DeviceId, at: Timestamp) -> Result<()>;
}
