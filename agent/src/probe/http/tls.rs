//! TLS as probes need it: strict, and with the server's certificate read in any case.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::{
    logs::chain,
    probe::{Outcome, dial::Host, web::Stream},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

/// HTTP/1.1 as ALPN calls it.
pub(in crate::probe) const HTTP: &[u8] = b"http/1.1";

/// The certificate authorities that probes trust.
#[derive(Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    /// `None` within when there is not one usable authority.
    verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl Trust {
    /// This machine's own, loaded once, at their first use.
    #[must_use]
    pub fn system() -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self { provider, verifier: OnceLock::new() }
    }

    /// These only.
    #[must_use]
    pub fn only(roots: RootCertStore) -> Self {
        let trust = Self::system();
        let verifier = trust.build(roots);
        trust.verifier.get_or_init(|| verifier);
        trust
    }

    fn verifier(&self) -> Option<Arc<WebPkiServerVerifier>> {
        let load = || {
            let loaded = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            let (usable, ignored) = roots.add_parsable_certificates(loaded.certs);
            tracing::debug!(usable, ignored, errors = ?loaded.errors, "loaded the system's trust");
            self.build(roots)
        };
        self.verifier.get_or_init(load).clone()
    }

    fn build(&self, roots: RootCertStore) -> Option<Arc<WebPkiServerVerifier>> {
        let provider = Arc::clone(&self.provider);
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        built
            .inspect_err(|error| {
                tracing::warn!(
                    error = chain(&error),
                    "no certificate authority: every certificate is refused"
                );
            })
            .ok()
    }
}

/// What the server's certificate said of itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `notAfter`, seconds since the Unix epoch.
    pub not_after: Option<i64>,
    /// Why the certificate was refused, unless the one before was refused for the same reason.
    /// Quotes the certificate: a stranger's text.
    pub new_refusal: Option<String>,
    /// Whether it was refused and is past its end, be that the reason or not: what is to be done about
    /// it is the same.
    pub is_expired: bool,
}

/// Checks certificates as strictly as any client, and remembers the last one seen, valid or not.
#[derive(Debug)]
pub struct HandshakeRecord {
    provider: Arc<CryptoProvider>,
    strict: Option<Arc<WebPkiServerVerifier>>,
    seen: Mutex<Seen>,
    refusal: Mutex<Option<String>>,
}

impl HandshakeRecord {
    /// Trusting what `trust` does. Without one authority every certificate is refused, and still
    /// read.
    pub fn new(trust: &Trust) -> Result<Self, rustls::Error> {
        Ok(Self {
            provider: Arc::clone(&trust.provider),
            strict: trust.verifier(),
            seen: Mutex::default(),
            refusal: Mutex::default(),
        })
    }

    /// What was seen since the last call.
    #[must_use]
    pub fn take(&self) -> Seen {
        self.peek(std::mem::take)
    }

    fn peek<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// TLS towards one server, which is known by its name or address.
pub(in crate::probe) struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
    record: Arc<HandshakeRecord>,
}

impl Client {
    /// Towards `host`, for the protocol that ALPN calls so, where it has a name. `None` for a name that
    /// no certificate can have.
    pub(in crate::probe) fn new(
        host: &Host,
        trust: &Trust,
        protocol: Option<&[u8]>,
    ) -> Result<Option<Self>, rustls::Error> {
        let name = match host {
            Host::Address(address) => ServerName::IpAddress((*address).into()),
            Host::Name(name) => match ServerName::try_from(name.clone()) {
                Ok(name) => name,
                Err(_) => return Ok(None),
            },
        };
        let record = Arc::new(HandshakeRecord::new(trust)?);
        let connector = connector(&record, protocol)?;
        Ok(Some(Self { connector, name, record }))
    }

    /// Shakes hands over `stream`.
    pub(in crate::probe) async fn handshake(&self, stream: Stream) -> Result<Stream, Outcome> {
        match self.connector.connect(self.name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let server = &self.name;
                tracing::debug!(target = ?server, error = chain(&error), "TLS failed");
                let is_expired = self.record.peek(|seen| seen.is_expired);
                Err(if is_expired { Outcome::Expired } else { Outcome::Tls })
            }
        }
    }

    /// End of the certificate seen since the last call, seconds since the Unix epoch. Why it was
    /// refused goes to the log, once for each reason.
    pub(in crate::probe) fn not_after(&self) -> Option<i64> {
        let seen = self.record.take();
        if let Some(reason) = seen.new_refusal {
            tracing::info!(target = ?self.name, ?reason, "a certificate is not valid");
        }
        seen.not_after
    }
}

/// A connector for TLS 1.2 and 1.3 that checks with `record`. Sessions are never resumed: a
/// resumed one shows no certificate.
fn connector(
    record: &Arc<HandshakeRecord>,
    protocol: Option<&[u8]>,
) -> Result<TlsConnector, rustls::Error> {
    let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(record) as _;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&record.provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

impl ServerCertVerifier for HandshakeRecord {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = match &self.strict {
            Some(strict) => strict.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        };
        let refusal = verdict.as_ref().err().map(ToString::to_string);
        let mut known = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        let new_refusal = refusal.clone().filter(|_| refusal != *known);
        *known = refusal;
        let not_after = not_after(end_entity);
        let is_past = |end: i64| u64::try_from(end).map_or(true, |end| end < now.as_secs());
        let is_expired = verdict.is_err() && not_after.is_some_and(is_past);
        self.peek(|seen| *seen = Seen { not_after, new_refusal, is_expired });
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
