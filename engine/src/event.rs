//! What happens to a [`Server`](crate::Server).

use alloc::boxed::Box;

use bytes::Bytes;

use crate::{
    bus::{Note, Record},
    id::{ConnId, Ticket, UserId},
    storage::{Answer, DirectoryChange},
};

/// Something that happened outside the engine.
///
/// An event about a connection that the engine does not know (any more) changes nothing and is counted.
#[derive(Clone, Debug)]
pub enum Event {
    /// A WebSocket connection of an authenticated user is open.
    Connected {
        /// The new connection.
        conn: ConnId,
        /// Who it belongs to.
        user: UserId,
        /// What it speaks, as the handshake has settled it.
        protocol: Protocol,
    },
    /// One binary WebSocket message has arrived, whole.
    Received {
        /// Where.
        conn: ConnId,
        /// Its payload.
        message: Bytes,
    },
    /// A WebSocket Ping has arrived.
    Ping {
        /// Where.
        conn: ConnId,
        /// Its payload, at most 125 bytes.
        payload: Bytes,
    },
    /// A WebSocket Pong has arrived.
    Pong {
        /// Where.
        conn: ConnId,
        /// Its payload, at most 125 bytes.
        payload: Bytes,
    },
    /// What has arrived breaks the rules below the engine's messages. No more will be read.
    Misbehaved {
        /// Where.
        conn: ConnId,
        /// Which rule.
        fault: PeerFault,
    },
    /// The peer has sent a close frame. No more will be read.
    PeerClosed {
        /// Where.
        conn: ConnId,
    },
    /// Frames have left for the network: they were written to the socket, in the order of their actions.
    Flushed {
        /// Where.
        conn: ConnId,
        /// How many.
        frames: u32,
        /// The sum of their payloads' lengths.
        payload_bytes: u64,
    },
    /// The connection is gone, whoever ended it. The last event of every connection.
    Disconnected {
        /// Which.
        conn: ConnId,
    },
    /// The store has answered.
    Answered {
        /// The ticket of the request.
        ticket: Ticket,
        /// What it says.
        answer: Answer,
    },
    /// Another engine has published a record.
    Published(Record),
    /// Another engine tells something that concerns sessions.
    Told(Note),
    /// The directory of users and groups has changed.
    DirectoryChanged(DirectoryChange),
    /// Nobody may use these connections any more. They are closed, and told why; what they have sent before is still
    /// stored and delivered. That nobody comes back who may not is for the driver to see to.
    Revoked {
        /// Which connections.
        whose: Whose,
        /// Why.
        why: Revocation,
    },
    /// The server has something to say, as [`SYSTEM`](crate::SYSTEM). It is told to who is welcomed and has room, stored
    /// nowhere, and passed on to no other engine: a driver tells it to each.
    Announced {
        /// To whom.
        to: Audience,
        /// What.
        text: Box<str>,
    },
    /// The server is to stop: accept nothing more, settle what was accepted, close every connection, and say
    /// when that is done.
    Shutdown,
}

/// What a connection's messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `protocol.Message`, the wire of an existing chat front-end.
    Classic,
    /// The WebSocket subprotocol `switchboard.v1`.
    Session,
}

/// A peer's fault that is found where bytes become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerFault {
    /// The framing is wrong (RFC 6455): an unmasked frame, a reserved bit, a broken fragment sequence.
    Framing,
    /// A text message, which no protocol of ours has.
    TextMessage,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// A message larger than the limit.
    MessageTooLarge,
    /// All unfinished messages together are larger than the limit, and this peer's is among them.
    ReceiveBudget,
}

/// Connections that nobody may use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This one. What it was opened with, a login or a token, is known to the driver alone.
    Connection(ConnId),
    /// All that this user has here.
    User(UserId),
}

/// Why nobody may use a connection any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revocation {
    /// The login or the token that it was opened with has ended.
    SignedOut,
    /// Its user is banned.
    Banned,
    /// An administrator has closed it. The user may come back.
    Administrator,
}

/// Who is told something by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// One user, on all devices.
    User(UserId),
    /// Everybody.
    Everyone,
}
