//! One device asked one question at a time, within the time of a round.
//!
//! The crate's session has no timeout, no retry, and after one late or foreign datagram it stays one
//! reply behind for ever. So a session that met anything but an answer is dropped, and the retry
//! goes out from a new socket, where no late reply can arrive. Sessions live for one round: opening
//! one costs six system calls for several hundred values, while keeping one would cost a device
//! 131 kB of buffers between two rounds.

use std::{io, net::SocketAddr, time::Duration};

use snmp2::{AsyncSession, Error, Oid, Pdu, Version};
use tokio::time::{Instant, timeout, timeout_at};

use super::stats::{STATS, add};
use crate::{plan::Secret, probe::Outcome};

/// Tries of one request.
const TRIES: u32 = 2;

/// `error-status` of a reply that would not fit the device's largest message (RFC 3416).
pub(super) const TOO_BIG: u32 = 1;
/// `error-status` by which agents of version 1 say that a table has ended.
pub(super) const NO_SUCH_NAME: u32 = 2;

/// Why a request has no answer, after all its tries.
#[derive(Debug)]
pub(super) enum Fault {
    /// No reply in time, or no time left to ask.
    Timeout,
    /// The socket said that nobody listens there.
    Refused,
    /// There is no route.
    Unreachable,
    /// What came is no answer to the question.
    Malformed,
    /// The device answered that it failed. `index` is 1 for the first name asked, 0 for none.
    Status { status: u32, index: u32 },
    /// The round's time is over.
    OutOfTime,
    /// The datagram could not be sent.
    NotSent,
    /// No socket could be opened.
    Socket(io::Error),
}

impl Fault {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout | Self::OutOfTime => Outcome::Timeout,
            Self::Refused => Outcome::Refused,
            Self::Unreachable => Outcome::Unreachable,
            Self::Malformed => Outcome::Malformed,
            Self::Status { .. } => Outcome::Failed,
            Self::NotSent | Self::Socket(_) => Outcome::NotAsked,
        }
    }

    /// True when asking for less may help.
    pub(super) fn may_be_size(&self) -> bool {
        matches!(self, Self::Timeout | Self::Malformed | Self::Status { .. })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        // The crate loses the system's error. On a connected UDP socket without IP_RECVERR, Linux
        // reports only what an ICMP message calls final: port unreachable or filtered.
        if error == Error::Receive {
            Self::Refused
        } else if error == Error::Send {
            Self::NotSent
        } else {
            Self::Malformed
        }
    }
}

/// One question.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    /// Exactly these instances.
    Get(&'a [&'a Oid<'a>]),
    /// What follows this name.
    Next(&'a Oid<'a>),
    /// What follows these names, this many times.
    Bulk(&'a [&'a Oid<'a>], u32),
}

impl Request<'_> {
    async fn send(self, session: &mut AsyncSession) -> Result<Pdu<'_>, Error> {
        match self {
            Self::Get(names) => session.get_many(names).await,
            Self::Next(name) => session.getnext(name).await,
            Self::Bulk(names, repetitions) => session.getbulk(names, 0, repetitions).await,
        }
    }
}

/// A device for the time of one round.
pub(super) struct Session<'a> {
    address: SocketAddr,
    community: &'a Secret,
    timeout: Duration,
    deadline: Instant,
    open: Option<AsyncSession>,
}

impl<'a> Session<'a> {
    /// `timeout` is for one try; no request goes out after `deadline`.
    pub(super) fn new(
        address: SocketAddr,
        community: &'a Secret,
        timeout: Duration,
        deadline: Instant,
    ) -> Self {
        Self { address, community, timeout, deadline, open: None }
    }

    /// Asks until `read` accepts a reply or the tries are used up; also returns how long the device
    /// took to answer the try that it answered.
    pub(super) async fn exchange<T>(
        &mut self,
        request: Request<'_>,
        mut read: impl FnMut(&Pdu<'_>) -> Option<T>,
    ) -> Result<(T, Duration), Fault> {
        let mut fault = Fault::Timeout;
        for _ in 0..TRIES {
            let mut session = match self.open.take() {
                Some(session) => session,
                None => self.connect().await?,
            };
            let sent = Instant::now();
            let Some(left) =
                self.deadline.checked_duration_since(sent).filter(|left| !left.is_zero())
            else {
                return Err(Fault::OutOfTime);
            };
            add(&STATS.requests, 1);
            let answer = timeout(self.timeout.min(left), request.send(&mut session)).await;
            fault = match answer {
                Err(_elapsed) => Fault::Timeout,
                Ok(Err(error)) => error.into(),
                Ok(Ok(reply)) if reply.version() != Ok(Version::V2C) => Fault::Malformed,
                Ok(Ok(reply)) if reply.error_status != 0 => {
                    add(&STATS.error_statuses, 1);
                    let fault =
                        Fault::Status { status: reply.error_status, index: reply.error_index };
                    self.open = Some(session);
                    return Err(fault);
                }
                Ok(Ok(reply)) => {
                    let took = sent.elapsed();
                    if let Some(value) = read(&reply) {
                        self.open = Some(session);
                        return Ok((value, took));
                    }
                    Fault::Malformed
                }
            };
            match fault {
                Fault::Timeout => add(&STATS.timeouts, 1),
                Fault::Malformed => add(&STATS.malformed, 1),
                // Nobody listens: asking again at once would hear the same.
                Fault::Refused => return Err(fault),
                Fault::Unreachable
                | Fault::Status { .. }
                | Fault::OutOfTime
                | Fault::NotSent
                | Fault::Socket(_) => {}
            }
        }
        Err(fault)
    }

    async fn connect(&self) -> Result<AsyncSession, Fault> {
        // Not negative: some agents answer such an id with its absolute value.
        let first_id = rand::random_range(1..1 << 30);
        let community = self.community.0.as_bytes();
        let opening = AsyncSession::new_v2c(self.address, community, first_id);
        match timeout_at(self.deadline, opening).await {
            Err(_elapsed) => Err(Fault::OutOfTime),
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(unopened(error)),
        }
    }
}

/// What it means that no socket could be opened and connected.
fn unopened(error: io::Error) -> Fault {
    let no_route = [io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable];
    if no_route.contains(&error.kind()) { Fault::Unreachable } else { Fault::Socket(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_route_is_the_targets_and_a_missing_socket_is_ours() {
        for kind in [io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable] {
            assert_eq!(unopened(kind.into()).outcome(), Outcome::Unreachable);
        }
        assert_eq!(unopened(io::ErrorKind::OutOfMemory.into()).outcome(), Outcome::NotAsked);
    }

    #[tokio::test]
    async fn nothing_is_sent_once_the_round_is_over() {
        let device = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        device.set_nonblocking(true).expect("a socket option");
        let community = Secret("public".into());
        let address = device.local_addr().expect("bound");
        let mut session = Session::new(address, &community, Duration::from_secs(1), Instant::now());
        let name = Oid::new((&[0x2b_u8, 6][..]).into());
        let asked = session.exchange(Request::Next(&name), |_| Some(())).await;
        assert!(matches!(asked, Err(Fault::OutOfTime)));
        assert!(device.recv(&mut [0; 8]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
    }
}
