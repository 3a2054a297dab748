//! SNTP (RFC 4330, RFC 5905): one question, and how far this machine's clock is from the server's. Pure.

use super::datagram::Reading;

/// Length of a message without extensions.
pub const LEN: usize = 48;
/// No leap warning, version 4, client.
const CLIENT: u8 = 0x23;
/// Modes of a message: its last three bits.
const MODE_MASK: u8 = 0x07;
const MODE_SERVER: u8 = 4;
/// The leap indicator, when the server itself does not know the time.
const LEAP_UNKNOWN: u8 = 3;
/// Strata from here on are not synchronised.
const STRATUM_UNSYNCHRONISED: u8 = 16;
/// Seconds from 1900 to 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;
const NANOS: i128 = 1_000_000_000;

/// A time of NTP: seconds since 1900 in the upper half, 2^-32 s in the lower. It wraps in 2036, so that
/// only differences mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    /// Of nanoseconds since the Unix epoch.
    #[must_use]
    pub fn from_unix_ns(ns: i64) -> Self {
        let (seconds, rest) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
        let fraction = (u128::from(rest.unsigned_abs()) << 32) / NANOS.unsigned_abs();
        let seconds = seconds.cast_unsigned().wrapping_add(UNIX_EPOCH) << 32;
        Self(seconds.wrapping_add(u64::try_from(fraction).unwrap_or(0)))
    }

    /// Microseconds from `earlier` to `self`, right while they are less than 68 years apart.
    fn micros_since(self, earlier: Self) -> i64 {
        let units = i128::from(self.0.wrapping_sub(earlier.0).cast_signed());
        i64::try_from((units * 1_000_000) >> 32).unwrap_or(i64::MAX)
    }
}

/// What a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Steps to a reference clock: 1 has one; 0 is a server that refuses, with a code instead of a time.
    pub stratum: u8,
    /// Whether it knows the time, by its own words.
    pub is_synchronised: bool,
    /// Round trip from the server to its reference, microseconds.
    pub root_delay_us: i64,
    received: Stamp,
    sent: Stamp,
}

/// The question. `cookie` stands where a client may write its time and comes back: a random one tells
/// this question's answer from all others, and nothing of this machine.
#[must_use]
pub fn question(cookie: u64) -> [u8; LEN] {
    let mut message = [0; LEN];
    message[0] = CLIENT;
    message[40..].copy_from_slice(&cookie.to_be_bytes());
    message
}

/// Reads what came back.
#[must_use]
pub fn read(cookie: u64, bytes: &[u8]) -> Reading<Answer> {
    let Some(head) = bytes.first_chunk::<LEN>() else { return Reading::Malformed };
    let version = head[0] >> 3 & MODE_MASK;
    if head[0] & MODE_MASK != MODE_SERVER || !(1..=4).contains(&version) {
        return Reading::Malformed;
    }
    let stamp = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&head[at..at + 8]);
        u64::from_be_bytes(eight)
    };
    if stamp(24) != cookie {
        return Reading::Foreign;
    }
    let root_delay = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let (stratum, sent) = (head[1], stamp(40));
    Reading::Answer(Answer {
        stratum,
        is_synchronised: head[0] >> 6 != LEAP_UNKNOWN
            && (1..STRATUM_UNSYNCHRONISED).contains(&stratum)
            && sent != 0,
        // 16 bits of seconds, 16 of fraction.
        root_delay_us: (i64::from(root_delay) * 1_000_000) >> 16,
        received: Stamp(stamp(32)),
        sent: Stamp(sent),
    })
}

impl Answer {
    /// Microseconds to add to this machine's clock for the server's time (RFC 5905, 8): the mean of
    /// what both ways say, right when they take the same time.
    #[must_use]
    pub fn offset_us(&self, asked: Stamp, heard: Stamp) -> i64 {
        let there = self.received.micros_since(asked);
        let back = self.sent.micros_since(heard);
        i64::midpoint(there, back)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOKIE: u64 = 0x0123_4567_89ab_cdef;
    /// 24 November 2026, in nanoseconds.
    const NOW: i64 = 1_795_478_400_000_000_000;

    fn answer(first: u8, stratum: u8, received: i64, sent: i64) -> Vec<u8> {
        let mut bytes = vec![first, stratum, 6, 0xec];
        bytes.extend([0, 0, 0x80, 0]); // half a second to the root
        bytes.extend([0; 16]);
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(Stamp::from_unix_ns(received).0.to_be_bytes());
        bytes.extend(Stamp::from_unix_ns(sent).0.to_be_bytes());
        bytes
    }

    fn good(bytes: &[u8]) -> Answer {
        let Reading::Answer(answer) = read(COOKIE, bytes) else { panic!("{bytes:?}") };
        answer
    }

    #[test]
    fn the_offset_is_that_of_the_clocks_and_not_of_the_way() {
        // 3 s ahead; 10 ms there, 2 ms of work, 10 ms back.
        let at = |ms: i64| NOW + ms * 1_000_000;
        let answer = good(&answer(0x24, 2, at(3_010), at(3_012)));
        let offset = answer.offset_us(Stamp::from_unix_ns(NOW), Stamp::from_unix_ns(at(22)));
        assert!((offset - 3_000_000).abs() <= 1, "{offset}");
        assert_eq!((answer.stratum, answer.root_delay_us), (2, 500_000));
        assert!(answer.is_synchronised);
    }

    #[test]
    fn the_wrap_of_2036_changes_nothing() {
        // The last second of the first era, in Unix time.
        let end = i64::try_from((1_u64 << 32) - UNIX_EPOCH).unwrap() * 1_000_000_000;
        let answer = good(&answer(0x24, 1, end + 500_000_000, end + 500_000_000));
        let asked = Stamp::from_unix_ns(end - 500_000_000);
        let offset = answer.offset_us(asked, asked);
        assert!((offset - 1_000_000).abs() <= 1, "{offset}");
    }

    #[test]
    fn a_server_that_does_not_know_the_time_says_so() {
        for (first, stratum) in [(0xe4, 2), (0x24, 16), (0x24, 0), (0xe4, 0)] {
            assert!(!good(&answer(first, stratum, NOW, NOW)).is_synchronised, "{first} {stratum}");
        }
    }

    #[test]
    fn what_does_not_answer_this_question_is_told_apart() {
        let right = answer(0x24, 2, NOW, NOW);
        assert_eq!(read(COOKIE ^ 1, &right), Reading::Foreign);
        assert_eq!(read(COOKIE, &question(COOKIE)), Reading::Malformed, "our own, reflected");
        assert_eq!(read(COOKIE, &right[..47]), Reading::Malformed);
        assert_eq!(read(COOKIE, &[0; LEN]), Reading::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(mut bytes in prop::collection::vec(any::<u8>(), 0..80), asked: i64) {
            if let Some(origin) = bytes.get_mut(24..32) {
                origin.copy_from_slice(&COOKIE.to_be_bytes());
            }
            if let Reading::Answer(answer) = read(COOKIE, &bytes) {
                let asked = Stamp::from_unix_ns(asked);
                let _ = answer.offset_us(asked, asked);
            }
        }
    }
}
