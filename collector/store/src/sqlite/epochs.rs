//! Lives of a spool, each an epoch of its lanes: how many stay open, and what becomes of the others.
//!
//! A machine whose disk is reset at each start has a new epoch every day, and must never run out of
//! them. The oldest makes room: it is closed, not forgotten. Its watermark and the stretches above
//! stay, so that none of its records is committed a second time; an agent that comes back with it
//! is told to begin another, into which it takes what the collector lacks.
//!
//! An id stands in the keys of the head's records. When a site has used all, a closed epoch whose
//! records have left the head gives its own back and is kept under a negative one.

use domain::id::AgentId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    batch::ACTION,
    failed,
    lanes::{Covered, MAX_SEQ, MAX_SITE_LANES, first_lane_id, head_key},
};
use crate::{LaneKey, Result};

/// Epochs of one lane of an agent that are open: more by far than a spool can hold.
pub(super) const MAX_EPOCHS: i64 = 64;

/// The open epoch that must make room for a new one of its lane, if any must.
pub(super) fn one_too_many(
    tx: &Transaction<'_>,
    agent_no: i64,
    new: LaneKey,
) -> Result<Option<LaneKey>> {
    let epoch: Option<i64> = tx
        .prepare_cached(
            "SELECT epoch FROM lane WHERE agent_no = ?1 AND lane = ?2 AND closed_ms IS NULL
             ORDER BY opened DESC LIMIT 1 OFFSET ?3",
        )
        .and_then(|mut find| {
            find.query_row(params![agent_no, new.lane, MAX_EPOCHS - 1], |row| row.get(0)).optional()
        })
        .map_err(failed(ACTION))?;
    Ok(epoch.map(|epoch| LaneKey { epoch: epoch.cast_unsigned(), ..new }))
}

/// Closes an epoch.
pub(super) fn close(tx: &Transaction<'_>, key: LaneKey, now_s: u64) -> Result<()> {
    let LaneKey { agent: AgentId(agent), lane, epoch } = key;
    tracing::info!(agent = %key.agent, lane, epoch, "the oldest epoch of an agent makes room");
    let id: Option<i64> = tx
        .prepare_cached(
            "UPDATE lane SET closed_ms = ?4
             WHERE agent_no = (SELECT no FROM agent WHERE id = ?1) AND lane = ?2 AND epoch = ?3
             RETURNING id",
        )
        .and_then(|mut close| {
            let of = params![agent, lane, epoch.cast_signed(), milliseconds(now_s)];
            close.query_row(of, |row| row.get(0)).optional()
        })
        .map_err(failed(ACTION))?;
    // Nobody sends these again who has not been told to begin another epoch: numbers are enough.
    tx.prepare_cached("DELETE FROM seen_pack WHERE lane_id = ?1")
        .and_then(|mut delete| delete.execute([id]))
        .map_err(failed(ACTION))?;
    Ok(())
}

/// An id of a site that no lane ever had.
pub(super) fn never_used(tx: &Transaction<'_>, site: i64) -> Result<Option<i64>> {
    let first = first_lane_id(site);
    let last: Option<i64> = tx
        .prepare_cached("SELECT max(id) FROM lane WHERE id >= ?1 AND id < ?2")
        .and_then(|mut find| find.query_row([first, first + MAX_SITE_LANES], |row| row.get(0)))
        .map_err(failed(ACTION))?;
    let next = last.map_or(first, |last| last + 1);
    Ok((next < first + MAX_SITE_LANES).then_some(next))
}

/// Takes the id of the oldest closed epoch of a site, or of one of a withdrawn agent, whose records
/// have left the head.
pub(super) fn give_back(tx: &Transaction<'_>, site: i64, now_s: u64) -> Result<Option<i64>> {
    let (first, step) = (first_lane_id(site), head_key(1, 1) - 1);
    let found: Option<i64> = tx
        .prepare_cached(
            "SELECT lane.id FROM lane JOIN agent ON no = agent_no
             WHERE lane.id >= ?1 AND lane.id < ?2 AND (closed_ms IS NOT NULL OR NOT active)
               AND NOT EXISTS (SELECT 1 FROM head
                               WHERE key BETWEEN lane.id * ?3 AND lane.id * ?3 + ?4)
             ORDER BY opened LIMIT 1",
        )
        .and_then(|mut find| {
            let of = params![first, first + MAX_SITE_LANES, step, MAX_SEQ.cast_signed()];
            find.query_row(of, |row| row.get(0)).optional()
        })
        .map_err(failed(ACTION))?;
    let Some(id) = found else { return Ok(None) };
    tx.prepare_cached(
        "UPDATE lane SET id = (SELECT min(min(id), 0) - 1 FROM lane),
                         closed_ms = coalesce(closed_ms, ?2) WHERE id = ?1",
    )
    .and_then(|mut free| free.execute(params![id, milliseconds(now_s)]))
    .map_err(failed(ACTION))?;
    for sql in
        ["DELETE FROM seen_pack WHERE lane_id = ?1", "DELETE FROM seq_hole WHERE lane_id = ?1"]
    {
        tx.prepare_cached(sql)
            .and_then(|mut delete| delete.execute([id]))
            .map_err(failed(ACTION))?;
    }
    Ok(Some(id))
}

/// Makes a lane.
pub(super) fn open(tx: &Transaction<'_>, id: i64, agent_no: i64, key: LaneKey) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO lane (id, agent_no, lane, epoch, contig_upto, above, opened)
         VALUES (?1, ?2, ?3, ?4, 0, x'',
                 (SELECT coalesce(max(opened), 0) + 1 FROM lane WHERE agent_no = ?2))",
    )
    .and_then(|mut put| put.execute(params![id, agent_no, key.lane, key.epoch.cast_signed()]))
    .map_err(failed(ACTION))?;
    Ok(())
}

/// Writes how far a lane has come.
pub(super) fn write(tx: &Transaction<'_>, id: i64, covered: &Covered) -> Result<()> {
    tx.prepare_cached("UPDATE lane SET contig_upto = ?2, above = ?3 WHERE id = ?1")
        .and_then(|mut update| {
            let contig_upto = covered.contig_upto.cast_signed();
            update.execute(params![id, contig_upto, covered.above_bytes()])
        })
        .map_err(failed(ACTION))?;
    Ok(())
}

fn milliseconds(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}
