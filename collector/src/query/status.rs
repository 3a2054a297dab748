//! `status`: how the whole stands, on one screen.

use domain::{health::Health, incident::IncidentKind};
use serde::Serialize;

use super::{
    Result, SiteCoverage, Sources, Time,
    mesh::{self, CentreLine},
    picture,
};

/// The whole at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// When the answer was made.
    pub at: Time,
    /// Sites heard.
    pub coverage: SiteCoverage,
    /// Sites by state.
    pub sites: SiteCounts,
    /// Agents by state.
    pub agents: AgentCounts,
    /// Open incidents by kind.
    pub open_incidents: IncidentCounts,
    /// Mails that wait.
    pub outbox: Outbox,
    /// The shared service centre; absent when no site asks any service of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centre: Option<CentreLine>,
}

/// Sites by state. A site without a heard agent is unknown, never up nor down; so is one whose agent
/// measured nothing but its own machine, unless an incident is open there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SiteCounts {
    /// All that is known is well, and something of the network is known.
    pub up: usize,
    /// Part of it fails.
    pub degraded: usize,
    /// Cut.
    pub down: usize,
    /// Nothing is known.
    pub unknown: usize,
}

impl SiteCounts {
    fn count(&mut self, health: Health) {
        *match health {
            Health::Up => &mut self.up,
            Health::Degraded => &mut self.degraded,
            Health::Down => &mut self.down,
            Health::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// Agents by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AgentCounts {
    /// Enrolled and not revoked.
    pub active: usize,
    /// Active ones with an open stream.
    pub connected: usize,
    /// Active ones with something wrong now, as `agents` tells.
    pub faulty: usize,
    /// Withdrawn.
    pub revoked: usize,
}

/// Open incidents by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IncidentCounts {
    /// All of them.
    pub total: usize,
    /// Targets down.
    pub target_down: usize,
    /// Agents silent.
    pub agent_silent: usize,
    /// Thresholds passed.
    pub threshold: usize,
}

impl IncidentCounts {
    fn count(&mut self, kind: IncidentKind) {
        self.total += 1;
        *match kind {
            IncidentKind::TargetDown => &mut self.target_down,
            IncidentKind::AgentSilent => &mut self.agent_silent,
            IncidentKind::Threshold => &mut self.threshold,
        } += 1;
    }
}

/// Mails that wait to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outbox {
    /// How many.
    pub waiting: u64,
    /// Age of the oldest, seconds.
    pub oldest_s: u64,
}

/// Answers `status`.
pub async fn status(sources: Sources<'_>) -> Result<Status> {
    let agents = picture::agents(sources).await?;
    let heard = picture::heard(&agents, sources);
    let open = picture::open_incidents(sources, None).await?;
    let mut open_incidents = IncidentCounts::default();
    open.values().flatten().for_each(|incident| open_incidents.count(incident.kind));

    let all = sources.store.sites().await?;
    let pictures = picture::sites(sources, &all, &heard, open).await?;
    let coverage = picture::judged(&all, &heard, &pictures);
    let mut counts = SiteCounts::default();
    for picture in &pictures {
        counts.count(picture.health);
    }

    let (waiting, oldest_s) = sources.store.outbox_depth(sources.now).await?;
    let active = agents.iter().filter(|known| known.is_active()).count();
    Ok(Status {
        at: Time(sources.now),
        coverage,
        sites: counts,
        agents: AgentCounts {
            active,
            connected: agents.iter().filter(|known| known.is_connected()).count(),
            faulty: agents.iter().filter(|known| known.is_faulty()).count(),
            revoked: agents.len() - active,
        },
        open_incidents,
        outbox: Outbox { waiting, oldest_s },
        centre: mesh::centre(&all, &pictures),
    })
}
