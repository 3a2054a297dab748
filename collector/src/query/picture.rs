//! What is known of sites right now, gathered once per question.

use std::collections::{HashMap, HashSet};

use domain::{
    agent::{Agent, AgentStatus},
    health::{self, HEARD_WITHIN_S, Health, TargetHealth, TargetSigns},
    id::{AgentId, SiteId, TargetId},
    incident::{Incident, IncidentKind},
    metric::{self, Outcome},
    sample::Sample,
    site::Site,
    target::{Method, Role, Series, Target},
};
use store::IncidentFilter;

use super::{MAX_OPEN_INCIDENTS, Result, SiteCoverage, Sources, Time};
use crate::live::AgentLive;

/// Number of `uptime`, which stands for the outcome of asking one's own host.
const HOST_SIGN: u32 = 90;

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

/// True for the series that tells whether its target answers.
fn is_sign(series: &Series, method: &Method) -> bool {
    if *method == Method::Host {
        series.metric == HOST_SIGN
    } else {
        metric::by_number(series.metric).is_some_and(metric::Metric::is_outcome)
    }
}

/// Judges one site. `series` are the site's series; those that tell of no outcome are passed over.
pub(super) async fn site(
    sources: Sources<'_>,
    site: SiteId,
    heard: bool,
    targets: Vec<Target>,
    series: &[Series],
    open: Vec<Incident>,
) -> Result<SitePicture> {
    // What was measured last says nothing of a site whose agent is known to be silent by now.
    let heard = heard && !open.iter().any(|incident| incident.kind == IncidentKind::AgentSilent);
    let targets: Vec<Target> = targets.into_iter().filter(|target| target.active).collect();
    let rounds = rounds(sources, site, &targets, series).await?;
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
            newest: rounds
                .get(&target.id)
                .map(|round| (round.at.age_s(sources.now), round.outcome)),
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
    Ok(SitePicture {
        health: health::site(&rungs, heard, open.len()),
        measured: health::is_measured(&rungs, heard),
        rungs,
        targets,
        open,
    })
}

/// The newest round of each target.
async fn rounds(
    sources: Sources<'_>,
    site: SiteId,
    targets: &[Target],
    series: &[Series],
) -> Result<HashMap<TargetId, Round>> {
    let methods: HashMap<TargetId, &Method> =
        targets.iter().map(|target| (target.id, &target.spec.method)).collect();
    let signs: Vec<(&Series, &Method)> = series
        .iter()
        .filter_map(|series| Some((series, *methods.get(&series.target)?)))
        .filter(|(series, method)| is_sign(series, method))
        .collect();
    let mut rounds: HashMap<TargetId, Round> = HashMap::new();
    if signs.is_empty() {
        return Ok(rounds);
    }
    let newest =
        sources.store.latest(site, signs.iter().map(|(sign, _)| sign.id).collect()).await?;
    for ((series, method), sample) in signs.into_iter().zip(newest) {
        let Some(sample) = sample else { continue };
        let round = round(sample, method);
        let known = rounds.entry(series.target).or_insert(round);
        if known.at < round.at {
            *known = round;
        }
    }
    Ok(rounds)
}

fn round(sample: Sample, method: &Method) -> Round {
    let outcome = sample.value.and_then(|code| {
        if *method == Method::Host { Some(Outcome::Ok) } else { Outcome::from_code(code) }
    });
    Round { at: Time::from_ms(sample.t_ms), outcome }
}
