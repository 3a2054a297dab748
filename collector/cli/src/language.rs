//! French first, English on demand.

use std::ffi::OsString;

use crate::Environment;

/// Language of labels and messages. Documents (`--json`, `--csv`) have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    French,
    English,
}

impl Language {
    /// `--lang`, else the locale's, else French. Read before the command is, so that help and faults
    /// of the command itself are in it.
    pub(crate) fn choose(arguments: &[OsString], environment: &Environment) -> Self {
        let mut texts = arguments.iter().map(|argument| argument.to_str().unwrap_or_default());
        while let Some(text) = texts.next() {
            let value = match text.split_once('=') {
                Some(("--lang", value)) => Some(value),
                _ if text == "--lang" => texts.next(),
                _ => None,
            };
            match value {
                Some("en") => return Self::English,
                Some("fr") => return Self::French,
                Some(_) | None => {}
            }
        }
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| environment.get(name))
            .unwrap_or_default();
        if locale.starts_with("en") { Self::English } else { Self::French }
    }

    /// One of two texts.
    pub(crate) fn pick<T>(self, french: T, english: T) -> T {
        match self {
            Self::French => french,
            Self::English => english,
        }
    }

    /// A number with at most `digits` decimals, no trailing zeros.
    pub(crate) fn number(self, value: f64, digits: usize) -> String {
        let text = format!("{value:.digits$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            text.as_str()
        };
        let text = if text == "-0" { "0" } else { text };
        match self {
            Self::French => text.replace('.', ","),
            Self::English => text.to_owned(),
        }
    }

    /// A share as a percentage.
    pub(crate) fn percent(self, ratio: f64) -> String {
        // Rounded down, so that 100 % means all of it.
        let percent = (ratio * 1_000.0).floor() / 10.0;
        format!("{} %", self.number(percent, 1))
    }

    /// A length of time in its two largest units.
    pub(crate) fn duration(self, seconds: i64) -> String {
        let day = self.pick("j", "d");
        match seconds.max(0) {
            s @ ..60 => format!("{s} s"),
            s @ ..3_600 => format!("{} min {:02} s", s / 60, s % 60),
            s @ ..86_400 => format!("{} h {:02} min", s / 3_600, s % 3_600 / 60),
            s => format!("{} {day} {:02} h", s / 86_400, s % 86_400 / 3_600),
        }
    }

    /// A value in the unit that suits it: octets per second as bits, fractions of seconds in ms.
    pub(crate) fn value(self, value: f64, unit: &str) -> String {
        match unit {
            "octets/s" => self.scaled(value * 8.0, "bit/s", 1_000.0),
            "bit/s" => self.scaled(value, "bit/s", 1_000.0),
            "bytes" | "octets" => self.scaled(value, self.pick("o", "B"), 1_024.0),
            "s" if value.abs() < 1.0 => format!("{} ms", self.number(value * 1e3, 3)),
            "ratio" => format!("{} %", self.number(value * 100.0, 2)),
            "celsius" => format!("{} °C", self.number(value, 1)),
            "code" | "samples" => self.number(value, 3),
            _ => format!("{} {unit}", self.number(value, 3)),
        }
    }

    fn scaled(self, value: f64, unit: &str, step: f64) -> String {
        let prefixes =
            if step > 1_000.0 { ["", "Ki", "Mi", "Gi", "Ti"] } else { ["", "k", "M", "G", "T"] };
        let mut scaled = value;
        let mut at = 0;
        while scaled.abs() >= step && at + 1 < prefixes.len() {
            scaled /= step;
            at += 1;
        }
        format!("{} {}{unit}", self.number(scaled, 2), prefixes[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(arguments: &[&str], variables: &[(&str, &str)]) -> Language {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Language::choose(&arguments, &Environment { variables, terminal: false })
    }

    #[test]
    fn french_unless_asked_otherwise() {
        assert_eq!(chosen(&[], &[]), Language::French);
        assert_eq!(chosen(&[], &[("LANG", "C.UTF-8")]), Language::French);
        assert_eq!(chosen(&[], &[("LANG", "en_GB.UTF-8")]), Language::English);
        assert_eq!(chosen(&[], &[("LC_ALL", "fr_FR"), ("LANG", "en_GB")]), Language::French);
        assert_eq!(chosen(&["--lang", "en"], &[]), Language::English);
        assert_eq!(chosen(&["--lang=fr"], &[("LANG", "en_GB")]), Language::French);
    }

    #[test]
    fn figures_read_well() {
        let (fr, en) = (Language::French, Language::English);
        assert_eq!(fr.value(1_562_500.0, "octets/s"), "12,5 Mbit/s");
        assert_eq!(en.value(0.012_345, "s"), "12.345 ms");
        assert_eq!(fr.value(0.0, "octets/s"), "0 bit/s");
        assert_eq!(fr.value(1_536.0, "bytes"), "1,5 Kio");
        assert_eq!(fr.value(0.0125, "ratio"), "1,25 %");
        assert_eq!(fr.value(-0.01, "celsius"), "0 °C");
        assert_eq!(fr.percent(0.99999), "99,9 %");
        assert_eq!(fr.percent(1.0), "100 %");
        assert_eq!(fr.duration(59), "59 s");
        assert_eq!(fr.duration(3_661), "1 h 01 min");
        assert_eq!(fr.duration(90_000), "1 j 01 h");
    }
}
