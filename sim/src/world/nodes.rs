//! Nodes that die, stop, start, and whose clocks jump.

use switchboard_engine::{Event, Instant};

use super::{
    Draw, Happening, World, engine_seed,
    heal::FOR_GOOD_US,
    sut::{Machine as _, Sut},
};
use crate::{
    check::ConnKey,
    counts::Fault,
    schedule::{ClientNo, NodeNo, Seen},
    trace::State,
};

impl<T: Sut> World<'_, T> {
    /// A node dies: what its engines knew is gone, and so is what the store had not committed for it.
    pub(super) fn crash(&mut self, node: NodeNo, down_us: u64) {
        if !self.nodes[node.index()].up {
            return;
        }
        self.tally.add(Fault::Crashed);
        self.go_down(node, down_us);
    }

    /// A node goes, whatever was going on in it, and comes back later.
    pub(super) fn go_down(&mut self, node: NodeNo, down_us: u64) {
        let state = &mut self.nodes[node.index()];
        state.up = false;
        state.stopping = false;
        state.life += 1;
        let life = state.life;
        self.spec.node(node.0, false);
        for shard in self.shards_of(node) {
            let lane = self.lane(shard);
            self.trace.begins(self.now_us, lane, State::Down, 0, || "down".to_owned());
            self.bus.forget(shard);
            self.check.replaced(shard);
            self.shards[shard].incarnation += 1;
            self.shards[shard].free.clear();
            for slot in 0..self.shards[shard].slots.len() {
                if let Some(conn) = self.shards[shard].slots[slot].0.take() {
                    self.conns[conn as usize].server_open = false;
                    self.spec.ended(conn);
                    self.spec.gone(conn);
                    self.unsent(conn);
                    self.trace.ends(self.now_us, lane, State::HalfOpen, conn);
                    if !self.conns[conn as usize].severed {
                        self.tell_client(conn);
                    }
                }
                self.shards[shard].free.push(slot as u32);
            }
        }
        self.queue.push(self.now_us + down_us, Happening::Start { node, life });
    }

    /// A node starts with new engines.
    pub(super) fn start(&mut self, node: NodeNo, life: u32) {
        if self.nodes[node.index()].up || self.nodes[node.index()].life != life {
            return;
        }
        self.nodes[node.index()].up = true;
        self.tally.add(Fault::Restarted);
        self.spec.node(node.0, true);
        for shard in self.shards_of(node) {
            let engine_ns = self.engine_ns(shard);
            let seed = engine_seed(self.seed, shard, self.shards[shard].incarnation);
            let now = Instant::from_nanos(engine_ns);
            self.check.replaced(shard);
            self.trace.ends(self.now_us, self.lane(shard), State::Down, 0);
            let shard = &mut self.shards[shard];
            self.reached.add(&shard.server.reached());
            shard.server = self.sut.start(self.config.clone(), seed, now);
            (shard.armed_us, shard.stopped, shard.since_sweep) = (None, false, 0);
        }
    }

    /// A node is told to stop.
    pub(super) fn stop(&mut self, node: NodeNo, down_us: u64) {
        let state = &mut self.nodes[node.index()];
        if !state.up || state.stopping {
            return;
        }
        (state.stopping, state.down_us, state.told_us) = (true, down_us, self.now_us);
        self.spec.node(node.0, false);
        for shard in self.shards_of(node) {
            self.trace.note(self.now_us, self.lane(shard), || "told to stop".to_owned());
            self.begin(shard);
            self.check.shutdown(shard);
            self.feed(shard, Event::Shutdown);
            self.write_dirty();
        }
    }

    /// An engine has said that it has stopped.
    pub(super) fn stopped(&mut self, shard: usize) {
        self.shards[shard].stopped = true;
        let node = NodeNo(self.node_of(shard) as u16);
        if self.shards_of(node).all(|shard| self.shards[shard].stopped) {
            let down_us = self.nodes[node.index()].down_us;
            self.tally.add_if(down_us != FOR_GOOD_US, Fault::Stopped);
            self.go_down(node, down_us);
        }
    }

    /// A node's clock jumps; what is due by it is done at once.
    pub(super) fn jump(&mut self, node: NodeNo, jump_us: i64) {
        self.nodes[node.index()].offset_us = self.nodes[node.index()].offset_us.saturating_add(jump_us);
        self.tally.add_if(jump_us > 0, Fault::ClockForward);
        self.tally.add_if(jump_us < 0, Fault::ClockBackward);
        self.spec.clock(node.0, jump_us);
        if !self.nodes[node.index()].up {
            return;
        }
        for shard in self.shards_of(node) {
            if !self.nodes[node.index()].up {
                // The deadlines of the shards before were the last that the node had to stop for.
                return;
            }
            self.shards[shard].armed_us = None;
            self.handle_timeout(shard);
            self.write_dirty();
        }
    }

    pub(super) fn mass(&mut self, node: NodeNo) {
        for client in 0..self.devices.len() as u16 {
            let client = ClientNo(client);
            let there = |conn: &ConnKey| self.conns[*conn as usize].node == node;
            if self.devices[client.index()].conn.as_ref().is_some_and(there) {
                self.cut(client, Seen::Both, 0);
                let at_us = self.now_us + self.draw(u64::from(client.0), Draw::Dial) % 1_000_000;
                self.queue.push(at_us, Happening::Redial { client });
            }
        }
    }
}
