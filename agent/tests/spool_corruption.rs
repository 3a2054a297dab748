//! Ten thousand damaged spools: every one starts, gives back each record that was not damaged, and
//! declares each that was.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    clock::Clock,
    spool::{
        NewRecord, ReadRequest, Reserve, Spool, SpoolConfig, StoredRecord,
        format::{self, Name, Seal},
        sim::SimDisk,
    },
};
use prost::Message as _;
use proto::v1::{Event, Loss, event::Event as Kind};

const SEEDS: u64 = 10_000;
const AGENT: [u8; 16] = [9; 16];
const LOSSES: &str = "loss.ctr";

struct Noon;

impl Clock for Noon {
    fn boot_ns(&self) -> u64 {
        1_000_000_000_000
    }

    fn wall_ns(&self) -> i64 {
        1_700_000_000_000_000_000
    }

    fn boot_tag(&self) -> u32 {
        7
    }
}

/// xorshift64*: the same damage for the same seed, always.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }
}

fn open(disk: &SimDisk) -> (Spool, agent::spool::Recovery) {
    let mut config = SpoolConfig::new(PathBuf::from("simulated"), AGENT);
    config.segment_bytes = 2048;
    config.caps = [1 << 20, 1 << 20];
    config.reserve = Reserve { bytes: 0, percent: 0 };
    Spool::open_on(disk.opener(), config, Arc::new(Noon)).unwrap()
}

fn record(lane: u32, id: u64) -> NewRecord {
    let mut payload = id.to_le_bytes().to_vec();
    payload.resize(30 + usize::try_from(id % 9).unwrap() * 37, 0xC3);
    NewRecord {
        lane,
        kind: proto::KIND_SAMPLES,
        boot_ns: 5,
        wall_ns: 6,
        boot_tag: 7,
        n_items: 2,
        urgent: false,
        payload,
    }
}

/// A spool of three segments or more in each lane.
fn healthy(stopped: bool) -> SimDisk {
    let disk = SimDisk::new();
    let (mut spool, recovery) = open(&disk);
    spool.record_start(&recovery);
    for id in 0..45 {
        spool.append(&record(u32::from(id % 3 > 0), id)).unwrap();
        assert!(!spool.commit().degraded);
    }
    if stopped {
        spool.record_stop("test");
    }
    drop(spool);
    disk
}

/// Where one record stands.
struct Place {
    file: String,
    bytes: std::ops::Range<usize>,
    name: Name,
    seq: u64,
}

fn places(disk: &SimDisk) -> Vec<Place> {
    let mut out = Vec::new();
    for (file, bytes) in disk.files() {
        let Some(name) = Name::parse(&file) else { continue };
        let scan = format::scan(&bytes, Seal::new(&AGENT, name.epoch), name.first_seq, None);
        assert!(scan.is_clean());
        out.extend(scan.good.iter().map(|span| Place {
            file: file.clone(),
            bytes: span.offset..span.offset + span.len,
            name,
            seq: span.seq,
        }));
    }
    out
}

fn damage(files: &mut BTreeMap<String, Vec<u8>>, dice: &mut Dice) -> String {
    let names: Vec<String> = files.keys().cloned().collect();
    let name = names[dice.below(names.len())].clone();
    let bytes = files.get_mut(&name).unwrap();
    let len = bytes.len();
    // Mostly where records are.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let reach = if dice.below(8) == 0 { len } else { used };
    let from = dice.below(reach);
    let longest = dice.below(11);
    let upto = (from + 1 + dice.below(1 << longest)).min(len);
    let what = dice.below(8);
    match what {
        0 => {
            for _ in 0..=dice.below(6) {
                let bit = dice.below(reach * 8);
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        1 => bytes[from..upto].fill_with(|| dice.next().to_le_bytes()[3]),
        2 => bytes[from..upto].fill(0),
        3 => bytes[from..upto].fill(0xFF),
        4 => bytes.truncate(from),
        5 => {
            // A stretch of the file in another place of it.
            let piece = bytes[from..upto].to_vec();
            let to = dice.below(len - piece.len() + 1);
            bytes[to..to + piece.len()].copy_from_slice(&piece);
        }
        6 => {
            // Bytes that were never there push the rest back.
            let extra: Vec<u8> =
                (0..=dice.below(64)).map(|_| dice.next().to_le_bytes()[5]).collect();
            bytes.splice(from..from, extra);
        }
        _ => bytes.fill_with(|| dice.next().to_le_bytes()[2]),
    }
    format!("{name} kind {what} {from}..{upto}")
}

type Key = (u32, u64, u64);

fn read_all(spool: &mut Spool) -> BTreeMap<Key, StoredRecord> {
    let mut out = BTreeMap::new();
    // Reading lane 1 may declare losses in lane 0; reading lane 0 may declare its own.
    for lane in [1, 0, 0] {
        for status in spool.lanes().into_iter().filter(|status| status.lane == lane) {
            let mut from_seq = 0;
            loop {
                let request = ReadRequest {
                    lane,
                    epoch: status.epoch,
                    from_seq,
                    upto_seq: u64::MAX,
                    max_bytes: 64 << 10,
                    max_records: 100,
                };
                let batch = spool.read(&request);
                if batch.records.is_empty() {
                    break;
                }
                from_seq = batch.next_seq;
                for record in batch.records {
                    out.insert((lane, status.epoch, record.seq), record);
                }
            }
        }
    }
    out
}

fn losses(records: &BTreeMap<Key, StoredRecord>) -> Vec<Loss> {
    let events = records.values().filter(|record| record.kind == proto::KIND_EVENT);
    let mut out = Vec::new();
    for event in events {
        if let Some(Kind::Loss(loss)) = Event::decode(event.payload.as_slice()).unwrap().event {
            out.push(loss);
        }
    }
    out
}

fn declared(losses: &[Loss], place: &Place) -> bool {
    losses.iter().any(|loss| {
        (loss.lane, loss.epoch) == (place.name.lane, place.name.epoch)
            && (loss.from_seq..=loss.to_seq).contains(&place.seq)
    })
}

#[test]
fn every_damaged_spool_starts_and_gives_and_declares_what_it_should() {
    let bases = [false, true].map(|stopped| {
        let disk = healthy(stopped);
        let places = places(&disk);
        let (mut spool, _) = open(&SimDisk::copy_of(&disk));
        let records = read_all(&mut spool);
        assert_eq!(losses(&records), []);
        assert_eq!(records.len(), places.len());
        (disk.files(), places, records)
    });
    let (mut damaged, mut slowest) = (0_u64, Duration::ZERO);
    for seed in 1..=SEEDS {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let stopped = dice.below(2) == 1;
        let (original, places, records) = &bases[usize::from(stopped)];
        let mut files = original.clone();
        let what: Vec<String> =
            (0..=dice.below(3)).map(|_| damage(&mut files, &mut dice)).collect();
        let context = format!("seed {seed}, stopped {stopped}: {what:?}");

        let disk = SimDisk::new();
        for (name, bytes) in &files {
            disk.put(name, bytes.clone());
        }
        let started = Instant::now();
        let (mut spool, _) = open(&disk);
        slowest = slowest.max(started.elapsed());
        assert!(!spool.is_degraded(), "{context}");
        let found = read_all(&mut spool);
        let told = losses(&found);

        let counters_intact = files[LOSSES] == original[LOSSES];
        for place in places {
            let key = (place.name.lane, place.name.epoch, place.seq);
            let now = files[&place.file].get(place.bytes.clone());
            if now == original[&place.file].get(place.bytes.clone()) {
                let same = found.get(&key) == records.get(&key);
                assert!(same, "{key:?} is undamaged and not recovered, {context}");
                continue;
            }
            damaged += 1;
            if found.get(&key) == records.get(&key) {
                // A copy of the record stood elsewhere in the file.
                continue;
            }
            // Its number may have been given again: the collector's agreement is asked for first.
            // What a crash leaves of an append and what a clean end is look alike when nothing but
            // zeros, or nothing, follows. A clean stop noted the number; else the collector's
            // knowledge of a higher one gives the lane a new epoch.
            let rest = files[&place.file].get(place.bytes.start..).unwrap_or_default();
            let looks_unwritten = rest.iter().all(|byte| *byte == 0);
            let newest = !places.iter().any(|other| {
                (other.name.lane, other.name.epoch) == (place.name.lane, place.name.epoch)
                    && other.name.first_seq > place.name.first_seq
            });
            let unknowable = newest && looks_unwritten && !(stopped && counters_intact);
            assert!(unknowable || declared(&told, place), "{key:?} is not declared, {context}");
        }
        for (key, record) in &found {
            let original = records.get(key);
            let own = record.kind == proto::KIND_EVENT && original != Some(record);
            assert!(own || original == Some(record), "{key:?} was never written, {context}");
        }

        // It works on, and tells nothing twice.
        spool.append(&record(1, 1000)).unwrap();
        assert!(!spool.commit().degraded, "{context}");
        drop(spool);
        let (mut spool, _) = open(&disk);
        let again = read_all(&mut spool);
        assert_eq!(again.len(), found.len() + 1, "{context}");
        assert_eq!(losses(&again), told, "{context}");
    }
    assert!(damaged > SEEDS, "the damage hit next to nothing");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    println!("{SEEDS} spools, {damaged} records damaged, slowest start {slowest:?}");
}
