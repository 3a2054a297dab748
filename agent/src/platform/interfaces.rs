//! Network interfaces of this machine.

use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::OwnedFd,
};

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};

/// Octets that an interface received and sent since it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceOctets {
    /// As the kernel names the interface.
    pub name: String,
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

/// A network card, or what stands for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its own address.
    pub address: [u8; 6],
    /// Those of this machine behind it.
    pub addresses: Vec<Ipv4Addr>,
}

/// The card of this name in this network namespace; `None` when there is none, or it has no address of
/// its own.
#[must_use]
pub fn card(name: &str) -> Option<Card> {
    let (mut address, mut addresses) = (None, Vec::new());
    for interface in getifaddrs().ok()?.filter(|interface| interface.interface_name == name) {
        let Some(of) = interface.address else { continue };
        if let Some(link) = of.as_link_addr() {
            address = link.addr().filter(|address| *address != [0; 6]);
        } else if let Some(v4) = of.as_sockaddr_in() {
            addresses.push(v4.ip());
        }
    }
    Some(Card { address: address?, addresses })
}

/// The interface of the cheapest IPv4 default route.
#[must_use]
pub fn default_interface() -> Option<String> {
    // The thread's own view: a process may hold threads of several network namespaces.
    parse_default_interface(&fs::read_to_string("/proc/thread-self/net/route").ok()?)
}

/// A socket that sends UDP datagrams with headers of our own on one interface, to all who are there,
/// and gets a copy of each that arrives, with its IPv4 header. Ports are nobody's: what else listens on
/// them goes on. Needs `CAP_NET_RAW`.
pub fn raw_udp(interface: &str) -> io::Result<tokio::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    // What the standard library does with such a socket is right for a raw one too.
    tokio::net::UdpSocket::from_std(UdpSocket::from(OwnedFd::from(socket)))
}

/// `/proc/net/route`: the interface, the destination, five others, the metric, the mask.
fn parse_default_interface(text: &str) -> Option<String> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[name, destination, _, _, _, _, metric, mask, ..] = &fields[..] else { return None };
        let is_default = destination == "00000000" && mask == "00000000";
        is_default.then_some((metric.parse::<u32>().ok()?, name))
    });
    routes.min_by_key(|route| route.0).map(|(_, name)| name.to_owned())
}

/// Counters of every interface of this network namespace, in the kernel's order: one file, however
/// many interfaces there are.
pub fn interface_octets() -> io::Result<Vec<InterfaceOctets>> {
    Ok(parse_net_dev(&fs::read_to_string("/proc/thread-self/net/dev")?))
}

/// Whether an interface of this name is made by software for its own inner wiring (loopback,
/// containers, virtual machines), so that a school has nothing to watch there.
#[must_use]
pub fn is_internal_interface(name: &str) -> bool {
    const PREFIXES: [&str; 15] = [
        "veth", "docker", "br-", "virbr", "vnet", "tap", "cali", "cni", "flannel", "lxc", "lxd",
        "podman", "dummy", "ifb", "sit",
    ];
    name == "lo" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// `/proc/net/dev`: eight counters received, then eight sent, bytes first in both.
fn parse_net_dev(text: &str) -> Vec<InterfaceOctets> {
    text.lines()
        .skip(2)
        .filter_map(|line| {
            let (name, counters) = line.rsplit_once(':')?;
            let mut counters = counters.split_ascii_whitespace();
            let received = counters.next()?.parse().ok()?;
            let sent = counters.nth(7)?.parse().ok()?;
            Some(InterfaceOctets { name: name.trim().to_owned(), received, sent })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_counters_are_the_first_of_each_half() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
eth0.10:18446744073709551615 2 3 4 5 6 7 8 90 10 11 12 13 14 15 16
 bad0: 1 2 3
";
        let octets =
            |name: &str, received, sent| InterfaceOctets { name: name.into(), received, sent };
        assert_eq!(parse_net_dev(text), [octets("lo", 100, 100), octets("eth0.10", u64::MAX, 90)]);
    }

    #[test]
    fn the_cheapest_default_route_names_its_interface() {
        let text = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t0101A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth2\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
";
        assert_eq!(parse_default_interface(text), Some("eth0".to_owned()));
        let none = text.lines().filter(|line| !line.contains("\t00000000\t0\t0\t0"));
        assert_eq!(parse_default_interface(&none.collect::<Vec<_>>().join("\n")), None);
    }

    #[test]
    fn loopback_is_no_card() {
        assert_eq!(card("lo"), None);
        assert_eq!(card("none-such"), None);
    }

    #[test]
    fn inner_wiring_is_told_from_a_machines_interfaces() {
        for name in ["lo", "veth12ab", "docker0", "br-0a1b2c", "virbr0", "vnet3"] {
            assert!(is_internal_interface(name), "{name}");
        }
        for name in ["eth0", "enp3s0", "br0", "bond0", "eth0.10", "wlan0", "ppp0", "wg0", "local"] {
            assert!(!is_internal_interface(name), "{name}");
        }
    }
}
