//! Sets of sequence numbers.

use proto::v1::Range;

/// Disjoint, ascending, not touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `from..=to`; nothing when `to` is before `from`.
    pub fn insert(&mut self, from: u64, to: u64) {
        if to < from {
            return;
        }
        // Those that overlap or touch the new one are swallowed by it.
        let start = self.0.partition_point(|&(_, end)| end.saturating_add(1) < from);
        let stop = self.0.partition_point(|&(begin, _)| begin <= to.saturating_add(1));
        let low = self.0.get(start).map_or(from, |&(begin, _)| begin.min(from));
        let high = if stop > start { self.0[stop - 1].1.max(to) } else { to };
        let (low, high) = if stop > start { (low, high) } else { (from, to) };
        self.0.splice(start..stop, [(low, high)]);
    }

    /// Whether all of `from..=to` is in the set; true when `to` is before `from`.
    #[must_use]
    pub fn covers(&self, from: u64, to: u64) -> bool {
        to < from
            || self
                .0
                .get(self.0.partition_point(|&(_, end)| end < from))
                .is_some_and(|&(begin, end)| begin <= from && to <= end)
    }

    /// Number of ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a peer's ranges are well-formed: ascending, disjoint, above `floor`.
#[must_use]
pub fn are_ordered(ranges: &[Range], floor: u64) -> bool {
    let mut before = floor;
    ranges.iter().all(|range| {
        let fine = range.from > before && range.from <= range.to;
        before = range.to;
        fine
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set_of_numbers(
            added in prop::collection::vec((0..40_u64, 0..8_u64), 0..20),
            asked in (0..50_u64, 0..50_u64),
        ) {
            let mut ranges = Ranges::default();
            let mut model = std::collections::BTreeSet::new();
            for (from, len) in added {
                ranges.insert(from, from + len);
                model.extend(from..=from + len);
            }
            prop_assert_eq!(
                ranges.covers(asked.0, asked.1),
                (asked.0..=asked.1).all(|n| model.contains(&n))
            );
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            prop_assert!(ranges.0.iter().all(|(from, to)| from <= to));
        }
    }

    #[test]
    fn the_ends_of_the_numbers_do_not_overflow() {
        let mut ranges = Ranges::default();
        ranges.insert(u64::MAX, u64::MAX);
        ranges.insert(0, 0);
        ranges.insert(1, u64::MAX - 1);
        assert!(ranges.covers(0, u64::MAX));
        assert_eq!(ranges.len(), 1);
    }

    #[test]
    fn ranges_of_a_peer_must_ascend() {
        let ranges = |pairs: &[(u64, u64)]| {
            pairs.iter().map(|&(from, to)| Range { from, to }).collect::<Vec<_>>()
        };
        assert!(are_ordered(&ranges(&[(5, 6), (9, 9)]), 4));
        assert!(!are_ordered(&ranges(&[(5, 4)]), 3));
        assert!(!are_ordered(&ranges(&[(5, 6), (6, 9)]), 3));
        assert!(!are_ordered(&ranges(&[(5, 6)]), 5));
    }
}
