//! `conformance SNMP ADDRESS OUT [DEVICE…]`: asks recorded devices, as a simulator serves them at ADDRESS,
//! and compares what is learnt with what is known of them. SNMP has `recordings`, `expected` and
//! `score.py`; OUT takes what the agent says of each device.
//!
//! Exit status 0 when every limit is kept. Of single devices, the limits of all say nothing: they are
//! asked and scored only.

#![expect(clippy::print_stdout, reason = "a check prints its findings")]

mod inspection;
mod limits;
mod polling;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [snmp, address, out, devices @ ..] = &words[..] else {
        anyhow::bail!("conformance SNMP ADDRESS OUT [DEVICE...]");
    };
    let (snmp, out) = (Path::new(snmp), Path::new(out));
    let address: SocketAddr = address.parse().context("ADDRESS is no IP:port")?;
    let paths = recordings(&snmp.join("recordings"), devices)?;

    println!("== what is polled");
    let mut is_good = polling::check(&paths, address).await?;
    println!("== what is inspected");
    is_good &= inspection::check(&paths, address, out).await?;
    println!("== what is known of it");
    is_good &= limits::check(snmp, out, devices)?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The recordings of these devices; of all, when none is named.
fn recordings(directory: &Path, devices: &[String]) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    // `name@vlan` files are views of one device, without interfaces of their own.
    paths.retain(|path| {
        let is_named =
            |device: &String| path.file_stem().is_some_and(|stem| stem == device.as_str());
        path.extension().is_some_and(|kind| kind == "snmprec")
            && !path.to_string_lossy().contains('@')
            && (devices.is_empty() || devices.iter().any(is_named))
    });
    let enough = if devices.is_empty() { 1 } else { devices.len() };
    ensure!(paths.len() >= enough, "not all of {devices:?} in {}", directory.display());
    Ok(paths)
}
