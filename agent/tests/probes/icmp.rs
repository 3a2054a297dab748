//! Echo requests over loopback and through a router.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    plan::{Metric, ProbeKind, Zoned},
    platform,
    probe::{Env, Outcome, allow::AllowList, icmp::Pinger},
};
use socket2::Type;

use crate::{
    namespace::Namespace,
    support::{Cells, Subject, env, loopback},
};

const DELAYS: [Metric; 4] =
    [Metric::IcmpRttMin, Metric::IcmpRttMean, Metric::IcmpRttP95, Metric::IcmpRttMax];
const METRICS: [Metric; 7] = [
    Metric::IcmpOutcome,
    Metric::IcmpLoss,
    Metric::IcmpRttMin,
    Metric::IcmpRttMean,
    Metric::IcmpRttMax,
    Metric::IcmpRttP95,
    Metric::IcmpDelayVariation,
];

fn burst(targets: &[&str], count: u16, env: &Env, timeout: Duration) -> Subject {
    let addresses: Vec<Zoned> = targets.iter().map(|target| target.parse().unwrap()).collect();
    let number = u16::try_from(addresses.len()).unwrap();
    let spacing = Duration::from_millis(10);
    let kind = ProbeKind::Icmp { targets: addresses, count, spacing, payload_bytes: 56 };
    Subject::with_timeout(kind, number, &METRICS, env, timeout)
}

#[track_caller]
fn check(round: &Cells, target: u16, outcome: Outcome, loss: Option<i64>) {
    round.check(target, Metric::IcmpOutcome, outcome);
    assert_eq!(round.get(target, Metric::IcmpLoss), loss);
    let delays = DELAYS.map(|metric| round.get(target, metric));
    if outcome == Outcome::Ok {
        assert!(delays.is_sorted() && delays[0].is_some(), "{delays:?}");
        assert!(delays[3] < Some(1_000_000), "{delays:?}");
    } else {
        assert_eq!(delays, [None; 4]);
        assert_eq!(round.get(target, Metric::IcmpDelayVariation), None);
    }
}

#[tokio::test]
async fn loopback_answers_by_both_families() {
    let mut subject = burst(&["127.0.0.1", "::1"], 5, &loopback(), Duration::from_secs(1));
    for _ in 0..3 {
        let round = subject.round().await;
        for target in [0, 1] {
            check(&round, target, Outcome::Ok, Some(0));
            assert!(round.get(target, Metric::IcmpDelayVariation).is_some());
        }
        assert!(!round.changed);
    }
}

#[tokio::test]
async fn a_denied_target_is_not_asked_and_its_neighbour_is() {
    let env = env(&["127.0.0.2"]);
    let mut subject = burst(&["127.0.0.1", "127.0.0.2"], 1, &env, Duration::from_secs(1));
    let round = subject.round().await;
    check(&round, 0, Outcome::NotAsked, None);
    check(&round, 1, Outcome::Ok, Some(0));
    assert_eq!(round.get(1, Metric::IcmpDelayVariation), None, "one answer does not vary");
}

#[tokio::test]
async fn many_groups_ping_many_targets_through_one_socket_without_a_loss() {
    let env = loopback();
    let targets: Vec<String> = (1..=64).map(|last| format!("127.0.1.{last}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let groups = (0..4).map(|_| {
        let mut subject = burst(&targets, 3, &env, Duration::from_secs(2));
        async move { subject.round().await }
    });
    for round in futures_util::future::join_all(groups).await {
        for target in 0..64 {
            check(&round, target, Outcome::Ok, Some(0));
        }
    }
}

/// A school's agent, its router, and a host behind it.
struct Path {
    agent: Namespace,
    router: Namespace,
    host: Namespace,
}

fn path() -> Path {
    let path = Path { agent: Namespace::new(), router: Namespace::new(), host: Namespace::new() };
    path.agent.link("outward", &path.router, "homeward");
    path.router.link("outward", &path.host, "homeward");
    path.router.forward();
    for (namespace, device, v4, v6) in [
        (&path.agent, "outward", "10.0.1.2/24", "fd00:1::2/64"),
        (&path.router, "homeward", "10.0.1.1/24", "fd00:1::1/64"),
        (&path.router, "outward", "10.0.2.1/24", "fd00:2::1/64"),
        (&path.host, "homeward", "10.0.2.2/24", "fd00:2::2/64"),
    ] {
        namespace.address(device, v4);
        namespace.address(device, v6);
    }
    path.host.ip("route add default via 10.0.2.1");
    path.host.ip("route add default via fd00:2::1");
    path
}

/// With its own sockets, opened where it is used.
fn sockets(prefer: Type) -> Env {
    let mut env = env(&[]);
    env.allow = AllowList::default().into();
    env.pinger = Arc::new(Pinger::preferring(prefer));
    env
}

#[test]
fn without_a_route_nothing_is_known_of_the_target() {
    let path = path();
    path.agent.run(|| async {
        let targets = ["10.0.2.2", "fd00:2::2", "10.0.1.1", "fd00:1::1"];
        let mut subject = burst(&targets, 2, &sockets(Type::RAW), Duration::from_millis(500));
        let round = subject.round().await;
        for target in [0, 1] {
            check(&round, target, Outcome::NotAsked, None);
        }
        for target in [2, 3] {
            check(&round, target, Outcome::Ok, Some(0));
        }
    });
}

#[test]
fn a_router_that_has_only_a_link_local_address_is_asked_on_its_interface() {
    let path = path();
    path.router.ip("addr add fe80::1/64 dev homeward");
    path.agent.ip("addr add fe80::2/64 dev outward");
    let other = Namespace::new();
    path.agent.link("idle", &other, "far");
    // As a router's advertisement would make it.
    path.agent.ip("route add default via fe80::1 dev outward proto ra metric 1024");
    path.agent.write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    for prefer in [Type::RAW, Type::DGRAM] {
        path.agent.run(|| async move {
            let gateways: Vec<String> =
                platform::default_gateways().iter().map(Zoned::to_string).collect();
            assert_eq!(gateways, ["fe80::1%outward"]);
            // Nobody there; on another interface; on none; no such interface; this machine.
            let targets = [
                "fe80::1%outward",
                "fe80::9%outward",
                "fe80::1%idle",
                "fe80::1",
                "fe80::1%absent",
                "fe80::2%outward",
            ];
            let env = sockets(prefer);
            let mut subject = burst(&targets, 2, &env, Duration::from_millis(500));
            let round = subject.round().await;
            check(&round, 0, Outcome::Ok, Some(0));
            for target in [1, 2] {
                check(&round, target, Outcome::Timeout, Some(10_000));
            }
            for target in [3, 4, 5] {
                check(&round, target, Outcome::NotAsked, None);
            }
            assert_eq!(env.pinger.socket_type("fe80::1".parse().unwrap()), Some(prefer));
        });
    }
    // Where there is an IPv4 gateway, that one is the rung.
    path.agent.ip("route add default via 10.0.1.1");
    let gateways = path.agent.run(|| async { platform::default_gateways() });
    assert_eq!(gateways, ["10.0.1.1".parse().unwrap()]);
    // A local list that does not hold it keeps the agent from it, as from any other address.
    path.agent.run(|| async {
        for (networks, outcome) in
            [(["10.0.0.0/8"], Outcome::NotAsked), (["fe80::/10"], Outcome::Ok)]
        {
            let mut env = env(&networks);
            env.pinger = Arc::new(Pinger::new());
            let mut subject = burst(&["fe80::1%outward"], 1, &env, Duration::from_millis(500));
            subject.round().await.check(0, Metric::IcmpOutcome, outcome);
        }
    });
}

#[test]
fn raw_sockets_hear_that_a_target_is_unreachable_and_datagram_sockets_wait() {
    let path = path();
    path.agent.ip("route add default via 10.0.1.1");
    path.agent.ip("route add default via fd00:1::1");
    path.agent.write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    for (prefer, outcome) in [(Type::RAW, Outcome::Unreachable), (Type::DGRAM, Outcome::Timeout)] {
        path.agent.run(|| async move {
            let env = sockets(prefer);
            // The router knows no way to the last two.
            let targets = ["10.0.2.2", "fd00:2::2", "10.9.9.9", "fd00:9::9"];
            let mut subject = burst(&targets, 2, &env, Duration::from_millis(500));
            let round = subject.round().await;
            for target in [0, 1] {
                check(&round, target, Outcome::Ok, Some(0));
            }
            for target in [2, 3] {
                check(&round, target, outcome, Some(10_000));
            }
            for target in ["10.0.2.2", "fd00:2::2"] {
                assert_eq!(env.pinger.socket_type(target.parse().unwrap()), Some(prefer));
            }
        });
    }
}

#[test]
fn unprivileged_sockets_are_preferred_where_the_system_allows_them() {
    for (range, kind) in [("0 2147483647", Type::DGRAM), ("1 0", Type::RAW)] {
        let namespace = Namespace::new();
        namespace.write("/proc/sys/net/ipv4/ping_group_range", range);
        namespace.run(|| async {
            let env = loopback();
            let mut subject = burst(&["127.0.0.1", "::1"], 2, &env, Duration::from_secs(1));
            let round = subject.round().await;
            for (target, address) in [(0, "127.0.0.1"), (1, "::1")] {
                check(&round, target, Outcome::Ok, Some(0));
                assert_eq!(env.pinger.socket_type(address.parse().unwrap()), Some(kind));
            }
        });
    }
}

#[test]
fn a_host_that_goes_silent_and_comes_back_is_two_changes_within_the_time_limit() {
    let path = path();
    path.agent.ip("route add default via 10.0.1.1");
    path.agent.ip("route add default via fd00:1::1");
    // The router goes on sending to a neighbour that no longer listens.
    let wire = |arguments: &str| path.host.ip(arguments);
    path.agent.run(|| async {
        let limit = Duration::from_millis(300);
        let targets = ["10.0.2.2", "fd00:2::2", "10.0.1.1"];
        let mut subject = burst(&targets, 3, &sockets(Type::RAW), limit);
        let mut expect = async |answers: bool, changed: bool| {
            let started = Instant::now();
            let round = subject.round().await;
            assert!(started.elapsed() < 3 * limit, "{:?}", started.elapsed());
            for target in [0, 1] {
                if answers {
                    check(&round, target, Outcome::Ok, Some(0));
                } else {
                    check(&round, target, Outcome::Timeout, Some(10_000));
                }
            }
            check(&round, 2, Outcome::Ok, Some(0));
            assert_eq!(round.changed, changed);
        };
        expect(true, false).await;
        wire("link set homeward arp off");
        wire("addr del 10.0.2.2/24 dev homeward");
        wire("addr del fd00:2::2/64 dev homeward");
        expect(false, true).await;
        expect(false, false).await;
        wire("link set homeward arp on");
        wire("addr add 10.0.2.2/24 dev homeward");
        wire("addr add fd00:2::2/64 dev homeward");
        wire("route add default via 10.0.2.1");
        wire("route replace default via fd00:2::1");
        expect(true, true).await;
    });
}
