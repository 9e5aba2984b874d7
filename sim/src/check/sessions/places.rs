//! Places of what was stored earlier, which sessions are told that may not have it.

use switchboard_engine::{ConnId, FRAME_COST_BYTES};
use switchboard_proto::v1::Head;

use super::pushes::{Fan, Lag};
use crate::{
    check::{Check, ConnKey, Route, pipelines::State},
    wire::session::Peer,
    world::lag_bytes,
};

/// What a frame that tells a place has at the most.
const PLACE_BYTES: u64 = 192;

impl Check {
    /// The place of a message is told to sessions: one that is submitted again, and whose turn it is.
    pub(super) fn tells_place(&mut self, shard: usize, to: &[ConnId], head: &Head, len: u64) {
        let told = to.first().and_then(|id| self.seat(shard, *id)).map(|conn| self.seats[conn as usize].user);
        if let Some((conn, place, fan)) = self.earlier_at(shard, head, told) {
            let instance = &mut self.seats[conn as usize].pipeline[place];
            instance.reach(fan);
            let key = instance.message;
            self.recipients(shard, key, Some(conn), fan);
            return self.mark_pushed(shard, to, key, len);
        }
        // Over the bus it comes as a note; to whom, is up to the engine's own tests yet.
        for id in to {
            let conn = self.seat(shard, *id);
            if !self.cause.placed || !conn.is_some_and(|conn| self.is_online(conn)) {
                self.fail("protocol", |_| format!("{id:?} is told a place unasked: {head:?}"));
            }
        }
    }

    /// Places that came over the bus and were not told may have made sessions lag for which much waits.
    pub(super) fn end_places(&mut self, shard: usize) {
        if !self.cause.placed {
            return;
        }
        let lag_bytes = lag_bytes(&self.settings);
        for slot in 0..self.watches[shard].slots.len() {
            let Some(conn) = self.watches[shard].slots[slot] else { continue };
            let seat = &mut self.seats[conn as usize];
            let full = seat.frames > 0 && seat.cost_bytes + PLACE_BYTES + FRAME_COST_BYTES > lag_bytes;
            if let Some(session) = seat.session.as_mut().filter(|_| full) {
                session.lag = session.lag.max(Lag::Maybe);
            }
        }
    }

    /// The arrival that a head is of, and to whom it is told: this user, of a one-to-one conversation.
    fn earlier_at(&self, shard: usize, head: &Head, told: Option<u16>) -> Option<(ConnKey, usize, Fan)> {
        let peer = Peer::read(head.conversation.as_ref())?;
        let of = |conn: &ConnKey| {
            let seat = &self.seats[*conn as usize];
            let here = (usize::from(seat.shard) == shard).then_some(seat.pipeline.iter().enumerate());
            here.into_iter().flatten().find_map(|(place, instance)| {
                let said = &self.said[instance.message as usize];
                let fan = match (said.route, peer) {
                    (Route::User(to), Peer::User(other)) if other == said.sender && told == Some(to) => {
                        Fan::Sessions
                    }
                    (Route::User(to), Peer::User(other)) if other == to && told == Some(said.sender) => {
                        Fan::Own
                    }
                    (Route::Group(group), Peer::Group(other)) if other == group => Fan::Sessions,
                    (
                        Route::User(_) | Route::Group(_) | Route::Relay(_) | Route::Call | Route::Everyone,
                        Peer::User(_) | Peer::Group(_),
                    ) => return None,
                };
                let is_it = instance.is_earlier && !instance.repeats && !instance.reached(fan);
                let is_there = matches!(instance.state, State::Stored { seq } if seq == head.seq);
                (is_it && is_there).then_some((*conn, place, fan))
            })
        };
        self.cause.touched.iter().find_map(of)
    }
}
