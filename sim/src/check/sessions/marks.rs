//! Marks, which sessions say and are told.

use switchboard_engine::{ConnId, FRAME_COST_BYTES, UserId};

use super::pushes::Lag;
use crate::{
    check::{Check, ConnKey, Use},
    wire,
    world::lag_bytes,
};

/// What a frame that tells marks has at the most.
const MARKED_BYTES: u64 = 192;

impl Check {
    /// The engine has marks of a user stored: for one of the sessions that may have said them.
    pub(crate) fn stores_marks(&mut self, ticket: u64, user: &UserId) -> Option<Use> {
        let user = wire::index(user.as_str());
        let of_user = |conn: &&ConnKey| Some(self.seats[**conn as usize].user) == user;
        let Some(conn) = self.cause.marking.iter().find(of_user).copied() else {
            self.fail("protocol", |_| format!("marks of {user:?} are stored, and nobody has said any"));
            return None;
        };
        self.session(conn)?.marks.push(ticket);
        Some(Use::Marks(conn))
    }

    pub(crate) fn marks_answered(&mut self, conn: ConnKey, ticket: u64) {
        if let Some(session) = self.session(conn) {
            session.marks.retain(|open| *open != ticket);
        }
        // What has come meanwhile is stored next.
        self.cause.marking.push(conn);
        self.cause.marked = true;
    }

    /// Marks are told to sessions. To whom, is up to the engine's own tests yet.
    pub(super) fn tells_marks(&mut self, shard: usize, to: &[ConnId]) {
        for id in to {
            let conn = self.seat(shard, *id);
            if !self.cause.marked || !conn.is_some_and(|conn| self.is_online(conn)) {
                self.fail("protocol", |_| format!("marks are told to {id:?} at the wrong time"));
            }
        }
    }

    /// Marks that were not told may have made sessions lag for which much waits.
    pub(super) fn end_marks(&mut self, shard: usize) {
        let lag_bytes = lag_bytes(&self.settings);
        for slot in 0..self.watches[shard].slots.len() {
            let Some(conn) = self.watches[shard].slots[slot] else { continue };
            let seat = &mut self.seats[conn as usize];
            let full = seat.frames > 0 && seat.cost_bytes + MARKED_BYTES + FRAME_COST_BYTES > lag_bytes;
            if let Some(session) = seat.session.as_mut().filter(|_| full) {
                session.lag = session.lag.max(Lag::Maybe);
            }
        }
    }
}
