//! `site devices` and `site topology`: the equipment of a site and how it hangs together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{
    inventory::{Class, Device, SnmpVersion},
    site::Site,
    target::Role,
    topology::{self, Candidate, DeviceId, Evidence, Link, Source, Top},
};
use serde::Serialize;
use store::inventory::{Edge, Inventory, Round};

use super::{Result, Sources, Time};

/// What an edge says that a bridge told.
const BRIDGE: &str = "bridge";

/// What the answer stands on: the last round of discovery.
#[derive(Debug, Clone, Serialize)]
pub struct RoundLine {
    /// When it began.
    pub started_at: Time,
    /// When it ended.
    pub ended_at: Time,
    /// Addresses that were asked.
    pub asked: u32,
    /// Of them, those that answered anything.
    pub answered: u32,
    /// Of them, those that answered SNMP.
    pub identified: u32,
    /// Networks that were not searched: untrusted text.
    pub refused: Vec<String>,
    /// False when it was cut short.
    pub complete: bool,
}

impl From<Round> for RoundLine {
    fn from(round: Round) -> Self {
        Self {
            started_at: Time(round.started_at),
            ended_at: Time(round.ended_at),
            asked: round.asked,
            answered: round.answered,
            identified: round.identified,
            refused: round.refused,
            complete: round.complete,
        }
    }
}

/// A part with a number of its own; every text is the device's.
#[derive(Debug, Clone, Serialize)]
pub struct PartLine {
    /// As ENTITY-MIB calls it: chassis, module, powerSupply, fan …
    pub class: String,
    /// What the device calls it.
    pub name: String,
    /// What it is.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Of its firmware.
    pub version: String,
}

/// A device; every text is its own, and untrusted.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceLine {
    /// Number within the site.
    pub no: i64,
    /// `confirmed`, `observed` (to be confirmed) or `missing`.
    pub state: &'static str,
    /// What kind of device it is; `null` when that is not known.
    pub class: Option<&'static str>,
    /// What it calls itself.
    pub name: String,
    /// Where it answered last.
    pub address: String,
    /// Who made it.
    pub vendor: String,
    /// What it is.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Of its firmware or system.
    pub version: String,
    /// Where it says that it stands.
    pub location: String,
    /// Version of SNMP by which it answered; `null` when it answers echo requests only.
    pub snmp: Option<&'static str>,
    /// Interfaces that it has.
    pub interfaces: u32,
    /// When it was seen first.
    pub first_seen: Time,
    /// When it was seen last.
    pub last_seen: Time,
    /// Since when it is missing.
    pub missing_since: Option<Time>,
    /// When somebody confirmed it.
    pub confirmed_at: Option<Time>,
    /// Its parts: members of a stack, modules, power supplies.
    pub parts: Vec<PartLine>,
}

impl From<Device> for DeviceLine {
    fn from(device: Device) -> Self {
        let state = match (device.missing_since, device.confirmed_at) {
            (Some(_), _) => "missing",
            (None, Some(_)) => "confirmed",
            (None, None) => "observed",
        };
        let facts = device.last.facts;
        let parts = device.last.parts.into_iter().map(|part| PartLine {
            class: part.class,
            name: part.name,
            model: part.model,
            serial: part.serial,
            version: part.version,
        });
        Self {
            no: device.id.0,
            state,
            class: facts.class.map(Class::code),
            name: facts.name,
            address: device.last.address.to_string(),
            vendor: facts.vendor,
            model: facts.model,
            serial: facts.serial,
            version: facts.version,
            location: facts.location,
            snmp: facts.snmp.map(SnmpVersion::code),
            interfaces: facts.interfaces,
            first_seen: Time(device.first_seen),
            last_seen: Time(device.last_seen),
            missing_since: device.missing_since.map(Time),
            confirmed_at: device.confirmed_at.map(Time),
            parts: parts.collect(),
        }
    }
}

/// The equipment of a site, by number.
#[derive(Debug, Clone, Serialize)]
pub struct Devices {
    /// When the answer was made.
    pub at: Time,
    /// The site.
    pub uai: String,
    /// The last round of discovery; `null` before the first: then nothing is known.
    pub round: Option<RoundLine>,
    /// The devices.
    pub items: Vec<DeviceLine>,
}

/// A device in the tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Number within the site.
    pub no: i64,
    /// What it calls itself, or its address: untrusted text.
    pub name: String,
    /// What kind of device it is.
    pub class: Option<&'static str>,
    /// What it is: untrusted text.
    pub model: String,
    /// 0 for the top.
    pub depth: usize,
    /// What it hangs behind; `null` for the top.
    pub parent: Option<i64>,
    /// Through which ports of that one, by name: untrusted texts.
    pub parent_ports: Vec<String>,
    /// Through which ports of its own.
    pub ports: Vec<String>,
    /// How the link is known: `neighbour` (LLDP, CDP and their kin) or `bridge`.
    pub source: Option<&'static str>,
    /// 0 to 1; `null` for the top.
    pub confidence: Option<f64>,
}

/// A spare line: a link that closes a ring.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpareLine {
    /// One end.
    pub no: i64,
    /// Its ports, by name: untrusted texts.
    pub ports: Vec<String>,
    /// The other end.
    pub other: i64,
    /// Its ports.
    pub other_ports: Vec<String>,
}

/// A device of which nobody told where it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unplaced {
    /// Number within the site.
    pub no: i64,
    /// What it calls itself, or its address: untrusted text.
    pub name: String,
}

/// The tree of a site from the uplink down.
#[derive(Debug, Clone, Serialize)]
pub struct Topology {
    /// When the answer was made.
    pub at: Time,
    /// The site.
    pub uai: String,
    /// The last round of discovery; `null` before the first: then nothing is known.
    pub round: Option<RoundLine>,
    /// How the top was found: `gateway`, `class` or `busiest`; `null` when there is none.
    pub top: Option<&'static str>,
    /// Devices that are placed; each follows what it hangs behind.
    pub items: Vec<Node>,
    /// Spare lines.
    pub spare: Vec<SpareLine>,
    /// Devices of which nobody told where they are.
    pub unplaced: Vec<Unplaced>,
}

/// Answers `site devices`.
pub async fn devices(sources: Sources<'_>, uai: &str) -> Result<Devices> {
    let site = super::site(sources.store, uai).await?;
    let Inventory { devices, round, .. } = sources.store.inventory(site.id).await?;
    Ok(Devices {
        at: Time(sources.now),
        uai: site.facts.uai.to_string(),
        round: round.map(RoundLine::from),
        items: devices.into_iter().map(DeviceLine::from).collect(),
    })
}

/// Answers `site topology`. Missing devices stand in no tree.
pub async fn topology(sources: Sources<'_>, uai: &str) -> Result<Topology> {
    let site = super::site(sources.store, uai).await?;
    let mut inventory = sources.store.inventory(site.id).await?;
    inventory.devices.retain(|device| device.missing_since.is_none());
    let gateways = gateways(sources, &site).await?;
    Ok(draw(Time(sources.now), &site, inventory, &gateways))
}

/// Addresses of the site's gateways, as its ladder knows them.
async fn gateways(sources: Sources<'_>, site: &Site) -> Result<BTreeSet<String>> {
    let targets = sources.store.targets(Some(site.id)).await?.into_iter();
    let gateways = targets.filter(|target| target.active && target.spec.role == Role::Gateway);
    Ok(gateways.map(|target| target.spec.address).collect())
}

fn draw(at: Time, site: &Site, inventory: Inventory, gateways: &BTreeSet<String>) -> Topology {
    let Inventory { devices, edges, round, .. } = inventory;
    let evidence: Vec<Evidence> = edges.iter().filter_map(evidence).collect();
    let known: BTreeMap<DeviceId, &Device> =
        devices.iter().map(|device| (device.id, device)).collect();
    let candidates: Vec<Candidate> = devices
        .iter()
        .map(|device| Candidate {
            id: device.id,
            gateway: gateways.contains(&device.last.address.to_string()),
            rank: match device.last.facts.class {
                Some(Class::Nte) => 3,
                Some(Class::Firewall) => 2,
                Some(Class::Router) => 1,
                Some(_) | None => 0,
            },
        })
        .collect();
    let mut topology = Topology {
        at,
        uai: site.facts.uai.to_string(),
        round: round.map(RoundLine::from),
        top: None,
        items: Vec::new(),
        spare: Vec::new(),
        unplaced: Vec::new(),
    };
    let name = |id: DeviceId| {
        let Some(device) = known.get(&id) else { return String::new() };
        match device.last.facts.name.as_str() {
            "" => device.last.address.to_string(),
            name => name.to_owned(),
        }
    };
    let unplaced = |ids: Vec<DeviceId>| {
        ids.into_iter().map(|id| Unplaced { no: id.0, name: name(id) }).collect()
    };
    let ids: BTreeSet<DeviceId> = known.keys().copied().collect();
    let Some((root, top)) = topology::top(&candidates, &evidence) else {
        topology.unplaced = unplaced(ids.into_iter().collect());
        return topology;
    };
    topology.top = Some(match top {
        Top::Gateway => "gateway",
        Top::Class => "class",
        Top::Busiest => "busiest",
    });
    let tree = topology::tree(root, &ids, &evidence);
    let names = PortNames::new(&edges);
    let node = |id: DeviceId, depth: usize, link: Option<&Link>| {
        let facts = known.get(&id).map(|device| &device.last.facts);
        Node {
            no: id.0,
            name: name(id),
            class: facts.and_then(|facts| facts.class).map(Class::code),
            model: facts.map(|facts| facts.model.clone()).unwrap_or_default(),
            depth,
            parent: link.map(|link| link.upper.0),
            parent_ports: link.map(|link| names.of(link, End::Upper)).unwrap_or_default(),
            ports: link.map(|link| names.of(link, End::Lower)).unwrap_or_default(),
            source: link.map(|link| match link.source {
                Source::Neighbour => "neighbour",
                Source::Bridge => BRIDGE,
            }),
            confidence: link.map(|link| link.confidence),
        }
    };
    // From the top down, each device before what hangs behind it, and that by port.
    let mut behind: BTreeMap<DeviceId, Vec<&Link>> = BTreeMap::new();
    for link in &tree.links {
        behind.entry(link.upper).or_default().push(link);
    }
    for links in behind.values_mut() {
        links.sort_by(|a, b| (&b.upper_ports, b.lower).cmp(&(&a.upper_ports, a.lower)));
    }
    let mut next: Vec<(DeviceId, usize, Option<&Link>)> = vec![(root, 0, None)];
    while let Some((id, depth, link)) = next.pop() {
        topology.items.push(node(id, depth, link));
        let below = behind.remove(&id).unwrap_or_default().into_iter();
        next.extend(below.map(|link| (link.lower, depth + 1, Some(link))));
    }
    topology.spare = tree
        .spare
        .iter()
        .map(|link| SpareLine {
            no: link.upper.0,
            ports: names.of(link, End::Upper),
            other: link.lower.0,
            other_ports: names.of(link, End::Lower),
        })
        .collect();
    topology.unplaced = unplaced(tree.unplaced);
    topology
}

/// What an edge says, for the tree; `None` for a bridge that did not say at which port.
fn evidence(edge: &Edge<DeviceId>) -> Option<Evidence> {
    let (device, other) = (edge.device, edge.other);
    let port = edge.if_index.map(topology::Port);
    Some(if edge.source == BRIDGE {
        Evidence::Bridge { device, port: port?, other }
    } else {
        Evidence::Neighbour { device, port, other, remote: edge.other_if_index.map(topology::Port) }
    })
}

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Upper,
    Lower,
}

/// What ports are called, as far as edges tell.
struct PortNames {
    by_index: HashMap<(DeviceId, u32), String>,
    /// Names of ports of a device towards another one, without a number.
    towards: HashMap<(DeviceId, DeviceId), BTreeSet<String>>,
}

impl PortNames {
    fn new(edges: &[Edge<DeviceId>]) -> Self {
        let mut names = Self { by_index: HashMap::new(), towards: HashMap::new() };
        for edge in edges {
            let ends = [
                (edge.device, edge.other, edge.if_index, &edge.port),
                (edge.other, edge.device, edge.other_if_index, &edge.other_port),
            ];
            for (of, to, index, name) in ends.into_iter().filter(|(.., name)| !name.is_empty()) {
                match index {
                    Some(index) => {
                        names.by_index.entry((of, index)).or_insert_with(|| name.clone());
                    }
                    None => {
                        names.towards.entry((of, to)).or_default().insert(name.clone());
                    }
                }
            }
        }
        names
    }

    /// The ports of a link at one end: by name, by `ifIndex` where no name is known.
    fn of(&self, link: &Link, end: End) -> Vec<String> {
        let (of, to, ports) = match end {
            End::Upper => (link.upper, link.lower, &link.upper_ports),
            End::Lower => (link.lower, link.upper, &link.lower_ports),
        };
        if ports.is_empty() {
            return self.towards.get(&(of, to)).into_iter().flatten().cloned().collect();
        }
        let name = |port: &topology::Port| self.by_index.get(&(of, port.0)).cloned();
        ports.iter().map(|port| name(port).unwrap_or_else(|| port.0.to_string())).collect()
    }
}

#[cfg(test)]
mod tests;
