//! `switchboard-sim`: runs seeds, replays failures, and explains them.

mod commands {
    pub(crate) mod explore;
}

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use switchboard_sim::canaries::{Bug, hunt};
use switchboard_sim::generate::{PROFILES, generate};
use switchboard_sim::runner::{self, Plan, Summary};
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
    Run(RunArgs),
    /// Run one seed or file, with a full sweep after every event.
    Replay(ReplayArgs),
    /// Find the smallest schedule that fails like this one, and write it to a file.
    Shrink(ShrinkArgs),
    /// Plant each deliberate bug in turn, and see which check finds it.
    Canaries(CanariesArgs),
    /// Show a run as a table: who saw what when.
    Explain(ReplayArgs),
    /// Try every order of a small alphabet of events, up to a depth.
    Explore(commands::explore::ExploreArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// First seed and the one after the last.
    #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "0..1000")]
    seeds: (u64, u64),
    /// Which kinds of worlds and faults.
    #[arg(long, default_value = "default")]
    profile: String,
    /// Threads; by default as many as there are cores.
    #[arg(long)]
    jobs: Option<usize>,
    /// Run each seed twice, and compare all actions.
    #[arg(long)]
    twice: bool,
    /// Engine events between two full sweeps of one engine.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    sweep_every: u32,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
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
struct CanariesArgs {
    /// Independent hunts for each bug; the report has the median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seeds of one hunt at the most.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only bugs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
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
    #[error(transparent)]
    Explore(#[from] commands::explore::CommandError),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Replay(args) => replay(&args),
        Command::Shrink(args) => shrink(&args),
        Command::Canaries(args) => canaries(&args),
        Command::Explain(args) => explain(&args),
        Command::Explore(args) => commands::explore::run(&args).map_err(CliError::from),
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

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text} is no range of seeds; write A..B with A below B");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let (first, end) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if first < end { Ok((first, end)) } else { Err(wrong()) }
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

fn run(args: &RunArgs) -> Result<bool, CliError> {
    // A panic of a run is caught and reported as the violation `crash`; its text is in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let plan = Plan {
        first: args.seeds.0,
        end: args.seeds.1,
        profile: args.profile.clone(),
        jobs: jobs.unwrap_or(1),
        twice: args.twice,
        sweep_every: args.sweep_every,
    };
    let bar = ProgressBar::new(plan.end - plan.first);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let summary =
        runner::run(&plan, |done| bar.set_position(done)).ok_or_else(|| no_profile(&args.profile))?;
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json(&summary, &args.profile))?;
    } else {
        report(&mut out, &summary, &args.profile)?;
    }
    Ok(summary.failures.is_empty())
}

/// Failures that the report lists one by one.
const LISTED: usize = 10;

fn report(out: &mut impl Write, summary: &Summary, profile: &str) -> io::Result<()> {
    let virtual_s = summary.virtual_time.as_secs_f64();
    let real_s = summary.real_time.as_secs_f64();
    writeln!(
        out,
        "{} seeds of profile {profile} in {real_s:.1} s: {} seeds/s, {} engine events ({}/s), {:.0} s simulated \
         ({:.0} times real time)",
        summary.seeds,
        summary.per_second(summary.seeds),
        summary.events,
        summary.per_second(summary.events),
        virtual_s,
        virtual_s / real_s,
    )?;
    let met: Vec<_> = summary.met.iter().map(|(verb, count)| format!("{verb} {count}")).collect();
    writeln!(out, "met: {}", met.join(", "))?;
    for failure in summary.failures.iter().take(LISTED) {
        writeln!(out, "seed {}: {}", failure.seed, failure.violation)?;
        writeln!(out, "  switchboard-sim replay {} --profile {profile}", failure.seed)?;
    }
    writeln!(out, "{} seeds failed", summary.failures.len())
}

fn json(summary: &Summary, profile: &str) -> serde_json::Value {
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|failure| {
            let violation = &failure.violation;
            serde_json::json!({
                "seed": failure.seed, "check": violation.check, "what": violation.what, "at_us": violation.at_us,
                "replay": format!("switchboard-sim replay {} --profile {profile}", failure.seed),
            })
        })
        .collect();
    serde_json::json!({
        "profile": profile,
        "seeds": summary.seeds,
        "engine_events": summary.events,
        "simulated_s": summary.virtual_time.as_secs(),
        "real_s": summary.real_time.as_secs_f64(),
        "seeds_per_second": summary.per_second(summary.seeds),
        "engine_events_per_second": summary.per_second(summary.events),
        "met": summary.met,
        "failures": failures,
    })
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

fn canaries(args: &CanariesArgs) -> Result<bool, CliError> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::stdout().lock();
    writeln!(out, "{:<28} {:<20} {:>12} {:>6}", "bug", "check", "median seeds", "steps")?;
    let (mut found, mut missed) = (0_u32, 0_u32);
    for bug in Bug::all().into_iter().filter(|bug| bug.name().contains(&args.only)) {
        let caught = hunt(bug, args.rounds, args.limit);
        let good = caught.missed == 0 && !caught.checks.contains(&"crash");
        (found, missed) = (found + u32::from(good), missed + u32::from(!good));
        let checks: std::collections::BTreeSet<_> = caught.checks.iter().copied().collect();
        let checks: Vec<_> = checks.into_iter().collect();
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let median = number(caught.seeds.get(caught.seeds.len() / 2).copied());
        let steps = number(caught.steps.map(|steps| steps as u64));
        let missed =
            if caught.missed > 0 { format!("missed in {} rounds", caught.missed) } else { String::new() };
        writeln!(out, "{:<28} {:<20} {median:>12} {steps:>6} {missed}", bug.name(), checks.join(", "))?;
        out.flush()?;
    }
    writeln!(out, "{found} bugs caught by a check in every round, {missed} not")?;
    Ok(missed == 0)
}
