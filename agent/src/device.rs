//! What can be learnt of a device: values, without how they were asked for. Every text is the device's
//! own, cleaned of control characters; an absent figure is `None`, never zero.

#![expect(missing_docs, reason = "names are the terms of the MIBs and of agent/profiles/README.md")]

use std::{collections::BTreeMap, net::IpAddr};

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    Switch,
    Router,
    Firewall,
    WifiAp,
    WifiController,
    Ups,
    Printer,
    Nas,
    Server,
    Nte,
}

/// Who made it, what it is, what runs on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    pub class: Option<DeviceClass>,
    pub vendor: Option<String>,
    pub os: Option<String>,
    pub model: Option<String>,
    pub version: Option<String>,
    pub serial: Option<String>,
    /// Name of the profile that described it.
    pub profile: Option<String>,
}

/// One processor, or the mean of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Processor {
    pub descr: String,
    /// 0 to 100.
    pub usage_percent: f64,
    /// Dotted name of the value's instance.
    pub oid: String,
}

/// What memory is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemoryClass {
    #[default]
    System,
    Virtual,
    Swap,
    Buffers,
    Cached,
    Shared,
}

/// A memory pool. In bytes; only `percent` is known of some devices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    pub descr: String,
    pub class: MemoryClass,
    pub total: Option<u64>,
    pub used: Option<u64>,
    pub free: Option<u64>,
    /// Used, 0 to 100.
    pub percent: Option<f64>,
}

/// A file system, volume or pool. In bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Storage {
    pub descr: String,
    pub kind: String,
    pub size: Option<u64>,
    pub used: Option<u64>,
    pub free: Option<u64>,
    /// Used, 0 to 100.
    pub percent: Option<f64>,
}

/// What a state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Ok,
    Warning,
    Critical,
    Unknown,
}

/// One reading of a sensor, in the unit of its class (`agent/profiles/README.md`).
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    pub class: String,
    pub descr: String,
    /// Of a state: the raw number, where there is one.
    pub value: Option<f64>,
    /// Of a state: its text and what it means.
    pub state: Option<(String, Severity)>,
    pub group: Option<String>,
    /// Dotted name of the value's instance.
    pub oid: String,
}

/// Toner, drum, waste box, or a paper tray (`kind` is `input`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Supply {
    pub index: String,
    pub kind: String,
    pub descr: String,
    /// As the printer gives it: -1 other, -2 unknown, -3 some left (RFC 3805).
    pub level: Option<i64>,
    pub capacity: Option<i64>,
    /// 0 to 100, where the printer tells it.
    pub level_percent: Option<f64>,
}

/// A physical part, by ENTITY-MIB's terms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    pub index: String,
    pub class: String,
    pub name: String,
    pub descr: String,
    pub model: String,
    pub serial: String,
    pub hardware: String,
    pub firmware: String,
    pub software: String,
    pub vendor: String,
    pub contained_in: String,
    pub if_index: Option<u32>,
}

/// One VLAN.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vlan {
    /// 1 to 4094.
    pub id: u16,
    pub name: String,
}

/// What the device hears of another at one of its ports.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbour {
    pub protocol: String,
    pub local_if_index: Option<u32>,
    /// Where no ifIndex is known.
    pub local_name: String,
    pub name: String,
    pub port: String,
    pub port_id: String,
    pub platform: String,
    pub version: String,
    pub address: Option<IpAddr>,
}

/// A radio of an access point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Radio {
    pub name: String,
    pub clients: Option<u64>,
    pub channel: Option<u64>,
    pub utilisation_percent: Option<f64>,
    pub noise_dbm: Option<f64>,
}

/// A network name that access points announce.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ssid {
    pub name: String,
    pub clients: Option<u64>,
}

/// An access point, as its controller knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccessPoint {
    pub name: String,
    pub model: String,
    pub serial: String,
    pub address: String,
    pub clients: Option<u64>,
    pub up: Option<bool>,
}

/// Totals of a wireless network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wireless {
    pub clients: Option<u64>,
    pub aps: Option<u64>,
    pub aps_connected: Option<u64>,
    pub radios: Vec<Radio>,
    pub ssids: Vec<Ssid>,
    pub access_points: Vec<AccessPoint>,
}

/// Power over Ethernet at one port.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Poe {
    pub if_index: Option<u32>,
    pub power_w: Option<f64>,
    pub status: String,
}

/// What stands in for empty names of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceNames {
    /// For ifAlias.
    pub alias: Option<String>,
    /// For ifName.
    pub name: Option<String>,
}

/// What the rules of a profile found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    pub identity: Identity,
    pub system_name: Option<String>,
    pub system_location: Option<String>,
    /// By ifIndex.
    pub interfaces: BTreeMap<u32, InterfaceNames>,
    pub processors: Vec<Processor>,
    pub memory: Vec<Memory>,
    pub storage: Vec<Storage>,
    pub sensors: Vec<Sensor>,
    pub supplies: Vec<Supply>,
    pub parts: Vec<Part>,
    pub vlans: Vec<Vlan>,
    pub neighbours: Vec<Neighbour>,
    pub wireless: Wireless,
    pub poe: Vec<Poe>,
}
