//! Devices whose interfaces, all or some, have no counters of 64 bits.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use agent::{
    plan::{Column, Metric},
    probe::{Outcome, snmp::SnmpProbe},
};
use collector::{
    config::References,
    targets::{SiteConfigs, Targets},
    wire,
};
use domain::{
    id::{GroupId, SeriesId, SiteId},
    sample::Span,
    target::{Community, Method, Role, TargetSpec},
};
use e2e::{
    bench::school::{Desk, School},
    snmp_responder::{Mib, Question, Spec, ber, column, scripted::Scripted},
};
use store::{
    Bucket, IncomingRecord, IngestStore as _, LaneKey, SampleStore as _, ServerTime, Step,
    TargetStore as _, sqlite::SqliteStore,
};
use tempfile::TempDir;

use crate::support::{COMMUNITY, LONG, PORTS, inventory, outcome, probe, round, spec, stored};

/// Column of `ifXTable`, or all of it.
fn if_x_table(column: &[u32]) -> Vec<u8> {
    ber::name(&[&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1], column].concat())
}

fn serve(mib: Mib) -> Scripted {
    Scripted::start(move |exchange| {
        exchange.send(&mib.answer(0, exchange.datagram).expect("a request of the probe"));
    })
    .expect("a socket on the loopback")
}

const NARROW: [Metric; 5] = [
    Metric::IfInOctets,
    Metric::IfOutOctets,
    Metric::IfInUcastPkts,
    Metric::IfOutUcastPkts,
    Metric::IfSpeed,
];

fn asked(ports: impl Iterator<Item = u32>, metrics: &[Metric]) -> Vec<Column> {
    let scalars = [column(Metric::SnmpOutcome, 0)].into_iter();
    let ports = ports.flat_map(|port| metrics.iter().map(move |metric| column(*metric, port)));
    scalars.chain(ports).collect()
}

#[tokio::test]
async fn a_device_without_the_extended_table_is_read_by_its_narrow_counters() {
    let extended = if_x_table(&[]);
    let device =
        serve(Mib::new(spec(vec![PORTS])).lacking(move |name, _| name.starts_with(&extended)));
    // All ports, which are walked; then one, which is asked for.
    for ports in [1..=PORTS, 9..=9] {
        let columns = asked(ports, &NARROW);
        let mut probe = probe(device.address(), LONG, columns.clone());
        let first = round(&mut probe).await;
        let learnt = inventory(&first).expect("an inventory");
        assert_eq!(learnt.interfaces.len(), PORTS as usize);
        for port in &learnt.interfaces {
            assert_eq!((port.octet_bits, port.packet_bits), (32, 32));
            assert_eq!(port.if_descr, format!("GigabitEthernet0/{}", port.if_index));
        }
        for round in [first, round(&mut probe).await] {
            assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
            for (column, cell) in columns.iter().zip(&round.cells).skip(1) {
                let wanted = stored(0, column.metric, column.instance);
                assert_eq!(*cell, Some(wanted), "{:?}.{}", column.metric, column.instance);
            }
        }
    }
}

#[tokio::test]
async fn wide_and_narrow_rows_of_one_device_are_told_apart_and_read_together() {
    // Odd ports have no wide counters, those of each third port are wide for octets only.
    let (octets, packets) = ([6, 10].map(|n| if_x_table(&[n])), [7, 11].map(|n| if_x_table(&[n])));
    let device = serve(Mib::new(spec(vec![PORTS])).lacking(move |name, port| {
        let is = |columns: &[Vec<u8>]| columns.iter().any(|column| column == name);
        is(&octets) && port % 2 == 1 || is(&packets) && (port % 2 == 1 || port % 3 == 0)
    }));
    let mut columns = asked(std::iter::empty(), &[]);
    for port in 1..=PORTS {
        let metrics: &[Metric] = match (port % 2, port % 3) {
            (1, _) => &NARROW,
            (_, 0) => &[Metric::IfHcInOctets, Metric::IfInUcastPkts, Metric::IfSpeed],
            _ => &[Metric::IfHcInOctets, Metric::IfHcOutUcastPkts],
        };
        columns.extend(metrics.iter().map(|metric| column(*metric, port)));
    }
    let mut probe = probe(device.address(), LONG, columns.clone());
    let first = round(&mut probe).await;
    for port in &inventory(&first).expect("an inventory").interfaces {
        let bits = match (port.if_index % 2, port.if_index % 3) {
            (1, _) => (32, 32),
            (_, 0) => (64, 32),
            _ => (64, 64),
        };
        assert_eq!((port.octet_bits, port.packet_bits), bits, "port {}", port.if_index);
    }
    for round in [first, round(&mut probe).await] {
        for (column, cell) in columns.iter().zip(&round.cells).skip(1) {
            let wanted = stored(0, column.metric, column.instance);
            assert_eq!(*cell, Some(wanted), "{:?}.{}", column.metric, column.instance);
        }
    }
}

/// Two ports with narrow counters, at 100 Mbit/s and a gigabit; one with wide ones.
const FAST_ETHERNET: u32 = 1;
const GIGABIT: u32 = 2;
const WIDE: u32 = 3;
/// When the device starts anew, in minutes; its narrow counters wrap between 7 and 8.
const RESET: i64 = 12;
const ROUNDS: i64 = 20;
const MINUTE_MS: i64 = 60_000;
/// 2026-03-02, midnight UTC.
const MIDNIGHT_MS: i64 = 1_772_409_600_000;

/// 80 kbit/s, and a packet for each 600 octets.
fn at_minute(minute: i64, question: Question) -> u64 {
    let octets = minute * 600_000 + if minute < RESET { (1 << 32) - 4_500_000 } else { 0 };
    let value = match question.metric {
        Metric::SysUpTime if minute < RESET => (minute + 9_000) * 6_000,
        Metric::SysUpTime => (minute - RESET) * 6_000 + 100,
        Metric::IfSpeed if question.if_index == GIGABIT => 1_000_000_000,
        Metric::IfSpeed => 100_000_000,
        Metric::IfOperStatus | Metric::IfAdminStatus => 1,
        Metric::IfCounterDiscontinuityTime => 0,
        Metric::IfHcInUcastPkts | Metric::IfInUcastPkts => octets / 600,
        _ => octets,
    };
    value.unsigned_abs()
}

/// A collector's store, the device that a school's agent asks for it, and the day as it goes.
struct Day {
    store: Arc<SqliteStore>,
    school: School,
    group: GroupId,
    _device: Scripted,
    _directory: TempDir,
}

impl Day {
    /// Everything from the inventory to the samples of [`ROUNDS`] minutes.
    async fn pass() -> Self {
        let minute = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&minute);
        let values = Arc::new(move |question| at_minute(clock.load(Ordering::SeqCst), question));
        let spec = Spec { interfaces: vec![3], community: COMMUNITY.into(), values };
        let extended = if_x_table(&[]);
        let lacks = move |name: &[u8], port| name.starts_with(&extended) && port != WIDE;
        let device = serve(Mib::new(spec).lacking(lacks));

        let directory = tempfile::tempdir().expect("a directory");
        let desk = Desk::open(&directory.path().join("collector")).expect("a collector's data");
        let home = directory.path().join("agent");
        let school = desk.school(1, Vec::new(), &home, "127.0.0.1:1").await.expect("a school");
        let store = Arc::new(desk.store);
        let configs = Arc::new(SiteConfigs::default());
        let targets =
            Targets::new(store.clone(), configs, References::default(), "127.0.0.1:1".to_owned());
        let target = TargetSpec {
            site: school.site,
            role: Role::Equipment,
            name: "commutateur".to_owned(),
            address: device.address().to_string(),
            method: Method::SnmpV2c { community: Community::new(COMMUNITY) },
            period_s: 60,
            parent: None,
        };
        let group = targets.add(target).await.expect("a target").group;
        let mut day = Self { store, school, group, _device: device, _directory: directory };

        let mut probe = day.probe().await.1;
        let learnt = round(&mut probe).await;
        let ports = wire::ports(inventory(&learnt).expect("an inventory"));
        assert!(targets.ports(day.school.site, group, &ports).await.expect("series"));
        let (planned, mut probe) = day.probe().await;
        for now in 0..ROUNDS {
            minute.store(now, Ordering::SeqCst);
            let round = round(&mut probe).await;
            assert_eq!(outcome(&round), Some(Outcome::Ok as i64));
            day.keep(&planned, now, &round.cells).await;
        }
        day
    }

    /// The group as it is planned, and a probe of it.
    async fn probe(&self) -> (domain::target::Group, SnmpProbe) {
        let (_, groups) = self.store.groups(self.school.site).await.expect("groups");
        let planned = groups.into_iter().find(|group| group.id == self.group).expect("its group");
        let metric = |number| i32::try_from(number).ok().and_then(|n| Metric::try_from(n).ok());
        let columns = planned.columns.iter();
        let columns =
            columns.map(|of| column(metric(of.metric).expect("a metric of the wire"), of.instance));
        let address = planned.targets[0].spec.address.parse().expect("an address");
        let probe = probe(address, LONG, columns.collect());
        (planned, probe)
    }

    async fn keep(&mut self, planned: &domain::target::Group, minute: i64, cells: &[Option<i64>]) {
        let seq = minute.unsigned_abs() + 1;
        let (group, layout) = (planned.id, planned.layout);
        let record = IncomingRecord {
            lane: LaneKey { agent: self.school.agent, lane: 1, epoch: 1 },
            seq,
            kind: proto::KIND_SAMPLES,
            hash: seq,
            time: ServerTime::Known(MIDNIGHT_MS + minute * MINUTE_MS),
            boot_ns: 0,
            items: u32::try_from(cells.len()).expect("few"),
            payload: proto::samples::encode(group.0, layout.0, &[0], cells),
            group: Some((group, layout)),
            explains: None,
            gap: None,
            refused: None,
        };
        self.store.commit(vec![record]).await.expect("a commit");
    }

    /// Five-minute buckets of a series; `None` when the port has none such.
    async fn buckets(&self, metric: Metric, port: u32) -> Option<Vec<Bucket>> {
        let site: SiteId = self.school.site;
        let id: SeriesId =
            self.store.series(Some(site)).await.expect("series").iter().find_map(|series| {
                let same = (series.metric, series.instance) == (metric as u32, port);
                same.then_some(series.id)
            })?;
        let span = Span { from_ms: MIDNIGHT_MS, to_ms: MIDNIGHT_MS + ROUNDS * MINUTE_MS };
        Some(self.store.buckets(site, id, span, Step::FiveMinutes).await.expect("an answer"))
    }
}

#[tokio::test]
async fn a_narrow_ports_rate_is_right_over_a_wrap_and_unknown_over_a_reset_or_on_a_fast_line() {
    let day = Day::pass().await;
    // Of the first two five minutes all is known, a wrap lies in the second; a reset in the third.
    let known = [5, 5, 4, 4];
    for (metric, port, a_second) in [
        (Metric::IfInOctets, FAST_ETHERNET, 10_000.0),
        (Metric::IfInUcastPkts, FAST_ETHERNET, 10_000.0 / 600.0),
        (Metric::IfInUcastPkts, GIGABIT, 10_000.0 / 600.0),
        (Metric::IfHcInOctets, WIDE, 10_000.0),
    ] {
        let buckets = day.buckets(metric, port).await.expect("a series");
        let covered: Vec<u32> = buckets.iter().map(|bucket| bucket.covered_ms / 60_000).collect();
        assert_eq!(covered, known, "{metric:?}.{port}");
        for bucket in &buckets {
            assert!((bucket.mean - a_second).abs() < 0.01, "{metric:?}.{port}: {bucket:?}");
        }
    }
    // A gigabit could wrap them twice in a minute.
    assert_eq!(day.buckets(Metric::IfInOctets, GIGABIT).await.expect("a series"), []);
    for (metric, port) in [
        (Metric::IfHcInOctets, FAST_ETHERNET),
        (Metric::IfHcInUcastPkts, GIGABIT),
        (Metric::IfInOctets, WIDE),
        (Metric::IfSpeed, WIDE),
    ] {
        assert!(day.buckets(metric, port).await.is_none(), "{metric:?}.{port} was not to be asked");
    }
}
