//! Answers as tables: which columns, in which order.

mod devices;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::csv::{Cell, Table};
use crate::query::{
    List, SiteCoverage, Time,
    agents::AgentLine,
    contractors::Contractors,
    incidents::IncidentLine,
    mesh::Mesh,
    ranking::Ranking,
    samples::Samples,
    series::SeriesLine,
    sites::{SiteDetail, SiteLine},
    status::Status,
    targets::TargetLine,
};

/// Rows of a [`List`].
trait Row {
    const HEADER: &'static [&'static str];
    fn cells(&self) -> Vec<Cell>;
}

impl<T: Row> Table for List<T> {
    const HEADER: &'static [&'static str] = T::HEADER;

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        heard(self.coverage)
    }

    fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        self.items.iter().map(Row::cells).collect()
    }
}

fn heard(coverage: SiteCoverage) -> String {
    let SiteCoverage { sites, heard, measured, window_s } = coverage;
    let measured = measured.map(|measured| format!(", {measured} measured")).unwrap_or_default();
    format!("{heard} of {sites} sites heard in {window_s} s{measured}")
}

#[expect(clippy::needless_pass_by_value, reason = "numbers and references are passed alike")]
fn plain(value: impl ToString) -> Cell {
    Cell::Plain(value.to_string())
}

impl Row for SiteLine {
    const HEADER: &'static [&'static str] = &[
        "uai",
        "name",
        "type",
        "zone",
        "pupils",
        "lot",
        "address",
        "latitude",
        "longitude",
        "state",
        "last_heard",
        "targets_up",
        "targets_failing",
        "targets_unreachable",
        "targets_down",
        "targets_unknown",
        "open_incidents",
    ];

    fn cells(&self) -> Vec<Cell> {
        let facts = &self.facts;
        vec![
            plain(&facts.uai),
            Cell::text(Some(&facts.name)),
            plain(facts.kind),
            plain(facts.zone),
            Cell::plain(facts.pupils),
            Cell::text(facts.lot.as_deref()),
            Cell::text(facts.address.as_deref()),
            Cell::plain(facts.latitude),
            Cell::plain(facts.longitude),
            plain(self.state),
            Cell::plain(self.last_heard),
            plain(self.targets.up),
            plain(self.targets.failing),
            plain(self.targets.unreachable),
            plain(self.targets.down),
            plain(self.targets.unknown),
            plain(self.open_incidents),
        ]
    }
}

impl Row for TargetLine {
    const HEADER: &'static [&'static str] = &[
        "id", "uai", "role", "name", "method", "address", "period_s", "parent", "state", "outcome",
        "asked_at", "age_s",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            plain(self.id),
            plain(&self.uai),
            plain(self.role),
            Cell::text(Some(&self.name)),
            plain(self.method),
            Cell::text(Some(&self.address)),
            plain(self.period_s),
            Cell::plain(self.parent),
            plain(self.state),
            Cell::plain(self.outcome),
            Cell::plain(self.asked_at),
            Cell::plain(self.age_s),
        ]
    }
}

impl Row for SeriesLine {
    const HEADER: &'static [&'static str] = &[
        "id",
        "uai",
        "target_id",
        "target",
        "role",
        "method",
        "metric",
        "unit",
        "kind",
        "instance",
        "label",
        "detail",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            plain(self.id),
            Cell::plain(self.uai.as_deref()),
            plain(self.target_id),
            Cell::text(self.target.as_deref()),
            Cell::plain(self.role),
            Cell::plain(self.method),
            plain(self.metric),
            plain(self.unit),
            plain(self.kind),
            plain(self.instance),
            Cell::text(Some(&self.label)),
            plain(self.detail),
        ]
    }
}

impl Row for AgentLine {
    const HEADER: &'static [&'static str] = &[
        "id",
        "uai",
        "site",
        "hostname",
        "version",
        "status",
        "connected",
        "last_seen",
        "age_s",
        "enrolled_at",
        "certificate_serial",
        "certificate_expires_at",
        "spool_records",
        "spool_bytes",
        "spool_evicted",
        "spool_degraded",
        "config_offered",
        "config_applied",
        "config_failed",
        "config_error",
        "faults",
    ];

    fn cells(&self) -> Vec<Cell> {
        let live = self.live.as_ref();
        vec![
            plain(&self.id),
            Cell::plain(self.uai.as_deref()),
            Cell::text(self.site.as_deref()),
            Cell::text(Some(&self.hostname)),
            Cell::text(Some(&self.version)),
            plain(self.status),
            plain(self.connected),
            Cell::plain(self.last_seen),
            Cell::plain(self.age_s),
            plain(self.enrolled_at),
            plain(&self.certificate_serial),
            plain(self.certificate_expires_at),
            Cell::plain(live.map(|live| live.spool_records)),
            Cell::plain(live.map(|live| live.spool_bytes)),
            Cell::plain(live.map(|live| live.spool_evicted)),
            Cell::plain(live.map(|live| live.spool_degraded)),
            Cell::plain(live.map(|live| live.config_offered)),
            Cell::plain(live.map(|live| live.config_applied)),
            Cell::plain(live.and_then(|live| live.config_failed)),
            Cell::text(live.and_then(|live| live.config_error.as_deref())),
            Cell::plain(live.map(|live| live.faults.join(" "))),
        ]
    }
}

impl Row for IncidentLine {
    const HEADER: &'static [&'static str] = &[
        "reference",
        "uai",
        "site",
        "target_id",
        "target",
        "kind",
        "state",
        "title",
        "started_at",
        "opened_at",
        "restored_at",
        "closed_at",
        "duration_s",
        "evidence",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            plain(&self.reference),
            Cell::plain(self.uai.as_deref()),
            Cell::text(self.site.as_deref()),
            Cell::plain(self.target_id),
            Cell::text(self.target.as_deref()),
            plain(self.kind),
            plain(self.state),
            Cell::text(Some(&self.title)),
            plain(self.started_at),
            plain(self.opened_at),
            Cell::plain(self.restored_at),
            Cell::plain(self.closed_at),
            plain(self.duration_s),
            Cell::text(Some(&self.evidence.join("\n"))),
        ]
    }
}

impl Table for Status {
    const HEADER: &'static [&'static str] = &["figure", "value"];

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        heard(self.coverage)
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        [
            ("sites", self.coverage.sites),
            ("sites_heard", self.coverage.heard),
            ("sites_up", self.sites.up),
            ("sites_degraded", self.sites.degraded),
            ("sites_down", self.sites.down),
            ("sites_unknown", self.sites.unknown),
            ("agents_active", self.agents.active),
            ("agents_connected", self.agents.connected),
            ("agents_faulty", self.agents.faulty),
            ("agents_revoked", self.agents.revoked),
            ("open_incidents", self.open_incidents.total),
            ("open_target_down", self.open_incidents.target_down),
            ("open_agent_silent", self.open_incidents.agent_silent),
            ("open_threshold", self.open_incidents.threshold),
        ]
        .map(|(name, value)| vec![plain(name), plain(value)])
        .into_iter()
        .chain([
            vec![plain("outbox_waiting"), plain(self.outbox.waiting)],
            vec![plain("outbox_oldest_s"), plain(self.outbox.oldest_s)],
        ])
        .collect()
    }
}

/// The table of a site is that of its targets.
impl Table for SiteDetail {
    const HEADER: &'static [&'static str] = TargetLine::HEADER;

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        heard(self.coverage)
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        self.targets.iter().map(Row::cells).collect()
    }
}

/// Rows are the points. `gap` tells the declared reasons where a row has no value, or speaks for a part
/// of its bucket only; as measured, where a gap has no row, its start is one.
impl Table for Samples {
    const HEADER: &'static [&'static str] = &["time", "value", "coverage", "gap"];

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        let coverage = self.coverage;
        let unsure = coverage.unsure.filter(|unsure| *unsure > 0);
        let unsure = unsure.map(|unsure| format!(", {unsure} of unsure time")).unwrap_or_default();
        format!(
            "{} of {} rows, {} of {} s{unsure}",
            coverage.rows, coverage.expected_rows, coverage.covered_s, coverage.asked_s
        )
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        let points = self.points.iter().enumerate().map(|(at, point)| {
            let whole = point.value.is_some() && point.coverage.is_none_or(|share| share >= 1.0);
            // A bucket ends where the next one starts; a sample is an instant.
            let end = match (point.coverage, self.points.get(at + 1)) {
                (None, _) => point.time.0,
                (Some(_), Some(next)) => next.time.0,
                (Some(_), None) => Timestamp::MAX,
            };
            let why = if whole { Cell::Empty } else { self.reasons(point.time.0, end) };
            let cells =
                vec![plain(point.time), Cell::plain(point.value), Cell::plain(point.coverage), why];
            (point.time.0, cells)
        });
        let mut rows: Vec<_> = points.collect();
        if self.aggregate.is_none() {
            rows.extend(self.gaps.iter().map(|gap| {
                let reason = Cell::text(Some(&gap.reason));
                (gap.from.0, vec![plain(gap.from), Cell::Empty, Cell::Empty, reason])
            }));
            rows.sort_by_key(|(time, _)| *time);
        }
        rows.into_iter().map(|(_, cells)| cells).collect()
    }
}

impl Samples {
    /// Why there is no measure between these instants, as declared; each reason once.
    fn reasons(&self, from: Timestamp, end: Timestamp) -> Cell {
        let declared = self.gaps.iter().filter(|gap| {
            gap.to.0 > from && (gap.from.0 < end || (from == end && gap.from.0 <= from))
        });
        let reasons: BTreeSet<&str> = declared.map(|gap| gap.reason.as_str()).collect();
        let reasons: Vec<&str> = reasons.into_iter().collect();
        Cell::text(Some(reasons.join(", ")).filter(|text| !text.is_empty()).as_deref())
    }
}

impl Table for Ranking {
    const HEADER: &'static [&'static str] =
        &["series", "uai", "target", "metric", "label", "value", "unit", "buckets", "coverage"];

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        format!("{} of {} series measured", self.coverage.measured, self.coverage.series)
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        self.items
            .iter()
            .map(|ranked| {
                vec![
                    plain(ranked.series.id),
                    Cell::plain(ranked.series.uai.as_deref()),
                    Cell::text(ranked.series.target.as_deref()),
                    plain(ranked.series.metric),
                    Cell::text(Some(&ranked.series.label)),
                    plain(ranked.value),
                    plain(&self.unit),
                    plain(ranked.buckets),
                    plain(ranked.coverage),
                ]
            })
            .collect()
    }
}

/// The table of the mesh is that of its pairs.
impl Table for Mesh {
    const HEADER: &'static [&'static str] = &[
        "from", "to", "state", "outcome", "asked_at", "age_s", "loss", "rtt_p95", "rounds",
        "coverage",
    ];

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        let coverage = self.coverage;
        let (measured, pairs) = (coverage.measured_pairs, coverage.pairs);
        format!("{measured} of {pairs} pairs measured, {}", heard(coverage.sites))
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        self.pairs
            .iter()
            .map(|pair| {
                vec![
                    plain(&pair.from),
                    plain(&pair.to),
                    plain(pair.state),
                    Cell::plain(pair.outcome),
                    Cell::plain(pair.asked_at),
                    Cell::plain(pair.age_s),
                    Cell::plain(pair.loss),
                    Cell::plain(pair.rtt_p95),
                    plain(pair.rounds),
                    plain(pair.coverage),
                ]
            })
            .collect()
    }
}

impl Table for Contractors {
    const HEADER: &'static [&'static str] = &["lot", "name", "email", "sites"];

    fn at(&self) -> Time {
        self.at
    }

    fn coverage(&self) -> String {
        format!("{} of {} sites have a contractor", self.sites - self.sites_without, self.sites)
    }

    fn rows(&self) -> Vec<Vec<Cell>> {
        self.items
            .iter()
            .map(|line| {
                vec![
                    Cell::text(Some(&line.lot)),
                    Cell::text(Some(&line.name)),
                    Cell::text(Some(&line.email)),
                    plain(line.sites),
                ]
            })
            .collect()
    }
}
