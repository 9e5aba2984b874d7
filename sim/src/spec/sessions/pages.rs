//! The parts of logs that sessions ask for.

use switchboard_proto::v1::{Page, RejectCode, Unfetched};

use super::{Asked, Question, deliveries::Way};
use crate::{
    check::{Check, ConnKey},
    spec::{Spec, logs::Log},
    wire::session::Peer,
};

impl Spec {
    pub(super) fn hears_page(&mut self, conn: ConnKey, page: &Page, check: &Check) {
        let asked =
            |asked: &Asked| matches!(asked, Asked::Fetch { fetch_id, .. } if *fetch_id == page.fetch_id);
        let question = self.talk(conn).and_then(|talk| talk.take(asked));
        let Some(Question { asked: Asked::Fetch { of, from_seq, backwards, limit, head, .. }, since_us }) =
            question
        else {
            return self.fail("protocol", |spec| format!("{} hears a page unasked", spec.name(conn)));
        };
        let user = self.lines[conn as usize].user;
        let Some(peer) = of.filter(|of| Peer::read(page.conversation.as_ref()) == Some(*of)) else {
            return self.fail("no-leak", |spec| {
                format!(
                    "{} asks for a part of {of:?}, and hears one of {:?}",
                    spec.name(conn),
                    page.conversation
                )
            });
        };
        if let Peer::Group(group) = peer
            && !self.logs.has_right(group, user, self.now_us)
        {
            self.fail("no-leak", |spec| {
                format!("{} was never a member, and reads g{group}", spec.name(conn))
            });
        }
        let right = match peer {
            Peer::User(_) => page.first_seq == 1,
            Peer::Group(group) => self.logs.is_right(group, user, page.first_seq, since_us),
        };
        if !right {
            self.fail("no-leak", |spec| {
                format!("{} reads {peer} from {} on", spec.name(conn), page.first_seq)
            });
        }
        let log = peer.log(user);
        let newest = self.logs.of_epoch(log, page.epoch).map_or(0, Log::head);
        // Who has left or joined meanwhile reads up to there, or beyond.
        let changed = matches!(peer, Peer::Group(group) if self.logs.has_changed(group, user, since_us));
        let shown = self.logs.head_for(log, user).unwrap_or(0);
        let heads = if changed { 0..=newest } else { head..=shown };
        let is_head = heads.contains(&page.head_seq) && (page.epoch == 0) == (page.head_seq == 0);
        let places: Vec<u64> = page.messages.iter().map(|message| message.seq).collect();
        let limit = if limit == 0 { self.limits.page_messages } else { limit.min(self.limits.page_messages) };
        let in_a_row = places.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let ends = if backwards {
            let last = if from_seq == 0 { page.head_seq } else { from_seq.min(page.head_seq) };
            places.last().map_or(last < page.first_seq, |place| *place == last)
        } else {
            let first = from_seq.max(page.first_seq);
            places.first().map_or(first > page.head_seq, |place| *place == first)
        };
        let readable = places.first().is_none_or(|place| *place >= page.first_seq);
        if !(is_head && in_a_row && ends && readable) || places.len() as u64 > limit {
            self.fail("one-order", |spec| {
                format!(
                    "{} asks for {peer} from {from_seq}, and hears {places:?} of {}",
                    spec.name(conn),
                    page.head_seq
                )
            });
        }
        for message in &page.messages {
            if let Peer::Group(group) = peer
                && !self.logs.may_read(group, user, message.seq)
            {
                self.fail("no-leak", |spec| format!("{} reads {peer}/{}", spec.name(conn), message.seq));
            }
            let way = Way::Read { since_us };
            let Some(key) = self.stands_there(conn, peer, page.epoch, message, way, check) else { continue };
            self.note_heard(self.lines[conn as usize].client, key);
        }
    }

    pub(super) fn hears_unfetched(&mut self, conn: ConnKey, unfetched: &Unfetched) {
        let asked =
            |asked: &Asked| matches!(asked, Asked::Fetch { fetch_id, .. } if *fetch_id == unfetched.fetch_id);
        let question = self.talk(conn).and_then(|talk| talk.take(asked));
        let Some(Question { asked: Asked::Fetch { of, ahead, .. }, since_us }) = question else {
            return self.fail("protocol", |spec| format!("{} hears {unfetched:?} unasked", spec.name(conn)));
        };
        let user = self.lines[conn as usize].user;
        let holds = match unfetched.code() {
            RejectCode::Invalid => of.is_none(),
            RejectCode::NoSuchConversation => match of {
                Some(Peer::Group(group)) => !self.logs.has_right(group, user, since_us),
                Some(Peer::User(_)) | None => false,
            },
            RejectCode::Unavailable => of.is_some() && self.may_be_unavailable(conn, since_us),
            // Or there is no room for a page: how full an outbox is, only the engine's shadow knows.
            RejectCode::Busy => {
                let talk = self.lines[conn as usize].talk.as_ref();
                of.is_some() && (ahead >= self.limits.fetches || talk.is_some_and(|talk| talk.peak_bytes > 0))
            }
            // Of what is submitted.
            RejectCode::Unspecified | RejectCode::Forbidden | RejectCode::Conflict => false,
        };
        if !holds {
            self.fail("isolation", |spec| format!("{} hears {unfetched:?} without cause", spec.name(conn)));
        }
    }
}
