//! What is remembered of records that left the head.
//!
//! A record that comes again must be known for a duplicate, and another record under its number for
//! a conflict. Below the watermark the number alone tells that it was here; the hash is kept for the
//! last [`WINDOW`] numbers and for everything above the watermark, four bytes each.
//!
//! One row holds the numbers `base..base + WINDOW` of a lane, `base` being 1 more than a multiple of
//! [`WINDOW`]. Its bytes, little-endian: number of runs (u16), then for each run its offset from
//! `base` and its length less one (u16 each), then the first four bytes of each record's hash in
//! order. A full row is 6 + 4 × 4,096 bytes: 4.002 a record.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    failed,
    lanes::{head_key, split_key},
};
use crate::{Result, StoreError};

/// Numbers below the watermark whose hashes are still compared.
pub(super) const WINDOW: u64 = 4096;

/// Offsets from a row's base, with four bytes of the hash.
type Pack = BTreeMap<u16, u32>;

/// What is known of a number that is covered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The same record.
    Same,
    /// Another record.
    Other,
    /// No hash of it is kept: it is too long ago, or was explained as lost.
    NotKept,
}

/// Takes records out of the head, keeping what is needed to know them again. `keys` are keys of
/// `head`; unknown ones are passed over. Returns how many rows were freed.
///
/// Every deletion from the head goes through here: a plain `DELETE` would let a record above the
/// watermark in a second time.
pub(crate) fn forget_head_rows(tx: &Transaction<'_>, keys: &[i64]) -> Result<u64> {
    const ACTION: &str = "take records out of the head";
    let fail = failed(ACTION);
    let mut delete =
        tx.prepare_cached("DELETE FROM head WHERE key = ?1 RETURNING hash").map_err(&fail)?;
    let mut by_lane: BTreeMap<i64, BTreeMap<u64, u32>> = BTreeMap::new();
    let mut freed = 0;
    for &key in keys {
        let hash: Option<i64> =
            delete.query_row([key], |row| row.get(0)).optional().map_err(&fail)?;
        let Some(hash) = hash else { continue };
        let (lane, seq) = split_key(key);
        by_lane.entry(lane).or_default().insert(seq, prefix(hash.cast_unsigned()));
        freed += 1;
    }
    for (lane, hashes) in by_lane {
        let (contig, closed): (i64, bool) = tx
            .prepare_cached("SELECT contig_upto, closed_ms IS NOT NULL FROM lane WHERE id = ?1")
            .and_then(|mut find| find.query_row([lane], |row| Ok((row.get(0)?, row.get(1)?))))
            .map_err(&fail)?;
        if closed {
            // Its numbers alone are enough.
            continue;
        }
        // The row that the oldest number still compared stands in is the oldest one kept.
        let oldest = base_of((contig.cast_unsigned() + 1).saturating_sub(WINDOW).max(1)).0;
        tx.prepare_cached("DELETE FROM seen_pack WHERE lane_id = ?1 AND base < ?2")
            .and_then(|mut delete| delete.execute(params![lane, oldest.cast_signed()]))
            .map_err(&fail)?;
        let mut rest = hashes.range(oldest..).peekable();
        while let Some(&(&seq, _)) = rest.peek() {
            let (base, _) = base_of(seq);
            let mut pack = load(tx, lane, base)?.unwrap_or_default();
            while let Some((&seq, &hash)) = rest.next_if(|(seq, _)| base_of(**seq).0 == base) {
                pack.insert(base_of(seq).1, hash);
            }
            tx.prepare_cached(
                "INSERT INTO seen_pack (lane_id, base, packed) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET packed = excluded.packed",
            )
            .and_then(|mut put| put.execute(params![lane, base.cast_signed(), write(&pack)]))
            .map_err(&fail)?;
        }
    }
    Ok(freed)
}

/// Compares a record's hash with what is kept of its number.
pub(super) fn compare(conn: &Connection, lane_id: i64, seq: u64, hash: u64) -> Result<Seen> {
    let fail = failed("look for a record");
    let key = head_key(lane_id, seq);
    let stored: Option<i64> = conn
        .prepare_cached("SELECT hash FROM head WHERE key = ?1")
        .and_then(|mut find| find.query_row([key], |row| row.get(0)).optional())
        .map_err(&fail)?;
    let verdict = |same| if same { Seen::Same } else { Seen::Other };
    if let Some(stored) = stored {
        return Ok(verdict(stored.cast_unsigned() == hash));
    }
    let (base, offset) = base_of(seq);
    let kept = load(conn, lane_id, base)?.and_then(|pack| pack.get(&offset).copied());
    Ok(kept.map_or(Seen::NotKept, |kept| verdict(kept == prefix(hash))))
}

fn prefix(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

/// Base of the row that a number stands in, and its offset there.
fn base_of(seq: u64) -> (u64, u16) {
    let offset = (seq - 1) % WINDOW;
    (seq - offset, u16::try_from(offset).unwrap_or(u16::MAX))
}

fn load(conn: &Connection, lane_id: i64, base: u64) -> Result<Option<Pack>> {
    let bytes: Option<Vec<u8>> = conn
        .prepare_cached("SELECT packed FROM seen_pack WHERE lane_id = ?1 AND base = ?2")
        .and_then(|mut find| {
            find.query_row(params![lane_id, base.cast_signed()], |row| row.get(0)).optional()
        })
        .map_err(failed("look for a record"))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let damaged =
        || StoreError::Damaged { what: format!("record of what was seen of lane {lane_id}") };
    read(&bytes).map(Some).ok_or_else(damaged)
}

fn write(pack: &Pack) -> Vec<u8> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &offset in pack.keys() {
        match runs.last_mut() {
            Some((start, more)) if *start + *more + 1 == offset => *more += 1,
            _ => runs.push((offset, 0)),
        }
    }
    let mut bytes = Vec::with_capacity(2 + 4 * runs.len() + 4 * pack.len());
    // At most every second of 4,096 numbers starts a run.
    bytes.extend(u16::try_from(runs.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(
        runs.iter().flat_map(|(start, more)| [start.to_le_bytes(), more.to_le_bytes()]).flatten(),
    );
    bytes.extend(pack.values().flat_map(|hash| hash.to_le_bytes()));
    bytes
}

fn read(bytes: &[u8]) -> Option<Pack> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    let (runs, hashes) = rest.split_at_checked(4 * usize::from(u16::from_le_bytes(*count)))?;
    let (hashes, odd) = hashes.as_chunks::<4>();
    let offsets: Vec<u16> = runs
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|[a, b, c, d]| {
            let (start, more) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
            start..=start.saturating_add(more)
        })
        .take(hashes.len() + 1)
        .collect();
    let whole = odd.is_empty() && offsets.len() == hashes.len();
    let hashes = hashes.iter().map(|bytes| u32::from_le_bytes(*bytes));
    whole.then(|| offsets.into_iter().zip(hashes).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_row_costs_four_bytes_a_record() {
        let pack: Pack = (0..4096).map(|offset| (offset, u32::from(offset))).collect();
        assert_eq!(write(&pack).len(), 6 + 4 * 4096);
    }

    #[test]
    fn rows_start_after_multiples_of_the_window() {
        assert_eq!(base_of(1), (1, 0));
        assert_eq!(base_of(4096), (1, 4095));
        assert_eq!(base_of(4097), (4097, 0));
    }

    #[test]
    fn a_cut_row_is_damage() {
        let bytes = write(&Pack::from([(1, 5), (2, 6), (9, 7)]));
        assert!((0..bytes.len()).all(|len| read(&bytes[..len]).is_none()));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(
            pack in proptest::collection::btree_map(0..4096_u16, any::<u32>(), 0..300),
        ) {
            prop_assert_eq!(read(&write(&pack)), Some(pack));
        }
    }
}
