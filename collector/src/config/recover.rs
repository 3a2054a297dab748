//! From text to a value, past faults: each place that can not be read is told and left out.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use super::fault::Fault;

/// Most places that are left out: each costs one more reading of the whole.
const MAX_LEFT_OUT: usize = 40;

/// What was read, and what was left out of it.
#[derive(Debug)]
pub(super) struct Recovered<T> {
    pub(super) value: T,
    pub(super) faults: Vec<Fault>,
    /// Keys that are there and could not be read, each with its table's place.
    pub(super) left_out: Vec<(Range<usize>, String)>,
}

/// Reads what can be read, and tells what can not. With broken syntax nothing is: where a table ends
/// is not known.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<Recovered<T>, Vec<Fault>> {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| fault(text, error)).collect());
    }
    let (mut faults, mut left_out) = (Vec::new(), Vec::new());
    loop {
        let fault = match T::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(value) => return Ok(Recovered { value, faults, left_out }),
            Err(error) => fault(text, &error),
        };
        let span = fault.span.clone();
        faults.push(fault);
        if faults.len() == MAX_LEFT_OUT {
            let reason = "too many faults: the rest is told once these are corrected".to_owned();
            faults.push(Fault { span, reason });
            return Err(faults);
        }
        let place = table.span();
        match leave_out(table.as_mut(), &place, &span) {
            Some(key) => left_out.push(key),
            None => return Err(faults),
        }
    }
}

fn fault(text: &str, error: &Error) -> Fault {
    let end = text.len();
    let span = error.span().map_or(end..end, |span| span.start.min(end)..span.end.min(end));
    Fault { span, reason: error.message().to_owned() }
}

/// Removes the innermost key whose name or value lies around `span`: the place of its table, its name.
fn leave_out(
    table: &mut DeTable<'_>,
    place: &Range<usize>,
    span: &Range<usize>,
) -> Option<(Range<usize>, String)> {
    let around = |place: Range<usize>| place.start <= span.start && span.end <= place.end;
    if let Some(below) = table.iter_mut().find_map(|(_, value)| leave_out_below(value, span)) {
        return Some(below);
    }
    let found = table.iter().find(|(key, value)| around(key.span()) || around(value.span()));
    let name = found.map(|(key, _)| key.get_ref().to_string())?;
    table.remove(name.as_str()).map(|_| (place.clone(), name))
}

fn leave_out_below(
    value: &mut Spanned<DeValue<'_>>,
    span: &Range<usize>,
) -> Option<(Range<usize>, String)> {
    let place = value.span();
    match value.as_mut() {
        DeValue::Table(table) => leave_out(table, &place, span),
        DeValue::Array(array) => array.iter_mut().find_map(|item| leave_out_below(item, span)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}
