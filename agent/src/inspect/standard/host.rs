//! Processors: HOST-RESOURCES-MIB (RFC 2790), else the mean that UCD-SNMP-MIB tells.

use super::super::mib::{Name, Read};
use crate::{device::Processor, snmp::tables::Tables};

/// Most processors of one device.
const MAX_PROCESSORS: usize = 1024;

const HR_DEVICE_DESCR: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 3]);
const HR_PROCESSOR_LOAD: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2]);
const SS_CPU_IDLE: Name = Name::new(&[1, 3, 6, 1, 4, 1, 2021, 11, 11]);

/// What is read of processors.
pub(crate) const COLUMNS: [Name; 2] = [HR_DEVICE_DESCR, HR_PROCESSOR_LOAD];
pub(crate) const SCALARS: [Name; 1] = [SS_CPU_IDLE];

/// Processors of HOST-RESOURCES-MIB.
pub(crate) fn processors(tables: &Tables) -> Vec<Processor> {
    let rows = tables.indexes(&[HR_PROCESSOR_LOAD]);
    let loads = rows.iter().filter_map(|index| {
        let load = tables.count(HR_PROCESSOR_LOAD, index).filter(|load| *load <= 100)?;
        Some(Processor {
            descr: tables.text(HR_DEVICE_DESCR, index).map_or_else(
                || "Processor".to_owned(),
                |text| text.trim_start_matches("GenuineIntel: ").to_owned(),
            ),
            usage_percent: load as f64,
            oid: HR_PROCESSOR_LOAD.dotted(index),
        })
    });
    loads.take(MAX_PROCESSORS).collect()
}

/// The mean over the last minute (UCD-SNMP-MIB).
pub(crate) fn mean(tables: &Tables) -> Option<Processor> {
    let idle = tables.count(SS_CPU_IDLE, &[0]).filter(|idle| *idle <= 100)?;
    Some(Processor {
        descr: "Processor".to_owned(),
        usage_percent: 100.0 - idle as f64,
        oid: SS_CPU_IDLE.dotted(&[0]),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    #[test]
    fn a_load_past_the_whole_is_none() {
        let made = Made::default()
            .with(HR_PROCESSOR_LOAD, &[1], 12_i64)
            .with(HR_DEVICE_DESCR, &[1], "GenuineIntel: Some  CPU")
            .with(HR_PROCESSOR_LOAD, &[2], 655_i64)
            .with(HR_PROCESSOR_LOAD, &[3], 0_i64);
        let found = processors(&made.0);
        let found: Vec<_> = found.iter().map(|of| (of.descr.as_str(), of.usage_percent)).collect();
        assert_eq!(found, [("Some CPU", 12.0), ("Processor", 0.0)]);
    }

    #[test]
    fn the_mean_is_what_is_not_idle() {
        let made = Made::default().with(SS_CPU_IDLE, &[0], 93_i64);
        assert_eq!(mean(&made.0).map(|of| of.usage_percent), Some(7.0));
        assert_eq!(mean(&Tables::default()), None);
    }
}
