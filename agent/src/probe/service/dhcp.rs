//! DHCP (RFC 2131): DISCOVER out, OFFERs in. Nothing is ever requested, so that no lease is taken. Pure:
//! IPv4 and UDP headers are read here too, since answers come from a raw socket.

use std::net::Ipv4Addr;

/// Where servers listen.
pub const SERVER_PORT: u16 = 67;
/// Where clients listen.
const CLIENT_PORT: u16 = 68;
/// Largest packet that is read, in bytes.
pub const MAX_PACKET: usize = 2_048;
/// Length of the fixed part, which the cookie ends.
const FIXED_LEN: usize = 240;
/// Length that old servers expect at least.
const MIN_LEN: usize = 300;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Answers are to be sent to everybody: this client has no address of theirs to hear them by.
const BROADCAST: u8 = 0x80;
const UDP: u8 = 17;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
/// Options (RFC 2132).
const PAD: u8 = 0;
const END: u8 = 255;
const MESSAGE_TYPE: u8 = 53;
const SERVER_ID: u8 = 54;
const PARAMETERS: u8 = 55;

/// A question, and what tells its answers.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Random.
    pub id: u32,
    /// Address of the network card.
    pub card: [u8; 6],
}

impl Question {
    /// The UDP datagram, header included and without a checksum, which IPv4 leaves free.
    #[must_use]
    pub fn datagram(&self) -> Vec<u8> {
        let mut message = vec![1, 1, 6, 0];
        message.extend(self.id.to_be_bytes());
        message.extend([0, 0, BROADCAST, 0]);
        message.resize(28, 0);
        message.extend(self.card);
        message.resize(FIXED_LEN - COOKIE.len(), 0);
        message.extend(COOKIE);
        // Mask, router, resolvers, lease time, server: what any client wants.
        message.extend([MESSAGE_TYPE, 1, DISCOVER, PARAMETERS, 5, 1, 3, 6, 51, 54, END]);
        message.resize(MIN_LEN, PAD);
        let len = u16::try_from(message.len() + 8).unwrap_or(0);
        let mut datagram = Vec::with_capacity(message.len() + 8);
        for word in [CLIENT_PORT, SERVER_PORT, len, 0] {
            datagram.extend(word.to_be_bytes());
        }
        datagram.extend(message);
        datagram
    }

    /// The server that this IPv4 packet is an offer of; nothing when it is anything else.
    #[must_use]
    pub fn offer(&self, packet: &[u8]) -> Option<Ipv4Addr> {
        let first = *packet.first()?;
        let header = usize::from(first & 0x0f) * 4;
        let (ip, udp) = packet.split_at_checked(header)?;
        let [_, _, _, _, _, _, flags, offset, _, protocol, ..] = ip else { return None };
        // Whole packets only: an answer of fragments is none that a card could boot by.
        let is_fragment = (flags & 0x3f, *offset) != (0, 0);
        if first >> 4 != 4 || header < 20 || *protocol != UDP || is_fragment {
            return None;
        }
        let sender = Ipv4Addr::from(*ip.get(12..)?.first_chunk::<4>()?);
        let (ports, rest) = udp.split_first_chunk::<4>()?;
        if *ports != [0, 67, 0, 68] {
            return None;
        }
        let len = usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?));
        self.server(udp.get(8..len)?, sender)
    }

    fn server(&self, message: &[u8], sender: Ipv4Addr) -> Option<Ipv4Addr> {
        let (fixed, mut options) = message.split_at_checked(FIXED_LEN)?;
        let is_reply = fixed[0] == 2 && fixed[4..8] == self.id.to_be_bytes();
        if !is_reply || fixed[28..34] != self.card || fixed[FIXED_LEN - 4..] != COOKIE {
            return None;
        }
        let (mut is_offer, mut server) = (false, sender);
        loop {
            match options {
                [] | [END, ..] => return is_offer.then_some(server),
                [PAD, rest @ ..] => options = rest,
                [code, len, rest @ ..] => {
                    let value;
                    (value, options) = rest.split_at_checked(usize::from(*len))?;
                    match (*code, value) {
                        (MESSAGE_TYPE, [kind]) => is_offer = *kind == OFFER,
                        (SERVER_ID, [a, b, c, d]) => server = Ipv4Addr::new(*a, *b, *c, *d),
                        _ => {}
                    }
                }
                [_] => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUESTION: Question = Question { id: 0x1234_5678, card: [2, 0, 0, 0, 0, 9] };
    const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    /// An answer with these options, and what `change` makes of its message.
    fn packet(options: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut message = QUESTION.datagram()[8..8 + FIXED_LEN].to_vec();
        message[0] = 2;
        message.extend(options);
        change(&mut message);
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, UDP, 0, 0];
        packet.extend(SENDER.octets());
        packet.extend([255; 4]);
        packet.extend([0, 67, 0, 68]);
        packet.extend(u16::try_from(message.len() + 8).unwrap().to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(message);
        packet
    }

    #[test]
    fn the_question_discovers_and_requests_nothing() {
        let datagram = QUESTION.datagram();
        assert_eq!(datagram.len(), 8 + MIN_LEN);
        assert_eq!(datagram[..8], [0, 68, 0, 67, 1, 52, 0, 0]);
        assert_eq!(datagram[8..20], [1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0]);
        assert_eq!(datagram[36..42], QUESTION.card);
        assert_eq!(datagram[8 + FIXED_LEN..][..3], [MESSAGE_TYPE, 1, DISCOVER]);
    }

    #[test]
    fn an_offer_names_its_server() {
        let offer = [PAD, 54, 4, 10, 0, 0, 7, 53, 1, 2, END, 1];
        assert_eq!(QUESTION.offer(&packet(&offer, |_| ())), Some([10, 0, 0, 7].into()));
        assert_eq!(QUESTION.offer(&packet(&[53, 1, 2], |_| ())), Some(SENDER));
        // Behind an IPv4 header with options.
        let mut long = packet(&offer, |_| ());
        long[0] = 0x46;
        long.splice(20..20, [0; 4]);
        assert_eq!(QUESTION.offer(&long), Some([10, 0, 0, 7].into()));
    }

    #[test]
    fn all_that_passes_by_is_not_an_offer() {
        let none = |packet: &[u8]| assert_eq!(QUESTION.offer(packet), None, "{packet:?}");
        none(&packet(&[53, 1, 5, END], |_| ()));
        none(&packet(&[END], |_| ()));
        none(&packet(&[53], |_| ()));
        none(&packet(&[53, 9, 2], |_| ()));
        none(&packet(&[53, 1, 2], |message| message[4] ^= 1));
        none(&packet(&[53, 1, 2], |message| message[28] ^= 1));
        none(&packet(&[53, 1, 2], |message| message[0] = 1));
        none(&packet(&[53, 1, 2], |message| message[239] ^= 1));
        none(&packet(&[53, 1, 2], |message| message.truncate(200)));
        let right = packet(&[53, 1, 2], |_| ());
        for (at, byte) in [(0, 0x65), (0, 0x44), (6, 0x20), (7, 1), (9, 6), (21, 66), (23, 67)] {
            let mut wrong = right.clone();
            wrong[at] = byte;
            none(&wrong);
        }
        for cut in 0..right.len() {
            none(&right[..cut]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = QUESTION.offer(&bytes);
            let _ = QUESTION.offer(&packet(&bytes, |_| ()));
        }
    }
}
