//! Switchboard beside other servers and beside the floor that the kernel sets: the same loads, in turns.
//!
//! Each is a program of its own (`benches/peers/`) that relays the classic protocol's messages and stores nothing. Every
//! measurement has a server of its own, which is started for it: what one load leaves behind costs no other one.

mod chart;
mod program;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use program::Peer;
pub use report::{Bar, Cell, LeftOut, PeersReport, Run, ScenarioReport};

use crate::broadcast::{self, BroadcastOptions};
use crate::direct::{self, DirectOptions, Kind};
use crate::idle::{self, IdleOptions, IdleReport};
use crate::load::{Pace, Timing, as_seconds};
use crate::{BenchError, Progress, Protocol, Target};
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
    /// Which peers.
    pub peers: Vec<Peer>,
    /// Rounds; in each of them every peer gets every load once.
    pub runs: usize,
    /// Clients that hear a broadcast.
    pub recipients: usize,
    /// Clients that send to each other in pairs.
    pub clients: usize,
    /// Connections that say nothing.
    pub connections: usize,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// How long each run takes.
    #[serde(flatten)]
    pub timing: Timing,
    /// Time that connections stay idle before memory is read.
    #[serde(rename = "settle_seconds", serialize_with = "as_seconds")]
    pub settle: Duration,
    /// Whether runs are long enough to be judged by.
    pub judged: bool,
}

impl Default for PeersOptions {
    fn default() -> Self {
        Self {
            repository: PathBuf::from("."),
            build: true,
            peers: Peer::ALL.to_vec(),
            runs: 5,
            recipients: 1000,
            clients: 200,
            connections: 10_000,
            payload_bytes: 128,
            timing: Timing { duration: Duration::from_secs(3), ..Timing::default() },
            settle: Duration::from_secs(2),
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
            timing: Timing {
                warmup: Duration::from_millis(200),
                duration: Duration::from_millis(500),
                ..Timing::default()
            },
            settle: Duration::from_millis(200),
            judged: false,
            ..Self::default()
        }
    }
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
}

impl Scenario {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::Broadcast { in_flight: 1 },
        Self::Broadcast { in_flight: 16 },
        Self::Direct { in_flight: 1 },
        Self::Direct { in_flight: 16 },
        Self::Idle,
    ];

    /// What is measured of it.
    #[must_use]
    pub const fn measure(self) -> &'static str {
        match self {
            Self::Broadcast { .. } | Self::Direct { .. } => "CPU us/message",
            Self::Idle => "KiB/connection",
        }
    }

    const fn route(self) -> Route {
        match self {
            Self::Direct { .. } => Route::Pairs,
            Self::Broadcast { .. } | Self::Idle => Route::All,
        }
    }
}

/// Builds the peers, runs all loads in turns, and ends by itself. A peer that cannot be built is left out, and one that
/// fails under a load falls short there.
///
/// # Errors
/// Wrong options, or more connections than open files.
pub fn run(options: &PeersOptions, progress: &mut Progress) -> Result<PeersReport, BenchError> {
    if options.runs == 0 {
        return Err(BenchError::Option { option: "--runs", rule: "at least 1" });
    }
    let (mut programs, mut left_out) = (Vec::new(), Vec::new());
    for &peer in &options.peers {
        let repository = &options.repository;
        match if options.build { peer.build(repository, progress) } else { peer.built(repository) } {
            Ok(program) => programs.push(program),
            Err(why) => left_out.push(LeftOut { peer, why }),
        }
    }
    let mut runs: Vec<Vec<Vec<Run>>> = vec![vec![Vec::new(); programs.len()]; Scenario::ALL.len()];
    for round in 0..options.runs {
        for (scenario, of_scenario) in Scenario::ALL.into_iter().zip(&mut runs) {
            // Another one begins each time, so that none always follows the same one.
            let mut turns: Vec<_> = programs.iter().zip(of_scenario).collect();
            let first = round % turns.len().max(1);
            turns.rotate_left(first);
            for (program, of_program) in turns {
                let turn = format!("round {} of {}, {}, {scenario}", round + 1, options.runs, program.peer());
                progress.prefix(&turn);
                of_program.push(measure(options, program, scenario, progress)?);
            }
        }
    }
    progress.prefix("");
    progress.clear();
    let peers: Vec<Peer> = programs.iter().map(Program::peer).collect();
    let scenarios = Scenario::ALL
        .into_iter()
        .zip(runs)
        .map(|(scenario, runs)| ScenarioReport::of(scenario, &peers, &runs));
    Ok(PeersReport::of(options.clone(), scenarios.collect(), left_out))
}

fn measure(
    options: &PeersOptions,
    program: &Program,
    scenario: Scenario,
    progress: &mut Progress,
) -> Result<Run, BenchError> {
    let run = program.start(scenario.route()).and_then(|target| load(options, scenario, &target, progress));
    match run {
        Err(error @ (BenchError::Option { .. } | BenchError::OpenFiles { .. } | BenchError::Rlimit(_))) => {
            Err(error)
        }
        Err(error) => Ok(Run::failed(&error)),
        Ok(run) => Ok(run),
    }
}

fn load(
    options: &PeersOptions,
    scenario: Scenario,
    target: &Target,
    progress: &mut Progress,
) -> Result<Run, BenchError> {
    let PeersOptions { recipients, clients, connections, payload_bytes, timing, settle, .. } = *options;
    let run = match scenario {
        Scenario::Broadcast { in_flight } => {
            let pace = Pace::InFlight(in_flight);
            let options = BroadcastOptions { clients: recipients, stalled: 0, pace, payload_bytes, timing };
            broadcast::run(&options, target, progress)?.load.into()
        }
        Scenario::Direct { in_flight } => {
            let (kind, pace) = (Kind::Relay, Pace::InFlight(in_flight));
            let options = DirectOptions { kind, clients, pace, payload_bytes, timing };
            direct::run(&options, target, progress)?.load.into()
        }
        Scenario::Idle => {
            let (protocol, connect_limit) = (Protocol::Classic, timing.connect_limit);
            let options = IdleOptions { protocol, connections, connect_limit, settle };
            let IdleReport { kib_per_connection, shortfalls, .. } = idle::run(&options, target, progress)?;
            Run { value: kib_per_connection, delivered_per_second: None, latency: None, shortfalls }
        }
    };
    Ok(run)
}
