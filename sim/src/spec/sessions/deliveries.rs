//! What sessions are told of their logs' messages, pushed or in a page.

use switchboard_proto::v1::{Content, Delivery};

use crate::{
    check::{Check, ConnKey, MessageKey, Route},
    spec::{
        Spec,
        duties::kind_of,
        logs::{Entry, NO_MESSAGE},
    },
    wire::{
        self,
        session::{Peer, token_in},
    },
};

impl Spec {
    /// The message that a session is told, if it is one that somebody said and that is the session's to hear.
    fn letter(&mut self, conn: ConnKey, content: Option<&Content>, check: &Check) -> Option<MessageKey> {
        let token = token_in(content);
        let known = token.and_then(|token| check.message(token));
        let Some(key) = known.filter(|key| (*key as usize) < self.words.len()) else {
            self.fail("no-spoof", |spec| format!("{} hears what nobody said: {content:?}", spec.name(conn)));
            return None;
        };
        let said = &check.said[key as usize];
        let user = self.lines[conn as usize].user;
        let now_us = self.now_us;
        let is_theirs = match said.route {
            Route::User(to) => user == to || user == said.sender,
            Route::Group(group) => self.logs.has_right(group, user, now_us),
            Route::Relay(_) | Route::Call | Route::Everyone => false,
        };
        if !is_theirs {
            self.fail("no-leak", |spec| {
                format!("{} hears {}, which is not for it", spec.name(conn), kind_of(said))
            });
        }
        Some(key)
    }

    /// Whether a place of a log has what a session is told of it; the message, if it is one.
    pub(super) fn stands_there(
        &mut self,
        conn: ConnKey,
        peer: Peer,
        epoch: u64,
        delivery: &Delivery,
        check: &Check,
    ) -> Option<MessageKey> {
        let user = self.lines[conn as usize].user;
        let content = delivery.content.clone().unwrap_or_default();
        let entry = self.logs.at(peer.log(user), epoch, delivery.seq).copied();
        let key = match entry {
            Some(Entry { key: NO_MESSAGE, .. }) => NO_MESSAGE,
            Some(_) | None => self.letter(conn, delivery.content.as_ref(), check)?,
        };
        let committed = self.words.get(key as usize).is_none_or(|word| word.commits > 0);
        let (check, what) = match entry {
            None if !committed => ("accepted-is-durable", "which no log has"),
            None => ("one-order", "at a place that its log has not"),
            Some(entry) if entry.key != key || entry.id.0 != *delivery.message_id => {
                ("one-order", "at the place of another one")
            }
            Some(entry) if wire::index(&delivery.from) != Some(entry.sender) => {
                ("no-spoof", "under another name than the sender's")
            }
            Some(entry) if !entry.says(content.kind, &content.text, &content.file) => {
                ("one-order", "otherwise than its log has it")
            }
            Some(_) => return (key != NO_MESSAGE).then_some(key),
        };
        self.fail(check, |spec| format!("{} hears {delivery:?} {what}", spec.name(conn)));
        None
    }

    pub(super) fn hears_delivery(&mut self, conn: ConnKey, delivery: &Delivery, check: &Check) {
        let Some(peer) = Peer::read(delivery.conversation.as_ref()) else {
            return self
                .fail("protocol", |spec| format!("{} hears {delivery:?} of nowhere", spec.name(conn)));
        };
        self.hears_said(conn, peer, &delivery.from);
        let Some(key) = self.stands_there(conn, peer, delivery.epoch, delivery, check) else { return };
        let user = self.lines[conn as usize].user;
        let said = &check.said[key as usize];
        let word = self.words[key as usize];
        if let Peer::Group(group) = peer {
            // Who has left, or joined, may be taken for what they were before.
            let may = self.logs.may_read(group, user, delivery.seq);
            if !may && !self.health.may_be_member(group, user, word.first_us) {
                self.fail("no-leak", |spec| {
                    format!("{} hears {}, which is not for it", spec.name(conn), kind_of(said))
                });
            }
        }
        if conn == word.conn && word.received == 1 {
            self.fail("protocol", |spec| format!("{} hears what it has submitted itself", spec.name(conn)));
        }
        let repeated = self.note_heard(self.lines[conn as usize].client, key);
        if word.received == 1 && self.is_reached(word.conn, conn, word.received_us) {
            self.in_order(conn, key, said, repeated);
        }
    }
}
