//! The measures between sites.

use async_trait::async_trait;
use domain::{
    id::{SiteId, TargetId},
    target::{LinkKey, Series, TargetSpec},
};
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    SqliteStore, failed,
    rows::{all, change, one},
    targets,
};
use crate::{MeshLink, MeshPlan, MeshSite, MeshStore, NewSeriesSpec, Result};

fn mesh_link(row: &Row<'_>) -> rusqlite::Result<MeshLink> {
    Ok(MeshLink {
        from: SiteId(row.get(0)?),
        to: SiteId(row.get(1)?),
        target: TargetId(row.get(2)?),
        key: LinkKey::new(row.get(3)?),
    })
}

/// The configurations of the sites that ask this one name its address.
fn address_changed(tx: &Transaction<'_>, site: SiteId) -> Result<()> {
    let fail = failed("find who asks a site");
    let asking: Vec<i64> =
        all(tx, "SELECT site FROM mesh_link WHERE peer = ?1", [site.0], |row| row.get(0))
            .map_err(fail)?;
    asking.into_iter().try_for_each(|site| targets::changed(tx, SiteId(site)))
}

fn links(conn: &Connection) -> Result<Vec<MeshLink>> {
    let sql = "SELECT site, peer, target, key FROM mesh_link ORDER BY site, peer";
    all(conn, sql, [], mesh_link).map_err(failed("list the links between sites"))
}

#[async_trait]
impl MeshStore for SqliteStore {
    async fn mesh_sites(&self) -> Result<Vec<MeshSite>> {
        self.read("list the sites of the mesh", |conn| {
            let sql = "SELECT site, address, hub FROM mesh_site ORDER BY site";
            all(conn, sql, [], |row| {
                let (address, hub) = (row.get(1)?, row.get(2)?);
                Ok(MeshSite { site: SiteId(row.get(0)?), address, hub })
            })
            .map_err(failed("list the sites of the mesh"))
        })
        .await
    }

    async fn set_mesh_site(&self, site: MeshSite) -> Result<()> {
        self.write("take a site into the mesh", move |tx| {
            targets::check_site(tx, site.site)?;
            change(
                tx,
                "INSERT INTO mesh_site (site, address, hub) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET address = excluded.address, hub = excluded.hub",
                params![site.site.0, site.address, site.hub],
            )
            .map_err(failed("take a site into the mesh"))?;
            address_changed(tx, site.site)
        })
        .await
    }

    async fn remove_mesh_site(&self, site: SiteId) -> Result<bool> {
        self.write("take a site out of the mesh", move |tx| {
            let removed = change(tx, "DELETE FROM mesh_site WHERE site = ?1", [site.0])
                .map_err(failed("take a site out of the mesh"))?;
            address_changed(tx, site)?;
            Ok(removed > 0)
        })
        .await
    }

    async fn mesh_links(&self) -> Result<Vec<MeshLink>> {
        self.read("list the links between sites", links).await
    }

    async fn put_mesh_link(
        &self,
        spec: TargetSpec,
        series: Vec<NewSeriesSpec>,
        to: SiteId,
        key: LinkKey,
    ) -> Result<MeshLink> {
        self.write("link two sites", move |tx| {
            let from = spec.site;
            targets::check_site(tx, to)?;
            let target = targets::upsert(tx, &spec, &series, false)?.id;
            change(
                tx,
                "INSERT INTO mesh_link (site, peer, target, key) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET target = excluded.target, key = excluded.key",
                params![from.0, to.0, target.0, key.expose()],
            )
            .map_err(failed("link two sites"))?;
            targets::changed(tx, from)?;
            targets::changed(tx, to)?;
            Ok(MeshLink { from, to, target, key })
        })
        .await
    }

    async fn remove_mesh_link(&self, from: SiteId, to: SiteId) -> Result<()> {
        self.write("part two sites", move |tx| {
            let fail = failed("part two sites");
            let sql = "DELETE FROM mesh_link WHERE site = ?1 AND peer = ?2 RETURNING target";
            let target: Option<i64> =
                one(tx, sql, [from.0, to.0], |row| row.get(0)).map_err(fail)?;
            let Some(target) = target else { return Ok(()) };
            targets::retire(tx, TargetId(target))?;
            targets::changed(tx, from)?;
            targets::changed(tx, to)
        })
        .await
    }

    async fn mesh_plan(&self, site: SiteId) -> Result<MeshPlan> {
        self.read("read a site's part of the mesh", move |conn| {
            let fail = failed("read a site's part of the mesh");
            let asks = "SELECT target, address, key FROM mesh_link
                        JOIN mesh_site ON mesh_site.site = peer
                        WHERE mesh_link.site = ?1 AND address IS NOT NULL ORDER BY target";
            let asks = all(conn, asks, [site.0], |row| {
                Ok((TargetId(row.get(0)?), row.get(1)?, LinkKey::new(row.get(2)?)))
            });
            let answers = "SELECT target, key FROM mesh_link WHERE peer = ?1 ORDER BY target";
            let answers = all(conn, answers, [site.0], |row| {
                Ok((TargetId(row.get(0)?), LinkKey::new(row.get(1)?)))
            });
            Ok(MeshPlan { asks: asks.map_err(&fail)?, answers: answers.map_err(&fail)? })
        })
        .await
    }

    async fn mesh_series(&self) -> Result<Vec<Series>> {
        self.read("list the series of the mesh", |conn| {
            let sql = format!(
                "SELECT {} FROM series WHERE target IN (SELECT target FROM mesh_link)
                 ORDER BY site, id",
                targets::SERIES
            );
            all(conn, &sql, [], targets::series).map_err(failed("list the series of the mesh"))
        })
        .await
    }
}
