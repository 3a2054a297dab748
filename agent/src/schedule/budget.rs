//! How many packets may leave, on average, and who waits when more want to.

use std::{collections::VecDeque, time::Duration};

use super::ns;

/// Largest round that counts as small, in seconds of the whole budget: at the default, more than 64
/// targets get of five echoes each, which is how the collector lays groups out.
const SMALL_ROUND_S: u64 = 2;
/// Largest round that is run at all, in seconds of the whole budget: it keeps other large rounds
/// waiting for up to twice as long.
const MAX_ROUND_S: u64 = 60;
/// Shortest wait of a large round before it asks again: how long it takes to pay is not known before.
const MIN_LARGE_WAIT: Duration = Duration::from_millis(100);
/// Between two questions of one that is not the first in its queue.
const BEHIND_WAIT: Duration = Duration::from_millis(250);
/// How long the place in the queue of one that gave up is kept: its next round is due at once.
const PLACE_KEPT: Duration = Duration::from_secs(1);

/// Packets that may leave, on average.
///
/// A small round goes into a debt of at most two seconds, which the next ones wait out. A large
/// one owes apart, and only one may owe at a time: until it is paid, with half of what is gained and
/// all that small rounds leave, other large rounds wait and small ones do not.
///
/// Those of one kind that wait are served in the order in which they came, and one that gives a round
/// up keeps its place for the next: else groups whose rounds fall in step would starve for ever.
#[derive(Debug, Clone)]
pub struct Budget {
    per_s: u64,
    /// What small rounds may take, thousandths of packets.
    left: i64,
    /// What a large round still owes, thousandths of packets, never negative.
    owed: i64,
    at: u64,
    /// Who waits, for small and for large rounds: a group of the plan at most once.
    queues: [VecDeque<Waiting>; 2],
}

/// What a round asks for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Whose round.
    pub group: u32,
    /// What it sends.
    pub packets: u64,
    /// When it is given up, boot clock, nanoseconds.
    pub late: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    group: u32,
    until: u64,
}

impl Budget {
    /// A full budget of `per_s` packets a second, at `now`.
    #[must_use]
    pub fn new(per_s: u32, now: u64) -> Self {
        let per_s = u64::from(per_s.max(1));
        Self { per_s, left: thousandths(per_s), owed: 0, at: now, queues: Default::default() }
    }

    /// Whether a round of `packets` is a large one, which waits apart from the others.
    #[must_use]
    pub fn is_large(&self, packets: u64) -> bool {
        packets > self.per_s * SMALL_ROUND_S
    }

    /// Whether a round of `packets` may be run at all.
    #[must_use]
    pub fn ever_allows(&self, packets: u64) -> bool {
        packets <= self.per_s * MAX_ROUND_S
    }

    /// Takes the packets at `now`, or says how long to wait before asking again.
    pub fn take(&mut self, ask: Ask, now: u64) -> Result<(), Duration> {
        self.gain(now);
        let is_large = self.is_large(ask.packets);
        let wait = if is_large { self.large_wait() } else { self.small_wait() };
        let queue = &mut self.queues[usize::from(is_large)];
        queue.retain(|waiting| waiting.until >= now);
        let place = queue.iter().position(|waiting| waiting.group == ask.group);
        let is_first = place.unwrap_or(queue.len()) == 0;
        if wait.is_none() && is_first {
            if place.is_some() {
                queue.pop_front();
            }
            let debt = if is_large { &mut self.owed } else { &mut self.left };
            let cost = thousandths(ask.packets);
            *debt = if is_large { cost } else { debt.saturating_sub(cost) };
            return Ok(());
        }
        let until = ask.late.saturating_add(ns(PLACE_KEPT));
        match place {
            Some(place) => queue[place].until = until,
            None => queue.push_back(Waiting { group: ask.group, until }),
        }
        let wait = wait.unwrap_or_default();
        Err(if is_first { wait } else { wait.max(BEHIND_WAIT) })
    }

    /// Until a large round can begin, at the earliest.
    fn large_wait(&self) -> Option<Duration> {
        let wait = Duration::from_millis(self.owed.unsigned_abs().div_ceil(self.per_s));
        (self.owed > 0).then_some(wait.max(MIN_LARGE_WAIT))
    }

    /// Until a small round can begin.
    fn small_wait(&self) -> Option<Duration> {
        let shared = if self.owed > 0 { 2 } else { 1 };
        let wait_ms = (self.left.unsigned_abs() * shared).div_ceil(self.per_s);
        (self.left < 0).then_some(Duration::from_millis(wait_ms.max(1)))
    }

    fn gain(&mut self, now: u64) {
        let gained = u128::from(now.saturating_sub(self.at)) * u128::from(self.per_s) / 1_000_000;
        if gained == 0 {
            return;
        }
        self.at = now;
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        let paid = (gained / 2).min(self.owed);
        let left = self.left.saturating_add(gained - paid);
        self.left = left.min(thousandths(self.per_s));
        self.owed = (self.owed - paid).saturating_sub(left - self.left).max(0);
    }
}

fn thousandths(packets: u64) -> i64 {
    i64::try_from(packets.saturating_mul(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;

    /// Asks for a round of a group that has ten seconds for it.
    fn take(budget: &mut Budget, group: u32, packets: u64, now: u64) -> Result<(), Duration> {
        budget.take(Ask { group, packets, late: now + 10 * S }, now)
    }

    #[test]
    fn a_group_of_thousands_of_echoes_holds_up_no_small_round() {
        let mut budget = Budget::new(200, 0);
        take(&mut budget, 1, 5_000, 0).unwrap();
        // A ladder of 6 rungs each 10 s, a device each second: 33 packets a second.
        for second in 0..100 {
            if second % 10 == 0 {
                let ladder = take(&mut budget, 2, 30, second * S);
                assert_eq!(ladder, Ok(()), "after {second} s");
            }
            assert_eq!(take(&mut budget, 3, 30, second * S), Ok(()), "after {second} s");
        }
    }

    #[test]
    fn a_large_round_is_paid_before_the_next_begins() {
        let mut budget = Budget::new(200, 0);
        take(&mut budget, 1, 5_000, 0).unwrap();
        let mut now = 0;
        let mut asked = 0;
        while let Err(wait) = take(&mut budget, 2, 1_000, now) {
            now += ns(wait);
            asked += 1;
        }
        // 100 packets a second, and 200 once the small rounds' share is full, which it is.
        assert!((25 * S..26 * S).contains(&now), "{now}");
        assert!(asked < 10, "{asked}");
    }

    #[test]
    fn those_that_wait_are_served_in_their_order_and_one_that_gives_up_keeps_its_place() {
        let mut budget = Budget::new(200, 0);
        take(&mut budget, 1, 1_000, 0).unwrap();
        let ask = |group, late| Ask { group, packets: 1_000, late };
        budget.take(ask(2, 2 * S), S).unwrap_err();
        budget.take(ask(3, 60 * S), S).unwrap_err();
        // The second asks for its next round, the first is paid for.
        budget.take(ask(2, 60 * S), 2 * S).unwrap_err();
        assert_eq!(budget.take(ask(3, 60 * S), 20 * S), Err(BEHIND_WAIT));
        assert_eq!(budget.take(ask(1, 60 * S), 20 * S), Err(BEHIND_WAIT), "it has had its turn");
        assert_eq!(budget.take(ask(2, 60 * S), 20 * S), Ok(()));
        // One that asks no more does not stand in the way for ever.
        assert_eq!(budget.take(ask(1, 80 * S), 59 * S), Err(BEHIND_WAIT));
        assert_eq!(budget.take(ask(1, 80 * S), 61 * S + 1), Ok(()));
        assert!(budget.queues.iter().all(VecDeque::is_empty));
    }

    #[test]
    fn what_would_take_minutes_to_pay_is_never_run() {
        let budget = Budget::new(200, 0);
        assert!(budget.ever_allows(12_000));
        assert!(!budget.ever_allows(12_001));
        assert!(!budget.is_large(400));
        assert!(budget.is_large(401));
    }

    proptest! {
        #[test]
        fn the_budget_holds_on_average(costs in prop::collection::vec(0..1_500_u64, 1..100)) {
            let mut budget = Budget::new(200, 0);
            let (mut now, mut sent) = (0_u64, 0_u64);
            for cost in &costs {
                let mut asked = 0;
                while let Err(wait) = take(&mut budget, 1, *cost, now) {
                    now += ns(wait);
                    asked += 1;
                    let most = if budget.is_large(*cost) { 100 } else { 3 };
                    prop_assert!(asked < most, "the wait it names is enough");
                }
                sent += cost;
            }
            // A second's worth at the start, and the debts of the last rounds.
            prop_assert!(sent <= 200 + 400 + 1_500 + now / S * 200 + 200, "{} in {}", sent, now);
        }

        #[test]
        fn a_small_round_waits_for_small_ones_only(
            large in 401..12_000_u64,
            steps in prop::collection::vec((0..2_000_u64, 0..=400_u64), 1..60),
        ) {
            let mut budget = Budget::new(200, 0);
            let mut now = 0;
            for (step, cost) in steps {
                now += step * MS;
                // Refused or not.
                let _ = take(&mut budget, 1, large, now);
                if let Err(wait) = take(&mut budget, 2, cost, now) {
                    prop_assert!(wait <= Duration::from_secs(4), "{wait:?}");
                }
            }
        }
    }
}
