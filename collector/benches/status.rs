//! What `GET /status` costs with 5,000 sites: CPU time of the process, not time on the wall.
//!
//! Each site has the ladder of a school (host, gateway, two hops, two resolvers, the collector, two
//! references, a web page), a switch with ten ports, thirty rounds of each, and an agent that is heard.

#![expect(clippy::unwrap_used, reason = "a bench that can not run should say where")]

#[path = "parts/switch.rs"]
mod switch;

use std::hint::black_box;

use collector::{
    live::Live,
    query::{Sources, status::status},
    targets::{Seen, SiteConfigs, Targets},
};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use domain::{
    id::AgentId,
    site::{SiteFacts, SiteKind, Zone},
    uai::Uai,
};
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use store::{
    AgentStore as _, IncomingRecord, IngestStore as _, LaneKey, NewAgent, NewToken, SampleOptions,
    ServerTime, SiteStore as _, TargetStore as _, sqlite::SqliteStore,
};
use switch::{cpu, ports, switch};

/// Sites.
const SITES: u32 = 5_000;
/// Rounds of each group.
const ROUNDS: u64 = 30;
/// Ports of a site's switch, ten series each.
const PORTS: u32 = 10;
/// Sites made at a time.
const AT_ONCE: usize = 64;

/// Makes one site with all that belongs to it.
async fn furnish(store: &Arc<SqliteStore>, targets: &Targets, number: u32, now: Timestamp) {
    let uai = Uai::from_number(number).unwrap();
    let facts = SiteFacts {
        pupils: Some(400),
        ..SiteFacts::new(uai, format!("Collège {number}"), SiteKind::College, Zone::ALL[0])
    };
    let site = store.add_site(facts).await.unwrap().id;
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let seen = Seen::new(
        &texts(&["10.0.0.1"]),
        &texts(&["10.0.0.1", "192.0.2.53"]),
        &texts(&["198.51.100.1", "198.51.100.2"]),
    );
    targets.ladder(site, &seen).await.unwrap();
    let added = targets.add(switch(site)).await.unwrap();
    targets.ports(site, added.group, &ports(PORTS)).await.unwrap();

    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let token = NewToken {
        id: number.to_string(),
        secret_sha256: [1; 32],
        site,
        created_at: now,
        expires_at: now + SignedDuration::from_hours(1),
    };
    store.add_token(token).await.unwrap();
    let agent = NewAgent {
        id: AgentId(id),
        spki_sha256: [1; 32],
        hostname: "serveur".to_owned(),
        version: "0.1.0".to_owned(),
    };
    store.redeem_token(&number.to_string(), [1; 32], agent, now).await.unwrap();

    let lane = LaneKey { agent: AgentId(id), lane: 1, epoch: 1 };
    let mut records = Vec::new();
    for group in store.groups(site).await.unwrap().1 {
        for round in 0..ROUNDS {
            let cells = vec![Some(0); group.columns.len()];
            let before_ms = i64::from(group.period_s) * 1_000 * i64::try_from(round).unwrap();
            let seq = records.len() as u64 + 1;
            records.push(IncomingRecord {
                lane,
                seq,
                kind: proto::KIND_SAMPLES,
                hash: seq,
                time: ServerTime::Known(now.as_millisecond() - before_ms),
                boot_ns: 0,
                items: u32::try_from(cells.len()).unwrap(),
                payload: proto::samples::encode(group.id.0, group.layout.0, &[0], &cells),
                group: Some((group.id, group.layout)),
                explains: None,
                gap: None,
                refused: None,
            });
        }
    }
    store.commit(records).await.unwrap();
    store.touch_agents(vec![(AgentId(id), now, "0.1.0".to_owned())]).await.unwrap();
}

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let options = SampleOptions::new(collector::wire::rounds);
    let store = SqliteStore::open(&directory.path().join("vigie.db"), options).unwrap();
    let store = Arc::new(store);
    let references = collector::config::References {
        icmp: vec!["203.0.113.1".parse().unwrap()],
        dns: vec!["203.0.113.2".parse().unwrap()],
        http: vec!["https://www.example.fr/".to_owned()],
        ..collector::config::References::default()
    };
    let configs = Arc::new(SiteConfigs::default());
    let targets =
        Targets::new(store.clone(), configs, references, "collecte.example.fr:7443".to_owned());
    let now = Timestamp::from_second(1_795_442_400).unwrap();
    runtime.block_on(
        stream::iter(1..=SITES)
            .for_each_concurrent(AT_ONCE, |number| furnish(&store, &targets, number, now)),
    );

    let live = Live::default();
    let ask = || async {
        let sources = Sources { store: store.as_ref(), live: &live, now };
        status(sources).await.unwrap()
    };
    let answer = runtime.block_on(ask());
    assert_eq!(answer.sites.up, SITES as usize, "{answer:?}");
    let mut group = criterion.benchmark_group("status");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.bench_function("cpu_of_5000_sites", |bencher| {
        bencher.iter_custom(|times| {
            let before = cpu();
            for _ in 0..times {
                black_box(runtime.block_on(ask()));
            }
            cpu().saturating_sub(before)
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
