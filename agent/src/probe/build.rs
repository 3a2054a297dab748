//! From a group of the plan to the probe that measures it.

use async_trait::async_trait;

use super::{
    BuildError, Outcome, Probe, ProbeError, Round, dns::DnsProbe, env::Env, host::HostProbe,
    http::HttpProbe, icmp::IcmpProbe, mesh::MeshProbe, service::ServiceProbe, snmp::SnmpProbe,
    tcp::TcpProbe,
};
use crate::logs::chain;
use crate::plan::{Column, Group, Metric, ProbeKind};

/// Builds the probe of `group`. Nothing is asked of the network yet.
pub fn build(group: &Group, env: &Env) -> Result<Box<dyn Probe>, BuildError> {
    Ok(match &group.probe {
        ProbeKind::Icmp { targets, count, spacing, payload_bytes } => {
            Box::new(IcmpProbe::new(group, targets, *count, *spacing, *payload_bytes, env)?)
        }
        ProbeKind::Tcp { targets } => Box::new(TcpProbe::new(group, targets, env)?),
        ProbeKind::Dns { resolvers, name, record_type } => {
            Box::new(DnsProbe::new(group, resolvers, name, *record_type, env)?)
        }
        ProbeKind::Http { urls } => Box::new(HttpProbe::new(group, urls, env)?),
        ProbeKind::Snmp { address, credentials, max_repetitions } => {
            if let Err(error) = env.allow.permits(address.ip()) {
                tracing::warn!(target = %address, error = chain(&error), "a target is not probed");
                return Ok(Box::new(DeniedDevice {
                    env: env.clone(),
                    columns: group.columns.clone(),
                }));
            }
            Box::new(SnmpProbe::new(
                group.id,
                *address,
                credentials.clone(),
                *max_repetitions,
                group.timeout,
                group.columns.clone(),
            ))
        }
        ProbeKind::Host => Box::new(HostProbe::new(group, env)?),
        ProbeKind::Mesh { peers, count, spacing } => {
            Box::new(MeshProbe::new(group, peers, *count, *spacing, env)?)
        }
        ProbeKind::Service(service) => Box::new(ServiceProbe::new(group, service, env)?),
    })
}

/// Refuses a column that the probe can not fill: its metric is another probe's, or its target does
/// not exist.
pub(super) fn check_columns(
    group: &Group,
    targets: usize,
    knows: impl Fn(Metric) -> bool,
) -> Result<(), BuildError> {
    for column in &group.columns {
        if !knows(column.metric) {
            return Err(BuildError::Metric(column.metric));
        }
        if usize::from(column.target) >= targets {
            return Err(BuildError::Index { index: column.target, targets });
        }
    }
    Ok(())
}

/// Stands for a device that the allow-list denies: each round says that it was not asked.
struct DeniedDevice {
    env: Env,
    columns: Vec<Column>,
}

#[async_trait]
impl Probe for DeniedDevice {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let cell = |column: &Column| {
            (column.metric == Metric::SnmpOutcome).then_some(Outcome::NotAsked as i64)
        };
        let cells = self.columns.iter().map(cell).collect();
        Ok(Round { boot_ns, cells, changed: false, events: Vec::new() })
    }
}
