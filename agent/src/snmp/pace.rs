//! How much one device takes at once, learnt from its failures.

use super::session::Session;

/// Most repetitions of one bulk request.
pub(crate) const MAX_REPETITIONS: u16 = 20;
/// Most instances of one request.
const MAX_GETS: u16 = 40;
/// Most columns of one bulk request.
const MAX_COLUMNS: u16 = 30;
/// Full requests in a row that a device must answer before it is asked for more.
const RAISE_AFTER: u16 = 4;

/// Sizes of requests that a device answered so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    ceiling: u16,
    repetitions: u16,
    gets: u16,
    columns: u16,
    /// Smallest sizes that failed: asked for again only once the failure is explained.
    bad_repetitions: u16,
    bad_columns: u16,
    answered: u16,
}

impl Pace {
    /// Starts at the configured repetitions, which are kept within 1 and 20; 0 stands for the
    /// default.
    #[must_use]
    pub fn new(max_repetitions: u16) -> Self {
        Self::below(match max_repetitions {
            0 => MAX_REPETITIONS,
            configured => configured.min(MAX_REPETITIONS),
        })
    }

    /// For a device that knows no bulk requests: single steps for ever.
    #[must_use]
    pub fn without_bulk() -> Self {
        Self::below(0)
    }

    /// The default for what the session's version can do.
    #[must_use]
    pub fn for_session(session: &Session) -> Self {
        if session.has_bulk() { Self::new(0) } else { Self::without_bulk() }
    }

    fn below(ceiling: u16) -> Self {
        Self {
            ceiling,
            repetitions: ceiling,
            gets: MAX_GETS,
            columns: MAX_COLUMNS,
            bad_repetitions: u16::MAX,
            bad_columns: u16::MAX,
            answered: 0,
        }
    }

    /// Repetitions for a bulk request; 0 means that only single steps work.
    pub(crate) fn repetitions(&self) -> u16 {
        self.repetitions
    }

    /// Instances for one request, at least 1.
    pub(crate) fn gets(&self) -> u16 {
        self.gets
    }

    /// Columns for one bulk request; 0 means that only single steps work.
    pub(crate) fn columns(&self) -> u16 {
        if self.repetitions == 0 { 0 } else { self.columns }
    }

    /// A bulk request with this many repetitions failed.
    pub(crate) fn shrink_repetitions(&mut self, failed: u16) {
        self.repetitions = failed / 2;
        self.bad_repetitions = self.bad_repetitions.min(failed);
        self.answered = 0;
    }

    /// A request for this many instances failed.
    pub(crate) fn shrink_gets(&mut self, failed: usize) {
        self.gets = u16::try_from(failed / 2).unwrap_or(MAX_GETS).max(1);
    }

    /// A bulk request of one repetition with `failed` columns had no answer: `columns` are next.
    pub(crate) fn shrink_columns(&mut self, failed: u16, columns: u16) {
        self.columns = columns.min(self.columns);
        self.bad_columns = self.bad_columns.min(failed);
        self.answered = 0;
    }

    /// A bulk request with `failed` repetitions had no answer: `repetitions` are next.
    pub(crate) fn shrink_rows(&mut self, failed: u16, repetitions: u16) {
        self.repetitions = repetitions.min(self.repetitions);
        self.bad_repetitions = self.bad_repetitions.min(failed);
        self.answered = 0;
    }

    /// A bulk request with `failed` columns had no answer, however small: single steps are next, and
    /// if they work the smallest of bulk requests.
    pub(crate) fn shrink_to_steps(&mut self, failed: u16) {
        self.shrink_columns(failed, 0);
        self.repetitions = self.repetitions.min(1);
    }

    /// A request of this shape was answered. After some of full size, the next may be larger, but
    /// never as large as one that failed.
    pub(crate) fn answered(&mut self, columns: u16, repetitions: u16) {
        let full = columns >= self.columns || repetitions >= self.repetitions;
        if !full || self.is_whole() {
            return;
        }
        self.answered += 1;
        if self.answered < RAISE_AFTER {
            return;
        }
        self.answered = 0;
        if repetitions >= self.repetitions && 0 < self.repetitions {
            let more = self.repetitions + (self.repetitions / 2).max(1);
            let most = self.ceiling.min(self.bad_repetitions.saturating_sub(1));
            self.repetitions = more.min(most).max(self.repetitions);
        }
        if columns >= self.columns {
            let more = self.columns + (self.columns / 2).max(1);
            let most = MAX_COLUMNS.min(self.bad_columns.saturating_sub(1));
            self.columns = more.min(most).max(self.columns);
        }
    }

    /// The failures were not a matter of how many values were asked for.
    pub(crate) fn forgive(&mut self) {
        let gets = self.gets;
        *self = Self { gets, ..Self::below(self.ceiling) };
    }

    /// Forgets the failures: a lost datagram must not slow a device down for ever.
    pub(crate) fn reset(&mut self) {
        *self = Self::below(self.ceiling);
    }

    /// The smallest number of values that a failed request asked for; `None` when none failed.
    pub(crate) fn smallest_failure(&self) -> Option<u16> {
        let bad = self.bad_repetitions.min(self.bad_columns);
        (bad < u16::MAX).then_some(bad)
    }

    fn is_whole(&self) -> bool {
        self.repetitions == self.ceiling && self.columns == MAX_COLUMNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_halve_down_to_single_steps_and_a_reset_starts_again() {
        let mut pace = Pace::new(25);
        let seen: Vec<u16> = std::iter::from_fn(|| {
            let now = pace.repetitions();
            pace.shrink_repetitions(now);
            (now > 0).then_some(now)
        })
        .collect();
        assert_eq!(seen, [20, 10, 5, 2, 1]);
        assert_eq!((pace.repetitions(), pace.columns()), (0, 0));
        pace.shrink_gets(1);
        assert_eq!(pace.gets(), 1);
        pace.reset();
        assert_eq!(pace, Pace::new(0));
    }

    #[test]
    fn a_device_that_answers_is_asked_for_more_but_never_for_what_failed() {
        let mut pace = Pace::new(20);
        pace.shrink_repetitions(20);
        for _ in 0..100 {
            pace.answered(3, pace.repetitions());
        }
        assert_eq!((pace.repetitions(), pace.columns()), (19, MAX_COLUMNS));
        pace.shrink_columns(MAX_COLUMNS, 4);
        for _ in 0..100 {
            pace.answered(pace.columns(), 1);
        }
        assert_eq!((pace.repetitions(), pace.columns()), (19, MAX_COLUMNS - 1));
        pace.forgive();
        assert_eq!(pace, Pace::new(20));
    }

    #[test]
    fn a_raise_is_slow() {
        let mut pace = Pace::new(20);
        pace.shrink_repetitions(20);
        let sizes: Vec<u16> = (0..3 * RAISE_AFTER)
            .map(|_| {
                pace.answered(1, pace.repetitions());
                pace.repetitions()
            })
            .collect();
        assert_eq!(sizes, [10, 10, 10, 15, 15, 15, 15, 19, 19, 19, 19, 19]);
    }

    #[test]
    fn without_bulk_there_is_nothing_to_raise() {
        let mut pace = Pace::without_bulk();
        for _ in 0..10 {
            pace.answered(1, 1);
        }
        pace.reset();
        pace.forgive();
        assert_eq!((pace.repetitions(), pace.columns()), (0, 0));
    }
}
