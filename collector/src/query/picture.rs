//! What is known of sites right now, gathered once per question.

use std::collections::{HashMap, HashSet};

use domain::{
    agent::{Agent, AgentStatus},
    health::{self, HEARD_WITHIN_S, Health, TargetHealth, TargetSigns},
    id::{AgentId, GroupId, SiteId, TargetId},
    incident::{Incident, IncidentKind},
    metric::{self, Outcome},
    sample::Sample,
    site::Site,
    target::{Method, Role, Series, Target},
};
use jiff::Timestamp;
use store::IncidentFilter;

use super::{MAX_OPEN_INCIDENTS, Result, SiteCoverage, Sources, Time, agents::faults};
use crate::live::AgentLive;

/// An agent with what is known of it live.
pub(super) struct Known {
    pub(super) agent: Agent,
    pub(super) live: Option<AgentLive>,
}

impl Known {
    /// Last sign of life, stored or live.
    pub(super) fn last_seen(&self) -> Option<Time> {
        let live = self.live.as_ref().map(|live| live.last_message);
        self.agent.last_seen.max(live).map(Time)
    }

    pub(super) fn is_active(&self) -> bool {
        self.agent.status == AgentStatus::Active
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_active() && self.live.as_ref().is_some_and(|live| live.connected)
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.is_active() && self.live.as_ref().is_some_and(|live| !faults(live).is_empty())
    }
}

/// Every agent, with its live state.
pub(super) async fn agents(sources: Sources<'_>) -> Result<Vec<Known>> {
    let agents = sources.store.agents().await?;
    let mut live: HashMap<AgentId, AgentLive> = sources.live.all().into_iter().collect();
    Ok(agents.into_iter().map(|agent| Known { live: live.remove(&agent.id), agent }).collect())
}

/// The sites whose agent is heard.
pub(super) fn heard(agents: &[Known], sources: Sources<'_>) -> HashSet<SiteId> {
    agents
        .iter()
        .filter(|known| known.is_active())
        .filter(|known| {
            known.last_seen().is_some_and(|seen| seen.age_s(sources.now) <= HEARD_WITHIN_S)
        })
        .map(|known| known.agent.site)
        .collect()
}

/// Coverage of an answer about some sites.
pub(super) fn coverage<'a>(
    sites: impl IntoIterator<Item = &'a Site>,
    heard: &HashSet<SiteId>,
) -> SiteCoverage {
    let (mut all, mut told) = (0, 0);
    for site in sites {
        all += 1;
        told += usize::from(heard.contains(&site.id));
    }
    SiteCoverage { sites: all, heard: told, measured: None, window_s: HEARD_WITHIN_S }
}

/// Coverage of an answer that judges all of some sites.
pub(super) fn judged<'a>(
    sites: impl IntoIterator<Item = &'a Site>,
    heard: &HashSet<SiteId>,
    pictures: &[SitePicture],
) -> SiteCoverage {
    let measured = pictures.iter().filter(|picture| picture.measured).count();
    SiteCoverage { measured: Some(measured), ..coverage(sites, heard) }
}

/// One site with the health of its targets.
pub(super) struct SitePicture {
    pub(super) health: Health,
    /// Something of its network was measured lately.
    pub(super) measured: bool,
    pub(super) rungs: Vec<(Role, Health)>,
    /// Active targets with their health and newest round.
    pub(super) targets: Vec<(Target, TargetHealth, Option<Round>)>,
    pub(super) open: Vec<Incident>,
}

/// The newest round of a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) at: Time,
    /// `None` was polled and not obtained, or is a code of a newer agent.
    pub(super) outcome: Option<Outcome>,
}

/// The incidents open at a site, or at all.
pub(super) async fn open_incidents(
    sources: Sources<'_>,
    site: Option<SiteId>,
) -> Result<HashMap<SiteId, Vec<Incident>>> {
    let filter = IncidentFilter { site, open_only: true, limit: MAX_OPEN_INCIDENTS, before: None };
    Ok(by_site(sources.store.incidents(filter).await?, |incident| incident.site))
}

/// Groups values by site.
pub(super) fn by_site<T>(values: Vec<T>, site: impl Fn(&T) -> SiteId) -> HashMap<SiteId, Vec<T>> {
    let mut map: HashMap<SiteId, Vec<T>> = HashMap::new();
    for value in values {
        map.entry(site(&value)).or_default().push(value);
    }
    map
}

/// Judges one site, from all that is stored of it.
pub(super) async fn site(
    sources: Sources<'_>,
    site: SiteId,
    heard: bool,
    targets: Vec<Target>,
    open: Vec<Incident>,
) -> Result<SitePicture> {
    // Nothing that was measured changes the state of a site that is not heard.
    let rounds = if heard { rounds(sources, site, &targets).await? } else { HashMap::new() };
    Ok(judge(sources.now, heard, targets, &rounds, open))
}

/// Judges many sites; `heard` are those whose agent is. One look at the newest records tells of most
/// of them.
pub(super) async fn sites(
    sources: Sources<'_>,
    sites: &[Site],
    heard: &HashSet<SiteId>,
    mut open: HashMap<SiteId, Vec<Incident>>,
) -> Result<Vec<SitePicture>> {
    let mut targets = sources.store.targets(None).await?;
    targets.retain(|target| target.active);
    let methods: HashMap<TargetId, bool> =
        targets.iter().map(|target| (target.id, is_host(target))).collect();
    let mut groups: Vec<(SiteId, GroupId)> = targets
        .iter()
        .filter(|target| heard.contains(&target.spec.site))
        .map(|target| (target.spec.site, target.group))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    let mut rounds: HashMap<TargetId, Round> = HashMap::with_capacity(methods.len());
    for (target, sample) in sources.store.signs(groups, sources.now.as_millisecond()).await? {
        let Some(is_host) = methods.get(&target) else { continue };
        note(&mut rounds, target, round(sample, *is_host));
    }
    let mut targets = by_site(targets, |target| target.spec.site);
    let mut pictures = Vec::with_capacity(sites.len());
    for site in sites {
        let is_heard = heard.contains(&site.id);
        let targets = targets.remove(&site.id).unwrap_or_default();
        let open = open.remove(&site.id).unwrap_or_default();
        // A target that is missing may have been measured before its group was last laid out.
        let whole = targets.iter().all(|target| rounds.contains_key(&target.id));
        pictures.push(if whole && is_heard {
            judge(sources.now, is_heard, targets, &rounds, open)
        } else {
            self::site(sources, site.id, is_heard, targets, open).await?
        });
    }
    Ok(pictures)
}

/// Judges one site by the newest round of each of its targets.
fn judge(
    now: Timestamp,
    heard: bool,
    targets: Vec<Target>,
    rounds: &HashMap<TargetId, Round>,
    open: Vec<Incident>,
) -> SitePicture {
    // What was measured last says nothing of a site whose agent is known to be silent by now.
    let heard = heard && !open.iter().any(|incident| incident.kind == IncidentKind::AgentSilent);
    let targets: Vec<Target> = targets.into_iter().filter(|target| target.active).collect();
    let down: HashSet<TargetId> = open
        .iter()
        .filter(|incident| incident.kind == IncidentKind::TargetDown)
        .filter_map(|incident| incident.target)
        .collect();
    let signs: Vec<TargetSigns> = targets
        .iter()
        .map(|target| TargetSigns {
            id: target.id,
            parent: target.spec.parent,
            period_s: target.spec.period_s,
            newest: rounds.get(&target.id).map(|round| (round.at.age_s(now), round.outcome)),
            incident_open: down.contains(&target.id),
        })
        .collect();
    let targets: Vec<_> = targets
        .into_iter()
        .zip(health::targets(&signs, heard))
        .map(|(target, health)| {
            let round = rounds.get(&target.id).copied();
            (target, health, round)
        })
        .collect();
    let rungs: Vec<(Role, Health)> = Role::ALL
        .iter()
        .filter_map(|role| {
            let on_rung: Vec<TargetHealth> = targets
                .iter()
                .filter(|(target, _, _)| target.spec.role == *role)
                .map(|(_, health, _)| *health)
                .collect();
            (!on_rung.is_empty()).then(|| (*role, health::rung(&on_rung)))
        })
        .collect();
    SitePicture {
        health: health::site(&rungs, heard, open.len()),
        measured: health::is_measured(&rungs, heard),
        rungs,
        targets,
        open,
    }
}

/// The newest round of each target.
async fn rounds(
    sources: Sources<'_>,
    site: SiteId,
    targets: &[Target],
) -> Result<HashMap<TargetId, Round>> {
    let active: HashMap<TargetId, &Target> =
        targets.iter().filter(|target| target.active).map(|target| (target.id, target)).collect();
    let is_sign = |series: &Series| {
        metric::by_number(series.metric).is_some_and(metric::Metric::is_sign)
            && active.contains_key(&series.target)
    };
    let mut signs = sources.store.series(Some(site)).await?;
    signs.retain(is_sign);
    let mut rounds: HashMap<TargetId, Round> = HashMap::new();
    if signs.is_empty() {
        return Ok(rounds);
    }
    let newest = sources.store.latest(site, signs.iter().map(|sign| sign.id).collect()).await?;
    for (series, sample) in signs.iter().zip(newest) {
        if let (Some(sample), Some(target)) = (sample, active.get(&series.target)) {
            note(&mut rounds, series.target, round(sample, is_host(target)));
        }
    }
    Ok(rounds)
}

fn is_host(target: &Target) -> bool {
    target.spec.method == Method::Host
}

/// Keeps the newer of two rounds.
fn note(rounds: &mut HashMap<TargetId, Round>, target: TargetId, round: Round) {
    let known = rounds.entry(target).or_insert(round);
    if known.at < round.at {
        *known = round;
    }
}

fn round(sample: Sample, is_host: bool) -> Round {
    let outcome = sample
        .value
        .and_then(|code| if is_host { Some(Outcome::Ok) } else { Outcome::from_code(code) });
    Round { at: Time::from_ms(sample.t_ms), outcome }
}
