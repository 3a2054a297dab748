//! What is known of agents right now, in memory: connected or not, and what their last heartbeat
//! said. Nothing here outlives the process; what must is in the store.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::id::{AgentId, SiteId};
use jiff::Timestamp;

/// Agents remembered at most. Every entry is an enrolled agent, so this is a belt.
pub const MAX_LIVE_AGENTS: usize = 20_000;

/// A lane of an agent's spool as last reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneLive {
    /// 0 = events, 1 = samples.
    pub lane: u8,
    /// Records on the agent's disk that no acknowledgement has reached it for.
    pub records: u64,
    /// Bytes on the agent's disk.
    pub bytes: u64,
    /// Records evicted by the spool's cap since the spool was made.
    pub evicted: u64,
}

/// What happened to the configuration that an agent was offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigLive {
    /// Version sent last; 0 = none in this life of the collector.
    pub offered: u64,
    /// Version in force, as the agent says.
    pub applied: u64,
    /// Version that the agent refused, with its reason (untrusted text). Never offered again.
    pub failed: Option<(u64, String)>,
}

/// One agent, as seen since the collector started.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentLive {
    /// Site that it stands at.
    pub site: SiteId,
    /// True while its stream is open.
    pub connected: bool,
    /// True when it is held: another machine with the same identity is connected.
    pub held: bool,
    /// Where it connects from.
    pub address: Option<IpAddr>,
    /// Start of the present or last session.
    pub connected_at: Timestamp,
    /// Last message of any kind.
    pub last_message: Timestamp,
    /// Last reason that it gave for leaving (untrusted text); `None` when it vanished or is here.
    pub goodbye: Option<String>,
    /// Version (untrusted text).
    pub version: String,
    /// Spool lanes.
    pub lanes: Vec<LaneLive>,
    /// True when its spool can not write to its disk.
    pub spool_degraded: bool,
    /// Resident memory of the agent, bytes.
    pub rss_bytes: u64,
    /// CPU time used since its start, milliseconds.
    pub cpu_ms: u64,
    /// 95th percentile of probe start lag, milliseconds.
    pub probe_lag_p95_ms: u64,
    /// Rounds skipped since its start.
    pub skipped_rounds: u64,
    /// Server time minus the agent's wall clock, nanoseconds; `None` before the first exchange.
    pub clock_offset_ns: Option<i64>,
    /// Error bound of that offset, nanoseconds.
    pub clock_error_ns: u64,
    /// Configuration.
    pub config: ConfigLive,
}

impl AgentLive {
    /// A session that has just opened.
    #[must_use]
    pub fn new(site: SiteId, now: Timestamp, version: String, address: Option<IpAddr>) -> Self {
        Self {
            site,
            connected: true,
            held: false,
            address,
            connected_at: now,
            last_message: now,
            goodbye: None,
            version,
            lanes: Vec::new(),
            spool_degraded: false,
            rss_bytes: 0,
            cpu_ms: 0,
            probe_lag_p95_ms: 0,
            skipped_rounds: 0,
            clock_offset_ns: None,
            clock_error_ns: 0,
            config: ConfigLive::default(),
        }
    }
}

/// The agents seen since the start.
#[derive(Debug, Default)]
pub struct Live(Mutex<HashMap<AgentId, AgentLive>>);

impl Live {
    fn lock(&self) -> MutexGuard<'_, HashMap<AgentId, AgentLive>> {
        // Each entry is replaced whole or field by field with plain stores: no torn state to fear.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One agent, if it was seen.
    #[must_use]
    pub fn agent(&self, agent: AgentId) -> Option<AgentLive> {
        self.lock().get(&agent).cloned()
    }

    /// Every agent seen since the start, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<(AgentId, AgentLive)> {
        self.lock().iter().map(|(id, live)| (*id, live.clone())).collect()
    }

    /// Agents connected now.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.lock().values().filter(|live| live.connected).count()
    }

    /// Notes a new session, keeping what is known of the agent's configuration.
    pub fn open(&self, agent: AgentId, mut live: AgentLive) {
        let mut agents = self.lock();
        if let Some(before) = agents.get(&agent) {
            live.config.failed.clone_from(&before.config.failed);
        } else if agents.len() >= MAX_LIVE_AGENTS {
            let oldest = agents.iter().min_by_key(|(_, live)| live.last_message).map(|(id, _)| *id);
            oldest.and_then(|id| agents.remove(&id));
        }
        agents.insert(agent, live);
    }

    /// Changes what is known of an agent; nothing when it was never seen.
    pub fn update(&self, agent: AgentId, change: impl FnOnce(&mut AgentLive)) {
        if let Some(live) = self.lock().get_mut(&agent) {
            change(live);
        }
    }
}
