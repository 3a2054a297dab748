//! The few things the spool asks of a directory, so that tests can put a failing disk under it.

use std::io;

pub use crate::platform::directory::RealVfs;

/// Space of the filesystem that holds the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still take.
    pub free: u64,
    /// Size of the filesystem, bytes.
    pub total: u64,
}

/// One directory, held locked for as long as the value lives. Names are plain file names.
pub trait Vfs: Send {
    /// Regular files whose name `keep` accepts, with their length; links are not followed.
    fn list(&self, keep: &dyn Fn(&str) -> bool) -> io::Result<Vec<(String, u64)>>;
    /// Opens a regular file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;
    /// Makes a file that must not exist, `len` zero bytes long and with its blocks reserved.
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn VfsFile>>;
    /// Renames, replacing `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Unlinks.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Room left.
    fn space(&self) -> io::Result<Space>;
}

/// An open file.
pub trait VfsFile: Send {
    /// Reads at `offset`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buf` at `offset`.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// `fdatasync`. After a failure the file must not be trusted nor synced again.
    fn sync(&self) -> io::Result<()>;
}

/// Why a directory cannot be had.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held,
    /// It cannot be made, opened or locked.
    Unusable(io::Error),
}

/// Reads up to `len` bytes from `offset`; shorter only at the end of the file.
///
/// # Errors
/// The first failed read.
pub(super) fn read_range(file: &dyn VfsFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Reads a whole file of at most `max` bytes; pages that the disk refuses come out as zeros, so
/// that what lies around them can be saved.
pub(super) fn read_what_is_readable(file: &dyn VfsFile, len: u64, max: usize) -> Vec<u8> {
    const PAGE: usize = 4096;
    let len = usize::try_from(len).map_or(max, |len| len.min(max));
    if let Ok(bytes) = read_range(file, 0, len) {
        return bytes;
    }
    let mut bytes = vec![0; len];
    for start in (0..len).step_by(PAGE) {
        let want = PAGE.min(len - start);
        if let Ok(page) = read_range(file, start as u64, want) {
            bytes[start..start + page.len()].copy_from_slice(&page);
        }
    }
    bytes
}
