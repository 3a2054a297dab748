//! Faults of a configuration file, shown as file, line, caret and reason.

use std::{fmt::Write as _, fs::File, io, io::Read as _, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

use super::MAX_FILE_BYTES;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can not be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file says something wrong; the text shows each fault in its line.
    #[error("{0}")]
    Faulty(String),
}

/// One fault and the bytes that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) reason: String,
}

impl ConfigError {
    pub(super) fn faulty(name: &str, text: &str, faults: &[Fault]) -> Self {
        let renderer = Renderer::plain().decor_style(DecorStyle::Ascii);
        let mut shown = String::new();
        for fault in faults {
            // A span past the end (a missing value on the last line) would have nothing to show.
            let end = fault.span.end.min(text.len());
            let start = fault.span.start.min(end);
            let report = &[Level::ERROR.primary_title(fault.reason.as_str()).element(
                Snippet::source(text)
                    .path(name)
                    .annotation(AnnotationKind::Primary.span(start..end)),
            )];
            if !shown.is_empty() {
                shown.push('\n');
            }
            // Writing to a string does not fail.
            let _ = writeln!(shown, "{}", renderer.render(report));
        }
        Self::Faulty(shown.trim_end().to_owned())
    }
}

/// Reads a text file of bounded size.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.display().to_string(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(fail)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    Ok(text)
}
