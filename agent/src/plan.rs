//! What to measure, as checked values: the collector's configuration once `wire` has read it.

use std::{net::SocketAddr, time::Duration};

pub use proto::{
    v1::{Metric, ServiceKind},
    zoned::Zoned,
};

use crate::snmp::Credentials;

/// Everything this agent measures. Versions only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Version given by the collector; 0 before the first configuration.
    pub version: u64,
    /// Poll groups, by ascending id.
    pub groups: Vec<Group>,
    /// Whose requests are answered, see [`ProbeKind::Mesh`].
    pub reflected: Vec<Reflected>,
}

/// What is measured in one round, under one time stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Given by the collector, unique for this agent.
    pub id: u32,
    /// Names the columns: `(id, layout)` never changes meaning.
    pub layout: u32,
    /// Time between two rounds.
    pub period: Duration,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How to measure.
    pub probe: ProbeKind,
    /// What to report, in record order.
    pub columns: Vec<Column>,
}

/// One series of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Index into the probe's targets.
    pub target: u16,
    /// What is measured.
    pub metric: Metric,
    /// `ifIndex` for interface metrics of an SNMP device, 0 elsewhere.
    pub instance: u32,
    /// Mount point, host interface name or sensor label, where the instance has no number.
    pub label: String,
}

/// How a group is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// Echo requests to each target.
    Icmp {
        /// Whom to ask.
        targets: Vec<Zoned>,
        /// Requests per target and round.
        count: u16,
        /// Between two requests to one target.
        spacing: Duration,
        /// After the ICMP header.
        payload_bytes: usize,
    },
    /// Connection attempts to `host:port`.
    Tcp {
        /// Whom to ask.
        targets: Vec<String>,
    },
    /// One question to each resolver; `None` is the system's first resolver.
    Dns {
        /// Whom to ask.
        resolvers: Vec<Option<SocketAddr>>,
        /// Of which name.
        name: String,
        /// For which records, by IANA's number.
        record_type: u16,
    },
    /// One request to each URL.
    Http {
        /// Whom to ask.
        urls: Vec<String>,
    },
    /// One device by SNMP.
    Snmp {
        /// Whom to ask.
        address: SocketAddr,
        /// Admits the agent to the device.
        credentials: Credentials,
        /// Rows that one reply may hold; 0 leaves it to the agent.
        max_repetitions: u16,
    },
    /// The machine that the agent runs on.
    Host,
    /// Requests to the agents of other sites.
    Mesh {
        /// Whom to ask.
        peers: Vec<MeshPeer>,
        /// Requests per peer and round.
        count: u16,
        /// Between two requests to one peer.
        spacing: Duration,
    },
    /// One service of the catalogue at each target.
    Service(Service),
}

/// The agent of another site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshPeer {
    /// `host:port` of its reflector.
    pub address: String,
    /// Names this agent, that one and the key.
    pub link: u32,
    /// Of the link.
    pub key: LinkKey,
}

/// A sender that this agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reflected {
    /// Names that agent, this one and the key.
    pub link: u32,
    /// Of the link.
    pub key: LinkKey,
}

/// Key of a link between two sites, drawn by the collector. No debug dump shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey(pub [u8; 32]);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// A service of the catalogue, and where it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Which one; never `Unspecified`.
    pub kind: ServiceKind,
    /// As `probe::service` reads them: `host:port`, an interface, a URL or a path, by the kind.
    pub targets: Vec<String>,
    /// What a RADIUS server and its clients share.
    pub secret: Option<Secret>,
    /// What is asked for through a proxy.
    pub pages: Option<Pages>,
}

/// Pages that tell whether a proxy and its filter do their work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// URL of a page that everybody may see.
    pub permitted: String,
    /// URL of a page that the filter must block.
    pub blocked: Option<String>,
    /// Words that stand on the page to block: an answer without them is the filter's own.
    pub blocked_text: Option<String>,
}

/// Text that must not reach a log, an error or a debug dump.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
