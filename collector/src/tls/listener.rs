//! From sockets to authenticated channels, without letting idle or hostile peers take the place.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as Task, Poll},
    time::Duration,
};

use domain::chain::chain;
use domain::id::AgentId;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::{
    ca::Identity,
    metrics::{Metrics, Reason},
};

/// Channels of one agent: the live one, its successor, a machine that is held, a renewal.
const MAX_CHANNELS_PER_AGENT: usize = 4;
/// Handshaken channels that wait for the server to take them.
const READY: usize = 16;
/// Pause after the system refused to accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of the listener.
#[derive(Debug, Clone, Copy)]
pub struct ListenLimits {
    /// Handshakes at a time.
    pub handshakes: usize,
    /// Longest handshake.
    pub handshake: Duration,
    /// Longest handshake while others wait for a place.
    pub handshake_crowded: Duration,
    /// Open channels.
    pub channels: usize,
    /// Life of a channel whose peer showed no certificate: enrolling takes one call.
    pub unproven: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            handshakes: 64,
            handshake: Duration::from_secs(10),
            handshake_crowded: Duration::from_secs(1),
            channels: 8_192,
            unproven: Duration::from_secs(30),
        }
    }
}

/// Who is at the other end of a channel.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address of the socket: nothing that the peer says can change it.
    pub address: SocketAddr,
    /// The agent named by its certificate, whose key it proved to hold.
    pub identity: Option<Arc<Identity>>,
    /// Closes the channel at once.
    pub close: CancellationToken,
}

/// The channels of each agent, so that one agent can not hold many.
#[derive(Debug, Default)]
struct Register(Mutex<HashMap<AgentId, VecDeque<CancellationToken>>>);

impl Register {
    /// Adds a channel; the oldest one above the bound is closed.
    fn add(&self, agent: AgentId, close: &CancellationToken) {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let channels = agents.entry(agent).or_default();
        channels.retain(|channel| !channel.is_cancelled());
        channels.push_back(close.clone());
        if channels.len() > MAX_CHANNELS_PER_AGENT
            && let Some(oldest) = channels.pop_front()
        {
            oldest.cancel();
        }
    }

    /// Forgets the closed channels of an agent.
    fn prune(&self, agent: AgentId) {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channels) = agents.get_mut(&agent) {
            channels.retain(|channel| !channel.is_cancelled());
            if channels.is_empty() {
                agents.remove(&agent);
            }
        }
    }
}

/// One TLS channel.
pub struct Channel {
    io: TlsStream<TcpStream>,
    peer: Peer,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    deadline: Option<Pin<Box<Sleep>>>,
    register: Arc<Register>,
    _place: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.peer.close.cancel();
        if let Some(identity) = &self.peer.identity {
            self.register.prune(identity.agent);
        }
    }
}

impl Connected for Channel {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(task).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(task).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.io).poll_read(task, buffer)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(task)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(task, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Accepts until `stop`, handing over each channel whose handshake succeeded.
pub fn listen(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: ListenLimits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> mpsc::Receiver<io::Result<Channel>> {
    let (ready, channels) = mpsc::channel(READY);
    let door = Arc::new(Door {
        acceptor: TlsAcceptor::from(tls),
        limits,
        metrics,
        register: Arc::default(),
        places: Arc::new(Semaphore::new(limits.channels)),
        ready,
    });
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = door.accept(listener) => {}
        }
    });
    channels
}

struct Door {
    acceptor: TlsAcceptor,
    limits: ListenLimits,
    metrics: Arc<Metrics>,
    register: Arc<Register>,
    places: Arc<Semaphore>,
    ready: mpsc::Sender<io::Result<Channel>>,
}

impl Door {
    fn refuse(&self, reason: &'static str) {
        self.metrics.handshake_failures.get_or_create(&Reason { reason }).inc();
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut running = JoinSet::new();
        let mut oldest_first: VecDeque<(Instant, AbortHandle)> = VecDeque::new();
        loop {
            while running.try_join_next().is_some() {}
            oldest_first.retain(|(_, handshake)| !handshake.is_finished());
            if oldest_first.len() >= self.limits.handshakes {
                self.make_room(&mut running, &mut oldest_first).await;
                continue;
            }
            let (socket, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.metrics.connections.inc();
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                self.refuse("full");
                continue;
            };
            let handshake = running.spawn(self.clone().handshake(socket, address, place));
            oldest_first.push_back((Instant::now(), handshake));
        }
    }

    /// Waits until a handshake ends. One that had its time while others wait is ended: a peer that
    /// connects and says nothing must not keep the others out.
    async fn make_room(
        &self,
        running: &mut JoinSet<()>,
        oldest_first: &mut VecDeque<(Instant, AbortHandle)>,
    ) {
        let Some((since, oldest)) = oldest_first.front() else { return };
        tokio::select! {
            _ = running.join_next() => {}
            () = sleep_until(*since + self.limits.handshake_crowded) => {
                oldest.abort();
                oldest_first.pop_front();
                self.refuse("crowded");
            }
        }
    }

    async fn handshake(
        self: Arc<Self>,
        socket: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) {
        // A small acknowledgement must not wait for the next one.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(error = chain(&error), "no TCP_NODELAY");
        }
        let io = match timeout(self.limits.handshake, self.acceptor.accept(socket)).await {
            Err(_) => return self.refuse("deadline"),
            // Someone looked whether the port answers: agents do, every few seconds.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return self.refuse("closed");
            }
            Ok(Err(error)) => {
                tracing::debug!(
                    peer = %address.ip(),
                    error = chain(&error),
                    "a handshake failed"
                );
                return self.refuse("tls");
            }
            Ok(Ok(io)) => io,
        };
        let (_, session) = io.get_ref();
        if session.alpn_protocol() != Some(b"h2".as_slice()) {
            return self.refuse("protocol");
        }
        let identity = match session.peer_certificates().and_then(|chain| chain.first()) {
            None => None,
            // The verifier has read it already.
            Some(certificate) => match Identity::from_certificate(certificate) {
                Ok(identity) => Some(Arc::new(identity)),
                Err(_) => return self.refuse("identity"),
            },
        };
        let close = CancellationToken::new();
        let deadline = identity.is_none().then(|| Box::pin(sleep(self.limits.unproven)));
        if let Some(identity) = &identity {
            self.register.add(identity.agent, &close);
        }
        let channel = Channel {
            io,
            closed: Box::pin(close.clone().cancelled_owned()),
            peer: Peer { address: canonical(address), identity, close },
            deadline,
            register: self.register.clone(),
            _place: place,
        };
        // The server is gone: so is the channel.
        let _ = self.ready.send(Ok(channel)).await;
    }
}

/// IPv4 in IPv6 is IPv4: one peer has one address.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
