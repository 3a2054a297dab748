//! What this process uses, and how many there are.

use std::{fs, io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// CPU time that this process has used.
#[must_use]
pub fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let (s, ns) = (u64::try_from(used.tv_sec), u32::try_from(used.tv_nsec));
    Duration::new(s.unwrap_or(0), ns.unwrap_or(0))
}

/// Memory of this process that is in RAM, in bytes; `None` where the kernel does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Processes of this machine, by the entries of `/proc` whose names are numbers.
pub fn process_count() -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        count += u64::from(name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    }
    Ok(count)
}
