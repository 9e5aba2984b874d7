//! The command `switchboard-bench`.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use switchboard_benches::direct::{self, DirectOptions, Kind};
use switchboard_benches::durable::{self, DurableOptions};
use switchboard_benches::idle::{self, IdleOptions, IdlePair};
use switchboard_benches::peers::{self, Peer, PeersOptions};
use switchboard_benches::resume::{self, ResumeOptions};
use switchboard_benches::{BenchError, Process, Progress, Protocol, Target};

const AFTER_HELP: &str = "\
Examples:
  switchboard-bench direct
  switchboard-bench direct --kind stored --clients 50 --rate 20000 --json stored.json
  switchboard-bench durable --rate 10000 --runs 5
  switchboard-bench resume --messages 10000
  switchboard-bench idle --protocol both
  switchboard-bench idle --connections 10000 --target 127.0.0.1:8888 --pid 4711
  switchboard-bench peers --json peers.json --svg peers.svg
  switchboard-bench peers --quick --only switchboard,floor

Without --target, a server is started for the run, on a free port, with a temporary data folder and with its
rate limits lifted, and stopped at the end.

Exit codes: 0 all that was asked for was reached, 1 something fell short or failed, 2 wrong usage.";

/// Measures a chat server on this machine.
#[derive(Debug, Parser)]
#[command(name = "switchboard-bench", version, about, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pairs of clients send to each other: messages per second, latency, CPU per message
    Direct(DirectArgs),
    /// Acknowledged, durable messages beside relayed ones, in turns: the ratio of their CPU time
    Durable(DurableArgs),
    /// Sessions that have missed messages come back: CPU time until they have them
    Resume(ResumeArgs),
    /// Connections that say nothing: memory per connection
    Idle(IdleArgs),
    /// Other servers beside this one, in turns: CPU per message, memory per connection
    Peers(PeersArgs),
}

#[derive(Args, Debug)]
struct DirectArgs {
    /// What is sent: `relay` is never stored, `stored` is delivered after the commit, `session` is a session's
    #[arg(long, value_enum, default_value_t = Kind::Relay)]
    kind: Kind,
    /// Clients, an even number
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Time that is measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Time that clients may take to be connected and welcomed
    #[arg(long, default_value_t = 30.0)]
    connect_seconds: f64,
    /// Time that is not measured at first
    #[arg(long, default_value_t = 1.0)]
    warmup_seconds: f64,
    /// Messages that each client keeps under way
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Messages per second of all clients, sent when due (open loop), instead of --in-flight
    #[arg(long, conflicts_with = "in_flight")]
    rate: Option<u64>,
    /// Size of a message
    #[arg(long, default_value_t = 128)]
    payload_bytes: usize,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
struct DurableArgs {
    /// Runs of each kind
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Messages per second of all clients, sent when due (open loop)
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Clients, an even number
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Time of each run that is measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Time that clients may take to be connected and welcomed
    #[arg(long, default_value_t = 30.0)]
    connect_seconds: f64,
    /// Time of each run that is not measured at first
    #[arg(long, default_value_t = 1.0)]
    warmup_seconds: f64,
    /// Size of a message
    #[arg(long, default_value_t = 128)]
    payload_bytes: usize,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
struct ResumeArgs {
    /// Messages that were missed, and conversations of which the heads are told
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// Conversations that the messages are spread over, in the second part
    #[arg(long, default_value_t = 100)]
    conversations: usize,
    /// Size of a message's text
    #[arg(long, default_value_t = 80)]
    text_bytes: usize,
    /// How often each comes back
    #[arg(long, default_value_t = 5)]
    runs: usize,
    #[command(flatten)]
    common: CommonArgs,
}

/// What idle connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum IdleProtocol {
    Classic,
    Session,
    /// One after the other, each with a server of its own, and the difference
    Both,
}

#[derive(Args, Debug)]
struct IdleArgs {
    /// What the connections speak
    #[arg(long, value_enum, default_value_t = IdleProtocol::Classic)]
    protocol: IdleProtocol,
    /// Connections to open
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Time that all of them may take to be connected and welcomed
    #[arg(long, default_value_t = 120.0)]
    connect_seconds: f64,
    /// Time that they stay idle before memory is read
    #[arg(long, default_value_t = 2.0)]
    settle_seconds: f64,
    #[command(flatten)]
    common: CommonArgs,
}

/// Builds other servers (benches/peers) and this one, and puts the same loads on all of them in turns.
///
/// In each round every peer gets every load once, and for each load it is started anew. A peer that cannot be built is
/// left out, with the reason. One that fails under a load fell short there; runs that fell short do not count. The bars
/// are what is asked of Switchboard; the command fails if one is missed.
#[derive(Args, Debug)]
struct PeersArgs {
    /// Which peers, instead of all
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<Peer>,
    /// A short run that shows whether everything works; its figures are not judged
    #[arg(long)]
    quick: bool,
    /// Rounds [default: 5; quick: 1]
    #[arg(long)]
    runs: Option<usize>,
    /// Time of each run that is measured [default: 3; quick: 0.5]
    #[arg(long)]
    seconds: Option<f64>,
    /// Connections that say nothing [default: 10000; quick: 200]
    #[arg(long)]
    connections: Option<usize>,
    /// The repository, whose peers are built
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    repository: PathBuf,
    /// Where to write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to draw the report
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct CommonArgs {
    /// A running server, on a loopback address; otherwise one is started
    #[arg(long, value_name = "ADDRESS:PORT")]
    target: Option<SocketAddr>,
    /// Process of the running server, to measure its CPU time and memory
    #[arg(long, requires = "target")]
    pid: Option<i32>,
    /// Program of the server to start
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/release/switchboard",
        conflicts_with = "target"
    )]
    server: PathBuf,
    /// Shards of the server to start
    #[arg(long, default_value_t = 1, conflicts_with = "target")]
    shards: u16,
    /// Where to write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CommonArgs {
    fn target(&self) -> Result<Target, BenchError> {
        match self.target {
            Some(address) => Target::running(address, self.pid.map(Process::new).transpose()?),
            None => Target::started(&self.server, self.shards),
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprint!("switchboard-bench: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            match error.downcast_ref() {
                Some(BenchError::Option { .. } | BenchError::NotLoopback(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Runs the command, and says whether all was reached.
fn run(command: Command) -> Result<bool, Box<dyn Error>> {
    let mut progress = Progress::on_terminal();
    match command {
        Command::Direct(args) => {
            let options = DirectOptions {
                kind: args.kind,
                clients: args.clients,
                in_flight: args.in_flight,
                rate_per_second: args.rate,
                payload_bytes: args.payload_bytes,
                connect_limit: seconds("--connect-seconds", args.connect_seconds)?,
                warmup: seconds("--warmup-seconds", args.warmup_seconds)?,
                duration: seconds("--seconds", args.seconds)?,
            };
            let report = direct::run(&options, &args.common.target()?, &mut progress)?;
            print!("{report}");
            write_json(args.common.json.as_deref(), &report)?;
            Ok(report.shortfalls.is_empty())
        }
        Command::Durable(args) => {
            let options = DurableOptions {
                runs: args.runs,
                rate_per_second: args.rate,
                clients: args.clients,
                payload_bytes: args.payload_bytes,
                connect_limit: seconds("--connect-seconds", args.connect_seconds)?,
                warmup: seconds("--warmup-seconds", args.warmup_seconds)?,
                duration: seconds("--seconds", args.seconds)?,
            };
            let report = durable::run(&options, &args.common.target()?, &mut progress)?;
            print!("{report}");
            write_json(args.common.json.as_deref(), &report)?;
            Ok(report.shortfalls.is_empty())
        }
        Command::Resume(args) => {
            let ResumeArgs { messages, conversations, text_bytes, runs, common } = args;
            let options = ResumeOptions { messages, conversations, text_bytes, runs };
            let report = resume::run(&options, &common.target()?, &mut progress)?;
            print!("{report}");
            write_json(common.json.as_deref(), &report)?;
            Ok(report.shortfalls.is_empty())
        }
        Command::Idle(args) => run_idle(&args, &mut progress),
        Command::Peers(args) => run_peers(args, &mut progress),
    }
}

fn run_peers(args: PeersArgs, progress: &mut Progress) -> Result<bool, Box<dyn Error>> {
    let PeersArgs { only, quick, runs, seconds: duration, connections, repository, json, svg } = args;
    let given = if quick { PeersOptions::quick() } else { PeersOptions::default() };
    let options = PeersOptions {
        repository,
        peers: if only.is_empty() { given.peers } else { only },
        runs: runs.unwrap_or(given.runs),
        duration: duration.map_or(Ok(given.duration), |value| seconds("--seconds", value))?,
        connections: connections.unwrap_or(given.connections),
        ..given
    };
    let report = peers::run(&options, progress)?;
    print!("{report}");
    write_json(json.as_deref(), &report)?;
    write_svg(svg.as_deref(), || report.chart())?;
    Ok(report.is_good())
}

fn run_idle(args: &IdleArgs, progress: &mut Progress) -> Result<bool, Box<dyn Error>> {
    let mut run = |protocol| -> Result<idle::IdleReport, Box<dyn Error>> {
        let options = IdleOptions {
            protocol,
            connections: args.connections,
            connect_limit: seconds("--connect-seconds", args.connect_seconds)?,
            settle: seconds("--settle-seconds", args.settle_seconds)?,
        };
        Ok(idle::run(&options, &args.common.target()?, progress)?)
    };
    let json = args.common.json.as_deref();
    let protocol = match args.protocol {
        IdleProtocol::Classic => Protocol::Classic,
        IdleProtocol::Session => Protocol::Session,
        IdleProtocol::Both if args.common.target.is_some() => {
            let rule = "classic or session with --target: what the first connections took stays taken";
            return Err(BenchError::Option { option: "--protocol", rule }.into());
        }
        IdleProtocol::Both => {
            let pair = IdlePair::of(run(Protocol::Classic)?, run(Protocol::Session)?);
            print!("{pair}");
            write_json(json, &pair)?;
            return Ok(pair.classic.shortfalls.is_empty() && pair.session.shortfalls.is_empty());
        }
    };
    let report = run(protocol)?;
    print!("{report}");
    write_json(json, &report)?;
    Ok(report.shortfalls.is_empty())
}

fn seconds(option: &'static str, value: f64) -> Result<Duration, BenchError> {
    Duration::try_from_secs_f64(value).map_err(|_| BenchError::Option { option, rule: "a number of seconds" })
}

fn write_json(path: Option<&Path>, report: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let Some(path) = path else { return Ok(()) };
    let failed = |error: &dyn fmt::Display| format!("writing {}: {error}", path.display());
    let mut file = File::create(path).map_err(|error| failed(&error))?;
    serde_json::to_writer_pretty(&mut file, report).map_err(|error| failed(&error))?;
    file.write_all(b"\n").map_err(|error| failed(&error))?;
    Ok(())
}

fn write_svg(path: Option<&Path>, chart: impl FnOnce() -> String) -> Result<(), Box<dyn Error>> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, chart()).map_err(|error| format!("writing {}: {error}", path.display()))?;
    Ok(())
}
