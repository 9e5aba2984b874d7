//! `canaries`: every deliberate bug, and what finds it.

use std::collections::BTreeSet;
use std::io::{self, Write};

use clap::Args;
use switchboard_sim::canaries::{Bug, hunt, hunt_by_specification};

use super::CliError;

#[derive(Debug, Args)]
pub(crate) struct CanariesArgs {
    /// Independent hunts for each bug; the report has the median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seeds of one hunt at the most.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only bugs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Let the specification judge alone, without the engine's shadow; one round.
    #[arg(long)]
    by_specification: bool,
}

/// Hunts the bugs and reports; true if all are caught.
pub(crate) fn canaries(args: &CanariesArgs) -> Result<bool, CliError> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::stdout().lock();
    if args.by_specification {
        return by_specification(&mut out, args);
    }
    writeln!(out, "{:<28} {:<20} {:>12} {:>6}", "bug", "check", "median seeds", "steps")?;
    let (mut found, mut missed) = (0_u32, 0_u32);
    for bug in Bug::all().into_iter().filter(|bug| bug.name().contains(&args.only)) {
        let caught = hunt(bug, args.rounds, args.limit);
        let good = caught.missed == 0 && !caught.checks.contains(&"crash");
        (found, missed) = (found + u32::from(good), missed + u32::from(!good));
        let checks: BTreeSet<_> = caught.checks.iter().copied().collect();
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

fn by_specification(out: &mut impl Write, args: &CanariesArgs) -> Result<bool, CliError> {
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
