//! What probes share: one of each for the whole agent.

use std::{path::PathBuf, sync::Arc};

use super::{allow::AllowList, dial::Names, http::tls::Trust, icmp::Pinger};
use crate::{clock::Clock, platform};

/// Handed to every probe; clones are cheap and share everything.
#[derive(Clone)]
pub struct Env {
    /// Stamps the rounds.
    pub clock: Arc<dyn Clock>,
    /// What may be probed.
    pub allow: Arc<AllowList>,
    /// The echo sockets, opened at their first use.
    pub pinger: Arc<Pinger>,
    /// Looks names up, a few at a time.
    pub names: Arc<Names>,
    /// The certificate authorities that probes of TLS trust, loaded at their first use.
    pub trust: Arc<Trust>,
    /// Names the resolver that a DNS probe of "the system's" asks.
    pub resolv_conf: PathBuf,
    /// Directories whose backups may be looked for.
    pub backup_directories: Arc<[PathBuf]>,
}

impl Env {
    /// An environment of this machine: its sockets, resolvers and certificate authorities.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, allow: AllowList) -> Self {
        Self {
            clock,
            allow: Arc::new(allow),
            pinger: Arc::new(Pinger::new()),
            names: Arc::new(Names::new()),
            trust: Arc::new(Trust::system()),
            resolv_conf: platform::RESOLV_CONF.into(),
            backup_directories: Arc::default(),
        }
    }
}
