//! `vigie-collector`: arguments, logs, exit code.

use std::{io::Write as _, path::PathBuf};

use clap::{Parser, ValueEnum};
use collector::{app, config::Config, logs};

/// Takes what agents measured, keeps it, answers questions, mails.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What to do.
    #[arg(value_enum, default_value_t = Command::Run)]
    command: Command,
    /// Configuration file.
    #[arg(long, default_value = collector::config::DEFAULT_PATH)]
    config: PathBuf,
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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let config = Config::load(&arguments.config)?;
    let mut out = std::io::stdout();
    match arguments.command {
        _ if arguments.check_config => Ok(writeln!(out, "the configuration is correct")?),
        Command::Init => Ok(writeln!(out, "{}", app::init(&config).await?)?),
        Command::Run => {
            logs::start();
            app::run(config).await
        }
    }
}
