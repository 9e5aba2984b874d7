//! What engines tell each other. The other shards of a node and the other nodes of a cluster are the same
//! thing to an engine: peers on a bus.

use bytes::Bytes;

use crate::{
    id::{GroupId, MessageId, UserId},
    storage::Place,
};

/// What an engine can be interested in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What concerns everybody. Every engine is subscribed, without saying so.
    Everyone,
    /// What one user is sent.
    User(UserId),
    /// What a group is sent.
    Group(GroupId),
}

/// A message that one engine has accepted, for the local users of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
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
