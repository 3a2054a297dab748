//! When to measure: each group's rounds, spread, never bunched, what is missed declared.
//!
//! This file is the judgement, on the boot clock and without any; [`runner`] does as it says.

mod budget;
mod line;
pub mod runner;
mod slots;

use std::{collections::VecDeque, time::Duration};

pub use budget::{Ask, Budget};
use proto::v1::GapReason;
use xxhash_rust::xxh3::xxh3_64;

use crate::plan::{Group, ProbeKind, ServiceKind};

/// The first rounds of a new plan are spread over at most this.
const START_SPREAD: Duration = Duration::from_secs(3);
/// Rounds that follow a change, so that two of three can confirm it.
const CONFIRMATIONS: u8 = 2;
/// Periods in which changes are confirmed once: the regular rounds confirm the others, or a target
/// that flaps would have its whole group asked three times as often.
const CONFIRM_PERIODS: u64 = 3;
/// Time between a change and its confirmations: a failure that is over by then was a blip, which the
/// collector does not tell.
const CONFIRM_AFTER: Duration = Duration::from_secs(3);
/// Longest round of an SNMP device, whose walk is many answers.
const WALK_LIMIT: Duration = Duration::from_mins(1);
/// Rounds of other probes get this many of their longest waits.
const LIMIT_TIMEOUTS: u32 = 2;
/// Stretches without rounds that are told one by one; beyond, they are told together.
const MAX_STRETCHES: usize = 256;

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The rounds of one group, in nanoseconds of the boot clock.
///
/// A group's regular rounds stand at `phase + k * period`, where the phase is drawn from the agent
/// and the group: schools do not beat in step, nor do the groups of one school.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    period: u64,
    next: u64,
    confirm: Option<(u64, u8)>,
    /// Before this, no change is confirmed.
    confirm_from: u64,
    /// Before this, regular rounds are due and not run.
    rest_until: u64,
}

/// A round to run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// When it should have started.
    pub due: u64,
    /// Regular rounds before it that will never be run.
    pub skipped: u64,
    /// When the first of these should have started.
    pub skipped_from: u64,
    /// When another is due and it is too late for this one.
    pub late: u64,
    /// Whether the round confirms a change rather than keeping the period.
    pub confirms: bool,
    /// Whether the group rests, so that the round is not to be run but declared.
    pub rests: bool,
}

impl Timetable {
    /// The rounds of `group` from `now` on: one soon, then the regular ones.
    #[must_use]
    pub fn new(agent_id: &[u8; 16], group: u32, period: Duration, now: u64) -> Self {
        let mut seed = [0; 20];
        seed[..16].copy_from_slice(agent_id);
        seed[16..].copy_from_slice(&group.to_le_bytes());
        let hash = xxh3_64(&seed);
        let period = ns(period).max(1);
        let first = now + hash % ns(START_SPREAD).min(period);
        let phase = hash % period;
        // The first regular round at least half a period after the first one.
        let after = (first + period / 2).saturating_sub(phase).div_ceil(period);
        let regular = phase + after * period;
        // Until it has run, the first round stands in the place of the regular one before.
        let confirm = Some((first, 0));
        Self { period, next: regular, confirm, confirm_from: 0, rest_until: 0 }
    }

    /// When the next round starts.
    #[must_use]
    pub fn next_due(&self) -> u64 {
        self.confirm.map_or(self.next, |(at, _)| at.min(self.next))
    }

    /// The round to run at `now`; `None` when none is due. Of several that are due, one is run.
    pub fn take(&mut self, now: u64) -> Option<Tick> {
        if now >= self.next {
            let skipped = (now - self.next) / self.period;
            let (due, skipped_from) = (self.next + skipped * self.period, self.next);
            self.next = due + self.period;
            self.confirm = self.confirm.filter(|(at, _)| *at > now);
            return Some(Tick {
                due,
                skipped,
                skipped_from,
                late: self.next_due(),
                confirms: false,
                rests: due < self.rest_until,
            });
        }
        let (due, left) = self.confirm.filter(|(at, _)| *at <= now)?;
        self.confirm = None;
        if left > 1 {
            self.confirm = Some((now + ns(CONFIRM_AFTER), left - 1));
        }
        let late = self.next_due();
        Some(Tick { due, skipped: 0, skipped_from: due, late, confirms: left > 0, rests: false })
    }

    /// A regular round that ended at `now` found a change: two more follow, unless a change was
    /// confirmed in the last periods. A confirmation that finds one starts no other, or a flapping
    /// target would be asked for ever.
    pub fn confirm(&mut self, now: u64) {
        if now < self.confirm_from {
            return;
        }
        // The third regular round from here ends behind this.
        self.confirm_from = self.next.saturating_add((CONFIRM_PERIODS - 1) * self.period);
        self.confirm = Some((now + ns(CONFIRM_AFTER), CONFIRMATIONS));
    }

    /// Runs no round before `at`, because measuring failed in itself. Those that would have been are
    /// still [taken](Self::take), each in its time: a rest that is cut short has declared no more
    /// than it cost.
    pub fn back_off(&mut self, at: u64) {
        self.confirm = None;
        self.rest_until = at;
    }
}

/// Longest time that a round of `group` may take before it is cancelled.
#[must_use]
pub fn round_limit(group: &Group) -> Duration {
    let limit = match &group.probe {
        ProbeKind::Snmp { .. } => WALK_LIMIT,
        ProbeKind::Icmp { count, spacing, .. } | ProbeKind::Mesh { count, spacing, .. } => {
            *spacing * u32::from(*count) + group.timeout * LIMIT_TIMEOUTS
        }
        // A name look-up, a connection and an answer, each with its own wait.
        ProbeKind::Http { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Dns { .. }
        | ProbeKind::Service(_)
        | ProbeKind::Host => group.timeout * LIMIT_TIMEOUTS,
    };
    limit.min(group.period)
}

/// Packets that a round of `group` sends, roughly.
#[must_use]
pub fn packets(group: &Group) -> u64 {
    let of = |targets: usize, each: u64| targets as u64 * each;
    match &group.probe {
        ProbeKind::Icmp { targets, count, .. } => of(targets.len(), u64::from(*count)),
        // SYN, ACK, FIN.
        ProbeKind::Tcp { targets } => of(targets.len(), 3),
        ProbeKind::Dns { resolvers, .. } => of(resolvers.len(), 1),
        // Handshakes of TCP and TLS, the request, acknowledgements of a small page.
        ProbeKind::Http { urls } => of(urls.len(), 12),
        ProbeKind::Snmp { max_repetitions, .. } => {
            1 + group.columns.len() as u64 / u64::from((*max_repetitions).max(1))
        }
        ProbeKind::Host => 0,
        ProbeKind::Mesh { peers, count, .. } => of(peers.len(), u64::from(*count)),
        ProbeKind::Service(service) => of(service.targets.len(), service_packets(service.kind)),
    }
}

/// What asking a service once sends: a datagram, or the handshakes, the words and the end of a
/// connection.
fn service_packets(kind: ServiceKind) -> u64 {
    match kind {
        ServiceKind::Unspecified | ServiceKind::Backup => 0,
        ServiceKind::Dhcp | ServiceKind::Ntp | ServiceKind::Radius | ServiceKind::Sip => 1,
        ServiceKind::Ldap | ServiceKind::Smb | ServiceKind::Nfs | ServiceKind::SipTcp => 6,
        ServiceKind::Ldaps
        | ServiceKind::Ipp
        | ServiceKind::Smtp
        | ServiceKind::SmtpStarttls
        | ServiceKind::Smtps
        | ServiceKind::Imap
        | ServiceKind::ImapStarttls
        | ServiceKind::Imaps => 12,
        // Two pages.
        ServiceKind::Proxy => 24,
    }
}

/// A stretch in which rounds should have been and were not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Why.
    pub reason: GapReason,
    /// Whose; 0 is every group.
    pub group: u32,
    /// Boot clock, nanoseconds.
    pub from: u64,
    /// Boot clock, nanoseconds.
    pub to: u64,
    /// How many.
    pub rounds: u64,
}

/// Collects what was not measured, so that it is declared in few words.
#[derive(Debug, Default)]
pub struct Missed {
    stretches: VecDeque<Stretch>,
}

impl Missed {
    /// Notes a stretch. One that goes on from the group's last is joined to it; sleep of the whole
    /// machine is joined over all groups.
    pub fn note(&mut self, mut stretch: Stretch) {
        let together = stretch.reason == GapReason::GapSuspended;
        if together || self.stretches.len() >= MAX_STRETCHES {
            stretch.group = 0;
        }
        let full = self.stretches.len() >= MAX_STRETCHES;
        let joined = self.stretches.iter_mut().rev().find(|known| {
            let touches = known.from <= stretch.to && stretch.from <= known.to;
            known.reason == stretch.reason && known.group == stretch.group && (touches || full)
        });
        match joined {
            Some(known) => {
                known.from = known.from.min(stretch.from);
                known.to = known.to.max(stretch.to);
                known.rounds += stretch.rounds;
            }
            // One more per reason, at most, once full.
            None => self.stretches.push_back(stretch),
        }
    }

    /// What is to be declared now.
    pub fn drain(&mut self) -> impl Iterator<Item = Stretch> + '_ {
        self.stretches.drain(..)
    }
}

#[cfg(test)]
mod tests;
