//! The call that does nothing (ONC RPC, RFC 5531) of NFS, or of the port mapper on its own port: who
//! answers it is at work. Pure.

use super::line::Reading;
use crate::probe::Outcome;

/// Port of the port mapper, which is a program of its own.
pub const PORT_MAPPER: u16 = 111;
/// Length of a call without arguments or credentials, its record mark included.
const CALL_LEN: usize = 44;
/// Shortest and longest answer, in bytes.
const REPLY_LEN: std::ops::RangeInclusive<usize> = 12..=1_024;
/// Longest verifier (RFC 5531, 8.2).
const MAX_VERIFIER: usize = 400;
/// Set in the record mark of a last fragment, and the only one.
const LAST: u32 = 1 << 31;

/// The call `id` to the program that is expected on `port`.
#[must_use]
pub fn null_call(id: u32, port: u16) -> [u8; CALL_LEN] {
    // NFS version 4; a server that has only others says so, and so is there.
    let (program, version) = if port == PORT_MAPPER { (100_000, 2) } else { (100_003, 4) };
    let mark = LAST + 40;
    let mut call = [0; CALL_LEN];
    // A call by version 2 of the protocol; procedure 0, no credentials, no verifier.
    for (word, at) in [mark, id, 0, 2, program, version].into_iter().zip((0..).step_by(4)) {
        call[at..at + 4].copy_from_slice(&u32::to_be_bytes(word));
    }
    call
}

/// Reads the answer to the call `id`.
#[must_use]
pub fn read(id: u32, bytes: &[u8]) -> Reading<Outcome> {
    // Told by its first byte: a greeting in letters is not waited out.
    if bytes.first().is_some_and(|first| *first != 0x80) {
        return Reading::Wrong;
    }
    let Some((mark, rest)) = bytes.split_first_chunk::<4>() else { return Reading::More };
    let mark = u32::from_be_bytes(*mark);
    let len = (mark & !LAST) as usize;
    if mark & LAST == 0 || !REPLY_LEN.contains(&len) {
        return Reading::Wrong;
    }
    let Some(reply) = rest.get(..len) else { return Reading::More };
    match judge(id, reply) {
        Some(outcome) => Reading::Done(outcome, 4 + len),
        None => Reading::Wrong,
    }
}

fn judge(id: u32, reply: &[u8]) -> Option<Outcome> {
    let word = |at: usize| Some(u32::from_be_bytes(*reply.get(at..)?.first_chunk::<4>()?));
    // A reply to this call.
    if (word(0)?, word(4)?) != (id, 1) {
        return None;
    }
    match word(8)? {
        0 => {}
        // Denied: by the version of the protocol, or for want of credentials that nobody asked for.
        1 => return Some(Outcome::Failed),
        _ => return None,
    }
    let verifier = word(16)? as usize;
    if verifier > MAX_VERIFIER {
        return None;
    }
    Some(match word(20 + verifier.next_multiple_of(4))? {
        // Success; and the program in other versions.
        0 | 2 => Outcome::Ok,
        1 | 3..=5 => Outcome::Failed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(words: &[u32]) -> Vec<u8> {
        let mark = LAST | u32::try_from(words.len() * 4).unwrap();
        std::iter::once(&mark).chain(words).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn the_call_is_for_the_program_of_its_port() {
        let call = null_call(7, 2049);
        assert_eq!(call[..8], [0x80, 0, 0, 40, 0, 0, 0, 7]);
        assert_eq!(call[16..24], [0, 1, 0x86, 0xa3, 0, 0, 0, 4]);
        assert_eq!(null_call(7, 111)[16..24], [0, 1, 0x86, 0xa0, 0, 0, 0, 2]);
    }

    #[test]
    fn who_does_nothing_as_asked_is_at_work() {
        for (words, outcome) in [
            (&[7, 1, 0, 0, 0, 0][..], Outcome::Ok),
            (&[7, 1, 0, 0, 0, 2, 3, 3], Outcome::Ok),
            (&[7, 1, 0, 0, 8, 1, 2, 0], Outcome::Ok),
            (&[7, 1, 0, 0, 0, 1], Outcome::Failed),
            (&[7, 1, 0, 0, 0, 5], Outcome::Failed),
            (&[7, 1, 1, 1, 1], Outcome::Failed),
        ] {
            let bytes = reply(words);
            for cut in 0..bytes.len() {
                assert_eq!(read(7, &bytes[..cut]), Reading::More, "{cut}");
            }
            assert_eq!(read(7, &bytes), Reading::Done(outcome, bytes.len()), "{words:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for bytes in [
            &reply(&[8, 1, 0, 0, 0, 0])[..],
            &reply(&[7, 0, 2, 100_003]),
            &reply(&[7, 1, 2, 0, 0, 0]),
            &reply(&[7, 1, 0, 0, 401, 0]),
            &reply(&[7, 1, 0, 0, 8, 0]),
            &reply(&[7, 1, 0, 0, 0, 99]),
            &[0, 0, 0, 24],
            &[0x80, 0, 0, 8],
            &[0x80, 0, 0x10, 0],
            b"220 mail",
        ] {
            assert_eq!(read(7, bytes), Reading::Wrong, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let framed = [&[0x80, 0, 0, 32, 0, 0, 0, 7, 0, 0, 0, 1][..], &bytes].concat();
            for bytes in [&bytes, &framed] {
                if let Reading::Done(_, used) = read(7, bytes) {
                    prop_assert!(used <= bytes.len());
                }
            }
        }
    }
}
