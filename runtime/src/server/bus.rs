//! The bus between the shards of one node: who is interested in what, and a bounded queue to each shard.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use switchboard_engine::{Carried, Topic};

use super::doorbell::Doorbell;
use crate::histogram::{Histogram, Observed};

/// The most shards that one node has: the subscribers of a topic are a set of 64 bits.
pub const SHARD_LIMIT: usize = 64;

/// Records that an outbox gathers before it asks to be sent within a turn.
const GATHERED_LIMIT: usize = 256;

/// The subscriptions of all shards, and the way to each. None of its calls waits for a shard.
///
/// A record that finds a shard's queue full is dropped and counted: what was stored stays stored, only its
/// push to that shard's users is lost.
#[derive(Debug)]
pub struct Bus {
    /// Who is interested in what, once for each shard that publishes: what all of them looked at for each message would be in
    /// none of their caches.
    subscribers: Vec<Mutex<Subscribers>>,
    queues: Vec<Arc<Queue>>,
    queue_records: usize,
}

/// The shards that are interested in a topic, as bits.
type Subscribers = HashMap<Topic, u64>;

/// What is on its way to one shard.
#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Of the shard, if one waits for them.
    bell: Option<Arc<Doorbell>>,
    queued: AtomicU64,
    dropped: AtomicU64,
    /// How long records waited.
    latency: Histogram,
}

/// Records in their order, and when how many of them came.
#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Carried>,
    arrivals: VecDeque<(Instant, usize)>,
}

/// What there is to say of the way to one shard.
#[derive(Clone, Debug)]
pub(super) struct BusFigures {
    /// Records that are waiting.
    pub(super) waiting: u64,
    /// Records that were queued since the start.
    pub(super) queued: u64,
    /// Records that found the queue full since the start.
    pub(super) dropped: u64,
    /// How long records waited until they were taken.
    pub(super) latency: Observed,
}

impl Queue {
    fn new(bell: Option<Arc<Doorbell>>) -> Self {
        Self {
            waiting: Mutex::default(),
            bell,
            queued: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            latency: Histogram::of_times(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// So many records, the first ones, are taken.
    fn taken(&self, arrivals: &mut VecDeque<(Instant, usize)>, mut count: usize) {
        let now = Instant::now();
        while let Some((at, left)) = arrivals.front_mut().filter(|_| count > 0) {
            let some = count.min(*left);
            self.latency.time(now.saturating_duration_since(*at), some as u64);
            (count, *left) = (count - some, *left - some);
            if *left == 0 {
                arrivals.pop_front();
            }
        }
    }
}

/// The receiving end of one shard.
#[derive(Debug)]
pub struct Inbox(Arc<Queue>);

impl Inbox {
    /// Moves what has come to `into`, up to so many records. Whether there are more.
    pub fn take(&self, into: &mut Vec<Carried>, limit: usize) -> bool {
        let mut waiting = self.0.waiting();
        let Waiting { records, arrivals } = &mut *waiting;
        let some = records.len().min(limit);
        into.extend(records.drain(..some));
        if some > 0 {
            self.0.taken(arrivals, some);
        }
        !records.is_empty()
    }
}

/// What one shard has published and not sent: it is gathered during a turn, so that a shard is woken once for all of it.
#[derive(Debug)]
pub struct Outbox {
    from: usize,
    by_shard: Vec<Vec<Carried>>,
    gathered: usize,
}

impl Outbox {
    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.gathered == 0
    }
}

impl Bus {
    /// A bus with a queue of so many records, at least 1, to each of so many shards, at most [`SHARD_LIMIT`];
    /// and the receiving ends in the shards' order, which are to be looked at again and again.
    #[must_use]
    pub fn new(shards: usize, queue_records: usize) -> (Self, Vec<Inbox>) {
        Self::with_bells(std::iter::repeat_n(None, shards), queue_records)
    }

    /// The same for the shards with these bells, which are rung when something has come.
    pub(super) fn with_bells(
        bells: impl Iterator<Item = Option<Arc<Doorbell>>>,
        queue_records: usize,
    ) -> (Self, Vec<Inbox>) {
        let queues: Vec<Arc<Queue>> =
            bells.take(SHARD_LIMIT).map(|bell| Arc::new(Queue::new(bell))).collect();
        let inboxes = queues.iter().map(|queue| Inbox(Arc::clone(queue))).collect();
        let subscribers = queues.iter().map(|_| Mutex::default()).collect();
        (Self { subscribers, queues, queue_records }, inboxes)
    }

    /// Where a shard gathers what it publishes.
    #[must_use]
    pub fn outbox(&self, shard: usize) -> Outbox {
        Outbox { from: shard, by_shard: vec![Vec::new(); self.queues.len()], gathered: 0 }
    }

    /// A shard is to receive what others publish under a topic from now on.
    pub fn subscribe(&self, shard: usize, topic: &Topic) {
        for subscribers in &self.subscribers {
            *lock(subscribers).entry(topic.clone()).or_default() |= bit(shard);
        }
    }

    /// Undoes [`subscribe`](Self::subscribe). What was published before may still come.
    pub fn unsubscribe(&self, shard: usize, topic: &Topic) {
        for subscribers in &self.subscribers {
            let mut subscribers = lock(subscribers);
            if let Some(shards) = subscribers.get_mut(topic) {
                *shards &= !bit(shard);
                if *shards == 0 {
                    subscribers.remove(topic);
                }
            }
        }
    }

    /// Gathers a record or note of a shard for every other shard that is subscribed to its topic; for every other one if
    /// that is [`Topic::Everyone`]. Records of one shard keep their order.
    pub fn publish(&self, outbox: &mut Outbox, carried: Carried) {
        let from = outbox.from;
        let interested = match carried.topic() {
            Topic::Everyone => u64::MAX,
            topic @ (Topic::User(_) | Topic::Group(_) | Topic::Presence(_)) => {
                let subscribers = self.subscribers.get(from).map(lock);
                subscribers.and_then(|subscribers| subscribers.get(topic).copied()).unwrap_or_default()
            }
        };
        let others = outbox.by_shard.iter_mut().enumerate().filter(|(shard, _)| *shard != from);
        let mut others = others.filter(|(shard, _)| interested & bit(*shard) != 0).peekable();
        let mut carried = Some(carried);
        while let Some((_, gathered)) = others.next() {
            gathered.extend(if others.peek().is_some() { carried.clone() } else { carried.take() });
            outbox.gathered += 1;
        }
        if outbox.gathered >= GATHERED_LIMIT {
            self.send(outbox);
        }
    }

    /// Queues what was gathered, and rings for the shards that had nothing queued.
    pub fn send(&self, outbox: &mut Outbox) {
        if outbox.is_empty() {
            return;
        }
        outbox.gathered = 0;
        let now = Instant::now();
        for (queue, gathered) in self.queues.iter().zip(&mut outbox.by_shard) {
            if gathered.is_empty() {
                continue;
            }
            let mut waiting = queue.waiting();
            let Waiting { records, arrivals } = &mut *waiting;
            let was_empty = records.is_empty();
            let room = self.queue_records.max(1).saturating_sub(records.len());
            let dropped = gathered.len().saturating_sub(room);
            let queued = gathered.len() - dropped;
            records.extend(gathered.drain(..).take(room));
            if queued > 0 {
                arrivals.push_back((now, queued));
            }
            drop(waiting);
            queue.queued.fetch_add(queued as u64, Ordering::Relaxed);
            if let Some(bell) = queue.bell.as_ref().filter(|_| was_empty) {
                bell.ring();
            }
            if dropped > 0 && queue.dropped.fetch_add(dropped as u64, Ordering::Relaxed) == 0 {
                tracing::warn!("a shard's bus queue is full: live deliveries to it are dropped and counted");
            }
        }
    }

    /// Records that found a shard's queue full since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queues.iter().map(|queue| queue.dropped.load(Ordering::Relaxed)).sum()
    }

    /// What there is to say of the way to each shard.
    pub(super) fn figures(&self) -> Vec<BusFigures> {
        let figures = |queue: &Arc<Queue>| BusFigures {
            waiting: queue.waiting().records.len() as u64,
            queued: queue.queued.load(Ordering::Relaxed),
            dropped: queue.dropped.load(Ordering::Relaxed),
            latency: queue.latency.observed(),
        };
        self.queues.iter().map(figures).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn received(inbox: &Inbox) -> Vec<Topic> {
        let mut records = Vec::new();
        inbox.take(&mut records, usize::MAX);
        records.iter().map(|record| record.topic().clone()).collect()
    }

    #[test]
    fn a_record_reaches_every_other_subscriber_and_nobody_else() {
        let (bus, inboxes) = Bus::new(3, 8);
        let mut outbox = bus.outbox(0);
        let topic = Topic::User(UserId::new("alice").unwrap());
        bus.subscribe(0, &topic);
        bus.subscribe(1, &topic);
        bus.publish(&mut outbox, record(topic.clone()));
        assert_eq!(inboxes.iter().map(|inbox| received(inbox).len()).collect::<Vec<_>>(), [0, 0, 0]);
        bus.send(&mut outbox);
        assert_eq!(inboxes.iter().map(|inbox| received(inbox).len()).collect::<Vec<_>>(), [0, 1, 0]);
        bus.unsubscribe(1, &topic);
        bus.publish(&mut outbox, record(topic));
        bus.publish(&mut outbox, record(Topic::Everyone));
        bus.send(&mut outbox);
        assert!(outbox.is_empty());
        let everyone = vec![Topic::Everyone];
        assert_eq!(inboxes.iter().map(received).collect::<Vec<_>>(), [vec![], everyone.clone(), everyone]);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (bus, inboxes) = Bus::new(2, 1);
        let mut outbox = bus.outbox(0);
        for _ in 0..3 {
            bus.publish(&mut outbox, record(Topic::Everyone));
        }
        bus.send(&mut outbox);
        assert_eq!((bus.dropped(), inboxes.get(1).map(|inbox| received(inbox).len())), (2, Some(1)));
    }

    #[test]
    fn a_turn_that_publishes_much_sends_in_between() {
        let (bus, inboxes) = Bus::new(2, 10_000);
        let mut outbox = bus.outbox(0);
        for _ in 0..GATHERED_LIMIT + 1 {
            bus.publish(&mut outbox, record(Topic::Everyone));
        }
        assert_eq!(inboxes.get(1).map(|inbox| received(inbox).len()), Some(GATHERED_LIMIT));
    }

    #[test]
    fn who_takes_no_more_than_it_wants_is_told_that_there_is_more() {
        let (bus, inboxes) = Bus::new(2, 10);
        let inbox = inboxes.get(1).unwrap();
        let mut outbox = bus.outbox(0);
        let mut records = Vec::new();
        for _ in 0..3 {
            bus.publish(&mut outbox, record(Topic::Everyone));
        }
        bus.send(&mut outbox);
        assert!(inbox.take(&mut records, 2));
        assert_eq!(records.len(), 2);
        assert!(!inbox.take(&mut records, 2));
        assert_eq!(records.len(), 3);
    }

    #[test]
    fn each_record_is_counted_when_it_comes_and_when_it_is_taken() {
        let (bus, inboxes) = Bus::new(2, 3);
        let mut outbox = bus.outbox(0);
        for _ in 0..2 {
            bus.publish(&mut outbox, record(Topic::Everyone));
            bus.publish(&mut outbox, record(Topic::Everyone));
            bus.send(&mut outbox);
        }
        inboxes.get(1).unwrap().take(&mut Vec::new(), 2);
        let figures = bus.figures();
        let of = |shard: usize| figures.get(shard).unwrap();
        assert_eq!((of(0).queued, of(0).latency.count), (0, 0));
        assert_eq!((of(1).queued, of(1).dropped, of(1).waiting, of(1).latency.count), (3, 1, 1, 2));
    }

    #[test]
    fn a_shard_is_rung_for_once_until_it_has_looked() {
        let poll = mio::Poll::new().unwrap();
        let bell = Arc::new(Doorbell::new(poll.registry()).unwrap());
        let (bus, inboxes) = Bus::with_bells([None, Some(Arc::clone(&bell))].into_iter(), 10);
        let mut outbox = bus.outbox(0);
        let mut send = || {
            bus.publish(&mut outbox, record(Topic::Everyone));
            bus.send(&mut outbox);
            bell.answer()
        };
        assert_eq!([send(), send()], [true, false]);
        assert_eq!(inboxes.get(1).map(|inbox| received(inbox).len()), Some(2));
        assert!(send());
    }
}
