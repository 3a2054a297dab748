//! Answers as CSV (RFC 4180). A text that a spreadsheet would take for a formula gets a leading `'`;
//! numbers stay numbers. What has no place in a table is a header: the time, the coverage, the next page.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;

use super::{ask::Format, problem::Problem};
use crate::query::Time;

/// When the answer was made.
const AT: HeaderName = HeaderName::from_static("vigie-at");
/// What it covers.
const COVERAGE: HeaderName = HeaderName::from_static("vigie-coverage");

/// Key of the rows that follow, when there are any.
const NEXT: HeaderName = HeaderName::from_static("vigie-next");

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// Text that may be anything.
    Text(String),
    /// A number, an instant or a code of ours.
    Plain(String),
    /// Unknown.
    Empty,
}

impl Cell {
    /// Text, if there is one.
    pub(super) fn text(text: Option<&str>) -> Self {
        text.map_or(Self::Empty, |text| Self::Text(text.to_owned()))
    }

    /// A number, an instant or a code of ours, if there is one.
    pub(super) fn plain(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Empty, |value| Self::Plain(value.to_string()))
    }
}

/// An answer that has a table.
pub(super) trait Table {
    /// Names of the columns, as in the JSON document where they are the same.
    const HEADER: &'static [&'static str];

    /// When it was made.
    fn at(&self) -> Time;
    /// What it covers, in ASCII.
    fn coverage(&self) -> String;
    /// Key of the rows that follow, in ASCII.
    fn next(&self) -> Option<&str> {
        None
    }
    /// One row per item, as wide as the header.
    fn rows(&self) -> Vec<Vec<Cell>>;
}

/// Renders an answer.
pub(super) fn render<T: Table + Serialize>(
    answer: &T,
    format: Format,
) -> Result<Response, Problem> {
    match format {
        Format::Json => Ok(axum::Json(answer).into_response()),
        Format::Csv => {
            let mut response = write(answer)?.into_response();
            let headers = response.headers_mut();
            let csv = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
            headers.insert(header::CONTENT_TYPE, csv);
            let attachment = HeaderValue::from_static("attachment; filename=\"vigie.csv\"");
            headers.insert(header::CONTENT_DISPOSITION, attachment);
            let told = [(AT, answer.at().to_string()), (COVERAGE, answer.coverage())];
            let next = answer.next().map(|next| (NEXT, next.to_owned()));
            for (name, text) in told.into_iter().chain(next) {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    headers.insert(name, value);
                }
            }
            Ok(response)
        }
    }
}

fn write<T: Table>(answer: &T) -> Result<Vec<u8>, Problem> {
    let internal = |error: ::csv::Error| Problem::Internal(error.into());
    let mut writer =
        ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(T::HEADER).map_err(internal)?;
    for row in answer.rows() {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(text) => guard(text),
            Cell::Plain(text) => text.clone(),
            Cell::Empty => String::new(),
        });
        writer.write_record(cells).map_err(internal)?;
    }
    writer.into_inner().map_err(|error| Problem::Internal(error.into_error().into()))
}

/// Keeps a spreadsheet from reading a text as a formula.
fn guard(text: &str) -> String {
    let starts_formula = |character| {
        matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r' | '\n')
    };
    // Spreadsheets pass over leading blanks, and over what has no width.
    let shown = text.trim_start_matches(|character: char| {
        (character.is_whitespace() && !starts_formula(character))
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\0')
    });
    if shown.starts_with(starts_formula) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text() {
        for text in [
            "=HYPERLINK(\"http://x\",\"y\")",
            "+cmd|' /C calc'!A0",
            "-2+3",
            "@SUM(1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "  =1",
            "\u{a0}=1",
            "＝1",
            "\u{feff}=1",
            "\u{200b}@x",
        ] {
            assert_eq!(guard(text), format!("'{text}"), "{text:?}");
        }
        for text in ["", "Collège", "a=b", "'x", "3, rue X", " - "] {
            let guarded = guard(text);
            assert_eq!(guarded.starts_with('\''), text == "'x" || text == " - ", "{text:?}");
        }
    }
}
