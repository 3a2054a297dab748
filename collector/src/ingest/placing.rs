//! Where records stand in time whose boot never met the server and whose wall clock is absurd: a
//! machine with a dead battery that starts in 1970. They are kept, by their order: after what the
//! lane holds before them, before the boot of this session began, at their true distances within a
//! boot.

use std::collections::HashMap;

/// Boots of each lane whose place is remembered.
const MAX_BOOTS: usize = 64;

/// Where a boot stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// After this time, Unix milliseconds, and after what the session sees before its first record.
    After(i64),
    /// At this distance of server time from boot clock, milliseconds.
    Offset(i64),
}

/// What one lane has shown of earlier boots.
#[derive(Debug, Default)]
struct Order {
    boots: HashMap<u32, Place>,
    /// End of the newest record of an earlier boot, Unix milliseconds.
    newest_ms: Option<i64>,
}

/// Places records by their order. One for each session.
#[derive(Debug, Default)]
pub(super) struct Placing {
    lanes: [Order; 2],
}

impl Placing {
    fn lane(&mut self, lane: u8) -> &mut Order {
        &mut self.lanes[usize::from(lane.min(1))]
    }

    /// Whether nothing is known yet of where a boot stands.
    pub(super) fn is_new(&self, lane: u8, boot_tag: u32) -> bool {
        !self.lanes[usize::from(lane.min(1))].boots.contains_key(&boot_tag)
    }

    /// Notes that a boot comes after a moment, Unix milliseconds.
    pub(super) fn after(&mut self, lane: u8, boot_tag: u32, before_ms: i64) {
        let order = self.lane(lane);
        if order.boots.len() >= MAX_BOOTS {
            order.boots.clear();
        }
        order.boots.insert(boot_tag, Place::After(before_ms));
    }

    /// Time of a record of a boot whose place was noted, Unix milliseconds. Records come in order.
    pub(super) fn place(&mut self, lane: u8, boot_tag: u32, boot_ms: i64) -> Option<i64> {
        let order = self.lane(lane);
        let place = order.boots.get_mut(&boot_tag)?;
        let offset = match *place {
            Place::Offset(offset) => offset,
            Place::After(before_ms) => {
                let after_ms = order.newest_ms.map_or(before_ms, |newest| newest.max(before_ms));
                let offset = after_ms.saturating_add(1).saturating_sub(boot_ms);
                *place = Place::Offset(offset);
                offset
            }
        };
        Some(offset.saturating_add(boot_ms))
    }

    /// Time of another moment of a boot that has a place, Unix milliseconds.
    pub(super) fn at(&self, lane: u8, boot_tag: u32, boot_ms: i64) -> Option<i64> {
        match self.lanes[usize::from(lane.min(1))].boots.get(&boot_tag)? {
            Place::Offset(offset) => Some(offset.saturating_add(boot_ms)),
            Place::After(_) => None,
        }
    }

    /// Notes that a record of an earlier boot ends here.
    pub(super) fn saw(&mut self, lane: u8, end_ms: i64) {
        let order = self.lane(lane);
        order.newest_ms = order.newest_ms.max(Some(end_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_follow_each_other_and_keep_their_distances() {
        let mut placing = Placing::default();
        placing.after(1, 7, 1_000_000);
        placing.after(1, 8, 1_000_000);
        assert_eq!(placing.at(1, 7, 50_000), None);
        assert_eq!(placing.place(1, 7, 50_000), Some(1_000_001));
        assert_eq!(placing.place(1, 7, 60_000), Some(1_010_001));
        placing.saw(1, 1_010_001);
        assert_eq!(placing.place(1, 8, 2_000), Some(1_010_002));
        assert_eq!(placing.at(1, 8, 1_000), Some(1_009_002));
        assert!(placing.is_new(0, 7) && !placing.is_new(1, 7));
        assert_eq!(placing.place(0, 8, 2_000), None);
    }
}
