//! The measures between sites.

use domain::{
    id::{SiteId, TargetId},
    target::{Detail, LinkKey, Method, Role, TargetSpec},
};

use super::{facts, is_not_found};
use crate::{
    MeshLink, MeshPlan, MeshSite, MeshStore, NewSeriesSpec, Result, SiteStore, TargetStore,
};

fn asks(from: SiteId, peer: &str) -> (TargetSpec, Vec<NewSeriesSpec>) {
    let spec = TargetSpec {
        site: from,
        role: Role::Peer,
        name: format!("vers {peer}"),
        address: peer.to_owned(),
        method: Method::Mesh { count: 10 },
        period_s: 60,
        parent: None,
    };
    let loss =
        NewSeriesSpec { metric: 141, instance: 0, label: String::new(), detail: Detail::Full };
    (spec, vec![loss])
}

/// A link is a target of the site that asks, and a key that both sites' configurations know; each
/// change of it is a new configuration of both, and what is removed leaves its history.
pub async fn links_between_sites_are_kept(
    store: &(impl SiteStore + TargetStore + MeshStore),
) -> Result<()> {
    let (a, b) = (store.add_site(facts(1)).await?.id, store.add_site(facts(2)).await?.id);
    let site = |site, address: Option<&str>, hub| MeshSite {
        site,
        address: address.map(str::to_owned),
        hub,
    };
    store.set_mesh_site(site(b, None, true)).await?;
    store.set_mesh_site(site(a, None, false)).await?;
    store.set_mesh_site(site(b, Some("10.2.0.1:9782"), false)).await?;
    let expected = [site(a, None, false), site(b, Some("10.2.0.1:9782"), false)];
    assert_eq!(store.mesh_sites().await?, expected);
    let nowhere = SiteId(b.0 + 1000);
    assert!(is_not_found(&store.set_mesh_site(site(nowhere, None, false)).await));

    let versions =
        async || -> Result<(u64, u64)> { Ok((store.groups(a).await?.0, store.groups(b).await?.0)) };
    let grew = |before: (u64, u64), now: (u64, u64)| (now.0 > before.0, now.1 > before.1);
    let start = versions().await?;
    let (spec, series) = asks(a, "0000002B");
    let key = LinkKey::new([7; 32]);
    let link = store.put_mesh_link(spec.clone(), series.clone(), b, key.clone()).await?;
    assert_eq!((link.from, link.to, &link.key), (a, b, &key));
    assert_eq!(store.mesh_links().await?, std::slice::from_ref(&link));
    assert_eq!(store.targets(Some(a)).await?[0].spec, spec);
    let linked = versions().await?;
    assert_eq!(grew(start, linked), (true, true));
    let (asker, answerer) = (store.mesh_plan(a).await?, store.mesh_plan(b).await?);
    let ask = (link.target, "10.2.0.1:9782".to_owned(), key.clone());
    assert_eq!(asker, MeshPlan { asks: vec![ask], answers: vec![] });
    assert_eq!(answerer, MeshPlan { asks: vec![], answers: vec![(link.target, key)] });
    let of_links = store.mesh_series().await?;
    assert_eq!(
        of_links.iter().map(|s| (s.target, s.metric)).collect::<Vec<_>>(),
        [(link.target, 141)]
    );

    // Another key is the same link.
    let other = LinkKey::new([8; 32]);
    let again = store.put_mesh_link(spec, series, b, other.clone()).await?;
    assert_eq!(again, MeshLink { key: other, ..link.clone() });
    assert_eq!(store.mesh_links().await?, [again]);
    let rekeyed = versions().await?;
    assert_eq!(grew(linked, rekeyed), (true, true));

    // Where a site is asked is in the configuration of those that ask it, not in its own.
    store.set_mesh_site(site(b, Some("10.2.0.9:9782"), false)).await?;
    let moved = versions().await?;
    assert_eq!(grew(rekeyed, moved), (true, false));
    assert_eq!(store.mesh_plan(a).await?.asks[0].1, "10.2.0.9:9782");

    store.remove_mesh_link(a, b).await?;
    assert_eq!(grew(moved, versions().await?), (true, true));
    assert_eq!(store.mesh_links().await?, []);
    assert_eq!(store.mesh_plan(b).await?, MeshPlan::default());
    let gone = store.targets(Some(a)).await?;
    assert_eq!((gone[0].id, gone[0].active), (link.target, false));
    assert_eq!(store.series(Some(a)).await?.len(), 1, "its history stays");
    store.remove_mesh_link(a, b).await?;

    assert!(store.remove_mesh_site(b).await?);
    assert!(!store.remove_mesh_site(b).await?);
    assert_eq!(store.mesh_sites().await?, [site(a, None, false)]);
    let (stranger, none) = asks(a, "0000009B");
    let refused = store.put_mesh_link(stranger, none, nowhere, LinkKey::new([1; 32])).await;
    assert!(is_not_found(&refused), "{refused:?}");
    assert_ne!(link.target, TargetId(0));
    Ok(())
}
