//! The classic wire as the original reads and writes it.

use bytes::Bytes;
use switchboard_engine::{FileKind, UserId};
use switchboard_proto::{Message as _, classic::Message};

pub(super) const HEARTBEAT: &str = "heatbeat";
pub(super) const ONE_TO_ONE: i32 = 1;
pub(super) const GROUP: i32 = 2;
pub(super) const FILE: i32 = 2;
pub(super) const IMAGE: i32 = 3;
pub(super) const AUDIO: i32 = 4;
pub(super) const VIDEO: i32 = 5;
/// The values of `contentType` that are stored.
pub(super) const STORED: core::ops::RangeInclusive<i32> = 1..=VIDEO;

/// Reads a message and ignores errors: what was read before the error counts, the rest is empty.
pub(super) fn read(bytes: &Bytes) -> Message {
    let mut message = Message::default();
    let _ignored = message.merge(bytes.clone());
    message
}

pub(super) fn write(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

pub(super) fn welcome(user: &UserId) -> Bytes {
    write(&Message {
        from: "System".to_owned(),
        to: user.as_str().to_owned(),
        content: "welcome!".to_owned(),
        ..Message::default()
    })
}

pub(super) fn pong() -> Bytes {
    write(&Message { r#type: HEARTBEAT.to_owned(), content: "pong".to_owned(), ..Message::default() })
}

/// A group's message as a member receives it: field by field, so that what is not named is empty.
pub(super) fn group_form(message: &Message, avatar: &str) -> Bytes {
    write(&Message {
        avatar: avatar.to_owned(),
        from_username: message.from_username.clone(),
        from: message.to.clone(),
        to: message.from.clone(),
        content: message.content.clone(),
        content_type: message.content_type,
        r#type: message.r#type.clone(),
        message_type: message.message_type,
        url: message.url.clone(),
        ..Message::default()
    })
}

/// Whether cutting off everything up to the data of a data URL cuts past the text's end: the original searches
/// for "base64" (-1 if it is not there) and skips seven bytes from there.
pub(super) fn cuts_past_the_end(content: &str) -> bool {
    content.find("base64").map_or(6, |at| at + 7) > content.len()
}

pub(super) const fn content_type(kind: FileKind) -> i32 {
    match kind {
        FileKind::Other => FILE,
        FileKind::Image => IMAGE,
        FileKind::Audio => AUDIO,
        FileKind::Video => VIDEO,
    }
}
