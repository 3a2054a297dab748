//! `vigie-collector`: arguments, logs, exit code.
//!
//! Ends with 0, with 2 when the command or the configuration is at fault, with 1 for any other failure,
//! as `vigie-agent` does.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use collector::{
    app,
    config::{self, Config, ConfigError},
    logs, platform,
};

/// Exit status for a faulty configuration; clap's for a faulty command.
const FAULTY: u8 = 2;

/// Takes what agents measured, keeps it, answers questions, mails.
#[derive(Parser)]
#[command(name = "vigie-collector", version)]
struct Arguments {
    /// What to do.
    #[arg(value_enum, default_value_t = Command::Run)]
    command: Command,
    /// Configuration file; at its usual place it may be missing.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory (instead of the file's).
    #[arg(long = "data", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Only tell what is wrong with the configuration.
    #[arg(long)]
    check_config: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Command {
    /// Run until told to end.
    Run,
    /// Make the data directory, the authority and the database, and end.
    Init,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match read_config(&arguments) {
        Ok(config) => config,
        Err(error) => return failed(FAULTY, told(error)),
    };
    if arguments.check_config {
        return say("configuration correcte / configuration ok");
    }
    let done = match arguments.command {
        Command::Init => block_on(app::init(&config)),
        Command::Run => {
            // Before there is another thread.
            let shared = platform::share_one_arena();
            logs::start();
            if let Err(error) = shared {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot begin anew with one arena: more memory is used");
            }
            block_on(app::run(config)).map(|()| String::new())
        }
    };
    match done {
        Ok(text) if text.is_empty() => ExitCode::SUCCESS,
        Ok(text) => say(&text),
        Err(error) => failed(1, format!("vigie-collector: {error:#}")),
    }
}

/// The file; without one at the usual place, every default.
fn read_config(arguments: &Arguments) -> Result<Config, ConfigError> {
    let load = if arguments.check_config { Config::load_with_secrets } else { Config::load };
    let path = arguments.config.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH));
    let mut config = match load(path) {
        Err(error) if error.is_absence() && arguments.config.is_none() => Config::parse("", "")?,
        read => read?,
    };
    if let Some(dir) = &arguments.data_dir {
        config.data_dir.clone_from(dir);
    }
    Ok(config)
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(work)
}

/// A report of faults as it is, anything else with the program's name and the whole chain.
fn told(error: ConfigError) -> String {
    match error {
        ConfigError::Faulty(report) => report,
        error @ ConfigError::Read { .. } => {
            format!("vigie-collector: {:#}", anyhow::Error::from(error))
        }
    }
}

fn say(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::FAILURE,
    }
}

fn failed(code: u8, text: impl Display) -> ExitCode {
    // Nowhere is left to say that standard error is closed.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}
