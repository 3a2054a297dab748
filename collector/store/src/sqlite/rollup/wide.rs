//! Hours or days of all series of a group and day in one blob, field by field.

use domain::{metric::Kind, rollup::Roll};

use super::{
    super::blocks::{
        Reader,
        numbers::{self, Shape},
        put, put_bytes, put_signed,
    },
    expected_last, extreme, kind_code, kind_of, small, stored_extreme, stored_last,
};
use crate::Result;

const WHAT: &str = "hourly or daily rollup";
const MAX_SERIES: usize = 1 << 16;

/// The buckets of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wide {
    pub(crate) series: i64,
    pub(crate) kind: Kind,
    pub(crate) rolls: Vec<Roll>,
}

/// The blob of a group and day, by ascending series; buckets are `step_ms` wide.
pub(crate) fn encode(all: &[Wide], day_ms: i64, step_ms: i64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    put(&mut out, all.len() as u64);
    let mut before = 0;
    for one in all {
        put_signed(&mut out, one.series.wrapping_sub(before));
        out.push(kind_code(one.kind));
        put(&mut out, one.rolls.len() as u64);
        before = one.series;
    }
    let mut bytes = Vec::new();
    let mut add = |field: &dyn Fn(&Wide, usize) -> i64| {
        bytes.clear();
        let values: Vec<i64> =
            all.iter().flat_map(|one| (0..one.rolls.len()).map(|i| field(one, i))).collect();
        numbers::encode(&values, Shape::Any, &mut bytes)?;
        put_bytes(&mut out, &bytes);
        Ok::<(), crate::StoreError>(())
    };
    add(&|one, i| (one.rolls[i].from_ms - day_ms) / step_ms)?;
    add(&|one, i| one.rolls[i].count.into())?;
    add(&|one, i| one.rolls[i].covered_ms.into())?;
    add(&|one, i| one.rolls[i].sum)?;
    add(&|one, i| stored_extreme(one.kind, one.rolls[i].min))?;
    add(&|one, i| {
        let roll = &one.rolls[i];
        stored_extreme(one.kind, roll.max).wrapping_sub(stored_extreme(one.kind, roll.min))
    })?;
    add(&|one, i| if i == 0 { 0 } else { stored_last(&one.rolls, i, one.kind) })?;
    let firsts = all.iter().filter(|one| !one.rolls.is_empty());
    let firsts: Vec<i64> = firsts.map(|one| stored_last(&one.rolls, 0, one.kind)).collect();
    bytes.clear();
    numbers::encode(&firsts, Shape::Any, &mut bytes)?;
    put_bytes(&mut out, &bytes);
    Ok(out)
}

/// The buckets of every series of a blob, or of one.
pub(crate) fn decode(
    bytes: &[u8],
    day_ms: i64,
    step_ms: i64,
    only: Option<i64>,
) -> Result<Vec<Wide>> {
    let mut reader = Reader::new(bytes, WHAT);
    let n = reader.count(MAX_SERIES)?;
    let per_day = super::super::blocks::DAY_MS / step_ms;
    let most = usize::try_from(per_day).map_err(|_| reader.damage())?;
    let mut series = 0_i64;
    let mut index = Vec::new();
    let mut total = 0;
    for _ in 0..n {
        series = series.wrapping_add(reader.signed()?);
        let kind = kind_of(reader.byte()?, &reader)?;
        let rolls = reader.count(most)?;
        index.push((series, kind, total..total + rolls));
        total += rolls;
    }
    let mut next = |n: usize| {
        let mut values = Vec::new();
        numbers::decode(reader.bytes()?, n, WHAT, &mut values)?;
        Ok::<_, crate::StoreError>(values)
    };
    let (slots, counts, covered, sums) = (next(total)?, next(total)?, next(total)?, next(total)?);
    let (mins, spreads, mut lasts) = (next(total)?, next(total)?, next(total)?);
    // The first one of each series stands apart: it is as large as the counter.
    let starts: Vec<usize> =
        index.iter().filter(|one| !one.2.is_empty()).map(|one| one.2.start).collect();
    for (start, first) in starts.iter().zip(next(starts.len())?) {
        lasts[*start] = first;
    }
    if !reader.rest().is_empty() || slots.iter().any(|slot| !(0..per_day).contains(slot)) {
        return Err(reader.damage());
    }
    let wanted = index.into_iter().filter(|one| only.is_none_or(|id| id == one.0));
    Ok(wanted
        .map(|(series, kind, range)| {
            let mut last = 0_i64;
            let rolls = range
                .map(|i| {
                    last = expected_last(kind, last, sums[i]).wrapping_add(lasts[i]);
                    Roll {
                        from_ms: day_ms + slots[i] * step_ms,
                        count: small(counts[i]),
                        covered_ms: small(covered[i]),
                        sum: sums[i],
                        min: extreme(kind, mins[i]),
                        max: extreme(kind, mins[i].wrapping_add(spreads[i])),
                        last,
                    }
                })
                .collect();
            Wide { series, kind, rolls }
        })
        .collect())
}
