mod epochs;
mod golden;
mod model;
mod opening;
mod others;
mod schema;

use super::*;

pub(super) fn options() -> SampleOptions {
    SampleOptions::new(crate::contract::read_payload)
}

macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $law() {
            let dir = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&dir.path().join("vigie.db"), options()).unwrap();
            crate::contract::$law(&store).await.unwrap();
        })+
    };
}

laws!(
    a_device_is_known_again_wherever_it_answers,
    devices_that_are_not_seen_are_missing_and_stay,
    what_devices_tell_of_each_other_is_the_last_rounds,
    access_ports_have_five_minutes_after_their_samples,
    a_refused_or_foreign_record_is_dealt_with,
    certificates_are_retired_by_newer_ones,
    clocks_and_gaps_are_remembered,
    gaps_come_with_their_records,
    declared_losses_move_the_watermark,
    devices_are_what_they_said_last,
    each_detail_is_kept_for_its_time,
    imports_are_all_or_nothing,
    incidents_open_and_close_once,
    late_records_join_their_day,
    layouts_follow_the_targets,
    links_between_sites_are_kept,
    mails_are_sent_in_order_and_once,
    a_lost_lease_repeats_only_what_may_not_have_been_sent,
    no_rate_is_computed_over_a_restart_or_a_gap,
    a_narrow_counter_wraps_where_its_line_allows_it,
    nothing_of_a_withdrawn_agent_is_taken,
    percentiles_are_of_nearest_rank,
    questions_do_not_see_where_samples_are_kept,
    signs_are_the_newest_there_is,
    records_are_taken_once,
    rolled_back_spools_are_noticed,
    sites_are_kept,
    targets_are_kept,
    rungs_are_told_from_operators_targets,
    tokens_are_redeemed_once,
);
