//! What operators do that agents must hear of.

use async_trait::async_trait;
use domain::{
    chain::chain,
    id::{AgentId, SiteId},
    site::Site,
    target::{Target, TargetSpec},
};
use store::{MeshSite, StoreError};

use crate::{
    api::{Actions, IssuedToken},
    context::Context,
    enrol::{TOKEN_LIFE, new_token},
    mesh::MeshError,
    session::Ending,
    targets::TargetError,
};

pub(super) struct Operator(pub(super) Context);

#[async_trait]
impl Actions for Operator {
    async fn new_token(&self, site: &Site) -> Result<IssuedToken, StoreError> {
        let (token, expires_at) = new_token(&self.0, site.id, TOKEN_LIFE).await?;
        Ok(IssuedToken { token, expires_at })
    }

    async fn add_target(&self, spec: TargetSpec) -> Result<Target, TargetError> {
        self.0.targets.add(spec).await
    }

    async fn remove_target(&self, target: &Target) -> Result<(), TargetError> {
        self.0.targets.retire(target).await
    }

    async fn revoke_agent(&self, agent: AgentId) -> Result<(), StoreError> {
        let site = self.0.store.agent(agent).await?.map(|agent| agent.site);
        self.0.store.revoke_agent(agent, self.0.clock.now()).await?;
        self.0.sessions.close(agent, Ending::Revoked);
        // It is withdrawn, whatever becomes of the keys that it knows.
        if let Some(site) = site
            && let Err(error) = self.0.mesh.rekey(site).await
        {
            tracing::error!(site = site.0, error = chain(&error), "the keys of a site stay");
        }
        Ok(())
    }

    async fn set_mesh_site(&self, site: MeshSite) -> Result<(), MeshError> {
        self.0.mesh.set(site).await
    }

    async fn remove_mesh_site(&self, site: SiteId) -> Result<bool, MeshError> {
        self.0.mesh.remove(site).await
    }

    async fn sites_changed(&self) -> Result<(), MeshError> {
        self.0.mesh.restore().await
    }
}
