//! The agent alone, against a collector that answers by the test's hand.
#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]
#![expect(clippy::wildcard_enum_match_arm, reason = "any other message fails the test")]

mod collector;
mod hostile;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use agent::{
    app::{self, Extra},
    clock::{Clock, SystemClock},
    config::Config,
    enrol::{EnrolError, Existing, enrol},
    identity::{
        Keyring, request,
        tls::{ConnectError, TlsTime},
    },
    metrics::Metrics,
    spool::{NewRecord, Reserve, SpoolConfig, SpoolHandle, SpoolThread},
    uplink::{PlanState, Uplink},
};
use collector::{AGENT_ID, Authority, Collector, Life, PLENTY, soon};
use prost::Message as _;
use proto::{
    KIND_EVENT, KIND_SAMPLES, LANE_EVENTS, LANE_SAMPLES,
    v1::{self, down, event::Event, lane_resume::Action, up},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const MINUTE: u64 = 60_000_000_000;

/// The machine's clocks, `ahead` of themselves.
struct AheadClock(SystemClock, AtomicU64);

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
struct Line {
    dir: TempDir,
    clock: Arc<AheadClock>,
    thread: SpoolThread,
    spool: SpoolHandle,
    metrics: Arc<Metrics>,
    offers: mpsc::Receiver<v1::Config>,
    state: watch::Sender<PlanState>,
    answered: watch::Sender<u64>,
    _surroundings: watch::Sender<Option<v1::Surroundings>>,
    stop: CancellationToken,
    uplink: Option<Uplink>,
    running: Option<JoinHandle<()>>,
}

impl Line {
    /// Enrolled with `collector`, its spool ready, not connected yet.
    fn new(collector: &Collector) -> Self {
        let dir = tempfile::tempdir().unwrap();
        enrolled(dir.path(), collector, Life::Long);
        Self::in_dir(dir, &collector.address.to_string())
    }

    fn in_dir(dir: TempDir, address: &str) -> Self {
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

    fn connect(&mut self) {
        let uplink = self.uplink.take().unwrap();
        self.running = Some(tokio::spawn(uplink.run(self.stop.clone())));
    }

    /// Makes a sample record durable for each of `values`.
    async fn measure(&self, values: std::ops::Range<i64>) {
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

    async fn stop(mut self) -> TempDir {
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
fn enrolled(dir: &Path, collector: &Collector, life: Life) {
    let keyring = Keyring::new(dir);
    let key = keyring.pending_key().unwrap();
    let reply = collector.reply(&request(&key).unwrap(), life);
    keyring.enrolled(&key, &reply, &collector.address.to_string()).unwrap();
}

fn value(record: &proto::records::Record) -> i64 {
    proto::samples::decode(&record.payload).unwrap().cells[0].unwrap()
}

/// Passes the events of lane 0 and returns the next batch of samples.
async fn samples(session: &mut collector::Session) -> (v1::Records, Vec<proto::records::Record>) {
    loop {
        let (batch, records) = session.records().await.expect("records");
        if batch.lane == LANE_SAMPLES {
            return (batch, records);
        }
    }
}

#[tokio::test]
async fn enrolment_uses_one_key_over_broken_attempts_and_trusts_only_the_pin() {
    let collector = Collector::start().await;
    let (dir, address) = (tempfile::tempdir().unwrap(), collector.address.to_string());
    let data = dir.path().join("data");
    let seen = v1::Surroundings { hostname: "serveur".to_owned(), ..Default::default() };

    let stranger = Authority::new().token();
    let error = enrol(&data, &address, &stranger, seen.clone(), Existing::Keep).await.unwrap_err();
    assert!(matches!(error, EnrolError::Connect(ConnectError::Intercepted { .. })), "{error:?}");
    assert_eq!(collector.asked(|asked| asked.enrolments.len()), 0, "the token was not shown");

    let token = collector.authority.token();
    collector.break_enrolments(1);
    let error = enrol(&data, &address, &token, seen.clone(), Existing::Keep).await.unwrap_err();
    assert_eq!(error.to_string(), "the collector refused: broken \\u{1b}[2Joff");
    assert!(!Keyring::new(&data).is_enrolled());

    collector.configure(v1::Config { version: 4, ..Default::default() });
    let enrolled = enrol(&data, &address, &token, seen.clone(), Existing::Keep).await.unwrap();
    assert_eq!(enrolled.site_name, "Collège du Test");
    assert_eq!(enrolled.agent_id, format!("{AGENT_ID:032x}"));
    collector.asked(|asked| {
        let [first, second] = &asked.enrolments[..] else { panic!("two attempts") };
        let key = |request: &v1::EnrolRequest| {
            let csr = rcgen::CertificateSigningRequestParams::from_der(&request.csr[..].into());
            rcgen::PublicKeyData::subject_public_key_info(&csr.unwrap().public_key)
        };
        assert_eq!(key(first), key(second));
        assert_eq!((first.token_id.as_str(), &first.token_secret[..]), ("t1", &[0x5a; 32][..]));
        assert_eq!(first.hostname, "serveur");
    });
    let kept = agent::app::plans::PlanStore::new(&data).load().unwrap();
    assert_eq!(kept.good.unwrap().version, 4);

    let again = enrol(&data, &address, &token, seen.clone(), Existing::Keep).await.unwrap_err();
    assert!(matches!(again, EnrolError::Already));
    enrol(&data, &address, &token, seen, Existing::Replace).await.unwrap();
}

#[tokio::test]
async fn an_agent_measures_what_it_is_told_and_stops_in_time() {
    let mut collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    enrolled(dir.path(), &collector, Life::Long);
    let mut config =
        Config { data_dir: dir.path().to_owned(), metrics_listen: None, ..Config::default() };
    config.limits.reconnect = Duration::from_millis(50);
    config.limits.commit_interval = Duration::from_millis(100);
    let stop = CancellationToken::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let running = tokio::spawn(app::run(config, clock, stop.clone(), Extra::default()));

    let (mut session, hello) = collector.begin(PLENTY).await;
    assert_eq!(hello.config_applied, 0);
    assert!(!hello.surroundings.as_ref().unwrap().hostname.is_empty());
    let group = v1::Group {
        id: 3,
        layout: 7,
        period_ms: 1_000,
        timeout_ms: 900,
        columns: vec![v1::Column { metric: v1::Metric::Uptime.into(), ..Default::default() }],
        probe: Some(v1::group::Probe::Host(v1::HostProbe {})),
    };
    let fine = v1::Config { version: 5, groups: vec![group.clone()], references: Vec::new() };
    let bad = v1::Config {
        version: 6,
        groups: vec![v1::Group { period_ms: 10, ..group }],
        references: Vec::new(),
    };
    session.say(down::Message::Config(fine)).await;
    let mut statuses = Vec::new();
    let mut measured = 0;
    let mut bad = Some(bad);
    let mut decoder = proto::records::Decoder::new();
    while measured < 3 || statuses.len() < 2 {
        match session.hear().await.unwrap() {
            up::Message::Config(status) => {
                statuses.push((status.version, status.applied, status.reason));
                if let Some(bad) = bad.take() {
                    session.say(down::Message::Config(bad)).await;
                }
            }
            up::Message::Records(batch) => {
                for record in decoder.decode(&batch).unwrap() {
                    if record.kind == KIND_SAMPLES {
                        let header = proto::samples::header(&record.payload).unwrap();
                        assert_eq!((header.group, header.layout), (3, 7));
                        assert!(value(&record) > 0);
                        measured += 1;
                    }
                }
            }
            up::Message::Heartbeat(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(statuses[0], (5, true, String::new()));
    assert_eq!((statuses[1].0, statuses[1].1), (6, false));
    assert!(statuses[1].2.starts_with("group 3: its period in ms is 10"), "{}", statuses[1].2);

    let stopping = tokio::time::Instant::now();
    stop.cancel();
    while !matches!(session.hear().await, Some(up::Message::Goodbye(_))) {}
    drop(session);
    soon(running).await.unwrap().unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(3), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_under_the_same_key_and_hash() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..50).await;
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let (batch, first) = samples(&mut session).await;
    assert_eq!(first.iter().map(value).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    // The collector committed all and its word was lost with the line; or only a part.
    drop(session);
    let (session, hello) = collector.session().await;
    let lane = hello.lanes.iter().find(|lane| lane.lane == LANE_SAMPLES).unwrap();
    assert_eq!((lane.epoch, lane.next_seq), (batch.epoch, 51));
    assert_eq!(lane.head_hash, first.last().unwrap().hash);
    let mut session = session;
    session
        .ok(&hello, PLENTY, |resume| {
            if resume.lane == LANE_SAMPLES {
                resume.contig_upto = 10;
                resume.above = vec![v1::Range { from: 20, to: 29 }];
            }
        })
        .await;
    let mut again = Vec::new();
    while again.len() < 30 {
        again.extend(samples(&mut session).await.1);
    }
    let missing = first.iter().filter(|record| !matches!(record.seq, 1..=10 | 20..=29)).cloned();
    assert_eq!(again, missing.collect::<Vec<_>>());
    session.ack(&batch, 50, &[]).await;
    let acked = line.metrics.acks.clone();
    soon(async {
        while acked.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(line.metrics.acks_ignored.get(), 0);
    line.stop().await;
}

#[tokio::test]
async fn a_long_backlog_comes_behind_live_records_and_whole() {
    const OLD: i64 = 20_000;
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..OLD).await;
    line.clock.1.fetch_add(10 * MINUTE, Relaxed);
    line.measure(OLD..OLD + 5).await;
    line.connect();
    let (mut session, _) = collector.begin(v1::Credit { bytes: 64 << 10, records: 2_000 }).await;
    let mut order = Vec::new();
    let mut there = BTreeMap::new();
    let mut in_flight = 0;
    let mut late = None;
    while there.len() < usize::try_from(OLD).unwrap() + 15 {
        let (batch, records) = samples(&mut session).await;
        in_flight = in_flight.max(records.len());
        for record in &records {
            order.push((batch.channel, value(record)));
            assert_eq!(there.insert(record.seq, value(record)), None, "twice");
        }
        let contig = (1..).zip(there.keys()).take_while(|(n, seq)| n == *seq).count() as u64;
        let mut above: Vec<(u64, u64)> = Vec::new();
        for &seq in there.keys().filter(|&&seq| seq > contig) {
            match above.last_mut() {
                Some(last) if last.1 + 1 == seq => last.1 = seq,
                Some(_) | None => above.push((seq, seq)),
            }
        }
        session.ack(&batch, contig, &above).await;
        if there.len() > 5_000 && late.is_none() {
            late = Some(order.len());
            line.measure(OLD + 5..OLD + 15).await;
        }
    }
    assert_eq!(order[..5], [0, 1, 2, 3, 4].map(|n| (0, OLD + n)), "live first");
    assert_eq!(order[5], (1, 0), "then the backlog from its start");
    let late = late.unwrap();
    let overtook = order[late..].iter().position(|(channel, _)| *channel == 0).unwrap();
    assert!(overtook < 5_000, "new records waited for {overtook} old ones");
    let values: Vec<i64> = there.into_values().collect();
    assert_eq!(values, (0..OLD + 15).collect::<Vec<_>>());
    assert!(in_flight <= 2_000);
    line.stop().await;
}

#[tokio::test]
async fn credit_is_counted_in_bytes_before_compression() {
    const CREDIT: u64 = 64 << 10;
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    // Each compresses to almost nothing.
    for seq in 0..2_000 {
        let record = NewRecord {
            lane: LANE_SAMPLES,
            kind: KIND_SAMPLES,
            boot_ns: line.clock.boot_ns(),
            wall_ns: line.clock.wall_ns(),
            boot_tag: line.clock.boot_tag(),
            n_items: 100,
            urgent: false,
            payload: proto::samples::encode(1, 1, &[0], &[Some(seq * 1_000_000_007); 100]),
        };
        line.spool.try_append(record).unwrap();
    }
    soon(line.spool.commit()).await.unwrap();
    line.connect();
    let (mut session, _) = collector.begin(v1::Credit { bytes: CREDIT, records: 65_536 }).await;
    let in_flight = || u64::try_from(line.metrics.in_flight_bytes.get()).unwrap();
    let (mut raw, mut body) = (0, 0);
    // Less than 4 KiB is not worth a batch.
    while raw <= CREDIT - (4 << 10) {
        if let up::Message::Records(batch) = session.hear().await.unwrap() {
            body += batch.body.len() as u64;
            raw += u64::from(batch.raw_len);
        }
        assert!(raw <= CREDIT, "{raw} bytes are in flight");
    }
    soon(async {
        while in_flight() != raw {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(body < raw / 2, "they compress well: {body} of {raw}");
    line.stop().await;
}

#[tokio::test]
async fn without_credit_the_agent_holds_and_goes_on_when_it_comes() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let (mut session, _) = collector.begin(v1::Credit::default()).await;
    // A refused plan is answered at once: had the agent sent records, they would come first.
    let plan = v1::Config { version: 9, ..Default::default() };
    for _ in 0..4 {
        session.say(down::Message::Config(plan.clone())).await;
    }
    match session.hear().await.unwrap() {
        up::Message::Config(status) => assert!(!status.applied),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(soon(line.offers.recv()).await.unwrap().version, 9);
    session.say(down::Message::Credit(PLENTY)).await;
    assert_eq!(samples(&mut session).await.1.len(), 10);
    let report = v1::ConfigStatus { version: 9, applied: true, reason: String::new() };
    line.state.send_modify(|state| (state.applied, state.report) = (9, Some(report.clone())));
    loop {
        if let up::Message::Config(status) = session.hear().await.unwrap()
            && status == report
        {
            break;
        }
    }
    line.stop().await;
}

#[tokio::test]
async fn a_rolled_back_lane_gets_a_new_epoch_but_not_without_end() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let epoch = |hello: &v1::Hello| {
        hello.lanes.iter().filter(|lane| lane.lane == LANE_SAMPLES).map(|l| l.epoch).next_back()
    };
    let mut epochs = Vec::new();
    for _ in 0..8 {
        let (session, hello) = collector.session().await;
        if epochs.last() != Some(&epoch(&hello)) {
            epochs.push(epoch(&hello));
        }
        session
            .ok(&hello, PLENTY, |resume| {
                if resume.lane == LANE_SAMPLES {
                    resume.set_action(Action::NewEpoch);
                    resume.contig_upto = 1_000;
                }
            })
            .await;
    }
    assert_eq!(epochs.len(), 5, "four new epochs in ten minutes and no more: {epochs:?}");
    let (mut session, hello) = collector.begin(PLENTY).await;
    let (batch, records) = samples(&mut session).await;
    assert_eq!(Some(batch.epoch), epoch(&hello));
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(records[0].seq, 1);
    assert!(line.metrics.protocol_errors.get() >= 3);
    line.stop().await;
}

#[tokio::test]
async fn a_held_agent_keeps_everything_and_sends_nothing() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let (mut session, hello) = collector.session().await;
    session.ok(&hello, PLENTY, |resume| resume.set_action(Action::Hold)).await;
    for _ in 0..4 {
        session.say(down::Message::Config(v1::Config::default())).await;
    }
    assert!(matches!(session.hear().await.unwrap(), up::Message::Config(_)));
    assert_eq!(line.metrics.held.get(), 1);
    drop(session);
    let (mut session, _) = collector.begin(PLENTY).await;
    assert_eq!(samples(&mut session).await.1.len(), 10);
    line.stop().await;
}

#[tokio::test]
async fn acknowledgements_that_can_not_be_true_free_nothing() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let (batch, first) = samples(&mut session).await;
    session.ack(&batch, 11, &[]).await;
    session.ack(&batch, u64::MAX, &[]).await;
    session.ack(&batch, 5, &[(8, 7)]).await;
    session.ack(&batch, 5, &[(7, u64::MAX)]).await;
    session.ack(&v1::Records { lane: 9, ..batch.clone() }, 1, &[]).await;
    session.ack(&v1::Records { epoch: 1, ..batch.clone() }, 1, &[]).await;
    session.ack(&batch, 6, &[]).await;
    session.ack(&batch, 2, &[]).await;
    let metrics = Arc::clone(&line.metrics);
    soon(async {
        while metrics.acks_ignored.get() < 7 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(line.metrics.acks.get(), 1);
    drop(session);
    let (mut session, _) = collector.begin(PLENTY).await;
    let (_, again) = samples(&mut session).await;
    assert_eq!(again, first, "the collector forgot, and nothing is gone");
    line.stop().await;
}

#[tokio::test]
async fn answers_out_of_order_end_the_session_and_never_the_agent() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    line.measure(0..10).await;
    line.connect();
    for turn in 0..6 {
        let (session, hello) = collector.session().await;
        match turn {
            0 => session.say(down::Message::Ack(v1::Ack::default())).await,
            1 => {
                let credit = Some(PLENTY);
                let ok = v1::HelloOk { protocol: 99, credit, ..Default::default() };
                session.say(down::Message::Ok(ok)).await;
            }
            2 => session.ok(&hello, PLENTY, |resume| resume.contig_upto = u64::MAX).await,
            3 => {
                let range = v1::Range { from: 9, to: 3 };
                session.ok(&hello, PLENTY, |resume| resume.above = vec![range]).await;
            }
            4 => {
                session.ok(&hello, v1::Credit::default(), |_| {}).await;
                session.ok(&hello, PLENTY, |_| {}).await;
            }
            _ => {
                let away = v1::GoAway { reason: "\u{1b}[2J".to_owned(), ..Default::default() };
                session.say(down::Message::Away(away)).await;
            }
        }
    }
    let (mut session, _) = collector.begin(PLENTY).await;
    assert_eq!(samples(&mut session).await.1.len(), 10);
    // Numbers that were never given are no error of the collector's: the disk was put back.
    assert_eq!(line.metrics.protocol_errors.get(), 4);
    line.stop().await;
}

#[tokio::test]
async fn a_captive_portal_is_declared_once_and_outlived() {
    let portal = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    enrolled(dir.path(), &collector, Life::Long);
    let mut line = Line::in_dir(dir, &portal.local_addr().unwrap().to_string());
    line.connect();
    for _ in 0..3 {
        let (mut stream, _) = soon(portal.accept()).await.unwrap();
        let mut hello = [0; 512];
        let _read = stream.read(&mut hello).await;
        let page = b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n<html>pay</html>";
        let _written = stream.write_all(page).await;
    }
    let metrics = Arc::clone(&line.metrics);
    soon(async {
        while metrics.interceptions.get() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let dir = line.stop().await;
    let mut line = Line::in_dir(dir, &collector.address.to_string());
    line.connect();
    let (mut session, _) = collector.begin(PLENTY).await;
    let mut told = 0;
    let mut started = 0;
    while started < 2 {
        let (batch, records) = session.records().await.unwrap();
        assert_eq!(batch.lane, LANE_EVENTS);
        for record in records {
            assert_eq!(record.kind, KIND_EVENT);
            match v1::Event::decode(&*record.payload).unwrap().event {
                Some(Event::Interception(_)) => told += 1,
                Some(Event::Started(_)) => started += 1,
                _ => {}
            }
        }
    }
    assert_eq!(told, 1);
    line.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_with_a_new_key_and_then_used() {
    let mut collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    enrolled(dir.path(), &collector, Life::Over);
    let keyring = Keyring::new(dir.path());
    let old = keyring.load().unwrap().current;
    let mut line = Line::in_dir(dir, &collector.address.to_string());
    line.connect();
    let (_session, _) = collector.begin(PLENTY).await;
    collector.asked(|asked| {
        let [renewal] = &asked.renewals[..] else { panic!("one renewal") };
        assert_eq!(renewal.certificate, old.leaf_der());
    });
    soon(async {
        while line.metrics.connected.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let credentials = keyring.load().unwrap();
    assert!(credentials.next.is_none(), "the renewed one is in force");
    assert_ne!(credentials.current.leaf_der(), old.leaf_der());
    line.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_not_enrolled_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stop = CancellationToken::new();
    let error = app::run(config, clock, stop, Extra::default()).await.unwrap_err();
    assert!(format!("{error:#}").contains("not enrolled"), "{error:#}");
}

#[tokio::test]
async fn a_collector_that_answers_the_rounds_again_is_connected_to_within_seconds() {
    let mut collector = Collector::start().await;
    let mut line = Line::new(&collector);
    // A pause that would outlast the test.
    line.uplink.as_mut().unwrap().reconnect = Duration::from_mins(5);
    line.connect();
    drop(collector.begin(PLENTY).await);
    soon(async {
        while line.metrics.session_failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    line.answered.send_modify(|count| *count += 1);
    let (_session, _hello) = collector.begin(PLENTY).await;
    line.stop().await;
}
