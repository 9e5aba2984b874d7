//! Events and actions of any server in words, for people: without the tokens and numbered names of worlds.

use bytes::Bytes;
use switchboard_engine::{Answer, Carried, Event, Frame, OwnedAction, Recipient, Request, Topic};
use switchboard_proto::v1::{Conversation, client_frame, conversation, server_frame};

use super::judge::{Judge, conn_of};
use super::player::Cause;
use crate::wire::{HEARTBEAT, View, session};

/// Characters of a text that are shown.
const TEXT_CHARS: usize = 40;

/// What a step tells the engine.
#[must_use]
pub fn cause(cause: &Cause, is_session: bool) -> String {
    match cause {
        Cause::Timeout => "its deadline has come".to_owned(),
        Cause::Event(event) => self::event(event, is_session),
    }
}

/// The same, of an engine of which this is known.
#[must_use]
pub fn cause_by(cause: &Cause, judge: &Judge) -> String {
    let conn = match cause {
        Cause::Event(event) => conn_of(event),
        Cause::Timeout => None,
    };
    self::cause(cause, conn.is_some_and(|conn| judge.is_session(conn)))
}

/// An event; `is_session` says what its connection speaks.
#[must_use]
pub fn event(event: &Event, is_session: bool) -> String {
    match event {
        Event::Connected { conn, user, protocol } => format!("{conn} connects: {user}, {protocol:?}"),
        Event::Received { conn, message } => {
            let message = if is_session { client_frame(message) } else { classic(message) };
            format!("{conn} sends {message}")
        }
        Event::Ping { conn, payload } => format!("{conn} sends a Ping of {} bytes", payload.len()),
        Event::Pong { conn, payload } => format!("{conn} sends a Pong of {} bytes", payload.len()),
        Event::Misbehaved { conn, fault } => format!("{conn} misbehaves: {fault:?}"),
        Event::PeerClosed { conn } => format!("{conn} closes"),
        Event::Flushed { conn, frames, payload_bytes } => {
            format!("{conn} is written {frames} frames, {payload_bytes} bytes")
        }
        Event::Disconnected { conn } => format!("{conn} is gone"),
        Event::Answered { ticket, answer } => {
            format!("the store answers {}: {}", ticket.0, self::answer(answer))
        }
        Event::Published(record) => format!("the bus brings {}", carried(&Carried::Record(record.clone()))),
        Event::Told(note) => format!("the bus brings {}", carried(&Carried::Note(note.clone()))),
        Event::DirectoryChanged(change) => {
            format!("the directory, {}: {} {:?}", change.revision, change.user, change.kind)
        }
        Event::Revoked { whose, why } => format!("connections are revoked: {whose:?}, {why:?}"),
        Event::Announced { to, text } => format!("the server says to {to:?}: {}", short(text)),
        Event::Shutdown => "it is to stop".to_owned(),
    }
}

/// An action; `is_session` says what the recipients speak.
#[must_use]
pub fn action(action: &OwnedAction, is_session: bool) -> String {
    match action {
        OwnedAction::Send { to, frame } => {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            let what = match frame {
                Frame::Message(bytes) if is_session => server_frame(bytes),
                Frame::Message(bytes) => classic(bytes),
                Frame::Ping(payload) => format!("Ping of {} bytes", payload.len()),
                Frame::Pong(payload) => format!("Pong of {} bytes", payload.len()),
            };
            format!("sends {}: {what}", to.join(" "))
        }
        OwnedAction::Close { conn, reason } => format!("closes {conn}: {reason}"),
        OwnedAction::Abort { conn } => format!("cuts off {conn}"),
        OwnedAction::Request { ticket, request } => {
            format!("asks the store, {}: {}", ticket.0, self::request(request))
        }
        OwnedAction::Publish(record) => format!("publishes {}", carried(&Carried::Record(record.clone()))),
        OwnedAction::Tell(note) => format!("tells {}", carried(&Carried::Note(note.clone()))),
        OwnedAction::Subscribe(topic) => format!("subscribes to {}", self::topic(topic)),
        OwnedAction::Unsubscribe(topic) => format!("unsubscribes from {}", self::topic(topic)),
        OwnedAction::Stopped => "has stopped".to_owned(),
    }
}

/// All that a step has led to.
#[must_use]
pub fn actions(actions: &[OwnedAction], judge: &Judge) -> Vec<String> {
    let is_session = |action: &OwnedAction| match action {
        OwnedAction::Send { to, .. } => to.first().is_some_and(|conn| judge.is_session(*conn)),
        OwnedAction::Close { .. }
        | OwnedAction::Abort { .. }
        | OwnedAction::Request { .. }
        | OwnedAction::Publish(_)
        | OwnedAction::Tell(_)
        | OwnedAction::Subscribe(_)
        | OwnedAction::Unsubscribe(_)
        | OwnedAction::Stopped => false,
    };
    actions.iter().map(|action| self::action(action, is_session(action))).collect()
}

/// A classic message.
#[must_use]
pub(crate) fn classic(bytes: &[u8]) -> String {
    match View::read(bytes) {
        None => format!("{} bytes that are no message", bytes.len()),
        Some(view) if view.kind == HEARTBEAT => format!("heartbeat {}", short(view.content)),
        Some(view) => {
            let to = if view.to.is_empty() { "everybody" } else { view.to };
            let of_group = if view.message_type == 2 { ", of a group" } else { "" };
            let file = if view.file.is_empty() {
                String::new()
            } else {
                format!(", a file of {} bytes", view.file.len())
            };
            format!(
                "{:?} from {} to {to}, type {}{of_group}{file}",
                short(view.content),
                view.from,
                view.content_type
            )
        }
    }
}

fn client_frame(bytes: &Bytes) -> String {
    use client_frame::Body;
    match session::read_client(bytes) {
        None => format!("{} bytes that are no frame", bytes.len()),
        Some(Body::Submit(submit)) => {
            let text = submit.content.as_ref().map_or("", |content| content.text.as_str());
            format!("Submit to {}: {:?}", conversation(submit.conversation.as_ref()), short(text))
        }
        Some(Body::Fetch(fetch)) => {
            format!("Fetch of {} from {}", conversation(fetch.conversation.as_ref()), fetch.from_seq)
        }
        Some(Body::Mark(mark)) => {
            format!("Mark of {}: {:?}", conversation(mark.conversation.as_ref()), mark.marks)
        }
        Some(Body::Typing(typing)) => {
            format!("Typing in {}: {}", conversation(typing.conversation.as_ref()), typing.typing)
        }
        Some(Body::Hello(hello)) => format!("Hello, {} cursors", hello.cursors.len()),
        Some(Body::Resync(resync)) => format!("Resync, {} cursors", resync.cursors.len()),
        Some(Body::Heartbeat(heartbeat)) => format!("Heartbeat {}", heartbeat.nonce),
        Some(Body::Watch(watch)) => format!("Watch {}", watch.users.join(" ")),
        Some(Body::Call(call)) => format!("Call with {}: {:?}", call.user, call.kind()),
    }
}

fn server_frame(bytes: &Bytes) -> String {
    use server_frame::Body;
    match session::read(bytes) {
        None => format!("{} bytes that are no frame", bytes.len()),
        Some(Body::Welcome(welcome)) => format!("Welcome {}", welcome.user),
        Some(Body::Accepted(accepted)) => {
            format!("Accepted as {} of {}", accepted.seq, conversation(accepted.conversation.as_ref()))
        }
        Some(Body::Rejected(rejected)) => format!("Rejected: {}", rejected.code().as_str_name()),
        Some(Body::Delivery(delivery)) => {
            let text = delivery.content.as_ref().map_or("", |content| content.text.as_str());
            let of = conversation(delivery.conversation.as_ref());
            format!("Delivery of {of}, {}: {:?} of {}", delivery.seq, short(text), delivery.from)
        }
        Some(Body::Page(page)) => {
            format!("Page of {}, {} messages", conversation(page.conversation.as_ref()), page.messages.len())
        }
        Some(Body::Heads(heads)) => format!("Heads of {} conversations", heads.heads.len()),
        Some(Body::Unfetched(unfetched)) => format!("Unfetched: {}", unfetched.code().as_str_name()),
        Some(Body::Marked(marked)) => {
            format!(
                "Marked in {} by {}: {:?}",
                conversation(marked.conversation.as_ref()),
                marked.user,
                marked.marks
            )
        }
        Some(Body::Typing(typing)) => {
            format!(
                "Typing of {} in {}: {}",
                typing.user,
                conversation(typing.conversation.as_ref()),
                typing.typing
            )
        }
        Some(Body::Presence(presence)) => format!("Presence of {}: {}", presence.user, presence.online),
        Some(Body::Call(call)) => format!("Call with {}: {:?} {:?}", call.user, call.kind(), call.end()),
        Some(Body::Heartbeat(heartbeat)) => format!("Heartbeat {}", heartbeat.nonce),
        Some(Body::Goodbye(goodbye)) => format!("Goodbye, back after {} ms", goodbye.reconnect_after_ms),
        Some(Body::Notice(notice)) => format!("Notice {:?}", short(&notice.text)),
    }
}

fn conversation(of: Option<&Conversation>) -> String {
    match of.and_then(|of| of.peer.as_ref()) {
        Some(conversation::Peer::User(user)) => user.clone(),
        Some(conversation::Peer::Group(group)) => format!("the group {group}"),
        None => "nowhere".to_owned(),
    }
}

pub(crate) fn request(request: &Request) -> String {
    let to = |recipient: &Recipient| match recipient {
        Recipient::User(user) => user.to_string(),
        Recipient::Group(group) => format!("the group {group}"),
    };
    match request {
        Request::LoadUser(user) => format!("load {user}"),
        Request::StoreMessage(new) => {
            format!(
                "store {:?} from {} to {}, {:?}",
                short(&new.content),
                new.sender,
                to(&new.recipient),
                new.id
            )
        }
        Request::StoreFile(upload) => format!("keep a file of {}", upload.owner),
        Request::LoadHeads { user, after } => format!("load the heads of {user} after {after}"),
        Request::LoadMessages(range) => {
            format!("load {} from {} for {}", to(&range.conversation), range.from_seq, range.reader)
        }
        Request::StoreMarks(marks) => {
            format!("store marks of {} in {}: {:?}", marks.user, to(&marks.conversation), marks.marks)
        }
        Request::StoreSeen(user) => format!("store that {user} was here"),
        Request::LoadSeen { watcher, user } => format!("load when {user} was here, for {watcher}"),
        Request::StoreReceived(received) => {
            format!("store that {} has {} up to {}", received.user, to(&received.conversation), received.seq)
        }
        Request::LoadUnreceived { user, after } => {
            format!("load what {user} has not received, after {after}")
        }
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::MessagesLoaded(loaded) => {
            format!("{} messages of {}", loaded.messages.len(), loaded.head_seq)
        }
        Answer::HeadsLoaded { heads, next } => format!("{} heads, next {next:?}", heads.len()),
        Answer::UnreceivedLoaded { unreceived, next } => format!("{} logs, next {next:?}", unreceived.len()),
        other @ (Answer::UserLoaded(_)
        | Answer::MessageStored(_)
        | Answer::StoredEarlier(_)
        | Answer::FileStored { .. }
        | Answer::MarksStored(_)
        | Answer::Seen { .. }
        | Answer::ReceivedStored
        | Answer::Denied(_)
        | Answer::Refused
        | Answer::Failed
        | Answer::Full) => format!("{other:?}"),
    }
}

fn carried(carried: &Carried) -> String {
    let topic = topic(carried.topic());
    match carried {
        Carried::Record(record) => format!("{}, for {topic}", classic(&record.message)),
        Carried::Note(note) => match session::read_note(&note.note) {
            Some(body) => format!("{}, for {topic}", short(&format!("{body:?}"))),
            None => format!("{} bytes that are no note, for {topic}", note.note.len()),
        },
    }
}

fn topic(topic: &Topic) -> String {
    match topic {
        Topic::Everyone => "everyone".to_owned(),
        Topic::User(user) => user.to_string(),
        Topic::Group(group) => format!("the group {group}"),
        Topic::Presence(user) => format!("the presence of {user}"),
    }
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(TEXT_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
