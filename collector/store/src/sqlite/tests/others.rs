//! What is deleted that is not samples, and what is only put off.

use super::*;
use crate::{
    AgentStore as _, Certificate, DeclaredGap, Disposition, IncomingRecord, LaneKey,
    SampleStore as _, SeqRange, ServerTime,
    contract::{NOON_MS, at, commit, record, samples, site_with_agent},
};

const DAY_MS: i64 = 86_400_000;

async fn counts(store: &SqliteStore) -> Vec<i64> {
    let sql = "SELECT (SELECT count(*) FROM head), (SELECT count(*) FROM gap),
                      (SELECT count(*) FROM seq_hole), (SELECT count(*) FROM token),
                      (SELECT count(*) FROM certificate)";
    store
        .read("count", move |conn| {
            conn.query_row(sql, [], |row| (0..5).map(|at| row.get(at)).collect())
                .map_err(failed("count"))
        })
        .await
        .unwrap()
}

async fn tidy(store: &SqliteStore, now_ms: i64) {
    for _ in 0..20 {
        store.maintain(now_ms).await.unwrap();
    }
}

#[tokio::test]
async fn events_gaps_losses_tokens_and_certificates_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let (_, agent) = site_with_agent(&store, 1).await.unwrap();
    let lane = LaneKey { agent, lane: 0, epoch: 1 };
    let span = domain::sample::Span { from_ms: NOON_MS, to_ms: NOON_MS + 10 };
    let loss = IncomingRecord {
        explains: Some((samples(agent, 1), SeqRange { from: 1, to: 9 })),
        gap: Some(DeclaredGap { group: None, span, reason: "crash" }),
        ..record(lane, 1, 1)
    };
    commit(&store, vec![loss.clone()]).await.unwrap();
    for number in 0..30_u8 {
        let certificate = Certificate {
            serial: format!("{number:02x}"),
            spki_sha256: [number; 32],
            expires_at: at(7_776_000),
        };
        store.add_certificate(agent, certificate).await.unwrap();
        if number < 10 {
            assert!(store.use_certificate(agent, &format!("{number:02x}")).await.unwrap());
        }
    }
    tidy(&store, NOON_MS + DAY_MS).await;
    // Nine retired, one in use, twenty that were never used.
    assert_eq!(counts(&store).await, [1, 1, 1, 1, 4 + 1 + 16]);
    assert!(store.use_certificate(agent, "1d").await.unwrap());

    let kept = options().retention;
    tidy(&store, NOON_MS + (i64::from(kept.raw_days) + 40) * DAY_MS).await;
    assert_eq!(counts(&store).await[..4], [0, 1, 1, 0]);
    // Forgotten, and yet known when it comes again.
    assert_eq!(commit(&store, vec![loss]).await.unwrap(), [Disposition::Duplicate]);
    tidy(&store, NOON_MS + (i64::from(kept.day_days) + 2) * DAY_MS).await;
    assert_eq!(counts(&store).await[..4], [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_record_or_loss_that_finds_no_room_for_its_hole_is_put_off_and_not_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let (_, agent) = site_with_agent(&store, 1).await.unwrap();
    let lane = samples(agent, 1);
    let holes = lanes::MAX_STRETCHES as u64;
    let apart = (1..=holes).map(|n| record(lane, 2 * n, n)).collect();
    assert!(commit(&store, apart).await.unwrap().iter().all(|d| *d == Disposition::Stored));
    let beyond = record(lane, 2 * holes + 2, 7);
    let refused = IncomingRecord { refused: Some("no"), ..beyond.clone() };
    let range = SeqRange { from: beyond.seq, to: beyond.seq };
    let events = LaneKey { agent, lane: 0, epoch: 1 };
    let loss = IncomingRecord { explains: Some((lane, range)), ..record(events, 1, 1) };
    let fates = commit(&store, vec![beyond.clone(), refused, loss.clone()]).await.unwrap();
    assert!(fates.iter().all(|fate| matches!(fate, Disposition::Deferred(_))), "{fates:?}");
    let aside: i64 = store
        .read("count", |conn| {
            conn.query_row("SELECT count(*) FROM rejected_record", [], |row| row.get(0))
                .map_err(failed("count"))
        })
        .await
        .unwrap();
    assert_eq!(aside, 0);
    // The backlog fills a hole, and there is room.
    let time = ServerTime::Known(NOON_MS);
    commit(&store, vec![IncomingRecord { time, ..record(lane, 1, 0) }]).await.unwrap();
    let fates = commit(&store, vec![loss, beyond]).await.unwrap();
    assert_eq!(fates, [Disposition::Stored, Disposition::Stored]);
}

/// Records of an agent's events that each declare a gap of their own, `first` being the first.
fn noise(agent: domain::id::AgentId, epoch: u64, first: u64, count: u64) -> Vec<IncomingRecord> {
    (first..first + count)
        .map(|n| {
            let from_ms = NOON_MS + 10 * n.cast_signed();
            let span = domain::sample::Span { from_ms, to_ms: from_ms + 5 };
            let gap = Some(DeclaredGap { group: None, span, reason: "overload" });
            IncomingRecord { gap, ..record(LaneKey { agent, lane: 0, epoch }, n, n) }
        })
        .collect()
}

#[tokio::test]
async fn a_noisy_agent_does_not_use_up_the_room_for_gaps_of_its_site() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let (site, noisy) = site_with_agent(&store, 1).await.unwrap();
    let other = crate::contract::enrol(&store, site, 2).await.unwrap();
    let may = u64::from(crate::MAX_SITE_GAPS / 10);
    // In several commits and epochs, as from one session after the other.
    let mut next = 1;
    for epoch in 1..=4 {
        let fates = commit(&store, noise(noisy, epoch, next, may / 2)).await.unwrap();
        assert!(fates.iter().all(|fate| *fate == Disposition::Stored), "their records are kept");
        next += may / 2;
    }
    assert_eq!(counts(&store).await[1].cast_unsigned(), may);
    assert_eq!(store.figures().await.unwrap().gaps_refused, may);
    // What makes an earlier gap longer adds none, and is still taken.
    let mut longer = noise(noisy, 5, next, 1);
    let span = domain::sample::Span { from_ms: NOON_MS + 10, to_ms: NOON_MS + 17 };
    longer[0].gap = Some(DeclaredGap { group: None, span, reason: "overload" });
    commit(&store, longer).await.unwrap();
    assert_eq!(store.figures().await.unwrap().gaps_refused, may);
    // The other agent of the site has its own window.
    commit(&store, noise(other, 1, 50_000, 10)).await.unwrap();
    assert_eq!(counts(&store).await[1].cast_unsigned(), may + 10);
    assert_eq!(store.figures().await.unwrap().gaps_refused, may);
}

#[tokio::test]
async fn gaps_refused_at_a_full_site_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let (site, agent) = site_with_agent(&store, 1).await.unwrap();
    let fill = "INSERT INTO gap (site, grp, from_ms, to_ms, reason)
                WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT ?2)
                SELECT ?1, 0, 10 * n, 10 * n + 5, 'crash' FROM n";
    let filled = store.write("fill", move |tx| {
        tx.execute(fill, rusqlite::params![site.0, crate::MAX_SITE_GAPS]).map_err(failed("fill"))
    });
    filled.await.unwrap();
    assert_eq!(store.figures().await.unwrap().gaps_refused, 0);
    let fates = commit(&store, noise(agent, 1, 1, 3)).await.unwrap();
    assert!(fates.iter().all(|fate| *fate == Disposition::Stored), "their records are kept");
    assert_eq!(store.figures().await.unwrap().gaps_refused, 3);
}
