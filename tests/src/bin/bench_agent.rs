//! What a whole school costs the machine that the agent runs on: CPU, memory, disk, wire.
//!
//! The shipped agent, enrolled at a real collector, measures 40 switches of 28 or 52 ports each 60 s
//! (ten columns a port, as the collector chooses them from the switches' own inventories), 60
//! addresses by ICMP each 10 s, its own machine each 60 s, and its ladder. Everything is as
//! shipped but the list of networks, since all of the school is on the loopback of a network namespace
//! where everybody may send echo requests, as on a server whose administrator allows it. An address
//! gets three echo requests a round, as shipped; the peers sent one.
//!
//! The processors are kept awake while the limited figure is measured. On a virtual machine the host
//! charges the waking of an idle processor to whoever woke it, so the same figure is told, without a
//! limit, for processors that may sleep.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    fs,
    net::SocketAddr,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    agent::{Agent, Settings},
    bench::{
        centre::{metric, series},
        devices::{self, Devices},
        figures::{Figures, Side},
        flag, option,
        school::COMMUNITY,
        usage,
    },
    binaries,
    collector::{self, Collector},
    netns::{self, Namespace},
    proxy::Proxy,
    wait,
};
use serde_json::json;

const SWITCHES: usize = 40;
/// Most ports of the fleet have 28; two of five switches have 52.
const PORTS: [u32; 5] = [28, 52, 28, 28, 52];
const HOSTS: u32 = 60;
const COLUMNS_OF_A_PORT: usize = 10;
/// Time for the switches' inventories to become a plan.
const PLAN_WITHIN: Duration = Duration::from_mins(4);
/// The slowest round: after it everything was measured once.
const ROUND: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn main() -> Result<ExitCode> {
    if devices::serve_if_asked()? {
        return Ok(ExitCode::SUCCESS);
    }
    let usual = if flag("--quick") { 1 } else { 3 };
    let minutes = option("--minutes")?.unwrap_or(usual);
    let here = Namespace::new(&netns::next_tag(), "agent")?;
    let figures = here.enter(|| bench(minutes))??;
    println!("{}", figures.table());
    Ok(if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bench(minutes: u32) -> Result<Figures> {
    let directory = tempfile::tempdir()?;
    let ports: Vec<u32> = (0..SWITCHES).map(|switch| PORTS[switch % PORTS.len()]).collect();
    let devices = Devices::start(&ports)?;
    let mut collector =
        Collector::start(&directory.path().join("collector"), &collector::Settings::default())?;
    let line = Proxy::start("127.0.0.1", collector.agents_address())?;
    let uai = collector::uai(1);
    collector.add_site(&uai, "Lycée de référence", "1")?;
    for address in devices.addresses() {
        let address = address.to_string();
        let target = json!({ "method": "snmp", "address": address, "community": COMMUNITY });
        collector.add_target(&uai, &target)?;
    }
    for host in 1..=HOSTS {
        let address = format!("127.0.1.{host}");
        collector
            .add_target(&uai, &json!({ "method": "icmp", "address": address, "period_s": 10 }))?;
    }
    let settings =
        Settings { allow_networks: Some(vec!["127.0.0.0/8".to_owned()]), ..Settings::default() };
    let mut agent = Agent::new(&directory.path().join("agent"), settings, None)?;
    agent.enrol(line.address(), &collector.token(&uai)?)?;
    agent.start()?;
    let pid = agent.daemon()?.pid();
    let ports: usize = ports.iter().map(|&ports| ports as usize).sum();
    until_measured(&mut agent, &collector, &uai, ports)?;
    println!(
        "{ports} ports of {SWITCHES} switches are measured; one more round, one on processors \
         that may sleep, then {minutes} min on processors kept awake"
    );
    sleep(ROUND);
    let (cpu_s, asleep) = (usage::cpu_seconds(pid)?, Instant::now());
    sleep(ROUND);
    agent.daemon()?.check()?;
    let sleepy = (usage::cpu_seconds(pid)? - cpu_s) / asleep.elapsed().as_secs_f64() * 3_600.0;

    let _awake = usage::Awake::keep()?;
    let api = collector.api_address();
    let before = Snapshot::take(pid, &line, api)?;
    let threads = usage::cpu_by_thread(pid)?;
    let span = Duration::from_secs(60 * u64::from(minutes));
    let mut highest_mb: f64 = 0.0;
    while before.at.elapsed() < span {
        highest_mb = highest_mb.max(usage::memory_mb(pid, "VmRSS")?);
        agent.daemon()?.check()?;
        collector.daemon()?.check()?;
        sleep(LOOK_EVERY.min(span.saturating_sub(before.at.elapsed())));
    }
    let after = Snapshot::take(pid, &line, api)?;
    let hours = after.at.duration_since(before.at).as_secs_f64() / 3_600.0;
    let samples = after.samples - before.samples;
    let expected = ports * COLUMNS_OF_A_PORT * minutes as usize;
    ensure!(samples > 0.9 * expected as f64, "{samples} samples came, of ports alone {expected}");

    let mut figures = Figures::default();
    figures.limited(
        "agent CPU, processors kept awake, 3 echo requests a target and round",
        ((after.cpu_s - before.cpu_s) / hours, "s/h"),
        "5.8 s/h collectd; 67 exporters + vmagent",
        (Side::Below, 4.0),
    );
    figures.told("  on processors that may sleep", sleepy, "s/h");
    for (name, used) in usage::cpu_by_thread(pid)? {
        let used = used - threads.get(&name).unwrap_or(&0.0);
        figures.told(format!("  of threads {name}"), used / hours, "s/h");
    }
    figures.limited(
        "agent RSS, highest while measuring",
        (highest_mb, "MB"),
        "19 MB collectd; 74 exporters + vmagent",
        (Side::Below, 20.0),
    );
    figures.limited(
        "agent RSS, highest since its start",
        (usage::memory_mb(pid, "VmHWM")?, "MB"),
        "19 MB collectd; 74 exporters + vmagent",
        (Side::Below, 20.0),
    );
    let binary = fs::metadata(binaries::find("vigie-agent")?)?.len();
    figures.limited(
        "agent binary, stripped",
        (binary as f64 / 1e6, "MB"),
        "49 MB exporters + vmagent",
        (Side::Below, 10.0),
    );
    figures.limited(
        "wire, all that the agent sends, a sample",
        ((after.sent - before.sent) / samples, "B"),
        "13.8 B Prometheus remote write",
        (Side::Below, 3.0),
    );
    figures.told("  all that it is sent, a sample", (after.heard - before.heard) / samples, "B");
    figures.told("  samples a minute", samples / hours / 60.0, "");
    Ok(figures)
}

/// What was used so far.
struct Snapshot {
    at: Instant,
    cpu_s: f64,
    samples: f64,
    sent: f64,
    heard: f64,
}

impl Snapshot {
    fn take(pid: u32, line: &Proxy, api: SocketAddr) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            cpu_s: usage::cpu_seconds(pid)?,
            samples: metric(api, "vigie_collector_samples_total")?,
            sent: line.bytes_up() as f64,
            heard: line.bytes_down() as f64,
        })
    }
}

/// Waits until every port of every switch has its series and the agent measures by them.
fn until_measured(agent: &mut Agent, collector: &Collector, uai: &str, ports: usize) -> Result<()> {
    wait::until_true("every port to be in the plan", PLAN_WITHIN, || {
        agent.daemon()?.check()?;
        Ok(series(collector, uai, "if_hc_in_octets")?.len() == ports)
    })?;
    wait::until_true("the agent to apply the plan", PLAN_WITHIN, || {
        let agents = collector.get(&format!("/agents?uai={uai}"))?;
        let live = agents["items"][0]["live"].clone();
        let versions =
            [&live["config_offered"], &live["config_applied"]].map(serde_json::Value::as_u64);
        let failed = live["config_error"].as_str();
        ensure!(failed.is_none(), "the agent refused its plan: {failed:?}");
        let [offered, applied] = versions.map(|version| version.unwrap_or(0));
        Ok(offered > 0 && offered == applied)
    })
    .context("the plan was not applied")
}
