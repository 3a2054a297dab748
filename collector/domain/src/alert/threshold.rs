//! One alert on a figure, with hysteresis and hold.

use jiff::{SignedDuration, Timestamp};

/// Which side of the threshold is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// High figures are bad.
    Above,
    /// Low figures are bad.
    Below,
}

/// When an alert begins and ends. `clear` lies on the good side of `raise`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Which side is bad.
    pub bad: Bad,
    /// Reaching it begins a breach.
    pub raise: f64,
    /// Passing it ends one.
    pub clear: f64,
    /// How long a breach must last before it is told.
    pub hold: SignedDuration,
}

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlertState {
    /// No breach.
    #[default]
    Inactive,
    /// In breach for less than the hold.
    Pending {
        /// Start of the breach.
        since: Timestamp,
    },
    /// In breach, and told.
    Firing {
        /// Start of the breach, not of the notification.
        since: Timestamp,
    },
}

impl Threshold {
    /// Moves an alert by one reading taken at `at`.
    ///
    /// A reading between `clear` and `raise` keeps a breach that stands and begins none. There is no
    /// call for a reading that is missing: no data neither raises nor clears.
    #[must_use]
    pub fn step(&self, state: AlertState, reading: f64, at: Timestamp) -> AlertState {
        let limit = if state == AlertState::Inactive { self.raise } else { self.clear };
        let breached = match self.bad {
            Bad::Above => reading >= limit,
            Bad::Below => reading <= limit,
        };
        if !breached {
            return AlertState::Inactive;
        }
        match state {
            AlertState::Pending { since } if at.duration_since(since) >= self.hold => {
                AlertState::Firing { since }
            }
            AlertState::Pending { .. } | AlertState::Firing { .. } => state,
            AlertState::Inactive if self.hold.is_zero() => AlertState::Firing { since: at },
            AlertState::Inactive => AlertState::Pending { since: at },
        }
    }
}

/// An alert and when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alert {
    /// Where it stands.
    pub state: AlertState,
    last: Option<Timestamp>,
}

impl Alert {
    /// Takes a reading in. A reading that is not newer than the last is ignored; after a hole of more
    /// than `max_gap` a pending breach starts anew, since nobody saw it last.
    pub fn observe(
        &mut self,
        threshold: &Threshold,
        reading: f64,
        at: Timestamp,
        max_gap: SignedDuration,
    ) {
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        let hole = self.last.is_some_and(|last| at.duration_since(last) > max_gap);
        if hole && matches!(self.state, AlertState::Pending { .. }) {
            self.state = AlertState::Inactive;
        }
        self.state = threshold.step(self.state, reading, at);
        self.last = Some(at);
    }

    /// Time of the newest reading.
    #[must_use]
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// An alert that was told before the collector restarted.
    #[must_use]
    pub fn firing_since(since: Timestamp) -> Self {
        Self { state: AlertState::Firing { since }, last: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reading a minute; the state after each: `.` inactive, `P` pending, `F` firing.
    fn states(threshold: Threshold, readings: &[f64]) -> String {
        let mut state = AlertState::Inactive;
        let mut out = String::new();
        for (minute, reading) in readings.iter().enumerate() {
            let at = Timestamp::from_second(60 * i64::try_from(minute).unwrap()).unwrap();
            state = threshold.step(state, *reading, at);
            out.push(match state {
                AlertState::Inactive => '.',
                AlertState::Pending { .. } => 'P',
                AlertState::Firing { .. } => 'F',
            });
        }
        out
    }

    fn disk(hold_minutes: i64) -> Threshold {
        let hold = SignedDuration::from_mins(hold_minutes);
        Threshold { bad: Bad::Above, raise: 0.9, clear: 0.85, hold }
    }

    #[test]
    fn a_breach_shorter_than_the_hold_is_never_told() {
        assert_eq!(states(disk(3), &[0.9, 0.95, 0.9, 0.1]), "PPP.");
    }

    #[test]
    fn between_clear_and_raise_nothing_changes() {
        assert_eq!(states(disk(0), &[0.87, 0.9, 0.87, 0.86, 0.84, 0.87]), ".FFF..");
    }

    #[test]
    fn low_figures_can_be_the_bad_ones() {
        let days_left =
            Threshold { bad: Bad::Below, raise: 15.0, clear: 16.0, hold: SignedDuration::ZERO };
        assert_eq!(states(days_left, &[20.0, 15.0, 15.5, 90.0]), ".FF.");
    }

    #[test]
    fn a_breach_that_nobody_watched_starts_anew() {
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap();
        let mut alert = Alert::default();
        let gap = SignedDuration::from_mins(3);
        alert.observe(&disk(5), 0.95, at(0), gap);
        alert.observe(&disk(5), 0.95, at(10), gap);
        assert_eq!(alert.state, AlertState::Pending { since: at(10) });
        for minute in 11..=15 {
            alert.observe(&disk(5), 0.95, at(minute), gap);
        }
        assert_eq!(alert.state, AlertState::Firing { since: at(10) });
        alert.observe(&disk(5), 0.1, at(9), gap);
        assert_eq!(alert.state, AlertState::Firing { since: at(10) });
    }

    proptest! {
        #[test]
        fn firing_means_an_unbroken_breach(
            hold in 1..9_i64,
            readings in prop::collection::vec(0.8..1.0_f64, 0..64),
        ) {
            for (minute, _) in states(disk(hold), &readings).match_indices('F') {
                let held = usize::try_from(hold).unwrap();
                prop_assert!(minute >= held);
                prop_assert!(readings[minute - held..=minute].iter().all(|r| *r >= 0.85));
            }
        }
    }
}
