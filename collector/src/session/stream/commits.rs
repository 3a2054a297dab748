//! The way of a batch: read, handed to the store, applied and acknowledged once it is durable.

use std::{collections::HashMap, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use domain::chain::chain;
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use proto::{LANE_EVENTS, limits::MAX_BODY_BYTES, v1};
use store::{Commit, CommittedRecord, Disposition, LaneKey, StoreError};
use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, timeout},
};

use super::{Away, BUDGET_UNIT, Ending, Session, send};
use crate::{
    feed::FeedItem,
    ingest::{Batch, Fresh, IngestError},
    metrics::{Age, BACKLOG, LIVE, Metrics, Reason},
    wire,
};

/// Longest wait for batches that are on their way when a stream ends.
const DRAIN: Duration = Duration::from_secs(4);
/// Events, which have no period, are of a backlog when they are older, seconds.
const LATE_EVENTS_S: f64 = 60.0;

/// Batches on their way to the disk, in the order in which they came. Each is a task of its own, so
/// that it goes on, and gives back its share of the budget, whatever the stream waits for.
pub(super) type Commits = FuturesOrdered<JoinHandle<Done>>;

/// Records counted as on their way to the disk, for as long as this lives.
struct Queued {
    metrics: Arc<Metrics>,
    records: i64,
}

impl Queued {
    fn new(metrics: Arc<Metrics>, records: usize) -> Self {
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        metrics.commit_queue.inc_by(records);
        Self { metrics, records }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.metrics.commit_queue.dec_by(self.records);
    }
}

/// A batch that the store answered for.
pub(super) struct Done {
    commit: Result<Commit, StoreError>,
    fresh: Vec<Option<Fresh>>,
    events: Vec<Option<v1::Event>>,
    newest_ms: Option<i64>,
}

/// Which lag a batch tells: that of its samples, or of its events' age in seconds.
fn lag_of(fresh: &[Option<Fresh>], age: f64) -> &'static Age {
    let mut samples = fresh.iter().flatten().peekable();
    let late = match samples.peek() {
        Some(_) => samples.all(|fresh| fresh.late),
        None => age > LATE_EVENTS_S,
    };
    if late { &BACKLOG } else { &LIVE }
}

/// A record that the store refused: its lane's acknowledgement names it.
type Refusals = HashMap<LaneKey, Vec<(u64, &'static str)>>;

impl Session {
    /// Reads a batch and hands it to the store.
    pub(super) async fn records(&mut self, records: &v1::Records) -> Result<(), Away> {
        let metrics = self.context.metrics.clone();
        metrics.wire_bytes.inc_by(records.body.len() as u64);
        let raw = records.raw_len as usize;
        if raw > MAX_BODY_BYTES {
            return Err(Away::violation("records"));
        }
        // A batch larger than the whole budget goes alone.
        let units = (raw / BUDGET_UNIT + 1).min(self.budget_units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let room = self.budget.clone().acquire_many_owned(units);
        tokio::pin!(room);
        let permit = loop {
            tokio::select! {
                permit = &mut room => break permit.ok(),
                // What is durable is acknowledged while this batch waits.
                Some(done) = self.commits.next() => self.committed(done).await?,
                ending = self.seat.ended() => return Err(match ending {
                    Ending::Revoked => Away::refused("revoked"),
                    Ending::Superseded | Ending::Released => {
                        Away::later("superseded", 60_000, 60_000)
                    }
                }),
                () = self.stop.cancelled() => return Err(Away::later("restart", 1_000, 30_000)),
            }
        };
        if records.lane == LANE_EVENTS {
            // Two batches may share a transaction, and the first one's acknowledgement then covers
            // both: the events of the second would not be applied yet.
            while let Some(done) = self.commits.next().await {
                self.committed(done).await?;
            }
        }
        let now_ms = self.context.clock.now_ms();
        let store = self.context.store.clone();
        let taken = self.ingest.take(&*store, &mut self.clock, records, now_ms).await;
        let batch = taken.map_err(|error| self.unreadable(&error))?;
        let Batch { records, fresh, events, newest_ms } = batch;
        metrics.records.inc_by(records.len() as u64);
        let queued = Queued::new(metrics.clone(), records.len());
        let mut work = Box::pin(async move {
            let started = Instant::now();
            let mut commit = store.commit(records).await;
            if let Ok(commit) = &mut commit {
                metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                // They are in the store: a slow reader of acknowledgements must not hold them.
                for CommittedRecord { record, .. } in &mut commit.records {
                    record.payload = Vec::new();
                }
            }
            drop((queued, permit));
            Done { commit, fresh, events, newest_ms }
        });
        // Begun here: tasks run in any order, and a batch that overtook the one before would make
        // holes in its lane and acknowledgements that go back.
        let begun = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        self.commits.push_back(match begun {
            Poll::Ready(done) => tokio::spawn(std::future::ready(done)),
            Poll::Pending => tokio::spawn(work),
        });
        Ok(())
    }

    fn unreadable(&self, error: &IngestError) -> Away {
        if let IngestError::Store(error) = error {
            return self.failed(error);
        }
        tracing::warn!(
            site = self.site.0,
            agent = %self.identity.agent,
            error = chain(error),
            "a batch could not be read"
        );
        Away::violation("records")
    }

    /// Tells the evaluator, the site's plan and the agent about a durable batch, in this order: what
    /// is acknowledged does not come again.
    pub(super) async fn committed(&mut self, done: Result<Done, JoinError>) -> Result<(), Away> {
        let Done { commit, fresh, events, newest_ms } = done.map_err(|error| {
            tracing::error!(error = chain(&error), "a commit broke off");
            Away::STORE
        })?;
        let Commit { records, progress } = commit.map_err(|error| self.failed(&error))?;
        if let Some(newest_ms) = newest_ms {
            #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
            let age = self.context.clock.now_ms().saturating_sub(newest_ms) as f64 / 1e3;
            self.context.metrics.ingest_lag_seconds.get_or_create(lag_of(&fresh, age)).observe(age);
        }
        let mut refusals = Refusals::new();
        let mut refused_by_store = false;
        let mut apply = Vec::new();
        let mut deferred = None;
        for ((committed, fresh), event) in records.into_iter().zip(fresh).zip(events) {
            match &committed.disposition {
                Disposition::Stored | Disposition::Duplicate => {
                    apply.extend(event.map(|event| (event, committed.record.time.ms())));
                }
                Disposition::Rejected(_) => refused_by_store |= committed.record.refused.is_none(),
                Disposition::Deferred(reason) => deferred = Some(*reason),
                Disposition::Conflict => {}
            }
            self.settled(committed, fresh, &mut refusals);
        }
        if refused_by_store && !self.is_active().await? {
            return Err(Away::refused("revoked"));
        }
        for (event, at_ms) in apply {
            self.apply(event, at_ms).await?;
        }
        let lanes = progress.len();
        for (at, progress) in progress.iter().enumerate() {
            let credit = (at + 1 == lanes).then(|| self.next_credit());
            let refused = refusals.remove(&progress.lane).unwrap_or_default();
            let ack = wire::ack(progress, refused, credit);
            send(&self.out, v1::down::Message::Ack(ack)).await?;
        }
        if let Some(reason) = deferred {
            tracing::warn!(
                site = self.site.0,
                agent = %self.identity.agent,
                reason,
                "records are not taken now; their agent is to come again"
            );
            return Err(Away::later("deferred", 60_000, 60_000));
        }
        Ok(())
    }

    /// Counts what became of a record, and tells the evaluator of samples that are new.
    fn settled(&self, committed: CommittedRecord, fresh: Option<Fresh>, refusals: &mut Refusals) {
        let metrics = &self.context.metrics;
        let CommittedRecord { record, site, disposition } = committed;
        match disposition {
            Disposition::Stored => {
                metrics.samples.inc_by(u64::from(record.items));
                let Some(fresh) = fresh else { return };
                if fresh.late {
                    metrics.late_records.inc();
                }
                let (Some(columns), Some((group, layout))) = (fresh.columns, record.group) else {
                    return;
                };
                self.feed.push(FeedItem {
                    site: site.unwrap_or(self.site),
                    agent: self.identity.agent,
                    group,
                    layout,
                    time_ms: fresh.time_ms,
                    late: fresh.late,
                    sure: matches!(record.time, store::ServerTime::Known(_)),
                    columns,
                });
            }
            Disposition::Duplicate => {
                metrics.duplicates.inc();
            }
            Disposition::Conflict => {
                metrics.conflicts.inc();
                tracing::warn!(
                    site = self.site.0,
                    agent = %self.identity.agent,
                    sequence = record.seq,
                    "a record differs from the one stored under its number"
                );
            }
            Disposition::Deferred(reason) => {
                metrics.rejected.get_or_create(&Reason { reason }).inc();
            }
            Disposition::Rejected(reason) => {
                metrics.rejected.get_or_create(&Reason { reason }).inc();
                refusals.entry(record.lane).or_default().push((record.seq, reason));
            }
        }
    }

    /// Whether the agent may still send.
    async fn is_active(&self) -> Result<bool, Away> {
        let agent = self.context.store.agent(self.identity.agent).await;
        let agent = agent.map_err(|error| self.failed(&error))?;
        Ok(agent.is_some_and(|agent| agent.status == domain::agent::AgentStatus::Active))
    }

    /// Lets batches on their way reach the disk and be acknowledged, within a bound.
    pub(in crate::session) async fn finish(mut self, away: Away) -> Away {
        let drained = timeout(DRAIN, async {
            while let Some(done) = self.commits.next().await {
                // Nobody may be left to be told, but the evaluator still hears of it.
                if let Err(away) = self.committed(done).await {
                    tracing::debug!(reason = away.reason, "a batch was not acknowledged");
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!(agent = %self.identity.agent, "a session ended before its last commits");
        }
        away
    }
}
