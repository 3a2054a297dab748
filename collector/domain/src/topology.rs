//! Which device of a site hangs behind which, through which port: a tree from the uplink down.
//!
//! Evidence comes in three strengths. A *neighbour* that a device names (LLDP, CDP and their kin) is a
//! direct link. A *bridge* that learnt a device's address at a port says that the device is somewhere
//! behind that port. A device that nobody has seen is *unplaced*, which is an answer of its own: it is
//! not hung somewhere for the tree's sake.
//!
//! Of the bridges that see a device at a port which does not lead to the uplink, the nearest is the one
//! whose port leads to the fewest devices: what hangs behind a port of an access switch also hangs
//! behind the port of the switch before it, which leads to the access switch as well.

use std::collections::{BTreeMap, BTreeSet};

/// What two neighbours say of each other, both ways.
const BOTH_SAY: f64 = 0.99;
/// What one of two neighbours says.
const ONE_SAYS: f64 = 0.95;
/// The only device that a bridge sees behind a port.
const ALONE: f64 = 0.9;
/// One of several that a bridge sees behind a port: something that is not managed may stand between.
const SHARED: f64 = 0.6;
/// It sees the uplink at a port, and no bridge is known to stand between.
const ALL_THAT_IS_KNOWN: f64 = 0.4;

/// A device of the site, by its number in the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub i64);

/// A port, by its device's `ifIndex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u32);

/// Something that a device tells of where another one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// It hears the other name itself at this port. `remote` is the port that the other one named.
    Neighbour {
        /// Who tells.
        device: DeviceId,
        /// At which of its ports, when that is known.
        port: Option<Port>,
        /// Whom it hears.
        other: DeviceId,
        /// Through which port of the other, when that is known.
        remote: Option<Port>,
    },
    /// Its bridge learnt an address of the other at this port.
    Bridge {
        /// Who tells.
        device: DeviceId,
        /// At which of its ports.
        port: Port,
        /// Whose address it learnt.
        other: DeviceId,
    },
}

/// How a link is known, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// By what bridges learnt.
    Bridge,
    /// By what a neighbour says.
    Neighbour,
}

/// A link between two devices: one, however many cables it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Nearer to the uplink, in a tree.
    pub upper: DeviceId,
    /// Its ports, ascending; none when nobody told. Several are a bundle or spare lines.
    pub upper_ports: Vec<Port>,
    /// Farther from the uplink, in a tree.
    pub lower: DeviceId,
    /// Its ports, ascending; none when nobody told.
    pub lower_ports: Vec<Port>,
    /// How it is known.
    pub source: Source,
    /// 0 to 1: how sure it is that nothing that the inventory knows stands between the two.
    pub confidence: f64,
}

/// The site as one looks at it from its uplink.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    /// Links of the tree; an upper device comes before what hangs behind it.
    pub links: Vec<Link>,
    /// Links that close a ring: spare lines.
    pub spare: Vec<Link>,
    /// Devices of which nobody told where they are, ascending.
    pub unplaced: Vec<DeviceId>,
}

/// How the top of a tree was found, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Top {
    /// Most devices tell of it.
    Busiest,
    /// It is of a kind that stands at the uplink.
    Class,
    /// It has the address of the site's gateway.
    Gateway,
}

/// A device that may stand at the uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub id: DeviceId,
    /// Whether it answers at the address of the site's gateway.
    pub gateway: bool,
    /// Its rank among the kinds that stand at an uplink: the operator's equipment 3, a firewall 2, a
    /// router 1, everything else 0.
    pub rank: u8,
}

/// The device at the uplink, and how that is known; `None` where nothing speaks for any.
#[must_use]
pub fn top(candidates: &[Candidate], evidence: &[Evidence]) -> Option<(DeviceId, Top)> {
    if let Some(gateway) = candidates.iter().find(|candidate| candidate.gateway) {
        return Some((gateway.id, Top::Gateway));
    }
    let told = |id: DeviceId| {
        evidence
            .iter()
            .map(|evidence| ends(*evidence))
            .filter(move |(one, other)| *one == id || *other == id)
    };
    let key = |candidate: &&Candidate| (candidate.rank, told(candidate.id).count());
    let best = candidates.iter().rev().max_by_key(key)?;
    match key(&best) {
        (0, 0) => None,
        (0, _) => Some((best.id, Top::Busiest)),
        _ => Some((best.id, Top::Class)),
    }
}

/// Makes the tree of `devices` from `root` down. Evidence of devices that are not among them, and of a
/// device by itself, does not count.
#[must_use]
pub fn tree(root: DeviceId, devices: &BTreeSet<DeviceId>, evidence: &[Evidence]) -> Tree {
    let known: BTreeSet<Evidence> = evidence
        .iter()
        .copied()
        .filter(|evidence| {
            let (one, other) = ends(*evidence);
            one != other && devices.contains(&one) && devices.contains(&other)
        })
        .collect();
    let mut links = neighbours(&known);
    for link in bridged(root, &known) {
        links.entry(pair(link.upper, link.lower)).or_insert(link);
    }
    grow(root, devices, links)
}

/// Two devices, in order.
type Pair = (DeviceId, DeviceId);

fn pair(one: DeviceId, other: DeviceId) -> Pair {
    (one.min(other), one.max(other))
}

fn ends(evidence: Evidence) -> Pair {
    match evidence {
        Evidence::Neighbour { device, other, .. } | Evidence::Bridge { device, other, .. } => {
            (device, other)
        }
    }
}

/// Links that neighbours tell of. Which end is the upper one is not known yet.
fn neighbours(evidence: &BTreeSet<Evidence>) -> BTreeMap<Pair, Link> {
    #[derive(Default)]
    struct Told {
        by: BTreeSet<DeviceId>,
        ports: BTreeMap<DeviceId, BTreeSet<Port>>,
    }
    let mut told: BTreeMap<Pair, Told> = BTreeMap::new();
    for evidence in evidence {
        let Evidence::Neighbour { device, port, other, remote } = *evidence else { continue };
        let told = told.entry(pair(device, other)).or_default();
        told.by.insert(device);
        told.ports.entry(device).or_default().extend(port);
        told.ports.entry(other).or_default().extend(remote);
    }
    told.into_iter()
        .map(|((one, other), mut told)| {
            let mut ports =
                |of| told.ports.remove(&of).unwrap_or_default().into_iter().collect::<Vec<_>>();
            let link = Link {
                upper: one,
                upper_ports: ports(one),
                lower: other,
                lower_ports: ports(other),
                source: Source::Neighbour,
                confidence: if told.by.len() > 1 { BOTH_SAY } else { ONE_SAYS },
            };
            ((one, other), link)
        })
        .collect()
}

/// For each device that bridges see, the link to the nearest of them.
fn bridged(root: DeviceId, evidence: &BTreeSet<Evidence>) -> Vec<Link> {
    // What each bridge sees behind each of its ports.
    let mut behind: BTreeMap<(DeviceId, Port), BTreeSet<DeviceId>> = BTreeMap::new();
    // An address that moved is seen at two ports: of those, none can be told to be the right one.
    let mut port_of: BTreeMap<Pair, Option<Port>> = BTreeMap::new();
    for evidence in evidence {
        let Evidence::Bridge { device, port, other } = *evidence else { continue };
        behind.entry((device, port)).or_default().insert(other);
        port_of
            .entry((device, other))
            .and_modify(|seen| *seen = seen.filter(|seen| *seen == port))
            .or_insert(Some(port));
    }
    let up = |device: DeviceId| port_of.get(&(device, root)).copied().flatten();
    let told: BTreeSet<DeviceId> = port_of.keys().flat_map(|(one, other)| [*one, *other]).collect();
    told.into_iter()
        .filter(|device| *device != root)
        .filter_map(|device| {
            let candidates = port_of.iter().filter_map(|((bridge, other), port)| {
                let port = (*port)?;
                // Towards the uplink everything is: that tells nothing. Nor does a bridge that does not
                // know where the uplink is, unless it is the uplink itself.
                let below = *bridge == root || up(*bridge).is_some_and(|up| up != port);
                let others = behind.get(&(*bridge, port)).map_or(0, BTreeSet::len);
                (*other == device && below).then_some((others, *bridge, port))
            });
            let (upper, upper_ports, confidence) = match candidates.min() {
                Some((1, upper, port)) => (upper, vec![port], ALONE),
                Some((_, upper, port)) => (upper, vec![port], SHARED),
                // A router keeps no bridge table, so nobody sees the first switch behind it.
                None => up(device).map(|_| (root, Vec::new(), ALL_THAT_IS_KNOWN))?,
            };
            Some(Link {
                upper,
                upper_ports,
                lower: device,
                lower_ports: up(device).into_iter().collect(),
                source: Source::Bridge,
                confidence,
            })
        })
        .collect()
}

/// Grows the tree from its root by the surest link each time; what remains between two devices of the
/// tree is spare.
fn grow(root: DeviceId, devices: &BTreeSet<DeviceId>, links: BTreeMap<Pair, Link>) -> Tree {
    let mut tree = Tree::default();
    let mut reached = BTreeSet::from([root]);
    let mut depth = BTreeMap::from([(root, 0_usize)]);
    let mut left: Vec<Link> = links.into_values().collect();
    loop {
        let next = left
            .iter()
            .enumerate()
            .filter_map(|(at, link)| {
                let (upper, lower) =
                    match (reached.contains(&link.upper), reached.contains(&link.lower)) {
                        (true, false) => (link.upper, link.lower),
                        (false, true) => (link.lower, link.upper),
                        (true, true) | (false, false) => return None,
                    };
                let depth = depth.get(&upper).copied().unwrap_or_default();
                Some((link.source, link.confidence, depth, upper, lower, at))
            })
            // Of equally sure links the one nearest to the uplink; then by number, so that the same
            // evidence makes the same tree.
            .max_by(|a, b| {
                let sure = a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
                sure.then(b.2.cmp(&a.2)).then(b.3.cmp(&a.3)).then(b.4.cmp(&a.4))
            });
        let Some((_, _, _, upper, lower, at)) = next else { break };
        reached.insert(lower);
        let below = depth.get(&upper).copied().unwrap_or_default() + 1;
        depth.insert(lower, below);
        tree.links.push(down(left.remove(at), upper));
    }
    for link in left {
        // A part of the school that is wired together, and of which nobody tells how it hangs on the
        // rest, stays unplaced. What bridges see through a spare line, they see through the tree too.
        let both = reached.contains(&link.upper) && reached.contains(&link.lower);
        if both && link.source == Source::Neighbour {
            let first = depth.get(&link.upper) <= depth.get(&link.lower);
            let upper = if first { link.upper } else { link.lower };
            tree.spare.push(down(link, upper));
        }
    }
    tree.unplaced = devices.difference(&reached).copied().collect();
    tree
}

/// The link with this end as its upper one.
fn down(link: Link, upper: DeviceId) -> Link {
    if link.upper == upper {
        return link;
    }
    Link {
        upper: link.lower,
        upper_ports: link.lower_ports,
        lower: link.upper,
        lower_ports: link.upper_ports,
        ..link
    }
}

#[cfg(test)]
mod tests;
