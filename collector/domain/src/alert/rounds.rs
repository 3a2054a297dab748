//! A target's state from its last rounds: two of three decide.

use jiff::{SignedDuration, Timestamp};

use crate::metric::Outcome;

/// Rounds that are looked at.
pub const WINDOW: usize = 3;
/// Failed rounds of the window that make a target down.
pub const NEEDED: usize = 2;
/// Failures closer together than this are a blip of the path, not a state of the target.
pub const MIN_OUTAGE: SignedDuration = SignedDuration::from_secs(5);
/// Rounds older than this many periods say nothing about now.
const FRESH_PERIODS: i32 = 2;
/// Time for a round to arrive, on top of the periods.
const TRANSIT: SignedDuration = SignedDuration::from_secs(20);

/// Whether a round of this age still speaks of the present.
#[must_use]
pub fn is_fresh(age: SignedDuration, period: SignedDuration) -> bool {
    age <= period * FRESH_PERIODS + TRANSIT
}

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
        let fresh = self.latest().is_some_and(|seen| is_fresh(now.duration_since(seen.at), period));
        if !fresh {
            return TargetState::Unknown;
        }
        let is_bad = |seen: &&Seen| is_good(seen.outcome) == Some(false);
        let bad = self.window.iter().filter(is_bad).count();
        let first = self.window.iter().find(is_bad).map_or(now, |seen| seen.at);
        let first = self.first_bad.map_or(first, |start| start.min(first));
        let last = self.window.iter().rev().find(is_bad).map_or(now, |seen| seen.at);
        if bad >= NEEDED && last.duration_since(first) >= MIN_OUTAGE {
            TargetState::Down
        } else if bad == self.window.len() {
            // Failures and nothing else, but too few or too close: not enough to say anything.
            TargetState::Unknown
        } else {
            TargetState::Up
        }
    }

    /// True when a target that was down has come back for good: it answered in every round of the
    /// window, for a whole period at least. One good round between failures ends nothing.
    #[must_use]
    pub fn has_recovered(&self, now: Timestamp, period: SignedDuration) -> bool {
        self.state(now, period) == TargetState::Up
            && self.window.len() == WINDOW
            && self.window.iter().all(|seen| is_good(seen.outcome) == Some(true))
            && self
                .first_good
                .zip(self.latest())
                .is_some_and(|(first, latest)| latest.at.duration_since(first) >= period)
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
    fn failures_within_seconds_are_a_blip() {
        let mut health = health("..");
        for second in [20, 21, 22] {
            health.push(Seen { at: at(second), outcome: Outcome::Timeout });
        }
        assert_ne!(health.state(at(23), PERIOD), TargetState::Down);
        health.push(Seen { at: at(26), outcome: Outcome::Timeout });
        assert_eq!(health.state(at(26), PERIOD), TargetState::Down);
    }

    #[test]
    fn one_good_round_between_failures_is_no_recovery() {
        let recovered = |readings: &str| {
            let end = 10 * i64::try_from(readings.len()).unwrap();
            health(readings).has_recovered(at(end), PERIOD)
        };
        assert!(!recovered("!!!."));
        assert!(!recovered("!!!.."));
        assert!(!recovered("!.!.!."));
        assert!(!recovered("!!!..?"));
        assert!(recovered("!!!..."));
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
