//! Whether targets answer: the newest record of many groups.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    id::{GroupId, SiteId, TargetId},
    metric::{CATALOGUE, Metric},
    sample::Sample,
};
use rusqlite::{Connection, params};

use super::{
    super::{blocks::day_of, compact::is_finished, failed},
    Shelf,
    gather::read_rounds,
};
use crate::Result;

pub(super) const ACTION: &str = "read who answers";
/// Layouts whose signs are kept in memory, some 100 bytes each: those of 15,000 sites.
const MAX_KNOWN: usize = 100_000;

/// Where a layout tells whether its targets answer.
struct Signs {
    /// Columns of the layout.
    width: usize,
    /// Targets with the column of their sign.
    columns: Box<[(TargetId, usize)]>,
}

/// Signs by group and layout. A layout never changes once written, nor does what a series measures,
/// so that nothing of this grows old.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<(GroupId, u32), Arc<Signs>>>);

impl Known {
    fn of(
        &self,
        conn: &Connection,
        shelf: &Shelf,
        grp: GroupId,
        layout: u32,
    ) -> Result<Option<Arc<Signs>>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&(grp, layout)) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(ids) = shelf.layout(conn, grp, layout)? else { return Ok(None) };
        let targets = targets_by_sign(conn, grp)?;
        let columns = ids.iter().zip(0..).filter_map(|(id, at)| Some((*targets.get(id)?, at)));
        let signs = Arc::new(Signs { width: ids.len(), columns: columns.collect() });
        let mut known = lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((grp, layout), Arc::clone(&signs));
        Ok(Some(signs))
    }
}

/// The targets of a group by the series that tells whether they answer.
fn targets_by_sign(conn: &Connection, grp: GroupId) -> Result<HashMap<i64, TargetId>> {
    let fail = failed(ACTION);
    let numbers: Vec<String> = CATALOGUE
        .iter()
        .filter(|metric| Metric::is_sign(metric))
        .map(|metric| metric.number.to_string())
        .collect();
    // By the key of series: a switch has thousands of others.
    let sql = format!(
        "SELECT series.id, target.id FROM target CROSS JOIN series ON series.target = target.id
         WHERE target.grp = ?1 AND metric IN ({})",
        numbers.join(", ")
    );
    let mut find = conn.prepare_cached(&sql).map_err(&fail)?;
    find.query_map([grp.0], |row| Ok((row.get(0)?, TargetId(row.get(1)?))))
        .and_then(Iterator::collect)
        .map_err(&fail)
}

pub(super) fn signs(
    conn: &Connection,
    shelf: &Shelf,
    groups: &[(SiteId, GroupId)],
    now_ms: i64,
) -> Result<Vec<(TargetId, Sample)>> {
    let fail = failed(ACTION);
    let mut find = conn
        .prepare_cached(
            "SELECT t_ms, layout, payload FROM head WHERE site = ?1 AND grp = ?2
             ORDER BY t_ms DESC, key DESC LIMIT 1",
        )
        .map_err(&fail)?;
    let mut found = Vec::with_capacity(groups.len());
    for (site, grp) in groups {
        let mut rows = find.query(params![site.0, grp.0]).map_err(&fail)?;
        let Some(row) = rows.next().map_err(&fail)? else { continue };
        let t_ms: i64 = row.get(0).map_err(&fail)?;
        // What came late for a finished day may be older than what stands in that day's block.
        if is_finished(day_of(t_ms), now_ms) {
            continue;
        }
        let layout: u32 = row.get(1).map_err(&fail)?;
        let Some(signs) = shelf.signs.of(conn, shelf, *grp, layout)? else { continue };
        let payload = row.get_ref(2).and_then(|v| Ok(v.as_blob()?)).map_err(&fail)?;
        let rounds = read_rounds(shelf.read_payload, payload, signs.width);
        let Some(rounds) = rounds else { continue };
        let n = rounds.times_ms.len();
        let round = (0..n).max_by_key(|&i| (rounds.times_ms[i], i)).unwrap_or(0);
        found.extend(signs.columns.iter().map(|(target, column)| {
            let value = rounds.cells[column * n + round];
            (*target, Sample { t_ms: t_ms + rounds.times_ms[round], value })
        }));
    }
    Ok(found)
}
