//! A collector process with its configuration, its data and its operator.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    api::{Answer, Api},
    binaries,
    netns::Namespace,
    process::{self, Daemon, Said},
    wait,
};

/// How long a start may take, on a machine busy with other tests.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How long a stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a command of an operator may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(40);

/// What a collector of the tests is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The mail relay.
    pub smtp: Option<SocketAddr>,
    /// How agents reach it, when not directly.
    pub public_address: Option<SocketAddr>,
    /// Silence that is an incident, seconds.
    pub silence_after_s: u32,
    /// Time for agents to come back after a start, seconds.
    pub start_grace_s: u32,
    /// More of the file, whole tables.
    pub more: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            smtp: None,
            public_address: None,
            silence_after_s: 15,
            start_grace_s: 15,
            more: String::new(),
        }
    }
}

/// A collector.
#[derive(Debug)]
pub struct Collector {
    daemon: Option<Daemon>,
    inside: Option<Arc<Namespace>>,
    directory: PathBuf,
    agents: SocketAddr,
    api_address: SocketAddr,
    api: Api,
}

/// An address of the loopback that only this process uses, so that a port which is free stays so
/// over restarts.
pub fn own_loopback() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = u8::try_from(number % 250 + 1).unwrap_or(1);
    let second = u8::try_from(number / 250 % 100 + 100).unwrap_or(100);
    IpAddr::from([127, second, high ^ low, last])
}

fn free_port(address: IpAddr) -> Result<SocketAddr> {
    Ok(TcpListener::bind((address, 0)).context("cannot find a free port")?.local_addr()?)
}

impl Collector {
    /// Starts one on loopback, its files in `directory`.
    pub fn start(directory: &Path, settings: &Settings) -> Result<Self> {
        let address = own_loopback();
        let (agents, api) = (free_port(address)?, free_port([127, 0, 0, 1].into())?);
        Self::at(directory, settings, None, agents, api)
    }

    /// Starts one in the centre of a school, agents at this address.
    pub fn start_inside(
        directory: &Path,
        settings: &Settings,
        inside: Option<&Arc<Namespace>>,
        address: IpAddr,
    ) -> Result<Self> {
        let usual = SocketAddr::from(([127, 0, 0, 1], 7480));
        // On this machine a collector may be running already.
        let taken = inside.is_none() && TcpListener::bind(usual).is_err();
        let api = if taken { free_port(usual.ip())? } else { usual };
        let agents = SocketAddr::new(address, 7443);
        Self::at(directory, settings, inside.cloned(), agents, api)
    }

    fn at(
        directory: &Path,
        settings: &Settings,
        inside: Option<Arc<Namespace>>,
        agents: SocketAddr,
        api_address: SocketAddr,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let data = directory.join("data");
        let mut text = format!(
            "data_dir = \"{}\"\n[agents]\nlisten = \"{agents}\"\npublic_address = \"{}\"\n\
             enrol_per_address_per_minute = 10000\nenrol_total_per_minute = 10000\n\
             [api]\nlisten = \"{api_address}\"\n\
             [alerts]\nsilence_after_s = {}\nstart_grace_s = {}\n",
            data.display(),
            settings.public_address.unwrap_or(agents),
            settings.silence_after_s,
            settings.start_grace_s,
        );
        if let Some(relay) = settings.smtp {
            write!(
                text,
                "[smtp]\nrelay = \"{relay}\"\ntls = \"none\"\nfrom = \"vigie@collecte.example\"\n\
                 helo = \"collecte.example\"\n"
            )?;
        }
        text.push_str(&settings.more);
        fs::write(directory.join("collector.toml"), text)?;
        let api = Api::new(api_address, &data.join("operator.token"));
        let mut collector = Self { daemon: None, inside, directory, agents, api_address, api };
        collector.restart()?;
        Ok(collector)
    }

    /// Starts the process again, with the same files and addresses, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.launch()?;
        self.until_it_answers()
    }

    /// Starts the process again without waiting for it.
    pub fn launch(&mut self) -> Result<()> {
        drop(self.daemon.take());
        let program = binaries::find("vigie-collector")?;
        let mut command = process::command(&program, self.inside.as_deref());
        command.arg("--config").arg(self.configuration());
        let log = self.directory.join("collector.log");
        self.daemon = Some(Daemon::start("vigie-collector", command, &log)?);
        Ok(())
    }

    /// Waits until the API answers.
    pub fn until_it_answers(&mut self) -> Result<()> {
        let daemon = self.daemon.as_mut().context("the collector is not running")?;
        let (api, inside) = (&self.api, self.inside.as_deref());
        let mut dead = Ok(());
        wait::until("the collector's API to answer", START_WITHIN, || {
            dead = daemon.check();
            if dead.is_err() {
                return Ok(Some(()));
            }
            api.ask(inside, "GET", "/status", None)?.json().map(|_| Some(()))
        })
        .with_context(|| daemon.tail())?;
        dead
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon()?.kill()?;
        self.daemon = None;
        Ok(())
    }

    /// Stops it as an operator would.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.daemon()?.stop(STOP_WITHIN)?;
        ensure!(status.success(), "the collector ended with {status}: {}", self.daemon()?.tail());
        self.daemon = None;
        Ok(())
    }

    /// The process.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("the collector is not running")
    }

    /// Where agents connect.
    #[must_use]
    pub fn agents_address(&self) -> SocketAddr {
        self.agents
    }

    /// Where the API is.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Its configuration file.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.directory.join("collector.toml")
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("collector.log")
    }

    /// Asks the API; `path` begins behind `/api/v1`.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let body = body.map(Value::to_string);
        let body = body.as_deref().map(|text| ("application/json", text));
        self.api.ask(self.inside.as_deref(), method, path, body)
    }

    /// The JSON of an answer to a question.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, None)?.json()
    }

    /// The JSON of an answer to a change.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask("POST", path, Some(body))?.json()
    }

    /// Runs the operators' command line on this collector's machine.
    pub fn vigie(&self, words: &[&str]) -> Result<Said> {
        let program = binaries::find("vigie")?;
        let mut command = process::command(&program, self.inside.as_deref());
        command.env("VIGIE_SERVER", format!("http://{}", self.api_address));
        command.env("VIGIE_TOKEN_FILE", self.data().join("operator.token")).args(words);
        process::run(&format!("vigie {}", words.join(" ")), command, COMMAND_WITHIN)
    }

    /// The same, for commands that must succeed; their standard output.
    pub fn vigie_ok(&self, words: &[&str]) -> Result<String> {
        let said = self.vigie(words)?;
        ensure!(
            said.code == Some(0),
            "vigie {} ended with {:?}: {}{}",
            words.join(" "),
            said.code,
            said.out,
            said.err
        );
        Ok(said.out)
    }

    /// Registers a site of this lot, in zone A.
    pub fn add_site(&self, uai: &str, name: &str, lot: &str) -> Result<()> {
        let site = json!({ "uai": uai, "name": name, "type": "college", "zone": "A", "lot": lot });
        self.post("/sites", &site).map(drop)
    }

    /// Says who is told about a lot.
    pub fn set_contractor(&self, lot: &str, email: &str) -> Result<()> {
        let contractor = json!({ "lot": lot, "name": "Mainteneur", "email": email });
        self.ask("PUT", "/contractors", Some(&contractor))?.json().map(drop)
    }

    /// A one-use enrolment token.
    pub fn token(&self, uai: &str) -> Result<String> {
        let answer = self.ask("POST", &format!("/sites/{uai}/tokens"), None)?.json()?;
        Ok(answer["token"].as_str().context("an answer without a token")?.to_owned())
    }

    /// Registers a target; its id.
    pub fn add_target(&self, uai: &str, target: &Value) -> Result<i64> {
        let line = self.post(&format!("/sites/{uai}/targets"), target)?;
        line["id"].as_i64().context("a target without an id")
    }

    /// State of a site.
    pub fn site_state(&self, uai: &str) -> Result<String> {
        let site = self.get(&format!("/sites/{uai}"))?;
        Ok(site["state"].as_str().context("a site without a state")?.to_owned())
    }

    /// Incidents of a site, newest first.
    pub fn incidents(&self, uai: &str) -> Result<Vec<Value>> {
        let list = self.get(&format!("/incidents?uai={uai}"))?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }
}

/// Key of a school of the tests, with its right letter.
#[must_use]
pub fn uai(number: u32) -> String {
    let uai = domain::uai::Uai::from_number(999_000 + number % 1_000);
    uai.map_or_else(String::new, |uai| uai.to_string())
}
