//! Echo requests: round-trip delay (RFC 2681), loss (RFC 6673) and delay variation (RFC 3393) of
//! bursts to many targets at once.
//!
//! What the measurement can not see: the delay is taken in user space, between the return of the
//! send and the wake-up of the receiver, so that it is right to some tens of microseconds, and a
//! reply that wins the race against the return of the send is reported as 0. Datagram sockets (the
//! unprivileged kind) do not hear the network's errors: an unreachable target is a timeout there.

pub mod stats;

use std::{
    net::IpAddr,
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use socket2::Type;
use stats::{Burst, Reply};
use surge_ping::{Client, ICMP, IcmpPacket, PingIdentifier, PingSequence, SurgeError};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    BuildError, Changes, Outcome, Probe, ProbeError, Round, dial::exchange_outcome, env::Env,
};
use crate::{
    logs::chain,
    plan::{Group, Metric, Zoned},
    platform,
};

/// Requests that leave in one go before their replies are looked for: a larger batch would delay the
/// stamps of its last replies.
const BATCH: usize = 8;
/// Batches of a slot: a timer costs the processor several times a packet.
const BATCHES: usize = 4;
/// Between two slots of the whole agent. It bounds what a receive buffer must hold while its reader
/// waits for a processor: without a common pace, groups whose rounds coincide lose answers on this
/// very machine.
const SLOT_GAP: Duration = Duration::from_millis(4);
/// Requests without their answer, at most; the next batch waits for room.
const MAX_IN_FLIGHT: usize = 512;
/// Requests per target and round, at most.
const MAX_COUNT: u16 = 100;
/// An echo request that fits an Ethernet frame over IPv6.
const MAX_PAYLOAD_BYTES: usize = 1452;
/// How often a request is sent again because a sequence number was taken, or because a notice that
/// is not an answer (such as a redirect) took the answer's place.
const MAX_RETRIES: usize = 4;

/// The agent's echo sockets, one per family, shared by every group.
pub struct Pinger {
    v4: Mutex<Socket>,
    v6: Mutex<Socket>,
    prefer: Type,
    identifier: PingIdentifier,
    /// Shared by all targets: a datagram socket has no identifier to tell two groups' requests to
    /// one target apart.
    sequence: AtomicU16,
    /// When the next slot starts.
    next_slot: Mutex<Instant>,
}

#[derive(Default)]
struct Socket {
    client: Option<Client>,
    refused: bool,
}

impl Default for Pinger {
    fn default() -> Self {
        Self::new()
    }
}

impl Pinger {
    /// Opens nothing yet. Unprivileged datagram sockets where the system allows them: a raw socket
    /// is woken by every ICMP message of the machine. Raw sockets otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::preferring(Type::DGRAM)
    }

    /// As [`Pinger::new`], trying `Type::DGRAM` or `Type::RAW` first.
    #[must_use]
    pub fn preferring(prefer: Type) -> Self {
        Self {
            v4: Mutex::default(),
            v6: Mutex::default(),
            prefer,
            identifier: PingIdentifier(rand::random()),
            sequence: AtomicU16::new(rand::random()),
            next_slot: Mutex::new(Instant::now()),
        }
    }

    /// Kind of the socket in use for `address`'s family: `None` before the first use or when none
    /// could be opened.
    #[must_use]
    pub fn socket_type(&self, address: IpAddr) -> Option<Type> {
        let socket = self.socket(address).lock().unwrap_or_else(PoisonError::into_inner);
        socket.client.as_ref().map(|client| client.get_socket().get_type())
    }

    /// Opens the socket of `address`'s family unless it is open; false when that fails.
    pub fn opens(&self, address: IpAddr) -> bool {
        self.client(address).is_some()
    }

    fn socket(&self, address: IpAddr) -> &Mutex<Socket> {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    /// The client of `address`'s family, opened when there is none yet. A refusal is logged once
    /// and tried again at the next round.
    fn client(&self, address: IpAddr) -> Option<Client> {
        let mut socket = self.socket(address).lock().unwrap_or_else(PoisonError::into_inner);
        if socket.client.is_none() {
            let kind = if address.is_ipv4() { ICMP::V4 } else { ICMP::V6 };
            let config =
                surge_ping::Config::builder().kind(kind).sock_type_hint(self.prefer).build();
            match Client::new(&config) {
                Ok(client) => socket.client = Some(client),
                Err(error) if !socket.refused => {
                    tracing::warn!(family = ?kind, error = chain(&error), "cannot open an echo socket");
                    socket.refused = true;
                }
                Err(_known) => {}
            }
        }
        socket.client.clone()
    }

    /// When a slot that is wanted now may start. Time that passed unused is not made up for.
    fn slot(&self) -> Instant {
        let mut next = self.next_slot.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Instant::now().max(*next);
        *next = slot + SLOT_GAP;
        slot
    }

    async fn ping(&self, client: &Client, target: IpAddr, scope: u32, ask: Ask<'_>) -> Reply {
        let mut pinger = client.pinger(target, self.identifier).await;
        pinger.scope_id(scope);
        pinger.timeout(ask.timeout);
        for _ in 0..=MAX_RETRIES {
            let sequence = PingSequence(self.sequence.fetch_add(1, Ordering::Relaxed));
            match pinger.ping(sequence, ask.payload).await {
                Ok((packet, delay)) => match notice(&packet) {
                    Notice::Answer => return Reply::Answered(delay),
                    Notice::Unreachable => return Reply::Unreachable,
                    Notice::Other => {}
                },
                Err(SurgeError::Timeout { .. }) => return Reply::Lost,
                Err(SurgeError::IOError(error)) => {
                    let outcome = exchange_outcome(&error, target);
                    return if outcome == Outcome::Unreachable {
                        Reply::Unreachable
                    } else {
                        Reply::NotSent
                    };
                }
                Err(SurgeError::IdenticalRequests { .. }) => {}
                Err(_unusable) => return Reply::NotSent,
            }
        }
        Reply::Lost
    }
}

/// Number of the interface that a target stands on, looked up each round since interfaces come and
/// go: 0 where none is named, `None` while there is none of that name.
fn scope(target: &Zoned) -> Option<u32> {
    target.zone().map_or(Some(0), platform::interface_index)
}

#[derive(Clone, Copy)]
struct Ask<'a> {
    timeout: Duration,
    payload: &'a [u8],
}

enum Notice {
    Answer,
    Unreachable,
    Other,
}

/// surge-ping hands over whatever ICMP message quotes the request (RFC 792, RFC 4443).
fn notice(packet: &IcmpPacket) -> Notice {
    match packet {
        IcmpPacket::V4(packet) => match packet.get_icmp_type().0 {
            0 => Notice::Answer,
            3 | 11 => Notice::Unreachable, // destination unreachable, time exceeded
            _ => Notice::Other,
        },
        IcmpPacket::V6(packet) => match packet.get_icmpv6_type().0 {
            129 => Notice::Answer,
            1 | 3 => Notice::Unreachable,
            _ => Notice::Other,
        },
    }
}

/// Measures the targets of one group.
pub struct IcmpProbe {
    env: Env,
    group: Group,
    targets: Vec<Zoned>,
    count: u16,
    spacing: Duration,
    payload: Vec<u8>,
    changes: Changes,
}

impl IcmpProbe {
    /// `count` requests to each of `targets`, `spacing` apart, each round.
    pub fn new(
        group: &Group,
        targets: &[Zoned],
        count: u16,
        spacing: Duration,
        payload_bytes: usize,
        env: &Env,
    ) -> Result<Self, BuildError> {
        super::build::check_columns(group, targets.len(), |metric| {
            matches!(
                metric,
                Metric::IcmpOutcome
                    | Metric::IcmpLoss
                    | Metric::IcmpRttMin
                    | Metric::IcmpRttMean
                    | Metric::IcmpRttMax
                    | Metric::IcmpRttP95
                    | Metric::IcmpDelayVariation
            )
        })?;
        if !(1..=MAX_COUNT).contains(&count) {
            let value = usize::from(count);
            return Err(BuildError::Range { what: "the count of requests", value, range: "1-100" });
        }
        if payload_bytes > MAX_PAYLOAD_BYTES {
            let (what, value) = ("the payload's length", payload_bytes);
            return Err(BuildError::Range { what, value, range: "0-1452" });
        }
        for target in targets {
            if let Err(error) = env.allow.permits_echo(target) {
                tracing::warn!(%target, error = chain(&error), "a target is not probed");
            }
        }
        Ok(Self {
            env: env.clone(),
            group: group.clone(),
            targets: targets.to_vec(),
            count,
            spacing,
            // Not zeros: a path that compresses would look faster than it is.
            payload: (0..payload_bytes).map(|_| rand::random()).collect(),
            changes: Changes::new(targets.len()),
        })
    }

    /// One burst per target, in the targets' order.
    async fn bursts(&self) -> Vec<Burst> {
        let pinger = &*self.env.pinger;
        let mut bursts: Vec<Burst> =
            self.targets.iter().map(|_| Burst::new(usize::from(self.count))).collect();
        let askable: Vec<(usize, IpAddr, u32, Client)> = self
            .targets
            .iter()
            .enumerate()
            .filter(|(_, target)| self.env.allow.permits_echo(target).is_ok())
            .filter_map(|(index, target)| {
                Some((index, target.ip, scope(target)?, pinger.client(target.ip)?))
            })
            .collect();
        let ask = Ask { timeout: self.group.timeout, payload: &self.payload };
        // Requests handed over, and those of them that left: a future does nothing before its turn.
        let (mut pushed, begun) = (0, AtomicUsize::new(0));
        let mut in_flight = FuturesUnordered::new();
        let started = Instant::now();
        for turn in 0..self.count {
            let mut due = started + self.spacing * u32::from(turn);
            for (place, batch) in askable.chunks(BATCH).enumerate() {
                let mut has_slot = !place.is_multiple_of(BATCHES);
                loop {
                    let room = in_flight.len() < MAX_IN_FLIGHT;
                    tokio::select! {
                        biased;
                        Some((index, turn, reply)) = in_flight.next() => {
                            let burst: &mut Burst = &mut bursts[index];
                            burst.note(turn, reply);
                        }
                        () = sleep_until(due), if room && !has_slot => {
                            due = pinger.slot();
                            has_slot = true;
                        }
                        () = sleep_until(due), if room && has_slot => break,
                    }
                }
                for (index, target, scope, client) in batch {
                    let (begun, turn) = (&begun, usize::from(turn));
                    pushed += 1;
                    in_flight.push(async move {
                        begun.fetch_add(1, Ordering::Relaxed);
                        (*index, turn, pinger.ping(client, *target, *scope, ask).await)
                    });
                }
                // The requests leave, and the answers that are there are taken, before the next ones.
                while begun.load(Ordering::Relaxed) < pushed {
                    let mut others = pin!(yield_now());
                    loop {
                        tokio::select! {
                            biased;
                            Some((index, turn, reply)) = in_flight.next() => {
                                bursts[index].note(turn, reply);
                            }
                            () = &mut others => break,
                        }
                    }
                }
            }
        }
        while let Some((index, turn, reply)) = in_flight.next().await {
            bursts[index].note(turn, reply);
        }
        bursts
    }
}

#[async_trait]
impl Probe for IcmpProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let found: Vec<_> = self.bursts().await.iter().map(Burst::summary).collect();
        let changed = self.changes.note(found.iter().map(|summary| summary.outcome));
        let cells =
            super::cells(&self.group.columns, &found, |metric, summary| summary.cell(metric));
        Ok(Round { boot_ns, cells, changed, events: Vec::new() })
    }
}
