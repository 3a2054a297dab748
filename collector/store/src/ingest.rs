//! Taking records: duplicate suppression, watermarks and samples in one transaction.

use async_trait::async_trait;
use domain::id::{AgentId, SiteId};

use crate::Result;

/// Declared stretches without measures of one site; more are refused, their records kept. One agent
/// may add a tenth of them in a day.
pub const MAX_SITE_GAPS: u32 = 20_000;

/// One lane of one life of an agent's spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// Agent.
    pub agent: AgentId,
    /// 0 = events, 1 = samples.
    pub lane: u8,
    /// Random, made with the spool lane.
    pub epoch: u64,
}

/// Inclusive stretch of sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// First.
    pub from: u64,
    /// Last, inclusive.
    pub to: u64,
}

/// What is committed of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneProgress {
    /// The lane.
    pub lane: LaneKey,
    /// Every record up to this one is committed or explained; 0 before the first.
    pub contig_upto: u64,
    /// Committed stretches above, ascending, at most 64; more are not told and come again.
    pub above: Vec<SeqRange>,
}

/// Where an agent should go on, from what it says it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneResume {
    /// What is committed.
    pub progress: LaneProgress,
    /// True when the collector holds more of this epoch than the agent ever wrote, or another
    /// record under the agent's newest number: its disk was rolled back. True as well of an epoch
    /// that made room for many newer ones.
    pub rolled_back: bool,
}

/// How sure the server time of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerTime {
    /// Mapped through the boot clock of a session, Unix milliseconds.
    Known(i64),
    /// No session ever saw that boot: the wall clock of the agent, Unix milliseconds. Kept, shown
    /// as uncertain, left out of alerts and service levels.
    Unsure(i64),
}

impl ServerTime {
    /// Unix milliseconds, sure or not.
    #[must_use]
    pub fn ms(self) -> i64 {
        match self {
            Self::Known(ms) | Self::Unsure(ms) => ms,
        }
    }
}

/// A stretch without measures that a record declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredGap {
    /// Group; `None` for all of the site.
    pub group: Option<domain::id::GroupId>,
    /// Stretch.
    pub span: domain::sample::Span,
    /// Why nothing was measured.
    pub reason: &'static str,
}

/// A record as it arrived, its payload checked against its hash.
#[derive(Debug, Clone)]
pub struct IncomingRecord {
    /// Lane.
    pub lane: LaneKey,
    /// Sequence number, from 1.
    pub seq: u64,
    /// `proto::KIND_*`.
    pub kind: u8,
    /// `proto::record_hash`.
    pub hash: u64,
    /// Server time of the record's `boot_ns`.
    pub time: ServerTime,
    /// The agent's boot clock, which row times in the payload count from.
    pub boot_ns: u64,
    /// Number of samples, for sample records.
    pub items: u32,
    /// Canonical payload: `proto::samples` columns or an `Event` message.
    pub payload: Vec<u8>,
    /// Group and layout of a sample record, decoded by the caller.
    pub group: Option<(domain::id::GroupId, domain::id::Layout)>,
    /// Records of the lane that this one explains as lost, for a Loss event.
    pub explains: Option<(LaneKey, SeqRange)>,
    /// The stretch that this one declares, for a Gap event or a Loss of samples: kept with the record or not at all.
    pub gap: Option<DeclaredGap>,
    /// Why the caller does not want it (a foreign group, a time outside the window, a payload that
    /// does not decode): it becomes [`Disposition::Rejected`] for this reason and counts as dealt
    /// with, so that `contig_upto` passes it.
    pub refused: Option<&'static str>,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Stored.
    Stored,
    /// Was stored before: acknowledged again.
    Duplicate,
    /// Another record stands under this key: kept aside, counted, never overwritten.
    Conflict,
    /// Not taken, for this reason, and kept in the bounded table of rejected records.
    Rejected(&'static str),
    /// Not taken now, for this reason: not acknowledged, not kept aside; it is to come again.
    Deferred(&'static str),
}

/// One record of a commit.
#[derive(Debug, Clone)]
pub struct CommittedRecord {
    /// The record, payload included, for the evaluator.
    pub record: IncomingRecord,
    /// Site that the agent was assigned to.
    pub site: Option<SiteId>,
    /// What became of it.
    pub disposition: Disposition,
}

/// A durable commit.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// In the order given.
    pub records: Vec<CommittedRecord>,
    /// Progress of every lane touched: what the acknowledgements say.
    pub progress: Vec<LaneProgress>,
}

/// Takes agents' records.
#[async_trait]
pub trait IngestStore: Send + Sync {
    /// Commits a batch of one or many agents. Batches waiting together are grouped into one
    /// transaction. Returns only once the commit survived an fsync. A record whose agent is not
    /// active is [`Disposition::Rejected`]. On an error nothing was kept and nothing may be
    /// acknowledged.
    async fn commit(&self, records: Vec<IncomingRecord>) -> Result<Commit>;

    /// Where each lane of an agent stands. `head_hash` is the hash of the agent's newest record
    /// (`next_seq - 1`), 0 for none.
    async fn resume(&self, lane: LaneKey, next_seq: u64, head_hash: u64) -> Result<LaneResume>;

    /// Remembers how an agent's boot clock maps to server time:
    /// `server_ns = boot_ns + offset_ns`, within `error_ns`.
    async fn save_clock(
        &self,
        agent: AgentId,
        boot_tag: u32,
        offset_ns: i64,
        error_ns: u64,
    ) -> Result<()>;

    /// The mapping of an earlier boot, if any session saw it.
    async fn clock(&self, agent: AgentId, boot_tag: u32) -> Result<Option<i64>>;

    /// Server time of the newest record of a lane below a number, as far as records are kept singly.
    async fn time_before(&self, lane: LaneKey, seq: u64) -> Result<Option<i64>>;

    /// The newest records of a kind that a lane holds singly, at most `limit`, oldest first: server
    /// time, Unix milliseconds, and payload.
    async fn newest(&self, lane: LaneKey, kind: u8, limit: u32) -> Result<Vec<(i64, Vec<u8>)>>;

    /// Declared stretches without measures of a site that overlap a span:
    /// `(group or None for all, span, reason)`.
    async fn gaps(
        &self,
        site: SiteId,
        span: domain::sample::Span,
    ) -> Result<Vec<(Option<domain::id::GroupId>, domain::sample::Span, String)>>;

    /// Declares a stretch without measures. One that touches another of the same group and reason
    /// becomes one with it; when a site has [`MAX_SITE_GAPS`] already, it is refused.
    async fn declare_gap(
        &self,
        site: SiteId,
        group: Option<domain::id::GroupId>,
        span: domain::sample::Span,
        reason: &str,
    ) -> Result<()>;

    /// Random number of this database's life; changes on restore.
    async fn generation(&self) -> Result<u64>;
}
