//! A shard: one thread with its own engine, connections and timers.
//!
//! ```text
//!             readable                        handle          poll_action
//!   socket ─────────────► connection task ──────────► engine ─────────────► outboxes ──┐
//!   gateway, store, bus ► mailbox task ─────────────►   │                              │ end of the turn
//!   deadline ───────────► timer task ───────────────►   └► store, files, bus           ▼
//!   socket ◄─────────────────────────────────────────────────────────────────── flush task
//! ```
//!
//! All tasks of a shard run on one thread and share one [`State`], so between a frame's arrival and its
//! recipients' outboxes there is no channel, lock or task switch. The flush task runs after the tasks that
//! are ready in the same turn: frames that they have for one connection leave in one system call.

mod connection;
mod socket;
mod sockets;
mod state;

use std::{
    cell::{RefCell, RefMut},
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use switchboard_engine::{Event, Instant, Protocol, Server, ServerConfig, UserId};
use tokio::sync::{Notify, mpsc, oneshot};

use self::state::State;
use super::bus::{Bus, Inbox};
use crate::clock::Clock;
use crate::store::{StoreEvent, StoreHandle};

/// Events that the mailbox task takes at a time before the others get their turn.
const MAIL_PER_TURN: usize = 256;

/// Connections on their way from the gateway to one shard.
const HANDOVER_QUEUE: usize = 1024;

/// What a shard is made of.
pub(crate) struct ShardParts {
    pub(crate) index: usize,
    pub(crate) config: ServerConfig,
    /// Bytes of unfinished incoming messages of all connections together.
    pub(crate) receive_budget_bytes: usize,
    /// How long frames wait for others before they are written.
    pub(crate) write_delay: Duration,
    pub(crate) clock: Clock,
    pub(crate) store: StoreHandle,
    pub(crate) media: StoreHandle,
    pub(crate) bus: Arc<Bus>,
}

/// What comes to a shard from other threads, besides connections.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) inbox: Inbox,
    pub(crate) store_events: mpsc::UnboundedReceiver<StoreEvent>,
}

/// A WebSocket connection fresh from its handshake.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) user: UserId,
    /// What was agreed on in the handshake.
    pub(crate) protocol: Protocol,
    /// What was read together with the handshake's request.
    pub(crate) read_ahead: Bytes,
    /// Counts it among the shard's connections until it is gone.
    pub(crate) place: Place,
}

/// A connection's place among those that its shard may have; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    taken: Arc<AtomicU32>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way for new connections to a running shard.
#[derive(Debug)]
pub(crate) struct ShardDoor {
    connections: mpsc::Sender<NewConnection>,
    taken: Arc<AtomicU32>,
    limit: u32,
}

impl ShardDoor {
    /// Takes a place for a connection, if there is one.
    pub(crate) fn place(&self) -> Option<Place> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place { taken: Arc::clone(&self.taken) };
        (taken < self.limit).then_some(place)
    }

    /// The way for new connections.
    pub(crate) fn connections(&self) -> mpsc::Sender<NewConnection> {
        self.connections.clone()
    }

    /// How many connections the shard has.
    pub(crate) fn connected(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// The thread of a shard.
#[derive(Debug)]
pub(crate) struct ShardThread {
    stop: Option<oneshot::Sender<()>>,
    thread: thread::JoinHandle<()>,
}

impl ShardThread {
    /// Asks the shard to close its connections and end. Its end is reported as any other.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Whether the thread, which must have reported its end, ended without a panic.
    pub(crate) fn ended_well(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// Starts a shard on a thread of its own. Its index is sent to `ended` when the thread ends, whatever the
/// reason.
pub(crate) fn start(
    parts: ShardParts,
    mail: Mail,
    ended: mpsc::Sender<usize>,
) -> io::Result<(ShardDoor, ShardThread)> {
    let (connections, new_connections) = mpsc::channel(HANDOVER_QUEUE);
    let (stop, stopped) = oneshot::channel();
    let limit = parts.config.limits.connections;
    let thread = thread::Builder::new().name(format!("shard-{}", parts.index)).spawn(move || {
        let _ended = Ended { shard: parts.index, report: ended };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build_local(tokio::runtime::LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(run(parts, mail, new_connections, stopped)),
            Err(error) => tracing::error!(%error, "cannot start a shard's event loop"),
        }
    })?;
    let door = ShardDoor { connections, taken: Arc::default(), limit };
    Ok((door, ShardThread { stop: Some(stop), thread }))
}

/// Reports a shard's end, even that by a panic.
struct Ended {
    shard: usize,
    report: mpsc::Sender<usize>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.report.try_send(self.shard);
    }
}

/// What the tasks of a shard share.
struct Shard {
    state: RefCell<State>,
    /// There is something to flush.
    flush: Notify,
    /// The next deadline has moved nearer.
    deadline: Notify,
}

impl Shard {
    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Tells the engine what happened, and does what it asks for.
    fn handle(&self, event: Event) {
        let mut state = self.state();
        state.handle(event);
        self.after(&mut state);
    }

    /// Wakes the tasks that the last event has given work.
    fn after(&self, state: &mut State) {
        if state.wants_flush() {
            self.flush.notify_one();
        }
        if state.deadline_moved() {
            self.deadline.notify_one();
        }
    }
}

async fn run(
    parts: ShardParts,
    mail: Mail,
    new_connections: mpsc::Receiver<NewConnection>,
    stop: oneshot::Receiver<()>,
) {
    let seed = match getrandom::u64() {
        Ok(seed) => seed,
        Err(error) => return tracing::error!(%error, "cannot have a seed from the operating system"),
    };
    let (index, write_delay) = (parts.index, parts.write_delay);
    let engine = Server::new(parts.config.clone(), seed, parts.clock.now());
    let shard = Rc::new(Shard {
        state: RefCell::new(State::new(engine, parts)),
        flush: Notify::new(),
        deadline: Notify::new(),
    });
    tokio::task::spawn_local(flush(Rc::clone(&shard), write_delay));
    tokio::task::spawn_local(timer(Rc::clone(&shard)));
    mailbox(&shard, new_connections, mail, stop).await;
    shard.state().send();
    tracing::info!(shard = index, "counted: {}", shard.state().summary());
}

/// Takes what comes from other threads, until the engine has stopped.
async fn mailbox(
    shard: &Rc<Shard>,
    mut connections: mpsc::Receiver<NewConnection>,
    mail: Mail,
    mut stop: oneshot::Receiver<()>,
) {
    let Mail { inbox, store_events: mut store } = mail;
    let mut new_connections = Vec::new();
    let mut store_events = Vec::new();
    let mut records = Vec::new();
    let stopped = shard.state().stopped();
    let mut stopping = false;
    loop {
        tokio::select! {
            () = stopped.notified() => return,
            // A sender that is gone stops the shard as well as one that says so.
            _ = &mut stop, if !stopping => {
                stopping = true;
                shard.handle(Event::Shutdown);
            }
            n = store.recv_many(&mut store_events, MAIL_PER_TURN), if !store.is_closed() || !store.is_empty() => {
                if n == 0 { continue }
                store_events.drain(..).for_each(|event| take_store_event(shard, event));
            }
            () = inbox.receive(&mut records, MAIL_PER_TURN) => {
                records.drain(..).for_each(|record| shard.handle(record.into()));
            }
            n = connections.recv_many(&mut new_connections, MAIL_PER_TURN), if !connections.is_closed() || !connections.is_empty() => {
                if n == 0 { continue }
                new_connections.drain(..).for_each(|new| connection::open(shard, new));
            }
        }
    }
}

fn take_store_event(shard: &Shard, event: StoreEvent) {
    match event {
        StoreEvent::Answers(answers) => {
            for (ticket, answer) in answers {
                shard.handle(Event::Answered { ticket, answer });
            }
        }
        StoreEvent::Directory(changes) => {
            changes.into_iter().for_each(|change| shard.handle(Event::DirectoryChanged(change)));
        }
    }
}

/// Writes at the end of every turn that has put something into outboxes, or so much later.
async fn flush(shard: Rc<Shard>, delay: Duration) {
    loop {
        shard.flush.notified().await;
        shard.state().send();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut state = shard.state();
        state.flush();
        // What was written may have led to more.
        state.send();
        shard.after(&mut state);
    }
}

/// Waits for the engine's next deadline.
async fn timer(shard: Rc<Shard>) {
    loop {
        let (deadline, clock) = shard.state().arm();
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(clock.system(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {
                let mut state = shard.state();
                if deadline.is_some_and(|at: Instant| at <= clock.now()) {
                    state.handle_timeout();
                }
                shard.after(&mut state);
            }
            () = shard.deadline.notified() => {}
        }
    }
}
