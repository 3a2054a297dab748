//! Measuring: the [`Probe`] trait, and one module per kind of probe.
//!
//! A target that does not answer is data (an outcome column says so, the figures are `None`); only
//! what kept this machine from asking is a [`ProbeError`].

pub mod allow;
pub mod build;
pub mod dial;
pub mod dns;
pub mod env;
pub mod host;
pub mod http;
pub mod icmp;
pub mod ladder;
pub mod mesh;
mod own;
pub mod service;
pub mod snmp;
pub mod tcp;
mod web;

use std::{io, net::SocketAddr, time::Duration};

use async_trait::async_trait;
pub use build::build;
pub use env::Env;
use futures_util::future::join_all;

use crate::plan::{Column, Metric, ServiceKind};

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
    /// The certificate is past its end.
    Expired = 9,
    /// A filter keeps back a page that everybody may see.
    Blocked = 10,
    /// A filter lets a page through that it must keep back.
    NotBlocked = 11,
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

/// Why a group of the plan can not be measured by this agent, whatever the network does.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The column belongs to another kind of probe.
    #[error("this kind of probe does not measure {}", .0.as_str_name())]
    Metric(Metric),
    /// The column points beyond the probe's targets.
    #[error("a column names target {index}, but there are {targets}")]
    Index {
        /// As the column gives it, from 0.
        index: u16,
        /// How many targets there are.
        targets: usize,
    },
    /// The text is not `host:port`.
    #[error("{0:?} is not host:port")]
    Target(String),
    /// The text is not a URL that can be probed.
    #[error("{0:?} is not an http or https URL without credentials")]
    Url(String),
    /// The text is not a domain name.
    #[error("{0:?} is not a domain name")]
    Name(String),
    /// The text names no place where this service could be asked.
    #[error("{0:?} is no place for the service {kind}", kind = .1.as_str_name())]
    Place(String, ServiceKind),
    /// A proxy is asked for no page.
    #[error("the proxy is asked for no page")]
    NoPage,
    /// A figure of the plan is out of its range.
    #[error("{what} is {value}, which is not in {range}")]
    Range {
        /// Of which figure.
        what: &'static str,
        /// As the plan gives it.
        value: usize,
        /// First and last value that would do.
        range: &'static str,
    },
    /// The operating system does not tell what is asked for.
    #[error("cannot observe this machine")]
    Host(#[source] sysinfo::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS for probes")]
    Tls(#[source] rustls::Error),
}

/// Whole microseconds, the resolution of every time that a probe reports.
fn micros(elapsed: Duration) -> i64 {
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

/// Between the starts of two targets of a group: enough for the work of a TLS handshake, so that they
/// do not slow each other's clocks down.
const STAGGER: Duration = Duration::from_millis(5);

/// Asks all targets of a group, numbered from 0, each a little after the one before: one that does not
/// answer holds up no other, and all have ended one time-out after the last has begun.
async fn ask_all<F: Future>(
    targets: usize,
    timeout: Duration,
    ask: impl Fn(usize) -> F,
) -> Vec<F::Output> {
    let count = u32::try_from(targets).unwrap_or(u32::MAX).max(1);
    // A round has twice the time-out.
    let gap = STAGGER.min(timeout / 2 / count);
    let (ask, mut after) = (&ask, Duration::ZERO);
    let asked = (0..targets).map(|index| {
        let wait = after;
        after += gap;
        async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            ask(index).await
        }
    });
    join_all(asked).await
}

/// One cell per column: `cell` reads what the column's metric asks of what its target gave.
fn cells<T>(columns: &[Column], found: &[T], cell: impl Fn(Metric, &T) -> Cell) -> Vec<Cell> {
    columns
        .iter()
        .map(|column| {
            found.get(usize::from(column.target)).and_then(|one| cell(column.metric, one))
        })
        .collect()
}

/// Remembers which targets answered as they should, to tell when one begins or ceases to.
#[derive(Debug)]
struct Changes {
    answered: Vec<Option<bool>>,
}

impl Changes {
    fn new(targets: usize) -> Self {
        Self { answered: vec![None; targets] }
    }

    /// True when a target's last known state differs from this round's. A round in which a target
    /// was not asked tells nothing and is skipped, as is the state before the first round.
    fn note(&mut self, outcomes: impl Iterator<Item = Outcome>) -> bool {
        let mut changed = false;
        for (answered, outcome) in self.answered.iter_mut().zip(outcomes) {
            if outcome != Outcome::NotAsked {
                let now = outcome == Outcome::Ok;
                changed |= answered.replace(now).is_some_and(|before| before != now);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_between_two_rounds_that_asked() {
        use Outcome::{Failed, NotAsked, Ok, Timeout};
        let mut changes = Changes::new(2);
        for (outcomes, changed) in [
            ([Ok, Timeout], false),
            ([Ok, Failed], false),
            ([NotAsked, Timeout], false),
            ([Ok, Timeout], false),
            ([Ok, Ok], true),
            ([Timeout, NotAsked], true),
            ([NotAsked, Timeout], true),
            ([Ok, Timeout], true),
        ] {
            assert_eq!(changes.note(outcomes.into_iter()), changed, "{outcomes:?}");
        }
    }
}
