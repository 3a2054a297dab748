//! Replies that are late, foreign, damaged or no replies at all.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use agent::{
    plan::{Metric, Secret},
    probe::{
        Outcome,
        snmp::{STATS, SnmpProbe},
    },
};
use e2e::snmp_responder::{
    Mib, Responder,
    ber::{self, Request},
    scripted::{Exchange, Scripted},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{
    EACH, LONG, PORTS, SHORT, check_cells, columns, distorted, inventory, outcome, probe, round,
    spec,
};

#[tokio::test]
async fn one_late_reply_does_not_shift_the_later_ones() {
    let device = distorted(|exchange, _| {
        if exchange.number == 0 {
            // The device is slow once: longer than one try.
            std::thread::sleep(SHORT * 2);
        }
        false
    });
    let columns = columns(1..=PORTS);
    let mut probe = probe(device.address(), SHORT, columns.clone());
    round(&mut probe).await;
    for _ in 0..5 {
        let round = round(&mut probe).await;
        assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
        check_cells(&round, &columns, |_| false);
    }
}

#[tokio::test]
async fn a_foreign_datagram_costs_one_try_and_a_stream_of_them_is_malformed() {
    let once = distorted(|exchange, _| {
        if exchange.number == 0 {
            exchange.send(b"junk");
        }
        false
    });
    let wanted = columns(1..=PORTS);
    let survivor = round(&mut probe(once.address(), LONG, wanted.clone())).await;
    assert_eq!(outcome(&survivor), Some(Outcome::Ok as i64));
    check_cells(&survivor, &wanted, |_| false);

    let count = Arc::new(AtomicU64::new(0));
    let remaining = Arc::clone(&count);
    count.store(2, Ordering::SeqCst);
    let always = distorted(move |exchange, _| {
        let more = remaining.load(Ordering::SeqCst) > 0;
        if more {
            exchange.send(b"junk");
            remaining.fetch_sub(1, Ordering::SeqCst);
        }
        false
    });
    let mut probe = probe(always.address(), LONG, wanted.clone());
    let malformed = round(&mut probe).await;
    assert_eq!(outcome(&malformed), Some(Outcome::Malformed as i64));
    assert!(malformed.cells[1..].iter().all(Option::is_none));
    let healed = round(&mut probe).await;
    assert_eq!(outcome(&healed), Some(Outcome::Ok as i64));
    check_cells(&healed, &wanted, |_| false);
}

/// Values that the SNMP crate's list ends at without a word.
fn undecodable() -> Vec<(u8, Vec<u8>)> {
    vec![
        (0x01, vec![1]),              // BOOLEAN
        (0x03, vec![0, 1]),           // BIT STRING
        (0x45, vec![1, 2, 3]),        // NsapAddress
        (0x47, vec![1]),              // UInteger32
        (ber::COUNTER32, vec![]),     // length 0
        (ber::COUNTER32, vec![0; 9]), // nine octets
        (ber::INTEGER, vec![]),
        (ber::INTEGER, vec![0; 9]),
        (ber::COUNTER64, vec![1; 9]),
        (0x40, vec![]), // IpAddress without an address
        (0x40, vec![0; 16]),
        (0x9f, vec![1]), // no type at all
    ]
}

#[tokio::test]
async fn an_undecodable_value_costs_itself_and_nothing_behind_it() {
    let base = ber::name(&[1, 3, 6, 1, 2, 1, 2, 2, 1, 14]); // ifInErrors
    for ports in [(1..=PORTS).collect::<Vec<_>>(), vec![7, 8]] {
        for (tag, content) in undecodable() {
            let mut culprit = base.clone();
            ber::push_arc(7, &mut culprit);
            let broken = (tag, content.clone());
            let device = distorted(move |exchange, right| {
                let reply = Request::parse(right).expect("an answer");
                let list = reply.rewritten(|name| (name == culprit).then(|| broken.clone()));
                exchange.send(&exchange.message(&list).encode());
                true
            });
            let columns = columns(ports.clone());
            let mut probe = probe(device.address(), LONG, columns.clone());
            for _ in 0..2 {
                let round = round(&mut probe).await;
                assert_eq!(outcome(&round), Some(Outcome::Ok as i64), "{tag:#x} {content:?}");
                check_cells(&round, &columns, |column| {
                    column.metric == Metric::IfInErrors && column.instance == 7
                });
            }
        }
    }
    assert!(STATS.undecodable.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_column_without_one_decodable_value_leaves_its_neighbours_whole() {
    let base = ber::name(&[1, 3, 6, 1, 2, 1, 2, 2, 1, 14]);
    for ports in [(1..=PORTS).collect::<Vec<_>>(), vec![7, 8]] {
        let base = base.clone();
        let device = distorted(move |exchange, right| {
            let reply = Request::parse(right).expect("an answer");
            let list =
                reply.rewritten(|name| name.starts_with(&base).then(|| (ber::COUNTER32, vec![])));
            exchange.send(&exchange.message(&list).encode());
            true
        });
        let columns = columns(ports);
        let round = round(&mut probe(device.address(), LONG, columns.clone())).await;
        assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
        check_cells(&round, &columns, |column| column.metric == Metric::IfInErrors);
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_left_empty() {
    let octets = ber::name(&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6]);
    let device = distorted(move |exchange, right| {
        let reply = Request::parse(right).expect("an answer");
        let list = reply.rewritten(|name| {
            name.starts_with(&octets).then(|| (ber::OCTET_STRING, b"1234".to_vec()))
        });
        exchange.send(&exchange.message(&list).encode());
        true
    });
    let columns = columns(1..=PORTS);
    let round = round(&mut probe(device.address(), LONG, columns.clone())).await;
    assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
    check_cells(&round, &columns, |column| column.metric == Metric::IfHcInOctets);
}

#[tokio::test]
async fn exceptions_in_every_place_are_an_answer_without_values() {
    for exception in [ber::NO_SUCH_OBJECT, ber::NO_SUCH_INSTANCE, ber::END_OF_MIB_VIEW] {
        let device = distorted(move |exchange, right| {
            let reply = Request::parse(right).expect("an answer");
            let list = reply.rewritten(|_| Some((exception, vec![])));
            exchange.send(&exchange.message(&list).encode());
            true
        });
        let round = round(&mut probe(device.address(), LONG, columns(1..=PORTS))).await;
        assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
        assert!(round.cells[2..].iter().all(Option::is_none));
    }
}

#[tokio::test]
async fn names_that_do_not_increase_end_their_column() {
    // Every bulk request is answered from the start of the columns again.
    let mib = Mib::new(spec(vec![PORTS]));
    let device = Scripted::start(move |exchange| {
        let right = mib.answer(0, exchange.datagram).expect("a request");
        if exchange.request.pdu != ber::GET_BULK {
            return exchange.send(&right);
        }
        let mut list = Vec::new();
        for _ in 0..exchange.request.repetitions {
            for name in &exchange.request.names {
                // ifTable's names have nine bytes before the index, ifXTable's ten.
                let base = if name[5] == 2 { &name[..9] } else { &name[..10] };
                let mut instance = base.to_vec();
                ber::push_arc(1, &mut instance);
                list.extend(ber::varbind(&instance, ber::COUNTER64, &[9]));
            }
        }
        exchange.send(&exchange.message(&list).encode());
    })
    .expect("a socket");
    let before = STATS.disordered.load(Ordering::Relaxed);
    let round = round(&mut probe(device.address(), LONG, columns(1..=PORTS))).await;
    assert!(STATS.disordered.load(Ordering::Relaxed) > before);
    // What came before the disorder stays.
    assert_eq!(round.cells[3], Some(9));
    assert!(round.cells[3 + EACH..].iter().all(Option::is_none));
}

#[tokio::test]
async fn what_is_no_answer_to_the_question_is_told_as_what_it_is() {
    type Distort = fn(&Exchange<'_>, &[u8]);
    fn send(exchange: &Exchange<'_>, change: impl FnOnce(&mut ber::Message<'_>)) {
        let mut message = exchange.message(&[]);
        change(&mut message);
        exchange.send(&message.encode());
    }
    let cases: [(&str, Distort, Outcome); 21] = [
        ("other request id", |x, _| send(x, |m| m.id += 1), Outcome::Malformed),
        ("id beyond 32 bits", |x, _| send(x, |m| m.id = 1 << 40), Outcome::Malformed),
        ("other community", |x, _| send(x, |m| m.community = b"private"), Outcome::Malformed),
        ("version 1", |x, _| send(x, |m| m.version = 0), Outcome::Malformed),
        ("version 3", |x, _| send(x, |m| m.version = 3), Outcome::Malformed),
        ("a report", |x, _| send(x, |m| m.pdu = ber::REPORT), Outcome::Malformed),
        ("the request itself", |x, _| x.send(x.datagram), Outcome::Malformed),
        ("no varbinds", |x, _| send(x, |_| ()), Outcome::Malformed),
        ("error status 200", |x, _| send(x, |m| m.status = 200), Outcome::Failed),
        (
            "error index 2^31",
            |x, _| send(x, |m| (m.status, m.index) = (200, 1 << 31)),
            Outcome::Malformed,
        ),
        ("negative status", |x, _| send(x, |m| m.status = -1), Outcome::Malformed),
        ("another port", |x, right| x.send_from_elsewhere(right), Outcome::Timeout),
        ("empty datagram", |x, _| x.send(&[]), Outcome::Malformed),
        ("64 KB of nothing", |x, _| x.send(&vec![0x30; 65_507]), Outcome::Malformed),
        ("half an answer", |x, right| x.send(&right[..right.len() / 2]), Outcome::Malformed),
        ("length 2^32-1", |x, _| x.send(&[0x30, 0x84, 255, 255, 255, 255]), Outcome::Malformed),
        ("indefinite length", |x, _| x.send(&[0x30, 0x80, 2, 1, 1, 0, 0]), Outcome::Malformed),
        ("wrapping length", |x, _| x.send(&[0x30, 0x88, 0x88, 255, 255]), Outcome::Malformed),
        (
            "length beyond the end",
            |x, _| x.send(&[0x30, 6, 2, 1, 0, 4, 0x7f, 0x41]),
            Outcome::Malformed,
        ),
        ("empty INTEGER", |x, _| x.send(&[0x30, 2, 2, 0]), Outcome::Malformed),
        ("deep nesting", |x, _| x.send(&[0x30, 0x82, 0x0f, 0].repeat(1_400)), Outcome::Malformed),
    ];
    for (what, distort, wanted) in cases {
        let device = distorted(move |exchange, right| {
            distort(exchange, right);
            true
        });
        let round = round(&mut probe(device.address(), SHORT, columns([1, 2]))).await;
        assert_eq!(outcome(&round), Some(wanted as i64), "{what}");
        assert!(round.cells[1..].iter().all(Option::is_none), "{what}");
        assert!(round.events.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn more_than_was_asked_is_ignored() {
    let trailing = distorted(|exchange, right| {
        exchange.send(&[right, b"\x30\x03junk", right].concat());
        true
    });
    let crowded = distorted(|exchange, right| {
        let reply = Request::parse(right).expect("an answer");
        let mut list = reply.rewritten(|_| None);
        let extra = ber::varbind(&ber::name(&[1, 3, 6, 1, 2, 1, 2, 2, 1, 14, 3]), 0x41, &[99]);
        for _ in 0..2_000 {
            list.extend_from_slice(&extra);
        }
        exchange.send(&exchange.message(&list).encode());
        true
    });
    for device in [trailing, crowded] {
        let columns = columns([1, 2]);
        let round = round(&mut probe(device.address(), LONG, columns.clone())).await;
        assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
        check_cells(&round, &columns, |_| false);
    }
}

#[tokio::test]
async fn hostile_texts_are_cut_and_cleaned() {
    let mut names: Vec<Vec<u8>> = vec![ber::name(&[1, 3, 6, 1, 2, 1, 1, 1, 0])];
    names.push(ber::name(&[1, 3, 6, 1, 2, 1, 1, 4, 0]));
    names.push(ber::name(&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 18, 2]));
    let hostile = [b"\x1b]0;owned\x07\r\nBcc: x\r\n".as_slice(), &[b'A'; 9_000]].concat();
    let device = distorted(move |exchange, right| {
        let reply = Request::parse(right).expect("an answer");
        let list = reply.rewritten(|name| {
            names.iter().any(|of| name == of).then(|| (ber::OCTET_STRING, hostile.clone()))
        });
        exchange.send(&exchange.message(&list).encode());
        true
    });
    let round = round(&mut probe(device.address(), LONG, columns([1]))).await;
    let inventory = inventory(&round).expect("an inventory");
    assert!(inventory.sys_contact.len() <= 255);
    for text in [&inventory.sys_descr, &inventory.sys_contact, &inventory.interfaces[1].if_alias] {
        assert!(text.len() <= 1024, "{} bytes", text.len());
        assert!(text.starts_with("]0;owned Bcc: x AAA"), "{text:?}");
        assert!(!text.chars().any(char::is_control));
    }
}

#[tokio::test]
async fn a_panic_in_the_crate_costs_its_round_and_is_counted() {
    let responder = Responder::start(spec(vec![1])).expect("sockets");
    // Larger than the crate's buffer, which it does not check.
    let secret = Secret("x".repeat(70_000));
    let mut probe = SnmpProbe::new(7, responder.addresses()[0], secret, 20, LONG, columns([1]));
    let before = STATS.panics.load(Ordering::Relaxed);
    for _ in 0..2 {
        let round = round(&mut probe).await;
        assert_eq!(outcome(&round), Some(Outcome::NotAsked as i64));
        assert!(round.cells[1..].iter().all(Option::is_none));
    }
    assert_eq!(STATS.panics.load(Ordering::Relaxed), before + 2);
}

#[tokio::test]
async fn random_damage_never_breaks_a_round() {
    let mut random = StdRng::seed_from_u64(0x5eed);
    let device = distorted(move |exchange, right| {
        let mut damaged = right.to_vec();
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..damaged.len());
            match random.random_range(0..4) {
                0 => damaged[at] = random.random(),
                1 => damaged[at] ^= 1 << random.random_range(0..8),
                2 => damaged.truncate(at.max(1)),
                _ => damaged.insert(at, random.random()),
            }
        }
        exchange.send(&damaged);
        true
    });
    let columns = columns(1..=PORTS);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let mut probe = probe(device.address(), LONG, columns.clone());
        let round = round(&mut probe).await;
        assert_eq!(round.cells.len(), columns.len());
        seen.insert(outcome(&round));
    }
    // Every reply came in time, and nothing panicked.
    assert!(!seen.contains(&Some(Outcome::NotAsked as i64)));
    assert!(!seen.contains(&Some(Outcome::Timeout as i64)));
    assert!(seen.contains(&Some(Outcome::Ok as i64)));
    assert!(seen.contains(&Some(Outcome::Malformed as i64)));
}
