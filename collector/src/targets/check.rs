//! What an operator may ask an agent to probe, as far as the collector can judge. Which networks
//! may be probed is each agent's own, local rule.

use std::net::{IpAddr, SocketAddr};

use domain::target::{Method, Role, TargetSpec};

/// Shortest and longest period, seconds.
const PERIODS_S: std::ops::RangeInclusive<u32> = 5..=86_400;
/// Longest name, bytes.
const MAX_NAME_BYTES: usize = 200;
/// Longest address, bytes.
const MAX_ADDRESS_BYTES: usize = 2_048;

/// What is wrong with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Empty, too long, or with control characters.
    #[error("a target's name is 1 to 200 bytes without control characters")]
    Name,
    /// Not what the method asks for.
    #[error("a {method} target's address is {expected}")]
    Address {
        /// Name of the method.
        method: &'static str,
        /// Words for the right shape.
        expected: &'static str,
    },
    /// Outside the range.
    #[error("a target's period is 5 to 86400 seconds")]
    Period,
    /// A parameter of the method.
    #[error("{0}")]
    Parameter(&'static str),
    /// The rungs of the ladder are the agent's to tell.
    #[error("targets of this role follow what the agent sees; use equipment, reference or service")]
    Role,
    /// No target of that site.
    #[error("the parent is no target of this site")]
    Parent,
}

fn is_machine(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !broadcast && !address.is_unspecified() && !address.is_multicast()
}

fn is_ip_and_maybe_port(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(is_machine)
        || text
            .parse::<SocketAddr>()
            .is_ok_and(|address| address.port() > 0 && is_machine(address.ip()))
}

fn is_host_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() > 0 && is_machine(address.ip());
    }
    text.rsplit_once(':')
        .is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // Digits and dots alone would be read as an address in one of its old spellings.
    text.len() <= 253
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !text.to_ascii_lowercase().starts_with("0x")
        && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn is_url(text: &str) -> bool {
    let Ok(url) = text.parse::<http::Uri>() else { return false };
    let host = url.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    matches!(url.scheme_str(), Some("http" | "https"))
        && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && url.port_u16() != Some(0)
        && (is_name(host) || bare.parse().is_ok_and(is_machine))
}

/// Judges a target that an operator asks for.
pub(super) fn check(spec: &TargetSpec) -> Result<(), TargetFault> {
    let name = &spec.name;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(TargetFault::Name);
    }
    if !PERIODS_S.contains(&spec.period_s) {
        return Err(TargetFault::Period);
    }
    if !matches!(spec.role, Role::Equipment | Role::Reference | Role::Service) {
        return Err(TargetFault::Role);
    }
    let address = spec.address.as_str();
    let (valid, method, expected) = match &spec.method {
        Method::Icmp { count } => {
            if !(1..=100).contains(count) {
                return Err(TargetFault::Parameter("echo requests a round are 1 to 100"));
            }
            (address.parse().is_ok_and(is_machine), "ICMP", "an IP address of one machine")
        }
        Method::Tcp => (is_host_port(address), "TCP", "host:port"),
        Method::Dns { name, record_type } => {
            if !is_name(name) || *record_type == 0 {
                return Err(TargetFault::Parameter("a DNS question is a name and a record type"));
            }
            let valid = address == "system" || is_ip_and_maybe_port(address);
            (valid, "DNS", "a resolver's IP address, or \"system\"")
        }
        Method::Http => {
            (is_url(address), "HTTP", "an http or https URL without user name or password")
        }
        Method::SnmpV2c { community } => {
            if !(1..=255).contains(&community.len()) {
                return Err(TargetFault::Parameter("an SNMP community is 1 to 255 bytes"));
            }
            (is_ip_and_maybe_port(address), "SNMP", "an IP address, with a port if need be")
        }
        Method::Host => return Err(TargetFault::Role),
    };
    if valid && address.len() <= MAX_ADDRESS_BYTES {
        Ok(())
    } else {
        Err(TargetFault::Address { method, expected })
    }
}

#[cfg(test)]
mod tests {
    use domain::id::SiteId;

    use super::*;

    fn spec(method: Method, address: &str) -> TargetSpec {
        TargetSpec {
            site: SiteId(1),
            role: Role::Equipment,
            name: "commutateur".to_owned(),
            address: address.to_owned(),
            method,
            period_s: 60,
            parent: None,
        }
    }

    fn snmp() -> Method {
        Method::SnmpV2c { community: "public".to_owned() }
    }

    fn dns() -> Method {
        Method::Dns { name: "www.example.fr".to_owned(), record_type: 1 }
    }

    #[test]
    fn sensible_targets_are_accepted() {
        let good = [
            (Method::Icmp { count: 5 }, "192.0.2.1"),
            (Method::Icmp { count: 5 }, "2001:db8::1"),
            (Method::Tcp, "www.example.fr:443"),
            (Method::Tcp, "[2001:db8::1]:443"),
            (dns(), "192.0.2.53"),
            (dns(), "192.0.2.53:5353"),
            (dns(), "system"),
            (Method::Http, "https://www.example.fr/a?b=c"),
            (Method::Http, "http://[2001:db8::1]:8080/"),
            (snmp(), "192.0.2.7"),
            (snmp(), "127.0.0.1:1161"),
        ];
        for (method, address) in good {
            assert_eq!(check(&spec(method, address)), Ok(()), "{address}");
        }
    }

    #[test]
    fn tricks_with_addresses_are_refused() {
        let icmp = Method::Icmp { count: 5 };
        let bad = [
            (icmp.clone(), vec!["0.0.0.0", "224.0.0.1", "255.255.255.255", "2130706433", "0x7f.1"]),
            (icmp, vec!["localhost", "", "192.0.2.0/24", "::", "ff02::1"]),
            (Method::Tcp, vec!["192.0.2.1", "host:0", "host:99999", "0x7f000001:80", "a b:80"]),
            (Method::Tcp, vec!["2130706433:80", ":80", "-\r\n:80"]),
            (dns(), vec!["resolver.example.fr", "192.0.2.53:0", ""]),
            (Method::Http, vec!["ftp://example.fr/", "file:///etc/passwd", "/relative", ""]),
            (Method::Http, vec!["http://u:p@example.fr/", "http://0x7f.1/", "http://224.0.0.1/"]),
            (Method::Http, vec!["http://exa mple.fr/", "http://example.fr/\r\nHost: x", "http://"]),
            (snmp(), vec!["switch.example.fr", "255.255.255.255"]),
        ];
        for (method, addresses) in bad {
            for address in addresses {
                let fault = check(&spec(method.clone(), address));
                assert!(
                    matches!(fault, Err(TargetFault::Address { .. })),
                    "{address:?}: {fault:?}"
                );
            }
        }
    }

    #[test]
    fn periods_and_counts_are_bounded() {
        let base = spec(Method::Icmp { count: 5 }, "192.0.2.1");
        for (period_s, fine) in [(4, false), (5, true), (86_400, true), (86_401, false)] {
            assert_eq!(check(&TargetSpec { period_s, ..base.clone() }).is_ok(), fine);
        }
        for (count, fine) in [(0, false), (1, true), (100, true), (101, false)] {
            let method = Method::Icmp { count };
            assert_eq!(check(&TargetSpec { method, ..base.clone() }).is_ok(), fine);
        }
        let role = Role::Gateway;
        assert_eq!(check(&TargetSpec { role, ..base }), Err(TargetFault::Role));
    }
}
