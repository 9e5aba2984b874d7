//! The bus between engines: subscriptions, and everything that a broker between nodes may do to records.

use switchboard_engine::{Record, Topic};

use super::{
    Draw, Happening, Node,
    drive::record_name,
    queue::{Life, Queue},
};
use crate::{
    check::Check,
    choice::keyed,
    schedule::{NodeNo, Schedule, Ways},
    trace::{Lane, Trace, Via},
    wire,
};

/// How the bus behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BusMood {
    pub(super) slow_us: u64,
    pub(super) drop_permille: u64,
    pub(super) repeat_permille: u64,
    pub(super) reorder_permille: u64,
}

/// Delay within a node, in microseconds: the queue between two shards.
const LOCAL_DELAY_US: u64 = 20;

/// The bus.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) mood: BusMood,
    shards: usize,
    per_node: usize,
    /// By user and by group: the subscribed shards, one bit each.
    users: Vec<u64>,
    groups: Vec<u64>,
    /// By pair of shards: when the last record arrives.
    last_us: Vec<u64>,
    /// By pair of nodes: whether records get through.
    cut: Vec<bool>,
    /// Lives of the shards, as the bus knows them.
    pub(super) incarnations: Vec<u32>,
    draws: u64,
}

impl Bus {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let s = &schedule.settings;
        let shards = (s.nodes * s.shards) as usize;
        Self {
            mood: BusMood::default(),
            shards,
            per_node: s.shards as usize,
            users: vec![0; s.users as usize],
            groups: vec![0; schedule.groups.len()],
            last_us: vec![0; shards * shards],
            cut: vec![false; (s.nodes * s.nodes) as usize],
            incarnations: vec![0; shards],
            draws: 0,
        }
    }

    pub(super) fn subscribe(&mut self, shard: usize, topic: &Topic, on: bool) {
        let Some(shards) = self.subscribers(topic) else { return };
        *shards = if on { *shards | 1 << shard } else { *shards & !(1 << shard) };
    }

    fn subscribers(&mut self, topic: &Topic) -> Option<&mut u64> {
        match topic {
            Topic::Everyone => None,
            Topic::User(user) => self.users.get_mut(wire::index(user.as_str())? as usize),
            Topic::Group(group) => self.groups.get_mut(wire::index(group.as_str())? as usize),
        }
    }

    /// Forgets a shard's subscriptions: its node is gone.
    pub(super) fn forget(&mut self, shard: usize) {
        self.users.iter_mut().chain(&mut self.groups).for_each(|shards| *shards &= !(1 << shard));
        self.incarnations[shard] += 1;
    }

    pub(super) fn partition(&mut self, from: NodeNo, into: NodeNo, ways: Ways) {
        let nodes = self.shards / self.per_node;
        self.cut[from.index() * nodes + into.index()] = true;
        self.cut[into.index() * nodes + from.index()] |= ways == Ways::Both;
    }

    pub(super) fn rejoin(&mut self) {
        self.cut.fill(false);
    }

    /// Passes a record on to every other shard that is subscribed.
    #[allow(clippy::too_many_arguments, reason = "the parts of a world that is borrowed apart")]
    pub(super) fn publish(
        &mut self,
        schedule: &Schedule,
        check: &Check,
        queue: &mut Queue,
        trace: &mut Trace,
        nodes: &[Node],
        now_us: u64,
        from: usize,
        record: &Record,
    ) {
        let interested = match &record.topic {
            Topic::Everyone => u64::MAX,
            topic @ (Topic::User(_) | Topic::Group(_)) => self.subscribers(topic).map_or(0, |shards| *shards),
        };
        let lane = |shard| Lane::Shard((shard / self.per_node) as u16, (shard % self.per_node) as u16);
        let mut heard = false;
        self.draws += 1;
        // By message where it has a name, so that removing another one changes nothing about this.
        let item = check.known(&record.message).map_or(self.draws, |(_, key)| {
            let token = check.said[key as usize].token;
            u64::from(token.step) << 24 | u64::from(token.nth)
        });
        for into in (0..self.shards).filter(|into| *into != from && interested & 1 << into != 0) {
            heard = true;
            let way = (lane(from), lane(into));
            let (near, far) = (from / self.per_node, into / self.per_node);
            if !nodes[far].up || self.cut[near * nodes.len() + far] {
                let why = if nodes[far].up { "partitioned" } else { "the node is down" };
                trace.sends_in_vain(now_us, way, why, || (Via::Bus, record_name(record)));
                continue;
            }
            let item = keyed(item, from as u64, into as u64);
            let draw = |purpose: Draw| keyed(schedule.seed, item, purpose as u64);
            let mood = if near == far { BusMood::default() } else { self.mood };
            let fate = draw(Draw::BusFate);
            if fate % 1000 < mood.drop_permille {
                trace.sends_in_vain(now_us, way, "lost on the bus", || (Via::Bus, record_name(record)));
                continue;
            }
            let repeated = (fate >> 20) % 1000 < mood.repeat_permille;
            let s = &schedule.settings;
            let delay_us = match near == far {
                true => LOCAL_DELAY_US,
                false => s.bus_delay_us + draw(Draw::BusDelay) % (s.bus_jitter_us + mood.slow_us + 1),
            };
            let last_us = &mut self.last_us[from * self.shards + into];
            let free = draw(Draw::BusOrder) % 1000 < mood.reorder_permille;
            let at_us = if free { now_us + delay_us } else { (now_us + delay_us).max(*last_us) };
            *last_us = at_us.max(*last_us);
            let life = Life { shard: into, incarnation: self.incarnations[into] };
            trace.sends(now_us, queue.coming(), way, || (Via::Bus, record_name(record)));
            queue.push(at_us, Happening::Record { life, record: record.clone() });
            if repeated {
                let again_us = at_us + (fate >> 40) % 50_000;
                trace.sends(now_us, queue.coming(), way, || {
                    (Via::Bus, format!("{} once more", record_name(record)))
                });
                queue.push(again_us, Happening::Record { life, record: record.clone() });
            }
        }
        if !heard {
            trace.note(now_us, lane(from), || format!("{}: no other is subscribed", record_name(record)));
        }
    }
}
