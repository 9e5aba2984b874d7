//! All deadlines of one engine, in order.

use alloc::collections::BTreeSet;
use serde::{Deserialize, Serialize};

use super::{
    calls::LegKey,
    presence::{AwayKey, WatchedKey},
    users::UserKey,
};
use crate::{id::ConnId, time::Instant};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Due {
    /// A connection's next ping, its idle time-out, its missing Hello, or the end of its closing.
    Connection(ConnId),
    /// Another try to load a user.
    Reload(UserKey),
    /// Another try to load the heads that a session is told.
    Heads(ConnId),
    /// Another try to find out or to read what a classic connection is behind with.
    Resend(ConnId),
    /// The end of the grace of a user who has left.
    Away(AwayKey),
    /// Another question to the other engines about a user who is watched, or the end of waiting for its answer.
    Watched(WatchedKey),
    /// Another try to ask whom a session may watch.
    Watch(ConnId),
    /// What the side of a call here waits for.
    Call(LegKey),
}

/// The deadlines: at most one of each connection, of each user to be loaded again, of each session whose heads are and
/// of each that watches, of each user who has left, of each who is watched, and of each side of a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Timers {
    deadlines: BTreeSet<(Instant, Due)>,
}

impl Timers {
    pub(super) fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// All of them, in the order in which they fall due.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Instant, Due)> {
        self.deadlines.iter().copied()
    }

    pub(super) fn set(&mut self, at: Instant, due: Due) {
        self.deadlines.insert((at, due));
    }

    pub(super) fn cancel(&mut self, at: Instant, due: Due) {
        self.deadlines.remove(&(at, due));
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.deadlines.pop_first().map(|(_, due)| due)
    }
}
