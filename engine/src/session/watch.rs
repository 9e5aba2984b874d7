//! Whom this device watches: named again over every new connection.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use bytes::Bytes;

use super::{Session, SessionNotification, wire};
use crate::{client::length, config::to_usize, digest::Digest, id::UserId, time::Instant};

/// What an id takes in a frame beside itself.
const TAG_BYTES: u64 = 8;

/// Why users are not watched. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchError {
    /// They are more than may be.
    TooMany {
        /// How many may be.
        limit: u32,
    },
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { limit } => write!(f, "watching users: there are more than {limit}"),
        }
    }
}

impl core::error::Error for WatchError {}

/// The users that are watched, and whether the server is still to be told so.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    /// As the application has named them.
    users: Box<[UserId]>,
    is_due: bool,
}

impl Watches {
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.users.len());
        self.users.iter().for_each(|user| digest.text(user.as_str()));
        digest.flag(self.is_due);
    }

    pub(super) const fn is_due(&self) -> bool {
        self.is_due
    }

    /// What naming them takes at the most.
    pub(super) fn limit_bytes(&self) -> u64 {
        self.users.iter().map(|user| length(user.as_str().len()) + TAG_BYTES).sum()
    }

    /// A server knows of nobody who is watched yet.
    pub(super) fn link_opened(&mut self) {
        self.is_due = !self.users.is_empty();
    }
}

impl Session {
    /// Wants to be told of these users, in place of those before: whether each is here, and every time that this
    /// changes, by [`SessionNotification::Presence`]. They are named to the server again after every reconnection, and
    /// told anew then. Of more than the server's limit the first count.
    ///
    /// The server tells of those who have a conversation or a group with this user; all others seem to be away. It asks
    /// that when it is told of them: for somebody with whom a conversation has just begun, call this again.
    ///
    /// # Errors
    /// If they are more than [`SessionLimits::watches`](crate::SessionLimits::watches).
    pub fn watch(&mut self, now: Instant, users: &[UserId]) -> Result<(), WatchError> {
        self.advance(now);
        let limit = self.config.limits.watches;
        if length(users.len()) > limit.into() {
            return Err(WatchError::TooMany { limit });
        }
        self.watches.users = users.into();
        self.watches.is_due = true;
        Ok(())
    }

    /// The frame that names the users who are watched, if it is due.
    pub(super) fn next_watch(&mut self) -> Option<Bytes> {
        if !core::mem::take(&mut self.watches.is_due) {
            return None;
        }
        self.stats.watches += 1;
        let limit = to_usize(self.terms.watches);
        // Half of what the server reads, so that the rest of the frame has room for certain.
        let mut room_bytes = self.terms.message_bytes / 2;
        let fits = |user: &&UserId| {
            let left = room_bytes.checked_sub(length(user.as_str().len()) + TAG_BYTES);
            room_bytes = left.unwrap_or(0);
            left.is_some()
        };
        let users: Vec<_> = self.watches.users.iter().take(limit).take_while(fits).collect();
        Some(wire::watch(&users))
    }

    /// The server says whether a user is here. What comes late, of somebody who is not watched any more, is ignored.
    pub(super) fn presence(&mut self, user: UserId, online: bool, last_seen_ms: Option<i64>) {
        if !self.watches.users.contains(&user) {
            self.stats.unasked += 1;
            return;
        }
        self.notify(SessionNotification::Presence { user, online, last_seen_ms });
    }
}
