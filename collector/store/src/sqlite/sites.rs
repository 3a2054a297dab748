//! Sites and contractors.

use std::collections::HashSet;

use async_trait::async_trait;
use domain::{
    contractor::Contractor,
    id::SiteId,
    site::{Site, SiteFacts, SiteKind, Zone},
    uai::Uai,
};
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    SqliteStore, failed,
    lanes::MAX_SITE,
    rows::{Parsed, all, change, one},
};
use crate::{ImportReport, Result, SiteStore, StoreError};

const COLUMNS: &str = "id, uai, name, kind, zone, pupils, lot, address, latitude, longitude";

fn site(row: &Row<'_>) -> rusqlite::Result<Site> {
    let latitude: Option<f64> = row.get(8)?;
    let longitude: Option<f64> = row.get(9)?;
    Ok(Site {
        id: SiteId(row.get(0)?),
        facts: SiteFacts {
            uai: row.get::<_, Parsed<Uai>>(1)?.0,
            name: row.get(2)?,
            kind: row.get::<_, Parsed<SiteKind>>(3)?.0,
            zone: row.get::<_, Parsed<Zone>>(4)?.0,
            pupils: row.get(5)?,
            lot: row.get(6)?,
            address: row.get(7)?,
            position: latitude.zip(longitude),
        },
    })
}

fn find(conn: &Connection, uai: Uai) -> rusqlite::Result<Option<Site>> {
    one(conn, &format!("SELECT {COLUMNS} FROM site WHERE uai = ?1"), [uai.as_str()], site)
}

fn insert(tx: &Transaction<'_>, facts: &SiteFacts) -> Result<SiteId> {
    const ACTION: &str = "register a site";
    change(
        tx,
        "INSERT INTO site (uai, name, kind, zone, pupils, lot, address, latitude, longitude)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            facts.uai.as_str(),
            facts.name,
            facts.kind.code(),
            facts.zone.code(),
            facts.pupils,
            facts.lot,
            facts.address,
            facts.position.map(|(latitude, _)| latitude),
            facts.position.map(|(_, longitude)| longitude),
        ],
    )
    .map_err(failed(ACTION))?;
    let id = tx.last_insert_rowid();
    if id > MAX_SITE {
        let source = format!("there are {MAX_SITE} sites already").into();
        return Err(StoreError::Failed { action: ACTION, source });
    }
    Ok(SiteId(id))
}

fn update(tx: &Transaction<'_>, id: SiteId, facts: &SiteFacts) -> Result<()> {
    change(
        tx,
        "UPDATE site SET name = ?2, kind = ?3, zone = ?4, pupils = ?5, lot = ?6, address = ?7,
             latitude = ?8, longitude = ?9 WHERE id = ?1",
        params![
            id.0,
            facts.name,
            facts.kind.code(),
            facts.zone.code(),
            facts.pupils,
            facts.lot,
            facts.address,
            facts.position.map(|(latitude, _)| latitude),
            facts.position.map(|(_, longitude)| longitude),
        ],
    )
    .map_err(failed("update a site"))?;
    Ok(())
}

fn import(tx: &Transaction<'_>, sites: &[SiteFacts]) -> Result<ImportReport> {
    let mut report = ImportReport::default();
    let mut keys = HashSet::new();
    for facts in sites {
        if !keys.insert(facts.uai) {
            return Err(StoreError::Duplicate(format!("site {} of this import", facts.uai)));
        }
        match find(tx, facts.uai).map_err(failed("import sites"))? {
            None => {
                insert(tx, facts)?;
                report.added += 1;
            }
            Some(known) if known.facts == *facts => report.unchanged += 1,
            Some(known) => {
                update(tx, known.id, facts)?;
                report.updated += 1;
            }
        }
    }
    Ok(report)
}

#[async_trait]
impl SiteStore for SqliteStore {
    async fn add_site(&self, facts: SiteFacts) -> Result<Site> {
        self.write("register a site", move |tx| {
            if find(tx, facts.uai).map_err(failed("register a site"))?.is_some() {
                return Err(StoreError::Duplicate(format!("site {}", facts.uai)));
            }
            Ok(Site { id: insert(tx, &facts)?, facts })
        })
        .await
    }

    async fn import_sites(&self, sites: Vec<SiteFacts>, dry_run: bool) -> Result<ImportReport> {
        self.write("import sites", move |tx| {
            if !dry_run {
                return import(tx, &sites);
            }
            // The same path as the real import, undone.
            let fail = failed("undo the dry run of an import");
            tx.execute_batch("SAVEPOINT dry_run").map_err(&fail)?;
            let report = import(tx, &sites);
            tx.execute_batch("ROLLBACK TO dry_run; RELEASE dry_run").map_err(&fail)?;
            report
        })
        .await
    }

    async fn sites(&self) -> Result<Vec<Site>> {
        self.read("list sites", |conn| {
            all(conn, &format!("SELECT {COLUMNS} FROM site ORDER BY uai"), [], site)
                .map_err(failed("list sites"))
        })
        .await
    }

    async fn site(&self, id: SiteId) -> Result<Option<Site>> {
        self.read("find a site", move |conn| {
            let sql = format!("SELECT {COLUMNS} FROM site WHERE id = ?1");
            one(conn, &sql, [id.0], site).map_err(failed("find a site"))
        })
        .await
    }

    async fn site_by_uai(&self, uai: Uai) -> Result<Option<Site>> {
        self.read("find a site", move |conn| find(conn, uai).map_err(failed("find a site"))).await
    }

    async fn set_contractor(&self, contractor: Contractor) -> Result<()> {
        self.write("register a contractor", move |tx| {
            change(
                tx,
                "INSERT INTO contractor (lot, name, email) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET name = excluded.name, email = excluded.email",
                params![contractor.lot, contractor.name, contractor.email],
            )
            .map_err(failed("register a contractor"))?;
            Ok(())
        })
        .await
    }

    async fn contractors(&self) -> Result<Vec<Contractor>> {
        self.read("list contractors", |conn| {
            all(conn, "SELECT lot, name, email FROM contractor ORDER BY lot", [], |row| {
                Ok(Contractor { lot: row.get(0)?, name: row.get(1)?, email: row.get(2)? })
            })
            .map_err(failed("list contractors"))
        })
        .await
    }
}
