//! Notices a store whose writing thread has gone: the process must not go on looking healthy.

use std::time::Duration;

use store::StoreError;
use tokio::sync::watch;

use super::Turns;
use crate::context::Context;

const PERIOD: Duration = Duration::from_secs(10);
/// Refusals one after the other before the store is given up: a store that is only busy refuses
/// too.
const REFUSALS: u32 = 3;

/// Runs until `stop`, or until the store is closed.
pub async fn watch_store(context: Context, stop: watch::Receiver<bool>) {
    let mut refusals = 0;
    let mut turns = Turns::new(PERIOD, stop);
    while turns.next().await {
        // Nothing to note: only whether the writing thread answers.
        match context.store.touch_agents(Vec::new()).await {
            Err(StoreError::Closed) => refusals += 1,
            Ok(()) | Err(_) => refusals = 0,
        }
        if refusals >= REFUSALS {
            tracing::error!(refusals, "the store does not answer any more");
            return;
        }
    }
}
