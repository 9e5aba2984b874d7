//! Connections from their first event to their last, and the timers that watch them.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::{
    Server, classic,
    connections::{Answers, Connection, Phase},
    requests::Purpose,
    session::Session,
    shutdown::Stopping,
    timers::Due,
    users::{Departed, Load, UserKey},
};
use crate::{
    action::{Action, Frame},
    bus::Topic,
    close::CloseReason,
    config::{DevicePolicy, to_usize},
    event::Protocol,
    id::{ConnId, UserId},
    probe::{Canary, Probe, Rule},
    storage::Request,
    time::Instant,
};

impl<P: Probe> Server<P> {
    pub(super) fn connected(&mut self, conn: ConnId, id: UserId, protocol: Protocol) {
        self.stats.connects += 1;
        let running = self.stopping == Stopping::Running;
        if running && let Err(wait) = self.take_admission() {
            return self.turn_away(conn, protocol, wait);
        }
        let known = self.users.key(id.as_str());
        let user = known.unwrap_or_else(|| self.users.add(id.clone(), Load::Done));
        let is_session = protocol == Protocol::Session;
        let hello_by = self.now + self.config.hello_timeout;
        let session = is_session.then(|| Box::new(Session::new(hello_by)));
        let loading = Phase::Loading { user, early: VecDeque::new() };
        let connection = Connection::new(conn, loading, self.now, session);
        if self.connections.add(connection, self.config.limits.connections).is_err() {
            // The slot is not one that a driver may use: there is no place to keep a deadline either.
            self.stats.driver_faults += 1;
            if known.is_none() {
                self.users.remove(user);
            }
            return self.effects.push(Action::Abort { conn });
        }
        self.users.attach(user, conn, is_session);
        self.probe.reached(if known.is_none() { Rule::UserArrived } else { Rule::DeviceArrived });
        if known.is_none() {
            // What has outlived its former connections listens already.
            if !self.outlives(id.as_str()) {
                self.subscribe(Topic::User(id));
            }
            if running {
                self.load(user);
            }
        }
        let silent_at = self.now + self.config.ping_interval;
        self.set_deadline(conn, Some(if is_session { silent_at.min(hello_by) } else { silent_at }));
        if !running {
            self.probe.reached(Rule::ArrivedDuringStop);
            return self.close(conn, CloseReason::GoingAway);
        }
        self.make_room(user);
        let loaded = self.users.get(user).is_some_and(|user| !matches!(user.load, Load::Waiting { .. }));
        if loaded || self.probe.canary(Canary::WelcomeBeforeLoad) {
            self.welcome(conn);
        }
    }

    /// Closes what the user's newest connection leaves no room for.
    fn make_room(&mut self, user: UserKey) {
        if self.probe.canary(Canary::TakeoverForgotten) {
            return;
        }
        let (limit, reason) = match self.config.devices {
            DevicePolicy::NewestWins => (1, CloseReason::TakenOver),
            DevicePolicy::All => {
                (self.config.limits.connections_per_user.max(1), CloseReason::TooManyDevices)
            }
        };
        let limit = to_usize(limit);
        let Some(conns) = self.users.get(user).map(|user| &user.conns) else { return };
        let mut excess: Vec<ConnId> = conns.iter().take(conns.len().saturating_sub(limit)).copied().collect();
        if self.probe.canary(Canary::TakeoverClosesNewest) {
            excess = conns.iter().rev().take(excess.len()).copied().collect();
        }
        excess.into_iter().for_each(|conn| self.close(conn, reason));
    }

    /// Asks for what the directory knows of a user.
    pub(super) fn load(&mut self, key: UserKey) {
        let Some(id) = self.users.get(key).map(|user| user.id.clone()) else { return };
        let ticket = self.request(Purpose::Load(key), Request::LoadUser(id));
        if let Some(user) = self.users.get_mut(key) {
            user.load = Load::Waiting { ticket };
        }
    }

    /// Makes a connection that waited for its user an online one, or a session one whose Hello is waited for.
    pub(super) fn welcome(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Phase::Loading { user, early } = &mut connection.phase else { return };
        let (user, mut early) = (*user, core::mem::take(early));
        let is_session = connection.session.is_some();
        connection.phase = if is_session { Phase::Greeting { user } } else { Phase::Online { user } };
        let Some(id) = self.users.get(user).map(|user| user.id.clone()) else { return };
        if !is_session {
            self.probe.reached(Rule::Welcomed);
            self.deliver_to_conn(conn, Frame::Message(classic::welcome(&id)));
            self.begin_catch_up(conn);
            self.arrived(user);
        }
        if self.probe.canary(Canary::EarlyReversed) {
            early.make_contiguous().reverse();
        }
        for message in early {
            self.early_bytes -= message.len() as u64;
            if self.connections.get(conn).is_some_and(|connection| connection.user().is_some()) {
                self.probe.reached(Rule::EarlyRouted);
                self.dispatch(conn, user, is_session, message);
            } else {
                self.probe.reached(Rule::EarlyAfterClose);
            }
        }
    }

    /// Routes what was sent by connections that did not live to be welcomed.
    pub(super) fn route_departed(&mut self, user: UserKey) {
        // One by one: with something left to route, the user stays whatever happens to its connections.
        while let Some(departed) = self.users.get_mut(user).and_then(|user| user.departed.pop_front()) {
            let Departed { conn, is_session, message } = departed;
            self.probe.reached(Rule::EarlyDepartedRouted);
            self.early_bytes -= message.len() as u64;
            if is_session {
                self.session_departed(conn, user, message);
            } else {
                self.route(conn, user, message);
            }
        }
    }

    /// Takes note that something came from the peer. Returns its user if the connection is open.
    pub(super) fn sign_of_life(&mut self, conn: ConnId) -> Option<UserKey> {
        let now = self.now;
        let user = self.connections.get_mut(conn).and_then(|connection| {
            connection.received_at = now;
            connection.user()
        });
        if user.is_none() {
            self.probe.reached(Rule::EventStale);
            self.stats.stale_events += 1;
        }
        user
    }

    pub(super) fn ponged(&mut self, conn: ConnId, payload: &Bytes) {
        if self.probe.canary(Canary::PongIsNoLife) || self.sign_of_life(conn).is_none() {
            return;
        }
        match self.admit(conn, payload.len()) {
            Ok(()) => self.classic_ponged(conn, payload),
            Err(reason) => self.close(conn, reason),
        }
    }

    pub(super) fn pinged(&mut self, conn: ConnId, payload: Bytes) {
        if self.sign_of_life(conn).is_none() {
            return;
        }
        let unlimited = self.probe.canary(Canary::PingsUnlimited);
        match if unlimited { Ok(()) } else { self.admit(conn, payload.len()) } {
            Ok(()) => {
                self.probe.reached(Rule::PingAnswered);
                self.deliver_to_conn(conn, Frame::Pong(payload));
            }
            Err(reason) => self.close(conn, reason),
        }
    }

    pub(super) fn flushed(&mut self, conn: ConnId, frames: u32, payload_bytes: u64) {
        let Some(connection) = self.connections.get_mut(conn) else {
            self.probe.reached(Rule::EventStale);
            self.stats.stale_events += 1;
            return;
        };
        if self.probe.canary(Canary::FlushNotCounted) {
            return;
        }
        if connection.outbox.flushed(frames, payload_bytes).is_err() {
            self.stats.driver_faults += 1;
            return;
        }
        self.stats.pushes_flushed += u64::from(frames);
        if connection.session.is_some() {
            if connection.outbox.unflushed_frames() == 0 {
                self.drained(conn);
            }
            return;
        }
        if self.probe.canary(Canary::HeldNeverReleased) {
            return;
        }
        while let Some(frame) = connection.outbox.release() {
            self.probe.reached(Rule::PictureReleased);
            let mark = self.effects.mark();
            self.effects.recipient(conn);
            self.effects.send(mark, Frame::Message(frame));
        }
        if connection.receipts.is_some() && connection.outbox.unflushed_frames() == 0 {
            self.read_on(conn);
        }
    }

    /// Asks the driver to close a connection. From here on it has no user, and its late events change nothing.
    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(user) = connection.user() else { return };
        let is_session = connection.session.is_some();
        if is_session {
            self.say_goodbye(conn, reason);
            self.end_session(conn);
        } else {
            self.end_receipts(conn, user);
        }
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.session = None;
        let phase = core::mem::replace(&mut connection.phase, Phase::Closing);
        if !self.probe.canary(Canary::HeldAfterClose) {
            let discarded = connection.outbox.discard_held();
            self.stats.pushes_dropped_closed += discarded;
            if discarded > 0 {
                self.probe.reached(Rule::PictureDiscarded);
            }
        }
        self.end(conn, reason);
        if !self.probe.canary(Canary::DetachForgotten) {
            self.detach(conn, user, is_session, phase);
        }
    }

    /// Asks the driver to end a connection that is closing, and sets the time limit for it.
    pub(super) fn end(&mut self, conn: ConnId, reason: CloseReason) {
        self.probe.reached(Rule::closed(reason));
        self.stats.closes += 1;
        self.effects.push(Action::Close { conn, reason });
        let at_once = self.probe.canary(Canary::AbortedAtOnce);
        self.set_deadline(conn, Some(if at_once { self.now } else { self.now + self.config.close_timeout }));
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, mut conn: ConnId) {
        if self.probe.canary(Canary::StaleDisconnect) {
            conn = self.connections.iter().map(|c| c.id).find(|id| id.slot() == conn.slot()).unwrap_or(conn);
        }
        let Some(connection) = self.connections.get(conn) else {
            self.probe.reached(Rule::EventStale);
            self.stats.stale_events += 1;
            return;
        };
        let user = connection.user();
        if let Some(key) = connection.pipeline {
            self.probe.reached(Rule::LeftWithPending);
            if self.probe.canary(Canary::PipelineDiesWithSender) {
                self.drop_pending(key);
            }
        }
        if !self.probe.canary(Canary::DeadlineLeaked) {
            self.set_deadline(conn, None);
        }
        self.end_session(conn);
        if let Some(user) = user {
            self.end_receipts(conn, user);
        }
        let Some(mut connection) = self.connections.remove(conn) else { return };
        self.stats.disconnects += 1;
        self.stats.pushes_dropped_closed +=
            connection.outbox.discard_held() + connection.outbox.unflushed_frames();
        self.probe.reached(match connection.phase {
            Phase::Loading { .. } => Rule::LeftWhileLoading,
            Phase::Greeting { .. } | Phase::Online { .. } => Rule::LeftUnasked,
            Phase::Closing | Phase::Aborted => Rule::LeftAfterClose,
        });
        if let Some(user) = user {
            self.detach(conn, user, connection.session.is_some(), connection.phase);
        }
    }

    /// Takes a connection from its user; the last one takes the user along.
    fn detach(&mut self, conn: ConnId, key: UserKey, is_session: bool, phase: Phase) {
        let by_user = self.probe.canary(Canary::DetachByUser);
        self.users.detach(key, conn, is_session, by_user);
        self.departed(key);
        if let Phase::Loading { mut early, .. } = phase {
            if is_session {
                self.leave_departed(&mut early);
            }
            let Some(user) = self.users.get_mut(key) else { return };
            let limit = to_usize(self.config.limits.pending_per_connection);
            for message in early {
                if user.departed.len() < limit && !self.probe.canary(Canary::EarlyLost) {
                    self.probe.reached(Rule::EarlyDeparted);
                    user.departed.push_back(Departed { conn, is_session, message });
                } else {
                    self.probe.reached(Rule::EarlyFull);
                    self.early_bytes -= message.len() as u64;
                    self.stats.refused_pending += 1;
                }
            }
        }
        self.forget_if_gone(key);
    }

    /// Forgets a user of whom nothing is left here.
    pub(super) fn forget_if_gone(&mut self, key: UserKey) {
        let Some(user) = self.users.get(key) else { return };
        if !user.conns.is_empty() || !user.departed.is_empty() {
            return;
        }
        match &user.load {
            Load::Waiting { ticket } => {
                self.requests.close(*ticket);
            }
            Load::Failed { retry_at } => self.timers.cancel(*retry_at, Due::Reload(key)),
            Load::Done => {}
        }
        self.probe.reached(Rule::UserGone);
        if !self.probe.canary(Canary::MembershipKept) {
            for group in user.groups.iter().copied().collect::<Vec<_>>() {
                self.leave(key, group);
            }
        }
        if let Some(user) = self.users.remove(key) {
            self.listens_no_more(user.id);
        }
    }

    /// Whether something of a user goes on here without its connections: a call that waits for its device, or the time
    /// in which it is not said to have gone. The others have things to say about both.
    fn outlives(&self, user: &str) -> bool {
        self.calls.has(user) || self.presence.is_away(user)
    }

    /// Something of a user is over here: if it was the last, nothing that is told to it is of interest any more.
    pub(super) fn listens_no_more(&mut self, user: UserId) {
        if self.users.by_id(user.as_str()).is_none() && !self.outlives(user.as_str()) {
            self.unsubscribe(Topic::User(user));
        }
    }

    /// A connection's deadline has come: it is to be cut off, closed, or pinged.
    pub(super) fn connection_due(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.deadline = None;
        let (received_at, pinged_at) = (connection.received_at, connection.pinged_at);
        let hello_by = connection.hello_by();
        match connection.phase {
            Phase::Closing => {
                connection.phase = Phase::Aborted;
                self.probe.reached(Rule::Aborted);
                self.stats.aborts += 1;
                if !self.probe.canary(Canary::AbortForgotten) {
                    self.effects.push(Action::Abort { conn });
                }
            }
            Phase::Aborted => {}
            Phase::Loading { .. } | Phase::Greeting { .. } | Phase::Online { .. } => {
                let immortal = self.probe.canary(Canary::IdleNeverReaped);
                let dead_at = if immortal {
                    Instant::from_nanos(u64::MAX)
                } else {
                    received_at + self.config.idle_timeout
                };
                if self.now >= dead_at {
                    return self.close(conn, CloseReason::Idle);
                }
                if hello_by.is_some_and(|hello_by| self.now >= hello_by) {
                    self.probe.reached(Rule::HelloLate);
                    self.stats.refused_out_of_turn += 1;
                    return self.close(conn, CloseReason::OutOfTurn);
                }
                self.forget_caught(conn);
                self.assume_arrived(conn);
                self.read_on_anyway(conn);
                let silent_at = received_at.max(pinged_at) + self.config.ping_interval;
                let is_silent = self.now >= silent_at || self.wants_ping(conn);
                let next = if is_silent { self.now + self.config.ping_interval } else { silent_at };
                let next = next.min(dead_at);
                self.set_deadline(conn, Some(hello_by.map_or(next, |hello_by| next.min(hello_by))));
                if is_silent {
                    // Last, as there may be no room for it: then the connection gets the deadline of a closing one.
                    self.ping(conn);
                }
            }
        }
    }

    /// Sends a Ping that carries how many frames the connection has been sent before it, as eight bytes,
    /// the highest first: the Pong that comes back tells that they have been received.
    pub(super) fn ping(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(conn).filter(|c| c.is_online()) else { return };
        self.probe.reached(Rule::Pinged);
        connection.pinged_at = now;
        if connection.answers == Answers::Unasked && self.config.limits.resend_messages > 0 {
            connection.answers = Answers::NoneSince(now);
        }
        let itself = self.probe.canary(Canary::PingPositionWrong);
        let position = connection.outbox.position() + u64::from(itself);
        if let Some(receipts) = &mut connection.receipts {
            receipts.ping(position);
        }
        self.deliver_to_conn(conn, Frame::Ping(Bytes::copy_from_slice(&position.to_be_bytes())));
    }

    /// Moves a connection's deadline.
    pub(super) fn set_deadline(&mut self, conn: ConnId, deadline: Option<Instant>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if let Some(at) = core::mem::replace(&mut connection.deadline, deadline) {
            self.timers.cancel(at, Due::Connection(conn));
        }
        if let Some(at) = deadline {
            self.timers.set(at, Due::Connection(conn));
        }
    }

    pub(super) fn subscribe(&mut self, topic: Topic) {
        if self.config.peers {
            self.effects.push(Action::Subscribe(topic));
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: Topic) {
        if self.config.peers {
            self.effects.push(Action::Unsubscribe(topic));
        }
    }
}
