//! Where the programs under test are.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
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
    let (changed, source) = newest_source()?;
    ensure!(changed <= built, "{} is older than {}: {hint}", path.display(), source.display());
    Ok(path)
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

fn newest_source() -> Result<(SystemTime, PathBuf)> {
    let root = workspace();
    let mut newest = (SystemTime::UNIX_EPOCH, root.clone());
    let mut left: Vec<PathBuf> =
        ["proto", "agent/src", "collector"].iter().map(|part| root.join(part)).collect();
    while let Some(directory) = left.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                // Tests and benches of a crate are no part of its programs.
                if !["tests", "benches", "snapshots", "target"]
                    .iter()
                    .any(|name| path.ends_with(name))
                {
                    left.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|kind| ["rs", "proto", "sql"].iter().any(|k| kind == *k))
                && path.file_name().is_none_or(|name| name != "tests.rs")
            {
                let changed = entry.metadata()?.modified()?;
                if changed > newest.0 {
                    newest = (changed, path);
                }
            }
        }
    }
    Ok(newest)
}
