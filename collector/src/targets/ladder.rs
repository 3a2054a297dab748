//! The ladder of a site: from the agent's own machine outwards, so that a fault shows on which
//! rung it is.

use std::{collections::HashSet, net::IpAddr};

use domain::{
    id::{SiteId, TargetId},
    target::{Method, Role, Target, TargetSpec},
};
use proto::zoned::Zoned;

use crate::config::References;

/// Gateways, hops and resolvers taken from a report.
const MAX_EACH: usize = 8;
/// Seconds between two rounds on the way out: what the delay of an alert counts in.
const PERIOD_S: u32 = 10;
/// Seconds between two looks at the host.
const HOST_PERIOD_S: u32 = 60;
/// Echo requests a round.
pub(super) const ECHOES: u16 = 5;
/// What resolvers are asked when no name is configured: the name servers of the national domain,
/// which any working resolver knows.
const DEFAULT_QUESTION: (&str, u16) = ("fr", 2);
/// How the ladder names its rungs.
const GATEWAY: &str = "passerelle ";
const HOP: &str = "opérateur, saut ";
const RESOLVER: &str = "résolveur ";
/// IANA number of an address record.
const TYPE_A: u16 = 1;

/// What an agent says that it sees around it: untrusted, reduced to addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    gateways: Vec<Zoned>,
    resolvers: Vec<String>,
    hops: Vec<(usize, IpAddr)>,
}

impl Seen {
    /// Reads a report. What is no usable address is left out; a hop keeps its distance, counted
    /// from 1 at the first router beyond the gateway.
    #[must_use]
    pub fn new(gateways: &[String], resolvers: &[String], hops: &[String]) -> Self {
        let usable = |text: &String| text.parse::<IpAddr>().ok().filter(is_host);
        let mut seen = Self::default();
        // A link-local gateway says on which interface of the agent's it stands.
        let router = |text: &String| {
            let zoned = text.parse::<Zoned>().ok();
            zoned.filter(|router| router.zone().is_some() || is_host(&router.ip))
        };
        for gateway in gateways.iter().take(MAX_EACH).filter_map(router) {
            if !gateway.ip.is_loopback() && !seen.gateways.contains(&gateway) {
                seen.gateways.push(gateway);
            }
        }
        for resolver in resolvers.iter().take(MAX_EACH).filter_map(usable) {
            // A stub on the machine itself is asked through the system's own configuration.
            let name =
                if resolver.is_loopback() { "system".to_owned() } else { resolver.to_string() };
            if !seen.resolvers.contains(&name) {
                seen.resolvers.push(name);
            }
        }
        for (at, hop) in hops.iter().take(MAX_EACH).enumerate() {
            let Some(hop) = usable(hop).filter(|hop| !hop.is_loopback()) else { continue };
            let known = seen.gateways.iter().any(|gateway| gateway.ip == hop)
                || seen.hops.iter().any(|(_, h)| *h == hop);
            if !known {
                seen.hops.push((at + 1, hop));
            }
        }
        seen
    }

    /// Whether a report tells of every rung of a role, so that one that it does not name has gone.
    /// An empty list is no news, since an agent that lost its default route has no gateway to tell
    /// of. Collector and references are not the agent's to tell: the configuration names them all.
    pub(super) fn tells_of(&self, role: Role) -> bool {
        match role {
            Role::Gateway => !self.gateways.is_empty(),
            Role::Hop => !self.hops.is_empty(),
            Role::Resolver => !self.resolvers.is_empty(),
            Role::Collector | Role::Reference | Role::Centre => true,
            Role::Host | Role::Equipment | Role::Service | Role::Peer => false,
        }
    }
}

/// An address that one machine may have. A link-local one says nothing without its interface.
fn is_host(address: &IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !local && !address.is_unspecified() && !address.is_multicast()
}

/// A target to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rung {
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) method: Method,
    pub(super) period_s: u32,
    /// Index of the rung that it stands behind.
    pub(super) parent: Option<usize>,
}

impl Rung {
    /// Whether another rung is the same target.
    pub(super) fn is_twin(&self, other: &Self) -> bool {
        self.method == other.method && self.address == other.address
    }

    pub(super) fn spec(&self, site: SiteId, parent: Option<TargetId>) -> TargetSpec {
        TargetSpec {
            site,
            role: self.role,
            name: self.name.clone(),
            address: self.address.clone(),
            method: self.method.clone(),
            period_s: self.period_s,
            parent,
        }
    }
}

/// The rungs, parents before what stands behind them.
pub(super) fn rungs(seen: &Seen, references: &References, collector: &str) -> Vec<Rung> {
    let mut rungs = vec![Rung {
        role: Role::Host,
        name: "serveur de l'agent".to_owned(),
        address: String::new(),
        method: Method::Host,
        period_s: HOST_PERIOD_S,
        parent: None,
    }];
    let echo = |role, name: String, address: String, parent| Rung {
        role,
        name,
        address,
        method: Method::Icmp { count: ECHOES },
        period_s: PERIOD_S,
        parent,
    };
    let mut gateway = None;
    for address in &seen.gateways {
        gateway = gateway.or(Some(rungs.len()));
        let name = format!("{GATEWAY}{address}");
        rungs.push(echo(Role::Gateway, name, address.to_string(), None));
    }
    let mut behind = gateway;
    for (distance, address) in &seen.hops {
        let name = format!("{HOP}{distance} ({address})");
        rungs.push(echo(Role::Hop, name, address.to_string(), behind));
        behind = Some(rungs.len() - 1);
    }
    // What is outside stands behind the last router on the way: one cut is then one fault. A router
    // that never answers hides nothing, see the alerts' topology.
    let outside = behind;
    let (name, record_type) = match &references.dns_name {
        Some(name) => (name.as_str(), TYPE_A),
        None => DEFAULT_QUESTION,
    };
    let asked = |resolver: String, parent| Rung {
        role: Role::Resolver,
        name: format!("{RESOLVER}{resolver}"),
        address: resolver,
        method: Method::Dns { name: name.to_owned(), record_type },
        period_s: PERIOD_S,
        parent,
    };
    rungs.extend(seen.resolvers.iter().map(|text| {
        let parent = if is_outside(text) { outside } else { gateway };
        asked(text.clone(), parent)
    }));
    rungs.push(Rung {
        role: Role::Collector,
        name: "collecteur".to_owned(),
        address: collector.to_owned(),
        method: Method::Tcp,
        period_s: PERIOD_S,
        parent: outside,
    });
    let reference = |address: String, called: &str, method: Method| {
        let (role, kind) = if references.centre.contains(&address) {
            (Role::Centre, "centre mutualisé")
        } else {
            (Role::Reference, called)
        };
        let name = format!("{kind} {address}");
        Rung { role, name, address, method, period_s: PERIOD_S, parent: outside }
    };
    let echoes = |address: &IpAddr| {
        reference(address.to_string(), "référence", Method::Icmp { count: ECHOES })
    };
    rungs.extend(references.icmp.iter().map(echoes));
    let resolver = |address: &IpAddr| {
        let method = Method::Dns { name: name.to_owned(), record_type };
        reference(address.to_string(), "résolveur de référence", method)
    };
    rungs.extend(references.dns.iter().map(resolver));
    let page = |url: &String| reference(url.clone(), "référence", Method::Http);
    rungs.extend(references.http.iter().map(page));
    rungs
}

/// What an operator's target stands behind once its parent is among those `gone`: the nearest router
/// now `standing` (in ladder order) of the parent's role, which any way through the old one passes
/// too; else what the parent itself stood behind; else nothing. Never itself, nor a target behind it.
pub(super) fn heir(
    target: &Target,
    known: &[Target],
    gone: &HashSet<TargetId>,
    standing: &[(Role, TargetId)],
) -> Option<TargetId> {
    let find = |id: Option<TargetId>| known.iter().find(|known| Some(known.id) == id);
    let up = |from: Option<TargetId>| {
        std::iter::successors(find(from), |below| find(below.spec.parent)).take(known.len())
    };
    let heir = up(target.spec.parent).find_map(|parent| {
        let role = parent.spec.role;
        if !gone.contains(&parent.id) {
            return Some(parent.id);
        }
        let router = matches!(role, Role::Gateway | Role::Hop);
        standing.iter().find(|(other, _)| router && *other == role).map(|(_, id)| *id)
    });
    heir.filter(|id| *id != target.id && up(Some(*id)).all(|above| above.id != target.id))
}

/// Whether a resolver is certainly not of the school's network: one with a private address may be
/// the box itself, the system's own is unknown.
fn is_outside(resolver: &str) -> bool {
    match resolver.parse() {
        Ok(IpAddr::V4(v4)) => !v4.is_private(),
        Ok(IpAddr::V6(v6)) => !v6.is_unique_local(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn an_agent_without_configuration_gets_the_whole_way_out() {
        let seen = Seen::new(
            &texts(&["192.0.2.1"]),
            &texts(&["127.0.0.53", "192.0.2.53"]),
            &texts(&["192.0.2.1", "", "198.51.100.1", "198.51.100.5"]),
        );
        let references = References {
            icmp: vec!["203.0.113.1".parse().unwrap()],
            http: vec!["https://www.example.fr/".to_owned()],
            ..References::default()
        };
        let rungs = rungs(&seen, &references, "collecte.example.fr:7443");
        let shown: Vec<_> = rungs
            .iter()
            .map(|rung| format!("{} {} {:?}", rung.role.code(), rung.address, rung.parent))
            .collect();
        assert_eq!(
            shown,
            [
                "host  None",
                "gateway 192.0.2.1 None",
                "hop 198.51.100.1 Some(1)",
                "hop 198.51.100.5 Some(2)",
                "resolver system Some(1)",
                "resolver 192.0.2.53 Some(3)",
                "collector collecte.example.fr:7443 Some(3)",
                "reference 203.0.113.1 Some(3)",
                "reference https://www.example.fr/ Some(3)",
            ]
        );
        assert_eq!(rungs[3].name, "opérateur, saut 4 (198.51.100.5)");
    }

    #[test]
    fn references_at_the_centre_are_rungs_of_the_centre() {
        let references = References {
            icmp: vec!["203.0.113.1".parse().unwrap(), "203.0.113.2".parse().unwrap()],
            dns: vec!["203.0.113.2".parse().unwrap()],
            http: vec!["https://ent.example.fr/".to_owned()],
            centre: texts(&["203.0.113.2", "https://ent.example.fr/"]),
            ..References::default()
        };
        let rungs = rungs(&Seen::default(), &references, "c:1");
        let shown: Vec<_> =
            rungs.iter().skip(2).map(|rung| (rung.role.code(), rung.name.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("reference", "référence 203.0.113.1"),
                ("centre", "centre mutualisé 203.0.113.2"),
                ("centre", "centre mutualisé 203.0.113.2"),
                ("centre", "centre mutualisé https://ent.example.fr/"),
            ]
        );
        assert!(Seen::default().tells_of(Role::Centre) && !Seen::default().tells_of(Role::Peer));
    }

    #[test]
    fn a_link_local_gateway_is_a_rung_on_its_interface() {
        let gateways =
            ["fe80::1%eth0", "fe80::1", "fe80::1%eth0", "fe80::1%e\u{1b}", "192.0.2.1%e"];
        let seen = Seen::new(&texts(&gateways), &[], &texts(&["fe80::1%eth0"]));
        let rungs = rungs(&seen, &References::default(), "c:1");
        let shown: Vec<_> = rungs.iter().map(|rung| (rung.role, rung.address.as_str())).collect();
        assert_eq!(
            shown,
            [(Role::Host, ""), (Role::Gateway, "fe80::1%eth0"), (Role::Collector, "c:1")]
        );
        assert_eq!(rungs[1].name, "passerelle fe80::1%eth0");
    }

    #[test]
    fn hostile_reports_are_reduced_to_addresses_of_machines() {
        let bad = texts(&["", "x", "0.0.0.0", "255.255.255.255", "224.0.0.1", "fe80::1", "::"]);
        assert_eq!(Seen::new(&bad, &bad, &bad), Seen::default());
        let many: Vec<String> = (0..200).map(|n| format!("192.0.2.{n}")).collect();
        let seen = Seen::new(&many, &many, &many);
        assert!(rungs(&seen, &References::default(), "c:1").len() <= 2 + 3 * MAX_EACH);
    }

    #[test]
    fn an_empty_report_is_no_news() {
        let empty = Seen::new(&[], &[], &[]);
        let seen = Seen::new(&texts(&["192.0.2.1"]), &[], &[]);
        assert!(seen.tells_of(Role::Gateway) && !empty.tells_of(Role::Gateway));
        assert_eq!(rungs(&empty, &References::default(), "c:1").len(), 2);
    }
}
