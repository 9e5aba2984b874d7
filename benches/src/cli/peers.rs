//! The command line of `switchboard-bench peers`.

use std::path::PathBuf;

use clap::Args;
use switchboard_benches::BenchError;
use switchboard_benches::load::Timing;
use switchboard_benches::peers::{Load, Peer, PeersOptions};

use super::seconds;

/// Builds other servers (benches/peers) and this one, and puts the same loads on all of them in turns.
///
/// In each round every peer gets every load once, and for each load it is started anew. A peer that cannot be built is
/// left out, with the reason. One that fails under a load fell short there; runs that fell short do not count. The bars
/// are what is asked of Switchboard; the command fails if one is missed. Rounds can be run in pieces: --earlier takes in
/// what was measured before, and a run that is cut off leaves the rounds that it had done in --json.
#[derive(Args, Debug)]
pub(crate) struct PeersArgs {
    /// Which peers, instead of all
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<Peer>,
    /// Which loads, instead of all
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LOAD,...")]
    loads: Vec<Load>,
    /// A short run that shows whether everything works; its figures are not judged
    #[arg(long)]
    quick: bool,
    /// Rounds; 0 only puts --earlier together [default: 5; quick: 1]
    #[arg(long)]
    runs: Option<usize>,
    /// Reports that were written with --json, with the same options: their rounds come first
    #[arg(long, value_delimiter = ',', value_name = "FILE,...")]
    earlier: Vec<PathBuf>,
    /// Time of each run that is measured [default: 3; quick: 0.5]
    #[arg(long)]
    seconds: Option<f64>,
    /// Time of each run that is not measured at first [default: 1; quick: 0.2]
    #[arg(long)]
    warmup_seconds: Option<f64>,
    /// Connections that say nothing [default: 19000; quick: 200]
    #[arg(long)]
    connections: Option<usize>,
    /// Clients that reconnect at once [default: 10000; quick: 100]
    #[arg(long)]
    storming: Option<usize>,
    /// After how long the memory of idle connections is read; the last time counts [default: 2,15; quick: 0.2]
    #[arg(long, value_delimiter = ',', value_name = "SECONDS,...")]
    settle_seconds: Vec<f64>,
    /// The repository, whose peers are built
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    repository: PathBuf,
    /// Take the peers as they were built before
    #[arg(long)]
    no_build: bool,
    /// Where to write the report as JSON, after each round anew
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where to draw the report
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl PeersArgs {
    pub(crate) fn options(&self) -> Result<PeersOptions, BenchError> {
        let given = if self.quick { PeersOptions::quick() } else { PeersOptions::default() };
        let time =
            |option, value: Option<f64>, default| value.map_or(Ok(default), |value| seconds(option, value));
        let duration = time("--seconds", self.seconds, given.timing.duration)?;
        let warmup = time("--warmup-seconds", self.warmup_seconds, given.timing.warmup)?;
        let settle = self.settle_seconds.iter().map(|settle| seconds("--settle-seconds", *settle));
        let settle: Vec<_> = settle.collect::<Result<_, _>>()?;
        Ok(PeersOptions {
            repository: self.repository.clone(),
            build: !self.no_build,
            earlier: self.earlier.clone(),
            peers: if self.only.is_empty() { given.peers } else { self.only.clone() },
            loads: if self.loads.is_empty() { given.loads } else { self.loads.clone() },
            runs: self.runs.unwrap_or(given.runs),
            connections: self.connections.unwrap_or(given.connections),
            storming: self.storming.unwrap_or(given.storming),
            settle: if settle.is_empty() { given.settle } else { settle },
            timing: Timing { duration, warmup, ..given.timing },
            ..given
        })
    }
}
