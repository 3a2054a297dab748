//! The evaluator on a real store: what is told, once, through restarts and silences.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that called them")]

use std::{sync::Arc, time::Duration};

use collector::{
    clock::{Clock as _, FakeClock},
    config::Config,
    context::Context,
    evaluator,
    feed::{Feed, FeedItem, feed},
    live::AgentLive,
    wire,
};
use domain::{
    agent::Agent,
    contractor::Contractor,
    id::{AgentId, SiteId, TargetId},
    incident::{Incident, IncidentKind},
    site::SiteFacts,
    target::{Detail, Group, Method, Role, TargetSpec},
};
use jiff::{SignedDuration, Timestamp};
use proto::samples::Columns;
use store::{
    IncidentFilter, NewAgent, NewSeriesSpec, NewToken, Redeemed, Retention, SampleOptions,
    sqlite::SqliteStore,
};
use tokio::{sync::watch, task::JoinHandle, time};

const LIMIT: Duration = Duration::from_secs(20);
/// Numbers of the catalogue.
const OUTCOME: u32 = 1;
const LOSS: u32 = 2;

struct World {
    clock: Arc<FakeClock>,
    context: Context,
    feed: Feed,
    site: SiteId,
    agent: AgentId,
    stop: watch::Sender<bool>,
    running: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text =
            format!("data_dir = \"{}\"\n[alerts]\nstart_grace_s = 60\n", dir.path().display());
        let config = Arc::new(Config::parse(&text, "collector.toml").unwrap());
        let samples = SampleOptions { read_payload: wire::rounds, retention: Retention::default() };
        let store = Arc::new(SqliteStore::open(&config.database(), samples).unwrap());
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(1_795_419_730).unwrap()));
        let context = Context::new(config, store, clock.clone(), [0; 32], [0; 32]);
        let facts = SiteFacts {
            uai: "0999001W".parse().unwrap(),
            name: "Collège des Essais".to_owned(),
            kind: "college".parse().unwrap(),
            zone: "A".parse().unwrap(),
            pupils: None,
            lot: Some("2".to_owned()),
            address: None,
            position: None,
        };
        let site = context.store.add_site(facts).await.unwrap().id;
        let contractor = Contractor {
            lot: "2".to_owned(),
            name: "Mainteneur".to_owned(),
            email: "lot2@example.org".to_owned(),
        };
        context.store.set_contractor(contractor).await.unwrap();
        let agent = enrol(&context, site).await.id;
        let (feed, reader) = feed(64, context.metrics.clone());
        let (stop, stopped) = watch::channel(false);
        let running = Some(tokio::spawn(evaluator::run(context.clone(), reader, stopped)));
        Self { clock, context, feed, site, agent, stop, running, _dir: dir }
    }

    /// The collector ends and starts again: what it knew is what it kept.
    async fn restart(&mut self) {
        self.stop.send(true).unwrap();
        self.running.take().unwrap().await.unwrap();
        let config = self.context.config.clone();
        let (store, clock) = (self.context.store.clone(), self.clock.clone());
        self.context = Context::new(config, store, clock, [0; 32], [0; 32]);
        let (feed, reader) = feed(64, self.context.metrics.clone());
        let (stop, stopped) = watch::channel(false);
        self.running = Some(tokio::spawn(evaluator::run(self.context.clone(), reader, stopped)));
        (self.feed, self.stop) = (feed, stop);
    }

    async fn target(&self, role: Role, address: &str, parent: Option<TargetId>) -> TargetId {
        let spec = TargetSpec {
            site: self.site,
            role,
            name: address.to_owned(),
            address: address.to_owned(),
            method: Method::Icmp { count: 5 },
            period_s: 10,
            parent,
        };
        let series = [OUTCOME, LOSS].map(|metric| NewSeriesSpec {
            metric,
            instance: 0,
            label: String::new(),
            detail: Detail::Full,
        });
        self.context.store.upsert_target(spec, series.to_vec()).await.unwrap().id
    }

    async fn group(&self) -> Group {
        self.context.store.groups(self.site).await.unwrap().1.remove(0)
    }

    fn heard(&self) {
        let now = self.clock.now();
        let live = AgentLive::new(self.site, now, "1".to_owned(), None);
        self.context.live.open(self.agent, live);
        self.context.live.update(self.agent, |live| live.last_message = now);
    }

    /// One round, ten seconds after the one before: these targets fail, the others answer.
    fn round(&self, group: &Group, failing: &[TargetId]) {
        self.clock.advance(Duration::from_secs(10));
        self.heard();
        let cells = group.columns.iter().map(|series| {
            let fails = failing.contains(&series.target);
            Some(match series.metric {
                OUTCOME => i64::from(fails),
                _ => i64::from(fails) * 10_000,
            })
        });
        let cells: Vec<_> = cells.collect();
        self.feed.push(FeedItem {
            site: self.site,
            agent: self.agent,
            group: group.id,
            layout: group.layout,
            time_ms: self.clock.now_ms(),
            late: false,
            sure: true,
            columns: Columns {
                group: group.id.0,
                layout: group.layout.0,
                times_ms: vec![0],
                columns: cells.len(),
                cells,
            },
        });
    }

    async fn incidents(&self) -> Vec<Incident> {
        self.context.store.incidents(IncidentFilter::default()).await.unwrap()
    }

    async fn wait(&self, what: &str, holds: impl Fn(&[Incident]) -> bool) -> Vec<Incident> {
        let end = time::Instant::now() + LIMIT;
        loop {
            let incidents = self.incidents().await;
            if holds(&incidents) {
                return incidents;
            }
            assert!(time::Instant::now() < end, "{what}: {incidents:#?}");
            time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the evaluator has looked at everything so far at least twice.
    async fn looked(&self) {
        let looks = || {
            let text = self.context.metrics.encode().unwrap();
            let line = text.lines().find(|line| line.contains("evaluation_seconds_count"));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        let (end, first) = (time::Instant::now() + LIMIT, looks());
        // A sweep of every site comes with each fifth look.
        while looks() < first + 6 {
            assert!(time::Instant::now() < end, "the evaluator stands still");
            time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn enrol(context: &Context, site: SiteId) -> Agent {
    let now = context.clock.now();
    let token = NewToken {
        id: "t".to_owned(),
        secret_sha256: [1; 32],
        site,
        created_at: now,
        expires_at: now + SignedDuration::from_hours(1),
    };
    context.store.add_token(token).await.unwrap();
    let agent = NewAgent {
        id: AgentId([7; 16]),
        spki_sha256: [2; 32],
        hostname: "srv".to_owned(),
        version: "1".to_owned(),
    };
    match context.store.redeem_token("t", [1; 32], agent, now).await.unwrap() {
        Redeemed::Agent(agent) => agent,
        Redeemed::Refused(reason) => panic!("{reason:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_gateway_is_one_incident_through_a_restart_until_it_is_back_for_good() {
    let mut world = World::new().await;
    let gateway = world.target(Role::Gateway, "10.0.0.1", None).await;
    let hop = world.target(Role::Hop, "192.0.2.1", Some(gateway)).await;
    world.target(Role::Reference, "192.0.2.9", Some(hop)).await;
    let all: Vec<_> =
        world.context.store.targets(None).await.unwrap().iter().map(|t| t.id).collect();
    let group = world.group().await;
    assert_eq!(group.columns.len(), 6, "one round measures the three");
    for _ in 0..3 {
        world.round(&group, &[]);
    }
    for _ in 0..2 {
        world.round(&group, &all);
    }
    let incidents = world.wait("it opens", |incidents| !incidents.is_empty()).await;
    assert_eq!(incidents[0].target, Some(gateway));
    let told = world.context.store.recipients(incidents[0].id).await.unwrap();
    assert_eq!(told, ["lot2@example.org"]);
    world.restart().await;
    // Six more minutes: the loss is over its threshold too, and says nothing new.
    for _ in 0..36 {
        world.round(&group, &all);
    }
    world.looked().await;
    let incidents = world.incidents().await;
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    world.round(&group, &[]);
    world.round(&group, &all);
    world.looked().await;
    assert_eq!(world.incidents().await[0].closed_at, None, "one answer is no repair");
    for _ in 0..3 {
        world.round(&group, &[]);
    }
    let restored = Some(world.clock.now() - SignedDuration::from_secs(20));
    let incidents = world.wait("it closes", |incidents| incidents[0].closed_at.is_some()).await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].restored_at, restored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_goes_on_through_a_restart_and_ends_with_a_message_only() {
    let mut world = World::new().await;
    world.heard();
    world.looked().await;
    world.clock.advance(Duration::from_mins(6));
    let incidents = world.wait("it opens", |incidents| !incidents.is_empty()).await;
    assert_eq!(incidents[0].kind, IncidentKind::AgentSilent);
    world.restart().await;
    world.looked().await;
    world.clock.advance(Duration::from_mins(10));
    world.looked().await;
    let incidents = world.incidents().await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].closed_at, None);
    world.heard();
    let incidents = world.wait("it closes", |incidents| incidents[0].closed_at.is_some()).await;
    assert_eq!(incidents.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rounds_and_rounds_of_unsure_time_tell_nothing() {
    let world = World::new().await;
    let device = world.target(Role::Equipment, "10.0.0.2", None).await;
    let group = world.group().await;
    for (late, sure) in [(true, true), (false, false)] {
        for _ in 0..4 {
            world.clock.advance(Duration::from_secs(10));
            world.heard();
            let cells = vec![Some(1); group.columns.len()];
            world.feed.push(FeedItem {
                site: world.site,
                agent: world.agent,
                group: group.id,
                layout: group.layout,
                time_ms: world.clock.now_ms(),
                late,
                sure,
                columns: Columns {
                    group: group.id.0,
                    layout: group.layout.0,
                    times_ms: vec![0],
                    columns: cells.len(),
                    cells,
                },
            });
        }
    }
    world.looked().await;
    assert_eq!(world.incidents().await, []);
    // The same failures, fresh and sure, do.
    for _ in 0..3 {
        world.round(&group, &[device]);
    }
    world.wait("it opens", |incidents| incidents.len() == 1).await;
}
