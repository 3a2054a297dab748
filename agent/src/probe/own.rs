//! Remembers for a short time which addresses are this machine's, so that a round does not ask the
//! kernel once for each of its targets.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Longest that an answer of the kernel is believed: addresses come and go.
const BELIEVED: Duration = Duration::from_secs(30);
/// Most addresses remembered; beyond it the kernel is asked each time.
const MAX_REMEMBERED: usize = 2_048;

/// An answer of the kernel.
#[derive(Debug, Clone, Copy)]
struct Answer {
    is_own: bool,
    /// Boot clock, which goes on while the machine sleeps, nanoseconds.
    at_ns: u64,
}

impl Answer {
    fn is_fresh(self, now_ns: u64) -> bool {
        let age = now_ns.checked_sub(self.at_ns).map(Duration::from_nanos);
        age.is_some_and(|age| age < BELIEVED)
    }
}

/// What the kernel said of which address, at most [`BELIEVED`] ago.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses(Mutex<HashMap<IpAddr, Answer>>);

impl OwnAddresses {
    /// Whether `address` is this machine's, by what is remembered or else by `ask`. A question that
    /// fails is not an answer: it is asked again the next time, and until then an address that was
    /// this machine's still is.
    pub(super) fn contains(
        &self,
        address: IpAddr,
        now_ns: u64,
        ask: impl FnOnce(IpAddr) -> io::Result<bool>,
    ) -> bool {
        let known = self.remembered().get(&address).copied();
        if let Some(answer) = known.filter(|answer| answer.is_fresh(now_ns)) {
            return answer.is_own;
        }
        // Not under the lock: other probes go on meanwhile.
        let Ok(is_own) = ask(address) else {
            return known.is_some_and(|answer| answer.is_own);
        };
        let mut remembered = self.remembered();
        if remembered.len() >= MAX_REMEMBERED && !remembered.contains_key(&address) {
            remembered.retain(|_, answer| answer.is_fresh(now_ns));
        }
        if remembered.len() < MAX_REMEMBERED || remembered.contains_key(&address) {
            remembered.insert(address, Answer { is_own, at_ns: now_ns });
        }
        is_own
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<IpAddr, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, net::Ipv4Addr};

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));

    fn ns(seconds: u64) -> u64 {
        seconds * 1_000_000_000
    }

    /// A kernel that counts what it is asked.
    struct Kernel {
        asked: Cell<u32>,
        says: Cell<Option<bool>>,
    }

    impl Kernel {
        fn saying(says: Option<bool>) -> Self {
            Self { asked: Cell::new(0), says: Cell::new(says) }
        }

        fn ask(&self) -> io::Result<bool> {
            self.asked.set(self.asked.get() + 1);
            self.says.get().ok_or_else(|| io::Error::other("no descriptor is left"))
        }
    }

    #[test]
    fn the_kernel_is_asked_once_for_as_long_as_its_answer_is_believed() {
        for says in [true, false] {
            let (own, kernel) = (OwnAddresses::default(), Kernel::saying(Some(says)));
            for now in [0, 1, 29] {
                assert_eq!(own.contains(ADDRESS, ns(now), |_| kernel.ask()), says);
            }
            assert_eq!(kernel.asked.get(), 1);
        }
    }

    #[test]
    fn an_address_that_became_this_machines_is_known_within_30_seconds() {
        let (own, kernel) = (OwnAddresses::default(), Kernel::saying(Some(false)));
        assert!(!own.contains(ADDRESS, ns(0), |_| kernel.ask()));
        kernel.says.set(Some(true));
        assert!(own.contains(ADDRESS, ns(30), |_| kernel.ask()));
        // Nor is an answer believed that a clock set back would keep young for ever.
        let (own, kernel) = (OwnAddresses::default(), Kernel::saying(Some(false)));
        assert!(!own.contains(ADDRESS, ns(60), |_| kernel.ask()));
        kernel.says.set(Some(true));
        assert!(own.contains(ADDRESS, ns(10), |_| kernel.ask()));
    }

    #[test]
    fn a_question_that_fails_denies_what_was_denied_and_is_asked_again() {
        let (own, kernel) = (OwnAddresses::default(), Kernel::saying(Some(true)));
        assert!(own.contains(ADDRESS, ns(0), |_| kernel.ask()));
        kernel.says.set(None);
        assert!(own.contains(ADDRESS, ns(3_600), |_| kernel.ask()));
        let other = Ipv4Addr::new(10, 1, 2, 4).into();
        assert!(!own.contains(other, ns(3_600), |_| kernel.ask()));
        kernel.says.set(Some(true));
        assert!(own.contains(other, ns(3_600), |_| kernel.ask()), "no answer is not remembered");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_not_is_asked() {
        let (own, kernel) = (OwnAddresses::default(), Kernel::saying(Some(true)));
        let address = |n: usize| Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into();
        for n in 0..=MAX_REMEMBERED {
            assert!(own.contains(address(n), ns(0), |_| kernel.ask()));
        }
        assert_eq!(own.remembered().len(), MAX_REMEMBERED);
        let asked = kernel.asked.get();
        assert!(own.contains(address(MAX_REMEMBERED), ns(1), |_| kernel.ask()));
        assert_eq!(kernel.asked.get(), asked + 1);
        // The old make room.
        assert!(own.contains(address(MAX_REMEMBERED), ns(30), |_| kernel.ask()));
        assert_eq!(own.remembered().len(), 1);
    }
}
