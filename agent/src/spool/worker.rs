//! The spool's thread, and the handle through which the async side reaches it.
//!
//! Appending never waits: when the disk is too slow for what is measured, [`SpoolHandle::try_append`]
//! says so and the scheduler skips, and declares that it skipped. Reads are answered by the same
//! thread between commits.
//!
//! Waking a thread costs more than most of what it is woken for, so the thread sleeps until the next
//! commit is due: what can wait for that lies in the queue until then.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{JoinHandle, Thread},
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::{
    AckOutcome, AppendError, Batch, NewRecord, OpenError, Range, ReadRequest, Recovery, Spool,
    SpoolConfig, SpoolStatus, store,
};
use crate::{clock::Clock, logs::chain, planted};

/// Payload bytes that may wait for the thread.
pub const QUEUE_BYTES: usize = 8 << 20;
/// Records that may wait for the thread.
pub const QUEUE_RECORDS: usize = 8192;
/// Bytes that are committed without waiting for the interval's end.
pub const COMMIT_BYTES: usize = 256 << 10;
/// Wait of an urgent record, for others to share its commit.
pub const URGENT_WAIT: Duration = Duration::from_millis(20);
/// Time between looks at caps and free space.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10);
/// Places of the queue kept for requests.
const QUEUE_REQUESTS: usize = 64;
/// Commands between two looks whether a commit is due.
const MAX_TURN: usize = 256;
/// What a record weighs in the queue besides its payload.
const RECORD_WEIGHT: usize = 64;

/// Why the spool's thread did not do as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Its queue is full: the disk does not keep up.
    #[error("the spool's queue is full")]
    Full,
    /// It has stopped.
    #[error("the spool's thread has stopped")]
    Stopped,
    /// It would never take this record: trying again is of no use.
    #[error("the spool takes no such record")]
    Refused(#[from] AppendError),
}

enum Command {
    /// The record, and when it must be durable.
    Append(NewRecord, Instant),
    Commit(oneshot::Sender<SpoolStatus>),
    Read(ReadRequest, oneshot::Sender<Batch>),
    Ack(Acked),
    Resume(Acked, oneshot::Sender<AckOutcome>),
    NewEpoch {
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: Vec<Range>,
        reply: oneshot::Sender<io::Result<u64>>,
    },
    Stop(String),
}

/// What the collector has of an epoch.
struct Acked {
    lane: u32,
    epoch: u64,
    contig_upto: u64,
    above: Vec<Range>,
}

/// The thread's sleep.
struct Sleep {
    start: Instant,
    /// When the thread wakes by itself, nanoseconds after `start`; told before it looks into the
    /// queue for the last time, so that whoever hands over something later sees it.
    until_ns: AtomicU64,
    thread: OnceLock<Thread>,
}

impl Sleep {
    fn new() -> Self {
        let (until_ns, thread) = (AtomicU64::new(0), OnceLock::new());
        Self { start: Instant::now(), until_ns, thread }
    }

    fn ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// Ends the sleep unless it ends by itself until `by`.
    fn end_by(&self, by: Instant) {
        if self.ns(by) < self.until_ns.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// Reaches the spool's thread from anywhere; cheap to clone.
#[derive(Clone)]
pub struct SpoolHandle {
    queue: SyncSender<Command>,
    sleep: Arc<Sleep>,
    bytes: Arc<AtomicUsize>,
    records: Arc<AtomicUsize>,
    commit_interval: Duration,
    status: watch::Receiver<SpoolStatus>,
}

impl SpoolHandle {
    /// Hands over a record. It will be durable within the commit interval, or 50 ms if urgent.
    ///
    /// # Errors
    /// [`SpoolError::Full`] or [`SpoolError::Refused`]: the record was not taken, and the caller must
    /// declare the gap.
    pub fn try_append(&self, record: NewRecord) -> Result<(), SpoolError> {
        store::check(&record)?;
        let weight = record.payload.len() + RECORD_WEIGHT;
        let bytes = self.bytes.fetch_add(weight, Ordering::AcqRel) + weight;
        let records = self.records.fetch_add(1, Ordering::AcqRel) + 1;
        let now = Instant::now();
        let due = now + if record.urgent { URGENT_WAIT } else { self.commit_interval };
        let sent = if bytes > QUEUE_BYTES || records > QUEUE_RECORDS {
            Err(SpoolError::Full)
        } else {
            self.send(Command::Append(record, due), if bytes < COMMIT_BYTES { due } else { now })
        };
        if sent.is_err() {
            self.bytes.fetch_sub(weight, Ordering::AcqRel);
            self.records.fetch_sub(1, Ordering::AcqRel);
        }
        sent
    }

    /// Commits now; answers with the state after it.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn commit(&self) -> Result<SpoolStatus, SpoolError> {
        self.ask(Command::Commit).await
    }

    /// Reads records, see [`Spool::read`].
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn read(&self, request: ReadRequest) -> Result<Batch, SpoolError> {
        self.ask(|reply| Command::Read(request, reply)).await
    }

    /// Passes on an acknowledgement, see [`Spool::acked`]; it counts before whatever is asked later,
    /// and frees space within [`MAINTAIN_EVERY`].
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn acked(
        &self,
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: Vec<Range>,
    ) -> Result<(), SpoolError> {
        let by = Instant::now() + MAINTAIN_EVERY;
        self.send(Command::Ack(Acked { lane, epoch, contig_upto, above }), by)
    }

    /// Passes on what the collector holds at the start of a session, see [`Spool::resume`].
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn resume(
        &self,
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: Vec<Range>,
    ) -> Result<AckOutcome, SpoolError> {
        let acked = Acked { lane, epoch, contig_upto, above };
        self.ask(|reply| Command::Resume(acked, reply)).await
    }

    /// Renumbers an epoch, see [`Spool::new_epoch`].
    ///
    /// # Errors
    /// [`SpoolError`], or inside it the disk's error.
    pub async fn new_epoch(
        &self,
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: Vec<Range>,
    ) -> Result<io::Result<u64>, SpoolError> {
        self.ask(|reply| Command::NewEpoch { lane, epoch, contig_upto, above, reply }).await
    }

    /// The state after each commit; changes wake the uplink.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SpoolStatus> {
        self.status.clone()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, SpoolError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply), Instant::now())?;
        answer.await.map_err(|_closed| SpoolError::Stopped)
    }

    /// Hands over what must be looked at until `by`.
    fn send(&self, command: Command, by: Instant) -> Result<(), SpoolError> {
        let sent = self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => SpoolError::Full,
            TrySendError::Disconnected(_) => SpoolError::Stopped,
        });
        self.sleep.end_by(by);
        sent
    }
}

/// The running thread.
pub struct SpoolThread {
    handle: SpoolHandle,
    thread: JoinHandle<()>,
}

impl SpoolThread {
    /// Opens the spool, records the start, and runs it on a thread of its own.
    ///
    /// # Errors
    /// [`OpenError::Locked`].
    ///
    /// # Panics
    /// When the system gives no thread.
    pub fn start(
        config: SpoolConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let (spool, recovery) = Spool::open(config, clock)?;
        Ok((Self::run(spool, &recovery), recovery))
    }

    /// Runs a spool that is already open.
    ///
    /// # Panics
    /// When the system gives no thread.
    #[must_use]
    pub fn run(mut spool: Spool, recovery: &Recovery) -> Self {
        spool.record_start(recovery);
        spool.commit();
        let (queue, commands) = sync_channel(QUEUE_RECORDS + QUEUE_REQUESTS);
        let (publish, status) = watch::channel(spool.status());
        let bytes = Arc::new(AtomicUsize::new(0));
        let records = Arc::new(AtomicUsize::new(0));
        let sleep = Arc::new(Sleep::new());
        let handle = SpoolHandle {
            queue,
            sleep: Arc::clone(&sleep),
            bytes: Arc::clone(&bytes),
            records: Arc::clone(&records),
            commit_interval: spool.commit_interval(),
            status,
        };
        let worker =
            Worker { spool, commands, sleep, publish, bytes, records, due: None, stopped: false };
        let thread = std::thread::Builder::new().name("spool".to_owned()).spawn(|| worker.run());
        // An agent that cannot have its second thread cannot work at all.
        #[expect(clippy::expect_used, reason = "as above")]
        let thread = thread.expect("cannot start the spool's thread");
        Self { handle, thread }
    }

    /// A handle to it.
    #[must_use]
    pub fn handle(&self) -> SpoolHandle {
        self.handle.clone()
    }

    /// Commits what was handed over, records a clean stop, and ends the thread. Blocks for one
    /// commit: to be called when nothing is measured any more.
    ///
    /// # Errors
    /// [`SpoolError::Full`] when the disk hangs with a full queue: the thread is left behind.
    pub fn stop(self, reason: &str) -> Result<(), SpoolError> {
        self.handle.send(Command::Stop(reason.to_owned()), Instant::now())?;
        self.thread.join().map_err(|_panic| SpoolError::Stopped)
    }
}

struct Worker {
    spool: Spool,
    commands: Receiver<Command>,
    sleep: Arc<Sleep>,
    publish: watch::Sender<SpoolStatus>,
    bytes: Arc<AtomicUsize>,
    records: Arc<AtomicUsize>,
    /// When what is pending must be committed.
    due: Option<Instant>,
    stopped: bool,
}

impl Worker {
    fn run(mut self) {
        // Set once, here: nobody else has this cell's other end.
        let _ = self.sleep.thread.set(std::thread::current());
        let mut maintain = Instant::now();
        while !self.stopped {
            // First: the commit shares what lies in the queue, and acknowledgements tell what is old.
            self.take_commands();
            if self.stopped {
                return;
            }
            let now = Instant::now();
            if maintain <= now {
                self.maintain(now);
                maintain = now + MAINTAIN_EVERY;
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.commit();
            }
            let wake = self.due.map_or(maintain, |due| due.min(maintain));
            self.sleep.until_ns.store(self.sleep.ns(wake), Ordering::SeqCst);
            if !self.take_commands() {
                std::thread::park_timeout(wake.saturating_duration_since(Instant::now()));
            }
            self.sleep.until_ns.store(0, Ordering::SeqCst);
        }
    }

    fn maintain(&mut self, now: Instant) {
        self.spool.maintain();
        self.spool.look_at_oldest();
        self.publish.send_replace(self.spool.status());
        // Both may have declared losses.
        if self.due.is_none() && self.spool.pending_bytes() > 0 {
            self.due = Some(now + URGENT_WAIT);
        }
        // A failed disk is tried again although nothing new came.
        if self.spool.is_degraded() {
            self.commit();
        }
    }

    /// Does what lies in the queue, [`MAX_TURN`] at most; false when there was nothing.
    fn take_commands(&mut self) -> bool {
        for turn in 0..MAX_TURN {
            match self.commands.try_recv() {
                Ok(Command::Append(record, due)) => self.append(&record, due),
                Ok(Command::Stop(reason)) => {
                    self.spool.record_stop(&reason);
                    if planted::is("dropped-on-stop")
                        && let Some(disk) = self.spool.disk.as_deref()
                    {
                        for (name, _) in disk.list(&|_| true).unwrap_or_default() {
                            drop(disk.remove(&name));
                        }
                    }
                    self.publish.send_replace(self.spool.status());
                    self.stopped = true;
                    return true;
                }
                Ok(command) => self.answer(command),
                Err(TryRecvError::Empty) => return turn > 0,
                // Nobody is left who could hand over or ask.
                Err(TryRecvError::Disconnected) => {
                    self.spool.commit();
                    self.stopped = true;
                    return true;
                }
            }
        }
        true
    }

    fn append(&mut self, record: &NewRecord, due: Instant) {
        self.bytes.fetch_sub(record.payload.len() + RECORD_WEIGHT, Ordering::AcqRel);
        self.records.fetch_sub(1, Ordering::AcqRel);
        // `try_append` has asked already.
        if let Err(error) = self.spool.append(record) {
            self.spool.counters.refused_records += 1;
            tracing::error!(error = chain(&error), "a record is not kept");
        }
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        if self.spool.pending_bytes() >= COMMIT_BYTES && !self.spool.is_degraded() {
            self.commit();
        } else if planted::is("sent-before-sync") {
            self.publish.send_replace(self.spool.status());
        }
    }

    fn commit(&mut self) {
        self.spool.commit();
        self.due = None;
        self.publish.send_replace(self.spool.status());
    }

    /// Answers a request; nobody may be waiting for it any more.
    fn answer(&mut self, command: Command) {
        match command {
            Command::Read(request, reply) => {
                let _ = reply.send(self.spool.read(&request));
            }
            Command::Commit(reply) => {
                self.commit();
                let _ = reply.send(self.spool.status());
            }
            Command::Ack(Acked { lane, epoch, contig_upto, above }) => {
                match self.spool.acked(lane, epoch, contig_upto, &above) {
                    // An unknown epoch has just drained.
                    AckOutcome::Applied | AckOutcome::Unknown => {}
                    AckOutcome::BeyondHead => {
                        tracing::warn!(lane, "an acknowledgement of what never was is ignored");
                    }
                }
            }
            Command::Resume(Acked { lane, epoch, contig_upto, above }, reply) => {
                let _ = reply.send(self.spool.resume(lane, epoch, contig_upto, &above));
            }
            Command::NewEpoch { lane, epoch, contig_upto, above, reply } => {
                let _ = reply.send(self.spool.new_epoch(lane, epoch, contig_upto, &above));
                self.publish.send_replace(self.spool.status());
            }
            Command::Append(..) | Command::Stop(_) => {}
        }
        // A read may have declared damage.
        if self.due.is_none() && self.spool.pending_bytes() > 0 {
            self.due = Some(Instant::now() + URGENT_WAIT);
        }
    }
}
