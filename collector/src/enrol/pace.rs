//! How often something may be tried in a minute, by each and by all.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

/// Length of the window, seconds.
const WINDOW_S: i64 = 60;

#[derive(Debug)]
struct Window<K> {
    since: Timestamp,
    tries: HashMap<K, u32>,
    total: u32,
}

/// Counts tries in windows of a minute. Bounded: it remembers as many keys as tries in all are
/// allowed.
#[derive(Debug)]
pub(super) struct Pace<K> {
    each: u32,
    all: u32,
    window: Mutex<Window<K>>,
}

impl<K: Eq + Hash> Pace<K> {
    pub(super) fn new(each: u32, all: u32) -> Self {
        let window = Window { since: Timestamp::MIN, tries: HashMap::new(), total: 0 };
        Self { each, all, window: Mutex::new(window) }
    }

    /// Counts a try; false when it is one too many, which then does not count.
    pub(super) fn allows(&self, key: K, now: Timestamp) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let age_s = now.duration_since(window.since).as_secs();
        // A clock set back must not lock everyone out.
        if !(0..WINDOW_S).contains(&age_s) {
            *window = Window { since: now, tries: HashMap::new(), total: 0 };
        }
        if window.total >= self.all {
            return false;
        }
        let tries = window.tries.entry(key).or_insert(0);
        if *tries >= self.each {
            return false;
        }
        *tries += 1;
        window.total += 1;
        true
    }
}

/// What counts as one place: an IPv4 address, or the half of an IPv6 address that a site is given.
pub(super) fn network(address: IpAddr) -> [u8; 8] {
    let mut out = [0; 8];
    match address {
        IpAddr::V4(v4) => {
            // No IPv6 network in use begins so.
            out[..4].copy_from_slice(&[0xff; 4]);
            out[4..].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => out.copy_from_slice(&v6.octets()[..8]),
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_place_can_not_use_up_the_tries_of_all() {
        let pace = Pace::new(5, 20);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!((0..9).filter(|_| pace.allows(1, now)).count(), 5);
        assert_eq!((0..99).filter(|n| pace.allows(2 + n % 9, now)).count(), 15);
        assert!(!pace.allows(77, now + Duration::from_secs(59)));
        assert!(pace.allows(1, now + Duration::from_mins(1)));
        assert!(pace.allows(1, now), "a clock set back starts a new window");
    }

    #[test]
    fn neighbours_in_an_ipv6_network_are_one_place() {
        let at = |text: &str| network(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}
