//! The session protocol: `switchboard.v1`. What a connection that speaks it may ask for and is told;
//! `docs/protocol.md` has the rules.

pub(in crate::server) mod direct;
mod entries;
mod fetch;
pub(in crate::server) mod frames;
mod heads;
mod marks;
mod places;
mod submit;
mod typing;
mod watch;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use serde::{Deserialize, Serialize};

use bytes::Bytes;
use switchboard_proto::{
    Message as _,
    v1::{Hello, client_frame::Body, note},
};

use self::{fetch::Fetching, heads::HeadsRun, marks::Marking, watch::WatchList};
use super::{Server, users::UserKey};
use crate::{
    action::Frame,
    bus::Note,
    close::CloseReason,
    digest::Digest,
    id::{ConnId, Ticket},
    probe::{Canary, Probe, Rule},
    time::Instant,
};

pub(super) use self::submit::Submission;

/// What is known of a connection beyond what every one has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    /// When its first frame must have come.
    pub(super) hello_by: Instant,
    /// Which of the user's devices it is, once it has said so.
    pub(super) device: Option<[u8; 16]>,
    /// Whether more waits for it than it may, so that nothing is pushed to it until all of that is written.
    pub(super) is_lagging: bool,
    /// The heads that it is being told.
    heads: Option<Box<HeadsRun>>,
    /// What it has asked for and the store has not answered, oldest first.
    fetches: Vec<Fetching>,
    /// What it has marked and the store has not answered, oldest first.
    markings: Vec<Marking>,
    /// The users that it watches, if there are any.
    watch: Option<Box<WatchList>>,
}

impl Session {
    pub(super) const fn new(hello_by: Instant) -> Self {
        Self {
            hello_by,
            device: None,
            is_lagging: false,
            heads: None,
            fetches: Vec::new(),
            markings: Vec::new(),
            watch: None,
        }
    }

    /// Requests that are waited for.
    pub(super) fn requests(&self) -> usize {
        let heads = self.heads.as_ref().is_some_and(|run| run.ticket().is_some());
        let watches = self.watch.as_ref().map_or(0, |list| list.requests());
        self.fetches.len() + self.markings.len() + usize::from(heads) + watches
    }

    /// The users that it watches.
    pub(super) const fn watch(&self) -> Option<&WatchList> {
        match &self.watch {
            Some(list) => Some(list),
            None => None,
        }
    }

    /// Which of the open fetches waits for this answer.
    pub(super) fn fetch_place(&self, ticket: Ticket) -> Option<usize> {
        self.fetches.iter().position(|fetching| fetching.ticket == ticket)
    }

    /// Which of the marks on their way wait for this answer.
    pub(super) fn marking_place(&self, ticket: Ticket) -> Option<usize> {
        self.markings.iter().position(|marking| marking.ticket == ticket)
    }

    /// Conversations whose marks are on their way.
    pub(super) fn marks(&self) -> usize {
        self.markings.len()
    }

    /// Fetches that are waited for.
    pub(super) fn fetches(&self) -> usize {
        self.fetches.len()
    }

    /// Cursors that are kept.
    pub(super) fn cursors(&self) -> usize {
        self.heads.as_ref().map_or(0, |run| run.cursors())
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.instant(self.hello_by);
        digest.bytes(self.device.as_ref().map_or(&[], |device| device));
        digest.flag(self.is_lagging);
        digest.flag(self.heads.is_some());
        if let Some(run) = &self.heads {
            run.fold(digest);
        }
        digest.len(self.fetches.len());
        self.fetches.iter().for_each(|fetching| fetching.fold(digest));
        digest.len(self.markings.len());
        self.markings.iter().for_each(|marking| marking.fold(digest));
        digest.flag(self.watch.is_some());
        if let Some(list) = &self.watch {
            list.fold(digest);
        }
    }
}

impl<P: Probe> Server<P> {
    /// A frame of a session whose user is loaded.
    pub(super) fn session_received(&mut self, conn: ConnId, user: UserKey, bytes: Bytes) {
        let cost_bytes = bytes.len() as u64;
        let Some(body) = frames::decode(bytes) else {
            self.probe.reached(Rule::FrameUndecodable);
            self.stats.undecodable += 1;
            return self.close(conn, CloseReason::UndecodableFrame);
        };
        let greeted = self.connections.get(conn).is_some_and(super::connections::Connection::is_online);
        let expected = matches!(body, Body::Hello(_)) != greeted;
        if !expected && (greeted || !self.probe.canary(Canary::HelloNotRequired)) {
            self.probe.reached(Rule::FrameOutOfTurn);
            self.stats.refused_out_of_turn += 1;
            return self.close(conn, CloseReason::OutOfTurn);
        }
        match body {
            Body::Hello(hello) => self.hello(conn, user, &hello),
            Body::Submit(submit) => self.submit(conn, user, submit, cost_bytes),
            Body::Fetch(fetch) => self.fetch(conn, user, &fetch),
            Body::Heartbeat(heartbeat) => {
                self.probe.reached(Rule::SessionHeartbeat);
                self.stats.heartbeats += 1;
                self.deliver_to_conn(conn, Frame::Message(frames::heartbeat(heartbeat.nonce)));
            }
            Body::Mark(mark) => self.mark(conn, user, &mark),
            Body::Typing(typing) => self.typing(user, &typing),
            Body::Watch(watch) => self.watch(conn, &watch),
            Body::Call(call) => self.call(conn, user, &call),
            Body::Resync(resync) => {
                if !self.probe.canary(Canary::ResyncIgnored) {
                    self.tell_heads(conn, &resync.cursors);
                }
            }
        }
    }

    /// Another engine tells something that concerns sessions.
    pub(in crate::server) fn told(&mut self, note: Note) {
        let Note { topic, note } = note;
        self.stats.notes_received += 1;
        let body = switchboard_proto::v1::Note::decode(note).ok().and_then(|note| note.body);
        let is_right = match body {
            Some(note::Body::Entry(entry)) => return self.entry_noted(topic, entry),
            Some(note::Body::Marks(noted)) => self.marks_noted(&topic, &noted),
            Some(note::Body::Typing(noted)) => self.typing_noted(&topic, &noted),
            Some(note::Body::Presence(noted)) => self.presence_told(&topic, &noted),
            Some(note::Body::Place(noted)) => self.place_noted(&topic, &noted),
            Some(note::Body::Call(noted)) => self.call_noted(&topic, noted),
            None => false,
        };
        if !is_right {
            self.refuse_note();
        }
    }

    /// What another engine has told is no note, or not for anybody here to understand.
    fn refuse_note(&mut self) {
        self.probe.reached(Rule::NoteUndecodable);
        self.stats.notes_undecodable += 1;
    }

    /// A session introduces itself: it is online from here on.
    fn hello(&mut self, conn: ConnId, user: UserKey, hello: &Hello) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(id) = self.users.get(user).map(|user| user.id.clone()) else { return };
        connection.phase = super::connections::Phase::Online { user };
        let device = hello.device_id.as_ref().try_into().ok();
        if let Some(session) = &mut connection.session {
            session.device = device;
        }
        if let Some(device) = device
            && !self.replace_device(conn, user, device)
        {
            return;
        }
        self.probe.reached(Rule::SessionWelcomed);
        let mut session_id = [0; 16];
        self.rng.fill_bytes(&mut session_id);
        let welcome = frames::welcome(&session_id, &id, &self.config);
        self.deliver_to_conn(conn, Frame::Message(welcome));
        self.arrived(user);
        self.resume_call(conn, user);
        self.tell_heads(conn, &hello.cursors);
    }

    /// Closes all sessions of a device but that of its newest connection: it knows nothing of the others any more. What was said over
    /// one that was given up may come late, so it is not the newest Hello that counts. Whether this one stays.
    fn replace_device(&mut self, conn: ConnId, user: UserKey, device: [u8; 16]) -> bool {
        if self.probe.canary(Canary::DeviceNotReplaced) {
            return true;
        }
        let any = self.probe.canary(Canary::DeviceReplacedAny);
        let conns = self.users.get(user).map(|user| user.conns.as_slice()).unwrap_or_default();
        let is_same = |other: &&ConnId| {
            let session = self.connections.get(**other).and_then(|other| other.session.as_ref());
            **other == conn || session.is_some_and(|s| s.device.is_some_and(|other| any || other == device))
        };
        // In the order in which they have come.
        let mut same = conns.iter().filter(is_same).copied().collect::<Vec<_>>();
        if self.probe.canary(Canary::LateHelloTakesOver) {
            same.retain(|other| *other != conn);
            same.push(conn);
        }
        let newest = same.pop();
        if newest != Some(conn) {
            self.probe.reached(Rule::HelloOvertaken);
        }
        for older in same {
            self.probe.reached(Rule::DeviceReplaced);
            self.close(older, CloseReason::TakenOver);
        }
        newest == Some(conn)
    }

    /// Of what a session had sent that did not live until its user was loaded, leaves what is still to be done: all
    /// behind the Hello, as it would have been done.
    pub(super) fn leave_departed(&mut self, early: &mut VecDeque<Bytes>) {
        let Some(first) = early.pop_front() else { return };
        self.early_bytes -= first.len() as u64;
        if matches!(frames::decode(first), Some(Body::Hello(_))) {
            return;
        }
        for message in early.drain(..) {
            self.early_bytes -= message.len() as u64;
            self.stats.refused_out_of_turn += 1;
        }
    }

    /// Does what a session that is gone had asked for before its user was loaded: only submits outlive it.
    pub(super) fn session_departed(&mut self, conn: ConnId, user: UserKey, bytes: Bytes) {
        let cost_bytes = bytes.len() as u64;
        if let Some(Body::Submit(submit)) = frames::decode(bytes) {
            self.probe.reached(Rule::DepartedSession);
            self.submit(conn, user, submit, cost_bytes);
        }
    }

    /// Tells a session that is about to be closed when to come back, if there is room for that.
    pub(super) fn say_goodbye(&mut self, conn: ConnId, reason: CloseReason) {
        let is_revoked = matches!(reason, CloseReason::SignedOut | CloseReason::Banned);
        let told = is_revoked && self.probe.canary(Canary::RevokedComesBack);
        let told = if told { CloseReason::Administrator } else { reason };
        let Some((after, spread)) = frames::come_back(told, &self.config) else { return };
        let goodbye = frames::goodbye(reason, after, spread);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        self.stats.pushes += 1;
        if !connection.outbox.push(goodbye.len(), self.config.limits.outbox_bytes) {
            self.probe.reached(Rule::GoodbyeWithoutRoom);
            self.stats.pushes_dropped_full += 1;
            return;
        }
        self.probe.reached(Rule::GoodbyeSent);
        let mark = self.effects.mark();
        self.effects.recipient(conn);
        self.effects.send(mark, Frame::Message(goodbye));
    }

    /// Waits for nothing more of what a session has asked for.
    pub(super) fn end_session(&mut self, conn: ConnId) {
        self.stop_heads(conn);
        self.stop_watching(conn);
        self.leave_call(conn);
        let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) else { return };
        for fetching in core::mem::take(&mut session.fetches) {
            self.requests.close(fetching.ticket);
        }
        for marking in core::mem::take(&mut session.markings) {
            self.requests.close(marking.ticket);
        }
    }

    /// Everything that waited for a connection has been written.
    pub(super) fn drained(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn).filter(|c| c.is_online()) else { return };
        let Some(session) = connection.session.as_mut().filter(|session| session.is_lagging) else { return };
        self.probe.reached(Rule::LagOver);
        session.is_lagging = false;
        if !self.probe.canary(Canary::HeadsForgottenAfterLag) {
            self.tell_heads(conn, &[]);
        }
        self.retell_presence(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::Session;

    #[test]
    fn a_session_that_waits_for_nothing_costs_less_than_a_kibibyte_more_than_a_classic_connection() {
        // All that it has beyond one, as its lists take no room while they are empty.
        assert!(size_of::<Session>() <= 128, "{}", size_of::<Session>());
    }
}
