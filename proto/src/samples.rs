//! Payload of a sample record: one poll group's columns under one time column.
//!
//! Layout, all integers LEB128: group, layout, rows, columns, then `rows` zigzag time deltas in
//! milliseconds (the first from the record's `boot_ns`), then a validity byte: 0 = every cell has a
//! value, 1 = a bitmap of `rows * columns` bits follows (column-major, bit set = value), then the
//! values column by column: the first present value of a column zigzag-coded as it is, the others as
//! zigzag differences from the one before, wrapping.

use crate::limits::{MAX_COLUMNS, MAX_RECORD_SAMPLES, MAX_ROWS};

/// A decoded payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Poll group.
    pub group: u32,
    /// Generation of the group's columns.
    pub layout: u32,
    /// Milliseconds after the record's `boot_ns`, one per row.
    pub times_ms: Vec<i64>,
    /// Number of columns.
    pub columns: usize,
    /// `cells[column * rows + row]`; `None` was polled and not obtained.
    pub cells: Vec<Option<i64>>,
}

/// Why bytes are not a sample payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SamplesError {
    /// The bytes end too early, or go on after the end.
    #[error("sample payload has a wrong length")]
    Length,
    /// A count is above its limit.
    #[error("sample payload has too many {0}")]
    TooMany(&'static str),
    /// A number is malformed.
    #[error("sample payload has a malformed number")]
    Number,
}

/// Group, layout, rows and columns of a payload, without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Poll group.
    pub group: u32,
    /// Generation of the group's columns.
    pub layout: u32,
    /// Rounds.
    pub rows: usize,
    /// Series.
    pub columns: usize,
}

pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(n as u8);
}

pub(crate) fn zigzag(n: i64) -> u64 {
    (n.cast_unsigned() << 1) ^ (n >> 63).cast_unsigned()
}

pub(crate) fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

/// Reads numbers off a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn number(&mut self) -> Result<u64, SamplesError> {
        let mut n = 0_u64;
        for (i, &byte) in self.0.iter().enumerate() {
            if i == 9 && byte > 1 {
                return Err(SamplesError::Number);
            }
            n |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                // A padded number would let two texts mean one record.
                if byte == 0 && i > 0 {
                    return Err(SamplesError::Number);
                }
                self.0 = &self.0[i + 1..];
                return Ok(n);
            }
        }
        Err(SamplesError::Length)
    }

    pub(crate) fn small(&mut self) -> Result<u32, SamplesError> {
        u32::try_from(self.number()?).map_err(|_| SamplesError::Number)
    }

    pub(crate) fn count(
        &mut self,
        limit: usize,
        what: &'static str,
    ) -> Result<usize, SamplesError> {
        let n = usize::try_from(self.number()?).map_err(|_| SamplesError::TooMany(what))?;
        if n > limit { Err(SamplesError::TooMany(what)) } else { Ok(n) }
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], SamplesError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(SamplesError::Length)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn header(&mut self) -> Result<Header, SamplesError> {
        let group = self.small()?;
        let layout = self.small()?;
        let rows = self.count(MAX_ROWS, "rows")?;
        let columns = self.count(MAX_COLUMNS, "columns")?;
        if rows * columns > MAX_RECORD_SAMPLES {
            return Err(SamplesError::TooMany("samples"));
        }
        Ok(Header { group, layout, rows, columns })
    }
}

/// Writes the payload of a record.
///
/// `cells[column * times_ms.len() + row]`, as in [`Columns`].
///
/// # Panics
/// When `cells` is not a whole number of columns: a programming error of the caller.
#[must_use]
pub fn encode(group: u32, layout: u32, times_ms: &[i64], cells: &[Option<i64>]) -> Vec<u8> {
    let rows = times_ms.len();
    assert!(rows > 0 && cells.len().is_multiple_of(rows), "cells must fill whole columns");
    let mut out = Vec::with_capacity(16 + rows * 2 + cells.len() * 5);
    put(&mut out, group.into());
    put(&mut out, layout.into());
    put(&mut out, rows as u64);
    put(&mut out, (cells.len() / rows) as u64);
    let mut before = 0;
    for &time in times_ms {
        put(&mut out, zigzag(time.wrapping_sub(before)));
        before = time;
    }
    put_validity(&mut out, cells);
    for column in cells.chunks_exact(rows) {
        let mut before = 0_i64;
        for value in column.iter().flatten() {
            put(&mut out, zigzag(value.wrapping_sub(before)));
            before = *value;
        }
    }
    out
}

pub(crate) fn put_validity(out: &mut Vec<u8>, cells: &[Option<i64>]) {
    if cells.iter().all(Option::is_some) {
        out.push(0);
        return;
    }
    out.push(1);
    for eight in cells.chunks(8) {
        out.push(
            eight
                .iter()
                .enumerate()
                .fold(0, |bits, (i, cell)| bits | (u8::from(cell.is_some()) << i)),
        );
    }
}

/// The validity of `cells` cells: `None` when all have values.
pub(crate) fn validity<'a>(
    reader: &mut Reader<'a>,
    cells: usize,
) -> Result<Option<&'a [u8]>, SamplesError> {
    match reader.bytes(1)? {
        [0] => Ok(None),
        [1] => {
            let bits = reader.bytes(cells.div_ceil(8))?;
            let ones: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
            let used = cells % 8;
            let padding = if used == 0 { 0 } else { bits.last().map_or(0, |last| last >> used) };
            // One content has one text: no bitmap where none is needed, no bits past the end.
            if padding != 0 || ones as usize == cells {
                return Err(SamplesError::Number);
            }
            Ok(Some(bits))
        }
        _ => Err(SamplesError::Number),
    }
}

pub(crate) fn is_valid(bits: Option<&[u8]>, cell: usize) -> bool {
    bits.is_none_or(|bits| bits[cell / 8] >> (cell % 8) & 1 == 1)
}

/// Reads a payload's header only.
pub fn header(payload: &[u8]) -> Result<Header, SamplesError> {
    Reader(payload).header()
}

/// Reads a payload. Every byte must be used.
pub fn decode(payload: &[u8]) -> Result<Columns, SamplesError> {
    let mut reader = Reader(payload);
    let Header { group, layout, rows, columns } = reader.header()?;
    if rows == 0 {
        return Err(SamplesError::Length);
    }
    let mut times_ms = Vec::with_capacity(rows);
    let mut time = 0_i64;
    for _ in 0..rows {
        time = time.wrapping_add(unzigzag(reader.number()?));
        times_ms.push(time);
    }
    let total = rows * columns;
    let bits = validity(&mut reader, total)?;
    let mut cells = Vec::with_capacity(total);
    for column in 0..columns {
        let mut value = 0_i64;
        for row in 0..rows {
            cells.push(if is_valid(bits, column * rows + row) {
                value = value.wrapping_add(unzigzag(reader.number()?));
                Some(value)
            } else {
                None
            });
        }
    }
    if reader.0.is_empty() {
        Ok(Columns { group, layout, times_ms, columns, cells })
    } else {
        Err(SamplesError::Length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_columns() -> impl Strategy<Value = Columns> {
        (1..5_usize, 0..9_usize).prop_flat_map(|(rows, columns)| {
            let cell =
                prop_oneof![Just(None), any::<i64>().prop_map(Some), (0..9_i64).prop_map(Some)];
            (
                any::<u32>(),
                any::<u32>(),
                prop::collection::vec(any::<i64>(), rows),
                prop::collection::vec(cell, rows * columns),
            )
                .prop_map(move |(group, layout, times_ms, cells)| Columns {
                    group,
                    layout,
                    times_ms,
                    columns,
                    cells,
                })
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(columns in any_columns()) {
            let bytes = encode(columns.group, columns.layout, &columns.times_ms, &columns.cells);
            prop_assert_eq!(decode(&bytes), Ok(columns));
        }

        #[test]
        fn bytes_that_decode_encode_to_themselves(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(c) = decode(&bytes) {
                prop_assert_eq!(encode(c.group, c.layout, &c.times_ms, &c.cells), bytes);
            }
        }

        #[test]
        fn a_cut_payload_is_refused(columns in any_columns(), cut in 1..40_usize) {
            let bytes = encode(columns.group, columns.layout, &columns.times_ms, &columns.cells);
            let kept = bytes.len().saturating_sub(cut);
            prop_assert!(decode(&bytes[..kept]).is_err());
        }
    }

    #[test]
    fn counts_above_their_limits_are_refused_before_anything_is_allocated() {
        let mut bytes = vec![1, 1];
        put(&mut bytes, MAX_ROWS as u64 + 1);
        put(&mut bytes, 1);
        assert_eq!(decode(&bytes), Err(SamplesError::TooMany("rows")));
        let mut bytes = vec![1, 1];
        put(&mut bytes, MAX_ROWS as u64);
        put(&mut bytes, MAX_COLUMNS as u64);
        assert_eq!(decode(&bytes), Err(SamplesError::TooMany("samples")));
    }

    #[test]
    fn a_padded_number_is_refused() {
        assert_eq!(header(&[0x81, 0x00, 1, 1, 1]), Err(SamplesError::Number));
    }
}
