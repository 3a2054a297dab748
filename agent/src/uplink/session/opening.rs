//! The opening of a session: the hello, its answer, and where both sides stand.

use std::{collections::VecDeque, time::Duration};

use proto::{
    limits,
    records::Encoder,
    v1::{self, agent_link_client::AgentLinkClient, down, lane_resume::Action, up},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{
    super::{
        ANSWER_TIMEOUT, Lasting, Uplink,
        ranges::are_ordered,
        sender::{ResumeError, Sender},
    },
    OUTGOING, Session, SessionError, Stop, message, status,
};
use crate::{
    clock::{ServerClock, StepWatch},
    spool::{AckOutcome, LaneStatus},
    wire,
};

/// Largest message that is read: a configuration, and room around it.
const MAX_DOWN_BYTES: usize = limits::MAX_CONFIG_BYTES + (64 << 10);
/// Renumbered epochs in one [`EPOCH_WINDOW`]: more would be a loop, and each costs a rewrite.
const MAX_NEW_EPOCHS: usize = 4;
/// See [`MAX_NEW_EPOCHS`].
const EPOCH_WINDOW: Duration = Duration::from_mins(10);

/// Counts the epochs that the collector asked for.
#[derive(Debug, Default)]
pub(in super::super) struct EpochGuard {
    made: VecDeque<Instant>,
}

impl EpochGuard {
    /// Whether one more is reasonable; then it is counted.
    fn admit(&mut self, now: Instant) -> bool {
        self.made.retain(|at| now.duration_since(*at) < EPOCH_WINDOW);
        let fine = self.made.len() < MAX_NEW_EPOCHS;
        if fine {
            self.made.push_back(now);
        }
        fine
    }
}

/// Says hello and takes the answer.
pub(super) async fn open<'a>(
    uplink: &'a Uplink,
    lasting: &mut Lasting,
    channel: Channel,
) -> Result<Session<'a>, Stop> {
    let lanes = uplink.spool.status().borrow().lanes.clone();
    let asked = uplink.clock.boot_ns();
    let hello = v1::Hello {
        protocol_min: limits::PROTOCOL,
        protocol_max: limits::PROTOCOL,
        instance_id: lasting.instance_id.to_vec(),
        machine_fingerprint: lasting.fingerprint.clone(),
        boot_tag: uplink.clock.boot_tag(),
        boot_ns: asked,
        wall_ns: uplink.clock.wall_ns(),
        lanes: lanes.iter().map(wire::lane_state).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_applied: uplink.plan_state.borrow().applied,
        surroundings: uplink.surroundings.borrow().clone(),
    };
    let (up, outgoing) = mpsc::channel(OUTGOING);
    let silent = || SessionError::Silent("the hello");
    // The queue is empty: this does not wait.
    up.send(message(up::Message::Hello(hello))).await.map_err(|_| SessionError::Closed)?;
    let mut client = AgentLinkClient::new(channel)
        .max_decoding_message_size(MAX_DOWN_BYTES)
        .max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
    let answer = timeout(ANSWER_TIMEOUT, client.session(ReceiverStream::new(outgoing)))
        .await
        .map_err(|_| silent())?
        .map_err(status)?;
    let mut down = answer.into_inner();
    let first =
        timeout(ANSWER_TIMEOUT, down.message()).await.map_err(|_| silent())?.map_err(status)?;
    let ok = match first.ok_or(SessionError::Closed)?.message {
        Some(down::Message::Ok(ok)) => ok,
        Some(down::Message::Away(away)) => return Err(Stop::Away(away)),
        Some(_) | None => return Err(SessionError::Protocol("it does not answer the hello").into()),
    };
    if ok.protocol != limits::PROTOCOL {
        return Err(SessionError::Protocol("it chose another version").into());
    }
    let held = resume(uplink, lasting, &lanes, &ok.lanes).await?;
    let sender = Sender::new(&lanes, &ok.lanes, ok.credit)?;
    uplink.metrics.sessions.inc();
    uplink.metrics.connected.set(1);
    uplink.metrics.held.set(held.into());
    tracing::info!(site = %ok.site_name.escape_debug(), held, "connected to the collector");
    let now = Instant::now();
    let mut session = Session {
        uplink,
        up,
        down,
        sender,
        encoder: Encoder::new(),
        held,
        server_clock: ServerClock::default(),
        asked: VecDeque::from([asked]),
        heard: now,
        waiting_since: None,
        heartbeat_due: false,
        report: uplink.plan_state.borrow().report.clone(),
        rest_until: now,
        steps: StepWatch::new(&*uplink.clock),
    };
    if let Some(time) = ok.time {
        session.time(&time);
    }
    Ok(session)
}

/// Tells the spool where the collector stands; true when this agent is to hold its records.
async fn resume(
    uplink: &Uplink,
    lasting: &mut Lasting,
    lanes: &[LaneStatus],
    resumes: &[v1::LaneResume],
) -> Result<bool, Stop> {
    let action = |resume: &v1::LaneResume| Action::try_from(resume.action);
    if resumes.iter().any(|resume| !are_ordered(&resume.above, resume.contig_upto)) {
        return Err(ResumeError::Disorder.into());
    }
    let mut rolled_back = false;
    for resume in resumes.iter().filter(|resume| action(resume) == Ok(Action::NewEpoch)) {
        begin_epoch(uplink, lasting, lanes, resume).await?;
        rolled_back = true;
    }
    if rolled_back {
        return Err(Stop::Renew);
    }
    if resumes.iter().any(|resume| action(resume) == Ok(Action::Hold)) {
        tracing::warn!("another machine uses this identity: records are kept and not sent");
        return Ok(true);
    }
    for resume in resumes {
        let above = resume.above.clone();
        let told =
            uplink.spool.resume(resume.lane, resume.epoch, resume.contig_upto, above).await?;
        // It knows numbers that were never sent from here: they were given twice.
        if told == AckOutcome::BeyondHead {
            begin_epoch(uplink, lasting, lanes, resume).await?;
            rolled_back = true;
        }
    }
    if rolled_back { Err(Stop::Renew) } else { Ok(false) }
}

/// Renumbers what the collector does not have of a lane that was put back to an earlier state.
async fn begin_epoch(
    uplink: &Uplink,
    lasting: &mut Lasting,
    lanes: &[LaneStatus],
    resume: &v1::LaneResume,
) -> Result<(), Stop> {
    let (lane, old) = (resume.lane, resume.epoch);
    if !lanes.iter().any(|known| (known.lane, known.epoch) == (lane, old)) {
        return Err(SessionError::Protocol("it wants a new epoch of an unknown lane").into());
    }
    if !lasting.new_epochs.admit(Instant::now()) {
        return Err(SessionError::Protocol("it wants new epochs without end").into());
    }
    let above = resume.above.clone();
    let new = uplink.spool.new_epoch(lane, old, resume.contig_upto, above).await?;
    let new = new.map_err(SessionError::Epoch)?;
    tracing::warn!(lane, old, new, "rolled back: a new epoch begins");
    Ok(())
}
