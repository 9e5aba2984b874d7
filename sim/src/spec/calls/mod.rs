//! Calls between sessions, as those who ring and are rung see them.
//!
//! What a connection is told of one call is a [`Part`]: it begins with the RING that it says or is told, or with the
//! ACCEPT that it is told when its device has come back, and ends with one end or with the connection. `ends.rs` says
//! which end has to have which reason, `duties.rs` what has to happen in time.
//!
//! A call whose id was used by two, or twice, is judged less strictly: there what happens belongs to one or the other.

mod apps;
mod duties;
mod ends;

use std::collections::{BTreeMap, BTreeSet};

use switchboard_proto::v1::{
    self,
    call::{End, Kind},
};

use super::{Spec, duties::Duty};
use crate::{
    check::ConnKey,
    wire::{
        self, Token,
        session::{NOBODY, Peer},
        signals::signal_token,
    },
};

pub(super) type CallKey = [u8; 16];

/// A RING that has reached a server.
#[derive(Clone, Copy, Debug)]
struct Ring {
    conn: ConnKey,
    caller: u16,
    callee: u16,
    at_us: u64,
}

/// Another thing that was said of a call, as it reached a server.
#[derive(Clone, Copy, Debug)]
struct Move {
    conn: ConnKey,
    user: u16,
    at_us: u64,
    kind: Kind,
}

/// One call.
#[derive(Clone, Debug, Default)]
pub(super) struct CallSeen {
    rings: Vec<Ring>,
    moves: Vec<Move>,
    /// The callee's device that was told that it has it.
    taker: Option<u64>,
    /// When somebody was first told that it is over for both.
    over_us: Option<u64>,
    /// The longest signal of it.
    longest_bytes: u64,
}

impl CallSeen {
    /// The only ring, of a call whose id was used once.
    fn single(&self) -> Option<Ring> {
        match self.rings[..] {
            [ring] => Some(ring),
            _ => None,
        }
    }

    fn first_accept_us(&self) -> Option<u64> {
        self.moves.iter().filter(|step| step.kind == Kind::Accept).map(|step| step.at_us).min()
    }
}

/// What one connection has said and was told of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    is_open: bool,
    since_us: u64,
    active_us: Option<u64>,
    /// When it was told the end.
    closed_us: Option<u64>,
    /// What it has said that may be answered with NO_SUCH_CALL.
    said: u32,
    /// It was answered so: whether it has a part in the call is nobody's to say.
    is_doubtful: bool,
}

/// A signal that has reached a server.
#[derive(Clone, Copy, Debug)]
struct Signal {
    id: CallKey,
    conn: ConnKey,
    at_us: u64,
    number: u32,
}

/// All calls of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<CallKey, CallSeen>,
    signals: BTreeMap<Token, Signal>,
    heard: BTreeSet<(ConnKey, Token)>,
    /// By who hears and who has said it: the number of the last signal.
    newest: BTreeMap<(ConnKey, ConnKey), u32>,
    apps: BTreeMap<(u16, CallKey), bool>,
}

impl Spec {
    /// A session says something of a call.
    pub(super) fn says_call(&mut self, conn: ConnKey, call: &v1::Call) {
        let (user, now_us) = (self.lines[conn as usize].user, self.now_us);
        let Ok(id) = CallKey::try_from(call.call_id.as_ref()) else {
            if let Some(talk) = self.talk(conn) {
                talk.malformed_calls.push_back(now_us);
            }
            return self.expects_no_such_call(conn, None);
        };
        let number = self.calls.signals.len() as u32;
        let Some(talk) = self.lines[conn as usize].talk.as_deref_mut() else { return };
        let part = talk.calls.entry(id).or_default();
        part.said += 1;
        let kind = call.kind();
        let is_own = wire::index(&call.user) == Some(user);
        if kind == Kind::Unspecified || kind == Kind::Ring && (is_own || call.user.is_empty()) {
            self.expects_no_such_call(conn, Some(id));
        }
        let Some(part) = self.part(conn, id) else { return };
        match kind {
            Kind::Ring => {
                let opens = !part.is_open;
                if opens {
                    (part.is_open, part.since_us, part.closed_us) = (true, now_us, None);
                }
                let callee = wire::index(&call.user).filter(|user| call.user == format!("u{user}"));
                let ring = Ring { conn, caller: user, callee: callee.unwrap_or(NOBODY), at_us: now_us };
                let seen = self.calls.calls.entry(id).or_default();
                seen.rings.push(ring);
                if opens {
                    self.watch_ring(conn, id);
                }
            }
            Kind::Accept | Kind::Decline | Kind::HangUp => {
                let step = Move { conn, user, at_us: now_us, kind };
                self.calls.calls.entry(id).or_default().moves.push(step);
            }
            Kind::Signal => {
                let seen = self.calls.calls.entry(id).or_default();
                seen.longest_bytes = seen.longest_bytes.max(call.payload.len() as u64);
                if let Some(token) = signal_token(&call.payload) {
                    self.calls.signals.insert(token, Signal { id, conn, at_us: now_us, number });
                    self.due_then(now_us + 2 * self.limits.bound_us, Duty::Signalled { token });
                }
            }
            Kind::Unspecified => {}
        }
    }

    /// A session is told something of a call.
    pub(super) fn hears_call(&mut self, conn: ConnKey, call: &v1::Call) {
        let user = self.lines[conn as usize].user;
        let Ok(id) = CallKey::try_from(call.call_id.as_ref()) else {
            let is_asked = self.talk(conn).is_some_and(|talk| talk.malformed_calls.pop_front().is_some());
            if !is_asked || call.end() != End::NoSuchCall {
                self.fail("protocol", |spec| format!("{} hears {call:?} unasked", spec.name(conn)));
            }
            return;
        };
        if call.end() == End::NoSuchCall {
            return self.hears_no_such_call(conn, id);
        }
        let from = wire::index(&call.user).unwrap_or(NOBODY);
        let between = |ring: &&Ring| {
            (ring.caller, ring.callee) == (user, from) || (ring.caller, ring.callee) == (from, user)
        };
        let ring = self.calls.calls.get(&id).and_then(|seen| seen.rings.iter().find(between)).copied();
        let Some(ring) = ring else {
            return self.fail("no-leak", |spec| {
                format!(
                    "{} hears of a call between others: {}",
                    spec.name(conn),
                    wire::signals::call_name(call)
                )
            });
        };
        match (call.end(), call.kind()) {
            (End::Unspecified, Kind::Ring) => self.hears_ring(conn, id, from, call.outgoing),
            (End::Unspecified, Kind::Accept) => self.hears_accept(conn, id, ring),
            (End::Unspecified, Kind::Signal) => self.hears_signal(conn, id, from, &call.payload),
            (End::Unspecified, Kind::Unspecified | Kind::Decline | Kind::HangUp) => {
                self.fail("protocol", |spec| format!("{} hears {call:?}", spec.name(conn)));
            }
            (end, Kind::HangUp) => self.hears_end(conn, id, ring, end),
            (_, Kind::Unspecified | Kind::Ring | Kind::Accept | Kind::Decline | Kind::Signal) => {
                self.fail("protocol", |spec| format!("{} hears an end of another kind", spec.name(conn)));
            }
        }
    }

    fn part(&mut self, conn: ConnKey, id: CallKey) -> Option<&mut Part> {
        Some(self.talk(conn)?.calls.entry(id).or_default())
    }

    fn part_of(&self, conn: ConnKey, id: &CallKey) -> Option<Part> {
        self.lines[conn as usize].talk.as_ref()?.calls.get(id).copied()
    }

    fn is_single(&self, id: &CallKey) -> bool {
        self.calls.calls.get(id).is_some_and(|seen| seen.rings.len() == 1)
    }

    fn device(&self, conn: ConnKey) -> Option<u64> {
        self.lines[conn as usize].talk.as_ref()?.device
    }

    fn hears_no_such_call(&mut self, conn: ConnKey, id: CallKey) {
        let Some(part) = self.part(conn, id) else { return };
        let asked = part.said > 0;
        part.said = part.said.saturating_sub(1);
        (part.is_open, part.is_doubtful) = (false, true);
        if !asked {
            self.fail("protocol", |spec| {
                format!("{} hears that there is no such call, and has said nothing of it", spec.name(conn))
            });
        }
    }

    /// Nothing more is told of what is over.
    fn goes_on(&mut self, conn: ConnKey, id: CallKey, what: &str) {
        let part = self.part_of(conn, &id).unwrap_or_default();
        if part.closed_us.is_some() && !part.is_doubtful && self.is_single(&id) {
            self.fail("exactly-once", |spec| {
                format!("{} is told of a call that is over: {what}", spec.name(conn))
            });
        }
    }

    fn opens(&mut self, conn: ConnKey, id: CallKey) {
        let now_us = self.now_us;
        let Some(part) = self.part(conn, id) else { return };
        if !part.is_open {
            (part.is_open, part.since_us, part.closed_us) = (true, now_us, None);
            self.watch_ring(conn, id);
        }
    }

    /// A session is rung by another user, or is told that it rings itself: two may ring each other with the same id.
    fn hears_ring(&mut self, conn: ConnKey, id: CallKey, other: u16, is_outgoing: bool) {
        self.goes_on(conn, id, "it rings");
        let (user, device) = (self.lines[conn as usize].user, self.device(conn));
        let (caller, callee) = if is_outgoing { (user, other) } else { (other, user) };
        let rings = self.calls.calls.get(&id).map_or(&[][..], |seen| seen.rings.as_slice());
        let rings = || rings.iter().filter(|ring| (ring.caller, ring.callee) == (caller, callee));
        let own = rings().any(|ring| is_outgoing && self.device(ring.conn) == device);
        let is_known = rings().any(|ring| self.may_know(user, caller, ring.at_us));
        let is_rung = !is_outgoing && rings().next().is_some();
        if !own && !is_rung {
            self.fail("no-leak", |spec| {
                format!("{} hears that another device of its user rings", spec.name(conn))
            });
        } else if !own && !is_known {
            self.fail("no-leak", |spec| format!("{} is rung by the stranger u{caller}", spec.name(conn)));
        }
        self.opens(conn, id);
    }

    fn hears_accept(&mut self, conn: ConnKey, id: CallKey, ring: Ring) {
        self.goes_on(conn, id, "it was taken");
        let (user, device) = (self.lines[conn as usize].user, self.device(conn));
        let Some(seen) = self.calls.calls.get(&id) else { return };
        let accepts =
            || seen.moves.iter().filter(|step| step.kind == Kind::Accept && step.user == ring.callee);
        let holds = match user == ring.caller {
            true => accepts().next().is_some() && device == self.device(ring.conn),
            false => accepts().any(|step| self.device(step.conn) == device),
        };
        if !holds && self.is_single(&id) {
            self.fail("no-spoof", |spec| {
                format!("{} hears that it has a call that it has not taken or begun", spec.name(conn))
            });
        }
        let is_single = self.is_single(&id);
        if user == ring.callee
            && let Some(seen) = self.calls.calls.get_mut(&id)
        {
            let before = seen.taker.replace(device.unwrap_or(0));
            if is_single && before.is_some() && before != device {
                self.fail("exactly-once", |spec| {
                    format!("{} hears that it has a call, and so did another device", spec.name(conn))
                });
            }
        }
        self.opens(conn, id);
        let now_us = self.now_us;
        if let Some(part) = self.part(conn, id) {
            part.active_us.get_or_insert(now_us);
        }
    }

    fn hears_signal(&mut self, conn: ConnKey, id: CallKey, from: u16, payload: &[u8]) {
        self.goes_on(conn, id, "a signal");
        let token = signal_token(payload);
        let known = token.and_then(|token| Some((token, *self.calls.signals.get(&token)?)));
        let Some((token, signal)) = known else {
            return self
                .fail("no-spoof", |spec| format!("{} hears a signal that nobody has sent", spec.name(conn)));
        };
        let accepted_us = self.calls.calls.get(&id).and_then(CallSeen::first_accept_us);
        let part = self.part_of(conn, &id).unwrap_or_default();
        if signal.id != id || self.lines[signal.conn as usize].user != from {
            self.fail("no-leak", |spec| format!("{} hears {token}, of another call", spec.name(conn)));
        } else if accepted_us.is_none_or(|at_us| at_us > signal.at_us) {
            self.fail("protocol", |spec| {
                format!("{} hears {token}, sent before anybody had taken the call", spec.name(conn))
            });
        } else if part.active_us.is_none() && !part.is_doubtful {
            self.fail("protocol", |spec| {
                format!("{} hears {token}, of a call that it does not have", spec.name(conn))
            });
        }
        if !self.is_reached(signal.conn, conn, signal.at_us) {
            return;
        }
        let again = !self.calls.heard.insert((conn, token));
        let newest = self.calls.newest.entry((conn, signal.conn)).or_default();
        let late = signal.number < *newest;
        *newest = (signal.number + 1).max(*newest);
        if again {
            self.fail("exactly-once", |spec| format!("{} hears the signal {token} again", spec.name(conn)));
        } else if late {
            self.fail("one-order", |spec| {
                format!("{} hears the signal {token} after a later one", spec.name(conn))
            });
        }
    }

    /// Whether a user may know of another one by what the store has, now or at some moment since then.
    pub(super) fn may_know(&self, watcher: u16, user: u16, since_us: u64) -> bool {
        let shares = |group: u16| {
            self.health.may_be_member(group, watcher, since_us)
                && self.health.may_be_member(group, user, since_us)
        };
        let is_known = watcher.max(user) < self.limits.known_users;
        is_known
            && (watcher == user
                || self.logs.first_us(Peer::User(user).log(watcher)).is_some()
                || (0..self.health.members.len() as u16).any(shares))
    }

    /// Whether the store has surely said so, whenever it was asked since then.
    pub(super) fn surely_knows(&self, watcher: u16, user: u16, since_us: u64) -> bool {
        let shares = |group: u16| {
            self.health.was_member(group, watcher, since_us) && self.health.was_member(group, user, since_us)
        };
        let talked = self.logs.first_us(Peer::User(user).log(watcher)).is_some_and(|at_us| at_us < since_us);
        let is_known = watcher.max(user) < self.limits.known_users;
        is_known && (watcher == user || talked || (0..self.health.members.len() as u16).any(shares))
    }

    /// Whether nothing was wrong with nodes and bus since then.
    pub(super) fn was_calm(&self, since_us: u64) -> bool {
        self.health.bus_was_well(since_us) && self.health.nodes_were_well(since_us)
    }
}
