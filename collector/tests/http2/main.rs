//! HTTP/2 itself as the weapon, in the hands of somebody with a stolen certificate: each abuse ends
//! its own connection, or is slowed to the pace at which it is read, while another agent's records
//! are acknowledged and the collector does not grow.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that called them")]

#[path = "../agents/fake.rs"]
#[expect(dead_code, reason = "the agents' tests use the rest")]
mod fake;
mod frames;

use std::{cell::Cell, fs, io, sync::Arc, time::Duration};

use collector::config::TLS_NAME;

use fake::{Agent, Collector, SOON, Stream, hello, samples, start, until};
use frames::{Connection, call, flags, frame, kind, literal};
use futures_util::future::join_all;
use prost::Message as _;
use proto::v1;
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpSocket,
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// One at a time: they watch the memory of this very process.
static ALONE: Mutex<()> = Mutex::const_new(());
/// What an abuse may make this process grow by, both sides of it together.
const MAX_GROWTH: usize = 48 << 20;
/// Longest wait of another agent for an acknowledgement meanwhile.
const MAX_ACK: Duration = Duration::from_secs(5);
/// How long an abuse that is not ended at once goes on.
const WHILE: Duration = Duration::from_secs(2);
/// Connections of one abuse: as many as the collector lets one agent have.
const CONNECTIONS: usize = 4;
/// An abuse by somebody who hears what is answered.
const READING: (bool, Duration) = (false, WHILE);
/// Reason of a GOAWAY: the peer's behaviour might be generating excessive load.
const ENHANCE_YOUR_CALM: u32 = 11;
/// Longest time until a peer that reads nothing is read no more.
const STALL: Duration = Duration::from_secs(20);
/// Bytes that a head without end may have.
const MAX_HEAD: usize = 8 << 20;

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A collector with an honest agent, and one whose certificate was stolen.
struct Scene {
    collector: Collector,
    thief: Agent,
    witness: (Agent, Stream),
    sent: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    async fn new() -> Self {
        let alone = ALONE.lock().await;
        let collector = start().await;
        let thief = collector.agent(999_001).await;
        let honest = collector.agent(999_002).await;
        let (stream, _) = honest.hello(hello(1)).await;
        let mut scene =
            Self { collector, thief, witness: (honest, stream), sent: 0, _alone: alone };
        scene.acknowledged().await;
        scene
    }

    async fn connect(&self, deaf: bool) -> Connection {
        let socket = TcpSocket::new_v4().unwrap();
        if deaf {
            // What is not read shall soon fill what there is.
            socket.set_recv_buffer_size(4 << 10).unwrap();
        }
        let socket = socket.connect(self.collector.app.agents).await.unwrap();
        let tls = TlsConnector::from(Arc::new(self.thief.client()));
        let name = ServerName::try_from(TLS_NAME).unwrap();
        Connection::new(tls.connect(name, socket).await.unwrap(), deaf)
    }

    /// The honest agent sends a record and has it acknowledged.
    async fn acknowledged(&mut self) -> Duration {
        let began = Instant::now();
        self.sent += 1;
        let (agent, stream) = &mut self.witness;
        stream.samples(&samples(agent, self.sent..=self.sent)).await;
        while stream.ack().await.contig_upto < self.sent {}
        began.elapsed()
    }

    /// Lets `abuse` have its connections for a while, or until it ends, and watches the others.
    async fn suffer(
        &mut self,
        (deaf, limit): (bool, Duration),
        abuse: impl AsyncFn(&mut Connection) -> io::Result<()>,
    ) -> Vec<Connection> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.connect(deaf).await);
        }
        let before = resident();
        let over = Cell::new(false);
        let abusing = async {
            // That it was ended is what the connection tells, and each test judges.
            let abused = connections.iter_mut().map(|each| timeout(limit, abuse(each)));
            let _ended = join_all(abused).await;
            over.set(true);
        };
        let watching = async {
            let (mut worst, mut most) = (Duration::ZERO, 0);
            loop {
                worst = worst.max(self.acknowledged().await);
                most = most.max(resident());
                if over.get() {
                    return (worst, most);
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let ((), (worst, most)) = tokio::join!(abusing, watching);
        assert!(worst < MAX_ACK, "another agent waited {worst:?}");
        let grown = most.saturating_sub(before);
        assert!(grown < MAX_GROWTH, "{} MiB more memory", grown >> 20);
        connections
    }

    /// Waits until the collector has ended each of these; the codes of its GOAWAYs.
    async fn ended(&self, connections: &[Connection]) -> Vec<Option<u32>> {
        until("the connections are ended", async || {
            connections.iter().all(|each| each.heard().ended)
        })
        .await;
        connections.iter().map(|each| each.heard().code).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_opened_and_reset_at_once_end_their_connection() {
    let mut scene = Scene::new().await;
    let connections = scene
        .suffer(READING, async |connection| {
            connection.begin(&[]).await?;
            let head = call("AgentLink/Session");
            let mut stream = 1;
            loop {
                let mut burst = Vec::new();
                for _ in 0..100 {
                    burst.extend(frame(kind::HEADERS, flags::END_HEADERS, stream, &head));
                    burst.extend(frame(
                        kind::RST_STREAM,
                        flags::NONE,
                        stream,
                        &8_u32.to_be_bytes(),
                    ));
                    stream += 2;
                }
                connection.put(&burst).await?;
            }
        })
        .await;
    assert_eq!(scene.ended(&connections).await, [Some(ENHANCE_YOUR_CALM); CONNECTIONS]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_goes_on_for_ever_ends_its_connection() {
    let mut scene = Scene::new().await;
    let connections = scene
        .suffer(READING, async |connection| {
            connection.begin(&[]).await?;
            connection
                .put(&frame(kind::HEADERS, flags::NONE, 1, &call("AgentLink/Session")))
                .await?;
            let more: Vec<u8> = (0..100).flat_map(|_| literal("x", &"y".repeat(100))).collect();
            loop {
                connection.put(&frame(kind::CONTINUATION, flags::NONE, 1, &more)).await?;
            }
        })
        .await;
    scene.ended(&connections).await;
    for connection in &connections {
        assert!(connection.taken < MAX_HEAD, "{} bytes were taken", connection.taken);
    }
    // The same with nothing in it: no byte counts, but every frame does.
    let connections = scene
        .suffer(READING, async |connection| {
            connection.begin(&[]).await?;
            connection.put(&frame(kind::HEADERS, flags::NONE, 1, &[])).await?;
            let none = frame(kind::CONTINUATION, flags::NONE, 1, &[]).repeat(100);
            loop {
                connection.put(&none).await?;
            }
        })
        .await;
    scene.ended(&connections).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_pings_without_number_are_answered_no_faster_than_they_are_read() {
    let mut scene = Scene::new().await;
    let floods = [
        frame(kind::SETTINGS, flags::NONE, 0, &[0, 4, 0, 1, 0, 0]),
        frame(kind::PING, flags::NONE, 0, &[7; 8]),
        // What asks for no answer may go on: it costs its sender more than the collector.
        frame(kind::PING, flags::ACK, 0, &[7; 8]),
        // Of a kind that nobody knows: to be passed over.
        frame(0xEE, 0xFF, 0, &[7; 100]),
    ];
    for (at, flood) in floods.iter().enumerate() {
        let flood = flood.repeat(1_000);
        scene
            .suffer(READING, async |connection| {
                connection.begin(&[]).await?;
                loop {
                    connection.put(&flood).await?;
                }
            })
            .await;
        if at >= 2 {
            continue;
        }
        let stalled = Cell::new(0);
        scene
            .suffer((true, STALL), async |connection| {
                connection.begin(&[]).await?;
                while timeout(Duration::from_secs(1), connection.put(&flood)).await.is_ok() {}
                stalled.set(stalled.get() + 1);
                Ok(())
            })
            .await;
        assert_eq!(stalled.get(), CONNECTIONS, "answers that nobody reads pile up");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    let mut scene = Scene::new().await;
    let connections = scene
        .suffer(READING, async |connection| {
            connection.begin(&[]).await?;
            // A header of 4,000 bytes into the table (literal with indexing; 4,000 = 127 + 0xF21),
            // then as often as a frame has room, one byte each.
            let mut entry = vec![0x40, 1, b'x', 127];
            entry.extend([0x80 | 0x21, 0x1E]);
            entry.extend([b'y'; 4_000]);
            let mut stream = 1;
            loop {
                let mut head = call("AgentLink/Session");
                if stream == 1 {
                    head.extend(&entry);
                }
                head.resize(16_000, 0x80 | 0x3E);
                let last = flags::END_HEADERS | flags::END_STREAM;
                connection.put(&frame(kind::HEADERS, last, stream, &head)).await?;
                stream += 2;
            }
        })
        .await;
    // Refused one by one, or the connection with them; never taken for a session.
    for connection in &connections {
        let heard = connection.heard();
        assert!(heard.ended || heard.streams > 0, "{heard:?}");
    }
    assert_eq!(scene.collector.app.context.metrics.sessions.get(), 1, "the witness alone");
}

/// A session by hand: the head of the call, the hello, and what comes with it.
fn session(number: u64) -> Vec<u8> {
    let hello = v1::Up { message: Some(v1::up::Message::Hello(hello(number))) };
    let message = hello.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length, &message].concat();
    [
        frame(kind::HEADERS, flags::END_HEADERS, 1, &call("AgentLink/Session")),
        frame(kind::DATA, flags::NONE, 1, &body),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_takes_no_answer_holds_nobody_up() {
    let mut scene = Scene::new().await;
    let heartbeat = v1::Heartbeat { boot_ns: fake::BOOT_NS, ..v1::Heartbeat::default() };
    let beat = v1::Up { message: Some(v1::up::Message::Heartbeat(heartbeat)) }.encode_to_vec();
    let length = u32::try_from(beat.len()).unwrap().to_be_bytes();
    let beat = frame(kind::DATA, flags::NONE, 1, &[&[0][..], &length, &beat].concat());
    // No window at all: each heartbeat has an answer that can not leave.
    let few = scene
        .suffer(READING, async |connection| {
            connection.begin(&[(4, 0)]).await?;
            connection.put(&session(1)).await?;
            for _ in 0..50 {
                connection.put(&beat).await?;
                sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        })
        .await;
    // They are still open: the stolen certificate's owner has its session none the less.
    {
        let (mut stream, _) = scene.thief.hello(hello(1)).await;
        stream.samples(&samples(&scene.thief, 1..=1)).await;
        while stream.ack().await.contig_upto < 1 {}
    }
    drop(few);
    // As many as the window takes without a word: they pile up, and that ends the connection.
    let many = scene
        .suffer((false, SOON), async |connection| {
            connection.begin(&[(4, 0)]).await?;
            connection.put(&session(2)).await?;
            loop {
                connection.put(&beat).await?;
            }
        })
        .await;
    scene.ended(&many).await;
    // Also windows that are given in single bytes, and one that overflows.
    let connections = scene
        .suffer(READING, async |connection| {
            connection.begin(&[(4, 0)]).await?;
            connection.put(&session(1)).await?;
            let one = frame(kind::WINDOW_UPDATE, flags::NONE, 1, &1_u32.to_be_bytes());
            for _ in 0..2_000 {
                connection.put(&one).await?;
            }
            let much = frame(kind::WINDOW_UPDATE, flags::NONE, 0, &0x7FFF_FFFF_u32.to_be_bytes());
            connection.put(&much.repeat(2)).await
        })
        .await;
    for connection in connections {
        until("the overflow is answered", async || connection.heard().ended).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_come_byte_by_byte_hold_nobody_up() {
    let mut scene = Scene::new().await;
    let before = scene.connect(false).await;
    scene
        .suffer(READING, async |connection| {
            for byte in [frames::PREFACE, &frame(kind::SETTINGS, flags::NONE, 0, &[])].concat() {
                connection.put(&[byte]).await?;
                sleep(Duration::from_millis(10)).await;
            }
            for byte in frame(kind::HEADERS, flags::NONE, 1, &call("AgentLink/Session")) {
                connection.put(&[byte]).await?;
                sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        })
        .await;
    // An agent has four connections at most: the first of its five was closed.
    until("the first of five is closed", async || before.heard().ended).await;
    // Streams beyond the limit are refused one by one.
    let connections = scene
        .suffer(READING, async |connection| {
            connection.begin(&[]).await?;
            for stream in (1..40).step_by(2) {
                let head = call("AgentLink/Session");
                connection.put(&frame(kind::HEADERS, flags::END_HEADERS, stream, &head)).await?;
            }
            sleep(Duration::from_secs(1)).await;
            Ok(())
        })
        .await;
    for connection in &connections {
        let heard = connection.heard();
        assert!(heard.ended || heard.streams >= 16, "{heard:?}");
    }
    assert!(timeout(SOON, scene.acknowledged()).await.is_ok());
}
