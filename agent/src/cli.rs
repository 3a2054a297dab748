//! The command line.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    app::{self, Extra, around},
    clock::SystemClock,
    config::{self, Config, ConfigError, LogFormat},
    enrol::{self, Existing, Token},
    platform::signals,
    status,
};

/// Exit status for a configuration file that is faulty or can not be read; clap's for a faulty command.
const FAULTY: u8 = 2;

/// Agent de mesure Vigie / Vigie measurement agent.
#[derive(Debug, Parser)]
#[command(name = "vigie-agent", version)]
struct Cli {
    /// Local configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory (instead of the file's).
    #[arg(long = "data", global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Check the configuration file and exit.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure and send (default).
    Run(RunArgs),
    /// Enrol this machine with a token.
    Enrol(EnrolArgs),
    /// Show the running agent's state.
    Status,
}

#[derive(Debug, Default, Args)]
struct RunArgs {
    /// Write a line for each record that became durable (fault campaign).
    #[arg(long, hide = true, value_name = "FILE")]
    spool_ledger: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct EnrolArgs {
    /// Address of the collector, HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    collector: String,
    /// Token printed by `vigie agent token`; `-` reads it from standard input.
    #[arg(long, value_name = "TOKEN")]
    token: String,
    /// Replace an existing identity.
    #[arg(long)]
    replace: bool,
    /// Give up the measurements of the former identity that the collector does not have yet.
    #[arg(long, requires = "replace")]
    discard_backlog: bool,
}

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match read_config(&cli) {
        Ok(Ok(config)) => config,
        Ok(Err(report)) => {
            // Nowhere is left to say that standard error is closed.
            let _ = write!(io::stderr(), "{report}");
            return ExitCode::from(FAULTY);
        }
        Err(error) => {
            failed(&error);
            return ExitCode::from(FAULTY);
        }
    };
    if cli.check_config {
        return say("configuration correcte / configuration ok\n");
    }
    let command = cli.command.unwrap_or(Command::Run(RunArgs::default()));
    // One thread is enough for some hundred packets a second, and keeps a school's server free.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("cannot start the runtime").and_then(|runtime| {
        let done = runtime.block_on(run(command, config));
        // A name look-up may hang on its thread for long.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(text) => say(&text),
        Err(error) => failed(&error),
    }
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::FAILURE,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Nowhere is left to say that standard error is closed.
    let _ = writeln!(io::stderr(), "vigie-agent: {error:#}");
    ExitCode::FAILURE
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
async fn run(command: Command, config: Config) -> anyhow::Result<String> {
    match command {
        Command::Run(args) => {
            start_logs(config.log_format, "info");
            let stop = stop_on_signals()?;
            let extra = Extra { spool_ledger: args.spool_ledger };
            app::run(config, Arc::new(SystemClock::new()), stop, extra).await?;
            Ok(String::new())
        }
        Command::Enrol(args) => {
            start_logs(config.log_format, "warn");
            enrol(&config, &args).await
        }
        Command::Status => Ok(status::screen(&config).await),
    }
}

async fn enrol(config: &Config, args: &EnrolArgs) -> anyhow::Result<String> {
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
    let (french, english, command) = match existing {
        Existing::Keep => ("Démarrez-le", "Start it", "systemctl enable --now vigie-agent"),
        Existing::Replace | Existing::ReplaceAndDiscard => {
            ("Redémarrez-le", "Restart it", "systemctl restart vigie-agent")
        }
    };
    Ok(format!(
        "Agent inscrit pour « {site} ». {french} : {command}\n\
         Agent enrolled for \"{site}\". {english}: {command}\n"
    ))
}

fn start_logs(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_env("VIGIE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
    }
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
