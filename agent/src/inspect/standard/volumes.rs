//! Memory and disks: HOST-RESOURCES-MIB (RFC 2790), else UCD-SNMP-MIB.

use std::collections::HashMap;

use super::super::mib::{Name, Read};
use crate::{
    device::{Memory, MemoryClass, Storage},
    snmp::tables::Tables,
};

/// Most pools and volumes of one device.
const MAX_VOLUMES: usize = 1024;
/// Mounts of one size and use from which on they are one volume seen several times.
const BIND_MOUNTS: usize = 3;

/// `KBytes` of main memory.
const HR_MEMORY_SIZE: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 2, 2]);
const HR_STORAGE: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 2, 3, 1]);
const TYPE: Name = HR_STORAGE.child(2);
const DESCR: Name = HR_STORAGE.child(3);
const UNITS: Name = HR_STORAGE.child(4);
const SIZE: Name = HR_STORAGE.child(5);
const USED: Name = HR_STORAGE.child(6);
/// hrStorageTypes; the type's number follows.
const STORAGE_TYPES: [u32; 9] = [1, 3, 6, 1, 2, 1, 25, 2, 1];
/// hrFSTypes, which some agents write instead.
const FS_TYPES: [u32; 9] = [1, 3, 6, 1, 2, 1, 25, 3, 9];

const UCD_MEMORY: Name = Name::new(&[1, 3, 6, 1, 4, 1, 2021, 4]);
const TOTAL_SWAP: Name = UCD_MEMORY.child(3);
const AVAIL_SWAP: Name = UCD_MEMORY.child(4);
const TOTAL_REAL: Name = UCD_MEMORY.child(5);
const AVAIL_REAL: Name = UCD_MEMORY.child(6);
const SHARED: Name = UCD_MEMORY.child(13);
const BUFFERS: Name = UCD_MEMORY.child(14);
const CACHED: Name = UCD_MEMORY.child(15);
const UCD_DISK: Name = Name::new(&[1, 3, 6, 1, 4, 1, 2021, 9, 1]);
const DISK_PATH: Name = UCD_DISK.child(2);
const DISK_TOTAL: Name = UCD_DISK.child(6);
const DISK_USED: Name = UCD_DISK.child(8);
const DISK_PERCENT: Name = UCD_DISK.child(9);
const DISK_TOTAL_LOW: Name = UCD_DISK.child(11);
const DISK_TOTAL_HIGH: Name = UCD_DISK.child(12);
const DISK_USED_LOW: Name = UCD_DISK.child(15);
const DISK_USED_HIGH: Name = UCD_DISK.child(16);

/// What is read of memory and disks.
pub(crate) const SCALARS: [Name; 8] =
    [HR_MEMORY_SIZE, TOTAL_SWAP, AVAIL_SWAP, TOTAL_REAL, AVAIL_REAL, SHARED, BUFFERS, CACHED];
pub(crate) const COLUMNS: [Name; 13] = [
    TYPE,
    DESCR,
    UNITS,
    SIZE,
    USED,
    DISK_PATH,
    DISK_TOTAL,
    DISK_USED,
    DISK_PERCENT,
    DISK_TOTAL_LOW,
    DISK_TOTAL_HIGH,
    DISK_USED_LOW,
    DISK_USED_HIGH,
];

/// A row of hrStorageTable, in bytes.
struct Row {
    kind: Kind,
    descr: String,
    size: u64,
    used: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory(MemoryClass),
    /// net-snmp's row of what programs could still be given; its size is the figure.
    Available,
    Volume(&'static str),
    /// A kernel's inner pools, media that are always full, pseudo file systems.
    Neither,
}

/// Memory and storage of hrStorageTable.
pub(crate) fn host(tables: &Tables) -> (Vec<Memory>, Vec<Storage>) {
    let rows = rows(tables);
    (memory(&rows, tables.count(HR_MEMORY_SIZE, &[0])), storage(rows))
}

fn rows(tables: &Tables) -> Vec<Row> {
    let indexes = tables.indexes(&[SIZE]);
    let rows = indexes.iter().filter_map(|index| {
        let units = tables.size(UNITS, index)?;
        let bytes = |count: u64| count.checked_mul(units);
        let descr = tables.text_or_empty(DESCR, index);
        let kind = kind(tables.oid(TYPE, index), &descr);
        Some(Row {
            kind,
            descr,
            // An unused slot of a reader of cards, a mount without blocks.
            size: tables.size(SIZE, index).and_then(bytes).filter(|size| *size > 0)?,
            used: tables.size(USED, index).and_then(bytes),
        })
    });
    rows.filter(|row| row.kind != Kind::Neither).take(MAX_VOLUMES).collect()
}

fn kind(of: Option<&[u32]>, descr: &str) -> Kind {
    let is_path = descr.starts_with('/');
    let number = |types: &[u32]| match of.and_then(|oid| oid.strip_prefix(types)) {
        Some([number]) => Some(*number),
        Some(_) | None => None,
    };
    if is_pseudo(descr) {
        return Kind::Neither;
    }
    let lower = descr.to_ascii_lowercase();
    let has = |word: &str| lower.contains(word);
    match (number(&STORAGE_TYPES), number(&FS_TYPES)) {
        // The kernel's allocators of FreeBSD.
        (Some(2), _) if has("uma: ") || has("malloc: ") => Kind::Neither,
        (Some(1..=3), _) if !is_path && has("swap") => Kind::Memory(MemoryClass::Swap),
        (Some(1 | 2), _) if has("memory buffers") => Kind::Memory(MemoryClass::Buffers),
        (Some(1 | 2), _) if has("cached memory") => Kind::Memory(MemoryClass::Cached),
        (Some(1), _) if has("shared memory") => Kind::Memory(MemoryClass::Shared),
        (Some(1 | 2), _) if has("available memory") => Kind::Available,
        (Some(2), _) => Kind::Memory(MemoryClass::System),
        // FreeBSD's agent calls its mounts virtual memory.
        (Some(3), _) if !is_path => Kind::Memory(MemoryClass::Virtual),
        (Some(3 | 4), _) | (None, Some(_)) => Kind::Volume("hrStorageFixedDisk"),
        (Some(5), _) => Kind::Volume("hrStorageRemovableDisk"),
        (Some(8), _) => Kind::Volume("hrStorageRamDisk"),
        (Some(9), _) => Kind::Volume("hrStorageFlashMemory"),
        (Some(10), _) => Kind::Volume("hrStorageNetworkDisk"),
        // Of no known type: what looks like a path of a file system is one.
        (None, None) if is_path => Kind::Volume("hrStorageFixedDisk"),
        (Some(_) | None, None | Some(_)) => Kind::Neither,
    }
}

/// Mounts that no disk stands behind.
fn is_pseudo(path: &str) -> bool {
    let under = |root: &str| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ',']))
    };
    under("/proc")
        || under("/sys")
        || path == "/dev"
        || path.starts_with("/dev, ")
        || path.starts_with("/run/user/")
}

fn memory(rows: &[Row], main_kbytes: Option<u64>) -> Vec<Memory> {
    let sum_of = |class: MemoryClass| {
        let mut pools = rows.iter().filter(|row| row.kind == Kind::Memory(class));
        pools.find_map(|row| row.used)
    };
    let systems = rows.iter().filter(|row| row.kind == Kind::Memory(MemoryClass::System)).count();
    let available = rows.iter().find(|row| row.kind == Kind::Available).map(|row| row.size);
    let main = rows.iter().find(|row| row.kind == Kind::Memory(MemoryClass::System));
    let pools = rows.iter().filter_map(|row| {
        let Kind::Memory(class) = row.kind else { return None };
        let (mut size, mut used) = (row.size, row.used?);
        match class {
            // BSD tells the pages that are in use as the size.
            MemoryClass::System if row.descr.ends_with("Memory Metrics") => {
                size = main_kbytes.and_then(|size| size.checked_mul(1024))?;
            }
            // Linux counts what it holds for speed only as used, and gives it back when it is needed.
            MemoryClass::System if systems == 1 => {
                used = lent(
                    used,
                    size,
                    available,
                    [sum_of(MemoryClass::Buffers), sum_of(MemoryClass::Cached)],
                );
            }
            // Shares of the main memory, whose own size says nothing.
            MemoryClass::Buffers | MemoryClass::Cached | MemoryClass::Shared => {
                size = main.map_or(size, |main| main.size);
            }
            MemoryClass::System | MemoryClass::Virtual | MemoryClass::Swap => {}
        }
        Some(pool(&row.descr, class, size, used))
    });
    pools.collect()
}

/// Used without what the system only holds for speed, as `free` shows it. Where that would be less than
/// nothing, the system does not count it as used.
fn lent(used: u64, size: u64, available: Option<u64>, held: [Option<u64>; 2]) -> u64 {
    if let Some(available) = available.filter(|available| *available <= size) {
        return size - available;
    }
    let held = held.into_iter().flatten().sum();
    used.checked_sub(held).unwrap_or(used)
}

fn pool(descr: &str, class: MemoryClass, size: u64, used: u64) -> Memory {
    Memory {
        descr: descr.to_owned(),
        class,
        total: Some(size),
        used: Some(used),
        free: size.checked_sub(used),
        percent: percent(used, size),
    }
}

fn percent(used: u64, size: u64) -> Option<f64> {
    (size > 0 && used <= size).then(|| 100.0 * used as f64 / size as f64)
}

fn storage(rows: Vec<Row>) -> Vec<Storage> {
    let mut seen = HashMap::<(u64, Option<u64>), usize>::new();
    for row in rows.iter().filter(|row| matches!(row.kind, Kind::Volume(_))) {
        *seen.entry((row.size, row.used)).or_default() += 1;
    }
    let mut told = std::collections::HashSet::new();
    let volumes = rows.into_iter().filter_map(|row| {
        let Kind::Volume(kind) = row.kind else { return None };
        let same = (row.size, row.used);
        // The first mount of a volume stands for those that were bound elsewhere.
        if !told.insert(same) && seen.get(&same).is_some_and(|count| *count >= BIND_MOUNTS) {
            return None;
        }
        Some(Storage {
            descr: row.descr,
            kind: kind.to_owned(),
            size: Some(row.size),
            used: row.used,
            free: row.used.and_then(|used| row.size.checked_sub(used)),
            percent: row.used.and_then(|used| percent(used, row.size)),
        })
    });
    volumes.collect()
}

/// Memory of UCD-SNMP-MIB, for devices without a row of main memory in hrStorageTable.
pub(crate) fn ucd_memory(tables: &Tables) -> Vec<Memory> {
    let bytes = |column| tables.size(column, &[0]).and_then(|kbytes| kbytes.checked_mul(1024));
    let mut pools = Vec::new();
    if let (Some(total @ 1..), Some(free)) = (bytes(TOTAL_REAL), bytes(AVAIL_REAL)) {
        let held = [bytes(BUFFERS), bytes(CACHED)];
        let used = lent(total.saturating_sub(free), total, None, held);
        pools.push(pool("Physical memory", MemoryClass::System, total, used));
        for (descr, class, column) in [
            ("Shared memory", MemoryClass::Shared, SHARED),
            ("Memory buffers", MemoryClass::Buffers, BUFFERS),
            ("Cached memory", MemoryClass::Cached, CACHED),
        ] {
            pools.extend(bytes(column).map(|used| pool(descr, class, total, used)));
        }
    }
    if let (Some(total @ 1..), Some(free)) = (bytes(TOTAL_SWAP), bytes(AVAIL_SWAP)) {
        pools.push(pool("Swap space", MemoryClass::Swap, total, total.saturating_sub(free)));
    }
    pools
}

/// Disks of UCD-SNMP-MIB, for devices without any in hrStorageTable.
pub(crate) fn ucd_disks(tables: &Tables) -> Vec<Storage> {
    let rows = tables.indexes(&[DISK_PATH]);
    let disks = rows.iter().filter_map(|index| {
        let descr = tables.text(DISK_PATH, index).filter(|path| !is_pseudo(path))?;
        let kbytes = |low, high, narrow| {
            let halves = tables.size(low, index).zip(tables.size(high, index));
            let wide = halves.map(|(low, high)| (high << 32) | low);
            wide.or_else(|| tables.size(narrow, index)).and_then(|count| count.checked_mul(1024))
        };
        let size = kbytes(DISK_TOTAL_LOW, DISK_TOTAL_HIGH, DISK_TOTAL).filter(|size| *size > 0)?;
        let used = kbytes(DISK_USED_LOW, DISK_USED_HIGH, DISK_USED);
        let told = tables.count(DISK_PERCENT, index).filter(|percent| *percent <= 100);
        Some(Storage {
            descr,
            kind: "dskTable".to_owned(),
            size: Some(size),
            used,
            free: used.and_then(|used| size.checked_sub(used)),
            percent: used
                .and_then(|used| percent(used, size))
                .or(told.map(|percent| percent as f64)),
        })
    });
    disks.take(MAX_VOLUMES).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    fn row(made: Made, index: u32, of: u32, descr: &str, sizes: (i64, i64, i64)) -> Made {
        let oid = [&STORAGE_TYPES[..], &[of]].concat();
        made.with(TYPE, &[index], &oid[..])
            .with(DESCR, &[index], descr)
            .with(UNITS, &[index], sizes.0)
            .with(SIZE, &[index], sizes.1)
            .with(USED, &[index], sizes.2)
    }

    #[test]
    fn what_linux_holds_for_speed_is_not_used() {
        let mut made = row(Made::default(), 1, 2, "Physical memory", (1024, 1000, 900));
        made = row(made, 6, 1, "Memory buffers", (1024, 1000, 50));
        made = row(made, 7, 1, "Cached memory", (1024, 220, 220));
        made = row(made, 10, 3, "Swap space", (1024, 0, 0));
        let (pools, disks) = host(&made.0);
        assert_eq!(pools[0].used, Some(630 * 1024));
        assert_eq!(pools[0].percent, Some(63.0));
        assert_eq!(pools[2].total, Some(1000 * 1024), "a share of the main memory");
        assert_eq!(pools.len(), 3, "no swap, no row");
        assert_eq!(disks, []);
    }

    #[test]
    fn memory_that_is_held_but_not_counted_as_used_is_not_taken_off() {
        assert_eq!(lent(900, 1000, None, [Some(100), Some(1000)]), 900);
        assert_eq!(lent(900, 1000, None, [None, Some(100)]), 800);
        assert_eq!(lent(900, 1000, Some(300), [Some(1), Some(1)]), 700);
        assert_eq!(lent(900, 1000, Some(3000), [None, None]), 900);
    }

    #[test]
    fn disks_are_told_apart_from_what_only_looks_like_one() {
        let mut made = row(Made::default(), 1, 4, "/", (4096, 100, 25));
        made = row(made, 2, 4, "/sys/fs/cgroup", (4096, 100, 26));
        made = row(made, 3, 4, "/system", (4096, 100, 27));
        made = row(made, 4, 7, "D:\\", (2048, 100, 100));
        made = row(made, 5, 3, "/, type: ufs, dev: /dev/x", (4096, 100, 10));
        made = row(made, 6, 2, "UMA: mbuf", (256, 100, 10));
        made = row(made, 7, 4, "/none", (4096, 0, 0));
        // Past 2^31 units.
        made = row(made, 8, 10, "/nfs", (4096, -2, 1));
        let (pools, disks) = host(&made.0);
        assert_eq!(pools, []);
        let names: Vec<_> = disks.iter().map(|of| of.descr.as_str()).collect();
        assert_eq!(names, ["/", "/system", "/, type: ufs, dev: /dev/x", "/nfs"]);
        assert_eq!(disks[0].percent, Some(25.0));
        assert_eq!(disks[3].size, Some(4096 * ((1 << 32) - 2)));
    }

    #[test]
    fn bound_mounts_of_one_volume_are_told_once() {
        let mut made = row(Made::default(), 1, 4, "/var", (4096, 100, 25));
        for index in 2..9 {
            made = row(made, index, 4, &format!("/etc/{index}"), (4096, 100, 25));
        }
        // Two volumes can be alike.
        made = row(made, 20, 4, "/a", (4096, 7, 1));
        made = row(made, 21, 4, "/b", (4096, 7, 1));
        let names: Vec<_> = host(&made.0).1.into_iter().map(|of| of.descr).collect();
        assert_eq!(names, ["/var", "/a", "/b"]);
    }

    #[test]
    fn the_main_memory_of_a_bsd_is_told_beside_the_table() {
        let made = row(Made::default(), 1, 2, "Real Memory Metrics", (4096, 50, 40)).with(
            HR_MEMORY_SIZE,
            &[0],
            1024_i64,
        );
        let (pools, _) = host(&made.0);
        assert_eq!((pools[0].total, pools[0].used), (Some(1 << 20), Some(40 * 4096)));
    }

    #[test]
    fn ucd_figures_serve_where_there_is_no_table() {
        let made = Made::default()
            .with(TOTAL_REAL, &[0], 1000_i64)
            .with(AVAIL_REAL, &[0], 100_i64)
            .with(BUFFERS, &[0], 50_i64)
            .with(CACHED, &[0], 250_i64)
            .with(TOTAL_SWAP, &[0], 0_i64)
            .with(AVAIL_SWAP, &[0], 0_i64)
            .with(DISK_PATH, &[1], "/")
            .with(DISK_TOTAL, &[1], i64::from(i32::MAX))
            .with(DISK_TOTAL_LOW, &[1], 5_u64)
            .with(DISK_TOTAL_HIGH, &[1], 1_u64)
            .with(DISK_PERCENT, &[1], 42_i64);
        let pools = ucd_memory(&made.0);
        assert_eq!(pools[0].used, Some(600 * 1024));
        assert_eq!(pools.len(), 3);
        let disks = ucd_disks(&made.0);
        assert_eq!(disks[0].size, Some(((1 << 32) + 5) * 1024));
        assert_eq!((disks[0].used, disks[0].percent), (None, Some(42.0)));
    }
}
