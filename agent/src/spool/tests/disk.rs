//! Disks that fail, and bytes that are not what was written.

use super::*;

#[test]
fn one_failed_sync_is_answered_with_a_new_file() {
    let mut bench = Bench::new();
    bench.fill(1, 0..5);
    bench.disk.fail_syncs(1);
    bench.append(1, 5);
    assert_eq!(bench.spool().commit(), Committed { records: 1, degraded: false });
    assert_eq!(bench.segments(1).len(), 2);
    bench.fill(1, 6..8);
    bench.close();
    bench.disk.cut_power(|| false);
    bench.open();
    assert_eq!(bench.ids(1), (0..8).collect::<Vec<_>>());
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_disk_that_always_fails_leaves_a_spool_in_memory_that_recovers() {
    let mut bench = Bench::new();
    bench.fill(1, 0..5);
    bench.disk.fail_syncs(u64::MAX);
    bench.append(1, 5);
    bench.append(0, 1005);
    assert!(bench.spool().commit().degraded);
    // Live sending goes on.
    assert_eq!(bench.ids(1), (0..6).collect::<Vec<_>>());
    assert_eq!(bench.ids(0), [1005]);
    bench.disk.fail_syncs(0);
    bench.append(1, 6);
    assert!(bench.spool().commit().degraded, "not before its time");
    bench.clock.advance(RETRY_AFTER);
    assert!(!bench.spool().commit().degraded);
    bench.close();
    bench.disk.cut_power(|| false);
    bench.open();
    assert_eq!(bench.ids(1), (0..7).collect::<Vec<_>>());
    assert_eq!(bench.ids(0), [1005]);
}

#[test]
fn memory_is_bounded_and_what_it_drops_is_declared() {
    let mut bench = Bench::with(|config| config.caps = [64 << 20, 64 << 20]);
    bench.disk.fail_writes(u64::MAX);
    let now = Moment::default();
    let mut noise = 1_u64;
    let count = 60;
    for _ in 0..count {
        let mut payload = vec![0; 200 << 10];
        for chunk in payload.chunks_exact_mut(8) {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            chunk.copy_from_slice(&noise.to_le_bytes());
        }
        bench.spool().append(&NewRecord { payload, ..sample(1, 0, now) }).unwrap();
        bench.spool().commit();
        assert!(bench.spool().pending_bytes() <= RING_BYTES);
    }
    bench.disk.fail_writes(0);
    bench.clock.advance(RETRY_AFTER);
    assert!(!bench.spool().commit().degraded);
    let left = all(bench.spool(), 1);
    let losses = bench.losses();
    assert_eq!(losses.len(), 1);
    assert_eq!(losses[0].reason(), GapReason::GapSpoolDegraded);
    assert_eq!(losses[0].records + left.len() as u64, count);
    assert_eq!((losses[0].from_seq, losses[0].to_seq + 1), (1, left[0].1.seq));
    bench.open();
    assert_eq!(all(bench.spool(), 1).len(), left.len());
    assert_eq!(bench.losses(), losses);
}

#[test]
fn an_unusable_directory_starts_in_memory_and_joins_the_disk_later() {
    let mut bench = Bench::new();
    bench.fill(1, 0..5);
    bench.close();
    bench.disk.set_read_only(true);
    bench.open();
    assert!(bench.spool().is_degraded());
    bench.append(1, 5);
    assert!(bench.spool().commit().degraded);
    bench.disk.set_read_only(false);
    bench.clock.advance(RETRY_AFTER);
    bench.append(1, 6);
    assert!(!bench.spool().commit().degraded);
    assert_eq!(bench.ids(1), (0..7).collect::<Vec<_>>());
    bench.open();
    assert_eq!(bench.ids(1), (0..7).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_costs_the_oldest_samples() {
    let mut bench = Bench::new();
    bench.disk.set_capacity(Some(10 * SEGMENT));
    bench.fill(1, 0..300);
    let (left, losses) = (bench.ids(1).len() as u64, bench.losses());
    assert_eq!(left + losses.iter().map(|loss| loss.records).sum::<u64>(), 300);
    assert!(losses.len() > 3);
}

#[test]
fn a_disk_without_one_free_byte_still_gives_up_its_oldest_segment() {
    let mut bench = Bench::new();
    let mut id = 0;
    while bench.segments(1).len() < 5 {
        bench.fill(1, id..id + 1);
        id += 1;
    }
    // What was sent live is acknowledged in the middle of the chain.
    let epoch = current(bench.spool(), 1);
    let names = bench.segments(1);
    let first = |name: &str| format::Name::parse(name).unwrap().first_seq;
    let middle = Range { from: first(&names[2]), to: first(&names[3]) - 1 };
    bench.ids(1);
    assert_eq!(bench.spool().acked(1, epoch, 0, &[middle]), AckOutcome::Applied);
    let used = bench.disk.files().values().map(|file| file.len() as u64).sum::<u64>();
    bench.disk.set_capacity(Some(used));
    // None of these fails: another segment's room is found each time.
    bench.fill(1, id..id + 60);
    let (left, losses) = (bench.ids(1), bench.losses());
    assert_eq!(losses[0].from_seq, 1, "the oldest went first");
    let had = |seq: u64| (middle.from..=middle.to).contains(&seq);
    for id in 0..id + 60 {
        let told = covers(&losses, 1, epoch, id + 1);
        assert!(left.contains(&id) || told || had(id + 1), "{id} is neither kept nor declared");
    }
    assert!(losses.iter().all(|loss| loss.reason() == GapReason::GapEvicted));
}

#[test]
fn another_program_filling_the_disk_takes_our_share_down_to_the_reserve() {
    let mut bench =
        Bench::with(|config| config.reserve = Reserve { bytes: 8 * SEGMENT, percent: 5 });
    bench.disk.set_capacity(Some(40 * SEGMENT));
    bench.fill(1, 0..150);
    assert_eq!(bench.losses(), []);
    let used =
        |bench: &Bench| bench.disk.files().values().map(|file| file.len() as u64).sum::<u64>();
    let others = 40 * SEGMENT - used(&bench) - 4 * SEGMENT;
    bench.disk.put("other", vec![1; usize::try_from(others).unwrap()]);
    bench.spool().maintain();
    assert!(40 * SEGMENT - used(&bench) >= 8 * SEGMENT);
    bench.fill(1, 150..160);
    let losses = bench.losses();
    let lost: u64 = losses.iter().map(|loss| loss.records).sum();
    assert!(lost > 0);
    assert_eq!(bench.ids(1).len() as u64 + lost, 160);
    bench.disk.delete("other");
    bench.fill(1, 160..250);
    assert_eq!(bench.losses(), losses);
}

#[test]
fn what_the_collector_has_not_fills_the_spool_and_what_it_has_does_not() {
    let mut bench = Bench::new();
    assert_eq!(bench.spool().status().fill, None, "not looked at yet");
    let look = |bench: &mut Bench| {
        bench.clock.advance(Duration::from_mins(1));
        bench.spool().maintain();
        bench.spool().status().fill.unwrap()
    };
    // The lane takes 32 segments; up to the first eviction no share is reached twice.
    let mut before = look(&mut bench);
    assert_eq!((before.held_bytes, before.full_in_ns), (0, None));
    let mut id = 0;
    while bench.spool().status().counters.evicted_records == 0 {
        bench.fill(1, id..id + 20);
        id += 20;
        let fill = look(&mut bench);
        assert_eq!(fill.cap_bytes, 64 << 10);
        assert!(fill.held_bytes > before.held_bytes || fill.share() > 0.95, "{fill:?}");
        assert!(id < 100 || fill.full_in_ns.is_some() || fill.share() > 0.95, "{fill:?}");
        before = fill;
    }
    assert!(before.share() > 0.95, "{before:?} when the first is evicted");
    let epoch = current(bench.spool(), 1);
    for status in bench.spool().lanes() {
        // Only what was handed to the uplink can be acknowledged.
        all(bench.spool(), status.lane);
        let done = bench.spool().acked(status.lane, status.epoch, status.next_seq - 1, &[]);
        assert_eq!(done, AckOutcome::Applied);
    }
    let fill = look(&mut bench);
    assert!(fill.share() < 0.05, "{fill:?}");
    assert_eq!(fill.full_in_ns, None);
    // Records that are acknowledged as they come leave it as empty as it is.
    for id in id..id + 200 {
        let (_, seq) = bench.append(1, id);
        bench.spool().commit();
        bench.ids(1);
        assert_eq!(bench.spool().acked(1, epoch, seq, &[]), AckOutcome::Applied);
    }
    assert!(look(&mut bench).share() < 0.05);
}

#[test]
fn a_disk_that_fills_up_brings_the_cap_down_and_no_disk_has_none() {
    let mut bench = Bench::new();
    bench.fill(1, 0..100);
    bench.spool().maintain();
    let free = bench.spool().status().fill.unwrap();
    bench.disk.set_capacity(Some(free.held_bytes + 3 * SEGMENT));
    bench.spool().maintain();
    let tight = bench.spool().status().fill.unwrap();
    assert!(tight.cap_bytes < free.held_bytes + 4 * SEGMENT, "{tight:?} of {free:?}");
    assert!(tight.share() > free.share());
    bench.spool().disk = None;
    bench.spool().maintain();
    assert_eq!(bench.spool().status().fill, None);
}

#[test]
fn a_read_error_costs_only_what_cannot_be_read() {
    let mut bench = Bench::new();
    bench.fill(1, 0..60);
    bench.disk.fail_reads(true);
    assert!(bench.ids(1).is_empty());
    bench.disk.fail_reads(false);
    let left = bench.ids(1);
    let losses = bench.losses();
    let epoch = current(bench.spool(), 1);
    for id in 0..60 {
        assert!(left.contains(&id) || covers(&losses, 1, epoch, id + 1), "{id}");
    }
}

#[test]
fn every_truncation_of_the_newest_segment_starts() {
    for len in [0_usize, 1, 63, 64, 65, 115, 116, 117, 500, 1000] {
        for lane in [0, 1] {
            let mut bench = Bench::new();
            bench.fill(lane, 0..5);
            bench.close();
            let name = bench.segments(lane)[0].clone();
            let bytes = bench.disk.files()[&name][..len].to_vec();
            bench.disk.put(&name, bytes);
            bench.open();
            let ids = bench.ids(lane);
            assert!(ids.iter().copied().eq(0..ids.len() as u64));
            let next = ids.len() as u64 + 100;
            bench.fill(lane, 100..103);
            bench.open();
            let again = bench.ids(lane);
            assert_eq!(again.len(), ids.len() + 3, "lane {lane} len {len} next {next}");
        }
    }
}

#[test]
fn a_truncated_sealed_segment_is_declared_to_the_record() {
    for len in [0_usize, 1, 63, 64, 65, 300, 1111] {
        let mut bench = Bench::new();
        bench.fill(1, 0..60);
        bench.close();
        let name = bench.segments(1)[1].clone();
        let bytes = bench.disk.files()[&name][..len].to_vec();
        bench.disk.put(&name, bytes);
        bench.open();
        let left = bench.ids(1).len() as u64;
        let losses = bench.losses();
        assert_eq!(losses.len(), 1, "len {len}");
        assert_eq!(left + losses[0].records, 60, "len {len}");
        assert_eq!(losses[0].reason(), GapReason::GapCorrupt);
        bench.open();
        assert_eq!(bench.ids(1).len() as u64, left);
        assert_eq!(bench.losses(), losses, "told once");
    }
}

#[test]
fn segments_deleted_by_hand_are_declared() {
    for gone in [vec![0], vec![1], vec![0, 1], vec![2, 3]] {
        let mut bench = Bench::new();
        bench.fill(1, 0..100);
        bench.close();
        let names = bench.segments(1);
        for index in &gone {
            bench.disk.delete(&names[*index]);
        }
        bench.open();
        let left = bench.ids(1).len() as u64;
        let losses = bench.losses();
        assert_eq!(left + losses.iter().map(|loss| loss.records).sum::<u64>(), 100, "{gone:?}");
        bench.open();
        assert_eq!(bench.losses(), losses);
    }
}

#[test]
fn after_a_clean_stop_even_the_newest_segment_is_missed() {
    let mut bench = Bench::new();
    bench.fill(1, 0..60);
    bench.spool().record_stop("test");
    bench.close();
    let newest = bench.segments(1).pop().unwrap();
    bench.disk.delete(&newest);
    bench.open();
    let (left, losses) = (bench.ids(1).len() as u64, bench.losses());
    assert_eq!(left + losses.iter().map(|loss| loss.records).sum::<u64>(), 60);
    bench.fill(1, 60..61);
    assert_eq!(all(bench.spool(), 1).pop().unwrap().1.seq, 61);
}

#[test]
fn every_bit_of_a_small_segment_may_flip() {
    let mut bench = Bench::new();
    bench.fill(1, 0..5);
    bench.spool().record_stop("test");
    bench.close();
    let name = bench.segments(1)[0].clone();
    let base = bench.disk.files()[&name].clone();
    let used = base.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let original = bench.disk.files();
    for bit in 0..used * 8 {
        let disk = SimDisk::new();
        for (file, bytes) in &original {
            disk.put(file, bytes.clone());
        }
        let mut bytes = base.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        disk.put(&name, bytes);
        bench.disk = disk;
        bench.open();
        let ids = bench.ids(1);
        assert!(ids.len() >= 4, "bit {bit}: {ids:?}");
        let losses = bench.losses();
        let epoch = format::Name::parse(&name).unwrap().epoch;
        for id in 0..5 {
            assert!(ids.contains(&id) || covers(&losses, 1, epoch, id + 1), "bit {bit} id {id}");
        }
        let lost: u64 = losses.iter().map(|loss| loss.records).sum();
        assert_eq!(lost + ids.len() as u64, 5, "bit {bit}");
        bench.close();
    }
}

#[test]
fn loss_counters_survive_damage_to_either_slot() {
    for slots in [0..512, 512..1024, 0..1024] {
        let mut bench = Bench::with(|config| config.caps = [64 << 10, 4 * SEGMENT]);
        bench.fill(1, 0..200);
        let losses = bench.losses();
        let left = bench.ids(1);
        let evicted = bench.spool().status().counters.evicted_records;
        bench.close();
        let mut bytes = bench.disk.files()[losses::NAME].clone();
        bytes[slots.clone()].fill(0xFF);
        bench.disk.put(losses::NAME, bytes);
        bench.open();
        assert_eq!(bench.ids(1), left);
        if slots.len() == 512 {
            let now = bench.spool().status().counters.evicted_records;
            assert!(now == evicted || now + 20 > evicted, "at most the last eviction is forgotten");
        }
        // A forgotten eviction is told again with the same range, never another.
        for loss in bench.losses() {
            let seq_is_gone = loss.to_seq <= evicted;
            assert!(losses.contains(&loss) || seq_is_gone, "{loss:?}");
        }
    }
}

#[test]
fn a_later_versions_spool_is_kept_aside_and_comes_back() {
    let mut bench = Bench::new();
    bench.fill(1, 0..30);
    bench.close();
    let old = bench.disk.files();
    for name in bench.segments(1) {
        let mut bytes = old[&name].clone();
        bytes[4] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bench.disk.put(&name, bytes);
    }
    let names = bench.segments(1);
    bench.open();
    assert_eq!(bench.recovery.foreign, names.len());
    assert!(bench.ids(1).is_empty());
    assert_eq!(bench.losses(), []);
    bench.fill(1, 100..110);
    bench.close();
    for name in names {
        bench.disk.put(&name, old[&name].clone());
    }
    bench.open();
    assert_eq!(bench.ids(1), (0..30).chain(100..110).collect::<Vec<_>>());
}

#[test]
fn another_agents_segments_are_left_alone() {
    let mut bench = Bench::new();
    bench.fill(1, 0..30);
    bench.close();
    bench.config.agent_id = [1; 16];
    let names = bench.segments(1);
    bench.open();
    assert!(bench.ids(1).is_empty());
    bench.fill(1, 100..105);
    assert_eq!(bench.ids(1), (100..105).collect::<Vec<_>>());
    let files = bench.disk.files();
    assert!(names.iter().all(|name| files.contains_key(name)));
}

#[test]
fn what_a_former_identity_left_is_counted_given_up_and_declared() {
    let mut bench = Bench::new();
    bench.fill(1, 0..60);
    bench.fill(0, 100..103);
    let epoch = current(bench.spool(), 1);
    bench.ids(1);
    assert_eq!(bench.spool().acked(1, epoch, 20, &[]), AckOutcome::Applied);
    bench.spool().record_stop("test");
    bench.close();
    let former = bench.config.agent_id;
    let names = [bench.segments(0), bench.segments(1)].concat();
    // Where the operator did not give them up, nothing is touched.
    bench.disk.put(&former::mark_name(&former), Vec::new());
    bench.open();
    assert_eq!(bench.ids(1).last(), Some(&59), "the mark of the identity in force waits");
    bench.spool().record_stop("test");
    bench.close();
    bench.config.agent_id = [1; 16];
    bench.open();
    let files = bench.disk.files();
    assert!(names.iter().all(|name| !files.contains_key(name)), "{:?}", files.keys());
    assert!(!files.contains_key(&former::mark_name(&former)));
    assert_eq!(bench.losses(), [], "no number of the new identity is missing");
    let gaps = |bench: &mut Bench| -> Vec<_> {
        let events = all(bench.spool(), 0);
        let events = events.iter().filter_map(|(_, record)| event_of(record));
        events
            .filter_map(|event| if let Kind::Gap(gap) = event { Some(gap) } else { None })
            .collect()
    };
    let found = gaps(&mut bench);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].reason(), found[0].group), (GapReason::GapEvicted, 0));
    assert_eq!(found[0].rounds, 40, "20 of 60 were with the collector");
    assert!(found[0].from_wall_ns < found[0].to_wall_ns);
    bench.fill(1, 200..205);
    bench.open();
    assert_eq!(bench.ids(1), (200..205).collect::<Vec<_>>());
    assert_eq!(gaps(&mut bench).len(), 1, "told once");
}

#[test]
fn a_kill_while_a_former_identity_is_given_up_declares_it_and_removes_all() {
    for steps in 1..80 {
        let mut bench = Bench::new();
        bench.fill(1, 0..40);
        bench.spool().record_stop("test");
        bench.close();
        bench.disk.put(&former::mark_name(&bench.config.agent_id), Vec::new());
        let names = bench.segments(1);
        bench.config.agent_id = [1; 16];
        bench.disk.die_after(steps * 5);
        bench.open();
        bench.close();
        bench.disk.kill();
        bench.open();
        let files = bench.disk.files();
        assert!(names.iter().all(|name| !files.contains_key(name)), "after {steps}");
        let events = all(bench.spool(), 0);
        let told = events.iter().filter_map(|(_, record)| event_of(record));
        let told = told.filter(|event| matches!(event, Kind::Gap(gap) if gap.rounds > 0)).count();
        assert!(told >= 1, "after {steps}: not declared");
        assert_eq!(bench.losses(), [], "after {steps}");
    }
}

#[test]
fn strange_files_under_a_segments_name_start() {
    let shapes: [(&str, Vec<u8>); 6] = [
        ("zeros", vec![0; 5000]),
        ("ones", vec![0xFF; 5000]),
        ("empty", Vec::new()),
        ("gzip", [&[0x1F, 0x8B, 8, 0][..], &[0x55; 3000]].concat()),
        ("text", b"hello\n".repeat(500)),
        ("sparse", vec![0; 80 << 20]),
    ];
    for (what, bytes) in shapes {
        let mut bench = Bench::new();
        bench.fill(1, 0..30);
        bench.close();
        bench.disk.put("l1-00000000deadbeef-0000000000000001.seg", bytes);
        bench.open();
        assert_eq!(bench.ids(1), (0..30).collect::<Vec<_>>(), "{what}");
        assert_eq!(bench.recovery.foreign, 1, "{what}");
        assert_eq!(bench.losses(), [], "{what}");
    }
}

#[test]
fn damaged_bytes_are_kept_aside() {
    let mut bench = Bench::new();
    bench.fill(1, 0..60);
    bench.close();
    let name = bench.segments(1)[1].clone();
    let mut bytes = bench.disk.files()[&name].clone();
    bytes[200..260].fill(0x5A);
    bench.disk.put(&name, bytes);
    bench.open();
    bench.ids(1);
    let aside: Vec<_> = bench.disk.files().into_keys().filter(|n| n.starts_with("bad-")).collect();
    assert_eq!(aside.len(), 1);
    assert!(aside[0].ends_with(&name));
}

#[test]
fn crafted_garbage_is_scanned_in_bounded_time() {
    // Every position looks like a record of the greatest length.
    let mut bytes = Header {
        lane: 1,
        agent_id: [9; 16],
        epoch: 5,
        first_seq: 1,
        created_boot_ns: 0,
        created_wall_ns: 0,
        ordinal: 1,
    }
    .encode()
    .to_vec();
    let unit = [0xFF_u8, 0xFF, 3, 0, 0, 0, 0, 0];
    for _ in 0..(4 << 20) / 8 {
        bytes.extend_from_slice(&unit);
    }
    let started = std::time::Instant::now();
    let report = check_segment(&bytes);
    assert!(report.header && report.records == 0);
    assert!(started.elapsed() < Duration::from_secs(5));
}

use super::super::format::Header;
