//! What was learnt as JSON, for programs. Hardware addresses of other stations are not in it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Number;

use super::{
    Report,
    mib::{dotted, hex},
    standard::{
        addresses::Address,
        bridge::Tree,
        if_type,
        interfaces::{Counters, Duplex, Interface, status_name},
    },
};
use crate::device::{
    AccessPoint, DeviceClass, Memory, MemoryClass, Neighbour, Part, Poe, Processor, Radio, Sensor,
    Severity, Ssid, Storage, Supply, Vlan, Wireless,
};

/// Whole figures as whole numbers; what is no number is none.
fn number(value: f64) -> Option<Number> {
    /// Up to here, every whole number has a value of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the range")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// A text, or nothing.
fn said(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The whole report in one line, with a line end.
///
/// # Errors
/// None that can occur: every key is a text.
pub fn write(report: &Report) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(&Device::from(report))?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device<'a> {
    class: Option<&'static str>,
    vendor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(rename = "sysObjectID")]
    sys_object_id: Option<String>,
    sys_descr: &'a str,
    sys_name: &'a str,
    sys_location: &'a str,
    sys_contact: &'a str,
    hardware: Option<&'a str>,
    version: Option<&'a str>,
    serial: Option<&'a str>,
    /// A limit or a fault cut the reading: what is missing is unknown.
    partial: bool,
    ports: Vec<Port<'a>>,
    processors: Vec<ProcessorRow<'a>>,
    mempools: Vec<MemoryRow<'a>>,
    sensors: Vec<SensorRow<'a>>,
    storage: Vec<StorageRow<'a>>,
    supplies: Vec<SupplyRow<'a>>,
    #[serde(rename = "entPhysical")]
    parts: Vec<PartRow<'a>>,
    neighbours: Vec<NeighbourRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wireless: Option<WirelessRows<'a>>,
    vlans: Vec<VlanRow<'a>>,
    ipv4: Vec<AddressRow>,
    ipv6: Vec<AddressRow>,
    #[serde(rename = "stp")]
    trees: Vec<TreeRow>,
    #[serde(rename = "stp_ports")]
    tree_ports: Vec<TreePortRow>,
    poe: Vec<PoeRow<'a>>,
}

impl<'a> From<&'a Report> for Device<'a> {
    fn from(report: &'a Report) -> Self {
        let Report { system, identity, found, interfaces, .. } = report;
        let names: BTreeMap<u32, &Interface> =
            interfaces.iter().map(|interface| (interface.index, interface)).collect();
        let of_family = |v4: bool| {
            let family = report.addresses.iter().filter(move |of| of.address.is_ipv4() == v4);
            family.map(AddressRow::from).collect()
        };
        let stations = |index: u32| report.stations.get(&index).copied();
        Self {
            class: identity.class.map(class_name),
            vendor: identity.vendor.as_deref(),
            os: identity.os.as_deref(),
            profile: identity.profile.as_deref(),
            sys_object_id: said(&dotted(&system.object_id)).map(str::to_owned),
            sys_descr: &system.descr,
            sys_name: found.system_name.as_deref().unwrap_or(&system.name),
            sys_location: found.system_location.as_deref().unwrap_or(&system.location),
            sys_contact: &system.contact,
            hardware: identity.model.as_deref(),
            version: identity.version.as_deref(),
            serial: identity.serial.as_deref(),
            partial: report.is_partial,
            ports: interfaces.iter().map(|of| Port::new(of, stations(of.index))).collect(),
            processors: found.processors.iter().map(ProcessorRow::from).collect(),
            mempools: found.memory.iter().map(MemoryRow::from).collect(),
            sensors: found.sensors.iter().map(SensorRow::from).collect(),
            storage: found.storage.iter().map(StorageRow::from).collect(),
            supplies: found.supplies.iter().map(SupplyRow::from).collect(),
            parts: found.parts.iter().map(PartRow::from).collect(),
            neighbours: found.neighbours.iter().map(|of| NeighbourRow::new(of, &names)).collect(),
            wireless: wireless(&found.wireless),
            vlans: found.vlans.iter().map(VlanRow::from).collect(),
            ipv4: of_family(true),
            ipv6: of_family(false),
            trees: report.tree.iter().map(TreeRow::from).collect(),
            tree_ports: report.tree.iter().flat_map(tree_ports).collect(),
            poe: found.poe.iter().map(PoeRow::from).collect(),
        }
    }
}

/// Name of a class, as profiles write it.
pub(crate) fn class_name(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Switch => "switch",
        DeviceClass::Router => "router",
        DeviceClass::Firewall => "firewall",
        DeviceClass::WifiAp => "wifi-ap",
        DeviceClass::WifiController => "wifi-controller",
        DeviceClass::Ups => "ups",
        DeviceClass::Printer => "printer",
        DeviceClass::Nas => "nas",
        DeviceClass::Server => "server",
        DeviceClass::Nte => "nte",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Port<'a> {
    if_index: u32,
    if_name: &'a str,
    if_descr: &'a str,
    if_alias: &'a str,
    if_type: Option<String>,
    if_speed: Option<u64>,
    if_high_speed: Option<u64>,
    if_oper_status: Option<&'static str>,
    if_admin_status: Option<&'static str>,
    if_phys_address: Option<String>,
    if_mtu: Option<u64>,
    if_duplex: Option<&'static str>,
    if_vlan: Option<String>,
    #[serde(rename = "ifHCInOctets")]
    if_hc_in_octets: Option<u64>,
    #[serde(rename = "ifHCOutOctets")]
    if_hc_out_octets: Option<u64>,
    if_in_ucast_pkts: Option<u64>,
    if_out_ucast_pkts: Option<u64>,
    if_in_errors: Option<u64>,
    if_out_errors: Option<u64>,
    if_in_discards: Option<u64>,
    if_out_discards: Option<u64>,
    /// How many stations the bridge has seen behind the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    stations: Option<u64>,
}

impl<'a> Port<'a> {
    fn new(of: &'a Interface, stations: Option<u64>) -> Self {
        let Counters { octets, unicast_packets, errors, discards } = of.input;
        Self {
            if_index: of.index,
            if_name: &of.name,
            if_descr: &of.descr,
            if_alias: &of.alias,
            if_type: of
                .kind
                .map(|kind| if_type::name(kind).map_or_else(|| kind.to_string(), str::to_owned)),
            if_speed: of.speed_bps,
            if_high_speed: of.high_speed_mbps,
            if_oper_status: of.oper_status.and_then(status_name),
            if_admin_status: of.admin_status.and_then(status_name),
            if_phys_address: of.address.map(|address| hex(&address)),
            if_mtu: of.mtu,
            if_duplex: of.duplex.map(|duplex| match duplex {
                Duplex::Unknown => "unknown",
                Duplex::Half => "halfDuplex",
                Duplex::Full => "fullDuplex",
            }),
            if_vlan: of.vlan.map(|vlan| vlan.to_string()),
            if_hc_in_octets: octets,
            if_hc_out_octets: of.output.octets,
            if_in_ucast_pkts: unicast_packets,
            if_out_ucast_pkts: of.output.unicast_packets,
            if_in_errors: errors,
            if_out_errors: of.output.errors,
            if_in_discards: discards,
            if_out_discards: of.output.discards,
            stations,
        }
    }
}

#[derive(Serialize)]
struct ProcessorRow<'a> {
    descr: &'a str,
    usage: Option<Number>,
    oid: String,
}

impl<'a> From<&'a Processor> for ProcessorRow<'a> {
    fn from(of: &'a Processor) -> Self {
        Self { descr: &of.descr, usage: number(of.usage_percent), oid: with_dot(&of.oid) }
    }
}

fn with_dot(oid: &str) -> String {
    if oid.is_empty() { String::new() } else { format!(".{}", oid.trim_start_matches('.')) }
}

#[derive(Serialize)]
struct MemoryRow<'a> {
    descr: &'a str,
    class: &'static str,
    total: Option<u64>,
    used: Option<u64>,
    free: Option<u64>,
    perc: Option<Number>,
}

impl<'a> From<&'a Memory> for MemoryRow<'a> {
    fn from(of: &'a Memory) -> Self {
        Self {
            descr: &of.descr,
            class: match of.class {
                MemoryClass::System => "system",
                MemoryClass::Virtual => "virtual",
                MemoryClass::Swap => "swap",
                MemoryClass::Buffers => "buffers",
                MemoryClass::Cached => "cached",
                MemoryClass::Shared => "shared",
            },
            total: of.total,
            used: of.used,
            free: of.free,
            perc: of.percent.and_then(number),
        }
    }
}

#[derive(Serialize)]
struct StorageRow<'a> {
    descr: &'a str,
    r#type: &'a str,
    size: Option<u64>,
    used: Option<u64>,
    free: Option<u64>,
    perc: Option<Number>,
}

impl<'a> From<&'a Storage> for StorageRow<'a> {
    fn from(of: &'a Storage) -> Self {
        Self {
            descr: &of.descr,
            r#type: &of.kind,
            size: of.size,
            used: of.used,
            free: of.free,
            perc: of.percent.and_then(number),
        }
    }
}

#[derive(Serialize)]
struct SensorRow<'a> {
    class: &'a str,
    descr: &'a str,
    value: Option<Number>,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    oid: String,
}

impl<'a> From<&'a Sensor> for SensorRow<'a> {
    fn from(of: &'a Sensor) -> Self {
        Self {
            class: &of.class,
            descr: &of.descr,
            value: of.value.and_then(number),
            unit: unit(&of.class),
            state: of.state.as_ref().map(|(text, _)| text.as_str()),
            severity: of.state.as_ref().map(|(_, severity)| severity_name(*severity)),
            group: of.group.as_deref(),
            oid: with_dot(&of.oid),
        }
    }
}

/// Unit of a class of sensors; empty for counts, states and what is not known.
pub(crate) fn unit(class: &str) -> &'static str {
    match class {
        "temperature" => "°C",
        "fanspeed" => "rpm",
        "voltage" => "V",
        "current" => "A",
        "power" => "W",
        "frequency" => "Hz",
        "humidity" | "load" | "charge" | "percent" | "loss" => "%",
        "runtime" => "min",
        "delay" => "s",
        "dbm" | "signal" | "noise" => "dBm",
        "snr" => "dB",
        "airflow" => "m³/h",
        "energy" => "kWh",
        "pressure" => "kPa",
        "distance" => "m",
        _ => "",
    }
}

pub(crate) fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
        Severity::Unknown => "unknown",
    }
}

#[derive(Serialize)]
struct SupplyRow<'a> {
    index: &'a str,
    r#type: &'a str,
    descr: &'a str,
    level_percent: Option<Number>,
    level_known: bool,
    raw_level: Option<i64>,
    raw_capacity: Option<i64>,
}

impl<'a> From<&'a Supply> for SupplyRow<'a> {
    fn from(of: &'a Supply) -> Self {
        Self {
            index: &of.index,
            r#type: &of.kind,
            descr: &of.descr,
            level_percent: of.level_percent.and_then(number),
            level_known: of.level_percent.is_some(),
            raw_level: of.level,
            raw_capacity: of.capacity,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartRow<'a> {
    index: &'a str,
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    descr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mfg: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contained_in: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_index: Option<u32>,
}

impl<'a> From<&'a Part> for PartRow<'a> {
    fn from(of: &'a Part) -> Self {
        Self {
            index: &of.index,
            class: &of.class,
            name: said(&of.name),
            descr: said(&of.descr),
            model: said(&of.model),
            serial: said(&of.serial),
            hw: said(&of.hardware),
            fw: said(&of.firmware),
            sw: said(&of.software),
            mfg: said(&of.vendor),
            contained_in: said(&of.contained_in),
            if_index: of.if_index,
        }
    }
}

#[derive(Serialize)]
struct NeighbourRow<'a> {
    protocol: &'a str,
    #[serde(rename = "local_ifIndex")]
    local_if_index: Option<u32>,
    #[serde(rename = "local_ifName")]
    local_if_name: &'a str,
    #[serde(rename = "local_ifDescr")]
    local_if_descr: &'a str,
    remote_hostname: &'a str,
    remote_port: &'a str,
    remote_port_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_address: Option<String>,
}

impl<'a> NeighbourRow<'a> {
    fn new(of: &'a Neighbour, interfaces: &BTreeMap<u32, &'a Interface>) -> Self {
        let local = of.local_if_index.and_then(|index| interfaces.get(&index));
        Self {
            protocol: &of.protocol,
            local_if_index: of.local_if_index,
            local_if_name: local.map_or(&of.local_name, |local| &local.name),
            local_if_descr: local.map_or("", |local| &local.descr),
            remote_hostname: &of.name,
            remote_port: &of.port,
            remote_port_id: &of.port_id,
            remote_platform: said(&of.platform),
            remote_version: said(&of.version),
            remote_address: of.address.map(|address| address.to_string()),
        }
    }
}

#[derive(Serialize)]
struct WirelessRows<'a> {
    clients: Option<u64>,
    aps: Option<u64>,
    aps_connected: Option<u64>,
    sensors: Vec<WirelessSensor<'a>>,
    access_points: Vec<AccessPointRow<'a>>,
}

#[derive(Serialize)]
struct WirelessSensor<'a> {
    class: &'static str,
    descr: &'a str,
    value: Option<Number>,
}

#[derive(Serialize)]
struct AccessPointRow<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    clients: Option<u64>,
    up: Option<bool>,
}

/// Nothing for a device that tells nothing of Wi-Fi.
fn wireless(of: &Wireless) -> Option<WirelessRows<'_>> {
    if *of == Wireless::default() {
        return None;
    }
    let ssids = of.ssids.iter().map(|Ssid { name, clients }| WirelessSensor {
        class: "clients",
        descr: name,
        value: clients.map(Number::from),
    });
    let radios = of.radios.iter().flat_map(|radio| {
        let Radio { name, clients, channel, utilisation_percent, noise_dbm } = radio;
        let figures = [
            ("clients", clients.map(Number::from)),
            ("channel", channel.map(Number::from)),
            ("utilization", utilisation_percent.and_then(number)),
            ("noise-floor", noise_dbm.and_then(number)),
        ];
        let told = figures.into_iter().filter(|(_, value)| value.is_some());
        told.map(move |(class, value)| WirelessSensor { class, descr: name, value })
    });
    let points = of.access_points.iter().map(|of| {
        let AccessPoint { name, model, serial, address, clients, up } = of;
        AccessPointRow {
            name,
            model: said(model),
            serial: said(serial),
            address: said(address),
            clients: *clients,
            up: *up,
        }
    });
    Some(WirelessRows {
        clients: of.clients,
        aps: of.aps,
        aps_connected: of.aps_connected,
        sensors: ssids.chain(radios).collect(),
        access_points: points.collect(),
    })
}

#[derive(Serialize)]
struct VlanRow<'a> {
    vlan: u16,
    name: &'a str,
}

impl<'a> From<&'a Vlan> for VlanRow<'a> {
    fn from(of: &'a Vlan) -> Self {
        Self { vlan: of.id, name: &of.name }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressRow {
    address: String,
    #[serde(rename = "prefixlen")]
    prefix_len: Option<u8>,
    if_index: Option<u32>,
}

impl From<&Address> for AddressRow {
    fn from(of: &Address) -> Self {
        Self { address: of.address.to_string(), prefix_len: of.prefix_len, if_index: of.if_index }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TreeRow {
    bridge: Option<String>,
    priority: Option<u32>,
    root: Option<String>,
    root_if_index: Option<u32>,
    is_root: u8,
}

impl From<&Tree> for TreeRow {
    fn from(of: &Tree) -> Self {
        Self {
            bridge: of.bridge.map(|address| hex(&address)),
            priority: of.priority,
            root: of.root.map(|address| hex(&address)),
            root_if_index: of.root_if_index,
            is_root: of.is_root().into(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TreePortRow {
    if_index: u32,
    state: &'static str,
}

fn tree_ports(of: &Tree) -> impl Iterator<Item = TreePortRow> {
    of.ports.iter().map(|port| TreePortRow { if_index: port.if_index, state: port.state })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoeRow<'a> {
    if_index: Option<u32>,
    #[serde(rename = "power_W")]
    power_w: Option<Number>,
    status: &'a str,
}

impl<'a> From<&'a Poe> for PoeRow<'a> {
    fn from(of: &'a Poe) -> Self {
        Self { if_index: of.if_index, power_w: of.power_w.and_then(number), status: &of.status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Findings, Identity};

    #[test]
    fn figures_are_whole_where_they_are_and_never_made_up() {
        assert_eq!(number(27.0).map(|n| n.to_string()).as_deref(), Some("27"));
        assert_eq!(number(27.5).map(|n| n.to_string()).as_deref(), Some("27.5"));
        assert_eq!(number(-0.000_001).map(|n| n.to_string()).as_deref(), Some("-1e-6"));
        assert_eq!(number(f64::NAN), None);
        assert_eq!(number(f64::INFINITY), None);
    }

    #[test]
    fn what_is_unknown_is_null_and_what_is_absent_is_no_section() {
        let report = Report {
            identity: Identity { class: Some(DeviceClass::Nte), ..Identity::default() },
            interfaces: vec![Interface {
                index: 7,
                kind: Some(6),
                oper_status: Some(1),
                address: Some([0, 1, 2, 3, 4, 5]),
                ..Interface::default()
            }],
            found: Findings {
                supplies: vec![Supply { level: Some(-3), ..Supply::default() }],
                ..Findings::default()
            },
            ..Report::default()
        };
        let text = write(&report).expect("texts for keys");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let port = &value["ports"][0];
        assert_eq!(port["ifType"], "ethernetCsmacd");
        assert_eq!(port["ifOperStatus"], "up");
        assert_eq!(port["ifPhysAddress"], "000102030405");
        assert!(port["ifHCInOctets"].is_null() && port["ifSpeed"].is_null());
        assert!(value["vendor"].is_null() && value["wireless"].is_null());
        assert_eq!(value["class"], "nte");
        assert_eq!(value["supplies"][0]["level_known"], false);
        assert!(value["supplies"][0]["level_percent"].is_null());
    }
}
