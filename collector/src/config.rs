//! The collector's file: TOML in, a checked [`Config`] out, each fault with its line.
//!
//! Every value has a default but the mail relay, without which no mail is sent. Durations are whole
//! seconds or days and say so in their name. Secrets are paths of files.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use domain::alert::rules::Rule;
use lettre::message::Mailbox;

mod fault;
mod raw;
mod recover;
mod secrets;

pub use fault::ConfigError;
use secrets::Secrets;

/// Where the file is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = crate::platform::CONFIG;
/// Largest file that is read, bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// Name that agents ask for in TLS, whatever address they reach the collector by.
pub const TLS_NAME: &str = "collector.vigie.internal";
/// Most reference resolvers, and most reference addresses and pages together: external probing stays
/// modest, and agents refuse more.
pub const MAX_REFERENCES: usize = proto::limits::MAX_REFERENCES;
/// Most alert thresholds.
pub const MAX_THRESHOLDS: usize = 64;

/// The checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Database, certificate authority, operator token.
    pub data_dir: PathBuf,
    /// The agents' listener.
    pub agents: Agents,
    /// Where the API listens; loopback unless an operator says otherwise.
    pub api_listen: SocketAddr,
    /// Where `/metrics` is served besides the API's loopback listener.
    pub metrics_listen: Option<SocketAddr>,
    /// The mail relay; `None` keeps mails in the outbox.
    pub smtp: Option<Smtp>,
    /// When something is worth telling.
    pub alerts: Alerts,
    /// What every site probes besides its own ladder.
    pub references: References,
    /// The measures between sites.
    pub mesh: Mesh,
    /// How long data is kept.
    pub retention: Retention,
    /// How logs look.
    pub log_format: LogFormat,
}

/// How logs look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the environment says of the detail of the log, in the syntax of `tracing`'s filters.
#[must_use]
pub fn log_filter() -> Option<String> {
    std::env::var("VIGIE_LOG").ok().filter(|text| !text.is_empty())
}

/// The agents' listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Agents {
    /// Socket.
    pub listen: SocketAddr,
    /// `host:port` at which agents reach it: printed with tokens and probed as a target.
    pub public_address: String,
    /// DNS names in the server's certificate besides [`TLS_NAME`].
    pub server_names: Vec<String>,
    /// Enrolment attempts a minute from one address.
    pub enrol_per_address: u32,
    /// Enrolment attempts a minute in all.
    pub enrol_total: u32,
}

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all: a relay on the same machine.
    None,
    /// STARTTLS, required.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// The mail relay.
#[derive(Debug, Clone, PartialEq)]
pub struct Smtp {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Protection.
    pub tls: SmtpTls,
    /// Sender.
    pub from: Mailbox,
    /// Name given in EHLO; the machine's own when absent.
    pub helo: Option<String>,
    /// Files that hold the user name and the password, both or none.
    pub credentials: Option<(PathBuf, PathBuf)>,
}

/// When something is worth telling.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// Silence of an agent before it is an incident.
    pub silence: Duration,
    /// After a start, agents have this long to come back before silence counts.
    pub start_grace: Duration,
    /// Figures with limits.
    pub rules: Vec<Rule>,
}

/// Reference targets: few, chosen by the authority, its own first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// IP addresses.
    pub icmp: Vec<std::net::IpAddr>,
    /// Resolvers, besides those that a site uses by itself.
    pub dns: Vec<std::net::IpAddr>,
    /// The name that resolvers are asked for.
    pub dns_name: Option<String>,
    /// URLs.
    pub http: Vec<String>,
    /// Those of all these that stand at the shared service centre, as they are written above.
    pub centre: Vec<String>,
}

/// The measures between sites; which take part is told by the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mesh {
    /// Seconds between two rounds of a pair.
    pub period_s: u32,
}

/// Days that each resolution is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Samples as measured.
    pub samples_days: u32,
    /// Five-minute rollups.
    pub five_minutes_days: u32,
    /// Five-minute rollups of access ports, kept after their samples; none unless longer than these.
    pub access_ports_days: u32,
    /// Hourly rollups.
    pub hours_days: u32,
    /// Daily rollups.
    pub days_days: u32,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] when it can not be read; [`ConfigError::Faulty`] with every fault.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&fault::read(path)?, &path.display().to_string())
    }

    /// The same, and opens the files of secrets that it names: what would fail at the first mail is
    /// told now.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with_secrets(path: &Path) -> Result<Self, ConfigError> {
        let text = fault::read(path)?;
        let name = path.display().to_string();
        raw::check(&text, Secrets::Opened)
            .map_err(|faults| ConfigError::faulty(&name, &text, &faults))
    }

    /// Checks a text; `name` is how faults call it.
    ///
    /// # Errors
    /// [`ConfigError::Faulty`] with every fault.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        raw::check(text, Secrets::Unopened)
            .map_err(|faults| ConfigError::faulty(name, text, &faults))
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("vigie.db")
    }

    /// The operator token of the local command line.
    #[must_use]
    pub fn operator_token(&self) -> PathBuf {
        self.data_dir.join("operator.token")
    }
}

#[cfg(test)]
mod tests;
