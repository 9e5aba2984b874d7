//! What the engine asks of stores, and what they answer.
//!
//! A request carries a [`Ticket`](crate::Ticket); its answer comes back as
//! [`Event::Answered`](crate::Event::Answered): success or failure, in any order, at any time, or never.

use alloc::{boxed::Box, vec::Vec};
use serde::{Deserialize, Serialize};

use bytes::Bytes;
use switchboard_proto::{Message as _, v1};

use crate::{
    denial::Denial,
    digest::Digest,
    entry,
    id::{GroupId, MessageId, UserId},
};

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Load what the directory knows of a user who connects. Answered by [`Answer::UserLoaded`].
    LoadUser(UserId),
    /// Give the message its place in its conversation's log, and commit.
    /// Answered by [`Answer::MessageStored`].
    ///
    /// Requests for one (sender, id) are done in the order in which they were asked, whichever engine asks: an engine
    /// that has given one up may ask again, and what the later one is refused for good the earlier one must not store.
    StoreMessage(Box<NewMessage>),
    /// Keep a file under a name of the store's own. Answered by [`Answer::FileStored`].
    StoreFile(FileUpload),
    /// How far the conversations of a user are. Answered by [`Answer::HeadsLoaded`].
    LoadHeads {
        /// Whose.
        user: UserId,
        /// Where an earlier answer broke off: its `next`; 0 for the beginning.
        after: u64,
    },
    /// Read a part of a conversation's log. Answered by [`Answer::MessagesLoaded`].
    LoadMessages(Box<Range>),
    /// Move a user's marks in a conversation forwards, and commit. Answered by [`Answer::MarksStored`].
    StoreMarks(Box<NewMarks>),
    /// Remember that a user was here until now. Answered by [`Answer::Seen`].
    StoreSeen(UserId),
    /// When a user was last here, for another one who has a conversation or a group in common with it.
    /// Answered by [`Answer::Seen`], and refused to everybody else.
    LoadSeen {
        /// Who wants to know.
        watcher: UserId,
        /// Of whom.
        user: UserId,
    },
    /// Remember what of a conversation has arrived at the classic clients of a user. Answered by
    /// [`Answer::ReceivedStored`], and refused if the log is another one or the user takes no part in it.
    StoreReceived(Box<Received>),
    /// The conversations of which something has not arrived at the classic clients of a user, who comes with one now:
    /// of a user who does so for the first time, none. Answered by [`Answer::UnreceivedLoaded`].
    LoadUnreceived {
        /// Whose.
        user: UserId,
        /// Where an earlier answer broke off: its `next`; 0 for the beginning.
        after: u64,
    },
}

impl Request {
    /// The message that is to be stored, if that is what is asked.
    #[must_use]
    pub fn message(&self) -> Option<&NewMessage> {
        match self {
            Self::StoreMessage(new) => Some(new),
            Self::LoadUser(_)
            | Self::StoreFile(_)
            | Self::LoadHeads { .. }
            | Self::LoadMessages(_)
            | Self::StoreMarks(_)
            | Self::StoreSeen(_)
            | Self::LoadSeen { .. }
            | Self::StoreReceived(_)
            | Self::LoadUnreceived { .. } => None,
        }
    }

    /// The file that is to be kept, if that is what is asked.
    #[must_use]
    pub const fn file(&self) -> Option<&FileUpload> {
        match self {
            Self::StoreFile(upload) => Some(upload),
            Self::LoadUser(_)
            | Self::StoreMessage(_)
            | Self::LoadHeads { .. }
            | Self::LoadMessages(_)
            | Self::StoreMarks(_)
            | Self::StoreSeen(_)
            | Self::LoadSeen { .. }
            | Self::StoreReceived(_)
            | Self::LoadUnreceived { .. } => None,
        }
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Request::LoadUser`].
    UserLoaded(UserProfile),
    /// To [`Request::StoreMessage`]: the message is durable. Storing the same (sender, id) again gives the
    /// place that it got the first time, and stores nothing.
    MessageStored(Place),
    /// To [`Request::StoreMessage`]: a message of this id has been durable since an earlier request, at this place of the
    /// same conversation. What it says may be something else. In another conversation: [`Denial::OtherConversation`].
    StoredEarlier(Place),
    /// To [`Request::StoreFile`]: the file is durable.
    FileStored {
        /// The file's name in the store: one path component, safe in a URL.
        name: Box<str>,
        /// What the file is by its first bytes, else by its suffix.
        kind: FileKind,
    },
    /// To [`Request::LoadHeads`]. A conversation that begins meanwhile may be missing.
    HeadsLoaded {
        /// Some of the conversations in which something was said.
        heads: Vec<Head>,
        /// Where to go on; none if these were the last.
        next: Option<u64>,
    },
    /// To [`Request::LoadMessages`].
    MessagesLoaded(Messages),
    /// To [`Request::StoreMarks`]: the marks are durable, and now these, which may be further on than was asked for.
    MarksStored(StoredMarks),
    /// To [`Request::StoreSeen`] and [`Request::LoadSeen`].
    Seen {
        /// When the user was last here, in milliseconds since 1970-01-01T00:00:00Z; none if that is not known.
        at_ms: Option<i64>,
    },
    /// To [`Request::StoreReceived`].
    ReceivedStored,
    /// To [`Request::LoadUnreceived`].
    UnreceivedLoaded {
        /// Some of the conversations, and how far they have arrived; the heads are the logs'.
        unreceived: Vec<(Head, Received)>,
        /// Where to go on; none if these were the last.
        next: Option<u64>,
    },
    /// To [`Request::StoreMessage`]: the sender is a participant, and may not do this all the same. It never can be done.
    Denied(Denial),
    /// The request can never be done as it is: it names an unknown user or group, or one that is not the
    /// user's, or the file is not what it claims to be.
    Refused,
    /// The request was not done for a reason on the store's side. It may succeed later; a message may even
    /// have been stored.
    Failed,
    /// The same, and the reason is that the store has no room: its disk is full.
    Full,
}

/// Where a message is for ever, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which log of its conversation. A random number that is another one once the store has lost something.
    pub epoch: u64,
    /// Its place in the log, gapless from 1.
    pub seq: u64,
    /// Time of the commit, in milliseconds since 1970-01-01T00:00:00Z.
    pub stored_at_ms: i64,
}

/// How far a conversation is, for one of its participants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The conversation; if it is one-to-one, the other user, as the participant sees it.
    pub conversation: Recipient,
    /// Which log of this conversation.
    pub epoch: u64,
    /// Place of the last message.
    pub seq: u64,
    /// Place of the first message that the participant may read; `seq + 1` if there is none.
    pub first_seq: u64,
    /// The participant's marks.
    pub own: Marks,
    /// The other user's marks, if the conversation is one-to-one.
    pub peer: Marks,
}

/// How far a user is with a conversation. Both only grow, as long as the log is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Marks {
    /// Place of the last message that has arrived at a device of the user without a gap.
    pub delivered: u64,
    /// Place of the last message that the user has seen; at most `delivered`.
    pub read: u64,
}

impl Marks {
    /// The further of the two, each mark on its own.
    #[must_use]
    pub fn max_of(self, other: Self) -> Self {
        Self { delivered: self.delivered.max(other.delivered), read: self.read.max(other.read) }
    }
}

/// Marks as the store has them after a [`Request::StoreMarks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMarks {
    /// The marks.
    pub marks: Marks,
    /// Whether the request has moved them: what only repeats is told to nobody.
    pub has_moved: bool,
}

/// Marks as a client wants them. The store takes the larger of these and its own, and neither beyond the log's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMarks {
    /// Whose.
    pub user: UserId,
    /// The conversation, as the user sees it.
    pub conversation: Recipient,
    /// Which log of it; marks of another one are refused.
    pub epoch: u64,
    /// The marks.
    pub marks: Marks,
}

/// How far a conversation has arrived at the classic clients of a user.
///
/// A store keeps one place for each user and conversation: everything up to it has arrived, as far as classic clients
/// are sent it, which is the messages of others. It moves forwards over what it is told; where something is missing
/// it stays before that, whatever has arrived behind it. Told of another log, it changes nothing. A user's place in a
/// conversation that is there when the user first comes with a classic client ([`Request::LoadUnreceived`]) is its
/// head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Whose clients.
    pub user: UserId,
    /// The conversation, as the user sees it.
    pub conversation: Recipient,
    /// Which log of it.
    pub epoch: u64,
    /// Everything up to this place has arrived, or is not to be sent any more; 0: that is not said.
    pub seq: u64,
    /// What has arrived beyond that, ascending; only when a store is told.
    pub beyond: Vec<u64>,
}

/// What an entry of a log is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A message; `content_type` is 1 to 5.
    #[default]
    Message,
    /// New text for an earlier message of the same sender; `content_type` is 21.
    Edit {
        /// The place of the message.
        target_seq: u64,
    },
    /// An earlier message is taken back; `content_type` is 22.
    Recall {
        /// The place of the message.
        target_seq: u64,
    },
    /// A change of the group; `content_type` is 23.
    Change(Box<GroupChange>),
}

impl Subject {
    /// What the entry calls its group from then on; none if it does not.
    #[must_use]
    pub fn group_name(&self) -> Option<&str> {
        match self {
            Self::Change(change) => match &**change {
                GroupChange::Create { name, .. } | GroupChange::Rename(name) => Some(name),
                GroupChange::Join
                | GroupChange::Leave
                | GroupChange::Invite(_)
                | GroupChange::Kick(_)
                | GroupChange::SetRole(..)
                | GroupChange::Mute(..) => None,
            },
            Self::Message | Self::Edit { .. } | Self::Recall { .. } => None,
        }
    }

    /// Bytes of the texts in it.
    pub(crate) fn len_bytes(&self) -> u64 {
        let len = match self {
            Self::Message | Self::Edit { .. } | Self::Recall { .. } => 0,
            Self::Change(change) => match &**change {
                GroupChange::Create { name, .. } | GroupChange::Rename(name) => name.len(),
                GroupChange::Invite(user)
                | GroupChange::Kick(user)
                | GroupChange::SetRole(user, _)
                | GroupChange::Mute(user, _) => user.as_str().len(),
                GroupChange::Join | GroupChange::Leave => 0,
            },
        };
        len as u64
    }

    pub(crate) fn fold(&self, digest: &mut Digest<'_>) {
        match self {
            Self::Message => digest.word(0),
            Self::Edit { target_seq } => {
                digest.word(1);
                digest.word(*target_seq);
            }
            Self::Recall { target_seq } => {
                digest.word(2);
                digest.word(*target_seq);
            }
            Self::Change(change) => {
                digest.word(3);
                change.fold(digest);
            }
        }
    }
}

/// A change of a group, made by an entry's sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupChange {
    /// The group comes into being, and the sender owns it.
    Create {
        /// Its name.
        name: Box<str>,
        /// Whether nobody joins uninvited.
        invite_only: bool,
    },
    /// The sender becomes a member.
    Join,
    /// The sender is a member no more.
    Leave,
    /// This user becomes a member.
    Invite(UserId),
    /// This user is a member no more.
    Kick(UserId),
    /// This user has another role.
    SetRole(UserId, Role),
    /// This user may not write until this time, in milliseconds since 1970-01-01T00:00:00Z; 0: may write.
    Mute(UserId, i64),
    /// The group has another name.
    Rename(Box<str>),
}

impl GroupChange {
    /// The change as bytes, for a store to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        entry::wire_change(self).encode_to_vec()
    }

    /// A change from the bytes of [`GroupChange::encode`]; none if they are others.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        entry::change(Some(&v1::GroupChange::decode(bytes).ok()?)).ok()
    }

    /// Whom it concerns, if `sender` makes it: who belongs to the group, or another one, from then on. None: all
    /// members alike.
    pub(crate) const fn concerns<'a>(&'a self, sender: &'a UserId) -> Option<&'a UserId> {
        match self {
            Self::Create { .. } | Self::Join | Self::Leave => Some(sender),
            Self::Invite(user) | Self::Kick(user) => Some(user),
            // Members, who are told with everybody.
            Self::SetRole(..) | Self::Mute(..) | Self::Rename(_) => None,
        }
    }

    fn fold(&self, digest: &mut Digest<'_>) {
        match self {
            Self::Create { name, invite_only } => {
                digest.word(0);
                digest.text(name);
                digest.flag(*invite_only);
            }
            Self::Join => digest.word(1),
            Self::Leave => digest.word(2),
            Self::Invite(user) => {
                digest.word(3);
                digest.text(user.as_str());
            }
            Self::Kick(user) => {
                digest.word(4);
                digest.text(user.as_str());
            }
            Self::SetRole(user, role) => {
                digest.word(5);
                digest.text(user.as_str());
                digest.word(match role {
                    Role::Member => 1,
                    Role::Admin => 2,
                    Role::Owner => 3,
                });
            }
            Self::Mute(user, until_ms) => {
                digest.word(6);
                digest.text(user.as_str());
                digest.word(until_ms.cast_unsigned());
            }
            Self::Rename(name) => {
                digest.word(7);
                digest.text(name);
            }
        }
    }
}

/// What a member of a group may do: each role all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Read and write, invite if the group is open, leave.
    Member,
    /// Invite, kick and mute members, rename, recall what members have said.
    Admin,
    /// All of this to admins, and give roles.
    Owner,
}

/// A part of a conversation's log, as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Who asks, and must be a participant.
    pub reader: UserId,
    /// The conversation, as the reader sees it.
    pub conversation: Recipient,
    /// The first place wanted; 0 backwards: the last one.
    pub from_seq: u64,
    /// Towards older messages.
    pub backwards: bool,
    /// At most so many messages.
    pub limit: u32,
    /// At most so many bytes of content, but one message at least.
    pub limit_bytes: u64,
}

/// A part of a conversation's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Which log of the conversation; 0 if nothing was ever said in it, and only then.
    pub epoch: u64,
    /// Place of the last message of the conversation; 0: none.
    pub head_seq: u64,
    /// Place of the first message that the reader may read; at most `head_seq + 1`.
    pub first_seq: u64,
    /// In ascending order of their places, without gaps. Forwards from the larger of `from_seq` and `first_seq`,
    /// backwards to the smaller of `from_seq` and `head_seq`, or to `head_seq`; empty only if there is none there.
    pub messages: Vec<StoredMessage>,
    /// Of a group that the reader is a member of: what it is called now. Empty to who has left.
    pub group_name: Box<str>,
}

/// A message as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Its place.
    pub seq: u64,
    /// Its id, unique per sender.
    pub id: MessageId,
    /// Who sent it.
    pub sender: UserId,
    /// The display name that the sender's client put into it.
    pub sender_name: Box<str>,
    /// The sender's picture, as the directory has it now.
    pub avatar: Box<str>,
    /// 1 text, 2 file, 3 image, 4 audio, 5 video.
    pub content_type: u8,
    /// Its text.
    pub content: Box<str>,
    /// The stored file's name, if it has one.
    pub url: Box<str>,
    /// Time of the commit, in milliseconds since 1970-01-01T00:00:00Z.
    pub stored_at_ms: i64,
    /// What the entry is.
    pub subject: Subject,
    /// Of a message: place of the last edit or recall of it; 0: none. Text and file are as that has left them.
    pub changed_seq: u64,
    /// Of a message: whether it was recalled.
    pub is_recalled: bool,
}

/// A message to store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// The authenticated sender.
    pub sender: UserId,
    /// Unique per sender.
    pub id: MessageId,
    /// To whom it goes.
    pub recipient: Recipient,
    /// 1 text, 2 file, 3 image, 4 audio, 5 video; 21 to 23 as `subject` says.
    pub content_type: u8,
    /// Its text.
    pub content: Box<str>,
    /// The display name that the sender's client put into it.
    pub sender_name: Box<str>,
    /// The stored file's name, if it has one.
    pub url: Box<str>,
    /// The file's suffix as the sender gave it, without a dot.
    pub file_suffix: Box<str>,
    /// What the entry is.
    pub subject: Subject,
}

/// To whom a stored message goes; with the sender, this names its conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Recipient {
    /// One user: the conversation of the sender and this user, in either direction.
    User(UserId),
    /// A group.
    Group(GroupId),
}

impl Recipient {
    pub(crate) fn fold(&self, digest: &mut Digest<'_>) {
        match self {
            Self::User(user) => {
                digest.word(0);
                digest.text(user.as_str());
            }
            Self::Group(group) => {
                digest.word(1);
                digest.text(group.as_str());
            }
        }
    }
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUpload {
    /// Who sent it.
    pub owner: UserId,
    /// Its suffix as the sender gave it, without a dot; not to be trusted.
    pub suffix: Box<str>,
    /// Its contents.
    pub source: FileSource,
}

/// Where a file's contents are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSource {
    /// Here.
    Bytes(Bytes),
    /// In a `data:` URL (RFC 2397) that is still to be decoded.
    DataUrl(Box<str>),
}

/// What kind of file one is, as far as messages tell kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FileKind {
    /// Anything else; `contentType` 2.
    Other,
    /// A picture; `contentType` 3.
    Image,
    /// Sound; `contentType` 4.
    Audio,
    /// Moving pictures; `contentType` 5.
    Video,
}

/// What the directory knows of a user, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserProfile {
    /// The file name of the user's picture; may be empty.
    pub avatar: Box<str>,
    /// The groups that the user belongs to, each once.
    pub groups: Vec<GroupId>,
    /// The state of the directory that this was read from.
    pub revision: u64,
}

/// A change of the directory. The store numbers all of them in one sequence, so that a change that a
/// [`UserProfile`] already has in it is recognised by its revision and ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryChange {
    /// The state of the directory that the change leads to.
    pub revision: u64,
    /// Whom it concerns.
    pub user: UserId,
    /// What is new.
    pub kind: DirectoryChangeKind,
}

/// What changed about a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryChangeKind {
    /// The user belongs to this group now.
    Joined(GroupId),
    /// The user does not belong to this group any more.
    Left(GroupId),
    /// The user has another picture.
    Avatar(Box<str>),
}
