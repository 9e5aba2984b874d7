//! The specification: what people may rely on, judged by what they can see.
//!
//! [`crate::check`] shadows an engine event by event, and knows what has to leave in which. This knows no engine. It
//! sees connections open and end, messages reach a server, the store commit, memberships change, clients hear; and who
//! is disturbed, by what, since when. From that alone it says:
//!
//! | name | it holds that |
//! | --- | --- |
//! | `no-spoof` | what is heard is from who said it, and is what was said, but for the forms of groups and files |
//! | `no-leak` | it is heard by whom it is for: a user's other devices, who was a member at some moment between saying and hearing, the other side of a call; and what nobody said is heard by nobody |
//! | `accepted-is-durable` | a heard message of content types 1 to 5 with a recipient has been committed before |
//! | `exactly-once` | a connection hears a message, and the store commits it, as often as servers received it |
//! | `rights` | what is committed was its sender's to do at that moment: as a member, by its role, not muted, of its own messages |
//! | `marks` | they are stored as they were said, forwards alone, not beyond the head, and told once they are stored |
//! | `one-order` | a log has no gaps; of one connection's messages, the stored ones are committed and heard in the order in which they arrived, and so are the others |
//! | `delivery` | what a healthy server receives is heard by every healthy recipient within [`Spec::bound_us`], and a heartbeat is answered |
//! | `isolation` | the same while somebody does not read; and nobody's connection is ended without a reason that can be seen |
//! | `takeover` | nobody is closed for a newer connection that is not there, or keeps more connections than are allowed |
//!
//! Across shards, order and once hold only while the bus neither repeats nor reorders, and between two senders of one
//! conversation nothing follows from the order of hearing: `seq` has it. Live pictures (content types 8 and 9) may be
//! left out. Whoever is disturbed is owed nothing from the disturbance until its after-effects have ended.
//!
//! Every duty is one entry of one queue with one deadline, so an event costs the same however long the run is. A
//! message keeps one record and one bit for each client, because a repetition may come at any time.

mod apps;
mod authority;
mod backup;
mod calls;
mod commits;
mod duties;
mod ends;
mod groups;
mod health;
mod hears;
mod limits;
mod logs;
mod marks;
mod presence;
mod resend;
mod rights;
mod sessions;
mod typing;
mod versions;
mod views;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

pub(crate) use self::backup::Backup;
use self::{
    duties::Duty,
    health::Health,
    hears::{Heard, Recent},
    limits::Limits,
};
use crate::{
    check::{ConnKey, MessageKey, Payload, Route, Said, Table, Violation},
    schedule::Schedule,
};

/// A connection as its two ends see it.
#[derive(Clone, Debug)]
struct Line {
    client: u16,
    user: u16,
    shard: u16,
    node: u16,
    /// Nobody has ended, closed or cut it.
    open: bool,
    /// An older connection of its user has ended since it was opened.
    outlived: bool,
    /// Since when its shard has had a connection of its user without a break.
    here_us: u64,
    /// When its client heard that it is welcome.
    welcomed_us: Option<u64>,
    /// When something last came from its client.
    spoke_us: u64,
    /// What came from its client.
    frames: u64,
    bytes: u64,
    longest: u64,
    said_close: bool,
    said_garbage: bool,
    /// What only sessions can do: introduce themselves, and say something when it is not its turn.
    said_hello: bool,
    said_out_of_turn: bool,
    opened_us: u64,
    /// When it was ended, closed or cut, and when its server knew.
    ended_us: Option<u64>,
    gone_us: Option<u64>,
    /// The code that it has to be closed with, as nobody may use it any more.
    revoked: Option<u16>,
    /// What there is to a session beyond that.
    talk: Option<Box<sessions::Talk>>,
    /// It was closed for what its client sent, so what was sent last may not count.
    refused: bool,
    /// Something that the store was to keep came while the store was disturbed: what comes later waits for it.
    entangled: bool,
    /// Heartbeats that arrived, and answers that were heard.
    asked: u32,
    answered: u32,
    /// The order number of its last message that was committed.
    committed: u32,
    /// By client: what was last heard of it.
    last: Vec<Last>,
}

/// What a connection last heard of one client: its connection, and the order numbers of a stored and another message.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    conn: ConnKey,
    numbers: [u32; 2],
}

/// A message that a server has received.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    conn: ConnKey,
    received_us: u64,
    /// When a server received it first.
    first_us: u64,
    /// Its place in the order of everything that was received.
    number: u32,
    received: u32,
    /// It came over connections of several clients: a device that is not ours says what another one has said.
    is_shared: bool,
    commits: u32,
    /// The store's clock when it was received.
    clock_ms: i64,
}

/// The specification of one run.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) violation: Option<Violation>,
    is_on: bool,
    now_us: u64,
    limits: Limits,
    lines: Vec<Line>,
    /// Connections of before the store was restored last.
    restored_lines: usize,
    /// What is looked at comes of such a connection: it is noted and not judged.
    is_lenient: bool,
    /// By user: connections that are open and welcomed.
    present: Vec<Vec<ConnKey>>,
    /// By user: the newest connection.
    newest: Vec<Option<ConnKey>>,
    words: Vec<Word>,
    /// By message, a bit for each client that has heard it.
    heard: Vec<u64>,
    /// Words of 64 bits that a message has in `heard`.
    stride: usize,
    numbers: u32,
    /// The longest message that any server has received.
    longest_bytes: u64,
    health: Health,
    /// Pairs of users of whom one has signalled the other.
    signalled: Table<u32, ()>,
    garbage: Vec<Bytes>,
    heads: Table<(u32, u32), u64>,
    due: VecDeque<(u64, Duty)>,
    /// The same for what may take as long as an answer of a session's.
    due_later: VecDeque<(u64, Duty)>,
    /// What is due then, and at the same time in this order.
    due_then: BTreeMap<(u64, u64), Duty>,
    duties: u64,
    authority: authority::Authority,
    typing: typing::Typing,
    resend: resend::Resend,
    calls: calls::Calls,
    presence: presence::Presence,
    recent: Recent,
    read: sessions::Read,
    logs: logs::Logs,
    groups: groups::Groups,
    marks: marks::AllMarks,
    /// The store's clock, at least.
    clock_ms: i64,
    apps: BTreeMap<u16, apps::App>,
    /// By client: whose it is.
    users: Vec<u16>,
    clients: usize,
}

impl Spec {
    /// The specification of a run of this schedule, by machines that need so much longer than their requests take.
    /// One that is not on judges nothing.
    pub(crate) fn new(schedule: &Schedule, slack_us: u64, is_on: bool) -> Self {
        let s = &schedule.settings;
        let clients = schedule.clients.len();
        let users = s.users as usize;
        Self {
            violation: None,
            is_on,
            now_us: 0,
            limits: Limits::new(schedule, slack_us),
            lines: Vec::new(),
            restored_lines: 0,
            is_lenient: false,
            present: vec![Vec::new(); users],
            newest: vec![None; users],
            words: Vec::new(),
            heard: Vec::new(),
            stride: clients.div_ceil(64),
            numbers: 0,
            longest_bytes: 0,
            health: Health::new(schedule),
            signalled: Table::default(),
            garbage: Vec::new(),
            heads: Table::default(),
            due: VecDeque::new(),
            due_later: VecDeque::new(),
            due_then: BTreeMap::new(),
            duties: 0,
            authority: authority::Authority::default(),
            typing: typing::Typing::default(),
            resend: resend::Resend::new(s.resend_messages > 0),
            calls: calls::Calls::default(),
            presence: presence::Presence::default(),
            recent: Recent::default(),
            read: sessions::Read::default(),
            logs: logs::Logs::new(&schedule.groups),
            groups: groups::Groups::new(&schedule.groups, s.unfounded_groups as usize),
            marks: marks::AllMarks::default(),
            clock_ms: 0,
            apps: BTreeMap::new(),
            users: schedule.clients.iter().map(|client| client.user.0).collect(),
            clients,
        }
    }

    /// Notes the first thing that does not hold.
    pub(crate) fn fail(&mut self, check: &'static str, what: impl FnOnce(&Self) -> String) {
        if self.violation.is_none() && !self.is_lenient {
            self.violation = Some(Violation { check, what: what(self), at_us: self.now_us });
        }
    }

    /// A server has taken a client's handshake.
    pub(crate) fn opened(&mut self, client: u16, user: u16, shard: usize, node: u16, is_session: bool) {
        if !self.is_on {
            return;
        }
        self.newest[user as usize] = Some(self.lines.len() as ConnKey);
        let here_us = self.may_arrive(user, shard as u16);
        self.lines.push(Line {
            client,
            user,
            shard: shard as u16,
            node,
            open: true,
            outlived: false,
            here_us,
            welcomed_us: None,
            spoke_us: self.now_us,
            frames: 0,
            bytes: 0,
            longest: 0,
            said_close: false,
            said_garbage: false,
            said_hello: false,
            said_out_of_turn: false,
            opened_us: self.now_us,
            ended_us: None,
            gone_us: None,
            revoked: None,
            talk: is_session.then(Box::default),
            refused: false,
            entangled: false,
            asked: 0,
            answered: 0,
            committed: 0,
            last: Vec::new(),
        });
    }

    /// Something from a client reaches its server: so many bytes, or the end that it asks for.
    pub(crate) fn arrives(&mut self, conn: ConnKey, bytes: u64, is_close: bool) {
        if !self.is_on {
            return;
        }
        let line = &mut self.lines[conn as usize];
        line.spoke_us = self.now_us;
        line.frames += 1;
        line.bytes += bytes;
        line.longest = line.longest.max(bytes);
        line.said_close |= is_close;
        let lives_us = self.now_us - line.opened_us;
        self.may_be_mute(conn, lives_us);
    }

    /// What a client has sent breaks the rules below messages.
    pub(crate) fn misbehaves(&mut self, conn: ConnKey) {
        if self.is_on {
            self.lines[conn as usize].said_garbage = true;
        }
    }

    /// A server has received a message.
    pub(crate) fn received(&mut self, conn: ConnKey, payload: Payload, bytes: &Bytes, said: &[Said]) {
        if !self.is_on {
            return;
        }
        if self.is_session(conn) {
            self.asks(conn, payload, bytes, said);
        }
        let line = &mut self.lines[conn as usize];
        match payload {
            Payload::Garbage => {
                line.said_garbage = true;
                if !self.garbage.contains(bytes) {
                    self.garbage.push(bytes.clone());
                }
            }
            // Looked at already.
            _ if line.talk.is_some() => {}
            Payload::Hello { .. }
            | Payload::Mark(_)
            | Payload::BadMark
            | Payload::Sign
            | Payload::Resync
            | Payload::Fetch { .. }
            | Payload::Invalid => {}
            Payload::Heartbeat => {
                line.asked += 1;
                let duty = Duty::Answer { conn, nth: line.asked, since_us: self.now_us };
                self.due.push_back((self.now_us + self.limits.bound_us, duty));
            }
            Payload::Nowhere => {}
            Payload::Said(key) => {
                let said = &said[key as usize];
                // Whoever hears the very same bytes hears what was said.
                if said.honest && !said.media && !matches!(said.route, Route::Group(_)) {
                    self.recent.keep(bytes, Heard::Message(key));
                }
                self.received_message(conn, key, said);
            }
        }
    }

    fn received_message(&mut self, conn: ConnKey, key: MessageKey, said: &Said) {
        let place = key as usize;
        if self.words.len() <= place {
            self.words.resize(place + 1, Word::default());
            self.heard.resize((place + 1) * self.stride, 0);
        }
        self.numbers += 1;
        self.longest_bytes = self.longest_bytes.max(said.bytes.len().max(said.submit.len()) as u64);
        let word = &mut self.words[place];
        word.received += 1;
        if word.received == 1 {
            word.first_us = self.now_us;
        } else {
            word.is_shared |= self.lines[word.conn as usize].client != self.lines[conn as usize].client;
        }
        (word.conn, word.received_us, word.number) = (conn, self.now_us, self.numbers);
        word.clock_ms = self.clock_ms;
        if let Route::Relay(to) = said.route {
            self.signalled.insert(pair(said.sender, to), ());
        }
        let stored = is_stored(said.route);
        if stored && !self.health.store_is_well(self.now_us) {
            self.lines[conn as usize].entangled = true;
        }
        let owed = !said.is_stream() && !matches!(said.route, Route::Call);
        if owed && word.received == 1 {
            self.due.push_back((self.now_us + self.limits.bound_us, Duty::Deliver { key }));
        }
    }

    /// How long a message may take to its last recipient when nothing is wrong, in microseconds.
    pub(crate) const fn bound_us(&self) -> u64 {
        self.limits.bound_us
    }

    /// Whether a connection's client has been welcomed over it, and nobody has ended it.
    pub(crate) fn is_present(&self, conn: ConnKey) -> bool {
        let line = &self.lines[conn as usize];
        line.open && line.welcomed_us.is_some()
    }

    /// Time has come to this: what was due before it is judged.
    pub(crate) fn advance(&mut self, now_us: u64, said: &[Said]) {
        while let Some((due_us, duty)) = self.next_due(now_us) {
            self.now_us = self.now_us.max(due_us);
            self.judge(duty, said);
        }
        self.now_us = self.now_us.max(now_us);
    }

    /// Something has to have happened by a time.
    fn due_then(&mut self, due_us: u64, duty: Duty) {
        self.duties += 1;
        self.due_then.insert((due_us, self.duties), duty);
    }

    /// Takes what is due next before a time.
    fn next_due(&mut self, now_us: u64) -> Option<(u64, Duty)> {
        let at_us = |due: &VecDeque<(u64, Duty)>| due.front().map_or(u64::MAX, |(due_us, _)| *due_us);
        let (soon_us, later_us) = (at_us(&self.due), at_us(&self.due_later));
        let then = self.due_then.first_key_value().map(|((due_us, _), _)| *due_us);
        if then.is_some_and(|due_us| due_us < now_us && due_us <= soon_us.min(later_us)) {
            return self.due_then.pop_first().map(|((due_us, _), duty)| (due_us, duty));
        }
        let due = if soon_us <= later_us { &mut self.due } else { &mut self.due_later };
        due.pop_front_if(|(due_us, _)| *due_us < now_us)
    }

    /// What reports call a connection: who hears.
    pub(crate) fn name(&self, conn: ConnKey) -> String {
        let line = &self.lines[conn as usize];
        format!("c{} (u{})", line.client, line.user)
    }
}

/// Whether a message goes to the store first.
const fn is_stored(route: Route) -> bool {
    matches!(route, Route::User(_) | Route::Group(_))
}

/// Two users, in either order.
fn pair(one: u16, other: u16) -> u32 {
    u32::from(one.min(other)) << 16 | u32::from(one.max(other))
}
