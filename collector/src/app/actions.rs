//! What operators do that agents must hear of.

use async_trait::async_trait;
use domain::{
    id::AgentId,
    site::Site,
    target::{Target, TargetSpec},
};
use store::StoreError;

use crate::{
    api::{Actions, IssuedToken},
    context::Context,
    enrol::{TOKEN_LIFE, new_token},
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
        self.0.store.revoke_agent(agent, self.0.clock.now()).await?;
        self.0.sessions.close(agent, Ending::Revoked);
        Ok(())
    }
}
