//! What can be learnt of a device: values, without how they were asked for. Every text is the device's
//! own, cleaned of control characters; an absent figure is `None`, never zero.

use std::{collections::BTreeMap, net::IpAddr};

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    /// A switch.
    Switch,
    /// A router.
    Router,
    /// A firewall.
    Firewall,
    /// An access point.
    WifiAp,
    /// A controller of access points.
    WifiController,
    /// An uninterruptible power supply.
    Ups,
    /// A printer.
    Printer,
    /// A file server without a user interface of its own.
    Nas,
    /// A server.
    Server,
    /// An operator's network termination.
    Nte,
}

/// Who made it, what it is, what runs on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// What kind of device it is.
    pub class: Option<DeviceClass>,
    /// Who made it.
    pub vendor: Option<String>,
    /// What runs on it.
    pub os: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Version of its firmware.
    pub version: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Name of the profile that described it.
    pub profile: Option<String>,
}

/// One processor, or the mean of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Processor {
    /// What it is called.
    pub descr: String,
    /// 0 to 100.
    pub usage_percent: f64,
    /// Dotted name of the value's instance.
    pub oid: String,
}

/// What memory is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemoryClass {
    /// Of the system, or of a part of it.
    #[default]
    System,
    /// Main memory and swap together.
    Virtual,
    /// On a disk.
    Swap,
    /// Of the operating system's input and output.
    Buffers,
    /// Of files.
    Cached,
    /// Of several processes.
    Shared,
}

/// A memory pool. In bytes; only `percent` is known of some devices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// What it is called.
    pub descr: String,
    /// What it is used for.
    pub class: MemoryClass,
    /// Size.
    pub total: Option<u64>,
    /// In use.
    pub used: Option<u64>,
    /// Not in use.
    pub free: Option<u64>,
    /// Used, 0 to 100.
    pub percent: Option<f64>,
}

/// A file system, volume or pool. In bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Storage {
    /// What it is called.
    pub descr: String,
    /// What it is.
    pub kind: String,
    /// Size.
    pub size: Option<u64>,
    /// In use.
    pub used: Option<u64>,
    /// Not in use.
    pub free: Option<u64>,
    /// Used, 0 to 100.
    pub percent: Option<f64>,
}

/// What a state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It works.
    Ok,
    /// It works, but someone should look.
    Warning,
    /// It does not work.
    Critical,
    /// It says nothing of health.
    Unknown,
}

/// One reading of a sensor, in the unit of its class (`agent/profiles/README.md`).
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// What is measured.
    pub class: String,
    /// What it is called.
    pub descr: String,
    /// Of a state: the raw number, where there is one.
    pub value: Option<f64>,
    /// Of a state: its text and what it means.
    pub state: Option<(String, Severity)>,
    /// What it belongs to.
    pub group: Option<String>,
    /// Dotted name of the value's instance.
    pub oid: String,
}

/// Toner, drum, waste box, or a paper tray (`kind` is `input`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Supply {
    /// Tells it from the device's others.
    pub index: String,
    /// What it is.
    pub kind: String,
    /// What it is called.
    pub descr: String,
    /// As the printer gives it: -1 other, -2 unknown, -3 some left (RFC 3805).
    pub level: Option<i64>,
    /// What it holds when it is full, in units of its own.
    pub capacity: Option<i64>,
    /// 0 to 100, where the printer tells it.
    pub level_percent: Option<f64>,
}

/// A physical part, by ENTITY-MIB's terms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// Tells it from the device's others.
    pub index: String,
    /// What it is: chassis, module, powerSupply, fan, port, stack …
    pub class: String,
    /// What it is called.
    pub name: String,
    /// What it is, in words.
    pub descr: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Revision of the hardware.
    pub hardware: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Version of the software.
    pub software: String,
    /// Who made it.
    pub vendor: String,
    /// `index` of the part that it stands in.
    pub contained_in: String,
    /// The interface that it is.
    pub if_index: Option<u32>,
}

/// One VLAN.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vlan {
    /// 1 to 4094.
    pub id: u16,
    /// What it is called.
    pub name: String,
}

/// What the device hears of another at one of its ports.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbour {
    /// How the device hears of it: lldp, cdp, fdp …
    pub protocol: String,
    /// The port that it is heard at.
    pub local_if_index: Option<u32>,
    /// Where no ifIndex is known.
    pub local_name: String,
    /// What it is called.
    pub name: String,
    /// What its port is called.
    pub port: String,
    /// The identifier of its port, where that is something else.
    pub port_id: String,
    /// What it is.
    pub platform: String,
    /// What runs on it.
    pub version: String,
    /// Where it is managed.
    pub address: Option<IpAddr>,
}

/// A radio of an access point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Radio {
    /// What it is called.
    pub name: String,
    /// Stations.
    pub clients: Option<u64>,
    /// Number of the channel.
    pub channel: Option<u64>,
    /// The channel's use, 0 to 100.
    pub utilisation_percent: Option<f64>,
    /// Noise floor.
    pub noise_dbm: Option<f64>,
}

/// A network name that access points announce.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ssid {
    /// The name.
    pub name: String,
    /// Stations.
    pub clients: Option<u64>,
}

/// An access point, as its controller knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccessPoint {
    /// What it is called.
    pub name: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Where it is managed; empty when unknown.
    pub address: String,
    /// Stations.
    pub clients: Option<u64>,
    /// Whether the controller has it.
    pub up: Option<bool>,
}

/// Totals of a wireless network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wireless {
    /// Stations.
    pub clients: Option<u64>,
    /// Access points that the controller knows.
    pub aps: Option<u64>,
    /// Access points that are up.
    pub aps_connected: Option<u64>,
    /// Radios.
    pub radios: Vec<Radio>,
    /// Names.
    pub ssids: Vec<Ssid>,
    /// Access points.
    pub access_points: Vec<AccessPoint>,
}

/// Power over Ethernet at one port.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Poe {
    /// The port.
    pub if_index: Option<u32>,
    /// What the port gives, in W.
    pub power_w: Option<f64>,
    /// What the port does.
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
    /// Who made it, what it is, what runs on it.
    pub identity: Identity,
    /// In place of an empty sysName.
    pub system_name: Option<String>,
    /// In place of an empty sysLocation.
    pub system_location: Option<String>,
    /// By ifIndex.
    pub interfaces: BTreeMap<u32, InterfaceNames>,
    /// Processors.
    pub processors: Vec<Processor>,
    /// Memory pools.
    pub memory: Vec<Memory>,
    /// File systems, volumes, pools.
    pub storage: Vec<Storage>,
    /// Sensors and states.
    pub sensors: Vec<Sensor>,
    /// Supplies of a printer.
    pub supplies: Vec<Supply>,
    /// Physical parts.
    pub parts: Vec<Part>,
    /// VLANs, by ascending number.
    pub vlans: Vec<Vlan>,
    /// Neighbours.
    pub neighbours: Vec<Neighbour>,
    /// Of access points and their controllers.
    pub wireless: Wireless,
    /// Ports that give power.
    pub poe: Vec<Poe>,
}
