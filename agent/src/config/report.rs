//! Faults as people read them: file, line, caret, reason.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::Fault;

/// Renders each fault with the line that it stands on. `path` names the file.
#[must_use]
pub fn render(path: &str, text: &str, faults: &[Fault]) -> String {
    let renderer = Renderer::plain();
    let mut out = String::new();
    for fault in faults {
        let snippet = Snippet::source(text)
            .path(path)
            .annotation(AnnotationKind::Primary.span(fault.span.clone()).label(&fault.hint));
        let report = [Level::ERROR.primary_title(&fault.message).element(snippet)];
        out.push_str(&renderer.render(&report));
        out.push_str("\n\n");
    }
    out
}
