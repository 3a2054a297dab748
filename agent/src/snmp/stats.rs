//! What the SNMP sessions of this process met, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the start of the process, over all devices.
#[derive(Debug, Default)]
pub struct Stats {
    /// Requests sent, retries included.
    pub requests: AtomicU64,
    /// Values received that were asked for.
    pub varbinds: AtomicU64,
    /// Requests that no reply answered in time.
    pub timeouts: AtomicU64,
    /// Replies that were no answer to the request: wrong id, community or version, broken encoding.
    pub malformed: AtomicU64,
    /// Replies with an error status.
    pub error_statuses: AtomicU64,
    /// Values that could not be decoded and were stepped over.
    pub undecodable: AtomicU64,
    /// Values of another type than their object's.
    pub wrong_type: AtomicU64,
    /// Columns given up because their names did not increase.
    pub disordered: AtomicU64,
    /// Tables cut by a cap on values or time.
    pub capped: AtomicU64,
    /// Rounds lost to a panic.
    pub panics: AtomicU64,
}

/// The counts of this process.
pub static STATS: Stats = Stats {
    requests: AtomicU64::new(0),
    varbinds: AtomicU64::new(0),
    timeouts: AtomicU64::new(0),
    malformed: AtomicU64::new(0),
    error_statuses: AtomicU64::new(0),
    undecodable: AtomicU64::new(0),
    wrong_type: AtomicU64::new(0),
    disordered: AtomicU64::new(0),
    capped: AtomicU64::new(0),
    panics: AtomicU64::new(0),
};

/// Adds to a count.
pub(crate) fn add(count: &AtomicU64, n: usize) {
    count.fetch_add(n as u64, Relaxed);
}
