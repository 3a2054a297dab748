//! What two agents say to each other, and when a packet is believed. Pure.
//!
//! A request and its answer are [`PACKET_LEN`] bytes each, so that nobody gets more from a reflector
//! than he sent. Numbers are big-endian:
//!
//! ```text
//!  0  "VGM1"            8  link, u32         24  sequence number, u64
//!  4  kind, u8         12  zero, 4 bytes     32  time stamp of the sender, u64
//!  5  zero, 3 bytes    16  session, u64      40  time in the reflector, u64
//! 48  HMAC-SHA256 of all that stands before, under the key of the link, its first 16 bytes
//! ```
//!
//! As in STAMP (RFC 8762) and TWAMP Light (RFC 5357, appendix I) the reflector keeps nothing but what
//! it needs to judge, the time stamp comes back as it was sent, and the time spent in the reflector is
//! told, so that it is not part of the delay. It is not STAMP's packet: that proves who sent a packet
//! and not that it is new. Two schools' clocks can not tell that, since they need not agree, so the
//! reflector draws a number for each session, which a sender learns by a [`Kind::Challenge`] and repeats:
//! what was recorded in an earlier session, or before a restart of the reflector, names another number.
//! Within a session, a [`Window`] tells what was there before.

use ring::hmac;

use crate::plan::LinkKey;

/// Length of every packet, bytes.
pub const PACKET_LEN: usize = 64;
/// Length of what the key signs, bytes.
const BODY_LEN: usize = 48;
const MAGIC: [u8; 4] = *b"VGM1";
/// Sequence numbers that a [`Window`] remembers below the newest.
pub const WINDOW: u64 = 128;
/// A packet whose sender wrote it so long before the newest that was taken, nanoseconds of the sender's
/// own clock, is old whatever its number.
pub const MAX_AGE_NS: u64 = 30_000_000_000;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be answered.
    Request,
    /// The answer.
    Reply,
    /// Not an answer: the session to name is told instead.
    Challenge,
}

impl Kind {
    const ALL: [(u8, Self); 3] = [(1, Self::Request), (2, Self::Reply), (3, Self::Challenge)];

    fn code(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Challenge => 3,
        }
    }
}

/// One packet, its key apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// What it is for.
    pub kind: Kind,
    /// Names sender, reflector and key: given by the collector.
    pub link: u32,
    /// Drawn by the reflector; 0 when the sender knows none yet.
    pub session: u64,
    /// Grows with each request.
    pub sequence: u64,
    /// The sender's clock when it sent the request, nanoseconds; it means nothing to anybody else.
    pub sent_ns: u64,
    /// How long the reflector had it, nanoseconds; 0 in a request.
    pub held_ns: u64,
}

impl Packet {
    /// The bytes to send.
    #[must_use]
    pub fn seal(&self, key: &LinkKey) -> [u8; PACKET_LEN] {
        let mut bytes = [0; PACKET_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind.code();
        bytes[8..12].copy_from_slice(&self.link.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.session.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.sent_ns.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.held_ns.to_be_bytes());
        let tag = tag(key, &bytes[..BODY_LEN]);
        bytes[BODY_LEN..].copy_from_slice(&tag);
        bytes
    }

    /// The packet in `bytes`, when it is one and was sealed with this key.
    #[must_use]
    pub fn open(bytes: &[u8], key: &LinkKey) -> Option<Self> {
        let packet = Self::read(bytes)?;
        let body = bytes.get(..BODY_LEN)?;
        is_equal(&tag(key, body), bytes.get(BODY_LEN..)?).then_some(packet)
    }

    /// What `bytes` claim to be, before anybody believes it. It costs next to nothing.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; PACKET_LEN] = bytes.try_into().ok()?;
        let (fives, twelves) = (&bytes[5..8], &bytes[12..16]);
        if bytes[..4] != MAGIC || fives.iter().chain(twelves).any(|byte| *byte != 0) {
            return None;
        }
        let kind = Kind::ALL.iter().find(|(code, _)| *code == bytes[4])?.1;
        let long = |at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let link = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        let (session, sequence) = (long(16)?, long(24)?);
        Some(Self { kind, link, session, sequence, sent_ns: long(32)?, held_ns: long(40)? })
    }
}

fn tag(key: &LinkKey, body: &[u8]) -> [u8; PACKET_LEN - BODY_LEN] {
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.0), body);
    let mut tag = [0; PACKET_LEN - BODY_LEN];
    let length = tag.len();
    tag.copy_from_slice(&signed.as_ref()[..length]);
    tag
}

/// In a time that does not tell where the first difference is.
fn is_equal(ours: &[u8], theirs: &[u8]) -> bool {
    let differing = ours.iter().zip(theirs).fold(0, |bits, (a, b)| bits | (a ^ b));
    ours.len() == theirs.len() && std::hint::black_box(differing) == 0
}

/// Why a packet of the right key and session is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its number was there before, or is too far below the newest to know.
    Replayed,
    /// It was written too long before the newest.
    Stale,
}

/// Which numbers of a session were there (RFC 4303, 3.4.3): a packet may overtake another, and none
/// comes twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// The newest number, and when its sender wrote it; `None` before the first.
    newest: Option<(u64, u64)>,
    /// Bit n: whether the newest number minus n was there.
    seen: u128,
}

impl Window {
    /// Whether a packet would be new. Nothing is noted yet.
    pub fn check(&self, packet: &Packet) -> Result<(), Refused> {
        let Some((newest, written_ns)) = self.newest else { return Ok(()) };
        if packet.sent_ns.saturating_add(MAX_AGE_NS) < written_ns {
            return Err(Refused::Stale);
        }
        match newest.checked_sub(packet.sequence) {
            None => Ok(()),
            Some(below) if below < WINDOW && self.seen & (1 << below) == 0 => Ok(()),
            Some(_) => Err(Refused::Replayed),
        }
    }

    /// Notes a packet that [`Self::check`] found new.
    pub fn note(&mut self, packet: &Packet) {
        let Some((newest, written_ns)) = self.newest else {
            self.newest = Some((packet.sequence, packet.sent_ns));
            self.seen = 1;
            return;
        };
        if let Some(below) = newest.checked_sub(packet.sequence) {
            if below < WINDOW {
                self.seen |= 1 << below;
            }
            return;
        }
        let ahead = packet.sequence - newest;
        let shifted = u32::try_from(ahead).ok().and_then(|ahead| self.seen.checked_shl(ahead));
        self.seen = shifted.unwrap_or(0) | 1;
        self.newest = Some((packet.sequence, packet.sent_ns.max(written_ns)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(sequence: u64, sent_ns: u64) -> Packet {
        Packet { kind: Kind::Request, link: 7, session: 9, sequence, sent_ns, held_ns: 0 }
    }

    fn any_packet() -> impl Strategy<Value = Packet> {
        let kind = prop::sample::select(vec![Kind::Request, Kind::Reply, Kind::Challenge]);
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
        (kind, any::<u32>(), numbers).prop_map(
            |(kind, link, (session, sequence, sent_ns, held_ns))| Packet {
                kind,
                link,
                session,
                sequence,
                sent_ns,
                held_ns,
            },
        )
    }

    /// The window as it should be: every number ever taken is remembered.
    fn takes(window: &mut Window, packet: &Packet) -> bool {
        let new = window.check(packet).is_ok();
        if new {
            window.note(packet);
        }
        new
    }

    /// The bytes as Python's `struct` and `hmac` write them.
    #[test]
    fn a_packet_is_written_the_same_for_ever() {
        let written = concat!(
            "56474d3101000000000000070000000000000000000000090000000000000001",
            "00000000000000020000000000000000080f85c905a19255369561743ffaf74b",
        );
        let bytes = packet(1, 2).seal(&LinkKey([0x0b; 32]));
        let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(hex, written);
    }

    #[test]
    fn numbers_are_taken_once_in_any_order_within_the_window() {
        let mut window = Window::default();
        for (sequence, taken) in [
            (1_000, true),
            (1_000, false),
            (999, true),
            (1_001, true),
            (999, false),
            (1_001 - WINDOW + 1, true),
            (1_001 - WINDOW, false),
            (1_001 + 3 * WINDOW, true),
            (1_001, false),
            (u64::MAX, true),
            (u64::MAX, false),
            (0, false),
        ] {
            assert_eq!(takes(&mut window, &packet(sequence, 5)), taken, "{sequence}");
        }
    }

    #[test]
    fn what_was_written_long_before_the_newest_is_old() {
        let mut window = Window::default();
        assert!(takes(&mut window, &packet(10, 2 * MAX_AGE_NS)));
        assert_eq!(window.check(&packet(11, MAX_AGE_NS - 1)), Err(Refused::Stale));
        assert_eq!(window.check(&packet(11, MAX_AGE_NS)), Ok(()));
    }

    #[test]
    fn other_lengths_and_set_reserved_bytes_are_no_packets() {
        let bytes = packet(1, 2).seal(&LinkKey([1; 32]));
        assert!(Packet::read(&bytes).is_some());
        assert_eq!(Packet::read(&bytes[..63]), None);
        assert_eq!(Packet::read(&[&bytes[..], &[0]].concat()), None);
        for at in [0, 3, 5, 7, 12, 15] {
            let mut changed = bytes;
            changed[at] ^= 0x40;
            assert_eq!(Packet::read(&changed), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_by_its_key_alone(
            packet in any_packet(),
            key in any::<[u8; 32]>(),
            other in any::<[u8; 32]>(),
        ) {
            let bytes = packet.seal(&LinkKey(key));
            prop_assert_eq!(Packet::open(&bytes, &LinkKey(key)), Some(packet));
            prop_assume!(key != other);
            prop_assert_eq!(Packet::open(&bytes, &LinkKey(other)), None);
        }

        #[test]
        fn any_tampering_is_refused(
            packet in any_packet(),
            key in any::<[u8; 32]>(),
            changes in prop::collection::vec((0..PACKET_LEN, 1..=u8::MAX), 1..4),
        ) {
            let sealed = packet.seal(&LinkKey(key));
            let mut bytes = sealed;
            for (at, bits) in changes {
                bytes[at] ^= bits;
            }
            prop_assume!(bytes != sealed);
            prop_assert_eq!(Packet::open(&bytes, &LinkKey(key)), None);
        }

        #[test]
        fn no_bytes_are_read_as_what_they_are_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Packet::open(&bytes, &LinkKey([3; 32])).is_none());
        }

        #[test]
        fn a_window_never_takes_a_number_twice(
            numbers in prop::collection::vec(0_u64..400, 0..300),
        ) {
            let (mut window, mut taken) = (Window::default(), std::collections::BTreeSet::new());
            for sequence in numbers {
                let newest = taken.last().copied();
                let new = takes(&mut window, &packet(sequence, 5));
                let reach = newest.is_none_or(|newest| sequence + WINDOW > newest);
                // Exactly those that are new and within reach.
                prop_assert_eq!(new, reach && !taken.contains(&sequence), "{}", sequence);
                if new {
                    taken.insert(sequence);
                }
            }
        }
    }
}
