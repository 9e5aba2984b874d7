//! Switchboard beside other servers and beside the floor that the kernel sets: the same loads, in turns.
//!
//! Each is a program of its own (`benches/peers/`) that relays the classic protocol's messages and stores nothing. Every
//! measurement has a server of its own, which is started for it: what one load leaves behind costs no other one.

mod book;
mod chart;
mod program;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use book::Run;
pub use program::Peer;
pub use report::{Bar, Cell, LeftOut, Limit, PeersReport, Section};

use crate::broadcast::{self, BroadcastOptions};
use crate::direct::{self, DirectOptions, Kind};
use crate::idle::{self, IdleOptions, IdleReport};
use crate::load::{Pace, Timing, check, rules};
use crate::stall::{self, StallOptions, StallReport};
use crate::storm::{self, StormOptions, StormReport};
use crate::{BenchError, Progress};
use book::Book;
use program::{Program, Route};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeersOptions {
    /// The repository, with the sources of all peers.
    #[serde(skip)]
    pub repository: PathBuf,
    /// Whether they are built first, or taken as they were built before.
    #[serde(skip)]
    pub build: bool,
    /// Reports as JSON, whose rounds are taken in.
    #[serde(skip)]
    pub earlier: Vec<PathBuf>,
    /// Which peers.
    pub peers: Vec<Peer>,
    /// Which loads.
    pub loads: Vec<Load>,
    /// Rounds; in each of them every peer gets every load once.
    pub runs: usize,
    /// Clients that hear a broadcast.
    pub recipients: usize,
    /// Clients that send to each other in pairs.
    pub clients: usize,
    /// Connections that say nothing.
    pub connections: usize,
    /// Clients that reconnect at once.
    pub storming: usize,
    /// Of those that hear a broadcast, how many read nothing when that is measured.
    pub stalled: usize,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// How long each run takes.
    #[serde(flatten)]
    pub timing: Timing,
    /// After how much time the memory of idle connections is read; the last one counts.
    #[serde(rename = "settle_seconds", serialize_with = "idle::all_as_seconds")]
    pub settle: Vec<Duration>,
    /// Whether runs are long enough to be judged by.
    pub judged: bool,
}

impl Default for PeersOptions {
    fn default() -> Self {
        Self {
            repository: PathBuf::from("."),
            build: true,
            earlier: Vec::new(),
            peers: Peer::ALL.to_vec(),
            loads: Load::ALL.to_vec(),
            runs: 5,
            recipients: 1000,
            clients: 200,
            connections: 19_000,
            storming: 10_000,
            stalled: 100,
            payload_bytes: 128,
            timing: Timing { duration: Duration::from_secs(3), ..Timing::default() },
            settle: IdleOptions::default().settle,
            judged: true,
        }
    }
}

impl PeersOptions {
    /// As little as shows that everything works.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            runs: 1,
            recipients: 50,
            clients: 20,
            connections: 200,
            storming: 100,
            stalled: 5,
            timing: Timing {
                warmup: Duration::from_millis(200),
                duration: Duration::from_millis(500),
                ..Timing::default()
            },
            settle: vec![Duration::from_millis(200)],
            judged: false,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), BenchError> {
        let limit = Duration::from_secs(3600);
        check([
            ("--runs", "at least 1, or reports of earlier rounds", self.runs > 0 || !self.earlier.is_empty()),
            ("--connections", "between 1 and 400000", (1..=400_000).contains(&self.connections)),
            ("--settle-seconds", "at most 3600 each", self.settle.iter().all(|settle| *settle <= limit)),
        ])?;
        check(rules(Pace::InFlight(16), &self.timing, self.payload_bytes, self.clients))
    }

    /// What is measured of each load, in the order of the report.
    fn scenarios(&self) -> Vec<(Scenario, Vec<Measure>)> {
        let memory = |settle: &Duration| Measure::Memory { after_ms: millis(*settle) };
        let mut scenarios = Vec::new();
        for load in Load::ALL.into_iter().filter(|load| self.loads.contains(load)) {
            match load {
                Load::Broadcast => scenarios
                    .extend([1, 16].map(|in_flight| (Scenario::Broadcast { in_flight }, vec![Measure::Cpu]))),
                Load::Direct => scenarios
                    .extend([1, 16].map(|in_flight| (Scenario::Direct { in_flight }, vec![Measure::Cpu]))),
                Load::Idle => scenarios.push((Scenario::Idle, self.settle.iter().map(memory).collect())),
                Load::Storm => scenarios.push((Scenario::Storm, vec![Measure::Welcomed, Measure::Staying])),
                Load::Stall => scenarios.push((Scenario::Stall, vec![Measure::Share])),
            }
        }
        scenarios
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// One client sends to all.
    Broadcast,
    /// Pairs of clients send to each other.
    Direct,
    /// Connections say nothing.
    Idle,
    /// All clients reconnect at once, while others go on talking.
    Storm,
    /// A broadcast that some never read.
    Stall,
}

impl Load {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Broadcast, Self::Direct, Self::Idle, Self::Storm, Self::Stall];
}

/// A load, as it is put on a server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "load", rename_all = "lowercase")]
pub enum Scenario {
    /// One client sends to all.
    Broadcast {
        /// Messages that it keeps under way.
        in_flight: usize,
    },
    /// Pairs of clients send to each other.
    Direct {
        /// Messages that each keeps under way.
        in_flight: usize,
    },
    /// Connections say nothing.
    Idle,
    /// All clients reconnect at once, while others go on talking.
    Storm,
    /// A broadcast with clients that read nothing, and with all reading.
    Stall,
}

impl Scenario {
    const fn route(self) -> Route {
        match self {
            Self::Direct { .. } | Self::Storm => Route::Pairs,
            Self::Broadcast { .. } | Self::Idle | Self::Stall => Route::All,
        }
    }
}

/// What is measured of a load.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "measure", rename_all = "lowercase")]
pub enum Measure {
    /// CPU time of the server for each delivered message, in microseconds.
    Cpu,
    /// Memory of a connection, in KiB.
    Memory {
        /// How long it had been idle.
        after_ms: u64,
    },
    /// Time until all were welcomed again, in seconds.
    Welcomed,
    /// Of the messages of those who were not in the storm, 99 of 100 took at most this, in milliseconds.
    Staying,
    /// Messages per second of those who read beside clients that read nothing, by those if all read.
    Share,
}

/// How often a stall is measured, with and without, in a round.
const STALL_TURNS: usize = 3;

/// Builds the peers, runs all loads in turns, and ends by itself. A peer that cannot be built is left out, and one that
/// fails under a load falls short there. `after_round` gets what is known by then, as rounds take minutes.
///
/// # Errors
/// Wrong options, earlier reports that cannot be read or are of other options, or more connections than open files.
pub fn run(
    options: &PeersOptions,
    progress: &mut Progress,
    mut after_round: impl FnMut(&PeersReport),
) -> Result<PeersReport, BenchError> {
    options.check()?;
    let mut book = Book::default();
    for file in &options.earlier {
        book.take_in(file, options)?;
    }
    let (mut programs, mut left_out) = (Vec::new(), Vec::new());
    for &peer in options.peers.iter().filter(|_| options.runs > 0) {
        let repository = &options.repository;
        match if options.build { peer.build(repository, progress) } else { peer.built(repository) } {
            Ok(program) => programs.push(program),
            Err(why) => left_out.push(LeftOut { peer, why }),
        }
    }
    for round in 0..options.runs {
        for (scenario, measures) in options.scenarios() {
            // Another one begins each time, so that none always follows the same one.
            let mut turns: Vec<_> =
                programs.iter().filter(|program| program.peer().takes(scenario)).collect();
            let first = round % turns.len().max(1);
            turns.rotate_left(first);
            for program in turns {
                let turn = format!("round {} of {}, {}, {scenario}", round + 1, options.runs, program.peer());
                progress.prefix(&turn);
                let runs = measure(options, program, scenario, measures.len(), progress)?;
                for (measure, run) in measures.iter().zip(runs) {
                    book.enter(scenario, *measure, program.peer(), run);
                }
            }
        }
        book.close_round();
        after_round(&PeersReport::of(options.clone(), book.clone().into_pages(), left_out.clone()));
    }
    progress.prefix("");
    progress.clear();
    Ok(PeersReport::of(options.clone(), book.into_pages(), left_out))
}

fn measure(
    options: &PeersOptions,
    program: &Program,
    scenario: Scenario,
    measures: usize,
    progress: &mut Progress,
) -> Result<Vec<Run>, BenchError> {
    match load(options, program, scenario, progress) {
        Err(error @ (BenchError::Option { .. } | BenchError::OpenFiles { .. } | BenchError::Rlimit(_))) => {
            Err(error)
        }
        Err(error) => Ok(vec![Run::failed(&error); measures]),
        Ok(runs) => Ok(runs),
    }
}

/// One run of each measure.
fn load(
    options: &PeersOptions,
    program: &Program,
    scenario: Scenario,
    progress: &mut Progress,
) -> Result<Vec<Run>, BenchError> {
    let PeersOptions { recipients, clients, connections, payload_bytes, timing, stalled, .. } = *options;
    let start = || program.start(scenario.route());
    let runs = match scenario {
        Scenario::Broadcast { in_flight } => {
            let pace = Pace::InFlight(in_flight);
            let options = BroadcastOptions { clients: recipients, stalled: 0, pace, payload_bytes, timing };
            vec![broadcast::run(&options, &start()?, progress)?.load.into()]
        }
        Scenario::Direct { in_flight } => {
            let (kind, pace) = (Kind::Relay, Pace::InFlight(in_flight));
            let options = DirectOptions { kind, clients, pace, payload_bytes, timing };
            vec![direct::run(&options, &start()?, progress)?.load.into()]
        }
        Scenario::Idle => {
            let connect_limit = timing.connect_limit;
            let settle = options.settle.clone();
            let options = IdleOptions { connections, connect_limit, settle, ..IdleOptions::default() };
            let IdleReport { settled, shortfalls, .. } = idle::run(&options, &[start()?], progress)?;
            let run = |settled: idle::Settled| Run::of(settled.kib_per_connection, &shortfalls);
            settled.into_iter().map(run).collect()
        }
        Scenario::Storm => {
            let connect_limit = timing.connect_limit;
            let options =
                StormOptions { clients: options.storming, connect_limit, ..StormOptions::default() };
            let report = storm::run(&options, &[start()?], progress)?;
            let StormReport { storm_seconds, staying_latency, shortfalls, .. } = report;
            vec![
                Run::of(Some(storm_seconds), &shortfalls),
                Run {
                    latency: Some(staying_latency),
                    ..Run::of(Some(staying_latency.p99_us / 1e3), &shortfalls)
                },
            ]
        }
        Scenario::Stall => {
            let clients = recipients.saturating_sub(stalled);
            // Short ones that take turns: messages per second swing more than what is asked about.
            let timing = Timing { duration: timing.duration / 2, ..timing };
            let runs = STALL_TURNS;
            let options = StallOptions { runs, clients, stalled, timing, ..StallOptions::default() };
            let StallReport { ratio, shortfalls, .. } = stall::run(&options, start, progress)?;
            vec![Run::of(ratio.map(|ratio| ratio.median), &shortfalls)]
        }
    };
    Ok(runs)
}
