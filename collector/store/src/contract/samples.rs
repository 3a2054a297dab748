//! Samples: reading, rolling up, compacting.

mod kept;

use domain::{
    id::{AgentId, GroupId, SeriesId, SiteId},
    metric::{IF_COUNTER_DISCONTINUITY_TIME, IF_SPEED, SYS_UP_TIME},
    sample::{Sample, Span},
    target::{Community, Detail, Group, Method, Role, TargetSpec},
};

use super::{NOON_MS, site_with_agent};
use crate::{
    AgentStore, Bucket, Disposition, EdgeSpec, IncomingRecord, IngestStore, MaintenanceReport,
    NewSeries, NewSeriesSpec, Result, Rounds, SampleStore, SeriesData, ServerTime, SiteStore, Step,
    TargetStore,
};

pub use kept::{
    access_ports_have_five_minutes_after_their_samples, each_detail_is_kept_for_its_time,
};

/// A payload for the suite: plain little-endian words, so that it needs no codec of the wire.
#[must_use]
pub fn payload(rounds: &Rounds) -> Vec<u8> {
    let mut bytes = (rounds.times_ms.len() as u64).to_le_bytes().to_vec();
    bytes.extend(rounds.times_ms.iter().flat_map(|t| t.to_le_bytes()));
    for cell in &rounds.cells {
        bytes.push(u8::from(cell.is_some()));
        bytes.extend(cell.unwrap_or_default().to_le_bytes());
    }
    bytes
}

/// Reads a payload of the suite.
#[must_use]
pub fn read_payload(bytes: &[u8]) -> Option<Rounds> {
    let (n, rest) = bytes.split_first_chunk::<8>()?;
    let n = usize::try_from(u64::from_le_bytes(*n)).ok()?;
    let (times, cells) = rest.split_at_checked(n.checked_mul(8)?)?;
    let (cells, odd) = cells.as_chunks::<9>();
    odd.is_empty().then(|| Rounds {
        times_ms: times.as_chunks::<8>().0.iter().map(|t| i64::from_le_bytes(*t)).collect(),
        cells: cells
            .iter()
            .map(|[some, value @ ..]| (*some == 1).then(|| i64::from_le_bytes(*value)))
            .collect(),
    })
}

/// Midnight (UTC) of the suite's first day.
const MIDNIGHT_MS: i64 = NOON_MS - 8 * HOUR_MS;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The first day.
const DAY: Span = Span { from_ms: MIDNIGHT_MS, to_ms: MIDNIGHT_MS + DAY_MS };

const IN_OCTETS: u32 = 60;
const NARROW_IN_OCTETS: u32 = 76;
const RTT: u32 = 4;
const OUTCOME: u32 = 50;

/// A site with one device, read every minute.
pub(crate) struct School {
    pub(crate) site: SiteId,
    agent: AgentId,
    group: Group,
}

/// The columns of a [`School`]: a counter, its device's and its own clock, a gauge, a counter of an
/// access port.
const COLUMNS: [(u32, u32, Detail); 5] = [
    (IN_OCTETS, 1, Detail::Full),
    (SYS_UP_TIME, 0, Detail::Full),
    (IF_COUNTER_DISCONTINUITY_TIME, 1, Detail::Full),
    (RTT, 0, Detail::Full),
    (IN_OCTETS, 2, Detail::Coarse),
];
const COUNTER: usize = 0;
const GAUGE: usize = 3;
const ACCESS: usize = 4;

/// The traits that a law about samples needs.
pub trait Samples: SiteStore + AgentStore + TargetStore + IngestStore + SampleStore {}
impl<T: SiteStore + AgentStore + TargetStore + IngestStore + SampleStore> Samples for T {}

impl School {
    pub(crate) async fn new(store: &impl Samples, number: u8, period_s: u32) -> Result<Self> {
        let (site, agent) = site_with_agent(store, number).await?;
        let spec = TargetSpec {
            site,
            role: Role::Equipment,
            name: "commutateur".to_owned(),
            address: "192.0.2.1".to_owned(),
            method: Method::SnmpV2c { community: Community::new("public") },
            period_s,
            parent: None,
        };
        let columns = COLUMNS.map(|(metric, instance, detail)| NewSeriesSpec {
            metric,
            instance,
            label: String::new(),
            detail,
        });
        store.upsert_target(spec, columns.to_vec()).await?;
        Ok(Self { site, agent, group: the_group(store, site).await? })
    }

    /// Id of one of the [`COLUMNS`].
    pub(crate) fn series(&self, column: usize) -> SeriesId {
        let (metric, instance, _) = COLUMNS[column];
        let found =
            self.group.columns.iter().find(|s| (s.metric, s.instance) == (metric, instance));
        found.expect("the columns that were given").id
    }

    /// A record of one round. `cells` has the values of [`COLUMNS`]; columns added later have none.
    pub(crate) fn round(&self, seq: u64, t_ms: i64, cells: [Option<i64>; 5]) -> IncomingRecord {
        let cells = self.group.columns.iter().map(|series| {
            let place = COLUMNS.iter().position(|c| (c.0, c.1) == (series.metric, series.instance));
            place.and_then(|place| cells[place])
        });
        IncomingRecord {
            time: ServerTime::Known(t_ms),
            payload: payload(&Rounds { times_ms: vec![0], cells: cells.collect() }),
            group: Some((self.group.id, self.group.layout)),
            ..super::ingest::record(super::ingest::samples(self.agent, 1), seq, seq)
        }
    }
}

async fn the_group(store: &impl Samples, site: SiteId) -> Result<Group> {
    let (_, mut groups) = store.groups(site).await?;
    assert_eq!(groups.len(), 1, "one device is one group");
    Ok(groups.remove(0))
}

/// Commits records that must all be stored.
pub(crate) async fn keep(store: &impl Samples, records: Vec<IncomingRecord>) -> Result<()> {
    for records in records.chunks(500) {
        let fates = super::ingest::commit(store, records.to_vec()).await?;
        assert!(fates.iter().all(|fate| *fate == Disposition::Stored), "{fates:?}");
    }
    Ok(())
}

/// Upkeep until there is nothing left to do.
pub(crate) async fn upkeep(store: &impl Samples, now_ms: i64) -> Result<MaintenanceReport> {
    let mut sum = MaintenanceReport::default();
    for _ in 0..10_000 {
        let report = store.maintain(now_ms).await?;
        if !report.worked() {
            return Ok(sum);
        }
        sum.blocks += report.blocks;
        sum.samples += report.samples;
        sum.head_rows += report.head_rows;
        sum.access_days += report.access_days;
        sum.expired += report.expired;
        sum.damaged += report.damaged;
    }
    panic!("upkeep never ends");
}

/// What is told of who answers is the newest there is; what is not sure to be is left out.
pub async fn signs_are_the_newest_there_is(store: &impl Samples) -> Result<()> {
    let school = School::new(store, 1, 60).await?;
    let target = school.group.targets[0].id;
    let other = School::new(store, 2, 60).await?;
    let asked = vec![
        (school.site, school.group.id),
        (other.site, other.group.id),
        (school.site, GroupId(u32::MAX)),
        // A group is asked of its own site.
        (other.site, school.group.id),
    ];
    let signs = async |now_ms| store.signs(asked.clone(), now_ms).await;
    let round = |group: &Group, seq: u64, minute: i64, outcome: i64| {
        let cells =
            group.columns.iter().map(|series| (series.metric == OUTCOME).then_some(outcome));
        IncomingRecord {
            payload: payload(&Rounds { times_ms: vec![0], cells: cells.collect() }),
            group: Some((group.id, group.layout)),
            ..school.round(seq, MIDNIGHT_MS + minute * MINUTE_MS, [None; 5])
        }
    };
    let told = |minute: i64, outcome| {
        vec![(target, Sample { t_ms: MIDNIGHT_MS + minute * MINUTE_MS, value: Some(outcome) })]
    };
    let now = MIDNIGHT_MS + 700 * MINUTE_MS;
    let blind = school.group.clone();
    keep(store, vec![round(&blind, 1, 600, 0)]).await?;
    assert_eq!(signs(now).await?, [], "the layout has no sign");

    let series = NewSeries {
        target,
        metric: OUTCOME,
        instance: 0,
        label: String::new(),
        detail: Detail::Full,
    };
    store.add_series(school.site, vec![series]).await?;
    let group = the_group(store, school.site).await?;
    keep(store, vec![round(&group, 2, 620, 1)]).await?;
    assert_eq!(signs(now).await?, told(620, 1));
    keep(store, vec![round(&group, 3, 610, 0)]).await?;
    assert_eq!(signs(now).await?, told(620, 1), "what comes late is not the newest");
    keep(store, vec![round(&blind, 4, 630, 0)]).await?;
    assert_eq!(signs(now).await?, [], "the newest record does not tell");
    keep(store, vec![round(&group, 5, 1_439, 2)]).await?;
    let sign = group.columns.iter().find(|series| series.metric == OUTCOME).expect("added").id;
    let latest = store.latest(school.site, vec![sign]).await?;
    assert_eq!(signs(DAY.to_ms).await?, told(1_439, 2), "as new just after midnight");
    assert_eq!(latest, [Some(told(1_439, 2)[0].1)]);

    // Once the day may stand in a block, what is left of it may be older.
    let later = DAY.to_ms + 2 * HOUR_MS;
    upkeep(store, later).await?;
    keep(store, vec![round(&group, 6, 900, 0)]).await?;
    assert_eq!(signs(later).await?, []);
    assert_eq!(store.latest(school.site, vec![sign]).await?, latest);
    keep(store, vec![round(&group, 7, 1_530, 0)]).await?;
    assert_eq!(signs(later).await?, told(1_530, 0));
    Ok(())
}

/// A day of a device that works: about 1 Mbit/s, a round of 20 ms.
pub(crate) fn cells(minute: i64) -> [Option<i64>; 5] {
    let counter = 5_000_000_000 + minute * 7_500_000 + minute * minute % 977;
    let gauge = (minute % 10 != 3).then_some(20_000 + minute * 37 % 1_009);
    [Some(counter), Some(minute * 6_000), Some(0), gauge, Some(minute / 7)]
}

/// Everything that can be asked about a school's columns in a span.
#[derive(Debug, PartialEq)]
pub(crate) struct Answers {
    samples: Vec<SeriesData>,
    buckets: Vec<Vec<Bucket>>,
    percentiles: Vec<Option<(f64, u32)>>,
    latest: Vec<Option<Sample>>,
}

impl Answers {
    /// Asserts that these are those, telling only the first difference: whole answers are long.
    pub(crate) fn expect(&self, those: &Self) {
        for (column, (a, b)) in self.samples.iter().zip(&those.samples).enumerate() {
            assert_eq!((a.samples.len(), a.unsure), (b.samples.len(), b.unsure), "column {column}");
            let other = a.samples.iter().zip(&b.samples).find(|(a, b)| a != b);
            assert_eq!(other, None, "samples of column {column}");
        }
        for (at, (a, b)) in self.buckets.iter().zip(&those.buckets).enumerate() {
            let other = a.iter().zip(b).find(|(a, b)| a != b);
            assert_eq!(other, None, "buckets of column {}, step {}", at / 3, at % 3);
            assert_eq!(a.len(), b.len(), "buckets of column {}, step {}", at / 3, at % 3);
        }
        assert_eq!((&self.percentiles, &self.latest), (&those.percentiles, &those.latest));
    }
}

pub(crate) async fn answers(store: &impl Samples, school: &School, span: Span) -> Result<Answers> {
    let ids: Vec<SeriesId> = (0..COLUMNS.len()).map(|column| school.series(column)).collect();
    let mut buckets = Vec::new();
    for &id in &ids {
        for step in [Step::FiveMinutes, Step::Hour, Step::Day] {
            buckets.push(store.buckets(school.site, id, span, step).await?);
        }
    }
    let asked = ids.iter().map(|&id| (school.site, id)).collect();
    Ok(Answers {
        samples: store.read(school.site, ids.clone(), span).await?,
        buckets,
        percentiles: store.percentiles(asked, EdgeSpec { span, p: 0.95 }).await?,
        latest: store.latest(school.site, ids).await?,
    })
}

/// Every question has the same answer before and after samples leave the head, whatever came: values,
/// nothing obtained, an unsure clock, two rounds of one instant, columns added at noon.
pub async fn questions_do_not_see_where_samples_are_kept(store: &impl Samples) -> Result<()> {
    let mut school = School::new(store, 1, 60).await?;
    let mut records = Vec::new();
    for minute in 0..1_440 {
        if minute == 720 {
            let series = NewSeries {
                target: school.group.columns[0].target,
                metric: RTT,
                instance: 9,
                label: "autre".to_owned(),
                detail: Detail::Full,
            };
            store.add_series(school.site, vec![series]).await?;
            school.group = the_group(store, school.site).await?;
        }
        let t_ms = MIDNIGHT_MS + minute * MINUTE_MS + minute * 13 % 20;
        let seq = records.len() as u64 + 1;
        records.push(school.round(seq, t_ms, cells(minute)));
        if minute == 100 {
            let mut twice = cells(minute);
            twice[GAUGE] = Some(1);
            records.push(school.round(seq + 1, t_ms, twice));
        }
    }
    records[300].time = ServerTime::Unsure(records[300].time.ms());
    keep(store, records).await?;
    let added = school.group.columns.iter().find(|s| s.instance == 9).expect("the new column").id;

    let before = answers(store, &school, DAY).await?;
    let gauge = &before.samples[GAUGE];
    assert_eq!((gauge.samples.len(), gauge.unsure), (1_441, 1));
    let twice: Vec<_> = gauge.samples[100..102].iter().map(|s| s.value).collect();
    assert_eq!(twice, [cells(100)[GAUGE], Some(1)], "rounds of one instant keep their order");
    assert_eq!(gauge.samples[3].value, None, "polled and not obtained");
    let late = store.read(school.site, vec![added], DAY).await?;
    assert_eq!(late[0].samples.len(), 720, "a column is absent before it was added");
    assert!(late[0].samples.iter().all(|sample| sample.value.is_none()));

    let report = upkeep(store, DAY.to_ms + 2 * HOUR_MS).await?;
    assert_eq!((report.blocks, report.head_rows, report.damaged), (1, 1_441, 0));
    assert_eq!(store.figures().await?.head_records, 0);
    answers(store, &school, DAY).await?.expect(&before);
    assert_eq!(store.read(school.site, vec![added], DAY).await?, late);
    // Any part of it, too.
    let part = Span { from_ms: DAY.from_ms + 4_000_000, to_ms: DAY.from_ms + 9_000_001 };
    let ids = vec![school.series(GAUGE), added, school.series(COUNTER), school.series(GAUGE)];
    let found = store.read(school.site, ids, part).await?;
    let inside = |s: &&Sample| (part.from_ms..part.to_ms).contains(&s.t_ms);
    for (data, whole) in found.iter().zip([GAUGE, usize::MAX, COUNTER, GAUGE]) {
        let whole = before.samples.get(whole).map(|data| data.samples.as_slice());
        let expected: Vec<Sample> = whole.unwrap_or(&[]).iter().filter(inside).copied().collect();
        assert_eq!(data.samples, expected);
    }
    Ok(())
}

/// What comes late joins its day, and the buckets at both sides of midnight: the answers are those of
/// a site where all came in time.
pub async fn late_records_join_their_day(store: &impl Samples) -> Result<()> {
    let on_time = School::new(store, 1, 60).await?;
    let late = School::new(store, 2, 60).await?;
    let both = Span { from_ms: DAY.from_ms, to_ms: DAY.to_ms + DAY_MS };
    let rounds = |school: &School, wanted: &dyn Fn(i64) -> bool| -> Vec<IncomingRecord> {
        (0..2_880)
            .filter(|minute| wanted(*minute))
            .map(|minute| {
                let t_ms = MIDNIGHT_MS + minute * MINUTE_MS + 31_000;
                school.round(minute.unsigned_abs() + 1, t_ms, cells(minute))
            })
            .collect()
    };
    keep(store, rounds(&on_time, &|_| true)).await?;
    // The second day first, then the middle of the first, then the rest.
    keep(store, rounds(&late, &|minute| minute >= 1_450)).await?;
    let mut now_ms = both.to_ms + 2 * HOUR_MS;
    upkeep(store, now_ms).await?;
    keep(store, rounds(&late, &|minute| (600..700).contains(&minute))).await?;
    let early = answers(store, &late, both).await? == answers(store, &on_time, both).await?;
    assert!(!early, "something is still missing");
    now_ms += HOUR_MS;
    upkeep(store, now_ms).await?;
    let rest = |minute: i64| minute < 1_450 && !(600..700).contains(&minute);
    keep(store, rounds(&late, &rest)).await?;
    // At once, from head and blocks together, and after the day was made again.
    for _ in 0..2 {
        answers(store, &late, DAY).await?.expect(&answers(store, &on_time, DAY).await?);
        now_ms += HOUR_MS;
        upkeep(store, now_ms).await?;
    }
    answers(store, &late, both).await?.expect(&answers(store, &on_time, both).await?);
    assert_eq!(store.figures().await?.head_records, 0);
    Ok(())
}

/// A rate is never computed over a restart of the device, a discontinuity of the interface, or a gap
/// of more than three periods; what remains unknown is told by the coverage.
pub async fn no_rate_is_computed_over_a_restart_or_a_gap(store: &impl Samples) -> Result<()> {
    let school = School::new(store, 1, 60).await?;
    let counter = |minute: i64| Some(1_000_000 + minute * 6_000);
    let mut records = Vec::new();
    for minute in 0..60_i64 {
        // A restart between 7 and 8, a discontinuity between 21 and 22, silence from 31 to 36, nothing
        // obtained at 41 and 42, all on a counter that seems to grow evenly.
        if (31..=36).contains(&minute) {
            continue;
        }
        let uptime = Some(if minute < 8 { 900_000 } else { -42_000 } + minute * 6_000);
        let mark = Some(i64::from(minute >= 22));
        let value = counter(minute).filter(|_| !(41..=42).contains(&minute));
        let t_ms = MIDNIGHT_MS + minute * MINUTE_MS;
        let seq = minute.unsigned_abs() + 1;
        records.push(school.round(seq, t_ms, [value, uptime, mark, None, counter(minute)]));
    }
    keep(store, records).await?;
    for _ in 0..2 {
        let id = school.series(COUNTER);
        let buckets = store.buckets(school.site, id, DAY, Step::FiveMinutes).await?;
        let covered: Vec<u32> = buckets.iter().map(|b| b.covered_ms / 60_000).collect();
        // Of the bucket of the silence no rate is known: it is absent.
        assert_eq!(covered, [5, 4, 5, 5, 4, 5, 3, 5, 5, 5, 4]);
        assert!(buckets.iter().all(|b| (b.mean - 100.0).abs() < 1e-9), "{buckets:?}");
        let access = store.buckets(school.site, school.series(ACCESS), DAY, Step::Hour).await?;
        // Its interface has no clock of its own: the restart and the silence count.
        assert_eq!(access.iter().map(|b| b.covered_ms).sum::<u32>(), (59 - 1 - 7) * 60_000);
        let none = store.buckets(school.site, school.series(GAUGE), DAY, Step::Day).await?;
        assert_eq!(none, [], "nothing obtained is no bucket");
        upkeep(store, DAY.to_ms + 2 * HOUR_MS).await?;
    }
    Ok(())
}

/// A counter of 32 bits grows over its wrap where the speed of its interface leaves no room for two;
/// a wrap that hides a restart, or another wrap, is unknown.
pub async fn a_narrow_counter_wraps_where_its_line_allows_it(store: &impl Samples) -> Result<()> {
    let school = School::new(store, 1, 60).await?;
    let target = school.group.targets[0].id;
    let ports = [1, 2, 3];
    let metrics = [NARROW_IN_OCTETS, IF_SPEED];
    let series = |(metric, instance)| NewSeries {
        target,
        metric,
        instance,
        label: String::new(),
        detail: Detail::Full,
    };
    let added = ports.iter().flat_map(|port| metrics.map(|metric| (metric, *port)));
    store.add_series(school.site, added.map(series).collect()).await?;
    let group = the_group(store, school.site).await?;
    // 80 kbit/s on a line of 100 Mbit/s, on one of a gigabit, and on one that tells no speed.
    let grown = |minute: i64| (1 << 32) - 4_500_000 + minute * 600_000;
    let speed = |port| [Some(100_000_000), Some(1_000_000_000), None][port as usize - 1];
    let records = (0..30_i64).map(|minute| {
        // A wrap between 7 and 8; a restart between 17 and 18, with a counter that begins anew.
        let (life, uptime) = if minute < 18 { (minute, minute + 9_000) } else { (0, minute - 18) };
        let count = if minute < 18 { grown(life) & i64::from(u32::MAX) } else { minute * 600_000 };
        let cells = group.columns.iter().map(|series| match series.metric {
            NARROW_IN_OCTETS => Some(count),
            IF_SPEED => speed(series.instance),
            SYS_UP_TIME => Some(uptime * 6_000),
            _ => None,
        });
        let seq = minute.unsigned_abs() + 1;
        IncomingRecord {
            payload: payload(&Rounds { times_ms: vec![0], cells: cells.collect() }),
            group: Some((group.id, group.layout)),
            ..school.round(seq, MIDNIGHT_MS + minute * MINUTE_MS, [None; 5])
        }
    });
    keep(store, records.collect()).await?;
    for _ in 0..2 {
        for port in ports {
            let mut columns = group.columns.iter();
            let column = columns.find(|s| (s.metric, s.instance) == (NARROW_IN_OCTETS, port));
            let id = column.expect("the column that was added").id;
            let buckets = store.buckets(school.site, id, DAY, Step::FiveMinutes).await?;
            let covered: Vec<u32> = buckets.iter().map(|b| b.covered_ms / 60_000).collect();
            if port == 1 {
                assert_eq!(covered, [5, 5, 5, 4, 5, 4]);
                assert!(buckets.iter().all(|b| (b.mean - 10_000.0).abs() < 1e-9), "{buckets:?}");
                // What is told as its last value is one that it can have.
                assert!(buckets.iter().all(|b| b.last < 1 << 32), "{buckets:?}");
            } else {
                assert_eq!(buckets, [], "port {port}");
            }
            let raw = store.read(school.site, vec![id], DAY).await?;
            assert_eq!(raw[0].samples[8].value, Some(300_000), "kept as it was read");
        }
        upkeep(store, DAY.to_ms + 2 * HOUR_MS).await?;
    }
    Ok(())
}

/// The vector of the domain: 8,640 five-minute values, the i-th being i, have the 95th percentile
/// 8,208; and the buckets that end outside of a span do not count.
pub async fn percentiles_are_of_nearest_rank(store: &impl Samples) -> Result<()> {
    let school = School::new(store, 1, 300).await?;
    let records = (1..=8_640).map(|i| {
        let t_ms = MIDNIGHT_MS + (i - 1) * 300_000 + 7;
        school.round(i.unsigned_abs(), t_ms, [None, None, None, Some(i), None])
    });
    keep(store, records.collect()).await?;
    let month = Span { from_ms: MIDNIGHT_MS, to_ms: MIDNIGHT_MS + 30 * DAY_MS };
    let asked = vec![(school.site, school.series(GAUGE)), (school.site, school.series(COUNTER))];
    for _ in 0..2 {
        let found = store.percentiles(asked.clone(), EdgeSpec { span: month, p: 0.95 }).await?;
        assert_eq!(found, [Some((8_208.0, 8_640)), None]);
        let odd = Span { from_ms: MIDNIGHT_MS + 1, to_ms: MIDNIGHT_MS + 3 * 300_000 - 1 };
        let found = store.percentiles(asked.clone(), EdgeSpec { span: odd, p: 1.0 }).await?;
        assert_eq!(found, [Some((2.0, 1)), None]);
        upkeep(store, month.to_ms + 2 * HOUR_MS).await?;
    }
    Ok(())
}
