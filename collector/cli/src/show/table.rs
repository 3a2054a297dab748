//! Plain tables that fit a terminal and a mail.

use comfy_table::{ContentArrangement, Row, presets};

/// Widest line.
pub(super) const COLUMNS: u16 = 100;

/// Rows under a header; a long text is cut, so that there is one line per item.
pub(super) struct Table {
    grid: comfy_table::Table,
    rows: usize,
    height: usize,
}

/// Lines of a row of a [`Table::tall`] table.
const TALL: usize = 4;

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(COLUMNS)
            .set_header(header);
        Self { grid: table, rows: 0, height: 1 }
    }

    /// Lets a long text go on below instead of being cut.
    pub(super) fn tall(self) -> Self {
        Self { height: TALL, ..self }
    }

    /// Adds a row of texts that are safe for a terminal.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let mut row = Row::from(cells);
        row.max_height(self.height);
        self.grid.add_row(row);
        self.rows += 1;
    }

    /// The lines, or `empty` in place of the rows.
    pub(super) fn text(&self, empty: &str) -> String {
        if self.rows == 0 {
            return if empty.is_empty() { String::new() } else { format!("{empty}\n") };
        }
        let mut text = String::new();
        for line in self.grid.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Lines of at most [`COLUMNS`] characters, broken at blanks where there are any.
pub(super) fn wrap(text: &str) -> String {
    let indent: String = text.chars().take_while(|character| *character == ' ').collect();
    let mut lines = String::new();
    let mut line = indent.clone();
    let width = |text: &str| text.chars().count();
    for word in text.split_whitespace() {
        let glue = usize::from(line.len() > indent.len());
        if width(&line) + glue + width(word) > usize::from(COLUMNS) && line.len() > indent.len() {
            lines.push_str(&line);
            lines.push('\n');
            line.clone_from(&indent);
        } else if glue == 1 {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}
