//! What sessions ask the store for: heads and parts of logs.

use switchboard_engine::{Answer, Range, Undone, UserId};

use crate::{
    check::{Check, ConnKey, Use},
    wire::{self, session::Peer},
};

impl Check {
    /// The engine asks for a user's heads: for the session that has to be told them.
    pub(crate) fn asks_heads(&mut self, shard: usize, ticket: u64, user: &UserId) -> Option<Use> {
        let user = wire::index(user.as_str());
        let of_user = |conn: ConnKey| Some(self.seats[conn as usize].user) == user;
        let place = self.cause.heads.iter().position(|(conn, _)| of_user(*conn));
        let maybe = self.cause.heads_maybe.filter(|conn| of_user(*conn));
        let conn = match (place, maybe) {
            (Some(place), _) => Some(self.cause.heads.remove(place).0),
            (None, Some(conn)) => Some(conn),
            (None, None) => {
                let pause_ns = self.settings.reload_interval_ms * 1_000_000;
                let watch = &self.watches[shard];
                let seats = user.and_then(|user| watch.told.get(user as usize)).map(|told| &told.seats);
                let failed_ns = |conn: &ConnKey| self.seats[*conn as usize].session.as_ref()?.heads_failed_ns;
                let due_ns = |conn: &ConnKey| failed_ns(conn).map(|failed_ns| failed_ns + pause_ns);
                let is_due = |conn: &&ConnKey| due_ns(conn).is_some_and(|due_ns| due_ns <= watch.now_ns);
                let due = seats.into_iter().flatten().filter(is_due);
                // In the order of an engine's deadlines.
                due.min_by_key(|conn| (due_ns(conn), self.seats[**conn as usize].id)).copied()
            }
        };
        let Some(conn) = conn else {
            self.fail("protocol", |_| format!("heads of {user:?} are asked for, and nobody has to be told"));
            return None;
        };
        let before = self.session(conn).and_then(|session| {
            session.heads_failed_ns = None;
            session.heads.replace(ticket)
        });
        if let Some(before) = before {
            self.watches[shard].tickets.remove(&before);
        }
        Some(Use::Heads(conn))
    }

    pub(crate) fn heads_answered(&mut self, conn: ConnKey, answer: &Answer) {
        let now_ns = self.watches[self.seats[conn as usize].shard as usize].now_ns;
        let Some(session) = self.session(conn) else { return };
        session.heads = None;
        match answer.clone().into_heads() {
            Ok((_, next)) => {
                let goes_on = next.is_some();
                self.cause.told_heads = Some(conn);
                if goes_on {
                    self.cause.heads.push((conn, "protocol"));
                }
            }
            Err(Undone::Refused) => self.cause.told_heads = Some(conn),
            Err(Undone::Failed) => session.heads_failed_ns = Some(now_ns),
        }
    }

    /// What has to become of a fetch.
    pub(crate) fn fetches(&mut self, conn: ConnKey, of: Peer) {
        let coming = self.cause.fetches.iter().filter(|(other, _)| *other == conn).count();
        let limit = self.settings.fetches_per_connection;
        let Some(session) = self.session(conn) else { return };
        if (session.fetches.len() + coming) as u64 >= limit {
            self.owes_answer(conn);
        } else {
            self.cause.fetches.push_back((conn, of));
        }
    }

    /// The engine asks for a part of a log.
    pub(crate) fn asks_messages(&mut self, shard: usize, ticket: u64, range: &Range) -> Option<Use> {
        let Some((conn, of)) = self.cause.fetches.pop_front() else {
            self.asks_missed(shard, ticket, range);
            return None;
        };
        let user = self.seats[conn as usize].user;
        if wire::index(range.reader.as_str()) != Some(user) || Peer::of(&range.conversation) != of {
            self.fail("no-leak", |check| {
                format!("{} asks for a part of {of}, and is read {range:?}", check.name(conn))
            });
        }
        self.session(conn)?.fetches.push_back(ticket);
        Some(Use::Fetch(conn))
    }

    pub(crate) fn fetch_answered(&mut self, conn: ConnKey, ticket: u64) {
        if let Some(session) = self.session(conn) {
            session.fetches.retain(|open| *open != ticket);
        }
        self.owes_answer(conn);
    }
}
