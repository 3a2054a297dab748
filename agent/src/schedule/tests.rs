use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const AGENT: [u8; 16] = [7; 16];

/// The time table of a 10 s group after its first round.
fn settled(now: u64) -> (Timetable, u64) {
    let mut table = Timetable::new(&AGENT, 1, Duration::from_secs(10), now);
    let first = table.next_due();
    assert_eq!(table.take(first).unwrap().due, first);
    (table, first)
}

#[test]
fn the_first_round_comes_soon_and_the_second_not_at_once() {
    for group in 0..200 {
        for period in [1, 10, 300, 86_400] {
            let now = 1_234 * S;
            let mut table = Timetable::new(&AGENT, group, Duration::from_secs(period), now);
            let first = table.next_due();
            assert!((now..now + 3 * S).contains(&first));
            assert!(!table.take(first).unwrap().confirms);
            let second = table.next_due();
            assert!(second >= first + period * S / 2 && second <= first + period * S * 3 / 2);
        }
    }
}

#[test]
fn groups_and_schools_are_spread_over_the_period() {
    let mut quarters = [0_usize; 4];
    for agent in 0..20 {
        for group in 0..20 {
            let mut table = Timetable::new(&[agent; 16], group, Duration::from_mins(1), 0);
            table.take(table.next_due()).unwrap();
            let quarter = usize::try_from(table.next_due() % (60 * S) / (15 * S)).unwrap();
            quarters[quarter] += 1;
        }
    }
    assert!(quarters.iter().all(|&count| (70..=130).contains(&count)), "{quarters:?}");
}

#[test]
fn a_change_is_confirmed_twice_and_a_confirmation_starts_no_other() {
    let (mut table, _) = settled(0);
    let at = table.next_due();
    table.take(at).unwrap();
    table.confirm(at + 20 * MS);
    let one = table.take(at + 3_020 * MS).unwrap();
    assert!(one.confirms);
    let two = table.take(at + 6_020 * MS).unwrap();
    assert!(two.confirms);
    assert_eq!(table.next_due(), at + 10 * S);
    assert_eq!(table.take(at + 9_020 * MS), None);
}

#[test]
fn a_target_that_flaps_costs_one_set_of_confirmations_in_three_periods() {
    let (mut table, _) = settled(0);
    let mut kinds = Vec::new();
    for _ in 0..40 {
        let at = table.next_due();
        let tick = table.take(at).unwrap();
        kinds.push(tick.confirms);
        if !tick.confirms {
            table.confirm(at + 20 * MS);
        }
    }
    // Regular, two confirmations, regular, regular, and again.
    let expected = [false, true, true, false, false];
    assert!(kinds.chunks(5).all(|set| set == expected), "{kinds:?}");
}

#[test]
fn a_regular_round_is_never_lost_to_a_confirmation() {
    let mut table = Timetable::new(&AGENT, 1, Duration::from_secs(1), 0);
    table.take(table.next_due()).unwrap();
    let at = table.next_due();
    table.take(at).unwrap();
    table.confirm(at + 10 * MS);
    let next = table.take(at + 1_010 * MS).unwrap();
    assert_eq!((next.due, next.skipped, next.confirms), (at + S, 0, false));
    assert_eq!(table.next_due(), at + 2 * S, "the confirmation was due and is not run behind it");
}

#[test]
fn a_stall_is_skipped_and_told() {
    let (mut table, _) = settled(0);
    let at = table.next_due();
    let tick = table.take(at + 35 * S).unwrap();
    let (due, late) = (at + 30 * S, at + 40 * S);
    let (confirms, rests) = (false, false);
    assert_eq!(tick, Tick { due, skipped: 3, skipped_from: at, late, confirms, rests });
    assert_eq!(table.take(at + 35 * S), None, "no bunching");
    assert_eq!(table.next_due(), at + 40 * S);
}

#[test]
fn a_group_that_failed_in_itself_rests_and_each_round_of_its_rest_is_told() {
    let (mut table, _) = settled(0);
    let at = table.next_due();
    assert!(!table.take(at).unwrap().rests);
    table.confirm(at);
    table.back_off(at + 25 * S);
    for (round, rests) in [(1, true), (2, true), (3, false), (4, false)] {
        let due = at + round * 10 * S;
        assert_eq!(table.next_due(), due, "no confirmation in between");
        let tick = table.take(due).unwrap();
        assert_eq!((tick.skipped, tick.rests), (0, rests), "round {round}");
    }
}

proptest! {
    #[test]
    fn every_regular_round_is_run_once_or_skipped_once(
        steps in prop::collection::vec((0..40_000_u64, any::<bool>()), 1..60),
        period in 1..30_u64,
    ) {
        let mut table = Timetable::new(&AGENT, 3, Duration::from_secs(period), 0);
        let mut now = table.next_due();
        table.take(now).unwrap();
        let origin = table.next_due();
        let (mut run, mut skipped) = (0, 0);
        for (step, change) in steps {
            now += step * MS;
            if let Some(tick) = table.take(now) {
                prop_assert!(tick.due <= now);
                if !tick.confirms {
                    prop_assert_eq!((tick.due - origin) % (period * S), 0);
                    run += 1;
                    skipped += tick.skipped;
                    if change {
                        table.confirm(now);
                    }
                }
                prop_assert_eq!(table.take(now), None, "one round at a time");
            }
        }
        prop_assert_eq!(run + skipped, (table.next - origin) / (period * S));
    }
}

#[test]
fn consecutive_misses_are_one_stretch_and_separate_ones_two() {
    let mut missed = Missed::default();
    let miss = |from, to| Stretch { reason: GapReason::GapOverload, group: 4, from, to, rounds: 1 };
    missed.note(miss(0, 10));
    missed.note(miss(10, 20));
    missed.note(miss(30, 40));
    let told: Vec<_> = missed.drain().map(|s| (s.from, s.to, s.rounds)).collect();
    assert_eq!(told, [(0, 20, 2), (30, 40, 1)]);
    assert_eq!(missed.drain().count(), 0);
}

#[test]
fn a_sleep_of_the_machine_is_one_stretch_for_all_groups() {
    let mut missed = Missed::default();
    for group in 1..=50 {
        let from = u64::from(group);
        missed.note(Stretch { reason: GapReason::GapSuspended, group, from, to: 1_000, rounds: 2 });
    }
    let told: Vec<_> = missed.drain().collect();
    let all =
        Stretch { reason: GapReason::GapSuspended, group: 0, from: 1, to: 1_000, rounds: 100 };
    assert_eq!(told, [all]);
}

#[test]
fn what_is_collected_is_bounded_and_counted_whole() {
    let mut missed = Missed::default();
    for n in 0..10_000_u32 {
        let from = u64::from(n) * 10;
        missed.note(Stretch {
            reason: GapReason::GapOverload,
            group: n + 1,
            from,
            to: from + 5,
            rounds: 1,
        });
    }
    let told: Vec<_> = missed.drain().collect();
    assert_eq!(told.len(), MAX_STRETCHES + 1);
    assert_eq!(told.iter().map(|stretch| stretch.rounds).sum::<u64>(), 10_000);
}

#[test]
fn a_round_ends_before_the_next_begins() {
    let group = |probe, timeout| Group {
        id: 1,
        layout: 1,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(timeout),
        probe,
        columns: Vec::new(),
    };
    let burst = |count| ProbeKind::Icmp {
        targets: vec![IpAddr::from([10, 0, 0, 1]).into(); 3],
        count,
        spacing: Duration::from_millis(100),
        payload_bytes: 56,
    };
    assert_eq!(round_limit(&group(burst(10), 1)), Duration::from_secs(3));
    assert_eq!(round_limit(&group(burst(10), 9)), Duration::from_secs(10));
    assert_eq!(packets(&group(burst(10), 1)), 30);
    assert_eq!(packets(&group(ProbeKind::Host, 1)), 0);
}
