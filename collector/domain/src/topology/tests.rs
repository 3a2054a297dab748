use proptest::prelude::*;

use super::*;

const ROOT: DeviceId = DeviceId(1);

fn says(device: i64, port: u32, other: i64, remote: u32) -> Evidence {
    Evidence::Neighbour {
        device: DeviceId(device),
        port: Some(Port(port)),
        other: DeviceId(other),
        remote: Some(Port(remote)),
    }
}

fn sees(device: i64, port: u32, other: i64) -> Evidence {
    Evidence::Bridge { device: DeviceId(device), port: Port(port), other: DeviceId(other) }
}

fn devices(last: i64) -> BTreeSet<DeviceId> {
    (1..=last).map(DeviceId).collect()
}

/// `upper:ports-lower:ports confidence`, one link a word.
fn shown(links: &[Link]) -> Vec<String> {
    let ports =
        |ports: &[Port]| ports.iter().map(|port| port.0.to_string()).collect::<Vec<_>>().join("+");
    links
        .iter()
        .map(|link| {
            let (upper, lower) = (ports(&link.upper_ports), ports(&link.lower_ports));
            format!("{}:{upper}-{}:{lower} {}", link.upper.0, link.lower.0, link.confidence)
        })
        .collect()
}

#[test]
fn neighbours_make_a_tree_from_the_uplink_down() {
    // 1 - 2 - 3, and 4 behind 2; only 2 speaks of 4.
    let told = [says(2, 48, 1, 1), says(1, 1, 2, 48), says(3, 24, 2, 1), says(2, 7, 4, 1)];
    let tree = tree(ROOT, &devices(4), &told);
    assert_eq!(shown(&tree.links), ["1:1-2:48 0.99", "2:1-3:24 0.95", "2:7-4:1 0.95"]);
    assert!(tree.spare.is_empty() && tree.unplaced.is_empty());
}

#[test]
fn two_cables_between_two_devices_are_one_link() {
    let told = [says(1, 1, 2, 47), says(1, 2, 2, 48)];
    assert_eq!(shown(&tree(ROOT, &devices(2), &told).links), ["1:1+2-2:47+48 0.95"]);
}

#[test]
fn a_ring_leaves_one_link_spare() {
    let told = [says(1, 1, 2, 1), says(2, 2, 3, 2), says(3, 1, 1, 2)];
    let tree = tree(ROOT, &devices(3), &told);
    assert_eq!(shown(&tree.links), ["1:1-2:1 0.95", "1:2-3:1 0.95"]);
    assert_eq!(shown(&tree.spare), ["2:2-3:2 0.95"]);
}

#[test]
fn bridges_place_what_does_not_speak() {
    // Router 1, switch 2 behind it, switch 3 behind 2; access point 4 at port 5 of switch 3, two
    // printers behind one port of switch 2.
    let learnt = [
        sees(2, 48, 1),
        sees(2, 1, 3),
        sees(2, 1, 4),
        sees(2, 9, 5),
        sees(2, 9, 6),
        sees(3, 24, 1),
        sees(3, 24, 2),
        sees(3, 5, 4),
        sees(3, 24, 5),
        sees(3, 24, 6),
        sees(1, 1, 2),
        sees(1, 1, 3),
        sees(1, 1, 4),
        sees(1, 1, 5),
        sees(1, 1, 6),
    ];
    let tree = tree(ROOT, &devices(6), &learnt);
    assert_eq!(
        shown(&tree.links),
        ["1:1-2:48 0.6", "2:1-3:24 0.6", "3:5-4: 0.9", "2:9-5: 0.6", "2:9-6: 0.6"]
    );
}

#[test]
fn the_first_switch_behind_a_router_is_found_by_what_it_sees() {
    // The router keeps no bridge table.
    let tree =
        tree(ROOT, &devices(3), &[sees(2, 48, 1), sees(2, 1, 3), sees(3, 9, 1), sees(3, 9, 2)]);
    assert_eq!(shown(&tree.links), ["1:-2:48 0.4", "2:1-3:9 0.9"]);
}

#[test]
fn what_a_neighbour_says_wins_over_what_bridges_see() {
    // The bridge of 2 aged the address of 3 out, and sees 4 alone behind the port.
    let told =
        [says(1, 1, 2, 48), sees(2, 48, 1), sees(2, 1, 4), says(2, 1, 3, 24), says(3, 5, 4, 1)];
    let tree = tree(ROOT, &devices(4), &told);
    assert_eq!(shown(&tree.links), ["1:1-2:48 0.95", "2:1-3:24 0.95", "3:5-4:1 0.95"]);
}

#[test]
fn an_address_that_is_seen_at_two_ports_places_nothing() {
    let tree = tree(ROOT, &devices(2), &[sees(1, 1, 2), sees(1, 2, 2)]);
    assert_eq!(tree.unplaced, [DeviceId(2)]);
}

#[test]
fn a_device_of_which_nobody_told_is_unplaced() {
    let tree = tree(ROOT, &devices(4), &[says(2, 1, 3, 1)]);
    assert!(tree.links.is_empty());
    assert_eq!(tree.unplaced, [DeviceId(2), DeviceId(3), DeviceId(4)]);
}

#[test]
fn strangers_do_not_count() {
    let tree = tree(ROOT, &devices(2), &[says(1, 1, 9, 1), says(2, 1, 2, 2), says(1, 3, 2, 1)]);
    assert_eq!(shown(&tree.links), ["1:3-2:1 0.95"]);
}

#[test]
fn the_top_is_the_gateway_or_what_looks_most_like_one() {
    let of = |id, gateway, rank| Candidate { id: DeviceId(id), gateway, rank };
    let told = [says(3, 1, 4, 1), says(5, 1, 4, 2)];
    let switches = [of(3, false, 0), of(4, false, 0), of(5, false, 0)];
    assert_eq!(top(&[], &told), None);
    assert_eq!(top(&switches, &[]), None);
    assert_eq!(top(&switches, &told), Some((DeviceId(4), Top::Busiest)));
    let firewall = [&switches[..], &[of(7, false, 2), of(6, false, 1)]].concat();
    assert_eq!(top(&firewall, &told), Some((DeviceId(7), Top::Class)));
    let gateway = [&firewall[..], &[of(9, true, 0)]].concat();
    assert_eq!(top(&gateway, &told), Some((DeviceId(9), Top::Gateway)));
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let device = 1..9_i64;
    prop_oneof![
        (device.clone(), 0..4_u32, device.clone(), 0..4_u32)
            .prop_map(|(one, port, other, remote)| says(one, port, other, remote)),
        (device.clone(), 0..4_u32, device).prop_map(|(one, port, other)| sees(one, port, other)),
    ]
}

proptest! {
    #[test]
    fn every_device_stands_in_one_place(told in prop::collection::vec(evidence(), 0..60)) {
        let all = devices(8);
        let tree = tree(ROOT, &all, &told);
        let mut placed = BTreeSet::from([ROOT]);
        for link in &tree.links {
            prop_assert!(placed.contains(&link.upper), "hangs on nothing: {link:?}");
            prop_assert!(placed.insert(link.lower), "hangs twice: {link:?}");
        }
        let unplaced: BTreeSet<_> = tree.unplaced.iter().copied().collect();
        prop_assert!(placed.is_disjoint(&unplaced));
        prop_assert_eq!(placed.len() + unplaced.len(), all.len());
    }

    #[test]
    fn the_order_of_what_is_told_does_not_matter(
        told in prop::collection::vec(evidence(), 0..40),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut turned = told.clone();
        if !turned.is_empty() {
            let by = seed.index(turned.len());
            turned.rotate_left(by);
        }
        prop_assert_eq!(tree(ROOT, &devices(8), &told), tree(ROOT, &devices(8), &turned));
    }

    // A tree of switches whose bridges have learnt everything is found again, but for its order.
    #[test]
    fn bridges_that_know_everything_tell_the_whole_tree(
        parents in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let parent: BTreeMap<i64, i64> = (2_i64..)
            .zip(&parents)
            .map(|(device, of)| (device, 1 + i64::try_from(of.index(usize::try_from(device).unwrap() - 1)).unwrap()))
            .collect();
        let last = i64::try_from(parents.len()).unwrap() + 1;
        let mut told = Vec::new();
        for device in 2..=last {
            // Every bridge on the way up sees it at the port of the child on the way; the port towards
            // the uplink is 0, a child's port is its number.
            let (mut child, mut above) = (device, parent[&device]);
            loop {
                told.push(sees(above, u32::try_from(child).unwrap(), device));
                for other in 1..=last {
                    if !below(&parent, other, device) && other != device {
                        told.push(sees(device, 0, other));
                    }
                }
                if above == 1 {
                    break;
                }
                child = above;
                above = parent[&above];
            }
        }
        let tree = tree(ROOT, &devices(last), &told);
        let found: BTreeMap<i64, i64> =
            tree.links.iter().map(|link| (link.lower.0, link.upper.0)).collect();
        prop_assert_eq!(found, parent);
    }
}

/// Whether `device` hangs somewhere behind `top`.
fn below(parent: &BTreeMap<i64, i64>, device: i64, top: i64) -> bool {
    let mut at = device;
    while let Some(up) = parent.get(&at) {
        if *up == top {
            return true;
        }
        at = *up;
    }
    false
}
