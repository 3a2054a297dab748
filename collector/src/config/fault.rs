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
    /// True when there is no such file.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

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
    let name = path.display().to_string();
    let fail = |source| ConfigError::Read { path: name.clone(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    let too_large = bytes.len() as u64 > MAX_FILE_BYTES;
    let (text, mut faults) = decode(&bytes);
    if too_large {
        let last = text.char_indices().next_back().map_or(0, |(at, _)| at);
        let reason = format!("it is larger than {MAX_FILE_BYTES} bytes; is it the right file?");
        faults = vec![Fault { span: last..text.len(), reason }];
    }
    if faults.is_empty() { Ok(text) } else { Err(ConfigError::faulty(&name, &text, &faults)) }
}

/// The text of a file, what is none replaced, and the first such place of each line.
fn decode(bytes: &[u8]) -> (String, Vec<Fault>) {
    let (mut text, mut faults) = (String::with_capacity(bytes.len()), Vec::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let start = text.len();
        text.push_str(&String::from_utf8_lossy(line));
        let zero = line.iter().position(|byte| *byte == 0);
        let valid = str::from_utf8(line).map_or_else(|error| error.valid_up_to(), str::len);
        // Up to the first byte that is none, the text is as long as the bytes.
        let (at, reason) = match zero.filter(|zero| *zero < valid) {
            Some(zero) => {
                (zero, "a zero byte, as a power cut may leave in a file; write the file again")
            }
            None if valid < line.len() => {
                (valid, "this does not belong to text in UTF-8; save the file as UTF-8")
            }
            None => continue,
        };
        if faults.len() <= MAX_SHOWN {
            let length = text[start + at..].chars().next().map_or(0, char::len_utf8);
            let span = start + at..start + at + length;
            faults.push(Fault { span, reason: reason.to_owned() });
        }
    }
    (text, faults)
}
