//! Rows to values and back.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{
    Connection, OptionalExtension, Params, Row,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

/// A time, stored as Unix milliseconds.
pub(super) struct Ms(pub(super) Timestamp);

impl FromSql for Ms {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let ms = i64::column_result(value)?;
        if ms == Timestamp::MAX.as_millisecond() {
            // "For ever", which is not at a whole millisecond and would not be read back.
            return Ok(Self(Timestamp::MAX));
        }
        let time = Timestamp::from_millisecond(ms);
        time.map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for Ms {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millisecond().into())
    }
}

/// A value stored as the text that it parses from.
pub(super) struct Parsed<T>(pub(super) T);

impl<T> FromSql for Parsed<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let parsed = value.as_str()?.parse().map_err(|error| FromSqlError::Other(Box::new(error)));
        parsed.map(Self)
    }
}

/// Text that is none of a closed list's codes.
#[derive(Debug, thiserror::Error)]
#[error("unknown code {0:?}")]
struct UnknownCode(String);

/// The column's text, as `from_code` understands it.
pub(super) fn code<T>(
    row: &Row<'_>,
    column: usize,
    from_code: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?;
    let text = text.as_str()?;
    from_code(text)
        .ok_or_else(|| FromSqlError::Other(Box::new(UnknownCode(text.to_owned()))).into())
}

/// Every row of a question.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    conn.prepare_cached(sql)?.query_map(params, map)?.collect()
}

/// The row of a question that has at most one.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    conn.prepare_cached(sql)?.query_row(params, map).optional()
}

/// Runs a change; returns the number of rows changed.
pub(super) fn change(conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
    conn.prepare_cached(sql)?.execute(params)
}
