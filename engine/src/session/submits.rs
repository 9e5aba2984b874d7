//! Messages on their way into the log: what waits, what is under way, and when it goes again. Each
//! conversation is a lane of its own: what is delayed in one holds up nothing in another.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use slab::Slab;

use super::{
    config::{Retry, SessionLimits},
    event::{Content, PendingSubmit, SubmitError},
};
use crate::random::Xoshiro256PlusPlus;
use crate::{
    client::{backoff::exponential, length},
    config::FRAME_COST_BYTES,
    digest::Digest,
    hash::{Lookup, SeededState},
    id::MessageId,
    storage::Recipient,
    time::Instant,
};

/// A message without a fate.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: MessageId,
    pub(super) content: Content,
    /// Its size as a frame.
    pub(super) bytes: u64,
    lane: usize,
    /// When it was sent, while its answer is waited for.
    sent_at: Option<Instant>,
    /// Whether it was sent over the current link, so that an answer to it can come.
    sent_here: bool,
    /// The application was told that the server cannot take it for now.
    is_delayed: bool,
}

/// The server cannot take a message for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    /// Until when it waits.
    pub(super) until: Instant,
    /// Whether the application has not been told so of this message.
    pub(super) is_news: bool,
}

#[derive(Clone, Debug)]
struct Lane {
    conversation: Recipient,
    entries: u64,
    in_flight: u32,
    unsent: BTreeSet<u64>,
    /// The one that may go now, which is in `Submits::ready`.
    ready: Option<u64>,
    paused_until: Option<Instant>,
    /// Delays in a row.
    failures: u32,
}

/// Pending messages by the order in which they were submitted.
#[derive(Clone, Debug)]
pub(super) struct Submits {
    limits: SessionLimits,
    retry: Retry,
    next_order: u64,
    entries: BTreeMap<u64, Entry>,
    by_id: Lookup<MessageId, u64>,
    lanes: Slab<Lane>,
    by_conversation: Lookup<Recipient, usize>,
    ready: BTreeSet<u64>,
    paused: BTreeSet<(Instant, usize)>,
    in_flight: BTreeSet<(Instant, u64)>,
    bytes: u64,
}

impl Submits {
    pub(super) fn new(limits: SessionLimits, retry: Retry, keys: SeededState) -> Self {
        Self {
            limits,
            retry,
            next_order: 0,
            entries: BTreeMap::new(),
            by_id: Lookup::with_hasher(keys),
            lanes: Slab::new(),
            by_conversation: Lookup::with_hasher(keys),
            ready: BTreeSet::new(),
            paused: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the pending messages cost.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// In the order in which they were submitted.
    pub(super) fn pending(&self) -> impl Iterator<Item = PendingSubmit> {
        self.entries.values().filter_map(|entry| {
            let conversation = self.lanes.get(entry.lane)?.conversation.clone();
            Some(PendingSubmit { id: entry.id, conversation, content: entry.content.clone() })
        })
    }

    /// Whether a message of this id and frame size may be taken.
    pub(super) fn admit(&self, id: MessageId, bytes: u64) -> Result<(), SubmitError> {
        if self.by_id.contains_key(&id) {
            return Err(SubmitError::AlreadyPending);
        }
        let cost = self.bytes.saturating_add(cost(bytes));
        if length(self.len()) >= u64::from(self.limits.pending_messages) || cost > self.limits.pending_bytes {
            return Err(SubmitError::QueueFull);
        }
        Ok(())
    }

    /// Takes a message; false if its id is pending.
    pub(super) fn push(&mut self, submit: PendingSubmit, bytes: u64) -> bool {
        let PendingSubmit { id, conversation, content } = submit;
        if self.by_id.contains_key(&id) {
            return false;
        }
        let order = self.next_order;
        self.next_order = self.next_order.saturating_add(1);
        let lane = *self.by_conversation.entry(conversation).or_insert_with_key(|conversation| {
            self.lanes.insert(Lane {
                conversation: conversation.clone(),
                entries: 0,
                in_flight: 0,
                unsent: BTreeSet::new(),
                ready: None,
                paused_until: None,
                failures: 0,
            })
        });
        self.bytes = self.bytes.saturating_add(cost(bytes));
        self.by_id.insert(id, order);
        self.entries.insert(
            order,
            Entry { id, content, bytes, lane, sent_at: None, sent_here: false, is_delayed: false },
        );
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.entries += 1;
            lane.unsent.insert(order);
        }
        self.refresh(lane);
        true
    }

    /// The next message to send, while fewer than `window` are under way, and its order.
    pub(super) fn next(&self, window: u32) -> Option<(u64, &Recipient, &Entry)> {
        if length(self.in_flight.len()) >= u64::from(window) {
            return None;
        }
        let order = *self.ready.first()?;
        let entry = self.entries.get(&order)?;
        Some((order, &self.lanes.get(entry.lane)?.conversation, entry))
    }

    /// The message of this order has been sent.
    pub(super) fn sent(&mut self, now: Instant, order: u64) {
        let Some(entry) = self.entries.get_mut(&order) else { return };
        (entry.sent_at, entry.sent_here) = (Some(now), true);
        self.in_flight.insert((now, order));
        let key = entry.lane;
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.unsent.remove(&order);
            lane.in_flight += 1;
        }
        self.refresh(key);
    }

    /// The conversation of a message that was sent over the current link.
    pub(super) fn conversation(&self, id: MessageId) -> Option<&Recipient> {
        let entry = self.entries.get(self.by_id.get(&id)?).filter(|entry| entry.sent_here)?;
        self.lanes.get(entry.lane).map(|lane| &lane.conversation)
    }

    /// Takes out a message that is stored; none if it was not sent over the current link.
    pub(super) fn accept(&mut self, id: MessageId) -> Option<Entry> {
        let order = *self.by_id.get(&id)?;
        self.entries.get(&order).filter(|entry| entry.sent_here)?;
        self.remove(order)
    }

    /// Takes out a message that is rejected for good; none if no answer to it is waited for.
    pub(super) fn reject(&mut self, id: MessageId) -> Option<Entry> {
        let order = *self.by_id.get(&id)?;
        self.entries.get(&order).filter(|entry| entry.sent_at.is_some())?;
        self.remove(order)
    }

    /// The server cannot take a message now: it and those behind it in its conversation wait. None if no
    /// answer to it is waited for.
    pub(super) fn delay(
        &mut self,
        now: Instant,
        id: MessageId,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Option<Delay> {
        let order = *self.by_id.get(&id)?;
        if !self.take_back(order) {
            return None;
        }
        let entry = self.entries.get_mut(&order)?;
        let is_news = !core::mem::replace(&mut entry.is_delayed, true);
        let key = entry.lane;
        let lane = self.lanes.get_mut(key)?;
        let Retry { floor, base, cap } = self.retry;
        let until = now + exponential(rng, floor, base, cap, lane.failures);
        lane.failures = lane.failures.saturating_add(1);
        if let Some(earlier) = lane.paused_until.replace(until) {
            self.paused.remove(&(earlier, key));
        }
        self.paused.insert((until, key));
        self.refresh(key);
        Some(Delay { until, is_news })
    }

    /// Takes out all messages larger than this.
    pub(super) fn take_larger(&mut self, limit_bytes: u64) -> Vec<Entry> {
        let larger = self.entries.iter().filter(|(_, entry)| entry.bytes > limit_bytes);
        let larger: Vec<_> = larger.map(|(order, _)| *order).collect();
        larger.into_iter().filter_map(|order| self.remove(order)).collect()
    }

    /// The link is gone: what was under way goes again over the next one. Gives how many those are.
    pub(super) fn link_lost(&mut self) -> u64 {
        let lost: Vec<_> = self.in_flight.iter().map(|(_, order)| *order).collect();
        for order in &lost {
            self.take_back(*order);
        }
        self.entries.values_mut().for_each(|entry| entry.sent_here = false);
        length(lost.len())
    }

    /// Ends the pauses that are over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((until, key)) = self.paused.first().copied().filter(|(until, _)| *until <= now) {
            self.paused.remove(&(until, key));
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.paused_until = None;
            }
            self.refresh(key);
        }
    }

    /// When a pause is over.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.paused.first().map(|(until, _)| *until)
    }

    /// Since when the oldest answer is waited for.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.in_flight.first().map(|(sent_at, _)| *sent_at)
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.entries.len());
        for (order, entry) in &self.entries {
            if digest.is_everything() {
                digest.word(*order);
            }
            digest.bytes(&entry.id.0);
            entry.content.fold(digest);
            digest.instant_or_none(entry.sent_at);
            digest.flag(entry.sent_here);
            digest.flag(entry.is_delayed);
            if let Some(lane) = self.lanes.get(entry.lane) {
                fold_conversation(&lane.conversation, digest);
                digest.instant_or_none(lane.paused_until);
                digest.word(lane.failures.into());
            }
        }
    }

    /// A message is not under way any more, and may go again. False if it was not under way.
    fn take_back(&mut self, order: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&order) else { return false };
        let Some(sent_at) = entry.sent_at.take() else { return false };
        self.in_flight.remove(&(sent_at, order));
        let key = entry.lane;
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.unsent.insert(order);
        }
        self.refresh(key);
        true
    }

    fn remove(&mut self, order: u64) -> Option<Entry> {
        self.take_back(order);
        let entry = self.entries.remove(&order)?;
        self.by_id.remove(&entry.id);
        self.bytes = self.bytes.saturating_sub(cost(entry.bytes));
        let lane = self.lanes.get_mut(entry.lane)?;
        lane.unsent.remove(&order);
        lane.entries = lane.entries.saturating_sub(1);
        lane.failures = 0;
        if let Some(until) = lane.paused_until.take() {
            self.paused.remove(&(until, entry.lane));
        }
        let empty = lane.entries == 0;
        self.refresh(entry.lane);
        if empty {
            let lane = self.lanes.remove(entry.lane);
            self.by_conversation.remove(&lane.conversation);
        }
        Some(entry)
    }

    /// Finds out anew which message of a lane may go.
    fn refresh(&mut self, key: usize) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let may = lane.paused_until.is_none() && lane.in_flight < self.limits.in_flight_per_conversation;
        let ready = lane.unsent.first().copied().filter(|_| may);
        if lane.ready != ready {
            if let Some(before) = lane.ready {
                self.ready.remove(&before);
            }
            self.ready.extend(ready);
            lane.ready = ready;
        }
    }
}

/// What a message counts against the limits.
const fn cost(bytes: u64) -> u64 {
    bytes.saturating_add(FRAME_COST_BYTES)
}

pub(super) fn fold_conversation(conversation: &Recipient, digest: &mut Digest<'_>) {
    match conversation {
        Recipient::User(user) => {
            digest.word(0);
            digest.text(user.as_str());
        }
        Recipient::Group(group) => {
            digest.word(1);
            digest.text(group.as_str());
        }
    }
}

/// When something that began then has taken too long.
pub(super) fn overdue(since: Option<Instant>, timeout: Duration) -> Option<Instant> {
    since.map(|since| since + timeout)
}
