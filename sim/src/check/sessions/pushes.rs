//! What is pushed to sessions, and which of them lag.

use switchboard_engine::{ConnId, FRAME_COST_BYTES};
use switchboard_proto::v1::Delivery;

use crate::{
    check::{Check, ConnKey, Instance, MessageKey, Owed, Phase, Route, Seat},
    wire::session::{self, Peer},
    world::lag_bytes,
};

/// What a Delivery has at the most beyond what the message had when it came.
const DELIVERY_EXTRA_BYTES: u64 = 256;

/// What reaches whom of one stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fan {
    /// Classic frames, for the recipient.
    Classic,
    /// Deliveries, for the recipient's sessions.
    Sessions,
    /// Deliveries, for the sender's own sessions.
    Own,
    /// Deliveries of a change of a group, for the sessions of whom it concerns and who is no member.
    Concerned,
}

impl Fan {
    /// All of them, in the order in which an engine sends them.
    pub(crate) const ALL: [Self; 4] = [Self::Classic, Self::Sessions, Self::Own, Self::Concerned];
}

/// Whether nothing is pushed to a session, as it reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lag {
    No,
    /// It was near the limit, and what it was not sent may have been too large or not.
    Maybe,
    Yes,
}

impl Check {
    /// A stored message is pushed to sessions.
    pub(super) fn pushes(&mut self, shard: usize, to: &[ConnId], delivery: &Delivery, len: u64) {
        let token = session::token_in(delivery);
        let Some(key) = token.and_then(|token| self.message(token)) else {
            return self.fail("no-spoof", |_| format!("what nobody said is pushed: {delivery:?}"));
        };
        let (sender, route) = (self.said[key as usize].sender, self.said[key as usize].route);
        let fan = match (route, Peer::read(delivery.conversation.as_ref())) {
            (Route::User(_), Some(Peer::User(other))) if other == sender => Fan::Sessions,
            (Route::User(to), Some(Peer::User(other))) if other == to => Fan::Own,
            (Route::Group(group), Some(Peer::Group(other))) if other == group => {
                self.fan_of_group(shard, to, key, group)
            }
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

    /// For whom a group's message or change is that goes to these: its members, or whom it concerns beside them.
    fn fan_of_group(&self, shard: usize, to: &[ConnId], key: MessageKey, group: u16) -> Fan {
        if self.cause.published == Some(key) {
            let is_concerned = self.cause.owed.iter().any(|owed| owed.message == key && owed.is_concerned);
            return if is_concerned { Fan::Concerned } else { Fan::Sessions };
        }
        let Some(user) = self.said[key as usize].concerns() else { return Fan::Sessions };
        let is_theirs =
            |id: &ConnId| self.seat(shard, *id).map(|conn| self.seats[conn as usize].user) == Some(user);
        let told = |instance: &Instance| instance.reached(Fan::Sessions) && !instance.repeats;
        let is_stranger = !self.may(shard, group, user)
            || (!self.must_know(shard, group, user) && self.instance(shard, key, told).is_some());
        if is_stranger && to.iter().all(is_theirs) { Fan::Concerned } else { Fan::Sessions }
    }

    fn owed_is_pushed(&mut self, key: MessageKey, fan: Fan) -> bool {
        let due = |owed: &&mut Owed| {
            let is_for = (owed.is_copy, owed.is_concerned) == (fan == Fan::Own, fan == Fan::Concerned);
            owed.message == key && !owed.pushed && is_for
        };
        let found = self.cause.owed.iter_mut().find(due).map(|owed| owed.pushed = true).is_some();
        if !found {
            self.fail("exactly-once", |check| format!("{} is pushed again", check.said[key as usize].token));
        }
        found
    }

    /// Compares who is pushed to with those in `must`: nobody too many, nobody twice, and who is left out lags.
    pub(super) fn mark_pushed(&mut self, shard: usize, to: &[ConnId], key: MessageKey, len: u64) {
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
        self.doubt(|seat| (!to.contains(&seat.id)).then_some(len));
    }

    /// Of who may be taken for a member, those that were not pushed a message of this length may lag.
    fn doubt(&mut self, len: impl Fn(&Seat) -> Option<u64>) {
        let lag_bytes = lag_bytes(&self.settings);
        for conn in &self.perhaps {
            let seat = &mut self.seats[*conn as usize];
            let Some(len) = len(seat) else { continue };
            let full = seat.frames > 0 && seat.cost_bytes + len + FRAME_COST_BYTES > lag_bytes;
            if let Some(session) = seat.session.as_mut().filter(|_| full) {
                session.lag = session.lag.max(Lag::Maybe);
            }
        }
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
        self.doubt(|_| Some(most));
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
}
