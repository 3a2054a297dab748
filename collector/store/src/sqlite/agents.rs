//! Enrolment tokens, agents, certificates.

use async_trait::async_trait;
use domain::{
    agent::{Agent, AgentStatus},
    id::{AgentId, SiteId},
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    SqliteStore, failed,
    ingest::agent_no,
    rows::{Ms, all, change, one},
};
use crate::{
    AgentStore, Certificate, NewAgent, NewToken, Redeemed, Result, StoreError, TokenRefusal,
};

/// How long a redeemed token still answers the key that redeemed it: the answer may have been lost.
const REDEEM_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// The certificate in force is the newest one used, or else the newest one issued.
const SELECT: &str = "SELECT id, site, active, hostname, version, enrolled_ms, last_seen_ms,
        coalesce(serial, ''), coalesce(expires_ms, 0)
    FROM agent LEFT JOIN certificate ON certificate.no = (
        SELECT no FROM certificate WHERE agent_no = agent.no ORDER BY used = 1 DESC, no DESC LIMIT 1)";

fn agent(row: &Row<'_>) -> rusqlite::Result<Agent> {
    let active: bool = row.get(2)?;
    Ok(Agent {
        id: AgentId(row.get(0)?),
        site: SiteId(row.get(1)?),
        status: if active { AgentStatus::Active } else { AgentStatus::Revoked },
        hostname: row.get(3)?,
        version: row.get(4)?,
        enrolled_at: row.get::<_, Ms>(5)?.0,
        last_seen: row.get::<_, Option<Ms>>(6)?.map(|ms| ms.0),
        certificate_serial: row.get(7)?,
        certificate_expires_at: row.get::<_, Ms>(8)?.0,
    })
}

fn find(conn: &Connection, id: AgentId) -> rusqlite::Result<Option<Agent>> {
    one(conn, &format!("{SELECT} WHERE id = ?1"), [id.0], agent)
}

/// A token as stored.
struct Token {
    secret: [u8; 32],
    site: i64,
    expires_at: Timestamp,
    used: Option<(Timestamp, [u8; 32], AgentId)>,
}

fn token(conn: &Connection, id: &str) -> rusqlite::Result<Option<Token>> {
    let sql = "SELECT secret_sha256, token.site, expires_ms, used_ms, spki_sha256, agent.id
               FROM token LEFT JOIN agent ON agent.no = token.agent_no WHERE token.id = ?1";
    one(conn, sql, [id], |row| {
        let used_at: Option<Ms> = row.get(3)?;
        let used = match used_at {
            None => None,
            Some(at) => Some((at.0, row.get(4)?, AgentId(row.get(5)?))),
        };
        Ok(Token {
            secret: row.get(0)?,
            site: row.get(1)?,
            expires_at: row.get::<_, Ms>(2)?.0,
            used,
        })
    })
}

/// Equality that takes as long for any difference. What is compared are digests, so little could be
/// learnt from the time anyway.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |odd, (a, b)| odd | (a ^ b)) == 0
}

fn redeem(
    tx: &Transaction<'_>,
    token_id: &str,
    secret: &[u8; 32],
    new: &NewAgent,
    now: Timestamp,
) -> Result<Redeemed> {
    const ACTION: &str = "redeem a token";
    let refused = |refusal| Ok(Redeemed::Refused(refusal));
    let Some(token) = token(tx, token_id).map_err(failed(ACTION))? else {
        return refused(TokenRefusal::Unknown);
    };
    if !same(&token.secret, secret) {
        return refused(TokenRefusal::Unknown);
    }
    if let Some((used_at, key, id)) = token.used {
        if !same(&key, &new.spki_sha256) || now.duration_since(used_at) > REDEEM_AGAIN {
            return refused(TokenRefusal::Used);
        }
        let known = find(tx, id).map_err(failed(ACTION))?;
        return match known {
            Some(agent) if agent.status == AgentStatus::Active => Ok(Redeemed::Agent(agent)),
            _withdrawn => refused(TokenRefusal::Used),
        };
    }
    if now >= token.expires_at {
        return refused(TokenRefusal::Expired);
    }
    change(
        tx,
        "INSERT INTO agent (id, site, active, hostname, version, enrolled_ms)
         VALUES (?1, ?2, 1, ?3, ?4, ?5)",
        params![new.id.0, token.site, new.hostname, new.version, Ms(now)],
    )
    .map_err(failed(ACTION))?;
    change(
        tx,
        "UPDATE token SET used_ms = ?2, spki_sha256 = ?3, agent_no = ?4 WHERE id = ?1",
        params![token_id, Ms(now), new.spki_sha256, tx.last_insert_rowid()],
    )
    .map_err(failed(ACTION))?;
    let agent = find(tx, new.id).map_err(failed(ACTION))?;
    agent.map(Redeemed::Agent).ok_or_else(|| StoreError::NotFound(format!("agent {}", new.id)))
}

/// A certificate's number and whether it was used (0 not yet, 1 yes, 2 retired), of an active agent.
fn certificate_state(
    conn: &Connection,
    agent: AgentId,
    serial: &str,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let sql = "SELECT certificate.no, used FROM certificate JOIN agent ON agent.no = agent_no
               WHERE agent.id = ?1 AND active AND serial = ?2";
    one(conn, sql, params![agent.0, serial], |row| Ok((row.get(0)?, row.get(1)?)))
}

#[async_trait]
impl AgentStore for SqliteStore {
    async fn add_token(&self, token: NewToken) -> Result<()> {
        const ACTION: &str = "keep a token";
        self.write(ACTION, move |tx| {
            let known = one(tx, "SELECT 1 FROM token WHERE id = ?1", [&token.id], |_| Ok(()));
            if known.map_err(failed(ACTION))?.is_some() {
                return Err(StoreError::Duplicate("this token".to_owned()));
            }
            let site = one(tx, "SELECT 1 FROM site WHERE id = ?1", [token.site.0], |_| Ok(()));
            if site.map_err(failed(ACTION))?.is_none() {
                return Err(StoreError::NotFound(format!("site {}", token.site)));
            }
            change(
                tx,
                "INSERT INTO token (id, secret_sha256, site, created_ms, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    token.id,
                    token.secret_sha256,
                    token.site.0,
                    Ms(token.created_at),
                    Ms(token.expires_at)
                ],
            )
            .map_err(failed(ACTION))?;
            Ok(())
        })
        .await
    }

    async fn redeem_token(
        &self,
        token_id: &str,
        secret_sha256: [u8; 32],
        agent: NewAgent,
        now: Timestamp,
    ) -> Result<Redeemed> {
        let token_id = token_id.to_owned();
        self.write("redeem a token", move |tx| redeem(tx, &token_id, &secret_sha256, &agent, now))
            .await
    }

    async fn add_certificate(&self, agent: AgentId, certificate: Certificate) -> Result<()> {
        const ACTION: &str = "record a certificate";
        self.write(ACTION, move |tx| {
            let no = agent_no(tx, agent)?;
            let added = change(
                tx,
                "INSERT INTO certificate (agent_no, serial, spki_sha256, expires_ms)
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                params![
                    no,
                    certificate.serial,
                    certificate.spki_sha256,
                    Ms(certificate.expires_at)
                ],
            )
            .map_err(failed(ACTION))?;
            if added == 0 {
                return Err(StoreError::Duplicate(format!("certificate {}", certificate.serial)));
            }
            Ok(())
        })
        .await
    }

    async fn use_certificate(&self, agent: AgentId, serial: &str) -> Result<bool> {
        const ACTION: &str = "note the use of a certificate";
        let serial = serial.to_owned();
        // Nearly always it is the one in use already, which needs no write.
        let (asked, found) = self
            .read(ACTION, move |conn| {
                let found = certificate_state(conn, agent, &serial).map_err(failed(ACTION))?;
                Ok((serial, found))
            })
            .await?;
        match found {
            Some((_, 0)) => {}
            Some((_, 1)) => return Ok(true),
            Some(_) | None => return Ok(false),
        }
        self.write(ACTION, move |tx| {
            let Some((no, used)) = certificate_state(tx, agent, &asked).map_err(failed(ACTION))?
            else {
                return Ok(false);
            };
            if used == 0 {
                change(
                    tx,
                    "UPDATE certificate SET used = iif(no = ?1, 1, 2)
                     WHERE agent_no = (SELECT agent_no FROM certificate WHERE no = ?1) AND no <= ?1",
                    [no],
                )
                .map_err(failed(ACTION))?;
            }
            Ok(used < 2)
        })
        .await
    }

    async fn certificate(&self, agent: AgentId, serial: &str) -> Result<Option<Certificate>> {
        let serial = serial.to_owned();
        self.read("find a certificate", move |conn| {
            let sql = "SELECT serial, spki_sha256, expires_ms
                       FROM certificate JOIN agent ON agent.no = agent_no
                       WHERE agent.id = ?1 AND active AND serial = ?2 AND used < 2";
            one(conn, sql, params![agent.0, serial], |row| {
                Ok(Certificate {
                    serial: row.get(0)?,
                    spki_sha256: row.get(1)?,
                    expires_at: row.get::<_, Ms>(2)?.0,
                })
            })
            .map_err(failed("find a certificate"))
        })
        .await
    }

    async fn agents(&self) -> Result<Vec<Agent>> {
        self.read("list agents", |conn| {
            all(conn, &format!("{SELECT} ORDER BY site, agent.no"), [], agent)
                .map_err(failed("list agents"))
        })
        .await
    }

    async fn agent(&self, id: AgentId) -> Result<Option<Agent>> {
        self.read("find an agent", move |conn| find(conn, id).map_err(failed("find an agent")))
            .await
    }

    async fn touch_agents(&self, seen: Vec<(AgentId, Timestamp, String)>) -> Result<()> {
        self.write("note life signs", move |tx| {
            for (id, at, version) in seen {
                change(
                    tx,
                    "UPDATE agent SET last_seen_ms = max(coalesce(last_seen_ms, ?2), ?2),
                         version = ?3 WHERE id = ?1",
                    params![id.0, Ms(at), version],
                )
                .map_err(failed("note life signs"))?;
            }
            Ok(())
        })
        .await
    }

    async fn revoke_agent(&self, id: AgentId, now: Timestamp) -> Result<()> {
        const ACTION: &str = "withdraw an agent";
        let change = move |tx: &Transaction<'_>| {
            let no = agent_no(tx, id)?;
            change(
                tx,
                "UPDATE agent SET active = 0, revoked_ms = coalesce(revoked_ms, ?2) WHERE no = ?1",
                params![no, Ms(now)],
            )
            .map_err(failed(ACTION))?;
            Ok(())
        };
        // The writing thread forgets the agent before it looks at any further record.
        self.write_then(ACTION, change, move |known, ()| known.forget_agent(id)).await
    }
}
