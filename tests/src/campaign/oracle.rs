//! The judgement: what became durable at the agents, against what the collector holds.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use proto::v1::Metric;
use rusqlite::{Connection, OpenFlags};

use super::{
    holes::{Hole, Rounds},
    ledger::{Key, Ledger},
    readings::{Filed, METRICS, Readings, Series},
};

/// Bits of a sequence number in a key of the table `head`, as its migration says.
const SEQ_BITS: u32 = 34;
/// Longest wait for the collector's own locks.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the collector holds.
#[derive(Debug, Default)]
pub struct Committed {
    hashes: HashMap<Key, u64>,
    /// Lane, epoch, first and last number of each stretch that was declared lost.
    holes: Vec<(u8, u64, u64, u64)>,
    values: Vec<Filed>,
    rounds: Rounds,
    /// Readings in series of another site than their agent's.
    misfiled: usize,
    samples: u64,
    rejected: u64,
    conflicts: u64,
    unreadable: usize,
}

impl Committed {
    /// Number of records.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hashes.len()
    }

    /// Values of the counters under watch, in no order.
    #[must_use]
    pub fn values(&self) -> &[Filed] {
        &self.values
    }

    fn explains(&self, key: &Key) -> bool {
        self.holes.iter().any(|(lane, epoch, from, to)| {
            (*lane, *epoch) == (key.lane, key.epoch) && (*from..=*to).contains(&key.seq)
        })
    }
}

fn open(database: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)
        .with_context(|| format!("cannot open {}", database.display()))?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Lane and epoch of each lane of the database.
fn lanes(read: &Connection) -> Result<HashMap<i64, (u8, u64)>> {
    let mut lanes = HashMap::new();
    let mut statement = read.prepare("SELECT id, lane, epoch FROM lane")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        lanes.insert(row.get(0)?, (row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()));
    }
    Ok(lanes)
}

fn key(packed: i64, lanes: &HashMap<i64, (u8, u64)>) -> Result<Key> {
    let lane = lanes.get(&(packed >> SEQ_BITS)).copied();
    let (lane, epoch) = lane.context("a record of no lane")?;
    Ok(Key { lane, epoch, seq: packed.cast_unsigned() & ((1 << SEQ_BITS) - 1) })
}

/// Records that the collector has of an agent which is dead, and that no earlier kill explains: it
/// sent them before they were durable.
pub fn premature(ledger: &Path, database: &Path) -> Result<Vec<Key>> {
    let mut connection = open(database)?;
    let read = connection.transaction()?;
    let lanes = lanes(&read)?;
    let mut statement = read.prepare("SELECT key FROM head")?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(key(row.get(0)?, &lanes)?);
    }
    let mut said = Ledger::default();
    said.read(ledger)?;
    Ok(said.strays(keys).premature)
}

/// Durable records that the collector acknowledged and, now that it is dead, does not have: it did
/// so before they were committed.
pub fn unkept<'a>(
    ledgers: impl IntoIterator<Item = &'a Path>,
    database: &Path,
) -> Result<Vec<Key>> {
    // First: whatever an agent was told by now, the dead one must have.
    let mut said = Ledger::default();
    for ledger in ledgers {
        said.read(ledger)?;
    }
    let mut connection = open(database)?;
    let read = connection.transaction()?;
    let lanes = lanes(&read)?;
    let mut there = HashSet::new();
    let mut statement = read.prepare("SELECT key FROM head")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        there.insert(key(row.get(0)?, &lanes)?);
    }
    let holes = Committed { holes: holes(&read, &lanes)?, ..Committed::default() };
    Ok(said.unkept(|key| there.contains(key) || holes.explains(key)))
}

/// Lane, epoch, first and last number of each stretch that was declared lost.
fn holes(read: &Connection, lanes: &HashMap<i64, (u8, u64)>) -> Result<Vec<(u8, u64, u64, u64)>> {
    let mut holes = Vec::new();
    let mut statement = read.prepare("SELECT lane_id, seq_from, seq_to FROM seq_hole")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (lane, epoch) = lanes.get(&row.get(0)?).copied().context("a hole in no lane")?;
        let (from, to): (i64, i64) = (row.get(1)?, row.get(2)?);
        holes.push((lane, epoch, from.cast_unsigned(), to.cast_unsigned()));
    }
    Ok(holes)
}

/// Reads the collector's database, beside the collector.
pub fn committed(database: &Path) -> Result<Committed> {
    let mut connection = open(database)?;
    // One snapshot for all questions.
    let read = connection.transaction()?;
    let packed: i64 = read.query_row("SELECT count(*) FROM seen_pack", [], |row| row.get(0))?;
    ensure!(packed == 0, "a day was compacted meanwhile: its records left the head, unjudged");

    let lanes = lanes(&read)?;
    let homes = homes(&read)?;
    let watched = watched_columns(&read)?;
    let mut held = Committed { rounds: Rounds::read(&read)?, ..Committed::default() };
    let mut statement =
        read.prepare("SELECT key, hash, grp, layout, items, payload, site, t_ms FROM head")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (packed, hash): (i64, i64) = (row.get(0)?, row.get(1)?);
        held.hashes.insert(key(packed, &lanes)?, hash.cast_unsigned());
        let group: Option<i64> = row.get(2)?;
        let layout: Option<i64> = row.get(3)?;
        let Some(place) = group.zip(layout) else { continue };
        held.samples += row.get::<_, i64>(4)?.cast_unsigned();
        let Some(columns) = watched.get(&place) else { continue };
        let payload: Vec<u8> = row.get(5)?;
        let Ok(record) = proto::samples::decode(&payload) else {
            held.unreadable += 1;
            continue;
        };
        let times = record.times_ms.len();
        for time in &record.times_ms {
            held.rounds.add(row.get(6)?, place.0, row.get::<_, i64>(7)? + time);
        }
        let home = *homes.get(&(packed >> SEQ_BITS)).context("a lane of no agent")?;
        for (column, site, series) in columns {
            let cells = record.cells.get(column * times..(column + 1) * times);
            let cells = cells.context("a record narrower than its layout")?;
            let values = cells.iter().flatten();
            if home != *site || home != row.get::<_, i64>(6)? {
                held.misfiled += values.count();
                continue;
            }
            held.values.extend(values.map(|&value| Filed { value, series: Arc::clone(series) }));
        }
    }
    held.holes = holes(&read, &lanes)?;
    let count = |table: &str| -> rusqlite::Result<u64> {
        let count: i64 =
            read.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    };
    held.rejected = count("rejected_record")?;
    held.conflicts = count("conflict_record")?;
    Ok(held)
}

/// The site of the agent of each lane.
fn homes(read: &Connection) -> Result<HashMap<i64, i64>> {
    let query = "SELECT lane.id, agent.site FROM lane JOIN agent ON agent.no = lane.agent_no";
    let mut statement = read.prepare(query)?;
    let homes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(homes.collect::<rusqlite::Result<_>>()?)
}

/// A column of a layout whose values are readings: its position, the site and what it is of.
type Column = (usize, i64, Arc<Series>);

/// For each layout of each group, the columns whose values are readings.
fn watched_columns(read: &Connection) -> Result<BTreeMap<(i64, i64), Vec<Column>>> {
    let mut watched_series = HashMap::new();
    // A series has the site of its target, or its readings are nowhere.
    let mut statement = read.prepare(
        "SELECT series.id, series.metric, series.instance, series.site, site.uai, target.address
        FROM series
        LEFT JOIN target ON target.id = series.target AND target.site = series.site
        LEFT JOIN site ON site.id = target.site",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let metric = Metric::try_from(row.get::<_, i32>(1)?).unwrap_or(Metric::Unspecified);
        if METRICS.contains(&metric) {
            let series = Series {
                site: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
                address: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                metric,
                instance: row.get(2)?,
            };
            watched_series.insert(row.get::<_, i64>(0)?, (row.get(3)?, Arc::new(series)));
        }
    }
    let mut watched = BTreeMap::new();
    let mut statement = read.prepare("SELECT grp, layout, columns FROM layout")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let columns: Vec<u8> = row.get(2)?;
        let (ids, rest) = columns.as_chunks::<8>();
        ensure!(rest.is_empty(), "a layout of {} bytes", columns.len());
        let columns = ids.iter().enumerate().filter_map(|(at, id)| {
            let (site, series) = watched_series.get(&i64::from_le_bytes(*id))?;
            Some((at, *site, Arc::clone(series)))
        });
        watched.insert((row.get(0)?, row.get(1)?), columns.collect());
    }
    Ok(watched)
}

/// What is wrong, if anything is.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Durable records.
    pub spooled: usize,
    /// Committed records.
    pub committed: usize,
    /// Committed samples.
    pub samples: u64,
    /// Readings among them.
    pub readings: usize,
    /// Durable, neither committed nor declared lost.
    pub lost: Vec<Key>,
    /// Durable and declared lost.
    pub declared: usize,
    /// Readings that were committed more than once.
    pub duplicates: usize,
    /// Committed values that nobody measured where they are filed, and records under a number with
    /// another content.
    pub phantoms: usize,
    /// Records that were durable before the kill that kept them out of the ledger.
    pub unwritten: usize,
    /// Records that no kill kept out of the ledger: sent before they were durable.
    pub premature: Vec<Key>,
    /// Records that the collector acknowledged before they were committed.
    pub unkept: Vec<Key>,
    /// Stretches without rounds that nobody declared.
    pub holes: Vec<Hole>,
    /// Lines of ledgers that a kill cut.
    pub torn_lines: usize,
    /// Records that the collector refused.
    pub rejected: u64,
    /// Records that it found under a number with another content.
    pub conflicts: u64,
}

impl Verdict {
    /// 0 lost, 0 twice, 0 never measured, 0 sent or acknowledged too early, 0 rounds missing without a
    /// gap, and something to judge.
    /// Nor anything declared lost: no disk of a campaign is full or damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.duplicates == 0
            && self.phantoms == 0
            && self.premature.is_empty()
            && self.unkept.is_empty()
            && self.holes.is_empty()
            && self.declared == 0
            && self.rejected == 0
            && self.conflicts == 0
            && self.readings > 0
    }
}

/// Compares what was durable with what is held.
#[must_use]
pub fn judge(spooled: &Ledger, held: &Committed, readings: &Readings) -> Verdict {
    let mut verdict = Verdict {
        spooled: spooled.count(),
        committed: held.hashes.len(),
        samples: held.samples,
        readings: held.values.len(),
        phantoms: held.unreadable + held.misfiled + spooled.rewritten,
        rejected: held.rejected,
        conflicts: held.conflicts,
        holes: held.rounds.holes(),
        ..Verdict::default()
    };
    for (key, hash) in spooled.records() {
        match held.hashes.get(&key) {
            Some(known) if *known == hash => {}
            Some(_) => verdict.phantoms += 1,
            None if held.explains(&key) => verdict.declared += 1,
            None => verdict.lost.push(key),
        }
    }
    verdict.lost.sort_unstable();
    verdict.phantoms += held.hashes.keys().filter(|key| !spooled.knows(key.epoch)).count();
    let strays = spooled.strays(held.hashes.keys().copied());
    (verdict.unwritten, verdict.premature) = (strays.excused, strays.premature);
    let mut seen = HashSet::with_capacity(held.values.len());
    for filed in &held.values {
        verdict.duplicates += usize::from(!seen.insert(filed.value));
        verdict.phantoms += usize::from(!readings.is_genuine(filed));
    }
    verdict
}

/// Asks the database itself.
pub fn check_integrity(database: &Path) -> Result<()> {
    let answer: String =
        open(database)?.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(answer == "ok", "the database is damaged: {answer}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::snmp_responder::Question;

    const KEY: Key = Key { lane: 1, epoch: 9, seq: 4 };

    fn line(key: Key, hash: u64) -> String {
        format!("{} {:016x} {} {hash:016x} 1\n", key.lane, key.epoch, key.seq)
    }

    fn said(text: &str) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.add_agent(text);
        ledger
    }

    fn ledger() -> Ledger {
        said(&line(KEY, 77))
    }

    fn readings() -> Readings {
        let address = ([127, 0, 0, 1], 161).into();
        Readings::default().placed([("0690001A".to_owned(), address)])
    }

    fn reading(readings: &Readings) -> Filed {
        let (metric, at) = (Metric::IfHcInOctets, SystemTime::now());
        let value = readings.values()(Question { device: 0, metric, if_index: 1, at });
        let (site, address) = ("0690001A".to_owned(), "127.0.0.1:161".to_owned());
        let series = Arc::new(Series { site, address, metric, instance: 1 });
        Filed { value: i64::try_from(value).unwrap(), series }
    }

    /// The oracle is only worth what it catches.
    #[test]
    fn each_kind_of_harm_is_seen() {
        let readings = readings();
        let value = reading(&readings);
        let clean = || Committed {
            hashes: HashMap::from([(KEY, 77)]),
            values: vec![value.clone()],
            ..Committed::default()
        };
        assert!(judge(&ledger(), &clean(), &readings).is_clean());

        let lost = || Committed { hashes: HashMap::new(), ..clean() };
        assert_eq!(judge(&ledger(), &lost(), &readings).lost, [KEY]);
        let declared = Committed { holes: vec![(1, 9, 1, 4)], ..lost() };
        let verdict = judge(&ledger(), &declared, &readings);
        assert_eq!((verdict.declared, verdict.lost.len(), verdict.is_clean()), (1, 0, false));
        let elsewhere = vec![(0, 9, 1, 4), (1, 8, 1, 4), (1, 9, 5, 9)];
        let elsewhere = Committed { holes: elsewhere, ..lost() };
        assert_eq!(judge(&ledger(), &elsewhere, &readings).lost, [KEY]);

        let twice = Committed { values: vec![value.clone(), value.clone()], ..clean() };
        assert_eq!(judge(&ledger(), &twice, &readings).duplicates, 1);
        let never = Filed { value: value.value + 1, ..value.clone() };
        let never = Committed { values: vec![value.clone(), never], ..clean() };
        assert_eq!(judge(&ledger(), &never, &readings).phantoms, 1);
        let second = Series { instance: 2, ..Series::clone(&value.series) };
        let beside = Filed { series: Arc::new(second), ..value.clone() };
        let beside = Committed { values: vec![beside], ..clean() };
        assert_eq!(judge(&ledger(), &beside, &readings).phantoms, 1);
        let abroad = Committed { misfiled: 1, ..clean() };
        assert_eq!(judge(&ledger(), &abroad, &readings).phantoms, 1);
        let other = Committed { hashes: HashMap::from([(KEY, 78)]), ..clean() };
        assert_eq!(judge(&ledger(), &other, &readings).phantoms, 1);
        let stranger = Key { epoch: 10, ..KEY };
        let strange = Committed { hashes: HashMap::from([(KEY, 77), (stranger, 1)]), ..clean() };
        assert_eq!(judge(&ledger(), &strange, &readings).phantoms, 1);
        let nothing = Committed { values: Vec::new(), ..clean() };
        assert!(!judge(&ledger(), &nothing, &readings).is_clean(), "nothing to judge is no proof");
        let refused = Committed { rejected: 1, ..clean() };
        assert!(!judge(&ledger(), &refused, &readings).is_clean());
        let rewritten = said(&(line(KEY, 77) + &line(KEY, 78)));
        assert!(!judge(&rewritten, &clean(), &readings).is_clean());

        let early = Key { seq: 5, ..KEY };
        let hashes = HashMap::from([(KEY, 77), (early, 1)]);
        let sent = Committed { hashes, ..clean() };
        let verdict = judge(&ledger(), &sent, &readings);
        assert_eq!((verdict.is_clean(), verdict.premature), (false, vec![early]));
        let killed = said(&(line(KEY, 77) + "\nkilled\n"));
        let verdict = judge(&killed, &sent, &readings);
        assert_eq!((verdict.is_clean(), verdict.unwritten), (true, 1));
    }

    /// What the collector has while the agent is dead was sent by the run that was killed.
    #[test]
    fn a_record_of_a_dead_agent_that_is_not_in_its_ledger_was_sent_too_early() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, database) =
            (directory.path().join("ledger"), directory.path().join("vigie.db"));
        let first = 3_i64 << SEQ_BITS;
        let collector = Connection::open(&database).unwrap();
        collector
            .execute_batch(&format!(
                "CREATE TABLE lane (id INTEGER, lane INTEGER, epoch INTEGER);
                CREATE TABLE head (key INTEGER);
                CREATE TABLE seq_hole (lane_id INTEGER, seq_from INTEGER, seq_to INTEGER);
                INSERT INTO lane VALUES (3, 1, 9);
                INSERT INTO head VALUES ({}), ({});",
                first + 4,
                first + 5,
            ))
            .unwrap();
        let early = Key { seq: 5, ..KEY };
        std::fs::write(&ledger, line(KEY, 77)).unwrap();
        assert_eq!(premature(&ledger, &database).unwrap(), [early]);
        std::fs::write(&ledger, line(KEY, 77) + &line(early, 1)).unwrap();
        assert_eq!(premature(&ledger, &database).unwrap(), []);

        let acked = |upto: u64| format!("acked 1 {:016x} {upto}  .\n", 9);
        let later = Key { seq: 6, ..KEY };
        let durable = line(KEY, 77) + &line(early, 1) + &line(later, 2);
        std::fs::write(&ledger, durable.clone() + &acked(5)).unwrap();
        assert_eq!(unkept([&*ledger], &database).unwrap(), []);
        std::fs::write(&ledger, durable + &acked(6)).unwrap();
        assert_eq!(unkept([&*ledger], &database).unwrap(), [later]);
        collector.execute_batch("INSERT INTO seq_hole VALUES (3, 6, 9)").unwrap();
        assert_eq!(unkept([&*ledger], &database).unwrap(), []);
    }
}
