//! The evaluator on a real store: what is told, once, through restarts and silences.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that called them")]

use std::{path::Path, sync::Arc, time::Duration};

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
    target::{Detail, Group, Method, Role, Series, TargetSpec},
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

fn config(dir: &Path, alerts: &str) -> Arc<Config> {
    let text = format!("data_dir = \"{}\"\n[alerts]\nstart_grace_s = 60\n{alerts}", dir.display());
    Arc::new(Config::parse(&text, "collector.toml").unwrap())
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With these lines of the file, below `[alerts]`.
    async fn with(alerts: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), alerts);
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
        self.restart_with(self.context.config.clone()).await;
    }

    async fn restart_with(&mut self, config: Arc<Config>) {
        self.stop.send(true).unwrap();
        self.running.take().unwrap().await.unwrap();
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
        self.cells(group, |series| {
            let fails = failing.contains(&series.target);
            match series.metric {
                OUTCOME => i64::from(fails),
                _ => i64::from(fails) * 10_000,
            }
        });
    }

    /// One round in which every target answers, with this loss in percent.
    fn round_of_loss(&self, group: &Group, percent: i64) {
        self.cells(group, |series| if series.metric == OUTCOME { 0 } else { percent * 100 });
    }

    fn cells(&self, group: &Group, cell: impl Fn(&Series) -> i64) {
        self.clock.advance(Duration::from_secs(10));
        self.heard();
        let cells: Vec<_> = group.columns.iter().map(|series| Some(cell(series))).collect();
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

/// A warning and an alarm on one figure, which both read the gateway.
const TWO_RULES: &str = "default_rules = false
    [[alerts.threshold]]
    metric = \"icmp_loss\"
    raise = 0.2
    clear = 0.1
    hold_s = 0
    [[alerts.threshold]]
    metric = \"icmp_loss\"
    roles = [\"gateway\", \"hop\"]
    raise = 0.8
    clear = 0.5
    hold_s = 0
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_and_an_alarm_on_one_figure_are_two_causes() {
    let world = World::with(TWO_RULES).await;
    world.target(Role::Gateway, "10.0.0.1", None).await;
    let group = world.group().await;
    let open = |incidents: &[Incident]| {
        incidents.iter().filter(|incident| incident.closed_at.is_none()).count()
    };
    // A target that was added a moment ago is known from the next look on.
    world.round_of_loss(&group, 0);
    world.looked().await;
    world.round_of_loss(&group, 40);
    world.wait("the warning opens", |incidents| incidents.len() == 1).await;
    // The alarm reads less than its own limit all the while, which ends no warning.
    world.round_of_loss(&group, 40);
    world.looked().await;
    let incidents = world.incidents().await;
    assert_eq!((incidents.len(), incidents[0].closed_at), (1, None));
    world.round_of_loss(&group, 90);
    world.wait("the alarm opens", |incidents| incidents.len() == 2 && open(incidents) == 2).await;
    world.round_of_loss(&group, 40);
    let incidents = world.wait("the alarm closes", |incidents| open(incidents) == 1).await;
    let line = incidents[0].evidence.last().unwrap();
    assert!(line.starts_with("Retour sous le seuil") && line.contains("40,0 %"), "{line}");
    assert_eq!(incidents[1].closed_at, None, "the warning stands");
    world.round_of_loss(&group, 0);
    let incidents = world.wait("the warning closes", |incidents| open(incidents) == 0).await;
    assert_eq!(incidents.len(), 2);
    for incident in incidents {
        assert_eq!(world.context.store.recipients(incident.id).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_incident_of_a_rule_that_is_no_more_ends_with_its_own_words() {
    let mut world = World::with(TWO_RULES).await;
    world.target(Role::Gateway, "10.0.0.1", None).await;
    let group = world.group().await;
    // A target that was added a moment ago is known from the next look on.
    world.round_of_loss(&group, 0);
    world.looked().await;
    world.round_of_loss(&group, 90);
    world.wait("both open", |incidents| incidents.len() == 2).await;
    // The warning stays as it is; the alarm's limit is another one now.
    let changed = TWO_RULES.replace("0.8", "0.95");
    world.restart_with(config(&world.context.config.data_dir, &changed)).await;
    let incidents =
        world.wait("one closes", |incidents| incidents.iter().any(|i| i.closed_at.is_some())).await;
    assert_eq!(incidents.len(), 2);
    let closed: Vec<_> = incidents.iter().filter(|i| i.closed_at.is_some()).collect();
    assert_eq!(closed.len(), 1);
    assert!(closed[0].key.contains("0.8"), "{}", closed[0].key);
    let line = closed[0].evidence.last().unwrap();
    assert_eq!(line, "Seuil retiré de la configuration : état non mesuré");
    world.round_of_loss(&group, 90);
    world.looked().await;
    assert_eq!(world.incidents().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_the_store_refuses_holds_no_other_back_and_is_not_tried_with_each_tick() {
    let world = World::new().await;
    let bad = world.target(Role::Equipment, "10.0.0.2", None).await;
    let good = world.target(Role::Equipment, "10.0.0.3", None).await;
    let group = world.group().await;
    // From beside: nothing that the collector itself does makes such a refusal.
    let beside = rusqlite::Connection::open(world.context.config.database()).unwrap();
    beside.busy_timeout(LIMIT).unwrap();
    beside
        .execute_batch(&format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON incident WHEN NEW.target = {}
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
            bad.0
        ))
        .unwrap();
    for _ in 0..4 {
        world.round(&group, &[bad, good]);
    }
    let incidents = world.wait("the other opens", |incidents| !incidents.is_empty()).await;
    assert_eq!(incidents[0].target, Some(good));
    let refused = || world.context.metrics.decisions_refused.get();
    // Time stands still: however often the evaluator looks, it asks once.
    world.looked().await;
    assert_eq!(refused(), 1);
    for target in [bad, good] {
        world.round(&group, &[target]);
    }
    world.looked().await;
    assert_eq!(refused(), 2, "ten seconds later, once more");
    // What the site's other target does is told meanwhile.
    for _ in 0..3 {
        world.round(&group, &[bad]);
    }
    world.wait("the other closes", |incidents| incidents[0].closed_at.is_some()).await;
    beside.execute_batch("DROP TRIGGER refuse").unwrap();
    world.clock.advance(Duration::from_mins(5));
    for _ in 0..3 {
        world.round(&group, &[bad]);
    }
    let incidents = world.wait("it opens at last", |incidents| incidents.len() == 2).await;
    assert_eq!(incidents[0].target, Some(bad));
    assert_eq!(world.context.store.recipients(incidents[0].id).await.unwrap().len(), 1);
}
