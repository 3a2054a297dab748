//! Bytes that no encoder of ours would make, below and inside the messages.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use collector::{
    app::Parts, config::TLS_NAME, metrics::Reason, session::SessionLimits, tls::ListenLimits,
};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use prost::Message as _;
use proto::v1;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, body::Body};
use tower::{Service as _, ServiceExt as _};

use crate::fake::{
    Agent, Collector, SOON, anonymous, channel, enrol, enrol_request, event, hello, samples, start,
    start_with,
};

/// A call whose bytes the test writes itself.
struct Raw {
    up: mpsc::Sender<Result<Frame<Bytes>, Status>>,
    down: Body,
    unread: bytes::BytesMut,
}

/// The five bytes of gRPC before a message of this length.
fn prefix(length: u32) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes()].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [prefix(u32::try_from(message.len()).unwrap()), message.to_vec()].concat()
}

fn call(method: &str, body: Body) -> http::Request<Body> {
    http::Request::post(format!("https://{TLS_NAME}/vigie.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

impl Raw {
    /// A session that has said nothing.
    async fn open(collector: &Collector, agent: &Agent) -> Self {
        let mut channel = channel(collector.app.agents, agent.client()).await.unwrap();
        let (up, frames) = mpsc::channel(4);
        let body = Body::new(StreamBody::new(ReceiverStream::new(frames)));
        let response = channel.ready().await.unwrap().call(call("AgentLink/Session", body));
        let response = timeout(SOON, response).await.expect("an answer in time").unwrap();
        assert!(response.headers().get("grpc-status").is_none(), "{response:?}");
        Self { up, down: response.into_body(), unread: bytes::BytesMut::new() }
    }

    /// A session after its hello.
    async fn session(collector: &Collector, agent: &Agent) -> Self {
        let mut raw = Self::open(collector, agent).await;
        let hello = v1::Up { message: Some(v1::up::Message::Hello(hello(1))) };
        raw.send(&framed(&hello.encode_to_vec())).await;
        loop {
            match raw.next().await {
                Some(v1::down::Message::Config(_)) => return raw,
                Some(_) => {}
                None => panic!("the stream ended at its hello"),
            }
        }
    }

    async fn send(&self, bytes: &[u8]) {
        for part in bytes.chunks(16 << 10) {
            let frame = Frame::data(Bytes::copy_from_slice(part));
            // A stream that ended in between is what the answer tells.
            let _ = timeout(SOON, self.up.send(Ok(frame))).await.expect("it is taken in time");
        }
    }

    /// The next message; `None` when the stream ended.
    async fn next(&mut self) -> Option<v1::down::Message> {
        loop {
            if self.unread.len() >= 5 {
                let length = usize::try_from((&self.unread[1..5]).get_u32()).unwrap();
                if self.unread.len() >= 5 + length {
                    let message = self.unread.split_to(5 + length);
                    return v1::Down::decode(&message[5..]).unwrap().message;
                }
            }
            match timeout(SOON, self.down.frame()).await.expect("a message or the end in time") {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.unread.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The collector's last word.
    async fn away(&mut self) -> v1::GoAway {
        loop {
            match self.next().await {
                Some(v1::down::Message::Away(away)) => {
                    assert_eq!(self.next().await, None, "nothing follows the last word");
                    return away;
                }
                Some(_) => {}
                None => panic!("the stream ended without a word"),
            }
        }
    }
}

/// A key of a protobuf field.
fn key(field: u32, wire_type: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(field << 3 | wire_type), &mut bytes);
    bytes
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = key(number, 2);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    [bytes, content.to_vec()].concat()
}

/// Groups, a kind of field that no one writes any more, one in the other.
fn groups(deep: usize) -> Vec<u8> {
    [key(100, 3).repeat(deep), key(100, 4).repeat(deep)].concat()
}

const MALFORMED: &str = "a message is malformed";
const LARGE: &str = "a message is too large";

/// Messages that can not be read, by what is wrong with them.
fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a number of eleven bytes", [key(3, 0), vec![0xff; 10], vec![1]].concat()),
        ("a length of -1", [key(3, 2), vec![0xff; 9], vec![1]].concat()),
        ("a length of -1 in 32 bits", [key(3, 2), vec![0xff, 0xff, 0xff, 0xff, 0x0f]].concat()),
        ("a length beyond the message", [key(3, 2), vec![100], vec![0; 99]].concat()),
        ("an unknown field beyond the message", [key(99, 2), vec![0x80, 0x80, 4]].concat()),
        ("a field without its content", key(3, 2)),
        ("field 0", [key(0, 0), vec![1]].concat()),
        ("a kind of field that does not exist", [key(99, 6), vec![1]].concat()),
        ("another kind of field that does not exist", [key(99, 7), vec![1]].concat()),
        ("a message where a number is due", [key(3, 0), vec![1]].concat()),
        ("groups in groups", groups(10_000)),
        ("groups that nobody ends", key(100, 3).repeat(1000)),
        ("the end of a group that did not begin", key(100, 4)),
        ("text that is none", field(5, &field(1, b"\xff\xfe"))),
        ("noise", vec![0xff; 4096]),
    ]
}

#[tokio::test]
async fn messages_that_can_not_be_read_end_their_stream_with_a_word_and_are_counted() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let site = collector.site_of(&agent).await;
    let cases = unreadable();
    for (what, message) in &cases {
        let mut raw = Raw::session(&collector, &agent).await;
        raw.send(&framed(message)).await;
        let away = raw.away().await;
        assert_eq!((away.reason.as_str(), away.refused), (MALFORMED, false), "{what}");
        assert!(away.retry_min_ms > 0, "{what}: {away:?}");
    }
    let refused = &collector.app.context.metrics.refused_calls;
    let counted = refused.get_or_create(&Reason { reason: MALFORMED }).get();
    assert_eq!(counted, cases.len() as u64);
    assert_eq!(collector.samples(site).await, 0);
    let (mut stream, _) = agent.hello(hello(1)).await;
    stream.samples(&samples(&agent, 1..=3)).await;
    assert_eq!(stream.ack().await.contig_upto, 3);
}

#[tokio::test]
async fn what_a_newer_agent_adds_is_passed_over_and_the_last_of_two_messages_holds() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let heartbeat = v1::Heartbeat { boot_ns: 77, ..v1::Heartbeat::default() };
    let heartbeat = v1::Up { message: Some(v1::up::Message::Heartbeat(heartbeat)) };
    let heartbeat = heartbeat.encode_to_vec();
    let goodbye = field(5, &field(1, b"stop"));
    let padding = proto::limits::MAX_MESSAGE_BYTES - heartbeat.len() - 5;
    let unknown = field(1000, &vec![0xff; padding]);
    assert_eq!(unknown.len() + heartbeat.len(), proto::limits::MAX_MESSAGE_BYTES);
    let small = [key(999, 0), vec![1]].concat().repeat(300_000);
    let taken = [
        [unknown.clone(), heartbeat.clone()].concat(),
        [heartbeat.clone(), unknown].concat(),
        [small, heartbeat.clone()].concat(),
        [groups(50), heartbeat.clone()].concat(),
        [goodbye, heartbeat.clone()].concat(),
        [field(3, &[]), field(3, &[]), heartbeat.clone()].concat(),
    ];
    let mut raw = Raw::session(&collector, &agent).await;
    for message in taken {
        raw.send(&framed(&message)).await;
        match raw.next().await {
            Some(v1::down::Message::Time(time)) => assert_eq!(time.agent_boot_ns, 77),
            other => panic!("no answer to the heartbeat: {other:?}"),
        }
    }
    // No message at all is a newer agent's too.
    raw.send(&framed(&field(1000, b"new"))).await;
    raw.send(&framed(&[])).await;
    raw.send(&framed(&heartbeat)).await;
    assert!(matches!(raw.next().await, Some(v1::down::Message::Time(_))));
}

#[tokio::test]
async fn a_message_announced_too_large_is_refused_before_it_comes() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let most = u32::try_from(proto::limits::MAX_MESSAGE_BYTES).unwrap();
    for length in [u32::MAX, 1 << 31, most + 1] {
        let mut raw = Raw::session(&collector, &agent).await;
        // And then silence.
        raw.send(&prefix(length)).await;
        assert_eq!(raw.away().await.reason, LARGE, "{length} bytes");
        // The same in the place of the hello.
        let mut raw = Raw::open(&collector, &agent).await;
        raw.send(&prefix(length)).await;
        assert_eq!(raw.away().await.reason, LARGE, "{length} bytes first");
    }
    for flag in [1, 2, 0xff] {
        let mut raw = Raw::session(&collector, &agent).await;
        raw.send(&[flag, 0, 0, 0, 1, 0]).await;
        assert_eq!(raw.away().await.reason, MALFORMED, "compression {flag}");
    }
}

#[tokio::test]
async fn a_message_that_never_ends_is_given_up() {
    let limits = SessionLimits {
        hello: Duration::from_millis(200),
        idle: Duration::from_millis(500),
        ..SessionLimits::default()
    };
    let collector = start_with(Parts { session: limits, ..Parts::default() }, "").await;
    let agent = collector.agent(999_001).await;
    let most = u32::try_from(proto::limits::MAX_MESSAGE_BYTES).unwrap();
    let begun = [prefix(most), vec![0; 9]].concat();
    let mut raw = Raw::open(&collector, &agent).await;
    raw.send(&begun).await;
    assert_eq!(raw.away().await.reason, "no hello in time");
    for begun in [&begun[..], &begun[..5], &begun[..3]] {
        let mut raw = Raw::session(&collector, &agent).await;
        raw.send(begun).await;
        assert_eq!(raw.away().await.reason, "silence");
    }
}

/// The status of a call to `Enrol` with these bytes.
async fn enrol_raw(collector: &Collector, bytes: Vec<u8>) -> Option<i32> {
    let mut channel = channel(collector.app.agents, anonymous()).await.unwrap();
    let body = Body::new(http_body_util::Full::new(Bytes::from(bytes)));
    let response = channel.ready().await.unwrap().call(call("Enrolment/Enrol", body));
    let response = timeout(SOON, response).await.expect("an answer in time").unwrap();
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned();
    let of = |headers: &http::HeaderMap| headers.get("grpc-status").cloned();
    let status = of(&head.headers).or_else(|| of(trailers.as_ref()?));
    status?.to_str().ok()?.parse().ok()
}

#[tokio::test]
async fn enrolments_that_can_not_be_read_burn_no_token() {
    let collector = start_with(Parts::default(), "enrol_per_address_per_minute = 60\n").await;
    let token = collector.token(collector.site(999_001).await).await;
    let key = KeyPair::generate().unwrap();
    let request = enrol_request(&token, &key).encode_to_vec();
    for (what, message) in unreadable() {
        // Whatever stands around it.
        for message in [[message.clone(), request.clone()].concat(), message] {
            let status = enrol_raw(&collector, framed(&message)).await;
            let unread = [Code::Internal as i32, Code::InvalidArgument as i32];
            assert!(status.is_some_and(|status| unread.contains(&status)), "{what}: {status:?}");
        }
    }
    for large in [prefix(u32::MAX), framed(&field(1000, &vec![0; 1 << 20]))] {
        assert_eq!(enrol_raw(&collector, large).await, Some(Code::OutOfRange as i32));
    }
    let store = &collector.app.context.store;
    assert!(store.agents().await.unwrap().is_empty());
    let reply = enrol(collector.app.agents, &token, &key).await.unwrap();
    assert_eq!(store.agents().await.unwrap().len(), 1);
    assert!(!reply.chain.is_empty());
}

#[tokio::test]
async fn an_enrolment_that_never_ends_is_given_up() {
    let listen = ListenLimits { unproven: Duration::from_millis(500), ..ListenLimits::default() };
    let collector = start_with(Parts { listen, ..Parts::default() }, "").await;
    let mut channel = channel(collector.app.agents, anonymous()).await.unwrap();
    let (up, frames) = mpsc::channel(1);
    up.send(Ok::<_, Status>(Frame::data(Bytes::from(prefix(1000))))).await.unwrap();
    let body = Body::new(StreamBody::new(ReceiverStream::new(frames)));
    let response = channel.ready().await.unwrap().call(call("Enrolment/Enrol", body));
    let ended = timeout(SOON, response).await.expect("the channel is closed");
    assert!(ended.is_err(), "{ended:?}");
    drop(up);
}

#[tokio::test]
async fn events_with_odd_content_are_rejected_alone_or_kept_as_they_are() {
    let collector = start().await;
    let agent = collector.agent(999_001).await;
    let (mut stream, _) = agent.hello(hello(1)).await;
    let gap = |reason: i32| {
        v1::event::Event::Gap(v1::Gap { reason, to_boot_ns: u64::MAX, ..v1::Gap::default() })
    };
    let raw = |seq, payload: Vec<u8>| crate::fake::record(seq, proto::KIND_EVENT, payload);
    let loss = v1::Loss { lane: 1, epoch: 0, from_seq: 1, to_seq: 2, ..v1::Loss::default() };
    let loss = v1::Event { event: Some(v1::event::Event::Loss(loss)) }.encode_to_vec();
    let started = v1::Event { event: Some(v1::event::Event::Started(v1::Started::default())) };
    let started = started.encode_to_vec();
    // What compresses well would be taken for a bomb.
    let noise: Vec<u8> =
        (0..200_u32 << 10).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut records = vec![
        // Reasons of a newer agent.
        event(1, gap(9999)),
        event(2, gap(-1)),
        event(3, gap(i32::MIN)),
        raw(4, Vec::new()),
        raw(5, field(1000, &noise)),
        // The last of two holds: once the loss, which is absurd, once not.
        raw(6, [loss.clone(), started.clone()].concat()),
        raw(7, [started.clone(), loss].concat()),
        raw(8, [groups(50), started].concat()),
    ];
    let kept = records.len() as u64;
    for (at, (_, payload)) in (kept + 1..).zip(unreadable()) {
        // Field 5 is text in an `Up`; here it is an inventory, whose second field is text.
        let payload = if payload.starts_with(&key(5, 2)) {
            field(5, &field(2, b"\xff\xfe"))
        } else {
            payload
        };
        records.push(raw(at, payload));
    }
    let last = records.len() as u64 + 1;
    records.push(event(last, v1::event::Event::Stopped(v1::Stopped::default())));
    stream.events(&records).await;
    let ack = stream.ack().await;
    assert_eq!(ack.contig_upto, last);
    let rejected: Vec<_> =
        ack.rejected.iter().map(|rejected| (rejected.seq, rejected.reason.as_str())).collect();
    let mut expected = vec![(7, "loss")];
    expected.extend((kept + 1..last).map(|seq| (seq, "payload")));
    assert_eq!(rejected, expected);
}

#[tokio::test]
async fn a_client_with_a_huge_chain_is_not_let_in() {
    let collector = start().await;
    let mut agent = collector.agent(999_001).await;
    let leaf = agent.chain[0].clone();
    let with = |more: Vec<CertificateDer<'static>>| [vec![leaf.clone()], more].concat();
    let trust = agent.trust.clone();
    let bad = [
        with(vec![trust.clone(); 2]),
        with(vec![trust.clone(); 50]),
        with(vec![leaf.clone(); 100]),
        with(vec![CertificateDer::from(vec![0x30; 60_000])]),
    ];
    for chain in bad {
        let (length, bytes) = (chain.len(), chain.iter().map(|der| der.len()).sum::<usize>());
        agent.chain = chain;
        let opened = agent.open().await;
        let harmless = length == 2 && bytes > 60_000;
        assert_eq!(opened.is_ok(), harmless, "{length} certificates of {bytes} bytes");
    }
    assert_eq!(collector.app.context.live.connected(), 0);
    agent.chain = with(vec![trust]);
    let (_stream, _) = agent.hello(hello(1)).await;
}
