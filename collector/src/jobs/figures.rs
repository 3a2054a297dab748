//! Brings the store's own figures to the metrics page.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use domain::chain::chain;
use store::{FileCheck, StoreFigures};
use tokio::sync::watch;

use super::Turns;
use crate::{
    context::Context,
    metrics::{Metrics, State},
};

const PERIOD: Duration = Duration::from_secs(10);

fn gauge(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Words of the states of the file's check on the metrics page.
const CHECKS: [(FileCheck, &str); 5] = [
    (FileCheck::NotNeeded, "not_needed"),
    (FileCheck::Running, "running"),
    (FileCheck::Sound, "ok"),
    (FileCheck::Damaged, "damaged"),
    (FileCheck::Unfinished, "unfinished"),
];

/// Runs until `stop`.
pub async fn read_figures(context: Context, stop: watch::Receiver<bool>) {
    let mut turns = Turns::new(PERIOD, stop);
    while turns.next().await {
        match context.store.figures().await {
            Ok(figures) => show(&context.metrics, &figures),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the store's figures could not be read");
            }
        }
    }
}

fn show(metrics: &Metrics, figures: &StoreFigures) {
    metrics.file_bytes.set(gauge(figures.file_bytes));
    metrics.wal_bytes.set(gauge(figures.wal_bytes));
    metrics.head_records.set(gauge(figures.head_records));
    metrics.store_queue.set(gauge(figures.queue_records));
    #[expect(clippy::cast_precision_loss, reason = "seconds with six decimals")]
    metrics.commit_max_seconds.set(figures.commit_max_us as f64 / 1e6);
    // The store counts since its start, which is this process's.
    metrics.gaps_refused.inner().store(figures.gaps_refused, Relaxed);
    for (check, state) in CHECKS {
        let here = figures.check == check;
        metrics.file_check.get_or_create(&State { state }).set(here.into());
    }
    metrics.file_check_since.set(gauge(figures.check_since_s));
    metrics.file_damaged.set(figures.damaged.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_tells_of_itself_is_shown() {
        let metrics = Metrics::new();
        let running = StoreFigures { check: FileCheck::Running, ..StoreFigures::default() };
        show(&metrics, &running);
        let damaged = StoreFigures {
            check: FileCheck::Damaged,
            check_since_s: 1_772_438_400,
            damaged: true,
            gaps_refused: 9,
            ..StoreFigures::default()
        };
        show(&metrics, &damaged);
        let text = metrics.encode().unwrap();
        for line in [
            "vigie_collector_store_check{state=\"running\"} 0\n",
            "vigie_collector_store_check{state=\"damaged\"} 1\n",
            "vigie_collector_store_check_since_seconds 1772438400\n",
            "vigie_collector_store_damaged 1\n",
            "vigie_collector_gaps_refused_total 9\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
