//! Between the domain and the wire contract.

pub mod discovery;

use domain::{
    id::{GroupId, Layout, TargetId},
    target::{Device, Group, LinkKey, Method, Series, Target, TargetSpec},
};
use prost::Message as _;
use proto::{limits, samples, v1};
use store::{LaneProgress, MeshPlan, Rounds, SeqRange};

use crate::{
    config::References,
    targets::{HostParts, MAX_INTERFACES, MAX_PARTS, Port, Seen},
};

/// Pause between two echo requests of a round, milliseconds.
const ECHO_SPACING_MS: u32 = 100;
/// Payload of an echo request: that of `ping`.
const ECHO_PAYLOAD_BYTES: u32 = 56;
/// Rows of a GETBULK answer.
const MAX_REPETITIONS: u32 = 20;
/// Longest text taken from an agent for people, bytes.
const MAX_TEXT_BYTES: usize = 200;

/// Wait for the answer to an echo request, milliseconds.
const ECHO_TIMEOUT_MS: u32 = 2_000;

/// Most echo requests of a round each `period_s`: agents refuse a round that may outlast its period.
#[must_use]
pub fn most_echoes(period_s: u32) -> u32 {
    let period_ms = period_s.saturating_mul(1_000);
    let sending = period_ms.saturating_sub(within(ECHO_TIMEOUT_MS, period_ms) + 1);
    sending / ECHO_SPACING_MS + 1
}

/// Pause between two requests to another site's agent, milliseconds, and the wait for the answer.
const MESH_SPACING_MS: u32 = 100;
/// See [`MESH_SPACING_MS`].
const MESH_TIMEOUT_MS: u32 = 2_000;

/// A time-out that leaves the rest of the period for what else a round takes.
fn within(timeout_ms: u32, period_ms: u32) -> u32 {
    timeout_ms.min(period_ms / 5 * 4)
}

/// The configuration of a site's agent.
#[must_use]
pub fn config(
    version: u64,
    groups: &[Group],
    references: &References,
    mesh: &MeshPlan,
) -> v1::Config {
    let groups = groups.iter().filter(|group| !group.targets.is_empty());
    let groups = groups.filter_map(|group| self::group(group, mesh));
    let references =
        references.icmp.iter().map(ToString::to_string).chain(references.http.iter().cloned());
    v1::Config {
        version,
        groups: groups.collect(),
        references: references.collect(),
        reflected: mesh.answers.iter().filter_map(|(link, key)| mesh_link(*link, key)).collect(),
        ..v1::Config::default()
    }
}

/// What a configuration takes of its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanSize {
    /// Encoded.
    pub bytes: usize,
    /// Poll groups.
    pub groups: usize,
    /// Columns of all groups.
    pub series: usize,
}

impl PlanSize {
    /// The most that agents take.
    pub const MOST: Self = Self {
        bytes: limits::MAX_CONFIG_BYTES,
        groups: limits::MAX_GROUPS,
        series: limits::MAX_SERIES,
    };

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            groups: self.groups + other.groups,
            series: self.series + other.series,
        }
    }
}

/// Size of the configuration of a site's agent, whatever its version.
#[must_use]
pub fn plan_size(groups: &[Group], references: &References, mesh: &MeshPlan) -> PlanSize {
    let config = config(u64::MAX, groups, references, mesh);
    PlanSize {
        bytes: config.encoded_len(),
        groups: config.groups.len(),
        series: config.groups.iter().map(|group| group.columns.len()).sum(),
    }
}

/// Most that a new target, with series of these metrics, instances and labels, adds to a
/// configuration: a group of its own.
#[must_use]
pub fn target_size<'a>(
    spec: &TargetSpec,
    series: impl IntoIterator<Item = (u32, u32, &'a str)>,
) -> PlanSize {
    let target =
        Target { id: TargetId(0), group: GroupId(u32::MAX), spec: spec.clone(), active: true };
    let alone = Group {
        id: GroupId(u32::MAX),
        site: spec.site,
        layout: Layout(u32::MAX),
        period_s: spec.period_s,
        targets: vec![target],
        columns: Vec::new(),
    };
    let series: Vec<usize> = series
        .into_iter()
        .map(|(metric, instance, label)| column_bytes(metric, instance, label))
        .collect();
    let bytes = group(&alone, &MeshPlan::default()).map_or(0, |group| group.encoded_len())
        + series.iter().sum::<usize>();
    PlanSize { bytes: framed(bytes), groups: 1, series: series.len() }
}

/// Most bytes that a column adds to a configuration.
#[must_use]
pub fn column_bytes(metric: u32, instance: u32, label: &str) -> usize {
    let column = v1::Column {
        target: u32::from(u16::MAX),
        metric: i32::try_from(metric).unwrap_or(0),
        instance,
        label: label.to_owned(),
    };
    framed(column.encoded_len())
}

/// With its field's tag and length.
fn framed(bytes: usize) -> usize {
    1 + prost::length_delimiter_len(bytes) + bytes
}

fn mesh_link(link: TargetId, key: &LinkKey) -> Option<v1::MeshLink> {
    Some(v1::MeshLink { id: u32::try_from(link.0).ok()?, key: key.expose().to_vec() })
}

/// The agents that a group of peers asks; `None` when the mesh has changed since the group was read:
/// another configuration follows at once.
fn peers(group: &Group, mesh: &MeshPlan) -> Option<Vec<v1::MeshPeer>> {
    let peer = |target: &Target| {
        let (link, address, key) = mesh.asks.iter().find(|(link, ..)| *link == target.id)?;
        Some(v1::MeshPeer { address: address.clone(), link: Some(mesh_link(*link, key)?) })
    };
    group.targets.iter().map(peer).collect()
}

fn group(group: &Group, mesh: &MeshPlan) -> Option<v1::Group> {
    let period_ms = group.period_s.saturating_mul(1_000);
    let targets = || group.targets.iter().map(|target| target.spec.address.clone()).collect();
    // Every target of a group has one method with one set of parameters.
    let method = group.targets.first().map(|target| &target.spec.method);
    let (timeout_ms, probe) = match method {
        None => (0, None),
        Some(Method::Icmp { count }) => (
            ECHO_TIMEOUT_MS,
            Some(v1::group::Probe::Icmp(v1::IcmpProbe {
                targets: targets(),
                count: u32::from(*count),
                spacing_ms: ECHO_SPACING_MS,
                payload_bytes: ECHO_PAYLOAD_BYTES,
            })),
        ),
        Some(Method::Tcp) => {
            (4_000, Some(v1::group::Probe::Tcp(v1::TcpProbe { targets: targets() })))
        }
        Some(Method::Dns { name, record_type }) => (
            4_000,
            Some(v1::group::Probe::Dns(v1::DnsProbe {
                resolvers: targets(),
                name: name.clone(),
                record_type: u32::from(*record_type),
            })),
        ),
        Some(Method::Http) => {
            (10_000, Some(v1::group::Probe::Http(v1::HttpProbe { urls: targets() })))
        }
        Some(Method::SnmpV2c { community }) => (
            // For one of two tries: a device that keeps silent must be told from a round cut short.
            3_000.min(period_ms / 5 * 2),
            Some(v1::group::Probe::Snmp(v1::SnmpProbe {
                address: group.targets[0].spec.address.clone(),
                community: community.expose().to_owned(),
                max_repetitions: MAX_REPETITIONS,
                credential: None,
            })),
        ),
        Some(Method::Host) => (5_000, Some(v1::group::Probe::Host(v1::HostProbe {}))),
        Some(Method::Mesh { count }) => (
            MESH_TIMEOUT_MS,
            Some(v1::group::Probe::Mesh(v1::MeshProbe {
                peers: peers(group, mesh)?,
                count: u32::from(*count),
                spacing_ms: MESH_SPACING_MS,
            })),
        ),
    };
    Some(v1::Group {
        id: group.id.0,
        layout: group.layout.0,
        period_ms,
        timeout_ms: within(timeout_ms, period_ms),
        columns: group.columns.iter().map(|series| column(group, series)).collect(),
        probe,
    })
}

fn column(group: &Group, series: &Series) -> v1::Column {
    let at = group.targets.iter().position(|target| target.id == series.target);
    // An interface is asked for by its number; thousands of names would fill the configuration.
    let by_number =
        at.is_some_and(|at| matches!(group.targets[at].spec.method, Method::SnmpV2c { .. }));
    v1::Column {
        target: at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX),
        metric: i32::try_from(series.metric).unwrap_or(0),
        instance: series.instance,
        label: if by_number { String::new() } else { series.label.clone() },
    }
}

fn ranges(above: &[SeqRange]) -> Vec<v1::Range> {
    above.iter().map(|range| v1::Range { from: range.from, to: range.to }).collect()
}

/// An acknowledgement of what is durable.
#[must_use]
pub fn ack(
    progress: &LaneProgress,
    rejected: Vec<(u64, &'static str)>,
    credit: Option<v1::Credit>,
) -> v1::Ack {
    let rejection = |(seq, reason): (u64, &str)| v1::Rejection { seq, reason: reason.to_owned() };
    v1::Ack {
        lane: u32::from(progress.lane.lane),
        epoch: progress.lane.epoch,
        contig_upto: progress.contig_upto,
        above: ranges(&progress.above),
        rejected: rejected.into_iter().map(rejection).collect(),
        credit,
    }
}

/// Where a lane goes on.
#[must_use]
pub fn resume(progress: &LaneProgress, action: v1::lane_resume::Action) -> v1::LaneResume {
    v1::LaneResume {
        lane: u32::from(progress.lane.lane),
        epoch: progress.lane.epoch,
        contig_upto: progress.contig_upto,
        above: ranges(&progress.above),
        action: action.into(),
    }
}

/// The rounds of a stored record, for the store; `None` when the payload holds none.
#[must_use]
pub fn rounds(payload: &[u8]) -> Option<Rounds> {
    let columns = samples::decode(payload).ok()?;
    Some(Rounds { times_ms: columns.times_ms, cells: columns.cells })
}

/// What an agent sees around it.
#[must_use]
pub fn seen(message: &v1::Surroundings) -> Seen {
    Seen::new(&message.gateways, &message.resolvers, &message.hops)
}

/// The interfaces of an inventory.
#[must_use]
pub fn ports(inventory: &v1::SnmpInventory) -> Vec<Port> {
    let port = |interface: &v1::Interface| Port {
        index: interface.if_index,
        name: if interface.if_name.is_empty() {
            interface.if_descr.clone()
        } else {
            interface.if_name.clone()
        },
        alias: interface.if_alias.clone(),
        kind: interface.if_type,
        oper_status: interface.oper_status,
        narrow_octets: interface.octet_bits == 32,
        narrow_packets: interface.packet_bits == 32,
    };
    inventory.interfaces.iter().take(MAX_INTERFACES).map(port).collect()
}

/// What a device says it is.
#[must_use]
pub fn device(inventory: &v1::SnmpInventory) -> Device {
    Device {
        name: text(&inventory.sys_name),
        descr: text(&inventory.sys_descr),
        object_id: text(&inventory.sys_object_id),
        location: text(&inventory.sys_location),
        truncated: inventory.truncated || inventory.interfaces.len() > MAX_INTERFACES,
    }
}

/// The parts of an agent's machine.
#[must_use]
pub fn host_parts(inventory: &v1::HostInventory) -> HostParts {
    let some = |names: &[String]| names.iter().take(MAX_PARTS).cloned().collect();
    HostParts {
        disks: some(&inventory.disks),
        interfaces: some(&inventory.interfaces),
        sensors: some(&inventory.sensors),
    }
}

/// A text of an agent for people: cut, and without control characters, so that it can do no harm
/// in a log or a terminal.
#[must_use]
pub fn text(untrusted: &str) -> String {
    let cut = &untrusted[..untrusted.floor_char_boundary(MAX_TEXT_BYTES)];
    cut.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The store's word for a reason.
#[must_use]
pub fn gap_reason(reason: v1::GapReason) -> &'static str {
    match reason {
        v1::GapReason::GapUnspecified => "unspecified",
        v1::GapReason::GapCrash => "crash",
        v1::GapReason::GapStopped => "stopped",
        v1::GapReason::GapSuspended => "suspended",
        v1::GapReason::GapOverload => "overload",
        v1::GapReason::GapConfigOff => "config_off",
        v1::GapReason::GapMaintenance => "maintenance",
        v1::GapReason::GapDeviceSkipped => "device_skipped",
        v1::GapReason::GapSpoolDegraded => "spool_degraded",
        v1::GapReason::GapEvicted => "evicted",
        v1::GapReason::GapCorrupt => "corrupt",
        v1::GapReason::GapClockUnknown => "clock_unknown",
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        id::{SeriesId, SiteId},
        target::{Detail, Role},
    };

    use super::*;

    #[test]
    fn columns_point_at_their_target_in_the_probe() {
        let target = |id: i64, address: &str| Target {
            id: TargetId(id),
            group: GroupId(4),
            spec: TargetSpec {
                site: SiteId(1),
                role: Role::Hop,
                name: String::new(),
                address: address.to_owned(),
                method: Method::Icmp { count: 5 },
                period_s: 10,
                parent: None,
            },
            active: true,
        };
        let series = |target: i64, metric: u32| Series {
            id: SeriesId(1),
            site: SiteId(1),
            target: TargetId(target),
            metric,
            instance: 0,
            label: String::new(),
            detail: Detail::Full,
        };
        let group = Group {
            id: GroupId(4),
            site: SiteId(1),
            layout: Layout(2),
            period_s: 10,
            targets: vec![target(8, "192.0.2.1"), target(9, "192.0.2.2")],
            columns: vec![series(9, 1), series(8, 2)],
        };
        let config = config(3, &[group], &References::default(), &MeshPlan::default());
        let sent = &config.groups[0];
        assert_eq!((sent.id, sent.layout, sent.period_ms, sent.timeout_ms), (4, 2, 10_000, 2_000));
        let columns: Vec<_> = sent.columns.iter().map(|c| (c.target, c.metric)).collect();
        assert_eq!(columns, [(1, 1), (0, 2)]);
        let Some(v1::group::Probe::Icmp(probe)) = &sent.probe else { panic!("{sent:?}") };
        assert_eq!(probe.targets, ["192.0.2.1", "192.0.2.2"]);
    }

    #[test]
    fn peers_are_told_with_their_keys_and_only_as_a_whole_group() {
        let target = |id: i64, uai: &str| Target {
            id: TargetId(id),
            group: GroupId(4),
            spec: TargetSpec {
                site: SiteId(1),
                role: Role::Peer,
                name: String::new(),
                address: uai.to_owned(),
                method: Method::Mesh { count: 10 },
                period_s: 60,
                parent: None,
            },
            active: true,
        };
        let group = Group {
            id: GroupId(4),
            site: SiteId(1),
            layout: Layout(1),
            period_s: 60,
            targets: vec![target(8, "0999002X"), target(9, "0999003Y")],
            columns: Vec::new(),
        };
        let ask = |id: i64| {
            (
                TargetId(id),
                format!("10.0.0.{id}:9782"),
                LinkKey::new([u8::try_from(id).unwrap(); 32]),
            )
        };
        let answers = vec![(TargetId(12), LinkKey::new([12; 32]))];
        let mesh = MeshPlan { asks: vec![ask(9), ask(8)], answers: answers.clone() };
        let sent = config(3, std::slice::from_ref(&group), &References::default(), &mesh);
        let Some(v1::group::Probe::Mesh(probe)) = &sent.groups[0].probe else { panic!("{sent:?}") };
        let peers: Vec<_> = probe
            .peers
            .iter()
            .map(|peer| {
                let link = peer.link.as_ref().unwrap();
                (peer.address.as_str(), link.id, link.key[31])
            })
            .collect();
        assert_eq!(peers, [("10.0.0.8:9782", 8, 8), ("10.0.0.9:9782", 9, 9)]);
        assert_eq!(sent.reflected.iter().map(|link| link.id).collect::<Vec<_>>(), [12]);
        let part = MeshPlan { asks: vec![ask(9)], answers };
        assert_eq!(config(3, &[group], &References::default(), &part).groups, []);
    }

    #[test]
    fn texts_of_agents_lose_their_controls_and_their_length() {
        assert_eq!(text("a\u{1b}[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
        assert_eq!(text(&"é".repeat(1_000)).len(), 200);
    }
}
