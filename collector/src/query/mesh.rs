//! `mesh`: how the sites reach each other and the shared service centre.
//!
//! A pair that was not measured lately is unknown, whatever was measured before; its figures over the
//! window are `null` where no round tells them.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{
    centre::{self, Answer, Fault, Witness},
    health::{HEARD_WITHIN_S, TargetHealth},
    id::{SeriesId, SiteId, TargetId},
    metric::{self, MESH_LOSS, MESH_RTT_P95},
    percentile,
    sample::Span,
    site::Site,
    target::{Role, Target},
};
use serde::Serialize;

use super::{
    MAX_ROWS, QueryError, Result, SiteCoverage, Sources, Time,
    picture::{self, SitePicture},
    targets::{method_code, outcome_code},
};
use crate::wrong::Wrong;

/// Window of the figures unless the question says otherwise, seconds.
pub const DEFAULT_WINDOW_S: i64 = 900;
/// Shortest and longest window, seconds.
pub const WINDOW_S: std::ops::RangeInclusive<i64> = 60..=3_600;

/// The mesh.
#[derive(Debug, Clone, Serialize)]
pub struct Mesh {
    /// When the answer was made.
    pub at: Time,
    /// Start of the window.
    pub from: Time,
    /// How much of it was measured.
    pub coverage: MeshCoverage,
    /// Who takes part, by UAI.
    pub sites: Vec<MeshSiteLine>,
    /// The pairs: those that fail first, then those with the most loss and delay, the unknown last.
    pub pairs: Vec<PairLine>,
    /// The shared service centre; absent when no site asks any service of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centre: Option<CentreLine>,
}

/// How much of the mesh was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeshCoverage {
    /// Sites that take part, and those that are heard.
    #[serde(flatten)]
    pub sites: SiteCoverage,
    /// Pairs that are to be measured.
    pub pairs: usize,
    /// Those with a figure in the window.
    pub measured_pairs: usize,
    /// Those in this answer.
    pub shown_pairs: usize,
    /// Rounds with a figure, of all that the window should have.
    pub ratio: Option<f64>,
}

/// A site that takes part.
#[derive(Debug, Clone, Serialize)]
pub struct MeshSiteLine {
    /// Site.
    pub uai: String,
    /// Name.
    pub name: String,
    /// Lot.
    pub lot: Option<String>,
    /// Where other sites reach it; `null` when it asks only.
    pub address: Option<String>,
    /// Whether every site asks it.
    pub hub: bool,
    /// Whether its agent is heard.
    pub heard: bool,
}

/// One site asks another.
#[derive(Debug, Clone, Serialize)]
pub struct PairLine {
    /// Who asks.
    pub from: String,
    /// Who answers.
    pub to: String,
    /// The target by which it does.
    pub target: i64,
    /// `up`, `failing` or `unknown`.
    pub state: &'static str,
    /// Outcome of the newest round; `null` when it was not obtained.
    pub outcome: Option<&'static str>,
    /// When the newest round was.
    pub asked_at: Option<Time>,
    /// Its age, seconds.
    pub age_s: Option<i64>,
    /// Mean of the rounds' loss, there and back, 0 to 1.
    pub loss: Option<f64>,
    /// 95th percentile, nearest rank, of the rounds' own 95th percentiles of the round-trip delay,
    /// seconds.
    pub rtt_p95: Option<f64>,
    /// Rounds that the figures stand on.
    pub rounds: usize,
    /// Their share of those that the window should have.
    pub coverage: f64,
}

/// The shared service centre, as all sites together tell.
#[derive(Debug, Clone, Serialize)]
pub struct CentreLine {
    /// `up`, `partial`, `down` or `unknown`.
    pub state: &'static str,
    /// Sites that reach it.
    pub reaching: usize,
    /// Sites that miss it while the rest of their way out works.
    pub missing: usize,
    /// Where the fault is, for each site that does not reach it: `centre`, `path`, `site` or `unknown`.
    pub faults: Vec<SiteFault>,
    /// Each of its services.
    pub services: Vec<ServiceLine>,
}

/// A site that does not reach the centre.
#[derive(Debug, Clone, Serialize)]
pub struct SiteFault {
    /// Site.
    pub uai: String,
    /// Where the fault is.
    pub fault: &'static str,
}

/// A service of the centre.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceLine {
    /// `icmp`, `tcp`, `dns`, `http`.
    pub method: &'static str,
    /// Where it is asked.
    pub address: String,
    /// `up`, `partial`, `down` or `unknown`.
    pub state: &'static str,
    /// Sites that reach it.
    pub reaching: usize,
    /// Sites that miss it while the rest of their way out works.
    pub missing: usize,
}

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct MeshQuestion {
    /// Seconds over which figures are made; [`DEFAULT_WINDOW_S`] when absent.
    pub window_s: Option<i64>,
    /// Most pairs; [`MAX_ROWS`] when absent.
    pub limit: Option<usize>,
}

/// Answers `mesh`.
pub async fn mesh(sources: Sources<'_>, question: &MeshQuestion) -> Result<Mesh> {
    let window_s = question.window_s.unwrap_or(DEFAULT_WINDOW_S);
    if !WINDOW_S.contains(&window_s) {
        let wrong = Wrong::out_of(window_s, WINDOW_S.start(), WINDOW_S.end());
        return Err(QueryError::bad("window_s", wrong));
    }
    let limit = match question.limit.unwrap_or(MAX_ROWS) {
        rows @ 1..=MAX_ROWS => rows,
        rows => return Err(QueryError::bad("limit", Wrong::out_of(rows, 1, MAX_ROWS))),
    };
    let to_ms = sources.now.as_millisecond();
    let span = Span { from_ms: to_ms - window_s * 1_000, to_ms: to_ms.saturating_add(1) };

    let agents = picture::agents(sources).await?;
    let heard = picture::heard(&agents, sources);
    let open = picture::open_incidents(sources, None).await?;
    let all = sources.store.sites().await?;
    let pictures = picture::sites(sources, &all, &heard, open).await?;
    let centre = centre(&all, &pictures);

    let by_id: HashMap<SiteId, &Site> = all.iter().map(|site| (site.id, site)).collect();
    let mut sites: Vec<MeshSiteLine> = sources
        .store
        .mesh_sites()
        .await?
        .into_iter()
        .filter_map(|one| {
            let site = by_id.get(&one.site)?;
            Some(MeshSiteLine {
                uai: site.facts.uai.to_string(),
                name: site.facts.name.clone(),
                lot: site.facts.lot.clone(),
                address: one.address,
                hub: one.hub,
                heard: heard.contains(&one.site),
            })
        })
        .collect();
    sites.sort_by(|a, b| a.uai.cmp(&b.uai));

    let figures = figures(sources, span).await?;
    let mut pairs = Vec::new();
    let (mut rounds, mut expected) = (0, 0.0);
    for (site, picture) in all.iter().zip(&pictures) {
        for known in picture.targets.iter().filter(|(target, ..)| target.spec.role == Role::Peer) {
            let pair = pair(sources, site, known, &figures, window_s);
            rounds += pair.rounds;
            expected += expected_rounds(&known.0, window_s);
            pairs.push(pair);
        }
    }
    pairs.sort_by(worst_first);
    let (count, measured) = (pairs.len(), pairs.iter().filter(|pair| pair.rounds > 0).count());
    pairs.truncate(limit);
    let told = sites.iter().filter(|site| site.heard).count();
    let of_sites =
        SiteCoverage { sites: sites.len(), heard: told, measured: None, window_s: HEARD_WITHIN_S };
    Ok(Mesh {
        at: Time(sources.now),
        from: Time::from_ms(span.from_ms),
        coverage: MeshCoverage {
            sites: of_sites,
            pairs: count,
            measured_pairs: measured,
            shown_pairs: pairs.len(),
            ratio: (expected > 0.0).then(|| (rounds as f64 / expected).min(1.0)),
        },
        sites,
        pairs,
        centre,
    })
}

/// What the rounds of a target in the window tell, in base units.
#[derive(Debug, Default)]
struct Figures {
    loss: Vec<f64>,
    rtt_p95: Vec<f64>,
}

async fn figures(sources: Sources<'_>, span: Span) -> Result<HashMap<TargetId, Figures>> {
    let mut by_site: BTreeMap<SiteId, Vec<(SeriesId, TargetId, u32)>> = BTreeMap::new();
    for series in sources.store.mesh_series().await? {
        if [MESH_LOSS, MESH_RTT_P95].contains(&series.metric) {
            let of_site = by_site.entry(series.site).or_default();
            of_site.push((series.id, series.target, series.metric));
        }
    }
    let mut figures: HashMap<TargetId, Figures> = HashMap::new();
    for (site, series) in by_site {
        let ids = series.iter().map(|(id, ..)| *id).collect();
        let read = sources.store.read(site, ids, span).await?;
        for ((_, target, number), data) in series.into_iter().zip(read) {
            let Some(metric) = metric::by_number(number) else { continue };
            let values = data.samples.iter().filter_map(|sample| sample.value);
            let values = values.map(|value| metric.scale(value as f64));
            let of_target = figures.entry(target).or_default();
            if number == MESH_LOSS {
                of_target.loss.extend(values);
            } else {
                of_target.rtt_p95.extend(values);
            }
        }
    }
    Ok(figures)
}

fn expected_rounds(target: &Target, window_s: i64) -> f64 {
    window_s as f64 / f64::from(target.spec.period_s.max(1))
}

fn pair(
    sources: Sources<'_>,
    site: &Site,
    (target, health, round): &(Target, TargetHealth, Option<picture::Round>),
    figures: &HashMap<TargetId, Figures>,
    window_s: i64,
) -> PairLine {
    let none = Figures::default();
    let Figures { loss, rtt_p95 } = figures.get(&target.id).unwrap_or(&none);
    let rounds = loss.len();
    let mean = (rounds > 0).then(|| loss.iter().sum::<f64>() / rounds as f64);
    PairLine {
        from: site.facts.uai.to_string(),
        to: target.spec.address.clone(),
        target: target.id.0,
        state: health.code(),
        outcome: round.and_then(|round| round.outcome).map(outcome_code),
        asked_at: round.map(|round| round.at),
        age_s: round.map(|round| round.at.age_s(sources.now)),
        loss: mean,
        rtt_p95: percentile::nearest_rank(&mut rtt_p95.clone(), 0.95),
        rounds,
        coverage: (rounds as f64 / expected_rounds(target, window_s)).min(1.0),
    }
}

fn worst_first(a: &PairLine, b: &PairLine) -> std::cmp::Ordering {
    let rank = |pair: &PairLine| match pair.state {
        "up" => 1,
        "unknown" => 2,
        _ => 0,
    };
    let figure = |figure: Option<f64>| figure.unwrap_or(-1.0);
    rank(a)
        .cmp(&rank(b))
        .then(figure(b.loss).total_cmp(&figure(a.loss)))
        .then(figure(b.rtt_p95).total_cmp(&figure(a.rtt_p95)))
        .then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to)))
}

/// What all sites together tell of the shared centre; `None` when none asks it.
pub(super) fn centre(sites: &[Site], pictures: &[SitePicture]) -> Option<CentreLine> {
    let answer = |health: TargetHealth| match health {
        TargetHealth::Up => Answer::Yes,
        TargetHealth::Failing | TargetHealth::Unreachable | TargetHealth::Down => Answer::No,
        TargetHealth::Unknown => Answer::Unknown,
    };
    let witnesses = |is_asked: &dyn Fn(&Target) -> bool| -> Vec<Witness> {
        let known = sites.iter().zip(pictures);
        known
            .filter(|(_, picture)| picture.targets.iter().any(|(target, ..)| is_asked(target)))
            .map(|(site, picture)| {
                let any = |is: &dyn Fn(&Target) -> bool| {
                    let of = picture.targets.iter().filter(|(target, ..)| is(target));
                    Answer::any(of.map(|(_, health, _)| answer(*health)))
                };
                // An operator's first router answers although its backbone is cut.
                let elsewhere = [Role::Reference, Role::Collector];
                let others = any(&|target| elsewhere.contains(&target.spec.role));
                Witness { site: site.id, centre: any(is_asked), others }
            })
            .collect()
    };
    let is_centre = |target: &Target| target.spec.role == Role::Centre;
    let judgement = centre::judge(&witnesses(&is_centre));
    if judgement.sites.is_empty() {
        return None;
    }
    let mut seen = HashSet::new();
    let mut services = Vec::new();
    for (target, ..) in pictures.iter().flat_map(|picture| &picture.targets) {
        let service = (&target.spec.method, &target.spec.address);
        if !is_centre(target) || !seen.insert(service) {
            continue;
        }
        let of_service = |other: &Target| {
            is_centre(other) && (&other.spec.method, &other.spec.address) == service
        };
        let told = centre::judge(&witnesses(&of_service));
        services.push(ServiceLine {
            method: method_code(&target.spec.method),
            address: target.spec.address.clone(),
            state: told.centre.code(),
            reaching: told.reaching,
            missing: told.missing,
        });
    }
    services.sort_by(|a, b| (a.method, &a.address).cmp(&(b.method, &b.address)));
    services.truncate(MAX_ROWS);
    let uais: HashMap<SiteId, &Site> = sites.iter().map(|site| (site.id, site)).collect();
    let faults = judgement.sites.iter().filter(|(_, fault)| *fault != Fault::None);
    let faults = faults.filter_map(|(site, fault)| {
        let uai = uais.get(site)?.facts.uai.to_string();
        Some(SiteFault { uai, fault: fault.code() })
    });
    Some(CentreLine {
        state: judgement.centre.code(),
        reaching: judgement.reaching,
        missing: judgement.missing,
        faults: faults.take(MAX_ROWS).collect(),
        services,
    })
}
