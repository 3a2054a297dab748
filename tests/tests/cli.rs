//! The operators' command line on the collector's machine: what it prints, and its exit status.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    agent::{self, Agent},
    collector::{self, Collector, Settings},
    process::Said,
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_mins(1);

/// A collector with one school whose agent runs.
struct Place {
    collector: Collector,
    agent: Agent,
    uai: String,
    directory: TempDir,
}

impl Place {
    fn set() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let settings = Settings { silence_after_s: 10, start_grace_s: 0, ..Settings::default() };
        let collector = Collector::start(&directory.path().join("collector"), &settings)?;
        let uai = collector::uai(5);
        // Only commands, as an operator would.
        collector.vigie_ok(&[
            "site",
            "add",
            &uai,
            "--name",
            "Collège Olympe de Gouges",
            "--type",
            "college",
            "--zone",
            "A",
            "--lot",
            "7",
        ])?;
        let email = "astreinte@mainteneur.example";
        collector.vigie_ok(&["contractor", "set", "7", "--name", "Réseaux", "--email", email])?;
        let token: Value =
            serde_json::from_str(&collector.vigie_ok(&["agent", "token", &uai, "--json"])?)?;
        let token = token["token"].as_str().context("no token")?;
        let settings = agent::Settings {
            allow_networks: Some(vec!["127.0.0.0/8".to_owned()]),
            ..agent::Settings::default()
        };
        let mut agent = Agent::new(&directory.path().join("agent"), settings, None)?;
        agent.enrol(collector.agents_address(), token)?;
        agent.start()?;
        Ok(Self { collector, agent, uai, directory })
    }

    fn code(&self, words: &[&str], code: i32) -> Result<Said> {
        let said = self.collector.vigie(words)?;
        ensure!(said.code == Some(code), "vigie {}: {said:#?}", words.join(" "));
        Ok(said)
    }
}

#[test]
fn every_question_has_its_answer_for_people_programs_and_spreadsheets() -> Result<()> {
    let place = Place::set()?;
    let uai = place.uai.as_str();
    let first =
        ["series", "get", "--uai", uai, "--metric", "uptime", "--from", "-1h", "--step", "raw"];
    wait::until_true("the first samples", LIMIT, || {
        let said = place.collector.vigie(&[&first[..], &["--json"]].concat())?;
        let answer: Value = serde_json::from_str(&said.out).unwrap_or_default();
        Ok(answer["points"].as_array().is_some_and(|points| !points.is_empty()))
    })?;
    let questions: [&[&str]; 9] = [
        &["status"],
        &["sites"],
        &["site", "show", uai],
        &["targets", uai],
        &["series", "list", "--uai", uai],
        &first,
        &["agents"],
        &["incidents"],
        &["contractors"],
    ];
    for words in questions {
        let shown = place.collector.vigie(words)?;
        ensure!(matches!(shown.code, Some(0 | 1)), "vigie {}: {shown:#?}", words.join(" "));
        let too_wide = shown.out.lines().find(|line| line.chars().count() > 100);
        ensure!(too_wide.is_none(), "vigie {}: {too_wide:?}", words.join(" "));
        let json = place.collector.vigie(&[words, &["--json"]].concat())?;
        ensure!(json.code == shown.code, "{json:?}");
        let document: Value = serde_json::from_str(&json.out)
            .with_context(|| format!("vigie {} --json: {}", words.join(" "), json.out))?;
        ensure!(document["at"].is_string(), "{document:#}");
        ensure!(words[0] == "contractors" || document["coverage"].is_object(), "{document:#}");
        let csv = place.collector.vigie(&[words, &["--csv"]].concat())?;
        ensure!(csv.code == shown.code && csv.out.lines().count() >= 1, "{csv:?}");
    }
    Ok(())
}

#[test]
fn the_exit_status_says_what_a_script_must_know() -> Result<()> {
    let mut place = Place::set()?;
    let uai = place.uai.clone();
    wait::until_true("a school that is well", LIMIT, || {
        Ok(place.collector.vigie(&["site", "show", &uai])?.code == Some(0))
    })?;
    place.code(&["incidents", "--open"], 0)?;

    // Something is wrong: an agent is silent.
    place.agent.kill()?;
    wait::until_true("the incident", LIMIT, || {
        Ok(place.collector.vigie(&["incidents", "--open"])?.code == Some(1))
    })?;
    place.code(&["site", "show", &uai], 1)?;

    // Bad questions, told on standard error.
    for words in [
        &["site", "show", "0690005Z"][..],
        &["site", "show", "nonsense"],
        &["series", "get", "--uai", &uai, "--metric", "no_such_metric"],
        &["sites", "--state", "sideways"],
        &["frobnicate"],
        &["series", "get", "1", "--from", "-100000d", "--step", "raw"],
        &["target", "add", &uai, "icmp", "not-an-address"],
    ] {
        let said = place.code(words, 2)?;
        ensure!(!said.err.is_empty(), "{said:?}");
    }

    // No answer: the collector is down; a wrong token.
    let wrong = place.directory.path().join("wrong.token");
    fs::write(&wrong, "vgi_0000000000000000000000000000000000000000\n")?;
    place.code(&["status", "--token-file", &wrong.to_string_lossy()], 3)?;
    place.collector.stop()?;
    let said = place.code(&["status"], 3)?;
    ensure!(!said.err.is_empty() && said.out.is_empty(), "{said:?}");
    Ok(())
}

#[test]
fn a_list_of_sites_is_taken_whole_or_not_at_all() -> Result<()> {
    let place = Place::set()?;
    let count = || -> Result<usize> {
        let sites = place.collector.get("/sites?limit=10000")?;
        Ok(sites["items"].as_array().map_or(0, Vec::len))
    };
    let file = place.directory.path().join("sites.csv");
    let path = file.to_string_lossy().into_owned();
    let good: Vec<String> =
        (100..200).map(|n| format!("{},École {n},primaire,B,1", collector::uai(n))).collect();
    let good = good.join("\n") + "\n";
    let head = "uai,name,type,zone,lot\n";

    // A wrong key in line 102, a wrong zone in line 103.
    fs::write(
        &file,
        format!(
            "{head}{good}0690300A,École,primaire,B,1\n{},E,primaire,Q,1\n",
            collector::uai(301)
        ),
    )?;
    let said = place.code(&["site", "import", &path], 2)?;
    ensure!(said.err.contains("102") && said.err.contains("103"), "{said:?}");
    ensure!(count()? == 1, "nothing is half imported");

    fs::write(&file, format!("{head}{good}"))?;
    place.code(&["site", "import", &path, "--dry-run"], 0)?;
    ensure!(count()? == 1, "a dry run keeps nothing");
    place.code(&["site", "import", &path], 0)?;
    ensure!(count()? == 101);
    place.code(&["site", "import", &path], 0)?;
    ensure!(count()? == 101, "the same list again changes nothing");
    Ok(())
}

#[test]
fn what_a_device_calls_itself_never_acts_on_a_terminal() -> Result<()> {
    let place = Place::set()?;
    let name = "sw\u{1b}]0;owned\u{7}\u{202e}";
    let target = serde_json::json!({
        "method": "icmp", "address": "127.0.0.1", "name": "=1+1 sw\u{202e}", "period_s": 5,
    });
    // Controls are refused at the door; what only looks odd is shown harmless.
    let refused = serde_json::json!({ "method": "icmp", "address": "127.0.0.1", "name": name });
    let path = format!("/sites/{}/targets", place.uai);
    ensure!(place.collector.ask("POST", &path, Some(&refused))?.status == 422);
    place.collector.add_target(&place.uai, &target)?;
    let shown = place.collector.vigie(&["targets", &place.uai])?;
    ensure!(shown.out.contains("sw") && !shown.out.contains('\u{202e}'), "{}", shown.out);
    let csv = place.collector.vigie(&["targets", &place.uai, "--csv"])?;
    ensure!(csv.out.contains("'=1+1"), "a formula in a spreadsheet: {}", csv.out);
    Ok(())
}
