//! Which series a target has: those of its method, and those of its parts.

use std::collections::{HashMap, HashSet};

use domain::{
    metric::IF_SPEED,
    target::{Detail, Method, Series},
};
use store::NewSeriesSpec;

/// Interfaces of one inventory.
pub const MAX_INTERFACES: usize = 10_000;
/// Disks, interfaces or sensors of an agent's machine, each.
pub const MAX_PARTS: usize = 64;
/// Columns of a device's group that are left for ports: below the wire's limit.
const MAX_PORT_COLUMNS: usize = 19_000;
/// Longest label, bytes.
const MAX_LABEL_BYTES: usize = 255;
/// A device with so few ports is a router, a firewall or an access point: each port matters.
const FEW_PORTS: usize = 8;
/// Words in a port's name or alias that mark a link towards other equipment.
const UPLINK_WORDS: [&str; 3] = ["uplink", "wan", "trunk"];
/// `ifType` of ports that carry people's traffic: Ethernet in its numbers of three decades, an
/// aggregate, wireless, PPP (IANAifType-MIB).
const PORT_TYPES: [u32; 7] = [6, 62, 69, 117, 161, 71, 23];
/// `ifOperStatus` up.
const UP: u32 = 1;
/// Octets, both ways, in 64 bits; in 32 for ports that have no wider counter.
const OCTETS: [u32; 2] = [60, 61];
const NARROW_OCTETS: [u32; 2] = [76, 77];
/// Unicast packets, the same.
const PACKETS: [u32; 2] = [66, 67];
const NARROW_PACKETS: [u32; 2] = [78, 79];
/// Errors and discards both ways, the state, and when counters were reset.
const PORT_METRICS: [u32; 6] = [62, 63, 64, 65, 68, 71];

/// An interface as a device tells of it: untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// `ifIndex`.
    pub index: u32,
    /// `ifName`, or `ifDescr` where there is none.
    pub name: String,
    /// `ifAlias`.
    pub alias: String,
    /// `ifType`.
    pub kind: u32,
    /// `ifOperStatus`.
    pub oper_status: u32,
    /// Whether its widest counters of octets have 32 bits.
    pub narrow_octets: bool,
    /// Whether its widest counters of unicast packets have 32 bits.
    pub narrow_packets: bool,
}

impl Port {
    /// What is measured of it.
    fn metrics(&self) -> impl Iterator<Item = u32> {
        let octets = if self.narrow_octets { NARROW_OCTETS } else { OCTETS };
        let packets = if self.narrow_packets { NARROW_PACKETS } else { PACKETS };
        // What narrow counters may have grown by is told by the speed.
        let speed = (self.narrow_octets || self.narrow_packets).then_some(IF_SPEED);
        octets.into_iter().chain(packets).chain(PORT_METRICS).chain(speed)
    }
}

/// Parts of the agent's own machine: untrusted names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostParts {
    /// Mount points.
    pub disks: Vec<String>,
    /// Network interfaces.
    pub interfaces: Vec<String>,
    /// Temperature sensors.
    pub sensors: Vec<String>,
}

fn full(metric: u32) -> NewSeriesSpec {
    NewSeriesSpec { metric, instance: 0, label: String::new(), detail: Detail::Full }
}

/// The series that a target has from the start.
#[must_use]
pub fn default_series(method: &Method, address: &str) -> Vec<NewSeriesSpec> {
    let metrics: &[u32] = match method {
        Method::Icmp { .. } => &[1, 2, 3, 4, 5, 6, 7],
        Method::Tcp => &[10, 11],
        Method::Dns { .. } => &[20, 21, 22],
        Method::Http if address.starts_with("https:") => &[30, 31, 32, 33, 34, 35, 36, 37, 38],
        Method::Http => &[30, 31, 32, 33, 35, 36, 38],
        Method::SnmpV2c { .. } => &[50, 51, 52],
        Method::Host => &[80, 81, 82, 83, 84, 90, 91],
        Method::Mesh { .. } => &[140, 141, 142, 143, 144, 145, 146],
    };
    metrics.iter().map(|&metric| full(metric)).collect()
}

/// At most [`MAX_LABEL_BYTES`], cut between characters.
fn label(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_LABEL_BYTES)].to_owned()
}

/// The new series of a device's ports: those of ports that are up, or were once. A port keeps its
/// series when it goes down, and when its device gives its number another name.
pub(super) fn of_ports(ports: &[Port], known: &[&Series]) -> Vec<NewSeriesSpec> {
    let have: HashSet<(u32, u32)> = known.iter().map(|s| (s.metric, s.instance)).collect();
    let were_up: HashSet<u32> = known.iter().map(|series| series.instance).collect();
    let mut numbers = HashSet::new();
    let listed: Vec<&Port> = ports
        .iter()
        .take(MAX_INTERFACES)
        .filter(|port| port.index > 0 && numbers.insert(port.index))
        .collect();
    let real = |port: &&Port| PORT_TYPES.contains(&port.kind);
    // A device that types its interfaces in its own way still has its ports.
    let any_real = listed.iter().any(real);
    let chosen: Vec<&Port> = listed.into_iter().filter(|port| !any_real || real(port)).collect();
    let few = chosen.len() <= FEW_PORTS;
    let mut wanted = Vec::new();
    for port in chosen {
        if port.oper_status != UP && !were_up.contains(&port.index) {
            continue;
        }
        let text = format!("{} {}", port.name, port.alias).to_lowercase();
        let detail = if few || UPLINK_WORDS.iter().any(|word| text.contains(word)) {
            Detail::Full
        } else {
            Detail::Coarse
        };
        let new = port.metrics().filter(|metric| !have.contains(&(*metric, port.index)));
        wanted.extend(new.map(|metric| NewSeriesSpec {
            metric,
            instance: port.index,
            label: label(&port.name),
            detail,
        }));
    }
    wanted.truncate(MAX_PORT_COLUMNS.saturating_sub(known.len()));
    wanted
}

/// The new series of the parts of the agent's machine.
pub(super) fn of_host(parts: &HostParts, known: &[&Series]) -> Vec<NewSeriesSpec> {
    let mut have: HashSet<(u32, String)> =
        known.iter().map(|series| (series.metric, series.label.clone())).collect();
    let kinds: [(&[String], &[u32]); 3] =
        [(&parts.disks, &[85, 86]), (&parts.interfaces, &[87, 88]), (&parts.sensors, &[89])];
    // A part has a name only; its number tells it from the others in the store.
    let mut next: HashMap<u32, u32> = HashMap::new();
    for series in known {
        let free = next.entry(series.metric).or_default();
        *free = (*free).max(series.instance.saturating_add(1));
    }
    let mut wanted = Vec::new();
    for (names, metrics) in kinds {
        let before = known.iter().filter(|series| metrics.first() == Some(&series.metric)).count();
        let named = names.iter().filter(|name| !name.is_empty() && name.as_str() != "lo");
        for name in named.take(MAX_PARTS.saturating_sub(before)) {
            for &metric in metrics {
                if have.insert((metric, label(name))) {
                    let free = next.entry(metric).or_default();
                    let instance = *free;
                    *free = free.saturating_add(1);
                    wanted.push(NewSeriesSpec { instance, label: label(name), ..full(metric) });
                }
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use domain::id::{SeriesId, SiteId, TargetId};

    use super::*;

    fn port(index: u32, name: &str, oper_status: u32) -> Port {
        Port {
            index,
            name: name.to_owned(),
            alias: String::new(),
            kind: 6,
            oper_status,
            narrow_octets: false,
            narrow_packets: false,
        }
    }

    /// Series of a port with counters of 64 bits.
    const EACH: usize = 10;

    fn stored(specs: &[NewSeriesSpec]) -> Vec<Series> {
        specs
            .iter()
            .map(|spec| Series {
                id: SeriesId(1),
                site: SiteId(1),
                target: TargetId(1),
                metric: spec.metric,
                instance: spec.instance,
                label: spec.label.clone(),
                detail: spec.detail,
            })
            .collect()
    }

    #[test]
    fn ports_that_are_up_or_were_up_are_measured() {
        let mut ports: Vec<Port> = (1..=24).map(|n| port(n, &format!("Gi0/{n}"), 2)).collect();
        ports[0].oper_status = UP;
        ports[1].oper_status = UP;
        ports[1].alias = "Uplink bâtiment B".to_owned();
        let first = of_ports(&ports, &[]);
        assert_eq!(first.len(), 2 * EACH);
        assert!(first.iter().all(|s| (s.instance == 2) == (s.detail == Detail::Full)));
        let known = stored(&first);
        let known: Vec<&Series> = known.iter().collect();
        assert_eq!(of_ports(&ports, &known), []);
        ports[0].oper_status = 2;
        ports[2].oper_status = UP;
        let later = of_ports(&ports, &known);
        assert!(later.iter().all(|series| series.instance == 3));
        assert_eq!(later.len(), EACH);
    }

    #[test]
    fn ports_of_small_devices_are_kept_in_full_detail() {
        let ports: Vec<Port> = (1..=8).map(|n| port(n, "eth", UP)).collect();
        assert!(of_ports(&ports, &[]).iter().all(|series| series.detail == Detail::Full));
    }

    #[test]
    fn ports_without_wide_counters_are_measured_by_narrow_ones_and_their_speed() {
        let mut ports = [port(1, "Gi1", UP), port(2, "Fa2", UP), port(3, "Fa3", UP)];
        ports[1].narrow_packets = true;
        (ports[2].narrow_octets, ports[2].narrow_packets) = (true, true);
        let first = of_ports(&ports, &[]);
        let of = |instance| {
            let of = first.iter().filter(move |series| series.instance == instance);
            let mut metrics: Vec<u32> = of.map(|series| series.metric).collect();
            metrics.sort_unstable();
            metrics
        };
        assert_eq!(of(1), [60, 61, 62, 63, 64, 65, 66, 67, 68, 71]);
        assert_eq!(of(2), [59, 60, 61, 62, 63, 64, 65, 68, 71, 78, 79]);
        assert_eq!(of(3), [59, 62, 63, 64, 65, 68, 71, 76, 77, 78, 79]);
        // New firmware has wide ones: they come beside the others, whose history stays.
        let known = stored(&first);
        ports[2].narrow_octets = false;
        let later = of_ports(&ports, &known.iter().collect::<Vec<_>>());
        assert_eq!(
            later.iter().map(|s| (s.metric, s.instance)).collect::<Vec<_>>(),
            [(60, 3), (61, 3)]
        );
    }

    #[test]
    fn interfaces_without_cable_are_left_out_unless_nothing_else_is_told() {
        let loopback = Port { kind: 24, ..port(1, "lo0", UP) };
        let vlan = Port { kind: 136, ..port(2, "Vlan10", UP) };
        let mixed = of_ports(&[loopback.clone(), vlan.clone(), port(3, "Gi1", UP)], &[]);
        assert!(mixed.iter().all(|series| series.instance == 3));
        assert_eq!(of_ports(&[loopback, vlan], &[]).len(), 2 * EACH);
    }

    #[test]
    fn huge_and_repeated_inventories_are_cut() {
        let ports: Vec<Port> = (0..20_000).map(|n| port(n, "x", UP)).collect();
        assert_eq!(of_ports(&ports, &[]).len(), MAX_PORT_COLUMNS);
        let same = vec![port(7, &"é".repeat(400), UP); 9];
        let wanted = of_ports(&same, &[]);
        assert_eq!(wanted.len(), EACH);
        assert_eq!(wanted[0].label.len(), 254);
        let parts = HostParts {
            disks: (0..100).map(|n| format!("/{n}")).collect(),
            ..HostParts::default()
        };
        assert_eq!(of_host(&parts, &[]).len(), 2 * MAX_PARTS);
    }

    #[test]
    fn parts_of_the_host_are_added_once() {
        let parts = HostParts {
            disks: vec!["/".to_owned(), "/".to_owned()],
            interfaces: vec!["lo".to_owned(), "eth0".to_owned()],
            sensors: vec!["cpu".to_owned()],
        };
        let first = of_host(&parts, &[]);
        assert_eq!(first.len(), 5);
        let known = stored(&first);
        assert_eq!(of_host(&parts, &known.iter().collect::<Vec<_>>()), []);
        // The store knows a series by metric and number: each part has its own.
        let more = HostParts { disks: vec!["/home".to_owned(), "/srv".to_owned()], ..parts };
        let later = of_host(&more, &known.iter().collect::<Vec<_>>());
        let mut numbers: Vec<_> =
            first.iter().chain(&later).map(|spec| (spec.metric, spec.instance)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 5 + 4);
    }
}
