//! A collector gone mad, or somebody in its place who has its key: the agent loses nothing, grows
//! not, comes again, and measures meanwhile.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use agent::{
    app::{self, Extra},
    clock::{Clock, SystemClock},
    config::Config,
    spool::NewRecord,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::{
    KIND_SAMPLES, LANE_EVENTS, LANE_SAMPLES,
    v1::{self, down, up},
};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    collector::{Collector, Life, PLENTY, Stranger, soon},
    line::{Line, enrolled, samples, value},
};

/// Bytes of an answer without end that an agent may take before it turns away: one window.
const WINDOW: usize = 4 << 20;

type Body = BoxBody<Bytes, Infallible>;

/// Speaks HTTP/2 and answers every request with what `answer` makes.
fn http(answer: impl Fn() -> Response<Body> + Send + Sync + 'static) -> Stranger {
    Box::new(move |stream| {
        Box::pin(async move {
            let answer = Arc::new(answer);
            let service = hyper::service::service_fn(move |_| {
                let answer = Arc::clone(&answer);
                async move { Ok::<_, Infallible>(answer()) }
            });
            let serving = http2::Builder::new(TokioExecutor::new());
            // How the agent ends it is its affair.
            let _ended = serving.serve_connection(TokioIo::new(stream), service).await;
        })
    })
}

fn page(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Stranger {
    let body = body.into();
    http(move || {
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        let body = Full::new(body.clone()).boxed();
        response
            .header("content-type", kind)
            .header("location", "http://portail.invalid/")
            .header("retry-after", "315360000")
            .body(body)
            .unwrap()
    })
}

/// A body without end behind `head`; `taken` counts its bytes.
fn endless(kind: &'static str, head: &'static [u8], taken: &Arc<AtomicUsize>) -> Stranger {
    let taken = Arc::clone(taken);
    http(move || {
        let taken = Arc::clone(&taken);
        let first = futures_util::stream::iter([Bytes::from_static(head)]);
        let rest = futures_util::stream::repeat(Bytes::from_static(&[0x41; 16 << 10]));
        let body = futures_util::StreamExt::chain(first, rest);
        let body = futures_util::StreamExt::map(body, move |chunk| {
            taken.fetch_add(chunk.len(), Relaxed);
            Ok::<_, Infallible>(Frame::data(chunk))
        });
        Response::builder()
            .header("content-type", kind)
            .body(BodyExt::boxed(StreamBody::new(body)))
            .unwrap()
    })
}

/// An error of gRPC in the head of the answer.
fn refusal(code: u8, message: &str) -> Stranger {
    let message = message.to_owned();
    http(move || {
        Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", code.to_string())
            .header("grpc-message", &message)
            // Wait for ten years.
            .header("grpc-retry-pushback-ms", "315360000000")
            .body(Full::default().boxed())
            .unwrap()
    })
}

/// Says these bytes instead of HTTP/2, and closes.
fn bytes(text: &'static [u8]) -> Stranger {
    Box::new(move |mut stream| {
        Box::pin(async move {
            let _written = stream.write_all(text).await;
            let _closed = stream.shutdown().await;
        })
    })
}

#[tokio::test]
async fn whatever_answers_in_the_collectors_place_the_agent_comes_again_with_all_it_has() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let gibberish = [0xFF; 64];
    let strangers = vec![
        bytes(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>portail</html>"),
        bytes(b""),
        bytes(&[0; 4096]),
        page(200, "text/html", "<html><script>alert(1)</script></html>"),
        page(200, "application/grpc", "<html>"),
        page(302, "text/html", ""),
        page(511, "text/html", "pay"),
        page(200, "application/grpc", ""),
        page(200, "application/grpc", Bytes::copy_from_slice(&gibberish)),
        // Compressed, which was never agreed on; and a message of 4 GiB that does not come.
        page(200, "application/grpc", Bytes::from_static(&[1, 0, 0, 0, 4, 0x28, 0xB5, 0x2F, 0xFD])),
        page(200, "application/grpc", Bytes::from_static(&[0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3])),
        endless("text/html", b"<html>", &taken),
        endless("application/grpc", &[0, 0x40, 0, 0, 0], &taken),
        refusal(14, "%1B%5B2J%0D%0Aforged=1"),
        refusal(0, ""),
        refusal(99, "x"),
        refusal(8, &"x".repeat(64 << 10)),
    ];
    let count = u64::try_from(strangers.len()).unwrap();
    collector.give_way_to(strangers);
    // Failures lengthen the waits: the wall clock of the test is not that patient.
    line.uplink.as_mut().unwrap().reconnect = Duration::from_millis(1);
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let (_, records) = samples(&mut session).await;
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(collector.strangers_left(), 0);
    assert_eq!(line.metrics.session_failures.get(), count);
    let taken = taken.load(Relaxed);
    assert!(taken < 2 * WINDOW, "{taken} bytes of answers without end were taken");
    line.stop().await;
}

#[tokio::test]
async fn a_refused_agent_asks_rarely_and_never_stops_asking() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..3).await;
    collector.give_way_to(vec![refusal(16, "unknown"), refusal(7, "revoked")]);
    line.uplink.as_mut().unwrap().reconnect = Duration::from_millis(5);
    let began = tokio::time::Instant::now();
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    assert!(began.elapsed() > Duration::from_millis(2 * 60 * 5), "it asked again at once");
    assert_eq!(samples(&mut session).await.1.len(), 3);
    line.stop().await;
}

#[tokio::test]
async fn a_collector_that_sends_away_for_nothing_is_not_hammered() {
    const TURNS: u32 = 40;
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..3).await;
    line.uplink.as_mut().unwrap().reconnect = Duration::from_millis(40);
    let began = tokio::time::Instant::now();
    line.connect();
    for _ in 0..TURNS {
        let (session, _) = collector.session().await;
        session.say(down::Message::Away(v1::GoAway::default())).await;
    }
    // Waits are drawn from 0 to 40 ms: that forty of them are all below 5 happens never.
    assert!(began.elapsed() > TURNS * Duration::from_millis(5), "{:?}", began.elapsed());
    let (mut session, _) = collector.begin(PLENTY).await;
    assert_eq!(samples(&mut session).await.1.len(), 3);
    line.stop().await;
}

#[tokio::test]
async fn credit_without_bound_is_bounded_by_the_agent() {
    use agent::uplink::sender::{MAX_CREDIT_BYTES, MAX_CREDIT_RECORDS};
    const RECORD: usize = 100 << 10;
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    let mut noise = 1_u64;
    for _ in 0..2 * usize::try_from(MAX_CREDIT_BYTES).unwrap() / RECORD {
        let mut payload = vec![0; RECORD];
        for chunk in payload.chunks_exact_mut(8) {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            chunk.copy_from_slice(&noise.to_le_bytes());
        }
        let record = NewRecord {
            lane: LANE_SAMPLES,
            kind: KIND_SAMPLES,
            boot_ns: line.clock.boot_ns(),
            wall_ns: line.clock.wall_ns(),
            boot_tag: line.clock.boot_tag(),
            n_items: 1,
            urgent: false,
            payload,
        };
        while line.spool.try_append(record.clone()).is_err() {
            soon(line.spool.commit()).await.unwrap();
        }
    }
    soon(line.spool.commit()).await.unwrap();
    line.connect();
    let all = v1::Credit { bytes: u64::MAX, records: u64::MAX };
    let (mut session, _) = collector.begin(all).await;
    session.say(down::Message::Credit(all)).await;
    let (mut raw, mut records) = (0_u64, 0_u64);
    let (mut last, mut none) = (None, false);
    while !none {
        match tokio::time::timeout(Duration::from_secs(1), session.hear()).await {
            Ok(Some(up::Message::Records(batch))) => {
                raw += u64::from(batch.raw_len);
                records += 1;
                last = Some(batch);
            }
            Ok(_) => {}
            Err(_) => none = true,
        }
        // The last record goes whole.
        let most = MAX_CREDIT_BYTES + RECORD as u64;
        assert!(raw <= most && records <= MAX_CREDIT_RECORDS, "{raw} in flight");
    }
    assert!(raw > MAX_CREDIT_BYTES / 2 - (1 << 20), "only {raw} bytes came");
    // None at all, then some again.
    session.say(down::Message::Credit(v1::Credit::default())).await;
    session.say(down::Message::Credit(all)).await;
    let last = last.unwrap();
    let acked = Arc::clone(&line.metrics);
    session.ack(&last, 1, &[]).await;
    soon(async {
        while acked.acks.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    line.stop().await;
}

/// What a session may be told that makes no sense.
fn nonsense(epoch: u64) -> Vec<down::Message> {
    let time = |asked, received, sent| {
        down::Message::Time(v1::TimeReply {
            agent_boot_ns: asked,
            received_wall_ns: received,
            sent_wall_ns: sent,
        })
    };
    let ack = |lane, epoch, contig_upto, above: Vec<(u64, u64)>| {
        let above = above.into_iter().map(|(from, to)| v1::Range { from, to }).collect();
        let rejected = vec![v1::Rejection { seq: u64::MAX, reason: "\u{1b}[2J\r\n".repeat(400) }];
        down::Message::Ack(v1::Ack { lane, epoch, contig_upto, above, rejected, credit: None })
    };
    vec![
        time(0, i64::MIN, i64::MAX),
        time(u64::MAX, i64::MAX, i64::MIN),
        ack(u32::MAX, u64::MAX, u64::MAX, vec![]),
        ack(LANE_SAMPLES, epoch, u64::MAX, vec![(u64::MAX, u64::MAX)]),
        ack(LANE_SAMPLES, epoch, 0, vec![(0, 0)]),
        ack(LANE_SAMPLES, epoch, 0, (0..20_000).map(|n| (2 * n + 2, 2 * n + 2)).collect()),
        ack(LANE_EVENTS, epoch, 3, vec![]),
        ack(LANE_SAMPLES, 0, 1, vec![(5, 4), (4, 5)]),
    ]
}

#[tokio::test]
async fn a_flood_of_nonsense_frees_nothing_and_records_go_on() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let (batch, first) = samples(&mut session).await;
    let words = nonsense(batch.epoch);
    for turn in 0..2_000 {
        session.say(words[turn % words.len()].clone()).await;
    }
    line.measure(10..12).await;
    let mut more = Vec::new();
    while more.len() < 2 {
        more.extend(samples(&mut session).await.1);
    }
    assert_eq!(more.iter().map(value).collect::<Vec<_>>(), [10, 11]);
    assert_eq!(line.metrics.acks.get(), 0);
    drop(session);
    let (mut session, _) = collector.begin(PLENTY).await;
    let mut again = Vec::new();
    while again.len() < 12 {
        again.extend(samples(&mut session).await.1);
    }
    assert_eq!(again[..10], first, "nothing is gone");
    line.stop().await;
}

#[tokio::test]
async fn an_answer_to_the_hello_that_claims_what_was_never_sent_loses_nothing() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    // It says that it has all that there is, before anything of it was ever sent.
    let (session, hello) = collector.session().await;
    session
        .ok(&hello, PLENTY, |resume| {
            if resume.lane == LANE_SAMPLES {
                resume.contig_upto = 10;
            }
        })
        .await;
    let (session, hello) = collector.session().await;
    // Each lane twice, a lane that is none, ranges without number.
    let lanes: Vec<_> = hello
        .lanes
        .iter()
        .chain(&hello.lanes)
        .map(|lane| v1::LaneResume { lane: lane.lane, epoch: lane.epoch, ..Default::default() })
        .chain([v1::LaneResume { lane: 77, epoch: 1, contig_upto: u64::MAX, ..Default::default() }])
        .collect();
    let ok = v1::HelloOk {
        protocol: hello.protocol_max,
        db_generation: u64::MAX,
        lanes,
        time: Some(v1::TimeReply {
            agent_boot_ns: hello.boot_ns,
            received_wall_ns: i64::MIN,
            sent_wall_ns: i64::MIN,
        }),
        credit: Some(PLENTY),
        site_name: "\u{1b}[2J".repeat(10_000),
    };
    session.say(down::Message::Ok(ok)).await;
    let mut session = session;
    let mut there = Vec::new();
    while there.len() < 10 {
        there.extend(samples(&mut session).await.1);
    }
    assert_eq!(there.iter().map(value).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    line.stop().await;
}

/// Configurations that must be refused with a reason, beside `good`, which is in force.
fn garbage(good: &v1::Group) -> Vec<v1::Config> {
    let with = |groups: Vec<v1::Group>| v1::Config { groups, ..Default::default() };
    let one = |change: &dyn Fn(&mut v1::Group)| {
        let mut group = good.clone();
        change(&mut group);
        with(vec![group])
    };
    let column = good.columns[0].clone();
    let tcp = |target: &str| {
        let targets = vec![target.to_owned()];
        Some(v1::group::Probe::Tcp(v1::TcpProbe { targets }))
    };
    let icmp = |count, spacing_ms, payload_bytes| {
        let targets = vec!["127.0.0.1".to_owned()];
        Some(v1::group::Probe::Icmp(v1::IcmpProbe { targets, count, spacing_ms, payload_bytes }))
    };
    let snmp = |address: &str, community: &str, max_repetitions| {
        let (address, community) = (address.to_owned(), community.to_owned());
        Some(v1::group::Probe::Snmp(v1::SnmpProbe {
            address,
            community,
            max_repetitions,
            credential: None,
        }))
    };
    let numbered =
        |count: u32| (1..=count).map(|id| v1::Group { id, ..good.clone() }).collect::<Vec<_>>();
    let mut all = vec![
        with(vec![good.clone(), good.clone()]),
        with(numbered(1_001)),
        v1::Config { references: vec!["192.0.2.1".to_owned(); 17], ..with(vec![]) },
        one(&|group| group.id = 0),
        one(&|group| group.period_ms = 0),
        one(&|group| group.period_ms = u32::MAX),
        one(&|group| group.timeout_ms = 0),
        one(&|group| group.timeout_ms = u32::MAX),
        one(&|group| group.probe = None),
        one(&|group| group.columns = Vec::new()),
        one(&|group| group.columns = vec![column.clone(); 20_001]),
        one(&|group| group.columns[0].metric = -1),
        one(&|group| group.columns[0].metric = i32::MAX),
        one(&|group| group.columns[0].target = u32::MAX),
        one(&|group| group.columns[0].label = "é".repeat(2_000)),
        one(&|group| group.probe = icmp(0, 0, 0)),
        one(&|group| group.probe = icmp(u32::MAX, 1, 0)),
        one(&|group| group.probe = icmp(100, u32::MAX, 0)),
        one(&|group| group.probe = icmp(1, 0, u32::MAX)),
        one(&|group| group.probe = snmp("127.0.0.1", "public", u32::MAX)),
        one(&|group| group.probe = snmp("127.0.0.1", &"x".repeat(300), 10)),
        one(&|group| group.probe = snmp("", "public", 10)),
        one(&|group| {
            let urls = vec!["file:///etc/passwd".to_owned()];
            group.probe = Some(v1::group::Probe::Http(v1::HttpProbe { urls }));
        }),
        one(&|group| group.probe = Some(v1::group::Probe::Tcp(v1::TcpProbe { targets: vec![] }))),
    ];
    for target in ["", ":", "x:0", "x:99999", "a b:80", "\0:80", "x:80\r\nx"] {
        all.push(one(&|group| group.probe = tcp(target)));
    }
    for (config, version) in all.iter_mut().zip(100..) {
        config.version = version;
    }
    all
}

#[tokio::test]
async fn garbage_as_configuration_is_refused_word_by_word_and_measuring_goes_on() {
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
    let (mut session, _) = collector.begin(PLENTY).await;
    let good = v1::Group {
        id: 3,
        layout: 7,
        period_ms: 1_000,
        timeout_ms: 900,
        columns: vec![v1::Column { metric: v1::Metric::Uptime.into(), ..Default::default() }],
        probe: Some(v1::group::Probe::Host(v1::HostProbe {})),
    };
    let plan = v1::Config { version: 5, groups: vec![good.clone()], ..Default::default() };
    session.say(down::Message::Config(plan)).await;
    let mut left = garbage(&good).into_iter();
    let (mut asked, mut measured, mut decoder) = (5, 0, proto::records::Decoder::new());
    loop {
        match session.hear().await.expect("the session goes on") {
            up::Message::Config(status) if status.version == asked => {
                assert_eq!(status.applied, asked == 5, "{asked}: {}", status.reason);
                assert_eq!(status.reason.is_empty(), asked == 5, "{asked}: no reason");
                assert!(status.reason.len() <= 4 << 10, "{asked}: {}", status.reason.len());
                let Some(next) = left.next() else { break };
                asked = next.version;
                session.say(down::Message::Config(next)).await;
            }
            up::Message::Records(batch) => {
                let records = decoder.decode(&batch).unwrap();
                measured += records.iter().filter(|record| record.kind == KIND_SAMPLES).count();
            }
            _ => {}
        }
    }
    // One that is larger than a message may be ends the session, and nothing more.
    let references = vec!["x".repeat(1 << 20), "x".repeat(1 << 20)];
    let config = v1::Config { version: 999, references, ..Default::default() };
    session.say(down::Message::Config(config)).await;
    while session.hear().await.is_some() {}
    let (mut session, hello) = collector.begin(PLENTY).await;
    assert_eq!(hello.config_applied, 5);
    let before = measured;
    let mut decoder = proto::records::Decoder::new();
    while measured < before + 3 {
        if let up::Message::Records(batch) = session.hear().await.expect("it measures") {
            let records = decoder.decode(&batch).unwrap();
            measured += records.iter().filter(|record| record.kind == KIND_SAMPLES).count();
        }
    }
    stop.cancel();
    while !matches!(session.hear().await, Some(up::Message::Goodbye(_)) | None) {}
    drop(session);
    soon(running).await.unwrap().unwrap();
}
