//! What a profile inherits.

use super::model::{Identity, Interfaces, Profile, Section, System, Wireless};

impl Profile {
    /// Adds what `parent` says behind what this profile says, but for sections that it replaces.
    pub(super) fn inherit(&mut self, mut parent: Self) {
        for section in &self.replaces {
            drop_section(&mut parent, *section);
        }
        for (name, oid) in parent.objects {
            self.objects.entry(name).or_insert(oid);
        }
        for (name, states) in parent.states {
            self.states.entry(name).or_insert(states);
        }
        for (name, map) in parent.maps {
            self.maps.entry(name).or_insert(map);
        }
        self.without.extend(parent.without);
        self.identity.inherit(parent.identity);
        self.system.name.extend(parent.system.name);
        self.system.location.extend(parent.system.location);
        self.interfaces.alias.extend(parent.interfaces.alias);
        self.interfaces.name.extend(parent.interfaces.name);
        self.processor.extend(parent.processor);
        self.memory.extend(parent.memory);
        self.storage.extend(parent.storage);
        self.sensor.extend(parent.sensor);
        self.supply.extend(parent.supply);
        self.inventory.extend(parent.inventory);
        self.vlan.extend(parent.vlan);
        self.neighbour.extend(parent.neighbour);
        self.radio.extend(parent.radio);
        self.ssid.extend(parent.ssid);
        self.access_point.extend(parent.access_point);
        self.wireless.clients.extend(parent.wireless.clients);
        self.wireless.aps.extend(parent.wireless.aps);
        self.wireless.aps_connected.extend(parent.wireless.aps_connected);
        self.poe.extend(parent.poe);
    }
}

impl Identity {
    fn inherit(&mut self, parent: Self) {
        self.vendor = self.vendor.take().or(parent.vendor);
        self.os = self.os.take().or(parent.os);
        self.class.extend(parent.class);
        self.model.extend(parent.model);
        self.version.extend(parent.version);
        self.serial.extend(parent.serial);
    }
}

fn drop_section(parent: &mut Profile, section: Section) {
    match section {
        Section::Identity => parent.identity = Identity::default(),
        Section::System => parent.system = System::default(),
        Section::Interfaces => parent.interfaces = Interfaces::default(),
        Section::Processor => parent.processor.clear(),
        Section::Memory => parent.memory.clear(),
        Section::Storage => parent.storage.clear(),
        Section::Sensor => parent.sensor.clear(),
        Section::Supply => parent.supply.clear(),
        Section::Inventory => parent.inventory.clear(),
        Section::Vlan => parent.vlan.clear(),
        Section::Neighbour => parent.neighbour.clear(),
        Section::Radio => parent.radio.clear(),
        Section::Ssid => parent.ssid.clear(),
        Section::AccessPoint => parent.access_point.clear(),
        Section::Wireless => parent.wireless = Wireless::default(),
        Section::Poe => parent.poe.clear(),
    }
}
