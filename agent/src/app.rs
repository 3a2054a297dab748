//! The agent as a whole: puts the parts together, and takes them apart in order.

pub mod around;
pub mod desk;
pub mod plans;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::Config,
    identity::{Keyring, tls::TlsTime},
    logs::chain,
    metrics::{self, Metrics},
    platform::alarm::Alarm,
    probe::{self, Env, mesh::reflector::Reflector},
    schedule::runner::{Builder, Runner, Shared, Sink},
    spool::{SpoolConfig, SpoolHandle, SpoolThread},
    uplink::{PLAN_QUEUE, PlanState, Uplink},
};
use desk::Desk;
use plans::PlanStore;

/// What was missed is declared this often, and the parts are looked after.
const CARE_EVERY: Duration = Duration::from_secs(30);
/// Longest wait for the uplink's goodbye.
const UPLINK_STOP: Duration = Duration::from_millis(1_200);
/// Longest wait for the spool's last commit.
const SPOOL_STOP: Duration = Duration::from_millis(1_500);

/// What only tests and the fault campaign set.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// Gets a line for each record that became durable.
    pub spool_ledger: Option<PathBuf>,
}

/// Runs the agent until `stop`, which takes effect within 3 seconds.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    extra: Extra,
) -> anyhow::Result<()> {
    let keyring = Keyring::new(&config.data_dir);
    let credentials = keyring.load().context("cannot start")?;
    let agent_id = credentials.current.agent_id;
    let spool_config = SpoolConfig {
        caps: [config.limits.spool_events_bytes, config.limits.spool_samples_bytes],
        commit_interval: config.limits.commit_interval,
        ledger: extra.spool_ledger,
        ..SpoolConfig::new(config.data_dir.join("spool"), agent_id)
    };
    let opening = Arc::clone(&clock);
    let (thread, recovery) =
        tokio::task::spawn_blocking(move || SpoolThread::start(spool_config, opening))
            .await
            .context("cannot open the spool")??;
    tracing::info!(clean = recovery.clean, segments = recovery.segments, "the spool is open");
    let spool = thread.handle();
    let metrics = Arc::new(Metrics::new());
    let serving = serve_metrics(&config, &metrics, &spool).await;
    let collector =
        config.collector.clone().unwrap_or_else(|| credentials.enrolment.collector.clone());

    let (answered, answers) = watch::channel(0);
    let shared = shared(&config, &clock, &metrics, &spool, agent_id);
    let runner = Runner::new(shared.telling_of(collector.clone(), answered));
    let (state_tx, plan_state) = watch::channel(PlanState::default());
    let (plans, offers) = mpsc::channel(PLAN_QUEUE);
    let store = PlanStore::new(&config.data_dir);
    let desk = Desk::new(store, runner, state_tx, Arc::clone(&metrics), config.limits.memory_bytes);
    let (around_tx, surroundings) = watch::channel(None);
    let references = desk.references();
    let around = around::Watcher {
        clock: Arc::clone(&clock),
        spool: spool.clone(),
        collector,
        references,
        found: around_tx,
    };
    let around = tokio::spawn(around.run());
    let reflecting = config.mesh_listen.map(|listen| {
        let (clock, links) = (Arc::clone(&clock), desk.reflected());
        tokio::spawn(Reflector { listen, clock, links }.run())
    });
    let uplink_stop = CancellationToken::new();
    let uplink = Uplink {
        clock: Arc::clone(&clock),
        spool: spool.clone(),
        keyring,
        collector: config.collector.clone(),
        tls_time: Arc::new(TlsTime::load(&config.data_dir, credentials.current.not_before)),
        metrics: Arc::clone(&metrics),
        plans,
        plan_state,
        surroundings,
        answers,
        reconnect: config.limits.reconnect,
        upload_bytes_per_s: config.limits.upload_bytes_per_s,
    };
    let uplink = tokio::spawn(uplink.run(uplink_stop.clone()));

    let outcome = work(desk, offers, &spool, &stop).await;

    uplink_stop.cancel();
    if timeout(UPLINK_STOP, uplink).await.is_err() {
        tracing::warn!("the uplink did not end in time");
    }
    around.abort();
    serving.into_iter().chain(reflecting).for_each(|task| task.abort());
    drop(spool);
    let stopping = tokio::task::spawn_blocking(move || thread.stop("stopped"));
    match timeout(SPOOL_STOP, stopping).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::error!(error = chain(&error), "the spool did not stop"),
        Ok(Err(error)) => tracing::error!(error = chain(&error), "the spool did not stop"),
        Err(_late) => tracing::error!("the disk is too slow for the last commit"),
    }
    outcome
}

/// Applies plans and declares what was missed, until the stop.
async fn work(
    mut desk: Desk,
    mut offers: mpsc::Receiver<proto::v1::Config>,
    spool: &SpoolHandle,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut status = spool.status();
    let mut care = interval(CARE_EVERY);
    care.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => {
                desk.stop().await;
                return Ok(());
            }
            Some(config) = offers.recv() => desk.offer(&config),
            _ = care.tick() => desk.care(),
            changed = status.changed() => if changed.is_err() {
                bail!("the spool's thread has died");
            },
        }
    }
}

fn shared(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    spool: &SpoolHandle,
    agent_id: [u8; 16],
) -> Shared {
    let mut env = Env::new(Arc::clone(clock), config.allow.clone());
    env.backup_directories = config.backup_directories.clone().into();
    // Set once, here.
    let _ = metrics.probes.pinger.set(Arc::clone(&env.pinger));
    let build: Builder = Box::new(move |group| probe::build(group, &env));
    let handle = spool.clone();
    let sink: Sink = Box::new(move |record| handle.try_append(record));
    let shared = Shared::new(
        Arc::clone(clock),
        Arc::clone(metrics),
        agent_id,
        (build, sink),
        (config.limits.snmp_devices, config.limits.packets_per_s),
    );
    match Alarm::start() {
        Ok(alarm) => shared.woken_by(alarm),
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "no timer of the kernel's: the runtime's cost more"
            );
            shared
        }
    }
}

/// A port that is taken is no reason not to measure.
async fn serve_metrics(
    config: &Config,
    metrics: &Arc<Metrics>,
    spool: &SpoolHandle,
) -> Option<JoinHandle<()>> {
    let address = config.metrics_listen?;
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let serving = metrics::serve(listener, Arc::clone(metrics), spool.status());
            Some(tokio::spawn(serving))
        }
        Err(error) => {
            tracing::error!(%address, error = chain(&error), "metrics are not served");
            None
        }
    }
}
