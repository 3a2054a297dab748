//! A table of figures, each beside the best peer and the limit.

use std::fmt::Write as _;

/// Least width of the column of names; a longer name widens it.
const NAME_WIDTH: usize = 44;

/// Which side of its limit a figure must be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The limit or less.
    Below,
    /// The limit or more.
    Above,
}

/// A figure.
#[derive(Debug, Clone)]
struct Row {
    name: String,
    ours: f64,
    unit: &'static str,
    peer: String,
    limit: Option<(Side, f64)>,
}

impl Row {
    fn holds(&self) -> bool {
        match self.limit {
            None => true,
            Some((Side::Below, limit)) => self.ours <= limit,
            Some((Side::Above, limit)) => self.ours >= limit,
        }
    }
}

/// Figures of one bench.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    rows: Vec<Row>,
}

impl Figures {
    /// Adds a figure that has a limit. `peer` is what others need, in words.
    pub fn limited(
        &mut self,
        name: impl Into<String>,
        (ours, unit): (f64, &'static str),
        peer: impl Into<String>,
        limit: (Side, f64),
    ) {
        let row = Row { name: name.into(), ours, unit, peer: peer.into(), limit: Some(limit) };
        self.rows.push(row);
    }

    /// Adds a figure that explains another.
    pub fn told(&mut self, name: impl Into<String>, ours: f64, unit: &'static str) {
        let row = Row { name: name.into(), ours, unit, peer: String::new(), limit: None };
        self.rows.push(row);
    }

    /// Whether every limit holds.
    #[must_use]
    pub fn hold(&self) -> bool {
        self.rows.iter().all(Row::holds)
    }

    /// The table: figure, ours, best peer, limit, verdict.
    #[must_use]
    pub fn table(&self) -> String {
        let names = self.rows.iter().map(|row| row.name.chars().count());
        let wide = names.max().unwrap_or(0).max(NAME_WIDTH);
        let mut text = format!(
            "{:<wide$} | {:>16} | {:<44} | {:>16} | verdict\n",
            "figure", "ours", "best peer", "limit"
        );
        for row in &self.rows {
            let (limit, verdict) = match row.limit {
                None => (String::new(), ""),
                Some((side, limit)) => {
                    let sign = if side == Side::Below { "<=" } else { ">=" };
                    let verdict = if row.holds() { "holds" } else { "MISSED" };
                    (format!("{sign} {}", number(limit, row.unit)), verdict)
                }
            };
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{:<wide$} | {:>16} | {:<44} | {limit:>16} | {verdict}",
                row.name,
                number(row.ours, row.unit),
                row.peer
            );
        }
        text
    }
}

/// Three figures that count, and the unit.
fn number(value: f64, unit: &str) -> String {
    let (value, prefix) = if value >= 1e6 { (value / 1e6, " M") } else { (value, " ") };
    let text = if value >= 1_000.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    format!("{text}{prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_on_the_wrong_side_of_its_limit_is_a_miss() {
        let with = |side, ours| {
            let mut figures = Figures::default();
            figures.told("beside", 9.0, "MB");
            figures.limited("figure", (ours, "B"), "2 peer", (side, 3.0));
            figures
        };
        assert!(with(Side::Below, 3.0).hold() && with(Side::Above, 3.0).hold());
        assert!(!with(Side::Below, 3.01).hold() && !with(Side::Above, 2.99).hold());
        assert!(with(Side::Below, 4.0).table().contains("MISSED"));
        assert!(!with(Side::Below, f64::NAN).hold());
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.123, 12.0, 2.5, 123.46, 12_345.6, 1.234e6].map(|n| number(n, "B"));
        assert_eq!(texts, ["0.12 B", "12 B", "2.50 B", "123.5 B", "12346 B", "1.23 MB"]);
    }
}
