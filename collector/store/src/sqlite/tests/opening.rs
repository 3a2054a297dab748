//! What is opened, and what is refused and left as it is.

use std::fs;

use super::*;
use crate::FileCheck;

/// A closed database with a few thousand records, in a directory of its own.
struct Made {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

async fn fill(store: &SqliteStore) {
    store
        .write("fill", |tx| {
            for n in 0..3000 {
                let value = format!("{n:0200}");
                tx.execute("INSERT INTO alert_state VALUES (?1, ?2)", [&n.to_string(), &value])
                    .map_err(failed("fill"))?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

async fn count(store: &SqliteStore) -> i64 {
    store
        .read("count", |conn| {
            conn.query_row("SELECT count(*) FROM alert_state", [], |row| row.get(0))
                .map_err(failed("count"))
        })
        .await
        .unwrap()
}

async fn made() -> Made {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    fill(&store).await;
    store.close().await;
    Made { _dir: dir, path }
}

/// Changes the closed file with SQLite itself.
fn alter(path: &Path, sql: &str) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(sql).unwrap();
    let _mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    conn.close().unwrap();
}

/// The reason for which a file is refused. The file must not change by that, nor the next reason.
#[track_caller]
fn refusal(path: &Path) -> String {
    let before = fs::read(path).unwrap();
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let error = SqliteStore::open(path, options()).err().expect("refused");
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
        reasons.push(std::error::Error::source(&error).unwrap().to_string());
    }
    assert!(fs::read(path).unwrap() == before, "the refused file was changed");
    assert_eq!(reasons[0], reasons[1]);
    reasons.remove(0)
}

#[tokio::test]
async fn what_is_written_is_there_after_reopening() {
    let Made { _dir, path } = made().await;
    assert_eq!(files::length(&files::beside(&path, "-wal")).unwrap(), 0);
    assert_eq!(files::length(&files::beside(&path, ".lock")).unwrap(), 0);
    let store = SqliteStore::open(&path, options()).unwrap();
    assert_eq!(count(&store).await, 3000);
    let pragma = |name: &'static str| {
        let read = move |conn: &Connection| conn.pragma_query_value(None, name, |row| row.get(0));
        store.read("read a pragma", move |conn| read(conn).map_err(failed("read a pragma")))
    };
    let auto_vacuum: i64 = pragma("auto_vacuum").await.unwrap();
    let page_size: i64 = pragma("page_size").await.unwrap();
    assert_eq!((auto_vacuum, page_size), (2, i64::from(PAGE_BYTES)));
}

#[tokio::test]
async fn the_writing_connection_has_the_settings_that_make_a_commit_durable() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let settings = store
        .write("read the settings", |tx| {
            let names = [
                "synchronous",
                "wal_autocheckpoint",
                "mmap_size",
                "foreign_keys",
                "trusted_schema",
                "cell_size_check",
            ];
            names
                .into_iter()
                .map(|name| tx.pragma_query_value(None, name, |row| row.get(0)))
                .collect::<rusqlite::Result<Vec<i64>>>()
                .map_err(failed("read the settings"))
        })
        .await
        .unwrap();
    assert_eq!(settings, [2, 0, 0, 1, 0, 1]);
}

#[tokio::test]
async fn a_crash_keeps_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    fill(&store).await;
    // What a crash at this instant leaves on the disk.
    let after = tempfile::tempdir().unwrap();
    let crashed = after.path().join("vigie.db");
    for suffix in ["", "-wal", ".lock"] {
        fs::copy(files::beside(&path, suffix), files::beside(&crashed, suffix)).unwrap();
    }
    assert!(files::length(&files::beside(&crashed, "-wal")).unwrap() > 0);
    let reopened = SqliteStore::open(&crashed, options()).unwrap();
    assert_eq!(count(&reopened).await, 3000);
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let _store = SqliteStore::open(&path, options()).unwrap();
    assert_eq!(refusal(&path), "another process is using it");
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused() {
    let Made { _dir, path } = made().await;
    let whole = fs::read(&path).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, 4096, 100] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(refusal(&path), "it was cut short", "{length} bytes");
    }
    for length in [99, 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(refusal(&path), "it is too short to be a database");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    for garbage in [vec![0; 8192], vec![0xff; 8192], b"site,uai\n".repeat(1000)] {
        fs::write(&path, garbage).unwrap();
        assert_eq!(refusal(&path), "it is not an SQLite database");
    }
}

#[tokio::test]
async fn an_impossible_or_wrong_page_size_is_refused() {
    let Made { _dir, path } = made().await;
    let whole = fs::read(&path).unwrap();
    for size in [[0, 0], [3, 1]] {
        let mut changed = whole.clone();
        changed[16..18].copy_from_slice(&size);
        fs::write(&path, changed).unwrap();
        assert_eq!(refusal(&path), "its page size is impossible");
    }
    // Possible, but not this file's.
    for size in [[2, 0], [32, 0]] {
        let mut changed = whole.clone();
        changed[16..18].copy_from_slice(&size);
        fs::write(&path, changed).unwrap();
        let _reason = refusal(&path);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_advice() {
    let Made { _dir, path } = made().await;
    alter(&path, "PRAGMA user_version = 9999");
    assert!(refusal(&path).ends_with("upgrade it"));
    alter(&path, "PRAGMA user_version = -1");
    let _reason = refusal(&path);
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    alter(&path, "CREATE TABLE notes (text)");
    assert_eq!(refusal(&path), "it is another program's database");
}

#[tokio::test]
async fn a_schema_changed_by_hand_is_refused() {
    for sql in [
        "ALTER TABLE gap ADD COLUMN note TEXT",
        "DROP INDEX head_by_time",
        "CREATE TABLE extra (a)",
        "CREATE TRIGGER t AFTER INSERT ON gap BEGIN DELETE FROM head; END",
    ] {
        let Made { _dir, path } = made().await;
        alter(&path, sql);
        assert!(refusal(&path).starts_with("its schema was changed by other hands"), "{sql}");
    }
}

/// Damages a leaf of the table that was filled, which nothing at the start reads, and says that the
/// last use did not end cleanly.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let page = usize::try_from(PAGE_BYTES).unwrap();
    let leaf = (1..bytes.len() / page).rev().find(|n| bytes[n * page] == 0x0a).unwrap();
    bytes[leaf * page + 8..leaf * page + 40].fill(0xee);
    fs::write(path, bytes).unwrap();
    fs::write(files::beside(path, ".lock"), "in use\n").unwrap();
}

async fn checked(store: &SqliteStore) -> crate::StoreFigures {
    let done = async {
        loop {
            let figures = crate::SampleStore::figures(store).await.unwrap();
            if figures.check != FileCheck::Running {
                return figures;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), done).await.expect("checked")
}

#[tokio::test]
async fn after_an_unclean_stop_damage_is_found_beside_the_work_and_ends_all_writing() {
    let Made { _dir, path } = made().await;
    damage(&path);
    // It is not looked for at the start.
    let store = SqliteStore::open(&path, options()).unwrap();
    let figures = checked(&store).await;
    assert_eq!((figures.check, figures.damaged), (FileCheck::Damaged, true));
    assert!(figures.check_since_s > 1_700_000_000);
    let error = store.write("test", |_| Ok(())).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("it is damaged: "), "{cause}");
    let lane = crate::contract::samples(domain::id::AgentId([1; 16]), 1);
    let outcome =
        crate::IngestStore::commit(&store, vec![crate::contract::record(lane, 1, 1)]).await;
    assert!(matches!(outcome, Err(StoreError::Unusable { .. })), "{outcome:?}");
    // Readers go on.
    let sites = crate::SiteStore::sites(&store).await.unwrap();
    assert!(sites.is_empty());
    store.close().await;
    assert!(files::length(&files::beside(&path, ".lock")).unwrap() > 0, "it is checked again");
}

#[tokio::test]
async fn after_an_unclean_stop_a_sound_file_is_found_sound() {
    let Made { _dir, path } = made().await;
    let store = SqliteStore::open(&path, options()).unwrap();
    assert_eq!(checked(&store).await.check, FileCheck::NotNeeded);
    store.close().await;
    fs::write(files::beside(&path, ".lock"), "in use\n").unwrap();
    let store = SqliteStore::open(&path, options()).unwrap();
    let figures = checked(&store).await;
    assert_eq!((figures.check, figures.damaged), (FileCheck::Sound, false));
    fill_again(&store).await;
    store.close().await;
    assert_eq!(files::length(&files::beside(&path, ".lock")).unwrap(), 0, "it is closed cleanly");
}

async fn fill_again(store: &SqliteStore) {
    let sql = "INSERT INTO alert_state VALUES ('again', '')";
    store.write("fill", |tx| tx.execute(sql, []).map_err(failed("fill"))).await.unwrap();
}

#[tokio::test]
async fn a_log_without_its_database_is_not_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    fs::write(&path, b"").unwrap();
    fs::write(files::beside(&path, "-wal"), vec![1; 5000]).unwrap();
    assert_eq!(refusal(&path), "it is empty, but its write-ahead log is not");
    assert_eq!(fs::read(files::beside(&path, "-wal")).unwrap().len(), 5000);
}

#[tokio::test]
async fn the_log_of_another_database_is_refused_and_nothing_is_lost() {
    let Made { _dir, path } = made().await;
    let log = files::beside(&path, "-wal");
    // Logs as crashes leave them: of a database like this one, of another program, and of others.
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.db");
    let store = SqliteStore::open(&other, options()).unwrap();
    fill_again(&store).await;
    let like = fs::read(files::beside(&other, "-wal")).unwrap();
    let foreign = |page_bytes: u32| {
        let path = dir.path().join(format!("notes-{page_bytes}.db"));
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "page_size", page_bytes).unwrap();
        let _mode: String =
            conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
        conn.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('x')").unwrap();
        fs::read(files::beside(&path, "-wal")).unwrap()
    };
    let logs = [like, foreign(PAGE_BYTES), foreign(512), vec![0; 5000], vec![0xff; 5000]];
    for bytes in logs {
        assert!(!bytes.is_empty());
        fs::write(&log, &bytes).unwrap();
        let reason = refusal(&path);
        assert!(reason.contains("move the file ending in -wal away"), "{reason}");
        assert!(fs::read(&log).unwrap() == bytes, "the log is left as it is");
        fs::remove_file(&log).unwrap();
        let store = SqliteStore::open(&path, options()).unwrap();
        assert_eq!(count(&store).await, 3000);
        store.close().await;
    }
}

#[tokio::test]
async fn a_database_and_its_log_from_one_copy_are_read_without_their_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    fill(&store).await;
    let after = tempfile::tempdir().unwrap();
    let copy = after.path().join("vigie.db");
    for suffix in ["", "-wal"] {
        fs::copy(files::beside(&path, suffix), files::beside(&copy, suffix)).unwrap();
    }
    let reopened = SqliteStore::open(&copy, options()).unwrap();
    assert_eq!(count(&reopened).await, 3000);
    assert_eq!(checked(&reopened).await.check, FileCheck::Sound);
}

#[tokio::test]
async fn a_failed_change_leaves_nothing_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let outcome = store
        .write("fail", |tx| {
            tx.execute("INSERT INTO alert_state VALUES ('a', 'b')", []).map_err(failed("fail"))?;
            Err::<(), _>(StoreError::NotFound("it".to_owned()))
        })
        .await;
    assert!(matches!(outcome, Err(StoreError::NotFound(_))));
    assert_eq!(count(&store).await, 0);
    fill(&store).await;
    assert_eq!(count(&store).await, 3000);
}

#[tokio::test]
async fn damage_found_while_running_ends_all_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    let corrupt = || {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        failed("test")(rusqlite::Error::SqliteFailure(code, None))
    };
    let outcome: Result<()> = store.write("test", move |_| Err(corrupt())).await;
    assert!(matches!(outcome, Err(StoreError::Failed { .. })));
    let outcome = store.write("test", |_| Ok(())).await;
    assert!(matches!(outcome, Err(StoreError::Unusable { .. })), "{outcome:?}");
    let record =
        crate::contract::record(crate::contract::samples(domain::id::AgentId([1; 16]), 1), 1, 1);
    let outcome = crate::IngestStore::commit(&store, vec![record]).await;
    assert!(matches!(outcome, Err(StoreError::Unusable { .. })), "{outcome:?}");
    drop(store);
    // The next start has every page looked at, and nothing wrong is found with this one.
    assert!(files::length(&files::beside(&path, ".lock")).unwrap() > 0);
    let store = SqliteStore::open(&path, options()).unwrap();
    assert_eq!(checked(&store).await.check, FileCheck::Sound);
}

#[tokio::test]
async fn a_panic_of_the_writing_thread_fails_its_callers_and_no_more_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    store.break_writer().await;
    assert!(matches!(store.write("test", |_| Ok(())).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn the_log_is_emptied_when_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    fill(&store).await;
    let log = files::beside(&path, "-wal");
    assert!(files::length(&log).unwrap() > 0);
    let emptied = async {
        while files::length(&log).unwrap() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), emptied).await.expect("emptied");
    assert_eq!(count(&store).await, 3000);
}

#[tokio::test]
async fn a_long_log_is_copied_into_the_file_while_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    for n in 0..20 {
        store
            .write("fill", move |tx| {
                let key = format!("blob {n}");
                tx.execute("INSERT INTO alert_state VALUES (?1, hex(zeroblob(2500000)))", [key])
                    .map_err(failed("fill"))?;
                Ok(())
            })
            .await
            .unwrap();
    }
    // 100 MB were written; the log stayed near its 64 MiB.
    assert!(files::length(&files::beside(&path, "-wal")).unwrap() < 80 << 20);
    assert!(files::length(&path).unwrap() > 60 << 20);
    assert_eq!(count(&store).await, 20);
}

#[tokio::test]
async fn a_start_waits_for_whoever_holds_the_file_but_not_for_ever() {
    let made = made().await;
    let other = Connection::open(&made.path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let started = std::time::Instant::now();
    let refused = SqliteStore::open(&made.path, options()).err().expect("it is held").to_string();
    assert!(started.elapsed() >= super::super::open::OTHERS, "it did not wait: {refused}");
    drop(other);
    let store = SqliteStore::open(&made.path, options()).unwrap();
    assert_eq!(count(&store).await, 3_000);
    store.close().await;
}
