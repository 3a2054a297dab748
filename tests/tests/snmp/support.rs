//! Devices, probes, and what to expect of them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use agent::{
    plan::{Column, Metric, Secret},
    probe::{Cell, Probe as _, Round, snmp::SnmpProbe},
};
use e2e::snmp_responder::{
    Mib, POLLED, Question, Spec, column,
    scripted::{Exchange, Scripted},
};
use proto::v1::{SnmpInventory, event::Event};

pub(crate) const COMMUNITY: &str = "public";
/// For devices that are asked to fail: short, so that the tests are.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// For devices that are to answer on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(5);
pub(crate) const PORTS: u32 = 20;

/// What a probe can ask of an interface beyond what a switch is polled for.
const MORE: [Metric; 6] = [
    Metric::IfAdminStatus,
    Metric::IfCounterDiscontinuityTime,
    Metric::IfHcInMulticastPkts,
    Metric::IfHcOutMulticastPkts,
    Metric::IfHcInBroadcastPkts,
    Metric::IfHcOutBroadcastPkts,
];
/// Columns of a port.
pub(crate) const EACH: usize = POLLED.len() + MORE.len();

/// The metrics of a port, in the order of its columns.
pub(crate) fn per_interface() -> impl Iterator<Item = Metric> {
    POLLED.into_iter().chain(MORE)
}

/// A value that says what was asked; states stay within their enumeration.
pub(crate) fn value(question: Question) -> u64 {
    let index = u64::from(question.if_index);
    let device = question.device as u64;
    match question.metric {
        Metric::IfOperStatus | Metric::IfAdminStatus => 1 + index % 2,
        Metric::IfHighSpeed => 100 * index,
        metric => (metric as u64) << 24 | device << 16 | index,
    }
}

/// The same as the probe must store it.
pub(crate) fn stored(device: usize, metric: Metric, if_index: u32) -> i64 {
    let question = Question { device, metric, if_index, at: std::time::UNIX_EPOCH };
    let raw = i64::try_from(value(question)).expect("small");
    if metric == Metric::IfHighSpeed { raw * 1_000_000 } else { raw }
}

pub(crate) fn spec(interfaces: Vec<u32>) -> Spec {
    Spec { interfaces, community: COMMUNITY.into(), values: Arc::new(value) }
}

/// The three scalars, then every metric of each port, port after port.
pub(crate) fn columns(ports: impl IntoIterator<Item = u32>) -> Vec<Column> {
    let scalars = [Metric::SnmpOutcome, Metric::SnmpResponseTime, Metric::SysUpTime];
    let scalars = scalars.map(|metric| column(metric, 0)).into_iter();
    scalars
        .chain(
            ports
                .into_iter()
                .flat_map(|port| per_interface().map(move |metric| column(metric, port))),
        )
        .collect()
}

pub(crate) fn probe(address: SocketAddr, timeout: Duration, columns: Vec<Column>) -> SnmpProbe {
    SnmpProbe::new(7, address, Secret(COMMUNITY.into()), 20, timeout, columns)
}

pub(crate) async fn round(probe: &mut SnmpProbe) -> Round {
    let limit = tokio::time::timeout(Duration::from_secs(30), probe.round());
    limit.await.expect("a round ends").expect("this machine can ask")
}

pub(crate) fn outcome(round: &Round) -> Cell {
    round.cells[0]
}

pub(crate) fn inventory(round: &Round) -> Option<&SnmpInventory> {
    round.events.iter().find_map(|event| {
        if let Event::SnmpInventory(inventory) = event { Some(inventory) } else { None }
    })
}

/// Every interface cell is right, but for those that `missing` names, which are empty.
pub(crate) fn check_cells(round: &Round, columns: &[Column], missing: impl Fn(&Column) -> bool) {
    for (column, cell) in columns.iter().zip(&round.cells).skip(3) {
        let wanted = (!missing(column)).then(|| stored(0, column.metric, column.instance));
        assert_eq!(*cell, wanted, "{:?}.{}", column.metric, column.instance);
    }
}

/// A device that answers as it should, but for what `distort` sends in place of the right answer;
/// it returns true when it has answered.
pub(crate) fn distorted(
    mut distort: impl FnMut(&Exchange<'_>, &[u8]) -> bool + Send + 'static,
) -> Scripted {
    let mib = Mib::new(spec(vec![PORTS]));
    Scripted::start(move |exchange| {
        let right = mib.answer(0, exchange.datagram).expect("a request of the probe");
        if !distort(exchange, &right) {
            exchange.send(&right);
        }
    })
    .expect("a socket on the loopback")
}
