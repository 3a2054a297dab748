//! Time as the agent knows it: the boot clock orders and measures, the wall clock only hints.
//!
//! `CLOCK_BOOTTIME` goes on while the machine sleeps, which `Instant` does not on Linux.

/// A source of time. [`SystemClock`] in production, a hand-moved one in tests.
pub trait Clock: Send + Sync {
    /// Nanoseconds since this machine booted, suspends included.
    fn boot_ns(&self) -> u64;
    /// Nanoseconds since the Unix epoch, as this machine believes.
    fn wall_ns(&self) -> i64;
    /// Names the current boot: the first four bytes of the kernel's boot id.
    fn boot_tag(&self) -> u32;
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    boot_tag: u32,
}

impl SystemClock {
    /// Reads the boot id once.
    #[must_use]
    pub fn new() -> Self {
        Self { boot_tag: crate::platform::boot_tag() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn boot_ns(&self) -> u64 {
        crate::platform::boot_ns()
    }

    fn wall_ns(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        match since {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        }
    }

    fn boot_tag(&self) -> u32 {
        self.boot_tag
    }
}

/// How the collector's clock stands to this machine's boot clock: the exchange with the least
/// round-trip delay of the last [`KEPT`] (RFC 5905, 10).
#[derive(Debug, Default, Clone)]
pub struct ServerClock {
    exchanges: std::collections::VecDeque<Exchange>,
}

/// Exchanges among which the best is chosen.
const KEPT: usize = 8;
/// An answer later than this tells nothing useful.
const MAX_DELAY_NS: u64 = 60_000_000_000;

/// Nanoseconds to add to the boot clock for the server's time, and how wrong that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exchange {
    server_minus_boot_ns: i128,
    error_ns: u64,
}

impl ServerClock {
    /// Takes an answer: sent at `sent_boot_ns`, back at `now_boot_ns`, in between at the server from
    /// `received_wall_ns` to `replied_wall_ns` of its clock. An impossible one is ignored.
    pub fn take(
        &mut self,
        sent_boot_ns: u64,
        now_boot_ns: u64,
        received_wall_ns: i64,
        replied_wall_ns: i64,
    ) {
        let Some(away) = now_boot_ns.checked_sub(sent_boot_ns) else { return };
        let held = i128::from(replied_wall_ns) - i128::from(received_wall_ns);
        let Ok(held) = u64::try_from(held) else { return };
        let Some(delay) = away.checked_sub(held) else { return };
        if away > MAX_DELAY_NS {
            return;
        }
        let server = i128::midpoint(received_wall_ns.into(), replied_wall_ns.into());
        let boot = i128::midpoint(sent_boot_ns.into(), now_boot_ns.into());
        if self.exchanges.len() == KEPT {
            self.exchanges.pop_front();
        }
        let exchange = Exchange { server_minus_boot_ns: server - boot, error_ns: delay / 2 };
        self.exchanges.push_back(exchange);
    }

    fn best(&self) -> Option<Exchange> {
        self.exchanges.iter().min_by_key(|exchange| exchange.error_ns).copied()
    }

    /// The server's time at `boot_ns`, Unix nanoseconds; `None` before the first exchange.
    #[must_use]
    pub fn server_ns(&self, boot_ns: u64) -> Option<i64> {
        i64::try_from(self.best()?.server_minus_boot_ns + i128::from(boot_ns)).ok()
    }

    /// How far the server's clock is ahead of this machine's wall clock, and how wrong that may be,
    /// in nanoseconds; `None` before the first exchange.
    #[must_use]
    pub fn offset_ns(&self, clock: &dyn Clock) -> Option<(i64, u64)> {
        let server = self.server_ns(clock.boot_ns())?;
        Some((server.saturating_sub(clock.wall_ns()), self.best()?.error_ns))
    }
}

/// Notices that the wall clock was set: it then moves against the boot clock.
#[derive(Debug, Clone, Copy)]
pub struct StepWatch {
    wall_minus_boot_ns: i128,
}

/// Smaller steps are the work of a time daemon.
const STEP_NS: u128 = 2_000_000_000;

impl StepWatch {
    /// Watches from now on.
    #[must_use]
    pub fn new(clock: &dyn Clock) -> Self {
        Self { wall_minus_boot_ns: difference(clock) }
    }

    /// How far the wall clock was set, in nanoseconds, since the last step or the start.
    pub fn step(&mut self, clock: &dyn Clock) -> Option<i64> {
        let now = difference(clock);
        let step = now - self.wall_minus_boot_ns;
        if step.unsigned_abs() <= STEP_NS {
            return None;
        }
        self.wall_minus_boot_ns = now;
        Some(i64::try_from(step).unwrap_or(if step > 0 { i64::MAX } else { i64::MIN }))
    }
}

fn difference(clock: &dyn Clock) -> i128 {
    i128::from(clock.wall_ns()) - i128::from(clock.boot_ns())
}

#[cfg(test)]
pub(crate) mod tests;
