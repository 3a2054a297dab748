//! When to connect again: never at once with everybody else, never not at all.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
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
}
