//! What the agent sees around it: gateways, resolvers, and the first routers beyond the gateway,
//! found by requests whose time to live ends on the way.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::join_all;
use surge_ping::{Client, ICMP, IcmpPacket, PingIdentifier, PingSequence, SurgeError};

use crate::{
    logs::chain,
    plan::Zoned,
    platform::{self, network_errors as errors},
};

/// Routers beyond the gateway that are looked for.
pub const MAX_HOPS: usize = 5;
/// Requests to each hop before it counts as silent.
const ATTEMPTS: u16 = 2;
/// Wait for one answer.
const WAIT: Duration = Duration::from_secs(1);
/// The gateway is the first hop.
const FIRST_TTL: u32 = 2;

/// How hops are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Echo requests over raw sockets, which need a privilege.
    RawEcho,
    /// Datagrams to a port that nobody listens on, with the socket's queue of errors.
    Udp,
}

/// What answered a request with a limited time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hop {
    /// A router where the time to live ended.
    Router(IpAddr),
    /// The target itself, or a router that knows no way on: nothing lies beyond.
    End,
    Silent,
}

/// Looks around. `collector` is the collector's address as it was resolved; the hops are those
/// towards it or, when it is this very machine, towards `reference`.
pub async fn surroundings(collector: IpAddr, reference: Option<IpAddr>) -> proto::v1::Surroundings {
    let towards = towards(collector, reference, platform::is_own);
    let hops = match towards {
        Some(target) => hops_by_any(target).await,
        None => Vec::new(),
    };
    proto::v1::Surroundings {
        gateways: platform::default_gateways().iter().map(Zoned::to_string).collect(),
        resolvers: platform::resolvers().iter().map(IpAddr::to_string).collect(),
        hops,
        hostname: platform::hostname(),
        os: platform::os(),
        collector: collector.to_string(),
    }
}

/// What to find the way to. Where the kernel does not tell whose the collector's address is, it has
/// no way there, and the hops will say so.
fn towards(
    collector: IpAddr,
    reference: Option<IpAddr>,
    is_own: impl FnOnce(IpAddr) -> std::io::Result<bool>,
) -> Option<IpAddr> {
    let is_here = collector.is_loopback() || is_own(collector).unwrap_or(false);
    if is_here { reference } else { Some(collector) }
}

async fn hops_by_any(target: IpAddr) -> Vec<String> {
    for method in [Method::RawEcho, Method::Udp] {
        match hops(target, method).await {
            Ok(hops) => return hops,
            Err(error) => tracing::debug!(?method, error = chain(&error), "cannot look for hops"),
        }
    }
    Vec::new()
}

/// Routers between the gateway and `target`, nearest first, at most [`MAX_HOPS`]; an empty text is
/// a silent one. Neither the gateway nor the target is among them, nor silence at the end. All
/// hops are asked at once. An error means that this method can not ask at all.
pub async fn hops(target: IpAddr, method: Method) -> std::io::Result<Vec<String>> {
    let time_to_lives = (FIRST_TTL..).take(MAX_HOPS);
    let asked = time_to_lives.map(|ttl| async move {
        match method {
            Method::RawEcho => ask_by_echo(target, ttl).await,
            Method::Udp => ask_by_udp(target, ttl).await,
        }
    });
    let answers: Result<Vec<Hop>, _> = join_all(asked).await.into_iter().collect();
    Ok(trim(&answers?))
}

/// Ends the list where the path does.
fn trim(answers: &[Hop]) -> Vec<String> {
    let mut hops: Vec<String> = answers
        .iter()
        .map_while(|hop| match hop {
            Hop::Router(address) => Some(address.to_string()),
            Hop::Silent => Some(String::new()),
            Hop::End => None,
        })
        .collect();
    while hops.last().is_some_and(String::is_empty) {
        hops.pop();
    }
    hops
}

async fn ask_by_echo(target: IpAddr, ttl: u32) -> std::io::Result<Hop> {
    let kind = if target.is_ipv4() { ICMP::V4 } else { ICMP::V6 };
    let config = surge_ping::Config::builder()
        .kind(kind)
        .ttl(ttl)
        .sock_type_hint(socket2::Type::RAW)
        .build();
    let client = Client::new(&config)?;
    if client.get_socket().get_type() != socket2::Type::RAW {
        // A datagram socket does not hear the routers.
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let mut pinger = client.pinger(target, PingIdentifier(rand::random())).await;
    pinger.timeout(WAIT);
    for sequence in 0..ATTEMPTS {
        match pinger.ping(PingSequence(sequence), &[]).await {
            Ok((packet, _delay)) => return Ok(hop(&packet)),
            Err(SurgeError::IOError(error)) => return Err(error),
            Err(_silence) => {}
        }
    }
    Ok(Hop::Silent)
}

fn hop(packet: &IcmpPacket) -> Hop {
    match packet {
        IcmpPacket::V4(packet) if packet.get_icmp_type().0 == errors::TIME_EXCEEDED_V4 => {
            Hop::Router(packet.get_source().into())
        }
        IcmpPacket::V6(packet) if packet.get_icmpv6_type().0 == errors::TIME_EXCEEDED_V6 => {
            Hop::Router(packet.get_source().into())
        }
        IcmpPacket::V4(_) | IcmpPacket::V6(_) => Hop::End,
    }
}

async fn ask_by_udp(target: IpAddr, ttl: u32) -> std::io::Result<Hop> {
    /// Traceroute's first port: no service is expected there.
    const PORT: u16 = 33_434;
    let socket = errors::Listener::connect(SocketAddr::new(target, PORT), ttl)?;
    for _ in 0..ATTEMPTS {
        if let Ok(error) = tokio::time::timeout(WAIT, socket.ask()).await {
            let error = error?;
            return Ok(match error.offender {
                Some(router) if error.is_time_exceeded => Hop::Router(router),
                Some(_) | None => Hop::End,
            });
        }
    }
    Ok(Hop::Silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_on_this_machine_is_not_what_the_hops_lead_to() {
        let [own, other, reference] =
            [[10, 0, 0, 2], [10, 9, 0, 1], [192, 0, 2, 1]].map(IpAddr::from);
        let way = |collector, reference| {
            towards(collector, reference, |address| {
                if address == other {
                    Err(std::io::ErrorKind::NetworkUnreachable.into())
                } else {
                    Ok(address == own)
                }
            })
        };
        for here in [own, [127, 0, 0, 1].into(), [127, 0, 1, 1].into()] {
            assert_eq!(way(here, Some(reference)), Some(reference));
            assert_eq!(way(here, None), None);
        }
        assert_eq!(way(reference, Some(own)), Some(reference));
        // Nobody knows the way, which is no reason to look elsewhere.
        assert_eq!(way(other, Some(reference)), Some(other));
    }

    #[test]
    fn the_list_ends_where_the_path_does() {
        let router = |last| Hop::Router(IpAddr::from([10, 0, 0, last]));
        let check = |answers: &[Hop], expected: &[&str]| assert_eq!(trim(answers), expected);
        check(&[], &[]);
        check(&[Hop::End, Hop::End], &[]);
        check(&[router(2), Hop::End, Hop::End], &["10.0.0.2"]);
        check(&[router(2), Hop::Silent, router(4)], &["10.0.0.2", "", "10.0.0.4"]);
        check(&[router(2), Hop::Silent, Hop::End], &["10.0.0.2"]);
        check(&[Hop::Silent, Hop::Silent], &[]);
    }
}
