//! `agents`: who measures, since when, with which certificate, and how far behind.

use std::collections::HashMap;

use domain::{
    id::{AgentId, SiteId},
    site::Site,
};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    List, Page, Result, Sources, Time,
    picture::{self, Known},
    site_if,
};
use crate::live::AgentLive;

/// An agent that told nothing of its clock for so long has a fault, seconds: the first exchange takes
/// two heartbeats.
const CLOCK_WITHIN_S: i64 = 120;

/// An agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentLine {
    /// Identity, 32 hexadecimal digits.
    pub id: String,
    /// Site where it stands.
    pub uai: Option<String>,
    /// Name of that site.
    pub site: Option<String>,
    /// What its machine calls itself: untrusted text.
    pub hostname: String,
    /// Its version: untrusted text.
    pub version: String,
    /// `active` or `revoked`.
    pub status: &'static str,
    /// True while its stream is open.
    pub connected: bool,
    /// Last sign of life.
    pub last_seen: Option<Time>,
    /// Its age, seconds.
    pub age_s: Option<i64>,
    /// When it enrolled.
    pub enrolled_at: Time,
    /// Serial number of its certificate.
    pub certificate_serial: String,
    /// End of that certificate.
    pub certificate_expires_at: Time,
    /// What it told since the collector started; `null` when it told nothing.
    pub live: Option<AgentNow>,
}

/// What an agent told since the collector started.
#[derive(Debug, Clone, Serialize)]
pub struct AgentNow {
    /// True when another machine uses the same identity.
    pub held: bool,
    /// What is wrong with it now: `clone` (another machine uses its identity), `spool` (it can not
    /// write to its disk), `config` (it refused its configuration), `clock` (it does not know the
    /// server's time).
    pub faults: Vec<&'static str>,
    /// Records in its spool.
    pub spool_records: u64,
    /// Bytes of its spool.
    pub spool_bytes: u64,
    /// Records that its spool had to drop since it was made.
    pub spool_evicted: u64,
    /// True when it can not write to its disk.
    pub spool_degraded: bool,
    /// Configuration sent last.
    pub config_offered: u64,
    /// Configuration in force.
    pub config_applied: u64,
    /// Configuration that it refused.
    pub config_failed: Option<u64>,
    /// Why: untrusted text.
    pub config_error: Option<String>,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// CPU time since its start, seconds.
    pub cpu_s: f64,
    /// Rounds that it skipped since its start.
    pub skipped_rounds: u64,
    /// Server time minus its wall clock, seconds.
    pub clock_offset_s: Option<f64>,
}

/// What is wrong with an agent, as far as its stream tells. One that left is silent, which is told
/// elsewhere: only what stays true without it is still a fault.
pub(super) fn faults(live: &AgentLive) -> Vec<&'static str> {
    let told_s = live.last_message.duration_since(live.connected_at).as_secs();
    let clock = live.clock_offset_ns.is_none() && told_s >= CLOCK_WITHIN_S;
    [
        ("clone", live.connected && live.held),
        ("spool", live.connected && live.spool_degraded),
        ("config", live.config.failed.is_some()),
        ("clock", live.connected && clock),
    ]
    .into_iter()
    .filter_map(|(fault, present)| present.then_some(fault))
    .collect()
}

impl From<&AgentLive> for AgentNow {
    fn from(live: &AgentLive) -> Self {
        let failed = live.config.failed.as_ref();
        Self {
            held: live.held,
            faults: faults(live),
            spool_records: live.lanes.iter().map(|lane| lane.records).sum(),
            spool_bytes: live.lanes.iter().map(|lane| lane.bytes).sum(),
            spool_evicted: live.lanes.iter().map(|lane| lane.evicted).sum(),
            spool_degraded: live.spool_degraded,
            config_offered: live.config.offered,
            config_applied: live.config.applied,
            config_failed: failed.map(|(version, _)| *version),
            config_error: failed.map(|(_, reason)| reason.clone()),
            rss_bytes: live.rss_bytes,
            cpu_s: live.cpu_ms as f64 / 1e3,
            skipped_rounds: live.skipped_rounds,
            clock_offset_s: live.clock_offset_ns.map(|ns| ns as f64 / 1e9),
        }
    }
}

impl AgentLine {
    pub(super) fn new(site: Option<&Site>, known: &Known, now: Timestamp) -> Self {
        let agent = &known.agent;
        let last_seen = known.last_seen();
        Self {
            id: agent.id.to_string(),
            uai: site.map(|site| site.facts.uai.to_string()),
            site: site.map(|site| site.facts.name.clone()),
            hostname: agent.hostname.clone(),
            version: agent.version.clone(),
            status: if known.is_active() { "active" } else { "revoked" },
            connected: known.is_connected(),
            last_seen,
            age_s: last_seen.map(|seen| seen.age_s(now)),
            enrolled_at: Time(agent.enrolled_at),
            certificate_serial: agent.certificate_serial.clone(),
            certificate_expires_at: Time(agent.certificate_expires_at),
            live: known.live.as_ref().map(AgentNow::from),
        }
    }
}

/// Answers `agents`, of one site or of all, by id.
pub async fn agents(
    sources: Sources<'_>,
    uai: Option<&str>,
    page: &Page,
) -> Result<List<AgentLine>> {
    page.rows()?;
    let only = site_if(sources.store, uai).await?;
    let mut agents = picture::agents(sources).await?;
    let heard = picture::heard(&agents, sources);
    agents.retain(|known| only.as_ref().is_none_or(|site| site.id == known.agent.site));
    agents.sort_by_key(|known| known.agent.id);
    let sites = match only {
        Some(site) => vec![site],
        None => sources.store.sites().await?,
    };
    let by_id: HashMap<SiteId, &Site> = sites.iter().map(|site| (site.id, site)).collect();
    let (agents, next) =
        page.cut(agents, |known| known.agent.id, |text| text.parse::<AgentId>().ok())?;
    let items = agents
        .iter()
        .map(|known| AgentLine::new(by_id.get(&known.agent.site).copied(), known, sources.now))
        .collect();
    Ok(List { at: Time(sources.now), coverage: picture::coverage(&sites, &heard), items, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_of_now() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let mut live = AgentLive::new(SiteId(1), start, "1".to_owned(), None);
        assert_eq!(faults(&live), Vec::<&str>::new(), "its clock has time to be told");
        live.last_message = Timestamp::from_second(1_800_000_000 + CLOCK_WITHIN_S).unwrap();
        assert_eq!(faults(&live), ["clock"]);
        live.clock_offset_ns = Some(0);
        assert_eq!(faults(&live), Vec::<&str>::new());
        (live.held, live.spool_degraded) = (true, true);
        live.config.failed = Some((3, "no".to_owned()));
        assert_eq!(faults(&live), ["clone", "spool", "config"]);
        live.connected = false;
        assert_eq!(faults(&live), ["config"], "nobody knows how its disk is now");
    }
}
