//! Who a certificate of ours says that its holder is.

use domain::id::AgentId;
use jiff::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
};

use super::{AGENT_URN, hex, sha256};

/// An agent as its certificate names it. The signature was checked by the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The agent.
    pub agent: AgentId,
    /// Serial number of the certificate, hexadecimal.
    pub serial: String,
    /// SHA-256 of the public key (SPKI, DER).
    pub spki_sha256: [u8; 32],
    /// End of validity.
    pub expires_at: Timestamp,
}

/// Why a certificate is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("certificate does not parse")]
    Malformed,
    /// It may sign others, or is not for clients.
    #[error("certificate is not a client's")]
    Usage,
    /// Not exactly one name, or one of another shape.
    #[error("certificate does not name exactly one agent")]
    Name,
}

impl Identity {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let certificate = parse(der)?;
        let mut names = Vec::new();
        let mut client = false;
        for extension in certificate.extensions() {
            let parsed = extension.parsed_extension();
            if let ParsedExtension::SubjectAlternativeName(san) = parsed {
                names.extend(san.general_names.iter());
            } else if let ParsedExtension::ExtendedKeyUsage(usage) = parsed {
                client = usage.client_auth && !usage.server_auth && !usage.any;
            }
        }
        if certificate.is_ca() || !client {
            return Err(IdentityError::Usage);
        }
        let [GeneralName::URI(urn)] = names.as_slice() else { return Err(IdentityError::Name) };
        let agent = urn
            .strip_prefix(AGENT_URN)
            .filter(|digits| !digits.bytes().any(|byte| byte.is_ascii_uppercase()))
            .and_then(|digits| digits.parse().ok())
            .ok_or(IdentityError::Name)?;
        Ok(Self {
            agent,
            serial: hex(certificate.raw_serial()),
            spki_sha256: sha256(certificate.public_key().raw),
            expires_at: Timestamp::from_second(certificate.validity().not_after.timestamp())
                .map_err(|_| IdentityError::Malformed)?,
        })
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(IdentityError::Malformed),
    }
}

/// The public key of a certificate, SPKI, DER.
pub(super) fn spki(der: &[u8]) -> Result<Vec<u8>, IdentityError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}
