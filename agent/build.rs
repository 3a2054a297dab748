//! Checks the profiles in `profiles/` and packs them for the program. A fault ends the build.

#[path = "src/profile/check.rs"]
pub mod check;
#[path = "src/profile/heads.rs"]
pub mod heads;
#[path = "src/profile/model.rs"]
pub mod model;
#[path = "src/profile/packed.rs"]
pub mod packed;
#[path = "src/profile/pattern.rs"]
pub mod pattern;
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

use check::Files;

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
                report.extend(faults.iter().map(|fault| fault.line(&shown(name), &text)));
            }
        }
    }
    if report.is_empty() {
        let faults = check::check(&files);
        let line =
            |(name, fault): &(String, check::Fault)| fault.line(&shown(name), &files[name].text);
        report.extend(faults.iter().map(line));
    }
    if !report.is_empty() {
        return Err(report.join("\n").into());
    }
    pack(&files)
}

fn shown(name: &str) -> String {
    format!("agent/{PROFILES}/{name}.toml")
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
