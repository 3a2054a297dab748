//! What parses strangers' bytes, one entry each: whatever the bytes, no panic, no hang, and the laws
//! below hold. The same entries serve cargo-fuzz (`tests/fuzz`) and the bounded run of CI.

mod mutate;
mod seeds;

pub use mutate::Mutator;
pub use seeds::seeds;

use agent::config as agent_config;
use prost::Message as _;
use proto::{limits, records, samples, v1};

/// A number of a `sint32` or an enumeration may be read from fewer bytes than it is written in: a
/// cut one of five bytes is written in ten.
const MAX_GROWTH: usize = 2;

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A datagram of an SNMP device.
    SnmpReply,
    /// A datagram of a resolver.
    DnsReply,
    /// A file in a spool.
    SpoolSegment,
    /// The payload of a record of samples.
    SamplePayload,
    /// Batches of records, as an agent sends them.
    RecordBatch,
    /// A message of an agent's stream.
    Up,
    /// A message of a collector's stream.
    Down,
    /// What an agent tells of itself.
    Event,
    /// The request of an agent that nobody knows yet.
    Enrol,
    /// What a collector wants measured.
    Plan,
    /// Datagrams from strangers to a reflector.
    MeshPacket,
    /// An agent's local file.
    AgentConfig,
    /// A collector's file.
    CollectorConfig,
    /// A list of sites.
    SitesCsv,
    /// An enrolment token.
    Token,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::SnmpReply,
        Self::DnsReply,
        Self::SpoolSegment,
        Self::SamplePayload,
        Self::RecordBatch,
        Self::Up,
        Self::Down,
        Self::Event,
        Self::Enrol,
        Self::Plan,
        Self::MeshPacket,
        Self::AgentConfig,
        Self::CollectorConfig,
        Self::SitesCsv,
        Self::Token,
    ];

    /// Gives the entry these bytes; true when it takes them for good.
    ///
    /// # Panics
    /// When a law is broken: that is the finding.
    #[must_use]
    pub fn feed(self, bytes: &[u8]) -> bool {
        match self {
            Self::SnmpReply => {
                let values = agent::probe::snmp::decode_reply(bytes);
                assert!(values <= bytes.len(), "more values than bytes");
                values > 0
            }
            Self::DnsReply => dns_reply(bytes),
            Self::SpoolSegment => {
                let report = agent::spool::check_segment(bytes);
                assert!(report.header || report.records == 0, "records without a header");
                assert!(report.records <= bytes.len(), "more records than bytes");
                report.records > 0
            }
            Self::SamplePayload => sample_payload(bytes),
            Self::RecordBatch => record_batch(bytes),
            Self::Up => up(bytes),
            Self::Down => down(bytes),
            Self::Event => message::<v1::Event>(bytes).is_some_and(|event| event.event.is_some()),
            Self::Enrol => enrol(bytes),
            Self::Plan => plan(bytes),
            Self::MeshPacket => mesh_packets(bytes),
            Self::AgentConfig => configuration_of_agent(bytes),
            Self::CollectorConfig => configuration_of_collector(bytes),
            Self::SitesCsv => sites(bytes),
            Self::Token => token(bytes),
        }
    }
}

fn dns_reply(bytes: &[u8]) -> bool {
    use agent::probe::dns::packet::{Question, Reading};
    let reading = Question::new("www.example.fr", 1).map(|question| question.read(0x1234, bytes));
    matches!(reading, Some(Reading::Answer { .. }))
}

fn sample_payload(bytes: &[u8]) -> bool {
    let Ok(record) = samples::decode(bytes) else { return false };
    assert_eq!(record.cells.len(), record.columns * record.times_ms.len());
    assert!(record.cells.len() <= limits::MAX_RECORD_SAMPLES);
    let again = samples::encode(record.group, record.layout, &record.times_ms, &record.cells);
    assert_eq!(samples::decode(&again), Ok(record));
    true
}

fn record_batch(bytes: &[u8]) -> bool {
    let mut decoder = records::Decoder::new();
    // A stream: several batches, each of which meets the state that the ones before left.
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok(batch) = v1::Records::decode_length_delimited(&mut rest) else { return false };
        let Ok(records) = decoder.decode(&batch) else { return false };
        assert!(records.len() <= limits::MAX_BATCH_RECORDS);
        assert!(records.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        assert!(records.iter().all(|record| record.payload.len() <= limits::MAX_PAYLOAD_BYTES));
    }
    true
}

/// Reads a message. Written again it is no longer than what was read, and is read the same.
fn message<M: prost::Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = message.encode_to_vec();
    assert!(
        again.len() <= bytes.len() * MAX_GROWTH,
        "{} bytes became {}",
        bytes.len(),
        again.len()
    );
    assert!(M::decode(&again[..]).is_ok_and(|read| read == message), "it is read otherwise");
    Some(message)
}

fn up(bytes: &[u8]) -> bool {
    let Some(v1::Up { message: Some(message) }) = message(bytes) else { return false };
    match message {
        v1::up::Message::Records(batch) => records::Decoder::new().decode(&batch).is_ok(),
        v1::up::Message::Hello(hello) => !hello.instance_id.is_empty(),
        v1::up::Message::Heartbeat(_)
        | v1::up::Message::Config(_)
        | v1::up::Message::Goodbye(_) => true,
    }
}

fn down(bytes: &[u8]) -> bool {
    let Some(v1::Down { message: Some(message) }) = message(bytes) else { return false };
    match message {
        v1::down::Message::Config(config) => checked_plan(&config),
        v1::down::Message::Ok(_)
        | v1::down::Message::Ack(_)
        | v1::down::Message::Time(_)
        | v1::down::Message::Away(_)
        | v1::down::Message::Credit(_) => true,
    }
}

fn enrol(bytes: &[u8]) -> bool {
    let Some(request) = message::<v1::EnrolRequest>(bytes) else { return false };
    let name = collector::wire::text(&request.hostname);
    assert!(!name.chars().any(char::is_control), "a name with control characters");
    let Ok(key) = collector::ca::RequestKey::from_request(&request.csr) else { return false };
    assert!(request.csr.len() <= limits::MAX_CSR_BYTES);
    key.spki_sha256() != [0; 32]
}

fn plan(bytes: &[u8]) -> bool {
    v1::Config::decode(bytes).is_ok_and(|config| checked_plan(&config))
}

fn checked_plan(config: &v1::Config) -> bool {
    let Ok(plan) = agent::wire::plan(config) else { return false };
    for group in &plan.groups {
        assert!(!group.period.is_zero() && group.timeout < group.period);
        assert!(group.columns.len() <= limits::MAX_COLUMNS);
    }
    true
}

/// The link that the reflector of [`Entry::MeshPacket`] answers, and its key.
const LINK: (u32, [u8; 32]) = (3, [9; 32]);

/// The bytes as one datagram, and, so that what lies behind the tag is reached too, as a row of packets
/// that are sealed with the right key.
fn mesh_packets(bytes: &[u8]) -> bool {
    use agent::{
        plan::{LinkKey, Reflected},
        probe::mesh::{
            judge::{Fate, Judge},
            packet::{PACKET_LEN, Packet},
        },
    };
    let (link, key) = (LINK.0, LinkKey(LINK.1));
    let mut judge = Judge::default();
    judge.answer_only(&[Reflected { link, key: key.clone() }]);
    if let Ok(answer) = judge.judge(bytes, 1, 2) {
        assert!(Packet::open(bytes, &key).is_some(), "a forgery is answered");
        assert_eq!(answer.seal(0).len(), bytes.len(), "more is sent than came");
    }
    let mut answered = std::collections::BTreeSet::new();
    let mut offered = std::collections::BTreeSet::new();
    for (second, chunk) in (1_u64..).zip(bytes.chunks(PACKET_LEN)) {
        let Some(packet) = Packet::read(chunk) else { continue };
        let now_ns = second * 1_000_000_000;
        let Ok(answer) = judge.judge(&packet.seal(&key), now_ns, second) else { continue };
        let fate = answer.fate();
        let sent = Packet::open(&answer.seal(7), &key).unwrap_or(packet);
        assert_eq!(
            (sent.link, sent.sequence, sent.sent_ns),
            (link, packet.sequence, packet.sent_ns)
        );
        if fate == Fate::Challenged {
            offered.insert(sent.session);
        } else {
            assert!(offered.contains(&sent.session), "a session that was never offered");
            assert!(answered.insert((sent.session, sent.sequence)), "a packet is answered twice");
        }
    }
    !answered.is_empty()
}

fn configuration_of_agent(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Err(faults) = agent_config::Config::parse(&text) else { return true };
    assert!(!faults.is_empty());
    assert!(faults.iter().all(|fault| fault.span.end <= text.len()));
    assert!(!agent_config::render("agent.toml", &text, &faults).is_empty());
    false
}

fn configuration_of_collector(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Err(error) = collector::config::Config::parse(&text, "collector.toml") else {
        return true;
    };
    assert!(!error.to_string().is_empty());
    false
}

fn sites(bytes: &[u8]) -> bool {
    match collector::import::parse(bytes) {
        Ok(sites) => {
            for site in sites {
                assert_eq!(site.uai.to_string().parse(), Ok(site.uai));
                assert!(!site.name.chars().any(char::is_control));
            }
            true
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            false
        }
    }
}

fn token(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(token) = text.parse::<agent::enrol::Token>() else { return false };
    let mut parts = text.trim().split('.');
    let (id, secret) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    assert!(id.contains(secret) || !format!("{token:?}").contains(secret), "a secret is shown");
    true
}
