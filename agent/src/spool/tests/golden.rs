//! A segment as it was written when its format was made: a change of format does not pass unseen.
//!
//! Where [`format::VERSION`] is raised on purpose, `VIGIE_GOLDEN=write cargo test -p agent --lib
//! golden` makes the file anew. Once a version is released its file stays, under its name, as long as
//! agents may find such segments when they are updated: the raised format gets one of its own.

use std::{env, fs};

use super::{
    super::format::{FLAG_ZSTD, Header, Name, RecordHead, Seal},
    *,
};

const NAME: Name = Name { lane: 1, epoch: 0x0123_4567_89AB_CDEF, first_seq: 3 };
const AGENT: [u8; 16] = [9; 16];

/// Numbers 3, 4 and 7, the last compressed; 5 and 6 are explained.
fn records() -> [(NewRecord, u64); 3] {
    let moment = |n: u64| Moment {
        boot_ns: n * 60_000_000_007,
        wall_ns: 1_700_000_000_123_456_789 + i64::try_from(n).unwrap(),
        boot_tag: 7,
    };
    [3, 4, 7].map(|seq| {
        let payload = if seq == 7 { vec![0xAB; 500] } else { vec![u8::try_from(seq).unwrap(); 21] };
        (NewRecord { payload, ..sample(1, 0, moment(seq)) }, seq)
    })
}

/// The segment, and where its last record begins.
fn segment() -> (Vec<u8>, usize) {
    let seal = Seal::new(&AGENT, NAME.epoch);
    let header = Header {
        lane: 1,
        agent_id: AGENT,
        epoch: NAME.epoch,
        first_seq: NAME.first_seq,
        created_boot_ns: 1_000,
        created_wall_ns: 1_700_000_000_000_000_000,
        ordinal: 2,
    };
    let mut out = header.encode().to_vec();
    format::encode_replaces(&mut out, seal, NAME.first_seq, 88, 1);
    let mut last = 0;
    for (record, seq) in records() {
        if seq == 7 {
            format::encode_hole(&mut out, seal, &(5..=6));
        }
        let flags = if seq == 7 { FLAG_ZSTD } else { 0 };
        let stored = match flags {
            0 => record.payload.clone(),
            _ => zstd::bulk::compress(&record.payload, 1).unwrap(),
        };
        let head = RecordHead {
            seq,
            boot_ns: record.boot_ns,
            wall_ns: record.wall_ns,
            boot_tag: record.boot_tag,
            kind: record.kind,
            flags,
            n_items: record.n_items,
            hash: record.hash(),
        };
        last = out.len();
        format::encode_record(&mut out, seal, &head, &stored);
    }
    (out, last)
}

#[test]
fn a_segment_of_version_1_is_written_and_read_as_it_was() {
    assert_eq!(format::VERSION, 1, "a raised version needs a file of its own");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/spool/tests/golden/v1.seg");
    if env::var("VIGIE_GOLDEN").is_ok_and(|word| word == "write") {
        fs::write(&path, segment().0).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    // The last record is compressed: its bytes may change with the library.
    let (made, last) = segment();
    assert_eq!(bytes[..last], made[..last]);
    let mut bench = Bench::new();
    bench.close();
    bench.disk = SimDisk::new();
    bench.config.agent_id = AGENT;
    bench.disk.put("l1-0123456789abcdef-0000000000000003.seg", bytes);
    bench.open();
    let found: Vec<_> = all(bench.spool(), 1)
        .into_iter()
        .map(|(epoch, record)| (epoch, record.seq, record.hash, record.payload))
        .collect();
    let expected = records().map(|(record, seq)| (NAME.epoch, seq, record.hash(), record.payload));
    assert_eq!(found, expected);
    assert_eq!(bench.losses(), []);
}
