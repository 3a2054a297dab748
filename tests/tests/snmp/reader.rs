//! Reading whole tables of devices that misbehave: in bounded time and requests, keeping what came.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use agent::snmp::{
    self, Credentials, Extent, Fault, Limits, Pace, Progress, Read, Session, Value, Wanted,
};
use e2e::snmp_responder::{
    Mib,
    ber::{self, Request},
    scripted::{Exchange, Scripted},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{COMMUNITY, LONG, PORTS, SHORT, distorted, spec};

const IF_ENTRY: [u32; 9] = [1, 3, 6, 1, 2, 1, 2, 2, 1];
const IF_X_ENTRY: [u32; 10] = [1, 3, 6, 1, 2, 1, 31, 1, 1, 1];
/// Columns that the synthetic device has, of both tables.
const IF_COLUMNS: [u32; 14] = [1, 2, 3, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20];
const IF_X_COLUMNS: [u32; 12] = [1, 6, 7, 8, 9, 10, 11, 12, 13, 15, 18, 19];

fn of(entry: &[u32], column: u32) -> Vec<u32> {
    [entry, &[column]].concat()
}

/// A column that one device has, without an end.
const ENDLESS: [u32; 10] = [1, 3, 6, 1, 4, 1, 9, 10, 1, 1];

/// Every column that the device has, and many that it has not.
fn wanted() -> Vec<Wanted> {
    let known = IF_COLUMNS.iter().map(|column| of(&IF_ENTRY, *column));
    let extended = IF_X_COLUMNS.iter().map(|column| of(&IF_X_ENTRY, *column));
    let absent = (1..=20).flat_map(|table| {
        (1..=5).map(move |column| vec![1, 3, 6, 1, 4, 1, 9, 9, table, 1, 1, column])
    });
    let scalars = (1..=6).map(|object| vec![1, 3, 6, 1, 2, 1, 1, object, 0]);
    let all = known.chain(extended).chain(absent).chain(scalars).chain([ENDLESS.to_vec()]);
    all.map(|name| Wanted::from(&name[..])).collect()
}

fn session(device: &Scripted, timeout: Duration) -> Session {
    let credentials = Arc::new(Credentials::v2c(COMMUNITY));
    let end = tokio::time::Instant::now() + Duration::from_mins(1);
    Session::new(device.address(), credentials, timeout, end)
}

async fn read(device: &Scripted, timeout: Duration) -> Read {
    let mut session = session(device, timeout);
    let mut pace = Pace::for_session(&session);
    snmp::read(&mut session, &mut pace, &wanted(), &Limits::default(), &mut |_| ()).await
}

/// Every value of the synthetic device is there, but for the columns that `but` names.
fn check(read: &Read, but: &[Vec<u32>]) {
    let tables = [(&IF_ENTRY[..], &IF_COLUMNS[..]), (&IF_X_ENTRY, &IF_X_COLUMNS)];
    for (entry, columns) in tables {
        for column in columns {
            let base = of(entry, *column);
            if but.contains(&base) {
                assert_eq!(read.tables.extent(&base), Some(Extent::Partial), "{base:?}");
                continue;
            }
            let rows: Vec<u32> = read.tables.rows(&base).map(|(index, _)| index[0]).collect();
            assert_eq!(rows, (1..=PORTS).collect::<Vec<_>>(), "{base:?}");
            assert_eq!(read.tables.extent(&base), Some(Extent::Whole), "{base:?}");
        }
    }
    let name = Value::Bytes((*b"switch0").into());
    assert_eq!(read.tables.get(&[1, 3, 6, 1, 2, 1, 1, 5], &[0]), Some(&name));
}

#[tokio::test]
async fn a_device_is_read_whole_and_its_progress_told() {
    let device = distorted(|_, _| false);
    let mut session = session(&device, LONG);
    let mut pace = Pace::for_session(&session);
    let mut told: Vec<Progress> = Vec::new();
    let wanted = wanted();
    let read = snmp::read(&mut session, &mut pace, &wanted, &Limits::default(), &mut |progress| {
        told.push(progress);
    })
    .await;
    assert!(read.fault.is_none() && !read.is_capped);
    check(&read, &[]);
    // 526 values, of which some forty fit one reply, and five for the hundred absent columns.
    assert!(read.requests <= 22, "{} requests", read.requests);
    assert_eq!(told.len(), read.requests);
    assert!(told.is_sorted_by_key(|progress| progress.done));
    let last = told.last().expect("told");
    assert_eq!((last.done, last.wanted), (wanted.len(), wanted.len()));
}

#[tokio::test]
async fn a_silent_device_is_given_up_soon() {
    let device = distorted(|_, _| true);
    let started = Instant::now();
    let read = read(&device, SHORT).await;
    assert!(matches!(read.fault, Some(Fault::Timeout)));
    assert!(read.requests <= 12, "{} requests", read.requests);
    assert!(started.elapsed() < SHORT * 30);
    assert_eq!(read.tables.extent(&of(&IF_ENTRY, 2)), Some(Extent::Partial));
}

#[tokio::test]
async fn a_device_that_falls_silent_half_way_leaves_what_it_said() {
    let device = distorted(|exchange, _| exchange.number >= 8);
    let read = read(&device, SHORT).await;
    assert!(matches!(read.fault, Some(Fault::Timeout)));
    assert!(read.requests <= 8 + 12, "{} requests", read.requests);
    assert!(read.tables.rows(&of(&IF_ENTRY, 2)).count() > 0);
    assert_eq!(read.tables.extent(&of(&IF_ENTRY, 2)), Some(Extent::Partial));
}

#[tokio::test]
async fn a_device_that_restarts_in_the_middle_is_read_on() {
    // Ten requests in, it is away for as long as a try.
    let device = distorted(|exchange, _| exchange.number == 10);
    let read = read(&device, SHORT).await;
    assert!(read.fault.is_none());
    check(&read, &[]);
}

#[tokio::test]
async fn a_device_slower_than_the_timeout_is_given_up_and_a_slow_one_is_not() {
    let slow = distorted(|_, _| {
        std::thread::sleep(SHORT / 5);
        false
    });
    let finished = read(&slow, SHORT * 10).await;
    assert!(finished.fault.is_none());
    check(&finished, &[]);

    let late = distorted(|exchange, right| {
        std::thread::sleep(SHORT * 2);
        exchange.send(right);
        true
    });
    let started = Instant::now();
    let read = read(&late, SHORT).await;
    assert!(matches!(read.fault, Some(Fault::Timeout)));
    assert!(started.elapsed() < SHORT * 40);
}

#[tokio::test]
async fn a_device_that_takes_little_at_once_is_read_whole() {
    for most in [1, 7] {
        for silently in [false, true] {
            let device = distorted(move |exchange, _| {
                let values = exchange.request.names.len() * exchange.request.repetitions.max(1);
                if values <= most {
                    return false;
                }
                if !silently {
                    let mut message = exchange.message(&[]);
                    message.status = 1; // tooBig
                    exchange.send(&message.encode());
                }
                true
            });
            let read = read(&device, SHORT).await;
            assert!(read.fault.is_none(), "{most} {silently}: {:?}", read.fault);
            check(&read, &[]);
        }
    }
}

#[tokio::test]
async fn a_device_that_gives_little_at_once_is_read_whole() {
    for most in [1, 3, 10] {
        let device = distorted(move |exchange, right| {
            let reply = Request::parse(right).expect("an answer");
            let list = reply.rewritten(|_| None);
            // Varbinds of the synthetic device are shorter than 128 bytes.
            let mut end = 0;
            for _ in 0..most {
                end += list.get(end + 1).map_or(0, |length| usize::from(*length) + 2);
            }
            exchange.send(&exchange.message(&list[..end.min(list.len())]).encode());
            true
        });
        let read = read(&device, LONG).await;
        assert!(read.fault.is_none());
        check(&read, &[]);
        assert!(read.requests <= 700 / most + 150, "{} requests by {most}", read.requests);
    }
}

#[tokio::test]
async fn values_of_twelve_kilobytes_are_read() {
    let alias = ber::name(&of(&IF_X_ENTRY, 18));
    let device = distorted(move |exchange, right| {
        let reply = Request::parse(right).expect("an answer");
        let list = reply.rewritten(|name| {
            name.starts_with(&alias).then(|| (ber::OCTET_STRING, vec![b'x'; 12_000]))
        });
        let bytes = exchange.message(&list).encode();
        // More does not fit a datagram, and is lost.
        if bytes.len() <= 65_507 {
            exchange.send(&bytes);
        }
        true
    });
    let read = read(&device, SHORT).await;
    assert!(read.fault.is_none());
    check(&read, &[]);
    for (_, value) in read.tables.rows(&of(&IF_X_ENTRY, 18)) {
        assert_eq!(value, &Value::Bytes(vec![b'x'; 12_000].into()));
    }
    assert!(read.requests <= 60, "{} requests", read.requests);
}

#[tokio::test]
async fn too_big_for_ever_is_an_end() {
    let device = distorted(|exchange, _| {
        let mut message = exchange.message(&[]);
        message.status = 1;
        exchange.send(&message.encode());
        true
    });
    let read = read(&device, LONG).await;
    assert!(matches!(read.fault, Some(Fault::Status { status: 1, .. })));
    assert!(read.requests <= 50, "{} requests", read.requests);
}

#[tokio::test]
async fn an_endless_table_is_cut_and_the_others_are_whole() {
    let mib = Mib::new(spec(vec![PORTS]));
    let endless = ber::name(&ENDLESS);
    let base = endless.clone();
    let device = Scripted::start(move |exchange| {
        let mut list = Vec::new();
        let mut names: Vec<Vec<u8>> =
            exchange.request.names.iter().map(|name| name.to_vec()).collect();
        for _ in 0..exchange.request.repetitions.max(1) {
            for name in &mut names {
                if let Some(suffix) = name.strip_prefix(&base[..]) {
                    let next = ber::numbers(suffix).first().map_or(1, |index| index + 1);
                    let mut instance = base.clone();
                    ber::push_arc(next, &mut instance);
                    list.extend(ber::varbind(&instance, ber::INTEGER, &[1]));
                    *name = instance;
                    continue;
                }
                let one = ber::Message {
                    version: ber::VERSION_2C,
                    community: COMMUNITY.as_bytes(),
                    pdu: ber::GET_NEXT,
                    id: 1,
                    status: 0,
                    index: 0,
                    varbinds: &ber::varbind(name, 5, &[]),
                };
                let right = mib.answer(0, &one.encode()).expect("a request");
                let right = Request::parse(&right).expect("an answer");
                list.extend(right.rewritten(|_| None));
                *name = right.names[0].to_vec();
            }
        }
        exchange.send(&exchange.message(&list).encode());
    })
    .expect("a socket");
    let started = Instant::now();
    let read = read(&device, LONG).await;
    assert!(read.is_capped && read.fault.is_none());
    assert!(read.requests <= 1_300, "{} requests", read.requests);
    assert!(started.elapsed() < Duration::from_mins(1));
    check(&read, &[]);
    assert_eq!(read.tables.extent(&ENDLESS), Some(Extent::Partial));
    assert!(read.tables.rows(&ENDLESS).count() > 15_000);
}

#[tokio::test]
async fn time_and_requests_are_limited() {
    let device = distorted(|_, _| {
        std::thread::sleep(Duration::from_millis(30));
        false
    });
    for limits in [
        Limits { time: Duration::from_millis(150), ..Limits::default() },
        Limits { requests: 4, ..Limits::default() },
        Limits { values: 100, ..Limits::default() },
    ] {
        let mut session = session(&device, LONG);
        let mut pace = Pace::for_session(&session);
        let started = Instant::now();
        let read = snmp::read(&mut session, &mut pace, &wanted(), &limits, &mut |_| ()).await;
        assert!(read.is_capped && read.fault.is_none(), "{limits:?}: {:?}", read.fault);
        assert!(read.requests <= 8, "{} requests for {limits:?}", read.requests);
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(read.tables.extent(&of(&IF_ENTRY, 2)), Some(Extent::Partial));
    }
}

#[tokio::test]
async fn a_column_whose_names_do_not_increase_is_partial_and_alone() {
    let culprit = ber::name(&of(&IF_ENTRY, 8));
    let device = distorted(move |exchange, right| {
        let reply = Request::parse(right).expect("an answer");
        let mut list = Vec::new();
        for (at, name) in reply.names.iter().enumerate() {
            let mut all = 0;
            let one = reply.rewritten(|_| None);
            // The varbind at this position, from the encoded list.
            for _ in 0..at {
                all += usize::from(one[all + 1]) + 2;
            }
            let length = usize::from(one[all + 1]) + 2;
            if name.starts_with(&culprit) && ber::numbers(&name[culprit.len()..])[0] > 5 {
                let mut again = culprit.clone();
                ber::push_arc(3, &mut again);
                list.extend(ber::varbind(&again, ber::INTEGER, &[1]));
            } else {
                list.extend_from_slice(&one[all..all + length]);
            }
        }
        exchange.send(&exchange.message(&list).encode());
        true
    });
    let read = read(&device, LONG).await;
    assert!(read.fault.is_none());
    check(&read, &[of(&IF_ENTRY, 8)]);
    assert_eq!(read.tables.rows(&of(&IF_ENTRY, 8)).count(), 5);
}

#[tokio::test]
async fn what_is_no_answer_is_bounded_and_told() {
    type Distort = fn(&Exchange<'_>, &[u8]);
    fn send(exchange: &Exchange<'_>, change: impl FnOnce(&mut ber::Message<'_>)) {
        let mut message = exchange.message(&[]);
        change(&mut message);
        exchange.send(&message.encode());
    }
    let cases: [(&str, Distort); 6] = [
        ("half an answer", |x, right| x.send(&right[..right.len() / 2])),
        ("another request's", |x, _| send(x, |m| m.id += 1)),
        ("another address's", |x, right| x.send_from_elsewhere(right)),
        ("empty", |x, _| x.send(&[])),
        ("no values", |x, _| send(x, |_| ())),
        ("an error without a name", |x, _| send(x, |m| m.status = 5)),
    ];
    for (what, distort) in cases {
        let device = distorted(move |exchange, right| {
            distort(exchange, right);
            true
        });
        let started = Instant::now();
        let read = read(&device, SHORT).await;
        assert!(read.fault.is_some(), "{what}");
        assert!(read.requests <= 120, "{what}: {} requests", read.requests);
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        assert_eq!(read.tables.extent(&of(&IF_ENTRY, 2)), Some(Extent::Partial), "{what}");
    }
}

#[tokio::test]
async fn random_bytes_never_break_a_reading() {
    let mut random = StdRng::seed_from_u64(0x5eed);
    let device = distorted(move |exchange, right| {
        let mut damaged = right.to_vec();
        for _ in 0..random.random_range(0..3) {
            let at = random.random_range(0..damaged.len());
            match random.random_range(0..3) {
                0 => damaged[at] = random.random(),
                1 => damaged[at] ^= 1 << random.random_range(0..8),
                _ => damaged.truncate(at.max(1)),
            }
        }
        exchange.send(&damaged);
        true
    });
    for _ in 0..40 {
        let started = Instant::now();
        let read = read(&device, LONG).await;
        assert!(read.requests <= 1_000, "{} requests", read.requests);
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(read.tables.rows(&[1, 3, 6, 1, 4, 1, 9]).count(), 0);
    }
}
