//! The equipment of sites.

use std::{collections::BTreeSet, net::IpAddr};

use domain::{
    id::SiteId,
    inventory::{Class, Facts, Mac, Part, Sighting, SnmpVersion},
    topology::DeviceId,
};

use super::{at, facts, is_not_found};
use crate::{
    Result, SiteStore, StoreError,
    inventory::{Edge, InventoryStore, MAX_DEVICES, Round, Stations},
};

fn ip(last: u16) -> IpAddr {
    let [high, low] = last.to_be_bytes();
    [10, 0, high, low].into()
}

fn switch(last: u16, serial: &str) -> Sighting {
    let facts = Facts {
        class: Some(Class::Switch),
        vendor: "Constructeur".to_owned(),
        model: "24 ports".to_owned(),
        serial: serial.to_owned(),
        version: "1.2.3".to_owned(),
        name: "sw-cdi".to_owned(),
        descr: "a switch".to_owned(),
        object_id: "1.3.6.1.4.1.9.1.1".to_owned(),
        location: "CDI".to_owned(),
        snmp: Some(SnmpVersion::V3),
        profile: "cisco".to_owned(),
        interfaces: 28,
    };
    let part = Part {
        index: "1001".to_owned(),
        class: "powerSupply".to_owned(),
        name: "PSU 1".to_owned(),
        model: "PSU".to_owned(),
        serial: format!("{serial}-P"),
        version: String::new(),
    };
    let macs = BTreeSet::from([Mac([0, 1, 2, 3, 4, 5]), Mac([0, 1, 2, 3, 4, 6])]);
    Sighting { address: ip(last), macs, facts, parts: vec![part.clone(), part] }
}

fn echo(last: u16) -> Sighting {
    let facts = Facts::default();
    Sighting { address: ip(last), macs: BTreeSet::new(), facts, parts: Vec::new() }
}

fn round(started: i64, complete: bool) -> Round {
    Round {
        started_at: at(started),
        ended_at: at(started + 60),
        request: u64::MAX,
        asked: 254,
        answered: 2,
        identified: 1,
        refused: vec!["192.0.2.0/24".to_owned(), "10.0.0.0/8".to_owned()],
        complete,
    }
}

/// A device keeps its number and its first day, and what it told before it fell silent.
pub async fn a_device_is_known_again_wherever_it_answers(
    store: &(impl SiteStore + InventoryStore),
) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let other = store.add_site(facts(2)).await?.id;
    let first = store.keep_sighting(site, at(10), switch(1, "A1")).await?;
    let printer = store.keep_sighting(site, at(11), echo(2)).await?;
    assert_ne!(first, printer);
    assert_eq!(store.inventory(site).await?.devices[0].last, switch(1, "A1"));

    assert_eq!(store.keep_sighting(site, at(20), switch(7, "A1")).await?, first);
    // Told again, late: nothing newer is lost.
    assert_eq!(store.keep_sighting(site, at(15), switch(5, "A1")).await?, first);
    let device = store.inventory(site).await?.devices.remove(0);
    assert_eq!((device.first_seen, device.last_seen), (at(10), at(20)));
    assert_eq!((device.site, device.last), (site, switch(7, "A1")));
    assert_eq!((device.missing_since, device.confirmed_at), (None, None));

    // Another one of the same kind elsewhere is of no concern here.
    store.keep_sighting(other, at(30), switch(1, "A1")).await?;
    assert_eq!(store.inventory(site).await?.devices.len(), 2);

    store.confirm_device(site, first, at(40)).await?;
    store.confirm_device(site, first, at(50)).await?;
    assert_eq!(store.inventory(site).await?.devices[0].confirmed_at, Some(at(40)));
    assert!(is_not_found(&store.confirm_device(site, DeviceId(99), at(50)).await));
    Ok(())
}

/// A complete round tells what is gone; nothing is ever deleted, and what comes back is there again.
pub async fn devices_that_are_not_seen_are_missing_and_stay(
    store: &(impl SiteStore + InventoryStore),
) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let missing = async |store: &dyn InventoryStore| -> Result<Vec<_>> {
        let devices = store.inventory(site).await?.devices;
        Ok(devices.into_iter().map(|device| device.missing_since).collect())
    };
    assert_eq!(store.inventory(site).await?.round, None);
    store.keep_sighting(site, at(10), echo(1)).await?;
    store.keep_sighting(site, at(11), echo(2)).await?;
    store.end_round(site, round(0, true), Vec::new(), Vec::new()).await?;
    assert_eq!(missing(store).await?, [None, None]);
    assert_eq!(store.inventory(site).await?.round, Some(round(0, true)));

    store.keep_sighting(site, at(110), echo(1)).await?;
    store.end_round(site, round(100, false), Vec::new(), Vec::new()).await?;
    assert_eq!(missing(store).await?, [None, None], "it was cut short");
    store.keep_sighting(site, at(210), echo(1)).await?;
    store.end_round(site, round(200, true), Vec::new(), Vec::new()).await?;
    assert_eq!(missing(store).await?, [None, Some(at(260))]);
    store.keep_sighting(site, at(310), echo(1)).await?;
    store.end_round(site, round(300, true), Vec::new(), Vec::new()).await?;
    assert_eq!(missing(store).await?, [None, Some(at(260))], "since the first time");
    store.keep_sighting(site, at(410), echo(2)).await?;
    assert_eq!(missing(store).await?, [None, None]);
    Ok(())
}

/// Edges and stations are those of the last round, between devices that are known, and of one site.
pub async fn what_devices_tell_of_each_other_is_the_last_rounds(
    store: &(impl SiteStore + InventoryStore),
) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let other = store.add_site(facts(2)).await?.id;
    let mut ids = Vec::new();
    for last in 1..=3 {
        ids.push(store.keep_sighting(site, at(i64::from(last)), echo(last)).await?);
    }
    let edge = |device: u16, other: u16| Edge {
        device: ip(device),
        if_index: Some(u32::MAX),
        port: "Gi1/0/1".to_owned(),
        other: ip(other),
        other_if_index: None,
        other_port: String::new(),
        source: "lldp".to_owned(),
    };
    let stations = |device: u16, count| Stations { device: ip(device), if_index: 7, count };
    let told = vec![edge(1, 2), edge(1, 9), edge(9, 1), edge(3, 1)];
    store.end_round(site, round(10, true), told, vec![stations(1, 40), stations(9, 1)]).await?;
    let kept = store.inventory(site).await?;
    let ends: Vec<_> = kept.edges.iter().map(|edge| (edge.device, edge.other)).collect();
    assert_eq!(ends, [(ids[0], ids[1]), (ids[2], ids[0])]);
    assert_eq!((kept.edges[0].if_index, kept.edges[0].other_if_index), (Some(u32::MAX), None));
    assert_eq!((kept.edges[0].port.as_str(), kept.edges[0].source.as_str()), ("Gi1/0/1", "lldp"));
    assert_eq!(kept.stations, [Stations { device: ids[0], if_index: 7, count: 40 }]);

    store.end_round(site, round(5, true), vec![edge(2, 3)], Vec::new()).await?;
    assert_eq!(store.inventory(site).await?, kept, "an older round changes nothing");
    store.end_round(other, round(50, true), Vec::new(), Vec::new()).await?;
    assert_eq!(store.inventory(site).await?, kept, "another site's changes nothing");
    store.end_round(site, round(50, true), vec![edge(2, 3)], Vec::new()).await?;
    let kept = store.inventory(site).await?;
    assert_eq!((kept.edges.len(), kept.stations.len()), (1, 0));

    let many = MAX_DEVICES + 4;
    let mut refused = 0;
    for last in 4..=u16::try_from(many).unwrap_or(u16::MAX) {
        match store.keep_sighting(site, at(100), echo(last)).await {
            Ok(_) => {}
            Err(StoreError::Limit { most, .. }) => {
                assert_eq!(most, MAX_DEVICES);
                refused += 1;
            }
            Err(error) => return Err(error),
        }
    }
    assert_eq!((store.inventory(site).await?.devices.len(), refused), (MAX_DEVICES, 4));
    assert!(store.keep_sighting(SiteId(other.0 + 1000), at(1), echo(1)).await.is_err());
    Ok(())
}
