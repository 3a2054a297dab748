//! What was learnt of a device, for people.

mod table;

use std::fmt::Write as _;

use self::table::{Align, Table};
use super::super::words::Language;
use crate::{
    device::{DeviceClass, Findings, Sensor, Severity},
    inspect::{
        Report,
        json::unit,
        mib::{clean, dotted},
        standard::interfaces::{Duplex, Interface, status_name},
    },
};

/// The whole page.
pub(super) fn page(report: &Report, language: Language) -> String {
    let mut text = String::new();
    for part in [
        head(report, language),
        interfaces(report, language),
        neighbours(report, language),
        vlans(&report.found, language),
        wireless(&report.found, language),
        readings(&report.found, language),
        volumes(&report.found, language),
        supplies(&report.found, language),
        parts(&report.found, language),
        network(report, language),
    ] {
        if !part.is_empty() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&part);
        }
    }
    if report.is_partial {
        text.push_str(language.t(
            "\nLecture incomplète : ce qui manque est inconnu.\n",
            "\nIncomplete reading: what is missing is unknown.\n",
        ));
    }
    text
}

fn title(text: &str, count: Option<usize>) -> String {
    match count {
        Some(count) => format!("{text} ({count})\n"),
        None => format!("{text}\n"),
    }
}

fn head(report: &Report, language: Language) -> String {
    let t = |french, english| language.t(french, english);
    let Report { system, identity, found, .. } = report;
    let name = found.system_name.as_deref().unwrap_or(&system.name);
    let location = found.system_location.as_deref().unwrap_or(&system.location);
    let class = identity.class.map(|class| class_words(class, language));
    let up_time = system.up_time.map(|ticks| duration(ticks / 100, language));
    let object_id = dotted(&system.object_id);
    let mut table = Table::new([Align::Left, Align::Left]);
    for (label, value) in [
        (t("Nom", "Name"), Some(name)),
        (t("Nature", "Class"), class),
        (t("Marque", "Vendor"), identity.vendor.as_deref()),
        (t("Modèle", "Model"), identity.model.as_deref()),
        (t("N° de série", "Serial number"), identity.serial.as_deref()),
        (t("Version", "Version"), identity.version.as_deref()),
        (t("En marche depuis", "Up for"), up_time.as_deref()),
        (t("Lieu", "Location"), Some(location)),
        (t("Contact", "Contact"), Some(system.contact.as_str())),
        (t("Description", "Description"), Some(system.descr.as_str())),
        ("sysObjectID", Some(object_id.trim_start_matches('.'))),
        (t("Profil", "Profile"), identity.profile.as_deref()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            table.row([label.to_owned(), clean(value.as_bytes())]);
        }
    }
    table.text()
}

fn interfaces(report: &Report, language: Language) -> String {
    if report.interfaces.is_empty() {
        return String::new();
    }
    let t = |french, english| language.t(french, english);
    let mut table = Table::new([
        Align::Right,
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Left,
        Align::Right,
        Align::Right,
        Align::Right,
        Align::Left,
    ]);
    table.head([
        "N°",
        t("Nom", "Name"),
        t("État", "State"),
        t("Débit", "Speed"),
        "Duplex",
        "VLAN",
        t("Stations", "Stations"),
        t("Erreurs", "Errors"),
        t("Libellé", "Alias"),
    ]);
    for of in &report.interfaces {
        let stations = report.stations.get(&of.index);
        let errors = of
            .input
            .errors
            .zip(of.output.errors)
            .map(|(input, output)| input.saturating_add(output));
        let is_up = of.oper_status == Some(1);
        table.row([
            of.index.to_string(),
            if of.name.is_empty() { of.descr.clone() } else { of.name.clone() },
            state_words(of, language),
            of.speed_bps
                .filter(|speed| is_up && *speed > 0)
                .map(bits_per_second)
                .unwrap_or_default(),
            match of.duplex.filter(|_| is_up) {
                Some(Duplex::Half) => "half".to_owned(),
                Some(Duplex::Full) => "full".to_owned(),
                Some(Duplex::Unknown) | None => String::new(),
            },
            of.vlan.map(|vlan| vlan.to_string()).unwrap_or_default(),
            stations.map(u64::to_string).unwrap_or_default(),
            errors.map(|errors| errors.to_string()).unwrap_or_default(),
            of.alias.clone(),
        ]);
    }
    title("Interfaces", Some(report.interfaces.len())) + &table.text()
}

fn state_words(of: &Interface, language: Language) -> String {
    let t = |french, english| language.t(french, english);
    let words = match (of.admin_status, of.oper_status) {
        (Some(2), _) => t("fermée", "closed"),
        (_, Some(1)) => t("active", "up"),
        (_, Some(2)) => t("inactive", "down"),
        (_, Some(6)) => t("absente", "not present"),
        (_, Some(7)) => t("inactive dessous", "lower layer down"),
        (_, Some(status)) => status_name(status).unwrap_or_default(),
        (_, None) => t("inconnu", "unknown"),
    };
    words.to_owned()
}

fn neighbours(report: &Report, language: Language) -> String {
    let heard = &report.found.neighbours;
    if heard.is_empty() {
        return String::new();
    }
    let t = |french, english| language.t(french, english);
    let mut table = Table::new([Align::Left; 6]);
    table.head([
        "Interface",
        t("Voisin", "Neighbour"),
        t("Son port", "Its port"),
        t("Adresse", "Address"),
        t("Par", "By"),
        t("Matériel", "Hardware"),
    ]);
    for of in heard {
        let local = of.local_if_index.and_then(|index| {
            let at = report.interfaces.binary_search_by_key(&index, |of| of.index).ok()?;
            Some(report.interfaces[at].name.clone())
        });
        table.row([
            local.filter(|name| !name.is_empty()).unwrap_or_else(|| {
                of.local_if_index.map_or_else(|| of.local_name.clone(), |index| index.to_string())
            }),
            of.name.clone(),
            of.port.clone(),
            of.address.map(|address| address.to_string()).unwrap_or_default(),
            of.protocol.clone(),
            if of.platform.is_empty() { of.version.clone() } else { of.platform.clone() },
        ]);
    }
    title(t("Voisins", "Neighbours"), Some(heard.len())) + &table.text()
}

fn vlans(found: &Findings, language: Language) -> String {
    if found.vlans.is_empty() {
        return String::new();
    }
    let mut table = Table::new([Align::Right, Align::Left]);
    for vlan in &found.vlans {
        table.row([vlan.id.to_string(), vlan.name.clone()]);
    }
    title(language.t("VLAN", "VLANs"), Some(found.vlans.len())) + &table.text()
}

fn wireless(found: &Findings, language: Language) -> String {
    let t = |french, english| language.t(french, english);
    let of = &found.wireless;
    let mut text = String::new();
    for (label, value) in [
        (t("clients", "clients"), of.clients),
        (t("bornes", "access points"), of.aps),
        (t("bornes reliées", "connected access points"), of.aps_connected),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "  {value} {label}");
        }
    }
    let mut table = Table::new([Align::Left, Align::Left, Align::Right, Align::Left]);
    let shown = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    for ssid in &of.ssids {
        table.row(["SSID".to_owned(), ssid.name.clone(), shown(ssid.clients), String::new()]);
    }
    for radio in &of.radios {
        let used = radio.utilisation_percent.map(|of| format!("{} %", figure(of, language)));
        let channel = radio.channel.map(|channel| format!("{} {channel}", t("canal", "channel")));
        let more: Vec<_> = channel.into_iter().chain(used).collect();
        table.row(["Radio".to_owned(), radio.name.clone(), shown(radio.clients), more.join(", ")]);
    }
    for point in &of.access_points {
        let up = match point.up {
            Some(true) => t("reliée", "up"),
            Some(false) => t("absente", "down"),
            None => "",
        };
        let more: Vec<_> = [up, &point.model, &point.address]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        let label = t("Borne", "AP").to_owned();
        table.row([label, point.name.clone(), shown(point.clients), more.join(", ")]);
    }
    text.push_str(&table.text());
    if text.is_empty() { text } else { title("Wi-Fi", None) + &text }
}

fn readings(found: &Findings, language: Language) -> String {
    let t = |french, english| language.t(french, english);
    let mut table = Table::new([Align::Left, Align::Left, Align::Right, Align::Left]);
    for of in &found.processors {
        let value = format!("{} %", figure(of.usage_percent, language));
        table.row([
            t("processeur", "processor").to_owned(),
            of.descr.clone(),
            value,
            String::new(),
        ]);
    }
    for of in &found.sensors {
        let (value, state) = reading(of, language);
        table.row([class_of(of, language), of.descr.clone(), value, state]);
    }
    let count = found.processors.len() + found.sensors.len();
    if count == 0 {
        return String::new();
    }
    title(t("Mesures", "Readings"), Some(count)) + &table.text()
}

/// A value with its unit, and what it means where it is a state.
fn reading(of: &Sensor, language: Language) -> (String, String) {
    if let Some((text, severity)) = &of.state {
        let meaning = match severity {
            Severity::Ok => "",
            Severity::Warning => language.t("attention", "warning"),
            Severity::Critical => language.t("critique", "critical"),
            Severity::Unknown => language.t("sens inconnu", "unknown meaning"),
        };
        return (text.clone(), meaning.to_owned());
    }
    let value = of.value.map_or_else(
        || language.t("inconnue", "unknown").to_owned(),
        |value| format!("{} {}", figure(value, language), unit(&of.class)).trim_end().to_owned(),
    );
    (value, String::new())
}

fn class_of(of: &Sensor, language: Language) -> String {
    let t = |french, english| language.t(french, english);
    let words = match of.class.as_str() {
        "temperature" => t("température", "temperature"),
        "fanspeed" => t("ventilateur", "fan"),
        "voltage" => t("tension", "voltage"),
        "current" => t("courant", "current"),
        "power" => t("puissance", "power"),
        "frequency" => t("fréquence", "frequency"),
        "humidity" => t("humidité", "humidity"),
        "load" => t("charge", "load"),
        "charge" => t("charge de batterie", "battery charge"),
        "runtime" => t("autonomie", "run time"),
        "dbm" => t("puissance optique", "optical power"),
        "count" => t("compte", "count"),
        "state" => t("état", "state"),
        other => other,
    };
    words.to_owned()
}

fn volumes(found: &Findings, language: Language) -> String {
    let t = |french, english| language.t(french, english);
    let mut table =
        Table::new([Align::Left, Align::Left, Align::Right, Align::Right, Align::Right]);
    table.head(["", t("Nom", "Name"), t("Utilisé", "Used"), t("Taille", "Size"), ""]);
    let mut row =
        |kind: &str, descr: &str, used: Option<u64>, size: Option<u64>, percent: Option<f64>| {
            table.row([
                kind.to_owned(),
                descr.to_owned(),
                used.map(|of| bytes(of, language)).unwrap_or_default(),
                size.map(|of| bytes(of, language)).unwrap_or_default(),
                percent.map(|of| format!("{} %", figure(of.round(), language))).unwrap_or_default(),
            ]);
        };
    for of in &found.memory {
        row(t("mémoire", "memory"), &of.descr, of.used, of.total, of.percent);
    }
    for of in &found.storage {
        row(t("disque", "disk"), &of.descr, of.used, of.size, of.percent);
    }
    if found.memory.is_empty() && found.storage.is_empty() {
        return String::new();
    }
    title(t("Mémoire et stockage", "Memory and storage"), None) + &table.text()
}

fn supplies(found: &Findings, language: Language) -> String {
    if found.supplies.is_empty() {
        return String::new();
    }
    let t = |french, english| language.t(french, english);
    let mut table = Table::new([Align::Left, Align::Right, Align::Left]);
    for of in &found.supplies {
        let level = match (of.level_percent, of.level) {
            (Some(percent), _) => format!("{} %", figure(percent.round(), language)),
            (None, Some(-3)) => t("il en reste", "some left").to_owned(),
            (None, _) => t("inconnu", "unknown").to_owned(),
        };
        table.row([of.descr.clone(), level, of.kind.clone()]);
    }
    title(t("Consommables", "Supplies"), Some(found.supplies.len())) + &table.text()
}

fn parts(found: &Findings, language: Language) -> String {
    let with_serial = found.parts.iter().filter(|part| !part.serial.is_empty());
    let mut table = Table::new([Align::Left; 4]);
    let mut count = 0;
    for part in with_serial {
        count += 1;
        let name = if part.name.is_empty() { &part.descr } else { &part.name };
        table.row([part.class.clone(), name.clone(), part.model.clone(), part.serial.clone()]);
    }
    if count == 0 {
        return String::new();
    }
    let words = language.t("Pièces avec numéro de série", "Parts with a serial number");
    title(words, Some(count)) + &table.text()
}

fn network(report: &Report, language: Language) -> String {
    let t = |french, english| language.t(french, english);
    let mut text = String::new();
    if !report.addresses.is_empty() {
        text.push_str(&title(t("Adresses", "Addresses"), Some(report.addresses.len())));
        for of in &report.addresses {
            let prefix = of.prefix_len.map(|len| format!("/{len}")).unwrap_or_default();
            let _ = writeln!(text, "  {}{prefix}", of.address);
        }
    }
    if let Some(tree) = &report.tree {
        let port = tree.root_if_index.and_then(|index| {
            let at = report.interfaces.binary_search_by_key(&index, |of| of.index).ok()?;
            Some(report.interfaces[at].name.clone())
        });
        let words = if tree.is_root() {
            t("racine de l'arbre", "root of the tree").to_owned()
        } else {
            format!(
                "{} {}",
                t("racine par", "root through"),
                port.unwrap_or_else(|| "?".to_owned())
            )
        };
        let _ =
            writeln!(text, "{}: {words}", t("Arbre de recouvrement (STP) ", "Spanning tree (STP)"));
    }
    text
}

fn class_words(class: DeviceClass, language: Language) -> &'static str {
    let t = |french, english| language.t(french, english);
    match class {
        DeviceClass::Switch => t("commutateur", "switch"),
        DeviceClass::Router => t("routeur", "router"),
        DeviceClass::Firewall => t("pare-feu", "firewall"),
        DeviceClass::WifiAp => t("borne Wi-Fi", "Wi-Fi access point"),
        DeviceClass::WifiController => t("contrôleur Wi-Fi", "Wi-Fi controller"),
        DeviceClass::Ups => t("onduleur", "UPS"),
        DeviceClass::Printer => t("imprimante", "printer"),
        DeviceClass::Nas => t("serveur de fichiers", "NAS"),
        DeviceClass::Server => t("serveur", "server"),
        DeviceClass::Nte => t("terminaison d'opérateur", "operator's termination"),
    }
}

/// At most three decimals, and none for nothing.
fn figure(value: f64, language: Language) -> String {
    let digits = if value.abs() >= 100.0 { 1 } else { 3 };
    let text = format!("{value:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    match language {
        Language::French => text.replace('.', ","),
        Language::English => text.to_owned(),
    }
}

fn bits_per_second(speed: u64) -> String {
    let (value, unit) = match speed {
        1_000_000_000.. => (speed as f64 / 1e9, "Gbit/s"),
        1_000_000.. => (speed as f64 / 1e6, "Mbit/s"),
        _ => (speed as f64 / 1e3, "kbit/s"),
    };
    format!("{} {unit}", figure(value, Language::English))
}

fn bytes(count: u64, language: Language) -> String {
    const UNITS: [(&str, &str); 5] =
        [("Kio", "KiB"), ("Mio", "MiB"), ("Gio", "GiB"), ("Tio", "TiB"), ("Pio", "PiB")];
    let mut value = count as f64 / 1024.0;
    let mut at = 0;
    while value >= 1024.0 && at + 1 < UNITS.len() {
        value /= 1024.0;
        at += 1;
    }
    let unit = language.t(UNITS[at].0, UNITS[at].1);
    format!("{} {unit}", figure((value * 10.0).round() / 10.0, language))
}

fn duration(seconds: u64, language: Language) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let day = language.t("j", "d");
    match days {
        0 => format!("{hours} h {minutes} min"),
        _ => format!("{days} {day} {hours} h"),
    }
}

#[cfg(test)]
mod tests;
