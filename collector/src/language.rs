//! French first, English on demand: `--lang`, else the locale's language, else French. Reasons of
//! faults and logs are English, as keys of files and fields of logs are.

use std::ffi::OsString;

/// Language of help and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// French.
    French,
    /// English.
    English,
}

impl Language {
    /// Read before the command is, so that its help is in it.
    #[must_use]
    pub fn choose(arguments: &[OsString], locale: &str) -> Self {
        let mut texts = arguments.iter().filter_map(|argument| argument.to_str());
        while let Some(text) = texts.next() {
            let value = match text.split_once('=') {
                Some(("--lang", value)) => Some(value),
                Some(_) => None,
                None => (text == "--lang").then(|| texts.next()).flatten(),
            };
            match value {
                Some("en") => return Self::English,
                Some("fr") => return Self::French,
                Some(_) | None => {}
            }
        }
        if locale.starts_with("en") { Self::English } else { Self::French }
    }

    /// One of two texts.
    #[must_use]
    pub fn pick(self, french: &'static str, english: &'static str) -> &'static str {
        match self {
            Self::French => french,
            Self::English => english,
        }
    }
}

/// Name of the locale in which words are wanted; empty when the environment has none.
#[must_use]
pub fn locale() -> String {
    let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
    let mut values = names.into_iter().filter_map(|name| std::env::var(name).ok());
    values.find(|value| !value.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn french_unless_asked_otherwise() {
        let chosen = |words: &[&str], locale| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Language::choose(&words, locale)
        };
        assert_eq!(chosen(&["vigie-collector"], "C.UTF-8"), Language::French);
        assert_eq!(chosen(&["vigie-collector"], "en_GB.UTF-8"), Language::English);
        assert_eq!(chosen(&["vigie-collector", "--lang", "fr"], "en_GB"), Language::French);
        assert_eq!(chosen(&["vigie-collector", "--lang=en"], ""), Language::English);
    }
}
