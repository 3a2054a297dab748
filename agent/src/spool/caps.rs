//! What leaves the spool: what the collector has, and at the cap the oldest of the rest.

use std::io;

use proto::v1::{GapReason, Loss};

use super::{
    AckOutcome, LANES, MAX_ACK_RANGES, MAX_SEGMENTS, Range, Spool, events,
    format::{self, RecordHead, Scan},
    lane::Pending,
    losses::{Eviction, MAX_ENTRIES},
    store::no_disk,
    vfs::Space,
};
use crate::{logs::chain, planted};

impl Spool {
    /// Takes what the collector says at the start of a session, which may be less than it said
    /// before: its database was restored. To be called for every epoch of every lane before any of
    /// its records is read to be sent.
    ///
    /// A disk that lost its last writes, or a machine put back to an earlier state, gives numbers a
    /// second time. The collector then knows numbers that were never handed out here, which is how
    /// it shows: [`AckOutcome::BeyondHead`].
    pub fn resume(
        &mut self,
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: &[Range],
    ) -> AckOutcome {
        self.take_ack(lane, epoch, above, |_| contig_upto)
    }

    /// Takes an acknowledgement within a session: it never goes back.
    pub fn acked(
        &mut self,
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: &[Range],
    ) -> AckOutcome {
        self.take_ack(lane, epoch, above, |before| before.max(contig_upto))
    }

    fn take_ack(
        &mut self,
        lane: u32,
        epoch: u64,
        above: &[Range],
        contig: impl Fn(u64) -> u64,
    ) -> AckOutcome {
        let in_memory = self.reads_memory();
        let Some(lane) = self.lanes.get_mut(lane as usize) else { return AckOutcome::Unknown };
        let next_seq = lane.next_seq;
        let current = lane.current().id;
        let Some(state) = lane.epochs.iter_mut().find(|state| state.id == epoch) else {
            return AckOutcome::Unknown;
        };
        // What is only in memory was readable, and so may be acknowledged.
        let next = if in_memory && epoch == current { next_seq } else { state.durable_next };
        let contig_upto = contig(state.contig_upto);
        let limit = state.trusted_upto.min(next - 1);
        if contig_upto > limit || above.iter().any(|range| range.to > limit) {
            return AckOutcome::BeyondHead;
        }
        state.contig_upto = contig_upto;
        state.above = above
            .iter()
            .filter(|range| range.from <= range.to && range.to > contig_upto)
            .take(MAX_ACK_RANGES)
            .copied()
            .collect();
        let index = lane.id as usize;
        self.witness_ack(index, epoch);
        if let Err(error) = self.free_acked(index) {
            tracing::warn!(error = chain(&error), "cannot free acknowledged segments");
        }
        AckOutcome::Applied
    }

    /// Unlinks the oldest segments as long as the collector has them whole.
    fn free_acked(&mut self, index: usize) -> io::Result<()> {
        let lane = &self.lanes[index];
        let count = (0..lane.segments.len())
            .take_while(|at| !lane.is_newest(*at) && lane.is_acked(*at))
            .count();
        if count == 0 {
            return Ok(());
        }
        // Otherwise a later start would take the missing files for damage.
        self.note_freed(index, count);
        self.store_marks()?;
        let disk = self.disk.as_deref().ok_or_else(no_disk)?;
        for _ in 0..count {
            disk.remove(&self.lanes[index].name(0).to_string())?;
            self.lanes[index].segments.pop_front();
        }
        self.forget_drained_epochs(index);
        Ok(())
    }

    fn note_freed(&mut self, index: usize, count: usize) {
        let lane = &self.lanes[index];
        let current = lane.current().id;
        let upto = (0..count)
            .filter(|at| lane.segments[*at].epoch == current)
            .map(|at| lane.segment_end(at) - 1)
            .max();
        let mark = &mut self.losses.lanes[index];
        mark.follow(lane.current());
        mark.freed_upto = mark.freed_upto.max(upto.unwrap_or(0));
    }

    pub(super) fn forget_drained_epochs(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        let current = lane.current().id;
        let segments = &lane.segments;
        lane.epochs.retain(|epoch| {
            epoch.id == current || segments.iter().any(|segment| segment.epoch == epoch.id)
        });
    }

    /// Keeps the caps and the host's free space, and warns before they are reached. To be called every few seconds.
    pub fn maintain(&mut self) {
        let mut since_commit = 0;
        while self.over_cap(0) && self.evict_one() {
            since_commit += 1;
            if since_commit + 1 >= MAX_ENTRIES {
                self.commit();
                since_commit = 0;
            }
        }
        if since_commit > 0 {
            self.commit();
        }
        self.watch_fill();
    }

    /// Evicts until `bytes` more fit under the caps and beside the reserve.
    pub(super) fn has_room_for(&mut self, bytes: u64) -> bool {
        while self.over_cap(bytes) {
            if !self.evict_one() {
                // Caps too small for one segment of each lane still leave a spool that works; the
                // host's reserve does not give way.
                return !self.over_reserve(bytes);
            }
        }
        true
    }

    fn over_cap(&self, more: u64) -> bool {
        let total: u64 = self.lanes.iter().map(super::lane::Lane::bytes).sum();
        let segments: usize = self.lanes.iter().map(|lane| lane.segments.len()).sum();
        total + more > self.config.caps.iter().sum()
            || self.lane_over_cap(more).is_some()
            || segments > MAX_SEGMENTS
            || self.over_reserve(more)
    }

    fn lane_over_cap(&self, more: u64) -> Option<usize> {
        (0..LANES).rev().find(|index| {
            let lane = &self.lanes[*index];
            // Only a lane that has something to give counts as too large.
            lane.segments.len() > 1 && lane.bytes() + more > self.config.caps[*index]
        })
    }

    fn over_reserve(&self, more: u64) -> bool {
        let Some(Ok(space)) = self.disk.as_deref().map(super::vfs::Vfs::space) else {
            return false;
        };
        space.free < self.reserve_of(space).saturating_add(more)
    }

    /// Bytes that stay free for the host.
    pub(super) fn reserve_of(&self, space: Space) -> u64 {
        let reserve = self.config.reserve;
        reserve.bytes.max(space.total / 100 * reserve.percent)
    }

    /// Removes one segment: one that the collector has, else (or when that fails) the oldest of the
    /// lane that is too large, else the oldest samples, else the oldest events. False when nothing
    /// can go.
    pub(super) fn evict_one(&mut self) -> bool {
        let acked = (0..LANES).rev().find_map(|index| {
            let lane = &self.lanes[index];
            let free =
                |at: &usize| !lane.is_newest(*at) && lane.is_acked(*at) && !lane.is_stub(*at);
            (0..lane.segments.len()).find(free).map(|at| (index, at))
        });
        if let Some((lane, at)) = acked {
            match self.drop_acked(lane, at) {
                Ok(()) => return true,
                // A mark takes some bytes, which a disk that is full to the last one has not.
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "cannot free an acknowledged segment, evicting another"
                    );
                }
            }
        }
        let most = self.lane_over_cap(0);
        let oldest = most.or_else(|| (0..LANES).rev().find(|l| self.lanes[*l].segments.len() > 1));
        let Some(lane) = oldest else { return false };
        let done = self.evict_oldest(lane);
        if let Err(error) = &done {
            tracing::warn!(error = chain(&error), "cannot make room in the spool");
        }
        done.is_ok()
    }

    /// Frees a segment that the collector has. In the middle of the chain its file becomes a mark.
    fn drop_acked(&mut self, index: usize, at: usize) -> io::Result<()> {
        if at == 0 {
            return self.free_acked(index);
        }
        let lane = &self.lanes[index];
        let (from, end) = (lane.segments[at].first_seq, lane.segment_end(at));
        self.rewrite(index, at, &[], &Scan { holes: vec![from..=end - 1], ..Scan::default() })
    }

    /// Removes the lane's oldest segment, and tells: counted first, then unlinked, then declared.
    fn evict_oldest(&mut self, index: usize) -> io::Result<()> {
        let entry = self.weigh_oldest(index)?;
        // An eviction of the same lane whose LOSS is not written yet takes this one in.
        let before = self.losses.evictions.clone();
        let open = before.last().filter(|last| {
            let told_by = |record: &Pending| record.head.seq == last.told_by;
            (last.lane, last.epoch) == (entry.lane, entry.epoch)
                && self.lanes[0].pending.iter().any(told_by)
        });
        let told = match open {
            _ if entry.records == 0 => None,
            Some(last) => {
                self.losses.evictions.pop();
                Some(last.joined_by(&entry))
            }
            None if before.len() >= MAX_ENTRIES => {
                return Err(io::Error::other("earlier evictions are not declared yet"));
            }
            None => Some(entry),
        };
        let marks = self.losses.lanes;
        let early = planted::is("unlinked-before-counted");
        if early && let Some(disk) = self.disk.as_deref() {
            disk.remove(&self.lanes[index].name(0).to_string())?;
        }
        self.note_freed(index, 1);
        self.losses.evictions.extend(told);
        self.losses.lanes[index].evicted_records += entry.records;
        self.losses.lanes[index].evicted_samples += entry.samples;
        if let Err(error) = self.store_marks() {
            self.losses.evictions = before;
            self.losses.lanes = marks;
            return Err(error);
        }
        let disk = self.disk.as_deref().ok_or_else(no_disk)?;
        let gone = if early { Ok(()) } else { disk.remove(&self.lanes[index].name(0).to_string()) };
        // Counted: whatever the disk answers, it is declared, and a later start finishes the job.
        self.lanes[index].segments.pop_front();
        self.forget_drained_epochs(index);
        match told {
            Some(told) if told.told_by < self.lanes[0].next_seq => self.declare_anew(&told),
            Some(told) => self.declare(eviction_loss(&told)),
            None => {}
        }
        gone.and_then(|()| self.disk.as_deref().map_or(Ok(()), super::vfs::Vfs::sync_dir))
    }

    /// What the removal of a lane's oldest segment would lose.
    fn weigh_oldest(&mut self, index: usize) -> io::Result<Eviction> {
        // Entries that are told make room for this one.
        if self.losses.evictions.len() >= MAX_ENTRIES {
            self.store_marks()?;
        }
        let (_, scan) = self.load(index, 0)?;
        let lane = &self.lanes[index];
        let segment = &lane.segments[0];
        let epoch = lane.epoch(segment.epoch).ok_or_else(no_disk)?;
        let mut entry = Eviction {
            lane: lane.id,
            epoch: segment.epoch,
            segment_first: segment.first_seq,
            from_seq: 0,
            to_seq: 0,
            records: 0,
            samples: 0,
            from_wall_ns: 0,
            to_wall_ns: 0,
            told_by: self.lanes[0].next_seq,
        };
        let unacked = |seq: u64| epoch.unacked_from(seq) == seq;
        for span in scan.good.iter().filter(|span| unacked(span.seq)) {
            if entry.records == 0 {
                (entry.from_seq, entry.from_wall_ns) = (span.seq, span.wall_ns);
            }
            (entry.to_seq, entry.to_wall_ns) = (span.seq, span.wall_ns);
            entry.records += 1;
            if lane.id == proto::LANE_SAMPLES {
                entry.samples += u64::from(span.n_items);
            }
        }
        // Damage that nobody had read yet goes with the rest.
        for missing in &scan.missing {
            let (from, to) = (*missing.range.start(), *missing.range.end());
            if entry.records == 0 {
                (entry.from_seq, entry.to_seq) = (from, to);
            }
            entry.from_seq = entry.from_seq.min(from);
            entry.to_seq = entry.to_seq.max(to);
            entry.records += missing.records;
            entry.samples += missing.items;
        }
        Ok(entry)
    }

    /// Lets the LOSS of an eviction, not written yet, tell more than it did.
    fn declare_anew(&mut self, told: &Eviction) {
        let now = self.now();
        let event = events::loss(eviction_loss(told), now);
        let lane = &mut self.lanes[0];
        let seal = lane.current().seal;
        let Some(record) = lane.pending.iter_mut().find(|r| r.head.seq == told.told_by) else {
            return;
        };
        let was = record.bytes.len();
        record.head = RecordHead {
            seq: told.told_by,
            boot_ns: event.boot_ns,
            wall_ns: event.wall_ns,
            boot_tag: event.boot_tag,
            kind: event.kind,
            flags: 0,
            n_items: event.n_items,
            hash: event.hash(),
        };
        record.bytes.clear();
        format::encode_record(&mut record.bytes, seal, &record.head, &event.payload);
        lane.pending_bytes = lane.pending_bytes + record.bytes.len() - was;
    }
}

/// The event that tells an eviction.
pub(super) fn eviction_loss(entry: &Eviction) -> Loss {
    Loss {
        reason: GapReason::GapEvicted.into(),
        lane: entry.lane,
        epoch: entry.epoch,
        from_seq: entry.from_seq,
        to_seq: entry.to_seq,
        records: entry.records,
        samples: entry.samples,
        from_wall_ns: entry.from_wall_ns,
        to_wall_ns: entry.to_wall_ns,
    }
}
