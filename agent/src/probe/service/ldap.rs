//! LDAP (RFC 4511): an anonymous search for the root of the directory, whose values are not asked for.
//! Pure.

use super::line::Reading;
use crate::probe::Outcome;

/// The search: message 1, base object, no aliases followed, one entry, 5 s, names of attributes only,
/// everything that has an objectClass, `supportedLDAPVersion`.
pub const SEARCH: &[u8] = b"\x30\x3b\x02\x01\x01\x63\x36\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x01\x02\x01\x05\x01\x01\xff\x87\x0bobjectClass\x30\x16\x04\x14supportedLDAPVersion";
/// The end of the conversation: message 2, an unbind.
pub const UNBIND: &[u8] = b"\x30\x05\x02\x01\x02\x42\x00";
/// Longest message that is waited for, in bytes: one entry without values is far shorter.
const MAX_MESSAGE: usize = 8 << 10;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const REFERENCE: u8 = 0x73;
const EXTENDED: u8 = 0x78;

/// The result code of the search, once all its messages are there.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading<u8> {
    let mut rest = bytes;
    loop {
        // A greeting in letters is told by its first byte, and not waited out.
        if rest.first().is_some_and(|tag| *tag != SEQUENCE) {
            return Reading::Wrong;
        }
        let (message, after) = match tlv(rest) {
            Tlv::More => return Reading::More,
            Tlv::Whole(SEQUENCE, message, after) => (message, after),
            Tlv::Whole(..) | Tlv::Wrong => return Reading::Wrong,
        };
        let Some((id, kind, operation)) = parts(message) else { return Reading::Wrong };
        match (id, kind) {
            ([1], ENTRY | REFERENCE) => rest = after,
            // Message 0 is the server's own notice that it goes away.
            ([1], DONE) | ([0], EXTENDED) => {
                let Tlv::Whole(ENUMERATED, &[code], _) = tlv(operation) else {
                    return Reading::Wrong;
                };
                return Reading::Done(code, bytes.len() - after.len());
            }
            _ => return Reading::Wrong,
        }
    }
}

/// What a result code says of the service. One that wants an account, or shows nobody its root, is a
/// directory at work: an account is never used.
#[must_use]
pub fn verdict(code: u8) -> Outcome {
    match code {
        // success; referral; strongerAuthRequired, confidentialityRequired; noSuchObject;
        // inappropriateAuthentication, invalidCredentials, insufficientAccessRights
        0 | 8 | 10 | 13 | 32 | 48..=50 => Outcome::Ok,
        _ => Outcome::Failed,
    }
}

/// Number, operation's tag and content of a message.
fn parts(message: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let Tlv::Whole(INTEGER, id, rest) = tlv(message) else { return None };
    let Tlv::Whole(kind, operation, _controls) = tlv(rest) else { return None };
    Some((id, kind, operation))
}

/// What stands at the beginning of some bytes.
enum Tlv<'a> {
    More,
    /// Tag, content, what follows.
    Whole(u8, &'a [u8], &'a [u8]),
    Wrong,
}

/// Tags of one byte and definite lengths, as RFC 4511, 5.1 has them.
fn tlv(bytes: &[u8]) -> Tlv<'_> {
    let [tag, first, rest @ ..] = bytes else { return Tlv::More };
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let Some((digits, rest)) = rest.split_at_checked(usize::from(first & 0x7f)) else {
                return Tlv::More;
            };
            let len = digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit));
            (len, rest)
        }
        0x80 | 0x85.. => return Tlv::Wrong,
    };
    if len > MAX_MESSAGE {
        return Tlv::Wrong;
    }
    match rest.split_at_checked(len) {
        Some((content, after)) => Tlv::Whole(*tag, content, after),
        None => Tlv::More,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY_MESSAGE: &[u8] =
        b"\x30\x23\x02\x01\x01\x64\x1e\x04\x00\x30\x1a\x30\x18\x04\x14supportedLDAPVersion\x31\x00";

    fn done(code: u8) -> Vec<u8> {
        vec![0x30, 12, 2, 1, 1, 0x65, 7, 0x0a, 1, code, 4, 0, 4, 0]
    }

    #[test]
    fn the_lengths_of_what_is_sent_are_right() {
        for sent in [SEARCH, UNBIND] {
            let Tlv::Whole(SEQUENCE, message, []) = tlv(sent) else { panic!("{sent:?}") };
            let (_, _, operation) = parts(message).unwrap();
            assert!(operation.is_empty() || operation.ends_with(b"supportedLDAPVersion"));
        }
    }

    #[test]
    fn the_result_is_known_when_the_last_message_is_whole() {
        let bytes = [ENTRY_MESSAGE, &done(0)].concat();
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Reading::More, "{cut}");
        }
        assert_eq!(read(&bytes), Reading::Done(0, bytes.len()));
        assert_eq!(read(&done(50)), Reading::Done(50, 14));
        // Long form of a short length, as one maker's servers write it.
        let long = [0x30, 0x84, 0, 0, 0, 12, 2, 1, 1, 0x65, 7, 0x0a, 1, 0, 4, 0, 4, 0];
        assert_eq!(read(&long), Reading::Done(0, 18));
    }

    #[test]
    fn a_server_that_goes_away_says_why() {
        let notice = [0x30, 12, 2, 1, 0, 0x78, 7, 0x0a, 1, 52, 4, 0, 4, 0];
        assert_eq!(read(&notice), Reading::Done(52, 14));
        assert_eq!(verdict(52), Outcome::Failed);
    }

    #[test]
    fn a_directory_that_wants_an_account_is_at_work() {
        assert!([0, 8, 32, 48, 50].iter().all(|code| verdict(*code) == Outcome::Ok));
        assert!([1, 2, 51, 52, 53, 80].iter().all(|code| verdict(*code) == Outcome::Failed));
    }

    #[test]
    fn another_protocol_is_told_at_its_first_bytes() {
        for bytes in [
            &b"2"[..],
            b"220 mail.example.fr ESMTP",
            b"* OK",
            b"SSH-2.0-x",
            b"HTTP/1.1 400",
            b"\x30\x80",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x05\x02\x01\x02\x65\x00",
            b"\x30\x05\x02\x01\x01\x65\x00",
            b"\x30\x00",
        ] {
            assert_eq!(read(bytes), Reading::Wrong, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let framed = [&[0x30, 0x81, 200, 2, 1, 1][..], &bytes].concat();
            for bytes in [&bytes, &framed] {
                if let Reading::Done(_, used) = read(bytes) {
                    prop_assert!(used <= bytes.len());
                }
            }
        }
    }
}
