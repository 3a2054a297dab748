//! Stretches without rounds: each must be declared as a gap.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use rusqlite::Connection;

/// How much later than its tick a round may be on a machine under load.
const LATE_MS: i64 = 2_000;

/// Declared stretch of a site; group 0 is all of them.
type Gap = (i64, i64);

/// A stretch between two rounds of a group that no gap declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The group.
    pub group: i64,
    /// The round before, Unix milliseconds.
    pub from_ms: i64,
    /// The round after.
    pub to_ms: i64,
}

/// When the rounds of each group of each site took place, and what was declared.
#[derive(Debug, Default)]
pub struct Rounds {
    taken: BTreeMap<(i64, i64), Vec<i64>>,
    /// Milliseconds between two rounds of a group.
    periods: HashMap<i64, i64>,
    gaps: HashMap<(i64, i64), Vec<Gap>>,
}

impl Rounds {
    /// Learns the periods and the gaps.
    pub fn read(read: &Connection) -> Result<Self> {
        let mut rounds = Self::default();
        let mut statement = read.prepare("SELECT id, period_s FROM poll_group")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            rounds.periods.insert(row.get(0)?, row.get::<_, i64>(1)? * 1_000);
        }
        let mut statement = read.prepare("SELECT site, grp, from_ms, to_ms FROM gap")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let gaps = rounds.gaps.entry((row.get(0)?, row.get(1)?)).or_default();
            gaps.push((row.get(2)?, row.get(3)?));
        }
        Ok(rounds)
    }

    /// Adds a round.
    pub fn add(&mut self, site: i64, group: i64, at_ms: i64) {
        self.taken.entry((site, group)).or_default().push(at_ms);
    }

    /// What nobody declared: between a group's first and last round no tick may be missing but in a gap.
    /// After a start the first regular round may come one and a half periods after the very first.
    #[must_use]
    pub fn holes(&self) -> Vec<Hole> {
        let mut holes = Vec::new();
        for (&(site, group), taken) in &self.taken {
            let period = self.periods.get(&group).copied().unwrap_or(0);
            let reach = period + period / 2 + LATE_MS;
            let of = |group| self.gaps.get(&(site, group)).into_iter().flatten();
            let mut gaps: Vec<Gap> = of(0).chain(of(group)).copied().collect();
            gaps.sort_unstable();
            let mut taken = taken.clone();
            taken.sort_unstable();
            for pair in taken.windows(2) {
                let (from_ms, to_ms) = (pair[0], pair[1]);
                let mut known = from_ms;
                for (from, to) in &gaps {
                    if *from <= known + reach {
                        known = known.max(*to);
                    }
                }
                if known + reach < to_ms {
                    holes.push(Hole { group, from_ms, to_ms });
                }
            }
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(taken_s: &[i64], gaps_s: &[(i64, i64, i64)]) -> usize {
        let mut rounds = Rounds { periods: HashMap::from([(7, 5_000)]), ..Rounds::default() };
        for at in taken_s {
            rounds.add(1, 7, at * 1_000);
        }
        for (group, from, to) in gaps_s {
            rounds.gaps.entry((1, *group)).or_default().push((from * 1_000, to * 1_000));
        }
        rounds.holes().len()
    }

    #[test]
    fn a_missing_tick_is_a_hole_unless_a_gap_declares_it() {
        assert_eq!(holes(&[0, 5, 11, 20], &[]), 0);
        assert_eq!(holes(&[0, 5, 15, 20], &[]), 1);
        assert_eq!(holes(&[20, 0, 15, 5], &[]), 1, "in whatever order they came");
        assert_eq!(holes(&[0, 5, 15, 20], &[(0, 6, 11)]), 0);
        assert_eq!(holes(&[0, 5, 15, 20], &[(7, 6, 11)]), 0);
        assert_eq!(holes(&[0, 5, 15, 20], &[(8, 6, 11)]), 1, "a gap of another group");
        assert_eq!(holes(&[0, 5, 60], &[(0, 6, 30), (0, 30, 55)]), 0);
        assert_eq!(holes(&[0, 5, 60], &[(0, 6, 30)]), 1, "a gap of half of it");
        assert_eq!(holes(&[0, 5, 60], &[(0, 6, 20), (0, 40, 58)]), 1, "nothing of the middle");
    }
}
