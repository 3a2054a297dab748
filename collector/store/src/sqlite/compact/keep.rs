//! Putting a compacted day in place of its records, on the writing thread.

use rusqlite::{Transaction, params};

use super::{
    Job,
    make::{Block, Made, Outcome},
};
use crate::{
    Result,
    sqlite::{batch::MAX_KEPT_ASIDE, failed, lanes::split_key, read::gather::GroupKey, seen},
};

impl Made {
    /// Puts everything in place; returns how many records left the head.
    pub(super) fn keep(self, tx: &Transaction<'_>) -> Result<u64> {
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

/// A table of parts: how to delete and to insert those of a group day.
pub(crate) type PartsTable = (&'static str, &'static str);

macro_rules! parts_table {
    ($name:literal) => {
        (
            concat!("DELETE FROM ", $name, " WHERE site = ?1 AND grp = ?2 AND day = ?3"),
            concat!(
                "INSERT INTO ",
                $name,
                " (site, grp, day, first, part) VALUES (?1, ?2, ?3, ?4, ?5)"
            ),
        )
    };
}

const BLOCK: PartsTable = parts_table!("block");
const FINE: PartsTable = parts_table!("rollup_fine");
/// Five-minute buckets of access ports.
pub(crate) const ACCESS: PartsTable = parts_table!("rollup_access");

/// Puts parts in the place of those that a group day had.
pub(crate) fn replace(
    tx: &Transaction<'_>,
    table: PartsTable,
    key: GroupKey,
    day: i64,
    parts: &[(i64, Vec<u8>)],
) -> rusqlite::Result<()> {
    let (delete, insert) = table;
    let (site, grp) = (key.site.0, key.grp.0);
    tx.prepare_cached(delete)?.execute(params![site, grp, day])?;
    let mut insert = tx.prepare_cached(insert)?;
    for (first, part) in parts {
        insert.execute(params![site, grp, day, first, part])?;
    }
    Ok(())
}

impl Block {
    fn keep(&self, tx: &Transaction<'_>, job: Job) -> rusqlite::Result<()> {
        let Job { key, day } = job;
        let (site, grp) = (key.site.0, key.grp.0);
        tx.prepare_cached(
            "INSERT INTO block_time (site, grp, day, made_ms, before, after, times, fine)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (site, grp, day) DO UPDATE SET made_ms = excluded.made_ms,
                 before = excluded.before, after = excluded.after, times = excluded.times,
                 fine = excluded.fine",
        )?
        .execute(params![
            site,
            grp,
            day,
            self.made_ms,
            self.edges[0].cast_signed(),
            self.edges[1].cast_signed(),
            self.times,
            self.all_fine
        ])?;
        replace(tx, BLOCK, key, day, &self.parts)?;
        replace(tx, FINE, key, day, &self.fine)?;
        replace(tx, ACCESS, key, day, &self.access)?;
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
