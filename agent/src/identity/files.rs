//! Small files that must survive a power cut whole: written beside, synced, renamed.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use crate::platform::private;

/// Largest file that is read: a plan of the largest size, with its header.
const MAX_BYTES: u64 = 2 << 20;

/// Why a file could not be read or written. The path is told by the caller's error.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {what}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("permissions {0} let others than the owner in; run: {remedy}", remedy = private::REMEDY)]
    Mode(String),
    /// A directory, a device, a pipe.
    #[error("it is not a file")]
    Kind,
    /// No file that this agent writes is that large.
    #[error("the file is larger than {MAX_BYTES} bytes")]
    Large,
}

fn io(what: &'static str) -> impl Fn(io::Error) -> FileError {
    move |source| FileError::Io { what, source }
}

/// Replaces the file at `path`, which only its owner may read.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let beside = path.with_extension("tmp");
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("remove an unfinished file")(error)),
    }
    create(&beside, bytes)?;
    fs::rename(&beside, path).map_err(io("rename a file into place"))?;
    sync_parent(path)
}

/// Creates the file at `path`, which must not exist and which only its owner may read.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = private::create_file(path).map_err(io("create a file"))?;
    file.write_all(bytes).map_err(io("write a file"))?;
    file.sync_all().map_err(io("write a file to the disk"))?;
    sync_parent(path)
}

/// Makes `path` the name of what `from` names now.
pub fn rename(from: &Path, path: &Path) -> Result<(), FileError> {
    fs::rename(from, path).map_err(io("rename a file"))?;
    sync_parent(path)
}

/// Removes the file if it is there.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("remove a file")(error)),
    }
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(io("write a directory to the disk"))
}

/// Reads the file, `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open a file")(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io("read a file"))?;
    if bytes.len() as u64 > MAX_BYTES { Err(FileError::Large) } else { Ok(Some(bytes)) }
}

/// Reads a file that only its owner may read, `None` when there is none.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(FileError::Kind),
        Ok(meta) => match private::open_to_others(&meta) {
            Some(mode) => Err(FileError::Mode(mode)),
            None => read(path),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("open a file")(error)),
    }
}
