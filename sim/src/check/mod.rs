//! What must hold, checked from outside: by looking at the events that an engine is given and the actions that
//! it answers with, and never at how it comes to them.
//!
//! | check | it holds that |
//! | --- | --- |
//! | `accepted-is-durable` | what is delivered or published of content types 1 to 5 is in the store |
//! | `exactly-once` | one message received is stored, delivered to a connection and published at most once |
//! | `one-order` | one connection's messages are stored and delivered in the order sent; `seq` has no gaps |
//! | `no-leak` | only whom the message is for receives it, and only members' messages are taken for a group |
//! | `no-spoof` | `from` is the authenticated user |
//! | `isolation` | nobody is closed for a reason that is not there |
//! | `bounded` | outboxes keep their limit, and what is closing ends in time |
//! | `takeover` | late events change nothing, and an older connection never wins |
//! | `accounting` | every push is flushed, dropped for a counted reason, or still there |
//! | `convergence` | after the faults, everybody is back and receives what is said |
//! | `determinism` | the same schedule gives the same actions (`--twice`) |
//! | `delivery` | whoever is online and entitled is sent the message at once |
//! | `protocol` | frames have the form and the order that the classic protocol gives them |

mod authority;
mod backup;
mod calls;
mod directory;
mod entries;
pub(crate) mod frames;
mod intake;
mod pictures;
pub(crate) mod pipelines;
mod rates;
mod resend;
mod seats;
pub(crate) mod sessions;
mod state;
mod sweep;

use core::hash::BuildHasherDefault;
use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashMap;
use switchboard_engine::{Action, ConnId, GroupChange, Stats, Subject, UserId};

use self::{
    rates::{Bucket, Verdict},
    sessions::{Noting, Telling},
};
use crate::schedule::{Schedule, Settings};
use crate::wire::{
    self, Token,
    session::{LogKey, Peer},
};

pub(crate) use backup::Backup;
pub(crate) use calls::CallSeen;
pub(crate) use pipelines::Instance;
pub(crate) use rates::PING;
pub(crate) use resend::{Aside, CatchUp};
pub(crate) use seats::{Phase, Seat};
pub(crate) use sessions::Mark;

/// A connection's place in the table of all connections of the run; never used twice.
pub(crate) type ConnKey = u32;
/// A message's place in the table of all messages of the run.
pub(crate) type MessageKey = u32;

/// A fast hasher with fixed keys: nobody chooses the keys here, and nothing is iterated.
pub(crate) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// See [`Table`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fold(u64);

impl core::hash::Hasher for Fold {
    fn finish(&self) -> u64 {
        // Tables take a place from the lowest bits, and what is in the highest bits of a key only reaches the highest
        // of the product: without this all tokens would be at one place.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
}

/// Something that must hold and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which check.
    pub check: &'static str,
    /// What was seen.
    pub what: String,
    /// When, in microseconds of virtual time.
    pub at_us: u64,
}

impl Violation {
    /// Which fault it is: the check, and the text up to a colon with all its numbers made equal. Two runs that go
    /// wrong in the same way have the same.
    #[must_use]
    pub fn fault(&self) -> String {
        let mut fault = format!("{}: ", self.check);
        let text = self.what.split(':').next().unwrap_or_default();
        for letter in text.chars() {
            match letter {
                '0'..='9' if fault.ends_with('#') => {}
                '0'..='9' => fault.push('#'),
                other => fault.push(other),
            }
        }
        fault
    }
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {} (at {} us)", self.check, self.what, self.at_us)
    }
}

/// Where a message goes by the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    /// Stored, then to a user.
    User(u16),
    /// Stored, then to a group.
    Group(u16),
    /// To a user as it is.
    Relay(u16),
    /// To the other side of the sender's call.
    Call,
    /// To everyone.
    Everyone,
}

/// A message that a client has sent.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) token: Token,
    pub(crate) sender: u16,
    pub(crate) route: Route,
    /// As it came in; engine clients make their bytes themselves, so these come later.
    pub(crate) bytes: Bytes,
    /// Whether `from` is the sender already.
    pub(crate) honest: bool,
    pub(crate) content_type: i32,
    /// Whether it says that it belongs to a call.
    pub(crate) is_call: bool,
    /// A session says it.
    pub(crate) is_session: bool,
    /// The frame that a session submits it with, once it has; so that others can submit the same again.
    pub(crate) submit: Bytes,
    /// What it is, if it is no message.
    pub(crate) subject: Subject,
    pub(crate) media: bool,
    /// Its file is empty, which the store refuses.
    pub(crate) empty_file: bool,
    /// Connections over which servers have received it.
    pub(crate) conns: Vec<ConnKey>,
    pub(crate) stored: u32,
    /// Its places in the log; a message that arrived twice has two.
    pub(crate) seqs: Vec<u64>,
    /// To whom the last signal without recipient went.
    pub(crate) call_peer: Option<u16>,
    /// The version of the sender's picture that the engine had at least; none known: the greatest number.
    pub(crate) avatar_floor: u32,
}

impl Said {
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self.content_type, 8 | 9)
    }

    /// Whether it is an edit, a recall or a change of a group, of which classic clients are sent nothing.
    pub(crate) fn is_entry(&self) -> bool {
        self.subject != Subject::Message
    }

    /// Whom a change of a group concerns, who may be no member when it is told.
    pub(crate) fn concerns(&self) -> Option<u16> {
        let Subject::Change(change) = &self.subject else { return None };
        match &**change {
            GroupChange::Create { .. } | GroupChange::Join | GroupChange::Leave => Some(self.sender),
            GroupChange::Invite(user) | GroupChange::Kick(user) => wire::index(user.as_str()),
            GroupChange::SetRole(..) | GroupChange::Mute(..) | GroupChange::Rename(_) => None,
        }
    }

    /// The log that it is for, if it is for any.
    pub(crate) fn log(&self) -> Option<LogKey> {
        match self.route {
            Route::User(to) => Some(Peer::User(to).log(self.sender)),
            Route::Group(group) => Some(Peer::Group(group).log(self.sender)),
            Route::Relay(_) | Route::Call | Route::Everyone => None,
        }
    }
}

/// What is handed to an engine, as far as the checks care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Said(MessageKey),
    Heartbeat,
    Garbage,
    /// A message to what cannot be anybody's id.
    Nowhere,
    /// A session introduces itself: which device it is.
    Hello {
        device: u64,
    },
    /// A session asks for its heads.
    Resync,
    /// A session asks for a part of a log.
    Fetch {
        of: Peer,
    },
    /// A session says how far its user is.
    Mark(Mark),
    /// The same, and it cannot be: it is passed over.
    BadMark,
    /// A session's frame that can be decoded and is wrong in itself: it is answered, and changes nothing.
    Invalid,
    /// A session says that somebody types.
    Sign,
}

/// What a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Load(u16),
    File(ConnKey, MessageKey),
    Store(ConnKey, MessageKey),
    Heads(ConnKey),
    Fetch(ConnKey),
    Marks(ConnKey),
}

/// What one shard knows of a user with connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Revision of the profile that it has.
    pub(crate) loaded: Option<u64>,
    pub(crate) ticket: Option<u64>,
    /// When the last load failed, as long as it is to be tried again.
    pub(crate) failed_ns: Option<u64>,
    pub(crate) call: Option<CallSeen>,
    pub(crate) subscribed: bool,
    /// What the user's connections have used together.
    pub(crate) messages: Bucket,
    pub(crate) bytes: Bucket,
    /// Open connections, oldest first.
    pub(crate) seats: Vec<ConnKey>,
    /// What came over connections that went before the user was loaded.
    pub(crate) departed: Vec<(ConnKey, Payload)>,
    /// The user has no connection left, and what departed is still to be routed.
    pub(crate) lingers: bool,
}

impl Told {
    /// The engine knows nothing of the user any more.
    pub(crate) const fn forget(&mut self) {
        (self.loaded, self.failed_ns, self.call) = (None, None, None);
        (self.messages, self.bytes) = (Bucket::EMPTY, Bucket::EMPTY);
    }

    /// Whether the engine knows the user.
    pub(crate) const fn is_here(&self) -> bool {
        !self.seats.is_empty() || self.lingers
    }
}

/// What was seen of one engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) now_ns: u64,
    pub(crate) tickets: Table<u64, (Use, u64)>,
    pub(crate) expiry: VecDeque<(u64, u64)>,
    /// Tickets of what concerns calls and presence and what is sent again, until they are answered: which of them are
    /// still waited for, only the engine knows.
    pub(crate) asides: Table<u64, Aside>,
    /// Users whose presence it listens for.
    pub(crate) listens: std::collections::BTreeSet<UserId>,
    pub(crate) slots: Vec<Option<ConnKey>>,
    pub(crate) told: Vec<Told>,
    pub(crate) seen_revision: u64,
    pub(crate) group_subs: Vec<bool>,
    pub(crate) unflushed: u64,
    pub(crate) flushed: u64,
    pub(crate) sent: u64,
    /// Streams of connections whose newest picture was not sent.
    pub(crate) waiting_pictures: u64,
    pub(crate) closing: VecDeque<(u64, ConnKey)>,
    pub(crate) online: u32,
    pub(crate) connections: u32,
    pub(crate) stopping: bool,
    pub(crate) stopped: bool,
    /// Connections that were taken in, and the last place that was promised to others.
    pub(crate) admissions: Bucket,
    pub(crate) promised_ns: u64,
    /// When a stopping engine began to close connections, of how many, and how many it has closed since.
    pub(crate) drain: Option<(u64, u64, u64)>,
    /// Until then a stopping engine may wait for what was accepted.
    pub(crate) settle_by_ns: u64,
    pub(crate) stats: Stats,
}

/// What follows from one event, while its actions are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    pub(crate) conn: Option<ConnKey>,
    /// The event is one that must change nothing.
    pub(crate) stale: bool,
    /// A record of this message came from the bus.
    pub(crate) published: Option<MessageKey>,
    /// The event is this connection's `Flushed`.
    pub(crate) flushed: bool,
    /// The event is a message of this connection.
    pub(crate) received: bool,
    /// Users whose load has timed out, as long as what departed of them is not routed.
    pub(crate) given_up: Vec<u16>,
    pub(crate) owed: Vec<Owed>,
    /// Who should have been sent a frame of this size, and was not.
    pub(crate) missing: Vec<(ConnKey, u64)>,
    /// Connections whose pipelines may have moved.
    pub(crate) touched: Vec<ConnKey>,
    pub(crate) users: Vec<u16>,
    pub(crate) pongs: u32,
    pub(crate) garbage: bool,
    /// Whether the limits let pass what has come over the connection.
    pub(crate) verdict: Verdict,
    /// The event is a message that waits for its user to be loaded.
    pub(crate) kept_early: bool,
    /// The event is a connection's first.
    pub(crate) arrived: bool,
    /// Whether it is taken in.
    pub(crate) admission: Verdict,
    /// Sessions whose heads have to be asked for.
    pub(crate) heads: Vec<(ConnKey, &'static str)>,
    /// One whose heads may be asked for.
    pub(crate) heads_maybe: Option<ConnKey>,
    /// The session whose heads the store has answered.
    pub(crate) told_heads: Option<ConnKey>,
    /// Sessions whose fetches have to be asked for, and of which conversation.
    pub(crate) fetches: VecDeque<(ConnKey, Peer)>,
    /// Marks that have to be stored, and of which session.
    pub(crate) marking: Vec<(ConnKey, Mark)>,
    /// Marks that have to be told to sessions here, and to other engines.
    pub(crate) tellings: Vec<Telling>,
    pub(crate) notings: Vec<Noting>,
    /// Classic connections for which it has to be asked what they have missed.
    pub(crate) asking: Vec<ConnKey>,
    /// Something may be sent again; to which connection, if that is known.
    pub(crate) resends: bool,
    pub(crate) catching_up: Option<ConnKey>,
    /// Sessions may be told places.
    pub(crate) placed: bool,
    /// Sessions may be told that somebody types.
    pub(crate) signs: bool,
    /// The session that has sent something out of turn.
    pub(crate) out_of_turn: Option<ConnKey>,
    /// The session that had sent what is no frame before it was welcomed.
    pub(crate) undecodable: Option<ConnKey>,
    /// Sessions that have to be answered.
    pub(crate) answering: Vec<ConnKey>,
    /// Sessions that were told goodbye, and have to be closed.
    pub(crate) goodbyes: Vec<ConnKey>,
    /// What those who run the server do with this event.
    pub(crate) authority: authority::Deed,
}

/// A message that has to leave while one event is handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    pub(crate) message: MessageKey,
    pub(crate) conn: Option<ConnKey>,
    pub(crate) sent: bool,
    /// The same to sessions.
    pub(crate) pushed: bool,
    /// It is a copy for its sender's sessions only.
    pub(crate) is_copy: bool,
    /// It is for the sessions of whom it concerns only.
    pub(crate) is_concerned: bool,
    pub(crate) published: bool,
    /// Its connection was closed meanwhile: it may have been routed before that, or not at all.
    pub(crate) optional: bool,
}

/// Everything that was seen of a run, and what must follow from it.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// Whether machines are shadowed; if not, only what is said and stored is kept.
    is_on: bool,
    pub(crate) settings: Settings,
    pub(crate) peers: bool,
    pub(crate) now_us: u64,
    pub(crate) violation: Option<Violation>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) said: Vec<Said>,
    tokens: Table<u64, MessageKey>,
    pub(crate) watches: Vec<Watch>,
    /// By group and user: whether a member, and the revision that made it so.
    pub(crate) members: Vec<Vec<(bool, u64)>>,
    pub(crate) revision: u64,
    /// By user: the revisions that gave them their pictures.
    avatars: Vec<Vec<u64>>,
    /// By user: whether they were ever in more groups than the limit, so that nobody can say in which.
    over_limit: Vec<bool>,
    pub(crate) heads: Table<(u32, u32), u64>,
    pub(crate) cause: Cause,
    stamp: u64,
    /// Sessions have said what is not stored, or who is here is watched.
    pub(crate) is_signalling: bool,
    /// Numbers the events.
    pub(crate) event: u64,
    /// Numbers the messages that were routed to the store.
    routed: u64,
    /// Reused by every fan-out: who has to be sent it.
    must: Vec<ConnKey>,
    /// The same: who may be sent it or not. Sessions of whom the engine may think that it is for them, and classic clients
    /// that have missed something.
    perhaps: Vec<ConnKey>,
}

impl Check {
    pub(crate) fn new(schedule: &Schedule, is_on: bool) -> Self {
        let settings = schedule.settings;
        let mut members = vec![vec![(false, 0); settings.users as usize]; schedule.all_groups()];
        for (group, list) in schedule.groups.iter().enumerate() {
            list.iter().for_each(|user| members[group][user.index()].0 = true);
        }
        let shards = (settings.nodes * settings.shards) as usize;
        let mut check = Self {
            is_on,
            settings,
            peers: shards > 1,
            now_us: 0,
            violation: None,
            seats: Vec::new(),
            said: Vec::new(),
            tokens: Table::default(),
            watches: Vec::new(),
            members,
            revision: 0,
            avatars: vec![Vec::new(); settings.users as usize],
            over_limit: vec![false; settings.users as usize],
            heads: Table::default(),
            cause: Cause::default(),
            stamp: 0,
            is_signalling: settings.presence == 1,
            event: 0,
            routed: 0,
            must: Vec::new(),
            perhaps: Vec::new(),
        };
        (0..settings.users as u16).for_each(|user| check.look_at_limit(user));
        check.watches = (0..shards).map(|_| check.watch()).collect();
        check
    }

    fn watch(&self) -> Watch {
        Watch {
            told: vec![Told::default(); self.settings.users as usize],
            group_subs: vec![false; self.members.len()],
            seen_revision: self.revision,
            ..Watch::default()
        }
    }

    /// Notes the first thing that does not hold.
    pub(crate) fn fail(&mut self, check: &'static str, what: impl FnOnce(&Self) -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { check, what: what(self), at_us: self.now_us });
        }
    }

    /// A message is about to be sent by a client.
    pub(crate) fn say(&mut self, said: Said) -> MessageKey {
        let key = self.said.len() as MessageKey;
        self.tokens.insert(fold(said.token), key);
        self.said.push(said);
        key
    }

    /// The message that a token names.
    pub(crate) fn message(&self, token: Token) -> Option<MessageKey> {
        self.tokens.get(&fold(token)).copied()
    }

    /// An action of the engine whose event is being looked at.
    pub(crate) fn action(&mut self, shard: usize, action: &Action<'_>) {
        if !self.is_on {
            return;
        }
        if self.cause.stale {
            self.fail("takeover", |_| format!("a late event leads to {action:?}"));
        }
        if !matches!(action, Action::Close { .. }) && !self.is_goodbye(shard, action) {
            self.end_intake();
        }
        if !self.cause.given_up.is_empty() {
            self.route_given_up_until(shard, action);
        }
        match action {
            Action::Send { to, frame } => self.sends(shard, to, frame),
            Action::Close { conn, reason } => self.closes(shard, *conn, *reason),
            Action::Abort { conn } => self.aborts(shard, *conn),
            Action::Request { ticket, request } => self.requests(shard, ticket.0, request),
            Action::Publish(record) => self.publishes(shard, record),
            Action::Tell(note) => self.tells(shard, note),
            Action::Subscribe(topic) => self.subscribes(shard, topic, true),
            Action::Unsubscribe(topic) => self.subscribes(shard, topic, false),
            Action::Stopped => self.stops(shard),
        }
    }

    /// The connection that an id means on a shard, dead ones excluded.
    pub(crate) fn seat(&self, shard: usize, id: ConnId) -> Option<ConnKey> {
        let key = (*self.watches[shard].slots.get(id.slot() as usize)?)?;
        (self.seats[key as usize].id == id).then_some(key)
    }
}

fn fold(token: Token) -> u64 {
    u64::from(token.step) << 32 | u64::from(token.nth)
}
