//! `switchboard-sim`: runs seeds, replays failures, and explains them.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::commands::{canaries, explain, replay, run, shrink};

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
    Run(run::RunArgs),
    /// Run one seed or file, with a full sweep after every event.
    Replay(replay::ReplayArgs),
    /// Find the smallest schedule that fails like this one, and write it to a file.
    Shrink(shrink::ShrinkArgs),
    /// Plant each deliberate bug in turn, and see which check finds it.
    Canaries(canaries::CanariesArgs),
    /// Show a run as a table: who saw what when.
    Explain(explain::ExplainArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::Canaries(args) => canaries::canaries(&args),
        Command::Explain(args) => explain::explain(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
