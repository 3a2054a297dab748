use std::time::Duration;

use collector::{
    app::Parts, metrics::Reason, session::SessionLimits, targets::MAX_RISES, tls::ListenLimits,
};
use domain::target::{Method, Role, TargetSpec};
use proto::{KIND_EVENT, KIND_SAMPLES, v1};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tonic::Code;

use crate::fake::{
    EPOCH, SOON, anonymous, event, hello, record, samples, start, start_with, tls, until,
};

/// Sends a batch that must end the stream, and checks that the next stream is served.
async fn ends_the_stream(spoil: impl Fn(&mut v1::Records)) {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let mut batch = stream.encode(1, &samples(&agent, 1..=3));
    spoil(&mut batch);
    stream.send(v1::up::Message::Records(batch)).await;
    let away = stream.away().await;
    assert!(!away.refused && away.retry_min_ms > 0, "{away:?}");
    assert_eq!(collector.samples(site).await, 0);
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.samples(&samples(&agent, 1..=3)).await;
    assert_eq!(stream.ack().await.contig_upto, 3);
}

#[tokio::test]
async fn a_body_that_grows_without_end_is_refused() {
    let bomb = zstd::encode_all(std::io::repeat(0).take_zeros(64 << 20), 19).unwrap();
    assert!(bomb.len() < 64 << 10);
    for raw_len in [u32::MAX, 64 << 20, 1 << 20, 100] {
        ends_the_stream(|batch| {
            batch.body.clone_from(&bomb);
            batch.raw_len = raw_len;
        })
        .await;
    }
}

trait Zeros: std::io::Read + Sized {
    fn take_zeros(self, n: u64) -> std::io::Take<Self> {
        std::io::Read::take(self, n)
    }
}
impl Zeros for std::io::Repeat {}

#[tokio::test]
async fn batches_that_contradict_themselves_are_refused() {
    ends_the_stream(|batch| batch.count = 2).await;
    ends_the_stream(|batch| batch.count = u32::MAX).await;
    ends_the_stream(|batch| batch.raw_len += 1).await;
    ends_the_stream(|batch| batch.body.truncate(batch.body.len() - 1)).await;
    ends_the_stream(|batch| *batch.body.last_mut().unwrap() ^= 1).await;
    ends_the_stream(|batch| batch.lane = 2).await;
    ends_the_stream(|batch| batch.epoch = 0).await;
    ends_the_stream(|batch| batch.channel = 7).await;
}

#[tokio::test]
async fn a_record_with_another_hash_is_never_stored() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let mut wrong = samples(&agent, 1..=1);
    wrong[0].hash ^= 1;
    stream.samples(&wrong).await;
    assert_eq!(stream.away().await.reason, "records");
}

#[tokio::test]
async fn records_of_others_and_of_other_times_are_rejected_alone() {
    let collector = start().await;
    let (agent, victim) = (collector.agent(999_001).await, collector.agent(999_002).await);
    let site = collector.site_of(&agent).await;
    let victims = collector.site_of(&victim).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let mut future = record(2, KIND_SAMPLES, agent.round(0));
    future.boot_ns += 3_600_000_000_000;
    let mut ancient = record(3, KIND_SAMPLES, agent.round(0));
    ancient.boot_ns = 0;
    ancient.boot_tag = 9;
    let mut beyond = record(4, KIND_SAMPLES, agent.round(0));
    beyond.boot_ns = u64::MAX;
    for odd in [&mut future, &mut ancient, &mut beyond] {
        odd.hash =
            proto::record_hash(odd.kind, odd.boot_tag, odd.boot_ns, odd.wall_ns, &odd.payload);
    }
    let group = agent.config.groups.iter().find(|group| !group.columns.is_empty()).unwrap();
    let cells = vec![Some(1); group.columns.len() + 1];
    let wide = proto::samples::encode(group.id, group.layout, &[0], &cells);
    let rows = vec![0, i64::MAX / 4];
    let cells = vec![Some(1); group.columns.len() * 2];
    let far_rows = proto::samples::encode(group.id, group.layout, &rows, &cells);
    let unknown = proto::samples::encode(u32::MAX, u32::MAX, &[0], &[Some(1)]);
    let batch = [
        record(1, KIND_SAMPLES, agent.round(1)),
        future,
        ancient,
        beyond,
        record(5, KIND_SAMPLES, victim.round(1)),
        record(6, KIND_SAMPLES, wide),
        record(7, KIND_SAMPLES, unknown),
        record(8, KIND_SAMPLES, vec![0xff; 40]),
        record(9, KIND_SAMPLES, far_rows),
        event(10, v1::event::Event::Started(v1::Started::default())),
        record(11, 200, b"a kind of a newer agent".to_vec()),
        record(12, KIND_SAMPLES, agent.round(12)),
    ];
    stream.samples(&batch).await;
    let ack = stream.ack().await;
    let rejected: Vec<_> =
        ack.rejected.iter().map(|rejected| (rejected.seq, rejected.reason.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (2, "time"),
            (4, "time"),
            (5, "group"),
            (6, "columns"),
            (7, "group"),
            (8, "payload"),
            (9, "time"),
            (10, "lane"),
        ]
    );
    assert_eq!(ack.contig_upto, 12, "what is rejected is dealt with");
    // The one of 1970 is of a boot that nobody saw: kept, in its order.
    assert_eq!(collector.samples(site).await, 3 * agent.round_width());
    assert_eq!(collector.samples(victims).await, 0);
}

#[tokio::test]
async fn absurd_losses_and_events_are_rejected() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let loss = |lane, epoch, from_seq, to_seq| {
        let loss = v1::Loss { lane, epoch, from_seq, to_seq, ..v1::Loss::default() };
        v1::event::Event::Loss(loss)
    };
    let batch = [
        event(1, loss(2, EPOCH, 1, 2)),
        event(2, loss(1, 0, 1, 2)),
        event(3, loss(1, EPOCH, 0, 2)),
        event(4, loss(1, EPOCH, 9, 8)),
        record(5, KIND_EVENT, vec![0xff; 9]),
        record(6, KIND_SAMPLES, agent.round(1)),
    ];
    stream.events(&batch).await;
    let ack = stream.ack().await;
    assert_eq!(ack.rejected.len(), 6, "{ack:?}");
    assert_eq!(ack.contig_upto, 6);
}

#[tokio::test]
async fn routers_without_number_end_neither_the_stream_nor_the_room_for_targets() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let reports = u64::try_from(MAX_RISES / 24).unwrap() + 5;
    let surroundings = |report: u64| {
        let list = |net: &str| (1..=8).map(|n| format!("{net}.{report}.{n}")).collect();
        v1::Surroundings {
            gateways: list("10.1"),
            resolvers: list("10.2"),
            hops: list("10.3"),
            ..v1::Surroundings::default()
        }
    };
    let (mut stream, _) = agent.hello(hello(1)).await;
    for report in 1..=reports {
        let seen = v1::event::Event::Surroundings(surroundings(report));
        stream.events(&[event(report, seen)]).await;
        stream.samples(&samples(&agent, report..=report)).await;
    }
    let mut upto = [0; 2];
    while upto != [reports; 2] {
        let ack = stream.ack().await;
        upto[usize::try_from(ack.lane).unwrap()] = ack.contig_upto;
    }
    let plan = Reason { reason: "plan" };
    let refused = collector.app.context.metrics.refused_calls.get_or_create(&plan).get();
    assert!((5..reports).contains(&refused), "{refused} of {reports}");
    assert_eq!(
        collector.samples(site).await,
        usize::try_from(reports).unwrap() * agent.round_width()
    );

    // The next session is greeted alike, whatever it says, and an operator has room.
    drop(stream);
    let next = reports + 1;
    let again = v1::Hello { surroundings: Some(surroundings(200)), ..hello(next) };
    let (mut stream, _) = agent.hello(again).await;
    let spec = TargetSpec {
        site,
        role: Role::Equipment,
        name: "commutateur".to_owned(),
        address: "192.0.2.10".to_owned(),
        method: Method::Icmp { count: 3 },
        period_s: 60,
        parent: None,
    };
    collector.app.context.targets.add(spec).await.unwrap();
    stream.samples(&samples(&agent, next..=next)).await;
    while stream.ack().await.contig_upto < next {}
}

#[tokio::test]
async fn epochs_without_number_end_the_stream() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    for epoch in 1..=100_u64 {
        let mut batch = stream.encode(1, &[]);
        batch.epoch = epoch;
        if stream.try_send(v1::up::Message::Records(batch)).await.is_err() {
            break;
        }
    }
    assert_eq!(stream.away().await.reason, "records");
}

#[tokio::test]
async fn a_stream_must_begin_with_a_sensible_hello() {
    let limits = SessionLimits { hello: Duration::from_millis(200), ..SessionLimits::default() };
    let parts = Parts { session: limits, ..Parts::default() };
    let collector = start_with(parts, "").await;
    let agent = collector.agent(999_001).await;
    let mut silent = agent.open().await.unwrap();
    assert_eq!(silent.away().await.reason, "no hello in time");
    let bad = [
        v1::up::Message::Heartbeat(v1::Heartbeat::default()),
        v1::up::Message::Hello(v1::Hello { instance_id: Vec::new(), ..hello(1) }),
        v1::up::Message::Hello(v1::Hello { version: "x".repeat(70 << 10), ..hello(1) }),
        v1::up::Message::Hello(v1::Hello { protocol_min: 2, protocol_max: 9, ..hello(1) }),
    ];
    for message in bad {
        let mut stream = agent.open().await.unwrap();
        stream.send(message).await;
        assert!(!stream.away().await.refused);
    }
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.send(v1::up::Message::Hello(hello(1))).await;
    assert_eq!(stream.away().await.reason, "a second hello");
}

#[tokio::test]
async fn a_message_above_the_limit_ends_the_stream() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let records =
        v1::Records { lane: 1, epoch: EPOCH, body: vec![0; 1 << 20], ..Default::default() };
    stream.send(v1::up::Message::Records(records)).await;
    let mut last = None;
    while let Some(message) = stream.next().await {
        last = Some(message);
    }
    assert!(!matches!(last, Some(v1::down::Message::Ack(_))), "{last:?}");
    let (_stream, _) = agent.hello(hello(1)).await;
}

#[tokio::test]
async fn peers_that_say_nothing_do_not_keep_agents_out() {
    let listen = ListenLimits {
        handshakes: 4,
        handshake: Duration::from_mins(1),
        handshake_crowded: Duration::from_millis(100),
        ..ListenLimits::default()
    };
    let collector = start_with(Parts { listen, ..Parts::default() }, "").await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(collector.app.agents).await.unwrap());
    }
    let agent = timeout(SOON, collector.agent(999_001)).await.unwrap();
    let (_stream, _) = agent.hello(hello(1)).await;
    let failures = &collector.app.context.metrics.handshake_failures;
    assert!(failures.get_or_create(&Reason { reason: "crowded" }).get() >= 8);
}

#[tokio::test]
async fn a_handshake_has_a_deadline_and_a_nameless_channel_too() {
    let listen = ListenLimits {
        handshake: Duration::from_millis(100),
        unproven: Duration::from_millis(300),
        ..ListenLimits::default()
    };
    let collector = start_with(Parts { listen, ..Parts::default() }, "").await;
    let mut silent = TcpStream::connect(collector.app.agents).await.unwrap();
    let ended = timeout(SOON, silent.read(&mut [0; 9])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let mut nameless = tls(collector.app.agents, anonymous()).await.unwrap();
    let mut rest = Vec::new();
    // Settings of HTTP/2 come first; then the end.
    let _ = timeout(SOON, nameless.read_to_end(&mut rest)).await.expect("the channel is closed");
    let failures = &collector.app.context.metrics.handshake_failures;
    assert_eq!(failures.get_or_create(&Reason { reason: "deadline" }).get(), 1);
}

#[tokio::test]
async fn only_http2_over_tls_is_spoken() {
    let collector = start().await;
    let mut config = anonymous();
    config.alpn_protocols.clear();
    if let Ok(mut stream) = tls(collector.app.agents, config).await {
        let ended = timeout(SOON, stream.read(&mut [0; 9])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    let mut config = anonymous();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(tls(collector.app.agents, config).await.is_err());
    let failures = &collector.app.context.metrics.handshake_failures;
    until("both are counted", async || {
        let count = |reason| failures.get_or_create(&Reason { reason }).get();
        count("protocol") + count("tls") == 2
    })
    .await;
}

#[tokio::test]
async fn an_agent_has_few_channels() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let mut streams = Vec::new();
    for n in 0..12_u8 {
        let hello =
            v1::Hello { instance_id: vec![n; 8], machine_fingerprint: vec![n; 8], ..hello(1) };
        let Ok(stream) = agent.open().await else { continue };
        if stream.try_send(v1::up::Message::Hello(hello)).await.is_ok() {
            streams.push(stream);
        }
    }
    until("the oldest are closed", async || collector.app.context.sessions.count() <= 4).await;
}

#[tokio::test]
async fn calls_that_do_not_exist_are_refused() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let channel = crate::fake::channel(collector.app.agents, agent.client()).await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::Hello, v1::HelloOk>::default();
    let path = http::uri::PathAndQuery::from_static("/vigie.v1.AgentLink/Other");
    let answer = client.unary(tonic::Request::new(hello(1)), path, codec).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}
