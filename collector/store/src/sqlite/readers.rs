//! Connections that only read.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::failed;
use crate::{Result, StoreError};

/// Longest question: a reader keeps the write-ahead log from being reused.
pub(crate) const QUERY_LIMIT: Duration = Duration::from_secs(30);
/// Questions at a time; more wait, at most [`QUERY_LIMIT`].
const MAX_READERS: usize = 4;
/// Page cache of one reader, KiB.
const READER_CACHE_KIB: i64 = 4096;
/// Virtual-machine steps between two looks at the clock.
const STEPS_PER_LOOK: i32 = 20_000;

/// A connection that only reads.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// The pool.
pub(super) struct Readers {
    path: PathBuf,
    started: Instant,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
    closed: AtomicBool,
}

struct Reader {
    conn: Connection,
    /// When the running question must end, milliseconds since the pool was made.
    deadline_ms: Arc<AtomicU64>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            started: Instant::now(),
            permits: Arc::new(Semaphore::new(MAX_READERS)),
            idle: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        }
    }

    /// Closes the idle connections, and the others once their question is answered.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) async fn run<T, F>(pool: &Arc<Self>, action: &'static str, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permits = Arc::clone(&pool.permits);
        let permit = tokio::time::timeout(QUERY_LIMIT, permits.acquire_owned())
            .await
            .map_err(|_elapsed| StoreError::Closed)?
            .map_err(|_closed| StoreError::Closed)?;
        let pool = Arc::clone(pool);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut reader = pool.take().map_err(failed(action))?;
            reader.deadline_ms.store(pool.ms_until(QUERY_LIMIT), Relaxed);
            // One snapshot for all statements of the question; dropping it ends it.
            let snapshot = reader.conn.transaction().map_err(failed(action))?;
            let answer = question(&snapshot);
            drop(snapshot);
            pool.put_back(reader);
            answer
        });
        task.await.map_err(|panicked| StoreError::Failed { action, source: Box::new(panicked) })?
    }

    /// The instant `left` from now, in the unit of [`Reader::deadline_ms`].
    fn ms_until(&self, left: Duration) -> u64 {
        u64::try_from((self.started.elapsed() + left).as_millis()).unwrap_or(u64::MAX)
    }

    fn take(&self) -> rusqlite::Result<Reader> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(reader) = idle {
            return Ok(reader);
        }
        let mut conn = open(&self.path)?;
        let deadline_ms = Arc::new(AtomicU64::new(u64::MAX));
        let (deadline, started) = (Arc::clone(&deadline_ms), self.started);
        conn.progress_handler(
            STEPS_PER_LOOK,
            Some(move || started.elapsed().as_millis() > u128::from(deadline.load(Relaxed))),
        )?;
        Ok(Reader { conn, deadline_ms })
    }

    fn put_back(&self, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.closed.load(Relaxed) {
            idle.push(reader);
        }
    }
}
