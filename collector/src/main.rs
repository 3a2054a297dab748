//! `vigie-collector`: arguments, logs, exit code.
//!
//! Ends with 0, with 2 when the command or the configuration is at fault, with 1 for any other failure,
//! as `vigie-agent` does.

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use collector::{
    app,
    config::{self, Config, ConfigError},
    language::{self, Language},
    logs, platform,
};
use domain::chain::chain;

/// Exit status for a faulty configuration; clap's for a faulty command.
const FAULTY: u8 = 2;

/// Its words are in [`command`].
#[derive(Parser)]
#[command(name = "vigie-collector", version)]
struct Arguments {
    #[arg(value_enum, value_name = "COMMAND", default_value_t = Command::Run)]
    command: Command,
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long = "data", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[arg(long)]
    check_config: bool,
    #[arg(long, value_name = "LANG", value_parser = ["fr", "en"])]
    lang: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Command {
    Run,
    Init,
}

/// The command with its words.
fn command(language: Language) -> clap::Command {
    let t = |french, english| language.pick(french, english);
    let what = t(
        "run : recevoir, surveiller, prévenir ; init : préparer les données et finir",
        "run: take, watch, warn; init: prepare the data and end",
    );
    let config = t(
        "Fichier de configuration ; à sa place habituelle il peut manquer",
        "Configuration file; at its usual place it may be missing",
    );
    let data = t("Répertoire des données (au lieu du fichier)", "Data directory (not the file's)");
    let check = t(
        "Dit les fautes de la configuration et finit",
        "Tells the faults of the configuration and ends",
    );
    let option = |name, short, action, help| {
        clap::Arg::new(name).short(short).long(name).action(action).help(help)
    };
    Arguments::command()
        .about(t(
            "Collecteur Vigie : reçoit les mesures des écoles, les garde, répond, prévient",
            "Vigie collector: takes the measures of schools, keeps them, answers, warns",
        ))
        .long_about(None)
        .help_template(t(
            "{about}\n\nUtilisation : {usage}\n\n{all-args}{after-help}\n",
            "{about}\n\nUsage: {usage}\n\n{all-args}{after-help}\n",
        ))
        .after_help(t(
            "VIGIE_LOG règle le détail du journal : error, warn, info, debug, trace.",
            "VIGIE_LOG sets the detail of the log: error, warn, info, debug, trace.",
        ))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .mut_arg("command", |arg| arg.help(what).hide_possible_values(true))
        .mut_arg("config", |arg| arg.help(config))
        .mut_arg("data_dir", |arg| arg.help(data))
        .mut_arg("check_config", |arg| arg.help(check))
        .mut_arg("lang", |arg| arg.help(t("Langue", "Language")))
        .arg(option(
            "help",
            'h',
            clap::ArgAction::Help,
            t("Dit comment s'en servir", "Says how to use it"),
        ))
        .arg(option(
            "version",
            'V',
            clap::ArgAction::Version,
            t("Dit la version", "Says the version"),
        ))
}

fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let language = Language::choose(&given, &language::locale());
    let read = command(language)
        .try_get_matches_from(given)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match read {
        Ok(arguments) => arguments,
        // Help goes to standard output with status 0, faults to standard error with status 2.
        Err(error) => error.exit(),
    };
    let config = match read_config(&arguments) {
        Ok(config) => config,
        Err(error) => return failed(FAULTY, told(error)),
    };
    if arguments.check_config {
        return say(language.pick("la configuration est correcte", "the configuration is correct"));
    }
    let done = match arguments.command {
        Command::Init => block_on(app::init(&config)),
        Command::Run => {
            // Before there is another thread.
            let shared = platform::share_one_arena();
            if let Err(error) = logs::start(config.log_format) {
                return failed(
                    FAULTY,
                    format!("vigie-collector: {:#}", anyhow::Error::from(error)),
                );
            }
            if let Err(error) = shared {
                tracing::warn!(
                    error = chain(&error),
                    "cannot begin anew with one arena: more memory is used"
                );
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
