use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use prost::Message as _;
use proto::v1;

use super::*;
use crate::plan::{Column, Metric, ProbeKind};

mod devices;

const S: u64 = 1_000_000_000;

/// Moves with tokio's paused time, and by `asleep` while the machine "sleeps".
struct TestClock {
    start: Instant,
    asleep: AtomicU64,
}

impl Clock for TestClock {
    fn boot_ns(&self) -> u64 {
        100 * S + ns(self.start.elapsed()) + self.asleep.load(Relaxed)
    }
    fn wall_ns(&self) -> i64 {
        i64::try_from(self.boot_ns()).unwrap() + 1_000
    }
    fn boot_tag(&self) -> u32 {
        9
    }
}

/// What the test's probe does in each round.
#[derive(Clone, Copy)]
enum Act {
    Answer,
    /// As [`Act::Answer`], with another outcome than 0.
    Fail,
    Change,
    Find,
    Hang,
    Panic,
}

struct Scripted {
    clock: Arc<TestClock>,
    act: Arc<dyn Fn(u32) -> Act + Send + Sync>,
    round: Arc<AtomicU32>,
}

#[async_trait]
impl Probe for Scripted {
    async fn round(&mut self) -> Result<Round, crate::probe::ProbeError> {
        let boot_ns = self.clock.boot_ns();
        let act = (self.act)(self.round.fetch_add(1, Relaxed));
        match act {
            Act::Hang => std::future::pending().await,
            Act::Panic => panic!("as scripted\u{1b}[2J"),
            Act::Answer | Act::Fail | Act::Change | Act::Find => {}
        }
        let changed = matches!(act, Act::Change);
        let found = Event::ClockStep(v1::ClockStep { step_ns: 7 });
        let events = if matches!(act, Act::Find) { vec![found] } else { Vec::new() };
        let outcome = i64::from(matches!(act, Act::Fail));
        Ok(Round { boot_ns, cells: vec![Some(outcome)], changed, events })
    }
}

fn group(id: u32, period_s: u64) -> Group {
    let column = Column { target: 0, metric: Metric::Uptime, instance: 0, label: String::new() };
    Group {
        id,
        layout: 1,
        period: Duration::from_secs(period_s),
        timeout: Duration::from_millis(400),
        probe: ProbeKind::Host,
        columns: vec![column],
    }
}

fn plan(version: u64, groups: Vec<Group>) -> Plan {
    Plan { version, groups, ..Plan::default() }
}

struct Bench {
    clock: Arc<TestClock>,
    metrics: Arc<Metrics>,
    records: Arc<Mutex<Vec<NewRecord>>>,
    built: Arc<AtomicU32>,
    runner: Runner,
}

impl Bench {
    /// `act(group, round)` scripts each group's rounds, numbered over rebuilt probes.
    fn new(act: impl Fn(u32, u32) -> Act + Send + Sync + 'static) -> Self {
        Self::refusing(act, |_| None)
    }

    /// As [`Self::new`], with a spool that says `refuse` of each record.
    fn refusing(
        act: impl Fn(u32, u32) -> Act + Send + Sync + 'static,
        refuse: impl Fn(&NewRecord) -> Option<SpoolError> + Send + Sync + 'static,
    ) -> Self {
        Self::within(act, refuse, (64, 1_000))
    }

    /// As [`Self::refusing`], for so many devices and packets a second.
    fn within(
        act: impl Fn(u32, u32) -> Act + Send + Sync + 'static,
        refuse: impl Fn(&NewRecord) -> Option<SpoolError> + Send + Sync + 'static,
        limits: (usize, u32),
    ) -> Self {
        let clock = Arc::new(TestClock { start: Instant::now(), asleep: AtomicU64::new(0) });
        let metrics = Arc::new(Metrics::new());
        let records = Arc::new(Mutex::new(Vec::new()));
        let built = Arc::new(AtomicU32::new(0));
        let act = Arc::new(act);
        let rounds = Mutex::new(HashMap::<u32, Arc<AtomicU32>>::new());
        let (probe_clock, count) = (Arc::clone(&clock), Arc::clone(&built));
        let build: Builder = Box::new(move |group| {
            count.fetch_add(1, Relaxed);
            let round = Arc::clone(rounds.lock().unwrap().entry(group.id).or_default());
            let (id, act, clock) = (group.id, Arc::clone(&act), Arc::clone(&probe_clock));
            Ok(Box::new(Scripted { clock, act: Arc::new(move |n| act(id, n)), round }))
        });
        let kept = Arc::clone(&records);
        let sink: Sink = Box::new(move |record| {
            if let Some(error) = refuse(&record) {
                return Err(error);
            }
            kept.lock().unwrap().push(record);
            Ok(())
        });
        let (shared_clock, shared_metrics) = (Arc::clone(&clock), Arc::clone(&metrics));
        let shared = Shared::new(shared_clock, shared_metrics, [1; 16], (build, sink), limits);
        Self { clock, metrics, records, built, runner: Runner::new(shared) }
    }

    fn samples(&self, id: u32) -> Vec<NewRecord> {
        let records = self.records.lock().unwrap();
        let mine = |record: &&NewRecord| {
            record.kind == proto::KIND_SAMPLES
                && proto::samples::header(&record.payload).unwrap().group == id
        };
        records.iter().filter(mine).cloned().collect()
    }

    fn gaps(&self) -> Vec<Gap> {
        self.runner.declare();
        let records = self.records.lock().unwrap();
        let events = records.iter().filter(|record| record.kind == proto::KIND_EVENT);
        events
            .filter_map(|record| match v1::Event::decode(&*record.payload).unwrap().event {
                Some(Event::Gap(gap)) => Some(gap),
                _ => None,
            })
            .collect()
    }

    async fn pass(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_group_keeps_its_period() {
    let mut bench = Bench::new(|_, _| Act::Answer);
    bench.runner.apply(plan(1, vec![group(1, 1), group(2, 10)])).unwrap();
    bench.pass(100).await;
    assert!((98..=101).contains(&bench.samples(1).len()));
    assert!((10..=11).contains(&bench.samples(2).len()));
    assert_eq!(bench.gaps(), []);
}

#[tokio::test(start_paused = true)]
async fn one_hanging_group_delays_no_other_and_is_declared() {
    let mut bench = Bench::new(|group, _| if group == 1 { Act::Hang } else { Act::Answer });
    bench.runner.apply(plan(1, vec![group(1, 10), group(2, 10)])).unwrap();
    bench.pass(60).await;
    assert_eq!(bench.samples(1).len(), 0);
    assert!((6..=7).contains(&bench.samples(2).len()));
    let gaps = bench.gaps();
    let rounds: u64 = gaps.iter().map(|gap| gap.rounds).sum();
    assert!((6..=7).contains(&rounds));
    assert!(gaps.iter().all(|gap| gap.group == 1 && gap.reason() == GapReason::GapOverload));
    assert_eq!(bench.metrics.missed(), rounds);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_contained_declared_and_tried_again_ever_more_rarely() {
    let mut bench =
        Bench::new(|group, n| if group == 1 && n < 4 { Act::Panic } else { Act::Answer });
    bench.runner.apply(plan(1, vec![group(1, 10), group(2, 10)])).unwrap();
    bench.pass(60).await;
    assert_eq!(bench.samples(1).len(), 0);
    assert!((6..=7).contains(&bench.samples(2).len()));
    // 10 + 20 + 40 + 80 s of rest, and then it answers.
    bench.pass(300).await;
    assert!(bench.samples(1).len() > 5);
    let gaps = bench.gaps();
    assert!(gaps.iter().all(|gap| gap.group == 1));
    assert!(gaps.iter().all(|gap| gap.reason() == GapReason::GapDeviceSkipped));
    // Four panics and the 15 or so rounds of the rests, of which each end may fall on a round.
    let missed = gaps.iter().map(|gap| gap.rounds).sum::<u64>();
    assert!((4 + 11..=4 + 15).contains(&missed), "{gaps:?}");
    assert_eq!(bench.metrics.missed(), missed);
    // No round of the six minutes is neither measured nor declared.
    let rounds = missed + bench.samples(1).len() as u64;
    assert!((36..=37).contains(&rounds), "{rounds} rounds, {gaps:?}");
    // The stretches have no holes where a rest was.
    let first = bench.samples(1)[0].boot_ns;
    let upto = gaps.iter().map(|gap| gap.to_boot_ns).max().unwrap();
    assert!(first - upto <= 20 * S, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_a_new_plan_ends_declares_what_it_cost_and_no_more() {
    let mut bench = Bench::new(|_, n| if n < 3 { Act::Panic } else { Act::Answer });
    bench.runner.apply(plan(1, vec![group(1, 10)])).unwrap();
    // Within the third rest, which is of 40 s.
    bench.pass(60).await;
    let mut changed = group(1, 10);
    changed.layout = 2;
    bench.runner.apply(plan(2, vec![changed])).unwrap();
    let now = bench.clock.boot_ns();
    let gaps = bench.gaps();
    let missed = gaps.iter().map(|gap| gap.rounds).sum::<u64>();
    assert!((6..=7).contains(&missed), "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap.to_boot_ns <= now), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_confirmed_after_three_and_six_seconds_at_once_on_the_disk() {
    let mut bench = Bench::new(|_, n| if n == 2 { Act::Change } else { Act::Answer });
    bench.runner.apply(plan(1, vec![group(1, 60)])).unwrap();
    bench.pass(240).await;
    let samples = bench.samples(1);
    let urgent: Vec<bool> = samples.iter().map(|record| record.urgent).collect();
    assert_eq!(urgent[..5], [false, false, true, true, true]);
    assert!(urgent[5..].iter().all(|urgent| !urgent));
    let at = |n: usize| samples[n].boot_ns;
    assert_eq!(at(3) - at(2), 3 * S);
    assert_eq!(at(4) - at(3), 3 * S);
    assert_eq!(at(5) - at(2), 60 * S);
}

#[tokio::test(start_paused = true)]
async fn a_sleep_of_the_machine_is_declared_once_and_nothing_is_bunched() {
    let mut bench = Bench::new(|_, _| Act::Answer);
    bench.runner.apply(plan(1, vec![group(1, 10), group(2, 10)])).unwrap();
    bench.pass(35).await;
    let before = bench.samples(1).len();
    bench.clock.asleep.fetch_add(8 * 3_600 * S, Relaxed);
    bench.pass(35).await;
    assert!(bench.samples(1).len() - before <= 5);
    let gaps = bench.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((gaps[0].reason(), gaps[0].group), (GapReason::GapSuspended, 0));
    assert!((2 * 2_878..=2 * 2_880).contains(&gaps[0].rounds), "{}", gaps[0].rounds);
    assert_eq!(gaps[0].from_wall_ns, i64::try_from(gaps[0].from_boot_ns).unwrap() + 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_new_plan_leaves_unchanged_groups_alone() {
    let mut bench = Bench::new(|_, _| Act::Answer);
    bench.runner.apply(plan(1, vec![group(1, 10), group(2, 10), group(3, 10)])).unwrap();
    assert_eq!(bench.built.load(Relaxed), 3);
    bench.pass(30).await;
    let mut changed = group(2, 10);
    changed.layout = 2;
    bench.runner.apply(plan(2, vec![group(1, 10), changed])).unwrap();
    assert_eq!(bench.built.load(Relaxed), 4);
    let (one, three) = (bench.samples(1), bench.samples(3).len());
    bench.pass(30).await;
    assert_eq!(bench.samples(3).len(), three, "a removed group is measured no more");
    let samples = bench.samples(1);
    let last = one.last().unwrap().boot_ns;
    assert_eq!(samples[one.len()].boot_ns - last, 10 * S, "its period is undisturbed");
    assert_eq!(bench.metrics.plan_version.get(), 2);
    assert_eq!(bench.metrics.plan_groups.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_can_not_be_built_changes_nothing() {
    let mut bench = Bench::new(|_, _| Act::Answer);
    bench.runner.apply(plan(1, vec![group(1, 10)])).unwrap();
    let shared = Arc::get_mut(&mut bench.runner.shared);
    assert!(shared.is_none(), "the group's task holds it");
    let refuse: Builder = Box::new(|_| Err(BuildError::Name("anything".to_owned())));
    let sink: Sink = Box::new(|_| Ok(()));
    let clock: Arc<dyn Clock> = bench.clock.clone();
    let shared = Shared::new(clock, Arc::clone(&bench.metrics), [1; 16], (refuse, sink), (1, 1));
    let mut other = Runner::new(shared);
    let error = other.apply(plan(5, vec![group(4, 10)])).unwrap_err();
    assert!(error.to_string().starts_with("group 4: "), "{error}");
    assert!(other.running.is_empty());
    bench.pass(30).await;
    assert!(bench.samples(1).len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_is_declared_when_there_is_room_again() {
    let room = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clock = Arc::new(TestClock { start: Instant::now(), asleep: AtomicU64::new(0) });
    let (probe_clock, is_room) = (Arc::clone(&clock), Arc::clone(&room));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&kept);
    let build: Builder = Box::new(move |_| {
        let (clock, round) = (Arc::clone(&probe_clock), Arc::default());
        Ok(Box::new(Scripted { clock, act: Arc::new(|_| Act::Answer), round }))
    });
    let sink: Sink = Box::new(move |record| {
        if !is_room.load(Relaxed) {
            return Err(SpoolError::Full);
        }
        into.lock().unwrap().push(record);
        Ok(())
    });
    let metrics = Arc::new(Metrics::new());
    let shared = Shared::new(clock, Arc::clone(&metrics), [1; 16], (build, sink), (1, 1_000));
    let mut runner = Runner::new(shared);
    runner.apply(plan(1, vec![group(1, 10)])).unwrap();
    sleep(Duration::from_secs(25)).await;
    runner.declare();
    room.store(true, Relaxed);
    runner.declare();
    let events = kept.lock().unwrap().len();
    assert!(events >= 2, "{events}");
    assert!(metrics.records_refused.get() >= 4);
}

/// A group whose rounds may take half a minute.
fn patient(id: u32) -> Group {
    Group { timeout: Duration::from_secs(15), ..group(id, 60) }
}

#[tokio::test(start_paused = true)]
async fn a_round_that_a_new_plan_breaks_off_is_declared() {
    let mut bench = Bench::new(|_, _| Act::Hang);
    bench.runner.apply(plan(1, vec![patient(1), patient(2)])).unwrap();
    // The first rounds begin within 3 s.
    bench.pass(5).await;
    assert_eq!(bench.gaps(), [], "the rounds are still in flight");
    // Group 1 changes, group 2 goes.
    let mut changed = patient(1);
    changed.layout = 2;
    bench.runner.apply(plan(2, vec![changed])).unwrap();
    bench.pass(1).await;
    let gaps = bench.gaps();
    let told: Vec<_> = gaps.iter().map(|gap| (gap.group, gap.reason(), gap.rounds)).collect();
    assert_eq!(told.len(), 2, "{gaps:?}");
    for id in [1, 2] {
        assert!(told.contains(&(id, GapReason::GapConfigOff, 1)), "{gaps:?}");
    }
    assert_eq!(bench.metrics.missed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_round_in_flight_at_the_stop_is_declared_before_it_ends() {
    let mut bench = Bench::new(|_, _| Act::Hang);
    bench.runner.apply(plan(1, vec![patient(1)])).unwrap();
    bench.pass(5).await;
    assert_eq!(bench.records.lock().unwrap().len(), 0);
    bench.runner.stop().await;
    assert_eq!(bench.records.lock().unwrap().len(), 1, "told by the stop itself");
    let gaps = bench.gaps();
    assert_eq!((gaps[0].group, gaps[0].reason()), (1, GapReason::GapStopped));
}

#[tokio::test(start_paused = true)]
async fn a_group_begins_when_its_former_task_has_ended() {
    let mut bench = Bench::new(|_, _| Act::Answer);
    let turn = Arc::clone(bench.runner.turns.entry(1).or_default());
    let former = turn.lock_owned().await;
    bench.runner.apply(plan(1, vec![group(1, 10), group(2, 10)])).unwrap();
    bench.pass(60).await;
    assert_eq!((bench.samples(1).len(), bench.samples(2).len() > 5), (0, true));
    drop(former);
    bench.pass(60).await;
    assert!(bench.samples(1).len() > 5);
}

#[tokio::test(start_paused = true)]
async fn a_finding_waits_for_room_and_its_round_is_not_called_missing() {
    let room = Arc::new(AtomicBool::new(false));
    let is_room = Arc::clone(&room);
    let mut bench = Bench::refusing(
        |_, n| if n == 1 { Act::Find } else { Act::Answer },
        move |record| {
            let refused = record.kind == proto::KIND_EVENT && !is_room.load(Relaxed);
            refused.then_some(SpoolError::Full)
        },
    );
    bench.runner.apply(plan(1, vec![group(1, 10)])).unwrap();
    bench.pass(60).await;
    assert!(bench.samples(1).len() >= 6);
    assert_eq!(bench.metrics.missed(), 0);
    room.store(true, Relaxed);
    assert_eq!(bench.gaps(), []);
    let events = || {
        let records = bench.records.lock().unwrap();
        records.iter().filter(|record| record.kind == proto::KIND_EVENT).count()
    };
    assert_eq!(events(), 1);
    bench.runner.declare();
    assert_eq!(events(), 1, "it is told once");
    assert_eq!(bench.metrics.events_dropped.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn findings_that_find_no_room_are_bounded_and_counted() {
    let mut bench = Bench::refusing(
        |_, _| Act::Find,
        |record| (record.kind == proto::KIND_EVENT).then_some(SpoolError::Full),
    );
    bench.runner.apply(plan(1, vec![group(1, 1)])).unwrap();
    let rounds = MAX_UNTOLD as u64 + 50;
    bench.pass(rounds).await;
    let dropped = bench.metrics.events_dropped.get();
    assert!((48..=51).contains(&dropped), "{dropped}");
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_no_spool_takes_does_not_stand_in_the_way() {
    let refused = crate::spool::AppendError::Kind;
    let first = AtomicBool::new(true);
    let mut bench = Bench::refusing(
        |_, n| if n < 2 { Act::Find } else { Act::Answer },
        move |record| {
            let mine = record.kind == proto::KIND_EVENT && first.swap(false, Relaxed);
            mine.then_some(SpoolError::Refused(refused))
        },
    );
    bench.runner.apply(plan(1, vec![group(1, 10)])).unwrap();
    bench.pass(60).await;
    assert_eq!(bench.metrics.events_dropped.get(), 1);
    let records = bench.records.lock().unwrap();
    assert_eq!(records.iter().filter(|record| record.kind == proto::KIND_EVENT).count(), 1);
}

/// Asks `targets` for `count` echoes each.
fn echoes(id: u32, period_s: u64, targets: u8, count: u16) -> Group {
    let targets =
        (0..targets).map(|last| std::net::IpAddr::from([10, 0, 0, last]).into()).collect();
    let spacing = Duration::from_millis(100);
    let probe = ProbeKind::Icmp { targets, count, spacing, payload_bytes: 56 };
    Group { probe, ..group(id, period_s) }
}

/// How late the rounds of a group were, at most, and how many there were, from the second on: the
/// first comes soon, the others stand on the period's grid.
fn lateness(bench: &Bench, id: u32, period_s: u64) -> (Duration, usize) {
    let samples = bench.samples(id);
    let late = samples.windows(2).skip(1).map(|two| {
        let apart = two[1].boot_ns - two[0].boot_ns;
        Duration::from_nanos(apart.abs_diff(period_s * S))
    });
    (late.max().unwrap_or_default(), samples.len())
}

#[tokio::test(start_paused = true)]
async fn a_group_of_thousands_of_echoes_delays_no_ladder_and_declares_what_does_not_fit() {
    let mut bench = Bench::within(|_, _| Act::Answer, |_| None, (64, 200));
    // 2,000 echoes each 5 s are twice what may leave.
    let heavy = echoes(1, 5, 200, 10);
    bench.runner.apply(plan(1, vec![heavy, echoes(2, 10, 6, 5), echoes(3, 10, 1, 5)])).unwrap();
    bench.pass(200).await;
    for ladder in [2, 3] {
        let (late, rounds) = lateness(&bench, ladder, 10);
        assert!(late <= Duration::from_millis(2), "{late:?}");
        assert!((19..=21).contains(&rounds), "{rounds}");
    }
    let gaps = bench.gaps();
    assert!(gaps.iter().all(|gap| gap.group == 1 && gap.reason() == GapReason::GapOverload));
    let missed: u64 = gaps.iter().map(|gap| gap.rounds).sum();
    let run = bench.samples(1).len() as u64;
    assert!((39..=41).contains(&(run + missed)), "{run} run, {missed} missed");
    // 34,000 packets in 200 s are what the others leave.
    assert!((15..=20).contains(&run), "{run} run, {missed} missed");
}

#[tokio::test(start_paused = true)]
async fn large_rounds_take_turns() {
    let mut bench = Bench::within(|_, _| Act::Answer, |_| None, (64, 200));
    bench.runner.apply(plan(1, (1..=4).map(|id| echoes(id, 5, 100, 10)).collect())).unwrap();
    bench.pass(400).await;
    // 80,000 packets for 320,000 that are wanted.
    let runs: Vec<usize> = (1..=4).map(|id| bench.samples(id).len()).collect();
    assert!((76..=84).contains(&runs.iter().sum::<usize>()), "{runs:?}");
    assert!(runs.iter().all(|run| (10..=30).contains(run)), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_round_beyond_all_measure_is_declared_and_not_run() {
    let mut bench = Bench::within(|_, _| Act::Answer, |_| None, (64, 200));
    bench.runner.apply(plan(1, vec![echoes(1, 10, 200, 100), echoes(2, 10, 1, 5)])).unwrap();
    bench.pass(100).await;
    assert_eq!(bench.samples(1).len(), 0);
    assert!(bench.samples(2).len() >= 10);
    let rounds: u64 = bench.gaps().iter().map(|gap| gap.rounds).sum();
    assert!((10..=11).contains(&rounds), "{rounds}");
}

#[tokio::test(start_paused = true)]
async fn the_rounds_tell_when_the_collector_answers_again() {
    let mut bench = Bench::new(|_, n| if (3..6).contains(&n) { Act::Fail } else { Act::Answer });
    let (answered, answers) = watch::channel(0);
    let shared = Arc::get_mut(&mut bench.runner.shared).unwrap();
    shared.collector = Some(("collecte.example.fr:7443".to_owned(), answered));
    let mut rung = group(1, 10);
    rung.probe = ProbeKind::Tcp { targets: vec!["collecte.example.fr:7443".to_owned()] };
    rung.columns[0].metric = Metric::TcpOutcome;
    bench.runner.apply(plan(1, vec![rung])).unwrap();
    let told_at = |rounds: usize| {
        let (bench, answers) = (&bench, &answers);
        async move {
            while bench.samples(1).len() < rounds {
                sleep(Duration::from_millis(100)).await;
            }
            *answers.borrow()
        }
    };
    assert_eq!(told_at(6).await, 0, "down is not news for the uplink");
    assert_eq!(told_at(7).await, 1);
    assert_eq!(told_at(12).await, 1);
}

#[tokio::test(start_paused = true)]
async fn devices_that_hang_take_turns_when_places_are_rare() {
    let begun: Arc<[AtomicU32; 8]> = Arc::default();
    let count = Arc::clone(&begun);
    let act = move |id: u32, _| {
        count[id as usize].fetch_add(1, Relaxed);
        Act::Hang
    };
    let mut bench = Bench::within(act, |_| None, (2, 1_000));
    let device = |id| {
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], 161));
        let credentials = crate::snmp::Credentials::v2c("public");
        let probe = ProbeKind::Snmp { address, credentials, max_repetitions: 20 };
        Group { probe, timeout: Duration::from_secs(2), ..group(id, 6) }
    };
    bench.runner.apply(plan(1, (0..8).map(device).collect())).unwrap();
    bench.pass(2_400).await;
    // One place for those that are slow, which each gives up after 5 s.
    let begun: Vec<u32> = begun.iter().map(|count| count.load(Relaxed)).collect();
    assert!((400..=500).contains(&begun.iter().sum::<u32>()), "{begun:?}");
    assert!(begun.iter().all(|count| *count >= 50), "{begun:?}");
    let rounds: u64 = bench.gaps().iter().map(|gap| gap.rounds).sum();
    assert!((8 * 398..=8 * 401).contains(&rounds), "{rounds}");
}
