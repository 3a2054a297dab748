//! A lane: its epochs, its chain of segments, and what waits to be written.

use std::collections::VecDeque;

use super::{
    Range,
    format::{HEADER_LEN, MIN_RECORD_LEN, Name, RecordHead, Seal},
    vfs::VfsFile,
};

/// One segment file of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) epoch: u64,
    pub(super) first_seq: u64,
    /// Length of the file, bytes.
    pub(super) file_len: u64,
    /// Found damaged, and could not be repaired on disk: read around the damage.
    pub(super) damaged: bool,
}

/// The segment being written.
pub(super) struct Active {
    pub(super) file: Box<dyn VfsFile>,
    pub(super) end: u64,
    pub(super) capacity: u64,
    /// The directory entry is not durable yet.
    pub(super) fresh: bool,
}

/// A record that has its number and is not durable.
pub(super) struct Pending {
    pub(super) head: RecordHead,
    /// As it will stand in the segment.
    pub(super) bytes: Vec<u8>,
}

/// One epoch of a lane. The last of a lane's is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) id: u64,
    pub(super) ordinal: u32,
    pub(super) seal: Seal,
    /// The number after the last durable one.
    pub(super) durable_next: u64,
    pub(super) head_hash: u64,
    pub(super) run_first: u64,
    /// Highest number that the collector may rightly know: handed to the uplink, declared lost, or
    /// of an earlier run that did send.
    pub(super) trusted_upto: u64,
    pub(super) contig_upto: u64,
    pub(super) above: Vec<Range>,
}

impl Epoch {
    pub(super) fn new(agent_id: &[u8; 16], id: u64, ordinal: u32) -> Self {
        Self {
            id,
            ordinal,
            seal: Seal::new(agent_id, id),
            durable_next: 1,
            head_hash: 0,
            run_first: 1,
            trusted_upto: 0,
            contig_upto: 0,
            above: Vec::new(),
        }
    }

    /// The first number from `seq` on that the collector does not have.
    pub(super) fn unacked_from(&self, mut seq: u64) -> u64 {
        seq = seq.max(self.contig_upto.saturating_add(1));
        while let Some(range) = self.above.iter().find(|r| r.from <= seq && seq <= r.to) {
            seq = range.to.saturating_add(1);
        }
        seq
    }
}

/// Records dropped from memory, not yet declared.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dropped {
    pub(super) from_seq: u64,
    pub(super) to_seq: u64,
    pub(super) records: u64,
    pub(super) samples: u64,
    pub(super) from_wall_ns: i64,
    pub(super) to_wall_ns: i64,
}

pub(super) struct Lane {
    pub(super) id: u32,
    pub(super) epochs: Vec<Epoch>,
    /// Oldest first; those of one epoch stand together.
    pub(super) segments: VecDeque<Segment>,
    pub(super) active: Option<Active>,
    pub(super) next_seq: u64,
    pub(super) pending: VecDeque<Pending>,
    pub(super) pending_bytes: usize,
    pub(super) dropped: Option<Dropped>,
    /// When the latest commits were, and the first number of each.
    pub(super) recent: VecDeque<(u64, u64)>,
}

impl Lane {
    pub(super) fn new(id: usize, epoch: Epoch) -> Self {
        Self {
            id: u32::try_from(id).unwrap_or(u32::MAX),
            next_seq: epoch.durable_next,
            epochs: vec![epoch],
            segments: VecDeque::new(),
            active: None,
            pending: VecDeque::new(),
            pending_bytes: 0,
            dropped: None,
            recent: VecDeque::new(),
        }
    }

    /// The epoch in force: there always is one.
    pub(super) fn current(&self) -> &Epoch {
        &self.epochs[self.epochs.len() - 1]
    }

    pub(super) fn epoch(&self, id: u64) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| epoch.id == id)
    }

    /// The number after the last that segment `index` may hold.
    pub(super) fn segment_end(&self, index: usize) -> u64 {
        let epoch = self.segments[index].epoch;
        match self.segments.get(index + 1) {
            Some(next) if next.epoch == epoch => next.first_seq,
            Some(_) | None => self.epoch(epoch).map_or(0, |epoch| epoch.durable_next),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.file_len).sum()
    }

    pub(super) fn name(&self, index: usize) -> Name {
        let segment = &self.segments[index];
        Name { lane: self.id, epoch: segment.epoch, first_seq: segment.first_seq }
    }

    /// True for the newest segment, which is never removed: it tells the next number.
    pub(super) fn is_newest(&self, index: usize) -> bool {
        index + 1 == self.segments.len()
    }

    /// True when the collector has every number of the segment.
    pub(super) fn is_acked(&self, index: usize) -> bool {
        let (first, end) = (self.segments[index].first_seq, self.segment_end(index));
        let epoch = self.epoch(self.segments[index].epoch);
        epoch.is_some_and(|epoch| epoch.unacked_from(first) >= end)
    }

    /// True for a file that is a mark only: there is nothing to gain from it.
    pub(super) fn is_stub(&self, index: usize) -> bool {
        self.segments[index].file_len <= (HEADER_LEN + 2 * MIN_RECORD_LEN) as u64
    }
}
