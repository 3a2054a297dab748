//! One round: what it has to wait for, and for how long it may last.

use std::{any::Any, panic::AssertUnwindSafe, sync::PoisonError, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::{
    super::{
        Ask, Tick, ns, packets, round_limit,
        slots::{Slot, Wait},
    },
    Shared,
};
use crate::{
    metrics::Kind,
    plan::{Group, ProbeKind},
    probe::{Probe, ProbeError, Round},
};

/// What a round came to, when it came to nothing.
pub(super) enum Failure {
    /// There was no place or no packet for it before the next was due.
    Overdue,
    Cancelled,
    Panicked(Box<dyn Any + Send>),
    Error(ProbeError),
}

impl Shared {
    /// Whether rounds of `group` are run at all.
    pub(super) fn ever_allows(&self, group: &Group) -> bool {
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.ever_allows(packets(group))
    }

    /// Takes the packets of a round; `None` when they can not be had before `late` (boot clock).
    async fn take_packets(&self, group: &Group, late: u64) -> Option<()> {
        if !self.ever_allows(group) {
            return None;
        }
        let ask = Ask { group: group.id, packets: packets(group), late };
        loop {
            let now = self.clock.boot_ns();
            let taken = self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(ask, now);
            match taken {
                Ok(()) => return Some(()),
                Err(wait) if now.saturating_add(ns(wait)) >= late => return None,
                Err(wait) => sleep(wait).await,
            }
        }
    }
}

/// Takes what a round of `group` needs: packets and, for a device, a place; `None` when it is late.
pub(super) async fn place<'a>(
    shared: &'a Shared,
    group: &Group,
    tick: &Tick,
    is_slow: bool,
    waiting: &mut Option<Wait<'a>>,
) -> Option<Option<Slot<'a>>> {
    let slot = match group.probe {
        ProbeKind::Snmp { .. } => {
            let free = if waiting.is_none() { shared.devices.try_take(is_slow) } else { None };
            if free.is_some() {
                free
            } else {
                let left = tick.late.saturating_sub(shared.clock.boot_ns());
                let wait = waiting.get_or_insert_with(|| shared.devices.wait(is_slow));
                let slot = timeout(Duration::from_nanos(left), wait).await.ok()?;
                *waiting = None;
                Some(slot)
            }
        }
        ProbeKind::Icmp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Dns { .. }
        | ProbeKind::Http { .. }
        | ProbeKind::Host
        | ProbeKind::Service(_)
        | ProbeKind::Mesh { .. } => None,
    };
    shared.take_packets(group, tick.late).await?;
    Some(slot)
}

/// Runs one round, not longer than the group may take.
pub(super) async fn round(
    shared: &Shared,
    group: &Group,
    probe: &mut dyn Probe,
    slot: Option<Slot<'_>>,
    tick: &Tick,
    is_slow: &mut bool,
) -> Result<Round, Failure> {
    let clock = &*shared.clock;
    if !tick.confirms {
        let late = clock.boot_ns().saturating_sub(tick.due);
        shared.metrics.lag(Duration::from_nanos(late));
    }
    let started = Instant::now();
    let body = timeout(round_limit(group), probe.round());
    let running = async {
        match &slot {
            None => body.await.ok(),
            Some(slot) => tokio::select! {
                biased;
                outcome = body => outcome.ok(),
                () = slot.is_over(group.timeout) => None,
            },
        }
    };
    let outcome = AssertUnwindSafe(running).catch_unwind().await;
    *is_slow = started.elapsed() > group.timeout;
    let kind = Kind::from(&group.probe);
    let elapsed = started.elapsed().as_secs_f64();
    shared.metrics.round_seconds.get_or_create(&kind).observe(elapsed);
    match outcome {
        Ok(Some(Ok(round))) => Ok(round),
        Ok(Some(Err(error))) => Err(Failure::Error(error)),
        Ok(None) => Err(Failure::Cancelled),
        Err(panic) => Err(Failure::Panicked(panic)),
    }
}
