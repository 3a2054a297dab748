//! The suite that every backend must pass.
//!
//! Each function is one law, tried on a store of its own that is empty at the start; a backend's
//! tests make the store and call them all. A broken law panics with what was expected; an error of
//! the store is returned.
#![expect(clippy::missing_panics_doc, reason = "every law panics where it is broken")]

mod ingest;
mod inventory;
mod mails;
mod mesh;
mod people;
mod samples;
pub(crate) mod targets;

use domain::{
    id::{AgentId, SiteId},
    site::{SiteFacts, SiteKind, Zone},
    uai::Uai,
};
use jiff::{SignedDuration, Timestamp};

use crate::{AgentStore, NewAgent, NewToken, Redeemed, Result, SiteStore, StoreError};

pub use ingest::{
    a_refused_or_foreign_record_is_dealt_with, clocks_and_gaps_are_remembered,
    declared_losses_move_the_watermark, gaps_come_with_their_records,
    nothing_of_a_withdrawn_agent_is_taken, records_are_taken_once, rolled_back_spools_are_noticed,
};
#[cfg(test)]
pub(crate) use ingest::{commit, record, samples};
pub use inventory::{
    a_device_is_known_again_wherever_it_answers, devices_that_are_not_seen_are_missing_and_stay,
    what_devices_tell_of_each_other_is_the_last_rounds,
};
pub use mails::{
    a_lost_lease_repeats_only_what_may_not_have_been_sent, incidents_open_and_close_once,
    mails_are_sent_in_order_and_once,
};
pub use mesh::links_between_sites_are_kept;
pub use people::{
    certificates_are_retired_by_newer_ones, imports_are_all_or_nothing, sites_are_kept,
    tokens_are_redeemed_once,
};
pub use samples::{
    Samples, a_narrow_counter_wraps_where_its_line_allows_it,
    access_ports_have_five_minutes_after_their_samples, each_detail_is_kept_for_its_time,
    late_records_join_their_day, no_rate_is_computed_over_a_restart_or_a_gap, payload,
    percentiles_are_of_nearest_rank, questions_do_not_see_where_samples_are_kept, read_payload,
    signs_are_the_newest_there_is,
};
#[cfg(test)]
pub(crate) use samples::{School, answers as all_answers, cells, keep, upkeep};
pub use targets::{
    devices_are_what_they_said_last, layouts_follow_the_targets,
    rungs_are_told_from_operators_targets, targets_are_kept,
};

/// Where the suite's time starts: 2026-03-02 08:00 UTC.
pub(crate) const NOON_MS: i64 = 1_772_438_400_000;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH
        + SignedDuration::from_millis(NOON_MS)
        + SignedDuration::from_secs(seconds)
}

pub(crate) fn facts(number: u32) -> SiteFacts {
    SiteFacts {
        uai: Uai::from_number(number).expect("a number of seven digits"),
        name: format!("École n° {number}"),
        kind: SiteKind::Primaire,
        zone: Zone::C,
        pupils: Some(120),
        lot: Some("1".to_owned()),
        address: Some("1, rue de l'École".to_owned()),
        position: Some((48.85, 2.35)),
    }
}

/// Enrols an agent at a site, by the token that its number names.
pub(crate) async fn enrol(store: &impl AgentStore, site: SiteId, number: u8) -> Result<AgentId> {
    let token = NewToken {
        id: format!("token-{number}"),
        secret_sha256: [number; 32],
        site,
        created_at: at(0),
        expires_at: at(3600),
    };
    store.add_token(token).await?;
    let agent = new_agent(number);
    match store.redeem_token(&format!("token-{number}"), [number; 32], agent, at(1)).await? {
        Redeemed::Agent(agent) => Ok(agent.id),
        Redeemed::Refused(why) => panic!("the token of agent {number} was refused: {why:?}"),
    }
}

pub(crate) fn new_agent(number: u8) -> NewAgent {
    NewAgent {
        id: AgentId([number; 16]),
        spki_sha256: [number; 32],
        hostname: format!("srv-{number}"),
        version: "0.1.0".to_owned(),
    }
}

/// A site with one agent.
pub(crate) async fn site_with_agent(
    store: &(impl SiteStore + AgentStore),
    number: u8,
) -> Result<(SiteId, AgentId)> {
    let site = store.add_site(facts(u32::from(number))).await?.id;
    Ok((site, enrol(store, site, number).await?))
}

pub(crate) fn is_not_found<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(StoreError::NotFound(_)))
}
