//! Schools in a collector's store before it starts, each with an enrolled agent.
//!
//! What enrolment and inventories do over the wire is done here by the same parts: the collector's
//! authority signs, its store remembers, the agent's keyring keeps the files.

use std::{fs, path::Path};

use agent::identity::{self, Keyring};
use anyhow::{Context, Result, bail, ensure};
use collector::{
    ca::{Authority, RequestKey},
    secret_file, wire,
};
use domain::{
    id::{AgentId, GroupId, Layout, SeriesId, SiteId},
    site::{SiteFacts, SiteKind, Zone},
    target::{Community, Method, Role, TargetSpec},
};
use jiff::{SignedDuration, Timestamp};
use proto::v1;
use store::{
    AgentStore as _, Certificate, NewAgent, NewSeriesSpec, NewToken, Redeemed, SampleOptions,
    SiteStore as _, TargetStore as _, sqlite::SqliteStore,
};

use crate::collector::uai;

/// The data directory of a collector that does not run.
pub struct Desk {
    /// Its store.
    pub store: SqliteStore,
    authority: Authority,
    now: Timestamp,
}

/// What a school's agent sends.
#[derive(Debug, Clone)]
pub struct School {
    /// Site.
    pub site: SiteId,
    /// Agent.
    pub agent: AgentId,
    /// Version of the configuration that names the groups.
    pub version: u64,
    /// Groups in force.
    pub groups: Vec<Group>,
}

/// A group in force.
#[derive(Debug, Clone)]
pub struct Group {
    /// Group.
    pub id: GroupId,
    /// Layout.
    pub layout: Layout,
    /// Its series, in column order.
    pub series: Vec<SeriesId>,
}

/// A device to be asked by SNMP.
#[derive(Debug, Clone)]
pub struct Device {
    /// `IP:port`.
    pub address: String,
    /// Its columns.
    pub columns: Vec<NewSeriesSpec>,
    /// Seconds between two rounds.
    pub period_s: u32,
}

/// Community of every device.
pub const COMMUNITY: &str = "public";

impl Desk {
    /// Opens, or makes, what a collector keeps in `data`.
    pub fn open(data: &Path) -> Result<Self> {
        let now = Timestamp::now();
        secret_file::create_dir(data)?;
        let authority = Authority::open(&data.join("ca"), now)?;
        let store = SqliteStore::open(&data.join("vigie.db"), SampleOptions::new(wire::rounds))?;
        Ok(Self { store, authority, now })
    }

    /// Registers a school with its devices, and an agent enrolled three days ago whose identity is
    /// kept in `home`, to connect to `collector`.
    pub async fn school(
        &self,
        number: u32,
        devices: Vec<Device>,
        home: &Path,
        collector: &str,
    ) -> Result<School> {
        let (uai, name) = (uai(number).parse()?, format!("École {number}"));
        let facts = SiteFacts::new(uai, name, SiteKind::Elementaire, Zone::C);
        let site = self.store.add_site(facts).await?.id;
        for device in devices {
            let spec = TargetSpec {
                site,
                role: Role::Equipment,
                name: format!("Commutateur {}", device.address),
                address: device.address,
                method: Method::SnmpV2c { community: Community::new(COMMUNITY) },
                period_s: device.period_s,
                parent: None,
            };
            let columns = device.columns.clone();
            let target = self.store.upsert_target(spec, device.columns).await?;
            let (_, groups) = self.store.groups(site).await?;
            let group = groups.iter().find(|group| group.id == target.group);
            let kept = group.context("a target without a group")?.columns.iter();
            ensure!(
                kept.map(|s| (s.metric, s.instance))
                    .eq(columns.iter().map(|s| (s.metric, s.instance))),
                "the store keeps columns in another order than it was given"
            );
        }
        let (version, groups) = self.store.groups(site).await?;
        let group = |group: domain::target::Group| Group {
            id: group.id,
            layout: group.layout,
            series: group.columns.iter().map(|series| series.id).collect(),
        };
        let agent = self.agent(site, number, home, collector).await?;
        Ok(School { site, agent, version, groups: groups.into_iter().map(group).collect() })
    }

    async fn agent(
        &self,
        site: SiteId,
        number: u32,
        home: &Path,
        collector: &str,
    ) -> Result<AgentId> {
        fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
        let keyring = Keyring::new(home);
        let key = keyring.pending_key()?;
        let request = RequestKey::from_request(&identity::request(&key)?)?;
        let enrolled = self.now - SignedDuration::from_hours(72);
        let (token, secret_sha256) = (format!("bench-{number}"), [9; 32]);
        let new = NewToken {
            id: token.clone(),
            secret_sha256,
            site,
            created_at: enrolled,
            expires_at: enrolled + SignedDuration::from_mins(1),
        };
        self.store.add_token(new).await?;
        let agent = NewAgent {
            id: AgentId(rand::random()),
            spki_sha256: request.spki_sha256(),
            hostname: format!("srv-{number}"),
            version: "bench".to_owned(),
        };
        let redeemed = self.store.redeem_token(&token, secret_sha256, agent, enrolled).await?;
        let id = match redeemed {
            Redeemed::Agent(agent) => agent.id,
            Redeemed::Refused(why) => bail!("the store refused a token of ours: {why:?}"),
        };
        let issued = self.authority.issue_agent(&request, id, self.now)?;
        let certificate = Certificate {
            serial: issued.serial,
            spki_sha256: request.spki_sha256(),
            expires_at: issued.expires_at,
        };
        self.store.add_certificate(id, certificate).await?;
        let anchor = self.authority.certificate().to_vec();
        let reply = v1::EnrolReply {
            chain: vec![issued.der.to_vec(), anchor.clone()],
            trust: vec![anchor],
            agent_id: id.0.to_vec(),
            config: None,
            site_name: format!("École {number}"),
        };
        keyring.enrolled(&key, &reply, collector)?;
        Ok(id)
    }
}
