//! The wire of the session protocol: frames from bytes, and the forms in which things are told.

use alloc::{borrow::ToOwned, string::String};
use core::time::Duration;

use bytes::Bytes;
use switchboard_proto::{
    Message as _,
    v1::{
        self, ClientFrame, Content, Conversation, Delivery, Goodbye, Head, Heads, Heartbeat, Limits, Mark,
        Marked, NotedEntry, Notice, Page, Presence, RejectCode, Rejected, ServerFrame, Typing, Unfetched,
        Welcome, client_frame, conversation::Peer, server_frame::Body,
    },
};

use crate::{
    close::CloseReason,
    config::ServerConfig,
    entry,
    id::{GroupId, MessageId, UserId},
    storage::{self, Marks, Messages, Place, Recipient, StoredMessage},
};

/// The time after which those come back who must not come back by themselves: `reconnect_after_ms` at its end.
const NEVER: Duration = Duration::from_millis(u32::MAX as u64);

/// What a client's frame says, if it is one and says anything.
pub(super) fn decode(bytes: Bytes) -> Option<client_frame::Body> {
    ClientFrame::decode(bytes).ok()?.body
}

fn encode(body: Body) -> Bytes {
    ServerFrame { body: Some(body) }.encode_to_vec().into()
}

/// A conversation, by who or what is on its other side.
pub(super) fn conversation(of: &Recipient) -> Conversation {
    let peer = match of {
        Recipient::User(user) => Peer::User(user.as_str().to_owned()),
        Recipient::Group(group) => Peer::Group(group.as_str().to_owned()),
    };
    Conversation { peer: Some(peer) }
}

/// The other side of a conversation, if it names one that can be.
pub(super) fn recipient(of: Option<&Conversation>) -> Option<Recipient> {
    match of?.peer.as_ref()? {
        Peer::User(user) => UserId::new(user).ok().map(Recipient::User),
        Peer::Group(group) => GroupId::new(group).ok().map(Recipient::Group),
    }
}

/// A message's id, if it has the length of one.
pub(super) fn message_id(bytes: &[u8]) -> Option<MessageId> {
    bytes.try_into().ok().map(MessageId)
}

/// The answer to a Hello.
pub(super) fn welcome(session_id: &[u8; 16], user: &UserId, config: &ServerConfig) -> Bytes {
    let l = &config.limits;
    encode(Body::Welcome(Welcome {
        session_id: Bytes::copy_from_slice(session_id),
        user: user.as_str().to_owned(),
        heartbeat_interval_ms: millis(config.heartbeat_interval),
        resync_interval_ms: millis(config.resync_interval),
        limits: Some(Limits {
            message_bytes: l.message_bytes,
            messages_per_second: l.messages_per_second,
            message_burst: l.message_burst,
            bytes_per_second: l.bytes_per_second,
            byte_burst: l.byte_burst,
            pending: l.pending_per_connection,
            fetches: l.fetches_per_connection,
            page_messages: l.page_messages,
            cursors: l.cursors_per_hello,
            watches: l.watches,
            user_messages_per_second: l.user_messages_per_second,
            user_message_burst: if l.user_messages_per_second == 0 { 0 } else { l.user_message_burst },
            user_bytes_per_second: l.user_bytes_per_second,
            user_byte_burst: if l.user_bytes_per_second == 0 { 0 } else { l.user_byte_burst },
        }),
    }))
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(super) fn heartbeat(nonce: u64) -> Bytes {
    encode(Body::Heartbeat(Heartbeat { nonce }))
}

/// An id that is longer than any comes back cut, so that a refusal is never a large frame.
pub(super) fn rejected(id: &[u8], code: RejectCode, text: &str) -> Bytes {
    let message_id = Bytes::copy_from_slice(id.get(..16).unwrap_or(id));
    encode(Body::Rejected(Rejected { message_id, code: code.into(), text: text.to_owned() }))
}

pub(super) fn unfetched(fetch_id: u64, code: RejectCode, text: &str) -> Bytes {
    encode(Body::Unfetched(Unfetched { fetch_id, code: code.into(), text: text.to_owned() }))
}

/// What stands in a log at `place`, pushed to a reader of this conversation.
pub(in crate::server) fn delivery(
    to: &Recipient,
    place: Place,
    id: MessageId,
    from: &UserId,
    content: Content,
) -> Bytes {
    encode(Body::Delivery(Delivery {
        conversation: Some(conversation(to)),
        epoch: place.epoch,
        seq: place.seq,
        message_id: Bytes::copy_from_slice(&id.0),
        from: from.as_str().to_owned(),
        content: Some(content),
        stored_at_ms: place.stored_at_ms,
    }))
}

/// What other engines are told of an entry that stands in a log at `place`.
pub(in crate::server) fn noted_entry(
    to: &Recipient,
    place: Place,
    id: MessageId,
    from: &UserId,
    content: Content,
) -> NotedEntry {
    NotedEntry {
        conversation: Some(conversation(to)),
        epoch: place.epoch,
        seq: place.seq,
        message_id: Bytes::copy_from_slice(&id.0),
        from: from.as_str().to_owned(),
        content: Some(content),
        stored_at_ms: place.stored_at_ms,
    }
}

pub(super) fn page(fetch_id: u64, of: &Recipient, part: Messages) -> Bytes {
    let Messages { epoch, head_seq, first_seq, messages, group_name } = part;
    let messages = messages.into_iter().map(page_message).collect();
    let conversation = Some(conversation(of));
    let group_name = String::from(group_name);
    encode(Body::Page(Page { fetch_id, conversation, epoch, messages, head_seq, first_seq, group_name }))
}

/// What every message of a page has in common is left out.
fn page_message(message: StoredMessage) -> Delivery {
    Delivery {
        conversation: None,
        epoch: 0,
        seq: message.seq,
        message_id: Bytes::copy_from_slice(&message.id.0),
        from: message.sender.as_str().to_owned(),
        content: Some(Content {
            changed_seq: message.changed_seq,
            recalled: message.is_recalled,
            ..entry::content(
                message.content_type.into(),
                String::from(message.content),
                String::from(message.url),
                &message.subject,
            )
        }),
        stored_at_ms: message.stored_at_ms,
    }
}

/// Whether a user is here; `last_seen_ms` is 0 where that is not for the reader to know.
pub(in crate::server) fn presence(user: &UserId, online: bool, last_seen_ms: i64) -> Bytes {
    encode(Body::Presence(Presence { user: user.as_str().to_owned(), online, last_seen_ms }))
}

/// A signal of a call, or its end.
pub(in crate::server) fn call(call: v1::Call) -> Bytes {
    encode(Body::Call(call))
}

pub(super) fn heads(heads: &[storage::Head], last: bool) -> Bytes {
    let heads = heads.iter().map(|head| Head {
        conversation: Some(conversation(&head.conversation)),
        epoch: head.epoch,
        seq: head.seq,
        first_seq: head.first_seq,
        own: some_marks(head.own),
        peer: some_marks(head.peer),
    });
    encode(Body::Heads(Heads { heads: heads.collect(), last }))
}

/// Marks as they are on the wire.
pub(super) const fn wired(marks: Marks) -> switchboard_proto::v1::Marks {
    switchboard_proto::v1::Marks { delivered_seq: marks.delivered, read_seq: marks.read }
}

/// The same, left out if they are at the beginning.
fn some_marks(marks: Marks) -> Option<switchboard_proto::v1::Marks> {
    (marks != Marks::default()).then_some(wired(marks))
}

/// Marks from the wire, where the beginning may be left out.
pub(super) fn unwired(marks: Option<switchboard_proto::v1::Marks>) -> Marks {
    marks.map_or_else(Marks::default, |marks| Marks { delivered: marks.delivered_seq, read: marks.read_seq })
}

/// What a client marks, if it can be: nobody has read what has not arrived.
pub(super) fn marks_of(mark: &Mark) -> Option<(Recipient, Marks)> {
    let (conversation, marks) = (recipient(mark.conversation.as_ref())?, unwired(mark.marks));
    let is_right = mark.epoch > 0 && marks.delivered > 0 && marks.read <= marks.delivered;
    is_right.then_some((conversation, marks))
}

/// Somebody's marks, told to a reader of this conversation.
pub(super) fn marked(of: &Recipient, epoch: u64, user: &UserId, marks: Marks) -> Bytes {
    let (conversation, user) = (Some(conversation(of)), user.as_str().to_owned());
    encode(Body::Marked(Marked { conversation, epoch, user, marks: Some(wired(marks)) }))
}

/// Who is typing, told to a reader of this conversation.
pub(super) fn typing(of: &Recipient, typing: bool, user: &UserId) -> Bytes {
    let (conversation, user) = (Some(conversation(of)), user.as_str().to_owned());
    encode(Body::Typing(Typing { conversation, typing, user }))
}

/// Something that the server has to say.
pub(in crate::server) fn notice(text: &str) -> Bytes {
    encode(Body::Notice(Notice { text: text.to_owned() }))
}

/// The last frame before a close, with when to come back.
pub(in crate::server) fn goodbye(reason: CloseReason, after: Duration, spread: Duration) -> Bytes {
    let (reconnect_after_ms, reconnect_spread_ms) = (millis(after), millis(spread));
    let text = reason.text().to_owned();
    encode(Body::Goodbye(Goodbye { text, reconnect_after_ms, reconnect_spread_ms }))
}

/// When a session that is closed is to come back; none where the peer would not understand it, or has said goodbye itself.
pub(super) fn come_back(reason: CloseReason, config: &ServerConfig) -> Option<(Duration, Duration)> {
    match reason {
        CloseReason::PeerClosed
        | CloseReason::ProtocolError
        | CloseReason::TextMessage
        | CloseReason::Undecodable
        | CloseReason::UndecodableFrame
        | CloseReason::OutOfTurn => None,
        // Another connection of the same user has this one's place: to come back would take that one's. And who may not
        // come in is not to knock without end.
        CloseReason::TakenOver
        | CloseReason::TooManyDevices
        | CloseReason::SignedOut
        | CloseReason::Banned => Some((NEVER, Duration::ZERO)),
        CloseReason::GoingAway
        | CloseReason::Administrator
        | CloseReason::MessageTooLarge
        | CloseReason::TooManyMessages
        | CloseReason::TooManyBytes
        | CloseReason::SlowReader
        | CloseReason::TooManyPending
        | CloseReason::ServerFull
        | CloseReason::NotAdmitted
        | CloseReason::Idle => Some((config.reconnect_after, config.reconnect_spread)),
    }
}
