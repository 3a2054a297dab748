//! The file as written, and its one way to a checked [`Config`].

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use domain::{
    alert::rules::{self, Rule},
    metric,
    target::Role,
};
use jiff::SignedDuration;
use lettre::message::Mailbox;
use serde::Deserialize;
use toml::Spanned;

use super::{
    Agents, Alerts, Config, LogFormat, MAX_REFERENCES, MAX_THRESHOLDS, Mesh, References, Retention,
    Smtp, SmtpTls,
    fault::Fault,
    recover::{self, Recovered},
    secrets::Secrets,
};
use crate::platform;

/// Port of the agents' listener.
const AGENTS_PORT: u16 = 7443;
/// Port of the API.
const API_PORT: u16 = 7480;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    data_dir: Option<Spanned<PathBuf>>,
    agents: RawAgents,
    api: RawListener,
    metrics: RawListener,
    smtp: Option<Spanned<RawSmtp>>,
    alerts: RawAlerts,
    references: RawReferences,
    mesh: RawMesh,
    retention: RawRetention,
    log_format: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAgents {
    listen: Option<Spanned<String>>,
    public_address: Option<Spanned<String>>,
    server_names: Vec<Spanned<String>>,
    enrol_per_address_per_minute: Option<Spanned<u32>>,
    enrol_total_per_minute: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawListener {
    listen: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSmtp {
    relay: Option<Spanned<String>>,
    tls: Option<Spanned<String>>,
    from: Option<Spanned<String>>,
    helo: Option<Spanned<String>>,
    username_file: Option<Spanned<PathBuf>>,
    password_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAlerts {
    silence_after_s: Option<Spanned<u32>>,
    start_grace_s: Option<Spanned<u32>>,
    default_rules: Option<bool>,
    threshold: Vec<Spanned<RawThreshold>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawThreshold {
    metric: Option<Spanned<String>>,
    roles: Vec<Spanned<String>>,
    raise: Option<Spanned<f64>>,
    clear: Option<Spanned<f64>>,
    hold_s: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawReferences {
    icmp: Vec<Spanned<String>>,
    dns: Vec<Spanned<String>>,
    dns_name: Option<Spanned<String>>,
    http: Vec<Spanned<String>>,
    centre: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMesh {
    period_s: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the unit stands in each name, as in the file")]
struct RawRetention {
    samples_days: Option<Spanned<u32>>,
    five_minutes_days: Option<Spanned<u32>>,
    access_ports_days: Option<Spanned<u32>>,
    hours_days: Option<Spanned<u32>>,
    days_days: Option<Spanned<u32>>,
}

/// Collects the faults of one file, so that all are told at once.
struct Checker {
    faults: Vec<Fault>,
    left_out: Vec<(Range<usize>, String)>,
    secrets: Secrets,
}

impl Checker {
    fn fault<T>(&mut self, at: &Spanned<T>, reason: impl Into<String>) {
        self.faults.push(Fault { span: at.span(), reason: reason.into() });
    }

    /// A key that its table needs. One that is there and could not be read was told.
    fn needed<'a, V, T>(
        &mut self,
        value: Option<&'a Spanned<V>>,
        table: &Spanned<T>,
        name: &str,
    ) -> Option<&'a Spanned<V>> {
        let told = |(place, key): &(_, String)| *place == table.span() && key == name;
        if value.is_none() && !self.left_out.iter().any(told) {
            self.fault(table, format!("missing field `{name}`"));
        }
        value
    }

    fn parsed<T: FromStr>(&mut self, text: &Spanned<String>, expected: &str) -> Option<T> {
        let value = text.get_ref().parse().ok();
        if value.is_none() {
            self.fault(text, format!("expected {expected}"));
        }
        value
    }

    fn listen(&mut self, text: Option<&Spanned<String>>, default: SocketAddr) -> SocketAddr {
        text.and_then(|text| self.parsed(text, "an IP address and a port, such as 127.0.0.1:7480"))
            .unwrap_or(default)
    }

    fn within(&mut self, n: Option<&Spanned<u32>>, default: u32, low: u32, high: u32) -> u32 {
        let Some(n) = n else { return default };
        if !(low..=high).contains(n.get_ref()) {
            self.fault(n, format!("expected a number from {low} to {high}"));
        }
        *n.get_ref()
    }

    fn host_port(&mut self, text: &Spanned<String>, expected: &str) -> Option<(String, u16)> {
        let parts = text.get_ref().rsplit_once(':').and_then(|(host, port)| {
            let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let valid = match bare {
                Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
                None => is_dns_name(host),
            };
            valid.then(|| (host.to_owned(), port))
        });
        if parts.is_none() {
            self.fault(text, format!("expected {expected}"));
        }
        parts
    }

    fn few<T>(&mut self, list: &[Spanned<T>], most: usize) {
        if let Some(extra) = list.get(most) {
            self.fault(extra, format!("expected at most {most} entries here"));
        }
    }

    fn addresses(&mut self, list: &[Spanned<String>]) -> Vec<IpAddr> {
        self.few(list, MAX_REFERENCES);
        list.iter().filter_map(|text| self.parsed(text, "an IP address")).collect()
    }

    fn name(&mut self, text: &Spanned<String>) -> Option<String> {
        if is_dns_name(text.get_ref()) {
            return Some(text.get_ref().clone());
        }
        self.fault(text, "expected a DNS name");
        None
    }
}

/// Letters, digits, hyphens and dots: also the shape of an IPv4 address.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

/// An `http` or `https` URL of plain characters, with a host and without credentials.
fn is_plain_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && uri.host().is_some_and(|host| !host.is_empty())
        && text.len() <= 2_048
}

pub(super) fn check(text: &str, secrets: Secrets) -> Result<Config, Vec<Fault>> {
    let Recovered { value: raw, faults, left_out } = recover::read::<RawConfig>(text)?;
    let mut checker = Checker { faults, left_out, secrets };
    let config = build(&raw, &mut checker);
    if checker.faults.is_empty() {
        return Ok(config);
    }
    checker.faults.sort_by_key(|fault| fault.span.start);
    Err(checker.faults)
}

fn build(raw: &RawConfig, checker: &mut Checker) -> Config {
    let data_dir = match &raw.data_dir {
        None => PathBuf::from(platform::DATA),
        Some(path) => {
            if path.get_ref().as_os_str().is_empty() {
                checker.fault(path, "expected a directory");
            }
            path.get_ref().clone()
        }
    };
    let metrics_listen = raw
        .metrics
        .listen
        .as_ref()
        .map(|text| checker.listen(Some(text), SocketAddr::from(([127, 0, 0, 1], API_PORT))));
    Config {
        data_dir,
        agents: agents(&raw.agents, checker),
        api_listen: checker
            .listen(raw.api.listen.as_ref(), SocketAddr::from(([127, 0, 0, 1], API_PORT))),
        metrics_listen,
        smtp: raw.smtp.as_ref().and_then(|raw| smtp(raw, checker)),
        alerts: alerts(&raw.alerts, checker),
        references: references(&raw.references, checker),
        mesh: Mesh { period_s: checker.within(raw.mesh.period_s.as_ref(), 60, 5, 3_600) },
        retention: retention(&raw.retention, checker),
        log_format: log_format(raw.log_format.as_ref(), checker),
    }
}

fn log_format(raw: Option<&Spanned<String>>, checker: &mut Checker) -> LogFormat {
    match raw.map(|format| (format, format.get_ref().as_str())) {
        None | Some((_, "text")) => LogFormat::Text,
        Some((_, "json")) => LogFormat::Json,
        Some((at, _)) => {
            checker.fault(at, "expected \"text\" or \"json\"");
            LogFormat::Text
        }
    }
}

fn agents(raw: &RawAgents, checker: &mut Checker) -> Agents {
    let listen = checker.listen(raw.listen.as_ref(), SocketAddr::from(([0, 0, 0, 0], AGENTS_PORT)));
    let public_address = if let Some(text) = &raw.public_address {
        checker
            .host_port(text, "host:port as agents reach it, such as collecte.example.fr:7443")
            .map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
    } else {
        let name = platform::hostname();
        let host = if is_dns_name(&name) { name } else { "localhost".to_owned() };
        format!("{host}:{}", listen.port())
    };
    checker.few(&raw.server_names, MAX_REFERENCES);
    Agents {
        listen,
        public_address,
        server_names: raw.server_names.iter().filter_map(|name| checker.name(name)).collect(),
        enrol_per_address: checker.within(raw.enrol_per_address_per_minute.as_ref(), 5, 1, 100_000),
        enrol_total: checker.within(raw.enrol_total_per_minute.as_ref(), 20, 1, 100_000),
    }
}

fn smtp(table: &Spanned<RawSmtp>, checker: &mut Checker) -> Option<Smtp> {
    let raw = table.get_ref();
    let relay = checker
        .needed(raw.relay.as_ref(), table, "relay")
        .and_then(|relay| checker.host_port(relay, "host:port, such as smtp.example.fr:587"));
    let tls = match raw.tls.as_ref().map(|tls| (tls, tls.get_ref().as_str())) {
        None | Some((_, "starttls")) => SmtpTls::StartTls,
        Some((_, "tls")) => SmtpTls::Tls,
        Some((_, "none")) => SmtpTls::None,
        Some((at, _)) => {
            checker.fault(at, "expected \"starttls\", \"tls\" or \"none\"");
            SmtpTls::StartTls
        }
    };
    // The whole address, as lettre will read it: a bad one must stop the start, not the first mail.
    let from = checker
        .needed(raw.from.as_ref(), table, "from")
        .and_then(|from| checker.parsed::<Mailbox>(from, "a mail address"));
    let helo = raw.helo.as_ref().and_then(|name| checker.name(name));
    let credentials = match (&raw.username_file, &raw.password_file) {
        (None, None) => None,
        (Some(user), Some(password)) => {
            if tls == SmtpTls::None {
                checker.fault(password, "a password is never sent without TLS");
            }
            for (file, look) in [
                (user, Secrets::user_name as fn(Secrets, &Path) -> Result<(), String>),
                (password, Secrets::password),
            ] {
                if let Err(reason) = look(checker.secrets, file.get_ref()) {
                    checker.fault(file, reason);
                }
            }
            Some((user.get_ref().clone(), password.get_ref().clone()))
        }
        (Some(only), None) | (None, Some(only)) => {
            checker.fault(only, "username_file and password_file go together");
            None
        }
    };
    let ((host, port), from) = relay.zip(from)?;
    Some(Smtp { host, port, tls, from, helo, credentials })
}

fn alerts(raw: &RawAlerts, checker: &mut Checker) -> Alerts {
    let seconds = |n: u32| Duration::from_secs(u64::from(n));
    checker.few(&raw.threshold, MAX_THRESHOLDS);
    let mut rules = if raw.default_rules == Some(false) { Vec::new() } else { rules::defaults() };
    rules.extend(raw.threshold.iter().filter_map(|raw| threshold(raw, checker)));
    Alerts {
        silence: seconds(checker.within(raw.silence_after_s.as_ref(), 300, 10, 86_400)),
        start_grace: seconds(checker.within(raw.start_grace_s.as_ref(), 300, 0, 86_400)),
        rules,
    }
}

fn threshold(table: &Spanned<RawThreshold>, checker: &mut Checker) -> Option<Rule> {
    let raw = table.get_ref();
    let name = checker.needed(raw.metric.as_ref(), table, "metric");
    let metric = name.and_then(|name| {
        let metric = metric::by_name(name.get_ref());
        match metric {
            None => checker.fault(name, "no metric has this name"),
            Some(metric) if metric.kind == metric::Kind::State => {
                checker.fault(name, "this metric is a code, which has no threshold");
            }
            Some(_) => {}
        }
        metric
    });
    let roles = raw
        .roles
        .iter()
        .filter_map(|code| {
            let role = Role::from_code(code.get_ref());
            if role.is_none() {
                let known = Role::ALL.iter().map(|role| role.code()).collect::<Vec<_>>().join(", ");
                checker.fault(code, format!("expected one of {known}"));
            }
            role
        })
        .collect();
    let raise = checker.needed(raw.raise.as_ref(), table, "raise");
    let clear = checker.needed(raw.clear.as_ref(), table, "clear");
    for limit in [raise, clear].into_iter().flatten().filter(|limit| !limit.get_ref().is_finite()) {
        checker.fault(limit, "expected a finite number");
    }
    if let (Some(raise), Some(clear)) = (raise, clear)
        && raise.get_ref().is_finite()
        && raise.get_ref().total_cmp(clear.get_ref()).is_eq()
    {
        checker.fault(clear, "expected another value than raise, or the alert would flap");
    }
    let hold = checker.needed(raw.hold_s.as_ref(), table, "hold_s");
    let hold = SignedDuration::from_secs(checker.within(hold, 0, 0, 86_400).into());
    Some(Rule::on_metric(metric?, roles, *raise?.get_ref(), *clear?.get_ref(), hold))
}

fn references(raw: &RawReferences, checker: &mut Checker) -> References {
    // Agents are told both in one list.
    checker.few(&raw.http, MAX_REFERENCES.saturating_sub(raw.icmp.len()));
    for url in &raw.http {
        if !is_plain_url(url.get_ref()) {
            checker.fault(url, "expected an http or https URL without user name");
        }
    }
    if let (Some(resolver), None) = (raw.dns.first(), &raw.dns_name) {
        checker.fault(resolver, "a resolver needs dns_name, the name that it is asked for");
    }
    let listed = [&raw.icmp, &raw.dns, &raw.http];
    for reference in &raw.centre {
        if !listed.iter().any(|list| list.iter().any(|one| one.get_ref() == reference.get_ref())) {
            checker.fault(reference, "expected one of those in icmp, dns or http");
        }
    }
    References {
        icmp: checker.addresses(&raw.icmp),
        dns: checker.addresses(&raw.dns),
        dns_name: raw.dns_name.as_ref().and_then(|name| checker.name(name)),
        http: raw.http.iter().map(|url| url.get_ref().clone()).collect(),
        centre: raw.centre.iter().map(|text| as_listed(text.get_ref())).collect(),
    }
}

/// A reference as it is known once read: an IPv6 address has many spellings.
fn as_listed(text: &str) -> String {
    text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |address| address.to_string())
}

fn retention(raw: &RawRetention, checker: &mut Checker) -> Retention {
    let retention = Retention {
        samples_days: checker.within(raw.samples_days.as_ref(), 14, 2, 3_660),
        five_minutes_days: checker.within(raw.five_minutes_days.as_ref(), 396, 2, 3_660),
        access_ports_days: checker.within(raw.access_ports_days.as_ref(), 60, 2, 3_660),
        hours_days: checker.within(raw.hours_days.as_ref(), 1_096, 2, 3_660),
        days_days: checker.within(raw.days_days.as_ref(), 3_653, 2, 7_320),
    };
    let ladder = [
        (retention.samples_days, retention.five_minutes_days, &raw.five_minutes_days),
        (retention.five_minutes_days, retention.hours_days, &raw.hours_days),
        (retention.hours_days, retention.days_days, &raw.days_days),
    ];
    for (finer, coarser, at) in ladder {
        if let (true, Some(at)) = (coarser < finer, at) {
            checker.fault(at, "a coarser resolution is kept at least as long as a finer one");
        }
    }
    retention
}
