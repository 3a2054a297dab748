//! Groups in one line, and rounds as named cells.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use agent::{
    clock::SystemClock,
    plan::{Column, Group, Metric, ProbeKind},
    probe::{self, Cell, Env, Outcome, Probe, allow::AllowList, http::tls::Trust},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Long enough for a busy machine, short enough to see a time limit work.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// An environment that may probe these networks and trusts no certificate authority.
pub(crate) fn env(networks: &[&str]) -> Env {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    let mut env = Env::new(
        Arc::new(SystemClock::new()),
        AllowList::only(networks).and_http_ports([1..=u16::MAX]).and_service_ports([1..=u16::MAX]),
    );
    env.trust = Arc::new(Trust::only(rustls::RootCertStore::empty()));
    env
}

pub(crate) fn loopback() -> Env {
    env(&["127.0.0.0/8", "::1"])
}

/// A probe and what its columns mean, target by target.
pub(crate) struct Subject {
    probe: Box<dyn Probe>,
    columns: Vec<Column>,
}

/// One round, asked by target and metric.
pub(crate) struct Cells {
    columns: Vec<Column>,
    values: Vec<Cell>,
    pub(crate) changed: bool,
}

impl Subject {
    pub(crate) fn new(kind: ProbeKind, targets: u16, metrics: &[Metric], env: &Env) -> Self {
        Self::with_timeout(kind, targets, metrics, env, TIMEOUT)
    }

    pub(crate) fn with_timeout(
        probe: ProbeKind,
        targets: u16,
        metrics: &[Metric],
        env: &Env,
        timeout: Duration,
    ) -> Self {
        let column = |target, metric| Column { target, metric, instance: 0, label: String::new() };
        let columns = (0..targets)
            .flat_map(|target| metrics.iter().map(move |metric| column(target, *metric)))
            .collect();
        Self::of_columns(probe, columns, env, timeout)
    }

    pub(crate) fn of_columns(
        probe: ProbeKind,
        columns: Vec<Column>,
        env: &Env,
        timeout: Duration,
    ) -> Self {
        let period = Duration::from_secs(10);
        let group = Group { id: 1, layout: 1, period, timeout, probe, columns: columns.clone() };
        Self { probe: probe::build(&group, env).unwrap(), columns }
    }

    pub(crate) async fn round(&mut self) -> Cells {
        let round = self.probe.round().await.unwrap();
        assert_eq!(round.cells.len(), self.columns.len());
        Cells { columns: self.columns.clone(), values: round.cells, changed: round.changed }
    }
}

impl Cells {
    pub(crate) fn get(&self, target: u16, metric: Metric) -> Cell {
        let wanted = |column: &Column| (column.target, column.metric) == (target, metric);
        self.values[self.columns.iter().position(wanted).unwrap()]
    }

    pub(crate) fn labelled(&self, metric: Metric, label: &str) -> Cell {
        let wanted = |column: &Column| column.metric == metric && column.label == label;
        self.values[self.columns.iter().position(wanted).unwrap()]
    }

    /// Whether the outcome is `expected`, by the stored number.
    #[track_caller]
    pub(crate) fn check(&self, target: u16, metric: Metric, expected: Outcome) {
        assert_eq!(self.get(target, metric), Some(expected as i64), "not {expected:?}");
    }
}

/// Waits until `condition` holds, ten seconds at most.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what} did not come true in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An address of loopback where nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that hands each connection to `serve`, for as long as the runtime lives.
pub(crate) async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads a request's head, and its text.
pub(crate) async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A server that reads a request's head and answers these bytes.
pub(crate) async fn canned(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer: Arc<[u8]> = answer.into().into();
    server(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            read_head(&mut stream).await;
            // The probe may leave before it has heard all.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            let _ = stream.read(&mut [0; 16]).await;
        }
    })
    .await
}
