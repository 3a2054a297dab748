//! The open sessions: one live session per agent, machines with a stolen or cloned identity held.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::id::AgentId;
use tokio::sync::watch;

use crate::live::MAX_LIVE_AGENTS;

/// Held sessions of one agent; the oldest goes when there are more.
const MAX_HELD: usize = 4;

/// Processes of one agent that are remembered, so that two that take turns are told from one that was
/// started again.
const MAX_SEEN: usize = 8;

/// Inventories and surroundings that one agent may report in a [`PLAN_WINDOW`]: one of each device
/// that a site may have, and some changes.
const PLANS: u32 = 600;
/// See [`PLANS`].
const PLAN_WINDOW: Duration = Duration::from_mins(10);

/// Why a session must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The agent was withdrawn.
    Revoked,
    /// The same machine connected again.
    Superseded,
    /// The machine for which this one was held has gone: it may try again.
    Released,
}

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Send records.
    Live,
    /// Nothing: another machine that uses the identity is connected.
    Held,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    instance: Vec<u8>,
    fingerprint: Vec<u8>,
    place: Place,
    end: watch::Sender<Option<Ending>>,
}

impl Entry {
    fn end(&self, ending: Ending) {
        self.end.send_if_modified(|slot| slot.is_none() && slot.replace(ending).is_none());
    }
}

#[derive(Debug, Default)]
struct State {
    agents: HashMap<AgentId, Vec<Entry>>,
    /// Processes (instance ids) of each agent, the eldest first; one that took the place of another
    /// stands behind it.
    seen: HashMap<AgentId, Vec<Vec<u8>>>,
    next: u64,
    /// Reports that changed a site's plan, by agent, in the window that began then.
    plans: HashMap<AgentId, (Instant, u32)>,
}

/// The open sessions.
#[derive(Debug)]
pub struct Sessions {
    state: Mutex<State>,
    open: watch::Sender<usize>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { state: Mutex::default(), open: watch::Sender::new(0) }
    }
}

/// An open session; leaves the register when dropped.
#[derive(Debug)]
pub struct Seat {
    sessions: Arc<Sessions>,
    agent: AgentId,
    id: u64,
    ending: watch::Receiver<Option<Ending>>,
    /// What this session may do.
    pub place: Place,
}

impl Seat {
    /// Waits until the session must end.
    pub async fn ended(&mut self) -> Ending {
        match self.ending.wait_for(Option::is_some).await {
            Ok(ending) => ending.unwrap_or(Ending::Superseded),
            // The register itself is gone.
            Err(_) => Ending::Superseded,
        }
    }

    /// Whether another session of the same machine took the place of this one.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        *self.ending.borrow() == Some(Ending::Superseded)
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a session.
    ///
    /// The same machine, or the same process, takes the place of its earlier session: that one may
    /// be half open. Another machine is held while the first is connected. A machine that tells no
    /// fingerprint is known by its process only: else saying nothing would be the way past.
    ///
    /// Copies of one disk may tell one fingerprint. What tells them is a process that comes back
    /// after another had taken its place: one machine never has two. The younger is held then.
    #[must_use]
    pub fn open(self: &Arc<Self>, agent: AgentId, instance: &[u8], fingerprint: &[u8]) -> Seat {
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        let State { agents, seen, .. } = &mut *state;
        let entries = agents.entry(agent).or_default();
        let here = |entry: &Entry| !fingerprint.is_empty() && entry.fingerprint == fingerprint;
        let live =
            entries.iter().find(|entry| entry.place == Place::Live && entry.instance != instance);
        let stranger = live.is_some_and(|entry| !here(entry));
        let elder = seen.get(&agent).is_some_and(|seen| {
            let rank = |of: &[u8]| seen.iter().position(|known| known == of);
            let live = live.and_then(|entry| rank(&entry.instance));
            rank(instance).zip(live).is_some_and(|(mine, live)| live < mine)
        });
        let place = if stranger || elder { Place::Held } else { Place::Live };
        let before = live.filter(|_| place == Place::Live).map(|entry| entry.instance.clone());
        let goes = |entry: &Entry| {
            let replaced = match entry.place {
                Place::Live => place == Place::Live,
                // One that is held beside its own machine is a copy of it.
                Place::Held => stranger,
            };
            entry.instance == instance || (here(entry) && replaced)
        };
        for entry in entries.iter().filter(|entry| goes(entry)) {
            entry.end(Ending::Superseded);
        }
        entries.retain(|entry| !goes(entry));
        let held = entries.iter().filter(|entry| entry.place == Place::Held).count();
        if place == Place::Held
            && held >= MAX_HELD
            && let Some(at) = entries.iter().position(|entry| entry.place == Place::Held)
        {
            entries.remove(at).end(Ending::Superseded);
        }
        let (end, ending) = watch::channel(None);
        let (instance, fingerprint) = (instance.to_vec(), fingerprint.to_vec());
        entries.push(Entry { id, instance: instance.clone(), fingerprint, place, end });
        if seen.len() >= MAX_LIVE_AGENTS {
            seen.retain(|agent, _| agents.contains_key(agent));
        }
        let open = agents.get(&agent).map_or(&[][..], Vec::as_slice);
        remember(seen.entry(agent).or_default(), open, instance, before.as_deref());
        drop(state);
        self.open.send_modify(|open| *open += 1);
        Seat { sessions: self.clone(), agent, id, ending, place }
    }

    /// Whether an agent may change its site's plan once more: an inventory of each device at its
    /// start, and some changes after. Counted over its sessions: to connect again gains nothing.
    #[must_use]
    pub fn may_plan(&self, agent: AgentId, now: Instant) -> bool {
        let mut state = self.lock();
        let over = |since: Instant| now.saturating_duration_since(since) >= PLAN_WINDOW;
        if state.plans.len() >= MAX_LIVE_AGENTS {
            state.plans.retain(|_, (since, _)| !over(*since));
            if state.plans.len() >= MAX_LIVE_AGENTS {
                state.plans.clear();
            }
        }
        let window = state.plans.entry(agent).or_insert((now, 0));
        if over(window.0) {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
        window.1 <= PLANS
    }

    /// Ends every session of an agent.
    pub fn close(&self, agent: AgentId, ending: Ending) {
        if let Some(entries) = self.lock().agents.get(&agent) {
            for entry in entries {
                entry.end(ending);
            }
        }
    }

    /// Machines held because their identity is in use elsewhere.
    #[must_use]
    pub fn held(&self, agent: AgentId) -> usize {
        let state = self.lock();
        let entries = state.agents.get(&agent).map_or(&[][..], Vec::as_slice);
        entries.iter().filter(|entry| entry.place == Place::Held).count()
    }

    /// Sessions whose task has not ended.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until no session is left.
    pub async fn idle(&self) {
        // The sender lives in `self`, so the channel can not be closed here.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

/// Notes a process behind the one whose place it took, else as the youngest. Of too many, the eldest
/// that is not connected is forgotten.
fn remember(seen: &mut Vec<Vec<u8>>, open: &[Entry], instance: Vec<u8>, before: Option<&[u8]>) {
    if seen.contains(&instance) {
        return;
    }
    let behind = before.and_then(|before| seen.iter().position(|known| known == before));
    seen.insert(behind.map_or(seen.len(), |at| at + 1), instance);
    if seen.len() > MAX_SEEN {
        let gone = |known: &Vec<u8>| !open.iter().any(|entry| entry.instance == *known);
        seen.remove(seen.iter().position(gone).unwrap_or(0));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.sessions.lock();
        if let Some(entries) = state.agents.get_mut(&self.agent) {
            let left = entries.iter().position(|entry| entry.id == self.id);
            let was_live =
                left.map(|at| entries.remove(at)).is_some_and(|e| e.place == Place::Live);
            if was_live && !entries.iter().any(|entry| entry.place == Place::Live) {
                for entry in entries.iter() {
                    entry.end(Ending::Released);
                }
            }
            if entries.is_empty() {
                state.agents.remove(&self.agent);
            }
        }
        drop(state);
        self.sessions.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: AgentId = AgentId([1; 16]);

    fn ending(seat: &Seat) -> Option<Ending> {
        *seat.ending.borrow()
    }

    #[tokio::test]
    async fn the_same_machine_takes_the_place_of_its_earlier_session() {
        let sessions = Arc::new(Sessions::default());
        let mut first = sessions.open(AGENT, b"i1", b"m1");
        let second = sessions.open(AGENT, b"i2", b"m1");
        assert_eq!((first.place, second.place), (Place::Live, Place::Live));
        assert_eq!(first.ended().await, Ending::Superseded);
        drop(first);
        assert_eq!(ending(&second), None);
        assert_eq!(sessions.count(), 1);
    }

    #[tokio::test]
    async fn a_second_machine_is_held_and_released_when_the_first_has_gone() {
        let sessions = Arc::new(Sessions::default());
        let first = sessions.open(AGENT, b"i1", b"m1");
        let mut clone = sessions.open(AGENT, b"i2", b"m2");
        assert_eq!(clone.place, Place::Held);
        assert_eq!(sessions.held(AGENT), 1);
        assert_eq!(ending(&first), None);
        // The first machine reconnects before its old session is noticed to be dead.
        let again = sessions.open(AGENT, b"i3", b"m1");
        assert_eq!(again.place, Place::Live);
        drop(first);
        assert_eq!(ending(&clone), None);
        drop(again);
        assert_eq!(clone.ended().await, Ending::Released);
    }

    #[tokio::test]
    async fn of_two_processes_that_take_turns_under_one_fingerprint_the_younger_is_held() {
        let sessions = Arc::new(Sessions::default());
        let mut first = sessions.open(AGENT, b"a", b"m");
        // So far it looks like the same machine, started again.
        let mut clone = sessions.open(AGENT, b"b", b"m");
        assert_eq!((clone.place, first.ended().await), (Place::Live, Ending::Superseded));
        drop(first);
        let first = sessions.open(AGENT, b"a", b"m");
        assert_eq!((first.place, clone.ended().await), (Place::Live, Ending::Superseded));
        drop(clone);
        let mut clone = sessions.open(AGENT, b"b", b"m");
        assert_eq!((clone.place, ending(&first)), (Place::Held, None));
        assert_eq!(sessions.held(AGENT), 1);
        // The first is started again: the clone stays where it is, and when it connects anew too.
        let restarted = sessions.open(AGENT, b"c", b"m");
        assert_eq!((restarted.place, ending(&first)), (Place::Live, Some(Ending::Superseded)));
        drop(first);
        assert_eq!(ending(&clone), None);
        let again = sessions.open(AGENT, b"b", b"m");
        assert_eq!((again.place, clone.ended().await), (Place::Held, Ending::Superseded));
        drop(clone);
        // A clone that is started again takes one turn, until the other comes back.
        let fresh = sessions.open(AGENT, b"d", b"m");
        assert_eq!((fresh.place, ending(&restarted)), (Place::Live, Some(Ending::Superseded)));
        drop((restarted, again));
        let restarted = sessions.open(AGENT, b"c", b"m");
        assert_eq!((restarted.place, ending(&fresh)), (Place::Live, Some(Ending::Superseded)));
        drop(fresh);
        // Whoever is left alone may send.
        let mut clone = sessions.open(AGENT, b"d", b"m");
        assert_eq!(clone.place, Place::Held);
        drop(restarted);
        assert_eq!(clone.ended().await, Ending::Released);
        drop(clone);
        assert_eq!(sessions.open(AGENT, b"d", b"m").place, Place::Live);
    }

    #[test]
    fn a_machine_that_is_started_again_and_again_is_never_held_and_its_memory_is_bounded() {
        let sessions = Arc::new(Sessions::default());
        let mut seats = Vec::new();
        for n in 0..100_u8 {
            // Each twice, as over a line that breaks; no session is noticed to be dead.
            for _ in 0..2 {
                let seat = sessions.open(AGENT, &[n], b"m");
                assert_eq!(seat.place, Place::Live, "start {n}");
                seats.push(seat);
            }
        }
        assert_eq!(sessions.lock().seen[&AGENT].len(), MAX_SEEN);
        assert_eq!(sessions.held(AGENT), 0);
    }

    #[tokio::test]
    async fn a_machine_without_fingerprint_takes_no_ones_place_but_its_own() {
        let sessions = Arc::new(Sessions::default());
        let first = sessions.open(AGENT, b"i1", b"m1");
        let nameless = sessions.open(AGENT, b"i2", b"");
        assert_eq!((nameless.place, ending(&first)), (Place::Held, None));
        drop((first, nameless));
        let mut nameless = sessions.open(AGENT, b"i2", b"");
        let other = sessions.open(AGENT, b"i3", b"");
        assert_eq!((nameless.place, other.place), (Place::Live, Place::Held));
        let again = sessions.open(AGENT, b"i2", b"");
        assert_eq!(again.place, Place::Live);
        assert_eq!(nameless.ended().await, Ending::Superseded);
    }

    #[tokio::test]
    async fn revocation_ends_all_sessions_of_the_agent_only() {
        let sessions = Arc::new(Sessions::default());
        let other = sessions.open(AgentId([2; 16]), b"i", b"m");
        let mut live = sessions.open(AGENT, b"i1", b"m1");
        let mut held = sessions.open(AGENT, b"i2", b"m2");
        sessions.close(AGENT, Ending::Revoked);
        assert_eq!((live.ended().await, held.ended().await), (Ending::Revoked, Ending::Revoked));
        assert_eq!(ending(&other), None);
        drop((live, held, other));
        sessions.idle().await;
        assert!(sessions.lock().agents.is_empty());
    }

    #[test]
    fn held_machines_are_bounded() {
        let sessions = Arc::new(Sessions::default());
        let _live = sessions.open(AGENT, b"i", b"m");
        let clones: Vec<Seat> = (0..20_u8).map(|n| sessions.open(AGENT, &[n], &[n])).collect();
        assert_eq!(sessions.held(AGENT), MAX_HELD);
        assert_eq!(ending(&clones[0]), Some(Ending::Superseded));
        assert_eq!(ending(&clones[19]), None);
    }

    #[test]
    fn an_agent_that_connects_again_gets_no_new_room_for_plans() {
        let sessions = Arc::new(Sessions::default());
        let (noisy, other) = (AgentId([1; 16]), AgentId([2; 16]));
        let now = Instant::now();
        let mut granted = 0;
        for _ in 0..10 {
            let _seat = sessions.open(noisy, b"instance", b"machine");
            granted += (0..PLANS / 5).filter(|_| sessions.may_plan(noisy, now)).count();
        }
        assert_eq!(granted, usize::try_from(PLANS).unwrap());
        assert!(sessions.may_plan(other, now), "another agent has its own");
        assert!(sessions.may_plan(noisy, now + PLAN_WINDOW));
    }
}
