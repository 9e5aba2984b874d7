//! All conversations of the user, what is fetched of them, and in which order.

mod marks;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    config::{Retry, SessionConfig},
    event::{LogCursor, LogMarks, LogMessage, NoOlderReason, OlderId, RejectReason, SessionNotification},
    log::{Fetching, Log, Misbehaved, Room, Teller},
    submits::fold_conversation,
    wire::{self, Page, Refusal},
};
use crate::random::Xoshiro256PlusPlus;
use crate::{
    client::{backoff::exponential, length},
    digest::Digest,
    hash::{Lookup, SeededState},
    storage::{Head, Recipient},
    time::Instant,
};

use marks::Turns;

pub(super) use marks::Progress;

/// What a fetch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    /// What a log lacks.
    Missing(usize),
    /// Older messages that the application asked for.
    Older(u64),
}

#[derive(Clone, Debug)]
struct Asked {
    job: Job,
    /// The place from which on, for what a log lacks.
    from: u64,
    era: u64,
    at: Instant,
}

#[derive(Clone, Debug)]
struct Older {
    conversation: Recipient,
    /// The place that is newer than all that is wanted; 0: everything is wanted.
    before: u64,
    limit: u32,
    failures: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Logs {
    conversations_limit: u64,
    older_limit: u64,
    retry: Retry,
    list: Vec<Log>,
    by_conversation: Lookup<Recipient, usize>,
    room: Room,
    older: BTreeMap<u64, Older>,
    next_older: u64,
    /// Whose turn it is to be fetched. May name logs that lack nothing any more.
    queue: VecDeque<Job>,
    paused: BTreeSet<(Instant, Job)>,
    /// By the fetches' ids, which ascend with time.
    asked: BTreeMap<u64, Asked>,
    next_fetch: u64,
    /// Logs by the time at which their cursors moved last.
    by_stamp: BTreeMap<u64, usize>,
    next_stamp: u64,
    /// Logs that lack something.
    behind: u64,
    turns: Turns,
}

impl Logs {
    pub(super) fn new(
        config: &SessionConfig,
        keys: SeededState,
        cursors: Vec<LogCursor>,
        marks: &[LogMarks],
    ) -> Self {
        let mut logs = Self {
            conversations_limit: config.limits.conversations.into(),
            older_limit: config.limits.older.into(),
            retry: config.retry,
            list: Vec::new(),
            by_conversation: Lookup::with_hasher(keys),
            room: Room::new(&config.limits),
            older: BTreeMap::new(),
            next_older: 0,
            queue: VecDeque::new(),
            paused: BTreeSet::new(),
            asked: BTreeMap::new(),
            next_fetch: 1,
            by_stamp: BTreeMap::new(),
            next_stamp: 1,
            behind: 0,
            turns: Turns::new(config),
        };
        let mut known = Lookup::with_hasher(keys);
        let first: Vec<_> = cursors
            .into_iter()
            .filter(|cursor| known.insert(cursor.conversation.clone(), ()).is_none())
            .collect();
        for LogCursor { conversation, epoch, seq } in first.into_iter().rev() {
            let key = logs.add(Log::resumed(conversation, epoch, seq));
            logs.moved(key);
        }
        logs.resume_marks(marks);
        logs
    }

    /// Whether nothing is known to be missing.
    pub(super) const fn is_complete(&self) -> bool {
        self.behind == 0
    }

    /// How far the conversations are, those that moved last first.
    pub(super) fn cursors(&self) -> impl Iterator<Item = LogCursor> {
        self.by_stamp.values().rev().filter_map(|key| {
            // A log of which nothing was told or skipped is as good as unknown.
            let Log { conversation, epoch, cursor, .. } = self.list.get(*key).filter(|log| log.cursor > 0)?;
            Some(LogCursor { conversation: conversation.clone(), epoch: *epoch, seq: *cursor })
        })
    }

    /// The server says how far a conversation is.
    pub(super) fn head(&mut self, head: Head, teller: &mut Teller<'_>) {
        let Head { conversation, epoch, seq, first_seq, own, peer } = head;
        if first_seq == 0 {
            return self.place(conversation, epoch, seq, teller);
        }
        let key = match self.by_conversation.get(&conversation).copied() {
            Some(key) => {
                self.with(key, teller, |log, room, teller| log.head(epoch, seq, first_seq, room, teller));
                Some(key)
            }
            None => self.meet(conversation, epoch, seq, first_seq, teller),
        };
        if let Some(key) = key.filter(|key| self.list.get(*key).is_some_and(|log| log.epoch == epoch)) {
            self.marks_in_head(key, seq, own, peer, teller);
        }
    }

    /// The server says that there is something at a place, unasked.
    fn place(&mut self, conversation: Recipient, epoch: u64, seq: u64, teller: &mut Teller<'_>) {
        match self.by_conversation.get(&conversation).copied() {
            Some(key) => self.with(key, teller, |log, _, teller| log.place(epoch, seq, teller)),
            None => {
                self.meet(conversation, epoch, seq, 1, teller);
            }
        }
    }

    /// A stored message has come by itself, or is this session's own.
    pub(super) fn delivered(
        &mut self,
        conversation: &Recipient,
        epoch: u64,
        message: LogMessage,
        teller: &mut Teller<'_>,
    ) {
        let key = self.by_conversation.get(conversation).copied().or_else(|| {
            let before = message.seq.saturating_sub(1);
            self.meet(conversation.clone(), epoch, before, 1, teller)
        });
        if let Some(key) = key {
            self.with(key, teller, |log, room, teller| log.delivered(epoch, message, room, teller));
        }
    }

    /// Wants older messages.
    pub(super) fn fetch_older(
        &mut self,
        conversation: Recipient,
        before: u64,
        limit: u32,
    ) -> Option<OlderId> {
        if length(self.older.len()) >= self.older_limit {
            return None;
        }
        let id = self.next_older;
        self.next_older = self.next_older.saturating_add(1);
        self.older.insert(id, Older { conversation, before, limit, failures: 0 });
        self.queue.push_back(Job::Older(id));
        Some(OlderId(id))
    }

    /// The next fetch to send, while fewer than `window` are unanswered. It counts as sent.
    pub(super) fn next_fetch(&mut self, now: Instant, window: u32) -> Option<Bytes> {
        if length(self.asked.len()) >= u64::from(window) {
            return None;
        }
        let job = self.next_job()?;
        self.queue.pop_front();
        let id = self.next_fetch;
        self.next_fetch = self.next_fetch.saturating_add(1);
        let (frame, from, era) = match job {
            Job::Missing(key) => {
                let log = self.list.get_mut(key)?;
                let from = log.ask();
                (wire::fetch(id, &log.conversation, from), from, log.era)
            }
            Job::Older(key) => {
                let Older { conversation, before, limit, .. } = self.older.get(&key)?;
                let from = before.saturating_sub(1);
                (wire::fetch_older(id, conversation, from, *limit), from, 0)
            }
        };
        self.asked.insert(id, Asked { job, from, era, at: now });
        Some(frame)
    }

    /// Whether [`Logs::next_fetch`] would give one.
    pub(super) fn has_fetch(&mut self, window: u32) -> bool {
        length(self.asked.len()) < u64::from(window) && self.next_job().is_some()
    }

    /// A fetch was answered. The error says that the answer cannot be right.
    pub(super) fn page(&mut self, page: Page, teller: &mut Teller<'_>) -> Result<(), Misbehaved> {
        let Some(asked) = self.asked.remove(&page.fetch_id) else {
            teller.stats.unasked += 1;
            return Ok(());
        };
        match asked.job {
            Job::Missing(key) => {
                let mut outcome = Ok(());
                self.with(key, teller, |log, room, teller| {
                    log.fetching = Fetching::Idle;
                    outcome = if page.conversation != log.conversation {
                        Err(Misbehaved)
                    } else if log.era == asked.era {
                        log.page(page, asked.from, room, teller)
                    } else {
                        // Asked for before the log was replaced.
                        teller.stats.stale_heads += 1;
                        Ok(())
                    };
                });
                outcome
            }
            Job::Older(id) => self.older_page(id, page, teller),
        }
    }

    /// A fetch cannot be answered.
    pub(super) fn unfetched(
        &mut self,
        now: Instant,
        fetch_id: u64,
        refusal: Refusal,
        rng: &mut Xoshiro256PlusPlus,
        teller: &mut Teller<'_>,
    ) {
        let Some(asked) = self.asked.remove(&fetch_id) else {
            teller.stats.unasked += 1;
            return;
        };
        match refusal {
            Refusal::Transient => {
                teller.stats.fetches_delayed += 1;
                self.pause(now, asked.job, rng);
            }
            Refusal::Final(reason) => {
                teller.stats.fetches_refused += 1;
                match asked.job {
                    // What was claimed is not to be had; the next sign of the conversation asks anew.
                    Job::Missing(key) => self.with(key, teller, |log, room, teller| {
                        log.fetching = Fetching::Idle;
                        log.refute(0, room, teller);
                    }),
                    Job::Older(id) => {
                        self.older.remove(&id);
                        let reason = match reason {
                            RejectReason::NoSuchConversation => NoOlderReason::NoSuchConversation,
                            RejectReason::Invalid
                            | RejectReason::Forbidden
                            | RejectReason::Conflict
                            | RejectReason::TooLarge
                            | RejectReason::Other(_) => NoOlderReason::Refused,
                        };
                        teller.tell(SessionNotification::NoOlder { request: OlderId(id), reason });
                    }
                }
            }
        }
    }

    /// The link is gone: what was asked is asked again over the next one.
    pub(super) fn link_lost(&mut self) {
        for (_, asked) in core::mem::take(&mut self.asked) {
            self.enqueue(asked.job);
        }
    }

    /// The server has welcomed the user over a new link.
    pub(super) fn link_opened(&mut self) {
        self.list.iter_mut().for_each(Log::link_opened);
    }

    /// Ends the pauses that are over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((until, job)) = self.paused.first().copied().filter(|(until, _)| *until <= now) {
            self.paused.remove(&(until, job));
            self.enqueue(job);
        }
        self.wake_marks(now);
    }

    /// When a pause is over.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let paused = self.paused.first().map(|(until, _)| *until);
        [paused, self.next_mark_wake()].into_iter().flatten().min()
    }

    /// Since when the oldest answer is waited for.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.asked.first_key_value().map(|(_, asked)| asked.at)
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.list.len());
        for key in self.by_stamp.values() {
            if let Some(log) = self.list.get(*key) {
                log.fold(digest);
            }
        }
        digest.len(self.queue.len());
        self.queue.iter().for_each(|job| self.fold_job(*job, digest));
        digest.len(self.paused.len());
        for (until, job) in &self.paused {
            digest.instant(*until);
            self.fold_job(*job, digest);
        }
        digest.len(self.asked.len());
        for (id, Asked { job, from, era, at }) in &self.asked {
            digest.word(*id);
            self.fold_job(*job, digest);
            digest.word(*from);
            digest.instant(*at);
            let log = match job {
                Job::Missing(key) => self.list.get(*key),
                Job::Older(_) => None,
            };
            digest.flag(log.is_some_and(|log| log.era == *era));
        }
        digest.word(self.next_fetch);
        self.fold_marks(digest);
        if digest.is_everything() {
            digest.word(self.next_older);
            digest.word(self.next_stamp);
        }
    }

    fn fold_job(&self, job: Job, digest: &mut Digest<'_>) {
        match job {
            Job::Missing(key) => {
                digest.word(0);
                if let Some(log) = self.list.get(key) {
                    fold_conversation(&log.conversation, digest);
                }
            }
            Job::Older(id) => {
                digest.word(1);
                digest.word(id);
                if let Some(older) = self.older.get(&id) {
                    fold_conversation(&older.conversation, digest);
                    digest.word(older.before);
                    digest.word(older.limit.into());
                    digest.word(older.failures.into());
                }
            }
        }
    }

    /// The first conversation in the queue that lacks something still; others leave the queue.
    fn next_job(&mut self) -> Option<Job> {
        while let Some(job) = self.queue.front().copied() {
            match job {
                Job::Older(_) => return Some(job),
                Job::Missing(key) => match self.list.get_mut(key) {
                    Some(log) if log.is_behind() => return Some(job),
                    Some(log) => log.fetching = Fetching::Idle,
                    None => {}
                },
            }
            self.queue.pop_front();
        }
        None
    }

    fn older_page(&mut self, id: u64, page: Page, teller: &mut Teller<'_>) -> Result<(), Misbehaved> {
        let request = OlderId(id);
        let Some(Older { conversation, before, limit, .. }) = self.older.remove(&id) else { return Ok(()) };
        let last = if before == 0 { page.head_seq } else { page.head_seq.min(before - 1) };
        let sound = match (page.messages.first(), page.messages.last()) {
            (Some(first), Some(end)) => first.seq >= page.first_seq && end.seq == last,
            _ => last < page.first_seq,
        };
        let few = limit == 0 || length(page.messages.len()) <= limit.into();
        if page.conversation != conversation || !sound || !few {
            teller.tell(SessionNotification::NoOlder { request, reason: NoOlderReason::Refused });
            return Err(Misbehaved);
        }
        let log = self.by_conversation.get(&conversation).copied();
        let foreign = log.filter(|key| self.list.get(*key).is_some_and(|log| log.epoch != page.epoch));
        let told = if page.epoch == 0 {
            SessionNotification::NoOlder { request, reason: NoOlderReason::NoSuchConversation }
        } else if let Some(key) = foreign {
            self.with(key, teller, |log, _, _| {
                if !log.is_retired(page.epoch) {
                    log.suspect();
                }
            });
            SessionNotification::NoOlder { request, reason: NoOlderReason::Reset }
        } else {
            let Page { epoch, messages, first_seq, .. } = page;
            SessionNotification::Older { request, conversation, epoch, messages, first_seq }
        };
        teller.tell(told);
        Ok(())
    }

    fn meet(
        &mut self,
        conversation: Recipient,
        epoch: u64,
        seq: u64,
        first_seq: u64,
        teller: &mut Teller<'_>,
    ) -> Option<usize> {
        if length(self.list.len()) >= self.conversations_limit {
            teller.stats.unfollowed += 1;
            return None;
        }
        let key = self.add(Log::met(conversation, epoch, seq, first_seq, teller));
        self.moved(key);
        self.schedule(key);
        Some(key)
    }

    fn add(&mut self, log: Log) -> usize {
        let key = self.list.len();
        self.by_conversation.insert(log.conversation.clone(), key);
        self.list.push(log);
        key
    }

    /// Does something with a log, and then what follows from its having changed.
    fn with(
        &mut self,
        key: usize,
        teller: &mut Teller<'_>,
        act: impl FnOnce(&mut Log, &mut Room, &mut Teller<'_>),
    ) {
        let Some(log) = self.list.get_mut(key) else { return };
        let before = (log.epoch, log.cursor);
        act(log, &mut self.room, teller);
        if (log.epoch, log.cursor) != before {
            self.moved(key);
        }
        self.schedule(key);
        self.plan_mark(key);
    }

    fn moved(&mut self, key: usize) {
        let Some(log) = self.list.get_mut(key) else { return };
        self.by_stamp.remove(&log.stamp);
        log.stamp = self.next_stamp;
        self.by_stamp.insert(log.stamp, key);
        self.next_stamp = self.next_stamp.saturating_add(1);
    }

    /// Takes a log that lacks something into the queue, and keeps count of those.
    fn schedule(&mut self, key: usize) {
        let Some(log) = self.list.get_mut(key) else { return };
        let behind = log.is_behind();
        if behind != log.counted {
            log.counted = behind;
            self.behind = if behind { self.behind.saturating_add(1) } else { self.behind.saturating_sub(1) };
        }
        if behind && log.fetching == Fetching::Idle {
            log.fetching = Fetching::Queued;
            self.queue.push_back(Job::Missing(key));
        }
    }

    fn enqueue(&mut self, job: Job) {
        match job {
            Job::Missing(key) => {
                if let Some(log) = self.list.get_mut(key) {
                    log.fetching = Fetching::Idle;
                    self.schedule(key);
                }
            }
            Job::Older(_) => self.queue.push_back(job),
        }
    }

    fn pause(&mut self, now: Instant, job: Job, rng: &mut Xoshiro256PlusPlus) {
        let Retry { floor, base, cap } = self.retry;
        let failures = match job {
            Job::Missing(key) => self.list.get_mut(key).map(|log| &mut log.failures),
            Job::Older(id) => self.older.get_mut(&id).map(|older| &mut older.failures),
        };
        let Some(failures) = failures else { return };
        let until = now + exponential(rng, floor, base, cap, *failures);
        *failures = failures.saturating_add(1);
        self.paused.insert((until, job));
        if let Job::Missing(key) = job
            && let Some(log) = self.list.get_mut(key)
        {
            log.fetching = Fetching::Paused { until };
            // Asking has settled a suspicion that is not settled.
            log.suspect();
        }
    }
}
