//! Files and directories that only their owner may use.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::Path,
};

/// Makes a directory that only its owner enters; one that is there stays as it is.
pub fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file, which must not exist, that only its owner may read and write.
///
/// The administrator's files in another user's directory are that user's: a service that runs as
/// itself must be able to read what was put there for it.
pub fn create_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if rustix::process::geteuid().is_root()
        && let Err(error) = give_to_owner_of(path.parent(), &file)
    {
        // What its user could not read must not stand in the way of the next attempt.
        fs::remove_file(path)?;
        return Err(error);
    }
    Ok(file)
}

fn give_to_owner_of(dir: Option<&Path>, file: &File) -> io::Result<()> {
    let dir = dir.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (dir, now) = (fs::metadata(dir)?, file.metadata()?);
    if (dir.uid(), dir.gid()) == (now.uid(), now.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(dir.uid()), Some(dir.gid()))
}

/// Permissions of a file that others than its owner may use, for people; `None` when only its owner
/// may.
#[must_use]
pub fn open_to_others(meta: &Metadata) -> Option<String> {
    let mode = meta.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("{mode:03o}"))
}

/// What makes a file its owner's only, for people.
pub const REMEDY: &str = "chmod 600";
