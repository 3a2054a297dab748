//! The queue on disk: what was measured is here, durable, until the collector has committed it.
//!
//! Two lanes of numbered records: 0 for events, 1 for samples. A lane is a chain of segment files
//! ([`mod@format`]) and nothing else: no index, no cursor, no ledger. The collector says where it
//! stands; segments that it has whole are unlinked. Words used here, and only so: a record is
//! *appended* when it has its number, *durable* after `fdatasync`, *lost* when a LOSS event in
//! lane 0 says so.
//!
//! - Any bytes in the directory start. Damage is cut out, kept aside (`bad-*`), and declared; only
//!   a directory that another process holds is refused.
//! - At the cap, or near the end of the filesystem, the oldest segments go: counted in `loss.ctr`
//!   first, then unlinked, then declared. A parse error never deletes what could still be read.
//! - A disk that fails leaves a spool in memory ([`RING_BYTES`]) which still sends, and which tries
//!   the disk again every [`RETRY_AFTER`]. A file whose sync failed is never synced again.
//!
//! Declaring is exactly once for evictions, and at least once, with the same range, for damage
//! that a crash kept from being repaired.
//!
//! [`Spool`] is the synchronous core, one owner; [`worker`] gives it a thread and an async handle.

mod caps;
mod epochs;
mod events;
mod fill;
pub mod format;
pub mod former;
mod lane;
mod losses;
mod read;
mod recovery;
mod repair;
pub mod sim;
mod store;
pub mod vfs;
pub mod worker;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use crate::clock::Clock;

pub use fill::Fill;
pub use format::check_segment;
pub use proto::v1::Range;
pub use store::{OpenDisk, Spool};
pub use worker::{SpoolHandle, SpoolThread};

/// Lanes of a spool.
pub const LANES: usize = 2;
/// Memory for records that the disk does not take, bytes.
pub const RING_BYTES: usize = 8 << 20;
/// Time between attempts to use a disk that failed.
pub const RETRY_AFTER: Duration = Duration::from_secs(30);
/// A sync slower than this is counted and shown.
pub const SLOW_SYNC: Duration = Duration::from_secs(5);
/// Age up to which a record is live: sent before any backlog.
pub const LIVE: Duration = Duration::from_mins(2);
/// Damaged bytes kept aside for a human, bytes.
pub const QUARANTINE_BYTES: u64 = 16 << 20;
/// Segment files of all lanes; beyond it the oldest are evicted, as beyond the cap.
pub const MAX_SEGMENTS: usize = 4096;
/// Largest part of a file that is looked at: no segment is ever as long.
pub const MAX_SEGMENT_FILE: usize = 64 << 20;
/// Acknowledged ranges above the contiguous one that are remembered; the rest is sent again.
pub const MAX_ACK_RANGES: usize = 1024;

/// What keeps free space for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes that stay free.
    pub bytes: u64,
    /// Per cent of the filesystem that stay free; the larger of the two counts.
    pub percent: u64,
}

/// How a spool is kept.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// Its directory, of its own.
    pub dir: PathBuf,
    /// Whose records these are.
    pub agent_id: [u8; 16],
    /// Bytes that each lane may take.
    pub caps: [u64; LANES],
    /// Length of a new segment file, bytes.
    pub segment_bytes: u64,
    /// Free space left to the host.
    pub reserve: Reserve,
    /// Longest time between append and commit, by [`worker`].
    pub commit_interval: Duration,
    /// Version told in the Started event.
    pub version: String,
    /// The outside witness of the fault campaign: a file that gets a line `lane epoch seq hash kind`
    /// for each record right after the sync that made it durable, and a line
    /// `acked lane epoch contig from-to,from-to .` for each acknowledgement that is taken.
    #[doc(hidden)]
    pub ledger: Option<PathBuf>,
}

impl SpoolConfig {
    /// The shipped sizes: 64 MiB of events, 448 MiB of samples, 4 MiB segments, 1 GiB or 5 % of the
    /// filesystem left free, one commit a second.
    #[must_use]
    pub fn new(dir: PathBuf, agent_id: [u8; 16]) -> Self {
        Self {
            dir,
            agent_id,
            caps: [64 << 20, 448 << 20],
            segment_bytes: 4 << 20,
            reserve: Reserve { bytes: 1 << 30, percent: 5 },
            commit_interval: Duration::from_secs(1),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ledger: None,
        }
    }
}

/// An instant by all of this machine's clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Boot clock, nanoseconds.
    pub boot_ns: u64,
    /// Wall clock, nanoseconds since the Unix epoch.
    pub wall_ns: i64,
    /// Which boot.
    pub boot_tag: u32,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now(clock: &dyn Clock) -> Self {
        Self { boot_ns: clock.boot_ns(), wall_ns: clock.wall_ns(), boot_tag: clock.boot_tag() }
    }
}

/// A record to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// `proto::LANE_EVENTS` or `proto::LANE_SAMPLES`.
    pub lane: u32,
    /// `proto::KIND_*`, not 0.
    pub kind: u8,
    /// Boot clock of the measurement, nanoseconds.
    pub boot_ns: u64,
    /// Wall clock of the measurement, nanoseconds.
    pub wall_ns: i64,
    /// Which boot `boot_ns` belongs to.
    pub boot_tag: u32,
    /// Samples in it, or 1 for an event.
    pub n_items: u32,
    /// Commit within 50 ms rather than within the commit interval.
    pub urgent: bool,
    /// At most `proto::limits::MAX_PAYLOAD_BYTES`, and `MAX_STORED_PAYLOAD_BYTES` once compressed.
    pub payload: Vec<u8>,
}

impl NewRecord {
    /// What tells the record from any other with its number.
    #[must_use]
    pub fn hash(&self) -> u64 {
        proto::record_hash(self.kind, self.boot_tag, self.boot_ns, self.wall_ns, &self.payload)
    }
}

/// A record as it was measured, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Number in its lane and epoch.
    pub seq: u64,
    /// `proto::KIND_*`.
    pub kind: u8,
    /// Boot clock of the measurement, nanoseconds.
    pub boot_ns: u64,
    /// Wall clock of the measurement, nanoseconds.
    pub wall_ns: i64,
    /// Which boot `boot_ns` belongs to.
    pub boot_tag: u32,
    /// Samples in it, or 1 for an event.
    pub n_items: u32,
    /// `proto::record_hash`, checked against the payload.
    pub hash: u64,
    /// As appended.
    pub payload: Vec<u8>,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no such lane.
    #[error("cannot append to lane {0}: no such lane")]
    NoLane(u32),
    /// Kind 0 is the spool's own.
    #[error("cannot append a record of kind 0")]
    Kind,
    /// The payload is larger than the protocol allows.
    #[error("cannot append a payload of {len} bytes ({stored} compressed)")]
    TooLarge {
        /// Length of the payload.
        len: usize,
        /// Its length as it would be stored.
        stored: usize,
    },
}

/// Why a spool could not be opened: no content of the directory is a reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory.
    #[error("cannot lock the spool {dir}: another agent is using it")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
}

/// What an open found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// True when the last record is a clean stop, or there was nothing at all.
    pub clean: bool,
    /// The last durable record's times; `None` in a new spool.
    pub last_durable: Option<Moment>,
    /// Segments adopted.
    pub segments: usize,
    /// Files left alone: another agent's, a later version's, or no segments of this spool.
    pub foreign: usize,
    /// Segments of which something was damaged, as far as the open looked.
    pub damaged: usize,
}

/// One epoch of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneStatus {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// False for an earlier epoch, which only drains.
    pub current: bool,
    /// First number that can still be read.
    pub oldest_seq: u64,
    /// The number after the last that can be read.
    pub next_seq: u64,
    /// Hash of the record `next_seq - 1`; 0 when it is not held.
    pub head_hash: u64,
    /// First number that this process appended.
    pub run_first_seq: u64,
    /// First number younger than [`LIVE`]; `next_seq` when there is none.
    pub live_from: u64,
    /// Every number up to this one is with the collector.
    pub contig_upto: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Records evicted from this lane since the spool was made.
    pub evicted: u64,
}

/// Figures of the spool, counted since it was opened unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records appended: given their number.
    pub appended_records: u64,
    /// Records made durable.
    pub durable_records: u64,
    /// Samples made durable.
    pub durable_samples: u64,
    /// Bytes written to segments.
    pub written_bytes: u64,
    /// Successful commits.
    pub commits: u64,
    /// Failed writes and syncs.
    pub disk_errors: u64,
    /// Syncs that took longer than [`SLOW_SYNC`].
    pub slow_syncs: u64,
    /// Nanoseconds that successful commits took, together.
    pub commit_ns: u64,
    /// Nanoseconds that the last commit took.
    pub last_commit_ns: u64,
    /// Records evicted since the spool was made.
    pub evicted_records: u64,
    /// Samples evicted since the spool was made.
    pub evicted_samples: u64,
    /// Records declared lost through damage.
    pub corrupt_records: u64,
    /// Records dropped from memory while the disk was out of use.
    pub dropped_records: u64,
    /// Records taken from their maker that could not be kept.
    pub refused_records: u64,
}

/// What the uplink and the metrics page see, after each commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Every lane's epochs, the oldest epoch first, the current one last.
    pub lanes: Vec<LaneStatus>,
    /// True while records are kept in memory only.
    pub degraded: bool,
    /// Age of the oldest record that the collector has not acknowledged, at the last look of
    /// [`worker`]; 0 for none, `None` before the first look. Nanoseconds.
    pub oldest_age_ns: Option<u64>,
    /// How full it was at the last look of [`worker`]; `None` before the first, and without a usable
    /// directory.
    pub fill: Option<Fill>,
    /// Figures.
    pub counters: Counters,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// Records that became durable.
    pub records: u64,
    /// True when some could not: they are in memory, readable, and will be written later.
    pub degraded: bool,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// First number wanted.
    pub from_seq: u64,
    /// Last number wanted; `u64::MAX` for all.
    pub upto_seq: u64,
    /// Stop after this many payload bytes; one record is returned however long it is.
    pub max_bytes: usize,
    /// Stop after this many records.
    pub max_records: usize,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Records in increasing order: without those acknowledged and those lost.
    pub records: Vec<StoredRecord>,
    /// Where the next read goes on: behind the last number that this one looked at.
    pub next_seq: u64,
}

/// What an acknowledgement meant to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckOutcome {
    /// Taken; whole segments may have been freed.
    Applied,
    /// This spool has no such lane or epoch; ignored.
    Unknown,
    /// The collector knows numbers that this spool has not given yet: the directory was rolled back
    /// or the peer is confused. Nothing was freed; a new epoch is due.
    BeyondHead,
}
