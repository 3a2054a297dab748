//! Looking around in a small network of three routers.

use agent::probe::ladder::{self, Method};

use crate::namespace::Namespace;

/// Agent, three routers, collector, in a row; `10.0.N.1` and `fd00:N::1` nearest the agent.
fn row() -> [Namespace; 5] {
    let row = std::array::from_fn(|_| Namespace::new());
    for (number, pair) in row.windows(2).enumerate() {
        let [near, far] = pair else { unreachable!("windows of two") };
        near.link("outward", far, "homeward");
        for (namespace, device, last) in [(near, "outward", 1), (far, "homeward", 2)] {
            namespace.address(device, &format!("10.0.{number}.{last}/24"));
            namespace.address(device, &format!("fd00:{number}::{last}/64"));
        }
    }
    for router in &row[1..4] {
        router.forward();
    }
    for (number, namespace) in row.iter().enumerate() {
        if number < 4 {
            namespace.ip(&format!("route add default via 10.0.{number}.2"));
            namespace.ip(&format!("route add default via fd00:{number}::2"));
        }
        // Back towards the agent.
        for behind in 0..number.saturating_sub(1) {
            let previous = number - 1;
            namespace.ip(&format!("route add 10.0.{behind}.0/24 via 10.0.{previous}.1"));
            namespace.ip(&format!("route add fd00:{behind}::/64 via fd00:{previous}::1"));
        }
    }
    row
}

const COLLECTOR: [&str; 2] = ["10.0.3.2", "fd00:3::2"];

#[test]
fn routers_beyond_the_gateway_are_found_by_either_method() {
    let row = row();
    for method in [Method::RawEcho, Method::Udp] {
        for (collector, expected) in
            COLLECTOR.into_iter().zip([["10.0.1.2", "10.0.2.2"], ["fd00:1::2", "fd00:2::2"]])
        {
            let target = collector.parse().unwrap();
            let hops = row[0].run(|| async { ladder::hops(target, method).await.unwrap() });
            assert_eq!(hops, expected, "{method:?}");
        }
        // Its own gateway has nothing beyond it; a host that does not exist, all routers.
        let hops = |target: &str| {
            let target = target.parse().unwrap();
            row[0].run(|| async { ladder::hops(target, method).await.unwrap() })
        };
        assert_eq!(hops("10.0.0.2"), [] as [String; 0], "{method:?}");
    }
}

#[test]
fn a_router_that_never_answers_is_an_empty_hop() {
    let row = row();
    // It forwards both ways, but has no way to send an answer of its own.
    row[2].ip("route del 10.0.0.0/24 via 10.0.1.1");
    row[2].ip("route del default via 10.0.2.2");
    row[2].ip("route add 10.0.3.0/24 via 10.0.2.2");
    row[2].ip("route add 10.0.0.0/24 via 10.0.1.1 table 7");
    row[2].ip("rule add iif outward lookup 7");
    for method in [Method::RawEcho, Method::Udp] {
        let target = COLLECTOR[0].parse().unwrap();
        let hops = row[0].run(|| async { ladder::hops(target, method).await.unwrap() });
        assert_eq!(hops, ["", "10.0.2.2"], "{method:?}");
    }
}

#[test]
fn the_surroundings_name_gateways_hops_and_this_machine() {
    let row = row();
    let collector = COLLECTOR[0].parse().unwrap();
    let seen = row[0].run(|| async { ladder::surroundings(collector, None).await });
    assert_eq!(seen.gateways, ["10.0.0.2", "fd00::2"]);
    assert_eq!(seen.hops, ["10.0.1.2", "10.0.2.2"]);
    assert_eq!(seen.collector, COLLECTOR[0]);
    let file = |path: &str| std::fs::read_to_string(path).unwrap();
    assert_eq!(seen.hostname, file("/proc/sys/kernel/hostname").trim());
    assert!(file("/etc/os-release").contains(&seen.os), "{}", seen.os);
    assert!(!seen.os.is_empty());
    for resolver in &seen.resolvers {
        assert!(file("/etc/resolv.conf").contains(resolver.as_str()), "{resolver}");
    }

    // A collector on this very machine tells nothing of the line: the reference does.
    let loopback = "127.0.0.1".parse().unwrap();
    let alone = row[0].run(|| async { ladder::surroundings(loopback, None).await });
    assert_eq!(alone.hops, [] as [String; 0]);
    let referred = row[0].run(|| async { ladder::surroundings(loopback, Some(collector)).await });
    assert_eq!(referred.hops, ["10.0.1.2", "10.0.2.2"]);
}

#[test]
fn a_machine_without_a_network_sees_nothing_and_says_so() {
    let alone = Namespace::new();
    let collector = COLLECTOR[0].parse().unwrap();
    let seen = alone.run(|| async { ladder::surroundings(collector, None).await });
    assert_eq!((seen.gateways.len(), seen.hops.len()), (0, 0));
}
