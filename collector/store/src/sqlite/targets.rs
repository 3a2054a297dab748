//! Targets, groups, layouts, series: the trait. How groups and layouts follow from targets is in
//! [`groups`], how rungs are forgotten in [`forget`].

mod forget;
mod groups;

use async_trait::async_trait;
use domain::{
    id::{GroupId, Layout, SeriesId, SiteId, TargetId},
    target::{Community, Detail, Device, Group, Method, Role, Series, Target, TargetSpec},
};
use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    SqliteStore, failed,
    rows::{Ms, all, change, code, one},
};
use crate::{NewSeries, NewSeriesSpec, Result, StoreError, TargetStore};

/// Active targets of one site. Those that operators withdrew do not count, nor end; of withdrawn
/// rungs see [`forget`].
const MAX_SITE_TARGETS: usize = 4096;
/// Series of the active targets of one site.
const MAX_SITE_SERIES: usize = 200_000;

const TARGET: &str = "target.id, target.grp, target.site, role, name, target.kind, address, secret,
    target.period_s, parent, active";
pub(super) const SERIES: &str = "series.id, series.site, target, metric, instance, label, coarse";

/// The method without its secret: with site and address the identity of a target, and what the
/// targets of a group have in common.
fn kind(method: &Method) -> String {
    match method {
        Method::Icmp { count } => format!("icmp:{count}"),
        Method::Tcp => "tcp".to_owned(),
        Method::Dns { name, record_type } => format!("dns:{record_type}:{name}"),
        Method::Http => "http".to_owned(),
        Method::SnmpV2c { .. } => "snmp-v2c".to_owned(),
        Method::Host => "host".to_owned(),
        Method::Mesh { count } => format!("mesh:{count}"),
    }
}

fn secret(method: &Method) -> Option<&str> {
    match method {
        Method::SnmpV2c { community } => Some(community.expose()),
        Method::Icmp { .. }
        | Method::Tcp
        | Method::Dns { .. }
        | Method::Http
        | Method::Host
        | Method::Mesh { .. } => None,
    }
}

fn method(kind: &str, secret: Option<String>) -> Option<Method> {
    Some(match kind.split_once(':') {
        None => match (kind, secret) {
            ("tcp", _) => Method::Tcp,
            ("http", _) => Method::Http,
            ("host", _) => Method::Host,
            ("snmp-v2c", Some(community)) => {
                Method::SnmpV2c { community: Community::new(community) }
            }
            _ => return None,
        },
        Some(("icmp", count)) => Method::Icmp { count: count.parse().ok()? },
        Some(("mesh", count)) => Method::Mesh { count: count.parse().ok()? },
        Some(("dns", rest)) => {
            let (record_type, name) = rest.split_once(':')?;
            Method::Dns { name: name.to_owned(), record_type: record_type.parse().ok()? }
        }
        Some(_) => return None,
    })
}

fn target(row: &Row<'_>) -> rusqlite::Result<Target> {
    let secret = row.get(7)?;
    Ok(Target {
        id: TargetId(row.get(0)?),
        group: GroupId(row.get(1)?),
        spec: TargetSpec {
            site: SiteId(row.get(2)?),
            role: code(row, 3, Role::from_code)?,
            name: row.get(4)?,
            method: code(row, 5, |kind| method(kind, secret))?,
            address: row.get(6)?,
            period_s: row.get(8)?,
            parent: row.get::<_, Option<i64>>(9)?.map(TargetId),
        },
        active: row.get(10)?,
    })
}

pub(super) fn series(row: &Row<'_>) -> rusqlite::Result<Series> {
    let coarse: bool = row.get(6)?;
    Ok(Series {
        id: SeriesId(row.get(0)?),
        site: SiteId(row.get(1)?),
        target: TargetId(row.get(2)?),
        metric: row.get(3)?,
        instance: row.get(4)?,
        label: row.get(5)?,
        detail: if coarse { Detail::Coarse } else { Detail::Full },
    })
}

fn series_of(conn: &Connection, ids: &[SeriesId]) -> rusqlite::Result<Vec<Series>> {
    let sql = format!("SELECT {SERIES} FROM series WHERE id = ?1");
    ids.iter().filter_map(|id| one(conn, &sql, [id.0], series).transpose()).collect()
}

fn columns_of(conn: &Connection, group: GroupId, layout: Layout) -> Result<Option<Vec<Series>>> {
    let fail = failed("read a layout");
    let Some(ids) = groups::columns(conn, group, layout)? else { return Ok(None) };
    let found = series_of(conn, &ids).map_err(&fail)?;
    if found.len() == ids.len() {
        return Ok(Some(found));
    }
    let site = conn
        .query_row("SELECT site FROM poll_group WHERE id = ?1", [group.0], |row| row.get(0))
        .map_err(&fail)?;
    forget::with_forgotten(conn, SiteId(site), &ids, found).map(Some)
}

fn find_target(conn: &Connection, id: i64) -> Result<Target> {
    one(conn, &format!("SELECT {TARGET} FROM target WHERE id = ?1"), [id], target)
        .map_err(failed("find a target"))?
        .ok_or_else(|| StoreError::NotFound(format!("target {id}")))
}

fn limit_reached(action: &'static str, what: &'static str, most: usize) -> StoreError {
    StoreError::Limit { action, what, most }
}

fn count(tx: &Transaction<'_>, sql: &str, site: SiteId) -> rusqlite::Result<usize> {
    tx.query_row(sql, [site.0], |row| row.get::<_, u32>(0)).map(|count| count as usize)
}

/// Adds columns to a target; those it has are kept as they are.
fn insert_series(
    tx: &Transaction<'_>,
    site: SiteId,
    target: i64,
    new: &NewSeriesSpec,
) -> Result<()> {
    change(
        tx,
        "INSERT INTO series (site, target, metric, instance, label, coarse)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        params![
            site.0,
            target,
            new.metric,
            new.instance,
            new.label,
            matches!(new.detail, Detail::Coarse),
        ],
    )
    .map_err(failed("add a series"))?;
    Ok(())
}

fn check_series_count(tx: &Transaction<'_>, site: SiteId) -> Result<()> {
    let sql = "SELECT count(*) FROM series JOIN target ON target.id = series.target
               WHERE series.site = ?1 AND active";
    if count(tx, sql, site).map_err(failed("count series"))? > MAX_SITE_SERIES {
        return Err(limit_reached("add series", "series of a site", MAX_SITE_SERIES));
    }
    Ok(())
}

pub(super) fn check_site(conn: &Connection, site: SiteId) -> Result<()> {
    one(conn, "SELECT 1 FROM site WHERE id = ?1", [site.0], |_| Ok(()))
        .map_err(failed("find a site"))?
        .ok_or_else(|| StoreError::NotFound(format!("site {site}")))
}

/// Registers a target, or gives it another definition; see [`TargetStore`].
pub(super) fn upsert(
    tx: &Transaction<'_>,
    spec: &TargetSpec,
    new: &[NewSeriesSpec],
    ladder: bool,
) -> Result<Target> {
    const ACTION: &str = "register a target";
    let fail = failed(ACTION);
    check_site(tx, spec.site)?;
    if spec.period_s == 0 {
        let source = "its period is 0 s".into();
        return Err(StoreError::Failed { action: ACTION, source });
    }
    if let Some(parent) = spec.parent
        && find_target(tx, parent.0)?.spec.site != spec.site
    {
        return Err(StoreError::NotFound(format!("target {parent} of site {}", spec.site)));
    }
    let kind = kind(&spec.method);
    let same = "SELECT id, ladder FROM target WHERE site = ?1 AND kind = ?2 AND address = ?3";
    let known: Option<(i64, bool)> =
        one(tx, same, params![spec.site.0, kind, spec.address], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(&fail)?;
    let (id, changed) = if let Some((id, was_ladder)) = known {
        let before = find_target(tx, id)?;
        if ladder && before.active && !was_ladder {
            return Ok(before);
        }
        if ladder != was_ladder {
            change(tx, "UPDATE target SET ladder = ?2 WHERE id = ?1", params![id, ladder])
                .map_err(&fail)?;
        }
        if before.active && before.spec == *spec {
            (id, false)
        } else {
            let moves = before.spec.period_s != spec.period_s || !before.active;
            let group =
                if moves { groups::regroup(tx, &before, &kind, spec)? } else { before.group };
            change(
                tx,
                "UPDATE target SET role = ?2, name = ?3, secret = ?4, period_s = ?5, parent = ?6,
                     grp = ?7, active = 1 WHERE id = ?1",
                params![
                    id,
                    spec.role.code(),
                    spec.name,
                    secret(&spec.method),
                    spec.period_s,
                    spec.parent.map(|parent| parent.0),
                    group.0,
                ],
            )
            .map_err(&fail)?;
            if group != before.group {
                groups::relayout(tx, before.group)?;
            }
            (id, true)
        }
    } else {
        let sql = "SELECT count(*) FROM target WHERE site = ?1 AND active";
        if count(tx, sql, spec.site).map_err(&fail)? >= MAX_SITE_TARGETS {
            return Err(limit_reached(ACTION, "targets of a site", MAX_SITE_TARGETS));
        }
        let group = groups::choose(tx, &kind, spec)?;
        change(
            tx,
            "INSERT INTO target (site, grp, role, name, kind, address, secret, period_s, parent,
                                 ladder, active)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1)",
            params![
                spec.site.0,
                group.0,
                spec.role.code(),
                spec.name,
                kind,
                spec.address,
                secret(&spec.method),
                spec.period_s,
                spec.parent.map(|parent| parent.0),
                ladder,
            ],
        )
        .map_err(&fail)?;
        (tx.last_insert_rowid(), true)
    };
    for series in new {
        insert_series(tx, spec.site, id, series)?;
    }
    check_series_count(tx, spec.site)?;
    if ladder && known.is_none() {
        forget::forget_rungs(tx, spec.site, spec.role)?;
    }
    let target = find_target(tx, id)?;
    if groups::relayout(tx, target.group)? || changed {
        groups::next_version(tx, spec.site)?;
    }
    Ok(target)
}

/// Withdraws a target, unless it is.
pub(super) fn retire(tx: &Transaction<'_>, id: TargetId) -> Result<()> {
    let target = find_target(tx, id.0)?;
    if target.active {
        change(
            tx,
            "UPDATE target SET active = 0, withdrawn =
                 (SELECT config_version FROM site WHERE site.id = target.site)
             WHERE id = ?1",
            [id.0],
        )
        .map_err(failed("withdraw a target"))?;
        groups::relayout(tx, target.group)?;
        groups::next_version(tx, target.spec.site)?;
    }
    Ok(())
}

/// The configuration of a site changed otherwise than by its targets.
pub(super) fn changed(tx: &Transaction<'_>, site: SiteId) -> Result<()> {
    groups::next_version(tx, site)
}

#[async_trait]
impl TargetStore for SqliteStore {
    async fn upsert_target(&self, spec: TargetSpec, series: Vec<NewSeriesSpec>) -> Result<Target> {
        self.write("register a target", move |tx| upsert(tx, &spec, &series, false)).await
    }

    async fn upsert_rung(&self, spec: TargetSpec, series: Vec<NewSeriesSpec>) -> Result<Target> {
        self.write("register a rung", move |tx| upsert(tx, &spec, &series, true)).await
    }

    async fn rungs(&self, site: SiteId) -> Result<Vec<TargetId>> {
        self.read("list the rungs of a site", move |conn| {
            let sql = "SELECT id FROM target WHERE site = ?1 AND ladder AND active ORDER BY id";
            all(conn, sql, [site.0], |row| row.get(0).map(TargetId))
                .map_err(failed("list the rungs of a site"))
        })
        .await
    }

    async fn retire_target(&self, id: TargetId) -> Result<()> {
        self.write("withdraw a target", move |tx| retire(tx, id)).await
    }

    async fn add_series(&self, site: SiteId, series: Vec<NewSeries>) -> Result<u64> {
        self.write("add series", move |tx| {
            check_site(tx, site)?;
            let mut touched = std::collections::BTreeSet::new();
            for new in series {
                let target = find_target(tx, new.target.0)?;
                if target.spec.site != site {
                    return Err(StoreError::NotFound(format!(
                        "target {} of site {site}",
                        new.target
                    )));
                }
                let NewSeries { target: _, metric, instance, label, detail } = new;
                let spec = NewSeriesSpec { metric, instance, label, detail };
                insert_series(tx, site, target.id.0, &spec)?;
                touched.insert(target.group);
            }
            check_series_count(tx, site)?;
            let mut changed = false;
            for group in touched {
                changed |= groups::relayout(tx, group)?;
            }
            if changed {
                groups::next_version(tx, site)?;
            }
            groups::version(tx, site)
        })
        .await
    }

    async fn targets(&self, site: Option<SiteId>) -> Result<Vec<Target>> {
        self.read("list targets", move |conn| {
            let filter = if site.is_some() { "site = ?1" } else { "?1 IS NULL" };
            let sql = format!(
                "SELECT {TARGET} FROM target WHERE {filter} ORDER BY active DESC, site, id"
            );
            all(conn, &sql, [site.map(|site| site.0)], target).map_err(failed("list targets"))
        })
        .await
    }

    async fn groups(&self, site: SiteId) -> Result<(u64, Vec<Group>)> {
        self.read("list groups", move |conn| {
            check_site(conn, site)?;
            let sql = format!(
                "SELECT {TARGET}, layout, poll_group.period_s FROM target
                 JOIN poll_group ON poll_group.id = target.grp
                 WHERE target.site = ?1 AND active ORDER BY target.grp, target.id"
            );
            let rows: Vec<(Target, u32, u32)> =
                all(conn, &sql, [site.0], |row| Ok((target(row)?, row.get(11)?, row.get(12)?)))
                    .map_err(failed("list groups"))?;
            let mut found: Vec<Group> = Vec::new();
            for (target, layout, period_s) in rows {
                match found.last_mut() {
                    Some(group) if group.id == target.group => group.targets.push(target),
                    _ => {
                        let (id, layout) = (target.group, Layout(layout));
                        let columns = columns_of(conn, id, layout)?.unwrap_or_default();
                        found.push(Group {
                            id,
                            site,
                            layout,
                            period_s,
                            targets: vec![target],
                            columns,
                        });
                    }
                }
            }
            Ok((groups::version(conn, site)?, found))
        })
        .await
    }

    async fn keep_device(
        &self,
        target: TargetId,
        told_at: Timestamp,
        device: Device,
    ) -> Result<()> {
        self.write("keep what a device says", move |tx| {
            let site = find_target(tx, target.0)?.spec.site;
            change(
                tx,
                "INSERT INTO device
                     (site, target, told_ms, name, descr, object_id, location, truncated)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO UPDATE SET told_ms = excluded.told_ms, name = excluded.name,
                     descr = excluded.descr, object_id = excluded.object_id,
                     location = excluded.location, truncated = excluded.truncated
                 WHERE excluded.told_ms >= told_ms",
                params![
                    site.0,
                    target.0,
                    Ms(told_at),
                    device.name,
                    device.descr,
                    device.object_id,
                    device.location,
                    device.truncated,
                ],
            )
            .map_err(failed("keep what a device says"))?;
            Ok(())
        })
        .await
    }

    async fn devices(&self, site: SiteId) -> Result<Vec<(TargetId, Timestamp, Device)>> {
        self.read("read what devices say", move |conn| {
            let sql = "SELECT target, told_ms, name, descr, object_id, location, truncated
                       FROM device WHERE site = ?1 ORDER BY target";
            all(conn, sql, [site.0], |row| {
                let device = Device {
                    name: row.get(2)?,
                    descr: row.get(3)?,
                    object_id: row.get(4)?,
                    location: row.get(5)?,
                    truncated: row.get(6)?,
                };
                Ok((TargetId(row.get(0)?), row.get::<_, Ms>(1)?.0, device))
            })
            .map_err(failed("read what devices say"))
        })
        .await
    }

    async fn layout(&self, group: GroupId, layout: Layout) -> Result<Option<Vec<Series>>> {
        self.read("read a layout", move |conn| columns_of(conn, group, layout)).await
    }

    async fn series(&self, site: Option<SiteId>) -> Result<Vec<Series>> {
        self.read("list series", move |conn| {
            let filter = if site.is_some() { "site = ?1" } else { "?1 IS NULL" };
            let sql = format!("SELECT {SERIES} FROM series WHERE {filter} ORDER BY site, id");
            all(conn, &sql, [site.map(|site| site.0)], series).map_err(failed("list series"))
        })
        .await
    }

    async fn series_by_id(&self, ids: Vec<SeriesId>) -> Result<Vec<Series>> {
        self.read("find series", move |conn| series_of(conn, &ids).map_err(failed("find series")))
            .await
    }
}

#[cfg(test)]
mod tests;
