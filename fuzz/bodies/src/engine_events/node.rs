//! One engine, its twin, and their driver, which owes them what the engine's documentation says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use switchboard_engine::{
    Answer, ConnId, Event, Frame, Instant, OwnedAction, Request, Server, ServerConfig, Shipped, Ticket, Topic,
};
use switchboard_sim::recording::player::{Cause, Player};
use switchboard_sim::script::{Ask, Line, Script, What};

/// Connections that there can be at a time.
pub(super) const SLOTS: u32 = 8;

/// A connection as its driver has it.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Frames that are not written, oldest first.
    waiting: VecDeque<Frame>,
    /// Pings that have arrived at the client.
    pings: VecDeque<Frame>,
    /// Nothing more is read from it.
    is_deaf: bool,
    is_closing: bool,
    is_aborted: bool,
}

/// A request that the store has not answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    /// What it will say, if the request is done.
    pub(super) answer: Option<Answer>,
    name: Ask,
}

/// An engine.
pub(super) struct Node {
    /// With a judge; none if store and bus may lie.
    judged: Option<Player<Shipped>>,
    server: Server,
    /// A server that is told the same: one more from the beginning, or one from a snapshot.
    twin: Server,
    pub(super) links: BTreeMap<ConnId, Link>,
    generations: [u32; SLOTS as usize],
    pub(super) asked: Vec<Asked>,
    tickets: BTreeSet<Ticket>,
    subscriptions: BTreeSet<Topic>,
    pub(super) is_stopped: bool,
    script: Script,
}

impl Node {
    pub(super) fn new(config: &ServerConfig, seed: u64, now: Instant, is_judged: bool) -> Self {
        Self {
            judged: is_judged.then(|| {
                let mut player = Player::new(config.clone(), seed, now, Shipped);
                player.sweep_every(1);
                player
            }),
            server: Server::new(config.clone(), seed, now),
            twin: Server::new(config.clone(), seed, now),
            links: BTreeMap::new(),
            generations: [0; SLOTS as usize],
            asked: Vec::new(),
            tickets: BTreeSet::new(),
            subscriptions: BTreeSet::new(),
            is_stopped: false,
            script: Script {
                seed,
                start_ns: now.as_nanos(),
                config: config.clone(),
                state: None,
                lines: Vec::new(),
            },
        }
    }

    pub(super) const fn script(&self) -> &Script {
        &self.script
    }

    pub(super) fn is_subscribed(&self, topic: &Topic) -> bool {
        *topic == Topic::Everyone || self.subscriptions.contains(topic)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout().filter(|_| !self.is_stopped)
    }

    /// The connection that a byte names, open or not.
    pub(super) fn conn(&self, byte: u8) -> Option<ConnId> {
        let place = usize::from(byte).checked_rem(self.links.len())?;
        self.links.keys().nth(place).copied()
    }

    /// A connection that has not been there, in a place that is free.
    pub(super) fn new_conn(&mut self, byte: u8) -> Option<ConnId> {
        let slot = u32::from(byte) % SLOTS;
        let is_free = self.links.keys().all(|conn| conn.slot() != slot);
        let generation = self.generations.get_mut(slot as usize).filter(|_| is_free)?;
        *generation += 1;
        let conn = ConnId::new(slot, *generation);
        self.links.insert(conn, Link::default());
        Some(conn)
    }

    /// Whether something can still come from a connection: of one that is being closed, what was read before.
    pub(super) fn is_heard(&self, conn: ConnId) -> bool {
        self.links.get(&conn).is_some_and(|link| !link.is_deaf && !link.is_aborted)
    }

    /// Nothing more is read from it.
    pub(super) fn deafen(&mut self, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.is_deaf = true;
        }
    }

    /// Writes so many frames; none if there is nothing to write.
    pub(super) fn flush(&mut self, conn: ConnId, most: usize) -> Option<Event> {
        let link = self.links.get_mut(&conn).filter(|link| !link.is_aborted)?;
        let written: Vec<Frame> = link.waiting.drain(..most.min(link.waiting.len())).collect();
        let (frames, payload_bytes) =
            (written.len() as u32, written.iter().map(|frame| frame.payload().len() as u64).sum());
        link.pings.extend(written.into_iter().filter(|frame| matches!(frame, Frame::Ping(_))));
        (frames > 0).then_some(Event::Flushed { conn, frames, payload_bytes })
    }

    /// The answer to the oldest Ping that has arrived.
    pub(super) fn pong(&mut self, conn: ConnId) -> Option<Event> {
        let ping = self.links.get_mut(&conn)?.pings.pop_front()?;
        Some(Event::Pong { conn, payload: ping.payload().clone() })
    }

    /// Answers a request.
    pub(super) fn answered(&mut self, now: Instant, place: usize, answer: Answer) -> Vec<OwnedAction> {
        let Asked { ticket, name, .. } = self.asked.remove(place);
        let line = What::Answer { to: name, answer: answer.clone() };
        self.tell(now, &Cause::Event(Event::Answered { ticket, answer }), line)
    }

    /// Tells it an event that is no answer. What it wants said to others is given.
    pub(super) fn handle(&mut self, now: Instant, event: Event) -> Vec<OwnedAction> {
        let line = What::Event(event.clone());
        self.tell(now, &Cause::Event(event), line)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<OwnedAction> {
        self.tell(now, &Cause::Timeout, What::Timeout)
    }

    fn tell(&mut self, now: Instant, cause: &Cause, what: What) -> Vec<OwnedAction> {
        if self.is_stopped {
            return Vec::new();
        }
        let id = self.script.lines.len() as u32 + 1;
        self.script.lines.push(Line { id, at_ns: now.as_nanos(), what });
        let actions = told(&mut self.server, now, cause);
        let twin = told(&mut self.twin, now, cause);
        assert!(
            actions == twin,
            "told the same, one does {actions:?} and the other {twin:?}\n{}",
            self.script
        );
        if let Some(player) = &mut self.judged {
            player.tell(now, cause);
            assert!(player.actions() == actions, "the third does {:?}\n{}", player.actions(), self.script);
            if let Some(violation) = player.violation() {
                panic!("{violation}\n{}", self.script);
            }
        } else if let Err(broken) = self.server.check_invariants() {
            panic!("{}: {}\n{}", broken.invariant, broken.what, self.script);
        }
        if id.is_multiple_of(16) {
            self.compare();
        }
        if let Cause::Event(Event::Disconnected { conn }) = cause {
            self.links.remove(conn);
        }
        let mut nth = 0;
        for action in &actions {
            self.take(action, id, &mut nth);
        }
        let is_late =
            matches!(cause, Cause::Timeout) && self.server.poll_timeout().is_some_and(|next| next <= now);
        assert!(!is_late, "what was due at {now:?} is still due\n{}", self.script);
        actions
    }

    /// Takes note of what it wants, which must be what the contract says.
    fn take(&mut self, action: &OwnedAction, line: u32, nth: &mut u32) {
        let script = &self.script;
        assert!(!self.is_stopped, "{action:?} follows the end\n{script}");
        match action {
            OwnedAction::Send { to, frame } => {
                let once: BTreeSet<_> = to.iter().collect();
                assert!(!to.is_empty() && once.len() == to.len(), "{to:?} are sent {frame:?}\n{script}");
                for conn in to {
                    let link = self.links.get_mut(conn).filter(|link| !link.is_closing && !link.is_aborted);
                    let link = link.unwrap_or_else(|| panic!("{conn} is sent {frame:?}\n{script}"));
                    link.waiting.push_back(frame.clone());
                }
            }
            OwnedAction::Close { conn, .. } => {
                let link = self.links.get_mut(conn).filter(|link| !link.is_closing && !link.is_aborted);
                link.unwrap_or_else(|| panic!("{conn} is closed\n{script}")).is_closing = true;
            }
            OwnedAction::Abort { conn } => {
                let link = self.links.get_mut(conn).filter(|link| !link.is_aborted);
                link.unwrap_or_else(|| panic!("{conn} is cut off\n{script}")).is_aborted = true;
            }
            OwnedAction::Request { ticket, request } => {
                assert!(self.tickets.insert(*ticket), "{ticket:?} is given twice\n{script}");
                let name = Ask::Of { line, nth: *nth };
                *nth += 1;
                let (ticket, request) = (*ticket, request.clone());
                self.asked.push(Asked { ticket, request, answer: None, name });
            }
            OwnedAction::Publish(_) | OwnedAction::Tell(_) => {
                assert!(script.config.peers, "{action:?} without peers\n{script}");
            }
            OwnedAction::Subscribe(topic) => {
                let is_new = self.subscriptions.insert(topic.clone());
                assert!(is_new && script.config.peers, "{topic:?} is subscribed to\n{script}");
            }
            OwnedAction::Unsubscribe(topic) => {
                assert!(self.subscriptions.remove(topic), "{topic:?} is unsubscribed from\n{script}");
            }
            OwnedAction::Stopped => self.is_stopped = true,
        }
    }

    /// From here on the twin is one that goes on from a snapshot of this engine.
    pub(super) fn restore(&mut self) {
        let snapshot = self.server.snapshot();
        let judged = self.judged.as_mut().map(Player::snapshot);
        let script = &self.script;
        let Ok(snapshot) = snapshot else { panic!("no snapshot between two events\n{script}") };
        assert!(judged.is_none_or(|judged| judged.as_ref() == Some(&snapshot)), "other snapshots\n{script}");
        let twin = Server::restore(&snapshot);
        self.twin = twin.unwrap_or_else(|error| panic!("{error}, and it has just written it\n{script}"));
        self.compare();
    }

    fn compare(&self) {
        let (server, twin) = (&self.server, &self.twin);
        let script = &self.script;
        assert_eq!(server.full_digest(), twin.full_digest(), "of two that were told the same\n{script}");
        assert_eq!(server.state_digest(), twin.state_digest(), "of two that were told the same\n{script}");
        assert_eq!(server.poll_timeout(), twin.poll_timeout(), "of two that were told the same\n{script}");
        assert_eq!(server.gauges(), twin.gauges(), "of two that were told the same\n{script}");
        assert_eq!(server.stats(), twin.stats(), "of two that were told the same\n{script}");
    }
}

fn told(server: &mut Server, now: Instant, cause: &Cause) -> Vec<OwnedAction> {
    match cause {
        Cause::Event(event) => server.handle(now, event.clone()),
        Cause::Timeout => server.handle_timeout(now),
    }
    let mut actions = Vec::new();
    while let Some(action) = server.poll_action() {
        actions.push(OwnedAction::from(action));
    }
    actions
}
