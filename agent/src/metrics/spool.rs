//! The spool's figures, as its thread tells them.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use super::{Real, Whole};
use crate::spool::SpoolStatus;

/// Which lane of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lane {
    lane: u32,
}

#[derive(Debug, Default)]
pub(super) struct SpoolFigures {
    bytes: Family<Lane, Whole>,
    unacknowledged: Family<Lane, Whole>,
    oldest_age: Real,
    fill: Real,
    full_in: Real,
    degraded: Whole,
    appended: Counter,
    durable_records: Counter,
    durable_samples: Counter,
    written_bytes: Counter,
    commits: Counter,
    commit_time: Counter<f64, AtomicU64>,
    last_commit: Real,
    disk_errors: Counter,
    slow_syncs: Counter,
    evicted_records: Counter,
    corrupt_records: Counter,
    dropped_records: Counter,
    refused_records: Counter,
}

impl SpoolFigures {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register_with_unit("spool", "Bytes on disk", Unit::Bytes, self.bytes.clone());
        let waiting = "Records that the collector has not acknowledged";
        r.register("spool_unacknowledged", waiting, self.unacknowledged.clone());
        let oldest = "Age of the oldest record not acknowledged, looked at every 10 s; 0 for none";
        r.register_with_unit("spool_oldest_age", oldest, Unit::Seconds, self.oldest_age.clone());
        let fill = "Share of the cap that is taken, 0 to 1, looked at every 10 s; NaN: not known";
        r.register_with_unit("spool_fill", fill, Unit::Ratios, self.fill.clone());
        let full = "Time until the spool is full, by its growth; NaN: not known, or not growing";
        r.register_with_unit("spool_full_in", full, Unit::Seconds, self.full_in.clone());
        let degraded = "1 while records are kept in memory only";
        r.register("spool_degraded", degraded, self.degraded.clone());
        r.register("spool_appended_records", "Records appended", self.appended.clone());
        r.register("spool_durable_records", "Records made durable", self.durable_records.clone());
        r.register("spool_durable_samples", "Samples made durable", self.durable_samples.clone());
        r.register_with_unit("spool_written", "Written", Unit::Bytes, self.written_bytes.clone());
        r.register("spool_commits", "Successful commits", self.commits.clone());
        let time = "Time that successful commits took";
        r.register_with_unit("spool_commit", time, Unit::Seconds, self.commit_time.clone());
        let last = "Duration of the last commit";
        r.register_with_unit("spool_last_commit", last, Unit::Seconds, self.last_commit.clone());
        r.register("spool_disk_errors", "Failed writes and syncs", self.disk_errors.clone());
        r.register("spool_slow_syncs", "Syncs of more than 5 s", self.slow_syncs.clone());
        let evicted = "Records evicted since the spool was made";
        r.register("spool_evicted_records", evicted, self.evicted_records.clone());
        let corrupt = "Records lost through damage";
        r.register("spool_corrupt_records", corrupt, self.corrupt_records.clone());
        let dropped = "Records dropped from memory";
        r.register("spool_dropped_records", dropped, self.dropped_records.clone());
        let refused = "Records taken from their maker that could not be kept";
        r.register("spool_refused_records", refused, self.refused_records.clone());
    }

    pub(super) fn refresh(&self, spool: &SpoolStatus) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
        for lane in 0..2 {
            let mine = || spool.lanes.iter().filter(|state| state.lane == lane);
            let label = Lane { lane };
            let bytes = mine().map(|state| state.bytes).sum();
            self.bytes.get_or_create(&label).set(whole(bytes));
            let waiting = mine()
                .map(|s| s.next_seq.saturating_sub(s.oldest_seq.max(s.contig_upto + 1)))
                .sum();
            self.unacknowledged.get_or_create(&label).set(whole(waiting));
        }
        let from = &spool.counters;
        self.oldest_age.set(spool.oldest_age_ns.map_or(f64::NAN, seconds));
        self.fill.set(spool.fill.map_or(f64::NAN, |fill| fill.share()));
        let full_in = spool.fill.and_then(|fill| fill.full_in_ns);
        self.full_in.set(full_in.map_or(f64::NAN, seconds));
        self.degraded.set(spool.degraded.into());
        self.last_commit.set(seconds(from.last_commit_ns));
        self.commit_time.inner().store(seconds(from.commit_ns).to_bits(), Relaxed);
        // The thread counts; these only show.
        for (counter, count) in [
            (&self.appended, from.appended_records),
            (&self.durable_records, from.durable_records),
            (&self.durable_samples, from.durable_samples),
            (&self.written_bytes, from.written_bytes),
            (&self.commits, from.commits),
            (&self.disk_errors, from.disk_errors),
            (&self.slow_syncs, from.slow_syncs),
            (&self.evicted_records, from.evicted_records),
            (&self.corrupt_records, from.corrupt_records),
            (&self.dropped_records, from.dropped_records),
            (&self.refused_records, from.refused_records),
        ] {
            counter.inner().store(count, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        metrics::Metrics,
        spool::{Fill, SpoolStatus},
    };

    #[test]
    fn what_the_spool_counts_is_shown_as_counters() {
        let fill = Fill { held_bytes: 3, cap_bytes: 4, full_in_ns: Some(90_000_000_000) };
        let mut status = SpoolStatus {
            oldest_age_ns: Some(2_500_000_000),
            fill: Some(fill),
            ..SpoolStatus::default()
        };
        status.counters.appended_records = 7;
        status.counters.durable_records = 5;
        status.counters.commit_ns = 1_250_000_000;
        let metrics = Metrics::new();
        // Twice: a counter shows what was counted, it does not add it up.
        let _first = metrics.page(&status);
        let page = metrics.page(&status);
        for line in [
            "spool_oldest_age_seconds 2.5",
            "spool_fill_ratios 0.75",
            "spool_full_in_seconds 90.0",
            "spool_appended_records_total 7",
            "spool_durable_records_total 5",
            "spool_commit_seconds_total 1.25",
        ] {
            assert!(page.contains(&format!("vigie_agent_{line}\n")), "{line} in {page}");
        }
    }
}
