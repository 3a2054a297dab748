//! What the agent's SNMP polling costs: CPU per value polled and spooled, beside `snmpbulkwalk` on
//! the same devices.
//!
//! The devices run in a child process of this program, whose CPU is not counted. Each round of a
//! device becomes a record as in the shipped agent, goes to the shipped spool's thread, and is made
//! durable by a commit of its own: in a school the rounds are spread over the minute, so that hardly
//! two of them share the commit of a second.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    process::{Command, ExitCode},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use agent::{
    clock::SystemClock,
    plan::{Group, Metric, ProbeKind},
    probe::{
        Outcome, Probe,
        snmp::{STATS, SnmpProbe},
    },
    snmp::Credentials,
    spool::{SpoolConfig, SpoolHandle, SpoolThread},
    wire,
};
use anyhow::{Context, Result, bail, ensure};
use e2e::{
    bench::{
        devices::{self, Devices},
        figures::{Figures, Side},
        school::COMMUNITY,
    },
    snmp_responder::{POLLED, column},
};
use tokio::task::JoinSet;

const DEVICES: usize = 40;
/// Most ports of the fleet have 28; two of five switches have 52.
const PORTS: [u32; 5] = [28, 52, 28, 28, 52];
const ROUNDS: usize = 200;
/// Devices polled at the same time, as a school's rounds overlap when they are spread badly.
const PARALLEL: usize = 4;
const PERIOD: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_secs(2);
const REPETITIONS: u16 = 20;
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result<ExitCode> {
    if devices::serve_if_asked()? {
        return Ok(ExitCode::SUCCESS);
    }
    let ports: Vec<u32> = (0..DEVICES).map(|device| PORTS[device % PORTS.len()]).collect();
    let devices = Devices::start(&ports)?;
    let bench = |name: &str, spool: Option<&SpoolHandle>, wanted: fn(u32) -> Vec<u32>| {
        bench(name, groups(&devices, &ports, wanted), spool)
    };
    let spooled =
        with_spool(|spool| bench("polled and spooled", Some(spool), |n| (1..=n).collect()))?;
    let polled = bench("polled only", None, |ports| (1..=ports).collect())?;
    bench("every second port", None, |ports| (1..=ports).step_by(2).collect())?;
    bench("one uplink", None, |ports| vec![ports])?;
    let walk = snmpbulkwalk(&devices)?;

    let mut figures = Figures::default();
    figures.limited(
        "SNMP, CPU per value polled and spooled",
        (spooled, "us"),
        "5.0 us collectd 5.12; 9.1 snmp_exporter 0.21",
        (Side::Below, 2.5),
    );
    figures.told("  polled only", polled, "us");
    figures.told("  snmpbulkwalk, this run, printed only", walk, "us");
    println!("{}", figures.table());
    Ok(if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A group for each device, as the collector plans them.
fn groups(devices: &Devices, ports: &[u32], wanted: fn(u32) -> Vec<u32>) -> Vec<Arc<Group>> {
    let group = |((id, address), ports): ((u32, &std::net::SocketAddr), &u32)| {
        let mut columns = vec![column(Metric::SnmpOutcome, 0)];
        for port in wanted(*ports) {
            columns.extend(POLLED.map(|metric| column(metric, port)));
        }
        let probe = ProbeKind::Snmp {
            address: *address,
            credentials: Credentials::v2c(COMMUNITY),
            max_repetitions: REPETITIONS,
        };
        Arc::new(Group { id, layout: 1, period: PERIOD, timeout: TIMEOUT, probe, columns })
    };
    (1..).zip(devices.addresses()).zip(ports).map(group).collect()
}

/// Does the work with a spool as shipped, in a directory of its own.
fn with_spool(work: impl FnOnce(&SpoolHandle) -> Result<f64>) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let config = SpoolConfig::new(directory.path().join("spool"), [1; 16]);
    let (thread, _) = SpoolThread::start(config, Arc::new(SystemClock::new()))?;
    let per_value = work(&thread.handle())?;
    thread.stop("the bench is over")?;
    Ok(per_value)
}

/// CPU seconds of this process by the scheduler's count, children not included.
fn cpu() -> Result<f64> {
    let mut nanoseconds = 0_u64;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds +=
            text.split_whitespace().next().context("schedstat has fields")?.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn rss_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS is there")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("VmRSS has a value")?.parse()?;
    Ok(kilobytes / 1024.0)
}

/// A device with its probe; the spool when its rounds are kept.
struct Device {
    group: Arc<Group>,
    probe: SnmpProbe,
    spool: Option<SpoolHandle>,
}

impl Device {
    /// Polls once; returns how many values arrived, durable if there is a spool.
    async fn round(&mut self, clock: &SystemClock) -> Result<usize> {
        let round = self.probe.round().await?;
        ensure!(round.cells[0] == Some(Outcome::Ok as i64), "a device did not answer");
        ensure!(round.cells.iter().all(Option::is_some), "a value is missing");
        if let Some(spool) = &self.spool {
            spool.try_append(wire::sample_record(&self.group, &round, clock))?;
            ensure!(!spool.commit().await?.degraded, "the spool's disk failed");
        }
        Ok(round.cells.len() - 1)
    }
}

fn bench(name: &str, groups: Vec<Arc<Group>>, spool: Option<&SpoolHandle>) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut polled = Vec::with_capacity(groups.len());
    for group in groups {
        let ProbeKind::Snmp { address, credentials, max_repetitions } = &group.probe else {
            bail!("a group of another kind");
        };
        let (who, columns) = (credentials.clone(), group.columns.clone());
        let probe =
            SnmpProbe::new(group.id, *address, who, *max_repetitions, group.timeout, columns);
        polled.push(Device { group, probe, spool: spool.cloned() });
    }

    // The first round reads the inventory; it is not what is measured.
    runtime.block_on(poll(&mut polled))?;
    let kept = || spool.map(|spool| spool.status().borrow().counters);
    let (requests, kept_before) = (STATS.requests.load(Ordering::Relaxed), kept());
    let (cpu_before, started) = (cpu()?, Instant::now());
    let mut values = 0;
    for _ in 0..ROUNDS {
        values += runtime.block_on(poll(&mut polled))?;
    }
    let (cpu_s, wall_s) = (cpu()? - cpu_before, started.elapsed().as_secs_f64());
    let requests = STATS.requests.load(Ordering::Relaxed) - requests;
    let per_value = cpu_s * 1e6 / values as f64;
    println!(
        "{name:18} {:6} values a round, {:5.1} a request: {per_value:5.2} us CPU per value, \
         {:5.2} M values per CPU s, {:5.2} M per wall s, {:5.2} s CPU per hour at 60 s, RSS {:.1} MB",
        values / ROUNDS,
        values as f64 / requests as f64,
        values as f64 / cpu_s / 1e6,
        values as f64 / wall_s / 1e6,
        cpu_s / ROUNDS as f64 * 60.0,
        rss_mb()?,
    );
    if let (Some(before), Some(after)) = (kept_before, kept()) {
        let durable = after.durable_samples - before.durable_samples;
        // The outcome of each round is a sample too.
        let expected = values + ROUNDS * DEVICES;
        ensure!(durable == expected as u64, "{durable} samples are durable, not {expected}");
        let commits = (after.commits - before.commits) as f64;
        println!(
            "{:18} {commits} commits by fdatasync, {:.2} ms each; {:.2} bytes written a value",
            "",
            (after.commit_ns - before.commit_ns) as f64 / commits / 1e6,
            (after.written_bytes - before.written_bytes) as f64 / values as f64,
        );
    }
    Ok(per_value)
}

/// One round of every device; returns how many values arrived.
async fn poll(devices: &mut Vec<Device>) -> Result<usize> {
    let clock = SystemClock::new();
    let mut values = 0;
    let mut waiting = std::mem::take(devices).into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < PARALLEL
            && let Some(mut device) = waiting.next()
        {
            running.spawn(async move {
                let round = device.round(&clock).await;
                (device, round)
            });
        }
        let Some(done) = running.join_next().await else { return Ok(values) };
        let (device, round) = done?;
        values += round?;
        devices.push(device);
    }
}

/// CPU seconds of the children that have ended.
fn children_cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("stat has a name")?;
    // Fields 16 and 17 of proc_pid_stat(5), of which the first two are cut off.
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(13).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// A process for each table of each device, counting every value it prints as useful.
fn snmpbulkwalk(devices: &Devices) -> Result<f64> {
    let before = children_cpu()?;
    let mut values = 0;
    for address in devices.addresses() {
        for table in ["1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.31.1.1.1"] {
            let output = Command::new("snmpbulkwalk")
                .args(["-v2c", "-c", COMMUNITY, "-m", "", "-On", "-Oq", "-Cr25"])
                .arg(format!("udp:{address}"))
                .arg(table)
                .output()
                .context("cannot run snmpbulkwalk: Debian's package snmp is needed")?;
            if !output.status.success() {
                bail!("snmpbulkwalk failed: {}", String::from_utf8_lossy(&output.stderr));
            }
            values += String::from_utf8_lossy(&output.stdout).lines().count();
        }
    }
    let per_value = (children_cpu()? - before) * 1e6 / values as f64;
    println!("snmpbulkwalk       {values:6} values in {} processes", 2 * devices.addresses().len());
    Ok(per_value)
}
