use proptest::prelude::*;
use rusqlite::types::Value;

use super::*;
use crate::{
    SampleStore,
    contract::{School, cells, keep, upkeep},
    sqlite::tests::options,
};

/// 2026-03-02, 20:00 UTC.
const EVENING_MS: i64 = 1_772_481_600_000;

/// Everything that compaction leaves behind, but for the time at which it was done.
async fn left(store: &SqliteStore) -> Vec<Vec<Value>> {
    let all = |conn: &Connection| {
        let mut left = Vec::new();
        for sql in [
            "SELECT site, grp, day, before, after, times, fine FROM block_time ORDER BY 1, 2, 3",
            "SELECT site, grp, day, first, part FROM block ORDER BY 1, 2, 3, 4",
            "SELECT site, grp, day, first, part FROM rollup_fine ORDER BY 1, 2, 3, 4",
            "SELECT site, grp, day, first, part FROM rollup_access ORDER BY 1, 2, 3, 4",
            "SELECT site, grp, day, buckets, classes FROM rollup_hour ORDER BY 1, 2, 3",
            "SELECT site, grp, day, buckets, classes FROM rollup_day ORDER BY 1, 2, 3",
        ] {
            let mut find = conn.prepare(sql).map_err(failed("dump"))?;
            let columns = find.column_count();
            let rows = find
                .query_map([], |row| (0..columns).map(|i| row.get(i)).collect())
                .and_then(Iterator::collect::<rusqlite::Result<Vec<Vec<Value>>>>)
                .map_err(failed("dump"))?;
            left.extend(rows);
        }
        Ok(left)
    };
    store.read("dump", all).await.unwrap()
}

/// Sends rounds (by their minute after 20:00) in some batches, with upkeep after each, and returns
/// what is left.
async fn after(batches: &[Vec<i64>]) -> Vec<Vec<Value>> {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let school = School::new(&store, 1, 60).await.unwrap();
    let mut now_ms = EVENING_MS + 40 * 3_600_000;
    for batch in batches {
        let rounds = batch.iter().map(|&minute| {
            let mut cells = cells(minute);
            // A restart in the first minutes of the new day.
            if minute >= 243 {
                cells[1] = Some(minute);
            }
            let t_ms = EVENING_MS + minute * 60_000 + minute * 7 % 20;
            school.round(minute.unsigned_abs() + 1, t_ms, cells)
        });
        keep(&store, rounds.collect()).await.unwrap();
        now_ms += REWRITE_PAUSE_MS;
        let report = upkeep(&store, now_ms).await.unwrap();
        assert_eq!(report.damaged, 0);
    }
    assert_eq!(store.figures().await.unwrap().head_records, 0);
    left(&store).await
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn blocks_and_rollups_do_not_depend_on_the_order_in_which_records_came(
        minutes in prop::collection::btree_set(
            prop_oneof![3 => 225..255_i64, 1 => 0..480_i64], 1..60),
        seed in any::<u64>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let in_order: Vec<i64> = minutes.into_iter().collect();
        let mut shuffled = in_order.clone();
        shuffled.sort_by_key(|minute| {
            (minute.unsigned_abs() ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
        });
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(shuffled.len())).collect();
        cuts.extend([0, shuffled.len()]);
        cuts.sort_unstable();
        let batches: Vec<_> = cuts.windows(2).map(|w| shuffled[w[0]..w[1]].to_vec()).collect();
        prop_assert_eq!(run(after(&batches)), run(after(&[in_order])));
    }
}

#[test]
fn a_record_that_does_not_decode_is_put_aside_and_stops_nothing() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
        let school = School::new(&store, 1, 60).await.unwrap();
        let mut rounds: Vec<_> = (0..10)
            .map(|minute| {
                let t_ms = EVENING_MS + minute * 60_000;
                school.round(minute.unsigned_abs() + 1, t_ms, cells(minute))
            })
            .collect();
        rounds[4].payload.truncate(20);
        keep(&store, rounds).await.unwrap();
        let report = upkeep(&store, EVENING_MS + 24 * 3_600_000).await.unwrap();
        assert_eq!((report.blocks, report.head_rows, report.damaged), (1, 10, 0));
        let (reason, seq): (String, i64) = store
            .read("look", |conn| {
                conn.query_row("SELECT reason, seq FROM rejected_record", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .map_err(failed("look"))
            })
            .await
            .unwrap();
        assert_eq!((reason.as_str(), seq), ("the stored payload does not decode", 5));
    });
}

#[test]
fn a_damaged_block_is_left_as_it_is_and_told_and_others_are_made() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
        let hurt = School::new(&store, 1, 60).await.unwrap();
        let well = School::new(&store, 2, 60).await.unwrap();
        let now_ms = EVENING_MS + 24 * 3_600_000;
        keep(&store, vec![hurt.round(1, EVENING_MS, cells(0))]).await.unwrap();
        upkeep(&store, now_ms).await.unwrap();
        store
            .write("hurt", |tx| {
                tx.execute("UPDATE block_time SET times = x'ff'", []).map_err(failed("hurt"))
            })
            .await
            .unwrap();
        keep(&store, vec![hurt.round(2, EVENING_MS + 60_000, cells(1))]).await.unwrap();
        keep(&store, vec![well.round(1, EVENING_MS, cells(0))]).await.unwrap();
        let report = store.maintain(now_ms + REWRITE_PAUSE_MS).await.unwrap();
        assert_eq!((report.blocks, report.damaged), (1, 1));
        assert_eq!(store.figures().await.unwrap().head_records, 1);
    });
}
