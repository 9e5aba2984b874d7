//! Sessions as far as the shadow has to know them: when they are welcomed, what is pushed to them and when they lag,
//! whose heads and logs are asked for, and that everything they ask is answered in the event in which its turn comes.
//! What frames say, the specification judges.
//!
//! A new frame of the protocol needs a line in [`Check::sends_frame`]; a new request of a session needs a
//! [`Payload`](super::Payload), and a line in `Check::route` that says what follows from it.

use std::collections::VecDeque;

use bytes::Bytes;
use switchboard_engine::{Action, Answer, ConnId, FRAME_COST_BYTES, Range, UserId};
use switchboard_proto::v1::{Accepted, Delivery, RejectCode, Rejected, Welcome, server_frame::Body};

use super::{Check, ConnKey, MessageKey, Payload, Phase, Route, Use, pipelines::State, rates::Verdict};
use crate::{
    wire::{
        self,
        session::{self, Peer},
    },
    world::lag_bytes,
};

/// What a Delivery has at the most beyond what the message had when it came.
const DELIVERY_EXTRA_BYTES: u64 = 256;

/// What a frame that tells marks has at the most.
const MARKED_BYTES: u64 = 192;

/// What reaches whom of one stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fan {
    /// Classic frames, for the recipient.
    Classic,
    /// Deliveries, for the recipient's sessions.
    Sessions,
    /// Deliveries, for the sender's own sessions.
    Own,
}

impl Fan {
    /// All of them, in the order in which an engine sends them.
    pub(crate) const ALL: [Self; 3] = [Self::Classic, Self::Sessions, Self::Own];
}

/// Whether nothing is pushed to a session, as it reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lag {
    No,
    /// It was near the limit, and what it was not sent may have been too large or not.
    Maybe,
    Yes,
}

/// What there is to a session beyond a classic connection.
#[derive(Clone, Debug)]
pub(crate) struct SessionSeen {
    since_ns: u64,
    /// Its user was loaded, or was not, while it was there: what it sends is not kept for later.
    is_awaited: bool,
    /// Which device it has said it is.
    device: Option<u64>,
    lag: Lag,
    /// The ticket of the heads that are asked for.
    heads: Option<u64>,
    /// When asking for them last failed.
    heads_failed_ns: Option<u64>,
    /// The tickets of the fetches that are open.
    fetches: VecDeque<u64>,
    /// The same of marks.
    marks: Vec<u64>,
    /// Answers that have to leave in this event: to fetches, and to what is refused at once.
    owed: u32,
}

impl SessionSeen {
    pub(crate) const fn new(since_ns: u64) -> Self {
        Self {
            since_ns,
            is_awaited: false,
            device: None,
            lag: Lag::No,
            heads: None,
            heads_failed_ns: None,
            fetches: VecDeque::new(),
            marks: Vec::new(),
            owed: 0,
        }
    }
}

impl Check {
    fn session(&mut self, conn: ConnKey) -> Option<&mut SessionSeen> {
        self.seats[conn as usize].session.as_deref_mut()
    }

    /// Whether a connection speaks the session protocol.
    pub(crate) fn is_session(&self, conn: ConnKey) -> bool {
        self.seats[conn as usize].session.is_some()
    }

    /// The engine sends a frame to sessions.
    pub(crate) fn sends_frame(&mut self, shard: usize, to: &[ConnId], bytes: &Bytes) {
        let Some(body) = session::read(bytes) else {
            return self.fail("protocol", |_| "a frame is sent that says nothing".to_owned());
        };
        if let Body::Delivery(delivery) = &body {
            return self.pushes(shard, to, delivery, bytes.len() as u64);
        }
        if let Body::Marked(_) = &body {
            return self.tells_marks(shard, to);
        }
        let one = match to {
            [id] => self.seat(shard, *id),
            _ => None,
        };
        let Some(conn) = one else {
            return self.fail("protocol", |_| format!("{} is sent to {to:?}", session::server_name(bytes)));
        };
        let online = self.seats[conn as usize].phase == Phase::Online;
        if !online && !matches!(body, Body::Welcome(_) | Body::Goodbye(_)) {
            return self.fail("protocol", |check| {
                format!(
                    "{} is sent something before its Welcome: {}",
                    check.name(conn),
                    session::server_name(bytes)
                )
            });
        }
        match body {
            Body::Welcome(welcome) => self.session_welcomed(shard, conn, &welcome),
            Body::Accepted(accepted) => self.accepts(conn, &accepted),
            Body::Rejected(rejected) => self.rejects(conn, &rejected),
            Body::Page(_) | Body::Unfetched(_) => self.answers_at_once(conn),
            Body::Heartbeat(_) => self.answers(shard, to),
            Body::Goodbye(_) => self.cause.goodbyes.push(conn),
            Body::Heads(_) => {
                if self.cause.told_heads != Some(conn) {
                    self.fail("protocol", |check| format!("{} is told heads unasked", check.name(conn)));
                }
            }
            // Nobody asks for presence or calls yet, or says that somebody types.
            Body::Typing(_) | Body::Presence(_) | Body::Call(_) => {
                let what = session::server_name(bytes);
                self.fail("protocol", |check| format!("{} is told unasked: {what}", check.name(conn)));
            }
            // Looked at already.
            Body::Delivery(_) | Body::Marked(_) => {}
        }
    }

    /// Whether an action may be the goodbye of a session that is about to be closed for what it has sent.
    pub(crate) fn is_goodbye(&self, shard: usize, action: &Action<'_>) -> bool {
        let Action::Send { to: [id], .. } = action else { return false };
        self.seat(shard, *id).is_some_and(|conn| self.is_session(conn) && Some(conn) == self.cause.conn)
    }

    fn session_welcomed(&mut self, shard: usize, conn: ConnKey, welcome: &Welcome) {
        let seat = &self.seats[conn as usize];
        let user = seat.user;
        let Some(Payload::Hello { device }) =
            seat.early.first().filter(|_| seat.phase == Phase::Loading).copied()
        else {
            return self
                .fail("protocol", |check| format!("{} is welcomed without a Hello", check.name(conn)));
        };
        if wire::index(&welcome.user) != Some(user) {
            self.fail("no-leak", |check| format!("{} is welcomed as {}", check.name(conn), welcome.user));
        }
        self.watches[shard].online += 1;
        if !self.session(conn).is_some_and(|session| session.is_awaited) {
            self.fail("protocol", |check| format!("{} is welcomed before it is loaded", check.name(conn)));
        }
        let seat = &mut self.seats[conn as usize];
        (seat.phase, seat.welcomed_by) = (Phase::Online, self.event);
        let early = core::mem::take(&mut seat.early);
        if let Some(session) = &mut seat.session {
            session.device = Some(device);
        }
        let seats = &self.watches[shard].told[user as usize].seats;
        if seats.iter().any(|other| *other != conn && self.is_device(*other, device)) {
            self.fail("takeover", |check| {
                format!("{} comes back, and an older session of its device stays", check.name(conn))
            });
        }
        self.cause.heads.push((conn, "protocol"));
        for payload in early.into_iter().skip(1) {
            match payload {
                // The engine closes the connection, and later ones are not taken.
                Payload::Garbage => {
                    self.cause.undecodable = Some(conn);
                    break;
                }
                Payload::Hello { .. } => {
                    self.cause.out_of_turn = Some(conn);
                    break;
                }
                Payload::Said(_)
                | Payload::Heartbeat
                | Payload::Nowhere
                | Payload::Resync
                | Payload::Mark
                | Payload::Fetch { .. }
                | Payload::Invalid => self.route(conn, payload),
            }
        }
    }

    /// Whether a connection is an open session of a device.
    fn is_device(&self, conn: ConnKey, device: u64) -> bool {
        let seat = &self.seats[conn as usize];
        let known = seat.session.as_ref().and_then(|session| session.device);
        seat.phase == Phase::Online && known == Some(device)
    }

    /// Whether another session of the same device says Hello at this moment.
    pub(crate) fn is_replaced(&self, shard: usize, conn: ConnKey) -> bool {
        let user = self.seats[conn as usize].user;
        self.watches[shard].told[user as usize].seats.iter().any(|other| {
            let seat = &self.seats[*other as usize];
            let greets = seat.early.first().filter(|_| seat.phase == Phase::Loading && *other != conn);
            matches!(greets, Some(Payload::Hello { device }) if self.is_device(conn, *device))
        })
    }

    /// A stored message is pushed to sessions.
    fn pushes(&mut self, shard: usize, to: &[ConnId], delivery: &Delivery, len: u64) {
        let token = session::token_in(delivery.content.as_ref());
        let Some(key) = token.and_then(|token| self.message(token)) else {
            return self.fail("no-spoof", |_| format!("what nobody said is pushed: {delivery:?}"));
        };
        let (sender, route) = (self.said[key as usize].sender, self.said[key as usize].route);
        let fan = match (route, Peer::read(delivery.conversation.as_ref())) {
            (Route::User(_), Some(Peer::User(other))) if other == sender => Fan::Sessions,
            (Route::User(to), Some(Peer::User(other))) if other == to => Fan::Own,
            (Route::Group(group), Some(Peer::Group(other))) if other == group => Fan::Sessions,
            (_, other) => {
                return self.fail("no-leak", |_| {
                    format!("{:?} is for {route:?}, and is pushed as {other:?}'s", token)
                });
            }
        };
        let origin = if self.cause.published == Some(key) {
            if !self.owed_is_pushed(key, fan) {
                return;
            }
            None
        } else {
            self.take_turn(shard, key, fan)
        };
        self.recipients(shard, key, origin, fan);
        self.mark_pushed(shard, to, key, len);
    }

    fn owed_is_pushed(&mut self, key: MessageKey, fan: Fan) -> bool {
        let due = |owed: &&mut super::Owed| {
            owed.message == key && !owed.pushed && owed.is_copy == (fan == Fan::Own)
        };
        let found = self.cause.owed.iter_mut().find(due).map(|owed| owed.pushed = true).is_some();
        if !found {
            self.fail("exactly-once", |check| format!("{} is pushed again", check.said[key as usize].token));
        }
        found
    }

    /// Compares who is pushed to with those in `must`: nobody too many, nobody twice, and who is left out lags.
    fn mark_pushed(&mut self, shard: usize, to: &[ConnId], key: MessageKey, len: u64) {
        let lag_bytes = lag_bytes(&self.settings);
        let must = core::mem::take(&mut self.must);
        let token = self.said[key as usize].token;
        for (place, id) in to.iter().enumerate() {
            let Some(conn) = self.seat(shard, *id) else { continue };
            if to[..place].contains(id) {
                self.fail("exactly-once", |check| format!("{} is pushed {token} twice", check.name(conn)));
            } else if !must.contains(&conn) && !self.is_tolerated(shard, conn, key) {
                self.fail("no-leak", |check| {
                    let route = check.said[key as usize].route;
                    format!("{} is pushed {token}, which is for {route:?}", check.name(conn))
                });
            }
            let seat = &self.seats[conn as usize];
            let lag = seat.session.as_ref().map_or(Lag::No, |session| session.lag);
            if lag == Lag::Yes || (seat.frames > 0 && seat.cost_bytes + len + FRAME_COST_BYTES > lag_bytes) {
                self.fail("bounded", |check| format!("{} lags, and is pushed {token}", check.name(conn)));
            }
        }
        for conn in &must {
            let seat = &mut self.seats[*conn as usize];
            if to.contains(&seat.id) {
                continue;
            }
            let full = seat.frames > 0 && seat.cost_bytes + len + FRAME_COST_BYTES > lag_bytes;
            let Some(session) = &mut seat.session else { continue };
            if full {
                session.lag = Lag::Yes;
            } else if session.lag == Lag::No {
                self.cause.missing.push((*conn, len));
            }
        }
        self.must = must;
    }

    /// A message's turn is over, and it was pushed to nobody: whoever should have been sent it, lags. Gives how
    /// many do not.
    pub(crate) fn excuse_lagging(&mut self, key: MessageKey) -> usize {
        let lag_bytes = lag_bytes(&self.settings);
        let said = &self.said[key as usize];
        let most = said.bytes.len().max(said.submit.len()) as u64 + DELIVERY_EXTRA_BYTES;
        let must = core::mem::take(&mut self.must);
        let mut left_out = 0;
        for conn in &must {
            let seat = &mut self.seats[*conn as usize];
            let Some(session) = &mut seat.session else { continue };
            let might = seat.frames > 0 && seat.cost_bytes + most + FRAME_COST_BYTES > lag_bytes;
            left_out += usize::from(session.lag == Lag::No && !might);
            if might {
                let surely = seat.cost_bytes + FRAME_COST_BYTES > lag_bytes;
                session.lag = session.lag.max(if surely { Lag::Yes } else { Lag::Maybe });
            }
        }
        self.must = must;
        left_out
    }

    /// Everything that waited for a connection may have been written.
    pub(crate) fn drained(&mut self, conn: ConnKey) {
        let seat = &mut self.seats[conn as usize];
        let Some(session) = seat.session.as_mut().filter(|_| seat.frames == 0 && seat.phase == Phase::Online)
        else {
            return;
        };
        match core::mem::replace(&mut session.lag, Lag::No) {
            Lag::No => {}
            Lag::Maybe => self.cause.heads_maybe = Some(conn),
            Lag::Yes => self.cause.heads.push((conn, "bounded")),
        }
    }

    /// The engine asks for a user's heads: for the session that has to be told them.
    pub(crate) fn asks_heads(&mut self, shard: usize, ticket: u64, user: &UserId) -> Option<Use> {
        let user = wire::index(user.as_str());
        let of_user = |conn: ConnKey| Some(self.seats[conn as usize].user) == user;
        let place = self.cause.heads.iter().position(|(conn, _)| of_user(*conn));
        let maybe = self.cause.heads_maybe.filter(|conn| of_user(*conn));
        let conn = match (place, maybe) {
            (Some(place), _) => Some(self.cause.heads.remove(place).0),
            (None, Some(conn)) => Some(conn),
            (None, None) => {
                let pause_ns = self.settings.reload_interval_ms * 1_000_000;
                let watch = &self.watches[shard];
                let seats = user.and_then(|user| watch.told.get(user as usize)).map(|told| &told.seats);
                let failed_ns = |conn: &ConnKey| self.seats[*conn as usize].session.as_ref()?.heads_failed_ns;
                let due_ns = |conn: &ConnKey| failed_ns(conn).map(|failed_ns| failed_ns + pause_ns);
                let is_due = |conn: &&ConnKey| due_ns(conn).is_some_and(|due_ns| due_ns <= watch.now_ns);
                let due = seats.into_iter().flatten().filter(is_due);
                // In the order of an engine's deadlines.
                due.min_by_key(|conn| (due_ns(conn), self.seats[**conn as usize].id)).copied()
            }
        };
        let Some(conn) = conn else {
            self.fail("protocol", |_| format!("heads of {user:?} are asked for, and nobody has to be told"));
            return None;
        };
        let before = self.session(conn).and_then(|session| {
            session.heads_failed_ns = None;
            session.heads.replace(ticket)
        });
        if let Some(before) = before {
            self.watches[shard].tickets.remove(&before);
        }
        Some(Use::Heads(conn))
    }

    pub(crate) fn heads_answered(&mut self, conn: ConnKey, answer: &Answer) {
        let now_ns = self.watches[self.seats[conn as usize].shard as usize].now_ns;
        let Some(session) = self.session(conn) else { return };
        session.heads = None;
        match answer {
            Answer::HeadsLoaded { next, .. } => {
                let goes_on = next.is_some();
                self.cause.told_heads = Some(conn);
                if goes_on {
                    self.cause.heads.push((conn, "protocol"));
                }
            }
            Answer::Refused => self.cause.told_heads = Some(conn),
            Answer::UserLoaded(_)
            | Answer::MessageStored(_)
            | Answer::FileStored { .. }
            | Answer::MessagesLoaded(_)
            | Answer::StoredEarlier(_)
            | Answer::MarksStored(_)
            | Answer::Seen { .. }
            | Answer::ReceivedStored
            | Answer::UnreceivedLoaded { .. }
            | Answer::Denied(_)
            | Answer::Failed => session.heads_failed_ns = Some(now_ns),
        }
    }

    /// What has to become of a fetch.
    pub(crate) fn fetches(&mut self, conn: ConnKey, of: Peer) {
        let coming = self.cause.fetches.iter().filter(|(other, _)| *other == conn).count();
        let limit = self.settings.fetches_per_connection;
        let Some(session) = self.session(conn) else { return };
        if (session.fetches.len() + coming) as u64 >= limit {
            self.owes_answer(conn);
        } else {
            self.cause.fetches.push_back((conn, of));
        }
    }

    /// The engine asks for a part of a log.
    pub(crate) fn asks_messages(&mut self, ticket: u64, range: &Range) -> Option<Use> {
        let Some((conn, of)) = self.cause.fetches.pop_front() else {
            self.fail("protocol", |_| format!("nobody asks for {range:?}"));
            return None;
        };
        let user = self.seats[conn as usize].user;
        if wire::index(range.reader.as_str()) != Some(user) || Peer::of(&range.conversation) != of {
            self.fail("no-leak", |check| {
                format!("{} asks for a part of {of}, and is read {range:?}", check.name(conn))
            });
        }
        self.session(conn)?.fetches.push_back(ticket);
        Some(Use::Fetch(conn))
    }

    pub(crate) fn fetch_answered(&mut self, conn: ConnKey, ticket: u64) {
        if let Some(session) = self.session(conn) {
            session.fetches.retain(|open| *open != ticket);
        }
        self.owes_answer(conn);
    }

    /// The engine has marks of a user stored: for one of the sessions that may have said them.
    pub(crate) fn stores_marks(&mut self, ticket: u64, user: &UserId) -> Option<Use> {
        let user = wire::index(user.as_str());
        let of_user = |conn: &&ConnKey| Some(self.seats[**conn as usize].user) == user;
        let Some(conn) = self.cause.marking.iter().find(of_user).copied() else {
            self.fail("protocol", |_| format!("marks of {user:?} are stored, and nobody has said any"));
            return None;
        };
        self.session(conn)?.marks.push(ticket);
        Some(Use::Marks(conn))
    }

    pub(crate) fn marks_answered(&mut self, conn: ConnKey, ticket: u64) {
        if let Some(session) = self.session(conn) {
            session.marks.retain(|open| *open != ticket);
        }
        // What has come meanwhile is stored next.
        self.cause.marking.push(conn);
        self.cause.marked = true;
    }

    /// Something for sessions has come over the bus.
    pub(crate) fn noted(&mut self) {
        self.cause.marked = self.is_on;
    }

    /// Marks are told to sessions. To whom, is up to the engine's own tests yet.
    fn tells_marks(&mut self, shard: usize, to: &[ConnId]) {
        for id in to {
            let conn = self.seat(shard, *id);
            if !self.cause.marked || !conn.is_some_and(|conn| self.is_online(conn)) {
                self.fail("protocol", |_| format!("marks are told to {id:?} at the wrong time"));
            }
        }
    }

    /// Marks that were not told may have made sessions lag for which much waits.
    fn end_marks(&mut self, shard: usize) {
        let lag_bytes = lag_bytes(&self.settings);
        for slot in 0..self.watches[shard].slots.len() {
            let Some(conn) = self.watches[shard].slots[slot] else { continue };
            let seat = &mut self.seats[conn as usize];
            let full = seat.frames > 0 && seat.cost_bytes + MARKED_BYTES + FRAME_COST_BYTES > lag_bytes;
            if let Some(session) = seat.session.as_mut().filter(|_| full) {
                session.lag = session.lag.max(Lag::Maybe);
            }
        }
    }

    /// An answer has to leave in this event.
    pub(crate) fn owes_answer(&mut self, conn: ConnKey) {
        if let Some(session) = self.session(conn) {
            session.owed += 1;
        }
        self.cause.answering.push(conn);
    }

    fn answers_at_once(&mut self, conn: ConnKey) {
        let Some(session) = self.session(conn) else { return };
        let owed = session.owed;
        session.owed = owed.saturating_sub(1);
        if owed == 0 {
            self.fail("protocol", |check| format!("{} is answered what it has not asked", check.name(conn)));
        }
    }

    /// Whether a session's submit is turned away, as too many wait.
    pub(crate) fn is_busy(&mut self, conn: ConnKey) -> bool {
        let seat = &self.seats[conn as usize];
        let busy =
            seat.session.is_some() && seat.pipeline.len() as u64 >= self.settings.pending_per_connection;
        if busy && seat.phase == Phase::Online {
            self.owes_answer(conn);
        }
        busy
    }

    fn accepts(&mut self, conn: ConnKey, accepted: &Accepted) {
        let Some(state) = self.answers_submit(conn, &accepted.message_id) else { return };
        if !matches!(state, State::Stored { seq } if seq == accepted.seq) {
            self.fail("accepted-is-durable", |check| {
                format!("{} is told that {accepted:?}, and the log has it not", check.name(conn))
            });
        }
    }

    fn rejects(&mut self, conn: ConnKey, rejected: &Rejected) {
        match rejected.code() {
            RejectCode::Invalid | RejectCode::Busy => self.answers_at_once(conn),
            RejectCode::Unspecified
            | RejectCode::NoSuchConversation
            | RejectCode::Forbidden
            | RejectCode::Conflict
            | RejectCode::Unavailable => {
                let Some(state) = self.answers_submit(conn, &rejected.message_id) else { return };
                if state != State::Failed {
                    self.fail("protocol", |check| {
                        format!("{} is rejected what the store has taken: {rejected:?}", check.name(conn))
                    });
                }
            }
        }
    }

    /// The oldest submit of this id that a session waits for is answered.
    fn answers_submit(&mut self, conn: ConnKey, id: &[u8]) -> Option<State> {
        let key = session::token_of(id).and_then(|token| self.message(token));
        let pipeline = &mut self.seats[conn as usize].pipeline;
        let found = pipeline.iter().position(|instance| instance.awaited && Some(instance.message) == key);
        let Some(place) = found else {
            self.fail("protocol", |check| format!("{} is answered what it has not asked", check.name(conn)));
            return None;
        };
        pipeline[place].awaited = false;
        let state = pipeline[place].state;
        if pipeline.iter().take(place).any(|earlier| earlier.awaited) {
            self.fail("one-order", |check| format!("{} is answered out of order", check.name(conn)));
        }
        Some(state)
    }

    /// A session has no user any more: nothing that it has asked for is waited for.
    pub(crate) fn end_session(&mut self, conn: ConnKey) {
        let shard = self.seats[conn as usize].shard as usize;
        let Some(session) = self.session(conn) else { return };
        let marks = core::mem::take(&mut session.marks);
        let tickets: Vec<u64> =
            session.heads.take().into_iter().chain(session.fetches.drain(..)).chain(marks).collect();
        (session.lag, session.heads_failed_ns, session.owed) = (Lag::No, None, 0);
        for ticket in tickets {
            self.watches[shard].tickets.remove(&ticket);
        }
    }

    /// Whether a session has sent what is no frame.
    pub(crate) fn is_undecodable(&self, conn: ConnKey) -> bool {
        let seat = &self.seats[conn as usize];
        let refused = Verdict::Refused(switchboard_engine::CloseReason::UndecodableFrame);
        let now = self.cause.conn == Some(conn) && (self.cause.garbage || self.cause.verdict == refused);
        let early = seat.phase == Phase::Loading && seat.early.first() == Some(&Payload::Garbage);
        seat.session.is_some() && (now || early || self.cause.undecodable == Some(conn))
    }

    /// Whether a session has sent something out of turn, or no Hello in time.
    pub(crate) fn is_out_of_turn(&self, conn: ConnKey) -> bool {
        let seat = &self.seats[conn as usize];
        let Some(session) = &seat.session else { return false };
        let now_ns = self.watches[seat.shard as usize].now_ns;
        let late = now_ns >= session.since_ns + self.settings.hello_timeout_ms * 1_000_000;
        match seat.phase {
            Phase::Loading => {
                late || seat
                    .early
                    .first()
                    .is_some_and(|first| !matches!(first, Payload::Hello { .. } | Payload::Garbage))
            }
            Phase::Online => self.cause.out_of_turn == Some(conn),
            Phase::Closing | Phase::Aborted | Phase::Gone => false,
        }
    }

    /// A user is loaded, or is not: its sessions can say Hello.
    pub(crate) fn awaits_hello(&mut self, shard: usize, user: u16) {
        for place in 0..self.watches[shard].told[user as usize].seats.len() {
            let conn = self.watches[shard].told[user as usize].seats[place];
            if let Some(session) = self.session(conn) {
                session.is_awaited = true;
            }
        }
    }

    /// Everything that sessions had to be told in an event was.
    pub(crate) fn end_sessions(&mut self, shard: usize) {
        if let Some(conn) = self.cause.conn.filter(|_| self.cause.arrived) {
            let user = self.seats[conn as usize].user as usize;
            let loads = self.watches[shard].told[user].ticket.is_some();
            if let Some(session) = self.session(conn) {
                session.is_awaited |= !loads;
            }
        }
        if self.cause.marked {
            self.end_marks(shard);
        }
        if let Some((conn, check)) = self.cause.heads.first().copied() {
            self.fail(check, |check| {
                format!("{} is to be told its heads, and they are not asked for", check.name(conn))
            });
        }
        if let Some((conn, of)) = self.cause.fetches.front().copied() {
            self.fail("protocol", |check| {
                format!("{} asks for a part of {of}, and nobody is asked", check.name(conn))
            });
        }
        if let Some(conn) = self.cause.goodbyes.first().copied() {
            self.fail("protocol", |check| format!("{} is told goodbye, and stays", check.name(conn)));
        }
        if let Some(conn) = self.cause.out_of_turn.filter(|conn| self.is_online(*conn)) {
            self.fail("protocol", |check| {
                format!("{} sends something out of turn, and stays", check.name(conn))
            });
        }
        let answering = core::mem::take(&mut self.cause.answering);
        for conn in &answering {
            let seat = &self.seats[*conn as usize];
            if seat.phase == Phase::Online && seat.session.as_ref().is_some_and(|session| session.owed > 0) {
                self.fail("protocol", |check| format!("{} is not answered", check.name(*conn)));
            }
        }
        self.cause.answering = answering;
        for place in 0..self.cause.touched.len() {
            let conn = self.cause.touched[place];
            let seat = &self.seats[conn as usize];
            let is_awaited = seat.session.as_ref().is_some_and(|session| session.is_awaited);
            if is_awaited && seat.phase == Phase::Loading && !seat.early.is_empty() {
                self.fail("protocol", |check| {
                    format!("{} says something, and nothing happens", check.name(conn))
                });
            }
        }
    }
}
