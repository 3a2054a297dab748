//! The command line.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, FromArgMatches as _, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Extra, around},
    clock::SystemClock,
    config::{self, Config, ConfigError},
    enrol::{self, Existing, Token},
    logs,
    platform::signals,
    status,
};

mod inspect;
mod profiles;
mod words;

use words::Language;

/// Exit status for a configuration file that is faulty or can not be read; clap's for a faulty command.
const FAULTY: u8 = 2;

/// Its words are in [`words`].
#[derive(Debug, Parser)]
#[command(name = "vigie-agent", version)]
struct Cli {
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long = "data", global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[arg(long)]
    check_config: bool,
    #[arg(long, global = true, value_name = "LANG", value_parser = ["fr", "en"])]
    lang: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Agent(AgentCommand),
    Inspect(Box<inspect::InspectArgs>),
    Profiles {
        #[command(subcommand)]
        command: profiles::Command,
    },
}

/// What needs this machine's configuration.
#[derive(Debug, Subcommand)]
enum AgentCommand {
    Run(RunArgs),
    Enrol(EnrolArgs),
    Status,
}

#[derive(Debug, Default, Args)]
struct RunArgs {
    /// A line for each record that became durable goes there (fault campaign).
    #[arg(long, hide = true, value_name = "FILE")]
    spool_ledger: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct EnrolArgs {
    #[arg(long, value_name = "HOST:PORT")]
    collector: String,
    #[arg(long, value_name = "TOKEN")]
    token: String,
    #[arg(long)]
    replace: bool,
    #[arg(long, requires = "replace")]
    discard_backlog: bool,
}

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let language = Language::choose(&given, &words::locale());
    let read = words::command(language)
        .try_get_matches_from(given)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let mut cli = match read {
        Ok(cli) => cli,
        // Help goes to standard output with status 0, faults to standard error with status 2.
        Err(error) => error.exit(),
    };
    // A technician's tools need no agent on the machine, so none of its configuration either.
    let command = match cli.command.take() {
        Some(Command::Inspect(args)) if !cli.check_config => return inspect::main(&args, language),
        Some(Command::Profiles { command }) if !cli.check_config => {
            return profiles::main(&command, language);
        }
        Some(Command::Agent(command)) => command,
        Some(Command::Inspect(_) | Command::Profiles { .. }) | None => {
            AgentCommand::Run(RunArgs::default())
        }
    };
    let config = match read_config(&cli) {
        Ok(Ok(config)) => config,
        Ok(Err(report)) => {
            // Nowhere is left to say that standard error is closed.
            let _ = write!(io::stderr(), "{report}");
            return ExitCode::from(FAULTY);
        }
        Err(error) => return failed(FAULTY, &error),
    };
    if cli.check_config {
        return say(language.t("la configuration est correcte\n", "the configuration is correct\n"));
    }
    let logs = match command {
        AgentCommand::Run(_) => logs::start(config.log_format, "info"),
        AgentCommand::Enrol(_) => logs::start(config.log_format, "warn"),
        AgentCommand::Status => Ok(()),
    };
    if let Err(error) = logs {
        return failed(FAULTY, &error.into());
    }
    // One thread is enough for some hundred packets a second, and keeps a school's server free.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("cannot start the runtime").and_then(|runtime| {
        let done = runtime.block_on(run(command, config, language));
        // A name look-up may hang on its thread for long.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(text) => say(&text),
        Err(error) => failed(1, &error),
    }
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::FAILURE,
    }
}

fn failed(code: u8, error: &anyhow::Error) -> ExitCode {
    // Nowhere is left to say that standard error is closed.
    let _ = writeln!(io::stderr(), "vigie-agent: {error:#}");
    ExitCode::from(code)
}

/// The local file; without one at the usual place, every default.
fn read_config(cli: &Cli) -> anyhow::Result<Result<Config, String>> {
    let path = cli.config.clone().unwrap_or_else(|| config::DEFAULT_PATH.into());
    let mut config = match Config::load(&path) {
        Ok(config) => config,
        Err(ConfigError::Read { source, .. })
            if source.kind() == io::ErrorKind::NotFound && cli.config.is_none() =>
        {
            Config::default()
        }
        Err(ConfigError::Faulty(report)) => return Ok(Err(report)),
        Err(error) => return Err(error.into()),
    };
    if let Some(dir) = &cli.data_dir {
        config.data_dir.clone_from(dir);
    }
    Ok(Ok(config))
}

/// Text to print at the end.
async fn run(command: AgentCommand, config: Config, language: Language) -> anyhow::Result<String> {
    match command {
        AgentCommand::Run(args) => {
            let stop = stop_on_signals()?;
            let extra = Extra { spool_ledger: args.spool_ledger };
            app::run(config, Arc::new(SystemClock::new()), stop, extra).await?;
            Ok(String::new())
        }
        AgentCommand::Enrol(args) => enrol(&config, &args, language).await,
        AgentCommand::Status => Ok(status::screen(&config).await),
    }
}

async fn enrol(config: &Config, args: &EnrolArgs, language: Language) -> anyhow::Result<String> {
    let text = if args.token == "-" {
        io::read_to_string(io::stdin().take(4096)).context("cannot read the token")?
    } else {
        args.token.clone()
    };
    let token: Token = text.parse().context("cannot use the token")?;
    let seen = around::look(&args.collector, &[]).await;
    let existing = match (args.replace, args.discard_backlog) {
        (false, _) => Existing::Keep,
        (true, false) => Existing::Replace,
        (true, true) => Existing::ReplaceAndDiscard,
    };
    let dir = &config.data_dir;
    let enrolled = enrol::enrol(dir, &args.collector, &token, seen, existing).await?;
    let site = &enrolled.site_name;
    // One that runs goes on under its former identity until it is started again.
    let (french, english, next) = match existing {
        Existing::Keep => ("Démarrez-le", "Start it", "systemctl enable --now vigie-agent"),
        Existing::Replace | Existing::ReplaceAndDiscard => {
            ("Redémarrez-le", "Restart it", "systemctl restart vigie-agent")
        }
    };
    Ok(match language {
        Language::French => format!("Agent inscrit pour « {site} ». {french} : {next}\n"),
        Language::English => format!("Agent enrolled for \"{site}\". {english}: {next}\n"),
    })
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let asked = signals::asked_to_stop().context("cannot listen to signals")?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        asked.await;
        tracing::info!("stopping");
        stopping.cancel();
    });
    Ok(stop)
}
