//! The store's thread that reads.
//!
//! In WAL mode SQLite's readers and its writer do not wait for each other, so reading has a thread and a
//! connection of its own, and a client that fetches a long history delays nobody's message.

use std::sync::Arc;
use std::time::Duration;

use switchboard_engine::Answer;

use super::handle::{Job, Replies, Shared};
use super::reads::Reads;

/// Requests that are answered from one transaction, and together. A long transaction would keep the write-ahead
/// log from beginning anew, and the first answer of a batch waits for its last.
const BATCH_REQUESTS: usize = 32;

/// How long the thread waits for work; it has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How often the thread looks whether reading works again after a failure.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The thread, as far as it is not in [`Reads`].
pub(crate) struct Reader {
    shared: Arc<Shared>,
    answers: Vec<Answer>,
    replies: Replies,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let replies = Replies::new(shared.shards);
        Self { shared, answers: Vec::new(), replies }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(&mut self, reads: &mut Reads<'_>) {
        let mut jobs = Vec::new();
        loop {
            let patience = if self.shared.health.is_ok() { PATIENCE } else { PROBE_INTERVAL };
            let finished = self.shared.queue.take(&mut jobs, patience).finished;
            if finished {
                return;
            }
            if jobs.is_empty()
                && !self.shared.health.is_ok()
                && self.attempt("reading a probe", || reads.probe()).is_some()
            {
                self.shared.health.recover();
            }
            for batch in jobs.chunks(BATCH_REQUESTS) {
                self.answer(reads, batch);
            }
            jobs.clear();
        }
    }

    /// Answers a batch from a transaction of its own.
    ///
    /// Whoever asks sees what it was answered before: the transaction begins after its requests were taken
    /// from the queue, and in WAL mode a transaction sees every commit that ended before its first reading;
    /// the writer's answers leave after their commit. A commit is seen only after its `fsync`, so what is
    /// read is durable as well.
    fn answer(&mut self, reads: &mut Reads<'_>, batch: &[Job]) {
        let mut failed = false;
        for job in batch {
            let answer = self.attempt("reading messages", || {
                // After a failure, this begins another one: the rest of the batch need not suffer.
                reads.begin()?;
                reads.apply(&job.request)
            });
            if answer.is_none() {
                failed = true;
                self.attempt("ending a transaction", || reads.end());
            }
            self.answers.push(answer.unwrap_or(Answer::Failed));
        }
        failed |= self.attempt("ending a transaction", || reads.end()).is_none();
        if !failed {
            self.shared.health.recover();
        }
        self.replies.hand_over(&self.shared, batch, &mut self.answers);
    }

    /// Does something with the database; gives nothing, and tells the health, if it fails.
    fn attempt<T>(&self, doing: &str, code: impl FnOnce() -> rusqlite::Result<T>) -> Option<T> {
        match self.shared.guard(doing, code)? {
            Ok(value) => Some(value),
            Err(error) => {
                self.shared.health.fail(format!("{doing}: {error}"));
                None
            }
        }
    }
}
