//! Why a call may have ended: each reason is one that can be seen.

use switchboard_engine::FRAME_COST_BYTES;
use switchboard_proto::v1::call::{End, Kind};

use super::{CallKey, CallSeen, Move, Part, Ring};
use crate::{check::ConnKey, spec::Spec};

/// What a signal has beyond its payload, at the most.
const SIGNAL_EXTRA_BYTES: u64 = 128;

impl Spec {
    /// A session is told that a call is over.
    pub(super) fn hears_end(&mut self, conn: ConnKey, id: CallKey, ring: Ring, end: End) {
        let part = self.part_of(conn, &id).unwrap_or_default();
        let is_strict = self.is_single(&id) && !part.is_doubtful;
        if is_strict && !part.is_open {
            return self.fail("exactly-once", |spec| {
                format!("{} is told the end {end:?} of a call that it does not have", spec.name(conn))
            });
        }
        if is_strict && !self.end_holds(conn, id, ring, end, part) {
            self.fail("isolation", |spec| {
                format!("{} is told that a call is over without cause: {end:?}", spec.name(conn))
            });
        }
        let now_us = self.now_us;
        if let Some(part) = self.part(conn, id) {
            (part.is_open, part.closed_us) = (false, Some(now_us));
        }
        if let Some(seen) = self.calls.calls.get_mut(&id)
            && end != End::Elsewhere
        {
            seen.over_us.get_or_insert(now_us);
        }
    }

    fn end_holds(&self, conn: ConnKey, id: CallKey, ring: Ring, end: End, part: Part) -> bool {
        let Some(seen) = self.calls.calls.get(&id) else { return false };
        let user = self.lines[conn as usize].user;
        let said = |is: &dyn Fn(&Move) -> bool| seen.moves.iter().any(is);
        match end {
            End::HungUp => said(&|step| step.kind == Kind::HangUp),
            End::Declined => said(&|step| {
                step.user == ring.callee
                    && matches!(step.kind, Kind::Decline | Kind::HangUp)
                    && (user == ring.caller || step.conn == conn)
            }),
            End::Elsewhere => {
                user == ring.callee && said(&|step| step.user == ring.callee && step.conn != conn)
            }
            End::TimedOut => {
                let late = self.now_us + 1000 >= ring.at_us + self.limits.ring_timeout_us;
                part.active_us.is_none() && (late || !self.health.nodes_were_well(ring.at_us))
            }
            End::Busy => part.active_us.is_none() && self.busy_holds(&id, ring, user),
            End::PeerGone => self.peer_gone_holds(conn, ring, seen),
            End::Unreachable => self.unreachable_holds(ring),
            End::Unspecified | End::NoSuchCall => false,
        }
    }

    /// Whether one of the two is in another call. Of two who ring each other the call with the smaller id lives.
    fn busy_holds(&self, id: &CallKey, ring: Ring, user: u16) -> bool {
        let bound_us = self.limits.bound_us;
        if !self.was_welcome(ring) || !self.was_calm(ring.at_us) {
            return true;
        }
        // The other side learns of it once the store has answered, and may be in a call by then that has begun later.
        let well = self.health.store_was_well(ring.at_us);
        let rung_us = ring.at_us + if well { bound_us } else { self.limits.answer_us };
        self.calls.calls.iter().any(|(other_id, other)| {
            other_id != id
                && other.rings.iter().any(|with| {
                    let ours = [ring.caller, ring.callee];
                    let meets = ours.contains(&with.caller) || ours.contains(&with.callee);
                    let is_glare = (with.caller, with.callee) == (ring.callee, ring.caller)
                        || (with.caller, with.callee) == (ring.caller, ring.callee);
                    let is_over = other.over_us.is_some_and(|at_us| at_us + 2 * bound_us < ring.at_us);
                    let doubtful = other.rings.len() > 1 || !self.was_calm(with.at_us);
                    let wins = other_id < id || other.first_accept_us().is_some();
                    meets
                        && (doubtful
                            || !is_over
                                && if is_glare {
                                    wins
                                } else {
                                    // Each server where the callee is says for itself whether it is in a call.
                                    let theirs = [with.caller, with.callee].contains(&ring.callee);
                                    let concerns = user == ring.caller || (self.limits.has_peers && theirs);
                                    concerns && with.at_us <= rung_us
                                })
                })
        })
    }

    /// Whether who rings was listened to at once.
    pub(super) fn was_welcome(&self, ring: Ring) -> bool {
        self.lines[ring.conn as usize].welcomed_us.is_some_and(|at_us| at_us <= ring.at_us)
    }

    /// Whether the other side's device was away for the grace, or has so much waiting that a signal found no room.
    fn peer_gone_holds(&self, conn: ConnKey, ring: Ring, seen: &CallSeen) -> bool {
        if !self.was_calm(ring.at_us) {
            return true;
        }
        let user = self.lines[conn as usize].user;
        let takers = seen.moves.iter().filter(|step| step.kind == Kind::Accept && step.user == ring.callee);
        let takers = takers.map(|step| step.conn);
        let theirs: Vec<ConnKey> =
            if user == ring.caller { takers.collect() } else { core::iter::once(ring.conn).collect() };
        let devices: Vec<Option<u64>> = theirs.iter().map(|conn| self.device(*conn)).collect();
        let full = |conn: &ConnKey| {
            let talk = self.lines[*conn as usize].talk.as_ref();
            let needed = seen.longest_bytes + SIGNAL_EXTRA_BYTES + FRAME_COST_BYTES;
            talk.is_some_and(|talk| talk.peak_bytes + needed > self.limits.lag_bytes)
        };
        let conns = (0..self.lines.len() as ConnKey)
            .filter(|conn| self.device(*conn).is_some() && devices.contains(&self.device(*conn)));
        let conns: Vec<ConnKey> = conns.collect();
        if seen.longest_bytes > 0 && conns.iter().chain([&conn]).any(full) {
            return true;
        }
        let grace_us = self.limits.call_grace_us;
        conns.iter().any(|gone| {
            let line = &self.lines[*gone as usize];
            let Some(ended_us) = line.ended_us else { return false };
            let is_back = conns.iter().any(|back| {
                let back_line = &self.lines[*back as usize];
                let in_time = back_line.welcomed_us.is_some_and(|at_us| at_us <= ended_us + grace_us);
                let same = back > gone && self.device(*back) == self.device(*gone);
                same && back_line.shard == line.shard && in_time
            });
            ended_us + grace_us <= self.now_us + 1000 && !is_back
        })
    }

    /// Whether it is not certain that somebody could be rung.
    fn unreachable_holds(&self, ring: Ring) -> bool {
        let Ring { caller, callee, at_us, .. } = ring;
        let might = self.limits.calls_are_limited
            || !self.was_welcome(ring)
            || !self.was_calm(at_us)
            || !self.health.store_was_well(at_us)
            || !self.surely_knows(caller, callee, at_us);
        might
            || self
                .present
                .get(callee as usize)
                .is_none_or(|present| !present.iter().any(|conn| self.could_ring(*conn, at_us)))
    }

    /// Whether a session was there before.
    pub(super) fn could_ring(&self, conn: ConnKey, since_us: u64) -> bool {
        let line = &self.lines[conn as usize];
        line.open && line.talk.is_some() && line.welcomed_us.is_some_and(|at_us| at_us <= since_us)
    }
}
