//! Which addresses this agent may be told to probe.
//!
//! The collector chooses the targets, the school chooses the networks: the list comes from the
//! agent's local configuration and nothing that the collector sends can widen it. Without a list,
//! every unicast address that is not always denied is permitted: private ranges (a school's LAN is
//! made of them) and public ones (the WAN references). With a list, only its networks are.
//!
//! Always denied, listed or not: "this network", link-local (169.254.169.254 hands out a cloud
//! machine's keys), multicast, broadcast and reserved addresses, and every IPv6 form that carries
//! one of them; but an IPv6 link-local address that names its interface, as a router's does, may be
//! sent echo requests. Loopback is denied unless the list names it by a network inside loopback itself;
//! any other address of the agent's own machine is denied unless the list names that one address.
//! URLs are asked on the ports of web servers only, and on those that the local list adds.
//!
//! A name is judged by what it resolves to, and the connection goes to the address that was judged,
//! so that a second answer of the resolver changes nothing.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    str::FromStr,
    sync::Arc,
};

use super::own::OwnAddresses;
use crate::{plan::Zoned, platform};

/// Ports on which URLs are asked without further words.
const HTTP_PORTS: [RangeInclusive<u16>; 3] = [80..=80, 443..=443, 8_000..=8_999];

/// Networks that may be probed.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    /// `None` when the configuration gives no list.
    networks: Option<Vec<Cidr>>,
    /// Beside [`HTTP_PORTS`].
    http_ports: Vec<RangeInclusive<u16>>,
    /// Beside those of each service.
    service_ports: Vec<RangeInclusive<u16>>,
    own: Arc<OwnAddresses>,
}

/// Why an address may not be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// 0.0.0.0/8 or `::`.
    #[error("unspecified addresses are never probed")]
    Unspecified,
    /// 127.0.0.0/8 or `::1`, not named by the local list.
    #[error("loopback is probed only where the local list of networks names it")]
    Loopback,
    /// An address of this machine, not named by the local list.
    #[error("this machine's own address is probed only where the local list names it")]
    Own,
    /// 169.254.0.0/16, `fe80::/10` without its interface, or a cloud's metadata address.
    #[error("link-local and metadata addresses are never probed")]
    LinkLocal,
    /// 224.0.0.0/4 or `ff00::/8`.
    #[error("multicast addresses are never probed")]
    Multicast,
    /// 240.0.0.0/4, which holds the broadcast address, or `fec0::/10`.
    #[error("broadcast and reserved addresses are never probed")]
    Reserved,
    /// A translation prefix whose target can not be told from the address.
    #[error("addresses of local translation prefixes are never probed")]
    Translated,
    /// Outside the local list.
    #[error("the address is outside the networks that the local configuration allows")]
    NotListed,
}

impl AllowList {
    /// Permits these networks only. An empty list permits nothing.
    #[must_use]
    pub fn only(networks: Vec<Cidr>) -> Self {
        Self { networks: Some(networks), ..Self::default() }
    }

    /// Permits URLs on these ports too.
    #[must_use]
    pub fn and_http_ports(mut self, ports: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        self.http_ports.extend(ports);
        self
    }

    /// Whether a URL may be asked on `port`: other services might take a request for a command.
    #[must_use]
    pub fn permits_http_port(&self, port: u16) -> bool {
        HTTP_PORTS.iter().chain(&self.http_ports).any(|ports| ports.contains(&port))
    }

    /// Permits services on these ports too, whatever their kind.
    #[must_use]
    pub fn and_service_ports(
        mut self,
        ports: impl IntoIterator<Item = RangeInclusive<u16>>,
    ) -> Self {
        self.service_ports.extend(ports);
        self
    }

    /// Whether a service whose usual ports these are may be asked on `port`.
    #[must_use]
    pub fn permits_service_port(&self, port: u16, usual: &[RangeInclusive<u16>]) -> bool {
        usual.iter().chain(&self.service_ports).any(|ports| ports.contains(&port))
    }

    /// Whether the configuration gives a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.networks.is_some()
    }

    /// Whether the list holds `address`; where there is none, it holds all.
    #[must_use]
    pub fn lists(&self, address: IpAddr) -> bool {
        self.listed(address).is_ok()
    }

    /// Whether a proxy may be asked for a page of `address`: which networks it may reach is its own
    /// affair, but not what is always denied.
    pub fn permits_relayed(&self, address: IpAddr) -> Result<(), Denied> {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.judge_v4(v4),
            IpAddr::V6(v6) => self.judge_v6(v6),
        }
    }

    /// Whether `address` may be probed. What is this machine's own is asked of the kernel, whose
    /// answer is believed for 30 s: addresses come and go, and each round comes by here with each
    /// of its targets.
    pub fn permits(&self, address: IpAddr) -> Result<(), Denied> {
        self.judge(address, |address| {
            self.own.contains(address, platform::boot_ns(), platform::is_own)
        })
    }

    /// As [`AllowList::permits`], for echo requests, which nobody takes for a command. A link-local
    /// IPv6 address may be asked when it names its interface: most IPv6 routers have no other. The
    /// local list, where there is one, must hold it, as `fe80::/10` does.
    pub fn permits_echo(&self, target: &Zoned) -> Result<(), Denied> {
        let Some(zone) = target.zone() else { return self.permits(target.ip) };
        // Seldom, and not remembered: an address means another machine on each interface.
        let is_own = || {
            let index = platform::interface_index(zone);
            index.is_some_and(|index| platform::is_own_on(target.ip, index).unwrap_or(false))
        };
        if !self.names_alone(target.ip) && is_own() {
            return Err(Denied::Own);
        }
        self.listed(target.ip)
    }

    fn judge(&self, address: IpAddr, is_own: impl Fn(IpAddr) -> bool) -> Result<(), Denied> {
        // A connection to `::ffff:a.b.c.d` is a connection to `a.b.c.d`.
        let address = address.to_canonical();
        match address {
            IpAddr::V4(v4) => self.judge_v4(v4)?,
            IpAddr::V6(v6) => self.judge_v6(v6)?,
        }
        if !address.is_loopback() && !self.names_alone(address) && is_own(address) {
            return Err(Denied::Own);
        }
        self.listed(address)
    }

    fn listed(&self, address: IpAddr) -> Result<(), Denied> {
        match &self.networks {
            Some(networks) if !networks.iter().any(|network| network.contains(address)) => {
                Err(Denied::NotListed)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn judge_v4(&self, address: Ipv4Addr) -> Result<(), Denied> {
        if address.is_loopback() && self.names_loopback(address.into()) {
            return Ok(());
        }
        never_v4(address)
    }

    fn judge_v6(&self, address: Ipv6Addr) -> Result<(), Denied> {
        if address.is_loopback() && self.names_loopback(address.into()) {
            return Ok(());
        }
        never_v6(address)
    }

    /// `10.0.0.0/8` does not name this machine; `10.1.2.3` does.
    fn names_alone(&self, address: IpAddr) -> bool {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        self.networks
            .iter()
            .flatten()
            .any(|network| network.prefix == whole && network.contains(address))
    }

    /// `0.0.0.0/0` does not name loopback; `127.0.0.1` and `127.0.0.0/8` do.
    fn names_loopback(&self, address: IpAddr) -> bool {
        self.networks.iter().flatten().any(|network| {
            let whole = match network.address {
                IpAddr::V4(_) => 8,
                IpAddr::V6(_) => 128,
            };
            network.prefix >= whole && network.contains(address)
        })
    }
}

fn never_v4(address: Ipv4Addr) -> Result<(), Denied> {
    let [first, ..] = address.octets();
    match first {
        0 => Err(Denied::Unspecified),
        127 => Err(Denied::Loopback),
        224..=239 => Err(Denied::Multicast),
        240.. => Err(Denied::Reserved),
        _ if address.is_link_local() => Err(Denied::LinkLocal),
        _ => Ok(()),
    }
}

fn never_v6(address: Ipv6Addr) -> Result<(), Denied> {
    /// Amazon's metadata service, inside the unique local range.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let words = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    if address.is_unspecified() {
        return Err(Denied::Unspecified);
    }
    if address.is_loopback() {
        return Err(Denied::Loopback);
    }
    if address.is_multicast() {
        return Err(Denied::Multicast);
    }
    if address.is_unicast_link_local() || address == METADATA {
        return Err(Denied::LinkLocal);
    }
    if words[0] & 0xffc0 == 0xfec0 {
        return Err(Denied::Reserved); // site-local, RFC 3879
    }
    match words {
        // In turn: IPv4-compatible and IPv4-translated (RFC 2765), 6to4 (RFC 3056), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0 | 0xffff, _, high, low]
        | [0x2002, high, low, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => never_v4(v4(high, low)),
        // RFC 8215: where the IPv4 address stands depends on a prefix length that is not ours to
        // know.
        [0x64, 0xff9b, 1, ..] => Err(Denied::Translated),
        // Teredo, RFC 4380: the server in clear, the client inverted.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            never_v4(v4(high, low)).and_then(|()| never_v4(v4(!client_high, !client_low)))
        }
        _ => Ok(()),
    }
}

/// A network such as `10.0.0.0/8`; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// The part after the slash.
    #[error("{0:?} is not a prefix length from 0 to {1}")]
    Prefix(String, u8),
    /// The address has bits beyond the prefix: probably a slip, and the meaning would be wider.
    #[error("the address has bits beyond its prefix; the network is {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// Whether `address` is in this network. An IPv4-mapped address counts as its IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(v4)) => {
                network.to_bits() == v4.to_bits() & mask_v4(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(v6)) => {
                network.to_bits() == v6.to_bits() & mask_v6(self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| CidrError::Address(address.to_owned()))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            // `u8::from_str` would take a sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(|| CidrError::Prefix(digits.to_owned(), longest))?,
            Some(other) => return Err(CidrError::Prefix(other.to_owned(), longest)),
        };
        let network = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix))),
        };
        let cidr = Self { address: network, prefix };
        if network == address { Ok(cidr) } else { Err(CidrError::HostBits(cidr)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(networks: &[&str]) -> AllowList {
        AllowList::only(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn judge(allow: &AllowList, address: &str) -> Result<(), Denied> {
        allow.permits(address.parse().unwrap())
    }

    #[test]
    fn what_is_always_denied_is_denied_in_each_of_its_forms() {
        let everything = list(&["0.0.0.0/0", "::/0"]);
        for (address, why) in [
            ("127.0.0.1", Denied::Loopback),
            ("127.255.255.254", Denied::Loopback),
            ("::1", Denied::Loopback),
            ("::ffff:127.0.0.1", Denied::Loopback),
            ("::127.0.0.1", Denied::Loopback),
            ("::ffff:0:127.0.0.1", Denied::Loopback),
            ("2002:7f00:1::1", Denied::Loopback),
            ("64:ff9b::127.0.0.1", Denied::Loopback),
            ("2001:0:7f00:1::5601:101", Denied::Loopback),
            // A Teredo client's address is stored inverted: 0x80fffffe is 127.0.0.1.
            ("2001:0:c000:201:0:0:80ff:fffe", Denied::Loopback),
            ("0.0.0.0", Denied::Unspecified),
            ("0.1.2.3", Denied::Unspecified),
            ("::", Denied::Unspecified),
            ("::ffff:0.0.0.0", Denied::Unspecified),
            ("64:ff9b::", Denied::Unspecified),
            ("169.254.169.254", Denied::LinkLocal),
            ("169.254.0.1", Denied::LinkLocal),
            ("::ffff:169.254.169.254", Denied::LinkLocal),
            ("::ffff:a9fe:a9fe", Denied::LinkLocal),
            ("::169.254.169.254", Denied::LinkLocal),
            ("2002:a9fe:a9fe::", Denied::LinkLocal),
            ("64:ff9b::a9fe:a9fe", Denied::LinkLocal),
            ("64:ff9b:1::a9fe:a9fe", Denied::Translated),
            ("64:ff9b:1:a9fe:a9:fe00::", Denied::Translated),
            ("fd00:ec2::254", Denied::LinkLocal),
            ("fe80::1", Denied::LinkLocal),
            ("febf::1", Denied::LinkLocal),
            ("fec0::1", Denied::Reserved),
            ("224.0.0.1", Denied::Multicast),
            ("239.255.255.250", Denied::Multicast),
            ("ff02::1", Denied::Multicast),
            ("64:ff9b::224.0.0.1", Denied::Multicast),
            ("255.255.255.255", Denied::Reserved),
            ("240.0.0.1", Denied::Reserved),
            ("2002:ffff:ffff::", Denied::Reserved),
        ] {
            assert_eq!(judge(&AllowList::default(), address), Err(why), "{address}, no list");
            assert_eq!(judge(&everything, address), Err(why), "{address}, all listed");
        }
    }

    #[test]
    fn without_a_list_private_and_public_addresses_are_probed() {
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.254",
            "100.64.0.1",
            "9.9.9.9",
            "2620:fe::fe",
            "fd12:3456::1",
            "::ffff:10.1.2.3",
            "64:ff9b::9.9.9.9",
            "2002:909:909::1",
        ] {
            assert_eq!(judge(&AllowList::default(), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn with_a_list_only_its_networks_are_probed() {
        let allow = list(&["10.0.0.0/8", "192.168.4.7", "2001:db8::/32"]);
        for (address, verdict) in [
            ("10.255.255.255", Ok(())),
            ("::ffff:10.0.0.1", Ok(())),
            ("11.0.0.0", Err(Denied::NotListed)),
            ("9.255.255.255", Err(Denied::NotListed)),
            ("192.168.4.7", Ok(())),
            ("192.168.4.6", Err(Denied::NotListed)),
            ("2001:db8:ffff::1", Ok(())),
            ("2001:db9::1", Err(Denied::NotListed)),
            ("127.0.0.1", Err(Denied::Loopback)),
        ] {
            assert_eq!(judge(&allow, address), verdict, "{address}");
        }
        assert_eq!(judge(&list(&[]), "10.0.0.1"), Err(Denied::NotListed));
    }

    #[test]
    fn loopback_is_probed_only_when_named_as_such() {
        let named = list(&["127.0.0.1", "::1"]);
        assert_eq!(judge(&named, "127.0.0.1"), Ok(()));
        assert_eq!(judge(&named, "::ffff:127.0.0.1"), Ok(()));
        assert_eq!(judge(&named, "::1"), Ok(()));
        assert_eq!(judge(&named, "127.0.0.2"), Err(Denied::Loopback));
        assert_eq!(judge(&named, "64:ff9b::127.0.0.1"), Err(Denied::Loopback));
        assert_eq!(judge(&list(&["127.0.0.0/8"]), "127.3.2.1"), Ok(()));
        assert_eq!(judge(&list(&["126.0.0.0/7"]), "127.0.0.1"), Err(Denied::Loopback));
    }

    #[test]
    fn this_machine_is_probed_only_when_named_alone() {
        let own: IpAddr = "10.1.2.3".parse().unwrap();
        let judge = |allow: &AllowList, address: &str| {
            allow.judge(address.parse().unwrap(), |address| address == own)
        };
        for allow in [AllowList::default(), list(&["0.0.0.0/0"]), list(&["10.1.2.2/31"])] {
            assert_eq!(judge(&allow, "10.1.2.3"), Err(Denied::Own));
            assert_eq!(judge(&allow, "::ffff:10.1.2.3"), Err(Denied::Own));
            assert_eq!(judge(&allow, "10.1.2.2"), Ok(()));
        }
        assert_eq!(judge(&list(&["10.1.2.3"]), "10.1.2.3"), Ok(()));
        // The kernel tells what is its own; nothing of TEST-NET-1 is.
        assert!(platform::is_own(Ipv4Addr::LOCALHOST.into()).unwrap());
        // Without any route there is no answer.
        assert!(!platform::is_own(Ipv4Addr::new(192, 0, 2, 1).into()).unwrap_or(false));
    }

    #[test]
    fn urls_are_asked_on_the_ports_of_web_servers() {
        let ports = |allow: &AllowList| {
            [22, 25, 80, 443, 631, 7_999, 8_000, 8_999, 9_000, 9_100]
                .into_iter()
                .filter(|port| allow.permits_http_port(*port))
                .collect::<Vec<u16>>()
        };
        assert_eq!(ports(&AllowList::default()), [80, 443, 8_000, 8_999]);
        let more = AllowList::default().and_http_ports([631..=631, 9_000..=9_050]);
        assert_eq!(ports(&more), [80, 443, 631, 8_000, 8_999, 9_000]);
    }

    #[test]
    fn services_are_asked_on_their_usual_ports() {
        let usual = [25..=25, 587..=587];
        let plain = AllowList::default();
        assert!(plain.permits_service_port(587, &usual) && !plain.permits_service_port(26, &usual));
        let more = AllowList::default().and_service_ports([2_525..=2_525]);
        assert!(more.permits_service_port(2_525, &usual) && !more.permits_http_port(2_525));
    }

    #[test]
    fn a_proxy_is_not_asked_for_what_nobody_may_ask() {
        let allow = AllowList::only(vec!["10.0.0.0/8".parse().unwrap()]);
        let relayed = |text: &str| allow.permits_relayed(text.parse().unwrap()).is_ok();
        assert!(relayed("192.0.2.1") && relayed("10.0.0.1") && relayed("2001:db8::1"));
        for text in ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1"] {
            assert!(!relayed(text), "{text}");
        }
    }

    #[test]
    fn a_network_is_read_strictly() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32", "::/0", "2001:db8::/32"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for (text, message) in [
            ("", "\"\" is not an IP address"),
            ("2130706433", "\"2130706433\" is not an IP address"),
            ("0x7f.1", "\"0x7f.1\" is not an IP address"),
            ("10.0.0.0/33", "\"33\" is not a prefix length from 0 to 32"),
            ("10.0.0.0/+8", "\"+8\" is not a prefix length from 0 to 32"),
            ("10.0.0.0/", "\"\" is not a prefix length from 0 to 32"),
            ("::/129", "\"129\" is not a prefix length from 0 to 128"),
            ("10.0.0.1/8", "the address has bits beyond its prefix; the network is 10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap_err().to_string(), message, "{text}");
        }
    }
}
