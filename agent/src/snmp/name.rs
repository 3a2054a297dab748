//! Names of objects: arcs, their encoding (X.690, 8.19), their dotted form.

use std::fmt::Write as _;

use snmp2::Oid;

use super::tables::Arcs;

/// Most arcs of a name (RFC 3416, section 4.1).
pub const MAX_ARCS: usize = 128;
/// Most bytes in which one arc of 32 bits is encoded.
const MAX_ARC_BYTES: usize = 5;

/// Appends one arc in base 128.
pub(crate) fn push_arc(arc: u32, into: &mut Vec<u8>) {
    for shift in [28, 21, 14, 7] {
        if arc >> shift != 0 {
            into.push(0x80 | ((arc >> shift) & 0x7f) as u8);
        }
    }
    into.push((arc & 0x7f) as u8);
}

/// Takes one arc of at most 32 bits off a name; `None` when there is none, it is wider, it is padded
/// or it does not end.
pub(crate) fn split_arc(name: &[u8]) -> Option<(u32, &[u8])> {
    // Nearly every arc.
    if let [byte @ 0..=0x7f, rest @ ..] = name {
        return Some((u32::from(*byte), rest));
    }
    if name.first() == Some(&0x80) {
        return None;
    }
    let mut arc = 0_u64;
    for (at, byte) in name.iter().take(MAX_ARC_BYTES).enumerate() {
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(arc).ok()?, &name[at + 1..]));
        }
    }
    None
}

/// Appends a name; nothing, and false, when it has no encoding: fewer than two arcs, or first ones
/// out of range.
pub(crate) fn encode(arcs: &[u32], into: &mut Vec<u8>) -> bool {
    let [root, second, rest @ ..] = arcs else { return false };
    // The first two arcs share a number (X.690, 8.19.4).
    let first = match root {
        0 | 1 if *second < 40 => root * 40 + second,
        2 => match second.checked_add(80) {
            Some(first) => first,
            None => return false,
        },
        _ => return false,
    };
    push_arc(first, into);
    for arc in rest {
        push_arc(*arc, into);
    }
    true
}

/// The arcs of an encoded name; `None` when it is not one of at most 128 arcs of 32 bits.
#[must_use]
pub(crate) fn decode(name: &[u8]) -> Option<Arcs> {
    let (first, mut rest) = split_arc(name)?;
    let root = (first / 40).min(2);
    let mut arcs = Vec::with_capacity(rest.len().min(MAX_ARCS) + 2);
    arcs.extend([root, first - root * 40]);
    while !rest.is_empty() {
        if arcs.len() == MAX_ARCS {
            return None;
        }
        let (arc, after) = split_arc(rest)?;
        arcs.push(arc);
        rest = after;
    }
    Some(arcs.into())
}

/// The names in `bytes`, each ending at one of `ends`.
pub(crate) fn split(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Vec<Oid<'_>> {
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let name = &bytes[start..end];
            start = end;
            Oid::new(name.into())
        })
        .collect()
}

/// Bytes of the encoding of a name, near enough for a budget.
pub(crate) fn encoded_len(arcs: &[u32]) -> usize {
    arcs.iter()
        .map(|arc| match arc {
            0..=0x7f => 1,
            0x80..=0x3fff => 2,
            0x4000..=0x1f_ffff => 3,
            _ => MAX_ARC_BYTES,
        })
        .sum()
}

/// Arcs in dotted form.
#[must_use]
pub fn dotted(arcs: &[u32]) -> String {
    let mut text = String::with_capacity(arcs.len() * 3);
    for (at, arc) in arcs.iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{arc}");
    }
    text
}

/// Reads a dotted name, with or without a dot in front; `None` when it is not 2 to 128 arcs of 32
/// bits that a request can hold.
#[must_use]
pub fn parse(text: &str) -> Option<Arcs> {
    let text = text.strip_prefix('.').unwrap_or(text);
    let mut arcs = Vec::new();
    for part in text.split('.') {
        if arcs.len() == MAX_ARCS || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        arcs.push(part.parse().ok()?);
    }
    encode(&arcs, &mut Vec::new()).then(|| arcs.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_from_its_encoding() {
        for arcs in [
            &[0, 0][..],
            &[1, 3, 6, 1, 4, 1, 1207],
            &[2, 999],
            &[2, u32::MAX - 80],
            &[1, 39, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, u32::MAX],
        ] {
            let mut bytes = Vec::new();
            assert!(encode(arcs, &mut bytes), "{arcs:?}");
            assert_eq!(decode(&bytes).as_deref(), Some(arcs));
            assert!(encoded_len(arcs) + 1 >= bytes.len());
            assert_eq!(parse(&dotted(arcs)).as_deref(), Some(arcs));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for arcs in [&[][..], &[1], &[1, 40], &[0, 40, 1], &[3, 1], &[2, u32::MAX]] {
            let mut bytes = Vec::new();
            assert!(!encode(arcs, &mut bytes) && bytes.is_empty(), "{arcs:?}");
        }
        for bytes in [&[][..], &[0x2b, 0x86], &[0x2b, 0x80, 1], &[0x2b, 0x90, 0x80, 0x80, 0x80, 0]]
        {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
        assert!(decode(&[1; 127]).is_some()); // 128 arcs: the first byte holds two
        assert!(decode(&[1; 128]).is_none());
        assert!(decode(&[1; 10_000]).is_none());
        for text in
            ["", ".", "1", "1..3", "1.3.", "1.3.x", "1.-3", "1.+3", "1.3.4294967296", "1.40"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(".1.3.6").as_deref(), Some(&[1, 3, 6][..]));
    }
}
