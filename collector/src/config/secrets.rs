//! Files of secrets that the configuration names, looked at before they are needed.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::platform;

/// Largest user name or password, bytes.
const MAX_BYTES: u64 = 4 << 10;

/// Whether files of secrets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    /// They may come later.
    Unopened,
    /// Each is opened and judged.
    Opened,
}

impl Secrets {
    /// Looks at the file of a user name; what is wrong with it, without a byte of it.
    pub(super) fn user_name(self, path: &Path) -> Result<(), String> {
        match self {
            Self::Unopened => Ok(()),
            Self::Opened => judge(path).map(drop),
        }
    }

    /// Looks at the file of a password, which not every account may read.
    pub(super) fn password(self, path: &Path) -> Result<(), String> {
        if self == Self::Unopened {
            return Ok(());
        }
        let file = judge(path)?;
        let mode = platform::open_to_others(&file).map_err(|error| cannot("read", &error))?;
        match mode.filter(|mode| mode & 0o007 != 0) {
            Some(mode) => Err(format!(
                "every account of this machine can use this file (mode {mode:o}): set it to 600 or 640"
            )),
            None => Ok(()),
        }
    }
}

fn cannot(action: &str, error: &io::Error) -> String {
    format!("cannot {action} this file: {error}")
}

/// Opens a file that must hold one line of text.
fn judge(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| cannot("open", &error))?;
    let mut bytes = Vec::new();
    (&file).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| cannot("read", &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("this file is larger than {MAX_BYTES} bytes"));
    }
    let text = str::from_utf8(&bytes).map_err(|_| "this file is no text in UTF-8".to_owned())?;
    // The end of the line is no part of it, as the notifier reads it.
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err("this file is empty".to_owned());
    }
    if line.chars().any(char::is_control) {
        return Err("this file holds more than one line, or control characters".to_owned());
    }
    Ok(file)
}
