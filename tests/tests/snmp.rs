//! The SNMP probe against a real agent, a synthetic one, and devices that misbehave.

#![expect(clippy::wildcard_enum_match_arm, reason = "a device treats most metrics alike")]

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use agent::{
    plan::{Column, Metric, Secret},
    probe::{
        Cell, Outcome, Probe, Round,
        snmp::{STATS, SnmpProbe},
    },
};
use e2e::snmp_responder::{
    Mib, Question, Responder, Spec,
    ber::{self, Request},
    scripted::{Exchange, Scripted},
};
use proto::v1::{SnmpInventory, event::Event};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const COMMUNITY: &str = "public";
/// For devices that are asked to fail: short, so that the tests are.
const SHORT: Duration = Duration::from_millis(150);
/// For devices that are to answer on a busy machine.
const LONG: Duration = Duration::from_secs(5);
const PORTS: u32 = 20;

const PER_INTERFACE: [Metric; 16] = [
    Metric::IfHcInOctets,
    Metric::IfHcOutOctets,
    Metric::IfInErrors,
    Metric::IfOutErrors,
    Metric::IfInDiscards,
    Metric::IfOutDiscards,
    Metric::IfHcInUcastPkts,
    Metric::IfHcOutUcastPkts,
    Metric::IfOperStatus,
    Metric::IfAdminStatus,
    Metric::IfHighSpeed,
    Metric::IfCounterDiscontinuityTime,
    Metric::IfHcInMulticastPkts,
    Metric::IfHcOutMulticastPkts,
    Metric::IfHcInBroadcastPkts,
    Metric::IfHcOutBroadcastPkts,
];

/// A value that says what was asked; states stay within their enumeration.
fn value(question: Question) -> u64 {
    let index = u64::from(question.if_index);
    let device = question.device as u64;
    match question.metric {
        Metric::IfOperStatus | Metric::IfAdminStatus => 1 + index % 2,
        Metric::IfHighSpeed => 100 * index,
        metric => (metric as u64) << 24 | device << 16 | index,
    }
}

/// The same as the probe must store it.
fn stored(device: usize, metric: Metric, if_index: u32) -> i64 {
    let question = Question { device, metric, if_index, at: std::time::UNIX_EPOCH };
    let raw = i64::try_from(value(question)).expect("small");
    if metric == Metric::IfHighSpeed { raw * 1_000_000 } else { raw }
}

fn spec(interfaces: Vec<u32>) -> Spec {
    Spec { interfaces, community: COMMUNITY.into(), values: Arc::new(value) }
}

fn column(metric: Metric, instance: u32) -> Column {
    Column { target: 0, metric, instance, label: String::new() }
}

/// The three scalars, then every metric of each port, port after port.
fn columns(ports: impl IntoIterator<Item = u32>) -> Vec<Column> {
    let scalars = [Metric::SnmpOutcome, Metric::SnmpResponseTime, Metric::SysUpTime];
    let scalars = scalars.map(|metric| column(metric, 0)).into_iter();
    scalars
        .chain(ports.into_iter().flat_map(|port| PER_INTERFACE.map(|metric| column(metric, port))))
        .collect()
}

fn probe(address: SocketAddr, timeout: Duration, columns: Vec<Column>) -> SnmpProbe {
    SnmpProbe::new(7, address, Secret(COMMUNITY.into()), 20, timeout, columns)
}

async fn round(probe: &mut SnmpProbe) -> Round {
    let limit = tokio::time::timeout(Duration::from_secs(30), probe.round());
    limit.await.expect("a round ends").expect("this machine can ask")
}

fn outcome(round: &Round) -> Cell {
    round.cells[0]
}

fn inventory(round: &Round) -> Option<&SnmpInventory> {
    round.events.iter().find_map(|event| {
        if let Event::SnmpInventory(inventory) = event { Some(inventory) } else { None }
    })
}

/// Every interface cell is right, but for those that `missing` names, which are empty.
fn check_cells(round: &Round, columns: &[Column], missing: impl Fn(&Column) -> bool) {
    for (column, cell) in columns.iter().zip(&round.cells).skip(3) {
        let wanted = (!missing(column)).then(|| stored(0, column.metric, column.instance));
        assert_eq!(*cell, wanted, "{:?}.{}", column.metric, column.instance);
    }
}

/// A device that answers as it should, but for what `distort` sends in place of the right answer;
/// it returns true when it has answered.
fn distorted(mut distort: impl FnMut(&Exchange<'_>, &[u8]) -> bool + Send + 'static) -> Scripted {
    let mib = Mib::new(spec(vec![PORTS]));
    Scripted::start(move |exchange| {
        let right = mib.answer(0, exchange.datagram).expect("a request of the probe");
        if !distort(exchange, &right) {
            exchange.send(&right);
        }
    })
    .expect("a socket on the loopback")
}

#[tokio::test]
async fn every_value_of_a_switch_arrives_in_its_own_cell() {
    let responder = Responder::start(spec(vec![28, 52])).expect("sockets");
    for (device, ports) in [(0, 28), (1, 52)] {
        // The whole switch, which is walked; then some ports, which are asked for.
        for wanted in [(1..=ports).collect::<Vec<_>>(), vec![ports], vec![3, 9, ports]] {
            let columns = columns(wanted);
            let mut probe = probe(responder.addresses()[device], LONG, columns.clone());
            for _ in 0..3 {
                let round = round(&mut probe).await;
                assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
                assert!(round.cells[1].is_some_and(|us| us > 0));
                assert_eq!(round.cells[2], Some(stored(device, Metric::SysUpTime, 0)));
                for (column, cell) in columns.iter().zip(&round.cells).skip(3) {
                    let wanted = stored(device, column.metric, column.instance);
                    assert_eq!(*cell, Some(wanted), "{:?}.{}", column.metric, column.instance);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_counter_of_64_bits_keeps_its_highest_bit() {
    let values = Arc::new(|question: Question| match question.metric {
        Metric::IfHcInOctets => u64::MAX,
        Metric::IfHcOutOctets => 1 << 63,
        _ => 1,
    });
    let spec = Spec { interfaces: vec![1], community: COMMUNITY.into(), values };
    let responder = Responder::start(spec).expect("sockets");
    let columns = vec![column(Metric::IfHcInOctets, 1), column(Metric::IfHcOutOctets, 1)];
    let round = round(&mut probe(responder.addresses()[0], LONG, columns)).await;
    assert_eq!(round.cells, [Some(-1), Some(i64::MIN)]);
}

#[tokio::test]
async fn ports_that_a_device_lacks_stay_empty() {
    let responder = Responder::start(spec(vec![4])).expect("sockets");
    for ports in [vec![2, 9], (1..=40).collect()] {
        let columns = columns(ports);
        let mut probe = probe(responder.addresses()[0], LONG, columns.clone());
        for _ in 0..2 {
            let round = round(&mut probe).await;
            assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
            check_cells(&round, &columns, |column| column.instance > 4);
        }
    }
}

#[tokio::test]
async fn the_inventory_comes_first_and_again_after_a_restart_only() {
    let up_time = Arc::new(AtomicU64::new(5_000));
    let clock = Arc::clone(&up_time);
    let values = Arc::new(move |question: Question| match question.metric {
        Metric::SysUpTime => clock.load(Ordering::SeqCst),
        _ => value(question),
    });
    let spec = Spec { interfaces: vec![3], community: COMMUNITY.into(), values };
    let responder = Responder::start(spec).expect("sockets");
    let mut probe = probe(responder.addresses()[0], LONG, columns(1..=3));

    let first = round(&mut probe).await;
    let learnt = inventory(&first).expect("an inventory in the first round");
    assert_eq!(learnt.group, 7);
    assert_eq!(learnt.sys_descr, "Synthetic switch0");
    assert_eq!(learnt.sys_object_id, "1.3.6.1.4.1.9");
    assert_eq!((learnt.sys_name.as_str(), learnt.sys_location.as_str()), ("switch0", "cabinet0"));
    assert!(!learnt.truncated);
    assert_eq!(learnt.interfaces.len(), 3);
    let port = &learnt.interfaces[1];
    assert_eq!((port.if_index, port.if_type), (2, 6));
    assert_eq!(
        [&port.if_name, &port.if_descr, &port.if_alias],
        ["Gi0/2", "GigabitEthernet0/2", "room 2"]
    );
    assert_eq!((port.speed_bps, port.admin_status, port.oper_status), (200_000_000, 1, 1));

    up_time.store(5_100, Ordering::SeqCst);
    assert!(inventory(&round(&mut probe).await).is_none());
    up_time.store(20, Ordering::SeqCst);
    assert!(inventory(&round(&mut probe).await).is_some());
    assert!(inventory(&round(&mut probe).await).is_none());
}

#[tokio::test]
async fn a_silent_device_is_a_timeout_and_no_value_and_its_return_is_a_change() {
    let responder = Responder::start(spec(vec![PORTS])).expect("sockets");
    let columns = columns(1..=PORTS);
    let mut probe = probe(responder.addresses()[0], SHORT, columns.clone());
    assert!(!round(&mut probe).await.changed);

    responder.silence(0);
    let started = Instant::now();
    let silent = round(&mut probe).await;
    assert!(started.elapsed() < SHORT * 2 + Duration::from_secs(2));
    assert_eq!(outcome(&silent), Some(Outcome::Timeout as i64));
    assert!(silent.cells[1..].iter().all(Option::is_none));
    assert!(silent.changed && silent.events.is_empty());
    assert!(!round(&mut probe).await.changed);

    responder.revive(0);
    let back = round(&mut probe).await;
    assert!(back.changed);
    check_cells(&back, &columns, |_| false);
}

#[tokio::test]
async fn a_closed_port_is_refused_and_another_community_is_silence() {
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let refused = round(&mut probe(closed, LONG, columns([1]))).await;
    assert_eq!(outcome(&refused), Some(Outcome::Refused as i64));
    assert!(refused.cells[1..].iter().all(Option::is_none));

    let responder = Responder::start(spec(vec![1])).expect("sockets");
    let secret = Secret("other".into());
    let mut stranger = SnmpProbe::new(7, responder.addresses()[0], secret, 20, SHORT, columns([1]));
    assert_eq!(outcome(&round(&mut stranger).await), Some(Outcome::Timeout as i64));
}

#[tokio::test]
async fn a_change_of_state_marks_the_round() {
    let state = Arc::new(AtomicU64::new(1));
    let now = Arc::clone(&state);
    let values = Arc::new(move |question: Question| match question.metric {
        Metric::IfOperStatus if question.if_index == 2 => now.load(Ordering::SeqCst),
        _ => value(question),
    });
    let spec = Spec { interfaces: vec![3], community: COMMUNITY.into(), values };
    let responder = Responder::start(spec).expect("sockets");
    let mut probe = probe(responder.addresses()[0], LONG, columns(1..=3));
    let mut changes = Vec::new();
    for status in [1, 1, 2, 2, 1] {
        state.store(status, Ordering::SeqCst);
        changes.push(round(&mut probe).await.changed);
    }
    assert_eq!(changes, [false, false, true, false, true]);
}

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
    assert!(round.cells[3 + PER_INTERFACE.len()..].iter().all(Option::is_none));
}

#[tokio::test]
async fn a_table_without_end_is_cut_and_said_to_be() {
    let mib = Mib::new(spec(vec![PORTS]));
    let device = Scripted::start(move |exchange| {
        if exchange.request.pdu != ber::GET_BULK {
            return exchange.send(&mib.answer(0, exchange.datagram).expect("a request"));
        }
        let mut list = Vec::new();
        for step in 1..=exchange.request.repetitions {
            for name in &exchange.request.names {
                let (base, suffix) = name.split_at(if name[5] == 2 { 9 } else { 10 });
                let last = ber::numbers(suffix).first().copied().unwrap_or(0);
                let mut instance = base.to_vec();
                ber::push_arc(last + u32::try_from(step).expect("small"), &mut instance);
                list.extend(ber::varbind(&instance, ber::INTEGER, &[1]));
            }
        }
        exchange.send(&exchange.message(&list).encode());
    })
    .expect("a socket");
    let started = Instant::now();
    let mut probe = probe(device.address(), LONG, columns([1]));
    let first = round(&mut probe).await;
    assert_eq!(outcome(&first), Some(Outcome::Ok as i64));
    let learnt = inventory(&first).expect("an inventory");
    assert!(learnt.truncated);
    assert_eq!(learnt.interfaces.len(), 2048);
    assert!(inventory(&round(&mut probe).await).is_none());
    assert!(started.elapsed() < Duration::from_secs(25));
}

#[tokio::test]
async fn requests_shrink_until_the_device_can_answer() {
    for most in [1, 8] {
        let device = distorted(move |exchange, _| {
            let values = exchange.request.names.len() * exchange.request.repetitions.max(1);
            if values <= most {
                return false;
            }
            let mut message = exchange.message(&[]);
            message.status = 1; // tooBig
            exchange.send(&message.encode());
            true
        });
        let columns = columns(1..=PORTS);
        let mut probe = probe(device.address(), LONG, columns.clone());
        for _ in 0..2 {
            let round = round(&mut probe).await;
            assert_eq!(outcome(&round), Some(Outcome::Ok as i64), "at most {most}");
            check_cells(&round, &columns, |_| false);
        }
    }
}

#[tokio::test]
async fn a_device_that_swallows_bulk_requests_is_asked_one_by_one() {
    let device = distorted(|exchange, _| exchange.request.pdu == ber::GET_BULK);
    let columns = columns(1..=PORTS);
    let mut probe = probe(device.address(), SHORT, columns.clone());
    for _ in 0..2 {
        let round = round(&mut probe).await;
        assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
        check_cells(&round, &columns, |_| false);
    }
}

#[tokio::test]
async fn an_instance_that_the_device_blames_is_left_out() {
    let culprit = {
        let mut name = ber::name(&[1, 3, 6, 1, 2, 1, 2, 2, 1, 14]);
        ber::push_arc(7, &mut name);
        name
    };
    let device = distorted(move |exchange, _| {
        let Some(at) = exchange.request.names.iter().position(|name| *name == culprit) else {
            return false;
        };
        let mut message = exchange.message(&[]);
        (message.status, message.index) = (5, i64::try_from(at).expect("small") + 1); // genErr
        exchange.send(&message.encode());
        true
    });
    let columns = columns([7, 8]);
    let round = round(&mut probe(device.address(), LONG, columns.clone())).await;
    assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
    check_cells(&round, &columns, |column| {
        column.metric == Metric::IfInErrors && column.instance == 7
    });
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
    for text in [&inventory.sys_descr, &inventory.interfaces[1].if_alias] {
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

/// Debian's agent with a configuration of its own, stopped when dropped.
struct Snmpd {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Snmpd {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let configuration = directory.path().join("snmpd.conf");
        let text = format!(
            "rocommunity {COMMUNITY} 127.0.0.1\nsysName collège Zay\nsysLocation local B12\n"
        );
        std::fs::write(&configuration, text).expect("written");
        let child = Command::new("/usr/sbin/snmpd")
            .args(["-f", "-C", "-Lf", "/dev/null", "-I", "-smux", "-c"])
            .arg(&configuration)
            .arg(format!("udp:{address}"))
            .env("SNMP_PERSISTENT_DIR", directory.path())
            .env("SNMPCONFPATH", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's snmpd is installed");
        Self { child, address, _directory: directory }
    }
}

impl Drop for Snmpd {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_agent_is_read_right() {
    let agent = Snmpd::start();
    let wanted = columns([1]);
    let mut probe = probe(agent.address, LONG, wanted.clone());
    let deadline = Instant::now() + Duration::from_secs(20);
    let read = loop {
        let round = round(&mut probe).await;
        if outcome(&round) == Some(Outcome::Ok as i64) {
            break round;
        }
        // Before it listens, nobody does.
        assert_eq!(outcome(&round), Some(Outcome::Refused as i64));
        assert!(Instant::now() < deadline, "snmpd answers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let cell = |metric| {
        let at = wanted.iter().position(|column| column.metric == metric).expect("asked for");
        read.cells[at]
    };
    let octets: i64 = std::fs::read_to_string("/sys/class/net/lo/statistics/rx_bytes")
        .expect("Linux")
        .trim()
        .parse()
        .expect("a number");
    assert!(cell(Metric::IfHcInOctets).is_some_and(|seen| 0 < seen && seen <= octets));
    assert_eq!(cell(Metric::IfOperStatus), Some(1));
    assert_eq!(cell(Metric::IfAdminStatus), Some(1));
    assert!(cell(Metric::SysUpTime).is_some_and(|ticks| ticks < 6_000));
    assert!(cell(Metric::SnmpResponseTime).is_some_and(|us| us > 0));
    assert_eq!(cell(Metric::IfCounterDiscontinuityTime), Some(0));

    let inventory = inventory(&read).expect("an inventory");
    assert_eq!(inventory.sys_name, "collège Zay");
    assert_eq!(inventory.sys_location, "local B12");
    assert!(inventory.sys_descr.starts_with("Linux "));
    assert!(inventory.sys_object_id.starts_with("1.3.6.1.4.1.8072."));
    let interfaces = std::fs::read_dir("/sys/class/net").expect("Linux").count();
    assert_eq!(inventory.interfaces.len(), interfaces);
    let lo = inventory.interfaces.iter().find(|of| of.if_index == 1).expect("the loopback");
    assert_eq!((lo.if_name.as_str(), lo.if_descr.as_str(), lo.if_type), ("lo", "lo", 24));
    assert!(!inventory.truncated);

    // All interfaces and more, so that the tables are walked.
    let mut walker = SnmpProbe::new(
        7,
        agent.address,
        Secret(COMMUNITY.into()),
        20,
        LONG,
        columns((1..=60).collect::<Vec<_>>()),
    );
    let walked = round(&mut walker).await;
    assert_eq!(outcome(&walked), Some(Outcome::Ok as i64));
    let at =
        |metric: Metric| 3 + PER_INTERFACE.iter().position(|of| *of == metric).expect("asked for");
    assert_eq!(walked.cells[at(Metric::IfOperStatus)], Some(1));
    assert!(walked.cells[at(Metric::IfHcInOctets)] >= cell(Metric::IfHcInOctets));
}
