//! What clients say.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use switchboard_engine::{GroupId, Topic, UserId};
use switchboard_proto::{
    Message as _,
    classic::Message,
    v1::{self, ClientFrame, Conversation, client_frame, conversation},
};

use super::config::one_of;

/// Users that the store knows, and one whom it does not.
pub(super) const USERS: [&str; 5] = ["u0", "u1", "u2", "u3", "u4"];

/// Groups that there are, and one that somebody may create.
pub(super) const GROUPS: [&str; 3] = ["g0", "g1", "g2"];

pub(super) fn user(u: &mut Unstructured<'_>) -> Result<UserId> {
    let name = one_of(u, &USERS)?;
    UserId::new(name).map_err(|_| arbitrary::Error::IncorrectFormat)
}

pub(super) fn group(u: &mut Unstructured<'_>) -> Result<GroupId> {
    let name = one_of(u, &GROUPS)?;
    GroupId::new(name).map_err(|_| arbitrary::Error::IncorrectFormat)
}

pub(super) fn topic(u: &mut Unstructured<'_>) -> Result<Topic> {
    Ok(match u.int_in_range(0..=3)? {
        0 => Topic::Everyone,
        1 => Topic::User(user(u)?),
        2 => Topic::Group(group(u)?),
        _ => Topic::Presence(user(u)?),
    })
}

/// A name as a frame may have it: mostly a user's.
fn name(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=15)? {
        0 => String::new(),
        1 => "System".to_owned(),
        2 => "nobody".to_owned(),
        _ => one_of(u, &USERS)?.to_owned(),
    })
}

/// A short text, now and then a long one.
pub(super) fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=15)? {
        0 => "long ".repeat(60),
        1 => "too long ".repeat(200),
        2 => String::new(),
        _ => format!("text {}", u.arbitrary::<u8>()?),
    })
}

/// What a client sends that is a message of its protocol, or nearly.
pub(super) fn message(u: &mut Unstructured<'_>, is_session: bool) -> Result<Bytes> {
    if u.ratio(1_u8, 24)? {
        let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
        return Ok(Bytes::copy_from_slice(u.bytes(len)?));
    }
    let message = if is_session {
        ClientFrame { body: Some(body(u)?) }.encode_to_vec()
    } else {
        classic(u)?.encode_to_vec()
    };
    Ok(message.into())
}

/// What a classic client says.
pub(super) fn classic(u: &mut Unstructured<'_>) -> Result<Message> {
    let content_type = match u.int_in_range(0..=7)? {
        0..=2 => 1,
        _ => u.int_in_range(0..=24)?,
    };
    let r#type = one_of(u, &["", "", "", "webrtc", "heatbeat", "other"])?.to_owned();
    let message_type = u.int_in_range(0..=2)?;
    let to = match u.int_in_range(0..=7)? {
        0 => String::new(),
        1 => name(u)?,
        _ if message_type == 2 => one_of(u, &GROUPS)?.to_owned(),
        _ => one_of(u, &USERS)?.to_owned(),
    };
    let has_file = (2..=5).contains(&content_type) && u.arbitrary()?;
    let content = match u.int_in_range(0..=15)? {
        0 => "data:text/plain;base64,aGVsbG8=".to_owned(),
        1 => "data:;base64,no".to_owned(),
        _ => text(u)?,
    };
    Ok(Message {
        avatar: String::new(),
        from_username: "name".to_owned(),
        from: name(u)?,
        to,
        content,
        content_type,
        r#type,
        message_type,
        url: if u.ratio(1_u8, 8)? { "1.png".to_owned() } else { String::new() },
        file_suffix: if has_file { "png".to_owned() } else { String::new() },
        file: if has_file { Bytes::from_static(b"\x89PNG\r\n\x1a\n picture") } else { Bytes::new() },
    })
}

/// Sixteen bytes of few kinds, or of another length.
fn id(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let number = u.int_in_range(0..=40_u8)?;
    Ok(vec![number; if number == 40 { 15 } else { 16 }].into())
}

pub(super) fn conversation(u: &mut Unstructured<'_>) -> Result<Option<Conversation>> {
    let peer = match u.int_in_range(0..=20)? {
        0 => return Ok(None),
        1 => None,
        2 => Some(conversation::Peer::Group(String::new())),
        3 => Some(conversation::Peer::User("System".to_owned())),
        4..=9 => Some(conversation::Peer::Group(one_of(u, &GROUPS)?.to_owned())),
        _ => Some(conversation::Peer::User(one_of(u, &USERS)?.to_owned())),
    };
    Ok(Some(Conversation { peer }))
}

/// The epoch of a log that there is, or of none.
pub(super) fn epoch(u: &mut Unstructured<'_>, of: Option<&Conversation>, user: &str) -> Result<u64> {
    use switchboard_sim::store::Conversation as Log;
    if u.ratio(1_u8, 8)? {
        return u.int_in_range(0..=2);
    }
    let log = match (of.and_then(|of| of.peer.as_ref()), UserId::new(user)) {
        (Some(conversation::Peer::User(other)), Ok(user)) => {
            UserId::new(other).ok().map(|other| Log::Direct((&user).min(&other).clone(), user.max(other)))
        }
        (Some(conversation::Peer::Group(group)), _) => GroupId::new(group).ok().map(Log::Group),
        (None, _) | (_, Err(_)) => None,
    };
    Ok(log.map_or(1, |log| log.epoch()))
}

pub(super) fn seq(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.int_in_range(0..=15)? {
        0 => u64::MAX,
        1 => u.arbitrary()?,
        number => number - 2,
    })
}

pub(super) fn marks(u: &mut Unstructured<'_>) -> Result<Option<v1::Marks>> {
    let marks = v1::Marks { delivered_seq: seq(u)?, read_seq: seq(u)? };
    Ok(if u.ratio(1_u8, 12)? { None } else { Some(marks) })
}

fn cursors(u: &mut Unstructured<'_>) -> Result<Vec<v1::Cursor>> {
    let count = match u.int_in_range(0..=20)? {
        20 => 300,
        count => count / 4,
    };
    let mut cursors = Vec::new();
    for _ in 0..count {
        let conversation = conversation(u)?;
        let epoch = epoch(u, conversation.as_ref(), "u0")?;
        cursors.push(v1::Cursor { conversation, epoch, seq: seq(u)?, own: marks(u)?, peer: marks(u)? });
    }
    Ok(cursors)
}

pub(super) fn change(u: &mut Unstructured<'_>) -> Result<v1::GroupChange> {
    Ok(v1::GroupChange {
        kind: u.int_in_range(0..=9)?,
        user: name(u)?,
        role: u.int_in_range(0..=4)?,
        name: text(u)?,
        until_ms: one_of(u, &[0, 5, i64::MAX, -1])?,
        invite_only: u.arbitrary()?,
    })
}

pub(super) fn content(u: &mut Unstructured<'_>) -> Result<v1::Content> {
    let mut content = v1::Content { kind: 1, text: text(u)?, ..v1::Content::default() };
    match u.int_in_range(0..=15)? {
        0 => content = v1::Content { kind: 2, file: "1.png".to_owned(), ..v1::Content::default() },
        1 => (content.kind, content.target_seq) = (21, seq(u)?),
        2 => content = v1::Content { kind: 22, target_seq: seq(u)?, ..v1::Content::default() },
        3..=6 => content = v1::Content { kind: 23, change: Some(change(u)?), ..v1::Content::default() },
        // Whatever belongs together or not.
        7 => {
            content.kind = u.int_in_range(0..=24)?;
            content.target_seq = seq(u)?;
            content.file = name(u)?;
            content.changed_seq = seq(u)?;
            content.recalled = u.arbitrary()?;
        }
        _ => {}
    }
    Ok(content)
}

fn call(u: &mut Unstructured<'_>) -> Result<v1::Call> {
    let number = u.int_in_range(0..=6_u8)?;
    let payload = if u.ratio(1_u8, 16)? { vec![7; 1_000] } else { vec![number] };
    Ok(v1::Call {
        call_id: vec![number; if number == 6 { 3 } else { 16 }].into(),
        user: name(u)?,
        kind: u.int_in_range(0..=6)?,
        video: u.arbitrary()?,
        payload: payload.into(),
        end: if u.ratio(1_u8, 12)? { u.int_in_range(0..=9)? } else { 0 },
        outgoing: u.ratio(1_u8, 12)?,
    })
}

fn body(u: &mut Unstructured<'_>) -> Result<client_frame::Body> {
    use client_frame::Body;
    Ok(match u.int_in_range(0..=23)? {
        0..=2 => Body::Hello(v1::Hello { device_id: id(u)?, cursors: cursors(u)? }),
        3..=9 => {
            let (message_id, conversation) = (id(u)?, conversation(u)?);
            Body::Submit(v1::Submit { message_id, conversation, content: Some(content(u)?) })
        }
        10 => Body::Submit(v1::Submit { message_id: id(u)?, conversation: conversation(u)?, content: None }),
        11..=12 => Body::Fetch(v1::Fetch {
            fetch_id: u.int_in_range(0..=5)?,
            conversation: conversation(u)?,
            from_seq: seq(u)?,
            backwards: u.arbitrary()?,
            limit: one_of(u, &[0, 1, 2, u32::MAX])?,
        }),
        13 => Body::Heartbeat(v1::Heartbeat { nonce: u.arbitrary()? }),
        14 => Body::Resync(v1::Resync { cursors: cursors(u)? }),
        15..=16 => {
            let conversation = conversation(u)?;
            let epoch = epoch(u, conversation.as_ref(), "u0")?;
            Body::Mark(v1::Mark { conversation, epoch, marks: marks(u)? })
        }
        17..=18 => Body::Typing(v1::Typing {
            conversation: conversation(u)?,
            typing: u.arbitrary()?,
            user: name(u)?,
        }),
        19..=20 => {
            let count = u.int_in_range(0..=4)?;
            Body::Watch(v1::Watch { users: (0..count).map(|_| name(u)).collect::<Result<_>>()? })
        }
        _ => Body::Call(call(u)?),
    })
}
