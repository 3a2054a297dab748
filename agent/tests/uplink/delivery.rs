//! What is sent, when, and again.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use agent::{
    app::{self, Extra},
    clock::{Clock, SystemClock},
    config::Config,
    spool::NewRecord,
};
use proto::{
    KIND_SAMPLES, LANE_SAMPLES,
    v1::{self, down, up},
};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::{Collector, Life, PLENTY, soon},
    line::{Line, MINUTE, enrolled, samples, value},
};

#[tokio::test]
async fn an_agent_measures_what_it_is_told_and_stops_in_time() {
    let mut collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    enrolled(dir.path(), &collector, Life::Long);
    let mut config =
        Config { data_dir: dir.path().to_owned(), metrics_listen: None, ..Config::default() };
    config.limits.reconnect = Duration::from_millis(50);
    config.limits.commit_interval = Duration::from_millis(100);
    let stop = CancellationToken::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let running = tokio::spawn(app::run(config, clock, stop.clone(), Extra::default()));

    let (mut session, hello) = collector.begin(PLENTY).await;
    assert_eq!(hello.config_applied, 0);
    assert!(!hello.surroundings.as_ref().unwrap().hostname.is_empty());
    let group = v1::Group {
        id: 3,
        layout: 7,
        period_ms: 1_000,
        timeout_ms: 900,
        columns: vec![v1::Column { metric: v1::Metric::Uptime.into(), ..Default::default() }],
        probe: Some(v1::group::Probe::Host(v1::HostProbe {})),
    };
    let fine = v1::Config { version: 5, groups: vec![group.clone()], ..Default::default() };
    let bad = v1::Config {
        version: 6,
        groups: vec![v1::Group { period_ms: 10, ..group }],
        ..Default::default()
    };
    session.say(down::Message::Config(fine)).await;
    let mut statuses = Vec::new();
    let mut measured = 0;
    let mut bad = Some(bad);
    let mut decoder = proto::records::Decoder::new();
    while measured < 3 || statuses.len() < 2 {
        match session.hear().await.unwrap() {
            up::Message::Config(status) => {
                statuses.push((status.version, status.applied, status.reason));
                if let Some(bad) = bad.take() {
                    session.say(down::Message::Config(bad)).await;
                }
            }
            up::Message::Records(batch) => {
                for record in decoder.decode(&batch).unwrap() {
                    if record.kind == KIND_SAMPLES {
                        let header = proto::samples::header(&record.payload).unwrap();
                        assert_eq!((header.group, header.layout), (3, 7));
                        assert!(value(&record) > 0);
                        measured += 1;
                    }
                }
            }
            up::Message::Heartbeat(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(statuses[0], (5, true, String::new()));
    assert_eq!((statuses[1].0, statuses[1].1), (6, false));
    assert!(statuses[1].2.starts_with("group 3: its period in ms is 10"), "{}", statuses[1].2);

    let stopping = tokio::time::Instant::now();
    stop.cancel();
    while !matches!(session.hear().await, Some(up::Message::Goodbye(_))) {}
    drop(session);
    soon(running).await.unwrap().unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(3), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_under_the_same_key_and_hash() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..50).await;
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let (batch, first) = samples(&mut session).await;
    assert_eq!(first.iter().map(value).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    // The collector committed all and its word was lost with the line; or only a part.
    drop(session);
    let (session, hello) = collector.session().await;
    let lane = hello.lanes.iter().find(|lane| lane.lane == LANE_SAMPLES).unwrap();
    assert_eq!((lane.epoch, lane.next_seq), (batch.epoch, 51));
    assert_eq!(lane.head_hash, first.last().unwrap().hash);
    let mut session = session;
    session
        .ok(&hello, PLENTY, |resume| {
            if resume.lane == LANE_SAMPLES {
                resume.contig_upto = 10;
                resume.above = vec![v1::Range { from: 20, to: 29 }];
            }
        })
        .await;
    let mut again = Vec::new();
    while again.len() < 30 {
        again.extend(samples(&mut session).await.1);
    }
    let missing = first.iter().filter(|record| !matches!(record.seq, 1..=10 | 20..=29)).cloned();
    assert_eq!(again, missing.collect::<Vec<_>>());
    session.ack(&batch, 50, &[]).await;
    let acked = line.metrics.acks.clone();
    soon(async {
        while acked.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(line.metrics.acks_ignored.get(), 0);
    line.stop().await;
}

#[tokio::test]
async fn a_long_backlog_comes_behind_live_records_and_whole() {
    const OLD: i64 = 20_000;
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..OLD).await;
    line.clock.1.fetch_add(10 * MINUTE, Relaxed);
    line.measure(OLD..OLD + 5).await;
    line.connect();
    let (mut session, _) = collector.begin(v1::Credit { bytes: 64 << 10, records: 2_000 }).await;
    let mut order = Vec::new();
    let mut there = BTreeMap::new();
    let mut in_flight = 0;
    let mut late = None;
    while there.len() < usize::try_from(OLD).unwrap() + 15 {
        let (batch, records) = samples(&mut session).await;
        in_flight = in_flight.max(records.len());
        for record in &records {
            order.push((batch.channel, value(record)));
            assert_eq!(there.insert(record.seq, value(record)), None, "twice");
        }
        let contig = (1..).zip(there.keys()).take_while(|(n, seq)| n == *seq).count() as u64;
        let mut above: Vec<(u64, u64)> = Vec::new();
        for &seq in there.keys().filter(|&&seq| seq > contig) {
            match above.last_mut() {
                Some(last) if last.1 + 1 == seq => last.1 = seq,
                Some(_) | None => above.push((seq, seq)),
            }
        }
        session.ack(&batch, contig, &above).await;
        if there.len() > 5_000 && late.is_none() {
            late = Some(order.len());
            line.measure(OLD + 5..OLD + 15).await;
        }
    }
    assert_eq!(order[..5], [0, 1, 2, 3, 4].map(|n| (0, OLD + n)), "live first");
    assert_eq!(order[5], (1, 0), "then the backlog from its start");
    let late = late.unwrap();
    let overtook = order[late..].iter().position(|(channel, _)| *channel == 0).unwrap();
    assert!(overtook < 5_000, "new records waited for {overtook} old ones");
    let values: Vec<i64> = there.into_values().collect();
    assert_eq!(values, (0..OLD + 15).collect::<Vec<_>>());
    assert!(in_flight <= 2_000);
    line.stop().await;
}

#[tokio::test]
async fn credit_is_counted_in_bytes_before_compression() {
    const CREDIT: u64 = 64 << 10;
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    // Each compresses to almost nothing.
    for seq in 0..2_000 {
        let record = NewRecord {
            lane: LANE_SAMPLES,
            kind: KIND_SAMPLES,
            boot_ns: line.clock.boot_ns(),
            wall_ns: line.clock.wall_ns(),
            boot_tag: line.clock.boot_tag(),
            n_items: 100,
            urgent: false,
            payload: proto::samples::encode(1, 1, &[0], &[Some(seq * 1_000_000_007); 100]),
        };
        line.spool.try_append(record).unwrap();
    }
    soon(line.spool.commit()).await.unwrap();
    line.connect();
    let (mut session, _) = collector.begin(v1::Credit { bytes: CREDIT, records: 65_536 }).await;
    let in_flight = || u64::try_from(line.metrics.in_flight_bytes.get()).unwrap();
    let (mut raw, mut body) = (0, 0);
    // Less than 4 KiB is not worth a batch.
    while raw <= CREDIT - (4 << 10) {
        if let up::Message::Records(batch) = session.hear().await.unwrap() {
            body += batch.body.len() as u64;
            raw += u64::from(batch.raw_len);
        }
        assert!(raw <= CREDIT, "{raw} bytes are in flight");
    }
    soon(async {
        while in_flight() != raw {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(body < raw / 2, "they compress well: {body} of {raw}");
    line.stop().await;
}

#[tokio::test]
async fn without_credit_the_agent_holds_and_goes_on_when_it_comes() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let (mut session, _) = collector.begin(v1::Credit::default()).await;
    // A refused plan is answered at once: had the agent sent records, they would come first.
    let plan = v1::Config { version: 9, ..Default::default() };
    for _ in 0..4 {
        session.say(down::Message::Config(plan.clone())).await;
    }
    match session.hear().await.unwrap() {
        up::Message::Config(status) => assert!(!status.applied),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(soon(line.offers.recv()).await.unwrap().version, 9);
    session.say(down::Message::Credit(PLENTY)).await;
    assert_eq!(samples(&mut session).await.1.len(), 10);
    let report = v1::ConfigStatus { version: 9, applied: true, reason: String::new() };
    line.state.send_modify(|state| (state.applied, state.report) = (9, Some(report.clone())));
    loop {
        if let up::Message::Config(status) = session.hear().await.unwrap()
            && status == report
        {
            break;
        }
    }
    line.stop().await;
}

#[tokio::test]
async fn a_collector_that_answers_the_rounds_again_is_connected_to_within_seconds() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    // A pause that would outlast the test.
    line.uplink.as_mut().unwrap().reconnect = Duration::from_mins(5);
    line.connect();
    drop(collector.begin(PLENTY).await);
    soon(async {
        while line.metrics.session_failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    line.answered.send_modify(|count| *count += 1);
    let (_session, _hello) = collector.begin(PLENTY).await;
    line.stop().await;
}
