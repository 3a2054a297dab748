//! Increase of counters between samples, and on fixed edges.
//!
//! A counter tells something only between two readings of one life of its device. Between them it is
//! taken to grow evenly, so that its value at an edge is
//! `floor(before + increase * (edge - t_before) / (t_after - t_before))`: whole units, exact integer
//! arithmetic, and the increases of neighbouring buckets add up to the increase of the readings.
//!
//! A counter of 32 bits wraps within the life of its device, at a full gigabit each 34 s (RFC 2863,
//! 3.1.6). Its growth is known only where the speed of its interface leaves room for at most one wrap.

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
    /// Largest value of the counter, behind which it goes on from 0.
    pub top: u64,
}

/// What a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Octets.
    Octets,
    /// Packets, good or not.
    Packets,
}

/// What must be known of a counter of 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Narrow<'a> {
    /// What it counts.
    pub unit: Unit,
    /// `ifSpeed` of its interface in bits a second, ascending in time, read in the same rounds.
    pub speeds: &'a [Sample],
}

/// What is known of a counter beside its readings. The default is one of 64 bits without a break.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life<'a> {
    /// Where it may have started anew, ascending.
    pub breaks: &'a [Break],
    /// For a counter of 32 bits.
    pub narrow: Option<Narrow<'a>>,
}

impl Life<'_> {
    /// Growth from one reading to the next; `None` when it is not known.
    fn growth(&self, (from_ms, was): (i64, u64), (to_ms, now): (i64, u64)) -> Option<u64> {
        let Some(narrow) = self.narrow else { return now.checked_sub(was) };
        let Some(speed) = narrow.speed(from_ms, to_ms) else {
            return match narrow.unit {
                Unit::Octets => None,
                // No line of today carries 2^32 packets between two rounds.
                Unit::Packets => now.checked_sub(was),
            };
        };
        let octets = u128::from(speed) * u128::from(to_ms.abs_diff(from_ms)) / 8_000;
        let most = match narrow.unit {
            Unit::Octets => octets,
            Unit::Packets => octets / SHORTEST_PACKET,
        };
        let increase = now.wrapping_sub(was) & NARROW_TOP;
        let plausible = u128::from(increase) <= most * READ_BEFORE;
        (most <= NARROW_TOP.into() && plausible).then_some(increase)
    }

    fn top(&self) -> u64 {
        if self.narrow.is_some() { NARROW_TOP } else { u64::MAX }
    }
}

impl Narrow<'_> {
    /// Largest speed read from one instant to another; `None` when there is none to rely on: 0 is a
    /// device that does not know, the largest value one that can not tell (RFC 2863, `ifSpeed`).
    fn speed(&self, from_ms: i64, to_ms: i64) -> Option<u32> {
        let first = self.speeds.partition_point(|speed| speed.t_ms < from_ms);
        let read = self.speeds[first..].iter().take_while(|speed| speed.t_ms <= to_ms);
        let most = read.filter_map(|speed| speed.value).max()?;
        u32::try_from(most).ok().filter(|speed| (1..u32::MAX).contains(speed))
    }
}

/// Largest value of a counter of 32 bits.
const NARROW_TOP: u64 = u32::MAX as u64;
/// Fewest octets of a packet on any line: a header of IP.
const SHORTEST_PACKET: u128 = 20;
/// How many times what its line carries a counter may have grown: devices answer with what they read
/// some seconds before. Beyond, the counter was set back, or the speed is not that of the line.
const READ_BEFORE: u128 = 2;

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
        self.value.wrapping_add(self.upto(at_ms)) & self.top
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

/// `TimeTicks` of 32 bits, hundredths of a second, start again at 0 after so many: 497 days.
const TICKS_WRAP: i64 = 1 << 32;
/// How far, in hundredths of a second, an uptime may be off the time between its readings.
const TICKS_OFF: i64 = 500;

/// Where a device started anew, by its `sysUpTime`: wherever it is below the one before, or so small
/// that it began since. The wrap of `TimeTicks` is no restart: it comes when it is due.
#[must_use]
pub fn restarts(uptime: &[Sample]) -> Vec<Break> {
    breaks(uptime, |before, now| {
        let passed = (now.t_ms - before.t_ms) / 10;
        let Some((was, is)) = before.value.zip(now.value) else { return false };
        let late = was.saturating_add(passed).saturating_sub(is);
        if is < was {
            late.abs_diff(TICKS_WRAP) > TICKS_OFF.unsigned_abs()
        } else {
            is < passed && late > TICKS_OFF
        }
    })
}

/// Where an interface's counters lost their thread, by `ifCounterDiscontinuityTime` (RFC 2863):
/// wherever it changed.
#[must_use]
pub fn discontinuities(marks: &[Sample]) -> Vec<Break> {
    breaks(marks, |before, now| now.value != before.value)
}

/// `broken` is asked of each reading that was obtained and the one obtained before.
fn breaks(samples: &[Sample], broken: impl Fn(Sample, Sample) -> bool) -> Vec<Break> {
    let mut found = Vec::new();
    let mut before: Option<Sample> = None;
    for &sample in samples.iter().filter(|sample| sample.value.is_some()) {
        if let Some(before) = before.replace(sample)
            && broken(before, sample)
        {
            found.push(Break { after_ms: before.t_ms, upto_ms: sample.t_ms });
        }
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
/// at most `max_gap_ms` apart, no break touches it, and the growth is known: a counter of 64 bits never
/// wraps in the life of a device, so that a smaller value is a restart; one of 32 bits wraps at most
/// once, and grows by no more than its line can carry.
pub fn intervals<'a>(
    samples: impl IntoIterator<Item = Sample> + 'a,
    max_gap_ms: i64,
    life: Life<'a>,
) -> impl Iterator<Item = Interval> + 'a {
    let mut before: Option<(i64, u64)> = None;
    let mut open = 0;
    samples.into_iter().filter_map(move |sample| {
        let now = sample.value?.cast_unsigned();
        let (from_ms, was) = before.replace((sample.t_ms, now))?;
        while life.breaks.get(open).is_some_and(|b| b.upto_ms <= from_ms) {
            open += 1;
        }
        let broken = life.breaks[open..]
            .iter()
            .take_while(|b| b.after_ms < sample.t_ms)
            .any(|b| b.upto_ms > from_ms);
        let gap = sample.t_ms.saturating_sub(from_ms);
        if broken || gap <= 0 || gap > max_gap_ms {
            return None;
        }
        let increase = life.growth((from_ms, was), (sample.t_ms, now))?;
        Some(Interval { from_ms, to_ms: sample.t_ms, value: was, increase, top: life.top() })
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
        let life = Life { breaks, narrow: None };
        intervals(samples(values), 180, life).map(|i| (i.from_ms, i.to_ms, i.increase)).collect()
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
        let interval = Interval { from_ms: 0, to_ms: 3, value: 100, increase: 10, top: u64::MAX };
        assert_eq!(interval.inside(Span { from_ms: -5, to_ms: 1 }), (3, 1));
        assert_eq!(interval.inside(Span { from_ms: 1, to_ms: 2 }), (3, 1));
        assert_eq!(interval.inside(Span { from_ms: 2, to_ms: 9 }), (4, 1));
        assert_eq!(interval.inside(Span { from_ms: 5, to_ms: 9 }), (0, 0));
        assert_eq!(
            [-1, 0, 1, 2, 3, 4].map(|t| interval.value_at(t)),
            [100, 100, 103, 106, 110, 110]
        );
    }

    const TEN_MBIT: u32 = 10_000_000;

    fn narrow(unit: Unit, speed: Option<u32>, values: &[(i64, i64)]) -> Vec<Option<u64>> {
        let speeds: Vec<_> =
            values.iter().map(|&(t_ms, _)| Sample { t_ms, value: speed.map(i64::from) }).collect();
        let life = Life { breaks: &[], narrow: Some(Narrow { unit, speeds: &speeds }) };
        let known: Vec<_> = values.iter().map(|&(t_ms, v)| (t_ms, Some(v))).collect();
        let known: Vec<Interval> = intervals(samples(&known), 180_000, life).collect();
        let found = |from_ms: i64| known.iter().find(|i| i.from_ms == from_ms);
        values[1..].iter().zip(values).map(|(_, from)| Some(found(from.0)?.increase)).collect()
    }

    #[test]
    fn a_counter_of_32_bits_wraps_once_where_its_line_leaves_no_room_for_two() {
        let octets = |speed, values: &[_]| narrow(Unit::Octets, speed, values);
        let wrap = [(0, u32::MAX.into()), (60_000, 9_999), (120_000, 19_999)];
        assert_eq!(octets(Some(TEN_MBIT), &wrap), [Some(10_000), Some(10_000)]);
        // At a gigabit it may wrap twice in 60 s, in 34 s it may not.
        assert_eq!(octets(Some(1_000_000_000), &wrap), [None, None]);
        assert_eq!(
            octets(Some(1_000_000_000), &[(0, 7), (34_359, 9), (34_359 + 34_360, 11)]),
            [Some(2), None]
        );
        // Set back by hand: a wrap would be more than the line carries.
        assert_eq!(octets(Some(TEN_MBIT), &[(0, 1_000_000_000), (60_000, 0)]), [None]);
        // Busy to the last bit, and read late.
        assert_eq!(octets(Some(TEN_MBIT), &[(0, 0), (60_000, 80_000_000)]), [Some(80_000_000)]);
    }

    #[test]
    fn without_a_speed_to_rely_on_octets_of_32_bits_have_no_rate_and_packets_do_not_wrap() {
        let values = [(0, 5), (60_000, 8), (120_000, 2)];
        for speed in [None, Some(0), Some(u32::MAX)] {
            assert_eq!(narrow(Unit::Octets, speed, &values), [None, None]);
            assert_eq!(narrow(Unit::Packets, speed, &values), [Some(3), None]);
        }
        let wrap = [(0, u32::MAX.into()), (60_000, 2)];
        assert_eq!(narrow(Unit::Packets, Some(1_000_000_000), &wrap), [Some(3)]);
    }

    #[test]
    fn the_fastest_speed_within_an_interval_counts_and_none_outside() {
        let speeds = samples(&[(0, Some(100)), (60, None), (120, Some(10)), (180, None)]);
        let line = Narrow { unit: Unit::Octets, speeds: &speeds };
        let asked = [(0, 60), (60, 120), (0, 120), (121, 180), (180, 240)];
        let found = asked.map(|(from, to)| line.speed(from, to));
        assert_eq!(found, [Some(100), Some(10), Some(100), None, None]);
    }

    #[test]
    fn the_wrap_of_the_uptime_is_no_restart_and_a_restart_near_it_is_one() {
        let wrap = 1 << 32;
        for (was, is, broken) in [
            (wrap - 100, 5_900, false),
            (wrap - 5_999, 1, false),
            (wrap - 100, 5_900 + 499, false),
            (wrap - 100, 100, true),
            (wrap - 100_000, 100, true),
            (3_000, 9_000, false),
            // The device went down twice: its second life is older than its first was.
            (3_000, 4_000, true),
            // A clock that is slow, of a device that has long been up.
            (100_000, 103_000, false),
        ] {
            let uptime = samples(&[(0, Some(was)), (60_000, Some(is))]);
            assert_eq!(!restarts(&uptime).is_empty(), broken, "{was} {is}");
        }
    }

    proptest! {
        #[test]
        fn the_growth_of_a_narrow_counter_is_the_true_one_or_unknown(
            start: u32,
            speed in 1_u32..2_000_000_000,
            steps in prop::collection::vec((1_u32..200_000, 0_u64..=1_000), 1..20),
        ) {
            let (mut t_ms, mut count) = (0, u64::from(start));
            let mut values = vec![(t_ms, count)];
            for (step, share) in steps {
                t_ms += i64::from(step);
                count += u64::from(speed) * u64::from(step) / 8_000 * share / 1_000;
                values.push((t_ms, count));
            }
            let read: Vec<_> =
                values.iter().map(|&(t, v)| (t, (v & NARROW_TOP).cast_signed())).collect();
            let grown = values.windows(2).map(|w| w[1].1 - w[0].1);
            for (found, grown) in narrow(Unit::Octets, Some(speed), &read).into_iter().zip(grown) {
                prop_assert!(found.is_none_or(|found| found == grown), "{found:?} {grown}");
            }
        }

        #[test]
        fn the_parts_of_an_interval_add_up(
            from in -1_000_000_i64..1_000_000,
            length in 1_i64..1_000_000,
            increase: u64,
            mut edges in prop::collection::vec(-2_000_000_i64..2_000_000, 0..9),
        ) {
            let (to_ms, top) = (from + length, u64::MAX);
            let interval = Interval { from_ms: from, to_ms, value: 0, increase, top };
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
            let life = Life { breaks: &breaks, narrow: None };
            for i in intervals(samples.iter().copied(), 180, life) {
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
