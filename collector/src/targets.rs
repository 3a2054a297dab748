//! From what an agent sees, and what operators ask for, to targets and series.
//!
//! The rungs of a site's ladder (host, gateways, operator hops, resolvers, the collector, references)
//! follow what the agent reports and what is configured: a gateway that it no longer has is retired,
//! history kept, and what operators put behind it moves behind its successor. The store knows which
//! targets are rungs; everything else is the operators'. Series come of inventories, within bounds,
//! and only here: nothing that an agent sends makes a series by itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    id::{GroupId, SiteId, TargetId},
    target::{Device, Method, Role, Series, Target, TargetSpec},
};
use jiff::Timestamp;
use store::{NewSeries, NewSeriesSpec, Store, StoreError};
use tokio::sync;

use crate::{
    config::References,
    wire::{self, PlanSize},
};

mod configs;
mod ladder;
mod series;

pub use configs::SiteConfigs;
pub use ladder::Seen;
pub use series::{HostParts, MAX_INTERFACES, MAX_PARTS, Port, default_series};

/// Active targets of a site: 500 devices, each asked in three ways.
pub const MAX_TARGETS: usize = 1_500;
/// New rungs that the reports of a site may put up in [`RISE_WINDOW`]: ten ladders of other routers
/// than before. Each takes rows and a layout that stay.
pub const MAX_RISES: usize = 240;
/// How long new rungs are counted.
const RISE_WINDOW: Duration = Duration::from_hours(1);
/// Room in a plan that is kept for what comes by itself: the rungs of the ladder, the peers of the mesh,
/// and the keys of all those whom a hub answers.
const RESERVE: PlanSize = PlanSize { bytes: 192 << 10, groups: 64, series: 1_000 };
/// Most that operators' targets and inventories may make of a plan.
const MOST: PlanSize = PlanSize {
    bytes: PlanSize::MOST.bytes - RESERVE.bytes,
    groups: PlanSize::MOST.groups - RESERVE.groups,
    series: PlanSize::MOST.series - RESERVE.series,
};
/// Sites whose last ladder is remembered.
const MAX_REMEMBERED: usize = 20_000;

/// Why a plan was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The site has as many as it may.
    #[error("the site has its {0} {1} already")]
    Full(usize, &'static str),
    /// The agent could not be told to measure all that.
    #[error(
        "the plan of the site's agent would have {count} {what}, {most} at most: withdraw targets, \
         or shorten URLs"
    )]
    Plan {
        /// Bytes, groups or series.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// What the agent reports by itself, or every site has, is not an operator's to withdraw.
    #[error(
        "the target is a rung of the ladder: it follows what the agent reports and the configuration names"
    )]
    Rung,
    /// Which sites ask each other follows from which take part.
    #[error("the target is a pair of the mesh: take one of its two sites out of the mesh")]
    Pair,
    /// The store said no.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for TargetError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Limit { what, most, .. } => Self::Full(most, what),
            StoreError::Unusable { .. }
            | StoreError::Failed { .. }
            | StoreError::Duplicate(_)
            | StoreError::NotFound(_)
            | StoreError::Damaged { .. }
            | StoreError::Closed => Self::Store(error),
        }
    }
}

/// Keeps the targets of every site.
pub struct Targets {
    store: Arc<dyn Store>,
    configs: Arc<SiteConfigs>,
    references: References,
    collector: String,
    /// Desks of the sites that changed of late.
    desks: Mutex<HashMap<SiteId, Desk>>,
}

/// Held while a site's targets change, so that two reports of one site do not cross, and no other
/// site waits; what it guards is the site's last ladder, so that a report without news costs
/// nothing.
type Desk = Arc<sync::Mutex<Reports>>;

/// What the reports of a site were of late.
#[derive(Debug, Default)]
struct Reports {
    /// The last that the ladder follows.
    last: Option<Seen>,
    /// New rungs since then.
    rises: Option<(Instant, usize)>,
}

impl Reports {
    /// Counts new rungs; false when they are too many, which then do not count.
    fn may_rise(&mut self, new: usize, now: Instant) -> bool {
        let over = |since: Instant| now.saturating_duration_since(since) >= RISE_WINDOW;
        let (since, before) = self.rises.filter(|rises| !over(rises.0)).unwrap_or((now, 0));
        let may = before + new <= MAX_RISES;
        self.rises = Some((since, if may { before + new } else { before }));
        may
    }
}

impl std::fmt::Debug for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Targets").field("collector", &self.collector).finish_non_exhaustive()
    }
}

impl Targets {
    /// `collector` is the `host:port` at which agents reach the collector.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        configs: Arc<SiteConfigs>,
        references: References,
        collector: String,
    ) -> Self {
        Self { store, configs, references, collector, desks: Mutex::default() }
    }

    fn desk(&self, site: SiteId) -> Desk {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if desks.len() >= MAX_REMEMBERED && !desks.contains_key(&site) {
            // One in use must stay the site's only one.
            desks.retain(|_, desk| Arc::strong_count(desk) > 1);
        }
        desks.entry(site).or_default().clone()
    }

    /// Registers a target for an operator, with the series of its method, and tells its agent. Its
    /// shape was checked by whoever heard the operator.
    ///
    /// # Errors
    /// [`TargetError::Full`], [`TargetError::Plan`].
    pub async fn add(&self, spec: TargetSpec) -> Result<Target, TargetError> {
        let site = spec.site;
        let desk = self.desk(site);
        let _alone = desk.lock().await;
        let known = self.store.targets(Some(site)).await?;
        let series = default_series(&spec.method, &spec.address);
        let same = known.iter().find(|target| {
            target.spec.method == spec.method && target.spec.address == spec.address
        });
        if !same.is_some_and(|same| same.active) {
            let active = known.iter().filter(|target| target.active).count();
            if active >= MAX_TARGETS {
                return Err(TargetError::Full(MAX_TARGETS, "targets"));
            }
            self.check_room(&spec, &series, same.map(|same| same.id)).await?;
        }
        let target = self.store.upsert_target(spec, series).await?;
        self.configs.changed(site);
        Ok(target)
    }

    /// Withdraws an operator's target; its history stays, and what stood behind it stands behind
    /// what it stood behind. Where it served as a rung of the ladder, the agent's next report puts
    /// that up again.
    ///
    /// # Errors
    /// [`TargetError::Rung`], [`TargetError::Pair`], [`StoreError::NotFound`].
    pub async fn retire(&self, target: &Target) -> Result<(), TargetError> {
        let site = target.spec.site;
        if matches!(target.spec.method, Method::Mesh { .. }) {
            return Err(TargetError::Pair);
        }
        let desk = self.desk(site);
        let mut reports = desk.lock().await;
        let owned = self.store.rungs(site).await?;
        if owned.contains(&target.id) {
            return Err(TargetError::Rung);
        }
        let known = self.store.targets(Some(site)).await?;
        // The next report is compared with nothing, so that it also moves the rungs behind it.
        reports.last = None;
        self.store.retire_target(target.id).await?;
        let gone = HashSet::from([target.id]);
        for behind in known.iter().filter(|known| known.active && !owned.contains(&known.id)) {
            if behind.id != target.id && behind.spec.parent == Some(target.id) {
                let parent = ladder::heir(behind, &known, &gone, &[]);
                let spec = TargetSpec { parent, ..behind.spec.clone() };
                self.store.upsert_target(spec, Vec::new()).await?;
            }
        }
        self.configs.changed(site);
        Ok(())
    }

    /// Makes the ladder of a site what its agent sees. True when something changed.
    ///
    /// # Errors
    /// [`TargetError::Full`] when the report brings too many new rungs, with the ladder as it was, or
    /// when a site has no room for some of them, with the others up. [`TargetError::Store`]. What was
    /// done stays and the next report goes on.
    pub async fn ladder(&self, site: SiteId, seen: &Seen) -> Result<bool, TargetError> {
        let desk = self.desk(site);
        let mut reports = desk.lock().await;
        if reports.last.as_ref() == Some(seen) {
            return Ok(false);
        }
        let known = self.store.targets(Some(site)).await?;
        let owned: HashSet<TargetId> = self.store.rungs(site).await?.into_iter().collect();
        let rungs = ladder::rungs(seen, &self.references, &self.collector);
        let standing_now = |rung: &ladder::Rung| {
            known.iter().find(|target| {
                target.active
                    && target.spec.method == rung.method
                    && target.spec.address == rung.address
            })
        };
        let new = rungs.iter().filter(|rung| standing_now(rung).is_none()).count();
        if !reports.may_rise(new, Instant::now()) {
            return Err(TargetError::Full(MAX_RISES, "new rungs of an hour"));
        }
        let mut ids: Vec<Option<TargetId>> = Vec::with_capacity(rungs.len());
        let mut room = MAX_TARGETS.saturating_sub(known.iter().filter(|t| t.active).count());
        let (mut changed, mut full) = (false, false);
        for (at, rung) in rungs.iter().enumerate() {
            // What stands on two rungs, as a hop that is a reference too, is the nearer one.
            if let Some(twin) = rungs[..at].iter().position(|nearer| nearer.is_twin(rung)) {
                ids.push(ids[twin]);
                continue;
            }
            let same = standing_now(rung);
            let parent = rung.parent.and_then(|at| ids.get(at).copied().flatten());
            let spec = rung.spec(site, parent);
            let id = match same {
                // An operator's own target serves as the rung as it is.
                Some(target) if !owned.contains(&target.id) || target.spec == spec => {
                    Some(target.id)
                }
                None if room == 0 => {
                    full = true;
                    None
                }
                _ => {
                    room -= usize::from(same.is_none());
                    changed = true;
                    let series = default_series(&spec.method, &spec.address);
                    Some(self.store.upsert_rung(spec, series).await?.id)
                }
            };
            ids.push(id);
        }
        let standing: Vec<(Role, TargetId)> =
            rungs.iter().zip(ids).filter_map(|(rung, id)| Some((rung.role, id?))).collect();
        let mut gone: HashSet<TargetId> =
            known.iter().filter(|target| !target.active).map(|target| target.id).collect();
        // One that was withdrawn and is seen again stands again.
        for (_, id) in &standing {
            gone.remove(id);
        }
        for target in known.iter().filter(|target| target.active && owned.contains(&target.id)) {
            let present = standing.iter().any(|(_, id)| *id == target.id);
            if seen.tells_of(target.spec.role) && !present {
                self.store.retire_target(target.id).await?;
                gone.insert(target.id);
                changed = true;
            }
        }
        // What operators put behind a rung that has gone stands behind the one in its place.
        for target in known.iter().filter(|target| target.active && !owned.contains(&target.id)) {
            if target.spec.parent.is_some_and(|parent| gone.contains(&parent)) {
                let parent = ladder::heir(target, &known, &gone, &standing);
                let spec = TargetSpec { parent, ..target.spec.clone() };
                self.store.upsert_target(spec, Vec::new()).await?;
                changed = true;
            }
        }
        if changed {
            self.configs.changed(site);
        }
        if full {
            return Err(TargetError::Full(MAX_TARGETS, "targets"));
        }
        reports.last = Some(seen.clone());
        Ok(changed)
    }

    /// Adds the series of a device's ports. True when some were new.
    ///
    /// # Errors
    /// [`TargetError::Store`].
    pub async fn ports(
        &self,
        site: SiteId,
        group: GroupId,
        ports: &[Port],
    ) -> Result<bool, TargetError> {
        let target = self.target_of(site, group, |m| matches!(m, Method::SnmpV2c { .. })).await?;
        let Some(target) = target else { return Ok(false) };
        let desk = self.desk(site);
        let _alone = desk.lock().await;
        let known = self.store.series(Some(site)).await?;
        let wanted = series::of_ports(ports, &of_target(&known, target));
        self.add_series(site, target, wanted).await
    }

    /// Keeps what the device of a group says it is. True when the group is that of a device.
    ///
    /// # Errors
    /// [`TargetError::Store`].
    pub async fn device(
        &self,
        site: SiteId,
        group: GroupId,
        told_at: Timestamp,
        device: Device,
    ) -> Result<bool, TargetError> {
        let target = self.target_of(site, group, |m| matches!(m, Method::SnmpV2c { .. })).await?;
        let Some(target) = target else { return Ok(false) };
        if device.truncated {
            tracing::warn!(
                site = site.0,
                target = target.0,
                "a device has more interfaces than are listed"
            );
        }
        self.store.keep_device(target, told_at, device).await?;
        Ok(true)
    }

    /// Adds the series of the disks, interfaces and sensors of the agent's own machine. True when
    /// some were new.
    ///
    /// # Errors
    /// [`TargetError::Store`].
    pub async fn host(&self, site: SiteId, parts: &HostParts) -> Result<bool, TargetError> {
        let desk = self.desk(site);
        let _alone = desk.lock().await;
        let targets = self.store.targets(Some(site)).await?;
        let host = targets.iter().find(|target| target.active && target.spec.role == Role::Host);
        let Some(host) = host.filter(|host| host.spec.method == Method::Host) else {
            return Ok(false);
        };
        let known = self.store.series(Some(site)).await?;
        let wanted = series::of_host(parts, &of_target(&known, host.id));
        self.add_series(site, host.id, wanted).await
    }

    /// Whether the plan of the site has room for one more target, which may be one that comes back
    /// with the series that it had.
    async fn check_room(
        &self,
        spec: &TargetSpec,
        series: &[NewSeriesSpec],
        back: Option<TargetId>,
    ) -> Result<(), TargetError> {
        let mut columns: Vec<(u32, u32, String)> = Vec::new();
        if let Some(back) = back {
            let had = self.store.series(Some(spec.site)).await?;
            let had = had.into_iter().filter(|series| series.target == back);
            columns.extend(had.map(|series| (series.metric, series.instance, series.label)));
        }
        for new in series {
            if !columns.iter().any(|known| (known.0, known.1) == (new.metric, new.instance)) {
                columns.push((new.metric, new.instance, new.label.clone()));
            }
        }
        let columns = columns.iter().map(|(m, i, label)| (*m, *i, label.as_str()));
        let size = self.plan_size(spec.site).await?.and(wire::target_size(spec, columns));
        for (what, count, most) in [
            ("bytes", size.bytes, MOST.bytes),
            ("groups", size.groups, MOST.groups),
            ("series", size.series, MOST.series),
        ] {
            if count > most {
                return Err(TargetError::Plan { what, count, most });
            }
        }
        Ok(())
    }

    async fn plan_size(&self, site: SiteId) -> Result<PlanSize, StoreError> {
        let (_, groups) = self.store.groups(site).await?;
        let mesh = self.store.mesh_plan(site).await?;
        Ok(wire::plan_size(&groups, &self.references, &mesh))
    }

    async fn target_of(
        &self,
        site: SiteId,
        group: GroupId,
        is: impl Fn(&Method) -> bool,
    ) -> Result<Option<TargetId>, TargetError> {
        let (_, groups) = self.store.groups(site).await?;
        let group = groups.into_iter().find(|known| known.id == group);
        let target = group.and_then(|group| group.targets.into_iter().next());
        Ok(target.filter(|target| is(&target.spec.method)).map(|target| target.id))
    }

    async fn add_series(
        &self,
        site: SiteId,
        target: TargetId,
        mut wanted: Vec<NewSeriesSpec>,
    ) -> Result<bool, TargetError> {
        if wanted.is_empty() {
            return Ok(false);
        }
        let plan = self.plan_size(site).await?;
        // Of what is measured now: the series of withdrawn targets are history.
        let room = MOST.series.saturating_sub(plan.series);
        let mut bytes = plan.bytes;
        let fitting = wanted.iter().take(room).take_while(|new| {
            bytes += wire::column_bytes(new.metric, new.instance, &new.label);
            bytes <= MOST.bytes
        });
        let fitting = fitting.count();
        if fitting < wanted.len() {
            tracing::warn!(
                site = site.0,
                target = target.0,
                refused = wanted.len() - fitting,
                "the plan of the site has as many series as it may"
            );
            wanted.truncate(fitting);
        }
        if wanted.is_empty() {
            return Ok(false);
        }
        let columns = wanted.into_iter().map(|spec| NewSeries {
            target,
            metric: spec.metric,
            instance: spec.instance,
            label: spec.label,
            detail: spec.detail,
        });
        self.store.add_series(site, columns.collect()).await?;
        self.configs.changed(site);
        Ok(true)
    }
}

fn of_target(known: &[Series], target: TargetId) -> Vec<&Series> {
    known.iter().filter(|series| series.target == target).collect()
}

#[cfg(test)]
mod tests;
