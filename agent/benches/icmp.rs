//! Processor time of echo requests over loopback, beside fping's in the same run.
//!
//! Loopback flatters nobody: the kernel's work of answering is counted in ours and in fping's.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and may panic")]

use std::{net::IpAddr, process::Command, sync::Arc, time::Duration};

use agent::{
    clock::SystemClock,
    plan::{Column, Group, Metric, ProbeKind},
    probe::{self, Env, Outcome, allow::AllowList, icmp::Pinger},
};
use rustix::time::{ClockId, clock_gettime};
use socket2::Type;

/// A school's targets.
const TARGETS: u8 = 60;
const ROUNDS: u32 = 40;
/// Between two rounds; shorter than a school's 10 s, so that caches are somewhat warmer.
const PERIOD: Duration = Duration::from_millis(250);
const METRICS: [Metric; 5] = [
    Metric::IcmpOutcome,
    Metric::IcmpLoss,
    Metric::IcmpRttMin,
    Metric::IcmpRttMean,
    Metric::IcmpDelayVariation,
];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let targets: Vec<IpAddr> = (1..=TARGETS).map(|last| [127, 0, 2, last].into()).collect();
    println!("{:28} {:>12} {:>26}", "contender", "us per ping", "CPU s/h, 60 each 10 s");
    for (name, prefer, count) in [
        ("ours, 1 a round", Type::DGRAM, 1),
        ("ours, 3 a round", Type::DGRAM, 3),
        ("ours, 5 a round", Type::DGRAM, 5),
        ("ours, raw socket, 3 a round", Type::RAW, 3),
    ] {
        let (per_ping, kind) = runtime.block_on(measure(&targets, prefer, count));
        report(&format!("{name} ({kind})"), per_ping, count);
    }
    match fping(&targets) {
        Some(per_ping) => report("fping, 1 ms apart", per_ping, 1),
        None => println!("fping is not installed: nothing beside"),
    }
}

fn report(name: &str, per_ping: Duration, count: u16) {
    let per_hour = per_ping.as_secs_f64() * 360.0 * f64::from(TARGETS) * f64::from(count);
    println!("{name:28} {:>12.1} {per_hour:>26.2}", per_ping.as_secs_f64() * 1e6);
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(now).unwrap()
}

async fn measure(targets: &[IpAddr], prefer: Type, count: u16) -> (Duration, &'static str) {
    let allow = AllowList::only(vec!["127.0.0.0/8".parse().unwrap()]);
    let mut env = Env::new(Arc::new(SystemClock::new()), allow);
    env.pinger = Arc::new(Pinger::preferring(prefer));
    let columns: Vec<Column> = (0..u16::from(TARGETS))
        .flat_map(|target| METRICS.map(|metric| (target, metric)))
        .map(|(target, metric)| Column { target, metric, instance: 0, label: String::new() })
        .collect();
    let kind = ProbeKind::Icmp {
        targets: targets.iter().map(|target| (*target).into()).collect(),
        count,
        spacing: Duration::from_millis(20),
        payload_bytes: 56,
    };
    let timeout = Duration::from_secs(1);
    let group = Group { id: 1, layout: 1, period: PERIOD, timeout, probe: kind, columns };
    let mut probe = probe::build(&group, &env).unwrap();
    probe.round().await.unwrap();
    let mut ticks = tokio::time::interval(PERIOD);
    let before = cpu();
    for _ in 0..ROUNDS {
        ticks.tick().await;
        let round = probe.round().await.unwrap();
        for target in round.cells.chunks(METRICS.len()) {
            assert_eq!(target[..2], [Some(Outcome::Ok as i64), Some(0)], "a ping was lost");
        }
    }
    let spent = cpu().saturating_sub(before);
    let datagram = env.pinger.socket_type(targets[0]) == Some(Type::DGRAM);
    let pings = ROUNDS * u32::from(count) * u32::from(TARGETS);
    (spent / pings, if datagram { "dgram" } else { "raw" })
}

/// Processor time per ping of one long run of fping, by its own account of children.
fn fping(targets: &[IpAddr]) -> Option<Duration> {
    let before = children_cpu();
    let output = Command::new("fping")
        .args(["-q", "-i", "1", "-c", &ROUNDS.to_string()])
        .args(["-p", &PERIOD.as_millis().to_string()])
        .args(targets.iter().map(IpAddr::to_string))
        .output()
        .ok()?;
    assert!(output.status.success(), "fping lost a ping");
    Some(children_cpu().saturating_sub(before) / (ROUNDS * u32::from(TARGETS)))
}

/// User and system time of the children that were waited for: fields 16 and 17 of proc(5)'s stat.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let mut fields = after_name.split_whitespace().skip(13);
    let mut ticks = || fields.next().unwrap().parse::<u64>().unwrap();
    let hundredths = ticks() + ticks();
    Duration::from_millis(hundredths * 10)
}
