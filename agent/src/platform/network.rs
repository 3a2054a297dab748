//! What the kernel knows of the way out: gateways, resolvers, its own addresses.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    path::Path,
};

use proto::zoned::Zoned;

/// Most gateways or resolvers that are reported.
pub const MAX_NEIGHBOURS: usize = 8;
/// Where the system names its resolvers.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the resolvers that its local stub forwards to.
const RESOLVED_UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";
/// The stub's two addresses.
const RESOLVED_STUB: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 0, 0, 54)];

/// Default gateways, IPv4 before IPv6, cheapest route first. A link-local gateway, with its
/// interface, counts only where there is no other: most IPv6 routers have no other address, and
/// where IPv4 has a gateway it is the same machine. A family whose table can not be read has none.
#[must_use]
pub fn default_gateways() -> Vec<Zoned> {
    // The thread's own view: a process may hold threads of several network namespaces.
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
    };
    gateways(&read("route"), &read("ipv6_route"))
}

fn gateways(ipv4_routes: &str, ipv6_routes: &str) -> Vec<Zoned> {
    let (link_local, v6): (Vec<Zoned>, Vec<Zoned>) =
        parse_ipv6_routes(ipv6_routes).into_iter().partition(|gateway| gateway.zone().is_some());
    let v4 = parse_ipv4_routes(ipv4_routes).into_iter().map(|v4| IpAddr::V4(v4).into());
    let mut gateways: Vec<Zoned> = v4.chain(v6).collect();
    gateways.truncate(MAX_NEIGHBOURS);
    if gateways.is_empty() { link_local } else { gateways }
}

/// Number of the interface of this name in this network namespace; `None` when there is none.
#[must_use]
pub fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Resolvers that this machine asks, in its order. Behind systemd-resolved's stub these are the
/// ones that the stub forwards to: the stub itself tells nothing about the network.
#[must_use]
pub fn resolvers() -> Vec<IpAddr> {
    let read = |path: &str| parse_resolv_conf(&fs::read_to_string(path).unwrap_or_default());
    upstream(read(RESOLV_CONF), || read(RESOLVED_UPSTREAM))
}

/// First resolver of the file at `path`, as the machine's own programs would ask it.
pub fn first_resolver(path: &Path) -> io::Result<Option<IpAddr>> {
    Ok(parse_resolv_conf(&fs::read_to_string(path)?).first().copied())
}

/// Whether the kernel has a route to `address`. Asked of the routing table; nothing is sent.
#[must_use]
pub fn has_route(address: IpAddr) -> bool {
    source_towards(address, 0).is_ok()
}

/// Whether `address` is one of this machine's: the kernel answers for its own addresses from
/// themselves (RFC 6724, rule 1, and as Linux does for IPv4). Nothing is sent.
///
/// # Errors
/// When the kernel does not tell: it has no route, or this process no descriptor left.
pub fn is_own(address: IpAddr) -> io::Result<bool> {
    source_towards(address, 0).map(|source| source == address)
}

/// As [`is_own`], for a link-local address on the interface of this number.
///
/// # Errors
/// As [`is_own`].
pub fn is_own_on(address: IpAddr, interface: u32) -> io::Result<bool> {
    source_towards(address, interface).map(|source| source == address)
}

/// The address from which this machine would speak to `address`.
fn source_towards(address: IpAddr, interface: u32) -> io::Result<IpAddr> {
    // The port is arbitrary.
    let (any, peer): (SocketAddr, SocketAddr) = match address {
        IpAddr::V4(v4) => ((Ipv4Addr::UNSPECIFIED, 0).into(), (v4, 9).into()),
        IpAddr::V6(v6) => {
            ((Ipv6Addr::UNSPECIFIED, 0).into(), SocketAddrV6::new(v6, 9, 0, interface).into())
        }
    };
    // Connecting a datagram socket does the look-up only.
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

fn upstream(named: Vec<IpAddr>, behind_stub: impl FnOnce() -> Vec<IpAddr>) -> Vec<IpAddr> {
    let is_stub =
        |resolver: &IpAddr| matches!(resolver, IpAddr::V4(v4) if RESOLVED_STUB.contains(v4));
    if named.iter().any(is_stub) {
        let forwarded = behind_stub();
        if !forwarded.is_empty() {
            return forwarded;
        }
    }
    named
}

/// Gateways of the default routes in `/proc/net/route`, lowest metric first, each once.
fn parse_ipv4_routes(text: &str) -> Vec<Ipv4Addr> {
    // linux/route.h
    const UP_GATEWAY: u32 = 0x3;
    let mut found: Vec<(u32, Ipv4Addr)> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let mut hexadecimal = || u32::from_str_radix(fields.next()?, 16).ok();
            let (destination, gateway, flags) = (hexadecimal()?, hexadecimal()?, hexadecimal()?);
            let metric = fields.nth(2)?.parse().ok()?;
            let mask = u32::from_str_radix(fields.next()?, 16).ok()?;
            let is_default = destination == 0 && mask == 0 && flags & UP_GATEWAY == UP_GATEWAY;
            // The kernel prints the network-order word as this machine's integer.
            (is_default && gateway != 0).then(|| (metric, Ipv4Addr::from(gateway.to_ne_bytes())))
        })
        .collect();
    found.sort_by_key(|(metric, _)| *metric);
    unique(found.into_iter().map(|(_, gateway)| gateway))
}

/// Gateways of the default routes in `/proc/net/ipv6_route`, lowest metric first, each once; a
/// link-local one with its interface.
fn parse_ipv6_routes(text: &str) -> Vec<Zoned> {
    const UP_GATEWAY: u32 = 0x3;
    let mut found: Vec<(u32, Zoned)> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [destination, prefix, _, _, gateway, metric, _, _, flags, interface] = fields[..]
            else {
                return None;
            };
            let gateway = Ipv6Addr::from_bits(u128::from_str_radix(gateway, 16).ok()?);
            let flags = u32::from_str_radix(flags, 16).ok()?;
            let metric = u32::from_str_radix(metric, 16).ok()?;
            let is_default = u128::from_str_radix(destination, 16) == Ok(0) && prefix == "00";
            if !is_default || flags & UP_GATEWAY != UP_GATEWAY || gateway.is_unspecified() {
                return None;
            }
            let gateway = if gateway.is_unicast_link_local() {
                Zoned::on(gateway.into(), interface)?
            } else {
                IpAddr::V6(gateway).into()
            };
            Some((metric, gateway))
        })
        .collect();
    found.sort_by_key(|(metric, _)| *metric);
    unique(found.into_iter().map(|(_, gateway)| gateway))
}

/// `nameserver` lines of resolv.conf(5), in order, each once. An address with a scope is left out:
/// it means something on one interface only.
fn parse_resolv_conf(text: &str) -> Vec<IpAddr> {
    unique(text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse().ok())?
    }))
}

fn unique<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for item in items {
        if kept.len() < MAX_NEIGHBOURS && !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
