//! Which devices are asked at one time: those that answer promptly never wait for those that do not.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::sleep,
};

/// Devices that were slow have this share of the slots: the others always find one.
const SLOW_DIVISOR: usize = 2;
/// Time-outs of a device that a slot is held for although others wait: one that is dead is asked
/// twice and so told from one that was never asked.
const HELD_TIMEOUTS: u32 = 2;
/// And what it takes beside the time-outs.
const HELD_REST: Duration = Duration::from_secs(1);

/// Places for devices that are being asked.
#[derive(Debug)]
pub(super) struct Slots {
    all: Pool,
    slow: Pool,
}

/// A wait for a place, which its owner bounds.
pub(super) type Wait<'a> = Pin<Box<dyn Future<Output = Slot<'a>> + Send + 'a>>;

/// A place. Given back when dropped.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    _all: SemaphorePermit<'a>,
    slow: Option<SemaphorePermit<'a>>,
}

impl Slots {
    /// At most `devices` are asked at one time.
    #[must_use]
    pub(super) fn new(devices: usize) -> Self {
        Self { all: Pool::new(devices), slow: Pool::new((devices / SLOW_DIVISOR).max(1)) }
    }

    /// A place for a device, which `is_slow` when its last round took longer than one time-out;
    /// `None` when it has to wait.
    pub(super) fn try_take(&self, is_slow: bool) -> Option<Slot<'_>> {
        // Those that wait come first: a place that is given back is theirs.
        let slow = if is_slow { Some(self.slow.places.try_acquire().ok()?) } else { None };
        Some(Slot { slots: self, _all: self.all.places.try_acquire().ok()?, slow })
    }

    /// Waits for a place, in the order of those who wait. One that is late for a round goes on
    /// waiting for the next: else devices whose rounds fall in step would be served in the same order
    /// for ever, and the last of them never.
    pub(super) fn wait(&self, is_slow: bool) -> Wait<'_> {
        Box::pin(async move {
            let slow = if is_slow { Some(self.slow.take().await) } else { None };
            Slot { slots: self, _all: self.all.take().await, slow }
        })
    }
}

impl Slot<'_> {
    /// Returns when the device, whose answers are waited for up to `timeout` each, has had its time
    /// and another waits for the place.
    pub(super) async fn is_over(&self, timeout: Duration) {
        sleep(timeout * HELD_TIMEOUTS + HELD_REST).await;
        if self.slow.is_none() {
            return self.slots.all.is_wanted().await;
        }
        tokio::select! {
            () = self.slots.all.is_wanted() => {}
            () = self.slots.slow.is_wanted() => {}
        }
    }
}

#[derive(Debug)]
struct Pool {
    places: Semaphore,
    waiting: AtomicUsize,
    /// One notice for each that begins to wait.
    wanted: Notify,
}

impl Pool {
    fn new(places: usize) -> Self {
        let places = Semaphore::new(places);
        Self { places, waiting: AtomicUsize::new(0), wanted: Notify::new() }
    }

    async fn take(&self) -> SemaphorePermit<'_> {
        let _waits = Waits::new(&self.waiting);
        self.wanted.notify_one();
        match self.places.acquire().await {
            Ok(place) => place,
            // The pool is never closed.
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Returns when somebody waits; of several who listen, the first.
    async fn is_wanted(&self) {
        while self.waiting.load(Ordering::Relaxed) == 0 {
            self.wanted.notified().await;
        }
    }
}

/// One who waits, counted while it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn slow_devices_leave_half_of_the_places_to_the_others() {
        let slots = Slots::new(4);
        let one = slots.try_take(true).unwrap();
        let _two = slots.try_take(true).unwrap();
        assert!(slots.try_take(true).is_none());
        let _three = slots.try_take(false).unwrap();
        let _four = slots.try_take(false).unwrap();
        assert!(slots.try_take(false).is_none());
        drop(one);
        assert!(slots.try_take(true).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_given_up_when_its_time_is_over_and_another_waits() {
        let slots = Slots::new(1);
        let began = Instant::now();
        let held = slots.try_take(false).unwrap();
        let holder = async {
            held.is_over(S).await;
            drop(held);
            began.elapsed()
        };
        let waiter = async {
            sleep(S).await;
            slots.wait(false).await;
            began.elapsed()
        };
        assert_eq!(tokio::join!(holder, waiter), (3 * S, 3 * S));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_nobody_wants_is_kept() {
        let slots = Slots::new(2);
        let slow = slots.try_take(true).unwrap();
        let prompt = slots.try_take(false).unwrap();
        assert!(timeout(60 * S, slow.is_over(S)).await.is_err());
        // One who came and went does not count.
        assert!(timeout(S, slots.wait(false)).await.is_err());
        assert!(timeout(60 * S, slow.is_over(S)).await.is_err());
        // One that waits for a slow device's place does not drive a prompt one away.
        tokio::select! {
            _ = slots.wait(true) => panic!("the slow device's place is taken"),
            () = prompt.is_over(S) => panic!("a prompt device's place is of no use to it"),
            () = slow.is_over(S) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_late_keeps_its_place_in_the_queue() {
        let slots = Slots::new(1);
        let held = slots.try_take(false).unwrap();
        let mut first = slots.wait(false);
        assert!(timeout(S, &mut first).await.is_err());
        let mut second = slots.wait(false);
        assert!(timeout(S, &mut second).await.is_err());
        drop(held);
        assert!(slots.try_take(false).is_none(), "it is the first one's");
        assert!(timeout(S, &mut second).await.is_err());
        drop(timeout(S, first).await.unwrap());
        assert!(timeout(S, second).await.is_ok());
    }
}
