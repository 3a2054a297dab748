//! An agent process with its data.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::{
    binaries,
    netns::Namespace,
    process::{self, Daemon, Said},
};

/// How long enrolment may take, the look around included.
const ENROL_WITHIN: Duration = Duration::from_mins(1);
/// How long a stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What differs from an agent as it is shipped.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Networks that may be probed; `None` as shipped.
    pub allow_networks: Option<Vec<String>>,
    /// Longest wait in memory, milliseconds; `None` as shipped.
    pub commit_interval_ms: Option<u32>,
    /// First wait before a connection is tried again, milliseconds; `None` as shipped.
    pub reconnect_ms: Option<u32>,
    /// A file that gets the key of each durable record.
    pub ledger: Option<PathBuf>,
    /// Environment of the process.
    pub environment: Vec<(String, String)>,
    /// Where figures are served, when they are.
    pub metrics_listen: Option<SocketAddr>,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    daemon: Option<Daemon>,
    inside: Option<Arc<Namespace>>,
    directory: PathBuf,
    settings: Settings,
}

impl Agent {
    /// An agent that is not enrolled, its files in `directory`.
    pub fn new(
        directory: &Path,
        settings: Settings,
        inside: Option<&Arc<Namespace>>,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let mut text = match settings.metrics_listen {
            Some(address) => format!("metrics_listen = \"{address}\"\n"),
            None => "metrics_listen = \"off\"\n".to_owned(),
        };
        if let Some(networks) = &settings.allow_networks {
            writeln!(text, "allow_networks = {networks:?}")?;
        }
        text.push_str("[limits]\n");
        if let Some(ms) = settings.commit_interval_ms {
            writeln!(text, "commit_interval_ms = {ms}")?;
        }
        if let Some(ms) = settings.reconnect_ms {
            writeln!(text, "reconnect_ms = {ms}")?;
        }
        fs::write(directory.join("agent.toml"), text)?;
        Ok(Self { daemon: None, inside: inside.cloned(), directory, settings })
    }

    /// Runs `vigie-agent` to its end.
    pub fn command(&self, words: &[&str]) -> Result<Said> {
        let program = binaries::find("vigie-agent")?;
        let mut command = process::command(&program, self.inside.as_deref());
        command.args(["--config"]).arg(self.directory.join("agent.toml"));
        command.arg("--data").arg(self.data()).args(words);
        process::run(&format!("vigie-agent {}", words[0]), command, ENROL_WITHIN)
    }

    /// The one command on the school's server.
    pub fn enrol(&self, collector: SocketAddr, token: &str) -> Result<()> {
        let collector = collector.to_string();
        let said = self.command(&["enrol", "--collector", &collector, "--token", token])?;
        ensure!(said.code == Some(0), "cannot enrol: {}{}", said.out, said.err);
        Ok(())
    }

    /// Starts the process, anew when it is running.
    pub fn start(&mut self) -> Result<()> {
        drop(self.daemon.take());
        let program = binaries::find("vigie-agent")?;
        let mut command = process::command(&program, self.inside.as_deref());
        command.arg("--config").arg(self.directory.join("agent.toml"));
        command.arg("--data").arg(self.data()).arg("run");
        if let Some(ledger) = &self.settings.ledger {
            command.arg("--spool-ledger").arg(ledger);
        }
        command.envs(self.settings.environment.iter().cloned());
        let log = self.directory.join("agent.log");
        self.daemon = Some(Daemon::start("vigie-agent", command, &log)?);
        Ok(())
    }

    /// The process.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().ok_or_else(|| anyhow::anyhow!("the agent is not running"))
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
        ensure!(status.success(), "the agent ended with {status}: {}", self.daemon()?.tail());
        self.daemon = None;
        Ok(())
    }

    /// Asks it to stop; false when it ended by the signal itself, before it listened to it.
    pub fn end(&mut self) -> Result<bool> {
        let status = self.daemon()?.stop(STOP_WITHIN)?;
        let at_once = status.signal().is_some();
        ensure!(
            status.success() || at_once,
            "an agent's stop: {status}: {}",
            self.daemon()?.tail()
        );
        self.daemon = None;
        Ok(!at_once)
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("agent.log")
    }
}
