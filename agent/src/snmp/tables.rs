//! What one device answered, by column and index.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
};

/// Numbers of an object identifier, or of the index at its end.
pub type Arcs = Box<[u32]>;

/// One value as the device gave it. "There is none" is no value and is not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// INTEGER.
    Integer(i64),
    /// Counter32, Gauge32, Unsigned32, `TimeTicks` (hundredths of a second), Counter64.
    Unsigned(u64),
    /// OCTET STRING, in raw bytes: hostile until it is cleaned.
    Bytes(Box<[u8]>),
    /// OBJECT IDENTIFIER.
    Oid(Arcs),
    /// `IpAddress`.
    Address(Ipv4Addr),
    /// A float or double within an Opaque (net-snmp's NET-SNMP-TC).
    Float(f64),
}

/// How far a column was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To its end: what is not here, the device does not have.
    Whole,
    /// Cut by a fault or a limit: what is not here is unknown.
    Partial,
}

/// The columns that were read. A scalar is a column of one row, whose index is 0.
#[derive(Debug, Default)]
pub struct Tables {
    columns: HashMap<Arcs, Column>,
}

#[derive(Debug)]
struct Column {
    extent: Extent,
    rows: BTreeMap<Arcs, Value>,
}

impl Tables {
    /// The value of one instance.
    #[must_use]
    pub fn get(&self, column: &[u32], index: &[u32]) -> Option<&Value> {
        self.columns.get(column)?.rows.get(index)
    }

    /// All instances of a column, by ascending index; none when it was not read or has none.
    pub fn rows<'a>(&'a self, column: &[u32]) -> impl Iterator<Item = (&'a [u32], &'a Value)> {
        let rows = self.columns.get(column).map(|column| &column.rows);
        rows.into_iter().flatten().map(|(index, value)| (&**index, value))
    }

    /// How far a column was read; `None` when it was not asked for.
    #[must_use]
    pub fn extent(&self, column: &[u32]) -> Option<Extent> {
        self.columns.get(column).map(|column| column.extent)
    }

    /// Keeps a value. A repeated index keeps its first value, as an agent that loops gives others.
    pub fn insert(&mut self, column: &[u32], index: &[u32], value: Value) {
        let rows = &mut self.column(column).rows;
        if !rows.contains_key(index) {
            rows.insert(index.into(), value);
        }
    }

    /// Says how far a column was read.
    pub fn set_extent(&mut self, column: &[u32], extent: Extent) {
        self.column(column).extent = extent;
    }

    fn column(&mut self, column: &[u32]) -> &mut Column {
        self.columns
            .entry(column.into())
            .or_insert_with(|| Column { extent: Extent::Partial, rows: BTreeMap::new() })
    }
}
