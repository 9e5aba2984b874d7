//! The steps of a schedule, carried out.

use core::fmt::Write as _;

use bytes::Bytes;
use switchboard_engine::{Body, Carried, Event, Outgoing, Record, SignalKind, Target, Topic};
use switchboard_proto::classic::Message;

use super::{
    Happening, World, apps,
    bus::BusMood,
    engine_seed,
    heal::FOR_GOOD_US,
    hostile::Asking,
    queue::{Life, Up},
    store::StoreMood,
    sut::{Machine as _, Sut},
};
use crate::{
    check::{Payload, Route, Said},
    counts::Fault,
    schedule::{Carrier, ClientKind, ClientNo, NodeNo, Seen, Step, To, UserNo, What, Whose},
    trace::{Lane, State, Via},
    wire::{self, Token},
};

/// What a client is to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speech {
    pub(super) token: Token,
    pub(super) to: To,
    pub(super) content_type: i32,
    pub(super) is_call: bool,
    /// Extra length of a text, or the length of a file.
    pub(super) bytes: u32,
    pub(super) carrier: Option<Carrier>,
    pub(super) claims: Option<UserNo>,
}

impl Speech {
    pub(super) const fn text(token: Token, to: To, bytes: u32) -> Self {
        Self { token, to, content_type: 1, is_call: false, bytes, carrier: None, claims: None }
    }
}

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
            What::Invalid { client, kind } => self.invalid(client, token, kind),
            What::Older { client, of, before_seq, limit } => self.older(client, of, before_seq, limit),
            What::Die { client, actions, down_us } => self.die(client, actions, down_us),
            What::Wipe { client } => self.wipe(client),
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
    fn raw(&self, client: ClientNo) -> Option<crate::check::ConnKey> {
        let device = &self.devices[client.index()];
        device.conn.filter(|_| device.spec.kind.is_raw())
    }

    /// The same of one that speaks the classic protocol.
    fn raw_classic(&self, client: ClientNo) -> Option<crate::check::ConnKey> {
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

    /// A client says something, if it can.
    pub(super) fn speak(&mut self, client: ClientNo, speech: Speech) {
        let device = &self.devices[client.index()];
        let storable = (1..=5).contains(&speech.content_type) && speech.claims.is_none();
        match device.spec.kind {
            ClientKind::Session if storable => return self.submit(client, speech),
            ClientKind::RawSession if storable => return self.submit_raw(client, speech),
            // What only classic clients can say.
            ClientKind::Session | ClientKind::RawSession => return,
            ClientKind::Raw | ClientKind::Engine => {}
        }
        let engine = device.engine.is_some();
        if engine && speech.claims.is_some() || !engine && device.conn.is_none() {
            return;
        }
        let message = self.word(client, speech);
        if engine {
            let outgoing = self.outgoing(speech);
            self.command(client, outgoing);
        } else {
            self.say(client, message);
        }
    }

    /// Registers what is about to be said.
    pub(super) fn word(&mut self, client: ClientNo, speech: Speech) -> crate::check::MessageKey {
        let user = self.devices[client.index()].spec.user;
        let stored = (1..=5).contains(&speech.content_type);
        let engine = self.devices[client.index()].engine.is_some();
        let is_call = speech.is_call || (engine && !stored);
        let route = match speech.to {
            To::User(to) if stored => Route::User(to.0),
            To::Group(to) if stored => Route::Group(to.0),
            To::User(to) => Route::Relay(to.0),
            // A relayed message's recipient is a user, whatever it is called; no user has a group's name.
            To::Group(_) => Route::Relay(u16::MAX),
            To::Nobody if is_call || speech.content_type == 0 => Route::Call,
            To::Nobody => Route::Everyone,
        };
        // The engine's client makes its bytes itself.
        let is_session = self.devices[client.index()].spec.kind.is_session();
        let bytes = match (engine, is_session) {
            (true, _) => Bytes::new(),
            (false, true) => wire::encode(&self.classic_form(speech, user)),
            (false, false) => wire::encode(&self.message(speech, user, is_call)),
        };
        self.check.say(Said {
            token: speech.token,
            sender: user.0,
            route,
            bytes,
            honest: speech.claims.is_none_or(|claims| claims == user),
            content_type: speech.content_type,
            is_call,
            is_session,
            submit: Bytes::new(),
            media: speech.carrier.is_some() && !is_session,
            empty_file: !is_session && speech.carrier == Some(Carrier::DataUrl) && speech.bytes < 3,
            conns: Vec::new(),
            stored: 0,
            seqs: Vec::new(),
            call_peer: None,
            avatar_floor: u32::MAX,
        })
    }

    /// What a raw client sends.
    fn message(&self, speech: Speech, user: UserNo, is_call: bool) -> Message {
        Message {
            from_username: speech.token.to_string(),
            from: self.users[speech.claims.unwrap_or(user).index()].as_str().to_owned(),
            to: match speech.to {
                To::User(user) => self.users[user.index()].as_str().to_owned(),
                To::Group(group) => self.groups[group.index()].as_str().to_owned(),
                To::Nobody => String::new(),
            },
            content: match speech.carrier {
                Some(Carrier::DataUrl) => {
                    format!("data:;base64,{}", "QUFB".repeat(speech.bytes as usize / 3))
                }
                Some(Carrier::Bytes) => speech.token.to_string(),
                None => text(speech),
            },
            content_type: speech.content_type,
            r#type: if is_call { "webrtc".to_owned() } else { String::new() },
            message_type: if matches!(speech.to, To::Group(_)) { 2 } else { 1 },
            file: match speech.carrier {
                Some(Carrier::Bytes) => vec![b'f'; speech.bytes.max(1) as usize].into(),
                Some(Carrier::DataUrl) | None => Bytes::new(),
            },
            file_suffix: speech.carrier.map(|_| speech.token.to_string()).unwrap_or_default(),
            ..Message::default()
        }
    }

    /// What classic clients hear of what a session says.
    fn classic_form(&self, speech: Speech, user: UserNo) -> Message {
        let sender = self.users[user.index()].as_str();
        let content = apps::content(speech);
        Message {
            from_username: sender.to_owned(),
            from: sender.to_owned(),
            to: match speech.to {
                To::User(user) => self.users[user.index()].as_str().to_owned(),
                To::Group(group) => self.groups[group.index()].as_str().to_owned(),
                To::Nobody => String::new(),
            },
            content: content.text.into(),
            content_type: speech.content_type,
            message_type: if matches!(speech.to, To::Group(_)) { 2 } else { 1 },
            url: content.file.into(),
            ..Message::default()
        }
    }

    /// The same for the engine's client, which makes the bytes itself.
    fn outgoing(&self, speech: Speech) -> Outgoing {
        let content = text(speech);
        if !(1..=5).contains(&speech.content_type) {
            let to = match speech.to {
                To::User(user) => Some(self.users[user.index()].clone()),
                To::Group(_) | To::Nobody => None,
            };
            let kind = match speech.content_type {
                0 => SignalKind::Session,
                6 => SignalKind::VoiceCall,
                7 => SignalKind::VideoCall,
                8 => SignalKind::CameraFrame,
                9 => SignalKind::ScreenFrame,
                number => SignalKind::Dialling(number),
            };
            return Outgoing::Signal { to, kind, content: content.into() };
        }
        let to = match speech.to {
            To::User(user) => Target::User(self.users[user.index()].clone()),
            To::Group(group) => Target::Group(self.groups[group.index()].clone()),
            To::Nobody => Target::Everyone,
        };
        let body = match speech.carrier {
            None => Body::Text(content.into()),
            Some(_) => Body::Upload {
                caption: speech.token.to_string().into(),
                suffix: speech.token.to_string().into(),
                file: vec![b'f'; speech.bytes.max(1) as usize].into(),
            },
        };
        Outgoing::Message { to, body }
    }

    fn pictures(&mut self, client: ClientNo, token: Token, to: To, kind: i32, count: u32, gap_us: u64) {
        if self.devices[client.index()].spec.kind.is_session() {
            // Sessions have no live pictures.
            return;
        }
        for nth in 0..count {
            let token = Token { nth, ..token };
            let speech = Speech { content_type: kind, ..Speech::text(token, to, 100) };
            if gap_us == 0 || nth == 0 || self.devices[client.index()].engine.is_some() {
                self.speak(client, speech);
            } else if self.devices[client.index()].conn.is_some() {
                let message = self.word(client, speech);
                let at_us = self.now_us + u64::from(nth) * gap_us;
                self.queue.push(at_us, Happening::Say { client, message });
            }
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
    pub(super) fn departed(&self, client: ClientNo) -> Option<crate::check::ConnKey> {
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

    /// A node dies: what its engines knew is gone, and so is what the store had not committed for it.
    fn crash(&mut self, node: NodeNo, down_us: u64) {
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
            let seed = engine_seed(self.schedule.seed, shard, self.shards[shard].incarnation);
            let now = switchboard_engine::Instant::from_nanos(engine_ns);
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

    fn mass(&mut self, node: NodeNo) {
        for client in 0..self.devices.len() as u16 {
            let client = ClientNo(client);
            let there = |conn: &crate::check::ConnKey| self.conns[*conn as usize].node == node;
            if self.devices[client.index()].conn.as_ref().is_some_and(there) {
                self.cut(client, Seen::Both, 0);
                let at_us = self.now_us + self.draw(u64::from(client.0), super::Draw::Dial) % 1_000_000;
                self.queue.push(at_us, Happening::Redial { client });
            }
        }
    }
}

/// What texts are filled up with.
const FILLING: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// A text that begins with its token, and is as long as it is to be.
pub(super) fn text(speech: Speech) -> String {
    let mut text = String::with_capacity(24 + speech.bytes as usize);
    let _ = write!(text, "{} ", speech.token);
    let mut left = speech.bytes as usize;
    while left > 0 {
        let part = left.min(FILLING.len());
        text.push_str(&FILLING[..part]);
        left -= part;
    }
    text
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
