//! On a real directory, and through the thread.

use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::{clock::SystemClock, spool::worker::SpoolError};

fn config(dir: &std::path::Path) -> SpoolConfig {
    let mut config = SpoolConfig::new(dir.to_owned(), [3; 16]);
    config.segment_bytes = 64 << 10;
    config.caps = [1 << 20, 1 << 20];
    config.reserve = Reserve { bytes: 0, percent: 0 };
    config
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

#[test]
fn a_second_agent_on_the_same_spool_is_refused_and_the_first_unharmed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _) = Spool::open(config(dir.path()), clock()).unwrap();
    let second = Spool::open(config(dir.path()), clock());
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    first.append(&sample(1, 1, Moment::default())).unwrap();
    assert!(!first.commit().degraded);
    drop(first);
    let (mut third, _) = Spool::open(config(dir.path()), clock()).unwrap();
    assert_eq!(all(&mut third, 1).len(), 1);
}

#[test]
fn foreign_files_links_and_fifos_are_neither_followed_nor_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("precious");
    fs::write(&target, "untouched").unwrap();
    let segment = |n: u64| dir.path().join(format!("l1-{:016x}-{n:016x}.seg", 0xABC));
    symlink(&target, segment(1)).unwrap();
    symlink(outside.path(), segment(2)).unwrap();
    fs::create_dir(segment(3)).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, segment(4), mode).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("l1-xyz.seg"), "junk").unwrap();
    for _ in 0..2 {
        let (mut spool, _) = Spool::open(config(dir.path()), clock()).unwrap();
        assert!(!spool.is_degraded());
        spool.append(&sample(1, 1, Moment::default())).unwrap();
        assert!(!spool.commit().degraded);
        assert_eq!(losses(&mut spool), []);
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(dir.path().join("notes.txt")).unwrap(), "mine");
    assert!((1..=4).all(|n| segment(n).symlink_metadata().is_ok()));
}

#[test]
fn a_file_where_the_directory_should_be_gives_a_spool_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    fs::write(&path, "not a directory").unwrap();
    let (mut spool, recovery) = Spool::open(config(&path), clock()).unwrap();
    assert!(spool.is_degraded());
    spool.record_start(&recovery);
    spool.append(&sample(1, 1, Moment::default())).unwrap();
    assert!(spool.commit().degraded);
    assert_eq!(all(&mut spool, 1).len(), 1);
}

#[test]
fn the_ledger_names_each_durable_record() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let mut config = config(&dir.path().join("spool"));
    config.ledger = Some(ledger.clone());
    let (mut spool, _) = Spool::open(config, clock()).unwrap();
    spool.append(&sample(1, 1, Moment::default())).unwrap();
    assert_eq!(fs::read_to_string(&ledger).unwrap(), "");
    spool.commit();
    let (epoch, record) = all(&mut spool, 1).pop().unwrap();
    let expected = format!("1 {epoch:016x} 1 {:016x} 2\n", record.hash);
    assert_eq!(fs::read_to_string(&ledger).unwrap(), expected);
}

#[tokio::test]
async fn the_thread_commits_urgent_records_at_once_and_tells() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.commit_interval = Duration::from_mins(10);
    let (thread, _) = SpoolThread::start(config, clock()).unwrap();
    let handle = thread.handle();
    let mut status = handle.status();
    let samples_next =
        |status: &SpoolStatus| status.lanes.iter().find(|lane| lane.lane == 1).unwrap().next_seq;
    handle.try_append(sample(1, 1, Moment::default())).unwrap();
    let urgent = NewRecord { urgent: true, ..sample(1, 2, Moment::default()) };
    handle.try_append(urgent).unwrap();
    let told = status.wait_for(|status| samples_next(status) == 3);
    tokio::time::timeout(Duration::from_secs(5), told).await.unwrap().unwrap();
    let epoch = status.borrow().lanes.iter().find(|lane| lane.lane == 1).unwrap().epoch;
    let request = ReadRequest {
        lane: 1,
        epoch,
        from_seq: 1,
        upto_seq: u64::MAX,
        max_bytes: 1 << 20,
        max_records: 100,
    };
    let batch = handle.read(request).await.unwrap();
    assert_eq!(batch.records.iter().filter_map(id_of).collect::<Vec<_>>(), [1, 2]);
    handle.acked(1, epoch, 2, Vec::new()).unwrap();
    assert_eq!(handle.read(request).await.unwrap().records, []);
    tokio::task::spawn_blocking(move || thread.stop("test")).await.unwrap().unwrap();
    assert_eq!(handle.read(request).await, Err(SpoolError::Stopped));
    let (_, recovery) = Spool::open(self::config(dir.path()), clock()).unwrap();
    assert!(recovery.clean);
}

#[tokio::test]
async fn the_thread_commits_within_its_interval() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.commit_interval = Duration::from_millis(30);
    let (thread, _) = SpoolThread::start(config, clock()).unwrap();
    let handle = thread.handle();
    handle.try_append(sample(1, 1, Moment::default())).unwrap();
    let mut status = handle.status();
    let told = status.wait_for(|status| status.counters.durable_samples == 3);
    tokio::time::timeout(Duration::from_secs(5), told).await.unwrap().unwrap();
    tokio::task::spawn_blocking(move || thread.stop("test")).await.unwrap().unwrap();
}

#[test]
fn a_disk_that_hangs_fills_the_queue_and_no_more() {
    // Commits block for as long as the test holds the clock's gate.
    struct Gate(std::sync::Mutex<()>, SystemClock);
    impl Clock for Gate {
        fn boot_ns(&self) -> u64 {
            drop(self.0.lock().unwrap());
            self.1.boot_ns()
        }
        fn wall_ns(&self) -> i64 {
            self.1.wall_ns()
        }
        fn boot_tag(&self) -> u32 {
            self.1.boot_tag()
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate(std::sync::Mutex::new(()), SystemClock::new()));
    let clock: Arc<dyn Clock> = gate.clone();
    let mut config = config(dir.path());
    config.commit_interval = Duration::ZERO;
    config.caps = [64 << 20, 64 << 20];
    let (thread, _) = SpoolThread::start(config, clock).unwrap();
    let handle = thread.handle();
    let held = gate.0.lock().unwrap();
    let mut taken = 0_u64;
    let mut tries = 0;
    let refused = loop {
        let payload = vec![7; 100 << 10];
        match handle.try_append(NewRecord { payload, ..sample(1, 0, Moment::default()) }) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        tries += 1;
        assert!(tries < 1000, "the queue has no bound");
    };
    assert_eq!(refused, SpoolError::Full);
    assert!(taken >= 80, "{taken}");
    drop(held);
    thread.stop("test").unwrap();
    let (mut spool, _) = Spool::open(self::config(dir.path()), self::clock()).unwrap();
    assert_eq!(all(&mut spool, 1).len() as u64, taken);
}

#[tokio::test]
async fn a_record_that_no_spool_takes_is_refused_to_its_maker() {
    let dir = tempfile::tempdir().unwrap();
    let (thread, _) = SpoolThread::start(config(dir.path()), clock()).unwrap();
    let handle = thread.handle();
    let large = NewRecord { payload: super::noise(300 << 10), ..sample(1, 1, Moment::default()) };
    assert!(matches!(
        handle.try_append(large),
        Err(SpoolError::Refused(AppendError::TooLarge { .. }))
    ));
    let endless = NewRecord { payload: vec![0; (1 << 20) + 1], ..sample(1, 1, Moment::default()) };
    assert!(matches!(handle.try_append(endless), Err(SpoolError::Refused(_))));
    // What compresses well is taken, and nothing is left of the two in the queue's account.
    let long = NewRecord { payload: vec![0; 1 << 20], ..sample(1, 1, Moment::default()) };
    assert_eq!(handle.try_append(long), Ok(()));
    let status = handle.commit().await.unwrap();
    assert_eq!(status.counters.refused_records, 0);
    assert_eq!(status.lanes.iter().find(|lane| lane.lane == 1).unwrap().next_seq, 2);
    tokio::task::spawn_blocking(move || thread.stop("test")).await.unwrap().unwrap();
}

/// Bytes that a file really takes.
fn taken(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().map_or(0, |found| found.blocks() * 512)
}

#[test]
fn files_of_two_terabytes_that_hold_nothing_delay_no_start_and_fill_no_disk() {
    const HUGE: u64 = 2 << 40;
    let dir = tempfile::tempdir().unwrap();
    let config = || SpoolConfig {
        segment_bytes: 8 << 10,
        caps: SpoolConfig::new(PathBuf::new(), [0; 16]).caps,
        ..config(dir.path())
    };
    let grow = |name: &str| {
        let file = fs::OpenOptions::new().create(true).append(true).open(dir.path().join(name));
        file.unwrap().set_len(HUGE).unwrap();
    };
    let mut written = 0;
    let mut fill = |spool: &mut Spool, upto: u64| {
        while written < upto {
            spool.append(&sample(1, written, Moment::default())).unwrap();
            assert!(!spool.commit().degraded);
            written += 1;
        }
    };
    let (mut spool, _) = Spool::open(config(), clock()).unwrap();
    fill(&mut spool, 600);
    drop(spool);
    let mut segments: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("l1-"))
        .collect();
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    // The newest, the oldest, two strangers, the counters.
    grow(&segments[segments.len() - 1]);
    grow(&segments[0]);
    grow(&format!("l1-{:016x}-{:016x}.seg", 0xABC, 1));
    grow(&format!("l0-{:016x}-{:016x}.seg", 0xABC, u64::MAX));
    grow("loss.ctr");
    for turn in 0..3 {
        let began = std::time::Instant::now();
        let (mut spool, _) = Spool::open(config(), clock()).unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "start {turn} took {took:?}");
        assert!(!spool.is_degraded());
        let there: BTreeSet<u64> =
            all(&mut spool, 1).iter().filter_map(|(_, record)| id_of(record)).collect();
        let events = losses(&mut spool);
        assert_eq!(there.len() as u64, 600 + turn * 50, "declared: {events:?}");
        fill(&mut spool, 600 + (turn + 1) * 50);
        spool.maintain();
    }
    let all: u64 = fs::read_dir(dir.path()).unwrap().map(|e| taken(&e.unwrap().path())).sum();
    assert!(all < 256 << 20, "{} MiB are taken", all >> 20);
}
