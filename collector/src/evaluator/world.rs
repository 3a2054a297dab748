//! What the evaluator knows: sites, agents, targets and open incidents from the store, the last
//! rounds and readings from the feed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::chain::chain;
use domain::{
    agent::AgentStatus,
    alert::{
        evaluate::{Firing, SiteView, open_of, threshold_cause},
        rounds::{Rounds, Seen, is_good},
        rules::{Figure, Rule},
        threshold::{Alert, AlertState},
    },
    contractor::Contractor,
    id::{AgentId, GroupId, IncidentId, Layout, SiteId, TargetId},
    incident::{Incident, IncidentKind},
    metric::{self, Outcome},
    site::Site,
    target::{Series, Target},
};
use jiff::{SignedDuration, Timestamp};
use store::{IncidentFilter, StoreError, planted};

use crate::{context::Context, feed::FeedItem};

/// Layouts remembered at most; the cache starts anew beyond.
const MAX_LAYOUTS: usize = 50_000;
/// Key of the state "this target answered once".
const ANSWERED: &str = "answered:";

/// Where in a layout a rule finds what it reads.
#[derive(Debug, Clone, Copy)]
struct Reading {
    rule: usize,
    over: usize,
    under: Option<usize>,
}

/// A layout, prepared for the rounds that come under it.
#[derive(Debug)]
struct Prepared {
    columns: Vec<Series>,
    outcomes: Vec<usize>,
    readings: Vec<Reading>,
}

/// One watched figure of one target and instance.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    /// Index of the rule.
    pub(super) rule: usize,
    target: TargetId,
    instance: String,
    alert: Alert,
    /// Newest reading.
    pub(super) reading: f64,
    /// Its time.
    pub(super) at: Timestamp,
}

/// A site and what was heard of it.
#[derive(Debug, Default)]
struct Known {
    targets: Vec<Target>,
    /// Targets of open incidents that the ladder registered: how they go is told rightly.
    ladder: BTreeSet<TargetId>,
    rounds: BTreeMap<TargetId, Rounds>,
    watched: BTreeMap<(usize, TargetId, String), Watched>,
    open: Vec<Incident>,
    heard: Option<Timestamp>,
    /// End of the last silence of its agent: failures measured before it are history.
    back_at: Option<Timestamp>,
}

/// Everything that the evaluator knows.
///
/// What bounds its maps: `sites`, `contractors` and `agents` hold the store's registered ones; `known`
/// those sites; its `rounds`, `answered` and `new_states` at most one entry per target
/// ([`crate::targets::MAX_TARGETS`] of a site are active, the others are forgotten with each refresh),
/// `watched` one per rule ([`crate::config::MAX_THRESHOLDS`] and the default ones) and registered
/// series ([`proto::limits::MAX_SERIES`] of a site); `layouts` has [`MAX_LAYOUTS`].
#[derive(Debug)]
pub(super) struct World {
    /// Before this instant silence opens nothing: agents are coming back.
    grace_until: Timestamp,
    sites: HashMap<SiteId, Site>,
    contractors: Vec<Contractor>,
    agents: HashMap<AgentId, SiteId>,
    known: HashMap<SiteId, Known>,
    layouts: HashMap<(GroupId, Layout), Prepared>,
    answered: BTreeSet<TargetId>,
    new_states: BTreeMap<String, Option<String>>,
    dirty: HashSet<SiteId>,
    stale: bool,
    incidents_loaded: bool,
}

impl World {
    pub(super) fn new(grace_until: Timestamp) -> Self {
        Self {
            grace_until,
            sites: HashMap::new(),
            contractors: Vec::new(),
            agents: HashMap::new(),
            known: HashMap::new(),
            layouts: HashMap::new(),
            answered: BTreeSet::new(),
            new_states: BTreeMap::new(),
            dirty: HashSet::new(),
            stale: true,
            incidents_loaded: false,
        }
    }

    /// True when something came that the last refresh did not know.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    pub(super) fn contractors(&self) -> &[Contractor] {
        &self.contractors
    }

    /// Reads sites, contractors, agents and targets, and once the open incidents.
    pub(super) async fn refresh(&mut self, context: &Context) {
        self.stale = false;
        if let Err(error) = self.read(context).await {
            self.stale = true;
            tracing::error!(error = chain(&error), "cannot read what to watch");
        }
    }

    async fn read(&mut self, context: &Context) -> Result<(), StoreError> {
        let store = &context.store;
        // Everything is read before anything is replaced: a target that is missing for a moment
        // would look withdrawn.
        let (sites, contractors) = (store.sites().await?, store.contractors().await?);
        let (agents, targets) = (store.agents().await?, store.targets(None).await?);
        self.sites = sites.into_iter().map(|site| (site.id, site)).collect();
        self.contractors = contractors;
        self.agents.clear();
        for known in self.known.values_mut() {
            known.targets.clear();
            known.heard = None;
        }
        for agent in agents.iter().filter(|agent| agent.status == AgentStatus::Active) {
            self.agents.insert(agent.id, agent.site);
            self.heard(agent.site, agent.last_seen.unwrap_or(agent.enrolled_at));
        }
        for target in targets {
            self.known.entry(target.spec.site).or_default().targets.push(target);
        }
        if !self.incidents_loaded {
            for (key, _) in store.alert_states().await? {
                let id = key.strip_prefix(ANSWERED).and_then(|id| id.parse().ok());
                self.answered.extend(id.map(TargetId));
            }
            let filter =
                IncidentFilter { open_only: true, limit: u32::MAX, ..IncidentFilter::default() };
            let open = store.incidents(filter).await?;
            for known in self.known.values_mut() {
                known.open.clear();
            }
            for incident in open {
                self.known.entry(incident.site).or_default().open.push(incident);
            }
            self.incidents_loaded = true;
        }
        // Asked while the target stands: once it is withdrawn, the ladder knows it no more.
        for (site, known) in &mut self.known {
            let about: BTreeSet<_> = known.open.iter().filter_map(|open| open.target).collect();
            known.ladder.retain(|target| about.contains(target));
            if about.iter().any(|target| !known.ladder.contains(target)) {
                let rungs = store.rungs(*site).await?;
                known.ladder.extend(rungs.into_iter().filter(|rung| about.contains(rung)));
            }
        }
        self.forget_withdrawn();
        Ok(())
    }

    /// What is no longer measured needs no memory.
    fn forget_withdrawn(&mut self) {
        let mut active = BTreeSet::new();
        for known in self.known.values_mut() {
            active.extend(known.targets.iter().filter(|target| target.active).map(|t| t.id));
            known.rounds.retain(|target, _| active.contains(target));
            known.watched.retain(|(_, target, _), _| active.contains(target));
        }
        for gone in self.answered.extract_if(.., |target| !active.contains(target)) {
            self.new_states.insert(format!("{ANSWERED}{gone}"), None);
        }
        let agents = &self.agents;
        let sites = &self.sites;
        self.known.retain(|site, known| {
            sites.contains_key(site)
                || !known.open.is_empty()
                || agents.values().any(|at| at == site)
        });
    }

    /// False until the open incidents are known: without them everything would open anew.
    pub(super) fn is_ready(&self) -> bool {
        self.incidents_loaded
    }

    /// Open incidents of rules that the configuration has no more.
    pub(super) fn without_rule<'a>(
        &'a self,
        rules: &'a [Rule],
        site: SiteId,
    ) -> impl Iterator<Item = &'a Incident> {
        let open = self.known.get(&site).map(|known| known.open.as_slice()).unwrap_or_default();
        open.iter().filter(|incident| incident.kind == IncidentKind::Threshold).filter(|incident| {
            let rule = incident.key.split(':').nth(1);
            !rules.iter().any(|known| Some(known.name.as_ref()) == rule)
        })
    }

    fn heard(&mut self, site: SiteId, at: Timestamp) {
        let heard = &mut self.known.entry(site).or_default().heard;
        *heard = (*heard).max(Some(at));
    }

    /// Notes the newest message of every agent.
    pub(super) fn notice_life(&mut self, context: &Context) {
        for (agent, live) in context.live.all() {
            match self.agents.get(&agent) {
                Some(site) => self.heard(*site, live.last_message),
                // Enrolled since the last refresh.
                None if live.connected => self.stale = true,
                None => {}
            }
        }
    }

    /// Takes a committed round in.
    pub(super) async fn hear(&mut self, context: &Context, item: FeedItem) {
        if (item.late && !planted::is("late-alerts")) || !item.sure {
            return;
        }
        let key = (item.group, item.layout);
        if !self.layouts.contains_key(&key) {
            self.stale = true;
            match context.store.layout(item.group, item.layout).await {
                Ok(Some(columns)) => {
                    if self.layouts.len() >= MAX_LAYOUTS {
                        self.layouts.clear();
                    }
                    self.layouts.insert(key, prepare(columns, &context.config.alerts.rules));
                }
                Ok(None) => return,
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(error, group = item.group.0, "cannot read a layout");
                    return;
                }
            }
        }
        let Some(prepared) = self.layouts.get(&key) else { return };
        let rows = item.columns.times_ms.len();
        if prepared.columns.len() * rows != item.columns.cells.len() {
            return;
        }
        let known = self.known.entry(item.site).or_default();
        let silent = known.open.iter().any(|open| open.kind == IncidentKind::AgentSilent);
        let first_ms = item.columns.times_ms.first().copied().unwrap_or(0);
        for (row, time_ms) in item.columns.times_ms.iter().enumerate() {
            let Ok(at) = Timestamp::from_millisecond(item.time_ms + time_ms - first_ms) else {
                continue;
            };
            // A site leaves the unknown by fresh measures only: what failed during a silence that was
            // told as such is not told again. What answered ends an incident, whenever it was.
            let past = silent || known.back_at.is_some_and(|back| at < back);
            let cell = |column: usize| item.columns.cells[column * rows + row];
            for column in &prepared.outcomes {
                let Some(outcome) = cell(*column).and_then(Outcome::from_code) else { continue };
                if past && is_good(outcome) != Some(true) {
                    continue;
                }
                let target = prepared.columns[*column].target;
                known.rounds.entry(target).or_default().push(Seen { at, outcome });
                if is_good(outcome) == Some(true) && self.answered.insert(target) {
                    let key = format!("{ANSWERED}{target}");
                    self.new_states.insert(key, Some("1".to_owned()));
                }
            }
            for reading in prepared.readings.iter().filter(|_| !past) {
                let rule = &context.config.alerts.rules[reading.rule];
                let series = &prepared.columns[reading.over];
                if let Some(value) = read(rule, &prepared.columns, reading, &cell, at) {
                    known.watch(reading.rule, rule, series, value, at);
                }
            }
        }
        self.dirty.insert(item.site);
    }

    /// Sites to look at, and forgets them.
    pub(super) fn take_dirty(&mut self, sweep: bool) -> Vec<SiteId> {
        let dirty = std::mem::take(&mut self.dirty);
        if sweep { self.known.keys().copied().collect() } else { dirty.into_iter().collect() }
    }

    /// Thresholds that a site passes now.
    pub(super) fn firing<'a>(&self, rules: &'a [Rule], site: SiteId) -> Vec<Firing<'a>> {
        let Some(known) = self.known.get(&site) else { return Vec::new() };
        known
            .watched
            .values()
            .filter_map(|watched| match watched.alert.state {
                AlertState::Firing { since } => Some(Firing {
                    rule: &rules[watched.rule],
                    target: watched.target,
                    instance: watched.instance.clone(),
                    since,
                    reading: watched.reading,
                }),
                AlertState::Inactive | AlertState::Pending { .. } => None,
            })
            .collect()
    }

    /// Open incidents of thresholds that were read as cleared.
    pub(super) fn cleared(&self, rules: &[Rule], site: SiteId) -> Vec<(&Incident, &Watched)> {
        let Some(known) = self.known.get(&site) else { return Vec::new() };
        known
            .watched
            .values()
            .filter(|watched| watched.alert.state == AlertState::Inactive)
            .filter_map(|watched| {
                let rule = &rules[watched.rule];
                let cause = threshold_cause(rule, watched.target, &watched.instance);
                open_of(&known.open, &cause).map(|incident| (incident, watched))
            })
            .collect()
    }

    /// What is known of a site; `None` when it is not registered (any more).
    pub(super) fn view<'a>(
        &'a self,
        site: SiteId,
        firing: &'a [Firing<'a>],
        now: Timestamp,
    ) -> Option<SiteView<'a>> {
        let known = self.known.get(&site)?;
        Some(SiteView {
            site: self.sites.get(&site)?,
            targets: &known.targets,
            ladder: &known.ladder,
            rounds: &known.rounds,
            answered: &self.answered,
            heard: known.heard,
            settled: now >= self.grace_until,
            firing,
            open: &known.open,
        })
    }

    /// States to save, and forgets them.
    pub(super) fn take_states(&mut self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.new_states).into_iter().collect()
    }

    /// The store kept the decisions.
    pub(super) fn saved(&mut self, opened: Vec<Incident>, closed: &[IncidentId], now: Timestamp) {
        for incident in opened {
            self.known.entry(incident.site).or_default().open.push(incident);
        }
        for known in self.known.values_mut() {
            let ends = |open: &Incident| {
                open.kind == IncidentKind::AgentSilent && closed.contains(&open.id)
            };
            if known.open.iter().any(ends) {
                known.back_at = Some(now);
            }
            known.open.retain(|incident| !closed.contains(&incident.id));
        }
    }

    /// The store kept no states: they come again, unless newer ones stand for them.
    pub(super) fn states_not_saved(&mut self, states: Vec<(String, Option<String>)>) {
        for (key, value) in states {
            self.new_states.entry(key).or_insert(value);
        }
    }

    /// Incidents are open in the store of which nothing is known here: read them anew.
    pub(super) fn reload_incidents(&mut self) {
        (self.incidents_loaded, self.stale) = (false, true);
    }
}

impl Known {
    fn watch(&mut self, index: usize, rule: &Rule, series: &Series, value: f64, at: Timestamp) {
        let target = self.targets.iter().find(|target| target.id == series.target);
        let Some(spec) = target.map(|target| &target.spec) else { return };
        if !rule.roles.is_empty() && !rule.roles.contains(&spec.role) {
            return;
        }
        let instance = series.label.clone();
        let key = (index, series.target, instance);
        let open = &self.open;
        let watched = self.watched.entry(key).or_insert_with_key(|(_, target, instance)| {
            // An incident of before the restart goes on: only a reading beyond `clear` ends it.
            let cause = threshold_cause(rule, *target, instance);
            let before = open_of(open, &cause);
            Watched {
                rule: index,
                target: *target,
                instance: instance.clone(),
                alert: before
                    .map(|incident| Alert::firing_since(incident.started_at))
                    .unwrap_or_default(),
                reading: value,
                at,
            }
        });
        let max_gap = SignedDuration::from_secs(3 * i64::from(spec.period_s));
        if watched.alert.last().is_none_or(|last| at > last) {
            (watched.reading, watched.at) = (value, at);
        }
        watched.alert.observe(&rule.threshold, value, at, max_gap);
    }
}

fn prepare(columns: Vec<Series>, rules: &[Rule]) -> Prepared {
    let is_outcome =
        |series: &Series| metric::by_number(series.metric).is_some_and(metric::Metric::is_outcome);
    let outcomes = (0..columns.len()).filter(|i| is_outcome(&columns[*i])).collect();
    let mut readings = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let (wanted, under) = match rule.figure {
            Figure::Value(number) | Figure::DaysLeft(number) => (number, None),
            Figure::Ratio(over, under) => (over, Some(under)),
        };
        for (over, series) in columns.iter().enumerate().filter(|(_, s)| s.metric == wanted) {
            let beside = |other: &Series, number: u32| {
                other.metric == number
                    && (other.target, other.instance, &other.label)
                        == (series.target, series.instance, &series.label)
            };
            let under = under.map(|number| columns.iter().position(|s| beside(s, number)));
            match under {
                None => readings.push(Reading { rule: index, over, under: None }),
                Some(Some(under)) => {
                    readings.push(Reading { rule: index, over, under: Some(under) });
                }
                // Half a ratio says nothing.
                Some(None) => {}
            }
        }
    }
    Prepared { columns, outcomes, readings }
}

#[expect(clippy::cast_precision_loss, reason = "a reading to compare, not to count with")]
fn read(
    rule: &Rule,
    columns: &[Series],
    reading: &Reading,
    cell: &dyn Fn(usize) -> Option<i64>,
    at: Timestamp,
) -> Option<f64> {
    let scaled = |column: usize| {
        let metric = metric::by_number(columns[column].metric)?;
        Some(metric.scale(cell(column)? as f64))
    };
    let over = scaled(reading.over)?;
    match (rule.figure, reading.under) {
        (Figure::DaysLeft(_), _) => Some((over - at.as_second() as f64) / 86_400.0),
        (Figure::Ratio(..), Some(under)) => {
            let under = scaled(under)?;
            (under > 0.0).then(|| over / under)
        }
        (Figure::Value(_) | Figure::Ratio(..), _) => Some(over),
    }
}
