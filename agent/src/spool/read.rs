//! Reading back, for the uplink: sequential, verified, and repairing what it trips over.

use super::{
    Batch, ReadRequest, Spool, StoredRecord,
    format::{self, HEADER_LEN, Parsed, RECORD_HEADER_LEN, RecordHead, Seal},
    repair::is_gone,
    store::no_disk,
    vfs::read_range,
};
use crate::logs::chain;

/// Bytes read at a time.
const CHUNK: usize = 128 << 10;
/// Places remembered: live and backlog of each lane, and one to spare.
const MAX_CURSORS: usize = 5;

/// Where number `seq` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    lane: u32,
    epoch: u64,
    first_seq: u64,
    seq: u64,
    offset: u64,
}

/// How the walk through a segment ended.
enum Walk {
    /// Everything wanted was there; go on at the returned number.
    Fine,
    /// Enough for one batch.
    Full,
    /// A number is not where it should be.
    Damaged,
}

impl Spool {
    /// Reads durable records (in degraded mode also those in memory), skipping what the collector
    /// has and what is lost. Damage found on the way is repaired and declared.
    #[must_use]
    pub fn read(&mut self, request: &ReadRequest) -> Batch {
        let batch = self.read_batch(request);
        if batch.records.is_empty() {
            return batch;
        }
        let index = request.lane as usize;
        let upto = batch.next_seq - 1;
        let Some(lane) = self.lanes.get_mut(index) else { return batch };
        if let Some(epoch) = lane.epochs.iter_mut().find(|epoch| epoch.id == request.epoch) {
            epoch.trusted_upto = epoch.trusted_upto.max(upto);
        }
        let mark = &mut self.losses.lanes[index];
        if mark.epoch == request.epoch && (1..=upto).contains(&mark.unproven_from) {
            // Durable before the first record leaves: a later start must not take what the
            // collector then has for numbers given twice.
            mark.unproven_from = 0;
            if let Err(error) = self.store_marks() {
                tracing::warn!(error = chain(&error), "cannot note that records were handed out");
            }
        }
        batch
    }

    /// Looks how old the oldest record is that the collector does not have. The age is by the boot
    /// clock within one boot, by the wall clock over several.
    pub fn look_at_oldest(&mut self) {
        let epochs = self.lanes.iter().flat_map(|lane| {
            let next = lane.pending.back().map_or(0, |record| record.head.seq + 1);
            lane.epochs.iter().map(move |epoch| (lane.id, epoch, next))
        });
        let requests: Vec<_> = epochs
            .filter(|(_, epoch, next)| epoch.unacked_from(1) < epoch.durable_next.max(*next))
            .map(|(lane, epoch, _)| ReadRequest {
                lane,
                epoch: epoch.id,
                from_seq: 1,
                upto_seq: u64::MAX,
                max_bytes: 1,
                max_records: 1,
            })
            .collect();
        let now = self.now();
        let age = |record: &StoredRecord| {
            if record.boot_tag == now.boot_tag {
                now.boot_ns.saturating_sub(record.boot_ns)
            } else {
                u64::try_from(now.wall_ns.saturating_sub(record.wall_ns)).unwrap_or(0)
            }
        };
        let oldest = requests.iter().filter_map(|request| {
            // Nothing leaves: what is proven or trusted stays as it is.
            self.read_batch(request).records.first().map(age)
        });
        self.oldest_age_ns = Some(oldest.max().unwrap_or(0));
    }

    fn read_batch(&mut self, request: &ReadRequest) -> Batch {
        let mut batch = Batch { records: Vec::new(), next_seq: request.from_seq };
        let index = request.lane as usize;
        if index >= self.lanes.len() {
            return batch;
        }
        let Ok(mut unzip) = zstd::bulk::Decompressor::new() else { return batch };
        let mut left = request.max_bytes;
        let mut repaired = None;
        loop {
            let lane = &self.lanes[index];
            let Some(epoch) = lane.epoch(request.epoch) else { return batch };
            batch.next_seq = epoch.unacked_from(batch.next_seq);
            if batch.next_seq > request.upto_seq || batch.next_seq >= epoch.durable_next {
                break;
            }
            // The last segment that starts at or before the number; before the first there is none.
            let mut mine = lane.segments.iter().enumerate().filter(|(_, s)| s.epoch == epoch.id);
            let Some((first_at, first)) = mine.next() else { break };
            batch.next_seq = batch.next_seq.max(first.first_seq);
            let at = mine
                .take_while(|(_, segment)| segment.first_seq <= batch.next_seq)
                .last()
                .map_or(first_at, |(at, _)| at);
            let walk = if lane.segments[at].damaged {
                self.walk_damaged(index, at, request, &mut batch, &mut left, &mut unzip)
            } else {
                self.walk(index, at, request, &mut batch, &mut left, &mut unzip)
            };
            match walk {
                Walk::Fine => {}
                Walk::Full => return batch,
                Walk::Damaged => {
                    let name = self.lanes[index].name(at);
                    if repaired.replace(name) == Some(name) {
                        // The disk answers differently each time: take what one look gives.
                        self.lanes[index].segments[at].damaged = true;
                    } else if let Err(error) = self.repair(index, at) {
                        tracing::warn!(segment = %name, error = chain(&error), "cannot read a segment");
                        return batch;
                    }
                }
            }
        }
        self.read_memory(index, request, &mut batch, &mut left, &mut unzip);
        batch
    }

    /// Walks a segment record by record from the number `batch.next_seq` on.
    fn walk(
        &mut self,
        index: usize,
        at: usize,
        request: &ReadRequest,
        batch: &mut Batch,
        left: &mut usize,
        unzip: &mut zstd::bulk::Decompressor<'_>,
    ) -> Walk {
        let lane = &self.lanes[index];
        let (segment, end) = (&lane.segments[at], lane.segment_end(at));
        let Some(epoch) = lane.epoch(segment.epoch) else { return Walk::Fine };
        let seal = epoch.seal;
        let opened;
        let (file, written) = match &lane.active {
            // The rest of the file was set aside and holds nothing.
            Some(active) if lane.is_newest(at) => (&*active.file, active.end),
            Some(_) | None => {
                let name = lane.name(at).to_string();
                match self.disk.as_deref().ok_or_else(no_disk).and_then(|disk| disk.open(&name)) {
                    Ok(found) => opened = found,
                    Err(error) if is_gone(&error) => return Walk::Damaged,
                    Err(error) => {
                        let error = chain(&error);
                        tracing::warn!(segment = name, error, "cannot open a segment");
                        return Walk::Full;
                    }
                }
                (&*opened, u64::MAX)
            }
        };
        let known = self.cursors.iter().position(|cursor| {
            (cursor.lane, cursor.epoch, cursor.first_seq, cursor.seq)
                == (lane.id, segment.epoch, segment.first_seq, batch.next_seq)
        });
        let start = known.and_then(|known| self.cursors.remove(known));
        let (mut seq, mut offset) = start
            .map_or((segment.first_seq, HEADER_LEN as u64), |cursor| (cursor.seq, cursor.offset));
        let mut want = CHUNK.min(left.saturating_add(4096));
        let (mut chunk, mut used, mut at_end) = (Vec::new(), 0, false);
        let walk = loop {
            if seq >= end || seq > request.upto_seq {
                break Walk::Fine;
            }
            let parsed = format::parse(&chunk[used..], seal);
            let len = match parsed {
                // Nothing here, or not all of it: unless the file says no more, read on.
                Parsed::Short(_) | Parsed::End => {
                    let need = match parsed {
                        Parsed::Short(need) => need,
                        Parsed::End
                        | Parsed::Bad
                        | Parsed::Record(..)
                        | Parsed::Hole(..)
                        | Parsed::Replaces(..) => RECORD_HEADER_LEN,
                    };
                    if at_end || chunk.len() - used >= need {
                        break Walk::Damaged;
                    }
                    offset += used as u64;
                    used = 0;
                    want = want.max(need);
                    let there = usize::try_from(written.saturating_sub(offset)).unwrap_or(want);
                    match read_range(file, offset, want.min(there)) {
                        Ok(more) => chunk = more,
                        Err(_) => break Walk::Damaged,
                    }
                    at_end = chunk.len() < want;
                    continue;
                }
                Parsed::Record(head, stored, len) if head.seq == seq => {
                    let wanted = seq >= batch.next_seq && epoch.unacked_from(seq) == seq;
                    if wanted {
                        let Some(payload) = format::open_payload(unzip, &head, stored) else {
                            break Walk::Damaged;
                        };
                        if !take(batch, left, request, &head, payload) {
                            break Walk::Full;
                        }
                    }
                    seq += 1;
                    len
                }
                Parsed::Hole(from, to, len) if from == seq => {
                    seq = to.saturating_add(1);
                    len
                }
                Parsed::Replaces(_, _, len) => len,
                Parsed::Record(..) | Parsed::Hole(..) | Parsed::Bad => {
                    break Walk::Damaged;
                }
            };
            used += len;
            batch.next_seq = batch.next_seq.max(seq);
        };
        if seq == batch.next_seq {
            let cursor = Cursor {
                lane: lane.id,
                epoch: segment.epoch,
                first_seq: segment.first_seq,
                seq,
                offset: offset + used as u64,
            };
            self.cursors.push_back(cursor);
            if self.cursors.len() > MAX_CURSORS {
                self.cursors.pop_front();
            }
        }
        walk
    }

    /// Reads the good records of a segment whose damage could not be cut out.
    fn walk_damaged(
        &self,
        index: usize,
        at: usize,
        request: &ReadRequest,
        batch: &mut Batch,
        left: &mut usize,
        unzip: &mut zstd::bulk::Decompressor<'_>,
    ) -> Walk {
        let Ok((bytes, scan)) = self.load(index, at) else { return Walk::Full };
        let lane = &self.lanes[index];
        let segment = &lane.segments[at];
        let Some(epoch) = lane.epoch(segment.epoch) else { return Walk::Fine };
        let seal = Seal::new(&self.config.agent_id, segment.epoch);
        for span in &scan.good {
            let wanted = span.seq >= batch.next_seq
                && span.seq <= request.upto_seq
                && epoch.unacked_from(span.seq) == span.seq;
            if !wanted {
                continue;
            }
            let Parsed::Record(head, stored, _) = format::parse(&bytes[span.offset..], seal) else {
                continue;
            };
            let Some(payload) = format::open_payload(unzip, &head, stored) else { continue };
            if !take(batch, left, request, &head, payload) {
                batch.next_seq = span.seq;
                return Walk::Full;
            }
            batch.next_seq = span.seq + 1;
        }
        batch.next_seq =
            batch.next_seq.max(lane.segment_end(at).min(request.upto_seq.saturating_add(1)));
        Walk::Fine
    }

    /// Reads what a failed disk keeps in memory.
    fn read_memory(
        &self,
        index: usize,
        request: &ReadRequest,
        batch: &mut Batch,
        left: &mut usize,
        unzip: &mut zstd::bulk::Decompressor<'_>,
    ) {
        let lane = &self.lanes[index];
        let epoch = lane.current();
        if !self.reads_memory() || epoch.id != request.epoch {
            return;
        }
        for record in &lane.pending {
            let seq = record.head.seq;
            if seq < batch.next_seq || seq > request.upto_seq || epoch.unacked_from(seq) != seq {
                continue;
            }
            let Parsed::Record(head, stored, _) = format::parse(&record.bytes, epoch.seal) else {
                continue;
            };
            let Some(payload) = format::open_payload(unzip, &head, stored) else { continue };
            if !take(batch, left, request, &head, payload) {
                return;
            }
            batch.next_seq = seq + 1;
        }
    }
}

/// Adds a record to the batch unless it is full.
fn take(
    batch: &mut Batch,
    left: &mut usize,
    request: &ReadRequest,
    head: &RecordHead,
    payload: Vec<u8>,
) -> bool {
    let full = batch.records.len() >= request.max_records || payload.len() > *left;
    if full && !batch.records.is_empty() {
        return false;
    }
    *left = left.saturating_sub(payload.len());
    batch.records.push(StoredRecord {
        seq: head.seq,
        kind: head.kind,
        boot_ns: head.boot_ns,
        wall_ns: head.wall_ns,
        boot_tag: head.boot_tag,
        n_items: head.n_items,
        hash: head.hash,
        payload,
    });
    true
}
