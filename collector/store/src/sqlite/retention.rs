//! Deleting what is past its retention, a few rows at a time.

use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteStore, blocks::day_of, failed};
use crate::{MaintenanceReport, Result, Retention};

mod access;
mod others;

/// Groups whose old rows are deleted in one round, in one transaction.
const MAX_OLD_GROUPS: usize = 32;
/// Rows deleted of each.
const MAX_ROWS: u32 = 64;
/// Groups looked at in one round: a step in an index each.
const MAX_GROUPS: usize = 20_000;
const ACTION: &str = "delete what is past its retention";

/// Where the next round goes on.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    table: usize,
    after: (i64, u32),
    /// The day on which all tables were last seen to hold nothing old.
    done: Option<i64>,
    /// As `done`, for what is not samples.
    others_done: Option<i64>,
}

struct Table {
    next_group: &'static str,
    is_old: &'static str,
    delete: &'static str,
}

macro_rules! table {
    ($name:literal) => {
        Table {
            next_group: concat!(
                "SELECT site, grp FROM ",
                $name,
                " WHERE (site, grp) > (?1, ?2) ORDER BY site, grp LIMIT 1"
            ),
            is_old: concat!(
                "SELECT EXISTS (SELECT 1 FROM ",
                $name,
                " WHERE site = ?1 AND grp = ?2 AND day < ?3)"
            ),
            delete: concat!(
                "DELETE FROM ",
                $name,
                " WHERE id IN (SELECT id FROM ",
                $name,
                " WHERE site = ?1 AND grp = ?2 AND day < ?3 LIMIT ?4)"
            ),
        }
    };
}

/// `block_time` before `block`: a day without it has no samples, whatever parts are left.
const TABLES: [Table; 6] = [
    table!("block_time"),
    table!("block"),
    table!("rollup_fine"),
    table!("rollup_access"),
    table!("rollup_hour"),
    table!("rollup_day"),
];

/// One bounded round, noted in the report.
pub(super) async fn round(
    store: &SqliteStore,
    cursor: &mut Cursor,
    now_ms: i64,
    report: &mut MaintenanceReport,
) -> Result<()> {
    let kept = store.shelf().retention;
    if let Some(last) = kept.last_access_day(day_of(now_ms)) {
        let done = access::round(store, last).await?;
        if done.days > 0 {
            // Nothing is deleted while there may be more of them.
            report.access_days += done.days;
            report.damaged += done.damaged;
            return Ok(());
        }
    }
    report.expired += delete(store, kept, cursor, now_ms).await?;
    Ok(())
}

/// Deletes some rows; returns how many.
async fn delete(
    store: &SqliteStore,
    kept: Retention,
    cursor: &mut Cursor,
    now_ms: i64,
) -> Result<u64> {
    let today = day_of(now_ms);
    let mut others = 0;
    if cursor.others_done != Some(today) {
        others = store.write(ACTION, move |tx| others::round(tx, kept, now_ms)).await?;
        if others == 0 {
            cursor.others_done = Some(today);
        }
    }
    if cursor.done == Some(today) {
        return Ok(others);
    }
    let oldest = [
        kept.raw_days,
        kept.raw_days,
        kept.five_minute_days,
        kept.access_five_minute_days,
        kept.hour_days,
        kept.day_days,
    ]
    .map(|days| today - i64::from(days));
    let start = (cursor.table, cursor.after);
    let (end, old) = store.read(ACTION, move |conn| look(conn, start, oldest)).await?;
    (cursor.table, cursor.after) = end;
    if cursor.table == TABLES.len() {
        let others_done = cursor.others_done;
        *cursor = Cursor { done: Some(today), others_done, ..Cursor::default() };
    }
    if old.is_empty() {
        return Ok(others);
    }
    store
        .write(ACTION, move |tx| {
            let mut deleted = 0;
            for (table, (site, grp)) in old {
                let mut delete = tx.prepare_cached(TABLES[table].delete).map_err(failed(ACTION))?;
                deleted += delete
                    .execute(params![site, grp, oldest[table], MAX_ROWS])
                    .map_err(failed(ACTION))?;
            }
            Ok(deleted as u64 + others)
        })
        .await
}

type Place = (usize, (i64, u32));

/// Groups with old rows, and where to go on: before the first of them, for it may have more.
fn look(conn: &Connection, start: Place, oldest: [i64; 6]) -> Result<(Place, Vec<Place>)> {
    let (mut table, mut after) = start;
    let mut clean = start;
    let mut old = Vec::new();
    for _ in 0..MAX_GROUPS {
        if table == TABLES.len() || old.len() == MAX_OLD_GROUPS {
            break;
        }
        if let Some(group) = next(conn, &TABLES[table], after)? {
            after = group;
            let is_old: bool = conn
                .prepare_cached(TABLES[table].is_old)
                .and_then(|mut find| {
                    find.query_row(params![group.0, group.1, oldest[table]], |row| row.get(0))
                })
                .map_err(failed(ACTION))?;
            if is_old {
                old.push((table, group));
            }
        } else {
            (table, after) = (table + 1, (0, 0));
        }
        if old.is_empty() {
            clean = (table, after);
        }
    }
    Ok((clean, old))
}

fn next(conn: &Connection, table: &Table, after: (i64, u32)) -> Result<Option<(i64, u32)>> {
    conn.prepare_cached(table.next_group)
        .and_then(|mut find| {
            find.query_row(params![after.0, after.1], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(failed(ACTION))
}

#[cfg(test)]
mod tests;
