//! What can be wrong with what was asked or given: words for people, a stable code for programs, so
//! that the reader's program can say it in the reader's language.

use std::fmt;

use domain::uai::UaiError;
use serde::{Serialize, Serializer};

/// Makes the codes, their texts and the list of all.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A kind of fault. Its text is part of the API: it never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The text used in the API.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

codes! {
    /// A file longer than it may be.
    FileTooLarge = "file-too-large",
    /// A file of too many lines.
    TooManyLines = "too-many-lines",
    /// A line longer than it may be.
    LineTooLong = "line-too-long",
    /// A file in UTF-16.
    Utf16 = "utf-16",
    /// A file in neither UTF-8 nor UTF-16.
    NotUtf8 = "not-utf-8",
    /// A file that names no site.
    Empty = "empty",
    /// A header that is no column.
    UnknownColumn = "unknown-column",
    /// A header that stands there twice.
    ColumnTwice = "column-twice",
    /// A needed header that is not there.
    ColumnMissing = "column-missing",
    /// A quote that is never closed.
    OpenQuote = "open-quote",
    /// A quote in the middle of a cell.
    StrayQuote = "stray-quote",
    /// Fewer or more cells than the header has.
    CellCount = "cell-count",
    /// A needed text that is empty.
    EmptyCell = "empty-cell",
    /// A text of too many characters.
    TextTooLong = "text-too-long",
    /// A text with a control character.
    ControlCharacter = "control-character",
    /// Not seven digits and a letter.
    UaiShape = "uai-shape",
    /// A UAI whose letter does not fit its digits.
    UaiKey = "uai-key",
    /// A UAI that an earlier line has.
    UaiTwice = "uai-twice",
    /// None of the words that are allowed.
    UnknownCode = "unknown-code",
    /// Not a number, or out of its range.
    NotInRange = "number",
    /// Latitude without longitude, or the reverse.
    HalfPosition = "half-position",
    /// Not one plain mail address.
    Email = "email",
    /// As many as there may be.
    Full = "full",
    /// More than an agent can be told to measure.
    PlanSize = "plan-size",
    /// A rung of the ladder, which no operator withdraws.
    Rung = "rung",
    /// A pair of the mesh, which no operator withdraws alone.
    Pair = "pair",
    /// A parent that is no target of the site.
    Parent = "parent",
    /// A member that the method has not.
    NotOfMethod = "not-of-method",
    /// Not a DNS name.
    DnsName = "dns-name",
    /// An SNMP community too short or too long.
    Community = "community",
    /// A name without printable characters, or too long.
    TargetName = "target-name",
    /// Not an IP address.
    IpAddress = "ip-address",
    /// The address of no machine.
    UnspecifiedAddress = "unspecified-address",
    /// The address of many machines.
    NotOneMachine = "not-one-machine",
    /// An IPv4 address written as IPv6.
    MappedAddress = "mapped-address",
    /// Port 0.
    PortZero = "port-zero",
    /// Not `host:port`.
    HostPort = "host-port",
    /// Not a URL of a web page.
    Url = "url",
    /// A URL too long, or with other than printable ASCII.
    UrlText = "url-text",
    /// A URL with a password.
    UrlCredentials = "url-credentials",
    /// A question that is not key=value pairs.
    NotPairs = "not-pairs",
    /// A question of too many keys.
    TooManyKeys = "too-many-keys",
    /// A key that stands there twice.
    KeyTwice = "key-twice",
    /// A key that the question does not know.
    UnknownKey = "unknown-key",
    /// A value longer than it may be.
    TooManyBytes = "too-many-bytes",
    /// Not a number.
    NotANumber = "not-a-number",
    /// Neither true nor false.
    NotTrueOrFalse = "not-true-or-false",
    /// A body that ended early.
    BodyCut = "body-cut",
    /// A body of another shape.
    BodyShape = "body-shape",
    /// Not the id of an agent.
    AgentId = "agent-id",
    /// A key of a page that was never given.
    Cursor = "cursor",
    /// Not an instant.
    Instant = "instant",
    /// An instant before all time.
    TooFarBack = "too-far-back",
    /// A start that is not before the end.
    EmptyStretch = "empty-stretch",
    /// A stretch too long for its step.
    StretchTooLong = "stretch-too-long",
    /// No metric of this name.
    UnknownMetric = "unknown-metric",
    /// A question without the metric it needs.
    MetricNeeded = "metric-needed",
    /// Raw samples are not put together.
    RawAggregate = "raw-aggregate",
    /// Codes have no mean.
    MeanOfCodes = "mean-of-codes",
    /// Codes have no percentile.
    PercentileOfCodes = "percentile-of-codes",
    /// More samples than one answer has.
    TooManySamples = "too-many-samples",
    /// Not a share above 0, up to 1.
    Share = "share",
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What kind of fault.
    pub code: Code,
    /// In words, for people.
    pub reason: String,
    /// What stands there, where a program needs it to say the same in another language.
    pub found: Option<String>,
    /// What should, likewise.
    pub expected: Option<String>,
}

impl Wrong {
    /// A fault that its code tells whole.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), found: None, expected: None }
    }

    /// With what stands there.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and references are passed alike")]
    pub fn found(self, found: impl ToString) -> Self {
        Self { found: Some(found.to_string()), ..self }
    }

    /// With what should stand there.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and references are passed alike")]
    pub fn expected(self, expected: impl ToString) -> Self {
        Self { expected: Some(expected.to_string()), ..self }
    }

    /// None of some words.
    #[must_use]
    pub fn none_of(words: &[&str]) -> Self {
        let words = words.join(", ");
        Self::new(Code::UnknownCode, format!("expected one of {words}")).expected(words)
    }

    /// A text of more than so many bytes.
    #[must_use]
    pub fn too_long(max: usize) -> Self {
        Self::new(Code::TooManyBytes, format!("more than {max} bytes")).expected(max)
    }

    /// A number outside its range.
    pub fn out_of(
        found: impl fmt::Display,
        min: impl fmt::Display,
        max: impl fmt::Display,
    ) -> Self {
        Self::new(Code::NotInRange, format!("{found} is not within {min} and {max}"))
            .found(found)
            .expected(format!("{min} .. {max}"))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl From<UaiError> for Wrong {
    fn from(error: UaiError) -> Self {
        let reason = error.to_string();
        match error {
            UaiError::Shape => Self::new(Code::UaiShape, reason),
            UaiError::Key { digits: _, expected, found } => {
                Self::new(Code::UaiKey, reason).found(found).expected(expected)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_has_a_text_of_its_own() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.text()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(texts.iter().all(|text| text.chars().all(plain)));
    }
}
