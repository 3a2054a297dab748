//! The switch of a benched site, and what the process has used.

use std::time::Duration;

use collector::targets::Port;
use domain::{
    id::SiteId,
    target::{Community, Method, Role, TargetSpec},
};

/// A switch that is asked each minute.
pub(crate) fn switch(site: SiteId) -> TargetSpec {
    TargetSpec {
        site,
        role: Role::Equipment,
        name: "commutateur".to_owned(),
        address: "192.0.2.10".to_owned(),
        method: Method::SnmpV2c { community: Community::new("public") },
        period_s: 60,
        parent: None,
    }
}

/// Its ports, ten series each.
pub(crate) fn ports(count: u32) -> Vec<Port> {
    let port = |index| Port {
        index,
        name: format!("Gi0/{index}"),
        alias: String::new(),
        kind: 6,
        oper_status: 1,
        narrow_octets: false,
        narrow_packets: false,
    };
    (1..=count).map(port).collect()
}

/// CPU time of this process.
pub(crate) fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
