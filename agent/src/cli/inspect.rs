//! `inspect`: everything about one device, for a technician or a program.

mod page;
mod progress;

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use tokio::time::timeout;

use super::words::Language;
use crate::{
    config::LogFormat,
    inspect::{self, InspectError, Report, Target, json},
    logs,
    plan::Secret,
    profile::Library,
    snmp::{Credentials, Fault, User, name},
};

/// Exit status when the device did not answer.
const NO_ANSWER: u8 = 3;
/// Where devices listen.
const PORT: u16 = 161;
/// Largest file of a password, in bytes.
const MAX_SECRET_BYTES: u64 = 4096;
/// Longest look-up of a name.
const LOOK_UP: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[arg(value_name = "ADDRESS[:PORT]")]
    address: String,
    #[arg(long, value_name = "TEXT", group = "password_of_versions_1_and_2")]
    community: Option<String>,
    #[arg(long, value_name = "FILE", group = "password_of_versions_1_and_2")]
    community_file: Option<PathBuf>,
    #[arg(long, requires = "password_of_versions_1_and_2")]
    v1: bool,
    #[arg(long, value_name = "NAME", conflicts_with = "password_of_versions_1_and_2")]
    v3_user: Option<String>,
    #[arg(long, value_name = "PROTOCOL", requires = "v3_user", default_value = "sha1")]
    v3_auth_protocol: String,
    #[arg(long, value_name = "TEXT", requires = "v3_user", group = "v3_auth")]
    v3_auth_password: Option<String>,
    #[arg(long, value_name = "FILE", requires = "v3_user", group = "v3_auth")]
    v3_auth_password_file: Option<PathBuf>,
    #[arg(long, value_name = "PROTOCOL", requires = "v3_user", default_value = "aes128")]
    v3_priv_protocol: String,
    #[arg(long, value_name = "TEXT", requires = "v3_auth", group = "v3_priv")]
    v3_priv_password: Option<String>,
    #[arg(long, value_name = "FILE", requires = "v3_auth", group = "v3_priv")]
    v3_priv_password_file: Option<PathBuf>,
    #[arg(long, value_name = "NAME", requires = "v3_user", default_value = "")]
    v3_context: String,
    #[arg(long, value_name = "DIR")]
    profiles: Option<PathBuf>,
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    #[arg(long)]
    json: bool,
    #[arg(long)]
    verbose: bool,
}

/// Does it, and says how it ended.
pub(super) fn main(args: &InspectArgs, language: Language) -> ExitCode {
    let faulty = |error: &anyhow::Error| super::failed(super::FAULTY, error);
    if let Err(error) = logs::start(LogFormat::Text, "warn") {
        return faulty(&error.into());
    }
    let prepared = credentials(args).and_then(|credentials| {
        let library = library(args.profiles.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok((credentials, library, runtime.context("cannot start the runtime")?))
    });
    let (credentials, library, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return faulty(&error),
    };
    let address = match runtime.block_on(resolve(&args.address)) {
        Ok(address) => address,
        Err(error) => return faulty(&error),
    };
    let version = credentials.label();
    let timeout = Duration::from_secs(args.timeout);
    let target = Target { address, credentials: Arc::new(credentials), timeout };
    let is_terminal = io::stderr().is_terminal();
    let mut bar = progress::Bar::new(language, is_terminal);
    let answer = runtime.block_on(inspect::inspect(&target, &library, &mut |of| bar.show(of)));
    // A name look-up may hang on its thread for long.
    runtime.shutdown_background();
    bar.clear();
    match answer {
        Ok(report) => told(args, language, &report),
        Err(error @ InspectError::Profile(_)) => faulty(&error.into()),
        Err(InspectError::Silent { address, source }) => {
            // Nowhere is left to say that standard error is closed.
            let _ = writeln!(
                io::stderr(),
                "vigie-agent: {} {address} ({version}): {}",
                language.t("pas de réponse de", "no answer from"),
                why(language, &source),
            );
            ExitCode::from(NO_ANSWER)
        }
    }
}

/// Prints what was learnt.
fn told(args: &InspectArgs, language: Language, report: &Report) -> ExitCode {
    if args.verbose {
        // Nowhere is left to say that standard error is closed.
        let _ = writeln!(
            io::stderr(),
            "requests={} seconds={:.3} partial={} profile={} read={}",
            report.requests,
            report.took.as_secs_f64(),
            report.is_partial,
            report.identity.profile.as_deref().unwrap_or("-"),
            report.asked.iter().map(|name| name::dotted(name)).collect::<Vec<_>>().join(","),
        );
    }
    if !args.json {
        return super::say(&page::page(report, language));
    }
    match json::write(report) {
        Ok(text) => super::say(&text),
        Err(error) => super::failed(1, &error.into()),
    }
}

fn why(language: Language, fault: &Fault) -> String {
    let words = match fault {
        Fault::Timeout | Fault::OutOfTime => language.t(
            "délai dépassé (adresse, version ou communauté ?)",
            "timed out (address, version or community?)",
        ),
        Fault::Refused => language.t("personne n'écoute à ce port", "nobody listens at that port"),
        Fault::Unreachable => language.t("pas de route", "no route"),
        Fault::Denied => language.t(
            "l'appareil refuse l'utilisateur (nom, mot de passe ou protocole ?)",
            "the device refuses the user (name, password or protocol?)",
        ),
        Fault::Ignored => language.t(
            "l'appareil répond aux inconnus et se tait pour l'utilisateur (chiffrement ?)",
            "the device answers strangers and is silent to the user (privacy?)",
        ),
        Fault::Malformed => {
            language.t("ce qui vient n'est pas une réponse", "what came is no answer")
        }
        Fault::Status { .. } | Fault::NoBulk | Fault::NotSent | Fault::Socket(_) => {
            return logs::chain(fault);
        }
    };
    words.to_owned()
}

/// Built-in profiles, and those of a directory beside or before them.
fn library(dir: Option<&Path>) -> anyhow::Result<Library> {
    match dir {
        None => Library::built_in().context("cannot read the built-in profiles"),
        Some(dir) => Library::with_directory(dir)
            .with_context(|| format!("cannot use the profiles of {}", dir.display())),
    }
}

fn credentials(args: &InspectArgs) -> anyhow::Result<Credentials> {
    let secret = |given: &Option<String>, file: &Option<PathBuf>, what: &str| match (given, file) {
        (Some(text), _) => Ok(Some(Secret(text.clone()))),
        (None, Some(path)) => {
            read_secret(path).with_context(|| format!("cannot read the {what}")).map(Some)
        }
        (None, None) => Ok(None),
    };
    let credentials = if let Some(user) = &args.v3_user {
        let auth =
            secret(&args.v3_auth_password, &args.v3_auth_password_file, "authentication password")?;
        let auth = match auth {
            Some(password) => Some((args.v3_auth_protocol.parse()?, password)),
            None => None,
        };
        let privacy =
            secret(&args.v3_priv_password, &args.v3_priv_password_file, "privacy password")?;
        let privacy = match privacy {
            Some(password) => Some((args.v3_priv_protocol.parse()?, password)),
            None => None,
        };
        Credentials::V3(User::new(user, auth, privacy, &args.v3_context)?)
    } else {
        match secret(&args.community, &args.community_file, "community")? {
            Some(community) if args.v1 => Credentials::V1 { community },
            Some(community) => Credentials::V2c { community },
            None => bail!("cannot ask without --community, --community-file or --v3-user"),
        }
    };
    credentials.check()?;
    Ok(credentials)
}

/// The first line of a file.
fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let shown = || path.display().to_string();
    let file = fs::File::open(path).with_context(shown)?;
    let mut text = String::new();
    file.take(MAX_SECRET_BYTES).read_to_string(&mut text).with_context(shown)?;
    let line = text.lines().next().unwrap_or_default();
    ensure!(!line.is_empty(), "{} is empty", path.display());
    Ok(Secret(line.to_owned()))
}

/// An address, an address and a port, a name, a name and a port.
async fn resolve(given: &str) -> anyhow::Result<SocketAddr> {
    if let Ok(address) = given.parse::<SocketAddr>() {
        return Ok(address);
    }
    let plain = given.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(given);
    if let Ok(address) = plain.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT));
    }
    let (host, port) = match given.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().with_context(|| format!("{port:?} is no port"))?),
        None => (given, PORT),
    };
    ensure!(!host.is_empty() && !host.contains(':'), "{given:?} is no address");
    let look_up = timeout(LOOK_UP, tokio::net::lookup_host((host, port)));
    let found = look_up.await.context("the look-up took too long");
    let mut found =
        found.and_then(|found| Ok(found?)).with_context(|| format!("cannot find {host:?}"))?;
    found.next().with_context(|| format!("{host:?} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_read_with_and_without_a_port() {
        for (given, expected) in [
            ("192.0.2.1", "192.0.2.1:161"),
            ("192.0.2.1:1161", "192.0.2.1:1161"),
            ("2001:db8::1", "[2001:db8::1]:161"),
            ("[2001:db8::1]", "[2001:db8::1]:161"),
            ("[2001:db8::1]:1161", "[2001:db8::1]:1161"),
        ] {
            assert_eq!(resolve(given).await.expect(given).to_string(), expected);
        }
        for given in ["", ":161", "192.0.2.1:x", "a:b:c:1"] {
            assert!(resolve(given).await.is_err(), "{given}");
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "secret canary\r\nsecond\n").expect("written");
        assert_eq!(read_secret(file.path()).expect("read").0, "secret canary");
        fs::write(file.path(), "\n").expect("written");
        assert!(read_secret(file.path()).is_err());
    }
}
