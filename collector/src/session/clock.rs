//! How an agent's boot clock maps to server time.
//!
//! `server_ns = boot_ns + offset`. A message tells an upper bound of the offset: it was stamped
//! before it arrived. The agent's own four-time-stamp exchange (its heartbeats carry the result)
//! tells it within an error, and is believed as long as it does not contradict the bound.
//! The mapping in use changes only by more than `STEP_NS`, so that the distance between two
//! samples is not blurred by the noise of the network.

use std::collections::HashMap;

/// Smaller changes of the mapping are noise.
const STEP_NS: i64 = 50_000_000;
/// A mapping of this boot that was saved earlier is kept unless a `Hello` contradicts it by more.
const KEEP_NS: i64 = 5_000_000_000;
/// What an agent claims is not believed when it is further from what its message shows.
const CLAIM_NS: i64 = 30_000_000_000;
/// Error of an offset that rests on one-way messages only.
const ONE_WAY_ERROR_NS: u64 = 2_000_000_000;
/// Earlier boots whose mapping is remembered; records of more are looked up again.
const MAX_EARLIER: usize = 64;

/// A mapping to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Server time minus boot clock, nanoseconds.
    pub offset_ns: i64,
    /// Error bound, nanoseconds.
    pub error_ns: u64,
}

/// The clocks of one session.
#[derive(Debug)]
pub struct ClockMap {
    boot_tag: u32,
    mapping: Mapping,
    earlier: HashMap<u32, Option<i64>>,
}

fn bound(boot_ns: u64, received_ns: i64) -> i64 {
    received_ns.saturating_sub(i64::try_from(boot_ns).unwrap_or(i64::MAX))
}

impl ClockMap {
    /// Starts from a `Hello`; `saved` is what an earlier session found for this boot.
    #[must_use]
    pub fn new(boot_tag: u32, boot_ns: u64, received_ns: i64, saved: Option<i64>) -> Self {
        let bound = bound(boot_ns, received_ns);
        let kept = saved.filter(|&saved| {
            let below = bound.saturating_sub(saved);
            (-STEP_NS..=KEEP_NS).contains(&below)
        });
        let mapping = Mapping { offset_ns: kept.unwrap_or(bound), error_ns: ONE_WAY_ERROR_NS };
        Self { boot_tag, mapping, earlier: HashMap::new() }
    }

    /// The mapping in use.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// The boot of this session.
    #[must_use]
    pub fn boot_tag(&self) -> u32 {
        self.boot_tag
    }

    /// Learns from a heartbeat: its two clocks, the agent's knowledge of the server's clock against
    /// its wall clock (`claim`: offset and error), and when it arrived. Returns the new mapping when
    /// it changed by more than noise.
    pub fn heartbeat(
        &mut self,
        boot_ns: u64,
        wall_ns: i64,
        claim: Option<(i64, u64)>,
        received_ns: i64,
    ) -> Option<Mapping> {
        let bound = bound(boot_ns, received_ns);
        let claimed = claim.and_then(|(offset_ns, error_ns)| {
            let boot_ns = i64::try_from(boot_ns).ok()?;
            let offset_ns = wall_ns.checked_add(offset_ns)?.checked_sub(boot_ns)?;
            let below = bound.checked_sub(offset_ns)?;
            let slack = i64::try_from(error_ns).ok()?.checked_add(STEP_NS)?;
            // Above the bound by more than its own error, or absurdly far below: not a measure.
            (below >= -slack && below <= CLAIM_NS).then_some(Mapping { offset_ns, error_ns })
        });
        let better = claimed.or_else(|| {
            // The present mapping places this message after its arrival: it was too high.
            let too_high = self.mapping.offset_ns.saturating_sub(bound) > STEP_NS;
            too_high.then_some(Mapping { offset_ns: bound, error_ns: ONE_WAY_ERROR_NS })
        })?;
        let moved = better.offset_ns.abs_diff(self.mapping.offset_ns) > STEP_NS.unsigned_abs();
        if moved {
            self.mapping = better;
        }
        moved.then_some(better)
    }

    /// Server time of a moment of this boot; `None` for another boot or beyond all time.
    #[must_use]
    pub fn map(&self, boot_tag: u32, boot_ns: u64) -> Option<i64> {
        let offset = if boot_tag == self.boot_tag {
            self.mapping.offset_ns
        } else {
            (*self.earlier.get(&boot_tag)?)?
        };
        i64::try_from(boot_ns).ok()?.checked_add(offset)
    }

    /// True when an earlier boot was not looked up yet.
    #[must_use]
    pub fn is_unknown(&self, boot_tag: u32) -> bool {
        boot_tag != self.boot_tag && !self.earlier.contains_key(&boot_tag)
    }

    /// Notes what was found of an earlier boot.
    pub fn learn(&mut self, boot_tag: u32, offset_ns: Option<i64>) {
        if self.earlier.len() >= MAX_EARLIER {
            self.earlier.clear();
        }
        self.earlier.insert(boot_tag, offset_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const SERVER: i64 = 1_800_000_000_000 * MS;

    /// An agent started 100 s ago whose first message took 30 ms.
    fn fresh() -> ClockMap {
        ClockMap::new(1, 100_000 * MS.unsigned_abs(), SERVER + 30 * MS, None)
    }

    #[test]
    fn a_hello_alone_places_samples_within_its_travel_time() {
        assert_eq!(fresh().map(1, 90_000 * MS.unsigned_abs()), Some(SERVER - 9_970 * MS));
    }

    #[test]
    fn a_heartbeat_corrects_only_what_is_more_than_noise() {
        let mut clock = fresh();
        // The agent's wall clock is 7 s slow; it knows that within 5 ms.
        let claim = |error: i64| Some((7_000 * MS + error * MS, 5_000_000));
        let (boot, wall) = (115_000 * MS.unsigned_abs(), SERVER + 8_000 * MS);
        assert_eq!(clock.heartbeat(boot, wall, claim(0), SERVER + 15_020 * MS), None);
        // Now the first message is found to have taken 80 ms: the mapping moves.
        let moved = clock.heartbeat(boot, wall, claim(-50), SERVER + 15_020 * MS);
        assert_eq!(moved.map(|mapping| mapping.error_ns), Some(5_000_000));
        assert_eq!(clock.map(1, boot), Some(SERVER + 14_950 * MS));
    }

    #[test]
    fn a_claim_that_its_own_message_disproves_is_not_believed() {
        let mut clock = fresh();
        let (boot, wall) = (115_000 * MS.unsigned_abs(), SERVER + 15_000 * MS);
        for absurd in [60_000 * MS, -60_000 * MS, i64::MAX, i64::MIN] {
            let before = clock.mapping();
            clock.heartbeat(boot, wall, Some((absurd, 1)), SERVER + 15_020 * MS);
            assert_eq!(clock.mapping(), before);
        }
        clock.heartbeat(u64::MAX, i64::MAX, Some((i64::MAX, u64::MAX)), i64::MIN);
        clock.heartbeat(0, i64::MIN, Some((i64::MIN, 0)), i64::MAX);
    }

    #[test]
    fn a_mapping_that_places_a_message_after_its_arrival_is_lowered() {
        let mut clock = fresh();
        let boot = 115_000 * MS.unsigned_abs();
        let lowered = clock.heartbeat(boot, 0, None, SERVER + 14_900 * MS);
        assert_eq!(lowered.map(|mapping| mapping.offset_ns), Some(SERVER - 100_100 * MS));
    }

    #[test]
    fn the_mapping_of_an_earlier_session_of_this_boot_is_kept() {
        let saved = SERVER - 100_000 * MS;
        let boot = 100_000 * MS.unsigned_abs();
        let after = |received: i64| ClockMap::new(1, boot, received, Some(saved)).mapping();
        assert_eq!(after(SERVER + 1_500 * MS).offset_ns, saved);
        // The server's clock was set back, or forward: what the message shows is right.
        assert_eq!(after(SERVER - 100 * MS).offset_ns, saved - 100 * MS);
        assert_eq!(after(SERVER + 60_000 * MS).offset_ns, saved + 60_000 * MS);
    }

    #[test]
    fn earlier_boots_are_looked_up_once_and_bounded() {
        let mut clock = fresh();
        assert!(clock.is_unknown(2));
        clock.learn(2, Some(5));
        clock.learn(3, None);
        assert_eq!((clock.map(2, 10), clock.map(3, 10)), (Some(15), None));
        assert!(!clock.is_unknown(3));
        (10..10_000).for_each(|tag| clock.learn(tag, None));
        assert!(clock.earlier.len() <= MAX_EARLIER);
        assert_eq!(clock.map(1, u64::MAX), None);
    }
}
