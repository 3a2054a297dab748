//! The local file: where the collector is, where to keep data, what this agent may and must not do.
//! Everything else comes from the collector. Without a file, every default holds.

mod report;

use std::{
    fs::File,
    io::{self, Read as _},
    net::{Ipv6Addr, SocketAddr},
    ops::{Range, RangeInclusive},
    path::{Component, Path, PathBuf},
    time::Duration,
};

pub use report::render;
use serde::Deserialize;
use toml::{Spanned, de::DeTable};

use crate::{
    platform,
    probe::{
        allow::{AllowList, Cidr},
        dial::Endpoint,
        mesh::reflector,
    },
};

/// Where the file stands when the command line does not say.
pub const DEFAULT_PATH: &str = platform::paths::CONFIG;
/// Where data stands when neither the file nor the command line says.
pub const DEFAULT_DATA: &str = platform::paths::DATA;
/// Largest configuration file, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 10;
/// Most networks in `allow_networks`.
const MAX_NETWORKS: usize = 256;
/// Most ports in `allow_http_ports` and `allow_service_ports`, each.
const MAX_PORTS: usize = 64;
/// Most directories in `backup_directories`.
const MAX_BACKUP_DIRECTORIES: usize = 64;
const MIB: u64 = 1 << 20;
/// 1 Mbit/s: a backlog leaves the other half of a line of 2 Mbit/s to the school.
const UPLOAD_BYTES_PER_S: u64 = 125_000;

/// What the local file says, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of the collector, when the file says it; else enrolment's.
    pub collector: Option<String>,
    /// Directory of identity, plan and spool.
    pub data_dir: PathBuf,
    /// What may be probed.
    pub allow: AllowList,
    /// Directories whose backups may be looked for.
    pub backup_directories: Vec<PathBuf>,
    /// Where `/metrics` listens; `None` is off.
    pub metrics_listen: Option<SocketAddr>,
    /// Where requests of other sites' agents are answered when the collector asks for it; `None`
    /// forbids it.
    pub mesh_listen: Option<SocketAddr>,
    /// How logs look.
    pub log_format: LogFormat,
    /// What this agent may use.
    pub limits: Limits,
}

/// How logs look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// Bounds on what the agent uses of its machine and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Disk space of the spool's events, in bytes.
    pub spool_events_bytes: u64,
    /// Disk space of the spool's samples, in bytes.
    pub spool_samples_bytes: u64,
    /// How long a measurement may wait in memory for its commit to the disk.
    pub commit_interval: Duration,
    /// Upload of record batches, in bytes a second on the wire; `None` is unlimited.
    pub upload_bytes_per_s: Option<u64>,
    /// Packets a second that probes may send, on average.
    pub packets_per_s: u32,
    /// SNMP devices asked at one time.
    pub snmp_devices: usize,
    /// Resident memory beyond which a new plan is given up, in bytes.
    pub memory_bytes: u64,
    /// Longest first wait before a connection is tried again; it doubles up to 5 minutes.
    pub reconnect: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            collector: None,
            data_dir: DEFAULT_DATA.into(),
            allow: AllowList::default(),
            backup_directories: Vec::new(),
            metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 9781))),
            mesh_listen: Some((Ipv6Addr::UNSPECIFIED, reflector::PORT).into()),
            log_format: LogFormat::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spool_events_bytes: 64 * MIB,
            spool_samples_bytes: 448 * MIB,
            commit_interval: Duration::from_secs(1),
            upload_bytes_per_s: Some(UPLOAD_BYTES_PER_S),
            packets_per_s: 200,
            snmp_devices: 64,
            // `MemoryHigh` of the service.
            memory_bytes: 96 * MIB,
            reconnect: Duration::from_secs(1),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The system gave no bytes.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// What the file holds is wrong; a report for people, whose lines end.
    #[error("{0}")]
    Faulty(String),
}

/// One thing wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub hint: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    collector: Option<Spanned<String>>,
    data_dir: Option<Spanned<PathBuf>>,
    allow_networks: Option<Spanned<Vec<Spanned<String>>>>,
    allow_http_ports: Option<Spanned<Vec<Spanned<i64>>>>,
    allow_service_ports: Option<Spanned<Vec<Spanned<i64>>>>,
    backup_directories: Option<Spanned<Vec<Spanned<PathBuf>>>>,
    metrics_listen: Option<Spanned<String>>,
    mesh_listen: Option<Spanned<String>>,
    log_format: LogFormat,
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLimits {
    spool_events_mib: Option<Spanned<i64>>,
    spool_samples_mib: Option<Spanned<i64>>,
    commit_interval_ms: Option<Spanned<i64>>,
    upload_kbit_per_s: Option<Spanned<i64>>,
    packets_per_s: Option<Spanned<i64>>,
    snmp_devices: Option<Spanned<i64>>,
    memory_mib: Option<Spanned<i64>>,
    reconnect_ms: Option<Spanned<i64>>,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        let text = text_of(bytes)
            .map_err(|what| ConfigError::Faulty(format!("error: {name}: {what}\n")))?;
        Self::parse(&text).map_err(|faults| ConfigError::Faulty(render(&name, &text, &faults)))
    }

    /// Reads the text of a file. On failure, all faults that can be told apart, in the text's order.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| unreadable(text, error)).collect());
        }
        let raw = Raw::deserialize(toml::Deserializer::from(table))
            .map_err(|error| vec![unreadable(text, &error)])?;
        let mut checker = Checker { faults: Vec::new() };
        let config = checker.config(raw);
        checker.faults.sort_by_key(|fault| fault.span.start);
        if checker.faults.is_empty() { Ok(config) } else { Err(checker.faults) }
    }
}

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes; is it the right file?"));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let cause = "as a power cut may leave a file; write it again";
        return Err(format!("byte {} is zero, {cause}", at + 1));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        format!("byte {at} does not belong to text in UTF-8; save the file as UTF-8")
    })
}

fn unreadable(text: &str, error: &toml::de::Error) -> Fault {
    let end = text.len();
    let span = error.span().map_or(end..end, |span| span.start.min(end)..span.end.min(end));
    // The parser's message may go on with the alternatives, on lines of their own.
    let mut lines = error.message().lines();
    let message = lines.next().unwrap_or_default().to_owned();
    Fault { span, message, hint: lines.collect::<Vec<_>>().join("; ") }
}

struct Checker {
    faults: Vec<Fault>,
}

impl Checker {
    fn fault(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(Fault { span, message: message.into(), hint: hint.into() });
    }

    fn config(&mut self, raw: Raw) -> Config {
        let defaults = Config::default();
        Config {
            collector: raw.collector.and_then(|text| self.collector(&text)),
            data_dir: raw.data_dir.map_or(defaults.data_dir, |dir| self.data_dir(dir)),
            allow: raw
                .allow_networks
                .map_or(defaults.allow, |networks| self.networks(&networks))
                .and_http_ports(self.ports(raw.allow_http_ports.as_ref()))
                .and_service_ports(self.ports(raw.allow_service_ports.as_ref())),
            backup_directories: raw
                .backup_directories
                .map_or(defaults.backup_directories, |all| self.backup_directories(&all)),
            metrics_listen: raw
                .metrics_listen
                .map_or(defaults.metrics_listen, |text| self.metrics_listen(&text)),
            mesh_listen: raw
                .mesh_listen
                .map_or(defaults.mesh_listen, |text| self.mesh_listen(&text)),
            log_format: raw.log_format,
            limits: self.limits(&raw.limits),
        }
    }

    fn collector(&mut self, text: &Spanned<String>) -> Option<String> {
        if Endpoint::parse(text.get_ref()).is_none() {
            let hint = "a name or address, a colon and a port, as in \"collecte.example.fr:7443\"";
            self.fault(text.span(), "the collector's address is not host:port", hint);
            return None;
        }
        Some(text.get_ref().clone())
    }

    fn data_dir(&mut self, dir: Spanned<PathBuf>) -> PathBuf {
        if !dir.get_ref().is_absolute() {
            self.fault(dir.span(), "the data directory is not an absolute path", "begin with /");
        }
        dir.into_inner()
    }

    fn networks(&mut self, networks: &Spanned<Vec<Spanned<String>>>) -> AllowList {
        if networks.get_ref().len() > MAX_NETWORKS {
            let message = format!("more than {MAX_NETWORKS} networks are allowed");
            self.fault(networks.span(), message, "");
            return AllowList::only(Vec::new());
        }
        let mut kept = Vec::with_capacity(networks.get_ref().len());
        for text in networks.get_ref() {
            match text.get_ref().parse::<Cidr>() {
                Ok(network) => kept.push(network),
                Err(error) => {
                    self.fault(text.span(), error.to_string(), "write it as \"10.0.0.0/8\"");
                }
            }
        }
        AllowList::only(kept)
    }

    fn backup_directories(&mut self, all: &Spanned<Vec<Spanned<PathBuf>>>) -> Vec<PathBuf> {
        if all.get_ref().len() > MAX_BACKUP_DIRECTORIES {
            let message = format!("more than {MAX_BACKUP_DIRECTORIES} directories are named");
            self.fault(all.span(), message, "");
            return Vec::new();
        }
        let mut kept = Vec::with_capacity(all.get_ref().len());
        for directory in all.get_ref() {
            let is_plain =
                !directory.get_ref().components().any(|part| part == Component::ParentDir);
            if directory.get_ref().is_absolute() && is_plain {
                kept.push(directory.get_ref().clone());
            } else {
                let message = "the directory of backups is not an absolute path without \"..\"";
                self.fault(directory.span(), message, "as in \"/srv/sauvegardes\"");
            }
        }
        kept
    }

    fn ports(&mut self, ports: Option<&Spanned<Vec<Spanned<i64>>>>) -> Vec<RangeInclusive<u16>> {
        let Some(ports) = ports else { return Vec::new() };
        if ports.get_ref().len() > MAX_PORTS {
            self.fault(ports.span(), format!("more than {MAX_PORTS} ports are allowed"), "");
            return Vec::new();
        }
        let mut kept = Vec::with_capacity(ports.get_ref().len());
        for port in ports.get_ref() {
            match u16::try_from(*port.get_ref()) {
                Ok(port) if port > 0 => kept.push(port..=port),
                Ok(_) | Err(_) => {
                    let message = format!("{} is not a port", port.get_ref());
                    self.fault(port.span(), message, "from 1 to 65535");
                }
            }
        }
        kept
    }

    fn metrics_listen(&mut self, text: &Spanned<String>) -> Option<SocketAddr> {
        if text.get_ref() == "off" {
            return None;
        }
        let hint = "an address of this machine and a port, as in \"127.0.0.1:9781\", or \"off\"";
        match text.get_ref().parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(address),
            Ok(_) => {
                self.fault(text.span(), "metrics are served on a loopback address only", hint);
                None
            }
            Err(_) => {
                self.fault(text.span(), "the metrics address is not address:port", hint);
                None
            }
        }
    }

    fn mesh_listen(&mut self, text: &Spanned<String>) -> Option<SocketAddr> {
        if text.get_ref() == "off" {
            return None;
        }
        let address = text.get_ref().parse::<SocketAddr>().ok().filter(|at| at.port() != 0);
        if address.is_none() {
            let hint = "an address of this machine and a port, as in \"[::]:9782\", or \"off\"";
            self.fault(text.span(), "the address for other sites is not address:port", hint);
        }
        address
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        let defaults = Limits::default();
        let mut number = |value: &Option<Spanned<i64>>, range: Range<u64>, unit: &str| {
            let value = value.as_ref()?;
            let checked =
                u64::try_from(*value.get_ref()).ok().filter(|number| range.contains(number));
            if checked.is_none() {
                let message = format!("{} is out of range", value.get_ref());
                let hint = format!("from {} to {} {unit}", range.start, range.end - 1);
                self.fault(value.span(), message, hint);
            }
            checked
        };
        let mib = |n: u64| n * MIB;
        Limits {
            // Two segments of 4 MiB are the least with which one can be freed.
            spool_events_bytes: number(&raw.spool_events_mib, 8..65_537, "MiB")
                .map_or(defaults.spool_events_bytes, mib),
            spool_samples_bytes: number(&raw.spool_samples_mib, 8..1_048_577, "MiB")
                .map_or(defaults.spool_samples_bytes, mib),
            commit_interval: number(&raw.commit_interval_ms, 100..30_001, "ms")
                .map_or(defaults.commit_interval, Duration::from_millis),
            upload_bytes_per_s: number(&raw.upload_kbit_per_s, 64..10_000_001, "kbit/s")
                .map(|kbit| kbit * 1000 / 8)
                .or(defaults.upload_bytes_per_s),
            packets_per_s: number(&raw.packets_per_s, 1..100_001, "packets a second")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(defaults.packets_per_s),
            snmp_devices: number(&raw.snmp_devices, 1..513, "devices")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(defaults.snmp_devices),
            memory_bytes: number(&raw.memory_mib, 32..65_537, "MiB")
                .map_or(defaults.memory_bytes, mib),
            reconnect: number(&raw.reconnect_ms, 10..300_001, "ms")
                .map_or(defaults.reconnect, Duration::from_millis),
        }
    }
}

#[cfg(test)]
mod tests;
