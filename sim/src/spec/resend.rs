//! What classic clients that return are sent again, in worlds where they are: what they have certainly missed, in the
//! order of its conversation, and each message once over one connection.
//!
//! Two things are certain. A message that no client of its user has heard was receipted by none. And one that somebody
//! was to hear over a connection that has died is lost to that client, whatever another one of the user has heard meanwhile,
//! if the same client is the next to come.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_engine::{Frame, Subject};

use super::{
    Spec,
    duties::{Duty, kind_of},
    is_stored,
    logs::NO_MESSAGE,
};
use crate::{
    check::{ConnKey, MessageKey, Route, Said},
    wire::session::{Peer, peer_of},
    world::{RECEIPT_INTERVAL_MS, RECEIPTS},
};

/// A message that was heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    key: MessageKey,
    /// Among all that servers have received.
    number: u32,
    /// Its place in its log.
    seq: u64,
    /// It may have been read from there, as the client was catching up.
    is_read: bool,
}

/// What is known of receipts. Nothing, in worlds where nothing is sent again.
#[derive(Clone, Debug, Default)]
pub(super) struct Resend {
    pub(super) is_on: bool,
    /// By user: when the store first knew of a classic client.
    pub(super) since_us: BTreeMap<u16, u64>,
    /// Connections over which a Pong has come.
    ponged: BTreeSet<ConnKey>,
    /// Users who have had a client that goes on living without answering Pings, or may be taken for one: what it is sent
    /// counts as arrived.
    mute: BTreeSet<u16>,
    /// By node: when its clock jumped last. What it remembers for some time it may have forgotten.
    jumped_us: BTreeMap<u16, u64>,
    /// When an engine learnt that a connection is gone, or closed it.
    left_us: BTreeMap<ConnKey, u64>,
    /// By user and message: when a client of the user heard it first.
    heard_us: BTreeMap<(u16, MessageKey), u64>,
    /// Of a message: its place in its log.
    seqs: BTreeMap<MessageKey, u64>,
    /// By connection, sender's connection and conversation: what was heard, and its numbers in the order of its sender and in
    /// that of the log.
    heard: BTreeMap<(ConnKey, ConnKey, Route), Vec<Heard>>,
    /// By classic connection that was welcomed: the frames that it has heard since, and their bytes.
    taken: BTreeMap<ConnKey, (u64, u64)>,
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

    /// The store is what it was when it knew of these users only.
    pub(super) fn forget_who_came(&mut self, since_us: &BTreeMap<u16, u64>) {
        self.resend.since_us.clone_from(since_us);
    }

    /// Something has come over a connection, so long after it was opened.
    pub(super) fn may_be_mute(&mut self, conn: ConnKey, lives_us: u64) {
        if self.resend.is_on && lives_us >= self.limits.idle_timeout_us && !self.resend.ponged.contains(&conn)
        {
            self.resend.mute.insert(self.lines[conn as usize].user);
        }
    }

    /// A node's clock jumps: whoever has not answered a Ping so far may be thought to have had the time.
    pub(super) fn may_all_be_mute(&mut self, node: u16) {
        self.resend.jumped_us.insert(node, self.now_us);
        let lines =
            self.lines.iter().enumerate().filter(|(_, line)| line.node == node && line.gone_us.is_none());
        let Resend { is_on, ponged, mute, .. } = &mut self.resend;
        let silent = lines.filter(|(conn, _)| *is_on && !ponged.contains(&(*conn as ConnKey)));
        mute.extend(silent.map(|(_, line)| line.user));
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

    /// An engine learns that a connection is gone, or closes it: nothing more is for it.
    pub(crate) fn left(&mut self, conn: ConnKey) {
        let now_us = self.now_us;
        if self.is_on && self.resend.is_on {
            self.resend.left_us.entry(conn).or_insert(now_us);
        }
    }

    /// A classic client was welcomed: it is sent again what it has missed, in time.
    pub(super) fn returns(&mut self, conn: ConnKey) {
        if self.resend.is_on && !self.is_session(conn) {
            self.resend.taken.insert(conn, (0, 0));
            self.judge_later(conn, Duty::Missed { conn, since_us: self.now_us });
        }
    }

    /// A classic client hears something, which has taken room of what it is sent again.
    pub(super) fn takes_up_time(&mut self, conn: ConnKey, frame: &Frame) {
        if let Some((frames, bytes)) = self.resend.taken.get_mut(&conn) {
            (*frames, *bytes) = (*frames + 1, *bytes + frame.payload().len() as u64);
        }
    }

    /// How long a classic client takes to catch up at the most, when nothing is wrong.
    ///
    /// What it has missed is read in rounds: the store answers with a part of a log, that is written, and perhaps asked
    /// after and receipted. Each round sends one place at least, ends a log, or finds that something else, which has come
    /// since the round began, has taken its room; of many stored messages that have, a later Ping asks.
    fn catch_up_us(&self, conn: ConnKey) -> u64 {
        let l = &self.limits;
        let (frames, bytes) = self.resend.taken.get(&conn).copied().unwrap_or_default();
        let (logs, places) = self
            .logs
            .newest_of(self.lines[conn as usize].user)
            .fold((0, 0), |(logs, places), log| (logs + 1, places + log.head()));
        let rounds = places + 2 * logs + frames + 2;
        let asked_later = frames / (u64::from(RECEIPTS) / 2) + 1;
        l.bound_us
            + rounds * (l.store_us + 4 * l.net_us)
            + (bytes / l.socket_bytes + frames) * l.net_us
            + asked_later * (RECEIPT_INTERVAL_MS * 1_000 + 2 * l.net_us)
    }

    /// When a classic client has caught up at the latest; none if something disturbs it.
    fn caught_up_us(&self, conn: ConnKey) -> Option<u64> {
        let line = &self.lines[conn as usize];
        let since_us = self.health.settled_us(line.client, line.node)?.max(line.welcomed_us?);
        Some(since_us + self.catch_up_us(conn))
    }

    /// Whether a message may have to wait for what is before it in its log.
    pub(super) fn may_catch_up(&self, conn: ConnKey, said: &Said) -> bool {
        self.resend.taken.contains_key(&conn)
            && is_stored(said.route)
            && self.caught_up_us(conn).is_none_or(|until_us| until_us > self.now_us)
    }

    /// Judges something of a classic client when it has caught up; looks again later if something disturbs it now.
    pub(super) fn judge_later(&mut self, conn: ConnKey, duty: Duty) {
        let until_us = self.caught_up_us(conn).filter(|until_us| *until_us > self.now_us);
        self.due_then(until_us.unwrap_or(self.now_us + self.limits.answer_us), duty);
    }

    /// When something of a classic client is judged next that is open, if there is anything.
    pub(crate) fn catches_up_until_us(&self) -> Option<u64> {
        let is_it = |duty: &Duty| {
            let (Duty::Missed { conn, .. } | Duty::Withheld { conn, .. }) = duty else { return false };
            self.lines[*conn as usize].open && self.caught_up_us(*conn).is_some()
        };
        self.due_then.iter().find(|(_, duty)| is_it(duty)).map(|((due_us, _), _)| *due_us)
    }

    /// A classic client that has caught up has heard a message that came meanwhile.
    pub(super) fn judge_withheld(&mut self, conn: ConnKey, key: MessageKey, said: &Said) {
        // What users say to themselves is not read from a log: there may be no room for it.
        let is_to_self = said.route == Route::User(said.sender);
        if !self.lacks(conn, key, said)
            || is_to_self
            || self.was_recalled(key, said)
            || !self.is_resent(key, said)
            || self.has_too_many_logs(self.lines[conn as usize].user)
        {
            return;
        }
        if self.may_catch_up(conn, said) {
            return self.judge_later(conn, Duty::Withheld { conn, key });
        }
        self.left_out(conn, key, said);
    }

    /// The message that an edit is of, in worlds where something is sent again.
    pub(super) fn edited_by(&self, said: &Said) -> Option<MessageKey> {
        let Subject::Edit { target_seq } = said.subject else { return None };
        let log = said.log().filter(|_| self.resend.is_on)?;
        let target = self.logs.newest(log)?.at(target_seq)?;
        Some(target.key).filter(|key| *key != NO_MESSAGE)
    }

    /// Whether a message was edited to this text, and not again before a connection was opened.
    pub(super) fn was_edited_to(&self, conn: ConnKey, key: MessageKey, said: &Said, text: &str) -> bool {
        let log = said.log().and_then(|log| self.logs.newest(log));
        let seq = self.resend.seqs.get(&key).copied();
        let Some((log, seq)) = log.zip(seq) else { return false };
        let is_it = log.at(seq).is_some_and(|entry| entry.key == key);
        is_it && log.versions.was_edited_to(seq, text, self.lines[conn as usize].opened_us)
    }

    /// Whether a message was recalled: who had to wait for it is not sent it any more.
    fn was_recalled(&self, key: MessageKey, said: &Said) -> bool {
        let log = said.log().and_then(|log| self.logs.newest(log));
        let seq = self.resend.seqs.get(&key).copied();
        log.zip(seq).is_some_and(|(log, seq)| log.versions.recalled_us(seq).is_some())
    }

    /// Whether a message is one of the newest of its log, which are all that is read of it.
    fn is_resent(&self, key: MessageKey, said: &Said) -> bool {
        let log = said.log().and_then(|log| self.logs.newest(log));
        let seq = self.resend.seqs.get(&key).copied();
        log.zip(seq).is_none_or(|(log, seq)| seq + self.limits.resend_messages > log.head())
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
        let node = self.lines[conn as usize].node;
        let has_jumped = self.resend.jumped_us.get(&node).is_some_and(|at_us| *at_us >= since_us);
        let (is_read, is_well) = (self.may_catch_up(conn, said), self.health.store_was_well(since_us));
        let seq = self.resend.seqs.get(&key).copied().unwrap_or(0);
        let heard = self.resend.heard.entry((conn, word.conn, said.route)).or_default();
        let again = heard.iter().any(|other| (other.key, other.seq) == (key, seq));
        // A store that does not do one after the other what it is asked may have another order than its sender: live, the
        // sender's holds, and what is sent again has the log's.
        // A push that waited for an answer of the store may come after others were read from the log.
        let is_earlier =
            |other: &Heard| other.number > word.number && other.seq > seq && (is_well || !other.is_read);
        let late = heard.iter().any(is_earlier);
        heard.push(Heard { key, number: word.number, seq, is_read });
        // And after the same message was, and this was receipted: once at least, as promised. So may one that was slow on the
        // bus, at a server whose clock says that nothing of then is on its way.
        if again && (!is_well || has_jumped) {
            return;
        }
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
        if self.caught_up_us(conn).is_none_or(|until_us| until_us > self.now_us) {
            // It is sent it when all is well again.
            return self.judge_later(conn, Duty::Missed { conn, since_us });
        }
        let (user, opened_us) = (line.user, line.opened_us);
        // Who has been here for so long has been here with a classic client, whatever the engine has asked of the store.
        let now_us = self.now_us;
        let begun_us = *self.resend.since_us.entry(user).or_insert(now_us);
        if self.resend.mute.contains(&user) {
            return;
        }
        if self.has_too_many_logs(user) {
            return;
        }
        let before = self.connection_before(conn);
        let mut missed = None;
        for (log, entries) in self.logs.all() {
            let Some(peer) = peer_of(log, user) else { continue };
            for (place, entry) in entries.entries.iter().enumerate() {
                let seq = place as u64 + 1;
                let is_due = entry.key != NO_MESSAGE
                    && !said[entry.key as usize].is_entry()
                    && entry.sender != user
                    && entry.at_us > begun_us
                    && entry.at_us < opened_us
                    && entries.versions.recalled_us(seq).is_none()
                    && seq + self.limits.resend_messages > entries.head()
                    && self.reads(peer, user, seq);
                // Who is in too many groups is sent nothing live of some, nor what comes before the server has heard of
                // a join, and what another device was sent again was lost by nobody.
                let was_live = |group: u16| {
                    let since_us = self.words[entry.key as usize].received_us;
                    !self.limits.groups_are_limited && self.health.was_member(group, user, since_us)
                };
                let before = before.filter(|_| match peer {
                    Peer::User(_) => true,
                    Peer::Group(group) => entry.key != NO_MESSAGE && was_live(group),
                });
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

    /// Whether a user has more conversations than one connection may be behind with: a later one is sent the others.
    fn has_too_many_logs(&self, user: u16) -> bool {
        self.logs.newest_of(user).count() as u64 > self.limits.resend_conversations
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
        let word = self.words[key as usize];
        before.filter(|_| self.health.store_was_well(word.received_us)).is_some_and(|before| {
            let lost = &self.lines[before as usize];
            if !self.is_reached(word.conn, before, word.received_us) {
                return false;
            }
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
}
