//! A directory that one process holds: the spool's disk.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};

use crate::spool::vfs::{LockError, Space, Vfs, VfsFile};

/// What the system says of a disk that does not give back what was written.
#[must_use]
pub fn broken_disk() -> io::Error {
    rustix::io::Errno::IO.into()
}

/// Whether `error` is [`broken_disk`].
#[must_use]
pub fn is_broken_disk(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
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
        super::private::create_dir(path).map_err(LockError::Unusable)?;
        let dir = File::open(path).map_err(LockError::Unusable)?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), dir }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held),
            Err(error) => Err(LockError::Unusable(error.into())),
        }
    }

    /// A directory that is there, and that another process may hold: to be read only.
    ///
    /// # Errors
    /// It is not there or cannot be opened.
    pub fn look(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), dir: File::open(path)? })
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
