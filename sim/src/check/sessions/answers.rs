//! That every question of a session is answered in the event in which its turn comes.

use switchboard_proto::v1::{Accepted, RejectCode, Rejected};

use crate::{
    check::{Check, ConnKey, Phase, pipelines::State},
    wire::session,
};

impl Check {
    /// An answer has to leave in this event.
    pub(crate) fn owes_answer(&mut self, conn: ConnKey) {
        if let Some(session) = self.session(conn) {
            session.owed += 1;
        }
        self.cause.answering.push(conn);
    }

    pub(super) fn answers_at_once(&mut self, conn: ConnKey) {
        let Some(session) = self.session(conn) else { return };
        let owed = session.owed;
        session.owed = owed.saturating_sub(1);
        if owed == 0 {
            self.fail("protocol", |check| format!("{} is answered what it has not asked", check.name(conn)));
        }
    }

    /// Whether a session's submit is turned away, as too many wait.
    pub(crate) fn is_busy(&mut self, conn: ConnKey) -> bool {
        let seat = &self.seats[conn as usize];
        let busy =
            seat.session.is_some() && seat.pipeline.len() as u64 >= self.settings.pending_per_connection;
        if busy && seat.phase == Phase::Online {
            self.owes_answer(conn);
        }
        busy
    }

    pub(super) fn accepts(&mut self, conn: ConnKey, accepted: &Accepted) {
        let Some(state) = self.answers_submit(conn, &accepted.message_id) else { return };
        if !matches!(state, State::Stored { seq } if seq == accepted.seq) {
            self.fail("accepted-is-durable", |check| {
                format!("{} is told that {accepted:?}, and the log has it not", check.name(conn))
            });
        }
    }

    pub(super) fn rejects(&mut self, conn: ConnKey, rejected: &Rejected) {
        match rejected.code() {
            RejectCode::Invalid | RejectCode::Busy => self.answers_at_once(conn),
            RejectCode::Unspecified
            | RejectCode::NoSuchConversation
            | RejectCode::Forbidden
            | RejectCode::Conflict
            | RejectCode::Unavailable => {
                let Some(state) = self.answers_submit(conn, &rejected.message_id) else { return };
                if state != State::Failed {
                    self.fail("protocol", |check| {
                        format!("{} is rejected what the store has taken: {rejected:?}", check.name(conn))
                    });
                }
            }
        }
    }

    /// The oldest submit of this id that a session waits for is answered.
    fn answers_submit(&mut self, conn: ConnKey, id: &[u8]) -> Option<State> {
        let key = session::token_of(id).and_then(|token| self.message(token));
        let pipeline = &mut self.seats[conn as usize].pipeline;
        let found = pipeline.iter().position(|instance| instance.awaited && Some(instance.message) == key);
        let Some(place) = found else {
            self.fail("protocol", |check| format!("{} is answered what it has not asked", check.name(conn)));
            return None;
        };
        pipeline[place].awaited = false;
        let state = pipeline[place].state;
        if pipeline.iter().take(place).any(|earlier| earlier.awaited) {
            self.fail("one-order", |check| format!("{} is answered out of order", check.name(conn)));
        }
        Some(state)
    }
}
