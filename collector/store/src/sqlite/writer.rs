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

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, wal::CheckpointMode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    PAGE_BYTES, failed,
    files::Lock,
    open::{self, Opened},
};
use crate::{Result, StoreError};

/// Control changes that may wait; more callers wait for a place, at most [`PLACE_DEADLINE`].
const MAX_CONTROL: usize = 1024;
/// Longest wait for a place in the queue.
const PLACE_DEADLINE: Duration = Duration::from_secs(30);
/// Control changes in a row while records wait.
const MAX_CONTROL_RUN: u32 = 16;
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
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Waiting {
    control: VecDeque<(Control, OwnedSemaphorePermit)>,
    closed: bool,
}

/// What to do next.
enum Work {
    Control(Control),
    Idle,
    Closed,
}

impl Queue {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            control_places: Arc::new(Semaphore::new(MAX_CONTROL)),
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

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.control_places.close();
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Work {
        let mut waiting = self.lock();
        let since = Instant::now();
        loop {
            if let Some((change, _place)) = waiting.control.pop_front() {
                return Work::Control(change);
            }
            if waiting.closed {
                return Work::Closed;
            }
            let Some(left) = IDLE.checked_sub(since.elapsed()) else { return Work::Idle };
            waiting = self
                .wake
                .wait_timeout(waiting, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        }
    }
}

async fn place(places: &Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit> {
    tokio::time::timeout(PLACE_DEADLINE, Arc::clone(places).acquire_many_owned(count))
        .await
        .map_err(|_elapsed| StoreError::Closed)?
        .map_err(|_closed| StoreError::Closed)
}

/// What the writing thread remembers of the file, so as not to ask at every record.
#[derive(Default)]
pub(super) struct Caches {}

/// The writing thread's own.
pub(super) struct Writer {
    conn: Connection,
    path: PathBuf,
    caches: Caches,
    counters: Arc<Counters>,
    /// Set once the file was found damaged: from then on nothing is written.
    damaged: Option<String>,
    /// Pages in the log that start the next checkpoint.
    checkpoint_at: u64,
}

/// Starts the thread.
pub(super) fn start(
    opened: Opened,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
) -> std::io::Result<JoinHandle<()>> {
    let Opened { conn, lock, path } = opened;
    let mut writer = Writer {
        conn,
        path,
        caches: Caches::default(),
        counters,
        damaged: None,
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

    pub(super) fn caches(&mut self) -> &mut Caches {
        &mut self.caches
    }

    fn check_usable(&self) -> Result<()> {
        match &self.damaged {
            None => Ok(()),
            Some(why) => Err(open::unusable(&self.path, why.clone())),
        }
    }

    /// A damaged file is not written again: the part that still works would hide the rest.
    fn note_damage(&mut self, error: Option<&StoreError>) {
        let Some(StoreError::Failed { source, .. }) = error else { return };
        let Some(rusqlite::Error::SqliteFailure(failure, _)) = source.downcast_ref() else {
            return;
        };
        if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) {
            tracing::error!(error = %source, "the database is damaged, nothing more is written");
            self.damaged = Some(format!("it is damaged: {source}"));
        }
    }

    fn watch_log(&mut self) {
        let counters = Arc::clone(&self.counters);
        let hook = move |_: &mut _, pages: i32| {
            counters.wal_pages.store(u64::try_from(pages).unwrap_or(0), Relaxed);
            Ok(())
        };
        if let Err(error) = self.conn.wal_hook(Some(hook)) {
            tracing::error!(%error, "cannot watch the write-ahead log");
        }
    }

    fn serve(&mut self, work: Work) -> bool {
        match work {
            Work::Control(change) => change(self),
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
        if self.damaged.is_some() {
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
                tracing::warn!(%error, "cannot checkpoint");
                self.note_damage(Some(&error));
            }
        }
    }

    fn end(mut self, lock: Lock) {
        self.checkpoint(CheckpointMode::TRUNCATE);
        let damaged = self.damaged.is_some();
        if let Err((_conn, error)) = self.conn.close() {
            tracing::warn!(%error, "cannot close the database cleanly");
            return;
        }
        if damaged {
            // The word in the lock file stays: the next start looks at every page.
            return;
        }
        if let Err(error) = lock.end_cleanly() {
            tracing::warn!(%error, "cannot note that the database was closed cleanly");
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
