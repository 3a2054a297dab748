//! The embedded backend: one SQLite file, one writing thread, a few readers.
//!
//! The writing thread owns the only connection that writes and is the only one that checkpoints
//! (SQLite's WAL-reset defect needs two). Everything that must change together (records, what was
//! seen of them, watermarks) is in the one file, because SQLite commits across files are not atomic.
//!
//! [`SqliteStore::read`] and [`SqliteStore::write`] are how the parts of this backend reach the
//! database: a closure with a snapshot, or with a transaction on the writing thread.

mod agents;
mod batch;
mod blocks;
mod check;
mod compact;
mod epochs;
mod files;
mod gaps;
mod incidents;
mod ingest;
mod inventory;
mod lanes;
mod mesh;
mod open;
mod outbox;
mod read;
mod readers;
mod retention;
mod rollup;
mod rows;
mod seen;
mod sites;
mod targets;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
};

use rusqlite::{Connection, Transaction};

use crate::{Result, SampleOptions, StoreError};
use batch::Known;
use check::Soundness;
use read::Shelf;
use readers::Readers;
use writer::Queue;

pub(crate) use writer::Counters;

/// Pages of a new file, bytes. A record of 200 samples is about 1 KB and stays within its leaf.
/// Pages of 8 KiB cost as much processor time (bench `ingest`: 50 and 46 µs a record of 500 agents)
/// and twice the bytes written, since each record of another agent dirties a leaf of its own.
pub const PAGE_BYTES: u32 = 4096;

/// The store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    counters: Arc<Counters>,
    shelf: Arc<Shelf>,
    soundness: Arc<Soundness>,
    writer: Option<JoinHandle<()>>,
    check: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the file, or makes it; its directory must exist. Runs what migrations are missing.
    ///
    /// Blocks for milliseconds, however large the file is. When the last use did not end cleanly its
    /// pages are checked beside the work; what is wrong with them ends all writing.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the file is plainly damaged, of another program, of a newer
    /// version, in use by another process, or can not be read or written. The file is then left as it
    /// is.
    pub fn open(path: &Path, samples: SampleOptions) -> Result<Self> {
        let opened = open::open(path)?;
        let unclean = opened.unclean;
        let soundness = Arc::new(Soundness::new(unclean));
        let counters = Arc::new(Counters::default());
        let queue = Arc::new(Queue::new(Arc::clone(&counters)));
        let (written, sound) = (Arc::clone(&counters), Arc::clone(&soundness));
        let writer = writer::start(opened, Arc::clone(&queue), written, sound)
            .map_err(|source| open::unusable(path, source))?;
        let readers = Arc::new(Readers::new(path.to_owned()));
        let mut store = Self {
            path: path.to_owned(),
            queue,
            readers,
            counters,
            shelf: Arc::new(Shelf::new(samples)),
            soundness,
            writer: Some(writer),
            check: None,
        };
        if unclean {
            let (counters, sound) = (Arc::clone(&store.counters), Arc::clone(&store.soundness));
            let check = check::start(path.to_owned(), sound, counters)
                .map_err(|source| open::unusable(path, source))?;
            store.check = Some(check);
        }
        Ok(store)
    }

    /// Finishes what is queued, empties the write-ahead log and closes the file. Dropping the store
    /// does the same.
    pub async fn close(self) {
        // Joining the thread blocks for as long as its last commits take.
        if tokio::task::spawn_blocking(move || drop(self)).await.is_err() {
            tracing::error!("closing the store failed");
        }
    }

    /// Ends the writing thread by a panic, as a fault of the program would.
    ///
    /// # Panics
    /// That thread; the caller only when it went on.
    #[cfg(any(test, feature = "faults"))]
    pub async fn break_writer(&self) {
        let outcome: Result<()> = self.write("break", |_| panic!("on purpose")).await;
        assert!(matches!(outcome, Err(StoreError::Closed)), "{outcome:?}");
    }

    /// Path of the database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What reading and compacting samples share.
    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// What is known of the file's soundness.
    fn soundness(&self) -> &Soundness {
        &self.soundness
    }

    /// Counts of the writing thread, for the metrics page.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Frames now in the write-ahead log, in bytes.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.counters.wal_pages.load(Relaxed) * u64::from(PAGE_BYTES)
    }

    /// Runs a question on a snapshot of the database, on a blocking thread, for at most
    /// [`readers::QUERY_LIMIT`]. `action` completes "cannot … in the database".
    pub(crate) async fn read<T, F>(&self, action: &'static str, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        Readers::run(&self.readers, action, question).await
    }

    /// Runs one transaction on the writing thread, ahead of waiting ingest batches; it is committed
    /// (fsync included) when this returns `Ok`, and undone when `change` fails. Keep it to some ten
    /// milliseconds: no record is committed meanwhile.
    pub(crate) async fn write<T, F>(&self, action: &'static str, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.write_then(action, change, |_, _| ()).await
    }

    /// As [`Self::write`]; `after` then brings the writing thread's caches up to date, before any
    /// record is looked at again.
    async fn write_then<T, F, A>(&self, action: &'static str, change: F, after: A) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
        A: FnOnce(&mut Known, &T) + Send + 'static,
    {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.queue
            .control(Box::new(move |writer| {
                let outcome = writer.transact(action, change);
                if let Ok(value) = &outcome {
                    after(writer.known(), value);
                }
                // A caller that went away needs no answer; what it asked for is done.
                let _gone = reply.send(outcome);
            }))
            .await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // First: while it reads, the log can not be emptied.
        self.soundness.stop();
        if let Some(check) = self.check.take()
            && check.join().is_err()
        {
            tracing::error!("the check of the database ended by a panic");
        }
        self.queue.close();
        self.readers.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writing thread ended by a panic");
        }
    }
}

/// Turns a failure of SQLite into the store's error; `action` completes "cannot … in the database".
pub(crate) fn failed(action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Failed { action, source: Box::new(source) }
}

#[cfg(test)]
mod tests;
