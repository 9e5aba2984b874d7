//! What sessions are told that is not stored, and that it makes nobody lag.

use switchboard_engine::{ConnId, FRAME_COST_BYTES};

use super::pushes::Lag;
use crate::{check::Check, world::lag_bytes};

/// The share of what may wait for a session that does not lag that may do so for one that is told who types.
const TYPING_LAG_SHARE: u64 = 4;

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
}
