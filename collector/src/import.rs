//! Reads `sites.csv`: every line is checked before anything is kept, and every fault is told.
//!
//! The first line names the columns, in any order: `uai`, `name`, `type` and `zone` are needed;
//! `pupils`, `lot`, `address`, `latitude` and `longitude` may be left out. The separator (`;`, `,`
//! or a tabulator) is read off that line. Text is UTF-8, with or without a byte order mark.
//! Device and file texts are kept as they are; whoever shows them encodes them.

mod split;

use std::{collections::HashMap, fmt};

use domain::{
    site::{SiteFacts, SiteKind, UnknownCode, Zone},
    uai::{Uai, UaiError},
};

use crate::wrong::Code;

/// Largest file, in bytes.
pub const MAX_BYTES: usize = 10 << 20;
/// Most lines in a file, the header included.
pub const MAX_LINES: usize = 100_000;
/// Longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// Longest name or lot, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// Longest address, in characters.
pub const MAX_ADDRESS_CHARS: usize = 500;
/// Most pupils that one school can have.
pub const MAX_PUPILS: u32 = 100_000;
/// Characters of a faulty text that a fault repeats.
const FOUND_CHARS: usize = 60;

/// Columns that a file may have; the first four are needed.
pub const COLUMNS: [&str; 9] =
    ["uai", "name", "type", "zone", "pupils", "lot", "address", "latitude", "longitude"];
const NEEDED: usize = 4;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column's name, unless the line as a whole is meant.
    pub column: Option<&'static str>,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, column {column}: {}", self.line, self.reason),
            None => write!(f, "line {}: {}", self.line, self.reason),
        }
    }
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Longer than [`MAX_BYTES`].
    #[error("the file has more than {MAX_BYTES} bytes")]
    FileTooLarge,
    /// More than [`MAX_LINES`].
    #[error("the file has more than {MAX_LINES} lines")]
    TooManyLines,
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("the line has more than {MAX_LINE_BYTES} bytes")]
    LineTooLong,
    /// UTF-16, by its byte order mark or its NUL bytes.
    #[error("the file is UTF-16, save it as UTF-8")]
    Utf16,
    /// Neither UTF-8 nor UTF-16.
    #[error("the file is not UTF-8 (byte {0} of the line), save it as UTF-8")]
    NotUtf8(usize),
    /// No header, or no site below it.
    #[error("the file names no site")]
    Empty,
    /// A header that is none of [`COLUMNS`].
    #[error("unknown column {0:?}, expected {list}", list = COLUMNS.join(", "))]
    UnknownColumn(String),
    /// A header that stands there twice.
    #[error("the column stands there twice")]
    ColumnTwice,
    /// A needed header that is not there.
    #[error("the column is missing")]
    ColumnMissing,
    /// A quote that is never closed.
    #[error("a quote is opened and never closed")]
    OpenQuote,
    /// A quote in the middle of a cell, or text behind a closed one.
    #[error("a quote stands inside a cell; write the cell in quotes and double the quote")]
    StrayQuote,
    /// Fewer or more cells than the header.
    #[error("the line has {found} cells, the header has {expected}")]
    CellCount {
        /// Cells of the line.
        found: usize,
        /// Cells of the header.
        expected: usize,
    },
    /// A needed cell is empty.
    #[error("the cell is empty")]
    EmptyCell,
    /// Too many characters.
    #[error("the text has more than {0} characters")]
    TextTooLong(usize),
    /// A control character.
    #[error("the text has a control character")]
    Control,
    /// Not a UAI.
    #[error(transparent)]
    Uai(#[from] UaiError),
    /// A UAI that an earlier line has.
    #[error("the UAI stands in line {0} already")]
    UaiTwice(usize),
    /// None of the known types or zones.
    #[error("{fault}")]
    Code {
        /// The text.
        found: String,
        /// Which codes there are.
        fault: UnknownCode,
    },
    /// Not a number, or out of its range.
    #[error("{found:?} is not a number from {min} to {max}")]
    Number {
        /// The text.
        found: String,
        /// Smallest.
        min: i32,
        /// Largest.
        max: i32,
    },
    /// Latitude without longitude or the reverse.
    #[error("latitude and longitude come together")]
    HalfPosition,
}

impl Reason {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::FileTooLarge => Code::FileTooLarge,
            Self::TooManyLines => Code::TooManyLines,
            Self::LineTooLong => Code::LineTooLong,
            Self::Utf16 => Code::Utf16,
            Self::NotUtf8(_) => Code::NotUtf8,
            Self::Empty => Code::Empty,
            Self::UnknownColumn(_) => Code::UnknownColumn,
            Self::ColumnTwice => Code::ColumnTwice,
            Self::ColumnMissing => Code::ColumnMissing,
            Self::OpenQuote => Code::OpenQuote,
            Self::StrayQuote => Code::StrayQuote,
            Self::CellCount { .. } => Code::CellCount,
            Self::EmptyCell => Code::EmptyCell,
            Self::TextTooLong(_) => Code::TextTooLong,
            Self::Control => Code::ControlCharacter,
            Self::Uai(UaiError::Shape) => Code::UaiShape,
            Self::Uai(UaiError::Key { .. }) => Code::UaiKey,
            Self::UaiTwice(_) => Code::UaiTwice,
            Self::Code { .. } => Code::UnknownCode,
            Self::Number { .. } => Code::NotInRange,
            Self::HalfPosition => Code::HalfPosition,
        }
    }
}

impl Reason {
    /// What stands there, where the reason has such a thing.
    #[must_use]
    pub fn found(&self) -> Option<String> {
        Some(match self {
            Self::NotUtf8(at) | Self::UaiTwice(at) => at.to_string(),
            Self::UnknownColumn(found) | Self::Code { found, .. } | Self::Number { found, .. } => {
                found.clone()
            }
            Self::CellCount { found, .. } => found.to_string(),
            Self::Uai(UaiError::Key { found, .. }) => found.to_string(),
            Self::FileTooLarge
            | Self::TooManyLines
            | Self::LineTooLong
            | Self::Utf16
            | Self::Empty
            | Self::ColumnTwice
            | Self::ColumnMissing
            | Self::OpenQuote
            | Self::StrayQuote
            | Self::EmptyCell
            | Self::TextTooLong(_)
            | Self::Control
            | Self::Uai(UaiError::Shape)
            | Self::HalfPosition => return None,
        })
    }

    /// What should stand there, in the column that the reason is about.
    #[must_use]
    pub fn expected(&self, column: Option<&str>) -> Option<String> {
        let zones = || Zone::ALL.iter().map(|zone| zone.code()).collect::<Vec<_>>().join(", ");
        let kinds = || SiteKind::ALL.iter().map(|kind| kind.code()).collect::<Vec<_>>().join(", ");
        Some(match self {
            Self::UnknownColumn(_) => COLUMNS.join(", "),
            Self::CellCount { expected, .. } => expected.to_string(),
            Self::TextTooLong(max) => max.to_string(),
            Self::Uai(UaiError::Key { expected, .. }) => expected.to_string(),
            Self::Code { .. } if column == Some("zone") => zones(),
            Self::Code { .. } => kinds(),
            Self::Number { min, max, .. } => format!("{min} .. {max}"),
            Self::FileTooLarge
            | Self::TooManyLines
            | Self::LineTooLong
            | Self::Utf16
            | Self::NotUtf8(_)
            | Self::Empty
            | Self::ColumnTwice
            | Self::ColumnMissing
            | Self::OpenQuote
            | Self::StrayQuote
            | Self::EmptyCell
            | Self::Control
            | Self::Uai(UaiError::Shape)
            | Self::UaiTwice(_)
            | Self::HalfPosition => return None,
        })
    }
}

/// A site as somebody wrote it, not checked yet. Empty texts are as good as absent ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawSite<'a> {
    /// In the order of [`COLUMNS`].
    pub cells: [&'a str; COLUMNS.len()],
}

/// Checks one site; every fault, by column.
pub fn check(raw: &RawSite<'_>) -> Result<SiteFacts, Vec<(&'static str, Reason)>> {
    let mut faults = Vec::new();
    let [uai, name, kind, zone, pupils, lot, address, latitude, longitude] =
        raw.cells.map(str::trim);
    let uai = keep(&mut faults, "uai", uai.parse::<Uai>().map_err(Reason::from));
    let name = keep(&mut faults, "name", text(name, MAX_NAME_CHARS).and_then(needed));
    let kind = keep(&mut faults, "type", needed_code::<SiteKind>(kind));
    let zone = keep(&mut faults, "zone", needed_code::<Zone>(zone));
    let pupils = keep(&mut faults, "pupils", count(pupils));
    let lot = keep(&mut faults, "lot", text(lot, MAX_NAME_CHARS));
    let address = keep(&mut faults, "address", text(address, MAX_ADDRESS_CHARS));
    let latitude = keep(&mut faults, "latitude", degrees(latitude, 90));
    let longitude = keep(&mut faults, "longitude", degrees(longitude, 180));
    let position = match (latitude.flatten(), longitude.flatten()) {
        (Some(latitude), Some(longitude)) => Some((latitude, longitude)),
        (None, None) => None,
        _ if faults.iter().any(|(column, _)| matches!(*column, "latitude" | "longitude")) => None,
        (Some(_), None) => {
            faults.push(("longitude", Reason::HalfPosition));
            None
        }
        (None, Some(_)) => {
            faults.push(("latitude", Reason::HalfPosition));
            None
        }
    };
    match (uai, name, kind, zone) {
        (Some(uai), Some(name), Some(kind), Some(zone)) if faults.is_empty() => Ok(SiteFacts {
            uai,
            name,
            kind,
            zone,
            pupils: pupils.flatten(),
            lot: lot.flatten(),
            address: address.flatten(),
            position,
        }),
        _ => Err(faults),
    }
}

fn keep<T>(
    faults: &mut Vec<(&'static str, Reason)>,
    column: &'static str,
    checked: Result<T, Reason>,
) -> Option<T> {
    checked.map_err(|reason| faults.push((column, reason))).ok()
}

fn text(cell: &str, max: usize) -> Result<Option<String>, Reason> {
    if cell.chars().any(char::is_control) {
        Err(Reason::Control)
    } else if cell.chars().count() > max {
        Err(Reason::TextTooLong(max))
    } else {
        Ok((!cell.is_empty()).then(|| cell.to_owned()))
    }
}

fn needed(text: Option<String>) -> Result<String, Reason> {
    text.ok_or(Reason::EmptyCell)
}

fn needed_code<T: std::str::FromStr<Err = UnknownCode>>(cell: &str) -> Result<T, Reason> {
    if cell.is_empty() {
        return Err(Reason::EmptyCell);
    }
    // The fault repeats the text, so it is cut first; no code is near that long.
    let found = cut(cell);
    found.parse().map_err(|fault| Reason::Code { found, fault })
}

fn count(cell: &str) -> Result<Option<u32>, Reason> {
    if cell.is_empty() {
        return Ok(None);
    }
    match cell.parse() {
        Ok(pupils) if pupils <= MAX_PUPILS => Ok(Some(pupils)),
        Ok(_) | Err(_) => {
            Err(Reason::Number { found: cut(cell), min: 0, max: MAX_PUPILS.cast_signed() })
        }
    }
}

fn degrees(cell: &str, max: i32) -> Result<Option<f64>, Reason> {
    if cell.is_empty() {
        return Ok(None);
    }
    // French spreadsheets write a decimal comma.
    match cell.replace(',', ".").parse::<f64>() {
        Ok(degrees) if degrees.abs() <= f64::from(max) => Ok(Some(degrees)),
        Ok(_) | Err(_) => Err(Reason::Number { found: cut(cell), min: -max, max }),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(FOUND_CHARS).collect()
}

/// Reads a whole file: all its sites, or all its faults in the order of lines.
pub fn parse(bytes: &[u8]) -> Result<Vec<SiteFacts>, Vec<Fault>> {
    let whole = |reason| vec![Fault { line: 1, column: None, reason }];
    if bytes.len() > MAX_BYTES {
        return Err(whole(Reason::FileTooLarge));
    }
    let text = decode(bytes).map_err(|fault| vec![fault])?;
    let mut lines = split::Lines::new(text);
    let Some((header_line, header)) = lines.next() else { return Err(whole(Reason::Empty)) };
    let header =
        header.map_err(|reason| vec![Fault { line: header_line, column: None, reason }])?;
    let columns = read_header(header_line, &header)?;

    let (mut sites, mut faults) = (Vec::new(), Vec::new());
    let mut first_lines: HashMap<Uai, usize> = HashMap::new();
    for (line, cells) in lines {
        let checked = cells.and_then(|cells| {
            if cells.len() == columns.len() {
                Ok(cells)
            } else {
                Err(Reason::CellCount { found: cells.len(), expected: columns.len() })
            }
        });
        let cells = match checked {
            Ok(cells) => cells,
            Err(reason) => {
                faults.push(Fault { line, column: None, reason });
                continue;
            }
        };
        let mut raw = RawSite::default();
        for (column, cell) in columns.iter().zip(&cells) {
            raw.cells[*column] = cell;
        }
        match check(&raw) {
            Ok(site) => match first_lines.entry(site.uai) {
                std::collections::hash_map::Entry::Occupied(first) => faults.push(Fault {
                    line,
                    column: Some("uai"),
                    reason: Reason::UaiTwice(*first.get()),
                }),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(line);
                    sites.push(site);
                }
            },
            Err(found) => faults.extend(found.into_iter().map(|(column, reason)| Fault {
                line,
                column: Some(column),
                reason,
            })),
        }
    }
    match (faults.is_empty(), sites.is_empty()) {
        (false, _) => Err(faults),
        (true, true) => Err(vec![Fault { line: header_line, column: None, reason: Reason::Empty }]),
        (true, false) => Ok(sites),
    }
}

/// The file's text without its byte order mark.
fn decode(bytes: &[u8]) -> Result<&str, Fault> {
    let utf16 = bytes.starts_with(&[0xFF, 0xFE])
        || bytes.starts_with(&[0xFE, 0xFF])
        // Without a mark, ASCII in UTF-16 has a NUL in every other byte.
        || matches!(bytes, [0, 1..=0x7F, ..] | [1..=0x7F, 0, ..]);
    if utf16 {
        return Err(Fault { line: 1, column: None, reason: Reason::Utf16 });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let reason = Reason::NotUtf8(before.len() - start + 1);
        Fault { line: 1 + before.matches('\n').count(), column: None, reason }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// For each cell of the header the index of its column.
fn read_header(line: usize, header: &[String]) -> Result<Vec<usize>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut columns = Vec::with_capacity(COLUMNS.len());
    for cell in header {
        let name = cell.trim();
        match COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name)) {
            Some(column) if columns.contains(&column) => faults.push(Fault {
                line,
                column: Some(COLUMNS[column]),
                reason: Reason::ColumnTwice,
            }),
            Some(column) => columns.push(column),
            None => {
                let reason = Reason::UnknownColumn(cut(name));
                faults.push(Fault { line, column: None, reason });
            }
        }
        // A file of a million columns has told enough.
        if faults.len() > COLUMNS.len() {
            break;
        }
    }
    for (column, name) in COLUMNS.iter().enumerate().take(NEEDED) {
        if !columns.contains(&column) {
            faults.push(Fault { line, column: Some(name), reason: Reason::ColumnMissing });
        }
    }
    if faults.is_empty() { Ok(columns) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
