//! Debian's own agent.

use agent::{
    plan::{Metric, Secret},
    probe::{Outcome, snmp::SnmpProbe},
};

use crate::{
    snmpd::Snmpd,
    support::{COMMUNITY, LONG, columns, inventory, outcome, per_interface, probe, round},
};

#[tokio::test]
async fn a_real_agent_is_read_right() {
    let agent = Snmpd::start(&format!(
        "rocommunity {COMMUNITY} 127.0.0.1\nsysName collège Zay\nsysContact réseau\nsysLocation local B12\n"
    ));
    agent.listens().await;
    let wanted = columns([1]);
    let mut probe = probe(agent.address(), LONG, wanted.clone());
    let read = round(&mut probe).await;
    assert_eq!(outcome(&read), Some(Outcome::Ok as i64));
    let cell = |metric| {
        let at = wanted.iter().position(|column| column.metric == metric).expect("asked for");
        read.cells[at]
    };
    let octets: i64 = std::fs::read_to_string("/sys/class/net/lo/statistics/rx_bytes")
        .expect("Linux")
        .trim()
        .parse()
        .expect("a number");
    assert!(cell(Metric::IfHcInOctets).is_some_and(|seen| 0 < seen && seen <= octets));
    assert_eq!(cell(Metric::IfOperStatus), Some(1));
    assert_eq!(cell(Metric::IfAdminStatus), Some(1));
    assert!(cell(Metric::SysUpTime).is_some_and(|ticks| ticks < 6_000));
    assert!(cell(Metric::SnmpResponseTime).is_some_and(|us| us > 0));
    assert_eq!(cell(Metric::IfCounterDiscontinuityTime), Some(0));

    let inventory = inventory(&read).expect("an inventory");
    assert_eq!(inventory.sys_name, "collège Zay");
    assert_eq!(inventory.sys_location, "local B12");
    assert_eq!(inventory.sys_contact, "réseau");
    assert!(inventory.sys_descr.starts_with("Linux "));
    assert!(inventory.sys_object_id.starts_with("1.3.6.1.4.1.8072."));
    let interfaces = std::fs::read_dir("/sys/class/net").expect("Linux").count();
    assert_eq!(inventory.interfaces.len(), interfaces);
    let lo = inventory.interfaces.iter().find(|of| of.if_index == 1).expect("the loopback");
    assert_eq!((lo.octet_bits, lo.packet_bits), (64, 64));
    assert_eq!((lo.if_name.as_str(), lo.if_descr.as_str(), lo.if_type), ("lo", "lo", 24));
    assert!(!inventory.truncated);

    // All interfaces and more, so that the tables are walked.
    let mut walker = SnmpProbe::new(
        7,
        agent.address(),
        Secret(COMMUNITY.into()),
        20,
        LONG,
        columns((1..=60).collect::<Vec<_>>()),
    );
    let walked = round(&mut walker).await;
    assert_eq!(outcome(&walked), Some(Outcome::Ok as i64));
    let at = |metric: Metric| 3 + per_interface().position(|of| of == metric).expect("asked for");
    assert_eq!(walked.cells[at(Metric::IfOperStatus)], Some(1));
    assert!(walked.cells[at(Metric::IfHcInOctets)] >= cell(Metric::IfHcInOctets));
}
