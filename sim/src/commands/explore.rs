//! `switchboard-sim explore`: every order of a small alphabet of events.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use switchboard_sim::canaries::Bug;
use switchboard_sim::explore::{self, Counterexample, ExploreError, Report, STATE_LIMIT, Space};

/// What is to be explored.
#[derive(Debug, Args)]
pub(crate) struct ExploreArgs {
    /// Clients.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    clients: u16,
    /// Choices in a row.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,
    /// Users, who take turns to own the clients and are all members of one group; by default as many as clients.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16))]
    users: Option<u16>,
    /// Nodes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=8))]
    nodes: u64,
    /// Another setting of the world, as schedules have them; may be given several times.
    #[arg(long, value_name = "NAME=NUMBER", value_parser = parse_setting)]
    set: Vec<(String, u64)>,
    /// Kinds of choices to leave out: connect, close, cut, send, call, late-end, member, arrive, serve, fail,
    /// late, crash, stop, time.
    #[arg(long, value_name = "KIND,KIND,...", value_delimiter = ',')]
    without: Vec<String>,
    /// States that may be kept; each takes up to 30 bytes.
    #[arg(long, default_value_t = STATE_LIMIT)]
    states: usize,
    /// Threads; by default as many as there are cores.
    #[arg(long, value_parser = super::parse_jobs)]
    jobs: Option<usize>,
    /// Tell the states of the last level apart too, which only counts them, and takes half as long again.
    #[arg(long)]
    tell_last: bool,
    /// Plant a deliberate bug.
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
    /// Carry out these choices instead, with what happens as a table.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    replay: Option<Vec<u64>>,
    /// Where to write a schedule that breaks the same check, if there is one.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

/// Why the command cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Explore(#[from] ExploreError),
    #[error("there is no setting {0}")]
    Setting(String),
    #[error("there is no bug {0}; see `switchboard-sim canaries`")]
    Bug(String),
    #[error("writing {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("writing the report: {0}")]
    Report(#[from] io::Error),
}

fn parse_setting(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text}: write NAME=NUMBER"))?;
    let value = value.parse().map_err(|_| format!("{value} is no number"))?;
    Ok((name.to_owned(), value))
}

/// Explores, or replays. True if everything holds.
pub(crate) fn run(args: &ExploreArgs) -> Result<bool, CommandError> {
    // A panic is caught and reported as the violation `crash`; its text is in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let space = space(args)?;
    match &args.replay {
        Some(choices) => replay(&space, choices),
        None => search(args, &space),
    }
}

fn space(args: &ExploreArgs) -> Result<Space, CommandError> {
    let mut space = Space::new(args.clients, usize::from(args.depth));
    space.users = args.users.unwrap_or(args.clients);
    space.settings.nodes = args.nodes;
    for (name, value) in &args.set {
        if !space.settings.set(name, *value) {
            return Err(CommandError::Setting(name.clone()));
        }
    }
    if let Some(name) = &args.bug {
        let bug = Bug::all().into_iter().find(|bug| bug.name() == name);
        space.bug = Some(bug.ok_or_else(|| CommandError::Bug(name.clone()))?);
    }
    space.without.clone_from(&args.without);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    space.jobs = args.jobs.unwrap_or(cores).max(1);
    space.state_limit = args.states;
    space.tells_last = args.tell_last;
    Ok(space)
}

fn search(args: &ExploreArgs, space: &Space) -> Result<bool, CommandError> {
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} states, {elapsed}") {
        bar.set_style(style);
    }
    let explored = explore::explore(space, |depth, done, all| {
        bar.set_message(format!("choice {depth} of {}", space.depth));
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let report = explored?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json(args, space, &report)?)?;
    } else {
        summary(&mut out, space, &report)?;
        if let Some(found) = &report.found {
            counterexample(&mut out, args, space, found)?;
        } else {
            writeln!(out, "everything holds")?;
        }
    }
    if let (Some(path), Some(found)) = (&args.out, &report.found) {
        let written = explore::as_schedule(space, found);
        let Some(schedule) = written else {
            writeln!(out, "no schedule brings this about; {} is not written", path.display())?;
            return Ok(false);
        };
        std::fs::write(path, schedule.to_string())
            .map_err(|source| CommandError::Write { path: path.clone(), source })?;
        writeln!(out, "switchboard-sim replay {}", path.display())?;
    }
    Ok(report.found.is_none())
}

fn summary(out: &mut impl Write, space: &Space, report: &Report) -> io::Result<()> {
    writeln!(out, "{:>7} {:>12} {:>12} {:>8}", "choices", "visited", "distinct", "cut")?;
    for (number, level) in report.levels.iter().enumerate() {
        let cut = level.visited.saturating_sub(level.distinct) as f64 / level.visited.max(1) as f64;
        let is_last = number + 1 == space.depth && !space.tells_last;
        let (distinct, cut) = match is_last {
            true => ("-".to_owned(), "-".to_owned()),
            false => (level.distinct.to_string(), format!("{:.1}%", cut * 100.0)),
        };
        writeln!(out, "{:>7} {:>12} {distinct:>12} {cut:>8}", number + 1, level.visited)?;
    }
    let real_s = report.real_time.as_secs_f64();
    let told = if space.tells_last { report.levels.len() } else { report.levels.len().min(space.depth - 1) };
    let told: u64 = report.levels.iter().take(told).map(|level| level.distinct).sum();
    let note = if space.tells_last { "" } else { " before the last level" };
    writeln!(
        out,
        "{} states visited, {} distinct ones{note}, {} cut as met before, widest level {}; {} engine events in \
         {real_s:.1} s",
        report.visited(),
        told + 1,
        report.visited() - report.distinct(),
        report.widest(),
        report.events,
    )
}

fn counterexample(
    out: &mut impl Write,
    args: &ExploreArgs,
    space: &Space,
    found: &Counterexample,
) -> Result<(), CommandError> {
    writeln!(out, "{}", found.violation)?;
    let walk = explore::replay(space, &found.choices)?;
    for (number, step) in walk.steps.iter().enumerate() {
        writeln!(out, "  {:>2}. {step}", number + 1)?;
    }
    writeln!(out, "{}", command(args, &found.choices))?;
    Ok(())
}

/// The command that does it again.
fn command(args: &ExploreArgs, choices: &[u64]) -> String {
    let mut command = format!("switchboard-sim explore --clients {} --depth {}", args.clients, args.depth);
    if let Some(users) = args.users {
        command += &format!(" --users {users}");
    }
    if args.nodes != 1 {
        command += &format!(" --nodes {}", args.nodes);
    }
    for (name, value) in &args.set {
        command += &format!(" --set {name}={value}");
    }
    if !args.without.is_empty() {
        command += &format!(" --without {}", args.without.join(","));
    }
    if let Some(bug) = &args.bug {
        command += &format!(" --bug {bug}");
    }
    let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
    command + " --replay " + &choices.join(",")
}

fn json(args: &ExploreArgs, space: &Space, report: &Report) -> Result<serde_json::Value, CommandError> {
    let found = match &report.found {
        None => serde_json::Value::Null,
        Some(found) => serde_json::json!({
            "check": found.violation.check, "what": found.violation.what,
            "steps": explore::replay(space, &found.choices)?.steps,
            "choices": found.choices, "replay": command(args, &found.choices),
        }),
    };
    let levels = report.levels.iter();
    let levels: Vec<_> = levels
        .map(|level| serde_json::json!({ "visited": level.visited, "distinct": level.distinct }))
        .collect();
    Ok(serde_json::json!({
        "clients": space.clients, "users": space.users, "nodes": space.settings.nodes, "depth": space.depth,
        "visited": report.visited(), "distinct": report.distinct(), "widest": report.widest(),
        "cut": report.visited() - report.distinct(), "engine_events": report.events,
        "real_s": report.real_time.as_secs_f64(), "levels": levels, "found": found,
    }))
}

fn replay(space: &Space, choices: &[u64]) -> Result<bool, CommandError> {
    let walk = explore::replay(space, choices)?;
    let mut out = io::stdout().lock();
    for (number, step) in walk.steps.iter().enumerate() {
        writeln!(out, "{:>3}. {step}", number + 1)?;
    }
    super::explain::table(&mut out, &walk.trace, walk.violation.as_ref())?;
    writeln!(out, "state {:016x}", walk.state)?;
    Ok(walk.violation.is_none())
}
