//! `conformance RECORDINGS ADDRESS`: asks recorded devices, as a simulator serves them, and compares
//! what the SNMP probe learns with what the recordings hold.
//!
//! A recording is partial by nature: a device without `ifTable` must still be asked without harm.

#![expect(clippy::print_stdout, reason = "a check prints its findings")]

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use agent::{
    plan::{Column, Metric, Secret},
    probe::{Probe as _, snmp::SnmpProbe},
};
use anyhow::{Context as _, Result, ensure};
use proto::v1::{SnmpInventory, event::Event};

/// Time for one try: the simulator is slow on large tables.
const TRY: Duration = Duration::from_secs(5);
/// Longest round of one device.
const ROUND: Duration = Duration::from_secs(90);
/// `ifEntry` and `ifXEntry`.
const TABLES: [&str; 2] = ["1.3.6.1.2.1.2.2.1.", "1.3.6.1.2.1.31.1.1.1."];
/// Columns that say of an interface what an inventory keeps: type, speed, states.
const ROWS: [&str; 5] = [
    "1.3.6.1.2.1.2.2.1.3.",
    "1.3.6.1.2.1.2.2.1.5.",
    "1.3.6.1.2.1.2.2.1.7.",
    "1.3.6.1.2.1.2.2.1.8.",
    "1.3.6.1.2.1.31.1.1.1.15.",
];
const SYS_UP_TIME: &str = "1.3.6.1.2.1.1.3.0";

/// What a recording holds of the system and its interfaces.
struct Recording {
    community: String,
    /// Indexes with a figure that an inventory keeps.
    rows: BTreeSet<u32>,
    /// Every index of either table.
    known: BTreeSet<u32>,
    has_up_time: bool,
}

impl Recording {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let community = path.file_stem().context("a file without a name")?.to_string_lossy();
        let mut recording = Self {
            community: community.into_owned(),
            rows: BTreeSet::new(),
            known: BTreeSet::new(),
            has_up_time: false,
        };
        for line in text.lines() {
            let Some((name, _)) = line.split_once('|') else { continue };
            recording.has_up_time |= name == SYS_UP_TIME;
            let index = |prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
            let of_table = |table: &str| {
                let (_, index) = name.strip_prefix(table)?.split_once('.')?;
                index.parse::<u32>().ok()
            };
            recording.rows.extend(ROWS.iter().find_map(|prefix| index(prefix)));
            recording.known.extend(TABLES.iter().find_map(|table| of_table(table)));
        }
        Ok(recording)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let (directory, address) =
        words.next().zip(words.next()).context("conformance RECORDINGS ADDRESS")?;
    let address: SocketAddr = address.parse().context("ADDRESS is no IP:port")?;
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .with_context(|| format!("cannot list {directory}"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    // `name@vlan` files are views of one device, without interfaces of their own.
    paths.retain(|path| {
        path.extension().is_some_and(|kind| kind == "snmprec")
            && !path.to_string_lossy().contains('@')
    });
    ensure!(!paths.is_empty(), "no recordings in {directory}");
    let (mut good, mut bad, mut rows) = (0, 0, 0);
    for path in &paths {
        let recording = Recording::read(path)?;
        match ask(&recording, address).await {
            Ok(count) => {
                good += 1;
                rows += count;
                println!("  ok    {:<32} {count:>5} interfaces", recording.community);
            }
            Err(error) => {
                bad += 1;
                println!("  FAIL  {:<32} {error:#}", recording.community);
            }
        }
    }
    println!("{rows} interfaces of {good} devices as recorded\n{good} passed, {bad} failed");
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks one device; the number of its interfaces.
async fn ask(recording: &Recording, address: SocketAddr) -> Result<usize> {
    let columns = [Metric::SnmpOutcome, Metric::SysUpTime].map(|metric| Column {
        target: 0,
        metric,
        instance: 0,
        label: String::new(),
    });
    let community = Secret(recording.community.clone());
    let mut probe = SnmpProbe::new(1, address, community, 0, TRY, columns.to_vec());
    let round = tokio::time::timeout(ROUND, probe.round()).await.context("the round has no end")?;
    let round = round.context("cannot ask")?;
    let up_time = round.cells[1];
    ensure!(
        up_time.is_some() == recording.has_up_time,
        "sysUpTime {up_time:?}, outcome {:?}",
        round.cells[0]
    );
    let inventory = round.events.iter().find_map(|event| match event {
        Event::SnmpInventory(inventory) => Some(inventory),
        Event::Gap(_)
        | Event::Loss(_)
        | Event::ClockStep(_)
        | Event::Surroundings(_)
        | Event::Started(_)
        | Event::Stopped(_)
        | Event::HostInventory(_)
        | Event::Interception(_) => None,
    });
    let inventory = inventory.with_context(|| format!("no inventory, {:?}", round.cells))?;
    compare(recording, inventory)
}

fn compare(recording: &Recording, inventory: &SnmpInventory) -> Result<usize> {
    let learnt: BTreeSet<u32> = inventory.interfaces.iter().map(|of| of.if_index).collect();
    let missing: Vec<_> = recording.rows.difference(&learnt).take(5).collect();
    ensure!(missing.is_empty(), "interfaces not learnt: {missing:?}");
    let invented: Vec<_> = learnt.difference(&recording.known).take(5).collect();
    ensure!(invented.is_empty(), "interfaces that the device does not have: {invented:?}");
    ensure!(!inventory.truncated, "the inventory is called truncated");
    Ok(learnt.len())
}
