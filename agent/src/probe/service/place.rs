//! Where a service of each kind is asked: the texts of a plan, and the usual ports.

use std::ops::RangeInclusive;

use super::backup;
use crate::{
    plan::ServiceKind,
    probe::{dial::Endpoint, web::Url},
};

/// Longest name of a network interface (`IFNAMSIZ`, its end not counted).
const MAX_INTERFACE_LEN: usize = 15;
/// In the place of an interface: that of the default route.
const AUTO: &str = "auto";
/// In the place of a proxy: there is none, and the filter stands on the way.
const DIRECT: &str = "direct";

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// One machine.
    Machine(Endpoint),
    /// A printer or its queue.
    Printer(Url),
    /// The network behind an interface; `None` is that of the default route.
    Interface(Option<String>),
    /// Pages without a proxy.
    Direct,
    /// Files of this machine.
    Files(backup::Place),
}

impl Place {
    /// Reads the text of a plan; nothing when the kind can not be asked there.
    pub(super) fn parse(kind: ServiceKind, text: &str) -> Option<Self> {
        match kind {
            ServiceKind::Unspecified => None,
            ServiceKind::Dhcp if text == AUTO => Some(Self::Interface(None)),
            ServiceKind::Dhcp => {
                let legal = |b: u8| b.is_ascii_graphic() && b != b'/';
                let fits = (1..=MAX_INTERFACE_LEN).contains(&text.len());
                (fits && text.bytes().all(legal)).then(|| Self::Interface(Some(text.to_owned())))
            }
            ServiceKind::Ipp => Url::parse(text, ("ipp", 631), ("ipps", 631)).map(Self::Printer),
            ServiceKind::Proxy if text == DIRECT => Some(Self::Direct),
            ServiceKind::Backup => backup::Place::parse(text).map(Self::Files),
            ServiceKind::Ntp
            | ServiceKind::Ldap
            | ServiceKind::Ldaps
            | ServiceKind::Radius
            | ServiceKind::Smb
            | ServiceKind::Nfs
            | ServiceKind::Proxy
            | ServiceKind::Smtp
            | ServiceKind::SmtpStarttls
            | ServiceKind::Smtps
            | ServiceKind::Imap
            | ServiceKind::ImapStarttls
            | ServiceKind::Imaps
            | ServiceKind::Sip
            | ServiceKind::SipTcp => Endpoint::parse(text).map(Self::Machine),
        }
    }

    /// Where to connect, when it is to a machine.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Machine(endpoint) => Some(endpoint),
            Self::Printer(url) => Some(&url.endpoint),
            Self::Interface(_) | Self::Direct | Self::Files(_) => None,
        }
    }
}

/// Ports on which a kind is asked without further words of the local file: other services might take
/// what it says for a command.
pub(super) fn usual_ports(kind: ServiceKind) -> &'static [RangeInclusive<u16>] {
    match kind {
        ServiceKind::Unspecified | ServiceKind::Dhcp | ServiceKind::Backup => &[],
        ServiceKind::Ntp => &[123..=123],
        // And the global catalogue.
        ServiceKind::Ldap => &[389..=389, 3268..=3268],
        ServiceKind::Ldaps => &[636..=636, 3269..=3269],
        // Authentication and accounting, by their former numbers too.
        ServiceKind::Radius => &[1812..=1813, 1645..=1646],
        ServiceKind::Smb => &[445..=445],
        ServiceKind::Nfs => &[111..=111, 2049..=2049],
        ServiceKind::Ipp => &[631..=631, 80..=80, 443..=443],
        ServiceKind::Proxy => &[3128..=3129, 80..=80, 8000..=8999],
        ServiceKind::Smtp | ServiceKind::SmtpStarttls => &[25..=25, 587..=587],
        ServiceKind::Smtps => &[465..=465],
        ServiceKind::Imap | ServiceKind::ImapStarttls => &[143..=143],
        ServiceKind::Imaps => &[993..=993],
        ServiceKind::Sip | ServiceKind::SipTcp => &[5060..=5080],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_places_of_its_own() {
        for (kind, good, bad) in [
            (
                ServiceKind::Ntp,
                &["ntp.example.fr:123", "[2001:db8::1]:123"][..],
                &["ntp", "a:0"][..],
            ),
            (
                ServiceKind::Dhcp,
                &["auto", "eth0.10", "br-lan"],
                &["", "a b", "sixteen-letters-", "../x"],
            ),
            (
                ServiceKind::Ipp,
                &["ipp://10.0.0.9/ipp/print", "IPPS://h:8631/printers/x"],
                &["http://h/", "ipp://u:p@h/", "h:631", "ipp:///x"],
            ),
            (
                ServiceKind::Proxy,
                &["direct", "proxy.example.fr:3128"],
                &["Direct", "http://p:3128"],
            ),
            (ServiceKind::Backup, &["/srv/b", "/srv/b/*.gz"], &["srv", "/srv/../etc"]),
            (ServiceKind::Unspecified, &[], &["a:1", "auto", "/srv"]),
        ] {
            for text in good {
                assert!(Place::parse(kind, text).is_some(), "{kind:?} {text}");
            }
            for text in bad {
                assert!(Place::parse(kind, text).is_none(), "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn a_printer_is_asked_at_its_port_unless_the_url_says_another() {
        let port = |text| match Place::parse(ServiceKind::Ipp, text) {
            Some(Place::Printer(url)) => (url.endpoint.port, url.is_tls),
            other => panic!("{other:?}"),
        };
        assert_eq!(port("ipp://h/ipp/print"), (631, false));
        assert_eq!(port("ipps://h:443/"), (443, true));
    }
}
