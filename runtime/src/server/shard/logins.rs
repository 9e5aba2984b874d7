//! What connections were opened with, so that they end with it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use switchboard_engine::{ConnId, Instant, UserId};

use crate::store::TokenHash;

/// What proves who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    /// The session, or the signed token if it came from none.
    pub(crate) key: TokenHash,
    /// It is no session.
    pub(crate) is_token: bool,
    /// How long it lasts.
    pub(crate) left: Duration,
}

/// Which logins of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// That one.
    One(TokenHash),
    /// Those with signed tokens that came from no session.
    Tokens,
}

impl Which {
    pub(super) fn has(self, login: &Login) -> bool {
        match self {
            Self::One(key) => login.key == key,
            Self::Tokens => login.is_token,
        }
    }
}

/// The logins of a shard's connections. Empty where nobody logs in.
#[derive(Debug, Default)]
pub(super) struct Logins {
    entries: HashMap<ConnId, Entry>,
    by_user: HashMap<UserId, Vec<ConnId>>,
    ends: BTreeSet<(Instant, ConnId)>,
}

#[derive(Debug)]
struct Entry {
    user: UserId,
    login: Login,
    ends_at: Instant,
}

impl Logins {
    pub(super) fn add(&mut self, conn: ConnId, user: UserId, login: Login, now: Instant) {
        let ends_at = now + login.left;
        self.by_user.entry(user.clone()).or_default().push(conn);
        self.ends.insert((ends_at, conn));
        self.entries.insert(conn, Entry { user, login, ends_at });
    }

    pub(super) fn remove(&mut self, conn: ConnId) {
        let Some(Entry { user, ends_at, .. }) = self.entries.remove(&conn) else { return };
        self.ends.remove(&(ends_at, conn));
        if let Some(conns) = self.by_user.get_mut(&user) {
            conns.retain(|other| *other != conn);
            if conns.is_empty() {
                self.by_user.remove(&user);
            }
        }
    }

    /// The connections that these logins of a user have.
    pub(super) fn of(&self, user: &UserId, which: Which) -> Vec<ConnId> {
        let conns = self.by_user.get(user).map(Vec::as_slice).unwrap_or_default();
        let has = |conn: &&ConnId| self.entries.get(conn).is_some_and(|entry| which.has(&entry.login));
        conns.iter().filter(has).copied().collect()
    }

    /// When the next one ends by itself.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// A connection whose login has ended by itself; told once.
    pub(super) fn ended(&mut self, now: Instant) -> Option<ConnId> {
        let (at, conn) = *self.ends.first().filter(|(at, _)| *at <= now)?;
        self.ends.remove(&(at, conn));
        Some(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(key: u8, is_token: bool, secs: u64) -> Login {
        Login { key: [key; 32], is_token, left: Duration::from_secs(secs) }
    }

    #[test]
    fn connections_are_found_by_their_logins_and_forgotten_with_them() {
        let (mut logins, now) = (Logins::default(), Instant::ZERO);
        let conns = [0, 1, 2, 3].map(|slot| ConnId::new(slot, 1));
        let [alice, bob] = ["alice", "bob"].map(|user| UserId::new(user).unwrap());
        logins.add(conns[0], alice.clone(), login(1, false, 10), now);
        logins.add(conns[1], alice.clone(), login(1, false, 10), now);
        logins.add(conns[2], alice.clone(), login(2, true, 5), now);
        logins.add(conns[3], bob.clone(), login(3, true, 20), now);
        assert_eq!(logins.of(&alice, Which::One([1; 32])), conns[..2]);
        assert_eq!(logins.of(&alice, Which::Tokens), conns[2..3]);
        assert_eq!(logins.of(&bob, Which::One([1; 32])), [], "each user has logins of its own");
        logins.remove(conns[0]);
        logins.remove(conns[0]);
        assert_eq!(logins.of(&alice, Which::One([1; 32])), conns[1..2]);
        conns.iter().for_each(|conn| logins.remove(*conn));
        assert!(logins.entries.is_empty() && logins.by_user.is_empty() && logins.ends.is_empty());
    }

    #[test]
    fn logins_end_when_their_time_has_come_and_once() {
        let (mut logins, now) = (Logins::default(), Instant::ZERO);
        let conns = [0, 1].map(|slot| ConnId::new(slot, 1));
        let alice = UserId::new("alice").unwrap();
        logins.add(conns[0], alice.clone(), login(1, false, 10), now);
        logins.add(conns[1], alice, login(2, true, 5), now);
        let at = |secs| now + Duration::from_secs(secs);
        assert_eq!((logins.next_end(), logins.ended(at(4))), (Some(at(5)), None));
        assert_eq!((logins.ended(at(5)), logins.ended(at(5))), (Some(conns[1]), None));
        assert_eq!(logins.next_end(), Some(at(10)));
        logins.remove(conns[1]);
        logins.remove(conns[0]);
        assert_eq!(logins.next_end(), None);
    }
}
