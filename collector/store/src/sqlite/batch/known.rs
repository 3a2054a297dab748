//! What the writing thread remembers of the file, so as not to ask at every record.

use std::collections::HashMap;

use domain::id::{AgentId, GroupId, Layout};

use super::gaps::{GapCount, GapWindow};
use crate::{IncomingRecord, LaneKey, LaneProgress, sqlite::lanes::Covered};

/// Lanes, agents and layouts remembered; beyond, all are asked for again.
const MAX_KNOWN: usize = 100_000;

/// An agent, as the writing thread knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentEntry {
    pub(super) no: i64,
    pub(super) site: i64,
    pub(super) active: bool,
}

/// A lane, as the writing thread knows it.
#[derive(Debug)]
pub(super) struct LaneEntry {
    pub(super) id: i64,
    pub(super) covered: Covered,
    pub(super) changed: bool,
    /// It made room for another: it takes nothing more.
    pub(super) closed: bool,
}

/// What the writing thread remembers of the file, so as not to ask at every record.
#[derive(Debug, Default)]
pub(in crate::sqlite) struct Known {
    pub(super) agents: HashMap<AgentId, AgentEntry>,
    pub(super) lanes: HashMap<LaneKey, LaneEntry>,
    /// Site of each layout. Layouts never change, nor does their site.
    pub(super) layouts: HashMap<(GroupId, Layout), i64>,
    pub(super) gaps: HashMap<i64, GapCount>,
    /// By agent, over all its sessions.
    pub(super) gap_windows: HashMap<i64, GapWindow>,
}

impl Known {
    /// An agent changed: it is looked up again before its next record.
    pub(in crate::sqlite) fn forget_agent(&mut self, id: AgentId) {
        if !crate::planted::is("revocation-cached") {
            self.agents.remove(&id);
        }
    }

    /// A transaction failed: lanes stand where the file says, and its gaps were not added.
    pub(in crate::sqlite) fn forget_lanes(&mut self) {
        self.lanes.clear();
        self.gaps.clear();
        self.gap_windows.clear();
    }

    /// Keeps what is remembered within bounds.
    pub(in crate::sqlite) fn trim(&mut self) {
        if self.agents.len() > MAX_KNOWN {
            self.agents.clear();
        }
        if self.lanes.len() > MAX_KNOWN {
            self.lanes.clear();
        }
        if self.layouts.len() > MAX_KNOWN {
            self.layouts.clear();
        }
        if self.gaps.len() > MAX_KNOWN {
            self.gaps.clear();
        }
        if self.gap_windows.len() > MAX_KNOWN {
            self.gap_windows.clear();
        }
    }

    /// Progress of every lane that some records touched.
    pub(in crate::sqlite) fn progress(&self, records: &[IncomingRecord]) -> Vec<LaneProgress> {
        let mut keys: Vec<LaneKey> = Vec::with_capacity(2);
        for record in records {
            for key in [Some(record.lane), record.explains.map(|(lane, _)| lane)] {
                if let Some(key) = key
                    && keys.last() != Some(&key)
                {
                    keys.push(key);
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter_map(|key| self.lanes.get(&key).map(|lane| lane.covered.progress(key)))
            .collect()
    }
}
