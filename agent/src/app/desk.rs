//! Where plans arrive: checked, tried out, kept when they prove themselves.
//!
//! A plan proves itself by [`probation`]: two minutes and a cycle of its groups, with the collector
//! in reach at their end, without too much memory and without too many rounds missed for overload.
//! One that does not is given up for the last that did.

mod probation;

use std::sync::Arc;

use proto::v1;
use tokio::sync::watch;

use self::probation::{Health, Probation, Verdict};
use super::plans::{PlanStore, PlanStoreError};
use crate::{
    logs::chain, metrics::Metrics, plan::Reflected, schedule::runner::Runner, uplink::PlanState,
    wire,
};

/// The plan in force and the one before it.
pub struct Desk {
    store: PlanStore,
    runner: Runner,
    state: watch::Sender<PlanState>,
    references: watch::Sender<Vec<String>>,
    reflected: watch::Sender<Vec<Reflected>>,
    metrics: Arc<Metrics>,
    current: Option<v1::Config>,
    on_probation: Option<Probation>,
    /// Version of a plan that is not tried again, and why.
    given_up: Option<(u64, String)>,
    /// Memory that a plan may make the agent use, bytes.
    memory_limit: u64,
    health: fn(&Metrics) -> Health,
}

fn status(version: u64, outcome: Result<(), String>) -> v1::ConfigStatus {
    let applied = outcome.is_ok();
    v1::ConfigStatus { version, applied, reason: outcome.err().unwrap_or_default() }
}

impl Desk {
    /// Starts from what the disk holds: the plan whose probation was cut short, else the good one.
    pub fn new(
        store: PlanStore,
        runner: Runner,
        state: watch::Sender<PlanState>,
        metrics: Arc<Metrics>,
        memory_limit: u64,
    ) -> Self {
        let mut desk = Self {
            store,
            runner,
            state,
            references: watch::channel(Vec::new()).0,
            reflected: watch::channel(Vec::new()).0,
            metrics,
            current: None,
            on_probation: None,
            given_up: None,
            memory_limit,
            health: Health::now,
        };
        let kept = match desk.store.load() {
            Ok(kept) => kept,
            Err(error) => {
                tell(&error);
                return desk;
            }
        };
        let died = "the agent died again and again with this configuration";
        desk.given_up = kept.given_up.map(|version| (version, died.to_owned()));
        if let Some(config) = kept.next {
            let before = (desk.health)(&desk.metrics);
            match desk.swap(&config) {
                Ok(()) => desk.begin_probation(&config, before),
                Err(reason) => {
                    desk.refuse(config.version, reason);
                    desk.store.forget_next().unwrap_or_else(|error| tell(&error));
                }
            }
        }
        if let Some(config) = kept.good.filter(|_| desk.current.is_none())
            && let Err(reason) = desk.swap(&config)
        {
            desk.refuse(config.version, reason);
        }
        if let Some((version, reason)) = desk.given_up.clone() {
            desk.refuse(version, reason);
        }
        desk
    }

    /// The addresses that the collector names as references, as they change.
    #[must_use]
    pub fn references(&self) -> watch::Receiver<Vec<String>> {
        self.references.subscribe()
    }

    /// Whose requests the collector wants answered, as it changes.
    #[must_use]
    pub fn reflected(&self) -> watch::Receiver<Vec<Reflected>> {
        self.reflected.subscribe()
    }

    /// Takes a plan from the collector, and says what became of it.
    pub fn offer(&mut self, config: &v1::Config) {
        let version = config.version;
        if self.current.as_ref() == Some(config) {
            self.report(version, Ok(()));
            return;
        }
        if let Some((_, reason)) = self.given_up.as_ref().filter(|(given, _)| *given == version) {
            self.refuse(version, reason.clone());
            return;
        }
        // Before the swap, so that a plan that kills the agent at once is known at its next start.
        if let Err(error) = wire::plan(config) {
            self.refuse(version, error.to_string());
            return;
        }
        self.store.try_out(config).unwrap_or_else(|error| tell(&error));
        let before = (self.health)(&self.metrics);
        match self.swap(config) {
            Ok(()) => {
                self.begin_probation(config, before);
                self.report(version, Ok(()));
            }
            Err(reason) => {
                // The file may hold the plan in force, when that was on probation itself.
                let undone = match (&self.current, self.on_probation) {
                    (Some(current), Some(_)) => self.store.try_out(current),
                    (Some(_) | None, _) => self.store.forget_next(),
                };
                undone.unwrap_or_else(|error| tell(&error));
                self.refuse(version, reason);
            }
        }
    }

    fn swap(&mut self, config: &v1::Config) -> Result<(), String> {
        let plan = wire::plan(config).map_err(|error| error.to_string())?;
        let (groups, reflected) = (plan.groups.len(), plan.reflected.clone());
        self.runner.apply(plan).map_err(|error| error.to_string())?;
        tracing::info!(version = config.version, groups, "the plan is applied");
        self.current = Some(config.clone());
        self.state.send_modify(|state| state.applied = config.version);
        self.reflected.send_if_modified(|links| {
            let changed = *links != reflected;
            *links = reflected;
            changed
        });
        self.references.send_if_modified(|references| {
            let changed = *references != config.references;
            references.clone_from(&config.references);
            changed
        });
        Ok(())
    }

    fn begin_probation(&mut self, config: &v1::Config, before: Health) {
        self.on_probation = Some(Probation::begin(config, before, self.memory_limit));
    }

    /// Gives up the plan on probation for the last-known-good one. Without one, nothing is measured:
    /// the school's machine comes first.
    fn give_up(&mut self, reason: String) {
        self.on_probation = None;
        let Some(failed) = self.current.take() else { return };
        self.store.forget_next().unwrap_or_else(|error| tell(&error));
        self.given_up = Some((failed.version, reason.clone()));
        let good = self.store.good();
        let (instead, has_good) = (good.clone().unwrap_or_default(), good.is_some());
        match self.swap(&instead) {
            Ok(()) if has_good => {}
            Ok(()) => self.current = None,
            Err(reason) => self.refuse(instead.version, reason),
        }
        self.refuse(failed.version, reason);
    }

    fn refuse(&self, version: u64, reason: String) {
        self.metrics.plans_refused.inc();
        tracing::warn!(version, reason, "the plan is refused");
        self.report(version, Err(reason));
    }

    fn report(&self, version: u64, outcome: Result<(), String>) {
        self.state.send_modify(|state| state.report = Some(status(version, outcome)));
    }

    /// Now and then: declares what was missed, keeps a plan that proved itself, and gives up one that
    /// did not.
    pub fn care(&mut self) {
        self.runner.declare();
        let Some(probation) = self.on_probation else { return };
        match probation.judge((self.health)(&self.metrics)) {
            Verdict::Wait => {}
            Verdict::Good => {
                self.on_probation = None;
                self.store.promote().unwrap_or_else(|error| tell(&error));
            }
            Verdict::Failed(reason) => self.give_up(reason),
        }
    }

    /// Stops measuring. A stop during a plan's probation is not the plan's fault.
    pub async fn stop(&mut self) {
        self.runner.stop().await;
        if let (Some(_), Some(current)) = (self.on_probation, &self.current) {
            self.store.try_out(current).unwrap_or_else(|error| tell(&error));
        }
    }
}

fn tell(error: &PlanStoreError) {
    tracing::error!(error = chain(error), "the plan is not kept on the disk");
}

#[cfg(test)]
mod tests;
