//! Names of objects, and reading of what stands at them as what their MIB says it is.

use std::{collections::BTreeSet, fmt::Write as _, net::Ipv4Addr};

use crate::snmp::tables::{Tables, Value};

/// Most arcs of a column's name.
const MAX_ARCS: usize = 16;
/// Longest text kept of a device, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Name of a column, or of a scalar without its index 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    arcs: [u32; MAX_ARCS],
    len: usize,
}

impl Name {
    /// At most [`MAX_ARCS`] arcs, which the compiler checks of constants.
    pub(crate) const fn new(arcs: &[u32]) -> Self {
        let mut name = Self { arcs: [0; MAX_ARCS], len: arcs.len() };
        let mut at = 0;
        while at < arcs.len() {
            name.arcs[at] = arcs[at];
            at += 1;
        }
        name
    }

    pub(crate) const fn child(mut self, arc: u32) -> Self {
        self.arcs[self.len] = arc;
        self.len += 1;
        self
    }

    pub(crate) fn arcs(&self) -> &[u32] {
        &self.arcs[..self.len]
    }

    /// The instance's whole name, as in `.1.3.6.1.2.1.1.1.0`.
    pub(crate) fn dotted(&self, index: &[u32]) -> String {
        dotted(&[self.arcs(), index].concat())
    }
}

/// A name as programs write it, with a dot before it.
pub(crate) fn dotted(arcs: &[u32]) -> String {
    arcs.iter().fold(String::new(), |mut text, arc| {
        // Writing to a string does not fail.
        let _ = write!(text, ".{arc}");
        text
    })
}

/// An index as programs write it, without a dot before it.
pub(crate) fn index_text(index: &[u32]) -> String {
    dotted(index).trim_start_matches('.').to_owned()
}

/// Reads values as what they stand for; of another type, a value is none.
pub(crate) trait Read {
    fn at(&self, column: Name, index: &[u32]) -> Option<&Value>;

    /// Of every column, the indexes that have a value in one of them, ascending.
    fn indexes(&self, columns: &[Name]) -> BTreeSet<Box<[u32]>>;

    /// A text that says something.
    fn text(&self, column: Name, index: &[u32]) -> Option<String> {
        let text = clean(self.bytes(column, index)?);
        (!text.is_empty()).then_some(text)
    }

    fn text_or_empty(&self, column: Name, index: &[u32]) -> String {
        self.text(column, index).unwrap_or_default()
    }

    fn bytes(&self, column: Name, index: &[u32]) -> Option<&[u8]> {
        match self.at(column, index)? {
            Value::Bytes(bytes) => Some(bytes),
            Value::Integer(_)
            | Value::Unsigned(_)
            | Value::Oid(_)
            | Value::Address(_)
            | Value::Float(_) => None,
        }
    }

    fn oid(&self, column: Name, index: &[u32]) -> Option<&[u32]> {
        match self.at(column, index)? {
            Value::Oid(arcs) => Some(arcs),
            Value::Integer(_)
            | Value::Unsigned(_)
            | Value::Bytes(_)
            | Value::Address(_)
            | Value::Float(_) => None,
        }
    }

    fn address(&self, column: Name, index: &[u32]) -> Option<Ipv4Addr> {
        match self.at(column, index)? {
            Value::Address(address) => Some(*address),
            Value::Bytes(bytes) => <[u8; 4]>::try_from(&**bytes).ok().map(Ipv4Addr::from),
            Value::Integer(_) | Value::Unsigned(_) | Value::Oid(_) | Value::Float(_) => None,
        }
    }

    /// A whole number, signed or not.
    fn integer(&self, column: Name, index: &[u32]) -> Option<i64> {
        match self.at(column, index)? {
            Value::Integer(number) => Some(*number),
            Value::Unsigned(number) => i64::try_from(*number).ok(),
            Value::Bytes(_) | Value::Oid(_) | Value::Address(_) | Value::Float(_) => None,
        }
    }

    /// A number that can not be negative.
    fn count(&self, column: Name, index: &[u32]) -> Option<u64> {
        match self.at(column, index)? {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Unsigned(number) => Some(*number),
            Value::Bytes(_) | Value::Oid(_) | Value::Address(_) | Value::Float(_) => None,
        }
    }

    /// A size of an Integer32 that ran over: agents write sizes past 2^31 as negative numbers.
    fn size(&self, column: Name, index: &[u32]) -> Option<u64> {
        match self.integer(column, index)? {
            number @ 0.. => u64::try_from(number).ok(),
            number => u64::try_from(number + (1 << 32)).ok(),
        }
    }

    /// An enumeration's number.
    fn code(&self, column: Name, index: &[u32]) -> Option<u32> {
        u32::try_from(self.integer(column, index)?).ok()
    }
}

impl Read for Tables {
    fn at(&self, column: Name, index: &[u32]) -> Option<&Value> {
        self.get(column.arcs(), index)
    }

    fn indexes(&self, columns: &[Name]) -> BTreeSet<Box<[u32]>> {
        let rows = columns.iter().flat_map(|column| self.rows(column.arcs()));
        rows.map(|(index, _)| index.into()).collect()
    }
}

/// A device's text of at most [`MAX_TEXT_BYTES`]: runs of control characters and line ends become one
/// space, marks that reorder or hide text are left out. What is not UTF-8 is taken for Latin-1, which
/// older devices write; a character that a limit of the device cut in two is dropped.
pub(crate) fn clean(raw: &[u8]) -> String {
    let raw = &raw[..raw.len().min(MAX_TEXT_BYTES)];
    let latin: String;
    let given = match std::str::from_utf8(raw) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            // Proven just above to be UTF-8 up to there.
            std::str::from_utf8(&raw[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_other) => {
            latin = raw.iter().map(|byte| char::from(*byte)).collect();
            &latin
        }
    };
    let mut text = String::with_capacity(given.len());
    let mut gap = false;
    for character in given.chars() {
        if character.is_whitespace() || character.is_control() {
            gap = !text.is_empty();
        } else if !is_invisible(character) {
            if gap {
                text.push(' ');
            }
            gap = false;
            text.push(character);
        }
    }
    text
}

/// Bidirectional controls, zero-width characters and the byte order mark.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// Twelve hexadecimal digits of an address of six bytes, which some devices write as text.
pub(crate) fn mac(bytes: &[u8]) -> Option<[u8; 6]> {
    if let Ok(address) = <[u8; 6]>::try_from(bytes) {
        return Some(address);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let parts: Vec<&str> = text.trim().split([':', '-', ' ']).collect();
    let parts = <[&str; 6]>::try_from(parts).ok()?;
    let mut address = [0; 6];
    for (byte, part) in address.iter_mut().zip(parts) {
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| part.len() <= 2)?;
    }
    Some(address)
}

/// Hexadecimal digits without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A value from what a test writes.
    pub(crate) trait Given {
        fn value(self) -> Value;
    }

    impl Given for i64 {
        fn value(self) -> Value {
            Value::Integer(self)
        }
    }

    impl Given for u64 {
        fn value(self) -> Value {
            Value::Unsigned(self)
        }
    }

    impl Given for &str {
        fn value(self) -> Value {
            Value::Bytes(self.as_bytes().into())
        }
    }

    impl Given for &[u8] {
        fn value(self) -> Value {
            Value::Bytes(self.into())
        }
    }

    impl Given for &[u32] {
        fn value(self) -> Value {
            Value::Oid(self.into())
        }
    }

    impl Given for Ipv4Addr {
        fn value(self) -> Value {
            Value::Address(self)
        }
    }

    /// Writes tables by hand.
    #[derive(Default)]
    pub(crate) struct Made(pub(crate) Tables);

    impl Made {
        pub(crate) fn with(mut self, column: Name, index: &[u32], value: impl Given) -> Self {
            self.0.insert(column.arcs(), index, value.value());
            self
        }
    }

    const COLUMN: Name = Name::new(&[1, 3]).child(6);

    #[test]
    fn a_value_of_another_type_is_none() {
        let made = Made::default().with(COLUMN, &[1], "7").with(COLUMN, &[2], -7_i64);
        assert_eq!(made.0.integer(COLUMN, &[1]), None);
        assert_eq!(made.0.count(COLUMN, &[2]), None);
        assert_eq!(made.0.text(COLUMN, &[2]), None);
        assert_eq!(made.0.text(COLUMN, &[3]), None);
        assert_eq!(made.0.indexes(&[COLUMN]).len(), 2);
    }

    #[test]
    fn a_size_that_ran_over_is_read_as_it_was_meant() {
        let made = Made::default().with(COLUMN, &[0], -1_i64).with(COLUMN, &[1], i64::MIN);
        assert_eq!(made.0.size(COLUMN, &[0]), Some(u64::from(u32::MAX)));
        assert_eq!(made.0.size(COLUMN, &[1]), None);
    }

    #[test]
    fn text_is_cleaned_and_old_text_is_read() {
        for (raw, cleaned) in [
            (&b" Cisco IOS\r\nVersion\t15\r\n"[..], "Cisco IOS Version 15"),
            (b"\x1b[2Jgone\x07", "[2Jgone"),
            (b"a\0b", "a b"),
            ("safe\u{202e}txt.exe".as_bytes(), "safetxt.exe"),
            ("\u{feff}zero\u{200b}width".as_bytes(), "zerowidth"),
            (b"\xc9tage 2", "Étage 2"),
            (b"a\x9bb", "a b"),
            ("Étage 2".as_bytes(), "Étage 2"),
            (b"caf\xc3", "caf"), // cut by the device
            (b"\r\n\0", ""),
        ] {
            assert_eq!(clean(raw), cleaned, "{raw:?}");
        }
        assert!(clean(&vec![b'x'; 70_000]).len() <= MAX_TEXT_BYTES);
    }

    #[test]
    fn addresses_are_read_in_bytes_and_in_words() {
        let address = [0, 0x1a, 2, 3, 4, 0xff];
        assert_eq!(mac(&address), Some(address));
        assert_eq!(mac(b"0:1a:2:3:4:ff"), Some(address));
        assert_eq!(mac(b"00-1A-02-03-04-FF"), Some(address));
        assert_eq!(mac(b"00 1A 02 03 04 FF "), Some(address));
        assert_eq!(mac(b"00:1a:02:03:04"), None);
        assert_eq!(mac(b"000:1a:02:03:04:05"), None);
        assert_eq!(hex(&address), "001a020304ff");
    }

    #[test]
    fn names_are_written_as_programs_do() {
        assert_eq!(COLUMN.dotted(&[0, 7]), ".1.3.6.0.7");
        assert_eq!(index_text(&[3, 1]), "3.1");
    }
}
