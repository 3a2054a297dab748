//! The schema of the files in `agent/profiles/` (its README says what each field is for).
//!
//! Also compiled into the build script, so nothing here uses the rest of the crate.

use std::collections::BTreeMap;

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
    pub identity: Identity,
    pub system: System,
    pub interfaces: Interfaces,
    pub processor: Vec<Processor>,
    pub memory: Vec<Memory>,
    pub storage: Vec<Storage>,
    pub sensor: Vec<Sensor>,
    pub supply: Vec<Supply>,
    pub inventory: Vec<Inventory>,
    pub vlan: Vec<Vlan>,
    pub neighbour: Vec<Neighbour>,
    pub radio: Vec<Radio>,
    pub ssid: Vec<Ssid>,
    pub access_point: Vec<AccessPoint>,
    pub wireless: Wireless,
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
    EntitySensors,
    HostProcessors,
    HostStorage,
    HostMemory,
    UcdMemory,
    Entity,
    Poe,
    Lldp,
    Cdp,
    BridgeVlans,
    Printer,
    Ups,
}

/// A section of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    Identity,
    Processor,
    Memory,
    Storage,
    Sensor,
    Supply,
    Inventory,
    Vlan,
    Neighbour,
    Radio,
    Ssid,
    AccessPoint,
    Wireless,
    Poe,
}

/// One text, or several of which the first that is complete counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Text {
    One(String),
    FirstOf(Vec<String>),
}

/// A number, or a reference to one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Literal(f64),
    Reference(String),
}

/// A value as devices give them, for comparing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Raw {
    Integer(i64),
    Text(String),
}

/// Where a text comes from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A reference.
    pub from: String,
    /// Its first group, or the whole match, is the text.
    pub pattern: Option<String>,
    /// Joins groups: `{1} build {2}`.
    pub format: Option<String>,
    /// Looks the text up in a map.
    pub map: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    pub vendor: Option<String>,
    pub os: Option<String>,
    pub class: Vec<Class>,
    pub model: Vec<Source>,
    pub version: Vec<Source>,
    pub serial: Vec<Source>,
}

/// A class, and when it is the device's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// switch, router, firewall, wifi-ap, wifi-controller, ups, printer, nas, server, nte.
    pub is: DeviceClass,
    pub sys_descr: Option<String>,
    #[serde(default)]
    pub sys_object_id: Vec<String>,
    pub from: Option<String>,
    pub pattern: Option<String>,
}

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct System {
    pub name: Vec<Source>,
    pub location: Vec<Source>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interfaces {
    pub alias: Vec<String>,
    pub name: Vec<String>,
}

/// Which rows of a table a rule is for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Each reference has one of the values.
    pub r#where: BTreeMap<String, Vec<Raw>>,
    /// No reference has one of the values.
    pub where_not: BTreeMap<String, Vec<Raw>>,
    /// Each reference has a text that matches.
    pub r#match: BTreeMap<String, String>,
}
