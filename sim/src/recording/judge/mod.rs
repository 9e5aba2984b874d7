//! What must hold of a server of which only its events and actions are known: no world is around it, nobody knows who its users
//! are or what they say.
//!
//! | check | it holds that |
//! | --- | --- |
//! | `takeover` | nothing is sent to a connection that is not there, not welcomed, or closed; a late event leads to nothing; of too many connections the oldest goes |
//! | `accounting` | frames are flushed or waiting, connections counted, subscriptions begun before they end, one after the other; and `Server::check_invariants` |
//! | `bounded` | outboxes and connections of a user stay within their limits; who is silent, and who is closed, does not stay; no deadline is passed over |
//! | `no-spoof` | what a connection says is stored and passed on as its user's |
//! | `no-leak` | messages reach their two users, or the members of their group, as far as the directory has told of them; pages and heads who asked |
//! | `accepted-is-durable` | nothing is accepted or delivered that the store has not answered for |
//! | `one-order` | messages of one connection are delivered in their order |
//! | `exactly-once` | nobody is sent one frame twice, and nothing again that was stored earlier |
//! | `delivery` | what is stored is sent in that very event to all who are here, and to the bus; who submits is answered |
//!
//! Where it cannot be certain it says nothing: of users that are being loaded, of sessions that lag, of classic clients that
//! may have missed something, and of what a recording that begins in the middle does not tell.

mod concerns;
mod frames;
mod members;
mod messages;
mod seats;

use std::collections::{BTreeMap, BTreeSet};

use switchboard_engine::{
    ConnId, Event, Instant, OwnedAction, Probe, Protocol, Request, Server, ServerConfig, Ticket, Topic,
    UserId,
};

use self::members::Members;
use self::messages::{Messages, Turn};
use self::seats::{Seat, Seats};
use super::player::Cause;

/// Whether something holds: if not, the check and what was seen.
pub(super) type Held = Result<(), (&'static str, String)>;

/// One step, and what it has led to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    /// The engine's time.
    pub(super) now: Instant,
    pub(super) cause: &'a Cause,
    pub(super) actions: &'a [OwnedAction],
}

impl Moment<'_> {
    /// The connection that the event is about.
    pub(super) const fn conn(&self) -> Option<ConnId> {
        match self.cause {
            Cause::Event(event) => conn_of(event),
            Cause::Timeout => None,
        }
    }

    const fn is_received(&self) -> bool {
        matches!(self.cause, Cause::Event(Event::Received { .. }))
    }
}

/// The connection that an event is about.
#[must_use]
pub const fn conn_of(event: &Event) -> Option<ConnId> {
    match event {
        Event::Connected { conn, .. }
        | Event::Received { conn, .. }
        | Event::Ping { conn, .. }
        | Event::Pong { conn, .. }
        | Event::Misbehaved { conn, .. }
        | Event::PeerClosed { conn }
        | Event::Flushed { conn, .. }
        | Event::Disconnected { conn } => Some(*conn),
        Event::Answered { .. }
        | Event::Published(_)
        | Event::Told(_)
        | Event::DirectoryChanged(_)
        | Event::Revoked { .. }
        | Event::Announced { .. }
        | Event::Shutdown => None,
    }
}

/// Everything that was seen of one server.
#[derive(Clone, Debug)]
pub struct Judge {
    config: ServerConfig,
    /// Since when; of what was before nothing is known.
    is_resumed: bool,
    seats: Seats,
    members: Members,
    messages: Messages,
    /// Requests that wait for their answer, and since when.
    requests: BTreeMap<Ticket, (Request, Instant)>,
    subscriptions: BTreeSet<Topic>,
    /// What the answer of this event was for.
    answered: Option<Request>,
    was_timeout: bool,
    is_stopping: bool,
    driver_faults: u64,
}

impl Judge {
    /// Of a server that nothing has happened to.
    #[must_use]
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            config: config.clone(),
            is_resumed: false,
            seats: Seats::default(),
            members: Members::new(config.limits.groups_per_user),
            messages: Messages::default(),
            requests: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            answered: None,
            was_timeout: false,
            is_stopping: false,
            driver_faults: 0,
        }
    }

    /// Of a server with a past.
    #[must_use]
    pub(super) fn resumed<P: Probe>(server: &Server<P>) -> Self {
        let mut judge = Self::new(server.config());
        judge.is_resumed = true;
        judge.driver_faults = server.stats().driver_faults;
        for connection in server.connections() {
            judge.seats.add(Seat::resumed(&connection));
            if let Some(user) = connection.user {
                judge.members.resumed(user, &connection, server);
            }
        }
        judge
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.seats.len() as u64
    }

    /// Whose a connection is.
    #[must_use]
    pub fn user(&self, conn: ConnId) -> Option<&UserId> {
        self.seats.get(conn).and_then(|seat| seat.user.as_ref())
    }

    /// Whether a connection speaks the session protocol.
    #[must_use]
    pub fn is_session(&self, conn: ConnId) -> bool {
        self.seats.get(conn).is_some_and(|seat| seat.is_session)
    }

    /// The request that this answer is for, if it is waited for.
    #[must_use]
    pub fn request(&self, ticket: Ticket) -> Option<&Request> {
        self.requests.get(&ticket).map(|(request, _)| request)
    }

    /// Requests that wait for their answer, and since when.
    pub fn requests(&self) -> impl Iterator<Item = (Ticket, &Request, Instant)> {
        self.requests.iter().map(|(ticket, (request, asked_at))| (*ticket, request, *asked_at))
    }

    /// What the last step answered.
    #[must_use]
    pub const fn answered(&self) -> Option<&Request> {
        self.answered.as_ref()
    }

    /// Looks at one step.
    pub(super) fn step<P: Probe>(&mut self, moment: &Moment<'_>, server: &Server<P>) -> Held {
        self.answered = None;
        self.seats.begin(moment.now);
        self.was_timeout = matches!(moment.cause, Cause::Timeout);
        let was_there = moment.conn().map(|conn| self.seats.get(conn).is_some());
        let turns = self.learn(moment, server);
        if was_there == Some(false) && !is_connected(moment) && !moment.actions.is_empty() {
            let what =
                format!("an event of a connection that is not there leads to {:?}", moment.actions.first());
            return Err(("takeover", what));
        }
        self.check_said(moment)?;
        for action in moment.actions {
            self.action(action, moment, &turns)?;
        }
        self.check_turns(moment, &turns, server)?;
        self.check_devices(moment)
    }

    /// Takes note of the event. Gives the messages whose turn it is.
    fn learn<P: Probe>(&mut self, moment: &Moment<'_>, server: &Server<P>) -> Vec<Turn> {
        let event = match moment.cause {
            Cause::Event(event) => event,
            Cause::Timeout => {
                let turns = self.expire(moment.now);
                self.members.perhaps_given_up(server);
                return turns;
            }
        };
        match event {
            Event::Connected { conn, user, protocol } => {
                let has_failed = server.stats().driver_faults > self.driver_faults;
                self.driver_faults = server.stats().driver_faults;
                if !has_failed {
                    self.seats.add(Seat::new(*conn, user, *protocol == Protocol::Session, moment.now));
                    self.members.come(user, *conn);
                }
            }
            Event::Received { conn, .. } | Event::Ping { conn, .. } | Event::Pong { conn, .. } => {
                self.seats.heard(*conn, moment.now);
            }
            Event::Flushed { conn, frames, .. } => self.seats.flushed(*conn, *frames),
            Event::Disconnected { conn } => {
                self.leave(*conn);
                self.seats.remove(*conn);
            }
            Event::Answered { ticket, answer } => {
                if let Some((request, _)) = self.requests.remove(ticket) {
                    self.members.answered(*ticket, &request, answer);
                    let turns = self.messages.answered(*ticket, &request, answer, self.is_resumed);
                    self.answered = Some(request);
                    return turns;
                }
                if self.is_resumed {
                    self.members.perhaps_given_up(server);
                }
            }
            Event::DirectoryChanged(change) => self.members.changed(change),
            Event::Shutdown => self.is_stopping = true,
            Event::Misbehaved { .. }
            | Event::PeerClosed { .. }
            | Event::Published(_)
            | Event::Told(_)
            | Event::Revoked { .. }
            | Event::Announced { .. } => {}
        }
        Vec::new()
    }

    /// What has not been answered in time is given up.
    fn expire(&mut self, now: Instant) -> Vec<Turn> {
        let late: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, (_, asked_at))| *asked_at + self.config.request_timeout <= now)
            .map(|(ticket, _)| *ticket)
            .collect();
        let mut turns = Vec::new();
        for ticket in late {
            if let Some((request, _)) = self.requests.remove(&ticket) {
                let failed = switchboard_engine::Answer::Failed;
                self.members.answered(ticket, &request, &failed);
                turns.extend(self.messages.answered(ticket, &request, &failed, self.is_resumed));
            }
        }
        turns
    }

    /// A connection is open no more.
    fn leave(&mut self, conn: ConnId) {
        if let Some(user) = self.seats.get(conn).and_then(|seat| seat.user.clone()) {
            self.members.leave(&user, conn);
        }
    }

    fn action(&mut self, action: &OwnedAction, moment: &Moment<'_>, turns: &[Turn]) -> Held {
        match action {
            OwnedAction::Send { to, frame } => self.check_frame(to, frame, moment, turns),
            OwnedAction::Close { conn, reason } => {
                self.leave(*conn);
                self.seats.close(*conn, *reason, moment.now)
            }
            OwnedAction::Abort { conn } => self.seats.abort(*conn),
            OwnedAction::Request { ticket, request } => self.ask(*ticket, request, moment),
            OwnedAction::Publish(record) => Self::check_published(record, turns),
            OwnedAction::Tell(_) | OwnedAction::Stopped => Ok(()),
            OwnedAction::Subscribe(topic) => {
                let is_new = self.subscriptions.insert(topic.clone());
                hold(is_new || self.is_resumed, "accounting", || format!("{topic:?} is subscribed to again"))
            }
            OwnedAction::Unsubscribe(topic) => {
                let was_there = self.subscriptions.remove(topic);
                hold(was_there || self.is_resumed, "accounting", || {
                    format!("{topic:?} is unsubscribed from, and was not subscribed to")
                })
            }
        }
    }

    fn ask(&mut self, ticket: Ticket, request: &Request, moment: &Moment<'_>) -> Held {
        self.members.asked(ticket, request);
        let origin = moment.conn().filter(|_| moment.is_received()).map(|conn| (conn, self.is_session(conn)));
        self.messages.asked(ticket, request, origin, self.answered.as_ref())?;
        let before = self.requests.insert(ticket, (request.clone(), moment.now));
        hold(before.is_none(), "accounting", || format!("the ticket {} is given out again", ticket.0))
    }

    /// What a connection says is its user's to say.
    fn check_said(&self, moment: &Moment<'_>) -> Held {
        let Some(seat) = moment.conn().filter(|_| moment.is_received()).and_then(|conn| self.seats.get(conn))
        else {
            return Ok(());
        };
        let Some(user) = &seat.user else { return Ok(()) };
        for action in moment.actions {
            let OwnedAction::Request { request, .. } = action else { continue };
            let (said_by, is_message) = match request {
                Request::StoreMessage(new) => (&new.sender, true),
                Request::StoreFile(upload) => (&upload.owner, true),
                Request::StoreMarks(marks) => (&marks.user, false),
                Request::LoadMessages(range) => (&range.reader, false),
                Request::LoadUser(_)
                | Request::LoadHeads { .. }
                | Request::StoreSeen(_)
                | Request::LoadSeen { .. }
                | Request::StoreReceived(_)
                | Request::LoadUnreceived { .. } => continue,
            };
            hold(said_by == user, "no-spoof", || {
                format!("{} of {user} asks the store as {said_by}", seat.id)
            })?;
            hold(!is_message || seat.is_welcomed, "protocol", || {
                format!("what {} says is stored, and it is not welcomed", seat.id)
            })?;
            if let Request::StoreMessage(new) = request
                && let switchboard_engine::Recipient::Group(group) = &new.recipient
                && new.subject == switchboard_engine::Subject::Message
                && !seat.is_session
            {
                hold(self.members.may(user, group), "no-leak", || {
                    format!("{user} writes to the group {group}, and is no member")
                })?;
            }
        }
        Ok(())
    }

    /// No user has more connections than may be, and the oldest of too many goes.
    fn check_devices(&self, moment: &Moment<'_>) -> Held {
        let Cause::Event(Event::Connected { conn, user, .. }) = moment.cause else { return Ok(()) };
        let open = self.members.connections(user);
        let limit = self.config.limits.connections_per_user as usize;
        hold(limit == 0 || open <= limit, "bounded", || {
            format!("{user} has {open} connections, and {limit} may be")
        })?;
        let is_closed = self.seats.closed_as(*conn, switchboard_engine::CloseReason::TooManyDevices);
        hold(!is_closed, "takeover", || format!("{conn} is closed for an older connection of {user}"))
    }

    /// Looks at everything.
    pub(super) fn sweep<P: Probe>(&self, server: &Server<P>) -> Held {
        let gauges = server.gauges();
        let pairs = [
            ("connections", gauges.connections, self.seats.len() as u64),
            ("unflushed frames", gauges.unflushed, self.seats.unflushed()),
        ];
        for (name, engine, seen) in pairs {
            hold(engine == seen, "accounting", || format!("{engine} {name} in the engine, {seen} seen"))?;
        }
        if self.was_timeout {
            let now = self.seats.now();
            self.seats.check_silent(&self.config)?;
            let is_overdue = server.poll_timeout().is_some_and(|due| due < now);
            hold(!is_overdue, "bounded", || "a deadline has passed and stays the next one".to_owned())?;
        }
        // A user who has gone may still have something to route.
        let is_known = gauges.users == self.members.len() as u64;
        if self.config.peers && !self.is_resumed && is_known {
            self.members.check_subscriptions(&self.subscriptions, |conn| {
                self.seats.get(conn).is_some_and(|seat| seat.is_welcomed)
            })?;
        }
        Ok(())
    }
}

fn is_connected(moment: &Moment<'_>) -> bool {
    matches!(moment.cause, Cause::Event(Event::Connected { .. }))
}

/// Says what is wrong if this is.
pub(super) fn hold(holds: bool, check: &'static str, what: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err((check, what())) }
}
