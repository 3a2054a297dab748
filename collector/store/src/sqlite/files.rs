//! The lock beside the database, and what can be told of the file before SQLite touches it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::open::unusable;
use crate::{Result, StoreError};
use domain::chain::chain;

/// Keeps other processes out, and remembers over a crash that the last use did not end cleanly:
/// the lock file holds a word while the database is in use and is empty otherwise.
pub(super) struct Lock {
    file: File,
    /// True when the word stood there already.
    pub(super) unclean: bool,
    /// True when the last use ended cleanly, and so with an empty log; false when nobody knows.
    pub(super) ended: bool,
}

impl Lock {
    /// Takes the lock beside `database`.
    pub(super) fn take(database: &Path) -> Result<Self> {
        let path = beside(database, ".lock");
        let fail = |source: io::Error| unusable(database, source);
        let known = path.try_exists().map_err(fail)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(unusable(database, "another process is using it"));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let unclean = file.metadata().map_err(fail)?.len() > 0;
        if !unclean {
            file.write_all(b"in use\n").and_then(|()| file.sync_all()).map_err(fail)?;
        }
        Ok(Self { file, unclean, ended: known && !unclean })
    }

    /// Notes that the database was closed as it should.
    pub(super) fn end_cleanly(self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_all()
    }

    /// Gives the lock back without a word on the state of the database: opening it failed. Where
    /// nothing was known before, the next start has every page looked at.
    pub(super) fn abandon(self) {
        if self.ended
            && let Err(error) = self.end_cleanly()
        {
            tracing::warn!(error = chain(&error), "cannot reset the database's lock file");
        }
    }
}

/// Path of a file that stands beside the database: its name with `suffix` added.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes of a file, 0 when there is none.
pub(super) fn length(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Refuses a file that is plainly no database or was cut short. SQLite would say the same, but only
/// once it reaches the missing page. An absent or empty file is new: `Ok(false)`.
pub(super) fn inspect(database: &Path) -> Result<bool> {
    let refuse = |why: &'static str| -> Result<bool> { Err(unusable(database, why)) };
    let fail = |source: io::Error| -> StoreError { unusable(database, source) };
    let length_now = length(database).map_err(fail)?;
    let wal = length(&beside(database, "-wal")).map_err(fail)?;
    if length_now == 0 {
        // A log without its database: the file was taken away or emptied. Starting afresh would
        // throw the log away.
        return if wal > 0 {
            refuse("it is empty, but its write-ahead log is not")
        } else {
            Ok(false)
        };
    }
    let mut header = [0; 100];
    let read = File::open(database).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return refuse("it is too short to be a database");
        }
        Err(error) => return Err(fail(error)),
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return refuse("it is not an SQLite database");
    }
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let page = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65_536,
        size if size.is_power_of_two() && size >= 512 => size,
        _other => return refuse("its page size is impossible"),
    };
    // With frames in the log the file may rightly be shorter than its header says.
    let pages_are_told = word(24) == word(92);
    if wal == 0 && pages_are_told && u64::from(word(28)) * page > length_now {
        return refuse("it was cut short");
    }
    Ok(true)
}
