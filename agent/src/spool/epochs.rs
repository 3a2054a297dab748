//! A new epoch for a lane whose numbers the collector knows in another meaning: the directory, or
//! the whole machine, was put back to an earlier state.

use std::io;

use proto::v1::Range;

use super::{
    Spool,
    format::{self, Header, Parsed},
    lane::{Epoch, Segment},
    repair::replace,
    store::{no_disk, random},
};

impl Spool {
    /// Renumbers an epoch's records under a fresh random epoch, except those that the collector
    /// has: `contig_upto` and `above` say which numbers it knows, and of these the ones that were
    /// rightly its to know are the same records. Returns the new epoch.
    ///
    /// Where it cannot be told whether a number was given twice, the record is sent again: what the
    /// collector already has under the old epoch it then has twice, and nothing is lost.
    ///
    /// Segment by segment, each new one naming the one it replaces, so that a kill at any point
    /// leaves every record once. Costs the rewriting of all that is unconfirmed.
    ///
    /// # Errors
    /// The disk failed or the epoch is unknown: what was renumbered stays so, the rest keeps its
    /// epoch and can be renumbered by another call.
    pub fn new_epoch(
        &mut self,
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: &[Range],
    ) -> io::Result<u64> {
        let index = lane as usize;
        let known = self.lanes.get(index).and_then(|lane| lane.epoch(epoch));
        let Some(mut old) = known.cloned() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such epoch in the spool"));
        };
        self.declare_dropped(index);
        if self.commit().degraded {
            // Numbers that are only in memory cannot be told from confirmed ones after a kill.
            return Err(no_disk());
        }
        let is_current = self.lanes[index].current().id == epoch;
        // A drained epoch stays behind the one in force.
        let ordinal = if is_current { old.ordinal.saturating_add(1) } else { old.ordinal };
        let target = Epoch::new(&self.config.agent_id, random(), ordinal);
        let id = target.id;
        (old.contig_upto, old.above) = (contig_upto, above.to_vec());
        let lane = &mut self.lanes[index];
        let place = lane.epochs.iter().position(|known| known.id == epoch).unwrap_or(0) + 1;
        lane.epochs.insert(place, target);
        if is_current {
            lane.active = None;
            lane.recent.clear();
        }
        self.cursors.clear();
        // A start in the middle of it must not take the old epoch's first files for lost.
        let moved = self.store_marks().and_then(|()| self.move_segments(index, &old, id));
        if is_current {
            self.renumber_pending(index);
        }
        self.forget_drained_epochs(index);
        self.store_marks()?;
        moved.map(|()| id)
    }

    fn move_segments(&mut self, index: usize, old: &Epoch, to: u64) -> io::Result<()> {
        let from = old.id;
        while let Some(at) = self.lanes[index].segments.iter().position(|s| s.epoch == from) {
            let (bytes, scan) = self.load(index, at)?;
            self.declare_missing(index, from, &scan);
            let old_name = self.lanes[index].name(at);
            let old_seal = self.lanes[index].epoch(from).ok_or_else(no_disk)?.seal;
            let (now_boot, now_wall) = (self.clock.boot_ns(), self.clock.wall_ns());
            let lane = &mut self.lanes[index];
            let target = lane.epochs.iter_mut().find(|e| e.id == to).ok_or_else(no_disk)?;
            let first_seq = target.durable_next;
            let header = Header {
                lane: u16::try_from(index).unwrap_or(u16::MAX),
                agent_id: self.config.agent_id,
                epoch: to,
                first_seq,
                created_boot_ns: now_boot,
                created_wall_ns: now_wall,
                ordinal: target.ordinal,
            };
            let mut out = header.encode().to_vec();
            let (old_epoch, old_first) = (old_name.epoch, old_name.first_seq);
            format::encode_replaces(&mut out, target.seal, first_seq, old_epoch, old_first);
            let (mut seq, mut hash) = (first_seq, target.head_hash);
            for span in &scan.good {
                if span.seq <= old.trusted_upto && old.unacked_from(span.seq) != span.seq {
                    continue;
                }
                let parsed = format::parse(&bytes[span.offset..], old_seal);
                let Parsed::Record(mut head, stored, _) = parsed else { continue };
                head.seq = seq;
                hash = head.hash;
                format::encode_record(&mut out, target.seal, &head, stored);
                seq += 1;
            }
            let disk = self.disk.as_deref().ok_or_else(no_disk)?;
            let name = format::Name { lane: lane.id, epoch: to, first_seq };
            if seq > first_seq {
                replace(disk, &name.to_string(), &out, out.len() as u64)?;
                (target.durable_next, target.head_hash) = (seq, hash);
            }
            // From here on the old segment is no part of the spool, whatever becomes of its file.
            lane.segments.remove(at);
            if seq > first_seq {
                let file_len = out.len() as u64;
                let segment = Segment { epoch: to, first_seq, file_len, damaged: false };
                // Behind the old epoch's, in front of any later one's.
                let after = lane.segments.iter().rposition(|s| s.epoch == to || s.epoch == from);
                lane.segments.insert(after.map_or(at, |last| last + 1), segment);
            }
            disk.remove(&old_name.to_string())?;
        }
        self.disk.as_deref().ok_or_else(no_disk)?.sync_dir()
    }

    /// Gives the records that are not durable their numbers in the epoch now in force.
    fn renumber_pending(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        let epoch = lane.current().clone();
        let mut seq = epoch.durable_next;
        for record in &mut lane.pending {
            // The length in front tells the stored payload from the padding behind it.
            let len = format::u32_at(&record.bytes, 0) as usize;
            let start = format::RECORD_HEADER_LEN;
            let stored = record.bytes[start..start + len].to_vec();
            record.head.seq = seq;
            record.bytes.clear();
            format::encode_record(&mut record.bytes, epoch.seal, &record.head, &stored);
            seq += 1;
        }
        lane.next_seq = seq;
    }
}
