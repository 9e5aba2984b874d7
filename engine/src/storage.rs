//! What the engine asks of stores, and what they answer.
//!
//! A request carries a [`Ticket`](crate::Ticket); its answer comes back as
//! [`Event::Answered`](crate::Event::Answered): success or failure, in any order, at any time, or never.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use crate::id::{GroupId, MessageId, UserId};

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Load what the directory knows of a user who connects. Answered by [`Answer::UserLoaded`].
    LoadUser(UserId),
    /// Give the message its place in its conversation's log, and commit.
    /// Answered by [`Answer::MessageStored`].
    StoreMessage(Box<NewMessage>),
    /// Keep a file under a name of the store's own. Answered by [`Answer::FileStored`].
    StoreFile(FileUpload),
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::LoadUser`].
    UserLoaded(UserProfile),
    /// To [`Request::StoreMessage`]: the message is durable. Storing the same (sender, id) again gives the
    /// place that it got the first time, and stores nothing.
    MessageStored {
        /// The message's place in its conversation, gapless from 1.
        seq: u64,
    },
    /// To [`Request::StoreFile`]: the file is durable.
    FileStored {
        /// The file's name in the store: one path component, safe in a URL.
        name: Box<str>,
        /// What the file is by its first bytes, else by its suffix.
        kind: FileKind,
    },
    /// The request can never be done as it is: the message names an unknown user or group, the file is not
    /// what it claims to be.
    Refused,
    /// The request was not done for a reason on the store's side. It may succeed later; a message may even
    /// have been stored.
    Failed,
}

/// A message to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The authenticated sender.
    pub sender: UserId,
    /// Unique per sender.
    pub id: MessageId,
    /// To whom it goes.
    pub recipient: Recipient,
    /// 1 text, 2 file, 3 image, 4 audio, 5 video.
    pub content_type: u8,
    /// Its text.
    pub content: Box<str>,
    /// The display name that the sender's client put into it.
    pub sender_name: Box<str>,
    /// The stored file's name, if it has one.
    pub url: Box<str>,
    /// The file's suffix as the sender gave it, without a dot.
    pub file_suffix: Box<str>,
}

/// To whom a stored message goes; with the sender, this names its conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// One user: the conversation of the sender and this user, in either direction.
    User(UserId),
    /// A group.
    Group(GroupId),
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUpload {
    /// Who sent it.
    pub owner: UserId,
    /// Its suffix as the sender gave it, without a dot; not to be trusted.
    pub suffix: Box<str>,
    /// Its contents.
    pub source: FileSource,
}

/// Where a file's contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// Here.
    Bytes(Bytes),
    /// In a `data:` URL (RFC 2397) that is still to be decoded.
    DataUrl(Box<str>),
}

/// What kind of file one is, as far as messages tell kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryChange {
    /// The state of the directory that the change leads to.
    pub revision: u64,
    /// Whom it concerns.
    pub user: UserId,
    /// What is new.
    pub kind: DirectoryChangeKind,
}

/// What changed about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryChangeKind {
    /// The user belongs to this group now.
    Joined(GroupId),
    /// The user does not belong to this group any more.
    Left(GroupId),
    /// The user has another picture.
    Avatar(Box<str>),
}
