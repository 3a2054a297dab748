//! Records, watermarks, clocks, gaps.

use domain::{
    id::{AgentId, GroupId, Layout},
    sample::Span,
};

use super::{NOON_MS, at, enrol, facts, is_not_found, site_with_agent, targets::icmp};
use crate::{
    AgentStore, DeclaredGap, Disposition, IncomingRecord, IngestStore, LaneKey, Result, SeqRange,
    ServerTime, SiteStore, TargetStore,
};

use Disposition::{Conflict, Duplicate, Rejected, Stored};

/// A lane of samples.
pub(crate) fn samples(agent: AgentId, epoch: u64) -> LaneKey {
    LaneKey { agent, lane: 1, epoch }
}

/// A record without group, whose hash and payload follow from `content`.
pub(crate) fn record(lane: LaneKey, seq: u64, content: u64) -> IncomingRecord {
    IncomingRecord {
        lane,
        seq,
        kind: 2,
        hash: content.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        time: ServerTime::Known(NOON_MS),
        boot_ns: 1_000_000_000,
        items: 1,
        payload: content.to_le_bytes().to_vec(),
        group: None,
        explains: None,
        gap: None,
        refused: None,
    }
}

/// Commits some records and returns what became of them.
pub(crate) async fn commit(
    store: &impl IngestStore,
    records: Vec<IncomingRecord>,
) -> Result<Vec<Disposition>> {
    let commit = store.commit(records).await?;
    Ok(commit.records.into_iter().map(|record| record.disposition).collect())
}

async fn progress(store: &impl IngestStore, lane: LaneKey) -> Result<(u64, Vec<(u64, u64)>)> {
    let progress = store.resume(lane, u64::MAX, 0).await?.progress;
    Ok((progress.contig_upto, progress.above.iter().map(|range| (range.from, range.to)).collect()))
}

/// A record is stored once; the same again is a duplicate, another one under its key a conflict.
pub async fn records_are_taken_once(
    store: &(impl SiteStore + AgentStore + IngestStore),
) -> Result<()> {
    let (site, agent) = site_with_agent(store, 1).await?;
    let lane = samples(agent, 42);
    assert_eq!(commit(store, Vec::new()).await?, []);
    assert_eq!(progress(store, lane).await?, (0, vec![]));
    let given = vec![
        record(lane, 1, 1),
        record(lane, 2, 2),
        record(lane, 5, 5),
        record(lane, 5, 5),
        record(lane, 5, 6),
    ];
    let done = store.commit(given.clone()).await?;
    let fates: Vec<_> = done.records.iter().map(|record| record.disposition.clone()).collect();
    assert_eq!(fates, [Stored, Stored, Stored, Duplicate, Conflict]);
    assert!(done.records.iter().all(|record| record.site == Some(site)));
    assert!(done.records.iter().zip(&given).all(|(a, b)| a.record.payload == b.payload));
    assert_eq!(done.progress.len(), 1);
    assert_eq!(done.progress[0].contig_upto, 2);
    assert_eq!(done.progress[0].above, [SeqRange { from: 5, to: 5 }]);
    assert_eq!(progress(store, lane).await?, (2, vec![(5, 5)]));

    let late = vec![record(lane, 4, 4), record(lane, 2, 9), record(lane, 3, 3), record(lane, 1, 1)];
    assert_eq!(commit(store, late).await?, [Stored, Conflict, Stored, Duplicate]);
    assert_eq!(progress(store, lane).await?, (5, vec![]));
    // Another epoch and another lane are others.
    let events = LaneKey { lane: 0, ..lane };
    let elsewhere = vec![record(samples(agent, 43), 1, 7), record(events, 1, 8)];
    assert_eq!(commit(store, elsewhere).await?, [Stored, Stored]);
    let nonsense = vec![
        record(lane, 0, 0),
        record(lane, u64::MAX, 0),
        record(LaneKey { lane: 9, ..lane }, 1, 0),
        record(samples(AgentId([9; 16]), 1), 1, 0),
    ];
    let fates = commit(store, nonsense).await?;
    assert!(fates.iter().all(|fate| matches!(fate, Rejected(_))), "{fates:?}");
    assert_eq!(progress(store, lane).await?, (5, vec![]));
    Ok(())
}

/// A record that is refused, or of another site's group, is not stored, yet the lane goes on; when
/// it comes again and is fine, it is taken.
pub async fn a_refused_or_foreign_record_is_dealt_with(
    store: &(impl SiteStore + AgentStore + TargetStore + IngestStore),
) -> Result<()> {
    let (site, agent) = site_with_agent(store, 1).await?;
    let other = store.add_site(facts(2)).await?.id;
    let mut groups = Vec::new();
    for site in [site, other] {
        let (spec, columns) = icmp(site, "10.0.0.1");
        let group = store.upsert_target(spec, columns).await?.group;
        groups.push((group, store.groups(site).await?.1[0].layout));
    }
    let lane = samples(agent, 42);
    let of = |seq, group: (GroupId, Layout)| IncomingRecord {
        group: Some(group),
        ..record(lane, seq, seq)
    };
    let mut refused = record(lane, 5, 5);
    refused.refused = Some("does not decode");
    let given = vec![
        of(1, groups[0]),
        of(2, groups[1]),
        of(3, (groups[0].0, Layout(99))),
        of(4, groups[0]),
        refused,
    ];
    let fates = commit(store, given).await?;
    let unknown = Rejected("unknown layout");
    assert_eq!(
        fates,
        [Stored, Rejected("layout of another site"), unknown, Stored, Rejected("does not decode")]
    );
    assert_eq!(progress(store, lane).await?, (5, vec![]));
    let again = vec![of(2, groups[1]), record(lane, 5, 5), record(lane, 5, 5), record(lane, 5, 6)];
    assert_eq!(
        commit(store, again).await?,
        [Rejected("layout of another site"), Stored, Duplicate, Conflict]
    );
    Ok(())
}

/// Records declared lost count as dealt with; one of them that comes after all is taken.
pub async fn declared_losses_move_the_watermark(
    store: &(impl SiteStore + AgentStore + IngestStore),
) -> Result<()> {
    let (site, agent) = site_with_agent(store, 1).await?;
    let stranger = enrol(store, site, 2).await?;
    let (lane, events) = (samples(agent, 42), LaneKey { agent, lane: 0, epoch: 41 });
    commit(store, vec![record(lane, 1, 1), record(lane, 8, 8), record(lane, 12, 12)]).await?;
    let loss = |seq, lane, from, to| IncomingRecord {
        explains: Some((lane, SeqRange { from, to })),
        ..record(events, seq, seq)
    };
    let done = store.commit(vec![loss(1, lane, 1, 10)]).await?;
    assert_eq!(done.records[0].disposition, Stored);
    assert_eq!(done.progress.len(), 2, "both lanes moved");
    assert_eq!(progress(store, lane).await?, (10, vec![(12, 12)]));

    let bad = vec![
        loss(2, samples(stranger, 42), 1, 10),
        loss(3, lane, 0, 5),
        loss(4, lane, 9, 5),
        loss(5, lane, 1, u64::MAX),
    ];
    let fates = commit(store, bad).await?;
    assert!(fates.iter().all(|fate| matches!(fate, Rejected(_))), "{fates:?}");
    assert_eq!(progress(store, samples(stranger, 42)).await?, (0, vec![]));
    assert_eq!(progress(store, events).await?, (5, vec![]));

    // It was on its way when it was given up: stored once; what was stored is not lost.
    let late = vec![
        record(lane, 5, 5),
        record(lane, 5, 5),
        record(lane, 5, 6),
        record(lane, 8, 8),
        record(lane, 4, 4),
    ];
    assert_eq!(commit(store, late).await?, [Stored, Duplicate, Conflict, Duplicate, Stored]);
    // A lane that loses its own past, and the whole of a lane never seen.
    let unseen = samples(agent, 7);
    let own = vec![loss(9, events, 6, 8), loss(10, unseen, 1, 3)];
    assert_eq!(commit(store, own).await?, [Stored, Stored]);
    assert_eq!(progress(store, events).await?, (10, vec![]));
    assert_eq!(progress(store, unseen).await?, (3, vec![]));
    Ok(())
}

/// Once an agent is withdrawn, nothing of it is committed, even of what was sent meanwhile.
pub async fn nothing_of_a_withdrawn_agent_is_taken(
    store: &(impl SiteStore + AgentStore + IngestStore),
) -> Result<()> {
    let (site, agent) = site_with_agent(store, 1).await?;
    let other = enrol(store, site, 2).await?;
    let lane = samples(agent, 42);
    assert_eq!(commit(store, vec![record(lane, 1, 1)]).await?, [Stored]);
    let (at_its_return, fates) = tokio::join!(
        async {
            store.revoke_agent(agent, at(10)).await?;
            progress(store, lane).await
        },
        async {
            let mut fates = Vec::new();
            for seq in 2..50 {
                fates.extend(commit(store, vec![record(lane, seq, seq)]).await?);
            }
            Ok::<_, crate::StoreError>(fates)
        },
    );
    let (at_its_return, fates) = (at_its_return?, fates?);
    let taken = fates.iter().filter(|fate| **fate == Stored).count() as u64;
    assert!(fates.contains(&Rejected("the agent is not active")), "{fates:?}");
    assert_eq!(at_its_return, (taken + 1, vec![]));
    assert_eq!(progress(store, lane).await?, at_its_return);
    let after = commit(store, vec![record(lane, 99, 1), record(samples(other, 1), 1, 1)]).await?;
    assert_eq!(after, [Rejected("the agent is not active"), Stored]);
    assert_eq!(progress(store, lane).await?, at_its_return);
    Ok(())
}

/// A spool that was put back to an earlier state is noticed by its numbers or by its newest hash.
pub async fn rolled_back_spools_are_noticed(
    store: &(impl SiteStore + AgentStore + IngestStore),
) -> Result<()> {
    let (_, agent) = site_with_agent(store, 1).await?;
    let lane = samples(agent, 42);
    let given: Vec<_> = (1..=5).map(|seq| record(lane, seq, seq)).collect();
    let hash = |seq: u64| given[usize::try_from(seq).expect("small") - 1].hash;
    commit(store, given.clone()).await?;
    let rolled_back = async |lane, next_seq, hash| -> Result<bool> {
        Ok(store.resume(lane, next_seq, hash).await?.rolled_back)
    };
    assert!(!rolled_back(lane, 6, hash(5)).await?);
    assert!(!rolled_back(lane, 9, 1234).await?, "it wrote more than we have");
    assert!(rolled_back(lane, 5, hash(4)).await?, "we have more than it wrote");
    assert!(rolled_back(lane, 1, 0).await?);
    assert!(rolled_back(lane, 6, 1234).await?, "another record under its newest number");
    assert!(!rolled_back(samples(agent, 43), 6, 1234).await?, "a new epoch");
    assert!(!rolled_back(samples(agent, 43), 1, 0).await?);
    commit(store, vec![record(lane, 9, 9)]).await?;
    assert!(rolled_back(lane, 9, 0).await?, "above the watermark");
    assert!(is_not_found(&store.resume(samples(AgentId([9; 16]), 1), 1, 0).await));
    Ok(())
}

/// Boot clocks and declared gaps come back; a restore would be seen by the generation.
pub async fn clocks_and_gaps_are_remembered(
    store: &(impl SiteStore + AgentStore + IngestStore),
) -> Result<()> {
    let (site, agent) = site_with_agent(store, 1).await?;
    assert_eq!(store.clock(agent, 7).await?, None);
    store.save_clock(agent, 7, -5, 10).await?;
    store.save_clock(agent, 8, i64::MAX, u64::MAX).await?;
    store.save_clock(agent, 7, 6, 9).await?;
    assert_eq!(store.clock(agent, 7).await?, Some(6));
    assert_eq!(store.clock(agent, 8).await?, Some(i64::MAX));
    assert!(is_not_found(&store.save_clock(AgentId([9; 16]), 1, 0, 0).await));

    let span = |from_ms, to_ms| Span { from_ms, to_ms };
    let group = Some(GroupId(3));
    store.declare_gap(site, None, span(100, 200), "suspended").await?;
    store.declare_gap(site, group, span(150, 160), "device_skipped").await?;
    store.declare_gap(site, group, span(150, 160), "device_skipped").await?;
    store.declare_gap(site, None, span(300, 300), "crash").await?;
    let (all, one) = (
        (None, span(100, 200), "suspended".to_owned()),
        (group, span(150, 160), "device_skipped".to_owned()),
    );
    assert_eq!(store.gaps(site, span(0, 1000)).await?, [all.clone(), one]);
    assert_eq!(store.gaps(site, span(199, 1000)).await?, std::slice::from_ref(&all));
    assert_eq!(store.gaps(site, span(0, 101)).await?, [all]);
    assert_eq!(store.gaps(site, span(200, 1000)).await?, []);
    assert_eq!(store.gaps(site, span(0, 100)).await?, []);
    assert_eq!(store.generation().await?, store.generation().await?);

    // What touches is one gap, whichever comes first; another reason is another gap.
    let third = store.add_site(facts(3)).await?.id;
    for (from_ms, to_ms, reason) in
        [(10, 20, "a"), (30, 40, "a"), (40, 50, "b"), (20, 30, "a"), (12, 18, "a")]
    {
        store.declare_gap(third, group, span(from_ms, to_ms), reason).await?;
    }
    let kept = store.gaps(third, span(0, 1000)).await?;
    assert_eq!(
        kept,
        [(group, span(10, 40), "a".to_owned()), (group, span(40, 50), "b".to_owned())]
    );
    Ok(())
}

/// A gap is kept with the record that declares it, once, or not at all.
pub async fn gaps_come_with_their_records(
    store: &(impl SiteStore + AgentStore + IngestStore),
) -> Result<()> {
    let (site, agent) = site_with_agent(store, 1).await?;
    let lane = LaneKey { agent, lane: 0, epoch: 1 };
    let span = |from_ms, to_ms| Span { from_ms, to_ms };
    let with = |seq, content, from_ms| IncomingRecord {
        gap: Some(DeclaredGap { group: None, span: span(from_ms, from_ms + 5), reason: "crash" }),
        ..record(lane, seq, content)
    };
    let refused = IncomingRecord { refused: Some("no"), ..with(2, 2, 200) };
    let fates = commit(store, vec![with(1, 1, 100), with(1, 9, 300), refused]).await?;
    assert_eq!(fates, [Stored, Conflict, Rejected("no")]);
    assert_eq!(commit(store, vec![with(1, 1, 100)]).await?, [Duplicate]);
    let kept = store.gaps(site, span(0, 1000)).await?;
    assert_eq!(kept, [(None, span(100, 105), "crash".to_owned())]);

    let timed = |seq, ms| IncomingRecord { time: ServerTime::Known(ms), ..record(lane, seq, seq) };
    commit(store, vec![timed(10, 1_000), timed(20, 2_000)]).await?;
    let other = LaneKey { epoch: 2, ..lane };
    commit(store, vec![IncomingRecord { lane: other, ..timed(5, 9_000) }]).await?;
    let bytes = |content: u64| content.to_le_bytes().to_vec();
    assert_eq!(store.newest(lane, 2, 2).await?, [(1_000, bytes(10)), (2_000, bytes(20))]);
    assert_eq!(store.newest(lane, 3, 2).await?, []);
    assert_eq!(store.time_before(lane, 20).await?, Some(1_000));
    assert_eq!(store.time_before(lane, 21).await?, Some(2_000));
    assert_eq!(store.time_before(other, 5).await?, None);
    assert_eq!(store.time_before(LaneKey { epoch: 3, ..lane }, 9).await?, None);
    Ok(())
}
