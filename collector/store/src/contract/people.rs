//! Sites, contractors, tokens, certificates.

use domain::{agent::AgentStatus, contractor::Contractor, id::AgentId, site::Zone};

use super::{at, enrol, facts, is_not_found, new_agent, site_with_agent};
use crate::{
    AgentStore, Certificate, ImportReport, NewToken, Redeemed, Result, SiteStore, StoreError,
    TokenRefusal,
};

/// Sites come back as they were given, by UAI; a UAI is registered once; contractors are replaced.
pub async fn sites_are_kept(store: &impl SiteStore) -> Result<()> {
    let bare = domain::site::SiteFacts {
        pupils: None,
        lot: None,
        address: None,
        position: None,
        ..facts(750_001)
    };
    let second = store.add_site(facts(750_002)).await?;
    let first = store.add_site(bare.clone()).await?;
    assert_eq!(first.facts, bare);
    assert_eq!(store.sites().await?, [first.clone(), second.clone()]);
    assert_eq!(store.site_by_uai(second.facts.uai).await?, Some(second));
    assert_eq!(store.site_by_uai(facts(750_003).uai).await?, None);
    let again = store.add_site(facts(750_001)).await;
    assert!(matches!(again, Err(StoreError::Duplicate(_))), "{again:?}");

    let contractor = |lot: &str, name: &str| Contractor {
        lot: lot.to_owned(),
        name: name.to_owned(),
        email: format!("{name}@example.org"),
    };
    store.set_contractor(contractor("2", "beta")).await?;
    store.set_contractor(contractor("1", "alpha")).await?;
    store.set_contractor(contractor("2", "gamma")).await?;
    assert_eq!(store.contractors().await?, [contractor("1", "alpha"), contractor("2", "gamma")]);
    Ok(())
}

/// An import is kept whole or not at all, and a dry run tells what the import would.
pub async fn imports_are_all_or_nothing(store: &impl SiteStore) -> Result<()> {
    let known = store.add_site(facts(1)).await?;
    let mut renamed = facts(1);
    renamed.zone = Zone::Mayotte;
    let list = vec![renamed.clone(), facts(2), facts(3)];
    let expected = ImportReport { added: 2, updated: 1, unchanged: 0 };

    assert_eq!(store.import_sites(list.clone(), true).await?, expected);
    assert_eq!(store.sites().await?, std::slice::from_ref(&known));

    let twice = vec![facts(4), facts(5), facts(4)];
    let outcome = store.import_sites(twice, false).await;
    assert!(matches!(outcome, Err(StoreError::Duplicate(_))), "{outcome:?}");
    assert_eq!(store.sites().await?, std::slice::from_ref(&known));

    assert_eq!(store.import_sites(list.clone(), false).await?, expected);
    let kept = store.sites().await?;
    assert_eq!(
        kept.iter().map(|site| &site.facts).collect::<Vec<_>>(),
        list.iter().collect::<Vec<_>>()
    );
    assert_eq!(kept[0].id, known.id);
    let unchanged = ImportReport { added: 0, updated: 0, unchanged: 3 };
    assert_eq!(store.import_sites(list, false).await?, unchanged);
    Ok(())
}

/// A token makes one agent; the key that redeemed it gets the same answer for ten minutes.
pub async fn tokens_are_redeemed_once(store: &(impl SiteStore + AgentStore)) -> Result<()> {
    let site = store.add_site(facts(1)).await?.id;
    let token = |id: &str, site| NewToken {
        id: id.to_owned(),
        secret_sha256: [7; 32],
        site,
        created_at: at(0),
        expires_at: at(3600),
    };
    let nowhere = domain::id::SiteId(site.0 + 1000);
    assert!(is_not_found(&store.add_token(token("nowhere", nowhere)).await));
    for id in ["used", "late"] {
        store.add_token(token(id, site)).await?;
    }
    let twice = store.add_token(token("used", site)).await;
    assert!(matches!(twice, Err(StoreError::Duplicate(_))), "{twice:?}");
    let refused = Redeemed::Refused;

    let redeem = |id: &'static str, secret: u8, agent: u8, seconds: i64| {
        store.redeem_token(id, [secret; 32], new_agent(agent), at(seconds))
    };
    assert_eq!(redeem("no such token", 7, 1, 1).await?, refused(TokenRefusal::Unknown));
    assert_eq!(redeem("used", 8, 1, 1).await?, refused(TokenRefusal::Unknown));
    assert_eq!(redeem("late", 7, 1, 3600).await?, refused(TokenRefusal::Expired));
    assert_eq!(store.agents().await?, []);

    let Redeemed::Agent(agent) = redeem("used", 7, 1, 3599).await? else {
        panic!("a good token was refused");
    };
    assert_eq!((agent.id, agent.site, agent.status), (AgentId([1; 16]), site, AgentStatus::Active));
    assert_eq!((agent.enrolled_at, agent.last_seen), (at(3599), None));

    // The answer was lost, the agent asks again with its key and a fresh id, past the token's life.
    let mut again = new_agent(1);
    again.id = AgentId([99; 16]);
    let answer = store.redeem_token("used", [7; 32], again, at(3599 + 600)).await?;
    assert_eq!(answer, Redeemed::Agent(agent.clone()));
    assert_eq!(redeem("used", 7, 1, 3599 + 601).await?, refused(TokenRefusal::Used));
    assert_eq!(redeem("used", 7, 2, 3600).await?, refused(TokenRefusal::Used));
    assert_eq!(store.agents().await?, std::slice::from_ref(&agent));

    store.revoke_agent(agent.id, at(3700)).await?;
    assert_eq!(redeem("used", 7, 1, 3701).await?, refused(TokenRefusal::Used));
    Ok(())
}

/// Using a certificate retires the older ones; nothing of a withdrawn agent is good.
pub async fn certificates_are_retired_by_newer_ones(
    store: &(impl SiteStore + AgentStore),
) -> Result<()> {
    let (site, agent) = site_with_agent(store, 1).await?;
    let other = enrol(store, site, 2).await?;
    let certificate = |serial: &str, days: i64| Certificate {
        serial: serial.to_owned(),
        spki_sha256: [5; 32],
        expires_at: at(days * 86_400),
    };
    for (serial, days) in [("0a", 90), ("0b", 180), ("0c", 270)] {
        store.add_certificate(agent, certificate(serial, days)).await?;
    }
    let twice = store.add_certificate(agent, certificate("0a", 1)).await;
    assert!(matches!(twice, Err(StoreError::Duplicate(_))), "{twice:?}");
    assert!(is_not_found(&store.add_certificate(AgentId([77; 16]), certificate("0a", 1)).await));

    assert!(store.use_certificate(agent, "0a").await?);
    assert!(!store.use_certificate(other, "0a").await?);
    assert!(!store.use_certificate(agent, "0d").await?);
    let shown = store.agent(agent).await?.expect("enrolled");
    assert_eq!(
        (shown.certificate_serial.as_str(), shown.certificate_expires_at),
        ("0a", at(90 * 86_400))
    );

    // The first use of 0b retires 0a; 0c, issued later, stays good.
    assert!(store.use_certificate(agent, "0b").await?);
    assert!(!store.use_certificate(agent, "0a").await?);
    assert!(store.certificate(agent, "0a").await?.is_none());
    let kept = store.certificate(agent, "0c").await?.expect("never superseded");
    assert_eq!((kept.spki_sha256, kept.expires_at), ([5; 32], at(270 * 86_400)));
    assert!(store.use_certificate(agent, "0b").await?);
    assert_eq!(store.agent(agent).await?.expect("enrolled").certificate_serial, "0b");

    let seen = vec![(agent, at(50), "0.2.0".to_owned()), (AgentId([77; 16]), at(1), String::new())];
    store.touch_agents(seen).await?;
    store.touch_agents(vec![(agent, at(40), "0.2.1".to_owned())]).await?;
    let shown = store.agent(agent).await?.expect("enrolled");
    assert_eq!((shown.last_seen, shown.version.as_str()), (Some(at(50)), "0.2.1"));

    store.revoke_agent(agent, at(60)).await?;
    store.revoke_agent(agent, at(61)).await?;
    assert!(is_not_found(&store.revoke_agent(AgentId([77; 16]), at(60)).await));
    assert!(!store.use_certificate(agent, "0b").await?);
    assert!(!store.use_certificate(agent, "0c").await?);
    assert!(store.certificate(agent, "0b").await?.is_none());
    let agents = store.agents().await?;
    assert_eq!(agents.len(), 2);
    assert_eq!(agents[0].status, AgentStatus::Revoked);
    assert_eq!(agents[1].status, AgentStatus::Active);
    Ok(())
}
