//! What the collector tells of itself without a token: that it runs, and its figures.

use axum::{Router, response::IntoResponse as _, routing::get};
use domain::chain::chain;
use http::{StatusCode, header};

use crate::context::Context;

/// Type of the exposition format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/health`: no details.
pub(super) fn health() -> Router {
    Router::new().route("/health", get(|| async { "ok\n" }))
}

/// `/metrics`: for the machine itself, or a listener of its own.
pub(super) fn metrics(context: &Context) -> Router {
    let metrics = context.metrics.clone();
    let page = move || async move {
        match metrics.encode() {
            Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
            Err(error) => {
                tracing::error!(error = chain(&error), "the figures could not be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    };
    Router::new().route("/metrics", get(page))
}
