//! Measuring: the [`Probe`] trait, and one module per kind of probe.
//!
//! A target that does not answer is data (an outcome column says so, the figures are `None`); only
//! what kept this machine from asking is a [`ProbeError`].

pub mod dns;
pub mod host;
pub mod http;
pub mod icmp;
pub mod ladder;
pub mod snmp;
pub mod tcp;

use std::{io, net::SocketAddr};

use async_trait::async_trait;

/// One value of a round in its metric's resolution (`proto/vigie.proto`, `domain::metric`);
/// `None` is "not measured", never zero.
pub type Cell = Option<i64>;

/// What one round of a group found.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Boot clock at the start of the round, nanoseconds.
    pub boot_ns: u64,
    /// One cell per column of the group, in its order.
    pub cells: Vec<Cell>,
    /// True when a target that answered in the previous round did not answer in this one, or the
    /// reverse: the record is then committed at once.
    pub changed: bool,
    /// Things learnt beside the figures, such as a device's interfaces.
    pub events: Vec<proto::v1::event::Event>,
}

/// Outcome of asking one target, as stored in the `*_OUTCOME` columns. Shared numbering with
/// `domain::metric::Outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Outcome {
    /// The target answered as it should.
    Ok = 0,
    /// No answer in time.
    Timeout = 1,
    /// The target, or something on the path in its name, refused.
    Refused = 2,
    /// The network said that the target can not be reached.
    Unreachable = 3,
    /// An answer came that is not an answer to the question.
    Malformed = 4,
    /// The connection stood, TLS did not.
    Tls = 5,
    /// The target's name could not be resolved.
    Name = 6,
    /// The agent itself could not ask: nothing is known of the target.
    NotAsked = 7,
    /// The target answered that it failed (HTTP 5xx, DNS SERVFAIL).
    Failed = 8,
}

/// Measures one group, round after round. Implementations keep what they need between rounds
/// (sockets, the last outcome) and must return within the group's time limits.
#[async_trait]
pub trait Probe: Send {
    /// Runs one round.
    async fn round(&mut self) -> Result<Round, ProbeError>;
}

/// Why nothing could be measured. A silent or refusing target is an [`Outcome`], never an error.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The agent has no usable socket of this kind: every target of this family will fail alike.
    #[error("cannot open a socket for {what}")]
    Socket {
        /// What the socket was for.
        what: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// This machine could not send or receive, for example for want of a route.
    #[error("cannot exchange packets with {peer}")]
    Exchange {
        /// The other side.
        peer: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
}
