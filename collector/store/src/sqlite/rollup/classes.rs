//! Distributions of five-minute means: for each hour (or day) of a series the classes (see
//! [`domain::percentile::class_of`]) of its means, ascending. Kept for percentiles long after the
//! five-minute buckets are gone; an answer from them is off by less than 2 %.

use super::super::blocks::{
    Reader, damaged,
    numbers::{self, Shape},
    put, put_bytes, put_signed,
};
use crate::Result;

const WHAT: &str = "distribution";
/// Most series of one blob.
const MAX_SERIES: usize = 1 << 16;
/// Most five-minute means of one slot: those of a day.
const MAX_MEANS: i64 = 288;
/// Most classes of one blob.
const MAX_CLASSES: usize = MAX_SERIES * 288;

/// The classes of one series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    /// Series.
    pub(crate) series: i64,
    /// Hour of the day (0 for the distribution of a day) and ascending classes.
    pub(crate) slots: Vec<(i64, Vec<i64>)>,
}

/// The blob of a group, by ascending series.
pub(crate) fn encode(all: &[Classes]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    put(&mut out, all.len() as u64);
    let mut before = 0;
    for one in all {
        put_signed(&mut out, one.series.wrapping_sub(before));
        put(&mut out, one.slots.len() as u64);
        before = one.series;
    }
    let slots = || all.iter().flat_map(|one| &one.slots);
    let hours: Vec<i64> = slots().map(|slot| slot.0).collect();
    let counts: Vec<i64> =
        slots().map(|slot| i64::try_from(slot.1.len()).unwrap_or(MAX_MEANS)).collect();
    let firsts: Vec<i64> = slots().filter_map(|slot| slot.1.first().copied()).collect();
    let steps: Vec<i64> = slots().flat_map(|slot| slot.1.windows(2).map(|w| w[1] - w[0])).collect();
    let mut bytes = Vec::new();
    for column in [&hours, &counts, &firsts, &steps] {
        bytes.clear();
        numbers::encode(column, Shape::Any, &mut bytes)?;
        put_bytes(&mut out, &bytes);
    }
    Ok(out)
}

/// Reads the blob of a group.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Classes>> {
    let mut reader = Reader::new(bytes, WHAT);
    let n = reader.count(MAX_SERIES)?;
    let mut series = 0_i64;
    let mut all = Vec::new();
    let mut announced = Vec::new();
    let mut total = 0;
    for _ in 0..n {
        series = series.wrapping_add(reader.signed()?);
        let slots = reader.count(24)?;
        total += slots;
        announced.push(slots);
        all.push(Classes { series, slots: Vec::new() });
    }
    let mut column = |n: usize| {
        let mut values = Vec::new();
        numbers::decode(reader.bytes()?, n, WHAT, &mut values)?;
        Ok::<_, crate::StoreError>(values)
    };
    let hours = column(total)?;
    let counts = column(total)?;
    let damage = || damaged(WHAT);
    if counts.iter().any(|n| !(0..=MAX_MEANS).contains(n)) {
        return Err(damage());
    }
    let filled = counts.iter().filter(|&&n| n > 0).count();
    let means = usize::try_from(counts.iter().sum::<i64>()).map_err(|_| damage())?;
    if means > MAX_CLASSES {
        return Err(damage());
    }
    let mut firsts = column(filled)?.into_iter();
    let mut steps = column(means - filled)?.into_iter();
    let mut slots = hours.into_iter().zip(counts);
    for (one, announced) in all.iter_mut().zip(announced) {
        for (hour, count) in slots.by_ref().take(announced) {
            let mut classes = Vec::new();
            if count > 0 {
                let mut class = firsts.next().ok_or_else(damage)?;
                classes.push(class);
                for step in steps.by_ref().take(usize::try_from(count - 1).map_err(|_| damage())?) {
                    class = class.wrapping_add(step);
                    classes.push(class);
                }
            }
            one.slots.push((hour, classes));
        }
    }
    Ok(all)
}
