//! Agents that begin one epoch after the other.

use super::*;
use crate::{
    AgentStore as _, Disposition, IncomingRecord, IngestStore as _, LaneKey, SeqRange,
    contract::{at, commit, enrol, record, samples, site_with_agent},
    sqlite::epochs::MAX_EPOCHS,
};

/// Long after any retention.
const YEAR_2100_MS: i64 = 4_102_444_800_000;
/// Epochs beyond those that stay open.
const MORE: u64 = 40;

fn open_epochs() -> u64 {
    MAX_EPOCHS.unsigned_abs()
}

async fn number(store: &SqliteStore, sql: &'static str) -> i64 {
    store
        .read("count", move |conn| {
            conn.query_row(sql, [], |row| row.get(0)).map_err(failed("count"))
        })
        .await
        .unwrap()
}

/// The records of one short life: numbers 1, 2 and 4.
fn life(lane: LaneKey) -> Vec<IncomingRecord> {
    [1, 2, 4].map(|seq| record(lane, seq, lane.epoch * 10 + seq)).to_vec()
}

#[tokio::test]
async fn an_agent_never_runs_out_of_epochs_and_none_of_its_records_is_taken_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let mut store = SqliteStore::open(&path, options()).unwrap();
    let (_, agent) = site_with_agent(&store, 1).await.unwrap();
    let last = open_epochs() + MORE;
    for epoch in 1..=last {
        let fates = commit(&store, life(samples(agent, epoch))).await.unwrap();
        assert_eq!(fates, vec![Disposition::Stored; 3], "epoch {epoch}");
    }
    let open = "SELECT count(*) FROM lane WHERE closed_ms IS NULL";
    assert_eq!(number(&store, open).await, MAX_EPOCHS);
    // As they are remembered, and as they are read again.
    for _ in 0..2 {
        for epoch in 1..=last {
            let lane = samples(agent, epoch);
            let before = store.resume(lane, 5, 0).await.unwrap();
            assert_eq!(before.progress.contig_upto, 2, "epoch {epoch}");
            assert_eq!(before.progress.above, [SeqRange { from: 4, to: 4 }]);
            assert_eq!(before.rolled_back, epoch <= MORE, "epoch {epoch}");
            let done = store.commit(life(lane)).await.unwrap();
            let fates: Vec<_> = done.records.into_iter().map(|r| r.disposition).collect();
            assert_eq!(fates, vec![Disposition::Duplicate; 3], "epoch {epoch}");
            assert_eq!(done.progress, [before.progress]);
        }
        store.close().await;
        store = SqliteStore::open(&path, options()).unwrap();
    }
    assert_eq!(number(&store, "SELECT count(*) FROM head").await, 3 * last.cast_signed());
    // What a closed epoch lacks is not lost by a false acknowledgement: it comes in a new one.
    let closed = samples(agent, 1);
    let fates = commit(&store, vec![record(closed, 3, 7), record(closed, 2, 7)]).await.unwrap();
    assert_eq!(fates, [Disposition::Deferred("the epoch is closed"), Disposition::Conflict]);
    // A loss declared of it holds nothing up.
    let events = LaneKey { agent, lane: 0, epoch: 1 };
    let loss = IncomingRecord {
        explains: Some((closed, SeqRange { from: 3, to: 3 })),
        ..record(events, 1, 1)
    };
    assert_eq!(commit(&store, vec![loss]).await.unwrap(), [Disposition::Stored]);
    assert_eq!(store.resume(closed, 5, 0).await.unwrap().progress.contig_upto, 2);
    // An open one goes on.
    let lane = samples(agent, last);
    assert_eq!(commit(&store, vec![record(lane, 3, 3)]).await.unwrap(), [Disposition::Stored]);
    assert_eq!(store.resume(lane, 5, 0).await.unwrap().progress.contig_upto, 4);
}

#[tokio::test]
async fn epochs_that_come_in_one_batch_are_treated_as_those_that_come_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let (_, agent) = site_with_agent(&store, 1).await.unwrap();
    let last = open_epochs() + MORE;
    let all: Vec<_> = (1..=last).flat_map(|epoch| life(samples(agent, epoch))).collect();
    let fates = commit(&store, all.clone()).await.unwrap();
    assert!(fates.iter().all(|fate| *fate == Disposition::Stored), "{fates:?}");
    let fates = commit(&store, all).await.unwrap();
    assert!(fates.iter().all(|fate| *fate == Disposition::Duplicate), "{fates:?}");
    let stands = store.resume(samples(agent, 1), 5, 0).await.unwrap().progress;
    assert_eq!((stands.contig_upto, stands.above.len()), (2, 1));
}

#[tokio::test]
async fn ids_are_used_again_once_the_records_of_their_epoch_have_left_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let mut store = SqliteStore::open(&path, options()).unwrap();
    let (site, agent) = site_with_agent(&store, 1).await.unwrap();
    let withdrawn = enrol(&store, site, 2).await.unwrap();
    commit(&store, vec![record(samples(withdrawn, 1), 1, 1)]).await.unwrap();
    store.revoke_agent(withdrawn, at(5)).await.unwrap();
    // One less than all ids of the site: the withdrawn agent has one.
    let all = lanes::MAX_SITE_LANES.cast_unsigned() - 1;
    let first = |epoch| record(samples(agent, epoch), 1, epoch);
    let fates = commit(&store, (1..=all).map(first).collect()).await.unwrap();
    assert!(fates.iter().all(|fate| *fate == Disposition::Stored));
    // Every id stands in a key of the head.
    let next = all + 1;
    let put_off = [Disposition::Deferred("too many epochs")];
    assert_eq!(commit(&store, vec![first(next)]).await.unwrap(), put_off);
    let moved = store.write("compact", |tx| {
        let keys: Vec<i64> = rows::all(tx, "SELECT key FROM head", [], |row| row.get(0))
            .map_err(failed("compact"))?;
        seen::forget_head_rows(tx, &keys)
    });
    assert_eq!(moved.await.unwrap(), all + 1);
    let fates = commit(&store, (next..next + 100).map(first).collect()).await.unwrap();
    assert!(fates.iter().all(|fate| *fate == Disposition::Stored), "{fates:?}");
    for _ in 0..2 {
        let fates = commit(&store, (1..next + 100).map(first).collect()).await.unwrap();
        assert!(fates.iter().all(|fate| *fate == Disposition::Duplicate));
        store.close().await;
        store = SqliteStore::open(&path, options()).unwrap();
    }
    assert_eq!(number(&store, "SELECT count(*) FROM head").await, 100);
    let given_back = "SELECT count(*) FROM lane WHERE id < 0 AND closed_ms IS NOT NULL";
    assert_eq!(number(&store, given_back).await, 100);
    let stale = "SELECT count(*) FROM seen_pack WHERE lane_id < 0";
    assert_eq!(number(&store, stale).await, 0);
    // They end with the last that is kept of any measure.
    for _ in 0..5 {
        crate::SampleStore::maintain(&store, YEAR_2100_MS).await.unwrap();
    }
    assert_eq!(number(&store, given_back).await, 0);
}
