//! `loss.ctr`: what was removed from the spool on purpose, written before it is removed.
//!
//! Two slots of 512 bytes, written in turn: a torn write leaves the other. The file is made at its
//! full length, so it can be written on a full disk. An eviction stands here with the number that
//! its LOSS record will have in lane 0; a start after a kill at any point knows from that number
//! whether it was told already, and so tells it exactly once.

use std::io;

use super::{
    LANES,
    format::{Name, i64_at, u32_at, u64_at},
    lane::Epoch,
    vfs::{Vfs, VfsFile, read_range},
};

/// Name of the file.
pub(super) const NAME: &str = "loss.ctr";
const TEMPORARY: &str = "loss.ctr.tmp";
const SLOT: usize = 512;
const MAGIC: u32 = u32::from_le_bytes(*b"VGLC");
/// Evictions that may be under way at once.
pub(super) const MAX_ENTRIES: usize = 4;
const LANE_LEN: usize = 48;
const ENTRIES_AT: usize = 16 + LANES * LANE_LEN + 8;
const ENTRY_LEN: usize = 80;
/// Behind the entries, where earlier versions wrote zeros.
const ACKED_AT: usize = ENTRIES_AT + MAX_ENTRIES * ENTRY_LEN;

/// What is known of one lane beside its segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LaneMark {
    /// Epoch in force.
    pub(super) epoch: u64,
    /// Every number up to this one was freed or declared lost.
    pub(super) freed_upto: u64,
    /// Every number below this one was durable once.
    pub(super) next_seq: u64,
    /// Numbers from this one on were never handed to the uplink; 0 when they were.
    pub(super) unproven_from: u64,
    /// Records evicted since the spool was made.
    pub(super) evicted_records: u64,
    /// Samples evicted since the spool was made.
    pub(super) evicted_samples: u64,
    /// Every number up to this one was with the collector when this was written; 0 from a version
    /// that did not tell. For people only: where to go on is the collector's to say.
    pub(super) acked_upto: u64,
}

impl Eviction {
    /// This eviction and the one after it, as one.
    pub(super) fn joined_by(&self, next: &Self) -> Self {
        Self {
            to_seq: next.to_seq,
            records: self.records + next.records,
            samples: self.samples + next.samples,
            to_wall_ns: next.to_wall_ns,
            ..*self
        }
    }

    /// True for the segments that it removes.
    pub(super) fn takes(&self, name: &Name) -> bool {
        (name.lane, name.epoch) == (self.lane, self.epoch)
            && (self.segment_first..=self.to_seq).contains(&name.first_seq)
    }
}

impl LaneMark {
    /// Turns to the epoch in force.
    pub(super) fn follow(&mut self, epoch: &Epoch) {
        if self.epoch != epoch.id {
            self.epoch = epoch.id;
            self.freed_upto = 0;
            self.acked_upto = 0;
            self.unproven_from = epoch.run_first;
        }
    }
}

/// The oldest segments of a lane on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Eviction {
    pub(super) lane: u32,
    pub(super) epoch: u64,
    /// First number of the first segment.
    pub(super) segment_first: u64,
    pub(super) from_seq: u64,
    pub(super) to_seq: u64,
    pub(super) records: u64,
    pub(super) samples: u64,
    pub(super) from_wall_ns: i64,
    pub(super) to_wall_ns: i64,
    /// Number of its LOSS record in lane 0.
    pub(super) told_by: u64,
}

/// The counters in memory, and their file.
pub(super) struct Losses {
    file: Option<Box<dyn VfsFile>>,
    generation: u64,
    pub(super) lanes: [LaneMark; LANES],
    pub(super) evictions: Vec<Eviction>,
}

impl Losses {
    /// Counters without a file, for a spool without a disk.
    pub(super) fn detached() -> Self {
        Self {
            file: None,
            generation: 0,
            lanes: [LaneMark::default(); LANES],
            evictions: Vec::new(),
        }
    }

    /// Reads the newer good slot; false when the file held none (a new spool, or damage).
    pub(super) fn load(disk: &dyn Vfs) -> (Self, bool) {
        let mut losses = Self::detached();
        let Ok(file) = disk.open(NAME) else { return (losses, false) };
        let mut known = false;
        for slot in 0..2 {
            let Ok(bytes) = read_range(&*file, slot * SLOT as u64, SLOT) else { continue };
            if let Some((generation, lanes, evictions)) = decode(&bytes)
                && (!known || generation > losses.generation)
            {
                (losses.generation, losses.lanes, losses.evictions) =
                    (generation, lanes, evictions);
                known = true;
            }
        }
        losses.file = Some(file);
        (losses, known)
    }

    /// Forgets all but the sums: the lanes were another identity's.
    pub(super) fn forget_identity(&mut self) {
        for lane in &mut self.lanes {
            let LaneMark { evicted_records, evicted_samples, .. } = *lane;
            *lane = LaneMark { evicted_records, evicted_samples, ..LaneMark::default() };
        }
        self.evictions.clear();
    }

    /// Makes the counters durable. A file that failed once is replaced, never synced again.
    pub(super) fn store(&mut self, disk: &dyn Vfs) -> io::Result<()> {
        self.generation += 1;
        let slot = self.encode();
        if let Some(file) = self.file.take() {
            let at = (self.generation % 2) * SLOT as u64;
            let written = file.write_all_at(&slot, at).and_then(|()| file.sync());
            if written.is_ok() {
                self.file = Some(file);
                return Ok(());
            }
        }
        match disk.remove(TEMPORARY) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = disk.create(TEMPORARY, 2 * SLOT as u64)?;
        file.write_all_at(&slot, (self.generation % 2) * SLOT as u64)?;
        file.sync()?;
        disk.rename(TEMPORARY, NAME)?;
        disk.sync_dir()?;
        self.file = Some(file);
        Ok(())
    }

    fn encode(&self) -> [u8; SLOT] {
        let mut out = [0; SLOT];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        let mut at = 8;
        let mut put = |value: [u8; 8]| {
            out[at..at + 8].copy_from_slice(&value);
            at += 8;
        };
        put(self.generation.to_le_bytes());
        for lane in &self.lanes {
            for value in [
                lane.epoch,
                lane.freed_upto,
                lane.next_seq,
                lane.unproven_from,
                lane.evicted_records,
                lane.evicted_samples,
            ] {
                put(value.to_le_bytes());
            }
        }
        let count = self.evictions.len().min(MAX_ENTRIES);
        put((count as u64).to_le_bytes());
        for entry in self.evictions.iter().take(count) {
            for value in [
                u64::from(entry.lane),
                entry.epoch,
                entry.segment_first,
                entry.from_seq,
                entry.to_seq,
                entry.records,
                entry.samples,
            ] {
                put(value.to_le_bytes());
            }
            put(entry.from_wall_ns.to_le_bytes());
            put(entry.to_wall_ns.to_le_bytes());
            put(entry.told_by.to_le_bytes());
        }
        for (lane, at) in self.lanes.iter().zip((ACKED_AT..).step_by(8)) {
            out[at..at + 8].copy_from_slice(&lane.acked_upto.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

fn decode(slot: &[u8]) -> Option<(u64, [LaneMark; LANES], Vec<Eviction>)> {
    let intact = slot.len() == SLOT
        && u32_at(slot, 0) == MAGIC
        && u32_at(slot, 4) == crc32c::crc32c(&slot[8..]);
    if !intact {
        return None;
    }
    let mut lanes = [LaneMark::default(); LANES];
    for (index, lane) in lanes.iter_mut().enumerate() {
        let at = 16 + index * LANE_LEN;
        *lane = LaneMark {
            epoch: u64_at(slot, at),
            freed_upto: u64_at(slot, at + 8),
            next_seq: u64_at(slot, at + 16),
            unproven_from: u64_at(slot, at + 24),
            evicted_records: u64_at(slot, at + 32),
            evicted_samples: u64_at(slot, at + 40),
            acked_upto: u64_at(slot, ACKED_AT + index * 8),
        };
    }
    let count = usize::try_from(u64_at(slot, ENTRIES_AT - 8)).ok()?;
    if count > MAX_ENTRIES {
        return None;
    }
    let mut evictions = Vec::with_capacity(count);
    for index in 0..count {
        let at = ENTRIES_AT + index * ENTRY_LEN;
        evictions.push(Eviction {
            lane: u32::try_from(u64_at(slot, at)).ok()?,
            epoch: u64_at(slot, at + 8),
            segment_first: u64_at(slot, at + 16),
            from_seq: u64_at(slot, at + 24),
            to_seq: u64_at(slot, at + 32),
            records: u64_at(slot, at + 40),
            samples: u64_at(slot, at + 48),
            from_wall_ns: i64_at(slot, at + 56),
            to_wall_ns: i64_at(slot, at + 64),
            told_by: u64_at(slot, at + 72),
        });
    }
    Some((u64_at(slot, 8), lanes, evictions))
}
