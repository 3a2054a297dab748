//! Where plans arrive: checked, tried out, kept when they prove themselves.

use std::{sync::Arc, time::Duration};

use proto::v1;
use tokio::{sync::watch, time::Instant};

use super::plans::{PlanStore, PlanStoreError};
use crate::{metrics::Metrics, schedule::runner::Runner, uplink::PlanState, wire};

/// A plan under which the agent lived this long is a good one.
const PROBATION: Duration = Duration::from_mins(2);

/// The plan in force and the one before it.
pub struct Desk {
    store: PlanStore,
    runner: Runner,
    state: watch::Sender<PlanState>,
    references: watch::Sender<Vec<String>>,
    metrics: Arc<Metrics>,
    current: Option<v1::Config>,
    on_probation_until: Option<Instant>,
    given_up: Option<u64>,
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
    ) -> Self {
        let mut desk = Self {
            store,
            runner,
            state,
            references: watch::channel(Vec::new()).0,
            metrics,
            current: None,
            on_probation_until: None,
            given_up: None,
        };
        let kept = match desk.store.load() {
            Ok(kept) => kept,
            Err(error) => {
                tell(&error);
                return desk;
            }
        };
        desk.given_up = kept.given_up;
        if let Some(config) = kept.next {
            match desk.swap(&config) {
                Ok(()) => desk.on_probation_until = Some(Instant::now() + PROBATION),
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
        if let Some(version) = desk.given_up {
            let reason = "the agent died again and again with this configuration".to_owned();
            desk.refuse(version, reason);
        }
        desk
    }

    /// The addresses that the collector names as references, as they change.
    #[must_use]
    pub fn references(&self) -> watch::Receiver<Vec<String>> {
        self.references.subscribe()
    }

    /// Takes a plan from the collector, and says what became of it.
    pub fn offer(&mut self, config: &v1::Config) {
        let version = config.version;
        if self.current.as_ref() == Some(config) {
            self.report(version, Ok(()));
            return;
        }
        if self.given_up == Some(version) {
            self.refuse(version, "the agent died again and again with it".to_owned());
            return;
        }
        // Before the swap, so that a plan that kills the agent at once is known at its next start.
        if let Err(error) = wire::plan(config) {
            self.refuse(version, error.to_string());
            return;
        }
        self.store.try_out(config).unwrap_or_else(|error| tell(&error));
        match self.swap(config) {
            Ok(()) => {
                self.on_probation_until = Some(Instant::now() + PROBATION);
                self.report(version, Ok(()));
            }
            Err(reason) => {
                // The file may hold the plan in force, when that was on probation itself.
                let undone = match (&self.current, self.on_probation_until) {
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
        let groups = plan.groups.len();
        self.runner.apply(plan).map_err(|error| error.to_string())?;
        tracing::info!(version = config.version, groups, "the plan is applied");
        self.current = Some(config.clone());
        self.state.send_modify(|state| state.applied = config.version);
        self.references.send_if_modified(|references| {
            let changed = *references != config.references;
            references.clone_from(&config.references);
            changed
        });
        Ok(())
    }

    fn refuse(&self, version: u64, reason: String) {
        self.metrics.plans_refused.inc();
        tracing::warn!(version, reason, "the plan is refused");
        self.report(version, Err(reason));
    }

    fn report(&self, version: u64, outcome: Result<(), String>) {
        self.state.send_modify(|state| state.report = Some(status(version, outcome)));
    }

    /// Now and then: declares what was missed, and keeps a plan that proved itself.
    pub fn care(&mut self) {
        self.runner.declare();
        if self.on_probation_until.is_some_and(|until| until <= Instant::now()) {
            self.on_probation_until = None;
            self.store.promote().unwrap_or_else(|error| tell(&error));
        }
    }

    /// Stops measuring. A stop during a plan's probation is not the plan's fault.
    pub async fn stop(&mut self) {
        self.runner.stop().await;
        if let (Some(_), Some(current)) = (self.on_probation_until, &self.current) {
            self.store.try_out(current).unwrap_or_else(|error| tell(&error));
        }
    }
}

fn tell(error: &PlanStoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "the plan is not kept on the disk");
}

#[cfg(test)]
mod tests;
