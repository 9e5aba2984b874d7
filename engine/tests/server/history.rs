//! Histories: what may happen to a server, and how likely it is.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::{prelude::*, sample::select};
use proptest_state_machine::ReferenceStateMachine;
use switchboard_engine::{
    Answer, Audience, CURSORS_FLOOR, ConnId, Denial, DevicePolicy, DirectoryChange, DirectoryChangeKind,
    Event, FileKind, Head, Marks, MessageId, Messages, Note, PeerFault, Protocol, Range, Recipient, Record,
    Request, Revocation, ServerConfig, StoredMarks, StoredMessage, Topic, UserProfile, Whose,
};
use switchboard_proto::{
    Message as _,
    classic::Message,
    v1::{
        self, Content, Fetch, Heartbeat, Mark, NotedEntry, NotedMarks, NotedPlace, NotedTyping, Submit,
        Typing, client_frame, group_change, note,
    },
};

use crate::{
    driver::START,
    harness::{narrows, secs},
    model::Model,
    session_words::{change, conversation, crowded, edit, encode, fetch, hello, resync},
    store::{group, place, stored, user},
};

/// One of them has the id of a group.
const USERS: [&str; 4] = ["ann", "ben", "cat", "twin"];
const GROUPS: [&str; 3] = ["twin", "crew", "club"];
const SLOTS: u32 = 6;

/// Limits so low that short histories reach them.
fn config(peers: bool, devices: DevicePolicy) -> ServerConfig {
    let mut config = ServerConfig {
        peers,
        devices,
        ping_interval: secs(20),
        idle_timeout: secs(45),
        close_timeout: secs(5),
        request_timeout: secs(8),
        reload_interval: secs(3),
        ring_timeout: secs(15),
        hello_timeout: secs(9),
        heartbeat_interval: secs(15),
        // Left out, as the model says.
        presence: false,
        drain_time: Duration::ZERO,
        ..ServerConfig::default()
    };
    config.limits.resend_messages = 0;
    config.limits.connections = SLOTS;
    config.limits.connections_per_user = 2;
    config.limits.groups_per_user = 2;
    config.limits.message_bytes = 1024;
    narrows(&mut config, 2048);
    config.limits.streams_per_connection = 2;
    config.limits.pending_per_connection = 3;
    config.limits.pending = 5;
    config.limits.pending_bytes = 2048;
    config.limits.fetches_per_connection = 2;
    config.limits.marks_per_connection = 2;
    config.limits.cursors_per_hello = CURSORS_FLOOR;
    config.limits.heads_per_frame = 2;
    config
}

/// What a message is about; its words are made up when it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    kind: Kind,
    /// Index of the recipient.
    to: usize,
    /// Index of who it says it is from; the user it is from, if none.
    from: Option<usize>,
    padding: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    GroupText,
    Upload,
    GroupUpload,
    Relay(i32),
    Shout(i32),
    ToCall(i32),
    Heartbeat,
    LongRecipient,
}

/// A connection: the newest of a slot, or the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    slot: u32,
    stale: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Connects {
        slot: u32,
        user: usize,
        protocol: Protocol,
    },
    Says {
        who: Who,
        say: Say,
    },
    SendsGarbage {
        who: Who,
    },
    Pings {
        who: Who,
    },
    Pongs {
        who: Who,
    },
    Misbehaves {
        who: Who,
    },
    Closes {
        who: Who,
    },
    Disconnects {
        who: Who,
    },
    Flushes {
        who: Who,
        frames: usize,
    },
    Answers {
        pick: usize,
        any: bool,
        outcome: Outcome,
    },
    Changes {
        user: usize,
        group: usize,
        what: Change,
        stale: bool,
    },
    Publishes {
        topic: usize,
        say: Say,
    },
    PublishesGarbage,
    Tells {
        topic: usize,
        about: About,
        say: Say,
    },
    /// Ends a login: that of a connection, or all of a user's for one of three reasons.
    Revokes {
        who: Who,
        user: Option<usize>,
        why: Revocation,
    },
    /// The server says something so long, to a user or to everybody.
    Announces {
        to: Option<usize>,
        padding: usize,
    },
    ShutsDown,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Done,
    Failed,
    Refused,
    Wrong,
}

/// What another server tells for sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    Typing,
    Marks,
    Place,
    Entry,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Joins,
    Leaves,
    Avatar,
}

/// A step, and how long after the one before.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) after: Duration,
    pub(crate) step: Step,
}

/// What the step before led to: an event, or an answer to the request of this number.
#[derive(Clone, Debug)]
pub(crate) enum Stimulus {
    Event(Event),
    Answer(usize, Answer),
    Nothing,
}

/// The model, and the world around it that makes events of steps.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) model: Model,
    generations: Vec<u32>,
    /// The directory.
    profiles: BTreeMap<usize, UserProfile>,
    revision: u64,
    /// Makes every message different from all others.
    said: u64,
    /// What a session has submitted last, whoever it was.
    submitted: Submit,
    pub(crate) stimulus: Stimulus,
}

impl History {
    fn conn(&self, who: Who) -> ConnId {
        ConnId::new(who.slot, self.generations[who.slot as usize] - u32::from(who.stale))
    }

    fn message(&mut self, say: &Say, from: &str) -> Message {
        self.said += 1;
        let mut message = Message {
            from: say.from.map_or(from, |index| USERS[index]).into(),
            // One recipient is never here.
            to: USERS.get(say.to).copied().unwrap_or("zoe").into(),
            content: format!("{} {}", self.said, "x".repeat(say.padding)),
            content_type: 1,
            message_type: 1,
            ..Message::default()
        };
        match say.kind {
            Kind::Text => {}
            Kind::GroupText | Kind::GroupUpload => {
                message.message_type = 2;
                message.to = GROUPS[say.to % GROUPS.len()].into();
            }
            Kind::Upload => {}
            Kind::Relay(content_type) => message.content_type = content_type,
            Kind::Shout(content_type) => {
                message.to.clear();
                message.content_type = content_type;
            }
            Kind::ToCall(content_type) => {
                message.to.clear();
                message.content_type = content_type;
                message.r#type = "webrtc".into();
            }
            Kind::Heartbeat => message.r#type = "heatbeat".into(),
            Kind::LongRecipient => message.to = "x".repeat(129),
        }
        if let Kind::Upload | Kind::GroupUpload = say.kind {
            message.content_type = 3;
            message.file = self.said.to_be_bytes().to_vec().into();
            message.file_suffix = "png".into();
        }
        message
    }

    fn answer(&mut self, number: usize, outcome: Outcome) -> Answer {
        let request = self.model.asked[number].request.clone();
        self.said += 1;
        match (outcome, request) {
            (Outcome::Failed, Request::StoreMessage(_)) if self.said.is_multiple_of(2) => Answer::Full,
            (Outcome::Failed, _)
            | (
                _,
                Request::StoreSeen(_)
                | Request::LoadSeen { .. }
                | Request::StoreReceived(_)
                | Request::LoadUnreceived { .. },
            ) => Answer::Failed,
            (Outcome::Refused, Request::StoreMessage(_)) if self.said.is_multiple_of(3) => {
                Answer::Denied(Denial::NotBelow)
            }
            (Outcome::Refused, Request::StoreMessage(_)) if self.said % 3 == 1 => {
                Answer::Denied(Denial::Recalled)
            }
            (Outcome::Refused, _) => Answer::Refused,
            (Outcome::Done, Request::StoreMarks(new)) => Answer::MarksStored(StoredMarks {
                // The store may have more.
                marks: new.marks.max_of(Marks { delivered: self.said % 5, read: 0 }),
                has_moved: !self.said.is_multiple_of(3),
            }),
            (Outcome::Done, Request::StoreMessage(_)) if self.said.is_multiple_of(5) => {
                Answer::StoredEarlier(place(self.said))
            }
            (Outcome::Done, Request::LoadUser(name)) => {
                let index = USERS.iter().position(|user| *user == name.as_str()).unwrap();
                let profile = self.profiles.get(&index).cloned().unwrap_or_default();
                Answer::UserLoaded(UserProfile { revision: self.revision, ..profile })
            }
            (Outcome::Done, Request::StoreMessage(_))
            | (Outcome::Wrong, Request::LoadUser(_) | Request::StoreFile(_)) => stored(self.said),
            (Outcome::Done, Request::LoadHeads { after, .. }) => self.heads(after),
            (Outcome::Done, Request::LoadMessages(range)) => self.part(&range),
            (
                Outcome::Wrong,
                Request::LoadHeads { .. } | Request::LoadMessages(_) | Request::StoreMarks(_),
            ) => stored(self.said),
            (Outcome::Done, Request::StoreFile(_)) | (Outcome::Wrong, Request::StoreMessage(_)) => {
                let kinds = [FileKind::Other, FileKind::Image, FileKind::Audio, FileKind::Video];
                let kind = kinds[self.said as usize % kinds.len()];
                Answer::FileStored { name: format!("file {}", self.said).into(), kind }
            }
        }
    }

    /// What a session says instead: the kinds of classic messages stand for all kinds of frames.
    fn frame(&mut self, conn: ConnId, say: &Say) -> client_frame::Body {
        self.said += 1;
        let is_new = self.model.conns.get(&conn).is_some_and(|conn| conn.is_new());
        let to = USERS.get(say.to).copied().unwrap_or("zoe").to_owned();
        let to_group = format!("#{}", GROUPS[say.to % GROUPS.len()]);
        let cursors = [(to.as_str(), self.said % 5), (to_group.as_str(), self.said % 3), ("", 1), ("zoe", 2)];
        if is_new && say.from.is_none() {
            return crowded(3, hello(&cursors));
        }
        let of = if say.padding.is_multiple_of(2) { &to } else { &to_group };
        match say.kind {
            // Sometimes what was said last is said again, under the same id.
            Kind::Text if say.from.is_some() => client_frame::Body::Submit(self.submitted.clone()),
            Kind::Text => self.submit(&to, say.padding, false),
            Kind::GroupText => self.submit(&to_group, say.padding, false),
            Kind::Upload => self.submit(&to, say.padding, true),
            Kind::GroupUpload => self.submit(&to_group, say.padding, true),
            Kind::LongRecipient => self.submit(&"x".repeat(129), say.padding, false),
            Kind::Relay(21) => hello(&[]),
            Kind::Relay(8) | Kind::ToCall(_) => resync(&cursors[..say.to]),
            Kind::Relay(0 | 6) => client_frame::Body::Typing(Typing {
                conversation: say.from.is_none().then(|| conversation(of)),
                typing: !self.said.is_multiple_of(3),
                // Whatever it says here.
                user: to.clone(),
            }),
            Kind::Relay(7 | 10 | 13 | 14) | Kind::Shout(1 | 3 | 7) => self.mark(of),
            Kind::Relay(17 | 18 | 20) => self.entry(of, &to),
            Kind::Relay(_) => fetch(self.said, of, self.said % 4),
            Kind::Shout(_) => client_frame::Body::Fetch(Fetch {
                fetch_id: self.said,
                conversation: Some(conversation(of)),
                from_seq: 0,
                backwards: true,
                limit: (self.said % 3) as u32,
            }),
            Kind::Heartbeat => client_frame::Body::Heartbeat(Heartbeat { nonce: self.said }),
        }
    }

    /// Mostly of the same few conversations. Some are of another log or of none, and some say that what has not arrived was
    /// read.
    fn mark(&self, of: &str) -> client_frame::Body {
        let of = ["ben", "#crew", of][self.said as usize % 3];
        let epoch = [place(1).epoch, place(1).epoch, 3, 0][self.said as usize % 4];
        let marks = v1::Marks { delivered_seq: self.said % 6, read_seq: self.said % 5 };
        client_frame::Body::Mark(Mark { conversation: Some(conversation(of)), epoch, marks: Some(marks) })
    }

    /// What is no message. Whether it may be, the store says.
    fn entry(&mut self, of: &str, user: &str) -> client_frame::Body {
        let content = self.entry_content(of, user);
        self.submitted = Submit {
            message_id: chosen_id(self.said).0.to_vec().into(),
            conversation: Some(conversation(of)),
            content: Some(content),
        };
        client_frame::Body::Submit(self.submitted.clone())
    }

    fn entry_content(&self, of: &str, user: &str) -> Content {
        use group_change::Kind;
        let target_seq = 1 + self.said % 9;
        match (of.starts_with('#'), self.said % 6) {
            (true, 0) => change(Kind::Invite, user),
            (true, 1) => change(Kind::Kick, user),
            (true, 2) => change(Kind::Leave, ""),
            (true, 3) => change(Kind::Join, ""),
            (_, 4) => Content { kind: 22, target_seq, ..Content::default() },
            (_, _) => edit(target_seq, &format!("{} is better", self.said)),
        }
    }

    /// What another server tells; now and then of something else than its topic.
    fn note(&mut self, topic: usize, about: About, say: &Say) -> Event {
        self.said += 1;
        let from = USERS.get(say.padding % 7).copied().unwrap_or("remote");
        let to = USERS.get(say.to).copied().unwrap_or("zoe");
        let to_group = GROUPS[say.to % GROUPS.len()];
        let of = if say.padding.is_multiple_of(2) { to.to_owned() } else { format!("#{to_group}") };
        let conversation = Some(conversation(&of));
        let (epoch, seq) = (place(1).epoch, self.said);
        let marks = Some(v1::Marks { delivered_seq: 1 + seq, read_seq: seq });
        let (typing, user) = (seq.is_multiple_of(2), from.to_owned());
        let body = match about {
            About::Typing => Some(note::Body::Typing(NotedTyping { conversation, typing, user })),
            About::Marks => Some(note::Body::Marks(NotedMarks { conversation, epoch, user, marks })),
            About::Place => Some(note::Body::Place(NotedPlace { conversation, epoch, seq, from: user })),
            About::Entry => Some(note::Body::Entry(NotedEntry {
                conversation,
                epoch,
                seq,
                message_id: chosen_id(seq).0.to_vec().into(),
                from: user,
                content: Some(self.entry_content(&of, to)),
                stored_at_ms: 5,
            })),
            About::Nothing => None,
        };
        let topic = match (topic, of.starts_with('#')) {
            (0, _) => Topic::User(self::user(from)),
            (1, true) => Topic::Group(group(GROUPS[self.said as usize % GROUPS.len()])),
            (2, _) => Topic::Everyone,
            (_, true) => Topic::Group(group(to_group)),
            (_, false) => Topic::User(self::user(to)),
        };
        let note = v1::Note { body }.encode_to_vec().into();
        Event::Told(Note { topic, note })
    }

    fn submit(&mut self, to: &str, padding: usize, is_file: bool) -> client_frame::Body {
        let file = if is_file { format!("file {}", self.said) } else { String::new() };
        self.submitted = Submit {
            message_id: chosen_id(self.said).0.to_vec().into(),
            conversation: Some(conversation(to)),
            content: Some(Content {
                kind: if is_file { 3 } else { 1 },
                text: format!("{} {}", self.said, "x".repeat(padding)),
                file,
                ..Content::default()
            }),
        };
        client_frame::Body::Submit(self.submitted.clone())
    }

    /// Some heads; after the third page there are no more.
    fn heads(&self, after: u64) -> Answer {
        let users = USERS.iter().map(|name| Recipient::User(user(name)));
        let groups = GROUPS.iter().map(|name| Recipient::Group(group(name)));
        let head = |(index, conversation)| {
            let seq = (self.said + index as u64) % 5;
            Head {
                conversation,
                epoch: place(1).epoch + self.said % 9 / 8,
                seq,
                first_seq: 1,
                own: Marks { delivered: self.said % 12 / 10, read: 0 },
                peer: Marks { delivered: self.said % 14 / 12, read: 0 },
            }
        };
        let skipped = self.said as usize % 7;
        let heads =
            users.chain(groups).enumerate().map(head).skip(skipped).take(self.said as usize % 6).collect();
        let next = (self.said.is_multiple_of(3) && after < 3).then_some(after + 1);
        Answer::HeadsLoaded { heads, next }
    }

    fn part(&self, range: &Range) -> Answer {
        let message = |seq: u64| StoredMessage {
            seq,
            id: chosen_id(seq),
            sender: range.reader.clone(),
            sender_name: "".into(),
            avatar: "".into(),
            content_type: 1,
            content: format!("{} {}", seq, "x".repeat(self.said as usize % 3 * 200)).into(),
            url: "".into(),
            stored_at_ms: 5,
            subject: switchboard_engine::Subject::Message,
            changed_seq: 0,
            is_recalled: false,
        };
        let messages = (1..=self.said % (u64::from(range.limit) + 1)).map(message).collect();
        Answer::MessagesLoaded(Messages {
            epoch: 7,
            head_seq: self.said,
            first_seq: 1,
            messages,
            group_name: "".into(),
        })
    }

    fn change(&mut self, index: usize, to: usize, what: Change, stale: bool) -> Event {
        let of = group(GROUPS[to]);
        self.said += 1;
        let avatar: Box<str> = format!("{}.png", self.said).into();
        if !stale {
            self.revision += 1;
            let profile = self.profiles.entry(index).or_default();
            match what {
                Change::Joins if profile.groups.contains(&of) => {}
                Change::Joins => profile.groups.push(of.clone()),
                Change::Leaves => profile.groups.retain(|group| *group != of),
                Change::Avatar => profile.avatar.clone_from(&avatar),
            }
        }
        let kind = match what {
            Change::Joins => DirectoryChangeKind::Joined(of),
            Change::Leaves => DirectoryChangeKind::Left(of),
            Change::Avatar => DirectoryChangeKind::Avatar(avatar),
        };
        let revision = self.revision.saturating_sub(u64::from(stale));
        Event::DirectoryChanged(DirectoryChange { revision, user: user(USERS[index]), kind })
    }

    fn stimulus(&mut self, step: &Step) -> Stimulus {
        let event = match step {
            Step::Connects { slot, user: index, protocol } => {
                self.generations[*slot as usize] += 1;
                let conn = self.conn(Who { slot: *slot, stale: false });
                Event::Connected { conn, user: user(USERS[*index]), protocol: *protocol }
            }
            Step::Says { who, say } => {
                let conn = self.conn(*who);
                let message = if self.model.sessions.contains(&conn) {
                    encode(self.frame(conn, say))
                } else {
                    self.message(say, "").encode_to_vec().into()
                };
                Event::Received { conn, message }
            }
            Step::SendsGarbage { who } => {
                Event::Received { conn: self.conn(*who), message: Bytes::from_static(b"\xff\xfe") }
            }
            Step::Pings { who } => {
                Event::Ping { conn: self.conn(*who), payload: Bytes::from_static(b"there?") }
            }
            Step::Pongs { who } => Event::Pong { conn: self.conn(*who), payload: Bytes::new() },
            Step::Misbehaves { who } => {
                Event::Misbehaved { conn: self.conn(*who), fault: PeerFault::Framing }
            }
            Step::Closes { who } => Event::PeerClosed { conn: self.conn(*who) },
            Step::Disconnects { who } => Event::Disconnected { conn: self.conn(*who) },
            Step::Flushes { who, frames } => {
                let conn = self.conn(*who);
                let outbox = self.model.conns.get(&conn).map(|conn| conn.outbox.clone());
                let (frames, payload_bytes, _) = outbox.unwrap_or_default().flush(*frames);
                Event::Flushed { conn, frames, payload_bytes }
            }
            Step::Answers { pick, any, outcome } => {
                let open = self.model.open_requests();
                let numbers = if *any { (0..self.model.asked.len()).collect() } else { open };
                if numbers.is_empty() {
                    return Stimulus::Nothing;
                }
                let number = numbers[pick % numbers.len()];
                return Stimulus::Answer(number, self.answer(number, *outcome));
            }
            Step::Changes { user, group, what, stale } => self.change(*user, *group, *what, *stale),
            Step::Publishes { topic, say } => {
                let from = USERS.get(say.padding % 7).copied().unwrap_or("remote");
                let message = self.message(say, from);
                let is_stored = (1..=5).contains(&message.content_type) && say.padding % 3 > 0;
                let message = message.encode_to_vec().into();
                let topic = match topic {
                    0 => Topic::Everyone,
                    1 => Topic::User(user(USERS.get(say.to).copied().unwrap_or("zoe"))),
                    _ => Topic::Group(group(GROUPS[say.to % GROUPS.len()])),
                };
                let stored = is_stored.then(|| (chosen_id(self.said), place(self.said)));
                Event::Published(Record { topic, stored, message })
            }
            Step::PublishesGarbage => {
                let message = Bytes::from_static(b"\xff\xfe");
                Event::Published(Record { topic: Topic::Everyone, stored: None, message })
            }
            Step::Tells { topic, about, say } => self.note(*topic, *about, say),
            Step::Revokes { who, user: index, why } => {
                let whose = index.map(|index| Whose::User(user(USERS[index])));
                Event::Revoked { whose: whose.unwrap_or(Whose::Connection(self.conn(*who))), why: *why }
            }
            Step::Announces { to, padding } => {
                self.said += 1;
                let to = to.map_or(Audience::Everyone, |index| Audience::User(user(USERS[index])));
                let text = format!("{} {}", self.said, "x".repeat(*padding));
                Event::Announced { to, text: text.into() }
            }
            Step::ShutsDown => Event::Shutdown,
            Step::Nothing => return Stimulus::Nothing,
        };
        Stimulus::Event(event)
    }
}

/// An id that a session has chosen; those that the server makes up are never such ones.
pub(crate) fn chosen_id(number: u64) -> MessageId {
    let mut id = [0xAB; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

/// The id, or zeros for one that the server has made up.
pub(crate) fn known_id(id: MessageId) -> MessageId {
    if id.0[..8] == [0xAB; 8] { id } else { MessageId([0; 16]) }
}

/// In every second history few meet often: two users, on three connections.
fn few_or_all(swarm: u64) -> (u32, usize) {
    if swarm >> 4 & 1 == 1 { (3, 2) } else { (SLOTS, USERS.len()) }
}

/// `swarm` makes some kinds frequent in one history and rare in another.
fn say(swarm: u64) -> impl Strategy<Value = Say> {
    let often = |bit: u64| if swarm >> bit & 1 == 1 { 10 } else { 2 };
    let signal = select(vec![0, 0, 6, 7, 10, 10, 13, 14, 17, 18, 20, 21]);
    let kind = prop_oneof![
        4 => Just(Kind::Text),
        3 => Just(Kind::GroupText),
        2 => Just(Kind::Upload),
        1 => Just(Kind::GroupUpload),
        often(0) => signal.prop_map(Kind::Relay),
        3 * often(1) => select(vec![8, 9, 9, 9]).prop_map(Kind::Relay),
        2 => select(vec![1, 3, 7, 8, 9, 12]).prop_map(Kind::Shout),
        often(0) => select(vec![0, 0, 0, 1, 9]).prop_map(Kind::ToCall),
        1 => Just(Kind::Heartbeat),
        1 => Just(Kind::LongRecipient),
    ];
    let (_, users) = few_or_all(swarm);
    let from = prop_oneof![4 => Just(None), 1 => (0..USERS.len()).prop_map(Some)];
    let padding = prop_oneof![8 => Just(0_usize), 4 => 100..900_usize, 1 => 1000..1100_usize];
    (kind, 0..=users, from, padding).prop_map(|(kind, to, from, padding)| Say { kind, to, from, padding })
}

fn who(swarm: u64) -> impl Strategy<Value = Who> {
    (0..few_or_all(swarm).0, prop::bool::weighted(0.05)).prop_map(|(slot, stale)| Who { slot, stale })
}

fn step(swarm: u64) -> impl Strategy<Value = Step> {
    let often = |bit: u64| if swarm >> bit & 1 == 1 { 30 } else { 6 };
    let (slots, users) = few_or_all(swarm);
    let outcome = prop_oneof![
        12 => Just(Outcome::Done),
        2 => Just(Outcome::Failed),
        2 => Just(Outcome::Refused),
        1 => Just(Outcome::Wrong),
    ];
    let change = select(vec![Change::Joins, Change::Joins, Change::Joins, Change::Leaves, Change::Avatar]);
    let about = prop_oneof![
        4 => Just(About::Typing),
        4 => Just(About::Marks),
        4 => Just(About::Place),
        4 => Just(About::Entry),
        1 => Just(About::Nothing),
    ];
    let stale = prop::bool::weighted(0.2);
    let why = select(vec![Revocation::SignedOut, Revocation::Banned, Revocation::Administrator]);
    // Some histories have no sessions, some have little else.
    let sessions = [0.0, 0.5, 0.5, 0.9][swarm as usize >> 5 & 3];
    let protocol =
        prop::bool::weighted(sessions).prop_map(|is| if is { Protocol::Session } else { Protocol::Classic });
    prop_oneof![
        20 => (0..slots, 0..users, protocol)
            .prop_map(|(slot, user, protocol)| Step::Connects { slot, user, protocol }),
        90 => (who(swarm), say(swarm)).prop_map(|(who, say)| Step::Says { who, say }),
        1 => who(swarm).prop_map(|who| Step::SendsGarbage { who }),
        2 => who(swarm).prop_map(|who| Step::Pings { who }),
        4 => who(swarm).prop_map(|who| Step::Pongs { who }),
        1 => who(swarm).prop_map(|who| Step::Misbehaves { who }),
        2 => who(swarm).prop_map(|who| Step::Closes { who }),
        4 => who(swarm).prop_map(|who| Step::Disconnects { who }),
        often(2) => (who(swarm), 0..4_usize).prop_map(|(who, frames)| Step::Flushes { who, frames }),
        often(3) => (any::<u16>(), prop::bool::weighted(0.1), outcome).prop_map(|(pick, any, outcome)| {
            Step::Answers { pick: pick.into(), any, outcome }
        }),
        12 => (0..USERS.len(), 0..GROUPS.len(), change, stale)
            .prop_map(|(user, group, what, stale)| Step::Changes { user, group, what, stale }),
        6 => (0..3_usize, say(swarm)).prop_map(|(topic, say)| Step::Publishes { topic, say }),
        1 => Just(Step::PublishesGarbage),
        6 => (0..9_usize, about, say(swarm)).prop_map(|(topic, about, say)| Step::Tells { topic, about, say }),
        2 => (who(swarm), prop::option::weighted(0.3, 0..users), why)
            .prop_map(|(who, user, why)| Step::Revokes { who, user, why }),
        3 => (prop::option::of(0..users), 0..900_usize)
            .prop_map(|(to, padding)| Step::Announces { to, padding }),
        1 => Just(Step::ShutsDown),
        3 => Just(Step::Nothing),
    ]
}

pub(crate) struct Specification;

impl ReferenceStateMachine for Specification {
    type State = History;
    type Transition = Timed;

    fn init_state() -> BoxedStrategy<History> {
        let devices = select(vec![DevicePolicy::All, DevicePolicy::NewestWins]);
        (any::<u64>(), any::<bool>(), devices)
            .prop_map(|(seed, peers, devices)| History {
                seed,
                model: Model::new(config(peers, devices), START),
                generations: vec![1; SLOTS as usize],
                profiles: BTreeMap::new(),
                revision: 0,
                said: 0,
                submitted: Submit::default(),
                stimulus: Stimulus::Nothing,
            })
            .boxed()
    }

    fn transitions(history: &History) -> BoxedStrategy<Timed> {
        let after = prop_oneof![40 => 1..50_u64, 2 => 1_000..6_000_u64, 1 => 10_000..30_000_u64];
        (after.prop_map(Duration::from_millis), step(history.seed))
            .prop_map(|(after, step)| Timed { after, step })
            .boxed()
    }

    fn preconditions(history: &History, timed: &Timed) -> bool {
        // A driver has one connection in a slot, and opens none after the server has stopped: not even if
        // time alone will have stopped it by then.
        let Step::Connects { slot, .. } = timed.step else { return true };
        let mut model = history.model.clone();
        model.pass(timed.after);
        model.in_slot(slot).is_none() && !model.stopped
    }

    fn apply(mut history: History, timed: &Timed) -> History {
        history.model.expected = Default::default();
        history.model.pass(timed.after);
        history.stimulus = history.stimulus(&timed.step);
        match history.stimulus.clone() {
            Stimulus::Event(event) => history.model.handle(&event),
            Stimulus::Answer(number, answer) => history.model.answered(number, &answer),
            Stimulus::Nothing => {}
        }
        history
    }
}
