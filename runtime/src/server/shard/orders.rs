//! What those who run the server want of a shard.

use std::sync::Arc;

use switchboard_engine::{Audience, Event, Revocation, UserId, Whose};
use tokio::sync::oneshot;

use super::{NewConnection, logins::Which, state::State};

/// What a shard is to do. It does so within its next turn.
#[derive(Debug)]
pub(crate) enum Order {
    /// Logins have ended: their connections are closed.
    EndLogins { user: UserId, which: Which },
    /// All connections of a user are closed; says how many that were.
    EndUser { user: UserId, why: Revocation, closed: Option<oneshot::Sender<u64>> },
    /// The server says something; says to how many connections.
    Announce { to: Audience, text: Arc<str>, told: Option<oneshot::Sender<u64>> },
}

impl Order {
    /// The user whom it is about, if it is about one.
    pub(crate) const fn user(&self) -> Option<&UserId> {
        match self {
            Self::EndLogins { user, .. }
            | Self::EndUser { user, .. }
            | Self::Announce { to: Audience::User(user), .. } => Some(user),
            Self::Announce { to: Audience::Everyone, .. } => None,
        }
    }

    /// Whether a connection that is not open yet is not to be opened any more.
    pub(super) fn forbids(&self, new: &NewConnection) -> bool {
        match self {
            Self::EndLogins { user, which } => {
                new.user == *user && new.login.as_ref().is_some_and(|login| which.has(login))
            }
            Self::EndUser { user, .. } => new.user == *user,
            Self::Announce { .. } => false,
        }
    }
}

impl State {
    /// Does what is wanted. Who has stopped waiting for the answer is not told.
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::EndLogins { user, which } => {
                for conn in self.logins.of(&user, which) {
                    self.revoke(Whose::Connection(conn), Revocation::SignedOut);
                }
            }
            Order::EndUser { user, why, closed } => {
                let before = self.stats().revoked;
                self.revoke(Whose::User(user), why);
                if let Some(closed) = closed {
                    let _ = closed.send(self.stats().revoked - before);
                }
            }
            Order::Announce { to, text, told } => {
                let before = self.stats().pushes;
                self.handle(Event::Announced { to, text: (&*text).into() });
                if let Some(told) = told {
                    let _ = told.send(self.stats().pushes - before);
                }
            }
        }
    }

    /// Closes the connections whose logins have ended by themselves.
    pub(super) fn end_logins(&mut self) {
        while let Some(conn) = self.logins.ended(self.now()) {
            self.revoke(Whose::Connection(conn), Revocation::SignedOut);
        }
    }

    fn revoke(&mut self, whose: Whose, why: Revocation) {
        self.handle(Event::Revoked { whose, why });
    }
}
