//! What engines tell each other. The other shards of a node and the other nodes of a cluster are the same
//! thing to an engine: peers on a bus.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    id::{GroupId, MessageId, UserId},
    storage::Place,
};

/// What an engine can be interested in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// What concerns everybody. Every engine is subscribed, without saying so.
    Everyone,
    /// What one user is sent.
    User(UserId),
    /// What a group is sent.
    Group(GroupId),
    /// Whether a user is here: notes only, for engines whose sessions watch the user.
    Presence(UserId),
}

/// Something that sessions are told, for the sessions of other engines. Records and notes of one engine about one topic
/// keep their order on no bus; what is told in notes alone must not depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whom it concerns.
    pub topic: Topic,
    /// A `switchboard.v1.Note`, as an engine has authenticated it.
    pub note: Bytes,
}

/// A message that one engine has accepted, for the local users of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whom it concerns. What a user has sent to another one is published for the sender too, whose devices
    /// at other engines may want a copy of it.
    pub topic: Topic,
    /// What the store knows it by; none for what is not stored.
    pub stored: Option<(MessageId, Place)>,
    /// A classic `Message`, as the sender's engine has authenticated it: `from` is the sender, and in a
    /// group's message `avatar` is the sender's picture as the directory has it.
    pub message: Bytes,
}

/// What a bus between engines carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carried {
    /// Of [`Action::Publish`](crate::Action::Publish), to become [`Event::Published`](crate::Event::Published).
    Record(Record),
    /// Of [`Action::Tell`](crate::Action::Tell), to become [`Event::Told`](crate::Event::Told).
    Note(Note),
}

impl Carried {
    /// Whom it concerns.
    #[must_use]
    pub const fn topic(&self) -> &Topic {
        match self {
            Self::Record(record) => &record.topic,
            Self::Note(note) => &note.topic,
        }
    }
}

impl From<Carried> for crate::Event {
    fn from(carried: Carried) -> Self {
        match carried {
            Carried::Record(record) => Self::Published(record),
            Carried::Note(note) => Self::Told(note),
        }
    }
}
