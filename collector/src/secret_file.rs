//! Files that only the collector's own user may read.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::platform;

/// Largest file that is read, bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Why a file of secrets is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The system said no.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it: what it holds may be known.
    #[error("{path} can be read by others (mode {mode:o}): set it to 600")]
    Wide {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

fn fail<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> SecretFileError + 'a {
    move |source| SecretFileError::Io { action, path: path.to_owned(), source }
}

/// Makes a directory that only the owner enters; an existing one is left as it is.
pub fn create_dir(path: &Path) -> Result<(), SecretFileError> {
    platform::create_private_dir(path).map_err(fail("create", path))
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, SecretFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail("open", path)(error)),
    };
    if let Some(mode) = platform::open_to_others(&file).map_err(fail("read", path))? {
        return Err(SecretFileError::Wide { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(fail("read", path))?;
    Ok(Some(bytes))
}

/// Puts a file in place, whole or not at all, whatever was there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let next = path.with_extension("new");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(fail("remove", &next)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let mut file = platform::create_private_file(&next).map_err(fail("create", &next))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail("write", &next))?;
    fs::rename(&next, path).map_err(fail("replace", path))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail("sync", dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        assert!(read(&path).unwrap().is_none());
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(b"two".as_slice()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(SecretFileError::Wide { mode: 0o640, .. })));
    }
}
