//! Between the wire's messages and this crate's values: the only file that knows the shape of both.
//!
//! A configuration is taken whole or not at all; the reason of a refusal goes back to the
//! collector, for a human.

mod credentials;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use prost::Message as _;
use proto::{
    KIND_EVENT, KIND_SAMPLES, LANE_EVENTS, LANE_SAMPLES, limits, records, samples,
    v1::{self, event::Event, group::Probe},
};

use crate::{
    clock::Clock,
    plan::{
        Column, Group, LinkKey, MeshPeer, Metric, Pages, Plan, ProbeKind, Reflected, Secret,
        Service, ServiceKind,
    },
    probe::{Round, dial::Endpoint, service::is_place},
    snmp::{Credentials, CredentialsError},
    spool::{LaneStatus, NewRecord, StoredRecord},
};

/// Most targets of one group.
pub const MAX_TARGETS: usize = 1_000;
/// Shortest period of a group, in milliseconds.
pub const MIN_PERIOD_MS: u32 = 1_000;
/// Longest period of a group, in milliseconds.
pub const MAX_PERIOD_MS: u32 = 86_400_000;
/// Most echo requests to one target in one round.
pub const MAX_COUNT: u16 = 100;
/// Longest payload of an echo request, in bytes.
pub const MAX_PAYLOAD: u32 = 1_452;
/// Most repetitions of one GETBULK request.
pub const MAX_REPETITIONS: u16 = 100;
/// Most agents of other sites that one group asks.
pub const MAX_PEERS: usize = 64;
/// Most agents of other sites that are answered.
pub const MAX_REFLECTED: usize = 5_000;
/// Least pause between two requests to an agent of another site, in milliseconds: what its reflector
/// answers for long.
pub const MIN_MESH_SPACING_MS: u32 = 20;
/// Longest target, URL, name or label, in bytes.
pub const MAX_TEXT: usize = 2_048;
/// Longest community or shared secret, in bytes.
pub const MAX_COMMUNITY: usize = 255;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too large a document, or too many of something.
    #[error("the configuration has {count} {what}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many would do.
        limit: usize,
    },
    /// Whom to answer is not told right: the key is kept out of the message.
    #[error(
        "a reflected link has no number, one that is used twice, or a key of another length than 32"
    )]
    Reflected,
    /// Something is wrong with one group.
    #[error("group {group}: {reason}")]
    Group {
        /// The group's id.
        group: u32,
        /// What is wrong.
        reason: GroupError,
    },
}

/// What is wrong with a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// 0 stands for "every group".
    #[error("its id is 0")]
    Zero,
    /// Two groups of one id.
    #[error("its id is used twice")]
    Twice,
    /// Out of range.
    #[error("{what} is {value}, which is not from {min} to {max}")]
    Range {
        /// Which figure.
        what: &'static str,
        /// As received.
        value: u32,
        /// The least that would do.
        min: u32,
        /// The most that would do.
        max: u32,
    },
    /// A round could not end before the next begins.
    #[error("a round of {round_ms} ms does not fit the period of {period_ms} ms")]
    Long {
        /// How long a round may take.
        round_ms: u64,
        /// The period.
        period_ms: u32,
    },
    /// Unknown to this version.
    #[error("its kind of probe is unknown to this agent")]
    Probe,
    /// Unknown to this version.
    #[error("column {0} has a metric unknown to this agent")]
    Metric(usize),
    /// A column of no target.
    #[error("column {column} is of target {target}, but there are {targets}")]
    Target {
        /// Which column.
        column: usize,
        /// As received.
        target: u32,
        /// How many there are.
        targets: usize,
    },
    /// No device would take them.
    #[error("its credentials can not be used: {0}")]
    Credentials(CredentialsError),
    /// Not an address, a name or a URL.
    #[error("{0:?} is not {1}")]
    Text(String, &'static str),
    /// Nothing to ask, or nothing to report.
    #[error("it has no {0}")]
    Empty(&'static str),
}

/// Checks a configuration.
pub fn plan(config: &v1::Config) -> Result<Plan, PlanError> {
    at_most("bytes", config.encoded_len(), limits::MAX_CONFIG_BYTES)?;
    at_most("groups", config.groups.len(), limits::MAX_GROUPS)?;
    at_most("references", config.references.len(), limits::MAX_REFERENCES)?;
    let series = config.groups.iter().map(|group| group.columns.len()).sum();
    at_most("series", series, limits::MAX_SERIES)?;
    let mut ids = BTreeSet::new();
    let mut groups = Vec::with_capacity(config.groups.len());
    for raw in &config.groups {
        let fail = |reason| PlanError::Group { group: raw.id, reason };
        if !ids.insert(raw.id) {
            return Err(fail(GroupError::Twice));
        }
        at_most("columns in one group", raw.columns.len(), limits::MAX_COLUMNS)?;
        groups.push(group(raw).map_err(fail)?);
    }
    groups.sort_by_key(|group| group.id);
    Ok(Plan { version: config.version, groups, reflected: reflected(&config.reflected)? })
}

fn reflected(raw: &[v1::MeshLink]) -> Result<Vec<Reflected>, PlanError> {
    at_most("reflected links", raw.len(), MAX_REFLECTED)?;
    let mut ids = BTreeSet::new();
    raw.iter()
        .map(|raw| {
            let (link, key) = link(raw).filter(|(link, _)| ids.insert(*link))?;
            Some(Reflected { link, key })
        })
        .collect::<Option<_>>()
        .ok_or(PlanError::Reflected)
}

/// The number and the key of a link.
fn link(raw: &v1::MeshLink) -> Option<(u32, LinkKey)> {
    let key = <[u8; 32]>::try_from(raw.key.as_slice()).ok()?;
    (raw.id != 0).then_some((raw.id, LinkKey(key)))
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), PlanError> {
    if count > limit { Err(PlanError::TooMany { what, count, limit }) } else { Ok(()) }
}

fn within(what: &'static str, value: u32, min: u32, max: u32) -> Result<u32, GroupError> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(GroupError::Range { what, value, min, max })
    }
}

fn small(what: &'static str, value: u32, min: u32, max: u16) -> Result<u16, GroupError> {
    let range = GroupError::Range { what, value, min, max: max.into() };
    u16::try_from(value)
        .ok()
        .filter(|small| (min..=max.into()).contains(&u32::from(*small)))
        .ok_or(range)
}

fn group(raw: &v1::Group) -> Result<Group, GroupError> {
    if raw.id == 0 {
        return Err(GroupError::Zero);
    }
    let period_ms = within("its period in ms", raw.period_ms, MIN_PERIOD_MS, MAX_PERIOD_MS)?;
    let timeout_ms = within("its timeout in ms", raw.timeout_ms, 1, period_ms - 1)?;
    let (probe, targets) = probe(raw.probe.as_ref().ok_or(GroupError::Probe)?)?;
    if let ProbeKind::Icmp { count, spacing, .. } | ProbeKind::Mesh { count, spacing, .. } = &probe
    {
        let round_ms = u64::from(timeout_ms)
            + u64::try_from(spacing.as_millis()).unwrap_or(u64::MAX) * u64::from(count - 1);
        if round_ms >= period_ms.into() {
            return Err(GroupError::Long { round_ms, period_ms });
        }
    }
    if raw.columns.is_empty() {
        return Err(GroupError::Empty("columns"));
    }
    let columns = raw
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| self::column(at, column, targets))
        .collect::<Result<_, _>>()?;
    Ok(Group {
        id: raw.id,
        layout: raw.layout,
        period: Duration::from_millis(period_ms.into()),
        timeout: Duration::from_millis(timeout_ms.into()),
        probe,
        columns,
    })
}

fn column(at: usize, raw: &v1::Column, targets: usize) -> Result<Column, GroupError> {
    let metric = match Metric::try_from(raw.metric) {
        Ok(Metric::Unspecified) | Err(_) => return Err(GroupError::Metric(at)),
        Ok(metric) => metric,
    };
    let wrong = || GroupError::Target { column: at, target: raw.target, targets };
    let target = u16::try_from(raw.target).map_err(|_| wrong())?;
    if usize::from(target) >= targets {
        return Err(wrong());
    }
    short("a label", &raw.label)?;
    Ok(Column { target, metric, instance: raw.instance, label: raw.label.clone() })
}

fn short(what: &'static str, text: &str) -> Result<(), GroupError> {
    if text.len() > MAX_TEXT {
        let end = text.floor_char_boundary(64);
        return Err(GroupError::Text(format!("{}...", &text[..end]), what));
    }
    Ok(())
}

/// Each of `texts`, read by `one`.
fn each<T>(
    what: &'static str,
    texts: &[String],
    one: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, GroupError> {
    if texts.is_empty() {
        return Err(GroupError::Empty("targets"));
    }
    let most = u32::try_from(MAX_TARGETS).unwrap_or(u32::MAX);
    within("its number of targets", u32::try_from(texts.len()).unwrap_or(u32::MAX), 1, most)?;
    texts
        .iter()
        .map(|text| {
            short(what, text)?;
            one(text).ok_or_else(|| GroupError::Text(text.clone(), what))
        })
        .collect()
}

fn address(text: &str, port: u16) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, port)))
}

/// The probe, and how many targets its columns may name.
fn probe(raw: &Probe) -> Result<(ProbeKind, usize), GroupError> {
    Ok(match raw {
        Probe::Icmp(raw) => {
            let targets = each("an IP address", &raw.targets, |text| text.parse().ok())?;
            let count = small("its count of requests", raw.count, 1, MAX_COUNT)?;
            within("its spacing in ms", raw.spacing_ms, 0, MAX_PERIOD_MS)?;
            let payload = within("its payload in bytes", raw.payload_bytes, 0, MAX_PAYLOAD)?;
            let count_of = targets.len();
            let spacing = Duration::from_millis(raw.spacing_ms.into());
            let payload_bytes = payload as usize;
            (ProbeKind::Icmp { targets, count, spacing, payload_bytes }, count_of)
        }
        Probe::Tcp(raw) => {
            let is_endpoint = |text: &str| Endpoint::parse(text).map(|_| text.to_owned());
            let targets = each("host:port", &raw.targets, is_endpoint)?;
            let count_of = targets.len();
            (ProbeKind::Tcp { targets }, count_of)
        }
        Probe::Dns(raw) => {
            let resolvers = each("an IP address or \"system\"", &raw.resolvers, |text| {
                if text == "system" { Some(None) } else { address(text, 53).map(Some) }
            })?;
            let record_type = small("its record type", raw.record_type, 1, u16::MAX)?;
            if raw.name.is_empty() || raw.name.len() > 254 {
                let end = raw.name.floor_char_boundary(64);
                return Err(GroupError::Text(raw.name[..end].to_owned(), "a domain name"));
            }
            let count_of = resolvers.len();
            (ProbeKind::Dns { resolvers, name: raw.name.clone(), record_type }, count_of)
        }
        Probe::Http(raw) => {
            let urls = each("an http or https URL", &raw.urls, page)?;
            let count_of = urls.len();
            (ProbeKind::Http { urls }, count_of)
        }
        Probe::Snmp(raw) => {
            short("an address", &raw.address)?;
            let address = address(&raw.address, 161)
                .ok_or_else(|| GroupError::Text(raw.address.clone(), "an IP address"))?;
            let credentials = if let Some(credential) = &raw.credential {
                credentials::credentials(credential).map_err(GroupError::Credentials)?
            } else {
                let len = u32::try_from(raw.community.len()).unwrap_or(u32::MAX);
                let most = u32::try_from(MAX_COMMUNITY).unwrap_or(u32::MAX);
                within("its community's length", len, 1, most)?;
                Credentials::v2c(&raw.community)
            };
            let max_repetitions =
                small("its repetitions", raw.max_repetitions, 1, MAX_REPETITIONS)?;
            (ProbeKind::Snmp { address, credentials, max_repetitions }, 1)
        }
        Probe::Host(v1::HostProbe {}) => (ProbeKind::Host, 1),
        Probe::Mesh(raw) => mesh(raw)?,
        Probe::Service(raw) => {
            let service = service(raw)?;
            let count_of = service.targets.len();
            (ProbeKind::Service(service), count_of)
        }
    })
}

fn mesh(raw: &v1::MeshProbe) -> Result<(ProbeKind, usize), GroupError> {
    let count_of = raw.peers.len();
    if count_of == 0 {
        return Err(GroupError::Empty("peers"));
    }
    let most = u32::try_from(MAX_PEERS).unwrap_or(u32::MAX);
    within("its number of peers", u32::try_from(count_of).unwrap_or(u32::MAX), 1, most)?;
    let count = small("its count of requests", raw.count, 1, MAX_COUNT)?;
    within("its spacing in ms", raw.spacing_ms, MIN_MESH_SPACING_MS, MAX_PERIOD_MS)?;
    let peer = |raw: &v1::MeshPeer| {
        short("host:port", &raw.address)?;
        let text = || GroupError::Text(raw.address.clone(), "host:port of a peer with its key");
        Endpoint::parse(&raw.address).ok_or_else(text)?;
        let (link, key) = raw.link.as_ref().and_then(link).ok_or_else(text)?;
        Ok(MeshPeer { address: raw.address.clone(), link, key })
    };
    let peers = raw.peers.iter().map(peer).collect::<Result<_, GroupError>>()?;
    let spacing = Duration::from_millis(raw.spacing_ms.into());
    Ok((ProbeKind::Mesh { peers, count, spacing }, count_of))
}

fn page(text: &str) -> Option<String> {
    let web = text.starts_with("http://") || text.starts_with("https://");
    (web && !text.contains(char::is_control)).then(|| text.to_owned())
}

fn service(raw: &v1::ServiceProbe) -> Result<Service, GroupError> {
    let kind = match ServiceKind::try_from(raw.kind) {
        Ok(ServiceKind::Unspecified) | Err(_) => return Err(GroupError::Probe),
        Ok(kind) => kind,
    };
    let targets = each("a place of this service", &raw.targets, |text| {
        is_place(kind, text).then(|| text.to_owned())
    })?;
    let len = u32::try_from(raw.secret.len()).unwrap_or(u32::MAX);
    let most = u32::try_from(MAX_COMMUNITY).unwrap_or(u32::MAX);
    within("its secret's length", len, 0, most)?;
    let secret = (!raw.secret.is_empty()).then(|| Secret(raw.secret.clone()));
    let pages = match &raw.pages {
        Some(raw) => {
            short("words of a page", &raw.blocked_text)?;
            let url = |text: &String| {
                short("an http or https URL", text)?;
                page(text).ok_or_else(|| GroupError::Text(text.clone(), "an http or https URL"))
            };
            let given = |text: &String| (!text.is_empty()).then(|| text.clone());
            Some(Pages {
                permitted: url(&raw.permitted)?,
                blocked: given(&raw.blocked).as_ref().map(url).transpose()?,
                blocked_text: given(&raw.blocked_text),
            })
        }
        None => None,
    };
    Ok(Service { kind, targets, secret, pages })
}

/// The record of a round.
#[must_use]
pub fn sample_record(group: &Group, round: &Round, clock: &dyn Clock) -> NewRecord {
    // The round began a while ago; the wall clock is moved back by as much.
    let ago = i64::try_from(clock.boot_ns().saturating_sub(round.boot_ns)).unwrap_or(i64::MAX);
    NewRecord {
        lane: LANE_SAMPLES,
        kind: KIND_SAMPLES,
        boot_ns: round.boot_ns,
        wall_ns: clock.wall_ns().saturating_sub(ago),
        boot_tag: clock.boot_tag(),
        n_items: u32::try_from(round.cells.len()).unwrap_or(u32::MAX),
        urgent: round.changed,
        payload: samples::encode(group.id, group.layout, &[0], &round.cells),
    }
}

/// The record of an event that happens now.
#[must_use]
pub fn event_record(event: Event, clock: &dyn Clock) -> NewRecord {
    NewRecord {
        lane: LANE_EVENTS,
        kind: KIND_EVENT,
        boot_ns: clock.boot_ns(),
        wall_ns: clock.wall_ns(),
        boot_tag: clock.boot_tag(),
        n_items: 1,
        urgent: false,
        payload: v1::Event { event: Some(event) }.encode_to_vec(),
    }
}

/// A stored record as the stream's encoder takes it.
#[must_use]
pub fn wire_record(stored: StoredRecord) -> records::Record {
    records::Record {
        seq: stored.seq,
        kind: stored.kind,
        boot_tag: stored.boot_tag,
        boot_ns: stored.boot_ns,
        wall_ns: stored.wall_ns,
        hash: stored.hash,
        payload: stored.payload,
    }
}

/// What a lane holds, as the collector is told.
#[must_use]
pub fn lane_state(lane: &LaneStatus) -> v1::LaneState {
    v1::LaneState {
        lane: lane.lane,
        epoch: lane.epoch,
        oldest_seq: lane.oldest_seq,
        next_seq: lane.next_seq,
        head_hash: lane.head_hash,
        bytes: lane.bytes,
        evicted: lane.evicted,
        contig_upto: lane.contig_upto,
    }
}

/// The same for a heartbeat, which comes each 15 s: only what waits, and where it stands.
#[must_use]
pub fn lane_load(lane: &LaneStatus) -> v1::LaneState {
    let first = lane.oldest_seq.max(lane.contig_upto.saturating_add(1));
    let waits = first < lane.next_seq;
    v1::LaneState {
        lane: lane.lane,
        oldest_seq: if waits { first } else { 0 },
        next_seq: if waits { lane.next_seq } else { 0 },
        bytes: lane.bytes,
        evicted: lane.evicted,
        ..v1::LaneState::default()
    }
}

#[cfg(test)]
mod tests;
