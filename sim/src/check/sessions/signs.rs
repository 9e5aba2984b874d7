//! What sessions are told that is not stored, and that it makes nobody lag.

use switchboard_engine::{ConnId, FRAME_COST_BYTES};

use super::pushes::Lag;
use crate::{check::Check, world::lag_bytes};

/// The share of what may wait for a session that does not lag that may do so for one that is told who types.
const TYPING_LAG_SHARE: u64 = 4;

/// What a frame that says who is here has at the most.
const PRESENCE_BYTES: u64 = 96;

impl Check {
    /// Sessions are told that somebody types: while they read. To whom, the specification judges.
    pub(super) fn tells_typing(&mut self, shard: usize, to: &[ConnId], len: u64) {
        let limit_bytes = lag_bytes(&self.settings) / TYPING_LAG_SHARE;
        if !self.cause.signs {
            self.fail("protocol", |_| format!("{to:?} are told that somebody types, and nobody has said so"));
        }
        for id in to {
            let Some(conn) = self.seat(shard, *id) else { continue };
            let seat = &self.seats[conn as usize];
            let lags = seat.session.as_ref().is_some_and(|session| session.lag == Lag::Yes);
            if !self.is_online(conn) {
                self.fail("protocol", |check| format!("{} is told before its Welcome", check.name(conn)));
            } else if lags || seat.cost_bytes + len + FRAME_COST_BYTES > limit_bytes {
                self.fail("bounded", |check| {
                    format!("{} does not read, and is told that somebody types", check.name(conn))
                });
            }
        }
    }

    /// Sessions are told who is here: those that do not lag. To whom and what, the specification judges.
    pub(super) fn tells_presence(&mut self, shard: usize, to: &[ConnId], len: u64) {
        let lag_bytes = lag_bytes(&self.settings);
        for id in to {
            let Some(conn) = self.seat(shard, *id) else { continue };
            let seat = &self.seats[conn as usize];
            let lags = seat.session.as_ref().is_some_and(|session| session.lag == Lag::Yes);
            let full = seat.frames > 0 && seat.cost_bytes + len + FRAME_COST_BYTES > lag_bytes;
            if !self.is_online(conn) {
                self.fail("protocol", |check| format!("{} is told before its Welcome", check.name(conn)));
            } else if lags || full {
                self.fail("bounded", |check| {
                    format!("{} does not read, and is told who is here", check.name(conn))
                });
            }
        }
    }

    /// Whether what this event has led to may have found sessions that watch others full: they lag then.
    pub(super) fn may_tell_presence(&self) -> bool {
        self.cause.signs || self.is_signalling && self.settings.presence == 1
    }

    /// What was not told of who is here may have made sessions lag for which much waits.
    pub(super) fn end_presence(&mut self, shard: usize) {
        let lag_bytes = lag_bytes(&self.settings);
        for slot in 0..self.watches[shard].slots.len() {
            let Some(conn) = self.watches[shard].slots[slot] else { continue };
            let seat = &mut self.seats[conn as usize];
            let full = seat.frames > 0 && seat.cost_bytes + PRESENCE_BYTES + FRAME_COST_BYTES > lag_bytes;
            if let Some(session) = seat.session.as_mut().filter(|_| full) {
                session.lag = session.lag.max(Lag::Maybe);
            }
        }
    }
}
