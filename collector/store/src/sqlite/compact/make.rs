//! Making the blocks and rollups of a group's day, on a reader's snapshot.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    metric::Kind,
    percentile::class_of,
    rollup::{Roll, fold},
    sample::Sample,
};
use rusqlite::{Connection, params};

use super::{ACTION, Job, rolls::Roller};
use crate::{
    Result, Step,
    sqlite::{
        blocks::{self, Cells, Parts, State, Times, day_of, numbers::Shape},
        failed,
        read::{
            Facts, Shelf, facts,
            gather::{Gathered, GroupKey, day_start, gather, sample},
        },
        rollup::{
            classes::{self, Classes},
            encode_fine,
            wide::{self, Wide},
        },
    },
};

/// Cells held in memory at a time; larger days are done some series at a time.
const MAX_CELLS: usize = 4_000_000;

/// What takes the place of a group day's records.
pub(super) struct Made {
    pub(super) job: Job,
    /// Records that leave the head.
    pub(super) keys: Vec<i64>,
    /// Those of them that are not what they should be.
    pub(super) odd: Vec<i64>,
    pub(super) samples: u64,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Block(Box<Block>),
    /// Nothing but damaged records, or a day of which nothing is left to do.
    Nothing,
    /// The day's samples are past their retention, only its rollups are kept.
    Expired,
}

pub(super) struct Block {
    pub(super) made_ms: i64,
    pub(super) edges: [u64; 2],
    pub(super) times: Vec<u8>,
    pub(super) parts: Vec<(i64, Vec<u8>)>,
    pub(super) fine: Vec<(i64, Vec<u8>)>,
    /// Five-minute buckets of access ports, if it is time for them.
    pub(super) access: Vec<(i64, Vec<u8>)>,
    /// All series have five-minute buckets.
    pub(super) all_fine: bool,
    /// Buckets and classes.
    pub(super) hours: (Vec<u8>, Vec<u8>),
    pub(super) day: (Vec<u8>, Vec<u8>),
}

impl Made {
    pub(super) fn blocks(&self) -> u64 {
        u64::from(matches!(self.outcome, Outcome::Block(_)))
    }

    pub(super) fn expired(&self) -> u64 {
        if matches!(self.outcome, Outcome::Expired) { self.keys.len() as u64 } else { 0 }
    }
}

pub(super) fn make(conn: &Connection, shelf: &Shelf, job: Job, now_ms: i64) -> Result<Made> {
    let fail = failed(ACTION);
    let Job { key, day } = job;
    let place = params![key.site.0, key.grp.0, day_start(day), day_start(day + 1)];
    let records: Vec<(i64, u32)> = conn
        .prepare_cached(
            "SELECT key, layout FROM head WHERE site = ?1 AND grp = ?2 AND t_ms >= ?3 AND t_ms < ?4",
        )
        .and_then(|mut find| {
            find.query_map(place, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(&fail)?;
    let mut made = Made {
        job,
        keys: records.iter().map(|record| record.0).collect(),
        odd: Vec::new(),
        samples: 0,
        outcome: Outcome::Nothing,
    };
    let exists = |sql| -> Result<bool> {
        conn.prepare_cached(sql)
            .and_then(|mut find| {
                find.query_row(params![key.site.0, key.grp.0, day], |row| row.get(0))
            })
            .map_err(&fail)
    };
    let has_block = exists(
        "SELECT EXISTS (SELECT 1 FROM block_time WHERE site = ?1 AND grp = ?2 AND day = ?3)",
    )?;
    let has_rollup = exists(
        "SELECT EXISTS (SELECT 1 FROM rollup_day WHERE site = ?1 AND grp = ?2 AND day = ?3)",
    )?;
    if !has_block && has_rollup {
        made.outcome = Outcome::Expired;
        return Ok(made);
    }
    if !has_block && records.is_empty() {
        return Ok(made);
    }
    let series = series_of(conn, shelf, job, &records)?;
    let facts = facts(conn, &series)?;
    let roller = Roller::new(conn, shelf, key, day, &facts)?;
    let mut maker = Maker::new(day, shelf.retention.makes_access(day, day_of(now_ms)));
    // Every slice sees the same rounds: it is one snapshot.
    for slice in facts.chunks(series_at_a_time(records.len().max(1_440) * 2)) {
        let ids: Vec<i64> = slice.iter().map(|one| one.id).collect();
        let gathered = gather(conn, shelf, key, &ids, roller.span())?;
        maker.add(slice, &gathered, &roller)?;
    }
    if maker.times.is_none() {
        let gathered = gather(conn, shelf, key, &[], roller.span())?;
        maker.note_times(&gathered)?;
    }
    let taken: BTreeSet<i64> = made.keys.iter().copied().collect();
    made.odd = maker.odd.iter().copied().filter(|key| taken.contains(key)).collect();
    made.samples = maker.samples;
    if let Some(block) = maker.finish(now_ms)? {
        made.outcome = Outcome::Block(Box::new(block));
    }
    Ok(made)
}

/// How many series of a day of so many rounds are held in memory at a time.
pub(crate) fn series_at_a_time(rounds: usize) -> usize {
    (MAX_CELLS / rounds.max(1)).max(1)
}

/// Series that the records or the block of a day speak of, ascending.
fn series_of(
    conn: &Connection,
    shelf: &Shelf,
    job: Job,
    records: &[(i64, u32)],
) -> Result<Vec<i64>> {
    let mut series = series_in_block(conn, job.key, job.day)?;
    let layouts: BTreeSet<u32> = records.iter().map(|record| record.1).collect();
    for layout in layouts {
        series.extend(shelf.layout(conn, job.key.grp, layout)?.iter().flat_map(|ids| ids.iter()));
    }
    Ok(series.into_iter().collect())
}

/// Series that the block of a day speaks of.
pub(crate) fn series_in_block(conn: &Connection, key: GroupKey, day: i64) -> Result<BTreeSet<i64>> {
    let fail = failed(ACTION);
    let mut series = BTreeSet::new();
    let mut find = conn
        .prepare_cached("SELECT part FROM block WHERE site = ?1 AND grp = ?2 AND day = ?3")
        .map_err(&fail)?;
    let mut rows = find.query(params![key.site.0, key.grp.0, day]).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        let part = row.get_ref(0).and_then(|v| Ok(v.as_blob()?)).map_err(&fail)?;
        for item in blocks::items(part)? {
            series.insert(item?.0);
        }
    }
    Ok(series)
}

/// Appends the five-minute buckets of a series and day.
pub(crate) fn push_fine(parts: &mut Parts, one: &Facts, day: i64, fine: &[Roll]) -> Result<()> {
    parts.push(one.id, |out| encode_fine(fine, one.kind(), day_start(day), out))
}

/// Builds a block series by series.
struct Maker {
    day: i64,
    times: Option<Times>,
    odd: Vec<i64>,
    samples: u64,
    edges: [u64; 2],
    parts: Parts,
    fine: Parts,
    /// `None` while questions roll access ports up from their samples.
    access: Option<Parts>,
    all_fine: bool,
    hours: Vec<Wide>,
    days: Vec<Wide>,
    hour_classes: Vec<Classes>,
    day_classes: Vec<Classes>,
}

impl Maker {
    fn new(day: i64, with_access: bool) -> Self {
        Self {
            day,
            times: None,
            odd: Vec::new(),
            samples: 0,
            edges: [0; 2],
            parts: Parts::default(),
            fine: Parts::default(),
            access: with_access.then(Parts::default),
            all_fine: true,
            hours: Vec::new(),
            days: Vec::new(),
            hour_classes: Vec::new(),
            day_classes: Vec::new(),
        }
    }

    fn note_times(&mut self, gathered: &Gathered) -> Result<()> {
        let mut times = Times::default();
        for round in gathered.rounds.iter().filter(|round| round.day == self.day) {
            times.t_ms.push(round.t_ms);
            times.unsure.push(round.unsure);
        }
        if times.t_ms.len() > blocks::MAX_ROWS {
            return Err(blocks::damaged("day of a group with more rounds than a block may have"));
        }
        self.odd.clone_from(&gathered.odd);
        self.times = Some(times);
        Ok(())
    }

    fn add(&mut self, slice: &[Facts], gathered: &Gathered, roller: &Roller) -> Result<()> {
        if self.times.is_none() {
            self.note_times(gathered)?;
        }
        let mut samples: Vec<Sample> = Vec::with_capacity(gathered.rounds.len());
        for (one, place) in slice.iter().zip(0..) {
            let mut cells = Cells::default();
            samples.clear();
            for (round, state, value) in gathered.cells(place) {
                samples.extend(sample(round, state, value));
                if round.day == self.day {
                    cells.push(state, value);
                    self.samples += u64::from(state != State::Absent);
                }
            }
            for (sum, edge) in self.edges.iter_mut().zip(roller.edges(one, &samples)) {
                *sum = sum.wrapping_add(edge);
            }
            if cells.polled() == 0 {
                continue;
            }
            let shape = match one.kind() {
                Kind::Counter => Shape::Counter,
                Kind::Gauge | Kind::State => Shape::Any,
            };
            self.parts.push(one.id, |out| cells.encode(shape, out))?;
            self.roll_up(one, &roller.fine(one, &samples))?;
        }
        Ok(())
    }

    fn roll_up(&mut self, one: &Facts, fine: &[Roll]) -> Result<()> {
        let (series, kind, day_ms) = (one.id, one.kind(), day_start(self.day));
        let mut of_hours: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for roll in fine {
            if let Some(mean) = roll.mean(kind) {
                let hour = (roll.from_ms - day_ms) / Step::Hour.ms();
                of_hours.entry(hour).or_default().push(class_of(mean).into());
            }
        }
        let mut of_day: Vec<i64> = of_hours.values().flatten().copied().collect();
        of_day.sort_unstable();
        self.day_classes.push(Classes { series, slots: vec![(0, of_day)] });
        if one.coarse {
            match &mut self.access {
                Some(access) => push_fine(access, one, self.day, fine)?,
                None => self.all_fine = false,
            }
        } else {
            for classes in of_hours.values_mut() {
                classes.sort_unstable();
            }
            self.hour_classes.push(Classes { series, slots: of_hours.into_iter().collect() });
            push_fine(&mut self.fine, one, self.day, fine)?;
        }
        let hours = fold(fine, kind, Step::Hour.ms());
        let rolls = fold(&hours, kind, Step::Day.ms());
        self.hours.push(Wide { series, kind, rolls: hours });
        self.days.push(Wide { series, kind, rolls });
        Ok(())
    }

    /// `None` when there is no round at all.
    fn finish(self, made_ms: i64) -> Result<Option<Block>> {
        let Some(times) = self.times.filter(|times| !times.t_ms.is_empty()) else {
            return Ok(None);
        };
        let day_ms = day_start(self.day);
        Ok(Some(Block {
            made_ms,
            edges: self.edges,
            times: times.encode()?,
            parts: self.parts.finish(),
            fine: self.fine.finish(),
            access: self.access.map(Parts::finish).unwrap_or_default(),
            all_fine: self.all_fine,
            hours: (
                wide::encode(&self.hours, day_ms, Step::Hour.ms())?,
                classes::encode(&self.hour_classes)?,
            ),
            day: (
                wide::encode(&self.days, day_ms, Step::Day.ms())?,
                classes::encode(&self.day_classes)?,
            ),
        }))
    }
}
