//! Who made the device, what it is, what runs on it: a profile knows best, then ENTITY-MIB, then what the
//! device's own description says.

use super::{
    enterprises,
    standard::{addresses, bridge, printer, ups},
    system::System,
};
use crate::{
    device::{DeviceClass, Findings, Identity, Part},
    snmp::tables::Tables,
};

/// Bridged interfaces from which on a device without a profile is taken for a switch: less have the
/// servers that bridge to their guests.
const SWITCH_PORTS: usize = 5;

/// Completes what a profile said.
pub(crate) fn complete(
    said: Identity,
    system: &System,
    tables: &Tables,
    found: &Findings,
) -> Identity {
    let chassis = chassis(&found.parts);
    let of_chassis = |field: fn(&Part) -> &String| {
        chassis.map(field).filter(|text| says_something(text)).cloned()
    };
    let is_ups = ups::is_ups(tables);
    let [ups_maker, ups_model, ups_version] = ups::identity(tables);
    let is_printer = !found.supplies.is_empty();
    let maker = enterprises::maker(&system.object_id).map(str::to_owned);
    Identity {
        class: said.class.or_else(|| class(tables, found)),
        vendor: said
            .vendor
            .or_else(|| ups_maker.filter(|_| is_ups))
            .or(maker)
            .or_else(|| of_chassis(|part| &part.vendor)),
        os: said.os,
        model: said
            .model
            .or_else(|| of_chassis(|part| &part.model))
            .or_else(|| ups_model.filter(|_| is_ups))
            .or_else(|| printer::model(tables).filter(|_| is_printer))
            .or_else(|| of_chassis(|part| &part.descr))
            .or_else(|| model_in(&system.descr)),
        version: said
            .version
            .or_else(|| of_chassis(|part| &part.software))
            .or_else(|| ups_version.filter(|_| is_ups))
            .or_else(|| of_chassis(|part| &part.firmware))
            .or_else(|| version_in(&system.descr)),
        serial: said
            .serial
            .or_else(|| of_chassis(|part| &part.serial))
            .or_else(|| printer::serial(tables)),
        profile: said.profile,
    }
}

/// Fillers that makers leave in fields they do not use.
fn says_something(text: &str) -> bool {
    let filler =
        ["", "n/a", "na", "none", "unknown", "not available", "not specified", "undefined"];
    let plain = text.trim().to_ascii_lowercase();
    !filler.contains(&plain.as_str()) && plain.chars().any(|c| c != '0' && c.is_alphanumeric())
}

/// The part that stands for the device: the first chassis that tells something of itself, else the
/// outermost part that has a serial number.
fn chassis(parts: &[Part]) -> Option<&Part> {
    let tells = |part: &&Part| says_something(&part.serial) || says_something(&part.model);
    let mut chassis = parts.iter().filter(|part| part.class == "chassis");
    chassis
        .clone()
        .find(tells)
        .or_else(|| parts.iter().filter(|part| part.class == "stack").find(tells))
        .or_else(|| {
            let outermost = |part: &&Part| matches!(part.contained_in.as_str(), "" | "0");
            parts.iter().filter(outermost).find(|part| says_something(&part.serial))
        })
        .or_else(|| chassis.next())
}

fn class(tables: &Tables, found: &Findings) -> Option<DeviceClass> {
    if ups::is_ups(tables) {
        Some(DeviceClass::Ups)
    } else if !found.supplies.is_empty() {
        Some(DeviceClass::Printer)
    } else if found.wireless.aps.is_some() {
        Some(DeviceClass::WifiController)
    } else if !found.wireless.radios.is_empty() {
        Some(DeviceClass::WifiAp)
    } else if bridge::Ports::read(tables).len() >= SWITCH_PORTS {
        Some(DeviceClass::Switch)
    } else if addresses::is_router(tables) {
        Some(DeviceClass::Router)
    } else if !found.processors.is_empty() && !found.storage.is_empty() {
        Some(DeviceClass::Server)
    } else {
        None
    }
}

/// Descriptions that begin so tell an operating system.
const SYSTEMS: [&str; 7] =
    ["linux", "hardware:", "windows", "freebsd", "darwin", "sunos", "cisco ios"];
/// Longest model that a description is believed to tell, in characters.
const MAX_MODEL: usize = 60;

/// The model in a description: what a word announces, else its first words up to a mark or a version.
fn model_in(descr: &str) -> Option<String> {
    let announced = ["MODEL:", "PID:"].iter().find_map(|word| Some(descr.split_once(word)?.1));
    let lower = descr.to_ascii_lowercase();
    if announced.is_none() && SYSTEMS.iter().any(|system| lower.starts_with(system)) {
        return None;
    }
    let text = announced.unwrap_or(descr);
    let first = text.split([',', ';', ')', '(']).next().unwrap_or_default();
    let first = first.split(" / ").next().unwrap_or_default();
    let is_version = |word: &&str| version_in(word).is_some() || says_version(word);
    let words: Vec<&str> = first.split_whitespace().take_while(|word| !is_version(word)).collect();
    let model = words.join(" ");
    let has_digit = model.contains(|c: char| c.is_ascii_digit());
    (has_digit && model.chars().count() <= MAX_MODEL).then_some(model)
}

/// True for a word that announces a version.
fn says_version(word: &str) -> bool {
    let word = word.trim_end_matches([':', '.']).to_ascii_lowercase();
    ["version", "ver", "revision", "rev", "firmware", "fw", "release"].contains(&word.as_str())
}

/// The version in a description: what follows a word that announces one, else what looks like one.
fn version_in(descr: &str) -> Option<String> {
    let words: Vec<&str> = descr
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '=' | '/' | '[' | ']'))
        .filter(|word| !word.is_empty())
        .collect();
    let trimmed =
        |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric() && c != ')').to_owned();
    let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    // Written as one word too, as in `Ver.1.14`.
    let joined = words.iter().find_map(|word| {
        let (first, rest) = word.split_once(['.', ':'])?;
        (says_version(first) && has_digit(rest)).then_some(rest)
    });
    let announced = words.windows(2).find(|pair| says_version(pair[0]) && has_digit(pair[1]));
    let looks_so = |word: &&&str| {
        let plain = word.trim_start_matches(['v', 'V']);
        plain.starts_with(|c: char| c.is_ascii_digit())
            && plain.matches('.').count() >= 2
            // An address is no version.
            && plain.parse::<std::net::IpAddr>().is_err()
    };
    let found =
        joined.or(announced.map(|pair| pair[1])).or_else(|| words.iter().find(looks_so).copied());
    found.map(trimmed).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(class: &str, contained_in: &str, serial: &str, model: &str) -> Part {
        Part {
            class: class.into(),
            contained_in: contained_in.into(),
            serial: serial.into(),
            model: model.into(),
            ..Part::default()
        }
    }

    #[test]
    fn the_first_chassis_that_says_something_stands_for_the_device() {
        let parts = [
            part("stack", "0", "", ""),
            part("chassis", "1", "n/a", "00000"),
            part("chassis", "1", "S2", "M2"),
            part("chassis", "1", "S3", "M3"),
        ];
        assert_eq!(chassis(&parts).map(|of| of.serial.as_str()), Some("S2"));
        let parts = [part("module", "0", "S1", ""), part("module", "1", "S2", "")];
        assert_eq!(chassis(&parts).map(|of| of.serial.as_str()), Some("S1"));
        assert_eq!(chassis(&[]), None);
    }

    #[test]
    fn a_model_is_found_in_words() {
        for (descr, expected) in [
            ("XYZ-1321 4.0.3", Some("XYZ-1321")),
            (
                "GS7 ProSafe 24-port Smart Switch, 6.3.1.11, B1.0.0.4",
                Some("GS7 ProSafe 24-port Smart Switch"),
            ),
            ("SomeOS (MODEL: 225), Version 8.4.0.0", Some("225")),
            ("MULTI-ENVIRONMENT,SN:X,PID:Some LaserJet M2", Some("Some LaserJet M2")),
            ("Maker X 3002 2.20.1 / Scanner 7", Some("Maker X 3002")),
            ("Linux host 4.18.0 x86_64", None),
            ("SmartZone", None),
            ("", None),
        ] {
            assert_eq!(model_in(descr).as_deref(), expected, "{descr}");
        }
        assert_eq!(model_in(&"A very long description with 1 digit ".repeat(4)), None);
    }

    #[test]
    fn a_version_is_found_in_words() {
        for (descr, expected) in [
            ("Some Switch, Version 15.0(2)EX5, RELEASE SOFTWARE", Some("15.0(2)EX5")),
            ("Switch X 24G, revision W.15.08.0012, ROM W.14.06", Some("W.15.08.0012")),
            ("Firmware: 1.2b3; other", Some("1.2b3")),
            ("Linux host 4.18.0-259.el8.x86_64 #1 SMP", Some("4.18.0-259.el8.x86_64")),
            ("Box v2.3.1", Some("v2.3.1")),
            ("Box, Firmware Ver.1.14 (14.11.06),MID 8C5", Some("1.14")),
            ("Box at 10.0.0.1", None),
            ("Version unknown", None),
            ("", None),
        ] {
            assert_eq!(version_in(descr).as_deref(), expected, "{descr}");
        }
    }
}
