//! How far this device's user and the other one are with each conversation, and when the server is told.
//!
//! Messages that arrive are marked as delivered by themselves, those that the application says are seen as read. A
//! `Mark` is not answered: the server's heads tell what it has, and what is missing there is marked again.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use bytes::Bytes;

use super::{Logs, Teller};
use crate::{
    digest::Digest,
    id::UserId,
    session::{
        config::SessionConfig,
        event::{LogCursor, LogMarks, SessionNotification},
        wire,
    },
    storage::{Marks, Recipient},
    time::Instant,
};

/// The marks of one conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Progress {
    /// How far the user is, by all that is known here.
    own: Marks,
    /// How far the other user of a one-to-one conversation is.
    peer: Marks,
    /// What the server has of the user's, if nothing was lost on the way to it.
    there: Marks,
    /// What the application was told last of the user's.
    told: Marks,
    stage: Stage,
}

/// ```text
///   Idle ── further than there ──► Due ── sent ──► Resting
///    ▲                                                │
///    └──────────────── mark_interval ─────────────────┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Due,
    Resting,
}

impl Progress {
    /// As an application has kept it. What was received counts as delivered: that may not have been marked yet.
    fn resumed(told: Marks, peer: Marks, cursor: u64) -> Self {
        let own = told.max_of(Marks { delivered: cursor, read: 0 });
        Self { own, peer, there: own, told, stage: Stage::Idle }
    }

    /// Another log has taken the place of the one that the marks were of.
    pub(in crate::session) fn reset(&mut self) {
        *self = Self { stage: self.stage, ..Self::default() };
    }

    /// Whether the application has been told any marks of this log.
    pub(in crate::session) fn is_told(&self) -> bool {
        self.told != Marks::default() || self.peer != Marks::default()
    }

    /// Somebody else's message has arrived, and everything before it.
    pub(in crate::session) fn arrived(&mut self, seq: u64) {
        self.own.delivered = self.own.delivered.max(seq);
    }

    /// The server has these of the user's, in a log that ends at this place.
    fn stored(&mut self, marks: Marks, end: u64) {
        self.own = self.own.max_of(marks);
        let Marks { delivered, read } = self.own;
        let within = Marks { delivered: delivered.min(end), read: read.min(end) };
        // Beyond its end nothing is kept, and to say it again would keep others from being said: who has left a group may
        // have been pushed more than is theirs. If the log has grown since, the next head says so.
        let has_all = self.stage != Stage::Due && within.max_of(marks) == marks;
        self.there = if has_all { self.own } else { marks };
    }

    fn is_missing_there(&self) -> bool {
        self.own.max_of(self.there) != self.there
    }

    pub(in crate::session) fn fold(&self, digest: &mut Digest<'_>) {
        let Self { own, peer, there, told, stage } = self;
        for marks in [own, peer, there, told] {
            digest.word(marks.delivered);
            digest.word(marks.read);
        }
        digest.word(match stage {
            Stage::Idle => 0,
            Stage::Due => 1,
            Stage::Resting => 2,
        });
    }
}

/// Whose turn it is to be marked, and how fast marks may go.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    interval: Duration,
    per_interval: u32,
    due: VecDeque<usize>,
    resting: BTreeSet<(Instant, usize)>,
    /// When the current interval has begun, and how many marks have gone in it.
    begun: Instant,
    gone: u32,
}

impl Turns {
    pub(super) const fn new(config: &SessionConfig) -> Self {
        Self {
            interval: config.mark_interval,
            per_interval: config.limits.marks_per_interval,
            due: VecDeque::new(),
            resting: BTreeSet::new(),
            begun: Instant::ZERO,
            gone: 0,
        }
    }

    /// Whether as many marks have gone as may at a time.
    fn is_exhausted(&self, now: Instant) -> bool {
        self.gone >= self.per_interval && now < self.begun + self.interval
    }

    fn renew(&mut self, now: Instant) {
        if now >= self.begun + self.interval {
            (self.begun, self.gone) = (now, 0);
        }
    }

    fn spend(&mut self, now: Instant) {
        self.renew(now);
        self.gone = self.gone.saturating_add(1);
    }

    fn next_wake(&self) -> Option<Instant> {
        let rested = self.resting.first().map(|(until, _)| *until);
        let waits = !self.due.is_empty() && self.gone >= self.per_interval;
        [rested, waits.then_some(self.begun + self.interval)].into_iter().flatten().min()
    }
}

impl Logs {
    /// Takes over the marks that the application has kept.
    pub(super) fn resume_marks(&mut self, marks: &[LogMarks]) {
        for log in &mut self.list {
            log.progress = Progress::resumed(Marks::default(), Marks::default(), log.cursor);
        }
        for LogMarks { conversation, epoch, own, peer } in marks {
            let log = self.by_conversation.get(conversation).and_then(|key| self.list.get_mut(*key));
            if let Some(log) = log.filter(|log| log.epoch == *epoch) {
                log.progress = Progress::resumed(*own, *peer, log.cursor);
            }
        }
    }

    /// All marks that are not at the beginning, as the application was told them.
    pub(in crate::session) fn marks(&self) -> impl Iterator<Item = LogMarks> {
        let marks = self.list.iter().filter(|log| log.cursor > 0).map(|log| LogMarks {
            conversation: log.conversation.clone(),
            epoch: log.epoch,
            own: log.progress.told,
            peer: log.progress.peer,
        });
        marks.filter(|marks| (marks.own, marks.peer) != (Marks::default(), Marks::default()))
    }

    /// The marks of a conversation, the user's own and the other side's.
    pub(in crate::session) fn marks_of(&self, conversation: &Recipient) -> Option<(Marks, Marks)> {
        let progress = self.list.get(*self.by_conversation.get(conversation)?)?.progress;
        Some((progress.own, progress.peer))
    }

    /// How far the conversations are, those that moved last first, each with the marks known here.
    pub(in crate::session) fn marked_cursors(&self) -> impl Iterator<Item = (LogCursor, Marks, Marks)> {
        self.cursors().map(|cursor| {
            let (own, peer) = self.marks_of(&cursor.conversation).unwrap_or_default();
            (cursor, own, peer)
        })
    }

    /// The user has seen a conversation up to this place, as far as it is here. Returns whether that is news.
    pub(in crate::session) fn read(
        &mut self,
        conversation: &Recipient,
        seq: u64,
        teller: &mut Teller<'_>,
    ) -> bool {
        let Some(key) = self.by_conversation.get(conversation).copied() else { return false };
        let Some(log) = self.list.get_mut(key) else { return false };
        let read = seq.min(log.cursor);
        if read <= log.progress.own.read {
            return false;
        }
        log.progress.own = log.progress.own.max_of(Marks { delivered: read, read });
        self.tell_own(key, teller);
        self.plan_mark(key);
        true
    }

    /// The server says what it has of both sides' marks.
    pub(super) fn marks_in_head(
        &mut self,
        key: usize,
        seq: u64,
        own: Marks,
        peer: Marks,
        teller: &mut Teller<'_>,
    ) {
        let Some(log) = self.list.get_mut(key) else { return };
        log.progress.stored(own, seq);
        self.tell_own(key, teller);
        self.peer_moved(key, peer, teller);
        self.plan_mark(key);
    }

    /// Somebody's marks have moved: the user's own, by another device, or the other side's.
    pub(in crate::session) fn marked(
        &mut self,
        conversation: &Recipient,
        epoch: u64,
        whose: &UserId,
        user: &UserId,
        marks: Marks,
        teller: &mut Teller<'_>,
    ) {
        let key = self.by_conversation.get(conversation).copied();
        let Some(key) = key.filter(|key| self.list.get(*key).is_some_and(|log| log.epoch == epoch)) else {
            teller.stats.marks_foreign += 1;
            return;
        };
        if whose != user {
            return self.peer_moved(key, marks, teller);
        }
        if let Some(log) = self.list.get_mut(key) {
            log.progress.there = log.progress.there.max_of(marks);
            log.progress.own = log.progress.own.max_of(marks);
        }
        self.tell_own(key, teller);
    }

    fn peer_moved(&mut self, key: usize, marks: Marks, teller: &mut Teller<'_>) {
        let Some(log) = self.list.get_mut(key) else { return };
        let moved = log.progress.peer.max_of(marks);
        if moved != log.progress.peer {
            log.progress.peer = moved;
            let conversation = log.conversation.clone();
            let epoch = log.epoch;
            teller.tell(SessionNotification::Marked { conversation, epoch, own: false, marks: moved });
        }
    }

    /// Tells the application the user's own marks, if it has not been told these.
    fn tell_own(&mut self, key: usize, teller: &mut Teller<'_>) {
        let Some(log) = self.list.get_mut(key) else { return };
        let marks = log.progress.own;
        if marks != log.progress.told {
            log.progress.told = marks;
            let (conversation, epoch) = (log.conversation.clone(), log.epoch);
            teller.tell(SessionNotification::Marked { conversation, epoch, own: true, marks });
        }
    }

    /// Takes a conversation of which the server lacks marks into the queue.
    pub(super) fn plan_mark(&mut self, key: usize) {
        let Some(log) = self.list.get_mut(key) else { return };
        if log.progress.is_missing_there() && log.progress.stage == Stage::Idle {
            log.progress.stage = Stage::Due;
            self.turns.due.push_back(key);
        }
    }

    /// Whether [`Logs::next_mark`] would give one.
    pub(in crate::session) fn has_mark(&mut self, now: Instant) -> bool {
        while let Some(log) = self.turns.due.front().and_then(|key| self.list.get_mut(*key)) {
            if log.progress.is_missing_there() {
                return !self.turns.is_exhausted(now);
            }
            // Another device has marked meanwhile, or the log is another one.
            log.progress.stage = Stage::Idle;
            self.turns.due.pop_front();
        }
        false
    }

    /// The next mark to send. It counts as sent, and the application is told of it.
    pub(in crate::session) fn next_mark(&mut self, now: Instant, teller: &mut Teller<'_>) -> Option<Bytes> {
        if !self.has_mark(now) {
            return None;
        }
        let key = self.turns.due.pop_front()?;
        let log = self.list.get_mut(key)?;
        let marks = log.progress.own;
        log.progress.there = log.progress.there.max_of(marks);
        log.progress.stage = Stage::Resting;
        let frame = wire::mark(&log.conversation, log.epoch, marks);
        self.turns.spend(now);
        self.turns.resting.insert((now + self.turns.interval, key));
        self.tell_own(key, teller);
        Some(frame)
    }

    /// Ends the pauses between two marks of one conversation that are over.
    pub(super) fn wake_marks(&mut self, now: Instant) {
        while let Some((until, key)) = self.turns.resting.first().copied().filter(|(until, _)| *until <= now)
        {
            self.turns.resting.remove(&(until, key));
            if let Some(log) = self.list.get_mut(key) {
                log.progress.stage = Stage::Idle;
            }
            self.plan_mark(key);
        }
        self.turns.renew(now);
    }

    /// When a pause is over, or more marks may go.
    pub(super) fn next_mark_wake(&self) -> Option<Instant> {
        self.turns.next_wake()
    }

    pub(super) fn fold_marks(&self, digest: &mut Digest<'_>) {
        digest.len(self.turns.due.len());
        digest.len(self.turns.resting.len());
        let keys = self.turns.due.iter().map(|key| (None, key));
        let resting = self.turns.resting.iter().map(|(until, key)| (Some(*until), key));
        for (until, key) in keys.chain(resting) {
            digest.instant_or_none(until);
            if let Some(log) = self.list.get(*key) {
                super::fold_conversation(&log.conversation, digest);
            }
        }
        digest.instant(self.turns.begun);
        digest.word(self.turns.gone.into());
    }
}
