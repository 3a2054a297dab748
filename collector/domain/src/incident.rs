//! Incidents: one cause, its alerts, one mail thread.

use jiff::Timestamp;

use crate::id::{IncidentId, SiteId, TargetId};

/// What an incident is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IncidentKind {
    /// A target is down: positive evidence from a live agent.
    TargetDown,
    /// Nothing comes from the site's agent: its state is unknown.
    AgentSilent,
    /// A figure passed its threshold.
    Threshold,
}

impl IncidentKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::TargetDown, Self::AgentSilent, Self::Threshold];

    /// The code used in the store and the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TargetDown => "target-down",
            Self::AgentSilent => "agent-silent",
            Self::Threshold => "threshold",
        }
    }

    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }
}

/// An incident as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Number.
    pub id: IncidentId,
    /// Reference shown to people: `INC-2026-000001`.
    pub reference: String,
    /// Deterministic identity of the cause and its start: a repeat after a crash opens nothing.
    pub key: String,
    /// Site.
    pub site: SiteId,
    /// Target, unless the whole site is meant.
    pub target: Option<TargetId>,
    /// What it is about.
    pub kind: IncidentKind,
    /// One line for people, in French.
    pub title: String,
    /// Evidence lines, in French: what was seen, when.
    pub evidence: Vec<String>,
    /// When the fault began, by the measure.
    pub started_at: Timestamp,
    /// When the incident was opened.
    pub opened_at: Timestamp,
    /// When the measure showed the end.
    pub restored_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}
