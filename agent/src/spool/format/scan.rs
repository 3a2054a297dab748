//! Reads a whole segment, damaged or not: what is good in it, and what is missing.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    ALIGN, FLAG_ZSTD, HEADER_LEN, Header, HeaderCheck, MIN_RECORD_LEN, Parsed, RECORD_HEADER_LEN,
    RecordHead, Seal, open_payload, parse, plausible, u32_at, u64_at,
};

/// Farthest that one record's number may lie beyond the expected one.
const MAX_SEQ_JUMP: u64 = 1 << 32;
/// Bytes checksummed at most while looking for the next good record, so that crafted garbage
/// costs no more than plain garbage.
const RESYNC_BUDGET: usize = 64 << 20;
/// Items believed of one damaged header.
const MAX_ITEMS_HINT: u32 = 20_000;

/// A good record's place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset in the file, bytes.
    pub offset: usize,
    /// Padded length, bytes.
    pub len: usize,
    /// The record's number.
    pub seq: u64,
    /// Its items.
    pub n_items: u32,
    /// Its wall clock.
    pub wall_ns: i64,
}

/// Numbers that should be in a segment and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which numbers.
    pub range: RangeInclusive<u64>,
    /// How many records those were, as far as the damaged bytes tell.
    pub records: u64,
    /// How many items, as far as the damaged bytes tell: 0 is "unknown".
    pub items: u64,
}

/// Everything that a whole segment tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Good records, in order.
    pub good: Vec<Span>,
    /// Holes that were already explained.
    pub holes: Vec<RangeInclusive<u64>>,
    /// Fresh damage, in order of numbers.
    pub missing: Vec<Missing>,
    /// Byte ranges that hold no good record and are not zeros.
    pub bad: Vec<std::ops::Range<usize>>,
    /// The number after the last that this segment holds or explains.
    pub next_seq: u64,
    /// True when records do not stand in the order of their numbers.
    pub disordered: bool,
    /// Where the next record would be written.
    pub end: usize,
    /// The segment of an earlier epoch that this one replaces.
    pub replaces: Option<(u64, u64)>,
}

impl Scan {
    /// True when nothing needs repair.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && !self.disordered
    }
}

/// Reads a whole segment. `upto` is the first number of its successor: records from there on are
/// leftovers of a failed write, and all numbers before it must be accounted for. Without a
/// successor, damage behind the last good record counts as every record that could have been there.
///
/// A record says itself which it is, so one that stands in the wrong place is as good as any.
#[must_use]
pub fn scan(bytes: &[u8], seal: Seal, first_seq: u64, upto: Option<u64>) -> Scan {
    let pieces = collect(bytes, seal, first_seq);
    let mut scan = Scan {
        next_seq: first_seq,
        end: pieces.end,
        bad: pieces.bad,
        replaces: pieces.replaces,
        ..Scan::default()
    };
    scan.disordered = !pieces.found.is_sorted_by_key(|piece| piece.from);
    let mut found = pieces.found;
    found.sort_by_key(|piece| piece.from);
    let mut kept = 0;
    for piece in found {
        if upto.is_some_and(|upto| piece.from >= upto) {
            break;
        }
        if piece.from < scan.next_seq {
            // A second copy.
            scan.disordered = true;
            continue;
        }
        if piece.from > scan.next_seq {
            let range = scan.next_seq..=piece.from - 1;
            let records = piece.from - scan.next_seq;
            let items = pieces.hints.iter().filter(|(seq, _)| range.contains(seq));
            let items = items.map(|(_, items)| items).sum();
            scan.missing.push(Missing { range, records, items });
        }
        scan.next_seq = piece.to.saturating_add(1);
        kept += piece.len;
        match piece.span {
            Some(span) => scan.good.push(span),
            None => scan.holes.push(piece.from..=piece.to),
        }
    }
    let lost_from = scan.next_seq;
    let tail = if scan.disordered {
        // A piece in the wrong place covers others: whatever is not kept may have been records.
        let used = bytes.get(HEADER_LEN..).map_or(0, nonzero_len);
        used.saturating_sub(kept).max(1)
    } else {
        scan.bad.last().filter(|bad| bad.end > scan.end).map_or(0, ExactSizeIterator::len)
    };
    let hints = || pieces.hints.range(lost_from..);
    let (lost_to, records) = match upto {
        Some(upto) => (upto, upto.saturating_sub(lost_from)),
        None if tail > 0 => {
            let most = tail.div_ceil(MIN_RECORD_LEN) as u64;
            let told = hints().next_back().map_or(0, |(seq, _)| seq + 1 - lost_from);
            (lost_from + most.max(told), (hints().count() as u64).max(1))
        }
        None => (lost_from, 0),
    };
    if lost_from < lost_to {
        let range = lost_from..=lost_to - 1;
        let items = pieces.hints.range(range.clone()).map(|(_, items)| items).sum();
        scan.missing.push(Missing { range, records, items });
        scan.next_seq = lost_to;
    }
    scan
}

/// A good record or a hole.
struct Piece {
    from: u64,
    to: u64,
    len: usize,
    span: Option<Span>,
}

/// What stands in a segment, in the order of its bytes.
struct Pieces {
    found: Vec<Piece>,
    bad: Vec<std::ops::Range<usize>>,
    /// Items of records whose header is readable and whose checksum is wrong, by number.
    hints: BTreeMap<u64, u64>,
    replaces: Option<(u64, u64)>,
    /// Behind the last good piece.
    end: usize,
}

fn collect(bytes: &[u8], seal: Seal, first_seq: u64) -> Pieces {
    let mut out = Pieces {
        found: Vec::new(),
        bad: Vec::new(),
        hints: BTreeMap::new(),
        replaces: None,
        end: HEADER_LEN,
    };
    let mut unzip = zstd::bulk::Decompressor::new().ok();
    let mut budget = RESYNC_BUDGET;
    let mut at = HEADER_LEN.min(bytes.len());
    // Start of the damage being crossed.
    let mut damage: Option<usize> = None;
    let hint_reach = (bytes.len() / MIN_RECORD_LEN) as u64;
    while at < bytes.len() {
        let rest = &bytes[at..];
        // While crossing damage most positions are noise: look at the number before the checksum.
        let worth = damage.is_none() || (worth_checking(rest, first_seq) && budget > 0);
        if worth && damage.is_some() {
            budget = budget.saturating_sub(RECORD_HEADER_LEN + u32_at(rest, 0) as usize);
        }
        let parsed = if worth { parse(rest, seal) } else { Parsed::Bad };
        let len = match parsed {
            Parsed::Record(head, stored, len) if in_reach(head.seq, first_seq) => {
                let sound = match unzip.as_mut() {
                    Some(unzip) => open_payload(unzip, &head, stored).is_some(),
                    None => head.flags & FLAG_ZSTD == 0,
                };
                let RecordHead { seq, n_items, wall_ns, .. } = head;
                let span = Span { offset: at, len, seq, n_items, wall_ns };
                let piece = Piece { from: seq, to: seq, len, span: Some(span) };
                sound.then_some((Some(piece), len))
            }
            Parsed::Hole(from, to, len) if in_reach(from, first_seq) => {
                Some((Some(Piece { from, to, len, span: None }), len))
            }
            Parsed::Replaces(epoch, first, len) => {
                out.replaces = Some((epoch, first));
                Some((None, len))
            }
            Parsed::End if damage.is_none() && rest.iter().all(|byte| *byte == 0) => break,
            Parsed::Record(..)
            | Parsed::Hole(..)
            | Parsed::End
            | Parsed::Short(_)
            | Parsed::Bad => None,
        };
        let Some((piece, len)) = len else {
            damage.get_or_insert(at);
            // A damaged payload leaves its header readable: it tells how much was lost.
            if worth_checking(rest, first_seq) && u64_at(rest, 8) - first_seq <= hint_reach {
                let items = u32_at(rest, 40).min(MAX_ITEMS_HINT);
                out.hints.entry(u64_at(rest, 8)).or_insert(u64::from(items));
            }
            at += ALIGN;
            continue;
        };
        if let Some(start) = damage.take() {
            out.bad.push(start..at);
        }
        out.found.extend(piece);
        at += len;
        out.end = at;
    }
    let tail = damage.map_or(0, |start| nonzero_len(&bytes[start..]));
    if let Some(start) = damage.filter(|_| tail > 0) {
        out.bad.push(start..start + tail);
    }
    out
}

fn in_reach(seq: u64, expected: u64) -> bool {
    seq >= expected && seq - expected <= MAX_SEQ_JUMP
}

fn worth_checking(bytes: &[u8], expected: u64) -> bool {
    bytes.len() >= RECORD_HEADER_LEN && plausible(bytes) && in_reach(u64_at(bytes, 8), expected)
}

fn nonzero_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// What [`check_segment`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// True when the header is intact and of this version.
    pub header: bool,
    /// Good records.
    pub records: usize,
    /// Numbers missing through damage.
    pub missing: u64,
}

/// Judges any bytes as a segment file; never panics. For fuzzing, and for looking at a file taken
/// from a school: without an intact header no record can be verified.
#[must_use]
pub fn check_segment(bytes: &[u8]) -> SegmentReport {
    let HeaderCheck::Good(header) = Header::check(bytes) else {
        return SegmentReport { header: false, records: 0, missing: 0 };
    };
    let found = scan(bytes, Seal::new(&header.agent_id, header.epoch), header.first_seq, None);
    SegmentReport {
        header: true,
        records: found.good.len(),
        missing: found.missing.iter().map(|missing| missing.records).sum(),
    }
}
