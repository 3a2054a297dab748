//! Logs on standard error, as lines or as JSON; `VIGIE_LOG` says how much.

use std::{
    error::Error,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::config::{self, LogFormat};

/// Causes that are told at most; a chain that goes on in a circle ends all the same.
const MAX_CAUSES: usize = 16;

/// The environment asks for a detail that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("cannot use VIGIE_LOG={given:?}")]
pub struct LogsError {
    given: String,
    source: ParseError,
}

/// Sends events to standard error from here on: those of `level` unless the environment says
/// otherwise.
///
/// # Errors
/// [`LogsError`] when `VIGIE_LOG` makes no sense.
pub fn start(format: LogFormat, level: &str) -> Result<(), LogsError> {
    let given = config::log_filter().unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::try_new(&given).map_err(|source| LogsError { given, source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
    }
    Ok(())
}

/// An error and its causes, as `what: why: why`. A cause that an error tells in its own text already is
/// not repeated.
#[must_use]
pub fn chain(error: &(dyn Error + '_)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        let why = error.to_string();
        if !text.ends_with(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_once() {
        let cause = || io::Error::other("disk is full");
        let outer = anyhow::Error::new(cause()).context("cannot write").context("cannot spool");
        assert_eq!(chain(&*outer), "cannot spool: cannot write: disk is full");
        let said = anyhow::Error::new(cause()).context("cannot write: disk is full");
        assert_eq!(chain(&*said), "cannot write: disk is full");
    }
}
