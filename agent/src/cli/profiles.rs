//! `profiles`: for who writes profiles of devices.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Subcommand;

use super::words::Language;
use crate::profile;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Check {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Does it, and says how it ended.
pub(super) fn main(command: &Command, language: Language) -> ExitCode {
    let Command::Check { dir } = command;
    match profile::check_directory(dir) {
        Ok(checked) if checked.faults == 0 => super::say(&format!(
            "{} {}\n",
            checked.files,
            language.t("fichiers, sans faute", "files, no fault"),
        )),
        Ok(checked) => {
            // Nowhere is left to say that standard error is closed.
            let _ = write!(io::stderr(), "{}", checked.report);
            ExitCode::from(super::FAULTY)
        }
        Err(error) => super::failed(super::FAULTY, &error.into()),
    }
}
