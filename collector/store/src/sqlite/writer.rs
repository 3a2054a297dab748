//! The writing thread: it alone changes the file, and it alone checkpoints.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use domain::chain::chain;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, wal::CheckpointMode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    PAGE_BYTES,
    batch::{self, Known},
    check::{self, Soundness},
    failed,
    files::{self, Lock},
    ingest::{self, Job},
    open::{self, Opened},
};
#[cfg(feature = "planted-bugs")]
use crate::planted;
use crate::{Commit, IncomingRecord, Result, StoreError};

/// Control changes that may wait; more callers wait for a place, at most [`PLACE_DEADLINE`].
const MAX_CONTROL: usize = 1024;
/// Longest wait for a place in the queue.
const PLACE_DEADLINE: Duration = Duration::from_secs(30);
/// Control changes in a row while records wait.
const MAX_CONTROL_RUN: u32 = 16;
/// Records that may wait, KiB; more callers wait for a place.
const MAX_QUEUED_KIB: usize = 64 << 10;
/// A transaction takes no further caller's records above this many, or above [`BATCH_BYTES`].
const BATCH_RECORDS: usize = 2048;
/// See [`BATCH_RECORDS`].
const BATCH_BYTES: usize = 4 << 20;
/// How long the first records of a transaction wait for those of other agents. A commit for one
/// record costs seven times the processor time of a record among 25 (bench `ingest`).
const LINGER: Duration = Duration::from_millis(10);
/// Pages in the write-ahead log that start a checkpoint: 64 MiB.
const CHECKPOINT_PAGES: u64 = (64 << 20) / PAGE_BYTES as u64;
/// After a checkpoint that readers held up, pages more before the next try: 4 MiB.
const CHECKPOINT_AGAIN_PAGES: u64 = (4 << 20) / PAGE_BYTES as u64;
/// Idle time after which the log is emptied.
const IDLE: Duration = Duration::from_secs(2);

/// What the writing thread counts, for the metrics page.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Transactions of records.
    pub(crate) commits: AtomicU64,
    /// Their total time, microseconds.
    pub(crate) commit_us: AtomicU64,
    /// The longest, microseconds.
    pub(crate) commit_max_us: AtomicU64,
    /// Records stored.
    pub(crate) records: AtomicU64,
    /// Records that were there already.
    pub(crate) duplicates: AtomicU64,
    /// Records under a key where another stands.
    pub(crate) conflicts: AtomicU64,
    /// Records refused.
    pub(crate) rejected: AtomicU64,
    /// Gaps that were not declared for want of room.
    pub(crate) gaps_refused: AtomicU64,
    /// Records waiting.
    pub(crate) queue_records: AtomicU64,
    /// Pages in the write-ahead log.
    pub(crate) wal_pages: AtomicU64,
}

type Control = Box<dyn FnOnce(&mut Writer) + Send>;

/// What waits for the writing thread.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    control_places: Arc<Semaphore>,
    ingest_places: Arc<Semaphore>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Waiting {
    control: VecDeque<(Control, OwnedSemaphorePermit)>,
    /// Control changes done since the last records.
    control_run: u32,
    ingest: VecDeque<Job>,
    records: usize,
    bytes: usize,
    closed: bool,
}

/// What to do next.
enum Work {
    Control(Control),
    Ingest(Vec<Job>),
    Idle,
    Closed,
}

impl Queue {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            control_places: Arc::new(Semaphore::new(MAX_CONTROL)),
            ingest_places: Arc::new(Semaphore::new(MAX_QUEUED_KIB)),
            counters,
        }
    }

    /// Queues a change; waits for a place.
    pub(super) async fn control(&self, change: Control) -> Result<()> {
        let place = place(&self.control_places, 1).await?;
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        waiting.control.push_back((change, place));
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Queues records; waits for a place. `bytes` is what they weigh.
    pub(super) async fn ingest(
        &self,
        records: Vec<IncomingRecord>,
        bytes: usize,
        reply: oneshot::Sender<Result<Commit>>,
    ) -> Result<()> {
        let kib = u32::try_from(bytes.div_ceil(1024).clamp(1, MAX_QUEUED_KIB)).unwrap_or(u32::MAX);
        let place = place(&self.ingest_places, kib).await?;
        let count = records.len();
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        waiting.records += count;
        waiting.bytes += bytes;
        waiting.ingest.push_back(Job { records, bytes, since: Instant::now(), reply, place });
        // Still under the lock: the thread subtracts what it takes.
        self.counters.queue_records.store(waiting.records as u64, Relaxed);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.control_places.close();
        self.ingest_places.close();
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Work {
        let mut waiting = self.lock();
        let idle_since = Instant::now();
        loop {
            let records_wait = !waiting.ingest.is_empty();
            if (!records_wait || waiting.control_run < MAX_CONTROL_RUN)
                && let Some((change, _place)) = waiting.control.pop_front()
            {
                waiting.control_run += u32::from(records_wait);
                return Work::Control(change);
            }
            let left = if let Some(first) = waiting.ingest.front() {
                let full = waiting.records >= BATCH_RECORDS || waiting.bytes >= BATCH_BYTES;
                let left = LINGER.checked_sub(first.since.elapsed());
                match left {
                    Some(left) if !full && !waiting.closed => left,
                    _ => {
                        let jobs = waiting.take();
                        self.counters.queue_records.store(waiting.records as u64, Relaxed);
                        return Work::Ingest(jobs);
                    }
                }
            } else if waiting.closed {
                return Work::Closed;
            } else if let Some(left) = IDLE.checked_sub(idle_since.elapsed()) {
                left
            } else {
                return Work::Idle;
            };
            waiting = self
                .wake
                .wait_timeout(waiting, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        }
    }
}

impl Waiting {
    /// The records of one transaction: at least those of one caller.
    fn take(&mut self) -> Vec<Job> {
        self.control_run = 0;
        let (mut jobs, mut records, mut bytes) = (Vec::new(), 0, 0);
        while records < BATCH_RECORDS
            && bytes < BATCH_BYTES
            && let Some(job) = self.ingest.pop_front()
        {
            records += job.records.len();
            bytes += job.bytes;
            jobs.push(job);
        }
        self.records -= records;
        self.bytes -= bytes;
        jobs
    }
}

async fn place(places: &Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit> {
    tokio::time::timeout(PLACE_DEADLINE, Arc::clone(places).acquire_many_owned(count))
        .await
        .map_err(|_elapsed| StoreError::Closed)?
        .map_err(|_closed| StoreError::Closed)
}

/// The writing thread's own.
pub(super) struct Writer {
    conn: Connection,
    path: PathBuf,
    known: Known,
    counters: Arc<Counters>,
    /// Once the file was found damaged nothing is written.
    soundness: Arc<Soundness>,
    /// Pages in the log that start the next checkpoint.
    checkpoint_at: u64,
}

/// Starts the thread.
pub(super) fn start(
    opened: Opened,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    soundness: Arc<Soundness>,
) -> std::io::Result<JoinHandle<()>> {
    let Opened { conn, lock, path, unclean: _ } = opened;
    let mut writer = Writer {
        conn,
        path,
        known: Known::default(),
        counters,
        soundness,
        checkpoint_at: CHECKPOINT_PAGES,
    };
    std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
        // Also when a change panics: whoever waits learns that nothing will come.
        let _closing = CloseOnExit(&queue);
        writer.watch_log();
        while writer.serve(queue.next()) {}
        writer.end(lock);
    })
}

struct CloseOnExit<'a>(&'a Queue);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
        let mut waiting = self.0.lock();
        waiting.control.clear();
        waiting.ingest.clear();
    }
}

impl Writer {
    /// Runs one transaction.
    pub(super) fn transact<T>(
        &mut self,
        action: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.check_usable()?;
        let outcome = run(&mut self.conn, action, change);
        self.note_damage(outcome.as_ref().err());
        outcome
    }

    pub(super) fn known(&mut self) -> &mut Known {
        &mut self.known
    }

    fn ingest(&mut self, jobs: Vec<Job>) {
        let started = Instant::now();
        #[cfg(feature = "planted-bugs")]
        if planted::is("ack-before-commit") {
            return self.answer_before_commit(jobs);
        }
        let outcome = self.check_usable().and_then(|()| {
            run(&mut self.conn, batch::ACTION, |tx| batch::place(tx, &mut self.known, &jobs))
        });
        self.note_damage(outcome.as_ref().err());
        ingest::answer(&mut self.known, &self.counters, jobs, outcome, started.elapsed());
    }

    /// The bug of that name: as a store would that makes things durable once a second.
    #[cfg(feature = "planted-bugs")]
    fn answer_before_commit(&mut self, jobs: Vec<Job>) {
        let begun = self.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let Ok(tx) = begun else { return };
        let placed = batch::place(&tx, &mut self.known, &jobs);
        ingest::answer(&mut self.known, &self.counters, jobs, placed, Duration::ZERO);
        std::thread::sleep(Duration::from_secs(1));
        drop(tx.commit());
    }

    fn check_usable(&self) -> Result<()> {
        match self.soundness.damage() {
            None => Ok(()),
            Some(why) => Err(open::unusable(&self.path, why)),
        }
    }

    /// A damaged file is not written again: the part that still works would hide the rest.
    fn note_damage(&self, error: Option<&StoreError>) {
        let Some(StoreError::Failed { source, .. }) = error else { return };
        if source.downcast_ref().is_some_and(check::is_damage) {
            self.soundness.found_damage(&source.to_string());
        }
    }

    fn watch_log(&mut self) {
        let counters = Arc::clone(&self.counters);
        let hook = move |_: &mut _, pages: i32| {
            counters.wal_pages.store(u64::try_from(pages).unwrap_or(0), Relaxed);
            Ok(())
        };
        if let Err(error) = self.conn.wal_hook(Some(hook)) {
            tracing::error!(error = chain(&error), "cannot watch the write-ahead log");
        }
    }

    fn serve(&mut self, work: Work) -> bool {
        match work {
            Work::Control(change) => change(self),
            Work::Ingest(jobs) => self.ingest(jobs),
            Work::Idle => {
                if self.counters.wal_pages.load(Relaxed) > 0 {
                    self.checkpoint(CheckpointMode::TRUNCATE);
                }
                return true;
            }
            Work::Closed => return false,
        }
        let pages = self.counters.wal_pages.load(Relaxed);
        if pages < CHECKPOINT_PAGES {
            self.checkpoint_at = CHECKPOINT_PAGES;
        } else if pages >= self.checkpoint_at {
            self.checkpoint(CheckpointMode::PASSIVE);
            // Either the next commit starts the log anew, or a reader holds it back.
            self.checkpoint_at = pages + CHECKPOINT_AGAIN_PAGES;
        }
        true
    }

    /// Copies the log into the file. Readers may hold a part of it back: it is tried again later.
    fn checkpoint(&mut self, mode: CheckpointMode) {
        if self.soundness.damage().is_some() {
            return;
        }
        match self.conn.wal_checkpoint_v2(None::<&str>, mode) {
            Ok((left, _copied)) if matches!(mode, CheckpointMode::TRUNCATE) => {
                self.counters.wal_pages.store(u64::try_from(left).unwrap_or(0), Relaxed);
            }
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                tracing::debug!("readers hold the write-ahead log");
            }
            Err(error) => {
                let error = failed("checkpoint the write-ahead log")(error);
                tracing::warn!(error = chain(&error), "cannot checkpoint");
                self.note_damage(Some(&error));
            }
        }
    }

    fn end(mut self, lock: Lock) {
        self.checkpoint(CheckpointMode::TRUNCATE);
        if let Err((_conn, error)) = self.conn.close() {
            tracing::warn!(error = chain(&error), "cannot close the database cleanly");
            return;
        }
        let log = files::length(&files::beside(&self.path, "-wal"));
        if log.is_ok_and(|bytes| bytes > 0) {
            // Without the word in the lock file the log would be taken for another database's.
            return;
        }
        if !self.soundness.is_trusted() {
            // The word in the lock file stays: the next start has every page looked at.
            return;
        }
        if let Err(error) = lock.end_cleanly() {
            tracing::warn!(
                error = chain(&error),
                "cannot note that the database was closed cleanly"
            );
        }
    }
}

fn run<T>(
    conn: &mut Connection,
    action: &'static str,
    change: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let tx =
        conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(action))?;
    let value = change(&tx)?;
    tx.commit().map_err(failed(action))?;
    Ok(value)
}
