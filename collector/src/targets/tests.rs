use domain::{
    site::{SiteFacts, SiteKind, Zone},
    target::Community,
    uai::Uai,
};
use store::{SampleOptions, SiteStore as _, TargetStore as _, sqlite::SqliteStore};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{ladder::ECHOES, *};

struct House {
    store: Arc<SqliteStore>,
    _dir: TempDir,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SampleOptions::new(crate::wire::rounds);
        let store = SqliteStore::open(&dir.path().join("vigie.db"), options).unwrap();
        Self { store: Arc::new(store), _dir: dir }
    }

    async fn site(&self, number: u32) -> SiteId {
        let uai = Uai::from_number(number).unwrap();
        let facts = SiteFacts::new(uai, format!("Collège {number}"), SiteKind::College, Zone::B);
        self.store.add_site(facts).await.unwrap().id
    }

    /// The targets of a collector with these references.
    fn targets(&self, references: References) -> Targets {
        let configs = Arc::new(SiteConfigs::default());
        Targets::new(self.store.clone(), configs, references, "collecte.example.fr:7443".to_owned())
    }

    /// Active targets: role, address, address of the parent.
    async fn shown(&self, site: SiteId) -> Vec<String> {
        let targets = self.store.targets(Some(site)).await.unwrap();
        let address = |id: TargetId| {
            let parent = targets.iter().find(|target| target.id == id).unwrap();
            format!("{} {}", parent.spec.address, if parent.active { "" } else { "retired" })
        };
        let active = targets.iter().filter(|target| target.active);
        active
            .map(|target| {
                let spec = &target.spec;
                let behind = spec.parent.map_or("nothing".to_owned(), address);
                format!("{} {} behind {}", spec.role.code(), spec.address, behind.trim())
            })
            .collect()
    }
}

fn seen(gateways: &[&str], hops: &[&str]) -> Seen {
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    Seen::new(&texts(gateways), &[], &texts(hops))
}

#[tokio::test]
async fn what_stands_behind_the_gateway_follows_it() {
    let house = House::new();
    let site = house.site(999_001).await;
    let targets = house.targets(References::default());
    assert!(targets.ladder(site, &seen(&[], &[])).await.unwrap());
    assert!(
        house
            .shown(site)
            .await
            .contains(&"collector collecte.example.fr:7443 behind nothing".to_owned())
    );
    for gateway in ["192.0.2.1", "192.0.2.254"] {
        assert!(targets.ladder(site, &seen(&[gateway], &[])).await.unwrap());
        let mut shown = house.shown(site).await;
        shown.sort();
        assert_eq!(
            shown,
            [
                format!("collector collecte.example.fr:7443 behind {gateway}"),
                format!("gateway {gateway} behind nothing"),
                "host  behind nothing".to_owned(),
            ]
        );
    }
    targets.ladder(site, &seen(&["192.0.2.254"], &["198.51.100.1"])).await.unwrap();
    let shown = house.shown(site).await;
    let last = "collector collecte.example.fr:7443 behind 198.51.100.1".to_owned();
    assert!(shown.contains(&last), "{shown:?}");
}

#[tokio::test]
async fn the_configuration_withdraws_its_references_and_no_operators_target() {
    let house = House::new();
    let site = house.site(999_001).await;
    let reference = |address: &str| References {
        icmp: vec![address.parse().unwrap()],
        ..References::default()
    };
    let before = house.targets(reference("203.0.113.1"));
    let spec = |role, name: &str, address: &str| TargetSpec {
        site,
        role,
        name: name.to_owned(),
        address: address.to_owned(),
        method: Method::Icmp { count: 5 },
        period_s: 10,
        parent: None,
    };
    before.add(spec(Role::Gateway, "passerelle du CDI", "192.0.2.7")).await.unwrap();
    before.add(spec(Role::Reference, "référence de l'opérateur", "203.0.113.9")).await.unwrap();
    before.ladder(site, &seen(&["192.0.2.1"], &[])).await.unwrap();

    let after = house.targets(reference("203.0.113.2"));
    after.ladder(site, &seen(&["192.0.2.1"], &[])).await.unwrap();
    let shown = house.shown(site).await.join("\n");
    for kept in ["gateway 192.0.2.7", "reference 203.0.113.9", "reference 203.0.113.2"] {
        assert!(shown.contains(kept), "{kept} is not in\n{shown}");
    }
    assert!(!shown.contains("203.0.113.1 "), "{shown}");
}

#[tokio::test]
async fn what_operators_put_behind_a_rung_follows_its_successor() {
    let house = House::new();
    let site = house.site(999_001).await;
    let targets = house.targets(References::default());
    targets.ladder(site, &seen(&["192.0.2.1"], &["198.51.100.1"])).await.unwrap();
    let id = async |address: &str| {
        let known = house.store.targets(Some(site)).await.unwrap();
        known.iter().find(|target| target.spec.address == address).map(|target| target.id)
    };
    let add = async |address: &str, method: Method, parent: Option<TargetId>| {
        let spec = TargetSpec {
            site,
            role: Role::Equipment,
            name: format!("commutateur {address}"),
            address: address.to_owned(),
            method,
            period_s: 60,
            parent,
        };
        targets.add(spec).await.unwrap()
    };
    let snmp = Method::SnmpV2c { community: Community::new("s3cret") };
    let core = add("192.0.2.10", snmp, id("192.0.2.1").await).await;
    let echo = Method::Icmp { count: 5 };
    add("192.0.2.11", echo.clone(), Some(core.id)).await;
    add("198.51.100.9", echo.clone(), id("198.51.100.1").await).await;
    // The gateway to come, which is a machine of the school until then.
    add("192.0.2.254", echo, id("192.0.2.1").await).await;
    let columns = house.store.groups(site).await.unwrap().1.len();

    targets.ladder(site, &seen(&["192.0.2.253"], &["198.51.100.2"])).await.unwrap();
    let shown = house.shown(site).await;
    for expected in [
        "equipment 192.0.2.10 behind 192.0.2.253",
        "equipment 192.0.2.11 behind 192.0.2.10",
        "equipment 198.51.100.9 behind 198.51.100.2",
        "equipment 192.0.2.254 behind 192.0.2.253",
    ] {
        assert!(shown.contains(&expected.to_owned()), "{expected} is not in {shown:#?}");
    }
    // It keeps its group, its series and its secret, and stays the operator's.
    let known = house.store.targets(Some(site)).await.unwrap();
    let moved = known.iter().find(|target| target.id == core.id).unwrap();
    assert_eq!((moved.group, &moved.spec.method), (core.group, &core.spec.method));
    assert!(!house.store.rungs(site).await.unwrap().contains(&core.id));
    assert_eq!(house.store.groups(site).await.unwrap().1.len(), columns);

    // No target stands behind itself, and none behind a withdrawn one.
    targets.ladder(site, &seen(&["192.0.2.254"], &["198.51.100.2"])).await.unwrap();
    let shown = house.shown(site).await;
    assert!(shown.contains(&"equipment 192.0.2.254 behind nothing".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"equipment 192.0.2.10 behind 192.0.2.254".to_owned()), "{shown:#?}");
    assert!(shown.iter().all(|line| !line.ends_with("retired")), "{shown:#?}");
}

#[tokio::test]
async fn a_withdrawn_target_leaves_what_stood_behind_it_where_it_stood() {
    let house = House::new();
    let site = house.site(999_001).await;
    let targets = house.targets(References::default());
    let seen = seen(&["192.0.2.1"], &["198.51.100.1"]);
    targets.ladder(site, &seen).await.unwrap();
    let echo = Method::Icmp { count: ECHOES };
    let find = async |address: &str| {
        let known = house.store.targets(Some(site)).await.unwrap();
        known.into_iter().find(|target| target.spec.address == address).unwrap()
    };
    let rung = find("192.0.2.1").await;
    assert!(matches!(targets.retire(&rung).await, Err(TargetError::Rung)));
    let add = async |address: &str, parent| {
        let spec = given(site, echo.clone(), address.to_owned());
        targets.add(TargetSpec { parent, ..spec }).await.unwrap()
    };
    let core = add("192.0.2.10", Some(rung.id)).await;
    let edge = add("192.0.2.11", Some(core.id)).await;
    targets.retire(&core).await.unwrap();
    let shown = house.shown(site).await;
    assert!(shown.contains(&"service 192.0.2.11 behind 192.0.2.1".to_owned()), "{shown:#?}");
    assert!(!find("192.0.2.10").await.active);

    // The same again is the same: its number, its group, its series.
    let series = house.store.series(Some(site)).await.unwrap();
    assert_eq!(add("192.0.2.10", None).await.id, core.id);
    assert_eq!(house.store.series(Some(site)).await.unwrap(), series);

    // Where an operator's target was the gateway, the next report puts the rung up again.
    targets.add(given(site, echo.clone(), "192.0.2.1".to_owned())).await.unwrap();
    targets.ladder(site, &seen).await.unwrap();
    targets.retire(&rung).await.unwrap();
    assert!(targets.ladder(site, &seen).await.unwrap());
    let shown = house.shown(site).await;
    for expected in [
        "gateway 192.0.2.1 behind nothing",
        "hop 198.51.100.1 behind 192.0.2.1",
        "service 192.0.2.11 behind nothing",
    ] {
        assert!(shown.contains(&expected.to_owned()), "{expected} is not in {shown:#?}");
    }
    assert_eq!(find("192.0.2.11").await.id, edge.id);
    assert!(matches!(targets.retire(&rung).await, Err(TargetError::Rung)));
}

#[tokio::test]
async fn a_hop_that_is_a_reference_too_does_not_change_with_each_report() {
    let house = House::new();
    let site = house.site(999_001).await;
    let references =
        References { icmp: vec!["198.51.100.1".parse().unwrap()], ..References::default() };
    let seen = seen(&["192.0.2.1"], &["198.51.100.1"]);
    assert!(house.targets(references.clone()).ladder(site, &seen).await.unwrap());
    assert!(!house.targets(references).ladder(site, &seen).await.unwrap());
}

#[tokio::test]
async fn a_site_whose_targets_change_makes_no_other_wait() {
    let house = House::new();
    let (busy, other) = (house.site(999_001).await, house.site(999_002).await);
    let targets = house.targets(References::default());
    let desk = targets.desk(busy);
    let _held = desk.lock().await;
    let seen = seen(&["192.0.2.1"], &[]);
    let done = timeout(Duration::from_secs(10), targets.ladder(other, &seen)).await;
    assert!(done.expect("the other site does not wait").unwrap());
}

#[tokio::test]
async fn reports_without_end_are_refused_and_take_no_operators_place() {
    let house = House::new();
    let site = house.site(999_001).await;
    let targets = house.targets(References::default());
    let net = |report: usize| {
        let hops: Vec<String> = (1..=8).map(|n| format!("198.51.{report}.{n}")).collect();
        Seen::new(&[], &[], &hops)
    };
    let mut refused = 0;
    for report in 0..MAX_RISES / 8 + 5 {
        match targets.ladder(site, &net(report)).await {
            Ok(changed) => assert!(changed && refused == 0),
            Err(TargetError::Full(MAX_RISES, _)) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    // Host and collector are two of those that were taken.
    assert_eq!(refused, 6);
    let shown = house.shown(site).await;
    assert_eq!(shown.len(), 2 + 8, "the ladder stands as it was: {shown:#?}");
    let last = format!("198.51.{}.", MAX_RISES / 8 - 2);
    assert!(shown.iter().filter(|line| line.starts_with("hop")).all(|line| line.contains(&last)));
    let echo = Method::Icmp { count: ECHOES };
    assert!(targets.add(given(site, echo, "192.0.2.77".to_owned())).await.unwrap().active);
    // What stands is no news.
    assert!(!targets.ladder(site, &net(MAX_RISES / 8 - 2)).await.unwrap());
}

#[test]
fn new_rungs_are_counted_by_the_hour() {
    let (mut reports, now) = (Reports::default(), Instant::now());
    assert!(reports.may_rise(MAX_RISES, now) && reports.may_rise(0, now));
    assert!(!reports.may_rise(1, now + RISE_WINDOW.mul_f64(0.99)));
    assert!(reports.may_rise(MAX_RISES, now + RISE_WINDOW));
}

/// A target of an operator's, of this address.
fn given(site: SiteId, method: Method, address: String) -> TargetSpec {
    let name = "cible".to_owned();
    TargetSpec { site, role: Role::Service, name, address, method, period_s: 60, parent: None }
}

#[tokio::test]
async fn a_target_that_would_make_the_plan_too_long_is_refused_where_it_is_given() {
    let house = House::new();
    let site = house.site(999_001).await;
    let targets = house.targets(References::default());
    let url = |n: u8, bytes: usize| {
        let start = format!("http://{n}.example.fr/");
        given(site, Method::Http, start.clone() + &"x".repeat(bytes - start.len()))
    };
    for n in 0..3 {
        targets.add(url(n, 270_000)).await.unwrap();
    }
    // The edge, to the byte.
    let room = MOST.bytes - targets.plan_size(site).await.unwrap().bytes;
    let fits = |bytes: usize| {
        let spec = url(9, bytes);
        let series = default_series(&spec.method, &spec.address);
        let columns = series.iter().map(|new| (new.metric, new.instance, new.label.as_str()));
        wire::target_size(&spec, columns).bytes <= room
    };
    let longest = (room - 1_000..room).rfind(|bytes| fits(*bytes)).unwrap();
    let error = targets.add(url(9, longest + 1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the plan of the site's agent would have {} bytes, {} at most: withdraw targets, or \
             shorten URLs",
            MOST.bytes + 1,
            MOST.bytes
        )
    );
    let last = targets.add(url(9, longest)).await.unwrap();
    let size = targets.plan_size(site).await.unwrap();
    assert!(size.bytes <= MOST.bytes && size.bytes > MOST.bytes - 200, "{size:?}");
    // What is there may be given again; what has gone comes back only where there is room.
    targets.add(url(9, longest)).await.unwrap();
    targets.retire(&last).await.unwrap();
    targets.add(url(8, 1_000)).await.unwrap();
    assert!(matches!(targets.add(url(9, longest)).await, Err(TargetError::Plan { .. })));
    // The ladder has its room even so.
    targets.ladder(site, &seen(&["192.0.2.1"], &["198.51.100.1"])).await.unwrap();
    assert!(targets.plan_size(site).await.unwrap().bytes <= PlanSize::MOST.bytes);
}

#[tokio::test]
async fn a_device_that_would_be_one_group_too_many_is_refused() {
    let house = House::new();
    let site = house.site(999_001).await;
    let targets = house.targets(References::default());
    let device = |n: usize| {
        let community = Community::new("lecture".to_owned());
        let address = format!("10.{}.{}.1", n / 250, n % 250);
        given(site, Method::SnmpV2c { community }, address)
    };
    for n in 1..MOST.groups {
        let spec = device(n);
        let series = default_series(&spec.method, &spec.address);
        house.store.upsert_target(spec, series).await.unwrap();
    }
    targets.add(device(MOST.groups)).await.unwrap();
    let refused = targets.add(device(MOST.groups + 1)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the plan of the site's agent would have 937 groups, 936 at most: withdraw targets, or \
         shorten URLs"
    );
}

#[test]
fn the_largest_ladder_fits_the_room_kept_for_it() {
    let addresses = |net: &str| (1..=16).map(|n| format!("{net}{n}")).collect::<Vec<_>>();
    let long = |n: usize| format!("https://{n}.example.fr/{}", "x".repeat(2_048 - 30));
    let seen = Seen::new(
        &addresses("2001:db8:1:2:3:4:5:"),
        &addresses("2001:db8:2:3:4:5:6:"),
        &addresses("2001:db8:3:4:5:6:7:"),
    );
    let few = crate::config::MAX_REFERENCES;
    let ips = |net: &str| addresses(net)[..few].iter().map(|ip| ip.parse().unwrap()).collect();
    for (icmp, http) in
        [(ips("2001:db8:4::"), Vec::new()), (Vec::new(), (0..few).map(long).collect())]
    {
        let references = References {
            icmp,
            dns: ips("2001:db8:5::"),
            dns_name: Some(format!("{}.fr", ["x".repeat(60).as_str(); 4].join("."))),
            http,
            ..References::default()
        };
        let collector = format!("{}.fr:65535", ["x".repeat(60).as_str(); 4].join("."));
        let mut sum = PlanSize::default();
        for rung in ladder::rungs(&seen, &references, &collector) {
            let spec = rung.spec(SiteId(1), None);
            let series = default_series(&spec.method, &spec.address);
            let columns = series.iter().map(|new| (new.metric, new.instance, new.label.as_str()));
            sum = sum.and(wire::target_size(&spec, columns));
        }
        // As if each were a group of its own.
        assert!(sum.bytes <= RESERVE.bytes, "{sum:?}");
        assert!(sum.groups <= RESERVE.groups && sum.series <= RESERVE.series, "{sum:?}");
    }
}

#[tokio::test]
async fn ports_fill_the_plan_up_to_its_bound_and_no_further() {
    let house = House::new();
    let site = house.site(999_001).await;
    let targets = house.targets(References::default());
    let port = |index| Port {
        index,
        name: format!("Gi{index}"),
        alias: String::new(),
        kind: 6,
        oper_status: 1,
        narrow_octets: false,
        narrow_packets: false,
    };
    let ports: Vec<Port> = (1..=1_900).map(port).collect();
    for n in 1..=3 {
        let community = Community::new("lecture".to_owned());
        let spec = given(site, Method::SnmpV2c { community }, format!("10.0.0.{n}"));
        let device = targets.add(spec).await.unwrap();
        targets.ports(site, device.group, &ports).await.unwrap();
    }
    let size = targets.plan_size(site).await.unwrap();
    assert_eq!(size.series, MOST.series);
    assert!(size.bytes <= MOST.bytes, "{size:?}");
}
