//! The stretch and the step of a question: read, defaulted, bounded.

use domain::sample::Span;
use jiff::{SignedDuration, Timestamp};
use store::Step;

use super::{MAX_ROWS, QueryError, Result, Time};
use crate::wrong::{Code, Wrong};

/// Length of a stretch unless the question says otherwise, in hours.
const DEFAULT_HOURS: i64 = 24;
/// Longest stretch of raw samples: the store keeps 14 days of them, and a read holds them all.
pub const MAX_RAW_MS: i64 = 7 * DAY_MS;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How finely an answer is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Samples as measured.
    Raw,
    /// Buckets on fixed edges.
    Buckets(Step),
}

impl Resolution {
    /// The code used in the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Buckets(Step::FiveMinutes) => "5m",
            Self::Buckets(Step::Hour) => "1h",
            Self::Buckets(Step::Day) => "1d",
        }
    }

    /// The resolution with this code.
    pub fn parse(code: &str) -> Result<Self> {
        let all = [Self::Raw, Step::FiveMinutes.into(), Step::Hour.into(), Step::Day.into()];
        let codes = all.map(Self::code);
        all.into_iter()
            .find(|resolution| resolution.code() == code)
            .ok_or_else(|| QueryError::bad("step", Wrong::none_of(&codes)))
    }

    /// What suits a stretch of this length: a few hundred rows.
    #[must_use]
    pub fn fitting(length_ms: i64) -> Self {
        if length_ms <= HOUR_MS {
            Self::Raw
        } else if length_ms <= 2 * DAY_MS {
            Step::FiveMinutes.into()
        } else if length_ms <= 60 * DAY_MS {
            Step::Hour.into()
        } else {
            Step::Day.into()
        }
    }

    /// Longest stretch at this resolution.
    #[must_use]
    pub fn max_ms(self) -> i64 {
        match self {
            Self::Raw => MAX_RAW_MS,
            Self::Buckets(step) => i64::try_from(MAX_ROWS).unwrap_or(i64::MAX) * step.ms(),
        }
    }
}

impl From<Step> for Resolution {
    fn from(step: Step) -> Self {
        Self::Buckets(step)
    }
}

/// Reads an instant: RFC 3339, `now`, or relative to now such as `-24h` (`s`, `m`, `h`, `d`).
pub fn instant(parameter: &'static str, text: &str, now: Timestamp) -> Result<Timestamp> {
    let bad = || {
        let reason = "expected RFC 3339 (2026-11-23T14:38:00Z), now, or -30m, -24h, -7d";
        QueryError::bad(parameter, Wrong::new(Code::Instant, reason))
    };
    if text == "now" {
        return Ok(now);
    }
    let Some(back) = text.strip_prefix('-') else {
        return text.parse().map_err(|_| bad());
    };
    let unit = match back.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some(_) | None => return Err(bad()),
    };
    // `parse` alone would take a second sign.
    let digits = &back[..back.len() - 1];
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let seconds = digits.parse::<i64>().ok().and_then(|count| count.checked_mul(unit));
    now.checked_sub(SignedDuration::from_secs(seconds.ok_or_else(bad)?)).map_err(|_| bad())
}

/// A stretch as asked, still without a resolution.
pub fn span(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<Span> {
    let to = to.map_or(Ok(now), |text| instant("to", text, now))?;
    let from = match from {
        Some(text) => instant("from", text, now)?,
        None => to
            .checked_sub(SignedDuration::from_hours(DEFAULT_HOURS))
            .map_err(|_| QueryError::bad("to", Wrong::new(Code::TooFarBack, "too far back")))?,
    };
    if from >= to {
        let (from, to) = (Time(from), Time(to));
        let wrong = Wrong::new(Code::EmptyStretch, format!("{from} is not before {to}"));
        return Err(QueryError::bad("from", wrong.found(from).expected(to)));
    }
    Ok(Span { from_ms: from.as_millisecond(), to_ms: to.as_millisecond() })
}

/// The stretch and the resolution, checked against each other.
pub fn bounded(span: Span, step: Option<&str>) -> Result<Resolution> {
    let length = span.to_ms - span.from_ms;
    let resolution = match step {
        Some(code) => Resolution::parse(code)?,
        None => Resolution::fitting(length),
    };
    if length > resolution.max_ms() {
        let (step, hours) = (resolution.code(), resolution.max_ms() / HOUR_MS);
        let reason = format!(
            "at step {step} a stretch has at most {hours} hours: take a later `from` or a wider `step`"
        );
        let wrong = Wrong::new(Code::StretchTooLong, reason).found(step).expected(hours);
        return Err(QueryError::bad("from", wrong));
    }
    Ok(resolution)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T14:00:00Z".parse().unwrap()
    }

    #[test]
    fn instants_are_absolute_or_relative() {
        for (text, expected) in [
            ("now", "2026-11-23T14:00:00Z"),
            ("-90s", "2026-11-23T13:58:30Z"),
            ("-30m", "2026-11-23T13:30:00Z"),
            ("-24h", "2026-11-22T14:00:00Z"),
            ("-7d", "2026-11-16T14:00:00Z"),
            ("2026-11-23T15:00:00+01:00", "2026-11-23T14:00:00Z"),
        ] {
            assert_eq!(instant("from", text, now()).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "-",
            "-h",
            "--1h",
            "-+1h",
            "-1y",
            "24h",
            "-99999999999999999999d",
            "-9223372036854775807d",
            "-200000000d",
            "2026-02-30T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "-1é",
            "1e400",
        ] {
            assert!(instant("from", text, now()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stretch_has_a_direction_and_a_default() {
        let day = span(None, None, now()).unwrap();
        assert_eq!(day.to_ms - day.from_ms, DAY_MS);
        assert!(span(Some("now"), Some("-1h"), now()).is_err());
        assert!(span(Some("now"), Some("now"), now()).is_err());
    }

    #[test]
    fn stretches_are_bounded_by_resolution() {
        let at = |length_ms, step| bounded(Span { from_ms: 0, to_ms: length_ms }, step);
        for code in ["raw", "5m", "1h", "1d"] {
            let max = Resolution::parse(code).unwrap().max_ms();
            assert_eq!(at(max, Some(code)).unwrap().code(), code);
            assert!(at(max + 1, Some(code)).is_err(), "{code}");
        }
        let century = 36_525 * DAY_MS;
        assert!(["raw", "5m", "1h", "1d"].iter().all(|step| at(century, Some(step)).is_err()));
        assert!(at(1, Some("1s")).is_err());
        assert_eq!(at(DAY_MS, None).unwrap().code(), "5m");
    }
}
