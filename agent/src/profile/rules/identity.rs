//! Who made the device, what it is, what runs on it.

use super::Scope;
use crate::{
    device,
    profile::{
        compiled::{SYS_DESCR, SYS_OBJECT_ID},
        model::{Class, DeviceClass, Identity, Source},
        pattern::Pattern,
        reference,
        syntax::{self, Arcs},
        text,
    },
    snmp::tables::Value,
};

pub(super) fn identity(scope: &Scope<'_>, rules: &Identity, profile: &str) -> device::Identity {
    device::Identity {
        class: rules.class.iter().find(|class| holds(scope, class)).map(|class| named(class.is)),
        vendor: scope.text(rules.vendor.as_ref(), &[0]),
        os: scope.text(rules.os.as_ref(), &[0]),
        model: first(scope, &rules.model),
        version: first(scope, &rules.version),
        serial: first(scope, &rules.serial),
        profile: Some(profile.to_owned()),
    }
}

/// The first text that one of `sources` gives.
pub(super) fn first(scope: &Scope<'_>, sources: &[Source]) -> Option<String> {
    sources.iter().find_map(|source| from(scope, source)).map(text::shown)
}

fn from(scope: &Scope<'_>, source: &Source) -> Option<String> {
    let pieces = scope.pieces(&source.from);
    scope.rows_of_text(pieces).iter().find_map(|index| {
        if !scope.selects(&source.r#where, &source.where_not, &source.r#match, index) {
            return None;
        }
        let text = scope.composed(pieces, index)?;
        let text = match &source.pattern {
            None => text,
            Some(pattern) => matched(scope.pattern(pattern)?, source.format.as_deref(), &text)?,
        };
        let text = match &source.map {
            None => text,
            Some(map) => scope.maps.lookup(map, &text)?.to_owned(),
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    })
}

fn matched(pattern: &Pattern, format: Option<&str>, text: &str) -> Option<String> {
    let Some(format) = format else { return pattern.first(text).map(str::to_owned) };
    let groups = pattern.groups(text)?;
    let mut out = String::new();
    for piece in syntax::format(format).ok()? {
        match piece {
            syntax::Joined::Literal(literal) => out.push_str(literal),
            // A group that took no part is empty.
            syntax::Joined::Group(group) => {
                out.push_str(groups.get(group).copied().flatten().unwrap_or_default());
            }
        }
    }
    Some(out)
}

fn holds(scope: &Scope<'_>, class: &Class) -> bool {
    let descr = scope.tables.get(&SYS_DESCR, &[0]).and_then(text::text).unwrap_or_default();
    let described = class.sys_descr.as_ref().is_none_or(|pattern| {
        scope.pattern(pattern).is_some_and(|pattern| pattern.is_match(&descr))
    });
    let family = class.sys_object_id.is_empty()
        || match scope.tables.get(&SYS_OBJECT_ID, &[0]) {
            Some(Value::Oid(own)) => class.sys_object_id.iter().any(|family| is_below(own, family)),
            _ => false,
        };
    described && family && class.from.as_ref().is_none_or(|from| tells(scope, class, from))
}

fn is_below(own: &Arcs, family: &str) -> bool {
    syntax::oid(family).is_ok_and(|family| own.starts_with(&family))
}

/// Whether the device has what the class is known by.
fn tells(scope: &Scope<'_>, class: &Class, from: &str) -> bool {
    let Some(reference) = scope.reference(from) else { return false };
    scope.indexes(reference).iter().any(|index| {
        let value = reference::value(reference, scope.tables, index);
        let text = value.and_then(|value| text::text(&value));
        text.is_some_and(|text| {
            class.pattern.as_ref().is_none_or(|pattern| {
                scope.pattern(pattern).is_some_and(|pattern| pattern.is_match(&text))
            })
        })
    })
}

fn named(class: DeviceClass) -> device::DeviceClass {
    match class {
        DeviceClass::Switch => device::DeviceClass::Switch,
        DeviceClass::Router => device::DeviceClass::Router,
        DeviceClass::Firewall => device::DeviceClass::Firewall,
        DeviceClass::WifiAp => device::DeviceClass::WifiAp,
        DeviceClass::WifiController => device::DeviceClass::WifiController,
        DeviceClass::Ups => device::DeviceClass::Ups,
        DeviceClass::Printer => device::DeviceClass::Printer,
        DeviceClass::Nas => device::DeviceClass::Nas,
        DeviceClass::Server => device::DeviceClass::Server,
        DeviceClass::Nte => device::DeviceClass::Nte,
    }
}
