//! What an answer to a page says of the proxy and the filter on its way. Pure.

use crate::probe::{Outcome, dial::Host};

/// Longest head of a proxy's answer to CONNECT, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
/// Longest part of a page in which words are looked for, in bytes.
pub const MAX_PAGE: usize = 64 << 10;

/// How the way to a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An answer of the page, or of who stood in for it.
    Answer {
        /// HTTP status.
        status: u16,
        /// Where a redirect leads, when to another host than the one asked for.
        elsewhere: bool,
        /// Whether the words that were looked for are there; true when there are none.
        has_words: bool,
    },
    /// The proxy did not make a tunnel, with this status.
    NoTunnel(u16),
    /// The connection stood, and then this.
    Broken(Outcome),
}

/// What was seen of a page that everybody may see.
#[must_use]
pub fn permitted(seen: &Seen) -> Outcome {
    match *seen {
        Seen::Answer { status: 200..300, .. }
        | Seen::Answer { status: 300..400, elsewhere: false, .. } => Outcome::Ok,
        Seen::Answer { status: 300..400, .. } => Outcome::Blocked,
        Seen::Answer { status, .. } | Seen::NoTunnel(status) => refusal(status),
        Seen::Broken(outcome) => outcome,
    }
}

/// What was seen of a page that must be blocked, once a permitted one passed: `Ok` when it is blocked.
#[must_use]
pub fn blocked(seen: &Seen) -> Outcome {
    match *seen {
        // Without the page's own words, it is the filter's page.
        Seen::Answer { status: 200..300, has_words: false, .. } => Outcome::Ok,
        // Cut at the name that TLS shows, answered under a certificate of the filter's own, or kept out
        // of the resolver.
        Seen::Broken(Outcome::Refused | Outcome::Tls | Outcome::Expired | Outcome::Name) => {
            Outcome::Ok
        }
        Seen::Broken(outcome) => outcome,
        Seen::Answer { .. } | Seen::NoTunnel(_) => {
            let passes = permitted(seen);
            if passes == Outcome::Ok {
                Outcome::NotBlocked
            } else if passes == Outcome::Blocked {
                Outcome::Ok
            } else {
                passes
            }
        }
    }
}

fn refusal(status: u16) -> Outcome {
    match status {
        // Forbidden; unavailable for legal reasons.
        403 | 451 => Outcome::Blocked,
        // An account is wanted, and none is ever used.
        401 | 407 => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

/// The status in the head of the answer to CONNECT, once the head is whole.
#[must_use]
pub fn tunnel(bytes: &[u8]) -> super::line::Reading<u16> {
    use super::line::{Reading, split};
    if !b"HTTP/1.".iter().zip(bytes).all(|(a, b)| a == b) {
        return Reading::Wrong;
    }
    let Some((first, mut rest)) = split(bytes) else { return Reading::More };
    let digits = first.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.and_then(|digits| digits.parse().ok());
    let Some(status) = status.filter(|status| (100..600).contains(status)) else {
        return Reading::Wrong;
    };
    loop {
        let Some((text, after)) = split(rest) else { return Reading::More };
        rest = after;
        if text.is_empty() {
            return Reading::Done(status, bytes.len() - rest.len());
        }
    }
}

/// Whether a redirect of a page of `host` leads to another site: neither a path, nor the host itself,
/// nor one above or below it (`example.fr` and `www.example.fr`).
#[must_use]
pub fn leads_elsewhere(host: &Host, location: &str) -> bool {
    let Ok(location) = location.parse::<http::Uri>() else { return true };
    let Some(there) = location.host() else { return false };
    let here = match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => return there.trim_matches(['[', ']']) != address.to_string(),
    };
    let (here, there) = (here.to_ascii_lowercase(), there.to_ascii_lowercase());
    let is_below = |a: &str, b: &str| a.strip_suffix(b).is_some_and(|rest| rest.ends_with('.'));
    here != there && !is_below(&here, &there) && !is_below(&there, &here)
}

/// Whether `words` stand in the page; always when there are none.
#[must_use]
pub fn has_words(page: &[u8], words: Option<&str>) -> bool {
    words.is_none_or(|words| {
        words.is_empty() || page.windows(words.len()).any(|window| window == words.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::line::Reading, *};

    fn answer(status: u16) -> Seen {
        Seen::Answer { status, elsewhere: false, has_words: true }
    }

    #[test]
    fn a_page_passes_is_blocked_or_can_not_be_told() {
        use Outcome::{Blocked, Failed, Malformed, NotBlocked, Ok, Refused, Timeout, Tls};
        let elsewhere = |status| Seen::Answer { status, elsewhere: true, has_words: true };
        let without = Seen::Answer { status: 200, elsewhere: false, has_words: false };
        for (seen, permits, blocks) in [
            (answer(200), Ok, NotBlocked),
            (answer(302), Ok, NotBlocked),
            (elsewhere(302), Blocked, Ok),
            (elsewhere(200), Ok, NotBlocked),
            (without, Ok, Ok),
            (answer(403), Blocked, Ok),
            (answer(451), Blocked, Ok),
            (answer(404), Failed, Failed),
            (answer(407), Refused, Refused),
            (answer(503), Failed, Failed),
            (Seen::NoTunnel(403), Blocked, Ok),
            (Seen::NoTunnel(502), Failed, Failed),
            (Seen::Broken(Tls), Tls, Ok),
            (Seen::Broken(Refused), Refused, Ok),
            (Seen::Broken(Timeout), Timeout, Timeout),
            (Seen::Broken(Malformed), Malformed, Malformed),
        ] {
            assert_eq!((permitted(&seen), blocked(&seen)), (permits, blocks), "{seen:?}");
        }
    }

    #[test]
    fn a_redirect_within_a_site_is_none_of_the_filter() {
        let host = Host::parse("www.Example.fr").unwrap();
        for (location, elsewhere) in [
            ("/a", false),
            ("https://www.example.fr/a", false),
            ("https://example.fr/", false),
            ("https://a.www.example.fr/", false),
            ("https://badexample.fr/", true),
            ("http://filtre.example.org/bloque?u=www.example.fr", true),
            ("http://10.0.0.1/", true),
            ("ht tp", true),
        ] {
            assert_eq!(leads_elsewhere(&host, location), elsewhere, "{location}");
        }
        let address = Host::parse("2001:db8::1").unwrap();
        assert!(!leads_elsewhere(&address, "http://[2001:db8::1]/"));
        assert!(leads_elsewhere(&address, "http://[2001:db8::2]/"));
    }

    #[test]
    fn words_are_found_wherever_they_stand() {
        assert!(has_words(b"<p>test page</p>", Some("test page")));
        assert!(!has_words(b"test", Some("test page")));
        assert!(has_words(b"", None) && has_words(b"", Some("")));
    }

    #[test]
    fn the_answer_to_connect_ends_with_an_empty_line() {
        let bytes = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n\x16";
        assert_eq!(tunnel(bytes), Reading::Done(200, bytes.len() - 1));
        assert_eq!(tunnel(&bytes[..46]), Reading::More);
        assert_eq!(tunnel(b"HTTP/1.0 403\r\n\r\n"), Reading::Done(403, 16));
        for bytes in [&b"SSH-2.0"[..], b"HTTP/2", b"HTTP/1.1 abc\r\n", b"HTTP/1.1\r\n"] {
            assert_eq!(tunnel(bytes), Reading::Wrong, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100), location: String) {
            let _ = tunnel(&[b"HTTP/1.1 200", &bytes[..]].concat());
            let _ = leads_elsewhere(&Host::parse("a.fr").unwrap(), &location);
        }
    }
}
