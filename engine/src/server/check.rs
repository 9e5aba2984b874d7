//! The invariants of a server's own state, for tests and the simulator to assert.

use core::fmt;

use super::{Server, connections::Phase, session::Session, users::Load};
use crate::{config::FRAME_COST_BYTES, id::ConnId, probe::Probe};

crate::stats::figures! {
    /// How much of everything there is at the moment.
    pub struct Gauges {
        /// Connections, closing ones included.
        connections,
        /// Users with an open connection, or with something left to route.
        users,
        /// Groups with a user who has an open connection, or something left to route.
        groups,
        /// Messages that wait for the store.
        pending,
        /// Bytes of messages that wait for the store, or for their user to be loaded.
        pending_bytes,
        /// Requests that wait for an answer.
        requests,
        /// Of those, ones about who was here and who may know that, or ring somebody, and about what classic clients have missed.
        asides,
        /// Deadlines.
        timers,
        /// Frames between the engine and the network.
        unflushed,
        /// Frames held back for a newer one to replace them.
        held,
        /// Of the connections, those that speak the session protocol and are not closing.
        sessions,
        /// Of those, ones to which nothing is pushed as they read too slowly.
        lagging,
        /// Parts of logs that sessions wait for.
        fetches,
        /// Conversations whose marks are on their way into the store, each counted for each of the sessions.
        marks,
        /// Cursors that are kept while heads are loaded.
        cursors,
        /// Users that sessions watch, each counted for each of its watchers.
        watches,
        /// Users who are watched.
        watched,
        /// Users who have left, and of whom nobody has been told so yet.
        away,
        /// Sides of calls.
        calls,
    }
}

/// A broken invariant: a bug in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvariantViolation {
    /// The invariant's name, as the documentation lists it.
    pub invariant: &'static str,
    /// What does not hold.
    pub what: &'static str,
}

impl fmt::Display for InvariantViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl core::error::Error for InvariantViolation {}

fn hold(holds: bool, invariant: &'static str, what: &'static str) -> Result<(), InvariantViolation> {
    if holds { Ok(()) } else { Err(InvariantViolation { invariant, what }) }
}

impl<P: Probe> Server<P> {
    /// Counts what there is. Takes time in proportion to the number of connections.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            connections: self.connections.len().into(),
            users: self.users.len() as u64,
            groups: self.users.groups_len() as u64,
            pending: self.pipelines.messages,
            pending_bytes: self.pipelines.bytes + self.early_bytes,
            requests: self.requests.len() as u64,
            asides: self.requests.asides() as u64,
            timers: self.timers.len() as u64,
            unflushed: self.connections.iter().map(|c| c.outbox.unflushed_frames()).sum(),
            held: self.connections.iter().map(|c| c.outbox.held_frames()).sum(),
            sessions: self.sessions().count() as u64,
            lagging: self.sessions().filter(|session| session.is_lagging).count() as u64,
            fetches: self.sessions().map(|session| session.fetches() as u64).sum(),
            marks: self.sessions().map(|session| session.marks() as u64).sum(),
            cursors: self.sessions().map(|session| session.cursors() as u64).sum(),
            watches: self.sessions().map(|session| session.watch().map_or(0, |list| list.len()) as u64).sum(),
            watched: self.presence.watched() as u64,
            away: self.presence.away() as u64,
            calls: self.calls.len() as u64,
        }
    }

    fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.connections.iter().filter_map(|connection| connection.session.as_deref())
    }

    /// Looks at the whole state, between events with all actions taken.
    ///
    /// # Errors
    /// The first invariant found broken.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        self.check_accounting()?;
        self.check_bounds()?;
        self.check_connections()?;
        self.check_directory()?;
        self.check_sessions()?;
        self.check_presence()?;
        self.check_pipelines()
    }

    /// Every push ends as flushed or dropped, or is still there.
    fn check_accounting(&self) -> Result<(), InvariantViolation> {
        let (stats, gauges) = (&self.stats, self.gauges());
        let ended = stats.pushes_flushed
            + stats.pushes_dropped_full
            + stats.pushes_dropped_lagging
            + stats.pushes_dropped_typing
            + stats.pushes_dropped_superseded
            + stats.pushes_dropped_closed;
        let there = gauges.unflushed + gauges.held;
        hold(stats.pushes == ended + there, "accounting", "pushes are flushed, dropped or waiting")?;
        let open = stats.connects - stats.disconnects;
        hold(open >= gauges.connections, "accounting", "connections are opened before they end")
    }

    fn check_bounds(&self) -> Result<(), InvariantViolation> {
        let limits = &self.config.limits;
        let gauges = self.gauges();
        hold(gauges.connections <= limits.connections.into(), "bounded", "connections")?;
        hold(gauges.pending <= limits.pending.into(), "bounded", "pending messages")?;
        hold(self.pipelines.bytes <= limits.pending_bytes, "bounded", "pending bytes")?;
        hold(self.early_bytes <= limits.pending_bytes, "bounded", "early bytes")?;
        let asked = self.sessions().map(|session| session.requests() as u64).sum::<u64>();
        let receipts = || self.connections.iter().filter_map(|connection| connection.receipts.as_deref());
        let asked = asked + receipts().map(|receipts| receipts.requests() as u64).sum::<u64>();
        let askers = gauges.pending + gauges.users + gauges.away + gauges.calls;
        hold(gauges.requests <= askers + asked, "bounded", "requests belong to something")?;
        let owners = gauges.connections
            + gauges.users
            + 2 * gauges.sessions
            + gauges.watched
            + gauges.away
            + gauges.calls;
        let owners = owners + receipts().filter(|receipts| receipts.retry_at().is_some()).count() as u64;
        hold(gauges.timers <= owners, "bounded", "timers belong to something")?;
        hold(self.overfull.is_empty(), "bounded", "full connections are closed")?;
        for receipts in receipts() {
            let (entries, logs) = (receipts.len() as u64, receipts.logs() as u64);
            hold(entries <= limits.receipts_per_connection.into(), "bounded", "receipts of a connection")?;
            let lost = receipts.lost_logs() as u64;
            hold(
                lost <= limits.resend_conversations.into(),
                "bounded",
                "logs that a connection has lost of",
            )?;
            hold(
                logs <= limits.resend_conversations.into(),
                "bounded",
                "logs that a connection is behind with",
            )?;
            let cost = receipts.held.cost_bytes();
            hold(cost <= limits.resend_held_bytes, "bounded", "what is held for a connection")?;
            hold(receipts.held.is_sound(), "accounting", "bytes that are held for a connection")?;
            let has_log = !receipts.behind.is_empty() || receipts.held.is_empty();
            hold(has_log, "bounded", "what is held is of a log that the connection is behind with")?;
            hold(!receipts.is_empty(), "bounded", "nothing is not remembered")?;
        }
        for connection in self.connections.iter() {
            // One message may be as large as the limit, and nothing beyond that waits with it.
            let cost = connection.outbox.cost_bytes();
            hold(cost <= limits.outbox_bytes + FRAME_COST_BYTES, "bounded", "outbox")?;
        }
        Ok(())
    }

    /// Open connections and their users name each other; every connection has a deadline.
    fn check_connections(&self) -> Result<(), InvariantViolation> {
        let mut early = 0;
        for connection in self.connections.iter() {
            let watched = connection.deadline.is_some() || matches!(connection.phase, Phase::Aborted);
            hold(watched, "bounded", "every connection has a deadline")?;
            if let Phase::Loading { early: waiting, .. } = &connection.phase {
                early += waiting.iter().map(|message| message.len() as u64).sum::<u64>();
            }
            let is_classic = connection.user().is_some() && connection.session.is_none();
            hold(
                connection.receipts.is_none() || is_classic,
                "bounded",
                "receipts end with their connection",
            )?;
            let Some(key) = connection.user() else { continue };
            let user = self.users.get(key);
            let listed = user.is_some_and(|user| user.conns.contains(&connection.id));
            hold(listed, "takeover", "an open connection is one of its user's")?;
            let loading = user.is_some_and(|user| matches!(user.load, Load::Waiting { .. }));
            let welcomed = !matches!(connection.phase, Phase::Loading { .. }) || loading;
            hold(welcomed, "isolation", "a connection waits for nothing but its user")?;
        }
        let departed = self.users.iter().flat_map(|(_, user)| &user.departed);
        early += departed.map(|departed| departed.message.len() as u64).sum::<u64>();
        hold(early == self.early_bytes, "accounting", "early bytes")?;
        for (_, user) in self.users.iter() {
            let waits = matches!(user.load, Load::Waiting { .. }) && !user.departed.is_empty();
            hold(
                !user.conns.is_empty() || waits,
                "bounded",
                "a user has a connection or something to route",
            )?;
            let open = |conn| self.connections.get(conn).is_some_and(|c| c.user().is_some());
            hold(user.conns.iter().all(|conn| open(*conn)), "takeover", "a user's connections are open")?;
        }
        Ok(())
    }

    /// Sessions wait for no more than they may, and lag only while something is on its way to them.
    fn check_sessions(&self) -> Result<(), InvariantViolation> {
        let limits = &self.config.limits;
        for connection in self.connections.iter() {
            let Some(session) = &connection.session else { continue };
            hold(connection.user().is_some(), "bounded", "a session ends when it is closed")?;
            let fetches = session.fetches() as u64;
            hold(fetches <= limits.fetches_per_connection.into(), "bounded", "fetches of a session")?;
            let marks = session.marks() as u64;
            hold(marks <= limits.marks_per_connection.into(), "bounded", "marks of a session")?;
            let cursors = session.cursors() as u64;
            hold(cursors <= limits.cursors_per_hello.into(), "bounded", "cursors of a session")?;
            let drains = connection.outbox.unflushed_frames() > 0;
            hold(!session.is_lagging || drains, "convergence", "who lags has something to read")?;
            hold(!session.is_lagging || connection.is_online(), "isolation", "who lags was welcomed")?;
        }
        let is_session = |conn: &ConnId| {
            self.connections.get(*conn).is_some_and(|connection| connection.session.is_some())
        };
        for (_, user) in self.users.iter() {
            let sessions = user.conns.iter().filter(|conn| is_session(conn)).count();
            hold(sessions == user.sessions, "accounting", "a user's sessions")?;
        }
        let sessions: usize = self.users.iter().map(|(_, user)| user.sessions).sum();
        hold(sessions == self.users.sessions(), "accounting", "sessions")
    }

    /// Watchers and watched name each other, and who is here has a connection that is welcomed.
    fn check_presence(&self) -> Result<(), InvariantViolation> {
        let (limits, gauges) = (&self.config.limits, self.gauges());
        hold(gauges.away <= limits.connections.into(), "bounded", "users who have left")?;
        hold(gauges.calls <= limits.calls.into(), "bounded", "calls")?;
        let online = |conn| self.connections.get(conn).is_some_and(|c| c.is_online() && c.session.is_some());
        hold(self.calls.is_sound(online), "takeover", "a call has a session")?;
        hold(self.presence.is_sound(), "takeover", "who has left or is watched is found by its id")?;
        for session in self.sessions() {
            let watches = session.watch().map_or(0, |list| list.len()) as u64;
            hold(watches <= limits.watches.into(), "bounded", "users that a session watches")?;
        }
        let list = |conn: ConnId| self.connections.get(conn)?.session.as_ref()?.watch();
        let mut watches = 0;
        for (_, user, watchers) in self.presence.iter_watched() {
            let before = watches;
            for conn in watchers {
                watches += 1;
                hold(list(*conn).is_some_and(|list| list.has(user)), "no-leak", "a watcher watches")?;
            }
            hold(watches > before, "bounded", "who is watched has a watcher")?;
        }
        hold(watches == gauges.watches, "accounting", "watches")?;
        let is_online = |conn: &ConnId| self.connections.get(*conn).is_some_and(|c| c.is_online());
        for (_, user) in self.users.iter() {
            hold(user.is_here == user.conns.iter().any(is_online), "convergence", "who is here is online")?;
        }
        Ok(())
    }

    /// Users and groups name each other.
    fn check_directory(&self) -> Result<(), InvariantViolation> {
        for (key, group) in self.users.iter_groups() {
            hold(!group.members.is_empty(), "bounded", "a group has a member")?;
            let belongs = |user| self.users.get(user).is_some_and(|user| user.groups.contains(&key));
            hold(
                group.members.iter().all(|user| belongs(*user)),
                "no-leak",
                "a group's members belong to it",
            )?;
        }
        for (key, user) in self.users.iter() {
            let member = |group| self.users.group(group).is_some_and(|group| group.members.contains(&key));
            hold(user.groups.iter().all(|group| member(*group)), "no-leak", "a user's groups know it")?;
            hold(self.users.key(user.id.as_str()) == Some(key), "takeover", "a user is found by its id")?;
        }
        Ok(())
    }

    fn check_pipelines(&self) -> Result<(), InvariantViolation> {
        let entries = || self.pipelines.iter().flat_map(|pipeline| &pipeline.entries);
        hold(entries().count() as u64 == self.pipelines.messages, "accounting", "pending messages")?;
        let bytes: u64 = entries().map(|entry| entry.cost_bytes).sum();
        hold(bytes == self.pipelines.bytes, "accounting", "pending bytes")?;
        let none_empty = self.pipelines.iter().all(|pipeline| !pipeline.entries.is_empty());
        hold(none_empty, "bounded", "a pipeline has a message in it")
    }
}
