//! What becomes of each record of a batch, within the batch's transaction.

mod gaps;
mod known;
mod lanes;

use domain::id::{AgentId, GroupId, Layout};
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::{
    failed,
    ingest::Job,
    lanes::{MAX_SEQ, head_key},
    seen::{self, Seen},
};
use crate::{Disposition, IncomingRecord, LaneKey, Result, SeqRange, ServerTime, planted};
pub(super) use known::Known;
use known::{AgentEntry, LaneEntry};

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
        if covered.contains(record.seq) && planted::is("no-dedupe") {
            // Under a number of its own, or the table's key would be the dedupe.
            let twin = IncomingRecord { seq: record.seq + MAX_SEQ / 2, ..record.clone() };
            let _third = self.insert(agent, id, &twin);
            return Ok(Disposition::Stored);
        }
        if covered.contains(record.seq) {
            match seen::compare(self.tx, id, record.seq, record.hash)? {
                Seen::Same => return Ok(Disposition::Duplicate),
                Seen::Other if planted::is("conflict-as-duplicate") => {
                    return Ok(Disposition::Duplicate);
                }
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
}

/// Where a record that was not taken is kept.
#[derive(Clone, Copy)]
enum Aside {
    Conflict,
    Rejected,
}
