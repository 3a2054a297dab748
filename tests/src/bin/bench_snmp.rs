//! What the agent's SNMP polling costs: CPU per value, beside `snmpbulkwalk` on the same devices.
//!
//! The devices run in a child process of this program, whose CPU is not counted.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    plan::{Column, Metric, Secret},
    probe::{
        Outcome, Probe,
        snmp::{STATS, SnmpProbe},
    },
};
use anyhow::{Context, Result, bail, ensure};
use e2e::snmp_responder::{Question, Responder, Spec};
use tokio::task::JoinSet;

const COMMUNITY: &str = "public";
const DEVICES: u32 = 40;
const ROUNDS: usize = 200;
/// Devices polled at the same time, as a school's rounds overlap when they are spread badly.
const PARALLEL: usize = 4;
const SERVE: &str = "serve";
const TICKS_PER_SECOND: f64 = 100.0;

const COLUMNS: [Metric; 10] = [
    Metric::IfHcInOctets,
    Metric::IfHcOutOctets,
    Metric::IfInErrors,
    Metric::IfOutErrors,
    Metric::IfInDiscards,
    Metric::IfOutDiscards,
    Metric::IfHcInUcastPkts,
    Metric::IfHcOutUcastPkts,
    Metric::IfOperStatus,
    Metric::IfHighSpeed,
];

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve();
    }
    let devices = Devices::start()?;
    let whole = bench("whole switches", &devices, |ports| (1..=ports).collect())?;
    bench("every second port", &devices, |ports| (1..=ports).step_by(2).collect())?;
    bench("one uplink", &devices, |ports| vec![ports])?;
    let walk = snmpbulkwalk(&devices)?;
    println!();
    println!("CPU per value, whole switches:");
    println!("  this agent                     {whole:6.2} us   (limit 2.5)");
    println!("  snmpbulkwalk, this run         {walk:6.2} us");
    println!("  collectd 5.12, measured before   5.0  us");
    println!("  snmp_exporter 0.21, the same     9.1  us");
    ensure!(whole <= 2.5, "the limit of 2.5 us per value is exceeded");
    Ok(())
}

/// 28 to 52 ports.
fn ports() -> Vec<u32> {
    (0..DEVICES).map(|device| [28, 52, 28, 28, 52][(device % 5) as usize]).collect()
}

fn serve() -> Result<()> {
    let values = Arc::new(|Question { metric, if_index, .. }: Question| {
        if matches!(metric, Metric::IfOperStatus | Metric::IfAdminStatus) {
            1
        } else if metric == Metric::IfHighSpeed {
            1_000
        } else {
            // As wide as a busy port's counter after a year.
            (metric as u64) << 40 | u64::from(if_index)
        }
    });
    let spec = Spec { interfaces: ports(), community: COMMUNITY.into(), values };
    let responder = Responder::start(spec)?;
    let mut out = std::io::stdout().lock();
    for address in responder.addresses() {
        writeln!(out, "{address}")?;
    }
    out.flush()?;
    // Ends with its parent, who holds the other end.
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

struct Devices {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Devices {
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the devices")?;
        let out = child.stdout.take().context("the child has an output")?;
        let addresses = BufReader::new(out)
            .lines()
            .take(DEVICES as usize)
            .map(|line| Ok(line?.parse()?))
            .collect::<Result<Vec<SocketAddr>>>()?;
        ensure!(addresses.len() == DEVICES as usize, "the devices did not start");
        Ok(Self { child, addresses })
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

fn bench(name: &str, devices: &Devices, wanted: impl Fn(u32) -> Vec<u32>) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut probes: Vec<SnmpProbe> = devices
        .addresses
        .iter()
        .zip(ports())
        .map(|(address, ports)| {
            let column =
                |metric, instance| Column { target: 0, metric, instance, label: String::new() };
            let mut columns = vec![column(Metric::SnmpOutcome, 0)];
            for port in wanted(ports) {
                columns.extend(COLUMNS.map(|metric| column(metric, port)));
            }
            let secret = Secret(COMMUNITY.into());
            SnmpProbe::new(1, *address, secret, 20, Duration::from_secs(2), columns)
        })
        .collect();

    // The first round reads the inventory; it is not what is measured.
    runtime.block_on(poll(&mut probes))?;
    let requests = STATS.requests.load(std::sync::atomic::Ordering::Relaxed);
    let (cpu_before, started) = (cpu()?, Instant::now());
    let mut values = 0;
    for _ in 0..ROUNDS {
        values += runtime.block_on(poll(&mut probes))?;
    }
    let (cpu_s, wall_s) = (cpu()? - cpu_before, started.elapsed().as_secs_f64());
    let requests = STATS.requests.load(std::sync::atomic::Ordering::Relaxed) - requests;
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
    Ok(per_value)
}

/// One round of every device; returns how many values arrived.
async fn poll(probes: &mut Vec<SnmpProbe>) -> Result<usize> {
    let mut values = 0;
    let mut waiting = std::mem::take(probes).into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < PARALLEL
            && let Some(mut probe) = waiting.next()
        {
            running.spawn(async move {
                let round = probe.round().await;
                (probe, round)
            });
        }
        let Some(done) = running.join_next().await else { return Ok(values) };
        let (probe, round) = done?;
        let round = round?;
        ensure!(round.cells[0] == Some(Outcome::Ok as i64), "a device did not answer");
        ensure!(round.cells.iter().all(Option::is_some), "a value is missing");
        values += round.cells.len() - 1;
        probes.push(probe);
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
    for address in &devices.addresses {
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
    println!("snmpbulkwalk       {values:6} values in {} processes", 2 * devices.addresses.len());
    Ok(per_value)
}
