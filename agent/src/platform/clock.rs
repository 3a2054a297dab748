//! The clocks that only the kernel has.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, suspends included.
#[must_use]
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// First four bytes of the kernel's boot id; 0 where the kernel does not tell.
#[must_use]
pub fn boot_tag() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|id| u32::from_str_radix(id.get(..8)?, 16).ok())
        .unwrap_or(0)
}
