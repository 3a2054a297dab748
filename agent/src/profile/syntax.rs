//! What a reference and a text with references mean. Pure: what they give is `reference`'s matter.
//!
//! Also compiled into the build script.

/// Numbers of an object identifier.
pub type Arcs = Box<[u32]>;

/// Most numbers of an object identifier (RFC 2578, 3.5).
pub const MAX_ARCS: usize = 128;
/// Most pointers one after the other in a reference.
const MAX_POINTERS: usize = 4;
/// What the index of a row is called.
const INDEX: &str = "index";

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// In a column.
    Column(Arcs, Row),
    /// In the row's index itself.
    Index(Slice),
    /// In the row's index, as a text: an arc a byte.
    IndexText(Chars),
}

/// Which row of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The rule's.
    Same,
    /// This one.
    Fixed(Arcs),
    /// The one whose index is a part of the rule's row's.
    Part(Slice),
    /// The one that a value names.
    Pointer(Box<Reference>),
}

/// Some arcs of an index, counted from 1; from the end where negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The first.
    pub first: i8,
    /// The last.
    pub last: i8,
}

/// A text within an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chars {
    /// The arc of this number is the length, the characters follow it.
    Prefixed(i8),
    /// From the arc of this number to the end.
    Rest(i8),
}

/// All arcs.
pub const WHOLE: Slice = Slice { first: 1, last: -1 };

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Literal(String),
    /// What the device says.
    Value {
        /// Where.
        reference: Reference,
        /// The map that it is looked up in.
        map: Option<String>,
    },
}

/// Why a reference or a text means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// No file that counts here names it.
    #[error("{0:?} is not a name in [objects]")]
    Unknown(String),
    /// Not numbers and dots.
    #[error("{0:?} is not an object identifier")]
    Oid(String),
    /// Behind a dot that follows a name.
    #[error("{0:?} is not the index of an instance")]
    Instance(String),
    /// Behind `#` or `$`.
    #[error("{0:?} are not arcs of an index, as in 1, -1, 2-3 or 2-")]
    Slice(String),
    /// `{` without `}`, or the reverse.
    #[error("a brace has no partner")]
    Brace,
    /// Between the braces of a format.
    #[error("{0:?} is not the number of a group")]
    Group(String),
    /// A pointer that is found by a pointer, and so on.
    #[error("more than {MAX_POINTERS} pointers follow each other")]
    Deep,
    /// Nothing is named.
    #[error("a reference is empty")]
    Empty,
}

/// Reads an object identifier: two numbers at least, with or without a leading dot.
pub fn oid(text: &str) -> Result<Arcs, SyntaxError> {
    let wrong = || SyntaxError::Oid(text.to_owned());
    let arcs = arcs(text.strip_prefix('.').unwrap_or(text)).ok_or_else(wrong)?;
    if arcs.len() < 2 || arcs[0] > 2 { Err(wrong()) } else { Ok(arcs) }
}

/// Writes arcs with dots between them.
#[must_use]
pub fn dotted(arcs: &[u32]) -> String {
    let mut out = String::with_capacity(arcs.len() * 4);
    for arc in arcs {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(&arc.to_string());
    }
    out
}

fn arcs(text: &str) -> Option<Arcs> {
    // `u32` would also read a sign.
    let number = |arc: &str| {
        arc.bytes().all(|byte| byte.is_ascii_digit()).then(|| arc.parse().ok()).flatten()
    };
    let arcs: Option<Vec<u32>> = text.split('.').map(number).collect();
    arcs.filter(|arcs| arcs.len() <= MAX_ARCS).map(Into::into)
}

/// The objects that a reference names; none of the index.
pub fn names_in(reference: &str) -> impl Iterator<Item = &str> {
    reference.split('@').filter_map(|part| {
        let name = part.split(['.', '#']).next().unwrap_or_default();
        (is_name(name) && name != INDEX).then_some(name)
    })
}

/// Whether `text` can name an object: letters, digits, `-` and `_`, a letter first.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Reads a reference. `resolve` knows the names.
pub fn reference(
    text: &str,
    resolve: &dyn Fn(&str) -> Option<Arcs>,
) -> Result<Reference, SyntaxError> {
    pointed(text, resolve, MAX_POINTERS)
}

fn pointed(
    text: &str,
    resolve: &dyn Fn(&str) -> Option<Arcs>,
    left: usize,
) -> Result<Reference, SyntaxError> {
    if let Some((column, pointer)) = text.split_once('@') {
        let left = left.checked_sub(1).ok_or(SyntaxError::Deep)?;
        let pointer = pointed(pointer, resolve, left)?;
        return Ok(Reference::Column(object(column, resolve)?, Row::Pointer(Box::new(pointer))));
    }
    if let Some((column, part)) = text.split_once('#') {
        let part = slice(part)?;
        return Ok(match column {
            INDEX => Reference::Index(part),
            _ => Reference::Column(object(column, resolve)?, Row::Part(part)),
        });
    }
    match text.split_once('$') {
        Some((INDEX, part)) => return chars(part).map(Reference::IndexText),
        Some(_) => return Err(SyntaxError::Unknown(text.to_owned())),
        None if text == INDEX => return Ok(Reference::Index(WHOLE)),
        None => {}
    }
    match text.split_once('.') {
        Some((name, instance)) if is_name(name) => {
            let wrong = || SyntaxError::Instance(instance.to_owned());
            let instance = arcs(instance).ok_or_else(wrong)?;
            Ok(Reference::Column(object(name, resolve)?, Row::Fixed(instance)))
        }
        Some(_) => Ok(instance_of(oid(text)?)),
        None => Ok(instance_of(object(text, resolve)?)),
    }
}

/// An OID that ends with 0 is a scalar's instance: no column has that number (RFC 2578, 7.10).
fn instance_of(oid: Arcs) -> Reference {
    match oid.split_last() {
        Some((0, scalar)) => Reference::Column(scalar.into(), Row::Fixed([0].into())),
        Some(_) | None => Reference::Column(oid, Row::Same),
    }
}

fn object(text: &str, resolve: &dyn Fn(&str) -> Option<Arcs>) -> Result<Arcs, SyntaxError> {
    if text.is_empty() {
        return Err(SyntaxError::Empty);
    }
    if is_name(text) {
        return resolve(text).ok_or_else(|| SyntaxError::Unknown(text.to_owned()));
    }
    oid(text)
}

fn slice(text: &str) -> Result<Slice, SyntaxError> {
    let wrong = || SyntaxError::Slice(text.to_owned());
    // The dash between two numbers, not a sign.
    let dash = text.bytes().skip(1).position(|byte| byte == b'-').map(|at| at + 1);
    let (first, last) = match dash {
        None => (arc(text), arc(text)),
        Some(at) if at + 1 == text.len() => (arc(&text[..at]), Some(-1)),
        Some(at) => (arc(&text[..at]), arc(&text[at + 1..])),
    };
    first.zip(last).map(|(first, last)| Slice { first, last }).ok_or_else(wrong)
}

fn chars(text: &str) -> Result<Chars, SyntaxError> {
    let wrong = || SyntaxError::Slice(text.to_owned());
    let (number, kind): (_, fn(i8) -> Chars) = match text.strip_suffix('-') {
        Some(number) => (number, Chars::Rest),
        None => (text, Chars::Prefixed),
    };
    arc(number).map(kind).ok_or_else(wrong)
}

fn arc(text: &str) -> Option<i8> {
    let number: i8 = text.parse().ok()?;
    (number != 0 && number != i8::MIN && !text.starts_with('+')).then_some(number)
}

/// Reads a text. One that is nothing but a reference needs no braces.
pub fn text(text: &str, resolve: &dyn Fn(&str) -> Option<Arcs>) -> Result<Vec<Piece>, SyntaxError> {
    if !text.contains(['{', '}']) {
        return Ok(vec![bare(text, resolve)]);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (before, braced) = rest.split_at(open);
        let inner = braced.strip_prefix('{').ok_or(SyntaxError::Brace)?;
        let close = inner.find(['{', '}']).ok_or(SyntaxError::Brace)?;
        let after = inner[close..].strip_prefix('}').ok_or(SyntaxError::Brace)?;
        if !before.is_empty() {
            pieces.push(Piece::Literal(before.to_owned()));
        }
        let (inner, map) = match inner[..close].split_once('|') {
            Some((inner, map)) => (inner, Some(map.to_owned())),
            None => (&inner[..close], None),
        };
        pieces.push(Piece::Value { reference: reference(inner, resolve)?, map });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(pieces)
}

/// A part of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined<'f> {
    /// As it stands.
    Literal(&'f str),
    /// What a group of the pattern matched.
    Group(usize),
}

/// Reads a format: numbers of groups in braces.
pub fn format(format: &str) -> Result<Vec<Joined<'_>>, SyntaxError> {
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some(open) = rest.find(['{', '}']) {
        let (before, braced) = rest.split_at(open);
        let inner = braced.strip_prefix('{').ok_or(SyntaxError::Brace)?;
        let (number, after) = inner.split_once('}').ok_or(SyntaxError::Brace)?;
        let group = number.parse().map_err(|_| SyntaxError::Group(number.to_owned()))?;
        parts.extend([Joined::Literal(before), Joined::Group(group)]);
        rest = after;
    }
    parts.push(Joined::Literal(rest));
    Ok(parts)
}

fn bare(text: &str, resolve: &dyn Fn(&str) -> Option<Arcs>) -> Piece {
    // Words that are not names in [objects] are texts, and so are version numbers such as 1.2.
    let index = text
        .strip_prefix(INDEX)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['#', '$']));
    let refers = index || names_in(text).next().is_some() || text.starts_with("1.3.6.1.");
    match refers.then(|| reference(text, resolve)) {
        Some(Ok(reference)) => Piece::Value { reference, map: None },
        Some(Err(_)) | None => Piece::Literal(text.to_owned()),
    }
}

/// Whether a text without braces looks like a reference that nothing knows: a name as MIBs write them,
/// with a capital inside.
#[must_use]
pub fn is_stray_name(text: &str) -> bool {
    let name = text.split(['.', '#', '@']).next().unwrap_or_default();
    let capital = |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
    is_name(name)
        && name.len() >= 8
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.as_bytes().windows(2).any(capital)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(name: &str) -> Option<Arcs> {
        match name {
            "usage" => Some([1, 3, 6, 1, 4, 1, 9, 1].into()),
            "pointer-a" => Some([1, 3, 6, 1, 4, 1, 9, 2].into()),
            "scalar" => Some([1, 3, 6, 1, 4, 1, 9, 3, 0].into()),
            _ => None,
        }
    }

    fn read(text: &str) -> Result<Reference, SyntaxError> {
        reference(text, &resolve)
    }

    fn column(row: Row) -> Reference {
        Reference::Column([1, 3, 6, 1, 4, 1, 9, 1].into(), row)
    }

    #[test]
    fn a_name_is_a_column_of_the_same_row() {
        assert_eq!(read("usage"), Ok(column(Row::Same)));
        assert_eq!(read("1.3.6.1.4.1.9.1"), Ok(column(Row::Same)));
        assert_eq!(read(".1.3.6.1.4.1.9.1"), Ok(column(Row::Same)));
    }

    #[test]
    fn a_number_behind_a_name_is_an_instance() {
        assert_eq!(read("usage.0"), Ok(column(Row::Fixed([0].into()))));
        assert_eq!(read("usage.3.1"), Ok(column(Row::Fixed([3, 1].into()))));
        assert_eq!(read("1.3.6.1.4.1.9.1.0"), Ok(column(Row::Fixed([0].into()))));
        let scalar = Reference::Column([1, 3, 6, 1, 4, 1, 9, 3].into(), Row::Fixed([0].into()));
        assert_eq!(read("scalar"), Ok(scalar));
    }

    #[test]
    fn arcs_of_the_index_are_counted_from_both_ends() {
        let part = |first, last| Ok(column(Row::Part(Slice { first, last })));
        assert_eq!(read("usage#1"), part(1, 1));
        assert_eq!(read("usage#-1"), part(-1, -1));
        assert_eq!(read("usage#2-3"), part(2, 3));
        assert_eq!(read("usage#2-"), part(2, -1));
        assert_eq!(read("usage#-3--2"), part(-3, -2));
        for wrong in ["usage#", "usage#0", "usage#a", "usage#1-b", "usage#300", "usage#+1"] {
            assert!(matches!(read(wrong), Err(SyntaxError::Slice(_))), "{wrong}");
        }
    }

    #[test]
    fn the_index_itself_can_be_a_number_or_a_text() {
        assert_eq!(read("index"), Ok(Reference::Index(WHOLE)));
        assert_eq!(read("index#2"), Ok(Reference::Index(Slice { first: 2, last: 2 })));
        assert_eq!(read("index$1"), Ok(Reference::IndexText(Chars::Prefixed(1))));
        assert_eq!(read("index$2-"), Ok(Reference::IndexText(Chars::Rest(2))));
    }

    #[test]
    fn pointers_follow_each_other_but_not_for_ever() {
        let pointer = Reference::Column([1, 3, 6, 1, 4, 1, 9, 2].into(), Row::Same);
        assert_eq!(read("usage@pointer-a"), Ok(column(Row::Pointer(Box::new(pointer)))));
        assert!(read("usage@usage@usage@usage@usage").is_ok());
        assert_eq!(read("usage@usage@usage@usage@usage@usage"), Err(SyntaxError::Deep));
    }

    #[test]
    fn what_nobody_knows_is_said() {
        assert_eq!(read("usages"), Err(SyntaxError::Unknown("usages".into())));
        assert_eq!(read("usage.x"), Err(SyntaxError::Instance("x".into())));
        assert_eq!(read("1.3.x"), Err(SyntaxError::Oid("1.3.x".into())));
        assert_eq!(read("1.3.6.1.4294967296"), Err(SyntaxError::Oid("1.3.6.1.4294967296".into())));
        assert_eq!(read(""), Err(SyntaxError::Empty));
        assert_eq!(read("usage@"), Err(SyntaxError::Empty));
    }

    #[test]
    fn a_text_is_cut_at_its_braces() {
        let value = |row| {
            let reference = column(row);
            Piece::Value { reference, map: None }
        };
        assert_eq!(
            text("CPU {usage#1}.", &resolve).unwrap(),
            [
                Piece::Literal("CPU ".into()),
                value(Row::Part(Slice { first: 1, last: 1 })),
                Piece::Literal(".".into()),
            ]
        );
        assert_eq!(text("Processor", &resolve).unwrap(), [Piece::Literal("Processor".into())]);
        assert_eq!(text("1.2", &resolve).unwrap(), [Piece::Literal("1.2".into())]);
        assert_eq!(text("usage", &resolve).unwrap(), [value(Row::Same)]);
        let Piece::Value { map, .. } = &text("{usage|kinds}", &resolve).unwrap()[0] else {
            panic!("a brace holds a value");
        };
        assert_eq!(map.as_deref(), Some("kinds"));
        for wrong in ["{usage", "usage}", "{{usage}}", "}{"] {
            assert_eq!(text(wrong, &resolve), Err(SyntaxError::Brace), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_name_is_told_from_a_text() {
        assert!(is_stray_name("hpSwitchCpuStat") && is_stray_name("entPhysicalName.1"));
        assert!(!is_stray_name("Processor") && !is_stray_name("CPU load") && !is_stray_name("iLO"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(wild in "[{}@#$.|a-c0-9-]{0,24}|\\PC{0,24}") {
            let _ = reference(&wild, &|_| Some([1, 3].into()));
            let _ = text(&wild, &|_| Some([1, 3].into()));
        }

        #[test]
        fn an_oid_is_read_as_it_is_written(tail in prop::collection::vec(any::<u32>(), 1..20)) {
            let arcs: Vec<u32> = [1, 3].into_iter().chain(tail).collect();
            prop_assert_eq!(&*oid(&dotted(&arcs)).unwrap(), &*arcs);
        }
    }
}
