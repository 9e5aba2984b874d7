//! What sessions say of calls.

use switchboard_proto::v1::{
    self,
    call::{End, Kind},
};

use super::{Device, Leg, LegKey, LinkOf, Stage};
use crate::{
    answer::Undone,
    close::CloseReason,
    id::{ConnId, UserId},
    probe::{Canary, Probe, Rule},
    server::{Server, users::UserKey},
    storage::Answer,
};

/// The longest payload of a signal.
const PAYLOAD_LIMIT_BYTES: usize = 64 << 10;

impl<P: Probe> Server<P> {
    /// A session says something of a call.
    pub(in crate::server) fn call(&mut self, conn: ConnId, user: UserKey, call: &v1::Call) {
        let Some(user) = self.users.get(user).map(|user| user.id.clone()) else { return };
        if call.payload.len() > PAYLOAD_LIMIT_BYTES {
            self.stats.refused_too_large += 1;
            return self.close(conn, CloseReason::MessageTooLarge);
        }
        let Ok(id) = <[u8; 16]>::try_from(call.call_id.as_ref()) else {
            return self.no_such_call(conn, call);
        };
        let kind = call.kind();
        if kind == Kind::Ring {
            return self.ring(conn, &user, id, call);
        }
        let leg = self.calls.of(user.as_str(), &id);
        let is_of_it = |leg: &Leg| call.user.is_empty() || call.user == leg.peer.as_str();
        let Some(key) = leg.filter(|key| self.calls.get(*key).is_some_and(is_of_it)) else {
            return self.no_such_call(conn, call);
        };
        let Some(leg) = self.calls.get(key) else { return };
        let (is_ringing_callee, has_it) = (leg.device.is_none(), leg.conn() == Some(conn));
        match kind {
            Kind::Accept if is_ringing_callee => self.take(conn, key),
            Kind::Decline | Kind::HangUp if is_ringing_callee => self.decline(conn, key),
            Kind::HangUp if has_it => self.hang_up(key, End::HungUp, End::HungUp),
            Kind::Signal if has_it && leg.stage == Stage::Active => self.signal(key, call),
            // Said twice, and done once.
            Kind::Accept if has_it && !leg.is_caller => self.stats.calls_repeated += 1,
            Kind::Signal if self.probe.canary(Canary::SignalBeforeAccept) => self.signal(key, call),
            Kind::Unspecified | Kind::Ring | Kind::Accept | Kind::Decline | Kind::HangUp | Kind::Signal => {
                self.no_such_call(conn, call);
            }
        }
    }

    /// Tells a session that there is no such call, or that it is not one that this may be said of.
    fn no_such_call(&mut self, conn: ConnId, call: &v1::Call) {
        self.probe.reached(Rule::NoSuchCall);
        self.stats.refused_calls += 1;
        self.end_at(conn, call, End::NoSuchCall);
    }

    /// Tells a session that a call that it has no part in is over.
    fn end_at(&mut self, conn: ConnId, call: &v1::Call, end: End) {
        let call_id = call.call_id.slice(..call.call_id.len().min(16));
        let user = if UserId::new(&call.user).is_ok() { call.user.clone() } else { Default::default() };
        let kind = Kind::HangUp.into();
        self.send_call(conn, v1::Call { call_id, user, kind, end: end.into(), ..v1::Call::default() });
    }

    /// A session rings somebody.
    fn ring(&mut self, conn: ConnId, user: &UserId, id: super::CallId, call: &v1::Call) {
        let Some(peer) = UserId::new(&call.user).ok().filter(|peer| peer != user) else {
            return self.no_such_call(conn, call);
        };
        if let Some(key) = self.calls.key(user.as_str()) {
            let Some(leg) = self.calls.get(key) else { return };
            if leg.id == id {
                let is_again = leg.is_caller && leg.peer == peer && leg.conn() == Some(conn);
                if !is_again {
                    return self.no_such_call(conn, call);
                }
                self.stats.calls_repeated += 1;
                return;
            }
            if !self.gives_way(key, &peer, &id) && !self.probe.canary(Canary::BusyIgnored) {
                self.stats.calls_refused += 1;
                return self.end_at(conn, call, End::Busy);
            }
            self.hang_up(key, End::Busy, End::Busy);
            if !self.sessions_of(user).contains(&conn) {
                // There was no room to tell it so, and it is closed.
                return;
            }
        }
        let device = self.connections.get(conn).and_then(|c| c.session.as_ref()).and_then(|s| s.device);
        let leg = Leg {
            user: user.clone(),
            peer,
            id,
            video: call.video,
            is_caller: true,
            stage: Stage::Ringing,
            device: Some(Device { id: device, link: LinkOf::Up(conn) }),
            taken_by: None,
            ring_until: self.now + self.config.ring_timeout,
            reach_by: None,
            heard_at: self.now,
            sign_at: self.now,
            due: None,
        };
        self.probe.reached(Rule::CallBegun);
        match self.add_leg(leg) {
            Some(key) => self.ask_to_ring(key),
            None => self.end_at(conn, call, End::Unreachable),
        }
    }

    /// Whether a call that rings is to end for another one between the same two: of those who ring each other at the same
    /// time, both sides find the same one.
    pub(super) fn gives_way(&mut self, key: LegKey, other: &UserId, id: &super::CallId) -> bool {
        let Some(leg) = self.calls.get(key) else { return false };
        let is_glare = leg.peer == *other && !leg.is_active();
        if is_glare {
            self.probe.reached(Rule::CallGlare);
        }
        let larger_wins = self.probe.canary(Canary::GlareLargerWins);
        is_glare && (*id < leg.id) != larger_wins
    }

    /// The store has answered whether a user may ring another one, or has not in time.
    pub(in crate::server) fn ring_answered(&mut self, key: LegKey, answer: Answer) {
        let may = match answer.into_seen() {
            Ok(_) => true,
            Err(Undone::Refused | Undone::Failed) => {
                self.probe.reached(Rule::CallNotAllowed);
                self.probe.canary(Canary::AnybodyRings)
            }
        };
        let Some(leg) = self.calls.get_mut(key) else { return };
        leg.stage = Stage::Ringing;
        if !may {
            return self.finish_leg(key, End::Unreachable, None);
        }
        let (id, user) = (leg.id, leg.user.clone());
        let call = leg.call(Kind::Ring);
        self.pass(key, call);
        // It may have ended: the other one is in another call.
        let Some(key) = self.calls.of(user.as_str(), &id) else { return };
        if self.calls.get(key).is_none_or(|leg| self.calls.other_side(leg).is_none()) {
            if !self.config.peers {
                return self.finish_leg(key, End::Unreachable, None);
            }
            let reach_by = Some(self.now + self.config.peer_timeout);
            if let Some(leg) = self.calls.get_mut(key) {
                leg.reach_by = reach_by;
            }
        }
        self.plan_leg(key);
    }

    /// A device of the callee takes the call.
    fn take(&mut self, conn: ConnId, key: LegKey) {
        let device = self.connections.get(conn).and_then(|c| c.session.as_ref()).and_then(|s| s.device);
        let number = self.call_number();
        let all_take = self.probe.canary(Canary::EveryDeviceTakes);
        let Some(leg) = self.calls.get_mut(key) else { return };
        self.probe.reached(Rule::CallTaken);
        leg.stage = Stage::Taking;
        leg.taken_by = Some(number);
        leg.device = Some(Device { id: device, link: LinkOf::Up(conn) });
        let (user, call) = (leg.user.clone(), leg.call(Kind::Accept));
        let elsewhere = v1::Call { end: End::Elsewhere.into(), ..leg.call(Kind::HangUp) };
        for other in self.sessions_of(&user).into_iter().filter(|other| *other != conn && !all_take) {
            self.send_call(other, elsewhere.clone());
        }
        self.plan_leg(key);
        self.pass(key, call);
    }

    /// A device of the callee does not take the call, for all of them.
    fn decline(&mut self, conn: ConnId, key: LegKey) {
        let Some(leg) = self.calls.get(key) else { return };
        let noted = leg.noted(v1::Call { end: End::Declined.into(), ..leg.call(Kind::HangUp) });
        self.finish_leg(key, End::Elsewhere, Some((conn, End::Declined)));
        self.pass_noted(noted);
    }

    /// The device that has a call says something to the other side.
    fn signal(&mut self, key: LegKey, call: &v1::Call) {
        let Some(leg) = self.calls.get(key) else { return };
        self.probe.reached(Rule::CallSignalled);
        self.stats.signals += 1;
        let call = v1::Call { payload: call.payload.clone(), ..leg.call(Kind::Signal) };
        self.pass(key, call);
    }
}
