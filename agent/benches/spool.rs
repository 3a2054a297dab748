//! Processor time of keeping what was measured: append and commit, reading back, and a start on a
//! spool at its cap. On the disk of the temporary directory, synced as in production.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and may panic")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    clock::SystemClock,
    spool::{NewRecord, ReadRequest, Reserve, Spool, SpoolConfig},
};
use rustix::time::{ClockId, clock_gettime};

/// Series of one poll group: one switch.
const SAMPLES: u32 = 200;
/// What a sample may cost from append to durable, of the 2.5 us that a polled varbind may cost.
const LIMIT_NS: f64 = 250.0;
/// What committing once a second may cost, of the 4 s an hour that the whole agent may.
const LIMIT_HOUR_S: f64 = 0.5;
/// Longest start at the cap.
const LIMIT_START: Duration = Duration::from_secs(5);

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let mut spool = open(&path);
    for per_commit in [1, 10, 50] {
        append(&mut spool, per_commit, 600 / per_commit);
    }
    read(&mut spool);
    drop(spool);
    start_at_cap(&path);
}

fn open(path: &Path) -> Spool {
    let mut config = SpoolConfig::new(path.to_owned(), [1; 16]);
    config.reserve = Reserve { bytes: 0, percent: 0 };
    Spool::open(config, Arc::new(SystemClock::new())).unwrap().0
}

/// Counters of a switch in school hours: growing by amounts that vary, 30 % idle.
fn record(round: u32) -> NewRecord {
    let mut state = u64::from(round) * 0x9E37_79B9 + 1;
    let mut cells = Vec::new();
    for column in 0..u64::from(SAMPLES) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let rate = if column % 10 < 3 { 0 } else { (state >> 40) % 1_000_000 };
        cells.push(Some(i64::try_from(column * 7_919_000_000 + u64::from(round) * rate).unwrap()));
    }
    NewRecord {
        lane: proto::LANE_SAMPLES,
        kind: proto::KIND_SAMPLES,
        boot_ns: u64::from(round) * 60_000_000_000,
        wall_ns: i64::from(round) * 60_000_000_000,
        boot_tag: 1,
        n_items: SAMPLES,
        urgent: false,
        payload: proto::samples::encode(1, 1, &[0], &cells),
    }
}

fn append(spool: &mut Spool, per_commit: u32, commits: u32) {
    let records: Vec<NewRecord> = (0..per_commit * commits).map(record).collect();
    let before = spool.status().counters.written_bytes;
    let (cpu_before, started) = (cpu(), Instant::now());
    for batch in records.chunks(per_commit as usize) {
        for record in batch {
            spool.append(record).unwrap();
        }
        assert!(!spool.commit().degraded);
    }
    let (spent, elapsed) = (cpu().checked_sub(cpu_before).unwrap(), started.elapsed());
    let count = f64::from(per_commit * commits);
    let written = (spool.status().counters.written_bytes - before) as f64;
    let per_record = spent.as_secs_f64() * 1e6 / count;
    if per_commit == 1 {
        println!(
            "a commit of one record: {per_record:.0} us of CPU, {:.2} s an hour at one a second \
             (limit {LIMIT_HOUR_S})",
            per_record * 3600.0 / 1e6
        );
        return;
    }
    println!(
        "{per_commit} records of {SAMPLES} samples a commit: {per_record:.1} us of CPU a record, \
         {:.0} ns a sample (limit {LIMIT_NS}), {:.2} bytes a sample, {:.2} ms a commit",
        per_record * 1e3 / f64::from(SAMPLES),
        written / count / f64::from(SAMPLES),
        elapsed.as_secs_f64() * 1e3 / f64::from(commits),
    );
}

fn read(spool: &mut Spool) {
    let epoch = spool.lanes().iter().find(|l| l.lane == proto::LANE_SAMPLES).unwrap().epoch;
    let mut request = ReadRequest {
        lane: proto::LANE_SAMPLES,
        epoch,
        from_seq: 1,
        upto_seq: u64::MAX,
        max_bytes: 256 << 10,
        max_records: 4096,
    };
    let cpu_before = cpu();
    let mut count = 0;
    loop {
        let batch = spool.read(&request);
        if batch.records.is_empty() {
            break;
        }
        count += batch.records.len();
        request.from_seq = batch.next_seq;
    }
    let spent = cpu().checked_sub(cpu_before).unwrap();
    println!(
        "read back: {:.1} us of CPU a record of {SAMPLES} samples",
        spent.as_secs_f64() * 1e6 / count as f64
    );
}

fn start_at_cap(path: &Path) {
    let mut spool = open(path);
    let mut record = record(1);
    // Past the limit of what pays to compress: noise.
    let mut state = 1_u64;
    record.payload = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()[7]
    })
    .take(200 << 10)
    .collect();
    let cap: u64 = 448 << 20;
    while spool.lanes().iter().map(|lane| lane.bytes).sum::<u64>() < cap - (8 << 20) {
        for _ in 0..20 {
            spool.append(&record).unwrap();
        }
        assert!(!spool.commit().degraded);
    }
    drop(spool);
    let started = Instant::now();
    let spool = open(path);
    println!(
        "start on {} MiB: {:.0} ms, limit {} ms",
        spool.lanes().iter().map(|lane| lane.bytes).sum::<u64>() >> 20,
        started.elapsed().as_secs_f64() * 1e3,
        LIMIT_START.as_millis()
    );
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap()
}
