//! Periodic work, one file per job. A job that fails says so and tries again at its next turn.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

mod alive;
mod certificate;
mod figures;
mod maintain;
mod presence;

pub use alive::{WATCH_STORE_EVERY, watch_store};
pub use certificate::renew_certificate;
pub use figures::read_figures;
pub use maintain::maintain;
pub use presence::note_presence;

/// The turns of a job.
struct Turns {
    tick: Interval,
    stop: watch::Receiver<bool>,
}

impl Turns {
    fn new(period: Duration, stop: watch::Receiver<bool>) -> Self {
        let mut tick = interval(period);
        // After a stall one turn is enough.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { tick, stop }
    }

    /// Waits for the next turn, the first of which is now; false when the work must end.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.tick.tick() => true,
            _ = self.stop.changed() => false,
        }
    }
}
