//! What sessions ask and hear, frame by frame, as docs/protocol.md has it.
//!
//! To judge another frame of the protocol: what a client asks with it becomes a [`Question`] in [`Spec::asks`], and
//! what a server says in it is looked at in [`Spec::hears_frame`].

mod deliveries;
mod heads;
mod pages;
mod submits;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use switchboard_engine::{FRAME_COST_BYTES, MessageId};
use switchboard_proto::v1::{Welcome, client_frame, server_frame::Body};

use super::{Spec, duties::Duty};
use crate::{
    check::{Check, ConnKey, Payload, Said},
    wire::{
        self,
        session::{LogKey, Peer, device_of, read, read_client, token_of},
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
        /// The store's clock when it came.
        clock_ms: i64,
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
    /// The most that ever waited for it, and since nothing did.
    pub(super) peak_bytes: u64,
    backlog_bytes: u64,
    /// When everything was written last that had perhaps made it lag.
    caught_up_us: Option<u64>,
    pub(super) typing: super::typing::SignsHeard,
    pub(super) calls: BTreeMap<super::calls::CallKey, super::calls::Part>,
    /// When frames of calls whose ids cannot be were said that were not answered yet, oldest first.
    pub(super) malformed_calls: VecDeque<u64>,
    pub(super) watches: super::presence::Watches,
    /// How far its user's logs were when it said Hello.
    pub(super) heads: Vec<(LogKey, u64, u64)>,
    pub(super) hello_us: u64,
    pub(super) device: Option<u64>,
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
    pub(super) fn talk(&mut self, conn: ConnKey) -> Option<&mut Talk> {
        self.lines[conn as usize].talk.as_deref_mut()
    }

    pub(super) fn is_session(&self, conn: ConnKey) -> bool {
        self.lines[conn as usize].talk.is_some()
    }

    /// Whether the device of a session has said Hello to the same engine over a connection that came later.
    pub(super) fn is_replaced(&self, conn: ConnKey) -> bool {
        let line = &self.lines[conn as usize];
        let Some(device) = line.talk.as_ref().and_then(|talk| talk.device) else { return false };
        let same = |later: &super::Line| {
            later.shard == line.shard && later.talk.as_ref().is_some_and(|talk| talk.device == Some(device))
        };
        self.lines.iter().skip(conn as usize + 1).any(same)
    }

    /// So many bytes wait for a session.
    pub(crate) fn waits(&mut self, conn: ConnKey, bytes: u64) {
        if !self.is_on {
            return;
        }
        if let Some(talk) = self.talk(conn) {
            talk.peak_bytes = talk.peak_bytes.max(bytes);
            talk.backlog_bytes = talk.backlog_bytes.max(bytes);
            self.fills(conn, bytes);
        }
    }

    /// Nothing waits for a session any more.
    pub(crate) fn drained(&mut self, conn: ConnKey) {
        if !self.is_on {
            return;
        }
        let (lags, now_us) = (self.is_behind(conn), self.now_us);
        if let Some(talk) = self.talk(conn) {
            talk.backlog_bytes = 0;
            if lags {
                talk.caught_up_us = Some(now_us);
            }
        }
    }

    /// Whether so much waits for a session that some message may not have been pushed to it: then none is, whatever
    /// its size, until everything is written.
    fn is_behind(&self, conn: ConnKey) -> bool {
        let size = self.longest_bytes + DELIVERY_EXTRA_BYTES + FRAME_COST_BYTES;
        let talk = self.lines[conn as usize].talk.as_ref();
        talk.is_some_and(|talk| talk.backlog_bytes > 0 && talk.backlog_bytes + size > self.limits.lag_bytes)
    }

    /// Whether a session may have lagged since then, so that it is told heads instead of messages.
    pub(super) fn may_have_lagged(&self, conn: ConnKey, since_us: u64) -> bool {
        let talk = self.lines[conn as usize].talk.as_ref();
        let caught_up_us = talk.and_then(|talk| talk.caught_up_us);
        self.is_behind(conn) || caught_up_us.is_some_and(|caught_up_us| caught_up_us >= since_us)
    }

    /// A session's frame has reached its server.
    pub(super) fn asks(&mut self, conn: ConnKey, payload: Payload, bytes: &Bytes, said: &[Said]) {
        let user = self.lines[conn as usize].user;
        let (now_us, clock_ms) = (self.now_us, self.clock_ms);
        let Some(body) = read_client(bytes).filter(|_| payload != Payload::Garbage) else {
            self.lines[conn as usize].said_garbage = true;
            return;
        };
        if let Payload::Mark(mark) = payload {
            self.says_marks(user, mark);
        }
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
                clock_ms,
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
            client_frame::Body::Typing(typing) => return self.says_typing(conn, &typing),
            client_frame::Body::Call(call) => return self.says_call(conn, &call),
            client_frame::Body::Watch(watch) => return self.says_watch(conn, &watch),
            // Not answered.
            client_frame::Body::Mark(_) => return,
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
            Body::Notice(notice) => {
                if let Some(place) = self.notice(conn, &notice.text) {
                    let to = self.notice_user(place);
                    self.hears_notice(conn, place, to);
                }
            }
            Body::Goodbye(goodbye) => {
                self.hears_goodbye(conn, goodbye);
                if let Some(talk) = self.talk(conn) {
                    talk.left = true;
                }
            }
            Body::Heads(heads) => self.hears_heads(conn, heads),
            Body::Unfetched(unfetched) => self.hears_unfetched(conn, unfetched),
            Body::Marked(marked) => self.hears_marked(conn, marked),
            Body::Typing(typing) => self.hears_typing(conn, typing),
            Body::Call(call) => self.hears_call(conn, call),
            Body::Presence(presence) => self.hears_presence(conn, presence),
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
}

/// The name of a message by its id.
pub(super) fn name_of(id: MessageId) -> String {
    token_of(&id.0).map_or_else(|| "an unknown message".to_owned(), |token| token.to_string())
}
