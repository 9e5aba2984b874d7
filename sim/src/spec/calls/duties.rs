//! What has to become of calls in time: they ring, signals arrive, and none hangs on any side.

use switchboard_proto::v1::call::Kind;

use super::{CallKey, Part, Ring};
use crate::{
    check::ConnKey,
    spec::{Spec, duties::Duty},
    wire::Token,
};

impl Spec {
    /// A call has begun for a connection: it is looked at until it ends.
    pub(super) fn watch_ring(&mut self, conn: ConnKey, id: CallKey) {
        let now_us = self.now_us;
        self.due_then(now_us + 2 * self.limits.bound_us, Duty::Rung { conn, id, since_us: now_us });
        let limit_us = self.limits.answer_us + self.limits.peer_timeout_us + self.limits.bound_us;
        self.due_then(now_us + limit_us, Duty::Reached { conn, id, since_us: now_us });
        self.due_then(now_us + self.patience_us(), Duty::Hangs { conn, id });
    }

    /// How long a call may hang on one side when nothing is wrong any more.
    fn patience_us(&self) -> u64 {
        2 * self.limits.call_grace_us + self.limits.answer_us + self.limits.bound_us
    }

    /// The ring of a connection that it has said then and that goes on.
    fn own_ring(&self, conn: ConnKey, id: &CallKey, since_us: u64) -> Option<(Ring, Part)> {
        let seen = self.calls.calls.get(id)?;
        let ring = seen.single().filter(|ring| ring.conn == conn && ring.at_us == since_us)?;
        let part = self.part_of(conn, id)?;
        let goes_on = part.is_open && !part.is_doubtful && seen.moves.is_empty() && seen.over_us.is_none();
        (goes_on && self.lines[conn as usize].open && self.was_welcome(ring)).then_some((ring, part))
    }

    /// All sessions of who is rung have heard it.
    pub(in crate::spec) fn judge_rung(&mut self, conn: ConnKey, id: CallKey, since_us: u64) {
        let Some((ring, _)) = self.own_ring(conn, &id, since_us) else { return };
        let certain = self.was_calm(since_us)
            && !self.limits.calls_are_limited
            && self.health.store_was_well(since_us)
            && self.is_served(conn, since_us)
            && !self.lines[conn as usize].refused
            && self.surely_knows(ring.caller, ring.callee, since_us);
        let Some(present) = self.present.get(ring.callee as usize).filter(|_| certain) else { return };
        let deaf = present.iter().copied().find(|other| {
            self.could_ring(*other, since_us)
                && self.is_healthy(*other, since_us)
                && self.part_of(*other, &id).is_none()
        });
        if let Some(deaf) = deaf {
            self.unheard(since_us, |spec| {
                format!("{} does not hear that u{} rings", spec.name(deaf), ring.caller)
            });
        }
    }

    /// Nobody rings for long at somebody who is not there.
    pub(in crate::spec) fn judge_reached(&mut self, conn: ConnKey, id: CallKey, since_us: u64) {
        let Some((ring, _)) = self.own_ring(conn, &id, since_us) else { return };
        let is_there = self.lines.iter().any(|line| {
            line.user == ring.callee
                && line.talk.is_some()
                && line.gone_us.is_none_or(|at_us| at_us >= since_us)
        });
        if !is_there && self.is_served(conn, since_us) {
            self.fail("bounded", |spec| {
                format!("{} rings at u{}, who is not there", spec.name(conn), ring.callee)
            });
        }
    }

    /// A session has said of a call what nobody can: it is told so.
    pub(super) fn expects_no_such_call(&mut self, conn: ConnKey, id: Option<CallKey>) {
        let now_us = self.now_us;
        let duty = Duty::Refused { conn, id, since_us: now_us };
        self.due_then(now_us + 2 * self.limits.bound_us, duty);
    }

    pub(in crate::spec) fn judge_refused(&mut self, conn: ConnKey, id: Option<CallKey>, since_us: u64) {
        let line = &self.lines[conn as usize];
        let heard = match (&line.talk, id) {
            (Some(talk), Some(id)) => talk.calls.get(&id).is_some_and(|part| part.is_doubtful),
            (Some(talk), None) => talk.malformed_calls.front().is_none_or(|at_us| *at_us > since_us),
            (None, _) => true,
        };
        let certain = self.could_ring(conn, since_us) && self.is_served(conn, since_us) && !line.refused;
        if !heard && certain {
            self.unheard(since_us, |spec| {
                format!("{} says of a call what nobody can, and is not told so", spec.name(conn))
            });
        }
    }

    /// A call does not hang: it rings no longer than it may, and is on only while the other side has it too.
    pub(in crate::spec) fn judge_hang(&mut self, conn: ConnKey, id: CallKey) {
        let Some(part) = self.part_of(conn, &id).filter(|part| part.is_open && !part.is_doubtful) else {
            return;
        };
        if !self.lines[conn as usize].open {
            return;
        }
        if let Some(text) = self.hang(conn, &id, part) {
            return self.fail("bounded", |spec| format!("{} has a call that hangs: {text}", spec.name(conn)));
        }
        self.due_then(self.now_us + self.patience_us(), Duty::Hangs { conn, id });
    }

    fn hang(&self, conn: ConnKey, id: &CallKey, part: Part) -> Option<&'static str> {
        let (now_us, patience_us) = (self.now_us, self.patience_us());
        let ring = self.calls.calls.get(id)?.single()?;
        match part.active_us {
            None => {
                let limit_us = self.limits.ring_timeout_us + 2 * self.limits.peer_timeout_us + patience_us;
                let late = part.since_us + limit_us < now_us;
                let calm = self.was_calm(now_us.saturating_sub(limit_us));
                (late && calm && self.is_served(conn, now_us - limit_us)).then_some("it rings for ever")
            }
            Some(active_us) => {
                let since_us = now_us.saturating_sub(patience_us);
                let calm = active_us < since_us && self.is_served(conn, since_us);
                let user = self.lines[conn as usize].user;
                let other = if user == ring.caller { ring.callee } else { ring.caller };
                let alone = !self
                    .lines
                    .iter()
                    .enumerate()
                    .any(|(key, line)| line.user == other && self.may_have(key as ConnKey, id, since_us));
                (calm && alone).then_some("nobody has the other side")
            }
        }
    }

    /// Whether a connection may have had a part in a call at some moment since then.
    fn may_have(&self, conn: ConnKey, id: &CallKey, since_us: u64) -> bool {
        let line = &self.lines[conn as usize];
        if line.talk.is_none() || line.gone_us.is_some_and(|at_us| at_us < since_us) {
            return false;
        }
        match self.part_of(conn, id) {
            Some(part) => part.is_doubtful || part.closed_us.is_none_or(|at_us| at_us >= since_us),
            // It would have been told, if it could hear.
            None => !self.is_healthy(conn, since_us),
        }
    }

    /// A signal of a call that both sides have is heard by the other side.
    pub(in crate::spec) fn judge_signal(&mut self, token: Token) {
        let Some(signal) = self.calls.signals.get(&token).copied() else { return };
        let (id, from, at_us) = (signal.id, signal.conn, signal.at_us);
        let Some(ring) = self.calls.calls.get(&id).and_then(super::CallSeen::single) else { return };
        let has = |conn: ConnKey| {
            let part = self.part_of(conn, &id);
            part.is_some_and(|part| {
                part.is_open
                    && !part.is_doubtful
                    && part.active_us.is_some_and(|active_us| active_us <= at_us)
            })
        };
        let user = self.lines[from as usize].user;
        let other = if user == ring.caller { ring.callee } else { ring.caller };
        let Some(present) = self.present.get(other as usize) else { return };
        if !has(from) || !self.is_served(from, at_us) || !self.was_calm(at_us) {
            return;
        }
        let deaf = present.iter().copied().find(|conn| {
            has(*conn) && self.is_healthy(*conn, at_us) && !self.calls.heard.contains(&(*conn, token))
        });
        if let Some(deaf) = deaf {
            self.unheard(at_us, |spec| format!("{} does not hear the signal {token}", spec.name(deaf)));
        }
    }

    /// A device that has come back in time to where it was has been told of its call before its heads.
    pub(in crate::spec) fn judge_return(&mut self, conn: ConnKey) {
        let line = &self.lines[conn as usize];
        let (Some(device), Some(welcomed_us)) = (self.device(conn), line.welcomed_us) else { return };
        let before = self.lines.iter().enumerate().take(conn as usize).rev().find(|(other, known)| {
            known.shard == line.shard && self.device(*other as ConnKey) == Some(device)
        });
        let Some((_, was)) = before else { return };
        let in_time = was.ended_us.is_some_and(|at_us| welcomed_us < at_us + self.limits.call_grace_us);
        let Some(talk) = was.talk.as_ref().filter(|_| in_time) else { return };
        let forgotten = talk.calls.iter().find(|(id, part)| {
            let Some(seen) = self.calls.calls.get(*id) else { return false };
            let Some(ring) = seen.single() else { return false };
            let user = line.user;
            let other = if user == ring.caller { ring.callee } else { ring.caller };
            let has = |key: &ConnKey| {
                self.part_of(*key, id).is_some_and(|part| part.is_open && part.active_us.is_some())
            };
            let ended = seen.moves.iter().any(|step| step.kind != Kind::Accept) || seen.over_us.is_some();
            part.is_open
                && !part.is_doubtful
                && part.active_us.is_some()
                && !ended
                && seen.longest_bytes == 0
                && self.was_calm(ring.at_us)
                && self.present.get(other as usize).is_some_and(|present| present.iter().any(has))
                && self.part_of(conn, id).is_none()
        });
        if forgotten.is_some() {
            self.fail("delivery", |spec| {
                format!("{} comes back in time, and is not told of its call", spec.name(conn))
            });
        }
    }
}
