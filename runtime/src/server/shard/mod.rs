//! A shard: one thread with its own engine, connections and timers.
//!
//! ```text
//!             readable                       handle          poll_action
//!   socket ───────────► read, cut ───────────────────► engine ─────────────► frames ───┐
//!   gateway, store, bus ► mailbox, inbox ────────────►   │                             │ end of the turn
//!   deadline ────────────────────────────────────────►   └► store, files, bus          ▼
//!   socket ◄─────────────────────────────────────────────────────────────── one write for each
//! ```
//!
//! The thread is a loop of turns ([`Turns`]): it waits until something has come, does all of it, and writes. There is no task, and
//! between a frame's arrival and its recipients no channel, lock or wake-up. What a turn has for one connection leaves in one
//! system call.

mod connection;
#[cfg(test)]
mod echo;
mod engine;
mod frames;
mod logins;
mod mailbox;
mod orders;
mod socket;
mod sockets;
mod state;
mod tls;
mod turn;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use mio::Poll;
use switchboard_engine::ServerConfig;
use tokio::sync::mpsc;

pub(crate) use self::{
    logins::{Login, Which},
    mailbox::{Figures, Mailbox, NewConnection, Question},
    orders::Order,
};
use self::{state::State, turn::Turns};
use super::bus::{Bus, Inbox};
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::recorder::{RecorderDesk, Sitting};
use crate::store::StoreHandle;

/// What a shard is made of.
pub(crate) struct ShardParts {
    pub(crate) index: usize,
    /// How many shards there are.
    pub(crate) shards: usize,
    pub(crate) config: ServerConfig,
    /// Bytes of unfinished incoming messages of all connections together.
    pub(crate) receive_budget_bytes: usize,
    /// How long frames wait for others before they are written.
    pub(crate) write_delay: Duration,
    pub(crate) clock: Clock,
    pub(crate) store: StoreHandle,
    pub(crate) media: StoreHandle,
    pub(crate) bus: Arc<Bus>,
    /// From the turn in which frames came about to their having been written.
    pub(crate) latency: Arc<Histogram>,
    /// Who writes down what the engine is told.
    pub(crate) recorder: Option<RecorderDesk>,
}

/// What a shard waits with, and where others leave what is for it; there before the shard is.
#[derive(Debug)]
pub(crate) struct Reception {
    poll: Poll,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Reception {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mailbox = Arc::new(Mailbox::new(poll.registry())?);
        Ok(Self { poll, mailbox })
    }
}

/// A connection's place among those that its shard may have; given back when it is dropped.
#[derive(Debug, Default)]
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
    mailbox: Arc<Mailbox>,
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

    /// Where new connections go.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// Whether there is no place left.
    pub(crate) fn is_full(&self) -> bool {
        self.connected() >= self.limit
    }

    /// How many connections the shard has.
    pub(crate) fn connected(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// The thread of a shard. Without it, the shard stops.
#[derive(Debug)]
pub(crate) struct ShardThread {
    mailbox: Arc<Mailbox>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ShardThread {
    /// Asks the shard to close its connections and end. Its end is reported as any other.
    pub(crate) fn stop(&self) {
        self.mailbox.stop();
    }

    /// Whether the thread, which must have reported its end, ended without a panic.
    pub(crate) fn ended_well(mut self) -> bool {
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for ShardThread {
    fn drop(&mut self) {
        self.mailbox.stop();
    }
}

/// Starts a shard on a thread of its own. Its index is sent to `ended` when the thread ends, whatever the
/// reason.
pub(crate) fn start(
    parts: ShardParts,
    reception: Reception,
    inbox: Inbox,
    ended: mpsc::Sender<usize>,
) -> io::Result<(ShardDoor, ShardThread)> {
    let Reception { poll, mailbox } = reception;
    let limit = parts.config.limits.connections;
    let own = Arc::clone(&mailbox);
    let thread = thread::Builder::new().name(format!("shard-{}", parts.index)).spawn(move || {
        let _ended = Ended { shard: parts.index, mailbox: Arc::clone(&own), report: ended };
        run(parts, poll, own, inbox);
    })?;
    let door = ShardDoor { mailbox: Arc::clone(&mailbox), taken: Arc::default(), limit };
    Ok((door, ShardThread { mailbox, thread: Some(thread) }))
}

/// Reports a shard's end, even that by a panic.
struct Ended {
    shard: usize,
    mailbox: Arc<Mailbox>,
    report: mpsc::Sender<usize>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.mailbox.close();
        let _ = self.report.try_send(self.shard);
    }
}

fn run(parts: ShardParts, poll: Poll, mailbox: Arc<Mailbox>, inbox: Inbox) {
    let seed = match getrandom::u64() {
        Ok(seed) => seed,
        Err(error) => return tracing::error!(%error, "cannot have a seed from the operating system"),
    };
    let (index, write_delay, started_at) = (parts.index, parts.write_delay, parts.clock.now());
    let machine = engine::new(parts.config.clone(), seed, started_at);
    let (shards, config) = (parts.shards, parts.config.clone());
    let sitting = Sitting { shard: index, shards, note: engine::note(), seed, config, started_at };
    let tape = parts.recorder.as_ref().map(|recorder| recorder.tape(sitting));
    let state = State::new(machine, parts, tape);
    match Turns::new(poll, mailbox, inbox, write_delay, state).run() {
        Ok(mut state) => {
            state.end_recording();
            tracing::info!(shard = index, "counted: {}", state.summary());
        }
        Err(error) => tracing::error!(shard = index, %error, "cannot wait for sockets"),
    }
}
