//! Lanes, how far they have come, and the holes of what is explained as lost.

use rusqlite::{OptionalExtension, params};

use super::{
    ACTION, Batch,
    known::{AgentEntry, LaneEntry},
};
use crate::{
    IncomingRecord, LaneKey, Result, SeqRange, StoreError,
    sqlite::{check::unix_seconds, epochs, failed, lanes::Covered},
};

impl Batch<'_> {
    /// Makes a lane known, new ones included; false when the agent or its site has too many.
    pub(super) fn know_lane(&mut self, agent: AgentEntry, key: LaneKey) -> Result<bool> {
        if self.known.lanes.contains_key(&key) {
            return Ok(true);
        }
        let found: Option<(i64, i64, Vec<u8>, bool)> = self
            .tx
            .prepare_cached(
                "SELECT id, contig_upto, above, closed_ms IS NOT NULL FROM lane
                 WHERE agent_no = ?1 AND lane = ?2 AND epoch = ?3",
            )
            .and_then(|mut find| {
                find.query_row(params![agent.no, key.lane, key.epoch.cast_signed()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()
            })
            .map_err(failed(ACTION))?;
        let entry = if let Some((id, contig_upto, above, closed)) = found {
            let covered = Covered::from_row(contig_upto.cast_unsigned(), &above)
                .ok_or_else(|| StoreError::Damaged { what: format!("state of lane {id}") })?;
            LaneEntry { id, covered, changed: false, closed }
        } else {
            while let Some(oldest) = epochs::one_too_many(self.tx, agent.no, key)? {
                self.close(oldest)?;
            }
            let Some(id) = self.free_lane(agent.site)? else { return Ok(false) };
            epochs::open(self.tx, id, agent.no, key)?;
            LaneEntry { id, covered: Covered::default(), changed: false, closed: false }
        };
        self.known.lanes.insert(key, entry);
        Ok(true)
    }

    /// Ends an epoch: what is known of its numbers stays.
    fn close(&mut self, key: LaneKey) -> Result<()> {
        if let Some(lane) = self.known.lanes.get_mut(&key) {
            epochs::write(self.tx, lane.id, &lane.covered)?;
            lane.closed = true;
        }
        epochs::close(self.tx, key, unix_seconds())
    }

    /// An id for a new lane of a site; `None` when the records of all that it had are still singly
    /// kept, which ends with their retention.
    fn free_lane(&mut self, site: i64) -> Result<Option<i64>> {
        if let Some(id) = epochs::never_used(self.tx, site)? {
            return Ok(Some(id));
        }
        let Some(id) = epochs::give_back(self.tx, site, unix_seconds())? else { return Ok(None) };
        // Asked for again under its new id.
        self.known.lanes.retain(|_, lane| lane.id != id);
        Ok(Some(id))
    }

    /// A lane that [`Self::know_lane`] made known.
    pub(super) fn lane(&self, key: LaneKey) -> Result<&LaneEntry> {
        self.known.lanes.get(&key).ok_or_else(|| {
            StoreError::NotFound(format!("lane {} of agent {}", key.lane, key.agent))
        })
    }

    /// Covers numbers of a known lane; returns what was not covered before, or `None` when the lane
    /// would have too many stretches.
    pub(super) fn cover(
        &mut self,
        key: LaneKey,
        from: u64,
        to: u64,
    ) -> Result<Option<(i64, Vec<SeqRange>)>> {
        let Some(lane) = self.known.lanes.get_mut(&key) else {
            return Err(StoreError::NotFound(format!("lane {} of agent {}", key.lane, key.agent)));
        };
        let Ok(fresh) = lane.covered.cover(from, to) else { return Ok(None) };
        if !lane.changed {
            lane.changed = true;
            self.changed.push(key);
        }
        Ok(Some((lane.id, fresh)))
    }

    /// Covers numbers that hold no record; false when the lane would have too many stretches.
    /// They are of the time of `by`. A closed epoch stays as it is: nothing of it is waited for.
    pub(super) fn explain(
        &mut self,
        by: &IncomingRecord,
        key: LaneKey,
        range: SeqRange,
        reason: &str,
    ) -> Result<bool> {
        if self.lane(key)?.closed {
            return Ok(true);
        }
        let Some((id, fresh)) = self.cover(key, range.from, range.to)? else { return Ok(false) };
        for hole in fresh {
            self.write_hole(id, hole, reason, by.time.ms())?;
        }
        Ok(true)
    }

    fn write_hole(&self, lane_id: i64, hole: SeqRange, reason: &str, ms: i64) -> Result<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO seq_hole (lane_id, seq_from, seq_to, reason, made_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut put| {
                put.execute(params![
                    lane_id,
                    hole.from.cast_signed(),
                    hole.to.cast_signed(),
                    reason,
                    ms
                ])
            })
            .map_err(failed(ACTION))?;
        Ok(())
    }

    pub(super) fn hole_around(
        &self,
        lane_id: i64,
        seq: u64,
    ) -> Result<Option<(SeqRange, String, i64)>> {
        let found: Option<(i64, i64, String, i64)> = self
            .tx
            .prepare_cached(
                "SELECT seq_from, seq_to, reason, made_ms FROM seq_hole
                 WHERE lane_id = ?1 AND seq_from <= ?2 ORDER BY seq_from DESC LIMIT 1",
            )
            .and_then(|mut find| {
                find.query_row(params![lane_id, seq.cast_signed()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()
            })
            .map_err(failed(ACTION))?;
        Ok(found
            .map(|(from, to, reason, ms)| {
                (SeqRange { from: from.cast_unsigned(), to: to.cast_unsigned() }, reason, ms)
            })
            .filter(|(hole, ..)| hole.to >= seq))
    }

    /// Takes a number out of the hole that it stands in.
    pub(super) fn shrink_hole(&self, lane_id: i64, seq: u64) -> Result<()> {
        let Some((hole, reason, ms)) = self.hole_around(lane_id, seq)? else { return Ok(()) };
        self.tx
            .prepare_cached("DELETE FROM seq_hole WHERE lane_id = ?1 AND seq_from = ?2")
            .and_then(|mut delete| delete.execute(params![lane_id, hole.from.cast_signed()]))
            .map_err(failed(ACTION))?;
        if hole.from < seq {
            self.write_hole(lane_id, SeqRange { from: hole.from, to: seq - 1 }, &reason, ms)?;
        }
        if seq < hole.to {
            self.write_hole(lane_id, SeqRange { from: seq + 1, to: hole.to }, &reason, ms)?;
        }
        Ok(())
    }

    /// Writes how far the lanes have come.
    pub(super) fn write_lanes(self) -> Result<()> {
        for key in self.changed {
            let Some(lane) = self.known.lanes.get_mut(&key) else { continue };
            lane.changed = false;
            epochs::write(self.tx, lane.id, &lane.covered)?;
        }
        Ok(())
    }
}
