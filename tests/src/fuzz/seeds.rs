//! Good inputs, from which bad ones are made.

use std::sync::Arc;

use agent::{
    clock::SystemClock,
    plan::LinkKey,
    probe::mesh::packet::{Kind, Packet},
    spool::{NewRecord, Spool, SpoolConfig},
};
use anyhow::{Context as _, Result};
use prost::Message as _;
use proto::{records, samples, v1};

use super::Entry;
use crate::{
    binaries::workspace,
    snmp_responder::{Mib, Spec, ber},
};

/// Good inputs of an entry.
pub fn seeds(entry: Entry) -> Result<Vec<Vec<u8>>> {
    let seeds = match entry {
        Entry::SnmpReply => snmp(),
        Entry::DnsReply => dns(),
        Entry::SpoolSegment => spool()?,
        Entry::SamplePayload => payloads(),
        Entry::RecordBatch => vec![stream()?],
        Entry::Up => ups()?,
        Entry::Down => downs(),
        Entry::Event => events(),
        Entry::Enrol => enrolments()?,
        Entry::Plan => vec![plan().encode_to_vec()],
        Entry::MeshPacket => mesh_packets(),
        Entry::AgentConfig => vec![
            "collector = \"collecte.example.fr:7443\"\ndata_dir = \"/var/lib/vigie-agent\"\n\
             allow_networks = [\"10.0.0.0/8\", \"fd00::/8\"]\nmetrics_listen = \"127.0.0.1:9781\"\n\
             log_format = \"json\"\n[limits]\nspool_samples_mib = 448\npackets_per_s = 200\n"
                .into(),
        ],
        Entry::CollectorConfig => {
            let sample = workspace().join("deploy/collector.toml");
            vec![std::fs::read(&sample).context("cannot read the sample configuration")?]
        }
        Entry::SitesCsv => {
            let head = "uai,name,type,zone,pupils,lot,address,latitude,longitude\n";
            let uai = crate::collector::uai(1);
            vec![
                format!("{head}{uai},\"Collège \"\"J. Moulin\"\"\",college,A,612,2,\"1, rue X\",45.7,4.8\n")
                    .into(),
                format!("\u{feff}{}{uai};Lycée;lycee;B;;;;;\r\n", head.replace(',', ";")).into(),
            ]
        }
        Entry::Token => {
            let pin = "ab".repeat(32);
            vec![format!("k7f3.{}.{pin}", "A".repeat(43)).into(), format!("k.{pin}.{pin}").into()]
        }
    };
    Ok(seeds)
}

/// A session of a sender with the reflector: the first packet gets the session's number, which is the
/// second in which it came.
fn mesh_packets() -> Vec<Vec<u8>> {
    let (link, key) = (super::LINK.0, LinkKey(super::LINK.1));
    let request = |session, sequence| {
        let packet =
            Packet { kind: Kind::Request, link, session, sequence, sent_ns: 5, held_ns: 0 };
        packet.seal(&key).to_vec()
    };
    let session: Vec<_> = (0..12).map(|n| request(u64::from(n > 0), 1_000 + n)).collect();
    vec![session.concat(), request(0, 7)]
}

/// Answers of a synthetic switch to the questions that a probe asks.
fn snmp() -> Vec<Vec<u8>> {
    let mib = Mib::new(Spec {
        interfaces: vec![12],
        community: "public".to_owned(),
        values: Arc::new(|question| u64::from(question.if_index) * 1_000_003),
    });
    let ask = |pdu, status, index, arcs: &[u32]| {
        let varbinds = ber::varbind(&ber::name(arcs), 0x05, &[]);
        let message = ber::Message {
            version: ber::VERSION_2C,
            community: b"public",
            pdu,
            id: 77,
            status,
            index,
            varbinds: &varbinds,
        };
        mib.answer(0, &message.encode())
    };
    [
        ask(ber::GET, 0, 0, &[1, 3, 6, 1, 2, 1, 1, 3, 0]),
        ask(ber::GET_NEXT, 0, 0, &[1, 3, 6, 1, 2, 1, 1, 1]),
        ask(ber::GET_BULK, 0, 20, &[1, 3, 6, 1, 2, 1, 2, 2, 1, 8]),
        ask(ber::GET_BULK, 0, 20, &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6]),
        ask(ber::GET, 0, 0, &[1, 3, 6, 1, 2, 1, 9, 9]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An answer with an address, one with a name that does not exist, one with a pointer.
fn dns() -> Vec<Vec<u8>> {
    let question = b"\x03www\x07example\x02fr\x00\x00\x01\x00\x01";
    let head = |flags: u16, answers: u8| {
        let [high, low] = flags.to_be_bytes();
        [0x12, 0x34, high, low, 0, 1, 0, answers, 0, 0, 0, 0]
    };
    let address = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01";
    let alias = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x10";
    vec![
        [&head(0x8180, 1)[..], question, address].concat(),
        [&head(0x8183, 0)[..], question].concat(),
        [&head(0x8180, 2)[..], question, alias, address].concat(),
    ]
}

fn payloads() -> Vec<Vec<u8>> {
    let cells: Vec<Option<i64>> =
        (0..40).map(|cell| (cell % 7 != 0).then_some(cell * 1_000_003)).collect();
    vec![
        samples::encode(3, 1, &[0], &cells),
        samples::encode(3, 2, &[0, 10_000, 20_000, 30_007], &cells),
        samples::encode(1, 1, &[0], &[None, Some(i64::MIN), Some(i64::MAX)]),
    ]
}

/// A stream of batches on both channels, each with its length in front.
fn stream() -> Result<Vec<u8>> {
    let mut encoder = records::Encoder::new();
    let mut bytes = Vec::new();
    let mut seq = 0;
    for channel in [0, 1, 0, 0] {
        let records: Vec<_> = payloads()
            .into_iter()
            .map(|payload| {
                seq += 1;
                let (kind, boot_ns, wall_ns) = (proto::KIND_SAMPLES, seq * 60_000_000_000, 1);
                let hash = proto::record_hash(kind, 7, boot_ns, wall_ns, &payload);
                records::Record { seq, kind, boot_tag: 7, boot_ns, wall_ns, hash, payload }
            })
            .collect();
        let batch = encoder.encode(1, 99, channel, &records).context("cannot encode a batch")?;
        bytes.extend(batch.encode_length_delimited_to_vec());
    }
    Ok(bytes)
}

/// What a newer version may add, and what no one writes: each is to be passed over.
fn odd() -> Vec<u8> {
    let (unknown, number) = ([0xc2, 0x3e, 3, 1, 2, 3], [0xc0, 0x3e, 0x96, 1]);
    let group = [[0xa3_u8, 6].repeat(20), [0xa4_u8, 6].repeat(20)].concat();
    [&unknown[..], &number, &group].concat()
}

/// Each message, all of them one after the other, and each with odd fields around it.
fn with_odd(messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let all = messages.concat();
    let around = |message: &Vec<u8>| [odd(), message.clone(), odd()].concat();
    let more: Vec<_> = messages.iter().map(around).collect();
    [messages, more, vec![all]].concat()
}

fn surroundings() -> v1::Surroundings {
    v1::Surroundings {
        gateways: vec!["192.0.2.1".to_owned()],
        hops: vec![String::new(), "198.51.100.1".to_owned()],
        hostname: "srv-pédago".to_owned(),
        ..v1::Surroundings::default()
    }
}

fn ups() -> Result<Vec<Vec<u8>>> {
    use v1::up::Message;
    let lane =
        v1::LaneState { lane: 1, epoch: 99, oldest_seq: 1, next_seq: 7, ..Default::default() };
    let hello = v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        instance_id: vec![7; 16],
        boot_tag: 7,
        wall_ns: -1,
        lanes: vec![lane],
        surroundings: Some(surroundings()),
        ..v1::Hello::default()
    };
    let batch = v1::Records::decode_length_delimited(&stream()?[..]).context("no batch")?;
    let heartbeat = v1::Heartbeat { boot_ns: u64::MAX, lanes: vec![lane], ..Default::default() };
    let status = v1::ConfigStatus { version: 4, applied: false, reason: "refusé".to_owned() };
    let messages = [
        Message::Hello(hello),
        Message::Records(batch),
        Message::Heartbeat(heartbeat),
        Message::Config(status),
        Message::Goodbye(v1::Goodbye { reason: "stop".to_owned() }),
    ];
    let messages = messages.map(|message| v1::Up { message: Some(message) }.encode_to_vec());
    Ok(with_odd(messages.into()))
}

fn downs() -> Vec<Vec<u8>> {
    use v1::down::Message;
    let credit = v1::Credit { bytes: 1 << 20, records: 9 };
    let range = v1::Range { from: 9, to: u64::MAX };
    let ack = v1::Ack {
        lane: 1,
        epoch: 99,
        contig_upto: 7,
        above: vec![range],
        rejected: vec![v1::Rejection { seq: 8, reason: "group".to_owned() }],
        credit: Some(credit),
    };
    let resume =
        v1::LaneResume { lane: 1, epoch: 99, contig_upto: 7, above: vec![range], action: 1 };
    let ok = v1::HelloOk { protocol: 1, lanes: vec![resume], ..v1::HelloOk::default() };
    let away = v1::GoAway { reason: "age".to_owned(), retry_min_ms: 9, ..v1::GoAway::default() };
    let messages = [
        Message::Ok(ok),
        Message::Ack(ack),
        Message::Config(plan()),
        Message::Time(v1::TimeReply { agent_boot_ns: 1, received_wall_ns: -1, sent_wall_ns: 2 }),
        Message::Away(away),
        Message::Credit(credit),
    ];
    let messages = messages.map(|message| v1::Down { message: Some(message) }.encode_to_vec());
    with_odd(messages.into())
}

fn events() -> Vec<Vec<u8>> {
    use v1::event::Event;
    let port =
        v1::Interface { if_index: 3, if_alias: "vers le préau".to_owned(), ..Default::default() };
    let inventory = v1::SnmpInventory { group: 2, interfaces: vec![port], ..Default::default() };
    let disks = v1::HostInventory { disks: vec!["/".to_owned()], ..Default::default() };
    let messages = [
        // A reason of a newer agent.
        Event::Gap(v1::Gap { reason: -1, from_wall_ns: -1, rounds: 4, ..v1::Gap::default() }),
        Event::Loss(v1::Loss { reason: 9, lane: 1, from_seq: 1, to_seq: 5, ..v1::Loss::default() }),
        Event::ClockStep(v1::ClockStep { step_ns: i64::MIN }),
        Event::Surroundings(surroundings()),
        Event::SnmpInventory(inventory),
        Event::Started(v1::Started { boot_tag: 7, clean: true, ..v1::Started::default() }),
        Event::Stopped(v1::Stopped { reason: "stop".to_owned() }),
        Event::HostInventory(disks),
        Event::Interception(v1::Interception { detail: "portail".to_owned() }),
    ];
    let messages = messages.map(|event| v1::Event { event: Some(event) }.encode_to_vec());
    with_odd(messages.into())
}

fn enrolments() -> Result<Vec<Vec<u8>>> {
    let directory = tempfile::tempdir()?;
    let key = agent::identity::Keyring::new(directory.path()).pending_key()?;
    let request = v1::EnrolRequest {
        token_id: "k7f3".to_owned(),
        token_secret: vec![7; 32],
        csr: agent::identity::request(&key)?,
        version: "0.1.0".to_owned(),
        hostname: "srv\u{1b}[2J".to_owned(),
        surroundings: Some(surroundings()),
    };
    Ok(with_odd(vec![request.encode_to_vec()]))
}

fn plan() -> v1::Config {
    let column = |target, metric: v1::Metric| v1::Column {
        target,
        metric: metric.into(),
        instance: 0,
        label: "eth0".to_owned(),
    };
    let probe = v1::IcmpProbe {
        targets: vec!["192.0.2.1".to_owned(), "2001:db8::1".to_owned()],
        count: 5,
        spacing_ms: 200,
        payload_bytes: 56,
    };
    let group = |id, targets: u32, metric, probe| v1::Group {
        id,
        layout: 1,
        period_ms: 10_000,
        timeout_ms: 2_000,
        columns: (0..targets).map(|target| column(target, metric)).collect(),
        probe: Some(probe),
    };
    let snmp = v1::SnmpProbe {
        address: "192.0.2.2".to_owned(),
        community: "public".to_owned(),
        max_repetitions: 20,
        credential: Some(v1::SnmpCredential {
            version: 3,
            user: "vigie".to_owned(),
            auth_protocol: "sha256".to_owned(),
            auth_password: "authenticate".to_owned(),
            priv_protocol: "aes".to_owned(),
            priv_password: "encrypt-this".to_owned(),
            ..v1::SnmpCredential::default()
        }),
    };
    let groups = vec![
        group(1, 2, v1::Metric::IcmpLoss, v1::group::Probe::Icmp(probe)),
        group(2, 1, v1::Metric::IfHcInOctets, v1::group::Probe::Snmp(snmp)),
        group(3, 1, v1::Metric::Uptime, v1::group::Probe::Host(v1::HostProbe {})),
    ];
    v1::Config { version: 4, groups, ..v1::Config::default() }
}

/// The files of a spool with some records.
fn spool() -> Result<Vec<Vec<u8>>> {
    let directory = tempfile::tempdir()?;
    let config = SpoolConfig {
        segment_bytes: 32 << 10,
        caps: [1 << 20, 1 << 20],
        ..SpoolConfig::new(directory.path().join("spool"), [7; 16])
    };
    let dir = config.dir.clone();
    std::fs::create_dir_all(&dir)?;
    let (mut spool, _) = Spool::open(config, Arc::new(SystemClock::new()))?;
    for (number, payload) in (1..40).zip(payloads().into_iter().cycle()) {
        spool.append(&NewRecord {
            lane: proto::LANE_SAMPLES,
            kind: proto::KIND_SAMPLES,
            boot_ns: number * 1_000_000_000,
            wall_ns: 0,
            boot_tag: 1,
            n_items: 40,
            urgent: false,
            payload,
        })?;
    }
    spool.commit();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "seg") {
            files.push(std::fs::read(path)?);
        }
    }
    Ok(files)
}
