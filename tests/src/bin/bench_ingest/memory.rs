//! The collector's memory with all that it does at once: streams, compaction of whole days, questions,
//! and the check of its file after an unclean stop.
//!
//! The day before the one that was sent is put into the store while the collector stands still, and
//! compacted by it as any other.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use domain::metric;
use e2e::{
    api::items,
    bench::{
        centre,
        school::{Desk, School},
        stream::Stream,
        usage,
    },
    collector::{self, Collector},
    fleet::{self, DAY_ROUNDS, PERIOD_MS, SERIES},
};
use proto::{KIND_SAMPLES, record_hash, samples, v1::up};
use store::{
    CommittedRecord, Disposition, IncomingRecord, IngestStore as _, LaneKey, SampleStore as _,
    ServerTime,
};

use super::{BOOT_TAG, Day, EPOCH, SEED, heartbeat, open_all};

/// Schools with a whole day to compact: so many megabytes stand in the head.
const COMPACTED: u32 = 100;
/// Schools whose records are one commit.
const AT_ONCE: usize = 20;
const DAY_MS: i64 = 86_400_000;
/// Round trip times in the catalogue, twelve series a school.
const RTT: u32 = 4;
/// Longest compaction, with questions between.
const PATIENCE: Duration = Duration::from_mins(10);
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// The collector's peak memory in MB, and how many days of how many samples it compacted.
pub(super) async fn peak(
    collector: &mut Collector,
    schools: &[Arc<School>],
    home: &impl Fn(u32) -> PathBuf,
    day: Day,
) -> Result<(f64, u32)> {
    let days = COMPACTED.min(u32::try_from(schools.len())?);
    let start_ms = day.start_ms - day.start_ms.rem_euclid(DAY_MS) - DAY_MS;
    let before = fill(&collector.data(), &schools[..days as usize], start_ms).await?;
    let due = f64::from(days * DAY_ROUNDS);
    tokio::task::block_in_place(|| collector.restart())?;
    let (pid, page) = (collector.daemon()?.pid(), collector.api_address());
    let address = collector.agents_address().to_string();
    let streams = open_all(schools, home, &address, Day { epoch: EPOCH + 1, ..day }).await?;
    let started = Instant::now();
    let mut beaten = Instant::now();
    beat(&streams, day).await?;
    loop {
        tokio::task::block_in_place(|| questions(collector, start_ms))?;
        let head = centre::metric(page, "vigie_collector_store_head_records")?;
        // The figure is 0 until it is first read.
        if head > 0.0 && head <= before - due {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "{head} records wait to be compacted, of {before}");
        if beaten.elapsed() >= BEAT_EVERY {
            beaten = Instant::now();
            beat(&streams, day).await?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::task::block_in_place(|| questions(collector, start_ms))?;
    Ok((usage::memory_mb(pid, "VmHWM")?, days))
}

async fn beat(streams: &[Stream], day: Day) -> Result<()> {
    for stream in streams {
        let message = up::Message::Heartbeat(heartbeat(day.now_ms, u64::from(DAY_ROUNDS), day));
        stream.up.send(proto::v1::Up { message: Some(message) }).await?;
    }
    Ok(())
}

/// Puts a whole day of some schools into the store; returns how many records are in its head.
async fn fill(data: &std::path::Path, schools: &[Arc<School>], start_ms: i64) -> Result<f64> {
    let desk = Desk::open(data)?;
    let mut cells = Vec::new();
    for (some, from) in schools.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
        let mut fleets: Vec<_> = (from..)
            .zip(some)
            .map(|(number, _)| fleet::School::new(SEED, number, start_ms, DAY_ROUNDS))
            .collect();
        for seq in 1..=u64::from(DAY_ROUNDS) {
            let mut batch = Vec::with_capacity(some.len());
            for (fleet, school) in fleets.iter_mut().zip(some) {
                let t_ms = fleet.next_round(&mut cells).context("a round of the day")?;
                let group = &school.groups[0];
                let payload = samples::encode(group.id.0, group.layout.0, &[0], &cells);
                let boot_ns = seq * PERIOD_MS.unsigned_abs() * 1_000_000;
                batch.push(IncomingRecord {
                    lane: LaneKey { agent: school.agent, lane: 1, epoch: EPOCH - 1 },
                    seq,
                    kind: KIND_SAMPLES,
                    hash: record_hash(KIND_SAMPLES, BOOT_TAG, boot_ns, 0, &payload),
                    time: ServerTime::Known(t_ms),
                    boot_ns,
                    items: u32::try_from(SERIES)?,
                    payload,
                    group: Some((group.id, group.layout)),
                    explains: None,
                    gap: None,
                    refused: None,
                });
            }
            let commit = desk.store.commit(batch).await?;
            let stored = |record: &CommittedRecord| record.disposition == Disposition::Stored;
            ensure!(commit.records.iter().all(stored), "a record was not stored");
        }
    }
    let head = desk.store.figures().await?.head_records;
    desk.store.close().await;
    Ok(head as f64)
}

/// What operators ask, of the present, of the day that is being compacted, and of the one after it.
fn questions(collector: &Collector, start_ms: i64) -> Result<()> {
    for path in ["/status", "/sites?limit=1000", "/agents?limit=1000", "/incidents"] {
        collector.get(path).with_context(|| format!("cannot ask {path}"))?;
    }
    let time = |ms| jiff::Timestamp::from_millisecond(ms);
    let (from, to) = (time(start_ms)?, time(start_ms + DAY_MS)?);
    let rtt = metric::by_number(RTT).context("no such metric")?.name;
    let uai = collector::uai(0);
    for of in [format!("metric={rtt}"), format!("metric=if_hc_in_octets&uai={uai}")] {
        for span in [format!("from={from}&to={to}"), "from=-24h".to_owned()] {
            let answer = collector.get(&format!("/percentiles?{of}&p=0.95&{span}&limit=20"))?;
            ensure!(items(&answer).len() == 20, "a percentile of too few series");
        }
    }
    for series in centre::series(collector, &uai, "if_hc_in_octets")?.iter().step_by(14) {
        for step in ["raw", "5m", "1h"] {
            let path = format!("/series/{series}/samples?from={from}&step={step}");
            let points = collector.get(&path)?;
            ensure!(points["points"].as_array().is_some_and(|all| !all.is_empty()), "no {step}");
        }
    }
    Ok(())
}
