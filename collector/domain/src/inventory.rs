//! The equipment of a site: what discovery observed, what people confirmed, and whether a device that is
//! seen now is one that is known.
//!
//! A device that is no longer seen is never deleted: it is *missing* since a time. A device that takes
//! another's place, at its address and with another serial number, is another device.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;

use crate::{id::SiteId, topology::DeviceId};

/// Serial numbers that makers leave in place of one, in lower case.
const NO_SERIALS: &[&str] =
    &["", "0", "n/a", "na", "none", "null", "unknown", "not specified", "to be filled by o.e.m."];

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Connects a network's stations.
    Switch,
    /// Connects networks.
    Router,
    /// Connects networks, and says what passes.
    Firewall,
    /// A radio that stations connect to.
    WifiAp,
    /// Leads access points.
    WifiController,
    /// Uninterruptible power supply.
    Ups,
    /// Printer or copier.
    Printer,
    /// Network attached storage.
    Nas,
    /// Server, hypervisor, or a server's management controller.
    Server,
    /// The operator's network termination equipment.
    Nte,
}

impl Class {
    /// Every class.
    pub const ALL: &[Self] = &[
        Self::Switch,
        Self::Router,
        Self::Firewall,
        Self::WifiAp,
        Self::WifiController,
        Self::Ups,
        Self::Printer,
        Self::Nas,
        Self::Server,
        Self::Nte,
    ];

    /// The code used in files, the store and the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Router => "router",
            Self::Firewall => "firewall",
            Self::WifiAp => "wifi-ap",
            Self::WifiController => "wifi-controller",
            Self::Ups => "ups",
            Self::Printer => "printer",
            Self::Nas => "nas",
            Self::Server => "server",
            Self::Nte => "nte",
        }
    }

    /// The class with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.code() == code)
    }
}

/// Version of SNMP by which a device answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SnmpVersion {
    /// Version 1.
    V1,
    /// Version 2c: in clear, an exception to be listed.
    V2c,
    /// Version 3.
    V3,
}

impl SnmpVersion {
    /// Every version.
    pub const ALL: &[Self] = &[Self::V1, Self::V2c, Self::V3];

    /// The code used in the store and the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2c => "2c",
            Self::V3 => "3",
        }
    }

    /// The version with this code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|version| version.code() == code)
    }
}

/// An own address of an interface of equipment. Never a station's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// False for an address that many devices have: none, a group's, or one that is locally made up.
    #[must_use]
    pub fn identifies(self) -> bool {
        self.0 != [0; 6] && self.0[0].trailing_zeros() >= 2
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

/// What a device tells of itself; every text is its own, and untrusted. Empty when it does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What kind of device it is.
    pub class: Option<Class>,
    /// Who made it.
    pub vendor: String,
    /// What it is.
    pub model: String,
    /// Its own number.
    pub serial: String,
    /// Of its firmware or system.
    pub version: String,
    /// `sysName`.
    pub name: String,
    /// `sysDescr`.
    pub descr: String,
    /// `sysObjectID`, in dots.
    pub object_id: String,
    /// `sysLocation`.
    pub location: String,
    /// By which version of SNMP it answered; `None` when it answers echo requests only.
    pub snmp: Option<SnmpVersion>,
    /// The profile that told how to read it.
    pub profile: String,
    /// Interfaces that it has.
    pub interfaces: u32,
}

/// A part with a serial number of its own: a stack's member, a module, a power supply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Tells it from the device's other parts.
    pub index: String,
    /// As ENTITY-MIB calls it: chassis, module, powerSupply, fan …
    pub class: String,
    /// What the device calls it.
    pub name: String,
    /// What it is.
    pub model: String,
    /// Its own number.
    pub serial: String,
    /// Of its firmware.
    pub version: String,
}

/// A device as one round of discovery found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Where it answered.
    pub address: IpAddr,
    /// Its interfaces' addresses.
    pub macs: BTreeSet<Mac>,
    /// What it tells of itself.
    pub facts: Facts,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// A device of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub id: DeviceId,
    /// Where it stands.
    pub site: SiteId,
    /// As it was seen last.
    pub last: Sighting,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// Since when it is missing: the first round that looked for it in vain.
    pub missing_since: Option<Timestamp>,
    /// When somebody confirmed that it belongs there; until then it is only observed.
    pub confirmed_at: Option<Timestamp>,
}

/// A serial number that tells one device from another.
fn serial(facts: &Facts) -> Option<&str> {
    let serial = facts.serial.trim();
    let of_one_sign = serial.bytes().all(|byte| serial.as_bytes().first() == Some(&byte));
    let none = of_one_sign || NO_SERIALS.contains(&serial.to_lowercase().as_str());
    (!none).then_some(serial)
}

/// Which device of the site this is.
///
/// A serial number decides where both have one; else an own address of an interface; else the same
/// address in the network, unless an interface's address says that it is another. Of several that fit,
/// the one seen last.
#[must_use]
pub fn recognise<'a>(
    known: impl IntoIterator<Item = &'a Device>,
    seen: &Sighting,
) -> Option<DeviceId> {
    /// What speaks for a device, weakest first.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum By {
        Address,
        Mac,
        Serial,
    }
    let macs = |sighting: &Sighting| -> BTreeSet<Mac> {
        sighting.macs.iter().copied().filter(|mac| mac.identifies()).collect()
    };
    let seen_macs = macs(seen);
    known
        .into_iter()
        .filter_map(|device| {
            let by = match (serial(&device.last.facts), serial(&seen.facts)) {
                (Some(one), Some(other)) if one == other => By::Serial,
                (Some(_), Some(_)) => return None,
                (Some(_) | None, None) | (None, Some(_)) => {
                    let its = macs(&device.last);
                    if !its.is_disjoint(&seen_macs) {
                        By::Mac
                    } else if device.last.address == seen.address
                        && (its.is_empty() || seen_macs.is_empty())
                    {
                        By::Address
                    } else {
                        return None;
                    }
                }
            };
            Some((by, device.last_seen, device.id))
        })
        .max()
        .map(|(_, _, id)| id)
}

/// What is known of a device once it was seen again: a device that answered SNMP before and only echo
/// requests now has not lost its identity.
#[must_use]
pub fn merge(before: &Sighting, seen: Sighting) -> Sighting {
    if seen.facts.snmp.is_some() || before.facts.snmp.is_none() {
        return seen;
    }
    Sighting { address: seen.address, ..before.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn sighting(address: &str, serial: &str, mac: u8) -> Sighting {
        let macs =
            if mac == 0 { BTreeSet::new() } else { BTreeSet::from([Mac([0, 1, 2, 3, 4, mac])]) };
        let facts = Facts { serial: serial.to_owned(), ..Facts::default() };
        Sighting { address: address.parse().unwrap(), macs, facts, parts: Vec::new() }
    }

    fn device(id: i64, last: Sighting) -> Device {
        Device {
            id: DeviceId(id),
            site: SiteId(1),
            last,
            first_seen: at(0),
            last_seen: at(id),
            missing_since: None,
            confirmed_at: None,
        }
    }

    #[test]
    fn a_serial_number_tells_wherever_the_device_answers() {
        let known =
            [device(1, sighting("10.0.0.1", "A1", 1)), device(2, sighting("10.0.0.2", "A2", 2))];
        let found = |seen: Sighting| recognise(&known, &seen).map(|id| id.0);
        assert_eq!(found(sighting("10.0.0.9", "A1", 9)), Some(1));
        // Another one in its place, even on the same card.
        assert_eq!(found(sighting("10.0.0.1", "B7", 0)), None);
        assert_eq!(found(sighting("10.0.0.1", "B7", 1)), None);
    }

    #[test]
    fn what_makers_write_for_none_is_no_serial_number() {
        for none in ["", "0", "00000000", "N/A", "XXXXXXX", "To be filled by O.E.M."] {
            let known = [device(1, sighting("10.0.0.1", none, 1))];
            assert_eq!(recognise(&known, &sighting("10.0.0.2", none, 2)), None, "{none:?}");
        }
    }

    #[test]
    fn without_a_serial_number_an_interface_tells_and_then_the_address() {
        let known =
            [device(1, sighting("10.0.0.1", "", 1)), device(2, sighting("10.0.0.2", "", 0))];
        let found = |seen: Sighting| recognise(&known, &seen).map(|id| id.0);
        assert_eq!(found(sighting("10.0.0.7", "", 1)), Some(1));
        assert_eq!(found(sighting("10.0.0.2", "", 5)), Some(2));
        assert_eq!(found(sighting("10.0.0.1", "", 0)), Some(1));
        // Another interface at the same address: another device.
        assert_eq!(found(sighting("10.0.0.1", "", 6)), None);
        // It tells its serial number for the first time.
        assert_eq!(found(sighting("10.0.0.1", "A1", 1)), Some(1));
    }

    #[test]
    fn made_up_and_group_addresses_of_interfaces_tell_nothing() {
        for mac in [[0; 6], [0x02, 0, 0, 0, 0, 1], [0x01, 0, 0x5e, 0, 0, 1]] {
            let mut one = sighting("10.0.0.1", "", 0);
            one.macs.insert(Mac(mac));
            let known = [device(1, one.clone())];
            one.address = "10.0.0.2".parse().unwrap();
            assert_eq!(recognise(&known, &one), None, "{mac:?}");
        }
    }

    #[test]
    fn a_device_that_only_answers_echo_requests_for_once_keeps_its_identity() {
        let mut told = sighting("10.0.0.1", "A1", 1);
        told.facts.snmp = Some(SnmpVersion::V3);
        let kept = merge(&told, sighting("10.0.0.2", "", 0));
        assert_eq!((kept.address, kept.facts.serial.as_str()), ("10.0.0.2".parse().unwrap(), "A1"));
        let mut newer = sighting("10.0.0.2", "A1", 1);
        newer.facts.snmp = Some(SnmpVersion::V2c);
        assert_eq!(merge(&told, newer.clone()), newer);
    }
}
