//! So many in a second, and no more than a burst at once. Pure.

const SECOND_NS: u64 = 1_000_000_000;

/// Counts by the time at which all that was taken would have been due (the generic cell rate algorithm,
/// ITU-T I.371): one number instead of a fill level and its last change. All in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    interval: u64,
    tolerance: u64,
    due_at: u64,
}

impl Bucket {
    /// `per_s` and `burst` are at least 1.
    pub(super) const fn new(per_s: u64, burst: u64) -> Self {
        let interval = SECOND_NS / per_s;
        Self { interval, tolerance: interval * (burst - 1), due_at: 0 }
    }

    /// Takes one at `now_ns`, a time that does not go back; false when there is none left.
    pub(super) fn take(&mut self, now_ns: u64) -> bool {
        let due = self.due_at.max(now_ns);
        let has_one = due - now_ns <= self.tolerance;
        if has_one {
            self.due_at = due.saturating_add(self.interval);
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_at_once_and_the_rate_after_it() {
        let mut bucket = Bucket::new(10, 4);
        let now = 5 * SECOND_NS;
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, now), 4);
        assert_eq!(taken(&mut bucket, now + SECOND_NS / 10 - 1), 0);
        assert_eq!(taken(&mut bucket, now + SECOND_NS / 10), 1);
        // What was not taken is not saved beyond a burst.
        assert_eq!(taken(&mut bucket, now + 100 * SECOND_NS), 4);
    }

    #[test]
    fn no_more_than_the_rate_and_a_burst_is_taken_in_any_time() {
        let mut bucket = Bucket::new(50, 100);
        let taken = (0..10_000_u64).filter(|ms| bucket.take(ms * 1_000_000)).count();
        assert_eq!(taken, 100 + 10 * 50 - 1);
    }
}
