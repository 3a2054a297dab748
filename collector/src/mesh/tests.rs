use domain::{
    site::{SiteFacts, SiteKind, Zone},
    uai::Uai,
};
use store::{SampleOptions, SiteStore as _, sqlite::SqliteStore};
use tempfile::TempDir;

use super::*;

struct Region {
    store: Arc<SqliteStore>,
    sites: Vec<SiteId>,
    _dir: TempDir,
}

impl Region {
    async fn new(count: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SampleOptions::new(crate::wire::rounds);
        let store = SqliteStore::open(&dir.path().join("vigie.db"), options).unwrap();
        let mut sites = Vec::new();
        for number in 1..=count {
            let uai = Uai::from_number(number).unwrap();
            let facts =
                SiteFacts::new(uai, format!("Collège {number}"), SiteKind::College, Zone::B);
            sites.push(store.add_site(facts).await.unwrap().id);
        }
        Self { store: Arc::new(store), sites, _dir: dir }
    }

    fn mesh(&self, period_s: u32) -> Mesh {
        Mesh::new(self.store.clone(), Arc::new(SiteConfigs::default()), period_s)
    }

    fn member(&self, at: usize) -> MeshSite {
        let address = Some(format!("10.0.0.{at}:9782"));
        MeshSite { site: self.sites[at], address, hub: false }
    }

    /// Who asks whom, and under which key.
    async fn links(&self) -> BTreeMap<(usize, usize), LinkKey> {
        use store::MeshStore as _;
        let place = |site| self.sites.iter().position(|known| *known == site).unwrap();
        let links = self.store.mesh_links().await.unwrap();
        links.into_iter().map(|link| ((place(link.from), place(link.to)), link.key)).collect()
    }

    async fn active(&self, at: usize) -> Vec<(String, u32)> {
        use store::TargetStore as _;
        let targets = self.store.targets(Some(self.sites[at])).await.unwrap();
        let active = targets.into_iter().filter(|target| target.active);
        active.map(|target| (target.spec.address, target.spec.period_s)).collect()
    }
}

#[tokio::test]
async fn sites_that_take_part_ask_each_other_under_keys_of_their_own() {
    let region = Region::new(3).await;
    let mesh = region.mesh(60);
    for at in 0..3 {
        mesh.set(region.member(at)).await.unwrap();
    }
    let links = region.links().await;
    let pairs: Vec<_> = links.keys().copied().collect();
    assert_eq!(pairs, [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
    let keys: BTreeSet<_> = links.values().map(|key| *key.expose()).collect();
    assert_eq!(keys.len(), 6, "no key is drawn twice");
    let uai = |number| Uai::from_number(number).unwrap().to_string();
    assert_eq!(region.active(0).await, [(uai(2), 60), (uai(3), 60)]);
}

#[tokio::test]
async fn a_site_without_address_asks_and_is_not_asked() {
    let region = Region::new(2).await;
    let mesh = region.mesh(60);
    mesh.set(region.member(0)).await.unwrap();
    mesh.set(MeshSite { address: None, ..region.member(1) }).await.unwrap();
    assert_eq!(region.links().await.into_keys().collect::<Vec<_>>(), [(1, 0)]);
}

#[tokio::test]
async fn keys_stay_until_an_address_changes_or_an_agent_is_withdrawn() {
    let region = Region::new(3).await;
    let mesh = region.mesh(60);
    for at in 0..3 {
        mesh.set(region.member(at)).await.unwrap();
    }
    let first = region.links().await;
    mesh.set(region.member(1)).await.unwrap();
    mesh.restore().await.unwrap();
    assert_eq!(region.links().await, first);

    let differing = |now: &BTreeMap<(usize, usize), LinkKey>| {
        let other = now.iter().filter(|(pair, key)| first.get(pair) != Some(key));
        other.map(|(pair, _)| *pair).collect::<Vec<_>>()
    };
    let elsewhere = MeshSite { address: Some("10.9.9.9:9782".to_owned()), ..region.member(1) };
    mesh.set(elsewhere).await.unwrap();
    let of_the_second = [(0, 1), (1, 0), (1, 2), (2, 1)];
    assert_eq!(differing(&region.links().await), of_the_second);
    mesh.rekey(region.sites[0]).await.unwrap();
    assert_eq!(differing(&region.links().await).len(), 6);
}

#[tokio::test]
async fn who_goes_is_asked_no_more_and_comes_back_under_another_key() {
    let region = Region::new(3).await;
    let mesh = region.mesh(60);
    for at in 0..3 {
        mesh.set(region.member(at)).await.unwrap();
    }
    let before = region.links().await;
    assert!(mesh.remove(region.sites[2]).await.unwrap());
    assert!(!mesh.remove(region.sites[2]).await.unwrap());
    let left = region.links().await;
    assert_eq!(left.keys().copied().collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    assert!(left.iter().all(|(pair, key)| before[pair] == *key));
    assert_eq!(region.active(2).await, []);
    mesh.set(region.member(2)).await.unwrap();
    let back = region.links().await;
    assert_ne!(back[&(0, 2)], before[&(0, 2)]);
}

#[tokio::test]
async fn another_period_in_the_file_is_that_of_every_pair_after_a_start() {
    let region = Region::new(2).await;
    let mesh = region.mesh(60);
    mesh.set(region.member(0)).await.unwrap();
    mesh.set(region.member(1)).await.unwrap();
    let before = region.links().await;
    region.mesh(10).restore().await.unwrap();
    assert!(region.active(0).await.iter().all(|(_, period_s)| *period_s == 10));
    assert_eq!(region.links().await, before);
}
