//! UAI, the national key of a French school: seven digits and a check letter.

use std::{fmt, str::FromStr};

/// Rank letters of the key: the alphabet without I, O and Q.
const KEY_LETTERS: &[u8; 23] = b"ABCDEFGHJKLMNPRSTUVWXYZ";

/// A checked UAI, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uai([u8; 8]);

/// Why a text is not a UAI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UaiError {
    /// Not seven digits and a letter.
    #[error("a UAI is seven digits and a letter, such as 0999001W")]
    Shape,
    /// The digits ask for another letter.
    #[error("the key letter of {digits} is {expected}, not {found}")]
    Key {
        /// The seven digits.
        digits: String,
        /// The letter that they ask for.
        expected: char,
        /// The letter that was given.
        found: char,
    },
}

impl Uai {
    /// The UAI of a number below 10,000,000, with its key computed; `None` above.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        if number > 9_999_999 {
            return None;
        }
        let mut text = [0; 8];
        text[..7].copy_from_slice(format!("{number:07}").as_bytes());
        text[7] = KEY_LETTERS[(number % 23) as usize];
        Some(Self(text))
    }

    /// The eight characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII digits and letters are ever stored.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Uai {
    type Err = UaiError;

    fn from_str(text: &str) -> Result<Self, UaiError> {
        let upper = text.trim().to_ascii_uppercase();
        let (digits, letter) = upper.as_bytes().split_at_checked(7).ok_or(UaiError::Shape)?;
        let &[found] = letter else { return Err(UaiError::Shape) };
        if !digits.iter().all(u8::is_ascii_digit) || !found.is_ascii_uppercase() {
            return Err(UaiError::Shape);
        }
        let number: u32 = upper[..7].parse().map_err(|_| UaiError::Shape)?;
        let uai = Self::from_number(number).ok_or(UaiError::Shape)?;
        if uai.0[7] == found {
            Ok(uai)
        } else {
            Err(UaiError::Key {
                digits: upper[..7].to_owned(),
                expected: char::from(uai.0[7]),
                found: char::from(found),
            })
        }
    }
}

impl fmt::Display for Uai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uai({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_accepted_in_any_case() {
        let known = [
            "0750654D", "0752524L", "0920131T", "0951099D", "0280007F", "0750691U", "6200002H",
            "0999001W", "0999101E", "0999201N", "6209001P", "9749001R", "0750654d",
        ];
        for text in known {
            assert_eq!(text.parse::<Uai>().unwrap().as_str(), text.to_ascii_uppercase());
        }
    }

    #[test]
    fn a_wrong_key_names_the_right_one() {
        let error = "0750654E".parse::<Uai>().unwrap_err();
        assert_eq!(error.to_string(), "the key letter of 0750654 is D, not E");
    }

    #[test]
    fn wrong_shapes_are_refused() {
        for text in ["075065D", "", "0750654", "07506540", "075O654D", "0750654DD", "é750654D"] {
            assert_eq!(text.parse::<Uai>(), Err(UaiError::Shape), "{text}");
        }
        assert!(matches!("0750654I".parse::<Uai>(), Err(UaiError::Key { .. })));
    }

    #[test]
    fn keys_are_computed_from_numbers() {
        assert_eq!(Uai::from_number(999_001).unwrap().as_str(), "0999001W");
        assert_eq!(Uai::from_number(10_000_000), None);
    }
}
