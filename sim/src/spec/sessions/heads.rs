//! Heads: when sessions are told them, and what they say.

use switchboard_proto::v1::{Conversation, Heads};

use crate::{
    check::ConnKey,
    spec::{Spec, logs::Log},
    wire::session::Peer,
};

impl Spec {
    pub(in crate::spec) fn judge_heads(&mut self, conn: ConnKey, since_us: u64) {
        let Some(talk) = &self.lines[conn as usize].talk else { return };
        // Another Resync since then has a duty of its own.
        let told = talk.heads_us.is_some_and(|heads_us| heads_us >= since_us);
        if !told
            && talk.asked_heads_us <= since_us
            && self.is_served(conn, since_us)
            && self.health.store_was_well(since_us)
        {
            self.fail("protocol", |spec| format!("{} is not told its heads", spec.name(conn)));
        }
    }

    pub(super) fn hears_heads(&mut self, conn: ConnKey, heads: &Heads) {
        let user = self.lines[conn as usize].user;
        let now_us = self.now_us;
        let mut is_first = false;
        let Some(talk) = self.talk(conn) else { return };
        if heads.last {
            is_first = talk.heads_us.replace(now_us).is_none();
        }
        let since_us = talk.hello_us;
        if is_first {
            self.judge_return(conn);
        }
        for head in &heads.heads {
            let of: Option<&Conversation> = head.conversation.as_ref();
            let Some(peer) = Peer::read(of) else {
                return self.fail("protocol", |spec| format!("{} hears a head of nowhere", spec.name(conn)));
            };
            if let Peer::Group(group) = peer
                && !self.logs.has_right(group, user, now_us)
            {
                self.fail("no-leak", |spec| {
                    format!("{} was never a member, and hears of g{group}", spec.name(conn))
                });
            }
            if head.first_seq > 0 {
                self.hears_marks_of(conn, peer, head, since_us);
            }
            let known = self.logs.of_epoch(peer.log(user), head.epoch).map_or(0, Log::head);
            // What was submitted again is told in a frame of its own, and nothing but its place.
            let is_place = heads.heads.len() == 1 && !heads.last;
            let begins = is_place || head.first_seq > 0;
            if head.seq == 0 || head.seq > known || !begins || head.first_seq > head.seq + 1 {
                self.fail("one-order", |spec| {
                    format!("{} hears a head that there is not: {head:?}", spec.name(conn))
                });
            }
        }
    }
}
