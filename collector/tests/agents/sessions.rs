use std::time::Duration;

use collector::{
    app::{App, Parts},
    session::Ending,
};
use domain::{
    sample::Span,
    target::{Community, Method, Role, TargetSpec},
};
use proto::{
    KIND_SAMPLES, record_hash,
    records::Record,
    v1::{self, lane_resume::Action},
};

use crate::fake::{BOOT_NS, EPOCH, SOON, config, event, hello, record, samples, start, until};

#[tokio::test]
async fn what_is_acknowledged_is_stored_and_survives_a_restart() {
    let collector = start().await;
    let mut agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, ok) = agent.hello(hello(1)).await;
    assert!(ok.lanes.iter().all(|lane| lane.contig_upto == 0 && lane.action() == Action::Continue));
    stream.samples(&samples(&agent, 1..=50)).await;
    let ack = stream.ack().await;
    assert_eq!((ack.lane, ack.epoch, ack.contig_upto), (1, EPOCH, 50));
    let stored = 50 * agent.round_width();
    assert_eq!(collector.samples(site).await, stored);
    let generation = ok.db_generation;

    let config = config(collector.dir.path(), "");
    collector.app.stop().await;
    let app = App::start(config, Parts::default()).await.unwrap();
    agent.address = app.agents;
    let (mut stream, ok) = agent.hello(hello(51)).await;
    assert_eq!(ok.db_generation, generation);
    assert_eq!(ok.lanes[1].contig_upto, 50);
    stream.samples(&samples(&agent, 51..=52)).await;
    assert_eq!(stream.ack().await.contig_upto, 52);
    app.stop().await;
}

#[tokio::test]
async fn samples_carry_the_time_of_the_server() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let before_ms = collector.now_ns() / 1_000_000;
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.samples(&samples(&agent, 1..=1)).await;
    stream.ack().await;
    let store = &collector.app.context.store;
    let series = store.series(Some(site)).await.unwrap();
    let span = Span { from_ms: before_ms - 60_000, to_ms: before_ms + 60_000 };
    let ids = series.into_iter().map(|series| series.id).collect();
    let data = store.read(site, ids, span).await.unwrap();
    let sample = data.iter().find_map(|data| data.samples.first()).unwrap();
    // Stamped 1 ms after the hello.
    let late_ms = sample.t_ms - before_ms;
    assert!((0..5_000).contains(&late_ms), "{late_ms} ms after the test began");
    assert_eq!(data.iter().map(|data| data.unsure).sum::<u64>(), 0);
}

#[tokio::test]
async fn records_sent_again_after_a_lost_acknowledgement_are_stored_once() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.samples(&samples(&agent, 1..=10)).await;
    // The line is cut before the acknowledgement is read.
    stream.ack().await;
    drop(stream);
    let (mut stream, ok) = agent.hello(hello(21)).await;
    assert_eq!(ok.lanes[1].contig_upto, 10);
    stream.samples(&samples(&agent, 1..=20)).await;
    let ack = stream.ack().await;
    assert_eq!((ack.contig_upto, ack.rejected.len()), (20, 0));
    assert_eq!(collector.samples(site).await, 20 * agent.round_width());
    assert_eq!(collector.app.context.metrics.duplicates.get(), 10);
}

#[tokio::test]
async fn live_records_may_overtake_the_backlog() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(31)).await;
    stream.samples(&samples(&agent, 21..=30)).await;
    let ack = stream.ack().await;
    assert_eq!(ack.contig_upto, 0);
    assert_eq!(ack.above, [v1::Range { from: 21, to: 30 }]);
    let backlog = stream.encoder.encode(1, EPOCH, 1, &samples(&agent, 1..=20)).unwrap();
    stream.send(v1::up::Message::Records(backlog)).await;
    let ack = stream.ack().await;
    assert_eq!((ack.contig_upto, ack.above.len()), (30, 0));
}

#[tokio::test]
async fn many_batches_in_flight_are_acknowledged_in_order() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    for batch in 0..40_u64 {
        stream.samples(&samples(&agent, batch * 5 + 1..=batch * 5 + 5)).await;
    }
    let mut last = 0;
    while last < 200 {
        let upto = stream.ack().await.contig_upto;
        assert!(upto >= last, "{upto} after {last}");
        last = upto;
    }
}

#[tokio::test]
async fn nothing_is_stored_after_a_revocation() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let mut next = 1_u64;
    stream.samples(&samples(&agent, 1..=20)).await;
    stream.ack().await;
    let context = collector.app.context.clone();
    let id = agent.id;
    let revoked = tokio::spawn(async move {
        context.store.revoke_agent(id, context.clock.now()).await.unwrap();
        let at = std::time::Instant::now();
        context.sessions.close(id, Ending::Revoked);
        at
    });
    // An agent that does not care.
    loop {
        next += 20;
        let batch = stream.encode(1, &samples(&agent, next..=next + 19));
        if revoked.is_finished() || stream.try_send(v1::up::Message::Records(batch)).await.is_err()
        {
            break;
        }
    }
    let at = revoked.await.unwrap();
    let stored = collector.samples(site).await;
    let away = stream.away().await;
    assert!(away.refused, "{away:?}");
    assert!(at.elapsed() < Duration::from_secs(2), "the stream outlived the revocation");
    assert_eq!(collector.samples(site).await, stored, "stored after the revocation");
}

#[tokio::test]
async fn a_new_target_reaches_the_agent_and_a_refused_version_is_not_offered_again() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let first = stream.config().await;
    let target = |address: &str| TargetSpec {
        site,
        role: Role::Equipment,
        name: "commutateur".to_owned(),
        address: address.to_owned(),
        method: Method::SnmpV2c { community: Community::new("public") },
        period_s: 60,
        parent: None,
    };
    let targets = &collector.app.context.targets;
    targets.add(target("192.0.2.10")).await.unwrap();
    let second = stream.config().await;
    assert!(second.version > first.version);
    let refused =
        v1::ConfigStatus { version: second.version, applied: false, reason: "no\u{1b}".to_owned() };
    stream.send(v1::up::Message::Config(refused)).await;
    let live = &collector.app.context.live;
    until("the refusal is known", async || {
        live.agent(agent.id).is_some_and(|live| live.config.failed.is_some())
    })
    .await;
    let failed = live.agent(agent.id).unwrap().config.failed;
    assert_eq!(failed, Some((second.version, "no\u{fffd}".to_owned())));

    drop(stream);
    let (mut stream, _) = agent.hello(hello(1)).await;
    targets.add(target("192.0.2.11")).await.unwrap();
    let third = stream.config().await;
    assert!(third.version > second.version, "{} was offered again", third.version);
}

#[tokio::test]
async fn an_agent_that_has_the_configuration_is_not_sent_it_again() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let version = agent.config.version;
    let (mut stream, _) = agent.hello(v1::Hello { config_applied: version, ..hello(1) }).await;
    stream.send(v1::up::Message::Heartbeat(v1::Heartbeat::default())).await;
    let answer = stream.next().await;
    assert!(matches!(answer, Some(v1::down::Message::Time(_))), "{answer:?}");
}

#[tokio::test]
async fn inventories_become_series_within_the_site() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let store = collector.app.context.store.clone();
    let spec = TargetSpec {
        site,
        role: Role::Equipment,
        name: "commutateur".to_owned(),
        address: "192.0.2.10".to_owned(),
        method: Method::SnmpV2c { community: Community::new("public") },
        period_s: 60,
        parent: None,
    };
    let target = collector.app.context.targets.add(spec).await.unwrap();
    let (mut stream, _) = agent.hello(hello(1)).await;
    let interface = |if_index| v1::Interface {
        if_index,
        if_name: format!("Gi0/{if_index}"),
        if_type: 6,
        oper_status: 1,
        ..v1::Interface::default()
    };
    let inventory = |group| {
        v1::event::Event::SnmpInventory(v1::SnmpInventory {
            group,
            sys_name: "sw-cdi\u{1b}[2J".to_owned(),
            sys_descr: "é".repeat(200),
            truncated: true,
            interfaces: (1..=24).map(interface).collect(),
            ..v1::SnmpInventory::default()
        })
    };
    let host = v1::event::Event::HostInventory(v1::HostInventory {
        disks: vec!["/".to_owned()],
        ..v1::HostInventory::default()
    });
    let before = store.series(Some(site)).await.unwrap().len();
    stream.events(&[event(1, inventory(9_999)), event(2, inventory(target.group.0))]).await;
    stream.events(&[event(3, host), event(4, inventory(target.group.0))]).await;
    while stream.ack().await.contig_upto < 4 {}
    let after = store.series(Some(site)).await.unwrap();
    assert_eq!(after.len() - before, 24 * 10 + 2);
    let devices = store.devices(site).await.unwrap();
    let [(told, _, device)] = devices.as_slice() else { panic!("{devices:?}") };
    assert_eq!((*told, device.name.as_str()), (target.id, "sw-cdi\u{fffd}[2J"));
    assert!(device.truncated && device.descr == "é".repeat(100) && device.location.is_empty());
    drop(stream);
    let (mut stream, _) = agent.hello(hello(5)).await;
    let config = stream.config().await;
    let columns = || config.groups.iter().flat_map(|group| &group.columns);
    assert!(columns().any(|column| column.instance == 24 && column.label.is_empty()), "by number");
    assert!(columns().any(|column| column.label == "/"), "disks are found by their name");
}

#[tokio::test]
async fn gaps_and_losses_explain_what_is_missing() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(31)).await;
    let gap = v1::event::Event::Gap(v1::Gap {
        reason: v1::GapReason::GapCrash.into(),
        boot_tag: 5,
        from_boot_ns: BOOT_NS - 60_000_000_000,
        to_boot_ns: BOOT_NS - 30_000_000_000,
        ..v1::Gap::default()
    });
    let loss = v1::event::Event::Loss(v1::Loss {
        reason: v1::GapReason::GapEvicted.into(),
        lane: 1,
        epoch: EPOCH,
        from_seq: 1,
        to_seq: 10,
        records: 10,
        ..v1::Loss::default()
    });
    stream.samples(&samples(&agent, 11..=20)).await;
    assert_eq!(stream.ack().await.contig_upto, 0);
    stream.events(&[event(1, gap), event(2, loss)]).await;
    while stream.ack().await.lane != 0 {}
    drop(stream);
    let (_stream, ok) = agent.hello(hello(31)).await;
    assert_eq!(ok.lanes[1].contig_upto, 20, "what was lost is explained");
    let now_ms = collector.now_ns() / 1_000_000;
    let span = Span { from_ms: now_ms - 3_600_000, to_ms: now_ms };
    let gaps = collector.app.context.store.gaps(site, span).await.unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((gaps[0].1.to_ms - gaps[0].1.from_ms, gaps[0].2.as_str()), (30_000, "crash"));
}

/// The record as it was stamped so long before the hello, by that wall clock.
fn stamped(mut record: Record, before_ns: u64, wall_ns: i64) -> Record {
    (record.boot_ns, record.wall_ns) = (BOOT_NS - before_ns, wall_ns);
    let Record { kind, boot_tag, boot_ns, payload, .. } = &record;
    record.hash = record_hash(*kind, *boot_tag, *boot_ns, wall_ns, payload);
    record
}

fn lost(reason: v1::GapReason, lane: u32, seqs: (u64, u64), walls: (i64, i64)) -> v1::event::Event {
    v1::event::Event::Loss(v1::Loss {
        reason: reason.into(),
        lane,
        epoch: EPOCH,
        from_seq: seqs.0,
        to_seq: seqs.1,
        records: seqs.1 + 1 - seqs.0,
        from_wall_ns: walls.0,
        to_wall_ns: walls.1,
        ..v1::Loss::default()
    })
}

#[tokio::test]
async fn a_loss_of_samples_is_a_gap_that_tells_why() {
    const S: i64 = 1_000_000_000;
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(41)).await;
    let groups = stream.config().await.groups;
    let period_s = i64::from(groups.iter().map(|group| group.period_ms).max().unwrap()) / 1_000;
    let now_ns = collector.now_ns();
    // Its clock is three hours slow, and the server's own decides.
    let slow = now_ns - 10_800 * S;
    let evicted = v1::GapReason::GapEvicted;
    let first = lost(evicted, 1, (1, 5), (slow - 1_800 * S, slow - 1_500 * S));
    let next = lost(evicted, 1, (6, 8), (slow - 1_500 * S + S, slow - 1_200 * S));
    // A damaged segment whose times are gone with it: after what came before, before it was told.
    let damaged = lost(v1::GapReason::GapCorrupt, 1, (11, 20), (0, 0));
    let of_events = lost(evicted, 0, (90, 91), (slow - 900 * S, slow - 800 * S));
    let unheard = stamped(samples(&agent, 10..=10).remove(0), 700_000_000_000, slow - 700 * S);
    stream.samples(&[unheard]).await;
    assert_eq!(stream.ack().await.above, [v1::Range { from: 10, to: 10 }]);
    let told = 400_000_000_000;
    let events = [first, next, damaged, of_events].into_iter().zip(1..);
    let events: Vec<_> =
        events.map(|(loss, seq)| stamped(event(seq, loss), told, slow - 400 * S)).collect();
    stream.events(&events).await;
    while stream.ack().await.lane != 0 {}
    let now_ms = now_ns / 1_000_000;
    let span = Span { from_ms: now_ms - 86_400_000, to_ms: now_ms };
    let gaps = collector.app.context.store.gaps(site, span).await.unwrap();
    let told: Vec<_> = gaps.iter().map(|(group, _, reason)| (*group, reason.as_str())).collect();
    assert_eq!(told, [(None, "evicted"), (None, "corrupt")], "two evictions in a row are one gap");
    let ago = |ms: i64| (ms - now_ms) as f64 / 1e3;
    let near = |ms: i64, s: i64| (ago(ms) + s as f64).abs() < 10.0;
    let [(_, evicted, _), (_, corrupt, _)] = &gaps[..] else { panic!("{gaps:?}") };
    assert!(near(evicted.from_ms, 1_800) && near(evicted.to_ms, 1_200 - period_s), "{gaps:?}");
    assert!(near(corrupt.from_ms, 700) && near(corrupt.to_ms, 400), "{gaps:?}");
}

#[tokio::test]
async fn a_loss_whose_time_nothing_tells_is_no_gap() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(41)).await;
    let now_ns = collector.now_ns();
    let day = 86_400_000_000_000;
    let corrupt = v1::GapReason::GapCorrupt;
    let losses = [
        lost(corrupt, 1, (1, 5), (0, 0)),
        // Backwards, before its enrolment, and after it was told.
        lost(corrupt, 1, (6, 7), (now_ns - 1_000_000_000, now_ns - 900_000_000_000)),
        lost(corrupt, 1, (8, 9), (now_ns - 9 * day, now_ns - 8 * day)),
        lost(corrupt, 1, (10, 11), (now_ns + day, now_ns + 2 * day)),
        lost(corrupt, 1, (12, 13), (i64::MIN, i64::MAX)),
    ];
    let events = losses.into_iter().zip(1..);
    let events: Vec<_> =
        events.map(|(loss, seq)| stamped(event(seq, loss), 5_000_000_000, now_ns)).collect();
    stream.events(&events).await;
    let mut upto = 0;
    while upto < 13 {
        let ack = stream.ack().await;
        assert!(ack.rejected.is_empty(), "{ack:?}");
        upto = if ack.lane == 1 { ack.contig_upto } else { upto };
    }
    let span = Span { from_ms: i64::MIN / 2, to_ms: i64::MAX / 2 };
    let gaps = collector.app.context.store.gaps(site, span).await.unwrap();
    assert_eq!(gaps, []);
}

#[tokio::test]
async fn a_disk_that_was_rolled_back_starts_a_new_epoch() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.samples(&samples(&agent, 1..=30)).await;
    stream.ack().await;
    drop(stream);
    let (_stream, ok) = agent.hello(hello(11)).await;
    assert_eq!(ok.lanes[1].action(), Action::NewEpoch);
    assert_eq!(ok.lanes[0].action(), Action::Continue);
}

#[tokio::test]
async fn a_cloned_machine_is_held_until_the_first_has_gone() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut first, _) = agent.hello(hello(1)).await;
    let clone = v1::Hello {
        instance_id: b"other".to_vec(),
        machine_fingerprint: b"clone".to_vec(),
        ..hello(1)
    };
    let (mut held, ok) = agent.hello(clone.clone()).await;
    assert!(ok.lanes.iter().all(|lane| lane.action() == Action::Hold));
    held.samples(&samples(&agent, 1..=5)).await;
    assert_eq!(held.away().await.reason, "held");
    first.samples(&samples(&agent, 1..=5)).await;
    assert_eq!(first.ack().await.contig_upto, 5);

    let (mut held, _) = agent.hello(clone.clone()).await;
    drop(first);
    assert_eq!(held.away().await.reason, "released");
    let (_stream, ok) = agent.hello(clone).await;
    assert!(ok.lanes.iter().all(|lane| lane.action() != Action::Hold));
}

#[tokio::test]
async fn two_copies_of_one_disk_do_not_take_turns_for_ever() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    // One certificate, one fingerprint, two processes.
    let clone = v1::Hello { instance_id: b"other".to_vec(), ..hello(1) };
    let (mut first, _) = agent.hello(hello(1)).await;
    let (mut second, _) = agent.hello(clone.clone()).await;
    assert_eq!(first.away().await.reason, "superseded");
    let (mut first, ok) = agent.hello(hello(1)).await;
    assert!(ok.lanes.iter().all(|lane| lane.action() != Action::Hold));
    assert_eq!(second.away().await.reason, "superseded");
    let (mut second, ok) = agent.hello(clone).await;
    assert!(ok.lanes.iter().all(|lane| lane.action() == Action::Hold));
    // The operator is told: in the agent's state, by a metric, in the log.
    assert!(collector.app.context.live.agent(agent.id).unwrap().held);
    assert_eq!(collector.app.context.metrics.sessions_held.get(), 1);
    first.samples(&samples(&agent, 1..=5)).await;
    assert_eq!(first.ack().await.contig_upto, 5);
    second.samples(&samples(&agent, 1..=5)).await;
    assert_eq!(second.away().await.reason, "held");
}

#[tokio::test]
async fn the_same_machine_takes_its_own_place() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut half_open, _) = agent.hello(hello(1)).await;
    let again = v1::Hello { instance_id: b"restarted".to_vec(), ..hello(1) };
    let (mut stream, _) = agent.hello(again).await;
    assert_eq!(half_open.away().await.reason, "superseded");
    stream.samples(&samples(&agent, 1..=1)).await;
    assert_eq!(stream.ack().await.contig_upto, 1);
    let live = collector.app.context.live.agent(agent.id).unwrap();
    assert!(live.connected && !live.held);
}

#[tokio::test]
async fn a_heartbeat_tells_the_state_and_is_answered_with_the_time() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, ok) = agent.hello(hello(1)).await;
    assert_eq!(ok.time.unwrap().agent_boot_ns, BOOT_NS);
    let lane =
        v1::LaneState { lane: 1, oldest_seq: 5, next_seq: 25, bytes: 900, ..Default::default() };
    let heartbeat = v1::Heartbeat {
        boot_ns: BOOT_NS + 1_000_000,
        lanes: vec![lane, v1::LaneState { epoch: 8, ..lane }],
        spool_degraded: true,
        rss_bytes: 12 << 20,
        ..v1::Heartbeat::default()
    };
    stream.send(v1::up::Message::Heartbeat(heartbeat)).await;
    let time = loop {
        match stream.next().await {
            Some(v1::down::Message::Time(time)) => break time,
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    };
    assert_eq!(time.agent_boot_ns, BOOT_NS + 1_000_000);
    assert!(time.sent_wall_ns >= time.received_wall_ns);
    let live = collector.app.context.live.agent(agent.id).unwrap();
    assert!(live.connected && live.spool_degraded);
    assert_eq!((live.lanes.len(), live.lanes[0].records, live.lanes[0].bytes), (1, 40, 1_800));
    assert_eq!(live.rss_bytes, 12 << 20);
    stream.send(v1::up::Message::Goodbye(v1::Goodbye { reason: "stopped".to_owned() })).await;
    until("the goodbye is known", async || {
        let live = collector.app.context.live.agent(agent.id).unwrap();
        !live.connected && live.goodbye.as_deref() == Some("stopped")
    })
    .await;
}

#[tokio::test]
async fn a_record_of_an_unknown_boot_is_kept_as_unsure() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let mut old = record(1, KIND_SAMPLES, agent.round(1));
    old.boot_tag = 4;
    old.wall_ns = collector.now_ns() - 3_600_000_000_000;
    old.hash = proto::record_hash(old.kind, old.boot_tag, old.boot_ns, old.wall_ns, &old.payload);
    stream.samples(&[old]).await;
    assert_eq!(stream.ack().await.contig_upto, 1);
    let store = &collector.app.context.store;
    let series = store.series(Some(site)).await.unwrap();
    let ids = series.into_iter().map(|series| series.id).collect();
    let data = store.read(site, ids, Span { from_ms: 0, to_ms: i64::MAX / 2 }).await.unwrap();
    let unsure: u64 = data.iter().map(|data| data.unsure).sum();
    assert_eq!(unsure, agent.round_width() as u64);
}

#[tokio::test]
async fn a_stop_asks_agents_to_leave_after_their_records_are_committed() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.samples(&samples(&agent, 1..=10)).await;
    until("the records are read", async || collector.app.context.metrics.records.get() == 10).await;
    let started = std::time::Instant::now();
    let stopped = tokio::spawn(collector.app.stop());
    let mut upto = 0;
    let away = loop {
        match stream.next().await {
            Some(v1::down::Message::Away(away)) => break away,
            Some(v1::down::Message::Ack(ack)) => upto = ack.contig_upto,
            Some(_) => {}
            None => panic!("the stream ended without a word"),
        }
    };
    assert_eq!((away.reason.as_str(), away.refused, upto), ("restart", false, 10));
    assert!(away.retry_spread_ms > 0);
    tokio::time::timeout(SOON, stopped).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}
