//! SIP (RFC 3261): OPTIONS, which asks a server what it can do and calls nobody. Pure.

use std::net::SocketAddr;

use super::line::{self, Reading};
use crate::probe::Outcome;

/// Longest content of an answer that is skipped, in bytes.
const MAX_CONTENT: usize = 8 << 10;

/// How the question travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// A question, with what its answer repeats.
#[derive(Debug)]
pub struct Question {
    call: String,
}

impl Question {
    /// Known by a random number.
    #[must_use]
    pub fn new(token: u64) -> Self {
        Self { call: format!("{token:016x}") }
    }

    /// What is sent from `own` to `server`.
    #[must_use]
    pub fn encode(&self, own: SocketAddr, server: SocketAddr, transport: Transport) -> String {
        let call = &self.call;
        let (name, parameter) = match transport {
            Transport::Udp => ("UDP", ""),
            Transport::Tcp => ("TCP", ";transport=tcp"),
        };
        let (host, own_ip) = (bracketed(server), bracketed(own));
        format!(
            "OPTIONS sip:{server} SIP/2.0\r\n\
             Via: SIP/2.0/{name} {own};branch=z9hG4bK{call};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:vigie@{own_ip}>;tag={call}\r\n\
             To: <sip:{host}>\r\n\
             Call-ID: {call}\r\n\
             CSeq: 1 OPTIONS\r\n\
             Contact: <sip:vigie@{own}{parameter}>\r\n\
             Accept: application/sdp\r\n\
             Content-Length: 0\r\n\r\n"
        )
    }

    /// The status of the final answer to this question: a provisional one, or another's, is passed
    /// over.
    #[must_use]
    pub fn read(&self, bytes: &[u8]) -> Reading<u16> {
        let mut rest = bytes;
        loop {
            // Between two messages of a stream, ends of lines mean nothing (RFC 3261, 7.5).
            while let [b'\r' | b'\n', after @ ..] = rest {
                rest = after;
            }
            if !b"SIP/2.0 ".iter().zip(rest).all(|(a, b)| a == b) {
                return Reading::Wrong;
            }
            let Some((head, after)) = head(rest) else { return Reading::More };
            let Some(head) = head else { return Reading::Wrong };
            let Some(after) = after.get(head.content..) else { return Reading::More };
            if head.status >= 200 && head.call == self.call.as_bytes() {
                return Reading::Done(head.status, bytes.len() - after.len());
            }
            rest = after;
        }
    }
}

/// What a final status says of the service: a server that refuses a call is at work.
#[must_use]
pub fn verdict(status: u16) -> Outcome {
    if status < 500 { Outcome::Ok } else { Outcome::Failed }
}

fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

struct Head<'a> {
    status: u16,
    call: &'a [u8],
    content: usize,
}

/// The head at the beginning of `bytes` and what follows it; nothing when it is not whole, nothing
/// within when it can not be read.
fn head(bytes: &[u8]) -> Option<(Option<Head<'_>>, &[u8])> {
    let (first, mut rest) = line::split(bytes)?;
    let digits = first.get(8..11).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.and_then(|digits| digits.parse().ok());
    let (mut call, mut content) = (&b""[..], Some(0));
    loop {
        let (text, after) = line::split(rest)?;
        rest = after;
        if text.is_empty() {
            break;
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (text[..colon].trim_ascii(), text[colon + 1..].trim_ascii());
        let is = |long: &[u8], short: &[u8]| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
        };
        if is(b"Call-ID", b"i") {
            call = value;
        } else if is(b"Content-Length", b"l") {
            let len = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            content = len.filter(|len| *len <= MAX_CONTENT);
        }
    }
    let valid = |status: &u16| (100..700).contains(status);
    let head = status.filter(valid).zip(content);
    Some((head.map(|(status, content)| Head { status, call, content }), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question() -> Question {
        Question::new(0xabc)
    }

    fn answer(status: &str, call: &str, content: &str) -> String {
        let len = content.len();
        format!("SIP/2.0 {status}\r\nVia: x\r\nCall-ID: {call}\r\nl : {len}\r\n\r\n{content}")
    }

    const CALL: &str = "0000000000000abc";

    #[test]
    fn the_question_names_both_ends() {
        let (own, server) = ("10.0.0.1:4000", "[2001:db8::1]:5060");
        let text = question().encode(own.parse().unwrap(), server.parse().unwrap(), Transport::Tcp);
        assert!(text.starts_with("OPTIONS sip:[2001:db8::1]:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1:4000;branch=z9hG4bK"));
        assert!(text.contains("\r\nTo: <sip:[2001:db8::1]>\r\n"));
        assert!(text.ends_with("\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(text.lines().filter(|line| line.contains(CALL)).count(), 3);
    }

    #[test]
    fn the_final_answer_to_this_question_counts() {
        let bytes = answer("100 Trying", CALL, "")
            + &answer("200 OK", "another", "body")
            + "\r\n"
            + &answer("486 Busy Here", CALL, "why");
        for cut in 0..bytes.len() {
            assert_eq!(question().read(&bytes.as_bytes()[..cut]), Reading::More, "{cut}");
        }
        assert_eq!(question().read(bytes.as_bytes()), Reading::Done(486, bytes.len()));
        assert_eq!((verdict(200), verdict(486)), (Outcome::Ok, Outcome::Ok));
        assert_eq!((verdict(503), verdict(603)), (Outcome::Failed, Outcome::Failed));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for text in [
            "HTTP/1.1 200",
            "SIP/3",
            &question().encode(
                ([10, 0, 0, 1], 1).into(),
                ([10, 0, 0, 2], 2).into(),
                Transport::Udp,
            ),
            &answer("20x OK", CALL, ""),
            &answer("999 OK", CALL, ""),
            "SIP/2.0 200 OK\r\nl: 8193\r\n\r\n",
            "SIP/2.0 200 OK\r\nl: -1\r\n\r\n",
        ] {
            assert_eq!(question().read(text.as_bytes()), Reading::Wrong, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[A-Za-z0-9: \r\n]{0,90}") {
            let framed = [b"SIP/2.0 200 OK\r\n", &bytes[..]].concat();
            let worded = format!("SIP/2.0 200 OK\r\n{text}\r\n\r\n");
            for bytes in [&bytes[..], &framed, worded.as_bytes()] {
                if let Reading::Done(_, used) = question().read(bytes) {
                    prop_assert!(used <= bytes.len());
                }
            }
        }
    }
}
