use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use super::*;

/// A clock moved by hand.
#[derive(Debug, Default)]
pub(crate) struct HandClock {
    pub(crate) boot: AtomicU64,
    pub(crate) wall: AtomicI64,
}

impl Clock for HandClock {
    fn boot_ns(&self) -> u64 {
        self.boot.load(Relaxed)
    }
    fn wall_ns(&self) -> i64 {
        self.wall.load(Relaxed)
    }
    fn boot_tag(&self) -> u32 {
        0x1234
    }
}

const S: u64 = 1_000_000_000;

#[test]
fn the_exchange_with_the_least_delay_wins() {
    let mut server = ServerClock::default();
    let clock = HandClock::default();
    assert_eq!(server.offset_ns(&clock), None);
    // One second away, of which 200 ms at the server; the server is at 1000 s when boot is at 10.5 s.
    server.take(10 * S, 11 * S, 999_900_000_000, 1_000_100_000_000);
    clock.boot.store(20 * S, Relaxed);
    clock.wall.store(0, Relaxed);
    assert_eq!(server.offset_ns(&clock), Some((1_009_500_000_000, 400_000_000)));
    // A slower one that says otherwise changes nothing; a faster one does.
    server.take(20 * S, 25 * S, 2_000_000_000_000, 2_000_000_000_000);
    assert_eq!(server.offset_ns(&clock), Some((1_009_500_000_000, 400_000_000)));
    server.take(30 * S, 30 * S + 2_000, 1_019_000_000_000, 1_019_000_000_000);
    assert_eq!(server.offset_ns(&clock), Some((1_008_999_999_000, 1_000)));
}

#[test]
fn only_the_last_eight_exchanges_count() {
    let mut server = ServerClock::default();
    server.take(0, 2, 100, 100);
    for n in 1..=8 {
        server.take(n * S, n * S + 200, 7, 7);
    }
    assert_eq!(server.best().unwrap().error_ns, 100);
}

#[test]
fn impossible_exchanges_are_ignored() {
    let mut server = ServerClock::default();
    server.take(10, 9, 0, 0);
    server.take(10, 20, 0, 11);
    server.take(10, 20, 5, 4);
    server.take(10, 20, i64::MIN, i64::MAX);
    server.take(0, MAX_DELAY_NS + 1, 0, 0);
    assert_eq!(server.best(), None);
}

#[test]
fn a_wall_clock_that_is_set_is_told_once() {
    let clock = HandClock::default();
    let mut watch = StepWatch::new(&clock);
    clock.boot.store(100 * S, Relaxed);
    clock.wall.store(102_000_000_000, Relaxed);
    assert_eq!(watch.step(&clock), None);
    clock.wall.store(-3_600_000_000_000, Relaxed);
    assert_eq!(watch.step(&clock), Some(-3_700_000_000_000));
    assert_eq!(watch.step(&clock), None);
}
