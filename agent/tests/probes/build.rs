//! What is refused before anything is asked, and what is denied.

use std::time::Duration;

use agent::{
    plan::{Column, Group, Metric, ProbeKind},
    probe::{self, BuildError, Outcome},
    snmp::Credentials,
};
use tokio::net::UdpSocket;

use crate::support::{Subject, env, loopback};

fn refusal(probe: ProbeKind, target: u16, metric: Metric) -> String {
    let columns = vec![Column { target, metric, instance: 0, label: String::new() }];
    let (period, timeout) = (Duration::from_secs(10), Duration::from_secs(1));
    let group = Group { id: 1, layout: 1, period, timeout, probe, columns };
    let refused: BuildError = probe::build(&group, &loopback()).err().unwrap();
    refused.to_string()
}

fn icmp(count: u16, payload_bytes: usize) -> ProbeKind {
    let targets = vec!["127.0.0.1".parse().unwrap()];
    ProbeKind::Icmp { targets, count, spacing: Duration::ZERO, payload_bytes }
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_in_words() {
    let tcp = |target: &str| ProbeKind::Tcp { targets: vec![target.to_owned()] };
    let dns = |name: &str| {
        let name = name.to_owned();
        ProbeKind::Dns { resolvers: vec![None], name, record_type: 1 }
    };
    for (probe, target, metric, message) in [
        (icmp(1, 0), 0, Metric::TcpOutcome, "this kind of probe does not measure TCP_OUTCOME"),
        (icmp(1, 0), 1, Metric::IcmpLoss, "a column names target 1, but there are 1"),
        (icmp(0, 0), 0, Metric::IcmpLoss, "the count of requests is 0, which is not in 1-100"),
        (icmp(101, 0), 0, Metric::IcmpLoss, "the count of requests is 101, which is not in 1-100"),
        (
            icmp(1, 1453),
            0,
            Metric::IcmpLoss,
            "the payload's length is 1453, which is not in 0-1452",
        ),
        (tcp("a\r\nb"), 0, Metric::TcpOutcome, "\"a\\r\\nb\" is not host:port"),
        (dns("a..b"), 0, Metric::DnsRcode, "\"a..b\" is not a domain name"),
        (
            ProbeKind::Http { urls: vec!["file:///etc/passwd".to_owned()] },
            0,
            Metric::HttpStatus,
            "\"file:///etc/passwd\" is not an http or https URL without credentials",
        ),
        (
            ProbeKind::Host,
            0,
            Metric::IfHcInOctets,
            "this kind of probe does not measure IF_HC_IN_OCTETS",
        ),
    ] {
        assert_eq!(refusal(probe, target, metric), message);
    }
}

#[tokio::test]
async fn an_echo_request_of_the_largest_size_is_answered() {
    let mut subject = Subject::new(icmp(100, 1452), 1, &[Metric::IcmpLoss], &loopback());
    assert_eq!(subject.round().await.get(0, Metric::IcmpLoss), Some(0));
}

#[tokio::test]
async fn a_denied_device_is_not_asked() {
    let device = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = device.local_addr().unwrap();
    let credentials = Credentials::v2c("public");
    let kind = ProbeKind::Snmp { address, credentials, max_repetitions: 0 };
    let metrics = [Metric::SnmpOutcome, Metric::SysUpTime];
    let mut subject = Subject::new(kind, 1, &metrics, &env(&["10.0.0.0/8"]));
    let round = subject.round().await;
    round.check(0, Metric::SnmpOutcome, Outcome::NotAsked);
    assert_eq!(round.get(0, Metric::SysUpTime), None);
    assert!(device.try_recv(&mut [0; 16]).is_err(), "a denied device was asked");
}
