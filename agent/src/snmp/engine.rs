//! Version 3's engine on the other side: its name, its clock, and the keys made for it.
//!
//! The SNMP crate asks for the engine's name at every new session, makes the keys anew each time
//! (2 to 6 ms of hashing) and never moves the engine's clock on, so that the first request after
//! 150 s fails. Here the name is asked for once (RFC 3414, section 4), the keys are kept as long as
//! the name stays, and the clock is moved on before each session.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use snmp2::{
    AsnReader, asn1,
    v3::{Auth, AuthProtocol as SnmpAuth, Cipher, KeyExtension, Security},
};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use super::{
    credentials::{AuthProtocol, PrivProtocol, User},
    session::Fault,
};
use crate::logs::chain;

/// Longest name of an engine, in bytes. RFC 3411 allows 32; some makers do not count.
const MAX_ENGINE_ID_BYTES: usize = 64;
/// Largest message that the crate reads, told to the engine.
const MAX_MESSAGE_BYTES: u16 = 65_507;
/// Content of `msgFlags`: neither signed nor encrypted, and a report is welcome.
const REPORTABLE: u8 = 0x04;
/// The only security model (RFC 3411, section 5).
const USER_BASED: i64 = 3;

/// What an engine says of itself to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Discovered {
    id: Vec<u8>,
    /// 0 where the engine keeps its clock to itself: the first signed request learns it.
    boots: i64,
    time: i64,
}

/// An engine whose name is known, and what the user's passwords are worth there.
#[derive(Debug)]
pub(super) struct Engine {
    /// Holds the keys.
    security: Security,
    discovered: Discovered,
    at: Instant,
    /// The user has had an answer.
    pub(super) proven: bool,
}

impl Engine {
    /// Makes the keys of `user` for this engine, away from the thread that drives the sockets.
    pub(super) async fn new(
        discovered: Discovered,
        user: Arc<User>,
        extension: KeyExtension,
    ) -> Result<Self, Fault> {
        let at = Instant::now();
        let id = discovered.id.clone();
        let keys = tokio::task::spawn_blocking(move || security(&user).keyed(extension, &id));
        let security = match keys.await {
            Ok(Ok(security)) => security,
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "no keys for an engine");
                return Err(Fault::Malformed);
            }
            // The runtime is ending.
            Err(_cancelled) => return Err(Fault::OutOfTime),
        };
        Ok(Self { security, discovered, at, proven: false })
    }

    /// The same with a new reading of the clock; `None` when it is another engine's.
    pub(super) fn resynchronised(self, discovered: &Discovered) -> Option<Self> {
        (discovered.id == self.discovered.id).then(|| Self {
            discovered: discovered.clone(),
            at: Instant::now(),
            ..self
        })
    }

    /// What it said of itself.
    pub(super) fn discovered(&self) -> &Discovered {
        &self.discovered
    }

    /// For a new session, with the engine's clock as it must stand by now.
    pub(super) fn security(&self) -> Security {
        let Discovered { boots, time, .. } = self.discovered;
        let passed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        // A clock that was not told is not moved.
        let now = if boots == 0 { time } else { time.saturating_add(passed) };
        let now = now.min(i64::from(i32::MAX));
        self.security.clone().with_engine_boots_and_time(boots, now)
    }
}

/// A user in the crate's terms, without keys.
struct Unkeyed(Security);

impl Unkeyed {
    fn keyed(self, extension: KeyExtension, id: &[u8]) -> Result<Security, snmp2::Error> {
        self.0.with_key_extension_method(extension).with_engine_id(id)
    }
}

fn security(user: &User) -> Unkeyed {
    let password = user.auth().map_or(&[][..], |(_, secret)| secret.0.as_bytes());
    let security =
        Security::new(user.name().as_bytes(), password).with_context_name(user.context());
    let Some((auth, _)) = user.auth() else {
        return Unkeyed(security.with_auth(Auth::NoAuthNoPriv));
    };
    let security = security.with_auth_protocol(match auth {
        AuthProtocol::Md5 => SnmpAuth::Md5,
        AuthProtocol::Sha1 => SnmpAuth::Sha1,
        AuthProtocol::Sha224 => SnmpAuth::Sha224,
        AuthProtocol::Sha256 => SnmpAuth::Sha256,
        AuthProtocol::Sha384 => SnmpAuth::Sha384,
        AuthProtocol::Sha512 => SnmpAuth::Sha512,
    });
    Unkeyed(match user.privacy() {
        None => security.with_auth(Auth::AuthNoPriv),
        Some((privacy, secret)) => security.with_auth(Auth::AuthPriv {
            cipher: match privacy {
                PrivProtocol::Des => Cipher::Des,
                PrivProtocol::Aes128 => Cipher::Aes128,
                PrivProtocol::Aes192 => Cipher::Aes192,
                PrivProtocol::Aes256 => Cipher::Aes256,
            },
            privacy_password: secret.0.as_bytes().to_vec(),
        }),
    })
}

/// Asks once for the engine's name. Datagrams that are no answer are passed over.
pub(super) async fn discover(address: SocketAddr, deadline: Instant) -> Result<Discovered, Fault> {
    let any: SocketAddr =
        if address.is_ipv4() { ([0_u8; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.map_err(Fault::Socket)?;
    socket.connect(address).await.map_err(super::session::unopened)?;
    let id = rand::random_range(1..1 << 30);
    if socket.send(&question(id)).await.is_err() {
        return Err(Fault::NotSent);
    }
    let mut reply = vec![0; usize::from(MAX_MESSAGE_BYTES)];
    loop {
        match timeout_at(deadline, socket.recv(&mut reply)).await {
            Err(_elapsed) => return Err(Fault::Timeout),
            Ok(Err(_)) => return Err(Fault::Refused),
            Ok(Ok(len)) => {
                if let Some(discovered) = answer(&reply[..len], id) {
                    return Ok(discovered);
                }
            }
        }
    }
}

/// A try's end: `timeout` from now, the round's end at most.
pub(super) fn try_ends(timeout: Duration, deadline: Instant) -> Instant {
    deadline.min(Instant::now() + timeout)
}

/// The request that makes any engine report its name: no user, no name, nothing asked.
fn question(id: i32) -> Vec<u8> {
    fn wrapped(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        // The whole message is shorter than 128 bytes.
        let mut bytes = vec![tag, u8::try_from(content.len()).unwrap_or(0x7f)];
        bytes.extend(content);
        bytes
    }
    let id = wrapped(asn1::TYPE_INTEGER, &[&id.to_be_bytes()]);
    let zero = wrapped(asn1::TYPE_INTEGER, &[&[0]]);
    let none = wrapped(asn1::TYPE_OCTETSTRING, &[]);
    let size = wrapped(asn1::TYPE_INTEGER, &[&[0], &MAX_MESSAGE_BYTES.to_be_bytes()]);
    let flags = wrapped(asn1::TYPE_OCTETSTRING, &[&[REPORTABLE]]);
    let model = wrapped(asn1::TYPE_INTEGER, &[&[3]]);
    let version = wrapped(asn1::TYPE_INTEGER, &[&[3]]);
    let header = wrapped(asn1::TYPE_SEQUENCE, &[&id, &size, &flags, &model]);
    let user = wrapped(asn1::TYPE_SEQUENCE, &[&none, &zero, &zero, &none, &none, &none]);
    let user = wrapped(asn1::TYPE_OCTETSTRING, &[&user]);
    let list = wrapped(asn1::TYPE_SEQUENCE, &[]);
    let get = wrapped(snmp2::snmp::MSG_GET, &[&id, &zero, &zero, &list]);
    let scoped = wrapped(asn1::TYPE_SEQUENCE, &[&none, &none, &get]);
    wrapped(asn1::TYPE_SEQUENCE, &[&version, &header, &user, &scoped])
}

/// What a report says of its engine; `None` when it is no answer to the question of this number.
fn answer(bytes: &[u8], id: i32) -> Option<Discovered> {
    let mut message = AsnReader::from_bytes(bytes);
    let mut message = AsnReader::from_bytes(message.read_raw(asn1::TYPE_SEQUENCE).ok()?);
    if message.read_asn_integer().ok()? != snmp2::Version::V3 as i64 {
        return None;
    }
    let mut header = AsnReader::from_bytes(message.read_raw(asn1::TYPE_SEQUENCE).ok()?);
    if header.read_asn_integer().ok()? != i64::from(id) {
        return None;
    }
    let _size = header.read_asn_integer().ok()?;
    let _flags = header.read_asn_octetstring().ok()?;
    if header.read_asn_integer().ok()? != USER_BASED {
        return None;
    }
    let mut user = AsnReader::from_bytes(message.read_asn_octetstring().ok()?);
    let mut user = AsnReader::from_bytes(user.read_raw(asn1::TYPE_SEQUENCE).ok()?);
    let id = user.read_asn_octetstring().ok()?;
    let boots = user.read_asn_integer().ok()?;
    let time = user.read_asn_integer().ok()?;
    let range = 0..=i64::from(i32::MAX);
    let right = (1..=MAX_ENGINE_ID_BYTES).contains(&id.len())
        && range.contains(&boots)
        && range.contains(&time);
    right.then(|| Discovered { id: id.to_vec(), boots, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report as net-snmp sends it, to the request of number 0x01020304.
    const REPORT: [u8; 105] = [
        0x30, 0x67, 0x02, 0x01, 0x03, 0x30, 0x11, 0x02, 0x04, 0x01, 0x02, 0x03, 0x04, 0x02, 0x03,
        0x00, 0xff, 0xe3, 0x04, 0x01, 0x00, 0x02, 0x01, 0x03, 0x04, 0x1f, 0x30, 0x1d, 0x04, 0x11,
        0x80, 0x00, 0x1f, 0x88, 0x80, 0x59, 0xdc, 0x48, 0x61, 0x45, 0xa2, 0x63, 0x22, 0x00, 0x00,
        0x00, 0x00, 0x02, 0x01, 0x08, 0x02, 0x02, 0x0a, 0xb3, 0x04, 0x00, 0x04, 0x00, 0x04, 0x00,
        0x30, 0x2b, 0x04, 0x11, 0x80, 0x00, 0x1f, 0x88, 0x80, 0x59, 0xdc, 0x48, 0x61, 0x45, 0xa2,
        0x63, 0x22, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0xa8, 0x14, 0x02, 0x04, 0x01, 0x02, 0x03,
        0x04, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x30, 0x06, 0x30, 0x04, 0x06, 0x00, 0x05, 0x00,
    ];
    const NUMBER: i32 = 0x0102_0304;

    #[test]
    fn a_report_tells_name_and_clock() {
        let told = answer(&REPORT, NUMBER).expect("a report");
        assert_eq!(told.id, REPORT[30..47]);
        assert_eq!((told.boots, told.time), (8, 0x0ab3));
    }

    #[test]
    fn what_is_no_report_to_the_question_is_passed_over() {
        assert_eq!(answer(&REPORT, NUMBER + 1), None);
        for len in 0..58 {
            assert_eq!(answer(&REPORT[..len], NUMBER), None, "{len} bytes");
        }
        for (at, byte) in [(4, 1), (23, 2), (29, 0), (49, 0xff)] {
            let mut other = REPORT;
            other[at] = byte;
            assert_eq!(answer(&other, NUMBER), None, "byte {at}");
        }
    }

    #[test]
    fn the_question_is_one_that_the_crate_would_read() {
        let bytes = question(NUMBER);
        assert_eq!(usize::from(bytes[1]), bytes.len() - 2);
        let mut message = AsnReader::from_bytes(&bytes);
        let mut message =
            AsnReader::from_bytes(message.read_raw(asn1::TYPE_SEQUENCE).expect("a message"));
        assert_eq!(message.read_asn_integer(), Ok(3));
        let mut header =
            AsnReader::from_bytes(message.read_raw(asn1::TYPE_SEQUENCE).expect("a header"));
        assert_eq!(header.read_asn_integer(), Ok(i64::from(NUMBER)));
        assert_eq!(header.read_asn_integer(), Ok(65_507));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_reading(
            damage in proptest::collection::vec((0..REPORT.len(), proptest::num::u8::ANY), 0..6),
            keep in 0..=REPORT.len(),
        ) {
            let mut bytes = REPORT;
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            if let Some(told) = answer(&bytes[..keep], NUMBER) {
                proptest::prop_assert!((1..=MAX_ENGINE_ID_BYTES).contains(&told.id.len()));
                proptest::prop_assert!(told.boots >= 0 && told.time >= 0);
            }
        }
    }
}
