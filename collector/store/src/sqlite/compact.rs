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

pub(crate) mod keep;
pub(crate) mod make;
pub(crate) mod rolls;

use domain::chain::chain;
use domain::id::{GroupId, SiteId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteStore,
    blocks::day_of,
    failed,
    read::gather::{GroupKey, day_start},
    retention,
};
use crate::{MaintenanceReport, Result, StoreError};
use make::make;

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
                tracing::error!(
                    site = job.key.site.0,
                    group = job.key.grp.0,
                    day = job.day,
                    error = chain(&error),
                    "cannot compact samples"
                );
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
    retention::round(store, &mut cursor.retention, now_ms, &mut report).await?;
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

#[cfg(test)]
mod tests;
