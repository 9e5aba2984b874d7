//! A driver for the model, in the words of a chat.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use switchboard_engine::{
    Action, Answer, ConnId, Event, FileKind, Frame, GroupId, Instant, NewMessage, Place, Protocol, Request,
    Ticket, UserId, UserProfile,
};
use switchboard_proto::{Message as _, classic::Message};
use switchboard_sim::original::OriginalHub;

/// How the store behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Works,
    Fails,
    Silent,
}

/// One process, its clients and its store. A client that reads takes every frame at once.
pub(crate) struct Chat {
    pub(crate) hub: OriginalHub,
    pub(crate) store: Store,
    /// All that the store was asked, in order.
    pub(crate) asked: Vec<Request>,
    /// What the process has published.
    pub(crate) published: VecDeque<Bytes>,
    /// Every action with its time: what a replay must repeat.
    pub(crate) log: Vec<String>,
    pub(crate) stopped: bool,
    now: Instant,
    groups: BTreeMap<&'static str, Vec<GroupId>>,
    inboxes: BTreeMap<ConnId, Vec<Frame>>,
    stalled: BTreeSet<ConnId>,
    unread_bytes: BTreeMap<ConnId, Vec<u64>>,
    open: BTreeSet<ConnId>,
    connections: u32,
    pending: VecDeque<Event>,
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

pub(crate) fn text(from: &str, to: &str, content: &str) -> Message {
    Message {
        from: from.into(),
        to: to.into(),
        content: content.into(),
        content_type: 1,
        message_type: 1,
        ..Message::default()
    }
}

pub(crate) fn group_text(from: &str, to: &str, content: &str) -> Message {
    Message { message_type: 2, ..text(from, to, content) }
}

pub(crate) fn photo(from: &str, to: &str) -> Message {
    Message {
        content_type: 3,
        file: Bytes::from_static(b"pixels"),
        file_suffix: "png".into(),
        ..text(from, to, "")
    }
}

pub(crate) fn heartbeat() -> Message {
    Message { r#type: "heatbeat".into(), content: "ping".into(), ..Message::default() }
}

pub(crate) fn bytes(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

impl Chat {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(OriginalHub::new(seed, Instant::ZERO))
    }

    pub(crate) fn of(hub: OriginalHub) -> Self {
        Self {
            hub,
            store: Store::Works,
            asked: Vec::new(),
            published: VecDeque::new(),
            log: Vec::new(),
            stopped: false,
            now: Instant::ZERO,
            groups: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            stalled: BTreeSet::new(),
            unread_bytes: BTreeMap::new(),
            open: BTreeSet::new(),
            connections: 0,
            pending: VecDeque::new(),
        }
    }

    /// The store knows of a group.
    pub(crate) fn group(&mut self, id: &str, members: &[&'static str]) {
        for member in members {
            self.groups.entry(member).or_default().push(group(id));
        }
    }

    /// A user connects; nothing else happens yet.
    pub(crate) fn connects(&mut self, name: &str) -> ConnId {
        let conn = ConnId::new(self.connections, 1);
        self.connections += 1;
        self.open.insert(conn);
        self.inboxes.insert(conn, Vec::new());
        self.event(Event::Connected { conn, user: user(name), protocol: Protocol::Classic });
        conn
    }

    /// A user connects, and reads the welcome.
    pub(crate) fn arrives(&mut self, name: &str) -> ConnId {
        let conn = self.connects(name);
        self.settle();
        self.inboxes.insert(conn, Vec::new());
        conn
    }

    /// A connection is lost; nothing else happens yet.
    pub(crate) fn leaves(&mut self, conn: ConnId) {
        assert!(self.open.remove(&conn), "{conn} is open");
        self.event(Event::Disconnected { conn });
    }

    /// Something arrives; nothing else happens yet.
    pub(crate) fn sends(&mut self, conn: ConnId, message: &Message) {
        self.sends_bytes(conn, bytes(message));
    }

    pub(crate) fn sends_bytes(&mut self, conn: ConnId, message: Bytes) {
        self.event(Event::Received { conn, message });
    }

    /// Something arrives, and everything happens that follows from it.
    pub(crate) fn says(&mut self, conn: ConnId, message: &Message) {
        self.sends(conn, message);
        self.settle();
    }

    pub(crate) fn stops_reading(&mut self, conn: ConnId) {
        self.stalled.insert(conn);
    }

    /// A client reads what it has not read; nothing else happens yet.
    pub(crate) fn reads_again(&mut self, conn: ConnId) {
        self.stalled.remove(&conn);
        for payload_bytes in self.unread_bytes.remove(&conn).unwrap_or_default() {
            self.event(Event::Flushed { conn, frames: 1, payload_bytes });
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.hub.handle(self.now, event);
        self.act();
    }

    /// Lets one task take one step, if any can; false if none can.
    pub(crate) fn step(&mut self) -> bool {
        let Some(at) = self.hub.poll_timeout() else { return false };
        self.now = self.now.max(at);
        self.hub.handle_timeout(self.now);
        self.act();
        true
    }

    /// Lets the tasks run until none can.
    pub(crate) fn settle(&mut self) {
        let rested = (0..100_000).any(|_| !self.step());
        assert!(rested, "the tasks do not come to rest");
    }

    /// What a connection was sent since it was asked last.
    pub(crate) fn frames(&mut self, conn: ConnId) -> Vec<Frame> {
        self.inboxes.insert(conn, Vec::new()).unwrap()
    }

    pub(crate) fn messages(&mut self, conn: ConnId) -> Vec<Message> {
        let message = |frame: Frame| Message::decode(frame.payload().clone()).unwrap();
        self.frames(conn).into_iter().map(message).collect()
    }

    /// The texts that a connection was sent since it was asked last.
    pub(crate) fn hears(&mut self, conn: ConnId) -> Vec<String> {
        self.messages(conn).into_iter().map(|message| message.content).collect()
    }

    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.open.contains(&conn)
    }

    /// The messages that the store was asked to keep.
    pub(crate) fn stored(&self) -> Vec<&NewMessage> {
        self.asked.iter().filter_map(Request::message).collect()
    }

    fn act(&mut self) {
        loop {
            while let Some(action) = self.hub.poll_action() {
                self.log.push(format!("{} {action:?}", self.now.as_nanos()));
                match action {
                    Action::Send { to, frame } => {
                        for conn in to {
                            let payload_bytes = frame.payload().len() as u64;
                            if self.stalled.contains(conn) {
                                self.unread_bytes.entry(*conn).or_default().push(payload_bytes);
                            } else {
                                let conn = *conn;
                                self.pending.push_back(Event::Flushed { conn, frames: 1, payload_bytes });
                            }
                            self.inboxes.get_mut(conn).unwrap().push(frame.clone());
                        }
                    }
                    Action::Close { conn, .. } | Action::Abort { conn } => {
                        if self.open.remove(&conn) {
                            self.pending.push_back(Event::Disconnected { conn });
                        }
                    }
                    Action::Request { ticket, request } => {
                        if let Some(answer) = answer(self.store, &self.groups, &request) {
                            self.pending.push_back(Event::Answered { ticket, answer });
                        }
                        self.asked.push(request);
                    }
                    Action::Publish(record) => self.published.push_back(record.message),
                    Action::Stopped => self.stopped = true,
                    Action::Subscribe(_) | Action::Tell(_) | Action::Unsubscribe(_) => {
                        panic!("the original has no topics")
                    }
                }
            }
            let Some(event) = self.pending.pop_front() else { return };
            self.hub.handle(self.now, event);
        }
    }

    pub(crate) fn answers(&mut self, ticket: Ticket, answer: Answer) {
        self.event(Event::Answered { ticket, answer });
        self.settle();
    }
}

/// Where the store says that every message is: the original does not read it.
pub(crate) const PLACE: Place = Place { epoch: 1, seq: 1, stored_at_ms: 0 };

fn answer(store: Store, groups: &BTreeMap<&'static str, Vec<GroupId>>, request: &Request) -> Option<Answer> {
    match store {
        Store::Silent => None,
        Store::Fails => Some(Answer::Failed),
        Store::Works => Some(match request {
            Request::LoadUser(user) => Answer::UserLoaded(UserProfile {
                avatar: format!("{user}.png").into(),
                groups: groups.get(user.as_str()).cloned().unwrap_or_default(),
                revision: 1,
            }),
            Request::StoreMessage(_) => Answer::MessageStored(PLACE),
            Request::StoreFile(_) => Answer::FileStored { name: "kept.png".into(), kind: FileKind::Image },
            Request::LoadHeads { .. }
            | Request::LoadMessages(_)
            | Request::StoreMarks(_)
            | Request::StoreSeen(_)
            | Request::LoadSeen { .. }
            | Request::StoreReceived(_)
            | Request::LoadUnreceived { .. } => {
                unreachable!("the original has no sessions")
            }
        }),
    }
}

/// Asserts that of 1,000 seeds as many show the fault as the documentation says, and that the first that shows it
/// shows it again, action for action. It depends on the schedule: not every seed shows it.
pub(crate) fn search(fault: &str, run: impl Fn(u64) -> Chat, shows: impl Fn(&mut Chat) -> bool) {
    let showing: Vec<u64> = (0..1_000).filter(|seed| shows(&mut run(*seed))).collect();
    println!("{fault}: {} of 1000 seeds, the first is {:?}", showing.len(), showing.first());
    assert!(showing.len() < 1_000, "{fault}: every seed shows it");
    let seed = *showing.first().expect("a seed that shows it");
    let (mut one, mut other) = (run(seed), run(seed));
    assert_eq!(one.log, other.log);
    assert!(shows(&mut one) && shows(&mut other));
    let documented = include_str!("../../../docs/original.md").lines().find(|line| {
        line.strip_prefix("| ")
            .and_then(|line| line.strip_prefix(fault))
            .is_some_and(|rest| rest.starts_with(" |"))
    });
    let count = format!(" {} |", showing.len());
    assert!(
        documented.is_some_and(|row| row.ends_with(&count)),
        "{fault}:{count} is not what {documented:?} says"
    );
}
