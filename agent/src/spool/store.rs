//! The spool in memory: lanes, append, and what does not fit. [`commit`] brings it to the disk.

mod commit;

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    sync::Arc,
};

use proto::{
    limits::{MAX_PAYLOAD_BYTES, MAX_STORED_PAYLOAD_BYTES},
    v1::{GapReason, Loss},
};

use super::{
    AppendError, Committed, Counters, LANES, LIVE, LaneStatus, Moment, NewRecord, OpenError,
    RING_BYTES, Recovery, SpoolConfig, SpoolStatus, events,
    fill::FillWatch,
    format::{self, FLAG_ZSTD, RecordHead},
    lane::{Dropped, Epoch, Lane, Pending},
    losses::Losses,
    read::Cursor,
    recovery,
    vfs::{LockError, RealVfs, Vfs},
};
use crate::{clock::Clock, logs::chain, planted};

/// Payloads below this are stored as they are.
const MIN_ZSTD_LEN: usize = 128;
const ZSTD_LEVEL: i32 = 1;

/// Opens the spool's directory, again and again while it fails.
pub type OpenDisk = Box<dyn Fn() -> Result<Box<dyn Vfs>, LockError> + Send>;

/// Whether [`Spool::append`] would take the record: asked before it is handed over, so that its
/// maker hears of a refusal. A payload is squeezed for it only when it is too large as it is.
pub(super) fn check(record: &NewRecord) -> Result<(), AppendError> {
    is_sound(record)?;
    let len = record.payload.len();
    if len <= MAX_STORED_PAYLOAD_BYTES {
        return Ok(());
    }
    let zip = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
    let zipped = zip.and_then(|mut zip| squeeze(&mut zip, &record.payload));
    let stored = zipped.map_or(len, |zipped| zipped.len());
    if len > MAX_PAYLOAD_BYTES || stored > MAX_STORED_PAYLOAD_BYTES {
        return Err(AppendError::TooLarge { len, stored });
    }
    Ok(())
}

fn is_sound(record: &NewRecord) -> Result<(), AppendError> {
    if record.lane as usize >= LANES {
        return Err(AppendError::NoLane(record.lane));
    }
    if record.kind == 0 { Err(AppendError::Kind) } else { Ok(()) }
}

/// The payload compressed, when that is worth it.
fn squeeze(zip: &mut zstd::bulk::Compressor<'static>, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < MIN_ZSTD_LEN || payload.len() > MAX_PAYLOAD_BYTES {
        return None;
    }
    let zipped = zip.compress(payload).ok()?;
    (zipped.len() <= payload.len() - payload.len() / 8).then_some(zipped)
}

/// The spool. One owner; all calls block on the disk.
pub struct Spool {
    pub(super) config: SpoolConfig,
    pub(super) clock: Arc<dyn Clock>,
    open_disk: OpenDisk,
    pub(super) disk: Option<Box<dyn Vfs>>,
    pub(super) lanes: [Lane; LANES],
    pub(super) losses: Losses,
    pub(super) cursors: VecDeque<Cursor>,
    pub(super) counters: Counters,
    pub(super) oldest_age_ns: Option<u64>,
    pub(super) fill: FillWatch,
    /// Boot clock before which the failed disk is left alone.
    degraded_until_ns: Option<u64>,
    zip: Option<zstd::bulk::Compressor<'static>>,
    scratch: Vec<u8>,
    ledger: Option<File>,
}

impl Spool {
    /// Opens, or makes, the spool in the configured directory.
    ///
    /// # Errors
    /// [`OpenError::Locked`] and nothing else: an unusable directory gives a spool in memory.
    pub fn open(config: SpoolConfig, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), OpenError> {
        let dir = config.dir.clone();
        let open_disk = move || RealVfs::lock(&dir).map(|disk| -> Box<dyn Vfs> { Box::new(disk) });
        Self::open_on(Box::new(open_disk), config, clock)
    }

    /// Opens a spool on another kind of disk.
    ///
    /// # Errors
    /// [`OpenError::Locked`].
    pub fn open_on(
        open_disk: OpenDisk,
        config: SpoolConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let disk = match open_disk() {
            Ok(disk) => Some(disk),
            Err(LockError::Held) => return Err(OpenError::Locked { dir: config.dir }),
            Err(LockError::Unusable(error)) => {
                tracing::error!(error = chain(&error), "cannot use the spool's directory");
                None
            }
        };
        let lanes = [0, 1].map(|id| Lane::new(id, Epoch::new(&config.agent_id, random(), 1)));
        let ledger = config.ledger.as_ref().and_then(|path| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .inspect_err(|error| {
                    tracing::error!(error = chain(&error), "cannot open the ledger");
                })
                .ok()
        });
        let zip = zstd::bulk::Compressor::new(ZSTD_LEVEL)
            .inspect_err(|error| {
                tracing::warn!(error = chain(&error), "records are stored uncompressed");
            })
            .ok();
        let mut spool = Self {
            config,
            clock,
            open_disk,
            disk: None,
            lanes,
            losses: Losses::detached(),
            cursors: VecDeque::new(),
            counters: Counters::default(),
            oldest_age_ns: None,
            fill: FillWatch::default(),
            degraded_until_ns: None,
            zip,
            scratch: Vec::new(),
            ledger,
        };
        let mut recovery = Recovery { clean: true, ..Recovery::default() };
        match disk.map(|disk| recovery::recover(&mut spool, disk)) {
            Some(Ok(found)) => recovery = found,
            Some(Err(error)) => spool.degrade(&error),
            None => spool.degrade(&io::Error::other("the directory is unusable")),
        }
        Ok((spool, recovery))
    }

    /// Tells the collector what the stretch before this start was, and that the agent runs. Nothing
    /// is durable before the next [`Self::commit`].
    pub fn record_start(&mut self, recovery: &Recovery) {
        let now = self.now();
        if let Some(last) = recovery.last_durable
            && !planted::is("gap-untold")
        {
            let reason = if recovery.clean { GapReason::GapStopped } else { GapReason::GapCrash };
            self.append_own(&events::gap(reason, last, now));
        }
        let clean = recovery.clean;
        let version = self.config.version.clone();
        self.append_own(&events::started(&version, clean, now));
    }

    /// Commits what is pending and a clean stop behind it.
    pub fn record_stop(&mut self, reason: &str) -> Committed {
        let now = self.now();
        self.append_own(&events::stopped(reason, now));
        let done = self.commit();
        if let Err(error) = self.store_marks() {
            tracing::warn!(error = chain(&error), "cannot write loss.ctr");
        }
        done
    }

    /// Gives the record its number. It is not durable before the next [`Self::commit`].
    ///
    /// # Errors
    /// [`AppendError`]; the spool is unchanged then.
    pub fn append(&mut self, record: &NewRecord) -> Result<u64, AppendError> {
        let index = record.lane as usize;
        is_sound(record)?;
        let len = record.payload.len();
        let zipped = self.zip.as_mut().and_then(|zip| squeeze(zip, &record.payload));
        let flags = if zipped.is_some() { FLAG_ZSTD } else { 0 };
        let stored = zipped.as_deref().unwrap_or(&record.payload);
        if len > MAX_PAYLOAD_BYTES || stored.len() > MAX_STORED_PAYLOAD_BYTES {
            return Err(AppendError::TooLarge { len, stored: stored.len() });
        }
        let lane = &mut self.lanes[index];
        let head = RecordHead {
            seq: lane.next_seq,
            boot_ns: record.boot_ns,
            wall_ns: record.wall_ns,
            boot_tag: record.boot_tag,
            kind: record.kind,
            flags,
            n_items: record.n_items,
            hash: record.hash(),
        };
        let mut bytes = Vec::with_capacity(stored.len() + format::MIN_RECORD_LEN);
        format::encode_record(&mut bytes, lane.current().seal, &head, stored);
        lane.next_seq += 1;
        self.counters.appended_records += 1;
        lane.pending_bytes += bytes.len();
        lane.pending.push_back(Pending { head, bytes });
        self.trim_ring();
        Ok(head.seq)
    }

    /// Appends an event of the spool's own making, which is always small and well-formed.
    pub(super) fn append_own(&mut self, record: &NewRecord) {
        if let Err(error) = self.append(record) {
            tracing::error!(error = chain(&error), "cannot append an event");
        }
    }

    /// Appends a LOSS.
    pub(super) fn declare(&mut self, loss: Loss) {
        tracing::warn!(
            lane = loss.lane,
            from = loss.from_seq,
            to = loss.to_seq,
            records = loss.records,
            reason = loss.reason,
            "records are lost"
        );
        // The collector will count the range as explained, whatever it has of it.
        let lane = self.lanes.get_mut(loss.lane as usize);
        if let Some(epoch) = lane.and_then(|l| l.epochs.iter_mut().find(|e| e.id == loss.epoch)) {
            epoch.trusted_upto = epoch.trusted_upto.max(loss.to_seq);
        }
        let now = self.now();
        self.append_own(&events::loss(loss, now));
    }

    /// Longest wait of a record that is not urgent.
    #[must_use]
    pub fn commit_interval(&self) -> std::time::Duration {
        self.config.commit_interval
    }

    /// Bytes appended and not durable.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.pending_bytes).sum()
    }

    /// True while records are kept in memory only.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.degraded_until_ns.is_some()
    }

    /// True while what is in memory only can be read.
    pub(super) fn reads_memory(&self) -> bool {
        planted::is("sent-before-sync") || self.is_degraded()
    }

    /// Drops the oldest records that memory cannot hold: samples before events.
    fn trim_ring(&mut self) {
        while self.pending_bytes() > RING_BYTES {
            let index = usize::from(!self.lanes[1].pending.is_empty());
            let lane = &mut self.lanes[index];
            let Some(gone) = lane.pending.pop_front() else { return };
            lane.pending_bytes -= gone.bytes.len();
            self.counters.dropped_records += 1;
            let RecordHead { seq, wall_ns, kind, n_items, .. } = gone.head;
            let dropped = lane.dropped.get_or_insert(Dropped {
                from_seq: seq,
                from_wall_ns: wall_ns,
                ..Dropped::default()
            });
            (dropped.to_seq, dropped.to_wall_ns) = (seq, wall_ns);
            dropped.records += 1;
            if kind == proto::KIND_SAMPLES {
                dropped.samples += u64::from(n_items);
            }
        }
    }

    pub(super) fn declare_dropped(&mut self, index: usize) {
        let Some(dropped) = self.lanes[index].dropped.take() else { return };
        let (lane, epoch) = (self.lanes[index].id, self.lanes[index].current().id);
        self.declare(Loss {
            reason: GapReason::GapSpoolDegraded.into(),
            lane,
            epoch,
            from_seq: dropped.from_seq,
            to_seq: dropped.to_seq,
            records: dropped.records,
            samples: dropped.samples,
            from_wall_ns: dropped.from_wall_ns,
            to_wall_ns: dropped.to_wall_ns,
        });
    }

    /// Brings the lanes' marks in `loss.ctr` up to date, without the evictions that are told.
    pub(super) fn store_marks(&mut self) -> io::Result<()> {
        let told = self.lanes[0].current();
        let (told_epoch, told_next) = (told.id, told.durable_next);
        let known = self.losses.lanes[0].epoch == told_epoch;
        self.losses.evictions.retain(|entry| known && entry.told_by >= told_next);
        for (mark, lane) in self.losses.lanes.iter_mut().zip(&self.lanes) {
            let epoch = lane.current();
            mark.follow(epoch);
            mark.next_seq = epoch.durable_next;
            // Before the first session nothing is known, and what was known before stands.
            if epoch.contig_upto > 0 {
                mark.acked_upto = epoch.contig_upto;
            }
        }
        let disk = self.disk.as_deref().ok_or_else(no_disk)?;
        self.losses.store(disk)
    }

    /// Every epoch of every lane.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneStatus> {
        let live_ns = u64::try_from(LIVE.as_nanos()).unwrap_or(u64::MAX);
        let since = self.clock.boot_ns().saturating_sub(live_ns);
        let mut out = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            let last = lane.epochs.len() - 1;
            for (rank, epoch) in lane.epochs.iter().enumerate() {
                let mine = || lane.segments.iter().filter(|s| s.epoch == epoch.id);
                let current = rank == last;
                // In degraded mode what is in memory can be read too.
                let ring = if current && self.reads_memory() { lane.pending.back() } else { None };
                let next_seq = ring.map_or(epoch.durable_next, |record| record.head.seq + 1);
                let live = lane.recent.iter().find(|(at, _)| current && *at >= since);
                let first = mine().next().map(|segment| segment.first_seq);
                let oldest =
                    first.or_else(|| ring.and(lane.pending.front()).map(|record| record.head.seq));
                out.push(LaneStatus {
                    lane: lane.id,
                    epoch: epoch.id,
                    current,
                    oldest_seq: oldest.unwrap_or(next_seq),
                    next_seq,
                    head_hash: ring.map_or(epoch.head_hash, |record| record.head.hash),
                    run_first_seq: epoch.run_first,
                    live_from: live.map_or(epoch.durable_next, |(_, seq)| *seq).min(next_seq),
                    contig_upto: epoch.contig_upto,
                    bytes: mine().map(|segment| segment.file_len).sum(),
                    evicted: if current { self.losses.lanes[index].evicted_records } else { 0 },
                });
            }
        }
        out
    }

    /// Lanes and figures together.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        let mut counters = self.counters;
        for mark in &self.losses.lanes {
            counters.evicted_records += mark.evicted_records;
            counters.evicted_samples += mark.evicted_samples;
        }
        let (lanes, degraded) = (self.lanes(), self.is_degraded());
        let (oldest_age_ns, fill) = (self.oldest_age_ns, self.fill.now);
        SpoolStatus { lanes, degraded, oldest_age_ns, fill, counters }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::now(&*self.clock)
    }
}

pub(super) fn no_disk() -> io::Error {
    io::Error::other("the spool's directory is unusable")
}

/// A fresh epoch: never 0, which means "none".
pub(super) fn random() -> u64 {
    rand::random::<u64>().max(1)
}
