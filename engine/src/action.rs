//! What a [`Server`](crate::Server) asks its driver to do.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    bus::{Note, Record, Topic},
    close::CloseReason,
    id::{ConnId, Ticket},
    storage::Request,
};

/// The recipients of one frame, each once.
pub type Recipients<'a> = &'a [ConnId];

/// Something to do outside the engine. To be carried out in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Send one frame to every recipient, after all frames sent to it before; report each recipient's
    /// progress with [`Event::Flushed`](crate::Event::Flushed).
    Send {
        /// To whom; never empty.
        to: Recipients<'a>,
        /// What; built once, however many receive it.
        frame: Frame,
    },
    /// Read no more, write what is still to be written, then a close frame; then close the connection and
    /// report it with [`Event::Disconnected`](crate::Event::Disconnected). The engine sets the time limit.
    Close {
        /// Which.
        conn: ConnId,
        /// The code and text of the close frame.
        reason: CloseReason,
    },
    /// Close the connection at once, whatever is unwritten, and report it with
    /// [`Event::Disconnected`](crate::Event::Disconnected).
    Abort {
        /// Which.
        conn: ConnId,
    },
    /// Ask the store; report what it says with [`Event::Answered`](crate::Event::Answered).
    Request {
        /// To be given back with the answer.
        ticket: Ticket,
        /// What is wanted.
        request: Request,
    },
    /// Hand the record to every other engine that is subscribed to its topic.
    Publish(Record),
    /// Hand the note to every other engine that is subscribed to its topic. A bus that carries classic traffic carries
    /// nothing else in its records, so notes have a way of their own.
    Tell(Note),
    /// From now on, pass records of this topic to this engine.
    Subscribe(Topic),
    /// From now on, pass no more records of this topic to this engine.
    Unsubscribe(Topic),
    /// After [`Event::Shutdown`](crate::Event::Shutdown): no connection is left and no message waits for
    /// the store. The last action.
    Stopped,
}

/// An [`Action`] that outlives the engine's loan of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedAction {
    /// [`Action::Send`].
    Send {
        /// To whom.
        to: Vec<ConnId>,
        /// What.
        frame: Frame,
    },
    /// [`Action::Close`].
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// [`Action::Abort`].
    Abort {
        /// Which.
        conn: ConnId,
    },
    /// [`Action::Request`].
    Request {
        /// Its ticket.
        ticket: Ticket,
        /// What is wanted.
        request: Request,
    },
    /// [`Action::Publish`].
    Publish(Record),
    /// [`Action::Tell`].
    Tell(Note),
    /// [`Action::Subscribe`].
    Subscribe(Topic),
    /// [`Action::Unsubscribe`].
    Unsubscribe(Topic),
    /// [`Action::Stopped`].
    Stopped,
}

impl From<Action<'_>> for OwnedAction {
    fn from(action: Action<'_>) -> Self {
        match action {
            Action::Send { to, frame } => Self::Send { to: to.to_vec(), frame },
            Action::Close { conn, reason } => Self::Close { conn, reason },
            Action::Abort { conn } => Self::Abort { conn },
            Action::Request { ticket, request } => Self::Request { ticket, request },
            Action::Publish(record) => Self::Publish(record),
            Action::Tell(note) => Self::Tell(note),
            Action::Subscribe(topic) => Self::Subscribe(topic),
            Action::Unsubscribe(topic) => Self::Unsubscribe(topic),
            Action::Stopped => Self::Stopped,
        }
    }
}

/// A WebSocket frame to send, without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A binary message.
    Message(Bytes),
    /// A Ping, payload at most 125 bytes.
    Ping(Bytes),
    /// A Pong, payload at most 125 bytes.
    Pong(Bytes),
}

impl Frame {
    /// What the frame carries.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        match self {
            Self::Message(payload) | Self::Ping(payload) | Self::Pong(payload) => payload,
        }
    }
}
