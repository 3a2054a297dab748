//! Opening the file: what is refused, what is set, migrations.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    PAGE_BYTES,
    files::{self, Lock},
};
use crate::{Result, StoreError};

/// Lowest SQLite that may open the file: 3.7.0 to 3.51.2 can corrupt a WAL at its reset.
const MIN_SQLITE: i32 = 3_051_003;
/// "Vgie": what `PRAGMA application_id` of our files says.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Vgie");
/// Page cache of the writer, KiB: the leaves that 500 sites are appending to.
const WRITER_CACHE_KIB: i64 = 24 << 10;
/// How long a start waits for others that use the file: one who reads it right after an unclean stop
/// holds it alone while SQLite recovers the log.
pub(super) const OTHERS: Duration = Duration::from_secs(5);

/// Migrations, oldest first; the file's `user_version` counts those it has had. Append only.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_samples.sql"),
    include_str!("../../migrations/sqlite/0003_ladder.sql"),
    include_str!("../../migrations/sqlite/0004_retention.sql"),
    include_str!("../../migrations/sqlite/0005_epochs.sql"),
    include_str!("../../migrations/sqlite/0006_access.sql"),
    include_str!("../../migrations/sqlite/0007_outbox.sql"),
    include_str!("../../migrations/sqlite/0008_withdrawn.sql"),
    include_str!("../../migrations/sqlite/0009_device.sql"),
    include_str!("../../migrations/sqlite/0012_mesh.sql"),
    include_str!("../../migrations/sqlite/0013_inventory.sql"),
];

/// An opened file: what the writing thread owns.
pub(super) struct Opened {
    pub(super) conn: Connection,
    pub(super) lock: Lock,
    pub(super) path: PathBuf,
    /// The last use did not end cleanly: the pages are to be checked.
    pub(super) unclean: bool,
}

/// The error for a file that can not be used.
pub(super) fn unusable(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Unusable { path: path.display().to_string(), source: source.into() }
}

/// Why a log is not read that stands beside a database without one.
const FOREIGN_LOG: &str = "it was closed with an empty write-ahead log, but a log stands beside it: \
    move the file ending in -wal away; if both are of one copy, remove the file ending in .lock";

/// Opens or makes the database.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let version = rusqlite::version_number();
    if version < MIN_SQLITE {
        return Err(unusable(path, format!("SQLite {version} is older than {MIN_SQLITE}")));
    }
    let lock = Lock::take(path)?;
    let was_unclean = lock.unclean;
    let leftover = files::length(&files::beside(path, "-wal"));
    let opened = leftover.map_err(|e| unusable(path, e)).and_then(|bytes| {
        // SQLite would take the log of another database of ours for this one's.
        if bytes > 0 && lock.ended && files::inspect(path)? {
            return Err(unusable(path, FOREIGN_LOG));
        }
        Ok((bytes > 0, prepare(path)?))
    });
    match opened {
        Ok((leftover, conn)) => {
            Ok(Opened { conn, lock, path: path.to_owned(), unclean: was_unclean || leftover })
        }
        Err(error) => {
            lock.abandon();
            Err(error)
        }
    }
}

fn prepare(path: &Path) -> Result<Connection> {
    let fail = |source: rusqlite::Error| unusable(path, source);
    let exists = files::inspect(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(fail)?;
    // Until the file is known to be ours nothing is written, not even what its log holds.
    let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    conn.set_db_config(keep_log, true).map_err(fail)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(fail)?;
    conn.busy_timeout(OTHERS).map_err(fail)?;
    conn.pragma_update(None, "cell_size_check", true).map_err(fail)?;
    conn.pragma_update(None, "trusted_schema", false).map_err(fail)?;
    conn.pragma_update(None, "mmap_size", 0).map_err(fail)?;

    if exists {
        check_ours(&conn, path)?;
    } else {
        conn.pragma_update(None, "page_size", PAGE_BYTES).map_err(fail)?;
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
    }
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(fail)?;
    if mode != "wal" {
        return Err(unusable(path, "its file system does not allow write-ahead logging"));
    }
    conn.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0).map_err(fail)?;
    conn.pragma_update(None, "foreign_keys", true).map_err(fail)?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(fail)?;
    conn.pragma_update(None, "temp_store", "MEMORY").map_err(fail)?;
    conn.set_prepared_statement_cache_capacity(128);
    let before = user_version(&conn).map_err(fail)?;
    migrate(&mut conn).map_err(fail)?;
    if exists && before < MIGRATIONS.len() {
        tracing::info!(from = before, to = MIGRATIONS.len(), "migrated the database");
    }
    check_schema(&conn, path)?;
    conn.set_db_config(keep_log, false).map_err(fail)?;
    // From here on there is no other writer, and a checkpoint that finds a reader comes later.
    conn.busy_timeout(Duration::ZERO).map_err(fail)?;
    Ok(conn)
}

/// Migrations that the file has had.
fn user_version(conn: &Connection) -> rusqlite::Result<usize> {
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Refuses another program's file and one of a newer version of ours.
fn check_ours(conn: &Connection, path: &Path) -> Result<()> {
    let fail = |source: rusqlite::Error| unusable(path, source);
    let application: i32 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    // A file without any table is one whose first migration was cut off by a crash.
    if application != APPLICATION_ID && tables > 0 {
        return Err(unusable(path, "it is another program's database"));
    }
    let version = user_version(conn).map_err(fail)?;
    if version > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        return Err(unusable(
            path,
            format!(
                "its schema is version {version}, this program knows up to {known}: upgrade it"
            ),
        ));
    }
    Ok(())
}

/// Runs the migrations that the file has not had, each in one transaction.
fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    let done = user_version(conn)?;
    for (version, sql) in (1_u32..).zip(MIGRATIONS).skip(done) {
        let tx = conn.transaction()?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}

/// Refuses a schema that is not exactly what the migrations make: a table changed by hand would
/// fail later, in the middle of a commit.
fn check_schema(conn: &Connection, path: &Path) -> Result<()> {
    let fail = |source: rusqlite::Error| unusable(path, source);
    let mut fresh = Connection::open_in_memory().map_err(fail)?;
    migrate(&mut fresh).map_err(fail)?;
    let (expected, found) = (schema(&fresh).map_err(fail)?, schema(conn).map_err(fail)?);
    let odd = expected
        .iter()
        .find(|item| !found.contains(item))
        .or_else(|| found.iter().find(|item| !expected.contains(item)));
    match odd {
        None => Ok(()),
        Some((name, _)) => {
            Err(unusable(path, format!("its schema was changed by other hands: {name:?}")))
        }
    }
}

fn schema(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    conn.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name",
    )?
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}
