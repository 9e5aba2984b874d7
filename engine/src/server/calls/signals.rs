//! What one side of a call tells the other: here at once, and to other engines over the bus.

use bytes::Bytes;
use switchboard_proto::v1::{
    self, NotedCall,
    call::{End, Kind},
    note,
};

use super::{CallId, Leg, LegKey, Stage};
use crate::{
    bus::Topic,
    id::UserId,
    probe::{Canary, Probe, Rule},
    server::Server,
};

impl<P: Probe> Server<P> {
    /// A random number that tells a callee's device from the others.
    pub(super) fn call_number(&mut self) -> [u8; 16] {
        let mut number = [0; 16];
        self.rng.fill_bytes(&mut number);
        number
    }

    /// Tells the other side of a leg something.
    pub(super) fn pass(&mut self, key: LegKey, call: v1::Call) {
        let Some(noted) = self.calls.get(key).map(|leg| leg.noted(call)) else { return };
        self.pass_noted(noted);
    }

    /// The same, of a leg that may be over.
    pub(super) fn pass_noted(&mut self, noted: NotedCall) {
        let Some(to) = noted.call.as_ref().and_then(|call| UserId::new(&call.user).ok()) else { return };
        if self.config.peers && !self.probe.canary(Canary::CallNotNoted) {
            self.tell(Topic::User(to.clone()), note::Body::Call(noted.clone()));
        }
        self.apply_call(&to, noted);
    }

    /// Another engine says something of a call. Returns whether it is understood.
    pub(in crate::server) fn call_noted(&mut self, topic: &Topic, noted: NotedCall) -> bool {
        let to = noted.call.as_ref().and_then(|call| UserId::new(&call.user).ok());
        let Some(to) = to.filter(|to| *topic == Topic::User(to.clone())) else { return false };
        self.apply_call(&to, noted)
    }

    /// What is said to a user's side of a call changes it.
    fn apply_call(&mut self, to: &UserId, noted: NotedCall) -> bool {
        let NotedCall { from, call: Some(call), taken_by, alive } = noted else { return false };
        let (Ok(from), Ok(id)) = (UserId::new(&from), CallId::try_from(call.call_id.as_ref())) else {
            return false;
        };
        let (kind, end) = (call.kind(), call.end());
        let leg = self.calls.of(to.as_str(), &id);
        let key = leg.filter(|key| self.calls.get(*key).is_some_and(|leg| leg.peer == from));
        if let Some(leg) = key.and_then(|key| self.calls.get_mut(key)) {
            leg.heard_at = self.now;
        }
        match (key, kind) {
            (None, Kind::Ring) if !alive => self.rung(to, &from, id, call.video),
            (Some(key), Kind::Ring) => self.give_sign(key),
            (Some(key), Kind::Accept) => self.accept_told(key, &taken_by),
            (Some(key), Kind::Signal) => self.signal_told(key, &taken_by, call),
            (Some(key), Kind::HangUp | Kind::Decline) => self.end_told(key, &taken_by, end),
            // It is there.
            (Some(key), Kind::Unspecified) => {
                if let Some(leg) = self.calls.get_mut(key) {
                    leg.reach_by = None;
                }
                self.plan_leg(key);
            }
            // Of a call that is over, or at another engine.
            (
                None,
                Kind::Unspecified | Kind::Ring | Kind::Accept | Kind::Decline | Kind::HangUp | Kind::Signal,
            ) => {}
        }
        true
    }

    /// A user is rung.
    fn rung(&mut self, to: &UserId, from: &UserId, id: CallId, video: bool) {
        if self.sessions_of(to).is_empty() || self.calls.ended.contains(&id) {
            return;
        }
        if let Some(key) = self.calls.key(to.as_str()) {
            if !self.gives_way(key, from, &id) && !self.probe.canary(Canary::BusyIgnored) {
                self.probe.reached(Rule::CallEndBusy);
                let call_id = Bytes::copy_from_slice(&id);
                let user = from.as_str().into();
                let call = v1::Call {
                    call_id,
                    user,
                    kind: Kind::HangUp.into(),
                    end: End::Busy.into(),
                    ..v1::Call::default()
                };
                let from = to.as_str().into();
                return self.pass_noted(NotedCall { from, call: Some(call), ..NotedCall::default() });
            }
            self.hang_up(key, End::Busy, End::Busy);
            if self.sessions_of(to).is_empty() {
                // There was no room to tell its device so: it was closed, and was the last.
                return;
            }
        }
        let leg = Leg {
            user: to.clone(),
            peer: from.clone(),
            id,
            video,
            is_caller: false,
            stage: Stage::Ringing,
            device: None,
            taken_by: None,
            ring_until: self.now + self.config.ring_timeout + self.config.peer_timeout,
            reach_by: None,
            heard_at: self.now,
            sign_at: self.now,
            due: None,
        };
        let rings = leg.call(Kind::Ring);
        let Some(key) = self.add_leg(leg) else { return };
        self.probe.reached(Rule::CallRinging);
        self.plan_leg(key);
        if self.config.peers {
            self.give_sign(key);
        }
        let first_only = self.probe.canary(Canary::OneDeviceRings);
        for conn in self.sessions_of(to).into_iter().take(if first_only { 1 } else { usize::MAX }) {
            self.send_call(conn, rings.clone());
        }
    }

    /// To the caller: a device takes the call. To a callee's device: one has it.
    fn accept_told(&mut self, key: LegKey, taken_by: &[u8]) {
        let Some(leg) = self.calls.get(key) else { return };
        let is_taker = leg.taken_by.as_ref().is_some_and(|number| number[..] == *taken_by);
        match (leg.is_caller, leg.stage) {
            (true, Stage::Ringing) => {
                let Ok(number) = <[u8; 16]>::try_from(taken_by) else { return };
                let Some(leg) = self.calls.get_mut(key) else { return };
                self.probe.reached(Rule::CallAccepted);
                (leg.stage, leg.taken_by, leg.reach_by) = (Stage::Active, Some(number), None);
                self.tell_accepted(key);
            }
            (true, Stage::Active) if is_taker => {
                let call = leg.call(Kind::Accept);
                self.pass(key, call);
            }
            (true, Stage::Active) => {
                // Another one was faster. Only this one is told.
                self.probe.reached(Rule::CallTakenTwice);
                let call = v1::Call { end: End::Elsewhere.into(), ..leg.call(Kind::HangUp) };
                let taken_by = Bytes::copy_from_slice(taken_by);
                let noted = NotedCall { taken_by, ..leg.noted(call) };
                self.pass_noted(noted);
            }
            (false, Stage::Taking) if is_taker => {
                if let Some(leg) = self.calls.get_mut(key) {
                    leg.stage = Stage::Active;
                }
                let Some(leg) = self.calls.get(key) else { return };
                let (conn, call) = (leg.conn(), leg.call(Kind::Accept));
                self.plan_leg(key);
                if let Some(conn) = conn {
                    self.send_call(conn, call);
                }
            }
            (false, Stage::Ringing | Stage::Taking | Stage::Active) if !is_taker => {
                self.finish_leg(key, End::Elsewhere, None);
            }
            (true, Stage::Asking(_) | Stage::Taking) | (false, _) => {}
        }
    }

    /// Confirms to the callee that the device has the call, and tells the caller's.
    fn tell_accepted(&mut self, key: LegKey) {
        let Some(leg) = self.calls.get(key) else { return };
        let (conn, call) = (leg.conn(), leg.call(Kind::Accept));
        self.plan_leg(key);
        if let Some(conn) = conn {
            self.send_call(conn, call.clone());
        }
        self.pass(key, call);
    }

    /// The other side's device says something.
    fn signal_told(&mut self, key: LegKey, taken_by: &[u8], call: v1::Call) {
        let Some(leg) = self.calls.get_mut(key) else { return };
        let is_of_it = leg.taken_by.as_ref().is_some_and(|number| number[..] == *taken_by);
        if !is_of_it && !self.probe.canary(Canary::SignalBeforeAccept) {
            return;
        }
        let is_news = leg.stage == Stage::Taking;
        if is_news {
            // What confirms it has been overtaken.
            leg.stage = Stage::Active;
        }
        let Some(leg) = self.calls.get(key) else { return };
        // One whose link is lost may miss something: those who talk over it see that.
        let Some(conn) = leg.conn() else { return };
        let (accept, call) =
            (leg.call(Kind::Accept), v1::Call { payload: call.payload, ..leg.call(Kind::Signal) });
        if is_news {
            self.send_call(conn, accept);
            self.plan_leg(key);
        }
        if self.lags_behind(conn, call.payload.len()) {
            // Who floods the other side may not have it disconnected, and a signal that is missing ends the call anyway.
            self.probe.reached(Rule::SignalWithoutRoom);
            self.stats.signals_dropped += 1;
            return self.hang_up(key, End::PeerGone, End::PeerGone);
        }
        self.send_call(conn, call);
    }

    /// The other side has ended the call.
    fn end_told(&mut self, key: LegKey, taken_by: &[u8], end: End) {
        let Some(leg) = self.calls.get(key) else { return };
        let is_of_it = leg.taken_by.as_ref().is_some_and(|number| number[..] == *taken_by);
        if leg.is_caller {
            // A device that does not have it any more has no say.
            if leg.stage == Stage::Active && !is_of_it {
                return;
            }
            let was_ringing = leg.stage != Stage::Active;
            let others = if end == End::Declined { End::Elsewhere } else { end };
            let noted = leg.noted(v1::Call { end: others.into(), ..leg.call(Kind::HangUp) });
            self.finish_leg(key, end, None);
            if was_ringing {
                self.pass_noted(noted);
            }
        } else if taken_by.is_empty() || is_of_it {
            self.finish_leg(key, end, None);
        }
    }

    /// Whether so much waits for a session that a signal for it has no room.
    fn lags_behind(&self, conn: crate::id::ConnId, len: usize) -> bool {
        let limit_bytes = self.config.limits.lag_bytes;
        let outbox = self.connections.get(conn).map(|connection| &connection.outbox);
        outbox.is_none_or(|outbox| outbox.unflushed_frames() > 0 && !outbox.has_room(len, limit_bytes))
    }
}
