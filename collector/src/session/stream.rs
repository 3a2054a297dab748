//! A stream after its `Hello`: records in, acknowledgements out, clock and configuration beside.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use prost::Message as _;
use proto::{
    limits::{MAX_CONFIG_BYTES, PROTOCOL},
    v1::{self, lane_resume::Action},
};
use rand::RngExt as _;
use store::{LaneKey, LaneProgress, StoreError};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{
    Away, BUDGET_UNIT, ClockMap, Down, Ending, Mapping, Opening, Place, Seat, send, store_failed,
    unread,
};
use crate::{
    ca::Identity,
    context::Context,
    feed::Feed,
    ingest::{Ingest, MAX_EPOCHS},
    live::{AgentLive, LaneLive},
    metrics::Reason,
    wire,
};

mod commits;
mod events;

use commits::Commits;

/// Lanes and epochs of a Hello that are answered: [`MAX_EPOCHS`] of each lane.
const MAX_LANE_STATES: usize = 2 * MAX_EPOCHS;
/// Batches of one stream on their way to the disk.
const MAX_COMMITS: usize = 16;
/// What an agent may have in flight at first, bytes of uncompressed bodies as in the budget.
const CREDIT_START: u64 = 1 << 20;
/// What one agent may have in flight at most, bytes.
const CREDIT_MAX: u64 = 8 << 20;
/// What every agent may have in flight, however many there are, bytes.
const CREDIT_MIN: u64 = 64 << 10;
/// Records that go with each KiB of credit: a record of one sample is about 40 bytes.
const CREDIT_RECORDS_PER_KIB: u64 = 16;
/// Life of a stream before it is asked to connect again; a fifth more or less, at random.
const AGE: Duration = Duration::from_hours(1);
/// Shortest time between two savings of an agent's clock.
const SAVE_CLOCK_EVERY: Duration = Duration::from_secs(5);
/// A stream after its `Hello`.
pub(super) struct Session {
    context: Context,
    feed: Feed,
    budget: Arc<Semaphore>,
    budget_units: usize,
    idle: Duration,
    stop: CancellationToken,
    identity: Arc<Identity>,
    inbound: Streaming<v1::Up>,
    out: mpsc::Sender<Down>,
    seat: Seat,
    site: domain::id::SiteId,
    ingest: Ingest,
    clock: ClockMap,
    changes: watch::Receiver<u64>,
    offered: u64,
    credit: u64,
    commits: Commits,
    /// Offset of the clock as saved last, and when.
    saved: (i64, Instant),
}

impl Session {
    pub(super) async fn start(
        opening: Opening,
        hello: v1::Hello,
        seat: Seat,
    ) -> Result<Self, Away> {
        let Opening { context, feed, limits, budget, stop, identity, peer, inbound, out } = opening;
        let failed = |error: StoreError| store_failed(&context, &identity, &error);
        let received_ns = context.clock.now_ns();
        let agent = context.store.agent(identity.agent).await.map_err(failed)?;
        let agent = agent.ok_or(Away::refused("identity"))?;
        let saved = store::IngestStore::clock(&*context.store, agent.id, hello.boot_tag);
        let saved = saved.await.map_err(failed)?;
        let clock = ClockMap::new(hello.boot_tag, hello.boot_ns, received_ns, saved);
        let mapping = clock.mapping();
        if saved != Some(mapping.offset_ns) {
            let Mapping { offset_ns, error_ns } = mapping;
            let save = context.store.save_clock(agent.id, hello.boot_tag, offset_ns, error_ns);
            save.await.map_err(failed)?;
        }
        let site = context.store.site(agent.site).await.map_err(failed)?;
        let site_name = site.map_or_else(String::new, |site| site.facts.name);
        let changes = context.configs.watch(agent.site);
        let ingest = Ingest::new(&agent);
        let mut live = AgentLive::new(
            agent.site,
            context.clock.now(),
            wire::text(&hello.version),
            Some(peer.address.ip()),
        );
        live.lanes = lanes(&hello.lanes);
        live.config.applied = hello.config_applied;
        live.held = context.sessions.held(agent.id) > 0;
        let first = context.live.agent(agent.id).is_none();
        tracing::info!(
            site = agent.site.0,
            agent = %agent.id,
            peer = %peer.address.ip(),
            version = live.version,
            held = seat.place == Place::Held,
            "a session began"
        );
        if seat.place == Place::Live {
            context.live.open(agent.id, live);
        } else {
            context.metrics.sessions_held.inc();
            context.live.update(agent.id, |live| live.held = true);
            let other = context.live.agent(agent.id).and_then(|live| live.address);
            tracing::warn!(
                site = agent.site.0,
                agent = %agent.id,
                peer = %peer.address.ip(),
                other = other.map(tracing::field::display),
                "another machine uses this identity; it is held: enrol one of the two anew"
            );
        }
        let mut session = Self {
            context,
            feed,
            budget,
            budget_units: (limits.budget_bytes / BUDGET_UNIT).max(1),
            idle: limits.idle,
            stop,
            identity,
            inbound,
            out,
            seat,
            site: agent.site,
            ingest,
            clock,
            changes,
            offered: hello.config_applied,
            credit: 0,
            commits: Commits::new(),
            saved: (mapping.offset_ns, Instant::now()),
        };
        session.welcome(&hello, site_name, received_ns).await?;
        if session.seat.place == Place::Live {
            if let Some(surroundings) = &hello.surroundings {
                session.surroundings(surroundings).await?;
            }
            if first {
                session.catch_up(&hello.lanes).await?;
            }
            session.offer().await?;
        }
        Ok(session)
    }

    fn failed(&self, error: &StoreError) -> Away {
        store_failed(&self.context, &self.identity, error)
    }

    /// Answers the `Hello`: where each lane goes on.
    async fn welcome(
        &mut self,
        hello: &v1::Hello,
        site_name: String,
        received_ns: i64,
    ) -> Result<(), Away> {
        let mut resumes = Vec::new();
        // A lane stands in several epochs while the records of an earlier one are not all here.
        for state in hello.lanes.iter().take(MAX_LANE_STATES) {
            let Some(lane) = u8::try_from(state.lane).ok().filter(|lane| *lane <= 1) else {
                continue;
            };
            if state.epoch == 0 {
                continue;
            }
            let key = LaneKey { agent: self.identity.agent, lane, epoch: state.epoch };
            if self.seat.place == Place::Held {
                let nothing = LaneProgress { lane: key, contig_upto: 0, above: Vec::new() };
                resumes.push(wire::resume(&nothing, Action::Hold));
                continue;
            }
            let resume = self.context.store.resume(key, state.next_seq, state.head_hash);
            let resume = resume.await.map_err(|error| self.failed(&error))?;
            let action = if resume.rolled_back { Action::NewEpoch } else { Action::Continue };
            if resume.rolled_back {
                tracing::warn!(agent = %key.agent, lane, "the agent's disk was rolled back");
            }
            resumes.push(wire::resume(&resume.progress, action));
        }
        let generation = self.context.store.generation().await;
        let ok = v1::HelloOk {
            protocol: PROTOCOL,
            db_generation: generation.map_err(|error| self.failed(&error))?,
            lanes: resumes,
            time: Some(self.time(hello.boot_ns, received_ns)),
            credit: Some(self.next_credit()),
            site_name,
        };
        send(&self.out, v1::down::Message::Ok(ok)).await
    }

    fn time(&self, agent_boot_ns: u64, received_wall_ns: i64) -> v1::TimeReply {
        let sent_wall_ns = self.context.clock.now_ns();
        v1::TimeReply { agent_boot_ns, received_wall_ns, sent_wall_ns }
    }

    /// What the agent may have in flight: more with each acknowledgement, up to its share of what
    /// all agents may have.
    fn next_credit(&mut self) -> v1::Credit {
        let open = u64::try_from(self.context.sessions.count()).unwrap_or(u64::MAX).max(1);
        let budget = (self.budget_units * BUDGET_UNIT) as u64;
        let share = (budget / open).clamp(CREDIT_MIN, CREDIT_MAX);
        self.credit = (self.credit * 2).max(CREDIT_START).min(share);
        v1::Credit { bytes: self.credit, records: (self.credit >> 10) * CREDIT_RECORDS_PER_KIB }
    }

    /// Runs until something ends the stream.
    pub(super) async fn run(&mut self) -> Away {
        let spread = rand::rng().random_range(0.8..1.2);
        let old = Instant::now() + AGE.mul_f64(spread);
        let mut idle = Instant::now() + self.idle;
        let stop = self.stop.clone();
        loop {
            let room = self.commits.len() < MAX_COMMITS;
            let step = tokio::select! {
                () = stop.cancelled() => Err(Away::later("restart", 1_000, 30_000)),
                ending = self.seat.ended() => Err(match ending {
                    Ending::Revoked => Away::refused("revoked"),
                    Ending::Superseded => Away::later("superseded", 60_000, 60_000),
                    Ending::Released => Away::later("released", 0, 1_000),
                }),
                Some(done) = self.commits.next() => self.committed(done).await,
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.offer().await,
                    Err(_) => Err(Away::later("restart", 1_000, 30_000)),
                },
                message = self.inbound.message(), if room => match message {
                    Ok(Some(message)) => {
                        idle = Instant::now() + self.idle;
                        self.take(message).await
                    }
                    Ok(None) => Err(Away::GONE),
                    Err(status) => Err(unread(&status)),
                },
                () = sleep_until(old) => Err(Away::later("age", 0, 10_000)),
                () = sleep_until(idle) => Err(Away::later("silence", 0, 10_000)),
            };
            if let Err(away) = step {
                return away;
            }
        }
    }

    async fn take(&mut self, message: v1::Up) -> Result<(), Away> {
        let now = self.context.clock.now();
        let agent = self.identity.agent;
        let Some(message) = message.message else {
            // A message of a newer agent.
            return Ok(());
        };
        if self.seat.place == Place::Live {
            self.context.live.update(agent, |live| live.last_message = now);
        }
        match message {
            v1::up::Message::Records(records) if self.seat.place == Place::Live => {
                self.records(&records).await
            }
            v1::up::Message::Records(_) => Err(Away::violation("held")),
            v1::up::Message::Heartbeat(heartbeat) => self.heartbeat(&heartbeat, now).await,
            v1::up::Message::Config(status) => {
                self.config_status(&status);
                Ok(())
            }
            v1::up::Message::Goodbye(goodbye) => {
                let reason = wire::text(&goodbye.reason);
                tracing::info!(site = self.site.0, agent = %agent, reason, "an agent said goodbye");
                if self.seat.place == Place::Live {
                    self.context.live.update(agent, |live| live.goodbye = Some(reason));
                }
                Err(Away::GONE)
            }
            v1::up::Message::Hello(_) => Err(Away::violation("a second hello")),
        }
    }

    async fn heartbeat(&mut self, heartbeat: &v1::Heartbeat, now: Timestamp) -> Result<(), Away> {
        let received_ns = self.context.clock.now_ns();
        let claim = (heartbeat.clock_error_ns > 0)
            .then_some((heartbeat.clock_offset_ns, heartbeat.clock_error_ns));
        let agent = self.identity.agent;
        if self.seat.place == Place::Live {
            self.clock.heartbeat(heartbeat.boot_ns, heartbeat.wall_ns, claim, received_ns);
            self.save_clock().await?;
            let held = self.context.sessions.held(agent) > 0;
            self.context.live.update(agent, |live| {
                live.last_message = now;
                live.held = held;
                live.lanes = lanes(&heartbeat.lanes);
                live.spool_degraded = heartbeat.spool_degraded;
                live.rss_bytes = heartbeat.rss_bytes;
                live.cpu_ms = heartbeat.cpu_ms;
                live.probe_lag_p95_ms = heartbeat.probe_lag_p95_ms;
                live.skipped_rounds = heartbeat.skipped_rounds;
                live.clock_offset_ns = claim.map(|(offset_ns, _)| offset_ns);
                live.clock_error_ns = heartbeat.clock_error_ns;
                live.config.applied = heartbeat.config_applied;
            });
        }
        let time = self.time(heartbeat.boot_ns, received_ns);
        send(&self.out, v1::down::Message::Time(time)).await
    }

    /// Saves the mapping of the agent's clock when it changed, not too often: each is a transaction.
    async fn save_clock(&mut self) -> Result<(), Away> {
        let Mapping { offset_ns, error_ns } = self.clock.mapping();
        if offset_ns == self.saved.0 || self.saved.1.elapsed() < SAVE_CLOCK_EVERY {
            return Ok(());
        }
        let (agent, boot_tag) = (self.identity.agent, self.clock.boot_tag());
        let saved = self.context.store.save_clock(agent, boot_tag, offset_ns, error_ns).await;
        saved.map_err(|error| self.failed(&error))?;
        self.saved = (offset_ns, Instant::now());
        Ok(())
    }

    /// Whether the agent may change its site's plan once more.
    fn may_plan(&self) -> bool {
        let now = std::time::Instant::now();
        let may = self.context.sessions.may_plan(self.identity.agent, now);
        if !may {
            self.context.metrics.refused_calls.get_or_create(&Reason { reason: "plans" }).inc();
        }
        may
    }

    fn config_status(&self, status: &v1::ConfigStatus) {
        if self.seat.place == Place::Held {
            return;
        }
        let reason = wire::text(&status.reason);
        if !status.applied {
            tracing::warn!(
                site = self.site.0,
                agent = %self.identity.agent,
                version = status.version,
                reason,
                "an agent refused its configuration"
            );
        }
        self.context.live.update(self.identity.agent, |live| {
            if status.applied {
                live.config.applied = status.version;
                live.config.failed = None;
            } else {
                live.config.failed = Some((status.version, reason));
            }
        });
    }

    /// Sends the site's configuration when it is another than the agent has, and not one that it
    /// refused.
    async fn offer(&mut self) -> Result<(), Away> {
        if self.seat.place == Place::Held {
            return Ok(());
        }
        let groups = self.context.store.groups(self.site).await;
        let (version, groups) = groups.map_err(|error| self.failed(&error))?;
        self.ingest.learn(&groups);
        let agent = self.identity.agent;
        let live = self.context.live.agent(agent);
        let failed = live.and_then(|live| live.config.failed).map(|(version, _)| version);
        if version == self.offered || failed == Some(version) {
            return Ok(());
        }
        let mesh = self.context.store.mesh_plan(self.site).await;
        let mesh = mesh.map_err(|error| self.failed(&error))?;
        let config = wire::config(version, &groups, &self.context.config.references, &mesh);
        if config.encoded_len() > MAX_CONFIG_BYTES {
            // Retrying would not make it smaller: the operator must retire targets.
            tracing::error!(
                site = self.site.0,
                agent = %agent,
                bytes = config.encoded_len(),
                "the configuration is too large to be sent"
            );
            let reason = "it is too large to be sent".to_owned();
            self.context.live.update(agent, |live| live.config.failed = Some((version, reason)));
            return Ok(());
        }
        self.offered = version;
        self.context.live.update(agent, |live| live.config.offered = version);
        send(&self.out, v1::down::Message::Config(config)).await
    }
}

/// However a session ends, even while it opens: what is shown of the agent is what is so.
impl Drop for Session {
    fn drop(&mut self) {
        if self.seat.place == Place::Held {
            self.context.metrics.sessions_held.dec();
        } else {
            let superseded = self.seat.is_superseded();
            self.context.live.update(self.identity.agent, |live| live.connected &= superseded);
        }
    }
}

/// What waits in each lane, over all the epochs that it stands in.
fn lanes(states: &[v1::LaneState]) -> Vec<LaneLive> {
    let mut lanes: Vec<LaneLive> = Vec::with_capacity(2);
    for state in states.iter().take(MAX_LANE_STATES) {
        let Some(lane) = u8::try_from(state.lane).ok().filter(|lane| *lane <= 1) else { continue };
        let at = lanes.iter().position(|known| known.lane == lane).unwrap_or_else(|| {
            lanes.push(LaneLive { lane, ..LaneLive::default() });
            lanes.len() - 1
        });
        let sum = &mut lanes[at];
        let first = state.oldest_seq.max(state.contig_upto.saturating_add(1));
        let records = state.next_seq.saturating_sub(first);
        sum.records = sum.records.saturating_add(records);
        sum.bytes = sum.bytes.saturating_add(state.bytes);
        sum.evicted = sum.evicted.saturating_add(state.evicted);
    }
    lanes
}
