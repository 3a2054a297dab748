//! A school in the store: one group of many columns, and an agent.

use anyhow::{Context, Result, ensure};
use domain::{
    id::{AgentId, GroupId, Layout, SiteId},
    site::{SiteFacts, SiteKind, Zone},
    target::{Community, Detail, Method, Role, TargetSpec},
    uai::Uai,
};
use jiff::Timestamp;
use proto::samples;
use store::{NewAgent, NewSeriesSpec, NewToken, Redeemed, Rounds, SampleOptions, Store};

/// A school and what its agent sends.
#[derive(Debug, Clone, Copy)]
pub struct School {
    /// Site.
    pub site: SiteId,
    /// Agent.
    pub agent: AgentId,
    /// Group of its rounds.
    pub group: GroupId,
    /// Layout in force.
    pub layout: Layout,
}

/// How the collector tells its store what the payloads are.
#[must_use]
pub fn sample_options() -> SampleOptions {
    SampleOptions::new(|payload| {
        let columns = samples::decode(payload).ok()?;
        Some(Rounds { times_ms: columns.times_ms, cells: columns.cells })
    })
}

/// A column: number in the catalogue of metrics, and instance.
pub type Column = (u32, u32);

/// Registers a school whose one device is asked for `columns` every `period_s`, and an agent
/// enrolled at `enrolled`.
pub async fn add(
    store: &impl Store,
    number: u32,
    columns: &[Column],
    period_s: u32,
    enrolled: Timestamp,
) -> Result<School> {
    let site = add_site(store, number, None).await?;
    let spec = TargetSpec {
        site,
        role: Role::Equipment,
        name: "Commutateur".to_owned(),
        address: "192.0.2.1".to_owned(),
        method: Method::SnmpV2c { community: Community::new("public") },
        period_s,
        parent: None,
    };
    let series = columns
        .iter()
        .map(|&(metric, instance)| NewSeriesSpec {
            metric,
            instance,
            label: String::new(),
            detail: Detail::Full,
        })
        .collect();
    store.upsert_target(spec, series).await?;
    let (_, groups) = store.groups(site).await?;
    let [group] = groups.as_slice() else {
        anyhow::bail!("a school of one device has {} groups", groups.len());
    };
    let kept: Vec<Column> = group.columns.iter().map(|s| (s.metric, s.instance)).collect();
    ensure!(kept == columns, "the store keeps the columns in another order");
    let agent = add_agent(store, site, number, enrolled).await?;
    Ok(School { site, agent, group: group.id, layout: group.layout })
}

/// Registers a site.
pub async fn add_site(store: &impl Store, number: u32, lot: Option<&str>) -> Result<SiteId> {
    let facts = SiteFacts {
        uai: Uai::from_number(number).context("a number of at most seven digits")?,
        name: format!("École {number}"),
        kind: SiteKind::Elementaire,
        zone: Zone::C,
        pupils: Some(200),
        lot: lot.map(str::to_owned),
        address: None,
        position: None,
    };
    Ok(store.add_site(facts).await?.id)
}

async fn add_agent(
    store: &impl Store,
    site: SiteId,
    number: u32,
    enrolled: Timestamp,
) -> Result<AgentId> {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let token = NewToken {
        id: format!("bench-{number}"),
        secret_sha256: key,
        site,
        created_at: enrolled,
        expires_at: enrolled + std::time::Duration::from_mins(1),
    };
    store.add_token(token).await?;
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let agent = NewAgent {
        id: AgentId(id),
        spki_sha256: key,
        hostname: format!("srv-{number}"),
        version: "bench".to_owned(),
    };
    match store.redeem_token(&format!("bench-{number}"), key, agent, enrolled).await? {
        Redeemed::Agent(agent) => Ok(agent.id),
        Redeemed::Refused(why) => anyhow::bail!("the store refused a token of ours: {why:?}"),
    }
}
