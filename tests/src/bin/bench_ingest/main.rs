//! What taking a fleet's records costs the collector, over TLS and gRPC and onto the disk.
//!
//! A real collector; each school has its own certificate and its own stream. Its rounds of one minute
//! over the last 24 hours come as in live operation, one record a round and one record a message, but
//! without the minutes between them. CPU is the collector's alone. At the end the collector is killed
//! without warning and its database is compared with what was sent.
//!
//! What a sample costs on the wire is measured on a few more schools that send one record, wait for
//! its acknowledgement and only then send the next, through a proxy that counts.

//!
//! Peak memory is that of the busier of two collectors: the one that took the records, and one that is
//! started on its file after the kill, and that holds as many streams while it compacts and answers.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod memory;

use std::{collections::VecDeque, path::Path, process::ExitCode, sync::Arc, time::Instant};

use agent::spool::LaneStatus;
use anyhow::{Context, Result, ensure};
use domain::sample::{Sample, Span};
use e2e::{
    bench::{
        figures::{Figures, Side},
        flag, option,
        school::{Desk, Device, School},
        stream::{self, Stream},
        usage,
    },
    collector::{Collector, Settings},
    fleet::{self, DAY_ROUNDS, PERIOD_MS, SERIES},
    proxy::Proxy,
};
use jiff::Timestamp;
use proto::{
    KIND_SAMPLES, LANE_SAMPLES, limits, record_hash,
    records::{Encoder, Record},
    samples,
    v1::{self, up},
};
use store::{IngestStore as _, LaneKey, NewSeriesSpec, SampleStore as _};
use tokio::{sync::Semaphore, task::JoinSet};

const SCHOOLS: u32 = 500;
const QUICK_SCHOOLS: u32 = 20;
/// Schools whose bytes are counted.
const COUNTED: u32 = 4;
const SEED: u64 = 20_260_302;
const EPOCH: u64 = 0x5eed;
const BOOT_TAG: u32 = 1;
/// The agents' machines are up for 30 days.
const BOOTED_NS: u64 = 30 * 86_400 * 1_000_000_000;
/// Records of one school that are sent and not acknowledged, at most, credit permitting.
const WINDOW: u64 = 8;
/// Streams opened at one time.
const OPENING: usize = 16;
/// An agent's heartbeats in one round of a minute.
const HEARTBEATS: u32 = 4;

fn main() -> Result<ExitCode> {
    let usual = if flag("--quick") { QUICK_SCHOOLS } else { SCHOOLS };
    let schools = option("--schools")?.unwrap_or(usual);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(bench(schools))?;
    println!("{}", figures.table());
    Ok(if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The common facts of all schools.
#[derive(Debug, Clone, Copy)]
struct Day {
    /// Nominal time of the first round.
    start_ms: i64,
    /// Boot clock and wall clock of all machines at one instant.
    now_ms: i64,
    /// Of the agents' spools.
    epoch: u64,
}

async fn bench(count: u32) -> Result<Figures> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("collector/data");
    let home = |number: u32| directory.path().join(format!("agents/{number}"));
    let desk = Desk::open(&data)?;
    let mut schools = Vec::new();
    for number in 0..count + COUNTED {
        let school = desk.school(number, vec![device()], &home(number), "127.0.0.1:1").await;
        schools.push(Arc::new(school.with_context(|| format!("cannot register {number}"))?));
    }
    desk.store.close().await;
    println!("{count} schools and {COUNTED} counted ones are registered");
    let settings = Settings { start_grace_s: 3_600, silence_after_s: 3_600, ..Settings::default() };
    let place = directory.path().join("collector");
    let mut collector =
        tokio::task::spawn_blocking(move || Collector::start(&place, &settings)).await??;
    let address = collector.agents_address();
    let pid = collector.daemon()?.pid();
    let now_ms = Timestamp::now().as_millisecond();
    let day = Day { start_ms: now_ms - i64::from(DAY_ROUNDS) * PERIOD_MS, now_ms, epoch: EPOCH };

    let streams = open_all(&schools[..count as usize], &home, &address.to_string(), day).await?;
    let idle_mb = usage::memory_mb(pid, "VmRSS")?;
    println!("{count} streams are open; the collector holds {idle_mb:.0} MB");
    let (cpu, started) = (usage::cpu_seconds(pid)?, Instant::now());
    let threads = usage::cpu_by_thread(pid)?;
    let mut sending = JoinSet::new();
    for (number, stream) in (0..).zip(streams) {
        let rounds = Rounds::new(number, &schools[number as usize], day);
        sending.spawn(send_all(stream, rounds));
    }
    while let Some(sent) = sending.join_next().await {
        sent?.context("a school's stream")?;
    }
    let (wall_s, cpu_s) = (started.elapsed().as_secs_f64(), usage::cpu_seconds(pid)? - cpu);
    let samples = f64::from(count) * f64::from(DAY_ROUNDS) * SERIES as f64;
    let mut figures = Figures::default();
    figures.limited(
        "ingest, samples per CPU second",
        (samples / cpu_s, ""),
        "0.57-0.95 M VictoriaMetrics",
        (Side::Above, 1e6),
    );
    figures.told("  samples", samples, "");
    figures.told("  CPU a record of 200 samples", cpu_s * 1e6 / (samples / SERIES as f64), "us");
    for (name, used) in usage::cpu_by_thread(pid)? {
        let used = used - threads.get(&name).unwrap_or(&0.0);
        figures.told(format!("  CPU of threads {name}"), used, "s");
    }
    figures.told("  samples per second by the wall clock", samples / wall_s, "");
    let taking_mb = usage::memory_mb(pid, "VmHWM")?;
    let counted = schools[count as usize..].iter().cloned();
    wire(counted.zip(count..).collect(), &home, address, day, &mut figures).await?;
    collector.kill()?;
    let differences = compare(&data, &schools, day).await?;
    figures.limited(
        "acknowledged and missing or twice after kill -9",
        (differences as f64, "records"),
        "",
        (Side::Below, 0.0),
    );
    let (busy_mb, days) =
        memory::peak(&mut collector, &schools[..count as usize], &home, day).await?;
    figures.limited(
        format!("collector, peak RSS, {count} schools"),
        (taking_mb.max(busy_mb), "MB"),
        "278 MB VictoriaMetrics",
        (Side::Below, 200.0),
    );
    figures.told("  taking records", taking_mb, "MB");
    figures.told(format!("  compacting {days} days of schools, and asked"), busy_mb, "MB");
    collector.stop()?;
    Ok(figures)
}

/// The fleet's columns, as one device.
fn device() -> Device {
    let columns = fleet::columns().into_iter().map(|spec| NewSeriesSpec {
        metric: spec.metric,
        instance: spec.instance,
        label: String::new(),
        detail: spec.detail,
    });
    Device { address: "192.0.2.1:161".to_owned(), columns: columns.collect(), period_s: 60 }
}

async fn open_all(
    schools: &[Arc<School>],
    home: &impl Fn(u32) -> std::path::PathBuf,
    address: &str,
    day: Day,
) -> Result<Vec<Stream>> {
    let doors = Arc::new(Semaphore::new(OPENING));
    let mut opening = Vec::new();
    for (number, school) in (0..).zip(schools) {
        let (doors, home, address) = (doors.clone(), home(number), address.to_owned());
        let hello = hello(number, school, day);
        opening.push(tokio::spawn(async move {
            let _door = doors.acquire().await?;
            stream::open(&home, &address, hello).await
        }));
    }
    let mut streams = Vec::new();
    for open in opening {
        streams.push(open.await?.context("cannot open a stream")?);
    }
    Ok(streams)
}

fn hello(number: u32, school: &School, day: Day) -> v1::Hello {
    let mut name = vec![0; 16];
    name[..4].copy_from_slice(&number.to_be_bytes());
    let now_ms = Timestamp::now().as_millisecond();
    v1::Hello {
        protocol_min: limits::PROTOCOL,
        protocol_max: limits::PROTOCOL,
        instance_id: name.clone(),
        machine_fingerprint: name,
        boot_tag: BOOT_TAG,
        boot_ns: boot_ns(now_ms, day),
        wall_ns: now_ms * 1_000_000,
        lanes: vec![v1::LaneState {
            lane: LANE_SAMPLES,
            epoch: day.epoch,
            oldest_seq: 1,
            next_seq: 1,
            ..v1::LaneState::default()
        }],
        version: "bench".to_owned(),
        config_applied: school.version,
        surroundings: None,
    }
}

fn boot_ns(at_ms: i64, day: Day) -> u64 {
    BOOTED_NS.wrapping_add_signed((at_ms - day.now_ms) * 1_000_000)
}

/// The records of a school, oldest first.
struct Rounds {
    school: Arc<School>,
    fleet: fleet::School,
    cells: Vec<Option<i64>>,
    noise: u64,
    day: Day,
    seq: u64,
}

impl Rounds {
    fn new(number: u32, school: &Arc<School>, day: Day) -> Self {
        let fleet = fleet::School::new(SEED, number, day.start_ms, DAY_ROUNDS);
        Self { school: school.clone(), fleet, cells: Vec::new(), noise: number.into(), day, seq: 0 }
    }

    fn next(&mut self) -> Option<Record> {
        let at_ms = self.fleet.next_round(&mut self.cells)?;
        self.seq += 1;
        let group = &self.school.groups[0];
        let payload = samples::encode(group.id.0, group.layout.0, &[0], &self.cells);
        // Clocks do not tick in whole milliseconds, and are not read at one instant.
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (within_ms, apart) = ((self.noise >> 33) % 1_000_000, (self.noise >> 54) % 500);
        let boot_ns = boot_ns(at_ms, self.day) + within_ms;
        let wall_ns = at_ms * 1_000_000 + (within_ms + apart).cast_signed();
        let hash = record_hash(KIND_SAMPLES, BOOT_TAG, boot_ns, wall_ns, &payload);
        Some(Record {
            seq: self.seq,
            kind: KIND_SAMPLES,
            boot_tag: BOOT_TAG,
            boot_ns,
            wall_ns,
            hash,
            payload,
        })
    }
}

/// Sends a day, a record a message, as far ahead of the acknowledgements as the credit and
/// [`WINDOW`] permit; returns once all is acknowledged.
async fn send_all(mut stream: Stream, mut rounds: Rounds) -> Result<()> {
    let mut encoder = Encoder::new();
    let mut in_flight: VecDeque<u64> = VecDeque::new();
    let (mut bytes, mut acked) = (0, 0);
    let mut next = rounds.next();
    while next.is_some() || acked < rounds.seq {
        let open = in_flight.len() as u64;
        let room = open < WINDOW && open < stream.credit.records && bytes < stream.credit.bytes;
        if room && let Some(record) = next.take() {
            let message = encoder.encode(LANE_SAMPLES, EPOCH, 0, &[record])?;
            let size = message.body.len() as u64;
            in_flight.push_back(size);
            bytes += size;
            stream.up.send(v1::Up { message: Some(up::Message::Records(message)) }).await?;
            next = rounds.next();
            continue;
        }
        let upto = stream.acked().await?;
        ensure!((acked..=rounds.seq).contains(&upto), "{upto} acknowledged after {acked}");
        for _ in acked..upto {
            bytes -= in_flight.pop_front().context("acknowledged and never sent")?;
        }
        acked = upto;
    }
    Ok(())
}

/// Counts the bytes of schools that send a record a minute.
async fn wire(
    schools: Vec<(Arc<School>, u32)>,
    home: &impl Fn(u32) -> std::path::PathBuf,
    address: std::net::SocketAddr,
    day: Day,
    figures: &mut Figures,
) -> Result<()> {
    let mut sending = JoinSet::new();
    for (school, number) in schools {
        sending.spawn(count(school, number, home(number), address, day));
    }
    let mut sums = [0.0; 3];
    let mut streams = 0.0;
    while let Some(counted) = sending.join_next().await {
        let counted = counted?.context("a counted school's stream")?;
        sums.iter_mut().zip(counted).for_each(|(sum, bytes)| *sum += bytes);
        streams += 1.0;
    }
    // Half of a day without heartbeats, half with.
    let samples = streams * f64::from(DAY_ROUNDS / 2) * SERIES as f64;
    let [up, down, with_heartbeats] = sums.map(|bytes| bytes / samples);
    figures.limited(
        "wire, TLS and HTTP/2 included, a sample",
        (up, "B"),
        "13.8 B Prometheus remote write",
        (Side::Below, 3.0),
    );
    figures.told("  acknowledgements, a sample", down, "B");
    figures.told("  with a heartbeat each 15 s, a sample", with_heartbeats, "B");
    Ok(())
}

/// Bytes up and down in the first half of a day, and bytes up in the second, with heartbeats.
async fn count(
    school: Arc<School>,
    number: u32,
    home: std::path::PathBuf,
    address: std::net::SocketAddr,
    day: Day,
) -> Result<[f64; 3]> {
    let proxy = Proxy::start("127.0.0.1", address)?;
    let hello = hello(number, &school, day);
    let mut stream = stream::open(&home, &proxy.address().to_string(), hello).await?;
    let mut rounds = Rounds::new(number, &school, day);
    let mut encoder = Encoder::new();
    let (start_up, start_down) = (proxy.bytes_up(), proxy.bytes_down());
    let mut half = (0, 0);
    while let Some(record) = rounds.next() {
        if rounds.seq > u64::from(DAY_ROUNDS) / 2 {
            for _ in 0..HEARTBEATS {
                let message =
                    up::Message::Heartbeat(heartbeat(record.wall_ns / 1_000_000, rounds.seq, day));
                stream.up.send(v1::Up { message: Some(message) }).await?;
            }
        }
        let message = encoder.encode(LANE_SAMPLES, EPOCH, 0, &[record])?;
        stream.up.send(v1::Up { message: Some(up::Message::Records(message)) }).await?;
        let upto = stream.acked().await?;
        ensure!(upto == rounds.seq, "{upto} is acknowledged, {} was sent", rounds.seq);
        if rounds.seq == u64::from(DAY_ROUNDS) / 2 {
            half = (proxy.bytes_up() - start_up, proxy.bytes_down() - start_down);
        }
    }
    let second = proxy.bytes_up() - start_up - half.0;
    Ok([half.0, half.1, second].map(|bytes| bytes as f64))
}

/// As the agent fills it in an ordinary minute at this time.
fn heartbeat(at_ms: i64, seq: u64, day: Day) -> v1::Heartbeat {
    let lane = |lane, next_seq, bytes| {
        agent::wire::lane_load(&LaneStatus {
            lane,
            epoch: EPOCH,
            current: true,
            oldest_seq: 1,
            next_seq,
            head_hash: u64::MAX / 3,
            run_first_seq: 1,
            live_from: next_seq,
            contig_upto: next_seq - 1,
            bytes,
            evicted: 0,
        })
    };
    v1::Heartbeat {
        boot_ns: boot_ns(at_ms, day),
        wall_ns: at_ms * 1_000_000,
        lanes: vec![lane(0, 40, 100_000), lane(LANE_SAMPLES, seq + 1, 4_000_000)],
        spool_degraded: false,
        rss_bytes: 15_000_000,
        cpu_ms: 60_000,
        probe_lag_p95_ms: 3,
        skipped_rounds: 0,
        clock_offset_ns: 1_000_000,
        clock_error_ns: 2_000_000,
        config_applied: 7,
    }
}

/// Opens the database of the killed collector and returns how many records are missing, there twice
/// or different, by one column of each school.
async fn compare(data: &Path, schools: &[Arc<School>], day: Day) -> Result<u64> {
    let desk = Desk::open(data)?;
    let span = Span { from_ms: day.start_ms - 60_000, to_ms: day.now_ms + 60_000 };
    let mut differences = 0;
    for (number, school) in (0..).zip(schools) {
        let lane = LaneKey { agent: school.agent, lane: 1, epoch: EPOCH };
        let progress = desk.store.resume(lane, u64::from(DAY_ROUNDS) + 1, 0).await?.progress;
        differences += u64::from(DAY_ROUNDS).abs_diff(progress.contig_upto);
        // Another column for each school, so that all are looked at.
        let column = number as usize % SERIES;
        let series = school.groups[0].series[column];
        let read = desk.store.read(school.site, vec![series], span).await?;
        let kept = read.first().map_or(&[][..], |data| data.samples.as_slice());
        let mut fleet = fleet::School::new(SEED, number, day.start_ms, DAY_ROUNDS);
        let mut cells = Vec::new();
        let mut kept = kept.iter().peekable();
        while let Some(at_ms) = fleet.next_round(&mut cells) {
            let same = |sample: &&Sample| sample.value == cells[column] && near(sample.t_ms, at_ms);
            differences += u64::from(kept.next_if(|sample| same(sample)).is_none());
        }
        differences += kept.count() as u64;
    }
    desk.store.close().await;
    Ok(differences)
}

/// A record's time is known by the stream's hello, which took a while to arrive.
fn near(a_ms: i64, b_ms: i64) -> bool {
    a_ms.abs_diff(b_ms) < 5_000
}
