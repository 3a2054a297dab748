//! Notices a store whose writing thread has gone: the process must not go on looking healthy.

use std::time::Duration;

use store::StoreError;
use tokio::{sync::watch, time::timeout};

use super::Turns;
use crate::context::Context;

/// Usual time between two looks.
pub const WATCH_STORE_EVERY: Duration = Duration::from_secs(10);
/// Refusals one after the other before the store is given up: a store that is only busy refuses
/// too.
const REFUSALS: u32 = 3;
/// An answer that takes longer is told of. The thread lives, but its disk may not: a start anew would
/// not help.
const ANSWER: Duration = Duration::from_mins(1);

/// Runs until `stop`, or until the store is closed.
pub async fn watch_store(context: Context, period: Duration, stop: watch::Receiver<bool>) {
    let mut refusals = 0;
    let mut turns = Turns::new(period, stop);
    while turns.next().await {
        // Nothing to note: only whether the writing thread answers.
        match timeout(ANSWER, context.store.touch_agents(Vec::new())).await {
            Ok(Err(StoreError::Closed)) => refusals += 1,
            Ok(Ok(()) | Err(_)) => refusals = 0,
            Err(_elapsed) => {
                tracing::error!(waited_s = ANSWER.as_secs(), "the store keeps its callers waiting");
            }
        }
        if refusals >= REFUSALS {
            tracing::error!(refusals, "the store does not answer any more");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use store::{SampleOptions, sqlite::SqliteStore};

    use super::*;
    use crate::{clock::SystemClock, config::Config, wire};

    const SHORT: Duration = Duration::from_millis(10);
    const SOON: Duration = Duration::from_secs(20);

    fn parts() -> (tempfile::TempDir, Arc<SqliteStore>, Context) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vigie.db");
        let store = Arc::new(SqliteStore::open(&path, SampleOptions::new(wire::rounds)).unwrap());
        let text = format!("data_dir = \"{}\"\n", dir.path().display());
        let config = Arc::new(Config::parse(&text, "test").unwrap());
        let clock = Arc::new(SystemClock);
        let context = Context::new(config, store.clone(), clock, [0; 32], [0; 32]);
        (dir, store, context)
    }

    #[tokio::test]
    async fn a_store_whose_writing_thread_died_is_given_up() {
        let (_dir, store, context) = parts();
        store.break_writer().await;
        let (_stop, stopped) = watch::channel(false);
        timeout(SOON, watch_store(context, SHORT, stopped)).await.expect("given up");
    }

    #[tokio::test]
    async fn a_store_that_lives_is_watched_until_the_stop() {
        let (_dir, _store, context) = parts();
        let (stop, stopped) = watch::channel(false);
        let mut watch = tokio::spawn(watch_store(context, SHORT, stopped));
        let long = SHORT * 10 * REFUSALS;
        assert!(timeout(long, &mut watch).await.is_err(), "it ended by itself");
        stop.send(true).unwrap();
        timeout(SOON, watch).await.expect("in time").unwrap();
    }
}
