//! Sessions as far as the shadow has to know them: when they are welcomed, what is pushed to them and when they lag,
//! whose heads and logs are asked for, and that everything they ask is answered in the event in which its turn comes.
//! What frames say, the specification judges.
//!
//! Here: when they come, are welcomed and end. `pushes.rs` has what is pushed to whom, and lags; `requests.rs` heads and
//! parts of logs; `answers.rs` what becomes of submits, and that every question is answered; `marks.rs` marks.
//!
//! A new frame of the protocol needs a line in [`Check::sends_frame`]; a new request of a session needs a
//! [`Payload`](super::Payload), and a line in `Check::route` that says what follows from it.

mod answers;
mod marks;
mod places;
pub(crate) mod pushes;
mod requests;
mod signs;

use std::collections::VecDeque;

use bytes::Bytes;
use switchboard_engine::{Action, ConnId, Frame, Request, Topic};
use switchboard_proto::v1::{Head, Heads, Welcome, server_frame::Body};

pub(crate) use marks::{Mark, Noting, Telling};
pub(crate) use pushes::Fan;

use self::{marks::MarkSeen, pushes::Lag};
use super::{Check, ConnKey, Payload, Phase, rates::Verdict};
use crate::wire::{self, session};

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
    marks: Vec<MarkSeen>,
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
        if let Body::Heads(Heads { heads, last: false }) = &body
            && let [head @ Head { first_seq: 0, .. }] = heads.as_slice()
        {
            return self.tells_place(shard, to, head, bytes.len() as u64);
        }
        if let Body::Marked(marked) = &body {
            return self.tells_marks(shard, to, marked, bytes.len() as u64);
        }
        if let Body::Typing(_) = &body {
            return self.tells_typing(shard, to, bytes.len() as u64);
        }
        if let Body::Presence(_) = &body {
            return self.tells_presence(shard, to, bytes.len() as u64);
        }
        if let Body::Notice(notice) = &body {
            return self.tells_notice(shard, to, &notice.text);
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
            Body::Goodbye(goodbye) => {
                self.promises(shard, conn, &goodbye);
                self.cause.goodbyes.push(conn);
            }
            Body::Heads(_) => {
                if self.cause.told_heads != Some(conn) {
                    self.fail("protocol", |check| format!("{} is told heads unasked", check.name(conn)));
                }
            }
            // Of whose call it is, the specification judges.
            Body::Call(_) => {}
            // Looked at already.
            Body::Delivery(_) | Body::Marked(_) | Body::Typing(_) | Body::Presence(_) | Body::Notice(_) => {}
        }
    }

    /// Whether an action may come before the end of a session that is about to be closed for what it has sent: its
    /// goodbye, and what it means to others that it watches nobody more and has left its call.
    pub(crate) fn is_goodbye(&self, shard: usize, action: &Action<'_>) -> bool {
        match action {
            Action::Send { to: [id], frame: Frame::Message(bytes) } => {
                let conn = self.seat(shard, *id).filter(|conn| self.is_session(*conn));
                conn.is_some() && (conn == self.cause.conn || self.is_signalling && session::is_signal(bytes))
            }
            Action::Unsubscribe(Topic::Presence(_)) | Action::Tell(_) => true,
            // What it lacked counts as missing no more, or what has arrived at others is told.
            Action::Request { request: Request::StoreReceived(_), .. } => true,
            Action::Send { .. }
            | Action::Close { .. }
            | Action::Abort { .. }
            | Action::Request { .. }
            | Action::Publish(_)
            | Action::Subscribe(_)
            | Action::Unsubscribe(_)
            | Action::Stopped => false,
        }
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
                | Payload::Mark(_)
                | Payload::BadMark
                | Payload::Sign
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

    /// Whether a session of a device gives way, as one of them says Hello at this moment, to one that has connected later.
    pub(crate) fn is_replaced(&self, shard: usize, conn: ConnKey) -> bool {
        let user = self.seats[conn as usize].user;
        let mut later =
            self.watches[shard].told[user as usize].seats.iter().skip_while(|other| **other != conn).skip(1);
        later.any(|other| {
            let gives_way = self.greets(*other).is_some_and(|device| self.is_device(conn, device));
            gives_way || self.greets(conn).is_some_and(|device| self.is_device(*other, device))
        })
    }

    /// The device of a session that may say Hello at this moment.
    fn greets(&self, conn: ConnKey) -> Option<u64> {
        let seat = &self.seats[conn as usize];
        match seat.early.first().filter(|_| seat.phase == Phase::Loading) {
            Some(Payload::Hello { device }) => Some(*device),
            _ => None,
        }
    }

    /// A session has no user any more: nothing that it has asked for is waited for.
    pub(crate) fn end_session(&mut self, conn: ConnKey) {
        let shard = self.seats[conn as usize].shard as usize;
        let Some(session) = self.session(conn) else { return };
        let marks: Vec<u64> = session.marks.drain(..).filter_map(|open| open.ticket()).collect();
        let tickets: Vec<u64> =
            session.heads.take().into_iter().chain(session.fetches.drain(..)).chain(marks).collect();
        (session.lag, session.heads_failed_ns, session.owed) = (Lag::No, None, 0);
        for ticket in tickets {
            self.watches[shard].tickets.remove(&ticket);
        }
        self.cause.marking.retain(|(other, _)| *other != conn);
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
        self.end_marks(shard);
        self.end_places(shard);
        if self.may_tell_presence() {
            self.end_presence(shard);
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
