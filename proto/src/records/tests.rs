use proptest::prelude::*;

use super::*;
use crate::{KIND_EVENT, limits::MAX_COLUMNS, samples::encode};

fn sealed(
    seq: u64,
    kind: u8,
    boot_tag: u32,
    boot_ns: u64,
    wall_ns: i64,
    payload: Vec<u8>,
) -> Record {
    let hash = record_hash(kind, boot_tag, boot_ns, wall_ns, &payload);
    Record { seq, kind, boot_tag, boot_ns, wall_ns, hash, payload }
}

fn round(seq: u64, group: u32, cells: &[Option<i64>]) -> Record {
    let boot_ns = seq * 60_000 * NS_PER_MS;
    sealed(seq, KIND_SAMPLES, 7, boot_ns, 1_700_000_000_123_456_789, encode(group, 1, &[0], cells))
}

fn any_record() -> impl Strategy<Value = Record> {
    let cell = prop_oneof![Just(None), any::<i64>().prop_map(Some), (0..50_i64).prop_map(Some)];
    let payload = prop_oneof![
        (1..4_u32, 1..3_u32, 1..3_usize, 0..6_usize).prop_flat_map(move |(g, l, rows, columns)| {
            (
                prop::collection::vec(any::<i64>(), rows),
                prop::collection::vec(cell.clone(), rows * columns),
            )
                .prop_map(move |(times, cells)| (KIND_SAMPLES, encode(g, l, &times, &cells)))
        }),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| (KIND_EVENT, bytes)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| (KIND_SAMPLES, bytes)),
    ];
    let time = prop_oneof![any::<u64>(), (0..9_u64).prop_map(|minute| minute * 60 * 1_000_000_000)];
    (1..9_u64, any::<bool>(), time, any::<i64>(), payload).prop_map(
        |(seq, boot, boot_ns, wall_ns, (kind, payload))| {
            sealed(seq, kind, boot.into(), boot_ns, wall_ns, payload)
        },
    )
}

proptest! {
    #[test]
    fn a_stream_of_batches_arrives_as_it_was_sent(
        batches in prop::collection::vec((0..2_u32, prop::collection::vec(any_record(), 0..5)), 0..6),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for (channel, mut records) in batches {
            let mut seq = 0;
            for record in &mut records {
                seq += record.seq;
                record.seq = seq;
            }
            let batch = encoder.encode(1, 99, channel, &records).unwrap();
            prop_assert_eq!(decoder.decode(&batch), Ok(records));
        }
    }

    #[test]
    fn a_damaged_batch_is_refused_and_never_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        values in prop::collection::vec(any::<Option<i32>>(), 1..40),
    ) {
        let cells: Vec<_> = values.iter().map(|v| v.map(i64::from)).collect();
        let sent = [round(1, 5, &cells), round(2, 5, &cells)];
        let mut batch = Encoder::new().encode(1, 99, 0, &sent).unwrap();
        let whole = batch.body.clone();
        for (at, byte) in flips {
            let at = at.index(batch.body.len());
            batch.body[at] ^= byte;
        }
        // What is taken is what was sent; a refusal must have a cause.
        if let Ok(records) = Decoder::new().decode(&batch) {
            prop_assert_eq!(records.as_slice(), sent.as_slice());
        } else {
            prop_assert_ne!(batch.body, whole);
        }
    }
}

#[test]
fn steady_rounds_cost_little() {
    let (mut encoder, mut last) = (Encoder::new(), usize::MAX);
    for minute in 1..20_u64 {
        let cells: Vec<_> =
            (0..200).map(|port| Some(i64::from(port) * 1_000_003 * minute.cast_signed())).collect();
        last = encoder.encode(1, 99, 0, &[round(minute, 5, &cells)]).unwrap().body.len();
    }
    assert!(last < 60, "200 steady counters took {last} bytes");
}

#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    let mut batch = Encoder::new().encode(1, 1, 0, &[round(1, 1, &[Some(1)])]).unwrap();
    let zeros = vec![0; MAX_BODY_BYTES];
    batch.body = crate::compress::compress(&zeros, 3).unwrap();
    batch.raw_len = u32::try_from(MAX_BODY_BYTES).unwrap();
    assert_eq!(Decoder::new().decode(&batch), Err(RecordsError::TooMuch("compression")));
    batch.raw_len = u32::try_from(MAX_BODY_BYTES).unwrap() + 1;
    assert_eq!(Decoder::new().decode(&batch), Err(RecordsError::TooMuch("bytes")));
    batch.raw_len = 1_000;
    assert_eq!(Decoder::new().decode(&batch), Err(RecordsError::Compression));
}

#[test]
fn counts_above_their_limits_are_refused() {
    let mut batch = Encoder::new().encode(1, 1, 0, &[]).unwrap();
    batch.count = u32::try_from(MAX_BATCH_RECORDS).unwrap() + 1;
    assert_eq!(Decoder::new().decode(&batch), Err(RecordsError::TooMuch("records")));
    batch.count = 0;
    batch.channel = CHANNELS;
    assert_eq!(Decoder::new().decode(&batch), Err(RecordsError::TooMuch("channels")));
}

#[test]
fn absent_cells_can_not_be_used_to_take_memory() {
    // A record of absent cells costs one bit a cell: the batch is bounded as a whole.
    let absent = vec![None; MAX_COLUMNS];
    let records: Vec<_> = (1..=60).map(|seq| round(seq, 1, &absent)).collect();
    let batch = Encoder::new().encode(1, 1, 0, &records).unwrap();
    assert_eq!(Decoder::new().decode(&batch), Err(RecordsError::TooMuch("compression")));
}

#[test]
fn a_group_beyond_the_state_s_bound_travels_raw() {
    let cells = vec![Some(1); MAX_COLUMNS];
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for group in 0..7 {
        let sent = vec![round(1, group, &cells)];
        let batch = encoder.encode(1, 1, 0, &sent).unwrap();
        assert_eq!(decoder.decode(&batch), Ok(sent));
    }
}

#[test]
fn sequence_numbers_must_increase_from_one() {
    let records = [round(1, 1, &[]), round(1, 1, &[])];
    assert_eq!(Encoder::new().encode(1, 1, 0, &records), Err(RecordsError::Sequence));
}
