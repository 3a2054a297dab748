//! Tokens, identities and restarts, on loopback.

use std::time::Duration;

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
        seed: 20_261_123,
        directory: directory.path().to_owned(),
    })?;
    ensure!(report.verdict.is_clean(), "{report:#?}");
    ensure!((report.agent_kills, report.collector_kills) == (6, 6));
    Ok(())
}
