//! `targets`: what is probed at a site, with its last outcome and age.

use std::collections::HashMap;

use domain::{
    health::TargetHealth,
    id::TargetId,
    metric::Outcome,
    site::Site,
    target::{Method, Target},
};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    List, Page, Result, Sources, Time,
    picture::{self, Round},
};

/// A target. Secrets are never among its facts.
#[derive(Debug, Clone, Serialize)]
pub struct TargetLine {
    /// Id.
    pub id: i64,
    /// Site.
    pub uai: String,
    /// Rung of the ladder.
    pub role: &'static str,
    /// Name: untrusted text.
    pub name: String,
    /// `icmp`, `tcp`, `dns`, `http`, `snmp`, `host` or `mesh`.
    pub method: &'static str,
    /// Where it is asked.
    pub address: String,
    /// Seconds between two rounds.
    pub period_s: u32,
    /// The target that it stands behind.
    pub parent: Option<i64>,
    /// `up`, `failing`, `unreachable`, `down` or `unknown`.
    pub state: &'static str,
    /// Outcome of the newest round; `null` when it was not obtained.
    pub outcome: Option<&'static str>,
    /// When the newest round was.
    pub asked_at: Option<Time>,
    /// Its age, seconds.
    pub age_s: Option<i64>,
}

impl TargetLine {
    pub(super) fn new(
        site: &Site,
        target: &Target,
        health: TargetHealth,
        round: Option<Round>,
        now: Timestamp,
    ) -> Self {
        Self {
            id: target.id.0,
            uai: site.facts.uai.to_string(),
            role: target.spec.role.code(),
            name: target.spec.name.clone(),
            method: method_code(&target.spec.method),
            address: target.spec.address.clone(),
            period_s: target.spec.period_s,
            parent: target.spec.parent.map(|parent| parent.0),
            state: health.code(),
            outcome: round.and_then(|round| round.outcome).map(outcome_code),
            asked_at: round.map(|round| round.at),
            age_s: round.map(|round| round.at.age_s(now)),
        }
    }

    /// A target that was registered just now: nothing is known of it yet.
    #[must_use]
    pub fn registered(site: &Site, target: &Target, now: Timestamp) -> Self {
        Self::new(site, target, TargetHealth::Unknown, None, now)
    }
}

/// The code of a method in the API.
#[must_use]
pub fn method_code(method: &Method) -> &'static str {
    match method {
        Method::Icmp { .. } => "icmp",
        Method::Tcp => "tcp",
        Method::Dns { .. } => "dns",
        Method::Http => "http",
        Method::SnmpV2c { .. } => "snmp",
        Method::Host => "host",
        Method::Mesh { .. } => "mesh",
    }
}

pub(super) fn outcome_code(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Timeout => "timeout",
        Outcome::Refused => "refused",
        Outcome::Unreachable => "unreachable",
        Outcome::Malformed => "malformed",
        Outcome::Tls => "tls",
        Outcome::Name => "name",
        Outcome::NotAsked => "not-asked",
        Outcome::Failed => "failed",
    }
}

/// Names of targets, for the lines that mention them.
pub(super) struct TargetNames(HashMap<TargetId, String>);

impl TargetNames {
    pub(super) fn new(targets: &[Target]) -> Self {
        Self(targets.iter().map(|target| (target.id, target.spec.name.clone())).collect())
    }

    pub(super) fn get(&self, id: TargetId) -> Option<String> {
        self.0.get(&id).cloned()
    }
}

/// Answers `targets` of one site, by id; withdrawn ones are left out.
pub async fn targets(sources: Sources<'_>, uai: &str, page: &Page) -> Result<List<TargetLine>> {
    page.rows()?;
    let site = super::site(sources.store, uai).await?;
    let agents = picture::agents(sources).await?;
    let heard = picture::heard(&agents, sources);
    let open =
        picture::open_incidents(sources, Some(site.id)).await?.remove(&site.id).unwrap_or_default();
    let targets = sources.store.targets(Some(site.id)).await?;
    let is_heard = heard.contains(&site.id);
    let picture = picture::site(sources, site.id, is_heard, targets, open).await?;
    let mut rows: Vec<TargetLine> = picture
        .targets
        .iter()
        .map(|(target, health, round)| TargetLine::new(&site, target, *health, *round, sources.now))
        .collect();
    rows.sort_by_key(|row| row.id);
    let (items, next) = page.cut(rows, |row| row.id, |text| text.parse().ok())?;
    Ok(List { at: Time(sources.now), coverage: picture::coverage([&site], &heard), items, next })
}
