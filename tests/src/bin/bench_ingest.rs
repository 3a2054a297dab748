//! What taking a fleet's records costs the collector: samples per CPU second.
//!
//! Rounds of one minute over the last 24 hours, one record a school and round, one record a message.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use e2e::bench::{
    figures::{Figures, Side},
    school::{self, Column, School},
    usage,
};
use jiff::{SignedDuration, Timestamp};
use proto::{
    KIND_SAMPLES, LANE_SAMPLES, record_hash,
    records::{Decoder, Encoder, Record},
    samples, v1,
};
use store::{IncomingRecord, IngestStore as _, LaneKey, ServerTime, sqlite::SqliteStore};

const ROUNDS: u32 = 1_440;
const PERIOD_S: u32 = 60;
const EPOCH: u64 = 1;
/// Messages of all schools that are on their way at once.
const IN_FLIGHT_ROUNDS: usize = 8;

fn main() -> Result<ExitCode> {
    let schools = std::env::args()
        .skip_while(|word| word != "--schools")
        .nth(1)
        .map_or(Ok(20), |number| number.parse())
        .context("--schools needs a number")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(codec_and_store(schools))
}

fn columns() -> Vec<Column> {
    (1..=70)
        .flat_map(|port| [(60, port), (61, port)])
        .chain((1..=60).map(|port| (68, port)))
        .collect()
}

/// One round of a school: busy counters of seeded noise, and states.
fn cells(school: u32, round: u32, columns: &[Column], counters: &mut [i64]) -> Vec<Option<i64>> {
    let mut noise = u64::from(school) << 32 | u64::from(round) | 1;
    columns
        .iter()
        .zip(counters)
        .map(|(&(metric, port), counter)| {
            if metric == 68 {
                return Some(1);
            }
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if port % 10 >= 3 {
                *counter += 1_000_000 + (noise >> 44).cast_signed();
            }
            Some(*counter)
        })
        .collect()
}

fn record(school: &School, round: u32, start_ns: i64, cells: &[Option<i64>]) -> Record {
    let at_ns = u64::from(round) * u64::from(PERIOD_S) * 1_000_000_000;
    let payload = samples::encode(school.group.0, school.layout.0, &[0], cells);
    let (boot_ns, wall_ns) = (at_ns, start_ns + at_ns.cast_signed());
    let hash = record_hash(KIND_SAMPLES, 1, boot_ns, wall_ns, &payload);
    Record {
        seq: u64::from(round) + 1,
        kind: KIND_SAMPLES,
        boot_tag: 1,
        boot_ns,
        wall_ns,
        hash,
        payload,
    }
}

/// The collector's work without the network: codec and store, in this process.
async fn codec_and_store(count: u32) -> Result<ExitCode> {
    let dir = tempfile::tempdir()?;
    let store = SqliteStore::open(&dir.path().join("vigie.db"), school::sample_options())?;
    let now = Timestamp::now();
    let columns = columns();
    let mut schools = Vec::new();
    for number in 1..=count {
        let enrolled = now - SignedDuration::from_hours(48);
        schools.push(school::add(&store, number, &columns, PERIOD_S, enrolled).await?);
    }
    let start_ns =
        i64::try_from(now.as_nanosecond())? - i64::from(ROUNDS * PERIOD_S) * 1_000_000_000;
    let pid = std::process::id();
    let samples = f64::from(ROUNDS) * f64::from(count) * columns.len() as f64;

    let before = usage::cpu_seconds(pid)?;
    let mut messages: Vec<Vec<v1::Records>> = vec![Vec::new(); ROUNDS as usize];
    let mut body_bytes = 0;
    for (at, school) in (1..).zip(&schools) {
        let mut encoder = Encoder::new();
        let mut counters = vec![1 << 40; columns.len()];
        for (round, messages) in (0..).zip(&mut messages) {
            let cells = cells(at, round, &columns, &mut counters);
            let record = record(school, round, start_ns, &cells);
            let message = encoder.encode(LANE_SAMPLES, EPOCH, 0, &[record])?;
            body_bytes += message.body.len();
            messages.push(message);
        }
    }
    let encoded = usage::cpu_seconds(pid)?;
    let mut decoders: Vec<Decoder> = schools.iter().map(|_| Decoder::new()).collect();
    let mut batches = Vec::with_capacity(messages.len());
    for messages in messages {
        for (message, (school, decoder)) in messages.iter().zip(schools.iter().zip(&mut decoders)) {
            let incoming = |record: Record| {
                let ms = record.wall_ns / 1_000_000;
                incoming(school, record, ms, columns.len())
            };
            let records = decoder.decode(message)?;
            batches.push(records.into_iter().map(incoming).collect::<Result<Vec<_>>>()?);
        }
    }
    let decoded = usage::cpu_seconds(pid)?;
    let mut stored = 0;
    let mut batches = batches.into_iter().peekable();
    while batches.peek().is_some() {
        let together = batches.by_ref().take(schools.len() * IN_FLIGHT_ROUNDS);
        let waiting: Vec<_> = together.map(|batch| store.commit(batch)).collect();
        for commit in futures(waiting).await {
            let commit = commit?;
            stored += commit
                .records
                .iter()
                .filter(|record| record.disposition == store::Disposition::Stored)
                .count();
        }
    }
    let committed = usage::cpu_seconds(pid)?;
    ensure!(stored == ROUNDS as usize * schools.len(), "{stored} records were stored");

    let mut figures = Figures::default();
    figures.told("codec: encode, M samples per CPU s", samples / (encoded - before), "");
    figures.told("codec: decode, M samples per CPU s", samples / (decoded - encoded), "");
    figures.told("store: commit, M samples per CPU s", samples / (committed - decoded), "");
    figures.told("body, a sample", body_bytes as f64 / samples, "B");
    figures.limited(
        "ingest without the network, samples per CPU s",
        (samples / (committed - encoded), ""),
        "0.57-0.95 M VictoriaMetrics",
        (Side::Above, 1e6),
    );
    figures.told("peak RSS of this process", usage::memory_mb(pid, "VmHWM")?, "MB");
    println!("{}", figures.table());
    store.close().await;
    Ok(if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn incoming(school: &School, record: Record, ms: i64, columns: usize) -> Result<IncomingRecord> {
    Ok(IncomingRecord {
        lane: LaneKey { agent: school.agent, lane: 1, epoch: EPOCH },
        seq: record.seq,
        kind: record.kind,
        hash: record.hash,
        time: ServerTime::Known(ms),
        boot_ns: record.boot_ns,
        items: u32::try_from(columns)?,
        payload: record.payload,
        group: Some((school.group, school.layout)),
        explains: None,
        gap: None,
        refused: None,
    })
}

async fn futures<F: Future>(waiting: Vec<F>) -> Vec<F::Output> {
    let mut set: Vec<_> = waiting.into_iter().map(Box::pin).collect();
    let mut outputs = Vec::with_capacity(set.len());
    std::future::poll_fn(|context| {
        set.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if set.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs
}
