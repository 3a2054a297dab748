//! Targets, groups, layouts, series.

use domain::{
    id::{GroupId, Layout, SeriesId, SiteId, TargetId},
    target::{Community, Detail, Device, Method, Role, TargetSpec},
};

use super::{at, facts, is_not_found};
use crate::{NewSeries, NewSeriesSpec, Result, SiteStore, StoreError, TargetStore};

/// An ICMP target with two series.
pub(crate) fn icmp(site: SiteId, address: &str) -> (TargetSpec, Vec<NewSeriesSpec>) {
    let spec = TargetSpec {
        site,
        role: Role::Gateway,
        name: format!("cible {address}"),
        address: address.to_owned(),
        method: Method::Icmp { count: 3 },
        period_s: 10,
        parent: None,
    };
    (spec, vec![column(1), column(4)])
}

fn column(metric: u32) -> NewSeriesSpec {
    NewSeriesSpec { metric, instance: 0, label: String::new(), detail: Detail::Full }
}

fn with(spec: &TargetSpec, method: Method, address: &str) -> TargetSpec {
    TargetSpec { method, address: address.to_owned(), ..spec.clone() }
}

/// Every kind of target comes back as it was given, once per site, method and address.
pub async fn targets_are_kept(store: &(impl SiteStore + TargetStore)) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let other = store.add_site(facts(2)).await?.id;
    let (spec, columns) = icmp(site, "10.0.0.1");
    let gateway = store.upsert_target(spec.clone(), columns.clone()).await?;
    assert_eq!((&gateway.spec, gateway.active), (&spec, true));

    let snmp = |community: &str| Method::SnmpV2c { community: Community::new(community) };
    let dns = Method::Dns { name: "a:b.example.org".to_owned(), record_type: 28 };
    let mut all = vec![gateway.clone()];
    for (method, address) in [
        (Method::Tcp, "10.0.0.1:443"),
        (dns, "10.0.0.53"),
        (Method::Http, "https://example.org/"),
        (snmp("public"), "10.0.0.2"),
        (Method::Host, ""),
        (Method::Icmp { count: 5 }, "10.0.0.1"),
    ] {
        let mut spec = with(&spec, method, address);
        spec.parent = Some(gateway.id);
        let target = store.upsert_target(spec.clone(), columns.clone()).await?;
        assert_eq!(target.spec, spec);
        all.push(target);
    }
    assert_eq!(store.targets(Some(site)).await?, all);
    assert_eq!(store.targets(Some(other)).await?, []);
    assert_eq!(store.series(None).await?.len(), 14);

    // The same again changes nothing, not even the configuration's version.
    let (version, _) = store.groups(site).await?;
    assert_eq!(store.upsert_target(spec.clone(), columns.clone()).await?, gateway);
    assert_eq!(store.groups(site).await?.0, version);

    // Another community is the same device, newly configured.
    let mut device = all[4].spec.clone();
    device.method = snmp("s3cret");
    let device = store.upsert_target(device, Vec::new()).await?;
    assert_eq!((device.id, &device.spec.method), (all[4].id, &snmp("s3cret")));
    assert!(store.groups(site).await?.0 > version);

    let mut stranger = icmp(other, "10.9.9.9").0;
    stranger.parent = Some(gateway.id);
    assert!(is_not_found(&store.upsert_target(stranger, Vec::new()).await));
    let nowhere = icmp(SiteId(other.0 + 1000), "10.0.0.1").0;
    assert!(is_not_found(&store.upsert_target(nowhere, Vec::new()).await));
    let mut hasty = spec;
    hasty.period_s = 0;
    let refused = store.upsert_target(hasty, Vec::new()).await;
    assert!(matches!(refused, Err(StoreError::Failed { .. })), "{refused:?}");
    assert_eq!(store.targets(None).await?.len(), 7);
    Ok(())
}

/// The store knows which targets the ladder made; an operator's stay as the operator made them.
pub async fn rungs_are_told_from_operators_targets(
    store: &(impl SiteStore + TargetStore),
) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let (mine, columns) = icmp(site, "10.0.0.1");
    let (rung, _) = icmp(site, "10.0.0.2");
    let mine = store.upsert_target(mine, columns.clone()).await?;
    let rung = store.upsert_rung(rung, columns.clone()).await?;
    assert_eq!(store.rungs(site).await?, [rung.id]);
    let renamed = TargetSpec { name: "passerelle 10.0.0.1".to_owned(), ..mine.spec.clone() };
    assert_eq!(store.upsert_rung(renamed, columns.clone()).await?, mine);
    assert_eq!(store.rungs(site).await?, [rung.id]);
    let behind = TargetSpec { parent: Some(mine.id), ..rung.spec.clone() };
    assert_eq!(store.upsert_rung(behind.clone(), Vec::new()).await?.spec, behind);
    store.retire_target(rung.id).await?;
    assert_eq!(store.rungs(site).await?, []);
    assert_eq!(store.upsert_target(behind, Vec::new()).await?.id, rung.id);
    assert_eq!(store.rungs(site).await?, []);
    Ok(())
}

/// Targets polled alike share a group; its layouts follow them and never change meaning.
pub async fn layouts_follow_the_targets(store: &(impl SiteStore + TargetStore)) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let add = async |last: u32| {
        let (spec, columns) = icmp(site, &format!("10.0.0.{last}"));
        store.upsert_target(spec, columns).await
    };
    let (first, second) = (add(1).await?, add(2).await?);
    assert_eq!(first.group, second.group);
    let (version, groups) = store.groups(site).await?;
    let [group] = &groups[..] else { panic!("{} groups", groups.len()) };
    assert_eq!(
        (group.site, group.period_s, &group.targets),
        (site, 10, &vec![first.clone(), second.clone()])
    );
    let of = |target: TargetId| group.columns.iter().filter(|c| c.target == target).count();
    assert_eq!((of(first.id), of(second.id), group.columns.len()), (2, 2, 4));
    let (old, columns) = (group.layout, group.columns.clone());
    assert_eq!(store.layout(first.group, old).await?.as_deref(), Some(&columns[..]));

    // A withdrawn target leaves the columns; the old layout stays what it was.
    store.retire_target(first.id).await?;
    store.retire_target(first.id).await?;
    let (next, groups) = store.groups(site).await?;
    assert!(next == version + 1 && groups[0].layout > old);
    assert_eq!(groups[0].columns, columns[2..]);
    assert_eq!(groups[0].targets, std::slice::from_ref(&second));
    assert_eq!(store.layout(first.group, old).await?.as_deref(), Some(&columns[..]));
    let shown = store.targets(Some(site)).await?;
    assert!(shown[0] == second && !shown[1].active && shown[1].id == first.id);

    // It comes back under its id and with its series.
    let again = add(1).await?;
    assert_eq!((again.id, again.active), (first.id, true));
    let (_, groups) = store.groups(site).await?;
    assert_eq!(groups[0].columns, columns);

    let new = |target, metric| NewSeries {
        target,
        metric,
        instance: 7,
        label: "eth7".to_owned(),
        detail: Detail::Coarse,
    };
    let before = store.groups(site).await?.0;
    let after = store.add_series(site, vec![new(first.id, 60), new(first.id, 61)]).await?;
    assert_eq!(after, before + 1);
    assert_eq!(store.add_series(site, vec![new(first.id, 60)]).await?, after);
    assert!(is_not_found(&store.add_series(site, vec![new(TargetId(first.id.0 + 999), 60)]).await));
    let (_, groups) = store.groups(site).await?;
    assert_eq!(groups[0].columns.len(), 6);
    let added = groups[0].columns[2].clone();
    assert_eq!((added.metric, added.instance, added.detail), (60, 7, Detail::Coarse));
    let ids = vec![added.id, SeriesId(i64::MAX), columns[0].id];
    assert_eq!(store.series_by_id(ids).await?, [added, columns[0].clone()]);

    // Another period is another group; a full group makes room for the next.
    let (mut slower, columns) = icmp(site, "10.0.0.2");
    slower.period_s = 60;
    let moved = store.upsert_target(slower, columns).await?;
    assert!(moved.id == second.id && moved.group != second.group);
    let (_, groups) = store.groups(site).await?;
    assert_eq!(
        groups.iter().map(|g| (g.period_s, g.columns.len())).collect::<Vec<_>>(),
        [(10, 4), (60, 2)]
    );
    for last in 3..67 {
        add(last).await?;
    }
    let (_, groups) = store.groups(site).await?;
    assert_eq!(groups.iter().map(|group| group.targets.len()).collect::<Vec<_>>(), [64, 1, 1]);

    assert_eq!(store.layout(GroupId(u32::MAX), Layout(1)).await?, None);
    assert_eq!(store.layout(first.group, Layout(u32::MAX)).await?, None);
    assert!(is_not_found(&store.groups(SiteId(site.0 + 1)).await));
    assert!(is_not_found(&store.retire_target(TargetId(i64::MAX)).await));
    Ok(())
}

/// What a device said last is kept, for its target and site; what comes late does not undo it.
pub async fn devices_are_what_they_said_last(store: &(impl SiteStore + TargetStore)) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let other = store.add_site(facts(2)).await?.id;
    let (spec, columns) = icmp(site, "10.0.0.1");
    let target = store.upsert_target(spec, columns.clone()).await?.id;
    assert_eq!(store.devices(site).await?, []);
    let device = |name: &str| Device {
        name: name.to_owned(),
        descr: "Switch\u{1b}[2J".to_owned(),
        object_id: "1.3.6.1.4.1.9.1.1208".to_owned(),
        location: String::new(),
        truncated: name == "new",
    };
    store.keep_device(target, at(100), device("old")).await?;
    assert_eq!(store.devices(site).await?, [(target, at(100), device("old"))]);
    store.keep_device(target, at(200), device("new")).await?;
    store.keep_device(target, at(150), device("late")).await?;
    assert_eq!(store.devices(site).await?, [(target, at(200), device("new"))]);
    assert_eq!(store.devices(other).await?, []);
    let nobody = TargetId(target.0 + 1_000);
    assert!(is_not_found(&store.keep_device(nobody, at(300), device("x")).await));
    Ok(())
}
