//! Column blocks: the samples of one poll group and UTC day, one column per series under one time
//! column.
//!
//! A block is a row of `block_time` (the time column) and some rows of `block`, the parts: each holds
//! the columns of a stretch of series in ascending order, so that one series is read without the
//! others and no page of the database is left half empty.

mod bytes;
mod column;
pub(crate) mod numbers;

use std::ops::{Range, RangeInclusive};

pub(crate) use bytes::{Reader, damaged, put, put_bytes, put_signed};
pub(crate) use column::{Cells, State};
use numbers::Shape;

use crate::Result;

/// Milliseconds of a UTC day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// Most rounds in one block; more (a group polled more than six times a second) is damage.
pub(crate) const MAX_ROWS: usize = 1 << 19;
/// Most series in one part.
const MAX_PART_SERIES: usize = 1 << 16;
/// Most bytes of one item; more is damage.
const MAX_ITEM_BYTES: usize = 1 << 24;
/// A part is closed once it holds this many bytes: some overflow pages, read for one series. Its first
/// page is half empty on average.
const PART_BYTES: usize = 64 << 10;

const TIMES: &str = "time column";
const PART: &str = "column block";

/// The UTC day that an instant lies in, counted from the epoch.
pub(crate) fn day_of(t_ms: i64) -> i64 {
    t_ms.div_euclid(DAY_MS)
}

/// When the rounds of a block took place, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Server time, Unix milliseconds.
    pub(crate) t_ms: Vec<i64>,
    /// Whether the clock was unsure.
    pub(crate) unsure: Vec<bool>,
}

impl Times {
    /// The start, a step and what each round is off them: what jitter is worth, or nothing.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        put(&mut out, self.t_ms.len() as u64);
        let Some(&first) = self.t_ms.first() else { return Ok(out) };
        let mut gaps: Vec<i64> = self.t_ms.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
        let middle = gaps.len() / 2;
        // A jittered step is taken to the next tenth of a second: the jitter then is all that is off.
        let step = match gaps.get(middle) {
            Some(_) => (*gaps.select_nth_unstable(middle).1).saturating_add(50) / 100 * 100,
            None => 0,
        };
        put_signed(&mut out, first);
        put_signed(&mut out, step);
        let mut at = first;
        let off: Vec<i64> = self
            .t_ms
            .iter()
            .map(|t| {
                let off = t.wrapping_sub(at);
                at = at.wrapping_add(step);
                off
            })
            .collect();
        let mut column = Vec::new();
        numbers::encode(&off, Shape::Any, &mut column)?;
        put_bytes(&mut out, &column);
        let unsure: Vec<i64> = self.unsure.iter().map(|&u| i64::from(u)).collect();
        numbers::encode(&unsure, Shape::Any, &mut out)?;
        Ok(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, TIMES);
        let rows = reader.count(MAX_ROWS)?;
        if rows == 0 {
            return Ok(Self::default());
        }
        let mut at = reader.signed()?;
        let step = reader.signed()?;
        let mut t_ms = Vec::new();
        numbers::decode(reader.bytes()?, rows, TIMES, &mut t_ms)?;
        for t in &mut t_ms {
            *t = t.wrapping_add(at);
            at = at.wrapping_add(step);
        }
        let mut unsure = Vec::new();
        numbers::decode(reader.rest(), rows, TIMES, &mut unsure)?;
        Ok(Self { t_ms, unsure: unsure.into_iter().map(|u| u != 0).collect() })
    }
}

/// Items of ascending series packed into parts of about [`PART_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct Parts {
    closed: Vec<(i64, Vec<u8>)>,
    index: Vec<(i64, usize)>,
    body: Vec<u8>,
}

impl Parts {
    /// Appends what `write` makes for the next series.
    pub(crate) fn push(
        &mut self,
        series: i64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let before = self.body.len();
        write(&mut self.body)?;
        self.index.push((series, self.body.len() - before));
        if self.body.len() >= PART_BYTES {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(&(first, _)) = self.index.first() else { return };
        let mut part = Vec::with_capacity(self.body.len() + self.index.len() * 4 + 8);
        put(&mut part, self.index.len() as u64);
        let mut before = 0;
        for (series, length) in self.index.drain(..) {
            put_signed(&mut part, series.wrapping_sub(before));
            put(&mut part, length as u64);
            before = series;
        }
        part.append(&mut self.body);
        self.closed.push((first, part));
    }

    /// The parts, each with its first series.
    pub(crate) fn finish(mut self) -> Vec<(i64, Vec<u8>)> {
        self.close();
        self.closed
    }
}

/// Neighbouring items of a part, of which nothing else is read.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    /// Series and length of each item, ascending.
    index: Vec<(i64, usize)>,
    /// Where the first item begins in the part.
    at: usize,
    bytes: Vec<u8>,
}

impl Stretch {
    /// Finds the items of the series in `range`; `front` is the part, at least as far as its index goes.
    pub(crate) fn find(front: &[u8], range: RangeInclusive<i64>) -> Result<Self> {
        let mut reader = Reader::new(front, PART);
        let n = reader.count(MAX_PART_SERIES)?;
        let (mut series, mut skipped) = (0_i64, 0_usize);
        let mut index = Vec::new();
        for _ in 0..n {
            series = series.wrapping_add(reader.signed()?);
            let length = reader.count(MAX_ITEM_BYTES)?;
            if range.contains(&series) {
                index.push((series, length));
            } else if index.is_empty() {
                skipped += length;
            }
        }
        Ok(Self { index, at: front.len() - reader.rest().len() + skipped, bytes: Vec::new() })
    }

    /// Where the items stand in the part.
    pub(crate) fn place(&self) -> Range<usize> {
        self.at..self.at + self.index.iter().map(|item| item.1).sum::<usize>()
    }

    /// Gives it the bytes at [`Self::place`].
    pub(crate) fn fill(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// The items: series and bytes, ascending.
    pub(crate) fn items(&self) -> impl Iterator<Item = Result<(i64, &[u8])>> {
        let mut body = Reader::new(&self.bytes, PART);
        self.index.iter().map(move |&(series, length)| Ok((series, body.take(length)?)))
    }
}

/// The items of a part: series and bytes, ascending.
pub(crate) fn items(part: &[u8]) -> Result<impl Iterator<Item = Result<(i64, &[u8])>>> {
    let mut body = Reader::new(part, PART);
    let index = Stretch::find(part, i64::MIN..=i64::MAX)?;
    body.take(index.at)?;
    Ok(index.index.into_iter().map(move |(series, length)| Ok((series, body.take(length)?))))
}

/// What is told of a part whose items lie outside it.
pub(crate) fn damaged_part() -> crate::StoreError {
    damaged(PART)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_decoded_as_encoded(
            start in -1_i64 << 40..1 << 45,
            steps in prop::collection::vec((0..70_000_i64, any::<bool>()), 0..200),
        ) {
            let mut at = start;
            let mut times = Times::default();
            for (step, unsure) in steps {
                at += step;
                times.t_ms.push(at);
                times.unsure.push(unsure);
            }
            prop_assert_eq!(Times::decode(&times.encode().unwrap()).unwrap(), times);
        }

        #[test]
        fn damaged_times_and_parts_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Times::decode(&bytes);
            if let Ok(items) = items(&bytes) {
                for item in items.take(100) {
                    let _ = item;
                }
            }
        }
    }

    #[test]
    fn rounds_without_jitter_take_a_few_bytes_and_with_jitter_little_more_than_its_bits() {
        let even = Times {
            t_ms: (0..1440).map(|i| 1_700_000_000_000 + i * 60_000).collect(),
            unsure: vec![false; 1440],
        };
        assert!(even.encode().unwrap().len() < 24);
        let jitter = Times {
            t_ms: (0..1440).map(|i| 1_700_000_000_000 + i * 60_000 + i * 7_919 % 21).collect(),
            unsure: vec![false; 1440],
        };
        assert!(jitter.encode().unwrap().len() < 1_100);
    }

    #[test]
    fn parts_are_cut_by_size_and_each_series_is_found_in_its_part() {
        let mut parts = Parts::default();
        for series in 0..100 {
            parts
                .push(series * 3, |out| {
                    out.resize(out.len() + 2_000, u8::try_from(series).unwrap());
                    Ok(())
                })
                .unwrap();
        }
        let parts = parts.finish();
        assert_eq!(parts.iter().map(|p| p.0).collect::<Vec<_>>(), [0, 99, 198, 297]);
        assert_eq!(items(&parts[3].1).unwrap().count(), 1);
        let part = &parts[1].1;
        let mut two = Stretch::find(part, 101..=105).unwrap();
        two.fill(part[two.place()].to_vec());
        let two: Vec<_> = two.items().map(Result::unwrap).collect();
        assert_eq!(two, [(102, &[34_u8; 2_000][..]), (105, &[35_u8; 2_000][..])]);
        assert!(Stretch::find(part, 103..=104).unwrap().place().is_empty());
    }
}
