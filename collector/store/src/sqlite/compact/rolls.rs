//! Rolling up one day of a group, at compaction and for questions alike.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    metric::{self, Kind},
    rate::{self, Break, Life, MAX_GAP_PERIODS, Narrow},
    rollup::{self, Roll, Rule},
    sample::{Sample, Span},
};
use rusqlite::{Connection, params};

use crate::{
    Result,
    sqlite::{
        blocks::DAY_MS,
        failed,
        read::{
            Facts, Shelf,
            gather::{GroupKey, RECORD_REACH_MS, day_start, gather},
            period_ms,
        },
        rollup::FINE_MS,
    },
};

/// Rolls up series of one group over one day.
pub(crate) struct Roller {
    day_ms: i64,
    period_ms: i64,
    reach_ms: i64,
    /// Restarts of a target.
    restarts: BTreeMap<i64, Vec<Break>>,
    /// Discontinuities of an interface of a target.
    marks: BTreeMap<(i64, u32), Vec<Break>>,
    /// Speeds of an interface of a target.
    speeds: BTreeMap<(i64, u32), Vec<Sample>>,
}

impl Roller {
    /// Looks up where the counters among `facts` started anew.
    pub(crate) fn new(
        conn: &Connection,
        shelf: &Shelf,
        key: GroupKey,
        day: i64,
        facts: &[Facts],
    ) -> Result<Self> {
        let period_ms = period_ms(conn, key.grp)?;
        let reach_ms = (period_ms * MAX_GAP_PERIODS).max(RECORD_REACH_MS);
        let mut roller = Self {
            day_ms: day_start(day),
            period_ms,
            reach_ms,
            restarts: BTreeMap::new(),
            marks: BTreeMap::new(),
            speeds: BTreeMap::new(),
        };
        let mut clocks: BTreeMap<i64, Facts> = BTreeMap::new();
        let counters = facts.iter().filter(|one| one.kind() == Kind::Counter);
        let asked: BTreeSet<(i64, u32)> = counters.map(|one| (one.target, one.instance)).collect();
        for (target, instance) in asked {
            for clock in clocks_of(conn, target, instance)? {
                clocks.insert(clock.id, clock);
            }
        }
        if clocks.is_empty() {
            return Ok(roller);
        }
        let ids: Vec<i64> = clocks.keys().copied().collect();
        let gathered = gather(conn, shelf, key, &ids, roller.span())?;
        for (clock, place) in clocks.values().zip(0..) {
            let samples = gathered.samples(place);
            let interface = (clock.target, clock.instance);
            match clock.metric {
                metric::SYS_UP_TIME => {
                    roller.restarts.insert(clock.target, rate::restarts(&samples));
                }
                metric::IF_SPEED => {
                    roller.speeds.insert(interface, samples);
                }
                _ => {
                    roller.marks.insert(interface, rate::discontinuities(&samples));
                }
            }
        }
        Ok(roller)
    }

    /// The stretch whose samples are needed.
    pub(crate) fn span(&self) -> Span {
        Span {
            from_ms: self.day_ms.saturating_sub(self.reach_ms),
            to_ms: self.day_ms.saturating_add(DAY_MS + self.reach_ms),
        }
    }

    /// The five-minute buckets of a series, from its samples in [`Self::span`].
    pub(crate) fn fine(&self, facts: &Facts, samples: &[Sample]) -> Vec<Roll> {
        let kind = facts.kind();
        let rule = Rule { kind, step_ms: FINE_MS, period_ms: self.period_ms };
        let day = Span { from_ms: self.day_ms, to_ms: self.day_ms + DAY_MS };
        if kind != Kind::Counter {
            return rollup::roll(samples, Life::default(), rule, day);
        }
        let restarts = self.restarts.get(&facts.target);
        let interface = (facts.target, facts.instance);
        let marks = self.marks.get(&interface);
        let breaks =
            rate::merge_breaks(restarts.into_iter().chain(marks).flatten().copied().collect());
        let narrow = facts.narrow().map(|unit| Narrow {
            unit,
            speeds: self.speeds.get(&interface).map_or(&[], Vec::as_slice),
        });
        rollup::roll(samples, Life { breaks: &breaks, narrow }, rule, day)
    }

    /// What a series says across the edges at the start and at the end of the day: 0 for nothing,
    /// else a hash of the neighbouring readings. Sums of it over all series tell whether something
    /// came that changes the bucket on the other side.
    pub(crate) fn edges(&self, facts: &Facts, samples: &[Sample]) -> [u64; 2] {
        let clock = CLOCKS.contains(&facts.metric);
        if facts.kind() != Kind::Counter && !clock {
            return [0; 2];
        }
        [self.day_ms, self.day_ms + DAY_MS].map(|edge_ms| {
            let at = samples.partition_point(|sample| sample.t_ms < edge_ms);
            let valid = |sample: &&Sample| sample.value.is_some();
            let before = samples[..at].iter().rev().find(valid);
            let after = samples[at..].iter().find(valid);
            let Some((before, after)) = before.zip(after) else { return 0 };
            if after.t_ms - before.t_ms > self.period_ms * MAX_GAP_PERIODS {
                return 0;
            }
            let mut bytes = [0; 40];
            let words = [
                facts.id,
                before.t_ms,
                before.value.unwrap_or_default(),
                after.t_ms,
                after.value.unwrap_or_default(),
            ];
            for (word, bytes) in words.iter().zip(bytes.as_chunks_mut::<8>().0) {
                *bytes = word.to_le_bytes();
            }
            xxhash_rust::xxh3::xxh3_64(&bytes)
        })
    }
}

/// Metrics without which the growth of a counter is not known.
const CLOCKS: [u32; 3] =
    [metric::SYS_UP_TIME, metric::IF_SPEED, metric::IF_COUNTER_DISCONTINUITY_TIME];

/// The series that tell when the counters of an interface started anew, and how fast they may grow.
fn clocks_of(conn: &Connection, target: i64, instance: u32) -> Result<Vec<Facts>> {
    let fail = failed("read samples");
    let mut find = conn
        .prepare_cached(
            "SELECT id, target, metric, instance, coarse FROM series
             WHERE target = ?1
               AND ((metric = ?2 AND instance = 0) OR (metric IN (?3, ?4) AND instance = ?5))",
        )
        .map_err(&fail)?;
    find.query_map(params![target, CLOCKS[0], CLOCKS[1], CLOCKS[2], instance], Facts::from_row)
        .and_then(Iterator::collect)
        .map_err(&fail)
}
