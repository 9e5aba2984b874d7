//! Connections: two ends that need not agree on whether there is one, and the bytes between them.

use std::collections::VecDeque;

use bytes::Bytes;
use switchboard_engine::{CloseReason, ConnId, Event, FRAME_COST_BYTES, Frame, LinkId, PeerFault, Protocol};

use super::{Draw, Happening, World, drive::message_name, queue::Up, sut::Sut};
use crate::{
    check::{ConnKey, PING, Payload},
    counts::Fault,
    schedule::{ClientNo, Misdeed, NodeNo},
    trace::{State, Via},
    wire::session::client_name,
};

/// What a server sends over a connection.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Frame(Frame),
    Close(u16),
}

impl Down {
    /// Its size on the wire: payload and a header, as RFC 6455 section 5.2 has it for small frames.
    fn wire_bytes(&self) -> u64 {
        match self {
            Self::Frame(frame) => frame.payload().len() as u64 + 4,
            Self::Close(_) => 4,
        }
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    pub(super) client: ClientNo,
    pub(super) link: LinkId,
    pub(super) node: NodeNo,
    pub(super) shard: usize,
    pub(super) id: ConnId,
    /// It speaks the session protocol.
    pub(super) is_session: bool,
    /// Its server's engine knows it.
    pub(super) server_open: bool,
    pub(super) client_open: bool,
    /// Nothing gets through any more, in either direction.
    pub(super) severed: bool,
    pub(super) closing: Option<CloseReason>,
    pub(super) dirty: bool,
    /// Waiting in the server's process.
    pub(super) outbox: VecDeque<Down>,
    /// Bytes of the first frame of the outbox that the operating system has taken.
    written: u64,
    /// Of these, bytes that the client's machine has taken.
    written_read: u64,
    /// Written, and on their way or waiting for the client to read; with the bytes that each still occupies.
    wire: VecDeque<(Down, u64)>,
    wire_bytes: u64,
    /// Frames of `wire` that have reached the client's machine.
    arrived: u32,
    last_up_us: u64,
    last_down_us: u64,
    /// What the engine has asked to send and was not told to be written, as outboxes count it.
    unflushed_bytes: u64,
}

impl Conn {
    /// Another frame waits. Gives how much does now.
    pub(super) const fn waits(&mut self, payload_bytes: u64) -> u64 {
        self.unflushed_bytes += payload_bytes + FRAME_COST_BYTES;
        self.unflushed_bytes
    }

    /// Frames that are written and not read, and the bytes that they occupy.
    pub(super) fn on_the_wire(&self) -> (usize, u64, u32) {
        (self.wire.len(), self.wire_bytes, self.arrived)
    }

    /// Forgets what was not written: nobody will write it.
    pub(super) fn clear_outbox(&mut self) {
        self.outbox.clear();
        self.wire_bytes -= self.written - self.written_read;
        (self.written, self.written_read) = (0, 0);
    }
}

impl<T: Sut> World<'_, T> {
    /// A client's handshake reaches a node.
    pub(super) fn open(&mut self, client: ClientNo, node: NodeNo, link: LinkId) {
        let device = &self.devices[client.index()];
        let wanted = match (&device.engine, &device.app) {
            (Some(_), _) => true,
            (None, Some(_)) => self.is_link_of_app(client, link),
            (None, None) => device.dialling,
        };
        let is_session = device.spec.kind.is_session();
        let state = self.nodes[node.index()];
        self.trace.arrived(self.now_us);
        let (from, to) = self.dial_way(client, node);
        let user = self.users[self.devices[client.index()].spec.user.index()].clone();
        let shard = self.home(node, &user);
        // A handshake that was under way when the node was told to stop may still end.
        let under_way = self.now_us < state.told_us + self.schedule.settings.net_delay_us;
        let refused = state.stopping && (!under_way || self.shards[shard].stopped);
        self.tally.add_if(wanted && state.stopping && !refused, Fault::ArrivedDuringStop);
        if !wanted || !state.up || refused {
            let at_us = self.now_us + self.net_delay(client, Draw::Down);
            self.trace.sends(self.now_us, self.queue.coming(), (to, from), || {
                let why = if !state.up { "is down" } else { "takes nobody" };
                (Via::Control, format!("refused: {node} {why}"))
            });
            return self.queue.push(at_us, Happening::Failed { client, link });
        }
        let key = self.conns.len() as ConnKey;
        let slots = &mut self.shards[shard];
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push((None, 0));
            slots.slots.len() as u32 - 1
        });
        let entry = &mut slots.slots[slot as usize];
        *entry = (Some(key), entry.1 + 1);
        let id = ConnId::new(slot, entry.1);
        self.conns.push(Conn {
            client,
            link,
            node,
            shard,
            id,
            is_session,
            server_open: true,
            client_open: true,
            severed: false,
            closing: None,
            dirty: false,
            outbox: VecDeque::new(),
            written: 0,
            written_read: 0,
            wire: VecDeque::new(),
            wire_bytes: 0,
            arrived: 0,
            last_up_us: self.now_us,
            last_down_us: self.now_us,
            unflushed_bytes: 0,
        });
        let at_us = self.now_us + self.net_delay(client, Draw::Down);
        self.conns[key as usize].last_down_us = at_us;
        self.trace.sends(self.now_us, self.queue.coming(), (to, from), || {
            (Via::Control, format!("open, as {user}"))
        });
        self.queue.push(at_us, Happening::Opened { conn: key });
        self.begin(shard);
        let number = self.devices[client.index()].spec.user.0;
        let seat = self.check.connected(shard, id, number, is_session);
        debug_assert_eq!(seat, key, "connections and seats are numbered alike");
        self.spec.opened(client.0, number, shard, node.0, is_session);
        let protocol = if is_session { Protocol::Session } else { Protocol::Classic };
        self.feed(shard, Event::Connected { conn: id, user, protocol });
    }

    /// A client sends something over its connection.
    pub(super) fn send_up(&mut self, conn: ConnKey, up: Up) {
        let client = self.conns[conn as usize].client;
        let at_us = self.now_us + self.net_delay(client, Draw::Up);
        let way = self.up(conn);
        let is_session = self.conns[conn as usize].is_session;
        self.trace.sends(self.now_us, self.queue.coming(), way, || up_name(&up, is_session));
        let link = &mut self.conns[conn as usize];
        link.last_up_us = at_us.max(link.last_up_us);
        let at_us = link.last_up_us;
        self.queue.push(at_us, Happening::ToServer { conn, up });
    }

    /// Something reaches the server.
    pub(super) fn arrives(&mut self, key: ConnKey, up: Up) {
        let conn = &self.conns[key as usize];
        let (shard, id) = (conn.shard, conn.id);
        // A closing connection is not read any more.
        if !conn.server_open || conn.severed || conn.closing.is_some() {
            let why = if conn.severed {
                "the connection is dead"
            } else if conn.server_open {
                "what is closing is not read"
            } else {
                "the server has no such connection"
            };
            return self.trace.lost(self.now_us, why);
        }
        self.spec.arrives(key, up.bytes(), matches!(up, Up::Close));
        self.trace.arrived(self.now_us);
        match up {
            Up::Message { payload, bytes } => {
                self.spec.received(key, payload, &bytes, &self.check.said);
                self.receive(shard, key, payload, bytes);
            }
            Up::Ping => {
                self.begin(shard);
                self.check.pinged(key, PING.len());
                self.feed(shard, Event::Ping { conn: id, payload: Bytes::from_static(PING) });
            }
            Up::Pong(payload) => {
                self.begin(shard);
                self.check.ponged(key, payload.len());
                self.spec.ponged(key);
                self.feed(shard, Event::Pong { conn: id, payload });
            }
            Up::Wrong(how) => {
                let (fault, reason) = fault(how, self.conns[key as usize].is_session);
                self.begin(shard);
                self.check.misbehaved(key, reason);
                self.spec.misbehaves(key);
                self.feed(shard, Event::Misbehaved { conn: id, fault });
            }
            Up::Close => {
                self.begin(shard);
                self.check.heard(key);
                self.feed(shard, Event::PeerClosed { conn: id });
            }
        }
    }

    /// Writes what the last events have put into outboxes, and what follows from having written it.
    pub(super) fn write_dirty(&mut self) {
        while let Some(key) = self.dirty.pop_front() {
            self.conns[key as usize].dirty = false;
            self.write(key);
        }
    }

    fn write(&mut self, key: ConnKey) {
        let limit = self.schedule.settings.socket_bytes;
        let conn = &mut self.conns[key as usize];
        if !conn.server_open {
            return;
        }
        let (mut frames, mut payload_bytes, mut moved, mut progress) = (0_u32, 0_u64, 0_u32, false);
        while let Some(down) = conn.outbox.front() {
            let left = down.wire_bytes() - conn.written;
            let room = limit.saturating_sub(conn.wire_bytes);
            let taken = left.min(room);
            conn.wire_bytes += taken;
            progress |= taken > 0;
            if taken < left {
                conn.written += taken;
                break;
            }
            let occupied = down.wire_bytes() - core::mem::take(&mut conn.written_read);
            conn.written = 0;
            moved += 1;
            if let Down::Frame(frame) = down {
                frames += 1;
                payload_bytes += frame.payload().len() as u64;
            }
            conn.wire.extend(conn.outbox.pop_front().map(|down| (down, occupied)));
        }
        let over = conn.outbox.is_empty() && conn.closing == Some(CloseReason::PeerClosed);
        let (client, shard, id) = (conn.client, conn.shard, conn.id);
        if progress {
            let at_us = self.now_us + self.net_delay(client, Draw::Down);
            let conn = &mut self.conns[key as usize];
            conn.last_down_us = at_us.max(conn.last_down_us);
            self.queue.push(conn.last_down_us, Happening::ToClient { conn: key, frames: moved });
        }
        if frames > 0 {
            let conn = &mut self.conns[key as usize];
            conn.unflushed_bytes -= payload_bytes + u64::from(frames) * FRAME_COST_BYTES;
            if conn.is_session && conn.unflushed_bytes == 0 {
                self.spec.drained(key);
            }
            self.begin(shard);
            self.check.flushed(key, u64::from(frames), payload_bytes);
            self.feed(shard, Event::Flushed { conn: id, frames, payload_bytes });
        }
        if over {
            self.queue.push(self.now_us, Happening::ServerLost { conn: key });
        }
    }

    /// Frames reach the client's machine.
    pub(super) fn reaches(&mut self, key: ConnKey, frames: u32) {
        let conn = &mut self.conns[key as usize];
        if conn.severed {
            let (kept, lost) = (conn.arrived as usize, frames as usize);
            return self.trace.lost_down(self.now_us, key, kept, lost, "the connection is dead");
        }
        conn.arrived += frames;
        let paused = self.devices[conn.client.index()].paused;
        if !paused {
            self.read(key);
        }
    }

    /// The client reads what has arrived.
    pub(super) fn read(&mut self, key: ConnKey) {
        while self.conns[key as usize].arrived > 0 {
            let conn = &mut self.conns[key as usize];
            conn.arrived -= 1;
            let Some((down, occupied)) = conn.wire.pop_front() else { break };
            conn.wire_bytes -= occupied;
            let open = conn.client_open;
            self.trace.comes_down(key);
            match down {
                Down::Frame(frame) if open => self.hear(key, frame),
                Down::Close(code) if open => {
                    self.client_lost(key, Some(code));
                    let client = self.conns[key as usize].client;
                    let at_us = self.now_us + self.net_delay(client, Draw::Up);
                    let way = self.up(key);
                    self.trace
                        .sends(self.now_us, self.queue.coming(), way, || (Via::Control, "Close".to_owned()));
                    self.queue.push(at_us, Happening::ServerLost { conn: key });
                }
                Down::Frame(_) | Down::Close(_) => {}
            }
            self.trace.lost(self.now_us, "the client has left");
        }
        let conn = &mut self.conns[key as usize];
        // What is there of a frame that is written in parts is taken too.
        conn.wire_bytes -= conn.written - conn.written_read;
        conn.written_read = conn.written;
        if !conn.outbox.is_empty() && !core::mem::replace(&mut conn.dirty, true) {
            self.dirty.push_back(key);
        }
    }

    /// The server's side of a connection ends.
    pub(super) fn server_lost(&mut self, key: ConnKey) {
        let told = self.trace.arrived(self.now_us);
        let conn = &mut self.conns[key as usize];
        if !core::mem::replace(&mut conn.server_open, false) {
            return;
        }
        self.spec.ended(key);
        self.spec.gone(key);
        let conn = &self.conns[key as usize];
        let (shard, id, client, severed) = (conn.shard, conn.id, conn.client, conn.severed);
        self.unsent(key);
        let lane = self.lane(shard);
        if !told {
            self.trace.note(self.now_us, lane, || format!("{client} is disconnected"));
        }
        self.trace.ends(self.now_us, lane, State::HalfOpen, key);
        // Before the engine knows: if it stops now, the node goes down, and its slots with it.
        let slots = &mut self.shards[shard];
        slots.slots[id.slot() as usize].0 = None;
        slots.free.push(id.slot());
        self.begin(shard);
        self.check.disconnected(key);
        self.spec.left(key);
        self.feed(shard, Event::Disconnected { conn: id });
        if !severed {
            self.tell_client(key);
        }
    }

    /// What waits in a connection's outbox is dropped: nobody will write it.
    pub(super) fn unsent(&mut self, key: ConnKey) {
        let conn = &mut self.conns[key as usize];
        let (kept, lost) = (conn.wire.len(), conn.outbox.len());
        conn.clear_outbox();
        self.trace.lost_down(self.now_us, key, kept, lost, "dropped from the outbox");
    }

    /// The client will notice that the connection is gone, after what is on its way.
    pub(super) fn tell_client(&mut self, key: ConnKey) {
        let client = self.conns[key as usize].client;
        let at_us = self.now_us + self.net_delay(client, Draw::Down);
        let at_us = at_us.max(self.conns[key as usize].last_down_us);
        if self.conns[key as usize].client_open {
            let way = self.down(key);
            self.trace.sends(self.now_us, self.queue.coming(), way, || {
                (Via::Control, "connection ends".to_owned())
            });
        }
        self.queue.push(at_us, Happening::ClientLost { conn: key });
    }
}

/// What kind of thing a client sends, and what it is called in traces.
pub(super) fn up_name(up: &Up, is_session: bool) -> (Via, String) {
    match up {
        Up::Message { payload, bytes } if is_session => {
            let via = if matches!(payload, Payload::Said(_)) { Via::Message } else { Via::Control };
            (via, client_name(bytes))
        }
        Up::Message { payload: Payload::Heartbeat, .. } => (Via::Control, "heartbeat".to_owned()),
        Up::Message { bytes, .. } => (Via::Message, message_name(bytes)),
        Up::Ping => (Via::Control, "Ping".to_owned()),
        Up::Pong(_) => (Via::Control, "Pong".to_owned()),
        Up::Wrong(how) => (Via::Control, format!("misbehaves: {how}")),
        Up::Close => (Via::Control, "Close".to_owned()),
    }
}

/// What an engine is told of a misdeed, and for what it has to close the connection.
const fn fault(how: Misdeed, is_session: bool) -> (PeerFault, CloseReason) {
    match how {
        Misdeed::Framing => (PeerFault::Framing, CloseReason::ProtocolError),
        Misdeed::Text => (PeerFault::TextMessage, CloseReason::TextMessage),
        Misdeed::Utf8 if is_session => (PeerFault::InvalidUtf8, CloseReason::UndecodableFrame),
        Misdeed::Utf8 => (PeerFault::InvalidUtf8, CloseReason::Undecodable),
        Misdeed::Large => (PeerFault::MessageTooLarge, CloseReason::MessageTooLarge),
        Misdeed::Budget => (PeerFault::ReceiveBudget, CloseReason::ServerFull),
    }
}
