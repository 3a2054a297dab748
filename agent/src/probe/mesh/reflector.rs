//! The reflector: answers the requests of the agents that the collector named, and nobody else's.
//!
//! The port is open only while there is somebody to answer. What is received is judged by
//! [`Judge`]; what it drops is counted, and never logged: a stranger must not fill the log.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    judge::{Judge, count},
    packet::PACKET_LEN,
};
use crate::{clock::Clock, logs::chain, plan::Reflected};

/// Port of a reflector unless the local file says otherwise.
pub const PORT: u16 = 9782;
/// Between two tries to open the port, and after an error of the socket.
const RETRY: Duration = Duration::from_secs(30);

/// Answers for ever.
pub struct Reflector {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Measures how long a request is here.
    pub clock: Arc<dyn Clock>,
    /// Whom to answer, as the collector says.
    pub links: watch::Receiver<Vec<Reflected>>,
}

impl Reflector {
    /// Listens while there is a link, until nobody can name links any more.
    pub async fn run(mut self) {
        let mut judge = Judge::default();
        let mut told = false;
        loop {
            let links = self.links.borrow_and_update().clone();
            judge.answer_only(&links);
            let outcome = if links.is_empty() {
                Ok(self.links.changed().await.is_ok())
            } else {
                self.listen(&mut judge, &mut told).await
            };
            match outcome {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // A lasting error is told once.
                    if !told {
                        let (address, error) = (self.listen, chain(&error));
                        tracing::error!(%address, error, "other sites are not answered");
                        told = true;
                    }
                    let again = Instant::now() + RETRY;
                    tokio::select! {
                        () = sleep_until(again) => {}
                        changed = self.links.changed() => if changed.is_err() { return },
                    }
                }
            }
        }
    }

    /// Answers until the links change; false when they never will again.
    async fn listen(&mut self, judge: &mut Judge, told: &mut bool) -> io::Result<bool> {
        let socket = bind(self.listen).await?;
        tracing::info!(address = %socket.local_addr()?, "other sites are answered");
        *told = false;
        // One byte more, so that a longer datagram is seen to be longer.
        let mut datagram = [0; PACKET_LEN + 1];
        loop {
            let received = tokio::select! {
                biased;
                changed = self.links.changed() => {
                    if changed.is_err() {
                        return Ok(false);
                    }
                    let links = self.links.borrow_and_update().clone();
                    if links.is_empty() {
                        return Ok(true);
                    }
                    judge.answer_only(&links);
                    continue;
                }
                received = socket.recv_from(&mut datagram) => received,
            };
            let (length, sender) = received?;
            let now_ns = self.clock.boot_ns();
            match judge.judge(&datagram[..length], now_ns, rand::random()) {
                Ok(answer) => {
                    count(answer.fate());
                    let held_ns = self.clock.boot_ns().saturating_sub(now_ns);
                    // An answer that finds no room is a lost one, as on any line: nobody waits here.
                    if let Err(error) = socket.try_send_to(&answer.seal(held_ns), sender) {
                        tracing::debug!(error = chain(&error), "an answer did not leave");
                    }
                }
                Err(fate) => count(fate),
            }
        }
    }
}

/// A machine without IPv6 listens on IPv4 where the file asks for both.
async fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    match UdpSocket::bind(address).await {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}
