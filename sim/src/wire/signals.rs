//! What sessions say that is not stored: that somebody types, whom they watch, and calls.

use bytes::Bytes;
use switchboard_engine::CallId;
use switchboard_proto::v1::{Call, Typing, Watch, call, client_frame, server_frame};

use super::{
    Token, index,
    session::{NOBODY, Peer, conversation, encode},
};
use crate::choice::keyed;

/// The id of a call: a sum that no other id has by chance, so that of two calls either may have the smaller id, and
/// its token.
pub(crate) fn call_id(token: Token) -> CallId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&sum(token).to_le_bytes());
    id[8..12].copy_from_slice(&token.step.to_le_bytes());
    id[12..].copy_from_slice(&token.nth.to_le_bytes());
    CallId(id)
}

/// The token that a call's id was made of.
pub(crate) fn call_token(id: &[u8]) -> Option<Token> {
    let number = |at: usize| Some(u32::from_le_bytes(id.get(at..at + 4)?.try_into().ok()?));
    let token = Token { step: number(8)?, nth: number(12)? };
    (*id == call_id(token).0).then_some(token)
}

const fn sum(token: Token) -> u64 {
    keyed(token.step as u64, token.nth as u64, 0xca11)
}

/// What a signal carries: its name, and so many bytes more.
pub(crate) fn signal_payload(token: Token, bytes: u32) -> Bytes {
    let mut payload = format!("{token} ").into_bytes();
    payload.resize(payload.len() + bytes as usize, b'x');
    payload.into()
}

/// The name of a signal.
pub(crate) fn signal_token(payload: &[u8]) -> Option<Token> {
    Token::read_bytes(payload)
}

pub(crate) fn typing(of: Option<Peer>, typing: bool, claims: u16) -> Bytes {
    let conversation = of.map(conversation);
    encode(client_frame::Body::Typing(Typing { conversation, typing, user: format!("u{claims}") }))
}

pub(crate) fn watch(users: impl Iterator<Item = u16>) -> Bytes {
    let users = users.map(|user| format!("u{user}")).collect();
    encode(client_frame::Body::Watch(Watch { users }))
}

pub(crate) fn call(call: Call) -> Bytes {
    encode(client_frame::Body::Call(call))
}

/// A frame about the call with this id and user.
pub(crate) fn call_of(id: &[u8], user: &str, kind: call::Kind) -> Call {
    Call { call_id: Bytes::copy_from_slice(id), user: user.to_owned(), kind: kind.into(), ..Call::default() }
}

/// What a call's frame is called in traces.
pub(crate) fn call_name(call: &Call) -> String {
    let name = call_token(&call.call_id)
        .map_or_else(|| format!("an id of {} bytes", call.call_id.len()), |token| format!("call {token}"));
    let user = index(&call.user).unwrap_or(NOBODY);
    let what = match (call.end(), call.kind()) {
        (call::End::Unspecified, call::Kind::Signal) => {
            let token = signal_token(&call.payload).map(|token| token.to_string());
            format!("signal {}", token.unwrap_or_default())
        }
        (call::End::Unspecified, kind) => kind.as_str_name().trim_start_matches("KIND_").to_lowercase(),
        (end, _) => end.as_str_name().replace("END_", "over: ").to_lowercase(),
    };
    format!("Call: {name} with u{user}: {what}")
}

/// What a client's frame is called in traces, if it is one of these.
pub(crate) fn client_name(body: &client_frame::Body) -> Option<String> {
    use client_frame::Body;
    match body {
        Body::Typing(typing) => Some(typing_name(typing)),
        Body::Watch(watch) => Some(format!("Watch {}", watch.users.join(" "))),
        Body::Call(call) => Some(call_name(call)),
        Body::Hello(_)
        | Body::Submit(_)
        | Body::Fetch(_)
        | Body::Heartbeat(_)
        | Body::Resync(_)
        | Body::Mark(_) => None,
    }
}

/// What a server's frame is called in traces, if it is one of these.
pub(crate) fn server_name(body: &server_frame::Body) -> Option<String> {
    use server_frame::Body;
    match body {
        Body::Typing(typing) => Some(typing_name(typing)),
        Body::Presence(presence) => {
            let is = if presence.online {
                "is here".to_owned()
            } else {
                format!("was here at {}", presence.last_seen_ms)
            };
            Some(format!("Presence: {} {is}", presence.user))
        }
        Body::Call(call) => Some(call_name(call)),
        Body::Welcome(_)
        | Body::Accepted(_)
        | Body::Rejected(_)
        | Body::Delivery(_)
        | Body::Page(_)
        | Body::Heartbeat(_)
        | Body::Goodbye(_)
        | Body::Notice(_)
        | Body::Heads(_)
        | Body::Unfetched(_)
        | Body::Marked(_) => None,
    }
}

fn typing_name(typing: &Typing) -> String {
    let of =
        Peer::read(typing.conversation.as_ref()).map_or_else(|| "nowhere".to_owned(), |of| of.to_string());
    format!("Typing of {} in {of}: {}", typing.user, typing.typing)
}
