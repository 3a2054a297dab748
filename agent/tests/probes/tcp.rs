//! Connection attempts.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use agent::{
    plan::{Metric, ProbeKind},
    probe::{
        Outcome,
        allow::AllowList,
        dial::{MAX_LOOKUPS, Names},
    },
};
use tokio::net::TcpListener;

use crate::support::{Subject, closed_port, env, loopback, server};

const METRICS: [Metric; 2] = [Metric::TcpOutcome, Metric::TcpConnectTime];

fn targets(targets: &[String]) -> (ProbeKind, u16) {
    (ProbeKind::Tcp { targets: targets.to_vec() }, u16::try_from(targets.len()).unwrap())
}

#[tokio::test]
async fn an_open_port_and_a_closed_one_are_told_apart() {
    let open = server(|_stream| async {}).await;
    let names = [open.to_string(), closed_port().to_string(), format!("localhost:{}", open.port())];
    let (kind, count) = targets(&names);
    let mut subject = Subject::new(kind, count, &METRICS, &loopback());
    let round = subject.round().await;
    for target in [0, 2] {
        round.check(target, Metric::TcpOutcome, Outcome::Ok);
        let connect_us = round.get(target, Metric::TcpConnectTime).unwrap();
        assert!((1..1_000_000).contains(&connect_us), "{connect_us}");
    }
    round.check(1, Metric::TcpOutcome, Outcome::Refused);
    assert_eq!(round.get(1, Metric::TcpConnectTime), None);
    assert!(!round.changed);
}

#[tokio::test]
async fn a_port_that_opens_or_closes_is_a_change() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (kind, count) = targets(&[listener.local_addr().unwrap().to_string()]);
    let mut subject = Subject::new(kind, count, &METRICS, &loopback());
    assert!(!subject.round().await.changed);
    assert!(!subject.round().await.changed);
    drop(listener);
    assert!(subject.round().await.changed);
    assert!(!subject.round().await.changed);
}

#[tokio::test]
async fn a_peer_that_never_accepts_is_a_timeout_and_delays_no_other() {
    // A listener with a full backlog drops further handshakes.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))
    {
        held.push(stream);
        assert!(held.len() < 16, "the backlog never fills");
    }
    let open = server(|_stream| async {}).await;
    let mut names = vec![address.to_string(); 63];
    names.push(open.to_string());
    let (kind, count) = targets(&names);
    let limit = Duration::from_millis(300);
    let mut subject = Subject::with_timeout(kind, count, &METRICS, &loopback(), limit);
    let started = Instant::now();
    let round = subject.round().await;
    assert!(started.elapsed() < 2 * limit, "{:?}", started.elapsed());
    for target in 0..63 {
        round.check(target, Metric::TcpOutcome, Outcome::Timeout);
        assert_eq!(round.get(target, Metric::TcpConnectTime), None);
    }
    round.check(63, Metric::TcpOutcome, Outcome::Ok);
}

#[tokio::test]
async fn a_denied_address_is_not_asked_however_it_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost"];
    let names: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    let (kind, count) = targets(&names);
    let mut environment = env(&[]);
    environment.allow = AllowList::default().into();
    let mut subject = Subject::new(kind, count, &METRICS, &environment);
    let round = subject.round().await;
    for target in 0..count {
        round.check(target, Metric::TcpOutcome, Outcome::NotAsked);
        assert_eq!(round.get(target, Metric::TcpConnectTime), None);
    }
    let knock = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(knock.is_err(), "a denied address was connected to");
}

#[tokio::test]
async fn a_name_is_connected_to_at_its_permitted_addresses_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // What a hostile resolver says, turn by turn: a permitted address, loopback, and both.
    let turn = AtomicUsize::new(0);
    let answers = [vec!["127.0.0.2"], vec!["127.0.0.1"], vec!["127.0.0.1", "127.0.0.2"]];
    let mut environment = env(&["127.0.0.2"]);
    environment.names = Arc::new(Names::by(move |_name, port| {
        let answer = &answers[turn.fetch_add(1, Ordering::Relaxed)];
        Ok(answer.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect())
    }));
    let (kind, count) = targets(&[format!("rebinding.test:{port}")]);
    let mut subject = Subject::new(kind, count, &METRICS, &environment);
    for outcome in [Outcome::Refused, Outcome::NotAsked, Outcome::Refused] {
        subject.round().await.check(0, Metric::TcpOutcome, outcome);
    }
    let knock = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(knock.is_err(), "a denied address was connected to");
}

#[tokio::test]
async fn a_resolver_that_hangs_fails_the_name_and_leaves_other_targets_alone() {
    // Holds every look-up until the test ends.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let mut environment = loopback();
    environment.names = Arc::new(Names::by(move |_name, _port| {
        let _ = held.lock().unwrap().recv();
        Ok(Vec::new())
    }));
    let open = server(|_stream| async {}).await;
    let mut names: Vec<String> =
        (0..MAX_LOOKUPS).map(|host| format!("host{host}.test:80")).collect();
    names.push(open.to_string());
    let (kind, count) = targets(&names);
    let limit = Duration::from_millis(200);
    let mut subject = Subject::with_timeout(kind, count, &METRICS, &environment, limit);
    for outcome in [Outcome::Name, Outcome::NotAsked] {
        let round = subject.round().await;
        for target in 0..count - 1 {
            round.check(target, Metric::TcpOutcome, outcome);
        }
        round.check(count - 1, Metric::TcpOutcome, Outcome::Ok);
    }
    drop(release);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_so() {
    let label = "a".repeat(64); // one letter too long for any resolver to ask for
    let (kind, count) = targets(&[format!("{label}.test:80")]);
    let mut subject = Subject::new(kind, count, &METRICS, &loopback());
    subject.round().await.check(0, Metric::TcpOutcome, Outcome::Name);
}
