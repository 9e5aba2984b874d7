//! What happens to a [`Client`](crate::Client), and what it asks its driver to do.

use alloc::boxed::Box;
use core::fmt;

use bytes::Bytes;

use super::classic::Incoming;
use crate::{action::Frame, time::Instant};

/// One attempt to connect and the connection that comes of it. Never used twice by one client, so a late event
/// of an earlier link can never touch its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A message that the client has accepted for sending. Ascends with every message; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// Something that happened on a link.
///
/// An event of a link that is not the current one (any more) changes nothing and is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The WebSocket connection is open.
    Opened {
        /// Which.
        link: LinkId,
    },
    /// The connection could not be opened, for whatever reason. The last event of the link.
    ConnectFailed {
        /// Which.
        link: LinkId,
    },
    /// One binary WebSocket message has arrived, whole. The driver limits its size.
    Received {
        /// Where.
        link: LinkId,
        /// Its payload.
        message: Bytes,
    },
    /// A WebSocket Ping has arrived. The client answers it with an action; the driver must not.
    Pinged {
        /// Where.
        link: LinkId,
        /// Its payload, at most 125 bytes.
        payload: Bytes,
    },
    /// Frames have left for the network: they were written to the socket, in the order of their actions.
    Flushed {
        /// Where.
        link: LinkId,
        /// How many.
        frames: u32,
        /// The sum of their payloads' lengths.
        payload_bytes: u64,
    },
    /// The connection is gone, whoever ended it. The last event of the link.
    Disconnected {
        /// Which.
        link: LinkId,
        /// The code of the peer's close frame; none if there was no close frame or it had no code.
        close: Option<u16>,
    },
}

impl ClientEvent {
    /// The link that it happened on.
    #[must_use]
    pub const fn link(&self) -> LinkId {
        match self {
            Self::Opened { link }
            | Self::ConnectFailed { link }
            | Self::Received { link, .. }
            | Self::Pinged { link, .. }
            | Self::Flushed { link, .. }
            | Self::Disconnected { link, .. } => *link,
        }
    }
}

/// Something to do outside the client. To be carried out in the order given.
///
/// A [`Client`](crate::Client) and a [`Session`](crate::Session) ask for the same things; they differ in what
/// they tell their applications, `N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAction<N = Notification> {
    /// Open a WebSocket connection under this name, and report it with [`ClientEvent::Opened`] or
    /// [`ClientEvent::ConnectFailed`]. The client sets the time limit.
    Connect {
        /// Its name from now on.
        link: LinkId,
    },
    /// Send a frame, after all frames sent to the link before; report it with [`ClientEvent::Flushed`].
    Send {
        /// Where.
        link: LinkId,
        /// What.
        frame: Frame,
    },
    /// Read no more, write what is still to be written, then a close frame; then close the connection and
    /// report it with [`ClientEvent::Disconnected`]. The client sets the time limit.
    Close {
        /// Which.
        link: LinkId,
        /// The code of the close frame (RFC 6455 section 7.4.1).
        code: u16,
    },
    /// Give up the connection or the attempt at once, whatever is unwritten. No report is needed: for the
    /// client the link is gone already.
    Abort {
        /// Which.
        link: LinkId,
    },
    /// Tell the application.
    Notify(N),
}

/// Something that the application wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// The connection's visible state is another one now.
    StateChanged(ConnectionState),
    /// The server has greeted the user: it has a session for this link.
    Welcomed,
    /// A message has arrived.
    Message(Box<Incoming>),
    /// A message was written to the socket. Whether the server got it, the classic protocol does not tell.
    Flushed {
        /// Which.
        id: SendId,
    },
    /// A message will not be sent (again).
    Dropped {
        /// Which.
        id: SendId,
        /// Why.
        reason: DropReason,
    },
}

impl From<ConnectionState> for Notification {
    fn from(state: ConnectionState) -> Self {
        Self::StateChanged(state)
    }
}

/// Why a message that was accepted will not be sent (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// It is a call signal, and the link was lost before it was flushed. It may have arrived all the same.
    LinkLost,
    /// It is a live picture, and a newer one of the same kind to the same user came before it was handed over.
    Superseded,
    /// The application closed the client. If it was handed over, it may have arrived all the same.
    Closed,
    /// The server closed the link several times while this was the oldest unflushed message.
    Refused,
}

/// What an application shows of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// There is no connection, and none will be made before the application asks for it.
    Closed(ClosedReason),
    /// A connection is being opened.
    Connecting {
        /// Links in a row that failed or were not stable, before this one.
        failures: u32,
    },
    /// Connected.
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

/// Why a client neither has a connection nor wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClosedReason {
    /// The application has not asked for a connection yet.
    NotStarted,
    /// The application closed it.
    Application,
    /// The server closed it (4000): a newer connection of the same user took over.
    TakenOver,
    /// The server closed it (4001): the user opened more connections than one user may have.
    TooManyDevices,
    /// The server closed it (4004): the login or the token has ended.
    SignedOut,
    /// The server closed it (4005): the user is banned.
    Banned,
    /// The server said goodbye, and that it is not to be dialled again; of a session only.
    Dismissed,
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossCause {
    /// It could not be opened.
    ConnectFailed,
    /// It did not open in time.
    ConnectTimeout,
    /// Nothing came over it for too long.
    Idle,
    /// The server sent what is not a message of the protocol.
    Undecodable,
    /// The server sent messages that contradict each other or the protocol; of a session only.
    Misbehaved,
    /// The server did not answer the greeting in time; of a session only.
    Unwelcomed,
    /// The server did not answer a request in time; of a session only.
    Unanswered,
    /// The server said goodbye, and did not close; of a session only.
    Goodbye,
    /// It broke without a close code.
    Broken,
    /// The server closed it with this code.
    Closed(u16),
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectFailed => f.write_str("the connection could not be opened"),
            Self::ConnectTimeout => f.write_str("the connection did not open in time"),
            Self::Idle => f.write_str("nothing came from the server for too long"),
            Self::Undecodable => f.write_str("the server sent what is not a message of the protocol"),
            Self::Misbehaved => f.write_str("the server sent what contradicts the protocol"),
            Self::Unwelcomed => f.write_str("the server did not answer the greeting in time"),
            Self::Unanswered => f.write_str("the server did not answer a request in time"),
            Self::Goodbye => f.write_str("the server said goodbye"),
            Self::Broken => f.write_str("the connection broke"),
            Self::Closed(code) => write!(f, "the server closed the connection with code {code}"),
        }
    }
}
