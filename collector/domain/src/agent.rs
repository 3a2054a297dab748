//! Agents: identities enrolled at a site.

use jiff::Timestamp;

use crate::id::{AgentId, SiteId};

/// Whether an agent's records are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStatus {
    /// Its records are taken.
    Active,
    /// Withdrawn by an operator: nothing of it is taken any more.
    Revoked,
}

/// An enrolled agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Identity.
    pub id: AgentId,
    /// Where it stands.
    pub site: SiteId,
    /// Whether its records are taken.
    pub status: AgentStatus,
    /// Name that its machine gives itself: untrusted text.
    pub hostname: String,
    /// Version that it reported last.
    pub version: String,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// Last time that anything came from it.
    pub last_seen: Option<Timestamp>,
    /// Serial number of the certificate in force, hexadecimal.
    pub certificate_serial: String,
    /// End of that certificate's validity.
    pub certificate_expires_at: Timestamp,
}
