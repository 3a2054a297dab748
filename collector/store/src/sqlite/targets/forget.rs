//! The end of withdrawn rungs: they come with what agents report, so that they may not pile up.
//!
//! A rung is forgotten whole, with its series and its history; no row and no number is given to
//! another address. Layouts keep the numbers of its series, so that the records of those layouts can
//! be read, and these columns are nobody's. What operators withdrew is never forgotten.

use domain::{
    id::{SeriesId, SiteId, TargetId},
    target::{Detail, Role, Series},
};
use rusqlite::{Connection, Transaction, params};

use crate::{
    Result, StoreError,
    sqlite::{
        failed,
        rows::{all, change},
    },
};

/// Withdrawn rungs that a site keeps of each role, so that hops that change each day take no
/// gateway's history.
pub(crate) const MAX_WITHDRAWN_RUNGS: i64 = 256;
/// Rungs forgotten in one transaction: more than one, so that a site that has too many comes down.
const FORGET_AT_ONCE: i64 = 8;

/// Forgets the rungs of a role that were withdrawn first, if there are too many. Not one whose
/// incident is open or behind which something stands: the evaluator and the ladder end that within
/// minutes. Not the newest target or series either: SQLite would give their numbers out again.
pub(super) fn forget_rungs(tx: &Transaction<'_>, site: SiteId, role: Role) -> Result<()> {
    let fail = failed("forget withdrawn rungs");
    let of_role = params![site.0, role.code()];
    let count: i64 = tx
        .query_row(
            "SELECT count(*) FROM target
             WHERE site = ?1 AND role = ?2 AND ladder AND NOT active",
            of_role,
            |row| row.get(0),
        )
        .map_err(&fail)?;
    let surplus = (count - MAX_WITHDRAWN_RUNGS).min(FORGET_AT_ONCE);
    if surplus <= 0 {
        return Ok(());
    }
    let oldest: Vec<i64> = all(
        tx,
        "SELECT id FROM target AS rung
         WHERE site = ?1 AND role = ?2 AND ladder AND NOT active
           AND id < (SELECT max(id) FROM target)
           AND NOT EXISTS (SELECT 1 FROM series
                           WHERE target = rung.id AND series.id = (SELECT max(id) FROM series))
           AND NOT EXISTS (SELECT 1 FROM target AS behind
                           WHERE behind.parent = rung.id AND behind.active)
           AND NOT EXISTS (SELECT 1 FROM incident
                           WHERE incident.target = rung.id AND closed_ms IS NULL)
         ORDER BY withdrawn, id LIMIT ?3",
        params![site.0, role.code(), surplus],
        |row| row.get(0),
    )
    .map_err(&fail)?;
    for id in oldest {
        for sql in [
            "UPDATE target SET parent = NULL WHERE parent = ?1",
            "UPDATE incident SET target = NULL WHERE target = ?1",
            "DELETE FROM series_group WHERE series IN (SELECT id FROM series WHERE target = ?1)",
            "DELETE FROM series WHERE target = ?1",
            "DELETE FROM target WHERE id = ?1",
        ] {
            change(tx, sql, [id]).map_err(&fail)?;
        }
    }
    Ok(())
}

/// The columns of a layout of which some series are forgotten: these keep their places, as columns
/// of no metric. A number that was never given out is damage.
pub(super) fn with_forgotten(
    conn: &Connection,
    site: SiteId,
    ids: &[SeriesId],
    found: Vec<Series>,
) -> Result<Vec<Series>> {
    let last: i64 = conn
        .query_row("SELECT coalesce(max(id), 0) FROM series", [], |row| row.get(0))
        .map_err(failed("read a layout"))?;
    let mut found = found.into_iter().peekable();
    ids.iter()
        .map(|id| match found.next_if(|series| series.id == *id) {
            Some(series) => Ok(series),
            None if (1..=last).contains(&id.0) => Ok(Series {
                id: *id,
                site,
                target: TargetId(0),
                metric: 0,
                instance: 0,
                label: String::new(),
                detail: Detail::Coarse,
            }),
            None => Err(StoreError::Damaged { what: format!("layout with series {}", id.0) }),
        })
        .collect()
}

#[cfg(test)]
mod tests;
