//! Why the engine closes connections.

use core::fmt;

use crate::event::Revocation;

/// The code and text of a WebSocket close frame (RFC 6455 section 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The server shuts down or restarts.
    GoingAway,
    /// The peer broke the rules of WebSocket framing.
    ProtocolError,
    /// The peer sent a text message where only binary ones are understood.
    TextMessage,
    /// The peer sent a message that is not what the protocol says: not a `protocol.Message`, or not UTF-8
    /// where that is required.
    Undecodable,
    /// The peer sent a message that is no `switchboard.v1.ClientFrame`.
    UndecodableFrame,
    /// A session's first frame was no `Hello`, or did not come in time, or a later one was another `Hello`.
    OutOfTurn,
    /// The peer sent a message larger than the limit.
    MessageTooLarge,
    /// The peer sent more messages in a short time than the limit.
    TooManyMessages,
    /// The peer sent more bytes in a short time than the limit.
    TooManyBytes,
    /// The peer does not read what it is sent: more is waiting for it than the limit.
    SlowReader,
    /// More of the peer's messages wait to be stored than the limit.
    TooManyPending,
    /// The unfinished messages of all peers together are larger than the server has room for.
    ServerFull,
    /// More clients connect at the moment than are taken in.
    NotAdmitted,
    /// A newer connection of the same user took over.
    TakenOver,
    /// The user opened more connections than one user may have; the oldest is closed.
    TooManyDevices,
    /// Nothing came from the peer for so long that it is taken for dead.
    Idle,
    /// The login or the token that the connection was opened with has ended.
    SignedOut,
    /// The user is banned.
    Banned,
    /// An administrator has closed the connection.
    Administrator,
    /// The peer closed the connection.
    PeerClosed,
}

impl CloseReason {
    /// The close code: RFC 6455 section 7.4.1, the IANA registry (1013), and from 4000 our own.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::PeerClosed => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::TextMessage => 1003,
            Self::Undecodable | Self::UndecodableFrame => 1007,
            Self::TooManyMessages | Self::TooManyBytes => 1008,
            Self::MessageTooLarge => 1009,
            Self::SlowReader | Self::TooManyPending | Self::ServerFull | Self::NotAdmitted => 1013,
            Self::TakenOver => 4000,
            Self::TooManyDevices => 4001,
            Self::Idle => 4002,
            Self::OutOfTurn => 4003,
            Self::SignedOut => 4004,
            Self::Banned => 4005,
            Self::Administrator => 4006,
        }
    }

    /// The text that goes with the code: what was wrong and what would be right, at most 123 bytes.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::PeerClosed => "",
            Self::GoingAway => "the server is shutting down; reconnect later",
            Self::ProtocolError => "the bytes do not follow RFC 6455",
            Self::TextMessage => "send binary messages: this is a text message",
            Self::Undecodable => "not a protocol.Message: send one protobuf message per binary message",
            Self::UndecodableFrame => {
                "not a switchboard.v1.ClientFrame with a body: send one protobuf message per binary message"
            }
            Self::OutOfTurn => "a frame out of turn: send one Hello, first and in time, then anything else",
            Self::TooManyMessages => "rate limit: too many messages in a short time; send more slowly",
            Self::TooManyBytes => "rate limit: too many bytes in a short time; send more slowly",
            Self::MessageTooLarge => "the message is larger than this server reads",
            Self::SlowReader => "you read too slowly: too many bytes are waiting; reconnect and read",
            Self::TooManyPending => "too many of your messages are waiting to be stored; try again later",
            Self::ServerFull => "the server has no room for this at the moment; try again later",
            Self::NotAdmitted => "too many clients are connecting at the moment; reconnect later",
            Self::TakenOver => "a newer connection of the same user took over",
            Self::TooManyDevices => "the user has too many connections; the oldest was closed",
            Self::Idle => "no sign of life: not even an answer to a ping",
            Self::SignedOut => "the session has ended: log in again",
            Self::Banned => "this user is banned: ask those who run the server",
            Self::Administrator => "an administrator has closed the connection; reconnect later",
        }
    }
}

impl From<Revocation> for CloseReason {
    fn from(why: Revocation) -> Self {
        match why {
            Revocation::SignedOut => Self::SignedOut,
            Revocation::Banned => Self::Banned,
            Revocation::Administrator => Self::Administrator,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.text())
    }
}
