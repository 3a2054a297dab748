//! Values that say what they are a reading of.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
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

/// What a series is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// UAI of the site.
    pub site: String,
    /// Address of the device.
    pub address: String,
    /// Metric.
    pub metric: Metric,
    /// `ifIndex`.
    pub instance: u32,
}

/// A value, and the series that it is kept in.
#[derive(Debug, Clone)]
pub struct Filed {
    /// The value.
    pub value: i64,
    /// Its series.
    pub series: Arc<Series>,
}

/// What was read so far: each answer is another reading of its counter, counted from 1.
#[derive(Debug, Default)]
pub struct Readings {
    /// Site and address of each device.
    places: Vec<(String, String)>,
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

    /// Learns the site and the address of each device, in the responder's order.
    #[must_use]
    pub fn placed(mut self, places: impl IntoIterator<Item = (String, SocketAddr)>) -> Self {
        self.places =
            places.into_iter().map(|(site, address)| (site, address.to_string())).collect();
        self
    }

    /// Whether this value was ever served, by the device and for the counter that it is filed under.
    #[must_use]
    pub fn is_genuine(&self, filed: &Filed) -> bool {
        let Ok(value) = u64::try_from(filed.value) else { return false };
        let (what, number) = (value >> NUMBER_BITS, value & ((1 << NUMBER_BITS) - 1));
        let was_served = number > 0 && lock(&self.served).get(&what).is_some_and(|n| number <= *n);
        was_served && self.series_of(what).is_some_and(|series| series == *filed.series)
    }

    /// Where the readings with these upper bits belong.
    fn series_of(&self, what: u64) -> Option<Series> {
        let metric = *METRICS.get(usize::try_from(what & ((1 << METRIC_BITS) - 1)).ok()?)?;
        let port = what >> METRIC_BITS;
        let instance = u32::try_from(port & ((1 << INTERFACE_BITS) - 1)).ok()?;
        let device = usize::try_from(port >> INTERFACE_BITS).ok()?;
        let (site, address) = self.places.get(device)?.clone();
        Some(Series { site, address, metric, instance })
    }

    /// Devices that these values are readings of.
    #[must_use]
    pub fn devices_among(&self, values: &[Filed]) -> usize {
        let devices: HashSet<&str> = values
            .iter()
            .filter(|filed| self.is_genuine(filed))
            .map(|filed| filed.series.address.as_str())
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

    fn place(device: u16) -> (String, SocketAddr) {
        (format!("site {}", device / 2), SocketAddr::from(([127, 0, 0, 1], 1_000 + device)))
    }

    #[test]
    fn only_what_was_served_is_genuine_and_only_where_it_belongs() {
        let readings = Readings::default().placed((0..8).map(place));
        let values = readings.values();
        let ask = |device, if_index| {
            let metric = Metric::IfHcOutOctets;
            i64::try_from(values(Question { device, metric, if_index, at: SystemTime::now() }))
                .unwrap()
        };
        let (site, address) = place(7);
        let address = address.to_string();
        let home = Series { site, address, metric: Metric::IfHcOutOctets, instance: 3 };
        let is_genuine = |value, series: &Series| {
            readings.is_genuine(&Filed { value, series: Arc::new(series.clone()) })
        };
        let (first, second, other) = (ask(7, 3), ask(7, 3), ask(7, 4));
        assert_eq!(second, first + 1);
        assert!(is_genuine(first, &home) && is_genuine(second, &home));
        for never in [second + 1, other, other + 1, 0, -1, first - 1, first + (1 << 60)] {
            assert!(!is_genuine(never, &home), "{never}");
        }
        let elsewhere = [
            Series { instance: 4, ..home.clone() },
            Series { metric: Metric::IfHcInOctets, ..home.clone() },
            Series { address: place(6).1.to_string(), ..home.clone() },
            Series { site: place(5).0, ..home.clone() },
        ];
        for series in &elsewhere {
            assert!(!is_genuine(first, series), "{series:?}");
        }
        assert!(is_genuine(other, &elsewhere[0]));
        // The same interface of the other device of the school.
        assert!(!is_genuine(ask(6, 3), &home));
        assert!(is_genuine(ask(6, 3), &elsewhere[2]));
        // A device that is nowhere.
        assert!(!is_genuine(ask(8, 3), &home));

        let filed = |value| Filed { value, series: Arc::new(home.clone()) };
        assert_eq!(readings.devices_among(&[filed(first), filed(second), filed(other)]), 1);
        assert_eq!(readings.devices_among(&[filed(5)]), 0);
    }
}
