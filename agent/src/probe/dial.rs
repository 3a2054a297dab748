//! From `host:port` to a connection, with the allow-list between the look-up and the connection.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{Outcome, allow::AllowList};
use crate::{logs::chain, platform};

/// Look-ups at one time: each holds a thread until the system's resolver gives up, which may be
/// long after the probe did.
pub const MAX_LOOKUPS: usize = 8;
/// Addresses of one name that are tried, in the resolver's order.
pub const MAX_ADDRESSES: usize = 4;
/// Longest host name (RFC 1035, 2.3.4).
const MAX_HOST_LEN: usize = 253;

/// Where to connect, before any look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// An address as is, or a name.
    pub host: Host,
    /// Never 0.
    pub port: u16,
}

/// The host of an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Needs no look-up.
    Address(IpAddr),
    /// To be looked up at each round.
    Name(String),
}

impl Host {
    /// Reads an address, with or without brackets, or a name. `None` when it can be neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(v6) = bare {
            return v6.parse().ok().map(|v6| Self::Address(IpAddr::V6(v6)));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        (!text.is_empty() && text.len() <= MAX_HOST_LEN && text.bytes().all(legal))
            .then(|| Self::Name(text.to_owned()))
    }
}

impl Endpoint {
    /// Reads `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        if host.contains(':') && !host.starts_with('[') {
            return None;
        }
        Some(Self { host: Host::parse(host)?, port: self::port(port)? })
    }
}

/// Reads a port: digits only, never 0.
#[must_use]
pub fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Blocks until the addresses of a name are known, in the order in which to try them.
type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks names up, [`MAX_LOOKUPS`] at one time.
pub struct Names {
    room: Arc<Semaphore>,
    look_up: Arc<LookUp>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl Names {
    /// By the system's resolver.
    #[must_use]
    pub fn new() -> Self {
        Self::by(|name, port| Ok((name, port).to_socket_addrs()?.collect()))
    }

    /// By `look_up`, which may block.
    #[must_use]
    pub fn by(
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_LOOKUPS)), look_up: Arc::new(look_up) }
    }

    /// Addresses of `name`. A look-up that could not begin before the deadline says nothing of the
    /// name; one that did not end before it has failed, though its thread goes on.
    async fn look_up(
        &self,
        name: String,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Outcome> {
        let room = timeout_at(deadline, Arc::clone(&self.room).acquire_owned()).await;
        let Ok(Ok(room)) = room else {
            return Err(Outcome::NotAsked);
        };
        let look_up = Arc::clone(&self.look_up);
        let looked_up = tokio::task::spawn_blocking(move || {
            let _room = room;
            look_up(&name, port)
        });
        match timeout_at(deadline, looked_up).await {
            Ok(Ok(Ok(addresses))) if !addresses.is_empty() => Ok(addresses),
            Ok(Ok(Ok(_none))) => Err(Outcome::Name),
            Ok(Ok(Err(error))) => {
                tracing::debug!(error = chain(&error), "a name did not resolve");
                Err(Outcome::Name)
            }
            Ok(Err(_stopping)) => Err(Outcome::NotAsked),
            Err(_elapsed) => Err(Outcome::Name),
        }
    }
}

/// Addresses of `endpoint` that may be probed, at most [`MAX_ADDRESSES`]. Each address of a name
/// is judged; those that are denied are dropped, and none left is [`Outcome::NotAsked`].
pub async fn resolve(
    names: &Names,
    allow: &AllowList,
    endpoint: &Endpoint,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Outcome> {
    let found = match &endpoint.host {
        Host::Address(address) => vec![SocketAddr::new(*address, endpoint.port)],
        Host::Name(name) => names.look_up(name.clone(), endpoint.port, deadline).await?,
    };
    let mut permitted = Vec::new();
    for address in found {
        match allow.permits(address.ip()) {
            Ok(()) if permitted.len() < MAX_ADDRESSES && !permitted.contains(&address) => {
                permitted.push(address);
            }
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(target = %address, error = chain(&error), "an address is not probed");
            }
        }
    }
    if permitted.is_empty() { Err(Outcome::NotAsked) } else { Ok(permitted) }
}

/// Connects to the first of `addresses` that accepts; the time it took, in microseconds, is that
/// attempt's alone. With none, the first address's outcome.
pub async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, i64), Outcome> {
    let mut first = None;
    for address in addresses {
        let started = Instant::now();
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, super::micros(started.elapsed()))),
            Err(error) => {
                first.get_or_insert(exchange_outcome(&error, address.ip()));
            }
        }
    }
    Err(first.unwrap_or(Outcome::NotAsked))
}

/// What an error of a socket tells of `peer`. An error that comes from this machine alone (no
/// route, a local firewall, no descriptors left) tells nothing of it: [`Outcome::NotAsked`].
#[must_use]
pub fn exchange_outcome(error: &io::Error, peer: IpAddr) -> Outcome {
    use io::ErrorKind as Kind;
    let kind = error.kind();
    if matches!(kind, Kind::ConnectionRefused | Kind::ConnectionReset | Kind::ConnectionAborted) {
        Outcome::Refused
    } else if kind == Kind::TimedOut {
        Outcome::Timeout
    } else if kind == Kind::HostUnreachable {
        Outcome::Unreachable
    } else if kind == Kind::NetworkUnreachable && platform::has_route(peer) {
        // Heard from a router; without a route, the kernel itself says the same words.
        Outcome::Unreachable
    } else {
        Outcome::NotAsked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_strictly() {
        let address =
            |a: &str, port| Some(Endpoint { host: Host::Address(a.parse().unwrap()), port });
        let name = |n: &str, port| Some(Endpoint { host: Host::Name(n.to_owned()), port });
        for (text, expected) in [
            ("10.0.0.1:80", address("10.0.0.1", 80)),
            ("[2001:db8::1]:443", address("2001:db8::1", 443)),
            ("www.example.fr:443", name("www.example.fr", 443)),
            ("2130706433:80", name("2130706433", 80)),
            ("www.example.fr", None),
            ("2001:db8::1:443", None),
            ("[10.0.0.1]:80", None),
            ("[fe80::1%eth0]:80", None),
            (":80", None),
            ("a:0", None),
            ("a:65536", None),
            ("a:+80", None),
            ("a:", None),
            ("a b:80", None),
            ("a\r\n:80", None),
            ("user@a:80", None),
            ("é.fr:80", None),
        ] {
            assert_eq!(Endpoint::parse(text), expected, "{text:?}");
        }
        let longest = "a".repeat(MAX_HOST_LEN);
        assert!(Endpoint::parse(&format!("{longest}:80")).is_some());
        assert!(Endpoint::parse(&format!("{longest}a:80")).is_none());
    }
}
