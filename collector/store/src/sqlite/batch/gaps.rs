//! Gaps that the records of a batch declare, and how many an agent and a site may.

use std::time::{Duration, Instant};

use domain::id::AgentId;

use super::{Batch, known::AgentEntry};
use crate::{DeclaredGap, MAX_SITE_GAPS, Result, sqlite::gaps};

/// Gaps refused at a site that has too many before they are counted anew.
const RECOUNT_GAPS: u32 = 1_024;
/// Gaps that one agent may add in a [`GAP_WINDOW`], a tenth of what its site may have: a noisy agent
/// must not use up the room of the others. Those that join an earlier one add none.
const MAX_AGENT_GAPS: u32 = MAX_SITE_GAPS / 10;
/// See [`MAX_AGENT_GAPS`].
const GAP_WINDOW: Duration = Duration::from_hours(24);
/// Shortest time between two warnings of refused gaps of one agent.
const GAP_WARNING: Duration = Duration::from_hours(1);
/// Gaps of an agent in the window that began then.
#[derive(Debug, Clone, Copy)]
pub(super) struct GapWindow {
    since: Instant,
    added: u32,
    warned: Option<Instant>,
}

impl GapWindow {
    /// The window of an agent that had `earlier`.
    fn at(earlier: Option<Self>, now: Instant) -> Self {
        match earlier {
            Some(window) if now.duration_since(window.since) < GAP_WINDOW => window,
            _ => Self { since: now, added: 0, warned: earlier.and_then(|window| window.warned) },
        }
    }

    /// Whether a refusal is to be warned of; then it is noted.
    fn warns(&mut self, now: Instant) -> bool {
        let due = self.warned.is_none_or(|at| now.duration_since(at) >= GAP_WARNING);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

/// Gaps of a site, as the writing thread knows them.
#[derive(Debug, Clone, Copy)]
pub(super) struct GapCount {
    kept: u32,
    refused: u32,
}

impl Batch<'_> {
    /// Declares a gap. When its site has too many, or its agent added too many of late, its record
    /// alone stands for it: then false.
    pub(super) fn declare(
        &mut self,
        agent: AgentEntry,
        id: AgentId,
        gap: &DeclaredGap,
    ) -> Result<bool> {
        if gap.span.from_ms >= gap.span.to_ms {
            return Ok(true);
        }
        let now = Instant::now();
        let site = agent.site;
        let mut window = GapWindow::at(self.known.gap_windows.get(&agent.no).copied(), now);
        let known = self.known.gaps.get(&site).copied();
        // Retention makes room that is not told of here.
        let known = known.filter(|known| known.refused < RECOUNT_GAPS);
        let mut count = match known {
            Some(known) => known,
            None => GapCount { kept: gaps::count(self.tx, site)?, refused: 0 },
        };
        // One that joins another adds none, and needs no room.
        let room = if window.added < MAX_AGENT_GAPS { MAX_SITE_GAPS } else { count.kept };
        let kept = gaps::declare(self.tx, site, &gap.into(), count.kept, room)?;
        if let Some(kept) = kept {
            window.added += u32::from(kept > count.kept);
            count.kept = kept;
        } else {
            count.refused += u32::from(room == MAX_SITE_GAPS);
            if window.warns(now) {
                let (reason, kept) = (gap.reason, count.kept);
                tracing::warn!(site, agent = %id, reason, kept, "gaps of an agent are too many");
            }
        }
        self.known.gaps.insert(site, count);
        self.known.gap_windows.insert(agent.no, window);
        Ok(kept.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_warned_of_once_an_hour_and_has_a_new_window_once_a_day() {
        let start = Instant::now();
        let mut window = GapWindow::at(None, start);
        window.added = 7;
        assert!(window.warns(start));
        let soon = start + Duration::from_mins(59);
        assert!(!window.warns(soon));
        assert!(window.warns(start + GAP_WARNING));
        assert_eq!(GapWindow::at(Some(window), soon).added, 7);
        let mut next = GapWindow::at(Some(window), start + GAP_WINDOW);
        assert_eq!(next.added, 0);
        assert!(next.warns(start + GAP_WINDOW));
        let mut hasty = GapWindow { warned: Some(start + GAP_WINDOW), ..window };
        hasty = GapWindow::at(Some(hasty), start + GAP_WINDOW);
        assert!(!hasty.warns(start + GAP_WINDOW), "a new window does not warn again");
    }
}
