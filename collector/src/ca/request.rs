//! The one thing taken from a certificate signing request: a public key and the proof that its
//! sender holds the private one. Subject, names and extensions are not even looked at.

use proto::limits::MAX_CSR_BYTES;
use rcgen::SubjectPublicKeyInfo;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use super::sha256;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Above [`MAX_CSR_BYTES`].
    #[error("certificate request is too large")]
    Size,
    /// Not a request.
    #[error("certificate request does not parse")]
    Malformed,
    /// Neither P-256, nor P-384, nor Ed25519.
    #[error("certificate request has a key of a kind that is not allowed")]
    Kind,
    /// Not signed by the key that it carries.
    #[error("certificate request is not signed by its key")]
    Proof,
}

/// A public key whose holder proved to hold the private one.
#[derive(Debug)]
pub struct RequestKey {
    key: SubjectPublicKeyInfo,
    spki_sha256: [u8; 32],
}

impl RequestKey {
    /// Reads and checks a request (PKCS#10, DER).
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_request(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > MAX_CSR_BYTES {
            return Err(RequestError::Size);
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(RequestError::Malformed);
        };
        let spki = request.certification_request_info.subject_pki.raw;
        // The kind first: checking the signature of a 16,384-bit RSA key is work for the sender's
        // pleasure only.
        let key = SubjectPublicKeyInfo::from_der(spki).map_err(|_| RequestError::Kind)?;
        let allowed =
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
        if !allowed.contains(&rcgen::PublicKeyData::algorithm(&key)) {
            return Err(RequestError::Kind);
        }
        request.verify_signature().map_err(|_| RequestError::Proof)?;
        Ok(Self { spki_sha256: sha256(spki), key })
    }

    /// SHA-256 of the key (SPKI, DER).
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    pub(super) fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}
