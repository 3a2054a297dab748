//! A timer of the kernel's, shared by all who wait.
//!
//! The runtime's own timers sort by powers of 64 ms and wake the processor once or twice on the way
//! to each deadline; on a server that does little else these wake-ups cost more than the work. This
//! one wakes at the earliest deadline and at no other time. It also goes by the boot clock: a
//! deadline that passed while the machine slept is noticed as soon as it wakes.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use crate::logs::chain;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{net::unix::pipe::Receiver, task::JoinHandle};

/// Between two looks at a timer that can not be read.
const REST: Duration = Duration::from_secs(1);

/// The timer; ends with its value.
#[derive(Debug)]
pub struct Alarm {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// A timer's descriptor is read as a pipe is: eight bytes when it rang, else "would block".
    timer: Receiver,
    waiting: Mutex<Waiting>,
}

/// Who waits, the earliest first: as many as there are waits in progress.
#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<(u64, u64), Waker>,
    next_id: u64,
}

impl Alarm {
    /// Makes the timer and the task that hears it. In a runtime only.
    ///
    /// # Errors
    /// When the system has no timer to give.
    pub fn start() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let timer = Receiver::from_owned_fd_unchecked(timer)?;
        let shared = Arc::new(Shared { timer, waiting: Mutex::default() });
        let driver = tokio::spawn(drive(Arc::clone(&shared)));
        Ok(Self { shared, driver })
    }

    /// Waits until the boot clock shows `boot_ns`.
    pub async fn until(&self, boot_ns: u64) {
        let mut wait = Wait { shared: &self.shared, key: None };
        poll_fn(|context| {
            if super::boot_ns() >= boot_ns {
                return Poll::Ready(());
            }
            wait.register(boot_ns, context.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One who waits; waits no more when dropped.
struct Wait<'a> {
    shared: &'a Shared,
    key: Option<(u64, u64)>,
}

impl Wait<'_> {
    fn register(&mut self, boot_ns: u64, waker: &Waker) {
        let mut waiting = self.shared.lock();
        let key = *self.key.get_or_insert_with(|| {
            waiting.next_id += 1;
            (boot_ns, waiting.next_id)
        });
        waiting.wakers.insert(key, waker.clone());
        if waiting.wakers.first_key_value().is_some_and(|(first, _)| *first == key) {
            self.shared.set(boot_ns);
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // The timer stays as it is: an early wake-up is looked at and does no harm.
        if let Some(key) = self.key {
            self.shared.lock().wakers.remove(&key);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timer to a time of the boot clock.
    fn set(&self, boot_ns: u64) {
        // Zero would stop it.
        let (seconds, rest) = (boot_ns / 1_000_000_000, (boot_ns % 1_000_000_000).max(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(rest).unwrap_or(1),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval, it_value };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec) {
            // It took such a time before, from a valid descriptor of ours.
            tracing::error!(error = chain(&error), "cannot set the timer");
        }
    }

    /// Wakes those whose time has come, and sets the timer for the next.
    fn ring(&self) {
        let now = super::boot_ns();
        let mut waiting = self.lock();
        let later = waiting.wakers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut waiting.wakers, later);
        if let Some((&(next, _), _)) = waiting.wakers.first_key_value() {
            self.set(next);
        }
        drop(waiting);
        due.into_values().for_each(Waker::wake);
    }
}

async fn drive(shared: Arc<Shared>) {
    while shared.timer.readable().await.is_ok() {
        // How often it rang says nothing; reading makes it silent.
        match shared.timer.try_read(&mut [0; 8]) {
            Ok(_) => shared.ring(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Nobody may wait for ever, whatever became of the timer.
                tracing::error!(error = chain(&error), "cannot read the timer");
                tokio::time::sleep(REST).await;
                shared.ring();
            }
        }
    }
}

#[cfg(test)]
mod tests;
