use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prost::Message as _;
use proto::v1::{Event, GapReason, Loss, event::Event as Kind};

use super::{sim::SimDisk, *};

mod disk;
mod golden;
mod model;
mod real;

/// A clock that a test moves by hand.
#[derive(Default)]
pub(super) struct HandClock(AtomicU64);

impl HandClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn boot_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn wall_ns(&self) -> i64 {
        1_700_000_000_000_000_000 + i64::try_from(self.boot_ns()).unwrap()
    }

    fn boot_tag(&self) -> u32 {
        7
    }
}

/// A spool on a simulated disk, and what is needed to open it again.
pub(super) struct Bench {
    pub(super) disk: SimDisk,
    pub(super) clock: Arc<HandClock>,
    pub(super) config: SpoolConfig,
    spool: Option<Spool>,
    pub(super) recovery: Recovery,
}

pub(super) const SEGMENT: u64 = 2048;

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(adjust: impl FnOnce(&mut SpoolConfig)) -> Self {
        let mut config = SpoolConfig::new(PathBuf::from("simulated"), [9; 16]);
        config.segment_bytes = SEGMENT;
        config.caps = [64 << 10, 64 << 10];
        config.reserve = Reserve { bytes: 0, percent: 0 };
        adjust(&mut config);
        let mut bench = Self {
            disk: SimDisk::new(),
            clock: Arc::new(HandClock::default()),
            config,
            spool: None,
            recovery: Recovery::default(),
        };
        bench.clock.advance(Duration::from_secs(1000));
        bench.open();
        bench
    }

    pub(super) fn open(&mut self) {
        self.spool = None;
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (spool, recovery) =
            Spool::open_on(self.disk.opener(), self.config.clone(), clock).unwrap();
        (self.spool, self.recovery) = (Some(spool), recovery);
    }

    pub(super) fn close(&mut self) {
        self.spool = None;
    }

    pub(super) fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    /// Appends a record whose payload names it; returns (epoch, seq).
    pub(super) fn append(&mut self, lane: u32, id: u64) -> (u64, u64) {
        let now = Moment::now(&*self.clock);
        let spool = self.spool();
        let seq = spool.append(&sample(lane, id, now)).unwrap();
        (current(spool, lane), seq)
    }

    pub(super) fn fill(&mut self, lane: u32, ids: std::ops::Range<u64>) {
        for id in ids {
            self.append(lane, id);
            assert!(!self.spool().commit().degraded);
        }
    }

    pub(super) fn ids(&mut self, lane: u32) -> Vec<u64> {
        all(self.spool(), lane).iter().filter_map(|(_, record)| id_of(record)).collect()
    }

    pub(super) fn losses(&mut self) -> Vec<Loss> {
        losses(self.spool())
    }

    /// Names of the lane's segment files, in order.
    pub(super) fn segments(&self, lane: u32) -> Vec<String> {
        let prefix = format!("l{lane}-");
        self.disk.files().into_keys().filter(|name| name.starts_with(&prefix)).collect()
    }
}

pub(super) fn sample(lane: u32, id: u64, now: Moment) -> NewRecord {
    let mut payload = id.to_le_bytes().to_vec();
    // Some are compressed, some are not.
    payload.resize(40 + usize::try_from(id % 7).unwrap() * 40, 0xAB);
    NewRecord {
        lane,
        kind: proto::KIND_SAMPLES,
        boot_ns: now.boot_ns,
        wall_ns: now.wall_ns,
        boot_tag: now.boot_tag,
        n_items: 3,
        urgent: false,
        payload,
    }
}

pub(super) fn id_of(record: &StoredRecord) -> Option<u64> {
    (record.kind == proto::KIND_SAMPLES)
        .then(|| u64::from_le_bytes(record.payload[..8].try_into().unwrap()))
}

pub(super) fn current(spool: &Spool, lane: u32) -> u64 {
    spool.lanes().iter().find(|status| status.lane == lane && status.current).unwrap().epoch
}

/// Everything that a lane gives, with its epoch, read in small bites.
pub(super) fn all(spool: &mut Spool, lane: u32) -> Vec<(u64, StoredRecord)> {
    let mut out = Vec::new();
    for status in spool.lanes().into_iter().filter(|status| status.lane == lane) {
        let mut from_seq = 0;
        loop {
            let request = ReadRequest {
                lane,
                epoch: status.epoch,
                from_seq,
                upto_seq: u64::MAX,
                max_bytes: 700,
                max_records: 5,
            };
            let batch = spool.read(&request);
            if batch.records.is_empty() {
                break;
            }
            assert!(batch.next_seq > from_seq);
            from_seq = batch.next_seq;
            out.extend(batch.records.into_iter().map(|record| (status.epoch, record)));
        }
    }
    out
}

pub(super) fn losses(spool: &mut Spool) -> Vec<Loss> {
    let events = all(spool, 0).into_iter().filter_map(|(_, record)| event_of(&record));
    events
        .filter_map(|event| if let Kind::Loss(loss) = event { Some(loss) } else { None })
        .collect()
}

pub(super) fn event_of(record: &StoredRecord) -> Option<Kind> {
    (record.kind == proto::KIND_EVENT)
        .then(|| Event::decode(record.payload.as_slice()).unwrap().event.unwrap())
}

pub(super) fn covers(losses: &[Loss], lane: u32, epoch: u64, seq: u64) -> bool {
    losses.iter().any(|loss| {
        loss.lane == lane && loss.epoch == epoch && loss.from_seq <= seq && seq <= loss.to_seq
    })
}

#[test]
fn a_committed_record_comes_back_as_it_was() {
    let mut bench = Bench::new();
    bench.fill(1, 0..50);
    assert_eq!(bench.ids(1), (0..50).collect::<Vec<_>>());
    bench.open();
    assert_eq!(bench.ids(1), (0..50).collect::<Vec<_>>());
    assert!(!bench.recovery.clean);
    let records = all(bench.spool(), 1);
    let seqs: Vec<u64> = records.iter().map(|(_, record)| record.seq).collect();
    assert_eq!(seqs, (1..=50).collect::<Vec<_>>());
    assert_eq!(records[3].1.payload, sample(1, 3, Moment::default()).payload);
}

#[test]
fn nothing_is_readable_before_its_commit() {
    let mut bench = Bench::new();
    bench.append(1, 0);
    assert!(bench.ids(1).is_empty());
    assert_eq!(bench.spool().commit(), Committed { records: 1, degraded: false });
    assert_eq!(bench.ids(1), [0]);
}

#[test]
fn a_start_tells_the_gap_and_whether_the_stop_was_clean() {
    let mut bench = Bench::new();
    let first = bench.recovery.clone();
    assert!(first.clean && first.last_durable.is_none());
    bench.spool().record_start(&first);
    bench.fill(1, 0..2);
    bench.clock.advance(Duration::from_mins(1));
    bench.open();
    let crashed = bench.recovery.clone();
    bench.spool().record_start(&crashed);
    bench.spool().record_stop("asked to");
    bench.open();
    let stopped = bench.recovery.clone();
    assert!(stopped.clean);
    bench.spool().record_start(&stopped);
    bench.spool().commit();
    let told: Vec<String> = all(bench.spool(), 0)
        .iter()
        .map(|(_, record)| match event_of(record).unwrap() {
            Kind::Started(started) => format!("started clean={}", started.clean),
            Kind::Stopped(stopped) => format!("stopped {}", stopped.reason),
            Kind::Gap(gap) => {
                let seconds = (gap.to_boot_ns - gap.from_boot_ns) / 1_000_000_000;
                format!("gap {} {seconds} s", gap.reason().as_str_name())
            }
            other @ (Kind::Loss(_)
            | Kind::ClockStep(_)
            | Kind::Surroundings(_)
            | Kind::SnmpInventory(_)
            | Kind::HostInventory(_)
            | Kind::Interception(_)
            | Kind::Sighting(_)
            | Kind::DiscoveryRound(_)) => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "started clean=true",
            "gap GAP_CRASH 60 s",
            "started clean=false",
            "stopped asked to",
            "gap GAP_STOPPED 0 s",
            "started clean=true",
        ]
    );
}

#[test]
fn acknowledged_segments_are_freed_and_the_newest_never() {
    let mut bench = Bench::new();
    bench.fill(1, 0..60);
    let before = bench.segments(1).len();
    assert!(before > 3);
    let epoch = current(bench.spool(), 1);
    assert_eq!(bench.ids(1).len(), 60);
    assert_eq!(bench.spool().acked(1, epoch, 60, &[]), AckOutcome::Applied);
    assert_eq!(bench.segments(1).len(), 1);
    assert!(bench.ids(1).is_empty());
    bench.open();
    assert_eq!(bench.losses(), []);
    bench.fill(1, 60..61);
    let last = all(bench.spool(), 1).pop().unwrap();
    assert_eq!((last.1.seq, id_of(&last.1)), (61, Some(60)));
}

#[test]
fn an_acknowledgement_of_what_was_never_given_frees_nothing() {
    let mut bench = Bench::new();
    bench.fill(1, 0..60);
    let epoch = current(bench.spool(), 1);
    let files = bench.segments(1);
    let spool = bench.spool();
    assert_eq!(spool.acked(1, epoch, 1, &[]), AckOutcome::BeyondHead, "nothing was sent");
    all(spool, 1);
    assert_eq!(spool.acked(1, epoch, 61, &[]), AckOutcome::BeyondHead);
    assert_eq!(spool.acked(1, epoch, u64::MAX, &[]), AckOutcome::BeyondHead);
    let beyond = [Range { from: 5, to: u64::MAX }];
    assert_eq!(spool.acked(1, epoch, 3, &beyond), AckOutcome::BeyondHead);
    assert_eq!(spool.acked(1, epoch ^ 1, 3, &[]), AckOutcome::Unknown);
    assert_eq!(spool.acked(9, epoch, 3, &[]), AckOutcome::Unknown);
    assert_eq!(bench.segments(1), files);
}

#[test]
fn acknowledged_ranges_are_not_read_again_until_the_collector_forgets() {
    let mut bench = Bench::new();
    bench.fill(1, 0..30);
    let epoch = current(bench.spool(), 1);
    let above = [Range { from: 10, to: 19 }, Range { from: 25, to: 30 }];
    assert_eq!(bench.ids(1).len(), 30);
    bench.spool().acked(1, epoch, 5, &above);
    let want: Vec<u64> = (6..10).chain(20..25).map(|seq| seq - 1).collect();
    assert_eq!(bench.ids(1), want);
    // An older Ack changes nothing, a new session may.
    bench.spool().acked(1, epoch, 2, &above);
    assert_eq!(bench.ids(1), want);
    bench.spool().resume(1, epoch, 0, &[]);
    assert_eq!(bench.ids(1).last(), Some(&29));
}

#[test]
fn what_is_younger_than_two_minutes_is_live() {
    let mut bench = Bench::new();
    bench.fill(1, 0..10);
    bench.clock.advance(Duration::from_mins(3));
    bench.fill(1, 10..12);
    let status = bench.spool().lanes()[1];
    assert_eq!((status.live_from, status.next_seq), (11, 13));
    bench.clock.advance(Duration::from_mins(3));
    assert_eq!(bench.spool().lanes()[1].live_from, 13);
}

#[test]
fn eviction_at_the_cap_is_counted_to_the_record() {
    let mut bench = Bench::with(|config| config.caps = [64 << 10, 4 * SEGMENT]);
    bench.fill(1, 0..400);
    bench.spool().maintain();
    let left = bench.ids(1);
    let losses = bench.losses();
    let lost: u64 = losses.iter().map(|loss| loss.records).sum();
    let samples: u64 = losses.iter().map(|loss| loss.samples).sum();
    assert!(losses.len() > 10);
    assert_eq!(lost + left.len() as u64, 400);
    assert_eq!(samples, lost * 3);
    assert!(losses.iter().all(|loss| loss.reason() == GapReason::GapEvicted));
    // One after the other, without a gap.
    let mut expected = 1;
    for loss in &losses {
        assert_eq!((loss.from_seq, loss.to_seq), (expected, expected + loss.records - 1));
        expected = loss.to_seq + 1;
    }
    assert_eq!(left.first(), Some(&(expected - 1)));
    assert!(bench.segments(1).len() <= 4);
    let status = bench.spool().status();
    assert_eq!((status.counters.evicted_records, status.lanes[1].evicted), (lost, lost));
    bench.open();
    assert_eq!(bench.spool().status().counters.evicted_records, lost);
    assert_eq!(bench.losses(), losses);
}

#[test]
fn acknowledged_segments_in_the_middle_go_before_unacknowledged_ones() {
    let mut bench = Bench::with(|config| config.caps = [64 << 10, 5 * SEGMENT]);
    let mut id = 0;
    while bench.segments(1).len() < 4 {
        bench.fill(1, id..id + 1);
        id += 1;
    }
    let epoch = current(bench.spool(), 1);
    let names = bench.segments(1);
    let first = |name: &str| format::Name::parse(name).unwrap().first_seq;
    let middle = Range { from: first(&names[1]), to: first(&names[3]) - 1 };
    bench.ids(1);
    bench.spool().acked(1, epoch, 0, &[middle]);
    bench.config.caps[1] = 2 * SEGMENT + 1024;
    let config = bench.config.clone();
    bench.spool().config = config;
    bench.spool().maintain();
    assert_eq!(bench.losses(), []);
    bench.open();
    let expected: Vec<u64> =
        (1..middle.from).chain(middle.to + 1..=id).map(|seq| seq - 1).collect();
    assert_eq!(bench.ids(1), expected);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_kill_around_an_eviction_counts_it_once() {
    // Wherever in the eviction the machine dies.
    for steps in 1..120 {
        for power in [false, true] {
            let mut bench = Bench::new();
            bench.fill(1, 0..60);
            bench.config.caps[1] = 3 * SEGMENT;
            let config = bench.config.clone();
            bench.spool().config = config;
            bench.disk.die_after(steps * 7);
            bench.spool().maintain();
            bench.close();
            if power {
                bench.disk.cut_power(|| false);
            } else {
                bench.disk.kill();
            }
            bench.open();
            bench.spool().commit();
            bench.spool().maintain();
            let left = bench.ids(1).len() as u64;
            let losses = bench.losses();
            let lost: u64 = losses.iter().map(|loss| loss.records).sum();
            assert_eq!(lost + left, 60, "steps {steps} power {power}: {losses:?}");
            let evicted = bench.spool().status().counters.evicted_records;
            assert_eq!(evicted, lost, "steps {steps} power {power}");
        }
    }
}

#[test]
fn a_rolled_back_lane_is_renumbered_without_loss() {
    let mut bench = Bench::new();
    bench.fill(1, 0..60);
    let old = current(bench.spool(), 1);
    bench.append(1, 60);
    bench.ids(1);
    let new = bench.spool().new_epoch(1, old, 20, &[]).unwrap();
    assert_ne!(new, old);
    bench.fill(1, 61..65);
    let want: Vec<u64> = (20..65).collect();
    assert_eq!(bench.ids(1), want);
    assert_eq!(bench.spool().lanes().len(), 2);
    bench.open();
    assert_eq!(bench.ids(1), want);
    assert_eq!(current(bench.spool(), 1), new);
    let seqs: Vec<u64> = all(bench.spool(), 1).iter().map(|(_, record)| record.seq).collect();
    assert_eq!(seqs, (1..=45).collect::<Vec<_>>());
    assert_eq!(bench.losses(), []);
}

#[test]
fn numbers_given_twice_are_noticed_even_after_further_starts() {
    let mut bench = Bench::new();
    let epoch = current(bench.spool(), 1);
    assert_eq!(bench.spool().resume(1, epoch, 0, &[]), AckOutcome::Applied);
    bench.fill(1, 0..4);
    assert_eq!(bench.ids(1).len(), 4);
    let before = bench.disk.files();
    // These the collector gets, and a disk that lied about its cache loses them.
    bench.fill(1, 4..10);
    assert_eq!(bench.ids(1).len(), 10);
    bench.close();
    for (name, bytes) in before {
        bench.disk.put(&name, bytes);
    }
    // Two runs without a line, which give the numbers again and go beyond.
    bench.open();
    bench.fill(1, 100..108);
    bench.open();
    bench.fill(1, 108..112);
    let status = bench.spool().lanes()[1];
    assert!(status.next_seq > 11);
    assert_eq!(bench.spool().resume(1, epoch, 10, &[]), AckOutcome::BeyondHead);
    let new = bench.spool().new_epoch(1, epoch, 10, &[]).unwrap();
    assert_eq!(bench.ids(1), (100..112).collect::<Vec<_>>(), "all that the collector lacks, once");
    assert_eq!(bench.spool().resume(1, new, 0, &[]), AckOutcome::Applied);
}

#[test]
fn a_kill_while_renumbering_leaves_every_record_once() {
    for steps in 1..150 {
        for power in [false, true] {
            let mut bench = Bench::new();
            bench.fill(1, 0..60);
            let old = current(bench.spool(), 1);
            bench.disk.die_after(steps * steps);
            // Whether it got through depends on when it died.
            let _ = bench.spool().new_epoch(1, old, 0, &[]);
            bench.close();
            if power {
                bench.disk.cut_power(|| false);
            } else {
                bench.disk.kill();
            }
            bench.open();
            let mut ids = bench.ids(1);
            ids.sort_unstable();
            assert_eq!(ids, (0..60).collect::<Vec<_>>(), "steps {steps} power {power}");
            assert_eq!(bench.losses(), []);
        }
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()[7]
    };
    std::iter::repeat_with(byte).take(len).collect()
}

#[test]
fn a_record_too_large_is_refused_and_costs_no_number() {
    let mut bench = Bench::new();
    let now = Moment::default();
    let refused = NewRecord { payload: noise(300 << 10), ..sample(1, 0, now) };
    assert!(matches!(bench.spool().append(&refused), Err(AppendError::TooLarge { .. })));
    let refused = NewRecord { payload: vec![0; (1 << 20) + 1], ..sample(1, 0, now) };
    assert!(matches!(bench.spool().append(&refused), Err(AppendError::TooLarge { .. })));
    let largest = NewRecord { payload: vec![0; 1 << 20], ..sample(1, 0, now) };
    assert_eq!(bench.spool().append(&largest), Ok(1));
    assert!(!bench.spool().commit().degraded);
    assert_eq!(all(bench.spool(), 1)[0].1.payload.len(), 1 << 20);
    assert_eq!(bench.spool().append(&sample(2, 0, now)), Err(AppendError::NoLane(2)));
    let own = NewRecord { kind: 0, ..sample(1, 0, now) };
    assert_eq!(bench.spool().append(&own), Err(AppendError::Kind));
}

#[test]
fn the_oldest_record_is_the_oldest_that_the_collector_does_not_have() {
    let mut bench = Bench::new();
    assert_eq!(bench.spool().status().oldest_age_ns, None);
    bench.spool().look_at_oldest();
    assert_eq!(bench.spool().status().oldest_age_ns, Some(0));
    for id in 1..=3 {
        let now = Moment::now(&*bench.clock);
        bench.spool().append(&sample(1, id, now)).unwrap();
        bench.spool().commit();
        bench.clock.advance(Duration::from_secs(10));
    }
    let age = |bench: &mut Bench| {
        bench.spool().look_at_oldest();
        Duration::from_nanos(bench.spool().status().oldest_age_ns.unwrap()).as_secs()
    };
    assert_eq!(age(&mut bench), 30);
    let epoch = current(bench.spool(), 1);
    // The look itself hands nothing out.
    assert_eq!(bench.spool().acked(1, epoch, 1, &[]), AckOutcome::BeyondHead);
    assert_eq!(all(bench.spool(), 1).len(), 3);
    assert_eq!(bench.spool().acked(1, epoch, 1, &[]), AckOutcome::Applied);
    assert_eq!(age(&mut bench), 20);
    assert_eq!(bench.spool().acked(1, epoch, 3, &[]), AckOutcome::Applied);
    assert_eq!(age(&mut bench), 0);
    assert_eq!(bench.spool().status().counters.appended_records, 3);
    assert!(bench.spool().status().counters.commit_ns > 0);
}
