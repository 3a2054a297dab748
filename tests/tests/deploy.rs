//! What is shipped beside the programs: units and sample configurations.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{binaries, process};

const LIMIT: Duration = Duration::from_secs(30);
/// Worst exposure that a unit may have, of 10.
const MAX_EXPOSURE: f64 = 2.0;

#[test]
fn units_confine_their_programs() -> Result<()> {
    for unit in ["vigie-agent.service", "vigie-collector.service"] {
        let path = binaries::workspace().join("deploy").join(unit);
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]).arg(&path);
        let said = process::run("systemd-analyze", command, LIMIT)?;
        let line = said.out.lines().find(|line| line.contains("Overall exposure level"));
        let line = line.with_context(|| format!("no judgement: {said:?}"))?;
        let score = line.rsplit_once(": ").and_then(|(_, rest)| rest.split(' ').next());
        let score: f64 = score.context("no score")?.parse()?;
        ensure!(score <= MAX_EXPOSURE, "{unit}: {score}");
    }
    Ok(())
}

#[test]
fn units_start_programs_by_words_that_these_know() -> Result<()> {
    for name in ["vigie-agent", "vigie-collector"] {
        let unit = binaries::workspace().join(format!("deploy/{name}.service"));
        let text = fs::read_to_string(unit)?;
        let mut starts = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("ExecStart")) {
            let words: Vec<&str> = line.split(['=', ' ']).filter(|word| !word.is_empty()).collect();
            let at =
                words.iter().position(|word| word.ends_with(name)).context("another program")?;
            let mut command = Command::new(binaries::find(name)?);
            command.args(&words[at + 1..]).arg("--help");
            let said = process::run(line, command, LIMIT)?;
            ensure!(said.code == Some(0), "{line}: {said:?}");
            starts += 1;
        }
        ensure!(starts > 0, "{name} is never started");
    }
    Ok(())
}

fn check_agent(text: &str) -> Result<process::Said> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("agent.toml");
    fs::write(&path, text)?;
    let mut command = Command::new(binaries::find("vigie-agent")?);
    command.arg("--check-config").arg("--config").arg(&path);
    process::run("vigie-agent --check-config", command, LIMIT)
}

/// The sample with the keys that have no default given too.
fn with_every_key(sample: &str) -> String {
    let is_key = |text: &str| {
        let name = text.split_once(" = ").map(|(name, _)| name);
        name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let line = |line: &str| {
        let bare = line.strip_prefix("# ").filter(|bare| is_key(bare)).unwrap_or(line);
        bare.to_owned() + "\n"
    };
    sample.lines().map(line).collect()
}

#[test]
fn the_agents_sample_configuration_shows_each_key_with_its_default() -> Result<()> {
    let sample = fs::read_to_string(binaries::workspace().join("deploy/agent.toml"))?;
    let full = with_every_key(&sample);
    for text in [&sample, &full] {
        let said = check_agent(text)?;
        ensure!(said.code == Some(0), "{said:?}");
    }
    let Ok(shown) = agent::config::Config::parse(&sample) else { bail!("the sample is refused") };
    let default = agent::config::Config::default();
    ensure!(format!("{shown:?}") == format!("{default:?}"), "{shown:?}\n{default:?}");

    // The agent's own words name the keys that it knows.
    let table: toml::Table = full.parse()?;
    let limits = table["limits"].as_table().context("limits is no table")?;
    for (unknown, given) in [("nokey = 1\n", &table), ("[limits]\nnokey = 1\n", limits)] {
        let said = check_agent(unknown)?;
        let known = said.err.split_once("expected one of").context("no list of keys")?.1;
        let known = known.lines().next().unwrap_or_default();
        let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
        let given: BTreeSet<&str> = given.keys().map(String::as_str).collect();
        ensure!(known == given && known.len() >= 7, "known {known:?}, shown {given:?}");
    }
    Ok(())
}

#[test]
fn the_sample_configuration_is_taken_and_a_misspelt_one_is_not() -> Result<()> {
    let sample = binaries::workspace().join("deploy/collector.toml");
    let directory = tempfile::tempdir()?;
    let check = |path: &std::path::Path| {
        let mut command = Command::new(binaries::find("vigie-collector")?);
        command.arg("--check-config").arg("--config").arg(path);
        process::run("vigie-collector --check-config", command, LIMIT)
    };
    let said = check(&sample)?;
    ensure!(said.code == Some(0), "{said:?}");

    let misspelt = directory.path().join("collector.toml");
    let text = fs::read_to_string(&sample)?.replace("silence_after_s", "silence_after");
    fs::write(&misspelt, text)?;
    let said = check(&misspelt)?;
    ensure!(said.code != Some(0), "{said:?}");
    let told = format!("{}{}", said.out, said.err);
    ensure!(told.contains("silence_after") && told.contains('^'), "no line, no caret: {told}");
    Ok(())
}
