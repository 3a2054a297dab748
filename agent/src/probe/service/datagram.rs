//! One datagram there, one back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::{net::UdpSocket, time::Instant};

use crate::probe::{Outcome, dial::exchange_outcome};

/// Largest answer, in bytes: longer ones are cut, and then can not be read.
const MAX_ANSWER: usize = 4 << 10;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<T> {
    /// The answer.
    Answer(T),
    /// Nothing that answers this question: the true answer may still come.
    Foreign,
    /// From a server that speaks something else.
    Malformed,
}

/// Sends the question, which `write` makes for this end's address just before it leaves, and reads what
/// comes until one is the answer. That, and when the question left.
pub(super) async fn ask<T>(
    server: SocketAddr,
    write: impl FnOnce(SocketAddr) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Reading<T>,
) -> Result<(T, Instant), Outcome> {
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let failed = |error| exchange_outcome(&error, server.ip());
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    // Connected, so that the kernel drops replies from any other address.
    socket.connect(server).await.map_err(failed)?;
    let own = socket.local_addr().map_err(failed)?;
    let question = write(own);
    let sent = Instant::now();
    socket.send(&question).await.map_err(failed)?;
    let mut answer = [0; MAX_ANSWER];
    loop {
        let len = socket.recv(&mut answer).await.map_err(failed)?;
        match read(&answer[..len]) {
            Reading::Answer(answer) => return Ok((answer, sent)),
            Reading::Foreign => {}
            Reading::Malformed => return Err(Outcome::Malformed),
        }
    }
}
