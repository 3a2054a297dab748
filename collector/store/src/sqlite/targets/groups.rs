//! Groups and layouts: which targets are polled together, and in which columns.

use domain::{
    id::{GroupId, Layout, SeriesId, SiteId},
    target::{Method, Target, TargetSpec},
};
use rusqlite::{Connection, Transaction, params};

use super::limit_reached;
use crate::{
    Result, StoreError,
    sqlite::{
        failed,
        rows::{all, change, one},
    },
};

/// Targets polled in one round.
const MAX_GROUP_TARGETS: i64 = 64;
/// Columns of one group: what one record can carry.
const MAX_GROUP_COLUMNS: usize = 20_000;

/// Whether a method's targets are polled together, or each has its own rhythm.
fn is_shared(method: &Method) -> bool {
    match method {
        Method::Icmp { .. }
        | Method::Tcp
        | Method::Dns { .. }
        | Method::Http
        | Method::Mesh { .. } => true,
        // One device a record: its columns are many, and it may fail alone. One host a site.
        Method::SnmpV2c { .. } | Method::Host => false,
    }
}

/// The group for a new target: one of its kind and period with room, or a new one.
pub(super) fn choose(tx: &Transaction<'_>, kind: &str, spec: &TargetSpec) -> Result<GroupId> {
    let fail = failed("choose a group");
    if is_shared(&spec.method) {
        let sql = "SELECT id FROM poll_group WHERE site = ?1 AND kind = ?2 AND period_s = ?3 AND
                       (SELECT count(*) FROM target WHERE grp = poll_group.id AND active) < ?4
                   ORDER BY id LIMIT 1";
        let key = params![spec.site.0, kind, spec.period_s, MAX_GROUP_TARGETS];
        if let Some(group) = one(tx, sql, key, |row| row.get(0)).map_err(&fail)? {
            return Ok(GroupId(group));
        }
    }
    change(
        tx,
        "INSERT INTO poll_group (site, kind, period_s, layout) VALUES (?1, ?2, ?3, 0)",
        params![spec.site.0, kind, spec.period_s],
    )
    .map_err(&fail)?;
    u32::try_from(tx.last_insert_rowid())
        .map(GroupId)
        .map_err(|_| limit_reached("add a group", "groups", u32::MAX as usize))
}

/// The group for a target that comes back or changes its period.
pub(super) fn regroup(
    tx: &Transaction<'_>,
    before: &Target,
    kind: &str,
    spec: &TargetSpec,
) -> Result<GroupId> {
    if is_shared(&spec.method) {
        return choose(tx, kind, spec);
    }
    change(
        tx,
        "UPDATE poll_group SET period_s = ?2 WHERE id = ?1",
        params![before.group.0, spec.period_s],
    )
    .map_err(failed("change a group's period"))?;
    Ok(before.group)
}

/// Columns of a layout; `None` when it never existed.
pub(super) fn columns(
    conn: &Connection,
    group: GroupId,
    layout: Layout,
) -> Result<Option<Vec<SeriesId>>> {
    let sql = "SELECT columns FROM layout WHERE grp = ?1 AND layout = ?2";
    let bytes: Option<Vec<u8>> = one(conn, sql, params![group.0, layout.0], |row| row.get(0))
        .map_err(failed("read a layout"))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let (ids, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(StoreError::Damaged {
            what: format!("layout {} of group {}", layout.0, group.0),
        });
    }
    Ok(Some(ids.iter().map(|id| SeriesId(i64::from_le_bytes(*id))).collect()))
}

/// Gives a group another layout if its columns are no longer those of its active targets; says
/// whether. Columns that it had before have their layout: a gateway that comes and goes leaves no row
/// each time.
pub(super) fn relayout(tx: &Transaction<'_>, group: GroupId) -> Result<bool> {
    let fail = failed("lay out a group");
    let wanted: Vec<i64> = all(
        tx,
        "SELECT series.id FROM target JOIN series ON series.target = target.id
         WHERE target.grp = ?1 AND active ORDER BY target.id, series.id",
        [group.0],
        |row| row.get(0),
    )
    .map_err(&fail)?;
    if wanted.len() > MAX_GROUP_COLUMNS {
        return Err(limit_reached("lay out a group", "columns of a group", MAX_GROUP_COLUMNS));
    }
    let layout: u32 = tx
        .query_row("SELECT layout FROM poll_group WHERE id = ?1", [group.0], |row| row.get(0))
        .map_err(&fail)?;
    let now = columns(tx, group, Layout(layout))?;
    if now.is_some_and(|now| now.iter().map(|id| id.0).eq(wanted.iter().copied())) {
        return Ok(false);
    }
    let bytes: Vec<u8> = wanted.iter().flat_map(|id| id.to_le_bytes()).collect();
    let had = "SELECT layout FROM layout WHERE grp = ?1 AND columns = ?2";
    let had: Option<u32> =
        one(tx, had, params![group.0, bytes], |row| row.get(0)).map_err(&fail)?;
    let next = match had {
        Some(had) => had,
        None => tx
            .query_row(
                "INSERT INTO layout (grp, layout, columns)
                 SELECT ?1, coalesce(max(layout), 0) + 1, ?2 FROM layout WHERE grp = ?1
                 RETURNING layout",
                params![group.0, bytes],
                |row| row.get(0),
            )
            .map_err(&fail)?,
    };
    change(tx, "UPDATE poll_group SET layout = ?2 WHERE id = ?1", params![group.0, next])
        .map_err(&fail)?;
    for id in wanted {
        change(
            tx,
            "INSERT INTO series_group (series, grp) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![id, group.0],
        )
        .map_err(&fail)?;
    }
    Ok(true)
}

/// Version of a site's configuration.
pub(super) fn version(conn: &Connection, site: SiteId) -> Result<u64> {
    let sql = "SELECT config_version FROM site WHERE id = ?1";
    one(conn, sql, [site.0], |row| row.get(0))
        .map_err(failed("read a configuration's version"))?
        .map(i64::cast_unsigned)
        .ok_or_else(|| StoreError::NotFound(format!("site {site}")))
}

/// The site's configuration changed.
pub(super) fn next_version(tx: &Transaction<'_>, site: SiteId) -> Result<()> {
    change(tx, "UPDATE site SET config_version = config_version + 1 WHERE id = ?1", [site.0])
        .map_err(failed("count a configuration's version"))?;
    Ok(())
}
