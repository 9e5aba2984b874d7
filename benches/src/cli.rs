//! The command line of `switchboard-bench`.

mod common;
mod peers;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use switchboard_benches::broadcast::BroadcastOptions;
use switchboard_benches::direct::{DirectOptions, Kind};
use switchboard_benches::durable::DurableOptions;
use switchboard_benches::group::GroupOptions;
use switchboard_benches::idle::IdleOptions;
use switchboard_benches::load::Pace;
use switchboard_benches::mixed::MixedOptions;
use switchboard_benches::resume::ResumeOptions;
use switchboard_benches::stall::StallOptions;
use switchboard_benches::storm::StormOptions;
use switchboard_benches::{BenchError, Protocol, Target};

pub(crate) use self::common::CommonArgs;
use self::common::{ManyArgs, TimingArgs};
pub(crate) use self::peers::PeersArgs;

const AFTER_HELP: &str = "\
Examples:
  switchboard-bench direct
  switchboard-bench direct --kind stored --clients 50 --rate 20000 --json stored.json
  switchboard-bench broadcast --clients 1000 --in-flight 16
  switchboard-bench group --groups 20 --members 50 --rate 500
  switchboard-bench storm --clients 10000
  switchboard-bench stall
  switchboard-bench mixed --users 5000
  switchboard-bench durable --rate 10000 --runs 5
  switchboard-bench resume --messages 10000
  switchboard-bench idle --protocol both
  switchboard-bench idle --connections 60000            (several servers, and several processes of the generator)
  switchboard-bench idle --connections 10000 --target 127.0.0.1:8888 --pid 4711
  switchboard-bench peers --json peers.json --svg peers.svg
  switchboard-bench peers --quick --only switchboard,floor

Without --target, a server is started for the run, on a free port, with a temporary data folder and with its
rate limits lifted, and stopped at the end. A process holds no more connections than it may have files open (ulimit -n):
idle and storm start as many servers and processes of the generator as their connections need, and deal them out.
For all other loads the limit of the one server is that of the load.

Exit codes: 0 all that was asked for was reached, 1 something fell short or failed, 2 wrong usage.";

/// Measures a chat server on this machine.
#[derive(Debug, Parser)]
#[command(name = "switchboard-bench", version, about, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pairs of clients send to each other: messages per second, latency, CPU per message
    Direct(DirectArgs),
    /// One client sends to all: messages per second, latency, CPU per message delivered
    Broadcast(BroadcastArgs),
    /// In each group one member speaks, and it is stored: messages per second, latency, CPU per message delivered
    Group(GroupArgs),
    /// Acknowledged, durable messages beside relayed ones, in turns: the ratio of their CPU time
    Durable(DurableArgs),
    /// All clients reconnect at once, while others go on talking: time until all are welcomed, latency of the others
    Storm(StormArgs),
    /// The same broadcast with and without clients that read nothing, in turns: the ratio of what the others get
    Stall(StallArgs),
    /// A day of chat in a minute: CPU and memory by the hour, latency of those who stay all day
    Mixed(MixedArgs),
    /// Sessions that have missed messages come back: CPU time until they have them
    Resume(ResumeArgs),
    /// Connections that say nothing: memory per connection
    Idle(IdleArgs),
    /// Other servers beside this one, in turns, and all bars: CPU per message, memory per connection, storms, stalled readers
    Peers(PeersArgs),
    /// A process of a generator that needs several
    #[command(hide = true)]
    Crew,
}

#[derive(Args, Debug)]
pub(crate) struct DirectArgs {
    /// What is sent: `relay` is never stored, `stored` is delivered after the commit, `session` is a session's
    #[arg(long, value_enum, default_value_t = Kind::Relay)]
    kind: Kind,
    /// Clients, an even number
    #[arg(long, default_value_t = 200)]
    clients: usize,
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
    timing: TimingArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl DirectArgs {
    pub(crate) fn options(&self) -> Result<DirectOptions, BenchError> {
        Ok(DirectOptions {
            kind: self.kind,
            clients: self.clients,
            pace: pace(self.in_flight, self.rate),
            payload_bytes: self.payload_bytes,
            timing: self.timing.timing()?,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct BroadcastArgs {
    /// Clients that hear, the sender among them
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Clients besides that read nothing after their welcome
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Messages that the sender keeps under way; the next one is sent when everybody has heard the oldest
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Messages per second, sent when due (open loop), instead of --in-flight
    #[arg(long, conflicts_with = "in_flight")]
    rate: Option<u64>,
    /// Size of a message
    #[arg(long, default_value_t = 128)]
    payload_bytes: usize,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl BroadcastArgs {
    pub(crate) fn options(&self) -> Result<BroadcastOptions, BenchError> {
        Ok(BroadcastOptions {
            clients: self.clients,
            stalled: self.stalled,
            pace: pace(self.in_flight, self.rate),
            payload_bytes: self.payload_bytes,
            timing: self.timing.timing()?,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct GroupArgs {
    /// What the members speak
    #[arg(long, value_enum, default_value_t = Protocol::Classic)]
    protocol: Protocol,
    /// Groups; each has members of its own
    #[arg(long, default_value_t = 20)]
    groups: usize,
    /// Members of each group; the first one speaks
    #[arg(long, default_value_t = 50)]
    members: usize,
    /// Messages that each speaker keeps under way, instead of --rate
    #[arg(long)]
    in_flight: Option<usize>,
    /// Messages per second of all speakers, sent when due (open loop)
    #[arg(long, default_value_t = 500, conflicts_with = "in_flight")]
    rate: u64,
    /// Size of a message
    #[arg(long, default_value_t = 128)]
    payload_bytes: usize,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl GroupArgs {
    pub(crate) fn options(&self) -> Result<GroupOptions, BenchError> {
        Ok(GroupOptions {
            protocol: self.protocol,
            groups: self.groups,
            members: self.members,
            pace: self.in_flight.map_or(Pace::PerSecond(self.rate), Pace::InFlight),
            payload_bytes: self.payload_bytes,
            timing: self.timing.timing()?,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct DurableArgs {
    /// Runs of each kind
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Messages per second of all clients, sent when due (open loop)
    #[arg(long, default_value_t = 10_000, conflicts_with = "in_flight")]
    rate: u64,
    /// Messages that each client keeps under way, instead of --rate
    #[arg(long)]
    in_flight: Option<usize>,
    /// Clients, an even number
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Size of a message
    #[arg(long, default_value_t = 128)]
    payload_bytes: usize,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl DurableArgs {
    pub(crate) fn options(&self) -> Result<DurableOptions, BenchError> {
        Ok(DurableOptions {
            runs: self.runs,
            pace: self.in_flight.map_or(Pace::PerSecond(self.rate), Pace::InFlight),
            clients: self.clients,
            payload_bytes: self.payload_bytes,
            timing: self.timing.timing()?,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct StormArgs {
    /// What those who reconnect speak
    #[arg(long, value_enum, default_value_t = Protocol::Classic)]
    protocol: Protocol,
    /// Clients that reconnect
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Clients that stay and send to each other, an even number
    #[arg(long, default_value_t = 100)]
    staying: usize,
    /// Messages per second of all that stay
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Time that all may take to be welcomed, each time
    #[arg(long, default_value_t = 60.0)]
    connect_seconds: f64,
    #[command(flatten)]
    many: ManyArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl StormArgs {
    /// While they reconnect, a server has old connections and new ones.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, BenchError> {
        self.common.targets(&self.many, self.clients.saturating_mul(3) / 2 + self.staying)
    }

    pub(crate) fn options(&self) -> Result<StormOptions, BenchError> {
        Ok(StormOptions {
            protocol: self.protocol,
            clients: self.clients,
            staying: self.staying,
            rate_per_second: self.rate,
            connect_limit: seconds("--connect-seconds", self.connect_seconds)?,
            processes: self.many.processes(),
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct StallArgs {
    /// Runs of each kind, each with a server of its own
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Clients that read
    #[arg(long, default_value_t = 900)]
    clients: usize,
    /// Clients that read nothing after their welcome
    #[arg(long, default_value_t = 100)]
    stalled: usize,
    /// Messages that the sender keeps under way
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Messages per second, sent when due (open loop), instead of --in-flight
    #[arg(long, conflicts_with = "in_flight")]
    rate: Option<u64>,
    /// Size of a message: large enough that what nobody reads fills the kernel's buffers
    #[arg(long, default_value_t = 1024)]
    payload_bytes: usize,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl StallArgs {
    pub(crate) fn options(&self) -> Result<StallOptions, BenchError> {
        Ok(StallOptions {
            runs: self.runs,
            clients: self.clients,
            stalled: self.stalled,
            pace: pace(self.in_flight, self.rate),
            payload_bytes: self.payload_bytes,
            timing: self.timing.timing()?,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct MixedArgs {
    /// Users that come and go, half of them classic
    #[arg(long, default_value_t = 2000)]
    users: usize,
    /// Users that stay all day and send to each other, an even number
    #[arg(long, default_value_t = 100)]
    couples: usize,
    /// Messages per second of those who come and go, in the busiest hour
    #[arg(long, default_value_t = 4000)]
    peak: u64,
    /// Messages per second of those who stay
    #[arg(long, default_value_t = 500)]
    couples_rate: u64,
    /// How long the day takes
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Time that clients may take to be connected and welcomed at first
    #[arg(long, default_value_t = 60.0)]
    connect_seconds: f64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl MixedArgs {
    pub(crate) fn options(&self) -> Result<MixedOptions, BenchError> {
        Ok(MixedOptions {
            users: self.users,
            couples: self.couples,
            peak_per_second: self.peak,
            couples_per_second: self.couples_rate,
            day: seconds("--seconds", self.seconds)?,
            connect_limit: seconds("--connect-seconds", self.connect_seconds)?,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct ResumeArgs {
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
    pub(crate) common: CommonArgs,
}

impl ResumeArgs {
    pub(crate) const fn options(&self) -> ResumeOptions {
        let Self { messages, conversations, text_bytes, runs, .. } = *self;
        ResumeOptions { messages, conversations, text_bytes, runs }
    }
}

/// What idle connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IdleProtocol {
    Classic,
    Session,
    /// One after the other, each with a server of its own, and the difference
    Both,
}

#[derive(Args, Debug)]
pub(crate) struct IdleArgs {
    /// What the connections speak
    #[arg(long, value_enum, default_value_t = IdleProtocol::Classic)]
    pub(crate) protocol: IdleProtocol,
    /// Connections to open
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Time that all of them may take to be connected and welcomed
    #[arg(long, default_value_t = 120.0)]
    connect_seconds: f64,
    /// After how long memory is read; the last time counts. At first the allocator has what the handshakes took
    #[arg(long, default_values_t = [2.0, 15.0], value_delimiter = ',', value_name = "SECONDS,...")]
    settle_seconds: Vec<f64>,
    #[command(flatten)]
    many: ManyArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl IdleArgs {
    pub(crate) fn options(&self, protocol: Protocol) -> Result<IdleOptions, BenchError> {
        let settle = self.settle_seconds.iter().map(|settle| seconds("--settle-seconds", *settle));
        Ok(IdleOptions {
            protocol,
            connections: self.connections,
            connect_limit: seconds("--connect-seconds", self.connect_seconds)?,
            settle: settle.collect::<Result<_, _>>()?,
            processes: self.many.processes(),
        })
    }

    pub(crate) fn targets(&self) -> Result<Vec<Target>, BenchError> {
        self.common.targets(&self.many, self.connections)
    }
}

fn pace(in_flight: usize, rate: Option<u64>) -> Pace {
    rate.map_or(Pace::InFlight(in_flight), Pace::PerSecond)
}

fn seconds(option: &'static str, value: f64) -> Result<Duration, BenchError> {
    Duration::try_from_secs_f64(value).map_err(|_| BenchError::Option { option, rule: "a number of seconds" })
}
