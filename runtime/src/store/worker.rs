//! The store's thread that writes: batches, probes, and a look at what other processes have changed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use switchboard_engine::Answer;

use super::handle::{Job, Replies, Shared, StoreEvent};
use super::log::Log;
use super::mark::Mark;
use super::queue::Load;
use super::words;

/// How often the thread looks whether another process has changed the directory, and whether a store that
/// fails works again; also how long the mark may lag behind.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long after the last one the next messages are taken into the index of words, unless it is many.
const INDEX_INTERVAL: Duration = Duration::from_secs(1);

/// SQLite's own limit on a database's pages.
const MAX_PAGES: i64 = 4_294_967_294;

/// How much one transaction carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The most.
    pub(crate) batch_limit: Load,
    /// How long after the begin of a transaction the next one may begin.
    pub(crate) commit_interval: Duration,
}

/// The store's thread, as far as it is not in the [`Log`].
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    /// Limit on the database's size; `u64::MAX` is none.
    pub(crate) max_database_bytes: Arc<AtomicU64>,
    pace: Pace,
    /// When the next transaction may begin.
    next_commit: Instant,
    limited_to: u64,
    page_bytes: u64,
    looked: Instant,
    /// When messages were last taken into the index of words.
    indexed: Instant,
    /// That failed, and was told.
    index_fails: bool,
    mark: Mark,
    answers: Vec<Answer>,
    replies: Replies,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        max_database_bytes: Arc<AtomicU64>,
        pace: Pace,
        mark: Mark,
    ) -> Self {
        let replies = Replies::new(shared.shards);
        Self {
            shared,
            max_database_bytes,
            pace,
            next_commit: Instant::now(),
            limited_to: u64::MAX,
            page_bytes: 4096,
            looked: Instant::now(),
            indexed: Instant::now(),
            index_fails: false,
            mark,
            answers: Vec::new(),
            replies,
        }
    }

    /// Reads what the thread needs; to be called once before [`run`](Self::run).
    pub(crate) fn prepare<'c>(
        &mut self,
        connection: &'c Connection,
        provision: bool,
    ) -> rusqlite::Result<Log<'c>> {
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        self.page_bytes = u64::from(page_bytes.max(512));
        let mut log = Log::new(connection, provision)?;
        self.apply_limit(&mut log)?;
        Ok(log)
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(&mut self, log: &mut Log<'_>) {
        let mut jobs = Vec::new();
        while self.turn(log, &mut jobs).is_continue() {}
    }

    fn turn(&mut self, log: &mut Log<'_>, jobs: &mut Vec<Job>) -> ControlFlow<()> {
        // With nothing before it for so long, a request is not kept waiting.
        self.shared.queue.gather(self.pace.batch_limit.requests, self.next_commit);
        let taken = self.shared.queue.take(jobs, self.index_in(log).unwrap_or(LOOK_INTERVAL));
        if !jobs.is_empty() {
            self.next_commit = Instant::now() + self.pace.commit_interval;
        }
        let mut rest = jobs.as_slice();
        while !rest.is_empty() {
            let (batch, more) = split(rest, self.pace.batch_limit);
            self.commit_batch(log, batch);
            rest = more;
        }
        jobs.clear();
        if taken.finished {
            self.mark.write(log.commits());
            return ControlFlow::Break(());
        }
        if self.mark.age() >= LOOK_INTERVAL {
            self.mark.write(log.commits());
        }
        if self.index_in(log).is_some_and(|left| left.is_zero()) {
            self.index_words(log);
        }
        if taken.poked || log.has_unannounced() || self.looked.elapsed() >= LOOK_INTERVAL {
            self.looked = Instant::now();
            self.look_around(log);
        }
        ControlFlow::Continue(())
    }

    /// How long until messages are to be taken into the index of words; none if all are in it.
    fn index_in(&self, log: &Log<'_>) -> Option<Duration> {
        let since = self.indexed.elapsed();
        match log.unindexed() {
            ..=0 => None,
            words::PASS_MESSAGES.. if !self.index_fails => Some(Duration::ZERO),
            _ => Some(INDEX_INTERVAL.saturating_sub(since)),
        }
    }

    /// Nothing is lost if it fails: a search finds less, and it is tried again.
    fn index_words(&mut self, log: &mut Log<'_>) {
        let shared = Arc::clone(&self.shared);
        let done = shared.guard("taking messages into the index of words", || log.index_words());
        self.indexed = Instant::now();
        let had_failed = std::mem::replace(&mut self.index_fails, !matches!(done, Some(Ok(()))));
        if !self.index_fails {
            return;
        }
        if let Some(Err(error)) = done
            && !had_failed
        {
            tracing::error!(%error, "cannot take messages into the index of words: what was said last may not be found");
        }
        if let Some(Err(error)) = shared.guard("rolling back", || log.roll_back()) {
            shared.health.fail(format!("rolling back: {error}"));
        }
    }

    /// One transaction, and its answers.
    fn commit_batch(&mut self, log: &mut Log<'_>, batch: &[Job]) {
        self.answers.clear();
        let (shared, began) = (Arc::clone(&self.shared), Instant::now());
        let done = shared.guard("storing messages", || self.try_batch(log, batch));
        shared.figures.committed(began.elapsed(), batch.len(), matches!(done, Some(Ok(_))));
        match done {
            Some(Ok(true)) => shared.health.recover(),
            Some(Ok(false)) => {}
            Some(Err(error)) => {
                shared.health.fail(format!("storing messages: {error}"));
                let is_full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                self.fail_batch(log, batch.len(), if is_full { Answer::Full } else { Answer::Failed });
            }
            None => self.fail_batch(log, batch.len(), Answer::Failed),
        }
        // Who is in which group now is known before it is known what was said there.
        if log.has_unannounced() {
            self.announce_changes(log);
        }
        self.replies.hand_over(&shared, batch, &mut self.answers);
    }

    fn try_batch(&mut self, log: &mut Log<'_>, batch: &[Job]) -> rusqlite::Result<bool> {
        self.apply_limit(log)?;
        log.begin()?;
        for job in batch {
            self.answers.push(log.apply(&job.request)?);
        }
        log.commit()
    }

    fn fail_batch(&mut self, log: &mut Log<'_>, requests: usize, answer: Answer) {
        if let Some(Err(error)) = self.shared.guard("rolling back", || log.roll_back()) {
            self.shared.health.fail(format!("rolling back: {error}"));
        }
        self.answers.clear();
        self.answers.resize(requests, answer);
    }

    fn look_around(&mut self, log: &mut Log<'_>) {
        let shared = Arc::clone(&self.shared);
        if !shared.health.itself_is_ok() {
            let probed = shared.guard("writing a probe", || {
                self.apply_limit(log)?;
                log.probe()
            });
            match probed {
                Some(Ok(())) => shared.health.recover(),
                Some(Err(error)) => shared.health.fail(format!("writing a probe: {error}")),
                None => {}
            }
        }
        self.announce_changes(log);
    }

    /// Tells the shards what is new in the directory's log.
    fn announce_changes(&mut self, log: &mut Log<'_>) {
        let shared = Arc::clone(&self.shared);
        loop {
            match shared.guard("reading the directory's log", || log.directory_changes()) {
                Some(Ok(changes)) if !changes.is_empty() => self.announce(changes),
                Some(Ok(_)) if log.has_unannounced() => {}
                Some(Ok(_)) | None => break,
                Some(Err(error)) => {
                    shared.health.fail(format!("reading the directory's log: {error}"));
                    break;
                }
            }
        }
    }

    fn announce(&self, changes: Vec<switchboard_engine::DirectoryChange>) {
        for shard in 1..self.shared.shards {
            self.shared.complete(shard, StoreEvent::Directory(changes.clone()));
        }
        if self.shared.shards > 0 {
            self.shared.complete(0, StoreEvent::Directory(changes));
        }
    }

    fn apply_limit(&mut self, log: &mut Log<'_>) -> rusqlite::Result<()> {
        let limit = self.max_database_bytes.load(Ordering::Relaxed);
        if limit != self.limited_to {
            let pages = i64::try_from(limit / self.page_bytes).unwrap_or(MAX_PAGES).clamp(1, MAX_PAGES);
            log.limit_pages(pages)?;
            self.limited_to = limit;
        }
        Ok(())
    }
}

/// The first batch of the jobs, at least one, and the rest.
fn split(jobs: &[Job], limit: Load) -> (&[Job], &[Job]) {
    let mut bytes = 0_usize;
    let fits = |job: &Job| {
        bytes = bytes.saturating_add(job.bytes);
        bytes <= limit.bytes
    };
    let count = jobs.iter().take(limit.requests).map(fits).take_while(|fits| *fits).count();
    jobs.split_at(count.max(1).min(jobs.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_engine::{Request, Ticket, UserId};

    fn jobs(bytes: &[usize]) -> Vec<Job> {
        let user = UserId::new("alice").unwrap();
        let job = |&bytes| Job {
            shard: 0,
            ticket: Ticket(0),
            bytes,
            since: Instant::now(),
            request: Request::LoadUser(user.clone()),
        };
        bytes.iter().map(job).collect()
    }

    #[test]
    fn a_batch_keeps_to_both_limits_and_is_never_empty() {
        let limit = Load { requests: 3, bytes: 100 };
        let sizes = |bytes: &[usize]| split(&jobs(bytes), limit).0.len();
        assert_eq!(sizes(&[1, 1]), 2);
        assert_eq!(sizes(&[1, 1, 1, 1]), 3);
        assert_eq!(sizes(&[60, 40, 1]), 2);
        assert_eq!(sizes(&[60, 41]), 1);
        assert_eq!(sizes(&[1000, 1]), 1);
    }
}
