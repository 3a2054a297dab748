//! Connection attempts: how long a TCP handshake takes, or how it failed.

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use super::{
    BuildError, Cell, Changes, Outcome, Probe, ProbeError, Round,
    dial::{self, Endpoint},
    env::Env,
};
use crate::plan::{Group, Metric};

/// Measures the targets of one group.
pub struct TcpProbe {
    env: Env,
    group: Group,
    targets: Vec<Endpoint>,
    changes: Changes,
}

/// What one attempt found.
#[derive(Debug, Clone, Copy)]
struct Found {
    outcome: Outcome,
    connect_us: Cell,
}

impl TcpProbe {
    /// Checks the targets' form; nothing is resolved yet.
    pub fn new(group: &Group, targets: &[String], env: &Env) -> Result<Self, BuildError> {
        super::build::check_columns(group, targets.len(), |metric| {
            matches!(metric, Metric::TcpOutcome | Metric::TcpConnectTime)
        })?;
        let targets = targets
            .iter()
            .map(|text| Endpoint::parse(text).ok_or_else(|| BuildError::Target(text.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let changes = Changes::new(targets.len());
        Ok(Self { env: env.clone(), group: group.clone(), targets, changes })
    }

    async fn attempt(&self, target: &Endpoint) -> Found {
        let deadline = Instant::now() + self.group.timeout;
        let (names, allow) = (&self.env.names, &self.env.allow);
        let addresses = match dial::resolve(names, allow, target, deadline).await {
            Ok(addresses) => addresses,
            Err(outcome) => return Found { outcome, connect_us: None },
        };
        match timeout_at(deadline, dial::connect(&addresses)).await {
            Ok(Ok((_stream, connect_us))) => {
                Found { outcome: Outcome::Ok, connect_us: Some(connect_us) }
            }
            Ok(Err(outcome)) => Found { outcome, connect_us: None },
            Err(_elapsed) => Found { outcome: Outcome::Timeout, connect_us: None },
        }
    }
}

#[async_trait]
impl Probe for TcpProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let this = &*self;
        let found: Vec<Found> = super::ask_all(this.targets.len(), this.group.timeout, |index| {
            this.attempt(&this.targets[index])
        })
        .await;
        let changed = self.changes.note(found.iter().map(|found| found.outcome));
        let cells = super::cells(&self.group.columns, &found, |metric, found| {
            if metric == Metric::TcpOutcome { Some(found.outcome as i64) } else { found.connect_us }
        });
        Ok(Round { boot_ns, cells, changed, events: Vec::new() })
    }
}
