//! What one shard knows, and the carrying out of what its engine asks for.

use std::rc::Rc;

use switchboard_engine::{Action, Carried, CloseReason, ConnId, Event, Instant, Request, Server};
use tokio::{net::tcp::OwnedWriteHalf, sync::Notify};

use super::{
    Place, ShardParts,
    socket::{Queues, Socket},
    sockets::Sockets,
};
use crate::{
    clock::Clock,
    server::bus::{Bus, Outbox},
    store::StoreHandle,
    websocket,
};

/// The size of the buffer that all connections of a shard are read into.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// The engine of a shard and what it acts on.
pub(super) struct State {
    engine: Server,
    sockets: Sockets,
    queues: Queues,
    dirty: Vec<ConnId>,
    /// Sockets that this turn's flush is at; empty between flushes.
    flushing: Vec<ConnId>,
    index: usize,
    clock: Clock,
    store: StoreHandle,
    media: StoreHandle,
    bus: std::sync::Arc<Bus>,
    /// What this turn has published.
    outbox: Outbox,
    /// The deadline that the timer task waits for.
    armed: Option<Instant>,
    stopped: Rc<Notify>,
    buffer: Box<[u8]>,
    /// Bytes of unfinished messages of all connections, and their limit.
    pub(super) receiving_bytes: usize,
    pub(super) receive_budget_bytes: usize,
}

impl State {
    pub(super) fn new(engine: Server, parts: ShardParts) -> Self {
        Self {
            engine,
            sockets: Sockets::default(),
            queues: Queues::default(),
            dirty: Vec::new(),
            flushing: Vec::new(),
            index: parts.index,
            clock: parts.clock,
            store: parts.store,
            media: parts.media,
            outbox: parts.bus.outbox(parts.index),
            bus: parts.bus,
            armed: None,
            stopped: Rc::new(Notify::new()),
            buffer: vec![0; RECEIVE_BUFFER_BYTES].into_boxed_slice(),
            receiving_bytes: 0,
            receive_budget_bytes: parts.receive_budget_bytes,
        }
    }

    /// Told when the engine has stopped.
    pub(super) fn stopped(&self) -> Rc<Notify> {
        Rc::clone(&self.stopped)
    }

    /// The size limit of one message.
    pub(super) fn message_limit_bytes(&self) -> u64 {
        self.engine.config().limits.message_bytes
    }

    /// Lends the receive buffer, until it is given back.
    pub(super) fn take_buffer(&mut self) -> Box<[u8]> {
        if self.buffer.is_empty() {
            return vec![0; RECEIVE_BUFFER_BYTES].into_boxed_slice();
        }
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn return_buffer(&mut self, buffer: Box<[u8]>) {
        self.buffer = buffer;
    }

    /// Adds a socket, if there is a slot for it.
    pub(super) fn add(&mut self, stream: OwnedWriteHalf) -> Option<ConnId> {
        self.sockets.insert(stream, self.engine.config().limits.connections)
    }

    pub(super) fn socket(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.sockets.get_mut(conn)
    }

    /// Forgets a connection that is over, and tells the engine.
    pub(super) fn remove(&mut self, conn: ConnId, place: Place) {
        self.handle(Event::Disconnected { conn });
        drop(self.sockets.remove(conn));
        drop(place);
    }

    /// Tells the engine what happened, and does what it asks for.
    pub(super) fn handle(&mut self, event: Event) {
        self.engine.handle(self.clock.now(), event);
        self.act();
    }

    /// Tells the engine that a deadline has come.
    pub(super) fn handle_timeout(&mut self) {
        self.engine.handle_timeout(self.clock.now());
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Send { to, frame } => {
                    let bytes = websocket::encode(&frame);
                    let payload_len = frame.payload().len();
                    let (mut bytes, mut left) = (Some(bytes), to.len());
                    for conn in to {
                        left -= 1;
                        // The last one takes the frame: with one recipient, nothing is shared.
                        let share = if left == 0 { bytes.take() } else { bytes.clone() };
                        let (Some(frame), Some(socket)) = (share, self.sockets.get_mut(*conn)) else {
                            continue;
                        };
                        if socket.push(frame, payload_len, &mut self.queues) && !socket.dirty {
                            socket.dirty = true;
                            self.dirty.push(*conn);
                        }
                    }
                }
                Action::Close { conn, reason } => {
                    if let Some(socket) = self.sockets.get_mut(conn) {
                        tracing::debug!(%conn, %reason, "closing a connection");
                        let peer_closed = reason == CloseReason::PeerClosed;
                        let frame = if peer_closed {
                            websocket::encode_close_answer(socket.peer_code)
                        } else {
                            websocket::encode_close(reason)
                        };
                        socket.push_close(frame, peer_closed);
                        if !socket.dirty {
                            socket.dirty = true;
                            self.dirty.push(conn);
                        }
                    }
                }
                Action::Abort { conn } => {
                    if let Some(socket) = self.sockets.get_mut(conn) {
                        socket.abort();
                    }
                }
                Action::Request { ticket, request } => match request {
                    Request::LoadUser(_)
                    | Request::StoreMessage(_)
                    | Request::LoadHeads { .. }
                    | Request::LoadMessages(_)
                    | Request::StoreMarks(_)
                    | Request::StoreSeen(_)
                    | Request::LoadSeen { .. }
                    | Request::StoreReceived(_)
                    | Request::LoadUnreceived { .. } => {
                        self.store.submit(self.index, ticket, request);
                    }
                    Request::StoreFile(_) => self.media.submit(self.index, ticket, request),
                },
                Action::Publish(record) => self.bus.publish(&mut self.outbox, &Carried::Record(record)),
                Action::Tell(note) => self.bus.publish(&mut self.outbox, &Carried::Note(note)),
                Action::Subscribe(topic) => self.bus.subscribe(self.index, topic),
                Action::Unsubscribe(topic) => self.bus.unsubscribe(self.index, &topic),
                Action::Stopped => self.stopped.notify_one(),
            }
        }
    }

    /// What the engine has counted, without what never happened.
    pub(super) fn summary(&self) -> String {
        let counted = self.engine.stats().iter().filter(|(_, count)| *count > 0);
        counted.map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn wants_flush(&self) -> bool {
        !self.dirty.is_empty() || !self.outbox.is_empty()
    }

    /// Sends other shards what this turn has published.
    pub(super) fn send(&mut self) {
        self.bus.send(&mut self.outbox);
    }

    /// Writes what this turn has put into outboxes, and what follows from having written it.
    pub(super) fn flush(&mut self) {
        while !self.dirty.is_empty() {
            std::mem::swap(&mut self.dirty, &mut self.flushing);
            while let Some(conn) = self.flushing.pop() {
                self.write(conn);
            }
        }
    }

    /// Writes what waits for one connection, and reports what is written.
    pub(super) fn write(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        socket.dirty = false;
        let progress = socket.write(&mut self.queues);
        if progress.frames > 0 {
            let (frames, payload_bytes) = (progress.frames, progress.payload_bytes);
            self.handle(Event::Flushed { conn, frames, payload_bytes });
        }
    }

    /// Whether the engine has a deadline before the one that the timer task waits for.
    pub(super) fn deadline_moved(&self) -> bool {
        match (self.engine.poll_timeout(), self.armed) {
            (Some(next), Some(armed)) => next < armed,
            (next, armed) => next.is_some() && armed.is_none(),
        }
    }

    /// The deadline to wait for from now on.
    pub(super) fn arm(&mut self) -> (Option<Instant>, Clock) {
        self.armed = self.engine.poll_timeout();
        (self.armed, self.clock)
    }
}
