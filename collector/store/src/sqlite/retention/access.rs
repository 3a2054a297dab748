//! Five-minute buckets of access ports, made just before the samples are deleted.
//!
//! Their series are most of all, so that these buckets stand only for samples that are no more: while
//! a day has its samples, questions roll them up. They are made while the day before still has its
//! samples, which the growth of a counter across midnight needs, and nothing is deleted until they
//! are committed. A day that is compacted later than that brings its own (`Maker`).

use domain::chain::chain;
use domain::id::{GroupId, SiteId};
use rusqlite::{Connection, params};

use super::ACTION;
use crate::{
    Result, StoreError,
    sqlite::{
        SqliteStore,
        blocks::Parts,
        compact::{
            keep::{ACCESS, replace},
            make::{push_fine, series_at_a_time, series_in_block},
            rolls::Roller,
        },
        failed,
        read::{
            facts,
            gather::{GroupKey, gather},
        },
        rows::all,
    },
};

/// Group days in one round.
const MAX_DAYS: u32 = 64;
/// Bytes beyond which a transaction takes no further group day.
const MAX_BYTES: usize = 1 << 20;

/// What a round did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    /// Group days.
    pub(crate) days: u64,
    /// Of them, those whose samples are damaged: they have no such buckets.
    pub(crate) damaged: u64,
}

struct Due {
    /// Of the row of `block_time`.
    id: i64,
    key: GroupKey,
    day: i64,
    /// What is to be kept of it.
    parts: Vec<(i64, Vec<u8>)>,
}

/// One bounded round over days up to `last`; when it does nothing, there is nothing left to do.
pub(super) async fn round(store: &SqliteStore, last: i64) -> Result<Done> {
    let mut done = Done::default();
    let (mut made, mut bytes) = (Vec::new(), 0);
    for mut due in store.read(ACTION, move |conn| due(conn, last)).await? {
        let (shelf, key, day) = (store.shelf(), due.key, due.day);
        let parts = store
            .read(ACTION, move |conn| {
                let series: Vec<i64> = series_in_block(conn, key, day)?.into_iter().collect();
                let mut access = facts(conn, &series)?;
                access.retain(|one| one.coarse);
                let roller = Roller::new(conn, &shelf, key, day, &access)?;
                let rounds = gather(conn, &shelf, key, &[], roller.span())?.rounds.len();
                let mut parts = Parts::default();
                for slice in access.chunks(series_at_a_time(rounds)) {
                    let ids: Vec<i64> = slice.iter().map(|one| one.id).collect();
                    let gathered = gather(conn, &shelf, key, &ids, roller.span())?;
                    for (one, place) in slice.iter().zip(0..) {
                        push_fine(
                            &mut parts,
                            one,
                            day,
                            &roller.fine(one, &gathered.samples(place)),
                        )?;
                    }
                }
                Ok(parts.finish())
            })
            .await;
        done.days += 1;
        due.parts = match parts {
            Err(error @ StoreError::Damaged { .. }) => {
                // Its samples must go all the same.
                tracing::error!(
                    site = key.site.0,
                    group = key.grp.0,
                    day,
                    error = chain(&error),
                    "access ports have no five-minute figures"
                );
                done.damaged += 1;
                Vec::new()
            }
            other => other?,
        };
        bytes += due.parts.iter().map(|part| part.1.len()).sum::<usize>();
        made.push(due);
        if bytes >= MAX_BYTES {
            keep(store, std::mem::take(&mut made)).await?;
            bytes = 0;
        }
    }
    if !made.is_empty() {
        keep(store, made).await?;
    }
    Ok(done)
}

fn due(conn: &Connection, last: i64) -> Result<Vec<Due>> {
    let sql = "SELECT id, site, grp, day FROM block_time WHERE fine = 0 AND day <= ?1
               ORDER BY day LIMIT ?2";
    all(conn, sql, params![last, MAX_DAYS], |row| {
        let key = GroupKey { site: SiteId(row.get(1)?), grp: GroupId(row.get(2)?) };
        Ok(Due { id: row.get(0)?, key, day: row.get(3)?, parts: Vec::new() })
    })
    .map_err(failed(ACTION))
}

async fn keep(store: &SqliteStore, made: Vec<Due>) -> Result<()> {
    store
        .write(ACTION, move |tx| {
            for due in &made {
                replace(tx, ACCESS, due.key, due.day, &due.parts)
                    .and_then(|()| {
                        tx.prepare_cached("UPDATE block_time SET fine = 1 WHERE id = ?1")?
                            .execute([due.id])
                    })
                    .map_err(failed(ACTION))?;
            }
            Ok(())
        })
        .await
}
