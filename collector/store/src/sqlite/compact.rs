//! Upkeep: finished days leave the head for column blocks and rollups.
//!
//! A day of a group is compacted an hour after it ended, and again when records of it come late. The
//! work is done on a reader's snapshot; the writing thread only puts the result in place, in one
//! transaction with the removal of the very records that it was made of, so a question sees each
//! sample once at any time.
//!
//! What came late may also change a counter's growth across midnight. Each block remembers what it
//! saw around its two edges; when a compaction sees something else there than the neighbour did, the
//! neighbour is noted in `block_stale` and rolled up again.

pub(crate) mod rolls;

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    id::{GroupId, SiteId},
    metric::Kind,
    percentile::class_of,
    rollup::{Roll, fold},
    sample::Sample,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    SqliteStore,
    batch::MAX_KEPT_ASIDE,
    blocks::{self, Cells, Parts, State, Times, day_of, numbers::Shape},
    failed,
    lanes::split_key,
    read::{
        Facts, Shelf, facts,
        gather::{Gathered, GroupKey, day_start, gather, sample},
    },
    retention,
    rollup::{
        classes::{self, Classes},
        encode_fine,
        wide::{self, Wide},
    },
    seen,
};
use crate::{MaintenanceReport, Result, Step, StoreError};
use rolls::Roller;

/// How long after its end a day is still left to late records.
const GRACE_MS: i64 = 3_600_000;
/// A block is not written again for late records more often than this: a backlog comes in a stream.
const REWRITE_PAUSE_MS: i64 = 600_000;
/// Group days in one round of upkeep.
const MAX_JOBS: usize = 256;
/// Of them, days rolled up again for what came late beside them.
const MAX_STALE: u32 = 128;
/// Samples in one round of upkeep, beyond which no further day is begun.
const MAX_ROUND_SAMPLES: u64 = 4_000_000;
/// Cells held in memory at a time; larger days are done some series at a time.
const MAX_CELLS: usize = 4_000_000;
/// Pages given back to the file system in one transaction: some 20 ms.
const VACUUM_PAGES: u32 = 2_000;
/// Free pages that are not worth moving others about for.
const FREE_PAGES: i64 = 8;

const ACTION: &str = "compact samples";

/// Where the next round of upkeep goes on.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The last group looked at.
    after: (i64, u32),
    pub(super) retention: retention::Cursor,
}

/// A day to compact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    key: GroupKey,
    day: i64,
}

/// One bounded round.
pub(super) async fn maintain(store: &SqliteStore, now_ms: i64) -> Result<MaintenanceReport> {
    let shelf = store.shelf();
    let mut cursor = shelf.upkeep.lock().await;
    let mut report = MaintenanceReport::default();
    let after = cursor.after;
    let (jobs, next) = store.read(ACTION, move |conn| due(conn, after, now_ms)).await?;
    cursor.after = next;
    for job in jobs {
        let shelf = store.shelf();
        let made = store.read(ACTION, move |conn| make(conn, &shelf, job, now_ms)).await;
        let made = match made {
            Err(error @ StoreError::Damaged { .. }) => {
                // One damaged block must not keep all others from being made.
                tracing::error!(site = job.key.site.0, group = job.key.grp.0, day = job.day, %error,
                    "cannot compact samples");
                report.damaged += 1;
                continue;
            }
            other => other?,
        };
        let (samples, blocks, expired) = (made.samples, made.blocks(), made.expired());
        report.head_rows += store.write("keep a block", move |tx| made.keep(tx)).await?;
        report.samples += samples;
        report.blocks += blocks;
        report.expired += expired;
        if report.samples >= MAX_ROUND_SAMPLES {
            break;
        }
    }
    report.expired += retention::round(store, &mut cursor.retention, now_ms).await?;
    if report.blocks == 0 {
        report.freed_pages = vacuum(store).await?;
    }
    Ok(report)
}

/// Gives some free pages back to the file system.
async fn vacuum(store: &SqliteStore) -> Result<u64> {
    const FREE: &str = "give pages back";
    let free = |conn: &Connection| {
        conn.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0))
            .map_err(failed(FREE))
    };
    let before = store.read(FREE, free).await?;
    if before <= FREE_PAGES {
        return Ok(0);
    }
    store
        .write(FREE, move |tx| {
            let before = free(tx)?;
            tx.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))
                .map_err(failed(FREE))?;
            Ok(before.saturating_sub(free(tx)?).unsigned_abs())
        })
        .await
}

/// Days that are due, group by group from `after` on, and where to go on.
fn due(conn: &Connection, after: (i64, u32), now_ms: i64) -> Result<(Vec<Job>, (i64, u32))> {
    let fail = failed(ACTION);
    let mut jobs = Vec::new();
    let mut stale = conn
        .prepare_cached("SELECT site, grp, day FROM block_stale ORDER BY site, grp, day LIMIT ?1")
        .map_err(&fail)?;
    let mut rows = stale.query([MAX_STALE]).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        let (site, grp) = (row.get(0).map_err(&fail)?, row.get(1).map_err(&fail)?);
        let key = GroupKey { site: SiteId(site), grp: GroupId(grp) };
        jobs.push(Job { key, day: row.get(2).map_err(&fail)? });
    }
    // The oldest record of each group in turn, a step in the index each.
    let mut oldest = conn
        .prepare_cached(
            "SELECT site, grp, t_ms FROM head INDEXED BY head_by_time
             WHERE grp IS NOT NULL AND (site, grp) > (?1, ?2) ORDER BY site, grp, t_ms LIMIT 1",
        )
        .map_err(&fail)?;
    let mut made = conn
        .prepare_cached("SELECT made_ms FROM block_time WHERE site = ?1 AND grp = ?2 AND day = ?3")
        .map_err(&fail)?;
    let mut at = after;
    let mut wrapped = after == (0, 0);
    while jobs.len() < MAX_JOBS {
        let found: Option<(i64, u32, i64)> = oldest
            .query_row(params![at.0, at.1], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()
            .map_err(&fail)?;
        let Some((site, grp, t_ms)) = found else {
            if wrapped {
                return Ok((jobs, (0, 0)));
            }
            wrapped = true;
            at = (0, 0);
            continue;
        };
        if wrapped && after != (0, 0) && (site, grp) > after {
            return Ok((jobs, (0, 0)));
        }
        at = (site, grp);
        let day = day_of(t_ms);
        if !is_finished(day, now_ms) {
            continue;
        }
        let made_ms: Option<i64> =
            made.query_row(params![site, grp, day], |row| row.get(0)).optional().map_err(&fail)?;
        if made_ms.is_none_or(|made_ms| (now_ms - made_ms).abs() >= REWRITE_PAUSE_MS) {
            jobs.push(Job { key: GroupKey { site: SiteId(site), grp: GroupId(grp) }, day });
        }
    }
    Ok((jobs, at))
}

/// Whether the records of a day may have left the head by now.
pub(crate) fn is_finished(day: i64, now_ms: i64) -> bool {
    day_start(day + 1).saturating_add(GRACE_MS) <= now_ms
}

/// What takes the place of a group day's records.
struct Made {
    job: Job,
    /// Records that leave the head.
    keys: Vec<i64>,
    /// Those of them that are not what they should be.
    odd: Vec<i64>,
    samples: u64,
    outcome: Outcome,
}

enum Outcome {
    Block(Box<Block>),
    /// Nothing but damaged records, or a day of which nothing is left to do.
    Nothing,
    /// The day's samples are past their retention, only its rollups are kept.
    Expired,
}

struct Block {
    made_ms: i64,
    edges: [u64; 2],
    times: Vec<u8>,
    parts: Vec<(i64, Vec<u8>)>,
    fine: Vec<(i64, Vec<u8>)>,
    /// Buckets and classes.
    hours: (Vec<u8>, Vec<u8>),
    day: (Vec<u8>, Vec<u8>),
}

impl Made {
    fn blocks(&self) -> u64 {
        u64::from(matches!(self.outcome, Outcome::Block(_)))
    }

    fn expired(&self) -> u64 {
        if matches!(self.outcome, Outcome::Expired) { self.keys.len() as u64 } else { 0 }
    }
}

fn make(conn: &Connection, shelf: &Shelf, job: Job, now_ms: i64) -> Result<Made> {
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
    let mut maker = Maker::new(day);
    // Every slice sees the same rounds: it is one snapshot.
    let rounds = records.len().max(1_440) * 2;
    for slice in facts.chunks((MAX_CELLS / rounds).max(1)) {
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

/// Series that the records or the block of a day speak of, ascending.
fn series_of(
    conn: &Connection,
    shelf: &Shelf,
    job: Job,
    records: &[(i64, u32)],
) -> Result<Vec<i64>> {
    let fail = failed(ACTION);
    let mut series = BTreeSet::new();
    let layouts: BTreeSet<u32> = records.iter().map(|record| record.1).collect();
    for layout in layouts {
        series.extend(shelf.layout(conn, job.key.grp, layout)?.iter().flat_map(|ids| ids.iter()));
    }
    let mut find = conn
        .prepare_cached("SELECT part FROM block WHERE site = ?1 AND grp = ?2 AND day = ?3")
        .map_err(&fail)?;
    let mut rows = find.query(params![job.key.site.0, job.key.grp.0, job.day]).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        let part = row.get_ref(0).and_then(|v| Ok(v.as_blob()?)).map_err(&fail)?;
        for item in blocks::items(part)? {
            series.insert(item?.0);
        }
    }
    Ok(series.into_iter().collect())
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
    hours: Vec<Wide>,
    days: Vec<Wide>,
    hour_classes: Vec<Classes>,
    day_classes: Vec<Classes>,
}

impl Maker {
    fn new(day: i64) -> Self {
        Self {
            day,
            times: None,
            odd: Vec::new(),
            samples: 0,
            edges: [0; 2],
            parts: Parts::default(),
            fine: Parts::default(),
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
        if !one.coarse {
            for classes in of_hours.values_mut() {
                classes.sort_unstable();
            }
            self.hour_classes.push(Classes { series, slots: of_hours.into_iter().collect() });
            self.fine.push(series, |out| encode_fine(fine, kind, day_ms, out))?;
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

impl Made {
    /// Puts everything in place; returns how many records left the head.
    fn keep(self, tx: &Transaction<'_>) -> Result<u64> {
        let fail = failed("keep a block");
        let Job { key, day } = self.job;
        let place = params![key.site.0, key.grp.0, day];
        tx.prepare_cached("DELETE FROM block_stale WHERE site = ?1 AND grp = ?2 AND day = ?3")
            .and_then(|mut delete| delete.execute(place))
            .map_err(&fail)?;
        if let Outcome::Block(block) = &self.outcome {
            block.keep(tx, self.job).map_err(&fail)?;
            // Days that are only rolled up again change nothing for their neighbours.
            if !self.keys.is_empty() {
                block.note_neighbours(tx, self.job).map_err(&fail)?;
            }
        }
        for &odd in &self.odd {
            tracing::error!(
                site = key.site.0,
                group = key.grp.0,
                record = odd,
                "a stored record does not decode, it is put aside"
            );
            set_aside(tx, odd).map_err(&fail)?;
        }
        seen::forget_head_rows(tx, &self.keys)
    }
}

/// Keeps a record of the head in its agent's ring of rejected records.
fn set_aside(tx: &Transaction<'_>, record: i64) -> rusqlite::Result<()> {
    let (lane, seq) = split_key(record);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO rejected_record
             (agent_no, slot, n, lane, epoch, seq, hash, t_ms, reason, payload)
         SELECT l.agent_no, last.n % ?4, last.n + 1, l.lane, l.epoch, ?3, h.hash, h.t_ms,
             'the stored payload does not decode', h.payload
         FROM head h JOIN lane l ON l.id = ?2,
             (SELECT coalesce(max(n), 0) AS n FROM rejected_record
              WHERE agent_no = (SELECT agent_no FROM lane WHERE id = ?2)) last
         WHERE h.key = ?1",
    )?
    .execute(params![record, lane, seq.cast_signed(), MAX_KEPT_ASIDE])?;
    Ok(())
}

impl Block {
    fn keep(&self, tx: &Transaction<'_>, job: Job) -> rusqlite::Result<()> {
        let Job { key, day } = job;
        let (site, grp) = (key.site.0, key.grp.0);
        tx.prepare_cached(
            "INSERT INTO block_time (site, grp, day, made_ms, before, after, times)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (site, grp, day) DO UPDATE SET made_ms = excluded.made_ms,
                 before = excluded.before, after = excluded.after, times = excluded.times",
        )?
        .execute(params![
            site,
            grp,
            day,
            self.made_ms,
            self.edges[0].cast_signed(),
            self.edges[1].cast_signed(),
            self.times
        ])?;
        let tables = [
            (
                "DELETE FROM block WHERE site = ?1 AND grp = ?2 AND day = ?3",
                "INSERT INTO block (site, grp, day, first, part) VALUES (?1, ?2, ?3, ?4, ?5)",
                &self.parts,
            ),
            (
                "DELETE FROM rollup_fine WHERE site = ?1 AND grp = ?2 AND day = ?3",
                "INSERT INTO rollup_fine (site, grp, day, first, part) VALUES (?1, ?2, ?3, ?4, ?5)",
                &self.fine,
            ),
        ];
        for (delete, insert, parts) in tables {
            tx.prepare_cached(delete)?.execute(params![site, grp, day])?;
            let mut insert = tx.prepare_cached(insert)?;
            for (first, part) in parts {
                insert.execute(params![site, grp, day, first, part])?;
            }
        }
        let wide = [
            (
                "INSERT OR REPLACE INTO rollup_hour (site, grp, day, buckets, classes)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                &self.hours,
            ),
            (
                "INSERT OR REPLACE INTO rollup_day (site, grp, day, buckets, classes)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                &self.day,
            ),
        ];
        for (put, (buckets, classes)) in wide {
            tx.prepare_cached(put)?.execute(params![site, grp, day, buckets, classes])?;
        }
        Ok(())
    }

    /// Notes the neighbours that saw something else at the common edge.
    fn note_neighbours(&self, tx: &Transaction<'_>, job: Job) -> rusqlite::Result<()> {
        let Job { key, day } = job;
        let mut note = tx.prepare_cached(
            "INSERT OR IGNORE INTO block_stale (site, grp, day)
             SELECT site, grp, day FROM block_time WHERE site = ?1 AND grp = ?2
                 AND ((day = ?3 - 1 AND after <> ?4) OR (day = ?3 + 1 AND before <> ?5))",
        )?;
        note.execute(params![
            key.site.0,
            key.grp.0,
            day,
            self.edges[0].cast_signed(),
            self.edges[1].cast_signed()
        ])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
