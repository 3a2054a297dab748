//! Increase of counters between samples, and on fixed edges.
//!
//! A counter tells something only between two readings of one life of its device. Between them it is
//! taken to grow evenly, so that its value at an edge is
//! `floor(before + increase * (edge - t_before) / (t_after - t_before))`: whole units, exact integer
//! arithmetic, and the increases of neighbouring buckets add up to the increase of the readings.

use crate::sample::{Sample, Span};

/// Two readings further apart than this many periods leave what lies between unknown.
pub const MAX_GAP_PERIODS: i64 = 3;

/// A stretch `[after_ms, upto_ms]` within which a counter may have started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// Last reading known to be of the life before.
    pub after_ms: i64,
    /// First reading known to be of the life after.
    pub upto_ms: i64,
}

/// What a counter grew by between two readings of one life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Time of the first reading.
    pub from_ms: i64,
    /// Time of the second reading, later than `from_ms`.
    pub to_ms: i64,
    /// The first reading.
    pub value: u64,
    /// Growth in the counter's units.
    pub increase: u64,
}

impl Interval {
    /// Milliseconds between the readings.
    #[must_use]
    pub fn length_ms(&self) -> u64 {
        self.to_ms.abs_diff(self.from_ms)
    }

    /// Growth up to an instant, floored to whole units.
    fn upto(&self, at_ms: i64) -> u64 {
        let part = at_ms.clamp(self.from_ms, self.to_ms).abs_diff(self.from_ms);
        let grown = u128::from(self.increase) * u128::from(part) / u128::from(self.length_ms());
        u64::try_from(grown).unwrap_or(self.increase)
    }

    /// The counter's value at an instant of the interval.
    #[must_use]
    pub fn value_at(&self, at_ms: i64) -> u64 {
        self.value.saturating_add(self.upto(at_ms))
    }

    /// Growth and known milliseconds inside a span.
    #[must_use]
    pub fn inside(&self, span: Span) -> (u64, u64) {
        let from = span.from_ms.clamp(self.from_ms, self.to_ms);
        let to = span.to_ms.clamp(from, self.to_ms);
        (self.upto(to) - self.upto(from), to.abs_diff(from))
    }

    /// Thousandths of a unit per second, saturating.
    #[must_use]
    pub fn rate_milli(&self) -> i64 {
        let rate = u128::from(self.increase) * 1_000_000 / u128::from(self.length_ms());
        i64::try_from(rate).unwrap_or(i64::MAX)
    }
}

/// Where a device started anew, by its `sysUpTime`: wherever a value is below the one before. The
/// wrap of `TimeTicks` after 497 days looks the same and costs one interval.
#[must_use]
pub fn restarts(uptime: &[Sample]) -> Vec<Break> {
    breaks(uptime, |before, now| now < before)
}

/// Where an interface's counters lost their thread, by `ifCounterDiscontinuityTime` (RFC 2863):
/// wherever it changed.
#[must_use]
pub fn discontinuities(marks: &[Sample]) -> Vec<Break> {
    breaks(marks, |before, now| now != before)
}

fn breaks(samples: &[Sample], broken: impl Fn(i64, i64) -> bool) -> Vec<Break> {
    let mut found = Vec::new();
    let mut before: Option<(i64, i64)> = None;
    for sample in samples {
        let Some(value) = sample.value else { continue };
        if let Some((after_ms, was)) = before
            && broken(was, value)
        {
            found.push(Break { after_ms, upto_ms: sample.t_ms });
        }
        before = Some((sample.t_ms, value));
    }
    found
}

/// Breaks of several sources as one ascending list.
#[must_use]
pub fn merge_breaks(mut all: Vec<Break>) -> Vec<Break> {
    all.sort_unstable_by_key(|b| (b.after_ms, b.upto_ms));
    all
}

/// The intervals of a counter's samples (ascending) in which its growth is known.
///
/// Readings that were not obtained are passed over. An interval counts only when both readings are
/// at most `max_gap_ms` apart, the counter did not go backwards (a 64-bit counter never wraps in the
/// life of a device: a smaller value is a restart), and no break (ascending) touches it.
pub fn intervals<'a>(
    samples: impl IntoIterator<Item = Sample> + 'a,
    max_gap_ms: i64,
    breaks: &'a [Break],
) -> impl Iterator<Item = Interval> + 'a {
    let mut before: Option<(i64, u64)> = None;
    let mut open = 0;
    samples.into_iter().filter_map(move |sample| {
        let now = sample.value?.cast_unsigned();
        let (from_ms, was) = before.replace((sample.t_ms, now))?;
        while breaks.get(open).is_some_and(|b| b.upto_ms <= from_ms) {
            open += 1;
        }
        let broken = breaks[open..]
            .iter()
            .take_while(|b| b.after_ms < sample.t_ms)
            .any(|b| b.upto_ms > from_ms);
        let gap = sample.t_ms.saturating_sub(from_ms);
        if broken || now < was || gap <= 0 || gap > max_gap_ms {
            return None;
        }
        Some(Interval { from_ms, to_ms: sample.t_ms, value: was, increase: now - was })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(values: &[(i64, Option<i64>)]) -> Vec<Sample> {
        values.iter().map(|&(t_ms, value)| Sample { t_ms, value }).collect()
    }

    fn increases(values: &[(i64, Option<i64>)], breaks: &[Break]) -> Vec<(i64, i64, u64)> {
        intervals(samples(values), 180, breaks).map(|i| (i.from_ms, i.to_ms, i.increase)).collect()
    }

    #[test]
    fn a_smaller_value_is_a_restart_and_no_rate() {
        assert_eq!(
            increases(&[(0, Some(5)), (60, Some(9)), (120, Some(3)), (180, Some(4))], &[]),
            [(0, 60, 4), (120, 180, 1)]
        );
    }

    #[test]
    fn the_upper_half_of_the_counter_is_no_restart() {
        assert_eq!(increases(&[(0, Some(i64::MAX)), (60, Some(i64::MIN))], &[]), [(0, 60, 1)]);
    }

    #[test]
    fn a_missed_reading_is_bridged_and_a_gap_is_not() {
        let values = [(0, Some(0)), (60, None), (120, Some(8)), (301, Some(9)), (481, Some(10))];
        assert_eq!(increases(&values, &[]), [(0, 120, 8), (301, 481, 1)]);
    }

    #[test]
    fn two_readings_of_one_instant_are_no_interval() {
        assert_eq!(increases(&[(0, Some(0)), (0, Some(4)), (60, Some(5))], &[]), [(0, 60, 1)]);
    }

    #[test]
    fn a_restart_between_two_growing_readings_gives_no_rate() {
        let uptime = samples(&[(0, Some(900)), (60, None), (120, Some(30)), (180, Some(90))]);
        let breaks = restarts(&uptime);
        assert_eq!(breaks, [Break { after_ms: 0, upto_ms: 120 }]);
        let values = [(0, Some(1)), (60, Some(2)), (120, Some(30)), (180, Some(40))];
        assert_eq!(increases(&values, &breaks), [(120, 180, 10)]);
    }

    #[test]
    fn any_change_of_the_discontinuity_time_is_a_break() {
        let marks = samples(&[(0, Some(7)), (60, Some(7)), (120, Some(9)), (180, Some(8))]);
        let breaks = discontinuities(&marks);
        assert_eq!(breaks.len(), 2);
        let values = [(0, Some(1)), (60, Some(2)), (120, Some(3)), (180, Some(4)), (240, Some(5))];
        assert_eq!(increases(&values, &breaks), [(0, 60, 1), (180, 240, 1)]);
    }

    #[test]
    fn the_value_at_an_edge_is_floored_to_whole_units() {
        let interval = Interval { from_ms: 0, to_ms: 3, value: 100, increase: 10 };
        assert_eq!(interval.inside(Span { from_ms: -5, to_ms: 1 }), (3, 1));
        assert_eq!(interval.inside(Span { from_ms: 1, to_ms: 2 }), (3, 1));
        assert_eq!(interval.inside(Span { from_ms: 2, to_ms: 9 }), (4, 1));
        assert_eq!(interval.inside(Span { from_ms: 5, to_ms: 9 }), (0, 0));
        assert_eq!(
            [-1, 0, 1, 2, 3, 4].map(|t| interval.value_at(t)),
            [100, 100, 103, 106, 110, 110]
        );
    }

    proptest! {
        #[test]
        fn the_parts_of_an_interval_add_up(
            from in -1_000_000_i64..1_000_000,
            length in 1_i64..1_000_000,
            increase: u64,
            mut edges in prop::collection::vec(-2_000_000_i64..2_000_000, 0..9),
        ) {
            let interval = Interval { from_ms: from, to_ms: from + length, value: 0, increase };
            edges.extend([from, from + length]);
            edges.sort_unstable();
            let parts = edges.windows(2).map(|e| interval.inside(Span { from_ms: e[0], to_ms: e[1] }));
            let (grown, known) = parts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
            prop_assert_eq!((grown, known), (increase, length.unsigned_abs()));
        }

        #[test]
        fn no_interval_ever_spans_a_reset_a_gap_or_a_break(
            steps in prop::collection::vec((0_i64..400, prop::option::weighted(0.9, 0_i64..50)), 0..40),
            marks in prop::collection::vec((0_i64..8_000, 0_i64..200), 0..4),
        ) {
            let mut t_ms = 0;
            let samples: Vec<_> = steps
                .iter()
                .map(|&(step, value)| {
                    t_ms += step;
                    Sample { t_ms, value }
                })
                .collect();
            let breaks = merge_breaks(
                marks.iter().map(|&(t, width)| Break { after_ms: t, upto_ms: t + width + 1 }).collect(),
            );
            for i in intervals(samples.iter().copied(), 180, &breaks) {
                prop_assert!(i.to_ms - i.from_ms <= 180 && i.to_ms > i.from_ms);
                prop_assert!(!breaks.iter().any(|b| b.after_ms < i.to_ms && b.upto_ms > i.from_ms));
                // Both ends are neighbouring readings, the later one not below the earlier.
                let valid: Vec<_> = samples.iter().filter(|s| s.value.is_some()).collect();
                let neighbours = valid.windows(2).any(|w| {
                    let grown = w[1].value.zip(w[0].value).map(|(b, a)| b - a);
                    (w[0].t_ms, w[1].t_ms) == (i.from_ms, i.to_ms)
                        && grown == i64::try_from(i.increase).ok()
                });
                prop_assert!(neighbours);
            }
        }
    }
}
