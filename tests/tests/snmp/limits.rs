//! Devices that take less, or give more, than a probe asks for.

use std::time::{Duration, Instant};

use agent::{plan::Metric, probe::Outcome};
use e2e::snmp_responder::{Mib, ber, scripted::Scripted};

use crate::support::{
    LONG, PORTS, SHORT, check_cells, columns, distorted, inventory, outcome, probe, round, spec,
};

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
