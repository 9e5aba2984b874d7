//! What sessions say that is not stored: that somebody types, whom they watch, and calls. Applications say it as their
//! sessions let them; raw sessions say what their steps say, in turn or not, right or wrong.

use core::time::Duration;

use bytes::Bytes;
use switchboard_engine::{SessionConfig, UserId};
use switchboard_proto::v1::{
    Call,
    call::{self, Kind},
};

use super::{World, hostile::peer, sut::Sut};
use crate::{
    check::Payload,
    schedule::{ClientNo, To, UserNo, What},
    wire::{
        Token,
        session::NOBODY,
        signals::{self, call_id, call_of, signal_payload},
    },
};

/// How long an application believes that somebody types of whom nothing more is heard, in microseconds.
pub(crate) const TYPING_TIMEOUT_US: u64 = 2_500_000;

/// How often a session says that its user still types, in microseconds.
const TYPING_INTERVAL_US: u64 = 1_000_000;

/// Calls that an application may have at a time.
const CALLS: u32 = 3;

/// Kinds of frames of calls that are wrong in themselves, or come again.
pub(crate) const MISCALL_KINDS: u32 = 11;

/// What sessions are told of all this.
pub(super) fn configure(config: &mut SessionConfig) {
    config.typing_interval = Duration::from_micros(TYPING_INTERVAL_US);
    config.typing_timeout = Duration::from_micros(TYPING_TIMEOUT_US);
    config.limits.calls = CALLS;
}

impl<T: Sut> World<'_, T> {
    /// Somebody types in a conversation, or has stopped.
    pub(super) fn typing(&mut self, client: ClientNo, to: To, types: bool, claims: UserNo) {
        self.send_frame(client, Payload::Sign, signals::typing(peer(to), types, claims.0));
        let Some(conversation) = self.recipient(to) else { return };
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            session.typing(now, conversation, types);
            self.pump_app(client);
        }
    }

    /// A session watches so many users from one on.
    pub(super) fn watch(&mut self, client: ClientNo, first: UserNo, count: u32) {
        let numbers = (0..count).map(|nth| first.0.saturating_add(nth as u16));
        self.send_frame(client, Payload::Sign, signals::watch(numbers.clone()));
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            let users: Vec<UserId> =
                numbers.filter_map(|user| UserId::new(&UserNo(user).to_string()).ok()).collect();
            // More than an application may watch: then it goes on as it was.
            let _ = session.watch(now, &users);
            self.pump_app(client);
        }
    }

    /// A session rings a user.
    pub(super) fn ring(&mut self, client: ClientNo, step: u32, to: UserNo) {
        let id = call_id(Token { step, nth: 0 });
        self.say_call(client, call_of(&id.0, &to.to_string(), Kind::Ring));
        let (now, user) = (self.client_now(), self.users[to.index()].clone());
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            if session.ring(now, id, user, step.is_multiple_of(2)).is_ok() {
                self.spec.begins_call(client.0, id);
            }
            self.pump_app(client);
        }
    }

    /// A session takes a call, if its application has heard that it rings.
    pub(super) fn accept(&mut self, client: ClientNo, step: u32) {
        let (id, other) = self.call(client, step);
        self.say_call(client, call_of(&id, &other, Kind::Accept));
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            // What does not ring is not taken.
            let _ = session.accept_call(now, switchboard_engine::CallId(id));
            self.pump_app(client);
        }
    }

    /// A session declines a call, or hangs up.
    pub(super) fn hang_up(&mut self, client: ClientNo, step: u32, kind: Kind) {
        let (id, other) = self.call(client, step);
        self.say_call(client, call_of(&id, &other, kind));
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            let _ = session.hang_up(now, switchboard_engine::CallId(id));
            self.pump_app(client);
        }
    }

    /// A session sends a signal to the other side of a call.
    pub(super) fn call_data(&mut self, client: ClientNo, step: u32, token: Token, bytes: u32) {
        let (id, other) = self.call(client, step);
        let payload = signal_payload(token, bytes);
        self.say_call(client, Call { payload: payload.clone(), ..call_of(&id, &other, Kind::Signal) });
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            let _ = session.signal(now, switchboard_engine::CallId(id), payload);
            self.pump_app(client);
        }
    }

    /// A raw session says something of a call that is wrong, or that was said before.
    pub(super) fn miscall(&mut self, client: ClientNo, step: u32, token: Token, kind: u32) {
        let (id, other) = self.call(client, step);
        let own = self.devices[client.index()].spec.user.to_string();
        let fresh = call_id(token).0;
        let call = match kind % MISCALL_KINDS {
            0 => call_of(&id, "somebody else", Kind::Accept),
            1 => call_of(&fresh, &own, Kind::Ring),
            // Of a call that may be over, or another one's.
            2 => call_of(&id, &other, Kind::Ring),
            3 => call_of(&id[..15], &other, Kind::HangUp),
            4 => call_of(&id, &other, Kind::Unspecified),
            5 => call_of(&[], &other, Kind::Ring),
            6 => call_of(&fresh, "", Kind::Ring),
            // What only servers say.
            8 => Call { end: call::End::Busy.into(), ..call_of(&id, &other, Kind::HangUp) },
            9 => Call {
                outgoing: true,
                end: call::End::Declined.into(),
                ..call_of(&id, &other, Kind::Unspecified)
            },
            10 => Call { kind: i32::MAX, ..call_of(&id, &other, Kind::Unspecified) },
            _ => call_of(&fresh, &other, Kind::Accept),
        };
        self.say_call(client, call);
    }

    fn say_call(&mut self, client: ClientNo, call: Call) {
        let frame: Bytes = signals::call(call);
        self.send_frame(client, Payload::Sign, frame);
    }

    /// The call that a step has begun, and who is on the other side of it.
    fn call(&self, client: ClientNo, step: u32) -> ([u8; 16], String) {
        let found = self.schedule.steps.iter().find(|other| other.id == step).and_then(|other| {
            let What::Ring { client, to } = other.what else { return None };
            Some((self.devices[client.index()].spec.user, to))
        });
        let own = self.devices[client.index()].spec.user;
        let other = match found {
            Some((caller, to)) if own == caller => to,
            Some((caller, _)) => caller,
            None => UserNo(NOBODY),
        };
        (call_id(Token { step, nth: 0 }).0, other.to_string())
    }
}
