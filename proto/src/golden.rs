//! What travels, as it was written when its format was made: a change of format does not pass unseen.
//!
//! Where a format is raised on purpose, `VIGIE_GOLDEN=write cargo test -p proto golden` makes these
//! files anew. Once a version is released its files stay, under their names, as long as they must be
//! read: the raised format gets files of its own beside them.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

use crate::{
    KIND_EVENT, KIND_SAMPLES, LANE_EVENTS, LANE_SAMPLES, record_hash,
    records::{Decoder, Encoder, Record},
    samples::{self, Columns},
    v1,
};

/// The file's bytes, after `made` was put there if that is asked for.
fn golden(name: &str, made: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/golden").join(name);
    if env::var("VIGIE_GOLDEN").is_ok_and(|word| word == "write") {
        fs::write(&path, made).unwrap();
    }
    fs::read(&path).unwrap()
}

fn columns() -> Columns {
    let cells = vec![
        Some(5_000_000_000),
        Some(5_000_750_000),
        Some(-1),
        None,
        None,
        None,
        Some(i64::MAX),
        Some(i64::MIN),
    ];
    Columns { group: 300, layout: 2, times_ms: vec![0, 60_004], columns: 4, cells }
}

fn payload() -> Vec<u8> {
    let Columns { group, layout, times_ms, cells, .. } = columns();
    samples::encode(group, layout, &times_ms, &cells)
}

#[test]
fn the_payload_of_a_sample_record_is_the_one_of_version_1() {
    let bytes = golden("samples-v1.bin", &payload());
    assert_eq!(samples::decode(&bytes).unwrap(), columns());
    assert_eq!(bytes, payload());
}

fn record(seq: u64, kind: u8, payload: Vec<u8>) -> Record {
    let (boot_ns, wall_ns) = (seq * 60_000_000_007, 1_700_000_000_123_456_789 + i64::from(kind));
    let hash = record_hash(kind, 7, boot_ns, wall_ns, &payload);
    Record { seq, kind, boot_tag: 7, boot_ns, wall_ns, hash, payload }
}

/// Two batches of samples, of which the second is told by its differences, and one of events.
fn batches() -> [(u32, Vec<Record>); 3] {
    let round = |seq: u64, cells: &[Option<i64>]| {
        record(seq, KIND_SAMPLES, samples::encode(5, 1, &[0], cells))
    };
    let event = v1::Event {
        event: Some(v1::event::Event::Stopped(v1::Stopped { reason: "arr\u{ea}t".to_owned() })),
    };
    [
        (LANE_SAMPLES, vec![round(1, &[Some(1_000), None]), round(2, &[Some(1_010), Some(4)])]),
        (LANE_SAMPLES, vec![round(4, &[Some(1_020), Some(4)]), record(5, KIND_SAMPLES, payload())]),
        (LANE_EVENTS, vec![record(1, KIND_EVENT, event.encode_to_vec())]),
    ]
}

#[test]
fn the_batches_of_a_stream_are_those_of_version_1() {
    let mut encoder = Encoder::new();
    let sent = batches().map(|(lane, records)| encoder.encode(lane, 99, lane, &records).unwrap());
    let made: Vec<u8> = sent.iter().flat_map(v1::Records::encode_length_delimited_to_vec).collect();
    let bytes = golden("batches-v1.bin", &made);
    let (mut rest, mut decoder) = (bytes.as_slice(), Decoder::new());
    for ((_, records), made) in batches().into_iter().zip(&sent) {
        let batch = v1::Records::decode_length_delimited(&mut rest).unwrap();
        assert_eq!(decoder.decode(&batch).unwrap(), records);
        // The checksum is over the body before its compression, which may change with its library.
        let told =
            |of: &v1::Records| (of.lane, of.epoch, of.channel, of.count, of.raw_len, of.check);
        assert_eq!(told(&batch), told(made));
    }
    assert!(rest.is_empty());
}
