//! The wire of the classic protocol: what a message asks for, and the forms in which one is sent.

use alloc::{borrow::ToOwned, boxed::Box, string::String};

use bytes::Bytes;
use switchboard_proto::{Glance, Message as _, classic::Message, v1::Content};

use super::{call::Signal, delivery::Kind};
use crate::{
    event::Audience,
    id::{GroupId, MessageId, SYSTEM, UserId},
    probe::{Canary, Probe},
    storage::{FileKind, FileSource, FileUpload, NewMessage, Recipient, Subject},
};

/// The `type` of a heartbeat, as the wire spells it.
const HEARTBEAT: &str = "heatbeat";
/// The `type` of a call's messages.
const CALL: &str = "webrtc";
/// The `messageType` of a group's message; any other is one-to-one.
const GROUP: i32 = 2;
/// The `messageType` of a message between two users.
const ONE_TO_ONE: i32 = 1;

/// The values of `contentType`.
mod content {
    pub(super) const SIGNAL: i32 = 0;
    pub(super) const TEXT: i32 = 1;
    pub(super) const FILE: i32 = 2;
    pub(super) const IMAGE: i32 = 3;
    pub(super) const AUDIO: i32 = 4;
    pub(super) const VIDEO: i32 = 5;
    pub(super) const VOICE_CALL: i32 = 6;
    pub(super) const VIDEO_CALL: i32 = 7;
    pub(super) const CAMERA_FRAME: i32 = 8;
    pub(super) const SCREEN_FRAME: i32 = 9;
    pub(super) const DIAL_FIRST: i32 = 10;
    pub(super) const CANCEL_VOICE: i32 = 13;
    pub(super) const REJECT_VOICE: i32 = 14;
    pub(super) const CANCEL_VIDEO: i32 = 17;
    pub(super) const REJECT_VIDEO: i32 = 18;
    pub(super) const DIAL_LAST: i32 = 20;
}

/// What a message asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A pong to its sender.
    Heartbeat,
    /// To be stored, then delivered.
    Chat(Recipient),
    /// To be passed on to a user as it is.
    Relay(UserId),
    /// To be passed on to the other side of the sender's call.
    ToCall,
    /// To be passed on to everybody.
    Broadcast,
    /// Nothing: its recipient cannot be an id.
    BadRecipient,
}

/// Reads what a message asks for; `user_id` gives the id of a user of this name, if it can be one.
pub(super) fn route(message: &Glance<'_>, user_id: impl FnOnce(&str) -> Option<UserId>) -> Route {
    if message.r#type == HEARTBEAT {
        return Route::Heartbeat;
    }
    if message.to.is_empty() {
        let signal = message.r#type == CALL || message.content_type == content::SIGNAL;
        return if signal { Route::ToCall } else { Route::Broadcast };
    }
    let stored = (content::TEXT..=content::VIDEO).contains(&message.content_type);
    let route = if stored && message.message_type == GROUP {
        GroupId::new(message.to).ok().map(|group| Route::Chat(Recipient::Group(group)))
    } else {
        user_id(message.to)
            .map(|user| if stored { Route::Chat(Recipient::User(user)) } else { Route::Relay(user) })
    };
    route.unwrap_or(Route::BadRecipient)
}

/// What a message means to a call, if it belongs to one.
pub(super) fn signal(message: &Glance<'_>) -> Option<Signal> {
    match message.content_type {
        content::CANCEL_VOICE | content::REJECT_VOICE | content::CANCEL_VIDEO | content::REJECT_VIDEO => {
            Some(Signal::End)
        }
        content::SIGNAL
        | content::VOICE_CALL
        | content::VIDEO_CALL
        | content::DIAL_FIRST..=content::DIAL_LAST => Some(Signal::Talk),
        // Stored ones are chat, whatever type they claim: here and where they come from another engine.
        content::TEXT..=content::VIDEO => None,
        _ if message.r#type == CALL => Some(Signal::Talk),
        _ => None,
    }
}

/// What a message of this content is to its recipients' outboxes.
pub(super) fn kind(content_type: i32, sender: &UserId) -> Kind<'_> {
    match content_type {
        content::CAMERA_FRAME | content::SCREEN_FRAME => Kind::Stream { sender, content_type },
        _ => Kind::Ordinary,
    }
}

/// Takes the file out of a message that carries one.
pub(super) fn take_upload(message: &mut Message, owner: &UserId) -> Option<FileUpload> {
    let source = if !message.file.is_empty() {
        FileSource::Bytes(core::mem::take(&mut message.file))
    } else if message.content_type == content::FILE && is_data_url(&message.content) {
        FileSource::DataUrl(core::mem::take(&mut message.content).into_boxed_str())
    } else {
        return None;
    };
    Some(FileUpload { owner: owner.clone(), suffix: message.file_suffix.as_str().into(), source })
}

/// Whether a text is a `data:` URL; schemes are compared without case (RFC 3986 section 3.1).
fn is_data_url(text: &str) -> bool {
    text.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:"))
}

/// Puts the name and kind of a kept file into the message that it came with.
pub(super) fn put_file(message: &mut Message, name: &str, kind: FileKind) {
    message.url = name.to_owned();
    message.content_type = match kind {
        FileKind::Other => content::FILE,
        FileKind::Image => content::IMAGE,
        FileKind::Audio => content::AUDIO,
        FileKind::Video => content::VIDEO,
    };
}

/// What the store keeps of a message. Takes the texts that nothing else needs.
pub(super) fn stored_form(
    message: Message,
    sender: &UserId,
    id: MessageId,
    recipient: &Recipient,
) -> Box<NewMessage> {
    Box::new(NewMessage {
        sender: sender.clone(),
        id,
        recipient: recipient.clone(),
        content_type: u8::try_from(message.content_type).unwrap_or_default(),
        content: message.content.into_boxed_str(),
        sender_name: message.from_username.into_boxed_str(),
        url: message.url.into_boxed_str(),
        file_suffix: message.file_suffix.into_boxed_str(),
        subject: Subject::Message,
    })
}

/// A session's message in this protocol's words.
pub(super) fn message_of(
    sender: &UserId,
    to: &str,
    is_group: bool,
    avatar: String,
    content: Content,
) -> Message {
    Message {
        avatar,
        from_username: sender.as_str().to_owned(),
        from: sender.as_str().to_owned(),
        to: to.to_owned(),
        content: content.text,
        content_type: i32::try_from(content.kind).unwrap_or_default(),
        message_type: if is_group { GROUP } else { ONE_TO_ONE },
        url: content.file,
        ..Message::default()
    }
}

/// A group's message as its members receive it: it reads like a one-to-one chat with the group.
/// `message` has the sender as `from`, the group as `to` and the sender's picture as `avatar`.
pub(super) fn group_form(mut message: Message, probe: &impl Probe) -> Bytes {
    if !probe.canary(Canary::GroupFormSkipped) {
        core::mem::swap(&mut message.from, &mut message.to);
    }
    if !probe.canary(Canary::GroupFormKeepsFile) {
        message.file = Bytes::new();
        message.file_suffix = String::new();
    }
    encode(&message)
}

/// The first frame to a new client.
pub(super) fn welcome(user: &UserId) -> Bytes {
    encode(&Message {
        from: SYSTEM.to_owned(),
        to: user.as_str().to_owned(),
        content: "welcome!".to_owned(),
        ..Message::default()
    })
}

/// Something that the server has to say, to a user or to everybody.
pub(super) fn notice(to: &Audience, text: &str) -> Bytes {
    let to = match to {
        Audience::User(user) => user.as_str(),
        Audience::Everyone => "",
    };
    encode(&Message {
        from: SYSTEM.to_owned(),
        from_username: SYSTEM.to_owned(),
        to: to.to_owned(),
        content: text.to_owned(),
        content_type: content::TEXT,
        message_type: ONE_TO_ONE,
        ..Message::default()
    })
}

/// The answer to a heartbeat.
pub(super) fn pong() -> Bytes {
    encode(&Message { r#type: HEARTBEAT.to_owned(), content: "pong".to_owned(), ..Message::default() })
}

/// The bytes of a message.
pub(super) fn encode(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}
