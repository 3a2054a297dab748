//! One session over one connection.

mod opening;

use std::{collections::VecDeque, time::Duration};

use proto::{
    records::Encoder,
    v1::{self, down, up},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{
    Lasting, PlanState, Uplink,
    retry::Ended,
    sender::{Pick, ResumeError, Sender, Verdict},
};
use crate::{
    clock::{ServerClock, StepWatch},
    logs::chain,
    platform,
    spool::{ReadRequest, SpoolStatus, worker::SpoolError},
    wire,
};
pub(super) use opening::EpochGuard;

/// Time between two heartbeats, more or less a tenth.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A connection is made anew after this long, more or less a fifth: both sides look at the
/// certificates again.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Longest time that something sent waits for its acknowledgement.
const ACK_TIMEOUT: Duration = Duration::from_mins(2);
/// Longest silence of the collector, which answers each heartbeat.
const SILENCE: Duration = Duration::from_mins(1);
/// Messages that may stand between this loop and the transport: a live record waits for these.
const OUTGOING: usize = 1;
/// Rest after the spool had no room for a request.
const SPOOL_REST: Duration = Duration::from_millis(100);
/// Longest wait for the goodbye to leave.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(800);
/// Heartbeats whose answer may still come.
const MAX_ASKED: usize = 8;
/// Why a session ended, beside what [`Ended`] says.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the collector ended the session: {}", .0.message().escape_debug())]
    Status(#[source] Box<Status>),
    #[error("the collector closed the session")]
    Closed,
    #[error("the collector does not answer {0}")]
    Silent(&'static str),
    #[error("the collector breaks the protocol: {0}")]
    Protocol(&'static str),
    #[error("the collector's answer can not be used")]
    Resume(#[from] ResumeError),
    #[error("cannot use the spool")]
    Spool(#[from] SpoolError),
    #[error("cannot encode records")]
    Encode(#[source] proto::records::RecordsError),
    #[error("cannot start a new epoch")]
    Epoch(#[source] std::io::Error),
    #[error("the spool does not give what it holds")]
    Stalled,
}

/// What stopped the loop.
enum Stop {
    Asked,
    Renew,
    Away(v1::GoAway),
    Error(SessionError),
}

impl From<SessionError> for Stop {
    fn from(error: SessionError) -> Self {
        Self::Error(error)
    }
}

impl From<SpoolError> for Stop {
    fn from(error: SpoolError) -> Self {
        Self::Error(error.into())
    }
}

impl From<ResumeError> for Stop {
    fn from(error: ResumeError) -> Self {
        Self::Error(error.into())
    }
}

/// Runs a session. The flag says whether the collector accepted this identity.
pub(super) async fn run(
    uplink: &Uplink,
    lasting: &mut Lasting,
    channel: Channel,
    is_next: bool,
    stop: &CancellationToken,
) -> (Ended, bool) {
    let started = Instant::now();
    let mut accepted = false;
    let opening = opening::open(uplink, lasting, channel);
    let opened = tokio::select! {
        () = stop.cancelled() => return (Ended::Renew, false),
        opened = opening => opened,
    };
    let ended = match opened {
        Ok(mut session) => {
            accepted = true;
            if is_next && let Err(error) = uplink.keyring.promote() {
                tracing::error!(error = chain(&error), "the renewed identity stays aside");
            }
            session.go(stop).await
        }
        Err(ended) => ended,
    };
    let ended = match ended {
        Stop::Asked | Stop::Renew => Ended::Renew,
        Stop::Away(away) => {
            let reason = away.reason.escape_debug().to_string();
            tracing::info!(reason, refused = away.refused, "the collector sends this agent away");
            let ms = |ms: u32| Duration::from_millis(ms.into());
            if away.refused {
                Ended::Refused
            } else {
                Ended::Away { min: ms(away.retry_min_ms), spread: ms(away.retry_spread_ms) }
            }
        }
        Stop::Error(error) => {
            let refused = matches!(&error, SessionError::Status(status)
                if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied));
            if matches!(error, SessionError::Protocol(_) | SessionError::Resume(_)) {
                uplink.metrics.protocol_errors.inc();
            }
            tracing::warn!(error = chain(&error), "the session with the collector ended");
            if refused { Ended::Refused } else { Ended::Failed(started.elapsed()) }
        }
    };
    (ended, accepted)
}

struct Session<'a> {
    uplink: &'a Uplink,
    up: mpsc::Sender<v1::Up>,
    down: Streaming<v1::Down>,
    sender: Sender,
    encoder: Encoder,
    held: bool,
    server_clock: ServerClock,
    /// Boot times of the questions that the collector may still answer.
    asked: VecDeque<u64>,
    heard: Instant,
    /// When what is in flight began to wait without any acknowledgement.
    waiting_since: Option<Instant>,
    heartbeat_due: bool,
    report: Option<v1::ConfigStatus>,
    /// Nothing is read or sent before.
    rest_until: Instant,
    steps: StepWatch,
}

fn message(message: up::Message) -> v1::Up {
    v1::Up { message: Some(message) }
}

fn status(status: Status) -> SessionError {
    SessionError::Status(Box::new(status))
}

/// A wait of about `duration`, more or less a share of it, so that agents do not beat in step.
fn about(duration: Duration, share: f64) -> Duration {
    let draw: f64 = rand::random();
    duration.mul_f64(1.0 - share + 2.0 * share * draw)
}

impl Session<'_> {
    async fn go(&mut self, stop: &CancellationToken) -> Stop {
        let mut spool = self.uplink.spool.status();
        let mut plans = self.uplink.plan_state.clone();
        let old = Instant::now() + about(MAX_AGE, 0.2);
        let mut beat = Instant::now() + about(HEARTBEAT, 0.5);
        self.sender.update(&spool.borrow_and_update().lanes);
        loop {
            let pick = if self.held { None } else { self.sender.next() };
            let has_message = self.heartbeat_due || self.report.is_some();
            let now = Instant::now();
            let rests = now < self.rest_until;
            let late = self.deadline();
            let turn = tokio::select! {
                biased;
                () = stop.cancelled() => return self.goodbye().await,
                message = self.down.message() => match message {
                    Ok(Some(message)) => self.hear(message),
                    Ok(None) => Err(SessionError::Closed.into()),
                    Err(error) => Err(status(error).into()),
                },
                changed = spool.changed() => {
                    self.spool_changed(changed, &spool.borrow_and_update())
                }
                changed = plans.changed() => self.plan_changed(changed, &plans.borrow_and_update()),
                () = sleep_until(beat) => {
                    beat = Instant::now() + about(HEARTBEAT, 0.1);
                    self.heartbeat_due = true;
                    self.watch_clock();
                    Ok(())
                }
                () = sleep_until(old) => Err(Stop::Renew),
                () = sleep_until(late) => Err(SessionError::Silent("what was sent").into()),
                room = self.up.clone().reserve_owned(), if has_message || (pick.is_some() && !rests) => {
                    let room = room.map_err(|_closed| SessionError::Closed.into());
                    match room {
                        Ok(room) => self.fill(room, pick.filter(|_| !has_message)).await,
                        Err(closed) => Err(closed),
                    }
                }
                () = sleep_until(self.rest_until), if rests && pick.is_some() => Ok(()),
            };
            if let Err(stop) = turn {
                return stop;
            }
            let (bytes, _) = self.sender.in_flight();
            self.uplink.metrics.in_flight_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// When to give the connection up.
    fn deadline(&self) -> Instant {
        let silent = self.heard + SILENCE;
        self.waiting_since.map_or(silent, |since| silent.min(since + ACK_TIMEOUT))
    }

    fn spool_changed(
        &mut self,
        changed: Result<(), watch::error::RecvError>,
        status: &SpoolStatus,
    ) -> Result<(), Stop> {
        changed.map_err(|_| SpoolError::Stopped)?;
        self.sender.update(&status.lanes);
        Ok(())
    }

    fn plan_changed(
        &mut self,
        changed: Result<(), watch::error::RecvError>,
        state: &PlanState,
    ) -> Result<(), Stop> {
        // The other side ends with the agent.
        changed.map_err(|_| Stop::Asked)?;
        self.report.clone_from(&state.report);
        Ok(())
    }

    fn watch_clock(&mut self) {
        let clock = &*self.uplink.clock;
        let Some(step_ns) = self.steps.step(clock) else { return };
        tracing::warn!(step_ms = step_ns / 1_000_000, "the wall clock was set");
        let event = v1::event::Event::ClockStep(v1::ClockStep { step_ns });
        if self.uplink.spool.try_append(wire::event_record(event, clock)).is_err() {
            self.uplink.metrics.records_refused.inc();
        }
    }

    fn next_message(&mut self) -> Option<v1::Up> {
        if let Some(report) = self.report.take() {
            return Some(message(up::Message::Config(report)));
        }
        if !std::mem::take(&mut self.heartbeat_due) {
            return None;
        }
        let (clock, metrics) = (&*self.uplink.clock, &self.uplink.metrics);
        let spool = self.uplink.spool.status().borrow().clone();
        let offset = self.server_clock.offset_ns(clock);
        let boot_ns = clock.boot_ns();
        if self.asked.len() == MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(boot_ns);
        Some(message(up::Message::Heartbeat(v1::Heartbeat {
            boot_ns,
            wall_ns: clock.wall_ns(),
            lanes: spool.lanes.iter().map(wire::lane_load).collect(),
            spool_degraded: spool.degraded,
            rss_bytes: platform::resident_bytes().unwrap_or(0),
            cpu_ms: u64::try_from(platform::cpu_time().as_millis()).unwrap_or(u64::MAX),
            probe_lag_p95_ms: metrics.lag_p95_ms(),
            skipped_rounds: metrics.missed(),
            clock_offset_ns: offset.map_or(0, |(offset, _)| offset),
            // 0 says that the offset is not known.
            clock_error_ns: offset.map_or(0, |(_, error)| error.max(1)),
            config_applied: self.uplink.plan_state.borrow().applied,
        })))
    }

    /// Sends what `pick` says, or without one the message that is due.
    async fn fill(
        &mut self,
        room: mpsc::OwnedPermit<v1::Up>,
        pick: Option<Pick>,
    ) -> Result<(), Stop> {
        if let Some(pick) = pick {
            return self.send(room, &pick).await;
        }
        if let Some(message) = self.next_message() {
            room.send(message);
        }
        Ok(())
    }

    /// Reads what `pick` says and sends it.
    async fn send(&mut self, room: mpsc::OwnedPermit<v1::Up>, pick: &Pick) -> Result<(), Stop> {
        let request = ReadRequest {
            lane: pick.lane,
            epoch: pick.epoch,
            from_seq: pick.from,
            upto_seq: pick.upto,
            max_bytes: pick.max_bytes,
            max_records: pick.max_records,
        };
        let batch = match self.uplink.spool.read(request).await {
            Ok(batch) => batch,
            Err(SpoolError::Full) => {
                self.rest_until = Instant::now() + SPOOL_REST;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if batch.records.is_empty() && batch.next_seq <= pick.from {
            // Gone between the spool's last word and now, unless its next word says otherwise.
            let lanes = self.uplink.spool.status().borrow().lanes.clone();
            self.sender.update(&lanes);
            return if self.sender.next().as_ref() == Some(pick) {
                Err(SessionError::Stalled.into())
            } else {
                Ok(())
            };
        }
        let records: Vec<_> = batch.records.into_iter().map(wire::wire_record).collect();
        self.sender.read(pick, batch.next_seq);
        if records.is_empty() {
            return Ok(());
        }
        let encoded = self.encoder.encode(pick.lane, pick.epoch, pick.channel, &records);
        let encoded = encoded.map_err(SessionError::Encode)?;
        let bytes = encoded.body.len();
        // The collector's credit is of uncompressed bytes: what it must hold until they are durable.
        let held = encoded.raw_len as usize;
        self.sender.sent(pick, records.iter().map(|record| record.seq), held);
        self.waiting_since.get_or_insert_with(Instant::now);
        self.uplink.metrics.records_sent.inc_by(records.len() as u64);
        self.uplink.metrics.bytes_sent.inc_by(bytes as u64);
        room.send(message(up::Message::Records(encoded)));
        if let Some(cap) = self.uplink.upload_bytes_per_s {
            let pause = Duration::from_secs_f64(bytes as f64 / cap as f64);
            self.rest_until = self.rest_until.max(Instant::now()) + pause;
        }
        Ok(())
    }

    fn hear(&mut self, message: v1::Down) -> Result<(), Stop> {
        self.heard = Instant::now();
        match message.message {
            Some(down::Message::Ack(ack)) => self.ack(ack),
            Some(down::Message::Credit(credit)) => {
                self.sender.grant(credit);
                Ok(())
            }
            Some(down::Message::Time(time)) => {
                self.time(&time);
                Ok(())
            }
            Some(down::Message::Config(config)) => {
                self.offer(config);
                Ok(())
            }
            Some(down::Message::Away(away)) => Err(Stop::Away(away)),
            Some(down::Message::Ok(_)) => {
                Err(SessionError::Protocol("it answers the hello twice").into())
            }
            // A newer collector may say what this agent does not know.
            None => Ok(()),
        }
    }

    fn ack(&mut self, ack: v1::Ack) -> Result<(), Stop> {
        for rejected in &ack.rejected {
            self.uplink.metrics.records_rejected.inc();
            let reason = rejected.reason.chars().take(200).collect::<String>();
            let reason = reason.escape_debug().to_string();
            tracing::debug!(lane = ack.lane, sequence = rejected.seq, reason, "record rejected");
        }
        match self.sender.acked(&ack) {
            Verdict::Taken => {}
            Verdict::Ignored(why) => {
                self.uplink.metrics.acks_ignored.inc();
                tracing::warn!(lane = ack.lane, why, "an acknowledgement is ignored");
                return Ok(());
            }
        }
        self.uplink.metrics.acks.inc();
        match self.uplink.spool.acked(ack.lane, ack.epoch, ack.contig_upto, ack.above) {
            // When the queue is full, the next acknowledgement says the same.
            Ok(()) | Err(SpoolError::Full) => {}
            Err(error) => return Err(error.into()),
        }
        let idle = self.sender.in_flight() == (0, 0);
        self.waiting_since = if idle { None } else { Some(Instant::now()) };
        Ok(())
    }

    fn time(&mut self, time: &v1::TimeReply) {
        let Some(at) = self.asked.iter().position(|asked| *asked == time.agent_boot_ns) else {
            return;
        };
        // An answer counts once, and those before it will not come.
        self.asked.drain(..=at);
        let clock = &*self.uplink.clock;
        let (received, sent) = (time.received_wall_ns, time.sent_wall_ns);
        self.server_clock.take(time.agent_boot_ns, clock.boot_ns(), received, sent);
        if let Some((offset, error)) = self.server_clock.offset_ns(clock) {
            self.uplink.metrics.clock_offset.set(offset as f64 / 1e9);
            self.uplink.metrics.clock_error.set(error as f64 / 1e9);
        }
        if let Some(now) = self.server_clock.server_ns(clock.boot_ns()) {
            self.uplink.tls_time.server_said(now / 1_000_000_000);
        }
    }

    /// Hands a plan over to be applied; what became of it comes back through the plan's state.
    fn offer(&mut self, config: v1::Config) {
        let version = config.version;
        if self.uplink.plans.try_send(config).is_err() {
            let reason = "another configuration is being applied".to_owned();
            self.report = Some(v1::ConfigStatus { version, applied: false, reason });
        }
    }

    async fn goodbye(&mut self) -> Stop {
        let bye = message(up::Message::Goodbye(v1::Goodbye { reason: "stopped".to_owned() }));
        let leave = async {
            if self.up.send(bye).await.is_ok() {
                // The stream ends behind the goodbye; the collector's end says that it was heard.
                self.up = mpsc::channel(1).0;
                while let Ok(Some(_)) = self.down.message().await {}
            }
        };
        if timeout(GOODBYE_TIMEOUT, leave).await.is_err() {
            tracing::debug!("the collector did not answer the goodbye");
        }
        Stop::Asked
    }
}
