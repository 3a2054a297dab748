//! Recipients at which the relay broke off a moment ago.

use std::collections::HashMap;

use jiff::Timestamp;

/// Recipients remembered at most; beyond, the one whose pause ends first is forgotten, which costs one
/// early attempt.
const MAX_STALLED: usize = 1_000;

/// Until when mails to a recipient are not tried: a relay that hangs at one of them would hang at each.
#[derive(Debug, Default)]
pub(super) struct Stalled(HashMap<String, Timestamp>);

impl Stalled {
    /// End of the recipient's pause, unless it is over.
    pub(super) fn until(&self, recipient: &str, now: Timestamp) -> Option<Timestamp> {
        self.0.get(recipient).copied().filter(|until| *until > now)
    }

    /// Begins a pause, and forgets those that are over.
    pub(super) fn note(&mut self, recipient: &str, until: Timestamp, now: Timestamp) {
        self.0.retain(|_, until| *until > now);
        if self.0.len() >= MAX_STALLED {
            let first = self.0.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(recipient, _)| recipient.clone()) {
                self.0.remove(&first);
            }
        }
        self.0.insert(recipient.to_owned(), until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_pause_ends_by_itself_and_the_memory_is_bounded() {
        let mut stalled = Stalled::default();
        stalled.note("x", at(10), at(0));
        assert_eq!(stalled.until("x", at(9)), Some(at(10)));
        assert_eq!(stalled.until("x", at(10)), None);
        for n in 0..2 * i64::try_from(MAX_STALLED).unwrap() {
            stalled.note(&n.to_string(), at(1_000 + n), at(20));
        }
        assert_eq!(stalled.0.len(), MAX_STALLED);
        assert_eq!(stalled.until("0", at(20)), None, "the first to end is forgotten");
        assert!(stalled.until("1999", at(20)).is_some());
    }
}
