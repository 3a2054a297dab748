//! An uplink with its spool, and an identity for it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use agent::{
    clock::{Clock, SystemClock},
    identity::{Keyring, request, tls::TlsTime},
    metrics::Metrics,
    spool::{NewRecord, Reserve, SpoolConfig, SpoolHandle, SpoolThread},
    uplink::{PlanState, Uplink},
};
use proto::{KIND_SAMPLES, LANE_SAMPLES, v1};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::collector::{self, AGENT_ID, Collector, Life, soon};

pub(crate) const MINUTE: u64 = 60_000_000_000;

/// The machine's clocks, `ahead` of themselves.
pub(crate) struct AheadClock(SystemClock, pub(crate) AtomicU64);

impl Clock for AheadClock {
    fn boot_ns(&self) -> u64 {
        self.0.boot_ns() + self.1.load(Relaxed)
    }
    fn wall_ns(&self) -> i64 {
        self.0.wall_ns() + i64::try_from(self.1.load(Relaxed)).unwrap()
    }
    fn boot_tag(&self) -> u32 {
        self.0.boot_tag()
    }
}

/// An uplink with its spool, and nothing that measures.
pub(crate) struct Line {
    dir: TempDir,
    pub(crate) clock: Arc<AheadClock>,
    thread: SpoolThread,
    pub(crate) spool: SpoolHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) offers: mpsc::Receiver<v1::Config>,
    pub(crate) state: watch::Sender<PlanState>,
    pub(crate) answered: watch::Sender<u64>,
    _surroundings: watch::Sender<Option<v1::Surroundings>>,
    stop: CancellationToken,
    pub(crate) uplink: Option<Uplink>,
    running: Option<JoinHandle<()>>,
}

impl Line {
    /// Enrolled with `collector`, its spool ready, not connected yet.
    pub(crate) fn new(collector: &Collector) -> Self {
        let dir = tempfile::tempdir().unwrap();
        enrolled(dir.path(), collector, Life::Long);
        Self::in_dir(dir, &collector.address.to_string())
    }

    pub(crate) fn in_dir(dir: TempDir, address: &str) -> Self {
        let clock = Arc::new(AheadClock(SystemClock::new(), AtomicU64::new(0)));
        let config = SpoolConfig {
            commit_interval: Duration::from_millis(20),
            reserve: Reserve { bytes: 0, percent: 0 },
            ..SpoolConfig::new(dir.path().join("spool"), AGENT_ID.to_be_bytes())
        };
        let (thread, _) = SpoolThread::start(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let spool = thread.handle();
        let metrics = Arc::new(Metrics::new());
        let (plans, offers) = mpsc::channel(2);
        let (state, plan_state) = watch::channel(PlanState::default());
        let (answered, answers) = watch::channel(0);
        let (around, surroundings) = watch::channel(Some(v1::Surroundings::default()));
        let uplink = Uplink {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            spool: spool.clone(),
            keyring: Keyring::new(dir.path()),
            collector: Some(address.to_owned()),
            tls_time: Arc::new(TlsTime::load(dir.path(), 0)),
            metrics: Arc::clone(&metrics),
            plans,
            plan_state,
            surroundings,
            answers,
            reconnect: Duration::from_millis(50),
            upload_bytes_per_s: None,
        };
        Self {
            dir,
            clock,
            thread,
            spool,
            metrics,
            offers,
            state,
            answered,
            _surroundings: around,
            stop: CancellationToken::new(),
            uplink: Some(uplink),
            running: None,
        }
    }

    pub(crate) fn connect(&mut self) {
        let uplink = self.uplink.take().unwrap();
        self.running = Some(tokio::spawn(uplink.run(self.stop.clone())));
    }

    /// Makes a sample record durable for each of `values`.
    pub(crate) async fn measure(&self, values: std::ops::Range<i64>) {
        for value in values {
            let record = NewRecord {
                lane: LANE_SAMPLES,
                kind: KIND_SAMPLES,
                boot_ns: self.clock.boot_ns(),
                wall_ns: self.clock.wall_ns(),
                boot_tag: self.clock.boot_tag(),
                n_items: 1,
                urgent: false,
                payload: proto::samples::encode(1, 1, &[0], &[Some(value)]),
            };
            while self.spool.try_append(record.clone()).is_err() {
                tokio::task::yield_now().await;
            }
        }
        soon(self.spool.commit()).await.unwrap();
    }

    pub(crate) async fn stop(mut self) -> TempDir {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            soon(running).await.unwrap();
        }
        let thread = self.thread;
        soon(tokio::task::spawn_blocking(move || thread.stop("test"))).await.unwrap().unwrap();
        self.dir
    }
}

/// Writes an identity into `dir`, as enrolment would.
pub(crate) fn enrolled(dir: &Path, collector: &Collector, life: Life) {
    let keyring = Keyring::new(dir);
    let key = keyring.pending_key().unwrap();
    let reply = collector.reply(&request(&key).unwrap(), life);
    keyring.enrolled(&key, &reply, &collector.address.to_string()).unwrap();
}

pub(crate) fn value(record: &proto::records::Record) -> i64 {
    proto::samples::decode(&record.payload).unwrap().cells[0].unwrap()
}

/// Passes the events of lane 0 and returns the next batch of samples.
pub(crate) async fn samples(
    session: &mut collector::Session,
) -> (v1::Records, Vec<proto::records::Record>) {
    loop {
        let (batch, records) = session.records().await.expect("records");
        if batch.lane == LANE_SAMPLES {
            return (batch, records);
        }
    }
}
