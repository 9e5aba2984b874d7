//! What every bus has to do, as cases that are each run against the simulator's model and the runtime's bus.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use switchboard::server::bus::{Bus, Inbox};
use switchboard_engine::{Carried, MessageId, Note, Place, Record, Topic};
use switchboard_sim::bus::SimBus;

use super::{group, user};

/// What a bus between the shards of a node offers. No call waits for a shard.
trait Side {
    fn subscribe(&mut self, shard: usize, topic: Topic);
    fn unsubscribe(&mut self, shard: usize, topic: &Topic);
    fn publish(&mut self, from: usize, record: &Carried);
    /// What has come for a shard.
    fn receive(&mut self, shard: usize) -> Vec<Carried>;
    /// The node dies, and comes back.
    fn restart(&mut self);
    /// Records lost for lack of room since the node has started.
    fn dropped(&self) -> u64;
}

/// What can be wrong with a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Echoes,
    IgnoresUnsubscribe,
    IgnoresTopics,
    EveryoneMeansSubscribed,
    MixesUsersAndGroups,
    CountsSubscriptions,
    Reorders,
    Unbounded,
    LosesUncounted,
    DeliversOld,
    RemembersSubscriptions,
}

/// A record on its way in the model's world.
struct Flight {
    at_us: u64,
    into: usize,
    life: u32,
    record: Carried,
}

/// The simulator's model, with delays that would turn the order round.
struct Model {
    bus: SimBus,
    flaw: Option<Flaw>,
    shards: usize,
    subscribed: Vec<(usize, Topic)>,
    now_us: u64,
    flights: Vec<Flight>,
    dropped_before: u64,
}

impl Model {
    fn open(shards: usize, queue_records: u32, flaw: Option<Flaw>) -> Self {
        let queue_records = if flaw == Some(Flaw::Unbounded) { u32::MAX } else { queue_records };
        let bus = SimBus::new(shards, queue_records);
        Self { bus, flaw, shards, subscribed: Vec::new(), now_us: 0, flights: Vec::new(), dropped_before: 0 }
    }

    fn recipients(&self, from: usize, topic: &Topic) -> Vec<usize> {
        let mut recipients: Vec<usize> = self.bus.recipients(from, topic).collect();
        match self.flaw {
            Some(Flaw::Echoes) => recipients.push(from),
            Some(Flaw::IgnoresTopics) => recipients = (0..self.shards).filter(|into| *into != from).collect(),
            Some(Flaw::EveryoneMeansSubscribed) if *topic == Topic::Everyone => {
                recipients.retain(|into| self.subscribed.contains(&(*into, Topic::Everyone)));
            }
            Some(Flaw::CountsSubscriptions) => {
                let times =
                    |into: &usize| self.subscribed.iter().filter(|s| **s == (*into, topic.clone())).count();
                recipients =
                    recipients.into_iter().flat_map(|into| vec![into; times(&into).max(1)]).collect();
            }
            _ => {}
        }
        recipients
    }

    fn meant(&self, topic: &Topic) -> Topic {
        match topic {
            Topic::Group(group) if self.flaw == Some(Flaw::MixesUsersAndGroups) => {
                Topic::User(user(group.as_str()))
            }
            Topic::Everyone | Topic::User(_) | Topic::Group(_) | Topic::Presence(_) => topic.clone(),
        }
    }
}

impl Side for Model {
    fn subscribe(&mut self, shard: usize, topic: Topic) {
        let topic = self.meant(&topic);
        self.subscribed.push((shard, topic.clone()));
        self.bus.subscribe(shard, topic);
    }

    fn unsubscribe(&mut self, shard: usize, topic: &Topic) {
        if self.flaw != Some(Flaw::IgnoresUnsubscribe) {
            self.bus.unsubscribe(shard, &self.meant(topic));
        }
    }

    fn publish(&mut self, from: usize, record: &Carried) {
        self.now_us += 1;
        for into in self.recipients(from, &self.meant(record.topic())) {
            let delay_us = self.now_us * 37 % 64;
            let keeps_order = self.flaw != Some(Flaw::Reorders);
            let at_us = self.bus.arrival_us(from, into, self.now_us + delay_us, keeps_order);
            if let Some(life) = self.bus.depart(into) {
                self.flights.push(Flight { at_us, into, life, record: record.clone() });
            }
        }
    }

    fn receive(&mut self, shard: usize) -> Vec<Carried> {
        let mut mine: Vec<Flight> = Vec::new();
        for flight in std::mem::take(&mut self.flights) {
            if flight.into == shard { mine.push(flight) } else { self.flights.push(flight) }
        }
        // Stable: what arrives at one time arrives in the order in which it was published.
        mine.sort_by_key(|flight| flight.at_us);
        let old = self.flaw == Some(Flaw::DeliversOld);
        mine.retain(|flight| self.bus.arrive(shard, flight.life) || old);
        mine.into_iter().map(|flight| flight.record).collect()
    }

    fn restart(&mut self) {
        self.dropped_before = self.bus.dropped();
        (0..self.shards).for_each(|shard| self.bus.forget(shard));
        if self.flaw == Some(Flaw::RemembersSubscriptions) {
            self.subscribed.iter().for_each(|(shard, topic)| self.bus.subscribe(*shard, topic.clone()));
        }
    }

    fn dropped(&self) -> u64 {
        if self.flaw == Some(Flaw::LosesUncounted) { 0 } else { self.bus.dropped() - self.dropped_before }
    }
}

/// The runtime's bus. A node's shards live and die with its process, and so does the bus between them.
struct Runtime {
    bus: Bus,
    inboxes: Vec<Inbox>,
    shards: usize,
    queue_records: usize,
}

impl Runtime {
    fn open(shards: usize, queue_records: usize) -> Self {
        let (bus, inboxes) = Bus::new(shards, queue_records);
        Self { bus, inboxes, shards, queue_records }
    }
}

impl Side for Runtime {
    fn subscribe(&mut self, shard: usize, topic: Topic) {
        self.bus.subscribe(shard, &topic);
    }

    fn unsubscribe(&mut self, shard: usize, topic: &Topic) {
        self.bus.unsubscribe(shard, topic);
    }

    fn publish(&mut self, from: usize, record: &Carried) {
        let mut outbox = self.bus.outbox(from);
        self.bus.publish(&mut outbox, record.clone());
        self.bus.send(&mut outbox);
    }

    fn receive(&mut self, shard: usize) -> Vec<Carried> {
        let mut received = Vec::new();
        self.inboxes[shard].take(&mut received, usize::MAX);
        received
    }

    fn restart(&mut self) {
        *self = Self::open(self.shards, self.queue_records);
    }

    fn dropped(&self) -> u64 {
        self.bus.dropped()
    }
}

const SHARDS: usize = 4;
const QUEUE_RECORDS: u32 = 16;

/// Runs every case against both buses, and lists them all.
macro_rules! cases {
    ($($name:ident)*) => {
        const CASES: &[(&str, fn(&mut dyn Side))] = &[$((stringify!($name), $name)),*];

        mod model {
            use super::*;
            $(#[test] fn $name() { super::$name(&mut Model::open(SHARDS, QUEUE_RECORDS, None)); })*
        }

        mod runtime {
            use super::*;
            $(#[test] fn $name() { super::$name(&mut Runtime::open(SHARDS, QUEUE_RECORDS as usize)); })*
        }
    };
}

cases! {
    only_subscribers_receive
    a_record_arrives_as_it_was
    who_publishes_does_not_receive
    who_has_unsubscribed_receives_nothing_more
    everyone_is_every_other_shard
    a_user_and_a_group_of_one_name_are_two_topics
    subscribing_and_unsubscribing_again_changes_nothing
    records_of_one_shard_arrive_in_order
    a_restarted_node_receives_nothing_old
    a_full_queue_loses_counts_and_holds_nobody_up
}

fn of_user(id: &str) -> Topic {
    Topic::User(user(id))
}

fn of_group(id: &str) -> Topic {
    Topic::Group(group(id))
}

/// What the store knows a message with this place by.
fn stored(seq: u64) -> (MessageId, Place) {
    (MessageId(u128::from(seq).to_be_bytes()), Place { epoch: 5, seq, stored_at_ms: 9 })
}

/// A record with a number by which it is known again.
fn record(topic: Topic, number: u64) -> Carried {
    let message = Bytes::from(format!("message {number}"));
    Carried::Record(Record { topic, stored: Some(stored(number)), message })
}

/// The numbers of what each shard has received.
fn received(bus: &mut dyn Side) -> [Vec<u64>; SHARDS] {
    std::array::from_fn(|shard| numbers(&bus.receive(shard)))
}

fn numbers(carried: &[Carried]) -> Vec<u64> {
    let number = |carried: &Carried| match carried {
        Carried::Record(record) => record.stored.unwrap().1.seq,
        Carried::Note(_) => 0,
    };
    carried.iter().map(number).collect()
}

fn only_subscribers_receive(bus: &mut dyn Side) {
    bus.subscribe(1, of_user("alice"));
    bus.subscribe(2, of_group("chess"));
    bus.subscribe(3, of_group("chess"));
    bus.publish(0, &record(of_user("alice"), 1));
    bus.publish(0, &record(of_group("chess"), 2));
    bus.publish(0, &record(of_user("bob"), 3));
    assert_eq!(received(bus), [vec![], vec![1], vec![2], vec![2]]);
    assert_eq!(bus.dropped(), 0);
}

fn a_record_arrives_as_it_was(bus: &mut dyn Side) {
    bus.subscribe(1, of_user("alice"));
    let sent = [
        Carried::Record(Record {
            topic: of_user("alice"),
            stored: None,
            message: Bytes::from_static(b"unstored"),
        }),
        Carried::Record(Record { topic: Topic::Everyone, stored: Some(stored(7)), message: Bytes::new() }),
        Carried::Note(Note { topic: of_user("alice"), note: Bytes::from_static(b"a note") }),
    ];
    sent.iter().for_each(|record| bus.publish(0, record));
    assert_eq!(bus.receive(1), sent);
}

fn who_publishes_does_not_receive(bus: &mut dyn Side) {
    for shard in 0..SHARDS {
        bus.subscribe(shard, of_user("alice"));
    }
    bus.publish(1, &record(of_user("alice"), 1));
    bus.publish(1, &record(Topic::Everyone, 2));
    assert_eq!(received(bus), [vec![1, 2], vec![], vec![1, 2], vec![1, 2]]);
}

fn who_has_unsubscribed_receives_nothing_more(bus: &mut dyn Side) {
    bus.subscribe(1, of_user("alice"));
    bus.subscribe(2, of_user("alice"));
    bus.publish(0, &record(of_user("alice"), 1));
    assert_eq!(received(bus), [vec![], vec![1], vec![1], vec![]]);
    bus.unsubscribe(1, &of_user("alice"));
    bus.publish(0, &record(of_user("alice"), 2));
    assert_eq!(received(bus), [vec![], vec![], vec![2], vec![]]);
    bus.subscribe(1, of_user("alice"));
    bus.publish(0, &record(of_user("alice"), 3));
    assert_eq!(received(bus), [vec![], vec![3], vec![3], vec![]]);
}

fn everyone_is_every_other_shard(bus: &mut dyn Side) {
    bus.publish(2, &record(Topic::Everyone, 1));
    assert_eq!(received(bus), [vec![1], vec![1], vec![], vec![1]]);
    // Nobody has to say so, and saying so changes nothing.
    bus.subscribe(0, Topic::Everyone);
    bus.publish(2, &record(Topic::Everyone, 2));
    assert_eq!(received(bus), [vec![2], vec![2], vec![], vec![2]]);
    bus.unsubscribe(0, &Topic::Everyone);
    bus.publish(2, &record(Topic::Everyone, 3));
    assert_eq!(received(bus), [vec![3], vec![3], vec![], vec![3]]);
}

fn a_user_and_a_group_of_one_name_are_two_topics(bus: &mut dyn Side) {
    bus.subscribe(1, of_user("chess"));
    bus.subscribe(2, of_group("chess"));
    bus.publish(0, &record(of_user("chess"), 1));
    bus.publish(0, &record(of_group("chess"), 2));
    assert_eq!(received(bus), [vec![], vec![1], vec![2], vec![]]);
}

fn subscribing_and_unsubscribing_again_changes_nothing(bus: &mut dyn Side) {
    bus.unsubscribe(1, &of_user("alice"));
    bus.subscribe(1, of_user("alice"));
    bus.subscribe(1, of_user("alice"));
    bus.subscribe(2, of_user("alice"));
    bus.publish(0, &record(of_user("alice"), 1));
    assert_eq!(received(bus), [vec![], vec![1], vec![1], vec![]]);
    bus.unsubscribe(1, &of_user("alice"));
    bus.unsubscribe(1, &of_user("alice"));
    bus.publish(0, &record(of_user("alice"), 2));
    assert_eq!(received(bus), [vec![], vec![], vec![2], vec![]]);
}

fn records_of_one_shard_arrive_in_order(bus: &mut dyn Side) {
    for shard in 0..SHARDS {
        bus.subscribe(shard, of_group("chess"));
        bus.subscribe(shard, of_user("alice"));
    }
    let mut arrived: [Vec<u64>; SHARDS] = Default::default();
    let topics = [of_group("chess"), Topic::Everyone, of_user("alice")];
    for round in 0..10 {
        for (nth, topic) in (0..).zip(&topics) {
            for (shard, from) in [(0, 0), (1, 1)] {
                bus.publish(shard, &record(topic.clone(), 1000 * from + 3 * round + nth));
            }
        }
        for (all, new) in arrived.iter_mut().zip(received(bus)) {
            all.extend(new);
        }
    }
    let of = |from: u64| move |number: &u64| number / 1000 == from;
    for (shard, all) in arrived.iter().enumerate() {
        for from in (0..2).filter(|from| *from != shard as u64) {
            let seen: Vec<u64> = all.iter().copied().filter(of(from)).collect();
            let sent: Vec<u64> = (0..30).map(|number| 1000 * from + number).collect();
            assert_eq!(seen, sent, "of shard {from} at shard {shard}");
        }
    }
}

fn a_restarted_node_receives_nothing_old(bus: &mut dyn Side) {
    bus.subscribe(1, of_user("alice"));
    for number in 0..u64::from(2 * QUEUE_RECORDS) {
        bus.publish(0, &record(of_user("alice"), number));
    }
    bus.restart();
    bus.publish(0, &record(of_user("alice"), 100));
    assert_eq!(received(bus), [const { Vec::<u64>::new() }; SHARDS]);
    assert_eq!(bus.dropped(), 0);
    bus.subscribe(1, of_user("alice"));
    for number in 0..u64::from(QUEUE_RECORDS) {
        bus.publish(0, &record(of_user("alice"), 200 + number));
    }
    let room: Vec<u64> = (200..200 + u64::from(QUEUE_RECORDS)).collect();
    assert_eq!(received(bus), [vec![], room, vec![], vec![]]);
}

fn a_full_queue_loses_counts_and_holds_nobody_up(bus: &mut dyn Side) {
    let sent = 5 * u64::from(QUEUE_RECORDS);
    for number in 0..sent {
        bus.publish(0, &record(Topic::Everyone, number));
        // Shard 1 does not read.
        for shard in 2..SHARDS {
            assert_eq!(numbers(&bus.receive(shard)), [number]);
        }
    }
    let late = numbers(&bus.receive(1));
    assert!(late.is_sorted_by(|one, next| one < next), "{late:?}");
    assert!(!late.is_empty() && late.len() <= QUEUE_RECORDS as usize, "{late:?}");
    assert_eq!(late.len() as u64 + bus.dropped(), sent);
    bus.publish(0, &record(Topic::Everyone, sent));
    assert_eq!(numbers(&bus.receive(1)), [sent]);
}

#[test]
fn every_flaw_fails_the_case_that_is_there_for_it() {
    let expected = [
        (Flaw::Echoes, "who_publishes_does_not_receive"),
        (Flaw::IgnoresUnsubscribe, "who_has_unsubscribed_receives_nothing_more"),
        (Flaw::IgnoresTopics, "only_subscribers_receive"),
        (Flaw::EveryoneMeansSubscribed, "everyone_is_every_other_shard"),
        (Flaw::MixesUsersAndGroups, "a_user_and_a_group_of_one_name_are_two_topics"),
        (Flaw::CountsSubscriptions, "subscribing_and_unsubscribing_again_changes_nothing"),
        (Flaw::Reorders, "records_of_one_shard_arrive_in_order"),
        (Flaw::Unbounded, "a_full_queue_loses_counts_and_holds_nobody_up"),
        (Flaw::LosesUncounted, "a_full_queue_loses_counts_and_holds_nobody_up"),
        (Flaw::DeliversOld, "a_restarted_node_receives_nothing_old"),
        (Flaw::RemembersSubscriptions, "a_restarted_node_receives_nothing_old"),
    ];
    for (flaw, case) in expected {
        let fails = |case: fn(&mut dyn Side)| {
            let run = || case(&mut Model::open(SHARDS, QUEUE_RECORDS, Some(flaw)));
            catch_unwind(AssertUnwindSafe(run)).is_err()
        };
        let failed: Vec<_> = CASES.iter().filter(|(_, case)| fails(*case)).map(|(name, _)| *name).collect();
        assert!(failed.contains(&case), "{flaw:?}: {failed:?}");
    }
}
