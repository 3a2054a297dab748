//! Faults as people read them: file, line, caret, reason.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::Fault;

/// Most faults that are shown: a damaged file may have one in each byte.
const MAX_SHOWN: usize = 20;

/// Renders each fault with the line that it stands on. `path` names the file.
#[must_use]
pub fn render(path: &str, text: &str, faults: &[Fault]) -> String {
    let renderer = Renderer::plain();
    let mut out = String::new();
    for fault in faults.iter().take(MAX_SHOWN) {
        let snippet = Snippet::source(text)
            .path(path)
            .annotation(AnnotationKind::Primary.span(fault.span.clone()).label(&fault.hint));
        let report = [Level::ERROR.primary_title(&fault.message).element(snippet)];
        out.push_str(&renderer.render(&report));
        out.push_str("\n\n");
    }
    if let Some(more) = faults.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "error: {path}: {more} more faults");
    }
    out
}
