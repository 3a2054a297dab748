//! What every part of the collector is handed.

use std::sync::Arc;

use store::Store;

use crate::{
    clock::Clock,
    config::Config,
    live::Live,
    mesh::Mesh,
    metrics::Metrics,
    session::Sessions,
    targets::{SiteConfigs, Targets},
};

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
    /// Open sessions: after `revoke_agent` of the store, close the agent's here.
    pub sessions: Arc<Sessions>,
    /// Tells sessions that a site's configuration changed.
    pub configs: Arc<SiteConfigs>,
    /// Adds and retires targets: operators' and the ladders'.
    pub targets: Arc<Targets>,
    /// Which sites measure each other.
    pub mesh: Arc<Mesh>,
    /// SHA-256 of the authority's public key: the third part of enrolment tokens.
    pub pin: [u8; 32],
    /// SHA-256 of the operator token (`vgi_...`, in [`Config::operator_token`]).
    pub operator_sha256: [u8; 32],
}

impl Context {
    /// A collector that has just started: nobody connected, all figures at zero.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        pin: [u8; 32],
        operator_sha256: [u8; 32],
    ) -> Self {
        let configs = Arc::new(SiteConfigs::default());
        let targets = Targets::new(
            store.clone(),
            configs.clone(),
            config.references.clone(),
            config.agents.public_address.clone(),
        );
        let mesh = Mesh::new(store.clone(), configs.clone(), config.mesh.period_s);
        Self {
            config,
            store,
            clock,
            metrics: Arc::default(),
            live: Arc::default(),
            sessions: Arc::default(),
            configs,
            targets: Arc::new(targets),
            mesh: Arc::new(mesh),
            pin,
            operator_sha256,
        }
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("config", &self.config).finish_non_exhaustive()
    }
}
