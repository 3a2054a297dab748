//! The collector's own figures, in the exposition format of Prometheus.

use std::{
    fmt,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Why something was refused: a closed list of the collector's own words, never a device's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// The word.
    pub reason: &'static str,
}

/// A state that something is in: a closed list of the collector's own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct State {
    /// The word.
    pub state: &'static str,
}

/// How old a batch was that was committed: a closed list of the collector's own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Age {
    /// `live` or `backlog`.
    pub age: &'static str,
}

/// A batch with at least one record that may still raise an alert.
pub const LIVE: Age = Age { age: "live" };
/// A batch of which all is too old for that: an agent catches up.
pub const BACKLOG: Age = Age { age: "backlog" };

/// Every figure. Cheap to update; encoded when asked for.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Open sessions.
    pub sessions: Gauge,
    /// Sessions held because another machine uses their identity.
    pub sessions_held: Gauge,
    /// Records received, whatever became of them.
    pub records: Counter,
    /// Samples stored.
    pub samples: Counter,
    /// Records that had been stored before.
    pub duplicates: Counter,
    /// Records under a key that another record holds.
    pub conflicts: Counter,
    /// Records not taken, by reason.
    pub rejected: Family<Reason, Counter>,
    /// Compressed bytes of record bodies.
    pub wire_bytes: Counter,
    /// Time from handing a batch to the store until it is durable, seconds.
    pub commit_seconds: Histogram,
    /// Records handed to the store and not yet durable.
    pub commit_queue: Gauge,
    /// Age of the newest record of each batch when it was committed, seconds.
    pub ingest_lag_seconds: Family<Age, Histogram>,
    /// Records that came too late to raise an alert.
    pub late_records: Counter,
    /// Feed items dropped because the evaluator was behind.
    pub feed_dropped: Counter,
    /// Connections accepted.
    pub connections: Counter,
    /// Handshakes that failed or were refused, by reason.
    pub handshake_failures: Family<Reason, Counter>,
    /// Calls refused, by reason.
    pub refused_calls: Family<Reason, Counter>,
    /// Enrolments done.
    pub enrolments: Counter,
    /// Certificates renewed.
    pub renewals: Counter,
    /// Mails not yet sent.
    pub outbox_depth: Gauge,
    /// Age of the oldest mail not yet sent, seconds.
    pub outbox_oldest_seconds: Gauge,
    /// Bytes of the database file.
    pub file_bytes: Gauge,
    /// Bytes of its write-ahead log.
    pub wal_bytes: Gauge,
    /// Records that wait for compaction.
    pub head_records: Gauge,
    /// Records in the store's own queue.
    pub store_queue: Gauge,
    /// Longest commit since the start, seconds.
    pub commit_max_seconds: Gauge<f64, AtomicU64>,
    /// Gaps that agents declared and that found no room.
    pub gaps_refused: Counter,
    /// How the check of the database file stands: 1 beside the state it is in.
    pub file_check: Family<State, Gauge>,
    /// Since when, Unix seconds.
    pub file_check_since: Gauge,
    /// 1 once the database file was found damaged: nothing is written any more.
    pub file_damaged: Gauge,
    /// Rounds of upkeep that failed.
    pub upkeep_failures: Counter,
    /// Time of one evaluation, seconds.
    pub evaluation_seconds: Histogram,
    /// Incidents opened.
    pub incidents_opened: Counter,
    /// Incidents closed.
    pub incidents_closed: Counter,
    /// Openings and closings of incidents that the store refused.
    pub decisions_refused: Counter,
    /// Mails taken by the relay.
    pub mails_sent: Counter,
    /// Mails that can not be delivered.
    pub mails_failed: Counter,
    /// Attempts that must be repeated.
    pub mails_put_off: Counter,
    /// Times that the relay could not be used.
    pub mail_channel_failures: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with every figure at its start.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line of help per figure; a list, not a logic")]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("vigie_collector");
        macro_rules! registered {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        Self {
            sessions: registered!("sessions", "Open agent sessions", Gauge::default()),
            sessions_held: registered!(
                "sessions_held",
                "Sessions held because another machine uses their identity",
                Gauge::default()
            ),
            records: registered!("records", "Records received", Counter::default()),
            samples: registered!("samples", "Samples stored", Counter::default()),
            duplicates: registered!(
                "duplicates",
                "Records that had been stored before",
                Counter::default()
            ),
            conflicts: registered!(
                "conflicts",
                "Records under a key that another record holds",
                Counter::default()
            ),
            rejected: registered!("rejected", "Records not taken", Family::default()),
            wire_bytes: registered!(
                "wire_bytes",
                "Bytes of record bodies as they travelled",
                Counter::default()
            ),
            commit_seconds: registered!(
                "commit_seconds",
                "Time until a batch is durable",
                Histogram::new(exponential_buckets(0.001, 2.0, 14))
            ),
            commit_queue: registered!(
                "commit_queue_records",
                "Records handed to the store and not yet durable",
                Gauge::default()
            ),
            ingest_lag_seconds: registered!(
                "ingest_lag_seconds",
                "Age of the newest record of each batch when it was committed, one observation per \
                 batch; age=\"live\" has a record that may still raise an alert (not older than two \
                 periods and a minute), age=\"backlog\" has none (an agent catches up after a cut; of \
                 many agents at once, the collector is behind)",
                Family::<Age, Histogram>::new_with_constructor(|| {
                    // From an eighth of a second to six days.
                    Histogram::new(exponential_buckets(0.125, 4.0, 12))
                })
            ),
            late_records: registered!(
                "late_records",
                "Records too old to raise an alert",
                Counter::default()
            ),
            feed_dropped: registered!(
                "feed_dropped",
                "Records that the evaluator did not hear of in time",
                Counter::default()
            ),
            connections: registered!(
                "connections",
                "Connections accepted from agents",
                Counter::default()
            ),
            handshake_failures: registered!(
                "handshake_failures",
                "Connections that did not become a channel",
                Family::default()
            ),
            refused_calls: registered!("refused_calls", "Calls refused", Family::default()),
            enrolments: registered!("enrolments", "Agents enrolled", Counter::default()),
            renewals: registered!("renewals", "Certificates renewed", Counter::default()),
            outbox_depth: registered!("outbox_mails", "Mails not yet sent", Gauge::default()),
            outbox_oldest_seconds: registered!(
                "outbox_oldest_seconds",
                "Age of the oldest mail not yet sent",
                Gauge::default()
            ),
            file_bytes: registered!("store_file_bytes", "Database file", Gauge::default()),
            wal_bytes: registered!("store_wal_bytes", "Write-ahead log", Gauge::default()),
            head_records: registered!(
                "store_head_records",
                "Records that wait for compaction",
                Gauge::default()
            ),
            store_queue: registered!(
                "store_queue_records",
                "Records in the writer's queue",
                Gauge::default()
            ),
            commit_max_seconds: registered!(
                "store_commit_max_seconds",
                "Longest commit since the start",
                Gauge::default()
            ),
            evaluation_seconds: registered!(
                "evaluation_seconds",
                "Time of one evaluation",
                Histogram::new(exponential_buckets(0.000_1, 4.0, 9))
            ),
            incidents_opened: registered!(
                "incidents_opened",
                "Incidents opened",
                Counter::default()
            ),
            incidents_closed: registered!(
                "incidents_closed",
                "Incidents closed",
                Counter::default()
            ),
            decisions_refused: registered!(
                "decisions_refused",
                "Openings and closings of incidents that the store refused",
                Counter::default()
            ),
            mails_sent: registered!("mails_sent", "Mails taken by the relay", Counter::default()),
            mails_failed: registered!(
                "mails_failed",
                "Mails that can not be delivered",
                Counter::default()
            ),
            mails_put_off: registered!(
                "mails_put_off",
                "Attempts that must be repeated",
                Counter::default()
            ),
            mail_channel_failures: registered!(
                "mail_channel_failures",
                "Times that the relay could not be used",
                Counter::default()
            ),
            gaps_refused: registered!(
                "gaps_refused",
                "Gaps that agents declared beyond what they or their site may have",
                Counter::default()
            ),
            file_check: registered!(
                "store_check",
                "How the check of the database file after an unclean stop stands",
                Family::default()
            ),
            file_check_since: registered!(
                "store_check_since_seconds",
                "Since when it stands so, Unix time",
                Gauge::default()
            ),
            file_damaged: registered!(
                "store_damaged",
                "Whether the database file was found damaged and nothing is written any more",
                Gauge::default()
            ),
            upkeep_failures: registered!(
                "upkeep_failures",
                "Rounds of upkeep of the store that failed",
                Counter::default()
            ),
            registry: Mutex::new(registry),
        }
    }

    /// Lets another part of the collector register figures of its own.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every figure as text (`OpenMetrics`).
    ///
    /// # Errors
    /// Only when a figure's own formatting fails.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_exposed_under_their_names() {
        let metrics = Metrics::new();
        metrics.records.inc_by(3);
        metrics.rejected.get_or_create(&Reason { reason: "window" }).inc();
        metrics.ingest_lag_seconds.get_or_create(&LIVE).observe(0.3);
        metrics.ingest_lag_seconds.get_or_create(&BACKLOG).observe(90_000.0);
        let text = metrics.encode().unwrap();
        for (age, seconds) in [("live", "0.3"), ("backlog", "90000.0")] {
            let sum = format!("ingest_lag_seconds_sum{{age=\"{age}\"}} {seconds}\n");
            assert!(text.contains(&sum), "{sum} in {text}");
        }
        assert!(text.contains("vigie_collector_records_total 3\n"), "{text}");
        assert!(text.contains("vigie_collector_rejected_total{reason=\"window\"} 1\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
