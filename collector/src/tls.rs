//! TLS towards agents: 1.3 only, HTTP/2 only, no tickets, and a client certificate that is optional
//! here because each call decides for itself what it needs (see [`crate::access`]).

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring as provider},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError,
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    ca::{Authority, CaError, Identity, LEAF_LIFE, RENEW_AFTER_EXPIRY},
    clock::Clock,
};

mod listener;

pub use listener::{Channel, ListenLimits, Peer, listen};

/// Certificates that a client may send: its own and the authority's.
const MAX_CHAIN: usize = 2;

/// Why TLS can not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server's own certificate.
    #[error("cannot issue the server's certificate")]
    Certificate(#[from] CaError),
    /// The authority's certificate is no trust anchor.
    #[error("cannot trust the collector's own authority")]
    Trust(#[from] VerifierBuilderError),
    /// Anything else.
    #[error("cannot set TLS up")]
    Setup(#[from] Error),
}

/// The server's certificate, replaced while the server runs.
#[derive(Debug)]
pub struct ServerIdentity {
    authority: Arc<Authority>,
    names: Vec<String>,
    current: RwLock<(Arc<CertifiedKey>, jiff::Timestamp)>,
}

impl ServerIdentity {
    /// Issues the first certificate.
    ///
    /// # Errors
    /// [`TlsError::Certificate`].
    pub fn new(
        authority: Arc<Authority>,
        names: Vec<String>,
        now: jiff::Timestamp,
    ) -> Result<Self, TlsError> {
        let key = authority.issue_server(&names, now)?;
        Ok(Self { authority, names, current: RwLock::new((key, now)) })
    }

    /// Issues another one when a third of the present one's life is left; true when it did.
    ///
    /// # Errors
    /// [`TlsError::Certificate`]; the present one stays.
    pub fn renew_if_due(&self, now: jiff::Timestamp) -> Result<bool, TlsError> {
        let issued = self.current.read().unwrap_or_else(PoisonError::into_inner).1;
        // A clock set back past the start of the certificate is as good a reason as its end.
        let age = now.duration_since(issued);
        if age.unsigned_abs() < LEAF_LIFE * 2 / 3 && !age.is_negative() {
            return Ok(false);
        }
        let key = self.authority.issue_server(&self.names, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (key, now);
        Ok(true)
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone())
    }
}

/// The server's side of TLS.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(
    authority: &Authority,
    identity: Arc<ServerIdentity>,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, TlsError> {
    let crypto = Arc::new(provider::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let inner =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto.clone()).build()?;
    let verifier = Arc::new(AgentVerifier { inner, crypto: crypto.clone(), clock });
    let mut config = ServerConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would carry an authorisation from the past.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Accepts nobody, agents of ours, and agents of ours whose certificate expired not too long ago.
struct AgentVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    crypto: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for AgentVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentVerifier").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for AgentVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let identity = Identity::from_certificate(end_entity)
            .map_err(|_| Error::from(CertificateError::ApplicationVerificationFailure))?;
        let now = self.clock.now();
        let overdue = now.duration_since(identity.expires_at);
        if overdue > jiff::SignedDuration::try_from(RENEW_AFTER_EXPIRY).unwrap_or_default() {
            return Err(CertificateError::Expired.into());
        }
        // Everything but the end of validity is checked as at any time; what an expired one may
        // still do is decided per call.
        let judged_at = if overdue.is_positive() { identity.expires_at } else { now };
        let seconds = u64::try_from(judged_at.as_second()).unwrap_or(0);
        let judged_at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.inner.verify_client_cert(end_entity, &[], judged_at)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
