use std::collections::BTreeSet;

use super::*;
use crate::{
    alert::{rounds::Seen, rules},
    id::{GroupId, SiteId},
    site::{SiteFacts, SiteKind, Zone},
    target::{Method, TargetSpec},
    uai::Uai,
};

const START: i64 = 1_795_419_730; // 23 November 2026, 08:42:10 in Paris

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn site() -> Site {
    let facts = SiteFacts {
        uai: Uai::from_number(999_001).unwrap(),
        name: "Collège des Essais".to_owned(),
        kind: SiteKind::College,
        zone: Zone::A,
        pupils: Some(486),
        lot: Some("2".to_owned()),
        address: None,
        position: None,
    };
    Site { id: SiteId(1), facts }
}

fn target(id: i64, role: Role, parent: Option<i64>) -> Target {
    let spec = TargetSpec {
        site: SiteId(1),
        role,
        name: format!("t{id}"),
        address: format!("10.0.0.{id}"),
        method: Method::Icmp { count: 1 },
        period_s: 10,
        parent: parent.map(TargetId),
    };
    Target { id: TargetId(id), group: GroupId(1), spec, active: true }
}

fn rounds(readings: &str) -> Rounds {
    let mut health = Rounds::default();
    for (i, reading) in readings.chars().enumerate() {
        let outcome = if reading == '.' { Outcome::Ok } else { Outcome::Timeout };
        health.push(Seen { at: at(10 * i64::try_from(i).unwrap()), outcome });
    }
    health
}

/// A world that moves: opens and closes what is decided, as the store would.
struct World {
    site: Site,
    targets: Vec<Target>,
    ladder: BTreeSet<TargetId>,
    rounds: BTreeMap<TargetId, Rounds>,
    answered: BTreeSet<TargetId>,
    settled: bool,
    open: Vec<Incident>,
    closed: u32,
}

impl World {
    fn new(targets: Vec<Target>) -> Self {
        Self {
            site: site(),
            targets,
            ladder: BTreeSet::new(),
            rounds: BTreeMap::new(),
            answered: BTreeSet::new(),
            settled: true,
            open: Vec::new(),
            closed: 0,
        }
    }

    fn evaluate(&mut self, heard: Option<i64>, firing: &[Firing<'_>], now: i64) -> Vec<Decision> {
        let view = SiteView {
            site: &self.site,
            targets: &self.targets,
            ladder: &self.ladder,
            rounds: &self.rounds,
            answered: &self.answered,
            heard: heard.map(at),
            settled: self.settled,
            firing,
            open: &self.open,
        };
        let decisions = evaluate(&view, Settings::default(), at(now));
        for decision in &decisions {
            match decision.clone() {
                Decision::Open { key, target, kind, title, evidence, started_at } => {
                    self.open.push(Incident {
                        id: IncidentId(i64::try_from(self.open.len()).unwrap() + 1),
                        reference: String::new(),
                        key,
                        site: SiteId(1),
                        target,
                        kind,
                        title,
                        evidence,
                        started_at,
                        opened_at: at(now),
                        restored_at: None,
                        closed_at: None,
                    });
                }
                Decision::Close { incident, .. } => {
                    self.open.retain(|open| open.id != incident);
                    self.closed += 1;
                }
            }
        }
        decisions
    }
}

#[test]
fn a_dead_gateway_makes_one_incident_and_hides_what_is_behind_it() {
    let mut world = World::new(vec![
        target(1, Role::Gateway, None),
        target(2, Role::Hop, Some(1)),
        target(3, Role::Reference, Some(2)),
    ]);
    for id in 1..=3 {
        world.rounds.insert(TargetId(id), rounds("...!!"));
    }
    let decisions = world.evaluate(Some(40), &[], 42);
    let [Decision::Open { title, evidence, started_at, key, .. }] = decisions.as_slice() else {
        panic!("{decisions:?}")
    };
    assert_eq!(title, "Passerelle de l'établissement injoignable : t1 (10.0.0.1)");
    assert_eq!(*started_at, at(30));
    assert_eq!(key, &format!("down:1@{}", at(30).as_millisecond()));
    assert_eq!(
        evidence,
        &[
            "Dernière réponse : 23/11/2026 08:42:30",
            "Premier échec : 23/11/2026 08:42:40",
            "Sondage de 23/11/2026 08:42:30 : répond",
            "Sondage de 23/11/2026 08:42:40 : pas de réponse",
            "Sondage de 23/11/2026 08:42:50 : pas de réponse",
        ]
    );
    assert_eq!(world.evaluate(Some(40), &[], 43), [], "told once");
    for id in 1..=3 {
        world.rounds.insert(TargetId(id), rounds("...!!.."));
    }
    assert_eq!(world.evaluate(Some(60), &[], 62), [], "two good rounds may be a flap");
    for id in 1..=3 {
        world.rounds.insert(TargetId(id), rounds("...!!..."));
    }
    let decisions = world.evaluate(Some(70), &[], 72);
    let [Decision::Close { restored_at, .. }] = decisions.as_slice() else {
        panic!("{decisions:?}")
    };
    assert_eq!(*restored_at, at(50));
}

#[test]
fn silence_is_one_incident_and_says_nothing_of_the_targets() {
    let mut world =
        World::new(vec![target(1, Role::Gateway, None), target(2, Role::Equipment, None)]);
    world.rounds.insert(TargetId(1), rounds("....."));
    world.rounds.insert(TargetId(2), rounds("..!!!"));
    let opened = world.evaluate(Some(40), &[], 45);
    assert!(matches!(opened.as_slice(), [Decision::Open { target: Some(TargetId(2)), .. }]));
    assert_eq!(world.evaluate(Some(40), &[], 339), []);
    let decisions = world.evaluate(Some(40), &[], 340);
    assert!(matches!(
        decisions.as_slice(),
        [Decision::Open { kind: IncidentKind::AgentSilent, target: None, .. }]
    ));
    assert_eq!(world.open.len(), 2, "the device's incident neither closed nor multiplied");
    let back = world.evaluate(Some(400), &[], 400);
    assert!(matches!(back.as_slice(), [Decision::Close { incident: IncidentId(2), .. }]));
}

#[test]
fn a_site_without_an_agent_is_never_silent() {
    let mut world = World::new(vec![target(1, Role::Gateway, None)]);
    assert_eq!(world.evaluate(None, &[], 10_000), []);
}

#[test]
fn a_router_that_never_answered_is_not_broken_but_a_declared_device_is() {
    let mut world = World::new(vec![target(1, Role::Hop, None), target(2, Role::Equipment, None)]);
    world.rounds.insert(TargetId(1), rounds("!!!!"));
    world.rounds.insert(TargetId(2), rounds("!!!!"));
    let decisions = world.evaluate(Some(30), &[], 31);
    assert!(matches!(decisions.as_slice(), [Decision::Open { target: Some(TargetId(2)), .. }]));
    world.answered.insert(TargetId(1));
    let decisions = world.evaluate(Some(30), &[], 31);
    assert!(matches!(decisions.as_slice(), [Decision::Open { target: Some(TargetId(1)), .. }]));
}

#[test]
fn a_withdrawn_target_closes_its_incident_without_claiming_a_repair() {
    let mut world = World::new(vec![target(1, Role::Equipment, None)]);
    world.rounds.insert(TargetId(1), rounds("!!!"));
    world.evaluate(Some(20), &[], 21);
    world.targets[0].active = false;
    let decisions = world.evaluate(Some(20), &[], 25);
    let [Decision::Close { evidence, .. }] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!(evidence[0], "Retiré de la supervision : état non mesuré");
}

#[test]
fn a_gateway_that_another_took_the_place_of_was_not_withdrawn_by_anybody() {
    let mut world = World::new(vec![target(1, Role::Gateway, None)]);
    world.ladder.insert(TargetId(1));
    world.rounds.insert(TargetId(1), rounds(".!!"));
    assert_eq!(world.evaluate(Some(20), &[], 21).len(), 1);
    world.targets[0].active = false;
    world.targets.push(target(2, Role::Gateway, None));
    let decisions = world.evaluate(Some(20), &[], 25);
    let [Decision::Close { evidence, .. }] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!(evidence[0], "N'est plus sur le chemin que voit l'agent : état non mesuré");
}

#[test]
fn the_silence_of_an_agent_that_was_revoked_ends_with_its_own_words() {
    let mut world = World::new(vec![]);
    assert_eq!(world.evaluate(Some(0), &[], 400).len(), 1);
    let decisions = world.evaluate(None, &[], 500);
    let [Decision::Close { evidence, .. }] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert!(evidence[0].starts_with("L'établissement n'a plus d'agent"), "{evidence:?}");
}

#[test]
fn the_name_that_a_device_gives_to_a_part_is_never_taken_for_another_ones_incident() {
    let mut world = World::new(vec![target(1, Role::Host, None)]);
    let rules = rules::defaults();
    let firing = |instance: &str| Firing {
        rule: &rules[0],
        target: TargetId(1),
        instance: instance.to_owned(),
        since: at(0),
        reading: 0.934,
    };
    assert_eq!(world.evaluate(Some(60), &[firing("/mnt@5")], 61).len(), 1);
    assert_eq!(world.evaluate(Some(60), &[firing("/mnt@5"), firing("/mnt")], 62).len(), 1);
    assert_eq!(open_of(&world.open, &threshold_cause(&rules[0], TargetId(1), "/")), None);
}

#[test]
fn a_passed_threshold_is_told_once_per_instance() {
    let mut world = World::new(vec![target(1, Role::Host, None)]);
    let rules = rules::defaults();
    let firing = |instance: &str| Firing {
        rule: &rules[0],
        target: TargetId(1),
        instance: instance.to_owned(),
        since: at(0),
        reading: 0.934,
    };
    let decisions = world.evaluate(Some(60), &[firing("/"), firing("/var")], 61);
    let titles: Vec<_> = world.open.iter().map(|incident| incident.title.as_str()).collect();
    assert_eq!(decisions.len(), 2);
    assert_eq!(
        titles,
        [
            "Occupation du disque : 93,4 % (/, t1 (10.0.0.1))",
            "Occupation du disque : 93,4 % (/var, t1 (10.0.0.1))"
        ]
    );
    assert_eq!(world.evaluate(Some(70), &[firing("/"), firing("/var")], 71), []);
}

#[test]
fn a_restart_of_the_collector_neither_ends_nor_begins_a_silence() {
    let mut world = World::new(vec![target(1, Role::Gateway, None)]);
    assert_eq!(world.evaluate(Some(0), &[], 400).len(), 1);
    world.settled = false;
    assert_eq!(world.evaluate(Some(0), &[], 500), [], "nobody was heard: it goes on");
    world.open.clear();
    assert_eq!(world.evaluate(Some(0), &[], 500), [], "agents are still coming back");
    world.settled = true;
    assert_eq!(world.evaluate(Some(0), &[], 800).len(), 1);
}

#[test]
fn a_threshold_on_a_target_that_is_down_is_not_told_beside_it() {
    let mut world = World::new(vec![target(1, Role::Gateway, None)]);
    world.rounds.insert(TargetId(1), rounds("..!!!"));
    let rules = rules::defaults();
    let loss = Firing {
        rule: &rules[3],
        target: TargetId(1),
        instance: String::new(),
        since: at(0),
        reading: 1.0,
    };
    let decisions = world.evaluate(Some(40), &[loss], 41);
    assert_eq!(decisions.len(), 1);
    assert_eq!(world.open[0].kind, IncidentKind::TargetDown);
}
