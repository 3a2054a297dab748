//! Enrolment: with a token, a key made here becomes this agent's identity.
//!
//! The collector is known from the first byte by the pin in the token, so there is no trust on
//! first use. Running it again after a broken connection uses the same key, so that the collector
//! can give the same certificate.

use std::{fmt, io, path::Path, str::FromStr, sync::Arc, time::Duration};

use proto::v1::{self, enrolment_client::EnrolmentClient};
use tokio::time::timeout;

use crate::{
    app::plans::{PlanStore, PlanStoreError},
    identity::{
        IdentityError, Keyring,
        files::{self, FileError},
        request,
        tls::{self, ConnectError},
    },
    platform::private,
    probe::dial::Endpoint,
    spool::former::{self, Backlog},
    uplink::link,
};

/// Longest wait for the collector's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest token that is read.
const MAX_TOKEN_LEN: usize = 512;
/// Records of the former identity that are given up unasked: the last seconds of an agent that was
/// stopped while all was well.
const FEW_RECORDS: u64 = 256;

/// A token, as `vigie agent token` prints it: `<id>.<secret>.<pin>`, the secret in base64url without
/// padding or as 64 hexadecimal digits, the pin as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: Vec<u8>,
    pin: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a text is not a token. The text itself is a secret and is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts.
    #[error("a token has three parts joined by dots; was it cut when it was copied?")]
    Parts,
    /// The first part.
    #[error("the token's first part is not an identifier")]
    Id,
    /// The second part.
    #[error("the token's second part is not a secret of 16 to 64 bytes")]
    Secret,
    /// The third part.
    #[error("the token's third part is not 64 hexadecimal digits; was its end cut?")]
    Pin,
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let mut parts = text.split('.');
        let (Some(id), Some(secret), Some(pin), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Parts);
        };
        if text.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Parts);
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if id.is_empty() || id.len() > 64 || !id.bytes().all(legal) {
            return Err(TokenError::Id);
        }
        // 64 digits are a 256-bit secret in hexadecimal; as base64url they would be 384 bits.
        let secret = if secret.len() == 64 { hex(secret) } else { base64url(secret) };
        let secret =
            secret.filter(|secret| (16..=64).contains(&secret.len())).ok_or(TokenError::Secret)?;
        let pin = hex(pin).and_then(|pin| pin.try_into().ok()).ok_or(TokenError::Pin)?;
        Ok(Self { id: id.to_owned(), secret, pin })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    // What is left over must be empty, or one secret would have several texts.
    (held < 6 && bits & ((1 << held) - 1) == 0).then_some(out)
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The address can not be one.
    #[error("{0:?} is not host:port")]
    Address(String),
    /// The data directory could not be made.
    #[error("cannot create the data directory {dir}")]
    Directory {
        /// Which.
        dir: String,
        /// What the system answered.
        source: io::Error,
    },
    /// There is an identity already.
    #[error("this agent is enrolled already; add --replace to enrol it anew")]
    Already,
    /// Records of the former identity would be lost.
    #[error(
        "up to {records} records of {hours:.1} hours, which the collector does not have, would be \
         lost with the former identity; let the agent run until it has sent them (`vigie-agent \
         status` tells how many are left), stop it, and run the same command again, or add \
         --replace --discard-backlog to lose them"
    )]
    Backlog {
        /// How many.
        records: u64,
        /// From the oldest to the newest.
        hours: f64,
    },
    /// It is not known what would be lost.
    #[error("cannot count what would be lost of the spool {dir}")]
    Spool {
        /// Which.
        dir: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The spool could not be told what is given up.
    #[error("cannot mark the former identity's records in {dir} as given up")]
    Mark {
        /// Which.
        dir: String,
        /// Why.
        source: FileError,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("the connection to the collector broke; run the same command again")]
    Broken(#[source] tonic::transport::Error),
    /// The collector said no.
    #[error("the collector refused: {}", .0.message().escape_debug())]
    Refused(#[source] Box<tonic::Status>),
    /// The collector did not answer.
    #[error("no answer from the collector; run the same command again")]
    Timeout,
    /// The identity could not be made or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The first plan could not be kept.
    #[error(transparent)]
    Plan(#[from] PlanStoreError),
}

/// What to do with an identity that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail.
    Keep,
    /// Put the new one in its place once it is complete, if no more than few records of the former
    /// one are lost by it.
    Replace,
    /// As [`Self::Replace`], however many are lost.
    ReplaceAndDiscard,
}

/// What enrolment brought, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// 32 hexadecimal digits.
    pub agent_id: String,
    /// The school, as the collector names it; no control characters.
    pub site_name: String,
}

/// Enrols this machine and keeps all that came of it in `dir`.
pub async fn enrol(
    dir: &Path,
    collector: &str,
    token: &Token,
    surroundings: v1::Surroundings,
    existing: Existing,
) -> Result<Enrolled, EnrolError> {
    if Endpoint::parse(collector).is_none() {
        return Err(EnrolError::Address(collector.to_owned()));
    }
    private::create_dir(dir)
        .map_err(|source| EnrolError::Directory { dir: dir.display().to_string(), source })?;
    let keyring = Keyring::new(dir);
    if existing == Existing::Keep && keyring.is_enrolled() {
        return Err(EnrolError::Already);
    }
    let spool = dir.join("spool");
    let backlog = given_up(&spool, existing)?;
    let key = keyring.pending_key()?;
    let message = v1::EnrolRequest {
        token_id: token.id.clone(),
        token_secret: token.secret.clone(),
        csr: request(&key)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: surroundings.hostname.clone(),
        surroundings: Some(surroundings),
    };
    let config = tls::pinned_client(token.pin).map_err(IdentityError::Tls)?;
    let stream = tls::connect(collector, Arc::new(config), None).await?;
    let channel = link::channel(stream).await.map_err(EnrolError::Broken)?;
    let mut client =
        EnrolmentClient::new(channel).max_decoding_message_size(proto::limits::MAX_MESSAGE_BYTES);
    let reply = timeout(ANSWER_TIMEOUT, client.enrol(message))
        .await
        .map_err(|_| EnrolError::Timeout)?
        .map_err(|status| EnrolError::Refused(Box::new(status)))?
        .into_inner();
    for agent in &backlog.agents {
        give_up(&spool, agent)?;
    }
    // Before the identity, whose presence says that enrolment is complete.
    let plans = PlanStore::new(dir);
    match &reply.config {
        Some(config) => plans.keep(config)?,
        // Too large for the answer: the session brings it. A plan of a former identity, perhaps of
        // another school, must not stand in for it.
        None => plans.forget()?,
    }
    let identity = keyring.enrolled(&key, &reply, collector)?;
    let credentials = keyring.load()?;
    Ok(Enrolled {
        agent_id: crate::identity::id_text(&identity.agent_id),
        site_name: credentials.enrolment.site_name,
    })
}

/// What the spool loses with the former identity, if that may be.
fn given_up(spool: &Path, existing: Existing) -> Result<Backlog, EnrolError> {
    let backlog = match former::backlog(spool) {
        Ok(backlog) => backlog.unwrap_or_default(),
        Err(source) => return Err(EnrolError::Spool { dir: spool.display().to_string(), source }),
    };
    if backlog.records > FEW_RECORDS && existing != Existing::ReplaceAndDiscard {
        return Err(EnrolError::Backlog { records: backlog.records, hours: backlog.hours() });
    }
    Ok(backlog)
}

/// Tells the spool's next start to remove what it holds of `agent`.
fn give_up(spool: &Path, agent: &[u8; 16]) -> Result<(), EnrolError> {
    let mark = spool.join(former::mark_name(agent));
    files::replace(&mark, &[])
        .map_err(|source| EnrolError::Mark { dir: spool.display().to_string(), source })
}

#[cfg(test)]
mod tests;
