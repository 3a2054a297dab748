//! The outbox: mails that wait, are leased to the notifier, and what became of them.
//!
//! A mail is marked (`data_done`) before its text is handed over. A lease that ran out without the
//! mark means that the collector died before: nothing was sent, the mail is as due as it was. With the
//! mark, or by the notifier's own word (`SendOutcome::Ambiguous`), the relay may have taken it: it is
//! sent once more under the same Message-ID, and then left as `unknown`.

use async_trait::async_trait;
use domain::id::{IncidentId, OutboxId};
use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{
    SqliteStore, failed, incidents,
    rows::{Ms, all, change, one},
};
use crate::{OutboxMail, OutboxStore, Result, SendOutcome, StoreError};

/// Longest reply of a relay that is kept, characters.
const MAX_REPLY_CHARS: usize = 500;

/// Due mails, those that no attempt failed yet first, then the oldest: what is tried over and over
/// must not stand before what was never tried. A mail waits until the earlier ones of its incident to
/// the same recipient are settled, so that no close comes before its open.
const DUE: &str = "SELECT id, incident, transition, recipient, created_ms, attempts, ambiguous
    FROM outbox AS mail
    WHERE state = 'waiting' AND due_ms <= ?1 AND NOT EXISTS (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.incident = mail.incident AND earlier.recipient = mail.recipient
            AND earlier.id < mail.id AND earlier.state IN ('waiting', 'leased'))
    ORDER BY attempts > 0, id LIMIT ?2";

fn lease(
    tx: &Transaction<'_>,
    now: Timestamp,
    lease_s: u32,
    limit: u32,
) -> Result<Vec<OutboxMail>> {
    const ACTION: &str = "lease mails";
    let fail = failed(ACTION);
    change(
        tx,
        "UPDATE outbox SET
             state = iif(data_done AND ambiguous, 'unknown', 'waiting'),
             settled_ms = iif(data_done AND ambiguous, ?1, NULL),
             ambiguous = max(ambiguous, data_done), data_done = 0,
             due_ms = ?1, lease_until_ms = NULL
         WHERE state = 'leased' AND lease_until_ms <= ?1",
        [Ms(now)],
    )
    .map_err(&fail)?;
    let due = all(tx, DUE, params![Ms(now), limit], |row| {
        let incident = IncidentId(row.get(1)?);
        let found = incidents::find(tx, incident)?;
        Ok(OutboxMail {
            id: OutboxId(row.get(0)?),
            incident: found.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
            transition: row.get(2)?,
            recipient: row.get(3)?,
            created_at: row.get::<_, Ms>(4)?.0,
            attempts: row.get(5)?,
            ambiguous: row.get(6)?,
        })
    })
    .map_err(&fail)?;
    let until = now.as_millisecond().saturating_add(i64::from(lease_s) * 1000);
    for mail in &due {
        change(
            tx,
            "UPDATE outbox SET state = 'leased', lease_until_ms = ?2 WHERE id = ?1",
            params![mail.id.0, until],
        )
        .map_err(&fail)?;
    }
    Ok(due)
}

fn mark(tx: &Transaction<'_>, id: OutboxId) -> Result<()> {
    let sql = "UPDATE outbox SET data_done = 1 WHERE id = ?1 AND state = 'leased'";
    match change(tx, sql, [id.0]).map_err(failed("mark a mail as handed over"))? {
        0 => Err(StoreError::NotFound(format!("leased mail {id}"))),
        _ => Ok(()),
    }
}

fn settle(tx: &Transaction<'_>, id: OutboxId, at: Timestamp, outcome: &SendOutcome) -> Result<()> {
    const ACTION: &str = "settle a mail";
    let fail = failed(ACTION);
    let sql = "SELECT state, ambiguous FROM outbox WHERE id = ?1";
    let found: Option<(String, bool)> =
        one(tx, sql, [id.0], |row| Ok((row.get(0)?, row.get(1)?))).map_err(&fail)?;
    let Some((state, sent_again)) = found else {
        return Err(StoreError::NotFound(format!("mail {id}")));
    };
    if matches!(state.as_str(), "sent" | "failed" | "unknown") {
        // Settled by an earlier holder of the lease: that stands.
        return Ok(());
    }
    let (state, due, ambiguous, reply) = match outcome {
        SendOutcome::Sent(reply) => ("sent", None, false, reply),
        SendOutcome::Failed(reply) => ("failed", None, false, reply),
        SendOutcome::Retry(due, reply) | SendOutcome::Waits(due, reply) => {
            ("waiting", Some(*due), false, reply)
        }
        SendOutcome::Ambiguous(_, reply) if sent_again => ("unknown", None, true, reply),
        SendOutcome::Ambiguous(due, reply) => ("waiting", Some(*due), true, reply),
    };
    let attempt = !matches!(outcome, SendOutcome::Waits(..));
    let reply: String = reply.chars().take(MAX_REPLY_CHARS).collect();
    let settled = due.is_none().then_some(Ms(at));
    change(
        tx,
        "UPDATE outbox SET state = ?2, due_ms = coalesce(?3, due_ms), lease_until_ms = NULL,
             ambiguous = max(ambiguous, ?4), data_done = 0,
             reply = ?5, settled_ms = ?6, attempts = attempts + ?7
         WHERE id = ?1",
        params![id.0, state, due.map(Ms), ambiguous, reply, settled, attempt],
    )
    .map_err(&fail)?;
    Ok(())
}

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn lease_mails(
        &self,
        now: Timestamp,
        lease_s: u32,
        limit: u32,
    ) -> Result<Vec<OutboxMail>> {
        // Asked every second, and nearly always nothing waits: then nothing is written.
        let any = self
            .read("look for mails", |conn| {
                let sql = "SELECT 1 FROM outbox WHERE state IN ('waiting', 'leased') LIMIT 1";
                one(conn, sql, [], |_| Ok(())).map_err(failed("look for mails"))
            })
            .await?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        self.write("lease mails", move |tx| lease(tx, now, lease_s, limit)).await
    }

    async fn recipients(&self, incident: IncidentId) -> Result<Vec<String>> {
        self.read("find whom an incident was told to", move |conn| {
            let sql = "SELECT recipient FROM outbox
                       WHERE incident = ?1 AND transition = 'open' ORDER BY id";
            all(conn, sql, [incident.0], |row| row.get(0))
                .map_err(failed("find whom an incident was told to"))
        })
        .await
    }

    async fn mark_handed_over(&self, id: OutboxId) -> Result<()> {
        self.write("mark a mail as handed over", move |tx| mark(tx, id)).await
    }

    async fn settle_mail(&self, id: OutboxId, at: Timestamp, outcome: SendOutcome) -> Result<()> {
        self.write("settle a mail", move |tx| settle(tx, id, at, &outcome)).await
    }

    async fn outbox_depth(&self, now: Timestamp) -> Result<(u64, u64)> {
        self.read("count waiting mails", move |conn| {
            let sql = "SELECT count(*), min(created_ms) FROM outbox
                       WHERE state IN ('waiting', 'leased')";
            let (count, oldest): (i64, Option<i64>) = conn
                .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(failed("count waiting mails"))?;
            let age_ms = oldest.map_or(0, |oldest| now.as_millisecond().saturating_sub(oldest));
            Ok((count.cast_unsigned(), u64::try_from(age_ms / 1000).unwrap_or(0)))
        })
        .await
    }
}
