//! Sensors and states.

use std::collections::BTreeMap;

use super::{Claimed, MAX_FOUND, Scope, equals, numbered, tidy, whole};
use crate::{
    device::{self, Severity},
    profile::{
        model::{Convert, SENSOR_CLASSES, Sensor, States},
        syntax::dotted,
        text,
    },
    snmp::tables::Value,
};

/// The class of states.
const STATE: &str = "state";
/// Most decimal places that a device can say a value has.
const MAX_PLACES: i32 = 18;
/// Powers of ten of `EntitySensorDataScale` from yocto(1) to yotta(17) (RFC 3433; exa is before peta).
const PREFIXES: [i32; 17] = [-24, -21, -18, -15, -12, -9, -6, -3, 0, 3, 6, 9, 12, 18, 15, 21, 24];

pub(super) fn sensors(
    scope: &Scope<'_>,
    rules: &[Sensor],
    states: &BTreeMap<String, States>,
) -> Vec<device::Sensor> {
    let mut claimed = Claimed::default();
    let mut found = Vec::new();
    for rule in rules {
        let Some(class) = SENSOR_CLASSES.iter().find(|class| **class == rule.class) else {
            continue;
        };
        let states = rule.states.as_ref().and_then(|name| states.get(name));
        for index in scope.rows(rule) {
            let (value, state) = match states {
                Some(states) => match state(scope, rule, states, &index) {
                    Some((value, state)) => (value, Some(state)),
                    None => continue,
                },
                None => match reading(scope, rule, &index) {
                    Some(value) => (Some(value), None),
                    None => continue,
                },
            };
            let Some(instance) = scope.instance(&rule.value, &index) else { continue };
            let oid = dotted(&instance);
            if found.len() < MAX_FOUND && claimed.claim(class, instance) {
                let descr = scope
                    .text(rule.descr.as_ref(), &index)
                    .unwrap_or_else(|| numbered(class, &index));
                let group = scope.text(rule.group.as_ref(), &index);
                let class = (*class).to_owned();
                found.push(device::Sensor { class, descr, value, state, group, oid });
            }
        }
    }
    found
}

/// A number in the unit of the class.
fn reading(scope: &Scope<'_>, rule: &Sensor, index: &[u32]) -> Option<f64> {
    if rule.class == STATE {
        return None;
    }
    let raw = scope.number(Some(&rule.value), index, &rule.skip, rule.pattern.as_ref())?;
    let mut value = raw * scope.factor(rule.scale.as_ref(), index)?;
    if let Some(places) = &rule.scale_exponent {
        let places = whole(text::number(&*scope.value(places, index)?)?)?;
        let places = i32::try_from(places).ok().filter(|places| places.abs() <= MAX_PLACES)?;
        value /= 10_f64.powi(places);
    }
    if let Some(prefix) = &rule.scale_prefix {
        let prefix = whole(text::number(&*scope.value(prefix, index)?)?)?;
        let at = usize::try_from(prefix).ok()?.checked_sub(1)?;
        value *= 10_f64.powi(*PREFIXES.get(at)?);
    }
    value += rule.offset.unwrap_or_default();
    let value = match rule.convert {
        None => value,
        Some(convert) => converted(value, convert)?,
    };
    let value = value.is_finite().then(|| tidy(value))?;
    let inside = rule.range.is_none_or(|[low, high]| (low..=high).contains(&value));
    inside.then_some(value)
}

fn converted(value: f64, convert: Convert) -> Option<f64> {
    // A power of nothing has no logarithm: there is no light to measure.
    let dbm = |milliwatts: f64| (milliwatts > 0.0).then(|| 10.0 * milliwatts.log10());
    match convert {
        Convert::MwToDbm => dbm(value),
        Convert::WToDbm => dbm(value * 1000.0),
        Convert::Fahrenheit => Some((value - 32.0) * 5.0 / 9.0),
        Convert::SecondsToMinutes => Some(value / 60.0),
        Convert::TicksToMinutes => Some(value / 6000.0),
    }
}

/// The raw number, where there is one, what the state is called and what it means.
fn state(
    scope: &Scope<'_>,
    rule: &Sensor,
    states: &States,
    index: &[u32],
) -> Option<(Option<f64>, (String, Severity))> {
    let value = scope.value(&rule.value, index)?;
    if rule.skip.iter().any(|raw| equals(&value, raw)) {
        return None;
    }
    let text = text::text(&value)?;
    let key = match &rule.pattern {
        Some(pattern) => scope.pattern(pattern)?.first(&text)?.into(),
        None => text::key(&value, &text),
    };
    let state = match meaning(states, &key) {
        Some((text, severity)) => (text.to_owned(), severity),
        None => (text::shown(key.clone().into_owned()), Severity::Unknown),
    };
    let number = match (&*value, &rule.pattern) {
        (Value::Integer(_) | Value::Unsigned(_) | Value::Float(_), None) => text::number(&value),
        _ => key.trim().parse().ok().filter(|number: &f64| number.is_finite()),
    };
    Some((number, state))
}

fn meaning<'s>(states: &'s States, key: &str) -> Option<(&'s str, Severity)> {
    let tables = [
        (&states.critical, Severity::Critical),
        (&states.warning, Severity::Warning),
        (&states.ok, Severity::Ok),
        (&states.unknown, Severity::Unknown),
    ];
    let exact =
        tables.iter().find_map(|(texts, severity)| Some((texts.get(key)?.as_str(), *severity)));
    exact.or_else(|| {
        tables.iter().find_map(|(texts, severity)| {
            let (_, text) = texts.iter().find(|(raw, _)| raw.eq_ignore_ascii_case(key))?;
            Some((text.as_str(), *severity))
        })
    })
}
