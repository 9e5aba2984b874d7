//! `canaries`: whether every deliberate bug is found.

use std::collections::BTreeSet;
use std::io::{self, Write};

use switchboard_sim::canaries::{Bug, Catch, Plan, STEPS_LIMIT, hunt_all, hunt_by_specification};

use super::{CliError, progress_bar, threads};

/// What is to be hunted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Independent hunts for each bug; the report has the median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seeds of one hunt at the most.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only bugs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Threads; by default as many as there are cores.
    #[arg(long, value_parser = super::parse_jobs)]
    jobs: Option<usize>,
    /// Print each bug's small schedule too.
    #[arg(long)]
    show: bool,
    /// Let the specification judge alone, without the engine's shadow; one round.
    #[arg(long)]
    by_specification: bool,
}

/// Hunts, reports, and says whether every bug was found as it has to be.
pub(crate) fn run(args: &Args) -> Result<bool, CliError> {
    // A bug may well be found by a panic; the report says so.
    std::panic::set_hook(Box::new(|_| {}));
    if args.by_specification {
        return by_specification(&mut io::stdout().lock(), args);
    }
    let bugs: Vec<_> = Bug::all().into_iter().filter(|bug| bug.name().contains(&args.only)).collect();
    if bugs.is_empty() {
        return Err(CliError::NoSuchBug(args.only.clone()));
    }
    let plan = Plan { rounds: args.rounds, limit: args.limit, jobs: threads(args.jobs) };
    let bar = progress_bar(bugs.len() as u64 * plan.rounds, "{bar:40} {pos}/{len} hunts, {eta} left");
    let start = std::time::Instant::now();
    let catches = hunt_all(&bugs, plan, |done| bar.set_position(done));
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    writeln!(out, "{:<28} {:<34} {:>12}  steps after shrinking", "bug", "caught by", "median seeds")?;
    for caught in &catches {
        writeln!(out, "{}", line(caught))?;
        if let Some(small) = caught.small.as_ref().filter(|_| args.show) {
            writeln!(out, "{small}")?;
        }
    }
    let wrong = catches.iter().filter(|caught| caught.complaint().is_some()).count();
    writeln!(
        out,
        "{} of {} bugs caught by a check in each of {} rounds, and left with at most {STEPS_LIMIT} steps, in {:.0} s",
        catches.len() - wrong,
        catches.len(),
        plan.rounds,
        start.elapsed().as_secs_f64(),
    )?;
    Ok(wrong == 0)
}

fn line(caught: &Catch) -> String {
    let checks: BTreeSet<_> = caught.checks.iter().copied().collect();
    let checks = checks.into_iter().collect::<Vec<_>>().join(", ");
    let median = caught.seeds.get(caught.seeds.len() / 2).map_or_else(|| "-".to_owned(), u64::to_string);
    let steps = match caught.steps() {
        None => "-".to_owned(),
        Some(0) => "0: the healed phase alone shows it".to_owned(),
        Some(steps) => steps.to_string(),
    };
    let complaint = caught.complaint().map(|complaint| format!("  <-- {complaint}")).unwrap_or_default();
    format!("{:<28} {checks:<34} {median:>12}  {steps}{complaint}", caught.bug.name())
}

fn by_specification(out: &mut impl Write, args: &Args) -> Result<bool, CliError> {
    let (mut found, mut missed) = (0_u32, 0_u32);
    for bug in Bug::all().into_iter().filter(|bug| bug.name().contains(&args.only)) {
        let caught = hunt_by_specification(bug, args.limit);
        let good = caught.is_some_and(|(_, check)| check != "crash");
        (found, missed) = (found + u32::from(good), missed + u32::from(!good));
        let (seeds, check) =
            caught.map_or(("-".to_owned(), "-"), |(seeds, check)| (seeds.to_string(), check));
        writeln!(out, "{:<28} {check:<20} {seeds:>12}", bug.name())?;
        out.flush()?;
    }
    writeln!(out, "{found} bugs caught by the specification alone, {missed} not")?;
    Ok(missed == 0)
}
