//! What is told when an operator withdraws a target that is down.

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
    contractor::Contractor,
    id::{AgentId, SiteId},
    incident::Incident,
    site::SiteFacts,
    target::{Method, Role, Target, TargetSpec},
};
use jiff::Timestamp;
use proto::samples::Columns;
use store::{
    IncidentFilter, NewAgent, NewToken, Redeemed, Retention, SampleOptions, sqlite::SqliteStore,
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::house::{NOW, SOON};

const MAILBOX: &str = "lot2@example.org";

/// A collector without its doors: store, targets and evaluator.
struct Watch {
    clock: Arc<FakeClock>,
    context: Context,
    feed: Feed,
    site: SiteId,
    agent: AgentId,
    /// Dropped, it ends the evaluator.
    _stop: watch::Sender<bool>,
    _dir: TempDir,
}

impl Watch {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text =
            format!("data_dir = \"{}\"\n[alerts]\nstart_grace_s = 60\n", dir.path().display());
        let config = Arc::new(Config::parse(&text, "test").unwrap());
        let samples = SampleOptions { read_payload: wire::rounds, retention: Retention::default() };
        let store = Arc::new(SqliteStore::open(&config.database(), samples).unwrap());
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(NOW).unwrap()));
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
        let (lot, name, email) = ("2".to_owned(), "Mainteneur".to_owned(), MAILBOX.to_owned());
        context.store.set_contractor(Contractor { lot, name, email }).await.unwrap();
        let now = clock.now();
        let token = NewToken {
            id: "t".to_owned(),
            secret_sha256: [1; 32],
            site,
            created_at: now,
            expires_at: now + jiff::SignedDuration::from_hours(1),
        };
        context.store.add_token(token).await.unwrap();
        let agent = NewAgent {
            id: AgentId([7; 16]),
            spki_sha256: [2; 32],
            hostname: "srv".to_owned(),
            version: "1".to_owned(),
        };
        let redeemed = context.store.redeem_token("t", [1; 32], agent, now).await.unwrap();
        let Redeemed::Agent(agent) = redeemed else { panic!("{redeemed:?}") };
        let (feed, reader) = feed(64, context.metrics.clone());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(evaluator::run(context.clone(), reader, stopped));
        Self { clock, context, feed, site, agent: agent.id, _stop: stop, _dir: dir }
    }

    async fn target(&self, address: &str) -> Target {
        let spec = TargetSpec {
            site: self.site,
            role: Role::Equipment,
            name: address.to_owned(),
            address: address.to_owned(),
            method: Method::Icmp { count: 5 },
            period_s: 10,
            parent: None,
        };
        self.context.targets.add(spec).await.unwrap()
    }

    /// One round of what is measured now, ten seconds after the one before: this target fails, the
    /// others answer.
    async fn round(&self, failing: &Target) {
        let group = self.context.store.groups(self.site).await.unwrap().1.remove(0);
        self.clock.advance(Duration::from_secs(10));
        let now = self.clock.now();
        let live = AgentLive::new(self.site, now, "1".to_owned(), None);
        self.context.live.open(self.agent, live);
        self.context.live.update(self.agent, |live| live.last_message = now);
        let outcome = |series: &domain::target::Series| {
            let metric = domain::metric::by_number(series.metric)?;
            metric.is_outcome().then(|| i64::from(series.target == failing.id))
        };
        let cells: Vec<_> = group.columns.iter().map(outcome).collect();
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

    async fn until(&self, what: &str, holds: impl Fn(&[Incident]) -> bool) -> Vec<Incident> {
        let end = Instant::now() + SOON;
        loop {
            let found = self.context.store.incidents(IncidentFilter::default()).await.unwrap();
            if holds(&found) {
                return found;
            }
            assert!(Instant::now() < end, "{what}: {found:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_target_ends_its_incident_and_says_that_nothing_was_repaired() {
    let watch = Watch::new().await;
    let (typo, other) = (watch.target("192.0.2.99").await, watch.target("192.0.2.2").await);
    for _ in 0..3 {
        watch.round(&typo).await;
    }
    let found = watch.until("it opens", |found| !found.is_empty()).await;
    assert_eq!((found[0].target, found[0].closed_at), (Some(typo.id), None));

    watch.context.targets.retire(&typo).await.unwrap();
    // The layout without it has the evaluator look at the targets anew.
    watch.round(&typo).await;
    let found = watch.until("it closes", |found| found[0].closed_at.is_some()).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    let last = found[0].evidence.last().unwrap();
    assert_eq!(last, "Retiré de la supervision : état non mesuré");
    // Who was told that it is down is told that it is watched no more.
    assert_eq!(watch.context.store.recipients(found[0].id).await.unwrap(), [MAILBOX]);
    let (mails, _) = watch.context.store.outbox_depth(watch.clock.now()).await.unwrap();
    assert_eq!(mails, 2, "one that it is down, one that it is withdrawn");

    // Added again it is the same target, and its next fault another incident.
    assert_eq!(watch.target("192.0.2.99").await.id, typo.id);
    for _ in 0..3 {
        watch.round(&typo).await;
    }
    let found = watch.until("it opens again", |found| found.len() == 2).await;
    assert!(found.iter().all(|incident| incident.target == Some(typo.id)), "{found:#?}");
    assert!(found.iter().all(|incident| incident.target != Some(other.id)), "{found:#?}");
}
