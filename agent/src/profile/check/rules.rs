//! What is wrong with rules by themselves: fields that are missing or contradict each other.

use super::super::{
    model::{Profile, Rule, SENSOR_CLASSES, Sensor, Source, Text, Total},
    pattern::Pattern,
    syntax::{self, Arcs, Joined, Piece, Reference, Row},
    uses::Step,
};

/// Where, what, and what would be right.
pub(super) type Found<'a> = (Vec<Step<'a>>, String, &'static str);

/// The faults of the rules of `profile`. `resolve` knows the names.
pub(super) fn faults<'a>(
    profile: &'a Profile,
    resolve: &dyn Fn(&str) -> Option<Arcs>,
) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    let mut check = Check { resolve, found: &mut found };
    check.rules("processor", &profile.processor, "give usage or idle");
    check.rules("memory", &profile.memory, "give two of total, used, free, percent");
    check.rules("storage", &profile.storage, "give two of total, used, free, percent");
    check.rules("sensor", &profile.sensor, "give a key");
    check.rules("supply", &profile.supply, "give level or percent");
    check.rules("inventory", &profile.inventory, "give a key, or a serial");
    check.rules("vlan", &profile.vlan, "give a key, or a name");
    check.rules("neighbour", &profile.neighbour, "give a key, or a name");
    check.rules("radio", &profile.radio, "give a key, or clients");
    check.rules("ssid", &profile.ssid, "give a key, or a name");
    check.rules("access_point", &profile.access_point, "give a key, or a name");
    check.rules("poe", &profile.poe, "give a key, or power");
    for (at, sensor) in profile.sensor.iter().enumerate() {
        check.sensor(at, sensor);
    }
    for (field, sources) in [
        ("model", &profile.identity.model),
        ("version", &profile.identity.version),
        ("serial", &profile.identity.serial),
    ] {
        check.sources("identity", field, sources);
    }
    check.sources("system", "name", &profile.system.name);
    check.sources("system", "location", &profile.system.location);
    for (at, class) in profile.identity.class.iter().enumerate() {
        if class.pattern.is_some() && class.from.is_none() {
            let path = [Step::Key("identity"), Step::Key("class"), Step::Item(at)];
            check.fault(&path, "there is a pattern, and nothing it could match", "give from");
        }
    }
    for (field, totals) in [
        ("clients", &profile.wireless.clients),
        ("aps", &profile.wireless.aps),
        ("aps_connected", &profile.wireless.aps_connected),
    ] {
        check.totals(field, totals);
    }
    found
}

struct Check<'a, 'c> {
    resolve: &'c dyn Fn(&str) -> Option<Arcs>,
    found: &'c mut Vec<Found<'a>>,
}

impl<'a> Check<'a, '_> {
    fn fault(&mut self, path: &[Step<'a>], message: impl Into<String>, hint: &'static str) {
        self.found.push((path.to_vec(), message.into(), hint));
    }

    fn rules(&mut self, section: &'a str, rules: &'a [impl Rule], hint: &'static str) {
        for (at, rule) in rules.iter().enumerate() {
            if !self.has_rows(rule) {
                let path = [Step::Key(section), Step::Item(at)];
                self.fault(&path, "nothing makes rows for this rule", hint);
            }
        }
    }

    /// What can not be read at all is a fault of its own.
    fn has_rows(&self, rule: &impl Rule) -> bool {
        let makes = |text: &str| match syntax::reference(text, self.resolve) {
            Ok(reference) => makes_rows(&reference),
            Err(_) => true,
        };
        if let Some(key) = rule.key() {
            return makes(key);
        }
        let texts = rule.texts().into_iter().flat_map(|Text(texts)| texts);
        rule.values().into_iter().any(makes)
            || texts.into_iter().any(|text| match syntax::text(text, self.resolve) {
                Ok(pieces) => pieces.iter().any(|piece| match piece {
                    Piece::Value { reference, .. } => makes_rows(reference),
                    Piece::Literal(_) => false,
                }),
                Err(_) => true,
            })
    }

    fn sensor(&mut self, at: usize, sensor: &'a Sensor) {
        let mut fault = |field, message: &str, hint| {
            self.fault(&[Step::Key("sensor"), Step::Item(at), Step::Key(field)], message, hint);
        };
        if !SENSOR_CLASSES.contains(&sensor.class.as_str()) {
            let message = format!("{:?} is not a class of sensors", sensor.class);
            fault("class", &message, "agent/profiles/README.md lists them");
        }
        match (sensor.class == "state", &sensor.states) {
            (true, None) => fault("class", "a state needs states", "name a [states.…] table"),
            (false, Some(_)) => fault("states", "only a state has states", "class = \"state\""),
            (true, Some(_)) | (false, None) => {}
        }
        if sensor.range.is_some_and(|[low, high]| low.is_nan() || high.is_nan() || low >= high) {
            fault("range", "no value is in this range", "the lower bound stands first");
        }
    }

    fn sources(&mut self, section: &'a str, field: &'a str, sources: &'a [Source]) {
        for (at, source) in sources.iter().enumerate() {
            let path = [Step::Key(section), Step::Key(field), Step::Item(at), Step::Key("format")];
            let Some(format) = &source.format else { continue };
            let Some(pattern) = &source.pattern else {
                self.fault(&path, "there is a format, and no pattern", "");
                continue;
            };
            let (Ok(parts), Ok(pattern)) = (syntax::format(format), Pattern::new(pattern)) else {
                continue;
            };
            let most = pattern.group_count();
            let beyond = parts.iter().any(|part| matches!(part, Joined::Group(at) if *at > most));
            if beyond {
                self.fault(&path, format!("the pattern has {most} groups"), "");
            }
        }
    }

    fn totals(&mut self, field: &'a str, totals: &'a [Total]) {
        for (at, total) in totals.iter().enumerate() {
            let path = [Step::Key("wireless"), Step::Key(field), Step::Item(at)];
            let Total { from, sum, rows, .. } = total;
            let given = [from, sum, rows].into_iter().flatten().count();
            if given != 1 {
                self.fault(&path, format!("{given} of from, sum, rows are given"), "give one");
            }
            for column in [sum, rows].into_iter().flatten() {
                let whole = match syntax::reference(column, self.resolve) {
                    Ok(reference) => matches!(reference, Reference::Column(_, Row::Same)),
                    Err(_) => true,
                };
                if !whole {
                    self.fault(&path, format!("{column:?} is not a column"), "");
                }
            }
        }
    }
}

fn makes_rows(reference: &Reference) -> bool {
    match reference {
        Reference::Column(_, Row::Same | Row::Fixed(_)) => true,
        Reference::Column(_, Row::Pointer(pointer)) => makes_rows(pointer),
        Reference::Column(_, Row::Part(_)) | Reference::Index(_) | Reference::IndexText(_) => false,
    }
}
