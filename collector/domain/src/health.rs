//! Health of targets, rungs of the ladder and sites, from what was last heard of them.
//!
//! Unknown is never down and never up: a site whose agent is silent is unknown, and so is a target
//! that was not asked lately. Down needs the evaluator's verdict, an open incident. The agent's own
//! machine answers itself whatever becomes of the network: alone it makes no site up.

use jiff::SignedDuration;

use crate::{alert::rounds, id::TargetId, metric::Outcome, target::Role};

/// An agent that was heard within this many seconds counts as heard.
pub const HEARD_WITHIN_S: i64 = 300;
/// Roles that lie on the way out of the school: when all targets of one of them are down, so is the
/// site. The collector is not among them: a site that is heard has reached it.
pub const PATH: &[Role] = &[Role::Gateway, Role::Hop, Role::Resolver, Role::Reference];

/// Health of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetHealth {
    /// The last round succeeded.
    Up,
    /// The last round failed; no incident confirms it yet.
    Failing,
    /// It fails, and something that it stands behind is down.
    Unreachable,
    /// An incident says so.
    Down,
    /// Not asked lately, or nobody is there to tell.
    Unknown,
}

impl TargetHealth {
    /// The code used in the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Failing => "failing",
            Self::Unreachable => "unreachable",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// Health of a rung of the ladder, or of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// All that is known is well, and something is known; of a site, something of its network.
    Up,
    /// Part of it fails.
    Degraded,
    /// Cut.
    Down,
    /// Nothing is known.
    Unknown,
}

impl Health {
    /// The code used in the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetSigns {
    /// Id.
    pub id: TargetId,
    /// What it stands behind.
    pub parent: Option<TargetId>,
    /// Seconds between two rounds.
    pub period_s: u32,
    /// Its newest round: age in seconds, and outcome; `None` for an outcome that was not obtained.
    pub newest: Option<(i64, Option<Outcome>)>,
    /// True while an incident says that it is down.
    pub incident_open: bool,
}

fn is_fresh(age_s: i64, period_s: u32) -> bool {
    rounds::is_fresh(SignedDuration::from_secs(age_s), SignedDuration::from_secs(period_s.into()))
}

/// Health of each target of one site, in the order given. `heard` tells whether its agent is.
#[must_use]
pub fn targets(signs: &[TargetSigns], heard: bool) -> Vec<TargetHealth> {
    let confirmed = |sign: &TargetSigns| {
        heard
            && sign.incident_open
            && sign.newest.is_some_and(|(age, _)| is_fresh(age, sign.period_s))
    };
    signs
        .iter()
        .map(|sign| {
            let Some((age, Some(outcome))) = sign.newest else { return TargetHealth::Unknown };
            if !heard || !is_fresh(age, sign.period_s) {
                return TargetHealth::Unknown;
            }
            match outcome {
                Outcome::NotAsked => TargetHealth::Unknown,
                Outcome::Ok => TargetHealth::Up,
                _ if sign.incident_open => TargetHealth::Down,
                _ if ancestors(signs, sign).any(confirmed) => TargetHealth::Unreachable,
                Outcome::Timeout
                | Outcome::Refused
                | Outcome::Unreachable
                | Outcome::Malformed
                | Outcome::Tls
                | Outcome::Name
                | Outcome::Failed => TargetHealth::Failing,
            }
        })
        .collect()
}

/// The targets that one stands behind, nearest first; ends at a loop.
fn ancestors<'a>(
    signs: &'a [TargetSigns],
    of: &TargetSigns,
) -> impl Iterator<Item = &'a TargetSigns> {
    let find = |id: Option<TargetId>| signs.iter().find(|sign| Some(sign.id) == id);
    std::iter::successors(find(of.parent), move |sign| find(sign.parent)).take(signs.len())
}

/// Health of a rung: the targets of one role at one site.
#[must_use]
pub fn rung(targets: &[TargetHealth]) -> Health {
    let known = || targets.iter().filter(|health| **health != TargetHealth::Unknown);
    let up = known().filter(|health| **health == TargetHealth::Up).count();
    let cut =
        || known().any(|health| matches!(health, TargetHealth::Down | TargetHealth::Unreachable));
    match (known().count(), up) {
        (0, _) => Health::Unknown,
        (known, up) if known == up => Health::Up,
        (_, 0) if cut() => Health::Down,
        _ => Health::Degraded,
    }
}

/// True when something of a site's network was measured: a target that is not the agent's own
/// machine has a fresh outcome, good or bad.
#[must_use]
pub fn is_measured(rungs: &[(Role, Health)], heard: bool) -> bool {
    let network =
        |(role, health): &(Role, Health)| *role != Role::Host && *health != Health::Unknown;
    heard && rungs.iter().any(network)
}

/// Health of a site from its rungs and the number of its open incidents. A site of which nothing is
/// wrong and nothing [is measured](is_measured) is unknown.
#[must_use]
pub fn site(rungs: &[(Role, Health)], heard: bool, open_incidents: usize) -> Health {
    // Another site that does not answer says nothing of this one.
    let of_others = |(role, health): &&(Role, Health)| *role == Role::Peer && *health != Health::Up;
    let rungs: Vec<_> = rungs.iter().filter(|rung| !of_others(rung)).copied().collect();
    let known = || rungs.iter().filter(|(_, health)| *health != Health::Unknown);
    let on_path = || known().filter(|(role, _)| PATH.contains(role));
    if !heard || known().next().is_none() {
        Health::Unknown
    } else if on_path().any(|(_, health)| *health == Health::Down) {
        Health::Down
    } else if open_incidents > 0 || known().any(|(_, health)| *health != Health::Up) {
        Health::Degraded
    } else if is_measured(&rungs, heard) {
        Health::Up
    } else {
        Health::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(id: i64, parent: i64, newest: Option<(i64, Option<Outcome>)>) -> TargetSigns {
        TargetSigns {
            id: TargetId(id),
            parent: (parent != 0).then_some(TargetId(parent)),
            period_s: 10,
            newest,
            incident_open: false,
        }
    }

    fn one(
        newest: Option<(i64, Option<Outcome>)>,
        incident_open: bool,
        heard: bool,
    ) -> TargetHealth {
        targets(&[TargetSigns { incident_open, ..sign(1, 0, newest) }], heard)[0]
    }

    #[test]
    fn nothing_is_known_of_a_target_without_a_fresh_outcome() {
        let fails = Some(Outcome::Timeout);
        assert_eq!(one(None, true, true), TargetHealth::Unknown);
        assert_eq!(one(Some((41, fails)), true, true), TargetHealth::Unknown);
        assert_eq!(one(Some((5, None)), false, true), TargetHealth::Unknown);
        assert_eq!(one(Some((5, Some(Outcome::NotAsked))), true, true), TargetHealth::Unknown);
        assert_eq!(one(Some((5, Some(Outcome::Ok))), false, false), TargetHealth::Unknown);
        assert_eq!(one(Some((5, fails)), true, false), TargetHealth::Unknown);
    }

    #[test]
    fn down_needs_an_incident() {
        assert_eq!(one(Some((40, Some(Outcome::Timeout))), false, true), TargetHealth::Failing);
        assert_eq!(one(Some((40, Some(Outcome::Timeout))), true, true), TargetHealth::Down);
        assert_eq!(one(Some((-3, Some(Outcome::Ok))), false, true), TargetHealth::Up);
    }

    #[test]
    fn what_fails_behind_a_cut_is_unreachable_and_loops_end() {
        let fails = Some((5, Some(Outcome::Timeout)));
        let mut signs = [
            sign(1, 0, fails),
            sign(2, 1, fails),
            sign(3, 2, fails),
            sign(4, 5, fails),
            sign(5, 4, fails),
        ];
        signs[0].incident_open = true;
        let codes: Vec<_> = targets(&signs, true).iter().map(|health| health.code()).collect();
        assert_eq!(codes, ["down", "unreachable", "unreachable", "failing", "failing"]);
    }

    #[test]
    fn a_rung_is_down_when_nothing_on_it_answers() {
        use TargetHealth::{Down, Failing, Unknown, Unreachable, Up};
        for (targets, expected) in [
            (&[][..], Health::Unknown),
            (&[Unknown], Health::Unknown),
            (&[Up, Unknown], Health::Up),
            (&[Up, Down], Health::Degraded),
            (&[Failing], Health::Degraded),
            (&[Failing, Down], Health::Down),
            (&[Unreachable, Unknown], Health::Down),
        ] {
            assert_eq!(rung(targets), expected, "{targets:?}");
        }
    }

    #[test]
    fn a_silent_site_is_unknown_whatever_else_is_said() {
        let all_up = [(Role::Gateway, Health::Up)];
        assert_eq!(site(&all_up, false, 0), Health::Unknown);
        assert_eq!(site(&[(Role::Gateway, Health::Down)], false, 1), Health::Unknown);
        assert_eq!(site(&[], true, 0), Health::Unknown);
        assert_eq!(site(&all_up, true, 0), Health::Up);
        assert_eq!(site(&all_up, true, 1), Health::Degraded);
    }

    #[test]
    fn an_agent_that_hears_only_itself_makes_no_site_up() {
        let host = (Role::Host, Health::Up);
        for rungs in [&[host][..], &[host, (Role::Gateway, Health::Unknown)]] {
            assert!(!is_measured(rungs, true), "{rungs:?}");
            assert_eq!(site(rungs, true, 0), Health::Unknown, "{rungs:?}");
            // A fault that is known stays one.
            assert_eq!(site(rungs, true, 1), Health::Degraded, "{rungs:?}");
        }
        for role in Role::ALL.iter().filter(|role| **role != Role::Host) {
            assert_eq!(site(&[host, (*role, Health::Up)], true, 0), Health::Up, "{role:?}");
            assert!(is_measured(&[host, (*role, Health::Down)], true), "{role:?}");
            assert!(!is_measured(&[host, (*role, Health::Up)], false), "{role:?}");
        }
    }

    #[test]
    fn another_site_that_does_not_answer_is_no_fault_of_this_one() {
        let peer = (Role::Peer, Health::Degraded);
        assert_eq!(site(&[(Role::Gateway, Health::Up), peer], true, 0), Health::Up);
        assert_eq!(site(&[(Role::Host, Health::Up), peer], true, 0), Health::Unknown);
        assert_eq!(site(&[(Role::Gateway, Health::Down), peer], true, 0), Health::Down);
    }

    #[test]
    fn only_the_path_takes_a_site_down() {
        for role in Role::ALL {
            let rungs = [(Role::Host, Health::Up), (*role, Health::Down)];
            let expected = if PATH.contains(role) { Health::Down } else { Health::Degraded };
            assert_eq!(site(&rungs, true, 1), expected, "{role:?}");
        }
    }
}
