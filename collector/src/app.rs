//! The composition root: the one place that picks a store, a clock and sockets, starts everything,
//! and ends it in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use domain::chain::chain;
use proto::v1::{agent_link_server::AgentLinkServer, enrolment_server::EnrolmentServer};
use store::{Retention, SampleOptions, Store, sqlite::SqliteStore};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::{
    api,
    ca::Authority,
    clock::{Clock, SystemClock},
    config::Config,
    context::Context,
    enrol::Registrar,
    evaluator,
    feed::{FEED_ITEMS, feed},
    jobs, notifier, platform, secret_file,
    session::{Link, SessionLimits},
    tls::{self, Channel, ListenLimits, ServerIdentity},
    wire,
};

mod actions;
mod http;
mod operator;
mod pages;
mod running;

pub use http::HttpLimits;
use running::Running;

/// Longest stop: sessions are asked to leave and their records committed within it.
const STOP: Duration = Duration::from_secs(5);
/// Streams of one connection.
const STREAMS: u32 = 4;
/// Window of a stream and of a connection, bytes: what a peer may send unread, and so what it can
/// make the collector hold.
const WINDOW: u32 = 256 << 10;
/// Largest head of a call, bytes.
const HEADERS: u32 = 16 << 10;
/// Streams that were opened and reset at once, before the connection is closed.
const RESETS: usize = 32;
/// Pings to a silent peer, and how long their answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Longest wait for the answer to a call; a session's answer is its opening.
const CALL: Duration = Duration::from_secs(30);

/// What tests put in the place of the real thing.
pub struct Parts {
    /// Server time.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the agents' listener.
    pub listen: ListenLimits,
    /// Bounds of sessions.
    pub session: SessionLimits,
    /// Bounds of the API's and the metrics' listeners.
    pub http: HttpLimits,
    /// Time between two looks whether the store lives.
    pub watch_store: Duration,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            listen: ListenLimits::default(),
            session: SessionLimits::default(),
            http: HttpLimits::default(),
            watch_store: jobs::WATCH_STORE_EVERY,
        }
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// A running collector.
#[derive(Debug)]
pub struct App {
    /// Where agents connect.
    pub agents: SocketAddr,
    /// Where the API answers.
    pub api: SocketAddr,
    /// The operator token.
    pub operator_token: String,
    /// What its parts share.
    pub context: Context,
    doors: CancellationToken,
    sessions: CancellationToken,
    stop: watch::Sender<bool>,
    servers: Running,
    workers: Running,
}

impl App {
    /// Opens the store and starts every part.
    ///
    /// # Errors
    /// In words for an operator: what could not be opened, read or bound.
    pub async fn start(config: Config, parts: Parts) -> anyhow::Result<Self> {
        let store = open_store(&config).await?;
        Self::start_with(config, store, parts).await
    }

    /// Starts every part on a store that is open.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        mut config: Config,
        store: Arc<dyn Store>,
        parts: Parts,
    ) -> anyhow::Result<Self> {
        let Parts { clock, listen, session, http, watch_store } = parts;
        let authority = Arc::new(
            Authority::open(&config.data_dir.join("ca"), clock.now())
                .context("cannot open the certificate authority")?,
        );
        let names = config.agents.server_names.clone();
        let identity = Arc::new(ServerIdentity::new(authority.clone(), names, clock.now())?);
        let server_tls = tls::server_config(&authority, identity.clone(), clock.clone())?;
        let (operator_token, operator_sha256) = operator::token(&config.operator_token())?;

        let agents = bind(config.agents.listen, "agents").await?;
        let (agents_at, api_listener) = (agents.local_addr()?, bind(config.api_listen, "the API"));
        let api_listener = api_listener.await?;
        let api_at = api_listener.local_addr()?;
        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(bind(address, "metrics").await?),
            None => None,
        };

        if let Some(host) = config.agents.public_address.strip_suffix(":0") {
            // Any free port was asked for: now it is known.
            config.agents.public_address = format!("{host}:{}", agents_at.port());
        }
        let config = Arc::new(config);
        let context = Context::new(config, store, clock.clone(), authority.pin(), operator_sha256);
        // Sites go on with the pairs that they have: a start does not fail for want of others.
        if let Err(error) = context.mesh.restore().await {
            tracing::error!(error = chain(&error), "the measures between sites are not restored");
        }
        let (feed, reader) = feed(FEED_ITEMS, context.metrics.clone());
        let (doors, sessions) = (CancellationToken::new(), CancellationToken::new());
        let (stop, stopped) = watch::channel(false);

        let channels = tls::listen(
            agents,
            Arc::new(server_tls),
            listen,
            context.metrics.clone(),
            doors.clone(),
        );
        let services = (
            Link::service(context.clone(), feed, session, sessions.clone()),
            Registrar::service(context.clone(), authority),
        );
        let mut servers = Running::default();
        servers.start("the agents' listener", serve_agents(channels, services, doors.clone()));
        let router = pages::health().merge(api::router(api::Context {
            store: context.store.clone(),
            live: context.live.clone(),
            clock: clock.clone(),
            actions: Arc::new(actions::Operator(context.clone())),
            tokens: Arc::new(api::Tokens::new(vec![operator_sha256])),
            public_address: context.config.agents.public_address.as_str().into(),
        }));
        let router =
            if api_at.ip().is_loopback() { router.merge(pages::metrics(&context)) } else { router };
        servers.start("the API", http::serve(api_listener, router, http, doors.clone()));
        if let Some(listener) = metrics_listener {
            let page = pages::metrics(&context);
            servers.start("the metrics", http::serve(listener, page, http, doors.clone()));
        }

        let mut workers = Running::default();
        let evaluator = evaluator::run(context.clone(), reader, stopped.clone());
        workers.start("the evaluator", evaluator);
        workers.start("the notifier", notifier::run(context.clone(), stopped.clone()));
        workers.start("the store's upkeep", jobs::maintain(context.clone(), stopped.clone()));
        let store = jobs::watch_store(context.clone(), watch_store, stopped.clone());
        workers.start("the store", store);
        workers.start("the presence", jobs::note_presence(context.clone(), stopped.clone()));
        workers.start("the figures", jobs::read_figures(context.clone(), stopped.clone()));
        let renewal = jobs::renew_certificate(identity, clock, stopped);
        workers.start("the certificate's renewal", renewal);
        tracing::info!(
            agents = %agents_at,
            api = %api_at,
            public_address = context.config.agents.public_address,
            "the collector runs"
        );
        Ok(Self {
            agents: agents_at,
            api: api_at,
            operator_token,
            context,
            doors,
            sessions,
            stop,
            servers,
            workers,
        })
    }

    /// Waits for a part that ended by itself, which none should: without its evaluator a collector
    /// looks healthy and warns nobody. Names it.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            part = self.servers.ended() => part,
            part = self.workers.ended() => part,
        }
    }

    /// Asks agents to leave, commits what they sent, and ends. Takes at most some five seconds.
    pub async fn stop(mut self) {
        self.sessions.cancel();
        self.doors.cancel();
        if timeout(STOP, self.context.sessions.idle()).await.is_err() {
            tracing::warn!("some sessions did not end in time; their agents send again");
        }
        // A closed channel reads as a stop too.
        let _ = self.stop.send(true);
        if timeout(STOP, self.workers.all_ended()).await.is_err() {
            tracing::warn!("some work did not end in time");
        }
        self.servers.shutdown().await;
        tracing::info!("the collector stopped");
    }
}

/// Runs until the process is told to end.
///
/// # Errors
/// As [`App::start`].
pub async fn run(config: Config) -> anyhow::Result<()> {
    if let Err(error) = platform::raise_file_limit() {
        tracing::warn!(error = chain(&error), "the limit of open files could not be raised");
    }
    let asked = platform::asked_to_stop().context("cannot listen to signals")?;
    let app = App::start(config, Parts::default()).await?;
    attend(app, asked).await
}

/// Runs until `told` to end, or until a part ends by itself.
async fn attend(mut app: App, told: impl Future<Output = ()>) -> anyhow::Result<()> {
    let failure = tokio::select! {
        () = told => None,
        failure = app.failed() => Some(failure),
    };
    app.stop().await;
    failure.map_or(Ok(()), |part| Err(anyhow::anyhow!("{part} ended by itself")))
}

/// Prepares the data directory: authority and database. Returns what an operator should know.
///
/// # Errors
/// As [`App::start`].
pub async fn init(config: &Config) -> anyhow::Result<String> {
    drop(open_store(config).await?);
    let authority = Authority::open(&config.data_dir.join("ca"), SystemClock.now())
        .context("cannot open the certificate authority")?;
    Ok(format!(
        "data directory {}\nagents connect to {}\nauthority {}",
        config.data_dir.display(),
        config.agents.public_address,
        crate::ca::hex(&authority.pin())
    ))
}

async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    secret_file::create_dir(&config.data_dir).context("cannot create the data directory")?;
    let path = config.database();
    let opening = path.clone();
    let kept = config.retention;
    let samples = SampleOptions {
        read_payload: wire::rounds,
        retention: Retention {
            raw_days: kept.samples_days,
            five_minute_days: kept.five_minutes_days,
            access_five_minute_days: kept.access_ports_days,
            hour_days: kept.hours_days,
            day_days: kept.days_days,
        },
    };
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&opening, samples));
    let store = opened.await?;
    let store = store.with_context(|| format!("cannot open the database {}", path.display()))?;
    Ok(Arc::new(store))
}

async fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen for {what} at {address}"))
}

async fn serve_agents(
    channels: mpsc::Receiver<io::Result<Channel>>,
    (link, registrar): (AgentLinkServer<Link>, EnrolmentServer<Registrar>),
    stop: CancellationToken,
) {
    let served = Server::builder()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_max_header_list_size(HEADERS)
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_keepalive_interval(Some(PING.0))
        .http2_keepalive_timeout(Some(PING.1))
        .timeout(CALL)
        .add_service(link)
        .add_service(registrar)
        .serve_with_incoming_shutdown(ReceiverStream::new(channels), stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(error = chain(&error), "the agents' listener failed");
    }
}

#[cfg(test)]
mod tests;
