//! Devices that hang and devices that do not, over real sockets.

use std::net::{SocketAddr, UdpSocket};

use crate::{clock::SystemClock, probe::snmp::SnmpProbe, snmp::Credentials};

use super::*;

/// Bytes of a BER element's type and length.
fn head(element: &[u8]) -> usize {
    2 + usize::from(element[1].saturating_sub(0x80))
}

/// Answers what is asked of the uptime, and to all else that it failed.
async fn healthy(socket: tokio::net::UdpSocket) {
    const UP_TIME: &[u8] = &[0x2b, 6, 1, 2, 1, 1, 3, 0];
    let mut request = [0; 1500];
    loop {
        let (len, from) = socket.recv_from(&mut request).await.unwrap();
        let mut reply = request[..len].to_vec();
        // Message, version, community ("public"), request.
        let pdu = head(&reply) + 3 + 8;
        let id = pdu + head(&reply[pdu..]);
        let status = id + 2 + usize::from(reply[id + 1]) + 2;
        if reply[pdu] == 0xa0 && len < 60 && reply[..len - 2].ends_with(UP_TIME) {
            // One name alone, so that every length is of one byte. Its value was "nothing".
            let list = status + 1 + 3;
            reply.truncate(len - 2);
            reply.extend_from_slice(&[0x43, 1, 5]);
            for length in [1, pdu + 1, list + 1, list + 3] {
                reply[length] += 1;
            }
        } else {
            reply[status] = 5;
        }
        reply[pdu] = 0xa2;
        socket.send_to(&reply, from).await.unwrap();
    }
}

fn device(id: u32, address: SocketAddr, period: Duration, timeout: Duration) -> Group {
    let columns = vec![
        Column { target: 0, metric: Metric::SnmpOutcome, instance: 0, label: String::new() },
        Column { target: 0, metric: Metric::SysUpTime, instance: 0, label: String::new() },
    ];
    let credentials = Credentials::v2c("public");
    let probe = ProbeKind::Snmp { address, credentials, max_repetitions: 20 };
    Group { period, timeout, probe, columns, ..group(id, 1) }
}

/// When a round began, and what it found.
type Seen = (u64, Vec<Option<i64>>);

/// Stands for the probes that ask no device: an echo group's, the host's.
struct Prompt(Arc<dyn Clock>);

#[async_trait]
impl Probe for Prompt {
    async fn round(&mut self) -> Result<Round, crate::probe::ProbeError> {
        let boot_ns = self.0.boot_ns();
        Ok(Round { boot_ns, cells: vec![Some(0)], changed: false, events: Vec::new() })
    }
}

/// Longest that a round may come late on a machine that is busy with other tests: less than what a
/// device that hangs holds a place for.
const TOLERANCE: Duration = Duration::from_millis(450);

/// How long is measured.
const LASTS: Duration = Duration::from_secs(10);
/// Until who hangs is known.
const KNOWN: Duration = Duration::from_millis(3_500);

#[tokio::test]
async fn a_hundred_devices_that_hang_delay_no_healthy_one_and_no_other_round() {
    // Each that hangs would hold a place for 1.18 s of 1.2: 98 of 64.
    let (period, timeout) = (Duration::from_millis(1_200), Duration::from_millis(590));
    let silent: Vec<UdpSocket> =
        (0..100).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let answering = tokio::spawn(healthy(socket));
    let mut groups = vec![device(1, address, period, timeout), echoes(2, 1, 1, 1)];
    groups.extend(
        (3..)
            .zip(&silent)
            .map(|(id, socket)| device(id, socket.local_addr().unwrap(), period, timeout)),
    );

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stamps = Arc::clone(&clock);
    let build: Builder = Box::new(move |group| match &group.probe {
        ProbeKind::Snmp { address, credentials, max_repetitions } => {
            let (columns, credentials) = (group.columns.clone(), credentials.clone());
            let (id, timeout) = (group.id, group.timeout);
            Ok(Box::new(SnmpProbe::new(
                id,
                *address,
                credentials,
                *max_repetitions,
                timeout,
                columns,
            )))
        }
        ProbeKind::Icmp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Dns { .. }
        | ProbeKind::Http { .. }
        | ProbeKind::Host
        | ProbeKind::Service(_)
        | ProbeKind::Mesh { .. } => Ok(Box::new(Prompt(Arc::clone(&stamps)))),
    });
    let (told, mut records) = tokio::sync::mpsc::unbounded_channel();
    let sink: Sink = Box::new(move |record| told.send(record).map_err(|_| SpoolError::Stopped));
    let metrics = Arc::new(Metrics::new());
    let shared =
        Shared::new(Arc::clone(&clock), Arc::clone(&metrics), [1; 16], (build, sink), (64, 1_000));
    let mut runner = Runner::new(shared);
    let began = clock.boot_ns();
    runner.apply(plan(1, groups)).unwrap();

    let mut rounds: HashMap<u32, Vec<Seen>> = HashMap::new();
    let until = Instant::now() + LASTS;
    while let Ok(Some(record)) = timeout_at(until, records.recv()).await {
        if record.kind == proto::KIND_SAMPLES {
            let id = proto::samples::header(&record.payload).unwrap().group;
            let cells = proto::samples::decode(&record.payload).unwrap().cells;
            rounds.entry(id).or_default().push((record.boot_ns, cells));
        }
    }
    runner.stop().await;
    answering.abort();

    // Until each has been asked once, within the first second and once more as long, nobody knows who
    // hangs, and those that do may hold all places.
    for (id, period) in [(1, period), (2, Duration::from_secs(1))] {
        let known = began + ns(KNOWN);
        let rounds: Vec<_> = rounds[&id].iter().filter(|(at, _)| *at >= known).collect();
        let due = ns(LASTS.saturating_sub(KNOWN)) / ns(period) - 1;
        assert!(rounds.len() as u64 >= due, "group {id}: {} rounds", rounds.len());
        let first = rounds[0].0;
        for (n, (at, _)) in (0..).zip(&rounds) {
            let late = Duration::from_nanos(at.abs_diff(first + n * ns(period)));
            assert!(late < TOLERANCE, "round {n} of group {id} is {late:?} late");
        }
    }
    assert!(rounds[&1].iter().all(|(_, cells)| cells == &[Some(0), Some(5)]), "{:?}", rounds[&1]);
    // Those that hang are told as such, or their rounds as missed: never nothing.
    let hung: usize = (3..103).map(|id| rounds.get(&id).map_or(0, Vec::len)).sum();
    let missed = usize::try_from(metrics.missed()).unwrap();
    assert!(hung > 100, "{hung} rounds");
    assert!((700..=900).contains(&(hung + missed)), "{hung} told, {missed} missed");
    drop(silent);
}
