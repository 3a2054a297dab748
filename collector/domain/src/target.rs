//! Targets: what is probed at a site, and the series that come of it.

use std::fmt;

use crate::id::{GroupId, Layout, SeriesId, SiteId, TargetId};

/// What role a target plays on the path from the school's machines to the services they use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The agent's own machine.
    Host,
    /// First router, inside the school.
    Gateway,
    /// Equipment of the school's network.
    Equipment,
    /// A router of the operator, nearest first.
    Hop,
    /// A DNS resolver.
    Resolver,
    /// The collector.
    Collector,
    /// A reference on the internet.
    Reference,
    /// A service of the shared service centre, asked by every site.
    Centre,
    /// The agent of another site.
    Peer,
    /// A service that users need.
    Service,
}

impl Role {
    /// Every role, in ladder order.
    pub const ALL: &[Self] = &[
        Self::Host,
        Self::Gateway,
        Self::Equipment,
        Self::Hop,
        Self::Resolver,
        Self::Collector,
        Self::Reference,
        Self::Centre,
        Self::Peer,
        Self::Service,
    ];

    /// The code used in files, the store and the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Gateway => "gateway",
            Self::Equipment => "equipment",
            Self::Hop => "hop",
            Self::Resolver => "resolver",
            Self::Collector => "collector",
            Self::Reference => "reference",
            Self::Centre => "centre",
            Self::Peer => "peer",
            Self::Service => "service",
        }
    }

    /// The role with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.code() == code)
    }
}

/// An SNMP community: a secret, which a debug dump does not show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Community(String);

impl Community {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: for the agent of the site, and for the store.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Community(..)")
    }
}

/// How a target is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// Echo requests to an IP address.
    Icmp {
        /// Echo requests a round.
        count: u16,
    },
    /// Connection to `host:port`.
    Tcp,
    /// One question to a resolver.
    Dns {
        /// The name asked for.
        name: String,
        /// IANA number of the record type.
        record_type: u16,
    },
    /// One request.
    Http,
    /// SNMP v2c.
    SnmpV2c {
        /// The community.
        community: Community,
    },
    /// The agent's own machine.
    Host,
    /// The agent of another site, whose key is the address; where it is, and under which key it is
    /// asked, is the mesh's to say.
    Mesh {
        /// Requests a round.
        count: u16,
    },
}

/// Key of a link between two sites: a secret, which a debug dump does not show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkKey([u8; 32]);

impl LinkKey {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The secret itself: for the agents of the two sites, and for the store.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// A target as an operator or the ladder defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    /// Where it is probed from.
    pub site: SiteId,
    /// What it is for.
    pub role: Role,
    /// Name for people; unique with `method` and `address` is what counts.
    pub name: String,
    /// IP address, `host:port`, resolver, URL, another site's key, or empty for the host itself.
    pub address: String,
    /// How it is asked.
    pub method: Method,
    /// Seconds between two rounds.
    pub period_s: u32,
    /// The target that this one stands behind, if any.
    pub parent: Option<TargetId>,
}

/// A target as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Id.
    pub id: TargetId,
    /// The poll group that measures it.
    pub group: GroupId,
    /// Its definition.
    pub spec: TargetSpec,
    /// False once it was withdrawn; its history stays.
    pub active: bool,
}

/// What a device says it is (SNMP, the `system` group of RFC 3418): untrusted text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// `sysName`.
    pub name: String,
    /// `sysDescr`.
    pub descr: String,
    /// `sysObjectID`, in dots.
    pub object_id: String,
    /// `sysLocation`.
    pub location: String,
    /// Whether its list of interfaces was cut: there are more than are known.
    pub truncated: bool,
}

/// How long the detail of a series is kept, and which rollups it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detail {
    /// WAN, uplinks, access points, servers, probes: 5-minute, hourly and daily rollups.
    Full,
    /// Access ports: hourly and daily rollups.
    Coarse,
}

/// One column of a group: a metric of a target (and instance) over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Id.
    pub id: SeriesId,
    /// Site.
    pub site: SiteId,
    /// Target.
    pub target: TargetId,
    /// Number in [`crate::metric::CATALOGUE`].
    pub metric: u32,
    /// `ifIndex` for interfaces of an SNMP device, 0 elsewhere.
    pub instance: u32,
    /// Interface name, mount point, sensor: untrusted text.
    pub label: String,
    /// How long it is kept in detail.
    pub detail: Detail,
}

/// A poll group with the columns in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Id.
    pub id: GroupId,
    /// Site.
    pub site: SiteId,
    /// Generation of the columns.
    pub layout: Layout,
    /// Seconds between two rounds.
    pub period_s: u32,
    /// Targets in the order of their index in the probe.
    pub targets: Vec<Target>,
    /// Columns, in record order.
    pub columns: Vec<Series>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_community_stays_out_of_debug_dumps() {
        let community = Community::new("s3cret");
        assert_eq!(community.expose(), "s3cret");
        let method = Method::SnmpV2c { community };
        let dump = format!("{method:?} {method:#?}");
        assert!(dump.contains("Community(..)") && !dump.contains("s3cret"), "{dump}");
        let key = LinkKey::new([77; 32]);
        assert_eq!(format!("{key:?} {key:#?}"), "LinkKey(..) LinkKey(..)");
    }
}
