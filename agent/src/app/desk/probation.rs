//! Whether a plan leaves the machine as well as it found it.

use std::time::Duration;

use proto::v1;
use tokio::time::Instant;

use crate::{
    metrics::{Cause, Metrics},
    platform,
};

/// A plan under which the agent lived well this long is a good one.
pub(super) const PROBATION: Duration = Duration::from_mins(2);
/// Longest cycle that is waited for: groups may be measured once a day.
const MAX_CYCLE: Duration = Duration::from_mins(10);
/// Of the rounds due on probation, per cent that may be missed for overload.
const MISSED_PERCENT: u64 = 10;
/// Rounds missed that a busy moment of the machine explains.
const EXCUSED: u64 = 3;
const MIB: u64 = 1 << 20;

/// How the agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    /// Resident memory, bytes; `None` where the kernel does not tell.
    pub(super) memory: Option<u64>,
    /// Rounds missed for overload since the process started.
    pub(super) overloads: u64,
    /// A session with the collector stands.
    pub(super) is_connected: bool,
}

impl Health {
    pub(super) fn now(metrics: &Metrics) -> Self {
        let overload = metrics.rounds_missed.get(&Cause { cause: "overload" });
        Self {
            memory: platform::resident_bytes(),
            overloads: overload.map_or(0, |counter| counter.get()),
            is_connected: metrics.connected.get() == 1,
        }
    }
}

/// A plan being tried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probation {
    until: Instant,
    before: Health,
    /// Most bytes of memory.
    memory_limit: u64,
    /// Most rounds missed for overload.
    missed_limit: u64,
}

/// What a look at it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not known yet.
    Wait,
    /// The plan is a good one.
    Good,
    /// It is not, for this reason.
    Failed(String),
}

impl Probation {
    /// Begins when `config` is in force. `before` is how the agent did without it.
    pub(super) fn begin(config: &v1::Config, before: Health, memory_limit: u64) -> Self {
        let periods = || config.groups.iter().map(|group| u64::from(group.period_ms.max(1)));
        let cycle = Duration::from_millis(periods().max().unwrap_or(0)).min(MAX_CYCLE);
        let lasts = PROBATION.max(cycle);
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let due: u64 = periods().map(|period| lasts_ms / period).sum();
        // An agent that was over its limit already is not the new plan's doing, until it grows.
        let was = before.memory.unwrap_or(0);
        let tolerated = if was > memory_limit { was + was / 8 } else { memory_limit };
        Self {
            until: Instant::now() + lasts,
            before,
            memory_limit: tolerated,
            missed_limit: (due * MISSED_PERCENT / 100).max(EXCUSED),
        }
    }

    /// Judges by how the agent does now. What can not be known is waited for.
    pub(super) fn judge(&self, health: Health) -> Verdict {
        let Self { before, memory_limit, missed_limit, .. } = self;
        if let Some(used) = health.memory.filter(|used| used > memory_limit) {
            let (used, limit) = (used.div_ceil(MIB), memory_limit / MIB);
            return Verdict::Failed(format!(
                "the agent used {used} MiB of memory with it, and may use {limit} MiB"
            ));
        }
        let missed = health.overloads.saturating_sub(before.overloads);
        if missed > *missed_limit {
            return Verdict::Failed(format!(
                "the agent missed {missed} rounds for overload with it, and may miss {missed_limit}"
            ));
        }
        let is_known = health.memory.is_some() && health.is_connected;
        if is_known && self.until <= Instant::now() { Verdict::Good } else { Verdict::Wait }
    }
}
