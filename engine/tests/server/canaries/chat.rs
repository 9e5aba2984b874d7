//! A chat that takes note of what a server does, right or wrong: unlike the other tests' world it holds the
//! server to nothing, as a server with a deliberate bug is expected to break the rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use switchboard_engine::{
    Action, Answer, Canary, CloseReason, ConnId, DirectoryChange, DirectoryChangeKind, Event, Frame, Probe,
    Protocol, Record, Rule, Server, ServerConfig, Topic,
};
use switchboard_proto::{Message as _, classic::Message, v1::client_frame};

use crate::{
    driver::START,
    session_words::{encode, hello, short, submit, told},
    store::{Store, group, user},
};

/// One bug at the most, and the rules reached so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    canary: Option<Canary>,
    pub(crate) reached: BTreeSet<Rule>,
}

impl Probe for Watch {
    fn canary(&self, canary: Canary) -> bool {
        self.canary == Some(canary)
    }

    fn reached(&mut self, rule: Rule) {
        self.reached.insert(rule);
    }
}

/// One connection as its user sees it.
#[derive(Debug, Default)]
struct Session {
    user: String,
    protocol: Option<Protocol>,
    inbox: Vec<Message>,
    /// What the Pings that it was sent say: the number of frames sent before each.
    pings: Vec<u64>,
    /// What it is told, if it is a session.
    told: Vec<String>,
    unflushed: VecDeque<usize>,
    /// Whether nothing gets through to it, and nothing comes back from it.
    is_stuck: bool,
    /// Whether it answers no Ping by itself.
    is_deaf: bool,
    /// What the last Ping carried that it has not answered.
    unanswered: Option<Bytes>,
    closed: Option<CloseReason>,
    aborted: bool,
}

/// One server, its store and everybody connected to it.
pub(crate) struct Chat {
    pub(crate) server: Server<Watch>,
    pub(crate) store: Store,
    pub(crate) published: Vec<Record>,
    pub(super) told: Vec<switchboard_engine::Note>,
    pub(crate) stopped: bool,
    now: switchboard_engine::Instant,
    sessions: BTreeMap<ConnId, Session>,
    topics: BTreeSet<Topic>,
    /// The first invariant that did not hold.
    broken: Option<String>,
    events: VecDeque<Event>,
}

impl Chat {
    pub(crate) fn new(canary: Option<Canary>) -> Self {
        Self {
            server: server(canary, |_| {}),
            store: Store::default(),
            published: Vec::new(),
            told: Vec::new(),
            stopped: false,
            now: START,
            sessions: BTreeMap::new(),
            topics: BTreeSet::new(),
            broken: None,
            events: VecDeque::new(),
        }
    }

    /// Starts over with a server that is configured otherwise.
    pub(crate) fn with(&mut self, configure: fn(&mut ServerConfig)) {
        self.server = server(self.server.probe().canary, configure);
    }

    pub(crate) fn found(&mut self, group: &str, members: &[&str]) {
        members.iter().for_each(|member| self.store.add_member(member, group));
    }

    /// The user connects, is welcomed if the store answers, and has read the welcome.
    pub(crate) fn arrives(&mut self, name: &str) -> ConnId {
        let conn = self.connects(name);
        self.hears(conn);
        conn
    }

    pub(crate) fn connects(&mut self, name: &str) -> ConnId {
        let slot = u32::try_from(self.sessions.len()).unwrap();
        self.connects_as(name, ConnId::new(slot, 1))
    }

    pub(crate) fn connects_as(&mut self, name: &str, conn: ConnId) -> ConnId {
        self.opens(name, conn, Protocol::Classic)
    }

    pub(crate) fn opens(&mut self, name: &str, conn: ConnId, protocol: Protocol) -> ConnId {
        self.sessions
            .insert(conn, Session { user: name.to_owned(), protocol: Some(protocol), ..Session::default() });
        self.happens(Event::Connected { conn, user: user(name), protocol });
        conn
    }

    /// The user's device connects with the session protocol, says Hello without cursors, and has read what follows.
    pub(crate) fn signs_in(&mut self, name: &str) -> ConnId {
        let conn = self.dials(name);
        self.frame(conn, hello(&[]));
        self.sees(conn);
        conn
    }

    /// The same without a Hello.
    pub(crate) fn dials(&mut self, name: &str) -> ConnId {
        let slot = u32::try_from(self.sessions.len()).unwrap();
        self.opens(name, ConnId::new(slot, 1), Protocol::Session)
    }

    /// A session sends a frame.
    pub(crate) fn frame(&mut self, conn: ConnId, body: client_frame::Body) {
        self.sends(conn, encode(body));
    }

    /// A session submits a text whose id is this number.
    pub(crate) fn submits(&mut self, conn: ConnId, id: u8, to: &str, content: &str) {
        self.frame(conn, submit(id, to, content));
    }

    /// What a session has been told since the last look, in short.
    pub(crate) fn sees(&mut self, conn: ConnId) -> String {
        std::mem::take(&mut self.sessions.get_mut(&conn).unwrap().told).join("; ")
    }

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

    pub(crate) fn sends(&mut self, conn: ConnId, message: impl Into<Bytes>) {
        self.happens(Event::Received { conn, message: message.into() });
    }

    /// What is no message of the protocol; the server closes the connection.
    pub(crate) fn babbles(&mut self, conn: ConnId) {
        self.sends(conn, &b"\xff"[..]);
    }

    /// The messages that have been sent to the connection since the last look.
    pub(crate) fn reads(&mut self, conn: ConnId) -> Vec<Message> {
        std::mem::take(&mut self.sessions.get_mut(&conn).unwrap().inbox)
    }

    /// The positions that the Pings to the connection carry.
    pub(crate) fn pings(&self, conn: ConnId) -> &[u64] {
        &self.sessions[&conn].pings
    }

    /// Their contents, in order.
    pub(crate) fn hears(&mut self, conn: ConnId) -> String {
        self.reads(conn).into_iter().map(|message| message.content).collect::<Vec<_>>().join(", ")
    }

    /// From now on, writes to the connection do not end, and nothing comes back.
    pub(crate) fn is_stuck(&mut self, conn: ConnId) {
        self.sessions.get_mut(&conn).unwrap().is_stuck = true;
    }

    /// From now on, the connection answers Pings when it is told to.
    pub(crate) fn is_deaf(&mut self, conn: ConnId) {
        self.sessions.get_mut(&conn).unwrap().is_deaf = true;
    }

    /// The connection answers its last Ping, if it was sent one.
    pub(crate) fn pongs(&mut self, conn: ConnId) {
        if let Some(payload) = self.sessions.get_mut(&conn).unwrap().unanswered.take() {
            self.happens(Event::Pong { conn, payload });
        }
    }

    /// The next frame that waits is written, if there is one.
    pub(crate) fn flushes(&mut self, conn: ConnId) {
        let waiting = self.sessions.get_mut(&conn).unwrap().unflushed.pop_front();
        let Some(payload_bytes) = waiting.map(|len| len as u64) else { return };
        self.happens(Event::Flushed { conn, frames: 1, payload_bytes });
    }

    /// Why the server closed the connection; `-` if it did not.
    pub(crate) fn closed(&self, conn: ConnId) -> String {
        self.sessions[&conn].closed.map_or_else(|| "-".to_owned(), |reason| format!("{reason:?}"))
    }

    pub(crate) fn aborted(&self, conn: ConnId) -> String {
        self.sessions[&conn].aborted.to_string()
    }

    /// The first invariant that did not hold after an event; `sound` if all did.
    pub(crate) fn verdict(&self) -> String {
        self.broken.clone().unwrap_or_else(|| "sound".to_owned())
    }

    pub(crate) fn topics(&self) -> String {
        self.topics.iter().map(|topic| format!("{topic:?}")).collect::<Vec<_>>().join(", ")
    }

    /// The store does what it was asked as the `nth` of what it has not answered, and says so.
    pub(crate) fn store_answers(&mut self, nth: usize) {
        // A bug may have left it unasked.
        if nth >= self.store.held.len() {
            return;
        }
        let (ticket, request) = self.store.held.remove(nth);
        let answer = self.store.answer(&request);
        self.directory_follows();
        self.happens(Event::Answered { ticket, answer });
    }

    /// The store answers the `nth` open request otherwise.
    pub(crate) fn store_says(&mut self, nth: usize, answer: Answer) {
        if nth >= self.store.held.len() {
            return;
        }
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

    /// The server is to be told of what the store has changed in the directory, before its answer.
    fn directory_follows(&mut self) {
        self.events.extend(self.store.changes.drain(..).map(Event::DirectoryChanged));
    }

    /// The server is told of a change of the directory.
    pub(crate) fn directory_says(&mut self, revision: u64, name: &str, kind: DirectoryChangeKind) {
        self.happens(Event::DirectoryChanged(DirectoryChange { revision, user: user(name), kind }));
    }

    pub(crate) fn joins(&mut self, name: &str, to: &str) {
        self.store.revision += 1;
        self.store.add_member(name, to);
        self.directory_says(self.store.revision, name, DirectoryChangeKind::Joined(group(to)));
    }

    pub(crate) fn is_removed_from(&mut self, name: &str, from: &str) {
        self.store.revision += 1;
        self.store.profile(name).groups.retain(|group| group.as_str() != from);
        self.directory_says(self.store.revision, name, DirectoryChangeKind::Left(group(from)));
    }

    /// Another engine has published this.
    pub(crate) fn bus_says(&mut self, topic: Topic, message: &Message) {
        let message = message.encode_to_vec().into();
        self.happens(Event::Published(Record { topic, stored: None, message }));
    }

    /// Another engine tells this.
    pub(crate) fn bus_tells(&mut self, topic: Topic, note: Vec<u8>) {
        self.happens(Event::Told(switchboard_engine::Note { topic, note: note.into() }));
    }

    /// Time passes, and the server does on time what is due.
    pub(crate) fn passes(&mut self, secs: u64) {
        let until = self.now + Duration::from_secs(secs);
        for _ in 0..1_000 {
            let Some(at) = self.server.poll_timeout().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.carry_out();
            self.settle();
        }
        panic!("the server's deadlines come to no end");
    }

    pub(crate) fn happens(&mut self, event: Event) {
        self.events.push_back(event);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.server.handle(self.now, event);
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Send { to, frame } => {
                    for conn in to {
                        let Some(session) = self.sessions.get_mut(conn) else { continue };
                        self.events.extend(session.write(*conn, &frame));
                    }
                }
                Action::Close { conn, reason } => {
                    let Some(session) = self.sessions.get_mut(&conn) else { continue };
                    session.closed = Some(reason);
                    if !session.is_stuck {
                        self.events.push_back(Event::Disconnected { conn });
                    }
                }
                Action::Abort { conn } => {
                    let Some(session) = self.sessions.get_mut(&conn) else { continue };
                    session.aborted = true;
                    self.events.push_back(Event::Disconnected { conn });
                }
                Action::Request { ticket, request } => {
                    self.store.asked += 1;
                    if self.store.holds {
                        self.store.held.push((ticket, request));
                    } else {
                        let answer = self.store.answer(&request);
                        self.events.extend(self.store.changes.drain(..).map(Event::DirectoryChanged));
                        self.events.push_back(Event::Answered { ticket, answer });
                    }
                }
                Action::Publish(record) => self.published.push(record),
                Action::Tell(note) => self.told.push(note),
                Action::Subscribe(topic) => {
                    self.topics.insert(topic);
                }
                Action::Unsubscribe(topic) => {
                    self.topics.remove(&topic);
                }
                Action::Stopped => self.stopped = true,
            }
        }
        if let (None, Err(violation)) = (&self.broken, self.server.check_invariants()) {
            self.broken = Some(violation.to_string());
        }
    }
}

impl Session {
    /// Puts a frame into the inbox. Returns what follows on its own.
    fn write(&mut self, conn: ConnId, frame: &Frame) -> Vec<Event> {
        let len = frame.payload().len();
        match (self.protocol, frame) {
            (Some(Protocol::Session), _) => self.told.extend(told(frame).iter().map(short)),
            (_, Frame::Message(bytes)) => self.inbox.push(Message::decode(bytes.clone()).unwrap()),
            (_, Frame::Ping(bytes)) => {
                self.pings.push(u64::from_be_bytes(bytes.as_ref().try_into().unwrap()));
            }
            (_, Frame::Pong(_)) => {}
        }
        if self.is_stuck {
            self.unflushed.push_back(len);
            return Vec::new();
        }
        let mut events = vec![Event::Flushed { conn, frames: 1, payload_bytes: len as u64 }];
        if let Frame::Ping(payload) = frame {
            if self.is_deaf {
                self.unanswered = Some(payload.clone());
                return events;
            }
            events.push(Event::Pong { conn, payload: payload.clone() });
        }
        events
    }
}

fn server(canary: Option<Canary>, configure: fn(&mut ServerConfig)) -> Server<Watch> {
    // Who is here is told in chats of its own: in all others it would be in the way.
    let mut config =
        ServerConfig { peers: true, presence: false, drain_time: Duration::ZERO, ..ServerConfig::default() };
    config.limits.resend_messages = 0;
    configure(&mut config);
    config.validate().unwrap();
    Server::with_probe(config, 7, START, Watch { canary, reached: BTreeSet::new() })
}
