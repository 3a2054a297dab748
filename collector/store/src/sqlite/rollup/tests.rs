use domain::{
    percentile::class_of,
    rate::Life,
    rollup::{self, Rule, fold},
    sample::{Sample, Span},
};
use proptest::prelude::*;

use super::{classes::Classes, wide::Wide, *};
use crate::sqlite::blocks::DAY_MS;

const DAY: i64 = 20_000 * DAY_MS;

fn any_rolls() -> impl Strategy<Value = (Kind, Vec<Roll>)> {
    let step = prop_oneof![8 => Just(60_000_i64), 1 => 0..7_200_000_i64];
    let samples = prop::collection::vec((step, prop::option::weighted(0.9, any::<i32>())), 0..400);
    (0..3_usize, samples).prop_map(|(kind, samples)| {
        let kind = [Kind::Gauge, Kind::Counter, Kind::State][kind];
        let (mut t_ms, mut counter) = (DAY, 0);
        let samples: Vec<_> = samples
            .into_iter()
            .map(|(step, value)| {
                t_ms += step;
                let value = value.map(|v| {
                    counter += i64::from(v).abs();
                    if kind == Kind::Counter { counter } else { v.into() }
                });
                Sample { t_ms, value }
            })
            .collect();
        let rule = Rule { kind, step_ms: FINE_MS, period_ms: 60_000 };
        let span = Span { from_ms: DAY, to_ms: DAY + DAY_MS };
        (kind, rollup::roll(&samples, Life::default(), rule, span))
    })
}

proptest! {
    #[test]
    fn fine_buckets_are_decoded_as_encoded_and_their_means_agree((kind, rolls) in any_rolls()) {
        let mut item = Vec::new();
        encode_fine(&rolls, kind, DAY, &mut item).unwrap();
        let mut found = Vec::new();
        means(&item, DAY, DAY, DAY + DAY_MS, &mut Scratch::default(), &mut found).unwrap();
        prop_assert_eq!(found, rolls.iter().filter_map(|r| r.mean(kind)).collect::<Vec<_>>());
        prop_assert_eq!(decode_fine(&item, DAY).unwrap(), (kind, rolls));
    }

    #[test]
    fn wide_buckets_are_decoded_as_encoded(groups in prop::collection::vec(any_rolls(), 0..5)) {
        let all: Vec<_> = (1..)
            .zip(groups)
            .map(|(series, (kind, rolls))| Wide {
                series: series * 7,
                kind,
                rolls: fold(&rolls, kind, 3_600_000),
            })
            .collect();
        let bytes = wide::encode(&all, DAY, 3_600_000).unwrap();
        let one = wide::decode(&bytes, DAY, 3_600_000, Some(14)).unwrap();
        prop_assert_eq!(one.first(), all.get(1));
        prop_assert_eq!(wide::decode(&bytes, DAY, 3_600_000, None).unwrap(), all);
    }

    #[test]
    fn distributions_are_decoded_as_encoded(groups in prop::collection::vec(any_rolls(), 0..5)) {
        let all: Vec<_> = (1..)
            .zip(groups)
            .map(|(series, (kind, rolls))| {
                let mut slots: Vec<(i64, Vec<i64>)> = Vec::new();
                for roll in &rolls {
                    let hour = (roll.from_ms - DAY) / 3_600_000;
                    if slots.last().is_none_or(|last| last.0 != hour) {
                        slots.push((hour, Vec::new()));
                    }
                    let classes = &mut slots.last_mut().unwrap().1;
                    classes.extend(roll.mean(kind).map(|mean| i64::from(class_of(mean))));
                    classes.sort_unstable();
                }
                Classes { series, slots }
            })
            .collect();
        prop_assert_eq!(classes::decode(&classes::encode(&all).unwrap()).unwrap(), all);
    }

    #[test]
    fn damaged_rollups_never_panic(
        (kind, rolls) in any_rolls(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut item = Vec::new();
        encode_fine(&rolls, kind, DAY, &mut item).unwrap();
        let at_item = at.index(item.len());
        item[at_item] ^= 1 << bit;
        let _ = decode_fine(&item, DAY);
        let mut blob = wide::encode(&[Wide { series: 3, kind, rolls }], DAY, FINE_MS).unwrap();
        let at_blob = at.index(blob.len());
        blob[at_blob] ^= 1 << bit;
        let _ = wide::decode(&blob, DAY, FINE_MS, None);
        let _ = classes::decode(&blob);
    }
}
