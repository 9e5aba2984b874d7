//! What a client keeps of itself and its conversations, so that it goes on after a restart where it stopped.

mod changes;
mod error;
mod memory;
mod sqlite;
mod thread;

use std::sync::Arc;

use switchboard_engine::{
    LogCursor, LogMessage, Marks, MessageId, PendingSubmit, Place, Recipient, RejectReason, Resume, UserId,
};

pub use changes::changed_by;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
pub(super) use thread::StoreThread;

/// Where a client keeps its device's id, cursors, messages, and what it has submitted.
///
/// A store belongs to one user at one server, and to one client at a time. Its methods are called on a thread of
/// the client's own, one after the other, and may block. [`MemoryStore`] and [`SqliteStore`] are here; an
/// application that has a database of its own can put a client's data into it.
///
/// A method that fails ends the client, which then has told nothing that the store does not have: a client that
/// is started on the store again goes on from there.
pub trait Store: Send + 'static {
    /// The first call: what an earlier client has kept. If there was none, `new_device_id` names this device
    /// from now on.
    ///
    /// # Errors
    /// [`StoreError::OtherUser`] if the store belongs to somebody else, and whatever keeps it from being read.
    fn open(&mut self, user: &UserId, new_device_id: [u8; 16]) -> Result<Resume, StoreError>;

    /// Keeps all of these changes or, if it fails or the process ends, none of them. When it returns they are as
    /// durable as this store makes them.
    ///
    /// # Errors
    /// Whatever keeps the changes from being kept.
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// At most `limit` messages of a conversation before the place `before_seq` (0: from the newest one on), in
    /// ascending order, as edits and recalls have left them, and without gaps: those beyond a gap are not given. The last one is `before_seq - 1`, or
    /// there are none.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn messages(
        &mut self,
        conversation: &Recipient,
        before_seq: u64,
        limit: u32,
    ) -> Result<Vec<Arc<LogMessage>>, StoreError>;

    /// At most `limit` messages of a conversation after the place `after_seq`, in ascending order, as edits and recalls
    /// have left them. There may be gaps between them.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn messages_after(
        &mut self,
        conversation: &Recipient,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<Arc<LogMessage>>, StoreError>;

    /// How far the application has taken what it was told, as [`Change::Taken`] has said last of each conversation.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn taken(&mut self) -> Result<Vec<LogCursor>, StoreError>;

    /// Conversations of which something was received, those that moved last first; at most `limit`.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn conversations(&mut self, limit: u32) -> Result<Vec<Summary>, StoreError>;
}

/// What a store knows of a conversation as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The conversation.
    pub conversation: Recipient,
    /// What a group is called, as far as that is known; else empty.
    pub name: Arc<str>,
    /// Which log of the conversation.
    pub epoch: u64,
    /// Place of the last entry.
    pub last_seq: u64,
    /// How far this user is, by all of its devices.
    pub own: Marks,
    /// How far the other user of a one-to-one conversation is.
    pub peer: Marks,
    /// Messages of others in this store that this user has not read, without those that were taken back.
    pub unread: u64,
}

/// Something that a store is to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A message is about to be submitted: it is pending, after those that are.
    Submit(PendingSubmit),
    /// A submitted message was not taken after all: it is not pending.
    Withdraw {
        /// Which.
        id: MessageId,
    },
    /// A submitted message is stored by the server: it is no longer pending.
    Accepted {
        /// Which.
        id: MessageId,
        /// Where.
        place: Place,
    },
    /// A submitted message will not be sent again: it is no longer pending.
    Rejected {
        /// Which.
        id: MessageId,
        /// Why.
        reason: RejectReason,
    },
    /// The next entry of a conversation; the conversation's cursor is its place. If it is an edit or a recall, the
    /// message that it is about is from now on what [`changed_by`] makes of it; if it gives the group a name, that is its
    /// name from now on.
    Message {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// The message.
        message: Arc<LogMessage>,
    },
    /// The conversation's cursor is this place, without messages up to there.
    Skipped {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// The place.
        seq: u64,
    },
    /// Marks of the conversation are there now: this user's own, or those of the other one. They may come before anything
    /// else of its log, and count with what follows. They mean nothing if the conversation's cursor has another epoch; the
    /// server tells them again then.
    Marked {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// Whether they are this user's.
        own: bool,
        /// The marks.
        marks: Marks,
    },
    /// What a group is called now. Entries that call it otherwise, which
    /// [`Subject::group_name`](switchboard_engine::Subject::group_name) tells, may follow.
    Named {
        /// The group's conversation.
        conversation: Recipient,
        /// Its name.
        name: Arc<str>,
    },
    /// The application has taken what it was told of the conversation up to this place: it needs not be told again.
    Taken {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation; 0: it has taken that a log is gone, and nothing of another one.
        epoch: u64,
        /// The place.
        seq: u64,
    },
    /// Nothing of the conversation is true any more, its cursor and marks neither. What is pending stays, and so does a
    /// group's name, and how far the conversation was taken.
    Reset {
        /// The conversation.
        conversation: Recipient,
    },
    /// Older messages, in ascending order and without gaps. They move no cursor, and mean nothing if the
    /// conversation's cursor has another epoch. Edits and recalls that the store has already, and that these
    /// messages have not seen, change them.
    Older {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// The messages.
        messages: Vec<Arc<LogMessage>>,
    },
}
