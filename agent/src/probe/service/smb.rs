//! SMB: the negotiation with which every conversation begins ([MS-SMB2] 2.2.3, 2.2.4). No session is
//! set up. Pure.

use super::line::Reading;

/// Length of the header of a message.
const HEADER_LEN: usize = 64;
/// Before each message: a zero and three bytes of length.
const FRAME_LEN: usize = 4;
/// Longest answer that is waited for, in bytes: it may carry a token of several hundred.
const MAX_MESSAGE: usize = 8 << 10;
const MAGIC: &[u8] = b"\xfeSMB";
/// The dialects 2.0.2 to 3.1.1.
const DIALECTS: [u16; 5] = [0x0202, 0x0210, 0x0300, 0x0302, 0x0311];

/// What a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// An NTSTATUS: 0 is success.
    pub status: u32,
}

/// The question. `client` is a name of the moment, `salt` goes into the hash that dialect 3.1.1 asks
/// for.
#[must_use]
pub fn negotiate(client: [u8; 16], salt: [u8; 32]) -> Vec<u8> {
    let mut message = Vec::with_capacity(FRAME_LEN + 160);
    message.extend([0; FRAME_LEN]);
    message.extend(MAGIC);
    message.extend(64_u16.to_le_bytes());
    // Charge, status, command 0, then one credit asked for.
    message.extend([0; 8]);
    message.extend(1_u16.to_le_bytes());
    message.resize(FRAME_LEN + HEADER_LEN, 0);
    for word in [36, 5, 1, 0] {
        // Structure's size, dialects, signing enabled, reserved.
        message.extend(u16::to_le_bytes(word));
    }
    message.extend([0; 4]);
    message.extend(client);
    // Where the contexts begin (from the header on), and how many there are.
    message.extend(112_u32.to_le_bytes());
    message.extend([1, 0, 0, 0]);
    message.extend(DIALECTS.iter().flat_map(|dialect| dialect.to_le_bytes()));
    message.extend([0; 2]);
    // Integrity before the authentication: type 1, 38 bytes, one hash (SHA-512), 32 bytes of salt.
    for word in [1, 38, 0, 0, 1, 32, 1] {
        message.extend(u16::to_le_bytes(word));
    }
    message.extend(salt);
    let len = u32::try_from(message.len() - FRAME_LEN).unwrap_or(0);
    message[..FRAME_LEN].copy_from_slice(&len.to_be_bytes());
    message
}

/// Reads the answer.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading<Answer> {
    // A greeting in letters is told by its first byte.
    if bytes.first().is_some_and(|first| *first != 0) {
        return Reading::Wrong;
    }
    let Some((frame, rest)) = bytes.split_first_chunk::<FRAME_LEN>() else { return Reading::More };
    let len = u32::from_be_bytes(*frame) as usize;
    if !(HEADER_LEN + 8..=MAX_MESSAGE).contains(&len) {
        return Reading::Wrong;
    }
    let Some(message) = rest.get(..len) else { return Reading::More };
    let word = |at: usize| u16::from_le_bytes([message[at], message[at + 1]]);
    let is_response = message[16] & 1 == 1;
    if !message.starts_with(MAGIC) || word(4) != 64 || word(12) != 0 || !is_response {
        return Reading::Wrong;
    }
    let status = u32::from_le_bytes([message[8], message[9], message[10], message[11]]);
    // A size of 65 is that of an answer, 9 that of an error.
    let expected = if status == 0 { 65 } else { 9 };
    if word(HEADER_LEN) != expected {
        return Reading::Wrong;
    }
    Reading::Done(Answer { status }, FRAME_LEN + len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u32, size: u16, len: usize) -> Vec<u8> {
        let mut message = vec![0; len];
        message[..4].copy_from_slice(MAGIC);
        message[4] = 64;
        message[8..12].copy_from_slice(&status.to_le_bytes());
        message[16] = 1;
        message[64..66].copy_from_slice(&size.to_le_bytes());
        [&u32::try_from(len).unwrap().to_be_bytes()[..], &message].concat()
    }

    #[test]
    fn the_question_is_laid_out_as_the_protocol_says() {
        let message = negotiate([7; 16], [9; 32]);
        assert_eq!(message.len(), FRAME_LEN + 158);
        assert_eq!(message[..4], [0, 0, 0, 158]);
        let smb = &message[FRAME_LEN..];
        assert_eq!(smb[HEADER_LEN..HEADER_LEN + 4], [36, 0, 5, 0]);
        assert_eq!(smb[76..92], [7; 16]);
        assert_eq!(smb[92..100], [112, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(smb[100..102], [0x02, 0x02]);
        assert_eq!(smb[112..116], [1, 0, 38, 0]);
        assert_eq!(smb[126..], [9; 32]);
    }

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole = answer(0, 65, 200);
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Reading::More, "{cut}");
        }
        assert_eq!(read(&whole), Reading::Done(Answer { status: 0 }, whole.len()));
        let refused = answer(0xc000_00bb, 9, 73);
        assert_eq!(read(&refused), Reading::Done(Answer { status: 0xc000_00bb }, 77));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let mut request = answer(0, 65, 128);
        request[FRAME_LEN + 16] = 0;
        let mut old = answer(0, 65, 128);
        old[FRAME_LEN] = 0xff;
        for bytes in [
            &b"220 mail"[..],
            b"* OK",
            b"\x30\x0c\x02",
            &negotiate([0; 16], [0; 32]),
            &request,
            &old,
            &answer(0, 9, 128),
            &[0, 0, 0, 71],
            &[0, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(read(bytes), Reading::Wrong, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let framed = [&[0, 0, 0, 72, 0xfe, b'S', b'M', b'B'][..], &bytes].concat();
            for bytes in [&bytes, &framed] {
                if let Reading::Done(_, used) = read(bytes) {
                    prop_assert!(used <= bytes.len());
                }
            }
        }
    }
}
