//! Values that a file can write in more than one way. Read by hand: what an untagged enum says of a
//! value that fits none of its variants helps nobody.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

/// Texts of which the first that is complete counts; one text is a list of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub Vec<String>);

/// A number, or a reference to one.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// The number.
    Literal(f64),
    /// Where it stands.
    Reference(String),
}

/// A value as devices give them, for comparing.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(Text(texts))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Raw::read(deserializer, "a number or a reference")? {
            // Factors of profiles are small.
            Raw::Integer(number) => Ok(Self::Literal(number as f64)),
            Raw::Float(number) => Ok(Self::Literal(number)),
            Raw::Text(reference) => Ok(Self::Reference(reference)),
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(deserializer, "a number or a text")
    }
}

impl Raw {
    fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
        expected: &'static str,
    ) -> Result<Self, D::Error> {
        struct Reader(&'static str);
        impl Visitor<'_> for Reader {
            type Value = Raw;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.0)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Raw, E> {
                Ok(Raw::Integer(number))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Raw, E> {
                Ok(Raw::Float(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Reader(expected))
    }
}
