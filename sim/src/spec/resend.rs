//! What classic clients that return are sent again, in worlds where they are: what they have certainly missed, in the
//! order of its conversation, and each message once over one connection.
//!
//! Two things are certain. A message that no client of its user has heard was receipted by none. And one that somebody
//! was to hear over a connection that has died is lost to that client, whatever another one of the user has heard meanwhile,
//! if the same client is the next to come.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Spec,
    duties::{Duty, kind_of},
    logs::NO_MESSAGE,
};
use crate::{
    check::{ConnKey, MessageKey, Route, Said},
    wire::session::{Peer, peer_of},
};

/// A message that was heard, its number among all that servers have received, and its place in its log.
type Heard = (MessageKey, u32, u64);

/// What is known of receipts. Nothing, in worlds where nothing is sent again.
#[derive(Clone, Debug, Default)]
pub(super) struct Resend {
    pub(super) is_on: bool,
    /// By user: when the store first knew of a classic client.
    since_us: BTreeMap<u16, u64>,
    /// Connections over which a Pong has come.
    ponged: BTreeSet<ConnKey>,
    /// When an engine learnt that a connection is gone.
    left_us: BTreeMap<ConnKey, u64>,
    /// By user and message: when a client of the user heard it first.
    heard_us: BTreeMap<(u16, MessageKey), u64>,
    /// Of a message: its place in its log.
    seqs: BTreeMap<MessageKey, u64>,
    /// By connection, sender's connection and conversation: what was heard, and its numbers in the order of its sender and in
    /// that of the log.
    heard: BTreeMap<(ConnKey, ConnKey, Route), Vec<Heard>>,
}

impl Resend {
    /// Of a world that is one where something is sent again, or is not.
    pub(super) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }
}

impl Spec {
    /// The store knows from now on that a user comes with classic clients.
    pub(crate) fn came(&mut self, user: u16) {
        let now_us = self.now_us;
        if self.resend.is_on {
            self.resend.since_us.entry(user).or_insert(now_us);
        }
    }

    /// The store has committed a message as this place of its log.
    pub(super) fn keeps(&mut self, key: MessageKey, seq: u64) {
        if self.resend.is_on {
            self.resend.seqs.insert(key, seq);
        }
    }

    /// A Pong has come to a server.
    pub(crate) fn ponged(&mut self, conn: ConnKey) {
        if self.is_on && self.resend.is_on {
            self.resend.ponged.insert(conn);
        }
    }

    /// An engine learns that a connection is gone.
    pub(crate) fn left(&mut self, conn: ConnKey) {
        if self.is_on && self.resend.is_on {
            self.resend.left_us.insert(conn, self.now_us);
        }
    }

    /// A classic client was welcomed: it is sent again what it has missed, in time.
    pub(super) fn returns(&mut self, conn: ConnKey) {
        if self.resend.is_on && !self.is_session(conn) {
            self.due_then(self.now_us + self.limits.answer_us, Duty::Missed { conn, since_us: self.now_us });
        }
    }

    /// A stored message is heard: once over one connection, and not after a later one of its sender and conversation.
    pub(super) fn hears_stored(&mut self, conn: ConnKey, key: MessageKey, said: &Said) {
        let line = &self.lines[conn as usize];
        let (user, since_us) = (line.user, self.words[key as usize].received_us);
        self.resend.heard_us.entry((user, key)).or_insert(self.now_us);
        let word = self.words[key as usize];
        if word.received != 1 || !self.is_reached(word.conn, conn, since_us) {
            return;
        }
        let seq = self.resend.seqs.get(&key).copied().unwrap_or(0);
        let heard = self.resend.heard.entry((conn, word.conn, said.route)).or_default();
        let again = heard.contains(&(key, word.number, seq));
        // A store that does not do one after the other what it is asked may have another order than its sender: live, the
        // sender's holds, and what is sent again has the log's.
        let late = heard.iter().any(|(_, number, other)| *number > word.number && *other > seq);
        heard.push((key, word.number, seq));
        if again {
            self.fail("exactly-once", |spec| format!("{} hears {} again", spec.name(conn), kind_of(said)));
        } else if late {
            self.fail("one-order", |spec| {
                format!("{} hears {} after a later one of its sender", spec.name(conn), kind_of(said))
            });
        }
    }

    /// A classic client that has returned has heard what it has certainly missed.
    pub(super) fn judge_missed(&mut self, conn: ConnKey, since_us: u64, said: &[Said]) {
        let line = &self.lines[conn as usize];
        if !line.open {
            return;
        }
        if !self.is_served(conn, since_us) || !self.health.store_was_well(since_us) {
            // It is sent it when all is well again.
            let duty = Duty::Missed { conn, since_us: self.now_us };
            return self.due_then(self.now_us + self.limits.answer_us, duty);
        }
        let (user, opened_us) = (line.user, line.opened_us);
        // Who has been here for so long has been here with a classic client, whatever the engine has asked of the store.
        let now_us = self.now_us;
        let begun_us = *self.resend.since_us.entry(user).or_insert(now_us);
        if self.has_mute(user) {
            return;
        }
        let before = self.connection_before(conn);
        let mut missed = None;
        for (log, entries) in self.logs.all() {
            let Some(peer) = peer_of(log, user) else { continue };
            for (place, entry) in entries.entries.iter().enumerate() {
                let is_due = entry.key != NO_MESSAGE
                    && entry.sender != user
                    && entry.at_us > begun_us
                    && entry.at_us < opened_us
                    && self.reads(peer, user, place as u64 + 1);
                if is_due && self.is_missed(conn, before, entry.key, entry.at_us) {
                    missed = missed.or(Some(entry.key));
                }
            }
        }
        if let Some(key) = missed {
            self.unheard(since_us, |spec| {
                let kind = kind_of(&said[key as usize]);
                format!("{} comes back and is not sent again {kind}", spec.name(conn))
            });
        }
    }

    /// Whether a user reads this place of a conversation, and has since it was written.
    fn reads(&self, peer: Peer, user: u16, seq: u64) -> bool {
        match peer {
            Peer::User(_) => true,
            Peer::Group(group) => self.logs.reads_on(group, user, seq),
        }
    }

    /// Whether a client that came back must have heard a message and has not.
    fn is_missed(&self, conn: ConnKey, before: Option<ConnKey>, key: MessageKey, at_us: u64) -> bool {
        let line = &self.lines[conn as usize];
        if self.has_heard(line.client, key) {
            return false;
        }
        let Some(heard_us) = self.resend.heard_us.get(&(line.user, key)).copied() else { return true };
        // Another one has: it counts as missing if the engine had the connection that lost it when it was sent.
        let was_sent = self.health.store_was_well(self.words[key as usize].received_us);
        before.filter(|_| was_sent).is_some_and(|before| {
            let lost = &self.lines[before as usize];
            let had = lost.welcomed_us.is_some_and(|welcomed_us| welcomed_us < at_us);
            had && self.resend.left_us.get(&before).is_some_and(|left_us| *left_us > heard_us)
        })
    }

    /// The connection of the same client before this one, if no other classic connection of the user has come since its last
    /// sign of life, and all of them were at the same engine.
    fn connection_before(&self, conn: ConnKey) -> Option<ConnKey> {
        let line = &self.lines[conn as usize];
        let of_user = |other: &ConnKey| {
            let of = &self.lines[*other as usize];
            *other != conn && of.user == line.user && of.talk.is_none()
        };
        let others: Vec<ConnKey> = (0..self.lines.len() as ConnKey).filter(of_user).collect();
        let mut before = others.iter().copied().filter(|other| *other < conn);
        let before = before.rfind(|other| self.lines[*other as usize].client == line.client)?;
        let spoke_us = self.lines[before as usize].spoke_us;
        let is_older = |other: &ConnKey| {
            let of = &self.lines[*other as usize];
            of.shard == line.shard
                && (*other == before || of.welcomed_us.is_some_and(|welcomed_us| welcomed_us < spoke_us))
        };
        others.iter().all(is_older).then_some(before)
    }

    /// Whether a user has had a client that goes on living without answering Pings: what it is sent counts as arrived.
    fn has_mute(&self, user: u16) -> bool {
        self.lines.iter().enumerate().any(|(conn, line)| {
            let lived_us = line.spoke_us - line.opened_us;
            line.user == user
                && line.talk.is_none()
                && lived_us >= self.limits.idle_timeout_us
                && !self.resend.ponged.contains(&(conn as ConnKey))
        })
    }
}
