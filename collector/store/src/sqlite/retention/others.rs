//! Rows that are not samples: events, declared gaps and losses, tokens, certificates.
//!
//! Incidents and the mails about them are kept: they are the proof of a contract, for its life and
//! five years, and few.

use rusqlite::{Transaction, params};

use crate::{
    Result, Retention,
    sqlite::{failed, rows::all, seen::forget_head_rows},
};

use super::ACTION;

/// Rows of each kind deleted in one round.
const MAX_ROWS: u32 = 512;
const DAY_MS: i64 = 86_400_000;
/// Days that a token is kept after its end: so long one may ask what became of it.
const TOKEN_DAYS: i64 = 30;
/// Retired certificates kept of each agent.
const MAX_RETIRED: u32 = 4;
/// Certificates that were issued and never used, kept of each agent: the newest. An agent uses the
/// last that it was given.
const MAX_UNUSED: u32 = 16;

/// Deletes some old rows of each kind; returns how many.
pub(super) fn round(tx: &Transaction<'_>, kept: Retention, now_ms: i64) -> Result<u64> {
    let fail = failed(ACTION);
    let before = |days: i64| now_ms.saturating_sub(days.saturating_mul(DAY_MS));
    let raw_ms = before(i64::from(kept.raw_days));
    // Events, and records of kinds to come: as long as samples in full. Samples leave by their day.
    let sql = "SELECT key FROM head WHERE grp IS NULL AND t_ms < ?1 ORDER BY t_ms LIMIT ?2";
    let keys: Vec<i64> =
        all(tx, sql, params![raw_ms, MAX_ROWS], |row| row.get(0)).map_err(&fail)?;
    let mut deleted = forget_head_rows(tx, &keys)?;
    let day_ms = before(i64::from(kept.day_days));
    for (sql, edge_ms) in [
        (
            "DELETE FROM gap WHERE (site, grp, from_ms, to_ms, reason) IN
                 (SELECT site, grp, from_ms, to_ms, reason FROM site
                  JOIN gap ON gap.site = site.id AND to_ms < ?1 LIMIT ?2)",
            day_ms,
        ),
        (
            "DELETE FROM seq_hole WHERE (lane_id, seq_from) IN
                 (SELECT lane_id, seq_from FROM seq_hole WHERE made_ms < ?1 LIMIT ?2)",
            day_ms,
        ),
        // What such an epoch held would be deleted again, should it come once more.
        (
            "DELETE FROM lane WHERE id IN
                 (SELECT id FROM lane WHERE closed_ms < ?1 AND id < 0 LIMIT ?2)",
            day_ms,
        ),
        (
            "DELETE FROM token WHERE id IN
                 (SELECT id FROM token WHERE expires_ms < ?1 LIMIT ?2)",
            before(TOKEN_DAYS),
        ),
    ] {
        deleted += tx.execute(sql, params![edge_ms, MAX_ROWS]).map_err(&fail)? as u64;
    }
    deleted += tx
        .execute(
            "DELETE FROM certificate WHERE no IN
                 (SELECT no FROM
                      (SELECT no, used, row_number() OVER
                           (PARTITION BY agent_no, used ORDER BY no DESC) AS nth
                       FROM certificate WHERE used <> 1)
                  WHERE nth > CASE used WHEN 2 THEN ?1 ELSE ?2 END LIMIT ?3)",
            params![MAX_RETIRED, MAX_UNUSED, MAX_ROWS],
        )
        .map_err(&fail)? as u64;
    Ok(deleted)
}
