//! What a client tells its application.

use std::{sync::Arc, time::Instant};

use switchboard_engine::{
    CallId, CallNews, ClosedReason, LogMessage, LossCause, Marks, MessageId, Place, Recipient, RejectReason,
    UserId,
};

use super::{link::LinkError, store::StoreError};

/// Something that the application may want to know. What it says is in the client's store already.
#[derive(Clone, Debug)]
pub enum Event {
    /// The connection's state is another one now. States that nobody has read are replaced by newer ones.
    State(State),
    /// The next message of a conversation, an own one too: within an epoch each is told once, in the order of
    /// `seq`, without gaps other than those told by `Skipped`. Those that were not taken before the application ended
    /// are told again when it is back, before any other.
    Message {
        /// The conversation; if it is one-to-one, the other user.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// The message.
        message: Arc<LogMessage>,
    },
    /// Messages up to this place will not be told: the user may not read them, or
    /// [`ClientBuilder::history`](super::ClientBuilder::history) leaves them out.
    Skipped {
        /// The conversation.
        conversation: Recipient,
        /// Which log of the conversation.
        epoch: u64,
        /// Place of the last message left out.
        seq: u64,
    },
    /// Marks of a conversation have moved forwards: those of the other user of a one-to-one conversation, whose
    /// messages from this user up to there have arrived or were read; or this user's own, by whatever device.
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
    /// Somebody else has begun to type, or types no more.
    Typing {
        /// The conversation.
        conversation: Recipient,
        /// Who.
        user: UserId,
        /// Whether the user types now.
        types: bool,
    },
    /// Those who run the server have something to say, for a person to read. It belongs to no conversation and comes once.
    Notice {
        /// What.
        text: Arc<str>,
    },
    /// What a group that this user is a member of is called now. Not told again when it changes, which is a
    /// message of the group.
    Named {
        /// The group's conversation.
        conversation: Recipient,
        /// Its name.
        name: Arc<str>,
    },
    /// The server has lost something of this conversation and has begun a new log: what was told of it is to be
    /// forgotten, and what there is now is told from its beginning.
    Reset {
        /// The conversation.
        conversation: Recipient,
    },
    /// The server cannot store a submitted message for now. It is sent again, and again, until it can; those behind it in its
    /// conversation wait with it. Told once for each message, when that begins; it ends with the message's fate.
    Delayed {
        /// Which.
        id: MessageId,
        /// Why, for a person to read; the server's own text, so not fit for a terminal as it is.
        text: Arc<str>,
        /// The next try comes no sooner.
        until: Instant,
    },
    /// A submitted message is stored by the server, for ever. The one fate of this message.
    Accepted {
        /// Which.
        id: MessageId,
        /// Where in its conversation.
        place: Place,
    },
    /// A submitted message will not be sent again. The one fate of this message.
    Rejected {
        /// Which.
        id: MessageId,
        /// Why.
        reason: RejectReason,
        /// The same for a person to read; the server's own text, so not fit for a terminal as it is.
        text: Arc<str>,
    },
    /// Something happens to a call of this device, or one rings ([`Client::ring`](super::Client::ring)).
    Call {
        /// Which.
        id: CallId,
        /// The other user.
        user: UserId,
        /// What.
        news: CallNews,
    },
    /// A user who is watched ([`Client::watch`](super::Client::watch)) is here, or is not.
    Presence {
        /// Who.
        user: UserId,
        /// Whether it is here.
        online: bool,
        /// When it was last here, in milliseconds since 1970-01-01T00:00:00Z, if it is not and that is known.
        last_seen_ms: Option<i64>,
    },
    /// Everything that was stored when this connection began has been told. Once for each connection.
    CaughtUp,
    /// Events were not read for so long that the connection has to wait, from here on until there is room again.
    /// Nothing is lost; but who reads nothing for long is disconnected by the server, and connects again.
    Stalled,
}

/// What becomes of the connection.
///
/// ```text
///            connect                 opened              welcomed                 all told
///  Closed ───────────► Connecting ───────────► Greeting ───────────► CatchingUp ───────────► Online
///    ▲                  │    ▲                    │                       │                     │
///    │ closed           │    │ time               │ lost                  │ lost                │ lost
///  Closing              └──► Waiting ◄────────────┴───────────────────────┴─────────────────────┘
/// ```
#[derive(Clone, Debug)]
pub enum State {
    /// There is no connection, and none will be made before [`Client::connect`](super::Client::connect).
    Closed(ClosedReason),
    /// A connection is being opened.
    Connecting {
        /// Connections in a row that failed or did not last, before this one.
        failures: u32,
    },
    /// Connected; the server has not answered the greeting yet.
    Greeting,
    /// Messages go both ways; what was missed is being fetched.
    CatchingUp,
    /// Messages go both ways, and nothing is known to be missing.
    Online,
    /// The connection is being closed from this side.
    Closing,
    /// The connection was lost, and the next attempt has to wait.
    Waiting {
        /// Until when.
        until: Instant,
        /// Connections in a row that failed or did not last; at least 1.
        failures: u32,
        /// Why the last one ended.
        cause: LossCause,
        /// The same in more detail, if more is known. If it [is permanent](LinkError::is_permanent), the next
        /// attempt will most likely fail as well.
        error: Option<Arc<LinkError>>,
    },
    /// The store has failed, and the client has ended. A client that is started on the store again, once it
    /// works, goes on from what the store has.
    Failed(Arc<StoreError>),
}

impl State {
    /// Whether messages go both ways.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        match self {
            Self::CatchingUp | Self::Online => true,
            Self::Closed(_)
            | Self::Connecting { .. }
            | Self::Greeting
            | Self::Closing
            | Self::Waiting { .. }
            | Self::Failed(_) => false,
        }
    }
}

impl Event {
    /// How far a conversation is taken once this is: its epoch and place.
    pub(super) fn progress(&self) -> Option<(Recipient, (u64, u64))> {
        match self {
            Self::Message { conversation, epoch, message } => {
                Some((conversation.clone(), (*epoch, message.seq)))
            }
            Self::Skipped { conversation, epoch, seq } => Some((conversation.clone(), (*epoch, *seq))),
            Self::Reset { conversation } => Some((conversation.clone(), (0, 0))),
            Self::State(_)
            | Self::Marked { .. }
            | Self::Typing { .. }
            | Self::Notice { .. }
            | Self::Named { .. }
            | Self::Delayed { .. }
            | Self::Accepted { .. }
            | Self::Rejected { .. }
            | Self::Call { .. }
            | Self::Presence { .. }
            | Self::CaughtUp
            | Self::Stalled => None,
        }
    }

    /// What it counts in the queue of events.
    pub(super) fn bytes(&self) -> usize {
        let content = match self {
            Self::Message { message, .. } => message.content.text.len() + message.content.file.len(),
            Self::Rejected { text, .. } | Self::Delayed { text, .. } => text.len(),
            Self::Named { name, .. } => name.len(),
            Self::Notice { text } => text.len(),
            Self::State(_)
            | Self::Skipped { .. }
            | Self::Marked { .. }
            | Self::Typing { .. }
            | Self::Reset { .. }
            | Self::Accepted { .. }
            | Self::Call { .. }
            | Self::Presence { .. }
            | Self::CaughtUp
            | Self::Stalled => 0,
        };
        content + size_of::<Self>()
    }
}
