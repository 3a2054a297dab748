//! The spool's thread, and the handle through which the async side reaches it.
//!
//! Appending never waits: when the disk is too slow for what is measured, [`SpoolHandle::try_append`]
//! says so and the scheduler skips, and declares that it skipped. Reads and acknowledgements are
//! answered by the same thread between commits.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::{
    AckOutcome, AppendError, Batch, NewRecord, OpenError, Range, ReadRequest, Recovery, Spool,
    SpoolConfig, SpoolStatus, store,
};
use crate::clock::Clock;

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
    Append(NewRecord),
    Commit(oneshot::Sender<SpoolStatus>),
    Read(ReadRequest, oneshot::Sender<Batch>),
    Ack {
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: Vec<Range>,
        resume: bool,
        reply: oneshot::Sender<AckOutcome>,
    },
    NewEpoch {
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: Vec<Range>,
        reply: oneshot::Sender<io::Result<u64>>,
    },
    Stop(String),
}

/// Reaches the spool's thread from anywhere; cheap to clone.
#[derive(Clone)]
pub struct SpoolHandle {
    queue: SyncSender<Command>,
    bytes: Arc<AtomicUsize>,
    records: Arc<AtomicUsize>,
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
        let sent = if bytes > QUEUE_BYTES || records > QUEUE_RECORDS {
            Err(SpoolError::Full)
        } else {
            self.send(Command::Append(record))
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

    /// Passes on an acknowledgement, see [`Spool::acked`].
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn acked(
        &self,
        lane: u32,
        epoch: u64,
        contig_upto: u64,
        above: Vec<Range>,
    ) -> Result<AckOutcome, SpoolError> {
        let resume = false;
        self.ask(|reply| Command::Ack { lane, epoch, contig_upto, above, resume, reply }).await
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
        let resume = true;
        self.ask(|reply| Command::Ack { lane, epoch, contig_upto, above, resume, reply }).await
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
        self.send(command(reply))?;
        answer.await.map_err(|_closed| SpoolError::Stopped)
    }

    fn send(&self, command: Command) -> Result<(), SpoolError> {
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => SpoolError::Full,
            TrySendError::Disconnected(_) => SpoolError::Stopped,
        })
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
        let handle =
            SpoolHandle { queue, bytes: Arc::clone(&bytes), records: Arc::clone(&records), status };
        let worker = Worker { spool, commands, publish, bytes, records, due: None };
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
        self.handle.send(Command::Stop(reason.to_owned()))?;
        self.thread.join().map_err(|_panic| SpoolError::Stopped)
    }
}

struct Worker {
    spool: Spool,
    commands: Receiver<Command>,
    publish: watch::Sender<SpoolStatus>,
    bytes: Arc<AtomicUsize>,
    records: Arc<AtomicUsize>,
    /// When what is pending must be committed.
    due: Option<Instant>,
}

impl Worker {
    fn run(mut self) {
        let mut maintain = Instant::now();
        loop {
            let now = Instant::now();
            if maintain <= now {
                self.spool.maintain();
                maintain = now + MAINTAIN_EVERY;
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
            if self.due.is_some_and(|due| due <= now) {
                self.commit();
            }
            let wake = self.due.map_or(maintain, |due| due.min(maintain));
            let wait = wake.saturating_duration_since(Instant::now());
            match self.commands.recv_timeout(wait) {
                Ok(Command::Append(record)) => self.append(&record),
                Ok(Command::Stop(reason)) => {
                    self.spool.record_stop(&reason);
                    self.publish.send_replace(self.spool.status());
                    return;
                }
                Ok(command) => self.answer(command),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left who could hand over or ask.
                Err(RecvTimeoutError::Disconnected) => {
                    self.spool.commit();
                    return;
                }
            }
        }
    }

    fn append(&mut self, record: &NewRecord) {
        self.bytes.fetch_sub(record.payload.len() + RECORD_WEIGHT, Ordering::AcqRel);
        self.records.fetch_sub(1, Ordering::AcqRel);
        let wait = if record.urgent { URGENT_WAIT } else { self.spool.commit_interval() };
        let due = Instant::now() + wait;
        // `try_append` has asked already.
        if let Err(error) = self.spool.append(record) {
            self.spool.counters.refused_records += 1;
            tracing::error!(%error, "a record is not kept");
        }
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        if self.spool.pending_bytes() >= COMMIT_BYTES && !self.spool.is_degraded() {
            self.commit();
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
            Command::Ack { lane, epoch, contig_upto, above, resume, reply } => {
                let outcome = if resume {
                    self.spool.resume(lane, epoch, contig_upto, &above)
                } else {
                    self.spool.acked(lane, epoch, contig_upto, &above)
                };
                let _ = reply.send(outcome);
            }
            Command::NewEpoch { lane, epoch, contig_upto, above, reply } => {
                let _ = reply.send(self.spool.new_epoch(lane, epoch, contig_upto, &above));
                self.publish.send_replace(self.spool.status());
            }
            Command::Append(_) | Command::Stop(_) => {}
        }
        // A read may have declared damage.
        if self.due.is_none() && self.spool.pending_bytes() > 0 {
            self.due = Some(Instant::now() + URGENT_WAIT);
        }
    }
}
