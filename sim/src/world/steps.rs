//! The steps of a schedule, carried out.

use bytes::Bytes;
use switchboard_engine::{Carried, Event, Record, Topic};
use switchboard_proto::{classic::Message, v1::call::Kind};

use super::{
    Happening, World,
    bus::BusMood,
    hostile::Asking,
    queue::{Life, Up},
    speech::Speech,
    store::StoreMood,
    sut::Sut,
};
use crate::{
    check::{ConnKey, Payload},
    counts::Fault,
    schedule::{Carrier, ClientNo, NodeNo, Seen, Step, What, Whose},
    trace::{Lane, State, Via},
    wire::{self, Token},
};

impl<T: Sut> World<'_, T> {
    /// The step at this place of the schedule, and the next one to come.
    pub(super) fn step(&mut self, place: usize) {
        let schedule = self.schedule;
        let Some(step) = schedule.steps.get(place) else { return };
        if let Some(next) = schedule.steps.get(place + 1) {
            self.queue.push(next.at_us, Happening::Step(place + 1));
        }
        self.met[step.what.number()] += 1;
        self.trace.step(self.now_us, step, schedule);
        self.perform(step);
    }

    fn perform(&mut self, step: &Step) {
        let token = Token { step: step.id, nth: 0 };
        match step.what {
            What::Connect { client, node } => self.connect(client, node),
            What::Close { client } => self.close(client),
            What::Cut { client, seen, later_us } => self.cut(client, seen, later_us),
            What::Send { client, to, bytes } => self.speak(client, Speech::text(token, to, bytes)),
            What::Burst { client, to, bytes, count } => {
                for nth in 0..count {
                    self.speak(client, Speech::text(Token { nth, ..token }, to, bytes));
                }
            }
            What::Media { client, to, bytes, carrier } => {
                let carrier = Some(carrier);
                let content_type = if carrier == Some(Carrier::DataUrl) { 2 } else { 3 };
                self.speak(client, Speech { content_type, carrier, ..Speech::text(token, to, bytes) });
            }
            What::Signal { client, to, kind } => {
                let speech = Speech::text(token, to, 0);
                self.speak(client, Speech { content_type: kind, is_call: true, ..speech });
            }
            What::Pictures { client, to, kind, count, gap_us } => {
                self.pictures(client, token, to, kind, count, gap_us);
            }
            What::Spoof { client, claims, to } => {
                self.speak(client, Speech { claims: Some(claims), ..Speech::text(token, to, 0) });
            }
            What::Garbage { client, kind } => {
                self.garbage(client, kind);
                self.garbage_frame(client, kind);
            }
            What::Misbehave { client, how } => {
                if let Some(conn) = self.raw(client) {
                    self.send_up(conn, Up::Wrong(how));
                }
            }
            What::Nowhere { client } => self.nowhere(client, token),
            What::Heartbeat { client } => {
                self.heartbeat(client);
                self.heartbeat_frame(client, token);
            }
            What::Ping { client } => {
                if let Some(conn) = self.raw(client) {
                    self.send_up(conn, Up::Ping);
                }
            }
            What::Pause { client } => self.pause(client),
            What::Resume { client } => self.resume(client),
            What::Ghost { client, kind } => self.ghost(client, kind),
            What::Join { user, group } => self.change_member(user, group, true),
            What::Part { user, group } => self.change_member(user, group, false),
            What::Avatar { user } => self.change_avatar(user),
            What::Store { slow_us, fail_permille, lose_permille, reorder_permille } => {
                self.set_store_mood(StoreMood { slow_us, fail_permille, lose_permille, reorder_permille });
            }
            What::Bus { slow_us, drop_permille, repeat_permille, reorder_permille } => {
                self.set_bus_mood(BusMood { slow_us, drop_permille, repeat_permille, reorder_permille });
            }
            What::Partition { from, into, ways } => {
                self.bus.partition(from, into, ways);
                self.spec.partition(true);
            }
            What::Rejoin {} => {
                self.bus.rejoin();
                self.spec.partition(false);
            }
            What::Net { whose, slow_us, jitter_us } => {
                for (number, device) in self.devices.iter_mut().enumerate() {
                    if whose == Whose::All || whose == Whose::One(ClientNo(number as u16)) {
                        (device.slow_us, device.jitter_us) = (slow_us, jitter_us);
                        self.spec.network(number as u16, slow_us + jitter_us);
                    }
                }
            }
            What::Garble { node } => self.garble(node),
            What::Backup {} => self.back_up(),
            What::Restore { down_us } => self.restore(down_us),
            What::Crash { node, down_us } => self.crash(node, down_us),
            What::Stop { node, down_us } => self.stop(node, down_us),
            What::Rolling { gap_us } => {
                for node in 0..self.nodes.len() as u16 {
                    let at_us = self.now_us + u64::from(node) * gap_us;
                    self.queue.push(at_us, Happening::Stop { node: NodeNo(node), down_us: gap_us / 2 });
                }
            }
            What::Clock { node, jump_us } => self.jump(node, jump_us),
            What::Mass { node } => self.mass(node),
            What::Hello { client, cursors } => self.hello(client, cursors),
            What::Resync { client, cursors, count } => self.resync(client, cursors, count),
            What::Fetch { client, of, from_seq, backwards, limit, count } => {
                self.fetch(client, token, &Asking { of, from_seq, backwards: backwards == 1, limit }, count);
            }
            What::Again { client, step, nth } => self.again(client, Token { step, nth }),
            What::Alter { client, step, nth } => self.alter(client, Token { step, nth }),
            What::Invalid { client, kind } => self.invalid(client, token, kind),
            What::Edit { client, step, nth, bytes } => {
                self.edit(client, token, Token { step, nth }, bytes);
            }
            What::Recall { client, step, nth } => self.recall(client, token, Token { step, nth }),
            What::Change { client, group, deed, user, commits } => {
                self.change(client, token, group, deed, user, commits);
            }
            What::Mark { client, of, delivered, read, wrong } => {
                self.mark(client, of, delivered, read, wrong);
            }
            What::Mislead { node, user, step } => self.mislead(node, user, step),
            What::Older { client, of, before_seq, limit } => self.older(client, of, before_seq, limit),
            What::Die { client, actions, down_us } => self.die(client, actions, down_us),
            What::Wipe { client } => self.wipe(client),
            What::Reseed { seed } => self.reseed(seed),
            What::Typing { client, to, types, claims } => self.typing(client, to, types == 1, claims),
            What::Ring { client, to } => self.ring(client, step.id, to),
            What::Accept { client, call } => self.accept(client, call),
            What::Decline { client, call } => self.hang_up(client, call, Kind::Decline),
            What::HangUp { client, call } => self.hang_up(client, call, Kind::HangUp),
            What::Data { client, call, count, bytes } => {
                for nth in 0..count {
                    self.call_data(client, call, Token { nth, ..token }, bytes);
                }
            }
            What::Watch { client, first, count } => self.watch(client, first, count),
            What::Miscall { client, call, kind } => self.miscall(client, call, token, kind),
            What::Odd { client, kind } => self.odd(client, kind),
            What::Revoke { client, why } => self.revoke(client, why),
            What::Expel { user, why } => self.expel(user, why),
            What::Announce { to, bytes } => self.say_as_server(to, step.id, bytes),
        }
    }

    /// The store behaves differently from now on.
    pub(super) fn set_store_mood(&mut self, mood: StoreMood) {
        self.spec.store_mood(mood.slow_us, mood == StoreMood::default());
        self.store.mood = mood;
    }

    /// The bus behaves differently from now on.
    pub(super) fn set_bus_mood(&mut self, mood: BusMood) {
        self.spec.bus_mood(mood.slow_us, mood == BusMood::default());
        self.bus.mood = mood;
    }

    /// The connection of a raw client, if it has one.
    fn raw(&self, client: ClientNo) -> Option<ConnKey> {
        let device = &self.devices[client.index()];
        device.conn.filter(|_| device.spec.kind.is_raw())
    }

    /// The same of one that speaks the classic protocol.
    fn raw_classic(&self, client: ClientNo) -> Option<ConnKey> {
        self.raw(client).filter(|conn| !self.conns[*conn as usize].is_session)
    }

    pub(super) fn close(&mut self, client: ClientNo) {
        let now = self.client_now();
        if self.devices[client.index()].app.is_some() {
            return self.close_app(client);
        }
        if let Some(engine) = &mut self.devices[client.index()].engine {
            engine.close(now);
            self.pump(client);
        } else if let Some(conn) = self.devices[client.index()].conn {
            self.send_up(conn, Up::Close);
        }
    }

    /// A client's connection is lost.
    pub(super) fn cut(&mut self, client: ClientNo, seen: Seen, later_us: u64) {
        let Some(key) = self.devices[client.index()].conn else { return };
        let before = core::mem::replace(&mut self.conns[key as usize].severed, true);
        self.tally.add_if(!before, lost(seen));
        self.spec.ended(key);
        let (client_lane, server_lane) = self.up(key);
        self.trace.begins(self.now_us, client_lane, State::HalfOpen, key, String::new);
        self.trace.begins(self.now_us, server_lane, State::HalfOpen, key, || format!("{client} is cut off"));
        let later = (later_us > 0).then_some(self.now_us + later_us);
        let now = Some(self.now_us);
        let (server, client) = match seen {
            Seen::Server => (now, later),
            Seen::Client => (later, now),
            Seen::Both => (now, now),
            Seen::Nobody => (later, later),
        };
        if let Some(at_us) = server {
            self.queue.push(at_us, Happening::ServerLost { conn: key });
        }
        if let Some(at_us) = client {
            self.queue.push(at_us, Happening::ClientLost { conn: key });
        }
    }

    fn garbage(&mut self, client: ClientNo, kind: u32) {
        let Some(conn) = self.raw_classic(client) else { return };
        let bytes: &'static [u8] = match kind {
            0 => b"\xff",
            1 => b"\x0a\xff\xff\xff\xff\x0f",
            2 => b"\x1a\x03\xff\xfe\xfd",
            3 => b"\x1a\x7fabc",
            4 => b"\x07\x07\x07",
            _ => b"garbage\x00\xff",
        };
        self.send_up(conn, Up::Message { payload: Payload::Garbage, bytes: Bytes::from_static(bytes) });
    }

    fn nowhere(&mut self, client: ClientNo, token: Token) {
        let Some(conn) = self.raw_classic(client) else { return };
        let message = Message {
            to: "x".repeat(200),
            content: token.to_string(),
            content_type: 1,
            ..Message::default()
        };
        self.send_up(conn, Up::Message { payload: Payload::Nowhere, bytes: wire::encode(&message) });
    }

    /// What varies from here on is keyed by another seed.
    const fn reseed(&mut self, seed: u64) {
        (self.seed, self.store.seed, self.bus.seed) = (seed, seed, seed);
    }

    /// A client stops reading.
    fn pause(&mut self, client: ClientNo) {
        let device = &mut self.devices[client.index()];
        let before = core::mem::replace(&mut device.paused, true);
        self.tally.add_if(!before && device.conn.is_some(), Fault::ReaderStopped);
        self.spec.reading(client.0, false);
        self.trace.begins(self.now_us, Lane::Client(client.0), State::Paused, 0, String::new);
    }

    /// What is no message comes to a node over the bus.
    fn garble(&mut self, node: NodeNo) {
        for shard in self.shards_of(node) {
            let Some(incarnation) = self.bus.model.depart(shard) else { continue };
            let life = Life { shard, incarnation };
            let record =
                Record { topic: Topic::Everyone, stored: None, message: Bytes::from_static(b"\x07garbled") };
            let lane = self.lane(shard);
            self.trace.sends(self.now_us, self.queue.coming(), (lane, lane), || {
                (Via::Bus, "garbage over the bus".to_owned())
            });
            let record = Carried::Record(record);
            self.queue.push(self.now_us, Happening::Record { from: shard, life, record });
        }
    }

    fn heartbeat(&mut self, client: ClientNo) {
        let Some(conn) = self.raw_classic(client) else { return };
        let message =
            Message { r#type: wire::HEARTBEAT.to_owned(), content: "ping".to_owned(), ..Message::default() };
        let bytes = wire::encode(&message);
        self.send_up(conn, Up::Message { payload: Payload::Heartbeat, bytes });
    }

    pub(super) fn resume(&mut self, client: ClientNo) {
        self.devices[client.index()].paused = false;
        self.spec.reading(client.0, true);
        self.trace.ends(self.now_us, Lane::Client(client.0), State::Paused, 0);
        let device = &self.devices[client.index()];
        let conns: Vec<_> = device.former.iter().chain(&device.conn).copied().collect();
        conns.into_iter().for_each(|conn| self.read(conn));
    }

    /// The last of a client's connections before this one that is gone, and whose node is not.
    pub(super) fn departed(&self, client: ClientNo) -> Option<ConnKey> {
        let dead = self.devices[client.index()].former.iter().rev().find(|conn| {
            let conn = &self.conns[**conn as usize];
            !conn.server_open && self.nodes[conn.node.index()].up
        });
        dead.copied()
    }

    /// A late event of a connection that is gone.
    pub(super) fn ghost(&mut self, client: ClientNo, kind: u32) {
        let Some(dead) = self.departed(client) else { return };
        let (shard, id) = (self.conns[dead as usize].shard, self.conns[dead as usize].id);
        let event = match kind {
            0 | 1 => Event::Disconnected { conn: id },
            2 => Event::PeerClosed { conn: id },
            3 => Event::Flushed { conn: id, frames: 1, payload_bytes: 1 },
            4 => Event::Pong { conn: id, payload: Bytes::new() },
            _ => Event::Received { conn: id, message: Bytes::from_static(b"\x07") },
        };
        self.tally.add(Fault::LateEvent);
        self.begin(shard);
        self.check.late(shard, id);
        self.trace
            .note(self.now_us, self.lane(shard), || format!("late event of {client}'s former connection"));
        self.feed(shard, event);
    }
}

/// What is counted when a connection is lost.
const fn lost(seen: Seen) -> Fault {
    match seen {
        Seen::Server => Fault::LostSeenByServer,
        Seen::Client => Fault::LostSeenByClient,
        Seen::Both => Fault::LostSeenByBoth,
        Seen::Nobody => Fault::LostSeenByNobody,
    }
}
