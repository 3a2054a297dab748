//! How full the spool is, how soon it will be, and who is told.

use std::{collections::VecDeque, time::Duration};

use super::{LANES, MAX_SEGMENTS, Spool, lane::Lane};

/// Per cent of the cap at which the agent warns.
const LEVELS: [u64; 3] = [50, 80, 95];
/// Per cent below a level at which it is left: a spool that hovers around a level warns once.
const HYSTERESIS: u64 = 5;
/// The past by which growth is measured.
const WINDOW: Duration = Duration::from_mins(15);
/// Growth over less than this is noise.
const LEAST_SPAN: Duration = Duration::from_mins(2);
/// Time between two looks that are remembered.
const REMEMBER_EVERY: Duration = Duration::from_secs(30);
/// Looks remembered: one each [`REMEMBER_EVERY`] of [`WINDOW`].
const MAX_LOOKS: usize = 31;
/// A spool that will be full later than this is not filling up.
const FAR_AWAY: Duration = Duration::from_hours(24 * 365);
/// What can run out of room: each lane, and the whole.
const PARTS: usize = LANES + 1;

/// How full the fullest part of the spool is: a lane, or the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Bytes on disk that the collector does not have yet.
    pub held_bytes: u64,
    /// Bytes that fit before the oldest are evicted: the configured cap in whole segments, or what
    /// the filesystem's free space leaves of it.
    pub cap_bytes: u64,
    /// Time until the first part is full if room goes on shrinking as it did over the last quarter
    /// of an hour at most, nanoseconds. `None` while that is not known, and when room does not
    /// shrink or did not all the time.
    pub full_in_ns: Option<u64>,
}

impl Fill {
    /// Share of the cap that is taken, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = self.held_bytes as f64 / self.cap_bytes.max(1) as f64;
        // A cap of nothing is a full one.
        if self.cap_bytes == 0 { 1.0 } else { share.min(1.0) }
    }

    fn percent(&self) -> u64 {
        match self.held_bytes.saturating_mul(100).checked_div(self.cap_bytes) {
            Some(percent) => percent.min(100),
            None => 100,
        }
    }

    /// Compares by share, without rounding.
    fn is_fuller_than(&self, other: &Self) -> bool {
        let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
        match (self.cap_bytes, other.cap_bytes) {
            (_, 0) => false,
            (0, _) => true,
            (mine, theirs) => cross(self.held_bytes, theirs) > cross(other.held_bytes, mine),
        }
    }
}

/// Bytes held and bytes that fit, of one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    held: u64,
    cap: u64,
}

impl Part {
    fn room(self) -> u64 {
        self.cap.saturating_sub(self.held)
    }
}

/// Remembers how much room there was, and which warning was given.
#[derive(Debug, Default)]
pub(super) struct FillWatch {
    /// Boot clock and room of each part, the oldest first.
    looks: VecDeque<(u64, [u64; PARTS])>,
    /// Levels reached and not left, from the lowest.
    reached: usize,
    pub(super) now: Option<Fill>,
}

/// What a look came to, when it is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crossing {
    Above(u64),
    Below(u64),
}

impl FillWatch {
    fn look(&mut self, parts: [Part; PARTS], now_ns: u64) -> Option<Crossing> {
        let rooms = parts.map(Part::room);
        let full_in_ns = self.full_in(rooms, now_ns);
        let is_due = self.looks.back().is_none_or(|(at, _)| since(*at, now_ns) >= REMEMBER_EVERY);
        if is_due {
            if self.looks.len() == MAX_LOOKS {
                self.looks.pop_front();
            }
            self.looks.push_back((now_ns, rooms));
        }
        let fills =
            parts.map(|Part { held, cap }| Fill { held_bytes: held, cap_bytes: cap, full_in_ns });
        let [first, others @ ..] = fills;
        let fill = others
            .into_iter()
            .fold(first, |most, fill| if fill.is_fuller_than(&most) { fill } else { most });
        self.now = Some(fill);
        self.cross(fill.percent())
    }

    /// The soonest that a part has no room left, by what it lost since it last gained any.
    fn full_in(&self, rooms: [u64; PARTS], now_ns: u64) -> Option<u64> {
        let soonest = rooms.into_iter().enumerate().filter_map(|(part, room)| {
            let mut first = None;
            let mut after = room;
            for (at, before) in self.looks.iter().rev() {
                if since(*at, now_ns) > WINDOW || before[part] < after {
                    break;
                }
                after = before[part];
                first = Some(*at);
            }
            let span = first.map(|at| since(at, now_ns)).filter(|span| *span >= LEAST_SPAN)?;
            let shrunk = u128::from(after - room);
            u64::try_from((u128::from(room) * span.as_nanos()).checked_div(shrunk)?).ok()
        });
        soonest.min().filter(|ns| Duration::from_nanos(*ns) < FAR_AWAY)
    }

    fn cross(&mut self, percent: u64) -> Option<Crossing> {
        let above = LEVELS.iter().take_while(|level| percent >= **level).count();
        let stays = LEVELS.iter().take_while(|level| percent + HYSTERESIS >= **level).count();
        let before = self.reached;
        if above > before {
            self.reached = above;
            return Some(Crossing::Above(LEVELS[above - 1]));
        }
        self.reached = before.min(stays);
        (self.reached < before).then(|| Crossing::Below(LEVELS[self.reached]))
    }
}

fn since(at_ns: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(at_ns))
}

impl Lane {
    /// Bytes that the collector does not have. A segment goes as a whole, so that one which it has
    /// in part counts whole, but for the newest: that one never goes, and weighs what it holds.
    fn held_bytes(&self) -> u64 {
        let weigh = |at: usize| {
            let segment = &self.segments[at];
            if !self.is_newest(at) {
                return if self.is_acked(at) { 0 } else { segment.file_len };
            }
            let len = self.active.as_ref().map_or(segment.file_len, |active| active.end);
            let (first, end) = (segment.first_seq, self.segment_end(at));
            let from = self.epoch(segment.epoch).map_or(first, |epoch| epoch.unacked_from(first));
            let (left, all) = (end.saturating_sub(from), end.saturating_sub(first));
            // An empty one holds nothing.
            (u128::from(len) * u128::from(left))
                .checked_div(u128::from(all))
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(0)
        };
        (0..self.segments.len()).map(weigh).sum()
    }

    /// Bytes that the active segment takes before another is needed.
    fn slack(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.capacity.saturating_sub(active.end))
    }
}

impl Spool {
    /// Looks how full the spool is, and warns once at each level. Without a usable directory it is
    /// not known.
    pub(super) fn watch_fill(&mut self) {
        let Some(parts) = self.parts() else {
            self.fill.now = None;
            return;
        };
        let crossing = self.fill.look(parts, self.clock.boot_ns());
        let (Some(crossing), Some(fill)) = (crossing, self.fill.now) else { return };
        let Fill { held_bytes, cap_bytes, full_in_ns } = fill;
        match crossing {
            Crossing::Above(level) => {
                let full_in = full_in_ns.map_or_else(
                    || "unknown".to_owned(),
                    |ns| format!("{} min", Duration::from_nanos(ns).as_secs().div_ceil(60)),
                );
                tracing::warn!(
                    percent = fill.percent(),
                    held_bytes,
                    cap_bytes,
                    full_in,
                    "the spool is more than {level} % full; at 100 % the oldest records are lost"
                );
            }
            Crossing::Below(level) => tracing::info!(
                percent = fill.percent(),
                held_bytes,
                cap_bytes,
                "the spool is less than {level} % full again"
            ),
        }
    }

    fn parts(&self) -> Option<[Part; PARTS]> {
        let disk = self.disk.as_deref()?;
        let segment = self.config.segment_bytes.max(1);
        let in_segments = |bytes: u64| bytes - bytes % segment;
        let mut parts = [Part::default(); PARTS];
        for (index, lane) in self.lanes.iter().enumerate() {
            // Less than two segments can not be kept: the newest stays when another is begun.
            let cap = in_segments(self.config.caps[index]).max(segment);
            parts[index] = Part { held: lane.held_bytes(), cap };
        }
        let held = parts.iter().map(|part| part.held).sum();
        let most = segment.saturating_mul(MAX_SEGMENTS as u64);
        let cap = parts.iter().map(|part| part.cap).sum::<u64>().min(most);
        // A filesystem that does not tell its free space leaves the configured caps.
        let room = disk.space().map_or(u64::MAX, |space| {
            let slack: u64 = self.lanes.iter().map(Lane::slack).sum();
            in_segments(space.free.saturating_sub(self.reserve_of(space))).saturating_add(slack)
        });
        parts[LANES] = Part { held, cap: cap.min(room.saturating_add(held)) };
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ns(seconds: u64) -> u64 {
        seconds * 1_000_000_000
    }

    /// Only the first part holds anything.
    fn held(held: u64) -> [Part; PARTS] {
        let rest = Part { held: 0, cap: 1000 * MIB };
        [Part { held, cap: 100 * MIB }, rest, rest]
    }

    #[test]
    fn each_level_is_told_once_until_it_is_clearly_left() {
        let mut watch = FillWatch::default();
        let mut told = |percent: u64| watch.look(held(percent * MIB), ns(1));
        for (percent, expected) in [
            (49, None),
            (50, Some(Crossing::Above(50))),
            (49, None),
            (50, None),
            (45, None),
            (79, None),
            (80, Some(Crossing::Above(80))),
            (76, None),
            (80, None),
            (74, Some(Crossing::Below(80))),
            (80, Some(Crossing::Above(80))),
            (100, Some(Crossing::Above(95))),
            (20, Some(Crossing::Below(50))),
            (10, None),
            (99, Some(Crossing::Above(95))),
        ] {
            assert_eq!(told(percent), expected, "at {percent} %");
        }
    }

    #[test]
    fn the_time_to_full_goes_by_the_growth_that_was() {
        let mut watch = FillWatch::default();
        let mut full_in = |mib: u64, second: u64| {
            watch.look(held(mib * MIB), ns(second));
            watch.now.and_then(|fill| fill.full_in_ns)
        };
        assert_eq!(full_in(10, 0), None, "one look tells no growth");
        assert_eq!(full_in(11, 60), None, "a minute is too short");
        // 2 MiB in 2 minutes, 88 are left.
        assert_eq!(full_in(12, 120), Some(ns(88 * 60)));
        assert_eq!(full_in(10, 180), None, "what does not grow has no end");
        assert_eq!(full_in(5, 240), None, "nor has what shrinks");
        // Since then 30 MiB in 6 minutes, 65 are left.
        assert_eq!(full_in(35, 600), Some(ns(13 * 60)));
        assert_eq!(full_in(100, 660), Some(0));
    }

    #[test]
    fn growth_of_long_ago_is_forgotten_and_the_memory_of_it_bounded() {
        let mut watch = FillWatch::default();
        watch.look(held(0), ns(0));
        for second in (10..7200).step_by(10) {
            watch.look(held(50 * MIB), ns(second));
        }
        assert_eq!(watch.now.unwrap().full_in_ns, None);
        assert!(watch.looks.len() <= MAX_LOOKS, "{}", watch.looks.len());
        let (oldest, _) = watch.looks[0];
        assert!(since(oldest, ns(7190)) + REMEMBER_EVERY >= WINDOW, "the window is covered");
    }

    #[test]
    fn the_fullest_part_counts_and_the_one_that_is_full_first() {
        let mut watch = FillWatch::default();
        let parts = |held: u64, cap: u64| {
            [
                Part { held: 30 * MIB, cap: 60 * MIB },
                Part { held, cap: 400 * MIB },
                Part { held: held + 30 * MIB, cap },
            ]
        };
        watch.look(parts(100 * MIB, 460 * MIB), ns(0));
        let fill = watch.now.unwrap();
        assert_eq!((fill.held_bytes, fill.cap_bytes), (30 * MIB, 60 * MIB));
        // Somebody else fills the disk: the cap of the whole comes down.
        assert_eq!(
            watch.look(parts(100 * MIB, 150 * MIB), ns(300)),
            Some(Crossing::Above(80)),
            "130 of 150"
        );
        let fill = watch.now.unwrap();
        assert_eq!((fill.held_bytes, fill.cap_bytes), (130 * MIB, 150 * MIB));
        // 310 MiB of room went in 300 s, 20 are left.
        assert_eq!(fill.full_in_ns, Some(ns(300) * 20 / 310));
        assert!((fill.share() - 130.0 / 150.0).abs() < 1e-9);
    }

    #[test]
    fn no_room_at_all_is_full() {
        let fill = Fill { held_bytes: 0, cap_bytes: 0, full_in_ns: None };
        assert_eq!((fill.share(), fill.percent()), (1.0, 100));
        let other = Fill { held_bytes: 5, cap_bytes: 10, ..fill };
        assert!(fill.is_fuller_than(&other) && !other.is_fuller_than(&fill));
    }
}
