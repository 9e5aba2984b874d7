//! The bus's contract as a model: who receives a record, in which order, and what is lost when too much waits;
//! without time, and without the faults of a broker, which are the world's.
//!
//! The suite in `sim/tests/contract` holds this model and the runtime's bus to the same cases.

use std::collections::BTreeMap;

use switchboard_engine::Topic;

/// The model of a bus between shards, which are numbered from 0; at most 64.
#[derive(Clone, Debug)]
pub struct SimBus {
    shards: usize,
    queue_records: u32,
    /// By topic: the subscribed shards, one bit each.
    subscribers: BTreeMap<Topic, u64>,
    /// By shard: how often it was forgotten, and records on their way to it.
    lives: Vec<(u32, u32)>,
    /// By pair of shards: when the last record arrives, in microseconds.
    last_us: Vec<u64>,
    dropped: u64,
}

impl SimBus {
    /// A bus on which so many records may be on their way to each shard.
    #[must_use]
    pub fn new(shards: usize, queue_records: u32) -> Self {
        Self {
            shards,
            queue_records,
            subscribers: BTreeMap::new(),
            lives: vec![(0, 0); shards],
            last_us: vec![0; shards * shards],
            dropped: 0,
        }
    }

    /// Folds what decides where records go into a digest.
    pub(crate) fn fold(&self, hasher: &mut impl core::hash::Hasher) {
        use core::hash::Hash as _;
        self.subscribers.hash(hasher);
    }

    /// A shard is to receive what is published under a topic from now on.
    pub fn subscribe(&mut self, shard: usize, topic: Topic) {
        *self.subscribers.entry(topic).or_default() |= 1 << shard;
    }

    /// Undoes [`subscribe`](Self::subscribe).
    pub fn unsubscribe(&mut self, shard: usize, topic: &Topic) {
        if let Some(shards) = self.subscribers.get_mut(topic) {
            *shards &= !(1 << shard);
            if *shards == 0 {
                self.subscribers.remove(topic);
            }
        }
    }

    /// The shards that a record of `from` goes to, in ascending order: every other one that is subscribed, or
    /// simply every other one for [`Topic::Everyone`].
    pub fn recipients(&self, from: usize, topic: &Topic) -> impl Iterator<Item = usize> + use<> {
        let interested = match topic {
            Topic::Everyone => u64::MAX,
            Topic::User(_) | Topic::Group(_) | Topic::Presence(_) => {
                self.subscribers.get(topic).copied().unwrap_or_default()
            }
        };
        (0..self.shards).filter(move |into| *into != from && interested & 1 << into != 0)
    }

    /// Sends a record on its way to a shard. Gives the shard's life, which [`arrive`](Self::arrive) wants to
    /// know; none if too many are on their way: the record is lost then, and counted.
    pub fn depart(&mut self, into: usize) -> Option<u32> {
        let (life, waiting) = &mut self.lives[into];
        if *waiting >= self.queue_records {
            self.dropped += 1;
            return None;
        }
        *waiting += 1;
        Some(*life)
    }

    /// When a record arrives that would by itself at `at_us`: not before an earlier one of the same shard, if
    /// the bus `keeps_order`.
    pub fn arrival_us(&mut self, from: usize, into: usize, at_us: u64, keeps_order: bool) -> u64 {
        let last_us = &mut self.last_us[from * self.shards + into];
        let at_us = if keeps_order { at_us.max(*last_us) } else { at_us };
        *last_us = at_us.max(*last_us);
        at_us
    }

    /// When the record of a shard that arrives last of those that are, or were, on their way to another does so.
    #[must_use]
    pub fn newest_us(&self, from: usize, into: usize) -> u64 {
        self.last_us[from * self.shards + into]
    }

    /// Whether a record that was sent to this life of a shard still finds it.
    pub fn arrive(&mut self, into: usize, life: u32) -> bool {
        let (current, waiting) = &mut self.lives[into];
        let found = *current == life;
        debug_assert!(!found || *waiting > 0, "what arrives has departed");
        *waiting = waiting.saturating_sub(u32::from(found));
        found
    }

    /// A shard is gone, with its subscriptions and what is on its way to it.
    pub fn forget(&mut self, shard: usize) {
        self.subscribers.retain(|_, shards| {
            *shards &= !(1 << shard);
            *shards != 0
        });
        let (life, waiting) = &mut self.lives[shard];
        (*life, *waiting) = (*life + 1, 0);
    }

    /// Records that were lost because too many were on their way.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
