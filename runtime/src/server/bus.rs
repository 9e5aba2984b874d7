//! The bus between the shards of one node: who is interested in what, and a bounded queue to each shard.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use switchboard_engine::{Carried, Topic};
use tokio::sync::mpsc;

/// The most shards that one node has: the subscribers of a topic are a set of 64 bits.
pub const SHARD_LIMIT: usize = 64;

/// The subscriptions of all shards, and the way to each. None of its calls waits for a shard.
///
/// A record that finds a shard's queue full is dropped and counted: what was stored stays stored, only its
/// push to that shard's users is lost.
#[derive(Debug)]
pub struct Bus {
    subscribers: RwLock<HashMap<Topic, u64>>,
    shards: Vec<mpsc::Sender<Carried>>,
    dropped: AtomicU64,
}

impl Bus {
    /// A bus with a queue of so many records, at least 1, to each of so many shards, at most [`SHARD_LIMIT`];
    /// and the receiving ends in the shards' order.
    pub fn new(shards: usize, queue_records: usize) -> (Self, Vec<mpsc::Receiver<Carried>>) {
        let (senders, receivers) = (0..shards.min(SHARD_LIMIT)).map(|_| mpsc::channel(queue_records)).unzip();
        let bus = Self { subscribers: RwLock::default(), shards: senders, dropped: AtomicU64::new(0) };
        (bus, receivers)
    }

    /// A shard is to receive what others publish under a topic from now on.
    pub fn subscribe(&self, shard: usize, topic: Topic) {
        let mut subscribers = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        *subscribers.entry(topic).or_default() |= bit(shard);
    }

    /// Undoes [`subscribe`](Self::subscribe). What was published before may still come.
    pub fn unsubscribe(&self, shard: usize, topic: &Topic) {
        let mut subscribers = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(shards) = subscribers.get_mut(topic) {
            *shards &= !bit(shard);
            if *shards == 0 {
                subscribers.remove(topic);
            }
        }
    }

    /// Queues a record or note of a shard for every other shard that is subscribed to its topic; for every other one if
    /// that is [`Topic::Everyone`]. Records of one shard keep their order.
    pub fn publish(&self, from: usize, carried: &Carried) {
        let interested = match carried.topic() {
            Topic::Everyone => u64::MAX,
            topic @ (Topic::User(_) | Topic::Group(_) | Topic::Presence(_)) => {
                let subscribers = self.subscribers.read().unwrap_or_else(PoisonError::into_inner);
                subscribers.get(topic).copied().unwrap_or_default()
            }
        };
        let others = self.shards.iter().enumerate().filter(|(shard, _)| *shard != from);
        for (_, queue) in others.filter(|(shard, _)| interested & bit(*shard) != 0) {
            if queue.try_send(carried.clone()).is_err() && self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!("a shard's bus queue is full: live deliveries to it are dropped and counted");
            }
        }
    }

    /// Records that found a shard's queue full, or its shard gone, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn bit(shard: usize) -> u64 {
    1 << (shard % SHARD_LIMIT)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use switchboard_engine::{Record, UserId};

    use super::*;

    fn record(topic: Topic) -> Carried {
        Carried::Record(Record { topic, stored: None, message: Bytes::new() })
    }

    #[test]
    fn a_record_reaches_every_other_subscriber_and_nobody_else() {
        let (bus, mut queues) = Bus::new(3, 8);
        let topic = Topic::User(UserId::new("alice").unwrap());
        bus.subscribe(0, topic.clone());
        bus.subscribe(1, topic.clone());
        bus.publish(0, &record(topic.clone()));
        assert_eq!(queues.iter_mut().map(|q| q.try_recv().is_ok()).collect::<Vec<_>>(), [false, true, false]);
        bus.unsubscribe(1, &topic);
        bus.publish(0, &record(topic));
        bus.publish(0, &record(Topic::Everyone));
        let received: Vec<_> = queues.iter_mut().map(|q| q.try_recv().map(|r| r.topic().clone())).collect();
        assert_eq!(
            received,
            [Err(mpsc::error::TryRecvError::Empty), Ok(Topic::Everyone), Ok(Topic::Everyone)]
        );
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (bus, _queues) = Bus::new(2, 1);
        for _ in 0..3 {
            bus.publish(0, &record(Topic::Everyone));
        }
        assert_eq!(bus.dropped(), 2);
    }
}
