use std::net::IpAddr;

use domain::{
    id::SiteId,
    inventory::{Facts, Sighting},
    site::{SiteFacts, SiteKind, Zone},
};
use jiff::Timestamp;

use super::*;

fn site() -> Site {
    let facts = SiteFacts {
        uai: "0999001W".parse().unwrap(),
        name: "Collège".to_owned(),
        kind: SiteKind::College,
        zone: Zone::A,
        pupils: None,
        lot: None,
        address: None,
        position: None,
    };
    Site { id: SiteId(1), facts }
}

fn device(no: i64, class: Class, name: &str) -> Device {
    let at = Timestamp::UNIX_EPOCH;
    let facts = Facts { class: Some(class), name: name.to_owned(), ..Facts::default() };
    let address: IpAddr = [10, 0, 0, u8::try_from(no).unwrap()].into();
    Device {
        id: DeviceId(no),
        site: SiteId(1),
        last: Sighting { address, macs: BTreeSet::new(), facts, parts: Vec::new() },
        first_seen: at,
        last_seen: at,
        missing_since: None,
        confirmed_at: None,
    }
}

fn edge(device: i64, port: &str, other: i64, source: &str) -> Edge<DeviceId> {
    Edge {
        device: DeviceId(device),
        if_index: port.rsplit('/').next().and_then(|number| number.parse().ok()),
        port: port.to_owned(),
        other: DeviceId(other),
        other_if_index: None,
        other_port: String::new(),
        source: source.to_owned(),
    }
}

#[test]
fn a_tree_names_ports_and_says_how_it_knows() {
    let devices = vec![
        device(1, Class::Router, "box"),
        device(2, Class::Switch, "coeur"),
        device(3, Class::Switch, ""),
        device(4, Class::WifiAp, "ap-cdi"),
        device(5, Class::Printer, "copieur"),
    ];
    let edges = vec![
        edge(2, "Gi0/24", 1, "lldp"),
        edge(2, "Gi0/9", 4, "cdp"),
        edge(2, "Gi0/2", 3, "lldp"),
        edge(3, "uplink", 2, "lldp"),
        edge(2, "bridge", 5, "bridge"),
    ];
    let inventory = Inventory { devices, edges, ..Inventory::default() };
    let gateways = BTreeSet::from(["10.0.0.1".to_owned()]);
    let drawn = draw(Time(Timestamp::UNIX_EPOCH), &site(), inventory, &gateways);
    assert_eq!(drawn.top, Some("gateway"));
    let told: Vec<_> = drawn
        .items
        .iter()
        .map(|node| {
            let (up, own) = (node.parent_ports.join("+"), node.ports.join("+"));
            format!("{}{} {up}|{own} {:?}", ">".repeat(node.depth), node.name, node.confidence)
        })
        .collect();
    assert_eq!(
        told,
        [
            "box | None",
            ">coeur |Gi0/24 Some(0.95)",
            ">>10.0.0.3 Gi0/2|uplink Some(0.99)",
            ">>ap-cdi Gi0/9| Some(0.95)",
        ]
    );
    // A bridge that does not say at which port places nothing.
    assert_eq!(drawn.unplaced, [Unplaced { no: 5, name: "copieur".to_owned() }]);
}

#[test]
fn a_site_of_which_nothing_is_told_has_no_tree() {
    let inventory =
        Inventory { devices: vec![device(1, Class::Switch, "seul")], ..Inventory::default() };
    let drawn = draw(Time(Timestamp::UNIX_EPOCH), &site(), inventory, &BTreeSet::new());
    assert_eq!((drawn.top, drawn.items.len(), drawn.unplaced.len()), (None, 0, 1));
}
