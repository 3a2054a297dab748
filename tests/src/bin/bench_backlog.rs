//! What happens when a line comes back after three days: how long the backlog takes, and how soon
//! what the collector says of the present is right.
//!
//! Right means: every address was asked since the connection and is known to be up, and the newest
//! sample of counters of every switch, as the API tells it, is no older than its period and is the
//! value which that switch gave at that time.
//!
//! Real agent and collector. The agent's spool is filled through its own interface with the rounds of
//! ten switches of 200 series over 72 hours, one record a minute and switch: 8.64 M samples. Then
//! the agent runs behind a line that is cut, measuring the same switches and 60 addresses; then the
//! line comes back.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    clock::SystemClock,
    spool::{NewRecord, Spool, SpoolConfig},
};
use anyhow::{Context, Result, bail, ensure};
use domain::{sample::Span, target::Detail};
use e2e::{
    agent::{Agent, Settings},
    api::items,
    bench::{
        centre::{self, metric},
        devices::{self, Devices},
        figures::{Figures, Side},
        flag,
        school::{Desk, Device, School},
        usage,
    },
    collector::{self, Collector},
    fleet,
    proxy::Proxy,
    wait,
};
use jiff::Timestamp;
use proto::{KIND_SAMPLES, LANE_SAMPLES, samples, v1::Metric};
use serde_json::json;
use store::{IngestStore as _, NewSeriesSpec, SampleStore as _};

const DEVICES: u32 = 10;
const PORTS: u32 = 20;
/// The ten columns that the collector chooses for a port.
const PORT_METRICS: [u32; 10] = [60, 61, 62, 63, 64, 65, 66, 67, 68, 71];
const HOURS: u32 = 72;
const QUICK_HOURS: u32 = 6;
const HOSTS: u32 = 60;
/// The backlog ends so long before now: all of it is late, and nothing else is.
const SINCE_MS: i64 = 300_000;
const SEED: u64 = 20_260_302;
/// The machine's boot before the present one.
const BOOT_TAG: u32 = 0x0dd_b007;
const BOOTED_NS: u64 = 10 * 86_400 * 1_000_000_000;
/// Records between two commits of the spool.
const COMMIT_RECORDS: u64 = 600;
/// Longest wait for each step.
const PATIENCE: Duration = Duration::from_mins(6);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the agent measures behind the cut line: each switch at least once.
const CUT_FOR: Duration = Duration::from_secs(75);
/// Columns of each switch whose newest value is compared with what the switch gave.
const CHECKED: [Metric; 2] = [Metric::IfHcInOctets, Metric::IfHcOutOctets];
/// The first port that is checked, of the first switch: high ports' counters are hardest to mistake.
const FIRST_CHECKED_PORT: u32 = 11;
/// Period of the switches, and what the address check allows as well.
const STALE_MS: u64 = 75_000;
/// A sample has the time of its round's start; its value was given then or in the round, by clocks
/// that the collector compares over the wire.
const GIVEN_BEFORE_MS: u64 = 500;
const GIVEN_AFTER_MS: u64 = 3_000;
/// Time between two looks at the counters once they were right.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);
/// A backlog that is in sooner is watched for so many looks all the same.
const LEAST_LOOKS: u32 = 5;
/// Series that one question to the store reads.
const READ_AT_ONCE: usize = 50;

fn main() -> Result<ExitCode> {
    if devices::serve_if_asked()? {
        return Ok(ExitCode::SUCCESS);
    }
    let hours = if flag("--quick") { QUICK_HOURS } else { HOURS };
    let figures = bench(hours * 60)?;
    println!("{}", figures.table());
    Ok(if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bench(rounds: u32) -> Result<Figures> {
    let directory = tempfile::tempdir()?;
    let devices = Devices::start(&[PORTS; DEVICES as usize])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut collector =
        Collector::start(&directory.path().join("collector"), &collector::Settings::default())?;
    let line = Proxy::start("127.0.0.1", collector.agents_address())?;
    let settings =
        Settings { allow_networks: Some(vec!["127.0.0.0/8".to_owned()]), ..Settings::default() };
    let mut agent = Agent::new(&directory.path().join("agent"), settings, None)?;

    collector.stop()?;
    let (school, start_ms) =
        runtime.block_on(register(&collector, &agent, &devices, &line, rounds))?;
    let filling = Instant::now();
    fill(&agent.data(), &school, start_ms, rounds)?;
    println!("{} rounds are in the spool after {:?}", rounds * DEVICES, filling.elapsed());
    collector.restart()?;
    let uai = collector::uai(1);
    for host in 1..=HOSTS {
        let address = format!("127.0.1.{host}");
        collector
            .add_target(&uai, &json!({ "method": "icmp", "address": address, "period_s": 10 }))?;
    }
    // The agent has its plan, as any that has been connected before.
    learn_plan(&mut agent, &collector, &uai)?;

    line.cut();
    agent.start()?;
    let cut = Instant::now();
    wait::until_true("the agent to measure behind the cut line", PATIENCE, || {
        agent.daemon()?.check()?;
        Ok(cut.elapsed() > CUT_FOR)
    })?;
    let late = metric(collector.api_address(), LATE)?;
    let counters = counters(&school)?;
    line.restore();
    let mut figures = replay(&mut agent, &mut collector, (&uai, &counters), late, rounds)?;
    collector.kill()?;
    let (compared, wrong) =
        runtime.block_on(compare(&collector.data(), &school, start_ms, rounds))?;
    figures.told("  samples compared, all columns", compared as f64, "");
    figures.limited(
        "samples missing, twice or changed",
        (wrong as f64, ""),
        "",
        (Side::Below, 0.0),
    );
    Ok(figures)
}

const LATE: &str = "vigie_collector_late_records_total";

/// Registers the school while the collector stands still; returns it, and the time of the first
/// round.
async fn register(
    collector: &Collector,
    agent: &Agent,
    devices: &Devices,
    line: &Proxy,
    rounds: u32,
) -> Result<(School, i64)> {
    let desk = Desk::open(&collector.data())?;
    let columns = (1..=PORTS).flat_map(|port| {
        PORT_METRICS.map(|metric| NewSeriesSpec {
            metric,
            instance: port,
            label: format!("Gi0/{port}"),
            detail: Detail::Coarse,
        })
    });
    let columns: Vec<NewSeriesSpec> = columns.collect();
    let device = |address: &std::net::SocketAddr| Device {
        address: address.to_string(),
        columns: columns.clone(),
        period_s: 60,
    };
    let all = devices.addresses().iter().map(device).collect();
    let school = desk.school(1, all, &agent.data(), &line.address().to_string()).await?;
    let end_ms = Timestamp::now().as_millisecond() - SINCE_MS;
    let start_ms = end_ms - i64::from(rounds) * fleet::PERIOD_MS;
    let offset_ns = start_ms * 1_000_000 - BOOTED_NS.cast_signed();
    desk.store.save_clock(school.agent, BOOT_TAG, offset_ns, 1_000_000).await?;
    desk.store.close().await;
    Ok((school, start_ms))
}

/// Writes the backlog into the agent's spool.
fn fill(data: &Path, school: &School, start_ms: i64, rounds: u32) -> Result<()> {
    let config = SpoolConfig::new(data.join("spool"), school.agent.0);
    let (mut spool, _) = Spool::open(config, Arc::new(SystemClock::new()))?;
    let mut devices = generators(start_ms, rounds);
    let mut cells = Vec::new();
    let mut appended = 0;
    for _ in 0..rounds {
        for (device, group) in devices.iter_mut().zip(&school.groups) {
            let at_ms = device.next_round(&mut cells).context("a round for each minute")?;
            let boot_ns = BOOTED_NS + ((at_ms - start_ms) * 1_000_000).cast_unsigned();
            spool.append(&NewRecord {
                lane: LANE_SAMPLES,
                kind: KIND_SAMPLES,
                boot_ns,
                wall_ns: at_ms * 1_000_000,
                boot_tag: BOOT_TAG,
                n_items: u32::try_from(cells.len())?,
                urgent: false,
                payload: samples::encode(group.id.0, group.layout.0, &[0], &cells),
            })?;
            appended += 1;
            if appended % COMMIT_RECORDS == 0 {
                spool.commit();
            }
        }
    }
    spool.record_stop("the machine was switched off");
    ensure!(!spool.is_degraded(), "the spool's disk failed");
    Ok(())
}

fn generators(start_ms: i64, rounds: u32) -> Vec<fleet::School> {
    (0..DEVICES).map(|device| fleet::School::new(SEED, device, start_ms, rounds)).collect()
}

/// Connects the agent for as long as it takes to get its plan, without its backlog.
fn learn_plan(agent: &mut Agent, collector: &Collector, uai: &str) -> Result<()> {
    let spool = agent.data().join("spool");
    let aside = agent.data().join("spool.aside");
    std::fs::rename(&spool, &aside)?;
    agent.start()?;
    wait::until_true("the agent to apply its plan", PATIENCE, || {
        agent.daemon()?.check()?;
        let agents = collector.get(&format!("/agents?uai={uai}"))?;
        let live = &items(&agents).first().context("no agent")?["live"];
        let applied = live["config_applied"].as_u64();
        Ok(applied.is_some_and(|version| version > 0) && applied == live["config_offered"].as_u64())
    })?;
    agent.stop()?;
    std::fs::remove_dir_all(&spool)?;
    std::fs::rename(&aside, &spool)?;
    Ok(())
}

/// What the collector says of the present: whether the agent is connected, and when each address was
/// asked last; `None` while one of them is not known to be up.
fn present(collector: &Collector, uai: &str) -> Result<(bool, Option<Timestamp>)> {
    let agents = collector.get(&format!("/agents?uai={uai}"))?;
    let connected = items(&agents).first().context("no agent")?["connected"] == true;
    let targets = collector.get(&format!("/sites/{uai}/targets?limit=1000"))?;
    let hosts = items(&targets).iter().filter(|target| {
        target["method"] == "icmp"
            && target["address"].as_str().is_some_and(|text| text.starts_with("127.0.1."))
    });
    let mut oldest = None;
    for host in hosts {
        let asked = host["asked_at"].as_str().filter(|_| host["state"] == "up");
        let Some(asked) = asked else { return Ok((connected, None)) };
        let asked: Timestamp = asked.parse()?;
        oldest = Some(oldest.map_or(asked, |oldest: Timestamp| oldest.min(asked)));
    }
    Ok((connected, oldest))
}

/// A counter whose newest value is checked.
#[derive(Debug, Clone, Copy)]
struct Counter {
    series: i64,
    /// Position of the switch.
    device: usize,
    metric: Metric,
    port: u32,
}

/// Two counters of every switch, each switch's of another port.
fn counters(school: &School) -> Result<Vec<Counter>> {
    let mut all = Vec::new();
    for (device, (group, port)) in school.groups.iter().zip(FIRST_CHECKED_PORT..=PORTS).enumerate()
    {
        for metric in CHECKED {
            let of_port = PORT_METRICS.iter().position(|&number| number == metric as u32);
            let column = (port as usize - 1) * PORT_METRICS.len()
                + of_port.context("a metric of the ports")?;
            all.push(Counter { series: group.series[column].0, device, metric, port });
        }
    }
    ensure!(all.len() == DEVICES as usize * CHECKED.len(), "not every switch is checked");
    Ok(all)
}

/// Whether the API's newest sample of each counter is of the switch's last round, and what the switch
/// gave then.
fn counters_right(collector: &Collector, counters: &[Counter]) -> Result<bool> {
    for counter in counters {
        let now_ms = Timestamp::now().as_millisecond().cast_unsigned();
        let from = Timestamp::from_millisecond((now_ms - STALE_MS).cast_signed())?;
        let points = centre::points(collector, counter.series, &from.to_string())?;
        let Some((at_ms, value)) = points.last() else { return Ok(false) };
        let Some(value) = value.as_u64() else { return Ok(false) };
        let at_ms = at_ms.cast_unsigned();
        let of = (counter.device, counter.metric, counter.port);
        if !devices::gave(of, value, at_ms - GIVEN_BEFORE_MS..=at_ms + GIVEN_AFTER_MS) {
            println!("{counter:?} is {value} at {at_ms} ms, which the switch did not give");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Watches the replay.
fn replay(
    agent: &mut Agent,
    collector: &mut Collector,
    (uai, counters): (&str, &[Counter]),
    late_before: f64,
    rounds: u32,
) -> Result<Figures> {
    let restored = Instant::now();
    let (agent_pid, collector_pid) = (agent.daemon()?.pid(), collector.daemon()?.pid());
    let cpu = [usage::cpu_seconds(agent_pid)?, usage::cpu_seconds(collector_pid)?];
    let whole = f64::from(rounds * DEVICES);
    let mut connected: Option<(Instant, Timestamp)> = None;
    // From the connection on, and from the line's return on.
    let mut right: Option<(Duration, Duration)> = None;
    let mut counters_seen = restored;
    let mut counters_wrong = 0;
    let mut oldest_s: f64 = 0.0;
    let mut done: Option<Duration> = None;
    let mut looks = 0;
    while done.is_none() || right.is_none() || looks < LEAST_LOOKS {
        if restored.elapsed() > PATIENCE {
            bail!("after {PATIENCE:?}: connected {connected:?}, right {right:?}, done {done:?}");
        }
        agent.daemon()?.check()?;
        collector.daemon()?.check()?;
        let now = Timestamp::now();
        let (is_connected, oldest) = present(collector, uai)?;
        let since = match connected {
            Some((since, at)) => {
                if right.is_none() {
                    if oldest.is_some_and(|oldest| oldest >= at)
                        && counters_right(collector, counters)?
                    {
                        right = Some((since.elapsed(), restored.elapsed()));
                    }
                } else {
                    if counters_seen.elapsed() >= COUNTERS_EVERY {
                        counters_wrong += u32::from(!counters_right(collector, counters)?);
                        counters_seen = Instant::now();
                        looks += 1;
                    }
                    let age =
                        oldest.map_or(f64::INFINITY, |at| now.duration_since(at).as_secs_f64());
                    oldest_s = oldest_s.max(age);
                }
                since
            }
            None if is_connected => {
                let since = Instant::now();
                connected = Some((since, now));
                println!("connected {:?} after the line came back", restored.elapsed());
                since
            }
            None => Instant::now(),
        };
        let late = metric(collector.api_address(), LATE)? - late_before;
        if done.is_none() && late >= whole {
            done = Some(since.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let used =
        [usage::cpu_seconds(agent_pid)? - cpu[0], usage::cpu_seconds(collector_pid)? - cpu[1]];
    let done = done.unwrap_or(PATIENCE);
    let (right, right_restored) = right.unwrap_or((PATIENCE, PATIENCE));
    let mut figures = Figures::default();
    figures.limited(
        "backlog committed, from the connection on",
        (done.as_secs_f64(), "s"),
        "",
        (Side::Below, 180.0),
    );
    figures.told("  samples of the backlog", whole * fleet::SERIES as f64, "");
    figures.told("  CPU of the agent", used[0], "s");
    figures.told("  CPU of the collector", used[1], "s");
    figures.limited(
        "every live value right, from the connection on",
        (right.as_secs_f64(), "s"),
        "",
        (Side::Below, 15.0),
    );
    figures.told("  from the line's return on", right_restored.as_secs_f64(), "s");
    figures.limited(
        "looks with a stale or wrong counter after that",
        (f64::from(counters_wrong), ""),
        "",
        (Side::Below, 0.0),
    );
    figures.limited("oldest live value after that", (oldest_s, "s"), "", (Side::Below, 15.0));
    figures.told("  agent, peak RSS", usage::memory_mb(agent_pid, "VmHWM")?, "MB");
    figures.told("  collector, peak RSS", usage::memory_mb(collector_pid, "VmHWM")?, "MB");
    Ok(figures)
}

/// Compares all columns of each device in the killed collector's database with what was put into the
/// spool; returns how many samples were compared, and how many are missing, there twice or different.
async fn compare(
    data: &Path,
    school: &School,
    start_ms: i64,
    rounds: u32,
) -> Result<(usize, usize)> {
    let desk = Desk::open(data)?;
    let end_ms = start_ms + i64::from(rounds) * fleet::PERIOD_MS;
    let span = Span { from_ms: start_ms, to_ms: end_ms };
    let (mut compared, mut wrong) = (0, 0);
    for (group, mut device) in school.groups.iter().zip(generators(start_ms, rounds)) {
        let mut kept = Vec::with_capacity(group.series.len());
        for series in group.series.chunks(READ_AT_ONCE) {
            let read = desk.store.read(school.site, series.to_vec(), span).await?;
            kept.extend(read.into_iter().map(|data| data.samples.into_iter().peekable()));
        }
        let mut cells = Vec::new();
        while let Some(at_ms) = device.next_round(&mut cells) {
            ensure!(cells.len() == kept.len(), "a series is missing");
            for (kept, cell) in kept.iter_mut().zip(&cells) {
                let same = |t_ms: i64, value| t_ms == at_ms && value == *cell;
                compared += 1;
                wrong += usize::from(kept.next_if(|s| same(s.t_ms, s.value)).is_none());
            }
        }
        wrong += kept.into_iter().map(Iterator::count).sum::<usize>();
    }
    desk.store.close().await;
    Ok((compared, wrong))
}
