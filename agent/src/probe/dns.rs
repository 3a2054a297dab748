//! One question to each resolver: does it answer, what, and after how long.

pub mod packet;

use std::net::SocketAddr;

use async_trait::async_trait;
use packet::{Question, Reading};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};

use super::{
    BuildError, Cell, Changes, Outcome, Probe, ProbeError, Round, dial::exchange_outcome, env::Env,
};
use crate::{
    logs::chain,
    plan::{Group, Metric},
    platform,
};

/// Port of the system's resolver.
const DNS_PORT: u16 = 53;

/// Measures the resolvers of one group.
pub struct DnsProbe {
    env: Env,
    group: Group,
    /// `None` is the system's first resolver, read at each round since a lease may change it.
    resolvers: Vec<Option<SocketAddr>>,
    question: Question,
    changes: Changes,
}

/// What one question found.
#[derive(Debug, Clone, Copy)]
struct Found {
    outcome: Outcome,
    rcode: Cell,
    query_us: Cell,
}

impl From<Outcome> for Found {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, rcode: None, query_us: None }
    }
}

impl DnsProbe {
    /// Asks for the records of `record_type` (IANA number) of `name`.
    pub fn new(
        group: &Group,
        resolvers: &[Option<SocketAddr>],
        name: &str,
        record_type: u16,
        env: &Env,
    ) -> Result<Self, BuildError> {
        super::build::check_columns(group, resolvers.len(), |metric| {
            matches!(metric, Metric::DnsOutcome | Metric::DnsRcode | Metric::DnsQueryTime)
        })?;
        let question =
            Question::new(name, record_type).ok_or_else(|| BuildError::Name(name.to_owned()))?;
        for resolver in resolvers.iter().flatten() {
            if let Err(error) = env.allow.permits(resolver.ip()) {
                tracing::warn!(target = %resolver, error = chain(&error), "a target is not probed");
            }
        }
        Ok(Self {
            env: env.clone(),
            group: group.clone(),
            resolvers: resolvers.to_vec(),
            question,
            changes: Changes::new(resolvers.len()),
        })
    }

    async fn ask(&self, resolver: Option<SocketAddr>) -> Found {
        let server = match resolver {
            Some(server) if self.env.allow.permits(server.ip()).is_ok() => server,
            Some(_denied) => return Outcome::NotAsked.into(),
            // The machine's own choice, not the collector's: asked wherever it is, loopback too.
            None => match platform::first_resolver(&self.env.resolv_conf) {
                Ok(Some(address)) => SocketAddr::new(address, DNS_PORT),
                Ok(None) => return Outcome::NotAsked.into(),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "cannot read the system's resolvers");
                    return Outcome::NotAsked.into();
                }
            },
        };
        match timeout(self.group.timeout, self.exchange(server)).await {
            Ok(Ok(found)) => found,
            Ok(Err(outcome)) => outcome.into(),
            Err(_elapsed) => Outcome::Timeout.into(),
        }
    }

    /// Over UDP, and again over TCP when the answer was cut; the time is that of both.
    async fn exchange(&self, server: SocketAddr) -> Result<Found, Outcome> {
        let id = rand::random();
        let query = self.question.encode(id).map_err(|error| {
            tracing::debug!(error = chain(&error), "cannot encode a question");
            Outcome::NotAsked
        })?;
        let started = Instant::now();
        let mut reading = self.over_udp(server, id, &query).await?;
        if reading == Reading::Truncated {
            reading = self.over_tcp(server, id, &query).await?;
        }
        match reading {
            Reading::Answer(rcode) => Ok(Found {
                outcome: if rcode == 0 { Outcome::Ok } else { Outcome::Failed },
                rcode: Some(rcode.into()),
                query_us: Some(super::micros(started.elapsed())),
            }),
            Reading::Truncated | Reading::Malformed | Reading::Foreign => Err(Outcome::Malformed),
        }
    }

    async fn over_udp(
        &self,
        server: SocketAddr,
        id: u16,
        query: &[u8],
    ) -> Result<Reading, Outcome> {
        let local: SocketAddr = if server.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let failed = |error| exchange_outcome(&error, server.ip());
        let socket = UdpSocket::bind(local).await.map_err(failed)?;
        // Connected, so that the kernel drops replies from any other address.
        socket.connect(server).await.map_err(failed)?;
        socket.send(query).await.map_err(failed)?;
        let mut reply = [0; packet::MAX_UDP_REPLY_LEN + 1];
        loop {
            let len = socket.recv(&mut reply).await.map_err(failed)?;
            if len > packet::MAX_UDP_REPLY_LEN {
                return Ok(Reading::Malformed);
            }
            match self.question.read(id, &reply[..len]) {
                // Late, or a stranger's guess: the true answer may still come.
                Reading::Foreign => {}
                reading @ (Reading::Answer(_) | Reading::Truncated | Reading::Malformed) => {
                    return Ok(reading);
                }
            }
        }
    }

    async fn over_tcp(
        &self,
        server: SocketAddr,
        id: u16,
        query: &[u8],
    ) -> Result<Reading, Outcome> {
        let failed = |error| exchange_outcome(&error, server.ip());
        let mut stream = TcpStream::connect(server).await.map_err(failed)?;
        let len = u16::try_from(query.len()).map_err(|_| Outcome::NotAsked)?;
        let framed = [&len.to_be_bytes()[..], query].concat();
        stream.write_all(&framed).await.map_err(failed)?;
        // Cut short by the server: there was an answer, but not one to the question.
        let cut = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                Outcome::Malformed
            } else {
                exchange_outcome(&error, server.ip())
            }
        };
        let len = stream.read_u16().await.map_err(cut)?;
        let mut reply = vec![0; usize::from(len)];
        stream.read_exact(&mut reply).await.map_err(cut)?;
        Ok(self.question.read(id, &reply))
    }
}

#[async_trait]
impl Probe for DnsProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let this = &*self;
        let found: Vec<Found> = super::ask_all(this.resolvers.len(), this.group.timeout, |index| {
            this.ask(this.resolvers[index])
        })
        .await;
        let changed = self.changes.note(found.iter().map(|found| found.outcome));
        let cells = super::cells(&self.group.columns, &found, |metric, found| {
            if metric == Metric::DnsOutcome {
                Some(found.outcome as i64)
            } else if metric == Metric::DnsRcode {
                found.rcode
            } else {
                found.query_us
            }
        });
        Ok(Round { boot_ns, cells, changed, events: Vec::new() })
    }
}
