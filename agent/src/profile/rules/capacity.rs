//! Memory and storage: of total, used, free and percent a device tells some, and the others follow.

use super::{Claimed, MAX_FOUND, Scope, is_percent, numbered, tidy, unsigned};
use crate::{
    device,
    profile::{
        model::{Memory, MemoryClass, Number, Raw, Rule, Storage},
        syntax::Arcs,
        text,
    },
    snmp::tables::Value,
};

/// What is known of a pool, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pool {
    /// Size.
    pub(super) total: Option<u64>,
    /// In use.
    pub(super) used: Option<u64>,
    /// Not in use.
    pub(super) free: Option<u64>,
    /// In use, 0 to 100.
    pub(super) percent: Option<f64>,
}

/// Where a rule finds the parts of a pool.
struct Parts<'a> {
    total: Option<&'a String>,
    used: Option<&'a String>,
    free: Option<&'a String>,
    percent: Option<&'a String>,
    percent_free: Option<&'a String>,
    unit: Option<&'a Number>,
    skip: &'a [Raw],
    pattern: Option<&'a String>,
}

pub(super) fn memory(scope: &Scope<'_>, rules: &[Memory]) -> Vec<device::Memory> {
    let mut claimed = Claimed::default();
    let mut found = Vec::new();
    for rule in rules {
        let parts = Parts {
            total: rule.total.as_ref(),
            used: rule.used.as_ref(),
            free: rule.free.as_ref(),
            percent: rule.percent.as_ref(),
            percent_free: rule.percent_free.as_ref(),
            unit: rule.unit.as_ref(),
            skip: &rule.skip,
            pattern: rule.pattern.as_ref(),
        };
        for (index, pool) in pools(scope, rule, &parts, &mut claimed) {
            let descr = scope.text(rule.descr.as_ref(), &index);
            let Pool { total, used, free, percent } = pool;
            let descr = descr.unwrap_or_else(|| numbered("Memory", &index));
            found.push(device::Memory {
                descr,
                class: class(rule.class),
                total,
                used,
                free,
                percent,
            });
        }
    }
    found.truncate(MAX_FOUND);
    found
}

pub(super) fn storage(scope: &Scope<'_>, rules: &[Storage]) -> Vec<device::Storage> {
    let mut claimed = Claimed::default();
    let mut found = Vec::new();
    for rule in rules {
        let parts = Parts {
            total: rule.total.as_ref(),
            used: rule.used.as_ref(),
            free: rule.free.as_ref(),
            percent: rule.percent.as_ref(),
            percent_free: rule.percent_free.as_ref(),
            unit: rule.unit.as_ref(),
            skip: &rule.skip,
            pattern: rule.pattern.as_ref(),
        };
        for (index, pool) in pools(scope, rule, &parts, &mut claimed) {
            let descr = scope.text(rule.descr.as_ref(), &index);
            let kind = scope.wording(rule.kind.as_ref(), &index);
            let Pool { total: size, used, free, percent } = pool;
            let descr = descr.unwrap_or_else(|| numbered("Storage", &index));
            found.push(device::Storage { descr, kind, size, used, free, percent });
        }
    }
    found.truncate(MAX_FOUND);
    found
}

fn class(class: MemoryClass) -> device::MemoryClass {
    match class {
        MemoryClass::System => device::MemoryClass::System,
        MemoryClass::Virtual => device::MemoryClass::Virtual,
        MemoryClass::Swap => device::MemoryClass::Swap,
        MemoryClass::Buffers => device::MemoryClass::Buffers,
        MemoryClass::Cached => device::MemoryClass::Cached,
        MemoryClass::Shared => device::MemoryClass::Shared,
    }
}

fn pools(
    scope: &Scope<'_>,
    rule: &impl Rule,
    parts: &Parts<'_>,
    claimed: &mut Claimed,
) -> Vec<(Arcs, Pool)> {
    let mut found = Vec::new();
    for index in scope.rows(rule) {
        let size = |reference| parts.size(scope, reference, &index);
        let share = |reference| {
            let number = scope.number(reference, &index, parts.skip, parts.pattern)?;
            is_percent(number).then_some(number)
        };
        let free = share(parts.percent_free).map(|percent| 100.0 - percent);
        let percent = share(parts.percent).or(free);
        let Some(pool) = complete(size(parts.total), size(parts.used), size(parts.free), percent)
        else {
            continue;
        };
        // The value that tells this pool from others; a size can be common to several.
        let own = [parts.used, parts.free, parts.percent, parts.percent_free, parts.total];
        let instance = own.into_iter().flatten().find_map(|reference| {
            scope.value(reference, &index)?;
            scope.instance(reference, &index)
        });
        if instance.is_some_and(|instance| claimed.claim("", instance)) {
            found.push((index, pool));
        }
    }
    found
}

impl Parts<'_> {
    /// In bytes.
    fn size(&self, scope: &Scope<'_>, reference: Option<&String>, index: &[u32]) -> Option<u64> {
        let number = scope.number(reference, index, self.skip, self.pattern)?;
        let said = || {
            let value = scope.value(reference?, index)?;
            let Some(pattern) = self.pattern else { return text::bytes_with_unit(&value) };
            let text = text::text(&value)?;
            let group = scope.pattern(pattern)?.first(&text)?;
            text::bytes_with_unit(&Value::Bytes(group.as_bytes().into()))
        };
        let bytes = match self.unit {
            None => said().unwrap_or(number),
            Some(_) => number * scope.factor(self.unit, index)?,
        };
        unsigned(bytes)
    }
}

/// Completes a pool from what is known of it. `None` where that says nothing, or contradicts itself, as
/// when more is used than there is; a pool of size zero does not exist.
pub(super) fn complete(
    total: Option<u64>,
    used: Option<u64>,
    free: Option<u64>,
    percent: Option<f64>,
) -> Option<Pool> {
    let within = |part: Option<u64>, total: u64| part.filter(|part| *part <= total);
    let total = match (total, used, free, percent) {
        (Some(total), ..) => Some(total),
        (None, Some(used), Some(free), _) => used.checked_add(free),
        (None, Some(used), None, Some(percent)) => fraction(used, 100.0 / percent),
        (None, None, Some(free), Some(percent)) => fraction(free, 100.0 / (100.0 - percent)),
        (None, ..) => None,
    };
    let Some(total) = total else {
        // Bytes in use of an unknown size tell nothing; a percentage does.
        return percent.map(|_| Pool { total, used, free, percent });
    };
    if total == 0 {
        return None;
    }
    let by_percent = || percent.and_then(|percent| fraction(total, percent / 100.0));
    let known = within(used, total).or_else(|| within(free, total).map(|free| total - free));
    let used_now = known.or_else(by_percent).filter(|used| *used <= total);
    if used_now.is_none() && (used.is_some() || free.is_some()) {
        return None;
    }
    let free = within(free, total).or(used_now.map(|used| total - used));
    let computed = used_now.map(|used| tidy(used as f64 * 100.0 / total as f64));
    Some(Pool { total: Some(total), used: used_now, free, percent: percent.or(computed) })
}

fn fraction(of: u64, factor: f64) -> Option<u64> {
    let part = of as f64 * factor;
    part.is_finite().then(|| unsigned(part)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(total: u64, used: u64, free: u64, percent: f64) -> Pool {
        Pool { total: Some(total), used: Some(used), free: Some(free), percent: Some(percent) }
    }

    #[test]
    fn any_two_parts_give_the_others() {
        assert_eq!(complete(Some(200), Some(50), None, None), Some(full(200, 50, 150, 25.0)));
        assert_eq!(complete(Some(200), None, Some(150), None), Some(full(200, 50, 150, 25.0)));
        assert_eq!(complete(None, Some(50), Some(150), None), Some(full(200, 50, 150, 25.0)));
        assert_eq!(complete(Some(200), None, None, Some(25.0)), Some(full(200, 50, 150, 25.0)));
        assert_eq!(complete(None, Some(50), None, Some(25.0)), Some(full(200, 50, 150, 25.0)));
        assert_eq!(complete(None, None, Some(150), Some(25.0)), Some(full(200, 50, 150, 25.0)));
    }

    #[test]
    fn a_percentage_alone_is_kept_and_bytes_alone_are_not() {
        let alone = Pool { percent: Some(40.0), ..Pool::default() };
        assert_eq!(complete(None, None, None, Some(40.0)), Some(alone));
        assert_eq!(complete(None, Some(5), None, None), None);
        assert_eq!(complete(None, None, Some(5), None), None);
        let size = Pool { total: Some(5), ..Pool::default() };
        assert_eq!(complete(Some(5), None, None, None), Some(size));
    }

    #[test]
    fn what_contradicts_itself_is_not_known() {
        assert_eq!(complete(Some(10), Some(11), None, None), None);
        assert_eq!(complete(Some(0), Some(0), None, None), None);
        assert_eq!(complete(None, Some(0), Some(0), None), None);
        // The free part is the one that can be believed.
        assert_eq!(complete(Some(10), Some(11), Some(4), None), Some(full(10, 6, 4, 60.0)));
        let unknown = Pool { used: Some(0), percent: Some(0.0), ..Pool::default() };
        assert_eq!(complete(None, Some(0), None, Some(0.0)), Some(unknown));
    }

    proptest! {
        #[test]
        fn no_part_is_larger_than_the_whole(
            total in any::<Option<u64>>(),
            used in any::<Option<u64>>(),
            free in any::<Option<u64>>(),
            percent in prop::option::of(0.0..=100.0_f64),
        ) {
            let Some(pool) = complete(total, used, free, percent) else { return Ok(()) };
            if let Some(total) = pool.total {
                prop_assert!(pool.used.is_none_or(|used| used <= total));
                prop_assert!(pool.free.is_none_or(|free| free <= total));
            }
            prop_assert!(pool.percent.is_none_or(is_percent));
        }
    }
}
