//! The schema of the files in `agent/profiles/` (its README says what each field is for).
//!
//! Also compiled into the build script, so nothing here uses the rest of the crate.

// Named, because the build script reads this file from elsewhere.
#[path = "model/measures.rs"]
mod measures;
#[path = "model/parts.rs"]
mod parts;
#[path = "model/scalars.rs"]
mod scalars;

use std::collections::BTreeMap;

pub use measures::{
    Convert, Memory, MemoryClass, Processor, SENSOR_CLASSES, Sensor, Storage, Supply,
};
pub use parts::{AccessPoint, Inventory, Neighbour, Poe, Radio, Ssid, Total, Vlan, Wireless};
pub use scalars::{Number, Raw, Text};

use serde::Deserialize;

/// One file: what a family of devices tells beside the standard MIBs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Files read before this one, without `.toml`.
    pub inherits: Vec<String>,
    /// Names of OIDs.
    pub objects: BTreeMap<String, String>,
    /// Devices of this family; none for a file that is only inherited.
    pub r#match: Vec<Match>,
    /// Readings of the standard MIBs that are left out.
    pub without: Vec<Standard>,
    /// Sections whose inherited rules are dropped.
    pub replaces: Vec<Section>,
    /// Who made it, what it is, what runs on it.
    pub identity: Identity,
    /// What stands in for an empty system group.
    pub system: System,
    /// What stands in for empty names of interfaces.
    pub interfaces: Interfaces,
    /// Processors.
    pub processor: Vec<Processor>,
    /// Memory pools.
    pub memory: Vec<Memory>,
    /// File systems, volumes, pools.
    pub storage: Vec<Storage>,
    /// Sensors and states.
    pub sensor: Vec<Sensor>,
    /// Printers' supplies.
    pub supply: Vec<Supply>,
    /// Physical parts.
    pub inventory: Vec<Inventory>,
    /// VLANs.
    pub vlan: Vec<Vlan>,
    /// Neighbours.
    pub neighbour: Vec<Neighbour>,
    /// Radios of an access point.
    pub radio: Vec<Radio>,
    /// Network names in the air.
    pub ssid: Vec<Ssid>,
    /// Access points of a controller.
    pub access_point: Vec<AccessPoint>,
    /// Totals of a wireless network.
    pub wireless: Wireless,
    /// Power over Ethernet.
    pub poe: Vec<Poe>,
    /// By name: severity, then raw value, then text.
    pub states: BTreeMap<String, States>,
    /// By name: raw value, then text.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// sysObjectID equals one of these or lies below it.
    pub sys_object_id: Vec<String>,
    /// sysDescr matches.
    pub sys_descr: Option<String>,
    /// sysDescr does not match.
    pub not_sys_descr: Option<String>,
    /// At each of these OIDs, or below it, stands an instance.
    pub has: Vec<String>,
    /// Each of these references has a text that matches.
    pub value: BTreeMap<String, String>,
}

/// A reading of standard MIBs that a profile can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standard {
    /// ENTITY-SENSOR-MIB.
    EntitySensors,
    /// HOST-RESOURCES-MIB's hrProcessorTable.
    HostProcessors,
    /// HOST-RESOURCES-MIB's hrStorageTable, but memory.
    HostStorage,
    /// HOST-RESOURCES-MIB's hrStorageTable, memory only.
    HostMemory,
    /// UCD-SNMP-MIB's memory group.
    UcdMemory,
    /// ENTITY-MIB.
    Entity,
    /// POWER-ETHERNET-MIB.
    Poe,
    /// LLDP-MIB.
    Lldp,
    /// CISCO-CDP-MIB.
    Cdp,
    /// Q-BRIDGE-MIB.
    BridgeVlans,
    /// Printer-MIB.
    Printer,
    /// UPS-MIB.
    Ups,
}

/// A section of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// `[identity]`.
    Identity,
    /// `[system]`.
    System,
    /// `[interfaces]`.
    Interfaces,
    /// `[[processor]]`.
    Processor,
    /// `[[memory]]`.
    Memory,
    /// `[[storage]]`.
    Storage,
    /// `[[sensor]]`.
    Sensor,
    /// `[[supply]]`.
    Supply,
    /// `[[inventory]]`.
    Inventory,
    /// `[[vlan]]`.
    Vlan,
    /// `[[neighbour]]`.
    Neighbour,
    /// `[[radio]]`.
    Radio,
    /// `[[ssid]]`.
    Ssid,
    /// `[[access_point]]`.
    AccessPoint,
    /// `[wireless]`.
    Wireless,
    /// `[[poe]]`.
    Poe,
}

/// By severity: raw value, as text, then what it is called.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct States {
    /// Says nothing of health.
    pub unknown: BTreeMap<String, String>,
    /// Does not work.
    pub critical: BTreeMap<String, String>,
    /// Works, but someone should look.
    pub warning: BTreeMap<String, String>,
    /// Works.
    pub ok: BTreeMap<String, String>,
}

/// Where a text comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A reference, or a text with references in braces.
    pub from: String,
    /// Its first group, or the whole match, is the text.
    pub pattern: Option<String>,
    /// Joins groups: `{1} build {2}`.
    pub format: Option<String>,
    /// Looks the text up in a map.
    pub map: Option<String>,
    /// Of a column, rows that count.
    #[serde(default)]
    pub r#where: Values,
    /// Of a column, rows that do not count.
    #[serde(default)]
    pub where_not: Values,
    /// Of a column, rows whose texts match.
    #[serde(default)]
    pub r#match: Patterns,
}

/// By reference: the values that it may have.
pub type Values = BTreeMap<String, Vec<Raw>>;
/// By reference: the regular expression that its text matches.
pub type Patterns = BTreeMap<String, String>;

/// Who made it, what it is, what runs on it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Who made it.
    pub vendor: Option<Text>,
    /// What runs on it.
    pub os: Option<Text>,
    /// Its class: the first that holds.
    pub class: Vec<Class>,
    /// Its model.
    pub model: Vec<Source>,
    /// Version of its firmware.
    pub version: Vec<Source>,
    /// Its serial number.
    pub serial: Vec<Source>,
}

/// A class, and when it is the device's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// switch, router, firewall, wifi-ap, wifi-controller, ups, printer, nas, server, nte.
    pub is: DeviceClass,
    /// sysDescr matches.
    pub sys_descr: Option<String>,
    /// sysObjectID equals one of these or lies below it.
    #[serde(default)]
    pub sys_object_id: Vec<String>,
    /// A reference that gives something.
    pub from: Option<String>,
    /// What it gives matches.
    pub pattern: Option<String>,
}

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceClass {
    /// A switch.
    Switch,
    /// A router.
    Router,
    /// A firewall.
    Firewall,
    /// An access point that stands alone, or tells of itself.
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

/// What stands in for an empty system group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct System {
    /// For sysName.
    pub name: Vec<Source>,
    /// For sysLocation.
    pub location: Vec<Source>,
}

/// What stands in for empty names of interfaces: columns of rows by ifIndex.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interfaces {
    /// For ifAlias.
    pub alias: Vec<String>,
    /// For ifName.
    pub name: Vec<String>,
}

/// Which rows a rule is for.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Each reference has one of the values.
    pub r#where: &'a Values,
    /// No reference has one of the values.
    pub where_not: &'a Values,
    /// Each reference has a text that matches.
    pub r#match: &'a Patterns,
    /// None of these gives something.
    pub absent: &'a [String],
    /// The rule is left out where the device has an instance of one of these.
    pub unless: &'a [String],
}

/// A rule that makes something of each row.
pub trait Rule {
    /// Which rows it is for.
    fn filter(&self) -> Filter<'_>;
    /// The reference that makes the rows, where it is named.
    fn key(&self) -> Option<&str>;
    /// Else: the references of which the first that the device has makes them.
    fn values(&self) -> Vec<&str>;
    /// Else: the texts of which the first reference that the device has makes them.
    fn texts(&self) -> Vec<&Text>;
}

macro_rules! rules {
    ($($rule:ident { $($value:ident)* } { $($text:ident)* };)*) => {$(
        impl Rule for $rule {
            fn filter(&self) -> Filter<'_> {
                Filter {
                    r#where: &self.r#where,
                    where_not: &self.where_not,
                    r#match: &self.r#match,
                    absent: &self.absent,
                    unless: &self.unless,
                }
            }

            fn key(&self) -> Option<&str> {
                self.key.as_deref()
            }

            fn values(&self) -> Vec<&str> {
                let values: &[Option<&str>] = &[$(self.$value.as_deref()),*];
                values.iter().copied().flatten().collect()
            }

            fn texts(&self) -> Vec<&Text> {
                let texts: &[Option<&Text>] = &[$(self.$text.as_ref()),*];
                texts.iter().copied().flatten().collect()
            }
        }
    )*};
}

rules! {
    Processor { usage idle } {};
    Memory { total used free percent percent_free } {};
    Storage { total used free percent percent_free } {};
    Supply { level percent capacity } {};
    Inventory {} { serial model name descr };
    Vlan {} { name id };
    Neighbour {} { name port platform address };
    Radio { clients channel utilisation noise } { name };
    Ssid { clients } { name };
    AccessPoint { clients } { name serial address model };
    Poe { power } { status interface };
}

impl Rule for Sensor {
    fn filter(&self) -> Filter<'_> {
        Filter {
            r#where: &self.r#where,
            where_not: &self.where_not,
            r#match: &self.r#match,
            absent: &self.absent,
            unless: &self.unless,
        }
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn values(&self) -> Vec<&str> {
        vec![&self.value]
    }

    fn texts(&self) -> Vec<&Text> {
        Vec::new()
    }
}
