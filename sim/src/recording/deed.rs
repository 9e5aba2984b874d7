//! An action that outlives the engine's loan of its recipients.

use switchboard_engine::{Action, CloseReason, ConnId, Frame, Note, Record, Request, Ticket, Topic};

/// What an engine has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
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

impl From<Action<'_>> for Deed {
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
