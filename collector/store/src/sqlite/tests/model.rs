//! Duplicate suppression and watermarks beside a simple model of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    Disposition, IncomingRecord, IngestStore, LaneKey, SeqRange,
    contract::{record, samples, site_with_agent},
};

/// Numbers that the test plays with.
const NUMBERS: std::ops::RangeInclusive<u64> = 1..=24;

#[derive(Debug, Clone)]
enum Step {
    /// Records of both epochs: `(epoch, seq, content differs, refused)`.
    Send(Vec<(u64, u64, bool, bool)>),
    /// A declared loss of an epoch.
    Lose(u64, u64, u64),
    /// The records whose number leaves this rest by three go from the head.
    Compact(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let sent = (1..=2_u64, NUMBERS, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    prop_oneof![
        6 => prop::collection::vec(sent, 1..12).prop_map(Step::Send),
        2 => (1..=2_u64, NUMBERS, 0..6_u64).prop_map(|(epoch, from, more)| Step::Lose(epoch, from, from + more)),
        2 => (0..3_u64).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Lane {
    stored: BTreeMap<u64, u64>,
    holes: BTreeSet<u64>,
}

impl Lane {
    fn take(&mut self, seq: u64, content: u64, refused: bool) -> Disposition {
        match self.stored.get(&seq) {
            Some(known) if *known == content => return Disposition::Duplicate,
            Some(_) => return Disposition::Conflict,
            None => {}
        }
        if refused {
            self.holes.insert(seq);
            return Disposition::Rejected("refused by the model");
        }
        self.holes.remove(&seq);
        self.stored.insert(seq, content);
        Disposition::Stored
    }

    fn lose(&mut self, from: u64, to: u64) {
        self.holes.extend((from..=to).filter(|seq| !self.stored.contains_key(seq)));
    }

    fn progress(&self) -> (u64, Vec<SeqRange>) {
        let covered = |seq: u64| self.stored.contains_key(&seq) || self.holes.contains(&seq);
        let contig = (1..1000).take_while(|seq| covered(*seq)).last().unwrap_or(0);
        let mut above: Vec<SeqRange> = Vec::new();
        for seq in (contig + 1..1000).filter(|seq| covered(*seq)) {
            match above.last_mut() {
                Some(last) if last.to + 1 == seq => last.to = seq,
                _ => above.push(SeqRange { from: seq, to: seq }),
            }
        }
        (contig, above)
    }
}

async fn holes(store: &SqliteStore) -> BTreeMap<u64, BTreeSet<u64>> {
    let rows: Vec<(i64, i64, i64)> = store
        .read("read holes", |conn| {
            rows::all(
                conn,
                "SELECT epoch, seq_from, seq_to FROM seq_hole JOIN lane ON lane.id = lane_id",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .map_err(failed("read holes"))
        })
        .await
        .unwrap();
    let mut found: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (epoch, from, to) in rows {
        let numbers = from.cast_unsigned()..=to.cast_unsigned();
        found.entry(epoch.cast_unsigned()).or_default().extend(numbers);
    }
    found
}

async fn forget(store: &SqliteStore, picked: impl Fn(u64) -> bool + Send + 'static) -> u64 {
    store
        .write("compact", move |tx| {
            let keys: Vec<i64> = rows::all(tx, "SELECT key FROM head", [], |row| row.get(0))
                .map_err(failed("compact"))?;
            let picked: Vec<i64> =
                keys.into_iter().filter(|key| picked(lanes::split_key(*key).1)).collect();
            seen::forget_head_rows(tx, &picked)
        })
        .await
        .unwrap()
}

async fn play(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vigie.db");
    let mut store = SqliteStore::open(&path, options()).unwrap();
    let (_, agent) = site_with_agent(&store, 1).await.unwrap();
    let events = LaneKey { agent, lane: 0, epoch: 9 };
    let mut model: BTreeMap<u64, Lane> = BTreeMap::new();
    let (mut stored, mut forgotten, mut events_sent) = (0, 0, 0);
    for step in steps {
        match step {
            Step::Send(records) => {
                let mut given = Vec::new();
                let mut expected = Vec::new();
                for (epoch, seq, differs, refused) in records {
                    let content = epoch * 1000 + seq + u64::from(differs) * 500;
                    let refused_for = refused.then_some("refused by the model");
                    let sent = record(samples(agent, epoch), seq, content);
                    given.push(IncomingRecord { refused: refused_for, ..sent });
                    expected.push(model.entry(epoch).or_default().take(seq, content, refused));
                }
                let done = store.commit(given).await.unwrap();
                let fates: Vec<_> = done.records.into_iter().map(|r| r.disposition).collect();
                assert_eq!(fates, expected);
                stored += fates.iter().filter(|fate| **fate == Disposition::Stored).count() as u64;
                for told in done.progress {
                    assert_eq!((told.contig_upto, told.above), model[&told.lane.epoch].progress());
                }
            }
            Step::Lose(epoch, from, to) => {
                events_sent += 1;
                let explains = Some((samples(agent, epoch), SeqRange { from, to }));
                let loss = IncomingRecord { explains, ..record(events, events_sent, events_sent) };
                let done = store.commit(vec![loss]).await.unwrap();
                assert_eq!(done.records[0].disposition, Disposition::Stored);
                model.entry(epoch).or_default().lose(from, to);
                stored += 1;
            }
            Step::Compact(rest) => forgotten += forget(&store, move |seq| seq % 3 == rest).await,
            Step::Reopen => {
                store.close().await;
                store = SqliteStore::open(&path, options()).unwrap();
            }
        }
        for (epoch, lane) in &model {
            let resume = store.resume(samples(agent, *epoch), u64::MAX, 0).await.unwrap();
            assert_eq!((resume.progress.contig_upto, resume.progress.above), lane.progress());
        }
    }
    let kept: i64 = store
        .read("count", |conn| {
            conn.query_row("SELECT count(*) FROM head", [], |row| row.get(0))
                .map_err(failed("count"))
        })
        .await
        .unwrap();
    assert_eq!(kept.cast_unsigned() + forgotten, stored, "every record is stored once");
    let holes = holes(&store).await;
    for (epoch, lane) in &model {
        assert_eq!(holes.get(epoch).unwrap_or(&BTreeSet::new()), &lane.holes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn records_are_stored_once_whatever_comes(steps in prop::collection::vec(step(), 1..16)) {
        tokio::runtime::Runtime::new().unwrap().block_on(play(steps));
    }
}

#[tokio::test]
async fn hashes_are_kept_for_the_last_4096_records_after_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let (_, agent) = site_with_agent(&store, 1).await.unwrap();
    let lane = samples(agent, 1);
    let last = 20_000;
    let all: Vec<_> = (1..=last).map(|seq| record(lane, seq, seq)).collect();
    store.commit(all).await.unwrap();
    // Two groups of one lane, compacted one after the other, then again for nothing.
    assert_eq!(forget(&store, |seq| seq % 2 == 0).await, last / 2);
    assert_eq!(forget(&store, |_| true).await, last / 2);
    assert_eq!(forget(&store, |_| true).await, 0);
    let fates = async |content_of: fn(u64) -> u64| {
        let sent = (1..=last).map(|seq| record(lane, seq, content_of(seq))).collect();
        crate::contract::commit(&store, sent).await.unwrap()
    };
    assert!(fates(|seq| seq).await.iter().all(|fate| *fate == Disposition::Duplicate));
    let others = fates(|seq| seq + 1).await;
    let (old, recent) = others.split_at(usize::try_from(last - seen::WINDOW).unwrap());
    assert!(recent.iter().all(|fate| *fate == Disposition::Conflict));
    assert!(old[..1000].iter().all(|fate| *fate == Disposition::Duplicate));
    let bytes: i64 = store
        .read("measure", |conn| {
            conn.query_row("SELECT sum(length(packed)) FROM seen_pack", [], |row| row.get(0))
                .map_err(failed("measure"))
        })
        .await
        .unwrap();
    assert!(bytes <= 2 * (6 + 4 * 4096), "{bytes} bytes for at most two rows");
}

#[tokio::test]
async fn conflicts_and_refusals_kept_aside_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let (_, agent) = site_with_agent(&store, 1).await.unwrap();
    let lane = samples(agent, 1);
    store.commit(vec![record(lane, 1, 1)]).await.unwrap();
    let others: Vec<_> = (2..500).map(|content| record(lane, 1, content)).collect();
    let refused =
        (2..500).map(|seq| IncomingRecord { refused: Some("no"), ..record(lane, seq, seq) });
    let strangers = (2..500).map(|seq| record(samples(domain::id::AgentId([9; 16]), 1), seq, seq));
    store.commit(others.into_iter().chain(refused).chain(strangers).collect()).await.unwrap();
    let kept: (i64, i64, i64) = store
        .read("count", |conn| {
            let sql = "SELECT (SELECT count(*) FROM conflict_record),
                              (SELECT count(*) FROM rejected_record WHERE agent_no > 0),
                              (SELECT min(seq) FROM rejected_record WHERE agent_no > 0)";
            conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .map_err(failed("count"))
        })
        .await
        .unwrap();
    assert_eq!(kept, (64, 64, 436), "the newest stay");
    assert_eq!(store.counters().conflicts.load(Relaxed), 498);
    assert_eq!(store.counters().rejected.load(Relaxed), 2 * 498);
}
