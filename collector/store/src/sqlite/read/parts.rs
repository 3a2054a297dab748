//! Rows of the tables of parts, of which only the bytes asked for are read: a part is some overflow
//! pages long, and mostly one series of it is wanted.

use domain::id::{GroupId, SiteId};
use rusqlite::{Connection, MAIN_DB, OptionalExtension, blob::Blob, params};

use super::super::{
    blocks::{self, Stretch},
    failed,
};
use crate::Result;

/// First bytes read of a part: the whole index of most.
const FRONT_BYTES: usize = 1 << 10;

const ACTION: &str = "read parts";

/// A table of parts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    /// Samples.
    Block,
    /// Five-minute buckets.
    Fine,
    /// Five-minute buckets of access ports, once their samples are deleted.
    Access,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Fine => "rollup_fine",
            Self::Access => "rollup_access",
        }
    }

    fn find(self) -> &'static str {
        match self {
            Self::Block => {
                "SELECT id, length(part) FROM block WHERE site = ?1 AND grp = ?2 AND day = ?3
                 AND first <= ?4 ORDER BY first DESC LIMIT 1"
            }
            Self::Fine => {
                "SELECT id, length(part) FROM rollup_fine WHERE site = ?1 AND grp = ?2 AND day = ?3
                 AND first <= ?4 ORDER BY first DESC LIMIT 1"
            }
            Self::Access => {
                "SELECT id, length(part) FROM rollup_access WHERE site = ?1 AND grp = ?2 AND day = ?3
                 AND first <= ?4 ORDER BY first DESC LIMIT 1"
            }
        }
    }
}

/// Reads parts of one table, inside one transaction.
pub(crate) struct Parts<'c> {
    conn: &'c Connection,
    table: Table,
    /// Moved from row to row: cheaper than opening another.
    open: Option<Blob<'c>>,
}

impl<'c> Parts<'c> {
    pub(crate) fn new(conn: &'c Connection, table: Table) -> Self {
        Self { conn, table, open: None }
    }

    /// The items of the part that may hold the first of some series (ascending), as far as they lie
    /// between the first and the last of these. `None`: no part begins at or before the first.
    ///
    /// # Errors
    /// When the database can not be read, or the part is damaged.
    pub(crate) fn find(
        &mut self,
        (site, grp): (SiteId, GroupId),
        day: i64,
        series: &[i64],
    ) -> Result<Option<Stretch>> {
        let fail = failed(ACTION);
        let (Some(&first), Some(&last)) = (series.first(), series.last()) else { return Ok(None) };
        let row: Option<(i64, u32)> = self
            .conn
            .prepare_cached(self.table.find())
            .and_then(|mut find| {
                let row = params![site.0, grp.0, day, first];
                find.query_row(row, |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(&fail)?;
        let Some((row, length)) = row else { return Ok(None) };
        let length = length as usize;
        let blob = match &mut self.open {
            Some(blob) => {
                blob.reopen(row).map_err(&fail)?;
                blob
            }
            none => {
                let name = self.table.name();
                let blob = self.conn.blob_open(MAIN_DB, name, "part", row, true);
                none.insert(blob.map_err(&fail)?)
            }
        };
        let read = |from: usize, to: usize| {
            let mut bytes = vec![0; to - from];
            blob.read_at_exact(&mut bytes, from).map_err(failed(ACTION)).map(|()| bytes)
        };
        let mut front = FRONT_BYTES.min(length);
        // An index that does not end in what was read of it is long, or damaged if that was all.
        let mut stretch = loop {
            match Stretch::find(&read(0, front)?, first..=last) {
                Err(_) if front < length => front = (front * 8).min(length),
                found => break found?,
            }
        };
        let bytes = stretch.place();
        if bytes.end > length {
            return Err(blocks::damaged_part());
        }
        stretch.fill(read(bytes.start, bytes.end)?);
        Ok(Some(stretch))
    }
}
