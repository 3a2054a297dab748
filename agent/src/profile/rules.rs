//! Evaluates a profile over what a device answered. Whatever the tables hold, the findings are bounded,
//! their texts clean, their numbers finite; what is not known is absent.

mod capacity;
mod identity;
mod parts;
mod sensor;
#[cfg(test)]
mod tests;
mod wireless;

use std::{borrow::Cow, collections::HashSet};

use super::{
    compiled::Compiled,
    library::Resolved,
    model::{Filter, Number, Patterns, Raw, Rule, Text, Values},
    pattern::Pattern,
    reference,
    syntax::{Arcs, Piece, Reference, dotted},
    text,
};
use crate::{
    device::{Findings, Processor},
    snmp::tables::{Tables, Value},
};

/// Most rows of one rule; the others are not looked at.
const MAX_ROWS: usize = 4096;
/// Most findings of one section; the others are not kept.
const MAX_FOUND: usize = 8192;
/// Sizes in bytes, levels and counts are whole below this (2^53), so that an `f64` holds them.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// What the rules of `profile` find in `tables`.
#[must_use]
pub fn evaluate(profile: &Resolved, tables: &Tables) -> Findings {
    let scope = Scope { compiled: profile.compiled(), maps: profile, tables };
    let rules = profile.profile();
    Findings {
        identity: identity::identity(&scope, &rules.identity, profile.name()),
        system_name: identity::first(&scope, &rules.system.name),
        system_location: identity::first(&scope, &rules.system.location),
        interfaces: parts::interfaces(&scope, &rules.interfaces),
        processors: scope.processors(),
        memory: capacity::memory(&scope, &rules.memory),
        storage: capacity::storage(&scope, &rules.storage),
        sensors: sensor::sensors(&scope, &rules.sensor, &rules.states),
        supplies: parts::supplies(&scope, &rules.supply),
        parts: parts::parts(&scope, &rules.inventory),
        vlans: parts::vlans(&scope, &rules.vlan),
        neighbours: parts::neighbours(&scope, &rules.neighbour),
        wireless: wireless::wireless(&scope, rules),
        poe: parts::poe(&scope, &rules.poe),
    }
}

/// Which values two rules would both read: the first rule has it.
#[derive(Default)]
struct Claimed(HashSet<(&'static str, Arcs)>);

impl Claimed {
    /// Whether nobody had it before.
    fn claim(&mut self, class: &'static str, instance: Arcs) -> bool {
        self.0.insert((class, instance))
    }
}

/// A profile and a device.
struct Scope<'a> {
    compiled: &'a Compiled,
    maps: &'a Resolved,
    tables: &'a Tables,
}

impl<'a> Scope<'a> {
    /// Of a resolved profile every reference is compiled.
    fn reference(&self, text: &str) -> Option<&'a Reference> {
        let reference = self.compiled.reference(text);
        debug_assert!(reference.is_some(), "{text:?} is missing in `uses`");
        reference
    }

    fn pattern(&self, text: &str) -> Option<&'a Pattern> {
        let pattern = self.compiled.pattern(text);
        debug_assert!(pattern.is_some(), "{text:?} is missing in `uses`");
        pattern
    }

    fn pieces(&self, text: &str) -> &'a [Piece] {
        let pieces = self.compiled.text(text);
        debug_assert!(pieces.is_some(), "{text:?} is missing in `uses`");
        pieces.unwrap_or_default()
    }

    fn value(&self, reference: &str, index: &[u32]) -> Option<Cow<'a, Value>> {
        reference::value(self.reference(reference)?, self.tables, index)
    }

    /// The dotted name of the instance that is read.
    fn instance(&self, reference: &str, index: &[u32]) -> Option<Arcs> {
        reference::instance(self.reference(reference)?, self.tables, index)
    }

    /// A number as the device gives it, but for what means that there is none.
    fn number(
        &self,
        reference: Option<&String>,
        index: &[u32],
        skip: &[Raw],
        pattern: Option<&String>,
    ) -> Option<f64> {
        let value = self.value(reference?, index)?;
        let number = match pattern {
            None => text::number(&value)?,
            Some(pattern) => {
                let text = text::text(&value)?;
                text::first_number(self.pattern(pattern)?.first(&text)?)?.0
            }
        };
        let none = |raw: &Raw| equals(&value, raw) || is_number(number, raw);
        (!skip.iter().any(none)).then_some(number)
    }

    /// A count, or another whole number that is not negative.
    fn count(&self, reference: Option<&String>, index: &[u32], skip: &[Raw]) -> Option<u64> {
        self.number(reference, index, skip, None).and_then(unsigned)
    }

    /// A factor: 1 where there is no such field, `None` where the device does not tell it.
    fn factor(&self, factor: Option<&Number>, index: &[u32]) -> Option<f64> {
        match factor {
            None => Some(1.0),
            Some(Number::Literal(factor)) => Some(*factor),
            Some(Number::Reference(reference)) => text::number(&*self.value(reference, index)?),
        }
    }

    /// The first complete text, as it is shown.
    fn text(&self, text: Option<&Text>, index: &[u32]) -> Option<String> {
        let Text(texts) = text?;
        texts.iter().find_map(|text| self.composed(self.pieces(text), index)).map(text::shown)
    }

    /// The same, empty where there is none.
    fn wording(&self, text: Option<&Text>, index: &[u32]) -> String {
        self.text(text, index).unwrap_or_default()
    }

    fn composed(&self, pieces: &[Piece], index: &[u32]) -> Option<String> {
        let lookup = |map: &str, key: &str| self.maps.lookup(map, key).map(str::to_owned);
        reference::compose(pieces, self.tables, index, &lookup)
    }

    /// Indexes of the rows that a rule is for.
    fn rows(&self, rule: &impl Rule) -> Vec<Arcs> {
        let filter = rule.filter();
        if filter.unless.iter().any(|reference| self.exists(reference)) {
            return Vec::new();
        }
        let mut rows = match rule.key() {
            Some(key) => self.rows_of(key),
            None => self.first_rows(rule),
        };
        rows.retain(|index| self.keeps(&filter, index));
        rows
    }

    /// The rows of the first of the rule's values that the device has.
    fn first_rows(&self, rule: &impl Rule) -> Vec<Arcs> {
        let values = rule.values().into_iter().map(|value| self.rows_of(value));
        let texts = rule.texts().into_iter().flat_map(|Text(texts)| texts);
        let texts = texts.map(|text| self.rows_of_text(self.pieces(text)));
        values.chain(texts).find(|rows| !rows.is_empty()).unwrap_or_default()
    }

    fn rows_of(&self, reference: &str) -> Vec<Arcs> {
        self.reference(reference).map_or_else(Vec::new, |reference| self.indexes(reference))
    }

    fn rows_of_text(&self, pieces: &[Piece]) -> Vec<Arcs> {
        let references = pieces.iter().filter_map(|piece| match piece {
            Piece::Value { reference, .. } => Some(reference),
            Piece::Literal(_) => None,
        });
        let mut rows = references.map(|reference| self.indexes(reference));
        rows.find(|rows| !rows.is_empty()).unwrap_or_default()
    }

    fn indexes(&self, reference: &Reference) -> Vec<Arcs> {
        reference::rows(reference, self.tables, MAX_ROWS)
    }

    /// Whether the device has any instance there.
    fn exists(&self, reference: &str) -> bool {
        self.reference(reference)
            .is_some_and(|reference| !reference::rows(reference, self.tables, 1).is_empty())
    }

    fn keeps(&self, filter: &Filter<'_>, index: &[u32]) -> bool {
        self.selects(filter.r#where, filter.where_not, filter.r#match, index)
            && filter.absent.iter().all(|reference| self.value(reference, index).is_none())
    }

    fn selects(
        &self,
        r#where: &Values,
        where_not: &Values,
        r#match: &Patterns,
        index: &[u32],
    ) -> bool {
        self.is_each(r#where, index).unwrap_or(false)
            && !where_not.iter().any(|(reference, values)| {
                self.value(reference, index).is_some_and(|value| is_one_of(&value, values))
            })
            && r#match.iter().all(|(reference, pattern)| {
                let text = self.value(reference, index).and_then(|value| text::text(&value));
                text.zip(self.pattern(pattern))
                    .is_some_and(|(text, pattern)| pattern.is_match(&text))
            })
    }

    /// Whether each reference has one of its values; `None` where the device does not say.
    fn is_each(&self, values: &Values, index: &[u32]) -> Option<bool> {
        let mut all = true;
        for (reference, values) in values {
            all &= is_one_of(&*self.value(reference, index)?, values);
        }
        Some(all)
    }

    fn processors(&self) -> Vec<Processor> {
        let mut claimed = Claimed::default();
        let mut found = Vec::new();
        for rule in &self.maps.profile().processor {
            for index in self.rows(rule) {
                let read = |reference: Option<&String>| {
                    let raw = self.number(reference, &index, &rule.skip, rule.pattern.as_ref())?;
                    let busy = raw * self.factor(rule.scale.as_ref(), &index)?;
                    let instance = self.instance(reference?, &index)?;
                    is_percent(busy).then_some((busy, instance))
                };
                let idle = || read(rule.idle.as_ref()).map(|(idle, at)| (100.0 - idle, at));
                let Some((usage, instance)) = read(rule.usage.as_ref()).or_else(idle) else {
                    continue;
                };
                let oid = dotted(&instance);
                if found.len() < MAX_FOUND && claimed.claim("", instance) {
                    let descr = self
                        .text(rule.descr.as_ref(), &index)
                        .unwrap_or_else(|| numbered("Processor", &index));
                    found.push(Processor { descr, usage_percent: tidy(usage), oid });
                }
            }
        }
        found
    }
}

/// What has no name of its own: its kind, and its index unless it is a scalar.
fn numbered(kind: &str, index: &[u32]) -> String {
    match index {
        [0] => kind.to_owned(),
        _ => text::shown(format!("{kind} {}", dotted(index))),
    }
}

fn is_one_of(value: &Value, values: &[Raw]) -> bool {
    values.iter().any(|raw| equals(value, raw))
}

fn equals(value: &Value, raw: &Raw) -> bool {
    match (raw, value) {
        (Raw::Integer(raw), Value::Integer(number)) => raw == number,
        (Raw::Integer(raw), Value::Unsigned(number)) => u64::try_from(*raw) == Ok(*number),
        (Raw::Integer(raw), Value::Bytes(_)) => {
            text::text(value).is_some_and(|text| text.parse() == Ok(*raw))
        }
        (Raw::Integer(_) | Raw::Float(_), _) => {
            text::number(value).is_some_and(|number| is_number(number, raw))
        }
        (Raw::Text(raw), _) => text::text(value)
            .is_some_and(|text| text.eq_ignore_ascii_case(raw.trim_start_matches('.').trim())),
    }
}

/// Whether a number that a device gave is the one that a file says.
fn is_number(number: f64, raw: &Raw) -> bool {
    match raw {
        Raw::Integer(raw) => (number - *raw as f64).abs() < f64::EPSILON,
        Raw::Float(raw) => (number - raw).abs() < f64::EPSILON,
        Raw::Text(_) => false,
    }
}

fn is_percent(number: f64) -> bool {
    (0.0..=100.0).contains(&number)
}

/// Without what binary fractions add to decimal ones.
fn tidy(number: f64) -> f64 {
    const PLACES: f64 = 1e6;
    let rounded = (number * PLACES).round() / PLACES;
    // A number too large for it keeps its own digits; no minus stands before zero.
    if rounded.is_finite() { rounded + 0.0 } else { number }
}

/// The whole number next to a finite one, where an `f64` holds it exactly.
fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the bound is below 2^63")]
    (number.abs() <= MAX_WHOLE).then_some(number.round() as i64)
}

/// The same, not negative.
fn unsigned(number: f64) -> Option<u64> {
    whole(number).and_then(|number| u64::try_from(number).ok())
}
