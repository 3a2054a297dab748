//! The stretch of its site's time that a loss of samples leaves empty.
//!
//! A loss names the wall clock of the first and last round that is gone. That clock may be wrong: how
//! far, the loss's own record shows, whose boot clock the server knows. Where neither is a time that
//! can be, the order tells: after the last record that the lane holds before the loss, and before the
//! loss was declared.

use domain::sample::Span;
use proto::{LANE_SAMPLES, records::Record, v1};
use store::DeclaredGap;

use super::{AHEAD_MS, Ingest, NS_PER_MS};
use crate::{session::ClockMap, wire};

/// A round stands for the time until the next one of its group, and for no more than this,
/// milliseconds.
const MAX_ROUND_MS: i64 = 300_000;

/// When a loss was declared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared {
    seq: u64,
    wall_ns: i64,
    /// `None` for a boot that never met the server.
    server_ns: Option<i64>,
}

impl Declared {
    pub(super) fn new(record: &Record, clock: &ClockMap) -> Self {
        let server_ns = clock.map(record.boot_tag, record.boot_ns);
        Self { seq: record.seq, wall_ns: record.wall_ns, server_ns }
    }

    /// The latest that anything lost can be, Unix milliseconds.
    fn latest_ms(&self, now_ms: i64) -> i64 {
        self.server_ns.map_or(now_ms, |ns| ns.div_euclid(NS_PER_MS).min(now_ms))
    }
}

impl Ingest {
    /// The loss in an event whose time only the order of the lane can tell.
    pub(super) fn is_timeless(&self, loss: &v1::Loss, declared: Declared, now_ms: i64) -> bool {
        loss.lane == LANE_SAMPLES && self.by_clock(loss, declared, now_ms).is_none()
    }

    /// Notes when the lane's last record before a loss was, Unix milliseconds.
    pub(super) fn lost_after(&mut self, declared: Declared, before_ms: i64) {
        self.lost_after.insert(declared.seq, before_ms);
    }

    /// The gap that a loss leaves; `None` for a loss of events, and where nothing tells its time.
    pub(super) fn hole(
        &self,
        loss: &v1::Loss,
        declared: Declared,
        now_ms: i64,
    ) -> Option<DeclaredGap> {
        if loss.lane != LANE_SAMPLES {
            return None;
        }
        let reason = wire::gap_reason(loss.reason());
        let span = self.by_clock(loss, declared, now_ms).or_else(|| {
            let from_ms = *self.lost_after.get(&declared.seq)?;
            let span = Span { from_ms, to_ms: declared.latest_ms(now_ms) };
            (span.from_ms < span.to_ms).then_some(span)
        });
        if span.is_none() {
            tracing::warn!(
                site = self.site.0,
                agent = %self.agent,
                reason,
                "nothing tells the time of a loss: its hole has no reason"
            );
        }
        span.map(|span| DeclaredGap { group: None, span, reason })
    }

    fn by_clock(&self, loss: &v1::Loss, declared: Declared, now_ms: i64) -> Option<Span> {
        if loss.from_wall_ns == 0 || loss.to_wall_ns == 0 {
            return None;
        }
        let latest_ms = declared.latest_ms(now_ms);
        let period_ms = self.periods.values().copied().max().unwrap_or(0).min(MAX_ROUND_MS);
        let behind_ns =
            declared.server_ns.map_or(0, |server_ns| server_ns.saturating_sub(declared.wall_ns));
        // The clock may have been set right since: then it was off, and what it said now is not.
        [behind_ns, 0].into_iter().find_map(|behind_ns| {
            let at = |wall_ns: i64| wall_ns.saturating_add(behind_ns).div_euclid(NS_PER_MS);
            let (from_ms, last_ms) = (at(loss.from_wall_ns), at(loss.to_wall_ns));
            let to_ms = last_ms.saturating_add(period_ms).min(latest_ms.max(last_ms));
            let plausible = from_ms < to_ms
                && last_ms <= latest_ms.saturating_add(AHEAD_MS)
                && self.accepts(from_ms, now_ms)
                && self.accepts(to_ms, now_ms);
            plausible.then_some(Span { from_ms, to_ms })
        })
    }
}
