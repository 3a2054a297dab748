//! Rules for what is measured: processors, memory, storage, sensors, supplies.

use serde::Deserialize;

use super::{Number, Patterns, Raw, Text, Values};

/// A processor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Processor {
    /// Makes the rows; `usage` or `idle` when absent.
    pub key: Option<String>,
    /// Busy, 0 to 100.
    pub usage: Option<String>,
    /// Idle, 0 to 100.
    pub idle: Option<String>,
    /// What it is called.
    pub descr: Option<Text>,
    /// Multiplies the value.
    pub scale: Option<Number>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// What memory is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryClass {
    /// Of the system, or of a part of it.
    #[default]
    System,
    /// Main memory and swap together.
    Virtual,
    /// On a disk.
    Swap,
    /// Of the operating system's input and output.
    Buffers,
    /// Of files.
    Cached,
    /// Of several processes.
    Shared,
}

/// A memory pool: any two of `total`, `used`, `free`, `percent`, or `percent` alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it is used for.
    pub class: MemoryClass,
    /// Size, in units.
    pub total: Option<String>,
    /// In use, in units.
    pub used: Option<String>,
    /// Not in use, in units.
    pub free: Option<String>,
    /// In use, 0 to 100.
    pub percent: Option<String>,
    /// Not in use, 0 to 100.
    pub percent_free: Option<String>,
    /// Bytes of one unit; 1 when absent.
    pub unit: Option<Number>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// A file system, volume or pool: as [`Memory`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it is.
    pub kind: Option<Text>,
    /// Size, in units.
    pub total: Option<String>,
    /// In use, in units.
    pub used: Option<String>,
    /// Not in use, in units.
    pub free: Option<String>,
    /// In use, 0 to 100.
    pub percent: Option<String>,
    /// Not in use, 0 to 100.
    pub percent_free: Option<String>,
    /// Bytes of one unit; 1 when absent.
    pub unit: Option<Number>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}

/// What a sensor's scaled value still goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convert {
    /// Milliwatts, to dBm.
    MwToDbm,
    /// Watts, to dBm.
    WToDbm,
    /// Degrees Fahrenheit, to degrees Celsius.
    Fahrenheit,
    /// Seconds, to minutes.
    SecondsToMinutes,
    /// Hundredths of a second, to minutes.
    TicksToMinutes,
}

/// A sensor, or a state.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// What is measured: one of [`SENSOR_CLASSES`].
    pub class: String,
    /// Makes the rows; `value` when absent.
    pub key: Option<String>,
    /// What the device tells.
    pub value: String,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it belongs to.
    pub group: Option<Text>,
    /// Of a state: the name of its table of texts and severities.
    pub states: Option<String>,
    /// Multiplies the value.
    pub scale: Option<Number>,
    /// Decimal places of the value.
    pub scale_exponent: Option<String>,
    /// An `EntitySensorDataScale` (ENTITY-SENSOR-MIB): 8 is milli, 9 is one.
    pub scale_prefix: Option<String>,
    /// Added to the scaled value.
    pub offset: Option<f64>,
    /// What the scaled value still goes through.
    pub convert: Option<Convert>,
    /// Raw values that mean that there is none.
    #[serde(default)]
    pub skip: Vec<Raw>,
    /// Values outside are none, in the class's unit.
    pub range: Option<[f64; 2]>,
    /// Its first group is the number, or the state.
    pub pattern: Option<String>,
    /// Rows that count.
    #[serde(default)]
    pub r#where: Values,
    /// Rows that do not count.
    #[serde(default)]
    pub where_not: Values,
    /// Rows whose texts match.
    #[serde(default)]
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    #[serde(default)]
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    #[serde(default)]
    pub unless: Vec<String>,
}

/// The classes of sensors. `agent/profiles/README.md` has their units.
pub const SENSOR_CLASSES: [&str; 24] = [
    "airflow",
    "charge",
    "count",
    "current",
    "dbm",
    "delay",
    "distance",
    "energy",
    "fanspeed",
    "frequency",
    "humidity",
    "load",
    "loss",
    "noise",
    "percent",
    "power",
    "power_factor",
    "pressure",
    "runtime",
    "signal",
    "snr",
    "state",
    "temperature",
    "voltage",
];

/// A printer's supply.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supply {
    /// Makes the rows; the first of the values that the device has when absent.
    pub key: Option<String>,
    /// Tells it from the others; `{index}` when absent.
    pub index: Option<Text>,
    /// What it is called.
    pub descr: Option<Text>,
    /// What it is.
    pub kind: Option<Text>,
    /// What is left, as the printer gives it.
    pub level: Option<String>,
    /// What it holds when it is full.
    pub capacity: Option<String>,
    /// What is left, 0 to 100.
    pub percent: Option<String>,
    /// Raw values that mean that there is none.
    pub skip: Vec<Raw>,
    /// Its first group is the number.
    pub pattern: Option<String>,
    /// Rows that count.
    pub r#where: Values,
    /// Rows that do not count.
    pub where_not: Values,
    /// Rows whose texts match.
    pub r#match: Patterns,
    /// Rows in which none of these gives something.
    pub absent: Vec<String>,
    /// The rule is left out where the device has one of these.
    pub unless: Vec<String>,
}
