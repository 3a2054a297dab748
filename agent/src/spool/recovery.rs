//! Making a spool of whatever the directory holds.
//!
//! Names and headers of all segments are read, bodies only of the newest of each epoch: those
//! before it are verified when they are sent. First everything is looked at and nothing declared;
//! a disk that cannot even be looked at leaves the spool in memory.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use super::{
    LANES, MAX_SEGMENT_FILE, MAX_SEGMENTS, Moment, Recovery, Spool,
    caps::eviction_loss,
    events,
    format::{
        self, HEADER_LEN, Header, HeaderCheck, MIN_RECORD_LEN, Missing, Name, Parsed, Scan, Seal,
    },
    former,
    lane::{Active, Epoch, Lane, Segment},
    losses::{LaneMark, Losses},
    repair::{TEMPORARY, is_gone, replace},
    store::random,
    vfs::{Vfs, read_range, read_what_is_readable},
};
use crate::logs::chain;

/// Bytes of every file looked at: the header and a note behind it.
const PEEK: usize = HEADER_LEN + 2 * MIN_RECORD_LEN;

/// A file that may be one of our segments.
#[derive(Clone)]
struct Found {
    name: Name,
    len: u64,
    /// `None` when the header is damaged.
    ordinal: Option<u32>,
    replaces: Option<(u64, u64)>,
}

/// All that a directory was found to hold.
struct Directory {
    found: Vec<Found>,
    /// Lanes and epochs in which a later version wrote, and the epochs' ranks.
    newer: BTreeMap<(u32, u64), u32>,
    foreign: usize,
}

/// A newest segment that needs repair.
struct Broken {
    name: Name,
    bytes: Vec<u8>,
    scan: Scan,
}

/// What a lane's files and counters say.
#[derive(Default)]
struct Findings {
    epochs: Vec<Epoch>,
    segments: VecDeque<Segment>,
    active: Option<Active>,
    last: Option<(Moment, bool)>,
    broken: Vec<Broken>,
    /// Ranges of an epoch that are gone with their files.
    gone: Vec<(u64, Missing)>,
    ordinal: u32,
}

/// Installs what `disk` holds in the spool. What the spool has in memory stays, as a later epoch.
///
/// # Errors
/// The directory cannot be read or written; the spool is unchanged then.
pub(super) fn recover(spool: &mut Spool, disk: Box<dyn Vfs>) -> io::Result<Recovery> {
    let agent_id = spool.config.agent_id;
    let (mut losses, losses_known) = Losses::load(&*disk);
    let former = former::find(&*disk, &agent_id, &mut losses)?;
    let mut directory = look(&*disk, &agent_id)?;
    finish_removals(&*disk, &losses, &mut directory.found)?;
    let mut recovery = Recovery { foreign: directory.foreign, ..Recovery::default() };
    let mut lanes = Vec::new();
    for index in 0..LANES {
        let mark = losses_known.then_some(losses.lanes[index]);
        let (mine, strangers) = adopt(&*disk, &agent_id, &directory, index, mark)?;
        recovery.segments += mine.len();
        recovery.foreign += strangers;
        lanes.push(examine(&*disk, &agent_id, index, mine, mark, &directory.newer)?);
    }
    if recovery.foreign > 0 && former.is_none() {
        tracing::warn!(files = recovery.foreign, "files in the spool are not its own: left alone");
    }

    // From here on the spool changes, and no error stops it.
    spool.disk = Some(disk);
    spool.losses = losses;
    let told: Vec<_> = lanes[0].epochs.iter().map(|epoch| (epoch.id, epoch.durable_next)).collect();
    let mut last: Option<(Moment, bool)> = None;
    let mut broken = Vec::new();
    let mut gone = Vec::new();
    recovery.clean =
        lanes.iter().all(|lane| lane.last.is_none()) || lanes[0].last.is_some_and(|(_, stop)| stop);
    for (index, mut lane) in lanes.into_iter().enumerate() {
        last = later(last, lane.last, spool.clock.boot_tag());
        broken.append(&mut lane.broken);
        gone.extend(lane.gone.drain(..).map(|(epoch, missing)| (index, epoch, missing)));
        install(&mut spool.lanes[index], &agent_id, lane);
    }
    recovery.last_durable = last.map(|(moment, _)| moment);
    recovery.damaged = broken.len();
    declare_found(spool, &told, broken, gone);
    if let Some(former) = former
        && let Err(error) = former::discard(spool, &former)
    {
        tracing::warn!(error = chain(&error), "cannot remove the records of a former identity");
    }
    Ok(recovery)
}

/// True for the names that this module has business with.
fn is_ours(name: &str) -> bool {
    Name::parse(name.strip_suffix(TEMPORARY).unwrap_or(name)).is_some()
}

/// Reads names and headers; removes what a rewrite left half done.
fn look(disk: &dyn Vfs, agent_id: &[u8; 16]) -> io::Result<Directory> {
    let mut files = disk.list(&is_ours)?;
    files.sort();
    let mut directory = Directory { found: Vec::new(), newer: BTreeMap::new(), foreign: 0 };
    for (name, len) in files {
        let Some(parsed) = Name::parse(&name) else {
            disk.remove(&name)?;
            continue;
        };
        if parsed.lane as usize >= LANES || directory.found.len() >= 2 * MAX_SEGMENTS {
            directory.foreign += 1;
            continue;
        }
        let peek = match disk.open(&name).and_then(|file| read_range(&*file, 0, PEEK)) {
            Ok(peek) => peek,
            Err(error) if is_gone(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut found = Found {
            name: parsed,
            len: len.min(MAX_SEGMENT_FILE as u64),
            ordinal: None,
            replaces: None,
        };
        match Header::check(&peek) {
            HeaderCheck::Good(header) => {
                let claims = Name {
                    lane: u32::from(header.lane),
                    epoch: header.epoch,
                    first_seq: header.first_seq,
                };
                if header.agent_id != *agent_id || claims != parsed {
                    directory.foreign += 1;
                    continue;
                }
                found.ordinal = Some(header.ordinal);
            }
            HeaderCheck::Newer { version, ordinal } => {
                tracing::warn!(file = name, version, "a segment of a later version is kept aside");
                directory.newer.insert((parsed.lane, parsed.epoch), ordinal);
                directory.foreign += 1;
                continue;
            }
            HeaderCheck::Bad => {}
        }
        let seal = Seal::new(agent_id, parsed.epoch);
        if let Some(Parsed::Replaces(epoch, first, _)) =
            peek.get(HEADER_LEN..).map(|note| format::parse(note, seal))
        {
            found.replaces = Some((epoch, first));
        }
        directory.found.push(found);
    }
    Ok(directory)
}

/// Finishes what a kill interrupted: evictions that are counted, segments that were renumbered.
fn finish_removals(disk: &dyn Vfs, losses: &Losses, found: &mut Vec<Found>) -> io::Result<()> {
    let replaced: BTreeSet<Name> = found
        .iter()
        .filter_map(|file| {
            let (epoch, first_seq) = file.replaces?;
            Some(Name { lane: file.name.lane, epoch, first_seq })
        })
        .collect();
    let goes = |name: &Name| {
        replaced.contains(name) || losses.evictions.iter().any(|entry| entry.takes(name))
    };
    for file in found.iter().filter(|file| goes(&file.name)) {
        disk.remove(&file.name.to_string())?;
    }
    found.retain(|file| !goes(&file.name));
    Ok(())
}

/// The lane's own among the files found, and how many are not. A file with a broken header is ours
/// when its epoch is, or when anything in it verifies.
fn adopt(
    disk: &dyn Vfs,
    agent_id: &[u8; 16],
    directory: &Directory,
    index: usize,
    mark: Option<LaneMark>,
) -> io::Result<(Vec<Found>, usize)> {
    let in_lane = |file: &&Found| file.name.lane as usize == index;
    let all: Vec<&Found> = directory.found.iter().filter(in_lane).collect();
    let known: BTreeSet<u64> = all
        .iter()
        .filter(|file| file.ordinal.is_some())
        .map(|file| file.name.epoch)
        .chain(mark.map(|mark| mark.epoch))
        .collect();
    let mut mine = Vec::new();
    for file in &all {
        // Without the counters there is no telling a stranger from a victim: believe the name.
        let ours = mark.is_none() || known.contains(&file.name.epoch) || {
            let (_, scan) = read_whole(disk, agent_id, file)?;
            !scan.good.is_empty()
        };
        if ours {
            mine.push((*file).clone());
        }
    }
    let strangers = all.len() - mine.len();
    Ok((mine, strangers))
}

fn read_whole(disk: &dyn Vfs, agent_id: &[u8; 16], file: &Found) -> io::Result<(Vec<u8>, Scan)> {
    let bytes = match disk.open(&file.name.to_string()) {
        Ok(open) => read_what_is_readable(&*open, file.len, MAX_SEGMENT_FILE),
        Err(error) if is_gone(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    let seal = Seal::new(agent_id, file.name.epoch);
    let scan = format::scan(&bytes, seal, file.name.first_seq, None);
    Ok((bytes, scan))
}

/// Orders a lane's segments into epochs and reads the newest of each.
fn examine(
    disk: &dyn Vfs,
    agent_id: &[u8; 16],
    index: usize,
    mut files: Vec<Found>,
    mark: Option<LaneMark>,
    newer: &BTreeMap<(u32, u64), u32>,
) -> io::Result<Findings> {
    let lane = u32::try_from(index).unwrap_or(u32::MAX);
    let aside = newer.iter().filter(|((of, _), _)| *of == lane).map(|(_, ordinal)| *ordinal);
    let highest = files.iter().filter_map(|file| file.ordinal).chain(aside).max().unwrap_or(0);
    let ordinal_of = |epoch: u64| {
        let told = files.iter().filter(|f| f.name.epoch == epoch).find_map(|f| f.ordinal);
        // No header left in the epoch: the counters still know which one was in force.
        let in_force = mark.is_some_and(|mark| mark.epoch == epoch);
        told.unwrap_or(if in_force { highest.saturating_add(1) } else { 0 })
    };
    let ids: BTreeSet<(u32, u64)> =
        files.iter().map(|f| (ordinal_of(f.name.epoch), f.name.epoch)).collect();
    files.sort_by_key(|file| file.name);
    let mut out = Findings { ordinal: highest, ..Findings::default() };
    for (ordinal, id) in &ids {
        out.ordinal = out.ordinal.max(*ordinal);
        let mut epoch = Epoch::new(agent_id, *id, *ordinal);
        let mine: Vec<&Found> = files.iter().filter(|file| file.name.epoch == *id).collect();
        let Some((newest, before)) = mine.split_last() else { continue };
        let first_seq = mine[0].name.first_seq;
        let (bytes, mut scan) = read_whole(disk, agent_id, newest)?;
        if let Some(mark) =
            mark.filter(|mark| mark.epoch == *id && !newer.contains_key(&(lane, *id)))
        {
            // Numbers that were durable once, at either end of what is left.
            if mark.next_seq > scan.next_seq {
                let range = scan.next_seq..=mark.next_seq - 1;
                let records = mark.next_seq - scan.next_seq;
                scan.missing.push(Missing { range, records, items: 0 });
                scan.next_seq = mark.next_seq;
            }
            if first_seq > mark.freed_upto + 1 {
                let range = mark.freed_upto + 1..=first_seq - 1;
                let records = first_seq - mark.freed_upto - 1;
                out.gone.push((*id, Missing { range, records, items: 0 }));
            }
        }
        epoch.durable_next = scan.next_seq;
        epoch.run_first = scan.next_seq;
        epoch.trusted_upto = scan.next_seq - 1;
        if let Some(mark) = mark.filter(|mark| mark.epoch == *id && mark.unproven_from > 0) {
            // Appended by earlier runs that never sent anything.
            epoch.trusted_upto = epoch.trusted_upto.min(mark.unproven_from - 1);
        }
        let mut last = last_record(&bytes, &scan, epoch.seal);
        if let Some((head_seq, hash, _)) = last
            && head_seq + 1 == scan.next_seq
        {
            epoch.head_hash = hash;
        }
        if last.is_none()
            && let Some(previous) = before.last()
        {
            let (bytes, scan) = read_whole(disk, agent_id, previous)?;
            last = last_record(&bytes, &scan, epoch.seal);
        }
        out.last = last.map(|(_, _, moment)| moment).or(out.last);
        out.segments.extend(mine.iter().map(|file| Segment {
            epoch: *id,
            first_seq: file.name.first_seq,
            file_len: file.len,
            damaged: false,
        }));
        let in_force = Some(&(*ordinal, *id)) == ids.last() && !newer.contains_key(&(lane, *id));
        out.active = None;
        let sound = newest.ordinal.is_some() && scan.is_clean();
        if sound && in_force {
            out.active = continue_segment(disk, newest, &bytes, &scan)?;
        }
        if scan.good.is_empty() && scan.holes.is_empty() && scan.is_clean() {
            // Nothing was ever durable in it.
            out.active = None;
            out.segments.pop_back();
            disk.remove(&newest.name.to_string())?;
        } else if !sound {
            out.broken.push(Broken { name: newest.name, bytes, scan });
        }
        out.epochs.push(epoch);
    }
    if let Some(mark) = mark
        && mark.epoch != 0
        && mark.next_seq > mark.freed_upto + 1
        && !ids.iter().any(|(_, id)| *id == mark.epoch)
        && !newer.contains_key(&(lane, mark.epoch))
    {
        // Every file of the epoch in force is gone.
        let range = mark.freed_upto + 1..=mark.next_seq - 1;
        let records = mark.next_seq - mark.freed_upto - 1;
        out.gone.push((mark.epoch, Missing { range, records, items: 0 }));
    }
    let unusable = out.epochs.last().is_none_or(|epoch| newer.contains_key(&(lane, epoch.id)))
        || mark.is_some_and(|mark| {
            mark.epoch != 0 && !ids.iter().any(|(_, id)| *id == mark.epoch) && mark.next_seq > 1
        });
    if unusable {
        out.active = None;
        out.ordinal = out.ordinal.saturating_add(1);
        out.epochs.push(Epoch::new(agent_id, random(), out.ordinal));
    }
    Ok(out)
}

/// The newest segment, to be written on. A process that is gone may have left a file whose sync had
/// failed: what it holds then looks well and will never reach the disk, so the records go to a new
/// file.
fn continue_segment(
    disk: &dyn Vfs,
    newest: &Found,
    bytes: &[u8],
    scan: &Scan,
) -> io::Result<Option<Active>> {
    let (end, capacity) = (scan.end as u64, newest.len);
    match replace(disk, &newest.name.to_string(), &bytes[..scan.end], capacity) {
        Ok(file) => Ok(Some(Active { file, end, capacity, fresh: false })),
        // Its room may be all there is left: it is sealed then, as it stands.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(None),
        Err(error) => Err(error),
    }
}

/// Number, hash and times of the last good record, and whether it is a clean stop.
fn last_record(bytes: &[u8], scan: &Scan, seal: Seal) -> Option<(u64, u64, (Moment, bool))> {
    let span = scan.good.last()?;
    let Parsed::Record(head, stored, _) = format::parse(&bytes[span.offset..], seal) else {
        return None;
    };
    let moment = Moment { boot_ns: head.boot_ns, wall_ns: head.wall_ns, boot_tag: head.boot_tag };
    // A stop event is too short to be stored compressed.
    let stop = span.seq + 1 == scan.next_seq && events::is_stop(head.kind, stored);
    Some((head.seq, head.hash, (moment, stop)))
}

/// The later of two instants: by the boot clock if both are of this boot, else by the wall clock.
fn later(
    one: Option<(Moment, bool)>,
    other: Option<(Moment, bool)>,
    boot_tag: u32,
) -> Option<(Moment, bool)> {
    let key = |(moment, _): &(Moment, bool)| {
        let here = moment.boot_tag == boot_tag;
        (here, if here { moment.boot_ns } else { 0 }, moment.wall_ns)
    };
    [one, other].into_iter().flatten().max_by_key(key)
}

/// Puts the findings under what the lane holds in memory, if anything.
fn install(lane: &mut Lane, agent_id: &[u8; 16], mut found: Findings) {
    let in_memory = lane.next_seq > 1;
    if in_memory {
        // Records without a disk already have their numbers, and may have been sent.
        found.active = None;
        let mut own = lane.current().clone();
        own.ordinal = found.ordinal.saturating_add(1);
        found.epochs.push(own);
    } else if found.epochs.is_empty() {
        found.epochs.push(Epoch::new(agent_id, random(), found.ordinal.saturating_add(1)));
    }
    lane.epochs = found.epochs;
    lane.segments = found.segments;
    lane.active = found.active;
    if !in_memory {
        lane.next_seq = lane.current().durable_next;
    }
}

/// Declares what the directory has lost, repairs its newest segments, and brings `loss.ctr` up to
/// date. `told` is up to which number each epoch of lane 0 is durable.
fn declare_found(
    spool: &mut Spool,
    told: &[(u64, u64)],
    broken: Vec<Broken>,
    gone: Vec<(usize, u64, Missing)>,
) {
    // Evictions whose LOSS did not become durable: they are told now, under a new number.
    let teller = spool.losses.lanes[0].epoch;
    let told_upto = told.iter().find(|(id, _)| *id == teller).map_or(0, |(_, next)| *next);
    let mut evictions = std::mem::take(&mut spool.losses.evictions);
    evictions.retain(|entry| entry.told_by >= told_upto);
    for (entry, number) in evictions.iter_mut().zip(spool.lanes[0].next_seq..) {
        entry.told_by = number;
    }
    spool.losses.evictions.clone_from(&evictions);
    for (mark, lane) in spool.losses.lanes.iter_mut().zip(&spool.lanes) {
        mark.follow(lane.current());
        if mark.unproven_from == 0 {
            mark.unproven_from = lane.current().run_first;
        }
    }
    if let Err(error) = spool.store_marks() {
        spool.degrade(&error);
    }
    for entry in &evictions {
        spool.declare(eviction_loss(entry));
    }
    for (index, epoch, missing) in gone {
        let scan = Scan { missing: vec![missing], ..Scan::default() };
        spool.declare_missing(index, epoch, &scan);
    }
    for Broken { name, bytes, scan } in broken {
        let index = name.lane as usize;
        let lane = &spool.lanes[index];
        if let Some(at) = (0..lane.segments.len()).find(|at| lane.name(*at) == name) {
            spool.repair_with(index, at, &bytes, &scan);
        }
    }
    if spool.pending_bytes() > 0 {
        spool.commit();
    }
    note_front(spool);
}

/// Notes what stands at the front of each lane as explained, now that it is declared.
fn note_front(spool: &mut Spool) {
    if spool.is_degraded() {
        return;
    }
    for index in 0..LANES {
        let lane = &spool.lanes[index];
        let current = lane.current().id;
        let first = lane.segments.iter().find(|segment| segment.epoch == current);
        let Some(first) = first.map(|segment| segment.first_seq) else { continue };
        let mark = &mut spool.losses.lanes[index];
        mark.freed_upto = mark.freed_upto.max(first - 1);
    }
    if let Err(error) = spool.store_marks() {
        spool.degrade(&error);
    }
}
