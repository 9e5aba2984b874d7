//! Clients: the engine's own, driven as its documentation says, and raw ones that only speak the wire.

use bytes::Bytes;
use core::time::Duration;
use switchboard_engine::{
    Client, ClientAction, ClientConfig, ClientEvent, Frame, IncomingKind, Instant, LinkId, Notification,
    Outgoing, Reconnect,
};

use super::{Draw, Happening, World, queue::Up, sut::Sut};
use crate::{
    check::{ConnKey, MessageKey, Payload},
    choice::keyed,
    schedule::{ClientKind, ClientNo, NodeNo},
    trace::{Lane, State, Via},
    wire::{self, Token, View},
};

/// The longest pause between two attempts of an engine or session client, in seconds: the healed phase waits for it.
pub(super) const RECONNECT_CAP_S: u64 = 5;

impl<T: Sut> World<'_, T> {
    /// Gives a device the engine's client, if it is to have one.
    pub(super) fn make_engine_client(&mut self, client: ClientNo) {
        let spec = self.devices[client.index()].spec;
        if spec.kind != ClientKind::Engine {
            return;
        }
        let mut config = ClientConfig::new(self.users[spec.user.index()].clone());
        config.connect_timeout = Duration::from_secs(3);
        config.close_timeout = Duration::from_secs(2);
        config.heartbeat_interval = Duration::from_secs(4);
        config.idle_timeout = Duration::from_secs(9);
        config.reconnect = Reconnect {
            cap: Duration::from_secs(RECONNECT_CAP_S),
            stable_after: Duration::from_secs(2),
            ..Reconnect::default()
        };
        config.limits.message_bytes = self.schedule.settings.message_bytes;
        let seed = keyed(self.schedule.seed, u64::from(client.0), Draw::Client as u64);
        let engine = Client::new(config, seed, self.client_now());
        self.devices[client.index()].engine = Some(Box::new(engine));
    }

    pub(super) const fn client_now(&self) -> Instant {
        Instant::from_nanos(self.now_us * 1000)
    }

    /// A client wants a connection to a node.
    pub(super) fn connect(&mut self, client: ClientNo, node: NodeNo) {
        if self.devices[client.index()].app.is_some() {
            return self.connect_app(client, node);
        }
        self.devices[client.index()].node = node;
        let now = self.client_now();
        if let Some(engine) = &mut self.devices[client.index()].engine {
            engine.connect(now);
            return self.pump(client);
        }
        let alive = self.devices[client.index()].conn.filter(|conn| !self.conns[*conn as usize].severed);
        if alive.is_some() || self.devices[client.index()].dialling {
            return;
        }
        // A front-end that is loaded anew forgets its dead connection without a word.
        if let Some(dead) = self.devices[client.index()].conn.take() {
            self.conns[dead as usize].client_open = false;
            self.trace_offline(dead);
            self.devices[client.index()].former.push(dead);
        }
        self.devices[client.index()].dialling = true;
        self.dial(client, node, LinkId(0));
    }

    /// A client's handshake is on its way.
    pub(super) fn dial(&mut self, client: ClientNo, node: NodeNo, link: LinkId) {
        let at_us = self.now_us + self.net_delay(client, Draw::Dial);
        let way = self.dial_way(client, node);
        self.trace.sends(self.now_us, self.queue.coming(), way, || (Via::Control, "connect".to_owned()));
        self.queue.push(at_us, Happening::Open { client, node, link });
    }

    /// From a client to the shard that a connection to a node would live on.
    pub(super) fn dial_way(&self, client: ClientNo, node: NodeNo) -> (Lane, Lane) {
        let user = &self.users[self.devices[client.index()].spec.user.index()];
        (Lane::Client(client.0), self.lane(self.home(node, user)))
    }

    /// Notes that a client does not believe in a connection any more.
    pub(super) fn trace_offline(&mut self, key: ConnKey) {
        let (client, _) = self.up(key);
        for state in [State::Connected, State::HalfOpen] {
            self.trace.ends(self.now_us, client, state, key);
        }
    }

    /// A raw client dials again, where it was, and a raw session introduces itself.
    pub(super) fn redial(&mut self, client: ClientNo) {
        let node = self.devices[client.index()].node;
        let app = self.devices[client.index()].app.as_ref();
        if app.is_some_and(|app| !app.is_wanted) {
            return;
        }
        self.connect(client, node);
        let device = &self.devices[client.index()];
        if device.dialling && device.waiting.is_empty() {
            self.hello(client, 0);
        }
    }

    /// A client learns that its connection is open.
    pub(super) fn opened(&mut self, key: ConnKey) {
        let conn = &self.conns[key as usize];
        let (client, link) = (conn.client, conn.link);
        if conn.severed || !conn.client_open {
            return self.trace.lost(self.now_us, "the connection is dead");
        }
        self.trace.arrived(self.now_us);
        self.trace.begins(self.now_us, Lane::Client(client.0), State::Connected, key, String::new);
        let now = self.client_now();
        let device = &mut self.devices[client.index()];
        let before = device.conn.replace(key);
        device.dialling = false;
        if device.app.is_some() {
            if self.app_opened(client, link) {
                self.devices[client.index()].former.extend(before);
            } else {
                // The process has given it up, or was another one.
                self.devices[client.index()].conn = before;
                self.give_up(key);
            }
            return self.pump_app(client);
        }
        let device = &mut self.devices[client.index()];
        if device.engine.is_none() {
            device.former.extend(before);
            let waiting = core::mem::take(&mut device.waiting);
            return waiting.into_iter().for_each(|up| self.send_up(key, up));
        }
        let Some(engine) = &mut device.engine else { return };
        let stale = engine.stats().stale_events;
        engine.handle(now, ClientEvent::Opened { link });
        if engine.stats().stale_events > stale {
            // Given up meanwhile, perhaps for the one that the client has: the network resets it.
            device.conn = before;
            self.give_up(key);
        } else {
            device.former.extend(before);
        }
        self.pump(client);
    }

    /// A client learns that it could not connect.
    pub(super) fn connect_failed(&mut self, client: ClientNo, link: LinkId) {
        let now = self.client_now();
        self.trace.arrived(self.now_us);
        let nodes = self.schedule.settings.nodes as u16;
        if self.devices[client.index()].app.is_some() {
            if self.app_event(client, link, |link| ClientEvent::ConnectFailed { link }) {
                let device = &mut self.devices[client.index()];
                device.node = NodeNo((device.node.0 + 1) % nodes);
            }
            return self.pump_app(client);
        }
        let device = &mut self.devices[client.index()];
        match &mut device.engine {
            Some(engine) => {
                engine.handle(now, ClientEvent::ConnectFailed { link });
                device.node = NodeNo((device.node.0 + 1) % nodes);
                self.pump(client);
            }
            None => {
                device.dialling = false;
                device.waiting.clear();
            }
        }
    }

    /// The client lets a connection go without a word; the server hears of it from the network.
    pub(super) fn give_up(&mut self, key: ConnKey) {
        let conn = &mut self.conns[key as usize];
        conn.client_open = false;
        self.spec.ended(key);
        let conn = &self.conns[key as usize];
        let (client, severed) = (conn.client, conn.severed);
        self.devices[client.index()].former.push(key);
        self.trace_offline(key);
        if !severed {
            let at_us = self.now_us + self.net_delay(client, Draw::Up);
            let way = self.up(key);
            self.trace.sends(self.now_us, self.queue.coming(), way, || (Via::Control, "gives up".to_owned()));
            self.queue.push(at_us, Happening::ServerLost { conn: key });
        }
    }

    /// The client's side of a connection ends.
    pub(super) fn client_lost(&mut self, key: ConnKey, close: Option<u16>) {
        let told = self.trace.arrived(self.now_us);
        let conn = &mut self.conns[key as usize];
        if !core::mem::replace(&mut conn.client_open, false) {
            return;
        }
        let (client, link) = (conn.client, conn.link);
        self.spec.ended(key);
        if !told {
            self.trace.note(self.now_us, Lane::Client(client.0), || "loses its connection".to_owned());
        }
        self.trace_offline(key);
        let now = self.client_now();
        let device = &mut self.devices[client.index()];
        device.former.push(key);
        device.closed = close;
        if device.conn == Some(key) {
            device.conn = None;
        }
        if device.app.is_some() {
            self.app_event(client, link, |link| ClientEvent::Disconnected { link, close });
            self.pump_app(client);
        } else if let Some(engine) = &mut device.engine {
            engine.handle(now, ClientEvent::Disconnected { link, close });
            self.pump(client);
        } else {
            device.dialling = false;
        }
    }

    /// An engine client's deadline has come.
    pub(super) fn client_timeout(&mut self, client: ClientNo) {
        let now = self.client_now();
        let device = &mut self.devices[client.index()];
        if device.armed_us.is_none_or(|armed_us| armed_us > self.now_us) {
            return;
        }
        device.armed_us = None;
        if let Some(engine) = &mut device.engine {
            engine.handle_timeout(now);
            self.pump(client);
        } else {
            self.app_timeout(client);
        }
    }

    /// A frame is read by a client.
    pub(super) fn hear(&mut self, key: ConnKey, frame: Frame) {
        let conn = &self.conns[key as usize];
        let (client, link) = (conn.client, conn.link);
        if self.devices[client.index()].conn != Some(key) {
            return;
        }
        self.note_heard(key, &frame);
        self.spec.hears(key, &frame, &self.check);
        let now = self.client_now();
        if self.devices[client.index()].app.is_some() {
            let listens = self.is_connected(client);
            self.app_event(client, link, |link| match frame {
                Frame::Message(message) => ClientEvent::Received { link, message },
                Frame::Ping(payload) | Frame::Pong(payload) => ClientEvent::Pinged { link, payload },
            });
            self.pump_app(client);
            return self.spec.told_all(client.0, listens);
        }
        match &mut self.devices[client.index()].engine {
            None => {
                if let Frame::Ping(payload) = frame {
                    self.send_up(key, Up::Pong(payload));
                }
            }
            Some(engine) => {
                let event = match frame {
                    Frame::Message(message) => ClientEvent::Received { link, message },
                    Frame::Ping(payload) => ClientEvent::Pinged { link, payload },
                    Frame::Pong(_) => return,
                };
                engine.handle(now, event);
                self.pump(client);
            }
        }
    }

    fn note_heard(&mut self, key: ConnKey, frame: &Frame) {
        self.trace.arrived(self.now_us);
        let is_session = self.conns[key as usize].is_session;
        let (Frame::Message(bytes), Some(probing)) = (frame, &mut self.probing) else { return };
        if is_session {
            let tokens = wire::session::tokens_of(bytes);
            let messages = tokens.into_iter().filter_map(|token| self.check.message(token));
            probing.heard.extend(messages.map(|message| (key, message)));
        } else if let Some(message) = self.check.known_message(bytes) {
            probing.heard.insert((key, message));
        }
    }

    /// Carries out what an engine client asks for.
    pub(super) fn pump(&mut self, client: ClientNo) {
        self.events += 1;
        while let Some(action) = self.devices[client.index()].engine.as_mut().and_then(|e| e.poll_action()) {
            self.client_action(client, action);
        }
        let device = &mut self.devices[client.index()];
        let Some(engine) = &device.engine else { return };
        let stats = *engine.stats();
        let dropped =
            stats.dropped_link_lost + stats.dropped_superseded + stats.dropped_closed + stats.dropped_refused;
        if stats.accepted != stats.flushed + dropped + engine.pending_messages() as u64 {
            self.check.fail("accounting", |_| format!("c{}'s messages do not balance: {stats:?}", client.0));
        }
        let Some(next) = engine.poll_timeout() else { return };
        let at_us = next.as_nanos().div_ceil(1000).max(self.now_us);
        if device.armed_us.is_none_or(|armed_us| at_us < armed_us) {
            device.armed_us = Some(at_us);
            self.queue.push(at_us, Happening::ClientTimeout { client });
        }
    }

    fn client_action(&mut self, client: ClientNo, action: ClientAction) {
        let current = |world: &Self, link| {
            let conn = world.devices[client.index()].conn;
            conn.filter(|conn| world.conns[*conn as usize].link == link)
        };
        match action {
            ClientAction::Connect { link } => {
                let node = self.devices[client.index()].node;
                self.dial(client, node, link);
            }
            ClientAction::Send { link, frame } => {
                let Some(conn) = current(self, link) else { return };
                let payload_bytes = frame.payload().len() as u64;
                let up = match frame {
                    Frame::Message(bytes) => Up::Message { payload: self.payload(client, &bytes), bytes },
                    Frame::Ping(_) => Up::Ping,
                    Frame::Pong(payload) => Up::Pong(payload),
                };
                self.send_up(conn, up);
                // What is sent into a dead connection stays in the operating system's buffer.
                if !self.conns[conn as usize].severed {
                    let now = self.client_now();
                    if let Some(engine) = &mut self.devices[client.index()].engine {
                        engine.handle(now, ClientEvent::Flushed { link, frames: 1, payload_bytes });
                    }
                }
            }
            ClientAction::Close { link, code: _ } => {
                if let Some(conn) = current(self, link) {
                    self.send_up(conn, Up::Close);
                }
            }
            ClientAction::Abort { link } => {
                if let Some(conn) = current(self, link) {
                    self.devices[client.index()].conn = None;
                    self.give_up(conn);
                }
            }
            ClientAction::Notify(notification) => self.notified(client, notification),
        }
    }

    /// What an engine client sends, as the checks know it.
    fn payload(&mut self, client: ClientNo, bytes: &Bytes) -> Payload {
        let view = View::read(bytes).unwrap_or_default();
        if view.kind == wire::HEARTBEAT {
            return Payload::Heartbeat;
        }
        match view.token().and_then(|token| self.check.message(token)) {
            Some(key) => {
                self.check.said[key as usize].bytes = bytes.clone();
                Payload::Said(key)
            }
            None => {
                self.check.fail("no-spoof", |_| format!("c{} sends what it was not told to", client.0));
                Payload::Garbage
            }
        }
    }

    /// An engine client tells its application something.
    fn notified(&mut self, client: ClientNo, notification: Notification) {
        let Notification::Message(incoming) = notification else { return };
        let text = match &incoming.kind {
            IncomingKind::Text(text)
            | IncomingKind::Signal { content: text, .. }
            | IncomingKind::Other { content: text, .. } => text.as_str(),
            IncomingKind::File(media)
            | IncomingKind::Image(media)
            | IncomingKind::Audio(media)
            | IncomingKind::Video(media) => media.caption.as_str(),
        };
        let token = Token::read(text).or_else(|| Token::read(&incoming.username));
        let Some(key) = token.and_then(|token| self.check.message(token)) else { return };
        let sender = self.check.said[key as usize].sender;
        if wire::index(incoming.sender()) != Some(sender) {
            self.check.fail("no-spoof", |_| {
                format!("c{} takes {text} for a message of {}", client.0, incoming.sender())
            });
        }
    }

    /// A raw client says something, or an engine client is told to.
    pub(super) fn say(&mut self, client: ClientNo, message: MessageKey) {
        if let Some(conn) = self.devices[client.index()].conn {
            let bytes = self.check.said[message as usize].bytes.clone();
            self.send_up(conn, Up::Message { payload: Payload::Said(message), bytes });
        }
    }

    /// An engine client is told to send something. What it refuses is said to nobody.
    pub(super) fn command(&mut self, client: ClientNo, outgoing: Outgoing) {
        let now = self.client_now();
        if let Some(engine) = &mut self.devices[client.index()].engine {
            let _ = engine.send(now, outgoing);
            self.pump(client);
        }
    }
}
