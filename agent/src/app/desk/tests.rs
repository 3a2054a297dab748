use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proto::v1::{HostProbe, Metric, group::Probe};

use super::*;
use crate::{
    clock::{Clock, SystemClock},
    probe::BuildError,
    schedule::runner::{Builder, Shared, Sink},
};

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
    v1::Config { version, groups: vec![group], references: vec!["192.0.2.1".to_owned()] }
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
        (Desk::new(self.store(), Runner::new(shared), state, metrics), told)
    }
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
    tokio::time::advance(PROBATION).await;
    desk.care();
    let kept = office.store().load().unwrap();
    assert_eq!((kept.good.unwrap().version, kept.next), (1, None));
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
