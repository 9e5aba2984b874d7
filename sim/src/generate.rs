//! From choices to a schedule, swarm style: each seed draws the world, which kinds of workload and faults are
//! on at all, and how often each of them happens.

use crate::choice::{Choices, Stream};
use crate::schedule::{
    Carrier, ClientKind, ClientNo, ClientSpec, GroupNo, Misdeed, NodeNo, Schedule, Seen, Settings, Step, To,
    UserNo, Ways, What, Whose,
};
use crate::world::{INVALID_KINDS, Target};

/// The profiles: their names and what they are for.
pub const PROFILES: &[(&str, &str)] = &[
    ("default", "everything, swarm style"),
    ("classic", "the same without sessions"),
    ("calm", "workload without faults"),
    ("small", "one node, few users, everything: the shortest failures"),
    ("storm", "connections lost in every way, stale events, nodes that die"),
    ("readers", "clients that stop reading, small outboxes, live pictures"),
    ("store", "a store that is slow, fails, forgets and reorders"),
    ("bus", "many nodes over a bus that loses, repeats and reorders"),
    ("rates", "clients that send faster than they may, on networks that become slow"),
    (
        "sessions",
        "the session protocol alone: devices that die, networks and stores that fail, hostile clients",
    ),
    (
        "original",
        "what the original server can be given: raw clients, one shard a node, things at the same moment",
    ),
    ("bench", "3 nodes, 50 clients, no faults: for measuring"),
    ("bench-long", "the worlds of bench with ten times as many steps"),
];

/// The choices of one schedule, one source for each purpose.
#[derive(Debug)]
pub struct Sources {
    /// Who says what to whom.
    pub workload: Choices,
    /// The network's delays.
    pub network: Choices,
    /// What breaks.
    pub faults: Choices,
    /// When.
    pub scheduling: Choices,
}

impl Sources {
    /// Independent sources that follow from one seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            workload: Choices::from_seed(seed, Stream::Workload),
            network: Choices::from_seed(seed, Stream::Network),
            faults: Choices::from_seed(seed, Stream::Faults),
            scheduling: Choices::from_seed(seed, Stream::Scheduling),
        }
    }

    /// Sources that share the bytes of a fuzzer, a byte in turn each.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let part = |first: usize| {
            let bytes: Vec<u8> = bytes.iter().skip(first).step_by(4).copied().collect();
            Choices::from_bytes(&bytes)
        };
        Self { workload: part(0), network: part(1), faults: part(2), scheduling: part(3) }
    }
}

/// What kinds of steps there are, and how often each is taken in a run where it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Connect,
    Close,
    Direct,
    Group,
    Broadcast,
    Media,
    Signal,
    Pictures,
    Burst,
    Ring,
    Churn,
    Heartbeat,
    Ping,
    Join,
    Part,
    Avatar,
    Spoof,
    Short,
    Garbage,
    Nowhere,
    Misbehave,
    Cut,
    Net,
    Pause,
    Resume,
    Ghost,
    Store,
    Bus,
    Garble,
    Partition,
    Rejoin,
    Crash,
    Stop,
    Rolling,
    Clock,
    Mass,
    Session(Session),
}

/// What only sessions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Fetch,
    Older,
    Resync,
    OutOfTurn,
    Again,
    Alter,
    Invalid,
    Die,
    Wipe,
}

/// Workload first: class, usual weight.
const WORKLOAD: &[(Class, u64)] = &[
    (Class::Connect, 14),
    (Class::Close, 3),
    (Class::Direct, 30),
    (Class::Group, 20),
    (Class::Broadcast, 4),
    (Class::Media, 6),
    (Class::Signal, 14),
    (Class::Pictures, 4),
    (Class::Burst, 2),
    (Class::Ring, 2),
    (Class::Churn, 3),
    (Class::Heartbeat, 2),
    (Class::Ping, 2),
    (Class::Join, 4),
    (Class::Part, 4),
    (Class::Avatar, 2),
];

/// Faults: class, usual weight.
const FAULTS: &[(Class, u64)] = &[
    (Class::Spoof, 5),
    (Class::Garbage, 2),
    (Class::Nowhere, 1),
    (Class::Misbehave, 1),
    (Class::Cut, 8),
    (Class::Net, 3),
    (Class::Pause, 6),
    (Class::Resume, 5),
    (Class::Ghost, 5),
    (Class::Store, 4),
    (Class::Bus, 4),
    (Class::Garble, 1),
    (Class::Partition, 3),
    (Class::Rejoin, 2),
    (Class::Crash, 2),
    (Class::Stop, 2),
    (Class::Rolling, 1),
    (Class::Clock, 2),
    (Class::Mass, 1),
];

/// The same of what only sessions do.
const SESSION_WORKLOAD: &[(Session, u64)] = &[(Session::Fetch, 6), (Session::Older, 4), (Session::Resync, 3)];
const SESSION_FAULTS: &[(Session, u64)] = &[
    (Session::OutOfTurn, 2),
    (Session::Again, 5),
    (Session::Alter, 3),
    (Session::Invalid, 3),
    (Session::Die, 6),
    (Session::Wipe, 1),
];

/// Which faults a profile has at all.
fn possible(profile: &str, class: Class) -> bool {
    match profile {
        "calm" | BENCH | BENCH_LONG => false,
        "storm" => matches!(
            class,
            Class::Cut
                | Class::Ghost
                | Class::Crash
                | Class::Stop
                | Class::Rolling
                | Class::Mass
                | Class::Clock
                | Class::Net
        ),
        "readers" => matches!(class, Class::Pause | Class::Resume | Class::Cut | Class::Net),
        "rates" => matches!(class, Class::Misbehave | Class::Nowhere | Class::Net | Class::Cut),
        "store" => matches!(
            class,
            Class::Store
                | Class::Cut
                | Class::Crash
                | Class::Session(Session::Die | Session::Again | Session::Alter)
        ),
        "bus" => matches!(
            class,
            Class::Bus | Class::Garble | Class::Partition | Class::Rejoin | Class::Cut | Class::Crash
        ),
        _ => true,
    }
}

/// The schedule of a seed; none if there is no profile of this name.
#[must_use]
pub fn generate(seed: u64, profile: &str) -> Option<Schedule> {
    PROFILES
        .iter()
        .any(|(name, _)| *name == profile)
        .then(|| from_sources(Sources::from_seed(seed), seed, profile))
}

/// The schedule of a seed for what is to stand in the shards; none if there is no profile of this name.
#[must_use]
pub fn generate_for(target: Target, seed: u64, profile: &str) -> Option<Schedule> {
    let mut schedule = generate(seed, profile)?;
    if target == Target::Original {
        suit_original(&mut schedule);
    }
    Some(schedule)
}

/// Takes away what the original server has not: shards, limits of connections, clients that wait for acknowledgements,
/// and a clock that can be set back.
fn suit_original(schedule: &mut Schedule) {
    let Settings { newest_wins, connections_per_user, .. } = Settings::default();
    let s = &mut schedule.settings;
    (s.shards, s.newest_wins, s.connections_per_user) = (1, newest_wins, connections_per_user);
    schedule.clients.iter_mut().for_each(|client| client.kind = ClientKind::Raw);
    schedule.steps.retain(|step| !matches!(step.what, What::Clock { .. } | What::Ghost { .. }));
}

/// The schedule of these choices.
#[must_use]
pub fn from_sources(mut sources: Sources, seed: u64, profile: &str) -> Schedule {
    let mut schedule = world(&mut sources, seed, profile);
    let has_sessions = schedule.clients.iter().any(|client| client.kind.is_session());
    let weights = swarm(&mut sources, profile, has_sessions);
    let steps = match profile {
        BENCH => 3_000,
        BENCH_LONG => 30_000,
        "small" | "original" => sources.scheduling.between(10, 60),
        _ => sources.scheduling.between(30, 180),
    };
    let pace_us = [2_000, 20_000, 200_000][sources.scheduling.weighted(&[2, 3, 2])];
    let mut at_us = 0;
    for number in 0..schedule.clients.len() {
        // Most are there from the beginning.
        if is_bench(profile) || sources.workload.chance(700) {
            let node = node(&mut sources.workload, &schedule);
            at_us += sources.scheduling.below(500);
            push(&mut schedule, at_us, What::Connect { client: ClientNo(number as u16), node });
            introduce(&mut sources, &mut schedule);
        }
    }
    for _ in 0..steps {
        at_us += match sources.scheduling.below(12) {
            0..3 if profile == "original" => sources.scheduling.below(3),
            0..4 => sources.scheduling.below(100),
            4..11 => sources.scheduling.below(pace_us),
            _ => sources.scheduling.below(pace_us * 20),
        };
        let class =
            weights[sources.workload.weighted(&weights.iter().map(|(_, w)| *w).collect::<Vec<_>>())].0;
        if matches!(class, Class::Churn | Class::Ring) {
            for (later_us, what) in motif(&mut sources, &schedule, class) {
                at_us += later_us;
                push(&mut schedule, at_us, what);
            }
        } else if let Some(what) = step(&mut sources, &schedule, class) {
            push(&mut schedule, at_us, what);
            introduce(&mut sources, &mut schedule);
            // Whoever loses a connection dials again at once.
            if let What::Cut { client, .. } = what
                && profile == "original"
            {
                let node = node(&mut sources.faults, &schedule);
                push(&mut schedule, at_us, What::Connect { client, node });
            }
        }
    }
    schedule
}

const BENCH: &str = "bench";
const BENCH_LONG: &str = "bench-long";

fn is_bench(profile: &str) -> bool {
    matches!(profile, BENCH | BENCH_LONG)
}

fn push(schedule: &mut Schedule, at_us: u64, what: What) {
    let id = schedule.steps.len() as u32 + 1;
    schedule.steps.push(Step { at_us, id, what });
}

/// A raw session that has just dialled says Hello, most of the time.
fn introduce(sources: &mut Sources, schedule: &mut Schedule) {
    let Some(Step { at_us, what: What::Connect { client, .. }, .. }) = schedule.steps.last().copied() else {
        return;
    };
    if schedule.clients[client.index()].kind != ClientKind::RawSession || sources.faults.chance(80) {
        return;
    }
    let cursors = sources.faults.weighted(&[6, 2, 1]);
    let cursors = [0, 7, 300][cursors];
    push(schedule, at_us, What::Hello { client, cursors });
    // What follows before the Welcome, or even before the user is loaded.
    if sources.workload.chance(300) {
        let to = To::User(user(&mut sources.workload, schedule));
        push(schedule, at_us, What::Burst { client, to, bytes: 0, count: 2 });
    }
}

/// Draws which kinds are on, and their weights.
fn swarm(sources: &mut Sources, profile: &str, has_sessions: bool) -> Vec<(Class, u64)> {
    let mut weights = Vec::new();
    for (class, usual) in WORKLOAD {
        let on = sources.workload.chance(if *class == Class::Connect { 1000 } else { 750 });
        let weight = sources.workload.between(1, 2 * usual);
        let in_bench = !matches!(class, Class::Burst | Class::Ring | Class::Churn);
        let on = if is_bench(profile) { in_bench } else { on };
        weights.extend(on.then_some((*class, weight)));
    }
    for (class, usual) in FAULTS {
        let on = sources.faults.chance(450);
        let weight = sources.faults.between(1, 2 * usual);
        weights.extend((on && possible(profile, *class)).then_some((*class, weight)));
    }
    if has_sessions {
        for (what, usual) in SESSION_WORKLOAD {
            let weight = sources.workload.between(1, 2 * usual);
            weights.extend(sources.workload.chance(600).then_some((Class::Session(*what), weight)));
        }
        for (what, usual) in SESSION_FAULTS {
            let class = Class::Session(*what);
            let weight = sources.faults.between(1, 2 * usual);
            let on = sources.faults.chance(500) && possible(profile, class);
            weights.extend(on.then_some((class, weight)));
        }
    }
    if profile == "original" {
        weights.extend(sources.faults.chance(300).then_some((Class::Short, 3)));
    }
    weights
}

fn world(sources: &mut Sources, seed: u64, profile: &str) -> Schedule {
    let (workload, network) = (&mut sources.workload, &mut sources.network);
    let mut settings = Settings::default();
    let clients = match profile {
        BENCH | BENCH_LONG => 50,
        "small" | "original" => workload.between(2, 5),
        _ => workload.between(2, 16),
    };
    (settings.nodes, settings.shards) = match profile {
        BENCH | BENCH_LONG => (3, 1),
        "small" => (1, 1),
        "original" => (1 + u64::from(workload.chance(250)), 1),
        "bus" => (workload.between(2, 4), workload.between(1, 2)),
        _ => (workload.between(1, 3), workload.between(1, 2)),
    };
    settings.users = match profile {
        BENCH | BENCH_LONG => 50,
        _ => workload.between(2, clients.max(3)),
    };
    settings.newest_wins = u64::from(workload.chance(300));
    if workload.chance(200) {
        settings.connections_per_user = workload.between(1, 2);
    }
    if profile == "readers" || workload.chance(300) {
        settings.message_bytes = 1024;
        settings.outbox_bytes = 2048 + workload.below(2048);
        settings.socket_bytes = workload.between(64, 1024);
        settings.streams_per_connection = workload.between(1, 3);
    }
    if !is_bench(profile) && workload.chance(100) {
        settings.pending_per_connection = workload.between(1, 4);
    }
    if !is_bench(profile) {
        limits(workload, &mut settings, profile);
        settings.ring_timeout_ms = if workload.chance(400) { workload.between(50, 3_000) } else { 60_000 };
        settings.answer_jitter_us = [0, 500, 20_000, 400_000][network.weighted(&[3, 2, 2, 1])];
        settings.clock_skew_us = if network.chance(200) { network.below(60_000_000) } else { 0 };
        settings.net_delay_us = network.between(20, 2_000);
        settings.net_jitter_us = [0, 500, 20_000][network.weighted(&[1, 2, 1])];
        settings.bus_delay_us = network.between(20, 2_000);
        settings.bus_jitter_us = [0, 500, 20_000][network.weighted(&[1, 2, 1])];
        settings.store_jitter_us = [0, 500, 20_000][network.weighted(&[1, 2, 1])];
    }
    if profile == "original" {
        (settings.net_jitter_us, settings.store_jitter_us) = (0, 0);
        settings.socket_bytes = workload.between(256, 8192);
    }
    let engine_permille = [0, 300, 1000][workload.weighted(&[1, 2, 1])];
    let clients: Vec<_> = (0..clients)
        .map(|number| ClientSpec {
            user: UserNo(if is_bench(profile) { number } else { workload.below(settings.users) } as u16),
            kind: if workload.chance(engine_permille) { ClientKind::Engine } else { ClientKind::Raw },
        })
        .collect();
    let clients = with_sessions(workload, &mut settings, profile, clients);
    let groups = (0..workload.between(1, 3))
        .map(|_| {
            let share = workload.between(200, 900);
            (0..(settings.users - settings.unknown_users) as u16)
                .filter(|_| workload.chance(share))
                .map(UserNo)
                .collect()
        })
        .collect();
    Schedule { seed, profile: profile.to_owned(), settings, clients, groups, steps: Vec::new() }
}

/// Draws which clients speak the session protocol, and what only they meet.
fn with_sessions(
    workload: &mut Choices,
    settings: &mut Settings,
    profile: &str,
    mut clients: Vec<ClientSpec>,
) -> Vec<ClientSpec> {
    let permille = match profile {
        "sessions" => 1000,
        "classic" | "original" | BENCH | BENCH_LONG => 0,
        _ => [0, 300, 700][workload.weighted(&[2, 1, 1])],
    };
    if permille == 0 {
        return clients;
    }
    let raw_permille = [0, 250, 700][workload.weighted(&[2, 3, 1])];
    for client in &mut clients {
        if workload.chance(permille) {
            let is_raw = workload.chance(raw_permille);
            client.kind = if is_raw { ClientKind::RawSession } else { ClientKind::Session };
        }
    }
    settings.resync_interval_ms = workload.between(2_000, 10_000);
    settings.hello_timeout_ms = workload.between(500, 6_000);
    settings.page_messages = [1, 3, 16][workload.weighted(&[1, 1, 2])];
    settings.fetches_per_connection = workload.between(1, 4);
    settings.history = if workload.chance(150) { workload.between(1, 5) } else { 0 };
    clients
}

/// Draws how much clients may send, and what the directory has for users.
fn limits(workload: &mut Choices, settings: &mut Settings, profile: &str) {
    let rates = profile == "rates";
    if rates || workload.chance(200) {
        // As slow as the healed phase can bear: it speaks ten times a second.
        settings.messages_per_second = workload.between(10, 100);
        settings.message_burst = workload.between(3, 30);
    }
    if workload.chance(if rates { 500 } else { 100 }) {
        settings.bytes_per_second = workload.between(2_000, 20_000);
        settings.byte_burst = settings.message_bytes + workload.below(4_096);
    }
    if workload.chance(60) {
        settings.groups_per_user = workload.between(1, 2);
    }
    if workload.chance(60) {
        settings.unknown_users = 1;
    }
}

fn node(choices: &mut Choices, schedule: &Schedule) -> NodeNo {
    NodeNo(choices.below(schedule.settings.nodes) as u16)
}

fn client(choices: &mut Choices, schedule: &Schedule) -> ClientNo {
    ClientNo(choices.below(schedule.clients.len() as u64) as u16)
}

/// One of the clients of a kind; none if there is none.
fn client_of(choices: &mut Choices, schedule: &Schedule, kind: ClientKind) -> Option<ClientNo> {
    let clients = schedule.clients.iter().enumerate().filter(|(_, client)| client.kind == kind);
    let clients: Vec<u16> = clients.map(|(number, _)| number as u16).collect();
    let place = choices.below(clients.len() as u64) as usize;
    clients.get(place).copied().map(ClientNo)
}

fn user(choices: &mut Choices, schedule: &Schedule) -> UserNo {
    UserNo(choices.below(schedule.settings.users) as u16)
}

fn group(choices: &mut Choices, schedule: &Schedule) -> GroupNo {
    GroupNo(choices.below(schedule.groups.len() as u64) as u16)
}

/// Steps that belong together, each with the time since the one before.
fn motif(sources: &mut Sources, schedule: &Schedule, class: Class) -> Vec<(u64, What)> {
    let w = &mut sources.workload;
    let s = &mut sources.scheduling;
    let (first, second) = (client(w, schedule), client(w, schedule));
    let user_of = |client: ClientNo| schedule.clients[client.index()].user;
    if class == Class::Ring {
        // A call that is answered about when it stops ringing.
        let ring_us = schedule.settings.ring_timeout_ms * 1_000;
        let dial = What::Signal { client: first, to: To::User(user_of(second)), kind: 10 };
        let answer = What::Signal { client: second, to: To::Nobody, kind: 11 };
        return vec![(0, dial), (ring_us / 2 + s.below(ring_us), answer)];
    }
    // A user comes and goes while their memberships change, and somebody writes to the group.
    let (user, group) = (user_of(first), group(w, schedule));
    let pace_us = [500, 20_000, 600_000][s.weighted(&[1, 2, 1])];
    (0..w.between(3, 7))
        .map(|_| {
            let what = match w.weighted(&[3, 3, 2, 1, 1, 4]) {
                0 => What::Join { user, group },
                1 => What::Part { user, group },
                2 => What::Connect { client: first, node: node(w, schedule) },
                3 => What::Close { client: first },
                4 => What::Avatar { user },
                _ => {
                    let client = if w.chance(300) { first } else { second };
                    What::Send { client, to: To::Group(group), bytes: 0 }
                }
            };
            (s.below(pace_us), what)
        })
        .collect()
}

/// One step of a class; none where the world has nothing that it could be about.
fn step(sources: &mut Sources, schedule: &Schedule, class: Class) -> Option<What> {
    let w = &mut sources.workload;
    let f = &mut sources.faults;
    let long = schedule.settings.message_bytes / 2;
    Some(match class {
        Class::Connect => What::Connect { client: client(w, schedule), node: node(w, schedule) },
        Class::Close => What::Close { client: client(w, schedule) },
        Class::Direct => {
            let to = To::User(user(w, schedule));
            let bytes = match w.below(1000) {
                0..3 => schedule.settings.message_bytes,
                3..150 => w.below(long),
                _ => w.below(40),
            } as u32;
            What::Send { client: client(w, schedule), to, bytes }
        }
        Class::Group => {
            let to = To::Group(group(w, schedule));
            let bytes = if w.chance(150) { w.below(long) } else { w.below(40) } as u32;
            What::Send { client: client(w, schedule), to, bytes }
        }
        Class::Broadcast => {
            What::Send { client: client(w, schedule), to: To::Nobody, bytes: w.below(100) as u32 }
        }
        Class::Media => {
            let to = if w.chance(500) { To::User(user(w, schedule)) } else { To::Group(group(w, schedule)) };
            let carrier = if w.chance(800) { Carrier::Bytes } else { Carrier::DataUrl };
            What::Media { client: client(w, schedule), to, bytes: w.between(1, 300) as u32, carrier }
        }
        Class::Signal => {
            // The first users ring each other most, so that calls meet.
            let peer = UserNo(w.below(schedule.settings.users.min(3)) as u16);
            let to = if w.chance(400) { To::Nobody } else { To::User(peer) };
            let kind = [0, 10, 11, 13, 14, 6, 20][w.weighted(&[4, 3, 3, 1, 1, 1, 1])];
            let clients = schedule.clients.len() as u64;
            What::Signal { client: ClientNo(w.below(clients.min(4)) as u16), to, kind }
        }
        Class::Pictures => What::Pictures {
            client: client(w, schedule),
            to: if w.chance(100) { To::Nobody } else { To::User(user(w, schedule)) },
            kind: w.between(8, 9) as i32,
            count: w.between(1, 20) as u32,
            gap_us: [0, 1_000, 60_000][w.weighted(&[1, 1, 1])],
        },
        Class::Burst => {
            let to = if w.chance(700) { To::User(user(w, schedule)) } else { To::Group(group(w, schedule)) };
            let bytes = if w.chance(300) { w.below(long) } else { w.below(40) } as u32;
            let count = [w.between(2, 8), w.between(5, 60)][w.weighted(&[2, 1])] as u32;
            What::Burst { client: client(w, schedule), to, bytes, count }
        }
        // Made of several steps.
        Class::Ring | Class::Churn => return None,
        Class::Heartbeat => What::Heartbeat { client: client(w, schedule) },
        Class::Ping => What::Ping { client: client(w, schedule) },
        Class::Join => What::Join { user: user(w, schedule), group: group(w, schedule) },
        Class::Part => What::Part { user: user(w, schedule), group: group(w, schedule) },
        Class::Avatar => What::Avatar { user: user(w, schedule) },
        Class::Spoof => {
            let to = match w.below(3) {
                0 => To::Group(group(w, schedule)),
                1 => To::Nobody,
                _ => To::User(user(w, schedule)),
            };
            What::Spoof { client: client(w, schedule), claims: user(w, schedule), to }
        }
        // A file's message without a file.
        Class::Short => {
            What::Signal { client: client(w, schedule), to: To::User(user(w, schedule)), kind: 2 }
        }
        Class::Garbage => What::Garbage { client: client(w, schedule), kind: f.below(6) as u32 },
        Class::Nowhere => What::Nowhere { client: client(w, schedule) },
        Class::Misbehave => {
            let how = [Misdeed::Framing, Misdeed::Text, Misdeed::Utf8, Misdeed::Large, Misdeed::Budget];
            What::Misbehave { client: client(w, schedule), how: how[f.below(5) as usize] }
        }
        Class::Net => What::Net {
            whose: if f.chance(300) { Whose::All } else { Whose::One(client(f, schedule)) },
            slow_us: [0, 5_000, 300_000][f.weighted(&[2, 2, 1])],
            jitter_us: [0, 5_000, 300_000, 2_000_000][f.weighted(&[3, 2, 2, 1])],
        },
        Class::Garble => What::Garble { node: node(f, schedule) },
        Class::Cut => {
            let seen = [Seen::Server, Seen::Client, Seen::Both, Seen::Nobody][f.below(4) as usize];
            let later_us = match f.chance(500) {
                // About when whoever dials again at once arrives.
                true if schedule.profile == "original" => schedule.settings.net_delay_us + f.below(16),
                true => f.below(1_000_000),
                false => 0,
            };
            What::Cut { client: client(f, schedule), seen, later_us }
        }
        Class::Pause => What::Pause { client: client(f, schedule) },
        Class::Resume => What::Resume { client: client(f, schedule) },
        Class::Ghost => What::Ghost { client: client(f, schedule), kind: f.below(6) as u32 },
        Class::Store => What::Store {
            slow_us: [0, 10_000, 1_000_000, 5_000_000][f.weighted(&[2, 3, 2, 1])],
            fail_permille: if f.chance(400) { f.below(1000) } else { 0 },
            lose_permille: if f.chance(300) { f.below(1000) } else { 0 },
            reorder_permille: if f.chance(500) { f.below(1001) } else { 0 },
        },
        Class::Bus => What::Bus {
            slow_us: [0, 10_000, 1_000_000][f.weighted(&[2, 2, 1])],
            drop_permille: if f.chance(400) { f.below(1000) } else { 0 },
            repeat_permille: if f.chance(400) { f.below(1000) } else { 0 },
            reorder_permille: if f.chance(400) { f.below(1001) } else { 0 },
        },
        Class::Partition => {
            let (from, into) = (node(f, schedule), node(f, schedule));
            let ways = if f.chance(500) { Ways::Both } else { Ways::One };
            return (from != into).then_some(What::Partition { from, into, ways });
        }
        Class::Rejoin => What::Rejoin {},
        Class::Crash => What::Crash { node: node(f, schedule), down_us: f.between(1_000, 3_000_000) },
        Class::Stop => What::Stop { node: node(f, schedule), down_us: f.between(1_000, 3_000_000) },
        Class::Rolling => What::Rolling { gap_us: f.between(10_000, 2_000_000) },
        Class::Clock => {
            let jump = f.below(20_000_000) as i64;
            What::Clock { node: node(f, schedule), jump_us: if f.chance(500) { -jump } else { jump } }
        }
        Class::Mass => What::Mass { node: node(f, schedule) },
        Class::Session(what) => return session_step(sources, schedule, what),
    })
}

/// Who says a text by a step.
const fn speaker(what: What) -> Option<ClientNo> {
    if let What::Send { client, .. } | What::Burst { client, .. } = what { Some(client) } else { None }
}

/// One of the last steps by which a session of this client's user says something, which may still be on its way.
fn said_lately(f: &mut Choices, schedule: &Schedule, client: ClientNo) -> Option<u32> {
    let user = schedule.clients[client.index()].user;
    let own = |step: &&Step| {
        speaker(step.what)
            .map(|client| schedule.clients[client.index()])
            .is_some_and(|spec| spec.user == user && spec.kind.is_session())
    };
    let steps: Vec<u32> = schedule.steps.iter().filter(own).map(|step| step.id).collect();
    let back = f.below((steps.len() as u64).min(6)) as usize;
    steps.get(steps.len().checked_sub(back + 1)?).copied()
}

/// One step of what only sessions do; none where there are none.
fn session_step(sources: &mut Sources, schedule: &Schedule, what: Session) -> Option<What> {
    let w = &mut sources.workload;
    let f = &mut sources.faults;
    let peer = |choices: &mut Choices| match choices.chance(500) {
        true => To::User(user(choices, schedule)),
        false => To::Group(group(choices, schedule)),
    };
    let (raw, app) = (ClientKind::RawSession, ClientKind::Session);
    match what {
        Session::Fetch => Some(What::Fetch {
            client: client_of(w, schedule, raw)?,
            of: if f.chance(50) { To::Nobody } else { peer(w) },
            from_seq: [w.below(8), w.below(2), u64::MAX][w.weighted(&[6, 3, 1])],
            backwards: u32::from(w.chance(300)),
            limit: [0, w.below(4) as u32][w.weighted(&[1, 1])],
            count: [1, f.below(12) as u32][f.weighted(&[3, 1])],
        }),
        Session::Older => Some(What::Older {
            client: client_of(w, schedule, app)?,
            of: peer(w),
            before_seq: w.below(8),
            limit: w.below(5) as u32,
        }),
        Session::Resync => Some(What::Resync {
            client: client_of(w, schedule, raw)?,
            cursors: [0, 5, 300][w.weighted(&[3, 2, 1])],
            count: [1, f.below(20) as u32][f.weighted(&[3, 1])],
        }),
        Session::OutOfTurn => Some(What::Hello { client: client_of(f, schedule, raw)?, cursors: 0 }),
        Session::Again => {
            let client = client_of(f, schedule, raw)?;
            let step = said_lately(f, schedule, client)?;
            Some(What::Again { client, step, nth: f.below(2) as u32 })
        }
        Session::Alter => {
            let client = client_of(f, schedule, raw)?;
            let step = said_lately(f, schedule, client)?;
            Some(What::Alter { client, step, nth: f.below(2) as u32 })
        }
        Session::Invalid => Some(What::Invalid {
            client: client_of(f, schedule, raw)?,
            kind: f.below(INVALID_KINDS.into()) as u32,
        }),
        Session::Die => Some(What::Die {
            client: client_of(f, schedule, app)?,
            actions: f.below(12) as u32,
            down_us: f.between(1_000, 2_000_000),
        }),
        Session::Wipe => Some(What::Wipe { client: client_of(f, schedule, app)? }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_makes_schedules_that_can_be_executed() {
        for (profile, _) in PROFILES {
            // Those for measuring are large and all alike.
            let seeds = if is_bench(profile) { 1 } else { 200 };
            for seed in 0..seeds {
                let schedule = generate(seed, profile).unwrap();
                assert_eq!(schedule.check(), Ok(()), "{profile} {seed}");
                assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
            }
        }
    }

    #[test]
    fn any_bytes_make_a_schedule() {
        for bytes in [&[][..], &[255; 64], &[7; 1000]] {
            assert_eq!(from_sources(Sources::from_bytes(bytes), 1, "default").check(), Ok(()));
        }
    }
}
