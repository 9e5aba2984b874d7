//! What sessions ask and hear, frame by frame, as docs/protocol.md has it.
//!
//! To judge another frame of the protocol: what a client asks with it becomes a [`Question`] in [`Spec::asks`], and
//! what a server says in it is looked at in [`Spec::hears_frame`].

use std::sync::Arc;

use bytes::Bytes;
use switchboard_engine::{FRAME_COST_BYTES, MessageId};
use switchboard_proto::v1::{
    Accepted, Content, Conversation, Delivery, Heads, Page, RejectCode, Rejected, Unfetched, Welcome,
    client_frame, server_frame::Body,
};

use super::{
    Spec,
    duties::Duty,
    logs::{Entry, NO_MESSAGE},
};
use crate::{
    check::{Check, ConnKey, MessageKey, Payload, Route, Said},
    wire::{
        self,
        session::{LogKey, Peer, device_of, read, read_client, token_in, token_of},
    },
};

/// What a Delivery has at the most beyond what the message had when it came.
const DELIVERY_EXTRA_BYTES: u64 = 256;

/// What a session has asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Hello,
    Submit {
        /// As much of it as comes back.
        id: Bytes,
        valid: bool,
        /// Submits that were not answered when it came.
        ahead: u64,
    },
    Fetch {
        fetch_id: u64,
        of: Option<Peer>,
        from_seq: u64,
        backwards: bool,
        limit: u64,
        /// Fetches that were not answered when it came.
        ahead: u64,
        /// How far the log was when it came.
        head: u64,
    },
    Heartbeat {
        nonce: u64,
    },
}

/// A question that was not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) asked: Asked,
    pub(super) since_us: u64,
}

/// What there is to a session's connection beyond a classic one.
#[derive(Clone, Debug, Default)]
pub(super) struct Talk {
    /// Oldest first.
    pub(super) open: Vec<Question>,
    /// Goodbye was heard.
    left: bool,
    /// When heads were asked for last.
    asked_heads_us: u64,
    /// When the last frame of heads was heard last.
    heads_us: Option<u64>,
    /// The most that ever waited for it.
    peak_bytes: u64,
    /// How far its user's logs were when it said Hello.
    pub(super) heads: Vec<(LogKey, u64, u64)>,
    pub(super) hello_us: u64,
    device: Option<u64>,
}

impl Talk {
    /// Takes the oldest question that fits.
    fn take(&mut self, fits: impl Fn(&Asked) -> bool) -> Option<Question> {
        let place = self.open.iter().position(|question| fits(&question.asked))?;
        Some(self.open.remove(place))
    }

    fn count(&self, is: impl Fn(&Asked) -> bool) -> u64 {
        self.open.iter().filter(|question| is(&question.asked)).count() as u64
    }
}

/// Frames that were read a moment ago: who else hears the same one hears the same bytes.
#[derive(Clone, Debug)]
pub(super) struct Read(Vec<Option<(Bytes, Arc<Body>)>>);

impl Default for Read {
    fn default() -> Self {
        Self(vec![None; 16])
    }
}

impl Read {
    fn read(&mut self, bytes: &Bytes) -> Option<Arc<Body>> {
        let address = bytes.as_ptr().addr();
        let place = &mut self.0[((address >> 4) ^ (address >> 8)) & 15];
        if let Some((known, body)) = place
            && known.as_ptr() == bytes.as_ptr()
            && known.len() == bytes.len()
        {
            return Some(body.clone());
        }
        let body = Arc::new(read(bytes)?);
        *place = Some((bytes.clone(), body.clone()));
        Some(body)
    }
}

impl Spec {
    fn talk(&mut self, conn: ConnKey) -> Option<&mut Talk> {
        self.lines[conn as usize].talk.as_deref_mut()
    }

    pub(super) fn is_session(&self, conn: ConnKey) -> bool {
        self.lines[conn as usize].talk.is_some()
    }

    /// Whether the device of a session has come back over another connection.
    pub(super) fn is_replaced(&self, conn: ConnKey) -> bool {
        let line = &self.lines[conn as usize];
        let Some(device) = line.talk.as_ref().and_then(|talk| talk.device) else { return false };
        let same = |(other, known): (usize, &super::Line)| {
            other != conn as usize && known.talk.as_ref().is_some_and(|talk| talk.device == Some(device))
        };
        self.lines.iter().enumerate().any(same)
    }

    /// So many bytes wait for a session.
    pub(crate) fn waits(&mut self, conn: ConnKey, bytes: u64) {
        if !self.is_on {
            return;
        }
        if let Some(talk) = self.talk(conn) {
            talk.peak_bytes = talk.peak_bytes.max(bytes);
        }
    }

    /// Whether so much once waited for a session that a message may not have been pushed to it.
    pub(super) fn may_lag(&self, conn: ConnKey, said: &Said) -> bool {
        let size = said.bytes.len().max(said.submit.len()) as u64 + DELIVERY_EXTRA_BYTES + FRAME_COST_BYTES;
        let talk = self.lines[conn as usize].talk.as_ref();
        talk.is_some_and(|talk| talk.peak_bytes > 0 && talk.peak_bytes + size > self.limits.lag_bytes)
    }

    /// A session's frame has reached its server.
    pub(super) fn asks(&mut self, conn: ConnKey, payload: Payload, bytes: &Bytes, said: &[Said]) {
        let user = self.lines[conn as usize].user;
        let now_us = self.now_us;
        let Some(body) = read_client(bytes).filter(|_| payload != Payload::Garbage) else {
            self.lines[conn as usize].said_garbage = true;
            return;
        };
        let is_first = !self.lines[conn as usize].said_hello;
        // What is out of turn ends the connection, and is answered by that.
        let is_hello = matches!(body, client_frame::Body::Hello(_));
        if is_hello != is_first {
            self.lines[conn as usize].said_out_of_turn = true;
            return;
        }
        let heads = if is_hello { self.heads_of(user) } else { Vec::new() };
        let head = match (&body, payload) {
            (client_frame::Body::Fetch(_), Payload::Fetch { of }) => {
                self.logs.head_for(of.log(user), user).unwrap_or(0)
            }
            _ => 0,
        };
        self.lines[conn as usize].said_hello = true;
        let Some(talk) = self.talk(conn) else { return };
        let asked = match body {
            client_frame::Body::Hello(hello) => {
                talk.device = Some(device_of(&hello.device_id));
                (talk.asked_heads_us, talk.hello_us) = (now_us, now_us);
                talk.heads = heads;
                Asked::Hello
            }
            client_frame::Body::Submit(submit) => Asked::Submit {
                id: submit.message_id.slice(..submit.message_id.len().min(16)),
                valid: matches!(payload, Payload::Said(_)),
                ahead: talk.count(|asked| matches!(asked, Asked::Submit { valid: true, .. })),
            },
            client_frame::Body::Fetch(fetch) => Asked::Fetch {
                fetch_id: fetch.fetch_id,
                of: Peer::read(fetch.conversation.as_ref()).filter(|_| payload != Payload::Invalid),
                from_seq: fetch.from_seq,
                backwards: fetch.backwards,
                limit: u64::from(fetch.limit),
                ahead: talk.count(|asked| matches!(asked, Asked::Fetch { .. })),
                head,
            },
            client_frame::Body::Heartbeat(heartbeat) => Asked::Heartbeat { nonce: heartbeat.nonce },
            // Neither is answered.
            client_frame::Body::Mark(_)
            | client_frame::Body::Typing(_)
            | client_frame::Body::Watch(_)
            | client_frame::Body::Call(_) => return,
            client_frame::Body::Resync(_) => {
                talk.asked_heads_us = now_us;
                let due_us = now_us + self.limits.answer_us;
                return self.due_later.push_back((due_us, Duty::Heads { conn, since_us: now_us }));
            }
        };
        talk.open.push(Question { asked, since_us: now_us });
        let due_us = now_us + self.limits.answer_us;
        self.due_later.push_back((due_us, Duty::Reply { conn, since_us: now_us }));
        if let Payload::Said(key) = payload {
            self.received_message(conn, key, &said[key as usize]);
        }
    }

    /// How far the logs of a user are.
    fn heads_of(&self, user: u16) -> Vec<(LogKey, u64, u64)> {
        let own = self.logs.all();
        own.filter_map(|(log, newest)| Some((log, newest.epoch, self.logs.head_for(log, user)?))).collect()
    }

    /// What a session asked then has been answered, unless something is the reason that it was not.
    pub(super) fn judge_reply(&mut self, conn: ConnKey, since_us: u64) {
        let Some(talk) = &self.lines[conn as usize].talk else { return };
        let Some(question) = talk.open.iter().find(|question| question.since_us <= since_us) else { return };
        let asked = question.asked.clone();
        if self.is_served(conn, since_us) {
            self.fail("protocol", |spec| format!("{} is not answered: {asked:?}", spec.name(conn)));
        }
    }

    pub(super) fn judge_heads(&mut self, conn: ConnKey, since_us: u64) {
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

    /// A session hears a frame.
    pub(super) fn hears_frame(&mut self, conn: ConnKey, bytes: &Bytes, check: &Check) {
        if self.garbage.contains(bytes) {
            return self
                .fail("no-leak", |spec| format!("{} hears garbage that somebody has sent", spec.name(conn)));
        }
        let Some(body) = self.read.read(bytes) else {
            return self.fail("protocol", |spec| format!("{} hears what says nothing", spec.name(conn)));
        };
        let welcomed = self.lines[conn as usize].welcomed_us.is_some();
        let left = self.talk(conn).is_some_and(|talk| talk.left);
        if left || (!welcomed && !matches!(*body, Body::Welcome(_) | Body::Goodbye(_))) {
            let when = if left { "after its Goodbye" } else { "before its Welcome" };
            let what = wire::session::server_name(bytes);
            return self
                .fail("protocol", |spec| format!("{} hears something {when}: {what}", spec.name(conn)));
        }
        match &*body {
            Body::Welcome(welcome) => self.hears_welcome(conn, welcome),
            Body::Accepted(accepted) => self.hears_accepted(conn, accepted, &check.said),
            Body::Rejected(rejected) => self.hears_rejected(conn, rejected, check),
            Body::Delivery(delivery) => self.hears_delivery(conn, delivery, check),
            Body::Page(page) => self.hears_page(conn, page, check),
            Body::Heartbeat(heartbeat) => {
                let nonce = heartbeat.nonce;
                let asked = |asked: &Asked| *asked == Asked::Heartbeat { nonce };
                if self.talk(conn).and_then(|talk| talk.take(asked)).is_none() {
                    self.fail("protocol", |spec| format!("{} hears a heartbeat unasked", spec.name(conn)));
                }
            }
            Body::Goodbye(_) => {
                if let Some(talk) = self.talk(conn) {
                    talk.left = true;
                }
            }
            Body::Heads(heads) => self.hears_heads(conn, heads),
            Body::Unfetched(unfetched) => self.hears_unfetched(conn, unfetched),
            // A hint, of which the engine's own tests judge who is told.
            Body::Marked(_) => {}
            Body::Typing(_) | Body::Presence(_) | Body::Call(_) => {
                let what = wire::session::server_name(bytes);
                self.fail("protocol", |spec| format!("{} hears unasked: {what}", spec.name(conn)));
            }
        }
    }

    fn hears_welcome(&mut self, conn: ConnKey, welcome: &Welcome) {
        if self.talk(conn).and_then(|talk| talk.take(|asked| *asked == Asked::Hello)).is_none() {
            self.fail("protocol", |spec| format!("{} is welcomed unasked", spec.name(conn)));
        }
        let user = self.lines[conn as usize].user;
        if wire::index(&welcome.user) != Some(user) {
            self.fail("no-leak", |spec| format!("{} is welcomed as {}", spec.name(conn), welcome.user));
        }
        let client = self.lines[conn as usize].client;
        self.app_welcomed(client, conn);
        self.welcomed(conn);
    }

    fn hears_accepted(&mut self, conn: ConnKey, accepted: &Accepted, said: &[Said]) {
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

    fn hears_rejected(&mut self, conn: ConnKey, rejected: &Rejected, check: &Check) {
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

    fn may_be_unavailable(&self, conn: ConnKey, since_us: u64) -> bool {
        let node = self.lines[conn as usize].node;
        !self.health.store_was_well(since_us) || !self.health.node_was_well(node, since_us)
    }

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
                format!("{} hears {}, which is not for it", spec.name(conn), super::duties::kind_of(said))
            });
        }
        Some(key)
    }

    /// Whether a place of a log has what a session is told of it; the message, if it is one.
    fn stands_there(
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

    fn hears_delivery(&mut self, conn: ConnKey, delivery: &Delivery, check: &Check) {
        let Some(peer) = Peer::read(delivery.conversation.as_ref()) else {
            return self
                .fail("protocol", |spec| format!("{} hears {delivery:?} of nowhere", spec.name(conn)));
        };
        let Some(key) = self.stands_there(conn, peer, delivery.epoch, delivery, check) else { return };
        let user = self.lines[conn as usize].user;
        let said = &check.said[key as usize];
        let word = self.words[key as usize];
        if let Peer::Group(group) = peer {
            // Who has left, or joined, may be taken for what they were before.
            let may = self.logs.may_read(group, user, delivery.seq);
            if !may && !self.health.may_be_member(group, user, word.first_us) {
                self.fail("no-leak", |spec| {
                    format!("{} hears {}, which is not for it", spec.name(conn), super::duties::kind_of(said))
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

    fn hears_page(&mut self, conn: ConnKey, page: &Page, check: &Check) {
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
        let newest = self.logs.of_epoch(log, page.epoch).map_or(0, super::logs::Log::head);
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
            let Some(key) = self.stands_there(conn, peer, page.epoch, message, check) else { continue };
            self.note_heard(self.lines[conn as usize].client, key);
        }
    }

    fn hears_unfetched(&mut self, conn: ConnKey, unfetched: &Unfetched) {
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
            // Of edits, recalls and changes of groups, which nobody submits yet.
            RejectCode::Unspecified | RejectCode::Forbidden | RejectCode::Conflict => false,
        };
        if !holds {
            self.fail("isolation", |spec| format!("{} hears {unfetched:?} without cause", spec.name(conn)));
        }
    }

    fn hears_heads(&mut self, conn: ConnKey, heads: &Heads) {
        let user = self.lines[conn as usize].user;
        let now_us = self.now_us;
        let Some(talk) = self.talk(conn) else { return };
        if heads.last {
            talk.heads_us = Some(now_us);
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
            let known = self.logs.of_epoch(peer.log(user), head.epoch).map_or(0, super::logs::Log::head);
            if head.seq == 0 || head.seq > known || head.first_seq == 0 || head.first_seq > head.seq + 1 {
                self.fail("one-order", |spec| {
                    format!("{} hears a head that there is not: {head:?}", spec.name(conn))
                });
            }
        }
    }
}

/// The name of a message by its id.
pub(super) fn name_of(id: MessageId) -> String {
    token_of(&id.0).map_or_else(|| "an unknown message".to_owned(), |token| token.to_string())
}
