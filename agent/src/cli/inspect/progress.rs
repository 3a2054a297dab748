//! The progress of a long reading, on a terminal.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::super::words::Language;
use crate::snmp::Progress;

/// A short reading shows nothing.
const PATIENCE: Duration = Duration::from_millis(800);
/// Shortest time between two pictures.
const PERIOD: Duration = Duration::from_millis(100);
/// Characters of the bar.
const WIDTH: usize = 24;

/// A line that is written over itself on standard error.
pub(super) struct Bar {
    language: Language,
    is_shown: bool,
    /// When the next picture may be drawn; `None` where nobody watches.
    next: Option<Instant>,
}

impl Bar {
    pub(super) fn new(language: Language, is_terminal: bool) -> Self {
        let next = is_terminal.then(|| Instant::now() + PATIENCE);
        Self { language, is_shown: false, next }
    }

    pub(super) fn show(&mut self, of: Progress) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + PERIOD);
        self.is_shown = true;
        // A bar that can not be drawn is no reason to stop.
        let _ = write!(io::stderr(), "\r\x1b[K{}", picture(of, self.language));
    }

    /// Leaves no trace.
    pub(super) fn clear(&mut self) {
        self.next = None;
        if std::mem::take(&mut self.is_shown) {
            // A bar that can not be drawn is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn picture(of: Progress, language: Language) -> String {
    let done = (of.done * WIDTH).checked_div(of.wanted).unwrap_or(0).min(WIDTH);
    format!(
        "[{}{}] {}/{} {}, {} {}, {} {}",
        "#".repeat(done),
        "-".repeat(WIDTH - done),
        of.done,
        of.wanted,
        language.t("objets", "objects"),
        of.values,
        language.t("valeurs", "values"),
        of.requests,
        language.t("requêtes", "requests"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_with_what_is_done() {
        let of = |done, wanted| Progress { done, wanted, values: 812, requests: 14 };
        let half = picture(of(60, 120), Language::French);
        assert_eq!(half, "[############------------] 60/120 objets, 812 valeurs, 14 requêtes");
        assert!(
            picture(of(0, 0), Language::English)
                .starts_with("[------------------------] 0/0 objects")
        );
        assert!(picture(of(9, 3), Language::French).starts_with("[########################]"));
    }
}
