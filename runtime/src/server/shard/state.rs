//! What one shard knows, and the carrying out of what its engine asks for.

use std::{collections::VecDeque, sync::Arc};

use switchboard_engine::{Action, Carried, CloseReason, ConnId, Event, Instant, Stats};

use super::{
    ShardParts,
    engine::Engine,
    frames::{Counted, Frames},
    logins::Logins,
    mailbox::{Figures, Question},
    socket::Ending,
    sockets::Sockets,
};
use crate::{
    clock::Clock,
    histogram::Histogram,
    recorder::Tape,
    server::bus::{Bus, Outbox},
    store::StoreHandle,
};

/// The size of the buffer that all connections of a shard are read into.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// The engine of a shard and what it acts on.
pub(super) struct State {
    engine: Engine,
    pub(super) sockets: Sockets,
    pub(super) logins: Logins,
    /// What is to be written at the end of the turn.
    pub(super) frames: Frames,
    /// Connections of which more can be read than one turn takes.
    pub(super) read_again: Vec<ConnId>,
    /// Connections whose peers have gone, and may have left something to read.
    pub(super) going: VecDeque<ConnId>,
    /// Connections that are over and not forgotten.
    over: Vec<ConnId>,
    index: usize,
    clock: Clock,
    /// The time that everything in this part of the turn happens at.
    now: Instant,
    store: StoreHandle,
    media: StoreHandle,
    bus: Arc<Bus>,
    /// What this turn has published.
    outbox: Outbox,
    /// Frames that the ends of turns have written since that was last observed.
    flushed: u64,
    latency: Arc<Histogram>,
    pub(super) is_stopped: bool,
    pub(super) buffer: Box<[u8]>,
    /// Bytes of unfinished messages of all connections, and their limit.
    pub(super) receiving_bytes: usize,
    pub(super) receive_budget_bytes: usize,
    /// Where everything that the engine is told is written down, if it is.
    tape: Option<Tape>,
}

impl State {
    pub(super) fn new(engine: Engine, parts: ShardParts, tape: Option<Tape>) -> Self {
        Self {
            tape,
            engine,
            sockets: Sockets::default(),
            logins: Logins::default(),
            frames: Frames::default(),
            read_again: Vec::new(),
            going: VecDeque::new(),
            over: Vec::new(),
            index: parts.index,
            clock: parts.clock,
            now: parts.clock.now(),
            store: parts.store,
            media: parts.media,
            outbox: parts.bus.outbox(parts.index),
            bus: parts.bus,
            flushed: 0,
            latency: parts.latency,
            is_stopped: false,
            buffer: vec![0; RECEIVE_BUFFER_BYTES].into_boxed_slice(),
            receiving_bytes: 0,
            receive_budget_bytes: parts.receive_budget_bytes,
        }
    }

    /// The limits that the engine keeps.
    pub(super) fn limits(&self) -> &switchboard_engine::Limits {
        &self.engine.config().limits
    }

    /// What the engine has counted.
    pub(super) fn stats(&self) -> &Stats {
        self.engine.stats()
    }

    /// The time of this part of the turn.
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// Looks at the clock. Asking it for each event would cost more than many an event does.
    pub(super) fn tick(&mut self) -> Instant {
        self.now = self.clock.now();
        self.now
    }

    /// Tells the engine what happened, and does what it asks for.
    pub(super) fn handle(&mut self, event: Event) {
        self.tell(event);
        if self.frames.is_full() {
            self.flush();
        }
    }

    fn tell(&mut self, event: Event) {
        if let Some(tape) = &mut self.tape {
            tape.event(self.now, &event);
        }
        self.engine.handle(self.now, event);
        self.act();
    }

    /// The engine's next deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    /// When something that was recorded is to be handed over.
    pub(super) fn recording_due_at(&self) -> Option<Instant> {
        self.tape.as_ref().and_then(Tape::due_at)
    }

    /// Hands over what was recorded, if it is time.
    pub(super) fn end_recorded_turn(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.end_turn(self.now, &mut self.engine);
        }
    }

    /// Hands over the rest of what was recorded: the engine has stopped.
    pub(super) fn end_recording(&mut self) {
        if let Some(tape) = self.tape.take() {
            tape.end(self.now, &self.engine);
        }
    }

    /// Tells the engine that a deadline has come.
    pub(super) fn handle_timeout(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.timeout(self.now);
        }
        self.engine.handle_timeout(self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            if let Some(tape) = &mut self.tape {
                tape.action(&action);
            }
            match action {
                Action::Send { to, frame } => {
                    let (frame, mut copy) = (self.frames.add(&frame), None);
                    for conn in to {
                        if let Some(socket) = self.sockets.get_mut(*conn) {
                            socket.push(frame, &mut self.frames, &mut copy);
                        }
                    }
                }
                Action::Close { conn, reason } => {
                    if let Some(socket) = self.sockets.get_mut(conn) {
                        tracing::debug!(%conn, %reason, "closing a connection");
                        let frame = self.frames.add_close(reason, socket.peer_code);
                        socket.push_close(frame, &mut self.frames, reason == CloseReason::PeerClosed);
                    }
                }
                Action::Abort { conn } => {
                    if let Some(socket) = self.sockets.get_mut(conn) {
                        socket.ending = Ending::Aborted;
                        self.over.push(conn);
                    }
                }
                Action::Request { ticket, request } => {
                    let store = if request.file().is_some() { &self.media } else { &self.store };
                    store.submit(self.index, ticket, request);
                }
                Action::Publish(record) => self.bus.publish(&mut self.outbox, Carried::Record(record)),
                Action::Tell(note) => self.bus.publish(&mut self.outbox, Carried::Note(note)),
                Action::Subscribe(topic) => self.bus.subscribe(self.index, &topic),
                Action::Unsubscribe(topic) => self.bus.unsubscribe(self.index, &topic),
                Action::Stopped => self.is_stopped = true,
            }
        }
        if let Some(tape) = &mut self.tape {
            tape.end_step();
        }
    }

    /// What the engine has counted, without what never happened.
    pub(super) fn summary(&self) -> String {
        let counted = self.engine.stats().iter().filter(|(_, count)| *count > 0);
        counted.map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
    }

    /// Whether anything is to be written.
    pub(super) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Sends other shards what this turn has published.
    pub(super) fn send(&mut self) {
        self.bus.send(&mut self.outbox);
    }

    /// Writes what this turn has for its connections, and what follows from having written it. One write for each connection: it
    /// takes more time than all else that a turn does.
    pub(super) fn flush(&mut self) {
        let mut next = 0;
        while let Some(conn) = self.frames.waiting(next) {
            next += 1;
            let Some(socket) = self.sockets.get_mut(conn) else { continue };
            let progress = socket.write(&self.frames);
            self.flushed += u64::from(progress.frames);
            self.written(conn, progress);
        }
        self.frames.clear();
    }

    /// Takes note of how long the frames took that are written by now, counted from then: one look at the clock for all of them.
    pub(super) fn observe_latency(&mut self, since: Instant) {
        let frames = std::mem::take(&mut self.flushed);
        if frames > 0 {
            let now = self.tick();
            self.latency.time(now.saturating_since(since), frames);
        }
    }

    /// Answers who watches the shard. Who has stopped waiting is not told.
    pub(super) fn answer(&self, question: Question) {
        match question {
            Question::Alive(answer) => {
                let _ = answer.send(());
            }
            Question::Figures(answer) => {
                let (stats, gauges) = (*self.engine.stats(), self.engine.gauges());
                let _ = answer.send(Figures { stats, gauges });
            }
        }
    }

    /// Writes what waits for a connection whose socket has room again.
    pub(super) fn write_backlog(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(conn) {
            let progress = socket.write_backlog();
            self.written(conn, progress);
        }
    }

    /// Reports what is written.
    fn written(&mut self, conn: ConnId, progress: Counted) {
        self.check_end(conn);
        let Counted { frames, payload_bytes } = progress;
        if frames > 0 {
            self.tell(Event::Flushed { conn, frames, payload_bytes });
        }
    }

    /// Ends a connection, whatever is not written.
    pub(super) fn end(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(conn) {
            socket.ending = Ending::Aborted;
            self.over.push(conn);
        }
    }

    /// Takes note of it if there is nothing left to do for a connection.
    pub(super) fn check_end(&mut self, conn: ConnId) {
        if self.sockets.get_mut(conn).is_some_and(|socket| socket.is_over()) {
            self.over.push(conn);
        }
    }

    /// Forgets connections that are over, and tells the engine.
    pub(super) fn forget(&mut self) {
        while let Some(conn) = self.over.pop() {
            let Some(socket) = self.sockets.get_mut(conn) else { continue };
            self.receiving_bytes -= std::mem::take(&mut socket.decoder).pending_bytes();
            self.tell(Event::Disconnected { conn });
            self.logins.remove(conn);
            drop(self.sockets.remove(conn));
        }
    }
}
