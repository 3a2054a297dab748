//! What a machine that is enrolled anew still holds of its former identity.
//!
//! Nobody takes these records any more: the collector knows the new identity only. Enrolment counts
//! them with [`backlog`], and where the operator gives them up leaves a mark ([`mark_name`]) for each
//! identity; the next open removes their segments and declares to the collector, as a gap in the new
//! identity's events, what was lost with them.

use std::{collections::BTreeSet, io, path::Path};

use proto::v1::{Gap, GapReason, event::Event as Kind};

use super::{
    MAX_SEGMENT_FILE, Spool, events,
    format::{self, HEADER_LEN, Header, HeaderCheck, Name, Seal},
    losses::Losses,
    vfs::{RealVfs, Vfs, read_range, read_what_is_readable},
};

const PREFIX: &str = "former-";
const NS_PER_MS: i64 = 1_000_000;

/// Name of the file in the spool's directory that gives up the records of `agent_id`.
#[must_use]
pub fn mark_name(agent_id: &[u8; 16]) -> String {
    format!("{PREFIX}{:032x}", u128::from_be_bytes(*agent_id))
}

fn marked(name: &str) -> Option<[u8; 16]> {
    let id = u128::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()?.to_be_bytes();
    (mark_name(&id) == name).then_some(id)
}

/// Records that the collector does not have, as far as the directory tells: those that it took after
/// the last look at `loss.ctr` are counted too. Of a stopped agent that is next to none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Whose they are.
    pub agents: BTreeSet<[u8; 16]>,
    /// Records of both lanes.
    pub records: u64,
    /// Those of them that hold samples: one a round.
    pub rounds: u64,
    /// Wall clock of the oldest round, nanoseconds since the Unix epoch; 0 for none.
    pub from_wall_ns: i64,
    /// Wall clock of the newest round; 0 for none.
    pub to_wall_ns: i64,
}

impl Backlog {
    fn add(&mut self, lane: u32, wall_ns: i64) {
        self.records += 1;
        if lane == proto::LANE_SAMPLES {
            let first = self.rounds == 0;
            self.from_wall_ns = if first { wall_ns } else { self.from_wall_ns.min(wall_ns) };
            self.to_wall_ns = if first { wall_ns } else { self.to_wall_ns.max(wall_ns) };
            self.rounds += 1;
        }
    }

    /// Hours from the oldest round to the newest.
    #[must_use]
    pub fn hours(&self) -> f64 {
        let span = self.to_wall_ns.saturating_sub(self.from_wall_ns).max(0);
        std::time::Duration::from_nanos(span.unsigned_abs()).as_secs_f64() / 3_600.0
    }
}

/// Counts what the spool in `dir` holds, whosever it is; `None` when there is no such directory. It
/// may be in use.
///
/// # Errors
/// The directory or one of its files cannot be read.
pub fn backlog(dir: &Path) -> io::Result<Option<Backlog>> {
    match RealVfs::look(dir) {
        Ok(disk) => count(&disk, &Losses::load(&disk).0, |_| true).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Segments with a good header, and whose.
fn segments(
    disk: &dyn Vfs,
    whose: impl Fn(&[u8; 16]) -> bool,
) -> io::Result<Vec<(Name, u64, [u8; 16])>> {
    let mut out = Vec::new();
    for (name, len) in disk.list(&|name| Name::parse(name).is_some())? {
        let Some(parsed) = Name::parse(&name) else { continue };
        let peek = match disk.open(&name).and_then(|file| read_range(&*file, 0, HEADER_LEN)) {
            Ok(peek) => peek,
            // Freed since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let HeaderCheck::Good(header) = Header::check(&peek)
            && whose(&header.agent_id)
        {
            out.push((parsed, len, header.agent_id));
        }
    }
    Ok(out)
}

fn count(
    disk: &dyn Vfs,
    losses: &Losses,
    whose: impl Fn(&[u8; 16]) -> bool,
) -> io::Result<Backlog> {
    let mut backlog = Backlog::default();
    for (name, len, agent_id) in segments(disk, whose)? {
        backlog.agents.insert(agent_id);
        let file = match disk.open(&name.to_string()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let bytes = read_what_is_readable(&*file, len, MAX_SEGMENT_FILE);
        let seal = Seal::new(&agent_id, name.epoch);
        let lane = losses.lanes.get(name.lane as usize);
        let acked = lane.filter(|lane| lane.epoch == name.epoch).map_or(0, |lane| lane.acked_upto);
        let scan = format::scan(&bytes, seal, name.first_seq, None);
        for span in scan.good.iter().filter(|span| span.seq > acked) {
            backlog.add(name.lane, span.wall_ns);
        }
    }
    Ok(backlog)
}

/// What an open has to do about former identities.
pub(super) struct Former {
    marks: Vec<String>,
    agents: BTreeSet<[u8; 16]>,
    backlog: Backlog,
}

/// Looks for identities that were given up, and forgets what `losses` says of them: else the new one
/// would declare the absence of records that were never its own. `None` when there are none.
pub(super) fn find(
    disk: &dyn Vfs,
    agent_id: &[u8; 16],
    losses: &mut Losses,
) -> io::Result<Option<Former>> {
    let mut marks = Vec::new();
    let mut agents = BTreeSet::new();
    for (name, _) in disk.list(&|name| marked(name).is_some())? {
        // The mark of an enrolment that was not finished waits for the one that is.
        if let Some(id) = marked(&name).filter(|id| id != agent_id) {
            marks.push(name);
            agents.insert(id);
        }
    }
    if marks.is_empty() {
        return Ok(None);
    }
    let backlog = count(disk, losses, |id| agents.contains(id))?;
    if segments(disk, |id| id == agent_id)?.is_empty() {
        losses.forget_identity();
    }
    Ok(Some(Former { marks, agents, backlog }))
}

/// Declares what is lost, and removes it.
///
/// # Errors
/// Something could not be removed; the next open tries again, and declares the same stretch.
pub(super) fn discard(spool: &mut Spool, former: &Former) -> io::Result<()> {
    let Backlog { records, rounds, from_wall_ns, to_wall_ns, .. } = former.backlog;
    if records > 0 {
        tracing::warn!(
            records,
            rounds,
            hours = former.backlog.hours(),
            "records of a former identity are given up, as enrolment was told to"
        );
    }
    if rounds > 0 {
        let now = spool.now();
        let gap = Gap {
            reason: GapReason::GapEvicted.into(),
            boot_tag: now.boot_tag,
            from_boot_ns: 0,
            to_boot_ns: 0,
            from_wall_ns,
            to_wall_ns: to_wall_ns.max(from_wall_ns.saturating_add(NS_PER_MS)),
            group: 0,
            rounds,
        };
        spool.append_own(&events::record(Kind::Gap(gap), now));
        // Before the removal, so that a kill in between declares it twice rather than never. On a
        // disk that these very records fill it waits in memory for the room that they leave.
        spool.commit();
    }
    let disk = spool.disk.as_deref().ok_or_else(super::store::no_disk)?;
    for (name, _, _) in segments(disk, |id| former.agents.contains(id))? {
        disk.remove(&name.to_string())?;
    }
    disk.sync_dir()?;
    for mark in &former.marks {
        disk.remove(mark)?;
    }
    disk.sync_dir()
}
