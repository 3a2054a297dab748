//! Which sites measure which: a mesh that stays affordable, however many sites there are.
//!
//! All pairs of n sites are n·(n − 1), too many beyond a few dozen. Here each site asks the hubs (the
//! shared service centre, where an agent stands), the [`NEAR`] next sites of its own lot and the [`FAR`]
//! next of all, on a ring. Sites of one lot share an operator and its backbone, so that they tell its
//! faults from their own; the others tell lots apart. That is at most [`MAX_ASKED`] sites asked by each
//! site, and at most `NEAR + FAR` that ask one, hubs apart.
//!
//! Places on the ring are drawn from the sites' numbers, so that neighbours there are no neighbours in
//! any list, and a site that comes or goes changes the pairs around its place and no others.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SiteId;

/// Hubs that every site asks.
pub const MAX_HUBS: usize = 2;
/// Next sites of the same lot that a site asks.
pub const NEAR: usize = 3;
/// Next sites of all that a site asks. Three each way: of up to 7 sites every two are measured.
pub const FAR: usize = 3;
/// Most sites that one site asks.
pub const MAX_ASKED: usize = MAX_HUBS + NEAR + FAR;
/// Most sites in the mesh: what a hub can be told to answer.
pub const MAX_SITES: usize = 2_000;

/// A site that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub site: SiteId,
    /// Its lot, when it has one.
    pub lot: Option<String>,
    /// Whether other sites can reach it: it has an address. One that has none asks only.
    pub answers: bool,
    /// Whether every site asks it. A hub that does not answer is none.
    pub hub: bool,
}

/// One site asks another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Who asks.
    pub from: SiteId,
    /// Who answers.
    pub to: SiteId,
}

/// The pairs to measure. Of more than [`MAX_HUBS`] hubs the first on the ring are; a site that is named
/// twice counts as it is named first.
#[must_use]
pub fn pairs(members: &[Member]) -> BTreeSet<Pair> {
    let mut places: BTreeMap<(u64, SiteId), &Member> = BTreeMap::new();
    for member in members {
        places.entry((place(member.site), member.site)).or_insert(member);
    }
    let all: Vec<&Member> = places.into_values().collect();
    let mut lots: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for member in &all {
        if let Some(lot) = &member.lot {
            lots.entry(lot).or_default().push(member);
        }
    }
    let mut pairs = BTreeSet::new();
    for hub in all.iter().filter(|member| member.hub && member.answers).take(MAX_HUBS) {
        let others = all.iter().filter(|member| member.site != hub.site);
        pairs.extend(others.map(|member| Pair { from: member.site, to: hub.site }));
    }
    around(&all, FAR, &mut pairs);
    for ring in lots.values() {
        around(ring, NEAR, &mut pairs);
    }
    pairs
}

/// Each member of a ring asks those of the `reach` next ones that answer.
fn around(ring: &[&Member], reach: usize, pairs: &mut BTreeSet<Pair>) {
    for (at, from) in ring.iter().enumerate() {
        // Not itself, when the ring is short.
        for step in 1..=reach.min(ring.len() - 1) {
            let to = ring[(at + step) % ring.len()];
            if to.answers {
                pairs.insert(Pair { from: from.site, to: to.site });
            }
        }
    }
}

/// Where a site stands on the ring: the finaliser of `SplitMix64` (Steele, Lea, Flood: Fast Splittable
/// Pseudorandom Number Generators, 2014), one to one on 64 bits.
fn place(site: SiteId) -> u64 {
    let mut bits = site.0.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(site: i64, lot: i64) -> Member {
        let lot = (lot > 0).then(|| lot.to_string());
        Member { site: SiteId(site), lot, answers: true, hub: false }
    }

    fn sites(count: i64, lots: i64) -> Vec<Member> {
        (1..=count).map(|site| member(site, site % lots + 1)).collect()
    }

    /// Most sites that one asks, and most that ask one which is no hub.
    fn degrees(members: &[Member], pairs: &BTreeSet<Pair>) -> (usize, usize) {
        let most = |of: fn(&Pair) -> SiteId, which: fn(&Member) -> bool| {
            let count = |member: &Member| pairs.iter().filter(|p| of(p) == member.site).count();
            members.iter().filter(|member| which(member)).map(count).max().unwrap_or(0)
        };
        (most(|pair| pair.from, |_| true), most(|pair| pair.to, |member| !member.hub))
    }

    #[test]
    fn up_to_four_sites_ask_each_other_and_up_to_seven_every_two_are_measured() {
        assert_eq!(pairs(&[]), BTreeSet::new());
        assert_eq!(pairs(&sites(1, 1)), BTreeSet::new());
        for count in 2..=4 {
            let all = usize::try_from(count * (count - 1)).unwrap();
            assert_eq!(pairs(&sites(count, 3)).len(), all, "{count} sites");
        }
        for count in 5..=7 {
            let pairs = pairs(&sites(count, 9));
            for a in 1..=count {
                for b in 1..a {
                    let (a, b) = (SiteId(a), SiteId(b));
                    let either = [Pair { from: a, to: b }, Pair { from: b, to: a }];
                    assert!(either.iter().any(|pair| pairs.contains(pair)), "{a} and {b}");
                }
            }
        }
    }

    #[test]
    fn a_large_mesh_costs_each_site_the_same() {
        let mut members = sites(1_000, 12);
        members[17].hub = true;
        let pairs = pairs(&members);
        assert!(pairs.len() <= MAX_ASKED * members.len(), "{}", pairs.len());
        let (out, into) = degrees(&members, &pairs);
        assert!(out <= MAX_ASKED && into <= NEAR + FAR, "{out} and {into}");
        // Every site asks the hub, others of its lot, and others of other lots.
        for member in &members {
            let asked: Vec<&Member> = members
                .iter()
                .filter(|to| pairs.contains(&Pair { from: member.site, to: to.site }))
                .collect();
            assert!(member.hub || asked.iter().any(|to| to.hub));
            assert!(asked.iter().filter(|to| to.lot == member.lot).count() >= NEAR);
            assert!(asked.len() > NEAR, "{member:?} asks {asked:?}");
        }
    }

    #[test]
    fn nobody_asks_a_site_without_address_nor_itself() {
        let mut members = sites(60, 4);
        for member in members.iter_mut().filter(|member| member.site.0 % 3 == 0) {
            member.answers = false;
            member.hub = true;
        }
        let pairs = pairs(&members);
        assert!(pairs.iter().all(|pair| pair.from != pair.to && pair.to.0 % 3 != 0));
        assert!(pairs.iter().any(|pair| pair.from.0 % 3 == 0), "it asks all the same");
    }

    #[test]
    fn beyond_the_most_hubs_the_others_are_sites_like_any() {
        let mut members = sites(50, 1);
        members.iter_mut().take(5).for_each(|member| member.hub = true);
        let pairs = pairs(&members);
        let asked_by_all = |member: &&Member| {
            pairs.iter().filter(|pair| pair.to == member.site).count() == members.len() - 1
        };
        assert_eq!(members.iter().filter(asked_by_all).count(), MAX_HUBS);
    }

    #[test]
    fn the_order_of_the_list_changes_nothing() {
        let mut members = sites(40, 3);
        let before = pairs(&members);
        members.reverse();
        members.push(members[3].clone());
        assert_eq!(pairs(&members), before);
    }

    #[test]
    fn a_site_that_comes_or_goes_changes_the_pairs_around_it_only() {
        let members = sites(200, 7);
        let before = pairs(&members);
        for gone in 0..members.len() {
            let mut rest = members.clone();
            let gone = rest.remove(gone);
            let after = pairs(&rest);
            let changed = before.symmetric_difference(&after).collect::<Vec<_>>();
            let others =
                changed.iter().filter(|p| p.from != gone.site && p.to != gone.site).count();
            // Those that asked it ask one more instead, on each of the two rings.
            assert!(others <= NEAR + FAR, "{others} of others when {gone:?} goes");
        }
    }
}
