use domain::sample::Span;
use rusqlite::params;

use crate::{
    SampleStore, Step,
    contract::{NOON_MS, School, cells, keep, upkeep},
    sqlite::{SqliteStore, blocks::DAY_MS, failed, tests::options},
};

/// Midnight (UTC) of the first day.
const START_MS: i64 = NOON_MS - NOON_MS % DAY_MS;
const DAYS: i64 = 3;
/// The place of the access port among the columns.
const ACCESS: usize = 4;

async fn store_with_days(path: &std::path::Path) -> (SqliteStore, School) {
    let store = SqliteStore::open(path, options()).unwrap();
    let school = School::new(&store, 1, 60).await.unwrap();
    let rounds = (0..DAYS * 1_440).map(|minute| {
        school.round(minute.unsigned_abs() + 1, START_MS + minute * 60_000, cells(minute))
    });
    keep(&store, rounds.collect()).await.unwrap();
    upkeep(&store, START_MS + (DAYS + 1) * DAY_MS).await.unwrap();
    (store, school)
}

async fn count(store: &SqliteStore, sql: &'static str) -> i64 {
    let all = move |conn: &rusqlite::Connection| {
        conn.query_row(sql, [], |row| row.get(0)).map_err(failed("count"))
    };
    store.read("count", all).await.unwrap()
}

const BLOCKS: &str = "SELECT count(*) FROM block_time";
const ACCESS_PARTS: &str = "SELECT count(*) FROM rollup_access";

#[tokio::test]
async fn a_stop_between_any_two_steps_loses_no_five_minutes_of_access_ports() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let (mut store, school) = store_with_days(&path).await;
    let span = Span { from_ms: START_MS, to_ms: START_MS + DAYS * DAY_MS };
    let port = school.series(ACCESS);
    let fresh = store.buckets(school.site, port, span, Step::FiveMinutes).await.unwrap();
    assert_eq!(fresh.len(), 3 * 288);
    assert_eq!(count(&store, ACCESS_PARTS).await, 0, "none while there are samples");
    // After a long stop all three days are due at once.
    let now_ms = START_MS + 30 * DAY_MS;
    let mut steps = 0;
    while store.maintain(now_ms).await.unwrap().worked() {
        store.close().await;
        store = SqliteStore::open(&path, options()).unwrap();
        let found = store.buckets(school.site, port, span, Step::FiveMinutes).await.unwrap();
        assert!(found == fresh, "after step {steps}");
        steps += 1;
        assert!(steps < 100, "upkeep never ends");
    }
    assert!(steps >= 3);
    assert_eq!((count(&store, BLOCKS).await, count(&store, ACCESS_PARTS).await), (0, DAYS));
}

#[tokio::test]
async fn a_day_whose_samples_are_damaged_is_told_and_deleted_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (store, school) = store_with_days(&dir.path().join("vigie.db")).await;
    let middle = START_MS / DAY_MS + 1;
    let hurt = store.write("hurt", move |tx| {
        tx.execute("UPDATE block SET part = x'ff' WHERE day = ?1", params![middle])
            .map_err(failed("hurt"))
    });
    hurt.await.unwrap();
    let report = upkeep(&store, START_MS + 30 * DAY_MS).await.unwrap();
    assert_eq!(report.access_days, 3);
    assert!(report.damaged >= 1);
    assert_eq!(count(&store, BLOCKS).await, 0);
    let span = Span { from_ms: START_MS, to_ms: START_MS + DAYS * DAY_MS };
    let hours = store.buckets(school.site, school.series(ACCESS), span, Step::Hour).await;
    assert_eq!(hours.unwrap().len(), 72, "what was rolled up before is kept");
}

#[tokio::test]
async fn none_are_made_when_samples_are_kept_as_long() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let (store, _) = store_with_days(&path).await;
    store.close().await;
    let mut options = options();
    options.retention.access_five_minute_days = options.retention.raw_days;
    let store = SqliteStore::open(&path, options).unwrap();
    let report = upkeep(&store, START_MS + 30 * DAY_MS).await.unwrap();
    assert_eq!(report.access_days, 0);
    assert_eq!((count(&store, BLOCKS).await, count(&store, ACCESS_PARTS).await), (0, 0));
}
