//! The session protocol's frames, as this side makes and reads them. What cannot be right is found here: what
//! comes out has ids, places and conversations.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::time::Duration;

use bytes::Bytes;
use switchboard_proto::{
    Message as _,
    v1::{self, RejectCode, client_frame, conversation::Peer, server_frame},
};

use super::calls::CallId;
use super::event::{Content, LogCursor, LogMessage, RejectReason};
use crate::{
    entry,
    id::{GroupId, MessageId, UserId},
    storage::{Head, Marks, Place, Recipient},
};

/// The `reconnect_after_ms` of who is not to come back by itself.
const NEVER_MS: u32 = u32::MAX;

/// The frame is no `ServerFrame`, or has no body.
#[derive(Debug)]
pub(super) struct Undecodable;

#[derive(Debug)]
pub(super) enum Received {
    Welcome(Welcome),
    Accepted(Accepted),
    Rejected {
        id: MessageId,
        refusal: Refusal,
        text: Box<str>,
    },
    Delivery {
        conversation: Recipient,
        epoch: u64,
        message: LogMessage,
    },
    Page(Page),
    Heartbeat {
        nonce: u64,
    },
    Goodbye {
        /// None: never by itself.
        after: Option<Duration>,
        spread: Duration,
    },
    Heads {
        heads: Vec<Head>,
        invalid: u64,
        last: bool,
    },
    Unfetched {
        fetch_id: u64,
        refusal: Refusal,
    },
    Call {
        id: CallId,
        user: Option<UserId>,
        call: v1::Call,
    },
    Marked {
        conversation: Recipient,
        epoch: u64,
        user: UserId,
        marks: Marks,
    },
    Typing {
        conversation: Recipient,
        user: UserId,
        types: bool,
    },
    Presence {
        user: UserId,
        online: bool,
        last_seen_ms: Option<i64>,
    },
    Notice {
        text: Box<str>,
    },
    /// A Delivery, Marked or Typing that cannot be right. The next heads have what it should have said.
    InvalidHint,
    /// An answer that lacks something, so that what it answers stays unanswered.
    InvalidAnswer,
}

#[derive(Debug)]
pub(super) struct Welcome {
    pub(super) user: String,
    pub(super) heartbeat_interval: Option<Duration>,
    pub(super) resync_interval: Option<Duration>,
    pub(super) limits: v1::Limits,
}

#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) id: MessageId,
    pub(super) conversation: Recipient,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) fetch_id: u64,
    pub(super) conversation: Recipient,
    pub(super) epoch: u64,
    pub(super) messages: Vec<LogMessage>,
    pub(super) head_seq: u64,
    pub(super) first_seq: u64,
    /// Empty if it is not told.
    pub(super) group_name: Box<str>,
}

/// What a `RejectCode` says about asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It may succeed later.
    Transient,
    /// It never will.
    Final(RejectReason),
}

pub(super) fn hello(device_id: [u8; 16], cursors: Vec<(LogCursor, Marks, Marks)>) -> Bytes {
    let device_id = Bytes::copy_from_slice(&device_id);
    encode(client_frame::Body::Hello(v1::Hello { device_id, cursors: cursors_of(cursors) }))
}

pub(super) fn resync(cursors: Vec<(LogCursor, Marks, Marks)>) -> Bytes {
    encode(client_frame::Body::Resync(v1::Resync { cursors: cursors_of(cursors) }))
}

pub(super) fn heartbeat(nonce: u64) -> Bytes {
    encode(client_frame::Body::Heartbeat(v1::Heartbeat { nonce }))
}

pub(super) fn call(call: v1::Call) -> Bytes {
    encode(client_frame::Body::Call(call))
}

pub(super) fn watch(users: &[&UserId]) -> Bytes {
    let users = users.iter().map(|user| user.as_str().into()).collect();
    encode(client_frame::Body::Watch(v1::Watch { users }))
}

pub(super) fn fetch(fetch_id: u64, conversation: &Recipient, from_seq: u64) -> Bytes {
    encode(client_frame::Body::Fetch(v1::Fetch {
        fetch_id,
        conversation: Some(conversation_of(conversation)),
        from_seq,
        ..v1::Fetch::default()
    }))
}

pub(super) fn fetch_older(fetch_id: u64, conversation: &Recipient, from_seq: u64, limit: u32) -> Bytes {
    encode(client_frame::Body::Fetch(v1::Fetch {
        fetch_id,
        conversation: Some(conversation_of(conversation)),
        from_seq,
        backwards: true,
        limit,
    }))
}

pub(super) fn submit(id: MessageId, conversation: &Recipient, content: &Content) -> Bytes {
    encode(submit_body(id, conversation, content))
}

/// How large [`submit`] would be.
pub(super) fn submit_bytes(id: MessageId, conversation: &Recipient, content: &Content) -> u64 {
    let body = submit_body(id, conversation, content);
    crate::client::length(v1::ClientFrame { body: Some(body) }.encoded_len())
}

fn submit_body(id: MessageId, conversation: &Recipient, content: &Content) -> client_frame::Body {
    client_frame::Body::Submit(v1::Submit {
        message_id: Bytes::copy_from_slice(&id.0),
        conversation: Some(conversation_of(conversation)),
        content: Some(entry::content(
            content.kind,
            String::from(&*content.text),
            String::from(&*content.file),
            &content.subject,
        )),
    })
}

fn encode(body: client_frame::Body) -> Bytes {
    v1::ClientFrame { body: Some(body) }.encode_to_vec().into()
}

fn cursors_of(cursors: Vec<(LogCursor, Marks, Marks)>) -> Vec<v1::Cursor> {
    let some = |marks: Marks| (marks != Marks::default()).then(|| wired(marks));
    let wired = cursors.into_iter().map(|(cursor, own, peer)| v1::Cursor {
        conversation: Some(conversation_of(&cursor.conversation)),
        epoch: cursor.epoch,
        seq: cursor.seq,
        own: some(own),
        peer: some(peer),
    });
    wired.collect()
}

pub(super) fn mark(conversation: &Recipient, epoch: u64, marks: Marks) -> Bytes {
    let conversation = Some(conversation_of(conversation));
    encode(client_frame::Body::Mark(v1::Mark { conversation, epoch, marks: Some(wired(marks)) }))
}

pub(super) fn typing(conversation: &Recipient, typing: bool) -> Bytes {
    let conversation = Some(conversation_of(conversation));
    encode(client_frame::Body::Typing(v1::Typing { conversation, typing, user: String::new() }))
}

const fn wired(marks: Marks) -> v1::Marks {
    v1::Marks { delivered_seq: marks.delivered, read_seq: marks.read }
}

/// Marks as the server tells them; left out, they are at the beginning.
fn marks_of(marks: Option<v1::Marks>) -> Marks {
    let v1::Marks { delivered_seq, read_seq } = marks.unwrap_or_default();
    // Nobody has seen what has not arrived.
    Marks { delivered: delivered_seq, read: read_seq.min(delivered_seq) }
}

fn conversation_of(conversation: &Recipient) -> v1::Conversation {
    let peer = match conversation {
        Recipient::User(user) => Peer::User(user.as_str().into()),
        Recipient::Group(group) => Peer::Group(group.as_str().into()),
    };
    v1::Conversation { peer: Some(peer) }
}

/// Reads a frame that came to this user.
pub(super) fn decode(frame: Bytes, user: &UserId) -> Result<Received, Undecodable> {
    let body = v1::ServerFrame::decode(frame).map_err(|_| Undecodable)?.body.ok_or(Undecodable)?;
    Ok(match body {
        server_frame::Body::Welcome(welcome) => Received::Welcome(Welcome {
            user: welcome.user,
            heartbeat_interval: said_ms(welcome.heartbeat_interval_ms),
            resync_interval: said_ms(welcome.resync_interval_ms),
            limits: welcome.limits.unwrap_or_default(),
        }),
        server_frame::Body::Accepted(accepted) => {
            read_accepted(&accepted).map_or(Received::InvalidAnswer, Received::Accepted)
        }
        server_frame::Body::Rejected(v1::Rejected { message_id, code, text }) => match id_of(&message_id) {
            Some(id) => Received::Rejected { id, refusal: refusal_of(code), text: text.into() },
            None => Received::InvalidAnswer,
        },
        server_frame::Body::Delivery(mut delivery) => {
            let conversation = recipient_of(delivery.conversation.take());
            match (conversation, delivery.epoch, message_of(delivery, user)) {
                (Some(conversation), epoch @ 1.., Some(message)) => {
                    Received::Delivery { conversation, epoch, message }
                }
                _ => Received::InvalidHint,
            }
        }
        server_frame::Body::Page(page) => {
            read_page(page, user).map_or(Received::InvalidAnswer, Received::Page)
        }
        server_frame::Body::Heartbeat(v1::Heartbeat { nonce }) => Received::Heartbeat { nonce },
        server_frame::Body::Notice(v1::Notice { text }) => Received::Notice { text: text.into() },
        server_frame::Body::Goodbye(goodbye) => Received::Goodbye {
            after: match goodbye.reconnect_after_ms {
                NEVER_MS => None,
                after_ms => Some(Duration::from_millis(after_ms.into())),
            },
            spread: Duration::from_millis(goodbye.reconnect_spread_ms.into()),
        },
        server_frame::Body::Heads(v1::Heads { heads, last }) => {
            let named = crate::client::length(heads.len());
            let heads: Vec<_> = heads.into_iter().filter_map(head_of).collect();
            let invalid = named.saturating_sub(crate::client::length(heads.len()));
            Received::Heads { heads, invalid, last }
        }
        server_frame::Body::Unfetched(v1::Unfetched { fetch_id, code, text: _ }) => {
            Received::Unfetched { fetch_id, refusal: refusal_of(code) }
        }
        server_frame::Body::Marked(marked) => read_marked(marked, user).unwrap_or(Received::InvalidHint),
        server_frame::Body::Typing(typing) => read_typing(typing, user).unwrap_or(Received::InvalidHint),
        server_frame::Body::Presence(v1::Presence { user, online, last_seen_ms }) => {
            // Who is here was not here last at some other time.
            let last_seen_ms = Some(last_seen_ms).filter(|at_ms| *at_ms != 0 && !online);
            match UserId::new(&user) {
                Ok(user) => Received::Presence { user, online, last_seen_ms },
                Err(_) => Received::InvalidHint,
            }
        }
        server_frame::Body::Call(call) => match call.call_id.as_ref().try_into() {
            Ok(id) => Received::Call { id: CallId(id), user: UserId::new(&call.user).ok(), call },
            Err(_) => Received::InvalidHint,
        },
    })
}

/// Only the user's own marks, and those of the other user of a one-to-one conversation, are told.
fn read_marked(marked: v1::Marked, user: &UserId) -> Option<Received> {
    let (conversation, whose) = (recipient_of(marked.conversation)?, UserId::new(&marked.user).ok()?);
    let marks = marks_of(marked.marks);
    let is_right = whose == *user || conversation == Recipient::User(whose.clone());
    let sound = is_right && marked.epoch > 0;
    sound.then_some(Received::Marked { conversation, epoch: marked.epoch, user: whose, marks })
}

/// Nobody is told that oneself types.
fn read_typing(typing: v1::Typing, user: &UserId) -> Option<Received> {
    let (conversation, whose) = (recipient_of(typing.conversation)?, UserId::new(&typing.user).ok()?);
    let is_right = match &conversation {
        Recipient::User(other) => *other == whose,
        Recipient::Group(_) => true,
    };
    let sound = is_right && whose != *user;
    sound.then_some(Received::Typing { conversation, user: whose, types: typing.typing })
}

fn read_accepted(accepted: &v1::Accepted) -> Option<Accepted> {
    let (epoch, seq) = (accepted.epoch, accepted.seq);
    let place = Place { epoch, seq, stored_at_ms: accepted.stored_at_ms };
    Some(Accepted {
        id: id_of(&accepted.message_id)?,
        conversation: recipient_of(accepted.conversation.clone())?,
        place: (epoch > 0 && seq > 0).then_some(place)?,
    })
}

/// A page of epoch 0 is that of a conversation without a log, so it has nothing in it.
fn read_page(page: v1::Page, user: &UserId) -> Option<Page> {
    let messages = page.messages.into_iter().map(|message| message_of(message, user));
    let page = Page {
        fetch_id: page.fetch_id,
        conversation: recipient_of(page.conversation)?,
        epoch: page.epoch,
        messages: messages.collect::<Option<_>>()?,
        head_seq: page.head_seq,
        first_seq: page.first_seq.max(1),
        // A newer server may allow what this version does not: a name is nothing to end a connection over.
        group_name: match entry::is_group_name(&page.group_name) {
            true => page.group_name.into(),
            false => Box::default(),
        },
    };
    let consecutive = |pair: &[LogMessage]| match pair {
        [one, next] => one.seq.checked_add(1) == Some(next.seq),
        _ => false,
    };
    let last = page.messages.last().map_or(0, |message| message.seq);
    let sound = page.messages.windows(2).all(consecutive)
        && last <= page.head_seq
        && (page.epoch > 0 || page.head_seq == 0);
    sound.then_some(page)
}

fn head_of(head: v1::Head) -> Option<Head> {
    // 0 says that nobody has asked, and that no more is said than that there is something at this place.
    let (epoch, seq, first_seq) = (head.epoch, head.seq, head.first_seq);
    let conversation = recipient_of(head.conversation)?;
    (epoch > 0 && seq > 0).then_some(Head {
        conversation,
        epoch,
        seq,
        first_seq,
        own: marks_of(head.own),
        peer: marks_of(head.peer),
    })
}

fn message_of(delivery: v1::Delivery, user: &UserId) -> Option<LogMessage> {
    let mut content = delivery.content?;
    let changed_seq = core::mem::take(&mut content.changed_seq);
    let is_recalled = core::mem::take(&mut content.recalled);
    let from = UserId::new(&delivery.from).ok()?;
    let message = LogMessage {
        seq: delivery.seq,
        id: id_of(&delivery.message_id)?,
        own: from == *user,
        from,
        content: Content {
            kind: content.kind,
            // A newer server may say what this version does not know. It has its place in the log all the same.
            subject: entry::subject_told(&content),
            text: content.text.into(),
            file: content.file.into(),
        },
        stored_at_ms: delivery.stored_at_ms,
        changed_seq,
        is_recalled,
    };
    (message.seq > 0).then_some(message)
}

fn id_of(bytes: &[u8]) -> Option<MessageId> {
    bytes.try_into().ok().map(MessageId)
}

fn recipient_of(conversation: Option<v1::Conversation>) -> Option<Recipient> {
    match conversation?.peer? {
        Peer::User(user) => UserId::new(&user).ok().map(Recipient::User),
        Peer::Group(group) => GroupId::new(&group).ok().map(Recipient::Group),
    }
}

fn refusal_of(code: i32) -> Refusal {
    match RejectCode::try_from(code) {
        Ok(RejectCode::Unavailable | RejectCode::Busy) => Refusal::Transient,
        Ok(RejectCode::Invalid) => Refusal::Final(RejectReason::Invalid),
        Ok(RejectCode::NoSuchConversation) => Refusal::Final(RejectReason::NoSuchConversation),
        Ok(RejectCode::Forbidden) => Refusal::Final(RejectReason::Forbidden),
        Ok(RejectCode::Conflict) => Refusal::Final(RejectReason::Conflict),
        Ok(RejectCode::Unspecified) | Err(_) => Refusal::Final(RejectReason::Other(code)),
    }
}

fn said_ms(ms: u32) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms.into()))
}
