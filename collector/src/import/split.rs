//! Splits delimited text into lines of cells (RFC 4180), strictly: a stray or open quote is told
//! with its line instead of swallowing the lines that follow.

use std::borrow::Cow;

use super::{MAX_LINE_BYTES, MAX_LINES, Reason};

/// Line number and cells, or what keeps the line from being read. Blank lines are left out.
pub(super) struct Lines<'a> {
    rest: &'a str,
    line: usize,
    separator: char,
}

impl<'a> Lines<'a> {
    /// Starts at the first line, which shows the separator.
    pub(super) fn new(text: &'a str) -> Self {
        let first = text.trim_start_matches(['\r', '\n']);
        let first = &first[..end_of_line(first.as_bytes())];
        let separator = [',', '\t', ';']
            .into_iter()
            .max_by_key(|separator| first.matches(*separator).count())
            .unwrap_or(';');
        Self { rest: text, line: 0, separator }
    }
}

impl Iterator for Lines<'_> {
    type Item = (usize, Result<Vec<String>, Reason>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            self.line += 1;
            if self.line > MAX_LINES {
                self.rest = "";
                return Some((self.line, Err(Reason::TooManyLines)));
            }
            let bytes = self.rest.as_bytes();
            let end = end_of_line(bytes);
            let line = &self.rest[..end];
            let newline = match bytes.get(end..) {
                Some([b'\r', b'\n', ..]) => 2,
                Some([_, ..]) => 1,
                Some([]) | None => 0,
            };
            self.rest = &self.rest[end + newline..];
            if line.len() > MAX_LINE_BYTES {
                return Some((self.line, Err(Reason::LineTooLong)));
            }
            if !line.trim().is_empty() {
                return Some((self.line, cells(line, self.separator)));
            }
        }
    }
}

fn end_of_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len())
}

/// A line break inside quotes is refused as an open quote: no cell of this file has a use for it,
/// and a forgotten quote would otherwise eat the lines below.
fn cells(line: &str, separator: char) -> Result<Vec<String>, Reason> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let (cell, behind) = cell(rest, separator)?;
        cells.push(cell.into_owned());
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(cells),
        }
    }
}

/// The first cell, and the text behind its separator if there is one.
fn cell(text: &str, separator: char) -> Result<(Cow<'_, str>, Option<&str>), Reason> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (cell, behind) = match text.split_once(separator) {
            Some((cell, behind)) => (cell, Some(behind)),
            None => (text, None),
        };
        return if cell.contains('"') {
            Err(Reason::StrayQuote)
        } else {
            Ok((Cow::Borrowed(cell), behind))
        };
    };
    let mut cell = String::new();
    let mut rest = quoted;
    loop {
        let (part, behind) = rest.split_once('"').ok_or(Reason::OpenQuote)?;
        cell.push_str(part);
        if let Some(behind) = behind.strip_prefix('"') {
            cell.push('"');
            rest = behind;
        } else if behind.is_empty() {
            return Ok((Cow::Owned(cell), None));
        } else {
            let behind = behind.strip_prefix(separator).ok_or(Reason::StrayQuote)?;
            return Ok((Cow::Owned(cell), Some(behind)));
        }
    }
}
