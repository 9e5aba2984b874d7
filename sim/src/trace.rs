//! What a run looked like: a log for tables and charts, kept only when somebody wants to see it.
//!
//! The log is in the order in which things happened. What travels is named by a number: [`Kind::Sent`] when it
//! leaves, [`Kind::Arrived`] or [`Kind::Lost`] when its end is known, so that a reader sees what overtook what,
//! and what never came.

use core::fmt;
use std::collections::{BTreeMap, VecDeque};

use crate::schedule::{ClientNo, NodeNo, Schedule, Step, What};

/// Whose line a mark is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A client.
    Client(u16),
    /// An engine: node and shard of the node.
    Shard(u16, u16),
    /// The store.
    Store,
    /// What happens to the world as a whole.
    World,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "c{client}"),
            Self::Shard(node, shard) => write!(f, "n{node}/{shard}"),
            Self::Store => f.write_str("store"),
            Self::World => f.write_str("world"),
        }
    }
}

/// What kind of thing travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A message between a client and a server.
    Message,
    /// The connection itself: opening, Pings, heartbeats, closing.
    Control,
    /// A request to the store, or its answer.
    Store,
    /// A record on the bus.
    Bus,
    /// A change of the directory, announced to an engine.
    Directory,
}

/// A state that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A client believes that it is connected.
    Connected,
    /// A connection is dead, and this end has not noticed.
    HalfOpen,
    /// A client does not read.
    Paused,
    /// A node does not run.
    Down,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step of the schedule is carried out.
    Step {
        /// Its id in the schedule.
        id: u32,
        /// Its verb and what follows it, as in the file.
        text: String,
        /// Whether it is a fault, or the end of one, rather than something that a client does.
        fault: bool,
        /// Whom it is about.
        about: Vec<Lane>,
    },
    /// Something happens at one place.
    Note {
        /// Where.
        lane: Lane,
        /// What.
        text: String,
    },
    /// Something leaves.
    Sent {
        /// Its number in this log; those that end name it by this.
        transfer: u32,
        /// From where.
        from: Lane,
        /// To where.
        to: Lane,
        /// What kind of thing.
        via: Via,
        /// What.
        text: String,
    },
    /// What was sent is there.
    Arrived {
        /// Its number.
        transfer: u32,
    },
    /// What was sent never arrives.
    Lost {
        /// Its number.
        transfer: u32,
        /// Why.
        why: &'static str,
    },
    /// A state begins.
    Began {
        /// Its number in this log.
        span: u32,
        /// Whose state.
        lane: Lane,
        /// Which.
        state: State,
        /// What there is to say about it; may be empty.
        text: String,
    },
    /// A state ends.
    Ended {
        /// Its number.
        span: u32,
    },
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// What.
    pub kind: Kind,
}

/// The log of a run, if it is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    log: Option<Box<Log>>,
    /// The marks, once nothing more is to be noted.
    closed: Vec<Mark>,
}

#[derive(Clone, Debug, Default)]
struct Log {
    marks: Vec<Mark>,
    /// Numbers given to transfers and spans.
    named: u32,
    /// By number of the world's queue: the transfer that this entry brings.
    queued: BTreeMap<u64, u32>,
    /// By connection: what its server has sent and its client has not read, in order.
    down: BTreeMap<u32, VecDeque<u32>>,
    /// What is being handed over at this moment.
    current: Option<u32>,
    /// By whose it is, kind, and which of several: the spans that have not ended.
    spans: BTreeMap<(Lane, State, u32), u32>,
}

impl Log {
    fn push(&mut self, at_us: u64, kind: Kind) {
        self.marks.push(Mark { at_us, kind });
    }

    fn name(&mut self) -> u32 {
        self.named += 1;
        self.named
    }

    fn send(&mut self, at_us: u64, from: Lane, to: Lane, via: Via, text: String) -> u32 {
        let transfer = self.name();
        self.push(at_us, Kind::Sent { transfer, from, to, via, text });
        transfer
    }
}

impl Trace {
    pub(crate) fn wanted() -> Self {
        Self { log: Some(Box::default()), closed: Vec::new() }
    }

    pub(crate) fn take(&mut self) -> Vec<Mark> {
        self.close();
        core::mem::take(&mut self.closed)
    }

    /// Notes nothing from here on: what comes after a violation explains nothing.
    pub(crate) fn close(&mut self) {
        if let Some(log) = self.log.take() {
            self.closed = log.marks;
        }
    }

    /// Notes what happens at one place; `text` is made only if it is wanted.
    pub(crate) fn note(&mut self, at_us: u64, lane: Lane, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(at_us, Kind::Note { lane, text: text() });
        }
    }

    pub(crate) fn step(&mut self, at_us: u64, step: &Step, schedule: &Schedule) {
        if let Some(log) = &mut self.log {
            let (text, about) = (step.what.to_string(), about(&step.what, schedule));
            log.push(at_us, Kind::Step { id: step.id, text, fault: is_fault(&step.what), about });
        }
    }

    /// Something leaves that entry `entry` of the world's queue will bring.
    pub(crate) fn sends(
        &mut self,
        at_us: u64,
        entry: u64,
        (from, to): (Lane, Lane),
        what: impl FnOnce() -> (Via, String),
    ) {
        if let Some(log) = &mut self.log {
            let (via, text) = what();
            let transfer = log.send(at_us, from, to, via, text);
            log.queued.insert(entry, transfer);
        }
    }

    /// Something leaves that nothing will bring.
    pub(crate) fn sends_in_vain(
        &mut self,
        at_us: u64,
        (from, to): (Lane, Lane),
        why: &'static str,
        what: impl FnOnce() -> (Via, String),
    ) {
        if let Some(log) = &mut self.log {
            let (via, text) = what();
            let transfer = log.send(at_us, from, to, via, text);
            log.push(at_us, Kind::Lost { transfer, why });
        }
    }

    /// Something is put into a connection's outbox, behind what is there.
    pub(crate) fn sends_down(
        &mut self,
        at_us: u64,
        conn: u32,
        (from, to): (Lane, Lane),
        what: impl FnOnce() -> (Via, String),
    ) {
        if let Some(log) = &mut self.log {
            let (via, text) = what();
            let transfer = log.send(at_us, from, to, via, text);
            log.down.entry(conn).or_default().push_back(transfer);
        }
    }

    /// What entry `entry` of the world's queue brings is about to be handed over.
    pub(crate) fn comes(&mut self, entry: u64) {
        if let Some(log) = &mut self.log {
            log.current = log.queued.remove(&entry);
        }
    }

    /// The first thing that a connection's client has not read is about to be handed over.
    pub(crate) fn comes_down(&mut self, conn: u32) {
        if let Some(log) = &mut self.log {
            log.current = log.down.get_mut(&conn).and_then(VecDeque::pop_front);
        }
    }

    /// What was about to be handed over has arrived; false if there was nothing.
    pub(crate) fn arrived(&mut self, at_us: u64) -> bool {
        let Some(log) = &mut self.log else { return false };
        let Some(transfer) = log.current.take() else { return false };
        log.push(at_us, Kind::Arrived { transfer });
        true
    }

    /// What was about to be handed over and was not taken is lost.
    pub(crate) fn lost(&mut self, at_us: u64, why: &'static str) {
        if let Some(log) = &mut self.log
            && let Some(transfer) = log.current.take()
        {
            log.push(at_us, Kind::Lost { transfer, why });
        }
    }

    /// `count` of those that a connection's client has not read are lost, beginning behind the first `kept`.
    pub(crate) fn lost_down(&mut self, at_us: u64, conn: u32, kept: usize, count: usize, why: &'static str) {
        if let Some(log) = &mut self.log
            && let Some(down) = log.down.get_mut(&conn)
        {
            let kept = kept.min(down.len());
            let lost = down.drain(kept..(kept + count).min(down.len()));
            log.marks.extend(lost.map(|transfer| Mark { at_us, kind: Kind::Lost { transfer, why } }));
        }
    }

    /// A state begins; `which` tells several of one lane apart.
    pub(crate) fn begins(
        &mut self,
        at_us: u64,
        lane: Lane,
        state: State,
        which: u32,
        text: impl FnOnce() -> String,
    ) {
        if let Some(log) = &mut self.log
            && !log.spans.contains_key(&(lane, state, which))
        {
            let span = log.name();
            log.spans.insert((lane, state, which), span);
            log.push(at_us, Kind::Began { span, lane, state, text: text() });
        }
    }

    /// A state ends, if it was there.
    pub(crate) fn ends(&mut self, at_us: u64, lane: Lane, state: State, which: u32) {
        if let Some(log) = &mut self.log
            && let Some(span) = log.spans.remove(&(lane, state, which))
        {
            log.push(at_us, Kind::Ended { span });
        }
    }
}

/// Whether a step is a fault or the end of one.
pub(crate) const fn is_fault(what: &What) -> bool {
    match what {
        What::Connect { .. }
        | What::Close { .. }
        | What::Send { .. }
        | What::Burst { .. }
        | What::Media { .. }
        | What::Signal { .. }
        | What::Pictures { .. }
        | What::Heartbeat { .. }
        | What::Ping { .. }
        | What::Join { .. }
        | What::Part { .. }
        | What::Avatar { .. }
        | What::Hello { .. }
        | What::Resync { .. }
        | What::Fetch { .. }
        | What::Edit { .. }
        | What::Recall { .. }
        | What::Change { .. }
        | What::Mark { .. }
        | What::Older { .. }
        | What::Typing { .. }
        | What::Ring { .. }
        | What::Watch { .. }
        | What::Accept { .. }
        | What::Decline { .. }
        | What::HangUp { .. }
        | What::Announce { .. }
        | What::Data { .. }
        | What::Reseed { .. } => false,
        What::Cut { .. }
        | What::Misbehave { .. }
        | What::Nowhere { .. }
        | What::Net { .. }
        | What::Garble { .. }
        | What::Spoof { .. }
        | What::Garbage { .. }
        | What::Pause { .. }
        | What::Resume { .. }
        | What::Ghost { .. }
        | What::Store { .. }
        | What::Bus { .. }
        | What::Partition { .. }
        | What::Rejoin {}
        | What::Backup {}
        | What::Restore { .. }
        | What::Crash { .. }
        | What::Stop { .. }
        | What::Rolling { .. }
        | What::Clock { .. }
        | What::Mass { .. }
        | What::Again { .. }
        | What::Alter { .. }
        | What::Miscall { .. }
        | What::Odd { .. }
        | What::Revoke { .. }
        | What::Expel { .. }
        | What::Invalid { .. }
        | What::Mislead { .. }
        | What::Die { .. }
        | What::Wipe { .. } => true,
    }
}

/// Whom a step is about: the client or the nodes that it names, the store, or all nodes.
fn about(what: &What, schedule: &Schedule) -> Vec<Lane> {
    let (nodes, shards) = (schedule.settings.nodes as u16, schedule.settings.shards as u16);
    let lanes = |node| (0..shards).map(move |shard| Lane::Shard(node, shard));
    if matches!(what, What::Join { .. } | What::Part { .. } | What::Avatar { .. } | What::Store { .. }) {
        return vec![Lane::Store];
    }
    if matches!(what, What::Bus { .. } | What::Rejoin {} | What::Rolling { .. }) {
        return (0..nodes).flat_map(lanes).collect();
    }
    let text = what.to_string();
    let words = text.split(' ').skip(1);
    match words.clone().find_map(|word| word.parse::<ClientNo>().ok()) {
        Some(client) => vec![Lane::Client(client.0)],
        None => words.filter_map(|word| word.parse::<NodeNo>().ok()).flat_map(|node| lanes(node.0)).collect(),
    }
}
