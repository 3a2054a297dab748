//! Cutting damage out of a segment: declare it, keep the bytes aside, write what is good anew.

use std::io;

use proto::v1::{GapReason, Loss};

use super::{
    MAX_SEGMENT_FILE, QUARANTINE_BYTES, Spool,
    format::{self, HEADER_LEN, Header, Scan, Seal},
    store::no_disk,
    vfs::{Vfs, VfsFile, read_what_is_readable},
};
use crate::{logs::chain, platform};

/// Prefix of files that hold damaged bytes.
const ASIDE: &str = "bad-";
/// Suffix of a segment being rewritten.
pub(super) const TEMPORARY: &str = ".tmp";
/// Holes declared one by one in a segment; more are told as one range.
const MAX_HOLES: usize = 64;

impl Spool {
    /// The bytes of a segment and what they tell. A file that is gone, and pages that the disk has
    /// lost, read as nothing.
    ///
    /// # Errors
    /// Trouble that is this process's rather than the file's, such as too many open files: no
    /// reason to give up a segment.
    pub(super) fn load(&self, index: usize, at: usize) -> io::Result<(Vec<u8>, Scan)> {
        let lane = &self.lanes[index];
        let segment = &lane.segments[at];
        let disk = self.disk.as_deref().ok_or_else(no_disk)?;
        let bytes = match disk.open(&lane.name(at).to_string()) {
            Ok(file) => read_what_is_readable(&*file, segment.file_len, MAX_SEGMENT_FILE),
            Err(error) if is_gone(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let seal = Seal::new(&self.config.agent_id, segment.epoch);
        let upto = lane.segment_end(at);
        let scan = format::scan(&bytes, seal, segment.first_seq, Some(upto));
        Ok((bytes, scan))
    }

    /// Declares what a segment has lost and rewrites it without the damage. Afterwards it either
    /// is clean or is marked to be read around the damage.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub(super) fn repair(&mut self, index: usize, at: usize) -> io::Result<()> {
        if self.lanes[index].is_newest(at) {
            self.seal(index);
        }
        let (bytes, scan) = self.load(index, at)?;
        self.repair_with(index, at, &bytes, &scan);
        Ok(())
    }

    /// [`Self::repair`] of a segment that was read already.
    pub(super) fn repair_with(&mut self, index: usize, at: usize, bytes: &[u8], scan: &Scan) {
        let name = self.lanes[index].name(at);
        self.lanes[index].segments[at].damaged = true;
        self.declare_missing(index, name.epoch, scan);
        // Declared first: a kill in between declares the same range again, rather than never.
        if self.commit().degraded {
            return;
        }
        // The commit may have evicted.
        let lane = &self.lanes[index];
        let Some(at) = (0..lane.segments.len()).find(|at| lane.name(*at) == name) else { return };
        if let Some(disk) = self.disk.as_deref() {
            set_aside(disk, &name.to_string(), bytes, scan, self.clock.wall_ns());
        }
        match self.rewrite(index, at, bytes, scan) {
            Ok(()) => tracing::warn!(segment = %name, "cut damage out of a segment"),
            Err(error) => {
                tracing::warn!(segment = %name, error = chain(&error), "cannot repair a segment");
            }
        }
    }

    /// Appends a LOSS for every range that damage has taken.
    pub(super) fn declare_missing(&mut self, index: usize, epoch: u64, scan: &Scan) {
        let lane = self.lanes[index].id;
        let loss = |from: u64, to: u64, records: u64, items: u64| Loss {
            reason: GapReason::GapCorrupt.into(),
            lane,
            epoch,
            from_seq: from,
            to_seq: to,
            records,
            samples: if lane == proto::LANE_SAMPLES { items } else { 0 },
            from_wall_ns: wall_beside(scan, from),
            to_wall_ns: wall_beside(scan, to),
        };
        let records: u64 = scan.missing.iter().map(|missing| missing.records).sum();
        self.counters.corrupt_records += records;
        if scan.missing.len() <= MAX_HOLES {
            for missing in &scan.missing {
                let (from, to) = (*missing.range.start(), *missing.range.end());
                self.declare(loss(from, to, missing.records, missing.items));
            }
        } else if let (Some(first), Some(last)) = (scan.missing.first(), scan.missing.last()) {
            let items = scan.missing.iter().map(|missing| missing.items).sum();
            self.declare(loss(*first.range.start(), *last.range.end(), records, items));
        }
    }

    /// Replaces a segment's file by one with the good records of `scan` and marks for all holes.
    pub(super) fn rewrite(
        &mut self,
        index: usize,
        at: usize,
        bytes: &[u8],
        scan: &Scan,
    ) -> io::Result<()> {
        let lane = &self.lanes[index];
        let segment = &lane.segments[at];
        let name = lane.name(at).to_string();
        let epoch = lane.epoch(segment.epoch).ok_or_else(no_disk)?;
        let header = Header {
            lane: u16::try_from(index).unwrap_or(u16::MAX),
            agent_id: self.config.agent_id,
            epoch: segment.epoch,
            first_seq: segment.first_seq,
            created_boot_ns: self.clock.boot_ns(),
            created_wall_ns: self.clock.wall_ns(),
            ordinal: epoch.ordinal,
        };
        let mut out = header.encode().to_vec();
        if let Some((epoch_id, first)) = scan.replaces {
            format::encode_replaces(&mut out, epoch.seal, segment.first_seq, epoch_id, first);
        }
        let mut holes: Vec<_> = scan
            .holes
            .iter()
            .cloned()
            .chain(scan.missing.iter().map(|missing| missing.range.clone()))
            .collect();
        holes.sort_by_key(|range| *range.start());
        let mut holes = holes.into_iter().peekable();
        for span in &scan.good {
            while let Some(hole) = holes.next_if(|hole| *hole.start() < span.seq) {
                format::encode_hole(&mut out, epoch.seal, &hole);
            }
            out.extend_from_slice(&bytes[span.offset..span.offset + span.len]);
        }
        for hole in holes {
            format::encode_hole(&mut out, epoch.seal, &hole);
        }
        let disk = self.disk.as_deref().ok_or_else(no_disk)?;
        replace(disk, &name, &out, out.len() as u64)?;
        let segment = &mut self.lanes[index].segments[at];
        segment.file_len = out.len() as u64;
        segment.damaged = false;
        self.cursors.clear();
        Ok(())
    }
}

/// Puts a file of `len` bytes that starts with `bytes` in the place of `name`, all or nothing.
pub(super) fn replace(
    disk: &dyn Vfs,
    name: &str,
    bytes: &[u8],
    len: u64,
) -> io::Result<Box<dyn VfsFile>> {
    let temporary = format!("{name}{TEMPORARY}");
    let file = match disk.create(&temporary, len) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&temporary)?;
            disk.create(&temporary, len)?
        }
        made => made?,
    };
    let written = file.write_all_at(bytes, 0).and_then(|()| file.sync());
    if let Err(error) = written {
        disk.remove(&temporary)?;
        return Err(error);
    }
    disk.rename(&temporary, name)?;
    disk.sync_dir()?;
    Ok(file)
}

/// Wall clock of the good record nearest to `seq`; 0 when there is none.
fn wall_beside(scan: &Scan, seq: u64) -> i64 {
    let nearest = scan.good.iter().min_by_key(|span| span.seq.abs_diff(seq));
    nearest.map_or(0, |span| span.wall_ns)
}

/// True when the file, rather than this process, is in trouble.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || platform::directory::is_broken_disk(error)
}

/// True for the name of a file that holds damaged bytes.
pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with(ASIDE)
}

/// Copies the damaged ranges to a file of their own, and keeps the sum of such files bounded.
fn set_aside(disk: &dyn Vfs, name: &str, bytes: &[u8], scan: &Scan, wall_ns: i64) {
    let mut copy = Vec::new();
    if bytes.len() >= HEADER_LEN && Header::check(bytes) == format::HeaderCheck::Bad {
        copy.extend_from_slice(&bytes[..HEADER_LEN]);
    }
    for range in &scan.bad {
        copy.extend_from_slice(&bytes[range.clone()]);
    }
    if copy.is_empty() {
        return;
    }
    let kept = || -> io::Result<()> {
        let file = disk.create(&format!("{ASIDE}{wall_ns:020}-{name}"), copy.len() as u64)?;
        file.write_all_at(&copy, 0)?;
        file.sync()?;
        let mut files = disk.list(&is_aside)?;
        files.sort();
        let mut total: u64 = files.iter().map(|(_, len)| len).sum();
        for (oldest, len) in &files {
            if total <= QUARANTINE_BYTES {
                break;
            }
            disk.remove(oldest)?;
            total -= len;
        }
        Ok(())
    };
    if let Err(error) = kept() {
        tracing::warn!(segment = name, error = chain(&error), "cannot keep damaged bytes aside");
    }
}
