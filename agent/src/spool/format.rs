//! Bytes of a segment file: pure, total on any input.
//!
//! ```text
//! segment = header (64) record* zeros
//! header  = magic u32 | version u16 | lane u16 | agent id 16 | epoch u64 | first seq u64
//!         | created boot_ns u64 | created wall_ns i64 | ordinal of the epoch u32 | crc32c u32
//! record  = len u32 | crc32c u32 | seq u64 | boot_ns u64 | wall_ns i64 | boot_tag u32 | kind u8
//!         | flags u8 | reserved u16 | n_items u32 | hash u64 | payload (len) | pad to 8
//! ```
//! All integers little-endian. A record's checksum covers the agent id, the epoch, `len` and all
//! from `seq` to the end of the payload: a record of another spool never verifies in this one, and
//! a segment whose header is destroyed still gives up its records.
//!
//! Kind 0 is the spool's own: a hole (its range was declared lost, or was acknowledged and freed),
//! or a note that this segment replaces one of an earlier epoch. So every number from a segment's
//! first to its successor's first is a record or in a hole, and anything else is fresh damage.

mod scan;

use std::ops::RangeInclusive;

use proto::limits::{MAX_PAYLOAD_BYTES, MAX_STORED_PAYLOAD_BYTES};

use crate::planted;

pub use self::scan::{Missing, Scan, SegmentReport, Span, check_segment, scan};

/// Version of the segment format that this build writes.
pub const VERSION: u16 = 1;
/// Length of a segment's header, bytes.
pub const HEADER_LEN: usize = 64;
/// Length of a record's header, bytes.
pub const RECORD_HEADER_LEN: usize = 52;
/// Length of the smallest record, bytes.
pub const MIN_RECORD_LEN: usize = RECORD_HEADER_LEN.next_multiple_of(ALIGN);
/// Flag: the payload is a zstd frame.
pub const FLAG_ZSTD: u8 = 1;

const MAGIC: u32 = u32::from_le_bytes(*b"VGSP");
const ALIGN: usize = 8;
const KIND_OWN: u8 = 0;
const OWN_HOLE: u32 = 1;
const OWN_REPLACES: u32 = 2;

/// Header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Lane of all its records.
    pub lane: u16,
    /// Agent that wrote it.
    pub agent_id: [u8; 16],
    /// Epoch of its records.
    pub epoch: u64,
    /// Number of its first record.
    pub first_seq: u64,
    /// Boot clock when it was made, nanoseconds.
    pub created_boot_ns: u64,
    /// Wall clock when it was made, nanoseconds.
    pub created_wall_ns: i64,
    /// Rank of the epoch among those this lane has had: the highest is in force.
    pub ordinal: u32,
}

/// What the first 64 bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderCheck {
    /// A header of this version.
    Good(Header),
    /// An intact header of another version. The rank of its epoch stands in the same place in
    /// every version.
    Newer {
        /// Its version.
        version: u16,
        /// Rank of its epoch.
        ordinal: u32,
    },
    /// Anything else.
    Bad,
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[6..8].copy_from_slice(&self.lane.to_le_bytes());
        out[8..24].copy_from_slice(&self.agent_id);
        out[24..32].copy_from_slice(&self.epoch.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        out[40..48].copy_from_slice(&self.created_boot_ns.to_le_bytes());
        out[48..56].copy_from_slice(&self.created_wall_ns.to_le_bytes());
        out[56..60].copy_from_slice(&self.ordinal.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Judges the start of a file.
    #[must_use]
    pub fn check(bytes: &[u8]) -> HeaderCheck {
        let Some(head) = bytes.get(..HEADER_LEN) else { return HeaderCheck::Bad };
        if u32_at(head, 0) != MAGIC || u32_at(head, 60) != crc32c::crc32c(&head[..60]) {
            return HeaderCheck::Bad;
        }
        let version = u16_at(head, 4);
        if version != VERSION {
            return HeaderCheck::Newer { version, ordinal: u32_at(head, 56) };
        }
        let mut agent_id = [0; 16];
        agent_id.copy_from_slice(&head[8..24]);
        HeaderCheck::Good(Self {
            lane: u16_at(head, 6),
            agent_id,
            epoch: u64_at(head, 24),
            first_seq: u64_at(head, 32),
            created_boot_ns: u64_at(head, 40),
            created_wall_ns: i64_at(head, 48),
            ordinal: u32_at(head, 56),
        })
    }
}

/// Name of a segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// Number of the first record.
    pub first_seq: u64,
}

impl Name {
    /// Reads `l<lane>-<epoch:16hex>-<first_seq:16hex>.seg`, and nothing that merely resembles it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (lane, rest) = name.strip_suffix(".seg")?.strip_prefix('l')?.split_once('-')?;
        let (epoch, first) = rest.split_once('-')?;
        let parsed = Self {
            lane: lane.parse().ok()?,
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            first_seq: u64::from_str_radix(first, 16).ok()?,
        };
        (parsed.to_string() == name && parsed.first_seq > 0).then_some(parsed)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "l{}-{:016x}-{:016x}.seg", self.lane, self.epoch, self.first_seq)
    }
}

/// What every checksum of an epoch starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal(u32);

impl Seal {
    /// The seal of `epoch` in the spool of `agent_id`.
    #[must_use]
    pub fn new(agent_id: &[u8; 16], epoch: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(agent_id), &epoch.to_le_bytes()))
    }

    fn checksum(self, record: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &record[..4]), &record[8..])
    }
}

/// A record's fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Number in its lane and epoch, from 1.
    pub seq: u64,
    /// Boot clock of the measurement, nanoseconds.
    pub boot_ns: u64,
    /// Wall clock of the measurement, nanoseconds.
    pub wall_ns: i64,
    /// Which boot `boot_ns` belongs to.
    pub boot_tag: u32,
    /// `proto::KIND_*`; 0 is the spool's own.
    pub kind: u8,
    /// [`FLAG_ZSTD`] or 0.
    pub flags: u8,
    /// Samples in the record, or 1 for an event.
    pub n_items: u32,
    /// `proto::record_hash` of the record as measured, before compression.
    pub hash: u64,
}

/// Appends one record to `out`. `stored` is at most [`MAX_STORED_PAYLOAD_BYTES`] long.
pub fn encode_record(out: &mut Vec<u8>, seal: Seal, head: &RecordHead, stored: &[u8]) {
    let start = out.len();
    let len = u32::try_from(stored.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.seq.to_le_bytes());
    out.extend_from_slice(&head.boot_ns.to_le_bytes());
    out.extend_from_slice(&head.wall_ns.to_le_bytes());
    out.extend_from_slice(&head.boot_tag.to_le_bytes());
    out.extend_from_slice(&[head.kind, head.flags, 0, 0]);
    out.extend_from_slice(&head.n_items.to_le_bytes());
    out.extend_from_slice(&head.hash.to_le_bytes());
    out.extend_from_slice(stored);
    let crc = seal.checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    let padded = start + (out.len() - start).next_multiple_of(ALIGN);
    out.resize(padded, 0);
}

/// Appends a mark that `range` holds no records any more.
pub fn encode_hole(out: &mut Vec<u8>, seal: Seal, range: &RangeInclusive<u64>) {
    own(out, seal, *range.start(), OWN_HOLE, &range.end().to_le_bytes());
}

/// Appends a note that this segment holds what `epoch`'s segment from `first_seq` held.
pub fn encode_replaces(out: &mut Vec<u8>, seal: Seal, seq: u64, epoch: u64, first_seq: u64) {
    let mut body = [0; 16];
    body[..8].copy_from_slice(&epoch.to_le_bytes());
    body[8..].copy_from_slice(&first_seq.to_le_bytes());
    own(out, seal, seq, OWN_REPLACES, &body);
}

fn own(out: &mut Vec<u8>, seal: Seal, seq: u64, what: u32, body: &[u8]) {
    let head = RecordHead {
        seq,
        boot_ns: 0,
        wall_ns: 0,
        boot_tag: 0,
        kind: KIND_OWN,
        flags: 0,
        n_items: what,
        hash: 0,
    };
    encode_record(out, seal, &head, body);
}

/// What stands where a record should start.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A good record: its fixed part, its stored payload, its padded length.
    Record(RecordHead, &'a [u8], usize),
    /// Numbers `0` to `1` (inclusive) are a known hole; the mark's padded length.
    Hole(u64, u64, usize),
    /// This segment replaces that of (epoch, first number); the note's padded length.
    Replaces(u64, u64, usize),
    /// Zeros: nothing was written here.
    End,
    /// The record goes on beyond `bytes`, to this length.
    Short(usize),
    /// Damage.
    Bad,
}

/// Judges the record at the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8], seal: Seal) -> Parsed<'_> {
    let Some(head) = bytes.get(..RECORD_HEADER_LEN) else {
        let zero = bytes.iter().all(|byte| *byte == 0);
        return if zero { Parsed::End } else { Parsed::Short(RECORD_HEADER_LEN) };
    };
    if head.iter().all(|byte| *byte == 0) {
        return Parsed::End;
    }
    let len = u32_at(head, 0) as usize;
    if !plausible(head) {
        return Parsed::Bad;
    }
    let padded = (RECORD_HEADER_LEN + len).next_multiple_of(ALIGN);
    let Some(record) = bytes.get(..padded) else { return Parsed::Short(padded) };
    let (record, pad) = record.split_at(RECORD_HEADER_LEN + len);
    let intact = seal.checksum(record) == u32_at(head, 4) || planted::is("torn-tail-kept");
    if !intact || pad.iter().any(|byte| *byte != 0) {
        return Parsed::Bad;
    }
    let stored = &record[RECORD_HEADER_LEN..];
    let fixed = read_head(head);
    if fixed.kind != KIND_OWN {
        return Parsed::Record(fixed, stored, padded);
    }
    match (fixed.n_items, stored.len()) {
        (OWN_HOLE, 8) if fixed.seq <= u64_at(stored, 0) => {
            Parsed::Hole(fixed.seq, u64_at(stored, 0), padded)
        }
        (OWN_REPLACES, 16) => Parsed::Replaces(u64_at(stored, 0), u64_at(stored, 8), padded),
        _ => Parsed::Bad,
    }
}

fn plausible(head: &[u8]) -> bool {
    u32_at(head, 0) as usize <= MAX_STORED_PAYLOAD_BYTES
        && u64_at(head, 8) > 0
        && head[37] & !FLAG_ZSTD == 0
        && head[38..40] == [0, 0]
}

fn read_head(head: &[u8]) -> RecordHead {
    RecordHead {
        seq: u64_at(head, 8),
        boot_ns: u64_at(head, 16),
        wall_ns: i64_at(head, 24),
        boot_tag: u32_at(head, 32),
        kind: head[36],
        flags: head[37],
        n_items: u32_at(head, 40),
        hash: u64_at(head, 44),
    }
}

/// Undoes the storage of a payload and checks it against its hash; `None` when it is not what was
/// measured. The result is at most [`MAX_PAYLOAD_BYTES`] long.
pub fn open_payload(
    unzip: &mut zstd::bulk::Decompressor<'_>,
    head: &RecordHead,
    stored: &[u8],
) -> Option<Vec<u8>> {
    let payload = if head.flags & FLAG_ZSTD == 0 {
        stored.to_vec()
    } else {
        unzip.decompress(stored, MAX_PAYLOAD_BYTES).ok()?
    };
    let hash = proto::record_hash(head.kind, head.boot_tag, head.boot_ns, head.wall_ns, &payload);
    (hash == head.hash || planted::is("torn-tail-kept")).then_some(payload)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let mut out = [0; 2];
    out.copy_from_slice(&bytes[at..at + 2]);
    u16::from_le_bytes(out)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

pub(super) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    i64::from_le_bytes(out)
}
