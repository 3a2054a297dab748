//! Taking records: the trait, and how a group of callers is answered. What becomes of one record is
//! in [`super::batch`].

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use domain::{
    id::{AgentId, GroupId, SiteId},
    sample::Span,
};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    SqliteStore,
    batch::{Known, Placed},
    failed,
    gaps::{self, OwnedGap},
    lanes::{Covered, MAX_SEQ, head_key},
    rows::all,
    seen::{self, Seen},
    writer::Counters,
};
use crate::{
    Commit, CommittedRecord, Disposition, IncomingRecord, IngestStore, LaneKey, LaneResume,
    MAX_SITE_GAPS, Result, StoreError,
};

/// Boots of one agent whose clock is remembered.
const MAX_BOOTS: i64 = 256;
/// Gaps that one question returns, oldest first.
const MAX_GAPS: i64 = 100_000;
/// What a record weighs in the queue besides its payload, bytes.
const RECORD_BYTES: usize = 256;

/// Records of one caller, waiting.
pub(super) struct Job {
    pub(super) records: Vec<IncomingRecord>,
    pub(super) bytes: usize,
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<Result<Commit>>,
    /// Its share of the queue's budget.
    pub(super) place: OwnedSemaphorePermit,
}

/// Answers the callers of one transaction.
pub(super) fn answer(
    known: &mut Known,
    counters: &Counters,
    jobs: Vec<Job>,
    outcome: Result<Vec<Vec<Placed>>>,
    elapsed: Duration,
) {
    let placed = match outcome {
        Ok(placed) => placed,
        Err(error) => {
            // What was learnt of the lanes in this transaction is undone.
            known.forget_lanes();
            let copy = copies(error);
            for job in jobs {
                // A caller that went away needs no answer, here and below.
                let _gone = job.reply.send(Err(copy()));
            }
            return;
        }
    };
    let elapsed = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    counters.commits.fetch_add(1, Relaxed);
    counters.commit_us.fetch_add(elapsed, Relaxed);
    counters.commit_max_us.fetch_max(elapsed, Relaxed);
    for (job, placed) in jobs.into_iter().zip(placed) {
        let Job { records: given, reply, place, .. } = job;
        let progress = known.progress(&given);
        let mut records = Vec::with_capacity(placed.len());
        for (record, Placed { site, disposition, gap_refused }) in given.into_iter().zip(placed) {
            counters.gaps_refused.fetch_add(u64::from(gap_refused), Relaxed);
            let counter = match disposition {
                Disposition::Stored => &counters.records,
                Disposition::Duplicate => &counters.duplicates,
                Disposition::Conflict => &counters.conflicts,
                Disposition::Rejected(_) | Disposition::Deferred(_) => &counters.rejected,
            };
            counter.fetch_add(1, Relaxed);
            records.push(CommittedRecord { record, site: site.map(SiteId), disposition });
        }
        drop(place);
        let _gone = reply.send(Ok(Commit { records, progress }));
    }
    known.trim();
}

/// The same error, for many callers.
fn copies(error: StoreError) -> Box<dyn Fn() -> StoreError> {
    match error {
        StoreError::Failed { action, source } => {
            let source = Shared(source.into());
            Box::new(move || StoreError::Failed { action, source: Box::new(source.clone()) })
        }
        StoreError::Unusable { path, source } => {
            let source = Shared(source.into());
            Box::new(move || StoreError::Unusable {
                path: path.clone(),
                source: Box::new(source.clone()),
            })
        }
        StoreError::Damaged { what } => {
            Box::new(move || StoreError::Damaged { what: what.clone() })
        }
        StoreError::Duplicate(what) => Box::new(move || StoreError::Duplicate(what.clone())),
        StoreError::NotFound(what) => Box::new(move || StoreError::NotFound(what.clone())),
        StoreError::Limit { action, what, most } => {
            Box::new(move || StoreError::Limit { action, what, most })
        }
        StoreError::Closed => Box::new(|| StoreError::Closed),
    }
}

/// A cause that several errors have in common.
#[derive(Debug, Clone)]
struct Shared(Arc<dyn std::error::Error + Send + Sync>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Number of an agent.
pub(super) fn agent_no(conn: &Connection, agent: AgentId) -> Result<i64> {
    conn.prepare_cached("SELECT no FROM agent WHERE id = ?1")
        .and_then(|mut find| find.query_row([agent.0], |row| row.get(0)).optional())
        .map_err(failed("find an agent"))?
        .ok_or_else(|| StoreError::NotFound(format!("agent {agent}")))
}

#[async_trait]
impl IngestStore for SqliteStore {
    async fn commit(&self, records: Vec<IncomingRecord>) -> Result<Commit> {
        if records.is_empty() {
            return Ok(Commit::default());
        }
        let bytes = records.iter().map(|record| record.payload.len() + RECORD_BYTES).sum();
        let (reply, answer) = oneshot::channel();
        self.queue.ingest(records, bytes, reply).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn resume(&self, lane: LaneKey, next_seq: u64, head_hash: u64) -> Result<LaneResume> {
        self.read("find where a lane stands", move |conn| {
            let no = agent_no(conn, lane.agent)?;
            let found: Option<(i64, i64, Vec<u8>, bool)> = conn
                .prepare_cached(
                    "SELECT id, contig_upto, above, closed_ms IS NOT NULL FROM lane
                     WHERE agent_no = ?1 AND lane = ?2 AND epoch = ?3",
                )
                .and_then(|mut find| {
                    let key = params![no, lane.lane, lane.epoch.cast_signed()];
                    find.query_row(key, |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })
                    .optional()
                })
                .map_err(failed("find where a lane stands"))?;
            let Some((id, contig_upto, above, closed)) = found else {
                let progress = Covered::default().progress(lane);
                return Ok(LaneResume { progress, rolled_back: false });
            };
            let covered = Covered::from_row(contig_upto.cast_unsigned(), &above)
                .ok_or_else(|| StoreError::Damaged { what: format!("state of lane {id}") })?;
            let newest = next_seq.saturating_sub(1);
            if closed {
                // It takes nothing more: what the agent still holds of it goes into a new one.
                return Ok(LaneResume { progress: covered.progress(lane), rolled_back: true });
            }
            let another_newest = head_hash != 0
                && newest > 0
                && covered.contains(newest)
                && seen::compare(conn, id, newest, head_hash)? == Seen::Other;
            let rolled_back = covered.last() >= next_seq.max(1) || another_newest;
            Ok(LaneResume { progress: covered.progress(lane), rolled_back })
        })
        .await
    }

    async fn save_clock(
        &self,
        agent: AgentId,
        boot_tag: u32,
        offset_ns: i64,
        error_ns: u64,
    ) -> Result<()> {
        const ACTION: &str = "save an agent's clock";
        self.write(ACTION, move |tx| {
            let no = agent_no(tx, agent)?;
            let error_ns = i64::try_from(error_ns).unwrap_or(i64::MAX);
            tx.prepare_cached(
                "INSERT INTO clock_map (agent_no, boot_tag, offset_ns, error_ns, touched)
                 VALUES (?1, ?2, ?3, ?4,
                         (SELECT coalesce(max(touched), 0) + 1 FROM clock_map WHERE agent_no = ?1))
                 ON CONFLICT DO UPDATE SET offset_ns = excluded.offset_ns,
                     error_ns = excluded.error_ns, touched = excluded.touched",
            )
            .and_then(|mut put| put.execute(params![no, boot_tag, offset_ns, error_ns]))
            .map_err(failed(ACTION))?;
            tx.prepare_cached(
                "DELETE FROM clock_map WHERE agent_no = ?1 AND touched <
                     (SELECT touched FROM clock_map WHERE agent_no = ?1
                      ORDER BY touched DESC LIMIT 1 OFFSET ?2)",
            )
            .and_then(|mut delete| delete.execute(params![no, MAX_BOOTS - 1]))
            .map_err(failed(ACTION))?;
            Ok(())
        })
        .await
    }

    async fn clock(&self, agent: AgentId, boot_tag: u32) -> Result<Option<i64>> {
        self.read("find an agent's clock", move |conn| {
            conn.prepare_cached(
                "SELECT offset_ns FROM clock_map JOIN agent ON agent.no = agent_no
                 WHERE agent.id = ?1 AND boot_tag = ?2",
            )
            .and_then(|mut find| {
                find.query_row(params![agent.0, boot_tag], |row| row.get(0)).optional()
            })
            .map_err(failed("find an agent's clock"))
        })
        .await
    }

    async fn newest(&self, lane: LaneKey, kind: u8, limit: u32) -> Result<Vec<(i64, Vec<u8>)>> {
        self.read("find the newest records of a lane", move |conn| {
            let sql = "SELECT t_ms, payload FROM head
                 JOIN (SELECT ?4 * lane.id AS first FROM lane JOIN agent ON no = agent_no
                       WHERE agent.id = ?1 AND lane = ?2 AND epoch = ?3)
                 WHERE key >= first AND key < first + ?4 AND kind = ?5
                 ORDER BY key DESC LIMIT ?6";
            let step = head_key(1, 1) - 1;
            let of = params![lane.agent.0, lane.lane, lane.epoch.cast_signed(), step, kind, limit];
            let mut found: Vec<(i64, Vec<u8>)> =
                all(conn, sql, of, |row| Ok((row.get(0)?, row.get(1)?)))
                    .map_err(failed("find the newest records of a lane"))?;
            found.reverse();
            Ok(found)
        })
        .await
    }

    async fn gaps(&self, site: SiteId, span: Span) -> Result<Vec<(Option<GroupId>, Span, String)>> {
        self.read("find declared gaps", move |conn| {
            let fail = failed("find declared gaps");
            let mut find = conn
                .prepare_cached(
                    "SELECT grp, from_ms, to_ms, reason FROM gap
                     WHERE site = ?1 AND to_ms > ?2 AND from_ms < ?3
                     ORDER BY from_ms, to_ms, grp LIMIT ?4",
                )
                .map_err(&fail)?;
            let rows = find
                .query_map(params![site.0, span.from_ms, span.to_ms, MAX_GAPS], |row| {
                    let group: u32 = row.get(0)?;
                    let span = Span { from_ms: row.get(1)?, to_ms: row.get(2)? };
                    Ok(((group != 0).then_some(GroupId(group)), span, row.get(3)?))
                })
                .map_err(&fail)?;
            rows.collect::<rusqlite::Result<_>>().map_err(&fail)
        })
        .await
    }

    async fn declare_gap(
        &self,
        site: SiteId,
        group: Option<GroupId>,
        span: Span,
        reason: &str,
    ) -> Result<()> {
        if span.from_ms >= span.to_ms {
            // Nothing is missing in an empty stretch.
            return Ok(());
        }
        let gap = OwnedGap::new(group, span, reason);
        self.write("declare a gap", move |tx| {
            let kept = gaps::count(tx, site.0)?;
            match gaps::declare(tx, site.0, &gap, kept, MAX_SITE_GAPS)? {
                Some(_) => Ok(()),
                None => Err(StoreError::Failed {
                    action: "declare a gap",
                    source: format!("the limit of {MAX_SITE_GAPS} gaps of a site is reached")
                        .into(),
                }),
            }
        })
        .await
    }

    async fn time_before(&self, lane: LaneKey, seq: u64) -> Result<Option<i64>> {
        if !(1..=MAX_SEQ).contains(&seq) {
            return Ok(None);
        }
        self.read("find the record before another", move |conn| {
            conn.prepare_cached(
                "SELECT t_ms FROM head
                 WHERE key >= ?4 * (SELECT lane.id FROM lane JOIN agent ON no = agent_no
                                    WHERE agent.id = ?1 AND lane = ?2 AND epoch = ?3)
                   AND key < ?4 * (SELECT lane.id FROM lane JOIN agent ON no = agent_no
                                   WHERE agent.id = ?1 AND lane = ?2 AND epoch = ?3) + ?5
                 ORDER BY key DESC LIMIT 1",
            )
            .and_then(|mut find| {
                let (epoch, step) = (lane.epoch.cast_signed(), head_key(1, 1) - 1);
                let key = params![lane.agent.0, lane.lane, epoch, step, seq.cast_signed()];
                find.query_row(key, |row| row.get(0)).optional()
            })
            .map_err(failed("find the record before another"))
        })
        .await
    }

    async fn generation(&self) -> Result<u64> {
        self.read("read the database's generation", |conn| {
            conn.query_row("SELECT value FROM meta WHERE name = 'generation'", [], |row| row.get(0))
                .map(i64::cast_unsigned)
                .map_err(failed("read the database's generation"))
        })
        .await
    }
}
