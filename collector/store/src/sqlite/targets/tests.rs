use super::*;
use crate::{
    SiteStore as _,
    contract::{facts, targets::icmp},
    sqlite::tests::options,
};

#[tokio::test]
async fn a_rung_that_comes_and_goes_leaves_no_layout_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
    let site = store.add_site(facts(1)).await.unwrap().id;
    let add = async |address: &str| {
        let (spec, columns) = icmp(site, address);
        store.upsert_rung(spec, columns).await.unwrap()
    };
    let (main, spare) = (add("192.0.2.1").await, add("192.0.2.2").await);
    let mut seen = Vec::new();
    for _ in 0..5 {
        store.retire_target(spare.id).await.unwrap();
        let (down, groups) = store.groups(site).await.unwrap();
        let alone = (groups[0].layout, groups[0].columns.clone());
        add("192.0.2.2").await;
        let (up, groups) = store.groups(site).await.unwrap();
        assert!(up > down, "the agent hears of each change");
        seen.push((alone, groups[0].layout, groups[0].columns.clone()));
    }
    assert!(seen.iter().all(|round| *round == seen[0]), "{seen:#?}");
    let ((alone, columns), both, _) = &seen[0];
    assert!(alone != both && columns.iter().all(|series| series.target == main.id));
    // A layout that is new has a number that was never given.
    let third = add("192.0.2.3").await;
    let (_, groups) = store.groups(site).await.unwrap();
    assert!(groups[0].layout > *alone.max(both));
    let was = store.layout(third.group, *both).await.unwrap().unwrap();
    assert!(was.iter().all(|series| series.target != third.id));
}
