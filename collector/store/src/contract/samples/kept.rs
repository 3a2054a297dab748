//! What is kept of samples, and for how long.

use domain::sample::Span;

use super::{
    ACCESS, COUNTER, DAY, DAY_MS, HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Samples, School, answers, cells,
    keep, upkeep,
};
use crate::{EdgeSpec, Result, Step};

/// Samples, five-minute, hourly and daily buckets are deleted each in its time; a percentile then
/// comes from what is left, within 2 %.
pub async fn each_detail_is_kept_for_its_time(store: &impl Samples) -> Result<()> {
    let school = School::new(store, 1, 60).await?;
    let records = (0..1_440).map(|minute| {
        let t_ms = MIDNIGHT_MS + minute * MINUTE_MS;
        school.round(minute.unsigned_abs() + 1, t_ms, cells(minute))
    });
    keep(store, records.collect()).await?;
    let fresh = answers(store, &school, DAY).await?;
    let (id, access) = (school.series(COUNTER), school.series(ACCESS));
    // Days after the measure; whether samples, five-minute, hourly, daily buckets remain.
    let ages = [
        (1, [true, true, true, true]),
        (20, [false, true, true, true]),
        (400, [false, false, true, true]),
        (1_200, [false, false, false, true]),
        (3_700, [false, false, false, false]),
    ];
    for (days, kept) in ages {
        upkeep(store, DAY.to_ms + days * DAY_MS).await?;
        let samples = !store.read(school.site, vec![id], DAY).await?[0].samples.is_empty();
        let mut found = vec![samples];
        for (step, before) in [Step::FiveMinutes, Step::Hour, Step::Day].into_iter().zip(0..) {
            let buckets = store.buckets(school.site, id, DAY, step).await?;
            assert!(buckets.is_empty() || buckets == fresh.buckets[before], "{days} days");
            found.push(!buckets.is_empty());
        }
        assert_eq!(found, kept, "after {days} days");
        let asked = vec![(school.site, id), (school.site, access)];
        let found = store.percentiles(asked, EdgeSpec { span: DAY, p: 0.95 }).await?;
        for (found, exact) in found.iter().zip([COUNTER, ACCESS].map(|c| fresh.percentiles[c])) {
            let (exact, n) = exact.expect("a percentile of a whole day");
            match found {
                None => assert_eq!(days, 3_700, "a percentile is known as long as any bucket"),
                Some((value, found_n)) => {
                    assert!(
                        (value / exact - 1.0).abs() < 0.02,
                        "{days} days: {value}, not {exact}"
                    );
                    assert_eq!(*found_n, n);
                }
            }
        }
        if days == 20 {
            // Too late to be merged: it must not replace what the day's samples said.
            let late = school.round(2_000, MIDNIGHT_MS + 5, [Some(0); 5]);
            let before = answers(store, &school, DAY).await?;
            keep(store, vec![late]).await?;
            let now = answers(store, &school, DAY).await?;
            assert!((now.buckets, now.percentiles) == (before.buckets, before.percentiles));
            let report = upkeep(store, DAY.to_ms + days * DAY_MS + HOUR_MS).await?;
            assert_eq!((report.blocks, report.expired, report.head_rows), (0, 1, 1));
        }
    }
    Ok(())
}

/// Access ports have their five-minute buckets from their samples while these are kept, and for some
/// weeks longer, to the last figure: midnight, restarts, and what came late included.
pub async fn access_ports_have_five_minutes_after_their_samples(
    store: &impl Samples,
) -> Result<()> {
    let school = School::new(store, 1, 60).await?;
    let days = Span { from_ms: DAY.from_ms, to_ms: DAY.to_ms + 2 * DAY_MS };
    let round = |minute: i64| {
        let mut cells = cells(minute);
        cells[ACCESS] = Some(3_000_000_000 + minute * 40_000 + minute * minute % 9_973);
        if minute > 1_443 {
            // The device restarted soon after the first midnight.
            cells[1] = Some((minute - 1_443) * 6_000);
        }
        let t_ms = MIDNIGHT_MS + minute * MINUTE_MS + 17_000;
        school.round(minute.unsigned_abs() + 1, t_ms, cells)
    };
    // Of the second day an hour comes late.
    let late = 2_000..2_060;
    let in_time = (0..3 * 1_440).filter(|minute| !late.contains(minute));
    keep(store, in_time.map(round).collect()).await?;
    let (id, port) = ((school.site, school.series(ACCESS)), school.series(ACCESS));
    let all = async || {
        let whole = EdgeSpec { span: days, p: 0.95 };
        let part = Span { from_ms: DAY.to_ms - 7 * HOUR_MS, to_ms: DAY.to_ms + 11 * HOUR_MS };
        let part = EdgeSpec { span: part, p: 0.5 };
        Ok::<_, crate::StoreError>((
            store.buckets(school.site, port, days, Step::FiveMinutes).await?,
            store.percentiles(vec![id], whole).await?,
            store.percentiles(vec![id], part).await?,
        ))
    };
    let has_samples = async |day: i64| {
        let from_ms = MIDNIGHT_MS + day * DAY_MS;
        let span = Span { from_ms, to_ms: from_ms + DAY_MS };
        Ok::<_, crate::StoreError>(
            !store.read(school.site, vec![port], span).await?[0].samples.is_empty(),
        )
    };
    let mut expected = all().await?;
    assert_eq!(expected.0.len(), 3 * 288 - 12);
    let mut made = 0;
    for age in [1, 5, 13, 14, 15, 16, 17, 18, 40, 59, 60] {
        // An hour into the day on which the first one is so old.
        let mut now_ms = MIDNIGHT_MS + age * DAY_MS + HOUR_MS;
        made += upkeep(store, now_ms).await?.access_days;
        if age == 15 {
            // The second day now has both its samples and its buckets.
            assert!(!has_samples(0).await? && has_samples(1).await?);
            let before = expected;
            keep(store, late.clone().map(round).collect()).await?;
            now_ms += HOUR_MS;
            upkeep(store, now_ms).await?;
            expected = all().await?;
            assert_eq!(expected.0.len(), before.0.len() + 12);
        }
        assert!(all().await? == expected, "{age} days");
    }
    assert!(!has_samples(2).await?);
    assert_eq!(made, 3, "once for each day");
    for (age, left) in [(61, 576), (62, 288), (63, 0)] {
        upkeep(store, MIDNIGHT_MS + age * DAY_MS + HOUR_MS).await?;
        let fine = all().await?.0;
        assert!(fine == expected.0[expected.0.len() - left..], "{age} days");
        let hours = store.buckets(school.site, port, days, Step::Hour).await?;
        assert_eq!(hours.len(), 72);
    }
    Ok(())
}
