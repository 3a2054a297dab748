//! IPP (RFC 8010, RFC 8011): Get-Printer-Attributes for the printer's state alone. Pure.

use crate::probe::Outcome;

/// Longest answer that is read, in bytes.
pub const MAX_REPLY: usize = 16 << 10;
/// Media type of questions and answers.
pub const MEDIA_TYPE: &str = "application/ipp";
/// Version 1.1 and the operation.
const HEAD: [u8; 4] = [1, 1, 0x00, 0x0b];
const OPERATION_GROUP: u8 = 0x01;
const END: u8 = 0x03;
/// Tags up to here stand between groups.
const LAST_DELIMITER: u8 = 0x0f;
const ENUM: u8 = 0x23;
const KEYWORD: u8 = 0x44;
const URI: u8 = 0x45;
const CHARSET: u8 = 0x47;
const LANGUAGE: u8 = 0x48;
const STATE: &[u8] = b"printer-state";

/// What a printer answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Below 0x100 all is well (RFC 8011, 4.1.6).
    pub status: u16,
    /// `printer-state`: 3 idle, 4 processing, 5 stopped.
    pub state: Option<i32>,
}

/// The question `id` to the printer of this URI.
#[must_use]
pub fn question(id: u32, uri: &str) -> Vec<u8> {
    let mut message = HEAD.to_vec();
    message.extend(id.to_be_bytes());
    message.push(OPERATION_GROUP);
    for (tag, name, value) in [
        (CHARSET, &b"attributes-charset"[..], &b"utf-8"[..]),
        (LANGUAGE, b"attributes-natural-language", b"en"),
        (URI, b"printer-uri", uri.as_bytes()),
        (KEYWORD, b"requested-attributes", STATE),
    ] {
        message.push(tag);
        for text in [name, value] {
            // A URI is shorter than any URL that a plan may hold.
            message.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
            message.extend(text);
        }
    }
    message.push(END);
    message
}

/// Reads the whole answer to the question `id`; nothing when it is none.
#[must_use]
pub fn read(id: u32, bytes: &[u8]) -> Option<Answer> {
    let ([major, _minor, status @ ..], rest) = bytes.split_first_chunk::<4>()?;
    let (given, mut rest) = rest.split_first_chunk::<4>()?;
    if !matches!(major, 1 | 2) || u32::from_be_bytes(*given) != id {
        return None;
    }
    let mut answer = Answer { status: u16::from_be_bytes(*status), state: None };
    loop {
        let (tag, after) = rest.split_first()?;
        rest = after;
        if *tag == END {
            return Some(answer);
        }
        if *tag <= LAST_DELIMITER {
            continue;
        }
        let name;
        (name, rest) = text(rest)?;
        let value;
        (value, rest) = text(rest)?;
        if *tag == ENUM && name == STATE {
            answer.state = value.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        }
    }
}

/// Text behind its length of two bytes.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

impl Answer {
    /// What the status says of the service.
    #[must_use]
    pub fn verdict(&self) -> Outcome {
        match self.status {
            0..0x100 => Outcome::Ok,
            // forbidden, not-authenticated, not-authorized
            0x0401..=0x0403 => Outcome::Refused,
            _ => Outcome::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, state: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2, 0];
        bytes.extend(status.to_be_bytes());
        bytes.extend(7_u32.to_be_bytes());
        bytes.extend(
            b"\x01\x47\0\x12attributes-charset\0\x05utf-8\x04\x23\0\x0dprinter-state\0\x04",
        );
        bytes.extend(state);
        bytes.push(END);
        bytes
    }

    #[test]
    fn the_question_names_the_printer_and_what_is_wanted() {
        let bytes = question(7, "ipp://h/p");
        assert!(bytes.starts_with(b"\x01\x01\x00\x0b\0\0\0\x07\x01\x47\0\x12attributes-charset"));
        assert!(bytes.ends_with(
            b"\x45\0\x0bprinter-uri\0\x09ipp://h/p\x44\0\x14requested-attributes\0\x0dprinter-state\x03"
        ));
    }

    #[test]
    fn the_answer_gives_status_and_state() {
        let idle = answer(0, &[0, 0, 0, 3]);
        assert_eq!(read(7, &idle), Some(Answer { status: 0, state: Some(3) }));
        assert_eq!(read(8, &idle), None, "another's");
        for cut in 0..idle.len() {
            assert_eq!(read(7, &idle[..cut]), None, "{cut}");
        }
        assert_eq!(read(7, b"HTTP/1.1 200 OK\r\n\r\n"), None);
        let status = |status| read(7, &answer(status, &[0, 0, 0, 5])).unwrap().verdict();
        assert_eq!(status(0x0001), Outcome::Ok);
        assert_eq!(status(0x0401), Outcome::Refused);
        assert_eq!(status(0x0406), Outcome::Failed);
        assert_eq!(status(0x0503), Outcome::Failed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(7, &bytes);
            let framed = [&answer(0, &[])[..20], &bytes].concat();
            let _ = read(7, &framed);
        }
    }
}
