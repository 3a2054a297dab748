//! What every part of the collector is handed.

use std::sync::Arc;

use store::Store;

use crate::{clock::Clock, config::Config, live::Live, metrics::Metrics};

/// Shared by listeners, jobs and the API. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The checked file.
    pub config: Arc<Config>,
    /// Everything that is kept.
    pub store: Arc<dyn Store>,
    /// Server time.
    pub clock: Arc<dyn Clock>,
    /// Own figures.
    pub metrics: Arc<Metrics>,
    /// Agents as they are now.
    pub live: Arc<Live>,
    /// SHA-256 of the operator token of this start (`vgi_...`, in [`Config::operator_token`]).
    pub operator_sha256: [u8; 32],
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("config", &self.config).finish_non_exhaustive()
    }
}
