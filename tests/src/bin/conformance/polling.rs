//! What the SNMP probe polls of a recorded device: the interfaces, the width of their counters, and the
//! counters of 32 bits of those that have no wider ones.
//!
//! A recording is partial by nature: a device without `ifTable` must still be asked without harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use agent::{
    plan::{Column, Metric, Secret},
    probe::{Probe as _, Round, snmp::SnmpProbe},
};
use anyhow::{Context as _, Result, ensure};
use e2e::snmp_responder::column;
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
/// Counters of 32 bits and what they are polled as.
const NARROW: [(Metric, &str); 4] = [
    (Metric::IfInOctets, "1.3.6.1.2.1.2.2.1.10."),
    (Metric::IfInUcastPkts, "1.3.6.1.2.1.2.2.1.11."),
    (Metric::IfOutOctets, "1.3.6.1.2.1.2.2.1.16."),
    (Metric::IfOutUcastPkts, "1.3.6.1.2.1.2.2.1.17."),
];
/// `ifHCInOctets` and `ifHCInUcastPkts`.
const WIDE: [&str; 2] = ["1.3.6.1.2.1.31.1.1.1.6.", "1.3.6.1.2.1.31.1.1.1.7."];
/// How a recording calls the types Counter32 and Counter64.
const COUNTER32: &str = "65";
const COUNTER64: &str = "70";
const SYS_UP_TIME: &str = "1.3.6.1.2.1.1.3.0";

/// What a recording holds of the system and its interfaces.
struct Recording {
    community: String,
    /// Indexes with a figure that an inventory keeps.
    rows: BTreeSet<u32>,
    /// Every index of either table.
    known: BTreeSet<u32>,
    has_up_time: bool,
    /// Counters of 32 bits by metric and index.
    narrow: BTreeMap<(i32, u32), i64>,
    /// Indexes with counters of 64 bits of octets, and of packets.
    wide: [BTreeSet<u32>; 2],
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
            narrow: BTreeMap::new(),
            wide: [BTreeSet::new(), BTreeSet::new()],
        };
        for line in text.lines() {
            let Some((name, rest)) = line.split_once('|') else { continue };
            recording.has_up_time |= name == SYS_UP_TIME;
            let index = |prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
            let of_table = |table: &str| {
                let (_, index) = name.strip_prefix(table)?.split_once('.')?;
                index.parse::<u32>().ok()
            };
            recording.rows.extend(ROWS.iter().find_map(|prefix| index(prefix)));
            let typed = rest.split_once('|');
            if let Some((COUNTER32, value)) = typed {
                let of = NARROW.iter().find_map(|(of, prefix)| Some((*of, index(prefix)?)));
                if let Some((metric, index)) = of {
                    let value = value.parse().with_context(|| line.to_owned())?;
                    recording.narrow.insert((metric as i32, index), value);
                }
            } else if let Some((COUNTER64, _)) = typed {
                for (wide, prefix) in recording.wide.iter_mut().zip(WIDE) {
                    wide.extend(index(prefix));
                }
            }
            recording.known.extend(TABLES.iter().find_map(|table| of_table(table)));
        }
        Ok(recording)
    }
}

/// Polls every device, one after the other; true when all went well.
pub(crate) async fn check(paths: &[PathBuf], address: SocketAddr) -> Result<bool> {
    let (mut good, mut bad, mut rows, mut narrow) = (0, 0, 0, 0);
    for path in paths {
        let recording = Recording::read(path)?;
        match ask(&recording, address).await {
            Ok((count, counters)) => {
                good += 1;
                rows += count;
                narrow += counters;
                println!(
                    "  ok    {:<32} {count:>5} interfaces, {counters:>3} counters of 32 bits",
                    recording.community
                );
            }
            Err(error) => {
                bad += 1;
                println!("  FAIL  {:<32} {error:#}", recording.community);
            }
        }
    }
    println!("{rows} interfaces of {good} devices and {narrow} counters of 32 bits as recorded");
    println!("{good} polled, {bad} failed");
    Ok(bad == 0)
}

/// One round of a probe with these columns.
async fn poll(recording: &Recording, address: SocketAddr, columns: Vec<Column>) -> Result<Round> {
    let community = Secret(recording.community.clone());
    let mut probe = SnmpProbe::new(1, address, community, 0, TRY, columns);
    let round = tokio::time::timeout(ROUND, probe.round()).await.context("the round has no end")?;
    round.context("cannot ask")
}

/// Asks one device; the numbers of its interfaces and of its counters of 32 bits.
async fn ask(recording: &Recording, address: SocketAddr) -> Result<(usize, usize)> {
    let columns = [Metric::SnmpOutcome, Metric::SysUpTime].map(|metric| column(metric, 0));
    let round = poll(recording, address, columns.to_vec()).await?;
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
        | Event::Interception(_)
        | Event::Sighting(_)
        | Event::DiscoveryRound(_) => None,
    });
    let inventory = inventory.with_context(|| format!("no inventory, {:?}", round.cells))?;
    let interfaces = compare(recording, inventory)?;
    Ok((interfaces, narrow_counters(recording, inventory, address).await?))
}

/// Polls the counters of 32 bits of the interfaces that have no wider ones; how many there were.
async fn narrow_counters(
    recording: &Recording,
    inventory: &SnmpInventory,
    address: SocketAddr,
) -> Result<usize> {
    let mut columns = Vec::new();
    for interface in &inventory.interfaces {
        let index = interface.if_index;
        let recorded = |metric: Metric| recording.narrow.contains_key(&(metric as i32, index));
        let bits = |wide: usize, narrow| match () {
            () if recording.wide[wide].contains(&index) => 64,
            () if recorded(narrow) => 32,
            () => 0,
        };
        let widths = (bits(0, Metric::IfInOctets), bits(1, Metric::IfInUcastPkts));
        let told = (interface.octet_bits, interface.packet_bits);
        ensure!(told == widths, "interface {index}: counters of {told:?} bits, not {widths:?}");
        let octets = [Metric::IfInOctets, Metric::IfOutOctets].into_iter();
        let packets = [Metric::IfInUcastPkts, Metric::IfOutUcastPkts].into_iter();
        let of = octets.filter(|_| told.0 == 32).chain(packets.filter(|_| told.1 == 32));
        columns.extend(of.map(|metric| column(metric, index)));
    }
    let round = poll(recording, address, columns.clone()).await?;
    let mut counters = 0;
    for (column, cell) in columns.iter().zip(round.cells) {
        let (metric, index) = (column.metric, column.instance);
        let recorded = recording.narrow.get(&(metric as i32, index)).copied();
        ensure!(cell == recorded, "{metric:?}.{index} is {cell:?}, not {recorded:?}");
        counters += usize::from(cell.is_some());
    }
    Ok(counters)
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
