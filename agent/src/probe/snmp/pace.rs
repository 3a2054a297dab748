//! How much one device takes at once, learnt from its failures.

/// Most repetitions of one bulk request.
const MAX_REPETITIONS: u16 = 20;
/// Most instances of one request.
const MAX_GETS: u16 = 40;

/// Sizes of requests that a device answered so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    ceiling: u16,
    repetitions: u16,
    gets: u16,
}

impl Pace {
    /// Starts at the configured repetitions; 0 stands for the default.
    pub(super) fn new(max_repetitions: u16) -> Self {
        let ceiling = match max_repetitions {
            0 => MAX_REPETITIONS,
            configured => configured.min(MAX_REPETITIONS),
        };
        Self { ceiling, repetitions: ceiling, gets: MAX_GETS }
    }

    /// Repetitions for a bulk request; 0 means that only single steps work.
    pub(super) fn repetitions(&self) -> u16 {
        self.repetitions
    }

    /// Instances for one request, at least 1.
    pub(super) fn gets(&self) -> u16 {
        self.gets
    }

    /// A bulk request with this many repetitions failed.
    pub(super) fn shrink_repetitions(&mut self, failed: u16) {
        self.repetitions = failed / 2;
    }

    /// A request for this many instances failed.
    pub(super) fn shrink_gets(&mut self, failed: usize) {
        self.gets = u16::try_from(failed / 2).unwrap_or(MAX_GETS).max(1);
    }

    /// Forgets the failures: a lost datagram must not slow a device down for ever.
    pub(super) fn reset(&mut self) {
        *self = Self { ceiling: self.ceiling, repetitions: self.ceiling, gets: MAX_GETS };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_halve_down_to_single_steps_and_a_reset_starts_again() {
        let mut pace = Pace::new(25);
        let seen: Vec<u16> = std::iter::from_fn(|| {
            let now = pace.repetitions();
            pace.shrink_repetitions(now);
            (now > 0).then_some(now)
        })
        .collect();
        assert_eq!(seen, [20, 10, 5, 2, 1]);
        assert_eq!(pace.repetitions(), 0);
        pace.shrink_gets(1);
        assert_eq!(pace.gets(), 1);
        pace.reset();
        assert_eq!(pace, Pace::new(0));
    }
}
