//! RADIUS: the Status-Server question (RFC 5997), which every server that has it answers without any
//! account. Pure.

use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};

use super::datagram::Reading;
use crate::probe::Outcome;

/// Longest packet (RFC 2865, 3).
pub const MAX_LEN: usize = 4_096;
/// Code, identifier, length, authenticator.
const HEADER_LEN: usize = 20;
const ACCESS_ACCEPT: u8 = 2;
const ACCESS_REJECT: u8 = 3;
const ACCOUNTING_RESPONSE: u8 = 5;
const STATUS_SERVER: u8 = 12;
const PROTOCOL_ERROR: u8 = 52;
const MESSAGE_AUTHENTICATOR: u8 = 80;

/// A question and what tells its answer.
pub struct Question {
    packet: Vec<u8>,
    secret: Option<String>,
}

impl Question {
    /// Under a random `identifier` and `authenticator`. Servers are silent to those who do not know
    /// their secret, and so to a question without one.
    #[must_use]
    pub fn new(identifier: u8, authenticator: [u8; 16], secret: Option<String>) -> Self {
        let mut packet = vec![STATUS_SERVER, identifier, 0, 0];
        packet.extend(authenticator);
        packet.extend([MESSAGE_AUTHENTICATOR, 18]);
        packet.extend([0; 16]);
        let len = u16::try_from(packet.len()).unwrap_or(0);
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        let sum = hmac_md5(secret.as_deref().unwrap_or_default(), &[&packet]);
        packet[HEADER_LEN + 2..].copy_from_slice(&sum);
        Self { packet, secret }
    }

    /// What is sent.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Judges a datagram: what it says of the service, or whose it is.
    #[must_use]
    pub fn read(&self, bytes: &[u8]) -> Reading<Outcome> {
        let [code, identifier, high, low, ..] = bytes else { return Reading::Malformed };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        // What follows the length is padding (RFC 2865, 3).
        let Some(packet) = bytes.get(..len).filter(|_| (HEADER_LEN..=MAX_LEN).contains(&len))
        else {
            return Reading::Malformed;
        };
        let outcome = match *code {
            // A server that has no Status-Server of its own rejects it, and so is there.
            ACCESS_ACCEPT | ACCESS_REJECT | ACCOUNTING_RESPONSE => Outcome::Ok,
            PROTOCOL_ERROR => Outcome::Failed,
            _ => return Reading::Malformed,
        };
        let answers = *identifier == self.packet[1];
        let is_true = self
            .secret
            .as_ref()
            .is_none_or(|secret| packet[4..HEADER_LEN] == self.authenticator_of(packet, secret));
        if answers && is_true { Reading::Answer(outcome) } else { Reading::Foreign }
    }

    /// Response authenticator (RFC 2865, 3), for the answer to this question.
    fn authenticator_of(&self, packet: &[u8], secret: &str) -> [u8; 16] {
        let mut sum = Md5::new();
        for part in
            [&packet[..4], &self.packet[4..HEADER_LEN], &packet[HEADER_LEN..], secret.as_bytes()]
        {
            sum.update(part);
        }
        sum.finalize().into()
    }
}

fn hmac_md5(key: &str, parts: &[&[u8]]) -> [u8; 16] {
    // A key of any length is taken, which the type does not tell.
    let Ok(mut sum) = Hmac::<Md5>::new_from_slice(key.as_bytes()) else { return [0; 16] };
    for part in parts {
        sum.update(part);
    }
    sum.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "xyzzy5461";

    fn question() -> Question {
        Question::new(0xda, *b"0123456789abcdef", Some(SECRET.to_owned()))
    }

    /// An answer of a server that knows `secret`.
    fn answer(code: u8, identifier: u8, secret: &str, attributes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(HEADER_LEN + attributes.len()).unwrap();
        let mut packet = vec![code, identifier];
        packet.extend(len.to_be_bytes());
        packet.extend([0; 16]);
        packet.extend(attributes);
        let sum = question().authenticator_of(&packet, secret);
        packet[4..HEADER_LEN].copy_from_slice(&sum);
        packet
    }

    /// RFC 5997, section 6.1, gives a question byte by byte.
    #[test]
    fn the_question_is_that_of_rfc_5997() {
        let authenticator = [
            0x8a, 0x54, 0xf4, 0x68, 0x6f, 0xb3, 0x94, 0xc5, 0x28, 0x66, 0xe3, 0x02, 0x18, 0x5d,
            0x06, 0x23,
        ];
        let question = Question::new(0xda, authenticator, Some(SECRET.to_owned()));
        let sum = [
            0x5a, 0x66, 0x5e, 0x2e, 0x1e, 0x84, 0x11, 0xf3, 0xe2, 0x43, 0x82, 0x20, 0x97, 0xc8,
            0x4f, 0xa3,
        ];
        let expected =
            [&[12, 0xda, 0, 38][..], &authenticator, &[MESSAGE_AUTHENTICATOR, 18], &sum].concat();
        assert_eq!(question.packet(), expected);
        // And its answer.
        let accept = [
            0x02, 0xda, 0x00, 0x14, 0xef, 0x0d, 0x55, 0x2a, 0x4b, 0xf2, 0xd6, 0x93, 0xec, 0x2b,
            0x6f, 0xe8, 0xb5, 0x41, 0x1d, 0x66,
        ];
        assert_eq!(question.read(&accept), Reading::Answer(Outcome::Ok));
    }

    #[test]
    fn only_who_knows_the_secret_answers() {
        let read = |packet: &[u8]| question().read(packet);
        for code in [ACCESS_ACCEPT, ACCESS_REJECT, ACCOUNTING_RESPONSE] {
            let right = answer(code, 0xda, SECRET, b"\x12\x07Hello");
            assert_eq!(read(&right), Reading::Answer(Outcome::Ok));
            assert_eq!(read(&[&right[..], b"padding"].concat()), Reading::Answer(Outcome::Ok));
        }
        assert_eq!(read(&answer(52, 0xda, SECRET, b"")), Reading::Answer(Outcome::Failed));
        assert_eq!(read(&answer(2, 0xda, "another", b"")), Reading::Foreign);
        assert_eq!(read(&answer(2, 0xdb, SECRET, b"")), Reading::Foreign);
        let open = Question::new(0xda, [0; 16], None);
        assert_eq!(open.read(&answer(2, 0xda, "unknown", b"")), Reading::Answer(Outcome::Ok));
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        let read = |packet: &[u8]| question().read(packet);
        assert_eq!(read(question().packet()), Reading::Malformed, "our own, reflected");
        assert_eq!(read(b""), Reading::Malformed);
        let right = answer(2, 0xda, SECRET, b"");
        assert_eq!(read(&right[..19]), Reading::Malformed);
        assert_eq!(read(b"\x02\xda\x00\x13xxxxxxxxxxxxxxxxxxxx"), Reading::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = question().read(&bytes);
            let framed = [&[2, 0xda, 0, 60][..], &bytes].concat();
            let _ = question().read(&framed);
        }
    }
}
