//! IMAP (RFC 9051): the greeting, what the server can do, and its end. Pure.

use super::line::{self, Reading};

/// Asks what the server can do.
pub const CAPABILITY: &[u8] = b"v1 CAPABILITY\r\n";
/// Asks for TLS.
pub const STARTTLS: &[u8] = b"v2 STARTTLS\r\n";
/// Asks again what the server can do, behind TLS.
pub const CAPABILITY_AGAIN: &[u8] = b"v3 CAPABILITY\r\n";
/// Ends the conversation.
pub const LOGOUT: &[u8] = b"v4 LOGOUT\r\n";

/// What a server said to a command, or at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// `OK` (and `PREAUTH`), as against `NO`, `BAD` and `BYE`.
    pub is_ok: bool,
    /// Whether it offers STARTTLS.
    pub offers_tls: bool,
}

/// Reads the greeting.
#[must_use]
pub fn greeting(bytes: &[u8]) -> Reading<Said> {
    if !b"* ".iter().zip(bytes).all(|(a, b)| a == b) {
        return Reading::Wrong;
    }
    let Some((text, after)) = line::split(bytes) else { return Reading::More };
    let used = bytes.len() - after.len();
    let is_ok = match word(text, 1) {
        word if word.eq_ignore_ascii_case(b"OK") || word.eq_ignore_ascii_case(b"PREAUTH") => true,
        word if word.eq_ignore_ascii_case(b"BYE") => false,
        _ => return Reading::Wrong,
    };
    Reading::Done(Said { is_ok, offers_tls: false }, used)
}

/// Reads what follows `command`, up to the line with its tag.
#[must_use]
pub fn answer(command: &[u8], bytes: &[u8]) -> Reading<Said> {
    let tag = word(command, 0);
    let (mut rest, mut offers_tls) = (bytes, false);
    loop {
        let Some((text, after)) = line::split(rest) else { return Reading::More };
        let used = bytes.len() - after.len();
        let (first, second) = (word(text, 0), word(text, 1));
        let is = |name: &[u8]| second.eq_ignore_ascii_case(name);
        if first == b"*" {
            if is(b"BYE") {
                return Reading::Done(Said { is_ok: false, offers_tls }, used);
            }
            let mut words = text.split(|byte| *byte == b' ');
            offers_tls |=
                is(b"CAPABILITY") && words.any(|word| word.eq_ignore_ascii_case(b"STARTTLS"));
        } else if first == tag && (is(b"OK") || is(b"NO") || is(b"BAD")) {
            return Reading::Done(Said { is_ok: is(b"OK"), offers_tls }, used);
        } else {
            return Reading::Wrong;
        }
        rest = after;
    }
}

fn word(text: &[u8], at: usize) -> &[u8] {
    text.split(|byte| *byte == b' ').nth(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: Said = Said { is_ok: true, offers_tls: false };
    const NOT_OK: Said = Said { is_ok: false, offers_tls: false };

    #[test]
    fn a_greeting_says_whether_the_server_serves() {
        assert_eq!(greeting(b"* OK [CAPABILITY IMAP4rev1] ready\r\n"), Reading::Done(OK, 35));
        assert_eq!(greeting(b"* preauth\n"), Reading::Done(OK, 10));
        assert_eq!(greeting(b"* BYE too busy\r\n"), Reading::Done(NOT_OK, 16));
        assert_eq!(greeting(b""), Reading::More);
        assert_eq!(greeting(b"* OK"), Reading::More);
        for bytes in [&b"220 mail"[..], b"+OK POP3", b"*OK\r\n", b"* NO\r\n", b"*\r\n"] {
            assert_eq!(greeting(bytes), Reading::Wrong, "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_ends_with_the_line_of_its_tag() {
        let bytes = b"* CAPABILITY IMAP4rev1 StartTLS\r\n* 3 EXISTS\r\nv1 OK done\r\n* more";
        let said = Said { is_ok: true, offers_tls: true };
        assert_eq!(answer(CAPABILITY, bytes), Reading::Done(said, 57));
        assert_eq!(answer(CAPABILITY, &bytes[..56]), Reading::More);
        assert_eq!(answer(STARTTLS, b"v2 BAD no\r\n"), Reading::Done(NOT_OK, 11));
        assert_eq!(answer(CAPABILITY, b"* BYE\r\n"), Reading::Done(NOT_OK, 7));
        for bytes in [&b"v2 OK\r\n"[..], b"v1 HELLO\r\n", b"500 what\r\n", b"\r\n"] {
            assert_eq!(answer(CAPABILITY, bytes), Reading::Wrong, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[*v1 OKBYE\r\n]{0,60}") {
            for bytes in [&bytes, text.as_bytes()] {
                for reading in [greeting(bytes), answer(CAPABILITY, bytes)] {
                    if let Reading::Done(_, used) = reading {
                        prop_assert!(used <= bytes.len());
                    }
                }
            }
        }
    }
}
