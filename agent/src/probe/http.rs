//! One request to each URL, phase by phase: name, connection, TLS, first byte, whole.
//!
//! Redirects are not followed: a 3xx is an answer, and where it points is the site's affair. The
//! environment's proxies are ignored, no credential is ever sent, and the body is counted, not
//! kept.

pub mod tls;

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, header, response};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};

use super::{
    BuildError, Cell, Changes, Outcome, Probe, ProbeError, Round,
    dial::{self, Host},
    env::Env,
    web::{self, Stream, Url},
};
use crate::{
    logs::chain,
    plan::{Group, Metric},
};

/// A body is read up to here and the answer then counts as whole.
pub const MAX_BODY_BYTES: u64 = 1 << 20;

/// Measures the URLs of one group.
pub struct HttpProbe {
    env: Env,
    group: Group,
    targets: Vec<Target>,
    changes: Changes,
}

/// One URL, taken apart once.
struct Target {
    url: Url,
    tls: Option<tls::Client>,
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
        found.certificate_expiry = target.tls.as_ref().and_then(tls::Client::not_after);
        found
    }

    /// Fills `found` phase by phase, so that what was measured before a failure or the time limit
    /// stays.
    async fn resolve_and_ask(&self, target: &Target, found: &mut Found) -> Result<(), Outcome> {
        let started = Instant::now();
        let deadline = started + self.group.timeout;
        let (names, allow) = (&self.env.names, &self.env.allow);
        if !allow.permits_http_port(target.url.endpoint.port) {
            return Err(Outcome::NotAsked);
        }
        let addresses = dial::resolve(names, allow, &target.url.endpoint, deadline).await?;
        if matches!(target.url.endpoint.host, Host::Name(_)) {
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
        let stream: Stream = Box::new(stream);
        match &self.tls {
            None => request(stream, self, found).await,
            Some(tls) => {
                let handshake = Instant::now();
                let stream = tls.handshake(stream).await?;
                found.tls = Some(super::micros(handshake.elapsed()));
                request(stream, self, found).await
            }
        }
    }

    fn new(text: &str, env: &Env) -> Result<Self, BuildError> {
        let refused = || BuildError::Url(text.to_owned());
        let url = Url::of_page(text).ok_or_else(refused)?;
        let tls = if url.is_tls {
            let client = tls::Client::new(&url.endpoint.host, &env.trust, Some(tls::HTTP));
            Some(client.map_err(BuildError::Tls)?.ok_or_else(refused)?)
        } else {
            None
        };
        let authority = &url.authority;
        if let Host::Address(address) = url.endpoint.host
            && let Err(error) = env.allow.permits(address)
        {
            tracing::warn!(target = ?authority, error = chain(&error), "a target is not probed");
        }
        if !env.allow.permits_http_port(url.endpoint.port) {
            tracing::warn!(target = ?authority, "a target is not probed: no port of a web server");
        }
        Ok(Self { url, tls })
    }
}

/// Sends the request over `stream` and reads the answer.
async fn request(stream: Stream, target: &Target, found: &mut Found) -> Result<(), Outcome> {
    let request = Request::get(target.url.path.as_str())
        .header(header::HOST, target.url.authority.as_str())
        .header(header::USER_AGENT, web::USER_AGENT)
        .header(header::ACCEPT, "*/*")
        // Counted as it comes: nothing is ever decompressed.
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close")
        .body(Full::<Bytes>::default())
        .map_err(|_| Outcome::NotAsked)?;
    web::exchange(stream, request, &mut Answer { found, sent: Instant::now(), bytes: 0 }).await
}

/// Notes of an answer what is measured of it.
struct Answer<'a> {
    found: &'a mut Found,
    sent: Instant,
    bytes: u64,
}

impl Answer<'_> {
    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.found.body_bytes = i64::try_from(self.bytes.min(MAX_BODY_BYTES)).ok();
    }
}

impl web::Reader for Answer<'_> {
    fn head(&mut self, head: &response::Parts) {
        // When the head is whole, which a monitoring probe can not tell from its first byte.
        self.found.first_byte = Some(super::micros(self.sent.elapsed()));
        self.found.status = Some(head.status.as_u16().into());
        self.count(0);
    }

    fn data(&mut self, data: &[u8]) -> bool {
        self.count(data.len());
        self.bytes < MAX_BODY_BYTES
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
    use std::sync::Arc;

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
            let read = target.url;
            assert_eq!(Some(read.endpoint.host), Host::parse(host), "{url}");
            assert_eq!((read.endpoint.port, read.path.as_str()), (port, path), "{url}");
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
        assert!(target(&format!("http://a/{}", "x".repeat(web::MAX_URL_LEN - 9))).is_some());
        assert!(target(&format!("http://a/{}", "x".repeat(web::MAX_URL_LEN - 8))).is_none());
    }
}
