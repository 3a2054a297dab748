//! Uninterruptible power supplies: UPS-MIB (RFC 1628).

use super::super::mib::{Name, Read, dotted};
use crate::{
    device::{Sensor, Severity},
    snmp::tables::Tables,
};

/// Most lines of one device: three phases, twice.
const MAX_LINES: usize = 12;
/// Most alarms told.
const MAX_ALARMS: usize = 64;

const UPS: Name = Name::new(&[1, 3, 6, 1, 2, 1, 33, 1]);
const IDENT: Name = UPS.child(1);
const MANUFACTURER: Name = IDENT.child(1);
const MODEL: Name = IDENT.child(2);
const SOFTWARE: Name = IDENT.child(3);
const AGENT_SOFTWARE: Name = IDENT.child(4);
const BATTERY: Name = UPS.child(2);
const BATTERY_STATUS: Name = BATTERY.child(1);
const ON_BATTERY: Name = BATTERY.child(2);
const REMAINING: Name = BATTERY.child(3);
const CHARGE: Name = BATTERY.child(4);
const BATTERY_VOLTAGE: Name = BATTERY.child(5);
const BATTERY_CURRENT: Name = BATTERY.child(6);
const BATTERY_TEMPERATURE: Name = BATTERY.child(7);
const INPUT: Name = UPS.child(3).child(3).child(1);
const OUTPUT_SOURCE: Name = UPS.child(4).child(1);
const OUTPUT_FREQUENCY: Name = UPS.child(4).child(2);
const OUTPUT: Name = UPS.child(4).child(4).child(1);
const BYPASS_FREQUENCY: Name = UPS.child(5).child(1);
const BYPASS: Name = UPS.child(5).child(3).child(1);
const ALARMS_PRESENT: Name = UPS.child(6).child(1);
const ALARM_DESCR: Name = UPS.child(6).child(2).child(1).child(2);
/// upsWellKnownAlarms; the alarm's number follows.
const WELL_KNOWN: [u32; 10] = [1, 3, 6, 1, 2, 1, 33, 1, 6, 3];
const TEST_RESULT: Name = UPS.child(7).child(3);

/// A scalar that becomes a sensor: object, class, description, what it is divided by.
const SCALARS: [(Name, &str, &str, f64); 8] = [
    (ON_BATTERY, "runtime", "Time on battery", 60.0),
    (REMAINING, "runtime", "Estimated battery time remaining", 1.0),
    (CHARGE, "charge", "Battery charge remaining", 1.0),
    (BATTERY_VOLTAGE, "voltage", "Battery", 10.0),
    (BATTERY_CURRENT, "current", "Battery", 10.0),
    (BATTERY_TEMPERATURE, "temperature", "Battery", 1.0),
    (OUTPUT_FREQUENCY, "frequency", "Output", 10.0),
    (BYPASS_FREQUENCY, "frequency", "Bypass", 10.0),
];

/// A column of lines: object, class, description, what it is divided by.
const LINES: [(Name, &str, &str, f64); 11] = [
    (INPUT.child(2), "frequency", "Input", 10.0),
    (INPUT.child(3), "voltage", "Input", 1.0),
    (INPUT.child(4), "current", "Input", 10.0),
    (INPUT.child(5), "power", "Input", 1.0),
    (OUTPUT.child(2), "voltage", "Output", 1.0),
    (OUTPUT.child(3), "current", "Output", 10.0),
    (OUTPUT.child(4), "power", "Output", 1.0),
    (OUTPUT.child(5), "load", "Percentage load", 1.0),
    (BYPASS.child(2), "voltage", "Bypass", 1.0),
    (BYPASS.child(3), "current", "Bypass", 10.0),
    (BYPASS.child(4), "power", "Bypass", 1.0),
];

/// What is read of power supplies.
pub(crate) fn columns() -> impl Iterator<Item = Name> {
    LINES.into_iter().map(|(column, ..)| column).chain([ALARM_DESCR])
}

pub(crate) fn scalars() -> impl Iterator<Item = Name> {
    let others = [
        MANUFACTURER,
        MODEL,
        SOFTWARE,
        AGENT_SOFTWARE,
        BATTERY_STATUS,
        OUTPUT_SOURCE,
        ALARMS_PRESENT,
        TEST_RESULT,
    ];
    SCALARS.into_iter().map(|(object, ..)| object).chain(others)
}

/// Make, model and version; the agent card's version where the UPS tells none.
pub(crate) fn identity(tables: &Tables) -> [Option<String>; 3] {
    let text = |column| tables.text(column, &[0]);
    [text(MANUFACTURER), text(MODEL), text(SOFTWARE).or_else(|| text(AGENT_SOFTWARE))]
}

/// True for a device that answers as a UPS.
pub(crate) fn is_ups(tables: &Tables) -> bool {
    let objects = [BATTERY_STATUS, OUTPUT_SOURCE, CHARGE, REMAINING];
    objects.iter().any(|column| tables.integer(*column, &[0]).is_some())
}

/// Figures and states.
pub(crate) fn sensors(tables: &Tables) -> Vec<Sensor> {
    if !is_ups(tables) {
        return Vec::new();
    }
    let mut sensors = Vec::new();
    for (column, class, descr, divisor) in SCALARS {
        let value = tables.integer(column, &[0]).filter(|value| is_told(class, *value));
        sensors.extend(value.map(|value| {
            figure(class, descr.to_owned(), value as f64 / divisor, column.dotted(&[0]))
        }));
    }
    for (column, class, descr, divisor) in LINES {
        let lines = tables.indexes(&[column]);
        let single = lines.len() == 1;
        for index in lines.iter().take(MAX_LINES) {
            // A longer index is another scale too, as its makers depart from the MIB in both.
            let [line] = **index else { continue };
            let value = tables.integer(column, index).filter(|value| is_told(class, *value));
            let Some(value) = value else { continue };
            let descr = if single { descr.to_owned() } else { format!("{descr} {line}") };
            sensors.push(figure(class, descr, value as f64 / divisor, column.dotted(index)));
        }
    }
    let scalar = |column| tables.code(column, &[0]);
    let states = [
        ("Battery Status", BATTERY_STATUS, scalar(BATTERY_STATUS).and_then(battery_status)),
        ("Output Source", OUTPUT_SOURCE, scalar(OUTPUT_SOURCE).and_then(output_source)),
        ("Test Result", TEST_RESULT, scalar(TEST_RESULT).and_then(test_result)),
    ];
    sensors.extend(states.into_iter().filter_map(|(descr, column, state)| {
        let (text, severity) = state?;
        Some(Sensor {
            class: "state".to_owned(),
            descr: descr.to_owned(),
            value: tables.integer(column, &[0]).map(|number| number as f64),
            state: Some((text.to_owned(), severity)),
            group: None,
            oid: column.dotted(&[0]),
        })
    }));
    sensors.extend(alarms(tables));
    sensors
}

/// Of these, a negative figure is no figure; currents flow both ways and cellars freeze.
fn is_told(class: &str, value: i64) -> bool {
    value >= 0 || matches!(class, "current" | "temperature")
}

fn figure(class: &str, descr: String, value: f64, oid: String) -> Sensor {
    Sensor { class: class.to_owned(), descr, value: Some(value), state: None, group: None, oid }
}

/// How many alarms there are, and each.
fn alarms(tables: &Tables) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    if let Some(count) = tables.count(ALARMS_PRESENT, &[0]) {
        sensors.push(figure(
            "count",
            "Alarms".to_owned(),
            count as f64,
            ALARMS_PRESENT.dotted(&[0]),
        ));
    }
    for index in tables.indexes(&[ALARM_DESCR]).iter().take(MAX_ALARMS) {
        let Some(alarm) = tables.oid(ALARM_DESCR, index) else { continue };
        let number = match alarm.strip_prefix(&WELL_KNOWN[..]) {
            Some([number]) => Some(*number),
            Some(_) | None => None,
        };
        let (text, severity) = number.and_then(alarm_name).unwrap_or(("other", Severity::Warning));
        sensors.push(Sensor {
            class: "state".to_owned(),
            descr: format!("Alarm {}", dotted(index).trim_start_matches('.')),
            value: number.map(f64::from),
            state: Some((text.to_owned(), severity)),
            group: Some("alarm".to_owned()),
            oid: ALARM_DESCR.dotted(index),
        });
    }
    sensors
}

fn battery_status(number: u32) -> Option<(&'static str, Severity)> {
    Some(match number {
        1 => ("unknown", Severity::Unknown),
        2 => ("normal", Severity::Ok),
        3 => ("low", Severity::Critical),
        4 => ("depleted", Severity::Critical),
        _ => return None,
    })
}

fn output_source(number: u32) -> Option<(&'static str, Severity)> {
    Some(match number {
        1 => ("other", Severity::Unknown),
        2 => ("none", Severity::Critical),
        3 => ("normal", Severity::Ok),
        4 => ("bypass", Severity::Warning),
        5 => ("battery", Severity::Critical),
        6 => ("booster", Severity::Warning),
        7 => ("reducer", Severity::Warning),
        _ => return None,
    })
}

fn test_result(number: u32) -> Option<(&'static str, Severity)> {
    Some(match number {
        1 => ("passed", Severity::Ok),
        2 => ("passed with a warning", Severity::Warning),
        3 => ("failed", Severity::Critical),
        4 => ("aborted", Severity::Warning),
        5 => ("in progress", Severity::Ok),
        6 => ("none yet", Severity::Ok),
        _ => return None,
    })
}

/// The alarms that the MIB knows, and how bad each is.
fn alarm_name(number: u32) -> Option<(&'static str, Severity)> {
    Some(match number {
        1 => ("battery bad", Severity::Critical),
        2 => ("on battery", Severity::Critical),
        3 => ("low battery", Severity::Critical),
        4 => ("depleted battery", Severity::Critical),
        5 => ("temperature out of range", Severity::Critical),
        6 => ("input out of range", Severity::Warning),
        7 => ("output out of range", Severity::Critical),
        8 => ("output overload", Severity::Critical),
        9 => ("on bypass", Severity::Warning),
        10 => ("bypass out of range", Severity::Warning),
        11 => ("output off as requested", Severity::Warning),
        12 => ("UPS off as requested", Severity::Warning),
        13 => ("charger failed", Severity::Critical),
        14 => ("output off", Severity::Critical),
        15 => ("system off", Severity::Critical),
        16 => ("fan failure", Severity::Critical),
        17 => ("fuse failure", Severity::Critical),
        18 => ("general fault", Severity::Critical),
        19 => ("diagnostic test failed", Severity::Critical),
        20 => ("communications lost", Severity::Critical),
        21 => ("awaiting power", Severity::Warning),
        22 => ("shutdown pending", Severity::Critical),
        23 => ("shutdown imminent", Severity::Critical),
        24 => ("test in progress", Severity::Ok),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    fn told(made: &Made) -> Vec<(String, String, Option<f64>)> {
        let sensors = sensors(&made.0).into_iter();
        sensors.map(|of| (of.class, of.descr, of.value)).collect()
    }

    #[test]
    fn figures_come_in_the_units_of_their_class() {
        let made = Made::default()
            .with(ON_BATTERY, &[0], 120_i64)
            .with(CHARGE, &[0], 87_i64)
            .with(BATTERY_VOLTAGE, &[0], 812_i64)
            .with(BATTERY_CURRENT, &[0], -5_i64)
            .with(INPUT.child(2), &[1], 500_i64)
            .with(OUTPUT.child(5), &[1], 40_i64)
            .with(OUTPUT.child(5), &[2], 41_i64);
        let expected = [
            ("runtime", "Time on battery", 2.0),
            ("charge", "Battery charge remaining", 87.0),
            ("voltage", "Battery", 81.2),
            ("current", "Battery", -0.5),
            ("frequency", "Input", 50.0),
            ("load", "Percentage load 1", 40.0),
            ("load", "Percentage load 2", 41.0),
        ];
        let expected =
            expected.map(|(class, descr, value)| (class.into(), descr.into(), Some(value)));
        assert_eq!(told(&made), expected);
    }

    #[test]
    fn what_departs_from_the_mib_is_left_alone() {
        let made =
            Made::default().with(CHARGE, &[0], -1_i64).with(OUTPUT.child(2), &[1, 0], 2303_i64);
        assert_eq!(told(&made), []);
    }

    #[test]
    fn alarms_are_told_by_name() {
        let on_battery = [&WELL_KNOWN[..], &[2]].concat();
        let own = [1_u32, 3, 6, 1, 4, 1, 534, 1];
        let made = Made::default()
            .with(BATTERY_STATUS, &[0], 2_i64)
            .with(OUTPUT_SOURCE, &[0], 5_i64)
            .with(ALARMS_PRESENT, &[0], 2_u64)
            .with(ALARM_DESCR, &[1], &on_battery[..])
            .with(ALARM_DESCR, &[2], &own[..]);
        let states: Vec<_> = sensors(&made.0).into_iter().filter_map(|of| of.state).collect();
        let expected = [
            ("normal", Severity::Ok),
            ("battery", Severity::Critical),
            ("on battery", Severity::Critical),
            ("other", Severity::Warning),
        ];
        assert_eq!(states, expected.map(|(text, severity)| (text.to_owned(), severity)));
    }

    #[test]
    fn a_device_that_is_no_ups_has_none_of_it() {
        let made = Made::default().with(ALARMS_PRESENT, &[0], 0_u64);
        assert_eq!(told(&made), []);
    }
}
