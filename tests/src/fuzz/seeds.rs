//! Good inputs, from which bad ones are made.

use std::sync::Arc;

use agent::{
    clock::SystemClock,
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
        Entry::Plan => vec![plan()],
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

fn plan() -> Vec<u8> {
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
    };
    let groups = vec![
        group(1, 2, v1::Metric::IcmpLoss, v1::group::Probe::Icmp(probe)),
        group(2, 1, v1::Metric::IfHcInOctets, v1::group::Probe::Snmp(snmp)),
        group(3, 1, v1::Metric::Uptime, v1::group::Probe::Host(v1::HostProbe {})),
    ];
    v1::Config { version: 4, groups, ..v1::Config::default() }.encode_to_vec()
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
