//! TLS towards the collector: 1.3 only, HTTP/2, trust in the collector's own authority, and a sense
//! of time that survives a dead clock battery.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ring::digest;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring as provider},
    server::ParsedCertificate,
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Identity, files};
use crate::logs::chain;

/// The name in the collector's certificate, whatever the address that leads there.
pub const COLLECTOR_NAME: &str = "collector.vigie.internal";
/// Longest wait for the look-up and the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// A wall clock that is this far ahead of the last server time is not believed when a certificate
/// seems to have expired.
const IMPLAUSIBLE_S: i64 = 86_400;
/// The server's time is written down no more often than this.
const PERSIST_EVERY_S: i64 = 600;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No route, nobody listening, no such name.
    #[error("cannot connect to {address}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the system answered.
        source: io::Error,
    },
    /// Something answered that is not the collector: a captive portal, an inspecting proxy.
    #[error("something between this agent and {address} answers in the collector's place")]
    Intercepted {
        /// `host:port`.
        address: String,
        /// What TLS found.
        source: Error,
    },
    /// The collector's side ended the handshake.
    #[error("cannot agree on TLS with {address}")]
    Tls {
        /// `host:port`.
        address: String,
        /// What TLS found.
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer from {address} while {doing}")]
    Timeout {
        /// `host:port`.
        address: String,
        /// At which step.
        doing: &'static str,
    },
}

/// Time for judging certificates: never before what the server last said. A wall clock that is far
/// ahead is set aside for a try, after certificates seemed to have expired.
#[derive(Debug)]
pub struct TlsTime {
    floor: AtomicI64,
    /// End of the certificate that the server showed last: its own time can not be later.
    ceiling: AtomicI64,
    persisted: AtomicI64,
    distrust_wall: AtomicBool,
    path: PathBuf,
}

impl TlsTime {
    /// Reads the last server time from `dir`; `not_before` (Unix seconds) is the agent's own
    /// certificate's, which the collector signed.
    #[must_use]
    pub fn load(dir: &std::path::Path, not_before: i64) -> Self {
        let path = dir.join("server-time");
        let kept = match files::read(&path) {
            Ok(bytes) => bytes.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok()),
            Err(error) => {
                tracing::warn!(error = chain(&error), "no last server time");
                None
            }
        };
        let kept = kept.unwrap_or(0);
        Self {
            floor: AtomicI64::new(not_before.max(kept)),
            ceiling: AtomicI64::new(i64::MAX),
            persisted: AtomicI64::new(kept),
            distrust_wall: AtomicBool::new(false),
            path,
        }
    }

    /// Hears the server's time, in Unix seconds, and writes it down now and then. A server whose clock
    /// is years ahead for a minute must not make its certificates look expired for years.
    pub fn server_said(&self, now_s: i64) {
        if now_s > self.ceiling.load(Relaxed) {
            tracing::warn!(
                now_s,
                "the server's time is behind its certificate's end: not believed"
            );
            return;
        }
        self.floor.fetch_max(now_s, Relaxed);
        let persisted = self.persisted.load(Relaxed);
        if now_s - persisted >= PERSIST_EVERY_S {
            self.persisted.store(now_s, Relaxed);
            if let Err(error) = files::replace(&self.path, now_s.to_string().as_bytes()) {
                let error = chain(&error);
                tracing::warn!(error, "the server's time is not kept");
            }
        }
    }

    /// Unix seconds.
    #[must_use]
    pub fn now_s(&self) -> i64 {
        let floor = self.floor.load(Relaxed);
        if self.distrust_wall.load(Relaxed) { floor } else { floor.max(wall_s()) }
    }

    /// Looks at the certificate of a server that is believed to be the collector.
    pub(super) fn met(&self, certificates: Option<&[CertificateDer<'_>]>) {
        let leaf = certificates.and_then(<[_]>::first);
        if let Some(Ok((_, leaf))) = leaf.map(|leaf| X509Certificate::from_der(leaf)) {
            self.ceiling.store(leaf.validity().not_after.timestamp(), Relaxed);
        }
    }

    /// Whether another try with the server's last time instead of the wall clock makes sense.
    fn may_distrust_wall(&self) -> bool {
        wall_s() - self.floor.load(Relaxed) > IMPLAUSIBLE_S
    }
}

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.now_s()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn wall_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// The anchors as TLS takes them.
pub fn roots(anchors: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone())?;
    }
    Ok(roots)
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

/// A client that presents `identity` and trusts `anchors`.
pub fn client(
    identity: &Identity,
    anchors: &[CertificateDer<'_>],
    time: Arc<TlsTime>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_details(crypto(), time)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(anchors)?)
        .with_client_auth_cert(identity.chain.clone(), identity.private_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the look at both certificates.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// A client without certificate, for enrolment: trusts whoever is signed by the key of `pin`.
pub fn pinned_client(pin: [u8; 32]) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin, crypto: crypto() }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// SHA-256 of a certificate's `SubjectPublicKeyInfo`.
pub fn spki_pin(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let mut pin = [0; 32];
    pin.copy_from_slice(digest::digest(&digest::SHA256, &spki).as_ref());
    Ok(pin)
}

/// Accepts a chain one of whose authorities has the pinned key: the certificate of that key is
/// taken as the only trust anchor, and the usual rules do the rest.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let anchor = intermediates
            .iter()
            .find(|certificate| spki_pin(certificate).is_ok_and(|pin| pin == self.pin))
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots(std::slice::from_ref(anchor))?),
            Arc::clone(&self.crypto),
        )
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
        // A fresh machine may stand in 1970. Who answers is known by the pin; "not yet valid" would
        // tell of this machine's clock only.
        let (_, leaf) = X509Certificate::from_der(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let signed = u64::try_from(leaf.validity().not_before.timestamp()).unwrap_or(0);
        let now = now.max(UnixTime::since_unix_epoch(Duration::from_secs(signed)));
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}

/// Connects and shakes hands, each with its deadline. When the server's certificate seems to have
/// expired and the wall clock is far ahead of the server's last time, tries once more with that.
pub async fn connect(
    address: &str,
    config: Arc<ClientConfig>,
    time: Option<&TlsTime>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    if let Some(time) = time {
        time.distrust_wall.store(false, Relaxed);
    }
    let mut connected = attempt(address, Arc::clone(&config)).await;
    if let Err(error) = &connected
        && let Some(time) = time
        && is_expired(error)
        && time.may_distrust_wall()
    {
        tracing::warn!(
            "the wall clock seems wrong; certificates are judged by the last server time"
        );
        time.distrust_wall.store(true, Relaxed);
        connected = attempt(address, config).await;
    }
    if let (Ok(stream), Some(time)) = (&connected, time) {
        time.met(stream.get_ref().1.peer_certificates());
    }
    connected
}

fn is_expired(error: &ConnectError) -> bool {
    let ConnectError::Intercepted { source, .. } = error else { return false };
    matches!(
        source,
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        )
    )
}

async fn attempt(
    address: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let late = |doing| ConnectError::Timeout { address: address.to_owned(), doing };
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| late("connecting"))?
        .map_err(|source| ConnectError::Connect { address: address.to_owned(), source })?;
    // A live record must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = chain(&error), "small packets may be held back");
    }
    let name = ServerName::try_from(COLLECTOR_NAME).map_err(|_| ConnectError::Tls {
        address: address.to_owned(),
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, stream))
        .await
        .map_err(|_| late("agreeing on TLS"))?
        .map_err(|source| judge(address, source))
}

/// A server that is not the collector shows in two ways: its certificate is not the authority's, or
/// it does not speak TLS at all.
fn judge(address: &str, source: io::Error) -> ConnectError {
    let address = address.to_owned();
    let tls = source.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(error @ (Error::InvalidCertificate(_) | Error::InvalidMessage(_))) => {
            ConnectError::Intercepted { address, source: error.clone() }
        }
        _ => ConnectError::Tls { address, source },
    }
}
