//! Equipment: devices, their parts, and what they tell of each other.

use std::{collections::HashMap, net::IpAddr};

use async_trait::async_trait;
use domain::{
    id::SiteId,
    inventory::{Class, Device, Facts, Mac, Part, Sighting, SnmpVersion, merge, recognise},
    topology::DeviceId,
};
use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    SqliteStore, failed,
    rows::{Ms, Parsed, all, change, code, one},
};
use crate::{
    Result, StoreError,
    inventory::{
        Edge, Inventory, InventoryStore, MAX_DEVICES, MAX_EDGES, MAX_PARTS, MAX_PORTS, Round,
        Stations,
    },
};

const KEEP: &str = "keep a device that was seen";
const END: &str = "end a round of discovery";
const READ: &str = "read an inventory";
/// Bytes of an interface's address.
const MAC_BYTES: usize = 6;

const DEVICE: &str =
    "no, address, macs, class, vendor, model, serial, version, name, descr, object_id,
    location, snmp, profile, interfaces, first_ms, last_ms, missing_ms, confirmed_ms, site";

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let macs: Vec<u8> = row.get(2)?;
    let facts = Facts {
        class: optional(row, 3, Class::from_code)?,
        vendor: row.get(4)?,
        model: row.get(5)?,
        serial: row.get(6)?,
        version: row.get(7)?,
        name: row.get(8)?,
        descr: row.get(9)?,
        object_id: row.get(10)?,
        location: row.get(11)?,
        snmp: optional(row, 12, SnmpVersion::from_code)?,
        profile: row.get(13)?,
        interfaces: row.get(14)?,
    };
    Ok(Device {
        id: DeviceId(row.get(0)?),
        site: SiteId(row.get(19)?),
        last: Sighting {
            address: row.get::<_, Parsed<IpAddr>>(1)?.0,
            macs: macs.as_chunks::<MAC_BYTES>().0.iter().copied().map(Mac).collect(),
            facts,
            parts: Vec::new(),
        },
        first_seen: row.get::<_, Ms>(15)?.0,
        last_seen: row.get::<_, Ms>(16)?.0,
        missing_since: row.get::<_, Option<Ms>>(17)?.map(|ms| ms.0),
        confirmed_at: row.get::<_, Option<Ms>>(18)?.map(|ms| ms.0),
    })
}

/// The column's text, as `from_code` understands it, where there is one.
fn optional<T>(
    row: &Row<'_>,
    column: usize,
    from_code: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    if row.get_ref(column)?.as_str_or_null()?.is_none() {
        return Ok(None);
    }
    code(row, column, from_code).map(Some)
}

/// Devices of a site with their parts, by number.
fn devices(conn: &Connection, site: SiteId) -> rusqlite::Result<Vec<Device>> {
    let sql = format!("SELECT {DEVICE} FROM asset WHERE site = ?1 ORDER BY no");
    let mut devices = all(conn, &sql, [site.0], device)?;
    let sql = "SELECT asset, idx, class, name, model, serial, version
               FROM asset_part WHERE site = ?1 ORDER BY asset, n";
    let parts = all(conn, sql, [site.0], |row| {
        let part = Part {
            index: row.get(1)?,
            class: row.get(2)?,
            name: row.get(3)?,
            model: row.get(4)?,
            serial: row.get(5)?,
            version: row.get(6)?,
        };
        Ok((DeviceId(row.get(0)?), part))
    })?;
    for (of, part) in parts {
        if let Ok(at) = devices.binary_search_by_key(&of, |device| device.id) {
            devices[at].last.parts.push(part);
        }
    }
    Ok(devices)
}

fn keep(tx: &Transaction<'_>, device: &Device) -> rusqlite::Result<()> {
    let Device { id, site, last, first_seen, last_seen, missing_since, confirmed_at } = device;
    let facts = &last.facts;
    let macs: Vec<u8> = last.macs.iter().flat_map(|mac| mac.0).collect();
    change(
        tx,
        "INSERT OR REPLACE INTO asset (no, address, macs, class, vendor, model, serial, version, name,
             descr, object_id, location, snmp, profile, interfaces, first_ms, last_ms, missing_ms,
             confirmed_ms, site)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
             ?20)",
        params![
            id.0,
            last.address.to_string(),
            macs,
            facts.class.map(Class::code),
            facts.vendor,
            facts.model,
            facts.serial,
            facts.version,
            facts.name,
            facts.descr,
            facts.object_id,
            facts.location,
            facts.snmp.map(SnmpVersion::code),
            facts.profile,
            facts.interfaces,
            Ms(*first_seen),
            Ms(*last_seen),
            missing_since.map(Ms),
            confirmed_at.map(Ms),
            site.0,
        ],
    )?;
    change(tx, "DELETE FROM asset_part WHERE site = ?1 AND asset = ?2", [site.0, id.0])?;
    for (n, part) in (0_u32..).zip(last.parts.iter().take(MAX_PARTS)) {
        let Part { index, class, name, model, serial, version } = part;
        change(
            tx,
            "INSERT INTO asset_part (site, asset, n, idx, class, name, model, serial, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![site.0, id.0, n, index, class, name, model, serial, version],
        )?;
    }
    Ok(())
}

fn last_round(conn: &Connection, site: SiteId) -> rusqlite::Result<Option<Round>> {
    let sql = "SELECT started_ms, ended_ms, request, asked, answered, identified, refused, complete
               FROM discovery_round WHERE site = ?1";
    one(conn, sql, [site.0], |row| {
        let refused: String = row.get(6)?;
        Ok(Round {
            started_at: row.get::<_, Ms>(0)?.0,
            ended_at: row.get::<_, Ms>(1)?.0,
            request: row.get::<_, i64>(2)?.cast_unsigned(),
            asked: row.get(3)?,
            answered: row.get(4)?,
            identified: row.get(5)?,
            refused: refused.lines().map(str::to_owned).collect(),
            complete: row.get(7)?,
        })
    })
}

/// Replaces what the round before told.
fn replace(
    tx: &Transaction<'_>,
    site: SiteId,
    edges: &[Edge<DeviceId>],
    stations: &[Stations<DeviceId>],
) -> rusqlite::Result<()> {
    change(tx, "DELETE FROM asset_edge WHERE site = ?1", [site.0])?;
    change(tx, "DELETE FROM asset_stations WHERE site = ?1", [site.0])?;
    for (n, edge) in (0_u32..).zip(edges.iter().take(MAX_EDGES)) {
        let Edge { device, if_index, port, other, other_if_index, other_port, source } = edge;
        change(
            tx,
            "INSERT INTO asset_edge
                 (site, n, asset, if_index, port, other, other_if_index, other_port, source)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                site.0,
                n,
                device.0,
                if_index,
                port,
                other.0,
                other_if_index,
                other_port,
                source
            ],
        )?;
    }
    for Stations { device, if_index, count } in stations.iter().take(MAX_PORTS) {
        change(
            tx,
            "INSERT OR REPLACE INTO asset_stations (site, asset, if_index, count)
             VALUES (?1, ?2, ?3, ?4)",
            params![site.0, device.0, if_index, count],
        )?;
    }
    Ok(())
}

#[async_trait]
impl InventoryStore for SqliteStore {
    async fn keep_sighting(
        &self,
        site: SiteId,
        seen_at: Timestamp,
        sighting: Sighting,
    ) -> Result<DeviceId> {
        self.write(KEEP, move |tx| {
            let known = devices(tx, site).map_err(failed(KEEP))?;
            let device = match recognise(&known, &sighting) {
                Some(id) => {
                    let at = known.binary_search_by_key(&id, |device| device.id);
                    let before = at.map(|at| known[at].clone());
                    let before =
                        before.map_err(|_| StoreError::NotFound(format!("device {}", id.0)))?;
                    if before.last_seen >= seen_at {
                        return Ok(id);
                    }
                    Device {
                        last: merge(&before.last, sighting),
                        last_seen: seen_at,
                        missing_since: None,
                        ..before
                    }
                }
                None if known.len() >= MAX_DEVICES => {
                    return Err(StoreError::Limit {
                        action: KEEP,
                        what: "devices",
                        most: MAX_DEVICES,
                    });
                }
                None => Device {
                    id: DeviceId(known.last().map_or(0, |device| device.id.0) + 1),
                    site,
                    last: sighting,
                    first_seen: seen_at,
                    last_seen: seen_at,
                    missing_since: None,
                    confirmed_at: None,
                },
            };
            keep(tx, &device).map_err(failed(KEEP))?;
            Ok(device.id)
        })
        .await
    }

    async fn end_round(
        &self,
        site: SiteId,
        round: Round,
        edges: Vec<Edge<IpAddr>>,
        stations: Vec<Stations<IpAddr>>,
    ) -> Result<()> {
        self.write(END, move |tx| {
            let fail = failed(END);
            let last = last_round(tx, site).map_err(&fail)?;
            if last.is_some_and(|last| last.started_at >= round.started_at) {
                return Ok(());
            }
            let known = devices(tx, site).map_err(&fail)?;
            // Of two devices that had an address one after the other, the one that answers there now.
            let mut by_age: Vec<&Device> = known.iter().collect();
            by_age.sort_by_key(|device| device.last_seen);
            let at: HashMap<IpAddr, DeviceId> =
                by_age.iter().map(|device| (device.last.address, device.id)).collect();
            let edges: Vec<Edge<DeviceId>> = edges
                .into_iter()
                .filter_map(|edge| {
                    let (device, other) = (*at.get(&edge.device)?, *at.get(&edge.other)?);
                    let Edge { if_index, port, other_if_index, other_port, source, .. } = edge;
                    Some(Edge { device, if_index, port, other, other_if_index, other_port, source })
                })
                .collect();
            let stations: Vec<Stations<DeviceId>> = stations
                .into_iter()
                .filter_map(|of| {
                    let device = *at.get(&of.device)?;
                    Some(Stations { device, if_index: of.if_index, count: of.count })
                })
                .collect();
            replace(tx, site, &edges, &stations).map_err(&fail)?;
            if round.complete {
                change(
                    tx,
                    "UPDATE asset SET missing_ms = ?3
                     WHERE site = ?1 AND last_ms < ?2 AND missing_ms IS NULL",
                    params![site.0, Ms(round.started_at), Ms(round.ended_at)],
                )
                .map_err(&fail)?;
            }
            change(
                tx,
                "INSERT OR REPLACE INTO discovery_round
                     (site, started_ms, ended_ms, request, asked, answered, identified, refused, complete)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    site.0,
                    Ms(round.started_at),
                    Ms(round.ended_at),
                    round.request.cast_signed(),
                    round.asked,
                    round.answered,
                    round.identified,
                    round.refused.join("\n"),
                    round.complete,
                ],
            )
            .map_err(&fail)?;
            Ok(())
        })
        .await
    }

    async fn inventory(&self, site: SiteId) -> Result<Inventory> {
        self.read(READ, move |conn| {
            let read = || -> rusqlite::Result<Inventory> {
                let sql = "SELECT asset, if_index, port, other, other_if_index, other_port, source
                           FROM asset_edge WHERE site = ?1 ORDER BY n";
                let edges = all(conn, sql, [site.0], |row| {
                    Ok(Edge {
                        device: DeviceId(row.get(0)?),
                        if_index: row.get(1)?,
                        port: row.get(2)?,
                        other: DeviceId(row.get(3)?),
                        other_if_index: row.get(4)?,
                        other_port: row.get(5)?,
                        source: row.get(6)?,
                    })
                })?;
                let sql = "SELECT asset, if_index, count FROM asset_stations
                           WHERE site = ?1 ORDER BY asset, if_index";
                let stations = all(conn, sql, [site.0], |row| {
                    let device = DeviceId(row.get(0)?);
                    Ok(Stations { device, if_index: row.get(1)?, count: row.get(2)? })
                })?;
                let round = last_round(conn, site)?;
                Ok(Inventory { devices: devices(conn, site)?, edges, stations, round })
            };
            read().map_err(failed(READ))
        })
        .await
    }

    async fn confirm_device(&self, site: SiteId, device: DeviceId, at: Timestamp) -> Result<()> {
        const CONFIRM: &str = "confirm a device";
        self.write(CONFIRM, move |tx| {
            let sql = "UPDATE asset SET confirmed_ms = coalesce(confirmed_ms, ?3)
                       WHERE site = ?1 AND no = ?2";
            let changed =
                change(tx, sql, params![site.0, device.0, Ms(at)]).map_err(failed(CONFIRM))?;
            if changed == 0 {
                return Err(StoreError::NotFound(format!("device {}", device.0)));
            }
            Ok(())
        })
        .await
    }
}
