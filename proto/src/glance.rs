//! A classic message as it stands in its bytes: what a router looks at, without owning anything.

use core::str;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::classic::Message;

/// What decides where a classic message goes. It is found by one pass over the bytes that copies nothing, and takes exactly
/// the bytes that [`Message`] does: the same fields, the last of each, all texts UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Who says that it is the sender.
    pub from: &'a str,
    /// User or group, or empty.
    pub to: &'a str,
    /// "heatbeat", "webrtc", or anything.
    pub r#type: &'a str,
    /// Kind of content.
    pub content_type: i32,
    /// One-to-one or group.
    pub message_type: i32,
}

impl<'a> Glance<'a> {
    /// Looks at the bytes of a message; none if they are not one.
    #[must_use]
    pub fn of(message: &'a [u8]) -> Option<Self> {
        let (mut glance, mut rest) = (Self::default(), message);
        while !rest.is_empty() {
            let (tag, wire_type) = key(&mut rest)?;
            match tag {
                3 => glance.from = text(wire_type, &mut rest)?,
                4 => glance.to = text(wire_type, &mut rest)?,
                7 => glance.r#type = text(wire_type, &mut rest)?,
                // avatar, fromUsername, content, url, fileSuffix
                1 | 2 | 5 | 9 | 10 => {
                    let text = delimited(wire_type, &mut rest)?;
                    // The check of texts that are not looked at would be an eighth of what it costs to relay a short message.
                    if !text.is_ascii() {
                        str::from_utf8(text).ok()?;
                    }
                }
                6 => glance.content_type = number(wire_type, &mut rest)?,
                8 => glance.message_type = number(wire_type, &mut rest)?,
                // file
                11 => {
                    delimited(wire_type, &mut rest)?;
                }
                _ => skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?,
            }
        }
        Some(glance)
    }
}

impl<'a> From<&'a Message> for Glance<'a> {
    fn from(message: &'a Message) -> Self {
        let Message { from, to, r#type, content_type, message_type, .. } = message;
        Self { from, to, r#type, content_type: *content_type, message_type: *message_type }
    }
}

fn delimited<'a>(wire_type: WireType, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if wire_type != WireType::LengthDelimited {
        return None;
    }
    let len = usize::try_from(varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

fn text<'a>(wire_type: WireType, rest: &mut &'a [u8]) -> Option<&'a str> {
    str::from_utf8(delimited(wire_type, rest)?).ok()
}

fn number(wire_type: WireType, rest: &mut &[u8]) -> Option<i32> {
    if wire_type != WireType::Varint {
        return None;
    }
    // As protobuf has it: what goes beyond 32 bits is cut off.
    #[allow(clippy::cast_possible_truncation, reason = "what the wire format says")]
    varint(rest).map(|value| value as i32)
}

/// The number and type of a field; nearly always one byte.
fn key(rest: &mut &[u8]) -> Option<(u32, WireType)> {
    match rest.split_first() {
        Some((&first @ 0x08..0x80, after)) => {
            *rest = after;
            Some((u32::from(first >> 3), WireType::try_from(u64::from(first & 7)).ok()?))
        }
        _ => decode_key(rest).ok(),
    }
}

/// A number or a length; most are one byte.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    match rest.split_first() {
        Some((&first @ ..0x80, after)) => {
            *rest = after;
            Some(first.into())
        }
        _ => decode_varint(rest).ok(),
    }
}
