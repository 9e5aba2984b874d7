//! The world: virtual time, nodes with the shipped engine on every shard, clients, links, a store and a bus.
//!
//! Everything that happens comes out of one queue, ordered by (time, number); time jumps from one entry to the
//! next. Nothing here draws a random number: what varies is keyed by the run's seed and by what it is about.

mod apps;
mod authority;
mod branching;
mod bus;
mod changes;
mod clients;
mod config;
mod drive;
mod heal;
mod hostile;
mod links;
mod look;
mod moves;
mod nodes;
mod options;
mod queue;
mod restore;
mod signals;
mod speech;
mod state;
mod steps;
mod store;
pub(crate) mod sut;
pub(crate) mod watch;
mod words;

use core::{any::Any, fmt::Debug};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use switchboard_engine::{Client, ConnId, GroupId, Instant, Probe, ServerConfig, UserId};

pub(crate) use self::config::{RECEIPT_INTERVAL_MS, RECEIPTS, lag_bytes, page_messages};
pub(crate) use self::drive::home;
pub(crate) use self::hostile::{INVALID_KINDS, ODD_KINDS};
pub use self::options::{Options, Outcome, Target};
pub(crate) use self::signals::{MISCALL_KINDS, TYPING_TIMEOUT_US};
pub(crate) use self::{
    branching::{Branching, branching},
    moves::Move,
};
use self::{
    bus::Bus,
    links::Conn,
    queue::{Happening, Life, Queue},
    store::Store,
    sut::{Engine, Machine as _, Original, Sut},
};
use crate::{
    check::{Check, ConnKey, Violation},
    choice::keyed,
    counts::{Counts, Fault, Marks, Reached, Tally},
    schedule::{ClientNo, ClientSpec, NodeNo, Schedule, What},
    spec::Spec,
    store::StoreCanary,
    trace::{Lane, Trace},
};

/// The purposes that things are keyed by, so that no two draws share a number.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Engine = 1,
    Client,
    Dial,
    Up,
    Down,
    StoreDelay,
    StoreFate,
    StoreOrder,
    BusDelay,
    BusFate,
    BusOrder,
    Announce,
    Skew,
    StoreBack,
}

/// One engine and its driver.
#[derive(Clone, Debug)]
struct Shard<M> {
    server: M,
    incarnation: u32,
    /// By slot: who is there, and which generation comes next.
    slots: Vec<(Option<ConnKey>, u32)>,
    free: Vec<u32>,
    /// Virtual time of the timer that is set.
    armed_us: Option<u64>,
    engine_ns: u64,
    since_sweep: u32,
    sweeps: u32,
    stopped: bool,
}

/// One node.
#[derive(Clone, Copy, Debug)]
struct Node {
    up: bool,
    stopping: bool,
    /// Its clock, compared with virtual time.
    offset_us: i64,
    /// How long it stays down once it has stopped.
    down_us: u64,
    life: u32,
    /// When it was told to stop.
    told_us: u64,
}

/// One client.
#[derive(Clone, Debug)]
struct Device {
    spec: ClientSpec,
    node: NodeNo,
    engine: Option<Box<Client>>,
    app: Option<Box<apps::App>>,
    /// What a raw session sends as soon as the connection that it dials is open.
    waiting: Vec<queue::Up>,
    /// Its connection, as far as it knows.
    conn: Option<ConnKey>,
    dialling: bool,
    paused: bool,
    armed_us: Option<u64>,
    /// Counts what it draws.
    draws: u64,
    /// Connections before the current one.
    former: Vec<ConnKey>,
    /// The code that its last connection was closed with.
    closed: Option<u16>,
    /// What is added to its network's shortest delay, and to the most that is added to that, in microseconds.
    slow_us: u64,
    jitter_us: u64,
}

/// A run in progress.
#[derive(Clone, Debug)]
pub(crate) struct World<'s, T: Sut> {
    sut: T,
    schedule: &'s Schedule,
    options: Options,
    /// Keys what varies from here on.
    seed: u64,
    config: ServerConfig,
    now_us: u64,
    queue: Queue,
    nodes: Vec<Node>,
    shards: Vec<Shard<T::Machine>>,
    devices: Vec<Device>,
    conns: Vec<Conn>,
    dirty: VecDeque<ConnKey>,
    store: Store,
    bus: Bus,
    check: Check,
    spec: Spec,
    users: Vec<UserId>,
    groups: Vec<GroupId>,
    trace: Trace,
    digest: u64,
    events: u64,
    met: Vec<u64>,
    tally: Tally,
    reached: Reached,
    probing: Option<heal::Probing>,
    backup: Option<Box<restore::Backup>>,
    /// Who looks at every step of it, if somebody does.
    watch: Option<Box<watch::Watch<'s, T>>>,
    /// Nothing more is wanted of it.
    is_halted: bool,
}

/// Executes a schedule, its healed phase included; a panic meanwhile is a violation of the check `crash`.
#[must_use]
pub fn execute(schedule: &Schedule, options: Options) -> Outcome {
    match options.target {
        Target::Shipped => execute_with(schedule, options, &Marks::default(), None),
        Target::Original => World::new(schedule, options, Original).caught(),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

/// The same with engines that have this probe, and a store that has this bug.
pub(crate) fn execute_with<P: Probe + Counts + Clone + Debug>(
    schedule: &Schedule,
    options: Options,
    probe: &P,
    store: Option<StoreCanary>,
) -> Outcome {
    World::planted(schedule, options, Engine(probe.clone()), store).caught()
}

/// The same with any machine in the engines' place.
pub(crate) fn execute_sut<T: Sut>(schedule: &Schedule, options: Options, sut: T) -> Outcome {
    World::new(schedule, options, sut).caught()
}

impl<'s, T: Sut> World<'s, T> {
    fn new(schedule: &'s Schedule, options: Options, sut: T) -> Self {
        let s = &schedule.settings;
        let shards = (s.nodes * s.shards) as usize;
        let config = config::server_config(s, shards > 1);
        let named = |letter: char, count: usize| (0..count).map(move |number| format!("{letter}{number}"));
        let shard = |number| Shard {
            server: sut.start(config.clone(), engine_seed(schedule.seed, number, 0), Instant::ZERO),
            incarnation: 0,
            slots: Vec::new(),
            free: Vec::new(),
            armed_us: None,
            engine_ns: 0,
            since_sweep: 0,
            sweeps: 0,
            stopped: false,
        };
        let device = |spec: &ClientSpec| Device {
            spec: *spec,
            node: NodeNo(0),
            engine: None,
            app: None,
            waiting: Vec::new(),
            conn: None,
            dialling: false,
            paused: false,
            armed_us: None,
            draws: 0,
            former: Vec::new(),
            closed: None,
            slow_us: 0,
            jitter_us: 0,
        };
        let skew_us = |node: u64| keyed(schedule.seed, node, Draw::Skew as u64) % (s.clock_skew_us + 1);
        let node = |number| Node {
            up: true,
            stopping: false,
            offset_us: skew_us(number) as i64,
            down_us: 0,
            life: 0,
            told_us: 0,
        };
        let mut world = Self {
            shards: (0..shards).map(shard).collect(),
            sut,
            nodes: (0..s.nodes).map(node).collect(),
            devices: schedule.clients.iter().map(device).collect(),
            conns: Vec::new(),
            dirty: VecDeque::new(),
            store: Store::new(schedule, T::REFUSES_FILES),
            bus: Bus::new(schedule),
            check: Check::new(schedule, T::IS_SHADOWED && options.shadow),
            spec: Spec::new(schedule, T::SLACK_US, options.specification),
            users: named('u', s.users as usize).filter_map(|id| UserId::new(&id).ok()).collect(),
            groups: named('g', schedule.all_groups()).filter_map(|id| GroupId::new(&id).ok()).collect(),
            trace: if options.trace { Trace::wanted() } else { Trace::default() },
            seed: schedule.seed,
            schedule,
            options,
            config,
            now_us: 0,
            queue: Queue::default(),
            digest: 0,
            events: 0,
            met: vec![0; What::VERBS.len()],
            tally: Tally::default(),
            reached: Reached::default(),
            probing: None,
            backup: None,
            watch: None,
            is_halted: false,
        };
        // As it is at the beginning; later ones are steps.
        world.back_up();
        for client in 0..world.devices.len() {
            world.make_engine_client(ClientNo(client as u16));
            world.make_app(ClientNo(client as u16));
        }
        if let Some(first) = schedule.steps.first() {
            world.queue.push(first.at_us, Happening::Step(0));
        }
        world
    }

    /// A world whose store has a bug, if one is given.
    pub(crate) fn planted(
        schedule: &'s Schedule,
        options: Options,
        sut: T,
        store: Option<StoreCanary>,
    ) -> Self {
        let mut world = Self::new(schedule, options, sut);
        world.store.model.plant(store);
        world
    }

    fn run(&mut self) {
        let last_us = self.schedule.steps.last().map_or(0, |step| step.at_us);
        match self.options.until_us {
            Some(until_us) => self.run_until(until_us),
            None => self.run_until(last_us),
        }
        self.conclude();
    }

    /// What is behind the last step: the healed phase, and what is looked at and counted at the end.
    fn conclude(&mut self) {
        if self.options.until_us.is_none() {
            // At the end everything has stopped; there is more to compare when the faults end.
            self.digest_states();
            self.heal();
        }
        self.digest_states();
        if self.holds() && self.options.until_us.is_none() {
            (0..self.shards.len()).for_each(|shard| self.sweep(shard));
        }
        self.shards.iter().for_each(|shard| self.reached.add(&shard.server.reached()));
        self.tally.add_all(&self.bus.tally);
        self.tally.add_all(&self.store.tally);
    }

    /// Runs it to its end, or to a panic.
    fn caught(mut self) -> Outcome {
        // What was noted until a panic is what is wanted most.
        let panic = catch_unwind(AssertUnwindSafe(|| self.run())).err();
        if let Some(panic) = panic {
            let what = panic_text(&*panic);
            self.check.violation = Some(Violation { check: "crash", what, at_us: self.now_us });
        }
        self.outcome()
    }

    fn outcome(mut self) -> Outcome {
        Outcome {
            violation: self.check.violation.or(self.spec.violation),
            digest: self.digest,
            events: self.events,
            virtual_us: self.now_us,
            met: self.met,
            tally: self.tally,
            reached: self.reached,
            trace: self.trace.take(),
        }
    }

    /// Does everything up to a time, or to the first violation.
    fn run_until(&mut self, until_us: u64) {
        self.watch_between();
        while self.holds() && self.queue.next_us().is_some_and(|at_us| at_us <= until_us) {
            self.turn();
        }
        if self.is_halted {
            return;
        }
        self.now_us = self.now_us.max(until_us);
        self.spec.advance(self.now_us, &self.check.said);
        if !self.holds() {
            self.trace.close();
        }
    }

    /// Does what is next.
    fn turn(&mut self) {
        if let Some((at_us, entry, what)) = self.queue.pop() {
            self.now_us = self.now_us.max(at_us);
            self.watch_begins(&what);
            self.spec.advance(self.now_us, &self.check.said);
            self.trace.comes(entry);
            self.happen(what);
            self.trace.lost(self.now_us, "who it is for is gone");
            self.write_dirty();
            self.watch_ends();
        }
    }

    /// Folds the states of all machines into the run's digest.
    fn digest_states(&mut self) {
        let shards = self.shards.iter().map(|shard| shard.server.full_digest());
        let engines = self.devices.iter().filter_map(|device| device.engine.as_ref());
        let apps = self.devices.iter().filter_map(|device| device.app.as_ref());
        let sessions = apps.filter_map(|app| app.session.as_ref());
        let states = shards.chain(engines.map(|engine| engine.full_digest()));
        let states = states.chain(sessions.map(switchboard_engine::Session::full_digest));
        self.digest = states.fold(self.digest, |digest, state| keyed(digest, state, 0));
    }

    /// Whether nothing was found yet.
    const fn holds(&self) -> bool {
        self.check.violation.is_none() && self.spec.violation.is_none() && !self.is_halted
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Step(place) => self.step(place),
            Happening::Open { client, node, link } => self.open(client, node, link),
            Happening::Opened { conn } => self.opened(conn),
            Happening::Failed { client, link } => self.connect_failed(client, link),
            Happening::ToServer { conn, up } => self.arrives(conn, up),
            Happening::ToClient { conn, frames } => self.reaches(conn, frames),
            Happening::ServerLost { conn } => self.server_lost(conn),
            Happening::ClientLost { conn } => self.client_lost(conn, None),
            Happening::Timeout { life } => self.timeout(life),
            Happening::ClientTimeout { client } => self.client_timeout(client),
            Happening::Commit { life, ticket, request, fate } => self.commit(life, ticket, *request, fate),
            Happening::Answer { life, ticket, answer } => self.answer(life, ticket, answer),
            Happening::Record { from: _, life, record } => self.carried(life, record),
            Happening::Directory { life, change } => self.announce(life, change),
            Happening::Say { client, message } => self.say(client, message),
            Happening::Redial { client } => self.redial(client),
            Happening::Revive { client, life } => self.revive(client, life),
            Happening::Stop { node, down_us } => self.stop(node, down_us),
            Happening::Start { node, life } => self.start(node, life),
        }
    }

    fn draw(&self, item: u64, purpose: Draw) -> u64 {
        keyed(self.seed, item, purpose as u64)
    }

    /// A delay of at least `floor_us` with up to `jitter_us` on top.
    fn delay(&self, item: u64, purpose: Draw, floor_us: u64, jitter_us: u64) -> u64 {
        floor_us + self.draw(item, purpose) % (jitter_us + 1)
    }

    /// The network's delay for the next thing that a client sends or receives.
    fn net_delay(&mut self, client: ClientNo, purpose: Draw) -> u64 {
        let device = &mut self.devices[client.index()];
        device.draws += 1;
        self.tally.add_if(device.slow_us + device.jitter_us > 0, Fault::FrameSlow);
        let item = u64::from(client.0) << 40 | device.draws;
        let (slow_us, jitter_us) = (device.slow_us, device.jitter_us);
        let s = self.schedule.settings;
        self.delay(item, purpose, s.net_delay_us + slow_us, s.net_jitter_us + jitter_us)
    }

    fn node_of(&self, shard: usize) -> usize {
        shard / self.schedule.settings.shards as usize
    }

    fn shards_of(&self, node: NodeNo) -> core::ops::Range<usize> {
        let per_node = self.schedule.settings.shards as usize;
        node.index() * per_node..(node.index() + 1) * per_node
    }

    fn life(&self, shard: usize) -> Life {
        Life { shard, incarnation: self.shards[shard].incarnation }
    }

    fn lives(&self, life: Life) -> bool {
        self.shards[life.shard].incarnation == life.incarnation && self.nodes[self.node_of(life.shard)].up
    }

    /// The connection that the engine's id names, if it is there.
    fn conn_at(slots: &[(Option<ConnKey>, u32)], id: ConnId) -> Option<ConnKey> {
        slots.get(id.slot() as usize).and_then(|(conn, _)| *conn)
    }

    /// From a connection's client to its shard.
    fn up(&self, conn: ConnKey) -> (Lane, Lane) {
        let conn = &self.conns[conn as usize];
        (Lane::Client(conn.client.0), self.lane(conn.shard))
    }

    /// From a connection's shard to its client.
    fn down(&self, conn: ConnKey) -> (Lane, Lane) {
        let (client, shard) = self.up(conn);
        (shard, client)
    }

    fn lane(&self, shard: usize) -> Lane {
        let per_node = self.schedule.settings.shards as usize;
        Lane::Shard((shard / per_node) as u16, (shard % per_node) as u16)
    }
}

fn engine_seed(seed: u64, shard: usize, incarnation: u32) -> u64 {
    keyed(seed, u64::from(incarnation) << 32 | shard as u64, Draw::Engine as u64)
}
