//! The measures between sites: who takes part, who asks whom, and under which key.

use async_trait::async_trait;
use domain::{
    id::{SiteId, TargetId},
    target::{LinkKey, Series, TargetSpec},
};

use crate::{NewSeriesSpec, Result};

/// A site that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSite {
    /// Which.
    pub site: SiteId,
    /// `host:port` at which other sites reach its agent; without one it asks only.
    pub address: Option<String>,
    /// Whether every site asks it.
    pub hub: bool,
}

/// One site asks another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshLink {
    /// Who asks.
    pub from: SiteId,
    /// Who answers.
    pub to: SiteId,
    /// The target by which it is asked; its number is the link's.
    pub target: TargetId,
    /// What both agents know.
    pub key: LinkKey,
}

/// What the agent of a site is to know of the mesh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshPlan {
    /// Whom it asks: by which target, where, under which key.
    pub asks: Vec<(TargetId, String, LinkKey)>,
    /// Whom it answers: the number and the key of each link.
    pub answers: Vec<(TargetId, LinkKey)>,
}

/// Sites that measure each other.
#[async_trait]
pub trait MeshStore: Send + Sync {
    /// The sites that take part, by id.
    async fn mesh_sites(&self) -> Result<Vec<MeshSite>>;
    /// Takes a site in, or changes how it takes part.
    async fn set_mesh_site(&self, site: MeshSite) -> Result<()>;
    /// Takes a site out; its links stay until they are removed. False when it was not in.
    async fn remove_mesh_site(&self, site: SiteId) -> Result<bool>;
    /// Every link, by who asks and who answers.
    async fn mesh_links(&self) -> Result<Vec<MeshLink>>;
    /// Adds a link with its target, as [`upsert_target`](crate::TargetStore::upsert_target) does, or
    /// gives it another definition or key. Both sites have a new configuration then.
    async fn put_mesh_link(
        &self,
        spec: TargetSpec,
        series: Vec<NewSeriesSpec>,
        to: SiteId,
        key: LinkKey,
    ) -> Result<MeshLink>;
    /// Removes a link and withdraws its target, whose history stays. Nothing when there is none.
    async fn remove_mesh_link(&self, from: SiteId, to: SiteId) -> Result<()>;
    /// What a site's agent is to know.
    async fn mesh_plan(&self, site: SiteId) -> Result<MeshPlan>;
    /// The series of all links, by site and id.
    async fn mesh_series(&self) -> Result<Vec<Series>>;
}
