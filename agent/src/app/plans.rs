//! The collector's last configuration that worked, on disk: the agent starts from it without any
//! network.
//!
//! - `plan.bin`: the last-known-good one;
//! - `plan.next.bin`: one on probation. A process that dies during probation finds it at its next
//!   start and tries it again, [`MAX_TRIES`] times in all: a power cut is not the plan's fault, a
//!   plan that kills the agent each time is.
//!
//! Each file: CRC-32C of the rest, a byte of tries, the `Config` message.

use std::path::{Path, PathBuf};

use prost::Message as _;
use proto::v1;

use crate::identity::files::{self, FileError};
use crate::logs::chain;

/// Starts that a plan on probation gets.
pub const MAX_TRIES: u8 = 3;

/// Why a plan can not be kept.
#[derive(Debug, thiserror::Error)]
pub enum PlanStoreError {
    /// A file could not be written.
    #[error("cannot keep the plan in {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
}

/// Where plans are kept.
#[derive(Debug, Clone)]
pub struct PlanStore {
    good: PathBuf,
    next: PathBuf,
}

/// What the disk holds at start.
#[derive(Debug, Default, PartialEq)]
pub struct Kept {
    /// The last-known-good plan.
    pub good: Option<v1::Config>,
    /// A plan whose probation was cut short, to be tried again.
    pub next: Option<v1::Config>,
    /// Version of a plan that was given up: this many processes died during its probation.
    pub given_up: Option<u64>,
}

impl PlanStore {
    /// Plans kept in `dir`, which exists.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { good: dir.join("plan.bin"), next: dir.join("plan.next.bin") }
    }

    /// Reads what is there, at the start of the process. Damaged files count as absent: the
    /// collector sends the plan again.
    pub fn load(&self) -> Result<Kept, PlanStoreError> {
        let mut kept = Kept { good: self.good(), ..Kept::default() };
        if let Some((config, tries)) = read(&self.next) {
            if tries < MAX_TRIES {
                write(&self.next, &config, tries + 1)?;
                kept.next = Some(config);
            } else {
                kept.given_up = Some(config.version);
                self.forget_next()?;
            }
        }
        Ok(kept)
    }

    /// The last-known-good plan.
    #[must_use]
    pub fn good(&self) -> Option<v1::Config> {
        read(&self.good).map(|(config, _)| config)
    }

    /// Keeps `config` as last-known-good at once.
    pub fn keep(&self, config: &v1::Config) -> Result<(), PlanStoreError> {
        write(&self.good, config, 0)?;
        self.forget_next()
    }

    /// Keeps `config` as on probation.
    pub fn try_out(&self, config: &v1::Config) -> Result<(), PlanStoreError> {
        write(&self.next, config, 1)
    }

    /// The plan on probation has proved itself.
    pub fn promote(&self) -> Result<(), PlanStoreError> {
        files::rename(&self.next, &self.good)
            .map_err(|source| PlanStoreError::File { path: self.good.clone(), source })
    }

    /// Drops every plan.
    pub fn forget(&self) -> Result<(), PlanStoreError> {
        self.forget_next()?;
        files::remove(&self.good)
            .map_err(|source| PlanStoreError::File { path: self.good.clone(), source })
    }

    /// Drops the plan on probation.
    pub fn forget_next(&self) -> Result<(), PlanStoreError> {
        files::remove(&self.next)
            .map_err(|source| PlanStoreError::File { path: self.next.clone(), source })
    }
}

fn write(path: &Path, config: &v1::Config, tries: u8) -> Result<(), PlanStoreError> {
    let mut bytes = vec![0, 0, 0, 0, tries];
    bytes.extend_from_slice(&config.encode_to_vec());
    let sum = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    files::replace(path, &bytes)
        .map_err(|source| PlanStoreError::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> Option<(v1::Config, u8)> {
    let bytes = match files::read_private(path) {
        Ok(bytes) => bytes?,
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(error, path = %path.display(), "a kept plan can not be read");
            return None;
        }
    };
    let plan = parse(&bytes);
    if plan.is_none() {
        tracing::warn!(path = %path.display(), "a kept plan is damaged");
    }
    plan
}

fn parse(bytes: &[u8]) -> Option<(v1::Config, u8)> {
    let (sum, rest) = bytes.split_first_chunk::<4>()?;
    let (tries, message) = rest.split_first()?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*sum) {
        return None;
    }
    Some((v1::Config::decode(message).ok()?, *tries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(version: u64) -> v1::Config {
        v1::Config { version, references: vec!["1.1.1.1".to_owned()], ..v1::Config::default() }
    }

    fn store() -> (tempfile::TempDir, PlanStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = PlanStore::new(dir.path());
        (dir, store)
    }

    #[test]
    fn a_plan_that_proved_itself_is_the_good_one() {
        let (_dir, store) = store();
        store.keep(&config(1)).unwrap();
        store.try_out(&config(2)).unwrap();
        store.promote().unwrap();
        let kept = store.load().unwrap();
        assert_eq!(kept, Kept { good: Some(config(2)), ..Kept::default() });
    }

    #[test]
    fn a_plan_under_which_process_after_process_dies_is_given_up() {
        let (_dir, store) = store();
        store.keep(&config(1)).unwrap();
        store.try_out(&config(2)).unwrap();
        for _ in 1..MAX_TRIES {
            let kept = store.load().unwrap();
            assert_eq!((kept.next, kept.given_up), (Some(config(2)), None));
        }
        let kept = store.load().unwrap();
        assert_eq!((kept.next, kept.given_up), (None, Some(2)));
        assert_eq!(store.load().unwrap(), Kept { good: Some(config(1)), ..Kept::default() });
    }

    #[test]
    fn nothing_is_left_of_plans_that_are_forgotten() {
        let (_dir, store) = store();
        store.forget().unwrap();
        store.keep(&config(1)).unwrap();
        store.try_out(&config(2)).unwrap();
        store.forget().unwrap();
        assert_eq!(store.load().unwrap(), Kept::default());
    }

    #[test]
    fn a_damaged_plan_counts_as_absent() {
        let (_dir, store) = store();
        store.keep(&config(1)).unwrap();
        let whole = std::fs::read(&store.good).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&store.good, &whole[..cut]).unwrap();
            assert_eq!(store.load().unwrap(), Kept::default(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&store.good, &bytes).unwrap();
            assert_eq!(store.load().unwrap(), Kept::default(), "bit turned at {at}");
        }
    }
}
