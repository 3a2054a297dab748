use proptest::prelude::*;

use super::*;

const DAY: Span = Span { from_ms: 0, to_ms: 86_400_000 };

fn rule(kind: Kind, step_ms: i64) -> Rule {
    Rule { kind, step_ms, period_ms: 60_000 }
}

fn minute(values: &[Option<i64>]) -> Vec<Sample> {
    (0..).zip(values).map(|(i, &value)| Sample { t_ms: i * 60_000, value }).collect()
}

#[test]
fn a_gauge_is_counted_summed_and_compared_and_nothing_obtained_is_no_value() {
    let samples = minute(&[Some(4), None, Some(-2), Some(7), Some(3), Some(9)]);
    let rolls = roll(&samples, Life::default(), rule(Kind::Gauge, 300_000), DAY);
    assert_eq!(
        rolls,
        [
            Roll { from_ms: 0, count: 4, covered_ms: 240_000, sum: 12, min: -2, max: 7, last: 3 },
            Roll {
                from_ms: 300_000,
                count: 1,
                covered_ms: 60_000,
                sum: 9,
                min: 9,
                max: 9,
                last: 9
            },
        ]
    );
    assert_eq!(rolls[0].mean(Kind::Gauge), Some(3.0));
}

#[test]
fn a_bucket_without_a_value_is_absent() {
    assert_eq!(roll(&minute(&[None, None]), Life::default(), rule(Kind::Gauge, 300_000), DAY), []);
}

#[test]
fn the_growth_across_an_edge_is_shared_by_time() {
    let samples = [(280_000, 1_000), (340_000, 4_000)]
        .map(|(t_ms, value)| Sample { t_ms, value: Some(value) });
    let rolls = roll(&samples, Life::default(), rule(Kind::Counter, 300_000), DAY);
    assert_eq!(
        rolls.iter().map(|r| (r.covered_ms, r.sum, r.last)).collect::<Vec<_>>(),
        [(20_000, 1_000, 2_000), (40_000, 2_000, 4_000)]
    );
    assert_eq!(rolls[0].mean(Kind::Counter), Some(50.0));
}

#[test]
fn a_counter_read_less_often_than_the_bucket_is_wide_fills_every_bucket() {
    let samples = [(0, 0), (900_000, 900)].map(|(t_ms, value)| Sample { t_ms, value: Some(value) });
    let slow = Rule { kind: Kind::Counter, step_ms: 300_000, period_ms: 900_000 };
    let rolls = roll(&samples, Life::default(), slow, DAY);
    assert_eq!(
        rolls.iter().map(|r| (r.count, r.covered_ms, r.sum, r.last)).collect::<Vec<_>>(),
        [(1, 300_000, 300, 300), (0, 300_000, 300, 600), (0, 300_000, 300, 900), (1, 0, 0, 900)]
    );
}

#[test]
fn one_reading_of_a_counter_tells_no_rate() {
    let rolls = roll(&minute(&[Some(77)]), Life::default(), rule(Kind::Counter, 300_000), DAY);
    assert_eq!((rolls[0].count, rolls[0].last, rolls[0].mean(Kind::Counter)), (1, 77, None));
}

#[test]
fn extreme_rates_are_rounded_outwards_by_less_than_a_fifth_of_a_percent() {
    for rate in [0, 1, 1_023, 1_024, 1_025, 123_456_789, MOST_RATE] {
        let (down, up) = (round_down(rate), round_up(rate));
        assert!(down <= rate && up >= rate, "{rate}");
        assert!((up.abs_diff(down)) as f64 <= rate as f64 / 500.0, "{rate}");
    }
    assert_eq!(round_up(i64::MAX), MOST_RATE);
}

fn any_day() -> impl Strategy<Value = Vec<Sample>> {
    let step = prop_oneof![9 => 59_000_i64..61_000, 1 => 0_i64..900_000];
    let value = prop::option::weighted(0.95, 0_i64..1 << 40);
    prop::collection::vec((step, value), 0..300).prop_map(|steps| {
        let mut t_ms = -600_000;
        steps
            .into_iter()
            .map(|(step, value)| {
                t_ms += step;
                Sample { t_ms, value }
            })
            .collect()
    })
}

fn growing(mut samples: Vec<Sample>) -> Vec<Sample> {
    let mut counter = 0_i64;
    for sample in &mut samples {
        // Now and then the device restarts.
        sample.value = sample.value.map(|v| {
            counter = if v % 17 == 0 { v % 5 } else { counter + v };
            counter
        });
    }
    samples
}

#[test]
fn after_a_restart_the_last_value_is_of_the_new_life() {
    let samples = minute(&[Some(500), Some(600), Some(7)]);
    let rolls = roll(&samples, Life::default(), rule(Kind::Counter, 300_000), DAY);
    assert_eq!((rolls[0].covered_ms, rolls[0].sum, rolls[0].last), (60_000, 100, 7));
}

proptest! {
    #[test]
    fn a_rounded_rate_survives_its_code_and_codes_keep_the_order(a in 0..i64::MAX, b in 0..i64::MAX, s in 0..63) {
        let (a, b) = (round_down(a >> s), round_up(b >> s));
        prop_assert_eq!((code_rate(rate_code(a)), code_rate(rate_code(b))), (a, b));
        prop_assert_eq!(a.cmp(&b), rate_code(a).cmp(&rate_code(b)));
    }

    #[test]
    fn any_code_gives_a_rate(code: i64) {
        prop_assert!(code_rate(code) >= 0);
    }

    #[test]
    fn the_totals_of_a_gauges_buckets_are_those_of_its_samples(samples in any_day(), step in 0..3_usize) {
        let step_ms = [300_000, 3_600_000, 86_400_000][step];
        let rolls = roll(&samples, Life::default(), rule(Kind::Gauge, step_ms), DAY);
        let inside: Vec<i64> = samples
            .iter()
            .filter(|s| (0..DAY.to_ms).contains(&s.t_ms))
            .filter_map(|s| s.value)
            .collect();
        prop_assert_eq!(rolls.iter().map(|r| r.count as usize).sum::<usize>(), inside.len());
        prop_assert_eq!(rolls.iter().map(|r| r.sum).sum::<i64>(), inside.iter().sum::<i64>());
        prop_assert_eq!(rolls.iter().map(|r| r.min).min(), inside.iter().copied().min());
        prop_assert_eq!(rolls.iter().map(|r| r.max).max(), inside.iter().copied().max());
        prop_assert_eq!(rolls.last().map(|r| r.last), inside.last().copied());
    }

    #[test]
    fn the_growth_of_a_counters_buckets_is_that_of_its_intervals(samples in any_day()) {
        let samples = growing(samples);
        let rolls = roll(&samples, Life::default(), rule(Kind::Counter, 300_000), DAY);
        let known: Vec<_> = rate::intervals(samples.iter().copied(), 180_000, Life::default()).collect();
        let (grown, covered) = known
            .iter()
            .map(|interval| interval.inside(DAY))
            .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        prop_assert_eq!(rolls.iter().map(|r| r.sum.cast_unsigned()).sum::<u64>(), grown);
        prop_assert_eq!(rolls.iter().map(|r| u64::from(r.covered_ms)).sum::<u64>(), covered);
        prop_assert!(rolls.windows(2).all(|w| w[0].from_ms < w[1].from_ms));
        prop_assert!(rolls.iter().all(|r| r.covered_ms <= 300_000));
    }

    #[test]
    fn folded_buckets_are_those_rolled_at_once(samples in any_day(), counter: bool, day: bool) {
        let kind = if counter { Kind::Counter } else { Kind::Gauge };
        let samples = if counter { growing(samples) } else { samples };
        let step_ms = if day { 86_400_000 } else { 3_600_000 };
        let fine = roll(&samples, Life::default(), rule(kind, 300_000), DAY);
        let mut folded = fold(&fine, kind, step_ms);
        let mut direct = roll(&samples, Life::default(), rule(kind, step_ms), DAY);
        if !counter {
            // A gauge's coverage is capped bucket by bucket, so the finer one never says more.
            for (folded, direct) in folded.iter_mut().zip(&mut direct) {
                prop_assert!(folded.covered_ms <= direct.covered_ms);
                folded.covered_ms = direct.covered_ms;
            }
        }
        prop_assert_eq!(folded, direct);
    }
}
