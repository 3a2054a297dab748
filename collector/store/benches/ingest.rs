//! What it costs to commit records of 200 samples, durably, as the collector does it.
//!
//! `live`: as many callers as agents, each with one record, as when every school sends its round.
//! `replay`: callers with 256 records of one agent, as when schools catch up after an outage.
//! Beside the wall time, the processor time per record is printed: the whole collector's goal of a
//! million samples per CPU second leaves the store 60 µs for a record of 200 samples.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::{
    id::{AgentId, GroupId, Layout, SiteId},
    site::{SiteFacts, SiteKind, Zone},
    target::{Community, Detail, Method, Role, TargetSpec},
    uai::Uai,
};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use store::{
    AgentStore, IncomingRecord, IngestStore, LaneKey, NewAgent, NewSeriesSpec, NewToken,
    SampleOptions, ServerTime, SiteStore, TargetStore, sqlite::SqliteStore,
};

const SITES: usize = 500;
const SAMPLES: u32 = 200;
/// Bytes of a round of 200 samples in the canonical form: the counters make most of it.
const PAYLOAD_BYTES: usize = 1000;
const REPLAY_RECORDS: usize = 256;
/// Records of each site that stand in the head before anything is measured.
const BEFORE: u64 = 200;
const START_MS: i64 = 1_772_438_400_000;

struct School {
    agent: AgentId,
    group: (GroupId, Layout),
    next_seq: u64,
}

fn site_facts(number: u32) -> SiteFacts {
    let uai = Uai::from_number(number).expect("seven digits");
    SiteFacts::new(uai, format!("École {number}"), SiteKind::Primaire, Zone::C)
}

async fn school(store: &SqliteStore, number: u32) -> School {
    let site: SiteId = store.add_site(site_facts(number)).await.expect("a site").id;
    let (id, secret) = (AgentId(u128::from(number).to_be_bytes()), [0; 32]);
    let (created_at, expires_at) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    let token =
        NewToken { id: number.to_string(), secret_sha256: secret, site, created_at, expires_at };
    store.add_token(token).await.expect("a token");
    let agent =
        NewAgent { id, spki_sha256: secret, hostname: String::new(), version: String::new() };
    store.redeem_token(&number.to_string(), secret, agent, created_at).await.expect("an agent");
    let spec = TargetSpec {
        site,
        role: Role::Equipment,
        name: "switch".to_owned(),
        address: "10.0.0.1".to_owned(),
        method: Method::SnmpV2c { community: Community::new("public") },
        period_s: 60,
        parent: None,
    };
    let column = |instance| NewSeriesSpec {
        metric: 60,
        instance,
        label: String::new(),
        detail: Detail::Full,
    };
    let columns = (1..=SAMPLES).map(column).collect();
    let group = store.upsert_target(spec, columns).await.expect("a target").group;
    School { agent: id, group: (group, Layout(1)), next_seq: 1 }
}

impl School {
    fn records(&mut self, count: usize) -> Vec<IncomingRecord> {
        (0..count)
            .map(|_| {
                let seq = self.next_seq;
                self.next_seq += 1;
                let hash = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let payload = hash.to_le_bytes().into_iter().cycle().take(PAYLOAD_BYTES).collect();
                IncomingRecord {
                    lane: LaneKey { agent: self.agent, lane: 1, epoch: 7 },
                    seq,
                    kind: 2,
                    hash,
                    time: ServerTime::Known(START_MS + 60_000 * seq.cast_signed()),
                    boot_ns: 60_000_000_000 * seq,
                    items: SAMPLES,
                    payload,
                    group: Some(self.group),
                    explains: None,
                    gap: None,
                    refused: None,
                }
            })
            .collect()
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Commits all batches at once and waits for every answer.
async fn commit(store: &Arc<SqliteStore>, batches: Vec<Vec<IncomingRecord>>) {
    let callers: Vec<_> = batches
        .into_iter()
        .map(|records| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.commit(records).await.expect("a commit") })
        })
        .collect();
    for caller in callers {
        black_box(caller.await.expect("a caller"));
    }
}

fn ingest(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let (store, mut schools) = runtime.block_on(async {
        let options = SampleOptions::new(store::contract::read_payload);
        let store =
            Arc::new(SqliteStore::open(&dir.path().join("bench.db"), options).expect("a store"));
        let mut schools = Vec::new();
        for number in 1..=u32::try_from(SITES).expect("few") {
            schools.push(school(&store, number).await);
        }
        for _ in 0..BEFORE {
            let batches = schools.iter_mut().map(|school| school.records(1)).collect();
            commit(&store, batches).await;
        }
        (store, schools)
    });

    let mut group = criterion.benchmark_group("commit");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, callers, each) in [
        ("live, 1 agent", 1, 1),
        ("live, 25 agents", 25, 1),
        ("live, 500 agents", SITES, 1),
        ("replay, 8 agents", 8, REPLAY_RECORDS),
    ] {
        let records = (callers * each) as u64;
        group.throughput(Throughput::Elements(records * u64::from(SAMPLES)));
        let (mut spent, mut committed, mut first) = (Duration::ZERO, 0, 0);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut wall = Duration::ZERO;
                for _ in 0..rounds {
                    let batches: Vec<_> =
                        (0..callers).map(|n| schools[(first + n) % SITES].records(each)).collect();
                    first = (first + callers) % SITES;
                    let (since, cpu_before) = (Instant::now(), cpu());
                    runtime.block_on(commit(&store, batches));
                    wall += since.elapsed();
                    spent += cpu().saturating_sub(cpu_before);
                    committed += records;
                }
                wall
            });
        });
        let each_us = spent.as_secs_f64() * 1e6 / committed as f64;
        let million = f64::from(SAMPLES) / each_us;
        println!(
            "{name}: {each_us:.1} µs of CPU a record (limit 60), {million:.2} M samples per CPU second\n"
        );
    }
    group.finish();
    runtime.block_on(async {
        Arc::into_inner(store).expect("no caller is left").close().await;
    });
}

criterion_group!(benches, ingest);
criterion_main!(benches);
