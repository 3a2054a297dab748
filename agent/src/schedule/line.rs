//! The agent's own rounds tell when the collector can be reached again.

use crate::{
    plan::{Group, Metric, ProbeKind},
    probe::{Cell, Outcome},
};

/// Watches the rounds of a group that asks the collector for a connection.
#[derive(Debug)]
pub(super) struct Line {
    cell: usize,
    answered: Option<bool>,
}

impl Line {
    /// `None` when `group` does not tell of `collector` (`host:port`).
    #[must_use]
    pub(super) fn of(group: &Group, collector: &str) -> Option<Self> {
        let ProbeKind::Tcp { targets } = &group.probe else { return None };
        let target = targets.iter().position(|target| target.eq_ignore_ascii_case(collector))?;
        let cell = group.columns.iter().position(|column| {
            column.metric == Metric::TcpOutcome && usize::from(column.target) == target
        })?;
        Some(Self { cell, answered: None })
    }

    /// Takes a round's cells: true when the collector did not answer before and does now.
    pub(super) fn is_back(&mut self, cells: &[Cell]) -> bool {
        let Some(&Some(outcome)) = cells.get(self.cell) else { return false };
        if outcome == Outcome::NotAsked as i64 {
            return false;
        }
        let answers = outcome == Outcome::Ok as i64;
        self.answered.replace(answers) == Some(false) && answers
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Column;

    fn group(targets: &[&str]) -> Group {
        let column = |target, metric| Column { target, metric, instance: 0, label: String::new() };
        Group {
            id: 1,
            layout: 1,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(4),
            probe: ProbeKind::Tcp { targets: targets.iter().map(ToString::to_string).collect() },
            columns: vec![
                column(0, Metric::TcpOutcome),
                column(0, Metric::TcpConnectTime),
                column(1, Metric::TcpOutcome),
            ],
        }
    }

    #[test]
    fn the_line_is_back_when_the_collector_answers_and_did_not_before() {
        let mut line = Line::of(&group(&["other:1", "Collector:2"]), "collector:2").unwrap();
        let (ok, timeout, not_asked) = (Some(0), Some(1), Some(7));
        for (own, back) in [
            (ok, false),
            (ok, false),
            (timeout, false),
            (timeout, false),
            (None, false),
            (not_asked, false),
            (ok, true),
            (ok, false),
        ] {
            assert_eq!(line.is_back(&[ok, Some(3), own]), back, "{own:?}");
            // What the others say changes nothing.
            assert!(!line.is_back(&[timeout, None, None]));
        }
    }

    #[test]
    fn other_groups_tell_nothing_of_it() {
        assert!(Line::of(&group(&["other:1", "another:2"]), "collector:2").is_none());
        let host = Group { probe: ProbeKind::Host, ..group(&[]) };
        assert!(Line::of(&host, "collector:2").is_none());
    }
}
