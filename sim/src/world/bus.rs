//! When records arrive, and everything that a broker between nodes may do to them: who receives them is up to
//! [`SimBus`].

use switchboard_engine::{Carried, Topic};

use super::{
    Draw, Happening, Node,
    drive::record_name,
    queue::{Life, Queue},
};
use crate::{
    bus::SimBus,
    check::Check,
    choice::keyed,
    counts::{Fault, Tally},
    schedule::{NodeNo, Schedule, Ways},
    trace::{Lane, Trace, Via},
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

/// Records that may be on their way to one shard: the runtime's default.
const QUEUE_RECORDS: u32 = 65_536;

/// The bus.
#[derive(Clone, Debug)]
pub(super) struct Bus {
    pub(super) mood: BusMood,
    pub(super) model: SimBus,
    /// Keys what varies.
    pub(super) seed: u64,
    per_node: usize,
    nodes: usize,
    /// By pair of nodes: whether records get through.
    cut: Vec<bool>,
    draws: u64,
    pub(super) tally: Tally,
}

impl Bus {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let s = &schedule.settings;
        Self {
            mood: BusMood::default(),
            seed: schedule.seed,
            model: SimBus::new((s.nodes * s.shards) as usize, QUEUE_RECORDS),
            per_node: s.shards as usize,
            nodes: s.nodes as usize,
            cut: vec![false; (s.nodes * s.nodes) as usize],
            draws: 0,
            tally: Tally::default(),
        }
    }

    /// What decides where records go.
    pub(super) fn fold(&self, hasher: &mut impl core::hash::Hasher) {
        use core::hash::Hash as _;
        self.model.fold(hasher);
        self.cut.hash(hasher);
    }

    pub(super) fn subscribe(&mut self, shard: usize, topic: Topic, on: bool) {
        if on { self.model.subscribe(shard, topic) } else { self.model.unsubscribe(shard, &topic) }
    }

    /// Forgets a shard: its node is gone.
    pub(super) fn forget(&mut self, shard: usize) {
        self.model.forget(shard);
    }

    pub(super) fn partition(&mut self, from: NodeNo, into: NodeNo, ways: Ways) {
        self.cut[from.index() * self.nodes + into.index()] = true;
        self.cut[into.index() * self.nodes + from.index()] |= ways == Ways::Both;
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
        record: &Carried,
    ) {
        let per_node = self.per_node;
        let lane = |shard: usize| Lane::Shard((shard / per_node) as u16, (shard % per_node) as u16);
        let mut heard = false;
        self.draws += 1;
        // By message where it has a name, so that removing another one changes nothing about this.
        let item = super::drive::message_of(record).and_then(|message| check.known_message(message)).map_or(
            self.draws,
            |key| {
                let token = check.said[key as usize].token;
                u64::from(token.step) << 24 | u64::from(token.nth)
            },
        );
        for into in self.model.recipients(from, record.topic()) {
            heard = true;
            let way = (lane(from), lane(into));
            let (near, far) = (from / self.per_node, into / self.per_node);
            if !nodes[far].up || self.cut[near * nodes.len() + far] {
                let why = if nodes[far].up { "partitioned" } else { "the node is down" };
                trace.sends_in_vain(now_us, way, why, || (Via::Bus, record_name(record)));
                let both = self.cut[far * nodes.len() + near];
                let fault = if both { Fault::RecordStopped } else { Fault::RecordStoppedOneWay };
                self.tally.add_if(nodes[far].up, fault);
                continue;
            }
            let item = keyed(item, from as u64, into as u64);
            let draw = |purpose: Draw| keyed(self.seed, item, purpose as u64);
            let mood = if near == far { BusMood::default() } else { self.mood };
            let fate = draw(Draw::BusFate);
            if fate % 1000 < mood.drop_permille {
                trace.sends_in_vain(now_us, way, "lost on the bus", || (Via::Bus, record_name(record)));
                self.tally.add(Fault::RecordLost);
                continue;
            }
            let repeated = (fate >> 20) % 1000 < mood.repeat_permille;
            let s = &schedule.settings;
            let delay_us = match near == far {
                true => LOCAL_DELAY_US,
                false => s.bus_delay_us + draw(Draw::BusDelay) % (s.bus_jitter_us + mood.slow_us + 1),
            };
            let keeps_order = draw(Draw::BusOrder) % 1000 >= mood.reorder_permille;
            let at_us = self.model.arrival_us(from, into, now_us + delay_us, keeps_order);
            self.tally.add_if(at_us < self.model.newest_us(from, into), Fault::RecordReordered);
            self.tally.add_if(repeated, Fault::RecordRepeated);
            self.tally.add_if(near != far && delay_us > s.bus_delay_us + s.bus_jitter_us, Fault::RecordSlow);
            let again_us = repeated.then_some(at_us + (fate >> 40) % 50_000);
            for (nth, at_us) in [Some(at_us), again_us].into_iter().flatten().enumerate() {
                if let Some(incarnation) = self.model.depart(into) {
                    let life = Life { shard: into, incarnation };
                    trace.sends(now_us, queue.coming(), way, || {
                        let again = if nth > 0 { " once more" } else { "" };
                        (Via::Bus, format!("{}{again}", record_name(record)))
                    });
                    queue.push(at_us, Happening::Record { from, life, record: record.clone() });
                }
            }
        }
        if !heard {
            trace.note(now_us, lane(from), || format!("{}: no other is subscribed", record_name(record)));
        }
    }
}
