//! Batches of records on the wire.
//!
//! A record is whole in the spool and whole in the collector's head, but most of a round is the
//! round before: so the stream remembers, per channel and poll group, what it carried last, and
//! sends differences. The state lives as long as the gRPC stream, which keeps order, and starts
//! empty with each one. The decoder rebuilds the canonical payload and checks every record's hash,
//! so an error of either side is seen at once and never stored.
//!
//! Body, before compression: five sections, all but the last preceded by their length in LEB128:
//! heads (numbers), byte lengths of the residuals (nibbles, low first), residual bytes (little-endian,
//! leading zeros dropped), raw payloads, hashes (8 bytes each).

mod predict;

use std::collections::HashMap;

use crate::{
    KIND_SAMPLES,
    limits::{
        MAX_BATCH_RECORDS, MAX_BODY_BYTES, MAX_BODY_RATIO, MAX_PAYLOAD_BYTES, MAX_RECORD_SAMPLES,
        MAX_STREAM_COLUMNS,
    },
    record_hash,
    samples::{self, Columns, Header, Reader, SamplesError, is_valid, put, unzigzag, zigzag},
    v1,
};
use predict::Predictor;

/// Level of compression: the bodies are small, higher levels gain nothing.
const ZSTD_LEVEL: i32 = 3;
const NS_PER_MS: u64 = 1_000_000;
/// Channels of a stream: live and backlog.
const CHANNELS: u32 = 2;

/// A record, payload uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Sequence number in its lane and epoch, from 1.
    pub seq: u64,
    /// `KIND_*`.
    pub kind: u8,
    /// Names the boot that `boot_ns` counts from.
    pub boot_tag: u32,
    /// Boot clock, nanoseconds.
    pub boot_ns: u64,
    /// The agent's wall clock at the same instant, Unix nanoseconds: a hint.
    pub wall_ns: i64,
    /// [`record_hash`].
    pub hash: u64,
    /// Canonical payload.
    pub payload: Vec<u8>,
}

/// Why a batch was refused. Nothing of it is used, and the stream must be closed: its state is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// A count or a size is above its limit.
    #[error("batch has too much: {0}")]
    TooMuch(&'static str),
    /// The body does not decompress to what it says.
    #[error("batch body does not decompress to its length")]
    Compression,
    /// The body is malformed.
    #[error("batch body is malformed")]
    Malformed(#[from] SamplesError),
    /// The batch is not the one that was sent.
    #[error("batch does not match its check")]
    Check,
    /// Sequence numbers do not increase from 1.
    #[error("batch sequence numbers do not increase")]
    Sequence,
    /// The rebuilt record is not the one that was sent.
    #[error("record {seq} does not match its hash")]
    Hash {
        /// Its sequence number.
        seq: u64,
    },
}

/// What one channel of a stream carried last.
#[derive(Debug, Default)]
struct Channel {
    boot_ns: u64,
    offset_ns: i64,
    boot_tag: u32,
    groups: HashMap<u32, GroupState>,
    columns: usize,
}

#[derive(Debug)]
struct GroupState {
    layout: u32,
    columns: Vec<Predictor>,
}

impl Channel {
    /// The predictors of a group, fresh ones when its layout is new; `None` when the state is full.
    fn group(&mut self, header: Header) -> Option<&mut [Predictor]> {
        let known = self.groups.get(&header.group);
        let fits =
            known.is_some_and(|g| g.layout == header.layout && g.columns.len() == header.columns);
        if !fits {
            // A group costs memory even without columns.
            self.columns -= known.map_or(0, |group| group.columns.len() + 1);
            self.groups.remove(&header.group);
            if self.columns + header.columns + 1 > MAX_STREAM_COLUMNS {
                return None;
            }
            self.columns += header.columns + 1;
            let columns = vec![Predictor::default(); header.columns];
            self.groups.insert(header.group, GroupState { layout: header.layout, columns });
        }
        self.groups.get_mut(&header.group).map(|group| group.columns.as_mut_slice())
    }
}

const FORM_RAW: u64 = 0;
const FORM_COLUMNS: u64 = 1;
const FLAG_BOOT: u64 = 2;
const FLAG_MS: u64 = 4;

/// Writes batches for one stream. Batches must be sent in the order in which they were encoded.
#[derive(Debug, Default)]
pub struct Encoder {
    channels: [Channel; CHANNELS as usize],
}

#[derive(Default)]
struct Sections {
    heads: Vec<u8>,
    nibbles: Nibbles,
    residuals: Vec<u8>,
    raw: Vec<u8>,
    hashes: Vec<u8>,
}

impl Encoder {
    /// An encoder for a new stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes records of one lane, in increasing sequence order, at most
    /// [`MAX_BATCH_RECORDS`] and [`MAX_BODY_BYTES`] in all.
    ///
    /// After an error the encoder must be dropped with its stream.
    pub fn encode(
        &mut self,
        lane: u32,
        epoch: u64,
        channel: u32,
        records: &[Record],
    ) -> Result<v1::Records, RecordsError> {
        if records.len() > MAX_BATCH_RECORDS {
            return Err(RecordsError::TooMuch("records"));
        }
        let state =
            self.channels.get_mut(channel as usize).ok_or(RecordsError::TooMuch("channels"))?;
        let mut out = Sections::default();
        let mut seq = 0;
        for record in records {
            if record.seq <= seq {
                return Err(RecordsError::Sequence);
            }
            put(&mut out.heads, record.seq - seq);
            seq = record.seq;
            write_record(state, record, &mut out);
        }
        let body = out.assemble();
        if body.len() > MAX_BODY_BYTES {
            return Err(RecordsError::TooMuch("bytes"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "both are below their limits")]
        let (count, raw_len) = (records.len() as u32, body.len() as u32);
        let check = check(lane, epoch, channel, count, &body);
        let body = crate::compress::compress(&body, ZSTD_LEVEL).unwrap_or(body);
        Ok(v1::Records { lane, epoch, channel, count, raw_len, body, check })
    }
}

/// Low half of XXH3-64 over the batch's numbers and its uncompressed body.
fn check(lane: u32, epoch: u64, channel: u32, count: u32, body: &[u8]) -> u32 {
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    hasher.update(&epoch.to_le_bytes());
    for number in [lane, channel, count] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(body);
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let low = hasher.digest() as u32;
    low
}

fn write_record(state: &mut Channel, record: &Record, out: &mut Sections) {
    let columns = (record.kind == KIND_SAMPLES)
        .then(|| samples::decode(&record.payload).ok())
        .flatten()
        .filter(|c| state.group(header_of(c)).is_some());
    let offset = record.wall_ns.wrapping_sub(record.boot_ns.cast_signed());
    let boot_delta = record.boot_ns.wrapping_sub(state.boot_ns).cast_signed();
    let offset_delta = offset.wrapping_sub(state.offset_ns);
    let ms = NS_PER_MS.cast_signed();
    let in_ms = boot_delta % ms == 0 && offset_delta % ms == 0;
    let new_boot = record.boot_tag != state.boot_tag;
    let form = if columns.is_some() { FORM_COLUMNS } else { FORM_RAW };
    let flags = form | (u64::from(new_boot) * FLAG_BOOT) | (u64::from(in_ms) * FLAG_MS);
    put(&mut out.heads, u64::from(record.kind) << 3 | flags);
    if new_boot {
        put(&mut out.heads, record.boot_tag.into());
    }
    let unit = if in_ms { ms } else { 1 };
    put(&mut out.heads, zigzag(boot_delta / unit));
    put(&mut out.heads, zigzag(offset_delta / unit));
    (state.boot_tag, state.boot_ns, state.offset_ns) = (record.boot_tag, record.boot_ns, offset);
    out.hashes.extend_from_slice(&record.hash.to_le_bytes());
    if let Some(columns) = columns {
        write_columns(state, &columns, out);
    } else {
        put(&mut out.heads, record.payload.len() as u64);
        out.raw.extend_from_slice(&record.payload);
    }
}

fn header_of(c: &Columns) -> Header {
    Header { group: c.group, layout: c.layout, rows: c.times_ms.len(), columns: c.columns }
}

fn write_columns(state: &mut Channel, c: &Columns, out: &mut Sections) {
    let header = header_of(c);
    for n in [c.group.into(), c.layout.into(), header.rows as u64, header.columns as u64] {
        put(&mut out.heads, n);
    }
    let mut before = 0;
    for &time in &c.times_ms {
        put(&mut out.heads, zigzag(time.wrapping_sub(before)));
        before = time;
    }
    samples::put_validity(&mut out.heads, &c.cells);
    let Some(predictors) = state.group(header) else { return };
    for (predictor, column) in predictors.iter_mut().zip(c.cells.chunks_exact(header.rows)) {
        for &value in column.iter().flatten() {
            let residual = zigzag(predictor.residual(value));
            let len = 8 - residual.leading_zeros() as usize / 8;
            out.nibbles.push(len);
            out.residuals.extend_from_slice(&residual.to_le_bytes()[..len]);
        }
    }
}

impl Sections {
    fn assemble(self) -> Vec<u8> {
        let nibbles = self.nibbles.bytes;
        let sections = [&self.heads, &nibbles, &self.residuals, &self.raw];
        let len: usize = sections.iter().map(|section| section.len()).sum();
        let mut body = Vec::with_capacity(16 + len + self.hashes.len());
        for section in sections {
            put(&mut body, section.len() as u64);
            body.extend_from_slice(section);
        }
        body.extend_from_slice(&self.hashes);
        body
    }
}

/// Half-bytes, low one first.
#[derive(Default)]
struct Nibbles {
    bytes: Vec<u8>,
    half: bool,
}

impl Nibbles {
    fn push(&mut self, n: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 8")]
        let n = n as u8;
        match self.bytes.last_mut() {
            Some(last) if self.half => *last |= n << 4,
            _ => self.bytes.push(n),
        }
        self.half = !self.half;
    }
}

/// Reads batches of one stream, in the order in which they arrived.
#[derive(Debug, Default)]
pub struct Decoder {
    channels: [Channel; CHANNELS as usize],
}

struct Sources<'a> {
    heads: Reader<'a>,
    nibbles: &'a [u8],
    next_nibble: usize,
    residuals: &'a [u8],
    raw: Reader<'a>,
    hashes: &'a [u8],
}

impl Decoder {
    /// A decoder for a new stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a batch: every limit is checked before memory is taken, every record against its hash.
    /// After an error the stream must be closed.
    pub fn decode(&mut self, batch: &v1::Records) -> Result<Vec<Record>, RecordsError> {
        let count = batch.count as usize;
        if count > MAX_BATCH_RECORDS {
            return Err(RecordsError::TooMuch("records"));
        }
        let raw_len = batch.raw_len as usize;
        if raw_len > MAX_BODY_BYTES || batch.body.len() > raw_len {
            return Err(RecordsError::TooMuch("bytes"));
        }
        if raw_len > 64 << 10 && raw_len / MAX_BODY_RATIO > batch.body.len() {
            return Err(RecordsError::TooMuch("compression"));
        }
        let state = self
            .channels
            .get_mut(batch.channel as usize)
            .ok_or(RecordsError::TooMuch("channels"))?;
        let inflated;
        let body = if raw_len == batch.body.len() {
            &batch.body
        } else {
            inflated = crate::compress::decompress(&batch.body, raw_len)
                .filter(|body| body.len() == raw_len)
                .ok_or(RecordsError::Compression)?;
            &inflated
        };
        let expected = check(batch.lane, batch.epoch, batch.channel, batch.count, body);
        if batch.check != expected {
            return Err(RecordsError::Check);
        }
        let mut from = Sources::split(body)?;
        let mut records = Vec::with_capacity(count);
        let (mut seq, mut samples_left) = (0_u64, MAX_BODY_BYTES);
        for _ in 0..count {
            let step = from.heads.number()?;
            seq = seq.checked_add(step).filter(|_| step > 0).ok_or(RecordsError::Sequence)?;
            records.push(read_record(state, seq, &mut from, &mut samples_left)?);
        }
        if from.is_empty() { Ok(records) } else { Err(SamplesError::Length.into()) }
    }
}

impl<'a> Sources<'a> {
    fn split(body: &'a [u8]) -> Result<Self, SamplesError> {
        let mut reader = Reader(body);
        let mut section = || -> Result<&'a [u8], SamplesError> {
            let n = reader.count(MAX_BODY_BYTES, "bytes")?;
            reader.bytes(n)
        };
        let (heads, nibbles, residuals, raw) = (section()?, section()?, section()?, section()?);
        Ok(Self {
            heads: Reader(heads),
            nibbles,
            next_nibble: 0,
            residuals,
            raw: Reader(raw),
            hashes: reader.0,
        })
    }

    fn is_empty(&self) -> bool {
        self.heads.0.is_empty()
            && self.next_nibble.div_ceil(2) == self.nibbles.len()
            && self.residuals.is_empty()
            && self.raw.0.is_empty()
            && self.hashes.is_empty()
    }

    fn hash(&mut self) -> Result<u64, SamplesError> {
        let (hash, rest) = self.hashes.split_first_chunk().ok_or(SamplesError::Length)?;
        self.hashes = rest;
        Ok(u64::from_le_bytes(*hash))
    }

    fn residual(&mut self) -> Result<i64, SamplesError> {
        let byte = *self.nibbles.get(self.next_nibble / 2).ok_or(SamplesError::Length)?;
        let len =
            usize::from(if self.next_nibble.is_multiple_of(2) { byte & 15 } else { byte >> 4 });
        self.next_nibble += 1;
        let (bytes, rest) = self.residuals.split_at_checked(len).ok_or(SamplesError::Length)?;
        let mut word = [0; 8];
        word.get_mut(..len).ok_or(SamplesError::Number)?.copy_from_slice(bytes);
        self.residuals = rest;
        Ok(unzigzag(u64::from_le_bytes(word)))
    }
}

fn read_record(
    state: &mut Channel,
    seq: u64,
    from: &mut Sources<'_>,
    samples_left: &mut usize,
) -> Result<Record, RecordsError> {
    let head = from.heads.number()?;
    let kind = u8::try_from(head >> 3).map_err(|_| SamplesError::Number)?;
    if head & FLAG_BOOT != 0 {
        state.boot_tag = from.heads.small()?;
    }
    let unit = if head & FLAG_MS != 0 { NS_PER_MS.cast_signed() } else { 1 };
    let boot_delta = unzigzag(from.heads.number()?).wrapping_mul(unit);
    let offset_delta = unzigzag(from.heads.number()?).wrapping_mul(unit);
    state.boot_ns = state.boot_ns.wrapping_add(boot_delta.cast_unsigned());
    state.offset_ns = state.offset_ns.wrapping_add(offset_delta);
    let (boot_tag, boot_ns) = (state.boot_tag, state.boot_ns);
    let wall_ns = state.offset_ns.wrapping_add(boot_ns.cast_signed());
    let hash = from.hash()?;
    let payload = if head & 1 == FORM_COLUMNS {
        read_columns(state, from, samples_left)?
    } else {
        let len = from.heads.count(MAX_PAYLOAD_BYTES, "payload bytes")?;
        from.raw.bytes(len)?.to_vec()
    };
    if record_hash(kind, boot_tag, boot_ns, wall_ns, &payload) == hash {
        Ok(Record { seq, kind, boot_tag, boot_ns, wall_ns, hash, payload })
    } else {
        Err(RecordsError::Hash { seq })
    }
}

fn read_columns(
    state: &mut Channel,
    from: &mut Sources<'_>,
    samples_left: &mut usize,
) -> Result<Vec<u8>, RecordsError> {
    let header = from.heads.header()?;
    let Header { group, layout, rows, columns } = header;
    let total = rows * columns;
    if rows == 0 || total > MAX_RECORD_SAMPLES {
        return Err(SamplesError::Length.into());
    }
    // A cell may cost no byte at all (predicted, or absent), so the batch as a whole is bounded too.
    *samples_left = samples_left.checked_sub(total).ok_or(RecordsError::TooMuch("samples"))?;
    let mut times_ms = Vec::with_capacity(rows);
    let mut time = 0_i64;
    for _ in 0..rows {
        time = time.wrapping_add(unzigzag(from.heads.number()?));
        times_ms.push(time);
    }
    let bits = samples::validity(&mut from.heads, total)?;
    let predictors = state.group(header).ok_or(RecordsError::TooMuch("columns"))?;
    let mut cells = Vec::with_capacity(total);
    for (column, predictor) in predictors.iter_mut().enumerate() {
        for row in 0..rows {
            cells.push(if is_valid(bits, column * rows + row) {
                Some(predictor.value(from.residual()?))
            } else {
                None
            });
        }
    }
    Ok(samples::encode(group, layout, &times_ms, &cells))
}

#[cfg(test)]
mod tests;
