//! `sites` and `site show`: the state of sites by the rungs of their ladder.

use std::collections::HashMap;

use domain::{
    health::{Health, TargetHealth},
    id::SiteId,
    sample::Span,
    site::Site,
    target::Device,
    uai::Uai,
};
use serde::Serialize;

use super::{
    List, Page, Result, SiteCoverage, Sources, Time,
    agents::AgentLine,
    incidents::IncidentLine,
    picture,
    samples::Gap,
    targets::{TargetLine, TargetNames},
};

/// Most gaps that the answer about a site tells.
pub const MAX_SITE_GAPS: usize = 20;
/// How far back it tells them, milliseconds.
const GAPS_MS: i64 = 86_400_000;

/// What the authority tells of a site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteFactsLine {
    /// National key.
    pub uai: String,
    /// Name.
    pub name: String,
    /// Kind of school.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Zone of the school holidays.
    pub zone: &'static str,
    /// Pupils.
    pub pupils: Option<u32>,
    /// Maintenance lot.
    pub lot: Option<String>,
    /// Postal address.
    pub address: Option<String>,
    /// WGS 84 degrees.
    pub latitude: Option<f64>,
    /// WGS 84 degrees.
    pub longitude: Option<f64>,
}

impl From<&Site> for SiteFactsLine {
    fn from(site: &Site) -> Self {
        let facts = &site.facts;
        Self {
            uai: facts.uai.to_string(),
            name: facts.name.clone(),
            kind: facts.kind.code(),
            zone: facts.zone.code(),
            pupils: facts.pupils,
            lot: facts.lot.clone(),
            address: facts.address.clone(),
            latitude: facts.position.map(|(latitude, _)| latitude),
            longitude: facts.position.map(|(_, longitude)| longitude),
        }
    }
}

/// Targets of a site by health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TargetCounts {
    /// The last round succeeded.
    pub up: usize,
    /// The last round failed.
    pub failing: usize,
    /// Behind something that is down.
    pub unreachable: usize,
    /// An incident says so.
    pub down: usize,
    /// Not asked lately.
    pub unknown: usize,
}

impl TargetCounts {
    fn of(targets: impl Iterator<Item = TargetHealth>) -> Self {
        let mut counts = Self::default();
        for health in targets {
            *match health {
                TargetHealth::Up => &mut counts.up,
                TargetHealth::Failing => &mut counts.failing,
                TargetHealth::Unreachable => &mut counts.unreachable,
                TargetHealth::Down => &mut counts.down,
                TargetHealth::Unknown => &mut counts.unknown,
            } += 1;
        }
        counts
    }
}

/// A site in a list.
#[derive(Debug, Clone, Serialize)]
pub struct SiteLine {
    /// Its facts.
    #[serde(flatten)]
    pub facts: SiteFactsLine,
    /// `up`, `degraded`, `down` or `unknown`.
    pub state: &'static str,
    /// Last sign of life of its agent.
    pub last_heard: Option<Time>,
    /// Its targets.
    pub targets: TargetCounts,
    /// Incidents open there.
    pub open_incidents: usize,
}

/// Which sites are asked for.
#[derive(Debug, Clone, Default)]
pub struct SiteFilter {
    /// Only those in this state.
    pub state: Option<Health>,
    /// Only those of this lot.
    pub lot: Option<String>,
}

/// One rung of the ladder.
#[derive(Debug, Clone, Serialize)]
pub struct Rung {
    /// Role of its targets.
    pub role: &'static str,
    /// `up`, `degraded`, `down` or `unknown`.
    pub state: &'static str,
    /// Its targets.
    pub targets: TargetCounts,
}

/// What a device says it is (SNMP `system`): untrusted texts, without control characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceLine {
    /// Target.
    pub target: i64,
    /// Name of the target.
    pub target_name: String,
    /// When it said so.
    pub told_at: Time,
    /// `sysName`.
    pub name: String,
    /// `sysDescr`.
    pub descr: String,
    /// `sysObjectID`.
    pub object_id: String,
    /// `sysLocation`.
    pub location: String,
    /// Whether it has more interfaces than are known.
    pub truncated: bool,
}

/// One site in full.
#[derive(Debug, Clone, Serialize)]
pub struct SiteDetail {
    /// When the answer was made.
    pub at: Time,
    /// Whether the site is heard.
    pub coverage: SiteCoverage,
    /// Its facts.
    pub site: SiteFactsLine,
    /// `up`, `degraded`, `down` or `unknown`.
    pub state: &'static str,
    /// Last sign of life of its agent.
    pub last_heard: Option<Time>,
    /// From the host outwards.
    pub ladder: Vec<Rung>,
    /// Active targets, by role, then name.
    pub targets: Vec<TargetLine>,
    /// What its devices say they are, by target.
    pub devices: Vec<DeviceLine>,
    /// Number of series.
    pub series: usize,
    /// Open incidents, newest first.
    pub incidents: Vec<IncidentLine>,
    /// Declared gaps of the whole site that reach into the last day, newest first, at most
    /// [`MAX_SITE_GAPS`].
    pub gaps: Vec<Gap>,
    /// Agents enrolled there.
    pub agents: Vec<AgentLine>,
}

/// Answers `sites`, by UAI.
pub async fn sites(
    sources: Sources<'_>,
    filter: &SiteFilter,
    page: &Page,
) -> Result<List<SiteLine>> {
    page.rows()?;
    let agents = picture::agents(sources).await?;
    let heard = picture::heard(&agents, sources);
    let open = picture::open_incidents(sources, None).await?;
    let mut sites = sources.store.sites().await?;
    sites.retain(|site| filter.lot.is_none() || site.facts.lot == filter.lot);
    let pictures = picture::sites(sources, &sites, &heard, open).await?;
    let coverage = picture::judged(&sites, &heard, &pictures);
    let mut last: HashMap<SiteId, Time> = HashMap::new();
    for known in &agents {
        if let Some(seen) = known.last_seen() {
            let newest = last.entry(known.agent.site).or_insert(seen);
            *newest = seen.max(*newest);
        }
    }
    let mut rows: Vec<SiteLine> = sites
        .iter()
        .zip(pictures)
        .filter(|(_, picture)| filter.state.is_none_or(|state| state == picture.health))
        .map(|(site, picture)| SiteLine {
            facts: site.into(),
            state: picture.health.code(),
            last_heard: last.get(&site.id).copied(),
            targets: TargetCounts::of(picture.targets.iter().map(|(_, health, _)| *health)),
            open_incidents: picture.open.len(),
        })
        .collect();
    rows.sort_by(|a, b| a.facts.uai.cmp(&b.facts.uai));
    let (items, next) = page.cut(
        rows,
        |row| row.facts.uai.clone(),
        |text| text.parse::<Uai>().ok().map(|uai| uai.to_string()),
    )?;
    Ok(List { at: Time(sources.now), coverage, items, next })
}

/// Answers `site show`.
pub async fn site(sources: Sources<'_>, uai: &str) -> Result<SiteDetail> {
    let site = super::site(sources.store, uai).await?;
    let mut agents = picture::agents(sources).await?;
    let heard = picture::heard(&agents, sources);
    agents.retain(|known| known.agent.site == site.id);
    let open =
        picture::open_incidents(sources, Some(site.id)).await?.remove(&site.id).unwrap_or_default();
    let targets = sources.store.targets(Some(site.id)).await?;
    let names = TargetNames::new(&targets);
    let series = sources.store.series(Some(site.id)).await?;
    let picture = picture::site(sources, site.id, heard.contains(&site.id), targets, open).await?;

    let ladder = picture
        .rungs
        .iter()
        .map(|(role, health)| {
            let on_rung = picture
                .targets
                .iter()
                .filter(|(target, _, _)| target.spec.role == *role)
                .map(|(_, health, _)| *health);
            Rung { role: role.code(), state: health.code(), targets: TargetCounts::of(on_rung) }
        })
        .collect();
    let mut by_role: Vec<_> = picture.targets.iter().collect();
    by_role.sort_by(|(a, _, _), (b, _, _)| {
        (a.spec.role, &a.spec.name, a.id).cmp(&(b.spec.role, &b.spec.name, b.id))
    });
    let targets = by_role
        .into_iter()
        .map(|(target, health, round)| TargetLine::new(&site, target, *health, *round, sources.now))
        .collect();
    let devices = sources.store.devices(site.id).await?.into_iter();
    let devices = devices.filter_map(|(id, told_at, device)| {
        let (target, _, _) = picture.targets.iter().find(|(target, _, _)| target.id == id)?;
        let Device { name, descr, object_id, location, truncated } = device;
        let (target, target_name) = (target.id.0, target.spec.name.clone());
        let told_at = Time(told_at);
        Some(DeviceLine {
            target,
            target_name,
            told_at,
            name,
            descr,
            object_id,
            location,
            truncated,
        })
    });
    let devices = devices.collect();
    let incidents = picture
        .open
        .iter()
        .map(|incident| IncidentLine::new(Some(&site), &names, incident, sources.now))
        .collect();
    Ok(SiteDetail {
        at: Time(sources.now),
        coverage: picture::judged([&site], &heard, std::slice::from_ref(&picture)),
        site: (&site).into(),
        state: picture.health.code(),
        last_heard: agents.iter().filter_map(picture::Known::last_seen).max(),
        ladder,
        targets,
        devices,
        series: series.len(),
        incidents,
        gaps: gaps(sources, site.id).await?,
        agents: agents
            .iter()
            .map(|known| AgentLine::new(Some(&site), known, sources.now))
            .collect(),
    })
}

/// Why the site has holes in its last day.
async fn gaps(sources: Sources<'_>, site: SiteId) -> Result<Vec<Gap>> {
    let to_ms = sources.now.as_millisecond();
    let span = Span { from_ms: to_ms.saturating_sub(GAPS_MS), to_ms };
    let mut gaps = sources.store.gaps(site, span).await?;
    gaps.retain(|(group, _, _)| group.is_none());
    gaps.sort_by_key(|(_, gap, _)| std::cmp::Reverse((gap.to_ms, gap.from_ms)));
    let newest = gaps.into_iter().take(MAX_SITE_GAPS);
    Ok(newest
        .map(|(_, gap, reason)| Gap {
            from: Time::from_ms(gap.from_ms),
            to: Time::from_ms(gap.to_ms),
            reason,
        })
        .collect())
}
