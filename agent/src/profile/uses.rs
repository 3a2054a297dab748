//! What a profile refers to, and where in the file: the one list of which fields are references, texts,
//! patterns and names of maps. Checking, reading and evaluating all go by it.
//!
//! Also compiled into the build script.

use super::model::{
    AccessPoint, Class, Filter, Identity, Interfaces, Inventory, Match, Memory, Neighbour, Number,
    Patterns, Poe, Processor, Profile, Radio, Rule, Sensor, Source, Ssid, Storage, Supply, System,
    Text, Total, Values, Vlan, Wireless,
};

/// A step down to a value of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into an array.
    Item(usize),
}

/// What a value of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// A reference.
    Reference(&'a str),
    /// A reference of which a device has something at or below.
    Existence(&'a str),
    /// A reference that is read without any row: a scalar, or the first row of a column.
    First(&'a str),
    /// A text for people, perhaps with references.
    Text(&'a str),
    /// A text that may also be a term, such as `powerSupply`.
    Term(&'a str),
    /// A regular expression.
    Pattern(&'a str),
    /// Groups of a regular expression in braces.
    Format(&'a str),
    /// The name of a map.
    Map(&'a str),
    /// The name of a table of states.
    States(&'a str),
    /// An object identifier.
    Oid(&'a str),
}

/// Calls `see` with each value of `profile` that refers to something.
pub fn each<'a>(profile: &'a Profile, see: &mut dyn FnMut(&[Step<'a>], Use<'a>)) {
    let mut walk = Walk { path: Vec::new(), see };
    walk.list("match", &profile.r#match, Walk::condition);
    walk.within("identity", |walk| walk.identity(&profile.identity));
    walk.within("system", |walk| walk.system(&profile.system));
    walk.within("interfaces", |walk| walk.interfaces(&profile.interfaces));
    walk.list("processor", &profile.processor, Walk::processor);
    walk.list("memory", &profile.memory, Walk::memory);
    walk.list("storage", &profile.storage, Walk::storage);
    walk.list("sensor", &profile.sensor, Walk::sensor);
    walk.list("supply", &profile.supply, Walk::supply);
    walk.list("inventory", &profile.inventory, Walk::inventory);
    walk.list("vlan", &profile.vlan, Walk::vlan);
    walk.list("neighbour", &profile.neighbour, Walk::neighbour);
    walk.list("radio", &profile.radio, Walk::radio);
    walk.list("ssid", &profile.ssid, Walk::ssid);
    walk.list("access_point", &profile.access_point, Walk::access_point);
    walk.within("wireless", |walk| walk.wireless(&profile.wireless));
    walk.list("poe", &profile.poe, Walk::poe);
}

struct Walk<'a, 'f> {
    path: Vec<Step<'a>>,
    see: &'f mut dyn FnMut(&[Step<'a>], Use<'a>),
}

impl<'a> Walk<'a, '_> {
    fn within(&mut self, key: &'a str, inner: impl FnOnce(&mut Self)) {
        self.path.push(Step::Key(key));
        inner(self);
        self.path.pop();
    }

    fn list<T>(&mut self, key: &'a str, items: &'a [T], each: impl Fn(&mut Self, &'a T)) {
        self.within(key, |walk| {
            for (at, item) in items.iter().enumerate() {
                walk.path.push(Step::Item(at));
                each(walk, item);
                walk.path.pop();
            }
        });
    }

    fn see(&mut self, key: &'a str, what: Use<'a>) {
        self.within(key, |walk| (walk.see)(&walk.path, what));
    }

    fn reference(&mut self, key: &'a str, reference: Option<&'a String>) {
        if let Some(reference) = reference {
            self.see(key, Use::Reference(reference));
        }
    }

    fn references(&mut self, key: &'a str, references: &'a [String]) {
        self.list(key, references, |walk, reference| {
            (walk.see)(&walk.path, Use::Reference(reference));
        });
    }

    fn text(&mut self, key: &'a str, text: Option<&'a Text>) {
        self.wording(key, text, Use::Text);
    }

    fn term(&mut self, key: &'a str, text: Option<&'a Text>) {
        self.wording(key, text, Use::Term);
    }

    fn wording(&mut self, key: &'a str, text: Option<&'a Text>, what: fn(&'a str) -> Use<'a>) {
        for text in text.iter().flat_map(|Text(texts)| texts) {
            self.see(key, what(text));
        }
    }

    fn number(&mut self, key: &'a str, number: Option<&'a Number>) {
        if let Some(Number::Reference(reference)) = number {
            self.see(key, Use::Reference(reference));
        }
    }

    fn pattern(&mut self, key: &'a str, pattern: Option<&'a String>) {
        if let Some(pattern) = pattern {
            self.see(key, Use::Pattern(pattern));
        }
    }

    fn values(&mut self, key: &'a str, values: &'a Values) {
        self.within(key, |walk| {
            for reference in values.keys() {
                walk.see(reference, Use::Reference(reference));
            }
        });
    }

    fn patterns(&mut self, key: &'a str, patterns: &'a Patterns) {
        self.within(key, |walk| {
            for (reference, pattern) in patterns {
                walk.see(reference, Use::Reference(reference));
                walk.see(reference, Use::Pattern(pattern));
            }
        });
    }

    fn rule(&mut self, rule: &'a impl Rule) {
        if let Some(key) = rule.key() {
            self.see("key", Use::Reference(key));
        }
        let Filter { r#where, where_not, r#match, absent, unless } = rule.filter();
        self.values("where", r#where);
        self.values("where_not", where_not);
        self.patterns("match", r#match);
        self.references("absent", absent);
        self.list("unless", unless, |walk, reference| {
            (walk.see)(&walk.path, Use::Existence(reference));
        });
    }

    fn condition(&mut self, condition: &'a Match) {
        self.list("sys_object_id", &condition.sys_object_id, |walk, oid| {
            (walk.see)(&walk.path, Use::Oid(oid));
        });
        self.pattern("sys_descr", condition.sys_descr.as_ref());
        self.pattern("not_sys_descr", condition.not_sys_descr.as_ref());
        self.list("has", &condition.has, |walk, reference| {
            (walk.see)(&walk.path, Use::Existence(reference));
        });
        self.within("value", |walk| {
            for (reference, pattern) in &condition.value {
                walk.see(reference, Use::First(reference));
                walk.see(reference, Use::Pattern(pattern));
            }
        });
    }

    fn sources(&mut self, key: &'a str, sources: &'a [Source]) {
        self.list(key, sources, |walk, source| {
            if source.from.contains('{') {
                walk.see("from", Use::Text(&source.from));
            } else {
                walk.see("from", Use::Reference(&source.from));
            }
            walk.pattern("pattern", source.pattern.as_ref());
            if let Some(format) = &source.format {
                walk.see("format", Use::Format(format));
            }
            if let Some(map) = &source.map {
                walk.see("map", Use::Map(map));
            }
            walk.values("where", &source.r#where);
            walk.values("where_not", &source.where_not);
            walk.patterns("match", &source.r#match);
        });
    }

    fn identity(&mut self, identity: &'a Identity) {
        self.term("vendor", identity.vendor.as_ref());
        self.term("os", identity.os.as_ref());
        self.list("class", &identity.class, Self::class);
        self.sources("model", &identity.model);
        self.sources("version", &identity.version);
        self.sources("serial", &identity.serial);
    }

    fn class(&mut self, class: &'a Class) {
        self.pattern("sys_descr", class.sys_descr.as_ref());
        self.list("sys_object_id", &class.sys_object_id, |walk, oid| {
            (walk.see)(&walk.path, Use::Oid(oid));
        });
        if let Some(from) = &class.from {
            self.see("from", Use::First(from));
        }
        self.pattern("pattern", class.pattern.as_ref());
    }

    fn system(&mut self, system: &'a System) {
        self.sources("name", &system.name);
        self.sources("location", &system.location);
    }

    fn interfaces(&mut self, interfaces: &'a Interfaces) {
        self.references("alias", &interfaces.alias);
        self.references("name", &interfaces.name);
    }

    fn processor(&mut self, rule: &'a Processor) {
        self.rule(rule);
        self.reference("usage", rule.usage.as_ref());
        self.reference("idle", rule.idle.as_ref());
        self.text("descr", rule.descr.as_ref());
        self.number("scale", rule.scale.as_ref());
        self.pattern("pattern", rule.pattern.as_ref());
    }

    fn memory(&mut self, rule: &'a Memory) {
        self.rule(rule);
        self.text("descr", rule.descr.as_ref());
        self.reference("total", rule.total.as_ref());
        self.reference("used", rule.used.as_ref());
        self.reference("free", rule.free.as_ref());
        self.reference("percent", rule.percent.as_ref());
        self.reference("percent_free", rule.percent_free.as_ref());
        self.number("unit", rule.unit.as_ref());
        self.pattern("pattern", rule.pattern.as_ref());
    }

    fn storage(&mut self, rule: &'a Storage) {
        self.rule(rule);
        self.text("descr", rule.descr.as_ref());
        self.term("kind", rule.kind.as_ref());
        self.reference("total", rule.total.as_ref());
        self.reference("used", rule.used.as_ref());
        self.reference("free", rule.free.as_ref());
        self.reference("percent", rule.percent.as_ref());
        self.reference("percent_free", rule.percent_free.as_ref());
        self.number("unit", rule.unit.as_ref());
        self.pattern("pattern", rule.pattern.as_ref());
    }

    fn sensor(&mut self, rule: &'a Sensor) {
        self.rule(rule);
        self.see("value", Use::Reference(&rule.value));
        self.text("descr", rule.descr.as_ref());
        self.text("group", rule.group.as_ref());
        if let Some(states) = &rule.states {
            self.see("states", Use::States(states));
        }
        self.number("scale", rule.scale.as_ref());
        self.reference("scale_exponent", rule.scale_exponent.as_ref());
        self.reference("scale_prefix", rule.scale_prefix.as_ref());
        self.pattern("pattern", rule.pattern.as_ref());
    }

    fn supply(&mut self, rule: &'a Supply) {
        self.rule(rule);
        self.text("index", rule.index.as_ref());
        self.text("descr", rule.descr.as_ref());
        self.term("kind", rule.kind.as_ref());
        self.reference("level", rule.level.as_ref());
        self.reference("capacity", rule.capacity.as_ref());
        self.reference("percent", rule.percent.as_ref());
        self.pattern("pattern", rule.pattern.as_ref());
    }

    fn inventory(&mut self, rule: &'a Inventory) {
        self.rule(rule);
        self.text("index", rule.index.as_ref());
        self.term("class", rule.class.as_ref());
        self.text("name", rule.name.as_ref());
        self.text("descr", rule.descr.as_ref());
        self.text("model", rule.model.as_ref());
        self.text("serial", rule.serial.as_ref());
        self.text("hardware", rule.hardware.as_ref());
        self.text("firmware", rule.firmware.as_ref());
        self.text("software", rule.software.as_ref());
        self.text("vendor", rule.vendor.as_ref());
        self.text("contained_in", rule.contained_in.as_ref());
    }

    fn vlan(&mut self, rule: &'a Vlan) {
        self.rule(rule);
        self.text("id", rule.id.as_ref());
        self.text("name", rule.name.as_ref());
    }

    fn neighbour(&mut self, rule: &'a Neighbour) {
        self.rule(rule);
        self.text("local_if_index", rule.local_if_index.as_ref());
        self.text("local_name", rule.local_name.as_ref());
        self.text("name", rule.name.as_ref());
        self.text("port", rule.port.as_ref());
        self.text("port_id", rule.port_id.as_ref());
        self.text("platform", rule.platform.as_ref());
        self.text("version", rule.version.as_ref());
        self.text("address", rule.address.as_ref());
    }

    fn radio(&mut self, rule: &'a Radio) {
        self.rule(rule);
        self.text("name", rule.name.as_ref());
        self.reference("clients", rule.clients.as_ref());
        self.reference("channel", rule.channel.as_ref());
        self.reference("utilisation", rule.utilisation.as_ref());
        self.reference("noise", rule.noise.as_ref());
    }

    fn ssid(&mut self, rule: &'a Ssid) {
        self.rule(rule);
        self.text("name", rule.name.as_ref());
        self.reference("clients", rule.clients.as_ref());
    }

    fn access_point(&mut self, rule: &'a AccessPoint) {
        self.rule(rule);
        self.text("name", rule.name.as_ref());
        self.text("model", rule.model.as_ref());
        self.text("serial", rule.serial.as_ref());
        self.text("address", rule.address.as_ref());
        self.reference("clients", rule.clients.as_ref());
        self.values("up", &rule.up);
    }

    fn wireless(&mut self, wireless: &'a Wireless) {
        self.list("clients", &wireless.clients, Self::total);
        self.list("aps", &wireless.aps, Self::total);
        self.list("aps_connected", &wireless.aps_connected, Self::total);
    }

    fn total(&mut self, total: &'a Total) {
        if let Some(from) = &total.from {
            self.see("from", Use::First(from));
        }
        self.reference("sum", total.sum.as_ref());
        self.reference("rows", total.rows.as_ref());
        self.values("where", &total.r#where);
        self.values("where_not", &total.where_not);
        self.patterns("match", &total.r#match);
    }

    fn poe(&mut self, rule: &'a Poe) {
        self.rule(rule);
        self.text("interface", rule.interface.as_ref());
        self.reference("power", rule.power.as_ref());
        self.number("scale", rule.scale.as_ref());
        self.text("status", rule.status.as_ref());
    }
}
