//! The session wire as the simulator needs it: conversations by number, ids that name messages, frames that raw
//! sessions send, and what frames are called in traces.

use bytes::Bytes;
use switchboard_engine::{Marks, MessageId, Recipient, Subject};
use switchboard_proto::{
    Message as _,
    v1::{
        self, ClientFrame, Content, Conversation, Cursor, Delivery, Fetch, Heartbeat, Hello, Note, Resync,
        ServerFrame, Submit, client_frame, conversation, note, server_frame,
    },
};

use super::{Token, index, signals};
use crate::{check::Mark, choice::keyed};

/// A number that is no user's and no group's.
pub(crate) const NOBODY: u16 = u16::MAX;

/// Who or what is on the other side of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Peer {
    User(u16),
    Group(u16),
}

impl core::fmt::Display for Peer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::User(user) => write!(f, "u{user}"),
            Self::Group(group) => write!(f, "g{group}"),
        }
    }
}

/// A log by the numbers of its users, the lesser one first, or of its group.
pub(crate) type LogKey = (u32, u32);

impl Peer {
    /// The conversation that a frame names, as the one on the other side of it sees it.
    pub(crate) fn read(of: Option<&Conversation>) -> Option<Self> {
        Some(match of?.peer.as_ref()? {
            conversation::Peer::User(user) => Self::User(index(user).unwrap_or(NOBODY)),
            conversation::Peer::Group(group) => Self::Group(index(group).unwrap_or(NOBODY)),
        })
    }

    /// The same of the engine's name for it.
    pub(crate) fn of(recipient: &Recipient) -> Self {
        match recipient {
            Recipient::User(user) => Self::User(index(user.as_str()).unwrap_or(NOBODY)),
            Recipient::Group(group) => Self::Group(index(group.as_str()).unwrap_or(NOBODY)),
        }
    }

    /// The log that this is to a user.
    pub(crate) fn log(self, user: u16) -> LogKey {
        match self {
            Self::User(other) => (u32::from(user.min(other)), u32::from(user.max(other))),
            Self::Group(group) => (u32::MAX, u32::from(group)),
        }
    }
}

/// What a log is to a user: none if it is not the user's. Of groups it is everybody's who belongs to them.
pub(crate) fn peer_of(log: LogKey, user: u16) -> Option<Peer> {
    let (one, other) = log;
    match u32::from(user) {
        _ if one == u32::MAX => Some(Peer::Group(other as u16)),
        user if user == one => Some(Peer::User(other as u16)),
        user if user == other => Some(Peer::User(one as u16)),
        _ => None,
    }
}

/// The id of a session's message: its token, and a sum that no other id has by chance.
pub(crate) fn message_id(token: Token) -> MessageId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&token.step.to_le_bytes());
    id[4..8].copy_from_slice(&token.nth.to_le_bytes());
    id[8..].copy_from_slice(&sum(token).to_le_bytes());
    MessageId(id)
}

/// The token that an id was made of.
pub(crate) fn token_of(id: &[u8]) -> Option<Token> {
    let number = |at: usize| Some(u32::from_le_bytes(id.get(at..at + 4)?.try_into().ok()?));
    let token = Token { step: number(0)?, nth: number(4)? };
    (id.get(8..)? == sum(token).to_le_bytes()).then_some(token)
}

const fn sum(token: Token) -> u64 {
    keyed(token.step as u64, token.nth as u64, 0x5e55)
}

/// What a server's frame says, if it is one and says anything.
pub(crate) fn read(bytes: &Bytes) -> Option<server_frame::Body> {
    ServerFrame::decode(bytes.clone()).ok()?.body
}

/// Whether a server's frame concerns a call, or who is here.
pub(crate) fn is_signal(bytes: &Bytes) -> bool {
    matches!(read(bytes), Some(server_frame::Body::Call(_) | server_frame::Body::Presence(_)))
}

/// What no client says: frames that only servers have, by number. To a server they say nothing.
pub(crate) fn said_by_a_server(number: u32) -> Bytes {
    use server_frame::Body;
    let user = || "u0".to_owned();
    let body = match number % 4 {
        0 => Body::Presence(v1::Presence { user: user(), online: true, last_seen_ms: 1 }),
        1 => Body::Call(signals::call_of(&[7; 16], "u0", v1::call::Kind::Accept)),
        2 => Body::Marked(v1::Marked { user: user(), epoch: 1, ..v1::Marked::default() }),
        _ => Body::Typing(v1::Typing { user: user(), typing: true, ..v1::Typing::default() }),
    };
    ServerFrame { body: Some(body) }.encode_to_vec().into()
}

/// What a client's frame says, if it is one and says anything.
pub(crate) fn read_client(bytes: &Bytes) -> Option<client_frame::Body> {
    ClientFrame::decode(bytes.clone()).ok()?.body
}

/// The token of a message that a server tells: its id says it if a session has given it that. Else its text begins
/// with it, or its file's name has it.
pub(crate) fn token_in(message: &Delivery) -> Option<Token> {
    let of_classic = || {
        let Content { text, file, .. } = message.content.as_ref()?;
        Token::read(text).or_else(|| Token::read(file.strip_prefix("f-")?))
    };
    token_of(&message.message_id).or_else(of_classic)
}

/// What an entry is, as frames have it.
pub(crate) fn wired(content: &switchboard_engine::Content) -> Content {
    let (text, file) = (String::from(&*content.text), String::from(&*content.file));
    let subject = Content::decode(content.subject_bytes().as_slice()).unwrap_or_default();
    Content { kind: content.kind, text, file, ..subject }
}

/// The same of what frames have.
pub(crate) fn unwired(content: &Content) -> switchboard_engine::Content {
    let (text, file) = (content.text.as_str().into(), content.file.as_str().into());
    let subject = Content { text: String::new(), file: String::new(), ..content.clone() }.encode_to_vec();
    switchboard_engine::Content::restore(content.kind, text, file, &subject)
}

/// What an engine tells another one, if that says anything.
pub(crate) fn read_note(bytes: &Bytes) -> Option<note::Body> {
    Note::decode(bytes.clone()).ok()?.body
}

/// The messages that a server's frame brings.
pub(crate) fn tokens_of(bytes: &Bytes) -> Vec<Token> {
    let body = read(bytes);
    if let Some(server_frame::Body::Delivery(delivery)) = &body {
        return token_in(delivery).into_iter().collect();
    }
    let Some(server_frame::Body::Page(page)) = &body else { return Vec::new() };
    page.messages.iter().filter_map(token_in).collect()
}

pub(crate) fn encode(body: client_frame::Body) -> Bytes {
    ClientFrame { body: Some(body) }.encode_to_vec().into()
}

/// A conversation as frames name it.
pub(crate) fn conversation(of: Peer) -> Conversation {
    Conversation {
        peer: Some(match of {
            Peer::User(_) => conversation::Peer::User(of.to_string()),
            Peer::Group(_) => conversation::Peer::Group(of.to_string()),
        }),
    }
}

pub(crate) fn submit(id: Bytes, to: Option<Peer>, content: Option<Content>) -> Bytes {
    let submit = Submit { message_id: id, conversation: to.map(conversation), content };
    encode(client_frame::Body::Submit(submit))
}

/// A Submit of the same id to the same conversation, with something else in it.
pub(crate) fn altered(frame: &Bytes) -> Option<Bytes> {
    let Some(client_frame::Body::Submit(mut submit)) = read_client(frame) else { return None };
    submit.content.as_mut()?.text.push_str(" altered");
    Some(encode(client_frame::Body::Submit(submit)))
}

/// A Hello with so many cursors that make no sense.
pub(crate) fn hello(client: u16, cursors: u32) -> Bytes {
    let device_id = Bytes::copy_from_slice(&device_id(client, 0));
    encode(client_frame::Body::Hello(Hello { device_id, cursors: senseless(cursors) }))
}

/// A Resync with so many cursors that make no sense.
pub(crate) fn resync(cursors: u32) -> Bytes {
    encode(client_frame::Body::Resync(Resync { cursors: senseless(cursors) }))
}

pub(crate) fn heartbeat(nonce: u64) -> Bytes {
    encode(client_frame::Body::Heartbeat(Heartbeat { nonce }))
}

pub(crate) fn fetch(fetch_id: u64, of: Option<Peer>, from_seq: u64, backwards: bool, limit: u32) -> Bytes {
    let conversation = of.map(conversation);
    encode(client_frame::Body::Fetch(Fetch { fetch_id, conversation, from_seq, backwards, limit }))
}

/// How far somebody is, as frames have it.
pub(crate) fn marks_of(marks: Option<v1::Marks>) -> Marks {
    marks.map_or_else(Marks::default, |marks| Marks { delivered: marks.delivered_seq, read: marks.read_seq })
}

/// What a client's Mark says, if it can be.
pub(crate) fn read_mark(mark: &v1::Mark) -> Option<Mark> {
    let (of, marks) = (Peer::read(mark.conversation.as_ref())?, marks_of(mark.marks));
    let can_be = mark.epoch > 0 && marks.delivered > 0 && marks.read <= marks.delivered;
    can_be.then_some(Mark { of, epoch: mark.epoch, marks })
}

/// A Mark, which need not be right.
pub(crate) fn mark(of: Option<Peer>, epoch: u64, marks: Marks) -> Bytes {
    let marks = Some(v1::Marks { delivered_seq: marks.delivered, read_seq: marks.read });
    encode(client_frame::Body::Mark(v1::Mark { conversation: of.map(conversation), epoch, marks }))
}

/// The id of a client's device, which is another one each time that the application begins anew.
pub(crate) fn device_id(client: u16, wiped: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&keyed(u64::from(client), wiped, 0xde).to_le_bytes());
    id
}

/// A device by a number.
pub(crate) fn device_of(id: &[u8]) -> u64 {
    id.get(..8).and_then(|id| id.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Cursors of conversations that there are and are not, at places that there cannot be.
fn senseless(count: u32) -> Vec<Cursor> {
    let cursor = |number: u32| Cursor {
        conversation: (number % 5 != 4).then(|| {
            let other = (number % 7) as u16;
            conversation(if number.is_multiple_of(2) { Peer::User(other) } else { Peer::Group(other) })
        }),
        epoch: keyed(u64::from(number), 0, 0xe),
        seq: if number.is_multiple_of(3) { u64::MAX } else { u64::from(number) },
        ..Cursor::default()
    };
    (0..count).map(cursor).collect()
}

/// What a client's frame is called in traces.
pub(crate) fn client_name(bytes: &Bytes) -> String {
    use client_frame::Body;
    let of = |conversation: &Option<Conversation>| name(conversation.as_ref());
    match read_client(bytes) {
        None => format!("{} bytes of garbage", bytes.len()),
        Some(Body::Hello(hello)) => format!("Hello, {} cursors", hello.cursors.len()),
        Some(Body::Submit(submit)) => {
            format!("Submit {} →{}", id_name(&submit.message_id), of(&submit.conversation))
        }
        Some(Body::Fetch(fetch)) => {
            let (from, way) = (fetch.from_seq, if fetch.backwards { "back" } else { "on" });
            format!("Fetch {} of {} from {from} {way}", fetch.fetch_id, of(&fetch.conversation))
        }
        Some(Body::Heartbeat(heartbeat)) => format!("Heartbeat {}", heartbeat.nonce),
        Some(Body::Resync(resync)) => format!("Resync, {} cursors", resync.cursors.len()),
        Some(other @ (Body::Mark(_) | Body::Typing(_) | Body::Watch(_) | Body::Call(_))) => {
            signals::client_name(&other).unwrap_or_else(|| format!("{other:?}"))
        }
    }
}

/// What a server's frame is called in traces.
pub(crate) fn server_name(bytes: &Bytes) -> String {
    use server_frame::Body;
    let of = |conversation: &Option<Conversation>| name(conversation.as_ref());
    match read(bytes) {
        None => format!("{} bytes of garbage", bytes.len()),
        Some(Body::Welcome(welcome)) => format!("Welcome {}", welcome.user),
        Some(Body::Accepted(accepted)) => {
            let (id, place) = (id_name(&accepted.message_id), accepted.seq);
            format!("Accepted {id} as {}/{place}", of(&accepted.conversation))
        }
        Some(Body::Rejected(rejected)) => {
            format!("Rejected {}: {}", id_name(&rejected.message_id), rejected.code().as_str_name())
        }
        Some(Body::Delivery(delivery)) => {
            let content = delivery.content.as_ref().map(unwired).unwrap_or_default();
            let what = match token_in(&delivery) {
                Some(token) => token.to_string(),
                None => content.text.to_string(),
            };
            let (of, seq) = (of(&delivery.conversation), delivery.seq);
            format!("Delivery {of}/{seq} {what}{} of {}", subject_name(&content.subject), delivery.from)
        }
        Some(Body::Page(page)) => {
            let places: Vec<String> = page.messages.iter().map(|message| message.seq.to_string()).collect();
            format!(
                "Page {} of {}: {} of {}",
                page.fetch_id,
                of(&page.conversation),
                places.join(" "),
                page.head_seq
            )
        }
        Some(Body::Heartbeat(heartbeat)) => format!("Heartbeat {}", heartbeat.nonce),
        Some(Body::Goodbye(goodbye)) => match goodbye.reconnect_after_ms {
            u32::MAX => "Goodbye for good".to_owned(),
            after_ms => format!("Goodbye, back after {after_ms} ms"),
        },
        Some(Body::Heads(heads)) => {
            let named = heads.heads.iter().map(|head| format!("{}/{}", of(&head.conversation), head.seq));
            let last = if heads.last { "." } else { " ..." };
            format!("Heads {}{last}", named.collect::<Vec<_>>().join(" "))
        }
        Some(Body::Unfetched(unfetched)) => {
            format!("Unfetched {}: {}", unfetched.fetch_id, unfetched.code().as_str_name())
        }
        Some(Body::Notice(notice)) => format!("Notice {}", notice.text.trim()),
        Some(other @ (Body::Marked(_) | Body::Typing(_) | Body::Presence(_) | Body::Call(_))) => {
            signals::server_name(&other).unwrap_or_else(|| format!("{other:?}"))
        }
    }
}

/// What an entry is called in traces that is no message.
pub(crate) fn subject_name(subject: &Subject) -> String {
    match subject {
        Subject::Message => String::new(),
        Subject::Edit { target_seq } => format!(", an edit of {target_seq}"),
        Subject::Recall { target_seq } => format!(", a recall of {target_seq}"),
        Subject::Change(change) => format!(", {change:?}"),
    }
}

fn name(of: Option<&Conversation>) -> String {
    Peer::read(of).map_or_else(|| "nowhere".to_owned(), |peer| peer.to_string())
}

fn id_name(id: &[u8]) -> String {
    token_of(id).map_or_else(|| format!("an id of {} bytes", id.len()), |token| token.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_message_it_is_and_no_other_id_does() {
        let token = Token { step: 7, nth: 300 };
        let mut id = message_id(token).0;
        assert_eq!(token_of(&id), Some(token));
        id[0] ^= 1;
        assert_eq!(token_of(&id), None);
        assert_eq!(token_of(&id[..15]), None);
    }

    #[test]
    fn a_log_is_to_each_side_what_is_on_the_other() {
        let log = Peer::User(3).log(5);
        assert_eq!((peer_of(log, 5), peer_of(log, 3)), (Some(Peer::User(3)), Some(Peer::User(5))));
        assert_eq!(peer_of(log, 4), None);
        assert_eq!(peer_of(Peer::Group(2).log(9), 1), Some(Peer::Group(2)));
    }
}
