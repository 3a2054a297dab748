use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::plan::Secret;

fn column(metric: Metric, instance: u32) -> plan::Column {
    plan::Column { target: 0, metric, instance, label: String::new() }
}

fn probe(columns: Vec<plan::Column>) -> SnmpProbe {
    let address = SocketAddr::from((IpAddr::V4(Ipv4Addr::LOCALHOST), 161));
    SnmpProbe::new(1, address, Secret("public".into()), 20, Duration::from_secs(1), columns)
}

fn switch(ports: impl Iterator<Item = u32> + Clone) -> Layout {
    use Metric::{
        IfHcInOctets, IfHcInUcastPkts, IfHcOutOctets, IfHcOutUcastPkts, IfInDiscards, IfInErrors,
        IfOperStatus, IfOutDiscards, IfOutErrors,
    };
    let metrics = [
        IfHcInOctets,
        IfHcOutOctets,
        IfInErrors,
        IfOutErrors,
        IfInDiscards,
        IfOutDiscards,
        IfHcInUcastPkts,
        IfHcOutUcastPkts,
        IfOperStatus,
        Metric::IfHighSpeed,
    ];
    let columns: Vec<plan::Column> =
        ports.flat_map(|port| metrics.map(|metric| column(metric, port))).collect();
    Layout::new(columns)
}

#[test]
fn a_whole_switch_is_walked_and_one_uplink_is_asked_for() {
    let rows: Vec<u32> = (1..=52).collect();
    let pace = Pace::new(20);
    assert_eq!(switch(1..=52).choose(&rows, &pace), Retrieval::Walk);
    assert_eq!(switch(1..=52).choose(&[], &pace), Retrieval::Walk);
    assert_eq!(switch(52..=52).choose(&rows, &pace), Retrieval::Get);
    // Two uplinks with the whole switch between them.
    assert_eq!(switch([1, 52].into_iter()).choose(&rows, &pace), Retrieval::Get);
}

#[test]
fn a_device_without_bulk_is_never_walked() {
    let mut pace = Pace::new(20);
    pace.shrink_repetitions(1);
    assert_eq!(switch(1..=52).choose(&[], &pace), Retrieval::Get);
}

#[test]
fn a_change_of_outcome_or_state_is_told_and_an_unknown_state_is_not() {
    let mut probe = probe(vec![column(Metric::IfOperStatus, 1), column(Metric::IfOperStatus, 2)]);
    for (outcome, cells, changed) in [
        (Outcome::Ok, [Some(1), Some(2)], false),
        (Outcome::Ok, [Some(1), Some(2)], false),
        (Outcome::Ok, [Some(2), Some(2)], true),
        (Outcome::Timeout, [None, None], true),
        (Outcome::Timeout, [None, None], false),
        (Outcome::Ok, [Some(2), None], true),
        (Outcome::Ok, [Some(2), Some(2)], false),
        (Outcome::Ok, [Some(2), Some(1)], true),
    ] {
        assert_eq!(probe.note(outcome, &cells), changed, "{outcome:?} {cells:?}");
    }
}

#[test]
fn no_datagram_of_the_list_breaks_the_decoder() {
    let nested: Vec<u8> = std::iter::repeat_n([0x30, 0x82, 0x05, 0x00], 1_400).flatten().collect();
    let mut long_form = vec![0x30, 0xfe];
    long_form.resize(129, 0xff);
    for bytes in [
        &[][..],
        &[0x30, 0x02, 0x02, 0x00],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x06, 0x02, 0x01, 0x00, 0x04, 0x7f, 0x41],
        &[0x30, 0x80, 0x00, 0x00],
        &[0x30, 0x88, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &nested,
        &long_form,
        &[0xff; 2000],
        &[0; 2000],
    ] {
        assert_eq!(decode_reply(bytes), 0);
    }
}

/// A right reply: `sysUpTime.0`, then `ifHCInOctets.1`.
const REPLY: [u8; 69] = [
    0x30, 0x43, 0x02, 0x01, 0x01, 0x04, 0x06, b'p', b'u', b'b', b'l', b'i', b'c', 0xa2, 0x36, 0x02,
    0x04, 0x11, 0x22, 0x33, 0x44, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x30, 0x28, 0x30, 0x0e, 0x06,
    0x08, 0x2b, 0x06, 0x01, 0x02, 0x01, 0x01, 0x03, 0x00, 0x43, 0x02, 0x30, 0x39, 0x30, 0x16, 0x06,
    0x0b, 0x2b, 0x06, 0x01, 0x02, 0x01, 0x1f, 0x01, 0x01, 0x01, 0x06, 0x01, 0x46, 0x07, 0x01, 0x02,
    0x03, 0x04, 0x05, 0x06, 0x07,
];

#[test]
fn a_right_reply_is_decoded_whole() {
    assert_eq!(decode_reply(&REPLY), 2);
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        // More values than this do not fit.
        proptest::prop_assert!(decode_reply(&bytes) <= bytes.len() / 6);
    }

    #[test]
    fn no_damage_breaks_the_decoder(
        damage in proptest::collection::vec((0..REPLY.len(), proptest::num::u8::ANY), 1..6),
        keep in 0..=REPLY.len(),
    ) {
        let mut bytes = REPLY;
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        proptest::prop_assert!(decode_reply(&bytes[..keep]) <= keep / 6);
    }
}
