//! Checks the profiles in `profiles/` and packs them for the program. A fault ends the build.

// The modules below are the agent's own; what only the agent calls is not dead.
#![allow(dead_code)]
#![expect(clippy::print_stdout, reason = "how a build script talks to cargo")]

#[path = "src/profile/check.rs"]
pub mod check;
#[path = "src/profile/check_rules.rs"]
pub mod check_rules;
#[path = "src/profile/heads.rs"]
pub mod heads;
#[path = "src/profile/model.rs"]
pub mod model;
#[path = "src/profile/packed.rs"]
pub mod packed;
#[path = "src/profile/pattern.rs"]
pub mod pattern;
#[path = "src/profile/scalars.rs"]
pub mod scalars;
#[path = "src/profile/syntax.rs"]
pub mod syntax;
#[path = "src/profile/uses.rs"]
pub mod uses;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use check::{Fault, Files};

const PROFILES: &str = "profiles";
/// The best that the format has but for its ultra levels: it is paid once, here.
const LEVEL: i32 = 19;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={PROFILES}");
    println!("cargo::rerun-if-changed=src/profile");
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let mut files = Files::new();
    let mut report = Vec::new();
    for path in paths()? {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let text = fs::read_to_string(&path)?;
        match check::parse(text.clone()) {
            Ok(file) => drop(files.insert(name.to_owned(), file)),
            Err(faults) => {
                report.extend(faults.iter().map(|fault| line(name, &text, fault)));
            }
        }
    }
    if report.is_empty() {
        let faults = check::check(&files);
        report.extend(faults.iter().map(|(name, fault)| line(name, &files[name].text, fault)));
    }
    if !report.is_empty() {
        return Err(report.join("\n").into());
    }
    pack(&files)
}

fn paths() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(PROFILES)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn line(name: &str, text: &str, fault: &Fault) -> String {
    let (line, column) = check::line_and_column(text, fault.span.start);
    let hint = if fault.hint.is_empty() { String::new() } else { format!(" ({})", fault.hint) };
    format!("agent/{PROFILES}/{name}.toml:{line}:{column}: {}{hint}", fault.message)
}

fn pack(files: &Files) -> Result<(), Box<dyn Error>> {
    let mut texts = String::new();
    let mut heads = Vec::new();
    for (name, file) in files {
        let mut head = heads::head(files, name)?;
        let start = texts.len();
        texts.push_str(&packed::stripped(&file.text));
        head.text = start..texts.len();
        heads.push(head);
    }
    let written = packed::pack(&heads);
    if packed::unpack(&written).as_deref() != Some(&heads[..]) {
        return Err("a pattern of a [[match]] holds a tab or a line break".into());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    keep(&out, "heads", &written)?;
    keep(&out, "texts", &texts)
}

/// Writes `name.zst`, and how long it is when it is unpacked.
fn keep(out: &Path, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    fs::write(out.join(format!("{name}.zst")), zstd::bulk::compress(text.as_bytes(), LEVEL)?)?;
    fs::write(out.join(format!("{name}.len")), text.len().to_string())?;
    Ok(())
}
