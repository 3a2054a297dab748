//! What a round brings of devices that work, are silent, or change.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use agent::{
    plan::{Metric, Secret},
    probe::{Outcome, snmp::SnmpProbe},
};
use e2e::snmp_responder::{Question, Responder, Spec, column};

use crate::support::{
    COMMUNITY, LONG, PORTS, SHORT, check_cells, columns, inventory, outcome, probe, round, spec,
    stored, value,
};

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
    assert_eq!(learnt.sys_contact, "desk0");
    assert_eq!((learnt.sys_name.as_str(), learnt.sys_location.as_str()), ("switch0", "cabinet0"));
    assert!(!learnt.truncated);
    assert_eq!(learnt.interfaces.len(), 3);
    let port = &learnt.interfaces[1];
    assert_eq!((port.if_index, port.if_type), (2, 6));
    assert_eq!((port.octet_bits, port.packet_bits), (64, 64));
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
