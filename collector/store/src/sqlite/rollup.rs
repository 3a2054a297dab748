//! Rollups as bytes.
//!
//! The five-minute buckets of a series and day are one item of a part (see
//! [`super::blocks::Parts`]), what a percentile needs in front of the rest. The hours and the days of
//! a whole group are one blob each ([`wide`]), with the distribution of the five-minute means
//! ([`classes`]).

pub(crate) mod classes;
pub(crate) mod wide;

use domain::{
    metric::Kind,
    rollup::{Roll, code_rate, rate_code},
};

use super::blocks::{
    Reader,
    numbers::{self, Shape},
    put, put_bytes,
};
use crate::Result;

/// Width of the finest buckets, milliseconds.
pub(crate) const FINE_MS: i64 = 300_000;
/// Finest buckets of a day.
pub(crate) const FINE_SLOTS: i64 = 288;
/// As a length.
pub(crate) const FINE_PER_DAY: usize = 288;
const FINE: &str = "five-minute rollup";

/// Whether the item is of a counter; in front of everything else.
fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Gauge => 0,
        Kind::Counter => 1,
        Kind::State => 2,
    }
}

fn kind_of(code: u8, reader: &Reader<'_>) -> Result<Kind> {
    match code {
        0 => Ok(Kind::Gauge),
        1 => Ok(Kind::Counter),
        2 => Ok(Kind::State),
        _ => Err(reader.damage()),
    }
}

/// Smallest and largest as they are stored: rates of counters by their code.
fn stored_extreme(kind: Kind, extreme: i64) -> i64 {
    match kind {
        Kind::Counter => rate_code(extreme),
        Kind::Gauge | Kind::State => extreme,
    }
}

fn extreme(kind: Kind, stored: i64) -> i64 {
    match kind {
        Kind::Counter => code_rate(stored),
        Kind::Gauge | Kind::State => stored,
    }
}

/// What is expected of a bucket's last value: for counters the one before and the growth, which is
/// what it is unless something was missed.
fn expected_last(kind: Kind, before: i64, sum: i64) -> i64 {
    match kind {
        Kind::Counter => before.wrapping_add(sum),
        Kind::Gauge | Kind::State => before,
    }
}

/// The last value as it is stored: what it is off the expected one.
fn stored_last(rolls: &[Roll], i: usize, kind: Kind) -> i64 {
    let before = i.checked_sub(1).map_or(0, |i| rolls[i].last);
    rolls[i].last.wrapping_sub(expected_last(kind, before, rolls[i].sum))
}

/// What a mean divides by: milliseconds known of a counter, values of anything else.
fn weight(kind: Kind, roll: &Roll) -> i64 {
    match kind {
        Kind::Counter => roll.covered_ms.into(),
        Kind::Gauge | Kind::State => roll.count.into(),
    }
}

fn column(rolls: &[Roll], field: impl Fn(&Roll) -> i64) -> Vec<i64> {
    rolls.iter().map(field).collect()
}

/// Appends the buckets of one series and day, whose first instant is `day_ms`.
pub(crate) fn encode_fine(
    rolls: &[Roll],
    kind: Kind,
    day_ms: i64,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(kind_code(kind));
    put(out, rolls.len() as u64);
    let mut bytes = Vec::new();
    let mut add = |out: &mut Vec<u8>, values: &[i64], shape| {
        bytes.clear();
        numbers::encode(values, shape, &mut bytes)?;
        put_bytes(out, &bytes);
        Ok::<(), crate::StoreError>(())
    };
    if rolls.len() != FINE_PER_DAY {
        add(out, &column(rolls, |r| (r.from_ms - day_ms) / FINE_MS), Shape::Counter)?;
    }
    add(out, &column(rolls, |r| weight(kind, r)), Shape::Any)?;
    add(out, &column(rolls, |r| r.sum), Shape::Any)?;
    add(
        out,
        &column(rolls, |r| match kind {
            Kind::Counter => r.count.into(),
            Kind::Gauge | Kind::State => r.covered_ms.into(),
        }),
        Shape::Any,
    )?;
    add(out, &column(rolls, |r| stored_extreme(kind, r.min)), Shape::Any)?;
    add(
        out,
        &column(rolls, |r| stored_extreme(kind, r.max).wrapping_sub(stored_extreme(kind, r.min))),
        Shape::Any,
    )?;
    let lasts: Vec<i64> = (0..rolls.len()).map(|i| stored_last(rolls, i, kind)).collect();
    add(out, &lasts, Shape::Any)
}

/// Buffers for decoding many items.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    slots: Vec<i64>,
    weights: Vec<i64>,
    sums: Vec<i64>,
}

struct Front<'a> {
    kind: Kind,
    n: usize,
    rest: Reader<'a>,
}

fn front<'a>(item: &'a [u8], scratch: &mut Scratch) -> Result<Front<'a>> {
    let mut reader = Reader::new(item, FINE);
    let kind = kind_of(reader.byte()?, &reader)?;
    let n = reader.count(FINE_PER_DAY)?;
    if n == FINE_PER_DAY {
        scratch.slots.clear();
        scratch.slots.extend(0..FINE_SLOTS);
    } else {
        numbers::decode(reader.bytes()?, n, FINE, &mut scratch.slots)?;
        let fits = scratch.slots.iter().all(|s| (0..FINE_SLOTS).contains(s));
        if !fits || scratch.slots.windows(2).any(|w| w[0] >= w[1]) {
            return Err(reader.damage());
        }
    }
    numbers::decode(reader.bytes()?, n, FINE, &mut scratch.weights)?;
    numbers::decode(reader.bytes()?, n, FINE, &mut scratch.sums)?;
    Ok(Front { kind, n, rest: reader })
}

/// Appends the means of the buckets that start in `[from_ms, to_ms)`; those of which nothing is known
/// are left out.
pub(crate) fn means(
    item: &[u8],
    day_ms: i64,
    from_ms: i64,
    to_ms: i64,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Result<()> {
    let Front { kind, .. } = front(item, scratch)?;
    let cells = scratch.slots.iter().zip(scratch.weights.iter().zip(&scratch.sums));
    for (slot, (&weight, &sum)) in cells {
        let at = day_ms + slot * FINE_MS;
        if at < from_ms || at >= to_ms || weight <= 0 {
            continue;
        }
        out.push(match kind {
            Kind::Counter => sum.cast_unsigned() as f64 * 1_000.0 / weight as f64,
            Kind::Gauge | Kind::State => sum as f64 / weight as f64,
        });
    }
    Ok(())
}

/// The buckets of one series and day.
pub(crate) fn decode_fine(item: &[u8], day_ms: i64) -> Result<(Kind, Vec<Roll>)> {
    let mut scratch = Scratch::default();
    let Front { kind, n, mut rest } = front(item, &mut scratch)?;
    let mut next = || {
        let mut values = Vec::new();
        numbers::decode(rest.bytes()?, n, FINE, &mut values)?;
        Ok::<_, crate::StoreError>(values)
    };
    let (others, mins, spreads, lasts) = (next()?, next()?, next()?, next()?);
    if !rest.rest().is_empty() {
        return Err(rest.damage());
    }
    let mut last = 0;
    let rolls = (0..n).map(|i| {
        last = expected_last(kind, last, scratch.sums[i]).wrapping_add(lasts[i]);
        let (weight, other) = (small(scratch.weights[i]), small(others[i]));
        let (covered_ms, count) = match kind {
            Kind::Counter => (weight, other),
            Kind::Gauge | Kind::State => (other, weight),
        };
        Roll {
            from_ms: day_ms + scratch.slots[i] * FINE_MS,
            count,
            covered_ms,
            sum: scratch.sums[i],
            min: extreme(kind, mins[i]),
            max: extreme(kind, mins[i].wrapping_add(spreads[i])),
            last,
        }
    });
    Ok((kind, rolls.collect()))
}

fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests;
