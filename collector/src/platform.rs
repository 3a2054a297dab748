//! What is specific to an operating system. Nothing else in the collector names a system's files,
//! calls or signals.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
};

use tokio::signal::unix::{SignalKind, signal};

/// The configuration file, when the command line does not say.
pub const CONFIG: &str = "/etc/vigie/collector.toml";
/// Data, when the file does not say.
pub const DATA: &str = "/var/lib/vigie-collector";

/// Name of this machine.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What the C library is told of its arenas, when a program starts and only then.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Begins this program anew, as the same process, with one arena of memory for all threads: what one
/// thread freed is of use to the others. With an arena for each, 500 schools that stream while their
/// days are compacted and questions are asked took twice the memory at the peak, and no less CPU
/// (`tests/bench ingest`). Whoever sets the number of arenas keeps it.
///
/// # Errors
/// When the program can not be begun anew: it may as well go on.
pub fn share_one_arena() -> io::Result<()> {
    if env::var_os(ARENAS).is_some() {
        return Ok(());
    }
    let mut anew = Command::new(env::current_exe()?);
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        anew.arg0(name);
    }
    Err(anew.args(arguments).env(ARENAS, "1").exec())
}

/// Takes all open files that this process may have: one agent is one, and the usual limit is 1,024.
pub fn raise_file_limit() -> io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Listens from now on; the future ends at the first request to stop, by the service manager or by
/// the keyboard.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Makes a directory that only its owner enters; one that is there stays as it is.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file, which must not exist, that only its owner may read and write. The administrator's
/// files in another user's directory are that user's: the service must be able to read them.
pub fn create_private_file(path: &Path) -> io::Result<File> {
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

/// Permission bits of a file that others than its owner may use; `None` when only its owner may.
pub fn open_to_others(file: &File) -> io::Result<Option<u32>> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}
