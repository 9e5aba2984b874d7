//! `switchboard-sim`: runs seeds, replays failures, and explains them.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::commands::{
    CliError, canaries, compat, explain, explore, record, replay, run, scripts, shrink, step,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Drives the shipped engine through every disaster, from one seed.
///
/// Exit codes: 0 if everything holds, 1 if something does not, 2 for wrong arguments and damaged files.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a range of seeds.
    Run(run::Args),
    /// Run one seed or file, with a full sweep after every event; or tell an engine what another one was told.
    Replay(replay::ReplayArgs),
    /// Record one server of a run, as a server in production is recorded.
    Record(record::RecordArgs),
    /// Replay recordings of older versions, and list what this one does otherwise.
    Compat(compat::CompatArgs),
    /// Make a stretch of a recording a script of events, which people read and edit.
    Convert(scripts::ConvertArgs),
    /// Find the smallest schedule, or script of events, that fails like this one, and write it to a file.
    Shrink(shrink::ShrinkArgs),
    /// Plant each deliberate bug in turn, and see which check finds it.
    Canaries(canaries::Args),
    /// Show a run as a table: who saw what when.
    Explain(explain::ExplainArgs),
    /// Walk through a run in both directions, on a terminal: what everything is like at each step.
    Step(step::StepArgs),
    /// Try every order of a small alphabet of events, up to a depth.
    Explore(explore::ExploreArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Record(args) => record::record(&args),
        Command::Compat(args) => compat::compat(&args),
        Command::Convert(args) => scripts::convert(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::Canaries(args) => canaries::run(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Step(args) => step::step(&args),
        Command::Explore(args) => explore::run(&args).map_err(CliError::from),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // Whoever reads the report has read enough.
        Err(CliError::Report(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
