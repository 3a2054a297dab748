use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proto::v1::{HostProbe, Metric, group::Probe};

use super::{probation::PROBATION, *};
use crate::{
    clock::{Clock, SystemClock},
    probe::BuildError,
    schedule::runner::{Builder, Shared, Sink},
};

/// Memory that a plan may make this agent use, bytes.
const LIMIT: u64 = 96 << 20;

/// A plan of one group; the test's agent can not build group 13.
fn config(version: u64, group: u32) -> v1::Config {
    let column = v1::Column { metric: Metric::Uptime.into(), ..v1::Column::default() };
    let group = v1::Group {
        id: group,
        layout: 1,
        period_ms: 60_000,
        timeout_ms: 1_000,
        columns: vec![column],
        probe: Some(Probe::Host(HostProbe {})),
    };
    let references = vec!["192.0.2.1".to_owned()];
    v1::Config { version, groups: vec![group], references, ..v1::Config::default() }
}

struct Office {
    dir: tempfile::TempDir,
    built: Arc<AtomicU32>,
}

impl Office {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), built: Arc::default() }
    }

    fn store(&self) -> PlanStore {
        PlanStore::new(self.dir.path())
    }

    fn open(&self) -> (Desk, watch::Receiver<PlanState>) {
        let built = Arc::clone(&self.built);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let metrics = Arc::new(Metrics::new());
        let env =
            crate::probe::Env::new(Arc::clone(&clock), crate::probe::allow::AllowList::default());
        let build: Builder = Box::new(move |group| {
            built.fetch_add(1, Relaxed);
            if group.id == 13 {
                return Err(BuildError::Name("thirteen".to_owned()));
            }
            crate::probe::build(group, &env)
        });
        let sink: Sink = Box::new(|_| Ok(()));
        let shared = Shared::new(clock, Arc::clone(&metrics), [1; 16], (build, sink), (1, 1_000));
        let (state, told) = watch::channel(PlanState::default());
        let mut desk = Desk::new(self.store(), Runner::new(shared), state, metrics, LIMIT);
        desk.health = |metrics| Health { memory: Some(LIMIT), ..Health::now(metrics) };
        desk.metrics.connected.set(1);
        (desk, told)
    }
}

/// What care comes to at the end of a probation.
async fn judged(desk: &mut Desk) {
    tokio::time::advance(PROBATION).await;
    desk.care();
}

fn reason(state: &watch::Receiver<PlanState>) -> String {
    state.borrow().report.as_ref().unwrap().reason.clone()
}

fn told(state: &watch::Receiver<PlanState>) -> (u64, Option<(u64, bool)>) {
    let state = state.borrow();
    let report = state.report.as_ref().map(|report| (report.version, report.applied));
    (state.applied, report)
}

#[tokio::test]
async fn a_plan_is_applied_reported_and_on_probation() {
    let office = Office::new();
    let (mut desk, state) = office.open();
    assert_eq!(told(&state), (0, None));
    desk.offer(&config(1, 1));
    assert_eq!(told(&state), (1, Some((1, true))));
    assert_eq!(*desk.references().borrow(), ["192.0.2.1"]);
    let kept = office.store().load().unwrap();
    assert_eq!((kept.good, kept.next.unwrap().version), (None, 1));
}

#[tokio::test]
async fn the_same_plan_again_is_reported_and_disturbs_nothing() {
    let office = Office::new();
    let (mut desk, state) = office.open();
    desk.offer(&config(1, 1));
    desk.offer(&config(1, 1));
    assert_eq!(office.built.load(Relaxed), 1);
    assert_eq!(told(&state), (1, Some((1, true))));
}

#[tokio::test]
async fn a_refused_plan_leaves_the_one_in_force_on_and_on_the_disk() {
    let office = Office::new();
    office.store().keep(&config(1, 1)).unwrap();
    let (mut desk, state) = office.open();
    assert_eq!(told(&state), (1, None));
    for bad in [config(2, 13), v1::Config { groups: vec![v1::Group::default()], ..config(2, 1) }] {
        desk.offer(&bad);
        assert_eq!(told(&state), (1, Some((2, false))));
        let kept = office.store().load().unwrap();
        assert_eq!((kept.good.unwrap().version, kept.next), (1, None));
    }
    // While another is on probation, that one stays on probation.
    desk.offer(&config(3, 3));
    desk.offer(&config(4, 13));
    assert_eq!(told(&state), (3, Some((4, false))));
    assert_eq!(office.store().load().unwrap().next.unwrap().version, 3);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_lived_two_minutes_is_the_good_one() {
    let office = Office::new();
    let (mut desk, _state) = office.open();
    desk.offer(&config(1, 1));
    desk.care();
    assert!(office.store().load().unwrap().good.is_none());
    judged(&mut desk).await;
    let kept = office.store().load().unwrap();
    assert_eq!((kept.good.unwrap().version, kept.next), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_takes_too_much_memory_is_given_up_for_the_good_one() {
    let office = Office::new();
    office.store().keep(&config(1, 1)).unwrap();
    let (mut desk, state) = office.open();
    desk.offer(&config(2, 2));
    desk.health = |metrics| Health { memory: Some(LIMIT + 1), ..Health::now(metrics) };
    desk.care();
    assert_eq!(told(&state), (1, Some((2, false))));
    let text = "the agent used 97 MiB of memory with it, and may use 96 MiB";
    assert_eq!(reason(&state), text);
    let kept = office.store().load().unwrap();
    assert_eq!((kept.good.unwrap().version, kept.next), (1, None));
    // Not in this process again, but another may do better.
    desk.offer(&config(2, 2));
    assert_eq!((told(&state), reason(&state).as_str()), ((1, Some((2, false))), text));
    desk.health = |metrics| Health { memory: Some(LIMIT), ..Health::now(metrics) };
    desk.offer(&config(3, 2));
    judged(&mut desk).await;
    assert_eq!(told(&state), (3, Some((3, true))));
    assert_eq!(office.store().good().unwrap().version, 3);
}

#[tokio::test(start_paused = true)]
async fn memory_that_was_used_before_is_not_the_plans_doing() {
    let office = Office::new();
    let (mut desk, state) = office.open();
    desk.health = |metrics| Health { memory: Some(2 * LIMIT), ..Health::now(metrics) };
    desk.offer(&config(1, 1));
    judged(&mut desk).await;
    assert_eq!(told(&state), (1, Some((1, true))));
    assert_eq!(office.store().good().unwrap().version, 1);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_overloads_the_agent_is_given_up_even_for_none() {
    let office = Office::new();
    let (mut desk, state) = office.open();
    let overload = crate::metrics::Cause { cause: "overload" };
    let miss = |desk: &Desk, rounds| {
        desk.metrics.rounds_missed.get_or_create(&overload).inc_by(rounds);
    };
    // What was missed before counts for nothing.
    miss(&desk, 1_000);
    desk.offer(&config(1, 1));
    miss(&desk, 3);
    desk.care();
    assert_eq!(told(&state), (1, Some((1, true))));
    miss(&desk, 1);
    desk.care();
    assert_eq!(told(&state), (0, Some((1, false))));
    assert_eq!(reason(&state), "the agent missed 4 rounds for overload with it, and may miss 3");
    assert_eq!(desk.metrics.plan_groups.get(), 0);
    assert_eq!(office.store().load().unwrap(), super::super::plans::Kept::default());
}

#[tokio::test(start_paused = true)]
async fn of_many_rounds_a_tenth_may_be_missed() {
    let office = Office::new();
    let (mut desk, state) = office.open();
    let mut often = config(1, 1);
    often.groups[0].period_ms = 2_000;
    desk.offer(&often);
    // 60 rounds are due in two minutes.
    let missed = desk.metrics.rounds_missed.clone();
    let overload = crate::metrics::Cause { cause: "overload" };
    missed.get_or_create(&overload).inc_by(6);
    desk.care();
    assert_eq!(told(&state), (1, Some((1, true))));
    missed.get_or_create(&overload).inc();
    desk.care();
    assert_eq!(told(&state), (0, Some((1, false))));
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_not_good_before_the_collector_is_reached_and_a_cycle_is_over() {
    let office = Office::new();
    let (mut desk, _state) = office.open();
    let mut slow = config(1, 1);
    slow.groups[0].period_ms = 300_000;
    desk.offer(&slow);
    desk.metrics.connected.set(0);
    judged(&mut desk).await;
    desk.metrics.connected.set(1);
    desk.care();
    assert!(office.store().good().is_none(), "two minutes of a cycle of five");
    desk.metrics.connected.set(0);
    judged(&mut desk).await;
    judged(&mut desk).await;
    assert!(office.store().good().is_none(), "no collector");
    desk.metrics.connected.set(1);
    desk.health = |metrics| Health { memory: None, ..Health::now(metrics) };
    desk.care();
    assert!(office.store().good().is_none(), "memory is not known");
    desk.health = |metrics| Health { memory: Some(LIMIT), ..Health::now(metrics) };
    desk.care();
    assert_eq!(office.store().good().unwrap().version, 1);
}

#[tokio::test]
async fn a_plan_that_kills_the_agent_is_given_up_and_told() {
    let office = Office::new();
    office.store().keep(&config(1, 1)).unwrap();
    office.store().try_out(&config(2, 2)).unwrap();
    for _ in 1..super::super::plans::MAX_TRIES {
        // Dropped without a stop: the process died.
        let (_desk, state) = office.open();
        assert_eq!(told(&state), (2, None));
    }
    let (mut desk, state) = office.open();
    assert_eq!(told(&state), (1, Some((2, false))));
    desk.offer(&config(2, 2));
    assert_eq!(told(&state), (1, Some((2, false))), "not in this process again");
    desk.offer(&config(3, 2));
    assert_eq!(told(&state), (3, Some((3, true))));
}

#[tokio::test]
async fn a_stop_during_probation_is_not_the_plans_fault() {
    let office = Office::new();
    let (mut desk, _state) = office.open();
    desk.offer(&config(1, 1));
    desk.stop().await;
    for _ in 0..2 * super::super::plans::MAX_TRIES {
        let (mut desk, state) = office.open();
        assert_eq!(told(&state), (1, None));
        desk.stop().await;
    }
}
