//! The words of a chat: people arrive, say things, read, stop reading and leave; the store answers at once
//! or when it is told to; time passes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use switchboard_engine::{
    Answer, CloseReason, ConnId, DirectoryChange, DirectoryChangeKind, Event, Frame, Note, OwnedAction,
    PeerFault, Protocol, Record, Server, ServerConfig, Stats,
};
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    driver::Driver,
    store::{Store, group, user},
};

/// One connection as its user sees it.
#[derive(Debug)]
struct Session {
    user: String,
    inbox: Vec<Frame>,
    /// Payload sizes of frames that have not left the server's machine.
    unflushed: VecDeque<usize>,
    reads: bool,
    /// Whether it answers Pings, as browsers do by themselves.
    alive: bool,
    closed: Option<CloseReason>,
    aborted: bool,
}

/// One server, its store and everybody connected to it.
pub(crate) struct World {
    driver: Driver,
    pub(crate) store: Store,
    sessions: BTreeMap<ConnId, Session>,
    /// Connections that are gone, with how they ended.
    ended: BTreeMap<ConnId, Session>,
    next_slot: u32,
    /// What was handed to the bus.
    pub(crate) published: Vec<Record>,
    pub(crate) told: Vec<Note>,
    events: VecDeque<Event>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A world whose server is configured otherwise.
    pub(crate) fn with(configure: impl FnOnce(&mut ServerConfig)) -> Self {
        // Who is here is told in tests of its own: in all others it would be in the way.
        let mut config =
            ServerConfig { presence: false, drain_time: Duration::ZERO, ..ServerConfig::default() };
        // So has what is sent again.
        config.limits.resend_messages = 0;
        configure(&mut config);
        Self {
            driver: Driver::new(&config, 7),
            store: Store::default(),
            sessions: BTreeMap::new(),
            ended: BTreeMap::new(),
            next_slot: 0,
            published: Vec::new(),
            told: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Founds a group in the directory, before its members arrive.
    pub(crate) fn found(&mut self, group: &str, members: &[&str]) {
        members.iter().for_each(|member| self.store.add_member(member, group));
    }

    pub(crate) fn server(&self) -> &Server {
        &self.driver.server
    }

    pub(crate) fn stats(&self) -> &Stats {
        self.driver.server.stats()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.driver.stopped
    }

    pub(crate) fn subscriptions(&self) -> Vec<String> {
        self.driver.subscriptions.iter().map(|topic| format!("{topic:?}")).collect()
    }

    /// The user connects, is welcomed if the store answers, and has read the welcome.
    pub(crate) fn arrives(&mut self, name: &str) -> ConnId {
        let conn = self.connects(name);
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.inbox.clear();
        }
        conn
    }

    /// The user connects, in a slot that was never used before.
    pub(crate) fn connects(&mut self, name: &str) -> ConnId {
        let conn = self.next_conn();
        self.connects_as(name, conn)
    }

    /// A connection in a slot that was never used before.
    pub(crate) fn next_conn(&mut self) -> ConnId {
        self.next_slot += 1;
        ConnId::new(self.next_slot, 1)
    }

    /// The user connects in this slot and generation.
    pub(crate) fn connects_as(&mut self, name: &str, conn: ConnId) -> ConnId {
        self.opens(name, conn, Protocol::Classic)
    }

    /// The user connects in this slot and generation, with this protocol.
    pub(crate) fn opens(&mut self, name: &str, conn: ConnId, protocol: Protocol) -> ConnId {
        let session = Session {
            user: name.to_owned(),
            inbox: Vec::new(),
            unflushed: VecDeque::new(),
            reads: true,
            alive: true,
            closed: None,
            aborted: false,
        };
        self.sessions.insert(conn, session);
        self.happens(Event::Connected { conn, user: user(name), protocol });
        conn
    }

    /// The connection is lost, or its peer has gone.
    pub(crate) fn leaves(&mut self, conn: ConnId) {
        self.happens(Event::Disconnected { conn });
    }

    /// The front-end sends a message; it fills in who it is, unless it says otherwise.
    pub(crate) fn says(&mut self, conn: ConnId, mut message: Message) {
        if message.from.is_empty() {
            message.from.clone_from(&self.sessions[&conn].user);
        }
        self.sends(conn, message.encode_to_vec());
    }

    /// The peer sends these bytes as one binary message.
    pub(crate) fn sends(&mut self, conn: ConnId, message: impl Into<Bytes>) {
        self.happens(Event::Received { conn, message: message.into() });
    }

    pub(crate) fn misbehaves(&mut self, conn: ConnId, fault: PeerFault) {
        self.happens(Event::Misbehaved { conn, fault });
    }

    /// The messages that have been sent to the connection since the last look.
    pub(crate) fn reads(&mut self, conn: ConnId) -> Vec<Message> {
        self.frames(conn).into_iter().filter_map(|frame| self::message(&frame)).collect()
    }

    /// Their contents.
    pub(crate) fn hears(&mut self, conn: ConnId) -> Vec<String> {
        self.reads(conn).into_iter().map(|message| message.content).collect()
    }

    /// All frames that have been sent to the connection since the last look.
    pub(crate) fn frames(&mut self, conn: ConnId) -> Vec<Frame> {
        let session = self.sessions.get_mut(&conn).or_else(|| self.ended.get_mut(&conn));
        std::mem::take(&mut session.expect("a known connection").inbox)
    }

    /// The connection's writes do not end any more.
    pub(crate) fn stops_reading(&mut self, conn: ConnId) {
        self.sessions.get_mut(&conn).unwrap().reads = false;
    }

    /// Everything that waits is written.
    pub(crate) fn reads_again(&mut self, conn: ConnId) {
        self.sessions.get_mut(&conn).unwrap().reads = true;
        self.flushes(conn, usize::MAX);
    }

    /// The next frames that wait are written, in one system call.
    pub(crate) fn flushes(&mut self, conn: ConnId, frames: usize) {
        let unflushed = &mut self.sessions.get_mut(&conn).unwrap().unflushed;
        let written: Vec<_> = unflushed.drain(..frames.min(unflushed.len())).collect();
        let (frames, payload_bytes) = (written.len() as u32, written.iter().sum::<usize>() as u64);
        self.happens(Event::Flushed { conn, frames, payload_bytes });
    }

    /// The peer answers no Pings any more.
    pub(crate) fn goes_deaf(&mut self, conn: ConnId) {
        self.sessions.get_mut(&conn).unwrap().alive = false;
    }

    /// Nothing comes back from the peer any more, and nothing gets through to it.
    pub(crate) fn is_unplugged(&mut self, conn: ConnId) {
        let session = self.sessions.get_mut(&conn).unwrap();
        (session.reads, session.alive) = (false, false);
    }

    /// Why the server closed the connection, if it did.
    pub(crate) fn closed(&self, conn: ConnId) -> Option<CloseReason> {
        self.session(conn).closed
    }

    pub(crate) fn aborted(&self, conn: ConnId) -> bool {
        self.session(conn).aborted
    }

    fn session(&self, conn: ConnId) -> &Session {
        self.sessions.get(&conn).or_else(|| self.ended.get(&conn)).expect("a known connection")
    }

    /// From now on, the store answers when it is told to.
    pub(crate) fn store_holds(&mut self) {
        self.store.holds = true;
    }

    /// The store does what it was asked as the `nth` of what it has not answered, and says so.
    pub(crate) fn store_answers(&mut self, nth: usize) {
        let (ticket, request) = self.store.held.remove(nth);
        let answer = self.store.answer(&request);
        self.directory_follows();
        self.happens(Event::Answered { ticket, answer });
    }

    /// The store answers the `nth` open request otherwise.
    pub(crate) fn store_says(&mut self, nth: usize, answer: Answer) {
        let (ticket, _) = self.store.held.remove(nth);
        self.happens(Event::Answered { ticket, answer });
    }

    /// The store answers all it holds, and at once from now on.
    pub(crate) fn store_resumes(&mut self) {
        self.store.holds = false;
        while !self.store.held.is_empty() {
            self.store_answers(0);
        }
    }

    /// The directory changes, and the server is told.
    pub(crate) fn directory(&mut self, name: &str, kind: DirectoryChangeKind) {
        self.store.revision += 1;
        self.directory_says(self.store.revision, name, kind);
    }

    /// The server is to be told of what the store has changed in the directory, before its answer.
    fn directory_follows(&mut self) {
        self.events.extend(self.store.changes.drain(..).map(Event::DirectoryChanged));
    }

    /// The server is told of a change of the directory.
    pub(crate) fn directory_says(&mut self, revision: u64, name: &str, kind: DirectoryChangeKind) {
        self.happens(Event::DirectoryChanged(DirectoryChange { revision, user: user(name), kind }));
    }

    pub(crate) fn joins(&mut self, name: &str, to: &str) {
        self.store.add_member(name, to);
        self.directory(name, DirectoryChangeKind::Joined(group(to)));
    }

    pub(crate) fn is_removed_from(&mut self, name: &str, from: &str) {
        self.store.profile(name).groups.retain(|group| group.as_str() != from);
        self.directory(name, DirectoryChangeKind::Left(group(from)));
    }

    /// Time passes, and the server does on time what is due.
    pub(crate) fn passes(&mut self, duration: Duration) {
        let until = self.driver.after(duration);
        while let Some(acts) = self.driver.next_timeout(until) {
            self.carry_out(acts);
            self.settle();
        }
    }

    /// An event, and all that follows from it at once.
    pub(crate) fn happens(&mut self, event: Event) {
        self.events.push_back(event);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let acts = self.driver.handle(&event);
            if let Event::Disconnected { conn } = event
                && let Some(session) = self.sessions.remove(&conn)
            {
                self.ended.insert(conn, session);
            }
            self.carry_out(acts);
        }
    }

    fn carry_out(&mut self, acts: Vec<OwnedAction>) {
        for act in acts {
            match act {
                OwnedAction::Send { to, frame } => to.into_iter().for_each(|conn| self.write(conn, &frame)),
                OwnedAction::Close { conn, reason } => {
                    let session = self.sessions.get_mut(&conn).expect("a close is for a connection");
                    session.closed = Some(reason);
                    if session.reads {
                        self.events.push_back(Event::Disconnected { conn });
                    }
                }
                OwnedAction::Abort { conn } => {
                    self.sessions.get_mut(&conn).expect("an abort is for a connection").aborted = true;
                    self.events.push_back(Event::Disconnected { conn });
                }
                OwnedAction::Request { ticket, request } => {
                    self.store.asked += 1;
                    if self.store.holds {
                        self.store.held.push((ticket, request));
                    } else {
                        let answer = self.store.answer(&request);
                        self.directory_follows();
                        self.events.push_back(Event::Answered { ticket, answer });
                    }
                }
                OwnedAction::Publish(record) => self.published.push(record),
                OwnedAction::Tell(note) => self.told.push(note),
                // The driver keeps count of these.
                OwnedAction::Subscribe(_) | OwnedAction::Unsubscribe(_) | OwnedAction::Stopped => {}
            }
        }
    }

    fn write(&mut self, conn: ConnId, frame: &Frame) {
        let session = self.sessions.get_mut(&conn).expect("a send is for a connection");
        session.inbox.push(frame.clone());
        let payload_bytes = frame.payload().len();
        if session.reads {
            let payload_bytes = payload_bytes as u64;
            self.events.push_back(Event::Flushed { conn, frames: 1, payload_bytes });
        } else {
            session.unflushed.push_back(payload_bytes);
        }
        if let (Frame::Ping(payload), true) = (frame, session.alive && session.reads) {
            self.events.push_back(Event::Pong { conn, payload: payload.clone() });
        }
    }
}

/// The message in a frame, if it is one.
fn message(frame: &Frame) -> Option<Message> {
    match frame {
        Frame::Message(bytes) => Some(Message::decode(bytes.clone()).expect("the server sends messages")),
        Frame::Ping(_) | Frame::Pong(_) => None,
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Room for this many bytes in an outbox, and everything that must have room in it made smaller too.
pub(crate) fn narrows(config: &mut ServerConfig, outbox_bytes: u64) {
    config.limits.outbox_bytes = outbox_bytes;
    config.limits.lag_bytes = outbox_bytes / 2;
    (config.limits.page_messages, config.limits.page_bytes) = (2, outbox_bytes / 2);
}

/// A text for one user.
pub(crate) fn text(to: &str, content: &str) -> Message {
    Message { message_type: 1, ..relayed(to, 1, content) }
}

/// A text for a group.
pub(crate) fn group_text(to: &str, content: &str) -> Message {
    Message { message_type: 2, ..relayed(to, 1, content) }
}

/// A text for everybody.
pub(crate) fn shout(content: &str) -> Message {
    text("", content)
}

/// A message of another kind for one user.
pub(crate) fn relayed(to: &str, content_type: i32, content: &str) -> Message {
    Message { to: to.into(), content: content.into(), content_type, ..Message::default() }
}

/// A signal of a call: SDP and ICE, or with another `contentType` dialling.
pub(crate) fn signal(to: &str, content_type: i32, content: &str) -> Message {
    Message { r#type: "webrtc".into(), ..relayed(to, content_type, content) }
}

/// A file for one user, as the front-end uploads every kind of them.
pub(crate) fn upload(to: &str, content: &str, suffix: &str) -> Message {
    Message {
        file: Bytes::from_static(b"file contents"),
        file_suffix: suffix.into(),
        message_type: 1,
        ..relayed(to, 3, content)
    }
}

/// A file that is kept already, or was.
pub(crate) fn forwarded(to: &str, file: &str) -> Message {
    Message { url: file.into(), message_type: 1, ..relayed(to, 2, "look") }
}

pub(crate) fn heartbeat() -> Message {
    Message { r#type: "heatbeat".into(), content: "ping".into(), ..Message::default() }
}
