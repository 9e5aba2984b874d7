//! What was said.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use switchboard_engine::{GroupChange, GroupId, Marks, Recipient, StoredMessage, Subject, UserId};
use utoipa::{IntoParams, ToSchema};

use super::{
    groups::{Group, RoleName},
    input::{Me, Params, Segments},
    model::{File, User, time},
    page::{Page, PageParams, after, cursor, limit},
    problem::{Kind, Problem},
};
use crate::{
    server::access::Desk,
    store::{Directory, Excerpt, Overview},
};

/// What kind of conversation one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConversationKind {
    /// One to one, with the user whose id it is.
    Direct,
    /// A group's, whose id it is.
    Group,
}

/// A conversation of one's own.
#[derive(Serialize, ToSchema)]
pub(super) struct Conversation {
    kind: ConversationKind,
    /// The id of the other user, or of the group.
    id: String,
    /// The other user; null in a group.
    user: Option<User>,
    /// The group; null one to one, and for who has left it.
    group: Option<Group>,
    /// The place of the last entry.
    head_seq: u64,
    /// The place of the first entry that one may read.
    first_seq: u64,
    /// Which log it is: places mean nothing in another one, which takes its place if the server has lost something.
    epoch: String,
    /// How far one is with it oneself.
    own: Places,
    /// How far the other user is; null in a group.
    peer: Option<Places>,
    /// How many messages of others, among the last 1,000 entries, one has not read; null where no client of one's own tells
    /// what was read.
    unread: Option<u64>,
    /// The last message that was not recalled; null if there is none among the last 16 entries.
    last_message: Option<Entry>,
}

/// How far a user is with a conversation.
#[derive(Serialize, ToSchema)]
pub(super) struct Places {
    /// The place of the last entry that has arrived; 0: none.
    delivered_seq: u64,
    /// The place of the last entry that was seen; 0: none.
    read_seq: u64,
}

impl From<Marks> for Places {
    fn from(marks: Marks) -> Self {
        Self { delivered_seq: marks.delivered, read_seq: marks.read }
    }
}

/// What an entry of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EntryKind {
    Text,
    File,
    Image,
    Audio,
    Video,
    /// New text for the message at `target_seq`.
    Edit,
    /// The message at `target_seq` was taken back.
    Recall,
    /// A change of the group.
    Change,
    /// Something of a newer server.
    Other,
}

/// An entry of a log.
#[derive(Serialize, ToSchema)]
pub(super) struct Entry {
    /// Its place, without gaps from 1.
    seq: u64,
    /// Its id, unique per sender.
    message_id: String,
    kind: EntryKind,
    /// The id of who has sent it.
    sender_id: String,
    /// The name that the sender's client put into it.
    sender_name: String,
    /// Its text, as its last edit has left it; empty if it was recalled.
    text: String,
    /// Its file; null if it has none.
    file: Option<File>,
    /// When it was stored.
    #[schema(format = DateTime)]
    stored_at: String,
    /// Whether it was taken back.
    is_recalled: bool,
    /// The place of its last edit or recall; null if there was none.
    changed_seq: Option<u64>,
    /// Of an edit or a recall, the place of the message that it is about.
    target_seq: Option<u64>,
    /// Of a change of the group, what it changes.
    change: Option<Change>,
}

/// What a change of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChangeKind {
    Create,
    Join,
    Leave,
    Invite,
    Remove,
    Role,
    Mute,
    Rename,
}

/// A change of a group.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    kind: ChangeKind,
    /// The id of whom it is about, if that is not the sender.
    user_id: Option<String>,
    /// The group's name from then on, if it is another one.
    name: Option<String>,
    /// The role from then on, if it is another one.
    role: Option<RoleName>,
    /// Until when the user may not write, if it was muted.
    #[schema(format = DateTime)]
    muted_until: Option<String>,
}

impl From<&GroupChange> for Change {
    fn from(change: &GroupChange) -> Self {
        let of = |kind| Self {
            kind,
            user_id: change.target().map(|user| user.as_str().to_owned()),
            name: None,
            role: None,
            muted_until: None,
        };
        let named = |kind, name: &str| Self { name: Some(name.to_owned()), ..of(kind) };
        match change {
            GroupChange::Create { name, .. } => named(ChangeKind::Create, name),
            GroupChange::Join => of(ChangeKind::Join),
            GroupChange::Leave => of(ChangeKind::Leave),
            GroupChange::Invite(_) => of(ChangeKind::Invite),
            GroupChange::Kick(_) => of(ChangeKind::Remove),
            GroupChange::SetRole(_, role) => Self { role: Some((*role).into()), ..of(ChangeKind::Role) },
            GroupChange::Mute(_, until_ms) => {
                Self { muted_until: Some(time(*until_ms)), ..of(ChangeKind::Mute) }
            }
            GroupChange::Rename(name) => named(ChangeKind::Rename, name),
        }
    }
}

impl From<StoredMessage> for Entry {
    fn from(entry: StoredMessage) -> Self {
        let (kind, target_seq, change) = match &entry.subject {
            Subject::Message => (message_kind(entry.content_type), None, None),
            Subject::Edit { target_seq } => (EntryKind::Edit, Some(*target_seq), None),
            Subject::Recall { target_seq } => (EntryKind::Recall, Some(*target_seq), None),
            Subject::Change(change) => (EntryKind::Change, None, Some(Change::from(&**change))),
        };
        Self {
            seq: entry.seq,
            message_id: data_encoding::HEXLOWER.encode(&entry.id.0),
            kind,
            sender_id: entry.sender.as_str().to_owned(),
            sender_name: entry.sender_name.into(),
            text: entry.content.into(),
            file: File::if_named(entry.url),
            stored_at: time(entry.stored_at_ms),
            is_recalled: entry.is_recalled,
            changed_seq: Some(entry.changed_seq).filter(|seq| *seq > 0),
            target_seq,
            change,
        }
    }
}

const fn message_kind(content_type: u8) -> EntryKind {
    match content_type {
        1 => EntryKind::Text,
        2 => EntryKind::File,
        3 => EntryKind::Image,
        4 => EntryKind::Audio,
        5 => EntryKind::Video,
        _ => EntryKind::Other,
    }
}

impl From<Overview> for Conversation {
    fn from(overview: Overview) -> Self {
        let Overview { head, user, group, last_message, unread } = overview;
        let (kind, id) = names(&head.conversation);
        Self {
            kind,
            id,
            user: user.map(User::from),
            group: group.map(Group::from),
            head_seq: head.seq,
            first_seq: head.first_seq,
            epoch: head.epoch.to_string(),
            own: head.own.into(),
            peer: Some(head.peer.into()).filter(|_| kind == ConversationKind::Direct),
            unread,
            last_message: last_message.map(Entry::from),
        }
    }
}

/// How a conversation is named.
pub(super) fn names(conversation: &Recipient) -> (ConversationKind, String) {
    match conversation {
        Recipient::User(user) => (ConversationKind::Direct, user.as_str().to_owned()),
        Recipient::Group(group) => (ConversationKind::Group, group.as_str().to_owned()),
    }
}

/// Which conversation is named so.
pub(super) fn named(kind: ConversationKind, id: &str) -> Result<Recipient, Problem> {
    Ok(match kind {
        ConversationKind::Direct => Recipient::User(UserId::new(id)?),
        ConversationKind::Group => Recipient::Group(GroupId::new(id)?),
    })
}

/// One's conversations
///
/// Those in which something was said, also in groups that one has left: the one in which something was said last comes first. None comes twice,
/// and none is missing but those in which something is said while one reads: these are at the beginning by then.
#[utoipa::path(
    get, path = "/api/v1/conversations", tag = "conversations", params(PageParams),
    responses((status = 200, description = "Conversations", body = Page<Conversation>))
)]
pub(super) async fn list_conversations(
    State(desk): State<Desk>,
    me: Me,
    Params(page): Params<PageParams>,
) -> Result<Json<Page<Conversation>>, Problem> {
    let read = move |directory: &Directory, before: Option<(i64, i64)>, most| {
        directory.overview(&me.user, before, most)
    };
    page.of(&desk, read, |(place, _)| *place, |(_, overview)| overview.into()).await
}

/// A conversation
#[utoipa::path(
    get, path = "/api/v1/conversations/{kind}/{id}", tag = "conversations",
    params(
        ("kind" = ConversationKind, Path, description = "One to one, or a group's"),
        ("id" = String, Path, description = "The id of the other user, or of the group", max_length = 128),
    ),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        (status = 404, description = "Nothing was said there, or it is not for your eyes"),
    )
)]
pub(super) async fn show_conversation(
    State(desk): State<Desk>,
    me: Me,
    Segments((kind, id)): Segments<(ConversationKind, String)>,
) -> Result<Json<Conversation>, Problem> {
    let wanted = named(kind, &id)?;
    let found = desk.accounts.directory(move |directory| directory.overview_at(&me.user, &wanted)).await??;
    Ok(Json(found.ok_or_else(|| Problem::not_found("conversation"))?.into()))
}

/// In which direction a log is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    /// From the newest to the oldest.
    #[default]
    Backwards,
    /// From the oldest to the newest.
    Forwards,
}

/// Which part of a log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// `backwards`, which is usual, begins with the newest entry; `forwards` begins with the oldest.
    #[param(inline)]
    direction: Option<Direction>,
    /// The place to begin with, itself included.
    #[param(minimum = 1, maximum = 9007199254740991_u64)]
    from_seq: Option<u64>,
    /// Entries at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before; without `direction` and `from_seq`, as it has them in it.
    #[param(max_length = 512)]
    cursor: Option<String>,
}

/// The history of a conversation
///
/// Entries by their places, in either direction: messages as their last edit has left them, edits and recalls as entries of their own, and
/// changes of the group. Who has left a group reads what was said until then.
#[utoipa::path(
    get, path = "/api/v1/conversations/{kind}/{id}/messages", tag = "conversations",
    params(
        ("kind" = ConversationKind, Path, description = "One to one, or a group's"),
        ("id" = String, Path, description = "The id of the other user, or of the group", max_length = 128),
        HistoryParams,
    ),
    responses(
        (status = 200, description = "Entries, in the direction that was asked for", body = Page<Entry>),
        (status = 404, description = "There is no such user, or no such group for you"),
    )
)]
pub(super) async fn read_history(
    State(desk): State<Desk>,
    me: Me,
    Segments((kind, id)): Segments<(ConversationKind, String)>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<Page<Entry>>, Problem> {
    let conversation = named(kind, &id)?;
    let limit = limit(params.limit)?;
    let place = after::<(Direction, u64, u64)>(params.cursor.as_deref())?;
    if place.is_some() && (params.direction.is_some() || params.from_seq.is_some()) {
        let text = "a cursor has direction and from_seq in it: leave them out";
        return Err(Problem::new(Kind::Malformed, text));
    }
    if params.from_seq == Some(0) {
        return Err(Problem::new(Kind::Malformed, "from_seq must be 1 at least"));
    }
    let (direction, from_seq, epoch) =
        place.unwrap_or((params.direction.unwrap_or_default(), params.from_seq.unwrap_or_default(), 0));
    let backwards = direction == Direction::Backwards;
    let limit_bytes = desk.rules.http.page_bytes;
    let of = Excerpt { reader: me.user, conversation, from_seq, backwards, limit, limit_bytes };
    let mut part = desk.accounts.directory(move |directory| directory.excerpt(&of)).await??;
    if epoch != 0 && epoch != part.epoch {
        let text = "the cursor is of a log that is no more: begin anew";
        return Err(Problem::new(Kind::Malformed, text));
    }
    let next = match (direction, part.messages.first(), part.messages.last()) {
        (Direction::Backwards, Some(oldest), _) if oldest.seq > part.first_seq => Some(oldest.seq - 1),
        (Direction::Forwards, _, Some(newest)) if newest.seq < part.head_seq => Some(newest.seq + 1),
        _ => None,
    };
    if backwards {
        part.messages.reverse();
    }
    let next_cursor = next.and_then(|seq| cursor(&(direction, seq, part.epoch)));
    Ok(Json(Page { items: part.messages.into_iter().map(Entry::from).collect(), next_cursor }))
}
