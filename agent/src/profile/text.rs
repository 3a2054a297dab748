//! Values of devices as texts and numbers. What a device says is hostile: control characters go, length
//! is bounded, and nothing that is not a finite number becomes one.

use std::{borrow::Cow, net::IpAddr};

use super::syntax::dotted;
use crate::snmp::tables::Value;

/// Longest text that is shown, in characters.
pub const MAX_SHOWN: usize = 255;
/// Longest value that is looked at, in bytes.
const MAX_RAW: usize = 4096;
/// Longest binary value that is written out byte by byte.
const MAX_BINARY: usize = 8;
/// Most digits of a number in a text.
const MAX_DIGITS: usize = 24;

/// A value as text; `None` when nothing is left of it. Up to 4 KiB, for patterns.
#[must_use]
pub fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Float(number) => number.is_finite().then(|| number.to_string())?,
        Value::Oid(arcs) => dotted(arcs),
        Value::Address(address) => address.to_string(),
        Value::Bytes(bytes) => return of_bytes(bytes),
    };
    Some(text)
}

/// A text as it is shown: [`MAX_SHOWN`] characters at most.
#[must_use]
pub fn shown(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_SHOWN) {
        text.truncate(end);
        text.truncate(text.trim_end().len());
    }
    text
}

fn of_bytes(bytes: &[u8]) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(MAX_RAW)];
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let padded = &bytes[..end];
    if padded.is_empty() {
        return None;
    }
    if bytes.len() <= MAX_BINARY && is_binary(padded) {
        let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        return Some(pairs.join(":"));
    }
    let text = clean(&String::from_utf8_lossy(padded));
    (!text.is_empty()).then_some(text)
}

fn is_binary(bytes: &[u8]) -> bool {
    let control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    // A word in another encoding is still mostly letters.
    let letters = bytes.iter().filter(|byte| byte.is_ascii_graphic()).count();
    bytes.iter().any(control) || (str::from_utf8(bytes).is_err() && letters * 2 < bytes.len())
}

/// Control characters as spaces, a line break as one, none at the ends.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut was_return = false;
    for character in text.chars() {
        match character {
            '\n' if was_return => {}
            '\0' => {}
            // Beside control characters, those that turn the reading direction or break lines.
            other if other.is_control() || is_format(other) => out.push(' '),
            other => out.push(other),
        }
        was_return = character == '\r';
    }
    out.trim().to_owned()
}

fn is_format(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// A value as number: a finite one.
#[must_use]
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Unsigned(number) => Some(*number as f64),
        Value::Float(number) => number.is_finite().then_some(*number),
        Value::Bytes(_) => first_number(&text(value)?).map(|(number, _)| number),
        Value::Oid(_) | Value::Address(_) => None,
    }
}

/// A value as number of bytes, where it is a text that says a unit, as `1.5 GB`.
#[must_use]
pub fn bytes_with_unit(value: &Value) -> Option<f64> {
    let Value::Bytes(_) = value else { return None };
    let text = text(value)?;
    let (number, rest) = first_number(&text)?;
    let rest = rest.trim_start();
    let unit: String =
        rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    // Operating systems write KB for 1024 bytes.
    let power = match unit.as_str() {
        "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kib" | "kbyte" | "kbytes" => 1,
        "m" | "mb" | "mib" | "mbyte" | "mbytes" => 2,
        "g" | "gb" | "gib" | "gbyte" | "gbytes" => 3,
        "t" | "tb" | "tib" | "tbyte" | "tbytes" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    Some(number * 1024_f64.powi(power))
}

/// The first number of a text, and what follows it.
#[must_use]
pub fn first_number(text: &str) -> Option<(f64, &str)> {
    let first = text.find(|character: char| character.is_ascii_digit())?;
    let (before, digits) = text.split_at(first);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let fraction = match digits[length..].strip_prefix('.') {
        Some(rest) => rest.bytes().take_while(u8::is_ascii_digit).count(),
        None => 0,
    };
    let end = if fraction > 0 { length + 1 + fraction } else { length };
    if end > MAX_DIGITS {
        return None;
    }
    // Of `-5` and `.5`, but not of `A-5` and `v2.5`.
    let point = if length > 0 && before.ends_with('.') { "0." } else { "" };
    let lead = before.strip_suffix('.').unwrap_or(before);
    let alone = |lead: &str| !lead.ends_with(|last: char| last.is_ascii_alphanumeric());
    let sign = lead.strip_suffix('-').is_some_and(alone);
    let point = if alone(lead) { point } else { "" };
    let number: f64 = format!("{point}{}", &digits[..end]).parse().ok()?;
    Some((if sign { -number } else { number }, &digits[end..]))
}

/// A value as network address: also as four or sixteen bytes.
#[must_use]
pub fn address(value: &Value) -> Option<IpAddr> {
    let address = match value {
        Value::Address(address) => Some(IpAddr::V4(*address)),
        Value::Bytes(bytes) => {
            let written = str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
            written.or_else(|| match **bytes {
                [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
                _ => <[u8; 16]>::try_from(&**bytes).ok().map(IpAddr::from),
            })
        }
        Value::Oid(arcs) => dotted(arcs).parse().ok(),
        Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) => None,
    };
    address.filter(|address| !address.is_unspecified())
}

/// What `value` is called in a map or a table of states: a number in decimal, or its text.
#[must_use]
pub fn key<'t>(value: &Value, text: &'t str) -> Cow<'t, str> {
    match value {
        // A float that is whole is the number that a map has.
        Value::Float(number) if number.fract() == 0.0 => Cow::Owned(format!("{number:.0}")),
        Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Oid(_)
        | Value::Address(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &[u8]) -> Value {
        Value::Bytes(text.into())
    }

    #[test]
    fn line_breaks_and_padding_are_cleaned() {
        assert_eq!(text(&bytes(b"HP J9\r\nrev\tB\0\0")).as_deref(), Some("HP J9 rev B"));
        assert_eq!(text(&bytes(b"\x1b[31mred alert\x07")).as_deref(), Some("[31mred alert"));
        assert_eq!(text(&bytes("a\u{202e}bcdefghij".as_bytes())).as_deref(), Some("a bcdefghij"));
        assert_eq!(text(&bytes(b"\0\0\0\0")), None);
        assert_eq!(text(&bytes(b"   ")), None);
    }

    #[test]
    fn short_binary_values_are_written_byte_by_byte() {
        assert_eq!(text(&bytes(&[0, 0x1b, 0xff, 1, 2, 3])).as_deref(), Some("00:1b:ff:01:02:03"));
        assert_eq!(text(&bytes(b"abc\xff and so on")).as_deref(), Some("abc\u{fffd} and so on"));
        assert_eq!(text(&bytes(b"Ger\xe4t")).as_deref(), Some("Ger\u{fffd}t"));
    }

    #[test]
    fn the_first_number_of_a_text_counts() {
        for (written, number) in [
            ("23.5 C", Some(23.5)),
            ("-5.25dBm", Some(-5.25)),
            ("fan A-5", Some(5.0)),
            ("load .5", Some(0.5)),
            ("45%", Some(45.0)),
            ("12.", Some(12.0)),
            ("n/a", None),
            ("", None),
            ("1111111111111111111111111111111111111111", None),
        ] {
            assert_eq!(number_of(written), number, "{written}");
        }
    }

    fn number_of(text: &str) -> Option<f64> {
        number(&bytes(text.as_bytes()))
    }

    #[test]
    fn sizes_with_units_are_bytes() {
        let size = |text: &str| bytes_with_unit(&bytes(text.as_bytes()));
        assert_eq!(size("1.5 GB"), Some(1.5 * 1024.0 * 1024.0 * 1024.0));
        assert_eq!(size("512KB"), Some(524_288.0));
        assert_eq!(size("512"), None);
        assert_eq!(size("512 apples"), None);
        assert_eq!(bytes_with_unit(&Value::Integer(3)), None);
    }

    #[test]
    fn addresses_come_as_addresses_bytes_and_texts() {
        let expected: Option<IpAddr> = Some([192, 0, 2, 7].into());
        assert_eq!(address(&Value::Address([192, 0, 2, 7].into())), expected);
        assert_eq!(address(&bytes(&[192, 0, 2, 7])), expected);
        assert_eq!(address(&bytes(b"192.0.2.7")), expected);
        assert_eq!(address(&Value::Oid([192, 0, 2, 7].into())), expected);
        assert_eq!(address(&bytes(&[0, 0, 0, 0])), None);
        assert_eq!(address(&Value::Integer(7)), None);
    }

    proptest! {
        #[test]
        fn shown_text_is_bounded_and_without_control_characters(raw in prop::collection::vec(any::<u8>(), 0..6000)) {
            if let Some(text) = text(&bytes(&raw)).map(shown) {
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert!(text.chars().count() <= MAX_SHOWN);
            }
        }

        #[test]
        fn numbers_are_finite(raw in "\\PC{0,40}") {
            prop_assert!(number_of(&raw).is_none_or(f64::is_finite));
        }
    }
}
