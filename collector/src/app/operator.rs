//! The operator token: drawn once, kept over restarts in a file for one reader.

use std::path::Path;

use anyhow::Context as _;

use crate::{
    api::Tokens,
    secret_file::{self, SecretFileError},
};

/// The token of the file, and its hash. Where there is no file, or it holds no token that can be
/// trusted, another is drawn and written.
pub(super) fn token(path: &Path) -> anyhow::Result<(String, [u8; 32])> {
    if let Some(token) = kept(path)? {
        let hash = Tokens::hash(&token);
        return Ok((token, hash));
    }
    let (token, hash) = Tokens::draw(&ring::rand::SystemRandom::new())?;
    secret_file::replace(path, format!("{token}\n").as_bytes())
        .context("cannot write the operator token")?;
    Ok((token, hash))
}

fn kept(path: &Path) -> anyhow::Result<Option<String>> {
    let why = match secret_file::read(path) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => {
            let text = str::from_utf8(&bytes).ok().map(str::trim);
            match text.filter(|text| Tokens::is_token(text)) {
                Some(token) => return Ok(Some(token.to_owned())),
                None => "it holds no token",
            }
        }
        // What others could read may be known to them.
        Err(SecretFileError::Wide { .. }) => "others could read it",
        Err(error) => return Err(error).context("cannot read the operator token"),
    };
    tracing::warn!(file = %path.display(), why, "another operator token is written");
    Ok(None)
}
