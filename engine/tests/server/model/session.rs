//! What sessions may ask for and are told, as plainly as it can be said.

use bytes::Bytes;
use switchboard_engine::{
    Answer, CloseReason, ConnId, Frame, Instant, Marks, Messages, Place, Range, Recipient, Request, Undone,
};
use switchboard_proto::{
    Message as _,
    classic::Message,
    v1::{
        Accepted, ClientFrame, Content, Conversation, Cursor, Delivery, Fetch, Goodbye, Head, Heads,
        Heartbeat, Limits, Page, RejectCode, Rejected, ServerFrame, Submit, Unfetched, Welcome, client_frame,
        conversation::Peer, server_frame::Body,
    },
};

use super::{
    Entry, Model, Out, Purpose, Stage, State,
    live::{Marking, some_marks},
    outbox::Fate,
};
use crate::store::{group, user};

/// What a session waits for.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(super) hello_by: Instant,
    pub(crate) lags: bool,
    heads: Option<HeadsRun>,
    /// Number of the request, the client's number, and the conversation.
    pub(crate) fetches: Vec<(usize, u64, Recipient)>,
    /// Marks on their way into the store.
    pub(crate) markings: Vec<Marking>,
}

#[derive(Clone, Debug)]
struct HeadsRun {
    cursors: Vec<(Recipient, u64, u64)>,
    after: u64,
    asked: Option<usize>,
    retry_at: Option<Instant>,
}

impl Session {
    pub(super) fn new(hello_by: Instant) -> Self {
        Self { hello_by, lags: false, heads: None, fetches: Vec::new(), markings: Vec::new() }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.heads.as_ref()?.retry_at
    }
}

pub(super) fn encode(body: Body) -> Frame {
    Frame::Message(ServerFrame { body: Some(body) }.encode_to_vec().into())
}

pub(super) fn conversation(of: &Recipient) -> Option<Conversation> {
    let peer = match of {
        Recipient::User(user) => Peer::User(user.to_string()),
        Recipient::Group(group) => Peer::Group(group.to_string()),
    };
    Some(Conversation { peer: Some(peer) })
}

pub(super) fn recipient(of: Option<&Conversation>) -> Option<Recipient> {
    match of?.peer.as_ref()? {
        Peer::User(id) => (1..=128).contains(&id.len()).then(|| Recipient::User(user(id))),
        Peer::Group(id) => (1..=128).contains(&id.len()).then(|| Recipient::Group(group(id))),
    }
}

fn body(bytes: &Bytes) -> Option<client_frame::Body> {
    ClientFrame::decode(bytes.clone()).ok()?.body
}

impl Model {
    pub(super) fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.conns.get_mut(&conn)?.session.as_mut()
    }

    pub(super) fn session_received(&mut self, conn: ConnId, name: &str, bytes: &Bytes) {
        let Some(body) = body(bytes) else { return self.close(conn, CloseReason::UndecodableFrame) };
        let greeted = matches!(self.conns[&conn].state, State::Online);
        if matches!(body, client_frame::Body::Hello(_)) == greeted {
            return self.close(conn, CloseReason::OutOfTurn);
        }
        match body {
            client_frame::Body::Hello(hello) => {
                self.conns.get_mut(&conn).unwrap().state = State::Online;
                let welcome = self.welcome_frame(name);
                self.send(conn, &welcome);
                self.tell_heads(conn, &hello.cursors);
            }
            client_frame::Body::Submit(submit) => self.submit(conn, name, submit, bytes.len() as u64),
            client_frame::Body::Fetch(fetch) => self.fetch(conn, name, &fetch),
            client_frame::Body::Heartbeat(Heartbeat { nonce }) => {
                self.send(conn, &encode(Body::Heartbeat(Heartbeat { nonce })));
            }
            client_frame::Body::Resync(resync) => self.tell_heads(conn, &resync.cursors),
            client_frame::Body::Mark(mark) => self.mark(conn, name, &mark),
            client_frame::Body::Typing(typing) => self.types(name, &typing),
            // Left out: the histories have none of these.
            client_frame::Body::Watch(_) | client_frame::Body::Call(_) => {}
        }
    }

    fn welcome_frame(&self, name: &str) -> Frame {
        let (config, limits) = (&self.config, &self.config.limits);
        encode(Body::Welcome(Welcome {
            session_id: vec![0; 16].into(),
            user: name.into(),
            heartbeat_interval_ms: config.heartbeat_interval.as_millis() as u32,
            resync_interval_ms: config.resync_interval.as_millis() as u32,
            limits: Some(Limits {
                message_bytes: limits.message_bytes,
                messages_per_second: limits.messages_per_second,
                message_burst: limits.message_burst,
                bytes_per_second: limits.bytes_per_second,
                byte_burst: limits.byte_burst,
                pending: limits.pending_per_connection,
                fetches: limits.fetches_per_connection,
                page_messages: limits.page_messages,
                cursors: limits.cursors_per_hello,
                watches: limits.watches,
                ..Limits::default()
            }),
        }))
    }

    /// Of a session that has gone before its user was loaded, only what it submitted after its Hello is done.
    pub(super) fn departed(early: &[Bytes]) -> &[Bytes] {
        match early.split_first() {
            Some((first, rest)) if matches!(body(first), Some(client_frame::Body::Hello(_))) => rest,
            Some(_) | None => &[],
        }
    }

    pub(super) fn session_departed(&mut self, conn: ConnId, name: &str, bytes: &Bytes) {
        if let Some(client_frame::Body::Submit(submit)) = body(bytes) {
            self.submit(conn, name, submit, bytes.len() as u64);
        }
    }

    fn submit(&mut self, conn: ConnId, name: &str, submit: Submit, cost: u64) {
        let id = submit.message_id.clone();
        let content = submit.content.unwrap_or_default();
        // Entries that are wrong in themselves the histories leave out: `hostile_frames` has them.
        let is_right = id.len() == 16
            && match content.kind {
                1 => !content.text.is_empty() && content.file.is_empty(),
                2..=5 => !content.file.is_empty() && !content.file.contains('/'),
                21..=23 => true,
                _ => false,
            };
        let Some(to) = recipient(submit.conversation.as_ref()).filter(|_| is_right) else {
            return self.reject(conn, id.slice(..id.len().min(16)), RejectCode::Invalid, "");
        };
        if !self.has_room(conn, cost) {
            return self.reject(conn, id, RejectCode::Busy, "");
        }
        let (to_text, message_type) = match &to {
            Recipient::User(user) => (user.to_string(), 1),
            Recipient::Group(group) => (group.to_string(), 2),
        };
        let entry = (content.kind > 5).then(|| content.clone());
        let message = Message {
            avatar: self.people[name].avatar.clone(),
            from_username: name.into(),
            from: name.into(),
            to: to_text,
            content: content.text,
            content_type: content.kind as i32,
            message_type,
            url: content.file,
            ..Message::default()
        };
        let entry = Entry {
            sender: name.into(),
            recipient: to,
            message,
            entry,
            cost,
            stage: Stage::Ready,
            submitted: Some(id),
            delivered: false,
        };
        self.enqueue(conn, entry);
    }

    pub(super) fn accepted(&mut self, conn: ConnId, message_id: Bytes, to: &Recipient, place: Place) {
        let Place { epoch, seq, stored_at_ms } = place;
        let conversation = conversation(to);
        self.send(
            conn,
            &encode(Body::Accepted(Accepted { message_id, conversation, epoch, seq, stored_at_ms })),
        );
    }

    /// Without a text: the one that belongs to the code.
    pub(super) fn reject(&mut self, conn: ConnId, message_id: Bytes, code: RejectCode, text: &str) {
        let rejected = Rejected { message_id, code: code.into(), text: text.to_owned() };
        self.send_worded(conn, &Body::Rejected(rejected));
    }

    fn unfetched(&mut self, conn: ConnId, fetch_id: u64, code: RejectCode) {
        self.send_worded(
            conn,
            &Body::Unfetched(Unfetched { fetch_id, code: code.into(), text: String::new() }),
        );
    }

    /// Sends an answer whose words for people are the server's, by their length: the model has no words.
    fn send_worded(&mut self, conn: ConnId, body: &Body) {
        let mut body = body.clone();
        let (code, text, is_fetch, id_len) = match &mut body {
            Body::Rejected(r) => (r.code, &mut r.text, false, r.message_id.len()),
            Body::Unfetched(u) => (u.code, &mut u.text, true, 0),
            Body::Welcome(_)
            | Body::Accepted(_)
            | Body::Delivery(_)
            | Body::Page(_)
            | Body::Heartbeat(_)
            | Body::Goodbye(_)
            | Body::Heads(_)
            | Body::Marked(_)
            | Body::Typing(_)
            | Body::Presence(_)
            | Body::Notice(_)
            | Body::Call(_) => unreachable!("only refusals have words"),
        };
        // Those of fields that are wrong are told apart by the scenarios; here one is wrong in one way only.
        if !text.is_empty() {
            return self.send(conn, &encode(body));
        }
        *text = match (RejectCode::try_from(code).unwrap(), is_fetch) {
            (RejectCode::Invalid, false) if id_len == 0 => "message_id is not 16 bytes long",
            (RejectCode::Invalid, false) => "conversation is missing, or is not an id",
            (RejectCode::Invalid, true) => "from_seq is 0: the first place is 1",
            (RejectCode::NoSuchConversation, true) => "there is no such user or group, or you are no member",
            (RejectCode::Unavailable, true) => "the store cannot be asked now",
            (RejectCode::Busy, false) => "too many messages wait for the store",
            (RejectCode::Busy, true) => "too many fetches are open",
            (
                RejectCode::Unspecified
                | RejectCode::NoSuchConversation
                | RejectCode::Unavailable
                | RejectCode::Forbidden
                | RejectCode::Conflict,
                _,
            ) => unreachable!("it has a text, or is none of a fetch"),
        }
        .into();
        self.send(conn, &encode(body));
    }

    fn fetch(&mut self, conn: ConnId, name: &str, fetch: &Fetch) {
        let limits = self.config.limits.clone();
        let Some(of) =
            recipient(fetch.conversation.as_ref()).filter(|_| fetch.from_seq > 0 || fetch.backwards)
        else {
            return self.unfetched(conn, fetch.fetch_id, RejectCode::Invalid);
        };
        if self.conns[&conn].session.as_ref().unwrap().fetches.len() >= limits.fetches_per_connection as usize
        {
            return self.unfetched(conn, fetch.fetch_id, RejectCode::Busy);
        }
        let limit = if fetch.limit == 0 { u32::MAX } else { fetch.limit };
        let range = Range {
            reader: user(name),
            conversation: of.clone(),
            from_seq: fetch.from_seq,
            backwards: fetch.backwards,
            limit: limit.min(limits.page_messages),
            limit_bytes: limits.page_bytes,
        };
        let number = self.ask(Purpose::Fetch(conn), Request::LoadMessages(Box::new(range)));
        self.session(conn).unwrap().fetches.push((number, fetch.fetch_id, of));
    }

    pub(super) fn fetched(&mut self, conn: ConnId, number: usize, answer: &Answer) {
        let fetches = &mut self.session(conn).unwrap().fetches;
        let place = fetches.iter().position(|(other, ..)| *other == number).unwrap();
        let (_, fetch_id, of) = fetches.remove(place);
        match answer.clone().into_messages() {
            Ok(part) => {
                let page = page(fetch_id, &of, &part);
                if self.conns[&conn].outbox.fits(page.payload().len(), self.config.limits.outbox_bytes) {
                    return self.send(conn, &page);
                }
                let text = "too much waits to be read by you".into();
                let busy = Unfetched { fetch_id, code: RejectCode::Busy.into(), text };
                self.send(conn, &encode(Body::Unfetched(busy)));
            }
            Err(Undone::Refused) => self.unfetched(conn, fetch_id, RejectCode::NoSuchConversation),
            Err(Undone::Failed) => self.unfetched(conn, fetch_id, RejectCode::Unavailable),
        }
    }

    pub(super) fn tell_heads(&mut self, conn: ConnId, cursors: &[Cursor]) {
        self.stop_heads(conn);
        let limit = self.config.limits.cursors_per_hello as usize;
        let cursor =
            |cursor: &Cursor| Some((recipient(cursor.conversation.as_ref())?, cursor.epoch, cursor.seq));
        let cursors = cursors.iter().take(limit).filter_map(cursor).collect();
        self.ask_heads(conn, cursors, 0);
    }

    fn ask_heads(&mut self, conn: ConnId, cursors: Vec<(Recipient, u64, u64)>, after: u64) {
        let Some(name) = self.conns.get(&conn).filter(|conn| conn.is_open()).map(|conn| conn.user.clone())
        else {
            return;
        };
        let asked = Some(self.ask(Purpose::Heads(conn), Request::LoadHeads { user: user(&name), after }));
        self.session(conn).unwrap().heads = Some(HeadsRun { cursors, after, asked, retry_at: None });
    }

    fn stop_heads(&mut self, conn: ConnId) {
        let run = self.session(conn).and_then(|session| session.heads.take());
        if let Some(number) = run.and_then(|run| run.asked) {
            self.asked[number].open = false;
        }
    }

    pub(super) fn retry_heads(&mut self, conn: ConnId) {
        if let Some(run) = self.session(conn).and_then(|session| session.heads.take()) {
            self.ask_heads(conn, run.cursors, run.after);
        }
    }

    pub(super) fn heads_loaded(&mut self, conn: ConnId, answer: &Answer) {
        let retry_at = self.now + self.config.reload_interval;
        let mut run = self.session(conn).unwrap().heads.take().unwrap();
        let (heads, next) = match answer.clone().into_heads() {
            Ok(part) => part,
            Err(Undone::Refused) => (Vec::new(), None),
            Err(Undone::Failed) => {
                (run.asked, run.retry_at) = (None, Some(retry_at));
                self.session(conn).unwrap().heads = Some(run);
                return;
            }
        };
        let is_known = |head: &switchboard_engine::Head| {
            // The cursors of the histories know of no marks.
            [head.own, head.peer] == [Marks::default(); 2]
                && run.cursors.contains(&(head.conversation.clone(), head.epoch, head.seq))
        };
        let heads = heads.iter().filter(|head| !is_known(head)).map(|head| Head {
            conversation: conversation(&head.conversation),
            epoch: head.epoch,
            seq: head.seq,
            first_seq: head.first_seq,
            own: some_marks(head.own),
            peer: some_marks(head.peer),
        });
        let heads: Vec<_> = heads.collect();
        let mut frames: Vec<_> =
            heads.chunks(self.config.limits.heads_per_frame as usize).map(<[_]>::to_vec).collect();
        if frames.is_empty() && next.is_none() {
            frames.push(Vec::new());
        }
        let count = frames.len();
        for (index, heads) in frames.into_iter().enumerate() {
            let last = next.is_none() && index + 1 == count;
            self.send(conn, &encode(Body::Heads(Heads { heads, last })));
        }
        if let Some(after) = next {
            self.ask_heads(conn, run.cursors, after);
        }
    }

    /// Everything that was on its way to a session is written.
    pub(super) fn drained(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn).filter(|session| session.lags) else { return };
        session.lags = false;
        self.tell_heads(conn, &[]);
    }

    /// What a session is told before it is closed, if there is room; it waits for nothing from here on.
    pub(super) fn end_session(&mut self, conn: ConnId, reason: Option<CloseReason>) {
        if self.session(conn).is_none() {
            return;
        }
        let (after, spread) = match reason {
            Some(
                CloseReason::TakenOver
                | CloseReason::TooManyDevices
                | CloseReason::SignedOut
                | CloseReason::Banned,
            ) => (u32::MAX, 0),
            _ => (
                self.config.reconnect_after.as_millis() as u32,
                self.config.reconnect_spread.as_millis() as u32,
            ),
        };
        let silent = [
            CloseReason::PeerClosed,
            CloseReason::ProtocolError,
            CloseReason::UndecodableFrame,
            CloseReason::OutOfTurn,
        ];
        if let Some(reason) = reason.filter(|reason| !silent.contains(reason)) {
            let text = reason.text().into();
            let goodbye = Goodbye { text, reconnect_after_ms: after, reconnect_spread_ms: spread };
            let frame = encode(Body::Goodbye(goodbye));
            let limits = &self.config.limits;
            let outbox = &mut self.conns.get_mut(&conn).unwrap().outbox;
            if outbox.ordinary(frame.payload(), limits) == Fate::Sent {
                self.expected.out(conn, Out::Frame(frame));
            }
        }
        self.stop_heads(conn);
        let session = self.conns.get_mut(&conn).unwrap().session.take().unwrap();
        session.fetches.into_iter().for_each(|(number, ..)| self.asked[number].open = false);
        session.markings.into_iter().for_each(|marking| self.asked[marking.number].open = false);
    }
}

fn page(fetch_id: u64, of: &Recipient, part: &Messages) -> Frame {
    let message = |message: &switchboard_engine::StoredMessage| Delivery {
        seq: message.seq,
        message_id: message.id.0.to_vec().into(),
        from: message.sender.to_string(),
        content: Some(Content {
            kind: message.content_type.into(),
            text: message.content.to_string(),
            file: message.url.to_string(),
            ..Content::default()
        }),
        stored_at_ms: message.stored_at_ms,
        ..Delivery::default()
    };
    encode(Body::Page(Page {
        fetch_id,
        conversation: conversation(of),
        epoch: part.epoch,
        messages: part.messages.iter().map(message).collect(),
        head_seq: part.head_seq,
        first_seq: part.first_seq,
        group_name: part.group_name.to_string(),
    }))
}
