//! One request to each URL, phase by phase: name, connection, TLS, first byte, whole.
//!
//! Redirects are not followed: a 3xx is an answer, and where it points is the site's affair. The
//! environment's proxies are ignored, no credential is ever sent, and the body is counted, not
//! kept.

pub mod tls;

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tls::HandshakeRecord;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    BuildError, Cell, Changes, Outcome, Probe, ProbeError, Round,
    dial::{self, Endpoint, Host},
    env::Env,
};
use crate::logs::chain;
use crate::plan::{Group, Metric};

/// Largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 100;
/// A body is read up to here and the answer then counts as whole.
pub const MAX_BODY_BYTES: u64 = 1 << 20;
/// Longest URL.
const MAX_URL_LEN: usize = 2048;

/// Measures the URLs of one group.
pub struct HttpProbe {
    env: Env,
    group: Group,
    targets: Vec<Target>,
    changes: Changes,
}

/// One URL, taken apart once.
struct Target {
    endpoint: Endpoint,
    /// As the `Host` header gives it.
    authority: String,
    path: String,
    tls: Option<Tls>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    record: Arc<HandshakeRecord>,
}

/// What one request found; a phase that was not reached is `None`. Times in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    outcome: Option<Outcome>,
    status: Cell,
    name: Cell,
    connect: Cell,
    tls: Cell,
    first_byte: Cell,
    total: Cell,
    certificate_expiry: Cell,
    body_bytes: Cell,
}

impl HttpProbe {
    /// Checks the URLs' form and sets TLS up; nothing is resolved yet.
    pub fn new(group: &Group, urls: &[String], env: &Env) -> Result<Self, BuildError> {
        super::build::check_columns(group, urls.len(), |metric| {
            matches!(
                metric,
                Metric::HttpOutcome
                    | Metric::HttpStatus
                    | Metric::HttpNameTime
                    | Metric::HttpConnectTime
                    | Metric::HttpTlsTime
                    | Metric::HttpFirstByteTime
                    | Metric::HttpTotalTime
                    | Metric::HttpCertificateExpiry
                    | Metric::HttpBodyBytes
            )
        })?;
        let targets =
            urls.iter().map(|url| Target::new(url, env)).collect::<Result<Vec<_>, _>>()?;
        let changes = Changes::new(targets.len());
        Ok(Self { env: env.clone(), group: group.clone(), targets, changes })
    }

    async fn ask(&self, target: &Target) -> Found {
        let mut found = Found::default();
        let asked = self.resolve_and_ask(target, &mut found).await;
        found.outcome = Some(match asked {
            Ok(()) if found.status.is_some_and(|status| status >= 500) => Outcome::Failed,
            Ok(()) => Outcome::Ok,
            Err(outcome) => outcome,
        });
        if let Some(tls) = &target.tls {
            let seen = tls.record.take();
            found.certificate_expiry = seen.not_after;
            if let Some(reason) = seen.new_refusal {
                tracing::info!(target = ?target.authority, ?reason, "a certificate is not valid");
            }
        }
        found
    }

    /// Fills `found` phase by phase, so that what was measured before a failure or the time limit
    /// stays.
    async fn resolve_and_ask(&self, target: &Target, found: &mut Found) -> Result<(), Outcome> {
        let started = Instant::now();
        let deadline = started + self.group.timeout;
        let (names, allow) = (&self.env.names, &self.env.allow);
        if !allow.permits_http_port(target.endpoint.port) {
            return Err(Outcome::NotAsked);
        }
        let addresses = dial::resolve(names, allow, &target.endpoint, deadline).await?;
        if matches!(target.endpoint.host, Host::Name(_)) {
            found.name = Some(super::micros(started.elapsed()));
        }
        timeout_at(deadline, target.ask(&addresses, found))
            .await
            .unwrap_or(Err(Outcome::Timeout))?;
        found.total = Some(super::micros(started.elapsed()));
        Ok(())
    }
}

impl Target {
    async fn ask(&self, addresses: &[SocketAddr], found: &mut Found) -> Result<(), Outcome> {
        let (stream, connect_us) = dial::connect(addresses).await?;
        found.connect = Some(connect_us);
        // The request is one small segment: waiting to fill it would be measured.
        stream.set_nodelay(true).map_err(|_| Outcome::NotAsked)?;
        match &self.tls {
            None => request(stream, self, found).await,
            Some(tls) => {
                let handshake = Instant::now();
                let stream = tls.connector.connect(tls.name.clone(), stream).await;
                let stream = stream.map_err(|error| {
                    tracing::debug!(target = ?self.authority, error = chain(&error), "TLS failed");
                    Outcome::Tls
                })?;
                found.tls = Some(super::micros(handshake.elapsed()));
                request(stream, self, found).await
            }
        }
    }

    fn new(url: &str, env: &Env) -> Result<Self, BuildError> {
        let refused = || BuildError::Url(url.to_owned());
        if url.len() > MAX_URL_LEN {
            return Err(refused());
        }
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().ok_or_else(refused)?.as_str();
        // What stands before an `@` is a credential, or a host in disguise.
        if authority.contains('@') {
            return Err(refused());
        }
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(refused()),
        };
        let host = uri.host().ok_or_else(refused)?;
        // Not `Uri::port`, for which a port out of range is none at all.
        let port = match authority.strip_prefix(host).ok_or_else(refused)? {
            "" => Some(if is_tls { 443 } else { 80 }),
            colon_port => colon_port.strip_prefix(':').and_then(dial::port),
        };
        let port = port.ok_or_else(refused)?;
        let host = Host::parse(host).ok_or_else(refused)?;
        let tls = if is_tls {
            let name = match &host {
                Host::Address(address) => ServerName::IpAddress((*address).into()),
                Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| refused())?,
            };
            let record = Arc::new(HandshakeRecord::new(&env.trust).map_err(BuildError::Tls)?);
            let connector = tls::connector(&record).map_err(BuildError::Tls)?;
            Some(Tls { connector, name, record })
        } else {
            None
        };
        if let Host::Address(address) = host
            && let Err(error) = env.allow.permits(address)
        {
            tracing::warn!(target = ?authority, error = chain(&error), "a target is not probed");
        }
        if !env.allow.permits_http_port(port) {
            tracing::warn!(target = ?authority, "a target is not probed: no port of a web server");
        }
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        let authority = authority.to_owned();
        Ok(Self { endpoint: Endpoint { host, port }, authority, path, tls })
    }
}

/// Sends the request over `stream` and reads the answer.
async fn request<S>(stream: S, target: &Target, found: &mut Found) -> Result<(), Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::get(target.path.as_str())
        .header(header::HOST, target.authority.as_str())
        .header(header::USER_AGENT, concat!("vigie-agent/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        // Counted as it comes: nothing is ever decompressed.
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Outcome::NotAsked)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| outcome_of(&error))?;
    let exchange = async {
        let sent = Instant::now();
        let response = sender.send_request(request).await.map_err(|error| outcome_of(&error))?;
        // When the head is whole, which a monitoring probe can not tell from its first byte.
        found.first_byte = Some(super::micros(sent.elapsed()));
        found.status = Some(response.status().as_u16().into());
        let mut body = response.into_body();
        let mut bytes = 0;
        while bytes < MAX_BODY_BYTES
            && let Some(frame) = body.frame().await
        {
            let frame = frame.map_err(|error| outcome_of(&error))?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            found.body_bytes = i64::try_from(bytes.min(MAX_BODY_BYTES)).ok();
        }
        found.body_bytes = i64::try_from(bytes.min(MAX_BODY_BYTES)).ok();
        Ok(())
    };
    // The connection does the input and output of the exchange, and its errors reach the exchange.
    let drive = async {
        if let Err(error) = connection.await {
            tracing::trace!(error = chain(&error), "an HTTP connection failed");
        }
        std::future::pending().await
    };
    tokio::select! {
        exchanged = exchange => exchanged,
        never = drive => never,
    }
}

/// What hyper's error tells of the server.
fn outcome_of(error: &hyper::Error) -> Outcome {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    match cause.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe) => {
            Outcome::Refused
        }
        // Not HTTP, too large a head, or an end before the end.
        Some(_) | None => Outcome::Malformed,
    }
}

#[async_trait]
impl Probe for HttpProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let this = &*self;
        let found: Vec<Found> = super::ask_all(this.targets.len(), this.group.timeout, |index| {
            this.ask(&this.targets[index])
        })
        .await;
        let outcomes = found.iter().map(|found| found.outcome.unwrap_or(Outcome::NotAsked));
        let changed = self.changes.note(outcomes);
        let cells = super::cells(&self.group.columns, &found, |metric, found| {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the metrics of all other probes")]
            match metric {
                Metric::HttpOutcome => found.outcome.map(|outcome| outcome as i64),
                Metric::HttpStatus => found.status,
                Metric::HttpNameTime => found.name,
                Metric::HttpConnectTime => found.connect,
                Metric::HttpTlsTime => found.tls,
                Metric::HttpFirstByteTime => found.first_byte,
                Metric::HttpTotalTime => found.total,
                Metric::HttpCertificateExpiry => found.certificate_expiry,
                Metric::HttpBodyBytes => found.body_bytes,
                _ => None,
            }
        });
        Ok(Round { boot_ns, cells, changed, events: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, probe::allow::AllowList};

    fn target(url: &str) -> Option<Target> {
        let mut env = Env::new(Arc::new(SystemClock::new()), AllowList::default());
        env.trust = Arc::new(tls::Trust::only(rustls::RootCertStore::empty()));
        Target::new(url, &env).ok()
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, path) in [
            ("http://www.example.fr", "www.example.fr", 80, "/"),
            ("https://www.example.fr/a?b#c", "www.example.fr", 443, "/a?b"),
            ("HTTP://10.0.0.1:8080/x", "10.0.0.1", 8080, "/x"),
            ("https://[2001:db8::1]:8443/", "[2001:db8::1]", 8443, "/"),
        ] {
            let target = target(url).unwrap_or_else(|| panic!("{url}"));
            assert_eq!(Some(target.endpoint.host), Host::parse(host), "{url}");
            assert_eq!((target.endpoint.port, target.path.as_str()), (port, path), "{url}");
        }
    }

    #[test]
    fn urls_that_could_mean_something_else_are_refused() {
        for url in [
            "",
            "/etc/passwd",
            "file:///etc/passwd",
            "gopher://example.fr/",
            "unix:/run/x",
            "ftp://example.fr/",
            "http:///path",
            "http://user:password@example.fr/",
            "http://example.fr@10.0.0.1/",
            "http://example.fr:0/",
            "http://example.fr:65536/",
            "http://example.fr:/",
            "http://example.fr/a b",
            "http://example.fr/a\r\nHost: x",
            "http://example.fr\r\n/",
            "http://exämple.fr/",
            "http://[::ffff:127.0.0.1%lo]/",
            "http://a_b*c/",
        ] {
            assert!(target(url).is_none(), "{url:?}");
        }
        assert!(target(&format!("http://a/{}", "x".repeat(MAX_URL_LEN - 9))).is_some());
        assert!(target(&format!("http://a/{}", "x".repeat(MAX_URL_LEN - 8))).is_none());
    }
}
