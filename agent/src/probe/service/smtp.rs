//! SMTP (RFC 5321): what a relay says, line by line. Pure.

use std::net::IpAddr;

use super::line::{self, Reading};
use crate::probe::Outcome;

/// Ready, as a greeting and as the answer to STARTTLS.
pub const READY: u16 = 220;
/// The answer to EHLO.
pub const DONE: u16 = 250;

/// Asks for TLS (RFC 3207).
pub const STARTTLS: &[u8] = b"STARTTLS\r\n";
/// Ends the conversation.
pub const QUIT: &[u8] = b"QUIT\r\n";

/// A whole reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Whether a line of it offers STARTTLS.
    pub offers_tls: bool,
}

/// Who we are: no name, but an address (RFC 5321, 4.1.4).
#[must_use]
pub fn ehlo(own: IpAddr) -> String {
    match own.to_canonical() {
        IpAddr::V4(own) => format!("EHLO [{own}]\r\n"),
        IpAddr::V6(own) => format!("EHLO [IPv6:{own}]\r\n"),
    }
}

/// Reads a reply: lines of one code, all but the last with a hyphen behind it.
#[must_use]
pub fn reply(bytes: &[u8]) -> Reading<Reply> {
    let (mut rest, mut code, mut offers_tls) = (bytes, None, false);
    loop {
        // Another protocol's greeting is told by its first letters.
        if !rest.iter().take(3).all(u8::is_ascii_digit) {
            return Reading::Wrong;
        }
        let Some((text, after)) = line::split(rest) else { return Reading::More };
        let Some((digits, tail)) = text.split_at_checked(3) else { return Reading::Wrong };
        let this = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if *code.get_or_insert(this) != this || !(200..600).contains(&this) {
            return Reading::Wrong;
        }
        let words = match tail {
            [b' ' | b'-', words @ ..] => words,
            [] => tail,
            _ => return Reading::Wrong,
        };
        offers_tls |= words.eq_ignore_ascii_case(b"STARTTLS");
        if tail.first() != Some(&b'-') {
            return Reading::Done(Reply { code: this, offers_tls }, bytes.len() - after.len());
        }
        rest = after;
    }
}

impl Reply {
    /// Nothing when the code is the one that goes on; else what it says of the service.
    pub fn expect(self, code: u16) -> Result<Self, Outcome> {
        match self.code {
            this if this == code => Ok(self),
            // What this server takes from nobody, or not from us.
            500..600 => Err(Outcome::Refused),
            _ => Err(Outcome::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_is_read_when_its_last_line_is_there() {
        let bytes = b"250-mail.example.fr\r\n250-SIZE 1000\r\n250-starttls\r\n250 HELP\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(reply(&bytes[..cut]), Reading::More, "{cut}");
        }
        let read = Reply { code: 250, offers_tls: true };
        assert_eq!(reply(bytes), Reading::Done(read, bytes.len()));
        let one = Reply { code: 220, offers_tls: false };
        assert_eq!(reply(b"220 STARTTLS later\r\nmore"), Reading::Done(one, 20));
        assert_eq!(reply(b"220\n"), Reading::Done(one, 4));
    }

    #[test]
    fn what_is_no_reply_is_told_early() {
        for bytes in [
            &b"*"[..],
            b"SSH-2.0",
            b"22x",
            b"220_x\r\n",
            b"22\r\n",
            b"199 x\r\n",
            b"600 x\r\n",
            b"250-a\r\n220 b\r\n",
            b"\r\n",
        ] {
            assert_eq!(reply(bytes), Reading::Wrong, "{bytes:?}");
        }
    }

    #[test]
    fn a_code_says_whether_the_service_is_there() {
        let of = |code| Reply { code, offers_tls: false }.expect(READY).err();
        assert_eq!(of(220), None);
        assert_eq!(of(421), Some(Outcome::Failed));
        assert_eq!(of(554), Some(Outcome::Refused));
    }

    #[test]
    fn we_name_ourselves_by_our_address() {
        assert_eq!(ehlo("10.0.0.1".parse().unwrap()), "EHLO [10.0.0.1]\r\n");
        assert_eq!(ehlo("::ffff:10.0.0.1".parse().unwrap()), "EHLO [10.0.0.1]\r\n");
        assert_eq!(ehlo("2001:db8::1".parse().unwrap()), "EHLO [IPv6:2001:db8::1]\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[0-9 \r\n-]{0,60}") {
            for bytes in [&bytes, text.as_bytes()] {
                if let Reading::Done(_, used) = reply(bytes) {
                    prop_assert!(used <= bytes.len());
                }
            }
        }
    }
}
