//! Rules for what stands there: parts, VLANs, neighbours, wireless networks, ports.

use serde::Deserialize;

use super::{Number, Patterns, Raw, Text, Values};

/// A physical part, beside ENTITY-MIB's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inventory {
    /// Makes the rows; the first reference of the texts when absent.
    pub key: Option<String>,
    /// Tells it from the others; `{index}` when absent.
    pub index: Option<Text>,
    /// By ENTITY-MIB's terms.
    pub class: Option<Text>,
    /// What it is called.
    pub name: Option<Text>,
    /// What it is.
    pub descr: Option<Text>,
    /// Its model.
    pub model: Option<Text>,
    /// Its serial number.
    pub serial: Option<Text>,
    /// Revision of the hardware.
    pub hardware: Option<Text>,
    /// Version of the firmware.
    pub firmware: Option<Text>,
    /// Version of the software.
    pub software: Option<Text>,
    /// Who made it.
    pub vendor: Option<Text>,
    /// `index` of the part that it stands in.
    pub contained_in: Option<Text>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// A VLAN.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vlan {
    /// Makes the rows; the first reference of the texts when absent.
    pub key: Option<String>,
    /// 1 to 4094; `{index}` when absent.
    pub id: Option<Text>,
    /// What it is called.
    pub name: Option<Text>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// What the device hears of another at one of its ports.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// cdp, fdp, edp, lldp …
    pub protocol: String,
    /// Makes the rows; the first reference of the texts when absent.
    pub key: Option<String>,
    /// The port's ifIndex.
    pub local_if_index: Option<Text>,
    /// The port's ifName or ifDescr, where its ifIndex is not known.
    pub local_name: Option<Text>,
    /// What the other is called.
    pub name: Option<Text>,
    /// What its port is called.
    pub port: Option<Text>,
    /// The identifier of its port, where that is something else.
    pub port_id: Option<Text>,
    /// What it is.
    pub platform: Option<Text>,
    /// What runs on it.
    pub version: Option<Text>,
    /// Where it is managed.
    pub address: Option<Text>,
    /// Rows that count.
    #[serde(default)]
    pub r#where: Values,
    /// Rows that do not count.
    #[serde(default)]
    pub where_not: Values,
    /// Rows whose texts match.
    #[serde(default)]
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    #[serde(default)]
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    #[serde(default)]
    pub unless: Vec<String>,
}

/// A radio of an access point.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Radio {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// What it is called.
    pub name: Option<Text>,
    /// Stations.
    pub clients: Option<String>,
    /// Number of the channel.
    pub channel: Option<String>,
    /// The channel's use, 0 to 100.
    pub utilisation: Option<String>,
    /// Noise floor, in dBm.
    pub noise: Option<String>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// A network name in the air.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssid {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// The name.
    pub name: Option<Text>,
    /// Stations.
    pub clients: Option<String>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// An access point, as its controller knows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessPoint {
    /// Makes the rows; the first reference of the texts when absent.
    pub key: Option<String>,
    /// What it is called.
    pub name: Option<Text>,
    /// Its model.
    pub model: Option<Text>,
    /// Its serial number.
    pub serial: Option<Text>,
    /// Where it is managed.
    pub address: Option<Text>,
    /// Stations.
    pub clients: Option<String>,
    /// It is up when each reference has one of the values.
    pub up: Values,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// Totals of a wireless network: of each, the first that gives something.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wireless {
    /// Stations.
    pub clients: Vec<Total>,
    /// Access points that the controller knows.
    pub aps: Vec<Total>,
    /// Access points that are up.
    pub aps_connected: Vec<Total>,
}

/// A total: one of `from`, `sum`, `rows`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Total {
    /// A scalar.
    pub from: Option<String>,
    /// The sum of a column.
    pub sum: Option<String>,
    /// The number of a column's rows.
    pub rows: Option<String>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
}

/// Power over Ethernet at one port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Poe {
    /// Makes the rows; `power`, or the first reference of the texts, when absent.
    pub key: Option<String>,
    /// The port's ifIndex; `{index}` when absent.
    pub interface: Option<Text>,
    /// What the port gives, in W when scaled.
    pub power: Option<String>,
    /// Multiplies the power.
    pub scale: Option<Number>,
    /// What the port does.
    pub status: Option<Text>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}
