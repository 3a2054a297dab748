//! Brings the store's own figures to the metrics page.

use std::time::Duration;

use tokio::sync::watch;

use super::Turns;
use crate::context::Context;

const PERIOD: Duration = Duration::from_secs(10);

fn gauge(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Runs until `stop`.
pub async fn read_figures(context: Context, stop: watch::Receiver<bool>) {
    let mut turns = Turns::new(PERIOD, stop);
    while turns.next().await {
        match context.store.figures().await {
            Ok(figures) => {
                let metrics = &context.metrics;
                metrics.file_bytes.set(gauge(figures.file_bytes));
                metrics.wal_bytes.set(gauge(figures.wal_bytes));
                metrics.head_records.set(gauge(figures.head_records));
                metrics.store_queue.set(gauge(figures.queue_records));
                #[expect(clippy::cast_precision_loss, reason = "seconds with six decimals")]
                metrics.commit_max_seconds.set(figures.commit_max_us as f64 / 1e6);
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store's figures could not be read"
            ),
        }
    }
}
