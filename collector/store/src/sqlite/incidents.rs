//! Incidents, their evidence, the evaluator's memory.

use async_trait::async_trait;
use domain::{
    id::{IncidentId, SiteId, TargetId},
    incident::{Incident, IncidentKind},
};
use jiff::{Timestamp, tz::TimeZone};
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    SqliteStore, failed,
    rows::{Ms, all, change, code, one},
};
use crate::{
    Evaluation, IncidentFilter, IncidentStore, NewIncident, NewMail, Result, StoreError, planted,
};

const ACTION: &str = "keep an evaluation";
/// Incidents that one question returns when it does not say.
const DEFAULT_LIMIT: u32 = 1000;
/// Evidence lines of one incident; what comes after is in the samples anyway.
const MAX_EVIDENCE: i64 = 200;

const COLUMNS: &str = "id, reference, key, site, target, kind, title, started_ms, opened_ms,
    restored_ms, closed_ms";

fn bare(row: &Row<'_>) -> rusqlite::Result<Incident> {
    Ok(Incident {
        id: IncidentId(row.get(0)?),
        reference: row.get(1)?,
        key: row.get(2)?,
        site: SiteId(row.get(3)?),
        target: row.get::<_, Option<i64>>(4)?.map(TargetId),
        kind: code(row, 5, IncidentKind::from_code)?,
        title: row.get(6)?,
        evidence: Vec::new(),
        started_at: row.get::<_, Ms>(7)?.0,
        opened_at: row.get::<_, Ms>(8)?.0,
        restored_at: row.get::<_, Option<Ms>>(9)?.map(|ms| ms.0),
        closed_at: row.get::<_, Option<Ms>>(10)?.map(|ms| ms.0),
    })
}

fn with_evidence(conn: &Connection, mut incident: Incident) -> rusqlite::Result<Incident> {
    let sql = "SELECT line FROM incident_evidence WHERE incident = ?1 ORDER BY n";
    incident.evidence = all(conn, sql, [incident.id.0], |row| row.get(0))?;
    Ok(incident)
}

/// One incident with its evidence.
pub(super) fn find(conn: &Connection, id: IncidentId) -> rusqlite::Result<Option<Incident>> {
    one(conn, &format!("SELECT {COLUMNS} FROM incident WHERE id = ?1"), [id.0], bare)?
        .map(|incident| with_evidence(conn, incident))
        .transpose()
}

fn add_evidence(tx: &Transaction<'_>, id: i64, lines: &[String]) -> rusqlite::Result<()> {
    for line in lines {
        change(
            tx,
            "INSERT INTO incident_evidence (incident, n, line)
             SELECT ?1, count(*), ?2 FROM incident_evidence WHERE incident = ?1
             HAVING count(*) < ?3",
            params![id, line, MAX_EVIDENCE],
        )?;
    }
    Ok(())
}

fn add_mails(
    tx: &Transaction<'_>,
    incident: i64,
    mails: &[NewMail],
    at: Timestamp,
) -> rusqlite::Result<()> {
    for mail in mails {
        change(
            tx,
            "INSERT INTO outbox (incident, transition, recipient, created_ms, due_ms)
             VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
            params![incident, mail.transition, mail.recipient, Ms(at)],
        )?;
    }
    Ok(())
}

/// Opens an incident, unless its key was opened before.
fn open(
    tx: &Transaction<'_>,
    new: &NewIncident,
    mails: &[NewMail],
    at: Timestamp,
) -> rusqlite::Result<Option<Incident>> {
    if one(tx, "SELECT 1 FROM incident WHERE key = ?1", [&new.key], |_| Ok(()))?.is_some() {
        return Ok(None);
    }
    let year = TimeZone::UTC.to_datetime(at).year();
    let number: i64 = tx.query_row(
        "INSERT INTO incident_year (year, last) VALUES (?1, 1)
         ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
        [year],
        |row| row.get(0),
    )?;
    change(
        tx,
        "INSERT INTO incident (reference, key, site, target, kind, title, started_ms, opened_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            format!("INC-{year}-{number:06}"),
            new.key,
            new.site.0,
            new.target.map(|target| target.0),
            new.kind.code(),
            new.title,
            Ms(new.started_at),
            Ms(at),
        ],
    )?;
    let id = tx.last_insert_rowid();
    add_evidence(tx, id, &new.evidence)?;
    add_mails(tx, id, mails, at)?;
    if planted::is("mail-before-commit") {
        tx.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
    }
    find(tx, IncidentId(id))
}

fn save(tx: &Transaction<'_>, evaluation: &Evaluation) -> Result<Vec<Incident>> {
    let fail = failed(ACTION);
    for (key, value) in &evaluation.states {
        match value {
            Some(value) => change(
                tx,
                "INSERT INTO alert_state (key, value) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET value = excluded.value",
                [key, value],
            ),
            None => change(tx, "DELETE FROM alert_state WHERE key = ?1", [key]),
        }
        .map_err(&fail)?;
    }
    let mut opened = Vec::new();
    if evaluation.open.is_empty() && evaluation.append.is_empty() && evaluation.close.is_empty() {
        return Ok(opened);
    }
    let Some(at) = evaluation.at else {
        return Err(StoreError::Failed { action: ACTION, source: "it has no time".into() });
    };
    for (new, mails) in &evaluation.open {
        opened.extend(open(tx, new, mails, at).map_err(&fail)?);
    }
    for (id, lines) in &evaluation.append {
        let is_open = "SELECT 1 FROM incident WHERE id = ?1 AND closed_ms IS NULL";
        if one(tx, is_open, [id.0], |_| Ok(())).map_err(&fail)?.is_some() {
            add_evidence(tx, id.0, lines).map_err(&fail)?;
        }
    }
    for (id, restored_at, lines, mails) in &evaluation.close {
        let closed = change(
            tx,
            "UPDATE incident SET restored_ms = ?2, closed_ms = ?3
             WHERE id = ?1 AND closed_ms IS NULL",
            params![id.0, Ms(*restored_at), Ms(at)],
        )
        .map_err(&fail)?;
        // Closed before: a repeat after a crash.
        if closed > 0 {
            add_evidence(tx, id.0, lines).map_err(&fail)?;
            add_mails(tx, id.0, mails, at).map_err(&fail)?;
        }
    }
    Ok(opened)
}

#[async_trait]
impl IncidentStore for SqliteStore {
    async fn save_evaluation(&self, evaluation: Evaluation) -> Result<Vec<Incident>> {
        self.write(ACTION, move |tx| save(tx, &evaluation)).await
    }

    async fn alert_states(&self) -> Result<Vec<(String, String)>> {
        self.read("read the evaluator's memory", |conn| {
            let sql = "SELECT key, value FROM alert_state ORDER BY key";
            all(conn, sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(failed("read the evaluator's memory"))
        })
        .await
    }

    async fn incidents(&self, filter: IncidentFilter) -> Result<Vec<Incident>> {
        self.read("list incidents", move |conn| {
            let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
            let site = if filter.site.is_some() { "site = ?1" } else { "?1 IS NULL" };
            let state = if filter.open_only { "closed_ms IS NULL" } else { "TRUE" };
            // Numbers only grow: what is opened meanwhile moves no page.
            let before = filter.before.map_or(i64::MAX, |incident| incident.0);
            let sql = format!(
                "SELECT {COLUMNS} FROM incident WHERE {site} AND {state} AND id < ?3
                 ORDER BY id DESC LIMIT ?2"
            );
            all(conn, &sql, params![filter.site.map(|site| site.0), limit, before], bare)
                .and_then(|found| {
                    found.into_iter().map(|incident| with_evidence(conn, incident)).collect()
                })
                .map_err(failed("list incidents"))
        })
        .await
    }

    async fn incident(&self, id: IncidentId) -> Result<Option<Incident>> {
        self.read("find an incident", move |conn| {
            find(conn, id).map_err(failed("find an incident"))
        })
        .await
    }
}
