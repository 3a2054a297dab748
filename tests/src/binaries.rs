//! Where the programs under test are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

/// Directory of the programs, instead of the one beside the running test.
pub const DIRECTORY_VARIABLE: &str = "VIGIE_BIN_DIR";

/// Path of a built program of the workspace, checked to be no older than its sources.
pub fn find(name: &str) -> Result<PathBuf> {
    if let Some(directory) = env::var_os(DIRECTORY_VARIABLE) {
        let path = PathBuf::from(directory).join(name);
        ensure!(path.is_file(), "{DIRECTORY_VARIABLE} holds no {name}");
        return Ok(path);
    }
    let running = env::current_exe().context("cannot tell which program is running")?;
    let mut directory = running.parent().context("a program without a directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().context("a target directory without a parent")?;
    }
    let path = directory.join(name);
    let hint = "run `cargo build --workspace --bins` with the same profile, or tests/run";
    let Ok(built) = fs::metadata(&path).and_then(|file| file.modified()) else {
        bail!("{} is not built: {hint}", path.display());
    };
    for source in sources(&path.with_extension("d"))? {
        // A source that is gone makes cargo build again, too.
        let changed = fs::metadata(&source).and_then(|file| file.modified());
        let older = changed.map_or(true, |changed| changed > built);
        ensure!(!older, "{} is older than {}: {hint}", path.display(), source.display());
    }
    Ok(path)
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// What cargo says that a program was made of: `program: source source`, spaces in names escaped.
fn sources(list: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(list).with_context(|| format!("no {}", list.display()))?;
    let (_, named) = text.split_once(": ").context("a list without a program")?;
    let named = named.trim_end().replace("\\ ", "\0");
    Ok(named.split(' ').map(|name| PathBuf::from(name.replace('\0', " "))).collect())
}
