//! Worlds for exploration: copied, moved, and told about in words.

use core::fmt::Debug;

use switchboard_engine::{Probe, Request};

use super::{
    Happening, Options, World,
    moves::{Move, Service},
    queue::Up,
    sut::{Engine, Sut},
};
use crate::{
    canaries::StoreCanary,
    check::{ConnKey, Violation},
    counts::Counts,
    schedule::{Schedule, Seen, To},
    trace::Mark,
};

/// A world that is explored, whatever its probe.
pub(crate) trait Branching<'s> {
    /// Another world in the same state.
    fn fork(&self) -> Box<dyn Branching<'s> + 's>;

    /// All that can happen next.
    fn moves(&self) -> Vec<Move>;

    /// Makes it happen; with a full sweep after every event if wanted. Gives what does not hold.
    fn go(&mut self, chosen: Move, sweep: bool) -> Option<Violation>;

    /// What a move is called.
    fn name_of(&self, chosen: Move) -> String;

    /// The digest of the state.
    fn state(&self) -> u64;

    /// Virtual time.
    fn now_us(&self) -> u64;

    /// Calls of engines so far.
    fn events(&self) -> u64;

    /// What happened, if it was noted.
    fn take_trace(&mut self) -> Vec<Mark>;
}

impl<'s, P: Probe + Counts + Clone + Debug + 's> Branching<'s> for World<'s, Engine<P>> {
    fn fork(&self) -> Box<dyn Branching<'s> + 's> {
        Box::new(self.clone())
    }

    fn moves(&self) -> Vec<Move> {
        self.moves()
    }

    fn go(&mut self, chosen: Move, sweep: bool) -> Option<Violation> {
        self.options.sweep_every = if sweep { 1 } else { u32::MAX };
        self.make(chosen);
        self.check.violation.clone()
    }

    fn name_of(&self, chosen: Move) -> String {
        self.name_of(chosen)
    }

    fn state(&self) -> u64 {
        self.state()
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn take_trace(&mut self) -> Vec<Mark> {
        self.trace.take()
    }
}

/// A world of this schedule before anything has happened.
pub(crate) fn branching<'s, P: Probe + Counts + Clone + Debug + 's>(
    schedule: &'s Schedule,
    trace: bool,
    probe: &P,
    store: Option<StoreCanary>,
) -> impl Branching<'s> + 's {
    let options = Options { sweep_every: u32::MAX, trace, specification: false, ..Options::default() };
    let mut world = World::new(schedule, options, Engine(probe.clone()));
    world.store.model.plant(store);
    world
}

impl<T: Sut> World<'_, T> {
    /// What a move is called, with what it moves.
    pub(crate) fn name_of(&self, chosen: Move) -> String {
        let on_its_way = |number| {
            let entries = self.queue.entries();
            let found = entries.into_iter().find(|(other, _, _)| *other == number);
            found.map(|(_, _, what)| self.describe(what)).unwrap_or_default()
        };
        match chosen {
            Move::Connect { client, node } => format!("{client} connects to {node}"),
            Move::Close { client } => format!("{client} closes its connection"),
            Move::Cut { client, seen: Seen::Both | Seen::Server } => {
                format!("{client}'s connection is lost, and both sides notice")
            }
            Move::Cut { client, seen: Seen::Client | Seen::Nobody } => {
                format!("{client}'s connection is lost, and the server does not notice yet")
            }
            Move::Send { client, to } => format!("{client} sends a text to {to}"),
            Move::Signal { client, to: To::Nobody } => format!("{client} signals the other side of its call"),
            Move::Signal { client, to } => format!("{client} calls {to}"),
            Move::Ghost { client } => format!("the end of {client}'s former connection is told again"),
            Move::Member { user, group, member: true } => format!("{user} joins {group}"),
            Move::Member { user, group, member: false } => format!("{user} leaves {group}"),
            Move::Arrive { number } => on_its_way(number),
            Move::Serve { number, service } => {
                let how = match service {
                    Service::Done => "done and answered",
                    Service::Failed => "not done, which is answered",
                    Service::Late => "done, and the answer is late or lost",
                };
                format!("{}: {how}", on_its_way(number))
            }
            Move::Crash { node } => format!("{node} crashes"),
            Move::Stop { node } => format!("{node} is told to stop"),
            Move::Time => "time passes to the next deadline".to_owned(),
        }
    }

    fn describe(&self, what: &Happening) -> String {
        let shard = |shard| self.lane(shard).to_string();
        let client = |conn: &ConnKey| self.conns[*conn as usize].client;
        match what {
            Happening::ToServer { conn, up } => match up {
                Up::Message { .. } => format!("{}'s message arrives", client(conn)),
                Up::Ping => format!("{}'s Ping arrives", client(conn)),
                Up::Pong(_) => format!("{}'s Pong arrives", client(conn)),
                Up::Wrong(how) => format!("{}'s misdeed, {how}, arrives", client(conn)),
                Up::Close => format!("{}'s close frame arrives", client(conn)),
            },
            Happening::ServerLost { conn } => {
                format!(
                    "{} learns that {}'s connection is gone",
                    shard(self.conns[*conn as usize].shard),
                    client(conn)
                )
            }
            Happening::Commit { life, request, .. } => {
                let what = match &**request {
                    Request::LoadUser(user) => format!("to load {user}"),
                    Request::StoreMessage(new) => format!("to store {}", new.content.trim_end()),
                    Request::StoreFile(upload) => format!("to keep the file of {}", upload.suffix),
                    Request::LoadHeads { user, .. } => format!("to load heads of {user}"),
                    Request::LoadMessages(range) => format!("to load messages for {}", range.reader),
                    other @ (Request::StoreMarks(_)
                    | Request::StoreSeen(_)
                    | Request::LoadSeen { .. }
                    | Request::StoreReceived(_)
                    | Request::LoadUnreceived { .. }) => format!("{other:?}"),
                };
                format!("{}'s request {what}", shard(life.shard))
            }
            Happening::Answer { life, answer, .. } => {
                format!("{} is answered late: {answer:?}", shard(life.shard))
            }
            Happening::Record { from, life, record } => {
                let message = super::drive::record_name(record);
                format!("{} is told by {}: {message}", shard(life.shard), shard(*from))
            }
            Happening::Directory { life, change } => {
                format!("{} is told: {} {:?}", shard(life.shard), change.user, change.kind)
            }
            Happening::Start { node, .. } => format!("{node} starts"),
            other @ (Happening::Step(_)
            | Happening::Open { .. }
            | Happening::Opened { .. }
            | Happening::Failed { .. }
            | Happening::ToClient { .. }
            | Happening::ClientLost { .. }
            | Happening::Timeout { .. }
            | Happening::ClientTimeout { .. }
            | Happening::Say { .. }
            | Happening::Redial { .. }
            | Happening::Revive { .. }
            | Happening::Stop { .. }) => format!("{other:?}"),
        }
    }
}
