//! A model of the server that the classic front-end was written for: a Go process with one hub task, two tasks
//! per connection, and unbuffered channels between them. It takes the events and gives the actions of
//! [`switchboard_engine::Server`], so it can stand where that stands, and the same worlds and checks show what
//! goes wrong in it. `docs/original.md` lists its faults.
//!
//! The model keeps what decides the outcome: which task holds which message, who waits for whom at which
//! channel, the one map by user name, the WebSocket library's one write buffer per connection, the kernel's
//! buffer. One step of one task happens at a time; which of the tasks that can run takes the next step is
//! drawn from the seed, as Go's scheduler would choose. So a schedule and a seed repeat a race exactly.
//!
//! What it leaves out: HTTP, login, history and the names of stored files, which are not the hub's; the look-ups
//! of numeric ids before a message is stored, which take time but decide nothing here. The engine's
//! stores do not list a group's members, so the hub asks for the profile of every user that it has registered.

mod channel;
mod client;
mod hub;
mod loops;
mod table;
mod wire;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use core::time::Duration;
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng as _, SeedableRng as _},
};
use switchboard_engine::{
    Action, CloseReason, ConnId, Event, Frame, Instant, Record, Request, Ticket, Topic, UserId,
};

use self::{
    channel::{Channel, Panic, Received, Sent},
    client::{Client, Ended, Handshake, Inbound, Reader},
    hub::{Hub, Mail},
};

pub use self::{hub::Waiting, table::Table};

/// What the kernel takes for a connection whose peer does not read, unless told otherwise.
pub const SOCKET_BYTES: u64 = 4096;

/// The shortest and longest time that one step of a task takes, in nanoseconds.
const STEP_NANOS: core::ops::RangeInclusive<u64> = 200..=2_000;

/// Something that Go's scheduler can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Hub,
    Handshake(ConnId),
    Reader(ConnId),
    Writer(ConnId),
    Consumer,
}

/// An action, owned until the driver takes it.
#[derive(Debug)]
enum Effect {
    Send { to: ConnId, frame: Frame },
    Close { conn: ConnId },
    Abort { conn: ConnId },
    Request { ticket: Ticket, request: Request },
    Publish(Bytes),
    Stopped,
}

/// Whether the process lives.
///
/// `Running ──► Died` by a panic, `Running ──► Stopping ──► Stopped` by a signal.
#[derive(Debug, PartialEq, Eq)]
enum Life {
    Running,
    Died(&'static str),
    Stopping,
    Stopped,
}

/// The task that takes records from the bus to the hub.
#[derive(Debug, Default)]
struct Consumer {
    records: VecDeque<Bytes>,
    busy: bool,
}

/// The original server's process. Driven like [`switchboard_engine::Server`]: handle an event, drain
/// [`OriginalHub::poll_action`], call [`OriginalHub::handle_timeout`] when [`OriginalHub::poll_timeout`] says.
///
/// ```
/// use switchboard_engine::{ConnId, Event, Instant, Protocol, UserId};
/// use switchboard_sim::original::OriginalHub;
///
/// /// Alice's connection is lost, and she reconnects at the same moment.
/// fn alice_reconnects(seed: u64) -> OriginalHub {
///     let mut hub = OriginalHub::new(seed, Instant::ZERO);
///     let run = |hub: &mut OriginalHub| {
///         while let Some(at) = hub.poll_timeout() {
///             hub.handle_timeout(at);
///             // A real driver carries the actions out.
///             while hub.poll_action().is_some() {}
///         }
///     };
///     let alice = UserId::new("alice").expect("a valid id");
///     let (old, new) = (ConnId::new(0, 1), ConnId::new(0, 2));
///     hub.handle(Instant::ZERO, Event::Connected { conn: old, user: alice.clone(), protocol: Protocol::Classic });
///     run(&mut hub);
///     let now = Instant::from_nanos(1_000_000);
///     hub.handle(now, Event::Disconnected { conn: old });
///     hub.handle(now, Event::Connected { conn: new, user: alice, protocol: Protocol::Classic });
///     run(&mut hub);
///     hub
/// }
///
/// let deaths = (0..100).filter(|seed| alice_reconnects(*seed).died() == Some("close of closed channel"));
/// assert!((1..100).contains(&deaths.count()));
/// ```
#[derive(Debug)]
pub struct OriginalHub {
    now: Instant,
    next_step: Option<Instant>,
    rng: Xoshiro256PlusPlus,
    /// The one map by user name.
    registered: BTreeMap<UserId, ConnId>,
    clients: BTreeMap<ConnId, Client>,
    register: Channel<ConnId>,
    unregister: Channel<ConnId>,
    broadcast: Channel<Bytes>,
    hub: Hub,
    consumer: Consumer,
    /// Tasks that can take a step, each once.
    ready: Vec<Task>,
    effects: VecDeque<Effect>,
    lent: [ConnId; 1],
    tickets: u64,
    /// The database numbers its rows by itself. Here this and the number of the message make an id that no
    /// other process gives.
    process: u64,
    messages: u64,
    life: Life,
    on_bus: bool,
    socket_bytes: u64,
}

impl OriginalHub {
    /// A process without connections that hands messages to its hub directly.
    ///
    /// `seed` makes the scheduler's choices, the order of the map, and the time that each step takes.
    #[must_use]
    pub fn new(seed: u64, now: Instant) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let process = rng.next_u64();
        Self {
            now,
            next_step: None,
            rng,
            registered: BTreeMap::new(),
            clients: BTreeMap::new(),
            register: Channel::default(),
            unregister: Channel::default(),
            broadcast: Channel::default(),
            hub: Hub::default(),
            consumer: Consumer::default(),
            ready: vec![Task::Hub],
            effects: VecDeque::new(),
            lent: [ConnId::new(0, 0)],
            tickets: 0,
            process,
            messages: 0,
            life: Life::Running,
            on_bus: false,
            socket_bytes: SOCKET_BYTES,
        }
    }

    /// The same as one of several processes: readers publish what they receive, and every process, their own
    /// too, hands what was published to its hub.
    #[must_use]
    pub const fn on_bus(mut self) -> Self {
        self.on_bus = true;
        self
    }

    /// The same with another buffer of the kernel for each connection, in payload bytes beyond which a write
    /// waits. Zero where [`Event::Flushed`] tells what a kernel's buffer of the driver's has taken.
    #[must_use]
    pub const fn socket_bytes(mut self, bytes: u64) -> Self {
        self.socket_bytes = bytes;
        self
    }

    /// Takes note of an event. Tasks that it wakes take their steps at [`OriginalHub::handle_timeout`].
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::Disconnected { conn } => self.disconnected(conn),
            // Nobody listens any more.
            Event::Connected { conn, .. } if self.life != Life::Running => {
                self.effects.push_back(Effect::Abort { conn });
            }
            _ if self.life != Life::Running => {}
            Event::Connected { conn, user, .. } => {
                self.clients.insert(conn, Client::new(user, self.socket_bytes));
                self.wake(Task::Handshake(conn));
            }
            Event::Received { conn, message } => self.arrived(conn, Inbound::Message(message)),
            Event::Ping { conn, payload } => self.arrived(conn, Inbound::Ping(payload)),
            Event::PeerClosed { conn } => self.arrived(conn, Inbound::Close),
            Event::Misbehaved { conn, fault: _ } => self.arrived(conn, Inbound::Error),
            Event::Flushed { conn, frames: _, payload_bytes } => self.flushed(conn, payload_bytes),
            Event::Answered { ticket, answer } => self.answered(ticket, answer),
            Event::Published(record) => self.consume(record.message),
            Event::Shutdown => self.end(Life::Stopping),
            // A Pong is read and forgotten; the directory is asked anew for every message.
            Event::Pong { .. } | Event::DirectoryChanged(_) | Event::Told(_) => {}
            // Nobody can do that there.
            Event::Revoked { .. } | Event::Announced { .. } => {}
        }
        self.schedule();
    }

    /// The next thing to do; none when everything that followed from the last call has been told.
    pub fn poll_action(&mut self) -> Option<Action<'_>> {
        Some(match self.effects.pop_front()? {
            Effect::Send { to, frame } => {
                self.lent = [to];
                Action::Send { to: &self.lent, frame }
            }
            Effect::Close { conn } => Action::Close { conn, reason: CloseReason::PeerClosed },
            Effect::Abort { conn } => Action::Abort { conn },
            Effect::Request { ticket, request } => Action::Request { ticket, request },
            Effect::Publish(message) => {
                Action::Publish(Record { topic: Topic::Everyone, stored: None, message })
            }
            Effect::Stopped => Action::Stopped,
        })
    }

    /// When the next step of a task happens, if any task can run.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.next_step
    }

    /// Takes one step of one task, if its time has come. Calling it early or late is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.next_step.take_if(|at| *at <= now).is_some() && !self.ready.is_empty() {
            let chosen = self.draw(self.ready.len());
            let task = self.ready.swap_remove(chosen);
            if let Err(Panic(text)) = self.step(task) {
                self.end(Life::Died(text));
            }
        }
        self.schedule();
    }

    /// The panic that has ended the process, in Go's words.
    #[must_use]
    pub const fn died(&self) -> Option<&str> {
        match self.life {
            Life::Died(text) => Some(text),
            Life::Running | Life::Stopping | Life::Stopped => None,
        }
    }

    /// What the hub waits for; none while it can run, and when the process has ended.
    #[must_use]
    pub fn hub_waits_for(&self) -> Option<Waiting> {
        if self.life == Life::Running { self.hub.waiting() } else { None }
    }

    /// Whether the hub waits for one client or the store, so that everybody else waits for the hub.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        matches!(self.hub_waits_for(), Some(Waiting::HandOver(_) | Waiting::Store(_)))
    }

    /// Tasks that exist, running or waiting, the hub among them: what the process leaks shows here.
    #[must_use]
    pub fn tasks(&self) -> usize {
        if self.life != Life::Running {
            return 0;
        }
        1 + usize::from(self.consumer.busy) + self.clients.values().map(Client::live_tasks).sum::<usize>()
    }

    /// The connection to which the hub sends what is for this user.
    #[must_use]
    pub fn registered(&self, user: &UserId) -> Option<ConnId> {
        self.registered.get(user).copied()
    }

    fn step(&mut self, task: Task) -> Result<(), Panic> {
        match task {
            Task::Hub => self.hub_step(),
            Task::Handshake(conn) => self.handshake_step(conn),
            Task::Reader(conn) => self.reader_step(conn),
            Task::Writer(conn) => self.writer_step(conn),
            Task::Consumer => self.consumer_step(),
        }
    }

    fn wake(&mut self, task: Task) {
        debug_assert!(!self.ready.contains(&task), "{task:?} is woken twice");
        self.ready.push(task);
    }

    fn schedule(&mut self) {
        if self.life != Life::Running || self.ready.is_empty() {
            self.next_step = None;
        } else if self.next_step.is_none() {
            let range = STEP_NANOS.end() - STEP_NANOS.start() + 1;
            let nanos = STEP_NANOS.start() + self.rng.next_u64() % range;
            self.next_step = Some(self.now + Duration::from_nanos(nanos));
        }
    }

    /// A number below `bound`, which is above zero.
    fn draw(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.rng.next_u64() % bound).unwrap_or(0)
    }

    fn arrived(&mut self, conn: ConnId, inbound: Inbound) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.socket.ended == Ended::Gone {
            return;
        }
        client.socket.inbox.push_back(inbound);
        if matches!(client.reader, Reader::Waiting) {
            client.reader = Reader::Read;
            self.wake(Task::Reader(conn));
        }
    }

    fn flushed(&mut self, conn: ConnId, payload_bytes: u64) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        client.socket.sent(payload_bytes);
        if client.socket.ended == Ended::Closed && client.socket.is_drained() && !client.socket.close_sent {
            self.effects.push_back(Effect::Abort { conn });
        }
        self.unblock(conn);
    }

    /// Lets a write go on that waited for room, or for the connection's end.
    fn unblock(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.socket.is_full() {
            return;
        }
        if let Some(task) = client.socket.blocked.take() {
            self.wake(task);
        }
    }

    fn disconnected(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.socket.ended == Ended::Closed {
            // What had arrived cannot be read from a socket that this process has closed.
            client.socket.inbox.clear();
        }
        if self.life != Life::Running {
            self.clients.remove(&conn);
            self.stopped_if_empty();
            return;
        }
        self.arrived(conn, Inbound::Error);
        if let Some(client) = self.clients.get_mut(&conn) {
            client.socket.ended = Ended::Gone;
        }
        self.unblock(conn);
        self.forget_if_over(conn);
    }

    fn forget_if_over(&mut self, conn: ConnId) {
        if self.clients.get(&conn).is_some_and(Client::is_over) {
            self.clients.remove(&conn);
        }
    }

    /// The process ends: the kernel resets every connection, and no task takes another step.
    fn end(&mut self, life: Life) {
        self.life = life;
        self.ready.clear();
        self.registered.clear();
        self.clients.retain(|_, client| client.socket.ended != Ended::Gone);
        for conn in self.clients.keys() {
            self.effects.push_back(Effect::Abort { conn: *conn });
        }
        self.stopped_if_empty();
    }

    fn stopped_if_empty(&mut self) {
        if self.life == Life::Stopping && self.clients.is_empty() {
            self.life = Life::Stopped;
            self.effects.push_back(Effect::Stopped);
        }
    }
}
