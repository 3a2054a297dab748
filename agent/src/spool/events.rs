//! The spool's own entries in lane 0.

use prost::Message as _;
use proto::v1::{Event, Gap, GapReason, Loss, Started, Stopped, event::Event as Kind};

use super::{Moment, NewRecord};

/// An event as a record that will not wait for the next commit interval's end.
pub(super) fn record(event: Kind, now: Moment) -> NewRecord {
    NewRecord {
        lane: proto::LANE_EVENTS,
        kind: proto::KIND_EVENT,
        boot_ns: now.boot_ns,
        wall_ns: now.wall_ns,
        boot_tag: now.boot_tag,
        n_items: 1,
        urgent: true,
        payload: Event { event: Some(event) }.encode_to_vec(),
    }
}

pub(super) fn loss(loss: Loss, now: Moment) -> NewRecord {
    record(Kind::Loss(loss), now)
}

pub(super) fn started(version: &str, clean: bool, now: Moment) -> NewRecord {
    let version = version.to_owned();
    record(Kind::Started(Started { version, boot_tag: now.boot_tag, clean }), now)
}

pub(super) fn stopped(reason: &str, now: Moment) -> NewRecord {
    record(Kind::Stopped(Stopped { reason: reason.to_owned() }), now)
}

/// Nothing was measured between `from`, the last durable record, and `now`.
pub(super) fn gap(reason: GapReason, from: Moment, now: Moment) -> NewRecord {
    // Boot clocks of two boots cannot be compared.
    let same_boot = from.boot_tag == now.boot_tag;
    let (from_boot_ns, to_boot_ns) = if same_boot { (from.boot_ns, now.boot_ns) } else { (0, 0) };
    let gap = Gap {
        reason: reason.into(),
        boot_tag: now.boot_tag,
        from_boot_ns,
        to_boot_ns,
        from_wall_ns: from.wall_ns,
        to_wall_ns: now.wall_ns,
        group: 0,
        rounds: 0,
    };
    record(Kind::Gap(gap), now)
}

/// True when the payload is a clean stop's.
pub(super) fn is_stop(kind: u8, payload: &[u8]) -> bool {
    kind == proto::KIND_EVENT
        && Event::decode(payload).is_ok_and(|event| matches!(event.event, Some(Kind::Stopped(_))))
}
