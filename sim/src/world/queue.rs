//! What is going to happen, by (time, number).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;
use switchboard_engine::{Answer, DirectoryChange, LinkId, Record, Request};

use crate::check::{ConnKey, MessageKey, Payload};
use crate::schedule::{ClientNo, NodeNo};

/// An engine and which of its lives is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) shard: usize,
    pub(crate) incarnation: u32,
}

/// What a client sends over a connection.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Message { payload: Payload, bytes: Bytes },
    Ping,
    Pong(Bytes),
    Close,
}

impl Up {
    /// The length of its payload.
    pub(crate) const fn bytes(&self) -> u64 {
        match self {
            Self::Message { bytes, .. } | Self::Pong(bytes) => bytes.len() as u64,
            Self::Ping | Self::Close => 0,
        }
    }
}

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The step of this place in the schedule.
    Step(usize),
    /// A client's handshake reaches a node.
    Open { client: ClientNo, node: NodeNo, link: LinkId },
    /// A client learns that its connection is open.
    Opened { conn: ConnKey },
    /// A client learns that it could not connect.
    Failed { client: ClientNo, link: LinkId },
    /// Something reaches the server.
    ToServer { conn: ConnKey, up: Up },
    /// So many frames reach the client.
    ToClient { conn: ConnKey, frames: u32 },
    /// The server's side of a connection ends.
    ServerLost { conn: ConnKey },
    /// The client's side of a connection ends.
    ClientLost { conn: ConnKey },
    /// An engine's deadline.
    Timeout { life: Life },
    /// The deadline of an engine client.
    ClientTimeout { client: ClientNo },
    /// The store does what it was asked.
    Commit { life: Life, ticket: u64, request: Box<Request>, fate: Fate },
    /// The store's answer arrives.
    Answer { life: Life, ticket: u64, answer: Answer },
    /// A record arrives over the bus.
    Record { life: Life, record: Record },
    /// A change of the directory is announced.
    Directory { life: Life, change: DirectoryChange },
    /// A client says something that an earlier step began.
    Say { client: ClientNo, message: MessageKey },
    /// A raw client dials again.
    Redial { client: ClientNo },
    /// A node is told to stop.
    Stop { node: NodeNo, down_us: u64 },
    /// A node starts.
    Start { node: NodeNo, life: u32 },
}

/// What becomes of a request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) committed: bool,
    pub(crate) failed: bool,
    pub(crate) answered: bool,
}

#[derive(Debug)]
struct Entry {
    at_us: u64,
    number: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    // The heap gives its greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.number).cmp(&(self.at_us, self.number))
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    number: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at_us: u64, what: Happening) {
        self.number += 1;
        self.heap.push(Entry { at_us, number: self.number, what });
    }

    /// The number that the next entry will have.
    pub(crate) const fn coming(&self) -> u64 {
        self.number + 1
    }

    pub(crate) fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at_us)
    }

    /// What is next: its time, its number and what it is.
    pub(crate) fn pop(&mut self) -> Option<(u64, u64, Happening)> {
        self.heap.pop().map(|entry| (entry.at_us, entry.number, entry.what))
    }
}
