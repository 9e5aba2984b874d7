//! The server's side of routing and delivery.

mod admission;
mod arrivals;
mod authority;
mod behind;
mod call;
mod calls;
mod check;
mod classic;
mod connections;
mod delivery;
mod digest;
mod directory;
mod effects;
mod held;
mod letter;
mod lifecycle;
mod missing;
mod outbox;
mod pipeline;
mod presence;
mod rate;
mod receipts;
mod requests;
mod resend;
mod routing;
mod session;
mod shutdown;
mod snapshot;
mod stage;
mod storing;
mod timers;
mod users;
mod view;

use alloc::vec::Vec;

use bytes::Bytes;

use self::{
    admission::Admissions,
    calls::Calls,
    connections::Connections,
    effects::Effects,
    pipeline::Pipelines,
    presence::Presence,
    requests::{Purpose, Requests},
    shutdown::Stopping,
    timers::{Due, Timers},
    users::Users,
};
use crate::random::Xoshiro256PlusPlus;
use crate::{
    action::Action,
    close::CloseReason,
    config::ServerConfig,
    event::{Event, PeerFault},
    hash::SeededState,
    id::Ticket,
    probe::{Canary, Probe, Rule, Shipped},
    stats::Stats,
    storage::{Answer, Request},
    time::Instant,
};

pub use self::{
    check::{Gauges, InvariantViolation},
    snapshot::SnapshotError,
    view::{ConnectionPhase, ConnectionView},
};

/// The routing and delivery of one shard: every decision, and no IO.
///
/// The crate's documentation says how a driver uses it. The type parameter is for the simulator, and so is
/// cloning: a clone gives its messages the same ids, so at most one of the two may go on with a real store.
#[derive(Clone, Debug)]
pub struct Server<P: Probe = Shipped> {
    probe: P,
    config: ServerConfig,
    now: Instant,
    rng: Xoshiro256PlusPlus,
    /// The time at which the ids of messages count 0, in milliseconds since whenever: random.
    ids_from: u64,
    connections: Connections,
    users: Users,
    pipelines: Pipelines,
    presence: Presence,
    calls: Calls,
    requests: Requests,
    timers: Timers,
    effects: Effects,
    stats: Stats,
    admissions: Admissions,
    stopping: Stopping,
    /// The answer to every heartbeat.
    pong: Bytes,
    /// Bytes of messages that came before their user was loaded.
    early_bytes: u64,
    /// Connections that the current fan-out found without room; empty between fan-outs.
    overfull: Vec<crate::id::ConnId>,
}

impl Server {
    /// A server without connections.
    ///
    /// `seed` keys the hash tables and is the source of message ids, so in production it comes from the
    /// operating system's randomness, and no two servers have the same. Equal configurations, seeds and
    /// events give equal actions.
    #[must_use]
    pub fn new(config: ServerConfig, seed: u64, now: Instant) -> Self {
        Self::with_probe(config, seed, now, Shipped)
    }
}

impl<P: Probe> Server<P> {
    /// A server whose rules are watched, and broken where the probe says so. For the simulator and tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_probe(config: ServerConfig, seed: u64, now: Instant, probe: P) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let hash = SeededState::new(rng.next_u64(), rng.next_u64());
        // From the same seed by another way: what the generator gives next is to stay what it was.
        let ids_from = Xoshiro256PlusPlus::seed_from_u64(!seed).next_u64();
        Self {
            probe,
            config,
            now,
            rng,
            ids_from,
            connections: Connections::default(),
            users: Users::new(hash),
            pipelines: Pipelines::default(),
            presence: Presence::new(hash),
            calls: Calls::new(hash),
            requests: Requests::default(),
            timers: Timers::default(),
            effects: Effects::default(),
            stats: Stats::default(),
            admissions: Admissions::default(),
            stopping: Stopping::Running,
            pong: classic::pong(),
            early_bytes: 0,
            overfull: Vec::new(),
        }
    }

    /// Takes note of an event. What it leads to is told by [`Server::poll_action`].
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.advance(now);
        match event {
            Event::Connected { conn, user, protocol } => self.connected(conn, user, protocol),
            Event::Received { conn, message } => self.received(conn, message),
            Event::Ping { conn, payload } => self.pinged(conn, payload),
            Event::Pong { conn, payload } => self.ponged(conn, &payload),
            Event::Misbehaved { conn, fault } => {
                if self.sign_of_life(conn).is_some() {
                    self.misbehaved(conn, fault);
                }
            }
            Event::PeerClosed { conn } => {
                if self.sign_of_life(conn).is_some() {
                    self.close(conn, CloseReason::PeerClosed);
                }
            }
            Event::Flushed { conn, frames, payload_bytes } => self.flushed(conn, frames, payload_bytes),
            Event::Disconnected { conn } => self.disconnected(conn),
            Event::Answered { ticket, answer } => self.answered(ticket, answer),
            Event::Published(record) => self.published(record),
            Event::Told(note) => self.told(note),
            Event::DirectoryChanged(change) => self.directory_changed(change),
            Event::Revoked { whose, why } => self.revoked(&whose, why),
            Event::Announced { to, text } => self.announced(&to, &text),
            Event::Shutdown => self.shutdown(),
        }
        self.finish();
    }

    /// The next thing to do; none when everything that followed from the last event has been told.
    pub fn poll_action(&mut self) -> Option<Action<'_>> {
        self.effects.poll()
    }

    /// When [`Server::handle_timeout`] is to be called next, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.next_expiry(), self.next_of_shutdown()].into_iter().flatten().min()
    }

    /// Does what is due at `now`. Calling it early or late is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(due) = self.timers.pop(self.now) {
            match due {
                Due::Connection(conn) => self.connection_due(conn),
                Due::Reload(user) => {
                    self.probe.reached(Rule::LoadRetried);
                    self.load(user);
                }
                Due::Heads(conn) => self.heads_due(conn),
                Due::Resend(conn) => self.resend_due(conn),
                Due::Away(away) => self.away_due(away),
                Due::Watched(watched) => self.watched_due(watched),
                Due::Watch(conn) => self.watch_due(conn),
                Due::Call(leg) => self.leg_due(leg),
            }
        }
        while self.next_expiry().is_some_and(|at| at <= self.now) {
            let Some((ticket, purpose)) = self.requests.pop_expired(self.now) else { break };
            self.probe.reached(Rule::RequestTimedOut);
            self.answered_for(purpose, ticket, Answer::Failed);
        }
        self.finish();
    }

    /// The probe that the server was made with.
    #[doc(hidden)]
    #[must_use]
    pub const fn probe(&self) -> &P {
        &self.probe
    }

    /// What has been counted so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The configuration that the server was made with.
    #[must_use]
    pub const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// When the next request is given up.
    fn next_expiry(&self) -> Option<Instant> {
        if self.probe.canary(Canary::RequestTimeoutForgotten) { None } else { self.requests.next() }
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn misbehaved(&mut self, conn: crate::id::ConnId, fault: PeerFault) {
        let reason = match fault {
            PeerFault::Framing => CloseReason::ProtocolError,
            PeerFault::TextMessage => CloseReason::TextMessage,
            PeerFault::InvalidUtf8 => {
                self.stats.undecodable += 1;
                let is_session = self.connections.get(conn).is_some_and(|c| c.session.is_some());
                if is_session { CloseReason::UndecodableFrame } else { CloseReason::Undecodable }
            }
            PeerFault::MessageTooLarge => {
                self.probe.reached(Rule::MessageTooLarge);
                self.stats.refused_too_large += 1;
                CloseReason::MessageTooLarge
            }
            PeerFault::ReceiveBudget => CloseReason::ServerFull,
        };
        self.close(conn, reason);
    }

    /// Asks the store. The answer is waited for until the request time-out.
    fn request(&mut self, purpose: Purpose, request: Request) -> Ticket {
        let ticket = self.requests.open(self.now, self.config.request_timeout, purpose);
        self.effects.push(Action::Request { ticket, request });
        ticket
    }

    fn answered(&mut self, ticket: Ticket, answer: Answer) {
        match self.requests.close(ticket) {
            Some(purpose) if purpose.takes(&answer) => self.answered_for(purpose, ticket, answer),
            Some(purpose) => {
                self.stats.driver_faults += 1;
                self.answered_for(purpose, ticket, Answer::Failed);
            }
            None => {
                self.probe.reached(Rule::AnswerIgnored);
                self.stats.stale_events += 1;
            }
        }
    }

    fn answered_for(&mut self, purpose: Purpose, ticket: Ticket, answer: Answer) {
        match purpose {
            Purpose::Load(user) => self.load_answered(user, ticket, answer),
            Purpose::Message(pipeline) => self.message_answered(pipeline, ticket, &answer),
            Purpose::Heads(conn) => self.heads_answered(conn, answer),
            Purpose::Fetch(conn) => self.fetch_answered(conn, ticket, answer),
            Purpose::Unreceived(conn) => self.unreceived_answered(conn, answer),
            Purpose::Missed(conn) => self.missed_answered(conn, answer),
            Purpose::Received(conn) => self.received_answered(conn, ticket, answer),
            Purpose::Marks(conn) => self.marks_answered(conn, ticket, answer),
            Purpose::Seen(away) => self.seen_answered(away, answer),
            Purpose::Watch(conn) => self.watch_answered(conn, ticket, answer),
            Purpose::Ring(leg) => self.ring_answered(leg, answer),
        }
    }
}
