//! The line to the collector: connect, say what there is, send it, hear what is committed, for ever.
//!
//! - [`sender`]: what to send next and what an acknowledgement means, without I/O;
//! - [`retry`]: when to connect again, without I/O;
//! - [`session`]: one session over one connection;
//! - [`link`]: from TLS to gRPC.
//!
//! Nothing here deletes anything and no answer is final: the spool is the truth, the collector's
//! acknowledgements are what it may forget.

pub mod link;
pub mod ranges;
pub mod retry;
pub mod sender;
mod session;

use std::{sync::Arc, time::Duration};

use proto::v1::{self, enrolment_client::EnrolmentClient, event::Event};
use ring::digest;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    identity::{
        Credentials, Identity, IdentityError, Keyring, RENEW_RETRY, request,
        tls::{self, ConnectError, TlsTime},
    },
    logs::chain,
    metrics::Metrics,
    planted, platform,
    spool::SpoolHandle,
    wire,
};
use retry::{Ended, Retry};

/// Longest wait for the collector's first answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// An interception that goes on is told this often.
const INTERCEPTION_EVERY: Duration = Duration::from_hours(1);
/// Longest wait of the first hello for the first look around.
const FIRST_LOOK: Duration = Duration::from_secs(4);
/// Plans that may wait to be applied: the collector sends the newest again.
pub const PLAN_QUEUE: usize = 2;

/// What the agent measures by, as the collector is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanState {
    /// Version in force.
    pub applied: u64,
    /// What became of the last plan offered, in this process.
    pub report: Option<v1::ConfigStatus>,
}

/// The uplink's surroundings: everything it reads and everything it tells.
pub struct Uplink {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where records come from.
    pub spool: SpoolHandle,
    /// Who this agent is.
    pub keyring: Keyring,
    /// `host:port`, when the local file says it; else enrolment's.
    pub collector: Option<String>,
    /// Time for judging certificates.
    pub tls_time: Arc<TlsTime>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Takes the collector's plans.
    pub plans: mpsc::Sender<v1::Config>,
    /// Tells what became of them.
    pub plan_state: watch::Receiver<PlanState>,
    /// Tells what is around; `None` before the first look.
    pub surroundings: watch::Receiver<Option<v1::Surroundings>>,
    /// Counts how often the collector answered the agent's own rounds again.
    pub answers: watch::Receiver<u64>,
    /// Longest first wait before another attempt.
    pub reconnect: Duration,
    /// Upload cap.
    pub upload_bytes_per_s: Option<u64>,
}

/// What lasts from one session to the next.
struct Lasting {
    instance_id: [u8; 16],
    fingerprint: Vec<u8>,
    /// Share of the renewal's spread that falls to this process.
    spread: u8,
    renewal_failed: Option<Instant>,
    intercepted: Option<(String, Instant)>,
    /// Whether the renewed identity is to be tried; the other is when it fails.
    prefer_next: bool,
    new_epochs: session::EpochGuard,
}

impl Uplink {
    /// Keeps a session with the collector until `stop`, then says goodbye.
    pub async fn run(self, stop: CancellationToken) {
        let machine = platform::machine_text();
        let fingerprint = digest::digest(&digest::SHA256, machine.as_bytes());
        let mut lasting = Lasting {
            instance_id: rand::random(),
            // A machine that knows nothing of itself must not look like all others that do not.
            fingerprint: match machine.as_str() {
                "" => Vec::new(),
                _ => fingerprint.as_ref()[..16].to_vec(),
            },
            spread: rand::random(),
            renewal_failed: None,
            intercepted: None,
            prefer_next: true,
            new_epochs: session::EpochGuard::default(),
        };
        // The first hello should tell what is around, but not wait for it long.
        let mut surroundings = self.surroundings.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            _ = timeout(FIRST_LOOK, surroundings.wait_for(Option::is_some)) => {}
        }
        let mut retry = Retry::new(self.reconnect);
        let mut answers = self.answers.clone();
        while !stop.is_cancelled() {
            answers.mark_unchanged();
            let ended = self.attempt(&mut lasting, &stop).await;
            self.metrics.connected.set(0);
            self.metrics.in_flight_bytes.set(0);
            if matches!(ended, Ended::Failed(_) | Ended::Refused) {
                self.metrics.session_failures.inc();
                if planted::is("gives-up") && self.metrics.session_failures.get() > 2 {
                    return;
                }
            }
            let wait = retry.wait(ended, rand::random());
            tokio::select! {
                () = stop.cancelled() => {}
                () = retry::pause(wait, ended, &mut answers, rand::random()) => {}
            }
        }
    }

    /// One attempt, from reading the identity to the end of the session.
    async fn attempt(&self, lasting: &mut Lasting, stop: &CancellationToken) -> Ended {
        let started = Instant::now();
        let connecting = async {
            let credentials = self.keyring.load()?;
            let expiry = credentials.next.as_ref().unwrap_or(&credentials.current).not_after;
            self.metrics.certificate_expiry.set(expiry);
            if let Some(renewed) = self.renew_if_due(&credentials, lasting).await {
                return renewed.map(|()| None);
            }
            let next = credentials.next.as_ref().filter(|_| lasting.prefer_next);
            let identity = next.unwrap_or(&credentials.current);
            let channel = self.connect(&credentials, identity).await?;
            Ok(Some((channel, next.is_some(), credentials.next.is_some())))
        };
        let connected = tokio::select! {
            () = stop.cancelled() => return Ended::Renew,
            connected = connecting => connected,
        };
        match connected {
            Ok(Some((channel, is_next, has_next))) => {
                let (ended, accepted) = session::run(self, lasting, channel, is_next, stop).await;
                // A renewed identity that is not accepted gives way to the one before, and back.
                lasting.prefer_next = if accepted { true } else { !is_next && has_next };
                if accepted && !is_next && has_next {
                    self.drop_refused_identity();
                }
                ended
            }
            Ok(None) => Ended::Renew,
            Err(error) => {
                self.note_interception(&error, lasting);
                tracing::warn!(error = chain(&error), "no connection to the collector");
                Ended::Failed(started.elapsed())
            }
        }
    }

    fn drop_refused_identity(&self) {
        tracing::warn!("the renewed identity is refused and dropped");
        if let Err(error) = self.keyring.drop_next() {
            tracing::error!(error = chain(&error), "the refused identity stays");
        }
    }

    fn address<'a>(&'a self, credentials: &'a Credentials) -> &'a str {
        self.collector.as_deref().unwrap_or(&credentials.enrolment.collector)
    }

    async fn connect(
        &self,
        credentials: &Credentials,
        identity: &Identity,
    ) -> Result<tonic::transport::Channel, UplinkError> {
        let time = Arc::clone(&self.tls_time);
        let config = tls::client(identity, &credentials.trust, time).map_err(IdentityError::Tls)?;
        let address = self.address(credentials);
        let stream = tls::connect(address, Arc::new(config), Some(&self.tls_time)).await?;
        link::channel(stream).await.map_err(UplinkError::Http)
    }

    /// Asks for a new certificate when it is time. `None` when there is nothing to do; an error
    /// when there is and the certificate in force is of no use any more.
    async fn renew_if_due(
        &self,
        credentials: &Credentials,
        lasting: &mut Lasting,
    ) -> Option<Result<(), UplinkError>> {
        let (current, now) = (&credentials.current, self.tls_time.now_s());
        let expired = now >= current.not_after;
        let rests = lasting.renewal_failed.is_some_and(|at| at.elapsed() < RENEW_RETRY);
        if credentials.next.is_some()
            || now < current.renew_at(lasting.spread)
            || (rests && !expired)
        {
            return None;
        }
        match self.renew(credentials).await {
            Ok(()) => {
                tracing::info!("the certificate is renewed");
                lasting.renewal_failed = None;
                lasting.prefer_next = true;
                Some(Ok(()))
            }
            Err(error) => {
                lasting.renewal_failed = Some(Instant::now());
                if expired {
                    return Some(Err(error));
                }
                tracing::warn!(error = chain(&error), "the certificate is not renewed");
                None
            }
        }
    }

    async fn renew(&self, credentials: &Credentials) -> Result<(), UplinkError> {
        let key = self.keyring.pending_key()?;
        let message = v1::RenewRequest {
            csr: request(&key)?,
            certificate: credentials.current.leaf_der().to_vec(),
        };
        let channel = self.connect(credentials, &credentials.current).await?;
        let mut client = EnrolmentClient::new(channel)
            .max_decoding_message_size(proto::limits::MAX_MESSAGE_BYTES);
        let reply = timeout(ANSWER_TIMEOUT, client.renew(message))
            .await
            .map_err(|_| UplinkError::Silent)?
            .map_err(|status| UplinkError::Renewal(Box::new(status)))?;
        self.keyring.renewed(&key, reply.get_ref(), credentials.current.agent_id)?;
        Ok(())
    }

    /// Declares that something answers in the collector's place, once while it lasts.
    fn note_interception(&self, error: &UplinkError, lasting: &mut Lasting) {
        let UplinkError::Connect(intercepted @ ConnectError::Intercepted { source, .. }) = error
        else {
            return;
        };
        self.metrics.interceptions.inc();
        let detail = format!("{intercepted}: {source}");
        let known = lasting.intercepted.as_ref();
        if known.is_some_and(|(text, at)| *text == detail && at.elapsed() < INTERCEPTION_EVERY) {
            return;
        }
        let event = Event::Interception(v1::Interception { detail: detail.clone() });
        if let Err(error) = self.spool.try_append(wire::event_record(event, &*self.clock)) {
            self.metrics.records_refused.inc();
            tracing::warn!(error = chain(&error), "an interception is not recorded");
            return;
        }
        lasting.intercepted = Some((detail, Instant::now()));
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The identity can not be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// HTTP/2 did not start.
    #[error("cannot speak HTTP/2 with the collector")]
    Http(#[source] tonic::transport::Error),
    /// No answer in time.
    #[error("the collector does not answer")]
    Silent,
    /// The collector did not renew the certificate.
    #[error("the collector does not renew the certificate")]
    Renewal(#[source] Box<tonic::Status>),
}
