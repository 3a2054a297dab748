//! What the collector's store costs on the reference fleet: bytes on disk, CPU, memory, questions;
//! each figure beside the peers' and the limit.
//!
//! The reference fleet keeps its access ports, 136 of a school's 200 series, in coarse detail as the
//! collector does unless told otherwise: raw samples, hourly and daily rollups, none of 5 minutes. The
//! bytes of a small fleet are told both so and with every series in full detail.
//!
//! `cargo run --release -p e2e --bin bench_store -- --schools 500`. Ends with status 1 when a figure is
//! above its limit, or when a percentile differs from the one computed from the raw data.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use domain::{
    id::{AgentId, Layout, SeriesId, SiteId},
    sample::Span,
    site::{SiteFacts, SiteKind, Zone},
    target::{Community, Detail, Group, Method, Role, TargetSpec},
    uai::Uai,
};
use e2e::fleet::{self, COARSE, DAY_ROUNDS, LINKS, SERIES, School};
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use store::{
    AgentStore, Disposition, EdgeSpec, IncomingRecord, IngestStore, LaneKey, NewAgent,
    NewSeriesSpec, NewToken, Redeemed, Rounds, SampleOptions, SampleStore, ServerTime, SiteStore,
    TargetStore, sqlite::SqliteStore,
};

/// 2026-03-02, a Monday, 00:00 UTC.
const MIDNIGHT_MS: i64 = 1_772_409_600_000;
const SEED: u64 = 20_260_302;
const DAY: Span = Span { from_ms: MIDNIGHT_MS, to_ms: MIDNIGHT_MS + 86_400_000 };
const P95: EdgeSpec = EdgeSpec { span: DAY, p: 0.95 };
/// Each question is asked this often, and the median told.
const TIMES: usize = 5;

/// Schools of the fleets that show what full detail costs.
const SMALL_FLEET: u32 = 20;

/// One school as the store knows it.
struct Site {
    id: SiteId,
    agent: AgentId,
    group: Group,
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|schools| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(schools))
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("bench_store: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<u32> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(500),
        ["--schools", n] => {
            let n = n.parse().context("--schools takes a number")?;
            ensure!((1..=5_000).contains(&n), "--schools takes 1 to 5000");
            Ok(n)
        }
        _ => bail!("usage: bench_store [--schools N]"),
    }
}

async fn run(schools: u32) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("vigie.db");
    let open = || SqliteStore::open(&path, SampleOptions::new(read_payload));
    let store = open()?;
    let sites = register(&store, schools, Details::Shipped).await?;
    let samples = samples_of(schools);
    println!(
        "Reference fleet: {schools} schools x {SERIES} series x 24 h at 60 s, 20 ms of jitter: \
         {:.1} M samples",
        samples / 1e6
    );
    println!(
        "  {COARSE} of the {SERIES} series of a school, those of access ports, are in coarse detail: \
         hourly and daily rollups only"
    );

    let ingest = fill(&store, &sites).await?;
    let head_bytes = std::fs::metadata(&path)?.len();
    println!("  ingested in {:.0} s; the file is {:.0} MB", ingest.wall_s, head_bytes as f64 / 1e6);
    let before = cpu_s(ClockId::ProcessCPUTime);
    let started = Instant::now();
    let slowest_ms = compact(&store).await?;
    let compact_s = cpu_s(ClockId::ProcessCPUTime) - before;
    println!(
        "  compacted in {:.0} s, {:.3} us of CPU a sample; longest round {slowest_ms:.0} ms",
        started.elapsed().as_secs_f64(),
        compact_s * 1e6 / samples
    );
    store.close().await;
    let bytes = std::fs::metadata(&path)?.len();
    let peak_mb = peak_rss_mb()?;

    let store = open()?;
    let one = one_series(&store, &sites).await?;
    let wan = wan_percentiles(&store, &sites).await?;
    let top = top_links(&store, &sites).await?;
    let (checked, wrong) = check(&store, &sites).await?;
    store.close().await;
    let small = bytes_a_sample(SMALL_FLEET, Details::Shipped).await?;
    let full = bytes_a_sample(SMALL_FLEET, Details::AllFull).await?;

    let ingest_us = ingest.store_cpu_s * 1e6 / samples;
    println!();
    println!("{:<46} {:>9}  {:<40} {:>8}", "figure", "ours", "peers", "limit");
    let mut good = true;
    let mut row = |name: &str, ours: f64, digits: usize, peers: &str, limit: f64| {
        let verdict = if ours <= limit { "ok" } else { "TOO MUCH" };
        good &= ours <= limit;
        println!("{name:<46} {ours:>9.digits$}  {peers:<40} {limit:>8} {verdict}");
    };
    row(
        "disk, bytes/sample, all included",
        bytes as f64 / samples,
        3,
        "VictoriaMetrics 2.39, Prometheus 4.3, PostgreSQL 84",
        1.8,
    );
    row("store's CPU of ingest, us/sample", ingest_us, 3, "VictoriaMetrics 1.05-1.7, all in", 1.0);
    row(
        "store's CPU, ingest and compaction, us/sample",
        ingest_us + compact_s * 1e6 / samples,
        3,
        "VictoriaMetrics 1.05-1.7, all in",
        1.0,
    );
    row("peak RSS, MB, generator included", peak_mb, 0, "VictoriaMetrics 278", 200.0);
    row("one series, 24 h, CPU ms", one, 2, "VictoriaMetrics 1.7", 1.5);
    row(
        &format!("p95 of {schools} WAN links, 24 h, CPU ms"),
        wan,
        1,
        "VictoriaMetrics 36 (500 links)",
        25.0,
    );
    row(
        &format!("top 20 of {} links by p95, CPU ms", schools * LINKS),
        top,
        0,
        "VictoriaMetrics 279 (4,000 links)",
        200.0,
    );
    let told = |name: &str, ours: f64| println!("{name:<46} {ours:>9.3}");
    told(&format!("  bytes/sample, {SMALL_FLEET} schools as above"), small);
    told(&format!("  the same, all {SERIES} series in full detail"), full);
    println!(
        "p95 against the raw data: {checked} series, {wrong} differ{}",
        if wrong == 0 { " (peers: up to 9 % off)" } else { "  WRONG" }
    );
    Ok(good && wrong == 0)
}

fn read_payload(payload: &[u8]) -> Option<Rounds> {
    let columns = proto::samples::decode(payload).ok()?;
    Some(Rounds { times_ms: columns.times_ms, cells: columns.cells })
}

/// In what detail a fleet's series are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Details {
    /// Access ports coarse, all others full.
    Shipped,
    /// Every series full.
    AllFull,
}

fn samples_of(schools: u32) -> f64 {
    f64::from(schools) * SERIES as f64 * f64::from(DAY_ROUNDS)
}

/// Size of a fleet's file after a day and its upkeep, all included.
async fn bytes_a_sample(schools: u32, details: Details) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("vigie.db");
    let store = SqliteStore::open(&path, SampleOptions::new(read_payload))?;
    let sites = register(&store, schools, details).await?;
    fill(&store, &sites).await?;
    compact(&store).await?;
    store.close().await;
    Ok(std::fs::metadata(&path)?.len() as f64 / samples_of(schools))
}

/// Registers the schools with their agents, targets and series.
async fn register(store: &SqliteStore, schools: u32, details: Details) -> Result<Vec<Site>> {
    let now = Timestamp::from_millisecond(MIDNIGHT_MS)?;
    let mut sites = Vec::new();
    for number in 0..schools {
        let uai = Uai::from_number(9_990_000 / 10 + number).context("a number of a UAI")?;
        let facts = SiteFacts::new(uai, format!("École {number}"), SiteKind::Primaire, Zone::C);
        let site = store.add_site(facts).await?;
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let mut agent = [0; 16];
        agent[..4].copy_from_slice(&(number + 1).to_be_bytes());
        let token = NewToken {
            id: format!("token-{number}"),
            secret_sha256: key,
            site: site.id,
            created_at: now,
            expires_at: now + SignedDuration::from_hours(1),
        };
        store.add_token(token.clone()).await?;
        let agent = NewAgent {
            id: AgentId(agent),
            spki_sha256: key,
            hostname: format!("srv-{number}"),
            version: "0.1.0".to_owned(),
        };
        let redeemed = store.redeem_token(&token.id, key, agent, now).await?;
        let Redeemed::Agent(agent) = redeemed else { bail!("a token was refused") };
        let series = fleet::columns()
            .into_iter()
            .map(|column| NewSeriesSpec {
                metric: column.metric,
                instance: column.instance,
                label: format!("{}", column.instance),
                detail: match details {
                    Details::Shipped => column.detail,
                    Details::AllFull => Detail::Full,
                },
            })
            .collect();
        let spec = TargetSpec {
            site: site.id,
            role: Role::Equipment,
            name: "switch".to_owned(),
            address: "10.0.0.2:161".to_owned(),
            method: Method::SnmpV2c { community: Community::new("public") },
            period_s: 60,
            parent: None,
        };
        store.upsert_target(spec, series).await?;
        let (_, mut groups) = store.groups(site.id).await?;
        let mut group = groups.pop().context("a site without group")?;
        // The generator's order is that of the layout: series are registered in that order.
        group.columns.sort_by_key(|series| series.id);
        let same = fleet::columns()
            .iter()
            .zip(&group.columns)
            .all(|(a, b)| (a.metric, a.instance) == (b.metric, b.instance));
        ensure!(same && group.columns.len() == SERIES, "the columns are not those of the fleet");
        sites.push(Site { id: site.id, agent: agent.id, group });
    }
    Ok(sites)
}

struct Ingest {
    wall_s: f64,
    store_cpu_s: f64,
}

/// A day of every school, round by round, each round of all schools one batch.
async fn fill(store: &SqliteStore, sites: &[Site]) -> Result<Ingest> {
    let mut schools: Vec<School> = (0..)
        .zip(sites)
        .map(|(number, _)| School::new(SEED, number, MIDNIGHT_MS, DAY_ROUNDS))
        .collect();
    let started = Instant::now();
    let before = cpu_s(ClockId::ProcessCPUTime);
    let mut making_s = 0.0;
    let mut cells = Vec::new();
    for round in 0..u64::from(DAY_ROUNDS) {
        let making = cpu_s(ClockId::ThreadCPUTime);
        let mut batch = Vec::with_capacity(sites.len());
        for (school, site) in schools.iter_mut().zip(sites) {
            let t_ms = school.next_round(&mut cells).context("a round of the day")?;
            batch.push(record(site, round + 1, t_ms, &cells));
        }
        making_s += cpu_s(ClockId::ThreadCPUTime) - making;
        let commit = store.commit(batch).await?;
        ensure!(
            commit.records.iter().all(|record| record.disposition == Disposition::Stored),
            "a record was not stored: {:?}",
            commit.records.iter().map(|r| &r.disposition).find(|d| **d != Disposition::Stored)
        );
    }
    let store_cpu_s = cpu_s(ClockId::ProcessCPUTime) - before - making_s;
    Ok(Ingest { wall_s: started.elapsed().as_secs_f64(), store_cpu_s })
}

fn record(site: &Site, seq: u64, t_ms: i64, cells: &[Option<i64>]) -> IncomingRecord {
    let Layout(layout) = site.group.layout;
    let payload = proto::samples::encode(site.group.id.0, layout, &[0], cells);
    let boot_ns = (t_ms - MIDNIGHT_MS).unsigned_abs() * 1_000_000 + 1;
    IncomingRecord {
        lane: LaneKey { agent: site.agent, lane: 1, epoch: 7 },
        seq,
        kind: proto::KIND_SAMPLES,
        hash: proto::record_hash(proto::KIND_SAMPLES, 1, boot_ns, t_ms * 1_000_000, &payload),
        time: ServerTime::Known(t_ms),
        boot_ns,
        items: u32::try_from(cells.len()).unwrap_or(u32::MAX),
        payload,
        group: Some((site.group.id, site.group.layout)),
        explains: None,
        gap: None,
        refused: None,
    }
}

/// Upkeep until there is nothing left to do; the longest round in milliseconds.
async fn compact(store: &SqliteStore) -> Result<f64> {
    let now_ms = DAY.to_ms + 2 * 3_600_000;
    let mut slowest: f64 = 0.0;
    loop {
        let started = Instant::now();
        let report = store.maintain(now_ms).await?;
        ensure!(report.damaged == 0, "the store says that it is damaged");
        if !report.worked() {
            return Ok(slowest);
        }
        slowest = slowest.max(started.elapsed().as_secs_f64() * 1_000.0);
    }
}

fn series(site: &Site, place: usize) -> SeriesId {
    site.group.columns[place].id
}

async fn one_series(store: &SqliteStore, sites: &[Site]) -> Result<f64> {
    let mut times = Vec::new();
    for i in 0..TIMES * 4 {
        let site = &sites[i * 7 % sites.len()];
        let before = cpu_s(ClockId::ProcessCPUTime);
        let data = store.read(site.id, vec![series(site, 0)], DAY).await?;
        times.push(cpu_s(ClockId::ProcessCPUTime) - before);
        ensure!(data[0].samples.len() == DAY_ROUNDS as usize, "not all samples were read");
    }
    Ok(median_ms(&mut times))
}

async fn wan_percentiles(store: &SqliteStore, sites: &[Site]) -> Result<f64> {
    let asked: Vec<_> = sites.iter().map(|site| (site.id, series(site, 0))).collect();
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let asked = asked.clone();
        let before = cpu_s(ClockId::ProcessCPUTime);
        let found = store.percentiles(asked, P95).await?;
        times.push(cpu_s(ClockId::ProcessCPUTime) - before);
        ensure!(found.iter().all(Option::is_some), "a link without percentile");
    }
    Ok(median_ms(&mut times))
}

/// The links whose busier direction has the highest p95 for their contract rate.
async fn top_links(store: &SqliteStore, sites: &[Site]) -> Result<f64> {
    let mut asked = Vec::new();
    for site in sites {
        for port in 1..=LINKS {
            let (place_in, place_out) = fleet::link_places(port);
            asked.push((site.id, series(site, place_in)));
            asked.push((site.id, series(site, place_out)));
        }
    }
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let asked = asked.clone();
        let before = cpu_s(ClockId::ProcessCPUTime);
        let found = store.percentiles(asked, P95).await?;
        let mut links: Vec<(f64, usize)> = found
            .chunks_exact(2)
            .zip(0..)
            .filter_map(|(pair, link)| {
                let busier = pair.iter().flatten().map(|one| one.0).max_by(f64::total_cmp)?;
                Some((busier * 8.0 / contract_bits(link), link))
            })
            .collect();
        links.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        links.truncate(20);
        times.push(cpu_s(ClockId::ProcessCPUTime) - before);
        ensure!(links.len() == 20.min(sites.len() * LINKS as usize), "links are missing");
    }
    Ok(median_ms(&mut times))
}

/// Contract rate of a link, bits per second.
fn contract_bits(link: usize) -> f64 {
    [20e6, 100e6, 300e6, 1e9][link % 4]
}

/// Compares every link's p95 with the one computed here from the raw readings, by other code.
async fn check(store: &SqliteStore, sites: &[Site]) -> Result<(usize, usize)> {
    let (mut checked, mut wrong) = (0, 0);
    for (number, site) in (0..).zip(sites) {
        let mut school = School::new(SEED, number, MIDNIGHT_MS, DAY_ROUNDS);
        let places: Vec<usize> =
            (1..=LINKS).map(fleet::link_places).flat_map(|(a, b)| [a, b]).collect();
        let mut raw = vec![Vec::new(); places.len()];
        let mut cells = Vec::new();
        while let Some(t_ms) = school.next_round(&mut cells) {
            for (readings, &place) in raw.iter_mut().zip(&places) {
                readings.push((t_ms, cells[place].context("a reading of the fleet")?));
            }
        }
        let asked = places.iter().map(|&place| (site.id, series(site, place))).collect();
        let found = store.percentiles(asked, P95).await?;
        for (readings, found) in raw.iter().zip(found) {
            checked += 1;
            let exact = exact_p95(readings);
            if found != Some(exact) {
                wrong += 1;
                println!("  a p95 differs: {found:?} instead of {exact:?}");
            }
        }
    }
    Ok((checked, wrong))
}

/// The definition, word for word: the counter's value at each five-minute edge by interpolation
/// floored to whole octets, the means between the edges, sorted, the element of rank ceil(0.95 n).
fn exact_p95(readings: &[(i64, i64)]) -> (f64, u32) {
    let (first, last) = (readings[0].0, readings[readings.len() - 1].0);
    let value_at = |t: i64| -> i128 {
        let after = readings.iter().position(|r| r.0 >= t).unwrap_or(readings.len() - 1);
        let (t1, v1) = readings[after];
        if t1 == t {
            return v1.into();
        }
        let (t0, v0) = readings[after - 1];
        i128::from(v0) + i128::from(v1 - v0) * i128::from(t - t0) / i128::from(t1 - t0)
    };
    let mut means = Vec::new();
    let mut edge = DAY.from_ms;
    while edge < DAY.to_ms {
        let (from, to) = (edge.max(first), (edge + 300_000).min(last));
        if to > from {
            means.push((value_at(to) - value_at(from)) as f64 * 1_000.0 / (to - from) as f64);
        }
        edge += 300_000;
    }
    means.sort_by(f64::total_cmp);
    let rank = (means.len() * 95).div_ceil(100);
    (means[rank - 1], u32::try_from(means.len()).unwrap_or(u32::MAX))
}

fn median_ms(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2] * 1_000.0
}

fn cpu_s(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_rss_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("an odd VmHWM")?.parse()?;
    Ok(kib / 1_024.0)
}
