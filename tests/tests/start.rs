//! From nothing to the first measure: what the README tells to type, on a machine without any file.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    binaries,
    netns::{self, Namespace},
    process::{self, Daemon, Said},
    wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(1);

/// A machine of our own, as far as these programs see one: its network, its name, and nothing in
/// `/var/lib` and `/etc/vigie`. It lives as long as its collector.
struct Machine {
    collector: Daemon,
    path: String,
    directory: tempfile::TempDir,
    // Dropped last: what runs inside is gone.
    _network: Namespace,
}

/// Ends by becoming the program that follows.
const BARE: &str = "set -e
hostname localhost
mount -t tmpfs none /var/lib
if [ -e /etc/vigie ]; then mount -t tmpfs none /etc/vigie; fi
exec \"$@\"";

impl Machine {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let network = Namespace::new(&netns::next_tag(), "bare")?;
        let programs = binaries::find("vigie-collector")?;
        binaries::find("vigie-agent")?;
        binaries::find("vigie")?;
        let programs = programs.parent().context("a program without a directory")?;
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let mut command = process::command(Path::new("unshare"), Some(&network));
        command.args(["--mount", "--uts", "sh", "-c", BARE, "sh", "vigie-collector", "run"]);
        command.env("PATH", &path);
        let log = directory.path().join("collector.log");
        let collector = Daemon::start("vigie-collector run", command, &log)?;
        let mut machine = Self { collector, path, directory, _network: network };
        wait::until_true("the collector", LIMIT, || {
            machine.collector.check()?;
            Ok(machine.collector.log()?.contains("the collector runs"))
        })?;
        Ok(machine)
    }

    /// A shell on this machine that is typed one line.
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.collector.pid().to_string();
        // Where this system is itself below a root of its own, so is the machine.
        let spaces = ["--mount", "--net", "--uts", "--root"];
        command.args(["--target", &target]).args(spaces).args(["sh", "-c", line]);
        command.env("PATH", &self.path).env("LC_ALL", "C.UTF-8");
        command
    }

    fn typed(&self, line: &str) -> Result<Said> {
        process::run(line, self.shell(line), LIMIT)
    }

    fn well(&self, line: &str) -> Result<String> {
        let said = self.typed(line)?;
        ensure!(said.code == Some(0), "{line}: {said:#?}");
        Ok(said.out)
    }
}

/// The lines of the README's first shell block under this heading, without comments.
fn told(heading: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(binaries::workspace().join("README.md"))?;
    let section = text.split_once(&format!("## {heading}\n")).context("no such heading")?.1;
    let block = section.split_once("```sh\n").context("no block")?.1;
    let block = block.split_once("```").context("no end")?.0;
    let lines = block.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[test]
fn the_readmes_way_from_nothing_to_the_first_measure_is_true_line_by_line() -> Result<()> {
    let lines = told("From nothing to the first measure")?;
    let machine = Machine::start()?;
    let mut enrol = None;
    let mut typed = 0;
    for line in &lines {
        let first = line.split(' ').next().unwrap_or_default();
        match first {
            // Building and installing, and the collector that runs already.
            "cargo" | "install" => {}
            "vigie-collector" => ensure!(line == "vigie-collector run &", "{line}"),
            "vigie" => {
                let said = machine.well(line)?;
                let told = said.lines().find(|line| line.contains("vigie-agent enrol"));
                enrol = enrol.or(told.map(|line| line.trim().to_owned()));
                typed += 1;
            }
            "vigie-agent" => {
                let enrol = enrol.as_deref().context("no line was printed for the school")?;
                let given: Vec<&str> = enrol.split(' ').collect();
                let shown: Vec<&str> = line.split(' ').collect();
                ensure!(given[..3] == shown[..3] && given[4] == shown[4], "{line}\n{enrol}");
                machine.well(enrol)?;
                typed += 1;
            }
            _ => anyhow::bail!("a line that nobody tries: {line}"),
        }
    }
    ensure!(typed >= 4 && enrol.is_some(), "{lines:#?}");

    let log = machine.directory.path().join("agent.log");
    let _agent = Daemon::start("vigie-agent", machine.shell("exec vigie-agent run"), &log)?;
    let question = "vigie series get --uai 0999001W --metric uptime --from -1h --step raw --json";
    wait::until_true("the first measure", LIMIT, || {
        let answer: Value = serde_json::from_str(&machine.typed(question)?.out).unwrap_or_default();
        Ok(answer["points"].as_array().is_some_and(|points| !points.is_empty()))
    })
}

#[test]
fn both_programs_tell_faults_alike_and_by_the_same_exit_status() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("wrong.toml"), "no_such_key = 1\n")?;
    fs::write(at("good.toml"), "")?;
    fs::write(at("file"), "")?;
    let (missing, wrong, good) = (at("missing.toml"), at("wrong.toml"), at("good.toml"));
    // No directory can be made under a file.
    let nowhere = at("file/data");
    for program in ["vigie-agent", "vigie-collector"] {
        let path = binaries::find(program)?;
        let cases: [(&[&str], i32, String); 7] = [
            (&["--no-such-option"], 2, "error: unexpected argument".to_owned()),
            (&["--config", &missing], 2, format!("{program}: cannot read the configuration ")),
            (&["--config", &missing, "--check-config"], 2, format!("{program}: cannot read the ")),
            (&["--config", &wrong], 2, "error: unknown field `no_such_key`".to_owned()),
            (&["--config", &wrong, "--check-config"], 2, "error: unknown field ".to_owned()),
            (&["--config", &good, "--data", &nowhere, "run"], 1, String::new()),
            (&["--config", &good, "--check-config"], 0, String::new()),
        ];
        for (words, code, start) in cases {
            let mut command = Command::new(&path);
            command.args(words);
            let said = process::run(program, command, LIMIT)?;
            ensure!(said.code == Some(code), "{program} {words:?}: {said:#?}");
            ensure!(said.err.starts_with(&start), "{program} {words:?}: {said:#?}");
            ensure!((code == 0) == said.err.is_empty(), "{program} {words:?}: {said:#?}");
            ensure!(!said.err.to_lowercase().contains("error: error"), "{said:#?}");
            if code == 1 {
                let last = said.err.lines().last().unwrap_or_default();
                ensure!(last.starts_with(&format!("{program}: cannot ")), "{said:#?}");
            }
            if start.starts_with("error: unknown") {
                ensure!(said.err.contains(&format!("{wrong}:1:1")), "{said:#?}");
                ensure!(said.err.contains("^^^"), "{said:#?}");
            }
        }
    }
    Ok(())
}

#[test]
fn both_programs_take_the_detail_and_the_language_of_their_words_alike() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("config.toml");
    fs::write(&config, "log_format = \"json\"\n")?;
    let data = directory.path().join("data");
    // No directory can be made under a file.
    fs::write(&data, "")?;
    let data = data.join("below");
    for program in ["vigie-agent", "vigie-collector"] {
        let path = binaries::find(program)?;
        let run = |words: &[&str], variables: &[(&str, &str)]| {
            let mut command = Command::new(&path);
            command.args(words).env_remove("LC_ALL").env_remove("LC_MESSAGES").env("LANG", "C");
            command.envs(variables.iter().copied());
            process::run(program, command, LIMIT)
        };
        let config = config.display().to_string();
        let begin = ["--config", &config, "--data", &data.display().to_string(), "run"];
        let said = run(&begin, &[("VIGIE_LOG", "vigie=absurd")])?;
        ensure!(said.code == Some(2), "{said:#?}");
        ensure!(said.err.starts_with(&format!("{program}: cannot use VIGIE_LOG=")), "{said:#?}");
        // The log, if any, is of JSON; the last line tells people why the program ended.
        let said = run(&begin, &[("VIGIE_LOG", "trace")])?;
        ensure!(said.code == Some(1), "{said:#?}");
        for line in said.err.lines().filter(|line| !line.starts_with(program)) {
            let entry: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            ensure!(entry["level"].is_string() && entry["fields"].is_null(), "{entry}");
        }
        for (words, lang, usage) in [
            (&["--help"][..], "C", "Utilisation : "),
            (&["--help"], "en_GB.UTF-8", "Usage: "),
            (&["--lang", "en", "--help"], "fr_FR.UTF-8", "Usage: "),
            (&["--lang=fr", "--help"], "en_GB.UTF-8", "Utilisation : "),
        ] {
            let said = run(words, &[("LANG", lang)])?;
            ensure!(said.code == Some(0) && said.out.contains(usage), "{words:?} {said:#?}");
        }
    }
    Ok(())
}
