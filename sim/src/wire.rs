//! The classic wire as the simulator needs it: messages that carry a token, and a reader of its own that lends,
//! so that what the engine sends is judged by other eyes than the engine's.

pub(crate) mod session;
pub(crate) mod signals;

use bytes::Bytes;
use switchboard_engine::{NewMessage, Record, Topic};
use switchboard_proto::{Message as _, classic::Message};

/// The place of what is published, if it is stored.
pub(crate) fn record_seq(record: &Record) -> Option<u64> {
    record.stored.map(|(_, place)| place.seq)
}

/// Whether a record is the copy of a one-to-one message for its sender's devices at other engines. Sessions are
/// sent it; classic clients are not.
pub(crate) fn is_own_copy(record: &Record, message: &View<'_>) -> bool {
    let of_sender = matches!(&record.topic, Topic::User(user) if user.as_str() == message.from);
    of_sender && record.stored.is_some() && message.to != message.from
}

/// The message that a store is asked to keep: by its id if a session has given it that, else by what it says.
pub(crate) fn stored_token(new: &NewMessage) -> Option<Token> {
    let of_classic = || Token::read(&new.content).or_else(|| Token::read(&new.sender_name));
    session::token_of(&new.id.0).or_else(of_classic)
}

/// Names a message for the whole run: the step that it came from, and its number within that step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    pub(crate) step: u32,
    pub(crate) nth: u32,
}

impl core::fmt::Display for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "m{}.{}", self.step, self.nth)
    }
}

impl Token {
    /// The token at the beginning of a text, up to its end or a space.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::read_bytes(text.as_bytes())
    }

    fn read_bytes(text: &[u8]) -> Option<Self> {
        let rest = text.strip_prefix(b"m")?;
        let (step, rest) = leading(rest)?;
        let (nth, rest) = leading(rest.strip_prefix(b".")?)?;
        matches!(rest, [] | [b' ', ..]).then_some(Self { step, nth })
    }
}

/// The decimal number that the bytes begin with, and what follows it. By hand: tokens are read for every frame.
fn leading(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(digits);
    let add = |value: u32, digit: &u8| value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
    (!digits.is_empty()).then(|| (digits.iter().fold(0, add), rest))
}

/// A decimal number, the whole text.
pub(crate) fn number(digits: &str) -> Option<u32> {
    match leading(digits.as_bytes())? {
        (number, []) => Some(number),
        (_, [_, ..]) => None,
    }
}

/// The number behind the letter of an id such as `u12`.
pub(crate) fn index(id: &str) -> Option<u16> {
    number(id.get(1..)?).and_then(|number| u16::try_from(number).ok())
}

/// A message's fields, lent from its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View<'a> {
    pub(crate) avatar: &'a str,
    pub(crate) username: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) content: &'a str,
    pub(crate) content_type: i32,
    pub(crate) kind: &'a str,
    pub(crate) message_type: i32,
    pub(crate) url: &'a str,
    pub(crate) suffix: &'a str,
    pub(crate) file: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the fields; none if the bytes are no message.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut view = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            match (tag >> 3, tag & 7) {
                (6, 0) => view.content_type = varint(&mut rest)? as i32,
                (8, 0) => view.message_type = varint(&mut rest)? as i32,
                (field, 2) => {
                    let length = usize::try_from(varint(&mut rest)?).ok()?;
                    let (value, after) = rest.split_at_checked(length)?;
                    rest = after;
                    if field == 11 {
                        view.file = value;
                        continue;
                    }
                    let text = core::str::from_utf8(value).ok()?;
                    match field {
                        1 => view.avatar = text,
                        2 => view.username = text,
                        3 => view.from = text,
                        4 => view.to = text,
                        5 => view.content = text,
                        7 => view.kind = text,
                        9 => view.url = text,
                        10 => view.suffix = text,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        Some(view)
    }

    /// The token of the message that the bytes are, without a look at the rest of it.
    pub(crate) fn token_of(bytes: &[u8]) -> Option<Token> {
        let (mut rest, mut content, mut username) = (bytes, &[][..], &[][..]);
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            match tag & 7 {
                0 => drop(varint(&mut rest)?),
                2 => {
                    let length = usize::try_from(varint(&mut rest)?).ok()?;
                    let (value, after) = rest.split_at_checked(length)?;
                    rest = after;
                    match tag >> 3 {
                        2 => username = value,
                        5 => content = value,
                        _ => {}
                    }
                }
                _ => return None,
            }
        }
        Token::read_bytes(content).or_else(|| Token::read_bytes(username))
    }

    /// The token that the message carries.
    pub(crate) fn token(&self) -> Option<Token> {
        Token::read(self.content).or_else(|| Token::read(self.username))
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The bytes of a message.
pub(crate) fn encode(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

/// The `type` of a heartbeat, as the wire spells it.
pub(crate) const HEARTBEAT: &str = "heatbeat";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lending_reader_agrees_with_the_library() {
        let message = Message {
            avatar: "a".into(),
            from_username: "m7.1".into(),
            from: "u1".into(),
            to: "u2".into(),
            content: "m7.1 xyz".into(),
            content_type: 2,
            r#type: "webrtc".into(),
            message_type: 1,
            url: "url".into(),
            file_suffix: "png".into(),
            file: Bytes::from_static(b"file"),
        };
        let bytes = encode(&message);
        let view = View::read(&bytes).unwrap();
        assert_eq!(view.token(), Some(Token { step: 7, nth: 1 }));
        let fields =
            [view.avatar, view.username, view.from, view.to, view.content, view.kind, view.url, view.suffix];
        assert_eq!(fields, ["a", "m7.1", "u1", "u2", "m7.1 xyz", "webrtc", "url", "png"]);
        assert_eq!((view.content_type, view.message_type, view.file), (2, 1, &b"file"[..]));
        assert_eq!(View::read(&bytes[..bytes.len() - 1]), None);
    }
}
