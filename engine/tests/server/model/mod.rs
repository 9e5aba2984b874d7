//! The reference model: what a server must do, with the simplest data that can say it. It has no tables
//! of keys, no timers and no buffers to reuse, so it can be read as the specification.
//!
//! Left out, and judged by the simulator and by scenarios: who is here and calls of sessions, as they are made of
//! time-outs and of what several engines say to each other, which one engine's histories cannot show; and what is sent
//! again to classic clients, which depends on what a store has in its logs, and this one makes its answers up. Who may
//! change a group is the store's to say: here it says anything.

mod authority;
mod chat;
mod entries;
mod live;
mod outbox;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use switchboard_engine::{
    Answer, CloseReason, ConnId, Denial, DevicePolicy, DirectoryChange, DirectoryChangeKind, Event,
    FileUpload, Frame, Instant, Note, Place, Protocol, Recipient, Record, Request, ServerConfig, Topic,
    Whose,
};
use switchboard_proto::{classic::Message, v1::Content};

use self::{outbox::Outbox, session::Session};
use crate::store::{group, user};

/// What one connection is to be sent or told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Frame(Frame),
    Close(CloseReason),
    Abort,
}

/// What a step must lead to; exactly this and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) outs: BTreeMap<ConnId, Vec<Out>>,
    /// With the number that the model gives to each.
    pub(crate) requests: Vec<(usize, Request)>,
    pub(crate) published: Vec<Record>,
    pub(crate) told: Vec<Note>,
}

impl Expected {
    fn out(&mut self, conn: ConnId, out: Out) {
        self.outs.entry(conn).or_default().push(out);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Conn {
    user: String,
    state: State,
    heard_at: Instant,
    pinged_at: Instant,
    pub(crate) outbox: Outbox,
    /// What only a session has, until it is closed.
    pub(crate) session: Option<Session>,
}

#[derive(Clone, Debug)]
enum State {
    /// With what came before the welcome.
    Loading(Vec<Bytes>),
    /// A session that has not said Hello.
    Greeting,
    Online,
    Closing(Instant),
    Aborted,
}

impl Conn {
    fn early(&self) -> &[Bytes] {
        match &self.state {
            State::Loading(early) => early,
            State::Greeting | State::Online | State::Closing(_) | State::Aborted => &[],
        }
    }

    /// When the first frame of a session must have come that has sent none.
    fn hello_by(&self) -> Option<Instant> {
        let waits = match &self.state {
            State::Loading(early) => early.is_empty(),
            State::Greeting => true,
            State::Online | State::Closing(_) | State::Aborted => false,
        };
        self.session.as_ref().filter(|_| waits).map(|session| session.hello_by)
    }

    /// Whether its next frame is the first.
    pub(crate) fn is_new(&self) -> bool {
        self.hello_by().is_some()
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Loading(_) | State::Greeting | State::Online)
    }
}

/// A user with an open connection, or of whom something is left to route.
#[derive(Clone, Debug)]
struct Person {
    conns: Vec<ConnId>,
    /// What closed connections had sent before the user was loaded.
    departed: Vec<(ConnId, bool, Bytes)>,
    load: Load,
    groups: Vec<String>,
    avatar: String,
    revision: u64,
    call: Option<Call>,
}

#[derive(Clone, Debug)]
enum Load {
    Waiting(usize),
    Done,
    Failed(Instant),
}

impl Person {
    fn join(&mut self, group: String, limit: usize) {
        if self.groups.len() < limit && !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }
}

#[derive(Clone, Debug)]
enum Call {
    Calling(String),
    Rung(String, Instant),
    Active(String),
}

impl Call {
    fn is_with(call: Option<&Self>, peer: &str) -> bool {
        matches!(call, Some(Self::Calling(p) | Self::Rung(p, _) | Self::Active(p)) if p == peer)
    }

    fn sent(call: &mut Option<Self>, peer: &str, ends: bool) {
        let same = Self::is_with(call.as_ref(), peer);
        match call {
            _ if ends && same => *call = None,
            _ if ends => {}
            Some(Self::Calling(_)) if same => {}
            Some(Self::Rung(..) | Self::Active(_)) if same => *call = Some(Self::Active(peer.into())),
            _ => *call = Some(Self::Calling(peer.into())),
        }
    }

    fn received(call: &mut Option<Self>, peer: &str, ends: bool, now: Instant) {
        let same = Self::is_with(call.as_ref(), peer);
        match call {
            _ if ends && same => *call = None,
            _ if ends => {}
            None | Some(Self::Rung(..)) => *call = Some(Self::Rung(peer.into(), now)),
            Some(_) if same => *call = Some(Self::Active(peer.into())),
            Some(_) => {}
        }
    }
}

/// A message on its way through the store.
#[derive(Clone, Debug)]
struct Entry {
    sender: String,
    recipient: Recipient,
    message: Message,
    /// What it is, if it is no message.
    entry: Option<Content>,
    cost: u64,
    stage: Stage,
    /// The id that a session has given it.
    submitted: Option<Bytes>,
    /// Whether the same submit was delivered while this one waited.
    delivered: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    Upload(FileUpload),
    File(usize),
    Ready,
    Storing(usize),
    /// With whether this request has stored it.
    Stored(Place, bool),
    Refused,
    Denied(Denial),
    Full,
    Failed,
}

impl Entry {
    fn waits_for(&self, request: usize) -> bool {
        matches!(self.stage, Stage::File(number) | Stage::Storing(number) if number == request)
    }
}

/// What an open request is for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    Load(String),
    Entry(ConnId),
    Heads(ConnId),
    Fetch(ConnId),
    Marks(ConnId),
}

/// A request, and until when an answer counts.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    purpose: Purpose,
    expires_at: Instant,
    open: bool,
}

/// A server as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) config: ServerConfig,
    pub(crate) now: Instant,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    /// Connections that are or were sessions.
    pub(crate) sessions: BTreeSet<ConnId>,
    people: BTreeMap<String, Person>,
    /// Every request ever made, by number.
    pub(crate) asked: Vec<Asked>,
    /// Messages that wait for the store, by the connection that they came from.
    queues: BTreeMap<ConnId, Vec<Entry>>,
    /// Until when it settles what it has accepted, once it is told to stop.
    stopping: Option<Instant>,
    closed: bool,
    pub(crate) stopped: bool,
    pub(crate) expected: Expected,
}

impl Model {
    pub(crate) fn new(config: ServerConfig, now: Instant) -> Self {
        Self {
            config,
            now,
            conns: BTreeMap::new(),
            sessions: BTreeSet::new(),
            people: BTreeMap::new(),
            asked: Vec::new(),
            queues: BTreeMap::new(),
            stopping: None,
            closed: false,
            stopped: false,
            expected: Expected::default(),
        }
    }

    /// The connection in a slot, closing or not.
    pub(crate) fn in_slot(&self, slot: u32) -> Option<ConnId> {
        self.conns.keys().copied().find(|conn| conn.slot() == slot)
    }

    pub(crate) fn open_requests(&self) -> Vec<usize> {
        (0..self.asked.len()).filter(|number| self.asked[*number].open).collect()
    }

    pub(crate) fn users(&self) -> usize {
        self.people.len()
    }

    pub(crate) fn pending(&self) -> usize {
        self.queues.values().map(Vec::len).sum()
    }

    /// What the server must be subscribed to.
    pub(crate) fn interest(&self) -> BTreeSet<Topic> {
        let users = self.people.keys().map(|name| Topic::User(user(name)));
        let groups = self.people.values().flat_map(|person| &person.groups);
        let all = users.chain(groups.map(|name| Topic::Group(group(name))));
        all.filter(|_| self.config.peers).collect()
    }

    /// An event, other than an answer.
    pub(crate) fn handle(&mut self, event: &Event) {
        match event {
            Event::Connected { conn, user, protocol } => {
                let is_session = *protocol == Protocol::Session;
                self.connected(*conn, user.as_str(), is_session);
            }
            Event::Received { conn, message } => self.received(*conn, message.clone()),
            Event::Ping { conn, payload } => {
                if self.hear(*conn) {
                    self.send(*conn, &Frame::Pong(payload.clone()));
                }
            }
            Event::Pong { conn, .. } => {
                self.hear(*conn);
            }
            Event::Misbehaved { conn, .. } => self.close(*conn, CloseReason::ProtocolError),
            Event::PeerClosed { conn } => self.close(*conn, CloseReason::PeerClosed),
            Event::Flushed { conn, frames, .. } => {
                let Some(connection) = self.conns.get_mut(conn) else { return };
                let (_, _, released) = connection.outbox.flush(*frames as usize);
                let drained = connection.outbox.on_the_way() == 0;
                released.into_iter().for_each(|f| self.expected.out(*conn, Out::Frame(Frame::Message(f))));
                if drained {
                    self.drained(*conn);
                }
            }
            Event::Disconnected { conn } => {
                self.end_session(*conn, None);
                if let Some(connection) = self.conns.remove(conn) {
                    self.detach(*conn, &connection.state);
                }
            }
            Event::Answered { .. } => unreachable!("answers have numbers here"),
            Event::Published(record) => self.published(record),
            Event::Told(note) => self.told(note),
            Event::DirectoryChanged(change) => self.directory_changed(change),
            Event::Revoked { whose, why } => {
                let conns = match whose {
                    Whose::Connection(conn) => vec![*conn],
                    Whose::User(user) => self.conns_of(user.as_str()),
                };
                conns.into_iter().for_each(|conn| self.close(conn, (*why).into()));
            }
            Event::Announced { to, text } => self.announced(to, text),
            Event::Shutdown => {
                self.stopping.get_or_insert(self.now + self.config.close_timeout);
            }
        }
        self.finish();
    }

    /// The store answers request `number`; if that is not waited for any more, nothing happens.
    pub(crate) fn answered(&mut self, number: usize, answer: &Answer) {
        if std::mem::take(&mut self.asked[number].open) {
            match self.asked[number].purpose.clone() {
                Purpose::Load(name) => self.loaded(&name, answer),
                Purpose::Entry(conn) => self.settle(conn, number, answer),
                Purpose::Heads(conn) => self.heads_loaded(conn, answer),
                Purpose::Fetch(conn) => self.fetched(conn, number, answer),
                Purpose::Marks(conn) => self.marks_stored(conn, number, answer),
            }
        }
        self.finish();
    }

    /// Time passes, and what is due is done when it is due.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.next_due().filter(|at| *at <= until) {
            self.now = at;
            self.do_what_is_due();
            self.finish();
        }
        self.now = until;
    }

    fn next_due(&self) -> Option<Instant> {
        let conns = self.conns.values().filter_map(|connection| self.conn_due(connection));
        let loads = self.people.values().filter_map(|person| self.reload_due(person));
        let requests = self.asked.iter().filter(|asked| asked.open).map(|asked| asked.expires_at);
        let settled = self.stopping.filter(|_| !self.closed);
        let sessions = self.conns.values().filter_map(|connection| connection.session.as_ref());
        let heads = sessions.filter_map(Session::retry_at);
        conns.chain(loads).chain(requests).chain(settled).chain(heads).min()
    }

    fn conn_due(&self, connection: &Conn) -> Option<Instant> {
        match connection.state {
            State::Loading(_) | State::Greeting | State::Online => {
                let ping_at = connection.heard_at.max(connection.pinged_at) + self.config.ping_interval;
                let due = ping_at.min(connection.heard_at + self.config.idle_timeout);
                Some(connection.hello_by().map_or(due, |hello_by| due.min(hello_by)))
            }
            State::Closing(since) => Some(since + self.config.close_timeout),
            State::Aborted => None,
        }
    }

    fn reload_due(&self, person: &Person) -> Option<Instant> {
        match person.load {
            Load::Failed(at) => Some(at + self.config.reload_interval),
            Load::Waiting(_) | Load::Done => None,
        }
    }

    fn do_what_is_due(&mut self) {
        let now = self.now;
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let connection = &self.conns[&conn];
            if self.conn_due(connection) != Some(now) {
                continue;
            }
            if matches!(connection.state, State::Closing(_)) {
                self.conns.get_mut(&conn).unwrap().state = State::Aborted;
                self.expected.out(conn, Out::Abort);
            } else if connection.heard_at + self.config.idle_timeout == now {
                self.close(conn, CloseReason::Idle);
            } else if connection.hello_by() == Some(now) {
                self.close(conn, CloseReason::OutOfTurn);
            } else {
                let position = connection.outbox.sent().to_be_bytes();
                self.conns.get_mut(&conn).unwrap().pinged_at = now;
                if matches!(self.conns[&conn].state, State::Online) {
                    self.send(conn, &Frame::Ping(Bytes::copy_from_slice(&position)));
                }
            }
        }
        for name in self.people.keys().cloned().collect::<Vec<_>>() {
            if self.reload_due(&self.people[&name]) == Some(now) {
                self.load(&name);
            }
        }
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            if self.conns[&conn].session.as_ref().and_then(Session::retry_at) == Some(now) {
                self.retry_heads(conn);
            }
        }
        for number in self.open_requests() {
            if self.asked[number].open && self.asked[number].expires_at == now {
                self.answered(number, &Answer::Failed);
            }
        }
    }

    fn connected(&mut self, conn: ConnId, name: &str, is_session: bool) {
        let (heard_at, pinged_at) = (self.now, self.now);
        let session = is_session.then(|| Session::new(self.now + self.config.hello_timeout));
        self.sessions.extend(is_session.then_some(conn));
        let state = State::Loading(Vec::new());
        let connection =
            Conn { user: name.into(), state, heard_at, pinged_at, outbox: Outbox::default(), session };
        self.conns.insert(conn, connection);
        let known = self.people.contains_key(name);
        let person = self.people.entry(name.into()).or_insert(Person {
            conns: Vec::new(),
            departed: Vec::new(),
            load: Load::Done,
            groups: Vec::new(),
            avatar: String::new(),
            revision: 0,
            call: None,
        });
        person.conns.push(conn);
        if self.stopping.is_some() {
            return self.close(conn, CloseReason::GoingAway);
        }
        if !known {
            self.load(name);
        }
        let (room, reason) = match self.config.devices {
            DevicePolicy::All => {
                (self.config.limits.connections_per_user as usize, CloseReason::TooManyDevices)
            }
            DevicePolicy::NewestWins => (1, CloseReason::TakenOver),
        };
        let conns = self.people[name].conns.clone();
        conns[..conns.len().saturating_sub(room)].iter().for_each(|oldest| self.close(*oldest, reason));
        if !matches!(self.people[name].load, Load::Waiting(_)) {
            self.welcome(name);
        }
    }

    fn load(&mut self, name: &str) {
        let number = self.ask(Purpose::Load(name.into()), Request::LoadUser(user(name)));
        self.people.get_mut(name).unwrap().load = Load::Waiting(number);
    }

    fn ask(&mut self, purpose: Purpose, request: Request) -> usize {
        let number = self.asked.len();
        self.expected.requests.push((number, request.clone()));
        let expires_at = self.now + self.config.request_timeout;
        self.asked.push(Asked { request, purpose, expires_at, open: true });
        number
    }

    /// Something came from an open connection.
    fn hear(&mut self, conn: ConnId) -> bool {
        let now = self.now;
        let Some(connection) = self.conns.get_mut(&conn).filter(|connection| connection.is_open()) else {
            return false;
        };
        connection.heard_at = now;
        true
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        let now = self.now;
        if !self.conns.get(&conn).is_some_and(Conn::is_open) {
            return;
        }
        self.end_session(conn, Some(reason));
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let state = std::mem::replace(&mut connection.state, State::Closing(now));
        connection.outbox.discard_waiting();
        self.expected.out(conn, Out::Close(reason));
        self.detach(conn, &state);
    }

    /// What was sent before the user is loaded is routed when that is done, whoever has gone by then.
    fn detach(&mut self, conn: ConnId, state: &State) {
        let limit = self.config.limits.pending_per_connection as usize;
        let is_session = self.sessions.contains(&conn);
        for person in self.people.values_mut().filter(|person| person.conns.contains(&conn)) {
            person.conns.retain(|other| *other != conn);
            if let State::Loading(early) = state {
                let left = if is_session { Self::departed(early) } else { early };
                person.departed.extend(left.iter().map(|bytes| (conn, is_session, bytes.clone())));
                person.departed.truncate(limit);
            }
        }
        self.forget();
    }

    /// Nothing is left of a user whose last connection is closed.
    fn forget(&mut self) {
        let gone = |person: &Person| person.conns.is_empty() && person.departed.is_empty();
        let gone = self.people.extract_if(.., |_, person| gone(person));
        for (_, person) in gone {
            if let Load::Waiting(number) = person.load {
                self.asked[number].open = false;
            }
        }
    }

    fn directory_changed(&mut self, change: &DirectoryChange) {
        let limit = self.config.limits.groups_per_user as usize;
        let name = change.user.as_str();
        let Some(person) = self.people.get_mut(name) else { return };
        if let Load::Waiting(number) = person.load {
            // The answer may be older than the change, and the next one may never come.
            self.asked[number].open = false;
            let expires_at = self.asked[number].expires_at;
            self.load(name);
            self.asked.last_mut().unwrap().expires_at = expires_at;
        }
        let Some(person) = self.people.get_mut(name) else { return };
        if change.revision <= person.revision {
            return;
        }
        person.revision = change.revision;
        match &change.kind {
            DirectoryChangeKind::Joined(group) => person.join(group.as_str().into(), limit),
            DirectoryChangeKind::Left(group) => person.groups.retain(|other| other != group.as_str()),
            DirectoryChangeKind::Avatar(avatar) => person.avatar = avatar.to_string(),
        }
    }

    fn finish(&mut self) {
        let Some(until) = self.stopping else { return };
        let settled = self.queues.is_empty() && self.early_bytes() == 0;
        if !self.closed && (settled || self.now >= until) {
            self.closed = true;
            let all: Vec<_> = self.conns.keys().copied().collect();
            all.into_iter().for_each(|conn| self.close(conn, CloseReason::GoingAway));
        }
        let left = !self.conns.is_empty() || !self.queues.is_empty() || !self.people.is_empty();
        self.stopped |= !left;
    }
}
