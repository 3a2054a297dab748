//! A target's state from its last rounds: two of three decide.

use jiff::{SignedDuration, Timestamp};

use crate::metric::Outcome;

/// Rounds that are looked at.
pub const WINDOW: usize = 3;
/// Failed rounds of the window that make a target down.
pub const NEEDED: usize = 2;
/// Rounds older than this many periods say nothing about now.
const FRESH_PERIODS: i32 = 2;
/// Time for a round to arrive, on top of the periods.
const TRANSIT: SignedDuration = SignedDuration::from_secs(20);

/// One round's answer from a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When it was asked, server time.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is known of a target now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetState {
    /// It answers.
    Up,
    /// It does not, by the evidence of a live agent.
    Down,
    /// It does not, and something before it does not either.
    Unreachable,
    /// Nobody knows: no fresh evidence.
    Unknown,
}

/// The last rounds of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rounds {
    /// Oldest first, at most [`WINDOW`].
    window: Vec<Seen>,
    last_good: Option<Timestamp>,
    first_bad: Option<Timestamp>,
    first_good: Option<Timestamp>,
}

/// Whether an outcome speaks for or against the target; `None` when it says nothing of it.
#[must_use]
pub fn is_good(outcome: Outcome) -> Option<bool> {
    match outcome {
        Outcome::Ok => Some(true),
        Outcome::NotAsked => None,
        Outcome::Timeout
        | Outcome::Refused
        | Outcome::Unreachable
        | Outcome::Malformed
        | Outcome::Tls
        | Outcome::Name
        | Outcome::Failed => Some(false),
    }
}

impl Rounds {
    /// Takes a round in. One that is not newer than the newest is ignored: late data rewrites
    /// history, never the present.
    pub fn push(&mut self, seen: Seen) {
        let Some(good) = is_good(seen.outcome) else { return };
        if self.window.last().is_some_and(|last| seen.at <= last.at) {
            return;
        }
        let was_good = self.window.last().and_then(|last| is_good(last.outcome));
        if good {
            self.last_good = Some(seen.at);
            if was_good != Some(true) {
                self.first_good = Some(seen.at);
            }
        } else if was_good != Some(false) {
            self.first_bad = Some(seen.at);
        }
        if self.window.len() == WINDOW {
            self.window.remove(0);
        }
        self.window.push(seen);
    }

    /// Up, down or unknown; never [`TargetState::Unreachable`], which takes the topology.
    #[must_use]
    pub fn state(&self, now: Timestamp, period: SignedDuration) -> TargetState {
        if !self.is_fresh(now, period) {
            return TargetState::Unknown;
        }
        let bad = self.window.iter().filter(|seen| is_good(seen.outcome) == Some(false)).count();
        if bad >= NEEDED {
            TargetState::Down
        } else if bad == self.window.len() {
            // One failed round and nothing else: not enough to say anything.
            TargetState::Unknown
        } else {
            TargetState::Up
        }
    }

    fn is_fresh(&self, now: Timestamp, period: SignedDuration) -> bool {
        self.window
            .last()
            .is_some_and(|last| now.duration_since(last.at) <= period * FRESH_PERIODS + TRANSIT)
    }

    /// Newest round.
    #[must_use]
    pub fn latest(&self) -> Option<Seen> {
        self.window.last().copied()
    }

    /// The rounds looked at, oldest first.
    #[must_use]
    pub fn rounds(&self) -> &[Seen] {
        &self.window
    }

    /// Newest round in which the target answered.
    #[must_use]
    pub fn last_good(&self) -> Option<Timestamp> {
        self.last_good
    }

    /// Start of the newest run of failed rounds.
    #[must_use]
    pub fn first_bad(&self) -> Option<Timestamp> {
        self.first_bad
    }

    /// Start of the newest run of answered rounds.
    #[must_use]
    pub fn first_good(&self) -> Option<Timestamp> {
        self.first_good
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: SignedDuration = SignedDuration::from_secs(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    /// `!` failed, `.` answered, `?` the agent could not ask: a round each 10 s.
    fn health(readings: &str) -> Rounds {
        let mut health = Rounds::default();
        for (i, reading) in readings.chars().enumerate() {
            let outcome = match reading {
                '!' => Outcome::Timeout,
                '.' => Outcome::Ok,
                _ => Outcome::NotAsked,
            };
            health.push(Seen { at: at(10 * i64::try_from(i).unwrap()), outcome });
        }
        health
    }

    fn check(readings: &str, expected: TargetState) {
        let end = 10 * i64::try_from(readings.len()).unwrap();
        assert_eq!(health(readings).state(at(end), PERIOD), expected, "{readings}");
    }

    #[test]
    fn two_failed_rounds_of_three_make_a_target_down() {
        check("...!", TargetState::Up);
        check("..!!", TargetState::Down);
        check(".!.!", TargetState::Down);
        check("!!", TargetState::Down);
        check("!!!.", TargetState::Down);
        check("!!..", TargetState::Up);
    }

    #[test]
    fn one_failed_round_of_a_new_target_says_nothing() {
        check("!", TargetState::Unknown);
        check("", TargetState::Unknown);
    }

    #[test]
    fn what_the_agent_could_not_ask_is_no_evidence() {
        check("..????", TargetState::Unknown);
        check("..?", TargetState::Up);
        check("!?!", TargetState::Down);
    }

    #[test]
    fn old_rounds_say_nothing_about_now() {
        let health = health("!!!");
        assert_eq!(health.state(at(20 + 40), PERIOD), TargetState::Down);
        assert_eq!(health.state(at(20 + 41), PERIOD), TargetState::Unknown);
    }

    #[test]
    fn a_late_round_does_not_change_the_present() {
        let mut health = health("..!!");
        let before = health.clone();
        health.push(Seen { at: at(5), outcome: Outcome::Ok });
        assert_eq!(health, before);
    }

    #[test]
    fn runs_remember_where_they_began() {
        let health = health("..!!!..");
        assert_eq!(health.first_bad(), Some(at(20)));
        assert_eq!(health.first_good(), Some(at(50)));
        assert_eq!(health.last_good(), Some(at(60)));
    }

    proptest! {
        #[test]
        fn down_takes_two_failures_in_the_last_three_askings(readings in "[!.?]{0,20}") {
            let end = 10 * i64::try_from(readings.len()).unwrap();
            if health(&readings).state(at(end), PERIOD) == TargetState::Down {
                let asked: Vec<char> = readings.chars().filter(|c| *c != '?').collect();
                let last = &asked[asked.len().saturating_sub(3)..];
                prop_assert!(last.iter().filter(|c| **c == '!').count() >= 2);
            }
        }
    }
}
