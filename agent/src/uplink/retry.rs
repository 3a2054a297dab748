//! When to connect again: never at once with everybody else, never not at all.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Longest ordinary wait, in first waits; and [`MAX_WAIT`] at most.
const MAX_FACTOR: u32 = 300;
/// Longest ordinary wait.
const MAX_WAIT: Duration = Duration::from_mins(5);
/// Longest wait that a collector may ask for.
const MAX_ASKED: Duration = Duration::from_mins(10);
/// Waits of a refused identity, in ordinary waits: somebody has to act first.
const REFUSED_FACTOR: u32 = 60;
/// A session that lived this long was a good one: the next failure is the first again.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// Once the collector answers again, the wait ends within this: not at once, since a whole region
/// may have its line back in the same second.
const SPREAD_WHEN_BACK: Duration = Duration::from_secs(5);

/// How a session, or the attempt at one, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It failed, after this long.
    Failed(Duration),
    /// The agent itself wants another: the connection was old, an epoch is new.
    Renew,
    /// The collector asked to come back later.
    Away {
        /// At least.
        min: Duration,
        /// And up to this much later.
        spread: Duration,
    },
    /// The collector does not know this identity, or has revoked it.
    Refused,
}

/// Full jitter: each wait is drawn between nothing and a bound that doubles.
#[derive(Debug, Clone)]
pub struct Retry {
    base: Duration,
    failures: u32,
}

impl Retry {
    /// The first wait is at most `base`.
    #[must_use]
    pub fn new(base: Duration) -> Self {
        Self { base, failures: 0 }
    }

    /// How long to wait; `draw` is uniform in 0..1.
    pub fn wait(&mut self, ended: Ended, draw: f64) -> Duration {
        let draw = draw.clamp(0.0, 1.0);
        match ended {
            Ended::Renew => self.base.mul_f64(draw),
            Ended::Away { min, spread } => {
                self.failures = 0;
                let min = min.min(MAX_ASKED);
                // A collector that asks for nothing is not hammered.
                (min + spread.min(MAX_ASKED.saturating_sub(min)).mul_f64(draw))
                    .max(self.base.mul_f64(draw))
            }
            Ended::Refused => {
                let wait = (self.base * REFUSED_FACTOR).clamp(self.base, MAX_WAIT);
                wait + wait.mul_f64(draw)
            }
            Ended::Failed(lived) => {
                if lived >= GOOD_SESSION {
                    self.failures = 0;
                }
                let factor = MAX_FACTOR.min(1 << self.failures.min(20));
                let bound = self.base.saturating_mul(factor).min(MAX_WAIT);
                self.failures = self.failures.saturating_add(1);
                bound.mul_f64(draw)
            }
        }
    }
}

/// Waits for `wait` after a session that `ended` so, or less when `answers` counts that the collector
/// answers again: since the attempt began, which marked the count as seen, or meanwhile. A wait that
/// the collector ordered is kept. `draw` is uniform in 0..1.
pub async fn pause(wait: Duration, ended: Ended, answers: &mut watch::Receiver<u64>, draw: f64) {
    let until = Instant::now() + wait;
    let answer = async {
        // Nobody tells any more when the rounds have ended; then the wait is as long as it is.
        if !matches!(ended, Ended::Failed(_)) || answers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = sleep_until(until) => {}
        () = answer => {
            let soon = Instant::now() + SPREAD_WHEN_BACK.mul_f64(draw.clamp(0.0, 1.0));
            sleep_until(soon.min(until)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_five_minutes_and_never_end() {
        let mut retry = Retry::new(S);
        let waits: Vec<_> =
            (0..12).map(|_| retry.wait(Ended::Failed(Duration::ZERO), 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        for _ in 0..10_000 {
            assert!(retry.wait(Ended::Failed(Duration::ZERO), 0.5) <= MAX_WAIT);
        }
    }

    #[test]
    fn a_good_session_starts_the_waits_anew() {
        let mut retry = Retry::new(S);
        for _ in 0..5 {
            retry.wait(Ended::Failed(S), 1.0);
        }
        assert_eq!(retry.wait(Ended::Failed(GOOD_SESSION), 1.0), S);
    }

    #[test]
    fn what_a_collector_asks_for_is_bounded() {
        let mut retry = Retry::new(S);
        let away = |min, spread| Ended::Away { min, spread };
        let year = Duration::from_hours(8_766);
        assert_eq!(retry.wait(away(year, year), 1.0), MAX_ASKED);
        assert_eq!(retry.wait(away(S, 4 * S), 0.5), 3 * S);
        assert_eq!(retry.wait(away(Duration::ZERO, Duration::ZERO), 0.5), S / 2);
    }

    #[test]
    fn a_refused_identity_asks_rarely() {
        let mut retry = Retry::new(S);
        assert_eq!(retry.wait(Ended::Refused, 0.0), 60 * S);
        assert_eq!(retry.wait(Ended::Refused, 1.0), 120 * S);
    }

    const FAILED: Ended = Ended::Failed(Duration::ZERO);

    /// How long the pause after `ended` is when the collector answers again at `at`.
    async fn paused(wait: Duration, ended: Ended, at: Duration, draw: f64) -> Duration {
        let (answers, mut seen) = watch::channel(0);
        let began = Instant::now();
        let tell = async {
            sleep(at).await;
            answers.send_modify(|count| *count += 1);
            // The other side lives on.
            sleep(wait).await;
        };
        let mut took = Duration::ZERO;
        tokio::join!(tell, async {
            pause(wait, ended, &mut seen, draw).await;
            took = began.elapsed();
        });
        took
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_back_ends_the_pause_within_five_seconds() {
        assert_eq!(paused(300 * S, FAILED, 20 * S, 0.0).await, 20 * S);
        assert_eq!(paused(300 * S, FAILED, 20 * S, 0.5).await, 20 * S + S * 5 / 2);
        assert_eq!(paused(300 * S, FAILED, 20 * S, 1.0).await, 25 * S);
        assert_eq!(paused(21 * S, FAILED, 20 * S, 1.0).await, 21 * S, "it is never longer");
        assert_eq!(paused(10 * S, FAILED, 20 * S, 0.0).await, 10 * S);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_came_back_during_the_attempt_counts() {
        let (answers, mut seen) = watch::channel(0);
        answers.send_modify(|count| *count += 1);
        let began = Instant::now();
        pause(300 * S, FAILED, &mut seen, 1.0).await;
        assert_eq!(began.elapsed(), 5 * S);
        // And once only: an attempt that fails again waits its turn.
        let began = Instant::now();
        pause(300 * S, FAILED, &mut seen, 1.0).await;
        assert_eq!(began.elapsed(), 300 * S);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_collector_ordered_is_kept() {
        let away = Ended::Away { min: 60 * S, spread: S };
        for ended in [away, Ended::Refused, Ended::Renew] {
            assert_eq!(paused(60 * S, ended, S, 0.0).await, 60 * S);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_rounds_the_pause_is_as_long_as_it_is() {
        let (answers, mut seen) = watch::channel(0);
        drop(answers);
        let began = Instant::now();
        pause(30 * S, FAILED, &mut seen, 0.0).await;
        assert_eq!(began.elapsed(), 30 * S);
    }
}
