//! The agent watching itself: figures in the Prometheus text format on a loopback port.

mod http;
mod probes;
mod spool;

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

pub use http::{fetch, serve};
pub use probes::ProbeFigures;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use self::spool::SpoolFigures;
use crate::{logs::chain, plan::ProbeKind, platform, spool::SpoolStatus};

/// Rounds whose delay is remembered for the percentile.
const LAGS: usize = 512;
/// Upper edges of a round's duration, in seconds.
const ROUND_EDGES: [f64; 8] = [0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0];

/// A gauge of a real number.
pub type Real = Gauge<f64, AtomicU64>;
/// A gauge of a whole number.
pub type Whole = Gauge<i64, AtomicI64>;

/// Which kind of probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// As in the proto's field names.
    pub probe: &'static str,
}

impl From<&ProbeKind> for Kind {
    fn from(probe: &ProbeKind) -> Self {
        let probe = match probe {
            ProbeKind::Icmp { .. } => "icmp",
            ProbeKind::Tcp { .. } => "tcp",
            ProbeKind::Dns { .. } => "dns",
            ProbeKind::Http { .. } => "http",
            ProbeKind::Snmp { .. } => "snmp",
            ProbeKind::Host => "host",
            ProbeKind::Mesh { .. } => "mesh",
            ProbeKind::Service(_) => "service",
        };
        Self { probe }
    }
}

/// Why a round was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Cause {
    /// One of a fixed set.
    pub cause: &'static str,
}

/// Every figure. Counters count since the process started.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Duration of rounds.
    pub round_seconds: Family<Kind, Histogram>,
    /// Rounds that should have been measured and were not.
    pub rounds_missed: Family<Cause, Counter>,
    lags_ms: Mutex<VecDeque<u32>>,
    lag_p95: Real,
    /// Records that the spool did not take.
    pub records_refused: Counter,
    /// Events lost, because the spool took none for too long.
    pub events_dropped: Counter,
    /// 1 while a session with the collector stands.
    pub connected: Whole,
    /// 1 while the collector has this agent on hold.
    pub held: Whole,
    /// Sessions begun.
    pub sessions: Counter,
    /// Attempts and sessions that failed.
    pub session_failures: Counter,
    /// Records sent, resends included.
    pub records_sent: Counter,
    /// Bytes of record batches sent.
    pub bytes_sent: Counter,
    /// Bytes sent and not acknowledged, before compression, as the credit counts them.
    pub in_flight_bytes: Whole,
    /// Acknowledgements taken.
    pub acks: Counter,
    /// Acknowledgements that could not be true.
    pub acks_ignored: Counter,
    /// Records that the collector refused.
    pub records_rejected: Counter,
    /// Answers that break the protocol.
    pub protocol_errors: Counter,
    /// Something answered in the collector's place.
    pub interceptions: Counter,
    /// Version of the plan in force.
    pub plan_version: Whole,
    /// Poll groups of the plan in force.
    pub plan_groups: Whole,
    /// Plans refused.
    pub plans_refused: Counter,
    /// The server's clock against this machine's wall clock.
    pub clock_offset: Real,
    /// How wrong the offset may be.
    pub clock_error: Real,
    /// Unix time at which the certificate expires.
    pub certificate_expiry: Whole,
    spool: SpoolFigures,
    /// What the probes share.
    pub probes: ProbeFigures,
    cpu: Real,
    rss: Whole,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn edges() -> Histogram {
    Histogram::new(ROUND_EDGES)
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("vigie_agent"),
            round_seconds: Family::new_with_constructor(edges),
            rounds_missed: Family::default(),
            lags_ms: Mutex::default(),
            lag_p95: Real::default(),
            records_refused: Counter::default(),
            events_dropped: Counter::default(),
            connected: Whole::default(),
            held: Whole::default(),
            sessions: Counter::default(),
            session_failures: Counter::default(),
            records_sent: Counter::default(),
            bytes_sent: Counter::default(),
            in_flight_bytes: Whole::default(),
            acks: Counter::default(),
            acks_ignored: Counter::default(),
            records_rejected: Counter::default(),
            protocol_errors: Counter::default(),
            interceptions: Counter::default(),
            plan_version: Whole::default(),
            plan_groups: Whole::default(),
            plans_refused: Counter::default(),
            clock_offset: Real::default(),
            clock_error: Real::default(),
            certificate_expiry: Whole::default(),
            spool: SpoolFigures::default(),
            probes: ProbeFigures::default(),
            cpu: Real::default(),
            rss: Whole::default(),
        };
        let mut r = std::mem::take(&mut metrics.registry);
        let m = &metrics;
        let round = "Duration of a round of a poll group";
        r.register_with_unit("round", round, Unit::Seconds, m.round_seconds.clone());
        let missed = "Rounds that were due and were not measured";
        r.register("rounds_missed", missed, m.rounds_missed.clone());
        let lag = "Delay between a round's due time and its start, 95th percentile";
        r.register_with_unit("round_lag_p95", lag, Unit::Seconds, m.lag_p95.clone());
        let refused = "Records that the spool did not take";
        r.register("records_refused", refused, m.records_refused.clone());
        let dropped = "Events lost, because the spool took none for too long";
        r.register("events_dropped", dropped, m.events_dropped.clone());
        let connected = "1 while a session with the collector stands";
        r.register("uplink_connected", connected, m.connected.clone());
        let held = "1 while the collector has this agent on hold";
        r.register("uplink_held", held, m.held.clone());
        r.register("uplink_sessions", "Sessions begun", m.sessions.clone());
        let failures = "Attempts and sessions that failed";
        r.register("uplink_failures", failures, m.session_failures.clone());
        let sent = "Records sent, resends included";
        r.register("uplink_records_sent", sent, m.records_sent.clone());
        let bytes = "Bytes of record batches sent";
        r.register_with_unit("uplink_sent", bytes, Unit::Bytes, m.bytes_sent.clone());
        let flight = "Bytes sent and not acknowledged, before compression";
        r.register_with_unit("uplink_in_flight", flight, Unit::Bytes, m.in_flight_bytes.clone());
        r.register("uplink_acks", "Acknowledgements taken", m.acks.clone());
        let ignored = "Acknowledgements that could not be true";
        r.register("uplink_acks_ignored", ignored, m.acks_ignored.clone());
        let rejected = "Records that the collector refused";
        r.register("uplink_records_rejected", rejected, m.records_rejected.clone());
        let protocol = "Answers of the collector that break the protocol";
        r.register("uplink_protocol_errors", protocol, m.protocol_errors.clone());
        let intercepted = "Connections answered by something else than the collector";
        r.register("uplink_interceptions", intercepted, m.interceptions.clone());
        r.register("plan_version", "Version of the plan in force", m.plan_version.clone());
        r.register("plan_groups", "Poll groups of the plan in force", m.plan_groups.clone());
        r.register("plans_refused", "Plans refused", m.plans_refused.clone());
        let offset = "The server's clock against this machine's";
        r.register_with_unit("clock_offset", offset, Unit::Seconds, m.clock_offset.clone());
        let error = "How wrong the clock's offset may be";
        r.register_with_unit("clock_error", error, Unit::Seconds, m.clock_error.clone());
        let expiry = "Unix time at which the certificate expires";
        r.register("certificate_expiry", expiry, m.certificate_expiry.clone());
        m.spool.register(&mut r);
        m.probes.register(&mut r);
        let cpu = "CPU time used by this process";
        r.register_with_unit("cpu", cpu, Unit::Seconds, m.cpu.clone());
        let rss = "Resident memory of this process";
        r.register_with_unit("resident_memory", rss, Unit::Bytes, m.rss.clone());
        metrics.registry = r;
        // A cause that never was is 0, not absent.
        for cause in CAUSES {
            metrics.rounds_missed.get_or_create(&Cause { cause }).inc_by(0);
        }
        metrics
    }

    /// Notes how late a round started.
    pub fn lag(&self, late: Duration) {
        let mut lags = self.lags_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if lags.len() == LAGS {
            lags.pop_front();
        }
        lags.push_back(u32::try_from(late.as_millis()).unwrap_or(u32::MAX));
    }

    /// Delay of the last rounds, 95th percentile, in milliseconds; 0 before the first.
    #[must_use]
    pub fn lag_p95_ms(&self) -> u64 {
        let lags = self.lags_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<u32> = lags.iter().copied().collect();
        drop(lags);
        sorted.sort_unstable();
        // Nearest rank.
        let rank = (sorted.len() * 95).div_ceil(100);
        rank.checked_sub(1).and_then(|at| sorted.get(at)).map_or(0, |&ms| ms.into())
    }

    /// Rounds missed, whatever the cause.
    #[must_use]
    pub fn missed(&self) -> u64 {
        CAUSES
            .iter()
            .filter_map(|&cause| Some(self.rounds_missed.get(&Cause { cause })?.get()))
            .sum()
    }

    /// The page.
    #[must_use]
    pub fn page(&self, spool: &SpoolStatus) -> String {
        self.refresh(spool);
        let mut page = String::with_capacity(8 << 10);
        // Writing to a string does not fail.
        if let Err(error) = encode(&mut page, &self.registry) {
            tracing::error!(error = chain(&error), "the metrics page is incomplete");
        }
        page
    }

    fn refresh(&self, spool: &SpoolStatus) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of delay")]
        self.lag_p95.set(self.lag_p95_ms() as f64 / 1e3);
        self.cpu.set(platform::cpu_time().as_secs_f64());
        self.rss.set(platform::resident_bytes().map_or(0, whole));
        self.spool.refresh(spool);
        self.probes.refresh();
    }
}

/// Every cause that a round may be missed for.
pub const CAUSES: [&str; 8] =
    ["overload", "suspended", "cancelled", "panicked", "error", "full", "replaced", "stopped"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_a_delay_that_was() {
        let metrics = Metrics::new();
        assert_eq!(metrics.lag_p95_ms(), 0);
        for ms in 1..=100 {
            metrics.lag(Duration::from_millis(ms));
        }
        assert_eq!(metrics.lag_p95_ms(), 95);
        for _ in 0..LAGS {
            metrics.lag(Duration::from_millis(7));
        }
        assert_eq!(metrics.lag_p95_ms(), 7);
    }

    #[test]
    fn missed_rounds_are_summed_over_their_causes() {
        let metrics = Metrics::new();
        for cause in CAUSES {
            metrics.rounds_missed.get_or_create(&Cause { cause }).inc_by(2);
        }
        assert_eq!(metrics.missed(), 16);
    }

    #[test]
    fn the_page_names_every_figure_once() {
        let page = Metrics::new().page(&SpoolStatus::default());
        let names: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(names.len(), unique.len());
        assert!(page.contains("vigie_agent_uplink_connected 0\n"), "{page}");
        assert!(page.contains("vigie_agent_spool_bytes{lane=\"1\"} 0\n"), "{page}");
        for name in [
            "spool_oldest_age_seconds NaN",
            "spool_fill_ratios NaN",
            "spool_full_in_seconds NaN",
            "spool_commit_seconds_total 0",
        ] {
            assert!(page.contains(&format!("vigie_agent_{name}")), "{name} in {page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}
