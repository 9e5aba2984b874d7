//! How shards talk to a store's threads.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use switchboard_engine::{Answer, DirectoryChange, FileSource, Request, Ticket};

use super::health::StoreHealth;
use super::queue::{Load, Queue};
use crate::histogram::Histogram;
use crate::telemetry::Telemetry;

/// What a request counts in a queue beyond its texts and bytes.
const REQUEST_COST_BYTES: usize = 256;

/// What a store tells a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Answers to the shard's requests, in the order of the requests; but those to reading requests
    /// ([`Request::LoadHeads`], [`Request::LoadMessages`]) come in an order of their own. What they say is
    /// durable.
    Answers(Vec<(Ticket, Answer)>),
    /// Changes of the directory, in the order of their revisions. Never before an answer that was read from
    /// an older state of the directory.
    Directory(Vec<DirectoryChange>),
}

/// Where a store leaves its events; the driver's side.
///
/// Called on the store's threads, and on a shard's own thread within [`StoreHandle::submit`] for a request
/// that found the queue full. So it must neither block nor call an engine: it puts the event where the shard
/// finds it, and wakes the shard. Every function of this shape is one.
pub trait Completions: Send + Sync {
    /// Hands an event to a shard.
    fn complete(&self, shard: usize, event: StoreEvent);
}

impl<F: Fn(usize, StoreEvent) + Send + Sync> Completions for F {
    fn complete(&self, shard: usize, event: StoreEvent) {
        self(shard, event);
    }
}

/// A shard's way to a store; cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    shared: Arc<Shared>,
    /// The thread that reads, if the store has one.
    reader: Option<Arc<Shared>>,
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle").field("shards", &self.shared.shards).finish_non_exhaustive()
    }
}

impl StoreHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, reader: None }
    }

    pub(crate) fn with_reader(shared: Arc<Shared>, reader: Arc<Shared>) -> Self {
        Self { shared, reader: Some(reader) }
    }

    /// Asks the store for something on behalf of a shard, which gets exactly one answer with the ticket.
    ///
    /// Never blocks. If the queue is full or the store has stopped, the answer is
    /// [`Answer::Failed`](switchboard_engine::Answer::Failed), and the shard has it before this returns.
    /// A request of a kind that this store does not do, and one of a shard that it was not told of, fail too.
    /// A request that reads sees all that was answered before it was submitted; what is still on its way to
    /// being stored, it may see or not.
    pub fn submit(&self, shard: usize, ticket: Ticket, request: Request) {
        let shared = match &request {
            Request::LoadHeads { .. } | Request::LoadMessages(_) | Request::LoadSeen { .. } => {
                self.reader.as_ref().unwrap_or(&self.shared)
            }
            Request::LoadUser(_)
            | Request::StoreMessage(_)
            | Request::StoreFile(_)
            | Request::StoreMarks(_)
            | Request::StoreSeen(_)
            | Request::StoreReceived(_)
            | Request::LoadUnreceived { .. } => &self.shared,
        };
        let bytes = size_bytes(&request);
        let job = Job { shard, ticket, bytes, since: Instant::now(), request };
        if shard >= shared.shards || shared.queue.push(job, bytes).is_err() {
            shared.figures.rejected.fetch_add(1, Ordering::Relaxed);
            shared.sink.complete(shard, StoreEvent::Answers(vec![(ticket, Answer::Failed)]));
        }
    }
}

/// What one of a store's threads and its handles share.
pub(crate) struct Shared {
    pub(crate) queue: Queue<Job>,
    pub(crate) health: Arc<StoreHealth>,
    pub(crate) figures: StoreFigures,
    sink: Arc<dyn Completions>,
    pub(crate) shards: usize,
}

/// What the thread of a store has done.
#[derive(Debug)]
pub(crate) struct StoreFigures {
    /// From a request to its answer.
    pub(crate) answers: Histogram,
    /// Requests that the thread could not carry out.
    pub(crate) failed: AtomicU64,
    /// Requests for which the queue had no room.
    pub(crate) rejected: AtomicU64,
    /// How long transactions took that were committed.
    pub(crate) commits: Histogram,
    /// How many requests these had.
    pub(crate) batches: Histogram,
    /// Transactions that were rolled back.
    pub(crate) commits_failed: AtomicU64,
    /// Where each transaction is told, if anywhere.
    pub(crate) telemetry: OnceLock<Telemetry>,
}

impl Default for StoreFigures {
    fn default() -> Self {
        Self {
            answers: Histogram::of_times(),
            failed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            commits: Histogram::of_times(),
            batches: Histogram::of_counts(),
            commits_failed: AtomicU64::new(0),
            telemetry: OnceLock::new(),
        }
    }
}

impl StoreFigures {
    /// A transaction of so many requests took so long, and was committed or not.
    pub(crate) fn committed(&self, time: Duration, requests: usize, is_committed: bool) {
        if is_committed {
            self.commits.time(time, 1);
            self.batches.observe(requests as u64, 1);
        } else {
            self.commits_failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(telemetry) = self.telemetry.get() {
            telemetry.committed(time, requests, is_committed);
        }
    }

    /// Requests have their answers now.
    pub(crate) fn answered<'j>(&self, answers: impl Iterator<Item = (&'j Job, &'j Answer)>) {
        let now = Instant::now();
        for (job, answer) in answers {
            self.answers.time(now.saturating_duration_since(job.since), 1);
            if matches!(answer, Answer::Failed | Answer::Full) {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) shard: usize,
    pub(crate) ticket: Ticket,
    pub(crate) bytes: usize,
    /// When it was submitted.
    pub(crate) since: Instant,
    pub(crate) request: Request,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(shards: usize, limit: Load, sink: impl Into<Arc<dyn Completions>>) -> Self {
        Self {
            queue: Queue::new(limit),
            health: Arc::default(),
            figures: StoreFigures::default(),
            sink: sink.into(),
            shards,
        }
    }

    /// What two threads of one store share with their handles: one that writes, and one that reads. The
    /// reader's health is a part of the writer's, which is the store's.
    pub(crate) fn pair(
        shards: usize,
        limit: Load,
        read_limit: Load,
        sink: Box<dyn Completions>,
    ) -> (Arc<Self>, Arc<Self>) {
        let reader = Self::new(shards, read_limit, sink);
        let mut writer = Self::new(shards, limit, Arc::clone(&reader.sink));
        writer.health = Arc::new(StoreHealth::with_part(Arc::clone(&reader.health)));
        (Arc::new(writer), Arc::new(reader))
    }

    /// Hands an event over on the store's thread, which a panic of the driver must not end.
    pub(crate) fn complete(&self, shard: usize, event: StoreEvent) {
        let _ = self.guard("handing over answers", || self.sink.complete(shard, event));
    }

    /// Runs code of the store's thread; a panic in it makes the store unhealthy, and gives none.
    pub(crate) fn guard<T>(&self, doing: &str, code: impl FnOnce() -> T) -> Option<T> {
        // Whoever calls this puts right what the code may have left half-done.
        match catch_unwind(AssertUnwindSafe(code)) {
            Ok(value) => Some(value),
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .copied()
                    .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                    .unwrap_or("no message");
                self.health.fail(format!("{doing}: a panic: {text}"));
                None
            }
        }
    }

    /// The thread has ended for a reason that was not foreseen: nothing is answered any more but with a
    /// failure.
    pub(crate) fn abandon(&self) {
        self.queue.close();
        let mut jobs = Vec::new();
        self.queue.take(&mut jobs, std::time::Duration::ZERO);
        for job in jobs {
            self.complete(job.shard, StoreEvent::Answers(vec![(job.ticket, Answer::Failed)]));
        }
    }
}

/// Answers on their way to the shards, collected so that each shard gets one event for many of them.
pub(crate) struct Replies {
    by_shard: Vec<Vec<(Ticket, Answer)>>,
}

impl Replies {
    pub(crate) fn new(shards: usize) -> Self {
        Self { by_shard: vec![Vec::new(); shards] }
    }

    /// Hands over the answers to a batch of requests, in the requests' order.
    pub(crate) fn hand_over(&mut self, shared: &Shared, batch: &[Job], answers: &mut Vec<Answer>) {
        debug_assert_eq!(batch.len(), answers.len(), "each request has one answer");
        let bytes = batch.iter().map(|job| job.bytes).sum();
        shared.figures.answered(batch.iter().zip(answers.iter()));
        for (job, answer) in batch.iter().zip(answers.drain(..)) {
            // Handles let through only what is a shard's.
            if let Some(answers) = self.by_shard.get_mut(job.shard) {
                answers.push((job.ticket, answer));
            }
        }
        // Before the shards know: what they ask next must find its place in the queue.
        shared.queue.done(Load { requests: batch.len(), bytes });
        for (shard, answers) in self.by_shard.iter_mut().enumerate() {
            if !answers.is_empty() {
                shared.complete(shard, StoreEvent::Answers(mem::take(answers)));
            }
        }
    }
}

fn size_bytes(request: &Request) -> usize {
    REQUEST_COST_BYTES
        + match request {
            Request::LoadUser(_)
            | Request::LoadHeads { .. }
            | Request::LoadMessages(_)
            | Request::StoreMarks(_)
            | Request::StoreSeen(_)
            | Request::LoadSeen { .. }
            | Request::LoadUnreceived { .. } => 0,
            Request::StoreReceived(received) => received.beyond.len() * size_of::<u64>(),
            Request::StoreMessage(message) => {
                message.content.len()
                    + message.sender_name.len()
                    + message.url.len()
                    + message.file_suffix.len()
            }
            Request::StoreFile(file) => {
                file.suffix.len()
                    + match &file.source {
                        FileSource::Bytes(bytes) => bytes.len(),
                        FileSource::DataUrl(url) => url.len(),
                    }
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(code: impl Fn(usize, StoreEvent) + Send + Sync + 'static) -> Box<dyn Completions> {
        Box::new(code)
    }

    #[test]
    fn a_panic_is_caught_and_told() {
        let shared = Shared::new(1, Load::default(), sink(|_, _| {}));
        assert_eq!(shared.guard("adding", || 1 + 1), Some(2));
        assert!(shared.health.is_ok());
        assert_eq!(shared.guard("testing", || -> u32 { panic!("on purpose") }), None);
        assert_eq!(shared.health.failure().unwrap().text, "testing: a panic: on purpose");
    }

    #[test]
    fn what_is_in_the_queue_when_the_thread_ends_is_answered() {
        let answers = Arc::new(std::sync::Mutex::new(Vec::new()));
        let put = {
            let answers = Arc::clone(&answers);
            move |_, event| answers.lock().unwrap().push(event)
        };
        let shared = Arc::new(Shared::new(1, Load { requests: 9, bytes: 9_999 }, sink(put)));
        let handle = StoreHandle::new(Arc::clone(&shared));
        let load = Request::LoadUser(switchboard_engine::UserId::new("alice").unwrap());
        handle.submit(0, Ticket(1), load.clone());
        assert!(answers.lock().unwrap().is_empty());
        shared.abandon();
        handle.submit(0, Ticket(2), load);
        let failed = |ticket| StoreEvent::Answers(vec![(Ticket(ticket), Answer::Failed)]);
        assert_eq!(*answers.lock().unwrap(), [failed(1), failed(2)]);
    }
}
