//! Runs the rounds: one task a group, so that one slow target never delays another.

mod round;

use std::{
    any::Any,
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto::v1::{Gap, GapReason, event::Event};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use self::round::{Failure, place, round};

use super::{Budget, Missed, Stretch, Tick, Timetable, line::Line, ns, slots::Slots};
use crate::{
    clock::Clock,
    logs::chain,
    metrics::{Cause, Metrics},
    plan::{Group, Plan},
    platform::alarm::Alarm,
    probe::{BuildError, Probe, Round},
    spool::{NewRecord, worker::SpoolError},
    wire,
};

/// Longest sleep in one go: after the machine slept, the boot clock is looked at again within it.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// A sleep of the machine shorter than this is not told from a slow wake-up.
const SUSPENDED: Duration = Duration::from_secs(2);
/// Longest rest of a group whose probe panics.
const MAX_REST: Duration = Duration::from_mins(15);
/// Longest text of a panic that is logged.
const MAX_PANIC_TEXT: usize = 200;
/// Events that wait for room in the spool.
const MAX_UNTOLD: usize = 256;
/// Their payload, bytes.
const MAX_UNTOLD_BYTES: usize = 4 << 20;
/// Longest wait for the rounds in flight at the stop, so that they are declared.
const STOP_LIMIT: Duration = Duration::from_millis(300);

/// Builds the probe of a group.
pub type Builder = Box<dyn Fn(&Group) -> Result<Box<dyn Probe>, BuildError> + Send + Sync>;
/// Takes a record, or says that it could not.
pub type Sink = Box<dyn Fn(NewRecord) -> Result<(), SpoolError> + Send + Sync>;

/// What all groups share.
pub struct Shared {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Draws the phases.
    pub agent_id: [u8; 16],
    /// Builds probes.
    pub build: Builder,
    /// Takes records.
    pub sink: Sink,
    /// Wakes the groups by the boot clock; without it the runtime's timers do.
    alarm: Option<Alarm>,
    collector: Option<(String, watch::Sender<u64>)>,
    devices: Slots,
    budget: Mutex<Budget>,
    missed: Mutex<Missed>,
    untold: Mutex<Untold>,
    is_stopping: AtomicBool,
}

/// Events that the spool had no room for, the oldest first.
#[derive(Default)]
struct Untold {
    events: VecDeque<NewRecord>,
    bytes: usize,
}

impl Shared {
    /// With at most `snmp_devices` asked at one time and `packets_per_s` sent on average.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        agent_id: [u8; 16],
        (build, sink): (Builder, Sink),
        (snmp_devices, packets_per_s): (usize, u32),
    ) -> Self {
        let budget = Mutex::new(Budget::new(packets_per_s, clock.boot_ns()));
        Self {
            clock,
            metrics,
            agent_id,
            build,
            sink,
            collector: None,
            devices: Slots::new(snmp_devices),
            budget,
            missed: Mutex::default(),
            untold: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            alarm: None,
        }
    }

    /// With a timer of the kernel's, which must go by the same clock.
    #[must_use]
    pub fn woken_by(mut self, alarm: Alarm) -> Self {
        self.alarm = Some(alarm);
        self
    }

    /// Counts in `answers` how often `collector` (`host:port`) answers again, as the rounds tell.
    #[must_use]
    pub fn telling_of(mut self, collector: String, answers: watch::Sender<u64>) -> Self {
        self.collector = Some((collector, answers));
        self
    }

    fn miss(&self, cause: &'static str, stretch: Stretch) {
        self.metrics.rounds_missed.get_or_create(&Cause { cause }).inc_by(stretch.rounds);
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).note(stretch);
    }

    fn tell_back(&self) {
        if let Some((_, answers)) = &self.collector {
            answers.send_modify(|count| *count += 1);
        }
    }

    fn keep(&self, record: NewRecord) -> Result<(), SpoolError> {
        (self.sink)(record).inspect_err(|_| {
            self.metrics.records_refused.inc();
        })
    }

    /// Hands an event over, behind those that still wait for room. Beyond the bound the newest is
    /// dropped, and counted.
    fn tell(&self, event: NewRecord) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = untold.bytes + event.payload.len();
        if untold.events.len() >= MAX_UNTOLD || bytes > MAX_UNTOLD_BYTES {
            self.metrics.events_dropped.inc();
            tracing::error!("an event is dropped: the spool has had no room for long");
        } else {
            untold.bytes = bytes;
            untold.events.push_back(event);
        }
        drop(untold);
        self.tell_waiting();
    }

    /// Hands over the events that wait, as far as there is room.
    fn tell_waiting(&self) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(event) = untold.events.front() {
            match (self.sink)(event.clone()) {
                Ok(()) => {}
                Err(SpoolError::Full | SpoolError::Stopped) => return,
                Err(error @ SpoolError::Refused(_)) => {
                    self.metrics.events_dropped.inc();
                    let error = chain(&error);
                    tracing::error!(error, "an event is dropped");
                }
            }
            untold.bytes -= event.payload.len();
            untold.events.pop_front();
        }
    }

    /// Declares what was missed since the last call.
    fn declare(&self) {
        self.tell_waiting();
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let stretches: Vec<_> = missed.drain().collect();
        drop(missed);
        let (wall, boot) = (i128::from(self.clock.wall_ns()), i128::from(self.clock.boot_ns()));
        let wall_at = |at: u64| i64::try_from(wall - boot + i128::from(at)).unwrap_or(0);
        for stretch in stretches {
            let event = Event::Gap(Gap {
                reason: stretch.reason.into(),
                boot_tag: self.clock.boot_tag(),
                from_boot_ns: stretch.from,
                to_boot_ns: stretch.to,
                from_wall_ns: wall_at(stretch.from),
                to_wall_ns: wall_at(stretch.to),
                group: stretch.group,
                rounds: stretch.rounds,
            });
            if self.keep(wire::event_record(event, &*self.clock)).is_err() {
                // It is declared when there is room again.
                self.missed.lock().unwrap_or_else(PoisonError::into_inner).note(stretch);
            }
        }
    }
}

/// A group of the plan can not be measured by this agent.
#[derive(Debug, thiserror::Error)]
#[error("group {group}: {source}")]
pub struct ApplyError {
    group: u32,
    source: BuildError,
}

/// The running groups. Dropping it stops them.
pub struct Runner {
    shared: Arc<Shared>,
    running: HashMap<u32, (Arc<Group>, JoinHandle<()>)>,
    /// Held by a group's task while it lives, so that two of one group never measure together.
    turns: HashMap<u32, Arc<tokio::sync::Mutex<()>>>,
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.running.values().for_each(|(_, task)| task.abort());
    }
}

impl Runner {
    /// With nothing running.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), running: HashMap::new(), turns: HashMap::new() }
    }

    /// Runs `plan` from now on, or leaves all as it was. Groups that did not change go on
    /// undisturbed.
    pub fn apply(&mut self, plan: Plan) -> Result<(), ApplyError> {
        let mut fresh = Vec::new();
        let mut kept = HashSet::with_capacity(plan.groups.len());
        for group in plan.groups {
            match self.running.get(&group.id) {
                Some((running, _)) if **running == group => {
                    kept.insert(group.id);
                }
                Some(_) | None => {
                    let probe = (self.shared.build)(&group)
                        .map_err(|source| ApplyError { group: group.id, source })?;
                    fresh.push((Arc::new(group), probe));
                }
            }
        }
        self.running.retain(|id, (_, task)| {
            let stays = kept.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
        for (group, probe) in fresh {
            let turn = Arc::clone(self.turns.entry(group.id).or_default());
            let (shared, mine) = (Arc::clone(&self.shared), Arc::clone(&group));
            let task = tokio::spawn(async move {
                // The group's former task ends as soon as it is looked at.
                let _turn = turn.lock_owned().await;
                measure(shared, mine, probe).await;
            });
            self.running.insert(group.id, (group, task));
        }
        // Nobody holds the turn of a group that has gone.
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        self.shared.metrics.plan_version.set(i64::try_from(plan.version).unwrap_or(i64::MAX));
        self.shared.metrics.plan_groups.set(i64::try_from(self.running.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Declares the rounds missed since the last call.
    pub fn declare(&self) {
        self.shared.declare();
    }

    /// Stops every group, and declares what was missed, the rounds in flight included.
    pub async fn stop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        let tasks: Vec<_> = self.running.drain().map(|(_, (_, task))| task).collect();
        tasks.iter().for_each(JoinHandle::abort);
        let late = Instant::now() + STOP_LIMIT;
        for task in tasks {
            // An aborted task ends with an error, which says no more.
            if timeout_at(late, task).await.is_err() {
                tracing::warn!("a group did not stop in time");
                break;
            }
        }
        self.shared.declare();
    }
}

/// A regular round that has begun: when its task is aborted it is declared all the same.
struct InFlight<'a> {
    shared: &'a Shared,
    group: &'a Group,
    started: u64,
    is_over: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (cause, reason) = if self.shared.is_stopping.load(Ordering::Acquire) {
            ("stopped", GapReason::GapStopped)
        } else {
            ("replaced", GapReason::GapConfigOff)
        };
        let ended = self.shared.clock.boot_ns().max(self.started + 1);
        self.shared.miss(cause, stretch(self.group, reason, self.started, ended, 1));
    }
}

/// Measures one group for ever.
async fn measure(shared: Arc<Shared>, group: Arc<Group>, mut probe: Box<dyn Probe>) {
    let clock = Arc::clone(&shared.clock);
    let mut table = Timetable::new(&shared.agent_id, group.id, group.period, clock.boot_ns());
    let mut watch = SleepWatch::new(&*clock);
    let mut line = shared.collector.as_ref().and_then(|(of, _)| Line::of(&group, of));
    let mut is_slow = false;
    let mut waiting = None;
    if !shared.ever_allows(&group) {
        tracing::warn!(group = group.id, "a round is of more packets than may leave: none is run");
    }
    let mut panics = 0_u32;
    // Until when a resting group's rounds are declared.
    let mut rested_upto = 0;
    let mut last_error = None;
    loop {
        let tick = next_tick(&mut table, &shared).await;
        let suspended = watch.slept(&*clock);
        if tick.skipped > 0 {
            let (cause, reason) = if suspended {
                ("suspended", GapReason::GapSuspended)
            } else {
                ("overload", GapReason::GapOverload)
            };
            shared.miss(cause, stretch(&group, reason, tick.skipped_from, tick.due, tick.skipped));
        }
        let started = clock.boot_ns();
        if tick.rests {
            let upto = started.max(rested_upto + 1);
            let reason = GapReason::GapDeviceSkipped;
            shared.miss("panicked", stretch(&group, reason, rested_upto, upto, 1));
            rested_upto = upto;
            continue;
        }
        // A confirmation is one more round; without it none is missing.
        let is_over = tick.confirms;
        let mut in_flight = InFlight { shared: &shared, group: &group, started, is_over };
        let outcome = match place(&shared, &group, &tick, is_slow, &mut waiting).await {
            Some(slot) => round(&shared, &group, &mut *probe, slot, &tick, &mut is_slow).await,
            None => Err(Failure::Overdue),
        };
        in_flight.is_over = true;
        drop(in_flight);
        let ended = clock.boot_ns();
        let failed = |reason| stretch(&group, reason, started, ended.max(started + 1), 1);
        match outcome {
            Ok(found) => {
                panics = 0;
                last_error = None;
                let changed = found.changed && !tick.confirms;
                if line.as_mut().is_some_and(|line| line.is_back(&found.cells)) {
                    shared.tell_back();
                }
                if keep(&shared, &group, found, tick.confirms).is_err() {
                    shared.miss("full", failed(GapReason::GapOverload));
                }
                if changed {
                    table.confirm(ended);
                }
                continue;
            }
            Err(Failure::Overdue) => {
                // Without a confirmation none is missing.
                if !tick.confirms {
                    shared.miss("overload", failed(GapReason::GapOverload));
                }
                continue;
            }
            Err(Failure::Error(error)) => {
                shared.miss("error", failed(GapReason::GapDeviceSkipped));
                // A lasting error is told once.
                let text = chain(&error);
                if last_error.as_ref() != Some(&text) {
                    tracing::warn!(group = group.id, error = text, "a round is not measured");
                    last_error = Some(text);
                }
                continue;
            }
            Err(Failure::Cancelled) => {
                shared.miss("cancelled", failed(GapReason::GapOverload));
                tracing::warn!(group = group.id, "a round took too long and is cancelled");
            }
            Err(Failure::Panicked(panic)) => {
                shared.miss("panicked", failed(GapReason::GapDeviceSkipped));
                let text = panic_text(&*panic);
                tracing::error!(group = group.id, panic = text, "a probe failed in itself");
                let rest = group.period.saturating_mul(1 << panics.min(16)).min(MAX_REST);
                table.back_off(ended.saturating_add(ns(rest)));
                rested_upto = ended.max(started + 1);
                panics += 1;
            }
        }
        // What a broken-off round left behind is not trusted.
        match (shared.build)(&group) {
            Ok(fresh) => probe = fresh,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(group = group.id, error, "the probe is not built anew");
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    text.chars().take(MAX_PANIC_TEXT).collect::<String>().escape_debug().to_string()
}

fn stretch(group: &Group, reason: GapReason, from: u64, to: u64, rounds: u64) -> Stretch {
    Stretch { reason, group: group.id, from, to, rounds }
}

/// Waits for the next round's time.
async fn next_tick(table: &mut Timetable, shared: &Shared) -> Tick {
    loop {
        let now = shared.clock.boot_ns();
        if let Some(tick) = table.take(now) {
            return tick;
        }
        if let Some(alarm) = &shared.alarm {
            alarm.until(table.next_due()).await;
        } else {
            let wait = Duration::from_nanos(table.next_due().saturating_sub(now));
            sleep(wait.min(MAX_SLEEP)).await;
        }
    }
}

/// Tells a sleep of the machine from a busy one: the monotonic clock stops, the boot clock goes on.
struct SleepWatch {
    boot: u64,
    running: Instant,
}

impl SleepWatch {
    fn new(clock: &dyn Clock) -> Self {
        Self { boot: clock.boot_ns(), running: Instant::now() }
    }

    /// Whether the machine slept since the last call.
    fn slept(&mut self, clock: &dyn Clock) -> bool {
        let before = std::mem::replace(self, Self::new(clock));
        let boot = Duration::from_nanos(self.boot.saturating_sub(before.boot));
        boot.saturating_sub(self.running - before.running) >= SUSPENDED
    }
}

/// Hands a round's figures and findings to the spool. The findings stand by themselves: they wait
/// for room, and an error is about the figures only.
fn keep(
    shared: &Shared,
    group: &Group,
    mut round: Round,
    confirms: bool,
) -> Result<(), SpoolError> {
    let events = std::mem::take(&mut round.events);
    let mut record = wire::sample_record(group, &round, &*shared.clock);
    // A confirmation is what the alert waits for.
    record.urgent |= confirms;
    let kept = shared.keep(record);
    for event in events {
        shared.tell(wire::event_record(event, &*shared.clock));
    }
    kept
}

#[cfg(test)]
mod tests;
