//! A database as this version writes it: a change of its format does not pass unseen.
//!
//! In the file are a day that was compacted (column blocks, rollups) and twenty rounds of the next
//! day in the head. Where the format is changed on purpose before it is released,
//! `VIGIE_GOLDEN=write cargo test -p store --lib golden` makes the file anew. Once it is released the
//! file stays: a migration must bring it to the answers below, and the new schema gets a file of its
//! own beside it.

use std::{env, fs, path::Path};

use super::*;
use crate::{
    SampleStore as _, ServerTime,
    contract::{School, all_answers, cells, keep, upkeep},
};

/// Midnight (UTC) of the first day.
const MIDNIGHT_MS: i64 = crate::contract::NOON_MS - 8 * 3_600_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;
/// Largest database that a test unpacks.
const MAX_BYTES: usize = 16 << 20;

/// What the tables are.
fn schema(path: &Path) -> Vec<String> {
    let conn = Connection::open(path).unwrap();
    let sql = "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY type, name";
    let mut found = conn.prepare(sql).unwrap();
    let rows = found.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

async fn school(store: &SqliteStore) -> School {
    let school = School::new(store, 1, 60).await.unwrap();
    let mut records: Vec<_> = (0..1_460)
        .map(|minute| {
            let t_ms = MIDNIGHT_MS + minute * MINUTE_MS + minute * 13 % 20;
            school.round(minute.unsigned_abs() + 1, t_ms, cells(minute))
        })
        .collect();
    records[300].time = ServerTime::Unsure(records[300].time.ms());
    keep(store, records).await.unwrap();
    school
}

#[tokio::test]
async fn a_database_of_the_first_version_gives_the_answers_that_it_gave() {
    let dir = tempfile::tempdir().unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/sqlite/tests/golden/v1.db.zst");
    if env::var("VIGIE_GOLDEN").is_ok_and(|word| word == "write") {
        let made = dir.path().join("made.db");
        let store = SqliteStore::open(&made, options()).unwrap();
        school(&store).await;
        upkeep(&store, MIDNIGHT_MS + DAY_MS + 2 * 3_600_000).await.unwrap();
        store.close().await;
        let bytes = fs::read(&made).unwrap();
        fs::write(&path, zstd::bulk::compress(&bytes, 19).unwrap()).unwrap();
    }
    let kept = dir.path().join("vigie.db");
    let bytes = zstd::bulk::decompress(&fs::read(&path).unwrap(), MAX_BYTES).unwrap();
    fs::write(&kept, bytes).unwrap();
    let before = schema(&kept);
    let golden = SqliteStore::open(&kept, options()).unwrap();
    // The same records in a database of today, where nothing was moved.
    let fresh = SqliteStore::open(&dir.path().join("fresh.db"), options()).unwrap();
    let school = school(&fresh).await;
    for (from_ms, to_ms) in [(0, DAY_MS), (DAY_MS, 2 * DAY_MS)] {
        let span =
            domain::sample::Span { from_ms: MIDNIGHT_MS + from_ms, to_ms: MIDNIGHT_MS + to_ms };
        let expected = all_answers(&fresh, &school, span).await.unwrap();
        all_answers(&golden, &school, span).await.unwrap().expect(&expected);
    }
    let figures = golden.figures().await.unwrap();
    assert_eq!(figures.head_records, 20, "the second day is in the head, the first in blocks");
    for store in [golden, fresh] {
        store.close().await;
    }
    // Looked at before a store opened the kept one, which would have brought it up to date.
    assert_eq!(before, schema(&dir.path().join("fresh.db")), "the tables have changed");
}
