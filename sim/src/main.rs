//! `switchboard-sim`: runs seeds, replays failures, and explains them.

mod commands;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use switchboard_sim::generate::{PROFILES, generate};
use switchboard_sim::runner;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::shrink;
use switchboard_sim::text::ParseError;
use switchboard_sim::world::{Options, execute};

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
    Run(commands::run::Args),
    /// Run one seed or file, with a full sweep after every event.
    Replay(ReplayArgs),
    /// Find the smallest schedule that fails like this one, and write it to a file.
    Shrink(ShrinkArgs),
    /// Plant each deliberate bug in turn, and see which check finds it.
    Canaries(commands::canaries::Args),
    /// Show a run as a table: who saw what when.
    Explain(ReplayArgs),
}

/// What a command is about: a seed of a profile, or a file.
#[derive(Debug, Args)]
struct Subject {
    /// A seed, or the path of a schedule.
    #[arg(value_name = "SEED-or-FILE")]
    subject: String,
    /// The profile that the seed is of.
    #[arg(long, default_value = "default")]
    profile: String,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    subject: Subject,
    /// Stop at this virtual time, in microseconds; the healed phase is left out.
    #[arg(long, value_name = "US")]
    until: Option<u64>,
}

#[derive(Debug, Args)]
struct ShrinkArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where to write the small schedule.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Why a command cannot be carried out.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("there is no profile {0}; there are: {1}")]
    Profile(String, String),
    #[error("reading {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: ParseError },
    #[error("writing {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("nothing to shrink: everything holds in this run")]
    NothingFails,
    #[error("writing the report: {0}")]
    Report(#[from] io::Error),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Replay(args) => replay(&args),
        Command::Shrink(args) => shrink(&args),
        Command::Canaries(args) => commands::canaries::run(&args),
        Command::Explain(args) => explain(&args),
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

fn no_profile(name: &str) -> CliError {
    let names: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
    CliError::Profile(name.to_owned(), names.join(", "))
}

fn load(subject: &Subject) -> Result<Schedule, CliError> {
    if let Ok(seed) = subject.subject.parse() {
        return generate(seed, &subject.profile).ok_or_else(|| no_profile(&subject.profile));
    }
    let path = Path::new(&subject.subject);
    let text =
        std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| CliError::Parse { path: path.to_owned(), source })
}

fn replay(args: &ReplayArgs) -> Result<bool, CliError> {
    let schedule = load(&args.subject)?;
    let options = Options { sweep_every: 1, until_us: args.until, trace: false };
    let outcome = runner::execute_caught(&schedule, options);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} steps, {} engine events, {} ms simulated, digest {:016x}",
        schedule.steps.len(),
        outcome.events,
        outcome.virtual_us / 1000,
        outcome.digest
    )?;
    match &outcome.violation {
        None => writeln!(out, "everything holds")?,
        Some(violation) => writeln!(out, "{violation}")?,
    }
    Ok(outcome.violation.is_none())
}

fn explain(args: &ReplayArgs) -> Result<bool, CliError> {
    let schedule = load(&args.subject)?;
    let options = Options { sweep_every: 1, until_us: args.until, trace: true };
    let outcome = execute(&schedule, options);
    let mut out = io::stdout().lock();
    writeln!(out, "{:>12}  {:<8} {:<8} what", "us", "from", "to")?;
    for mark in &outcome.trace {
        let to = if mark.from == mark.to { String::new() } else { mark.to.to_string() };
        writeln!(out, "{:>12}  {:<8} {:<8} {}", mark.at_us, mark.from.to_string(), to, mark.text)?;
    }
    match &outcome.violation {
        None => writeln!(out, "everything holds")?,
        Some(violation) => writeln!(out, "{violation}")?,
    }
    Ok(outcome.violation.is_none())
}

fn shrink(args: &ShrinkArgs) -> Result<bool, CliError> {
    std::panic::set_hook(Box::new(|_| {}));
    let schedule = load(&args.subject)?;
    let small = shrink::shrink(&schedule, &mut shrink::AsShipped).ok_or(CliError::NothingFails)?;
    std::fs::write(&args.out, small.to_string())
        .map_err(|source| CliError::Write { path: args.out.clone(), source })?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} steps of {} are left", small.steps.len(), schedule.steps.len())?;
    if let Some(violation) =
        runner::execute_caught(&small, Options { sweep_every: 1, ..Options::default() }).violation
    {
        writeln!(out, "{violation}")?;
    }
    writeln!(out, "switchboard-sim replay {}", args.out.display())?;
    Ok(false)
}
