//! Requests to the agents of other sites: round-trip delay (RFC 2681), loss (RFC 6673) and delay
//! variation (RFC 3393) between two schools, over UDP.
//!
//! The collector names whom to ask, where, and under which key; the local allow-list holds here as for
//! every probe. Round-trip figures need no clocks that agree. As with echo requests the delay is taken in
//! user space, on both sides: the time in the reflector is told and taken off, its wake-up is not.

mod bucket;
pub mod judge;
pub mod packet;
pub mod reflector;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use async_trait::async_trait;
use packet::{Kind, PACKET_LEN, Packet};
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep_until},
};

use super::{
    BuildError, Changes, Outcome, Probe, ProbeError, Round,
    dial::{self, Endpoint},
    env::Env,
    icmp::stats::{Burst, Reply, Summary},
};
use crate::plan::{Group, MeshPeer, Metric};

/// Requests per peer and round, at most.
const MAX_COUNT: u16 = 100;
/// How often one request is sent: a second time when the first was answered by the session to name.
const TRIES: u8 = 2;

/// Measures the peers of one group.
pub struct MeshProbe {
    env: Env,
    group: Group,
    peers: Vec<Peer>,
    count: u16,
    spacing: Duration,
    changes: Changes,
}

struct Peer {
    endpoint: Endpoint,
    plan: MeshPeer,
    /// What its reflector told; 0 before.
    session: u64,
    /// Of the next request. It begins anywhere: a challenge of an earlier life answers nothing here.
    sequence: u64,
}

/// What a round with one peer came to, and where the next one goes on.
struct Asked {
    summary: Summary,
    session: u64,
    sequence: u64,
}

/// A request that was sent and not answered.
#[derive(Debug, Clone, Copy)]
struct Pending {
    turn: u16,
    tries: u8,
    at: Instant,
    sent_ns: u64,
}

impl MeshProbe {
    /// `count` requests to each of `peers`, `spacing` apart, each round.
    pub fn new(
        group: &Group,
        peers: &[MeshPeer],
        count: u16,
        spacing: Duration,
        env: &Env,
    ) -> Result<Self, BuildError> {
        super::build::check_columns(group, peers.len(), |metric| {
            matches!(
                metric,
                Metric::MeshOutcome
                    | Metric::MeshLoss
                    | Metric::MeshRttMin
                    | Metric::MeshRttMean
                    | Metric::MeshRttMax
                    | Metric::MeshRttP95
                    | Metric::MeshDelayVariation
            )
        })?;
        if !(1..=MAX_COUNT).contains(&count) {
            let value = usize::from(count);
            return Err(BuildError::Range { what: "the count of requests", value, range: "1-100" });
        }
        let known = |plan: &MeshPeer| {
            let endpoint = Endpoint::parse(&plan.address)
                .ok_or_else(|| BuildError::Target(plan.address.clone()))?;
            // Half of the range is left to grow in.
            let sequence = u64::from(rand::random::<u32>()) << 16;
            Ok(Peer { endpoint, plan: plan.clone(), session: 0, sequence })
        };
        Ok(Self {
            env: env.clone(),
            group: group.clone(),
            peers: peers.iter().map(known).collect::<Result<_, BuildError>>()?,
            count,
            spacing,
            changes: Changes::new(peers.len()),
        })
    }

    async fn ask(&self, peer: &Peer) -> Asked {
        let deadline = Instant::now() + self.group.timeout;
        let (names, allow) = (&self.env.names, &self.env.allow);
        let address = match dial::resolve(names, allow, &peer.endpoint, deadline).await {
            // One reflector, one address: a measure of two would be of neither.
            Ok(addresses) => addresses[0],
            Err(outcome) => return self.not_asked(peer, outcome),
        };
        let socket = match connect(address).await {
            Ok(socket) => socket,
            Err(error) => {
                return self.not_asked(peer, dial::exchange_outcome(&error, address.ip()));
            }
        };
        let mut exchange = Exchange {
            peer,
            env: &self.env,
            socket,
            address,
            timeout: self.group.timeout,
            burst: Burst::new(usize::from(self.count)),
            pending: BTreeMap::new(),
            until: deadline,
            refused: false,
            session: peer.session,
            sequence: peer.sequence,
        };
        exchange.run(self.count, self.spacing).await;
        let mut summary = exchange.burst.summary();
        if summary.outcome == Outcome::Unreachable && exchange.refused {
            summary.outcome = Outcome::Refused;
        }
        Asked { summary, session: exchange.session, sequence: exchange.sequence }
    }

    /// Nothing was sent: no figure but the reason.
    fn not_asked(&self, peer: &Peer, outcome: Outcome) -> Asked {
        let nothing = Burst::new(usize::from(self.count)).summary();
        let summary = Summary { outcome, ..nothing };
        Asked { summary, session: peer.session, sequence: peer.sequence }
    }
}

#[async_trait]
impl Probe for MeshProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let this = &*self;
        let asked: Vec<Asked> = super::ask_all(this.peers.len(), this.group.timeout, |index| {
            this.ask(&this.peers[index])
        })
        .await;
        let mut found = Vec::with_capacity(asked.len());
        for (peer, asked) in self.peers.iter_mut().zip(asked) {
            (peer.session, peer.sequence) = (asked.session, asked.sequence);
            found.push(asked.summary);
        }
        let changed = self.changes.note(found.iter().map(|summary| summary.outcome));
        let cells =
            super::cells(&self.group.columns, &found, |metric, summary| summary.cell(metric));
        Ok(Round { boot_ns, cells, changed, events: Vec::new() })
    }
}

/// Connected, so that the kernel drops what comes from elsewhere, and tells what the network says.
async fn connect(peer: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = if peer.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    Ok(socket)
}

/// One round with one peer.
struct Exchange<'a> {
    peer: &'a Peer,
    env: &'a Env,
    socket: UdpSocket,
    address: SocketAddr,
    timeout: Duration,
    burst: Burst,
    /// By sequence number; at most as many as the burst has.
    pending: BTreeMap<u64, Pending>,
    /// When the last request has waited long enough.
    until: Instant,
    refused: bool,
    session: u64,
    sequence: u64,
}

impl Exchange<'_> {
    async fn run(&mut self, count: u16, spacing: Duration) {
        let start = Instant::now();
        let (mut turn, mut due) = (0, start);
        // One byte more, so that a longer datagram is seen to be longer.
        let mut datagram = [0; PACKET_LEN + 1];
        while turn < count || !self.pending.is_empty() {
            tokio::select! {
                biased;
                received = self.socket.recv(&mut datagram) => match received {
                    Ok(length) => self.take(&datagram[..length]),
                    Err(error) => {
                        self.fail(&error);
                    }
                },
                () = sleep_until(due), if turn < count => {
                    self.send(turn, 1);
                    turn += 1;
                    // From the start, so that delays do not add up.
                    due = start + spacing * u32::from(turn);
                }
                () = sleep_until(self.until), if turn == count => return,
            }
        }
    }

    /// Sends a request. One that does not leave is none.
    fn send(&mut self, turn: u16, tries: u8) {
        let sequence = self.sequence;
        self.sequence += 1;
        let sent_ns = self.env.clock.boot_ns();
        let packet = Packet {
            kind: Kind::Request,
            link: self.peer.plan.link,
            session: self.session,
            sequence,
            sent_ns,
            held_ns: 0,
        };
        let sealed = packet.seal(&self.peer.plan.key);
        let mut at = Instant::now();
        let mut sent = self.socket.try_send(&sealed);
        if let Err(error) = &sent {
            // What the network said of an earlier request stands in the way of this one, once.
            if self.fail(error) {
                at = Instant::now();
                sent = self.socket.try_send(&sealed);
            }
        }
        if sent.is_ok() {
            self.burst.note(usize::from(turn), Reply::Lost);
            self.pending.insert(sequence, Pending { turn, tries, at, sent_ns });
            self.until = at + self.timeout;
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let now = Instant::now();
        let Some(packet) = Packet::open(datagram, &self.peer.plan.key) else { return };
        let asked = self.pending.get(&packet.sequence).copied();
        let ours = packet.link == self.peer.plan.link;
        let Some(asked) = asked.filter(|asked| ours && asked.sent_ns == packet.sent_ns) else {
            return;
        };
        match packet.kind {
            Kind::Request => {}
            Kind::Reply => {
                self.pending.remove(&packet.sequence);
                let elapsed = now - asked.at;
                let held = Duration::from_nanos(packet.held_ns);
                if elapsed <= self.timeout {
                    // A reflector that says it had the request for longer than it was away is wrong.
                    let delay = elapsed.checked_sub(held).unwrap_or(elapsed);
                    self.burst.note(usize::from(asked.turn), Reply::Answered(delay));
                }
            }
            Kind::Challenge => {
                self.pending.remove(&packet.sequence);
                self.session = packet.session;
                if asked.tries < TRIES {
                    self.send(asked.turn, asked.tries + 1);
                }
            }
        }
    }

    /// Enters what the network says of the oldest request; false when it says nothing of the peer.
    fn fail(&mut self, error: &std::io::Error) -> bool {
        let outcome = dial::exchange_outcome(error, self.address.ip());
        let tells = matches!(outcome, Outcome::Refused | Outcome::Unreachable);
        if tells && let Some((_, asked)) = self.pending.pop_first() {
            self.refused |= outcome == Outcome::Refused;
            self.burst.note(usize::from(asked.turn), Reply::Unreachable);
        }
        tells
    }
}
