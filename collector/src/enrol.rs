//! Enrolment by a one-use token, and renewal of certificates.
//!
//! Every refusal of a token is answered alike, whatever was wrong with it: who guesses learns
//! nothing. The log has the reason.

use std::{sync::Arc, time::Duration};

use domain::chain::chain;
use domain::{agent::AgentStatus, id::AgentId};
use jiff::Timestamp;
use prost::Message as _;
use proto::{
    limits::MAX_MESSAGE_BYTES,
    v1::{
        self,
        enrolment_server::{Enrolment, EnrolmentServer},
    },
};
use rand::RngExt as _;
use store::{Certificate, NewAgent, NewToken, Redeemed, StoreError};
use tonic::{Request, Response, Status};

use crate::{
    access::{Call, admit},
    ca::{Authority, RequestKey, hex, sha256},
    context::Context,
    metrics::Reason,
    tls::Peer,
    wire,
};

mod pace;

use pace::Pace;

/// Longest life of a token.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_hours(7 * 24);
/// Life of a token unless the operator says otherwise.
pub const TOKEN_LIFE: Duration = Duration::from_hours(24);
/// Renewals of one agent a minute: the agent asks once in a month, again when the line breaks.
const RENEWALS_PER_AGENT: u32 = 5;
/// Renewals of all agents a minute.
const RENEWALS: u32 = 1_000;
/// Longest part of a token that is looked at, bytes.
const MAX_TOKEN_PART: usize = 64;

/// Makes a one-use token for a site and returns its text, `<id>.<secret>.<pin>`, which is told once
/// and kept nowhere. `life` is cut at [`MAX_TOKEN_LIFE`].
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such site.
pub async fn new_token(
    context: &Context,
    site: domain::id::SiteId,
    life: Duration,
) -> Result<(String, Timestamp), StoreError> {
    let (id, secret): ([u8; 8], [u8; 32]) = (rand::rng().random(), rand::rng().random());
    let id = hex(&id);
    let created_at = context.clock.now();
    let expires_at = created_at.checked_add(life.min(MAX_TOKEN_LIFE)).unwrap_or(Timestamp::MAX);
    let secret_sha256 = sha256(&secret);
    let token = NewToken { id: id.clone(), secret_sha256, site, created_at, expires_at };
    context.store.add_token(token).await?;
    Ok((format!("{id}.{}.{}", hex(&secret), hex(&context.pin)), expires_at))
}

/// The service.
pub struct Registrar {
    context: Context,
    authority: Arc<Authority>,
    tries: Pace<[u8; 8]>,
    renewals: Pace<AgentId>,
}

impl Registrar {
    /// The service, to be added to a server.
    #[must_use]
    pub fn service(context: Context, authority: Arc<Authority>) -> EnrolmentServer<Self> {
        let agents = &context.config.agents;
        let registrar = Self {
            tries: Pace::new(agents.enrol_per_address, agents.enrol_total),
            renewals: Pace::new(RENEWALS_PER_AGENT, RENEWALS),
            context,
            authority,
        };
        // The largest request is a certificate, a signing request and some surroundings.
        EnrolmentServer::new(registrar)
            .max_decoding_message_size(64 << 10)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn refuse(&self, reason: &'static str) {
        self.context.metrics.refused_calls.get_or_create(&Reason { reason }).inc();
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Status {
        self.refuse("failed");
        tracing::error!(error, "an enrolment failed");
        Status::unavailable("the collector can not do this now")
    }

    async fn issue(
        &self,
        agent: AgentId,
        key: &RequestKey,
        now: Timestamp,
    ) -> Result<v1::EnrolReply, Status> {
        let issued =
            self.authority.issue_agent(key, agent, now).map_err(|error| self.failed(&error))?;
        let certificate = Certificate {
            serial: issued.serial,
            spki_sha256: key.spki_sha256(),
            expires_at: issued.expires_at,
        };
        let added = self.context.store.add_certificate(agent, certificate).await;
        added.map_err(|error| self.failed(&error))?;
        let authority = self.authority.certificate().to_vec();
        Ok(v1::EnrolReply {
            chain: vec![issued.der.to_vec(), authority.clone()],
            trust: vec![authority],
            agent_id: agent.0.to_vec(),
            config: None,
            site_name: String::new(),
        })
    }

    /// The name of the agent's site, and its configuration, so that it can begin at once.
    async fn equip(
        &self,
        site: domain::id::SiteId,
        surroundings: Option<&v1::Surroundings>,
        reply: &mut v1::EnrolReply,
    ) -> Result<(), StoreError> {
        let context = &self.context;
        let none = v1::Surroundings::default();
        let seen = wire::seen(surroundings.unwrap_or(&none));
        if let Err(error) = context.targets.ladder(site, &seen).await {
            // The agent is enrolled all the same; its first session brings the rest.
            tracing::warn!(
                site = site.0,
                error = chain(&error),
                "the ladder of a site is not complete"
            );
        }
        let sites = context.store.sites().await?;
        if let Some(site) = sites.into_iter().find(|known| known.id == site) {
            reply.site_name = site.facts.name;
        }
        let (version, groups) = context.store.groups(site).await?;
        let mesh = context.store.mesh_plan(site).await?;
        include(reply, wire::config(version, &groups, &context.config.references, &mesh));
        Ok(())
    }
}

/// Puts the configuration into the answer if agents take a message of that size; the first session
/// brings one that is larger.
fn include(reply: &mut v1::EnrolReply, config: v1::Config) {
    reply.config = Some(config);
    if reply.encoded_len() > MAX_MESSAGE_BYTES {
        reply.config = None;
    }
}

/// The answer to every token that is not taken.
fn not_taken() -> Status {
    Status::permission_denied("this token is not valid")
}

#[tonic::async_trait]
impl Enrolment for Registrar {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolReply>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let now = self.context.clock.now();
        admit(Call::Enrol, peer.as_ref(), now, &self.context.metrics)?;
        let Some(peer) = peer else { return Err(not_taken()) };
        if !self.tries.allows(pace::network(peer.address.ip()), now) {
            self.refuse("pace");
            return Err(Status::resource_exhausted("too many attempts, try again in a minute"));
        }
        let request = request.into_inner();
        let key = RequestKey::from_request(&request.csr).map_err(|error| {
            self.refuse("request");
            Status::invalid_argument(error.to_string())
        })?;
        if request.token_id.len() > MAX_TOKEN_PART || request.token_secret.len() > MAX_TOKEN_PART {
            self.refuse("token");
            return Err(not_taken());
        }
        let agent = NewAgent {
            id: AgentId(rand::rng().random()),
            spki_sha256: key.spki_sha256(),
            hostname: wire::text(&request.hostname),
            version: wire::text(&request.version),
        };
        let secret_sha256 = sha256(&request.token_secret);
        let redeemed =
            self.context.store.redeem_token(&request.token_id, secret_sha256, agent, now).await;
        let agent = match redeemed.map_err(|error| self.failed(&error))? {
            Redeemed::Agent(agent) => agent,
            Redeemed::Refused(refusal) => {
                self.refuse("token");
                tracing::warn!(
                    peer = %peer.address.ip(),
                    reason = ?refusal,
                    "a token was refused"
                );
                return Err(not_taken());
            }
        };
        let mut reply = self.issue(agent.id, &key, now).await?;
        self.equip(agent.site, request.surroundings.as_ref(), &mut reply)
            .await
            .map_err(|error| self.failed(&error))?;
        self.context.metrics.enrolments.inc();
        tracing::info!(
            site = agent.site.0,
            agent = %agent.id,
            peer = %peer.address.ip(),
            "an agent enrolled"
        );
        Ok(Response::new(reply))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::EnrolReply>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let now = self.context.clock.now();
        let identity = admit(Call::Renew, peer.as_ref(), now, &self.context.metrics)?;
        let refused = || Status::permission_denied("this certificate is not renewed");
        let Some(identity) = identity else { return Err(refused()) };
        if !self.renewals.allows(identity.agent, now) {
            self.refuse("pace");
            return Err(Status::resource_exhausted("too many renewals, try again in a minute"));
        }
        let request = request.into_inner();
        let named = crate::ca::Identity::from_certificate(&request.certificate);
        if !request.certificate.is_empty() && named.as_ref() != Ok(&*identity) {
            self.refuse("certificate");
            return Err(refused());
        }
        let key = RequestKey::from_request(&request.csr).map_err(|error| {
            self.refuse("request");
            Status::invalid_argument(error.to_string())
        })?;
        let store = &self.context.store;
        let agent = store.agent(identity.agent).await.map_err(|error| self.failed(&error))?;
        let known = store.certificate(identity.agent, &identity.serial).await;
        let known = known.map_err(|error| self.failed(&error))?;
        let active = agent.filter(|agent| agent.status == AgentStatus::Active);
        let ours = known.filter(|known| known.spki_sha256 == identity.spki_sha256);
        let (Some(agent), Some(_)) = (active, ours) else {
            self.refuse("certificate");
            tracing::warn!(agent = %identity.agent, "a renewal was refused");
            return Err(refused());
        };
        let mut reply = self.issue(agent.id, &key, now).await?;
        let sites = store.sites().await.map_err(|error| self.failed(&error))?;
        if let Some(site) = sites.into_iter().find(|site| site.id == agent.site) {
            reply.site_name = site.facts.name;
        }
        self.context.metrics.renewals.inc();
        let overdue_days = now.duration_since(identity.expires_at).as_hours().max(0) / 24;
        tracing::info!(
            site = agent.site.0,
            agent = %agent.id,
            overdue_days,
            "a certificate was renewed"
        );
        Ok(Response::new(reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_fits_is_in_the_answer_and_a_larger_one_is_not() {
        let config = |bytes: usize| v1::Config {
            references: vec!["x".repeat(bytes)],
            ..v1::Config::default()
        };
        let answer = |bytes: usize| {
            let mut reply = v1::EnrolReply { agent_id: vec![1; 16], ..v1::EnrolReply::default() };
            include(&mut reply, config(bytes));
            reply
        };
        let around = answer(MAX_MESSAGE_BYTES - 100).encoded_len() - (MAX_MESSAGE_BYTES - 100);
        let largest = MAX_MESSAGE_BYTES - around;
        assert_eq!(answer(largest).encoded_len(), MAX_MESSAGE_BYTES);
        assert_eq!(answer(largest).config, Some(config(largest)));
        assert_eq!(answer(largest + 1).config, None);
    }
}
