//! `shrink`: the smallest schedule that fails like this one.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use switchboard_sim::{
    runner, shrink,
    world::{Options, Target},
};

use super::{CliError, Subject, load, target_option};

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where to write the small schedule.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Shrinks the subject and writes what is left; never true, since something fails.
pub(crate) fn shrink(args: &ShrinkArgs) -> Result<bool, CliError> {
    std::panic::set_hook(Box::new(|_| {}));
    let schedule = load(&args.subject)?;
    let target = args.subject.target;
    let small = match target {
        Target::Shipped => shrink::shrink(&schedule, &mut shrink::AsShipped),
        Target::Original => shrink::shrink(&schedule, &mut shrink::AsOriginal),
    }
    .ok_or(CliError::NothingFails)?;
    std::fs::write(&args.out, small.to_string())
        .map_err(|source| CliError::Write { path: args.out.clone(), source })?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} steps of {} are left", small.steps.len(), schedule.steps.len())?;
    if let Some(violation) =
        runner::execute_caught(&small, Options { sweep_every: 1, target, ..Options::default() }).violation
    {
        writeln!(out, "{violation}")?;
    }
    writeln!(out, "switchboard-sim replay {}{}", args.out.display(), target_option(target))?;
    Ok(false)
}
