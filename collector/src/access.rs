//! Which call is open to whom: one table, and what is not in it is refused.

use std::sync::Arc;

use jiff::Timestamp;
use tonic::Status;

use crate::{
    ca::Identity,
    metrics::{Metrics, Reason},
    tls::Peer,
};

/// A call of the agents' listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `Enrolment.Enrol`.
    Enrol,
    /// `Enrolment.Renew`.
    Renew,
    /// `AgentLink.Session`.
    Session,
}

/// What a peer proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing.
    Anonymous,
    /// That it holds the key of an agent whose certificate expired.
    Expired,
    /// That it is an agent.
    Valid,
}

/// Who may call what. Whether the agent was revoked is the store's to say, in each call.
const ACCESS: [(Call, &[Standing]); 3] = [
    (Call::Enrol, &[Standing::Anonymous]),
    (Call::Renew, &[Standing::Expired, Standing::Valid]),
    (Call::Session, &[Standing::Valid]),
];

/// Lets a call through with the agent that makes it, or refuses it.
///
/// # Errors
/// The answer to the caller, the same for every reason.
pub fn admit(
    call: Call,
    peer: Option<&Peer>,
    now: Timestamp,
    metrics: &Metrics,
) -> Result<Option<Arc<Identity>>, Status> {
    let identity = peer.and_then(|peer| peer.identity.clone());
    let standing = match &identity {
        None => Standing::Anonymous,
        Some(identity) if identity.expires_at < now => Standing::Expired,
        Some(_) => Standing::Valid,
    };
    let open = ACCESS.iter().any(|(open, to)| *open == call && to.contains(&standing));
    if peer.is_some() && open {
        return Ok(identity);
    }
    metrics.refused_calls.get_or_create(&Reason { reason: "access" }).inc();
    Err(Status::permission_denied("this call needs another identity"))
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn peer(expires_at: Option<Timestamp>) -> Peer {
        let identity = expires_at.map(|expires_at| {
            Arc::new(Identity {
                agent: domain::id::AgentId([1; 16]),
                serial: "01".to_owned(),
                spki_sha256: [0; 32],
                expires_at,
            })
        });
        let address = ([192, 0, 2, 1], 4_000).into();
        Peer { address, identity, close: CancellationToken::new() }
    }

    #[test]
    fn each_call_is_open_to_those_in_the_table_only() {
        let now = Timestamp::UNIX_EPOCH;
        let second = std::time::Duration::from_secs(1);
        let peers = [
            Some(peer(None)),
            Some(peer(Some(now - second))),
            Some(peer(Some(now + second))),
            None,
        ];
        let open = |call| {
            let metrics = Metrics::new();
            peers.each_ref().map(|peer| admit(call, peer.as_ref(), now, &metrics).is_ok())
        };
        assert_eq!(open(Call::Enrol), [true, false, false, false]);
        assert_eq!(open(Call::Renew), [false, true, true, false]);
        assert_eq!(open(Call::Session), [false, false, true, false]);
    }
}
