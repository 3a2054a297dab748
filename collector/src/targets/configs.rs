//! Tells sessions that the configuration of their site changed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use domain::id::SiteId;
use tokio::sync::watch;

/// One signal per site that has, or had, a session.
#[derive(Debug, Default)]
pub struct SiteConfigs(Mutex<HashMap<SiteId, watch::Sender<u64>>>);

impl SiteConfigs {
    /// Says that the targets or series of a site changed. Sessions of that site read the new
    /// configuration and push it.
    pub fn changed(&self, site: SiteId) {
        let sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = sites.get(&site) {
            signal.send_modify(|count| *count += 1);
        }
    }

    /// A signal that changes with the site's configuration.
    pub fn watch(&self, site: SiteId) -> watch::Receiver<u64> {
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sites.retain(|known, signal| *known == site || signal.receiver_count() > 0);
        sites.entry(site).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }
}
