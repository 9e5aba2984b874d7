//! What classic clients are sent again, as far as the shadow knows it: each asks what it has missed when it is welcomed,
//! only who has missed something is sent anything again, and who has certainly missed nothing is sent everything at
//! once. What has to be sent again, and in which order, the specification judges.

use switchboard_engine::{Answer, ConnId, Range, Subject, Undone, UserId};

use super::{Check, ConnKey, MessageKey, Phase, Route};
use crate::wire;

/// How far a classic connection is with what it has missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CatchUp {
    /// It has missed nothing: what is stored is sent to it at once.
    #[default]
    InStep,
    /// What it has missed is asked for, and whether something was perhaps withheld meanwhile.
    Asking { is_withheld: bool },
    /// It has missed something, and may have to wait for what comes.
    Behind,
}

/// What a request is for that decides nothing but what is sent again, and what concerns calls and presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// Calls, presence, and what has arrived.
    Other,
    /// What a connection has missed, as far as it is known which one; and when that is given up.
    Unreceived { conn: Option<ConnKey>, expires_ns: u64 },
    /// A part of a log for one that has missed something.
    Missed { conn: Option<ConnKey> },
}

impl Check {
    /// Whether classic clients are sent again what they have missed.
    pub(crate) const fn resends(&self) -> bool {
        self.settings.resend_messages > 0
    }

    /// A classic connection is welcomed: what it has missed has to be asked for.
    pub(super) fn begins_to_catch_up(&mut self, conn: ConnKey) {
        if self.resends() {
            self.seats[conn as usize].catch_up = CatchUp::Asking { is_withheld: false };
            self.cause.asking.push(conn);
        }
    }

    /// The engine asks what a user has missed.
    pub(super) fn asks_unreceived(&mut self, shard: usize, ticket: u64, user: &UserId) {
        let user = wire::index(user.as_str());
        let of_user = |conn: &ConnKey| Some(self.seats[*conn as usize].user) == user;
        let conn = self.cause.asking.iter().position(of_user).map(|place| self.cause.asking.remove(place));
        let is_wanted = conn.is_some() || user.is_some_and(|user| self.is_catching_up(shard, user));
        let expires_ns = self.watches[shard].now_ns + self.settings.request_timeout_ms * 1_000_000;
        self.watches[shard].asides.insert(ticket, Aside::Unreceived { conn, expires_ns });
        if !is_wanted {
            self.fail("protocol", |_| format!("what u{user:?} has missed is asked for, and nobody came"));
        }
    }

    /// The engine asks for a part of a log that nobody has asked for.
    pub(super) fn asks_missed(&mut self, shard: usize, ticket: u64, range: &Range) {
        let user = wire::index(range.reader.as_str());
        let conn = self.cause.catching_up.or(self.cause.conn);
        let is_wanted = match conn {
            Some(conn) => {
                let seat = &self.seats[conn as usize];
                Some(seat.user) == user && seat.catch_up != CatchUp::InStep
            }
            None => user.is_some_and(|user| self.is_catching_up(shard, user)),
        };
        if !is_wanted || !self.resends() {
            self.fail("protocol", |_| format!("nobody asks for {range:?}"));
        }
        self.watches[shard].asides.insert(ticket, Aside::Missed { conn });
    }

    /// Whether a user has a classic connection that may have missed something.
    fn is_catching_up(&self, shard: usize, user: u16) -> bool {
        let seats = self.watches[shard].told.get(user as usize).map(|told| told.seats.as_slice());
        seats.unwrap_or_default().iter().any(|conn| {
            let seat = &self.seats[*conn as usize];
            seat.phase == Phase::Online && seat.catch_up != CatchUp::InStep
        })
    }

    /// The store has answered something that shows in nothing but what is sent again.
    pub(super) fn aside_answered(&mut self, shard: usize, aside: Aside, answer: &Answer) {
        match aside {
            Aside::Other => {}
            Aside::Missed { conn } => {
                (self.cause.resends, self.cause.catching_up) = (true, conn);
            }
            Aside::Unreceived { conn, expires_ns } => {
                (self.cause.resends, self.cause.catching_up) = (true, conn);
                if let Some(conn) = conn.filter(|_| self.watches[shard].now_ns < expires_ns) {
                    self.unreceived_answered(conn, answer);
                }
            }
        }
    }

    fn unreceived_answered(&mut self, conn: ConnKey, answer: &Answer) {
        let (is_behind, goes_on) = match answer.clone().into_unreceived() {
            Ok((unreceived, next)) => (!unreceived.is_empty(), next.is_some()),
            Err(Undone::Refused) => (false, false),
            // It is asked again: for whom, is not seen.
            Err(Undone::Failed) => return,
        };
        let seat = &mut self.seats[conn as usize];
        let is_asking = |is_withheld| seat.catch_up == CatchUp::Asking { is_withheld };
        if is_behind || (is_asking(true) && !goes_on) {
            seat.catch_up = CatchUp::Behind;
        } else if is_asking(false) && !goes_on {
            seat.catch_up = CatchUp::InStep;
        }
        // With room for few logs no more are asked for.
        let s = &self.settings;
        let is_limited = s.resend_conversations < s.users + self.members.len() as u64;
        if goes_on && seat.phase == Phase::Online && !is_limited {
            self.cause.asking.push(conn);
        }
    }

    /// Something is sent again: to one classic connection that has missed something, for which it is.
    pub(super) fn sends_again(&mut self, shard: usize, to: &[ConnId], key: MessageKey) {
        let said = &self.said[key as usize];
        let (sender, route, token) = (said.sender, said.route, said.token);
        let is_stored = !said.seqs.is_empty();
        // What was edited is in the edit's words.
        let is_text = matches!(said.subject, Subject::Message | Subject::Edit { .. });
        let conn = match to {
            [id] => self.seat(shard, *id),
            _ => None,
        };
        let is_due = |conn: ConnKey| {
            self.seats[conn as usize].catch_up != CatchUp::InStep
                && self.cause.catching_up.is_none_or(|catching_up| catching_up == conn)
        };
        let Some(conn) = conn.filter(|conn| is_due(*conn)) else {
            return self.fail("no-leak", |_| format!("{token} is sent again to {to:?}"));
        };
        let user = self.seats[conn as usize].user;
        let is_theirs = match route {
            Route::User(to) => to == user,
            Route::Group(_) => sender != user,
            Route::Relay(_) | Route::Call | Route::Everyone => false,
        };
        if !is_theirs || !is_text {
            self.fail("no-leak", |check| {
                format!("{} is sent {token} again, which is for {route:?}", check.name(conn))
            });
        } else if !is_stored {
            self.fail("accepted-is-durable", |_| format!("{token} is sent again and not stored"));
        }
    }

    /// Of those whom a stored message is for, who has certainly missed nothing must be sent it; the others may have to
    /// wait for what is before it, and so may those who may be taken for members.
    pub(super) fn withhold(&mut self) {
        let Self { must, perhaps, seats, .. } = self;
        must.retain(|conn| {
            let is_due = seats[*conn as usize].catch_up == CatchUp::InStep;
            if !is_due {
                perhaps.push(*conn);
            }
            is_due
        });
        for conn in perhaps {
            let catch_up = &mut seats[*conn as usize].catch_up;
            if *catch_up == (CatchUp::Asking { is_withheld: false }) {
                *catch_up = CatchUp::Asking { is_withheld: true };
            }
        }
    }

    /// Whoever was welcomed has asked what it has missed.
    pub(super) fn end_asking(&mut self) {
        if let Some(conn) = self.cause.asking.first().copied() {
            self.fail("delivery", |check| {
                format!("{} comes, and what it has missed is not asked for", check.name(conn))
            });
        }
    }
}
