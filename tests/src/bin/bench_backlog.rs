//! How long a backlog of three days takes: 8.6 M samples, 2,000 a minute.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{process::ExitCode, sync::Arc, time::Instant};

use agent::{
    clock::SystemClock,
    spool::{NewRecord, ReadRequest, Spool, SpoolConfig},
};
use anyhow::{Context, Result, ensure};
use e2e::bench::figures::Figures;
use proto::{KIND_SAMPLES, LANE_SAMPLES, records, samples};

/// A record a minute and device: 10 devices of 200 columns over 72 hours are 8.64 M samples.
const DEVICES: u32 = 10;
const COLUMNS: i64 = 200;
const MINUTES: u32 = 72 * 60;
/// Records between two commits of the spool.
const COMMIT_RECORDS: u32 = 600;

fn main() -> Result<ExitCode> {
    let dir = tempfile::tempdir()?;
    let config = SpoolConfig::new(dir.path().join("spool"), [7; 16]);
    let (mut spool, _) = Spool::open(config, Arc::new(SystemClock::new()))?;
    let started = Instant::now();
    let mut appended = 0;
    for minute in 0..MINUTES {
        for device in 0..DEVICES {
            spool.append(&record(device, minute))?;
            appended += 1;
            if appended % COMMIT_RECORDS == 0 {
                spool.commit();
            }
        }
    }
    spool.commit();
    ensure!(!spool.is_degraded(), "the spool's disk failed");
    let filled = started.elapsed();
    let lanes = spool.lanes();
    let lane = lanes.iter().find(|lane| lane.lane == LANE_SAMPLES).context("a lane of samples")?;
    let mut encoder = records::Encoder::new();
    let (mut from_seq, mut read, mut body) = (lane.oldest_seq, 0, 0);
    let started = Instant::now();
    while from_seq < lane.next_seq {
        let request = ReadRequest {
            lane: LANE_SAMPLES,
            epoch: lane.epoch,
            from_seq,
            upto_seq: u64::MAX,
            max_bytes: agent::spool::RING_BYTES / 32,
            max_records: proto::limits::MAX_BATCH_RECORDS,
        };
        let batch = spool.read(&request);
        from_seq = batch.next_seq;
        read += batch.records.len();
        let records: Vec<_> = batch.records.into_iter().map(wire_record).collect();
        body += encoder.encode(LANE_SAMPLES, lane.epoch, 1, &records)?.body.len();
    }
    let replayed = started.elapsed();
    ensure!(read as u64 == u64::from(MINUTES * DEVICES), "{read} records came back");
    let samples = f64::from(MINUTES * DEVICES) * COLUMNS as f64;
    let mut figures = Figures::default();
    figures.told("samples in the backlog", samples, "");
    figures.told("spool, a sample", lane.bytes as f64 / samples, "B");
    figures.told("filling the spool", filled.as_secs_f64(), "s");
    figures.told("reading and encoding all of it", replayed.as_secs_f64(), "s");
    figures.told("messages, a sample", body as f64 / samples, "B");
    println!("{}", figures.table());
    Ok(ExitCode::SUCCESS)
}

fn record(device: u32, minute: u32) -> NewRecord {
    let at = i64::from(minute) * 60_000_000_000;
    let cells: Vec<Option<i64>> = (0..COLUMNS)
        .map(|column| Some((column << 33) + i64::from(minute) * (column % 7) * 91_813))
        .collect();
    NewRecord {
        lane: LANE_SAMPLES,
        kind: KIND_SAMPLES,
        boot_ns: at.cast_unsigned(),
        wall_ns: at,
        boot_tag: 1,
        n_items: u32::try_from(cells.len()).unwrap_or(u32::MAX),
        urgent: false,
        payload: samples::encode(device + 1, 1, &[0], &cells),
    }
}

fn wire_record(stored: agent::spool::StoredRecord) -> records::Record {
    records::Record {
        seq: stored.seq,
        kind: stored.kind,
        boot_tag: stored.boot_tag,
        boot_ns: stored.boot_ns,
        wall_ns: stored.wall_ns,
        hash: stored.hash,
        payload: stored.payload,
    }
}
