//! Saying something, and having read something: what the engine decides, as it does for sessions.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use switchboard_engine::{FileKind, Recipient};
use switchboard_proto::v1::{self, RejectCode};
use utoipa::ToSchema;

use super::{
    conversations::{ConversationKind, Places, named},
    input::{Body, Me, Segments},
    model::time,
    problem::{Kind, Problem},
};
use crate::{
    media::type_of,
    server::{access::Desk, courier::Uncarried},
};

/// The header that may have a message's id.
const KEY_HEADER: &str = "idempotency-key";

/// Characters of it at the most.
const KEY_CHARACTERS: usize = 255;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SaidKind {
    Text,
    File,
    Image,
    Audio,
    Video,
    /// New text for the message at `target_seq`.
    Edit,
    /// Takes the message at `target_seq` back.
    Recall,
}

impl SaidKind {
    /// As the session protocol has it.
    const fn number(self) -> u32 {
        match self {
            Self::Text => 1,
            Self::File => 2,
            Self::Image => 3,
            Self::Audio => 4,
            Self::Video => 5,
            Self::Edit => 21,
            Self::Recall => 22,
        }
    }

    /// What goes without saying.
    fn usual(file: Option<&str>) -> Self {
        match file.map(type_of) {
            None => Self::Text,
            Some(named) => match named.map(|named| named.kind) {
                Some(FileKind::Image) => Self::Image,
                Some(FileKind::Audio) => Self::Audio,
                Some(FileKind::Video) => Self::Video,
                Some(FileKind::Other) | None => Self::File,
            },
        }
    }
}

/// A message, an edit or a recall.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEntry {
    /// Its id, 32 hexadecimal digits of the client's choice: what comes again with it is not said again. Else `Idempotency-Key` stands for
    /// it, or it is made up.
    #[schema(pattern = "^[0-9a-f]{32}$", example = "01936f2a7c8e4b5a9d0e1f2a3b4c5d6e")]
    id: Option<String>,
    /// What it is: without it a text, or what its file is.
    kind: Option<SaidKind>,
    /// What is said; of an edit, what is said from now on.
    #[serde(default)]
    #[schema(example = "hello")]
    text: String,
    /// The name of its file, as uploading has given it.
    #[schema(max_length = 255)]
    file: Option<String>,
    /// Of an edit or a recall, the place of the message that it is about.
    #[schema(minimum = 1)]
    target_seq: Option<u64>,
}

/// Where an entry is in its log, for ever.
#[derive(Serialize, ToSchema)]
pub(super) struct EntryPlace {
    /// Its id.
    message_id: String,
    /// Its place.
    seq: u64,
    /// Which log that is.
    epoch: String,
    /// When it was stored.
    #[schema(format = DateTime)]
    stored_at: String,
}

/// Say something
///
/// A message, or an edit or a recall of one. It is stored when this is answered, and delivered. Said again with the same id, it is stored once,
/// and the answer is the same. After a 503 it may have been stored: say it again with the same id.
#[utoipa::path(
    post, path = "/api/v1/conversations/{kind}/{id}/messages", tag = "conversations", request_body = NewEntry,
    params(
        ("kind" = ConversationKind, Path, description = "One to one, or a group's"),
        ("id" = String, Path, description = "The id of the other user, or of the group", max_length = 128),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
         description = "Stands for the message's id; visible characters, the same each time that the same is said"),
    ),
    responses(
        (status = 201, description = "It has its place", body = EntryPlace),
        (status = 403, description = "You may not say this here, or not now"),
        (status = 404, description = "There is no such user, or no such group that you are a member of"),
        (status = 409, description = "There is no such file, or no such message to edit or recall, or the id is of a message elsewhere"),
    )
)]
pub(super) async fn send_message(
    State(desk): State<Desk>,
    me: Me,
    Segments((kind, id)): Segments<(ConversationKind, String)>,
    headers: HeaderMap,
    Body(new): Body<NewEntry>,
) -> Result<(StatusCode, Json<EntryPlace>), Problem> {
    check_devices(&desk)?;
    let conversation = named(kind, &id)?;
    let message_id = message_id(new.id.as_deref(), &headers)?;
    let said = new.kind.unwrap_or_else(|| SaidKind::usual(new.file.as_deref()));
    let content = v1::Content {
        kind: said.number(),
        text: new.text,
        file: new.file.unwrap_or_default(),
        target_seq: new.target_seq.unwrap_or_default(),
        ..v1::Content::default()
    };
    let submit = v1::Submit {
        message_id: Bytes::copy_from_slice(&message_id),
        conversation: Some(wired(&conversation)),
        content: Some(content),
    };
    let accepted = desk.courier.submit(&me.admitted, submit).await?;
    let place = EntryPlace {
        message_id: HEXLOWER.encode(&message_id),
        seq: accepted.seq,
        epoch: accepted.epoch.to_string(),
        stored_at: time(accepted.stored_at_ms),
    };
    Ok((StatusCode::CREATED, Json(place)))
}

/// How far one has read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadUpTo {
    /// The place of the last entry that was seen, and so were all before it.
    #[schema(minimum = 1)]
    seq: u64,
}

/// Mark as read
///
/// Up to a place, itself included. Marks only move forwards: a place that was passed changes nothing. One's other clients are told, and one
/// to one the other user.
#[utoipa::path(
    put, path = "/api/v1/conversations/{kind}/{id}/read", tag = "conversations", request_body = ReadUpTo,
    params(
        ("kind" = ConversationKind, Path, description = "One to one, or a group's"),
        ("id" = String, Path, description = "The id of the other user, or of the group", max_length = 128),
    ),
    responses(
        (status = 200, description = "How far one is now", body = Places),
        (status = 404, description = "Nothing was said there, or it is not for your eyes"),
    )
)]
pub(super) async fn mark_read(
    State(desk): State<Desk>,
    me: Me,
    Segments((kind, id)): Segments<(ConversationKind, String)>,
    Body(ReadUpTo { seq }): Body<ReadUpTo>,
) -> Result<Json<Places>, Problem> {
    check_devices(&desk)?;
    let conversation = named(kind, &id)?;
    let head = head(&desk, &me, &conversation).await?;
    if seq == 0 || seq > head.seq {
        return Err(Problem::invalid(format!("seq must be a place of the log: 1 to {}", head.seq)));
    }
    if head.own.read >= seq {
        return Ok(Json(head.own.into()));
    }
    let marks = v1::Marks { delivered_seq: head.own.delivered.max(seq), read_seq: seq };
    let mark = v1::Mark { conversation: Some(wired(&conversation)), epoch: head.epoch, marks: Some(marks) };
    desk.courier.mark(&me.admitted, mark).await?;
    let own = self::head(&desk, &me, &conversation).await?.own;
    if own.read < seq {
        return Err(Problem::new(Kind::Busy, "the server cannot store anything now; try again in a second"));
    }
    Ok(Json(own.into()))
}

/// How far a conversation and its reader are.
async fn head(desk: &Desk, me: &Me, conversation: &Recipient) -> Result<switchboard_engine::Head, Problem> {
    let (user, wanted) = (me.user.clone(), conversation.clone());
    let found = desk.accounts.directory(move |directory| directory.head_of(&user, &wanted)).await??;
    found.ok_or_else(|| Problem::not_found("conversation"))
}

/// Where a user has one connection, one for a call would take the place of the user's own.
fn check_devices(desk: &Desk) -> Result<(), Problem> {
    if desk.rules.keeps_all_devices() {
        return Ok(());
    }
    let text =
        "on this server a user has one connection, whose place this would take: say it over the WebSocket";
    Err(Problem::new(Kind::Conflict, text))
}

/// The id of a message: as it is named, or made of the key that stands for it, or made up, so that it ascends with time.
fn message_id(id: Option<&str>, headers: &HeaderMap) -> Result<[u8; 16], Problem> {
    let key = headers.get(KEY_HEADER).map(|key| key.to_str().unwrap_or_default());
    match (id, key) {
        (Some(_), Some(_)) => {
            Err(Problem::new(Kind::Malformed, "the message has an id and an Idempotency-Key: one will do"))
        }
        (Some(id), None) => {
            let bytes = HEXLOWER.decode(id.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or_else(|| Problem::invalid("id must be 32 hexadecimal digits, in lower case"))
        }
        (None, Some(key)) if !(1..=KEY_CHARACTERS).contains(&key.len()) => {
            let text = format!("Idempotency-Key must have 1 to {KEY_CHARACTERS} visible characters");
            Err(Problem::new(Kind::Malformed, text))
        }
        (None, Some(key)) => Ok(first_half(&Sha256::digest(key).into())),
        (None, None) => {
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(|error| Problem::internal(&error.to_string()))?;
            let now_ms = jiff::Timestamp::now().as_millisecond().to_be_bytes();
            // As UUIDs of version 7 have it (RFC 9562 section 5.7): 48 bits are milliseconds.
            for (to, from) in id.iter_mut().zip(now_ms.iter().skip(2)) {
                *to = *from;
            }
            Ok(id)
        }
    }
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    half
}

/// A conversation as the session protocol names it.
fn wired(conversation: &Recipient) -> v1::Conversation {
    use v1::conversation::Peer;
    let peer = match conversation {
        Recipient::User(user) => Peer::User(user.as_str().to_owned()),
        Recipient::Group(group) => Peer::Group(group.as_str().to_owned()),
    };
    v1::Conversation { peer: Some(peer) }
}

impl From<Uncarried> for Problem {
    fn from(error: Uncarried) -> Self {
        match error {
            Uncarried::Rejected { code, text } => {
                let kind = match code {
                    RejectCode::Invalid => Kind::Invalid,
                    RejectCode::NoSuchConversation => Kind::NotFound,
                    RejectCode::Forbidden => Kind::Forbidden,
                    RejectCode::Conflict => Kind::Conflict,
                    RejectCode::Unavailable | RejectCode::Busy => Kind::Busy,
                    RejectCode::Unspecified => return Self::internal("a message was rejected for no reason"),
                };
                // The engine names the fields as its own protocol has them.
                Self::new(kind, text.strip_prefix("content.").unwrap_or(&text))
            }
            Uncarried::Closed { code: 1008, text } => Self::too_much(text),
            Uncarried::Closed { code: 1009, text } => Self::new(Kind::TooLarge, text),
            Uncarried::Closed { code: 4004, text } => Self::new(Kind::Unauthenticated, text),
            Uncarried::Closed { code: 4005, text } => Self::new(Kind::Banned, text),
            Uncarried::Closed { text, .. } => Self::new(Kind::Busy, text),
            Uncarried::Waiting | Uncarried::Full | Uncarried::TooSlow => {
                Self::new(Kind::Busy, error.to_string())
            }
            // A shard that ends lets its connections go.
            Uncarried::Io(_) | Uncarried::WebSocket(_) => {
                tracing::warn!(%error, "a call was not carried to its shard");
                Self::new(
                    Kind::Busy,
                    "the server could not say what has become of it; try again with the same id",
                )
            }
            Uncarried::Frame(_) => Self::internal(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(id: Option<&str>, key: Option<&str>) -> Result<[u8; 16], Problem> {
        let name = axum::http::HeaderName::from_static(KEY_HEADER);
        let headers = key.into_iter().map(|key| (name.clone(), key.parse().unwrap())).collect();
        message_id(id, &headers)
    }

    #[test]
    fn an_id_is_named_or_made() {
        assert_eq!(id_of(Some(&"0a".repeat(16)), None).unwrap(), [0x0a; 16]);
        let key = id_of(None, Some("order-7")).unwrap();
        assert_eq!(id_of(None, Some("order-7")).unwrap(), key);
        assert_ne!(id_of(None, Some("order-8")).unwrap(), key);
        let (one, other) = (id_of(None, None).unwrap(), id_of(None, None).unwrap());
        assert!(one != other && one[..5] == other[..5], "in the same minute");
        for (id, key) in [
            (Some(""), None),
            (Some("0a"), None),
            (Some(&*"0A".repeat(16)), None),
            (Some(&*"0g".repeat(16)), None),
            (None, Some("")),
            (None, Some(&*"x".repeat(256))),
            (Some(&*"0a".repeat(16)), Some("x")),
        ] {
            assert!(id_of(id, key).is_err(), "{id:?} {key:?}");
        }
    }
}
