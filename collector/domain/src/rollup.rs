//! Rollups: what the samples of a bucket on fixed edges say, in integers.
//!
//! Gauges and states are counted, summed and compared; counters are turned into growth first (see
//! [`crate::rate`]). Coarser buckets are folded from finer ones, so their totals agree exactly.

use crate::{
    metric::Kind,
    rate::{self, Life},
    sample::{Sample, Span},
};

/// Significant bits that the extreme rates of a counter keep: rounded outwards by less than 0.2 %.
const RATE_BITS: u32 = 10;

/// What is known of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roll {
    /// Start of the bucket, Unix milliseconds, a multiple of the step.
    pub from_ms: i64,
    /// Samples with a value in the bucket.
    pub count: u32,
    /// Milliseconds that they speak for. Gauges: the period for each sample, at most the bucket.
    /// Counters: the known intervals inside the bucket.
    pub covered_ms: u32,
    /// Sum of the values, saturating; for counters the bits of the unsigned growth.
    pub sum: i64,
    /// Smallest value; for counters the smallest rate of the intervals that touch the bucket, in
    /// thousandths per second, rounded down to 10 significant bits.
    pub min: i64,
    /// Largest value; for counters as `min`, rounded up.
    pub max: i64,
    /// Last value; for a counter its value at the end of what is known of the bucket, interpolated to
    /// the edge as the growth is: it costs nothing to keep, being the sum of the growth before.
    pub last: i64,
}

impl Roll {
    /// The mean in the metric's resolution, per second for counters (`growth / covered time`);
    /// `None` when nothing is known.
    #[must_use]
    pub fn mean(&self, kind: Kind) -> Option<f64> {
        match kind {
            Kind::Counter => (self.covered_ms > 0)
                .then(|| self.sum.cast_unsigned() as f64 * 1_000.0 / f64::from(self.covered_ms)),
            Kind::Gauge | Kind::State => {
                (self.count > 0).then(|| self.sum as f64 / f64::from(self.count))
            }
        }
    }

    fn add(&mut self, other: &Self, kind: Kind) {
        let (known, news) = match kind {
            Kind::Counter => {
                let sum = self.sum.cast_unsigned().saturating_add(other.sum.cast_unsigned());
                self.sum = sum.cast_signed();
                (self.covered_ms > 0, other.covered_ms > 0)
            }
            Kind::Gauge | Kind::State => {
                self.sum = self.sum.saturating_add(other.sum);
                (self.count > 0, other.count > 0)
            }
        };
        if news {
            self.min = if known { self.min.min(other.min) } else { other.min };
            self.max = if known { self.max.max(other.max) } else { other.max };
        }
        self.count += other.count;
        self.covered_ms = self.covered_ms.saturating_add(other.covered_ms);
        self.last = other.last;
    }
}

/// How the samples of a series are rolled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Of the metric.
    pub kind: Kind,
    /// Width of a bucket, milliseconds.
    pub step_ms: i64,
    /// Time between two rounds of the group, milliseconds.
    pub period_ms: i64,
}

/// Start of the bucket that an instant lies in.
#[must_use]
pub fn bucket_of(t_ms: i64, step_ms: i64) -> i64 {
    t_ms - t_ms.rem_euclid(step_ms)
}

/// Buckets of a span (whole buckets), ascending; those of which nothing is known are absent.
///
/// `samples` ascend in time. For counters they reach beyond the span by up to
/// [`rate::MAX_GAP_PERIODS`] periods on both sides, so that the buckets at its ends are whole, and
/// `life` says where no growth may be taken.
#[must_use]
pub fn roll(samples: &[Sample], life: Life<'_>, rule: Rule, span: Span) -> Vec<Roll> {
    match rule.kind {
        Kind::Counter => roll_counter(samples, life, rule, span),
        Kind::Gauge | Kind::State => roll_gauge(samples, rule, span),
    }
}

fn roll_gauge(samples: &[Sample], rule: Rule, span: Span) -> Vec<Roll> {
    let mut rolls: Vec<Roll> = Vec::new();
    for sample in samples {
        let Some(value) = sample.value else { continue };
        if sample.t_ms < span.from_ms || sample.t_ms >= span.to_ms {
            continue;
        }
        let from_ms = bucket_of(sample.t_ms, rule.step_ms);
        let one = Roll {
            from_ms,
            count: 1,
            covered_ms: clamp_ms(rule.period_ms),
            sum: value,
            min: value,
            max: value,
            last: value,
        };
        match rolls.last_mut() {
            Some(roll) if roll.from_ms == from_ms => roll.add(&one, rule.kind),
            Some(_) | None => rolls.push(one),
        }
    }
    let most = clamp_ms(rule.step_ms);
    for roll in &mut rolls {
        roll.covered_ms = roll.covered_ms.min(most);
    }
    rolls
}

fn clamp_ms(ms: i64) -> u32 {
    u32::try_from(ms.max(0)).unwrap_or(u32::MAX)
}

fn roll_counter(samples: &[Sample], life: Life<'_>, rule: Rule, span: Span) -> Vec<Roll> {
    let mut rolls: Vec<Roll> = Vec::new();
    for sample in samples {
        let Some(last) = sample.value else { continue };
        if sample.t_ms < span.from_ms || sample.t_ms >= span.to_ms {
            continue;
        }
        let from_ms = bucket_of(sample.t_ms, rule.step_ms);
        match rolls.last_mut() {
            Some(roll) if roll.from_ms == from_ms => {
                roll.count += 1;
                roll.last = last;
            }
            Some(_) | None => rolls.push(Roll { last, count: 1, ..empty(from_ms) }),
        }
    }
    let max_gap_ms = rule.period_ms.saturating_mul(rate::MAX_GAP_PERIODS);
    let mut at = 0;
    for interval in rate::intervals(samples.iter().copied(), max_gap_ms, life) {
        let rate = interval.rate_milli();
        let (min, max) = (round_down(rate), round_up(rate));
        let last_ms = bucket_of(interval.to_ms - 1, rule.step_ms);
        let mut from_ms = bucket_of(interval.from_ms, rule.step_ms).max(span.from_ms);
        while from_ms <= last_ms && from_ms < span.to_ms {
            let end_ms = from_ms.saturating_add(rule.step_ms);
            let (grown, known) = interval.inside(Span { from_ms, to_ms: end_ms });
            while rolls.get(at).is_some_and(|roll| roll.from_ms < from_ms) {
                at += 1;
            }
            if rolls.get(at).is_none_or(|roll| roll.from_ms != from_ms) {
                // Readings further apart than a bucket is wide: it has growth but no sample.
                rolls.insert(at, empty(from_ms));
            }
            let last = if interval.to_ms < end_ms {
                rolls[at].last
            } else {
                interval.value_at(end_ms).cast_signed()
            };
            let covered_ms = u32::try_from(known).unwrap_or(u32::MAX);
            let sum = grown.cast_signed();
            let part = Roll { from_ms, count: 0, covered_ms, sum, min, max, last };
            rolls[at].add(&part, Kind::Counter);
            from_ms += rule.step_ms;
        }
    }
    rolls
}

fn empty(from_ms: i64) -> Roll {
    Roll { from_ms, count: 0, covered_ms: 0, sum: 0, min: 0, max: 0, last: 0 }
}

/// Folds ascending buckets into wider ones, whose step is a multiple of theirs.
#[must_use]
pub fn fold(fine: &[Roll], kind: Kind, step_ms: i64) -> Vec<Roll> {
    let mut rolls: Vec<Roll> = Vec::new();
    for roll in fine {
        let from_ms = bucket_of(roll.from_ms, step_ms);
        match rolls.last_mut() {
            Some(wide) if wide.from_ms == from_ms => wide.add(roll, kind),
            Some(_) | None => rolls.push(Roll { from_ms, ..*roll }),
        }
    }
    rolls
}

/// Largest rate that [`RATE_BITS`] significant bits can hold.
const MOST_RATE: i64 = ((1 << RATE_BITS) - 1) << (63 - RATE_BITS);

fn spare_bits(rate: i64) -> u32 {
    (i64::BITS - rate.leading_zeros()).saturating_sub(RATE_BITS)
}

fn round_down(rate: i64) -> i64 {
    let bits = spare_bits(rate);
    rate >> bits << bits
}

fn round_up(rate: i64) -> i64 {
    let bits = spare_bits(rate);
    let mask = (1_i64 << bits) - 1;
    rate.checked_add(mask).map_or(MOST_RATE, |up| up & !mask)
}

/// A rounded rate as a small number of the same order: its exponent over its significant bits.
#[must_use]
pub fn rate_code(rate: i64) -> i64 {
    let bits = spare_bits(rate.max(0));
    (i64::from(bits) << (RATE_BITS - 1)) + (rate.max(0) >> bits)
}

/// The rate behind a code of [`rate_code`]; a code that stands for none gives the nearest rate.
#[must_use]
pub fn code_rate(code: i64) -> i64 {
    if code < 1 << RATE_BITS {
        return code.max(0);
    }
    let bits = (code >> (RATE_BITS - 1)) - 1;
    if bits > i64::from(63 - RATE_BITS) {
        return MOST_RATE;
    }
    (code - (bits << (RATE_BITS - 1))) << bits
}

#[cfg(test)]
mod tests;
