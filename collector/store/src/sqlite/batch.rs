//! What becomes of each record of a batch, within the batch's transaction.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use domain::id::{AgentId, GroupId, Layout};
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::{
    check::unix_seconds,
    epochs, failed, gaps,
    ingest::Job,
    lanes::{Covered, MAX_SEQ, head_key},
    seen::{self, Seen},
};
use crate::{
    DeclaredGap, Disposition, IncomingRecord, LaneKey, LaneProgress, MAX_SITE_GAPS, Result,
    SeqRange, ServerTime, StoreError,
};

/// What the transaction of a batch is called in an error.
pub(super) const ACTION: &str = "commit records";
/// Largest payload of a record, bytes: the wire's limit.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Highest lane: 0 = events, 1 = samples.
const MAX_LANE: u8 = 1;
/// Conflicting, and refused, records kept of each agent; newer ones take the place of older ones.
pub(super) const MAX_KEPT_ASIDE: i64 = 64;
/// Why a record must come again: its epoch made room, and the agent is told to begin another.
const CLOSED: &str = "the epoch is closed";
/// Why a record must come again: its lane has a thousand holes, which the backlog fills.
const STRETCHES: &str = "too many stretches above the watermark";
/// Gaps refused at a site that has too many before they are counted anew.
const RECOUNT_GAPS: u32 = 1_024;
/// Gaps that one agent may add in a [`GAP_WINDOW`], a tenth of what its site may have: a noisy agent
/// must not use up the room of the others. Those that join an earlier one add none.
const MAX_AGENT_GAPS: u32 = MAX_SITE_GAPS / 10;
/// See [`MAX_AGENT_GAPS`].
const GAP_WINDOW: Duration = Duration::from_hours(24);
/// Shortest time between two warnings of refused gaps of one agent.
const GAP_WARNING: Duration = Duration::from_hours(1);
/// Lanes, agents and layouts remembered; beyond, all are asked for again.
const MAX_KNOWN: usize = 100_000;

/// An agent, as the writing thread knows it.
#[derive(Debug, Clone, Copy)]
struct AgentEntry {
    no: i64,
    site: i64,
    active: bool,
}

/// A lane, as the writing thread knows it.
#[derive(Debug)]
struct LaneEntry {
    id: i64,
    covered: Covered,
    changed: bool,
    /// It made room for another: it takes nothing more.
    closed: bool,
}

/// What the writing thread remembers of the file, so as not to ask at every record.
#[derive(Debug, Default)]
pub(super) struct Known {
    agents: HashMap<AgentId, AgentEntry>,
    lanes: HashMap<LaneKey, LaneEntry>,
    /// Site of each layout. Layouts never change, nor does their site.
    layouts: HashMap<(GroupId, Layout), i64>,
    gaps: HashMap<i64, GapCount>,
    /// By agent, over all its sessions.
    gap_windows: HashMap<i64, GapWindow>,
}

/// Gaps of an agent in the window that began then.
#[derive(Debug, Clone, Copy)]
struct GapWindow {
    since: Instant,
    added: u32,
    warned: Option<Instant>,
}

impl GapWindow {
    /// The window of an agent that had `earlier`.
    fn at(earlier: Option<Self>, now: Instant) -> Self {
        match earlier {
            Some(window) if now.duration_since(window.since) < GAP_WINDOW => window,
            _ => Self { since: now, added: 0, warned: earlier.and_then(|window| window.warned) },
        }
    }

    /// Whether a refusal is to be warned of; then it is noted.
    fn warns(&mut self, now: Instant) -> bool {
        let due = self.warned.is_none_or(|at| now.duration_since(at) >= GAP_WARNING);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

/// Gaps of a site, as the writing thread knows them.
#[derive(Debug, Clone, Copy)]
struct GapCount {
    kept: u32,
    refused: u32,
}

impl Known {
    /// An agent changed: it is looked up again before its next record.
    pub(super) fn forget_agent(&mut self, id: AgentId) {
        self.agents.remove(&id);
    }

    /// A transaction failed: lanes stand where the file says, and its gaps were not added.
    pub(super) fn forget_lanes(&mut self) {
        self.lanes.clear();
        self.gaps.clear();
        self.gap_windows.clear();
    }

    /// Keeps what is remembered within bounds.
    pub(super) fn trim(&mut self) {
        if self.agents.len() > MAX_KNOWN {
            self.agents.clear();
        }
        if self.lanes.len() > MAX_KNOWN {
            self.lanes.clear();
        }
        if self.layouts.len() > MAX_KNOWN {
            self.layouts.clear();
        }
        if self.gaps.len() > MAX_KNOWN {
            self.gaps.clear();
        }
        if self.gap_windows.len() > MAX_KNOWN {
            self.gap_windows.clear();
        }
    }

    /// Progress of every lane that some records touched.
    pub(super) fn progress(&self, records: &[IncomingRecord]) -> Vec<LaneProgress> {
        let mut keys: Vec<LaneKey> = Vec::with_capacity(2);
        for record in records {
            for key in [Some(record.lane), record.explains.map(|(lane, _)| lane)] {
                if let Some(key) = key
                    && keys.last() != Some(&key)
                {
                    keys.push(key);
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter_map(|key| self.lanes.get(&key).map(|lane| lane.covered.progress(key)))
            .collect()
    }
}

/// What became of a record.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its agent's site.
    pub(super) site: Option<i64>,
    pub(super) disposition: Disposition,
    /// Its gap was one too many: the record alone stands for it.
    pub(super) gap_refused: bool,
}

/// Places the records of some jobs.
pub(super) fn place(
    tx: &Transaction<'_>,
    known: &mut Known,
    jobs: &[Job],
) -> Result<Vec<Vec<Placed>>> {
    let mut batch = Batch::new(tx, known)?;
    let placed = jobs
        .iter()
        .map(|job| job.records.iter().map(|record| batch.place(record)).collect())
        .collect::<Result<_>>()?;
    batch.write_lanes()?;
    Ok(placed)
}

struct Batch<'a> {
    tx: &'a Transaction<'a>,
    known: &'a mut Known,
    insert: CachedStatement<'a>,
    changed: Vec<LaneKey>,
}

impl<'a> Batch<'a> {
    fn new(tx: &'a Transaction<'a>, known: &'a mut Known) -> Result<Self> {
        let insert = tx
            .prepare_cached(
                "INSERT INTO head (key, hash, kind, site, grp, layout, t_ms, sure, boot_ns, items,
                                   payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )
            .map_err(failed(ACTION))?;
        Ok(Self { tx, known, insert, changed: Vec::new() })
    }

    fn place(&mut self, record: &IncomingRecord) -> Result<Placed> {
        let Some(agent) = self.agent(record.lane.agent)? else {
            self.keep_aside(Aside::Rejected, 0, record, "unknown agent")?;
            let disposition = Disposition::Rejected("unknown agent");
            return Ok(Placed { site: None, disposition, gap_refused: false });
        };
        let disposition = self.place_of(agent, record)?;
        let gap = record.gap.as_ref().filter(|_| disposition == Disposition::Stored);
        let gap_refused = match gap {
            Some(gap) => !self.declare(agent, record.lane.agent, gap)?,
            None => false,
        };
        match disposition {
            Disposition::Stored | Disposition::Duplicate | Disposition::Deferred(_) => {}
            Disposition::Conflict => {
                self.keep_aside(Aside::Conflict, agent.no, record, "another record stands here")?;
            }
            Disposition::Rejected(reason) => {
                self.keep_aside(Aside::Rejected, agent.no, record, reason)?;
            }
        }
        Ok(Placed { site: Some(agent.site), disposition, gap_refused })
    }

    fn place_of(&mut self, agent: AgentEntry, record: &IncomingRecord) -> Result<Disposition> {
        let rejected = |reason| Ok(Disposition::Rejected(reason));
        let deferred = |reason| Ok(Disposition::Deferred(reason));
        if !agent.active {
            return rejected("the agent is not active");
        }
        if record.lane.lane > MAX_LANE {
            return rejected("no such lane");
        }
        if !(1..=MAX_SEQ).contains(&record.seq) {
            return rejected("sequence number out of range");
        }
        if !self.know_lane(agent, record.lane)? {
            return deferred("too many epochs");
        }
        let LaneEntry { id, ref covered, closed, .. } = *self.lane(record.lane)?;
        let mut in_hole = false;
        if covered.contains(record.seq) {
            match seen::compare(self.tx, id, record.seq, record.hash)? {
                Seen::Same => return Ok(Disposition::Duplicate),
                Seen::Other => return Ok(Disposition::Conflict),
                Seen::NotKept if closed => return Ok(Disposition::Duplicate),
                Seen::NotKept => {}
            }
            // Explained as lost, and here it is after all; or long known.
            in_hole = self.hole_around(id, record.seq)?.is_some();
            if !in_hole {
                return Ok(Disposition::Duplicate);
            }
        } else if closed {
            return deferred(CLOSED);
        }
        if let Some(reason) = self.objection(agent, record)? {
            // It would be refused again: the lane goes on without it.
            let here = SeqRange { from: record.seq, to: record.seq };
            if !in_hole && !self.explain(record, record.lane, here, reason)? {
                return deferred(STRETCHES);
            }
            return rejected(reason);
        }
        // Before the record itself: a declaration that does not move the watermark must come again.
        if let Some((lane, range)) = record.explains
            && !self.explain(record, lane, range, "declared lost")?
        {
            return deferred(STRETCHES);
        }
        if in_hole {
            self.shrink_hole(id, record.seq)?;
        } else if self.cover(record.lane, record.seq, record.seq)?.is_none() {
            return deferred(STRETCHES);
        }
        self.insert(agent, id, record)?;
        Ok(Disposition::Stored)
    }

    /// Why a record that is new must not be taken.
    fn objection(
        &mut self,
        agent: AgentEntry,
        record: &IncomingRecord,
    ) -> Result<Option<&'static str>> {
        if record.refused.is_some() {
            return Ok(record.refused);
        }
        if record.payload.len() > MAX_PAYLOAD_BYTES {
            return Ok(Some("the payload is too large"));
        }
        if let Some((group, layout)) = record.group {
            match self.layout_site(group, layout)? {
                None => return Ok(Some("unknown layout")),
                Some(site) if site != agent.site => return Ok(Some("layout of another site")),
                Some(_) => {}
            }
        }
        if let Some((lane, range)) = record.explains {
            if lane.agent != record.lane.agent || lane.lane > MAX_LANE {
                return Ok(Some("explains a lane that is not its own"));
            }
            if range.from == 0 || range.from > range.to || range.to > MAX_SEQ {
                return Ok(Some("explains an impossible range"));
            }
            if !self.know_lane(agent, lane)? {
                return Ok(Some("explains one epoch too many"));
            }
        }
        Ok(None)
    }

    fn insert(&mut self, agent: AgentEntry, lane_id: i64, record: &IncomingRecord) -> Result<()> {
        self.insert
            .execute(params![
                head_key(lane_id, record.seq),
                record.hash.cast_signed(),
                record.kind,
                agent.site,
                record.group.map(|(group, _)| group.0),
                record.group.map(|(_, layout)| layout.0),
                record.time.ms(),
                matches!(record.time, ServerTime::Known(_)),
                record.boot_ns.cast_signed(),
                record.items,
                record.payload,
            ])
            .map_err(failed(ACTION))?;
        Ok(())
    }

    /// Declares a gap. When its site has too many, or its agent added too many of late, its record
    /// alone stands for it: then false.
    fn declare(&mut self, agent: AgentEntry, id: AgentId, gap: &DeclaredGap) -> Result<bool> {
        if gap.span.from_ms >= gap.span.to_ms {
            return Ok(true);
        }
        let now = Instant::now();
        let site = agent.site;
        let mut window = GapWindow::at(self.known.gap_windows.get(&agent.no).copied(), now);
        let known = self.known.gaps.get(&site).copied();
        // Retention makes room that is not told of here.
        let known = known.filter(|known| known.refused < RECOUNT_GAPS);
        let mut count = match known {
            Some(known) => known,
            None => GapCount { kept: gaps::count(self.tx, site)?, refused: 0 },
        };
        // One that joins another adds none, and needs no room.
        let room = if window.added < MAX_AGENT_GAPS { MAX_SITE_GAPS } else { count.kept };
        let kept = gaps::declare(self.tx, site, &gap.into(), count.kept, room)?;
        if let Some(kept) = kept {
            window.added += u32::from(kept > count.kept);
            count.kept = kept;
        } else {
            count.refused += u32::from(room == MAX_SITE_GAPS);
            if window.warns(now) {
                let (reason, kept) = (gap.reason, count.kept);
                tracing::warn!(site, agent = %id, reason, kept, "gaps of an agent are too many");
            }
        }
        self.known.gaps.insert(site, count);
        self.known.gap_windows.insert(agent.no, window);
        Ok(kept.is_some())
    }

    fn agent(&mut self, id: AgentId) -> Result<Option<AgentEntry>> {
        if let Some(entry) = self.known.agents.get(&id) {
            return Ok(Some(*entry));
        }
        let found = self
            .tx
            .prepare_cached("SELECT no, site, active FROM agent WHERE id = ?1")
            .and_then(|mut find| {
                find.query_row([id.0], |row| {
                    Ok(AgentEntry { no: row.get(0)?, site: row.get(1)?, active: row.get(2)? })
                })
                .optional()
            })
            .map_err(failed(ACTION))?;
        if let Some(entry) = found {
            self.known.agents.insert(id, entry);
        }
        Ok(found)
    }

    fn layout_site(&mut self, group: GroupId, layout: Layout) -> Result<Option<i64>> {
        if let Some(site) = self.known.layouts.get(&(group, layout)) {
            return Ok(Some(*site));
        }
        let found = self
            .tx
            .prepare_cached(
                "SELECT site FROM layout JOIN poll_group ON poll_group.id = grp
                 WHERE grp = ?1 AND layout.layout = ?2",
            )
            .and_then(|mut find| {
                find.query_row(params![group.0, layout.0], |row| row.get(0)).optional()
            })
            .map_err(failed(ACTION))?;
        if let Some(site) = found {
            self.known.layouts.insert((group, layout), site);
        }
        Ok(found)
    }

    /// Makes a lane known, new ones included; false when the agent or its site has too many.
    fn know_lane(&mut self, agent: AgentEntry, key: LaneKey) -> Result<bool> {
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
    fn lane(&self, key: LaneKey) -> Result<&LaneEntry> {
        self.known.lanes.get(&key).ok_or_else(|| {
            StoreError::NotFound(format!("lane {} of agent {}", key.lane, key.agent))
        })
    }

    /// Covers numbers of a known lane; returns what was not covered before, or `None` when the lane
    /// would have too many stretches.
    fn cover(&mut self, key: LaneKey, from: u64, to: u64) -> Result<Option<(i64, Vec<SeqRange>)>> {
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
    fn explain(
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

    fn hole_around(&self, lane_id: i64, seq: u64) -> Result<Option<(SeqRange, String, i64)>> {
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
    fn shrink_hole(&self, lane_id: i64, seq: u64) -> Result<()> {
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

    /// Keeps a record that was not taken, in the agent's ring.
    fn keep_aside(
        &self,
        ring: Aside,
        agent_no: i64,
        record: &IncomingRecord,
        reason: &str,
    ) -> Result<()> {
        let (last, put) = match ring {
            Aside::Conflict => (
                "SELECT coalesce(max(n), 0) FROM conflict_record WHERE agent_no = ?1",
                "INSERT OR REPLACE INTO conflict_record
                     (agent_no, slot, n, lane, epoch, seq, hash, t_ms, reason, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            ),
            Aside::Rejected => (
                "SELECT coalesce(max(n), 0) FROM rejected_record WHERE agent_no = ?1",
                "INSERT OR REPLACE INTO rejected_record
                     (agent_no, slot, n, lane, epoch, seq, hash, t_ms, reason, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            ),
        };
        let fail = failed(ACTION);
        let n: i64 = self
            .tx
            .prepare_cached(last)
            .and_then(|mut find| find.query_row([agent_no], |row| row.get(0)))
            .map_err(&fail)?;
        self.tx
            .prepare_cached(put)
            .and_then(|mut put| {
                put.execute(params![
                    agent_no,
                    n % MAX_KEPT_ASIDE,
                    n + 1,
                    record.lane.lane,
                    record.lane.epoch.cast_signed(),
                    record.seq.cast_signed(),
                    record.hash.cast_signed(),
                    record.time.ms(),
                    reason,
                    record.payload.get(..MAX_PAYLOAD_BYTES).unwrap_or(&record.payload),
                ])
            })
            .map_err(&fail)?;
        Ok(())
    }

    /// Writes how far the lanes have come.
    fn write_lanes(self) -> Result<()> {
        for key in self.changed {
            let Some(lane) = self.known.lanes.get_mut(&key) else { continue };
            lane.changed = false;
            epochs::write(self.tx, lane.id, &lane.covered)?;
        }
        Ok(())
    }
}

/// Where a record that was not taken is kept.
#[derive(Clone, Copy)]
enum Aside {
    Conflict,
    Rejected,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_warned_of_once_an_hour_and_has_a_new_window_once_a_day() {
        let start = Instant::now();
        let mut window = GapWindow::at(None, start);
        window.added = 7;
        assert!(window.warns(start));
        let soon = start + Duration::from_mins(59);
        assert!(!window.warns(soon));
        assert!(window.warns(start + GAP_WARNING));
        assert_eq!(GapWindow::at(Some(window), soon).added, 7);
        let mut next = GapWindow::at(Some(window), start + GAP_WINDOW);
        assert_eq!(next.added, 0);
        assert!(next.warns(start + GAP_WINDOW));
        let mut hasty = GapWindow { warned: Some(start + GAP_WINDOW), ..window };
        hasty = GapWindow::at(Some(hasty), start + GAP_WINDOW);
        assert!(!hasty.warns(start + GAP_WINDOW), "a new window does not warn again");
    }
}
