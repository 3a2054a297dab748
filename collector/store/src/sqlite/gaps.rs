//! Declared stretches without measures: merged where they touch, bounded for each site.

use domain::{id::GroupId, sample::Span};
use rusqlite::{Connection, Transaction, params};

use super::failed;
use crate::{DeclaredGap, Result};

/// Longest reason of a gap, characters.
const MAX_REASON_CHARS: usize = 200;
/// Gaps before a new one that are looked at: those of other reasons may stand between.
const NEAR: i64 = 16;
const ACTION: &str = "declare a gap";

/// A gap, on its way to the writing thread.
pub(super) struct OwnedGap {
    /// 0 for the whole site.
    group: u32,
    span: Span,
    reason: String,
}

impl OwnedGap {
    pub(super) fn new(group: Option<GroupId>, span: Span, reason: &str) -> Self {
        let group = group.map_or(0, |group| group.0);
        Self { group, span, reason: reason.chars().take(MAX_REASON_CHARS).collect() }
    }
}

impl From<&DeclaredGap> for OwnedGap {
    fn from(gap: &DeclaredGap) -> Self {
        Self::new(gap.group, gap.span, gap.reason)
    }
}

/// Gaps of a site.
pub(super) fn count(conn: &Connection, site: i64) -> Result<u32> {
    conn.prepare_cached("SELECT count(*) FROM gap WHERE site = ?1")
        .and_then(|mut count| count.query_row([site], |row| row.get(0)))
        .map_err(failed(ACTION))
}

/// Declares a gap at a site that has `kept` and may have `room`; returns how many it has then, `None`
/// when the gap would be one too many. Declared again after a crash, it is the same gap.
pub(super) fn declare(
    tx: &Transaction<'_>,
    site: i64,
    gap: &OwnedGap,
    kept: u32,
    room: u32,
) -> Result<Option<u32>> {
    let fail = failed(ACTION);
    let OwnedGap { group, span, reason } = gap;
    let near: Vec<(i64, i64, String)> = tx
        .prepare_cached(
            "SELECT from_ms, to_ms, reason FROM gap WHERE site = ?1 AND grp = ?2 AND from_ms <= ?3
             ORDER BY from_ms DESC, to_ms DESC LIMIT ?4",
        )
        .and_then(|mut find| {
            find.query_map(params![site, group, span.to_ms, NEAR], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect()
        })
        .map_err(&fail)?;
    let touching: Vec<(i64, i64)> = near
        .into_iter()
        .filter(|(_, to_ms, why)| *to_ms >= span.from_ms && why == reason)
        .map(|(from_ms, to_ms, _)| (from_ms, to_ms))
        .collect();
    if touching.iter().any(|&(from, to)| from <= span.from_ms && to >= span.to_ms) {
        return Ok(Some(kept));
    }
    let gone = u32::try_from(touching.len()).unwrap_or(u32::MAX);
    let left = kept.saturating_sub(gone);
    if left >= room {
        return Ok(None);
    }
    let (mut from_ms, mut to_ms) = (span.from_ms, span.to_ms);
    for (from, to) in touching {
        (from_ms, to_ms) = (from_ms.min(from), to_ms.max(to));
        tx.prepare_cached(
            "DELETE FROM gap WHERE site = ?1 AND grp = ?2 AND from_ms = ?3 AND to_ms = ?4
                 AND reason = ?5",
        )
        .and_then(|mut delete| delete.execute(params![site, group, from, to, reason]))
        .map_err(&fail)?;
    }
    tx.prepare_cached(
        "INSERT INTO gap (site, grp, from_ms, to_ms, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut put| put.execute(params![site, group, from_ms, to_ms, reason]))
    .map_err(&fail)?;
    Ok(Some(left + 1))
}
