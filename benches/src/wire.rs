//! The bytes that a client sends, made once and sent many times.

use switchboard_proto::{
    Message as _,
    classic::Message,
    v1::{ClientFrame, Content, Conversation, Hello, Submit, client_frame::Body, conversation::Peer},
};

use crate::direct::Kind;

/// Any key is a valid one (RFC 6455 section 4.1); the answer to this one, the RFC's example, is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The mask of all frames: any four bytes will do, but not zero, which would spare the server its work.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x3c, 0xa5];

/// What a client speaks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The classic protocol: no subprotocol is offered.
    #[default]
    Classic,
    /// The session protocol, `switchboard.v1`.
    Session,
}

/// First bytes of the server's frames of the session protocol: field and wire type of what is in them.
pub(crate) mod tag {
    pub(crate) const WELCOME: u8 = 0x0a;
    pub(crate) const ACCEPTED: u8 = 0x12;
    pub(crate) const REJECTED: u8 = 0x1a;
    pub(crate) const DELIVERY: u8 = 0x22;
}

/// Where the id of the message is in a [`submit`].
pub(crate) const MESSAGE_ID_BYTES: usize = 16;

/// The name of the client with this number.
pub(crate) fn user(index: usize) -> String {
    format!("bench-{index:06}")
}

/// The handshake's request; the user is a query parameter.
pub(crate) fn handshake(user: &str, protocol: Protocol) -> Vec<u8> {
    let offer = match protocol {
        Protocol::Classic => "",
        Protocol::Session => "Sec-WebSocket-Protocol: switchboard.v1\r\n",
    };
    format!(
        "GET /socket.io?user={user} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
    .into_bytes()
}

/// Whether a response's head, up to its empty line, is the right answer to [`handshake`]; else its first line.
pub(crate) fn accepted(head: &[u8]) -> Result<(), String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(format!("the handshake was answered with {status:?}"));
    }
    let accept = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept"));
    match accept {
        Some((_, value)) if value.trim() == ACCEPT => Ok(()),
        _ => Err("the handshake was answered without the right Sec-WebSocket-Accept".to_owned()),
    }
}

/// What a session says first: a device that knows nothing yet.
pub(crate) fn hello() -> Vec<u8> {
    client_frame(Body::Hello(Hello { device_id: vec![7; 16].into(), cursors: Vec::new() }))
}

pub(crate) fn client_frame(body: Body) -> Vec<u8> {
    ClientFrame { body: Some(body) }.encode_to_vec()
}

/// A session's message, `payload_bytes` long if its fixed parts leave room for that.
pub(crate) fn submit(id: [u8; MESSAGE_ID_BYTES], to: &Conversation, payload_bytes: usize) -> Vec<u8> {
    let mut text = "x".to_owned();
    loop {
        let frame = client_frame(Body::Submit(Submit {
            message_id: id.to_vec().into(),
            conversation: Some(to.clone()),
            content: Some(Content { kind: 1, text: text.clone(), ..Content::default() }),
        }));
        if frame.len() >= payload_bytes {
            return frame;
        }
        // The lengths grow with the text, so it may take a second look.
        text.push_str(&"x".repeat((payload_bytes - frame.len()).div_ceil(2)));
    }
}

/// The conversation with another user.
pub(crate) fn user_conversation(other: &str) -> Conversation {
    Conversation { peer: Some(Peer::User(other.to_owned())) }
}

/// The conversation of a group.
pub(crate) fn group_conversation(group: &str) -> Conversation {
    Conversation { peer: Some(Peer::Group(group.to_owned())) }
}

/// A classic message from one client to another, `payload_bytes` long if its fixed parts leave room for that.
pub(crate) fn message(kind: Kind, from: &str, to: &str, payload_bytes: usize) -> Vec<u8> {
    let mut message = Message { from: from.to_owned(), to: to.to_owned(), ..Message::default() };
    match kind {
        Kind::Relay => message.content_type = 7,
        // A session's messages are made by `submit`.
        Kind::Stored | Kind::Session => {
            message.content_type = 1;
            message.message_type = 1;
        }
    }
    filled(message, payload_bytes)
}

/// A classic message to everybody.
pub(crate) fn broadcast(from: &str, payload_bytes: usize) -> Vec<u8> {
    let message = Message { from: from.to_owned(), content_type: 1, ..Message::default() };
    filled(message, payload_bytes)
}

/// A classic message to a group.
pub(crate) fn group(from: &str, group: &str, payload_bytes: usize) -> Vec<u8> {
    let (from, to) = (from.to_owned(), group.to_owned());
    let message = Message { from, to, content_type: 1, message_type: 2, ..Message::default() };
    filled(message, payload_bytes)
}

fn filled(mut message: Message, payload_bytes: usize) -> Vec<u8> {
    // A byte at a time, because the length of the content's length grows too.
    while message.encoded_len() < payload_bytes {
        message.content.push('x');
    }
    message.encode_to_vec()
}

/// Masks bytes that stand in a frame's payload from this position on, or takes their mask away.
pub(crate) fn mask(bytes: &mut [u8], position: usize) {
    let key = MASK.iter().cycle().skip(position % MASK.len());
    bytes.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
}

/// One masked frame (RFC 6455 sections 5.2 and 5.3).
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..=125), _) => bytes.push(0x80 | len),
        (_, Ok(len)) => {
            bytes.push(0x80 | 126);
            bytes.extend(len.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            // usize has at most 64 bits on every platform of Rust.
            bytes.extend(u64::try_from(payload.len()).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
