//! What to send next, and what an acknowledgement means: pure bookkeeping of one session.
//!
//! Events go first. Live samples go before the backlog, three batches to one when both wait, and
//! the backlog may fill only half of the credit, so that "now" never waits for it.

use std::collections::VecDeque;

use proto::{
    LANE_EVENTS,
    limits::MAX_BATCH_RECORDS,
    v1::{Ack, Credit, LaneResume, Range},
};

use super::ranges::{Ranges, are_ordered};
use crate::spool::LaneStatus;

/// Most payload of one message, in bytes: on a line of 2 Mbit/s, live data waits a second for it at
/// most, once compressed.
pub const BATCH_BYTES: usize = 256 << 10;
/// What this agent takes of a larger credit, in bytes.
pub const MAX_CREDIT_BYTES: u64 = 8 << 20;
/// What this agent takes of a larger credit, in records.
pub const MAX_CREDIT_RECORDS: u64 = 65_536;
/// Ranges sent and not contiguous, at most, per lane and epoch; beyond, nothing is sent there until
/// an acknowledgement joins them.
const MAX_KNOWN: usize = 4_096;
/// Live batches that go before one of the backlog.
const LIVE_TURNS: u8 = 3;
/// With less credit than this left, a batch is not worth its frame.
const MIN_BATCH_BYTES: u64 = 4 << 10;
/// Bytes of a record on the wire beside its payload, at most.
const RECORD_OVERHEAD: u64 = 64;

/// Channel of live records, see `v1::Records`.
pub const LIVE: u32 = 0;
/// Channel of the backlog.
pub const BACKLOG: u32 = 1;

/// A batch to read and send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// [`LIVE`] or [`BACKLOG`].
    pub channel: u32,
    /// First number wanted.
    pub from: u64,
    /// Last number wanted.
    pub upto: u64,
    /// Most payload, in bytes.
    pub max_bytes: usize,
    /// Most records.
    pub max_records: usize,
}

/// One epoch of one lane.
#[derive(Debug, Clone)]
struct Stream {
    lane: u32,
    epoch: u64,
    /// What the collector may rightly acknowledge: sent, or known to it before, or gone.
    known: Ranges,
    contig: u64,
    /// Next of the backlog, and where the backlog ends (exclusive).
    backlog: (u64, u64),
    /// Next of the live records, and where the spool ends (exclusive).
    live: (u64, u64),
}

impl Stream {
    fn channel_pick(&self, channel: u32) -> Option<(u64, u64)> {
        let (from, end) = if channel == LIVE { self.live } else { self.backlog };
        (from < end).then(|| (from, end - 1))
    }
}

#[derive(Debug, Clone)]
struct Batch {
    lane: u32,
    epoch: u64,
    channel: u32,
    runs: Vec<Range>,
    bytes: u64,
    records: u64,
}

/// What an acknowledgement was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// True as far as this agent can tell.
    Taken,
    /// It can not be true; nothing of it is used.
    Ignored(&'static str),
}

/// Why a collector's answer to the Hello can not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The answer has ranges that overlap or run backwards.
    #[error("the collector's answer has ranges out of order")]
    Disorder,
    /// The collector knows more than there is: a new epoch is due.
    #[error("the collector has more than this agent ever sent")]
    Beyond,
}

/// The bookkeeping of one session.
#[derive(Debug)]
pub struct Sender {
    streams: Vec<Stream>,
    in_flight: VecDeque<Batch>,
    credit: Credit,
    turn: u8,
}

fn capped(credit: Credit) -> Credit {
    Credit {
        bytes: credit.bytes.min(MAX_CREDIT_BYTES),
        records: credit.records.min(MAX_CREDIT_RECORDS),
    }
}

impl Sender {
    /// Starts from the spool's state and the collector's answer to it. What the answer leaves out
    /// stays where it is.
    pub fn new(
        lanes: &[LaneStatus],
        resumes: &[LaneResume],
        credit: impl Into<Option<Credit>>,
    ) -> Result<Self, ResumeError> {
        let mut streams = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let resume = resumes
                .iter()
                .find(|resume| (resume.lane, resume.epoch) == (lane.lane, lane.epoch));
            let Some(resume) = resume else {
                tracing::warn!(lane = lane.lane, "the collector leaves out a lane");
                continue;
            };
            if !are_ordered(&resume.above, resume.contig_upto) {
                return Err(ResumeError::Disorder);
            }
            let last = resume.above.last().map_or(resume.contig_upto, |range| range.to);
            if last >= lane.next_seq.max(1) {
                return Err(ResumeError::Beyond);
            }
            let mut known = Ranges::default();
            known.insert(1, resume.contig_upto.max(lane.oldest_seq.saturating_sub(1)));
            for range in resume.above.iter().take(MAX_KNOWN / 2) {
                known.insert(range.from, range.to);
            }
            let start = (resume.contig_upto + 1).max(lane.oldest_seq);
            // Events keep their order: all of them are one queue.
            let split = if lane.lane == LANE_EVENTS || !lane.current {
                lane.next_seq
            } else {
                lane.live_from.clamp(start.min(lane.next_seq), lane.next_seq)
            };
            streams.push(Stream {
                lane: lane.lane,
                epoch: lane.epoch,
                known,
                contig: resume.contig_upto,
                backlog: (start, split),
                live: (split.max(start), lane.next_seq),
            });
        }
        Ok(Self {
            streams,
            in_flight: VecDeque::new(),
            credit: capped(credit.into().unwrap_or_default()),
            turn: 0,
        })
    }

    /// Hears what the spool holds now.
    pub fn update(&mut self, lanes: &[LaneStatus]) {
        let held =
            |lane: u32, epoch: u64| lanes.iter().find(|l| (l.lane, l.epoch) == (lane, epoch));
        // An epoch that is gone was acknowledged or evicted whole.
        self.streams.retain(|stream| held(stream.lane, stream.epoch).is_some());
        self.in_flight.retain(|batch| held(batch.lane, batch.epoch).is_some());
        for stream in &mut self.streams {
            let Some(lane) = held(stream.lane, stream.epoch) else { continue };
            stream.known.insert(1, lane.oldest_seq.saturating_sub(1));
            stream.live.1 = lane.next_seq.max(stream.live.0);
            // Live records that the line was too slow for join the backlog, where they are next to
            // what is there already.
            let stale = lane.live_from.min(stream.live.1);
            if stream.lane == LANE_EVENTS || !lane.current || stale <= stream.live.0 {
                continue;
            }
            if stream.backlog.0 >= stream.backlog.1 {
                stream.backlog = (stream.live.0, stale);
                stream.live.0 = stale;
            } else if stream.backlog.1 == stream.live.0 {
                stream.backlog.1 = stale;
                stream.live.0 = stale;
            }
        }
    }

    /// True while something waits to be sent, credit or not.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.streams.iter().any(|stream| {
            stream.channel_pick(LIVE).or_else(|| stream.channel_pick(BACKLOG)).is_some()
        })
    }

    /// What to read and send now; `None` when there is nothing or the credit is used up.
    #[must_use]
    pub fn next(&self) -> Option<Pick> {
        let pick = |stream: &Stream, channel: u32| {
            let (from, upto) = stream.channel_pick(channel)?;
            let room = self.room(channel)?;
            (stream.known.len() < MAX_KNOWN).then_some(Pick {
                lane: stream.lane,
                epoch: stream.epoch,
                channel,
                from,
                upto,
                max_bytes: room.0,
                max_records: room.1,
            })
        };
        let events = || self.streams.iter().filter(|stream| stream.lane == LANE_EVENTS);
        let samples = || self.streams.iter().filter(|stream| stream.lane != LANE_EVENTS);
        let event =
            events().find_map(|stream| pick(stream, BACKLOG).or_else(|| pick(stream, LIVE)));
        if let Some(mut event) = event {
            event.channel = LIVE;
            return Some(event);
        }
        let live = || samples().find_map(|stream| pick(stream, LIVE));
        let backlog = || samples().find_map(|stream| pick(stream, BACKLOG));
        if self.turn >= LIVE_TURNS { backlog().or_else(live) } else { live().or_else(backlog) }
    }

    /// Bytes and records that a batch of `channel` may have.
    fn room(&self, channel: u32) -> Option<(usize, usize)> {
        let of = |channels: &dyn Fn(u32) -> bool| {
            let batches = self.in_flight.iter().filter(|batch| channels(batch.channel));
            batches.fold((0, 0), |(bytes, records), batch| {
                (bytes + batch.bytes, records + batch.records)
            })
        };
        let all = of(&|_| true);
        let mut bytes = self.credit.bytes.saturating_sub(all.0);
        let mut records = self.credit.records.saturating_sub(all.1);
        if channel == BACKLOG {
            let mine = of(&|channel| channel == BACKLOG);
            bytes = bytes.min((self.credit.bytes / 2).saturating_sub(mine.0));
            records = records.min(self.credit.records.div_ceil(2).saturating_sub(mine.1));
        }
        if self.credit.bytes == 0 || records == 0 {
            return None;
        }
        // One record may always be on its way, or a small credit would stop the line for ever.
        if bytes < MIN_BATCH_BYTES {
            return self.in_flight.is_empty().then_some((1, 1));
        }
        let records = records.min(bytes / RECORD_OVERHEAD).min(MAX_BATCH_RECORDS as u64);
        let payload = bytes - records * RECORD_OVERHEAD / 2;
        let payload = usize::try_from(payload).unwrap_or(BATCH_BYTES).min(BATCH_BYTES);
        Some((payload, usize::try_from(records).unwrap_or(MAX_BATCH_RECORDS)))
    }

    /// Hears that `pick` was read: the numbers of the records found, and where the next read goes
    /// on. What lies between and was not found is gone or with the collector already.
    pub fn read(&mut self, pick: &Pick, next: u64) {
        let next = next.max(pick.from).min(pick.upto.saturating_add(1));
        let Some(stream) = self.stream(pick.lane, pick.epoch) else { return };
        if next > pick.from {
            stream.known.insert(pick.from, next - 1);
        }
        let cursor = if pick.from == stream.backlog.0 && stream.backlog.0 < stream.backlog.1 {
            &mut stream.backlog.0
        } else {
            &mut stream.live.0
        };
        *cursor = next.max(*cursor);
    }

    /// Hears that the records `seqs` (ascending) went out in a message of `bytes` before compression,
    /// as the collector counts them.
    pub fn sent(&mut self, pick: &Pick, seqs: impl Iterator<Item = u64>, bytes: usize) {
        let mut runs: Vec<Range> = Vec::new();
        let mut records = 0;
        for seq in seqs {
            records += 1;
            match runs.last_mut() {
                Some(run) if run.to + 1 == seq => run.to = seq,
                Some(_) | None => runs.push(Range { from: seq, to: seq }),
            }
        }
        if pick.lane != LANE_EVENTS {
            self.turn = if pick.channel == LIVE { (self.turn + 1).min(LIVE_TURNS) } else { 0 };
        }
        let (lane, epoch, channel) = (pick.lane, pick.epoch, pick.channel);
        let bytes = bytes as u64;
        self.in_flight.push_back(Batch { lane, epoch, channel, runs, bytes, records });
    }

    fn stream(&mut self, lane: u32, epoch: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| (stream.lane, stream.epoch) == (lane, epoch))
    }

    /// Judges an acknowledgement, and frees what it covers. Its credit counts in any case.
    pub fn acked(&mut self, ack: &Ack) -> Verdict {
        if let Some(credit) = ack.credit {
            self.grant(credit);
        }
        let Some(stream) = self.stream(ack.lane, ack.epoch) else {
            return Verdict::Ignored("of a lane that was not sent");
        };
        if ack.contig_upto < stream.contig {
            return Verdict::Ignored("going backwards");
        }
        if !are_ordered(&ack.above, ack.contig_upto) {
            return Verdict::Ignored("with ranges out of order");
        }
        let sent = stream.known.covers(1, ack.contig_upto)
            && ack.above.iter().all(|range| stream.known.covers(range.from, range.to));
        if !sent {
            return Verdict::Ignored("of records that were not sent");
        }
        stream.contig = ack.contig_upto;
        let mut there = Ranges::default();
        there.insert(0, ack.contig_upto);
        for range in &ack.above {
            there.insert(range.from, range.to);
        }
        for rejected in &ack.rejected {
            there.insert(rejected.seq, rejected.seq);
        }
        self.in_flight.retain(|batch| {
            (batch.lane, batch.epoch) != (ack.lane, ack.epoch)
                || !batch.runs.iter().all(|run| there.covers(run.from, run.to))
        });
        Verdict::Taken
    }

    /// Hears how much may be in flight.
    pub fn grant(&mut self, credit: Credit) {
        self.credit = capped(credit);
    }

    /// Bytes, before compression, and records sent and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> (u64, u64) {
        self.in_flight
            .iter()
            .fold((0, 0), |(bytes, records), batch| (bytes + batch.bytes, records + batch.records))
    }
}

#[cfg(test)]
mod tests;
