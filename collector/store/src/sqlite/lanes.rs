//! Numbers of lanes and records, and which numbers of a lane are covered.

use crate::{LaneProgress, SeqRange};

/// Bits of a sequence number: 17 thousand million records of one epoch, 50 years at 10 a second.
const SEQ_BITS: u32 = 34;
/// Highest sequence number that is taken.
pub(super) const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;
/// Bits of a lane's ordinal at its site.
const ORDINAL_BITS: u32 = 11;
/// Lanes of one site, over all its agents and their epochs.
pub(super) const MAX_SITE_LANES: i64 = 1 << ORDINAL_BITS;
/// Highest site number: with the above it makes a positive 63-bit key.
pub(super) const MAX_SITE: i64 = (1 << (63 - SEQ_BITS - ORDINAL_BITS)) - 1;
/// Covered stretches above the watermark that a lane may have; an agent that sends live records
/// before its backlog has two or three.
pub(super) const MAX_STRETCHES: usize = 1024;
/// Stretches that an acknowledgement tells.
const MAX_TOLD: usize = 64;

/// Number of the first lane of a site.
pub(super) fn first_lane_id(site: i64) -> i64 {
    site << ORDINAL_BITS
}

/// Key of a record in the head.
pub(super) fn head_key(lane_id: i64, seq: u64) -> i64 {
    debug_assert!((1..=MAX_SEQ).contains(&seq), "sequence number {seq}");
    lane_id << SEQ_BITS | seq.cast_signed()
}

/// Lane and sequence number of a key of the head.
pub(super) fn split_key(key: i64) -> (i64, u64) {
    (key >> SEQ_BITS, key.cast_unsigned() & MAX_SEQ)
}

/// Which numbers of a lane are committed or explained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Covered {
    /// All from 1 up to this one.
    pub(super) contig_upto: u64,
    /// Stretches above, ascending, neither touching each other nor the watermark.
    above: Vec<(u64, u64)>,
}

/// The stretches would become too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyStretches;

impl Covered {
    pub(super) fn from_row(contig_upto: u64, above: &[u8]) -> Option<Self> {
        let (pairs, rest) = above.as_chunks::<16>();
        let above: Vec<_> = pairs
            .iter()
            .map(|pair| {
                let (words, _) = pair.as_chunks::<8>();
                (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
            })
            .collect();
        let mut last = contig_upto;
        let ascending = above.iter().all(|&(from, to)| {
            let good = from > last + 1 && to >= from && to <= MAX_SEQ;
            last = to.min(MAX_SEQ);
            good
        });
        (rest.is_empty() && ascending && contig_upto <= MAX_SEQ)
            .then_some(Self { contig_upto, above })
    }

    pub(super) fn above_bytes(&self) -> Vec<u8> {
        self.above
            .iter()
            .flat_map(|(from, to)| [from.to_le_bytes(), to.to_le_bytes()])
            .flatten()
            .collect()
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        if seq <= self.contig_upto {
            return true;
        }
        let after = self.above.partition_point(|&(from, _)| from <= seq);
        after > 0 && self.above[after - 1].1 >= seq
    }

    /// Highest number covered, 0 for none.
    pub(super) fn last(&self) -> u64 {
        self.above.last().map_or(self.contig_upto, |&(_, to)| to)
    }

    /// Covers `from..=to` and returns the parts that were not yet.
    pub(super) fn cover(&mut self, from: u64, to: u64) -> Result<Vec<SeqRange>, TooManyStretches> {
        let from = from.max(self.contig_upto + 1);
        if from > to {
            return Ok(Vec::new());
        }
        // Stretches that overlap or touch: `start..end` of `above`.
        let start = self.above.partition_point(|&(_, last)| last + 1 < from);
        let end = self.above.partition_point(|&(first, _)| first <= to + 1);
        let touches_watermark = from == self.contig_upto + 1;
        if start == end && !touches_watermark && self.above.len() >= MAX_STRETCHES {
            return Err(TooManyStretches);
        }
        let (mut fresh, mut next) = (Vec::new(), from);
        for &(first, last) in &self.above[start..end] {
            if first > next {
                fresh.push(SeqRange { from: next, to: (first - 1).min(to) });
            }
            next = next.max(last + 1);
        }
        if next <= to {
            fresh.push(SeqRange { from: next, to });
        }
        let joined_from = self.above[start..end].first().map_or(from, |first| first.0.min(from));
        let joined_to = self.above[start..end].last().map_or(to, |last| last.1.max(to));
        if touches_watermark {
            self.above.drain(start..end);
            self.contig_upto = joined_to;
        } else {
            self.above.splice(start..end, [(joined_from, joined_to)]);
        }
        Ok(fresh)
    }

    pub(super) fn progress(&self, lane: crate::LaneKey) -> LaneProgress {
        let told = self.above.iter().take(MAX_TOLD);
        LaneProgress {
            lane,
            contig_upto: self.contig_upto,
            above: told.map(|&(from, to)| SeqRange { from, to }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_gives_back_its_lane_and_number_and_stays_positive() {
        let lane = first_lane_id(MAX_SITE) + MAX_SITE_LANES - 1;
        let key = head_key(lane, MAX_SEQ);
        assert!(key > 0);
        assert_eq!(split_key(key), (lane, MAX_SEQ));
        assert!(first_lane_id(2) > first_lane_id(1) + MAX_SITE_LANES - 1);
    }

    #[test]
    fn stretches_are_bounded_but_the_watermark_always_moves() {
        let mut covered = Covered::default();
        for n in 0..MAX_STRETCHES as u64 {
            covered.cover(3 + 2 * n, 3 + 2 * n).unwrap();
        }
        let last = covered.last();
        assert_eq!(covered.cover(last + 2, last + 2), Err(TooManyStretches));
        assert!(covered.cover(last + 1, last + 1).is_ok());
        covered.cover(1, 2).unwrap();
        assert_eq!(covered.contig_upto, 3);
    }

    proptest! {
        #[test]
        fn covering_is_the_union_of_what_was_covered(
            ranges in proptest::collection::vec((1..80_u64, 0..12_u64), 0..40),
        ) {
            let (mut covered, mut model) = (Covered::default(), BTreeSet::new());
            for (from, more) in ranges {
                let fresh = covered.cover(from, from + more).unwrap();
                let told: BTreeSet<u64> = fresh.iter().flat_map(|r| r.from..=r.to).collect();
                let expected: BTreeSet<u64> =
                    (from..=from + more).filter(|seq| !model.contains(seq)).collect();
                prop_assert_eq!(&told, &expected);
                model.extend(expected);
                prop_assert!((1..100).all(|seq| covered.contains(seq) == model.contains(&seq)));
                prop_assert!(!model.contains(&(covered.contig_upto + 1)));
                prop_assert_eq!(covered.last(), model.last().copied().unwrap_or(0));
                let read = Covered::from_row(covered.contig_upto, &covered.above_bytes());
                prop_assert_eq!(read.as_ref(), Some(&covered));
            }
        }
    }
}
