//! Questions to dnsmasq, and to servers that misbehave.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    plan::{Metric, ProbeKind},
    probe::{Env, Outcome},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

use crate::support::{Subject, closed_port, env, loopback, until};

const METRICS: [Metric; 3] = [Metric::DnsOutcome, Metric::DnsRcode, Metric::DnsQueryTime];
const A: u16 = 1;
const TXT: u16 = 16;

/// A dnsmasq of our own, gone with this value.
struct Dnsmasq {
    child: Child,
    address: SocketAddr,
}

impl Dnsmasq {
    async fn start(address: SocketAddr) -> Self {
        let text = |letter: &str| letter.repeat(250);
        let child = Command::new("/usr/sbin/dnsmasq")
            // Without children, which would keep the sockets open after it.
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--bind-interfaces", "--pid-file="])
            .arg(format!("--listen-address={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .args(["--local=/school.test/", "--address=/www.school.test/10.1.2.3"])
            .arg(format!("--txt-record=big.school.test,{},{},{}", text("a"), text("b"), text("c")))
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq is needed at /usr/sbin/dnsmasq");
        let server = Self { child, address };
        until("dnsmasq listening", || async {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        server
    }

    async fn anywhere() -> Self {
        Self::start(closed_port()).await
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // Ours alone, by its id.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn ask(resolver: Option<SocketAddr>, name: &str, record_type: u16, env: &Env) -> Subject {
    let resolvers = vec![resolver];
    let kind = ProbeKind::Dns { resolvers, name: name.to_owned(), record_type };
    Subject::new(kind, 1, &METRICS, env)
}

async fn check(subject: &mut Subject, outcome: Outcome, rcode: Option<i64>) {
    let round = subject.round().await;
    round.check(0, Metric::DnsOutcome, outcome);
    assert_eq!(round.get(0, Metric::DnsRcode), rcode);
    let query_us = round.get(0, Metric::DnsQueryTime);
    assert_eq!(query_us.is_some(), rcode.is_some(), "a delay belongs to an answer");
    assert!(query_us.is_none_or(|us| (1..1_000_000).contains(&us)), "{query_us:?}");
}

#[tokio::test]
async fn a_server_is_asked_and_its_response_code_reported() {
    let server = Dnsmasq::anywhere().await;
    let env = loopback();
    for (name, record_type, outcome, rcode) in [
        ("www.school.test", A, Outcome::Ok, 0),
        ("WWW.School.Test.", A, Outcome::Ok, 0),
        ("nothing.school.test", A, Outcome::Failed, 3), // NXDOMAIN
        ("www.elsewhere.test", A, Outcome::Failed, 5),  // REFUSED: it has no upstream
        ("big.school.test", TXT, Outcome::Ok, 0),
    ] {
        check(&mut ask(Some(server.address), name, record_type, &env), outcome, Some(rcode)).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_is_a_change() {
    let server = Dnsmasq::anywhere().await;
    let mut subject = ask(Some(server.address), "www.school.test", A, &loopback());
    check(&mut subject, Outcome::Ok, Some(0)).await;
    drop(server);
    let round = subject.round().await;
    round.check(0, Metric::DnsOutcome, Outcome::Refused);
    assert!(round.changed);
}

#[tokio::test]
async fn the_systems_resolver_is_asked_even_on_loopback_and_followed_when_it_moves() {
    // An address of this process's own: port 53 can not be chosen.
    let [.., high, low] = std::process::id().to_be_bytes();
    let server = Dnsmasq::start((Ipv4Addr::new(127, 53, high, low), 53).into()).await;
    let directory = tempfile::tempdir().unwrap();
    let mut env = env(&[]);
    env.resolv_conf = directory.path().join("resolv.conf");
    let mut subject = ask(None, "www.school.test", A, &env);
    check(&mut subject, Outcome::NotAsked, None).await;
    std::fs::write(&env.resolv_conf, "search school.test\n").unwrap();
    check(&mut subject, Outcome::NotAsked, None).await;
    std::fs::write(&env.resolv_conf, format!("nameserver {}\n", server.address.ip())).unwrap();
    check(&mut subject, Outcome::Ok, Some(0)).await;
}

#[tokio::test]
async fn a_denied_resolver_is_not_asked() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    check(&mut ask(Some(address), "a.test", A, &env(&["10.0.0.0/8"])), Outcome::NotAsked, None)
        .await;
    assert!(socket.try_recv(&mut [0; 16]).is_err(), "a denied resolver was asked");
}

/// A server over UDP that answers each query with what `answer` makes of it.
async fn udp_server(answer: impl Fn(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((len, peer)) = socket.recv_from(&mut query).await {
            for reply in answer(query[..len].to_vec()) {
                socket.send_to(&reply, peer).await.unwrap();
            }
        }
    });
    address
}

/// The query as a response with no records.
fn response(mut query: Vec<u8>, rcode: u8) -> Vec<u8> {
    query[2] |= 0x80;
    query[3] |= rcode;
    query
}

#[tokio::test]
async fn servers_that_misbehave_are_told_apart() {
    let env = loopback();
    let silent = udp_server(|_query| Vec::new()).await;
    let garbage = udp_server(|query| vec![[&query[..2], &[0x81; 30]].concat()]).await;
    // Says that it was cut, but nobody listens where to ask again.
    let cut = udp_server(|query| vec![[&query[..2], &[0xff; 30]].concat()]).await;
    let short = udp_server(|query| vec![query[..2].to_vec()]).await;
    let huge = udp_server(|query| vec![[response(query, 0), vec![0; 4096]].concat()]).await;
    let reflecting = udp_server(|query| vec![query]).await;
    let failing = udp_server(|query| vec![response(query, 2)]).await;
    for (server, outcome, rcode) in [
        (silent, Outcome::Timeout, None),
        (garbage, Outcome::Malformed, None),
        (cut, Outcome::Refused, None),
        (short, Outcome::Malformed, None),
        (huge, Outcome::Malformed, None),
        (reflecting, Outcome::Timeout, None),
        (failing, Outcome::Failed, Some(2)), // SERVFAIL
        (closed_port(), Outcome::Refused, None),
    ] {
        check(&mut ask(Some(server), "www.school.test", A, &env), outcome, rcode).await;
    }
}

#[tokio::test]
async fn a_forged_reply_does_not_hide_the_true_one() {
    let server = udp_server(|query| {
        let mut other_id = response(query.clone(), 2);
        other_id[0] ^= 1;
        let mut other_question = response(query.clone(), 2);
        other_question[13] ^= 1; // the name's first letter
        vec![other_id, other_question, response(query, 0)]
    })
    .await;
    check(&mut ask(Some(server), "www.school.test", A, &loopback()), Outcome::Ok, Some(0)).await;
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_again_over_tcp() {
    for (framed, outcome, rcode) in [
        // Length, then the answer; shorter than announced; nothing at all.
        (Some(None), Outcome::Ok, Some(0)),
        (Some(Some(400_u16)), Outcome::Malformed, None),
        (None, Outcome::Malformed, None),
    ] {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = Arc::new(UdpSocket::bind(address).await.unwrap());
        tokio::spawn(async move {
            let mut query = [0; 512];
            let (len, peer) = udp.recv_from(&mut query).await.unwrap();
            let mut cut = response(query[..len].to_vec(), 0);
            cut[2] |= 0x02;
            udp.send_to(&cut, peer).await.unwrap();
            let (mut stream, _) = tcp.accept().await.unwrap();
            let len = stream.read_u16().await.unwrap();
            let mut query = vec![0; usize::from(len)];
            stream.read_exact(&mut query).await.unwrap();
            if let Some(announced) = framed {
                stream.write_u16(announced.unwrap_or(len)).await.unwrap();
                stream.write_all(&response(query, 0)).await.unwrap();
            }
        });
        check(&mut ask(Some(address), "www.school.test", A, &loopback()), outcome, rcode).await;
    }
}

#[tokio::test]
async fn resolvers_that_keep_silent_hold_up_no_answer() {
    let dnsmasq = Dnsmasq::anywhere().await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut resolvers = vec![Some(silent.local_addr().unwrap()); 63];
    resolvers.push(Some(dnsmasq.address));
    let kind = ProbeKind::Dns { resolvers, name: "www.school.test".to_owned(), record_type: A };
    let limit = Duration::from_millis(600);
    let mut subject = Subject::with_timeout(kind, 64, &METRICS, &loopback(), limit);
    let started = Instant::now();
    let round = subject.round().await;
    assert!(started.elapsed() < 2 * limit, "{:?}", started.elapsed());
    for target in 0..63 {
        round.check(target, Metric::DnsOutcome, Outcome::Timeout);
    }
    round.check(63, Metric::DnsOutcome, Outcome::Ok);
}
