//! What sessions are told of their logs' messages, pushed or in a page.

use switchboard_proto::v1::Delivery;

use crate::{
    check::{Check, ConnKey, MessageKey, Route},
    spec::{
        Spec,
        duties::kind_of,
        logs::{Entry, NO_MESSAGE},
        versions::Words,
    },
    wire::{
        self,
        session::{Peer, token_in, unwired},
    },
};

/// How a session is told an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Pushed, as it was said.
    Pushed,
    /// In a page that was asked for then.
    Read { since_us: u64 },
}

impl Spec {
    /// The message that a session is told, if it is one that somebody said and that is the session's to hear. `key`: by
    /// its place.
    fn letter(
        &mut self,
        conn: ConnKey,
        key: Option<MessageKey>,
        delivery: &Delivery,
        check: &Check,
    ) -> Option<MessageKey> {
        let known = key.or_else(|| token_in(delivery).and_then(|token| check.message(token)));
        let Some(key) = known.filter(|key| (*key as usize) < self.words.len()) else {
            self.fail("no-spoof", |spec| format!("{} hears what nobody said: {delivery:?}", spec.name(conn)));
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
        way: Way,
        check: &Check,
    ) -> Option<MessageKey> {
        let user = self.lines[conn as usize].user;
        let log = peer.log(user);
        let entry = self.logs.at(log, epoch, delivery.seq).copied();
        let is_here = |entry: &Entry| entry.id.0 == *delivery.message_id;
        let key = match entry {
            Some(Entry { key: NO_MESSAGE, .. }) => NO_MESSAGE,
            Some(_) | None => self.letter(conn, entry.filter(is_here).map(|e| e.key), delivery, check)?,
        };
        let says = entry.is_some_and(|entry| self.says(peer, user, epoch, delivery, &entry, way));
        let committed = self.words.get(key as usize).is_none_or(|word| word.commits > 0);
        let (check, what) = match entry {
            None if !committed || delivery.seq == 0 => ("accepted-is-durable", "which no log has"),
            None => ("one-order", "at a place that its log has not"),
            Some(entry) if entry.key != key || !is_here(&entry) => {
                ("one-order", "at the place of another one")
            }
            Some(entry) if wire::index(&delivery.from) != Some(entry.sender) => {
                ("no-spoof", "under another name than the sender's")
            }
            Some(_) if !says => ("one-order", "otherwise than its log has it"),
            Some(_) => return (key != NO_MESSAGE).then_some(key),
        };
        self.fail(check, |spec| format!("{} hears {delivery:?} {what}", spec.name(conn)));
        None
    }

    /// Whether a user is told what an entry says: pushed, what was said; in a page, what the log had of it at some time
    /// since that was asked for.
    fn says(&self, peer: Peer, user: u16, epoch: u64, delivery: &Delivery, entry: &Entry, way: Way) -> bool {
        let (log, seq) = (peer.log(user), delivery.seq);
        let told = told(delivery);
        match way {
            Way::Pushed => told == entry.words,
            Way::Read { since_us } => {
                let limits = self.logs.limits(log, user, since_us);
                let versions = self.logs.of_epoch(log, epoch).map(|log| &log.versions);
                let said =
                    |to: &u64| versions.is_some_and(|v| v.said_since(seq, entry.words, told, since_us, *to));
                limits.iter().any(said)
            }
        }
    }

    /// Of what was recalled, nothing is pushed but what was under way.
    fn judge_recalled(&mut self, conn: ConnKey, peer: Peer, delivery: &Delivery, key: MessageKey) {
        let user = self.lines[conn as usize].user;
        let log = self.logs.of_epoch(peer.log(user), delivery.epoch);
        let Some(recalled_us) = log.and_then(|log| log.versions.recalled_us(delivery.seq)) else { return };
        let from = self.words[key as usize].conn;
        let is_well = self.is_served(conn, recalled_us)
            && self.is_reached(from, conn, recalled_us)
            && self.health.node_was_well(self.lines[from as usize].node, recalled_us)
            && self.health.store_was_well(recalled_us);
        if is_well && self.now_us > recalled_us + self.limits.bound_us {
            self.fail("no-leak", |spec| {
                format!("{} hears {delivery:?} long after it was recalled", spec.name(conn))
            });
        }
    }

    pub(super) fn hears_delivery(&mut self, conn: ConnKey, delivery: &Delivery, check: &Check) {
        let Some(peer) = Peer::read(delivery.conversation.as_ref()) else {
            return self
                .fail("protocol", |spec| format!("{} hears {delivery:?} of nowhere", spec.name(conn)));
        };
        self.hears_said(conn, peer, &delivery.from);
        let Some(key) = self.stands_there(conn, peer, delivery.epoch, delivery, Way::Pushed, check) else {
            return;
        };
        self.judge_recalled(conn, peer, delivery, key);
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
        // Whom a change concerns is told it as a member and for itself, where that is not known to be the same.
        let is_twice = said.concerns() == Some(user);
        if word.received == 1 && !is_twice && self.is_reached(word.conn, conn, word.received_us) {
            self.in_order(conn, key, said, repeated);
        }
    }
}

/// What somebody is told of an entry.
fn told(delivery: &Delivery) -> Words {
    let content = delivery.content.as_ref().map(unwired).unwrap_or_default();
    let (changed_seq, is_recalled) =
        delivery.content.as_ref().map_or((0, false), |content| (content.changed_seq, content.recalled));
    Words::new(content.kind, &content.text, &content.file, &content.subject).read(changed_seq, is_recalled)
}
