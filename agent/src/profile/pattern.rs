//! Regular expressions of profiles: ASCII only, in time that grows with the text and no faster.
//!
//! Also compiled into the build script.

use std::error::Error;

use regex_automata::{
    nfa::thompson::{self, pikevm::PikeVM},
    util::{primitives::PatternID, syntax},
};

/// Longest text that is searched, in bytes; what stands behind it does not count.
pub const MAX_SEARCHED: usize = 4096;
/// Most memory of one compiled expression, in bytes.
const MAX_COMPILED: usize = 256 << 10;

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub struct Pattern(PikeVM);

/// Why an expression does not compile.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the regular expression {pattern:?}")]
pub struct PatternError {
    /// The expression.
    pub pattern: String,
    /// What is wrong with it.
    pub source: Box<thompson::BuildError>,
}

impl PatternError {
    /// What is wrong with it, in some words.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut cause: &dyn Error = &*self.source;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        // The parser draws the expression and a caret before it says what is wrong.
        let text = cause.to_string();
        let last = text.lines().last().unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    }
}

impl Pattern {
    /// Compiles an expression.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        // The agent's log filter already brings this engine, without its tables of Unicode.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let limits = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_COMPILED));
        PikeVM::builder().syntax(syntax).thompson(limits).build(pattern).map(Self).map_err(
            |source| PatternError { pattern: pattern.to_owned(), source: Box::new(source) },
        )
    }

    /// Whether it stands anywhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(&mut self.0.create_cache(), searched(text))
    }

    /// The groups of the first match, the whole match first; a group that took no part is `None`.
    #[must_use]
    pub fn groups<'t>(&self, text: &'t str) -> Option<Vec<Option<&'t str>>> {
        let text = searched(text);
        let mut captures = self.0.create_captures();
        self.0.captures(&mut self.0.create_cache(), text, &mut captures);
        if !captures.is_match() {
            return None;
        }
        // Bytes are matched, so that a group could end within a character: then it is none.
        Some(
            (0..captures.group_len()).map(|at| text.get(captures.get_group(at)?.range())).collect(),
        )
    }

    /// The first group of the first match, or all of it where there is no group.
    #[must_use]
    pub fn first<'t>(&self, text: &'t str) -> Option<&'t str> {
        let groups = self.groups(text)?;
        groups.get(1).or(groups.first()).copied().flatten()
    }

    /// Number of groups beside the whole match.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.0.get_nfa().group_info().group_len(PatternID::ZERO).saturating_sub(1)
    }
}

fn searched(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_SEARCHED)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_group_counts_or_else_the_whole_match() {
        let groups = |pattern: &str, text: &str| {
            Pattern::new(pattern).unwrap().first(text).map(str::to_owned)
        };
        assert_eq!(groups(r"(?i)version ([\d.]+)", "IOS Version 12.2.1, x"), Some("12.2.1".into()));
        assert_eq!(groups(r"\d+", "a 17 b"), Some("17".into()));
        assert_eq!(groups(r"(a)|(b)", "b"), None);
        assert_eq!(groups(r"\d+", "none"), None);
        assert_eq!(Pattern::new("(a)(?:b)(c)").unwrap().group_count(), 2);
    }

    #[test]
    fn a_letter_that_is_cut_in_two_is_no_text() {
        assert_eq!(Pattern::new("^(.)").unwrap().first("é"), None);
        assert_eq!(Pattern::new("^(.*)$").unwrap().first("été"), Some("été"));
    }

    #[test]
    fn text_behind_the_bound_does_not_count() {
        let text = format!("{}needle", "é".repeat(MAX_SEARCHED));
        assert!(!Pattern::new("needle").unwrap().is_match(&text));
    }

    #[test]
    fn an_expression_that_grows_beyond_the_bound_is_refused() {
        assert!(Pattern::new("((a{100}){100}){100}").is_err());
        assert!(Pattern::new("(").is_err());
    }
}
