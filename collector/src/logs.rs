//! Logs on standard error, as lines or as JSON; `VIGIE_LOG` says how much.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::config::{self, LogFormat};

/// Level unless the environment says otherwise.
const LEVEL: &str = "info";

/// The environment asks for a detail that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("cannot use VIGIE_LOG={given:?}")]
pub struct LogsError {
    given: String,
    source: ParseError,
}

/// Sends events to standard error from here on.
///
/// # Errors
/// [`LogsError`] when `VIGIE_LOG` makes no sense.
pub fn start(format: LogFormat) -> Result<(), LogsError> {
    let given = config::log_filter().unwrap_or_else(|| LEVEL.to_owned());
    let filter = EnvFilter::try_new(&given).map_err(|source| LogsError { given, source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
    }
    Ok(())
}
