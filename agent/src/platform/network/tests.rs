use super::*;

const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\tFE01A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t0101000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t00000000\t0101000A\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth1\t00000000\t0201000A\t0002\t0\t0\t0\t00000000\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t0301000A\t0003\t0\t0\t0\t000000FF\t0\t0\t0
";

#[test]
#[cfg(target_endian = "little")]
fn ipv4_default_gateways_come_cheapest_first_and_once() {
    // Not the route that is down, not the one without a gateway, not the one of 10.0.0.0/8.
    assert_eq!(
        parse_ipv4_routes(ROUTES),
        [Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(192, 168, 1, 254)]
    );
}

#[test]
fn ipv6_default_gateways_come_cheapest_first_and_link_local_ones_with_their_interface() {
    let zero = "0".repeat(32);
    let line = |destination: &str, prefix: &str, gateway: &str, metric: &str, flags: &str| {
        format!("{destination} {prefix} {zero} 00 {gateway} {metric} 1 0 {flags}     eth0\n")
    };
    let public = "20010db8000000000000000000000001";
    let link_local = "fe800000000000000000000000000001";
    let text = line(&zero, "00", link_local, "00000400", "00450003")
        + &line(&zero, "00", public, "00000064", "00000003")
        + &line(&zero, "00", &zero, "ffffffff", "00200200")
        + &line("fd000000000000000000000000000000", "40", public, "00000001", "00000003");
    assert_eq!(
        parse_ipv6_routes(&text),
        ["2001:db8::1", "fe80::1%eth0"].map(|address| address.parse::<Zoned>().unwrap())
    );
    // The IPv4 gateway stands for its own link-local address, and so does any other one.
    let shown = |v4, v6| gateways(v4, v6).iter().map(Zoned::to_string).collect::<Vec<_>>();
    let only_link_local = line(&zero, "00", link_local, "00000400", "00450003");
    assert_eq!(shown(ROUTES, &only_link_local), ["10.0.1.1", "192.168.1.254"]);
    assert_eq!(shown("", &text), ["2001:db8::1"]);
    assert_eq!(shown("", &only_link_local), ["fe80::1%eth0"]);
}

#[test]
fn mangled_route_tables_hold_no_gateway() {
    for text in ["", "Iface", "Iface\neth0", "Iface\neth0 zz zz zz 0 0 0 zz", "\u{0}\n\u{0}"] {
        assert_eq!(parse_ipv4_routes(text), [] as [Ipv4Addr; 0]);
        assert_eq!(parse_ipv6_routes(text), [] as [Zoned; 0]);
    }
}

#[test]
fn resolvers_are_read_in_order_without_comments_scopes_or_repeats() {
    let text = "# nameserver 1.1.1.1\nsearch school.example\nnameserver 10.0.0.2\n\
                nameserver\t2001:db8::53\nnameserver fe80::1%eth0\nnameserver 10.0.0.2\n\
                nameservers 9.9.9.9\nnameserver\nnameserver 10.0.0.3 # second\n";
    let expected = ["10.0.0.2", "2001:db8::53", "10.0.0.3"];
    assert_eq!(parse_resolv_conf(text), expected.map(|a| a.parse::<IpAddr>().unwrap()));
}

#[test]
fn no_more_than_the_cap_is_kept() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for last in 0..=MAX_NEIGHBOURS {
        writeln!(text, "nameserver 10.0.0.{last}").unwrap();
    }
    assert_eq!(parse_resolv_conf(&text).len(), MAX_NEIGHBOURS);
}

#[test]
fn the_local_stub_is_replaced_by_what_it_forwards_to() {
    let stub: IpAddr = [127, 0, 0, 53].into();
    let real: IpAddr = [10, 0, 0, 2].into();
    assert_eq!(upstream(vec![stub], || vec![real]), [real]);
    assert_eq!(upstream(vec![stub], Vec::new), [stub]);
    assert_eq!(upstream(vec![real], || vec![stub]), [real]);
}

#[test]
fn an_error_of_this_machine_says_nothing_of_the_peer() {
    use rustix::io::Errno;

    use crate::probe::{Outcome, dial::exchange_outcome};

    let peer: IpAddr = [127, 0, 0, 1].into();
    let outcome =
        |errno: Errno| exchange_outcome(&io::Error::from_raw_os_error(errno.raw_os_error()), peer);
    assert_eq!(outcome(Errno::CONNREFUSED), Outcome::Refused);
    assert_eq!(outcome(Errno::CONNRESET), Outcome::Refused);
    assert_eq!(outcome(Errno::TIMEDOUT), Outcome::Timeout);
    assert_eq!(outcome(Errno::HOSTUNREACH), Outcome::Unreachable);
    // There is always a route to loopback, so that this was heard.
    assert_eq!(outcome(Errno::NETUNREACH), Outcome::Unreachable);
    for local in [Errno::ACCESS, Errno::PERM, Errno::MFILE, Errno::NOBUFS] {
        assert_eq!(outcome(local), Outcome::NotAsked);
    }
}
