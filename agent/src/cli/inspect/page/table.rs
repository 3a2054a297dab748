//! Columns of text, as wide as what is in them.

use crate::inspect::mib::clean;

/// Widest cell, in characters, but for the last of a row.
const MAX_CELL: usize = 48;

/// Where a column's texts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows of `N` cells; a column without any text is left out.
pub(super) struct Table<const N: usize> {
    align: [Align; N],
    head: Option<[String; N]>,
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(align: [Align; N]) -> Self {
        Self { align, head: None, rows: Vec::new() }
    }

    pub(super) fn head(&mut self, head: [&str; N]) {
        self.head = Some(head.map(str::to_owned));
    }

    /// Texts come from devices: what could act on a terminal is taken out here too.
    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| clean(cell.as_bytes())));
    }

    pub(super) fn text(&self) -> String {
        let is_used: [bool; N] =
            std::array::from_fn(|at| self.rows.iter().any(|row| !row[at].is_empty()));
        let last = is_used.iter().rposition(|used| *used).unwrap_or(0);
        let widths: [usize; N] = std::array::from_fn(|at| {
            let cells = self.head.iter().chain(&self.rows).map(|row| cut(&row[at], at == last));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        });
        let mut text = String::new();
        for row in self.head.iter().filter(|_| !self.rows.is_empty()).chain(&self.rows) {
            let mut line = String::new();
            for at in (0..N).filter(|at| is_used[*at]) {
                let cell = cut(&row[at], at == last);
                let gap = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
                line.push_str("  ");
                match self.align[at] {
                    Align::Left => line.extend([cell.as_str(), gap.as_str()]),
                    Align::Right => line.extend([gap.as_str(), cell.as_str()]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn cut(cell: &str, is_last: bool) -> String {
    if is_last || cell.chars().count() <= MAX_CELL {
        return cell.to_owned();
    }
    cell.chars().take(MAX_CELL - 1).chain(['…']).collect()
}
