//! What sessions share, and what becomes of records that are odd alone.

use std::time::Duration;

use collector::{
    app::{HttpLimits, Parts},
    session::SessionLimits,
};
use proto::{KIND_EVENT, KIND_SAMPLES, record_hash, records::Record, v1};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::fake::{EPOCH, SOON, event, hello, record, samples, start, start_with, until};

#[tokio::test]
async fn a_small_budget_slows_sessions_and_stops_none() {
    let session = SessionLimits { budget_bytes: 2 << 10, ..SessionLimits::default() };
    let collector = start_with(Parts { session, ..Parts::default() }, "").await;
    let mut streams = Vec::new();
    for number in [999_001, 999_002, 999_003] {
        let agent = collector.agent(number).await;
        let (stream, _) = agent.hello(hello(1)).await;
        streams.push((agent, stream));
    }
    for batch in 0..12_u64 {
        for (agent, stream) in &mut streams {
            stream.samples(&samples(agent, batch * 40 + 1..=batch * 40 + 40)).await;
        }
    }
    for (_, stream) in &mut streams {
        while stream.ack().await.contig_upto < 480 {}
    }
}

fn disks(seq: u64, disk: &str) -> Record {
    let host = v1::HostInventory { disks: vec![disk.to_owned()], ..v1::HostInventory::default() };
    event(seq, v1::event::Event::HostInventory(host))
}

#[tokio::test]
async fn an_event_that_is_not_stored_changes_nothing() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let series = async || {
        let series = collector.app.context.store.series(Some(site)).await.unwrap();
        series.into_iter().map(|series| series.label).collect::<Vec<_>>()
    };
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.events(&[disks(1, "/")]).await;
    stream.events(&[disks(1, "/forged"), disks(2, "/home")]).await;
    while stream.ack().await.contig_upto < 2 {}
    let labels = series().await;
    let known = |disk: &str| labels.iter().any(|label| label == disk);
    assert!(known("/") && known("/home"), "{labels:?}");
    assert!(!known("/forged"), "{labels:?}");
    assert_eq!(collector.app.context.metrics.conflicts.get(), 1);
}

#[tokio::test]
async fn an_inventory_that_a_crash_cut_off_is_applied_at_the_next_session() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let store = &collector.app.context.store;
    let Record { seq, kind, hash, boot_ns, payload, .. } = disks(1, "/srv");
    let committed = store::IncomingRecord {
        lane: store::LaneKey { agent: agent.id, lane: 0, epoch: EPOCH },
        seq,
        kind,
        hash,
        time: store::ServerTime::Known(collector.now_ns() / 1_000_000),
        boot_ns,
        items: 0,
        payload,
        group: None,
        explains: None,
        gap: None,
        refused: None,
    };
    store.commit(vec![committed]).await.unwrap();
    let (mut stream, ok) = agent.hello(hello(2)).await;
    assert_eq!(ok.lanes[0].contig_upto, 1, "the agent will not send it again");
    stream.config().await;
    let series = store.series(Some(site)).await.unwrap();
    assert!(series.iter().any(|series| series.label == "/srv"));
}

/// The record as a boot that never met the server stamps it: its battery is dead.
fn of_1970(mut record: Record, boot_tag: u32, boot_ns: u64) -> Record {
    (record.boot_tag, record.boot_ns, record.wall_ns) = (boot_tag, boot_ns, 5_000_000_000);
    let Record { kind, wall_ns, payload, .. } = &record;
    record.hash = record_hash(*kind, boot_tag, boot_ns, *wall_ns, payload);
    record
}

#[tokio::test]
async fn a_loss_counts_whatever_its_clock_says() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(31)).await;
    stream.samples(&samples(&agent, 11..=20)).await;
    assert_eq!(stream.ack().await.contig_upto, 0);
    let loss = v1::event::Event::Loss(v1::Loss {
        reason: v1::GapReason::GapEvicted.into(),
        lane: 1,
        epoch: EPOCH,
        from_seq: 1,
        to_seq: 10,
        records: 10,
        ..v1::Loss::default()
    });
    let loss = of_1970(event(1, loss), 4, 1_000_000_000);
    assert_eq!(loss.kind, KIND_EVENT);
    stream.events(&[loss]).await;
    let mut upto = 0;
    while upto < 20 {
        let ack = stream.ack().await;
        assert!(ack.rejected.is_empty(), "{ack:?}");
        if ack.lane == 1 {
            upto = ack.contig_upto;
        }
    }
}

#[tokio::test]
async fn boots_with_a_dead_battery_are_kept_in_their_order() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let old = |seq: u64, boot_tag, boot_s: u64| {
        let round = record(seq, KIND_SAMPLES, agent.round(seq.cast_signed()));
        of_1970(round, boot_tag, boot_s * 1_000_000_000)
    };
    // Two boots, the second twice as long after its start, the first's clock further on.
    stream.samples(&[old(1, 2, 500), old(2, 2, 560), old(3, 3, 20), old(4, 3, 80)]).await;
    let ack = stream.ack().await;
    assert_eq!((ack.contig_upto, ack.rejected.len()), (4, 0), "{ack:?}");
    // The rest comes over another connection.
    drop(stream);
    let (mut stream, _) = agent.hello(hello(7)).await;
    let now = record(6, KIND_SAMPLES, agent.round(6));
    stream.samples(&[old(5, 3, 140), now]).await;
    let ack = stream.ack().await;
    assert_eq!((ack.contig_upto, ack.rejected.len()), (6, 0), "{ack:?}");

    let store = &collector.app.context.store;
    let series = store.series(Some(site)).await.unwrap();
    let ids = series.into_iter().map(|series| series.id).collect();
    let span = domain::sample::Span { from_ms: 0, to_ms: i64::MAX / 2 };
    let data = store.read(site, ids, span).await.unwrap();
    let samples = &data.iter().find(|data| !data.samples.is_empty()).unwrap().samples;
    let values: Vec<_> = samples.iter().map(|sample| sample.value).collect();
    assert_eq!(values.len(), 6, "{values:?}");
    let times: Vec<_> = samples.iter().map(|sample| sample.t_ms).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert_eq!((times[1] - times[0], times[3] - times[2]), (60_000, 60_000));
    let unsure: u64 = data.iter().map(|data| data.unsure).sum();
    assert_eq!(unsure, 5 * agent.round_width() as u64);
}

#[tokio::test]
async fn a_session_that_breaks_off_at_its_opening_leaves_no_trace() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (_live, _) = agent.hello(hello(1)).await;
    let clone = v1::Hello {
        instance_id: b"other".to_vec(),
        machine_fingerprint: b"clone".to_vec(),
        ..hello(1)
    };
    for _ in 0..20 {
        let stream = agent.open().await.unwrap();
        stream.send(v1::up::Message::Hello(clone.clone())).await;
        drop(stream);
    }
    let context = &collector.app.context;
    until("the clones have gone", async || context.sessions.count() == 1).await;
    assert_eq!(context.metrics.sessions_held.get(), 0);
}

#[tokio::test]
async fn peers_that_say_nothing_do_not_keep_the_api_from_answering() {
    let http = HttpLimits { head: Duration::from_millis(200), connections: 2 };
    let collector = start_with(Parts { http, ..Parts::default() }, "").await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(collector.app.api).await.unwrap());
    }
    let mut peer = TcpStream::connect(collector.app.api).await.unwrap();
    peer.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(SOON, peer.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    for mut peer in silent {
        let mut rest = Vec::new();
        timeout(SOON, peer.read_to_end(&mut rest)).await.unwrap().unwrap();
    }
    timeout(SOON, collector.app.stop()).await.unwrap();
}
