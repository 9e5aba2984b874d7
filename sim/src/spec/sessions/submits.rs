//! What sessions submit, and hear of it.

use switchboard_proto::v1::{Accepted, RejectCode, Rejected};

use super::{Asked, Question};
use crate::{
    check::{Check, ConnKey, Route, Said},
    spec::Spec,
    wire::session::{Peer, token_of},
};

impl Spec {
    pub(super) fn hears_accepted(&mut self, conn: ConnKey, accepted: &Accepted, said: &[Said]) {
        let user = self.lines[conn as usize].user;
        let asked = |asked: &Asked| matches!(asked, Asked::Submit { id, valid: true, .. } if *id == accepted.message_id);
        if self.talk(conn).and_then(|talk| talk.take(asked)).is_none() {
            return self.fail("protocol", |spec| format!("{} hears {accepted:?} unasked", spec.name(conn)));
        }
        let peer = Peer::read(accepted.conversation.as_ref());
        let place = peer.and_then(|peer| self.logs.at(peer.log(user), accepted.epoch, accepted.seq));
        let is_there = place.is_some_and(|entry| entry.sender == user && entry.id.0 == *accepted.message_id);
        if !is_there {
            self.fail("accepted-is-durable", |spec| {
                let name = token_of(&accepted.message_id).map(|token| token.to_string()).unwrap_or_default();
                format!(
                    "{} hears that {name} is accepted, and no log has it there: {accepted:?}",
                    spec.name(conn)
                )
            });
        }
        let _ = said;
    }

    pub(super) fn hears_rejected(&mut self, conn: ConnKey, rejected: &Rejected, check: &Check) {
        let (code, pending) = (rejected.code(), self.limits.pending);
        // What is turned away at once may have the id of one that waits.
        let asked = |asked: &Asked| match asked {
            Asked::Submit { id, valid, ahead } if *id == rejected.message_id => match code {
                RejectCode::Invalid => !valid,
                RejectCode::Busy => *valid && *ahead >= pending,
                RejectCode::Unspecified
                | RejectCode::NoSuchConversation
                | RejectCode::Forbidden
                | RejectCode::Conflict
                | RejectCode::Unavailable => *valid,
            },
            Asked::Hello | Asked::Submit { .. } | Asked::Fetch { .. } | Asked::Heartbeat { .. } => false,
        };
        let question = self.talk(conn).and_then(|talk| talk.take(asked));
        let Some(Question { since_us, .. }) = question else {
            return self.fail("protocol", |spec| {
                format!("{} hears {rejected:?} unasked, or without cause", spec.name(conn))
            });
        };
        let key = token_of(&rejected.message_id).and_then(|token| check.message(token));
        let route = key.map(|key| check.said[key as usize].route);
        let user = self.lines[conn as usize].user;
        let holds = match code {
            RejectCode::Invalid | RejectCode::Busy => true,
            RejectCode::NoSuchConversation => self.may_be_nowhere(user, route, since_us),
            RejectCode::Unavailable => self.may_be_unavailable(conn, since_us),
            // Of edits, recalls and changes of groups, which nobody submits yet.
            RejectCode::Unspecified | RejectCode::Forbidden | RejectCode::Conflict => false,
        };
        if !holds {
            self.fail("isolation", |spec| format!("{} hears {rejected:?} without cause", spec.name(conn)));
        }
    }

    /// Whether a user may be told that there is no such conversation.
    fn may_be_nowhere(&self, user: u16, route: Option<Route>, since_us: u64) -> bool {
        let known = |user: u16| user < self.limits.known_users;
        match route {
            Some(Route::User(to)) => !known(user) || !known(to),
            Some(Route::Group(group)) => !self.health.was_member(group, user, since_us),
            Some(Route::Relay(_) | Route::Call | Route::Everyone) | None => true,
        }
    }

    pub(super) fn may_be_unavailable(&self, conn: ConnKey, since_us: u64) -> bool {
        let node = self.lines[conn as usize].node;
        !self.health.store_was_well(since_us) || !self.health.node_was_well(node, since_us)
    }
}
