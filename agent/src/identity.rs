//! Who this agent is: its key and certificate, whom it trusts, and how both are renewed.
//!
//! In the data directory, all readable by the owner only:
//! - `identity.pem`: the key, then the certificate chain, leaf first;
//! - `identity.next.pem`: the same, renewed, until the collector has accepted it once;
//! - `trust.pem`: the collector's certificate authorities;
//! - `enrolment.toml`: the collector's address, the agent's id, the site's name;
//! - `key.next.pem`: a key whose certificate has been asked for and has not come yet.

pub mod files;
pub mod tls;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use files::FileError;
use proto::v1;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Before the agent's id in its certificate's URI name.
const URN: &str = "urn:vigie:agent:";
/// Most certificates in a chain or among the trust anchors.
const MAX_CERTIFICATES: usize = 8;
/// The renewal of a certificate begins when this part of its life is left.
const RENEW_AT_LEFT: i64 = 3;
/// The moment of renewal is spread over this part of the certificate's life (10 of 90 days).
const RENEW_SPREAD: i64 = 9;
/// Wait after a renewal that failed.
pub const RENEW_RETRY: Duration = Duration::from_hours(1);

/// Why the identity can not be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// Nothing has been enrolled here.
    #[error("this agent is not enrolled: run vigie-agent enrol")]
    NotEnrolled,
    /// The file's text is damaged.
    #[error("{} is damaged: {what}; put a copy of it back, or enrol again with --replace", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Bytes received are not what they should be.
    #[error("the collector's answer has {0}")]
    Answer(&'static str),
    /// A key or a request could not be made.
    #[error("cannot make a key or a certificate request")]
    Make(#[from] rcgen::Error),
    /// The TLS library refused.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// A key with its certificate chain.
#[derive(Debug)]
pub struct Identity {
    key: PrivatePkcs8KeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    /// 128 bits, given at enrolment.
    pub agent_id: [u8; 16],
    /// Unix seconds from which the certificate holds.
    pub not_before: i64,
    /// Unix seconds until which the certificate holds.
    pub not_after: i64,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone_key(),
            chain: self.chain.clone(),
            agent_id: self.agent_id,
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

impl Identity {
    /// Reads the text of `identity.pem`; `Err` names what is wrong with it.
    fn parse(pem: &[u8]) -> Result<Self, &'static str> {
        let pem = text_of(pem)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| "no whole private key")?;
        let chain = certificates(pem)?;
        let pair = KeyPair::try_from(&key).map_err(|_| "the private key is not usable")?;
        Self::new(&pair, chain)
    }

    fn new(key: &KeyPair, chain: Vec<CertificateDer<'static>>) -> Result<Self, &'static str> {
        let leaf = chain.first().ok_or("no certificate")?;
        let (rest, leaf) =
            X509Certificate::from_der(leaf).map_err(|_| "a malformed certificate")?;
        if !rest.is_empty() {
            return Err("bytes after the certificate");
        }
        let spki = key.subject_public_key_info();
        if leaf.public_key().raw != spki {
            let own = |other: &CertificateDer<'_>| {
                X509Certificate::from_der(other).is_ok_and(|(_, it)| it.public_key().raw == spki)
            };
            return Err(if chain.iter().any(own) {
                "certificates in the wrong order: the agent's own comes first"
            } else {
                "a certificate of another key"
            });
        }
        let agent_id = agent_id(&leaf).ok_or("no agent's name in its certificate")?;
        let (not_before, not_after) =
            (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        if not_after <= not_before {
            return Err("a certificate that never holds");
        }
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self { key, chain, agent_id, not_before, not_after })
    }

    fn pem(&self) -> String {
        let mut pem = pem_block("PRIVATE KEY", self.key.secret_pkcs8_der());
        for certificate in &self.chain {
            pem.push_str(&pem_block("CERTIFICATE", certificate));
        }
        pem
    }

    /// When to ask for a new certificate, in Unix seconds: with a third of its life left, and
    /// earlier by a share of `spread` (0 to 255), so that agents enrolled together do not ask
    /// together.
    #[must_use]
    pub fn renew_at(&self, spread: u8) -> i64 {
        let life = self.not_after - self.not_before;
        self.not_after - life / RENEW_AT_LEFT - life / RENEW_SPREAD * i64::from(spread) / 256
    }

    /// The agent's own certificate, DER.
    #[must_use]
    pub fn leaf_der(&self) -> &[u8] {
        &self.chain[0]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }
}

fn agent_id(leaf: &X509Certificate<'_>) -> Option<[u8; 16]> {
    let names = &leaf.subject_alternative_name().ok()??.value.general_names;
    let mut uris = names.iter().filter_map(|name| {
        if let GeneralName::URI(uri) = name { uri.strip_prefix(URN) } else { None }
    });
    let id = hex_id(uris.next()?)?;
    uris.next().is_none().then_some(id)
}

fn hex_id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// The agent's id as people and certificates write it.
#[must_use]
pub fn id_text(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// What editors and converters do to PEM: a byte order mark, before which the reader would not see
/// the first block, is passed over; binary in its place is told.
fn text_of(pem: &[u8]) -> Result<&[u8], &'static str> {
    // Each certificate and key in DER begins with a SEQUENCE of more than 127 bytes.
    if pem.starts_with(&[0x30, 0x81]) || pem.starts_with(&[0x30, 0x82]) {
        return Err("binary (DER) where text (PEM) belongs");
    }
    Ok(pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let pem = text_of(pem)?;
    let all = CertificateDer::pem_slice_iter(pem)
        .take(MAX_CERTIFICATES + 1)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "an incomplete certificate")?;
    if all.len() > MAX_CERTIFICATES {
        return Err("too many certificates");
    }
    // A file cut inside its last block reads as if the block were not there.
    if text_count(pem, b"-----BEGIN") != text_count(pem, b"-----END") {
        return Err("an incomplete certificate");
    }
    Ok(all)
}

fn text_count(text: &[u8], word: &[u8]) -> usize {
    text.windows(word.len()).filter(|window| *window == word).count()
}

/// One block of PEM (RFC 7468): lines of 64 characters.
fn pem_block(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, &b| bits << 8 | u32::from(b))
                << (8 * (3 - three.len()));
            for i in 0..4 {
                if i <= three.len() {
                    out.push(char::from(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize]));
                } else {
                    out.push('=');
                }
            }
        }
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

/// What enrolment learnt beside keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// `host:port`.
    pub collector: String,
    /// 32 hexadecimal digits.
    pub agent_id: String,
    /// The school, for people.
    pub site_name: String,
}

/// The identity's files.
#[derive(Debug, Clone)]
pub struct Keyring {
    dir: PathBuf,
}

/// All that a connection needs.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The identity in force.
    pub current: Identity,
    /// A renewed one that the collector has not accepted yet.
    pub next: Option<Identity>,
    /// The collector's certificate authorities.
    pub trust: Vec<CertificateDer<'static>>,
    /// Where to connect, and as whom.
    pub enrolment: Enrolment,
}

impl Keyring {
    /// The keyring kept in `dir`, which exists.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn file<T>(&self, name: &str, result: Result<T, FileError>) -> Result<T, IdentityError> {
        result.map_err(|source| IdentityError::File { path: self.path(name), source })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, IdentityError> {
        self.file(name, files::read_private(&self.path(name)))
    }

    fn damaged(&self, name: &str) -> impl Fn(&'static str) -> IdentityError {
        let path = self.path(name);
        move |what| IdentityError::Damaged { path: path.clone(), what }
    }

    /// True once enrolment is complete: the identity is what it writes last.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.path("identity.pem").exists()
    }

    /// Reads everything. A damaged `identity.next.pem` is removed: the current identity holds.
    pub fn load(&self) -> Result<Credentials, IdentityError> {
        let Some(pem) = self.read("identity.pem")? else { return Err(IdentityError::NotEnrolled) };
        let current = Identity::parse(&pem).map_err(self.damaged("identity.pem"))?;
        let next = match self.read("identity.next.pem")?.map(|pem| Identity::parse(&pem)) {
            Some(Ok(next)) => Some(next),
            Some(Err(what)) => {
                tracing::warn!(what, "a renewed identity is damaged and dropped");
                self.file("identity.next.pem", files::remove(&self.path("identity.next.pem")))?;
                None
            }
            None => None,
        };
        let trust = self.read("trust.pem")?.ok_or("the file is missing");
        let trust = trust.and_then(|pem| certificates(&pem)).map_err(self.damaged("trust.pem"))?;
        if trust.is_empty() {
            return Err(self.damaged("trust.pem")("no certificate"));
        }
        tls::roots(&trust).map_err(|_| self.damaged("trust.pem")("a malformed certificate"))?;
        let damaged = self.damaged("enrolment.toml");
        let text = self.read("enrolment.toml")?.ok_or_else(|| damaged("the file is missing"))?;
        let text = String::from_utf8(text).map_err(|_| damaged("it is not text"))?;
        let enrolment = toml::from_str(&text).map_err(|_| damaged("it is not what enrol wrote"))?;
        Ok(Credentials { current, next, trust, enrolment })
    }

    /// The key to ask a certificate for: the one of an unfinished attempt, else a new one.
    pub fn pending_key(&self) -> Result<KeyPair, IdentityError> {
        let name = "key.next.pem";
        if let Some(pem) = self.read(name)? {
            let key = std::str::from_utf8(&pem).ok().and_then(|pem| KeyPair::from_pem(pem).ok());
            if let Some(key) = key {
                return Ok(key);
            }
            tracing::warn!("an unused key is damaged and replaced");
            self.file(name, files::remove(&self.path(name)))?;
        }
        let key = KeyPair::generate()?;
        self.file(name, files::create(&self.path(name), key.serialize_pem().as_bytes()))?;
        Ok(key)
    }

    /// Keeps what enrolment brought. Done in an order in which a crash leaves an agent that is not
    /// enrolled, never half of one.
    pub fn enrolled(
        &self,
        key: &KeyPair,
        reply: &v1::EnrolReply,
        collector: &str,
    ) -> Result<Identity, IdentityError> {
        let identity = Identity::new(key, chain(&reply.chain)?).map_err(IdentityError::Answer)?;
        if reply.agent_id != identity.agent_id {
            return Err(IdentityError::Answer("two agent ids"));
        }
        let enrolment = Enrolment {
            collector: collector.to_owned(),
            agent_id: id_text(&identity.agent_id),
            site_name: reply.site_name.chars().filter(|c| !c.is_control()).take(200).collect(),
        };
        // A table of three strings can always be written.
        let text = toml::to_string(&enrolment)
            .map_err(|_| IdentityError::Answer("a site name that can not be kept"))?;
        self.put_trust(&chain(&reply.trust)?)?;
        self.put("enrolment.toml", text.as_bytes())?;
        self.file("identity.next.pem", files::remove(&self.path("identity.next.pem")))?;
        self.put("identity.pem", identity.pem().as_bytes())?;
        self.file("key.next.pem", files::remove(&self.path("key.next.pem")))?;
        Ok(identity)
    }

    /// Keeps a renewed certificate beside the current one.
    pub fn renewed(
        &self,
        key: &KeyPair,
        reply: &v1::EnrolReply,
        agent_id: [u8; 16],
    ) -> Result<Identity, IdentityError> {
        let identity = Identity::new(key, chain(&reply.chain)?).map_err(IdentityError::Answer)?;
        if identity.agent_id != agent_id {
            return Err(IdentityError::Answer("another agent's certificate"));
        }
        if !reply.trust.is_empty() {
            self.put_trust(&chain(&reply.trust)?)?;
        }
        self.put("identity.next.pem", identity.pem().as_bytes())?;
        self.file("key.next.pem", files::remove(&self.path("key.next.pem")))?;
        Ok(identity)
    }

    /// Makes the renewed identity the one in force: the collector has accepted it.
    pub fn promote(&self) -> Result<(), IdentityError> {
        let (next, current) = (self.path("identity.next.pem"), self.path("identity.pem"));
        self.file("identity.next.pem", files::rename(&next, &current))
    }

    /// Drops a renewed identity, so that another can be asked for.
    pub fn drop_next(&self) -> Result<(), IdentityError> {
        self.file("identity.next.pem", files::remove(&self.path("identity.next.pem")))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
        self.file(name, files::replace(&self.path(name), bytes))
    }

    fn put_trust(&self, anchors: &[CertificateDer<'_>]) -> Result<(), IdentityError> {
        // Parsed before it is kept: an anchor that TLS can not use would cut the agent off.
        tls::roots(anchors)?;
        let pem: String = anchors.iter().map(|der| pem_block("CERTIFICATE", der)).collect();
        self.put("trust.pem", pem.as_bytes())
    }
}

fn chain(ders: &[Vec<u8>]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    match ders.len() {
        0 => Err(IdentityError::Answer("no certificate")),
        1..=MAX_CERTIFICATES => Ok(ders.iter().map(|der| der.clone().into()).collect()),
        _ => Err(IdentityError::Answer("too many certificates")),
    }
}

/// A PKCS#10 request for `key`, DER. Its names are left empty: the collector gives them.
pub fn request(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

#[cfg(test)]
pub(crate) mod tests;
