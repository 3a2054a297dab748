//! Keeps the store tidy: compaction, rollups, retention, checkpoint, a bounded step at a time.

use std::time::Duration;

use domain::chain::chain;
use store::MaintenanceReport;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::context::Context;

/// Pause when there was nothing to do.
const IDLE: Duration = Duration::from_secs(30);
/// Pause after a failure.
const FAILED: Duration = Duration::from_mins(1);
/// After a step, the job rests for so many times as long as it took: commits come first.
const REST: u32 = 2;
/// Shortest rest.
const SHORT: Duration = Duration::from_millis(20);

/// Runs until `stop`.
pub async fn maintain(context: Context, mut stop: watch::Receiver<bool>) {
    loop {
        let started = Instant::now();
        let pause = match context.store.maintain(context.clock.now_ms()).await {
            Ok(report) if report == MaintenanceReport::default() => IDLE,
            Ok(report) => {
                tracing::debug!(
                    blocks = report.blocks,
                    samples = report.samples,
                    head_rows = report.head_rows,
                    access_days = report.access_days,
                    expired = report.expired,
                    elapsed_ms = started.elapsed().as_secs_f64() * 1e3,
                    "a step of upkeep"
                );
                (started.elapsed() * REST).max(SHORT)
            }
            Err(error) => {
                context.metrics.upkeep_failures.inc();
                tracing::error!(error = chain(&error), "a step of upkeep failed");
                FAILED
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.changed() => return,
        }
    }
}
