//! Drives a server and its twin as the contract says, and holds them to it at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_engine::{ConnId, Event, Gauges, Instant, OwnedAction, Server, ServerConfig, Ticket, Topic};

/// When every test begins: not at the origin, where mistakes with zero hide.
pub(crate) const START: Instant = Instant::from_nanos(1_000_000_000);

/// How far the end of a connection is that the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    Closed,
    Aborted,
}

/// A server, a second one with the same seed that is told the same, and the clock of both.
pub(crate) struct Driver {
    pub(crate) server: Server,
    twin: Server,
    now: Instant,
    lives: BTreeMap<ConnId, Life>,
    tickets: BTreeSet<Ticket>,
    pub(crate) subscriptions: BTreeSet<Topic>,
    pub(crate) stopped: bool,
    /// How much there was after the last event, and the digest of the state.
    before: (Gauges, u64),
}

impl Driver {
    pub(crate) fn new(config: &ServerConfig, seed: u64) -> Self {
        config.validate().unwrap();
        let now = START;
        Self {
            server: Server::new(config.clone(), seed, now),
            twin: Server::new(config.clone(), seed, now),
            now,
            lives: BTreeMap::new(),
            tickets: BTreeSet::new(),
            subscriptions: BTreeSet::new(),
            stopped: false,
            before: Default::default(),
        }
    }

    /// Tells both servers of an event; what they want done must be the same.
    pub(crate) fn handle(&mut self, event: &Event) -> Vec<OwnedAction> {
        if let Event::Connected { conn, .. } = event {
            self.lives.insert(*conn, Life::Open);
        }
        self.server.handle(self.now, event.clone());
        self.twin.handle(self.now, event.clone());
        let acts = self.drain();
        if let Event::Disconnected { conn } = event {
            self.lives.remove(conn);
        }
        acts
    }

    /// Lets the clock go on to the next deadline before `until`, and does what is due then. Gives nothing
    /// when no deadline is left before, and it is `until`.
    pub(crate) fn next_timeout(&mut self, until: Instant) -> Option<Vec<OwnedAction>> {
        let Some(at) = self.server.poll_timeout().filter(|at| *at <= until) else {
            self.now = until;
            return None;
        };
        self.now = self.now.max(at);
        self.server.handle_timeout(self.now);
        self.twin.handle_timeout(self.now);
        let acts = self.drain();
        let next = self.server.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "what was due at {:?} is still due", self.now);
        Some(acts)
    }

    pub(crate) fn after(&self, duration: Duration) -> Instant {
        self.now + duration
    }

    fn drain(&mut self) -> Vec<OwnedAction> {
        let mut acts = Vec::new();
        let (gauges, digest) = core::mem::take(&mut self.before);
        while let Some(action) = self.server.poll_action() {
            let wanted = format!("{action:?}");
            let twin = self.twin.poll_action().map(|action| format!("{action:?}"));
            assert_eq!(Some(&wanted), twin.as_ref(), "determinism: twins differ");
            acts.push(OwnedAction::from(action));
        }
        assert_eq!(self.twin.poll_action(), None, "determinism: a twin wants more");
        assert_eq!(self.server.poll_timeout(), self.twin.poll_timeout(), "determinism: deadlines differ");
        assert_eq!(self.server.full_digest(), self.twin.full_digest(), "determinism: digests differ");
        self.before = (self.server.gauges(), self.server.state_digest());
        assert!(gauges == self.before.0 || digest != self.before.1, "{gauges:?} is {:?} now", self.before.0);
        acts.iter().for_each(|act| self.check(act));
        self.server.check_invariants().unwrap();
        acts
    }

    /// What the contract promises of every single action.
    fn check(&mut self, act: &OwnedAction) {
        assert!(!self.stopped, "nothing follows Stopped, but {act:?} does");
        match act {
            OwnedAction::Send { to, frame } => {
                assert!(!to.is_empty(), "a send has a recipient: {frame:?}");
                let once: BTreeSet<_> = to.iter().collect();
                assert_eq!(once.len(), to.len(), "a recipient is named once: {to:?}");
                for conn in to {
                    let life = self.lives.get(conn);
                    assert_eq!(life, Some(&Life::Open), "{conn} is sent {frame:?}");
                }
            }
            OwnedAction::Close { conn, .. } => {
                let before = self.lives.insert(*conn, Life::Closed);
                assert_eq!(before, Some(Life::Open), "{conn} is closed once, while open");
            }
            OwnedAction::Abort { conn } => {
                let before = self.lives.insert(*conn, Life::Aborted);
                assert_ne!(before, Some(Life::Aborted), "{conn} is aborted once");
                assert!(before.is_some(), "{conn} is gone and cannot be aborted");
            }
            OwnedAction::Request { ticket, .. } => assert!(self.tickets.insert(*ticket), "{ticket:?} is new"),
            OwnedAction::Publish(_) | OwnedAction::Tell(_) => {
                assert!(self.server.config().peers, "published without peers: {act:?}");
            }
            OwnedAction::Subscribe(topic) => {
                assert!(self.server.config().peers, "subscribed without peers: {act:?}");
                assert!(self.subscriptions.insert(topic.clone()), "subscribed twice: {topic:?}");
            }
            OwnedAction::Unsubscribe(topic) => {
                assert!(self.subscriptions.remove(topic), "unsubscribed but never subscribed: {topic:?}");
            }
            OwnedAction::Stopped => self.stopped = true,
        }
    }
}
