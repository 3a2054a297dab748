//! The measures between sites: from who takes part to targets, keys and configurations.
//!
//! Which pairs are measured is [`domain::mesh`]'s to say. Each is a target of the site that asks, so that
//! its figures are kept, shown and asked for like all others, and a link with a key of its own, which
//! nobody but the two agents is told. A pair that is new has a new key; so has each pair of a site whose
//! address changes or whose agent is withdrawn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    id::SiteId,
    mesh::{MAX_SITES, Member, Pair, pairs},
    site::Site,
    target::{LinkKey, Method, Role, Target, TargetSpec},
};
use ring::rand::{SecureRandom, SystemRandom};
use store::{MeshLink, MeshSite, Store, StoreError};
use tokio::sync;

use crate::targets::{SiteConfigs, default_series};

/// Requests to a peer and round.
const REQUESTS: u16 = 10;

/// Why the mesh was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// As many sites as a hub can answer.
    #[error("the mesh has its {MAX_SITES} sites already")]
    Full,
    /// The system has no random bytes to give.
    #[error("cannot draw a key: the system gives no random bytes")]
    Random,
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps the pairs that are measured.
pub struct Mesh {
    store: Arc<dyn Store>,
    configs: Arc<SiteConfigs>,
    period_s: u32,
    /// Held while pairs change, so that two changes do not cross.
    turn: sync::Mutex<()>,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("period_s", &self.period_s).finish_non_exhaustive()
    }
}

impl Mesh {
    /// With `period_s` seconds between two rounds of a pair.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, configs: Arc<SiteConfigs>, period_s: u32) -> Self {
        Self { store, configs, period_s, turn: sync::Mutex::default() }
    }

    /// Takes a site in, or changes how it takes part.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn set(&self, site: MeshSite) -> Result<(), MeshError> {
        let turn = self.turn.lock().await;
        let known = self.store.mesh_sites().await?;
        let before = known.iter().find(|known| known.site == site.site);
        if before.is_none() && known.len() >= MAX_SITES {
            return Err(MeshError::Full);
        }
        let moved = before.is_some_and(|before| before.address != site.address);
        let anew = moved.then_some(site.site);
        self.store.set_mesh_site(site).await?;
        self.follow(&turn, anew).await
    }

    /// Takes a site out; false when it was not in.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn remove(&self, site: SiteId) -> Result<bool, MeshError> {
        let turn = self.turn.lock().await;
        let was_in = self.store.remove_mesh_site(site).await?;
        self.follow(&turn, None).await?;
        Ok(was_in)
    }

    /// Gives the pairs of a site other keys, because somebody who should not may know them.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn rekey(&self, site: SiteId) -> Result<(), MeshError> {
        let turn = self.turn.lock().await;
        self.follow(&turn, Some(site)).await
    }

    /// Makes the pairs what they should be, as after a start: the file may have another period, sites
    /// another lot, and an earlier change may have been cut off.
    ///
    /// # Errors
    /// [`MeshError`]. What was done stays, and the next call goes on.
    pub async fn restore(&self) -> Result<(), MeshError> {
        let turn = self.turn.lock().await;
        self.follow(&turn, None).await
    }

    async fn follow(
        &self,
        _turn: &sync::MutexGuard<'_, ()>,
        anew: Option<SiteId>,
    ) -> Result<(), MeshError> {
        let taking_part = self.store.mesh_sites().await?;
        let links = self.store.mesh_links().await?;
        if taking_part.is_empty() && links.is_empty() {
            return Ok(());
        }
        let sites: BTreeMap<SiteId, Site> =
            self.store.sites().await?.into_iter().map(|site| (site.id, site)).collect();
        let member = |one: &MeshSite| Member {
            site: one.site,
            lot: sites.get(&one.site).and_then(|site| site.facts.lot.clone()),
            answers: one.address.is_some(),
            hub: one.hub,
        };
        let wanted = pairs(&taking_part.iter().map(member).collect::<Vec<_>>());
        let mut touched: BTreeSet<SiteId> = anew.into_iter().collect();
        let known: BTreeMap<Pair, &MeshLink> =
            links.iter().map(|link| (Pair { from: link.from, to: link.to }, link)).collect();
        for pair in known.keys().filter(|pair| !wanted.contains(pair)) {
            self.store.remove_mesh_link(pair.from, pair.to).await?;
            touched.extend([pair.from, pair.to]);
        }
        let mut asking: Option<(SiteId, Vec<Target>)> = None;
        for pair in &wanted {
            let Some(peer) = sites.get(&pair.to) else { continue };
            let spec = self.spec(*pair, peer);
            let link = known.get(pair);
            let same_key = anew != Some(pair.from) && anew != Some(pair.to);
            if let Some(link) = link.filter(|_| same_key) {
                // The pairs come by who asks.
                if asking.as_ref().is_none_or(|(site, _)| *site != pair.from) {
                    asking = Some((pair.from, self.store.targets(Some(pair.from)).await?));
                }
                let targets = asking.as_ref().map_or(&[][..], |(_, targets)| targets);
                let stands = |target: &Target| {
                    target.id == link.target && target.active && target.spec == spec
                };
                if targets.iter().any(stands) {
                    continue;
                }
            }
            let key = match link.filter(|_| same_key) {
                Some(link) => link.key.clone(),
                None => draw()?,
            };
            let series = default_series(&spec.method, &spec.address);
            self.store.put_mesh_link(spec, series, pair.to, key).await?;
            touched.extend([pair.from, pair.to]);
        }
        // Those that ask a site are told where it is now.
        if let Some(anew) = anew {
            touched.extend(wanted.iter().filter(|pair| pair.to == anew).map(|pair| pair.from));
        }
        for site in touched {
            self.configs.changed(site);
        }
        Ok(())
    }

    /// The target by which a site asks another. Its address is the other's key: where that one is may
    /// change, and its history stays.
    fn spec(&self, pair: Pair, peer: &Site) -> TargetSpec {
        TargetSpec {
            site: pair.from,
            role: Role::Peer,
            name: peer.facts.name.clone(),
            address: peer.facts.uai.to_string(),
            method: Method::Mesh { count: REQUESTS },
            period_s: self.period_s,
            parent: None,
        }
    }
}

fn draw() -> Result<LinkKey, MeshError> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| MeshError::Random)?;
    Ok(LinkKey::new(secret))
}

#[cfg(test)]
mod tests;
