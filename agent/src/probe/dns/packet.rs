//! DNS messages (RFC 1035): one question out, one judgement of what comes back. Pure.

use hickory_proto::{
    ProtoError,
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};

/// Largest reply taken over UDP, in bytes. The question advertises no more than the classic 512,
/// but servers that ignore it exist.
pub const MAX_UDP_REPLY_LEN: usize = 4096;
/// Longest chain of aliases in one answer.
pub const MAX_CNAMES: usize = 20;
/// A header: identifier, flags, four counts.
const HEADER_LEN: usize = 12;

/// What is asked, round after round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    name: Name,
    record_type: RecordType,
}

/// What a received message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The answer, with this response code (RFC 6895, 2.3; without EDNS, 0 to 15).
    Answer(u16),
    /// The answer did not fit: ask again over TCP.
    Truncated,
    /// An answer to this question that can not be read.
    Malformed,
    /// Something else: another identifier, another question, or no response at all.
    Foreign,
}

impl Question {
    /// Of a domain name, absolute whether or not it ends in a dot. `None` when it is not one.
    #[must_use]
    pub fn new(name: &str, record_type: u16) -> Option<Self> {
        let mut name = Name::from_ascii(name).ok()?;
        name.set_fqdn(true);
        Some(Self { name, record_type: RecordType::from(record_type) })
    }

    /// The question under identifier `id`, recursion desired.
    pub fn encode(&self, id: u16) -> Result<Vec<u8>, ProtoError> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.record_type));
        message.to_vec()
    }

    /// Judges `reply` to the question sent under `id`.
    #[must_use]
    pub fn read(&self, id: u16, reply: &[u8]) -> Reading {
        if reply.get(..2) != Some(&id.to_be_bytes()[..]) {
            return Reading::Foreign;
        }
        if reply.len() < HEADER_LEN {
            return Reading::Malformed;
        }
        let (is_response, is_truncated) = (reply[2] & 0x80 != 0, reply[2] & 0x02 != 0);
        if !is_response {
            return Reading::Foreign;
        }
        // Before decoding: some servers cut in the middle of a record.
        if is_truncated {
            return Reading::Truncated;
        }
        let Ok(message) = Message::from_vec(reply) else {
            return Reading::Malformed;
        };
        let rcode = u16::from(message.metadata.response_code);
        match &message.queries[..] {
            [query] if query.name() == &self.name && query.query_type() == self.record_type => {}
            // A server that could not even read the question returns none.
            [] if rcode != 0 => {}
            _ => return Reading::Foreign,
        }
        let aliases =
            |record: &&hickory_proto::rr::Record| record.record_type() == RecordType::CNAME;
        if message.answers.iter().filter(aliases).count() > MAX_CNAMES {
            return Reading::Malformed;
        }
        Reading::Answer(rcode)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: u16 = 0xbeef;
    const A: u16 = 1;

    fn question() -> Question {
        Question::new("www.school.example", A).unwrap()
    }

    /// Header of a response with these flags and counts, then the question's own section.
    fn reply(flags: [u8; 2], counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let mut bytes = ID.to_be_bytes().to_vec();
        bytes.extend(flags);
        bytes.extend(counts.iter().flat_map(|count| [0, *count]));
        if counts[0] == 1 {
            bytes.extend(b"\x03wWw\x06school\x07example\0\0\x01\0\x01");
        }
        bytes.extend(rest);
        bytes
    }

    const ADDRESS: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\x0a\0\0\x01";

    #[test]
    fn the_question_is_encoded_as_rfc_1035_says() {
        let expected =
            b"\xbe\xef\x01\0\0\x01\0\0\0\0\0\0\x03www\x06school\x07example\0\0\x01\0\x01";
        assert_eq!(question().encode(ID).unwrap(), expected);
        assert_eq!(Question::new("www.school.example.", A), Some(question()));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["a..b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(Question::new(name, A), None, "{name}");
        }
    }

    #[test]
    fn an_answer_gives_its_response_code_whatever_its_letters_case() {
        let answer = |flags| question().read(ID, &reply(flags, [1, 1, 0, 0], ADDRESS));
        assert_eq!(answer([0x81, 0x80]), Reading::Answer(0));
        for rcode in 1..=10 {
            let bytes = reply([0x81, 0x80 | rcode], [1, 0, 0, 0], b"");
            assert_eq!(question().read(ID, &bytes), Reading::Answer(rcode.into()));
        }
        // FORMERR without the question.
        let bytes = reply([0x81, 0x81], [0, 0, 0, 0], b"");
        assert_eq!(question().read(ID, &bytes), Reading::Answer(1));
    }

    #[test]
    fn what_does_not_answer_this_question_is_foreign() {
        let good = reply([0x81, 0x80], [1, 1, 0, 0], ADDRESS);
        assert_eq!(question().read(ID ^ 1, &good), Reading::Foreign);
        assert_eq!(Question::new("www.school.test", A).unwrap().read(ID, &good), Reading::Foreign);
        assert_eq!(
            Question::new("www.school.example", 28).unwrap().read(ID, &good),
            Reading::Foreign
        );
        // Our own question, reflected.
        assert_eq!(question().read(ID, &question().encode(ID).unwrap()), Reading::Foreign);
        assert_eq!(question().read(ID, &reply([0x81, 0x80], [0; 4], b"")), Reading::Foreign);
        assert_eq!(question().read(ID, b""), Reading::Foreign);
        assert_eq!(question().read(ID, &ID.to_be_bytes()[..1]), Reading::Foreign);
    }

    #[test]
    fn a_truncated_answer_asks_for_tcp_even_cut_in_a_record() {
        let cut = reply([0x83, 0x80], [1, 1, 0, 0], &ADDRESS[..5]);
        assert_eq!(question().read(ID, &cut), Reading::Truncated);
    }

    #[test]
    fn an_answer_that_can_not_be_read_is_malformed() {
        let read = |bytes: &[u8]| question().read(ID, bytes);
        assert_eq!(read(&ID.to_be_bytes()), Reading::Malformed);
        assert_eq!(read(&reply([0x81, 0x80], [1, 1, 0, 0], &ADDRESS[..9])), Reading::Malformed);
        assert_eq!(read(&reply([0x81, 0x80], [1, 255, 0, 0], ADDRESS)), Reading::Malformed);
        // A name that points to itself.
        let looped = b"\xc0\x24\0\x01\0\x01\0\0\0\0\0\x04\x0a\0\0\x01";
        assert_eq!(read(&reply([0x81, 0x80], [1, 1, 0, 0], looped)), Reading::Malformed);
        let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\0\0\x02\xc0\x10";
        let chain = |count: u8| {
            read(&reply([0x81, 0x80], [1, count, 0, 0], &alias.repeat(usize::from(count))))
        };
        assert_eq!(chain(20), Reading::Answer(0));
        assert_eq!(chain(21), Reading::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(id) = bytes.get_mut(..2) {
                id.copy_from_slice(&ID.to_be_bytes());
            }
            let _ = question().read(ID, &bytes);
        }
    }
}
