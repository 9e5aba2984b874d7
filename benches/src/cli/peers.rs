//! The command line of `switchboard-bench peers`.

use std::path::PathBuf;

use clap::Args;
use switchboard_benches::BenchError;
use switchboard_benches::load::Timing;
use switchboard_benches::peers::{Peer, PeersOptions};

use super::seconds;

/// Builds other servers (benches/peers) and this one, and puts the same loads on all of them in turns.
///
/// In each round every peer gets every load once, and for each load it is started anew. A peer that cannot be built is
/// left out, with the reason. One that fails under a load fell short there; runs that fell short do not count. The bars
/// are what is asked of Switchboard; the command fails if one is missed.
#[derive(Args, Debug)]
pub(crate) struct PeersArgs {
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
    /// Take the peers as they were built before
    #[arg(long)]
    no_build: bool,
    /// Where to write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where to draw the report
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl PeersArgs {
    pub(crate) fn options(&self) -> Result<PeersOptions, BenchError> {
        let given = if self.quick { PeersOptions::quick() } else { PeersOptions::default() };
        let duration = self.seconds.map_or(Ok(given.timing.duration), |value| seconds("--seconds", value))?;
        Ok(PeersOptions {
            repository: self.repository.clone(),
            build: !self.no_build,
            peers: if self.only.is_empty() { given.peers } else { self.only.clone() },
            runs: self.runs.unwrap_or(given.runs),
            connections: self.connections.unwrap_or(given.connections),
            timing: Timing { duration, ..given.timing },
            ..given
        })
    }
}
