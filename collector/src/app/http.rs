//! Serving a router to a bounded number of peers that must speak in time.

use std::{sync::Arc, time::Duration};

use axum::Router;
use domain::chain::chain;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// Rest after a connection could not be accepted: descriptors may have run out.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Bounds that tests shorten.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Longest wait for the head of a request, the first and each later one.
    pub head: Duration,
    /// Connections at a time; more wait in the system's queue.
    pub connections: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), connections: 256 }
    }
}

/// Serves until `stop`; requests under way are then finished for as long as this is not dropped.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections.max(1)));
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        // Those that ended leave the set.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((socket, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    connection(socket, router, limits, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "a connection could not be accepted");
                sleep(ACCEPT_REST).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(
    socket: TcpStream,
    router: Router,
    limits: HttpLimits,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = chain(&error), "a connection ended badly");
    }
}
