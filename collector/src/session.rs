//! One stream per agent: hello, resume, records in, acknowledgements out.
//!
//! A record is acknowledged only once the store said that it survived an fsync. Several batches may
//! be on their way to the disk; their acknowledgements keep their order. When too much is under way
//! the stream is simply not read, and the agent's spool is the buffer.

use std::{sync::Arc, time::Duration};

use domain::chain::chain;
use prost::Message as _;
use proto::{
    limits::{MAX_CONFIG_BYTES, MAX_HELLO_BYTES, MAX_MESSAGE_BYTES, PROTOCOL},
    v1::{
        self,
        agent_link_server::{AgentLink, AgentLinkServer},
    },
};
use store::StoreError;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    access::{Call, admit},
    ca::Identity,
    context::Context,
    feed::Feed,
    metrics::Reason,
    tls::Peer,
};

mod clock;
mod registry;
mod stream;

pub use clock::{ClockMap, Mapping};
pub use registry::{Ending, Place, Seat, Sessions};
use stream::Session;

/// Answers that wait for a slow reader.
const OUT_QUEUE: usize = 64;
/// A reader that takes nothing for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Unit of the budget that all streams share, bytes.
const BUDGET_UNIT: usize = 1 << 10;

/// Bounds that tests shorten.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Longest wait for a `Hello`.
    pub hello: Duration,
    /// A stream that completes no message for so long is dead.
    pub idle: Duration,
    /// Uncompressed bytes of all streams on their way to the disk.
    pub budget_bytes: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        // Six heartbeats are missing after 90 seconds.
        Self {
            hello: Duration::from_secs(5),
            idle: Duration::from_secs(90),
            budget_bytes: 64 << 20,
        }
    }
}

/// Why a stream ends, as the agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Away {
    reason: &'static str,
    retry_min_ms: u32,
    retry_spread_ms: u32,
    refused: bool,
}

impl Away {
    const fn refused(reason: &'static str) -> Self {
        Self { reason, retry_min_ms: 60_000, retry_spread_ms: 240_000, refused: true }
    }

    const fn later(reason: &'static str, retry_min_ms: u32, retry_spread_ms: u32) -> Self {
        Self { reason, retry_min_ms, retry_spread_ms, refused: false }
    }

    /// The agent broke the contract: an error of either side, so not at once again.
    const fn violation(reason: &'static str) -> Self {
        Self::later(reason, 5_000, 30_000)
    }

    /// The collector can not do its part.
    const STORE: Self = Self::later("store", 2_000, 20_000);
    /// The stream itself is gone: nobody is left to be told.
    const GONE: Self = Self::later("gone", 0, 0);
}

type Down = Result<v1::Down, Status>;

/// The service.
pub struct Link {
    context: Context,
    feed: Feed,
    limits: SessionLimits,
    budget: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Link {
    /// The service, to be added to a server. Streams end when `stop` is cancelled.
    #[must_use]
    pub fn service(
        context: Context,
        feed: Feed,
        limits: SessionLimits,
        stop: CancellationToken,
    ) -> AgentLinkServer<Self> {
        let budget = Arc::new(Semaphore::new((limits.budget_bytes / BUDGET_UNIT).max(1)));
        AgentLinkServer::new(Self { context, feed, limits, budget, stop })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES + MAX_CONFIG_BYTES)
    }
}

#[tonic::async_trait]
impl AgentLink for Link {
    type SessionStream = ReceiverStream<Down>;

    async fn session(
        &self,
        request: Request<Streaming<v1::Up>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let context = self.context.clone();
        let peer = request.extensions().get::<Peer>().cloned();
        let now = context.clock.now();
        let identity = admit(Call::Session, peer.as_ref(), now, &context.metrics)?;
        let (Some(identity), Some(peer)) = (identity, peer) else {
            return Err(Status::permission_denied("this call needs another identity"));
        };
        let (out, answers) = mpsc::channel(OUT_QUEUE);
        let opening = Opening {
            context,
            feed: self.feed.clone(),
            limits: self.limits,
            budget: self.budget.clone(),
            stop: self.stop.clone(),
            identity,
            peer,
            inbound: request.into_inner(),
            out,
        };
        tokio::spawn(opening.run());
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// A stream before its `Hello`.
struct Opening {
    context: Context,
    feed: Feed,
    limits: SessionLimits,
    budget: Arc<Semaphore>,
    stop: CancellationToken,
    identity: Arc<Identity>,
    peer: Peer,
    inbound: Streaming<v1::Up>,
    out: mpsc::Sender<Down>,
}

fn down(message: v1::down::Message) -> v1::Down {
    v1::Down { message: Some(message) }
}

async fn send(out: &mpsc::Sender<Down>, message: v1::down::Message) -> Result<(), Away> {
    match out.send_timeout(Ok(down(message)), SEND_TIMEOUT).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Away::GONE),
    }
}

/// Why no further message can be read: the peer left, or sent what is no message.
fn unread(status: &Status) -> Away {
    use std::error::Error as _;
    if status.code() == Code::OutOfRange {
        return Away::violation("a message is too large");
    }
    // An error of the connection has one of HTTP/2 as its cause.
    let own = status.source().is_none();
    if own && matches!(status.code(), Code::Internal | Code::Unimplemented) {
        return Away::violation("a message is malformed");
    }
    Away::GONE
}

fn store_failed(context: &Context, identity: &Identity, error: &StoreError) -> Away {
    tracing::error!(
        agent = %identity.agent,
        error = chain(error),
        "the store failed a session"
    );
    context.metrics.refused_calls.get_or_create(&Reason { reason: "store" }).inc();
    Away::STORE
}

impl Opening {
    async fn run(mut self) {
        let (context, out) = (self.context.clone(), self.out.clone());
        let (identity, peer, stop) = (self.identity.clone(), self.peer.clone(), self.stop.clone());
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = stop.cancelled() => Err(Away::later("restart", 1_000, 30_000)),
        };
        let away = match opened {
            Ok((hello, seat)) => match Session::start(self, hello, seat).await {
                Ok(mut session) => {
                    context.metrics.sessions.inc();
                    let away = session.run().await;
                    context.metrics.sessions.dec();
                    session.finish(away).await
                }
                Err(away) => away,
            },
            Err(away) => away,
        };
        if away != Away::GONE {
            context.metrics.refused_calls.get_or_create(&Reason { reason: away.reason }).inc();
            let message = v1::GoAway {
                reason: away.reason.to_owned(),
                retry_min_ms: away.retry_min_ms,
                retry_spread_ms: away.retry_spread_ms,
                refused: away.refused,
            };
            // The last word; the peer may have left.
            let _ = send(&out, v1::down::Message::Away(message)).await;
        }
        tracing::info!(
            agent = %identity.agent,
            peer = %peer.address.ip(),
            reason = away.reason,
            "a session ended"
        );
    }

    /// Waits for the `Hello` and takes a place for the session.
    async fn open(&mut self) -> Result<(v1::Hello, Seat), Away> {
        let first = match timeout(self.limits.hello, self.inbound.message()).await {
            Err(_) => return Err(Away::violation("no hello in time")),
            Ok(Err(status)) => return Err(unread(&status)),
            Ok(Ok(None)) => return Err(Away::GONE),
            Ok(Ok(Some(first))) => first,
        };
        let Some(v1::up::Message::Hello(hello)) = first.message else {
            return Err(Away::violation("the first message is not a hello"));
        };
        if hello.encoded_len() > MAX_HELLO_BYTES {
            return Err(Away::violation("the hello is too large"));
        }
        if hello.instance_id.is_empty() || hello.instance_id.len() > 64 {
            return Err(Away::violation("the hello names no instance"));
        }
        if !(hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL) {
            return Err(Away::later("protocol", 60_000, 600_000));
        }
        let Identity { agent, serial, .. } = &*self.identity;
        match self.context.store.use_certificate(*agent, serial).await {
            Ok(true) => {}
            Ok(false) => return Err(Away::refused("identity")),
            Err(error) => return Err(store_failed(&self.context, &self.identity, &error)),
        }
        let seat =
            self.context.sessions.open(*agent, &hello.instance_id, &hello.machine_fingerprint);
        Ok((hello, seat))
    }
}
