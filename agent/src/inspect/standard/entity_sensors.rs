//! Sensors of parts: ENTITY-SENSOR-MIB (RFC 3433), and CISCO-ENTITY-SENSOR-MIB, which has the same shape
//! and more types.

use super::{
    super::mib::{Name, Read},
    entity,
    interfaces::Known,
};
use crate::{
    device::{Sensor, Severity},
    snmp::tables::Tables,
};

/// Most sensors of one device; a switch with 48 optics of five sensors has 240.
const MAX_SENSORS: usize = 8192;
/// A part stands in another at most so many times.
const MAX_DEPTH: usize = 12;

/// entPhySensorEntry.
const STANDARD: Name = Name::new(&[1, 3, 6, 1, 2, 1, 99, 1, 1, 1]);
/// entSensorValueEntry.
const CISCO: Name = Name::new(&[1, 3, 6, 1, 4, 1, 9, 9, 91, 1, 1, 1, 1]);
const BASES: [Name; 2] = [STANDARD, CISCO];

const TYPE: u32 = 1;
const SCALE: u32 = 2;
const PRECISION: u32 = 3;
const VALUE: u32 = 4;
const STATUS: u32 = 5;

/// What is read of sensors.
pub(crate) const COLUMNS: [Name; 10] = [
    STANDARD.child(TYPE),
    STANDARD.child(SCALE),
    STANDARD.child(PRECISION),
    STANDARD.child(VALUE),
    STANDARD.child(STATUS),
    CISCO.child(TYPE),
    CISCO.child(SCALE),
    CISCO.child(PRECISION),
    CISCO.child(VALUE),
    CISCO.child(STATUS),
];

/// A sensor's status when its value can be read.
const OK: u32 = 1;
/// A sensor type's number for truth values.
const TRUTH_VALUE: u32 = 12;
/// The scale `units`; its neighbours are thousands apart.
const UNITS: i32 = 9;

/// Sensors of either MIB whose value can be read now.
pub(crate) fn sensors(tables: &Tables, known: &Known<'_>) -> Vec<Sensor> {
    let interfaces = entity::interfaces(tables);
    let rows = BASES.into_iter().flat_map(|base| {
        let rows = tables.indexes(&[base.child(VALUE)]);
        rows.into_iter().filter_map(move |index| match *index {
            [part] => Some((base, part)),
            _ => None,
        })
    });
    let sensors = rows.filter_map(|(base, part)| {
        let (class, value, state) = reading(tables, base, part)?;
        let port = holders(tables, part).find_map(|holder| interfaces.get(&holder));
        let port = port.and_then(|index| known.get(*index)).map(|interface| &interface.name);
        let label = entity::label(tables, part).unwrap_or_default();
        let descr = match port {
            Some(name) if !name.is_empty() && !label.contains(name.as_str()) => {
                format!("{name} {label}")
            }
            Some(_) | None => label,
        };
        Some(Sensor {
            class: class.to_owned(),
            descr,
            value: Some(value),
            state,
            group: port.map(|_| "transceiver".to_owned()),
            oid: base.child(VALUE).dotted(&[part]),
        })
    });
    sensors.take(MAX_SENSORS).collect()
}

/// The part and what holds it, from within outwards.
fn holders(tables: &Tables, part: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(part), |part| entity::container(tables, *part)).take(MAX_DEPTH)
}

type Reading = (&'static str, f64, Option<(String, Severity)>);

fn reading(tables: &Tables, base: Name, part: u32) -> Option<Reading> {
    let row = &[part][..];
    // A device that leaves the status out is believed.
    if tables.code(base.child(STATUS), row).is_some_and(|status| status != OK) {
        return None;
    }
    let raw = tables.integer(base.child(VALUE), row)?;
    let kind = tables.code(base.child(TYPE), row)?;
    if kind == TRUTH_VALUE {
        // What is true is the device's secret: a fan that turns, or an alarm.
        let text = match raw {
            1 => "true",
            2 => "false",
            _ => return None,
        };
        return Some(("state", raw as f64, Some((text.to_owned(), Severity::Unknown))));
    }
    let class = class_name(kind)?;
    let scale = tables.integer(base.child(SCALE), row).and_then(|scale| i32::try_from(scale).ok());
    let scale = scale.filter(|scale| (1..=17).contains(scale)).unwrap_or(UNITS);
    let precision = tables.integer(base.child(PRECISION), row);
    let precision = precision.and_then(|digits| i32::try_from(digits).ok());
    // Negative: so many digits before the point are right, which changes nothing of the value.
    let digits = precision.filter(|digits| (0..=9).contains(digits)).unwrap_or(0);
    let exponent = (scale - UNITS) * 3 - digits;
    // Divided where it can be: 275 / 10 is 27.5, and 275 × 0.1 is not.
    let value = if exponent < 0 {
        raw as f64 / 10_f64.powi(-exponent)
    } else {
        raw as f64 * 10_f64.powi(exponent)
    };
    Some((class, value, None))
}

/// Class of a sensor by `EntitySensorDataType`, and by Cisco's `SensorDataType`, which adds 14.
fn class_name(kind: u32) -> Option<&'static str> {
    Some(match kind {
        3 | 4 => "voltage",
        5 => "current",
        6 => "power",
        7 => "frequency",
        8 => "temperature",
        9 => "humidity",
        10 => "fanspeed",
        11 => "airflow",
        14 => "dbm",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::mib::tests::Made, interfaces::Interface},
        *,
    };

    fn sensor(base: Name, kind: i64, scale: i64, precision: i64, value: i64, status: i64) -> Made {
        Made::default()
            .with(base.child(TYPE), &[7], kind)
            .with(base.child(SCALE), &[7], scale)
            .with(base.child(PRECISION), &[7], precision)
            .with(base.child(VALUE), &[7], value)
            .with(base.child(STATUS), &[7], status)
    }

    #[test]
    fn values_are_scaled_to_the_unit_of_their_class() {
        for (base, kind, scale, precision, value, class, expected) in [
            (STANDARD, 8, 9, 1, 275, "temperature", 27.5),
            (STANDARD, 8, 8, 0, 27_375, "temperature", 27.375),
            (STANDARD, 6, 8, 3, 10_646, "power", 0.010_646),
            (STANDARD, 10, 9, 0, 4136, "fanspeed", 4136.0),
            (STANDARD, 7, 10, 0, 2, "frequency", 2000.0),
            (STANDARD, 9, 9, -1, 40, "humidity", 40.0),
            (CISCO, 14, 9, 1, -73, "dbm", -7.3),
            (CISCO, 5, 8, 1, 61, "current", 0.0061),
        ] {
            let made = sensor(base, kind, scale, precision, value, 1);
            let found = sensors(&made.0, &Known(&[]));
            assert_eq!(found.len(), 1, "{class}");
            assert_eq!((found[0].class.as_str(), found[0].value), (class, Some(expected)));
        }
    }

    #[test]
    fn a_sensor_that_can_not_be_read_has_no_value() {
        for status in [2, 3] {
            let made = sensor(STANDARD, 8, 9, 0, 0, status);
            assert_eq!(sensors(&made.0, &Known(&[])), []);
        }
        assert_eq!(sensors(&sensor(STANDARD, 1, 9, 0, 5, 1).0, &Known(&[])), []);
    }

    #[test]
    fn an_optic_is_told_with_its_port() {
        let interface = [1_u32, 3, 6, 1, 2, 1, 2, 2, 1, 1, 52];
        let entity = Name::new(&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1]);
        let alias = Name::new(&[1, 3, 6, 1, 2, 1, 47, 1, 3, 2, 1, 2]);
        let made = sensor(STANDARD, 8, 9, 0, 31, 1)
            .with(entity.child(7), &[7], "Temperature")
            .with(entity.child(4), &[7], 6_i64)
            .with(entity.child(4), &[6], 5_i64)
            .with(entity.child(4), &[5], 5_i64)
            .with(alias, &[6, 0], &interface[..]);
        let ports = [Interface { index: 52, name: "Gi52".into(), ..Interface::default() }];
        let found = sensors(&made.0, &Known(&ports));
        assert_eq!(found[0].descr, "Gi52 Temperature");
        assert_eq!(found[0].oid, ".1.3.6.1.2.1.99.1.1.1.4.7");
    }

    #[test]
    fn a_truth_value_is_a_state_of_unknown_meaning() {
        let found = sensors(&sensor(STANDARD, 12, 9, 0, 1, 1).0, &Known(&[]));
        assert_eq!(found[0].state, Some(("true".to_owned(), Severity::Unknown)));
    }
}
