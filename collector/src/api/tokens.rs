//! Who may ask: bearer tokens, kept as hashes.

use http::HeaderValue;
use ring::{digest, rand::SecureRandom};

/// First characters of every token of the API.
pub const TOKEN_PREFIX: &str = "vgi_";
/// Random bytes of a token: 160 bits.
const TOKEN_BYTES: usize = 20;
/// Longest header that is looked at, bytes.
const MAX_HEADER_BYTES: usize = 256;

/// The tokens that are good, as SHA-256 hashes. Each has 160 random bits, so a plain hash is enough.
#[derive(Clone, Default)]
pub struct Tokens(Vec<[u8; 32]>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// No randomness could be had from the system.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw a random token")]
pub struct NoRandomness;

impl Tokens {
    /// The tokens with these SHA-256 hashes.
    #[must_use]
    pub fn new(sha256: Vec<[u8; 32]>) -> Self {
        Self(sha256)
    }

    /// Draws a token: its text, for the one reader of its file, and its hash.
    pub fn draw(random: &dyn SecureRandom) -> Result<(String, [u8; 32]), NoRandomness> {
        let mut bytes = [0; TOKEN_BYTES];
        random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let hex = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
        let token: String = TOKEN_PREFIX.chars().chain(hex).collect();
        let hash = Self::hash(&token);
        Ok((token, hash))
    }

    /// True for a text that [`Self::draw`] could have made.
    #[must_use]
    pub fn is_token(text: &str) -> bool {
        text.strip_prefix(TOKEN_PREFIX).is_some_and(|hex| {
            hex.len() == 2 * TOKEN_BYTES
                && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    }

    /// The hash that a token is kept as.
    #[must_use]
    pub fn hash(token: &str) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        hash
    }

    /// True when an `Authorization` header carries a good token.
    pub(super) fn allow(&self, header: Option<&HeaderValue>) -> bool {
        let token = header
            .filter(|header| header.len() <= MAX_HEADER_BYTES)
            .and_then(|header| header.to_str().ok())
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .filter(|token| token.starts_with(TOKEN_PREFIX));
        let Some(token) = token else { return false };
        let hash = Self::hash(token);
        // Every hash is compared in full, whichever matches.
        self.0.iter().fold(false, |found, good| found | same(good, &hash))
    }
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens() {
        let (token, hash) = Tokens::draw(&ring::rand::SystemRandom::new()).unwrap();
        assert_eq!(token.len(), TOKEN_PREFIX.len() + 40);
        assert!(Tokens::is_token(&token));
        for other in ["", "vgi_", &token[1..], &token[..40], &format!("{token}0"), &"g".repeat(44)]
        {
            assert!(!Tokens::is_token(other), "{other:?}");
        }
        let tokens = Tokens::new(vec![[0; 32], hash]);
        let allow = |text: &str| tokens.allow(Some(&HeaderValue::from_str(text).unwrap()));
        assert!(allow(&format!("Bearer {token}")));
        assert!(allow(&format!("bearer  {token}")));
        for wrong in [
            String::new(),
            token.clone(),
            format!("Basic {token}"),
            format!("Bearer {}", &token[..token.len() - 1]),
            format!("Bearer {token}0"),
            format!("Bearer {}", token.to_uppercase()),
            "Bearer ".to_owned(),
            "Bearer vgi_".to_owned(),
            format!("Bearer {token}{}", " ".repeat(MAX_HEADER_BYTES)),
        ] {
            assert!(!allow(&wrong), "{wrong:?}");
        }
        assert!(!tokens.allow(None));
        assert!(!tokens.allow(Some(&HeaderValue::from_bytes(b"Bearer vgi_\xFF").unwrap())));
        assert!(!Tokens::default().allow(Some(&format!("Bearer {token}").parse().unwrap())));
    }

    #[test]
    fn tokens_do_not_show_in_debug() {
        let (_, hash) = Tokens::draw(&ring::rand::SystemRandom::new()).unwrap();
        assert_eq!(format!("{:?}", Tokens::new(vec![hash])), "Tokens(1)");
    }
}
