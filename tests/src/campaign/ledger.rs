//! What the agents said right after each sync, and between which lines they were killed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, OpenOptions},
    io::Write as _,
    ops::Bound,
    path::Path,
};

use anyhow::{Context, Result};

/// The line that the campaign writes into an agent's ledger between its kill and its next start.
const KILLED: &str = "killed";
/// How the line begins that an agent writes when it takes an acknowledgement.
const ACKED: &str = "acked ";

/// A record, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Lane.
    pub lane: u8,
    /// Random number of the lane's life: no two agents share one.
    pub epoch: u64,
    /// Number.
    pub seq: u64,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    hash: u64,
    run: usize,
}

/// What agents said, right after each sync.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The records of each lane and epoch.
    lanes: HashMap<(u8, u64), BTreeMap<u64, Line>>,
    /// First and last run of each epoch's agent. Run N ended with kill N, the last one goes on.
    runs: HashMap<u64, (usize, usize)>,
    next_run: usize,
    /// What the collector told the agents that it has: ranges of numbers of a lane and epoch.
    acked: BTreeSet<(u8, u64, u64, u64)>,
    /// Numbers that were made durable a second time, with another content.
    pub rewritten: usize,
    /// Lines that a kill cut.
    pub torn: usize,
}

/// Records that are in no ledger although their agent has one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// Those that a kill between the sync and the ledger's line explains.
    pub excused: usize,
    /// The others, sorted: sent before they were durable.
    pub premature: Vec<Key>,
}

impl Ledger {
    /// Adds the ledger of an agent.
    pub fn read(&mut self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("there is no ledger {}", path.display()))?;
        self.add_agent(&text);
        Ok(())
    }

    pub(super) fn add_agent(&mut self, text: &str) {
        let first = self.next_run;
        let mut epochs = BTreeSet::new();
        for line in text.lines() {
            if line == KILLED {
                self.next_run += 1;
            } else if line.starts_with(ACKED) {
                self.acked.extend(parse_acked(line).into_iter().flatten());
            } else if let Some((key, hash)) = parse(line) {
                epochs.insert(key.epoch);
                self.add(key, hash);
            } else if !line.is_empty() {
                self.torn += 1;
            }
        }
        self.runs.extend(epochs.into_iter().map(|epoch| (epoch, (first, self.next_run))));
        self.next_run += 1;
    }

    fn add(&mut self, key: Key, hash: u64) {
        let lane = self.lanes.entry((key.lane, key.epoch)).or_default();
        let line = lane.entry(key.seq).or_insert(Line { hash, run: self.next_run });
        self.rewritten += usize::from(line.hash != hash);
    }

    /// Whether this record was durable.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.lanes.get(&(key.lane, key.epoch)).is_some_and(|lane| lane.contains_key(&key.seq))
    }

    /// Whether an agent wrote of this epoch.
    #[must_use]
    pub fn knows(&self, epoch: u64) -> bool {
        self.runs.contains_key(&epoch)
    }

    /// Number of durable records.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lanes.values().map(BTreeMap::len).sum()
    }

    /// The durable records and their hashes, in no order.
    pub fn records(&self) -> impl Iterator<Item = (Key, u64)> {
        self.lanes.iter().flat_map(|(&(lane, epoch), records)| {
            records.iter().map(move |(&seq, line)| (Key { lane, epoch, seq }, line.hash))
        })
    }

    /// The durable records that the collector said it has, and that are not `there`, sorted.
    #[must_use]
    pub fn unkept(&self, there: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut unkept = BTreeSet::new();
        for &(lane, epoch, from, to) in &self.acked {
            let Some(records) = self.lanes.get(&(lane, epoch)) else { continue };
            let keys = records.range(from..=to).map(|(&seq, _)| Key { lane, epoch, seq });
            unkept.extend(keys.filter(|key| !there(key)));
        }
        unkept.into_iter().collect()
    }

    /// Judges the records among these that the ledger of their agent does not have.
    ///
    /// An agent writes a stretch of one lane, syncs it, tells the ledger and only then sends it: one
    /// kill can keep one such stretch of one lane out of the ledger, behind the last line before the
    /// kill and before the first one after it. So the lines around each stretch must be of different
    /// runs, and each stretch needs a kill between them that explains no other one.
    #[must_use]
    pub fn strays(&self, keys: impl IntoIterator<Item = Key>) -> Strays {
        // By the place among the lines: last kill that can be the reason, first, lane and epoch.
        let mut stretches: BTreeMap<(usize, usize, u8, u64), Vec<Key>> = BTreeMap::new();
        let none = BTreeMap::new();
        for key in keys {
            let Some(&(first, last)) = self.runs.get(&key.epoch) else { continue };
            if self.contains(&key) {
                continue;
            }
            let lane = self.lanes.get(&(key.lane, key.epoch)).unwrap_or(&none);
            let before = lane.range(..key.seq).next_back().map_or(first, |(_, line)| line.run);
            let behind = (Bound::Excluded(key.seq), Bound::Unbounded);
            let after = lane.range(behind).next().map_or(last, |(_, line)| line.run);
            stretches.entry((after, before, key.lane, key.epoch)).or_default().push(key);
        }
        let mut strays = Strays::default();
        let mut used = BTreeSet::new();
        // The stretch whose kills are over first takes the first free one: none does better.
        for ((after, before, ..), mut keys) in stretches {
            match (before..after).find(|kill| !used.contains(kill)) {
                Some(kill) => {
                    used.insert(kill);
                    strays.excused += keys.len();
                }
                None => strays.premature.append(&mut keys),
            }
        }
        strays.premature.sort_unstable();
        strays
    }
}

/// Tells the ledger of an agent that is not running that it was killed.
pub fn mark_kill(path: &Path) -> Result<()> {
    let told = OpenOptions::new().append(true).open(path).and_then(|mut file| {
        // A line that the kill cut ends here.
        file.write_all(format!("\n{KILLED}\n").as_bytes())
    });
    told.with_context(|| format!("cannot write to the ledger {}", path.display()))
}

/// `lane epoch seq hash kind`, epoch and hash in 16 hexadecimal digits.
fn parse(line: &str) -> Option<(Key, u64)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [lane, epoch, seq, hash, kind] = words[..] else { return None };
    if epoch.len() != 16 || hash.len() != 16 || kind.parse::<u8>().is_err() {
        return None;
    }
    let key = Key {
        lane: lane.parse().ok()?,
        epoch: u64::from_str_radix(epoch, 16).ok()?,
        seq: seq.parse().ok()?,
    };
    Some((key, u64::from_str_radix(hash, 16).ok()?))
}

/// `acked lane epoch contig from-to,from-to .`; `None` for a line that a kill cut.
fn parse_acked(line: &str) -> Option<Vec<(u8, u64, u64, u64)>> {
    let words: Vec<&str> = line.split(' ').collect();
    let [_, lane, epoch, contig, above, "."] = words[..] else { return None };
    let lane = lane.parse().ok()?;
    let epoch = u64::from_str_radix(epoch, 16).ok()?;
    let mut acked = vec![(lane, epoch, 0, contig.parse().ok()?)];
    for range in above.split(',').filter(|range| !range.is_empty()) {
        let (from, to) = range.split_once('-')?;
        acked.push((lane, epoch, from.parse().ok()?, to.parse().ok()?));
    }
    acked.iter().all(|(_, _, from, to)| from <= to).then_some(acked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(lane: u8, seq: u64) -> Key {
        Key { lane, epoch: 9, seq }
    }

    /// Two runs and a third that goes on: samples 1-3, 6-7 and 8; events 1, 2 and 4.
    fn ledger() -> Ledger {
        let line = |lane, seq| format!("{lane} {:016x} {seq} {:016x} 1\n", 9, 77);
        let runs = [
            [line(1, 1), line(1, 2), line(1, 3), line(0, 1)].concat(),
            [line(0, 2), line(1, 6), line(1, 7)].concat(),
            [line(0, 4), line(1, 8)].concat(),
        ];
        let mut ledger = Ledger::default();
        // Another agent, killed more often, explains nothing of this one.
        ledger.add_agent(&format!("1 {:016x} 1 {:016x} 1\nkilled\nkilled\nkilled\n", 8, 1));
        ledger.add_agent(&runs.join("\nkilled\n"));
        ledger
    }

    fn judged(keys: &[Key]) -> (usize, Vec<Key>) {
        let Strays { excused, premature } = ledger().strays(keys.iter().copied());
        (excused, premature)
    }

    #[test]
    fn a_kill_explains_one_stretch_right_before_the_next_start() {
        assert_eq!(judged(&[key(1, 3), key(0, 4)]), (0, vec![]), "these are in the ledger");
        assert_eq!(judged(&[key(1, 4), key(1, 5)]), (2, vec![]));
        assert_eq!(judged(&[key(0, 3)]), (1, vec![]));
        assert_eq!(judged(&[key(1, 5), key(0, 3)]), (2, vec![]), "a kill for each of them");
        let unknown = Key { epoch: 7, ..key(1, 1) };
        assert_eq!(judged(&[unknown]), (0, vec![]), "of no agent at all: another harm");
    }

    #[test]
    fn what_no_kill_explains_was_sent_before_it_was_durable() {
        assert_eq!(judged(&[key(1, 9)]), (0, vec![key(1, 9)]), "the last run goes on");
        assert_eq!(judged(&[key(0, 5)]), (0, vec![key(0, 5)]));
        assert_eq!(judged(&[key(1, 0)]), (0, vec![key(1, 0)]), "before the first line of a run");

        let within = |first: u64, second: u64, third: u64| {
            let line = |seq| format!("1 {:016x} {seq} {:016x} 1\n", 9, 77);
            let mut ledger = Ledger::default();
            let (one, two, three) = (line(first), line(second), line(third));
            ledger.add_agent(&format!("{one}{two}\nkilled\n{three}"));
            ledger.strays([key(1, 2)])
        };
        assert_eq!(within(1, 3, 4).premature, [key(1, 2)], "both neighbours are of one run");
        assert_eq!(within(0, 1, 3).excused, 1);
    }

    #[test]
    fn a_kill_explains_no_second_lane() {
        let line = |lane, seq| format!("{lane} {:016x} {seq} {:016x} 1\n", 9, 77);
        let before = [line(0, 1), line(1, 1)].concat();
        let after = [line(0, 3), line(1, 3)].concat();
        let mut once = Ledger::default();
        once.add_agent(&format!("{before}\nkilled\n{after}"));
        let both = [key(0, 2), key(1, 2)];
        assert_eq!(once.strays(both), Strays { excused: 1, premature: vec![key(1, 2)] });
        let mut twice = Ledger::default();
        twice.add_agent(&format!("{before}\nkilled\n\nkilled\n{after}"));
        assert_eq!(twice.strays(both), Strays { excused: 2, premature: vec![] });
    }

    #[test]
    fn a_kill_is_marked_behind_a_torn_line_and_keeps_the_next_one_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let line = |seq| format!("1 {:016x} {seq} {:016x} 1\n", 9, 77);
        fs::write(&path, format!("{}{}", line(1), &line(2)[..9])).unwrap();
        let mut running = Ledger::default();
        running.read(&path).unwrap();
        assert_eq!(running.strays([key(1, 2)]).premature, [key(1, 2)], "not sent by that run");
        mark_kill(&path).unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + &line(3)).unwrap();
        let mut ledger = Ledger::default();
        ledger.read(&path).unwrap();
        assert_eq!((ledger.count(), ledger.torn, ledger.rewritten), (2, 1, 0));
        assert!(ledger.contains(&key(1, 3)));
        assert_eq!(ledger.strays([key(1, 2)]), Strays { excused: 1, premature: vec![] });
        assert!(mark_kill(&directory.path().join("none")).is_err());
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_unkept() {
        let mut ledger = ledger();
        let acked = format!("acked 1 {:016x} 2 6-7,8-8 .", 9);
        ledger.add_agent(&acked);
        assert_eq!(ledger.torn, 0);
        let kept = [1, 2, 6, 8].map(|seq| key(1, seq));
        assert_eq!(ledger.unkept(|key| kept.contains(key)), [key(1, 7)]);
        assert_eq!(ledger.unkept(|_| true), []);
        let nothing = |ledger: &Ledger| ledger.unkept(|_| false).len();
        assert_eq!(nothing(&ledger), 5, "3 was never acknowledged");
        let mut torn = Ledger::default();
        (1..acked.len()).for_each(|end| torn.add_agent(&acked[..end]));
        torn.add_agent(&format!("1 {:016x} 1 {:016x} 1\n", 9, 77));
        assert_eq!(nothing(&torn), 0, "a line that a kill cut says nothing");
    }

    #[test]
    fn torn_lines_are_no_records() {
        let whole = "1 00000000000000ab 12 00000000000000cd 1";
        assert_eq!(parse(whole), Some((Key { lane: 1, epoch: 0xab, seq: 12 }, 0xcd)));
        assert!((0..whole.len()).all(|end| parse(&whole[..end]).is_none()));
        assert_eq!(parse(&format!("1 00000000000000ab 1{whole}")), None);
    }
}
