//! Values that say what they are a reading of.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::v1::Metric;

use crate::snmp_responder::{Question, Values};

/// Counters whose values are readings.
pub const METRICS: [Metric; 4] = [
    Metric::IfHcInOctets,
    Metric::IfHcOutOctets,
    Metric::IfHcInUcastPkts,
    Metric::IfHcOutUcastPkts,
];

/// Bits of the number of a reading.
const NUMBER_BITS: u32 = 32;
/// Bits of an interface.
const INTERFACE_BITS: u32 = 8;
/// Bits of a metric's position in [`METRICS`].
const METRIC_BITS: u32 = 4;

/// What was read so far: each answer is another reading of its counter, counted from 1.
#[derive(Debug, Default)]
pub struct Readings {
    /// Highest number served, by what stands above it in the value.
    served: Arc<Mutex<HashMap<u64, u64>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Readings {
    /// The function that a responder answers with.
    #[must_use]
    pub fn values(&self) -> Arc<Values> {
        let served = Arc::clone(&self.served);
        Arc::new(move |question: Question| {
            let Some(metric) = METRICS.iter().position(|metric| *metric == question.metric) else {
                return constant(question);
            };
            let device = u64::try_from(question.device).unwrap_or(u64::MAX);
            let metric = u64::try_from(metric).unwrap_or(u64::MAX);
            let port = (device << INTERFACE_BITS) | u64::from(question.if_index);
            let what = (port << METRIC_BITS) | metric;
            let mut served = lock(&served);
            let number = served.entry(what).or_insert(0);
            *number += 1;
            (what << NUMBER_BITS) | *number
        })
    }

    /// Whether this value was ever served.
    #[must_use]
    pub fn is_genuine(&self, value: i64) -> bool {
        let Ok(value) = u64::try_from(value) else { return false };
        let number = value & ((1 << NUMBER_BITS) - 1);
        let served = lock(&self.served);
        number > 0 && served.get(&(value >> NUMBER_BITS)).is_some_and(|last| number <= *last)
    }

    /// Devices that these values are readings of.
    #[must_use]
    pub fn devices_among(&self, values: &[i64]) -> usize {
        let devices: HashSet<i64> = values
            .iter()
            .filter(|value| self.is_genuine(**value))
            .map(|value| value >> (NUMBER_BITS + METRIC_BITS + INTERFACE_BITS))
            .collect();
        devices.len()
    }
}

/// What is no counter under watch: an interface that is up, a device that has been up for a while.
#[expect(clippy::wildcard_enum_match_arm, reason = "a device treats most metrics alike")]
fn constant(question: Question) -> u64 {
    match question.metric {
        Metric::IfOperStatus | Metric::IfAdminStatus => 1,
        Metric::IfHighSpeed => 1_000,
        Metric::SysUpTime => {
            let since = question.at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            // Hundredths of a second since some round moment of the past.
            u64::try_from(since.as_millis() / 10).unwrap_or(0) % 1_000_000_000
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_what_was_served_is_genuine() {
        let readings = Readings::default();
        let values = readings.values();
        let ask = |if_index| {
            let metric = Metric::IfHcOutOctets;
            let value = values(Question { device: 7, metric, if_index, at: SystemTime::now() });
            i64::try_from(value).unwrap()
        };
        let (first, second, other) = (ask(3), ask(3), ask(4));
        assert_eq!(second, first + 1);
        assert!([first, second, other].iter().all(|value| readings.is_genuine(*value)));
        for never in [second + 1, other + 1, 0, -1, first - 1, first + (1 << 60)] {
            assert!(!readings.is_genuine(never), "{never}");
        }
        assert_eq!(readings.devices_among(&[first, second, other, second + 1]), 1);
        assert_eq!(readings.devices_among(&[5]), 0);
    }
}
