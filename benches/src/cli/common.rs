//! What several commands have in common: times, and where the server comes from.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use switchboard_benches::crew::Processes;
use switchboard_benches::load::Timing;
use switchboard_benches::{BenchError, Process, Settings, Target, servers_for};

use super::seconds;

/// More connections than one process may have.
#[derive(Args, Debug)]
pub(super) struct ManyArgs {
    /// Servers to start, to which the connections are dealt out [default: as many as their open files take]
    #[arg(long, conflicts_with = "target")]
    servers: Option<usize>,
    /// Connections of one process of the generator; more of it are started as needed [default: as many as its open
    /// files allow]
    #[arg(long, value_name = "CONNECTIONS")]
    per_process: Option<usize>,
}

impl ManyArgs {
    pub(super) fn processes(&self) -> Processes {
        Processes { program: None, connections_each: self.per_process }
    }
}

#[derive(Args, Debug)]
pub(super) struct TimingArgs {
    /// Time that is measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Time that clients may take to be connected and welcomed
    #[arg(long, default_value_t = 30.0)]
    connect_seconds: f64,
    /// Time that is not measured at first
    #[arg(long, default_value_t = 1.0)]
    warmup_seconds: f64,
}

impl TimingArgs {
    pub(super) fn timing(&self) -> Result<Timing, BenchError> {
        Ok(Timing {
            connect_limit: seconds("--connect-seconds", self.connect_seconds)?,
            warmup: seconds("--warmup-seconds", self.warmup_seconds)?,
            duration: seconds("--seconds", self.seconds)?,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct CommonArgs {
    /// A running server, on a loopback address, or several of them for idle and storm; otherwise one is started
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    pub(crate) target: Vec<SocketAddr>,
    /// Process of each running server, to measure its CPU time and memory
    #[arg(long, requires = "target", value_delimiter = ',')]
    pid: Vec<i32>,
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
    /// A setting of the server to start, named as in its configuration file: --set write_delay_ms=2
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting, conflicts_with = "target")]
    set: Vec<(String, String)>,
    /// Where to write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where to draw the report
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl CommonArgs {
    /// The one server.
    pub(crate) fn target(&self) -> Result<Target, BenchError> {
        match *self.target {
            [] => self.started(),
            [_] => self.running()?.pop().map_or_else(|| self.started(), Ok),
            [..] => Err(BenchError::Option { option: "--target", rule: "one address for this load" }),
        }
    }

    /// Servers for so many connections.
    pub(super) fn targets(&self, many: &ManyArgs, connections: usize) -> Result<Vec<Target>, BenchError> {
        if !self.target.is_empty() {
            return self.running();
        }
        let servers = many.servers.map_or_else(|| servers_for(connections), Ok)?;
        if !(1..=SERVERS_LIMIT).contains(&servers) {
            return Err(BenchError::Option { option: "--servers", rule: "between 1 and 64" });
        }
        (0..servers).map(|_| self.started()).collect()
    }

    fn running(&self) -> Result<Vec<Target>, BenchError> {
        if !self.pid.is_empty() && self.pid.len() != self.target.len() {
            return Err(BenchError::Option { option: "--pid", rule: "one process for each --target" });
        }
        let mut pids = self.pid.iter();
        let process = |pid: &i32| Process::new(*pid);
        let targets = self.target.iter();
        targets.map(|address| Target::running(*address, pids.next().map(process).transpose()?)).collect()
    }

    fn started(&self) -> Result<Target, BenchError> {
        Target::started(&self.server, &Settings { shards: self.shards, set: self.set.clone() })
    }
}

/// Servers that one run starts at the most.
const SERVERS_LIMIT: usize = 64;

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE, as in write_delay_ms=2")?;
    Ok((key.to_owned(), value.to_owned()))
}
