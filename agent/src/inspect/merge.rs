//! What a profile found beside what the standard MIBs tell: each thing once, the profile's word first.

use std::collections::{BTreeMap, HashSet};

use super::standard::interfaces::{Interface, Known};
use crate::device::{
    Findings, InterfaceNames, Memory, MemoryClass, Neighbour, Part, Sensor, Storage, Vlan,
};

/// Joins both. A profile that tells of processors or of memory tells of all there are.
pub(crate) fn merge(profile: Findings, standard: Findings, known: &Known<'_>) -> Findings {
    let neighbours = profile.neighbours.into_iter().chain(standard.neighbours);
    Findings {
        identity: profile.identity,
        system_name: profile.system_name,
        system_location: profile.system_location,
        interfaces: profile.interfaces,
        processors: first_of(profile.processors, standard.processors),
        memory: memory(profile.memory, standard.memory),
        storage: storage(profile.storage, standard.storage),
        sensors: sensors(profile.sensors, standard.sensors),
        supplies: first_of(profile.supplies, standard.supplies),
        parts: parts(profile.parts, standard.parts),
        vlans: vlans(profile.vlans, standard.vlans),
        neighbours: distinct(neighbours, known),
        wireless: profile.wireless,
        poe: first_of(profile.poe, standard.poe),
    }
}

/// Names interfaces whose standard objects are empty.
pub(crate) fn name(interfaces: &mut [Interface], names: &BTreeMap<u32, InterfaceNames>) {
    for interface in interfaces {
        let Some(told) = names.get(&interface.index) else { continue };
        for (place, name) in
            [(&mut interface.name, &told.name), (&mut interface.alias, &told.alias)]
        {
            if let Some(name) = name.as_ref().filter(|_| place.is_empty()) {
                place.clone_from(name);
            }
        }
    }
}

fn first_of<T>(one: Vec<T>, other: Vec<T>) -> Vec<T> {
    if one.is_empty() { other } else { one }
}

/// The main memory that a profile tells is the one that the standard MIBs tell too.
fn memory(profile: Vec<Memory>, standard: Vec<Memory>) -> Vec<Memory> {
    let tells_main = profile.iter().any(|of| of.class == MemoryClass::System);
    let others = standard.into_iter().filter(|of| !tells_main && is_new(&profile, of));
    let others: Vec<_> = others.collect();
    profile.into_iter().chain(others).collect()
}

fn is_new(known: &[Memory], of: &Memory) -> bool {
    !known.iter().any(|other| other.class == of.class)
}

fn storage(profile: Vec<Storage>, standard: Vec<Storage>) -> Vec<Storage> {
    let names: HashSet<String> = profile.iter().map(|of| of.descr.clone()).collect();
    let others = standard.into_iter().filter(|of| !names.contains(&of.descr));
    profile.into_iter().chain(others).collect()
}

fn sensors(profile: Vec<Sensor>, standard: Vec<Sensor>) -> Vec<Sensor> {
    let mut told = HashSet::new();
    let all = profile.into_iter().chain(standard);
    // A value can be a figure and a state at once.
    let key = |of: &Sensor| (of.oid.trim_start_matches('.').to_owned(), of.class.clone());
    all.filter(|of| of.oid.is_empty() || told.insert(key(of))).collect()
}

fn parts(profile: Vec<Part>, standard: Vec<Part>) -> Vec<Part> {
    let serials: HashSet<String> =
        standard.iter().map(|of| of.serial.clone()).filter(|serial| !serial.is_empty()).collect();
    let mut told = HashSet::new();
    let mut parts = Vec::new();
    for part in profile {
        let is_new = part.serial.is_empty() || !serials.contains(&part.serial);
        if is_new && told.insert((part.index.clone(), part.serial.clone())) {
            parts.push(part);
        }
    }
    standard.into_iter().chain(parts).collect()
}

fn vlans(profile: Vec<Vlan>, standard: Vec<Vlan>) -> Vec<Vlan> {
    let mut all = BTreeMap::<u16, String>::new();
    for vlan in profile.into_iter().chain(standard) {
        let name = all.entry(vlan.id).or_default();
        if name.is_empty() {
            *name = vlan.name;
        }
    }
    all.into_iter().map(|(id, name)| Vlan { id, name }).collect()
}

/// Each neighbour once, at an interface of its own. One that is heard by two protocols at one port is two
/// ways of saying one thing: the first counts, and takes what it does not say from the other.
fn distinct(all: impl Iterator<Item = Neighbour>, known: &Known<'_>) -> Vec<Neighbour> {
    let mut found = Vec::<Neighbour>::new();
    for mut heard in all {
        if heard.local_if_index.is_none() {
            heard.local_if_index = known.by_words(&heard.local_name);
        }
        let same = found.iter_mut().find(|of| is_same(of, &heard));
        match same {
            None => found.push(heard),
            Some(first) => {
                for (place, text) in [
                    (&mut first.platform, heard.platform),
                    (&mut first.version, heard.version),
                    (&mut first.port, heard.port),
                ] {
                    if place.is_empty() {
                        *place = text;
                    }
                }
                first.address = first.address.or(heard.address);
            }
        }
    }
    found
}

fn is_same(one: &Neighbour, other: &Neighbour) -> bool {
    let place = |of: &Neighbour| (of.local_if_index, of.local_name.clone());
    // A protocol may append the domain, or cut the name.
    let host = |of: &Neighbour| of.name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if place(one) != place(other) {
        return false;
    }
    if one.protocol == other.protocol {
        return one.name == other.name && one.port == other.port && one.port_id == other.port_id;
    }
    // CDP may tell a serial number or a hardware address for a name.
    let is_given = |text: &str| !text.is_empty();
    (is_given(&one.name) && host(one) == host(other))
        || (is_given(&one.port_id) && one.port_id == other.port_id)
        || (one.address.is_some() && one.address == other.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensor(class: &str, oid: &str, value: f64) -> Sensor {
        Sensor {
            class: class.into(),
            descr: String::new(),
            value: Some(value),
            state: None,
            group: None,
            oid: oid.into(),
        }
    }

    #[test]
    fn of_two_readings_of_one_value_the_profiles_counts() {
        let profile = vec![sensor("load", "1.3.1", 1.0)];
        let standard = vec![
            sensor("load", ".1.3.1", 2.0),
            sensor("load", ".1.3.2", 3.0),
            sensor("state", ".1.3.1", 1.0),
        ];
        let values: Vec<_> = sensors(profile, standard).iter().map(|of| of.value).collect();
        assert_eq!(values, [Some(1.0), Some(3.0), Some(1.0)]);
    }

    #[test]
    fn a_vlan_takes_its_name_from_whoever_knows_it() {
        let vlan = |id, name: &str| Vlan { id, name: name.into() };
        let all = vlans(
            vec![vlan(20, ""), vlan(10, "a")],
            vec![vlan(20, "b"), vlan(10, "c"), vlan(5, "")],
        );
        assert_eq!(all, [vlan(5, ""), vlan(10, "a"), vlan(20, "b")]);
    }

    #[test]
    fn a_neighbour_of_two_protocols_is_one() {
        let heard = |protocol: &str, local, name: &str, platform: &str| Neighbour {
            protocol: protocol.into(),
            local_if_index: Some(local),
            name: name.into(),
            platform: platform.into(),
            ..Neighbour::default()
        };
        let all = [
            heard("lldp", 1, "sw1", ""),
            heard("cdp", 1, "SW1.example", "cisco X"),
            heard("cdp", 2, "sw1", ""),
            heard("cdp", 1, "phone", ""),
            heard("lldp", 1, "", ""),
        ];
        let found = distinct(all.into_iter(), &Known(&[]));
        let told: Vec<_> = found
            .iter()
            .map(|of| (of.local_if_index, of.name.as_str(), of.platform.as_str()))
            .collect();
        let expected = [
            (Some(1), "sw1", "cisco X"),
            (Some(2), "sw1", ""),
            (Some(1), "phone", ""),
            (Some(1), "", ""),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_part_that_both_know_is_told_once() {
        let part = |index: &str, serial: &str| Part {
            index: index.into(),
            serial: serial.into(),
            ..Part::default()
        };
        let all = parts(
            vec![part("p1", "S1"), part("p2", "S9"), part("p2", "S9"), part("p3", "")],
            vec![part("1", "S1"), part("2", "")],
        );
        let told: Vec<_> = all.iter().map(|of| of.index.as_str()).collect();
        assert_eq!(told, ["1", "2", "p2", "p3"]);
    }

    #[test]
    fn the_main_memory_is_told_once() {
        let pool = |descr: &str, class| Memory { descr: descr.into(), class, ..Memory::default() };
        let standard =
            vec![pool("Physical memory", MemoryClass::System), pool("Swap", MemoryClass::Swap)];
        let told: Vec<_> = memory(vec![pool("RAM", MemoryClass::System)], standard.clone())
            .into_iter()
            .map(|of| of.descr)
            .collect();
        assert_eq!(told, ["RAM"]);
        assert_eq!(memory(Vec::new(), standard).len(), 2);
    }
}
