//! Which failing target is the cause, and which only stand behind it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::rounds::{Rounds, TargetState, is_good};
use crate::id::TargetId;

/// Longest chain of parents that is followed: a loop in the configuration ends here.
const MAX_DEPTH: usize = 16;

/// A target as the topology sees it.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The target.
    pub id: TargetId,
    /// What it stands behind.
    pub parent: Option<TargetId>,
    /// Time between its rounds.
    pub period: SignedDuration,
    /// Its last rounds.
    pub rounds: &'a Rounds,
    /// Whether it ever answered.
    pub answered: bool,
}

/// A target's state with its ancestors taken into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// The state stands.
    State(TargetState),
    /// Down, but what it stands behind has not been asked since: the verdict waits.
    Waiting,
}

/// Places one target.
///
/// A failing target behind a failing ancestor is unreachable. Before it is called down, the nearest
/// ancestor must have answered after the target's first failure: a verdict of the same age. An
/// ancestor about which nothing is known holds the verdict for three of its periods at most, and one
/// that never answered at all (a router that does not answer echo requests) not at all.
#[must_use]
pub fn place(id: TargetId, nodes: &BTreeMap<TargetId, Node<'_>>, now: Timestamp) -> Placed {
    let Some(node) = nodes.get(&id) else { return Placed::State(TargetState::Unknown) };
    let state = node.rounds.state(now, node.period);
    if state != TargetState::Down {
        return Placed::State(state);
    }
    let first_bad = node.rounds.first_bad().unwrap_or(now);
    let mut ancestor = node.parent;
    for _ in 0..MAX_DEPTH {
        let Some(parent) = ancestor.and_then(|id| nodes.get(&id)) else { break };
        if !parent.answered {
            ancestor = parent.parent;
            continue;
        }
        let newest = parent.rounds.latest().map(|seen| (seen.at, is_good(seen.outcome)));
        match (parent.rounds.state(now, parent.period), newest) {
            (TargetState::Down, _) => return Placed::State(TargetState::Unreachable),
            // It answered after the target had failed: what lies before it is fine as well.
            (TargetState::Up, Some((at, Some(true)))) if at >= first_bad => break,
            (TargetState::Unknown, _)
                if now.duration_since(first_bad)
                    > parent.period * 3 + SignedDuration::from_secs(10) => {}
            _ => return Placed::Waiting,
        }
        ancestor = parent.parent;
    }
    Placed::State(TargetState::Down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alert::rounds::Seen, metric::Outcome};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    /// A target asked each 10 s from `start`; `!` failed, `.` answered.
    fn rounds(start: i64, readings: &str) -> Rounds {
        let mut rounds = Rounds::default();
        for (i, reading) in readings.chars().enumerate() {
            let outcome = if reading == '.' { Outcome::Ok } else { Outcome::Timeout };
            rounds.push(Seen { at: at(start + 10 * i64::try_from(i).unwrap()), outcome });
        }
        rounds
    }

    fn place_last(now: i64, chain: &[Rounds]) -> Placed {
        let nodes: BTreeMap<_, _> = (1..)
            .zip(chain)
            .map(|(n, rounds)| {
                let parent = (n > 1).then_some(TargetId(n - 1));
                let period = SignedDuration::from_secs(10);
                let answered = rounds.last_good().is_some();
                (TargetId(n), Node { id: TargetId(n), parent, period, rounds, answered })
            })
            .collect();
        place(TargetId(i64::try_from(chain.len()).unwrap()), &nodes, at(now))
    }

    #[test]
    fn behind_a_dead_gateway_everything_is_unreachable() {
        let chain = [rounds(0, ".!!"), rounds(1, ".!!"), rounds(2, ".!!")];
        assert_eq!(place_last(25, &chain[..1]), Placed::State(TargetState::Down));
        assert_eq!(place_last(25, &chain[..2]), Placed::State(TargetState::Unreachable));
        assert_eq!(place_last(25, &chain), Placed::State(TargetState::Unreachable));
    }

    #[test]
    fn a_verdict_waits_for_one_of_the_same_age_before_it() {
        // The gateway was last asked before the hop failed.
        assert_eq!(place_last(13, &[rounds(0, "."), rounds(1, "!!")]), Placed::Waiting);
        // It failed once since: still not clear whose fault it is.
        assert_eq!(place_last(23, &[rounds(0, "..!"), rounds(1, ".!!")]), Placed::Waiting);
        // It answered since: the hop is the cause.
        let down = Placed::State(TargetState::Down);
        assert_eq!(place_last(23, &[rounds(0, "..."), rounds(1, ".!!")]), down);
    }

    #[test]
    fn an_ancestor_that_nobody_knows_of_holds_a_verdict_for_a_while_only() {
        // It answered once, long ago.
        let chain = [rounds(-1_000, "."), rounds(1, "!!!!!!")];
        assert_eq!(place_last(30, &chain), Placed::Waiting);
        assert_eq!(place_last(60, &chain), Placed::State(TargetState::Down));
    }

    #[test]
    fn a_router_that_never_answered_hides_nothing() {
        let chain = [rounds(0, "!!!"), rounds(1, ".!!")];
        assert_eq!(place_last(25, &chain), Placed::State(TargetState::Down));
        // What lies before it still does.
        let chain = [rounds(0, ".!!"), rounds(0, "!!!"), rounds(1, ".!!")];
        assert_eq!(place_last(25, &chain), Placed::State(TargetState::Unreachable));
    }

    #[test]
    fn a_loop_of_parents_ends() {
        let rounds = rounds(0, "!!");
        let node = |id, parent| Node {
            id: TargetId(id),
            parent: Some(TargetId(parent)),
            period: SignedDuration::from_secs(10),
            rounds: &rounds,
            answered: true,
        };
        let nodes = BTreeMap::from([(TargetId(1), node(1, 2)), (TargetId(2), node(2, 1))]);
        assert_eq!(place(TargetId(1), &nodes, at(12)), Placed::State(TargetState::Unreachable));
    }
}
