//! Faults of a configuration file, shown as file, line, caret and reason.

use std::{fmt::Write as _, fs::File, io, io::Read as _, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

use super::MAX_FILE_BYTES;

/// Most faults that are shown: a damaged file may have one in each value.
const MAX_SHOWN: usize = 50;

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
        for fault in faults.iter().take(MAX_SHOWN) {
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
        if let Some(more) = faults.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(shown, "error: {name}: {more} more faults");
        }
        Self::Faulty(shown.trim_end().to_owned())
    }
}

/// Reads a text file of bounded size.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("it is larger than {MAX_FILE_BYTES} bytes; is it the right file?");
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    let damaged = |message| fail(io::Error::new(io::ErrorKind::InvalidData, message));
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let cause = "as a power cut may leave a file; write it again";
        return Err(damaged(format!("byte {} is zero, {cause}", at + 1)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        damaged(format!("byte {at} does not belong to text in UTF-8; save the file as UTF-8"))
    })
}
