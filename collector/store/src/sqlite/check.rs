//! The check of the whole file after an unclean stop, beside the work.
//!
//! It reads every page, about a second per gigabyte and so a minute at 50 GB: far too long to wait
//! for. It has a thread and a connection of its own, rests as long as it works, and lets its
//! snapshot go when that makes the write-ahead log too long. What it finds wrong ends all writing,
//! as damage that a statement meets does.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use domain::chain::chain;
use rusqlite::{Connection, ErrorCode};

use super::{PAGE_BYTES, readers, writer::Counters};
use crate::FileCheck;

/// Work at a stretch; as long a rest follows.
const STRETCH: Duration = Duration::from_millis(20);
/// Steps of the check between two looks at the clock: some hundred microseconds.
const STEPS_PER_LOOK: i32 = 1_000;
/// Pages that the write-ahead log may grow by while the check holds it back: 256 MiB, four times
/// what starts a checkpoint.
const MAX_LOG_PAGES: u64 = (256 << 20) / PAGE_BYTES as u64;
/// Tries, when the log became too long before the end.
const MAX_TRIES: u32 = 3;
/// Pause between them: the log is emptied, and what filled it may be over.
const AGAIN: Duration = Duration::from_mins(10);
/// What ended a try early.
const STOPPED: u8 = 1;
/// See [`STOPPED`].
const LET_GO: u8 = 2;

/// What is known of the file's soundness, shared by all threads of the store.
#[derive(Debug)]
pub(super) struct Soundness {
    check: Mutex<(FileCheck, u64)>,
    damage: OnceLock<String>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

impl Soundness {
    /// Of a file that must be checked, or need not.
    pub(super) fn new(unclean: bool) -> Self {
        let check = if unclean { FileCheck::Running } else { FileCheck::NotNeeded };
        Self {
            check: Mutex::new((check, unix_seconds())),
            damage: OnceLock::new(),
            stop: Mutex::new(false),
            stopped: Condvar::new(),
        }
    }

    /// Why nothing may be written any more.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Ends all writing for good.
    pub(super) fn found_damage(&self, why: &str) {
        tracing::error!(error = why, "the database is damaged, nothing more is written");
        // The first reason stands.
        let _later = self.damage.set(format!("it is damaged: {why}"));
    }

    /// How the check stands, and since when, Unix seconds.
    pub(super) fn check(&self) -> (FileCheck, u64) {
        *lock(&self.check)
    }

    /// Whether the next start may do without a check.
    pub(super) fn is_trusted(&self) -> bool {
        self.damage().is_none() && matches!(self.check().0, FileCheck::NotNeeded | FileCheck::Sound)
    }

    /// Ends the check where it stands.
    pub(super) fn stop(&self) {
        *lock(&self.stop) = true;
        self.stopped.notify_all();
    }

    /// Waits, or until the check must end: then true.
    fn rest(&self, pause: Duration) -> bool {
        let stop = lock(&self.stop);
        let waited = self.stopped.wait_timeout_while(stop, pause, |stop| !*stop);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn stands(&self, check: FileCheck) {
        *lock(&self.check) = (check, unix_seconds());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, by the system's clock.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Starts the thread.
pub(super) fn start(
    path: PathBuf,
    soundness: Arc<Soundness>,
    counters: Arc<Counters>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("store-check".to_owned())
        .spawn(move || run(&path, &soundness, &counters))
}

/// How one try ended.
enum Try {
    Sound,
    Damaged(String),
    /// The log became too long.
    LetGo,
    Stopped,
}

fn run(path: &Path, soundness: &Arc<Soundness>, counters: &Arc<Counters>) {
    tracing::info!("the database was not closed cleanly, it is checked beside the work");
    let started = Instant::now();
    for _ in 0..MAX_TRIES {
        match look(path, soundness, counters, MAX_LOG_PAGES) {
            Ok(Try::Sound) => {
                tracing::info!(elapsed_s = started.elapsed().as_secs(), "the database is sound");
                soundness.stands(FileCheck::Sound);
                return;
            }
            Ok(Try::Damaged(why)) => {
                soundness.found_damage(&why);
                soundness.stands(FileCheck::Damaged);
                return;
            }
            Ok(Try::LetGo) => {
                tracing::warn!("the check of the database held up the write-ahead log, it pauses");
            }
            Ok(Try::Stopped) => return,
            Err(error) => {
                tracing::error!(error = chain(&error), "the check of the database failed");
                break;
            }
        }
        if soundness.rest(AGAIN) {
            return;
        }
    }
    tracing::warn!("the database was not checked to the end, the next start does it");
    soundness.stands(FileCheck::Unfinished);
}

/// Looks at every page of one snapshot.
fn look(
    path: &Path,
    soundness: &Arc<Soundness>,
    counters: &Arc<Counters>,
    max_log_pages: u64,
) -> rusqlite::Result<Try> {
    let mut conn = readers::open(path)?;
    let before = counters.wal_pages.load(Relaxed);
    let ended = Arc::new(AtomicU8::new(0));
    let pace = {
        let (soundness, counters, ended) =
            (Arc::clone(soundness), Arc::clone(counters), Arc::clone(&ended));
        let mut since = Instant::now();
        move || {
            let worked = since.elapsed();
            if worked < STRETCH {
                return false;
            }
            let stopped = soundness.rest(worked);
            since = Instant::now();
            let grown = counters.wal_pages.load(Relaxed).saturating_sub(before);
            if stopped {
                ended.store(STOPPED, Relaxed);
            } else if grown > max_log_pages {
                ended.store(LET_GO, Relaxed);
            }
            ended.load(Relaxed) != 0
        }
    };
    conn.progress_handler(STEPS_PER_LOOK, Some(pace))?;
    let verdict = verdict(&conn);
    // An interrupted check may report its interruption as a finding.
    match (ended.load(Relaxed), verdict) {
        (STOPPED, _) => Ok(Try::Stopped),
        (LET_GO, _) => Ok(Try::LetGo),
        (_, Ok(verdict)) if verdict == "ok" => Ok(Try::Sound),
        (_, Ok(verdict)) => Ok(Try::Damaged(verdict)),
        (_, Err(error)) if is_damage(&error) => Ok(Try::Damaged(error.to_string())),
        (_, Err(error)) => Err(error),
    }
}

fn verdict(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

/// Whether an error tells that the file itself is wrong.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{SqliteStore, tests::options};

    /// A database whose check takes a while, and what a check of it is given.
    async fn made() -> (tempfile::TempDir, PathBuf, Arc<Soundness>, Arc<Counters>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vigie.db");
        let store = SqliteStore::open(&path, options()).unwrap();
        let filled = store.write("fill", |tx| {
            tx.execute(
                "INSERT INTO alert_state
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 400000)
                 SELECT n, hex(randomblob(30)) FROM n",
                [],
            )
            .map_err(crate::sqlite::failed("fill"))
        });
        filled.await.unwrap();
        store.close().await;
        (dir, path, Arc::new(Soundness::new(true)), Arc::default())
    }

    #[tokio::test]
    async fn a_check_that_makes_the_log_too_long_lets_it_go() {
        let (_dir, path, soundness, counters) = made().await;
        // What commits would do.
        let writing = {
            let (counters, stop) = (Arc::clone(&counters), Arc::clone(&soundness));
            std::thread::spawn(move || {
                while !stop.rest(Duration::from_millis(1)) {
                    counters.wal_pages.fetch_add(1, Relaxed);
                }
            })
        };
        let outcome = look(&path, &soundness, &counters, 1).unwrap();
        assert!(matches!(outcome, Try::LetGo));
        soundness.stop();
        writing.join().unwrap();
    }

    #[tokio::test]
    async fn a_check_ends_when_the_store_does_and_leaves_its_word() {
        let (_dir, path, soundness, counters) = made().await;
        soundness.stop();
        assert!(matches!(look(&path, &soundness, &counters, u64::MAX), Ok(Try::Stopped)));
        run(&path, &soundness, &counters);
        assert_eq!(soundness.check().0, FileCheck::Running);
        assert!(!soundness.is_trusted(), "the next start must check again");
    }
}
