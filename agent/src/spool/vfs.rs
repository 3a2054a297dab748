//! The few things the spool asks of a directory, so that tests can put a failing disk under it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};

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

/// A directory of the machine.
#[derive(Debug)]
pub struct RealVfs {
    path: PathBuf,
    dir: File,
}

impl RealVfs {
    /// Makes the directory if need be (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(path: &Path) -> Result<Self, LockError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(LockError::Unusable)?;
        let dir = File::open(path).map_err(LockError::Unusable)?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), dir }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held),
            Err(error) => Err(LockError::Unusable(error.into())),
        }
    }

    fn openat(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // Never through a link, never blocked by a FIFO.
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }
}

impl Vfs for RealVfs {
    fn list(&self, keep: &dyn Fn(&str) -> bool) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| keep(name)) else { continue };
            // `metadata` of a directory entry does not follow links.
            match entry.metadata() {
                Ok(meta) if meta.is_file() => files.push((name.to_owned(), meta.len())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        let file = self.openat(name, OFlags::empty())?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Box::new(file))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn VfsFile>> {
        let file = self.openat(name, OFlags::CREATE | OFlags::EXCL)?;
        let reserved = if len == 0 {
            Ok(())
        } else {
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len) {
                // Some filesystems cannot reserve: the file then grows as it is written.
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(len),
                other => other.map_err(io::Error::from),
            }
        };
        match reserved {
            Ok(()) => Ok(Box::new(file)),
            Err(error) => {
                // A leftover would stand in the way of the next attempt under this name.
                self.remove(name)?;
                Err(error)
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.dir, from, &self.dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.dir)?;
        Ok(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }
}

impl VfsFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
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
