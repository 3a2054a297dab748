//! Processor time of one round of this machine's own figures, every column that it has.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and may panic")]

use std::{sync::Arc, time::Duration};

use agent::{
    clock::SystemClock,
    plan::{Column, Group, Metric, ProbeKind},
    probe::{self, Env, allow::AllowList, host},
};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u32 = 50;
/// Between two rounds.
const PERIOD: Duration = Duration::from_millis(250);
/// What a round may cost.
const LIMIT: Duration = Duration::from_millis(3);

fn main() {
    let inventory = host::inventory().unwrap();
    let column =
        |metric, label: &str| Column { target: 0, metric, instance: 0, label: label.to_owned() };
    let mut columns: Vec<Column> = [
        Metric::CpuUtilisation,
        Metric::MemoryTotal,
        Metric::MemoryUsed,
        Metric::SwapUsed,
        Metric::Load1m,
        Metric::Uptime,
        Metric::Processes,
    ]
    .map(|metric| column(metric, ""))
    .into();
    for (metrics, labels) in [
        (&[Metric::DiskTotal, Metric::DiskUsed][..], &inventory.disks),
        (&[Metric::HostIfInOctets, Metric::HostIfOutOctets], &inventory.interfaces),
        (&[Metric::Temperature], &inventory.sensors),
    ] {
        columns.extend(labels.iter().flat_map(|label| metrics.iter().map(|m| column(*m, label))));
    }
    let timeout = Duration::from_secs(1);
    let count = columns.len();
    let group =
        Group { id: 1, layout: 1, period: PERIOD, timeout, probe: ProbeKind::Host, columns };
    let env = Env::new(Arc::new(SystemClock::new()), AllowList::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let spent = runtime.block_on(async {
        let mut probe = probe::build(&group, &env).unwrap();
        probe.round().await.unwrap();
        let mut ticks = tokio::time::interval(PERIOD);
        let before = cpu();
        for _ in 0..ROUNDS {
            ticks.tick().await;
            probe.round().await.unwrap();
        }
        cpu().saturating_sub(before) / ROUNDS
    });
    println!(
        "{count} columns: {:.2} ms of CPU a round, limit {} ms",
        spent.as_secs_f64() * 1e3,
        LIMIT.as_millis()
    );
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap()
}
