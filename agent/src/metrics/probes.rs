//! Figures that the probes share.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use socket2::Type;

use super::Whole;
use crate::probe::{
    icmp::Pinger,
    mesh::judge::{Fate, counted},
    snmp::STATS,
};

/// What is counted over all SNMP devices, and over all requests of other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

/// An echo socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EchoSocket {
    family: &'static str,
    kind: &'static str,
}

/// What the probes share.
#[derive(Default)]
pub struct ProbeFigures {
    /// Who sends the echo requests, once the probes are set up.
    pub pinger: OnceLock<Arc<Pinger>>,
    snmp: Family<What, Counter>,
    echo_sockets: Family<EchoSocket, Whole>,
    reflected: Family<What, Counter>,
}

impl std::fmt::Debug for ProbeFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeFigures").field("snmp", &self.snmp).finish_non_exhaustive()
    }
}

impl ProbeFigures {
    pub(super) fn register(&self, r: &mut Registry) {
        let snmp = "What the SNMP probes sent, received and gave up";
        r.register("snmp", snmp, self.snmp.clone());
        let sockets = "1 for the kind of echo socket in use; all 0 before the first request, and \
                       when none can be opened";
        r.register("icmp_socket", sockets, self.echo_sockets.clone());
        let reflected = "Requests of other sites' agents, by what became of them";
        r.register("mesh_reflected", reflected, self.reflected.clone());
    }

    pub(super) fn refresh(&self) {
        for (what, count) in [
            ("requests", &STATS.requests),
            ("varbinds", &STATS.varbinds),
            ("timeouts", &STATS.timeouts),
            ("malformed", &STATS.malformed),
            ("error_statuses", &STATS.error_statuses),
            ("undecodable", &STATS.undecodable),
            ("wrong_type", &STATS.wrong_type),
            ("disordered", &STATS.disordered),
            ("capped", &STATS.capped),
            ("panics", &STATS.panics),
        ] {
            self.snmp.get_or_create(&What { what }).inner().store(count.load(Relaxed), Relaxed);
        }
        for (fate, what) in Fate::ALL {
            let count = self.reflected.get_or_create(&What { what });
            count.inner().store(counted(fate), Relaxed);
        }
        for (family, address) in [
            ("ipv4", IpAddr::from(Ipv4Addr::LOCALHOST)),
            ("ipv6", IpAddr::from(Ipv6Addr::LOCALHOST)),
        ] {
            let used = self.pinger.get().and_then(|pinger| pinger.socket_type(address));
            for (kind, socket) in [("datagram", Type::DGRAM), ("raw", Type::RAW)] {
                let label = EchoSocket { family, kind };
                self.echo_sockets.get_or_create(&label).set((used == Some(socket)).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metrics, spool::SpoolStatus};

    #[test]
    fn what_the_snmp_probes_met_is_shown() {
        // Other tests of the process count too.
        STATS.disordered.fetch_add(3, Relaxed);
        let page = Metrics::new().page(&SpoolStatus::default());
        let line = page.lines().find(|line| line.contains("what=\"disordered\""));
        let count: u64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count >= 3, "{page}");
    }

    #[tokio::test]
    async fn the_kind_of_echo_socket_is_shown_once_there_is_one() {
        let metrics = Metrics::new();
        let used = |metrics: &Metrics| {
            let page = metrics.page(&SpoolStatus::default());
            let lines = page.lines().filter(|line| line.starts_with("vigie_agent_icmp_socket{"));
            lines.filter(|line| line.ends_with(" 1")).count()
        };
        assert_eq!(used(&metrics), 0);
        let pinger = Arc::new(Pinger::new());
        metrics.probes.pinger.set(Arc::clone(&pinger)).ok().unwrap();
        assert_eq!(used(&metrics), 0, "it opens its sockets when they are needed");
        let there = pinger.opens(IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(used(&metrics), usize::from(there));
    }
}
