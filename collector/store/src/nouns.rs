//! Sites, agents, targets, incidents, outbox: one trait per noun.

use async_trait::async_trait;
use domain::{
    agent::Agent,
    contractor::Contractor,
    id::{AgentId, GroupId, IncidentId, Layout, OutboxId, SeriesId, SiteId, TargetId},
    incident::{Incident, IncidentKind},
    site::{Site, SiteFacts},
    target::{Detail, Device, Group, Series, Target, TargetSpec},
    uai::Uai,
};
use jiff::Timestamp;

use crate::Result;

/// What an import changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Sites that were not there.
    pub added: u64,
    /// Sites whose facts changed.
    pub updated: u64,
    /// Sites that were already as given.
    pub unchanged: u64,
}

/// Sites and their contractors.
#[async_trait]
pub trait SiteStore: Send + Sync {
    /// Registers one site; [`crate::StoreError::Duplicate`] when its UAI is known.
    async fn add_site(&self, facts: SiteFacts) -> Result<Site>;
    /// Registers or updates many sites: all or none. With `dry_run` nothing is kept.
    async fn import_sites(&self, sites: Vec<SiteFacts>, dry_run: bool) -> Result<ImportReport>;
    /// Every site, by UAI.
    async fn sites(&self) -> Result<Vec<Site>>;
    /// One site.
    async fn site(&self, id: SiteId) -> Result<Option<Site>>;
    /// One site by its key.
    async fn site_by_uai(&self, uai: Uai) -> Result<Option<Site>>;
    /// Registers or replaces the contractor of a lot.
    async fn set_contractor(&self, contractor: Contractor) -> Result<()>;
    /// Every contractor, by lot.
    async fn contractors(&self) -> Result<Vec<Contractor>>;
}

/// A one-use enrolment token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Public half.
    pub id: String,
    /// SHA-256 of the secret half.
    pub secret_sha256: [u8; 32],
    /// Site that it enrols at.
    pub site: SiteId,
    /// Now.
    pub created_at: Timestamp,
    /// End of its life.
    pub expires_at: Timestamp,
}

/// The agent that a token would make.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Fresh identity, used unless the token was already redeemed by this key.
    pub id: AgentId,
    /// SHA-256 of the public key (SPKI, DER).
    pub spki_sha256: [u8; 32],
    /// What its machine calls itself, cut and cleaned.
    pub hostname: String,
    /// Its version.
    pub version: String,
}

/// Why a token was refused; the answer to the outside is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// No such token, or another secret.
    Unknown,
    /// Past its life.
    Expired,
    /// Redeemed by another key, or longer than ten minutes ago.
    Used,
}

/// Outcome of redeeming a token.
#[derive(Debug, Clone, PartialEq)]
pub enum Redeemed {
    /// The agent enrolled by it, now or by the same key within the last ten minutes.
    Agent(Agent),
    /// Refused.
    Refused(TokenRefusal),
}

/// A certificate of an agent.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the public key (SPKI, DER).
    pub spki_sha256: [u8; 32],
    /// End of validity.
    pub expires_at: Timestamp,
}

/// Enrolment tokens, agents, certificates.
#[async_trait]
pub trait AgentStore: Send + Sync {
    /// Keeps a token.
    async fn add_token(&self, token: NewToken) -> Result<()>;
    /// Redeems a token: check, mark used, insert agent, in one transaction.
    async fn redeem_token(
        &self,
        token_id: &str,
        secret_sha256: [u8; 32],
        agent: NewAgent,
        now: Timestamp,
    ) -> Result<Redeemed>;
    /// Records a certificate issued to an agent. Older ones stay valid until this one is used.
    async fn add_certificate(&self, agent: AgentId, certificate: Certificate) -> Result<()>;
    /// Notes that a certificate was used: retires the older ones. `false` when this serial is not
    /// (or no longer) one of the agent's, or the agent is not active.
    async fn use_certificate(&self, agent: AgentId, serial: &str) -> Result<bool>;
    /// Whether a serial may be renewed: it is the newest used one, or never superseded.
    async fn certificate(&self, agent: AgentId, serial: &str) -> Result<Option<Certificate>>;
    /// Every agent.
    async fn agents(&self) -> Result<Vec<Agent>>;
    /// One agent.
    async fn agent(&self, id: AgentId) -> Result<Option<Agent>>;
    /// Notes life signs: last seen and version.
    async fn touch_agents(&self, seen: Vec<(AgentId, Timestamp, String)>) -> Result<()>;
    /// Withdraws an agent: once this returns, none of its records is committed any more.
    async fn revoke_agent(&self, id: AgentId, now: Timestamp) -> Result<()>;
}

/// A column to add to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeries {
    /// The target, which must belong to the group.
    pub target: TargetId,
    /// Number in the catalogue.
    pub metric: u32,
    /// `ifIndex` or 0.
    pub instance: u32,
    /// Name of the instance.
    pub label: String,
    /// How long it is kept in detail.
    pub detail: Detail,
}

/// Targets, groups, series: the configuration of what is measured.
#[async_trait]
pub trait TargetStore: Send + Sync {
    /// Registers a target and its group (ICMP, TCP, DNS and HTTP targets of one site with the same
    /// method parameters and period share a group), or returns the one that exists with the same
    /// site, method and address, made active again. Adds the series of its method.
    async fn upsert_target(&self, spec: TargetSpec, series: Vec<NewSeriesSpec>) -> Result<Target>;
    /// As [`Self::upsert_target`], for a rung of the ladder: the target is then one of [`Self::rungs`]
    /// until an operator registers it. An active target of an operator stays as it is. Of the rungs
    /// that were withdrawn, a site keeps a bounded number; the oldest are forgotten, series and all.
    async fn upsert_rung(&self, spec: TargetSpec, series: Vec<NewSeriesSpec>) -> Result<Target>;
    /// Active targets of a site that the ladder made.
    async fn rungs(&self, site: SiteId) -> Result<Vec<TargetId>>;
    /// Withdraws a target: it is no longer measured, its history stays.
    async fn retire_target(&self, id: TargetId) -> Result<()>;
    /// Adds columns to the groups of a site (existing ones are kept); a changed group gets a new
    /// layout. Returns the site's new configuration version.
    async fn add_series(&self, site: SiteId, series: Vec<NewSeries>) -> Result<u64>;
    /// Targets of one site, or of all, active ones first.
    async fn targets(&self, site: Option<SiteId>) -> Result<Vec<Target>>;
    /// Groups in force at a site with their active columns, and the configuration's version.
    async fn groups(&self, site: SiteId) -> Result<(u64, Vec<Group>)>;
    /// Keeps what a device says it is, unless something newer is kept.
    async fn keep_device(&self, target: TargetId, told_at: Timestamp, device: Device)
    -> Result<()>;
    /// What the devices of a site say they are, and when they said so, by target.
    async fn devices(&self, site: SiteId) -> Result<Vec<(TargetId, Timestamp, Device)>>;
    /// Columns of a layout, in order; `None` when it never existed. A column whose rung is forgotten
    /// has metric 0, which no metric has.
    async fn layout(&self, group: GroupId, layout: Layout) -> Result<Option<Vec<Series>>>;
    /// Series of one site, or of all.
    async fn series(&self, site: Option<SiteId>) -> Result<Vec<Series>>;
    /// Some series by id.
    async fn series_by_id(&self, ids: Vec<SeriesId>) -> Result<Vec<Series>>;
}

/// A series that comes with a new target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeriesSpec {
    /// Number in the catalogue.
    pub metric: u32,
    /// `ifIndex` or 0.
    pub instance: u32,
    /// Name of the instance.
    pub label: String,
    /// How long it is kept in detail.
    pub detail: Detail,
}

/// Which incidents are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Only those of this site.
    pub site: Option<SiteId>,
    /// Only those still open.
    pub open_only: bool,
    /// Only those opened before this one.
    pub before: Option<IncidentId>,
    /// At most this many, newest first; 0 = 1,000.
    pub limit: u32,
}

/// An incident to open.
#[derive(Debug, Clone, PartialEq)]
pub struct NewIncident {
    /// Deterministic identity of the cause and its start.
    pub key: String,
    /// Site.
    pub site: SiteId,
    /// Target, unless the whole site is meant.
    pub target: Option<TargetId>,
    /// What it is about.
    pub kind: IncidentKind,
    /// One line for people, in French.
    pub title: String,
    /// Evidence lines, in French.
    pub evidence: Vec<String>,
    /// When the fault began, by the measure.
    pub started_at: Timestamp,
}

/// A mail to put into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// `open`, `update` or `close`: with incident and recipient the mail's unique identity.
    pub transition: String,
    /// Recipient's address, from the contractor table.
    pub recipient: String,
}

/// What one evaluation decided; kept in one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Alert states as opaque `(key, value)` pairs of the evaluator; `None` deletes.
    pub states: Vec<(String, Option<String>)>,
    /// Incidents to open, with their mails. One whose key exists already is not opened again.
    pub open: Vec<(NewIncident, Vec<NewMail>)>,
    /// Evidence lines to add to open incidents.
    pub append: Vec<(IncidentId, Vec<String>)>,
    /// Incidents to close: restored at (by the measure), evidence lines to add, mails.
    pub close: Vec<(IncidentId, Timestamp, Vec<String>, Vec<NewMail>)>,
    /// Now.
    pub at: Option<Timestamp>,
}

/// Incidents and the evaluator's memory.
#[async_trait]
pub trait IncidentStore: Send + Sync {
    /// Keeps the outcome of one evaluation; returns the incidents opened.
    async fn save_evaluation(&self, evaluation: Evaluation) -> Result<Vec<Incident>>;
    /// The evaluator's memory, as saved.
    async fn alert_states(&self) -> Result<Vec<(String, String)>>;
    /// Incidents, newest first.
    async fn incidents(&self, filter: IncidentFilter) -> Result<Vec<Incident>>;
    /// One incident.
    async fn incident(&self, id: IncidentId) -> Result<Option<Incident>>;
}

/// A mail of the outbox, leased to the notifier.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxMail {
    /// Id.
    pub id: OutboxId,
    /// Incident.
    pub incident: Incident,
    /// `open`, `update` or `close`.
    pub transition: String,
    /// Recipient's address.
    pub recipient: String,
    /// When the transition was decided.
    pub created_at: Timestamp,
    /// Attempts that the relay answered before this one.
    pub attempts: u32,
    /// True when an earlier attempt may have been taken by the relay: this is the one resend, with
    /// the same Message-ID.
    pub ambiguous: bool,
}

/// What became of an attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// Taken by the relay, with its reply.
    Sent(String),
    /// Try again at this time; with what the relay said of this mail.
    Retry(Timestamp, String),
    /// Something else than this mail stands in its way until this time; no attempt of this mail.
    Waits(Timestamp, String),
    /// The relay may have taken it: the connection was lost after the final dot.
    Ambiguous(Timestamp, String),
    /// Never to be sent to this recipient; with what the relay said.
    Failed(String),
}

/// The outbox.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Leases up to `limit` due mails for `lease_s` seconds: those without a failed attempt first,
    /// then the oldest. The open mail of an incident always comes before its close mail to the same
    /// recipient.
    async fn lease_mails(
        &self,
        now: Timestamp,
        lease_s: u32,
        limit: u32,
    ) -> Result<Vec<OutboxMail>>;
    /// Whom the opening of an incident was written to: its later mails go to the same.
    async fn recipients(&self, incident: IncidentId) -> Result<Vec<String>>;
    /// Notes, durably, that the text of a leased mail is about to be handed over: whoever finds the
    /// lease run out knows that the relay may have taken it. [`crate::StoreError::NotFound`] when the
    /// mail is not leased, and must not be sent.
    async fn mark_handed_over(&self, id: OutboxId) -> Result<()>;
    /// Records what became of a leased mail.
    async fn settle_mail(&self, id: OutboxId, at: Timestamp, outcome: SendOutcome) -> Result<()>;
    /// Number of mails not yet sent, and the age of the oldest in seconds.
    async fn outbox_depth(&self, now: Timestamp) -> Result<(u64, u64)>;
}
