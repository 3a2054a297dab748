//! An IP address as reports and plans write it: `192.0.2.1`, `2001:db8::1`, or a link-local address
//! with the interface on which it means something, `fe80::1%eth0` (RFC 4007, 11.2).

use std::{fmt, net::IpAddr, str::FromStr};

/// Longest name of an interface, in bytes (`IFNAMSIZ`, its end not counted).
pub const MAX_ZONE_BYTES: usize = 15;

/// An address, and its interface when it is link-local.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Zoned {
    /// The address.
    pub ip: IpAddr,
    /// Name of the interface, of an IPv6 link-local address only. Without control characters.
    zone: Option<Box<str>>,
}

/// A text that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address, nor a link-local one and its interface as in fe80::1%eth0")]
pub struct ZonedError;

impl Zoned {
    /// A link-local address on the interface `zone`. `None` when the address is another, or the name
    /// can not be an interface's.
    #[must_use]
    pub fn on(ip: IpAddr, zone: &str) -> Option<Self> {
        let is_name = (1..=MAX_ZONE_BYTES).contains(&zone.len())
            && zone.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'%' | b'/'));
        (is_name && is_link_local(ip)).then(|| Self { ip, zone: Some(zone.into()) })
    }

    /// The interface.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

impl From<IpAddr> for Zoned {
    fn from(ip: IpAddr) -> Self {
        Self { ip, zone: None }
    }
}

impl FromStr for Zoned {
    type Err = ZonedError;

    fn from_str(text: &str) -> Result<Self, ZonedError> {
        let ip = |text: &str| text.parse::<IpAddr>().map_err(|_| ZonedError);
        match text.split_once('%') {
            None => ip(text).map(Self::from),
            Some((address, zone)) => Self::on(ip(address)?, zone).ok_or(ZonedError),
        }
    }
}

impl fmt::Display for Zoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            None => self.ip.fmt(f),
            Some(zone) => write!(f, "{}%{zone}", self.ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in ["10.0.0.1", "2001:db8::1", "fe80::1", "fe80::1%eth0", "fe80::1%br-lan.10"] {
            assert_eq!(text.parse::<Zoned>().unwrap().to_string(), text);
        }
        let longest = format!("fe80::1%{}", "e".repeat(MAX_ZONE_BYTES));
        assert_eq!(longest.parse::<Zoned>().unwrap().zone().unwrap().len(), MAX_ZONE_BYTES);
    }

    #[test]
    fn an_interface_stands_only_behind_a_link_local_address_and_has_a_name() {
        let longer = format!("fe80::1%{}", "e".repeat(MAX_ZONE_BYTES + 1));
        for text in [
            "",
            "x",
            "%eth0",
            "10.0.0.1%eth0",
            "169.254.0.1%eth0",
            "2001:db8::1%eth0",
            "ff02::1%eth0",
            "fe80::1%",
            "fe80::1%a b",
            "fe80::1%a/b",
            "fe80::1%a%b",
            "fe80::1%é",
            "fe80::1%a\u{1b}",
            "fe80::1%a\n",
            &longer,
        ] {
            assert_eq!(text.parse::<Zoned>(), Err(ZonedError), "{text:?}");
        }
    }
}
