//! Printers: Printer-MIB (RFC 3805), and the state that HOST-RESOURCES-MIB keeps of printers.

use super::super::mib::{Name, Read, index_text};
use crate::{
    device::{Sensor, Severity, Supply},
    snmp::tables::Tables,
};

/// Most supplies and trays of one device.
const MAX_SUPPLIES: usize = 256;

const PRT: Name = Name::new(&[1, 3, 6, 1, 2, 1, 43]);
const SERIAL: Name = PRT.child(5).child(1).child(1).child(17);
const INPUT: Name = PRT.child(8).child(2).child(1);
const INPUT_CAPACITY: Name = INPUT.child(9);
const INPUT_LEVEL: Name = INPUT.child(10);
const INPUT_NAME: Name = INPUT.child(13);
const INPUT_DESCR: Name = INPUT.child(18);
const MARKER: Name = PRT.child(10).child(2).child(1);
const LIFE_UNIT: Name = MARKER.child(3);
const LIFE_COUNT: Name = MARKER.child(4);
const POWER_ON_COUNT: Name = MARKER.child(5);
const SUPPLIES: Name = PRT.child(11).child(1).child(1);
const SUPPLY_COLORANT: Name = SUPPLIES.child(3);
const SUPPLY_TYPE: Name = SUPPLIES.child(5);
const SUPPLY_DESCR: Name = SUPPLIES.child(6);
const SUPPLY_UNIT: Name = SUPPLIES.child(7);
const SUPPLY_CAPACITY: Name = SUPPLIES.child(8);
const SUPPLY_LEVEL: Name = SUPPLIES.child(9);
const COLORANT: Name = PRT.child(12).child(1).child(1).child(4);
const HR_DEVICE_TYPE: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 2]);
const HR_DEVICE_DESCR: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 3]);
const HR_DEVICE_STATUS: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 5]);
const HR_PRINTER: Name = Name::new(&[1, 3, 6, 1, 2, 1, 25, 3, 5, 1]);
const PRINTER_STATUS: Name = HR_PRINTER.child(1);
const ERROR_STATE: Name = HR_PRINTER.child(2);
/// hrDevicePrinter.
const IS_PRINTER: [u32; 10] = [1, 3, 6, 1, 2, 1, 25, 3, 1, 5];

/// What is read of printers.
pub(crate) const COLUMNS: [Name; 19] = [
    SERIAL,
    INPUT_CAPACITY,
    INPUT_LEVEL,
    INPUT_NAME,
    INPUT_DESCR,
    LIFE_UNIT,
    LIFE_COUNT,
    POWER_ON_COUNT,
    SUPPLY_COLORANT,
    SUPPLY_TYPE,
    SUPPLY_DESCR,
    SUPPLY_UNIT,
    SUPPLY_CAPACITY,
    SUPPLY_LEVEL,
    COLORANT,
    HR_DEVICE_TYPE,
    HR_DEVICE_STATUS,
    PRINTER_STATUS,
    ERROR_STATE,
];

/// A level that the printer can not tell.
const UNKNOWN: i64 = -2;
/// `PrtMarkerSuppliesSupplyUnitTC` `percent`.
const PERCENT: i64 = 19;

/// Serial number of the printer (prtGeneralSerialNumber).
pub(crate) fn serial(tables: &Tables) -> Option<String> {
    tables.indexes(&[SERIAL]).iter().find_map(|index| tables.text(SERIAL, index))
}

/// Model of the printer: hrDeviceDescr of the first printer.
pub(crate) fn model(tables: &Tables) -> Option<String> {
    let printer = printers(tables).into_iter().next()?;
    tables.text(HR_DEVICE_DESCR, &printer)
}

/// Supplies, then trays.
pub(crate) fn supplies(tables: &Tables) -> Vec<Supply> {
    let rows = tables.indexes(&[SUPPLY_LEVEL, SUPPLY_DESCR]);
    let supplies = rows.iter().filter_map(|index| supply(tables, index));
    let rows = tables.indexes(&[INPUT_LEVEL]);
    let trays = rows.iter().filter_map(|index| tray(tables, index));
    let supplies = supplies.take(MAX_SUPPLIES);
    supplies.chain(trays.take(MAX_SUPPLIES)).collect()
}

/// Index: hrDeviceIndex, then the supply's number.
fn supply(tables: &Tables, index: &[u32]) -> Option<Supply> {
    let number = index.get(1..).filter(|rest| !rest.is_empty())?;
    let level = tables.integer(SUPPLY_LEVEL, index);
    let capacity = tables.integer(SUPPLY_CAPACITY, index);
    let kind = tables.code(SUPPLY_TYPE, index).and_then(supply_name).unwrap_or_default();
    let is_percent = tables.integer(SUPPLY_UNIT, index) == Some(PERCENT);
    let descr = tables.text(SUPPLY_DESCR, index).or_else(|| {
        let colorant = [index[0], tables.code(SUPPLY_COLORANT, index)?];
        Some(format!("{} {kind}", tables.text(COLORANT, &colorant)?))
    });
    Some(Supply {
        index: index_text(number),
        kind: kind.to_owned(),
        descr: descr.unwrap_or_else(|| kind.to_owned()),
        level,
        capacity,
        level_percent: level_percent(level, capacity, is_percent),
    })
}

fn tray(tables: &Tables, index: &[u32]) -> Option<Supply> {
    let number = index.get(1..).filter(|rest| !rest.is_empty())?;
    // Of a tray of which nothing can be known there is nothing to tell.
    let level = tables.integer(INPUT_LEVEL, index).filter(|level| *level != UNKNOWN);
    let capacity = tables.integer(INPUT_CAPACITY, index);
    level?;
    // Nobody could find one that has no name.
    let descr = tables.text(INPUT_NAME, index).or_else(|| tables.text(INPUT_DESCR, index))?;
    Some(Supply {
        index: index_text(number),
        kind: "input".to_owned(),
        descr,
        level,
        capacity,
        level_percent: level_percent(level, capacity, false),
    })
}

/// What is left, 0 to 100. Negative figures say that there is none: -1 other, -2 unknown, -3 some left
/// (RFC 3805).
fn level_percent(level: Option<i64>, capacity: Option<i64>, is_percent: bool) -> Option<f64> {
    let level = level.filter(|level| *level >= 0)?;
    match capacity {
        Some(capacity @ 1..) => Some((100.0 * level as f64 / capacity as f64).min(100.0)),
        Some(_) | None => (is_percent && level <= 100).then_some(level as f64),
    }
}

/// Pages printed, and states.
pub(crate) fn sensors(tables: &Tables) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for (column, descr) in [(LIFE_COUNT, "life count"), (POWER_ON_COUNT, "count since power on")] {
        for index in tables.indexes(&[column]).iter().take(MAX_SUPPLIES) {
            let Some(count) = tables.count(column, index) else { continue };
            let unit = tables.code(LIFE_UNIT, index).and_then(unit_name).unwrap_or("Marker");
            sensors.push(Sensor {
                class: "count".to_owned(),
                descr: format!("{unit} {descr}"),
                value: Some(count as f64),
                state: None,
                group: None,
                oid: column.dotted(index),
            });
        }
    }
    for printer in printers(tables).iter().take(MAX_SUPPLIES) {
        let status = tables.code(HR_DEVICE_STATUS, printer).and_then(device_status);
        sensors.extend(status.map(|(number, text, severity)| {
            state(
                "Printer Device Status",
                number,
                text.to_owned(),
                severity,
                HR_DEVICE_STATUS,
                printer,
            )
        }));
        let status = tables.code(PRINTER_STATUS, printer).and_then(printer_status);
        sensors.extend(status.map(|(number, text)| {
            state("Printer Status", number, text.to_owned(), Severity::Ok, PRINTER_STATUS, printer)
        }));
        let errors = tables.bytes(ERROR_STATE, printer).map(errors);
        sensors.extend(errors.map(|(number, text, severity)| {
            state("Printer Error Status", number, text, severity, ERROR_STATE, printer)
        }));
    }
    sensors
}

fn state(
    descr: &str,
    number: u32,
    text: String,
    severity: Severity,
    column: Name,
    index: &[u32],
) -> Sensor {
    Sensor {
        class: "state".to_owned(),
        descr: descr.to_owned(),
        value: Some(f64::from(number)),
        state: Some((text, severity)),
        group: None,
        oid: column.dotted(index),
    }
}

/// hrDeviceIndexes of printers.
fn printers(tables: &Tables) -> Vec<Box<[u32]>> {
    let mut rows = tables.indexes(&[ERROR_STATE, PRINTER_STATUS]);
    let typed = tables.indexes(&[HR_DEVICE_TYPE]).into_iter();
    rows.extend(typed.filter(|index| tables.oid(HR_DEVICE_TYPE, index) == Some(&IS_PRINTER)));
    // Boards that print within a multifunction device are devices too; the first is the whole.
    rows.into_iter().filter(|index| index.len() == 1).collect()
}

fn device_status(number: u32) -> Option<(u32, &'static str, Severity)> {
    let (text, severity) = match number {
        1 => ("unknown", Severity::Unknown),
        2 => ("running", Severity::Ok),
        3 => ("warning", Severity::Warning),
        4 => ("testing", Severity::Ok),
        5 => ("down", Severity::Critical),
        _ => return None,
    };
    Some((number, text, severity))
}

fn printer_status(number: u32) -> Option<(u32, &'static str)> {
    let text = match number {
        1 => "other",
        3 => "idle",
        4 => "printing",
        5 => "warmup",
        // 2 is unknown: it says nothing.
        _ => return None,
    };
    Some((number, text))
}

/// What hrPrinterDetectedErrorState says, the first bit first, and how bad it is.
const ERRORS: [(&str, Severity); 15] = [
    ("low paper", Severity::Warning),
    ("no paper", Severity::Critical),
    ("low toner", Severity::Warning),
    ("no toner", Severity::Critical),
    ("door open", Severity::Critical),
    ("jammed", Severity::Critical),
    ("offline", Severity::Critical),
    ("service requested", Severity::Warning),
    ("input tray missing", Severity::Warning),
    ("output tray missing", Severity::Warning),
    ("marker supply missing", Severity::Critical),
    ("output near full", Severity::Warning),
    ("output full", Severity::Critical),
    ("input tray empty", Severity::Warning),
    ("overdue preventive maintenance", Severity::Warning),
];

/// The bits as a number (the first bit is the lowest), their texts, and the worst of them.
fn errors(bits: &[u8]) -> (u32, String, Severity) {
    let mut number = 0;
    let mut texts = Vec::new();
    let mut worst = Severity::Ok;
    for (at, (text, severity)) in ERRORS.iter().enumerate() {
        if bits.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0) {
            number |= 1 << at;
            texts.push(*text);
            if worst != Severity::Critical {
                worst = *severity;
            }
        }
    }
    let text = if texts.is_empty() { "normal".to_owned() } else { texts.join(", ") };
    (number, text, worst)
}

/// Name of a `PrtMarkerSuppliesTypeTC`.
fn supply_name(kind: u32) -> Option<&'static str> {
    Some(match kind {
        1 => "other",
        2 => "unknown",
        3 => "toner",
        4 => "wasteToner",
        5 => "ink",
        6 => "inkCartridge",
        7 => "inkRibbon",
        8 => "wasteInk",
        9 => "opc",
        10 => "developer",
        11 => "fuserOil",
        12 => "solidWax",
        13 => "ribbonWax",
        14 => "wasteWax",
        15 => "fuser",
        16 => "coronaWire",
        17 => "fuserOilWick",
        18 => "cleanerUnit",
        19 => "fuserCleaningPad",
        20 => "transferUnit",
        21 => "tonerCartridge",
        22 => "fuserOiler",
        23 => "water",
        24 => "wasteWater",
        25 => "glueWaterAdditive",
        26 => "wastePaper",
        27 => "bindingSupply",
        28 => "bandingSupply",
        29 => "stitchingWire",
        30 => "shrinkWrap",
        31 => "paperWrap",
        32 => "staples",
        33 => "inserts",
        34 => "covers",
        _ => return None,
    })
}

/// Name of a `PrtMarkerCounterUnitTC`.
fn unit_name(unit: u32) -> Option<&'static str> {
    Some(match unit {
        3 => "0.0001 inches",
        4 => "Micrometres",
        5 => "Characters",
        6 => "Lines",
        7 => "Impressions",
        8 => "Sheets",
        9 => "Dot rows",
        11 => "Hours",
        16 => "Feet",
        17 => "Metres",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::super::mib::tests::Made, *};

    fn cartridge(made: Made, number: u32, level: i64, capacity: i64) -> Made {
        made.with(SUPPLY_DESCR, &[1, number], "Toner")
            .with(SUPPLY_TYPE, &[1, number], 3_i64)
            .with(SUPPLY_LEVEL, &[1, number], level)
            .with(SUPPLY_CAPACITY, &[1, number], capacity)
    }

    #[test]
    fn an_unknown_level_is_never_a_figure() {
        let mut made = Made::default();
        for (number, level, capacity) in [
            (1, -3, 100),
            (2, -2, -2),
            (3, -1, 100),
            (4, 0, 100),
            (5, 50, 200),
            (6, 50, -2),
            (7, 5, 0),
        ] {
            made = cartridge(made, number, level, capacity);
        }
        let percents: Vec<_> = supplies(&made.0).iter().map(|of| of.level_percent).collect();
        assert_eq!(percents, [None, None, None, Some(0.0), Some(25.0), None, None]);
    }

    #[test]
    fn a_supply_counted_in_per_cent_needs_no_capacity() {
        let made = cartridge(Made::default(), 1, 40, -2).with(SUPPLY_UNIT, &[1, 1], PERCENT);
        assert_eq!(supplies(&made.0)[0].level_percent, Some(40.0));
    }

    #[test]
    fn a_supply_without_text_is_told_by_its_colour_and_a_tray_not_at_all() {
        let made = Made::default()
            .with(SUPPLY_LEVEL, &[1, 2], 5_i64)
            .with(SUPPLY_TYPE, &[1, 2], 21_i64)
            .with(SUPPLY_COLORANT, &[1, 2], 4_i64)
            .with(COLORANT, &[1, 4], "cyan")
            .with(INPUT_LEVEL, &[1, 1], -3_i64)
            .with(INPUT_NAME, &[1, 1], "Bac 1")
            .with(INPUT_LEVEL, &[1, 2], 7_i64)
            .with(INPUT_LEVEL, &[1, 3], -2_i64)
            .with(INPUT_NAME, &[1, 3], "Bac 3")
            .with(SUPPLY_LEVEL, &[9], 5_i64);
        let found = supplies(&made.0);
        let found: Vec<_> = found
            .iter()
            .map(|of| (of.index.as_str(), of.kind.as_str(), of.descr.as_str()))
            .collect();
        assert_eq!(
            found,
            [("2", "tonerCartridge", "cyan tonerCartridge"), ("1", "input", "Bac 1")]
        );
    }

    #[test]
    fn errors_are_told_in_words_and_the_worst_counts() {
        assert_eq!(errors(&[0]), (0, "normal".to_owned(), Severity::Ok));
        assert_eq!(errors(&[]), (0, "normal".to_owned(), Severity::Ok));
        assert_eq!(errors(&[0x80]), (1, "low paper".to_owned(), Severity::Warning));
        let (_, text, severity) = errors(&[0x46, 0x04]);
        assert_eq!(text, "no paper, jammed, offline, input tray empty");
        assert_eq!(severity, Severity::Critical);
    }

    #[test]
    fn pages_and_states_are_sensors() {
        let made = Made::default()
            .with(LIFE_COUNT, &[1, 1], 271_871_u64)
            .with(LIFE_UNIT, &[1, 1], 8_i64)
            .with(HR_DEVICE_TYPE, &[1], &IS_PRINTER[..])
            .with(HR_DEVICE_STATUS, &[1], 3_i64)
            .with(HR_DEVICE_STATUS, &[2], 5_i64)
            .with(HR_DEVICE_DESCR, &[1], "Some printer")
            .with(ERROR_STATE, &[1], &[0_u8][..]);
        let found = sensors(&made.0);
        let told: Vec<_> = found.iter().map(|of| (of.descr.as_str(), of.value)).collect();
        let expected = [
            ("Sheets life count", Some(271_871.0)),
            ("Printer Device Status", Some(3.0)),
            ("Printer Error Status", Some(0.0)),
        ];
        assert_eq!(told, expected);
        assert_eq!(found[2].oid, ".1.3.6.1.2.1.25.3.5.1.2.1");
        assert_eq!(model(&made.0).as_deref(), Some("Some printer"));
    }
}
