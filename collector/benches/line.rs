//! What one CPU second of the collector takes in: TLS, gRPC, decoding, hashes, checks, the commit
//! with its fsync, the acknowledgement.
//!
//! Agents run in a process of their own, so that the CPU time is the collector's alone. Each sends
//! rounds of 203 series of a switch, a minute apart, once one record a message (live), once fifty
//! (backlog). The limit stands beside the figure; the exit status says whether it was kept.

#![expect(clippy::unwrap_used, reason = "a bench that can not run should say where")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../tests/agents/fake.rs"]
#[allow(dead_code, reason = "the tests use all of it, the bench a part")]
mod fake;
#[path = "parts/switch.rs"]
mod switch;

use std::{
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Instant,
};

use collector::app::Parts;
use fake::{Agent, Token, enrol, start_with, unhex};
use proto::{KIND_SAMPLES, record_hash, records::Record, v1};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rcgen::KeyPair;
use switch::{cpu, ports, switch};

/// Agents at a time.
const AGENTS: u32 = 40;
/// Rounds that each sends.
const ROUNDS: u64 = 500;
/// Ports of its switch, ten series each.
const PORTS: u32 = 20;
/// Samples per CPU second that are due.
const DUE: f64 = 1e6;
const ROUND_NS: u64 = 60_000_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.iter().position(|argument| argument == "agents") {
        Some(at) => runtime.block_on(agents(&arguments[at + 1], &arguments[at + 2])),
        None => runtime.block_on(collector()),
    }
}

async fn collector() {
    let mut kept = true;
    let mut out = std::io::stdout();
    writeln!(out, "records a message   samples/CPU s       due   samples/s   peak RSS").unwrap();
    for batch in ["1", "50"] {
        let more = "enrol_per_address_per_minute = 100000\nenrol_total_per_minute = 100000\n";
        let collector = start_with(Parts::default(), more).await;
        let context = &collector.app.context;
        let mut tokens = String::new();
        for number in 0..AGENTS {
            let site = collector.site(number).await;
            let target = context.targets.add(switch(site)).await.unwrap();
            context.targets.ports(site, target.group, &ports(PORTS)).await.unwrap();
            let Token { id, secret, .. } = collector.token(site).await;
            tokens.extend([id.as_str(), " ", &collector::ca::hex(&secret), "\n"]);
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["agents", &collector.app.agents.to_string(), batch])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orders = child.stdin.take().unwrap();
        orders.write_all(tokens.as_bytes()).unwrap();
        orders.write_all(b"\n").unwrap();
        let answers = child.stdout.take().unwrap();
        let mut answers = std::io::BufReader::new(answers).lines();
        // Blocking reads off the workers: the collector needs them.
        let (ready, mut answers) =
            tokio::task::spawn_blocking(move || (answers.next(), answers)).await.unwrap();
        assert_eq!(ready.unwrap().unwrap(), "ready");
        let (before, started) = (cpu(), Instant::now());
        orders.write_all(b"go\n").unwrap();
        let done = tokio::task::spawn_blocking(move || answers.next()).await.unwrap();
        let (used, elapsed) = (cpu().saturating_sub(before), started.elapsed());
        assert_eq!(done.unwrap().unwrap(), "done");
        assert!(child.wait().unwrap().success());
        let samples = context.metrics.samples.get();
        assert_eq!(samples, u64::from(AGENTS) * ROUNDS * u64::from(PORTS * 10 + 3));
        let rate = samples as f64 / used.as_secs_f64();
        kept &= rate >= DUE;
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let rss = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        let rss_kb: f64 = rss.split_whitespace().nth(1).unwrap().parse().unwrap();
        writeln!(
            out,
            "{batch:>17}   {:>9.2} M   >= {:.0} M   {:>7.2} M   {:>5.0} MB",
            rate / 1e6,
            DUE / 1e6,
            samples as f64 / elapsed.as_secs_f64() / 1e6,
            rss_kb / 1e3
        )
        .unwrap();
        collector.app.stop().await;
    }
    if !kept {
        std::process::exit(1);
    }
}

/// The other process: enrols, waits for the order, sends, and says when all is acknowledged.
async fn agents(address: &str, batch: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let batch: usize = batch.parse().unwrap();
    let mut orders = std::io::stdin().lines();
    let mut enrolled = Vec::new();
    for line in orders.by_ref() {
        let line = line.unwrap();
        let Some((id, secret)) = line.split_once(' ') else { break };
        let token = Token { id: id.to_owned(), secret: unhex(secret), pin: String::new() };
        let key = KeyPair::generate().unwrap();
        let reply = enrol(address, &token, &key).await.unwrap();
        let agent = Agent::new(address, key, &reply);
        let seed = enrolled.len() as u64;
        enrolled.push((records(&agent, seed), agent));
    }
    let mut out = std::io::stdout();
    out.write_all(b"ready\n").unwrap();
    out.flush().unwrap();
    orders.next().unwrap().unwrap();
    let mut running = tokio::task::JoinSet::new();
    for (records, agent) in enrolled {
        running.spawn(send(agent, records, batch));
    }
    while let Some(sent) = running.join_next().await {
        sent.unwrap();
    }
    out.write_all(b"done\n").unwrap();
}

/// Rounds as the reference fleet has them: seven counters in ten, a third of the ports idle, the
/// rest constant or a noisy gauge.
fn records(agent: &Agent, seed: u64) -> Vec<Record> {
    let snmp = |group: &&v1::Group| matches!(group.probe, Some(v1::group::Probe::Snmp(_)));
    let group = agent.config.groups.iter().find(snmp).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let mut values: Vec<i64> =
        group.columns.iter().map(|_| random.random_range(0..1_i64 << 40)).collect();
    let mut round = |seq: u64| {
        for (at, value) in values.iter_mut().enumerate() {
            *value = match at % 10 {
                0..7 if at % 3 == 0 => *value,
                0..7 => *value + random.random_range(0..200_000_000),
                7 => random.random_range(200..2_000),
                _ => 1,
            };
        }
        let cells: Vec<Option<i64>> = values.iter().copied().map(Some).collect();
        let payload = proto::samples::encode(group.id, group.layout, &[0], &cells);
        let boot_ns = seq * ROUND_NS + random.random_range(0..20_000_000);
        let hash = record_hash(KIND_SAMPLES, 5, boot_ns, 0, &payload);
        Record { seq, kind: KIND_SAMPLES, boot_tag: 5, boot_ns, wall_ns: 0, hash, payload }
    };
    (1..=ROUNDS).map(&mut round).collect()
}

async fn send(agent: Agent, records: Vec<Record>, batch: usize) {
    // The first round can not be older than the enrolment by more than a day.
    let hello = v1::Hello { boot_ns: (ROUNDS + 1) * ROUND_NS, ..fake::hello(ROUNDS + 1) };
    let (mut stream, _) = agent.hello(hello).await;
    let mut acknowledged = 0;
    for (at, chunk) in records.chunks(batch).enumerate() {
        stream.samples(chunk).await;
        // As many in flight as an agent's credit allows.
        while at as u64 * batch as u64 > acknowledged + 400 {
            acknowledged = stream.ack().await.contig_upto;
        }
    }
    while acknowledged < ROUNDS {
        acknowledged = stream.ack().await.contig_upto;
    }
}
