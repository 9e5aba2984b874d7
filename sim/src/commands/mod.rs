//! The commands, and what several of them need.

pub(crate) mod canaries;
pub(crate) mod compat;
pub(crate) mod explain;
pub(crate) mod explore;
pub(crate) mod record;
pub(crate) mod recorded;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod scripts;
pub(crate) mod shrink;
pub(crate) mod step;

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use switchboard_engine::Canary;
use switchboard_sim::chart::{self, Chart};
use switchboard_sim::generate::{PROFILES, generate_for};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::text::ParseError;
use switchboard_sim::world::{Outcome, Target};

/// What a command is about: a seed of a profile, or a file.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// A seed, or the path of a schedule.
    #[arg(value_name = "SEED-or-FILE")]
    subject: String,
    /// The profile that the seed is of.
    #[arg(long, default_value = "default")]
    profile: String,
    /// What stands in the shards: shipped or original.
    #[arg(long, default_value = "shipped", value_parser = parse_target)]
    target: Target,
}

fn parse_target(name: &str) -> Result<Target, String> {
    match name {
        "shipped" => Ok(Target::Shipped),
        "original" => Ok(Target::Original),
        _ => Err(format!("{name} is no target; there are: shipped, original")),
    }
}

/// What a command line needs to mean the same target again.
const fn target_option(target: Target) -> &'static str {
    match target {
        Target::Shipped => "",
        Target::Original => " --target original",
    }
}

impl Subject {
    /// What was given.
    fn name(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject.parse::<u64>() {
            Ok(seed) => write!(f, "seed {seed} of profile {}", self.profile),
            Err(_) => f.write_str(&self.subject),
        }
    }
}

/// Why a command cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("there is no profile {0}; there are: {1}")]
    Profile(String, String),
    #[error("reading {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: ParseError },
    #[error("writing {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "the schedule and its chart cannot both be {0}; name another file, or give --chart or --no-chart"
    )]
    SamePath(PathBuf),
    #[error("{0} is what this is made of, and would be lost: write to another file")]
    OwnInput(PathBuf),
    #[error("{option} is of no use here: {what} is replayed as it is, and only {of} can be replayed so")]
    NotOfThis { option: &'static str, what: &'static str, of: &'static str },
    #[error("there is no planted bug whose name contains {0}; `canaries` without --only lists them")]
    NoSuchBug(String),
    #[error("{0}")]
    Until(String),
    #[error("{0} is no recording of a server; several at once can be replayed of those alone")]
    NoRecording(PathBuf),
    #[error(transparent)]
    Reading(#[from] switchboard_sim::recording::file::ReadError),
    #[error("{path}: {source}")]
    ParseEvents { path: PathBuf, source: switchboard_sim::script::text::ParseError },
    #[error("{path}: {source}")]
    Run { path: PathBuf, source: switchboard_sim::script::run::RunError },
    #[error(
        "{path} has recordings of several engines, of shard {first} and shard {other} among others: name the files of one"
    )]
    ManyEngines { path: PathBuf, first: u32, other: u32 },
    #[error(transparent)]
    Replay(#[from] switchboard_sim::recording::replay::ReplayError),
    #[error("no {0}th server starts in this run: there are fewer")]
    NoSuchServer(u32),
    #[error(
        "`step` needs a terminal, and this is none; `switchboard-sim replay FILE --show` writes the steps of a recording or script, and \
         `switchboard-sim explain SEED-or-FILE` those of a schedule"
    )]
    NoTerminal,
    #[error("the bug {0} is the store's, and this is what one server was told")]
    NotOfEngines(&'static str),
    #[error("the terminal: {0}")]
    Terminal(io::Error),
    #[error("nothing to shrink: everything holds in this run")]
    NothingFails,
    #[error("writing the report: {0}")]
    Report(#[from] io::Error),
    #[error(transparent)]
    Explore(#[from] explore::CommandError),
}

fn no_profile(name: &str) -> CliError {
    let names: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
    CliError::Profile(name.to_owned(), names.join(", "))
}

/// Whether what comes of a file may be written there: not over the file itself.
fn check_output(input: &Path, output: &Path) -> Result<(), CliError> {
    let is_same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        // One of them is not there.
        _ => false,
    };
    if is_same { Err(CliError::OwnInput(output.to_owned())) } else { Ok(()) }
}

/// The schedule that the subject names.
fn load(subject: &Subject) -> Result<Schedule, CliError> {
    load_for(subject.target, &subject.subject, &subject.profile)
}

/// The schedule of a seed or a file, for the shipped engine.
fn load_schedule(subject: &str, profile: &str) -> Result<Schedule, CliError> {
    load_for(Target::Shipped, subject, profile)
}

fn load_for(target: Target, subject: &str, profile: &str) -> Result<Schedule, CliError> {
    if let Ok(seed) = subject.parse() {
        return generate_for(target, seed, profile).ok_or_else(|| no_profile(profile));
    }
    let path = Path::new(subject);
    let text =
        std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| CliError::Parse { path: path.to_owned(), source })
}

/// Writes the chart of a run that was traced.
fn chart(path: &Path, title: &str, schedule: &Schedule, outcome: &Outcome) -> Result<(), CliError> {
    let svg = chart::render(&Chart::of(title, schedule, outcome));
    std::fs::write(path, svg).map_err(|source| CliError::Write { path: path.to_owned(), source })
}

/// A bar on the terminal; nothing where there is none.
fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A deliberate bug of the engine.
fn parse_canary(name: &str) -> Result<Canary, String> {
    let found = Canary::ALL.iter().find(|canary| canary.name() == name);
    found.copied().ok_or_else(|| format!("the engine has no deliberate bug {name}; `canaries` lists them"))
}

/// Threads, from 1 to [`JOBS_LIMIT`].
fn parse_jobs(text: &str) -> Result<usize, String> {
    let jobs = text.parse().ok().filter(|jobs| (1..=JOBS_LIMIT).contains(jobs));
    jobs.ok_or_else(|| format!("{text} is no number of threads; there may be 1 to {JOBS_LIMIT}"))
}

/// More threads than any machine here has, and fewer than a system refuses.
const JOBS_LIMIT: usize = 512;

/// As many threads as are asked for, or as there are cores.
fn threads(jobs: Option<usize>) -> usize {
    jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1)
}
