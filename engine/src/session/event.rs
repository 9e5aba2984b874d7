//! What a [`Session`](crate::Session) tells its application, and what it knows when it begins.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use switchboard_proto::{Message as _, v1};

use super::calls::{CallId, CallNews};
use crate::{
    client::{ClientAction, ClosedReason, ConnectionState, LossCause},
    digest::Digest,
    entry,
    id::{MessageId, UserId},
    storage::{GroupChange, Marks, Place, Recipient, Subject},
    time::Instant,
};

/// Something that a [`Session`](crate::Session) asks its driver to do.
pub type SessionAction = ClientAction<SessionNotification>;

/// What a device knows of itself and of what it has received: what an application keeps between two runs.
///
/// A new device has a random id and nothing else. What changes it is told by notifications:
///
/// | notification | what to keep |
/// | --- | --- |
/// | [`SessionNotification::Message`] | the message; the conversation's cursor is its `(epoch, seq)` |
/// | [`SessionNotification::Skipped`] | the conversation's cursor is its `(epoch, seq)` |
/// | [`SessionNotification::Marked`] | the conversation's marks, the user's own or the other side's |
/// | [`SessionNotification::Reset`] | nothing of this conversation, its cursor neither |
/// | [`SessionNotification::Accepted`], [`SessionNotification::Rejected`] | the submit no longer |
///
/// A submit is kept before it is given to [`Session::submit`](crate::Session::submit). A message and its cursor
/// are kept in one transaction, or an application that stops between the two sees the message twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Names this device among the user's devices: 16 random bytes of the operating system's, chosen once.
    pub device_id: [u8; 16],
    /// How far each conversation was received, those that moved last first. Of two of one conversation, the
    /// first counts.
    pub cursors: Vec<LogCursor>,
    /// How far the user and the others are with these conversations. What was received counts as delivered anyway.
    pub marks: Vec<LogMarks>,
    /// Messages whose fate is not known yet, in the order in which they were submitted. Of two with one id,
    /// the first counts.
    pub submits: Vec<PendingSubmit>,
}

/// How far a conversation's log was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCursor {
    /// The conversation; if it is one-to-one, the other user.
    pub conversation: Recipient,
    /// Which log of the conversation.
    pub epoch: u64,
    /// Place of the last message received; everything before it was received or skipped.
    pub seq: u64,
}

/// How far a user and the other side are with a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMarks {
    /// The conversation; if it is one-to-one, the other user.
    pub conversation: Recipient,
    /// Which log of the conversation; marks of another one mean nothing.
    pub epoch: u64,
    /// The user's own marks, by all of its devices.
    pub own: Marks,
    /// Those of the other user, if the conversation is one-to-one.
    pub peer: Marks,
}

/// A message that was submitted and has no fate yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSubmit {
    /// Its id.
    pub id: MessageId,
    /// The conversation that it is for.
    pub conversation: Recipient,
    /// What it says.
    pub content: Content,
}

/// What an entry of a log says: a message, or something about an earlier one or about the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// 1 text, 2 file, 3 image, 4 audio, 5 video; 21 an edit, 22 a recall, 23 a change of the group. Others are for
    /// newer applications than this one, and to be passed over.
    pub kind: u32,
    /// Its text; of an edit, the new text.
    pub text: Box<str>,
    /// Name of the stored file of a media message; else empty.
    pub file: Box<str>,
    /// What the entry is. [`Subject::Message`] of a kind that is none: something that this version does not know.
    pub subject: Subject,
}

impl Content {
    /// A text message.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { kind: 1, text: text.into(), ..Self::default() }
    }

    /// New text for a message of this user, which is at this place of the conversation.
    #[must_use]
    pub fn edit(target_seq: u64, text: &str) -> Self {
        Self { text: text.into(), ..Self::of(Subject::Edit { target_seq }) }
    }

    /// The message at this place of the conversation is taken back.
    #[must_use]
    pub fn recall(target_seq: u64) -> Self {
        Self::of(Subject::Recall { target_seq })
    }

    /// A change of the group whose conversation it is submitted to.
    #[must_use]
    pub fn change(change: GroupChange) -> Self {
        Self::of(Subject::Change(Box::new(change)))
    }

    /// What the entry is, as bytes for a store that keeps kind, text and file beside them; empty for a message.
    #[must_use]
    pub fn subject_bytes(&self) -> Vec<u8> {
        match self.subject {
            Subject::Message => Vec::new(),
            Subject::Edit { .. } | Subject::Recall { .. } | Subject::Change(_) => {
                entry::content(self.kind, String::new(), String::new(), &self.subject).encode_to_vec()
            }
        }
    }

    /// An entry as a store has kept it, with the bytes of [`Content::subject_bytes`].
    #[must_use]
    pub fn restore(kind: u32, text: Box<str>, file: Box<str>, subject: &[u8]) -> Self {
        let told = v1::Content::decode(subject).unwrap_or_default();
        Self { kind, text, file, subject: entry::subject_told(&told) }
    }

    fn of(subject: Subject) -> Self {
        Self { kind: entry::kind(&subject), subject, ..Self::default() }
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.word(self.kind.into());
        digest.text(&self.text);
        digest.text(&self.file);
        self.subject.fold(digest);
    }
}

/// A message of a conversation's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMessage {
    /// Its place in the log, gapless from 1.
    pub seq: u64,
    /// Its id, unique per sender.
    pub id: MessageId,
    /// Who sent it.
    pub from: UserId,
    /// What it says.
    pub content: Content,
    /// Time of the commit, in milliseconds since 1970-01-01T00:00:00Z.
    pub stored_at_ms: i64,
    /// Whether the sender is this session's user, on whatever device.
    pub own: bool,
    /// Of a message: place of the last edit or recall of it that the log had when it was read; 0: none. Text and
    /// file are as that has left them.
    pub changed_seq: u64,
    /// Of a message: whether it was recalled by then.
    pub is_recalled: bool,
}

/// A request of [`Session::fetch_older`](crate::Session::fetch_older). Never used twice by one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OlderId(pub u64);

/// Something that the application wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionNotification {
    /// The session's visible state is another one now.
    StateChanged(SessionState),
    /// The next message of a conversation's log: within an epoch, each is told once, in order, without gaps
    /// other than those told by `Skipped`.
    Message {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// The message.
        message: Box<LogMessage>,
    },
    /// Messages up to this place will not be told: the user may not read them, or the configured
    /// [`History`](crate::History) leaves them out.
    Skipped {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// Place of the last message left out.
        seq: u64,
    },
    /// What a group that this user is a member of is called now. Told when messages of it are fetched, before these, if
    /// it is not what was told last; later changes are messages of the log.
    Named {
        /// The group's conversation.
        conversation: Recipient,
        /// Its name.
        name: Box<str>,
    },
    /// The conversation has a new log: what is known of it is to be forgotten, and is told again from the
    /// beginning as the configured [`History`](crate::History) says. Submits stay pending.
    Reset {
        /// The conversation.
        conversation: Recipient,
    },
    /// The server cannot take a submitted message for now, and it is sent again, and again, until it is taken. Told once
    /// for each message, when that begins; it ends with the message's fate.
    Delayed {
        /// Which.
        id: MessageId,
        /// Why, for a person to read.
        text: Box<str>,
        /// It is not sent again before this time; those behind it in its conversation wait with it.
        until: Instant,
    },
    /// A submitted message is stored for ever. Its fate, told once.
    Accepted {
        /// Which.
        id: MessageId,
        /// Where in its conversation.
        place: Place,
    },
    /// A submitted message will not be sent again. Its fate, told once.
    Rejected {
        /// Which.
        id: MessageId,
        /// Why.
        code: RejectReason,
        /// For a person to read.
        text: Box<str>,
    },
    /// Older messages, as asked for. They move no cursor.
    Older {
        /// The request; it is answered once.
        request: OlderId,
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// In ascending order, without gaps; empty if there are none. May be fewer than asked for: there are
        /// more while the first one's place is above `first_seq`.
        messages: Vec<LogMessage>,
        /// Place of the first message that the user may read.
        first_seq: u64,
    },
    /// Older messages cannot be had.
    NoOlder {
        /// The request; it is answered once.
        request: OlderId,
        /// Why.
        reason: NoOlderReason,
    },
    /// Something happens to a call of this device, or one rings.
    Call {
        /// Which.
        id: CallId,
        /// The other user.
        user: UserId,
        /// What.
        news: CallNews,
    },
    /// Marks of a conversation have moved forwards: the other side's, or the user's own: by
    /// [`Session::mark_read`](crate::Session::mark_read), by another device, or as this device has just told the
    /// server what has arrived.
    Marked {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// Whether they are this user's.
        own: bool,
        /// Where they are now.
        marks: Marks,
    },
    /// Somebody else has begun or stopped to type.
    Typing {
        /// The conversation.
        conversation: Recipient,
        /// Who.
        user: UserId,
        /// Whether the user types now.
        types: bool,
    },
    /// A user who is watched is here, or is not: as soon as that is known after [`Session::watch`](crate::Session::watch)
    /// and after each reconnection, and whenever it changes.
    Presence {
        /// Who.
        user: UserId,
        /// Whether it is here.
        online: bool,
        /// When it was last here, in milliseconds since 1970-01-01T00:00:00Z, if it is not and that is known.
        last_seen_ms: Option<i64>,
    },
    /// Those who run the server have something to say, for a person to read. It belongs to no conversation and comes once.
    Notice {
        /// What.
        text: Box<str>,
    },
    /// Everything that was stored when this connection began has been told, as far as it may be. Once for
    /// each connection.
    CaughtUp,
}

impl From<ConnectionState> for SessionNotification {
    fn from(state: ConnectionState) -> Self {
        Self::StateChanged(state.into())
    }
}

/// Why a submitted message will not be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// It is not what the server takes.
    Invalid,
    /// There is no such user or group, or this user is no member of the group.
    NoSuchConversation,
    /// This user may not do this: its role does not allow it, it is muted, or the message is somebody else's.
    Forbidden,
    /// It does not fit what is in the log.
    Conflict,
    /// It is larger than the server reads. If it was sent before the server had this limit, it may have been
    /// stored.
    TooLarge,
    /// The server has another reason, of this number.
    Other(i32),
}

/// Why older messages cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoOlderReason {
    /// There is no such user or group, this user is no member of the group, or nothing was said yet.
    NoSuchConversation,
    /// The conversation has a new log now: the place asked for means nothing in it.
    Reset,
    /// The server does not understand the request, or answers it wrongly.
    Refused,
}

/// What an application shows of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// There is no connection, and none will be made before the application asks for it.
    Closed(ClosedReason),
    /// A connection is being opened.
    Connecting {
        /// Links in a row that failed or were not stable, before this one.
        failures: u32,
    },
    /// Connected; the server has not answered the greeting yet.
    Greeting,
    /// Messages go both ways; what was missed is being fetched.
    Resyncing,
    /// Messages go both ways, and nothing is known to be missing.
    Online,
    /// The connection is being closed from this side.
    Closing,
    /// The connection was lost, and the next attempt has to wait.
    Waiting {
        /// Until when.
        until: Instant,
        /// Links in a row that failed or were not stable; at least 1.
        failures: u32,
        /// Why the last link ended.
        cause: LossCause,
    },
}

impl From<ConnectionState> for SessionState {
    fn from(state: ConnectionState) -> Self {
        match state {
            ConnectionState::Closed(reason) => Self::Closed(reason),
            ConnectionState::Connecting { failures } => Self::Connecting { failures },
            // A session greets as soon as its link is open.
            ConnectionState::Online => Self::Greeting,
            ConnectionState::Closing => Self::Closing,
            ConnectionState::Waiting { until, failures, cause } => Self::Waiting { until, failures, cause },
        }
    }
}

/// Why a message was not taken. Nothing has changed; the caller still has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// As many messages or bytes are pending as may be. There is room again after the next
    /// [`SessionNotification::Accepted`] or [`SessionNotification::Rejected`].
    QueueFull,
    /// A message with this id is pending. If it is the same message, there is nothing to do; another message
    /// needs an id of its own.
    AlreadyPending,
    /// It can never be sent as it is.
    TooLarge {
        /// Its size, encoded.
        bytes: u64,
        /// The size that it may have.
        limit_bytes: u64,
    },
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str(
                "submitting a message: too many are pending; try again when one of them has been answered",
            ),
            Self::AlreadyPending => f.write_str("submitting a message: one with this id is pending already"),
            Self::TooLarge { bytes, limit_bytes } => {
                write!(f, "submitting a message: it has {bytes} bytes, and {limit_bytes} are allowed")
            }
        }
    }
}

impl core::error::Error for SubmitError {}

/// Why older messages are not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// As many requests wait as may. There is room after the next answer.
    TooMany,
    /// Nothing is older than the first message of a log.
    NothingOlder,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("asking for older messages: too many requests wait already"),
            Self::NothingOlder => f.write_str("asking for older messages: nothing is older than place 1"),
        }
    }
}

impl core::error::Error for FetchError {}
