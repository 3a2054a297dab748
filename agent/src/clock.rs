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
