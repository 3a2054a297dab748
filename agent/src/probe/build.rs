//! From a group of the plan to the probe that measures it.

use super::{
    BuildError, Probe, dns::DnsProbe, env::Env, host::HostProbe, http::HttpProbe, icmp::IcmpProbe,
    tcp::TcpProbe,
};
use crate::plan::{Group, Metric, ProbeKind};

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
        ProbeKind::Snmp { .. } => return Err(BuildError::Kind("SNMP")),
        ProbeKind::Host => Box::new(HostProbe::new(group, env)?),
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
