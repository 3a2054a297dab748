//! What references and texts give on one device.

use std::borrow::Cow;

use super::{
    syntax::{Arcs, Chars, MAX_ARCS, Piece, Reference, Row, Slice},
    text,
};
use crate::snmp::tables::{Tables, Value};

/// Most characters of a text within an index.
const MAX_INDEX_TEXT: usize = 128;

/// The value of `reference` in the row of `index`.
#[must_use]
pub fn value<'t>(
    reference: &Reference,
    tables: &'t Tables,
    index: &[u32],
) -> Option<Cow<'t, Value>> {
    match reference {
        Reference::Column(column, row) => {
            let row = row_of(column, row, tables, index)?;
            tables.get(column, &row).map(Cow::Borrowed)
        }
        Reference::Index(slice) => Some(Cow::Owned(match part(index, *slice)? {
            [arc] => Value::Unsigned(u64::from(*arc)),
            arcs => Value::Oid(arcs.into()),
        })),
        Reference::IndexText(chars) => {
            letters(index, *chars).map(|text| Cow::Owned(Value::Bytes(text)))
        }
    }
}

/// The full name of the instance that `reference` reads in the row of `index`.
#[must_use]
pub fn instance(reference: &Reference, tables: &Tables, index: &[u32]) -> Option<Arcs> {
    match reference {
        Reference::Column(column, row) => {
            let row = row_of(column, row, tables, index)?;
            Some([column, &*row].concat().into())
        }
        Reference::Index(_) | Reference::IndexText(_) => None,
    }
}

/// Indexes of the rows that `reference` makes, ascending; at most `limit`.
#[must_use]
pub fn rows(reference: &Reference, tables: &Tables, limit: usize) -> Vec<Arcs> {
    match reference {
        Reference::Column(column, Row::Same) => {
            tables.rows(column).take(limit).map(|(index, _)| index.into()).collect()
        }
        Reference::Column(column, Row::Fixed(index)) => {
            tables.get(column, index).map(|_| index.clone()).into_iter().collect()
        }
        Reference::Column(_, Row::Pointer(pointer)) => rows(pointer, tables, limit),
        Reference::Column(_, Row::Part(_)) | Reference::Index(_) | Reference::IndexText(_) => {
            Vec::new()
        }
    }
}

/// A text whose pieces are put together for the row of `index`; `None` when one of them is nothing.
/// `lookup` knows the maps. As long as the values are: [`text::shown`] bounds it.
#[must_use]
pub fn compose(
    pieces: &[Piece],
    tables: &Tables,
    index: &[u32],
    lookup: &dyn Fn(&str, &str) -> Option<String>,
) -> Option<String> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Value { reference, map } => {
                let value = value(reference, tables, index)?;
                let text = text::text(&value)?;
                match map {
                    Some(map) => out.push_str(&lookup(map, &text::key(&value, &text))?),
                    None => out.push_str(&text),
                }
            }
        }
    }
    let out = out.trim();
    (!out.is_empty()).then(|| out.to_owned())
}

fn row_of<'i>(
    column: &[u32],
    row: &'i Row,
    tables: &Tables,
    index: &'i [u32],
) -> Option<Cow<'i, [u32]>> {
    match row {
        Row::Same => Some(Cow::Borrowed(index)),
        Row::Fixed(fixed) => Some(Cow::Borrowed(fixed)),
        Row::Part(slice) => part(index, *slice).map(Cow::Borrowed),
        Row::Pointer(pointer) => {
            let pointer = value(pointer, tables, index)?;
            pointed(column, &pointer, tables).map(Cow::Owned)
        }
    }
}

/// The index that a pointer's value names.
fn pointed(column: &[u32], pointer: &Value, tables: &Tables) -> Option<Vec<u32>> {
    match pointer {
        Value::Integer(number) => u32::try_from(*number).ok().map(|arc| vec![arc]),
        Value::Unsigned(number) => u32::try_from(*number).ok().map(|arc| vec![arc]),
        Value::Oid(arcs) => {
            // A RowPointer names the first accessible column of the row (RFC 2579).
            let table = column.split_last().map(|(_, table)| table)?;
            let row = arcs.strip_prefix(table).and_then(|rest| rest.get(1..));
            Some(row.unwrap_or(arcs).to_vec())
        }
        Value::Address(address) => Some(address.octets().map(u32::from).to_vec()),
        Value::Bytes(bytes) => {
            let number = str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
            let letters = || bytes.iter().take(MAX_ARCS).copied().map(u32::from);
            let length = u32::try_from(bytes.len()).ok()?;
            let ways = [
                number.map(|arc| vec![arc]),
                Some([length].into_iter().chain(letters()).collect()),
                Some(letters().collect()),
            ];
            ways.into_iter().flatten().find(|index| tables.get(column, index).is_some())
        }
        Value::Float(_) => None,
    }
}

/// Arcs of an index, where it has them.
fn part(index: &[u32], slice: Slice) -> Option<&[u32]> {
    let (first, last) = (position(index, slice.first)?, position(index, slice.last)?);
    index.get(first..=last).filter(|arcs| !arcs.is_empty())
}

/// From 1 on, or from the end, to an offset.
fn position(index: &[u32], number: i8) -> Option<usize> {
    let distance = usize::from(number.unsigned_abs());
    match number {
        0 => None,
        1.. => Some(distance - 1).filter(|at| *at < index.len()),
        _ => index.len().checked_sub(distance),
    }
}

fn letters(index: &[u32], chars: Chars) -> Option<Box<[u8]>> {
    let arcs = match chars {
        Chars::Rest(first) => index.get(position(index, first)?..)?,
        Chars::Prefixed(first) => {
            let at = position(index, first)?;
            let length = usize::try_from(*index.get(at)?).ok()?;
            index.get(at + 1..)?.get(..length)?
        }
    };
    if arcs.len() > MAX_INDEX_TEXT {
        return None;
    }
    arcs.iter().map(|arc| u8::try_from(*arc).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::syntax;

    fn resolve(name: &str) -> Option<Arcs> {
        let column = match name {
            "name" => 1,
            "pointer" => 2,
            "row" => 3,
            "other" => 4,
            _ => return None,
        };
        Some([1, 3, 9, 1, column].into())
    }

    fn tables() -> Tables {
        let mut tables = Tables::default();
        let mut keep = |column: &str, index: &[u32], value| {
            tables.insert(&resolve(column).unwrap(), index, value);
        };
        keep("name", &[1], Value::Bytes((*b"first").into()));
        keep("name", &[2, 7], Value::Bytes((*b"second").into()));
        keep("name", &[3, 97, 98, 99], Value::Bytes((*b"by text").into()));
        keep("pointer", &[5], Value::Integer(1));
        keep("pointer", &[6], Value::Integer(-1));
        keep("pointer", &[7], Value::Bytes((*b"abc").into()));
        keep("row", &[5], Value::Oid([1, 3, 9, 1, 1, 2, 7].into()));
        keep("row", &[6], Value::Oid([2, 7].into()));
        keep("other", &[5], Value::Integer(5));
        tables
    }

    fn read(text: &str, index: &[u32]) -> Option<String> {
        let pieces = syntax::text(text, &resolve).unwrap();
        let lookup = |map: &str, key: &str| (map == "m" && key == "1").then(|| "one".to_owned());
        compose(&pieces, &tables(), index, &lookup)
    }

    #[test]
    fn a_reference_reads_its_row_an_instance_or_a_part_of_the_index() {
        assert_eq!(read("{name}", &[1]).as_deref(), Some("first"));
        assert_eq!(read("{name}", &[2]), None);
        assert_eq!(read("{name.2.7}", &[9]).as_deref(), Some("second"));
        assert_eq!(read("{name#2}", &[9, 1]).as_deref(), Some("first"));
        assert_eq!(read("{name#-2--1}", &[9, 2, 7]).as_deref(), Some("second"));
        assert_eq!(read("{name#3}", &[9, 1]), None);
    }

    #[test]
    fn a_pointer_is_a_number_a_row_an_index_or_a_text() {
        assert_eq!(read("{name@pointer}", &[5]).as_deref(), Some("first"));
        assert_eq!(read("{name@pointer}", &[6]), None);
        assert_eq!(read("{name@pointer}", &[7]).as_deref(), Some("by text"));
        assert_eq!(read("{name@row}", &[5]).as_deref(), Some("second"));
        assert_eq!(read("{name@row}", &[6]).as_deref(), Some("second"));
        assert_eq!(read("{name@pointer@other}", &[5]).as_deref(), Some("first"));
    }

    #[test]
    fn the_index_is_a_number_or_a_text() {
        assert_eq!(read("{index}", &[3, 97, 98, 99]).as_deref(), Some("3.97.98.99"));
        assert_eq!(read("Slot {index#1}", &[4, 1]).as_deref(), Some("Slot 4"));
        assert_eq!(read("{index$1}", &[3, 97, 98, 99, 4]).as_deref(), Some("abc"));
        assert_eq!(read("{index$2-}", &[3, 97, 98]).as_deref(), Some("ab"));
        assert_eq!(read("{index$1}", &[9, 97, 98]), None);
        assert_eq!(read("{index$1}", &[2, 970, 98]), None);
    }

    #[test]
    fn a_map_gives_nothing_for_what_it_does_not_have() {
        assert_eq!(read("{pointer|m}", &[5]).as_deref(), Some("one"));
        assert_eq!(read("{pointer|m}", &[6]), None);
    }
}
