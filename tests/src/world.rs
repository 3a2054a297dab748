//! A whole line: a simulated school with its agent, and a centre with its collector and relay.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    agent::{self, Agent},
    api::items,
    collector::{self, Collector, Settings},
    school::{CENTRE, NAME, School},
    smtp_sink::SmtpSink,
    wait,
};

/// Lot of the school.
pub const LOT: &str = "2";
/// Who is told about the lot.
pub const CONTRACTOR: &str = "astreinte@mainteneur.example";
/// How long the first data may take after the start of the agent: the promise to operators.
pub const FIRST_DATA_WITHIN: Duration = Duration::from_mins(1);

/// The whole.
#[derive(Debug)]
pub struct World {
    /// The agent, enrolled.
    pub agent: Agent,
    /// The collector.
    pub collector: Collector,
    /// The relay, in the centre.
    pub sink: SmtpSink,
    /// The network.
    pub school: School,
    /// Key of the school.
    pub uai: String,
    directory: TempDir,
}

impl World {
    /// Builds it, the agent enrolled and not started.
    pub fn build(switches: u8, settings: &Settings) -> Result<Self> {
        Self::build_with(switches, settings, agent::Settings::default())
    }

    /// The same with an agent that differs from the shipped one.
    pub fn build_with(switches: u8, settings: &Settings, agent: agent::Settings) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("vigie-world-").tempdir()?;
        let school = School::build(&directory.path().join("school"), switches)?;
        let sink = SmtpSink::on(school.listen_in_centre()?)?;
        // The centre's name server knows one name only.
        let more = format!("[references]\ndns_name = \"{NAME}\"\n{}", settings.more);
        let settings = Settings { smtp: Some(sink.address()), more, ..settings.clone() };
        let place = directory.path().join("collector");
        let collector = Collector::start_inside(&place, &settings, school.centre(), CENTRE.into())?;
        let uai = collector::uai(1);
        collector.add_site(&uai, "Collège des Essais", LOT)?;
        collector.set_contractor(LOT, CONTRACTOR)?;
        let agent = Agent::new(&directory.path().join("agent"), agent, Some(school.server()))?;
        agent.enrol(collector.agents_address(), &collector.token(&uai)?)?;
        Ok(Self { agent, collector, sink, school, uai, directory })
    }

    /// Starts the agent and waits until the whole ladder answers.
    pub fn start(&mut self) -> Result<()> {
        self.agent.start()?;
        self.until_whole_ladder_answers(FIRST_DATA_WITHIN)
    }

    /// Waits until host, gateway, hop, resolver and collector are there and answer.
    pub fn until_whole_ladder_answers(&mut self, limit: Duration) -> Result<()> {
        const RUNGS: [&str; 5] = ["host", "gateway", "hop", "resolver", "collector"];
        let looked = wait::until_true("every rung of the ladder to answer", limit, || {
            self.agent.daemon()?.check()?;
            let targets = self.targets()?;
            let up = |rung: &str| targets.iter().any(|t| t["role"] == rung && t["state"] == "up");
            Ok(RUNGS.into_iter().all(up))
        });
        looked.with_context(|| format!("{:#}", self.site().unwrap_or_default()))
    }

    /// Waits until the school is in this state.
    pub fn until_state(&mut self, state: &str, limit: Duration) -> Result<()> {
        let (collector, uai) = (&self.collector, &self.uai);
        let agent = &mut self.agent;
        wait::until_true(&format!("the school to be {state}"), limit, || {
            agent.daemon().map_or(Ok(()), crate::process::Daemon::check)?;
            Ok(collector.site_state(uai)? == state)
        })
        .with_context(|| format!("{:#}", self.site().unwrap_or_default()))
    }

    /// The school as the API shows it.
    pub fn site(&self) -> Result<Value> {
        self.collector.get(&format!("/sites/{}", self.uai))
    }

    /// The school's targets.
    pub fn targets(&self) -> Result<Vec<Value>> {
        Ok(items(&self.collector.get(&format!("/sites/{}/targets", self.uai))?).to_vec())
    }

    /// State of a target.
    pub fn target_state(&self, id: i64) -> Result<String> {
        let targets = self.targets()?;
        let target = targets.iter().find(|target| target["id"] == id).context("no such target")?;
        Ok(target["state"].as_str().context("a target without a state")?.to_owned())
    }

    /// The school's incidents, newest first.
    pub fn incidents(&self) -> Result<Vec<Value>> {
        self.collector.incidents(&self.uai)
    }

    /// The series of a metric, of one target when it is given.
    pub fn series(&self, metric: &str, target: Option<i64>) -> Result<Vec<Value>> {
        let of = target.map_or_else(String::new, |id| format!("&target={id}"));
        let list = self
            .collector
            .get(&format!("/series?uai={}&metric={metric}{of}&limit=1000", self.uai))?;
        Ok(items(&list).to_vec())
    }

    /// The raw samples of a series over the last hour: Unix seconds and values.
    pub fn samples(&self, series: i64) -> Result<Vec<(f64, Option<f64>)>> {
        let answer = self.collector.get(&format!("/series/{series}/samples?from=-1h&step=raw"))?;
        let points = answer["points"].as_array().context("an answer without points")?;
        points
            .iter()
            .map(|point| {
                let time = point["time"].as_str().context("a point without a time")?;
                let time: jiff::Timestamp = time.parse()?;
                Ok((time.as_millisecond() as f64 / 1e3, point["value"].as_f64()))
            })
            .collect()
    }

    /// Where all files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}
