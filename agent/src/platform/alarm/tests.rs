use futures_util::future::join_all;

use super::*;
use crate::platform::boot_ns;

const MS: u64 = 1_000_000;
const LATE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_wait_ends_at_its_time_and_never_before() {
    let alarm = Alarm::start().unwrap();
    let now = boot_ns();
    // Out of order, two alike, one long past.
    let waits = [40, 5, 70, 5].map(|ms| now + ms * MS).into_iter().chain([1]);
    let ends = waits.map(|at| {
        let alarm = &alarm;
        async move {
            alarm.until(at).await;
            (at, boot_ns())
        }
    });
    let ends = tokio::time::timeout(LATE, join_all(ends)).await.unwrap();
    for (at, ended) in ends {
        assert!(ended >= at, "{at} ended at {ended}");
    }
    assert!(alarm.shared.lock().wakers.is_empty());
}

#[tokio::test]
async fn who_gives_up_the_earliest_wait_does_not_hold_up_the_next() {
    let alarm = Alarm::start().unwrap();
    let now = boot_ns();
    let given_up = tokio::time::timeout(Duration::from_millis(5), alarm.until(now + 50_000 * MS));
    let kept = alarm.until(now + 60 * MS);
    let (given_up, kept) = tokio::join!(given_up, tokio::time::timeout(LATE, kept));
    assert!(given_up.is_err());
    kept.unwrap();
    assert!(boot_ns() >= now + 60 * MS);
    assert!(alarm.shared.lock().wakers.is_empty());
}

#[tokio::test]
async fn a_wait_that_is_earlier_than_all_others_comes_first() {
    let alarm = Arc::new(Alarm::start().unwrap());
    let late = {
        let alarm = Arc::clone(&alarm);
        tokio::spawn(async move { alarm.until(boot_ns() + 60_000 * MS).await })
    };
    tokio::task::yield_now().await;
    tokio::time::timeout(LATE, alarm.until(boot_ns() + 10 * MS)).await.unwrap();
    assert!(!late.is_finished());
    late.abort();
}
