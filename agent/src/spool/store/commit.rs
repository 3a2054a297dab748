//! Group commit: from memory to the disk, and what happens when the disk refuses.

use std::{
    io::{self, Write as _},
    time::Instant,
};

use super::{
    super::{
        Committed, LANES, RETRY_AFTER, SLOW_SYNC,
        format::{self, HEADER_LEN, Header, RecordHead},
        lane::{Active, Segment},
        recovery,
        vfs::LockError,
    },
    Spool, no_disk,
};
use crate::{logs::chain, planted};

/// Commits remembered to tell live from backlog: one a second while they are live, and urgent ones.
const MAX_RECENT: usize = 256;
/// Bytes written by one `pwrite`, about.
const WRITE_CHUNK: usize = 1 << 20;

impl Spool {
    /// Makes durable what was appended. On a disk that fails, what cannot be written stays in
    /// memory, bounded, and readable.
    pub fn commit(&mut self) -> Committed {
        let started = Instant::now();
        let now_ns = self.clock.boot_ns();
        if self.degraded_until_ns.is_some_and(|until| now_ns < until) {
            return Committed { records: 0, degraded: true };
        }
        let was_degraded = self.degraded_until_ns.is_some();
        if was_degraded && let Err(error) = self.reopen() {
            self.degrade(&error);
            return Committed { records: 0, degraded: true };
        }
        for lane in 0..LANES {
            self.declare_dropped(lane);
        }
        let before = self.counters.durable_records;
        // Samples first: making room for them may declare losses in lane 0.
        for lane in (0..LANES).rev() {
            if let Err(error) = self.commit_lane(lane) {
                self.degrade(&error);
                break;
            }
        }
        let records = self.counters.durable_records - before;
        let failed = self.lanes.iter().any(|lane| !lane.pending.is_empty());
        if !failed {
            if was_degraded {
                tracing::info!("the spool's disk works again");
            }
            self.degraded_until_ns = None;
            if records > 0 {
                self.counters.commits += 1;
                let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.counters.commit_ns += took;
                self.counters.last_commit_ns = took;
            }
        }
        Committed { records, degraded: self.is_degraded() }
    }

    fn commit_lane(&mut self, index: usize) -> io::Result<()> {
        let (mut rewritten, mut evicted) = (false, false);
        while !self.lanes[index].pending.is_empty() {
            let Err(error) = self.write_pending(index) else { continue };
            self.counters.disk_errors += 1;
            self.seal(index);
            let full =
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            tracing::warn!(lane = index, error = chain(&error), "cannot write to the spool");
            if full && !evicted {
                evicted = true;
                if self.evict_one() {
                    continue;
                }
            }
            if full || rewritten {
                return Err(error);
            }
            // The failed file is left behind; its records are still in memory.
            rewritten = true;
        }
        Ok(())
    }

    /// Stops writing to the active segment. Without a durable record it leaves no trace.
    pub(in crate::spool) fn seal(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        let Some(active) = lane.active.take() else { return };
        drop(active.file);
        if active.fresh {
            let name = lane.name(lane.segments.len() - 1).to_string();
            lane.segments.pop_back();
            if let Some(disk) = &self.disk
                && let Err(error) = disk.remove(&name)
            {
                tracing::warn!(
                    error = chain(&error),
                    "cannot remove a segment that was never durable"
                );
            }
        }
    }

    /// Writes and syncs as much of the lane's pending records as one segment takes.
    fn write_pending(&mut self, index: usize) -> io::Result<()> {
        let disk = self.disk.as_deref().ok_or_else(no_disk)?;
        let lane = &self.lanes[index];
        let Some(first) = lane.pending.front() else { return Ok(()) };
        let durable_next = lane.current().durable_next;
        let hole = (first.head.seq > durable_next).then(|| durable_next..=first.head.seq - 1);
        let needed = (first.bytes.len() + 2 * format::MIN_RECORD_LEN + 16) as u64;
        let fits = lane
            .active
            .as_ref()
            .is_some_and(|active| active.fresh || active.end + needed <= active.capacity);
        if !fits {
            self.lanes[index].active = None;
            if !self.has_room_for(self.config.segment_bytes.max(needed + HEADER_LEN as u64)) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            return self.new_segment(index, needed);
        }
        let now_ns = self.clock.boot_ns();
        let lane = &mut self.lanes[index];
        let Some(active) = lane.active.as_mut() else { return Err(no_disk()) };
        let epoch_at = lane.epochs.len() - 1;
        let epoch = &mut lane.epochs[epoch_at];

        self.scratch.clear();
        let mut at = active.end;
        if active.fresh {
            // `new_segment` set the header aside for this first write.
            let segment = &lane.segments[lane.segments.len() - 1];
            let header = Header {
                lane: u16::try_from(index).unwrap_or(u16::MAX),
                agent_id: self.config.agent_id,
                epoch: epoch.id,
                first_seq: segment.first_seq,
                created_boot_ns: now_ns,
                created_wall_ns: self.clock.wall_ns(),
                ordinal: epoch.ordinal,
            };
            self.scratch.extend_from_slice(&header.encode());
            at = 0;
        }
        if let Some(hole) = hole {
            format::encode_hole(&mut self.scratch, epoch.seal, &hole);
        }
        let mut count = 0;
        for record in &lane.pending {
            let end = at + (self.scratch.len() + record.bytes.len()) as u64;
            if count > 0 && (end > active.capacity || self.scratch.len() > WRITE_CHUNK) {
                break;
            }
            self.scratch.extend_from_slice(&record.bytes);
            count += 1;
        }
        active.file.write_all_at(&self.scratch, at)?;
        let started = Instant::now();
        if !planted::is("no-sync") {
            active.file.sync()?;
        }
        if active.fresh {
            disk.sync_dir()?;
        }
        if started.elapsed() > SLOW_SYNC {
            self.counters.slow_syncs += 1;
        }
        // Durable from here on.
        active.fresh = false;
        active.end = at + self.scratch.len() as u64;
        self.counters.written_bytes += self.scratch.len() as u64;
        let first_seq = lane.pending.front().map_or(epoch.durable_next, |first| first.head.seq);
        let mut lines = String::new();
        for record in lane.pending.drain(..count) {
            lane.pending_bytes -= record.bytes.len();
            epoch.durable_next = record.head.seq + 1;
            epoch.head_hash = record.head.hash;
            self.counters.durable_records += 1;
            if record.head.kind == proto::KIND_SAMPLES {
                self.counters.durable_samples += u64::from(record.head.n_items);
            }
            if self.ledger.is_some() {
                use std::fmt::Write as _;
                let RecordHead { seq, hash, kind, .. } = record.head;
                // Writing to a `String` cannot fail.
                let _ = writeln!(lines, "{index} {:016x} {seq} {hash:016x} {kind}", epoch.id);
            }
        }
        lane.recent.push_back((now_ns, first_seq));
        if lane.recent.len() > MAX_RECENT {
            lane.recent.pop_front();
        }
        self.witness(&lines);
        Ok(())
    }

    /// Tells the ledger what the collector is known to have of an epoch.
    pub(in super::super) fn witness_ack(&mut self, index: usize, epoch: u64) {
        if self.ledger.is_none() {
            return;
        }
        let Some(state) = self.lanes[index].epoch(epoch) else { return };
        let above: Vec<_> =
            state.above.iter().map(|range| format!("{}-{}", range.from, range.to)).collect();
        let contig = state.contig_upto;
        self.witness(&format!("acked {index} {epoch:016x} {contig} {} .\n", above.join(",")));
    }

    fn witness(&mut self, lines: &str) {
        if let Some(ledger) = self.ledger.as_mut()
            && let Err(error) = ledger.write_all(lines.as_bytes())
        {
            tracing::error!(error = chain(&error), "cannot write the ledger");
        }
    }

    /// Makes the file of the next segment; its header goes out with its first records.
    fn new_segment(&mut self, index: usize, needed: u64) -> io::Result<()> {
        let disk = self.disk.as_deref().ok_or_else(no_disk)?;
        let lane = &mut self.lanes[index];
        let first_seq = lane.current().durable_next;
        let segment = Segment {
            epoch: lane.current().id,
            first_seq,
            file_len: self.config.segment_bytes.max(HEADER_LEN as u64 + needed),
            damaged: false,
        };
        let capacity = segment.file_len;
        lane.segments.push_back(segment);
        let name = lane.name(lane.segments.len() - 1).to_string();
        // A leftover of a write that failed holds nothing that was ever durable.
        let made = match disk.create(&name, capacity) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(&name).and_then(|()| disk.create(&name, capacity))
            }
            made => made,
        };
        match made {
            Ok(file) => {
                lane.active = Some(Active { file, end: HEADER_LEN as u64, capacity, fresh: true });
                Ok(())
            }
            Err(error) => {
                lane.segments.pop_back();
                Err(error)
            }
        }
    }

    /// From now on memory is all there is, until the next attempt.
    pub(in crate::spool) fn degrade(&mut self, error: &io::Error) {
        if self.degraded_until_ns.is_none() {
            tracing::error!(error = chain(&error), "the spool keeps records in memory only");
        }
        let wait = u64::try_from(RETRY_AFTER.as_nanos()).unwrap_or(u64::MAX);
        self.degraded_until_ns = Some(self.clock.boot_ns().saturating_add(wait));
        self.trim_ring();
    }

    /// Takes the directory again if it could not be had before.
    fn reopen(&mut self) -> io::Result<()> {
        if self.disk.is_some() {
            return Ok(());
        }
        match (self.open_disk)() {
            Ok(disk) => recovery::recover(self, disk).map(drop),
            Err(LockError::Held) => Err(io::Error::other("another agent took the directory")),
            Err(LockError::Unusable(error)) => Err(error),
        }
    }
}
