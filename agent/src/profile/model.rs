//! The schema of the files in `agent/profiles/` (its README says what each field is for).
//!
//! Also compiled into the build script, so nothing here uses the rest of the crate.

use std::collections::BTreeMap;

use serde::Deserialize;

pub use super::scalars::{Number, Raw, Text};

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

/// A processor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Processor {
    /// Makes the rows; `usage` or `idle` when absent.
    pub key: Option<String>,
    /// Busy, 0 to 100.
    pub usage: Option<String>,
    /// Idle, 0 to 100.
    pub idle: Option<String>,
    /// What it is called.
    pub descr: Option<Text>,
    /// Multiplies the value.
    pub scale: Option<Number>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
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

/// What memory is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// A memory pool: any two of `total`, `used`, `free`, `percent`, or `percent` alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it is used for.
    pub class: MemoryClass,
    /// Size, in units.
    pub total: Option<String>,
    /// In use, in units.
    pub used: Option<String>,
    /// Not in use, in units.
    pub free: Option<String>,
    /// In use, 0 to 100.
    pub percent: Option<String>,
    /// Not in use, 0 to 100.
    pub percent_free: Option<String>,
    /// Bytes of one unit; 1 when absent.
    pub unit: Option<Number>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
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

/// A file system, volume or pool: as [`Memory`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it is.
    pub kind: Option<Text>,
    /// Size, in units.
    pub total: Option<String>,
    /// In use, in units.
    pub used: Option<String>,
    /// Not in use, in units.
    pub free: Option<String>,
    /// In use, 0 to 100.
    pub percent: Option<String>,
    /// Not in use, 0 to 100.
    pub percent_free: Option<String>,
    /// Bytes of one unit; 1 when absent.
    pub unit: Option<Number>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
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

/// What a sensor's scaled value still goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convert {
    /// Milliwatts, to dBm.
    MwToDbm,
    /// Watts, to dBm.
    WToDbm,
    /// Degrees Fahrenheit, to degrees Celsius.
    Fahrenheit,
    /// Seconds, to minutes.
    SecondsToMinutes,
    /// Hundredths of a second, to minutes.
    TicksToMinutes,
}

/// A sensor, or a state.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// What is measured: one of [`SENSOR_CLASSES`].
    pub class: String,
    /// Makes the rows; `value` when absent.
    pub key: Option<String>,
    /// What the device tells.
    pub value: String,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it belongs to.
    pub group: Option<Text>,
    /// Of a state: the name of its table of texts and severities.
    pub states: Option<String>,
    /// Multiplies the value.
    pub scale: Option<Number>,
    /// Decimal places of the value.
    pub scale_exponent: Option<String>,
    /// An `EntitySensorDataScale` (ENTITY-SENSOR-MIB): 8 is milli, 9 is one.
    pub scale_prefix: Option<String>,
    /// Added to the scaled value.
    pub offset: Option<f64>,
    /// What the scaled value still goes through.
    pub convert: Option<Convert>,
    /// Raw values that mean that there is none.
    #[serde(default)]
    pub skip: Vec<Raw>,
    /// Values outside are none, in the class's unit.
    pub range: Option<[f64; 2]>,
    /// Its first group is the number, or the state.
    pub pattern: Option<String>,
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

/// The classes of sensors. `agent/profiles/README.md` has their units.
pub const SENSOR_CLASSES: [&str; 24] = [
    "airflow",
    "charge",
    "count",
    "current",
    "dbm",
    "delay",
    "distance",
    "energy",
    "fanspeed",
    "frequency",
    "humidity",
    "load",
    "loss",
    "noise",
    "percent",
    "power",
    "power_factor",
    "pressure",
    "runtime",
    "signal",
    "snr",
    "state",
    "temperature",
    "voltage",
];

/// A printer's supply.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supply {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// Tells it from the others; `{index}` when absent.
    pub index: Option<Text>,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it is.
    pub kind: Option<Text>,
    /// What is left, as the printer gives it.
    pub level: Option<String>,
    /// What it holds when it is full.
    pub capacity: Option<String>,
    /// What is left, 0 to 100.
    pub percent: Option<String>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
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
