//! Decisions that are not tried now: those that the store refused, and those that it had before.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// Decisions remembered at most; beyond, all are forgotten, which costs one more attempt of each.
const MAX_HELD: usize = 10_000;
/// Pause before a refused decision is tried again: the first, and the longest.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// A decision that was not made for so long is a new one when it comes again.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug)]
struct Entry {
    until: Timestamp,
    pause: Duration,
    /// When the decision was last made.
    made: Timestamp,
}

/// By what identifies a decision.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<String, Entry>);

impl Held {
    /// Whether a decision that is made now has to wait.
    pub(super) fn holds(&mut self, decision: &str, now: Timestamp) -> bool {
        let Some(entry) = self.0.get_mut(decision) else { return false };
        if is_forgotten(entry, now) {
            self.0.remove(decision);
            return false;
        }
        entry.made = now;
        now < entry.until
    }

    /// The store refused it, but not the others: it waits, longer each time.
    pub(super) fn refused(&mut self, decision: String, now: Timestamp) {
        let before = self.0.get(&decision).map(|entry| entry.pause);
        let pause = before.map_or(PAUSE, |before| (before * 2).min(PAUSE_MAX));
        let until = SignedDuration::try_from(pause).map_or(now, |pause| now + pause);
        self.hold(decision, Entry { until, pause, made: now });
    }

    /// The store had it before: it is not made again while it stands.
    pub(super) fn known(&mut self, decision: String, now: Timestamp) {
        self.hold(decision, Entry { until: Timestamp::MAX, pause: PAUSE, made: now });
    }

    fn hold(&mut self, decision: String, entry: Entry) {
        let now = entry.made;
        if self.0.len() >= MAX_HELD {
            self.0.retain(|_, entry| !is_forgotten(entry, now));
        }
        if self.0.len() >= MAX_HELD {
            tracing::warn!(held = MAX_HELD, "too many refused decisions to remember");
            self.0.clear();
        }
        self.0.insert(decision, entry);
    }
}

fn is_forgotten(entry: &Entry, now: Timestamp) -> bool {
    now.duration_since(entry.made) >= FORGOTTEN_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_refused_decision_is_tried_at_growing_distances() {
        let mut held = Held::default();
        let mut now = 0;
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert!(!held.holds("a", at(now)));
            held.refused("a".to_owned(), at(now));
            assert!(held.holds("a", at(now + pause - 1)), "{pause}");
            now += pause;
        }
        assert!(!held.holds("b", at(now)));
    }

    #[test]
    fn what_the_store_had_is_held_while_it_is_decided_and_the_memory_is_bounded() {
        let mut held = Held::default();
        held.known("a".to_owned(), at(0));
        for minute in 1..60 {
            assert!(held.holds("a", at(60 * minute)));
        }
        // Other entries come long after anybody asked for it.
        held.refused("b".to_owned(), at(60 * 80));
        assert!(!held.holds("a", at(60 * 80)));
        for n in 0..2 * MAX_HELD {
            held.refused(n.to_string(), at(60 * 80));
            assert!(held.0.len() <= MAX_HELD);
        }
    }
}
