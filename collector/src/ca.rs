//! The collector's own certificate authority: one P-256 key, made at the first start, that signs
//! agents' certificates and the server's own.
//!
//! The server sends its leaf and the authority's certificate, so that an agent that holds a token
//! can compare the authority's key with the token's pin before it says anything.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::id::AgentId;
use jiff::Timestamp;
use rand::RngExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls::{crypto::ring::sign::any_ecdsa_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use crate::{
    config::TLS_NAME,
    secret_file::{self, SecretFileError},
};

mod identity;
mod request;

pub use identity::{Identity, IdentityError};
pub use request::{RequestError, RequestKey};

/// Life of an agent's and of the server's certificate.
pub const LEAF_LIFE: Duration = Duration::from_hours(90 * 24);
/// Life of the authority.
const AUTHORITY_LIFE: Duration = Duration::from_hours(3_652 * 24);
/// Certificates start so long before they are made: clocks differ.
const BACKDATE: Duration = Duration::from_hours(24);
/// An expired certificate may still ask for its renewal for so long.
pub const RENEW_AFTER_EXPIRY: Duration = Duration::from_hours(400 * 24);
/// The URI in an agent's certificate, before its 32 hexadecimal digits.
pub const AGENT_URN: &str = "urn:vigie:agent:";

/// Why the authority can not be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Its files can not be read or written, or others can read them.
    #[error("cannot use the certificate authority's files")]
    File(#[from] SecretFileError),
    /// Its files hold something else.
    #[error("{path} is not what it should be")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificate does not belong to the key beside it.
    #[error("{path} belongs to another key")]
    Mismatch {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot sign a certificate")]
    Sign(#[from] rcgen::Error),
    /// The server's key could not be used.
    #[error("cannot use the server's key")]
    Key(#[from] rustls::Error),
}

/// The authority, its key in memory.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pin: [u8; 32],
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("pin", &hex(&self.pin)).finish_non_exhaustive()
    }
}

/// A certificate that was just signed.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// End of its validity, whole seconds.
    pub expires_at: Timestamp,
}

impl Authority {
    /// Opens the authority of `dir`, or makes it.
    ///
    /// # Errors
    /// [`CaError`]; an existing key is never replaced.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, CaError> {
        secret_file::create_dir(dir)?;
        let (key_path, certificate_path) = (dir.join("ca.key"), dir.join("ca.crt"));
        let damaged = |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| {
            CaError::Damaged { path: path.to_owned(), source }
        };
        let key = if let Some(pem) = secret_file::read(&key_path)? {
            let der = PrivatePkcs8KeyDer::from_pem_slice(&pem)
                .map_err(|error| damaged(&key_path, error.into()))?;
            KeyPair::try_from(&der).map_err(|error| damaged(&key_path, error.into()))?
        } else {
            let key = KeyPair::generate()?;
            secret_file::replace(&key_path, key.serialize_pem().as_bytes())?;
            key
        };
        let certificate = if let Some(pem) = secret_file::read(&certificate_path)? {
            CertificateDer::from_pem_slice(&pem)
                .map_err(|error| damaged(&certificate_path, error.into()))?
        } else {
            // The key alone survived a crash, or this is the first start.
            let made = authority_params(now).self_signed(&key)?;
            secret_file::replace(&certificate_path, made.pem().as_bytes())?;
            made.der().clone()
        };
        let spki = identity::spki(&certificate)
            .map_err(|error| damaged(&certificate_path, error.into()))?;
        if spki != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(CaError::Mismatch { path: certificate_path });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(&certificate_path, error.into()))?;
        Ok(Self { issuer, pin: sha256(&spki), certificate })
    }

    /// The authority's certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the authority's public key (SPKI, DER): the third part of a token.
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        self.pin
    }

    /// Signs a certificate for an agent's key. Nothing but the key comes from outside.
    ///
    /// # Errors
    /// [`CaError::Sign`].
    pub fn issue_agent(
        &self,
        key: &RequestKey,
        agent: AgentId,
        now: Timestamp,
    ) -> Result<Issued, CaError> {
        let urn = format!("{AGENT_URN}{agent}");
        let (mut params, serial, expires_at) = leaf_params(&agent.to_string(), now);
        params.subject_alt_names = vec![SanType::URI(urn.as_str().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(key.public_key(), &self.issuer)?;
        Ok(Issued { der: certificate.der().clone(), serial, expires_at })
    }

    /// Makes a key and a certificate for the server itself.
    ///
    /// # Errors
    /// [`CaError::Sign`] when a name is not one, [`CaError::Key`].
    pub fn issue_server(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<Arc<CertifiedKey>, CaError> {
        let key = KeyPair::generate()?;
        let (mut params, _, _) = leaf_params("Vigie collector", now);
        for name in std::iter::once(TLS_NAME).chain(names.iter().map(String::as_str)) {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into()?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok(Arc::new(CertifiedKey::new(chain, any_ecdsa_type(&der)?)))
    }
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Vigie collector authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, AUTHORITY_LIFE);
    params
}

fn leaf_params(name: &str, now: Timestamp) -> (CertificateParams, String, Timestamp) {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let expires_at = set_validity(&mut params, now, LEAF_LIFE);
    let mut serial: [u8; 16] = rand::rng().random();
    // Positive and of one length, so that its text is always the same.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    (params, hex(&serial), expires_at)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, life: Duration) -> Timestamp {
    let epoch = date_time_ymd(1970, 1, 1);
    let now_s = u64::try_from(now.as_second()).unwrap_or(0);
    params.not_before = epoch + Duration::from_secs(now_s).saturating_sub(BACKDATE);
    params.not_after = epoch + Duration::from_secs(now_s) + life;
    Timestamp::from_second(now.as_second())
        .and_then(|now| now.checked_add(life))
        .unwrap_or(Timestamp::MAX)
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
