//! Requests between agents, with the reflector of another one over loopback.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    clock::SystemClock,
    plan::{LinkKey, MeshPeer, Metric, ProbeKind, Reflected},
    probe::{
        Outcome,
        mesh::{packet::PACKET_LEN, reflector::Reflector},
    },
};
use tokio::{
    net::UdpSocket,
    sync::watch,
    time::{sleep, timeout},
};

use super::support::{Subject, closed_port, loopback, until};

const METRICS: [Metric; 7] = [
    Metric::MeshOutcome,
    Metric::MeshLoss,
    Metric::MeshRttMin,
    Metric::MeshRttMean,
    Metric::MeshRttMax,
    Metric::MeshRttP95,
    Metric::MeshDelayVariation,
];
const KEY: LinkKey = LinkKey([9; 32]);
const COUNT: u16 = 5;

fn peer(address: SocketAddr, key: LinkKey) -> MeshPeer {
    MeshPeer { address: address.to_string(), link: 3, key }
}

fn subject(peers: Vec<MeshPeer>) -> Subject {
    let count = u16::try_from(peers.len()).unwrap();
    let kind = ProbeKind::Mesh { peers, count: COUNT, spacing: Duration::from_millis(20) };
    Subject::with_timeout(kind, count, &METRICS, &loopback(), Duration::from_millis(400))
}

/// A reflector that answers link 3, and what says whom it answers.
fn reflector() -> (SocketAddr, watch::Sender<Vec<Reflected>>) {
    let listen = closed_port();
    let (tell, links) = watch::channel(vec![Reflected { link: 3, key: KEY }]);
    tokio::spawn(Reflector { listen, clock: Arc::new(SystemClock::new()), links }.run());
    (listen, tell)
}

/// Whether somebody has the port, as the kernel lists it: to try would stand in his way.
fn is_taken(address: SocketAddr) -> bool {
    let port = format!(":{:04X} ", address.port());
    let list = std::fs::read_to_string("/proc/net/udp").unwrap();
    list.lines().any(|line| line.contains(&port))
}

#[tokio::test]
async fn a_peer_that_reflects_is_measured() {
    let (address, _tell) = reflector();
    until("the port to be open", || async { is_taken(address) }).await;
    let mut subject = subject(vec![peer(address, KEY)]);
    for _ in 0..2 {
        let cells = subject.round().await;
        cells.check(0, Metric::MeshOutcome, Outcome::Ok);
        // The first packet of all was answered by a challenge, and is no loss.
        assert_eq!(cells.get(0, Metric::MeshLoss), Some(0));
        let figure = |metric| cells.get(0, metric).unwrap();
        let (least, most) = (figure(Metric::MeshRttMin), figure(Metric::MeshRttMax));
        assert!(0 <= least && least <= most && most < 400_000, "{least} to {most}");
        assert!((least..=most).contains(&figure(Metric::MeshRttMean)));
        assert!(figure(Metric::MeshDelayVariation) <= most - least);
    }
}

#[tokio::test]
async fn who_does_not_answer_is_told_by_the_way_he_does_not() {
    let (address, _tell) = reflector();
    until("the port to be open", || async { is_taken(address) }).await;
    let mut silent = peer(address, KEY);
    silent.link = 4;
    let peers = vec![peer(address, LinkKey([1; 32])), silent, peer(closed_port(), KEY)];
    let mut subject = subject(peers);
    let cells = subject.round().await;
    // A wrong key and an unknown link get no word, as strangers do.
    cells.check(0, Metric::MeshOutcome, Outcome::Timeout);
    cells.check(1, Metric::MeshOutcome, Outcome::Timeout);
    cells.check(2, Metric::MeshOutcome, Outcome::Refused);
    for target in 0..3 {
        assert_eq!(cells.get(target, Metric::MeshLoss), Some(10_000));
        assert_eq!(cells.get(target, Metric::MeshRttMean), None);
    }
}

#[tokio::test]
async fn networks_that_the_site_does_not_allow_are_not_asked() {
    let mut subject = subject(vec![peer("192.0.2.1:9782".parse().unwrap(), KEY)]);
    let cells = subject.round().await;
    cells.check(0, Metric::MeshOutcome, Outcome::NotAsked);
    assert_eq!(cells.get(0, Metric::MeshLoss), None);
}

#[tokio::test]
async fn a_restarted_reflector_costs_no_measure() {
    let (address, tell) = reflector();
    until("the port to be open", || async { is_taken(address) }).await;
    let mut subject = subject(vec![peer(address, KEY)]);
    subject.round().await.check(0, Metric::MeshOutcome, Outcome::Ok);
    drop(tell);
    until("the port to be closed", || async { !is_taken(address) }).await;
    subject.round().await.check(0, Metric::MeshOutcome, Outcome::Refused);
    let (_tell, links) = watch::channel(vec![Reflected { link: 3, key: KEY }]);
    let again = Reflector { listen: address, clock: Arc::new(SystemClock::new()), links };
    tokio::spawn(again.run());
    until("the port to be open again", || async { is_taken(address) }).await;
    let cells = subject.round().await;
    cells.check(0, Metric::MeshOutcome, Outcome::Ok);
    assert_eq!(cells.get(0, Metric::MeshLoss), Some(0));
    assert!(cells.changed);
}

#[tokio::test]
async fn the_port_is_open_only_while_there_is_somebody_to_answer() {
    let (address, tell) = reflector();
    until("the port to be open", || async { is_taken(address) }).await;
    tell.send(Vec::new()).unwrap();
    until("the port to be closed", || async { !is_taken(address) }).await;
    tell.send(vec![Reflected { link: 3, key: KEY }]).unwrap();
    until("the port to be open again", || async { is_taken(address) }).await;
}

#[tokio::test]
async fn strangers_hear_nothing_whatever_they_send() {
    let (address, _tell) = reflector();
    until("the port to be open", || async { is_taken(address) }).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.connect(address).await.unwrap();
    let mut right_form = [0; PACKET_LEN];
    right_form[..4].copy_from_slice(b"VGM1");
    (right_form[4], right_form[11]) = (1, 3);
    for datagram in [&b""[..], b"x", &[0xff; 1_400], &[0; PACKET_LEN], &right_form] {
        stranger.send(datagram).await.unwrap();
    }
    // The answer to a real request comes behind all of these: what is not there by then never comes.
    let mut subject = subject(vec![peer(address, KEY)]);
    subject.round().await.check(0, Metric::MeshOutcome, Outcome::Ok);
    let heard = stranger.try_recv(&mut [0; 2_000]);
    assert_eq!(heard.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// Passes every second datagram to the reflector, each answer after `delay`.
async fn line(reflector: SocketAddr, delay: Duration) -> SocketAddr {
    let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = near.local_addr().unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    far.connect(reflector).await.unwrap();
    tokio::spawn(async move {
        let (mut datagram, mut number) = ([0; 2_000], 0);
        loop {
            let (length, from) = near.recv_from(&mut datagram).await.unwrap();
            number += 1;
            if number % 2 == 0 {
                continue;
            }
            far.send(&datagram[..length]).await.unwrap();
            if let Ok(length) = timeout(Duration::from_secs(1), far.recv(&mut datagram)).await {
                sleep(delay).await;
                near.send_to(&datagram[..length.unwrap()], from).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn loss_and_delay_are_those_of_the_line() {
    let (address, _tell) = reflector();
    until("the port to be open", || async { is_taken(address) }).await;
    let delay = Duration::from_millis(5);
    let mut subject = subject(vec![peer(line(address, delay).await, KEY)]);
    // The first round opens the session, by one more packet than the others.
    subject.round().await;
    let started = Instant::now();
    let cells = subject.round().await;
    assert!(started.elapsed() < Duration::from_secs(2));
    cells.check(0, Metric::MeshOutcome, Outcome::Ok);
    let loss = cells.get(0, Metric::MeshLoss).unwrap();
    assert!(loss == 4_000 || loss == 6_000, "{loss}");
    assert!(cells.get(0, Metric::MeshRttMin).unwrap() >= 5_000);
}
