use std::collections::BTreeSet;

use domain::{
    id::Layout,
    incident::IncidentKind,
    target::{Method, Target, TargetSpec},
};
use tempfile::TempDir;

use super::*;
use crate::{
    Evaluation, IncidentFilter, IncidentStore as _, NewIncident, NewSeriesSpec, SampleOptions,
    SiteStore as _, TargetStore as _, sqlite::SqliteStore,
};

fn open() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let options = SampleOptions::new(crate::contract::read_payload);
    let store = SqliteStore::open(&dir.path().join("vigie.db"), options).unwrap();
    (dir, store)
}

fn hop(site: SiteId, n: i64) -> (TargetSpec, Vec<NewSeriesSpec>) {
    let spec = TargetSpec {
        site,
        role: Role::Hop,
        name: format!("saut {n}"),
        address: format!("198.51.{}.{}", n / 250, n % 250),
        method: Method::Icmp { count: 5 },
        period_s: 10,
        parent: None,
    };
    let column =
        |metric| NewSeriesSpec { metric, instance: 0, label: String::new(), detail: Detail::Full };
    (spec, vec![column(1), column(4)])
}

async fn raise(store: &SqliteStore, site: SiteId, n: i64) -> Target {
    let (spec, columns) = hop(site, n);
    store.upsert_rung(spec, columns).await.unwrap()
}

async fn raise_and_retire(store: &SqliteStore, site: SiteId, n: i64) -> Target {
    let rung = raise(store, site, n).await;
    store.retire_target(rung.id).await.unwrap();
    rung
}

async fn known(store: &SqliteStore, site: SiteId) -> BTreeSet<TargetId> {
    store.targets(Some(site)).await.unwrap().into_iter().map(|target| target.id).collect()
}

#[tokio::test]
async fn withdrawn_rungs_are_forgotten_oldest_first_and_mix_with_no_other() {
    let (_dir, store) = open();
    let site = store.add_site(crate::contract::facts(1)).await.unwrap().id;
    // What an operator withdrew, and a rung that was withdrawn early and came back.
    let (spec, columns) = hop(site, 0);
    let given = store.upsert_target(spec, columns).await.unwrap();
    store.retire_target(given.id).await.unwrap();
    let returned = raise_and_retire(&store, site, 1).await;
    let troubled = raise(&store, site, 2).await;
    let cause = NewIncident {
        key: "down".to_owned(),
        site,
        target: Some(troubled.id),
        kind: IncidentKind::TargetDown,
        title: "Saut en panne".to_owned(),
        evidence: Vec::new(),
        started_at: crate::contract::at(0),
    };
    let now = Some(crate::contract::at(60));
    let open = Evaluation { at: now, open: vec![(cause, Vec::new())], ..Evaluation::default() };
    let incident = store.save_evaluation(open).await.unwrap().remove(0);
    store.retire_target(troubled.id).await.unwrap();
    let first = raise(&store, site, 3).await;
    let old = store.groups(site).await.unwrap().1.remove(0);
    let columns = old.columns.clone();
    store.retire_target(first.id).await.unwrap();
    for n in 4..=MAX_WITHDRAWN_RUNGS {
        raise_and_retire(&store, site, n).await;
    }
    raise_and_retire(&store, site, 1).await;
    assert!(known(&store, site).await.contains(&first.id), "there is room for so many");

    let next = MAX_WITHDRAWN_RUNGS + 1;
    for n in next..next + 3 {
        raise_and_retire(&store, site, n).await;
    }
    let after = known(&store, site).await;
    assert!(!after.contains(&first.id), "the oldest is forgotten");
    assert!(after.contains(&given.id), "what operators withdrew stays");
    assert!(after.contains(&returned.id), "it was withdrawn again later");
    assert!(after.contains(&troubled.id), "its incident is open");
    assert_eq!(after.len(), usize::try_from(MAX_WITHDRAWN_RUNGS).unwrap() + 2);
    assert!(store.series(Some(site)).await.unwrap().iter().all(|s| s.target != first.id));

    // The old layout keeps its shape, in which the forgotten columns are nobody's.
    let read = store.layout(old.id, old.layout).await.unwrap().unwrap();
    assert_eq!(read.iter().map(|s| s.id).collect::<Vec<_>>(), ids(&columns));
    assert!(read.iter().all(|s| s.site == site && s.metric == 0 && s.target == TargetId(0)));
    assert!(domain::metric::by_number(0).is_none());

    // The forgotten address comes back as another target, with series of its own.
    let again = raise(&store, site, 3).await;
    assert!(!after.contains(&again.id) && again.id != first.id);
    let now = store.groups(site).await.unwrap().1.remove(0).columns;
    let newest = columns.iter().map(|series| series.id).max().unwrap();
    assert!(now.iter().all(|series| series.target == again.id && series.id > newest));

    // An incident that has ended keeps its rung no longer, and is kept without it.
    let end = (incident.id, crate::contract::at(90), Vec::new(), Vec::new());
    let close =
        Evaluation { at: Some(crate::contract::at(90)), close: vec![end], ..Evaluation::default() };
    store.save_evaluation(close).await.unwrap();
    raise_and_retire(&store, site, next + 3).await;
    raise_and_retire(&store, site, next + 4).await;
    assert!(!known(&store, site).await.contains(&troubled.id));
    let kept = store.incidents(IncidentFilter::default()).await.unwrap();
    assert_eq!((kept[0].id, kept[0].target), (incident.id, None));
}

fn ids(columns: &[Series]) -> Vec<SeriesId> {
    columns.iter().map(|series| series.id).collect()
}

#[tokio::test]
async fn a_site_full_of_withdrawn_rungs_takes_new_ones_and_comes_down() {
    let (_dir, store) = open();
    let site = store.add_site(crate::contract::facts(1)).await.unwrap().id;
    let first = raise_and_retire(&store, site, 0).await;
    let group = first.group;
    let many = 2 * super::super::MAX_SITE_TARGETS;
    store
        .write("fill a site", move |tx| {
            for n in 0..many {
                let sql = "INSERT INTO target (site, grp, role, name, kind, address, period_s,
                               ladder, active) VALUES (?1, ?2, 'hop', 's', 'icmp:5', ?3, 10, 1, 0)";
                change(tx, sql, params![site.0, group.0, format!("203.0.113.{n}")])
                    .map_err(failed("fill a site"))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let rung = raise(&store, site, 1).await;
    let (spec, columns) = hop(site, 2);
    let given = store.upsert_target(spec, columns).await.unwrap();
    assert!(rung.active && given.active);
    let before = known(&store, site).await.len();
    raise(&store, site, 3).await;
    let once = usize::try_from(FORGET_AT_ONCE).unwrap();
    assert_eq!(known(&store, site).await.len(), before + 1 - once);
    assert!(store.layout(group, Layout(1)).await.unwrap().is_some());
}
