//! From what is known of a site now to the incidents that begin and end.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    rounds::{Rounds, TargetState, is_good},
    rules::Rule,
    topology::{Node, Placed, place},
};
use crate::{
    id::{IncidentId, TargetId},
    incident::{Incident, IncidentKind},
    metric::Outcome,
    site::Site,
    target::{Role, Target},
};

/// What is known of a site now.
#[derive(Debug, Clone, Copy)]
pub struct SiteView<'a> {
    /// The site.
    pub site: &'a Site,
    /// Its targets, withdrawn ones included.
    pub targets: &'a [Target],
    /// Targets that the agent's own ladder registered, as far as known: it withdraws them by itself.
    pub ladder: &'a BTreeSet<TargetId>,
    /// Last rounds by target.
    pub rounds: &'a BTreeMap<TargetId, Rounds>,
    /// Targets that ever answered, in this life of the collector or before.
    pub answered: &'a BTreeSet<TargetId>,
    /// Newest sign of life of any of its active agents; `None` when it has no active agent.
    pub heard: Option<Timestamp>,
    /// False while agents are still coming back after the collector's start: their silence is then
    /// the collector's own.
    pub settled: bool,
    /// Thresholds passed now.
    pub firing: &'a [Firing<'a>],
    /// Its open incidents.
    pub open: &'a [Incident],
}

/// A threshold that is passed.
#[derive(Debug, Clone)]
pub struct Firing<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The target.
    pub target: TargetId,
    /// Disk, interface, sensor: untrusted text; empty when the target has only one.
    pub instance: String,
    /// Start of the breach.
    pub since: Timestamp,
    /// Newest reading.
    pub reading: f64,
}

/// Delays that an authority can choose.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// An agent not heard for this long makes an incident.
    pub silence: SignedDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { silence: SignedDuration::from_mins(5) }
    }
}

/// One change of the incidents.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// One begins.
    Open {
        /// Identity of the cause and its start.
        key: String,
        /// Target, unless the site is meant.
        target: Option<TargetId>,
        /// What it is about.
        kind: IncidentKind,
        /// One line, in French.
        title: String,
        /// Evidence, in French.
        evidence: Vec<String>,
        /// Start, by the measure.
        started_at: Timestamp,
    },
    /// One ends.
    Close {
        /// Which.
        incident: IncidentId,
        /// End, by the measure.
        restored_at: Timestamp,
        /// Evidence, in French.
        evidence: Vec<String>,
    },
}

/// The state of every active target of a site, with its ancestors taken into account.
#[must_use]
pub fn states(view: &SiteView<'_>, now: Timestamp) -> BTreeMap<TargetId, Placed> {
    let nodes = nodes(view);
    nodes.keys().map(|id| (*id, place(*id, &nodes, now))).collect()
}

fn nodes<'a>(view: &SiteView<'a>) -> BTreeMap<TargetId, Node<'a>> {
    view.targets
        .iter()
        .filter(|target| target.active)
        .filter_map(|target| {
            let rounds = view.rounds.get(&target.id)?;
            let period = SignedDuration::from_secs(target.spec.period_s.into());
            let answered = has_answered(view, target.id);
            let (id, parent) = (target.id, target.spec.parent);
            Some((id, Node { id, parent, period, rounds, answered }))
        })
        .collect()
}

/// What begins and what ends at a site.
#[must_use]
pub fn evaluate(view: &SiteView<'_>, settings: Settings, now: Timestamp) -> Vec<Decision> {
    let zone = TimeZone::get(view.site.facts.zone.time_zone()).unwrap_or(TimeZone::UTC);
    let clock = |at: Timestamp| local(at, &zone);
    let mut decisions = Vec::new();
    let silent = view.heard.filter(|heard| now.duration_since(*heard) >= settings.silence);
    decide_silence(view, silent, now, &clock, &mut decisions);
    // Without a live agent nothing is known of the targets: their incidents neither open nor close.
    if view.heard.is_some() && silent.is_none() {
        let placed = states(view, now);
        decide_targets(view, &placed, now, &clock, &mut decisions);
        decide_thresholds(view, &placed, &clock, &mut decisions);
    }
    decide_withdrawn(view, now, &mut decisions);
    decisions
}

fn open<'a>(view: &SiteView<'a>, cause: &str) -> Option<&'a Incident> {
    open_of(view.open, cause)
}

/// The incident of a cause among open ones. A cause may end in a device's own text, so what follows it
/// in the key must be a start and nothing else.
#[must_use]
pub fn open_of<'a>(open: &'a [Incident], cause: &str) -> Option<&'a Incident> {
    let is_start = |rest: &str| rest.strip_prefix('@').is_some_and(|ms| ms.parse::<i64>().is_ok());
    open.iter().find(|incident| incident.key.strip_prefix(cause).is_some_and(is_start))
}

fn key(cause: &str, started_at: Timestamp) -> String {
    format!("{cause}@{}", started_at.as_millisecond())
}

fn decide_silence(
    view: &SiteView<'_>,
    silent: Option<Timestamp>,
    now: Timestamp,
    clock: &dyn Fn(Timestamp) -> String,
    decisions: &mut Vec<Decision>,
) {
    let cause = format!("silent:{}", view.site.id);
    match (silent, open(view, &cause)) {
        (Some(heard), None) if view.settled => decisions.push(Decision::Open {
            key: key(&cause, heard),
            target: None,
            kind: IncidentKind::AgentSilent,
            title: "Site muet : plus aucune nouvelle de l'agent de supervision".to_owned(),
            evidence: vec![
                format!("Dernier signe de vie de l'agent : {}", clock(heard)),
                "L'état du réseau de l'établissement est inconnu : lien d'accès, alimentation ou \
                 serveur de l'agent, à vérifier dans cet ordre"
                    .to_owned(),
            ],
            started_at: heard,
        }),
        // A message must have come since: a restart of the collector is no sign of life.
        (None, Some(incident)) if view.heard > Some(incident.started_at) => {
            decisions.push(Decision::Close {
                incident: incident.id,
                restored_at: now,
                evidence: vec![format!("L'agent est de nouveau entendu depuis : {}", clock(now))],
            });
        }
        _ => {}
    }
}

fn decide_targets(
    view: &SiteView<'_>,
    placed: &BTreeMap<TargetId, Placed>,
    now: Timestamp,
    clock: &dyn Fn(Timestamp) -> String,
    decisions: &mut Vec<Decision>,
) {
    for target in view.targets.iter().filter(|target| target.active) {
        let (Some(rounds), Some(placed)) = (view.rounds.get(&target.id), placed.get(&target.id))
        else {
            continue;
        };
        let cause = format!("down:{}", target.id);
        match (placed, open(view, &cause)) {
            (Placed::State(TargetState::Down), None) if may_alert(view, target) => {
                decisions.push(open_down(target, rounds, &cause, now, clock));
            }
            (Placed::State(TargetState::Up), Some(incident))
                if rounds
                    .has_recovered(now, SignedDuration::from_secs(target.spec.period_s.into())) =>
            {
                let restored_at = rounds.first_good().unwrap_or(now).max(incident.started_at);
                decisions.push(Decision::Close {
                    incident: incident.id,
                    restored_at,
                    evidence: vec![format!("Répond de nouveau depuis : {}", clock(restored_at))],
                });
            }
            _ => {}
        }
    }
}

/// Whether a target that fails makes an incident. What the ladder found by itself must have answered
/// once: many routers never answer, and are not broken.
fn may_alert(view: &SiteView<'_>, target: &Target) -> bool {
    match target.spec.role {
        Role::Equipment | Role::Service => true,
        // Of one site that fails, all that ask it would tell; the matrix tells it of them all.
        Role::Peer => false,
        Role::Host
        | Role::Gateway
        | Role::Hop
        | Role::Resolver
        | Role::Collector
        | Role::Reference
        | Role::Centre => has_answered(view, target.id),
    }
}

fn has_answered(view: &SiteView<'_>, target: TargetId) -> bool {
    view.answered.contains(&target)
        || view.rounds.get(&target).is_some_and(|rounds| rounds.last_good().is_some())
}

fn open_down(
    target: &Target,
    rounds: &Rounds,
    cause: &str,
    now: Timestamp,
    clock: &dyn Fn(Timestamp) -> String,
) -> Decision {
    let started_at = rounds
        .rounds()
        .iter()
        .find(|seen| is_good(seen.outcome) == Some(false))
        .map_or(now, |seen| seen.at)
        .min(rounds.first_bad().unwrap_or(now));
    let mut evidence = vec![match rounds.last_good() {
        Some(at) => format!("Dernière réponse : {}", clock(at)),
        None => "Aucune réponse depuis le début de la surveillance".to_owned(),
    }];
    evidence.push(format!("Premier échec : {}", clock(started_at)));
    for seen in rounds.rounds() {
        evidence.push(format!("Sondage de {} : {}", clock(seen.at), outcome_text(seen.outcome)));
    }
    Decision::Open {
        key: key(cause, started_at),
        target: Some(target.id),
        kind: IncidentKind::TargetDown,
        title: format!("{} : {}", role_text(target.spec.role), describe(target)),
        evidence,
        started_at,
    }
}

fn decide_thresholds(
    view: &SiteView<'_>,
    placed: &BTreeMap<TargetId, Placed>,
    clock: &dyn Fn(Timestamp) -> String,
    decisions: &mut Vec<Decision>,
) {
    for firing in view.firing {
        let Some(target) = view.targets.iter().find(|t| t.id == firing.target && t.active) else {
            continue;
        };
        let cause = threshold_cause(firing.rule, firing.target, &firing.instance);
        // The figures of a target that fails tell its failure a second time.
        let fails =
            placed.get(&firing.target).is_some_and(|p| *p != Placed::State(TargetState::Up));
        if fails || open(view, &cause).is_some() {
            continue;
        }
        let place = match firing.instance.as_str() {
            "" => describe(target),
            instance => format!("{instance}, {}", describe(target)),
        };
        decisions.push(Decision::Open {
            key: key(&cause, firing.since),
            target: Some(firing.target),
            kind: IncidentKind::Threshold,
            title: format!(
                "{} : {} ({place})",
                firing.rule.label,
                firing.rule.show(firing.reading)
            ),
            evidence: vec![
                format!("Seuil dépassé depuis : {}", clock(firing.since)),
                format!(
                    "Mesure : {} ; seuil d'alerte : {} ; fin d'alerte : {}",
                    firing.rule.show(firing.reading),
                    firing.rule.show(firing.rule.threshold.raise),
                    firing.rule.show(firing.rule.threshold.clear)
                ),
            ],
            started_at: firing.since,
        });
    }
}

/// Identity of the cause of a threshold incident: `threshold:<rule>:<target>:<instance>`.
#[must_use]
pub fn threshold_cause(rule: &Rule, target: TargetId, instance: &str) -> String {
    format!("threshold:{}:{target}:{instance}", rule.name)
}

/// Closes the incident of a threshold that cleared.
#[must_use]
pub fn close_threshold(
    incident: &Incident,
    site: &Site,
    rule: &Rule,
    reading: f64,
    at: Timestamp,
) -> Decision {
    let zone = TimeZone::get(site.facts.zone.time_zone()).unwrap_or(TimeZone::UTC);
    Decision::Close {
        incident: incident.id,
        restored_at: at.max(incident.started_at),
        evidence: vec![format!(
            "Retour sous le seuil : {}, mesure {}",
            local(at, &zone),
            rule.show(reading)
        )],
    }
}

fn decide_withdrawn(view: &SiteView<'_>, now: Timestamp, decisions: &mut Vec<Decision>) {
    for incident in view.open {
        let withdrawn = incident
            .target
            .is_some_and(|id| !view.targets.iter().any(|target| target.id == id && target.active));
        let orphaned = incident.kind == IncidentKind::AgentSilent && view.heard.is_none();
        let by_ladder = incident.target.is_some_and(|id| view.ladder.contains(&id));
        let why = match (withdrawn, by_ladder, orphaned) {
            (true, true, _) => "N'est plus sur le chemin que voit l'agent : état non mesuré",
            // By whom is not known for sure (after a restart of the collector), so it is not said.
            (true, false, _) => "Retiré de la supervision : état non mesuré",
            (false, _, true) => "L'établissement n'a plus d'agent en service : état non mesuré",
            (false, _, false) => continue,
        };
        decisions.push(Decision::Close {
            incident: incident.id,
            restored_at: now,
            evidence: vec![why.to_owned()],
        });
    }
}

fn describe(target: &Target) -> String {
    let (name, address) = (target.spec.name.as_str(), target.spec.address.as_str());
    match (name.is_empty() || name == address, address.is_empty()) {
        (true, _) => address.to_owned(),
        (false, true) => name.to_owned(),
        (false, false) => format!("{name} ({address})"),
    }
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Host => "Serveur de l'agent en défaut",
        Role::Gateway => "Passerelle de l'établissement injoignable",
        Role::Equipment => "Équipement injoignable",
        Role::Hop => "Routeur de l'opérateur injoignable",
        Role::Resolver => "Résolution de noms (DNS) en défaut",
        Role::Collector => "Accès au collecteur en défaut",
        Role::Reference => "Référence internet injoignable",
        Role::Centre => "Centre de services mutualisé injoignable",
        Role::Peer => "Autre établissement injoignable",
        Role::Service => "Service en défaut",
    }
}

/// What an outcome says, in French.
#[must_use]
pub fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "répond",
        Outcome::Timeout => "pas de réponse",
        Outcome::Refused => "connexion refusée",
        Outcome::Unreachable => "destination inaccessible",
        Outcome::Malformed => "réponse incompréhensible",
        Outcome::Tls => "échec TLS",
        Outcome::Name => "nom introuvable",
        Outcome::NotAsked => "non mesuré",
        Outcome::Failed => "répond en erreur",
    }
}

/// Civil time of the site, as the French write it: `23/11/2026 08:42:10`.
#[must_use]
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    let here = zone.to_datetime(at);
    format!(
        "{:02}/{:02}/{} {:02}:{:02}:{:02}",
        here.day(),
        here.month(),
        here.year(),
        here.hour(),
        here.minute(),
        here.second()
    )
}

#[cfg(test)]
mod tests;
