//! What a process has used.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command},
};

use anyhow::{Context, Result};
use nix::{time::ClockId, unistd::Pid};

/// CPU seconds of a process since its start, all its threads, ended ones included. Exact to the
/// nanosecond, where `/proc/PID/stat` counts in ticks of 10 ms.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let pid = Pid::from_raw(i32::try_from(pid).context("a process number out of range")?);
    let used = ClockId::pid_cpu_clock_id(pid)
        .and_then(ClockId::now)
        .with_context(|| format!("cannot read the CPU time of process {pid}"))?;
    Ok(used.tv_sec() as f64 + used.tv_nsec() as f64 / 1e9)
}

/// CPU seconds of the living threads of a process, by their names.
pub fn cpu_by_thread(pid: u32) -> Result<BTreeMap<String, f64>> {
    let mut used = BTreeMap::new();
    let tasks = format!("/proc/{pid}/task");
    for task in fs::read_dir(&tasks).with_context(|| format!("cannot list {tasks}"))? {
        let task = task?.path();
        // A thread may end while it is looked at; what it used is in the sum of all.
        let read = |name: &str| fs::read_to_string(task.join(name)).ok();
        let (Some(name), Some(times)) = (read("comm"), read("schedstat")) else { continue };
        let ns: f64 = times.split_whitespace().next().context("schedstat has fields")?.parse()?;
        *used.entry(name.trim().to_owned()).or_default() += ns / 1e9;
    }
    Ok(used)
}

/// A figure of `/proc/PID/status` that is given in KiB, such as `VmRSS` or `VmHWM`, in MB (10^6
/// bytes).
pub fn memory_mb(pid: u32, name: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next());
    let kib: f64 = value.with_context(|| format!("{path} has no {name}"))?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_this_process_is_seen_while_it_is_done() -> Result<()> {
        let pid = std::process::id();
        let before = cpu_seconds(pid)?;
        let mut digits = 0_u64;
        while cpu_seconds(pid)? < before + 0.01 {
            digits = digits.wrapping_mul(31).wrapping_add(7);
        }
        assert_ne!(digits, 0);
        let threads: f64 = cpu_by_thread(pid)?.values().sum();
        assert!((0.005..before + 60.0).contains(&threads), "{threads}");
        let (now, peak) = (memory_mb(pid, "VmRSS")?, memory_mb(pid, "VmHWM")?);
        assert!(now > 0.5 && peak >= now, "{now} {peak}");
        assert!(memory_mb(pid, "VmNone").is_err());
        Ok(())
    }
}

/// Keeps the processors awake, with work that gives way to all other. An idle virtual machine is
/// put aside by its host, and what waking up then costs is charged to the process that woke up:
/// half as much again as its own work, more or less with the host's load.
#[derive(Debug)]
pub struct Awake(Vec<Child>);

/// Ends by itself when the process named after it has ended.
const SPIN: &str = "while kill -0 $0; do i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; done";

impl Awake {
    /// From now on, until it is dropped.
    pub fn keep() -> Result<Self> {
        let processors = std::thread::available_parallelism()?.get();
        let owner = std::process::id().to_string();
        let mut spinning = Self(Vec::new());
        for _ in 0..processors {
            let child = Command::new("chrt")
                .args(["--idle", "0", "sh", "-c", SPIN, &owner])
                .spawn()
                .context("cannot start chrt, of util-linux")?;
            spinning.0.push(child);
        }
        Ok(spinning)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("a spinning process is left behind: {error}");
            }
        }
    }
}
