//! A target as an operator gives it, checked member by member.
//!
//! Loopback addresses are allowed, since a school's server may probe its own services; which networks
//! an agent may probe is its own file's to say. What no agent can sensibly ask is refused here.

use std::net::{IpAddr, SocketAddr};

use domain::{
    id::{SiteId, TargetId},
    target::{Community, Method, Role, TargetSpec},
};
use http::Uri;
use serde::Deserialize;

use super::problem::Fault;
use crate::{
    wire,
    wrong::{Code, Wrong},
};

/// What is wrong with an address, in words too.
type Misfit = Option<(Code, &'static str)>;

/// Shortest and longest period, seconds.
const PERIOD_S: std::ops::RangeInclusive<u32> = 5..=3_600;
/// Period on the way out of the school, and to the shared centre, seconds.
const PATH_PERIOD_S: u32 = 10;
/// Period elsewhere, seconds.
const OTHER_PERIOD_S: u32 = 60;
/// Echo requests a round.
const ICMP_COUNT: std::ops::RangeInclusive<u16> = 1..=100;
/// Fewer than towards the outside, where loss is rare and worth telling apart: a school has dozens of
/// devices on its own wires.
const DEFAULT_ICMP_COUNT: u16 = 3;
/// Longest name, characters.
const MAX_NAME_CHARS: usize = 255;
/// Longest URL, bytes.
const MAX_URL_BYTES: usize = 2_000;
/// Longest SNMP community, bytes.
const MAX_COMMUNITY_BYTES: usize = 255;
/// Longest DNS name, bytes.
const MAX_DNS_BYTES: usize = 253;
/// The name that a resolver is asked for unless the operator says otherwise.
const DEFAULT_QUERY: &str = "example.fr";
/// IANA number of A.
const RECORD_A: u16 = 1;

/// A target as an operator gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    method: String,
    address: String,
    name: Option<String>,
    role: Option<String>,
    parent: Option<i64>,
    period_s: Option<u32>,
    count: Option<u16>,
    query_name: Option<String>,
    record_type: Option<u16>,
    community: Option<String>,
}

impl RawTarget {
    /// The target, or every fault.
    pub(super) fn check(self, site: SiteId) -> Result<TargetSpec, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut fault = |member: &str, wrong: Wrong| faults.push(Fault::at(member, wrong));
        let address = self.address.trim().to_owned();
        let (method, role, wrong) = match self.method.as_str() {
            "icmp" => {
                let count = self.count.unwrap_or(DEFAULT_ICMP_COUNT);
                if !ICMP_COUNT.contains(&count) {
                    fault("count", Wrong::out_of(count, ICMP_COUNT.start(), ICMP_COUNT.end()));
                }
                (Method::Icmp { count }, Role::Equipment, wrong_ip(&address))
            }
            "tcp" => (Method::Tcp, Role::Service, wrong_host_port(&address)),
            "dns" => {
                let name = self.query_name.as_deref().unwrap_or(DEFAULT_QUERY).trim().to_owned();
                if !is_dns_name(&name) {
                    fault("query_name", Wrong::new(Code::DnsName, "expected a DNS name"));
                }
                let record_type = self.record_type.unwrap_or(RECORD_A);
                (Method::Dns { name, record_type }, Role::Service, wrong_resolver(&address))
            }
            "http" => (Method::Http, Role::Service, wrong_url(&address)),
            "snmp" => {
                let community = self.community.clone().unwrap_or_default();
                if community.is_empty() || community.len() > MAX_COMMUNITY_BYTES {
                    let reason = format!("expected 1 to {MAX_COMMUNITY_BYTES} bytes");
                    let wrong = Wrong::new(Code::Community, reason);
                    fault("community", wrong.expected(MAX_COMMUNITY_BYTES));
                }
                (
                    Method::SnmpV2c { community: Community::new(community) },
                    Role::Equipment,
                    wrong_ip_port(&address),
                )
            }
            _ => {
                fault("method", Wrong::none_of(&["icmp", "tcp", "dns", "http", "snmp"]));
                (Method::Host, Role::Equipment, None)
            }
        };
        if let Some((code, reason)) = wrong {
            fault("address", Wrong::new(code, reason));
        }
        for (member, given, only) in [
            ("count", self.count.is_some(), "icmp"),
            ("query_name", self.query_name.is_some(), "dns"),
            ("record_type", self.record_type.is_some(), "dns"),
            ("community", self.community.is_some(), "snmp"),
        ] {
            if given && self.method != only {
                let reason = format!("only {only} has this member");
                fault(member, Wrong::new(Code::NotOfMethod, reason).expected(only));
            }
        }
        // The host, the collector and the peers are the collector's own to define.
        let roles = Role::ALL
            .iter()
            .filter(|role| !matches!(role, Role::Host | Role::Collector | Role::Peer));
        let role = match self.role.as_deref() {
            None => role,
            Some(code) => {
                roles.clone().find(|role| role.code() == code).copied().unwrap_or_else(|| {
                    let codes: Vec<_> = roles.map(|role| role.code()).collect();
                    fault("role", Wrong::none_of(&codes));
                    role
                })
            }
        };
        let on_path = domain::health::PATH.contains(&role) || role == Role::Centre;
        let period_s =
            self.period_s.unwrap_or(if on_path { PATH_PERIOD_S } else { OTHER_PERIOD_S });
        if !PERIOD_S.contains(&period_s) {
            fault("period_s", Wrong::out_of(period_s, PERIOD_S.start(), PERIOD_S.end()));
        } else if let Method::Icmp { count } = method
            && ICMP_COUNT.contains(&count)
            && u32::from(count) > wire::most_echoes(period_s)
        {
            fault("count", Wrong::out_of(count, ICMP_COUNT.start(), wire::most_echoes(period_s)));
        }
        let name = self.name.as_deref().unwrap_or(&address).trim().to_owned();
        if name.is_empty()
            || name.chars().count() > MAX_NAME_CHARS
            || name.chars().any(char::is_control)
        {
            let reason = format!("expected 1 to {MAX_NAME_CHARS} printable characters");
            fault("name", Wrong::new(Code::TargetName, reason).expected(MAX_NAME_CHARS));
        }
        let parent = self.parent.map(TargetId);
        if faults.is_empty() {
            Ok(TargetSpec { site, role, name, address, method, period_s, parent })
        } else {
            Err(faults)
        }
    }
}

/// What is wrong with the address of one machine.
fn wrong_ip(text: &str) -> Misfit {
    match text.parse::<IpAddr>() {
        Ok(ip) => wrong_machine(ip),
        Err(_) => Some((Code::IpAddress, "expected an IP address")),
    }
}

fn wrong_machine(ip: IpAddr) -> Misfit {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    if ip.is_unspecified() {
        Some((Code::UnspecifiedAddress, "the unspecified address is no machine's"))
    } else if ip.is_multicast() || broadcast {
        Some((
            Code::NotOneMachine,
            "expected the address of one machine, not multicast nor broadcast",
        ))
    } else if mapped {
        Some((Code::MappedAddress, "write the IPv4 address itself"))
    } else {
        None
    }
}

fn wrong_ip_port(text: &str) -> Misfit {
    match text.parse::<SocketAddr>() {
        Ok(socket) if socket.port() == 0 => Some((Code::PortZero, "port 0 is no port")),
        Ok(socket) => wrong_machine(socket.ip()),
        Err(_) => wrong_ip(text),
    }
}

fn wrong_resolver(text: &str) -> Misfit {
    if text == "system" { None } else { wrong_ip_port(text) }
}

pub(super) fn wrong_host_port(text: &str) -> Misfit {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return if socket.port() == 0 {
            Some((Code::PortZero, "port 0 is no port"))
        } else {
            wrong_machine(socket.ip())
        };
    }
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        is_dns_name(host) && is_digits(port) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if good { None } else { Some((Code::HostPort, "expected host:port")) }
}

fn wrong_url(text: &str) -> Misfit {
    const EXPECTED: (Code, &str) = (Code::Url, "expected http://host/... or https://host/...");
    if text.len() > MAX_URL_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some((Code::UrlText, "expected at most 2000 printable ASCII characters"));
    }
    let Ok(uri) = text.parse::<Uri>() else { return Some(EXPECTED) };
    let Some(authority) = uri.authority() else { return Some(EXPECTED) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some(EXPECTED);
    }
    if authority.as_str().contains('@') {
        return Some((Code::UrlCredentials, "a URL with credentials would show them to everybody"));
    }
    if authority.port().is_some() && authority.port_u16().is_none_or(|port| port == 0) {
        return Some(EXPECTED);
    }
    let host = authority.host();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) => wrong_machine(ip),
        Err(_) if is_dns_name(host) => None,
        Err(_) => Some(EXPECTED),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Letters, digits, hyphens and underscores between dots. A last label of digits only would be read
/// as a number by some resolvers (`2130706433`, `127.1`) and is refused.
fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = is_digits(last) || last.starts_with("0x") || last.starts_with("0X");
    !name.is_empty() && name.len() <= MAX_DNS_BYTES && name.split('.').all(label) && !numeric
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<TargetSpec, Vec<String>> {
        serde_json::from_str::<RawTarget>(json)
            .map_err(|error| vec![error.to_string()])?
            .check(SiteId(1))
            .map_err(|faults| {
                faults.iter().map(|f| f.pointer.clone().unwrap_or_default()).collect()
            })
    }

    #[test]
    fn each_method_has_its_defaults() {
        let gateway = check(r#"{"method":"icmp","address":"192.0.2.1","role":"gateway"}"#).unwrap();
        assert_eq!((gateway.period_s, gateway.name.as_str()), (10, "192.0.2.1"));
        assert_eq!(gateway.method, Method::Icmp { count: 3 });
        let switch =
            check(r#"{"method":"snmp","address":"192.0.2.2:1161","community":"public"}"#).unwrap();
        assert_eq!((switch.period_s, switch.role), (60, Role::Equipment));
        assert!(check(r#"{"method":"dns","address":"system"}"#).is_ok());
        assert!(check(r#"{"method":"tcp","address":"[2001:db8::1]:443"}"#).is_ok());
        assert!(check(r#"{"method":"tcp","address":"ent.example.fr:443"}"#).is_ok());
        assert!(check(r#"{"method":"http","address":"https://ent.example.fr/a?b=c"}"#).is_ok());
    }

    #[test]
    fn addresses_that_no_agent_can_ask_are_refused() {
        for (method, address) in [
            ("icmp", "0.0.0.0"),
            ("icmp", "224.0.0.1"),
            ("icmp", "255.255.255.255"),
            ("icmp", "::ffff:127.0.0.1"),
            ("icmp", "2130706433"),
            ("icmp", "0x7f.1"),
            ("icmp", "host"),
            ("icmp", "192.0.2.0/24"),
            ("icmp", ""),
            ("icmp", "ff02::1"),
            ("tcp", "host"),
            ("tcp", "host:0"),
            ("tcp", "host:70000"),
            ("tcp", "a b:1"),
            ("tcp", "2130706433:80"),
            ("tcp", "127.1:80"),
            ("tcp", "host:+1"),
            ("tcp", ":80"),
            ("dns", "resolver.example.fr"),
            ("dns", "0.0.0.0:53"),
            ("dns", "192.0.2.1:0"),
            ("http", "ftp://host/"),
            ("http", "http://user:pw@host/"),
            ("http", "file:///etc/passwd"),
            ("http", "http://"),
            ("http", "http://h\u{f6}st/"),
            ("http", "http://host/\r\nX: y"),
            ("http", "http://0x7f.1/"),
            ("http", "http://2130706433/"),
            ("http", "/path"),
            ("http", "http://[::ffff:127.0.0.1]/"),
            ("http", "http://host:0/"),
            ("snmp", "switch"),
            ("snmp", "224.0.0.1"),
        ] {
            let community = if method == "snmp" { r#","community":"c""# } else { "" };
            let address = serde_json::to_string(address).unwrap();
            let json =
                format!(r#"{{"method":"{method}","address":{address},"name":"n"{community}}}"#);
            assert_eq!(check(&json).unwrap_err(), ["/address"], "{json}");
        }
    }

    #[test]
    fn members_are_bounded_and_belong_to_their_method() {
        for (json, expected) in [
            (r#"{"method":"icmp","address":"192.0.2.1","period_s":0}"#, "/period_s"),
            (r#"{"method":"icmp","address":"192.0.2.1","period_s":3601}"#, "/period_s"),
            (r#"{"method":"icmp","address":"192.0.2.1","count":0}"#, "/count"),
            (r#"{"method":"icmp","address":"192.0.2.1","count":81,"period_s":10}"#, "/count"),
            (r#"{"method":"icmp","address":"192.0.2.1","role":"boss"}"#, "/role"),
            (r#"{"method":"icmp","address":"192.0.2.1","role":"host"}"#, "/role"),
            (r#"{"method":"icmp","address":"192.0.2.1","name":"a\u001b[2J"}"#, "/name"),
            (r#"{"method":"icmp","address":"192.0.2.1","community":"c"}"#, "/community"),
            (r#"{"method":"snmp","address":"192.0.2.1"}"#, "/community"),
            (r#"{"method":"dns","address":"192.0.2.1","query_name":"a..b"}"#, "/query_name"),
            (r#"{"method":"ssh","address":"192.0.2.1"}"#, "/method"),
        ] {
            assert_eq!(check(json).unwrap_err(), [expected], "{json}");
        }
        assert!(check(r#"{"method":"tcp","address":"h:1","adress":"x"}"#).is_err());
    }
}
