//! What is going to happen, by (time, number).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use switchboard_engine::{Answer, Carried, DirectoryChange, LinkId, Request};

use crate::check::{ConnKey, MessageKey, PING, Payload};
use crate::schedule::{ClientNo, Misdeed, NodeNo};

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
    Wrong(Misdeed),
    Close,
}

impl Up {
    /// The length of its payload.
    pub(crate) const fn bytes(&self) -> u64 {
        match self {
            Self::Message { bytes, .. } | Self::Pong(bytes) => bytes.len() as u64,
            Self::Ping => PING.len() as u64,
            Self::Wrong(_) | Self::Close => 0,
        }
    }
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
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
    Record { from: usize, life: Life, record: Carried },
    /// A change of the directory is announced.
    Directory { life: Life, change: DirectoryChange },
    /// A client says something that an earlier step began.
    Say { client: ClientNo, message: MessageKey },
    /// A raw client dials again.
    Redial { client: ClientNo },
    /// The process of a session client starts again, if it has not had another life since.
    Revive { client: ClientNo, life: u64 },
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
    /// How long its answer takes, in microseconds.
    pub(crate) back_us: u64,
}

/// When, in which order among what happens then, and where it is kept.
///
/// What happens is kept apart: entries are moved often, and these are small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at_us: u64,
    number: u64,
    place: u32,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    kept: Vec<Option<Happening>>,
    free: Vec<u32>,
    number: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at_us: u64, what: Happening) {
        self.number += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.kept[place as usize] = Some(what);
                place
            }
            None => {
                self.kept.push(Some(what));
                self.kept.len() as u32 - 1
            }
        };
        self.heap.push(Reverse(Entry { at_us, number: self.number, place }));
    }

    /// The number that the next entry will have.
    pub(crate) const fn coming(&self) -> u64 {
        self.number + 1
    }

    pub(crate) fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at_us)
    }

    /// All entries in the order in which they were made: number, time, what.
    pub(crate) fn entries(&self) -> Vec<(u64, u64, &Happening)> {
        let kept =
            |entry: Entry| Some((entry.number, entry.at_us, self.kept[entry.place as usize].as_ref()?));
        let mut entries: Vec<_> = self.heap.iter().filter_map(|Reverse(entry)| kept(*entry)).collect();
        entries.sort_unstable_by_key(|(number, _, _)| *number);
        entries
    }

    /// The number of the oldest entry that a condition holds for.
    pub(crate) fn oldest(&self, holds: impl Fn(&Happening) -> bool) -> Option<u64> {
        self.entries().into_iter().find(|(_, _, what)| holds(what)).map(|(number, _, _)| number)
    }

    /// Takes the entry of this number out of its turn.
    pub(crate) fn take(&mut self, number: u64) -> Option<Happening> {
        let mut entries = core::mem::take(&mut self.heap).into_vec();
        let index = entries.iter().position(|Reverse(entry)| entry.number == number);
        let place = index.map(|index| entries.swap_remove(index).0.place);
        self.heap = entries.into();
        self.free.extend(place);
        self.kept[place? as usize].take()
    }

    /// What is next: its time, its number and what it is.
    pub(crate) fn pop(&mut self) -> Option<(u64, u64, Happening)> {
        let Reverse(entry) = self.heap.pop()?;
        self.free.push(entry.place);
        self.kept[entry.place as usize].take().map(|what| (entry.at_us, entry.number, what))
    }
}
