//! Tokens, identities and restarts, on loopback.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use e2e::{
    agent::{self, Agent},
    campaign::{Options, run},
    collector::{self, Collector, Settings},
    wait,
};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_mins(1);

fn agent(directory: &TempDir, name: &str) -> Result<Agent> {
    Agent::new(&directory.path().join(name), agent::Settings::default(), None)
}

fn connected(collector: &Collector) -> Result<bool> {
    let agents = collector.get("/agents")?;
    Ok(agents["items"][0]["connected"] == true)
}

#[test]
fn a_token_is_good_once_and_what_is_no_token_never() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let collector = Collector::start(&directory.path().join("c"), &Settings::default())?;
    let uai = collector::uai(2);
    collector.add_site(&uai, "Lycée Ampère", "1")?;
    let token = collector.token(&uai)?;
    agent(&directory, "first")?.enrol(collector.agents_address(), &token)?;

    let address = collector.agents_address().to_string();
    let other = agent(&directory, "other")?;
    let try_with =
        |token: &str| other.command(&["enrol", "--collector", &address, "--token", token]);
    let parts: Vec<&str> = token.split('.').collect();
    let forged = format!("{}.{}.{}", parts[0], "A".repeat(parts[1].len()), parts[2]);
    let elsewhere = format!("{}.{}.{}", parts[0], parts[1], "0".repeat(parts[2].len()));
    let mut refusals = Vec::new();
    for token in [token.as_str(), &forged] {
        let said = try_with(token)?;
        ensure!(said.code == Some(1), "{said:?}");
        refusals.push(said.err);
    }
    ensure!(refusals[0] == refusals[1], "a used token and a forged one look alike: {refusals:?}");
    for token in ["", "x", "a.b", &token[..20], &elsewhere] {
        let said = try_with(token)?;
        ensure!(said.code == Some(1) && !said.err.is_empty(), "{token}: {said:?}");
        ensure!(!said.err.contains(parts[1]), "a secret in a message: {}", said.err);
    }
    let agents = collector.get("/agents")?;
    ensure!(agents["items"].as_array().is_some_and(|agents| agents.len() == 1), "{agents:#}");
    Ok(())
}

/// A service of its own user, whose directory the service manager gave it, and root who enrols.
#[test]
fn what_root_enrols_in_a_services_directory_belongs_to_the_service() -> Result<()> {
    const SERVICE: (u32, u32) = (61_184, 61_185);
    let directory = tempfile::tempdir()?;
    let collector = Collector::start(&directory.path().join("c"), &Settings::default())?;
    let uai = collector::uai(4);
    collector.add_site(&uai, "Lycée Noether", "1")?;
    let agent = agent(&directory, "a")?;
    let address = collector.agents_address().to_string();
    fs::create_dir(agent.data())?;
    fs::set_permissions(agent.data(), fs::Permissions::from_mode(0o700))?;
    std::os::unix::fs::chown(agent.data(), Some(SERVICE.0), Some(SERVICE.1))?;
    let files = || -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(agent.data())? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!((meta.uid(), meta.gid()) == SERVICE, "{name} is of {}", meta.uid());
            ensure!(meta.mode() & 0o7777 == 0o600, "{name}: {:o}", meta.mode());
            names.push(name);
        }
        names.sort();
        Ok(names)
    };
    let identity = || fs::read(agent.data().join("identity.pem"));
    agent.enrol(collector.agents_address(), &collector.token(&uai)?)?;
    let expected = ["enrolment.toml", "identity.pem", "plan.bin", "trust.pem"];
    ensure!(files()? == expected, "{:?}", files()?);
    let first = identity()?;

    let token = collector.token(&uai)?;
    let words = ["enrol", "--collector", &address, "--token", &token];
    let said = agent.command(&words)?;
    ensure!(said.code == Some(1) && said.err.contains("--replace"), "{said:?}");
    let said = agent.command(&[&words[..], &["--replace"]].concat())?;
    ensure!(said.code == Some(0) && said.out.contains("systemctl restart"), "{said:?}");
    ensure!(files()? == expected, "{:?}", files()?);
    ensure!(identity()? != first, "the identity is the former one");

    // The service itself reads what it was given.
    let readable = |path: &Path| -> Result<bool> {
        let mut command = Command::new("test");
        command.arg("-r").arg(path).uid(SERVICE.0).gid(SERVICE.1);
        Ok(command.status()?.success())
    };
    // Above it, directories of this test's own.
    for above in [directory.path().to_owned(), directory.path().join("a")] {
        fs::set_permissions(above, fs::Permissions::from_mode(0o711))?;
    }
    for name in expected {
        ensure!(readable(&agent.data().join(name))?, "{name} can not be read");
    }
    Ok(())
}

#[test]
fn agent_and_collector_find_each_other_after_every_restart() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::start(&directory.path().join("c"), &Settings::default())?;
    let uai = collector::uai(3);
    collector.add_site(&uai, "Collège Zay", "1")?;
    let mut agent = agent(&directory, "a")?;
    agent.enrol(collector.agents_address(), &collector.token(&uai)?)?;
    agent.start()?;
    wait::until_true("the agent", LIMIT, || connected(&collector))?;
    collector.stop()?;
    collector.restart()?;
    wait::until_true("the agent, after the collector's stop", LIMIT, || connected(&collector))?;
    collector.kill()?;
    collector.restart()?;
    wait::until_true("the agent, after the collector's kill", LIMIT, || connected(&collector))?;
    agent.stop()?;
    wait::until_true("the agent to be gone", LIMIT, || Ok(!connected(&collector)?))?;
    agent.start()?;
    wait::until_true("the agent, after its own stop", LIMIT, || connected(&collector))?;
    let log = agent.daemon()?.log()?;
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}

/// A small one; the campaign itself has hundreds of each.
#[test]
fn kills_in_the_middle_of_work_lose_nothing_and_double_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let report = run(&Options {
        agents: 2,
        devices: 2,
        kills: 6,
        faults: 6,
        drain: Duration::from_mins(2),
        seed: 20_261_123,
        directory: directory.path().to_owned(),
    })?;
    ensure!(report.verdict.is_clean(), "{report:#?}");
    ensure!((report.agent_kills, report.collector_kills) == (6, 6));
    Ok(())
}
