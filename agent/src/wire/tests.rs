use super::*;

fn icmp(targets: usize) -> v1::Group {
    let targets: Vec<String> =
        (0..targets).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let column = v1::Column {
        target: 0,
        metric: Metric::IcmpOutcome as i32,
        instance: 0,
        label: String::new(),
    };
    v1::Group {
        id: 1,
        layout: 1,
        period_ms: 10_000,
        timeout_ms: 1_000,
        columns: vec![column],
        probe: Some(Probe::Icmp(v1::IcmpProbe {
            targets,
            count: 5,
            spacing_ms: 20,
            payload_bytes: 56,
        })),
    }
}

fn config(groups: Vec<v1::Group>) -> v1::Config {
    v1::Config { version: 7, groups, ..v1::Config::default() }
}

fn changed(change: impl FnOnce(&mut v1::Group)) -> String {
    let mut group = icmp(2);
    change(&mut group);
    match plan(&config(vec![group])) {
        Ok(plan) => panic!("taken: {plan:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_configuration_becomes_a_plan_by_ascending_id() {
    let mut other = icmp(1);
    other.id = 9;
    let plan = plan(&config(vec![other, icmp(2)])).unwrap();
    assert_eq!(plan.version, 7);
    assert_eq!(plan.groups.iter().map(|group| group.id).collect::<Vec<_>>(), [1, 9]);
    assert_eq!(plan.groups[0].period, Duration::from_secs(10));
    assert_eq!(plan.groups[0].columns[0].metric, Metric::IcmpOutcome);
}

#[test]
fn each_figure_is_taken_at_its_limit_and_refused_beyond() {
    type Change = fn(&mut v1::Group, u32);
    type Burst = fn(&mut v1::IcmpProbe, u32);
    let burst = |group: &mut v1::Group, change: fn(&mut v1::IcmpProbe, u32), n: u32| {
        if let Some(Probe::Icmp(probe)) = &mut group.probe {
            change(probe, n);
        }
    };
    let period: Change = |group, n| {
        group.period_ms = n;
        group.timeout_ms = group.timeout_ms.min(500);
    };
    let timeout: Change = |group, n| {
        group.timeout_ms = n;
        if let Some(Probe::Icmp(probe)) = &mut group.probe {
            probe.count = 1;
        }
    };
    for (change, least, most) in [(period, MIN_PERIOD_MS, MAX_PERIOD_MS), (timeout, 1, 9_999)] {
        for (value, taken) in [(least, true), (most, true), (least - 1, false), (most + 1, false)] {
            let mut group = icmp(1);
            change(&mut group, value);
            assert_eq!(plan(&config(vec![group])).is_ok(), taken, "{value}");
        }
    }
    let counts: [(Burst, u32, u32); 2] = [
        (|probe, n| (probe.count, probe.spacing_ms) = (n, 0), 1, MAX_COUNT.into()),
        (|probe, n| probe.payload_bytes = n, 0, MAX_PAYLOAD),
    ];
    for (change, least, most) in counts {
        for (value, taken) in
            [(least, true), (most, true), (least.wrapping_sub(1), false), (most + 1, false)]
        {
            let mut group = icmp(1);
            burst(&mut group, change, value);
            assert_eq!(plan(&config(vec![group])).is_ok(), taken, "{value}");
        }
    }
}

#[test]
fn numbers_of_things_are_bounded() {
    assert!(plan(&config(vec![icmp(MAX_TARGETS)])).is_ok());
    assert!(plan(&config(vec![icmp(MAX_TARGETS + 1)])).is_err());
    let groups = |n: u32| (1..=n).map(|id| v1::Group { id, ..icmp(1) }).collect::<Vec<_>>();
    let most = u32::try_from(limits::MAX_GROUPS).unwrap();
    assert!(plan(&config(groups(most))).is_ok());
    assert_eq!(
        plan(&config(groups(most + 1))).unwrap_err().to_string(),
        "the configuration has 1001 groups, the limit is 1000"
    );
    let wide = |columns: usize| {
        let mut group = icmp(1);
        group.columns = vec![group.columns[0].clone(); columns];
        config(vec![group])
    };
    assert!(plan(&wide(limits::MAX_COLUMNS)).is_ok());
    assert!(plan(&wide(limits::MAX_COLUMNS + 1)).is_err());
    let large =
        v1::Config { references: vec!["x".repeat(limits::MAX_CONFIG_BYTES)], ..config(vec![]) };
    assert!(plan(&large).unwrap_err().to_string().ends_with("bytes, the limit is 1048576"));
}

fn ntp() -> v1::ServiceProbe {
    v1::ServiceProbe {
        kind: v1::ServiceKind::Ntp.into(),
        targets: vec!["10.0.0.1:123".to_owned(), "ntp.example.fr:123".to_owned()],
        ..v1::ServiceProbe::default()
    }
}

#[test]
fn a_service_is_read_with_what_belongs_to_its_kind() {
    let read = |raw: v1::ServiceProbe| {
        let plan = plan(&config(vec![v1::Group { probe: Some(Probe::Service(raw)), ..icmp(1) }]));
        let ProbeKind::Service(service) = plan.unwrap().groups.remove(0).probe else {
            panic!("another probe")
        };
        service
    };
    let service = read(ntp());
    assert_eq!((service.kind, service.targets.len()), (ServiceKind::Ntp, 2));
    assert_eq!((service.secret, service.pages), (None, None));
    let pages = v1::FilterPages { permitted: "http://a/".to_owned(), ..Default::default() };
    let raw = v1::ServiceProbe { secret: "s".to_owned(), pages: Some(pages), ..ntp() };
    let service = read(raw);
    assert_eq!(service.secret, Some(Secret("s".to_owned())));
    let permitted = "http://a/".to_owned();
    assert_eq!(service.pages, Some(Pages { permitted, blocked: None, blocked_text: None }));
}

#[test]
fn what_is_wrong_is_told_with_its_group() {
    for (message, change) in [
        ("group 0: its id is 0", (|g| g.id = 0) as fn(&mut v1::Group)),
        ("group 1: its kind of probe is unknown to this agent", |g| g.probe = None),
        ("group 1: column 0 has a metric unknown to this agent", |g| g.columns[0].metric = 9_999),
        ("group 1: column 0 has a metric unknown to this agent", |g| g.columns[0].metric = 0),
        ("group 1: column 0 is of target 2, but there are 2", |g| g.columns[0].target = 2),
        ("group 1: column 0 is of target 65536, but there are 2", |g| g.columns[0].target = 65_536),
        ("group 1: it has no columns", |g| g.columns.clear()),
        ("group 1: its timeout in ms is 10000, which is not from 1 to 9999", |g| {
            g.timeout_ms = 10_000;
        }),
        ("group 1: a round of 10000 ms does not fit the period of 10000 ms", |g| {
            g.timeout_ms = 9_920;
        }),
        ("group 1: \"10.0.0.256\" is not an IP address", |g| {
            if let Some(Probe::Icmp(probe)) = &mut g.probe {
                probe.targets[1] = "10.0.0.256".to_owned();
            }
        }),
        ("group 1: it has no targets", |g| {
            if let Some(Probe::Icmp(probe)) = &mut g.probe {
                probe.targets.clear();
            }
        }),
        ("group 1: \"a\\u{1b}[2Jb\" is not host:port", |g| {
            let targets = vec!["a\u{1b}[2Jb".to_owned()];
            g.probe = Some(Probe::Tcp(v1::TcpProbe { targets }));
        }),
        ("group 1: \"file:///etc/passwd\" is not an http or https URL", |g| {
            let urls = vec!["file:///etc/passwd".to_owned()];
            g.probe = Some(Probe::Http(v1::HttpProbe { urls }));
        }),
        ("group 1: its kind of probe is unknown to this agent", |g| {
            g.probe = Some(Probe::Service(v1::ServiceProbe { kind: 999, ..ntp() }));
        }),
        ("group 1: \"10.0.0.1\" is not a place of this service", |g| {
            g.probe = Some(Probe::Service(v1::ServiceProbe {
                targets: vec!["10.0.0.1".into()],
                ..ntp()
            }));
        }),
        ("group 1: \"gopher://x/\" is not an http or https URL", |g| {
            let page = |text: &str| text.to_owned();
            let pages = v1::FilterPages {
                permitted: page("http://x/"),
                blocked: page("gopher://x/"),
                blocked_text: String::new(),
            };
            g.probe = Some(Probe::Service(v1::ServiceProbe { pages: Some(pages), ..ntp() }));
        }),
        ("group 1: its secret's length is 256, which is not from 0 to 255", |g| {
            g.probe = Some(Probe::Service(v1::ServiceProbe { secret: "x".repeat(256), ..ntp() }));
        }),
        (
            "group 1: its credentials can not be used: no version 4 of SNMP: there are 1, 2 (for 2c) and 3",
            |g| {
                g.probe = Some(Probe::Snmp(v1::SnmpProbe {
                    address: "10.0.0.1".to_owned(),
                    community: String::new(),
                    max_repetitions: 10,
                    credential: Some(v1::SnmpCredential { version: 4, ..Default::default() }),
                }));
            },
        ),
        ("group 1: its community's length is 0, which is not from 1 to 255", |g| {
            let (address, community) = ("10.0.0.1".to_owned(), String::new());
            g.probe = Some(Probe::Snmp(v1::SnmpProbe {
                address,
                community,
                max_repetitions: 10,
                credential: None,
            }));
        }),
    ] {
        assert_eq!(changed(change), message);
    }
    assert_eq!(
        plan(&config(vec![icmp(1), icmp(1)])).unwrap_err().to_string(),
        "group 1: its id is used twice"
    );
}

#[test]
fn a_round_becomes_a_record_stamped_when_it_began() {
    struct At;
    impl Clock for At {
        fn boot_ns(&self) -> u64 {
            5_000
        }
        fn wall_ns(&self) -> i64 {
            1_000_000
        }
        fn boot_tag(&self) -> u32 {
            3
        }
    }
    let group = plan(&config(vec![icmp(1)])).unwrap().groups.remove(0);
    let round = Round { boot_ns: 4_000, cells: vec![Some(0)], changed: true, events: Vec::new() };
    let record = sample_record(&group, &round, &At);
    assert_eq!((record.boot_ns, record.wall_ns, record.boot_tag), (4_000, 999_000, 3));
    assert!(record.urgent);
    let columns = samples::decode(&record.payload).unwrap();
    assert_eq!((columns.group, columns.times_ms, columns.cells), (1, vec![0], vec![Some(0)]));
}

#[test]
fn a_heartbeat_tells_of_a_lane_only_what_waits() {
    let mut lane = LaneStatus {
        lane: 1,
        epoch: u64::MAX,
        current: true,
        oldest_seq: 4_000,
        next_seq: 9_001,
        head_hash: u64::MAX,
        run_first_seq: 4_000,
        live_from: 9_001,
        contig_upto: 9_000,
        bytes: 4_000_000,
        evicted: 3,
    };
    let idle = lane_load(&lane);
    assert_eq!((idle.oldest_seq, idle.next_seq, idle.bytes, idle.evicted), (0, 0, 4_000_000, 3));
    assert_eq!(idle.encoded_len(), 2 + 5 + 2);
    lane.contig_upto = 8_990;
    let few = lane_load(&lane);
    assert_eq!((few.oldest_seq, few.next_seq), (8_991, 9_001));
    // What was evicted does not wait.
    lane.contig_upto = 3_000;
    let all = lane_load(&lane);
    assert_eq!((all.oldest_seq, all.next_seq), (4_000, 9_001));
}

fn mesh(peers: Vec<v1::MeshPeer>) -> v1::Group {
    let column = v1::Column { metric: Metric::MeshOutcome.into(), ..v1::Column::default() };
    let probe = v1::MeshProbe { peers, count: 10, spacing_ms: 100 };
    v1::Group { columns: vec![column], probe: Some(Probe::Mesh(probe)), ..icmp(1) }
}

fn peer(address: &str, id: u32, key: usize) -> v1::MeshPeer {
    let link = Some(v1::MeshLink { id, key: vec![7; key] });
    v1::MeshPeer { address: address.to_owned(), link }
}

#[test]
fn peers_come_with_their_key_and_no_dump_shows_it() {
    let mut config = config(vec![mesh(vec![peer("vpn.example.fr:9782", 4, 32)])]);
    config.reflected = vec![v1::MeshLink { id: 5, key: vec![7; 32] }];
    let taken = plan(&config).unwrap();
    let key = LinkKey([7; 32]);
    assert_eq!(taken.reflected, [Reflected { link: 5, key: key.clone() }]);
    let ProbeKind::Mesh { peers, count, spacing } = &taken.groups[0].probe else { panic!() };
    let expected = MeshPeer { address: "vpn.example.fr:9782".to_owned(), link: 4, key };
    assert_eq!((peers.as_slice(), *count, spacing.as_millis()), (&[expected][..], 10, 100));
    for dump in [format!("{taken:?}"), format!("{config:?}")] {
        assert!(!dump.contains("7, 7"), "{dump}");
    }
}

#[test]
fn peers_and_links_that_make_no_sense_are_refused() {
    let good = || peer("192.0.2.1:9782", 4, 32);
    for peers in [
        vec![],
        vec![peer("192.0.2.1", 4, 32)],
        vec![peer("192.0.2.1:9782", 0, 32)],
        vec![peer("192.0.2.1:9782", 4, 31)],
        vec![v1::MeshPeer { link: None, ..good() }],
        vec![good(); MAX_PEERS + 1],
    ] {
        assert!(plan(&config(vec![mesh(peers.clone())])).is_err(), "{peers:?}");
    }
    assert!(plan(&config(vec![mesh(vec![good(); MAX_PEERS])])).is_ok());
    let mut fast = mesh(vec![good()]);
    if let Some(Probe::Mesh(probe)) = &mut fast.probe {
        probe.spacing_ms = MIN_MESH_SPACING_MS - 1;
    }
    assert!(plan(&config(vec![fast])).is_err());
    let mut long = mesh(vec![good()]);
    if let Some(Probe::Mesh(probe)) = &mut long.probe {
        probe.count = 100;
    }
    assert!(plan(&config(vec![long])).is_err(), "100 times 100 ms are no 10 s");

    let link = |id, key| v1::MeshLink { id, key: vec![1; key] };
    let reflected = |links| plan(&v1::Config { reflected: links, ..config(vec![]) });
    let many = |n: u32| (1..=n).map(|id| link(id, 32)).collect::<Vec<_>>();
    let most = u32::try_from(MAX_REFLECTED).unwrap();
    assert_eq!(reflected(many(most)).unwrap().reflected.len(), MAX_REFLECTED);
    for links in
        [vec![link(0, 32)], vec![link(1, 33)], vec![link(1, 32), link(1, 32)], many(most + 1)]
    {
        assert!(reflected(links).is_err());
    }
}
