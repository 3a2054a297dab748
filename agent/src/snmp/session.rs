//! One device asked one question at a time, within the time of a round.
//!
//! The crate's session has no timeout, no retry, and after one late or foreign datagram it stays one
//! reply behind for ever. So a session that met anything but an answer is dropped, and the retry
//! goes out from a new socket, where no late reply can arrive. Sockets live for one round: opening
//! one costs six system calls for several hundred values, while keeping one would cost a device
//! 131 kB of buffers between two rounds. What stays is the engine of a device of version 3: its
//! clock, and the keys that cost 2 to 6 ms to make.
//!
//! Version 3 heals within one exchange: the time window (the crate takes over the clock of the
//! refusal, so the same request works at once), a device that restarted or was replaced (its name is
//! asked for again). What can not be told apart: an unknown user, a wrong authentication password
//! and a level that the user may not have, since the crate drops the report that names the reason.
//! A wrong privacy password shows as silence behind an engine that has told its name. Devices that
//! announce messages beyond 65 507 bytes, or that never count their starts, can not be asked: the
//! crate refuses their replies.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use snmp2::{
    AsyncSession, Error, Oid, Pdu, Version,
    v3::{AuthErrorKind, KeyExtension},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    credentials::{Credentials, User},
    decode,
    engine::{self, Discovered, Engine},
    name,
    stats::{STATS, add},
    tables::Value,
};
use crate::probe::Outcome;

/// Tries of one request.
const TRIES: u32 = 2;
/// Attempts of one request of version 3 that may fail for want of a clock or a name in common,
/// beside the tries.
const MAX_HEALS: u32 = 3;

/// `error-status` of a reply that would not fit the device's largest message (RFC 3416).
pub(crate) const TOO_BIG: u32 = 1;
/// `error-status` by which agents of version 1 say that a table has ended.
pub(crate) const NO_SUCH_NAME: u32 = 2;

/// Why a request has no answer, after all its tries.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No reply in time, or no time left to ask.
    #[error("no answer in time")]
    Timeout,
    /// The socket said that nobody listens there.
    #[error("nobody listens there")]
    Refused,
    /// There is no route.
    #[error("the network says that it can not be reached")]
    Unreachable,
    /// What came is no answer to the question.
    #[error("what came is no answer")]
    Malformed,
    /// The device's engine of version 3 says that it does not accept the user: unknown, another
    /// password or protocol, or not at this level.
    #[error("the device does not accept the user")]
    Denied,
    /// The engine has told its name, and is silent to all that the user asks: the privacy password
    /// or protocol is another one, or packets of this size are lost.
    #[error("the device answers strangers, and is silent to the user")]
    Ignored,
    /// The device answered that it failed. `index` is 1 for the first name asked, 0 for none.
    #[error("the device answers error {status} at variable {index}")]
    Status {
        /// `error-status` of RFC 3416.
        status: u32,
        /// `error-index`.
        index: u32,
    },
    /// A bulk request of a device of version 1.
    #[error("version 1 has no bulk requests")]
    NoBulk,
    /// The round's time is over.
    #[error("no time left to ask")]
    OutOfTime,
    /// The datagram could not be sent.
    #[error("cannot send a datagram")]
    NotSent,
    /// No socket could be opened.
    #[error("cannot open a socket")]
    Socket(#[source] io::Error),
}

impl Fault {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout | Self::OutOfTime | Self::Ignored => Outcome::Timeout,
            Self::Refused | Self::Denied => Outcome::Refused,
            Self::Unreachable => Outcome::Unreachable,
            Self::Malformed => Outcome::Malformed,
            Self::Status { .. } => Outcome::Failed,
            Self::NoBulk | Self::NotSent | Self::Socket(_) => Outcome::NotAsked,
        }
    }

    /// True when asking for less may help.
    pub(crate) fn may_be_size(&self) -> bool {
        matches!(self, Self::Timeout | Self::Ignored | Self::Malformed | Self::Status { .. })
    }

    /// True when the device can not be asked with any credentials: others are not worth a try.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Refused
            | Self::Unreachable
            | Self::OutOfTime
            | Self::NotSent
            | Self::Socket(_) => true,
            Self::Timeout
            | Self::Malformed
            | Self::Denied
            | Self::Ignored
            | Self::Status { .. }
            | Self::NoBulk => false,
        }
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
pub(crate) enum Request<'a> {
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

/// A device and who asks it: one request at a time.
pub struct Session {
    address: SocketAddr,
    credentials: Arc<Credentials>,
    /// The user of version 3.
    user: Option<Arc<User>>,
    timeout: Duration,
    deadline: Instant,
    open: Option<AsyncSession>,
    engine: Option<Engine>,
    /// Its clock or its name is not to be relied on.
    engine_is_stale: bool,
    extension: KeyExtension,
    /// The other way of extending keys has been tried in this round.
    tried_both: bool,
    requests: usize,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("address", &self.address)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// `timeout` is for one try; each request has two. No request goes out after `deadline`.
    #[must_use]
    pub fn new(
        address: SocketAddr,
        credentials: Arc<Credentials>,
        timeout: Duration,
        deadline: Instant,
    ) -> Self {
        let user = match &*credentials {
            Credentials::V3(user) => Some(Arc::new(user.clone())),
            Credentials::V1 { .. } | Credentials::V2c { .. } => None,
        };
        Self {
            address,
            credentials,
            user,
            timeout,
            deadline,
            open: None,
            engine: None,
            engine_is_stale: false,
            extension: KeyExtension::Blumenthal,
            tried_both: false,
            requests: 0,
        }
    }

    /// Begins a round that ends at `deadline`. The socket is closed; an engine's keys are kept.
    pub fn renew(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.tried_both = false;
        self.close();
    }

    /// Frees the socket and its buffers until the next request.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Whom it asks.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who asks.
    #[must_use]
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// When the round ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// False for version 1, which has no bulk requests.
    #[must_use]
    pub fn has_bulk(&self) -> bool {
        self.credentials.version() != Version::V1
    }

    /// Datagrams sent so far, retries and the search for an engine's name included.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// The values of these instances, in order; `None` where there is none, where it could not be
    /// read, and behind a place that could not be read.
    ///
    /// # Errors
    /// [`Fault::Status`] also when a device of version 1 lacks one of them.
    pub async fn get(&mut self, instances: &[&[u32]]) -> Result<Vec<Option<Value>>, Fault> {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(instances.len());
        for arcs in instances {
            if !name::encode(arcs, &mut bytes) {
                return Err(Fault::NotSent);
            }
            ends.push(bytes.len());
        }
        let oids = name::split(&bytes, ends);
        let refs: Vec<&Oid<'_>> = oids.iter().collect();
        let read = |reply: &Pdu<'_>| {
            let mut values = Vec::with_capacity(refs.len());
            for ((name, found), asked) in reply.varbinds.clone().zip(&refs) {
                if name != **asked {
                    return None;
                }
                values.push(decode::value(&found));
            }
            values.resize(refs.len(), None);
            Some(values)
        };
        self.exchange(Request::Get(&refs), read).await.map(|(values, _)| values)
    }

    /// Asks until `read` accepts a reply or the tries are used up; also returns how long the device
    /// took to answer the try that it answered.
    pub(crate) async fn exchange<T>(
        &mut self,
        request: Request<'_>,
        mut read: impl FnMut(&Pdu<'_>) -> Option<T>,
    ) -> Result<(T, Duration), Fault> {
        if matches!(request, Request::Bulk(..)) && !self.has_bulk() {
            return Err(Fault::NoBulk);
        }
        match self.attempt(request, &mut read).await {
            Err(fault) if self.may_extend_otherwise(&fault) => {
                self.extend_otherwise().await?;
                self.attempt(request, &mut read).await
            }
            answer => answer,
        }
    }

    async fn attempt<T>(
        &mut self,
        request: Request<'_>,
        read: &mut impl FnMut(&Pdu<'_>) -> Option<T>,
    ) -> Result<(T, Duration), Fault> {
        let version = self.credentials.version();
        let mut fault = Fault::Timeout;
        let (mut tries, mut heals) = (0, 0);
        let mut is_fresh = false;
        while tries < TRIES {
            let mut session = match self.open.take() {
                Some(session) => session,
                None => self.connect(&mut is_fresh).await?,
            };
            let sent = Instant::now();
            let Some(left) =
                self.deadline.checked_duration_since(sent).filter(|left| !left.is_zero())
            else {
                return Err(Fault::OutOfTime);
            };
            self.count_request();
            let answer = timeout(self.timeout.min(left), request.send(&mut session)).await;
            fault = match answer {
                Err(_elapsed) => Fault::Timeout,
                Ok(Err(error)) => match self.refusal(&error) {
                    None => error.into(),
                    Some(refusal) => {
                        heals += 1;
                        match heals {
                            // The crate has taken over the clock that came with the refusal, if one
                            // did.
                            1 | MAX_HEALS => self.open = Some(session),
                            // Another name, or a clock that went back.
                            2 if !is_fresh => self.engine_is_stale = true,
                            _ => return Err(refusal),
                        }
                        continue;
                    }
                },
                Ok(Ok(reply)) if reply.version() != Ok(version) => Fault::Malformed,
                Ok(Ok(reply)) if reply.error_status != 0 => {
                    add(&STATS.error_statuses, 1);
                    let fault =
                        Fault::Status { status: reply.error_status, index: reply.error_index };
                    self.answered(session);
                    return Err(fault);
                }
                Ok(Ok(reply)) => {
                    let took = sent.elapsed();
                    if let Some(value) = read(&reply) {
                        self.answered(session);
                        return Ok((value, took));
                    }
                    Fault::Malformed
                }
            };
            tries += 1;
            match fault {
                Fault::Timeout => add(&STATS.timeouts, 1),
                Fault::Malformed => add(&STATS.malformed, 1),
                // Nobody listens: asking again at once would hear the same.
                Fault::Refused => return Err(fault),
                Fault::Unreachable
                | Fault::Denied
                | Fault::Ignored
                | Fault::Status { .. }
                | Fault::NoBulk
                | Fault::OutOfTime
                | Fault::NotSent
                | Fault::Socket(_) => {}
            }
        }
        // Whoever is there by the next request, its name and clock are asked for again.
        self.engine_is_stale = true;
        let is_proven = self.engine.as_ref().is_none_or(|engine| engine.proven);
        Err(if matches!(fault, Fault::Timeout) && !is_proven { Fault::Ignored } else { fault })
    }

    /// The session and, of version 3, the keys have proved good.
    fn answered(&mut self, session: AsyncSession) {
        self.open = Some(session);
        if let Some(engine) = &mut self.engine {
            engine.proven = true;
        }
    }

    fn count_request(&mut self) {
        self.requests += 1;
        add(&STATS.requests, 1);
    }

    /// What an error of version 3 means if it stays; `None` when it is no matter of user or clock.
    fn refusal(&self, error: &Error) -> Option<Fault> {
        let user = self.user.as_ref()?;
        match error {
            Error::AuthFailure(
                AuthErrorKind::NotAuthenticated | AuthErrorKind::ReplyNotEncrypted,
            ) => Some(Fault::Denied),
            // A report in clear is all that a user without a password is refused with, and the
            // crate only says that it is no response.
            Error::AsnWrongType if user.auth().is_none() => Some(Fault::Denied),
            Error::AuthUpdated
            | Error::AuthFailure(_)
            // Decrypted by the clock of before.
            | Error::AsnWrongType
            | Error::AsnEof
            | Error::AsnInvalidLen => Some(Fault::Malformed),
            Error::AsnParse
            | Error::AsnUnsupportedType
            | Error::AsnIntOverflow
            | Error::UnsupportedVersion
            | Error::RequestIdMismatch
            | Error::CommunityMismatch
            | Error::ValueOutOfRange
            | Error::BufferOverflow
            | Error::Crypto(_)
            | Error::Send
            | Error::Receive
            | Error::Mib(_) => None,
        }
    }

    async fn connect(&mut self, is_fresh: &mut bool) -> Result<AsyncSession, Fault> {
        // Not negative: some agents answer such an id with its absolute value.
        let first_id = rand::random_range(1..1 << 30);
        let user = self.user.clone();
        let security = match user {
            Some(user) => Some(self.engine(user, is_fresh).await?.security()),
            None => None,
        };
        let opening = async {
            match (&*self.credentials, security) {
                (Credentials::V1 { community }, _) => {
                    AsyncSession::new_v1(self.address, community.0.as_bytes(), first_id).await
                }
                (_, Some(security)) => AsyncSession::new_v3(self.address, first_id, security).await,
                (Credentials::V2c { community }, None) => {
                    AsyncSession::new_v2c(self.address, community.0.as_bytes(), first_id).await
                }
                (Credentials::V3(_), None) => Err(io::ErrorKind::InvalidInput.into()),
            }
        };
        match timeout_at(self.deadline, opening).await {
            Err(_elapsed) => Err(Fault::OutOfTime),
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(unopened(error)),
        }
    }

    /// The engine, whose name is asked for when it is not known or no longer believed.
    async fn engine(&mut self, user: Arc<User>, is_fresh: &mut bool) -> Result<&Engine, Fault> {
        let known = if self.engine_is_stale || self.engine.is_none() {
            *is_fresh = true;
            let discovered = self.discover().await?;
            self.engine_is_stale = false;
            let same = self.engine.take().and_then(|engine| engine.resynchronised(&discovered));
            match same {
                Some(engine) => engine,
                None => Engine::new(discovered, user, self.extension).await?,
            }
        } else {
            match self.engine.take() {
                Some(engine) => engine,
                None => return Err(Fault::Malformed),
            }
        };
        Ok(self.engine.insert(known))
    }

    async fn discover(&mut self) -> Result<Discovered, Fault> {
        let mut fault = Fault::Timeout;
        for _ in 0..TRIES {
            if self.deadline <= Instant::now() {
                return Err(Fault::OutOfTime);
            }
            self.count_request();
            let ends = engine::try_ends(self.timeout, self.deadline);
            match engine::discover(self.address, ends).await {
                Err(Fault::Timeout) => {
                    add(&STATS.timeouts, 1);
                    fault = Fault::Timeout;
                }
                answer => return answer,
            }
        }
        Err(fault)
    }

    /// True when the same passwords may give other keys, and nothing has proved these.
    fn may_extend_otherwise(&self, fault: &Fault) -> bool {
        let extends = self.user.as_ref().is_some_and(|user| user.extends_its_key());
        let unproven = self.engine.as_ref().is_some_and(|engine| !engine.proven);
        extends
            && unproven
            && !self.tried_both
            && matches!(fault, Fault::Ignored | Fault::Denied | Fault::Malformed)
    }

    async fn extend_otherwise(&mut self) -> Result<(), Fault> {
        self.tried_both = true;
        self.extension = self.extension.other();
        let user = self.user.clone();
        if let (Some(user), Some(engine)) = (user, self.engine.take()) {
            let discovered = engine.discovered().clone();
            self.engine = Some(Engine::new(discovered, user, self.extension).await?);
            self.engine_is_stale = false;
        }
        self.close();
        Ok(())
    }
}

/// What it means that no socket could be opened and connected.
pub(super) fn unopened(error: io::Error) -> Fault {
    let no_route = [io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable];
    if no_route.contains(&error.kind()) { Fault::Unreachable } else { Fault::Socket(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(address: SocketAddr, credentials: Credentials, deadline: Instant) -> Session {
        Session::new(address, Arc::new(credentials), Duration::from_secs(1), deadline)
    }

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
        let address = device.local_addr().expect("bound");
        let user = User::new("ops", None, None, "").expect("a name");
        for credentials in
            [Credentials::v1("public"), Credentials::v2c("public"), Credentials::V3(user)]
        {
            let mut session = session(address, credentials, Instant::now());
            let name = Oid::new((&[0x2b_u8, 6][..]).into());
            let asked = session.exchange(Request::Next(&name), |_| Some(())).await;
            assert!(matches!(asked, Err(Fault::OutOfTime)));
            assert!(device.recv(&mut [0; 8]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
        }
    }

    #[tokio::test]
    async fn version_1_is_never_sent_a_bulk_request() {
        let device = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        device.set_nonblocking(true).expect("a socket option");
        let address = device.local_addr().expect("bound");
        let later = Instant::now() + Duration::from_mins(1);
        let mut session = session(address, Credentials::v1("public"), later);
        let name = Oid::new((&[0x2b_u8, 6][..]).into());
        let asked = session.exchange(Request::Bulk(&[&name], 2), |_| Some(())).await;
        assert!(matches!(asked, Err(Fault::NoBulk)));
        assert!(device.recv(&mut [0; 8]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
    }
}
