//! Samples, buckets and newest values.

use std::collections::BTreeMap;

use domain::{
    id::{SeriesId, SiteId},
    metric::Kind,
    rollup::{Roll, fold},
    sample::{Sample, Span},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{
        blocks::{State, Times, day_of},
        failed,
        rollup::{decode_fine, wide},
    },
    Facts, Shelf, by_group, facts,
    gather::{GroupKey, block_columns, day_start, gather, read_rounds, sample},
    groups_of,
    parts::{Parts, Table},
};
use crate::{Bucket, Result, SeriesData, Step, sqlite::compact::rolls::Roller};

/// Newest records of a group that are looked at for series the very newest one has not.
const LATEST_RECORDS: u32 = 32;

pub(super) fn samples(
    conn: &Connection,
    shelf: &Shelf,
    site: SiteId,
    series: &[SeriesId],
    span: Span,
) -> Result<Vec<SeriesData>> {
    let mut answer = vec![SeriesData::default(); series.len()];
    for (key, members) in by_group(conn, site, series)? {
        let mut ids: Vec<i64> = members.iter().map(|m| m.0).collect();
        ids.dedup();
        let gathered = gather(conn, shelf, key, &ids, span)?;
        for (id, place) in members {
            // Every member is in `ids`.
            let column = ids.binary_search(&id).unwrap_or(0);
            let data = &mut answer[place];
            let two = !data.samples.is_empty();
            for (round, state, value) in gathered.cells(column) {
                if let Some(sample) = sample(round, state, value) {
                    data.samples.push(sample);
                    data.unsure += u64::from(round.unsure);
                }
            }
            if two {
                // The series moved from one group to another within the span.
                data.samples.sort_by_key(|sample| sample.t_ms);
            }
        }
    }
    Ok(answer)
}

/// What stands for a group and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Rollups are up to date.
    Rolled,
    /// Records are waiting: samples must be rolled up for the question.
    Live,
}

/// Whether the rollups of a group and day can be used as they are.
pub(super) fn standing(conn: &Connection, key: GroupKey, day: i64) -> Result<Standing> {
    let waiting: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM head WHERE site = ?1 AND grp = ?2 AND t_ms >= ?3 AND t_ms < ?4)
                 OR EXISTS (SELECT 1 FROM block_stale WHERE site = ?1 AND grp = ?2 AND day = ?5)",
        )
        .and_then(|mut find| {
            find.query_row(
                params![key.site.0, key.grp.0, day_start(day), day_start(day + 1), day],
                |row| row.get(0),
            )
        })
        .map_err(failed("read buckets"))?;
    // Records for a day whose samples are deleted came too late: they are left out.
    let expired = |conn: &Connection| {
        conn.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM rollup_day WHERE site = ?1 AND grp = ?2 AND day = ?3)
                 AND NOT EXISTS
                     (SELECT 1 FROM block_time WHERE site = ?1 AND grp = ?2 AND day = ?3)",
        )
        .and_then(|mut find| {
            find.query_row(params![key.site.0, key.grp.0, day], |row| row.get::<_, bool>(0))
        })
        .map_err(failed("read buckets"))
    };
    Ok(if waiting && !expired(conn)? { Standing::Live } else { Standing::Rolled })
}

pub(super) fn buckets(
    conn: &Connection,
    shelf: &Shelf,
    site: SiteId,
    series: SeriesId,
    span: Span,
    step: Step,
) -> Result<Vec<Bucket>> {
    let Some(facts) = facts(conn, &[series.0])?.first().copied() else { return Ok(Vec::new()) };
    let kind = facts.kind();
    let mut found: BTreeMap<i64, Bucket> = BTreeMap::new();
    for grp in groups_of(conn, series.0)? {
        let key = GroupKey { site, grp };
        for day in days(conn, key, span)? {
            for roll in day_rolls(conn, shelf, key, facts, day, step)? {
                let inside = roll.from_ms.saturating_add(step.ms()) > span.from_ms
                    && roll.from_ms < span.to_ms;
                if let Some(bucket) = bucket(&roll, kind).filter(|_| inside) {
                    found.entry(bucket.from_ms).or_insert(bucket);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Days of a group that overlap a span and of which anything is stored.
pub(super) fn days(conn: &Connection, key: GroupKey, span: Span) -> Result<Vec<i64>> {
    let fail = failed("read buckets");
    if span.from_ms >= span.to_ms {
        return Ok(Vec::new());
    }
    let (first, last) = (day_of(span.from_ms), day_of(span.to_ms - 1));
    let mut find = conn
        .prepare_cached(
            "SELECT day FROM rollup_day WHERE site = ?1 AND grp = ?2 AND day BETWEEN ?3 AND ?4
             ORDER BY day",
        )
        .map_err(&fail)?;
    let mut days: Vec<i64> = find
        .query_map(params![key.site.0, key.grp.0, first, last], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(&fail)?;
    // Days that are only in the head: one look for each, from the oldest record on.
    let mut next = conn
        .prepare_cached(
            "SELECT t_ms FROM head WHERE site = ?1 AND grp = ?2 AND t_ms >= ?3 AND t_ms < ?4
             ORDER BY t_ms LIMIT 1",
        )
        .map_err(&fail)?;
    let mut from_ms = day_start(first);
    let to_ms = day_start(last + 1);
    while let Some(t_ms) = next
        .query_row(params![key.site.0, key.grp.0, from_ms, to_ms], |row| row.get::<_, i64>(0))
        .optional()
        .map_err(&fail)?
    {
        days.push(day_of(t_ms));
        from_ms = day_start(day_of(t_ms) + 1);
    }
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// The buckets of a series and day, stored or made for the question.
fn day_rolls(
    conn: &Connection,
    shelf: &Shelf,
    key: GroupKey,
    facts: Facts,
    day: i64,
    step: Step,
) -> Result<Vec<Roll>> {
    if standing(conn, key, day)? == Standing::Rolled
        && let Some(rolls) = stored(conn, key, facts, day, step)?
    {
        return Ok(rolls);
    }
    let fine = fine_from_samples(conn, shelf, key, &[facts], day)?.pop().unwrap_or_default();
    Ok(match step {
        Step::FiveMinutes => fine,
        Step::Hour | Step::Day => fold(&fine, facts.kind(), step.ms()),
    })
}

/// Five-minute buckets of a day of some series (ascending), rolled up from their samples.
pub(super) fn fine_from_samples(
    conn: &Connection,
    shelf: &Shelf,
    key: GroupKey,
    facts: &[Facts],
    day: i64,
) -> Result<Vec<Vec<Roll>>> {
    let roller = Roller::new(conn, shelf, key, day, facts)?;
    let mut ids: Vec<i64> = facts.iter().map(|one| one.id).collect();
    ids.dedup();
    let gathered = gather(conn, shelf, key, &ids, roller.span())?;
    let rolls = facts.iter().map(|one| {
        // Every series is among the ids.
        let place = ids.binary_search(&one.id).unwrap_or(0);
        roller.fine(one, &gathered.samples(place))
    });
    Ok(rolls.collect())
}

fn stored(
    conn: &Connection,
    key: GroupKey,
    facts: Facts,
    day: i64,
    step: Step,
) -> Result<Option<Vec<Roll>>> {
    let fail = failed("read buckets");
    let (series, GroupKey { site, grp }) = (facts.id, key);
    match step {
        Step::FiveMinutes => {
            let table = if facts.coarse { Table::Access } else { Table::Fine };
            let part = Parts::new(conn, table).find((site, grp), day, &[series])?;
            let Some(item) = part.as_ref().and_then(|part| part.items().next()) else {
                return Ok(None);
            };
            decode_fine(item?.1, day_start(day)).map(|(_, rolls)| Some(rolls))
        }
        Step::Hour | Step::Day => {
            let sql = if step == Step::Hour {
                "SELECT buckets FROM rollup_hour WHERE site = ?1 AND grp = ?2 AND day = ?3"
            } else {
                "SELECT buckets FROM rollup_day WHERE site = ?1 AND grp = ?2 AND day = ?3"
            };
            let blob: Option<Vec<u8>> = conn
                .prepare_cached(sql)
                .and_then(|mut find| {
                    find.query_row(params![key.site.0, key.grp.0, day], |row| row.get(0)).optional()
                })
                .map_err(&fail)?;
            let Some(blob) = blob else { return Ok(None) };
            let all = wide::decode(&blob, day_start(day), step.ms(), Some(series))?;
            Ok(Some(all.into_iter().next().map(|one| one.rolls).unwrap_or_default()))
        }
    }
}

fn bucket(roll: &Roll, kind: Kind) -> Option<Bucket> {
    let extreme = |value: i64| match kind {
        Kind::Counter => value as f64 / 1_000.0,
        Kind::Gauge | Kind::State => value as f64,
    };
    Some(Bucket {
        from_ms: roll.from_ms,
        count: roll.count,
        covered_ms: roll.covered_ms,
        min: extreme(roll.min),
        max: extreme(roll.max),
        mean: roll.mean(kind)?,
        last: roll.last,
    })
}

pub(super) fn latest(
    conn: &Connection,
    shelf: &Shelf,
    site: SiteId,
    series: &[SeriesId],
) -> Result<Vec<Option<Sample>>> {
    let mut answer: Vec<Option<Sample>> = vec![None; series.len()];
    for (key, members) in by_group(conn, site, series)? {
        let mut found = latest_of_head(conn, shelf, key, &members)?;
        latest_of_block(conn, key, &members, &mut found)?;
        for ((_, place), sample) in members.iter().zip(found) {
            let known = answer[*place].map(|sample| sample.t_ms);
            if sample.is_some_and(|sample| known.is_none_or(|known| sample.t_ms > known)) {
                answer[*place] = sample;
            }
        }
    }
    Ok(answer)
}

fn latest_of_head(
    conn: &Connection,
    shelf: &Shelf,
    key: GroupKey,
    members: &[(i64, usize)],
) -> Result<Vec<Option<Sample>>> {
    let fail = failed("read the newest samples");
    let mut found: Vec<Option<Sample>> = vec![None; members.len()];
    let mut find = conn
        .prepare_cached(
            "SELECT t_ms, layout, payload FROM head WHERE site = ?1 AND grp = ?2
             ORDER BY t_ms DESC, key DESC LIMIT ?3",
        )
        .map_err(&fail)?;
    let mut rows = find.query(params![key.site.0, key.grp.0, LATEST_RECORDS]).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        let t_ms: i64 = row.get(0).map_err(&fail)?;
        let Some(ids) = shelf.layout(conn, key.grp, row.get(1).map_err(&fail)?)? else { continue };
        let payload = row.get_ref(2).and_then(|v| Ok(v.as_blob()?)).map_err(&fail)?;
        let Some(rounds) = read_rounds(shelf.read_payload, payload, ids.len()) else { continue };
        let n = rounds.times_ms.len();
        let newest = (0..n).max_by_key(|&i| (rounds.times_ms[i], i)).unwrap_or(0);
        let by_id: BTreeMap<i64, usize> = ids.iter().copied().zip(0..).collect();
        for (slot, (id, _)) in found.iter_mut().zip(members) {
            if let Some(column) = by_id.get(id).filter(|_| slot.is_none()) {
                let value = rounds.cells[column * n + newest];
                *slot = Some(Sample { t_ms: t_ms + rounds.times_ms[newest], value });
            }
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    Ok(found)
}

/// Puts what the group's last block has in the place of what is missing or older: the head may hold
/// nothing but records that came late.
fn latest_of_block(
    conn: &Connection,
    key: GroupKey,
    members: &[(i64, usize)],
    found: &mut [Option<Sample>],
) -> Result<()> {
    let fail = failed("read the newest samples");
    let oldest = found.iter().map(|sample| sample.map_or(i64::MIN, |sample| sample.t_ms)).min();
    let newest: Option<(i64, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT day, times FROM block_time WHERE site = ?1 AND grp = ?2 AND day >= ?3
             ORDER BY day DESC LIMIT 1",
        )
        .and_then(|mut find| {
            let day = day_of(oldest.unwrap_or(i64::MIN));
            find.query_row(params![key.site.0, key.grp.0, day], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
        })
        .map_err(&fail)?;
    let Some((day, times)) = newest else { return Ok(()) };
    let times = Times::decode(&times)?.t_ms;
    let ids: Vec<i64> = members.iter().map(|m| m.0).collect();
    let columns = block_columns(conn, key, day, &ids, times.len())?;
    for (slot, column) in found.iter_mut().zip(&columns) {
        let last = times
            .iter()
            .zip(column.iter())
            .filter(|(_, (state, _))| *state != State::Absent)
            .last()
            .map(|(&t_ms, (state, value))| Sample {
                t_ms,
                value: (state == State::Value).then_some(value),
            });
        let newer = |last: &Sample| slot.is_none_or(|known| last.t_ms > known.t_ms);
        if let Some(last) = last.filter(newer) {
            *slot = Some(last);
        }
    }
    Ok(())
}
