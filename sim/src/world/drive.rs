//! The driver of each engine, as the runtime has it: an event in, then all its actions, in order.

use switchboard_engine::{
    Action, Answer, Carried, CloseReason, Event, Frame, Instant, Recipient, Request, Topic, UserId,
};

use super::{
    Happening, World,
    links::Down,
    queue::Life,
    sut::{Machine as _, Sut},
};
use crate::{
    check::{ConnKey, Payload, frames},
    choice::keyed,
    counts::Fault,
    schedule::NodeNo,
    trace::{Lane, Via},
    wire::{
        View, is_own_copy, record_seq,
        session::{server_name, subject_name},
    },
};

/// At each of so many looks at an engine's state, another one goes on that has read it from bytes. It takes as long as the look.
const RESUME_EVERY: u32 = 8;

impl<T: Sut> World<'_, T> {
    /// The time that an engine's node has, in nanoseconds; never earlier than before.
    pub(super) fn engine_ns(&mut self, shard: usize) -> u64 {
        let offset_us = self.nodes[self.node_of(shard)].offset_us;
        let now_ns = self.now_us.saturating_add_signed(offset_us) * 1000;
        let shard = &mut self.shards[shard];
        shard.engine_ns = shard.engine_ns.max(now_ns);
        shard.engine_ns
    }

    /// Tells the checks that an event is coming. What is in it they are told next.
    pub(super) fn begin(&mut self, shard: usize) {
        let engine_ns = self.engine_ns(shard);
        self.check.begin(shard, self.now_us, engine_ns, self.shards[shard].server.stats());
    }

    /// Hands an event to an engine, and does what it asks for.
    pub(super) fn feed(&mut self, shard: usize, event: Event) {
        let now = Instant::from_nanos(self.shards[shard].engine_ns);
        self.watch_told(shard, Some(&event));
        self.shards[shard].server.handle(now, event);
        self.act(shard);
    }

    fn act(&mut self, shard_no: usize) {
        self.events += 1;
        if let Some(text) = self.shards[shard_no].server.died() {
            return self.spec.fail("crash", |_| text.to_owned());
        }
        let mut digest = Digest(self.digest);
        let mut stopped = false;
        let (now_us, lane) = (self.now_us, self.lane(shard_no));
        let life = self.life(shard_no);
        // Disjoint parts of the world: actions lend from the engine while the others change.
        let Self {
            shards, check, spec, conns, dirty, queue, store, bus, nodes, schedule, trace, watch, ..
        } = self;
        let (devices, tally) = (&self.devices, &mut self.tally);
        let shard = &mut shards[shard_no];
        while let Some(action) = shard.server.poll_action() {
            digest.action(&action);
            check.action(shard_no, &action);
            if let Some(watch) = watch {
                watch.acted(&action, |id| {
                    Self::conn_at(&shard.slots, id).is_some_and(|key| conns[key as usize].is_session)
                });
            }
            match action {
                Action::Send { to, frame } => {
                    for id in to {
                        let Some(key) = Self::conn_at(&shard.slots, *id) else { continue };
                        let conn = &mut conns[key as usize];
                        let way = (lane, Lane::Client(conn.client.0));
                        let waiting_bytes = conn.waits(frame.payload().len() as u64);
                        if conn.is_session {
                            spec.waits(key, waiting_bytes);
                        }
                        trace.sends_down(now_us, key, way, || frame_name(&frame, conn.is_session));
                        conn.outbox.push_back(Down::Frame(frame.clone()));
                        if !core::mem::replace(&mut conn.dirty, true) {
                            dirty.push_back(key);
                        }
                    }
                }
                Action::Close { conn: id, reason } => {
                    let Some(key) = Self::conn_at(&shard.slots, id) else { continue };
                    let conn = &mut conns[key as usize];
                    let way = (lane, Lane::Client(conn.client.0));
                    trace.sends_down(now_us, key, way, || {
                        (Via::Control, format!("Close {}", frames::reason_name(reason)))
                    });
                    conn.closing = Some(reason);
                    let paused = devices[conn.client.index()].paused;
                    tally.add_if(reason == CloseReason::Idle && conn.severed, Fault::HalfOpenFound);
                    tally.add_if(reason == CloseReason::SlowReader && paused, Fault::ReaderClosed);
                    let fast = [CloseReason::TooManyMessages, CloseReason::TooManyBytes].contains(&reason);
                    tally.add_if(fast, Fault::SentTooFast);
                    spec.closes(key, reason.code());
                    conn.outbox.push_back(Down::Close(reason.code()));
                    if !core::mem::replace(&mut conn.dirty, true) {
                        dirty.push_back(key);
                    }
                }
                Action::Abort { conn: id } => {
                    let Some(key) = Self::conn_at(&shard.slots, id) else { continue };
                    spec.cuts_off(key);
                    trace.note(now_us, lane, || format!("cuts off {}", conns[key as usize].client));
                    queue.push(now_us, Happening::ServerLost { conn: key });
                }
                Action::Request { ticket, request } => {
                    trace.sends(now_us, queue.coming(), (lane, Lane::Store), || {
                        (Via::Store, request_name(&request))
                    });
                    store.submit(schedule, check, queue, now_us, life, ticket.0, request);
                }
                Action::Publish(record) => {
                    let carried = Carried::Record(record);
                    bus.publish(schedule, check, queue, trace, nodes, now_us, shard_no, &carried);
                }
                Action::Tell(note) => {
                    let carried = Carried::Note(note);
                    bus.publish(schedule, check, queue, trace, nodes, now_us, shard_no, &carried);
                }
                Action::Subscribe(topic) => bus.subscribe(shard_no, topic, true),
                Action::Unsubscribe(topic) => bus.subscribe(shard_no, topic, false),
                Action::Stopped => stopped = true,
            }
        }
        shard.server.has_acted();
        self.digest = digest.0;
        self.check.end(shard_no, self.shards[shard_no].server.stats());
        self.arm(shard_no);
        let shard = &mut self.shards[shard_no];
        shard.since_sweep += 1;
        if shard.since_sweep >= self.options.sweep_every {
            self.sweep(shard_no);
        }
        if stopped {
            self.stopped(shard_no);
        }
    }

    /// Sets the timer of an engine, if its deadline has moved nearer.
    pub(super) fn arm(&mut self, shard: usize) {
        let offset_us = self.nodes[self.node_of(shard)].offset_us;
        let Some(next) = self.shards[shard].server.poll_timeout() else { return };
        let at_us = next.as_nanos().div_ceil(1000).saturating_add_signed(-offset_us).max(self.now_us);
        if self.shards[shard].armed_us.is_none_or(|armed_us| at_us < armed_us) {
            self.shards[shard].armed_us = Some(at_us);
            let life = self.life(shard);
            self.queue.push(at_us, Happening::Timeout { life });
        }
    }

    /// A timer has run out; it may be an old one.
    pub(super) fn timeout(&mut self, life: Life) {
        if !self.lives(life) || self.shards[life.shard].armed_us.is_none_or(|armed_us| armed_us > self.now_us)
        {
            return;
        }
        self.shards[life.shard].armed_us = None;
        let engine_ns = self.engine_ns(life.shard);
        let due = self.shards[life.shard].server.poll_timeout();
        if due.is_some_and(|due| due.as_nanos() <= engine_ns) {
            self.handle_timeout(life.shard);
        } else {
            self.arm(life.shard);
        }
    }

    pub(super) fn handle_timeout(&mut self, shard: usize) {
        self.begin(shard);
        self.check.timed_out(shard);
        let now = Instant::from_nanos(self.shards[shard].engine_ns);
        self.watch_told(shard, None);
        self.shards[shard].server.handle_timeout(now);
        self.act(shard);
    }

    /// Looks at everything of one engine.
    pub(super) fn sweep(&mut self, shard: usize) {
        self.shards[shard].since_sweep = 0;
        self.shards[shard].sweeps += 1;
        if !self.nodes[self.node_of(shard)].up {
            return;
        }
        let server = &self.shards[shard].server;
        let timeout_ns = server.poll_timeout().map(Instant::as_nanos);
        self.check.sweep(shard, server.check_invariants(), server.gauges(), timeout_ns);
        let state = &mut self.shards[shard];
        if state.sweeps.is_multiple_of(RESUME_EVERY) && !state.server.resumes_from_bytes() {
            self.check.fail("replay", |_| {
                format!("shard {shard} is not what it was when its state is read from bytes")
            });
        }
    }

    /// The store's answer arrives.
    pub(super) fn answer(&mut self, life: Life, ticket: u64, answer: Answer) {
        if !self.lives(life) {
            return;
        }
        self.trace.arrived(self.now_us);
        self.begin(life.shard);
        self.check.answered(life.shard, ticket, &answer);
        self.feed(life.shard, Event::Answered { ticket: switchboard_engine::Ticket(ticket), answer });
    }

    /// A record arrives over the bus.
    pub(super) fn carried(&mut self, life: Life, carried: Carried) {
        if !self.bus.model.arrive(life.shard, life.incarnation) || !self.lives(life) {
            return;
        }
        self.trace.arrived(self.now_us);
        self.begin(life.shard);
        let record = match carried {
            Carried::Record(record) => record,
            note @ Carried::Note(_) => {
                if let Carried::Note(note) = &note {
                    self.check.noted(note);
                }
                return self.feed(life.shard, note.into());
            }
        };
        let is_copy = record.stored.is_some()
            && View::read(&record.message).is_some_and(|view| is_own_copy(&record, &view));
        match self.check.known_message(&record.message) {
            Some(key) if is_copy => self.check.copied(key),
            Some(key) => self.check.published(life.shard, key),
            None => {}
        }
        self.feed(life.shard, Event::Published(record));
    }

    /// A message, or something else, arrives from a client.
    pub(super) fn receive(&mut self, shard: usize, conn: ConnKey, payload: Payload, message: bytes::Bytes) {
        self.begin(shard);
        self.check.received(conn, payload, message.len());
        let id = self.conns[conn as usize].id;
        self.feed(shard, Event::Received { conn: id, message });
    }

    /// The shard of a node that a user's connections live on.
    pub(super) fn home(&self, node: NodeNo, user: &UserId) -> usize {
        let number = crate::wire::index(user.as_str()).unwrap_or(0);
        let shards = self.shards_of(node);
        shards.start + home(number, shards.len() as u64)
    }
}

/// Which of so many shards of a node has a user's connections.
pub(crate) fn home(user: u16, shards: u64) -> usize {
    (keyed(0, u64::from(user), 0) % shards) as usize
}

/// What kind of thing a frame is, and what it is called in traces.
fn frame_name(frame: &Frame, is_session: bool) -> (Via, String) {
    match frame {
        Frame::Message(bytes) if is_session => {
            let name = server_name(bytes);
            let is_message =
                ["Delivery", "Page", "Accepted", "Rejected"].iter().any(|kind| name.starts_with(kind));
            (if is_message { Via::Message } else { Via::Control }, name)
        }
        Frame::Message(bytes) => {
            let heartbeat = View::read(bytes).is_some_and(|view| view.kind == crate::wire::HEARTBEAT);
            (if heartbeat { Via::Control } else { Via::Message }, message_name(bytes))
        }
        Frame::Ping(_) => (Via::Control, "Ping".to_owned()),
        Frame::Pong(_) => (Via::Control, "Pong".to_owned()),
    }
}

/// The classic message that a record carries.
pub(super) fn message_of(carried: &Carried) -> Option<&[u8]> {
    match carried {
        Carried::Record(record) => Some(&record.message),
        Carried::Note(_) => None,
    }
}

/// What a record or note is called in traces.
pub(super) fn record_name(carried: &Carried) -> String {
    let topic = match carried.topic() {
        Topic::Everyone => "all",
        Topic::User(user) => user.as_str(),
        Topic::Group(group) => group.as_str(),
        Topic::Presence(user) => user.as_str(),
    };
    match carried {
        Carried::Record(record) => format!("{} for {topic}", message_name(&record.message)),
        Carried::Note(note) => format!("a note of {} bytes for {topic}", note.note.len()),
    }
}

/// What a message is called in traces.
pub(super) fn message_name(bytes: &[u8]) -> String {
    match View::read(bytes) {
        None => format!("{} bytes of garbage", bytes.len()),
        Some(view) if view.kind == crate::wire::HEARTBEAT => format!("heartbeat {}", view.content),
        Some(view) => {
            let to = if view.to.is_empty() { "-" } else { view.to };
            let what = match view.token() {
                Some(token) => token.to_string(),
                None => view.content.to_owned(),
            };
            let kind = match view.content_type {
                1 => String::new(),
                other => format!(", type {other}"),
            };
            format!("{what} {}→{to}{kind}", view.from)
        }
    }
}

fn request_name(request: &Request) -> String {
    match request {
        Request::LoadUser(user) => format!("load {user}"),
        Request::StoreMessage(new) => {
            let token = crate::wire::stored_token(new).map(|token| token.to_string());
            let to = match &new.recipient {
                Recipient::User(user) => user.as_str(),
                Recipient::Group(group) => group.as_str(),
            };
            let what = subject_name(&new.subject);
            format!("store {}{what} {}→{to}", token.unwrap_or_default(), new.sender)
        }
        Request::StoreFile(upload) => format!("keep the file of {}", upload.suffix),
        Request::LoadHeads { user, .. } => format!("load heads of {user}"),
        Request::LoadMessages(range) => format!("load messages for {}", range.reader),
        other @ (Request::StoreMarks(_)
        | Request::StoreSeen(_)
        | Request::LoadSeen { .. }
        | Request::StoreReceived(_)
        | Request::LoadUnreceived { .. }) => format!("{other:?}"),
    }
}

/// Folds all that an engine does into one number.
struct Digest(u64);

impl Digest {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        self.word(last);
    }

    fn action(&mut self, action: &Action<'_>) {
        match action {
            Action::Send { to, frame } => {
                self.word(1);
                self.bytes(frame.payload());
                to.iter().for_each(|id| self.word(u64::from(id.slot()) << 32 | u64::from(id.generation())));
            }
            Action::Close { conn, reason } => {
                self.word(2 + (u64::from(conn.slot()) << 32));
                self.word(u64::from(reason.code()));
            }
            Action::Abort { conn } => self.word(3 + (u64::from(conn.slot()) << 32)),
            Action::Request { ticket, request } => {
                self.word(4 + (ticket.0 << 8));
                match request {
                    Request::LoadUser(user) => self.bytes(user.as_str().as_bytes()),
                    Request::StoreMessage(new) => {
                        self.bytes(&new.id.0);
                        self.bytes(new.content.as_bytes());
                    }
                    Request::StoreFile(upload) => self.bytes(upload.suffix.as_bytes()),
                    Request::LoadHeads { user, after } => {
                        self.bytes(user.as_str().as_bytes());
                        self.word(*after);
                    }
                    Request::LoadMessages(range) => self.bytes(format!("{range:?}").as_bytes()),
                    other @ (Request::StoreMarks(_)
                    | Request::StoreSeen(_)
                    | Request::LoadSeen { .. }
                    | Request::StoreReceived(_)
                    | Request::LoadUnreceived { .. }) => self.bytes(format!("{other:?}").as_bytes()),
                }
            }
            Action::Publish(record) => {
                self.word(5 + (record_seq(record).unwrap_or(0) << 8));
                self.bytes(&record.message);
            }
            Action::Tell(note) => {
                self.word(8);
                self.bytes(&note.note);
            }
            Action::Subscribe(topic) | Action::Unsubscribe(topic) => {
                self.word(6 + (u64::from(matches!(action, Action::Subscribe(_))) << 8));
                match topic {
                    switchboard_engine::Topic::Everyone => {}
                    switchboard_engine::Topic::User(user) => self.bytes(user.as_str().as_bytes()),
                    switchboard_engine::Topic::Group(group) => self.bytes(group.as_str().as_bytes()),
                    switchboard_engine::Topic::Presence(user) => self.bytes(user.as_str().as_bytes()),
                }
            }
            Action::Stopped => self.word(7),
        }
    }
}
