//! What sessions submit, and hear of it.

use switchboard_proto::v1::{Accepted, RejectCode, Rejected};

use super::{Asked, Question};
use crate::{
    check::{Check, ConnKey, Said},
    spec::{Spec, groups::Verdict},
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
            Asked::Submit { id, valid, ahead, .. } if *id == rejected.message_id => match code {
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
        let Some(Question { since_us, asked: Asked::Submit { clock_ms, .. } }) = question else {
            return self.fail("protocol", |spec| {
                format!("{} hears {rejected:?} unasked, or without cause", spec.name(conn))
            });
        };
        let key = token_of(&rejected.message_id).and_then(|token| check.message(token));
        let refused = |verdict: Verdict| {
            key.is_some_and(|key| self.may_be_refused(&check.said[key as usize], verdict, since_us, clock_ms))
        };
        let holds = match code {
            RejectCode::Invalid | RejectCode::Busy => true,
            RejectCode::NoSuchConversation => refused(Verdict::Nowhere),
            RejectCode::Forbidden => refused(Verdict::Forbidden),
            RejectCode::Conflict => refused(Verdict::Conflict),
            RejectCode::Unavailable => self.may_be_unavailable(conn, since_us),
            RejectCode::Unspecified => false,
        };
        if matches!(code, RejectCode::Busy | RejectCode::Unavailable) {
            self.hears_delay(conn, &rejected.message_id);
        }
        if !holds {
            self.fail("isolation", |spec| format!("{} hears {rejected:?} without cause", spec.name(conn)));
        }
    }

    pub(super) fn may_be_unavailable(&self, conn: ConnKey, since_us: u64) -> bool {
        let node = self.lines[conn as usize].node;
        !self.health.store_was_well(since_us) || !self.health.node_was_well(node, since_us)
    }
}
