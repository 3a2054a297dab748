//! Percentiles of five-minute means, for many series at once.
//!
//! Series are taken in the order of site and id, so that those of one site share the rows read. Most
//! days come from stored five-minute buckets; days with records still waiting, and series of access
//! ports while there are samples, are rolled up from these; what is older comes from distributions.

use domain::{
    id::{SeriesId, SiteId},
    percentile::{class_value, nearest_rank},
    rollup::bucket_of,
    sample::Span,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{
        failed,
        rollup::{FINE_MS, Scratch, classes, means},
    },
    Shelf,
    answers::{Standing, days, fine_from_samples, standing},
    facts,
    gather::{GroupKey, day_start},
    groups_of,
    parts::{Parts, Table},
};
use crate::{EdgeSpec, Result};

const HOUR_MS: i64 = 3_600_000;

/// A series in one of its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    key: GroupKey,
    id: i64,
    place: usize,
    /// Whether this is its only group.
    alone: bool,
}

pub(super) fn percentiles(
    conn: &Connection,
    shelf: &Shelf,
    series: &[(SiteId, SeriesId)],
    spec: EdgeSpec,
) -> Result<Vec<Option<(f64, u32)>>> {
    // Whole buckets inside the span.
    let span = Span {
        from_ms: bucket_of(spec.span.from_ms.saturating_add(FINE_MS - 1), FINE_MS),
        to_ms: bucket_of(spec.span.to_ms, FINE_MS),
    };
    let mut asked = Vec::with_capacity(series.len());
    for (&(site, id), place) in series.iter().zip(0..) {
        let groups = groups_of(conn, id.0)?;
        let alone = groups.len() == 1;
        asked.extend(groups.into_iter().map(|grp| {
            let key = GroupKey { site, grp };
            Asked { key, id: id.0, place, alone }
        }));
    }
    asked.sort_unstable();
    let mut answer = vec![None; series.len()];
    let mut moved: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut collected: Vec<Vec<f64>> = Vec::new();
    let mut scratch = Scratch::default();
    let mut fine = Parts::new(conn, Table::Fine);
    for group in asked.chunk_by(|a, b| a.key == b.key) {
        collected.iter_mut().for_each(Vec::clear);
        collected.resize(collected.len().max(group.len()), Vec::new());
        collect(conn, shelf, &mut fine, group, span, &mut scratch, &mut collected)?;
        for (one, values) in group.iter().zip(&mut collected) {
            if one.alone {
                answer[one.place] = rank(values, spec.p);
            } else {
                // A series that moved between groups: all its means are ranked together.
                match moved.iter_mut().find(|m| m.0 == one.place) {
                    Some(m) => m.1.append(values),
                    None => moved.push((one.place, std::mem::take(values))),
                }
            }
        }
    }
    for (place, mut values) in moved {
        answer[place] = rank(&mut values, spec.p);
    }
    Ok(answer)
}

fn rank(values: &mut [f64], p: f64) -> Option<(f64, u32)> {
    let n = u32::try_from(values.len()).unwrap_or(u32::MAX);
    nearest_rank(values, p).map(|value| (value, n))
}

/// Appends the means of the series of one group.
fn collect(
    conn: &Connection,
    shelf: &Shelf,
    fine: &mut Parts<'_>,
    group: &[Asked],
    span: Span,
    scratch: &mut Scratch,
    out: &mut [Vec<f64>],
) -> Result<()> {
    let Some(&Asked { key, .. }) = group.first() else { return Ok(()) };
    for day in days(conn, key, span)? {
        let live = standing(conn, key, day)? == Standing::Live;
        let mut missing: Vec<usize> = (0..group.len()).collect();
        if !live {
            missing = stored(fine, group, &missing, day, span, scratch, out)?;
        }
        if missing.is_empty() {
            continue;
        }
        let from_samples = live || has_samples(conn, key, day)?;
        if !from_samples {
            let mut access = Parts::new(conn, Table::Access);
            missing = stored(&mut access, group, &missing, day, span, scratch, out)?;
        }
        let ids: Vec<i64> = missing.iter().map(|&i| group[i].id).collect();
        if from_samples {
            let facts = facts(conn, &ids)?;
            for (facts, rolls) in
                facts.iter().zip(fine_from_samples(conn, shelf, key, &facts, day)?)
            {
                let means = rolls
                    .iter()
                    .filter(|roll| roll.from_ms >= span.from_ms && roll.from_ms < span.to_ms)
                    .filter_map(|roll| roll.mean(facts.kind()));
                let at = missing.iter().filter(|&&i| group[i].id == facts.id);
                let means: Vec<f64> = means.collect();
                at.for_each(|&i| out[i].extend_from_slice(&means));
            }
        } else {
            from_distributions(conn, key, day, span, |id, value| {
                for &i in missing.iter().filter(|&&i| group[i].id == id) {
                    out[i].push(value);
                }
            })?;
        }
    }
    Ok(())
}

/// From stored five-minute buckets, those of the series at the places `wanted`; returns the places of
/// what has none.
fn stored(
    parts: &mut Parts<'_>,
    group: &[Asked],
    wanted: &[usize],
    day: i64,
    span: Span,
    scratch: &mut Scratch,
    out: &mut [Vec<f64>],
) -> Result<Vec<usize>> {
    let day_ms = day_start(day);
    let mut missing = Vec::new();
    let mut rest = wanted;
    while let [first, beyond @ ..] = rest {
        let settled = rest.len();
        let GroupKey { site, grp } = group[*first].key;
        let ids: Vec<i64> = rest.iter().map(|&at| group[at].id).collect();
        if let Some(part) = parts.find((site, grp), day, &ids)? {
            for item in part.items() {
                let (id, bytes) = item?;
                while let [at, more @ ..] = rest
                    && group[*at].id <= id
                {
                    if group[*at].id == id {
                        means(bytes, day_ms, span.from_ms, span.to_ms, scratch, &mut out[*at])?;
                    } else {
                        missing.push(*at);
                    }
                    rest = more;
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
        // As in a block: the next part may hold what lies beyond this one, but not its first.
        if rest.len() == settled {
            missing.push(*first);
            rest = beyond;
        }
    }
    Ok(missing)
}

fn has_samples(conn: &Connection, key: GroupKey, day: i64) -> Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM block_time WHERE site = ?1 AND grp = ?2 AND day = ?3)",
    )
    .and_then(|mut find| find.query_row(params![key.site.0, key.grp.0, day], |row| row.get(0)))
    .map_err(failed("read percentiles"))
}

/// Gives each class of each series' means inside the span: by the hour where that is kept, else by
/// the day if it lies wholly inside.
fn from_distributions(
    conn: &Connection,
    key: GroupKey,
    day: i64,
    span: Span,
    mut give: impl FnMut(i64, f64),
) -> Result<()> {
    let fail = failed("read percentiles");
    let load = |sql: &str| -> Result<Vec<classes::Classes>> {
        let blob: Option<Vec<u8>> = conn
            .prepare_cached(sql)
            .and_then(|mut find| {
                find.query_row(params![key.site.0, key.grp.0, day], |row| row.get(0)).optional()
            })
            .map_err(&fail)?;
        blob.map_or_else(|| Ok(Vec::new()), |blob| classes::decode(&blob))
    };
    let hours = load("SELECT classes FROM rollup_hour WHERE site = ?1 AND grp = ?2 AND day = ?3")?;
    let whole = load("SELECT classes FROM rollup_day WHERE site = ?1 AND grp = ?2 AND day = ?3")?;
    let day_ms = day_start(day);
    let inside = |from: i64, to: i64| from >= span.from_ms && to <= span.to_ms;
    let by_hour = |id: i64| hours.binary_search_by_key(&id, |one| one.series);
    for one in whole.iter().filter(|one| by_hour(one.series).is_err()) {
        if inside(day_ms, day_start(day + 1)) {
            one.give(&mut give);
        }
    }
    for mut one in hours {
        one.slots.retain(|(hour, _)| {
            let from = day_ms + hour * HOUR_MS;
            inside(from, from + HOUR_MS)
        });
        one.give(&mut give);
    }
    Ok(())
}

impl classes::Classes {
    fn give(&self, give: &mut impl FnMut(i64, f64)) {
        for class in self.slots.iter().flat_map(|slot| &slot.1) {
            let class = i32::try_from(*class).unwrap_or(0);
            give(self.series, class_value(class));
        }
    }
}
