//! A disk in memory that fails on command: for tests of the spool and of whole agents.
//!
//! Data that was not synced is lost at a power cut sector by sector; directory changes that were
//! not synced are lost from the end. Nothing of it is used by a running agent.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    store::OpenDisk,
    vfs::{LockError, Space, Vfs, VfsFile},
};
use crate::platform::directory::broken_disk;

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Unsynced writes: offset and bytes, in order.
    writes: Vec<(usize, Vec<u8>)>,
    /// A sync failed: what was written since the last good one can never be made durable.
    broken: bool,
}

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, file) => {
            names.insert(name.clone(), *file);
        }
        Change::Unlink(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    locked: bool,
    /// Steps and bytes left before the machine dies.
    fuse: Option<u64>,
    fail_syncs: u64,
    fail_writes: u64,
    fail_reads: bool,
    read_only: bool,
    capacity: Option<u64>,
    syncs: u64,
}

impl State {
    /// Burns the fuse; false when the machine is dead. `want` is a number of steps or bytes, and
    /// the result how many of them still happen.
    fn step(&mut self, want: u64) -> Result<u64, io::Error> {
        let Some(fuse) = self.fuse.as_mut() else { return Ok(want) };
        let done = want.min(*fuse);
        *fuse -= done;
        if done == 0 && want > 0 { Err(io::Error::other("the machine is off")) } else { Ok(done) }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].now.len() as u64).sum()
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }
}

/// The disk: clones are the same one.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk with the files of another, all durable.
    #[must_use]
    pub fn copy_of(other: &Self) -> Self {
        let disk = Self::new();
        for (name, bytes) in other.files() {
            disk.put(&name, bytes);
        }
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What [`super::Spool::open_on`] wants.
    #[must_use]
    pub fn opener(&self) -> OpenDisk {
        let disk = self.clone();
        Box::new(move || {
            let mut state = disk.state();
            if state.locked {
                return Err(LockError::Held);
            }
            state.step(1).map_err(LockError::Unusable)?;
            state.locked = true;
            Ok(Box::new(SimDir(disk.clone())))
        })
    }

    /// Every file and its bytes, as a process sees them.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state
            .names
            .iter()
            .map(|(name, file)| (name.clone(), state.files[*file].now.clone()))
            .collect()
    }

    /// Puts a durable file there, replacing one of that name.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = state.files.len();
        state.files.push(Content { durable: bytes.clone(), now: bytes, ..Content::default() });
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    /// Takes a file away for good.
    pub fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Lets the machine die after so many steps and written bytes.
    pub fn die_after(&self, steps: u64) {
        self.state().fuse = Some(steps);
    }

    /// Lets the next `count` syncs fail.
    pub fn fail_syncs(&self, count: u64) {
        self.state().fail_syncs = count;
    }

    /// Lets the next `count` writes fail.
    pub fn fail_writes(&self, count: u64) {
        self.state().fail_writes = count;
    }

    /// Lets reads fail with EIO, or not.
    pub fn fail_reads(&self, fail: bool) {
        self.state().fail_reads = fail;
    }

    /// Lets every change fail with EROFS, or not.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Limits what the disk holds, bytes.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    /// Successful syncs of files so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The process is killed: the kernel keeps what was written.
    pub fn kill(&self) {
        let mut state = self.state();
        state.fuse = None;
        state.locked = false;
    }

    /// The power fails: of what was not synced, `keep` says sector by sector and directory change
    /// by directory change whether it had reached the disk. The machine is on again afterwards.
    pub fn cut_power(&self, mut keep: impl FnMut() -> bool) {
        let mut state = self.state();
        for content in &mut state.files {
            for (offset, bytes) in std::mem::take(&mut content.writes) {
                let mut at = 0;
                while at < bytes.len() {
                    let upto = (SECTOR - (offset + at) % SECTOR + at).min(bytes.len());
                    if keep() && offset + upto <= content.durable.len() {
                        content.durable[offset + at..offset + upto]
                            .copy_from_slice(&bytes[at..upto]);
                    }
                    at = upto;
                }
            }
            content.now = content.durable.clone();
            content.broken = false;
        }
        let changes = std::mem::take(&mut state.changes);
        for change in changes.iter().take_while(|_| keep()) {
            apply(&mut state.durable_names, change);
        }
        state.names = state.durable_names.clone();
        state.fuse = None;
        state.locked = false;
    }
}

struct SimDir(SimDisk);

impl Drop for SimDir {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl SimDir {
    fn writable(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.0.state();
        state.step(1)?;
        if state.read_only {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        Ok(state)
    }
}

impl Vfs for SimDir {
    fn list(&self, keep: &dyn Fn(&str) -> bool) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.0.state();
        state.step(1)?;
        let mine = state.names.iter().filter(|(name, _)| keep(name));
        Ok(mine.map(|(name, file)| (name.clone(), state.files[*file].now.len() as u64)).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        let mut state = self.0.state();
        state.step(1)?;
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(Box::new(SimFile { disk: self.0.clone(), file }))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn VfsFile>> {
        let mut state = self.writable()?;
        if state.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        if state.capacity.is_some_and(|capacity| state.used() + len > capacity) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let zeros = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let file = state.files.len();
        state.files.push(Content { durable: zeros.clone(), now: zeros, ..Content::default() });
        state.change(Change::Link(name.to_owned(), file));
        drop(state);
        Ok(Box::new(SimFile { disk: self.0.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.writable()?;
        if !state.names.contains_key(from) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.writable()?;
        if !state.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        state.change(Change::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.writable()?;
        let changes = std::mem::take(&mut state.changes);
        for change in &changes {
            apply(&mut state.durable_names, change);
        }
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let mut state = self.0.state();
        state.step(1)?;
        let total = state.capacity.unwrap_or(1 << 40);
        Ok(Space { free: total.saturating_sub(state.used()), total })
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl VfsFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.step(1)?;
        if state.fail_reads {
            return Err(broken_disk());
        }
        let bytes = &state.files[self.file].now;
        let from = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
        let len = buf.len().min(bytes.len() - from);
        buf[..len].copy_from_slice(&bytes[from..from + len]);
        Ok(len)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.read_only {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        if state.fail_writes > 0 {
            state.fail_writes -= 1;
            return Err(broken_disk());
        }
        let done = usize::try_from(state.step(buf.len() as u64)?).map_err(io::Error::other)?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let content = &mut state.files[self.file];
        let end = at + done;
        if content.now.len() < end {
            content.now.resize(end, 0);
            content.durable.resize(end, 0);
        }
        content.now[at..end].copy_from_slice(&buf[..done]);
        content.writes.push((at, buf[..done].to_vec()));
        if done < buf.len() { Err(io::Error::other("the machine is off")) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step(1)?;
        if state.read_only {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        if state.fail_syncs > 0 {
            state.fail_syncs -= 1;
            state.files[self.file].broken = true;
            return Err(broken_disk());
        }
        // As Linux does: the pages of a failed sync count as clean, so a later one reports success
        // without having written them.
        state.syncs += 1;
        let content = &mut state.files[self.file];
        if content.broken {
            content.writes.clear();
        } else {
            content.writes.clear();
            content.durable.clone_from(&content.now);
        }
        Ok(())
    }
}
